
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"


static void routes_hosts(node_t *vs, server_t *s, list_t *hosts);
static void routes_rules(model_t *m, node_t *vs, server_t *s, list_t *rules);
static int routes_rule(model_t *m, node_t *vs, server_t *s, node_t *node,
    list_t *rules);
static int routes_flaw(node_t *node);
static int routes_applies(model_t *m, node_t *vs, server_t *s, node_t *match);
static int routes_any(node_t *match);
static const char *routes_name(node_t *node, node_t *match);
static target_t *routes_mirrors(model_t *m, node_t *vs, server_t *s,
    node_t *node, int *rc);
static target_t *routes_mirror(model_t *m, node_t *vs, server_t *s,
    node_t *dest, node_t *node);
static void routes_vhost(node_t *vs, server_t *s, const char *host,
    list_t *rules);
static int routes_owner(node_t *vs, server_t *s, vhost_t *v);
static void routes_lost(node_t *vs, server_t *s, const char *host);
static size_t routes_specific(server_t *s, const char *host);
static const char *routes_retry(model_t *m, node_t *rule);
static char *routes_retry_on(node_t *node);
static int routes_retry_value(node_t *node, char *word, char *out);
static int routes_delegate(model_t *m, node_t *vs, server_t *s,
    node_t *root, list_t *rules);
static node_t *routes_delegate_rule(node_t *root, node_t *leaf);
static node_t *routes_delegate_matches(node_t *root, node_t *leaf);
static node_t *routes_merge(node_t *root, node_t *leaf);
static int routes_conflict(node_t *root, node_t *leaf);
static int routes_conflict_map(node_t *root, node_t *leaf);
static int routes_conflict_string(node_t *root, node_t *leaf);


void
routes_http(model_t *m, node_t *vs, server_t *s)
{
    size_t  i;
    list_t  hosts, rules;

    if (node_path(vs, "spec.http") == NULL) {
        return;
    }

    memset(&hosts, 0, sizeof(list_t));
    memset(&rules, 0, sizeof(list_t));

    routes_hosts(vs, s, &hosts);

    if (hosts.n == 0) {
        return;
    }

    routes_rules(m, vs, s, &rules);

    if (rules.n == 0) {
        return;
    }

    for (i = 0; i < hosts.n; i++) {
        routes_vhost(vs, s, hosts.elts[i], &rules);
    }
}


/* of each pair of hosts that overlap, the narrower one */

static void
routes_hosts(node_t *vs, server_t *s, list_t *hosts)
{
    node_t      *host, *n;
    const char  *name, *slash;

    for (host = node_first(node_get(vs, "spec"), "hosts"); host;
         host = host->next)
    {
        if (model_server_covers(s, vs, host->text, 0)) {
            list_push(hosts, lower(host->text));
            continue;
        }

        if (host->text[0] != '*') {
            continue;
        }

        /* "*.example.com" through a server for "a.example.com" */

        for (n = node_first(s->node, "hosts"); n; n = n->next) {
            slash = strchr(n->text, '/');
            name = lower(slash ? slash + 1 : n->text);

            if (host_covers(host->text, name)
                && model_server_covers(s, vs, name, 0))
            {
                list_push(hosts, (void *) name);
            }
        }
    }
}


static void
routes_rules(model_t *m, node_t *vs, server_t *s, list_t *rules)
{
    int      rc;
    node_t  *node;
    rule_t  *last;

    rc = 0;

    for (node = node_path(vs, "spec.http")->child; node; node = node->next) {

        last = rules->n ? rules->elts[rules->n - 1] : NULL;

        if (last && last->any) {
            diag(DIAG_WARNING, &node->pos, "UNREACHABLE",
                 "an http rule before this one, in line %zu, matches all "
                 "requests: it is never reached", last->node->pos.line);
            return;
        }

        if (node_get(node, "delegate")) {
            rc |= routes_delegate(m, vs, s, node, rules);

        } else {
            rc |= routes_rule(m, vs, s, node, rules);
        }
    }

    if (rules->n == 0 && rc == 0) {
        diag(DIAG_WARNING, &vs->pos, "UNREACHABLE",
             "no http rule of VirtualService \"%s\" applies to port %ld of "
             "Gateway \"%s\"", doc_name(vs), s->listener->port,
             doc_name(s->gateway));
    }
}


/* one for each match that is for this server; -1: refused */

static int
routes_rule(model_t *m, node_t *vs, server_t *s, node_t *node, list_t *rules)
{
    int         rc;
    node_t     *match;
    rule_t     *rule;
    target_t   *targets, *mirrors;

    match = node_get(node, "match");
    match = (match && match->child) ? match->child : NULL;

    if (match) {
        while (match && !routes_applies(m, vs, s, match)) {
            match = match->next;
        }

        if (match == NULL) {
            return 0;
        }
    }

    if (model_rule_refused(vs, s, node) || routes_flaw(node)) {
        return -1;
    }

    targets = NULL;
    rc = 0;

    if (node_get(node, "route")) {
        targets = registry_targets(m, vs, s, node, routes_retry(m, node));

        if (targets == NULL) {
            return -1;
        }
    }

    mirrors = routes_mirrors(m, vs, s, node, &rc);

    if (rc) {
        return -1;
    }

    do {
        if (match && !routes_applies(m, vs, s, match)) {
            continue;
        }

        rule = xalloc(sizeof(rule_t));
        rule->vs = vs;
        rule->node = node;
        rule->match = match;
        rule->name = routes_name(node, match);
        rule->targets = targets;
        rule->mirrors = mirrors;
        rule->any = routes_any(match);

        list_push(rules, rule);

    } while (match && (match = match->next));

    for ( /* void */ ; targets; targets = targets->next) {
        targets->service->originate = 1;
    }

    for ( /* void */ ; mirrors; mirrors = mirrors->next) {
        mirrors->service->originate = 1;
    }
    return 0;
}


/* what Istio's webhook refuses */

static int
routes_flaw(node_t *node)
{
    int          n;
    node_t      *other;
    size_t       i;

    static const char  *exclude[] = {
        "fault", "rewrite", "mirror", "mirrors", "retries", "timeout"
    };

    other = node_get(node, "redirect");
    other = other ? other : node_get(node, "directResponse");

    n = (node_get(node, "route") != NULL)
        + (node_get(node, "redirect") != NULL)
        + (node_get(node, "directResponse") != NULL);

    if (n != 1) {
        diag(DIAG_ERROR, &node->pos, n ? "VALUE" : "MISSING",
             n ? "\"route\", \"redirect\" and \"directResponse\" exclude each "
                 "other"
               : "the rule must have \"route\", \"redirect\" or "
                 "\"directResponse\"");
        return 1;
    }

    for (i = 0; other && i < sizeof(exclude) / sizeof(exclude[0]); i++) {
        if (node_get(node, exclude[i])
            && (i < 2 || strcmp(other->key->text, "redirect") == 0))
        {
            diag(DIAG_ERROR, &node_get(node, exclude[i])->key->pos, "VALUE",
                 "\"%s\" and \"%s\" exclude each other", exclude[i],
                 other->key->text);
            return 1;
        }
    }

    if (node_get(node, "mirror") && node_get(node, "mirrors")) {
        diag(DIAG_ERROR, &node_get(node, "mirrors")->key->pos, "VALUE",
             "\"mirror\" and \"mirrors\" exclude each other");
        return 1;
    }

    return 0;
}


/*
 * The source is compared with the gateway itself, and only where the match
 * names no gateways.
 */

static int
routes_applies(model_t *m, node_t *vs, server_t *s, node_t *match)
{
    node_t      *labels;
    const char  *ns, *unknown;

    if (!model_match(vs, s, match)) {
        return 0;
    }

    if (node_get(match, "gateways")) {
        return 1;
    }

    ns = node_text(match, "sourceNamespace");

    if (ns && strcmp(ns, m->options->namespace) != 0) {
        return 0;
    }

    labels = node_get(match, "sourceLabels");

    if (labels == NULL) {
        return 1;
    }

    switch (model_labels(m, labels, &unknown)) {

    case 1:
        return 1;

    case 0:
        return 0;

    default:
        diag(DIAG_ERROR, &labels->pos, "SELECTOR",
             "\"sourceLabels\" are compared with the gateway's own labels "
             "here: does it have \"%s\"? Say so with --selector, or write "
             "\"gateways: [mesh]\" into this match", unknown);
        return 0;
    }
}


static int
routes_any(node_t *match)
{
    node_t      *n;
    const char  *text;

    static const char  *narrow[] = {
        "scheme", "method", "authority", "headers", "withoutHeaders",
        "queryParams", NULL
    };

    size_t  i;

    for (i = 0; narrow[i]; i++) {
        n = node_get(match, narrow[i]);

        if (n && n->child) {
            return 0;
        }
    }

    n = node_get(match, "uri");

    if (n == NULL || n->child == NULL) {
        return 1;
    }

    text = node_text(n, "prefix");

    if (text) {
        return strcmp(text, "/") == 0;
    }

    text = node_text(n, "regex");

    return text && (strcmp(text, ".*") == 0 || strcmp(text, "/.*") == 0);
}


/* as Envoy's %ROUTE_NAME% has it */

static const char *
routes_name(node_t *node, node_t *match)
{
    const char  *name, *more;

    name = node_text(node, "name");
    more = node_text(match, "name");

    if (name && more) {
        return xprintf("%s.%s", name, more);
    }

    return name ? name : more;
}


static target_t *
routes_mirrors(model_t *m, node_t *vs, server_t *s, node_t *node, int *rc)
{
    node_t    *n;
    target_t  *first, **last;

    first = NULL;
    last = &first;

    n = node_get(node, "mirror");

    if (n) {
        first = routes_mirror(m, vs, s, n, node);
        *rc = first ? 0 : -1;
        return first;
    }

    for (n = node_first(node, "mirrors"); n; n = n->next) {
        *last = routes_mirror(m, vs, s, node_get(n, "destination"), n);

        if (*last == NULL) {
            *rc = -1;
            return NULL;
        }

        last = &(*last)->next;
    }

    return first;
}


static target_t *
routes_mirror(model_t *m, node_t *vs, server_t *s, node_t *dest, node_t *node)
{
    target_t  *t;

    t = xalloc(sizeof(target_t));
    t->node = node;
    t->service = registry_service(m, vs, s, dest, "attempts=0");

    return t->service ? t : NULL;
}


static void
routes_vhost(node_t *vs, server_t *s, const char *host, list_t *rules)
{
    size_t       i;
    vhost_t     *v;
    listener_t  *l;

    l = s->listener;
    v = hash_get(l->names, host);

    if (v && l->terminates && v->server != s && !routes_owner(vs, s, v)) {
        return;
    }

    if (v == NULL) {
        v = xalloc(sizeof(vhost_t));
        v->host = host;
        v->node = ((rule_t *) rules->elts[0])->node;
        v->server = s;

        hash_put(l->names, host, v);
        suffixes_add(l->suffixes, host);

        *l->last_vhost = v;
        l->last_vhost = &v->next;

    } else if (v->rules.n && ((rule_t *) v->rules.elts[0])->vs == vs) {

        /* through another server of the same port */

        return;
    }

    for (i = 0; i < rules->n; i++) {
        list_push(&v->rules, rules->elts[i]);
    }
}


/*
 * Istio goes by the SNI: a host is of the server that has the most of its
 * name, and so are its certificate and who may come.
 */

static int
routes_owner(node_t *vs, server_t *s, vhost_t *v)
{
    size_t   i, was, is;
    node_t  *other;

    was = routes_specific(v->server, v->host);
    is = routes_specific(s, v->host);

    if (was >= is) {

        if (was == is || v->server->gateway != s->gateway) {
            routes_lost(vs, v->server, v->host);
        }

        return 0;
    }

    /* those that are for this server as well come next, or have come */

    other = NULL;

    for (i = 0; i < v->rules.n; i++) {

        if (other != ((rule_t *) v->rules.elts[i])->vs) {
            other = ((rule_t *) v->rules.elts[i])->vs;

            if (other != vs) {
                routes_lost(other, s, v->host);
            }
        }
    }

    v->server = s;
    v->rules.n = 0;

    return 1;
}


static void
routes_lost(node_t *vs, server_t *s, const char *host)
{
    diag(DIAG_WARNING, &vs->pos, "CONFLICT",
         "\"%s\" in port %ld belongs to the server in %s:%zu", host,
         s->listener->port, s->node->pos.source->name, s->node->pos.line);
}


static size_t
routes_specific(server_t *s, const char *host)
{
    size_t       best, len;
    node_t      *n;
    const char  *slash, *name;

    best = 0;

    for (n = node_first(s->node, "hosts"); n; n = n->next) {

        slash = strchr(n->text, '/');
        name = slash ? slash + 1 : n->text;
        len = strlen(name);

        if (host_covers(name, host) && len > best) {
            best = len;
        }

        /* a wildcard may have as many bytes */

        if (strcasecmp(name, host) == 0) {
            return strlen(host) + 1;
        }
    }

    return best;
}


/*
 * As with Istio, requests to a host may be routed by several namespaces; but
 * the one that takes a part of another's should be seen to.
 */

static void
routes_shared(vhost_t *v, rule_t *rule)
{
    size_t   i;
    rule_t  *other;

    for (i = 0; i < v->rules.n; i++) {
        other = v->rules.elts[i];

        if (strcmp(doc_namespace(other->vs), doc_namespace(rule->vs)) == 0) {
            continue;
        }

        diag(DIAG_WARNING, &rule->node->pos, "SHARED",
             "requests to \"%s\" are routed by namespace \"%s\" here, and "
             "in %s:%zu by \"%s\": name the one that may in the Gateway's "
             "\"hosts\"", v->host, doc_namespace(rule->vs),
             other->node->pos.source->name, other->node->pos.line,
             doc_namespace(other->vs));
        return;
    }
}


void
routes_finish(listener_t *l)
{
    size_t    i;
    list_t    sorted;
    rule_t   *rule, *any;
    vhost_t  *v;

    for (v = l->vhosts; v; v = v->next) {

        memset(&sorted, 0, sizeof(list_t));
        any = NULL;

        for (i = 0; i < v->rules.n; i++) {
            rule = v->rules.elts[i];

            if (!rule->any) {
                routes_shared(v, rule);
                list_push(&sorted, rule);

            } else if (any == NULL) {
                any = rule;

            } else if (strcmp(doc_namespace(any->vs), doc_namespace(rule->vs))
                       != 0)
            {
                diag(DIAG_ERROR, &rule->node->pos, "CONFLICT",
                     "all requests to \"%s\" are routed by namespace \"%s\", "
                     "and in %s:%zu by \"%s\": name the one that may in the "
                     "Gateway's \"hosts\"", v->host,
                     doc_namespace(rule->vs), any->node->pos.source->name,
                     any->node->pos.line, doc_namespace(any->vs));

            } else {
                diag(DIAG_WARNING, &rule->node->pos, "UNREACHABLE",
                     "all other requests to \"%s\" are routed already in "
                     "%s:%zu: the first one counts", v->host,
                     any->node->pos.source->name, any->node->pos.line);
            }
        }

        if (any) {
            list_push(&sorted, any);
        }

        v->rules = sorted;
    }
}


/*
 * Without "retries" they are MeshConfig's, or Istio's; with it, and without
 * attempts, there are none.
 */

static const char *
routes_retry(model_t *m, node_t *rule)
{
    char    *on;
    long     attempts, per_try, timeout;
    node_t  *retries;

    retries = node_get(rule, "retries");
    retries = retries ? retries : model_mesh(m, "defaultHttpRetryPolicy");

    timeout = node_time(rule, "timeout");
    per_try = node_time(retries, "perTryTimeout");

    if (per_try < 1 || (timeout > 0 && timeout < per_try)) {
        per_try = timeout;
    }

    on = "connect-failure,refused-stream";
    attempts = 2;

    if (retries) {
        attempts = node_number(retries, "attempts");
        attempts = (attempts < 1) ? 0 : attempts;
    }

    if (attempts > 100) {
        diag(DIAG_ERROR, &node_get(retries, "attempts")->pos, "VALUE",
             "\"attempts\" has to be from 0 to 100");
        attempts = 0;
    }

    if (attempts && node_text(retries, "retryOn")) {
        on = routes_retry_on(node_get(retries, "retryOn"));
        attempts = *on ? attempts : 0;
    }

    return xprintf("attempts=%ld%s%s%s", attempts,
                   per_try > 0 ? xprintf(" per_try_timeout=%ldms", per_try)
                               : "",
                   attempts ? " on=" : "", attempts ? on : "");
}


static char *
routes_retry_on(node_t *node)
{
    char    *out, *copy, *word, *last;

    copy = xstrdup(node->text);
    out = xalloc(strlen(copy) + 2);

    for (word = strtok_r(copy, ",", &last); word;
         word = strtok_r(NULL, ",", &last))
    {
        if (routes_retry_value(node, word, out) != 0) {
            break;
        }
    }

    return out;
}


static int
routes_retry_value(node_t *node, char *word, char *out)
{
    long    code;
    size_t  i;

    static const char  *names[] = {
        "5xx", "gateway-error", "reset", "reset-before-request",
        "connect-failure", "envoy-ratelimited", "retriable-4xx",
        "refused-stream", "retriable-status-codes"
    };

    static const char  *grpc[] = {
        "cancelled", "deadline-exceeded", "internal", "resource-exhausted",
        "unavailable", "http3-post-connect-failure"
    };

    for (i = 0; i < sizeof(grpc) / sizeof(grpc[0]); i++) {
        if (strcmp(word, grpc[i]) == 0) {
            diag(DIAG_NOTE, &node->pos, "NOEFFECT",
                 "\"%s\" of retryOn is nothing that nginx sees: it passes "
                 "gRPC's statuses on", word);
            return 0;
        }
    }

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (strcmp(word, names[i]) == 0) {
            break;
        }
    }

    if (i == sizeof(names) / sizeof(names[0])) {
        code = (strlen(word) == 3 && strspn(word, "0123456789") == 3)
               ? strtol(word, NULL, 10) : 0;

        if (code < 100 || code > 599) {
            diag(DIAG_ERROR, &node->pos, "VALUE",
                 "\"%.60s\" of retryOn is not supported: 5xx, gateway-error, "
                 "reset, connect-failure, refused-stream, retriable-4xx and "
                 "statuses such as 503 are", word);
            return -1;
        }
    }

    if (*out) {
        strcat(out, ",");
    }

    strcat(out, word);

    return 0;
}


/*
 * A delegate is another VirtualService's list of rules, each of which gets
 * the root's matches as well.
 */

static int
routes_delegate(model_t *m, node_t *vs, server_t *s, node_t *root,
    list_t *rules)
{
    int          rc;
    node_t      *to, *leaf, *rule, *n;
    const char  *ns, *name;

    rc = 0;
    to = node_get(root, "delegate");
    name = node_text(to, "name");
    ns = node_text(to, "namespace");

    leaf = hash_get(m->virtuals, xprintf("%s/%s", ns ? ns : doc_namespace(vs),
                                         name));

    if (leaf == NULL || node_path(leaf, "spec.hosts")) {
        diag(DIAG_ERROR, &to->pos, "REFERENCE",
             "there is no VirtualService \"%s\" without \"hosts\" in "
             "namespace \"%s\" to delegate to", name,
             ns ? ns : doc_namespace(vs));
        return -1;
    }

    if (node_get(root, "route") || node_get(root, "redirect")
        || node_get(root, "directResponse"))
    {
        diag(DIAG_ERROR, &to->key->pos, "VALUE",
             "\"delegate\" excludes \"route\", \"redirect\" and "
             "\"directResponse\"");
        return -1;
    }

    n = node_first(node_get(leaf, "spec"), "exportTo");

    while (n && strcmp(n->text, "*") && strcmp(n->text, doc_namespace(vs))
           && (strcmp(n->text, ".")
               || strcmp(doc_namespace(leaf), doc_namespace(vs))))
    {
        n = n->next;
    }

    if (n == NULL && node_first(node_get(leaf, "spec"), "exportTo")) {
        diag(DIAG_ERROR, &to->pos, "REFERENCE",
             "VirtualService \"%s\" is not exported to namespace \"%s\"",
             name, doc_namespace(vs));
        return -1;
    }

    for (n = node_first(node_get(leaf, "spec"), "http"); n; n = n->next) {

        if (node_get(n, "delegate")) {
            diag(DIAG_ERROR, &node_get(n, "delegate")->pos, "VALUE",
                 "a delegate does not delegate");
            continue;
        }

        rule = routes_delegate_rule(root, n);

        if (rule) {
            rc |= routes_rule(m, vs, s, rule, rules);
        }
    }

    return rc;
}


/* what the leaf doesn't say the root says */

static node_t *
routes_delegate_rule(node_t *root, node_t *leaf)
{
    size_t   i;
    node_t  *rule, *n, *matches;

    static const char  *inherited[] = {
        "rewrite", "timeout", "retries", "fault", "mirror", "mirrors",
        "mirrorPercentage", "mirrorPercent", "mirror_percent", "corsPolicy",
        "headers", "name"
    };

    rule = node_new(leaf, NODE_MAP);

    for (n = leaf->child; n; n = n->next) {
        if (strcmp(n->key->text, "match") != 0) {
            node_add(rule, NULL, node_copy(n));
        }
    }

    for (i = 0; i < sizeof(inherited) / sizeof(inherited[0]); i++) {
        n = node_get(root, inherited[i]);

        if (n && node_get(rule, inherited[i]) == NULL) {
            node_add(rule, NULL, node_copy(n));
        }
    }

    if (node_first(root, "match") == NULL && node_first(leaf, "match") == NULL)
    {
        return rule;
    }

    matches = routes_delegate_matches(root, leaf);

    if (matches == NULL) {
        return NULL;
    }

    node_add(rule, "match", matches);

    return rule;
}


static node_t *
routes_delegate_matches(node_t *root, node_t *leaf)
{
    node_t  *list, *r, *l, *none;

    list = node_new(leaf, NODE_LIST);
    none = node_new(leaf, NODE_MAP);

    for (l = node_first(leaf, "match"), l = l ? l : none; l; l = l->next) {

        for (r = node_first(root, "match"), r = r ? r : none; r; r = r->next)
        {
            if (!routes_conflict(r, l)) {
                node_add(list, NULL, routes_merge(r, l));
            }
        }
    }

    if (list->child == NULL) {
        diag(DIAG_WARNING, &leaf->pos, "UNREACHABLE",
             "no match of this rule goes with one of the rule that delegates "
             "in %s:%zu: it is never reached", root->pos.source->name,
             root->pos.line);
        return NULL;
    }

    return list;
}


static node_t *
routes_merge(node_t *root, node_t *leaf)
{
    node_t  *match, *n, *map, *v;

    match = node_new(leaf, NODE_MAP);

    for (n = leaf->child; n; n = n->next) {
        node_add(match, NULL, node_copy(n));
    }

    for (n = root->child; n; n = n->next) {
        map = node_get(match, n->key->text);

        if (map == NULL) {
            node_add(match, NULL, node_copy(n));
            continue;
        }

        if (strcmp(n->key->text, "headers") != 0
            && strcmp(n->key->text, "withoutHeaders") != 0
            && strcmp(n->key->text, "queryParams") != 0
            && strcmp(n->key->text, "sourceLabels") != 0)
        {
            continue;
        }

        /* a list of its own, so that the leaf's stays as it is */

        v = map->child;
        map->child = NULL;

        for ( /* void */ ; v; v = v->next) {
            node_add(map, NULL, node_copy(v));
        }

        for (v = n->child; v; v = v->next) {
            if (node_get(map, v->key->text) == NULL) {
                node_add(map, NULL, node_copy(v));
            }
        }
    }

    return match;
}


static int
routes_conflict(node_t *root, node_t *leaf)
{
    size_t       i;
    node_t      *r, *l;
    const char  *ns;

    static const char  *strings[] = { "uri", "scheme", "method", "authority" };
    static const char  *maps[] = { "headers", "withoutHeaders", "queryParams" };

    for (i = 0; i < 4; i++) {
        if (routes_conflict_string(node_get(root, strings[i]),
                                   node_get(leaf, strings[i])))
        {
            return 1;
        }
    }

    for (i = 0; i < 3; i++) {
        if (routes_conflict_map(node_get(root, maps[i]),
                                node_get(leaf, maps[i])))
        {
            return 1;
        }
    }

    r = node_get(root, "port");
    l = node_get(leaf, "port");

    if (r && l && strcmp(r->text, l->text) != 0) {
        return 1;
    }

    ns = node_text(root, "sourceNamespace");
    l = node_get(leaf, "sourceNamespace");

    if (ns && (l == NULL || strcmp(ns, l->text) != 0)) {
        return 1;
    }

    for (l = node_first(leaf, "sourceLabels"); l; l = l->next) {
        ns = node_text(node_get(root, "sourceLabels"), l->key->text);

        if (ns && strcmp(ns, l->text) != 0) {
            return 1;
        }
    }

    for (l = node_first(leaf, "gateways"); l; l = l->next) {
        r = node_first(root, "gateways");

        while (r && strcmp(r->text, l->text) != 0) {
            r = r->next;
        }

        if (r == NULL && node_get(root, "gateways")) {
            return 1;
        }
    }

    return node_get(root, "uri") && node_get(leaf, "uri")
           && node_true(root, "ignoreUriCase")
              != node_true(leaf, "ignoreUriCase");
}


static int
routes_conflict_map(node_t *root, node_t *leaf)
{
    node_t  *n;

    for (n = leaf ? leaf->child : NULL; n; n = n->next) {
        if (routes_conflict_string(node_get(root, n->key->text), n)) {
            return 1;
        }
    }

    return 0;
}


static int
routes_conflict_string(node_t *root, node_t *leaf)
{
    const char  *rp, *re, *lp, *le;

    if (root == NULL || leaf == NULL) {
        return 0;
    }

    if (node_get(root, "regex") || node_get(leaf, "regex")) {
        return 1;
    }

    rp = node_text(root, "prefix");
    re = node_text(root, "exact");
    lp = node_text(leaf, "prefix");
    le = node_text(leaf, "exact");

    if (re) {
        return le == NULL || strcmp(re, le) != 0;
    }

    if (rp == NULL) {
        return 0;
    }

    le = le ? le : lp;

    return le == NULL || strncmp(le, rp, strlen(rp)) != 0;
}
