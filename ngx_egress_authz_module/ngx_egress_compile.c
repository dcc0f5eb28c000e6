
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_engine.h>


/* a clause and what the walk may go by: its first positive condition each */

typedef struct {
    ngx_egress_code_t        *key[NGX_EGRESS_GROUPS];
    ngx_uint_t                product;
} ngx_egress_keys_t;


typedef struct {
    uint32_t                  leaf;        /* of edges or nodes */
    uint32_t                  clause;
} ngx_egress_entry_t;


typedef struct {
    ngx_egress_base_t        *base;
    ngx_egress_engine_t      *engine;
    ngx_egress_dedup_t      *edges;       /* node and pattern */
    ngx_array_t               hashes;      /* uint32_t: of those */
    ngx_egress_dedup_t      *nobodys;     /* rests of clauses */
    ngx_egress_dedup_t      *nodes;       /* that have any */
    ngx_array_t               entries;     /* ngx_egress_entry_t */
    ngx_array_t               nobody_entries;
    ngx_array_t               policies;    /* ngx_egress_policy_t * */
    ngx_array_t               rules;       /* ngx_egress_compiled_t */
    ngx_array_t               clauses;     /* ngx_egress_clause_t */
} ngx_egress_build_t;


static ngx_egress_dedup_t *ngx_egress_dedup_create(ngx_pool_t *pool);
static ngx_int_t ngx_egress_dedup(ngx_egress_dedup_t *in, void *data,
    size_t len, uint32_t *id);
static ngx_int_t ngx_egress_dedup_grow(ngx_egress_dedup_t *in, size_t len);
static void *ngx_egress_dedup_more(ngx_pool_t *pool, void *data, size_t size,
    size_t room);

static ngx_int_t ngx_egress_compile_block(ngx_egress_base_t *base,
    ngx_egress_block_t *block, uint32_t *code);
static ngx_int_t ngx_egress_compile_cond(ngx_egress_base_t *base,
    ngx_egress_cond_t *cond, ngx_egress_code_t *code);
static ngx_int_t ngx_egress_compile_pattern(ngx_egress_base_t *base,
    ngx_uint_t group, ngx_uint_t kind, ngx_str_t *text, uint32_t *id);
static int ngx_libc_cdecl ngx_egress_compile_order(const void *one,
    const void *two);

static ngx_int_t ngx_egress_build_rule(ngx_egress_build_t *build,
    ngx_egress_rule_t *rule, ngx_uint_t number);
static ngx_int_t ngx_egress_build_policy(ngx_egress_build_t *build,
    ngx_egress_policy_t *policy, ngx_egress_compiled_t *compiled);
static ngx_int_t ngx_egress_build_source(ngx_egress_build_t *build,
    ngx_str_t *source, ngx_egress_compiled_t *compiled);
static void ngx_egress_build_http(ngx_egress_build_t *build, uint32_t first);
static ngx_int_t ngx_egress_build_clause(ngx_egress_build_t *build,
    ngx_uint_t number, uint32_t from, uint32_t to, uint32_t when);
static ngx_egress_code_t *ngx_egress_build_code(ngx_egress_build_t *build,
    ngx_egress_clause_t *clause, ngx_uint_t block);
static ngx_uint_t ngx_egress_build_keys(ngx_egress_build_t *build,
    ngx_egress_clause_t *clause, ngx_egress_keys_t *keys);
static void ngx_egress_build_bound(ngx_egress_keys_t *keys);
static ngx_int_t ngx_egress_build_edges(ngx_egress_build_t *build,
    uint32_t clause);
static ngx_int_t ngx_egress_build_level(ngx_egress_build_t *build,
    ngx_egress_keys_t *keys, uint32_t clause, ngx_uint_t level,
    uint32_t node, uint32_t hash);
static ngx_int_t ngx_egress_build_edge(ngx_egress_build_t *build,
    uint32_t node, uint32_t *next, uint32_t hash);
static uint32_t ngx_egress_build_key(ngx_egress_build_t *build, uint32_t id);
static ngx_int_t ngx_egress_build_nobody(ngx_egress_build_t *build,
    uint32_t clause, uint32_t node);
static ngx_int_t ngx_egress_build_entry(ngx_array_t *entries, uint32_t leaf,
    uint32_t clause);
static ngx_int_t ngx_egress_build_done(ngx_egress_build_t *build);
static uint32_t *ngx_egress_build_lists(ngx_egress_build_t *build,
    ngx_array_t *entries, uint32_t n, uint32_t *lists, uint32_t *at);
static ngx_int_t ngx_egress_build_table(ngx_egress_build_t *build,
    uint32_t *to);
static uint32_t ngx_egress_build_port(ngx_egress_build_t *build,
    ngx_egress_clause_t *clause);
static ngx_int_t ngx_egress_build_nobodys(ngx_egress_build_t *build,
    uint32_t *to);
static void *ngx_egress_build_keep(ngx_egress_base_t *base, size_t *size,
    void *data, size_t len);

static ngx_int_t ngx_egress_base_tables(ngx_egress_base_t *base);
static u_char *ngx_egress_base_next(u_char *pattern);
static ngx_int_t ngx_egress_base_add(ngx_egress_base_t *base, u_char *p,
    uint16_t *seen);
static ngx_uint_t ngx_egress_base_place(u_char *p, ngx_uint_t *kind,
    size_t *len);
static uint32_t ngx_egress_base_hash(u_char *p, size_t len);
static void ngx_egress_base_insert(ngx_egress_slot_t *slots, uint32_t n,
    uint32_t hash, uint32_t id);
static ngx_int_t ngx_egress_base_lengths(ngx_egress_base_t *base,
    uint16_t *seen);
static ngx_int_t ngx_egress_base_cidrs(ngx_egress_base_t *base);

#define NGX_EGRESS_PLACE_NONE      0
#define NGX_EGRESS_PLACE_SLOT      1
#define NGX_EGRESS_PLACE_HEAD      2
#define NGX_EGRESS_PLACE_PRESENT   3
#define NGX_EGRESS_PLACE_ALWAYS    4

#define NGX_EGRESS_LENGTHS         65536

#define NGX_EGRESS_MIXED           0x100


static ngx_egress_dedup_t *
ngx_egress_dedup_create(ngx_pool_t *pool)
{
    ngx_egress_dedup_t  *in;

    in = ngx_pcalloc(pool, sizeof(ngx_egress_dedup_t));
    if (in == NULL) {
        return NULL;
    }

    in->pool = pool;
    in->room = 4096;
    in->nitems = 64;
    in->mask = 127;

    in->data = ngx_palloc(pool, in->room);
    in->items = ngx_palloc(pool, in->nitems * sizeof(ngx_egress_deduped_t));
    in->slots = ngx_pcalloc(pool, (in->mask + 1) * sizeof(uint32_t));

    if (in->data == NULL || in->items == NULL || in->slots == NULL) {
        return NULL;
    }

    return in;
}


/* NGX_OK: it is there; NGX_DONE: it is there now, and has not been before */

static ngx_int_t
ngx_egress_dedup(ngx_egress_dedup_t *in, void *data, size_t len,
    uint32_t *id)
{
    uint32_t                hash, i;
    ngx_egress_deduped_t  *item;

    hash = ngx_egress_hash(data, len, 1);

    for (i = hash & in->mask; in->slots[i]; i = (i + 1) & in->mask) {

        item = &in->items[in->slots[i] - 1];

        if (item->hash == hash && item->len == len
            && ngx_memcmp(in->data + item->offset, data, len) == 0)
        {
            *id = in->slots[i] - 1;
            return NGX_OK;
        }
    }

    if (ngx_egress_dedup_grow(in, len) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = hash & in->mask; in->slots[i]; i = (i + 1) & in->mask) {
        /* void */
    }

    item = &in->items[in->n];

    item->offset = in->size;
    item->len = (uint32_t) len;
    item->hash = hash;

    ngx_memcpy(in->data + in->size, data, len);

    in->size += len;
    *id = in->n++;
    in->slots[i] = in->n;

    return NGX_DONE;
}


static ngx_int_t
ngx_egress_dedup_grow(ngx_egress_dedup_t *in, size_t len)
{
    uint32_t   i, n;
    uint32_t  *slots;

    if (in->size + len > in->room) {

        in->data = ngx_egress_dedup_more(in->pool, in->data, in->size,
                                          in->room * 2 + len);
        if (in->data == NULL) {
            return NGX_ERROR;
        }

        in->room = in->room * 2 + len;
    }

    if (in->n < in->nitems) {
        return NGX_OK;
    }

    in->items = ngx_egress_dedup_more(in->pool, in->items,
                                in->n * sizeof(ngx_egress_deduped_t),
                                in->nitems * 2 * sizeof(ngx_egress_deduped_t));
    if (in->items == NULL) {
        return NGX_ERROR;
    }

    in->nitems *= 2;

    n = (in->mask + 1) * 2;

    slots = ngx_pcalloc(in->pool, n * sizeof(uint32_t));
    if (slots == NULL) {
        return NGX_ERROR;
    }

    ngx_pfree(in->pool, in->slots);

    in->slots = slots;
    in->mask = n - 1;

    for (n = 0; n < in->n; n++) {

        for (i = in->items[n].hash & in->mask;
             slots[i];
             i = (i + 1) & in->mask)
        {
            /* void */
        }

        slots[i] = n + 1;
    }

    return NGX_OK;
}


static void *
ngx_egress_dedup_more(ngx_pool_t *pool, void *data, size_t size, size_t room)
{
    void  *p;

    p = ngx_palloc(pool, room);
    if (p == NULL) {
        return NULL;
    }

    ngx_memcpy(p, data, size);
    ngx_pfree(pool, data);

    return p;
}


ngx_egress_base_t *
ngx_egress_base_create(ngx_pool_t *pool, ngx_pool_t *temp)
{
    uint32_t            id;
    ngx_str_t           none;
    ngx_egress_base_t  *base;
    ngx_egress_code_t   nothing;

    base = ngx_pcalloc(pool, sizeof(ngx_egress_base_t));
    if (base == NULL) {
        return NULL;
    }

    base->pool = pool;
    base->temp = temp;

    base->patterns_in = ngx_egress_dedup_create(temp);
    base->values_in = ngx_egress_dedup_create(temp);
    base->code_in = ngx_egress_dedup_create(temp);

    if (base->patterns_in == NULL || base->values_in == NULL
        || base->code_in == NULL
        || ngx_array_init(&base->always, pool, 1, sizeof(uint32_t)) != NGX_OK
        || ngx_array_init(&base->engines, pool, 1,
                          sizeof(ngx_egress_engine_t *))
           != NGX_OK)
    {
        return NULL;
    }

    /* pattern 0 is none, block 0 is empty */

    ngx_str_set(&none, "");
    ngx_memzero(&nothing, sizeof(ngx_egress_code_t));
    nothing.last = 1;

    if (ngx_egress_compile_pattern(base, NGX_EGRESS_GROUP_NONE, 0xff, &none,
                                   &id)
        == NGX_ERROR
        || ngx_egress_dedup(base->code_in, &nothing, sizeof(nothing), &id)
           == NGX_ERROR)
    {
        return NULL;
    }

    return base;
}


/* equal blocks are one: clauses with the same rest can be told by it */

static ngx_int_t
ngx_egress_compile_block(ngx_egress_base_t *base, ngx_egress_block_t *block,
    uint32_t *code)
{
    uint32_t            id;
    ngx_uint_t          i, n;
    ngx_egress_cond_t  *cond;
    ngx_egress_code_t  *list;

    n = block ? block->conds.nelts : 0;

    if (n == 0) {
        *code = 0;
        return NGX_OK;
    }

    list = ngx_pcalloc(base->temp, n * sizeof(ngx_egress_code_t));
    if (list == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        cond = (ngx_egress_cond_t *) block->conds.elts + i;

        if (ngx_egress_compile_cond(base, cond, &list[i]) != NGX_OK) {
            return NGX_ERROR;
        }

        base->fields |= 1 << cond->field;
    }

    list[n - 1].last = 1;

    if (ngx_egress_dedup(base->code_in, list, n * sizeof(ngx_egress_code_t),
                          &id)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    *code = (uint32_t) (base->code_in->items[id].offset
                        / sizeof(ngx_egress_code_t));

    return NGX_OK;
}


static ngx_int_t
ngx_egress_compile_cond(ngx_egress_base_t *base, ngx_egress_cond_t *cond,
    ngx_egress_code_t *code)
{
    uint32_t            *ids, id;
    ngx_uint_t           i, n, first, group;
    ngx_egress_match_t  *m;

    m = cond->values.elts;
    group = ngx_egress_field_group(cond->field);
    first = (cond->field == NGX_EGRESS_HEADER);

    ids = ngx_palloc(base->temp,
                     (cond->values.nelts + 1) * sizeof(uint32_t));
    if (ids == NULL) {
        return NGX_ERROR;
    }

    if (first
        && ngx_egress_compile_pattern(base, group, NGX_EGRESS_MATCH_EXACT,
                                      &cond->name, &ids[0])
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < cond->values.nelts; i++) {

        if (m[i].kind == NGX_EGRESS_MATCH_PORT) {
            ids[first + i] = (uint32_t) m[i].port;
            continue;
        }

        if (ngx_egress_compile_pattern(base, group, m[i].kind, &m[i].value,
                                       &ids[first + i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_qsort(&ids[first], i, sizeof(uint32_t), ngx_egress_compile_order);

    for (i = first, n = first; i < first + cond->values.nelts; i++) {
        if (n == first || ids[n - 1] != ids[i]) {
            ids[n++] = ids[i];
        }
    }

    code->field = (uint8_t) cond->field;
    code->negative = (cond->negative != 0);
    code->n = (uint16_t) n;

    if (n == 1) {
        code->values = ids[0];
        return NGX_OK;
    }

    if (ngx_egress_dedup(base->values_in, ids, n * sizeof(uint32_t), &id)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    code->values = (uint32_t) (base->values_in->items[id].offset
                               / sizeof(uint32_t));

    return NGX_OK;
}


static ngx_int_t
ngx_egress_compile_pattern(ngx_egress_base_t *base, ngx_uint_t group,
    ngx_uint_t kind, ngx_str_t *text, uint32_t *id)
{
    u_char     bytes[4096 + NGX_EGRESS_PATTERN_HEAD];
    uint32_t   n;

    if (text->len > sizeof(bytes) - NGX_EGRESS_PATTERN_HEAD) {
        return NGX_ERROR;
    }

    bytes[0] = (u_char) group;
    bytes[1] = (u_char) kind;
    bytes[2] = (u_char) (text->len >> 8);
    bytes[3] = (u_char) (text->len & 0xff);

    ngx_memcpy(ngx_egress_pattern_text(bytes), text->data, text->len);

    if (ngx_egress_dedup(base->patterns_in, bytes,
                          NGX_EGRESS_PATTERN_HEAD + text->len, &n)
        == NGX_ERROR
        || base->patterns_in->size >= NGX_EGRESS_NODES)
    {
        return NGX_ERROR;
    }

    *id = (uint32_t) base->patterns_in->items[n].offset;

    return NGX_OK;
}


static int ngx_libc_cdecl
ngx_egress_compile_order(const void *one, const void *two)
{
    uint32_t  a, b;

    a = *(uint32_t *) one;
    b = *(uint32_t *) two;

    return (a > b) - (a < b);
}


ngx_egress_engine_t *
ngx_egress_engine_create(ngx_egress_base_t *base, ngx_uint_t action,
    ngx_array_t *rules)
{
    ngx_uint_t            i, groups, n;
    ngx_egress_keys_t     keys;
    ngx_egress_rule_t   **rule;
    ngx_egress_build_t    build;
    ngx_egress_clause_t  *clause;
    ngx_egress_engine_t  *engine;

    engine = ngx_pcalloc(base->pool, sizeof(ngx_egress_engine_t));
    if (engine == NULL) {
        return NULL;
    }

    engine->base = base;
    engine->action = action;

    build.base = base;
    build.engine = engine;
    build.edges = ngx_egress_dedup_create(base->temp);
    build.nobodys = ngx_egress_dedup_create(base->temp);
    build.nodes = ngx_egress_dedup_create(base->temp);

    n = ngx_max(rules->nelts, 1);

    if (build.edges == NULL || build.nobodys == NULL || build.nodes == NULL
        || ngx_array_init(&build.hashes, base->temp, n, sizeof(uint32_t))
           != NGX_OK
        || ngx_array_init(&build.entries, base->temp, n,
                          sizeof(ngx_egress_entry_t))
           != NGX_OK
        || ngx_array_init(&build.nobody_entries, base->temp, n,
                          sizeof(ngx_egress_entry_t))
           != NGX_OK
        || ngx_array_init(&build.policies, base->temp, 1,
                          sizeof(ngx_egress_policy_t *))
           != NGX_OK
        || ngx_array_init(&build.rules, base->temp, n,
                          sizeof(ngx_egress_compiled_t))
           != NGX_OK
        || ngx_array_init(&build.clauses, base->temp, n,
                          sizeof(ngx_egress_clause_t))
           != NGX_OK)
    {
        return NULL;
    }

    rule = rules->elts;

    for (i = 0; i < rules->nelts; i++) {
        if (ngx_egress_build_rule(&build, rule[i], i) != NGX_OK) {
            return NULL;
        }
    }

    /* the levels: groups that any clause can be walked to by */

    clause = build.clauses.elts;
    groups = 0;

    for (i = 0; i < build.clauses.nelts; i++) {
        groups |= ngx_egress_build_keys(&build, &clause[i], &keys);
    }

    for (i = 0, n = 0; i < NGX_EGRESS_GROUPS; i++) {
        if (groups & (1 << i)) {
            engine->groups[n++] = i;
        }
    }

    engine->groups[n] = NGX_EGRESS_GROUP_NONE;

    for (i = 0; i < build.clauses.nelts; i++) {
        if (ngx_egress_build_edges(&build, i) != NGX_OK) {
            return NULL;
        }
    }

    if (ngx_egress_build_done(&build) != NGX_OK) {
        return NULL;
    }

    return engine;
}


static ngx_int_t
ngx_egress_build_rule(ngx_egress_build_t *build, ngx_egress_rule_t *rule,
    ngx_uint_t number)
{
    uint32_t                from, to, when;
    ngx_uint_t              i, j;
    ngx_egress_block_t     *block;
    ngx_egress_compiled_t  *compiled;

    compiled = ngx_array_push(&build->rules);
    if (compiled == NULL) {
        return NGX_ERROR;
    }

    compiled->index = (uint32_t) rule->index;
    compiled->clause = (uint32_t) build->clauses.nelts;

    if (ngx_egress_build_policy(build, rule->policy, compiled) != NGX_OK
        || ngx_egress_build_source(build, &rule->source, compiled) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_egress_compile_block(build->base, &rule->when, &when) != NGX_OK) {
        return NGX_ERROR;
    }

    i = 0;

    do {
        block = rule->from.nelts
                ? (ngx_egress_block_t *) rule->from.elts + i : NULL;

        if (ngx_egress_compile_block(build->base, block, &from) != NGX_OK) {
            return NGX_ERROR;
        }

        j = 0;

        do {
            block = rule->to.nelts
                    ? (ngx_egress_block_t *) rule->to.elts + j : NULL;

            if (ngx_egress_compile_block(build->base, block, &to) != NGX_OK
                || ngx_egress_build_clause(build, number, from, to, when)
                   != NGX_OK)
            {
                return NGX_ERROR;
            }

        } while (++j < rule->to.nelts);

    } while (++i < rule->from.nelts);

    ngx_egress_build_http(build, compiled->clause);

    return NGX_OK;
}


/* the rules of a policy follow each other */

static ngx_int_t
ngx_egress_build_policy(ngx_egress_build_t *build,
    ngx_egress_policy_t *policy, ngx_egress_compiled_t *compiled)
{
    ngx_uint_t             n;
    ngx_egress_policy_t  **p;

    p = build->policies.elts;
    n = build->policies.nelts;

    if (n == 0 || p[n - 1] != policy) {
        p = ngx_array_push(&build->policies);
        if (p == NULL) {
            return NGX_ERROR;
        }

        *p = policy;
    }

    compiled->policy = (uint32_t) build->policies.nelts - 1;

    return NGX_OK;
}


/* many rules are from one file: its name is kept once, without the line */

static ngx_int_t
ngx_egress_build_source(ngx_egress_build_t *build, ngx_str_t *source,
    ngx_egress_compiled_t *compiled)
{
    u_char     *p, *last;
    ngx_int_t   line;
    ngx_str_t   file;

    compiled->source = NGX_EGRESS_ANY;
    compiled->line = 0;

    if (source->len == 0) {
        return NGX_OK;
    }

    file = *source;
    last = source->data + source->len;

    for (p = last; p > source->data && p[-1] >= '0' && p[-1] <= '9'; p--) {
        /* void */
    }

    if (p > source->data && p[-1] == ':' && p < last && *p != '0') {
        line = ngx_atoi(p, last - p);

        if (line > 0 && line <= NGX_MAX_INT32_VALUE) {
            compiled->line = (uint32_t) line;
            file.len = p - 1 - source->data;
        }
    }

    return ngx_egress_compile_pattern(build->base, NGX_EGRESS_GROUP_NONE,
                                      NGX_EGRESS_MATCH_EXACT, &file,
                                      &compiled->source);
}


/* one such field anywhere in it makes a rule one for http */

static void
ngx_egress_build_http(ngx_egress_build_t *build, uint32_t first)
{
    uint32_t              i, http;
    ngx_egress_clause_t  *clause;

    clause = build->clauses.elts;
    http = 0;

    for (i = first; i < build->clauses.nelts; i++) {
        http |= clause[i].http;
    }

    for (i = first; i < build->clauses.nelts; i++) {
        clause[i].http = http;
    }
}


static ngx_int_t
ngx_egress_build_clause(ngx_egress_build_t *build, ngx_uint_t number,
    uint32_t from, uint32_t to, uint32_t when)
{
    ngx_uint_t            i;
    ngx_egress_code_t    *p;
    ngx_egress_clause_t  *clause;

    clause = ngx_array_push(&build->clauses);
    if (clause == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(clause, sizeof(ngx_egress_clause_t));

    clause->rule = number;
    clause->from = from;
    clause->to = to;
    clause->when = when;

    for (i = 0; i < 3; i++) {

        for (p = ngx_egress_build_code(build, clause, i);
             p;
             p = ngx_egress_code_next(p))
        {
            if (ngx_egress_field_http(p->field)) {
                clause->http = 1;
            }
        }
    }

    return NGX_OK;
}


/* blocks in the order in which they are looked at */

static ngx_egress_code_t *
ngx_egress_build_code(ngx_egress_build_t *build, ngx_egress_clause_t *clause,
    ngx_uint_t block)
{
    uint32_t  code;

    code = (block == 0) ? clause->to : (block == 1) ? clause->from
                                                    : clause->when;

    return ngx_egress_code_first((ngx_egress_code_t *)
                                 build->base->code_in->data, code);
}


/*
 * Which groups the clause can be walked to by, as bits.  Not by path where a
 * stream session is asked without it: it is left out of a deny rule there.
 */

static ngx_uint_t
ngx_egress_build_keys(ngx_egress_build_t *build, ngx_egress_clause_t *clause,
    ngx_egress_keys_t *keys)
{
    ngx_uint_t          i, group, n;
    ngx_egress_code_t  *p;

    ngx_memzero(keys, sizeof(ngx_egress_keys_t));

    n = 0;

    for (i = 0; i < 3; i++) {

        for (p = ngx_egress_build_code(build, clause, i);
             p;
             p = ngx_egress_code_next(p))
        {
            n++;

            group = ngx_egress_field_group(p->field);

            if (p->negative || group == NGX_EGRESS_GROUP_NONE
                || keys->key[group]
                || (group == NGX_EGRESS_GROUP_PATH
                    && build->engine->action != NGX_EGRESS_ALLOW))
            {
                continue;
            }

            keys->key[group] = p;
        }
    }

    ngx_egress_build_bound(keys);

    clause->covered = 0;

    for (i = 0; i < NGX_EGRESS_GROUPS; i++) {
        if (keys->key[i]) {
            clause->covered |= 1 << i;
            n--;
        }
    }

    clause->bare = (n == 0);

    return clause->covered;
}


/* so that memory grows as the configuration does, not as its square */

static void
ngx_egress_build_bound(ngx_egress_keys_t *keys)
{
    ngx_uint_t  i, sum, product, largest;

    for ( ;; ) {
        sum = 0;
        product = 1;
        largest = NGX_EGRESS_GROUPS;

        for (i = 0; i < NGX_EGRESS_GROUPS; i++) {

            if (keys->key[i] == NULL) {
                continue;
            }

            sum += keys->key[i]->n;
            product *= keys->key[i]->n;

            if (largest == NGX_EGRESS_GROUPS
                || keys->key[i]->n > keys->key[largest]->n)
            {
                largest = i;
            }
        }

        if (product <= ngx_max(NGX_EGRESS_PRODUCT, 4 * sum)) {
            return;
        }

        keys->key[largest] = NULL;
    }
}


static ngx_int_t
ngx_egress_build_edges(ngx_egress_build_t *build, uint32_t clause)
{
    ngx_egress_keys_t     keys;
    ngx_egress_clause_t  *clauses;

    clauses = build->clauses.elts;

    (void) ngx_egress_build_keys(build, &clauses[clause], &keys);

    return ngx_egress_build_level(build, &keys, clause, 0, 0, 0);
}


static ngx_int_t
ngx_egress_build_level(ngx_egress_build_t *build, ngx_egress_keys_t *keys,
    uint32_t clause, ngx_uint_t level, uint32_t node, uint32_t hash)
{
    uint32_t            below, next, *ids, any;
    ngx_uint_t          i, n, group;
    ngx_egress_code_t  *key;

    group = build->engine->groups[level];

    if (group == NGX_EGRESS_GROUP_NONE) {
        return ngx_egress_build_entry(&build->entries,
                                      level ? node - NGX_EGRESS_NODES + 1 : 0,
                                      clause);
    }

    key = keys->key[group];
    any = NGX_EGRESS_ANY;

    if (key == NULL) {
        ids = &any;
        n = 1;

    } else {
        n = key->n;
        ids = (n == 1) ? &key->values
                       : (uint32_t *) build->base->values_in->data
                         + key->values;
    }

    if (key == NULL) {
        build->engine->any |= 1 << level;
    }

    for (i = 0; i < n; i++) {

        next = ids[i];
        below = ngx_egress_build_key(build, ids[i]);

        if (level || build->engine->groups[1] == NGX_EGRESS_GROUP_NONE) {

            below = ngx_egress_edge_hash(hash, below);

            if (ngx_egress_build_edge(build, node, &next, below) != NGX_OK) {
                return NGX_ERROR;
            }
        }

        if (ngx_egress_build_level(build, keys, clause, level + 1, next,
                                   below)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (group == NGX_EGRESS_GROUP_WHO && key) {
        return ngx_egress_build_nobody(build, clause, node);
    }

    return NGX_OK;
}


/* next: the pattern, and then the node that the edge is */

static ngx_int_t
ngx_egress_build_edge(ngx_egress_build_t *build, uint32_t node,
    uint32_t *next, uint32_t hash)
{
    uint32_t   edge[2], id, *p;
    ngx_int_t  rc;

    edge[0] = node;
    edge[1] = *next;

    rc = ngx_egress_dedup(build->edges, edge, sizeof(edge), &id);

    if (rc == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (rc == NGX_DONE) {
        p = ngx_array_push(&build->hashes);
        if (p == NULL) {
            return NGX_ERROR;
        }

        *p = hash;
    }

    *next = NGX_EGRESS_NODES + id;

    return NGX_OK;
}


/* the same that a lookup has at hand when the pattern matches */

static uint32_t
ngx_egress_build_key(ngx_egress_build_t *build, uint32_t id)
{
    u_char      *p;
    size_t       len;
    ngx_uint_t   kind;

    p = build->base->patterns_in->data + id;

    if (ngx_egress_base_place(p, &kind, &len) != NGX_EGRESS_PLACE_SLOT) {
        return id;
    }

    return ngx_egress_base_hash(p, ngx_egress_pattern_len(p));
}


/*
 * For flows without identity: what is left of the clause without the block
 * that is about identity alone.  The first one of the same rest is enough.
 */

static ngx_int_t
ngx_egress_build_nobody(ngx_egress_build_t *build, uint32_t clause,
    uint32_t node)
{
    uint32_t              rest[4], id;
    ngx_int_t             rc;
    ngx_egress_code_t    *p;
    ngx_egress_clause_t  *c;

    c = (ngx_egress_clause_t *) build->clauses.elts + clause;

    for (p = ngx_egress_build_code(build, c, 1);
         p && ngx_egress_field_identity(p->field);
         p = ngx_egress_code_next(p))
    {
        /* void */
    }

    rest[0] = node;
    rest[1] = p ? c->from : 0;
    rest[2] = c->to;
    rest[3] = c->when;

    rc = ngx_egress_dedup(build->nobodys, rest, sizeof(rest), &id);

    if (rc != NGX_DONE) {
        return rc;
    }

    if (ngx_egress_dedup(build->nodes, &node, sizeof(node), &id)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return ngx_egress_build_entry(&build->nobody_entries, id, clause);
}


static ngx_int_t
ngx_egress_build_entry(ngx_array_t *entries, uint32_t leaf, uint32_t clause)
{
    ngx_egress_entry_t  *entry;

    entry = ngx_array_push(entries);
    if (entry == NULL) {
        return NGX_ERROR;
    }

    entry->leaf = leaf;
    entry->clause = clause;

    return NGX_OK;
}


static ngx_int_t
ngx_egress_build_done(ngx_egress_build_t *build)
{
    uint32_t              at, *lists, *edges, *nodes;
    ngx_egress_base_t    *base;
    ngx_egress_engine_t  *engine, **p;

    base = build->base;
    engine = build->engine;

    engine->nrules = (uint32_t) build->rules.nelts;
    engine->nclauses = (uint32_t) build->clauses.nelts;

    at = 1;
    lists = ngx_palloc(base->temp, (build->entries.nelts
                                    + build->nobody_entries.nelts + 1)
                                   * sizeof(uint32_t));

    if (lists == NULL) {
        return NGX_ERROR;
    }

    edges = ngx_egress_build_lists(build, &build->entries,
                                   build->edges->n + 1, lists, &at);
    nodes = ngx_egress_build_lists(build, &build->nobody_entries,
                                   build->nodes->n, lists, &at);

    if (edges == NULL || nodes == NULL) {
        return NGX_ERROR;
    }

    engine->root = edges[0];

    engine->lists = ngx_egress_build_keep(base, &engine->size, lists,
                                          at * sizeof(uint32_t));
    engine->rules = ngx_egress_build_keep(base, &engine->size,
                        build->rules.elts,
                        engine->nrules * sizeof(ngx_egress_compiled_t));
    engine->policies = ngx_egress_build_keep(base, &engine->size,
                           build->policies.elts,
                           build->policies.nelts
                           * sizeof(ngx_egress_policy_t *));
    engine->clauses = ngx_egress_build_keep(base, &engine->size,
                          build->clauses.elts,
                          engine->nclauses * sizeof(ngx_egress_clause_t));

    p = ngx_array_push(&base->engines);

    if (engine->lists == NULL || engine->rules == NULL
        || engine->policies == NULL || engine->clauses == NULL || p == NULL)
    {
        return NGX_ERROR;
    }

    *p = engine;

    if (ngx_egress_build_table(build, edges) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_egress_build_nobodys(build, nodes);
}


/*
 * Where each of the leaves leads to.  Entries come in the order of clauses,
 * and stay in it.
 */

static uint32_t *
ngx_egress_build_lists(ngx_egress_build_t *build, ngx_array_t *entries,
    uint32_t n, uint32_t *lists, uint32_t *at)
{
    uint32_t             *to, *count, i;
    ngx_uint_t            k;
    ngx_egress_entry_t   *entry;

    entry = entries->elts;

    count = ngx_pcalloc(build->base->temp, (n + 1) * sizeof(uint32_t));
    to = ngx_palloc(build->base->temp, (n + 1) * sizeof(uint32_t));

    if (count == NULL || to == NULL) {
        return NULL;
    }

    for (k = 0; k < entries->nelts; k++) {
        count[entry[k].leaf]++;
    }

    /* an edge leads to a node of its own number, a list, or a clause */

    for (i = 0; i < n; i++) {
        to[i] = (count[i] > 1) ? *at : NGX_EGRESS_NODES + i - 1;
        *at += (count[i] > 1) ? count[i] : 0;
        count[i] = (count[i] == 1) ? NGX_EGRESS_LAST : 0;
    }

    for (k = 0; k < entries->nelts; k++) {

        i = entry[k].leaf;

        if (count[i] & NGX_EGRESS_LAST) {
            to[i] = NGX_EGRESS_LAST | entry[k].clause;
            continue;
        }

        lists[to[i] + count[i]++] = entry[k].clause;
    }

    for (i = 0; i < n; i++) {
        if (count[i] && !(count[i] & NGX_EGRESS_LAST)) {
            lists[to[i] + count[i] - 1] |= NGX_EGRESS_LAST;
        }
    }

    return to;
}


static ngx_int_t
ngx_egress_build_table(ngx_egress_build_t *build, uint32_t *to)
{
    uint32_t              i, k, n, pair[2], *hash;
    ngx_egress_edge_t    *edge;
    ngx_egress_engine_t  *engine;

    engine = build->engine;
    hash = build->hashes.elts;

    if (build->edges->n == 0) {
        return NGX_OK;
    }

    n = build->edges->n + build->edges->n / 3 + 1;

    engine->edges = ngx_pcalloc(build->base->pool,
                                n * sizeof(ngx_egress_edge_t));
    if (engine->edges == NULL) {
        return NGX_ERROR;
    }

    engine->nedges = n;
    engine->size += n * sizeof(ngx_egress_edge_t);

    for (i = 0; i < build->edges->n; i++) {

        ngx_memcpy(pair, build->edges->data + build->edges->items[i].offset,
                   sizeof(pair));

        for (k = ngx_egress_reduce(hash[i], n);
             engine->edges[k].to;
             k = (k + 1 == n) ? 0 : k + 1)
        {
            /* void */
        }

        edge = &engine->edges[k];

        edge->node = pair[0];
        edge->id = pair[1];
        edge->to = to[i + 1];

        if (edge->to & NGX_EGRESS_LAST) {
            edge->port = ngx_egress_build_port(build,
                         &engine->clauses[edge->to & ~NGX_EGRESS_LAST]);
        }
    }

    return NGX_OK;
}


/* the port, if one is all that the walk did not go by; or 0 */

static uint32_t
ngx_egress_build_port(ngx_egress_build_t *build, ngx_egress_clause_t *clause)
{
    uint32_t            port;
    ngx_uint_t          i, group, covered;
    ngx_egress_code_t  *p;

    port = 0;
    covered = clause->covered;

    for (i = 0; i < 3; i++) {

        for (p = ngx_egress_build_code(build, clause, i);
             p;
             p = ngx_egress_code_next(p))
        {
            group = ngx_egress_field_group(p->field);

            if (!p->negative && group != NGX_EGRESS_GROUP_NONE
                && (covered & (1 << group)))
            {
                covered &= ~(1 << group);
                continue;
            }

            if (port || p->field != NGX_EGRESS_PORT || p->negative
                || p->n != 1)
            {
                return 0;
            }

            port = p->values;
        }
    }

    return port;
}


static ngx_int_t
ngx_egress_build_nobodys(ngx_egress_build_t *build, uint32_t *to)
{
    uint32_t              i, k, n, node;
    ngx_egress_engine_t  *engine;

    engine = build->engine;

    if (build->nodes->n == 0) {
        return NGX_OK;
    }

    n = build->nodes->n + build->nodes->n / 3 + 1;

    engine->nobodys = ngx_pcalloc(build->base->pool,
                                  n * sizeof(ngx_egress_nobody_t));
    if (engine->nobodys == NULL) {
        return NGX_ERROR;
    }

    engine->nnobodys = n;
    engine->size += n * sizeof(ngx_egress_nobody_t);

    for (i = 0; i < build->nodes->n; i++) {

        ngx_memcpy(&node, build->nodes->data + build->nodes->items[i].offset,
                   sizeof(node));

        for (k = ngx_egress_reduce(ngx_egress_edge_hash(node, 0), n);
             engine->nobodys[k].to;
             k = (k + 1 == n) ? 0 : k + 1)
        {
            /* void */
        }

        engine->nobodys[k].node = node;
        engine->nobodys[k].to = to[i];
    }

    return NGX_OK;
}


static void *
ngx_egress_build_keep(ngx_egress_base_t *base, size_t *size, void *data,
    size_t len)
{
    void  *p;

    p = ngx_palloc(base->pool, len ? len : 1);
    if (p == NULL) {
        return NULL;
    }

    ngx_memcpy(p, data, len);

    *size += len;

    return p;
}


ngx_int_t
ngx_egress_base_done(ngx_egress_base_t *base)
{
    base->text = ngx_egress_build_keep(base, &base->size,
                                       base->patterns_in->data,
                                       base->patterns_in->size);
    base->ntext = base->patterns_in->size;
    base->values = ngx_egress_build_keep(base, &base->size,
                                         base->values_in->data,
                                         base->values_in->size);
    base->code = ngx_egress_build_keep(base, &base->size,
                                       base->code_in->data,
                                       base->code_in->size);

    if (base->text == NULL || base->values == NULL || base->code == NULL
        || ngx_egress_base_tables(base) != NGX_OK)
    {
        return NGX_ERROR;
    }

    base->patterns_in = NULL;
    base->values_in = NULL;
    base->code_in = NULL;
    base->temp = NULL;

    return NGX_OK;
}


static ngx_int_t
ngx_egress_base_tables(ngx_egress_base_t *base)
{
    u_char      *p, *last;
    size_t       len;
    uint16_t    *seen;
    uint32_t     n[NGX_EGRESS_PLACE_ALWAYS + 1];
    ngx_uint_t   kind;

    ngx_memzero(n, sizeof(n));

    seen = ngx_pcalloc(base->temp, NGX_EGRESS_GROUPS * 3 * NGX_EGRESS_LENGTHS
                                   * sizeof(uint16_t));
    if (seen == NULL) {
        return NGX_ERROR;
    }

    last = base->text + base->ntext;

    for (p = base->text; p < last; p = ngx_egress_base_next(p)) {
        n[ngx_egress_base_place(p, &kind, &len)]++;
    }

    base->nslots = n[NGX_EGRESS_PLACE_SLOT] * 4 / 3 + 1;
    base->nheads = n[NGX_EGRESS_PLACE_HEAD] * 4 / 3 + 1;
    base->nfilter = n[NGX_EGRESS_PLACE_SLOT] / 4 + 1;

    base->slots = ngx_pcalloc(base->pool,
                              base->nslots * sizeof(ngx_egress_slot_t));
    base->heads = ngx_pcalloc(base->pool,
                              base->nheads * sizeof(ngx_egress_slot_t));
    base->filter = ngx_pcalloc(base->pool, base->nfilter * sizeof(uint32_t));

    if (base->slots == NULL || base->heads == NULL || base->filter == NULL) {
        return NGX_ERROR;
    }

    base->size += (base->nslots + base->nheads) * sizeof(ngx_egress_slot_t)
                  + base->nfilter * sizeof(uint32_t);

    for (p = base->text; p < last; p = ngx_egress_base_next(p)) {
        if (ngx_egress_base_add(base, p, seen) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ngx_egress_base_lengths(base, seen) != NGX_OK) {
        return NGX_ERROR;
    }

    return base->ncidrs ? ngx_egress_base_cidrs(base) : NGX_OK;
}


static u_char *
ngx_egress_base_next(u_char *pattern)
{
    return ngx_egress_pattern_text(pattern) + ngx_egress_pattern_len(pattern);
}


static ngx_int_t
ngx_egress_base_add(ngx_egress_base_t *base, u_char *p, uint16_t *seen)
{
    size_t       len;
    uint16_t     byte;
    uint32_t     id, hash, *always;
    ngx_uint_t   kind, group;

    id = (uint32_t) (p - base->text);
    group = ngx_egress_pattern_group(p);

    switch (ngx_egress_base_place(p, &kind, &len)) {

    case NGX_EGRESS_PLACE_PRESENT:
        base->present[group] = id;
        return NGX_OK;

    case NGX_EGRESS_PLACE_ALWAYS:
        always = ngx_array_push(&base->always);
        if (always == NULL) {
            return NGX_ERROR;
        }

        *always = id;
        return NGX_OK;

    case NGX_EGRESS_PLACE_HEAD:
        hash = ngx_egress_base_hash(p, len);
        ngx_egress_base_insert(base->heads, base->nheads, hash, id);
        break;

    case NGX_EGRESS_PLACE_SLOT:
        hash = ngx_egress_base_hash(p, ngx_egress_pattern_len(p));
        ngx_egress_base_insert(base->slots, base->nslots, hash, id);

        ngx_egress_filter(base, hash) |= ngx_egress_filter_bits(hash);
        break;

    default: /* NGX_EGRESS_PLACE_NONE */
        return NGX_OK;
    }

    if (kind == NGX_EGRESS_TABLES) {
        return NGX_OK;
    }

    /* the byte at the inner end, or that there are several */

    byte = NGX_EGRESS_MIXED;

    if (group == NGX_EGRESS_GROUP_IP) {
        base->ncidrs++;

    } else if (len) {
        byte = ngx_egress_pattern_text(p)[kind == NGX_EGRESS_SUFFIXES
                                          ? 0 : len - 1];
        byte = byte ? byte : NGX_EGRESS_MIXED;
    }

    seen += (group * 3 + kind) * NGX_EGRESS_LENGTHS + len;

    *seen = (*seen == 0 || *seen == byte) ? byte : NGX_EGRESS_MIXED;

    return NGX_OK;
}


/* where a pattern is found, and by a part of which length */

static ngx_uint_t
ngx_egress_base_place(u_char *p, ngx_uint_t *kind, size_t *len)
{
    *kind = NGX_EGRESS_TABLES;
    *len = ngx_egress_pattern_len(p);

    if (ngx_egress_pattern_group(p) == NGX_EGRESS_GROUP_NONE) {
        return NGX_EGRESS_PLACE_NONE;
    }

    switch (ngx_egress_pattern_kind(p)) {

    case NGX_EGRESS_MATCH_PREFIX:
        *kind = NGX_EGRESS_PREFIXES;
        return NGX_EGRESS_PLACE_SLOT;

    case NGX_EGRESS_MATCH_SUFFIX:
        *kind = NGX_EGRESS_SUFFIXES;
        return NGX_EGRESS_PLACE_SLOT;

    case NGX_EGRESS_MATCH_PRESENT:
        return NGX_EGRESS_PLACE_PRESENT;

    case NGX_EGRESS_MATCH_CIDR:
        *kind = NGX_EGRESS_PREFIXES;
        *len = 256 * (*len - 1) + ngx_egress_pattern_text(p)[0];
        return NGX_EGRESS_PLACE_SLOT;

    case NGX_EGRESS_MATCH_TEMPLATE:
    case NGX_EGRESS_MATCH_NAMESPACE:
    case NGX_EGRESS_MATCH_DOMAIN:
        *len = ngx_egress_pattern_head(p);

        if (*len == ngx_egress_pattern_len(p)) {
            return NGX_EGRESS_PLACE_SLOT;
        }

        if (*len == 0
            || ngx_egress_pattern_kind(p) == NGX_EGRESS_MATCH_DOMAIN)
        {
            return NGX_EGRESS_PLACE_ALWAYS;
        }

        *kind = NGX_EGRESS_HEADS;
        return NGX_EGRESS_PLACE_HEAD;

    default: /* NGX_EGRESS_MATCH_EXACT, NGX_EGRESS_MATCH_ACCOUNT */
        return NGX_EGRESS_PLACE_SLOT;
    }
}


/* of as much of a pattern's text */

static uint32_t
ngx_egress_base_hash(u_char *p, size_t len)
{
    if (ngx_egress_pattern_kind(p) == NGX_EGRESS_MATCH_CIDR) {
        return ngx_egress_cidr_hash(ngx_egress_pattern_text(p), len);
    }

    return ngx_egress_hash(ngx_egress_pattern_text(p), len,
                           ngx_egress_seed(ngx_egress_pattern_group(p),
                                           ngx_egress_pattern_kind(p)));
}


static void
ngx_egress_base_insert(ngx_egress_slot_t *slots, uint32_t n, uint32_t hash,
    uint32_t id)
{
    uint32_t  i;

    for (i = ngx_egress_reduce(hash, n);
         slots[i].id;
         i = (i + 1 == n) ? 0 : i + 1)
    {
        /* void */
    }

    slots[i].hash = hash;
    slots[i].id = id;
}


static ngx_int_t
ngx_egress_base_lengths(ngx_egress_base_t *base, uint16_t *seen)
{
    ngx_uint_t             i, len;
    ngx_egress_lengths_t  *in_use;

    for (i = 0; i < NGX_EGRESS_GROUPS * 3; i++) {

        in_use = &base->lengths[i / 3][i % 3];

        for (len = 0; len < NGX_EGRESS_LENGTHS; len++) {
            in_use->n += (seen[i * NGX_EGRESS_LENGTHS + len] != 0);
        }

        if (in_use->n == 0) {
            continue;
        }

        in_use->lengths = ngx_palloc(base->pool,
                                     in_use->n * sizeof(uint16_t));
        in_use->bytes = ngx_palloc(base->pool, in_use->n);

        if (in_use->lengths == NULL || in_use->bytes == NULL) {
            return NGX_ERROR;
        }

        base->size += in_use->n * (sizeof(uint16_t) + 1);
        in_use->n = 0;

        for (len = 0; len < NGX_EGRESS_LENGTHS; len++) {

            if (seen[i * NGX_EGRESS_LENGTHS + len] == 0) {
                continue;
            }

            in_use->bytes[in_use->n] =
                  (u_char) (seen[i * NGX_EGRESS_LENGTHS + len] & 0xff);
            in_use->lengths[in_use->n++] = (uint16_t) len;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_base_cidrs(ngx_egress_base_t *base)
{
    u_char                *p, *last;
    uint64_t               words[2], near, *cidr, *end;
    ngx_uint_t             i, bits;
    ngx_egress_lengths_t  *in_use;

    in_use = &base->lengths[NGX_EGRESS_GROUP_IP][NGX_EGRESS_PREFIXES];

    while (base->cidr_bits < NGX_EGRESS_CIDR_BITS
           && (ngx_uint_t) 2 << base->cidr_bits <= base->ncidrs)
    {
        base->cidr_bits++;
    }

    base->cidrs = ngx_pcalloc(base->pool,
                              sizeof(uint64_t) << base->cidr_bits);
    if (base->cidrs == NULL) {
        return NGX_ERROR;
    }

    base->size += sizeof(uint64_t) << base->cidr_bits;

    last = base->text + base->ntext;

    for (p = base->text; p < last; p = ngx_egress_base_next(p)) {

        if (ngx_egress_pattern_group(p) != NGX_EGRESS_GROUP_IP) {
            continue;
        }

        bits = ngx_egress_pattern_text(p)[0];

        for (i = 0;
             in_use->lengths[i] != 256 * (ngx_egress_pattern_len(p) - 1)
                                   + bits;
             i++)
        {
            /* void */
        }

        near = (uint64_t) 1 << ngx_min(i, NGX_EGRESS_NEAR - 1);

        ngx_egress_cidr_words(ngx_egress_pattern_text(p) + 1,
                              ngx_egress_pattern_len(p) - 1, words);

        /* a short one is at several places */

        cidr = &base->cidrs[ngx_egress_cidr_near(base, words[0])];
        end = cidr + 1;

        if (bits < base->cidr_bits) {
            end = cidr + ((ngx_uint_t) 1 << (base->cidr_bits - bits));
        }

        for ( /* void */ ; cidr < end; cidr++) {
            *cidr |= near;
        }
    }

    return NGX_OK;
}
