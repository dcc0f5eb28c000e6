
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"


static void model_sort(model_t *m);
static int model_older(const void *one, const void *two);
static void model_index(model_t *m);
static void model_meshes(model_t *m, node_t *doc);
static void model_outbound(model_t *m);
static void model_default(model_t *m);
static void model_refusals(model_t *m);
static void model_peers(model_t *m, node_t *doc);
static void model_gateway(model_t *m, node_t *doc);
static void model_server(model_t *m, node_t *doc, node_t *node, list_t *list);
static void model_server_hosts(server_t *s);
static int model_server_kind(node_t *node, listener_t *l);
static int model_server_tls(node_t *node, listener_t *l, const char *mode);
static listener_t *model_listener(model_t *m, listener_t *kind, node_t *node);
static void model_virtual_service(model_t *m, node_t *vs);
static void model_servers(model_t *m, node_t *vs, list_t *servers);
static void model_check_sni(node_t *vs, list_t *servers);
static void model_check_opened(node_t *vs, list_t *servers, node_t *match);
static void model_check_hosts(node_t *vs, list_t *servers,
    listen_kind_e kind, const char *rules);
static void model_tls(model_t *m, node_t *vs, server_t *s);
static void model_tls_match(model_t *m, node_t *vs, server_t *s, node_t *rule,
    node_t *match);
static void model_tcp(model_t *m, node_t *vs, server_t *s);
static void model_tcp_target(service_t *svc, node_t *rule, int *rc);
static node_t *model_rule(node_t *vs, server_t *s, node_t *rules);
static route_t *model_add_route(listener_t *l, const char *host,
    node_t *node, target_t *targets);
static const char *model_allowed(server_t *s, node_t *vs, const char *name);
static void model_own_rule(model_t *m, node_t *doc);
static int model_own_policy(model_t *m, node_t *doc, node_t *policy);
static node_t *model_port_policy(node_t *policy, long port);
static void model_unused(model_t *m);
static void model_options(model_t *m);
static int model_pinned(model_t *m, const char *address, size_t len);


void
model_build(model_t *m)
{
    size_t       i;
    node_t      *doc;
    listener_t  *l;
    const char  *kind;

    m->allow_any = -1;
    m->last_service = &m->services;
    m->last_server = &m->servers;
    m->keys = hash_new();
    m->names = hash_new();
    m->reached = hash_new();
    m->gateways = hash_new();
    m->virtuals = hash_new();
    m->secrets = hash_new();

    model_sort(m);
    model_index(m);
    model_outbound(m);
    model_refusals(m);

    registry_build(m);

    for (i = 0; i < m->ndocs; i++) {
        if (strcmp(doc_kind(m->docs[i]), "VirtualService") == 0) {
            model_virtual_service(m, m->docs[i]);
        }
    }

    for (l = m->listeners; l; l = l->next) {
        routes_finish(l);
    }

    for (i = 0; i < m->ndocs; i++) {
        doc = m->docs[i];
        kind = doc_kind(doc);

        if (strcmp(kind, "DestinationRule") == 0
            && model_own(m, doc, node_text(node_get(doc, "spec"), "host")))
        {
            model_own_rule(m, doc);

        } else if (strcmp(kind, "PeerAuthentication") == 0) {
            model_peers(m, doc);
        }
    }

    registry_unused(m);
    model_unused(m);
    model_options(m);

    if (m->allow_any == -1) {
        model_default(m);
    }
}


/*
 * Istio goes by age.  Files may tell it of some objects and not of others:
 * then the order is that of the documents.
 */

static void
model_sort(model_t *m)
{
    size_t  i;

    for (i = 0; i < m->ndocs; i++) {
        m->docs[i]->order = (unsigned) i;

        if (node_text(node_get(m->docs[i], "metadata"), "creationTimestamp")
            == NULL)
        {
            return;
        }
    }

    if (m->ndocs) {
        qsort(m->docs, m->ndocs, sizeof(node_t *), model_older);
    }
}


/* RFC 3339 in UTC, as Kubernetes writes it, sorts as text */

static int
model_older(const void *one, const void *two)
{
    int            rc;
    const node_t  *a, *b;

    a = *(node_t *const *) one;
    b = *(node_t *const *) two;

    rc = strcmp(node_text(node_get(a, "metadata"), "creationTimestamp"),
                node_text(node_get(b, "metadata"), "creationTimestamp"));

    if (rc == 0) {
        rc = strcmp(doc_name(a), doc_name(b));
    }

    if (rc == 0) {
        rc = strcmp(doc_namespace(a), doc_namespace(b));
    }

    return rc ? rc : (a->order > b->order) - (a->order < b->order);
}


static void
model_index(model_t *m)
{
    size_t       i;
    node_t      *doc;
    const char  *kind;

    for (i = 0; i < m->ndocs; i++) {
        doc = m->docs[i];
        kind = doc_kind(doc);

        if (strcmp(kind, "IstioOperator") == 0
            || strcmp(kind, "ConfigMap") == 0)
        {
            model_meshes(m, doc);

        } else if (strcmp(kind, "VirtualService") == 0) {
            hash_put(m->virtuals, xprintf("%s/%s", doc_namespace(doc),
                                          doc_name(doc)), doc);

        } else if (strcmp(kind, "Secret") == 0
                   && strcmp(doc_namespace(doc), m->options->namespace) == 0)
        {
            hash_put(m->secrets, doc_name(doc), doc);
        }
    }

    for (i = 0; i < m->ndocs; i++) {
        if (strcmp(doc_kind(m->docs[i]), "Gateway") == 0) {
            model_gateway(m, m->docs[i]);
        }
    }
}


/* of an IstioOperator, and of the ConfigMap that Istio reads */

static void
model_meshes(model_t *m, node_t *doc)
{
    node_t  *mesh, *text;

    mesh = node_path(doc, "spec.meshConfig");

    if (strcmp(doc_kind(doc), "ConfigMap") == 0) {

        text = node_path(doc, "data.mesh");

        if (strcmp(doc_name(doc), "istio") != 0
            || strcmp(doc_namespace(doc), m->options->root) != 0
            || text == NULL)
        {
            diag(DIAG_NOTE, &doc->pos, "SKIPPED",
                 "ConfigMap \"%s\" has no effect here: that of the mesh is "
                 "\"istio\" in namespace \"%s\"", doc_name(doc),
                 m->options->root);
            return;
        }

        mesh = yaml_text(text);

        if (mesh && (mesh->kind != NODE_MAP || mesh->next)) {
            diag(DIAG_ERROR, &text->pos, "TYPE",
                 "\"mesh\" has to be one mapping in YAML");
            return;
        }

        if (mesh && schema_mesh(mesh) != 0) {
            return;
        }

        if (mesh) {
            mesh->key = text->key;
        }
    }

    if (mesh) {
        schema_refused(mesh);
        list_push(&m->meshes, mesh);
    }
}


static void
model_outbound(model_t *m)
{
    node_t  *policy, *mode;

    policy = model_mesh(m, "outboundTrafficPolicy");

    if (policy == NULL) {
        m->mesh = m->meshes.n ? m->meshes.elts[0] : NULL;
        return;
    }

    /* "{}" is the zero value of the enumeration */

    mode = node_get(policy, "mode");
    m->allow_any = (mode && strcmp(mode->text, "ALLOW_ANY") == 0);
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


/* kinds that could refuse what passes, where they select the gateway */

static void
model_refusals(model_t *m)
{
    size_t       i;
    node_t      *doc;
    const char  *why;

    for (i = 0; i < m->ndocs; i++) {
        doc = m->docs[i];
        why = schema_refusal(doc_kind(doc));

        if (why && model_selected(m, doc)) {
            diag(DIAG_ERROR, &node_get(doc, "kind")->pos, "UNSUPPORTED",
                 "kind %s is not converted yet, and it %s: take it out of "
                 "the input to convert without it", doc_kind(doc), why);
        }
    }
}


/* Istio's gateways look at none; who selects one means something by it */

static void
model_peers(model_t *m, node_t *doc)
{
    node_t      *mode;
    listener_t  *l;

    mode = node_path(doc, "spec.mtls.mode");

    if (mode == NULL || strcmp(mode->text, "STRICT") != 0
        || node_path(doc, "spec.selector") == NULL
        || !model_selected(m, doc))
    {
        return;
    }

    for (l = m->listeners; l; l = l->next) {
        if (!l->required) {
            diag(DIAG_WARNING, &mode->pos, "UNENFORCED",
                 "PeerAuthentication \"%s\" selects the gateway, and Istio's "
                 "gateways do not look at it: port %ld takes clients without "
                 "mTLS unless its server says ISTIO_MUTUAL", doc_name(doc),
                 l->port);
        }
    }
}


static void
model_gateway(model_t *m, node_t *doc)
{
    int          rc;
    list_t      *list;
    node_t      *n, *selector;
    const char  *unknown;

    list = xpiece(sizeof(list_t));
    hash_put(m->gateways, xprintf("%s/%s", doc_namespace(doc),
                                  doc_name(doc)), list);

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
            model_server(m, doc, n, list);
        }
    }
}


static void
model_server(model_t *m, node_t *doc, node_t *node, list_t *list)
{
    server_t    *s;
    listener_t   kind;

    memset(&kind, 0, sizeof(listener_t));

    if (model_server_kind(node, &kind) != 0) {
        return;
    }

    s = xalloc(sizeof(server_t));
    s->gateway = doc;
    s->node = node;
    s->listener = model_listener(m, &kind, node);

    if (s->listener == NULL) {
        return;
    }

    if (s->listener->server == NULL) {
        s->listener->server = s;
    }

    model_server_hosts(s);
    list_push(list, s);

    *m->last_server = s;
    m->last_server = &s->next;
}


/* "host" or "namespace/host", with "*" and "." for the namespace */

static void
model_server_hosts(server_t *s)
{
    list_t      *list;
    node_t      *n;
    const char  *slash, *name, *ns;

    s->hosts = hash_new();

    for (n = node_first(s->node, "hosts"); n; n = n->next) {

        slash = strchr(n->text, '/');
        name = lower(slash ? slash + 1 : n->text);
        ns = slash ? xprintf("%.*s", (int) (slash - n->text), n->text) : "*";

        if (strcmp(ns, ".") == 0) {
            ns = doc_namespace(s->gateway);
        }

        list = hash_get(s->hosts, name);

        if (list == NULL) {
            list = xpiece(sizeof(list_t));
            hash_put(s->hosts, name, list);
        }

        list_push(list, (void *) ns);
    }
}


static int
model_server_kind(node_t *node, listener_t *l)
{
    node_t      *tls;
    const char  *protocol, *mode;

    protocol = node_text(node_get(node, "port"), "protocol");
    tls = node_get(node, "tls");
    mode = node_text(tls, "mode");

    /* PASSTHROUGH is the zero value of the enumeration */

    mode = (tls && mode == NULL) ? "PASSTHROUGH" : mode;

    if (strcmp(protocol, "TLS") == 0 || strcmp(protocol, "HTTPS") == 0) {
        l->kind = strcmp(protocol, "TLS") ? LISTEN_HTTP : LISTEN_TCP;

        if (tls == NULL) {
            diag(DIAG_ERROR, &node->pos, "MISSING",
                 "a server with protocol %s must have \"tls\"", protocol);
            return -1;
        }

        return model_server_tls(node, l, mode);
    }

    if (strncmp(protocol, "HTTP", 4) != 0
        && strncmp(protocol, "GRPC", 4) != 0)
    {
        l->kind = LISTEN_TCP;

    } else {
        l->kind = LISTEN_HTTP;

        if (tls && strcmp(mode, "PASSTHROUGH") == 0) {
            tls = NULL;
        }
    }

    l->http2 = (strcmp(protocol, "HTTP2") == 0
                || strcmp(protocol, "GRPC") == 0);

    if (strcmp(protocol, "GRPC-WEB") == 0) {
        diag(DIAG_ERROR, &node->pos, "UNSUPPORTED",
             "protocol GRPC-WEB from clients is not rendered: Envoy makes "
             "gRPC of it, nginx does not; HTTP passes it on as it is");
        return -1;
    }

    if (tls) {
        diag(DIAG_ERROR, &tls->key->pos, "VALUE",
             "a server with protocol %s has no \"tls\": HTTPS and TLS have",
             protocol);
        return -1;
    }

    return 0;
}


static int
model_server_tls(node_t *node, listener_t *l, const char *mode)
{
    if (strcmp(mode, "PASSTHROUGH") == 0) {
        l->kind = LISTEN_TLS;
        return 0;
    }

    if (strcmp(mode, "ISTIO_MUTUAL") == 0) {
        l->mutual = 1;
        return 0;
    }

    if (strcmp(mode, "AUTO_PASSTHROUGH") == 0) {
        diag(DIAG_ERROR, &node->pos, "UNSUPPORTED",
             "AUTO_PASSTHROUGH is for services of the mesh, which it would "
             "open without any policy: PASSTHROUGH is for external ones");
        return -1;
    }

    l->terminates = 1;

    return 0;
}


static listener_t *
model_listener(model_t *m, listener_t *kind, node_t *node)
{
    long         port;
    listener_t  *l, **last;

    port = node_number(node_get(node, "port"), "number");

    for (last = &m->listeners; *last; last = &(*last)->next) {
        l = *last;

        if (l->port != port) {
            continue;
        }

        if (l->kind != kind->kind || l->mutual != kind->mutual
            || l->terminates != kind->terminates)
        {
            diag(DIAG_ERROR, &node->pos, "CONFLICT",
                 "port %ld has another protocol in %s:%zu", port,
                 l->node->pos.source->name, l->node->pos.line);
            return NULL;
        }

        l->http2 |= kind->http2;

        if (l->terminates && l->kind == LISTEN_TCP) {
            diag(DIAG_ERROR, &node->pos, "UNSUPPORTED",
                 "a second server with protocol TLS that terminates port %ld, "
                 "after %s:%zu: stream has one certificate for a port", port,
                 l->node->pos.source->name, l->node->pos.line);
            return NULL;
        }

        return l;
    }

    l = xalloc(sizeof(listener_t));
    l->kind = kind->kind;
    l->port = port;
    l->mutual = kind->mutual;
    l->required = kind->mutual;
    l->terminates = kind->terminates;
    l->http2 = kind->http2;
    l->node = node;
    l->names = hash_new();
    l->suffixes = hash_new();
    l->last_route = &l->routes;
    l->last_vhost = &l->vhosts;

    *last = l;

    return l;
}


static void
model_virtual_service(model_t *m, node_t *vs)
{
    size_t     i;
    list_t     servers;
    server_t  *s;

    if (node_path(vs, "spec.hosts") == NULL) {

        if (node_path(vs, "spec.gateways") || node_path(vs, "spec.tls")
            || node_path(vs, "spec.tcp"))
        {
            diag(DIAG_ERROR, &vs->pos, "MISSING", "VirtualService must have "
                 "\"hosts\", unless another one delegates to it");
        }

        return;
    }

    if (node_path(vs, "spec.gateways") == NULL) {
        diag(DIAG_NOTE, &vs->pos, "MESH", "VirtualService \"%s\" is for the "
             "mesh's sidecars only", doc_name(vs));
        return;
    }

    if (!model_exported(m, vs, "defaultVirtualServiceExportTo")) {
        diag(DIAG_NOTE, &vs->pos, "EXPORT", "VirtualService \"%s\" is not "
             "exported to namespace \"%s\": it has no effect here",
             doc_name(vs), m->options->namespace);
        return;
    }

    model_servers(m, vs, &servers);

    model_check_sni(vs, &servers);
    model_check_hosts(vs, &servers, LISTEN_HTTP, "spec.http");
    model_check_hosts(vs, &servers, LISTEN_TCP, "spec.tcp");

    for (i = 0; i < servers.n; i++) {
        s = servers.elts[i];

        switch (s->listener->kind) {

        case LISTEN_TLS:
            model_tls(m, vs, s);
            break;

        case LISTEN_HTTP:
            routes_http(m, vs, s);
            break;

        case LISTEN_TCP:
            model_tcp(m, vs, s);
            break;
        }
    }

    free(servers.elts);
}


/* of the gateways that it names */

static void
model_servers(model_t *m, node_t *vs, list_t *servers)
{
    size_t       i;
    list_t      *list;
    node_t      *n, *before;
    const char  *name, *slash;

    memset(servers, 0, sizeof(list_t));

    for (n = node_path(vs, "spec.gateways")->child; n; n = n->next) {

        if (strcmp(n->text, "mesh") == 0) {
            continue;
        }

        slash = strchr(n->text, '/');
        name = slash ? n->text : xprintf("%s/%s", doc_namespace(vs), n->text);

        if (slash == n->text + 1 && n->text[0] == '.') {
            name = xprintf("%s/%s", doc_namespace(vs), slash + 1);
        }

        list = hash_get(m->gateways, name);

        if (list == NULL) {
            diag(DIAG_WARNING, &n->pos, "REFERENCE",
                 "there is no Gateway \"%s\" in the input", n->text);
            continue;
        }

        before = node_path(vs, "spec.gateways")->child;

        while (before != n && strcmp(before->text, n->text) != 0) {
            before = before->next;
        }

        for (i = 0; before == n && i < list->n; i++) {
            list_push(servers, list->elts[i]);
        }
    }
}


/* a rule opens no name that no server of its gateways has */

static void
model_check_sni(node_t *vs, list_t *servers)
{
    node_t  *rule, *match, *sni, *host;

    rule = node_path(vs, "spec.tls");

    for (rule = rule ? rule->child : NULL; rule; rule = rule->next) {

        match = node_get(rule, "match")->child;

        for ( /* void */ ; match; match = match->next) {

            sni = node_get(match, "sniHosts")->child;

            for ( /* void */ ; sni; sni = sni->next) {

                host = node_path(vs, "spec.hosts")->child;

                while (host && !host_covers(host->text, sni->text)) {
                    host = host->next;
                }

                if (host == NULL) {
                    diag(DIAG_ERROR, &sni->pos, "VALUE",
                         "\"%s\" is not among the hosts of VirtualService "
                         "\"%s\": add it there", sni->text, doc_name(vs));
                }
            }

            model_check_opened(vs, servers, match);
        }
    }
}


static void
model_check_opened(node_t *vs, list_t *servers, node_t *match)
{
    size_t     i;
    node_t    *sni;
    server_t  *s, *bound;

    for (sni = node_first(match, "sniHosts"); sni; sni = sni->next) {

        bound = NULL;

        for (i = 0; i < servers->n; i++) {
            s = servers->elts[i];

            if (s->listener->kind != LISTEN_TLS || !model_match(vs, s, match))
            {
                continue;
            }

            bound = s;

            if (model_server_covers(s, vs, sni->text, 0)) {
                break;
            }
        }

        if (bound && i == servers->n) {
            diag(DIAG_WARNING, &sni->pos, "UNREACHABLE",
                 "\"%s\" is not among the hosts of Gateway \"%s\": it is not "
                 "opened", sni->text, doc_name(bound->gateway));
        }
    }
}


/* the same for the hosts of http and tcp rules */

static void
model_check_hosts(node_t *vs, list_t *servers, listen_kind_e kind,
    const char *rules)
{
    size_t     i;
    node_t    *host;
    server_t  *s, *bound;

    if (node_path(vs, rules) == NULL) {
        return;
    }

    for (host = node_path(vs, "spec.hosts")->child; host; host = host->next) {

        bound = NULL;

        for (i = 0; i < servers->n; i++) {
            s = servers->elts[i];

            if (s->listener->kind != kind) {
                continue;
            }

            bound = s;

            if (model_server_covers(s, vs, host->text, 1)) {
                break;
            }
        }

        if (bound && i == servers->n) {
            diag(DIAG_WARNING, &host->pos, "UNREACHABLE",
                 "\"%s\" is not among the hosts of Gateway \"%s\": it is "
                 "not opened", host->text, doc_name(bound->gateway));
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
    node_t    *sni;
    route_t   *r;
    target_t  *targets, *t;

    for (sni = node_get(match, "sniHosts")->child; sni; sni = sni->next) {

        if (model_server_covers(s, vs, sni->text, 0) == NULL) {
            continue;
        }

        if (schema_refused(match) + schema_refused(node_get(rule, "route"))) {
            return;
        }

        targets = registry_targets(m, vs, s, rule, NULL);

        if (targets == NULL) {
            return;
        }

        r = model_add_route(s->listener, sni->text, sni, targets);

        if (r == NULL) {
            continue;
        }

        for (t = targets; t; t = t->next) {
            t->service->passthrough = 1;
        }

        if (targets->next == NULL
            && strcasecmp(targets->service->host, sni->text) == 0
            && targets->service->port == s->listener->port
            && targets->service->subset == NULL)
        {
            targets->service->lookup = 1;
            r->identity = 1;
        }
    }
}


static void
model_tcp(model_t *m, node_t *vs, server_t *s)
{
    int        rc;
    node_t    *rule, *host;
    target_t  *targets, *t;

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

    targets = registry_targets(m, vs, s, rule, NULL);
    rc = 0;

    for (t = targets; t; t = t->next) {
        model_tcp_target(t->service, rule, &rc);
    }

    if (targets == NULL || rc) {
        return;
    }

    if (s->listener->routes && s->listener->routes->node != rule) {
        diag(s->listener->routes->targets->service == targets->service
             && targets->next == NULL ? DIAG_NOTE : DIAG_ERROR,
             &rule->pos, "CONFLICT",
             "TCP port %ld has another destination in %s:%zu",
             s->listener->port,
             s->listener->routes->node->pos.source->name,
             s->listener->routes->node->pos.line);
        return;
    }

    if (s->listener->routes == NULL) {
        (void) model_add_route(s->listener, targets->service->host, rule,
                               targets);
    }
}


static void
model_tcp_target(service_t *svc, node_t *rule, int *rc)
{
    const char  *resolution;

    resolution = node_text(node_get(svc->entry, "spec"), "resolution");

    if (resolution == NULL || strcmp(resolution, "NONE") == 0
        || strcmp(resolution, "DYNAMIC_DNS") == 0)
    {
        diag(DIAG_ERROR, &rule->pos, "UNSUPPORTED",
             "a TCP client names no host to resolve: ServiceEntry \"%s\" "
             "has to have resolution STATIC or DNS, not %s",
             doc_name(svc->entry), resolution ? resolution : "NONE");
        *rc = -1;
    }

    svc->originate = 1;
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

int
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


/* NULL: another one was first */

static route_t *
model_add_route(listener_t *l, const char *host, node_t *node,
    target_t *targets)
{
    route_t  *r;

    host = lower(host);
    r = hash_get(l->names, host);

    if (r) {
        if (r->targets->service == targets->service
            && r->targets->next == NULL && targets->next == NULL)
        {
            return r;
        }

        diag(DIAG_WARNING, &node->pos, "UNREACHABLE",
             "\"%s\" in port %ld is routed already in %s:%zu: the "
             "first one counts", host, l->port,
             r->node->pos.source->name, r->node->pos.line);

        return NULL;
    }

    r = xalloc(sizeof(route_t));
    r->host = host;
    r->node = node;
    r->targets = targets;

    hash_put(l->names, host, r);
    suffixes_add(l->suffixes, host);

    *l->last_route = r;
    l->last_route = &r->next;

    return r;
}


/* what a name lies within: "*.b.c" and "*.c" for "a.b.c", and for "*.b.c" */

void
suffixes_add(hash_t *h, const char *host)
{
    const char  *dot, *name;

    for (dot = strchr(host, '.'); dot; dot = strchr(dot + 1, '.')) {

        name = xprintf("*%s", dot);

        if (hash_get(h, name)) {
            return;
        }

        hash_put(h, name, (void *) name);
    }
}


int
suffixes_within(const hash_t *names, const hash_t *suffixes,
    const char *pattern)
{
    pattern = lower(pattern);

    return hash_get(names, pattern)
           || (pattern[0] == '*' && hash_get(suffixes, pattern));
}


/*
 * The server's host that covers the one given or, if narrower, is covered by
 * it, and that is open to rules of this namespace.
 */

const char *
model_server_covers(server_t *s, node_t *vs, const char *host, int narrower)
{
    node_t      *n;
    const char  *name, *dot, *slash;

    host = lower(host);
    name = model_allowed(s, vs, host);

    for (dot = strchr(host, '.'); name == NULL && dot;
         dot = strchr(dot + 1, '.'))
    {
        name = model_allowed(s, vs, xprintf("*%s", dot));
    }

    if (name == NULL) {
        name = model_allowed(s, vs, "*");
    }

    if (name || !narrower || host[0] != '*') {
        return name;
    }

    for (n = node_first(s->node, "hosts"); n; n = n->next) {

        slash = strchr(n->text, '/');
        name = lower(slash ? slash + 1 : n->text);

        if (host_covers(host, name) && model_allowed(s, vs, name)) {
            return name;
        }
    }

    return NULL;
}


static const char *
model_allowed(server_t *s, node_t *vs, const char *name)
{
    size_t   i;
    list_t  *list;

    list = hash_get(s->hosts, name);

    for (i = 0; list && i < list->n; i++) {
        if (strcmp(list->elts[i], "*") == 0
            || strcmp(list->elts[i], doc_namespace(vs)) == 0)
        {
            return name;
        }
    }

    return NULL;
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

        if (l->terminates) {
            diag(DIAG_ERROR, &tls->pos, "CONFLICT",
                 "DestinationRule \"%s\" asks ISTIO_MUTUAL for port %ld, and "
                 "its server in %s:%zu has a certificate of its own",
                 doc_name(doc), l->port, l->node->pos.source->name,
                 l->node->pos.line);
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


int
model_reached(model_t *m, const char *host)
{
    listener_t  *l;
    const char  *dot;

    host = lower(host);

    if (hash_get(m->reached, host)) {
        return 1;
    }

    for (l = m->listeners; l; l = l->next) {
        if (hash_get(l->names, host)) {
            return 1;
        }
    }

    for (dot = strchr(host, '.'); dot; dot = strchr(dot + 1, '.')) {
        if (hash_get(m->reached, xprintf("*%s", dot))) {
            return 1;
        }
    }

    return hash_get(m->reached, "*") != NULL;
}


/* a server's hosts that nothing will ever reach */

static void
model_unused(model_t *m)
{
    node_t      *h;
    server_t    *s;
    const char  *slash, *name;

    for (s = m->servers; s; s = s->next) {

        if (s->listener->kind == LISTEN_TCP) {
            if (s->listener->routes == NULL) {
                diag(DIAG_WARNING, &s->node->pos, "UNREACHABLE",
                     "no tcp rule of a VirtualService for Gateway \"%s\" and "
                     "port %ld: nothing passes", doc_name(s->gateway),
                     s->listener->port);
            }

            continue;
        }

        for (h = node_first(s->node, "hosts"); h; h = h->next) {

            slash = strchr(h->text, '/');
            name = slash ? slash + 1 : h->text;

            if (strcmp(name, "*") != 0
                && !suffixes_within(s->listener->names,
                                    s->listener->suffixes, name))
            {
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

        if (model_pinned(m, p, len)) {
            continue;
        }

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


/* the address of an endpoint may be pinned as well */

static int
model_pinned(model_t *m, const char *address, size_t len)
{
    size_t       i;
    service_t   *svc;
    const char  *is;

    for (svc = m->services; svc; svc = svc->next) {
        for (i = 0; i < svc->endpoints.n; i++) {
            is = node_text(svc->endpoints.elts[i], "address");

            if (is && strlen(is) == len && strncmp(is, address, len) == 0) {
                return 1;
            }
        }
    }

    return 0;
}
