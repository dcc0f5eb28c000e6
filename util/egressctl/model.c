
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"


#define MODEL_SERVICE  "istio-egressgateway"


/* a server of a Gateway that selects this gateway */

typedef struct server_s  server_t;

struct server_s {
    server_t        *next;
    node_t          *gateway;
    node_t          *node;
    listener_t      *listener;
};


static void model_default(model_t *m);
static void model_mesh_config(model_t *m, node_t *doc);
static void model_gateway(model_t *m, node_t *doc, server_t **servers);
static void model_server(model_t *m, node_t *doc, node_t *node,
    server_t **servers);
static int model_server_kind(node_t *node, listen_kind_e *kind, int *mutual);
static listener_t *model_listener(model_t *m, listen_kind_e kind, int mutual,
    node_t *node);
static void model_virtual_service(model_t *m, node_t *vs, server_t *servers);
static int model_bound(node_t *vs, node_t *names, node_t *gateway);
static void model_check_gateways(model_t *m, node_t *vs);
static void model_tls(model_t *m, node_t *vs, server_t *s);
static void model_tls_match(model_t *m, node_t *vs, server_t *s, node_t *rule,
    node_t *match);
static void model_check_sni(node_t *vs, server_t *servers);
static int model_opens(node_t *vs, server_t *servers, node_t *match,
    const char *sni);
static void model_check_hosts(node_t *vs, server_t *servers,
    listen_kind_e kind, const char *rules);
static void model_http(model_t *m, node_t *vs, server_t *s);
static void model_tcp(model_t *m, node_t *vs, server_t *s);
static node_t *model_rule(node_t *vs, server_t *s, node_t *rules);
static int model_rule_refused(node_t *vs, server_t *s, node_t *rule);
static int model_match(node_t *vs, server_t *s, node_t *match);
static service_t *model_destination(model_t *m, server_t *s, node_t *rule);
static service_t *model_service(model_t *m, node_t *dest, node_t *entry,
    const char *host, long port);
static node_t *model_entry(model_t *m, node_t *dest, const char *host,
    long port);
static int model_has_port(node_t *entry, long port);
static const char *model_lower(const char *host);
static const char *model_protocol(node_t *port);
static route_t *model_add_route(listener_t *l, const char *host,
    node_t *node, service_t *svc);
static int model_exported(model_t *m, node_t *doc, node_t *list);
static int model_covers(const char *pattern, const char *host);
static const char *model_server_covers(server_t *s, node_t *vs,
    const char *host, int narrower);
static void model_rules(model_t *m);
static int model_own(model_t *m, node_t *doc, const char *host);
static void model_own_rule(model_t *m, node_t *doc);
static int model_own_policy(model_t *m, node_t *doc, node_t *policy);
static void model_unmatched(model_t *m, node_t *doc, const char *host);
static node_t *model_port_policy(node_t *policy, long port);
static int model_rule_rank(model_t *m, service_t *svc, node_t *doc);
static void model_apply_rules(model_t *m, service_t *svc);
static void model_apply_rule(service_t *svc, node_t *doc);
static void model_envoy_filter(model_t *m, node_t *doc);
static void model_patch(model_t *m, node_t *doc, node_t *patch);
static int model_patch_flaw(node_t *patch);
static void model_unused(model_t *m, server_t *servers);
static void model_options(model_t *m);
static int model_labels(model_t *m, node_t *labels, const char **unknown);


void
model_build(model_t *m)
{
    size_t       i;
    node_t      *doc;
    server_t    *servers;
    service_t   *svc;
    const char  *kind;

    servers = NULL;
    m->allow_any = -1;

    for (i = 0; i < m->ndocs; i++) {
        kind = doc_kind(m->docs[i]);

        if (strcmp(kind, "IstioOperator") == 0) {
            model_mesh_config(m, m->docs[i]);

        } else if (strcmp(kind, "Gateway") == 0) {
            model_gateway(m, m->docs[i], &servers);
        }
    }

    for (i = 0; i < m->ndocs; i++) {
        doc = m->docs[i];

        if (strcmp(doc_kind(doc), "VirtualService") == 0) {
            model_virtual_service(m, doc, servers);
        }
    }

    for (svc = m->services; svc; svc = svc->next) {
        model_apply_rules(m, svc);
    }

    model_rules(m);

    for (i = 0; i < m->ndocs; i++) {
        if (strcmp(doc_kind(m->docs[i]), "EnvoyFilter") == 0) {
            model_envoy_filter(m, m->docs[i]);
        }
    }

    model_unused(m, servers);
    model_options(m);

    if (m->allow_any == -1) {
        model_default(m);
    }
}


/* open is what Istio is by default, and only what has been asked for here */

static void
model_default(model_t *m)
{
    m->allow_any = 0;

    if (m->mesh) {
        diag(DIAG_WARNING, &m->mesh->key->pos, "DEFAULT",
             "\"meshConfig\" without \"outboundTrafficPolicy\" means "
             "ALLOW_ANY in Istio: REGISTRY_ONLY is enforced here, unless "
             "\"outboundTrafficPolicy: {mode: ALLOW_ANY}\" says so");
        return;
    }

    diag(DIAG_NOTE, NULL, "DEFAULT",
         "no outboundTrafficPolicy.mode in the input: REGISTRY_ONLY is "
         "enforced (Istio's own default is ALLOW_ANY)");
}


static void
model_mesh_config(model_t *m, node_t *doc)
{
    int      any;
    node_t  *mesh, *policy, *mode;

    mesh = node_path(doc, "spec.meshConfig");
    policy = node_get(mesh, "outboundTrafficPolicy");

    schema_refused(mesh);

    if (policy == NULL) {
        m->mesh = m->mesh ? m->mesh : mesh;
        return;
    }

    /* "{}" is the zero value of the enumeration */

    mode = node_get(policy, "mode");
    any = (mode && strcmp(mode->text, "ALLOW_ANY") == 0);
    mode = mode ? mode : policy;

    if (m->allow_any != -1 && m->allow_any != any) {
        diag(DIAG_ERROR, &mode->pos, "CONFLICT",
             "outboundTrafficPolicy.mode says otherwise than before: which "
             "of them counts?");
        return;
    }

    m->allow_any = any;
}


static void
model_gateway(model_t *m, node_t *doc, server_t **servers)
{
    int          rc;
    node_t      *n, *selector;
    const char  *unknown;

    selector = node_path(doc, "spec.selector");

    rc = selector ? model_labels(m, selector, &unknown) : 1;

    if (rc != 1) {
        diag(rc ? DIAG_WARNING : DIAG_NOTE, &selector->pos, "SELECTOR",
             "Gateway \"%s\" is not for this gateway: see --selector",
             doc_name(doc));
        return;
    }

    n = node_path(doc, "spec.servers");

    for (n = n->child; n; n = n->next) {
        if (schema_refused(n) == 0) {
            model_server(m, doc, n, servers);
        }
    }
}


static void
model_server(model_t *m, node_t *doc, node_t *node, server_t **servers)
{
    int             mutual;
    server_t       *s;
    listener_t     *l;
    listen_kind_e   kind;

    if (model_server_kind(node, &kind, &mutual) != 0) {
        return;
    }

    l = model_listener(m, kind, mutual, node);
    if (l == NULL) {
        return;
    }

    s = xalloc(sizeof(server_t));
    s->gateway = doc;
    s->node = node;
    s->listener = l;

    while (*servers) {
        servers = &(*servers)->next;
    }

    *servers = s;
}


static int
model_server_kind(node_t *node, listen_kind_e *kind, int *mutual)
{
    node_t      *tls;
    const char  *protocol, *mode;

    protocol = node_text(node_get(node, "port"), "protocol");
    tls = node_get(node, "tls");
    mode = node_text(tls, "mode");

    *mutual = 0;

    if (strcmp(protocol, "HTTP") == 0 && tls == NULL) {
        *kind = LISTEN_HTTP;
        return 0;
    }

    if (strcmp(protocol, "TCP") == 0 && tls == NULL) {
        *kind = LISTEN_TCP;
        return 0;
    }

    if (strcmp(protocol, "TLS") == 0 || strcmp(protocol, "HTTPS") == 0) {

        /* PASSTHROUGH is the zero value of the enumeration */

        if (tls && (mode == NULL || strcmp(mode, "PASSTHROUGH") == 0)) {
            *kind = LISTEN_TLS;
            return 0;
        }

        if (mode && strcmp(mode, "ISTIO_MUTUAL") == 0) {
            *kind = strcmp(protocol, "TLS") ? LISTEN_HTTP : LISTEN_TCP;
            *mutual = 1;
            return 0;
        }
    }

    diag(DIAG_ERROR, &node->pos, "UNSUPPORTED",
         "a server with protocol %s and tls mode %s is not rendered yet: "
         "PASSTHROUGH, ISTIO_MUTUAL, plain HTTP and plain TCP are",
         protocol, mode ? mode : "(none)");

    return -1;
}


static listener_t *
model_listener(model_t *m, listen_kind_e kind, int mutual, node_t *node)
{
    long         port;
    listener_t  *l, **last;

    port = node_number(node_get(node, "port"), "number");

    for (last = &m->listeners; *last; last = &(*last)->next) {
        l = *last;

        if (l->port != port) {
            continue;
        }

        if (l->kind != kind || l->mutual != mutual) {
            diag(DIAG_ERROR, &node->pos, "CONFLICT",
                 "port %ld has another protocol in %s:%zu", port,
                 l->node->pos.source->name, l->node->pos.line);
            return NULL;
        }

        return l;
    }

    l = xalloc(sizeof(listener_t));
    l->kind = kind;
    l->port = port;
    l->mutual = mutual;
    l->required = mutual;
    l->node = node;

    *last = l;

    return l;
}


static void
model_virtual_service(model_t *m, node_t *vs, server_t *servers)
{
    node_t    *names;
    server_t  *s;

    names = node_path(vs, "spec.gateways");

    if (names == NULL) {
        diag(DIAG_NOTE, &vs->pos, "MESH", "VirtualService \"%s\" is for the "
             "mesh's sidecars only", doc_name(vs));
        return;
    }

    if (node_path(vs, "spec.hosts") == NULL) {
        diag(DIAG_ERROR, &vs->pos, "MISSING", "VirtualService must have "
             "\"hosts\"");
        return;
    }

    if (!model_exported(m, vs, node_path(vs, "spec.exportTo"))) {
        diag(DIAG_NOTE, &vs->pos, "EXPORT", "VirtualService \"%s\" is not "
             "exported to namespace \"%s\": it has no effect here",
             doc_name(vs), m->options->namespace);
        return;
    }

    model_check_gateways(m, vs);
    model_check_sni(vs, servers);
    model_check_hosts(vs, servers, LISTEN_HTTP, "spec.http");
    model_check_hosts(vs, servers, LISTEN_TCP, "spec.tcp");

    for (s = servers; s; s = s->next) {

        if (!model_bound(vs, names, s->gateway)) {
            continue;
        }

        switch (s->listener->kind) {

        case LISTEN_TLS:
            model_tls(m, vs, s);
            break;

        case LISTEN_HTTP:
            model_http(m, vs, s);
            break;

        case LISTEN_TCP:
            model_tcp(m, vs, s);
            break;
        }
    }
}


/* is the gateway among the names; a bare name is in the rule's namespace */

static int
model_bound(node_t *vs, node_t *names, node_t *gateway)
{
    size_t       len;
    node_t      *n;
    const char  *name, *slash, *ns;

    for (n = names->child; n; n = n->next) {

        name = n->text;
        slash = strchr(name, '/');
        ns = doc_namespace(vs);
        len = strlen(ns);

        if (slash && !(slash == name + 1 && *name == '.')) {
            ns = name;
            len = slash - name;
        }

        if (slash) {
            name = slash + 1;
        }

        if (strcmp(name, doc_name(gateway)) == 0
            && strlen(doc_namespace(gateway)) == len
            && strncmp(doc_namespace(gateway), ns, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static void
model_check_gateways(model_t *m, node_t *vs)
{
    size_t   i;
    node_t  *n, one;

    for (n = node_path(vs, "spec.gateways")->child; n; n = n->next) {

        if (strcmp(n->text, "mesh") == 0) {
            continue;
        }

        one = *n;
        one.next = NULL;

        for (i = 0; i < m->ndocs; i++) {
            if (strcmp(doc_kind(m->docs[i]), "Gateway") == 0
                && model_bound(vs, &(node_t) { .child = &one }, m->docs[i]))
            {
                break;
            }
        }

        if (i == m->ndocs) {
            diag(DIAG_WARNING, &n->pos, "REFERENCE",
                 "there is no Gateway \"%s\" in the input", n->text);
        }
    }
}


static void
model_tls(model_t *m, node_t *vs, server_t *s)
{
    node_t  *rules, *rule, *match;

    rules = node_path(vs, "spec.tls");

    for (rule = rules ? rules->child : NULL; rule; rule = rule->next) {
        match = node_get(rule, "match");

        for (match = match->child; match; match = match->next) {
            if (model_match(vs, s, match)) {
                model_tls_match(m, vs, s, rule, match);
            }
        }
    }
}


static void
model_tls_match(model_t *m, node_t *vs, server_t *s, node_t *rule,
    node_t *match)
{
    node_t     *sni;
    route_t    *r;
    service_t  *svc;

    for (sni = node_get(match, "sniHosts")->child; sni; sni = sni->next) {

        if (model_server_covers(s, vs, sni->text, 0) == NULL) {
            continue;
        }

        if (schema_refused(match) + schema_refused(node_get(rule, "route"))) {
            return;
        }

        svc = model_destination(m, s, rule);

        if (svc == NULL) {
            return;
        }

        r = model_add_route(s->listener, sni->text, sni, svc);

        if (r == NULL) {
            continue;
        }

        svc->passthrough = 1;

        if (strcasecmp(svc->host, sni->text) == 0
            && svc->port == s->listener->port)
        {
            svc->lookup = 1;
            r->identity = 1;
        }
    }
}


/* a rule opens no name that no server of its gateways has */

static void
model_check_sni(node_t *vs, server_t *servers)
{
    node_t    *rule, *match, *sni, *host;
    server_t  *s;

    rule = node_path(vs, "spec.tls");

    for (rule = rule ? rule->child : NULL; rule; rule = rule->next) {

        match = node_get(rule, "match")->child;

        for ( /* void */ ; match; match = match->next) {

            sni = node_get(match, "sniHosts")->child;

            for ( /* void */ ; sni; sni = sni->next) {

                host = node_path(vs, "spec.hosts")->child;

                while (host && !model_covers(host->text, sni->text)) {
                    host = host->next;
                }

                if (host == NULL) {
                    diag(DIAG_ERROR, &sni->pos, "VALUE",
                         "\"%s\" is not among the hosts of VirtualService "
                         "\"%s\": add it there", sni->text, doc_name(vs));
                }
            }

            for (s = servers; s; s = s->next) {
                if (s->listener->kind == LISTEN_TLS
                    && model_bound(vs, node_path(vs, "spec.gateways"),
                                   s->gateway)
                    && model_match(vs, s, match))
                {
                    break;
                }
            }

            sni = s ? node_get(match, "sniHosts")->child : NULL;

            for ( /* void */ ; sni; sni = sni->next) {

                if (!model_opens(vs, servers, match, sni->text)) {
                    diag(DIAG_WARNING, &sni->pos, "UNREACHABLE",
                         "\"%s\" is not among the hosts of Gateway \"%s\": "
                         "it is not opened", sni->text,
                         doc_name(s->gateway));
                }
            }
        }
    }
}


static int
model_opens(node_t *vs, server_t *servers, node_t *match, const char *sni)
{
    server_t  *s;

    for (s = servers; s; s = s->next) {
        if (s->listener->kind == LISTEN_TLS
            && model_bound(vs, node_path(vs, "spec.gateways"), s->gateway)
            && model_match(vs, s, match)
            && model_server_covers(s, vs, sni, 0))
        {
            return 1;
        }
    }

    return 0;
}


/* the same for the hosts of http and tcp rules */

static void
model_check_hosts(node_t *vs, server_t *servers, listen_kind_e kind,
    const char *rules)
{
    node_t    *host;
    server_t  *s, *bound;

    if (node_path(vs, rules) == NULL) {
        return;
    }

    for (host = node_path(vs, "spec.hosts")->child; host; host = host->next) {

        bound = NULL;

        for (s = servers; s; s = s->next) {

            if (s->listener->kind != kind
                || !model_bound(vs, node_path(vs, "spec.gateways"),
                                s->gateway))
            {
                continue;
            }

            bound = s;

            if (model_server_covers(s, vs, host->text, 1)) {
                break;
            }
        }

        if (s == NULL && bound) {
            diag(DIAG_WARNING, &host->pos, "UNREACHABLE",
                 "\"%s\" is not among the hosts of Gateway \"%s\": it is "
                 "not opened", host->text, doc_name(bound->gateway));
        }
    }
}


static void
model_http(model_t *m, node_t *vs, server_t *s)
{
    node_t      *rule, *host;
    service_t   *svc;
    const char  *name;

    if (node_path(vs, "spec.http") == NULL) {
        return;
    }

    host = node_path(vs, "spec.hosts")->child;

    while (host && model_server_covers(s, vs, host->text, 1) == NULL) {
        host = host->next;
    }

    if (host == NULL) {
        return;
    }

    rule = model_rule(vs, s, node_path(vs, "spec.http"));

    if (rule == NULL) {
        diag(DIAG_WARNING, &vs->pos, "UNREACHABLE",
             "no http rule of VirtualService \"%s\" applies to port %ld of "
             "Gateway \"%s\"", doc_name(vs), s->listener->port,
             doc_name(s->gateway));
        return;
    }

    if (model_rule_refused(vs, s, rule)) {
        return;
    }

    svc = model_destination(m, s, rule);

    if (svc == NULL) {
        return;
    }

    svc->originate = 1;

    for ( /* void */ ; host; host = host->next) {

        if (model_server_covers(s, vs, host->text, 0)) {
            (void) model_add_route(s->listener, host->text, host, svc);
            continue;
        }

        /* "*.example.com" through a server for "a.example.com" */

        name = model_server_covers(s, vs, host->text, 1);

        if (name) {
            (void) model_add_route(s->listener, name, host, svc);
        }
    }
}


static void
model_tcp(model_t *m, node_t *vs, server_t *s)
{
    node_t      *rule, *host;
    service_t   *svc;
    const char  *resolution;

    if (node_path(vs, "spec.tcp") == NULL) {
        return;
    }

    /* the hosts say nothing of what is routed, only whether it is */

    host = node_path(vs, "spec.hosts")->child;

    while (host && model_server_covers(s, vs, host->text, 1) == NULL) {
        host = host->next;
    }

    rule = model_rule(vs, s, node_path(vs, "spec.tcp"));

    if (host == NULL || rule == NULL || model_rule_refused(vs, s, rule)) {
        return;
    }

    svc = model_destination(m, s, rule);

    if (svc == NULL) {
        return;
    }

    resolution = node_text(node_get(svc->entry, "spec"), "resolution");

    if (resolution == NULL || strcmp(resolution, "NONE") == 0
        || strcmp(resolution, "DYNAMIC_DNS") == 0)
    {
        diag(DIAG_ERROR, &rule->pos, "UNSUPPORTED",
             "a TCP client names no host to resolve: ServiceEntry \"%s\" "
             "has to have resolution STATIC or DNS, not %s",
             doc_name(svc->entry), resolution ? resolution : "NONE");
        return;
    }

    svc->originate = 1;

    if (s->listener->routes && s->listener->routes->service != svc) {
        diag(DIAG_ERROR, &rule->pos, "CONFLICT",
             "TCP port %ld has another destination in %s:%zu",
             s->listener->port,
             s->listener->routes->node->pos.source->name,
             s->listener->routes->node->pos.line);
        return;
    }

    if (s->listener->routes == NULL) {
        (void) model_add_route(s->listener, svc->host, rule, svc);
    }
}


/* the first rule that applies to the server, or NULL */

static node_t *
model_rule(node_t *vs, server_t *s, node_t *rules)
{
    node_t  *rule, *match;

    for (rule = rules->child; rule; rule = rule->next) {
        match = node_get(rule, "match");

        if (match == NULL || match->child == NULL) {
            return rule;
        }

        for (match = match->child; match; match = match->next) {
            if (model_match(vs, s, match)) {
                return rule;
            }
        }
    }

    return NULL;
}


/* all of the rule, and those of its matches that are for the server */

static int
model_rule_refused(node_t *vs, server_t *s, node_t *rule)
{
    int      refused;
    node_t  *n, *match;

    refused = 0;

    for (n = rule->child; n; n = n->next) {

        if (strcmp(n->key->text, "match") != 0) {
            refused += schema_refused(n);
            continue;
        }

        for (match = n->child; match; match = match->next) {
            if (model_match(vs, s, match)) {
                refused += schema_refused(match);
            }
        }
    }

    return refused;
}


static int
model_match(node_t *vs, server_t *s, node_t *match)
{
    long     port;
    node_t  *gateways;

    gateways = node_get(match, "gateways");

    if (gateways && !model_bound(vs, gateways, s->gateway)) {
        return 0;
    }

    port = node_number(match, "port");

    return port == -1 || port == s->listener->port;
}


static service_t *
model_destination(model_t *m, server_t *s, node_t *rule)
{
    long         port;
    node_t      *routes, *dest, *entry, *ports;
    const char  *host;

    routes = node_get(rule, "route");

    if (routes == NULL || routes->child == NULL) {
        diag(DIAG_ERROR, &rule->pos, "MISSING", "the rule must have "
             "\"route\"");
        return NULL;
    }

    if (routes->child->next) {
        diag(DIAG_ERROR, &routes->child->next->pos, "UNSUPPORTED",
             "several destinations with weights are not rendered yet");
        return NULL;
    }

    if (node_number(routes->child, "weight") == 0) {
        diag(DIAG_ERROR, &routes->child->pos, "VALUE",
             "the only destination has weight 0: nothing would reach it");
        return NULL;
    }

    dest = node_get(routes->child, "destination");
    host = node_text(dest, "host");
    port = node_number(node_get(dest, "port"), "number");

    if (model_own(m, s->gateway, host)) {
        diag(DIAG_ERROR, &dest->pos, "LOOP",
             "a rule for the gateway routes to the gateway itself: is its "
             "match for \"mesh\"?");
        return NULL;
    }

    entry = model_entry(m, dest, host, port);

    if (entry == NULL) {
        return NULL;
    }

    ports = node_path(entry, "spec.ports");

    if (port == -1) {
        if (ports->child->next) {
            diag(DIAG_ERROR, &dest->pos, "MISSING",
                 "\"%s\" has several ports: say which, with \"port: "
                 "{number: N}\"", host);
            return NULL;
        }

        port = node_number(ports->child, "number");
    }

    return model_service(m, dest, entry, host, port);
}


static service_t *
model_service(model_t *m, node_t *dest, node_t *entry, const char *host,
    long port)
{
    node_t      *p;
    service_t   *svc, **last;

    for (last = &m->services; *last; last = &(*last)->next) {
        svc = *last;

        if (svc->port == port && strcasecmp(svc->host, host) == 0) {
            return svc;
        }
    }

    for (p = node_path(entry, "spec.ports")->child; p; p = p->next) {
        if (node_number(p, "number") == port) {
            break;
        }
    }

    if (p == NULL) {
        diag(DIAG_ERROR, &dest->pos, "REFERENCE",
             "ServiceEntry \"%s\" in %s:%zu has no port %ld: add it to its "
             "\"ports\"", doc_name(entry), entry->pos.source->name,
             entry->pos.line, port);
        return NULL;
    }

    if (schema_refused(entry)) {
        return NULL;
    }

    svc = xalloc(sizeof(service_t));
    svc->host = model_lower(host);
    svc->name = xprintf("%s_%ld", svc->host, port);
    svc->port = port;
    svc->target = node_number(p, "targetPort");
    svc->protocol = model_protocol(p);
    svc->entry = entry;
    svc->port_node = p;

    if (svc->target == -1) {
        svc->target = port;
    }

    *last = svc;

    return svc;
}


/* several may register a host, each with ports of its own */

static node_t *
model_entry(model_t *m, node_t *dest, const char *host, long port)
{
    size_t   i;
    node_t  *n, *found, *hidden;

    found = NULL;
    hidden = NULL;

    for (i = 0; i < m->ndocs; i++) {

        if (strcmp(doc_kind(m->docs[i]), "ServiceEntry") != 0) {
            continue;
        }

        for (n = node_path(m->docs[i], "spec.hosts")->child; n; n = n->next) {

            if (strcasecmp(n->text, host) != 0) {
                continue;
            }

            if (!model_exported(m, m->docs[i],
                                node_path(m->docs[i], "spec.exportTo")))
            {
                hidden = m->docs[i];
                continue;
            }

            if (port == -1 || model_has_port(m->docs[i], port)) {
                return m->docs[i];
            }

            found = found ? found : m->docs[i];
        }
    }

    if (found) {
        return found;
    }

    if (hidden) {
        diag(DIAG_ERROR, &dest->pos, "REFERENCE",
             "ServiceEntry \"%s\" is not exported to namespace \"%s\": add "
             "it to its \"exportTo\"", doc_name(hidden),
             m->options->namespace);

    } else {
        diag(DIAG_ERROR, &dest->pos, "REFERENCE",
             "\"%s\" is not registered: add a ServiceEntry for it to the "
             "input", host);
    }

    return NULL;
}


static int
model_has_port(node_t *entry, long port)
{
    node_t  *p;

    for (p = node_path(entry, "spec.ports")->child; p; p = p->next) {
        if (node_number(p, "number") == port) {
            return 1;
        }
    }

    return 0;
}


static const char *
model_lower(const char *host)
{
    char  *p, *lower;

    lower = xstrdup(host);

    for (p = lower; *p; p++) {
        *p = (char) tolower((unsigned char) *p);
    }

    return lower;
}


/* without one it is TCP: Istio doesn't look at the name of the port here */

static const char *
model_protocol(node_t *port)
{
    size_t       i;
    const char  *p;

    static const char  *names[][2] = {
        { "HTTP", "http" }, { "HTTPS", "https" }, { "TLS", "tls" },
        { "TCP", "tcp" }, { "HTTP2", "http2" }, { "GRPC", "grpc" },
        { "GRPC-WEB", "http" }, { "MONGO", "mongo" }, { "MYSQL", "mysql" },
        { "REDIS", "redis" }, { "POSTGRES", "postgres" }
    };

    p = node_text(port, "protocol");

    for (i = 0; p && i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(names[i][0], p) == 0) {
            return names[i][1];
        }
    }

    return "tcp";
}


/* NULL: another one was first */

static route_t *
model_add_route(listener_t *l, const char *host, node_t *node,
    service_t *svc)
{
    route_t  *r, **last;

    for (last = &l->routes; *last; last = &(*last)->next) {
        r = *last;

        if (strcasecmp(r->host, host) == 0) {

            if (r->service == svc) {
                return r;
            }

            diag(DIAG_WARNING, &node->pos, "UNREACHABLE",
                 "\"%s\" in port %ld is routed already in %s:%zu: the "
                 "first one counts", host, l->port,
                 r->node->pos.source->name, r->node->pos.line);

            return NULL;
        }
    }

    r = xalloc(sizeof(route_t));
    r->host = host;
    r->node = node;
    r->service = svc;

    *last = r;

    return r;
}


static int
model_exported(model_t *m, node_t *doc, node_t *list)
{
    node_t  *n;

    if (list == NULL || list->child == NULL) {
        return 1;
    }

    for (n = list->child; n; n = n->next) {

        if (strcmp(n->text, "*") == 0
            || strcmp(n->text, m->options->namespace) == 0)
        {
            return 1;
        }

        if (strcmp(n->text, ".") == 0
            && strcmp(doc_namespace(doc), m->options->namespace) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* "*" and "*.suffix" cover what ends so; anything else, itself */

static int
model_covers(const char *pattern, const char *host)
{
    size_t  len, plen;

    if (pattern[0] != '*') {
        return strcasecmp(pattern, host) == 0;
    }

    pattern++;
    len = strlen(host);
    plen = strlen(pattern);

    return len > plen && strcasecmp(host + len - plen, pattern) == 0;
}


/*
 * The server's host, "host" or "namespace/host" with "*" and "." for the
 * namespace, that covers the one given or, if narrower, is covered by it.
 */

static const char *
model_server_covers(server_t *s, node_t *vs, const char *host, int narrower)
{
    size_t       len;
    node_t      *n;
    const char  *slash, *name, *ns;

    for (n = node_get(s->node, "hosts")->child; n; n = n->next) {

        slash = strchr(n->text, '/');
        name = slash ? slash + 1 : n->text;

        if (!model_covers(name, host)
            && !(narrower && model_covers(host, name)))
        {
            continue;
        }

        if (slash == NULL) {
            return name;
        }

        len = slash - n->text;
        ns = n->text;

        if (len == 1 && *ns == '*') {
            return name;
        }

        if (len == 1 && *ns == '.') {
            ns = doc_namespace(s->gateway);
            len = strlen(ns);
        }

        if (strlen(doc_namespace(vs)) == len
            && strncmp(ns, doc_namespace(vs), len) == 0)
        {
            return name;
        }
    }

    return NULL;
}


static void
model_rules(model_t *m)
{
    size_t       i;
    node_t      *doc;
    const char  *host;

    for (i = 0; i < m->ndocs; i++) {
        doc = m->docs[i];

        if (strcmp(doc_kind(doc), "DestinationRule") != 0) {
            continue;
        }

        host = node_text(node_get(doc, "spec"), "host");

        if (model_own(m, doc, host)) {
            model_own_rule(m, doc);

        } else if (!doc->used) {
            model_unmatched(m, doc, host);
        }
    }
}


/* a rule that changes nothing here: is it for a sidecar, or mistyped */

static void
model_unmatched(model_t *m, node_t *doc, const char *host)
{
    size_t   i, len;
    node_t  *n;

    for (i = 0; i < m->ndocs; i++) {

        if (strcmp(doc_kind(m->docs[i]), "ServiceEntry") != 0) {
            continue;
        }

        for (n = node_path(m->docs[i], "spec.hosts")->child; n; n = n->next) {
            if (model_covers(host, n->text)) {
                diag(DIAG_NOTE, &doc->pos, "UNREACHABLE",
                     "DestinationRule \"%s\": no rule for this gateway "
                     "routes to \"%s\"", doc_name(doc), host);
                return;
            }
        }
    }

    len = strlen(host);

    if (strchr(host, '.') == NULL
        || (len > 6 && strcmp(host + len - 6, ".local") == 0)
        || (len > 4 && strcmp(host + len - 4, ".svc") == 0))
    {
        diag(DIAG_NOTE, &doc->pos, "NOEFFECT",
             "DestinationRule \"%s\" is for \"%s\", a service of the mesh",
             doc_name(doc), host);
        return;
    }

    diag(DIAG_WARNING, &node_path(doc, "spec.host")->pos, "UNREACHABLE",
         "DestinationRule \"%s\": no ServiceEntry has host \"%s\"",
         doc_name(doc), host);
}


/* does the name mean the gateway's own Service */

static int
model_own(model_t *m, node_t *doc, const char *host)
{
    char         full[512];
    size_t       i;
    const char  *ns;

    static const char  *forms[] = {
        "%s.%s", "%s.%s.svc", "%s.%s.svc.cluster.local"
    };

    ns = m->options->namespace;

    if (strcmp(host, MODEL_SERVICE) == 0) {
        return strcmp(doc_namespace(doc), ns) == 0;
    }

    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(full, sizeof(full), forms[i], MODEL_SERVICE, ns);
#pragma GCC diagnostic pop

        if (strcmp(full, host) == 0) {
            return 1;
        }
    }

    return host[0] == '*' && model_covers(host, full);
}


/*
 * What a client's sidecar does towards this gateway: if it speaks the mesh's
 * mTLS to a port, the port has to terminate it.
 */

static void
model_own_rule(model_t *m, node_t *doc)
{
    int      rest;
    node_t  *policy, *subset;

    policy = node_path(doc, "spec.trafficPolicy");
    rest = model_own_policy(m, doc, policy);

    subset = node_path(doc, "spec.subsets");

    for (subset = subset ? subset->child : NULL; subset; subset = subset->next)
    {
        rest |= model_own_policy(m, doc, node_get(subset, "trafficPolicy"));
    }

    if (rest) {
        diag(DIAG_NOTE, &policy->pos, "NOEFFECT",
             "the rest of DestinationRule \"%s\" is for the client's side of "
             "this gateway and has no effect at it", doc_name(doc));
    }
}


static int
model_own_policy(model_t *m, node_t *doc, node_t *policy)
{
    node_t      *tls;
    listener_t  *l;
    const char  *mode;

    if (policy == NULL) {
        return 0;
    }

    for (l = m->listeners; l; l = l->next) {

        tls = node_get(model_port_policy(policy, l->port), "tls");
        mode = node_text(tls, "mode");

        if (mode == NULL || strcmp(mode, "ISTIO_MUTUAL") != 0) {
            continue;
        }

        l->mutual = 1;

        if (l->kind != LISTEN_TLS) {
            l->required = 1;
        }

        diag(DIAG_NOTE, &tls->pos, "MUTUAL",
             "DestinationRule \"%s\" asks ISTIO_MUTUAL for port %ld: its "
             "listener terminates the mesh's mTLS%s", doc_name(doc), l->port,
             l->kind == LISTEN_TLS ? " (egress_mesh optional: other clients "
             "pass without identity)" : "");
    }

    return node_get(policy, "connectionPool")
           || node_get(policy, "outlierDetection")
           || node_get(policy, "loadBalancer");
}


/* portLevelSettings replace the policy for their port */

static node_t *
model_port_policy(node_t *policy, long port)
{
    node_t  *n;

    n = node_get(policy, "portLevelSettings");

    for (n = n ? n->child : NULL; n; n = n->next) {
        if (node_number(node_get(n, "port"), "number") == port) {
            return n;
        }
    }

    return policy;
}


/*
 * 0: not for the service.  The gateway's namespace counts first unless it is
 * the root, then the service's, then the root; there an exact host, then the
 * longest wildcard.
 */

static int
model_rule_rank(model_t *m, service_t *svc, node_t *doc)
{
    int          rank;
    size_t       len;
    const char  *host, *ns;

    host = node_text(node_get(doc, "spec"), "host");

    if (!model_covers(host, svc->host)) {
        return 0;
    }

    doc->used = 1;
    ns = doc_namespace(doc);
    len = strlen(host);

    if (!model_exported(m, doc, node_path(doc, "spec.exportTo"))) {
        diag(DIAG_WARNING, &doc->pos, "UNREACHABLE",
             "DestinationRule \"%s\" is not exported to namespace \"%s\"",
             doc_name(doc), m->options->namespace);
        return 0;
    }

    if (strcmp(ns, m->options->namespace) == 0
        && strcmp(ns, m->options->root) != 0)
    {
        rank = 3000;

    } else if (strcmp(ns, doc_namespace(svc->entry)) == 0) {
        rank = 2000;

    } else if (strcmp(ns, m->options->root) == 0) {
        rank = 1000;

    } else {
        diag(DIAG_WARNING, &doc->pos, "UNREACHABLE",
             "DestinationRule \"%s\" in namespace \"%s\" does not apply "
             "at the gateway: it would in the namespace of ServiceEntry "
             "\"%s\" or in \"%s\"", doc_name(doc), ns,
             doc_name(svc->entry), m->options->root);
        return 0;
    }

    return rank + (host[0] == '*' ? (int) (len < 400 ? len : 400) : 500);
}


static void
model_apply_rules(model_t *m, service_t *svc)
{
    int      rank, best;
    size_t   i;
    node_t  *doc, *found;

    best = 0;
    found = NULL;

    for (i = 0; i < m->ndocs; i++) {
        doc = m->docs[i];

        if (strcmp(doc_kind(doc), "DestinationRule") != 0) {
            continue;
        }

        rank = model_rule_rank(m, svc, doc);

        if (rank && rank == best) {
            diag(DIAG_WARNING, &doc->pos, "CONFLICT",
                 "DestinationRule \"%s\" in %s:%zu is for the same host: "
                 "that one counts", doc_name(found),
                 found->pos.source->name, found->pos.line);

        } else if (rank > best) {
            best = rank;
            found = doc;
        }
    }

    for (i = 0; found && i < m->ndocs; i++) {
        doc = m->docs[i];

        if (doc != found && strcmp(doc_kind(doc), "DestinationRule") == 0
            && model_covers(node_text(node_get(doc, "spec"), "host"),
                            svc->host)
            && !model_own(m, doc, node_text(node_get(doc, "spec"), "host")))
        {
            diag(DIAG_NOTE, &doc->pos, "UNREACHABLE",
                 "DestinationRule \"%s\" is not that of \"%s\": \"%s\" in "
                 "%s:%zu goes before it", doc_name(doc), svc->host,
                 doc_name(found), found->pos.source->name, found->pos.line);
        }
    }

    if (found) {
        model_apply_rule(svc, found);
    }
}


static void
model_apply_rule(service_t *svc, node_t *doc)
{
    node_t  *n;

    schema_refused(node_path(doc, "spec.workloadSelector"));

    if (node_path(doc, "spec.trafficPolicy") == NULL) {
        return;
    }

    svc->policy = model_port_policy(node_path(doc, "spec.trafficPolicy"),
                                    svc->port);

    for (n = svc->policy->child; n; n = n->next) {
        if (strcmp(n->key->text, "portLevelSettings") != 0) {
            schema_refused(n);
        }
    }
}


static void
model_envoy_filter(model_t *m, node_t *doc)
{
    int          rc;
    node_t      *n, *labels;
    const char  *ns, *unknown;

    labels = node_path(doc, "spec.workloadSelector.labels");
    ns = doc_namespace(doc);

    if (strcmp(ns, m->options->namespace) != 0
        && strcmp(ns, m->options->root) != 0)
    {
        diag(DIAG_NOTE, &doc->pos, "SELECTOR",
             "EnvoyFilter \"%s\" is of another namespace", doc_name(doc));
        return;
    }

    rc = labels ? model_labels(m, labels, &unknown) : 1;

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
        model_patch(m, doc, n);
    }
}


/* the local rate limit is the one filter that has a meaning here */

static void
model_patch(model_t *m, node_t *doc, node_t *patch)
{
    int          found;
    listener_t  *l;
    const char  *context;

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

    if (model_patch_flaw(patch)) {
        diag(DIAG_ERROR, &patch->pos, "UNSUPPORTED",
             "this patch of EnvoyFilter \"%s\" is not rendered: only an "
             "HTTP_FILTER envoy.filters.http.local_ratelimit to "
             "INSERT_BEFORE is", doc_name(doc));
        return;
    }

    found = 0;

    for (l = m->listeners; l; l = l->next) {

        if (l->kind != LISTEN_HTTP) {
            continue;
        }

        found = 1;

        if (l->bucket) {
            diag(DIAG_ERROR, &patch->pos, "CONFLICT",
                 "port %ld has a local rate limit already", l->port);
            return;
        }

        l->bucket = xprintf("%s/%s_%ld", doc_namespace(doc), doc_name(doc),
                            l->port);
    }

    if (!found) {
        diag(DIAG_WARNING, &patch->pos, "UNREACHABLE",
             "a rate limit for HTTP, and no HTTP server of a Gateway: it "
             "limits nothing");
    }
}


static int
model_patch_flaw(node_t *patch)
{
    node_t      *value;
    const char  *name, *operation, *filter;

    value = node_path(patch, "patch.value");
    name = node_text(value, "name");
    operation = node_text(node_get(patch, "patch"), "operation");
    filter = node_text(node_path(patch, "match.listener.filterChain.filter"),
                       "name");

    return strcmp(node_text(patch, "applyTo"), "HTTP_FILTER") != 0
           || name == NULL
           || strcmp(name, "envoy.filters.http.local_ratelimit") != 0
           || (strcmp(operation, "INSERT_BEFORE") != 0
               && strcmp(operation, "INSERT_FIRST") != 0)
           || (filter
               && strcmp(filter,
                         "envoy.filters.network.http_connection_manager")
                  != 0);
}


/* what the input says and nothing will ever reach */

static void
model_unused(model_t *m, server_t *servers)
{
    size_t       i;
    node_t      *doc, *h;
    route_t     *r;
    server_t    *s;
    service_t   *svc;
    const char  *slash, *name;

    for (i = 0; i < m->ndocs; i++) {
        doc = m->docs[i];

        if (strcmp(doc_kind(doc), "ServiceEntry") != 0) {
            continue;
        }

        for (svc = m->services; svc; svc = svc->next) {
            if (svc->entry == doc) {
                break;
            }
        }

        if (svc == NULL) {
            diag(DIAG_NOTE, &doc->pos, "UNREACHABLE",
                 "no rule of a VirtualService for this gateway routes to "
                 "ServiceEntry \"%s\": it stays closed here",
                 doc_name(doc));
        }
    }

    for (s = servers; s; s = s->next) {

        if (s->listener->kind == LISTEN_TCP) {
            if (s->listener->routes == NULL) {
                diag(DIAG_WARNING, &s->node->pos, "UNREACHABLE",
                     "no tcp rule of a VirtualService for Gateway \"%s\" and "
                     "port %ld: nothing passes", doc_name(s->gateway),
                     s->listener->port);
            }

            continue;
        }

        for (h = node_get(s->node, "hosts")->child; h; h = h->next) {

            slash = strchr(h->text, '/');
            name = slash ? slash + 1 : h->text;

            for (r = s->listener->routes; r; r = r->next) {
                if (model_covers(name, r->host)) {
                    break;
                }
            }

            if (r == NULL && strcmp(name, "*") != 0) {
                diag(DIAG_WARNING, &h->pos, "UNREACHABLE",
                     "no VirtualService for Gateway \"%s\" routes \"%s\": it "
                     "stays closed", doc_name(s->gateway), name);
            }
        }
    }
}


/* an option that nothing comes of is a slip of the pen */

static void
model_options(model_t *m)
{
    long              port;
    size_t            i, len;
    const char       *p, *colon;
    service_t        *svc;
    listener_t       *l;
    const options_t  *o;

    o = m->options;

    for (i = 0; i < o->nlisten; i++) {

        for (l = m->listeners; l; l = l->next) {
            port = strtol(o->listen[i], NULL, 10);

            if (port == l->port) {
                break;
            }
        }

        if (l == NULL) {
            diag(DIAG_WARNING, NULL, "OPTION",
                 "--listen %s: no Gateway in the input has this port",
                 o->listen[i]);
        }
    }

    for (i = 0; i < o->nendpoint; i++) {
        p = o->endpoint[i];
        len = strcspn(p, "=");
        colon = memchr(p, ':', len);
        port = colon ? strtol(colon + 1, NULL, 10) : -1;
        len = colon ? (size_t) (colon - p) : len;

        for (svc = m->services; svc; svc = svc->next) {
            if (strlen(svc->host) == len
                && strncasecmp(svc->host, p, len) == 0
                && (port == -1 || port == svc->port))
            {
                break;
            }
        }

        if (svc == NULL) {
            diag(DIAG_WARNING, NULL, "OPTION",
                 "--endpoint %s: nothing in the input routes to this host "
                 "and port", p);
        }
    }
}


const char *
doc_kind(const node_t *doc)
{
    return node_text(doc, "kind");
}


const char *
doc_name(const node_t *doc)
{
    return node_text(node_get(doc, "metadata"), "name");
}


const char *
doc_namespace(const node_t *doc)
{
    const char  *ns;

    ns = node_text(node_get(doc, "metadata"), "namespace");

    return ns ? ns : "default";
}


int
model_selected(model_t *m, node_t *doc)
{
    int          rc;
    node_t      *labels;
    const char  *ns, *unknown;

    ns = doc_namespace(doc);
    labels = node_path(doc, "spec.selector.matchLabels");

    if (strcmp(ns, m->options->namespace) != 0
        && strcmp(ns, m->options->root) != 0)
    {
        rc = (labels && labels->child
              && model_labels(m, labels, &unknown) == 1);

        diag(rc ? DIAG_WARNING : DIAG_NOTE, &doc->pos, "SELECTOR",
             "%s \"%s\" is of namespace \"%s\"%s and does not apply to the "
             "gateway%s", doc_kind(doc), doc_name(doc), ns,
             node_path(doc, "metadata.namespace") ? "" : ", as it names none,",
             rc ? ", whose labels it selects: is another namespace meant?"
                : "");
        return 0;
    }

    if (labels == NULL) {
        return 1;
    }

    rc = model_labels(m, labels, &unknown);

    if (rc == -1) {
        diag(DIAG_ERROR, &labels->pos, "SELECTOR",
             "does the gateway have the label \"%s\"? Say so with "
             "--selector", unknown);
    }

    if (rc == 0) {
        diag(DIAG_NOTE, &labels->pos, "SELECTOR",
             "%s \"%s\" selects other workloads", doc_kind(doc),
             doc_name(doc));
    }

    return rc == 1;
}


/*
 * 1: the gateway has all of the labels; 0: it has another value of one;
 * -1: it is not known whether it has them.
 */

static int
model_labels(model_t *m, node_t *labels, const char **unknown)
{
    int          rc;
    size_t       klen, vlen;
    node_t      *n;
    const char  *p, *end;

    rc = 1;

    for (n = labels->child; n; n = n->next) {

        klen = strlen(n->key->text);

        for (p = m->options->selector; *p; p = end + (*end == ',')) {
            end = p + strcspn(p, ",");

            if (strncmp(p, n->key->text, klen) == 0 && p[klen] == '=') {
                break;
            }
        }

        if (*p == '\0') {
            *unknown = n->key->text;
            rc = -1;
            continue;
        }

        p += klen + 1;
        vlen = end - p;

        if (strlen(n->text) != vlen || strncmp(p, n->text, vlen) != 0) {
            return 0;
        }
    }

    return rc;
}
