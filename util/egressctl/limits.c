
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
    node_t          *config;
    unsigned         n;                  /* buckets */
    const char      *enabled;            /* of how many, as it was said */
    const char      *enforced;
} limit_t;


typedef struct {
    const char      *name;
    limit_t         *limit;
} bucket_t;


static void limits_filter(emit_t *e, node_t *doc);
static void limits_patch(emit_t *e, node_t *doc, node_t *patch);
static int limits_kind(node_t *patch, limit_kind_e *kind);
static node_t *limits_config(node_t *patch, limit_kind_e kind);
static node_t *limits_typed(node_t *config, const char *type);
static int limits_port(emit_t *e, listener_t *l, long port);
static int limits_listens(emit_t *e, limit_t *limit, listener_t *l);
static int limits_hosts(emit_t *e, limit_t *limit, listener_t *l, vhost_t *v);
static int limits_routes(limit_t *limit, rule_t *rule);
static int limits_inserted(emit_t *e, listener_t *l);
static void limits_write(emit_t *e, limit_t *limit, char *name,
    const char *indent, FILE *out);
static char *limits_name(limit_t *limit, listener_t *l, const char *more);
static void limits_bucket(emit_t *e, bucket_t *b);
static void limits_tokens(emit_t *e, node_t *node);
static void limits_headers(emit_t *e, node_t *node);
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
        limits_patch(e, doc, n);
    }
}


/* local rate limits are what filters of Envoy have a meaning for here */

static void
limits_patch(emit_t *e, node_t *doc, node_t *patch)
{
    limit_t       *limit;
    const char    *context;
    limit_kind_e   kind;

    (void) e;

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

    if (limit->config && limit->config->kind == NODE_MAP
        && schema_rate_limit(limit->config) == 0
        && schema_refused(limit->config) == 0)
    {
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

    /* whatever else they merge would be lost */

    value = value ? value->child : NULL;

    return !(merge && (*kind == LIMIT_VHOST || strcmp(to, "HTTP_ROUTE") == 0)
             && value && value->next == NULL
             && strcmp(value->key->text, "typed_per_filter_config") == 0
             && value->child && value->child->next == NULL
             && strcmp(value->child->key->text, LIMITS_HTTP) == 0);
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

    return limits_typed(value->child->child,
                        "http.local_ratelimit.v3.LocalRateLimit");
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


/* what is said for a host or a route, the filter of the listener looks at */

static int
limits_inserted(emit_t *e, listener_t *l)
{
    size_t    i;
    limit_t  *limit;

    for (i = 0; i < limits.n; i++) {
        limit = limits.elts[i];

        if (limit->kind == LIMIT_LISTENER && limits_listens(e, limit, l)) {
            return 1;
        }
    }

    return 0;
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
        }
    }
}


void
limits_vhost(emit_t *e, listener_t *l, vhost_t *v, FILE *out)
{
    size_t    i;
    limit_t  *limit, *last;

    last = NULL;

    for (i = 0; i < limits.n; i++) {
        limit = limits.elts[i];

        if (limit->kind == LIMIT_VHOST && limits_hosts(e, limit, l, v)) {
            last = limit;
            limit->n++;
        }
    }

    if (last == NULL) {
        limits_listener(e, l, "        ", out);
        return;
    }

    if (!limits_inserted(e, l)) {
        diag(DIAG_ERROR, &last->patch->pos, "UNENFORCED",
             "no EnvoyFilter inserts the HTTP_FILTER " LIMITS_HTTP " into port "
             "%ld: Envoy would not look at this", l->port);
    }

    limits_write(e, last, limits_name(last, l, v->host), "        ", out);
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
    limit_t  *limit, *last;

    last = NULL;

    for (i = 0; rule && i < limits.n; i++) {
        limit = limits.elts[i];

        if (limit->kind == LIMIT_ROUTE && limits_hosts(e, limit, l, v)
            && limits_routes(limit, rule))
        {
            last = limit;
            limit->n++;
        }
    }

    if (last == NULL) {
        return;
    }

    if (!limits_inserted(e, l)) {
        diag(DIAG_ERROR, &last->patch->pos, "UNENFORCED",
             "no EnvoyFilter inserts the HTTP_FILTER " LIMITS_HTTP " into port "
             "%ld: Envoy would not look at this", l->port);
    }

    limits_write(e, last,
                 limits_name(last, l, xprintf("%s_%u", v->host, last->n)),
                 "            ", out);
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
            limits_tokens(e, n);

        } else if (strcmp(n->key->text, "response_headers_to_add") == 0) {
            limits_headers(e, n);

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
limits_tokens(emit_t *e, node_t *node)
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

    fprintf(e->out, "        tokens    %ld;\n        fill      %ld;\n"
                    "        interval  %ldms;\n", tokens, fill, ms);
}


static void
limits_headers(emit_t *e, node_t *node)
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

        fputs("        header    ", e->out);
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
