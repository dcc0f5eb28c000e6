
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/* spins before the owner of a lock is looked at */
#define NGX_EGRESS_LOCK_SPIN      2048

/* services looked at in one go for endpoints that have left */
#define NGX_EGRESS_SWEEP          1000

/* holds of a page: one page of the slab in all */
#define NGX_EGRESS_PAGE_HOLDS                                                 \
    ((ngx_pagesize - offsetof(ngx_egress_page_t, holds))                      \
     / sizeof(ngx_egress_hold_t))

/*
 * A process may still have a set with an endpoint that has left the answer:
 * it looks at the answer again before each use, so that this is ample.
 */
#define NGX_EGRESS_STATE_GRACE    60000

/* the same with less than half of the zone free: who has it still, finds out */
#define NGX_EGRESS_STATE_SCARCE   1000


static ngx_egress_zone_t *ngx_egress_zone_create(ngx_slab_pool_t *shpool,
    ngx_egress_conf_t *ecf);
static size_t ngx_egress_service_memory(ngx_egress_service_t *svc);
static size_t ngx_egress_slab(size_t size);
static ngx_int_t ngx_egress_zone_configure(ngx_egress_zone_t *zone,
    ngx_slab_pool_t *shpool, ngx_egress_conf_t *ecf);
static ngx_int_t ngx_egress_zone_services(ngx_egress_zone_t *zone,
    ngx_slab_pool_t *shpool, ngx_egress_conf_t *ecf);
static void ngx_egress_zone_undo(ngx_egress_zone_t *zone,
    ngx_slab_pool_t *shpool, ngx_uint_t gen);
static ngx_int_t ngx_egress_zone_service(ngx_egress_zone_t *zone,
    ngx_slab_pool_t *shpool, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc);
static ngx_egress_share_t *ngx_egress_share_add(ngx_egress_zone_t *zone,
    ngx_slab_pool_t *shpool, ngx_str_t *name, ngx_uint_t nturns);
static void ngx_egress_zone_forget(ngx_egress_zone_t *zone,
    ngx_slab_pool_t *shpool);
static ngx_uint_t ngx_egress_zone_oldest(ngx_egress_zone_t *zone);
static void ngx_egress_share_free(ngx_egress_zone_t *zone,
    ngx_slab_pool_t *shpool, ngx_egress_share_t *share);

static void ngx_egress_share_wait(ngx_egress_share_t *share);
static void ngx_egress_share_recount(ngx_egress_share_t *share);
static ngx_int_t ngx_egress_hold_page(void);
static void ngx_egress_hold_leave(ngx_egress_hold_t *hold);
static void ngx_egress_hold_give(ngx_egress_hold_t *hold, ngx_uint_t flags);
static void ngx_egress_hold_free(ngx_egress_hold_t *hold);
static void ngx_egress_hold_release(ngx_egress_hold_t *hold);
static void ngx_egress_proc_reap(ngx_egress_proc_t *proc,
    ngx_atomic_uint_t pid);
static ngx_int_t ngx_egress_state_init(ngx_egress_share_t *share,
    ngx_slab_pool_t *shpool, ngx_egress_endpoint_t *ep, ngx_uint_t gen);
static ngx_egress_state_t *ngx_egress_state_alloc(ngx_egress_share_t *share,
    ngx_slab_pool_t *shpool, struct sockaddr *sa, socklen_t socklen);


/* of this process */

static ngx_egress_proc_t  *ngx_egress_proc;
static ngx_egress_hold_t  *ngx_egress_free_holds;


/* the finalizer of murmur hash 3: each bit of the result depends on all */

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


ngx_uint_t
ngx_egress_alive(ngx_pid_t pid)
{
    return pid == ngx_pid || kill(pid, 0) == 0 || ngx_errno != NGX_ESRCH;
}


ngx_egress_zone_t *
ngx_egress_endpoint_zone(ngx_slab_pool_t **shpool)
{
    return ngx_egress_area(NGX_EGRESS_AREA_CORE, shpool);
}


ngx_int_t
ngx_egress_log_due(ngx_msec_t *logged)
{
    ngx_msec_t  now, last;

    now = ngx_current_msec;
    last = *logged;

    if (last && (ngx_msec_int_t) (now - last) < 1000) {
        return NGX_DECLINED;
    }

    *logged = now ? now : 1;

    return NGX_OK;
}


ngx_int_t
ngx_egress_endpoint_init_area(ngx_slab_pool_t *shpool, void **area,
    void *data, ngx_log_t *log)
{
    ngx_egress_conf_t *ecf = data;

    ngx_int_t           rc;
    ngx_egress_zone_t  *zone;

    ngx_shmtx_lock(&shpool->mutex);

    if (*area == NULL) {
        *area = ngx_egress_zone_create(shpool, ecf);
    }

    zone = *area;

    if (zone == NULL || zone->layout != NGX_EGRESS_ENDPOINT_LAYOUT) {
        rc = NGX_ERROR;

    } else {
        rc = ngx_egress_zone_configure(zone, shpool, ecf);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


static ngx_egress_zone_t *
ngx_egress_zone_create(ngx_slab_pool_t *shpool, ngx_egress_conf_t *ecf)
{
    ngx_uint_t          n;
    ngx_egress_zone_t  *zone;

    zone = ngx_slab_calloc_locked(shpool, sizeof(ngx_egress_zone_t));
    if (zone == NULL) {
        return NULL;
    }

    zone->layout = NGX_EGRESS_ENDPOINT_LAYOUT;

    ngx_rbtree_init(&zone->shares, &zone->sentinel,
                    ngx_str_rbtree_insert_value);

    /* some four names a bucket when all are there */

    for (n = 64; n < (ecf->dns + ecf->services.nelts) / 4; n *= 2) {
        /* void */
    }

    zone->names = ngx_slab_calloc_locked(shpool,
                                         n * sizeof(ngx_egress_name_t *));
    if (zone->names == NULL) {
        return NULL;
    }

    zone->mask = n - 1;

    return zone;
}


/* the slab gives out powers of 2; it has some pages of its own */

size_t
ngx_egress_endpoint_memory(ngx_egress_conf_t *ecf)
{
    size_t                  size;
    ngx_uint_t              i;
    ngx_egress_service_t  **svc;

    svc = ecf->services.elts;

    size = 32 * ngx_pagesize + 2 * ecf->dns * sizeof(void *);

    for (i = 0; i < ecf->services.nelts; i++) {
        size += ngx_egress_service_memory(svc[i]);
    }

    return size;
}


static size_t
ngx_egress_service_memory(ngx_egress_service_t *svc)
{
    size_t                  size, len;
    ngx_uint_t              i;
    ngx_egress_endpoint_t  *ep;

    len = offsetof(ngx_egress_share_t, turns)
          + ngx_max(svc->nvariants, 1) * sizeof(ngx_atomic_t) + svc->name.len;

    size = 2 * sizeof(void *) + ngx_egress_slab(len);

    ep = svc->endpoints ? svc->endpoints->elts : NULL;

    for (i = 0; ep && i < svc->endpoints->nelts; i++) {

        len = ep[i].sockaddr
              ? offsetof(ngx_egress_state_t, sockaddr) + ep[i].socklen
              : offsetof(ngx_egress_name_t, text) + ep[i].address.len;

        size += ngx_egress_slab(len);
    }

    for (i = 0; i < svc->nvariants; i++) {
        if (svc->variants[i].host) {
            len = offsetof(ngx_egress_name_t, text)
                  + svc->variants[i].host->len;

            size += ngx_egress_slab(len);
        }
    }

    return size;
}


static size_t
ngx_egress_slab(size_t size)
{
    size_t  n;

    for (n = 8; n < size; n *= 2) { /* void */ }

    return n;
}


/*
 * What the configuration has is reserved at start, so that nothing that grows
 * later can take its place.
 */

static ngx_int_t
ngx_egress_zone_configure(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool,
    ngx_egress_conf_t *ecf)
{
    ecf->gen = ++zone->gen;

    if (ngx_egress_zone_services(zone, shpool, ecf) != NGX_OK) {
        ngx_egress_zone_undo(zone, shpool, ecf->gen);
        return NGX_ERROR;
    }

    ngx_egress_zone_forget(zone, shpool);

    return NGX_OK;
}


static ngx_int_t
ngx_egress_zone_services(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool,
    ngx_egress_conf_t *ecf)
{
    ngx_uint_t              i;
    ngx_egress_service_t  **svc;

    svc = ecf->services.elts;

    for (i = 0; i < ecf->services.nelts; i++) {
        if (ngx_egress_zone_service(zone, shpool, ecf, svc[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_egress_zone_service(zone, shpool, ecf, &ecf->any);
}


/* a configuration that did not fit leaves to the last one what it had */

static void
ngx_egress_zone_undo(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool,
    ngx_uint_t gen)
{
    ngx_uint_t            i;
    ngx_egress_name_t   **n;
    ngx_egress_share_t   *share, **p;

    for (p = &zone->first; *p; /* void */ ) {

        share = *p;

        if (share->born != gen) {
            p = &share->link;
            continue;
        }

        *p = share->link;
        ngx_egress_share_free(zone, shpool, share);
    }

    for (i = 0; i <= zone->mask; i++) {
        for (n = &zone->names[i]; *n; /* void */ ) {

            if ((*n)->born == gen) {
                ngx_egress_name_free(zone, shpool, n);

            } else {
                n = &(*n)->next;
            }
        }
    }
}


static ngx_int_t
ngx_egress_zone_service(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool,
    ngx_egress_conf_t *ecf, ngx_egress_service_t *svc)
{
    ngx_uint_t              i;
    ngx_egress_variant_t   *variant;
    ngx_egress_endpoint_t  *ep;

    svc->share = ngx_egress_share_add(zone, shpool, &svc->name,
                                      ngx_max(svc->nvariants, 1));
    if (svc->share == NULL) {
        return NGX_ERROR;
    }

    svc->share->gen = (uint32_t) ecf->gen;

    if (svc->share->born == 0) {
        svc->share->born = (uint32_t) ecf->gen;
    }

    ep = svc->endpoints ? svc->endpoints->elts : NULL;

    for (i = 0; ep && i < svc->endpoints->nelts; i++) {

        if (ep[i].sockaddr) {
            if (ngx_egress_state_init(svc->share, shpool, &ep[i], ecf->gen)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            continue;
        }

        svc->named = 1;

        ep[i].name = ngx_egress_name_add(zone, shpool, &ep[i].address,
                                         ecf->gen, ecf->dns);
        if (ep[i].name == NULL) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < svc->nvariants; i++) {
        variant = &svc->variants[i];

        if (variant->host == NULL) {
            continue;
        }

        svc->named = 1;

        variant->name = ngx_egress_name_add(zone, shpool, variant->host,
                                            ecf->gen, ecf->dns);
        if (variant->name == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_egress_share_t *
ngx_egress_share_add(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool,
    ngx_str_t *name, ngx_uint_t nturns)
{
    size_t               size;
    uint32_t             hash;
    ngx_egress_share_t  *share;

    hash = ngx_crc32_long(name->data, name->len);

    share = (ngx_egress_share_t *) ngx_str_rbtree_lookup(&zone->shares, name,
                                                         hash);
    if (share) {
        return share;
    }

    /* one that gets more of them with a reload has to make do */

    size = offsetof(ngx_egress_share_t, turns) + nturns * sizeof(ngx_atomic_t);

    share = ngx_slab_calloc_locked(shpool, size + name->len);
    if (share == NULL) {
        return NULL;
    }

    share->nturns = (uint32_t) nturns;
    share->sn.node.key = hash;
    share->sn.str.len = name->len;
    share->sn.str.data = (u_char *) share + size;
    ngx_memcpy(share->sn.str.data, name->data, name->len);

    ngx_rbtree_insert(&zone->shares, &share->sn.node);

    share->link = zone->first;
    zone->first = share;

    return share;
}


/*
 * Shares that no process can have any more go when a configuration comes: the
 * tree is changed by the master only, which nobody kills to go on.
 */

static void
ngx_egress_zone_forget(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool)
{
    ngx_uint_t            i, oldest;
    ngx_egress_name_t   **n;
    ngx_egress_share_t   *share, **p;

    oldest = ngx_egress_zone_oldest(zone);

    for (p = &zone->first; *p; /* void */ ) {

        share = *p;

        if (share->gen >= oldest) {
            p = &share->link;
            continue;
        }

        *p = share->link;
        ngx_egress_share_free(zone, shpool, share);
    }

    /* nobody but an addition that is asked for would evict these */

    for (i = 0; i <= zone->mask; i++) {
        for (n = &zone->names[i]; *n; /* void */ ) {

            if ((*n)->gen && (*n)->gen < oldest) {
                ngx_egress_name_free(zone, shpool, n);

            } else {
                n = &(*n)->next;
            }
        }
    }
}


/* the oldest configuration that may still be in use; the last one counts */

static ngx_uint_t
ngx_egress_zone_oldest(ngx_egress_zone_t *zone)
{
    ngx_uint_t         i, oldest;
    ngx_atomic_int_t   pid;

    /* the one before is what a failed reload goes back to */

    oldest = zone->gen - 1;

    for (i = 0; i < NGX_EGRESS_PROCS; i++) {
        pid = (ngx_atomic_int_t) zone->procs[i].pid;

        if (pid && zone->procs[i].gen < oldest) {
            oldest = zone->procs[i].gen;
        }
    }

    return oldest;
}


static void
ngx_egress_share_free(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool,
    ngx_egress_share_t *share)
{
    ngx_egress_state_t  *state, *next;

    ngx_rbtree_delete(&zone->shares, &share->sn.node);

    for (state = share->states; state; state = next) {
        next = state->next;
        ngx_slab_free_locked(shpool, state);
    }

    ngx_slab_free_locked(shpool, share);
}


ngx_int_t
ngx_egress_endpoint_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t          i;
    ngx_slab_pool_t    *shpool;
    ngx_atomic_uint_t   pid;
    ngx_egress_page_t  *page;
    ngx_egress_zone_t  *zone;

    ngx_egress_proc = NULL;
    ngx_egress_free_holds = NULL;

    zone = ngx_egress_endpoint_zone(&shpool);
    if (zone == NULL) {
        return NGX_OK;
    }

    ngx_egress_endpoint_reap(zone, cycle->log);

    for (i = 0; i < NGX_EGRESS_PROCS; i++) {

        pid = zone->procs[i].pid;

        /* a pid that is this process's own is the one of a dead one */

        if (pid == (ngx_atomic_uint_t) ngx_pid
            || pid == -(ngx_atomic_uint_t) ngx_pid)
        {
            ngx_egress_proc_reap(&zone->procs[i], pid);
        }

        if (ngx_atomic_cmp_set(&zone->procs[i].pid, 0, ngx_pid)) {
            ngx_egress_proc = &zone->procs[i];
            break;
        }
    }

    if (ngx_egress_proc == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "more than %d processes in the egress zone",
                      NGX_EGRESS_PROCS);
        return NGX_OK;
    }

    ngx_egress_proc->gen = ngx_egress_get_core_conf(cycle)->gen;

    for (page = ngx_egress_proc->pages; page; page = page->next) {
        for (i = 0; i < page->n; i++) {
            page->holds[i].next = ngx_egress_free_holds;
            ngx_egress_free_holds = &page->holds[i];
        }
    }

    return NGX_OK;
}


void
ngx_egress_endpoint_exit_process(ngx_cycle_t *cycle)
{
    if (ngx_egress_proc == NULL) {
        return;
    }

    ngx_egress_proc_reap(ngx_egress_proc, ngx_pid);

    ngx_egress_proc = NULL;
    ngx_egress_free_holds = NULL;
}


void
ngx_egress_endpoint_reap(ngx_egress_zone_t *zone, ngx_log_t *log)
{
    ngx_uint_t         i;
    ngx_atomic_int_t   pid;

    for (i = 0; i < NGX_EGRESS_PROCS; i++) {

        pid = (ngx_atomic_int_t) zone->procs[i].pid;

        if (pid == 0 || ngx_egress_alive((ngx_pid_t) (pid < 0 ? -pid : pid)))
        {
            continue;
        }

        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "egress gives back what process %P held",
                      (ngx_pid_t) (pid < 0 ? -pid : pid));

        ngx_egress_proc_reap(&zone->procs[i], pid);
    }
}


void
ngx_egress_endpoint_stale(ngx_int_t n)
{
    if (ngx_egress_proc) {
        ngx_egress_proc->stale += n;
    }
}


ngx_uint_t
ngx_egress_endpoint_stale_total(void)
{
    ngx_uint_t          i, n;
    ngx_egress_zone_t  *zone;

    zone = ngx_egress_endpoint_zone(NULL);
    n = 0;

    for (i = 0; i < NGX_EGRESS_PROCS; i++) {
        n += zone->procs[i].pid ? zone->procs[i].stale : 0;
    }

    return n;
}


/* who dies in here leaves its own pid, for the next one */

static void
ngx_egress_proc_reap(ngx_egress_proc_t *proc, ngx_atomic_uint_t pid)
{
    ngx_uint_t          i;
    ngx_egress_page_t  *page;

    if (!ngx_atomic_cmp_set(&proc->pid, pid, -(ngx_atomic_uint_t) ngx_pid)) {
        return;
    }

    for (page = proc->pages; page; page = page->next) {
        for (i = 0; i < page->n; i++) {
            ngx_egress_hold_release(&page->holds[i]);
        }
    }

    proc->gen = 0;
    proc->stale = 0;

    ngx_memory_barrier();

    proc->pid = 0;
}


void
ngx_egress_share_lock(ngx_egress_share_t *share)
{
    if (!ngx_atomic_cmp_set(&share->lock, 0, ngx_pid)) {
        ngx_egress_share_wait(share);
    }
}


static void
ngx_egress_share_wait(ngx_egress_share_t *share)
{
    ngx_uint_t         i;
    ngx_atomic_uint_t  owner;

    for ( ;; ) {

        for (i = 0; i < NGX_EGRESS_LOCK_SPIN; i++) {

            if (share->lock == 0
                && ngx_atomic_cmp_set(&share->lock, 0, ngx_pid))
            {
                return;
            }

            ngx_cpu_pause();
        }

        owner = share->lock;

        if (owner && !ngx_egress_alive((ngx_pid_t) owner)
            && ngx_atomic_cmp_set(&share->lock, owner, ngx_pid))
        {
            ngx_egress_share_recount(share);
            return;
        }

        ngx_sched_yield();
    }
}


void
ngx_egress_share_unlock(ngx_egress_share_t *share)
{
    /* nobody takes the lock from a living owner: a store is enough */

#if (NGX_HAVE_GCC_ATOMIC)

    __sync_lock_release(&share->lock);

#else

    (void) ngx_atomic_cmp_set(&share->lock, ngx_pid, 0);

#endif
}


/* the owner of the lock is dead: what it counted is what is held, no more */

static void
ngx_egress_share_recount(ngx_egress_share_t *share)
{
    ngx_uint_t           i, n, k;
    ngx_egress_hold_t   *hold;
    ngx_egress_page_t   *page;
    ngx_egress_zone_t   *zone;
    ngx_egress_state_t  *state;

    zone = ngx_egress_endpoint_zone(NULL);

    ngx_memzero(share->held, sizeof(share->held));

    for (state = share->states; state; state = state->next) {
        state->active = 0;
        state->idle = 0;
    }

    for (i = 0; i < NGX_EGRESS_PROCS; i++) {
        for (page = zone->procs[i].pages; page; page = page->next) {
            for (n = 0; n < page->n; n++) {

                hold = &page->holds[n];

                if (hold->share != share) {
                    continue;
                }

                for (k = 0; k < NGX_EGRESS_HOLD_KINDS; k++) {
                    share->held[k] += (hold->flags >> k) & 1;
                }

                if (hold->state && (hold->flags & NGX_EGRESS_HOLD_IDLE)) {
                    hold->state->idle++;

                } else if (hold->state) {
                    hold->state->active++;
                }
            }
        }
    }
}


ngx_egress_hold_t *
ngx_egress_hold_create(ngx_egress_share_t *share)
{
    ngx_egress_hold_t  *hold;

    if (ngx_egress_free_holds == NULL && ngx_egress_hold_page() != NGX_OK) {
        return NULL;
    }

    hold = ngx_egress_free_holds;
    ngx_egress_free_holds = hold->next;

    /* a free one counts for nothing, whoever counts meanwhile */

    hold->share = share;

    return hold;
}


static ngx_int_t
ngx_egress_hold_page(void)
{
    ngx_uint_t          i;
    ngx_slab_pool_t    *shpool;
    ngx_egress_page_t  *page;
    ngx_egress_zone_t  *zone;

    zone = ngx_egress_endpoint_zone(&shpool);

    page = ngx_egress_proc ? ngx_slab_calloc(shpool, ngx_pagesize) : NULL;

    if (page == NULL) {
        (void) ngx_atomic_fetch_add(&zone->full, 1);
        return NGX_ERROR;
    }

    page->n = NGX_EGRESS_PAGE_HOLDS;

    for (i = 0; i < page->n; i++) {
        page->holds[i].next = ngx_egress_free_holds;
        ngx_egress_free_holds = &page->holds[i];
    }

    page->next = ngx_egress_proc->pages;

    ngx_memory_barrier();

    ngx_egress_proc->pages = page;

    return NGX_OK;
}


ngx_int_t
ngx_egress_hold_add(ngx_egress_hold_t *hold, ngx_uint_t flag, ngx_int_t max)
{
    ngx_uint_t           k;
    ngx_egress_share_t  *share;

    share = hold->share;

    if (hold->flags & flag) {
        return NGX_OK;
    }

    for (k = 0; (flag >> k) != 1; k++) { /* void */ }

    ngx_egress_share_lock(share);

    if (max != NGX_EGRESS_UNLIMITED && share->held[k] >= (ngx_uint_t) max) {
        ngx_egress_share_unlock(share);
        return NGX_BUSY;
    }

    hold->flags |= flag;
    share->held[k]++;

    ngx_egress_share_unlock(share);

    return NGX_OK;
}


ngx_int_t
ngx_egress_hold_begin(ngx_egress_hold_t *hold, ngx_int_t max)
{
    ngx_int_t            rc;
    ngx_egress_share_t  *share;

    share = hold->share;
    rc = NGX_BUSY;

    ngx_egress_share_lock(share);

    if (max == NGX_EGRESS_UNLIMITED
        || share->held[NGX_EGRESS_HELD_CONNECTIONS] < (ngx_uint_t) max)
    {
        hold->flags |= NGX_EGRESS_HOLD_REQUEST|NGX_EGRESS_HOLD_CONNECTION;
        share->held[NGX_EGRESS_HELD_REQUESTS]++;
        share->held[NGX_EGRESS_HELD_CONNECTIONS]++;

        rc = NGX_OK;
    }

    ngx_egress_share_unlock(share);

    return rc;
}


void
ngx_egress_hold_drop(ngx_egress_hold_t *hold, ngx_uint_t flags)
{
    if ((hold->flags & flags) == 0) {
        return;
    }

    ngx_egress_share_lock(hold->share);

    ngx_egress_hold_give(hold, flags);

    ngx_egress_share_unlock(hold->share);

    ngx_egress_wait_post();
}


/* share locked */

static void
ngx_egress_hold_give(ngx_egress_hold_t *hold, ngx_uint_t flags)
{
    ngx_uint_t  k;

    flags &= hold->flags;
    hold->flags &= ~flags;

    for (k = 0; flags; k++, flags >>= 1) {
        hold->share->held[k] -= flags & 1;
    }
}


ngx_int_t
ngx_egress_hold_use(ngx_egress_hold_t *hold, ngx_egress_state_t *state,
    uint64_t id)
{
    ngx_int_t  rc;

    rc = NGX_DECLINED;

    ngx_egress_share_lock(hold->share);

    /* memory that was set free has no such id, whatever it is used for */

    if (state->id == id) {
        hold->state = state;
        state->active++;
        state->picked++;

        rc = NGX_OK;
    }

    ngx_egress_share_unlock(hold->share);

    return rc;
}


void
ngx_egress_hold_unuse(ngx_egress_hold_t *hold)
{
    if (hold->state == NULL) {
        return;
    }

    ngx_egress_share_lock(hold->share);

    hold->state->active--;
    hold->state = NULL;

    ngx_egress_share_unlock(hold->share);
}


void
ngx_egress_hold_park(ngx_egress_hold_t *to, ngx_egress_hold_t *from)
{
    ngx_egress_state_t  *state;

    state = from->state;

    ngx_egress_share_lock(from->share);

    if (state) {
        state->active--;
        state->idle++;
        from->share->held[NGX_EGRESS_HELD_IDLE]++;
        to->flags |= NGX_EGRESS_HOLD_IDLE;
    }

    to->flags |= from->flags & NGX_EGRESS_HOLD_CONNECTION;
    to->state = state;

    from->flags &= ~NGX_EGRESS_HOLD_CONNECTION;
    from->state = NULL;

    ngx_egress_share_unlock(from->share);
}


void
ngx_egress_hold_resume(ngx_egress_hold_t *to, ngx_egress_hold_t *from)
{
    ngx_egress_share_t  *share;
    ngx_egress_state_t  *state;

    share = to->share;
    state = from->state;

    ngx_egress_share_lock(share);

    ngx_egress_hold_leave(to);
    ngx_egress_hold_give(to, NGX_EGRESS_HOLD_CONNECTION);

    if (state) {
        state->idle--;
        state->active++;
        state->picked++;
        share->held[NGX_EGRESS_HELD_IDLE]--;
    }

    to->flags |= from->flags & NGX_EGRESS_HOLD_CONNECTION;
    to->state = state;

    from->flags = 0;
    from->state = NULL;
    from->share = NULL;

    share->reused++;

    ngx_egress_share_unlock(share);

    ngx_egress_hold_free(from);
}


void
ngx_egress_hold_destroy(ngx_egress_hold_t *hold)
{
    ngx_egress_hold_release(hold);
    ngx_egress_hold_free(hold);
}


/* it counts for nothing; what it did count for, somebody may wait for */

static void
ngx_egress_hold_free(ngx_egress_hold_t *hold)
{
    hold->next = ngx_egress_free_holds;
    ngx_egress_free_holds = hold;

    ngx_egress_wait_post();
}


static void
ngx_egress_hold_release(ngx_egress_hold_t *hold)
{
    ngx_egress_share_t  *share;

    share = hold->share;

    if (share == NULL) {
        return;
    }

    ngx_egress_share_lock(share);

    ngx_egress_hold_leave(hold);
    ngx_egress_hold_give(hold, hold->flags);

    hold->share = NULL;

    ngx_egress_share_unlock(share);
}


/* share locked */

static void
ngx_egress_hold_leave(ngx_egress_hold_t *hold)
{
    if (hold->state == NULL) {
        return;
    }

    if (hold->flags & NGX_EGRESS_HOLD_IDLE) {
        hold->state->idle--;

    } else {
        hold->state->active--;
    }

    hold->state = NULL;
}


ngx_uint_t
ngx_egress_zone_scarce(ngx_slab_pool_t *shpool, ngx_uint_t parts)
{
    return shpool->pfree
           < (ngx_uint_t) (shpool->last - shpool->pages) / parts;
}


ngx_egress_state_t *
ngx_egress_state_add(ngx_egress_share_t *share, struct sockaddr *sa,
    socklen_t socklen)
{
    ngx_slab_pool_t     *shpool;
    ngx_egress_zone_t   *zone;
    ngx_egress_state_t  *state;

    zone = ngx_egress_endpoint_zone(&shpool);

    ngx_shmtx_lock(&shpool->mutex);

    state = (share->nstates >= NGX_EGRESS_ADDRS_FEW
             && ngx_egress_zone_scarce(shpool, NGX_EGRESS_ZONE_RESERVE))
            ? NULL : ngx_egress_state_alloc(share, shpool, sa, socklen);

    ngx_shmtx_unlock(&shpool->mutex);

    if (state == NULL) {
        (void) ngx_atomic_fetch_add(&zone->full, 1);
    }

    return state;
}


/* the mutex is locked; older workers may be at work with the share */

static ngx_int_t
ngx_egress_state_init(ngx_egress_share_t *share, ngx_slab_pool_t *shpool,
    ngx_egress_endpoint_t *ep, ngx_uint_t gen)
{
    ngx_sockaddr_t       sa;
    ngx_egress_state_t  *state;

    /* with its port, as sets look for it */

    ngx_memcpy(&sa, ep->sockaddr, ep->socklen);

    if (ep->port && sa.sockaddr.sa_family != AF_UNIX) {
        ngx_inet_set_port(&sa.sockaddr, ep->port);
    }

    for (state = share->states; state; state = state->next) {
        if (ngx_cmp_sockaddr((struct sockaddr *) state->sockaddr,
                             state->socklen, &sa.sockaddr, ep->socklen, 1)
            == NGX_OK)
        {
            break;
        }
    }

    if (state == NULL) {
        state = ngx_egress_state_alloc(share, shpool, &sa.sockaddr,
                                       ep->socklen);
        if (state == NULL) {
            return NGX_ERROR;
        }
    }

    state->gen = gen;

    return NGX_OK;
}


static ngx_egress_state_t *
ngx_egress_state_alloc(ngx_egress_share_t *share, ngx_slab_pool_t *shpool,
    struct sockaddr *sa, socklen_t socklen)
{
    ngx_egress_state_t  *state;

    state = ngx_slab_calloc_locked(shpool,
                                   offsetof(ngx_egress_state_t, sockaddr)
                                   + socklen);
    if (state == NULL) {
        return NULL;
    }

    state->socklen = socklen;
    ngx_memcpy(state->sockaddr, sa, socklen);

    state->id = ngx_egress_mix(++share->ids + (uintptr_t) share);
    state->seen = ngx_current_msec;
    state->next = share->states;

    ngx_memory_barrier();

    share->states = state;
    share->nstates++;

    return state;
}


void
ngx_egress_state_expire(ngx_egress_share_t *share, ngx_msec_t now)
{
    ngx_msec_int_t        grace;
    ngx_slab_pool_t      *shpool;
    ngx_egress_zone_t    *zone;
    ngx_egress_state_t   *state, **p;

    zone = ngx_egress_endpoint_zone(&shpool);

    /* the master adds to the list with only this one locked */

    ngx_shmtx_lock(&shpool->mutex);

    grace = ngx_egress_zone_scarce(shpool, 2) ? NGX_EGRESS_STATE_SCARCE
                                              : NGX_EGRESS_STATE_GRACE;

    for (p = &share->states; *p; /* void */ ) {

        state = *p;

        if (state->active || state->idle
            || (state->gen && state->gen + 1 >= zone->gen)
            || (ngx_msec_int_t) (now - state->seen) < grace)
        {
            p = &state->next;
            continue;
        }

        *p = state->next;
        share->nstates--;
        state->id = 0;

        ngx_slab_free_locked(shpool, state);
    }

    ngx_shmtx_unlock(&shpool->mutex);
}


/* of services without traffic nobody else looks at what has left */

void
ngx_egress_endpoint_sweep(ngx_egress_conf_t *ecf)
{
    ngx_uint_t              n;
    ngx_egress_service_t  **svc, *s;

    static ngx_uint_t  next;

    svc = ecf->services.elts;

    for (n = ngx_min(NGX_EGRESS_SWEEP, ecf->services.nelts); n; n--) {

        s = svc[next++ % ecf->services.nelts];

        if (s->endpoints == NULL || s->share->nstates <= s->endpoints->nelts)
        {
            continue;
        }

        ngx_egress_share_lock(s->share);
        ngx_egress_state_expire(s->share, ngx_current_msec);
        ngx_egress_share_unlock(s->share);
    }
}
