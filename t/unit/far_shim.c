
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include "far_shim.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>


#define SHIM_FIRST  0x0a000001             /* 10.0.0.1 */


typedef struct shim_block_s  shim_block_t;

struct shim_block_s {
    shim_block_t  *next;
    ngx_uint_t     align;                  /* what follows is at 16 */
};


static void *shim_alloc(size_t size);


volatile ngx_msec_t    ngx_current_msec = 1000000;
ngx_pid_t              ngx_pid = 1;
uint32_t              *ngx_crc32_table_short;
uint32_t               ngx_crc32_table256[256];
ngx_module_t           ngx_egress_module;

static ngx_egress_conf_t  shim_conf;
static void              *shim_ctx[1] = { &shim_conf };
static ngx_log_t          shim_log;
static ngx_cycle_t        shim_cycle = { .conf_ctx = (void ****) shim_ctx,
                                         .log = &shim_log };
static ngx_egress_zone_t  shim_zone;
static ngx_uint_t         shim_version = 1;

volatile ngx_cycle_t  *ngx_cycle = &shim_cycle;


static void *
shim_alloc(size_t size)
{
    void  *p;

    p = calloc(1, size);
    assert(p != NULL);

    return p;
}


ngx_egress_service_t *
shim_service(ngx_uint_t balance, ngx_uint_t n)
{
    ngx_uint_t              i;
    struct sockaddr_in     *sin;
    ngx_egress_service_t   *svc;
    ngx_egress_endpoint_t  *ep;

    for (i = 0; i < 256; i++) {
        /* any permutation will do, CRC's is not asked for */
        ngx_crc32_table256[i] = (uint32_t) ngx_egress_mix(i + 1);
    }

    svc = shim_alloc(sizeof(ngx_egress_service_t));
    svc->conf = shim_alloc(sizeof(ngx_egress_service_conf_t));

    /* as many turns as any of the tests' services has variants */

    svc->share = shim_alloc(sizeof(ngx_egress_share_t)
                            + 15 * sizeof(ngx_atomic_t));
    svc->share->nturns = 16;
    svc->variants = shim_alloc(8 * sizeof(ngx_egress_variant_t));
    svc->nvariants = 1;
    svc->conf->resolution = NGX_EGRESS_STATIC;
    svc->conf->balance = balance;
    svc->endpoints = shim_alloc(sizeof(ngx_array_t));
    svc->endpoints->elts = shim_alloc(n * sizeof(ngx_egress_endpoint_t));
    svc->endpoints->nelts = n;

    ep = svc->endpoints->elts;

    for (i = 0; i < n; i++) {
        sin = shim_alloc(sizeof(struct sockaddr_in));
        sin->sin_family = AF_INET;
        sin->sin_addr.s_addr = htonl(SHIM_FIRST + i);
        sin->sin_port = htons(80);

        ep[i].sockaddr = (struct sockaddr *) sin;
        ep[i].socklen = sizeof(struct sockaddr_in);
        ep[i].weight = 1;
    }

    shim_cycle.pool = ngx_create_pool(1024, &shim_log);

    return svc;
}


ngx_egress_endpoint_t *
shim_endpoint(ngx_egress_service_t *svc, ngx_uint_t n)
{
    return (ngx_egress_endpoint_t *) svc->endpoints->elts + n;
}


ngx_egress_set_t *
shim_set(ngx_egress_service_t *svc, ngx_uint_t variant)
{
    ngx_egress_set_t  *set;

    set = ngx_egress_set(svc, variant, &shim_log);
    assert(set != NULL);

    return set;
}


ngx_uint_t
shim_number(ngx_egress_member_t *m)
{
    return ntohl(((struct sockaddr_in *) m->sockaddr)->sin_addr.s_addr)
           - SHIM_FIRST;
}


void
shim_eject(ngx_egress_service_t *svc, ngx_egress_set_t *set, ngx_uint_t n,
    ngx_msec_t until)
{
    set->members[n].state->ejected = until;
    svc->share->health++;
}


void
shim_changed(void)
{
    shim_version++;
}


/* of nginx */

ngx_pool_t *
ngx_create_pool(size_t size, ngx_log_t *log)
{
    return shim_alloc(sizeof(ngx_pool_t));
}


void
ngx_reset_pool(ngx_pool_t *pool)
{
    shim_block_t  *block, *next;

    for (block = (shim_block_t *) pool->chain; block; block = next) {
        next = block->next;
        free(block);
    }

    pool->chain = NULL;
}


void
ngx_destroy_pool(ngx_pool_t *pool)
{
    ngx_reset_pool(pool);
    free(pool);
}


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    shim_block_t  *block;

    block = shim_alloc(sizeof(shim_block_t) + size);
    block->next = (shim_block_t *) pool->chain;
    pool->chain = (ngx_chain_t *) block;

    return block + 1;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_calloc(size_t size, ngx_log_t *log)
{
    return calloc(1, size);
}


void *
ngx_array_push(ngx_array_t *a)
{
    void  *elts;

    if (a->nelts == a->nalloc) {
        elts = ngx_palloc(a->pool, 2 * a->nalloc * a->size);
        memcpy(elts, a->elts, a->nelts * a->size);

        a->elts = elts;
        a->nalloc *= 2;
    }

    return (u_char *) a->elts + a->size * a->nelts++;
}


ngx_int_t
ngx_cmp_sockaddr(struct sockaddr *sa1, socklen_t slen1, struct sockaddr *sa2,
    socklen_t slen2, ngx_uint_t cmp_port)
{
    struct sockaddr_in  *a, *b;

    a = (struct sockaddr_in *) sa1;
    b = (struct sockaddr_in *) sa2;

    return (a->sin_addr.s_addr == b->sin_addr.s_addr
            && a->sin_port == b->sin_port) ? NGX_OK : NGX_DECLINED;
}


void
ngx_inet_set_port(struct sockaddr *sa, in_port_t port)
{
    ((struct sockaddr_in *) sa)->sin_port = htons(port);
}


in_port_t
ngx_inet_get_port(struct sockaddr *sa)
{
    return ntohs(((struct sockaddr_in *) sa)->sin_port);
}


size_t
ngx_sock_ntop(struct sockaddr *sa, socklen_t socklen, u_char *text, size_t len,
    ngx_uint_t port)
{
    u_char  *p;

    p = (u_char *) &((struct sockaddr_in *) sa)->sin_addr;

    return snprintf((char *) text, len, "%u.%u.%u.%u:%u", p[0], p[1], p[2],
                    p[3], ntohs(((struct sockaddr_in *) sa)->sin_port));
}


/* one of its kind: who asks wants a number that depends on all bytes */

uint32_t
ngx_murmur_hash2(u_char *data, size_t len)
{
    uint64_t  h;

    for (h = len; len; len--) {
        h = ngx_egress_mix(h * 256 + *data++);
    }

    return (uint32_t) h;
}


void
ngx_log_error_core(ngx_uint_t level, ngx_log_t *log, ngx_err_t err,
    const char *fmt, ...)
{
}


/* of the core */

uint64_t
ngx_egress_mix(uint64_t n)
{
    n ^= n >> 33;
    n *= 0xff51afd7ed558ccdULL;
    n ^= n >> 33;
    n *= 0xc4ceb9fe1a85ec53ULL;
    n ^= n >> 33;

    return n;
}


ngx_egress_zone_t *
ngx_egress_endpoint_zone(ngx_slab_pool_t **shpool)
{
    return &shim_zone;
}


ngx_int_t
ngx_egress_log_due(ngx_msec_t *logged)
{
    return NGX_DECLINED;
}


void
ngx_egress_share_lock(ngx_egress_share_t *share)
{
    assert(share->lock == 0);
    share->lock = 1;
}


void
ngx_egress_share_unlock(ngx_egress_share_t *share)
{
    assert(share->lock == 1);
    share->lock = 0;
}


ngx_egress_state_t *
ngx_egress_state_add(ngx_egress_share_t *share, struct sockaddr *sa,
    socklen_t socklen)
{
    ngx_egress_state_t  *state;

    state = shim_alloc(sizeof(ngx_egress_state_t) + socklen);
    state->socklen = socklen;
    memcpy(state->sockaddr, sa, socklen);
    state->id = ++share->ids;
    state->next = share->states;
    share->states = state;

    return state;
}


void
ngx_egress_state_expire(ngx_egress_share_t *share, ngx_msec_t now)
{
}


ngx_int_t
ngx_egress_guard_check(ngx_egress_conf_t *ecf, ngx_egress_service_t *svc,
    struct sockaddr *sa)
{
    return NGX_OK;
}


ngx_int_t
ngx_egress_name_copy(ngx_egress_name_t *name, ngx_pool_t *pool,
    ngx_egress_addr_t **addrs, ngx_uint_t *n)
{
    *n = 0;
    return NGX_OK;
}


ngx_uint_t
ngx_egress_names_version(ngx_egress_service_t *svc,
    ngx_egress_variant_t *variant)
{
    return shim_version;
}
