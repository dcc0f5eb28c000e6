
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_far.h>


/* buckets of names looked through with the mutex locked */
#define NGX_EGRESS_FAR_BUCKETS  1024


static ngx_int_t ngx_egress_far_places(ngx_egress_service_t *svc,
    ngx_array_t *endpoints);
static ngx_int_t ngx_egress_far_answer(ngx_egress_service_t *svc,
    ngx_egress_name_t *name, ngx_egress_endpoint_t *ep,
    ngx_array_t *endpoints);
static ngx_int_t ngx_egress_far_place(ngx_array_t *endpoints,
    ngx_egress_endpoint_t *ep, struct sockaddr *sa, socklen_t socklen);
static ngx_int_t ngx_egress_far_states(ngx_egress_share_t *share,
    ngx_array_t *endpoints);
static void ngx_egress_far_state(ngx_egress_far_endpoint_t *far,
    ngx_egress_state_t *state);
static void ngx_egress_far_merge(ngx_array_t *endpoints);
static void ngx_egress_far_join(ngx_egress_far_endpoint_t *to,
    ngx_egress_far_endpoint_t *from);
static int ngx_libc_cdecl ngx_egress_far_cmp(const void *one,
    const void *two);
static void ngx_egress_far_name(ngx_egress_far_name_t *far,
    ngx_egress_name_t *name);


ngx_egress_service_t *
ngx_egress_far_nth(ngx_uint_t n)
{
    ngx_egress_conf_t      *ecf;
    ngx_egress_service_t  **svc;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    svc = ecf->services.elts;

    if (n < ecf->services.nelts) {
        return svc[n];
    }

    if (n == ecf->services.nelts
        && ecf->outbound_policy == NGX_EGRESS_ALLOW_ANY)
    {
        return &ecf->any;
    }

    return NULL;
}


void
ngx_egress_far_service(ngx_egress_service_t *svc,
    ngx_egress_far_service_t *far)
{
    ngx_egress_share_t  *share;

    share = svc->share;

    ngx_egress_share_lock(share);

    ngx_memcpy(far->held, share->held, sizeof(share->held));

    ngx_egress_share_unlock(share);

    far->opened = share->opened;
    far->reused = share->reused;
    far->failed = share->failed;
    far->overflows = share->overflows;
    far->retried = share->retried;
    far->retry_overflows = share->retry_overflows;
    far->ejections = share->ejections;
    far->denied = share->denied;
}


ngx_int_t
ngx_egress_far_endpoints(ngx_egress_service_t *svc, ngx_pool_t *pool,
    ngx_array_t *endpoints)
{
    if (ngx_array_init(endpoints, pool, 8, sizeof(ngx_egress_far_endpoint_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (svc->conf->resolution == NGX_EGRESS_DYNAMIC) {
        return NGX_OK;
    }

    ngx_egress_outlier_sweep(svc);

    if (ngx_egress_far_places(svc, endpoints) != NGX_OK
        || ngx_egress_far_states(svc->share, endpoints) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_egress_far_merge(endpoints);

    return NGX_OK;
}


/* of the configuration and of the last answers */

static ngx_int_t
ngx_egress_far_places(ngx_egress_service_t *svc, ngx_array_t *endpoints)
{
    ngx_uint_t              i;
    ngx_egress_endpoint_t  *ep, host;

    if (svc->endpoints == NULL) {

        ngx_memzero(&host, sizeof(ngx_egress_endpoint_t));
        host.weight = 1;

        for (i = 0; i < svc->nvariants; i++) {
            if (ngx_egress_far_answer(svc, svc->variants[i].name, &host,
                                      endpoints)
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }

        return NGX_OK;
    }

    ep = svc->endpoints->elts;

    for (i = 0; i < svc->endpoints->nelts; i++) {
        if ((ep[i].sockaddr
             ? ngx_egress_far_place(endpoints, &ep[i], ep[i].sockaddr,
                                    ep[i].socklen)
             : ngx_egress_far_answer(svc, ep[i].name, &ep[i], endpoints))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_far_answer(ngx_egress_service_t *svc, ngx_egress_name_t *name,
    ngx_egress_endpoint_t *ep, ngx_array_t *endpoints)
{
    ngx_uint_t          i, n;
    ngx_egress_conf_t  *ecf;
    ngx_egress_addr_t  *addrs;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    if (ngx_egress_name_copy(name, endpoints->pool, &addrs, &n) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (ep->port) {
            ngx_inet_set_port(&addrs[i].sockaddr, ep->port);
        }

        if (ngx_egress_guard_check(ecf, svc, &addrs[i].sockaddr) != NGX_OK) {
            continue;
        }

        if (ngx_egress_far_place(endpoints, ep, &addrs[i].sockaddr,
                                 addrs[i].sockaddr.sa_family == AF_INET
                                     ? sizeof(struct sockaddr_in)
                                     : sizeof(ngx_egress_addr_t))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_far_place(ngx_array_t *endpoints, ngx_egress_endpoint_t *ep,
    struct sockaddr *sa, socklen_t socklen)
{
    ngx_egress_far_endpoint_t  *far;

    far = ngx_array_push(endpoints);
    if (far == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(far, sizeof(ngx_egress_far_endpoint_t));
    ngx_memcpy(&far->sa, sa, socklen);

    if (ep->port && sa->sa_family != AF_UNIX) {
        ngx_inet_set_port(&far->sa.sockaddr, ep->port);
    }

    far->socklen = socklen;
    far->weight = ep->weight;
    far->level = ep->level;
    far->placed = 1;
    far->spelled = (ep->sockaddr != NULL);

    return NGX_OK;
}


/* memory comes first: there may be more of them when the lock is taken */

static ngx_int_t
ngx_egress_far_states(ngx_egress_share_t *share, ngx_array_t *endpoints)
{
    ngx_uint_t                  n, max;
    ngx_egress_state_t         *state;
    ngx_egress_far_endpoint_t  *far;

    max = 0;

    ngx_egress_share_lock(share);

    for (state = share->states; state; state = state->next) {
        max++;
    }

    ngx_egress_share_unlock(share);

    max = ngx_min(max, NGX_EGRESS_FAR_STATES);

    if (max == 0) {
        return NGX_OK;
    }

    far = ngx_array_push_n(endpoints, max);
    if (far == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(far, max * sizeof(ngx_egress_far_endpoint_t));

    n = 0;

    ngx_egress_share_lock(share);

    for (state = share->states; state && n < max; state = state->next) {
        ngx_egress_far_state(&far[n++], state);
    }

    ngx_egress_share_unlock(share);

    endpoints->nelts -= max - n;

    return NGX_OK;
}


static void
ngx_egress_far_state(ngx_egress_far_endpoint_t *far, ngx_egress_state_t *state)
{
    ngx_memcpy(&far->sa, state->sockaddr, state->socklen);

    far->socklen = state->socklen;
    far->active = state->active;
    far->idle = state->idle;
    far->picked = state->picked;
    far->failed = state->failed;
    far->errors = state->errors;
    far->ejections = state->ejections;
    far->ejected = state->ejected;
    far->returned = state->returned;
    far->known = 1;
}


/* one address is one endpoint, as in a set */

static void
ngx_egress_far_merge(ngx_array_t *endpoints)
{
    ngx_uint_t                  i, n;
    ngx_egress_far_endpoint_t  *far;

    if (endpoints->nelts == 0) {
        return;
    }

    far = endpoints->elts;

    ngx_qsort(far, endpoints->nelts, sizeof(ngx_egress_far_endpoint_t),
              ngx_egress_far_cmp);

    for (i = 1, n = 0; i < endpoints->nelts; i++) {

        if (ngx_egress_far_cmp(&far[n], &far[i]) == 0) {
            ngx_egress_far_join(&far[n], &far[i]);
            continue;
        }

        far[++n] = far[i];
    }

    endpoints->nelts = n + 1;
}


static void
ngx_egress_far_join(ngx_egress_far_endpoint_t *to,
    ngx_egress_far_endpoint_t *from)
{
    if (from->placed) {
        to->level = to->placed ? ngx_min(to->level, from->level)
                               : from->level;
        to->weight += from->weight;
        to->spelled |= from->spelled;
        to->placed = 1;
        return;
    }

    to->active = from->active;
    to->idle = from->idle;
    to->picked = from->picked;
    to->failed = from->failed;
    to->errors = from->errors;
    to->ejections = from->ejections;
    to->ejected = from->ejected;
    to->returned = from->returned;
    to->known = 1;
}


static int ngx_libc_cdecl
ngx_egress_far_cmp(const void *one, const void *two)
{
    int                               rc;
    const ngx_egress_far_endpoint_t  *a, *b;

    a = one;
    b = two;

    if (a->sa.sockaddr.sa_family != b->sa.sockaddr.sa_family) {
        return a->sa.sockaddr.sa_family - b->sa.sockaddr.sa_family;
    }

    switch (a->sa.sockaddr.sa_family) {

#if (NGX_HAVE_INET6)
    case AF_INET6:
        rc = ngx_memcmp(&a->sa.sockaddr_in6.sin6_addr,
                        &b->sa.sockaddr_in6.sin6_addr, 16);

        return rc ? rc : ntohs(a->sa.sockaddr_in6.sin6_port)
                         - ntohs(b->sa.sockaddr_in6.sin6_port);
#endif

#if (NGX_HAVE_UNIX_DOMAIN)
    case AF_UNIX:
        return ngx_strncmp(a->sa.sockaddr_un.sun_path,
                           b->sa.sockaddr_un.sun_path,
                           sizeof(a->sa.sockaddr_un.sun_path));
#endif

    default: /* AF_INET */
        rc = ngx_memcmp(&a->sa.sockaddr_in.sin_addr,
                        &b->sa.sockaddr_in.sin_addr, 4);

        return rc ? rc : ntohs(a->sa.sockaddr_in.sin_port)
                         - ntohs(b->sa.sockaddr_in.sin_port);
    }
}


ngx_uint_t
ngx_egress_far_names(ngx_egress_far_cursor_t *cursor,
    ngx_egress_far_name_t *names)
{
    ngx_uint_t          n, i, last;
    ngx_slab_pool_t    *shpool;
    ngx_egress_name_t  *name;
    ngx_egress_zone_t  *zone;

    zone = ngx_egress_endpoint_zone(&shpool);

    if (zone == NULL) {
        return 0;
    }

    n = 0;

    while (n == 0 && cursor->bucket <= zone->mask) {

        last = ngx_min(cursor->bucket + NGX_EGRESS_FAR_BUCKETS - 1,
                       zone->mask);

        ngx_shmtx_lock(&shpool->mutex);

        for ( /* void */ ; cursor->bucket <= last; cursor->bucket++) {

            i = 0;

            for (name = zone->names[cursor->bucket];
                 name && n < NGX_EGRESS_FAR_NAMES;
                 name = name->next)
            {
                if (i++ >= cursor->skip) {
                    ngx_egress_far_name(&names[n++], name);
                }
            }

            if (name) {
                cursor->skip = i;
                break;
            }

            cursor->skip = 0;
        }

        ngx_shmtx_unlock(&shpool->mutex);
    }

    return n;
}


/* the mutex is locked */

static void
ngx_egress_far_name(ngx_egress_far_name_t *far, ngx_egress_name_t *name)
{
    far->len = ngx_min(name->len, sizeof(far->text));
    ngx_memcpy(far->text, name->text, far->len);

    far->n = 0;
    far->total = 0;
    far->has_answer = (name->answer != NULL);

    if (name->answer) {
        far->total = name->answer->n;
        far->n = ngx_min(far->total, NGX_EGRESS_FAR_ADDRS);
        ngx_memcpy(far->addrs, name->answer->addrs,
                   far->n * sizeof(ngx_egress_addr_t));
    }

    far->failures = name->failures;
    far->lookups = name->lookups;
    far->errors = name->errors;
    far->answered = name->answered;
    far->expires = name->expires;
    far->configured = (name->gen != 0);
}


ngx_int_t
ngx_egress_far_zone(ngx_egress_far_zone_t *far)
{
    ngx_uint_t          i;
    ngx_slab_pool_t    *shpool;
    ngx_egress_conf_t  *ecf;
    ngx_egress_zone_t  *zone;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    zone = ngx_egress_endpoint_zone(&shpool);

    if (zone == NULL) {
        return NGX_DECLINED;
    }

    ngx_memzero(far, sizeof(ngx_egress_far_zone_t));

    ngx_shmtx_lock(&shpool->mutex);

    far->free_pages = shpool->pfree;
    far->full = zone->full;
    far->leader = (ngx_pid_t) zone->leader;
    far->names = zone->asked;
    far->evicted = (ngx_uint_t) zone->evicted;
    far->generation = zone->gen;

    for (i = 0; i < NGX_EGRESS_PROCS; i++) {
        far->processes += ((ngx_atomic_int_t) zone->procs[i].pid > 0);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    far->size = ecf->zone->shm.size;
    far->free = far->free_pages * ngx_pagesize;

    return NGX_OK;
}
