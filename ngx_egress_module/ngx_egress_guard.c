
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ifaddrs.h>
#include <net/if.h>


/* what a range in the tree stands for */

#define NGX_EGRESS_RANGE_SPECIAL  1
#define NGX_EGRESS_RANGE_PRIVATE  2        /* passes for location internal */
#define NGX_EGRESS_RANGE_ALLOW    3
#define NGX_EGRESS_RANGE_DENY     4

/* IPv4 addresses in one of IPv6: two of Teredo, one of ISATAP */
#define NGX_EGRESS_EMBEDDED       3

#define NGX_EGRESS_PORTS          65536

/* how old the list of this machine's addresses may get, in milliseconds */
#define NGX_EGRESS_OWN_VALID      10000


typedef struct {
    const char               *range;
    uintptr_t                 value;
} ngx_egress_special_t;


typedef struct {
    u_char                    prefix[12];
    size_t                    len;         /* of the prefix, in bytes */
    size_t                    offset;      /* of the IPv4 address */
    u_char                    invert;      /* its bits are inverted by this */
} ngx_egress_embedding_t;


/* IPv4 as ::ffff:0:0/96, so that both families compare */

typedef struct {
    u_char                    address[16];
    in_port_t                 port;        /* host order */
} ngx_egress_listen_t;


struct ngx_egress_own_s {
    ngx_array_t               listens;     /* ngx_egress_listen_t, sorted */
    u_char                    ports[NGX_EGRESS_PORTS / 8];
    u_char                    any4[NGX_EGRESS_PORTS / 8];    /* of wildcards */
    u_char                    any6[NGX_EGRESS_PORTS / 8];

    /* a process has its own; made on first use */

    ngx_egress_guard_t        local;
    ngx_pool_t               *pool;        /* of local; or NULL */
    ngx_msec_t                updated;
};


static ngx_int_t ngx_egress_guard_judge(ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc, struct sockaddr *sa);
#if (NGX_HAVE_INET6)
static ngx_int_t ngx_egress_guard_embedded(u_char *addr, in_addr_t *list);
static in_addr_t ngx_egress_guard_word(u_char *p, u_char invert);
#endif
static ngx_int_t ngx_egress_guard_create(ngx_pool_t *pool,
    ngx_egress_guard_t *guard);
static ngx_int_t ngx_egress_guard_insert(ngx_egress_guard_t *guard,
    ngx_cidr_t *cidr, uintptr_t value);
static void ngx_egress_guard_delete(ngx_egress_guard_t *guard,
    ngx_cidr_t *cidr);
static uintptr_t ngx_egress_guard_find(ngx_egress_guard_t *guard,
    struct sockaddr *sa);

static ngx_int_t ngx_egress_own_init(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf);
static ngx_int_t ngx_egress_own_listen(ngx_egress_own_t *own,
    ngx_listening_t *ls);
static ngx_uint_t ngx_egress_own_find(ngx_egress_own_t *own,
    struct sockaddr *sa);
static ngx_uint_t ngx_egress_own_local(ngx_egress_own_t *own,
    struct sockaddr *sa);
static ngx_int_t ngx_egress_own_update(ngx_egress_own_t *own);
static ngx_int_t ngx_egress_own_interface(ngx_egress_guard_t *local,
    struct ifaddrs *ifa);
static ngx_uint_t ngx_egress_own_address(struct sockaddr *sa, u_char *addr);
static ngx_uint_t ngx_egress_own_wildcard(u_char *addr);
static int ngx_libc_cdecl ngx_egress_own_cmp(const void *one,
    const void *two);


/*
 * The IANA special-purpose registries (RFC 6890, RFC 8190) as of 2026, also
 * what is globally reachable there (anycast to whoever is next), and with
 * the other IPv6 ranges that embed an IPv4 address, multicast, and the
 * metadata services of the clouds.
 */

static ngx_egress_special_t  ngx_egress_special[] = {
    { "0.0.0.0/8", NGX_EGRESS_RANGE_SPECIAL },
    { "10.0.0.0/8", NGX_EGRESS_RANGE_PRIVATE },
    { "100.64.0.0/10", NGX_EGRESS_RANGE_SPECIAL },
    { "127.0.0.0/8", NGX_EGRESS_RANGE_SPECIAL },
    { "168.63.129.16/32", NGX_EGRESS_RANGE_SPECIAL },
    { "169.254.0.0/16", NGX_EGRESS_RANGE_SPECIAL },
    { "172.16.0.0/12", NGX_EGRESS_RANGE_PRIVATE },
    { "192.0.0.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "192.0.2.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "192.31.196.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "192.52.193.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "192.88.99.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "192.168.0.0/16", NGX_EGRESS_RANGE_PRIVATE },
    { "192.175.48.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "198.18.0.0/15", NGX_EGRESS_RANGE_SPECIAL },
    { "198.51.100.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "203.0.113.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "224.0.0.0/4", NGX_EGRESS_RANGE_SPECIAL },
    { "240.0.0.0/4", NGX_EGRESS_RANGE_SPECIAL },
#if (NGX_HAVE_INET6)
    { "::/96", NGX_EGRESS_RANGE_SPECIAL },
    { "::/127", NGX_EGRESS_RANGE_SPECIAL },
    { "::ffff:0:0/96", NGX_EGRESS_RANGE_SPECIAL },
    { "::ffff:0:0:0/96", NGX_EGRESS_RANGE_SPECIAL },
    { "64:ff9b::/96", NGX_EGRESS_RANGE_SPECIAL },
    { "64:ff9b:1::/48", NGX_EGRESS_RANGE_SPECIAL },
    { "100::/64", NGX_EGRESS_RANGE_SPECIAL },
    { "100:0:0:1::/64", NGX_EGRESS_RANGE_SPECIAL },
    { "2001::/23", NGX_EGRESS_RANGE_SPECIAL },
    { "2001:db8::/32", NGX_EGRESS_RANGE_SPECIAL },
    { "2002::/16", NGX_EGRESS_RANGE_SPECIAL },
    { "2620:4f:8000::/48", NGX_EGRESS_RANGE_SPECIAL },
    { "3fff::/20", NGX_EGRESS_RANGE_SPECIAL },
    { "5f00::/16", NGX_EGRESS_RANGE_SPECIAL },
    { "fc00::/7", NGX_EGRESS_RANGE_PRIVATE },
    { "fd00:42::42/128", NGX_EGRESS_RANGE_SPECIAL },
    { "fd00:c1::a9fe:a9fe/128", NGX_EGRESS_RANGE_SPECIAL },
    { "fd00:ec2::254/128", NGX_EGRESS_RANGE_SPECIAL },
    { "fd20:ce::254/128", NGX_EGRESS_RANGE_SPECIAL },
    { "fe80::/10", NGX_EGRESS_RANGE_SPECIAL },
    { "fec0::/10", NGX_EGRESS_RANGE_SPECIAL },
    { "ff00::/8", NGX_EGRESS_RANGE_SPECIAL },
#endif
    { NULL, 0 }
};


#if (NGX_HAVE_INET6)

/* where a translator or a tunnel finds the IPv4 address to send to */

static ngx_egress_embedding_t  ngx_egress_embeddings[] = {

    /* IPv4-compatible, IPv4-mapped, IPv4-translated */

    { { 0 }, 12, 12, 0 },
    { { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff }, 12, 12, 0 },
    { { 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 0, 0 }, 12, 12, 0 },

    /* NAT64, RFC 6052 */

    { { 0, 0x64, 0xff, 0x9b, 0, 0, 0, 0, 0, 0, 0, 0 }, 12, 12, 0 },

    /* 6to4; Teredo, RFC 4380: server and client */

    { { 0x20, 0x02 }, 2, 2, 0 },
    { { 0x20, 0x01, 0, 0 }, 4, 4, 0 },
    { { 0x20, 0x01, 0, 0 }, 4, 12, 0xff },

    { { 0 }, 0, 0, 0 }
};


/* NAT64 within a network, RFC 8215 */
static u_char  ngx_egress_nat64_local[] = { 0, 0x64, 0xff, 0x9b, 0, 1 };

#endif


static u_char  ngx_egress_mapped[] = { 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
                                       0xff, 0xff };


ngx_int_t
ngx_egress_guard_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_int_t              rc;
    ngx_str_t              range;
    ngx_uint_t             i;
    ngx_cidr_t             special, *cidr;
    ngx_egress_special_t  *s;

    if (ngx_egress_guard_create(cycle->pool, &ecf->guard) != NGX_OK) {
        return NGX_ERROR;
    }

    for (s = ngx_egress_special; s->range; s++) {
        range.data = (u_char *) s->range;
        range.len = ngx_strlen(s->range);

        if (ngx_ptocidr(&range, &special) == NGX_ERROR
            || ngx_egress_guard_insert(&ecf->guard, &special, s->value)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    if (ecf->allow) {
        cidr = ecf->allow->elts;

        for (i = 0; i < ecf->allow->nelts; i++) {

            /* a tie with a range that the configuration did not spell out */

            if (!ecf->deny_special) {
                ngx_egress_guard_delete(&ecf->guard, &cidr[i]);
            }

            rc = ngx_egress_guard_insert(&ecf->guard, &cidr[i],
                                         NGX_EGRESS_RANGE_ALLOW);
            if (rc == NGX_ERROR) {
                return NGX_ERROR;
            }
        }
    }

    if (ecf->deny) {
        cidr = ecf->deny->elts;

        for (i = 0; i < ecf->deny->nelts; i++) {
            ngx_egress_guard_delete(&ecf->guard, &cidr[i]);

            if (ngx_egress_guard_insert(&ecf->guard, &cidr[i],
                                        NGX_EGRESS_RANGE_DENY)
                == NGX_ERROR)
            {
                return NGX_ERROR;
            }
        }
    }

    return ngx_egress_own_init(cycle, ecf);
}


ngx_int_t
ngx_egress_guard_exempt(ngx_pool_t *pool, ngx_egress_guard_t **guard,
    ngx_cidr_t *cidr)
{
    if (*guard == NULL) {
        *guard = ngx_palloc(pool, sizeof(ngx_egress_guard_t));
        if (*guard == NULL) {
            return NGX_ERROR;
        }

        if (ngx_egress_guard_create(pool, *guard) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ngx_egress_guard_insert(*guard, cidr, NGX_EGRESS_RANGE_ALLOW)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


ngx_int_t
ngx_egress_guard_check(ngx_egress_conf_t *ecf, ngx_egress_service_t *svc,
    struct sockaddr *sa)
{
#if (NGX_HAVE_INET6)
    ngx_int_t             i, n;
    in_addr_t             list[NGX_EGRESS_EMBEDDED];
    ngx_sockaddr_t        v4;
    struct sockaddr_in6  *sin6;
#endif

    if (ngx_egress_guard_judge(ecf, svc, sa) != NGX_OK) {
        return NGX_DECLINED;
    }

#if (NGX_HAVE_INET6)

    if (sa->sa_family != AF_INET6) {
        return NGX_OK;
    }

    sin6 = (struct sockaddr_in6 *) sa;

    n = ngx_egress_guard_embedded(sin6->sin6_addr.s6_addr, list);

    if (n == NGX_ERROR) {
        return svc->conf->guard ? NGX_DECLINED : NGX_OK;
    }

    ngx_memzero(&v4, sizeof(ngx_sockaddr_t));

    v4.sockaddr_in.sin_family = AF_INET;
    v4.sockaddr_in.sin_port = sin6->sin6_port;

    for (i = 0; i < n; i++) {
        v4.sockaddr_in.sin_addr.s_addr = list[i];

        if (ngx_egress_guard_judge(ecf, svc, &v4.sockaddr) != NGX_OK) {
            return NGX_DECLINED;
        }
    }

#endif

    return NGX_OK;
}


/*
 * What the configuration spells out is dialled; if it leads to a listener of
 * the gateway's, a request goes around until connections run out.
 */

void
ngx_egress_guard_doubts(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_uint_t              i, n;
    ngx_sockaddr_t          sa;
    ngx_egress_port_t      *port;
    ngx_egress_service_t  **svc;
    ngx_egress_endpoint_t  *ep;

    svc = ecf->services.elts;

    for (i = 0; i < ecf->services.nelts; i++) {

        ep = svc[i]->endpoints ? svc[i]->endpoints->elts : NULL;
        port = svc[i]->ports->elts;

        for (n = 0; ep && n < svc[i]->endpoints->nelts; n++) {

            if (ep[n].sockaddr == NULL
                || ep[n].sockaddr->sa_family == AF_UNIX)
            {
                continue;
            }

            ngx_memcpy(&sa, ep[n].sockaddr, ep[n].socklen);
            ngx_inet_set_port(&sa.sockaddr, ep[n].port ? ep[n].port
                                                       : port[0].target);

            if (ngx_egress_own_find(ecf->own, &sa.sockaddr)) {
                ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                              "endpoint \"%V\" of service \"%V\" in %s:%ui "
                              "is a listener of this nginx",
                              &ep[n].address, &svc[i]->name, svc[i]->file,
                              svc[i]->line);
            }
        }
    }
}


static ngx_int_t
ngx_egress_guard_judge(ngx_egress_conf_t *ecf, ngx_egress_service_t *svc,
    struct sockaddr *sa)
{
    /* a loop helps nobody, whatever the range is open for */

    if (ngx_egress_own_find(ecf->own, sa)) {
        return NGX_DECLINED;
    }

    if (!svc->conf->guard) {
        return NGX_OK;
    }

    if (svc->conf->exempt
        && ngx_egress_guard_find(svc->conf->exempt, sa)
           == NGX_EGRESS_RANGE_ALLOW)
    {
        return NGX_OK;
    }

    switch (ngx_egress_guard_find(&ecf->guard, sa)) {

    case NGX_RADIX_NO_VALUE:
    case NGX_EGRESS_RANGE_ALLOW:
        return NGX_OK;

    case NGX_EGRESS_RANGE_PRIVATE:
        return svc->conf->location == NGX_EGRESS_INTERNAL ? NGX_OK
                                                          : NGX_DECLINED;

    default:
        return NGX_DECLINED;
    }
}


#if (NGX_HAVE_INET6)

/* how many there are; NGX_ERROR: there is one, but it is unknown where */

static ngx_int_t
ngx_egress_guard_embedded(u_char *addr, in_addr_t *list)
{
    ngx_int_t                n;
    ngx_egress_embedding_t  *e;

    static u_char  zero[15];

    /* "::" and "::1" have no IPv4 address in them */

    if (ngx_memcmp(addr, zero, 15) == 0 && addr[15] < 2) {
        return 0;
    }

    n = 0;

    for (e = ngx_egress_embeddings; e->len; e++) {
        if (ngx_memcmp(addr, e->prefix, e->len) == 0) {
            list[n++] = ngx_egress_guard_word(addr + e->offset, e->invert);
        }
    }

    /* ISATAP, RFC 5214: in any prefix */

    if ((addr[8] & 0xfd) == 0 && addr[9] == 0
        && addr[10] == 0x5e && addr[11] == 0xfe)
    {
        list[n++] = ngx_egress_guard_word(addr + 12, 0);
    }

    if (ngx_memcmp(addr, ngx_egress_nat64_local, 6) != 0) {
        return n;
    }

    /*
     * RFC 6052, 2.2: a network uses all of the /48, and then nothing stands
     * behind the IPv4 address, or a /96 of it; other lengths can't be told
     * from these
     */

    if (addr[8] == 0 && ngx_memcmp(addr + 11, zero, 5) == 0) {
        list[n++] = htonl((uint32_t) addr[6] << 24 | addr[7] << 16
                          | addr[9] << 8 | addr[10]);
        return n;
    }

    if (ngx_memcmp(addr + 8, zero, 4) == 0) {
        list[n++] = ngx_egress_guard_word(addr + 12, 0);
        return n;
    }

    return NGX_ERROR;
}


static in_addr_t
ngx_egress_guard_word(u_char *p, u_char invert)
{
    u_char     b[4];
    in_addr_t  word;

    b[0] = p[0] ^ invert;
    b[1] = p[1] ^ invert;
    b[2] = p[2] ^ invert;
    b[3] = p[3] ^ invert;

    ngx_memcpy(&word, b, 4);

    return word;
}

#endif


static ngx_int_t
ngx_egress_guard_create(ngx_pool_t *pool, ngx_egress_guard_t *guard)
{
    guard->tree = ngx_radix_tree_create(pool, 0);
    if (guard->tree == NULL) {
        return NGX_ERROR;
    }

#if (NGX_HAVE_INET6)
    guard->tree6 = ngx_radix_tree_create(pool, 0);
    if (guard->tree6 == NULL) {
        return NGX_ERROR;
    }
#endif

    return NGX_OK;
}


/* NGX_BUSY: the range has a value already, which is kept */

static ngx_int_t
ngx_egress_guard_insert(ngx_egress_guard_t *guard, ngx_cidr_t *cidr,
    uintptr_t value)
{
#if (NGX_HAVE_INET6)
    if (cidr->family == AF_INET6) {
        return ngx_radix128tree_insert(guard->tree6,
                                       cidr->u.in6.addr.s6_addr,
                                       cidr->u.in6.mask.s6_addr, value);
    }
#endif

    return ngx_radix32tree_insert(guard->tree, ntohl(cidr->u.in.addr),
                                  ntohl(cidr->u.in.mask), value);
}


static void
ngx_egress_guard_delete(ngx_egress_guard_t *guard, ngx_cidr_t *cidr)
{
#if (NGX_HAVE_INET6)
    if (cidr->family == AF_INET6) {
        (void) ngx_radix128tree_delete(guard->tree6,
                                       cidr->u.in6.addr.s6_addr,
                                       cidr->u.in6.mask.s6_addr);
        return;
    }
#endif

    (void) ngx_radix32tree_delete(guard->tree, ntohl(cidr->u.in.addr),
                                  ntohl(cidr->u.in.mask));
}


/* an address of an unknown family is special: it can't be judged */

static uintptr_t
ngx_egress_guard_find(ngx_egress_guard_t *guard, struct sockaddr *sa)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sa->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sa;
        return ngx_radix32tree_find(guard->tree,
                                    ntohl(sin->sin_addr.s_addr));

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;
        return ngx_radix128tree_find(guard->tree6, sin6->sin6_addr.s6_addr);
#endif

    default:
        return NGX_EGRESS_RANGE_SPECIAL;
    }
}


/*
 * What this nginx listens on, as far as it can be known when the whole
 * configuration has been read.
 */

static ngx_int_t
ngx_egress_own_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_uint_t         i;
    ngx_listening_t   *ls;
    ngx_egress_own_t  *own;

    own = ngx_pcalloc(cycle->pool, sizeof(ngx_egress_own_t));
    if (own == NULL) {
        return NGX_ERROR;
    }

    if (ngx_array_init(&own->listens, cycle->pool, 8,
                       sizeof(ngx_egress_listen_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    ls = cycle->listening.elts;

    for (i = 0; i < cycle->listening.nelts; i++) {
        if (ls[i].type == SOCK_STREAM
            && ngx_egress_own_listen(own, &ls[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ngx_qsort(own->listens.elts, own->listens.nelts,
              sizeof(ngx_egress_listen_t), ngx_egress_own_cmp);

    ecf->own = own;

    return NGX_OK;
}


static ngx_int_t
ngx_egress_own_listen(ngx_egress_own_t *own, ngx_listening_t *ls)
{
    in_port_t             port;
    ngx_egress_listen_t  *listen, key;

    if (!ngx_egress_own_address(ls->sockaddr, key.address)) {
        return NGX_OK;
    }

    port = ngx_inet_get_port(ls->sockaddr);

    own->ports[port / 8] |= 1 << port % 8;

    if (!ngx_egress_own_wildcard(key.address)) {

        listen = ngx_array_push(&own->listens);
        if (listen == NULL) {
            return NGX_ERROR;
        }

        *listen = key;
        listen->port = port;

        return NGX_OK;
    }

#if (NGX_HAVE_INET6)

    if (ls->sockaddr->sa_family == AF_INET6) {
        own->any6[port / 8] |= 1 << port % 8;

        if (ls->ipv6only) {
            return NGX_OK;
        }
    }

#endif

    own->any4[port / 8] |= 1 << port % 8;

    return NGX_OK;
}


/* would a connection to it arrive here; without a port it can't be said */

static ngx_uint_t
ngx_egress_own_find(ngx_egress_own_t *own, struct sockaddr *sa)
{
    u_char               *any;
    in_port_t             port;
    ngx_egress_listen_t   key;

    if (own == NULL || !ngx_egress_own_address(sa, key.address)) {
        return 0;
    }

    port = ngx_inet_get_port(sa);

    if (!(own->ports[port / 8] & 1 << port % 8)) {
        return 0;
    }

    /* the system takes it for loopback */

    if (ngx_egress_own_wildcard(key.address)) {
        return 1;
    }

    key.port = port;

    if (bsearch(&key, own->listens.elts, own->listens.nelts,
                sizeof(ngx_egress_listen_t), ngx_egress_own_cmp))
    {
        return 1;
    }

    any = own->any4;

#if (NGX_HAVE_INET6)
    if (ngx_memcmp(key.address, ngx_egress_mapped, 12) != 0) {
        any = own->any6;
    }
#endif

    return (any[port / 8] & 1 << port % 8) && ngx_egress_own_local(own, sa);
}


/* while it can't be told which addresses are this machine's, all are */

static ngx_uint_t
ngx_egress_own_local(ngx_egress_own_t *own, struct sockaddr *sa)
{
    if (own->pool == NULL
        || ngx_current_msec - own->updated > NGX_EGRESS_OWN_VALID)
    {
        if (ngx_egress_own_update(own) != NGX_OK && own->pool == NULL) {
            return 1;
        }
    }

    return ngx_egress_guard_find(&own->local, sa) != NGX_RADIX_NO_VALUE;
}


static ngx_int_t
ngx_egress_own_update(ngx_egress_own_t *own)
{
    ngx_int_t            rc;
    ngx_pool_t          *pool;
    struct ifaddrs      *list, *ifa;
    ngx_egress_guard_t   local;

    own->updated = ngx_current_msec;

    if (getifaddrs(&list) == -1) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, ngx_errno,
                      "getifaddrs() failed");
        return NGX_ERROR;
    }

    pool = ngx_create_pool(NGX_DEFAULT_POOL_SIZE, ngx_cycle->log);
    if (pool == NULL) {
        freeifaddrs(list);
        return NGX_ERROR;
    }

    rc = ngx_egress_guard_create(pool, &local);

    for (ifa = list; ifa && rc == NGX_OK; ifa = ifa->ifa_next) {
        if (ifa->ifa_addr) {
            rc = ngx_egress_own_interface(&local, ifa);
        }
    }

    freeifaddrs(list);

    if (rc != NGX_OK) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    if (own->pool) {
        ngx_destroy_pool(own->pool);
    }

    own->pool = pool;
    own->local = local;

    return NGX_OK;
}


static ngx_int_t
ngx_egress_own_interface(ngx_egress_guard_t *local, struct ifaddrs *ifa)
{
    ngx_cidr_t            cidr;
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    ngx_memzero(&cidr, sizeof(ngx_cidr_t));

    cidr.family = ifa->ifa_addr->sa_family;

    switch (cidr.family) {

    case AF_INET:
        sin = (struct sockaddr_in *) ifa->ifa_addr;

        cidr.u.in.addr = sin->sin_addr.s_addr;
        cidr.u.in.mask = 0xffffffff;

        /* all of a loopback's network is local, as 127.0.0.0/8 is */

        if ((ifa->ifa_flags & IFF_LOOPBACK) && ifa->ifa_netmask) {
            sin = (struct sockaddr_in *) ifa->ifa_netmask;
            cidr.u.in.mask = sin->sin_addr.s_addr;
        }

        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) ifa->ifa_addr;

        ngx_memcpy(&cidr.u.in6.addr, &sin6->sin6_addr, 16);
        ngx_memset(&cidr.u.in6.mask, 0xff, 16);

        break;
#endif

    default:
        return NGX_OK;
    }

    if (ngx_egress_guard_insert(local, &cidr, NGX_EGRESS_RANGE_SPECIAL)
        == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* 0: of another family */

static ngx_uint_t
ngx_egress_own_address(struct sockaddr *sa, u_char *addr)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sa->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sa;
        ngx_memcpy(addr, ngx_egress_mapped, 12);
        ngx_memcpy(addr + 12, &sin->sin_addr, 4);
        return 1;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;
        ngx_memcpy(addr, &sin6->sin6_addr, 16);
        return 1;
#endif

    default:
        return 0;
    }
}


static ngx_uint_t
ngx_egress_own_wildcard(u_char *addr)
{
    static u_char  zero[16];

    return ngx_memcmp(addr + 12, zero, 4) == 0
           && (ngx_memcmp(addr, zero, 12) == 0
               || ngx_memcmp(addr, ngx_egress_mapped, 12) == 0);
}


static int ngx_libc_cdecl
ngx_egress_own_cmp(const void *one, const void *two)
{
    int                         rc;
    const ngx_egress_listen_t  *first = one;
    const ngx_egress_listen_t  *second = two;

    rc = ngx_memcmp(first->address, second->address, 16);

    return rc ? rc : (int) first->port - (int) second->port;
}
