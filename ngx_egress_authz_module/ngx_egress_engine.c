
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_engine.h>


/* pairs of namespace and account that an ID is looked up by */
#define NGX_EGRESS_PAIRS           8

#define NGX_EGRESS_ACCOUNT_MAX     512


#if (__GNUC__)
#define ngx_egress_prefetch(p)     __builtin_prefetch(p)
#else
#define ngx_egress_prefetch(p)
#endif


/*
 * Patterns to be looked for.  Each step of it waits for memory, and so takes
 * it for all of them before the next step: slots and edges, then texts and
 * clauses.
 */

#define NGX_EGRESS_PROBES          32

typedef struct {
    u_char                   *data;        /* a CIDR's is the whole address */
    uint32_t                  len;         /* and its length as in lengths */
    uint32_t                  hash;
    uint32_t                  slot;
    uint32_t                  id;          /* of that slot; 0: there is none */
    ngx_uint_t                group;
    ngx_uint_t                kind;
} ngx_egress_probe_t;


typedef struct {
    ngx_egress_base_t        *base;
    ngx_egress_lookup_t      *lookup;
    ngx_uint_t                n;
    ngx_uint_t                groups;      /* bits: those that have any */
    ngx_egress_probe_t       *last[NGX_EGRESS_GROUPS];
    ngx_egress_probe_t        elts[NGX_EGRESS_PROBES];
} ngx_egress_probes_t;


typedef struct {
    ngx_egress_engine_t      *engine;
    ngx_egress_lookup_t      *lookup;
    uint32_t                  best;        /* the first rule found so far */
    ngx_uint_t                result;      /* of it */
    ngx_uint_t                unknown;     /* NOBODY or UNREADABLE, of a rule
                                              that would allow */
    ngx_uint_t                nobodys;     /* all that follow ask for an
                                              identity */
} ngx_egress_walk_t;


static void ngx_egress_lookup_text(ngx_egress_probes_t *probes,
    ngx_uint_t group, ngx_str_t *value);
static void ngx_egress_lookup_paths(ngx_egress_base_t *base,
    ngx_egress_lookup_t *lookup);
static void ngx_egress_lookup_addr(ngx_egress_probes_t *probes);
static void ngx_egress_lookup_who(ngx_egress_probes_t *probes);
static void ngx_egress_lookup_always(ngx_egress_base_t *base,
    ngx_egress_lookup_t *lookup);
static void ngx_egress_lookup_segments(ngx_egress_probes_t *probes);
static void ngx_egress_lookup_account(ngx_egress_probes_t *probes,
    ngx_str_t *namespace, ngx_str_t *name);
static void ngx_egress_lookup_heads(ngx_egress_base_t *base,
    ngx_egress_lookup_t *lookup, ngx_uint_t group, ngx_uint_t kind,
    u_char *data, size_t len, ngx_str_t *value);
static void ngx_egress_lookup_add(ngx_egress_lookup_t *lookup,
    ngx_uint_t group, uint32_t id, uint32_t key);

static void ngx_egress_probe(ngx_egress_probes_t *probes, ngx_uint_t group,
    ngx_uint_t kind, u_char *data, size_t len);
static ngx_uint_t ngx_egress_probe_likely(ngx_egress_base_t *base,
    uint32_t hash);
static void ngx_egress_probe_add(ngx_egress_probes_t *probes,
    ngx_uint_t group, ngx_uint_t kind, u_char *data, size_t len,
    uint32_t hash);
static void ngx_egress_probes_ahead(ngx_egress_probes_t *probes);
static ngx_egress_edge_t *ngx_egress_probes_edge(
    ngx_egress_probes_t *probes, ngx_egress_engine_t *engine,
    ngx_uint_t known);
static void ngx_egress_probes_done(ngx_egress_probes_t *probes);
static uint32_t ngx_egress_probe_slot(ngx_egress_base_t *base,
    ngx_egress_probe_t *probe);
static ngx_uint_t ngx_egress_probe_equal(ngx_egress_probe_t *probe,
    u_char *pattern);
static void ngx_egress_cidr(u_char *text, u_char *addr, size_t len);
static uint32_t ngx_egress_cidr_mix(uint64_t *words, size_t len);

static void ngx_egress_walk(ngx_egress_walk_t *walk, ngx_uint_t level,
    uint32_t node, uint32_t hash);
static void ngx_egress_walk_edge(ngx_egress_walk_t *walk, ngx_uint_t level,
    uint32_t node, uint32_t hash, uint32_t id, uint32_t key);
static void ngx_egress_walk_nobodys(ngx_egress_walk_t *walk, uint32_t node);
static ngx_egress_edge_t *ngx_egress_edge(ngx_egress_engine_t *engine,
    uint32_t node, uint32_t hash, uint32_t id);
static void ngx_egress_walk_list(ngx_egress_walk_t *walk, uint32_t list,
    ngx_uint_t bare);
static ngx_uint_t ngx_egress_walk_clause(ngx_egress_walk_t *walk,
    ngx_egress_clause_t *clause, ngx_uint_t bare);

static ngx_uint_t ngx_egress_clause(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_egress_clause_t *clause,
    ngx_uint_t covered, ngx_egress_code_t **failed);
static ngx_uint_t ngx_egress_cond(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_egress_code_t *code);
static ngx_uint_t ngx_egress_cond_any(ngx_egress_base_t *base,
    ngx_egress_lookup_t *lookup, ngx_egress_code_t *code, ngx_str_t *value);
static ngx_uint_t ngx_egress_cond_port(ngx_egress_base_t *base,
    ngx_egress_code_t *code, in_port_t port);
static ngx_uint_t ngx_egress_cond_header(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_egress_code_t *code);
static ngx_egress_addr_t *ngx_egress_ask_addr(ngx_egress_ask_t *ask,
    ngx_uint_t field);
static void ngx_egress_pattern_match(ngx_egress_base_t *base, uint32_t id,
    ngx_egress_match_t *m);


/* after MurmurHash3's 64-bit finalizer; eight bytes at a time */

uint32_t
ngx_egress_hash(u_char *data, size_t len, uint32_t seed)
{
    uint64_t  h, k;

    h = seed ^ ((uint64_t) len * 0x9e3779b97f4a7c15);

    while (len >= 8) {
        ngx_memcpy(&k, data, 8);

        h = (h ^ k) * 0xff51afd7ed558ccd;
        h ^= h >> 32;

        data += 8;
        len -= 8;
    }

    if (len) {
        k = 0;
        ngx_memcpy(&k, data, len);

        h = (h ^ k) * 0xff51afd7ed558ccd;
        h ^= h >> 32;
    }

    h *= 0xc4ceb9fe1a85ec53;

    return (uint32_t) (h >> 32);
}


uint32_t
ngx_egress_edge_hash(uint32_t node, uint32_t key)
{
    uint64_t  h;

    h = ((uint64_t) node << 32 | key) * 0xff51afd7ed558ccd;
    h ^= h >> 32;
    h *= 0xc4ceb9fe1a85ec53;

    return (uint32_t) (h >> 32);
}


ngx_uint_t
ngx_egress_field_group(ngx_uint_t field)
{
    switch (field) {

    case NGX_EGRESS_HOST:
        return NGX_EGRESS_GROUP_HOST;

    case NGX_EGRESS_PATH:
        return NGX_EGRESS_GROUP_PATH;

    case NGX_EGRESS_SOURCE_IP:
        return NGX_EGRESS_GROUP_IP;

    default:
        return ngx_egress_field_identity(field) ? NGX_EGRESS_GROUP_WHO
                                                : NGX_EGRESS_GROUP_NONE;
    }
}


size_t
ngx_egress_pattern_head(u_char *pattern)
{
    u_char  ch, *text;
    size_t  n, len;

    ch = (ngx_egress_pattern_kind(pattern) == NGX_EGRESS_MATCH_TEMPLATE)
         ? '{' : '*';

    text = ngx_egress_pattern_text(pattern);
    len = ngx_egress_pattern_len(pattern);

    for (n = 0; n < len && text[n] != ch; n++) { /* void */ }

    return n;
}


ngx_uint_t
ngx_egress_base_fields(ngx_egress_base_t *base)
{
    return base->fields;
}


void
ngx_egress_base_lookup(ngx_egress_base_t *base, ngx_egress_ask_t *ask,
    ngx_egress_lookup_t *lookup)
{
    ngx_egress_probes_t  probes;

    lookup->ask = ask;
    lookup->linear = 0;

    ngx_memzero(lookup->n, sizeof(lookup->n));

    probes.base = base;
    probes.lookup = lookup;
    probes.n = 0;
    probes.groups = 0;

    if (ask->host.len) {
        ngx_egress_lookup_text(&probes, NGX_EGRESS_GROUP_HOST, &ask->host);
    }

    if (ask->principal.len) {
        ngx_egress_lookup_text(&probes, NGX_EGRESS_GROUP_WHO,
                               &ask->principal);
    }

    if (ask->path.len) {
        ngx_egress_lookup_text(&probes, NGX_EGRESS_GROUP_PATH, &ask->path);
    }

    if (base->fields & (1 << NGX_EGRESS_SOURCE_IP)) {
        ngx_egress_lookup_addr(&probes);
    }

    ngx_egress_probes_ahead(&probes);

    if (ask->path.len) {
        ngx_egress_lookup_paths(base, lookup);
    }

    if (ask->principal.len) {
        ngx_egress_lookup_who(&probes);
    }

    ngx_egress_probes_done(&probes);
}


/* exact, prefix, suffix, presence */

static void
ngx_egress_lookup_text(ngx_egress_probes_t *probes, ngx_uint_t group,
    ngx_str_t *value)
{
    u_char                *p, byte;
    ngx_uint_t             i;
    ngx_egress_base_t     *base;
    ngx_egress_lengths_t  *in_use;

    base = probes->base;

    in_use = &base->lengths[group][NGX_EGRESS_PREFIXES];

    for (i = 0; i < in_use->n && in_use->lengths[i] <= value->len; i++) {

        byte = in_use->bytes[i];

        if (byte && value->data[in_use->lengths[i] - 1] != byte) {
            continue;
        }

        ngx_egress_probe(probes, group, NGX_EGRESS_MATCH_PREFIX, value->data,
                         in_use->lengths[i]);
    }

    in_use = &base->lengths[group][NGX_EGRESS_SUFFIXES];

    for (i = 0; i < in_use->n && in_use->lengths[i] <= value->len; i++) {

        p = value->data + value->len - in_use->lengths[i];
        byte = in_use->bytes[i];

        if (byte && *p != byte) {
            continue;
        }

        ngx_egress_probe(probes, group, NGX_EGRESS_MATCH_SUFFIX, p,
                         in_use->lengths[i]);
    }

    /* the last one, as it is the likeliest to be there */

    ngx_egress_probe(probes, group, NGX_EGRESS_MATCH_EXACT, value->data,
                     value->len);

    if (base->present[group]) {
        ngx_egress_lookup_add(probes->lookup, group, base->present[group],
                              base->present[group]);
    }
}


static void
ngx_egress_lookup_paths(ngx_egress_base_t *base, ngx_egress_lookup_t *lookup)
{
    ngx_str_t             *path;
    ngx_uint_t             i;
    ngx_egress_lengths_t  *in_use;

    path = &lookup->ask->path;
    in_use = &base->lengths[NGX_EGRESS_GROUP_PATH][NGX_EGRESS_HEADS];

    for (i = 0; i < in_use->n && in_use->lengths[i] <= path->len; i++) {
        ngx_egress_lookup_heads(base, lookup, NGX_EGRESS_GROUP_PATH,
                                NGX_EGRESS_MATCH_TEMPLATE, path->data,
                                in_use->lengths[i], path);
    }
}


/* a length is 256 times the bytes of an address, and the bits that count */

static void
ngx_egress_lookup_addr(ngx_egress_probes_t *probes)
{
    uint32_t               hash;
    uint64_t               words[2], near;
    ngx_uint_t             i, found;
    ngx_egress_addr_t     *addr;
    ngx_egress_lengths_t  *in_use;

    addr = ngx_egress_ask_addr(probes->lookup->ask, NGX_EGRESS_SOURCE_IP);

    /* of a Unix socket: each rule that asks for it is in doubt */

    if (addr->len == 0) {
        probes->lookup->linear = 1;
        return;
    }

    in_use = &probes->base->lengths[NGX_EGRESS_GROUP_IP][NGX_EGRESS_PREFIXES];

    if (in_use->n == 0) {
        return;
    }

    ngx_egress_cidr_words(addr->bytes, addr->len, words);

    near = probes->base->cidrs[ngx_egress_cidr_near(probes->base, words[0])];

    for (i = 0; near && i < in_use->n; i++) {

        found = near & 1;
        near = (i < NGX_EGRESS_NEAR - 1) ? near >> 1 : near;

        if (!found || in_use->lengths[i] / 256 != addr->len) {
            continue;
        }

        hash = ngx_egress_cidr_mix(words, in_use->lengths[i]);

        if (ngx_egress_probe_likely(probes->base, hash)) {
            ngx_egress_probe_add(probes, NGX_EGRESS_GROUP_IP,
                                 NGX_EGRESS_MATCH_CIDR, addr->bytes,
                                 in_use->lengths[i], hash);
        }
    }
}


static void
ngx_egress_lookup_who(ngx_egress_probes_t *probes)
{
    ngx_str_t          *domain;
    ngx_egress_base_t  *base;

    base = probes->base;

    if (base->fields & (1 << NGX_EGRESS_TRUST_DOMAIN)) {
        domain = &probes->lookup->ask->trust_domain;

        ngx_egress_probe(probes, NGX_EGRESS_GROUP_WHO,
                         NGX_EGRESS_MATCH_DOMAIN, domain->data, domain->len);
    }

    if (base->fields & (1 << NGX_EGRESS_NAMESPACE
                        | 1 << NGX_EGRESS_SERVICE_ACCOUNT))
    {
        ngx_egress_lookup_segments(probes);
    }

    ngx_egress_lookup_always(base, probes->lookup);
}


static void
ngx_egress_lookup_always(ngx_egress_base_t *base, ngx_egress_lookup_t *lookup)
{
    uint32_t            *id;
    ngx_uint_t           i;
    ngx_egress_match_t   m;

    id = base->always.elts;

    for (i = 0; i < base->always.nelts; i++) {

        ngx_egress_pattern_match(base, id[i], &m);

        if (ngx_egress_match(&m, &lookup->ask->principal)) {
            ngx_egress_lookup_add(lookup, NGX_EGRESS_GROUP_WHO, id[i],
                                  id[i]);
        }
    }
}


/*
 * Namespaces and accounts may stand anywhere in an ID; in one of the usual
 * form there is one pair of them.
 */

static void
ngx_egress_lookup_segments(ngx_egress_probes_t *probes)
{
    u_char                *p, *q, *last;
    ngx_str_t              namespace, name, rest;
    ngx_uint_t             i, pairs;
    ngx_egress_base_t     *base;
    ngx_egress_lookup_t   *lookup;
    ngx_egress_lengths_t  *in_use;

    base = probes->base;
    lookup = probes->lookup;

    p = lookup->ask->principal.data;
    last = p + lookup->ask->principal.len;
    pairs = 0;

    for ( /* void */ ; last - p > 4; p++) {

        if (ngx_memcmp(p, "/ns/", 4) != 0) {
            continue;
        }

        rest.data = p + 4;
        rest.len = last - rest.data;

        q = ngx_strlchr(rest.data, last, '/');

        if (q == NULL) {
            return;
        }

        namespace.data = rest.data;
        namespace.len = q - rest.data;

        ngx_egress_probe(probes, NGX_EGRESS_GROUP_WHO,
                         NGX_EGRESS_MATCH_NAMESPACE, namespace.data,
                         namespace.len);

        in_use = &base->lengths[NGX_EGRESS_GROUP_WHO][NGX_EGRESS_HEADS];

        for (i = 0; i < in_use->n && in_use->lengths[i] <= rest.len; i++) {
            ngx_egress_lookup_heads(base, lookup, NGX_EGRESS_GROUP_WHO,
                                    NGX_EGRESS_MATCH_NAMESPACE, rest.data,
                                    in_use->lengths[i],
                                    &lookup->ask->principal);
        }

        for ( /* void */ ; last - q > 4; q++) {

            if (ngx_memcmp(q, "/sa/", 4) != 0) {
                continue;
            }

            if (++pairs > NGX_EGRESS_PAIRS) {
                lookup->linear = 1;
                return;
            }

            name.data = q + 4;
            name.len = ngx_strlchr(name.data, last, '/')
                       ? ngx_strlchr(name.data, last, '/') - name.data
                       : last - name.data;

            ngx_egress_lookup_account(probes, &namespace, &name);
        }
    }
}


static void
ngx_egress_lookup_account(ngx_egress_probes_t *probes, ngx_str_t *namespace,
    ngx_str_t *name)
{
    u_char  *p, text[NGX_EGRESS_ACCOUNT_MAX];

    if (namespace->len + 1 + name->len > NGX_EGRESS_ACCOUNT_MAX) {
        probes->lookup->linear = 1;
        return;
    }

    p = ngx_cpymem(text, namespace->data, namespace->len);
    *p++ = '/';
    p = ngx_cpymem(p, name->data, name->len);

    ngx_egress_probe(probes, NGX_EGRESS_GROUP_WHO, NGX_EGRESS_MATCH_ACCOUNT,
                     text, p - text);

    /* the text is gone then */

    ngx_egress_probes_done(probes);
}


/* all patterns that begin with this text, as far as they match value */

static void
ngx_egress_lookup_heads(ngx_egress_base_t *base, ngx_egress_lookup_t *lookup,
    ngx_uint_t group, ngx_uint_t kind, u_char *data, size_t len,
    ngx_str_t *value)
{
    uint32_t               hash, i;
    ngx_egress_slot_t     *slot;
    ngx_egress_match_t     m;

    if (base->nheads == 0) {
        return;
    }

    hash = ngx_egress_hash(data, len, ngx_egress_seed(group, kind));

    for (i = ngx_egress_reduce(hash, base->nheads); ; i++) {

        if (i == base->nheads) {
            i = 0;
        }

        slot = &base->heads[i];

        if (slot->id == 0) {
            return;
        }

        if (slot->hash != hash
            || ngx_egress_pattern_group(base->text + slot->id) != group)
        {
            continue;
        }

        ngx_egress_pattern_match(base, slot->id, &m);

        if (ngx_egress_match(&m, value)) {
            ngx_egress_lookup_add(lookup, group, slot->id, slot->id);
        }
    }
}


static void
ngx_egress_lookup_add(ngx_egress_lookup_t *lookup, ngx_uint_t group,
    uint32_t id, uint32_t key)
{
    ngx_uint_t  i;

    /* the same namespace may stand in an ID twice */

    for (i = 0; i < lookup->n[group]; i++) {
        if (lookup->ids[group][i] == id) {
            return;
        }
    }

    if (lookup->n[group] == NGX_EGRESS_MATCHED) {
        lookup->linear = 1;
        return;
    }

    lookup->keys[group][lookup->n[group]] = key;
    lookup->ids[group][lookup->n[group]++] = id;
}


/* a pattern of this very text and kind, there is one at most */

static void
ngx_egress_probe(ngx_egress_probes_t *probes, ngx_uint_t group,
    ngx_uint_t kind, u_char *data, size_t len)
{
    uint32_t  hash;

    hash = ngx_egress_hash(data, len, ngx_egress_seed(group, kind));

    if (ngx_egress_probe_likely(probes->base, hash)) {
        ngx_egress_probe_add(probes, group, kind, data, len, hash);
    }
}


/* not if there is no such pattern, but for a few */

static ngx_uint_t
ngx_egress_probe_likely(ngx_egress_base_t *base, uint32_t hash)
{
    uint32_t  bits;

    bits = ngx_egress_filter_bits(hash);

    return (ngx_egress_filter(base, hash) & bits) == bits;
}


static void
ngx_egress_probe_add(ngx_egress_probes_t *probes, ngx_uint_t group,
    ngx_uint_t kind, u_char *data, size_t len, uint32_t hash)
{
    ngx_egress_base_t   *base;
    ngx_egress_probe_t  *probe;

    base = probes->base;

    if (probes->n == NGX_EGRESS_PROBES) {
        ngx_egress_probes_done(probes);
    }

    probe = &probes->elts[probes->n++];

    probe->data = data;
    probe->len = (uint32_t) len;
    probe->hash = hash;
    probe->slot = ngx_egress_reduce(hash, base->nslots);
    probe->group = group;
    probe->kind = kind;

    ngx_egress_prefetch(&base->slots[probe->slot]);

    probes->last[group] = probe;
    probes->groups |= 1 << group;
}


/*
 * Before it is known whether these patterns are the flow's: that they are is
 * likely enough to go for the clauses that they lead to.
 */

static void
ngx_egress_probes_ahead(ngx_egress_probes_t *probes)
{
    u_char                *p;
    ngx_uint_t             i;
    ngx_egress_edge_t     *edge;
    ngx_egress_base_t     *base;
    ngx_egress_probe_t    *probe;
    ngx_egress_engine_t  **engine;

    base = probes->base;
    engine = base->engines.elts;

    for (i = 0; i < base->engines.nelts; i++) {
        (void) ngx_egress_probes_edge(probes, engine[i], 0);
    }

    for (i = 0; i < probes->n; i++) {
        probe = &probes->elts[i];
        probe->id = ngx_egress_probe_slot(base, probe);

        p = base->text + probe->id;

        ngx_egress_prefetch(p);
        ngx_egress_prefetch(p + probe->len);
    }

    for (i = 0; i < base->engines.nelts; i++) {

        edge = ngx_egress_probes_edge(probes, engine[i], 1);

        if (edge && (edge->to & NGX_EGRESS_LAST)) {
            ngx_egress_prefetch(&engine[i]->clauses[edge->to
                                                    & ~NGX_EGRESS_LAST]);
        }
    }
}


/* known: the slots have been looked at */

static ngx_egress_edge_t *
ngx_egress_probes_edge(ngx_egress_probes_t *probes,
    ngx_egress_engine_t *engine, ngx_uint_t known)
{
    uint32_t             node, hash, id, key;
    ngx_uint_t           i, group;
    ngx_egress_edge_t   *edge;
    ngx_egress_probe_t  *probe;

    if (engine->nedges == 0) {
        return NULL;
    }

    node = 0;
    hash = 0;
    edge = NULL;

    for (i = 0; engine->groups[i] != NGX_EGRESS_GROUP_NONE; i++) {

        group = engine->groups[i];
        id = NGX_EGRESS_ANY;
        key = NGX_EGRESS_ANY;

        if (probes->groups & (1 << group)) {
            probe = probes->last[group];
            id = known ? probe->id : 0;
            key = probe->hash;
        }

        if (i == 0 && engine->groups[1] != NGX_EGRESS_GROUP_NONE) {
            node = id;
            hash = key;
            continue;
        }

        hash = ngx_egress_edge_hash(hash, key);

        if (!known) {
            ngx_egress_prefetch(&engine->edges[ngx_egress_reduce(hash,
                                                         engine->nedges)]);
            continue;
        }

        edge = ngx_egress_edge(engine, node, hash, id);

        if (edge == NULL) {
            return NULL;
        }

        node = edge->to;
    }

    return edge;
}


static void
ngx_egress_probes_done(ngx_egress_probes_t *probes)
{
    ngx_uint_t           i;
    ngx_egress_base_t   *base;
    ngx_egress_probe_t  *probe;

    base = probes->base;

    for (i = 0; i < probes->n; i++) {
        probe = &probes->elts[i];

        for ( ;; ) {
            probe->id = ngx_egress_probe_slot(base, probe);

            if (probe->id == 0) {
                break;
            }

            if (ngx_egress_probe_equal(probe, base->text + probe->id)) {
                ngx_egress_lookup_add(probes->lookup, probe->group, probe->id,
                                      probe->hash);
                break;
            }

            if (++probe->slot == base->nslots) {
                probe->slot = 0;
            }
        }
    }

    probes->n = 0;
    probes->groups = 0;
}


/* the pattern of the next slot of that hash, without a look at its text */

static uint32_t
ngx_egress_probe_slot(ngx_egress_base_t *base, ngx_egress_probe_t *probe)
{
    ngx_egress_slot_t  *slot;

    for ( ;; ) {
        slot = &base->slots[probe->slot];

        if (slot->id == 0 || slot->hash == probe->hash) {
            return slot->id;
        }

        if (++probe->slot == base->nslots) {
            probe->slot = 0;
        }
    }
}


static ngx_uint_t
ngx_egress_probe_equal(ngx_egress_probe_t *probe, u_char *pattern)
{
    u_char   text[17], *data;
    size_t   len;

    data = probe->data;
    len = probe->len;

    if (probe->kind == NGX_EGRESS_MATCH_CIDR) {
        ngx_egress_cidr(text, data, len);
        data = text;
        len = len / 256 + 1;
    }

    return ngx_egress_pattern_len(pattern) == len
           && ngx_egress_pattern_kind(pattern) == probe->kind
           && ngx_egress_pattern_group(pattern) == probe->group
           && ngx_memcmp(ngx_egress_pattern_text(pattern), data, len) == 0;
}


/* how many bits of the address count, and those; 17 bytes */

static void
ngx_egress_cidr(u_char *text, u_char *addr, size_t len)
{
    ngx_uint_t  bits, n;

    bits = len % 256;
    n = bits / 8;

    text[0] = (u_char) bits;

    ngx_memzero(&text[1], len / 256);
    ngx_memcpy(&text[1], addr, n);

    if (bits % 8) {
        text[1 + n] = addr[n] & (u_char) (0xff << (8 - bits % 8));
    }
}


uint32_t
ngx_egress_cidr_hash(u_char *text, size_t len)
{
    uint64_t  words[2];

    ngx_egress_cidr_words(&text[1], len - 1, words);

    return ngx_egress_cidr_mix(words, 256 * (len - 1) + text[0]);
}


void
ngx_egress_cidr_words(u_char *addr, size_t len, uint64_t *words)
{
    size_t  i;

    words[0] = 0;
    words[1] = 0;

    for (i = 0; i < len; i++) {
        words[i / 8] |= (uint64_t) addr[i] << (56 - i % 8 * 8);
    }
}


/* there may be many lengths in use: no bytes are moved for each of them */

static uint32_t
ngx_egress_cidr_mix(uint64_t *words, size_t len)
{
    uint64_t    h;
    ngx_uint_t  bits;

    bits = len % 256;

    h = (uint64_t) len * 0x9e3779b97f4a7c15;

    if (bits > 64) {
        h = (h ^ words[0]) * 0xff51afd7ed558ccd;
        h ^= h >> 32;
        h ^= words[1] & ((uint64_t) -1 << (128 - bits));

    } else if (bits) {
        h ^= words[0] & ((uint64_t) -1 << (64 - bits));
    }

    h *= 0xff51afd7ed558ccd;
    h ^= h >> 32;
    h *= 0xc4ceb9fe1a85ec53;

    return (uint32_t) (h >> 32);
}


ngx_uint_t
ngx_egress_engine_match(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_uint_t *rule)
{
    ngx_egress_walk_t  walk;

    if (engine->nclauses == 0) {
        *rule = 0;
        return NGX_EGRESS_NO;
    }

    if (lookup->linear) {
        return ngx_egress_engine_scan(engine, lookup, 0, rule);
    }

    walk.engine = engine;
    walk.lookup = lookup;
    walk.best = engine->nrules;
    walk.result = NGX_EGRESS_NO;
    walk.unknown = NGX_EGRESS_NO;
    walk.nobodys = 0;

    ngx_egress_walk(&walk, 0, 0, 0);

    *rule = walk.best;

    if (walk.result == NGX_EGRESS_NO
        && engine->action == NGX_EGRESS_ALLOW)
    {
        return walk.unknown;
    }

    return walk.result;
}


static void
ngx_egress_walk(ngx_egress_walk_t *walk, ngx_uint_t level, uint32_t node,
    uint32_t hash)
{
    ngx_uint_t            i, group;
    ngx_egress_lookup_t  *lookup;

    lookup = walk->lookup;
    group = walk->engine->groups[level];

    if (group == NGX_EGRESS_GROUP_NONE) {
        ngx_egress_walk_list(walk, level ? node : walk->engine->root, 0);
        return;
    }

    if (walk->engine->any & (1 << level)) {
        ngx_egress_walk_edge(walk, level, node, hash, NGX_EGRESS_ANY,
                             NGX_EGRESS_ANY);
    }

    for (i = 0; i < lookup->n[group]; i++) {
        ngx_egress_walk_edge(walk, level, node, hash, lookup->ids[group][i],
                             lookup->keys[group][i]);
    }

    if (group == NGX_EGRESS_GROUP_WHO && lookup->ask->principal.len == 0
        && walk->unknown != NGX_EGRESS_NOBODY)
    {
        ngx_egress_walk_nobodys(walk, node);
    }
}


static void
ngx_egress_walk_edge(ngx_egress_walk_t *walk, ngx_uint_t level, uint32_t node,
    uint32_t hash, uint32_t id, uint32_t key)
{
    ngx_egress_ask_t     *ask;
    ngx_egress_edge_t    *edge;
    ngx_egress_engine_t  *engine;

    engine = walk->engine;
    ask = walk->lookup->ask;

    if (level == 0 && engine->groups[1] != NGX_EGRESS_GROUP_NONE) {
        ngx_egress_walk(walk, 1, id, key);
        return;
    }

    hash = ngx_egress_edge_hash(hash, key);
    edge = ngx_egress_edge(engine, node, hash, id);

    if (edge == NULL) {
        return;
    }

    if (edge->port) {
        if (edge->port == ask->port) {
            ngx_egress_walk_list(walk, edge->to, ask->principal.len != 0);
        }

        return;
    }

    ngx_egress_walk(walk, level + 1, edge->to, hash);
}


static void
ngx_egress_walk_nobodys(ngx_egress_walk_t *walk, uint32_t node)
{
    uint32_t              i;
    ngx_egress_engine_t  *engine;

    engine = walk->engine;

    if (engine->nnobodys == 0) {
        return;
    }

    for (i = ngx_egress_reduce(ngx_egress_edge_hash(node, 0),
                               engine->nnobodys);
         engine->nobodys[i].to;
         i = (i + 1 == engine->nnobodys) ? 0 : i + 1)
    {
        if (engine->nobodys[i].node == node) {
            walk->nobodys = 1;
            ngx_egress_walk_list(walk, engine->nobodys[i].to, 0);
            walk->nobodys = 0;
            return;
        }
    }
}


static ngx_egress_edge_t *
ngx_egress_edge(ngx_egress_engine_t *engine, uint32_t node, uint32_t hash,
    uint32_t id)
{
    uint32_t            i;
    ngx_egress_edge_t  *edge;

    if (engine->nedges == 0) {
        return NULL;
    }

    for (i = ngx_egress_reduce(hash, engine->nedges);
         /* void */ ;
         i = (i + 1 == engine->nedges) ? 0 : i + 1)
    {
        edge = &engine->edges[i];

        if (edge->to == 0) {
            return NULL;
        }

        if (edge->node == node && edge->id == id) {
            return edge;
        }
    }
}


/* rules stand in their order: the first one that matches ends a list */

static void
ngx_egress_walk_list(ngx_egress_walk_t *walk, uint32_t list, ngx_uint_t bare)
{
    uint32_t              clause, *p;
    ngx_egress_engine_t  *engine;

    engine = walk->engine;

    if (list & NGX_EGRESS_LAST) {
        (void) ngx_egress_walk_clause(walk,
                               &engine->clauses[list & ~NGX_EGRESS_LAST],
                               bare);
        return;
    }

    for (p = &engine->lists[list]; /* void */ ; p++) {

        clause = *p & ~NGX_EGRESS_LAST;

        if (ngx_egress_walk_clause(walk, &engine->clauses[clause], bare)
            || (*p & NGX_EGRESS_LAST))
        {
            return;
        }
    }
}


/*
 * 1: nothing that follows in the list can be before what is known.  bare:
 * nothing is left to look at.
 */

static ngx_uint_t
ngx_egress_walk_clause(ngx_egress_walk_t *walk, ngx_egress_clause_t *clause,
    ngx_uint_t bare)
{
    ngx_uint_t            rc, allow;
    ngx_egress_engine_t  *engine;

    engine = walk->engine;
    allow = (engine->action == NGX_EGRESS_ALLOW);

    if (clause->rule >= walk->best
        && (clause->rule > walk->best || walk->result == NGX_EGRESS_YES))
    {
        return 1;
    }

    /* Istio leaves out what a TCP filter chain can't know */

    if (allow && clause->http && !walk->lookup->ask->http) {
        return 0;
    }

    if (bare || (clause->bare && walk->lookup->ask->principal.len)) {
        rc = NGX_EGRESS_YES;

    } else {
        rc = ngx_egress_clause(engine, walk->lookup, clause, clause->covered,
                               NULL);
    }

    if (rc == NGX_EGRESS_NO) {
        return 0;
    }

    if (allow && rc != NGX_EGRESS_YES) {
        walk->unknown = (walk->unknown == NGX_EGRESS_NOBODY)
                        ? NGX_EGRESS_NOBODY : rc;

        return walk->nobodys && rc == NGX_EGRESS_NOBODY;
    }

    /* of one rule's clauses YES is what the rule says */

    if (clause->rule == walk->best && rc != NGX_EGRESS_YES) {
        walk->result = ngx_min(walk->result, rc);
        return 0;
    }

    walk->best = clause->rule;
    walk->result = rc;

    return rc == NGX_EGRESS_YES;
}


ngx_uint_t
ngx_egress_engine_scan(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_uint_t first, ngx_uint_t *rule)
{
    ngx_uint_t  i, rc, unknown, field, negative;

    unknown = NGX_EGRESS_NO;

    for (i = first; i < engine->nrules; i++) {

        rc = ngx_egress_engine_rule(engine, lookup, i, &field, &negative);

        if (rc == NGX_EGRESS_NO) {
            continue;
        }

        if (rc == NGX_EGRESS_YES || engine->action != NGX_EGRESS_ALLOW) {
            *rule = i;
            return rc;
        }

        unknown = (unknown == NGX_EGRESS_NOBODY) ? NGX_EGRESS_NOBODY : rc;
    }

    *rule = engine->nrules;

    return unknown;
}


ngx_uint_t
ngx_egress_engine_rule(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_uint_t rule, ngx_uint_t *field,
    ngx_uint_t *negative)
{
    uint32_t              i;
    ngx_uint_t            rc, result;
    ngx_egress_code_t    *failed;
    ngx_egress_clause_t  *clause;

    result = NGX_EGRESS_NO;
    *field = NGX_EGRESS_FIELDS;
    *negative = 0;

    for (i = engine->rules[rule].clause;
         i < engine->nclauses && engine->clauses[i].rule == rule;
         i++)
    {
        clause = &engine->clauses[i];

        if (engine->action == NGX_EGRESS_ALLOW && clause->http
            && !lookup->ask->http)
        {
            *field = NGX_EGRESS_METHOD;
            return NGX_EGRESS_NO;
        }

        failed = NULL;

        rc = ngx_egress_clause(engine, lookup, clause, 0, &failed);

        if (rc == NGX_EGRESS_YES) {
            return NGX_EGRESS_YES;
        }

        if (failed && *field == NGX_EGRESS_FIELDS) {
            *field = failed->field;
            *negative = failed->negative;
        }

        if (rc != NGX_EGRESS_NO) {
            result = (result == NGX_EGRESS_NO) ? rc : ngx_min(result, rc);
        }
    }

    return result;
}


/* failed: the first condition that does not hold, or might not */

static ngx_uint_t
ngx_egress_clause(ngx_egress_engine_t *engine, ngx_egress_lookup_t *lookup,
    ngx_egress_clause_t *clause, ngx_uint_t covered,
    ngx_egress_code_t **failed)
{
    uint32_t            block[3];
    ngx_uint_t          i, rc, result, group;
    ngx_egress_code_t  *p;

    block[0] = clause->to;
    block[1] = clause->from;
    block[2] = clause->when;

    result = NGX_EGRESS_YES;

    for (i = 0; i < 3; i++) {

        for (p = ngx_egress_code_first(engine->base->code, block[i]);
             p;
             p = ngx_egress_code_next(p))
        {

            /* the walk went by the first one of each group */

            group = ngx_egress_field_group(p->field);

            if (!p->negative && group != NGX_EGRESS_GROUP_NONE
                && (covered & (1 << group)))
            {
                covered &= ~(1 << group);

                if (group != NGX_EGRESS_GROUP_WHO
                    || lookup->ask->principal.len)
                {
                    continue;
                }
            }

            /* a deny rule loses what a TCP filter chain can't know */

            if (ngx_egress_field_http(p->field) && !lookup->ask->http) {
                continue;
            }

            rc = ngx_egress_cond(engine, lookup, p);

            if (rc == NGX_EGRESS_YES) {
                continue;
            }

            if (failed && (*failed == NULL || rc == NGX_EGRESS_NO)) {
                *failed = p;
            }

            if (rc == NGX_EGRESS_NO) {
                return NGX_EGRESS_NO;
            }

            result = (result == NGX_EGRESS_YES) ? rc : ngx_min(result, rc);
        }
    }

    return result;
}


static ngx_uint_t
ngx_egress_cond(ngx_egress_engine_t *engine, ngx_egress_lookup_t *lookup,
    ngx_egress_code_t *code)
{
    ngx_str_t           value, *s;
    ngx_uint_t          found;
    ngx_egress_ask_t   *ask;
    ngx_egress_addr_t  *addr;

    ask = lookup->ask;
    s = &value;

    switch (code->field) {

    case NGX_EGRESS_HOST:
        s = &ask->host;
        break;

    case NGX_EGRESS_SNI:
        s = &ask->sni;
        break;

    case NGX_EGRESS_METHOD:
        s = &ask->method;
        break;

    case NGX_EGRESS_PATH:
        s = &ask->path;
        break;

    case NGX_EGRESS_PORT:
        found = ngx_egress_cond_port(engine->base, code, ask->port);
        return found != code->negative;

    case NGX_EGRESS_HEADER:
        return ngx_egress_cond_header(engine, lookup, code);

    case NGX_EGRESS_SOURCE_IP:
    case NGX_EGRESS_REMOTE_IP:
    case NGX_EGRESS_DESTINATION_IP:
        addr = ngx_egress_ask_addr(ask, code->field);

        if (addr->len == 0) {
            return NGX_EGRESS_UNREADABLE;
        }

        value.data = addr->bytes;
        value.len = addr->len;
        break;

    default: /* of an identity */

        if (ask->principal.len == 0) {
            return NGX_EGRESS_NOBODY;
        }

        s = &ask->principal;
    }

    found = ngx_egress_cond_any(engine->base, lookup, code, s);

    return found != code->negative;
}


static ngx_uint_t
ngx_egress_cond_any(ngx_egress_base_t *base, ngx_egress_lookup_t *lookup,
    ngx_egress_code_t *code, ngx_str_t *value)
{
    uint32_t            *ids;
    ngx_uint_t           i, group, left, right, middle;
    ngx_egress_match_t   m;

    ids = (code->n == 1) ? &code->values : &base->values[code->values];
    group = ngx_egress_field_group(code->field);

    if (group == NGX_EGRESS_GROUP_NONE || lookup->linear) {

        for (i = 0; i < code->n; i++) {
            ngx_egress_pattern_match(base, ids[i], &m);

            if (ngx_egress_match(&m, value)) {
                return 1;
            }
        }

        return 0;
    }

    /* what matches is known: is any of it in the list, which is sorted */

    for (i = 0; i < lookup->n[group]; i++) {

        left = 0;
        right = code->n;

        while (left < right) {
            middle = (left + right) / 2;

            if (ids[middle] == lookup->ids[group][i]) {
                return 1;
            }

            if (ids[middle] < lookup->ids[group][i]) {
                left = middle + 1;

            } else {
                right = middle;
            }
        }
    }

    return 0;
}


static ngx_uint_t
ngx_egress_cond_port(ngx_egress_base_t *base, ngx_egress_code_t *code,
    in_port_t port)
{
    uint32_t    *ports;
    ngx_uint_t   left, right, middle;

    if (code->n == 1) {
        return code->values == port;
    }

    ports = &base->values[code->values];
    left = 0;
    right = code->n;

    while (left < right) {
        middle = (left + right) / 2;

        if (ports[middle] == port) {
            return 1;
        }

        if (ports[middle] < port) {
            left = middle + 1;

        } else {
            right = middle;
        }
    }

    return 0;
}


/*
 * Negative and allow, or positive and deny: a match refuses, and so each of
 * the values is looked at.
 */

static ngx_uint_t
ngx_egress_cond_header(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_egress_code_t *code)
{
    uint32_t             *ids;
    ngx_int_t             rc;
    ngx_str_t             name;
    ngx_uint_t            i, helps, found;
    ngx_egress_match_t    m;
    ngx_egress_header_t   header;

    ids = &engine->base->values[code->values];

    ngx_egress_pattern_match(engine->base, ids[0], &m);
    name = m.value;

    rc = lookup->ask->header(lookup->ask, &name, &header);

    if (rc == NGX_ERROR) {
        return NGX_EGRESS_UNREADABLE;
    }

    if (rc == NGX_DECLINED) {
        return code->negative;
    }

    helps = ((engine->action == NGX_EGRESS_ALLOW) != code->negative);
    found = 0;

    for (i = 1; i < code->n && !found; i++) {
        ngx_egress_pattern_match(engine->base, ids[i], &m);
        found = ngx_egress_match_header(&m, 1, &header, helps);
    }

    return found != code->negative;
}


static ngx_egress_addr_t *
ngx_egress_ask_addr(ngx_egress_ask_t *ask, ngx_uint_t field)
{
    ngx_uint_t  n;

    n = field - NGX_EGRESS_SOURCE_IP;

    if (!(ask->known & (1 << n))) {
        ask->known |= 1 << n;
        ask->addrs[n].len = 0;

        ask->addr(ask, field, &ask->addrs[n]);
    }

    return &ask->addrs[n];
}


static void
ngx_egress_pattern_match(ngx_egress_base_t *base, uint32_t id,
    ngx_egress_match_t *m)
{
    u_char  *p;

    p = base->text + id;

    m->kind = ngx_egress_pattern_kind(p);
    m->value.data = ngx_egress_pattern_text(p);
    m->value.len = ngx_egress_pattern_len(p);
}


ngx_uint_t
ngx_egress_engine_rules(ngx_egress_engine_t *engine)
{
    return engine->nrules;
}


ngx_egress_policy_t *
ngx_egress_engine_policy(ngx_egress_engine_t *engine, ngx_uint_t rule)
{
    return engine->policies[engine->rules[rule].policy];
}


ngx_uint_t
ngx_egress_engine_source(ngx_egress_engine_t *engine, ngx_uint_t rule,
    ngx_str_t *source)
{
    ngx_egress_match_t      m;
    ngx_egress_compiled_t  *compiled;

    compiled = &engine->rules[rule];

    if (compiled->source == NGX_EGRESS_ANY) {
        *source = ngx_egress_engine_policy(engine, rule)->source;
        return 0;
    }

    ngx_egress_pattern_match(engine->base, compiled->source, &m);

    *source = m.value;

    return compiled->line;
}


ngx_uint_t
ngx_egress_engine_index(ngx_egress_engine_t *engine, ngx_uint_t rule)
{
    return engine->rules[rule].index;
}


size_t
ngx_egress_base_size(ngx_egress_base_t *base)
{
    return base->size;
}


size_t
ngx_egress_engine_size(ngx_egress_engine_t *engine)
{
    return engine->size;
}
