
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Unit tests of the guard on addresses; prints TAP.  Linked with
 * ngx_egress_guard.c; below is what it needs of nginx, and a machine with
 * interfaces of its own.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ifaddrs.h>
#include <net/if.h>


#define PASS     NGX_OK
#define DENY     NGX_DECLINED

#define RANGES   256


typedef struct {
    const char  *address;
    ngx_int_t    external;
    ngx_int_t    internal;
} row_t;


/* a radix tree's stand-in: the longest of all prefixes that match */

typedef struct {
    u_char       key[16];
    u_char       mask[16];
    uintptr_t    value;
} range_t;

typedef struct {
    size_t       n;
    range_t      ranges[RANGES];
} tree_t;


static ngx_uint_t  tests;
static ngx_uint_t  failed;

static ngx_pool_t           *pool = (ngx_pool_t *) &tests;
static ngx_log_t             logger;
static ngx_cycle_t           cycle;
static ngx_egress_conf_t     conf;
static ngx_egress_service_t  service;
static ngx_egress_service_conf_t  service_conf;
static ngx_uint_t            updates;      /* calls of getifaddrs() */
static ngx_uint_t            broken;       /* getifaddrs() fails */
static const char           *second;       /* address of an interface */

volatile ngx_cycle_t  *ngx_cycle = &cycle;
volatile ngx_msec_t    ngx_current_msec;


static ngx_uint_t within(u_char *key, range_t *r);
static range_t *exact(tree_t *tree, u_char *key, u_char *mask);
static void widen(u_char *wide, uint32_t word);
static void ok(ngx_uint_t passed, const char *name, const char *address);
static ngx_int_t check(const char *address, in_port_t port);
static void table(const char *name, row_t *rows);
static void expect(ngx_int_t rc, const char *address, in_port_t port,
    const char *name);
static void configure(const char *allow, const char *deny,
    ngx_uint_t special);
static ngx_array_t *cidrs(const char *text);
static void exempt(const char *text);
static void listens(const char *address, in_port_t port, int type,
    ngx_uint_t only);
static socklen_t parse(const char *address, in_port_t port,
    ngx_sockaddr_t *sa);
static void test_ranges(void);
static void test_embedded(void);
static void test_ties(void);
static void test_services(void);
static void test_listeners(void);
static void test_interfaces(void);


int
main(void)
{
    cycle.log = &logger;
    cycle.pool = pool;

    test_ranges();
    test_embedded();
    test_ties();
    test_services();
    test_listeners();
    test_interfaces();

    printf("1..%lu\n", (unsigned long) tests);

    return failed != 0;
}


/* of nginx's own; what is allocated is never freed */

void *
ngx_palloc(ngx_pool_t *p, size_t size)
{
    return calloc(1, size);
}


void *
ngx_pcalloc(ngx_pool_t *p, size_t size)
{
    return calloc(1, size);
}


ngx_pool_t *
ngx_create_pool(size_t size, ngx_log_t *log)
{
    return pool;
}


void
ngx_destroy_pool(ngx_pool_t *p)
{
}


void *
ngx_array_push(ngx_array_t *a)
{
    void  *elts;

    if (a->nelts == a->nalloc) {
        elts = calloc(2 * a->nalloc, a->size);
        memcpy(elts, a->elts, a->nelts * a->size);
        a->elts = elts;
        a->nalloc *= 2;
    }

    return (char *) a->elts + a->size * a->nelts++;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


in_port_t
ngx_inet_get_port(struct sockaddr *sa)
{
    return sa->sa_family == AF_INET6
           ? ntohs(((struct sockaddr_in6 *) sa)->sin6_port)
           : ntohs(((struct sockaddr_in *) sa)->sin_port);
}


void
ngx_inet_set_port(struct sockaddr *sa, in_port_t port)
{
    if (sa->sa_family == AF_INET6) {
        ((struct sockaddr_in6 *) sa)->sin6_port = htons(port);

    } else {
        ((struct sockaddr_in *) sa)->sin_port = htons(port);
    }
}


ngx_int_t
ngx_ptocidr(ngx_str_t *text, ngx_cidr_t *cidr)
{
    int     bits, i, n;
    char    copy[64], *slash;
    u_char *mask;

    ngx_memzero(cidr, sizeof(ngx_cidr_t));
    snprintf(copy, sizeof(copy), "%.*s", (int) text->len, text->data);

    slash = strchr(copy, '/');
    if (slash) {
        *slash = '\0';
    }

    cidr->family = strchr(copy, ':') ? AF_INET6 : AF_INET;
    n = (cidr->family == AF_INET6) ? 128 : 32;
    bits = slash ? atoi(slash + 1) : n;
    mask = (n == 128) ? cidr->u.in6.mask.s6_addr
                      : (u_char *) &cidr->u.in.mask;

    for (i = 0; i < bits; i++) {
        mask[i / 8] |= 0x80 >> i % 8;
    }

    return inet_pton(cidr->family, copy,
                     n == 128 ? (void *) &cidr->u.in6.addr
                              : (void *) &cidr->u.in.addr)
           == 1 ? NGX_OK : NGX_ERROR;
}


ngx_radix_tree_t *
ngx_radix_tree_create(ngx_pool_t *p, ngx_int_t preallocate)
{
    return calloc(1, sizeof(tree_t));
}


static ngx_uint_t
within(u_char *key, range_t *r)
{
    size_t  i;

    for (i = 0; i < 16; i++) {
        if ((key[i] & r->mask[i]) != (r->key[i] & r->mask[i])) {
            return 0;
        }
    }

    return 1;
}


static range_t *
exact(tree_t *tree, u_char *key, u_char *mask)
{
    size_t  i;

    for (i = 0; i < tree->n; i++) {
        if (memcmp(tree->ranges[i].mask, mask, 16) == 0
            && within(key, &tree->ranges[i]))
        {
            return &tree->ranges[i];
        }
    }

    return NULL;
}


ngx_int_t
ngx_radix128tree_insert(ngx_radix_tree_t *t, u_char *key, u_char *mask,
    uintptr_t value)
{
    tree_t   *tree = (tree_t *) t;
    range_t  *r;

    if (exact(tree, key, mask)) {
        return NGX_BUSY;
    }

    if (tree->n == RANGES) {
        return NGX_ERROR;
    }

    r = &tree->ranges[tree->n++];

    memcpy(r->key, key, 16);
    memcpy(r->mask, mask, 16);
    r->value = value;

    return NGX_OK;
}


ngx_int_t
ngx_radix128tree_delete(ngx_radix_tree_t *t, u_char *key, u_char *mask)
{
    tree_t   *tree = (tree_t *) t;
    range_t  *r;

    r = exact(tree, key, mask);

    if (r == NULL) {
        return NGX_ERROR;
    }

    *r = tree->ranges[--tree->n];

    return NGX_OK;
}


uintptr_t
ngx_radix128tree_find(ngx_radix_tree_t *t, u_char *key)
{
    tree_t   *tree = (tree_t *) t;
    size_t    i;
    range_t  *r, *best;

    best = NULL;

    for (i = 0; i < tree->n; i++) {
        r = &tree->ranges[i];

        if (within(key, r)
            && (best == NULL || memcmp(r->mask, best->mask, 16) > 0))
        {
            best = r;
        }
    }

    return best ? best->value : NGX_RADIX_NO_VALUE;
}


static void
widen(u_char *wide, uint32_t word)
{
    memset(wide, 0, 16);
    word = htonl(word);
    memcpy(wide, &word, 4);
}


ngx_int_t
ngx_radix32tree_insert(ngx_radix_tree_t *t, uint32_t key, uint32_t mask,
    uintptr_t value)
{
    u_char  k[16], m[16];

    widen(k, key);
    widen(m, mask);

    return ngx_radix128tree_insert(t, k, m, value);
}


ngx_int_t
ngx_radix32tree_delete(ngx_radix_tree_t *t, uint32_t key, uint32_t mask)
{
    u_char  k[16], m[16];

    widen(k, key);
    widen(m, mask);

    return ngx_radix128tree_delete(t, k, m);
}


uintptr_t
ngx_radix32tree_find(ngx_radix_tree_t *t, uint32_t key)
{
    u_char  k[16];

    widen(k, key);

    return ngx_radix128tree_find(t, k);
}


/* this machine: loopback with a network of its own, one or two addresses */

int
getifaddrs(struct ifaddrs **list)
{
    size_t                 i;
    static ngx_sockaddr_t  address[5], mask[5];
    static struct ifaddrs  ifa[5];

    static const char  *text[] = { "127.0.0.1", "10.9.0.1", "93.184.216.1",
                                   "2a00::1" };

    updates++;

    if (broken) {
        errno = EMFILE;
        return -1;
    }

    ngx_memzero(ifa, sizeof(ifa));

    for (i = 0; i < (second ? 5 : 4); i++) {
        parse(i == 4 ? second : text[i], 0, &address[i]);
        parse(i == 0 ? "255.0.0.0" : "255.255.0.0", 0, &mask[i]);

        ifa[i].ifa_addr = &address[i].sockaddr;
        ifa[i].ifa_netmask = &mask[i].sockaddr;
        ifa[i].ifa_flags = (i < 2) ? IFF_LOOPBACK : 0;
        ifa[i].ifa_next = (i + 1 < (second ? 5 : 4)) ? &ifa[i + 1] : NULL;
    }

    *list = ifa;

    return 0;
}


void
freeifaddrs(struct ifaddrs *list)
{
}


static void
ok(ngx_uint_t passed, const char *name, const char *address)
{
    tests++;

    if (!passed) {
        failed++;
    }

    printf("%sok %lu - %s, %s\n", passed ? "" : "not ",
           (unsigned long) tests, name, address);
}


static socklen_t
parse(const char *address, in_port_t port, ngx_sockaddr_t *sa)
{
    ngx_memzero(sa, sizeof(ngx_sockaddr_t));

    if (strchr(address, ':')) {
        sa->sockaddr_in6.sin6_family = AF_INET6;
        sa->sockaddr_in6.sin6_port = htons(port);

        if (inet_pton(AF_INET6, address, &sa->sockaddr_in6.sin6_addr) != 1) {
            abort();
        }

        return sizeof(struct sockaddr_in6);
    }

    sa->sockaddr_in.sin_family = AF_INET;
    sa->sockaddr_in.sin_port = htons(port);

    if (inet_pton(AF_INET, address, &sa->sockaddr_in.sin_addr) != 1) {
        abort();
    }

    return sizeof(struct sockaddr_in);
}


static ngx_int_t
check(const char *address, in_port_t port)
{
    ngx_sockaddr_t  sa;

    parse(address, port, &sa);

    return ngx_egress_guard_check(&conf, &service, &sa.sockaddr);
}


static void
table(const char *name, row_t *rows)
{
    for ( /* void */ ; rows->address; rows++) {
        service.conf->location = NGX_EGRESS_EXTERNAL;
        ok(check(rows->address, 0) == rows->external, name, rows->address);

        service.conf->location = NGX_EGRESS_INTERNAL;
        ok(check(rows->address, 0) == rows->internal, "internal",
           rows->address);
    }

    service.conf->location = NGX_EGRESS_EXTERNAL;
}


static void
expect(ngx_int_t rc, const char *address, in_port_t port, const char *name)
{
    ok(check(address, port) == rc, name, address);
}


static ngx_array_t *
cidrs(const char *text)
{
    char         *copy, *p;
    ngx_str_t     s;
    ngx_array_t  *list;

    list = calloc(1, sizeof(ngx_array_t));
    ngx_array_init(list, pool, 4, sizeof(ngx_cidr_t));

    copy = strdup(text);

    for (p = strtok(copy, " "); p; p = strtok(NULL, " ")) {
        s.data = (u_char *) p;
        s.len = strlen(p);

        if (ngx_ptocidr(&s, ngx_array_push(list)) != NGX_OK) {
            abort();
        }
    }

    return list;
}


/* a new configuration, with a service that has no settings */

static void
configure(const char *allow, const char *deny, ngx_uint_t special)
{
    ngx_memzero(&conf, sizeof(ngx_egress_conf_t));
    ngx_memzero(&service, sizeof(ngx_egress_service_t));
    ngx_memzero(&service_conf, sizeof(ngx_egress_service_conf_t));

    service.conf = &service_conf;

    conf.allow = allow ? cidrs(allow) : NULL;
    conf.deny = deny ? cidrs(deny) : NULL;
    conf.deny_special = special;

    service.conf->guard = 1;
    service.conf->location = NGX_EGRESS_EXTERNAL;

    if (ngx_egress_guard_init(&cycle, &conf) != NGX_OK) {
        abort();
    }
}


static void
exempt(const char *text)
{
    ngx_uint_t    i;
    ngx_cidr_t   *cidr;
    ngx_array_t  *list;

    list = cidrs(text);
    cidr = list->elts;

    for (i = 0; i < list->nelts; i++) {
        ngx_egress_guard_exempt(pool, &service.conf->exempt, &cidr[i]);
    }
}


static void
listens(const char *address, in_port_t port, int type, ngx_uint_t only)
{
    ngx_listening_t  *ls;

    if (address == NULL) {
        ngx_array_init(&cycle.listening, pool, 4, sizeof(ngx_listening_t));
        return;
    }

    ls = ngx_array_push(&cycle.listening);

    ls->sockaddr = calloc(1, sizeof(ngx_sockaddr_t));
    ls->socklen = parse(address, port, (ngx_sockaddr_t *) ls->sockaddr);
    ls->type = type;
    ls->ipv6only = only;
}


/* T-DNS-01: the last before, the first, the last, the first behind */

static void
test_ranges(void)
{
    static row_t  rows[] = {

        /* IANA IPv4 Special-Purpose Address Registry, and multicast */

        { "0.0.0.0", DENY, DENY }, { "0.255.255.255", DENY, DENY },
        { "1.0.0.0", PASS, PASS },
        { "9.255.255.255", PASS, PASS }, { "10.0.0.0", DENY, PASS },
        { "10.255.255.255", DENY, PASS }, { "11.0.0.0", PASS, PASS },
        { "100.63.255.255", PASS, PASS }, { "100.64.0.0", DENY, DENY },
        { "100.100.100.200", DENY, DENY },
        { "100.127.255.255", DENY, DENY }, { "100.128.0.0", PASS, PASS },
        { "126.255.255.255", PASS, PASS }, { "127.0.0.0", DENY, DENY },
        { "127.0.0.1", DENY, DENY },
        { "127.255.255.255", DENY, DENY }, { "128.0.0.0", PASS, PASS },
        { "168.63.129.15", PASS, PASS }, { "168.63.129.16", DENY, DENY },
        { "168.63.129.17", PASS, PASS },
        { "169.253.255.255", PASS, PASS }, { "169.254.0.0", DENY, DENY },
        { "169.254.169.254", DENY, DENY },
        { "169.254.255.255", DENY, DENY }, { "169.255.0.0", PASS, PASS },
        { "172.15.255.255", PASS, PASS }, { "172.16.0.0", DENY, PASS },
        { "172.31.255.255", DENY, PASS }, { "172.32.0.0", PASS, PASS },
        { "191.255.255.255", PASS, PASS }, { "192.0.0.0", DENY, DENY },
        { "192.0.0.9", DENY, DENY }, { "192.0.0.192", DENY, DENY },
        { "192.0.0.255", DENY, DENY }, { "192.0.1.0", PASS, PASS },
        { "192.0.1.255", PASS, PASS }, { "192.0.2.0", DENY, DENY },
        { "192.0.2.255", DENY, DENY }, { "192.0.3.0", PASS, PASS },
        { "192.31.195.255", PASS, PASS }, { "192.31.196.0", DENY, DENY },
        { "192.31.196.255", DENY, DENY }, { "192.31.197.0", PASS, PASS },
        { "192.52.192.255", PASS, PASS }, { "192.52.193.0", DENY, DENY },
        { "192.52.193.255", DENY, DENY }, { "192.52.194.0", PASS, PASS },
        { "192.88.98.255", PASS, PASS }, { "192.88.99.0", DENY, DENY },
        { "192.88.99.255", DENY, DENY }, { "192.88.100.0", PASS, PASS },
        { "192.167.255.255", PASS, PASS }, { "192.168.0.0", DENY, PASS },
        { "192.168.255.255", DENY, PASS }, { "192.169.0.0", PASS, PASS },
        { "192.175.47.255", PASS, PASS }, { "192.175.48.0", DENY, DENY },
        { "192.175.48.255", DENY, DENY }, { "192.175.49.0", PASS, PASS },
        { "198.17.255.255", PASS, PASS }, { "198.18.0.0", DENY, DENY },
        { "198.19.255.255", DENY, DENY }, { "198.20.0.0", PASS, PASS },
        { "198.51.99.255", PASS, PASS }, { "198.51.100.0", DENY, DENY },
        { "198.51.100.255", DENY, DENY }, { "198.51.101.0", PASS, PASS },
        { "203.0.112.255", PASS, PASS }, { "203.0.113.0", DENY, DENY },
        { "203.0.113.255", DENY, DENY }, { "203.0.114.0", PASS, PASS },
        { "223.255.255.255", PASS, PASS }, { "224.0.0.0", DENY, DENY },
        { "239.255.255.255", DENY, DENY }, { "240.0.0.0", DENY, DENY },
        { "255.255.255.255", DENY, DENY },

        /* IANA IPv6 Special-Purpose Address Registry, and multicast */

        { "::", DENY, DENY }, { "::1", DENY, DENY }, { "::2", DENY, DENY },
        { "::ffff:ffff", DENY, DENY }, { "::1:0:0", PASS, PASS },
        { "::fffe:ffff:ffff", PASS, PASS }, { "::ffff:0:0", DENY, DENY },
        { "::ffff:ffff:ffff", DENY, DENY }, { "::1:0:0:0", PASS, PASS },
        { "::fffe:ffff:ffff:ffff", PASS, PASS },
        { "::ffff:0:0:0", DENY, DENY }, { "::ffff:0:ffff:ffff", DENY, DENY },
        { "::ffff:1:0:0", PASS, PASS },
        { "64:ff9a:ffff:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "64:ff9b::", DENY, DENY }, { "64:ff9b::ffff:ffff", DENY, DENY },
        { "64:ff9b::1:0:0", PASS, PASS },
        { "64:ff9b:0:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "64:ff9b:1::", DENY, DENY },
        { "64:ff9b:1:ffff:ffff:ffff:ffff:ffff", DENY, DENY },
        { "ff:ffff::", PASS, PASS }, { "100::", DENY, DENY },
        { "100::ffff:ffff:ffff:ffff", DENY, DENY },
        { "100:0:0:1::", DENY, DENY },
        { "100::1:ffff:ffff:ffff:ffff", DENY, DENY },
        { "100:0:0:2::", PASS, PASS },
        { "2000:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "2001::", DENY, DENY }, { "2001:0:ffff::", DENY, DENY },
        { "2001:1::1", DENY, DENY }, { "2001:2::", DENY, DENY },
        { "2001:3::", DENY, DENY }, { "2001:4:112::", DENY, DENY },
        { "2001:10::", DENY, DENY }, { "2001:20::", DENY, DENY },
        { "2001:30::", DENY, DENY },
        { "2001:1ff:ffff:ffff:ffff:ffff:ffff:ffff", DENY, DENY },
        { "2001:200::", PASS, PASS },
        { "2001:db7:ffff:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "2001:db8::", DENY, DENY },
        { "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff", DENY, DENY },
        { "2001:db9::", PASS, PASS },
        { "2001:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "2002::", DENY, DENY },
        { "2002:ffff:ffff:ffff:ffff:ffff:ffff:ffff", DENY, DENY },
        { "2003::", PASS, PASS },
        { "2620:4f:7fff:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "2620:4f:8000::", DENY, DENY },
        { "2620:4f:8000:ffff:ffff:ffff:ffff:ffff", DENY, DENY },
        { "2620:4f:8001::", PASS, PASS },
        { "3ffe:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "3fff::", DENY, DENY },
        { "3fff:fff:ffff:ffff:ffff:ffff:ffff:ffff", DENY, DENY },
        { "3fff:1000::", PASS, PASS },
        { "5eff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "5f00::", DENY, DENY },
        { "5f00:ffff:ffff:ffff:ffff:ffff:ffff:ffff", DENY, DENY },
        { "5f01::", PASS, PASS },
        { "fbff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "fc00::", DENY, PASS }, { "fd00:ec2::253", DENY, PASS },
        { "fd00:ec2::254", DENY, DENY }, { "fd00:ec2::255", DENY, PASS },
        { "fd20:ce::254", DENY, DENY }, { "fd00:42::42", DENY, DENY },
        { "fd00:c1::a9fe:a9fe", DENY, DENY },
        { "fdff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", DENY, PASS },
        { "fe00::", PASS, PASS },
        { "fe7f:ffff:ffff:ffff:ffff:ffff:ffff:ffff", PASS, PASS },
        { "fe80::", DENY, DENY }, { "fe80::a9fe:a9fe", DENY, DENY },
        { "febf:ffff:ffff:ffff:ffff:ffff:ffff:ffff", DENY, DENY },
        { "fec0::", DENY, DENY },
        { "feff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", DENY, DENY },
        { "ff00::", DENY, DENY }, { "ff02::1", DENY, DENY },
        { "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", DENY, DENY },

        { "8.8.8.8", PASS, PASS }, { "2a00:1450::1", PASS, PASS },
        { NULL, 0, 0 }
    };

    listens(NULL, 0, 0, 0);
    configure(NULL, NULL, 0);
    table("range", rows);
}


/* the outer ranges are open, and what is inside has to pass all the same */

static void
test_embedded(void)
{
    static row_t  rows[] = {

        { "::ffff:8.8.8.8", PASS, PASS },
        { "::ffff:127.0.0.1", DENY, DENY },
        { "::ffff:7f00:1", DENY, DENY },
        { "::ffff:169.254.169.254", DENY, DENY },
        { "::ffff:10.0.0.1", DENY, PASS },
        { "::ffff:0.0.0.0", DENY, DENY },
        { "::ffff:9.9.9.9", DENY, DENY },
        { "::ffff:198.18.7.7", PASS, PASS },

        /* IPv4-compatible; "::" and "::1" are no IPv4 addresses */

        { "::8.8.8.8", PASS, PASS }, { "::127.0.0.1", DENY, DENY },
        { "::169.254.169.254", DENY, DENY }, { "::10.0.0.1", DENY, PASS },
        { "::", DENY, DENY }, { "::1", DENY, DENY }, { "::2", DENY, DENY },

        { "::ffff:0:8.8.8.8", PASS, PASS },
        { "::ffff:0:127.0.0.1", DENY, DENY },
        { "::ffff:0:192.168.1.1", DENY, PASS },

        { "64:ff9b::8.8.8.8", PASS, PASS },
        { "64:ff9b::127.0.0.1", DENY, DENY },
        { "64:ff9b::a9fe:a9fe", DENY, DENY },
        { "64:ff9b::172.16.0.1", DENY, PASS },
        { "64:ff9b::9.9.9.9", DENY, DENY },

        /* all of the /48: 16 bits, u, 16 bits, nothing */

        { "64:ff9b:1:808:8:800::", PASS, PASS },
        { "64:ff9b:1:7f00:0:100::", DENY, DENY },
        { "64:ff9b:1:a9fe:a9:fe00::", DENY, DENY },
        { "64:ff9b:1:a00:0:100::", DENY, PASS },
        { "64:ff9b:1:909:9:900::", DENY, DENY },
        { "64:ff9b:1:808:108:800::", DENY, DENY },
        { "64:ff9b:1:808:8:800:0:1", DENY, DENY },
        { "64:ff9b:1:808:8:801::", DENY, DENY },
        { "64:ff9b:1::", DENY, DENY },

        /* a /96 of it */

        { "64:ff9b:1::8.8.8.8", PASS, PASS },
        { "64:ff9b:1:1::8.8.8.8", PASS, PASS },
        { "64:ff9b:1::127.0.0.1", DENY, DENY },
        { "64:ff9b:1:808::169.254.169.254", DENY, DENY },
        { "64:ff9b:1:808::10.0.0.1", DENY, PASS },

        /* a /56 and a /64 can't be told from others */

        { "64:ff9b:1:808:7f:0:100:0", DENY, DENY },
        { "64:ff9b:1:87f:0:1::", DENY, DENY },
        { "64:ff9b:1:0:1:0:808:808", DENY, DENY },

        { "2002:808:808::1", PASS, PASS },
        { "2002:7f00:1::", DENY, DENY },
        { "2002:7f00:1:1:2:3:4:5", DENY, DENY },
        { "2002:a9fe:a9fe::1", DENY, DENY },
        { "2002:c0a8:101::1", DENY, PASS },
        { "2002:909:909::1", DENY, DENY },

        /* Teredo: server, flags and port, client inverted */

        { "2001:0:808:808:0:1:f7f7:f7f7", PASS, PASS },
        { "2001:0:808:808:0:1:80ff:fffe", DENY, DENY },
        { "2001:0:808:808:0:1:5601:5601", DENY, DENY },
        { "2001:0:808:808:0:1:f5ff:fffe", DENY, PASS },
        { "2001:0:7f00:1:0:1:f7f7:f7f7", DENY, DENY },
        { "2001:0:a00:1:0:1:f7f7:f7f7", DENY, PASS },

        /* ISATAP, in any prefix */

        { "2a00::5efe:8.8.8.8", PASS, PASS },
        { "2a00::200:5efe:8.8.8.8", PASS, PASS },
        { "2a00::5efe:127.0.0.1", DENY, DENY },
        { "2a00::200:5efe:169.254.169.254", DENY, DENY },
        { "2a00::5efe:10.0.0.1", DENY, PASS },
        { "2a00::100:5efe:10.0.0.1", PASS, PASS },
        { "fd00::5efe:10.0.0.1", DENY, PASS },

        { NULL, 0, 0 }
    };

    configure("::/96 ::ffff:0:0/96 ::ffff:0:0:0/96 64:ff9b::/96 "
              "64:ff9b:1::/48 2001::/32 2002::/16 198.18.7.0/24",
              "9.9.9.0/24", 0);

    table("embedded", rows);

    /* one address is open, and still what is in it */

    configure("::ffff:127.0.0.1", NULL, 0);
    expect(DENY, "::ffff:127.0.0.1", 0, "mapped, open alone");

    configure("::ffff:127.0.0.1 127.0.0.1", NULL, 0);
    expect(PASS, "::ffff:127.0.0.1", 0, "mapped, both open");
    expect(DENY, "::ffff:127.0.0.2", 0, "mapped, another");

    configure(NULL, NULL, 0);
    exempt("::ffff:0:0/96");
    expect(PASS, "::ffff:8.8.8.8", 0, "mapped, exempt");
    expect(DENY, "::ffff:127.0.0.1", 0, "mapped, exempt, loopback");
    expect(DENY, "127.0.0.1", 0, "mapped, exempt, as IPv4");

    exempt("127.0.0.0/8");
    expect(PASS, "::ffff:127.0.0.1", 0, "mapped, both exempt");

    configure("::/0", NULL, 0);
    expect(DENY, "::1", 0, "everything is open, loopback");
}


static void
test_ties(void)
{
    configure("127.0.1.0/24 127.8.0.0/16 127.8.1.2 10.0.0.0/8 fe80::/10",
              "127.8.1.0/24 127.9.0.0/16 8.8.8.0/24 2a00::/32", 0);

    expect(PASS, "127.0.1.0", 0, "allow in special, first");
    expect(PASS, "127.0.1.255", 0, "allow in special, last");
    expect(DENY, "127.0.0.255", 0, "before allow");
    expect(DENY, "127.0.2.0", 0, "after allow");
    expect(PASS, "127.8.0.255", 0, "allow");
    expect(DENY, "127.8.1.0", 0, "deny in allow");
    expect(DENY, "127.8.1.1", 0, "deny in allow");
    expect(PASS, "127.8.1.2", 0, "allow in deny in allow");
    expect(DENY, "127.8.1.3", 0, "deny in allow");
    expect(PASS, "127.8.2.0", 0, "allow");
    expect(PASS, "10.1.1.1", 0, "allow, same as special");
    expect(PASS, "fe80::1", 0, "allow, same as special");
    expect(DENY, "8.8.8.8", 0, "deny");
    expect(PASS, "8.8.9.0", 0, "after deny");
    expect(DENY, "2a00::1", 0, "deny");
    expect(PASS, "2a00:1::", 0, "after deny");

    configure("127.0.1.0/24 10.0.0.0/8 0.0.0.0/0 ::/0",
              "127.0.1.0/24 10.0.0.0/8", 0);

    expect(DENY, "127.0.1.1", 0, "tie");
    expect(DENY, "10.1.1.1", 0, "tie of three");
    expect(DENY, "192.168.1.1", 0, "allow everything, special is longer");

    service.conf->location = NGX_EGRESS_INTERNAL;
    expect(DENY, "10.1.1.1", 0, "deny, internal");
    expect(PASS, "192.168.1.1", 0, "internal");

    configure("10.0.0.0/8 127.0.0.0/8 10.1.0.0/16", NULL, 1);

    expect(DENY, "127.0.0.1", 0, "special written out");
    expect(DENY, "10.0.0.1", 0, "special written out, private");
    expect(PASS, "10.1.0.1", 0, "special written out, longer allow");

    configure(NULL, "0.0.0.0/0 ::/0", 0);

    expect(DENY, "8.8.8.8", 0, "deny everything");
    expect(DENY, "2a00::1", 0, "deny everything");

    configure("9.9.9.9", "0.0.0.0/0", 0);

    expect(PASS, "9.9.9.9", 0, "deny everything but one");
    expect(DENY, "9.9.9.8", 0, "deny everything but one");

    service.conf->location = NGX_EGRESS_INTERNAL;
    expect(PASS, "10.0.0.1", 0, "deny everything, internal");
}


static void
test_services(void)
{
    configure(NULL, "8.8.8.8 10.0.0.0/8", 0);

    service.conf->guard = 0;
    expect(PASS, "127.0.0.1", 0, "guard off");
    expect(PASS, "::ffff:127.0.0.1", 0, "guard off");
    expect(PASS, "64:ff9b:1:0:1:0:808:808", 0, "guard off");
    expect(PASS, "8.8.8.8", 0, "guard off, deny");

    configure(NULL, "8.8.8.8 10.0.0.0/8", 0);
    exempt("127.0.0.2 8.8.8.0/24 fe80::/16");

    expect(PASS, "127.0.0.2", 0, "exempt");
    expect(DENY, "127.0.0.1", 0, "before exempt");
    expect(DENY, "127.0.0.3", 0, "after exempt");
    expect(PASS, "8.8.8.8", 0, "exempt, deny");
    expect(PASS, "fe80::1", 0, "exempt, IPv6");
    expect(DENY, "fe81::1", 0, "after exempt, IPv6");
    expect(DENY, "10.0.0.1", 0, "deny");

    service.conf->location = NGX_EGRESS_INTERNAL;
    expect(DENY, "10.0.0.1", 0, "deny, internal, exempt of another");
    expect(PASS, "172.16.0.1", 0, "internal, exempt of another");
}


/* T-DNS-06 */

static void
test_listeners(void)
{
    listens("127.0.0.1", 8080, SOCK_STREAM, 0);
    listens("10.1.1.1", 8080, SOCK_STREAM, 0);
    listens("2a00::2", 8080, SOCK_STREAM, 1);
    listens("93.184.216.1", 8081, SOCK_DGRAM, 0);
    listens("::ffff:10.1.1.2", 8085, SOCK_STREAM, 0);

    configure("::/96 64:ff9b::/96 ::ffff:0:0/96", NULL, 0);

    service.conf->guard = 0;

    expect(DENY, "127.0.0.1", 8080, "own");
    expect(PASS, "127.0.0.1", 8081, "own, another port");
    expect(PASS, "127.0.0.1", 0, "own, no port");
    expect(PASS, "127.0.0.2", 8080, "own, another address");
    expect(DENY, "0.0.0.0", 8080, "own, unspecified");
    expect(DENY, "::", 8080, "own, unspecified");
    expect(DENY, "::ffff:0.0.0.0", 8080, "own, unspecified, mapped");
    expect(PASS, "0.0.0.0", 8082, "unspecified, another port");
    expect(DENY, "10.1.1.1", 8080, "own, second");
    expect(DENY, "2a00::2", 8080, "own, IPv6");
    expect(PASS, "2a00::3", 8080, "own, IPv6, another");
    expect(PASS, "93.184.216.1", 8081, "own, UDP");
    expect(DENY, "::ffff:127.0.0.1", 8080, "own, mapped");
    expect(DENY, "64:ff9b::10.1.1.1", 8080, "own, NAT64");
    expect(DENY, "2002:a01:101::1", 8080, "own, 6to4");
    expect(PASS, "64:ff9b::10.1.1.1", 8081, "own, NAT64, another port");
    expect(DENY, "10.1.1.2", 8085, "own, mapped listener");
    expect(DENY, "::ffff:10.1.1.2", 8085, "own, mapped listener");

    configure("127.0.0.0/8", NULL, 0);
    exempt("127.0.0.1");

    expect(DENY, "127.0.0.1", 8080, "own, allowed and exempt");
    expect(PASS, "127.0.0.1", 8081, "allowed and exempt");

    ok(updates == 0, "interfaces", "not asked for without wildcards");
}


static void
test_interfaces(void)
{
    listens(NULL, 0, 0, 0);
    listens("0.0.0.0", 8080, SOCK_STREAM, 0);
    listens("::", 8081, SOCK_STREAM, 1);
    listens("::", 8082, SOCK_STREAM, 0);
    listens("127.0.0.1", 8083, SOCK_STREAM, 0);

    configure("::ffff:0:0/96", NULL, 0);

    service.conf->guard = 0;

    broken = 1;
    expect(DENY, "8.8.8.8", 8080, "interfaces unknown, port of a wildcard");
    expect(PASS, "8.8.8.8", 8083, "interfaces unknown, another port");
    broken = 0;

    expect(PASS, "8.8.8.8", 8080, "wildcard, foreign");
    expect(DENY, "93.184.216.1", 8080, "wildcard, interface");
    expect(PASS, "93.184.216.1", 8079, "wildcard, interface, another port");
    expect(PASS, "93.184.216.2", 8080, "wildcard, neighbour");
    expect(DENY, "127.0.0.1", 8080, "wildcard, loopback");
    expect(DENY, "127.77.1.2", 8080, "wildcard, all of loopback");
    expect(DENY, "10.9.1.1", 8080, "wildcard, network of loopback");
    expect(PASS, "10.10.1.1", 8080, "wildcard, another network");
    expect(DENY, "::ffff:93.184.216.1", 8080, "wildcard, mapped");
    expect(PASS, "2a00::1", 8080, "wildcard of IPv4, IPv6");
    expect(DENY, "2a00::1", 8081, "wildcard of IPv6");
    expect(PASS, "93.184.216.1", 8081, "wildcard of IPv6 only");
    expect(DENY, "2a00::1", 8082, "wildcard of both");
    expect(DENY, "93.184.216.1", 8082, "wildcard of both");
    expect(PASS, "2a00::2", 8082, "wildcard of both, foreign");

    /* an address that comes later, and when the list can't be had again */

    second = "93.184.216.9";
    updates = 0;

    expect(PASS, second, 8080, "new address, not known yet");
    ok(updates == 0, "interfaces", "not asked for each time");

    ngx_current_msec += 10001;
    expect(DENY, second, 8080, "new address");
    ok(updates == 1, "interfaces", "asked for after a while");

    broken = 1;
    ngx_current_msec += 10001;
    expect(DENY, second, 8080, "interfaces unknown, known before");
    expect(PASS, "8.8.8.8", 8080, "interfaces unknown, not known before");
}
