
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Nanoseconds per decision and bytes per rule of the index of policies, and
 * of the reference that looks at one rule after the other.
 *
 * usage: authz RULES typical|distinct|paths|ip|cidrs
 *
 * "hot": a thousand different flows in turn, as a gateway sees its callers and
 * their destinations again and again; "cold": 16,384 of them, whose part of
 * the index is more than the processor's own cache holds.
 *
 * A rule is a principal, a host and a port, as converted from Istio.  In
 * "typical" there are rules / 20 principals and rules / 5 hosts; "distinct": as
 * many as rules.  "paths": one host, one principal, a path each.  "ip": a
 * CIDR instead of a principal.  "cidrs": one host, and CIDRs of 21 different
 * lengths, from /12 to /32; longer ones are more.  Each rule has a source, as
 * the converter writes it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>

#include "../../t/unit/naive.h"

#include <time.h>


#define FLOWS  16384
#define HOT    1000


typedef struct {
    ngx_str_t           principal;
    ngx_str_t           host;
    ngx_str_t           path;
    ngx_egress_addr_t   addr;
    in_port_t           port;
} flow_t;


static ngx_pool_t          *temp;
static ngx_egress_policy_t   policy;
static const char          *kind = "";
static ngx_uint_t            principals, hosts;
static uint64_t              state = 88172645463325252;


static double by_index(ngx_egress_base_t *base, ngx_egress_engine_t *engine,
    flow_t *flows, ngx_uint_t n, ngx_uint_t *yes);
static uint64_t next(void);
static void text(ngx_str_t *s, const char *fmt, ngx_uint_t n);
static void principal(ngx_str_t *s, ngx_uint_t n);
static ngx_uint_t one_host(void);
static uint32_t cidr(ngx_uint_t n, ngx_uint_t *bits);
static ngx_egress_match_t *add(ngx_array_t *blocks, ngx_uint_t field,
    ngx_uint_t first);
static ngx_egress_rule_t *make_rule(ngx_uint_t n);
static void make_flow(flow_t *flow, ngx_uint_t rules);
static void get_addr(ngx_egress_ask_t *ask, ngx_uint_t field,
    ngx_egress_addr_t *addr);
static double now(void);


int
main(int argc, char **argv)
{
    double                start, hot, cold, naive;
    flow_t               *flows;
    ngx_uint_t            i, n, rule, yes[2];
    ngx_pool_t           *pool;
    ngx_array_t           rules;
    ngx_egress_ask_t      ask;
    ngx_egress_base_t    *base;
    ngx_egress_rule_t   **p;
    ngx_egress_engine_t  *engine;

    if (argc < 2) {
        fprintf(stderr, "usage: authz RULES typical|distinct|paths|ip|cidrs\n");
        return 2;
    }

    n = strtoul(argv[1], NULL, 10);
    kind = argc > 2 ? argv[2] : "";

    principals = n / 20 + 1;
    hosts = n / 5 + 1;

    if (strcmp(kind, "distinct") == 0) {
        principals = n;
        hosts = n;
    }

    pool = ngx_create_pool(0, NULL);
    temp = ngx_create_pool(0, NULL);

    ngx_array_init(&rules, temp, 16, sizeof(ngx_egress_rule_t *));

    for (i = 0; i < n; i++) {
        p = ngx_array_push(&rules);
        *p = make_rule(i);
    }

    flows = malloc(FLOWS * sizeof(flow_t));

    for (i = 0; i < FLOWS; i++) {
        make_flow(&flows[i], n);
    }

    start = now();

    base = ngx_egress_base_create(pool, temp);
    engine = ngx_egress_engine_create(base, NGX_EGRESS_ALLOW, &rules);

    if (engine == NULL || ngx_egress_base_done(base) != NGX_OK) {
        return 1;
    }

    printf("%8lu rules%s%s: compiled in %.3f s, %.0f bytes a rule", n,
           *kind ? ", " : "", kind, now() - start,
           (double) pool->max / n);

    memset(&ask, 0, sizeof(ngx_egress_ask_t));
    ask.addr = get_addr;
    ask.http = 1;
    text(&ask.method, "GET", 0);

    yes[1] = 0;

    hot = by_index(base, engine, flows, HOT, &yes[0]);
    cold = by_index(base, engine, flows, FLOWS, &yes[0]);

    start = now();

    for (i = 0; i < FLOWS && now() - start < 1.0; i++) {
        ask.principal = flows[i].principal;
        ask.host = flows[i].host;
        ask.path = flows[i].path;
        ask.port = flows[i].port;
        ask.data = &flows[i];

        yes[1] += naive_match(&rules, NGX_EGRESS_ALLOW, &ask, &rule);
    }

    naive = (now() - start) / i * 1e9;

    printf(", %.0f ns hot, %.0f ns cold, %.0f ns one by one (%lu%% allowed)\n",
           hot, cold, naive, 100 * yes[0] / FLOWS);

    return i == FLOWS && yes[0] != yes[1];
}


/* the best of its rounds: the others had to share the cache */

static double
by_index(ngx_egress_base_t *base, ngx_egress_engine_t *engine, flow_t *flows,
    ngx_uint_t n, ngx_uint_t *yes)
{
    double                start, end, spent, best;
    ngx_uint_t            i, k, rule;
    ngx_egress_ask_t      ask;
    ngx_egress_lookup_t   lookup;

    memset(&ask, 0, sizeof(ngx_egress_ask_t));
    ask.addr = get_addr;
    ask.http = 1;
    text(&ask.method, "GET", 0);

    best = 1e9;
    end = now() + 1.5;

    do {
        *yes = 0;
        start = now();

        for (i = 0, k = 0; k < FLOWS; i = (i + 1 == n) ? 0 : i + 1, k++) {

            ask.principal = flows[i].principal;
            ask.trust_domain = flows[i].principal;
            ask.trust_domain.len = 13;
            ask.host = flows[i].host;
            ask.path = flows[i].path;
            ask.port = flows[i].port;
            ask.known = 0;
            ask.data = &flows[i];

            ngx_egress_base_lookup(base, &ask, &lookup);

            *yes += ngx_egress_engine_match(engine, &lookup, &rule);
        }

        spent = (now() - start) / FLOWS * 1e9;
        best = spent < best ? spent : best;

    } while (now() < end);

    return best;
}


static uint64_t
next(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;

    return state >> 16;
}


static void
text(ngx_str_t *s, const char *fmt, ngx_uint_t n)
{
    char  buf[256];

    s->len = sprintf(buf, fmt, n);
    s->data = ngx_palloc(temp, s->len + 1);
    memcpy(s->data, buf, s->len + 1);
}


static void
principal(ngx_str_t *s, ngx_uint_t n)
{
    char  buf[256];

    s->len = sprintf(buf, "cluster.local/ns/team-%lu/sa/service-%lu",
                     n % 500, n);
    s->data = ngx_palloc(temp, s->len + 1);
    memcpy(s->data, buf, s->len + 1);
}


static ngx_uint_t
one_host(void)
{
    return strcmp(kind, "paths") == 0 || strcmp(kind, "cidrs") == 0;
}


static uint32_t
cidr(ngx_uint_t n, ngx_uint_t *bits)
{
    uint32_t  ip;

    static const uint8_t  mixed[] = {
        32, 32, 32, 32, 28, 28, 24, 24, 24, 0
    };

    if (strcmp(kind, "ip") == 0) {
        *bits = 28;
        return 0x0a000000 + n * 16;
    }

    *bits = mixed[n % 10] ? mixed[n % 10] : 12 + n / 10 % 20;

    ip = (uint32_t) n * 0x9e3779b1;

    return ip & (0xffffffff << (32 - *bits));
}


static ngx_egress_match_t *
add(ngx_array_t *blocks, ngx_uint_t field, ngx_uint_t first)
{
    ngx_egress_cond_t   *cond;
    ngx_egress_block_t  *block;
    ngx_egress_match_t  *m;

    if (first) {
        ngx_array_init(blocks, temp, 1, sizeof(ngx_egress_block_t));
        block = ngx_array_push(blocks);
        ngx_array_init(&block->conds, temp, 2, sizeof(ngx_egress_cond_t));
    }

    block = blocks->elts;

    cond = ngx_array_push(&block->conds);
    memset(cond, 0, sizeof(ngx_egress_cond_t));
    cond->field = field;

    ngx_array_init(&cond->values, temp, 1, sizeof(ngx_egress_match_t));
    m = ngx_array_push(&cond->values);
    memset(m, 0, sizeof(ngx_egress_match_t));

    return m;
}


static ngx_egress_rule_t *
make_rule(ngx_uint_t n)
{
    uint32_t             ip;
    ngx_str_t            s;
    ngx_uint_t           bits;
    ngx_egress_rule_t   *rule;
    ngx_egress_match_t  *m;

    rule = ngx_pcalloc(temp, sizeof(ngx_egress_rule_t));
    rule->policy = &policy;
    rule->index = n;
    text(&rule->source, "manifests/policies.yaml:%lu", 10 + 8 * n);

    if (strcmp(kind, "ip") == 0 || strcmp(kind, "cidrs") == 0) {
        m = add(&rule->from, NGX_EGRESS_SOURCE_IP, 1);
        ip = htonl(cidr(n, &bits));

        m->kind = NGX_EGRESS_MATCH_CIDR;
        m->value.len = 5;
        m->value.data = ngx_palloc(temp, 5);
        m->value.data[0] = bits;
        memcpy(m->value.data + 1, &ip, 4);

    } else {
        m = add(&rule->from, NGX_EGRESS_PRINCIPAL, 1);
        principal(&s, strcmp(kind, "paths") == 0 ? 0 : n % principals);
        (void) ngx_egress_match_principal(m, &s);
    }

    m = add(&rule->to, NGX_EGRESS_HOST, 1);
    text(&s, n % 10 == 9 ? "*.domain-%lu.example.com"
                         : "host-%lu.example.com",
         one_host() ? 0 : n % hosts);
    (void) ngx_egress_match_host(m, &s);

    m = add(&rule->to, NGX_EGRESS_PORT, 0);
    m->kind = NGX_EGRESS_MATCH_PORT;
    m->port = 443;

    if (strcmp(kind, "paths") == 0) {
        m = add(&rule->to, NGX_EGRESS_PATH, 0);
        text(&s, n % 2 ? "/api/v1/thing-%lu" : "/api/v2/thing-%lu/*", n);
        (void) ngx_egress_match_path(m, &s);
    }

    return rule;
}


/* nine of ten ask for what a rule is about */

static void
make_flow(flow_t *flow, ngx_uint_t rules)
{
    uint32_t    ip;
    ngx_uint_t  n, bits;

    n = next() % rules;

    memset(flow, 0, sizeof(flow_t));

    principal(&flow->principal,
              strcmp(kind, "paths") == 0 ? 0 : n % principals);
    text(&flow->host, n % 10 == 9 ? "a.domain-%lu.example.com"
                                  : "host-%lu.example.com",
         one_host() ? 0 : n % hosts);
    text(&flow->path, n % 2 ? "/api/v1/thing-%lu" : "/api/v2/thing-%lu/a", n);

    ip = htonl(cidr(n, &bits));
    flow->addr.len = 4;
    memcpy(flow->addr.bytes, &ip, 4);

    flow->port = 443;

    switch (next() % 30) {

    case 0:
        flow->port = 80;
        break;

    case 1:
        text(&flow->host, "unknown-%lu.example.org", n);
        break;

    case 2:
        principal(&flow->principal, rules + n);
        flow->addr.bytes[0] = 11;
        break;
    }
}


static void
get_addr(ngx_egress_ask_t *ask, ngx_uint_t field, ngx_egress_addr_t *addr)
{
    (void) field;

    *addr = ((flow_t *) ask->data)->addr;
}


static double
now(void)
{
    struct timespec  ts;

    /* not the time of others on this machine */

    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);

    return ts.tv_sec + ts.tv_nsec / 1e9;
}
