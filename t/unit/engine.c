
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * The index of policies against the reference in naive.c: random policies,
 * random flows.  usage: engine [decisions [seed]]; prints TAP.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>

#include "naive.h"


#define FLOWS  200


typedef struct {
    ngx_str_t           header[2];
    ngx_int_t           rc[2];
    ngx_egress_addr_t   addrs[NGX_EGRESS_ADDRESSES];
} flow_t;


static uint64_t           state;
static ngx_pool_t        *temp;
static ngx_egress_policy_t  policy;

static uint64_t           decisions;
static uint64_t           results[4];
static uint64_t           linear;
static ngx_uint_t         failed;


static ngx_uint_t pick(ngx_uint_t n);
static void text(ngx_str_t *s, const char *value);
static void pattern(ngx_str_t *s, const char *value);
static void random_rules(ngx_array_t *rules);
static ngx_egress_rule_t *random_rule(ngx_uint_t index, ngx_uint_t large);
static ngx_egress_rule_t *random_source(ngx_uint_t index);
static void random_block(ngx_array_t *conds, ngx_uint_t first, ngx_uint_t last,
    ngx_uint_t large);
static void random_match(ngx_uint_t field, ngx_egress_match_t *m);
static void random_cidr(ngx_egress_match_t *m);
static void random_ask(ngx_egress_ask_t *ask, flow_t *flow);
static void random_addr(ngx_egress_addr_t *addr);
static ngx_int_t get_header(ngx_egress_ask_t *ask, ngx_str_t *name,
    ngx_egress_header_t *header);
static void get_addr(ngx_egress_ask_t *ask, ngx_uint_t field,
    ngx_egress_addr_t *addr);
static void round_of(ngx_uint_t action);
static void compare(ngx_egress_base_t *base, ngx_egress_engine_t *engine,
    ngx_array_t *rules, ngx_uint_t action);


static const char  *principals[] = {
    "td/ns/a/sa/x", "td/ns/a/sa/y", "td/ns/b/sa/x", "td/ns/ab/sa/xy",
    "td2/ns/a/sa/x", "foo.td/ns/b/sa/y", "td/x/y", "td/sa/x/ns/a/z",
    "td/ns/a/ns/b/sa/x/sa/y", "td/ns/ns/sa/sa", "td/ns/a", "td/ns/a/sa",
    "td/ns/a/z/ns/b/z/ns/ab/sa/x/sa/xy/sa/y/sa/x/sa/y/sa/z"
};

static const char  *hosts[] = {
    "a.com", "b.com", "x.a.com", "x.y.a.com", "a.com:80", "b.com:8080",
    "xa.com", "[::1]"
};

static const char  *paths[] = {
    "/", "/a", "/a/", "/a/b", "/a/b/c", "/a//b", "/b/a", "/api/v1/users",
    "/api/v1/users/7", "/api/v2/users", "/a=b", "/a/b=c", "*"
};

static const char  *templates[] = {
    "/{*}", "/{**}", "/a/{*}", "/a/{**}", "/{*}/b", "/a/{*}/c",
    "/api/{*}/users", "/api/{*}/users/{**}", "/{**}/users", "/a/{**}/c"
};

static const char  *methods[] = { "GET", "POST", "PUT", "PATCH" };

static const char  *values[] = {
    "admin", "user", "user,admin", "user, admin", "adm", "", "x"
};

static const char  *namespaces[] = { "a", "b", "ab", "ns", "a*", "*b", "*",
    "a*b", "x" };

static const char  *accounts[] = { "a/x", "a/y", "b/x", "ab/xy", "ns/sa",
    "b/y", "a/z" };

static const char  *domains[] = {
    "td", "td2", "foo.td", "t*", "*td", "*", "x"
};

#define one_of(list)  list[pick(sizeof(list) / sizeof(list[0]))]


int
main(int argc, char **argv)
{
    uint64_t    n;
    ngx_uint_t  i;

    n = argc > 1 ? strtoull(argv[1], NULL, 10) : 1000000;
    state = argc > 2 ? strtoull(argv[2], NULL, 10) : 88172645463325252;

    while (decisions < n && !failed) {
        round_of(pick(NGX_EGRESS_ACTIONS));
    }

    printf("%sok 1 - %llu decisions agree\n", failed ? "not " : "",
           (unsigned long long) decisions);

    /* a test that only ever meets one answer is none */

    for (i = 0; i < 4; i++) {
        printf("# result %lu: %llu\n", (unsigned long) i,
               (unsigned long long) results[i]);
    }

    printf("# linear: %llu\n", (unsigned long long) linear);

    printf("%sok 2 - all answers\n",
           results[0] * 50 > n && results[1] * 50 > n && results[2] * 50 > n
           && results[3] * 1000 > n && linear ? "" : "not ");

    printf("1..2\n");

    return failed != 0;
}


static ngx_uint_t
pick(ngx_uint_t n)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;

    return (ngx_uint_t) ((state >> 16) % n);
}


static void
text(ngx_str_t *s, const char *value)
{
    s->len = strlen(value);
    s->data = ngx_palloc(temp, s->len + 1);
    memcpy(s->data, value, s->len + 1);
}


/* exact, or what a "*" leaves of it */

static void
pattern(ngx_str_t *s, const char *value)
{
    char    buf[256];
    size_t  len, n;

    len = strlen(value);
    n = len ? pick(len + 1) : 0;

    switch (pick(6)) {

    case 0:
        snprintf(buf, sizeof(buf), "%.*s*", (int) n, value);
        break;

    case 1:
        snprintf(buf, sizeof(buf), "*%s", value + n);
        break;

    case 2:
        if (pick(3) == 0) {
            snprintf(buf, sizeof(buf), "*");
            break;
        }

        /* fall through */

    default:
        snprintf(buf, sizeof(buf), "%s", value);
    }

    text(s, buf);
}


static void
random_rules(ngx_array_t *rules)
{
    ngx_uint_t           i, n, large;
    ngx_egress_rule_t  **rule;

    large = (pick(20) == 0);
    n = pick(4) == 0 ? pick(60) : pick(6);

    if (large) {
        n = 1 + pick(4);
    }

    ngx_array_init(rules, temp, 4, sizeof(ngx_egress_rule_t *));

    for (i = 0; i < n; i++) {
        rule = ngx_array_push(rules);
        *rule = random_rule(i, large);
    }

    /* more lengths of CIDRs than a word has bits */

    if (pick(40) == 0) {

        for ( /* void */ ; i < n + 200; i++) {
            rule = ngx_array_push(rules);
            *rule = random_source(i);
        }
    }
}


static ngx_egress_rule_t *
random_source(ngx_uint_t index)
{
    ngx_egress_rule_t   *rule;
    ngx_egress_cond_t   *cond;
    ngx_egress_block_t  *block;
    ngx_egress_match_t  *match;

    rule = ngx_pcalloc(temp, sizeof(ngx_egress_rule_t));
    rule->policy = &policy;
    rule->index = index;

    ngx_array_init(&rule->from, temp, 1, sizeof(ngx_egress_block_t));
    block = ngx_array_push(&rule->from);

    ngx_array_init(&block->conds, temp, 1, sizeof(ngx_egress_cond_t));
    cond = ngx_array_push(&block->conds);
    memset(cond, 0, sizeof(ngx_egress_cond_t));
    cond->field = NGX_EGRESS_SOURCE_IP;

    ngx_array_init(&cond->values, temp, 1, sizeof(ngx_egress_match_t));
    match = ngx_array_push(&cond->values);
    memset(match, 0, sizeof(ngx_egress_match_t));
    random_cidr(match);

    /* short ones would leave nothing to the others */

    if (match->value.data[0] < 20) {
        cond->negative = (index % 8 == 0);
        random_cidr(match);
    }

    return rule;
}


static ngx_egress_rule_t *
random_rule(ngx_uint_t index, ngx_uint_t large)
{
    ngx_uint_t           i, n;
    ngx_egress_rule_t   *rule;
    ngx_egress_block_t  *block;

    rule = ngx_pcalloc(temp, sizeof(ngx_egress_rule_t));
    rule->policy = &policy;
    rule->index = index;

    ngx_array_init(&rule->from, temp, 1, sizeof(ngx_egress_block_t));
    ngx_array_init(&rule->to, temp, 1, sizeof(ngx_egress_block_t));

    n = pick(4) == 0 ? pick(3) : 1;

    for (i = 0; i < n; i++) {
        block = ngx_array_push(&rule->from);
        random_block(&block->conds, NGX_EGRESS_PRINCIPAL,
                     NGX_EGRESS_REMOTE_IP, large);
    }

    n = pick(4) == 0 ? pick(3) : 1;

    for (i = 0; i < n; i++) {
        block = ngx_array_push(&rule->to);
        random_block(&block->conds, NGX_EGRESS_HOST, NGX_EGRESS_PATH, large);
    }

    if (pick(4) == 0) {
        random_block(&rule->when.conds, NGX_EGRESS_PRINCIPAL,
                     NGX_EGRESS_HEADER, 0);
    } else {
        ngx_array_init(&rule->when.conds, temp, 1, sizeof(ngx_egress_cond_t));
    }

    return rule;
}


static void
random_block(ngx_array_t *conds, ngx_uint_t first, ngx_uint_t last,
    ngx_uint_t large)
{
    ngx_uint_t           i, k, n, m;
    ngx_egress_cond_t   *cond;
    ngx_egress_match_t  *match;

    ngx_array_init(conds, temp, 2, sizeof(ngx_egress_cond_t));

    n = 1 + pick(2);

    for (i = 0; i < n; i++) {

        cond = ngx_array_push(conds);

        cond->field = first + pick(last - first + 1);

        /* most rules are about a principal and a host */

        if (pick(2) && first <= NGX_EGRESS_PRINCIPAL) {
            cond->field = NGX_EGRESS_PRINCIPAL;
        }

        if (pick(2) && first <= NGX_EGRESS_HOST && last >= NGX_EGRESS_HOST) {
            cond->field = NGX_EGRESS_HOST;
        }

        cond->negative = (pick(4) == 0);

        text(&cond->name, pick(2) ? "x-a" : "x-b");

        m = 1 + (pick(3) == 0 ? pick(4) : 0);

        if (large) {
            m = 1 + pick(40);
        }

        ngx_array_init(&cond->values, temp, m, sizeof(ngx_egress_match_t));

        for (k = 0; k < m; k++) {
            match = ngx_array_push(&cond->values);
            memset(match, 0, sizeof(ngx_egress_match_t));
            random_match(cond->field, match);
        }
    }
}


static void
random_match(ngx_uint_t field, ngx_egress_match_t *m)
{
    ngx_str_t    s;
    const char  *err;

    static const ngx_uint_t  ports[] = { 80, 443, 8080, 5432 };

    do {
        err = NULL;

        switch (field) {

        case NGX_EGRESS_PRINCIPAL:
            pattern(&s, one_of(principals));
            err = ngx_egress_match_principal(m, &s);
            break;

        case NGX_EGRESS_NAMESPACE:
            text(&s, one_of(namespaces));
            err = ngx_egress_match_namespace(m, &s);
            break;

        case NGX_EGRESS_SERVICE_ACCOUNT:
            text(&s, one_of(accounts));
            err = ngx_egress_match_account(m, &s);
            break;

        case NGX_EGRESS_TRUST_DOMAIN:
            text(&s, one_of(domains));
            err = ngx_egress_match_domain(m, &s);
            break;

        case NGX_EGRESS_SOURCE_IP:
        case NGX_EGRESS_REMOTE_IP:
        case NGX_EGRESS_DESTINATION_IP:
            random_cidr(m);
            break;

        case NGX_EGRESS_HOST:
            pattern(&s, one_of(hosts));
            err = ngx_egress_match_host(m, &s);
            break;

        case NGX_EGRESS_PORT:
            m->kind = NGX_EGRESS_MATCH_PORT;
            m->port = one_of(ports);
            break;

        case NGX_EGRESS_SNI:
            pattern(&s, one_of(hosts));
            err = ngx_egress_match_text(m, &s);
            break;

        case NGX_EGRESS_METHOD:
            pattern(&s, one_of(methods));
            err = ngx_egress_match_text(m, &s);
            break;

        case NGX_EGRESS_PATH:

            if (pick(3)) {
                pattern(&s, one_of(paths));

            } else {
                text(&s, one_of(templates));
            }

            err = ngx_egress_match_path(m, &s);
            break;

        case NGX_EGRESS_HEADER:
            pattern(&s, one_of(values));
            err = ngx_egress_match_text(m, &s);
            break;
        }

    } while (err);
}


static void
random_cidr(ngx_egress_match_t *m)
{
    u_char             *p;
    ngx_uint_t          i, bits;
    ngx_egress_addr_t   addr;

    do {
        random_addr(&addr);
    } while (addr.len == 0);

    bits = pick(addr.len * 8 + 1);

    p = ngx_palloc(temp, 17);
    p[0] = (u_char) bits;
    memcpy(p + 1, addr.bytes, addr.len);

    for (i = bits; i < (ngx_uint_t) addr.len * 8; i++) {
        p[1 + i / 8] &= (u_char) ~(0x80 >> (i % 8));
    }

    m->kind = NGX_EGRESS_MATCH_CIDR;
    m->value.data = p;
    m->value.len = addr.len + 1;
}


static void
random_ask(ngx_egress_ask_t *ask, flow_t *flow)
{
    u_char      *p;
    ngx_uint_t   i;

    static const in_port_t  ports[] = { 80, 443, 8080, 5432, 1 };

    memset(ask, 0, sizeof(ngx_egress_ask_t));
    memset(flow, 0, sizeof(flow_t));

    ask->http = (pick(3) != 0);
    ask->addr = get_addr;
    ask->header = get_header;
    ask->data = flow;

    if (pick(5)) {
        text(&ask->principal, one_of(principals));

        p = (u_char *) strchr((char *) ask->principal.data, '/');
        ask->trust_domain.data = ask->principal.data;
        ask->trust_domain.len = p - ask->principal.data;
    }

    if (pick(10)) {
        text(&ask->host, one_of(hosts));
    }

    ask->port = one_of(ports);

    if (pick(2)) {
        text(&ask->sni, one_of(hosts));
    }

    if (ask->http) {
        text(&ask->method, one_of(methods));
        text(&ask->path, one_of(paths));
    }

    for (i = 0; i < NGX_EGRESS_ADDRESSES; i++) {
        random_addr(&flow->addrs[i]);
    }

    for (i = 0; i < 2; i++) {
        text(&flow->header[i], one_of(values));
        flow->rc[i] = pick(3) ? NGX_OK : pick(4) ? NGX_DECLINED : NGX_ERROR;
    }
}


static void
random_addr(ngx_egress_addr_t *addr)
{
    ngx_uint_t  i, kind;

    memset(addr, 0, sizeof(ngx_egress_addr_t));

    kind = pick(20);

    if (kind == 0) {
        return;
    }

    addr->len = (kind < 6) ? 16 : 4;

    /* the same but for a bit, to have long CIDRs that match */

    if (pick(2)) {
        memset(addr->bytes, 10, addr->len);
        i = pick(addr->len * 8);
        addr->bytes[i / 8] ^= 0x80 >> (i % 8);
        return;
    }

    for (i = 0; i < addr->len; i++) {
        addr->bytes[i] = pick(2) ? 10 : pick(3);
    }
}


static ngx_int_t
get_header(ngx_egress_ask_t *ask, ngx_str_t *name,
    ngx_egress_header_t *header)
{
    flow_t      *flow;
    ngx_uint_t   n;

    flow = ask->data;
    n = (name->data[2] == 'b');

    header->n = 1;
    header->joined = flow->header[n];

    return flow->rc[n];
}


static void
get_addr(ngx_egress_ask_t *ask, ngx_uint_t field, ngx_egress_addr_t *addr)
{
    flow_t  *flow;

    flow = ask->data;

    *addr = flow->addrs[field - NGX_EGRESS_SOURCE_IP];
}


static void
round_of(ngx_uint_t action)
{
    ngx_pool_t           *pool;
    ngx_array_t           rules;
    ngx_egress_base_t    *base;
    ngx_egress_engine_t  *engine;

    pool = ngx_create_pool(4096, NULL);
    temp = ngx_create_pool(4096, NULL);

    random_rules(&rules);

    base = ngx_egress_base_create(pool, temp);
    engine = ngx_egress_engine_create(base, action, &rules);

    if (engine == NULL || ngx_egress_base_done(base) != NGX_OK) {
        printf("# not compiled\n");
        failed = 1;

    } else {
        compare(base, engine, &rules, action);
    }

    ngx_destroy_pool(temp);
    ngx_destroy_pool(pool);
}


static void
compare(ngx_egress_base_t *base, ngx_egress_engine_t *engine,
    ngx_array_t *rules, ngx_uint_t action)
{
    flow_t                flow;
    ngx_uint_t            i, one, two, rule[2];
    ngx_egress_ask_t      ask;
    ngx_egress_lookup_t   lookup;

    for (i = 0; i < FLOWS; i++) {

        random_ask(&ask, &flow);

        ngx_egress_base_lookup(base, &ask, &lookup);
        linear += lookup.linear;

        one = ngx_egress_engine_match(engine, &lookup, &rule[0]);
        two = naive_match(rules, action, &ask, &rule[1]);

        decisions++;
        results[two]++;

        if (one == two
            && (one == NGX_EGRESS_NO || rule[0] == rule[1]
                || (action == NGX_EGRESS_ALLOW && one != NGX_EGRESS_YES)))
        {
            continue;
        }

        printf("# action %lu, %lu rules: index %lu (rule %lu), "
               "naive %lu (rule %lu), linear %lu\n"
               "# http %lu principal \"%.*s\" host \"%.*s\" port %u "
               "method \"%.*s\" path \"%.*s\" sni \"%.*s\"\n",
               action, rules->nelts, one, rule[0], two, rule[1],
               lookup.linear, ask.http, (int) ask.principal.len,
               ask.principal.data, (int) ask.host.len, ask.host.data,
               ask.port, (int) ask.method.len, ask.method.data,
               (int) ask.path.len, ask.path.data, (int) ask.sni.len,
               ask.sni.data);

        failed = 1;
        return;
    }
}
