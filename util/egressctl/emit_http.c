
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stdlib.h>
#include <string.h>

#include "egressctl.h"
#include "emit.h"
#include "emit_http.h"
#include "limits.h"


static void emit_http_protocols(listener_t *l);
static char *emit_http_protocol(node_t *tls);
static int emit_merged(emit_t *e);
static void emit_admin(emit_t *e);
static void emit_http_clients(emit_t *e, listener_t *l);
static target_t *emit_http_grpc(listener_t *l);
static void emit_http_default(emit_t *e, listener_t *l);
static int emit_http_same(emit_t *e, listener_t *l, vhost_t *one,
    vhost_t *two);
static int emit_http_conditional(vhost_t *v);
static void emit_http_rules(vh_t *vh);
static void emit_http_rule(vh_t *vh, rule_t *rule);
static void emit_http_arm(vh_t *vh, rule_t *rule, const char *to);
static void emit_http_match(vh_t *vh, arm_t *arm, node_t *match);
static void emit_http_uri(vh_t *vh, arm_t *arm, node_t *match);
static node_t *emit_http_decoded(node_t *n);
static void emit_http_strings(vh_t *vh, arm_t *arm, node_t *map, int invert);
static void emit_http_queries(vh_t *vh, arm_t *arm, node_t *map);
static void emit_http_condition(vh_t *vh, arm_t *arm, const char *name);
static void emit_http_map(vh_t *vh);
static void emit_http_server(vh_t *vh, vhost_t *end);
static void emit_http_names(vh_t *vh, vhost_t *end);


void
emit_http(emit_t *e)
{
    FILE        *out;
    char        *servers, *maps;
    size_t       size, msize;
    vhost_t     *v;
    listener_t  *l;

    for (l = e->m->listeners; l && l->kind != LISTEN_HTTP; l = l->next) {
        /* void */
    }

    if (l == NULL) {

        if (e->m->options->admin) {
            fputs("http {", e->out);
            emit_admin(e);
            fputs("}\n", e->out);
        }

        return;
    }

    /* what servers need stands before them */

    out = e->out;
    e->out = open_memstream(&servers, &size);
    e->maps = open_memstream(&maps, &msize);

    if (e->out == NULL || e->maps == NULL) {
        abort();
    }

    e->stream = 0;
    e->ids = 0;
    e->conditions = hash_new();

    for (l = e->m->listeners; l; l = l->next) {

        if (l->kind != LISTEN_HTTP) {
            continue;
        }

        emit_http_clients(e, l);

        if (l->terminates) {
            emit_http_protocols(l);
        }

        /* what no rule routes is looked up: refused under registry_only */

        if (hash_get(l->names, "*") == NULL) {
            emit_http_default(e, l);
        }

        for (v = l->vhosts; v; v = v->next) {
            emit_vhost(e, l, v);

            while (v->next && emit_http_same(e, l, v, v->next)) {
                v = v->next;
            }
        }
    }

    fclose(e->out);
    fclose(e->maps);
    e->out = out;

    fputs("http {\n"
          "    server_names_hash_bucket_size  512;\n", e->out);

    if (*maps) {
        fputs("    map_hash_bucket_size           512;\n"
              "    variables_hash_max_size        8192;\n", e->out);
    }

    fprintf(e->out, "\n    # as Envoy: %s, any length, and only a route has a "
            "timeout\n"
            "    merge_slashes           %s;\n"
            "    underscores_in_headers  on;\n"
            "    client_max_body_size    0;\n"
            "    proxy_read_timeout      1h;\n"
            "    proxy_send_timeout      1h;\n",
            emit_merged(e) ? "no empty segments" : "slashes count",
            emit_merged(e) ? "on" : "off");

    if (e->http2) {
        fputs("    grpc_read_timeout       1h;\n"
              "    grpc_send_timeout       1h;\n", e->out);
    }

    if (e->named) {
        fputs("\n    uninitialized_variable_warn  off;\n", e->out);
    }

    fputs("\n    upstream egress {\n        egress_balance;\n    }\n", e->out);

    emit_admin(e);
    emit_logs(e);

    if (e->dollar) {
        fputs("\n    geo $egress_dollar {\n        default  \"$\";\n    }\n",
              e->out);
    }

    if (e->empty) {
        fputs("\n    geo $egress_empty {\n        default  \"\";\n    }\n",
              e->out);
    }

    fputs(maps, e->out);
    fputs(servers, e->out);
    fputs("}\n", e->out);

    free(maps);
    free(servers);
}


/* a port has one set of versions and ciphers: that of its default server */

static void
emit_http_protocols(listener_t *l)
{
    node_t   *tls;
    vhost_t  *v;

    tls = l->vhosts ? node_get(l->vhosts->server->node, "tls") : NULL;

    for (v = l->vhosts; v; v = v->next) {

        if (v->server != l->vhosts->server
            && strcmp(emit_http_protocol(node_get(v->server->node, "tls")),
                      emit_http_protocol(tls)) != 0)
        {
            diag(DIAG_ERROR, &v->server->node->pos, "CONFLICT",
                 "TLS versions, ciphers and curves are those of %s:%zu, which "
                 "has the same port: nginx has one set for a port",
                 l->vhosts->server->node->pos.source->name,
                 l->vhosts->server->node->pos.line);
            return;
        }
    }
}


static char *
emit_http_protocol(node_t *tls)
{
    char        *all;
    size_t       i;
    node_t      *n;
    const char  *text;

    static const char  *names[][2] = {
        { "minProtocolVersion", "TLSV1_2" }, { "maxProtocolVersion", "TLSV1_3" }
    };

    static const char  *lists[] = { "cipherSuites", "ecdhCurves" };

    all = "";

    for (i = 0; i < 2; i++) {
        text = node_text(tls, names[i][0]);
        text = (text && strcmp(text, "TLS_AUTO") != 0) ? text : names[i][1];

        all = xprintf("%s %s", all, text);
    }

    for (i = 0; i < 2; i++) {
        all = xprintf("%s;", all);

        for (n = node_first(tls, lists[i]); n; n = n->next) {
            all = xprintf("%s %s", all, n->text);
        }
    }

    return all;
}


/* routes see the path as policies do */

static int
emit_merged(emit_t *e)
{
    node_t  *n;

    n = node_get(model_mesh(e->m, "pathNormalization"), "normalization");

    return n && strstr(n->text, "MERGE_SLASHES") != NULL;
}


/* nginx makes the socket for everybody: its folder keeps others out */

static void
emit_admin(emit_t *e)
{
    if (e->m->options->admin == NULL) {
        return;
    }

    fputs("\n    server {\n        listen      ", e->out);
    emit_word(e, NULL, xprintf("unix:%s", e->m->options->admin));
    fputs(";\n        access_log  off;\n\n"
          "        location /status {\n            egress_status;\n"
          "        }\n\n"
          "        location /metrics {\n            egress_metrics;\n"
          "        }\n\n"
          "        location /explain {\n            egress_explain;\n"
          "        }\n    }\n", e->out);
}


/* before nginx 1.25.1 a port without TLS has one protocol */

static void
emit_http_clients(emit_t *e, listener_t *l)
{
    target_t  *t;

    if (l->mutual || l->terminates || emit_has_http2(e)) {
        return;
    }

    if (l->http2) {
        diag(DIAG_WARNING, &l->node->pos, "HTTP2",
             "nginx before 1.25.1 takes no HTTP/1.1 in port %ld, as its "
             "protocol is HTTP2 or GRPC without TLS: with a newer one, say "
             "so with --nginx-version", l->port);
        return;
    }

    t = emit_http_grpc(l);

    if (t) {
        diag(DIAG_WARNING, &t->node->pos, "HTTP2",
             "gRPC needs HTTP/2 from its clients, and nginx before 1.25.1 "
             "takes HTTP/1.1 in port %ld: say protocol GRPC in the Gateway, "
             "or with a newer nginx --nginx-version", l->port);
    }
}


static target_t *
emit_http_grpc(listener_t *l)
{
    size_t     i;
    vhost_t   *v;
    target_t  *t;

    for (v = l->vhosts; v; v = v->next) {
        for (i = 0; i < v->rules.n; i++) {
            t = ((rule_t *) v->rules.elts[i])->targets;

            for ( /* void */ ; t; t = t->next) {
                if (strcmp(t->service->protocol, "grpc") == 0) {
                    return t;
                }
            }
        }
    }

    return NULL;
}


static void
emit_http_default(emit_t *e, listener_t *l)
{
    fputc('\n', e->out);
    emit_comment(e, "    ", &l->node->pos);
    fputs("    server {\n", e->out);
    emit_listen(e, l, " default_server");
    emit_http2(e, l);
    fputs("        server_name  _;\n", e->out);

    if (l->terminates) {

        /*
         * for a name of none of the servers there is no certificate; versions
         * and ciphers are agreed on before nginx knows the name
         */

        fputs("\n        ssl_reject_handshake    on;\n", e->out);

        if (l->vhosts) {
            emit_server_protocols(e, node_get(l->vhosts->server->node, "tls"));
        }

        /* whom nginx leads here is one with the name of a server in its SNI */

        fputs("        return                  404;\n    }\n", e->out);
        return;
    }

    if (l->mutual) {
        emit_mutual(e);
    }

    fprintf(e->out, "\n        egress            on;\n"
                    "        egress_port       %ld;\n", l->port);

    limits_listener(e, l, "        ", e->out);

    fputs("\n        location / {\n            include         ", e->out);
    emit_word(e, NULL, e->m->options->proxy_conf);
    fputs(";\n            proxy_pass      http://egress;\n"
          "        }\n    }\n", e->out);
}


/* the same rules under another name, one after the other */

static int
emit_http_same(emit_t *e, listener_t *l, vhost_t *one, vhost_t *two)
{
    size_t  i;

    if (one->server != two->server || one->rules.n != two->rules.n
        || strcmp(one->host, "*") == 0 || strcmp(two->host, "*") == 0
        || limits_own(e, l, one) || limits_own(e, l, two))
    {
        return 0;
    }

    for (i = 0; i < one->rules.n; i++) {
        if (one->rules.elts[i] != two->rules.elts[i]) {
            return 0;
        }
    }

    return 1;
}


void
emit_vhost(emit_t *e, listener_t *l, vhost_t *v)
{
    vh_t      vh;
    vhost_t  *end;

    memset(&vh, 0, sizeof(vh_t));

    vh.e = e;
    vh.l = l;
    vh.v = v;
    vh.conditional = emit_http_conditional(v);

    for (end = v; end->next && emit_http_same(e, l, end, end->next);
         end = end->next)
    {
        /* void */
    }

    emit_http_rules(&vh);
    emit_http_server(&vh, end->next);
}


/* does anything but the path decide */

static int
emit_http_conditional(vhost_t *v)
{
    size_t   i;
    node_t  *n;
    rule_t  *rule;

    for (i = 0; i < v->rules.n; i++) {
        rule = v->rules.elts[i];

        if (node_get(rule->node, "corsPolicy")
            || node_path(rule->node, "fault.abort"))
        {
            return 1;
        }

        n = rule->match ? rule->match->child : NULL;

        for ( /* void */ ; n; n = n->next) {
            if (n->child && strcmp(n->key->text, "uri") != 0
                && strcmp(n->key->text, "gateways") != 0
                && strcmp(n->key->text, "sourceLabels") != 0)
            {
                return 1;
            }
        }
    }

    return 0;
}


static void
emit_http_rules(vh_t *vh)
{
    size_t   i;
    node_t  *tls;

    tls = node_get(vh->v->server->node, "tls");

    if (node_true(tls, "httpsRedirect")) {
        emit_http_arm(vh, NULL, emit_answer(vh, &tls->pos, NULL, "301",
                                            "https://$host$request_uri"));
        return;
    }

    for (i = 0; i < vh->v->rules.n; i++) {
        emit_http_rule(vh, vh->v->rules.elts[i]);
    }
}


static void
emit_http_rule(vh_t *vh, rule_t *rule)
{
    arm_t       *arm;
    const char  *to, *grpc, *name;

    /* a preflight is answered, and a fault made, before what they are for */

    if (node_get(rule->node, "corsPolicy")) {
        emit_cors(vh, rule);
    }

    grpc = NULL;
    name = NULL;
    to = emit_abort(vh, rule, &grpc, &name);

    if (grpc) {
        emit_http_arm(vh, rule, grpc);
        arm = vh->arms.elts[vh->arms.n - 1];
        emit_http_condition(vh, arm,
                            emit_condition(vh->e, "$content_type",
                                           "^application/grpc(?:[+;]|\\\\z)",
                                           0, 0));

        if (name) {
            emit_http_condition(vh, arm, name);
        }
    }

    if (to && name == NULL) {
        emit_http_arm(vh, rule, to);
        return;
    }

    if (to) {
        emit_http_arm(vh, rule, to);
        arm = vh->arms.elts[vh->arms.n - 1];
        emit_http_condition(vh, arm, name);
    }

    emit_http_arm(vh, rule, emit_location(vh, rule));
}


void
emit_preflight(vh_t *vh, rule_t *rule, const char *to, const char *origin)
{
    arm_t  *arm;

    emit_http_arm(vh, rule, to);
    arm = vh->arms.elts[vh->arms.n - 1];

    emit_http_condition(vh, arm,
                        emit_condition(vh->e, "$request_method",
                                       "^OPTIONS\\\\z", 0, 0));
    emit_http_condition(vh, arm,
                        emit_condition(vh->e, "$egress_http_access_"
                                       "control_request_method", ".", 0, 0));
    emit_http_condition(vh, arm, emit_condition(vh->e, origin, ".", 0, 0));
}


static void
emit_http_arm(vh_t *vh, rule_t *rule, const char *to)
{
    arm_t  *arm;

    arm = xalloc(sizeof(arm_t));
    arm->to = to;
    arm->uri = "";
    arm->any = (rule == NULL || rule->any);

    list_push(&vh->arms, arm);

    if (rule && rule->match) {
        emit_http_match(vh, arm, rule->match);
    }
}


static void
emit_http_match(vh_t *vh, arm_t *arm, node_t *match)
{
    size_t       i;
    node_t      *n;
    const char  *regex;

    static const char  *names[][2] = {
        { "method", "$request_method" }, { "scheme", "$scheme" },
        { "authority", "$egress_authority" }
    };

    emit_http_uri(vh, arm, match);

    for (i = 0; i < 3; i++) {
        n = node_get(match, names[i][0]);
        regex = n ? emit_string(n, NULL) : NULL;

        if (regex) {
            emit_http_condition(vh, arm,
                                emit_condition(vh->e, names[i][1], regex, 0,
                                               0));
        }
    }

    emit_http_strings(vh, arm, node_get(match, "headers"), 0);
    emit_http_strings(vh, arm, node_get(match, "withoutHeaders"), 1);
    emit_http_queries(vh, arm, node_get(match, "queryParams"));
}


static void
emit_http_uri(vh_t *vh, arm_t *arm, node_t *match)
{
    node_t      *n;
    const char  *regex;

    n = node_get(match, "uri");

    if (n == NULL || n->child == NULL || arm->any) {
        return;
    }

    regex = emit_string(emit_http_decoded(n), NULL);

    if (regex == NULL) {
        return;
    }

    /* within a longer text "^" would not be where it was */

    if (node_get(n, "regex")) {

        if (vh->conditional) {
            emit_http_condition(vh, arm, emit_condition(vh->e, "$uri", regex,
                                                        0, 0));
            return;
        }

    } else {
        arm->icase = node_true(match, "ignoreUriCase");
    }

    arm->uri = regex + 1;
}


/*
 * nginx compares paths with their "%xx" decoded, Envoy as they came: the same
 * only for what never stands in a path as it is.
 */

static node_t *
emit_http_decoded(node_t *n)
{
    char      *p, *to;
    node_t    *one;
    unsigned   c;

    if (node_get(n, "regex") || strchr(n->child->text, '%') == NULL) {
        return n;
    }

    one = xalloc(2 * sizeof(node_t));
    one[0] = *n;
    one[1] = *n->child;
    one[0].child = &one[1];
    one[1].text = xstrdup(n->child->text);

    for (p = to = one[1].text; *p; p++) {

        if (*p != '%') {
            *to++ = *p;
            continue;
        }

        if (sscanf(p + 1, "%2x", &c) != 1 || c == 0
            || strspn(p + 1, "0123456789abcdefABCDEF") < 2
            || (c < 0x80 && strchr(" \"<>^`{|}", c) == NULL))
        {
            diag(DIAG_ERROR, &n->child->pos, "VALUE", "\"%%%.2s\" in a path: "
                 "nginx compares it decoded, and would find more than this",
                 p + 1);
            return n;
        }

        *to++ = (char) c;
        p += 2;
    }

    *to = '\0';

    return &one[0];
}


static void
emit_http_strings(vh_t *vh, arm_t *arm, node_t *map, int invert)
{
    size_t       i;
    node_t      *n;
    const char  *variable, *regex;

    static const char  *ignored[] = { "uri", "scheme", "method", "authority" };

    for (n = map ? map->child : NULL; n; n = n->next) {

        for (i = 0; i < 4; i++) {
            if (strcmp(n->key->text, ignored[i]) == 0) {
                diag(DIAG_ERROR, &n->key->pos, "VALUE",
                     "\"%s\" is no header: Istio ignores it here, and the "
                     "rule would match more than it says", ignored[i]);
            }
        }

        variable = text_request(&n->key->pos, n->key->text);
        regex = emit_string(n, ".");

        if (variable && regex) {
            emit_http_condition(vh, arm,
                                emit_condition(vh->e, variable, regex, 0,
                                               invert));
        }
    }
}


/* the first of that name counts, and its value as it stands there */

static void
emit_http_queries(vh_t *vh, arm_t *arm, node_t *map)
{
    char        *name, *regex;
    node_t      *n;
    const char  *value;

    for (n = map ? map->child : NULL; n; n = n->next) {

        name = text_literal(&n->key->pos, n->key->text);
        value = emit_string(n, "");

        if (value == NULL) {
            continue;
        }

        regex = xprintf("^(?:(?!%s(?:=|&|\\\\z))[^&]*&)*%s", name, name);

        if (*value == '\0') {
            regex = xprintf("%s(?:=|&|\\\\z)", regex);

        } else if (node_get(n, "exact")) {
            regex = xprintf("%s%s%.*s(?:&|\\\\z)", regex,
                            strcmp(value, "^\\\\z") ? "=" : "=?",
                            (int) strlen(value) - 4, value + 1);

        } else if (node_get(n, "prefix")) {
            regex = xprintf("%s=%s", regex, value + 1);

        } else {

            /* "^(?:...)\z": the value ends where the parameter does */

            regex = xprintf("%s=(?=([^&]*))(?:%.*s)(?=&|\\\\z)", regex,
                            (int) strlen(value) - 8, value + 4);
        }

        emit_http_condition(vh, arm, emit_condition(vh->e, "$args", regex, 0,
                                                    0));
    }
}


/* each has a place in the text that the route is chosen by */

static void
emit_http_condition(vh_t *vh, arm_t *arm, const char *name)
{
    size_t  i;

    for (i = 0; i < vh->conditions.n; i++) {
        if (strcmp(vh->conditions.elts[i], name) == 0) {
            break;
        }
    }

    if (i == vh->conditions.n) {
        list_push(&vh->conditions, (void *) name);
    }

    list_push(&arm->conditions, (void *) name);
    arm->any = 0;
}


/* a StringMatch; "any": what stands for one that only wants presence */

char *
emit_string(node_t *node, const char *any)
{
    node_t  *n;

    n = node->child;

    if (n && n->next) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "only one of \"exact\", \"prefix\" and \"regex\" may be there");
        return NULL;
    }

    if (n == NULL || (any && strcmp(n->key->text, "regex") == 0
                      && strcmp(n->text, "*") == 0))
    {
        return any ? xstrdup(any) : NULL;
    }

    if (strcmp(n->key->text, "exact") == 0) {

        if (any && strcmp(any, ".") == 0 && *n->text == '\0') {
            diag(DIAG_ERROR, &n->pos, "VALUE",
                 "\"exact\" of a header is empty: \"{}\" means that it is "
                 "there");
            return NULL;
        }

        return xprintf("^%s\\\\z", text_literal(&n->pos, n->text));
    }

    if (strcmp(n->key->text, "prefix") == 0) {
        return xprintf("^%s", text_literal(&n->pos, n->text));
    }

    return xprintf("^(?:%s)\\\\z", text_regex(&n->pos, n->text, NULL, NULL));
}


/* the name of a variable that is 1 or 0 */

const char *
emit_condition(emit_t *e, const char *variable, const char *regex, int icase,
    int invert)
{
    char        *key;
    const char  *name;

    key = xprintf("%s %d%d %s", variable, icase, invert, regex);
    name = hash_get(e->conditions, key);

    if (name) {
        free(key);
        return name;
    }

    name = xprintf("$egress_if_%u", ++e->ids);
    hash_put(e->conditions, key, (void *) name);

    fprintf(e->maps, "\n    map %s %s {\n        default  %d;\n"
                     "        \"~%s%s\"  %d;\n    }\n",
            variable, name, invert, icase ? "*" : "", regex, !invert);

    return name;
}


static void
emit_http_map(vh_t *vh)
{
    size_t   i, k, j;
    arm_t   *arm;
    FILE    *out;

    out = vh->e->maps;
    vh->route = xprintf("$egress_route_%u", ++vh->e->ids);

    fputs("\n    map \"", out);

    for (i = 0; i < vh->conditions.n; i++) {
        fputs(vh->conditions.elts[i], out);
    }

    fprintf(out, "%s$uri\" %s {\n", vh->conditions.n ? " " : "", vh->route);

    for (i = 0; i < vh->arms.n; i++) {
        arm = vh->arms.elts[i];

        if (arm->any) {
            fprintf(out, "        default  %s;\n", arm->to);
            vh->last = 1;
            break;
        }

        fprintf(out, "        \"~%s^", arm->icase ? "*" : "");

        for (k = 0; k < vh->conditions.n; k++) {

            for (j = 0; j < arm->conditions.n; j++) {
                if (strcmp(arm->conditions.elts[j], vh->conditions.elts[k])
                    == 0)
                {
                    break;
                }
            }

            fputc(j < arm->conditions.n ? '1' : '.', out);
        }

        fprintf(out, "%s%s\"  %s;\n", vh->conditions.n ? " " : "", arm->uri,
                arm->to);
    }

    if (!vh->last) {
        fputs("        default  @none;\n", out);
    }

    fputs("    }\n", out);
}


static void
emit_http_server(vh_t *vh, vhost_t *end)
{
    int          direct;
    size_t       i;
    arm_t       *arm;
    emit_t      *e;
    place_t     *place;

    e = vh->e;
    arm = vh->arms.n ? vh->arms.elts[0] : NULL;

    /* one rule for all needs no choice */

    direct = (vh->arms.n == 1 && arm->any && vh->places.n
              && strcmp(arm->to, ((place_t *) vh->places.elts[0])->name) == 0);

    if (!direct) {
        emit_http_map(vh);
    }

    emit_http_names(vh, end);

    if (!direct) {
        fprintf(e->out, "\n        location / {\n"
                        "            error_page      418 = %s;\n"
                        "            return          418;\n        }\n",
                vh->route);
    }

    for (i = 0; i < vh->places.n; i++) {
        place = vh->places.elts[i];

        fputc('\n', e->out);

        if (!direct || i) {
            emit_comment(e, "        ", place->pos);
        }

        fprintf(e->out, "        location %s {\n%s        }\n",
                direct && i == 0 ? "/" : place->name, place->body);
    }

    if (!direct && !vh->last) {
        fputs("\n        location @none {\n            return          404;\n"
              "        }\n", e->out);
    }

    fputs("    }\n", e->out);
}


static void
emit_http_names(vh_t *vh, vhost_t *end)
{
    emit_t   *e;
    vhost_t  *v;

    e = vh->e;

    fputc('\n', e->out);
    emit_comment(e, "    ", &vh->v->node->pos);
    fputs("    server {\n", e->out);

    emit_listen(e, vh->l, strcmp(vh->v->host, "*") ? "" : " default_server");
    emit_http2(e, vh->l);

    fputs("        server_name ", e->out);

    for (v = vh->v; v != end; v = v->next) {
        fputc(' ', e->out);

        if (strcmp(v->host, "*") == 0) {
            fputc('_', e->out);

        } else {
            emit_host(e, &v->node->pos, v->host);
        }
    }

    fputs(";\n", e->out);

    if (vh->l->mutual) {
        emit_mutual(e);

    } else if (vh->l->terminates) {
        emit_server_tls(e, vh->v->server);
    }

    fprintf(e->out, "\n        egress            on;\n"
                    "        egress_port       %ld;\n", vh->l->port);

    limits_vhost(e, vh->l, vh->v, e->out);
}
