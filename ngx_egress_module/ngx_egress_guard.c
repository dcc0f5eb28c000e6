
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


/* what a range in the tree stands for */

#define NGX_EGRESS_RANGE_SPECIAL  1
#define NGX_EGRESS_RANGE_PRIVATE  2        /* passes for location internal */
#define NGX_EGRESS_RANGE_ALLOW    3
#define NGX_EGRESS_RANGE_DENY     4


typedef struct {
    const char               *range;
    uintptr_t                 value;
} ngx_egress_special_t;


static ngx_int_t ngx_egress_guard_create(ngx_pool_t *pool,
    ngx_egress_guard_t *guard);
static ngx_int_t ngx_egress_guard_insert(ngx_egress_guard_t *guard,
    ngx_cidr_t *cidr, uintptr_t value);
static void ngx_egress_guard_delete(ngx_egress_guard_t *guard,
    ngx_cidr_t *cidr);
static uintptr_t ngx_egress_guard_find(ngx_egress_guard_t *guard,
    struct sockaddr *sa);


/*
 * The IANA special-purpose registries (RFC 6890, RFC 8190) as of 2026, less
 * what is globally reachable, and with the IPv6 ranges that embed an IPv4
 * address, multicast, and the metadata services of the clouds.
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
    { "192.88.99.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "192.168.0.0/16", NGX_EGRESS_RANGE_PRIVATE },
    { "198.18.0.0/15", NGX_EGRESS_RANGE_SPECIAL },
    { "198.51.100.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "203.0.113.0/24", NGX_EGRESS_RANGE_SPECIAL },
    { "224.0.0.0/4", NGX_EGRESS_RANGE_SPECIAL },
    { "240.0.0.0/4", NGX_EGRESS_RANGE_SPECIAL },
#if (NGX_HAVE_INET6)
    { "::/96", NGX_EGRESS_RANGE_SPECIAL },
    { "::ffff:0:0/96", NGX_EGRESS_RANGE_SPECIAL },
    { "::ffff:0:0:0/96", NGX_EGRESS_RANGE_SPECIAL },
    { "64:ff9b::/96", NGX_EGRESS_RANGE_SPECIAL },
    { "64:ff9b:1::/48", NGX_EGRESS_RANGE_SPECIAL },
    { "100::/64", NGX_EGRESS_RANGE_SPECIAL },
    { "100:0:0:1::/64", NGX_EGRESS_RANGE_SPECIAL },
    { "2001::/23", NGX_EGRESS_RANGE_SPECIAL },
    { "2001:db8::/32", NGX_EGRESS_RANGE_SPECIAL },
    { "2002::/16", NGX_EGRESS_RANGE_SPECIAL },
    { "3fff::/20", NGX_EGRESS_RANGE_SPECIAL },
    { "5f00::/16", NGX_EGRESS_RANGE_SPECIAL },
    { "fc00::/7", NGX_EGRESS_RANGE_PRIVATE },
    { "fd00:ec2::254/128", NGX_EGRESS_RANGE_SPECIAL },
    { "fe80::/10", NGX_EGRESS_RANGE_SPECIAL },
    { "fec0::/10", NGX_EGRESS_RANGE_SPECIAL },
    { "ff00::/8", NGX_EGRESS_RANGE_SPECIAL },
#endif
    { NULL, 0 }
};


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

    return NGX_OK;
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
    if (!svc->guard) {
        return NGX_OK;
    }

    if (svc->exempt
        && ngx_egress_guard_find(svc->exempt, sa) == NGX_EGRESS_RANGE_ALLOW)
    {
        return NGX_OK;
    }

    switch (ngx_egress_guard_find(&ecf->guard, sa)) {

    case NGX_RADIX_NO_VALUE:
    case NGX_EGRESS_RANGE_ALLOW:
        return NGX_OK;

    case NGX_EGRESS_RANGE_PRIVATE:
        return svc->location == NGX_EGRESS_INTERNAL ? NGX_OK : NGX_DECLINED;

    default:
        return NGX_DECLINED;
    }
}


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
