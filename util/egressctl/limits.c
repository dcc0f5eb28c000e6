
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"
#include "emit.h"
#include "emit_http.h"
#include "limits.h"


#define LIMITS_HTTP     "envoy.filters.http.local_ratelimit"
#define LIMITS_NETWORK  "envoy.filters.network.local_ratelimit"
#define LIMITS_TYPE     "type.googleapis.com/envoy.extensions.filters."


typedef enum {
    LIMIT_LISTENER = 0,                  /* HTTP_FILTER */
    LIMIT_NETWORK,
    LIMIT_VHOST,
    LIMIT_ROUTE
} limit_kind_e;


/* a patch that limits, and what it has come to limit so far */

typedef struct {
    limit_kind_e     kind;
    node_t          *doc;
    node_t          *patch;
    node_t          *config;             /* of a limit, or NULL */
    node_t          *actions;            /* that make descriptors, or NULL */
    unsigned         n;                  /* buckets */
    const char      *enabled;            /* of how many, as it was said */
    const char      *enforced;
} limit_t;


typedef struct {
    const char      *name;
    limit_t         *limit;
} bucket_t;


static void limits_filter(emit_t *e, node_t *doc);
static void limits_patch(node_t *doc, node_t *patch);
static int limits_kind(node_t *patch, limit_kind_e *kind);
static int limits_merged(node_t *value, limit_kind_e kind);
static node_t *limits_config(node_t *patch, limit_kind_e kind);
static node_t *limits_actions(limit_t *limit);
static node_t *limits_typed(node_t *config, const char *type);
static int limits_port(emit_t *e, listener_t *l, long port);
static int limits_listens(emit_t *e, limit_t *limit, listener_t *l);
static int limits_hosts(emit_t *e, limit_t *limit, listener_t *l, vhost_t *v);
static int limits_routes(limit_t *limit, rule_t *rule);
static void limits_which(emit_t *e, listener_t *l, limit_t *limit,
    limit_t *actions, const char *indent, FILE *out);
static void limits_descriptors(emit_t *e, node_t *list, const char *indent,
    FILE *out);
static char *limits_action(emit_t *e, node_t *action);
static char *limits_header_match(emit_t *e, node_t *match);
static const char *limits_header(emit_t *e, node_t *header);
static void limits_write(emit_t *e, limit_t *limit, char *name,
    const char *indent, FILE *out);
static char *limits_name(limit_t *limit, listener_t *l, const char *more);
static void limits_bucket(emit_t *e, bucket_t *b);
static void limits_tokens(emit_t *e, node_t *node, const char *indent);
static void limits_inner(emit_t *e, node_t *list);
static void limits_headers(emit_t *e, node_t *node, const char *directive);
static const char *limits_fraction(node_t *config, const char *key);


static list_t  limits;
static list_t  buckets;


void
limits_build(emit_t *e)
{
    size_t  i;

    memset(&limits, 0, sizeof(list_t));
    memset(&buckets, 0, sizeof(list_t));

    for (i = 0; i < e->m->ndocs; i++) {
        if (strcmp(doc_kind(e->m->docs[i]), "EnvoyFilter") == 0) {
            limits_filter(e, e->m->docs[i]);
        }
    }
}


static void
limits_filter(emit_t *e, node_t *doc)
{
    int          rc;
    node_t      *n, *labels;
    const char  *ns, *unknown;

    labels = node_path(doc, "spec.workloadSelector.labels");
    ns = doc_namespace(doc);

    if (strcmp(ns, e->m->options->namespace) != 0
        && strcmp(ns, e->m->options->root) != 0)
    {
        diag(DIAG_NOTE, &doc->pos, "SELECTOR",
             "EnvoyFilter \"%s\" is of another namespace", doc_name(doc));
        return;
    }

    rc = labels ? model_labels(e->m, labels, &unknown) : 1;

    if (rc == -1) {
        diag(DIAG_ERROR, &labels->pos, "SELECTOR",
             "does the gateway have the label \"%s\"? Say so with "
             "--selector", unknown);
        return;
    }

    if (rc == 0) {
        diag(DIAG_NOTE, &labels->pos, "SELECTOR",
             "EnvoyFilter \"%s\" selects other workloads", doc_name(doc));
        return;
    }

    schema_refused(node_path(doc, "spec.targetRefs"));

    n = node_path(doc, "spec.configPatches");

    for (n = n->child; n; n = n->next) {
        limits_patch(doc, n);
    }
}


/* local rate limits are what filters of Envoy have a meaning for here */

static void
limits_patch(node_t *doc, node_t *patch)
{
    limit_t       *limit;
    const char    *context;
    limit_kind_e   kind;

    context = node_text(node_get(patch, "match"), "context");

    if (context && strcmp(context, "GATEWAY") != 0
        && strcmp(context, "ANY") != 0)
    {
        diag(DIAG_NOTE, &patch->pos, "NOEFFECT",
             "context %s is not a gateway's", context);
        return;
    }

    if (schema_refused(patch)) {
        return;
    }

    if (limits_kind(patch, &kind) != 0) {
        diag(DIAG_ERROR, &patch->pos, "UNSUPPORTED",
             "this patch of EnvoyFilter \"%s\" is not rendered: local rate "
             "limits are, as an HTTP_FILTER or NETWORK_FILTER to insert, or "
             "in typed_per_filter_config of a VIRTUAL_HOST or HTTP_ROUTE to "
             "MERGE", doc_name(doc));
        return;
    }

    limit = xalloc(sizeof(limit_t));
    limit->kind = kind;
    limit->doc = doc;
    limit->patch = patch;
    limit->config = limits_config(patch, kind);
    limit->actions = limits_actions(limit);

    if (limit->config && (limit->config->kind != NODE_MAP
                          || schema_rate_limit(limit->config) != 0
                          || schema_refused(limit->config)))
    {
        return;
    }

    if (limit->config || limit->actions) {
        list_push(&limits, limit);
    }
}


static int
limits_kind(node_t *patch, limit_kind_e *kind)
{
    int          insert, merge;
    node_t      *value;
    const char  *name, *operation, *filter, *to;

    value = node_path(patch, "patch.value");
    name = node_text(value, "name");
    to = node_text(patch, "applyTo");
    operation = node_text(node_get(patch, "patch"), "operation");
    filter = node_text(node_path(patch, "match.listener.filterChain.filter"),
                       "name");

    insert = (strncmp(operation, "INSERT_", 7) == 0
              || strcmp(operation, "ADD") == 0);
    merge = (strcmp(operation, "MERGE") == 0);

    if (strcmp(to, "HTTP_FILTER") == 0) {
        *kind = LIMIT_LISTENER;

        return !(insert && name && strcmp(name, LIMITS_HTTP) == 0
                 && (filter == NULL || strstr(filter, "http_connection")));
    }

    if (strcmp(to, "NETWORK_FILTER") == 0) {
        *kind = LIMIT_NETWORK;

        return !(insert && name && strcmp(name, LIMITS_NETWORK) == 0
                 && (filter == NULL || strstr(filter, "tcp_proxy")));
    }

    *kind = strcmp(to, "VIRTUAL_HOST") == 0 ? LIMIT_VHOST : LIMIT_ROUTE;

    return !(merge && (*kind == LIMIT_VHOST || strcmp(to, "HTTP_ROUTE") == 0)
             && value && value->child && limits_merged(value, *kind) == 0);
}


/* whatever else they merge would be lost */

static int
limits_merged(node_t *value, limit_kind_e kind)
{
    node_t  *n;

    for (n = value->child; n; n = n->next) {

        if (strcmp(n->key->text, "typed_per_filter_config") == 0) {

            if (n->child == NULL || n->child->next
                || strcmp(n->child->key->text, LIMITS_HTTP) != 0)
            {
                return -1;
            }

        } else if (kind == LIMIT_VHOST
                   ? strcmp(n->key->text, "rate_limits") != 0
                   : (strcmp(n->key->text, "route") != 0
                      || n->child == NULL || n->child->next
                      || strcmp(n->child->key->text, "rate_limits") != 0))
        {
            return -1;
        }
    }

    return 0;
}


static node_t *
limits_config(node_t *patch, limit_kind_e kind)
{
    node_t  *value;

    value = node_path(patch, "patch.value");

    if (kind == LIMIT_LISTENER || kind == LIMIT_NETWORK) {
        return limits_typed(node_get(value, "typed_config"),
                            kind == LIMIT_NETWORK
                            ? "network.local_ratelimit.v3.LocalRateLimit"
                            : "http.local_ratelimit.v3.LocalRateLimit");
    }

    value = node_first(value, "typed_per_filter_config");

    return value ? limits_typed(value,
                                "http.local_ratelimit.v3.LocalRateLimit")
                 : NULL;
}


/* "rate_limits" of what a patch merges into, which have no limit */

static node_t *
limits_actions(limit_t *limit)
{
    node_t  *value, *n, map;

    value = node_path(limit->patch, "patch.value");
    value = (limit->kind == LIMIT_ROUTE) ? node_get(value, "route") : value;
    n = (limit->kind >= LIMIT_VHOST) ? node_get(value, "rate_limits") : NULL;

    if (n == NULL) {
        return NULL;
    }

    map = *value;
    map.child = node_copy(n);

    if (schema_actions(&map) != 0 || schema_refused(&map)) {
        return NULL;
    }

    return n;
}


/* bare, or within a TypedStruct; NULL if it is neither */

static node_t *
limits_typed(node_t *config, const char *expected)
{
    node_t      *n;
    size_t       len;
    const char  *type;

    n = config;
    type = node_text(n, "@type");
    len = strlen(LIMITS_TYPE);

    if (type && strstr(type, "TypedStruct")) {
        type = node_text(n, "type_url");
        n = node_get(n, "value");
    }

    if (n == NULL || type == NULL || strncmp(type, LIMITS_TYPE, len) != 0
        || strcmp(type + len, expected) != 0)
    {
        diag(DIAG_ERROR, config ? &config->pos : NULL, "VALUE",
             "\"typed_config\" of the local rate limit must have \"@type\" "
             "(or \"type_url\") " LIMITS_TYPE "%s", expected);
        return NULL;
    }

    return n;
}


/* Istio compares with the port that the pod listens on, or the Service's */

static int
limits_port(emit_t *e, listener_t *l, long port)
{
    size_t       i;
    const char  *p, *colon;

    if (port == -1 || port == 0 || port == l->port) {
        return 1;
    }

    if ((l->port == 80 && port == 8080) || (l->port == 443 && port == 8443)) {
        return 1;
    }

    for (i = 0; i < e->m->options->nlisten; i++) {
        p = e->m->options->listen[i];
        colon = strrchr(p, ':');

        if (strtol(p, NULL, 10) == l->port && colon
            && strtol(colon + 1, NULL, 10) == port)
        {
            return 1;
        }
    }

    return 0;
}


static int
limits_listens(emit_t *e, limit_t *limit, listener_t *l)
{
    node_t  *match;

    match = node_path(limit->patch, "match.listener");

    return (limit->kind == LIMIT_NETWORK) == (l->kind != LISTEN_HTTP)
           && limits_port(e, l, node_number(match, "portNumber"));
}


static int
limits_hosts(emit_t *e, limit_t *limit, listener_t *l, vhost_t *v)
{
    node_t      *config, *vhost;
    const char  *name, *domain, *gateway, *port;

    config = node_path(limit->patch, "match.routeConfiguration");
    vhost = node_get(config, "vhost");
    name = node_text(vhost, "name");
    domain = node_text(vhost, "domainName");
    gateway = node_text(config, "gateway");
    port = node_text(config, "portName");

    if (!limits_port(e, l, node_number(config, "portNumber"))) {
        return 0;
    }

    if (name && strcasecmp(name, xprintf("%s:%ld", v->host, l->port)) != 0) {
        return 0;
    }

    if (domain && strcasecmp(domain, v->host) != 0) {
        return 0;
    }

    if (gateway
        && strcmp(gateway, xprintf("%s/%s", doc_namespace(v->server->gateway),
                                   doc_name(v->server->gateway))) != 0)
    {
        return 0;
    }

    return port == NULL
           || strcmp(port, node_text(node_get(v->server->node, "port"),
                                     "name") ? node_text(
                           node_get(v->server->node, "port"), "name") : "")
              == 0;
}


static int
limits_routes(limit_t *limit, rule_t *rule)
{
    node_t      *route;
    const char  *name, *action, *is;

    route = node_path(limit->patch, "match.routeConfiguration.vhost.route");
    name = node_text(route, "name");
    action = node_text(route, "action");

    if (name && (rule->name == NULL || strcmp(name, rule->name) != 0)) {
        return 0;
    }

    is = node_get(rule->node, "redirect") ? "REDIRECT"
         : node_get(rule->node, "directResponse") ? "DIRECT_RESPONSE"
                                                  : "ROUTE";

    return action == NULL || strcmp(action, "ANY") == 0
           || strcmp(action, is) == 0;
}


void
limits_listener(emit_t *e, listener_t *l, const char *indent, FILE *out)
{
    size_t    i;
    limit_t  *limit;

    for (i = 0; i < limits.n; i++) {
        limit = limits.elts[i];

        if ((limit->kind != LIMIT_LISTENER && limit->kind != LIMIT_NETWORK)
            || !limits_listens(e, limit, l))
        {
            continue;
        }

        limit->n++;

        if (node_get(limit->config, "token_bucket")) {
            limits_write(e, limit, limits_name(limit, l, NULL), indent, out);
            limits_descriptors(e, node_get(limit->config, "rate_limits"),
                               indent, out);
        }
    }
}


void
limits_vhost(emit_t *e, listener_t *l, vhost_t *v, FILE *out)
{
    size_t    i;
    limit_t  *limit, *last, *actions;

    last = NULL;
    actions = NULL;

    for (i = 0; i < limits.n; i++) {
        limit = limits.elts[i];

        if (limit->kind == LIMIT_VHOST && limits_hosts(e, limit, l, v)) {
            last = limit->config ? limit : last;
            actions = limit->actions ? limit : actions;
            limit->n++;
        }
    }

    if (last == NULL) {
        limits_listener(e, l, "        ", out);

    } else {
        limits_write(e, last, limits_name(last, l, v->host), "        ", out);
    }

    limits_which(e, l, last, actions, "        ", out);
}


/* a limit's own actions stand for those of routes and hosts */

static void
limits_which(emit_t *e, listener_t *l, limit_t *limit, limit_t *actions,
    const char *indent, FILE *out)
{
    size_t    i;
    node_t   *own;
    limit_t  *inserted;

    inserted = NULL;

    for (i = 0; i < limits.n; i++) {
        if (((limit_t *) limits.elts[i])->kind == LIMIT_LISTENER
            && limits_listens(e, limits.elts[i], l))
        {
            inserted = limits.elts[i];
        }
    }

    if ((limit || actions) && inserted == NULL) {
        diag(DIAG_ERROR, limit ? &limit->patch->pos : &actions->patch->pos,
             "UNENFORCED", "no EnvoyFilter inserts the HTTP_FILTER " LIMITS_HTTP
             " into port %ld: Envoy would not look at this", l->port);
        return;
    }

    own = limit ? node_get(limit->config, "rate_limits") : NULL;

    if (own) {
        limits_descriptors(e, own, indent, out);

    } else if (actions && (limit || inserted == NULL
                           || !node_get(inserted->config, "rate_limits")))
    {
        limits_descriptors(e, actions->actions, indent, out);
    }
}


int
limits_own(emit_t *e, listener_t *l, vhost_t *v)
{
    size_t    i;
    limit_t  *limit;

    for (i = 0; i < limits.n; i++) {
        limit = limits.elts[i];

        if ((limit->kind == LIMIT_VHOST || limit->kind == LIMIT_ROUTE)
            && limits_hosts(e, limit, l, v))
        {
            return 1;
        }
    }

    return 0;
}


void
limits_rule(emit_t *e, listener_t *l, vhost_t *v, rule_t *rule, FILE *out)
{
    size_t    i;
    limit_t  *limit, *last, *actions;

    last = NULL;
    actions = NULL;

    for (i = 0; rule && i < limits.n; i++) {
        limit = limits.elts[i];

        if (limit->kind == LIMIT_ROUTE && limits_hosts(e, limit, l, v)
            && limits_routes(limit, rule))
        {
            last = limit->config ? limit : last;
            actions = limit->actions ? limit : actions;
            limit->n++;
        }
    }

    if (last) {
        limits_write(e, last,
                     limits_name(last, l, xprintf("%s_%u", v->host, last->n)),
                     "            ", out);
    }

    limits_which(e, l, last, actions, "            ", out);
}


/* a line for each of "rate_limits", an entry for each of its actions */

static void
limits_descriptors(emit_t *e, node_t *list, const char *indent, FILE *out)
{
    char    *entry;
    node_t  *n, *action;

    for (n = list ? list->child : NULL; n; n = n->next) {

        fprintf(out, "%segress_ratelimit_descriptor", indent);

        for (action = node_first(n, "actions"); action; action = action->next)
        {
            entry = limits_action(e, action);
            fprintf(out, " %s", entry ? entry : "");
        }

        fputs(";\n", out);
    }
}


static char *
limits_action(emit_t *e, node_t *action)
{
    node_t      *n;
    const char  *key, *value;

    n = action->child;

    if (n == NULL || n->next) {
        diag(DIAG_ERROR, &action->pos, "VALUE",
             "an action is one thing, and has one name");
        return NULL;
    }

    key = node_text(n, "descriptor_key");

    if (strcmp(n->key->text, "generic_key") == 0) {
        value = node_text(n, "descriptor_value");
        return xprintf("\"%s=%s\"",
                       text_value(e, &n->pos, key ? key : "generic_key"),
                       text_value(e, &n->pos, value));
    }

    if (strcmp(n->key->text, "request_headers") == 0) {
        value = text_request(&n->pos, node_text(n, "header_name"));
        return xprintf("\"%s%s=%s\"", text_value(e, &n->pos, key),
                       node_true(n, "skip_if_absent") ? "?" : "",
                       value ? value : "");
    }

    if (strcmp(n->key->text, "remote_address") == 0) {
        return xstrdup("remote_address=$remote_addr");
    }

    if (strcmp(n->key->text, "destination_cluster") == 0) {
        return xstrdup("destination_cluster=$egress_service");
    }

    value = limits_header_match(e, n);

    return xprintf("\"%s=%s\"",
                   text_value(e, &n->pos, key ? key : "header_match"), value);
}


/* a variable that has the value, if all of the headers match, or nothing */

static char *
limits_header_match(emit_t *e, node_t *match)
{
    char        *source, *ones, *name;
    node_t      *n;
    const char  *condition;

    source = xstrdup("");
    ones = xstrdup("");

    for (n = node_first(match, "headers"); n; n = n->next) {
        condition = limits_header(e, n);
        source = xprintf("%s%s", source, condition ? condition : "");
        ones = xprintf("%s1", ones);
    }

    name = xprintf("$egress_limit_%u", ++e->ids);

    fprintf(e->maps, "\n    map \"%s\" %s {\n        default  \"\";\n"
                     "        %s  %s;\n    }\n", source, name, ones,
            text_quoted(e, &match->pos, node_text(match, "descriptor_value")));

    return name;
}


static const char *
limits_header(emit_t *e, node_t *header)
{
    node_t      *n;
    const char  *variable, *regex;

    variable = text_request(&header->pos, node_text(header, "name"));
    regex = ".";

    if (node_get(header, "exact_match")) {
        n = node_get(header, "exact_match");
        regex = xprintf("^%s\\\\z", text_literal(&n->pos, n->text));

    } else if (node_get(header, "prefix_match")) {
        n = node_get(header, "prefix_match");
        regex = xprintf("^%s", text_literal(&n->pos, n->text));

    } else if (node_get(header, "string_match")) {
        regex = emit_string(node_get(header, "string_match"), ".");
    }

    n = node_get(header, "present_match");

    return (variable && regex)
           ? emit_condition(e, variable, regex, 0,
                            n && strcmp(n->text, "false") == 0)
           : NULL;
}


static void
limits_write(emit_t *e, limit_t *limit, char *name, const char *indent,
    FILE *out)
{
    FILE      *saved;
    size_t     i;
    bucket_t  *b;

    if (limit->kind == LIMIT_NETWORK) {
        limit->enabled = "100";
        limit->enforced = "100";

    } else if (limit->enabled == NULL) {
        limit->enabled = limits_fraction(limit->config, "filter_enabled");
        limit->enforced = limits_fraction(limit->config, "filter_enforced");
    }

    if (node_get(limit->config, "token_bucket") == NULL) {
        diag(DIAG_ERROR, &limit->config->pos, "MISSING",
             "this stands for the listener's limit, and must have a "
             "\"token_bucket\" of its own");
        return;
    }

    saved = e->out;
    e->out = out;

    fprintf(out, "%segress_ratelimit  bucket=", indent);
    emit_word(e, &limit->doc->pos, name);

    if (strcmp(limit->enabled, "100") != 0
        || strcmp(limit->enforced, "100") != 0)
    {
        fprintf(out, " enabled=%s enforced=%s", limit->enabled,
                limit->enforced);
    }

    fputs(";\n", out);
    e->out = saved;

    for (i = 0; i < buckets.n; i++) {
        b = buckets.elts[i];

        if (strcmp(b->name, name) == 0) {
            return;
        }
    }

    b = xalloc(sizeof(bucket_t));
    b->name = name;
    b->limit = limit;
    list_push(&buckets, b);
}


/* a bucket for each place where Envoy has one */

static char *
limits_name(limit_t *limit, listener_t *l, const char *more)
{
    size_t    i, n;
    limit_t  *other;

    /* several patches of one EnvoyFilter are told apart by their number */

    for (i = 0, n = 1; i < limits.n; i++) {
        other = limits.elts[i];

        if (other == limit) {
            break;
        }

        n += (other->doc == limit->doc);
    }

    return xprintf("%s/%s_%ld%s%s%s", doc_namespace(limit->doc),
                   doc_name(limit->doc), l->port, more ? "_" : "",
                   more ? more : "", n > 1 ? xprintf("_%zu", n) : "");
}


void
limits_buckets(emit_t *e)
{
    size_t    i;
    limit_t  *limit;

    for (i = 0; i < buckets.n; i++) {
        limits_bucket(e, buckets.elts[i]);
    }

    for (i = 0; i < limits.n; i++) {
        limit = limits.elts[i];

        if (limit->n == 0) {
            diag(limit->kind < LIMIT_VHOST ? DIAG_WARNING : DIAG_ERROR,
                 &limit->patch->pos, "UNREACHABLE",
                 limit->kind == LIMIT_NETWORK
                 ? "a rate limit for TCP, and no TLS or TCP server of a "
                   "Gateway has its port: it limits nothing"
                 : limit->kind == LIMIT_LISTENER
                   ? "a rate limit for HTTP, and no HTTP server of a Gateway "
                     "has its port: it limits nothing"
                   : "no host or route is what this matches: it would limit "
                     "nothing");
        }
    }
}


static void
limits_bucket(emit_t *e, bucket_t *b)
{
    long     code;
    node_t  *n;

    fputc('\n', e->out);
    emit_comment(e, "    ", &b->limit->patch->pos);
    fputs("    bucket ", e->out);
    emit_word(e, &b->limit->doc->pos, b->name);
    fputs(" {\n", e->out);

    for (n = b->limit->config->child; n; n = n->next) {

        if (strcmp(n->key->text, "token_bucket") == 0) {
            limits_tokens(e, n, "        ");

        } else if (strcmp(n->key->text, "response_headers_to_add") == 0) {
            limits_headers(e, n, "header   ");

        } else if (strncmp(n->key->text, "request_headers_to_add", 22) == 0) {
            limits_headers(e, n, "request_header");

        } else if (strcmp(n->key->text, "descriptors") == 0) {
            limits_inner(e, n);

        } else if (strcmp(n->text ? n->text : "", "DRAFT_VERSION_03") == 0) {
            fputs("        x_ratelimit_headers  draft_version_03;\n", e->out);

        } else if (strncmp(n->key->text, "always_consume", 14) == 0
                   && strcmp(n->text, "false") == 0)
        {
            fputs("        always_consume  off;\n", e->out);

        } else if (strcmp(n->key->text, "status") == 0) {
            code = node_number(n, "code");

            if (code < 400 || code > 599) {
                diag(DIAG_ERROR, &n->pos, "VALUE",
                     "\"code\" has to be from 400 to 599");
                continue;
            }

            fprintf(e->out, "        status    %ld;\n", code);
        }
    }

    fputs("    }\n", e->out);
}


static void
limits_tokens(emit_t *e, node_t *node, const char *indent)
{
    long  tokens, fill, ms;

    tokens = node_number(node, "max_tokens");
    fill = node_number(node, "tokens_per_fill");
    ms = node_time(node, "fill_interval");

    if (node_get(node, "tokens_per_fill") == NULL) {
        fill = 1;
    }

    if (tokens < 1 || fill < 1 || ms < 50) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "\"token_bucket\" must have \"max_tokens\" and "
             "\"tokens_per_fill\" of 1 or more and \"fill_interval\" of "
             "50ms or more");
        return;
    }

    fprintf(e->out, "%stokens    %ld;\n%sfill      %ld;\n"
                    "%sinterval  %ldms;\n", indent, tokens, indent, fill,
            indent, ms);
}


/* buckets of their own, for requests with these descriptors */

static void
limits_inner(emit_t *e, node_t *list)
{
    node_t      *n, *entry;
    const char  *value;

    for (n = list->child; n; n = n->next) {

        fputs("\n        descriptor", e->out);

        for (entry = node_first(n, "entries"); entry; entry = entry->next) {
            value = node_text(entry, "value");
            value = (value && *value) ? value : NULL;
            fputc(' ', e->out);
            emit_word(e, &entry->pos, xprintf("%s%s%s", node_text(entry, "key"),
                                              value ? "=" : "",
                                              value ? value : ""));
        }

        fputs(" {\n", e->out);
        limits_tokens(e, node_get(n, "token_bucket"), "            ");
        fputs("        }\n", e->out);
    }
}


static void
limits_headers(emit_t *e, node_t *node, const char *directive)
{
    node_t      *n;
    const char  *key, *value;

    for (n = node->child; n; n = n->next) {
        key = node_text(node_get(n, "header"), "key");
        value = node_text(node_get(n, "header"), "value");

        if (key == NULL || value == NULL) {
            diag(DIAG_ERROR, &n->pos, "MISSING",
                 "a header must have \"key\" and \"value\"");
            continue;
        }

        if (text_header(&n->pos, "", key) == NULL) {
            continue;
        }

        if (strchr(value, '%')) {
            diag(DIAG_ERROR, &n->pos, "VALUE", "this header is not rendered: "
                 "its value has Envoy's commands");
            continue;
        }

        fprintf(e->out, "        %s ", directive);
        emit_word(e, &n->pos, key);
        fputc(' ', e->out);
        emit_word(e, &n->pos, value);
        fputs(";\n", e->out);
    }
}


/* absent means 0, as Envoy has it */

static const char *
limits_fraction(node_t *config, const char *key)
{
    long         n, of;
    node_t      *node, *value;
    const char  *denominator;

    node = node_get(config, key);

    if (node == NULL) {
        diag(DIAG_WARNING, &config->pos, "UNENFORCED",
             "without \"%s\" the limit is not applied at all", key);
        return "0";
    }

    value = node_get(node, "default_value");
    n = node_number(value, "numerator");
    n = (node_get(value, "numerator") == NULL) ? 0 : n;
    denominator = node_text(value, "denominator");

    of = 100;

    if (denominator && strcmp(denominator, "HUNDRED") != 0) {
        of = strcmp(denominator, "MILLION") ? 10000 : 1000000;
    }

    if (n < 0) {
        diag(DIAG_ERROR, &node->pos, "VALUE", "\"numerator\" has to be a "
             "number");
        return "0";
    }

    n = (n > of) ? of : n;

    /* a whole percentage is said as one */

    if (n % (of / 100) == 0) {
        return xprintf("%ld", n / (of / 100));
    }

    return xprintf("%ld/%ld", n, of);
}
