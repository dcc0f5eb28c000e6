
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"
#include "emit.h"
#include "emit_http.h"
#include "limits.h"


/* what becomes of a header on its way */

typedef struct {
    const char      *name;
    const pos_t     *pos;
    int              replaced;           /* what was there is gone */
    list_t           values;             /* in quotes */
} header_t;


static place_t *place_new(vh_t *vh, const pos_t *pos, const char *prefix,
    FILE **out);
static void route_name(vh_t *vh, rule_t *rule, FILE *out);
static const char *route_split(vh_t *vh, rule_t *rule);
static int route_alike(service_t *one, service_t *two);
static const char *route_proxy(vh_t *vh, rule_t *rule, const char *name,
    target_t *target, int single);
static const char *route_module(service_t *svc);
static void route_pass(vh_t *vh, service_t *svc, FILE *out);
static int route_by_match(rule_t *rule);
static void route_timeout(rule_t *rule, service_t *svc, FILE *out);
static void route_mirrors(vh_t *vh, rule_t *rule, FILE *out);
static void route_mirror(vh_t *vh, rule_t *rule, target_t *t, FILE *main);
static double route_percent(node_t *node, double none);
static const char *route_chance(vh_t *vh, double percent, const char *value);
static void route_delay(vh_t *vh, rule_t *rule, FILE *out);
static const char *delay_time(vh_t *vh, node_t *delay);
static void route_rewrite(vh_t *vh, rule_t *rule, FILE *out);
static void route_slashes(FILE *out);
static void route_rewrite_regex(vh_t *vh, node_t *node, FILE *out);
static const char *route_prefix(rule_t *rule, int *whole);
static const char *route_host(vh_t *vh, rule_t *rule, list_t *request);
static void route_include(vh_t *vh, service_t *svc, const char *host,
    FILE *out);
static void headers_collect(vh_t *vh, rule_t *rule, node_t *dest, int single,
    const char *which, list_t *list);
static void headers_level(vh_t *vh, node_t *ops, list_t *list);
static header_t *headers_get(list_t *list, node_t *n, const char *name);
static char *headers_value(vh_t *vh, node_t *n);
static int headers_operator(const char *name, size_t len, char **value);
static void headers_request(list_t *list, service_t *svc, FILE *out);
static void headers_response(list_t *list, service_t *svc, FILE *out);
static const char *route_redirect(vh_t *vh, rule_t *rule);
static char *redirect_requested(vh_t *vh, int https);
static char *redirect_path(vh_t *vh, rule_t *rule, node_t *r);
static char *redirect_authority(vh_t *vh, node_t *r);
static const char *route_direct(vh_t *vh, rule_t *rule);
static place_t *answer_new(vh_t *vh, const pos_t *pos, rule_t *rule,
    FILE **out);
static const char *answer_grpc(vh_t *vh, const pos_t *pos, rule_t *rule,
    const char *status);
static const char *abort_status(vh_t *vh, rule_t *rule, node_t *abort,
    const char **grpc);
static const char *abort_grpc_status(const char *text);
static void cors_response(vh_t *vh, rule_t *rule, service_t *svc, FILE *out);
static void cors_header(const char *module, const char *name,
    const char *value, FILE *out);
static const char *cors_origin(vh_t *vh, node_t *cors);
static const char *cors_list(vh_t *vh, node_t *list);
static void cors_preflight(vh_t *vh, node_t *cors, const char *origin,
    FILE *out);
static const char *cors_when(vh_t *vh, const char *variable,
    const char *empty, const char *text);


const char *
emit_location(vh_t *vh, rule_t *rule)
{
    if (vh->rule && vh->rule->node == rule->node && !route_by_match(rule)) {
        return vh->to;
    }

    vh->rule = rule;

    if (node_get(rule->node, "redirect")) {
        vh->to = route_redirect(vh, rule);

    } else if (node_get(rule->node, "directResponse")) {
        vh->to = route_direct(vh, rule);

    } else {
        vh->to = route_split(vh, rule);
    }

    return vh->to;
}


static place_t *
place_new(vh_t *vh, const pos_t *pos, const char *prefix, FILE **out)
{
    place_t  *place;

    place = xalloc(sizeof(place_t));
    place->name = xprintf("%s%u", prefix, ++vh->n);
    place->pos = pos;

    *out = open_memstream(&place->body, &place->size);

    if (*out == NULL) {
        abort();
    }

    list_push(&vh->places, place);

    return place;
}


/* for %ROUTE_NAME% in logs */

static void
route_name(vh_t *vh, rule_t *rule, FILE *out)
{
    if (rule && rule->name) {
        fprintf(out, "            set             $egress_name %s;\n",
                text_quoted(vh->e, &rule->node->pos, rule->name));
        vh->e->named = 1;
    }
}


/*
 * Several destinations are one place, unless they have headers of their own
 * or it can't be what all of them speak.
 */

static const char *
route_split(vh_t *vh, rule_t *rule)
{
    long         sum, part, left;
    char        *name;
    list_t       places;
    size_t       i;
    target_t    *t;
    const char  *to;

    for (t = rule->targets; t; t = t->next) {
        if (node_get(t->node, "headers")
            || !route_alike(t->service, rule->targets->service))
        {
            break;
        }
    }

    if (t == NULL || rule->targets->next == NULL) {
        return route_proxy(vh, rule, emit_targets(vh->e, rule->targets),
                           rule->targets, rule->targets->next == NULL);
    }

    memset(&places, 0, sizeof(list_t));
    sum = 0;

    for (t = rule->targets; t; t = t->next) {
        to = route_proxy(vh, rule, t->service->name, t, 0);
        list_push(&places, (void *) to);
        sum += t->weight;
    }

    name = xprintf("$egress_split_%u", ++vh->e->ids);
    left = 10000;

    fprintf(vh->e->maps, "\n    split_clients  $request_id  %s {\n", name);

    for (t = rule->targets, i = 0; t->next; t = t->next, i++) {
        part = (long) ((double) t->weight * 10000 / sum + 0.5);
        part = part ? part : 1;
        part = (part >= left) ? left - 1 : part;
        left -= part;

        fprintf(vh->e->maps, "        %ld.%02ld%%  %s;\n", part / 100,
                part % 100, (char *) places.elts[i]);
    }

    fprintf(vh->e->maps, "        *  %s;\n    }\n", (char *) places.elts[i]);

    return name;
}


/* in HTTP/2 the location says if it is within TLS: the request does too */

static int
route_alike(service_t *one, service_t *two)
{
    return one->http2 == two->http2
           && (!one->http2 || emit_originates(one) == emit_originates(two));
}


static const char *
route_proxy(vh_t *vh, rule_t *rule, const char *name, target_t *target,
    int single)
{
    FILE        *out, *saved;
    list_t       request, response;
    node_t      *dest;
    place_t     *place;
    service_t   *svc;
    const char  *host;

    svc = target->service;
    dest = target->node;

    memset(&request, 0, sizeof(list_t));
    memset(&response, 0, sizeof(list_t));

    headers_collect(vh, rule, dest, single, "request", &request);
    headers_collect(vh, rule, dest, single, "response", &response);

    place = place_new(vh, &rule->node->pos, "@r", &out);

    route_name(vh, rule, out);
    fputs("            egress_service  ", out);

    if (*name == '$') {
        fputs(name, out);

    } else {
        saved = vh->e->out;
        vh->e->out = out;
        emit_word(vh->e, &rule->node->pos, name);
        vh->e->out = saved;
    }

    fputs(";\n", out);

    limits_rule(vh->e, vh->l, vh->v, rule, out);
    route_delay(vh, rule, out);
    route_timeout(rule, svc, out);
    route_mirrors(vh, rule, out);
    route_rewrite(vh, rule, out);

    host = route_host(vh, rule, &request);

    route_include(vh, svc, host, out);
    headers_request(&request, svc, out);
    headers_response(&response, svc, out);
    cors_response(vh, rule, svc, out);
    route_pass(vh, svc, out);
    fclose(out);

    return place->name;
}


/* what the directives of its locations begin with */

static const char *
route_module(service_t *svc)
{
    return svc->http2 ? "grpc" : "proxy";
}


/* "grpc_pass" is nginx's HTTP/2, of any version and not of gRPC alone */

static void
route_pass(vh_t *vh, service_t *svc, FILE *out)
{
    if (!svc->http2) {
        fputs("            proxy_pass      http://egress;\n", out);
        return;
    }

    vh->e->http2 = 1;

    fprintf(out, "            grpc_pass       %s://egress;\n",
            emit_originates(svc) ? "grpcs" : "grpc");
}


/* the same rule is another place for each path that it rewrites */

static int
route_by_match(rule_t *rule)
{
    return node_path(rule->node, "rewrite.uri")
           || node_path(rule->node, "redirect.prefixRewrite");
}


static void
route_timeout(rule_t *rule, service_t *svc, FILE *out)
{
    long         ms;
    const char  *module;

    ms = node_time(rule->node, "timeout");
    module = route_module(svc);

    if (ms > 0) {
        fprintf(out, "            %s_read_timeout  %ldms;\n"
                     "            %s_send_timeout  %ldms;\n",
                module, ms, module, ms);
    }

    /* a stream of a client's may rest as long as it likes */

    if (svc->http2) {
        fputs("            client_body_timeout  1h;\n", out);
    }
}


/* a mirror gets the path as it was when the request came, and rewrites too */

static void
route_mirrors(vh_t *vh, rule_t *rule, FILE *out)
{
    target_t  *t;

    if (rule->mirrors) {
        fputs("            set             $egress_uri $uri;\n", out);
    }

    for (t = rule->mirrors; t; t = t->next) {
        route_mirror(vh, rule, t, out);
    }
}


static void
route_mirror(vh_t *vh, rule_t *rule, target_t *t, FILE *main)
{
    FILE        *out;
    double       percent;
    list_t       request;
    node_t      *n;
    place_t     *place;
    const char  *chance, *host;

    n = node_get(rule->node, "mirrorPercentage");
    percent = 100;

    if (node_get(t->node, "destination")) {
        percent = route_percent(node_get(t->node, "percentage"), 100);

    } else if (n) {
        percent = route_percent(n, 100);

    } else {
        n = node_get(rule->node, "mirrorPercent");
        n = n ? n : node_get(rule->node, "mirror_percent");
        percent = n ? (double) strtol(n->text, NULL, 10) : 100;
    }

    if (percent > 100) {
        diag(DIAG_ERROR, &t->node->pos, "VALUE",
             "the percentage of a mirror has to be from 0 to 100");
    }

    if (percent <= 0) {
        return;
    }

    memset(&request, 0, sizeof(list_t));
    headers_collect(vh, rule, NULL, 0, "request", &request);

    place = place_new(vh, &t->node->pos, "= /.egress/mirror", &out);

    fputs("            internal;\n", out);

    if (percent < 100) {
        chance = route_chance(vh, percent, "1");
        fprintf(out, "            if (%s = 0) {\n"
                     "                return 204;\n            }\n", chance);
    }

    fprintf(out, "            egress_service  %s;\n", t->service->name);

    if (node_get(rule->node, "rewrite")
        && (node_path(rule->node, "rewrite.uri")
            || node_path(rule->node, "rewrite.uriRegexRewrite")))
    {
        fputs("            rewrite         ^ $egress_uri;\n", out);
        route_rewrite(vh, rule, out);

    } else {
        fputs("            rewrite         ^ $egress_uri break;\n", out);
    }

    host = route_host(vh, rule, &request);
    route_include(vh, t->service, host, out);
    headers_request(&request, t->service, out);
    route_pass(vh, t->service, out);
    fclose(out);

    fprintf(main, "            mirror          %s;\n", place->name + 2);
}


static double
route_percent(node_t *node, double none)
{
    double       n;
    const char  *text;

    if (node == NULL) {
        return none;
    }

    text = node_text(node, "value");
    n = text ? strtod(text, NULL) : 0;

    if (n > 100 || (n > 0 && n < 0.01)) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "a percentage has to be 0, or from 0.01 to 100");
    }

    return n;
}


static const char *
route_chance(vh_t *vh, double percent, const char *value)
{
    char  *name;

    name = xprintf("$egress_if_%u", ++vh->e->ids);

    /* not what weights are drawn by */

    fprintf(vh->e->maps, "\n    split_clients  \"$request_id %u\"  %s {\n"
                         "        %.2f%%  %s;\n        *  0;\n    }\n",
            vh->e->ids, name, percent, value);

    return name;
}


static void
route_delay(vh_t *vh, rule_t *rule, FILE *out)
{
    node_t  *delay;

    delay = rule ? node_path(rule->node, "fault.delay") : NULL;

    if (delay == NULL) {
        return;
    }

    if (rule->delay == NULL) {
        rule->delay = delay_time(vh, delay);
    }

    if (*rule->delay) {
        fprintf(out, "            egress_delay    %s;\n", rule->delay);
    }
}


static const char *
delay_time(vh_t *vh, node_t *delay)
{
    long     ms;
    double   percent;
    node_t  *n;

    n = node_get(delay, "percentage");
    percent = n ? route_percent(n, 0) : (double) node_number(delay, "percent");
    ms = node_time(delay, "fixedDelay");

    if (percent <= 0) {
        diag(DIAG_NOTE, &delay->key->pos, "NOEFFECT",
             "\"delay\" without a percentage never happens");
        return "";
    }

    if (ms <= 0) {
        diag(DIAG_ERROR, &delay->key->pos, "MISSING", "\"delay\" must have "
             "\"fixedDelay\", of 1ms or more");
        return "";
    }

    return percent < 100 ? route_chance(vh, percent, xprintf("%ldms", ms))
                         : xprintf("%ldms", ms);
}


static void
route_rewrite(vh_t *vh, rule_t *rule, FILE *out)
{
    int          whole, icase;
    node_t      *rewrite, *uri, *regex;
    const char  *prefix;

    rewrite = node_get(rule->node, "rewrite");
    uri = node_get(rewrite, "uri");
    regex = node_get(rewrite, "uriRegexRewrite");

    if (rewrite && rewrite->child == NULL) {
        diag(DIAG_ERROR, &rewrite->pos, "MISSING", "\"rewrite\" must have "
             "\"uri\", \"uriRegexRewrite\" or \"authority\"");
        return;
    }

    if (uri && regex) {
        diag(DIAG_ERROR, &rewrite->pos, "VALUE",
             "\"uri\" and \"uriRegexRewrite\" exclude each other");
        return;
    }

    if (regex) {
        route_rewrite_regex(vh, regex, out);
        return;
    }

    if (uri == NULL) {
        return;
    }

    /* nginx would redirect to anything else, and take "?" for arguments */

    if (*uri->text != '/' || strchr(uri->text, '?')) {
        diag(DIAG_ERROR, &uri->pos, "VALUE", "\"uri\" of a rewrite has to "
             "begin with \"/\" and to be without \"?\"");
        return;
    }

    prefix = route_prefix(rule, &whole);
    icase = node_true(rule->match, "ignoreUriCase");

    if (whole) {
        fprintf(out, "            rewrite         ^ %s break;\n",
                text_quoted(vh->e, &uri->pos, uri->text));
        return;
    }

    route_slashes(out);

    fprintf(out, "            rewrite         \"(?%ss)^%s(.*)\\\\z\" \"%s$1\" "
                 "break;\n", icase ? "i" : "",
            text_literal(&uri->pos, prefix),
            text_value(vh->e, &uri->pos, uri->text));
}


/*
 * What is rewritten is the decoded path, and a slash in it is sent as a slash:
 * another path than the policies decided on.
 */

static void
route_slashes(FILE *out)
{
    fputs("            if ($request_uri ~* \"^[^?]*%2f\") {\n"
          "                return      400;\n            }\n", out);
}


/* Envoy replaces all matches: of one that is at the start there is one */

static void
route_rewrite_regex(vh_t *vh, node_t *node, FILE *out)
{
    int          groups, alternatives;
    char        *regex, *value, *part;
    node_t      *match, *to;
    const char  *p;

    match = node_get(node, "match");
    to = node_get(node, "rewrite");

    if (match == NULL || to == NULL || *match->text != '^') {
        diag(DIAG_ERROR, &node->pos, "UNSUPPORTED",
             "\"uriRegexRewrite\" must have \"rewrite\" and a \"match\" that "
             "begins with \"^\": Envoy replaces all matches, nginx the first");
        return;
    }

    regex = text_regex(&match->pos, match->text, &groups, &alternatives);

    if (alternatives || groups > 8 || *to->text != '/'
        || strchr(to->text, '?'))
    {
        diag(DIAG_ERROR, &node->pos, "UNSUPPORTED",
             "the \"match\" may have up to 8 groups and no \"|\" outside of "
             "them, \"rewrite\" has to begin with \"/\" and to be without "
             "\"?\"");
        return;
    }

    value = xstrdup("");

    for (p = to->text; *p; p++) {

        if (*p == '\\' && p[1] >= '0' && p[1] <= '9') {

            if (p[1] - '0' > groups || p[1] == '0') {
                diag(DIAG_ERROR, &to->pos, "VALUE",
                     "\"\\%c\" is no group of the \"match\"", p[1]);
                return;
            }

            value = xprintf("%s${%c}", value, p[1]);
            value[strlen(value) - 3] = '\0';
            value = xprintf("%s%c", value, p[1]);
            p++;
            continue;
        }

        part = xprintf("%c", *p);
        value = xprintf("%s%s", value, text_value(vh->e, &to->pos, part));
    }

    route_slashes(out);

    fprintf(out, "            rewrite         \"(?s)%s(.*)\\\\z\" \"%s$%d\" "
                 "break;\n", regex, value, groups + 1);
}


/* what of the path a rewrite replaces; whole: all of it */

static const char *
route_prefix(rule_t *rule, int *whole)
{
    node_t      *uri;
    const char  *text;

    *whole = 0;
    uri = node_get(rule->match, "uri");

    if (uri == NULL || uri->child == NULL) {
        return "/";
    }

    text = node_text(uri, "prefix");
    *whole = (text == NULL);

    return text;
}


/* of the rewrite, else of the headers; NULL: as the client has it */

static const char *
route_host(vh_t *vh, rule_t *rule, list_t *request)
{
    size_t       i, k;
    node_t      *node;
    header_t    *h;
    const char  *host;

    host = NULL;
    node = node_path(rule->node, "rewrite.authority");

    if (node) {
        host = xprintf("\"%s\"", text_line(vh->e, &node->pos, node->text));
    }

    for (i = 0, k = 0; i < request->n; i++) {
        h = request->elts[i];

        if (strcasecmp(h->name, "host") != 0) {
            request->elts[k++] = h;
            continue;
        }

        if (host == NULL && h->values.n) {
            host = h->values.elts[0];
        }
    }

    request->n = k;

    return host;
}


/* nginx would send both Hosts: there is a file without it */

static void
route_include(vh_t *vh, service_t *svc, const char *host, FILE *out)
{
    FILE        *saved;
    size_t       len;
    const char  *conf;

    conf = vh->e->m->options->proxy_conf;
    len = strlen(conf);

    if (host || svc->http2) {
        if (len > 5 && strcmp(conf + len - 5, ".conf") == 0) {
            len -= 5;
        }

        conf = xprintf("%.*s%s%s.conf", (int) len, conf,
                       svc->http2 ? "_grpc" : "", host ? "_headers" : "");
    }

    saved = vh->e->out;
    vh->e->out = out;

    fputs("            include         ", out);
    emit_word(vh->e, NULL, conf);
    fputs(";\n", out);

    vh->e->out = saved;

    if (host) {
        fprintf(out, "            %s_set_header  Host %s;\n",
                route_module(svc), host);
    }
}


/*
 * With one destination its headers come after the rule's, with several
 * before them.
 */

static void
headers_collect(vh_t *vh, rule_t *rule, node_t *dest, int single,
    const char *which, list_t *list)
{
    node_t  *own, *rules;

    rules = node_get(node_get(rule->node, "headers"), which);
    own = node_get(node_get(dest, "headers"), which);

    if (single) {
        headers_level(vh, rules, list);
        headers_level(vh, own, list);

    } else {
        headers_level(vh, own, list);
        headers_level(vh, rules, list);
    }
}


static void
headers_level(vh_t *vh, node_t *ops, list_t *list)
{
    node_t    *n;
    header_t  *h;

    for (n = node_first(ops, "remove"); n; n = n->next) {

        /* Istio leaves those alone */

        if (*n->text == ':' || strcasecmp(n->text, "host") == 0) {
            continue;
        }

        h = headers_get(list, n, n->text);

        if (h) {
            h->replaced = 1;
            h->values.n = 0;
        }
    }

    /* an empty value neither replaces a header nor is added */

    for (n = node_first(ops, "set"); n; n = n->next) {
        h = headers_get(list, n->key, n->key->text);

        if (h && *n->text) {
            h->replaced = 1;
            h->values.n = 0;
            list_push(&h->values, headers_value(vh, n));
        }
    }

    for (n = node_first(ops, "add"); n; n = n->next) {
        h = headers_get(list, n->key, n->key->text);

        if (h && *n->text) {
            list_push(&h->values, headers_value(vh, n));
        }
    }
}


static header_t *
headers_get(list_t *list, node_t *n, const char *name)
{
    size_t     i;
    header_t  *h;

    static const char  *refused[] = {
        "connection", "content-length", "transfer-encoding", "upgrade",
        "keep-alive", "te", "trailer", "date", "server", "expect"
    };

    name = strcasecmp(name, ":authority") ? name : "Host";

    if (text_header(&n->pos, "", name) == NULL) {
        return NULL;
    }

    for (i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        if (strcasecmp(name, refused[i]) == 0) {
            diag(DIAG_ERROR, &n->pos, "UNSUPPORTED",
                 "header \"%s\" is nginx's own to write", name);
            return NULL;
        }
    }

    for (i = 0; i < list->n; i++) {
        h = list->elts[i];

        if (strcasecmp(h->name, name) == 0) {
            return h;
        }
    }

    h = xalloc(sizeof(header_t));
    h->name = name;
    h->pos = &n->pos;

    list_push(list, h);

    return h;
}


/* "%%" is one "%", "%REQ(name)%" a header of the request */

static char *
headers_value(vh_t *vh, node_t *n)
{
    char        *value, *part;
    const char  *p, *end;

    value = xstrdup("");

    for (p = n->text; *p; p = end) {
        end = p + strcspn(p, "%");
        part = xprintf("%.*s", (int) (end - p), p);
        value = xprintf("%s%s", value, text_line(vh->e, &n->pos, part));

        if (*end == '\0') {
            break;
        }

        p = end + 1;
        end = strchr(p, '%');

        if (end == p) {
            value = xprintf("%s%%", value);
            end++;
            continue;
        }

        if (end == NULL || !headers_operator(p, end - p, &part)) {
            diag(DIAG_ERROR, &n->pos, "UNSUPPORTED",
                 "\"%%%.*s\" has no equivalent in nginx; \"%%%%\" is one "
                 "\"%%\"", (int) (end ? end - p + 1 : 20), p);
            break;
        }

        value = xprintf("%s%s", value, part);
        end++;
    }

    return xprintf("\"%s\"", value);
}


static int
headers_operator(const char *name, size_t len, char **value)
{
    size_t  i;
    char   *p;

    static const char  *names[][2] = {
        { "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "${remote_addr}" },
        { "DOWNSTREAM_REMOTE_ADDRESS", "${remote_addr}:${remote_port}" },
        { "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "${server_addr}" },
        { "DOWNSTREAM_LOCAL_ADDRESS", "${server_addr}:${server_port}" },
        { "REQ(:METHOD)", "${request_method}" },
        { "REQ(:PATH)", "${request_uri}" },
        { "REQ(:AUTHORITY)", "${egress_authority}" },
        { "PROTOCOL", "${server_protocol}" },
        { "HOSTNAME", "${hostname}" },
        { "REQUESTED_SERVER_NAME", "${egress_sni}" },
        { "DOWNSTREAM_PEER_URI_SAN", "spiffe://${egress_principal}" }
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strlen(names[i][0]) == len && strncmp(names[i][0], name, len) == 0)
        {
            *value = xstrdup(names[i][1]);
            return 1;
        }
    }

    /* a name for ":authority" */

    if (len == 9 && strncasecmp(name, "REQ(host)", len) == 0) {
        *value = xstrdup("${egress_authority}");
        return 1;
    }

    if (len < 6 || strncmp(name, "REQ(", 4) != 0 || name[len - 1] != ')'
        || strspn(name + 4, "abcdefghijklmnopqrstuvwxyz-"
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789")
           != len - 5)
    {
        return 0;
    }

    *value = xprintf("${egress_http_%.*s}", (int) (len - 5), name + 4);

    for (p = *value + 2; *p; p++) {
        *p = (*p == '-') ? '_' : (char) tolower((unsigned char) *p);
    }

    return 1;
}


static void
headers_request(list_t *list, service_t *svc, FILE *out)
{
    size_t       i, k;
    header_t    *h;
    const char  *module;

    module = route_module(svc);

    for (i = 0; i < list->n; i++) {
        h = list->elts[i];

        if (!h->replaced) {
            fprintf(out, "            %s_set_header  %s %s;\n", module,
                    h->name, text_request(h->pos, h->name));
        }

        for (k = 0; k < h->values.n; k++) {
            fprintf(out, "            %s_set_header  %s %s;\n", module,
                    h->name, (char *) h->values.elts[k]);
        }

        if (h->replaced && h->values.n == 0) {
            fprintf(out, "            %s_set_header  %s \"\";\n", module,
                    h->name);
        }
    }
}


/* svc: whose answer it is, or NULL */

static void
headers_response(list_t *list, service_t *svc, FILE *out)
{
    size_t     i, k;
    header_t  *h;

    for (i = 0; i < list->n; i++) {
        h = list->elts[i];

        if (h->replaced && svc) {
            fprintf(out, "            %s_hide_header  %s;\n",
                    route_module(svc), h->name);
        }

        for (k = 0; k < h->values.n; k++) {
            fprintf(out, "            add_header  %s %s always;\n", h->name,
                    (char *) h->values.elts[k]);
        }
    }
}


/*
 * What the gateway answers itself is decided on before, as a request is that
 * goes somewhere: a policy that denies it comes first.
 */

const char *
emit_answer(vh_t *vh, const pos_t *pos, rule_t *rule, const char *status,
    const char *text)
{
    FILE     *out;
    list_t    response;
    place_t  *place;

    place = answer_new(vh, pos, rule, &out);

    fputs("            default_type    text/plain;\n", out);

    if (rule) {
        memset(&response, 0, sizeof(list_t));
        headers_collect(vh, rule, NULL, 0, "response", &response);
        headers_response(&response, NULL, out);
    }

    if (status == NULL) {
        cors_preflight(vh, node_get(rule->node, "corsPolicy"), text, out);

    } else {
        fprintf(out, "            return          %s %s;\n", status, text);
    }

    fclose(out);

    return place->name;
}


/* what is decided on, and the place of the answer, to be filled */

static place_t *
answer_new(vh_t *vh, const pos_t *pos, rule_t *rule, FILE **out)
{
    place_t  *place;

    vh->e->m->answers = 1;

    place = place_new(vh, pos, "@r", out);

    route_name(vh, rule, *out);
    fputs("            egress_service  answer;\n", *out);
    limits_rule(vh->e, vh->l, vh->v, rule, *out);
    route_delay(vh, rule, *out);
    fprintf(*out, "            root            /dev/null;\n"
                  "            try_files       /- @a%u;\n", vh->n + 1);
    fclose(*out);

    (void) place_new(vh, pos, "@a", out);

    fputs("            egress          off;\n", *out);

    return place;
}


const char *
emit_abort(vh_t *vh, rule_t *rule, const char **grpc, const char **condition)
{
    double       percent;
    node_t      *abort;
    const char  *status;

    abort = node_path(rule->node, "fault.abort");

    if (abort == NULL) {
        return NULL;
    }

    percent = route_percent(node_get(abort, "percentage"), 0);

    if (percent <= 0) {
        diag(DIAG_NOTE, &abort->key->pos, "NOEFFECT",
             "\"abort\" without a percentage never happens");
        return NULL;
    }

    status = abort_status(vh, rule, abort, grpc);

    if (status == NULL) {
        return NULL;
    }

    if (percent < 100) {
        *condition = route_chance(vh, percent, "1");
    }

    return emit_answer(vh, &abort->pos, rule, status,
                       "\"fault filter abort\"");
}


/* with "grpcStatus" Envoy says 200 to who speaks no gRPC */

static const char *
abort_status(vh_t *vh, rule_t *rule, node_t *abort, const char **grpc)
{
    long         status;
    node_t      *node;
    const char  *number;

    node = node_get(abort, "grpcStatus");
    status = node_number(abort, "httpStatus");

    if (node && status == -1) {
        number = abort_grpc_status(node->text);

        if (number == NULL) {
            diag(DIAG_ERROR, &node->pos, "VALUE", "\"%.40s\" is no status of "
                 "gRPC, as UNAVAILABLE is", node->text);
            return NULL;
        }

        *grpc = answer_grpc(vh, &abort->pos, rule, number);

        return "200";
    }

    if (node || status < 200 || status > 599 || (status > 300 && status < 309))
    {
        diag(DIAG_ERROR, &abort->pos, "VALUE", "\"abort\" must have one of "
             "\"httpStatus\", from 200 to 599 and no redirect, and "
             "\"grpcStatus\"");
        return NULL;
    }

    return xprintf("%ld", status);
}


static const char *
abort_grpc_status(const char *text)
{
    size_t  i;

    static const char  *names[] = {
        "OK", "CANCELLED", "UNKNOWN", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED",
        "NOT_FOUND", "ALREADY_EXISTS", "PERMISSION_DENIED",
        "RESOURCE_EXHAUSTED", "FAILED_PRECONDITION", "ABORTED",
        "OUT_OF_RANGE", "UNIMPLEMENTED", "INTERNAL", "UNAVAILABLE",
        "DATA_LOSS", "UNAUTHENTICATED"
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i], text) == 0) {
            return xprintf("%zu", i);
        }
    }

    return NULL;
}


/* headers that are trailers as well, as there is nothing between them */

static const char *
answer_grpc(vh_t *vh, const pos_t *pos, rule_t *rule, const char *status)
{
    FILE     *out;
    list_t    response;
    place_t  *place;

    place = answer_new(vh, pos, rule, &out);

    memset(&response, 0, sizeof(list_t));
    headers_collect(vh, rule, NULL, 0, "response", &response);
    headers_response(&response, NULL, out);

    fprintf(out, "            default_type    application/grpc;\n"
                 "            add_header  grpc-status %s always;\n"
                 "            add_header  grpc-message \"fault filter abort\" "
                 "always;\n"
                 "            return          200 \"\";\n", status);
    fclose(out);

    return place->name;
}


static const char *
route_redirect(vh_t *vh, rule_t *rule)
{
    long         code;
    node_t      *r;
    const char  *scheme;

    r = node_get(rule->node, "redirect");

    if (r->child == NULL
        || (node_get(r, "uri") && node_get(r, "prefixRewrite"))
        || (node_get(r, "port") && node_get(r, "derivePort")))
    {
        diag(DIAG_ERROR, &r->pos, "VALUE", "\"redirect\" must have something "
             "to change, \"uri\" and \"prefixRewrite\" exclude each other, "
             "\"port\" and \"derivePort\" too");
        return "@none";
    }

    code = node_number(r, "redirectCode");
    code = node_get(r, "redirectCode") ? code : 301;

    if (code != 301 && code != 302 && code != 303 && code != 307
        && code != 308)
    {
        diag(DIAG_ERROR, &node_get(r, "redirectCode")->pos, "VALUE",
             "\"redirectCode\" has to be 301, 302, 303, 307 or 308");
        return "@none";
    }

    scheme = node_text(r, "scheme");

    return emit_answer(vh, &rule->node->pos, rule, xprintf("%ld", code),
                       xprintf("\"%s://%s%s\"", scheme ? scheme : "$scheme",
                               redirect_authority(vh, r),
                               redirect_path(vh, rule, r)));
}


/* a port that goes without saying is not said */

static char *
redirect_authority(vh_t *vh, node_t *r)
{
    int          https;
    long         port;
    char        *host;
    node_t      *n;
    const char  *scheme, *derive;

    n = node_get(r, "authority");
    scheme = node_text(r, "scheme");
    derive = node_text(r, "derivePort");
    port = node_number(r, "port");

    https = scheme ? strcmp(scheme, "https") == 0
                   : vh->l->terminates || vh->l->mutual;

    if (derive && strcmp(derive, "FROM_REQUEST_PORT") == 0) {
        port = vh->l->port;
    }

    if (n) {
        host = text_line(vh->e, &n->pos, n->text);

    } else if (derive || port != -1) {
        host = "$host";

    } else {
        host = redirect_requested(vh, https);
    }

    if (port == -1 || (https && port == 443) || (!https && port == 80)) {
        return host;
    }

    return xprintf("%s:%ld", host, port);
}


/* the client's port stays, but where it goes without saying in one scheme */

static char *
redirect_requested(vh_t *vh, int https)
{
    int   was;
    long  port;

    was = vh->l->terminates || vh->l->mutual;

    if (was == https) {
        return "$egress_authority";
    }

    port = was ? 443 : 80;

    if (!vh->e->portless[was]) {
        vh->e->portless[was] = 1;

        fprintf(vh->e->maps, "\n    map $egress_authority "
                             "$egress_authority_no_%ld {\n"
                             "        default  $egress_authority;\n"
                             "        \"~^(?<egress_no_%ld>.*):%ld$\"  "
                             "$egress_no_%ld;\n    }\n",
                port, port, port, port);
    }

    return xprintf("$egress_authority_no_%ld", port);
}


static char *
redirect_path(vh_t *vh, rule_t *rule, node_t *r)
{
    int          whole;
    char        *name;
    node_t      *n;
    const char  *prefix;

    n = node_get(r, "uri");

    if (n && (*n->text != '/' || strchr(n->text, '%'))) {
        diag(DIAG_ERROR, &n->pos, "VALUE", "\"uri\" of a redirect has to begin "
             "with \"/\", and has no \"%%\" here");
        return "";
    }

    if (n) {
        return xprintf("%s%s", text_line(vh->e, &n->pos, n->text),
                       strchr(n->text, '?') ? "" : "$is_args$args");
    }

    n = node_get(r, "prefixRewrite");

    if (n == NULL) {
        return "$request_uri";
    }

    prefix = route_prefix(rule, &whole);

    if (whole) {
        diag(DIAG_ERROR, &n->pos, "VALUE", "\"prefixRewrite\" replaces what "
             "\"prefix\" of a \"uri\" matches, and the match has none");
        return "";
    }

    name = xprintf("$egress_rest_%u", ++vh->e->ids);

    fprintf(vh->e->maps, "\n    map $request_uri %s {\n"
                         "        default  \"\";\n"
                         "        \"~%s^%s(?<%s_>.*)\"  %s_;\n    }\n",
            name, node_true(rule->match, "ignoreUriCase") ? "*" : "",
            text_literal(&n->pos, prefix), name + 1, name);

    return xprintf("%s%s", text_line(vh->e, &n->pos, n->text), name);
}


static const char *
route_direct(vh_t *vh, rule_t *rule)
{
    long         status;
    size_t       len;
    node_t      *r, *body;
    const char  *text;

    r = node_get(rule->node, "directResponse");
    status = node_number(r, "status");
    body = node_path(r, "body.string");
    text = body ? body->text : "";

    if (node_path(r, "body.bytes")) {
        body = node_path(r, "body.bytes");
        text = (const char *) base64(body->text, &len);

        if (text == NULL || strlen(text) != len) {
            diag(DIAG_ERROR, &body->pos, "VALUE", text
                 ? "\"bytes\" with a NUL are not rendered"
                 : "\"bytes\" have to be in base64");
            return "@none";
        }
    }

    if (status < 200 || status > 599 || (status > 300 && status < 309)) {
        diag(DIAG_ERROR, &r->pos, "VALUE", "\"status\" has to be from 200 to "
             "599, and for a redirect there is \"redirect\"");
        return "@none";
    }

    /* nginx has pages of its own for errors without a text */

    if (*text == '\0' && status >= 400) {
        vh->e->empty = 1;

        return emit_answer(vh, &rule->node->pos, rule, xprintf("%ld", status),
                           "$egress_empty");
    }

    return emit_answer(vh, &rule->node->pos, rule, xprintf("%ld", status),
                       text_quoted(vh->e, body ? &body->pos : &r->pos, text));
}


void
emit_cors(vh_t *vh, rule_t *rule)
{
    node_t      *cors;
    const char  *origin, *unmatched;

    cors = node_get(rule->node, "corsPolicy");
    origin = cors_origin(vh, cors);

    emit_preflight(vh, rule, emit_answer(vh, &cors->pos, rule, NULL, origin),
                   origin);

    unmatched = node_text(cors, "unmatchedPreflights");

    if (unmatched && strcmp(unmatched, "IGNORE") == 0) {
        emit_preflight(vh, rule, emit_answer(vh, &cors->pos, NULL, "200",
                                             "\"\""), "$http_origin");
    }
}


static void
cors_response(vh_t *vh, rule_t *rule, service_t *svc, FILE *out)
{
    node_t      *cors;
    const char  *origin, *list, *module;

    cors = node_get(rule->node, "corsPolicy");

    if (cors == NULL) {
        return;
    }

    module = route_module(svc);
    origin = cors_origin(vh, cors);

    cors_header(module, "Access-Control-Allow-Origin",
                cors_when(vh, origin,
                          "$upstream_http_access_control_allow_origin",
                          origin), out);

    if (node_true(cors, "allowCredentials")) {
        cors_header(module, "Access-Control-Allow-Credentials",
                    cors_when(vh, origin,
                            "$upstream_http_access_control_allow_credentials",
                            "true"), out);
    }

    list = cors_list(vh, node_get(cors, "exposeHeaders"));

    if (list) {
        cors_header(module, "Access-Control-Expose-Headers",
                    cors_when(vh, origin,
                              "$upstream_http_access_control_expose_headers",
                              list), out);
    }
}


static void
cors_header(const char *module, const char *name, const char *value, FILE *out)
{
    fprintf(out, "            %s_hide_header  %s;\n"
                 "            add_header  %s %s always;\n",
            module, name, name, value);
}


/* the origin, if it is one of those that are allowed, else nothing */

static const char *
cors_origin(vh_t *vh, node_t *cors)
{
    char        *key, *regex;
    FILE        *maps;
    node_t      *n;
    const char  *name;

    key = xprintf("cors %p", (void *) cors->child);
    name = hash_get(vh->e->conditions, key);

    if (name) {
        return name;
    }

    maps = vh->e->maps;
    name = xprintf("$egress_origin_%u", ++vh->e->ids);
    hash_put(vh->e->conditions, key, (void *) name);

    fprintf(maps, "\n    map $http_origin %s {\n        default  \"\";\n",
            name);

    for (n = node_first(cors, "allowOrigins"); n; n = n->next) {

        regex = emit_string(n, ".");

        if (node_text(n, "exact") && strcmp(node_text(n, "exact"), "*") == 0) {
            regex = xstrdup(".");
        }

        if (regex) {
            fprintf(maps, "        \"~%s\"  $http_origin;\n", regex);
        }
    }

    n = node_get(cors, "allowOrigins") ? NULL
                                       : node_first(cors, "allowOrigin");

    for ( /* void */ ; n; n = n->next) {
        fprintf(maps, "        \"~%s%s\"  $http_origin;\n",
                strcmp(n->text, "*") ? "^" : ".",
                strcmp(n->text, "*")
                ? xprintf("%s\\\\z", text_literal(&n->pos, n->text)) : "");
    }

    fputs("    }\n", maps);

    return name;
}


static const char *
cors_list(vh_t *vh, node_t *list)
{
    char    *text;
    node_t  *n;

    if (list == NULL || list->child == NULL) {
        return NULL;
    }

    text = xstrdup("");

    for (n = list->child; n; n = n->next) {
        text = xprintf("%s%s%s", text, *text ? "," : "",
                       text_line(vh->e, &n->pos, n->text));
    }

    return xprintf("\"%s\"", text);
}


static void
cors_preflight(vh_t *vh, node_t *cors, const char *origin, FILE *out)
{
    size_t       i;
    const char  *list;

    static const char  *names[][2] = {
        { "allowMethods", "Access-Control-Allow-Methods" },
        { "allowHeaders", "Access-Control-Allow-Headers" }
    };

    fprintf(out, "            add_header  Access-Control-Allow-Origin %s;\n",
            origin);

    for (i = 0; i < 2; i++) {
        list = cors_list(vh, node_get(cors, names[i][0]));

        if (list) {
            fprintf(out, "            add_header  %s %s;\n", names[i][1],
                    list);
        }
    }

    if (node_get(cors, "maxAge")) {
        fprintf(out, "            add_header  Access-Control-Max-Age %ld;\n",
                node_time(cors, "maxAge") / 1000);
    }

    if (node_true(cors, "allowCredentials")) {
        fputs("            add_header  Access-Control-Allow-Credentials "
              "true;\n", out);
    }

    fputs("            return          200 \"\";\n", out);
}


/* "text" if the variable has a value, else what "empty" is */

static const char *
cors_when(vh_t *vh, const char *variable, const char *empty, const char *text)
{
    char        *key;
    const char  *name;

    key = xprintf("when %s %s %s", variable, empty, text);
    name = hash_get(vh->e->conditions, key);

    if (name) {
        return name;
    }

    name = xprintf("$egress_cors_%u", ++vh->e->ids);
    hash_put(vh->e->conditions, key, (void *) name);

    fprintf(vh->e->maps, "\n    map %s %s {\n        \"\"       %s;\n"
                         "        default  %s;\n    }\n",
            variable, name, empty, text);

    return name;
}
