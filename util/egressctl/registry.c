
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"


/* how a DestinationRule comes to count, the best first */

enum {
    TIER_SELECTED = 0,                   /* by its workloadSelector */
    TIER_GATEWAY,                        /* of the gateway's namespace */
    TIER_SERVICE,                        /* of the service's */
    TIER_ROOT,
    TIER_NONE
};


static void registry_entries(model_t *m, node_t *doc);
static void registry_rule(model_t *m, node_t *doc);
static const char *registry_fqdn(node_t *doc, const char *host);
static node_t *registry_kube(model_t *m, node_t *doc);
static const char *registry_kube_protocol(node_t *port);
static void registry_kube_slices(model_t *m, node_t *doc, node_t *endpoints);
static void registry_kube_subset(node_t *endpoints, node_t *addresses,
    node_t *ports, const char *inner);
static list_t *registry_find(model_t *m, node_t *vs, const char **host);
static node_t *registry_entry(model_t *m, node_t *vs, node_t *dest,
    const char **host, long port);
static void registry_missing(model_t *m, node_t *dest, node_t *hidden,
    const char *host);
static int registry_has_port(node_t *entry, long port);
static long registry_port(node_t *dest, node_t *entry, server_t *s);
static service_t *registry_make(model_t *m, node_t *dest, node_t *entry,
    const char *host, long port, const char *retry);
static void registry_http2(model_t *m, service_t *svc);
static const char *registry_name(model_t *m, service_t *svc);
static const char *registry_protocol(node_t *port);
static int registry_endpoints(model_t *m, service_t *svc, node_t *dest);
static node_t *registry_workload(node_t *doc);
static int registry_labelled(node_t *labels, node_t *wanted);
static int registry_policy(model_t *m, service_t *svc, node_t *dest);
static list_t *registry_rules(model_t *m, service_t *svc);
static void registry_candidates(model_t *m, service_t *svc, const char *name,
    list_t *found, int *best);
static int registry_tier(model_t *m, service_t *svc, node_t *doc);
static void registry_loser(model_t *m, service_t *svc, node_t *doc,
    node_t *winner);
static void registry_overlay(policy_t *p, node_t *policy, long port,
    int whole);
static node_t *registry_subset(list_t *rules, const char *name);
static void registry_refused(node_t *policy, long port);
static void registry_unmatched(model_t *m, node_t *doc);


void
registry_build(model_t *m)
{
    size_t       i;
    node_t      *doc;
    const char  *kind;

    m->hosts = hash_new();
    m->suffixes = hash_new();
    m->rules = hash_new();

    /* a Service goes before a ServiceEntry for its host */

    for (i = 0; i < m->ndocs; i++) {
        if (strcmp(doc_kind(m->docs[i]), "Service") == 0) {
            doc = registry_kube(m, m->docs[i]);

            if (doc) {
                registry_entries(m, doc);
            }
        }
    }

    for (i = 0; i < m->ndocs; i++) {
        doc = m->docs[i];
        kind = doc_kind(doc);

        if (strcmp(kind, "ServiceEntry") == 0) {
            registry_entries(m, doc);

        } else if (strcmp(kind, "DestinationRule") == 0) {
            registry_rule(m, doc);
        }
    }
}


static void
registry_entries(model_t *m, node_t *doc)
{
    list_t      *list;
    node_t      *n;
    const char  *host;

    for (n = node_first(node_get(doc, "spec"), "hosts"); n; n = n->next) {

        host = lower(n->text);
        list = hash_get(m->hosts, host);

        if (list == NULL) {
            list = xpiece(sizeof(list_t));
            hash_put(m->hosts, host, list);
            suffixes_add(m->suffixes, host);
        }

        list_push(list, doc);
    }
}


static void
registry_rule(model_t *m, node_t *doc)
{
    list_t      *list;
    const char  *host;

    host = registry_fqdn(doc, node_text(node_get(doc, "spec"), "host"));

    if (host[0] == '*' && host[1] != '.' && host[1] != '\0') {
        list_push(&m->partial, doc);
        return;
    }

    list = hash_get(m->rules, host);

    if (list == NULL) {
        list = xpiece(sizeof(list_t));
        hash_put(m->rules, host, list);
    }

    list_push(list, doc);
}


/* a name without a dot is a service in the namespace of who says it */

static const char *
registry_fqdn(node_t *doc, const char *host)
{
    if (strchr(host, '.') || host[0] == '*') {
        return lower(host);
    }

    return lower(xprintf("%s.%s.svc.cluster.local", host,
                         doc_namespace(doc)));
}


/*
 * What a ServiceEntry would say of a Service: with its endpoints where the
 * input has them, else by its name in the cluster's DNS.
 */

static node_t *
registry_kube(model_t *m, node_t *doc)
{
    node_t      *entry, *spec, *n, *ports, *p, *endpoints;
    const char  *name, *external;

    entry = node_new(doc, NODE_MAP);
    spec = node_new(doc, NODE_MAP);
    external = node_text(node_get(doc, "spec"), "externalName");

    node_add(entry, "kind", node_string(doc, "Service"));
    node_add(entry, "metadata", node_copy(node_get(doc, "metadata")));
    node_add(entry, "spec", spec);

    n = node_add(spec, "hosts", node_new(doc, NODE_LIST));
    node_add(n, NULL, node_string(doc, registry_fqdn(doc, doc_name(doc))));

    ports = node_add(spec, "ports", node_new(doc, NODE_LIST));
    n = node_first(node_get(doc, "spec"), "ports");

    for ( /* void */ ; n; n = n->next) {

        if (node_number(n, "port") == -1) {
            diag(DIAG_ERROR, &n->pos, "MISSING", "a port of a Service must "
                 "have \"port\"");
            return NULL;
        }

        p = node_add(ports, NULL, node_new(n, NODE_MAP));
        name = node_text(n, "name");
        node_add(p, "number", node_string(n, node_text(n, "port")));
        node_add(p, "name", node_string(n, name ? name : ""));
        node_add(p, "protocol",
                 node_string(n, registry_kube_protocol(n)));
    }

    if (ports->child == NULL) {
        return NULL;
    }

    endpoints = node_new(doc, NODE_LIST);

    if (external) {
        n = node_add(endpoints, NULL, node_new(doc, NODE_MAP));
        node_add(n, "address", node_string(doc, external));

    } else {
        node_add(spec, "location", node_string(doc, "MESH_INTERNAL"));
        registry_kube_slices(m, doc, endpoints);
    }

    node_add(spec, "resolution",
             node_string(doc, endpoints->child && !external ? "STATIC"
                                                            : "DNS"));
    node_add(spec, "endpoints", endpoints);

    return entry;
}


/* as the port's name begins: "http-api" */

static const char *
registry_kube_protocol(node_t *port)
{
    size_t       i, len;
    const char  *name;

    static const char  *names[][2] = {
        { "grpc-web", "GRPC-WEB" }, { "http2", "HTTP2" }, { "https", "HTTPS" },
        { "http", "HTTP" }, { "grpc", "GRPC" }, { "tls", "TLS" },
        { "mongo", "MONGO" }, { "mysql", "MYSQL" }, { "redis", "REDIS" },
        { "kubernetes.io/h2c", "HTTP2" }, { "kubernetes.io/ws", "HTTP" }
    };

    name = node_text(port, "appProtocol");
    name = name ? name : node_text(port, "name");

    for (i = 0; name && i < sizeof(names) / sizeof(names[0]); i++) {
        len = strlen(names[i][0]);

        if (strncasecmp(name, names[i][0], len) == 0
            && (name[len] == '-' || name[len] == '\0'))
        {
            return names[i][1];
        }
    }

    return "TCP";
}


static void
registry_kube_slices(model_t *m, node_t *doc, node_t *endpoints)
{
    size_t       i;
    node_t      *d, *n, *ready;
    const char  *of;

    for (i = 0; i < m->ndocs; i++) {
        d = m->docs[i];

        if (strcmp(doc_namespace(d), doc_namespace(doc)) != 0) {
            continue;
        }

        if (strcmp(doc_kind(d), "Endpoints") == 0
            && strcmp(doc_name(d), doc_name(doc)) == 0)
        {
            n = node_first(d, "subsets");

            for ( /* void */ ; n; n = n->next) {
                registry_kube_subset(endpoints, node_first(n, "addresses"),
                                     node_first(n, "ports"), "ip");
            }
        }

        of = node_text(node_path(d, "metadata.labels"),
                       "kubernetes.io/service-name");

        if (strcmp(doc_kind(d), "EndpointSlice") == 0
            && of && strcmp(of, doc_name(doc)) == 0)
        {
            n = node_first(d, "endpoints");

            for ( /* void */ ; n; n = n->next) {
                ready = node_path(n, "conditions.ready");

                if (ready == NULL || strcmp(ready->text, "false") != 0) {
                    registry_kube_subset(endpoints,
                                         node_first(n, "addresses"),
                                         node_first(d, "ports"), NULL);
                }
            }
        }
    }
}


static void
registry_kube_subset(node_t *endpoints, node_t *addresses, node_t *ports,
    const char *inner)
{
    node_t      *ep, *map, *p;
    const char  *address, *name;

    for ( /* void */ ; addresses; addresses = addresses->next) {

        address = inner ? node_text(addresses, inner) : addresses->text;

        if (address == NULL) {
            continue;
        }

        ep = node_add(endpoints, NULL, node_new(addresses, NODE_MAP));
        node_add(ep, "address", node_string(addresses, address));
        map = node_add(ep, "ports", node_new(addresses, NODE_MAP));

        for (p = ports; p; p = p->next) {
            name = node_text(p, "name");

            if (node_text(p, "port")) {
                node_add(map, name ? name : "",
                         node_string(p, node_text(p, "port")));
            }
        }
    }
}


service_t *
registry_service(model_t *m, node_t *vs, server_t *s, node_t *dest,
    const char *retry)
{
    long         port;
    node_t      *entry;
    const char  *host;

    host = node_text(dest, "host");
    port = node_number(node_get(dest, "port"), "number");

    if (model_own(m, s->gateway, host)) {
        diag(DIAG_ERROR, &dest->pos, "LOOP",
             "a rule for the gateway routes to the gateway itself: is its "
             "match for \"mesh\"?");
        return NULL;
    }

    entry = registry_entry(m, vs, dest, &host, port);

    if (entry == NULL) {
        return NULL;
    }

    if (port == -1) {
        port = registry_port(dest, entry, s);
    }

    return (port == -1) ? NULL
                        : registry_make(m, dest, entry, host, port, retry);
}


/* the only port, else that of the listener */

static long
registry_port(node_t *dest, node_t *entry, server_t *s)
{
    node_t  *ports;

    ports = node_path(entry, "spec.ports");

    if (ports == NULL || ports->child == NULL) {
        diag(DIAG_ERROR, &entry->pos, "MISSING",
             "ServiceEntry \"%s\" must have \"ports\"", doc_name(entry));
        return -1;
    }

    if (ports->child->next == NULL) {
        return node_number(ports->child, "number");
    }

    if (registry_has_port(entry, s->listener->port)) {
        return s->listener->port;
    }

    diag(DIAG_ERROR, &dest->pos, "MISSING",
         "\"%s\" has several ports: say which, with \"port: "
         "{number: N}\"", node_text(dest, "host"));

    return -1;
}


static list_t *
registry_find(model_t *m, node_t *vs, const char **host)
{
    list_t      *list;
    const char  *name;

    name = lower(*host);
    list = hash_get(m->hosts, name);

    if (list == NULL) {
        name = registry_fqdn(vs, *host);
        list = hash_get(m->hosts, name);
    }

    if (list) {
        *host = name;
    }

    return list;
}


/*
 * Several may register a host, each with ports of its own.  For the same port
 * the one of the route's own namespace counts; which of two other namespaces
 * has the host can't be told.
 */

static node_t *
registry_entry(model_t *m, node_t *vs, node_t *dest, const char **host,
    long port)
{
    size_t   i;
    node_t  *doc, *found, *hidden, *first;
    list_t  *list;

    found = NULL;
    hidden = NULL;
    first = NULL;
    list = registry_find(m, vs, host);

    for (i = 0; list && i < list->n; i++) {
        doc = list->elts[i];

        if (!model_exported(m, doc, "defaultServiceExportTo")) {
            hidden = doc;
            continue;
        }

        if (port != -1 && !registry_has_port(doc, port)) {
            found = found ? found : doc;
            continue;
        }

        if (strcmp(doc_namespace(doc), doc_namespace(vs)) == 0) {
            return doc;
        }

        if (first && strcmp(doc_namespace(doc), doc_namespace(first)) != 0) {
            diag(DIAG_ERROR, &doc->pos, "CONFLICT",
                 "\"%s\" is registered by namespace \"%s\", and in %s:%zu by "
                 "\"%s\": limit one of them with \"exportTo\"", *host,
                 doc_namespace(doc), first->pos.source->name,
                 first->pos.line, doc_namespace(first));
        }

        first = first ? first : doc;
    }

    if (first) {
        return first;
    }

    if (found == NULL) {
        registry_missing(m, dest, hidden, *host);
    }

    return found;
}


static void
registry_missing(model_t *m, node_t *dest, node_t *hidden, const char *host)
{
    const char  *dot;

    if (hidden) {
        diag(DIAG_ERROR, &dest->pos, "REFERENCE",
             "ServiceEntry \"%s\" is not exported to namespace \"%s\": add "
             "it to its \"exportTo\"", doc_name(hidden),
             m->options->namespace);
        return;
    }

    for (dot = strchr(host, '.'); dot; dot = strchr(dot + 1, '.')) {

        if (hash_get(m->hosts, xprintf("*%s", dot))) {
            diag(DIAG_ERROR, &dest->pos, "REFERENCE",
                 "\"%s\" is not registered by itself, only \"*%s\" is: add a "
                 "ServiceEntry for it, or route to \"*%s\"", host, dot, dot);
            return;
        }
    }

    diag(DIAG_ERROR, &dest->pos, "REFERENCE",
         "\"%s\" is not registered: add a ServiceEntry for it to the input",
         host);
}


static int
registry_has_port(node_t *entry, long port)
{
    node_t  *p;

    for (p = node_first(node_get(entry, "spec"), "ports"); p; p = p->next) {
        if (node_number(p, "number") == port) {
            return 1;
        }
    }

    return 0;
}


static service_t *
registry_make(model_t *m, node_t *dest, node_t *entry, const char *host,
    long port, const char *retry)
{
    char        *key;
    node_t      *p;
    service_t   *svc;
    const char  *subset;

    subset = node_text(dest, "subset");
    key = xprintf("%s\n%ld\n%s\n%s", host, port, subset ? subset : "",
                  retry ? retry : "");
    svc = hash_get(m->keys, key);

    if (svc) {
        free(key);
        return svc;
    }

    for (p = node_first(node_get(entry, "spec"), "ports"); p; p = p->next) {
        if (node_number(p, "number") == port) {
            break;
        }
    }

    if (p == NULL) {
        diag(DIAG_ERROR, &dest->pos, "REFERENCE",
             "%s \"%s\" in %s:%zu has no port %ld: add it to its "
             "\"ports\"", doc_kind(entry), doc_name(entry),
             entry->pos.source->name, entry->pos.line, port);
        return NULL;
    }

    svc = xalloc(sizeof(service_t));
    svc->host = host;
    svc->port = port;
    svc->target = node_number(p, "targetPort");
    svc->protocol = registry_protocol(p);
    svc->entry = entry;
    svc->port_node = p;
    svc->subset = subset;
    svc->retry = retry;
    svc->http = (retry != NULL);

    if (svc->target == -1) {
        svc->target = port;
    }

    if (schema_refused(node_get(entry, "spec"))
        || registry_policy(m, svc, dest) != 0
        || registry_endpoints(m, svc, dest) != 0)
    {
        return NULL;
    }

    registry_http2(m, svc);

    entry->used = 1;
    svc->name = (char *) registry_name(m, svc);

    hash_put(m->keys, key, svc);
    hash_put(m->reached, host, svc);

    *m->last_service = svc;
    m->last_service = &svc->next;

    return svc;
}


/* a DestinationRule may say so of any port, MeshConfig of those for HTTP */

static void
registry_http2(model_t *m, service_t *svc)
{
    int          named;
    node_t      *http;
    const char  *rule, *mesh;

    if (!svc->http) {
        return;
    }

    http = node_get(svc->policy.pool, "http");
    rule = node_text(http, "h2UpgradePolicy");
    mesh = model_mesh(m, "h2UpgradePolicy")
           ? model_mesh(m, "h2UpgradePolicy")->text : "";
    named = (strcmp(svc->protocol, "http2") == 0
             || strcmp(svc->protocol, "grpc") == 0);

    if (node_true(http, "useClientProtocol") && !named) {
        diag(DIAG_ERROR, &node_get(http, "useClientProtocol")->key->pos,
             "UNSUPPORTED", "a service is asked in one protocol, whatever "
             "the client speaks: instead of \"useClientProtocol\" say "
             "\"h2UpgradePolicy: UPGRADE\" for HTTP/2, or nothing for "
             "HTTP/1.1");
        return;
    }

    if (rule && strcmp(rule, "DEFAULT") != 0) {
        svc->http2 = (strcmp(rule, "UPGRADE") == 0);

    } else {
        svc->http2 = (strcmp(mesh, "UPGRADE") == 0
                      && strcmp(svc->protocol, "http") == 0);
    }

    svc->http2 |= named;

    if (svc->http2 && strcmp(svc->protocol, "http") == 0) {
        svc->protocol = "http2";
    }
}


/* what the retries are is no part of a name: a number tells them apart */

static const char *
registry_name(model_t *m, service_t *svc)
{
    int          n;
    char        *base;
    const char  *name;

    base = xprintf("%s_%ld%s%s", svc->host, svc->port, svc->subset ? "_" : "",
                   svc->subset ? svc->subset : "");
    name = base;

    for (n = 2; hash_get(m->names, name); n++) {
        name = xprintf("%s_%d", base, n);
    }

    hash_put(m->names, name, (void *) name);

    return name;
}


/* without one it is TCP: Istio doesn't look at the name of the port here */

static const char *
registry_protocol(node_t *port)
{
    size_t       i;
    const char  *p;

    static const char  *names[][2] = {
        { "HTTP", "http" }, { "HTTPS", "https" }, { "TLS", "tls" },
        { "TCP", "tcp" }, { "HTTP2", "http2" }, { "GRPC", "grpc" },
        { "GRPC-WEB", "http2" }, { "MONGO", "mongo" }, { "MYSQL", "mysql" },
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


/* of the ServiceEntry, or the WorkloadEntries it selects; then the subset's */

static int
registry_endpoints(model_t *m, service_t *svc, node_t *dest)
{
    size_t   i;
    list_t   all;
    node_t  *n, *selector, *doc;

    memset(&all, 0, sizeof(list_t));

    selector = node_path(svc->entry, "spec.workloadSelector");

    for (i = 0; selector && i < m->ndocs; i++) {
        doc = m->docs[i];

        if (strcmp(doc_kind(doc), "WorkloadEntry") == 0
            && strcmp(doc_namespace(doc), doc_namespace(svc->entry)) == 0)
        {
            n = registry_workload(doc);

            if (registry_labelled(node_get(n, "labels"),
                                  node_get(selector, "labels")))
            {
                doc->used = 1;

                if (schema_refused(n)) {
                    return -1;
                }

                list_push(&all, n);
            }
        }
    }

    n = node_first(node_get(svc->entry, "spec"), "endpoints");

    if (n && selector) {
        diag(DIAG_ERROR, &selector->key->pos, "VALUE",
             "\"workloadSelector\" and \"endpoints\" exclude each other");
        return -1;
    }

    for ( /* void */ ; n; n = n->next) {
        list_push(&all, n);
    }

    for (i = 0; i < all.n; i++) {
        n = all.elts[i];

        if (svc->policy.labels == NULL
            || registry_labelled(node_get(n, "labels"), svc->policy.labels))
        {
            list_push(&svc->endpoints, n);
        }
    }

    free(all.elts);

    if (svc->endpoints.n == 0 && (selector || (svc->policy.labels
                                               && svc->policy.labels->child)))
    {
        diag(DIAG_ERROR, &dest->pos, "REFERENCE",
             "no %s has the labels that %s \"%s\" selects: nothing "
             "would be reached", selector ? "WorkloadEntry" : "endpoint",
             svc->subset ? "subset" : "ServiceEntry",
             svc->subset ? svc->subset : doc_name(svc->entry));
        return -1;
    }

    return 0;
}


/* the object's own labels go before those of its spec */

static node_t *
registry_workload(node_t *doc)
{
    node_t  *ep, *n, *labels, *own;

    ep = node_new(node_get(doc, "spec"), NODE_MAP);

    for (n = node_get(doc, "spec")->child; n; n = n->next) {
        if (strcmp(n->key->text, "labels") != 0) {
            node_add(ep, NULL, node_copy(n));
        }
    }

    labels = node_add(ep, "labels", node_new(doc, NODE_MAP));
    own = node_path(doc, "metadata.labels");

    for (n = own ? own->child : NULL; n; n = n->next) {
        if (n->kind == NODE_SCALAR) {
            node_add(labels, NULL, node_copy(n));
        }
    }

    n = node_first(node_get(doc, "spec"), "labels");

    for ( /* void */ ; n; n = n->next) {
        if (node_get(labels, n->key->text) == NULL) {
            node_add(labels, NULL, node_copy(n));
        }
    }

    return ep;
}


static int
registry_labelled(node_t *labels, node_t *wanted)
{
    node_t      *n;
    const char  *value;

    for (n = wanted ? wanted->child : NULL; n; n = n->next) {
        value = node_text(labels, n->key->text);

        if (value == NULL || strcmp(value, n->text) != 0) {
            return 0;
        }
    }

    return 1;
}


/*
 * The port's settings stand for all of the rule's, if there are any; what a
 * subset says goes before, field by field; MeshConfig's is the rest.
 */

static int
registry_policy(model_t *m, service_t *svc, node_t *dest)
{
    size_t      i;
    list_t     *rules;
    node_t     *policy, *first, *subset, *n;
    policy_t   *p;

    p = &svc->policy;
    rules = registry_rules(m, svc);
    first = NULL;

    for (i = 0; i < rules->n; i++) {
        policy = node_path(rules->elts[i], "spec.trafficPolicy");

        if (policy && first) {
            diag(DIAG_WARNING, &policy->key->pos, "CONFLICT",
                 "DestinationRule \"%s\" in %s:%zu is for the same host: "
                 "its trafficPolicy counts, and the subsets of both",
                 doc_name(p->rule), p->rule->pos.source->name,
                 p->rule->pos.line);

        } else if (policy) {
            first = policy;
            p->rule = rules->elts[i];
        }
    }

    if (first) {
        registry_overlay(p, first, svc->port, 1);
        registry_refused(first, svc->port);
    }

    if (svc->subset) {
        subset = registry_subset(rules, svc->subset);

        if (subset == NULL) {
            diag(DIAG_ERROR, &node_get(dest, "subset")->pos, "REFERENCE",
                 "no DestinationRule that counts for \"%s\" has a subset "
                 "\"%s\"", svc->host, svc->subset);
            return -1;
        }

        p->labels = node_get(subset, "labels");
        policy = node_get(subset, "trafficPolicy");

        if (policy) {
            registry_overlay(p, policy, svc->port, 0);
            registry_refused(policy, svc->port);
        }
    }

    n = model_mesh(m, "defaultTrafficPolicy");

    if (n && p->pool == NULL) {
        p->pool = node_get(n, "connectionPool");
    }

    if (n && p->outlier == NULL) {
        p->outlier = node_get(n, "outlierDetection");
    }

    return -(schema_refused(p->pool) + schema_refused(p->balancer)
             + schema_refused(p->outlier) + schema_refused(p->tls) != 0);
}


/* of the first tier in which there is any, those for the most exact host */

static list_t *
registry_rules(model_t *m, service_t *svc)
{
    int          best;
    size_t       i;
    list_t      *found;
    node_t      *doc;
    const char  *dot;

    found = xpiece(sizeof(list_t));
    best = TIER_NONE;

    registry_candidates(m, svc, svc->host, found, &best);

    for (dot = strchr(svc->host, '.'); dot; dot = strchr(dot + 1, '.')) {
        registry_candidates(m, svc, xprintf("*%s", dot), found, &best);
    }

    for (i = 0; i < m->partial.n; i++) {
        doc = m->partial.elts[i];

        if (host_covers(node_text(node_get(doc, "spec"), "host"), svc->host)
            && registry_tier(m, svc, doc) < best)
        {
            best = registry_tier(m, svc, doc);
            found->n = 0;
            list_push(found, doc);
        }
    }

    registry_candidates(m, svc, "*", found, &best);

    for (i = 0; i < found->n; i++) {
        doc = found->elts[i];
        doc->used = 2;
    }

    return found;
}


static void
registry_candidates(model_t *m, service_t *svc, const char *name,
    list_t *found, int *best)
{
    int      tier;
    size_t   i;
    list_t  *list, before;
    node_t  *doc;

    list = hash_get(m->rules, name);
    before = *found;

    for (i = 0; list && i < list->n; i++) {
        tier = registry_tier(m, svc, list->elts[i]);

        if (tier < *best) {
            *best = tier;
            found->n = 0;
            found->elts = NULL;
            list_push(found, list->elts[i]);

        /* not those of a less exact host */

        } else if (tier == *best && tier != TIER_NONE
                   && found->elts != before.elts)
        {
            list_push(found, list->elts[i]);
        }
    }

    for (i = 0; list && i < list->n; i++) {
        doc = list->elts[i];

        if (doc->used == 0
            && registry_tier(m, svc, doc) != TIER_NONE
            && (found->n == 0 || found->elts == before.elts
                || registry_tier(m, svc, doc) != *best))
        {
            registry_loser(m, svc, doc, found->elts[0]);
        }
    }

    for (i = 0; found->elts != before.elts && i < before.n; i++) {
        doc = before.elts[i];

        if (doc->used == 0) {
            registry_loser(m, svc, doc, found->elts[0]);
        }
    }
}


static int
registry_tier(model_t *m, service_t *svc, node_t *doc)
{
    int               root, same;
    node_t           *labels, *export;
    const char       *ns, *unknown;
    const options_t  *o;

    o = m->options;
    ns = doc_namespace(doc);
    same = (strcmp(ns, o->namespace) == 0);
    root = (strcmp(o->namespace, o->root) == 0);
    labels = node_path(doc, "spec.workloadSelector.matchLabels");
    export = node_first(node_get(doc, "spec"), "exportTo");

    if (labels) {

        switch (same ? model_labels(m, labels, &unknown) : 0) {

        case 1:
            return TIER_SELECTED;

        case -1:
            diag(DIAG_ERROR, &labels->pos, "SELECTOR",
                 "does the gateway have the label \"%s\"? Say so with "
                 "--selector", unknown);
            /* fall through */

        default:
            doc->used = doc->used ? doc->used : 1;
            return TIER_NONE;
        }
    }

    if (!model_exported(m, doc, "defaultDestinationRuleExportTo")) {

        if (doc->used == 0) {
            diag(DIAG_WARNING, &doc->pos, "UNREACHABLE",
                 "DestinationRule \"%s\" is not exported to namespace \"%s\"",
                 doc_name(doc), o->namespace);
        }

        doc->used = doc->used ? doc->used : 1;
        return TIER_NONE;
    }

    if (same && (!root || (export && strcmp(export->text, ".") == 0))) {
        return TIER_GATEWAY;
    }

    if (strcmp(ns, doc_namespace(svc->entry)) == 0) {
        return TIER_SERVICE;
    }

    if (strcmp(ns, o->root) == 0) {
        return TIER_ROOT;
    }

    if (doc->used == 0) {
        diag(DIAG_WARNING, &doc->pos, "UNREACHABLE",
             "DestinationRule \"%s\" in namespace \"%s\" does not apply "
             "at the gateway: it would in the namespace of ServiceEntry "
             "\"%s\" or in \"%s\"", doc_name(doc), ns,
             doc_name(svc->entry), o->root);
        doc->used = 1;
    }

    return TIER_NONE;
}


static void
registry_loser(model_t *m, service_t *svc, node_t *doc, node_t *winner)
{
    if (model_own(m, doc, node_text(node_get(doc, "spec"), "host"))) {
        return;
    }

    doc->used = 1;

    diag(DIAG_NOTE, &doc->pos, "UNREACHABLE",
         "DestinationRule \"%s\" is not that of \"%s\": \"%s\" in %s:%zu goes "
         "before it", doc_name(doc), svc->host, doc_name(winner),
         winner->pos.source->name, winner->pos.line);
}


/* "whole": what the port's settings leave out is not there at all */

static void
registry_overlay(policy_t *p, node_t *policy, long port, int whole)
{
    size_t   i;
    node_t  *n, *at;
    node_t **fields[] = { &p->pool, &p->balancer, &p->outlier, &p->tls };

    static const char  *names[] = {
        "connectionPool", "loadBalancer", "outlierDetection", "tls"
    };

    n = node_first(policy, "portLevelSettings");

    while (n && node_number(node_get(n, "port"), "number") != port) {
        n = n->next;
    }

    for (i = 0; i < 4; i++) {
        at = node_get(n ? n : policy, names[i]);

        if (at || whole || n) {
            *fields[i] = at;
        }
    }
}


static node_t *
registry_subset(list_t *rules, const char *name)
{
    size_t       i;
    node_t      *n, *found;
    const char  *is;

    found = NULL;

    for (i = 0; i < rules->n; i++) {
        n = node_first(node_get(rules->elts[i], "spec"), "subsets");

        for ( /* void */ ; n; n = n->next) {
            is = node_text(n, "name");

            if (strcmp(is, name) != 0) {
                continue;
            }

            if (found) {
                diag(DIAG_WARNING, &n->pos, "CONFLICT",
                     "subset \"%s\" is in %s:%zu as well, which counts",
                     name, found->pos.source->name, found->pos.line);
                continue;
            }

            found = n;
        }
    }

    return found;
}


/* what a policy has beside those four, unless a port's stand for it */

static void
registry_refused(node_t *policy, long port)
{
    node_t  *n;

    n = node_first(policy, "portLevelSettings");

    for ( /* void */ ; n; n = n->next) {
        if (node_number(node_get(n, "port"), "number") == port) {
            return;
        }
    }

    schema_refused(node_get(policy, "tunnel"));
    schema_refused(node_get(policy, "proxyProtocol"));
    schema_refused(node_get(policy, "retryBudget"));
}


target_t *
registry_targets(model_t *m, node_t *vs, server_t *s, node_t *rule,
    const char *retry)
{
    long        weight;
    node_t     *n;
    target_t   *first, **last, *t;

    n = node_first(rule, "route");

    if (n == NULL) {
        diag(DIAG_ERROR, &rule->pos, "MISSING", "the rule must have "
             "\"route\"");
        return NULL;
    }

    if (n->next == NULL && node_number(n, "weight") == 0) {
        diag(DIAG_ERROR, &n->pos, "VALUE",
             "the only destination has weight 0: nothing would reach it");
        return NULL;
    }

    first = NULL;
    last = &first;

    for ( /* void */ ; n; n = n->next) {
        weight = node_number(n, "weight");

        if (weight < 1 && (n->next || first)) {
            diag(DIAG_NOTE, &n->pos, "UNREACHABLE",
                 "a destination without \"weight\", beside others, gets "
                 "nothing");
            continue;
        }

        t = xalloc(sizeof(target_t));
        t->node = n;
        t->weight = weight < 1 ? 1 : weight;
        t->service = registry_service(m, vs, s, node_get(n, "destination"),
                                      retry);

        if (t->service == NULL) {
            return NULL;
        }

        *last = t;
        last = &t->next;
    }

    if (first == NULL) {
        diag(DIAG_ERROR, &rule->pos, "VALUE",
             "the weights of all destinations are 0: nothing would be "
             "reached");
    }

    return first;
}


/* what the input says and nothing will ever reach */

void
registry_unused(model_t *m)
{
    size_t       i;
    node_t      *doc;
    const char  *kind;

    for (i = 0; i < m->ndocs; i++) {
        doc = m->docs[i];
        kind = doc_kind(doc);

        if (doc->used) {
            continue;
        }

        if (strcmp(kind, "ServiceEntry") == 0) {
            diag(DIAG_NOTE, &doc->pos, "UNREACHABLE",
                 "no rule of a VirtualService for this gateway routes to "
                 "ServiceEntry \"%s\": it stays closed here",
                 doc_name(doc));

        } else if (strcmp(kind, "WorkloadEntry") == 0) {
            diag(DIAG_NOTE, &doc->pos, "UNREACHABLE",
                 "no ServiceEntry with a route through this gateway selects "
                 "WorkloadEntry \"%s\"", doc_name(doc));

        } else if (strcmp(kind, "DestinationRule") == 0
                   && !model_own(m, doc, node_text(node_get(doc, "spec"),
                                                   "host")))
        {
            registry_unmatched(m, doc);
        }
    }
}


/* a rule that changes nothing here: is it for a sidecar, or mistyped */

static void
registry_unmatched(model_t *m, node_t *doc)
{
    size_t       len;
    const char  *host;

    host = node_text(node_get(doc, "spec"), "host");

    if (suffixes_within(m->hosts, m->suffixes, host)) {
        diag(DIAG_NOTE, &doc->pos, "UNREACHABLE",
             "DestinationRule \"%s\": no rule for this gateway "
             "routes to \"%s\"", doc_name(doc), host);
        return;
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
