
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/* how often names are looked through, and those that wait for other processes
   are, in milliseconds */
#define NGX_EGRESS_NAMES_TICK       200
#define NGX_EGRESS_WAIT_TICK        10

/* buckets of names looked through with the mutex locked */
#define NGX_EGRESS_NAMES_BATCH      256

/* lookups of one process at a time that no flow waits for */
#define NGX_EGRESS_LOOKUPS_MAX      128

/* a lookup that takes longer than it may is somebody else's, after this */
#define NGX_EGRESS_LOOKUP_OVERDUE   2000

/* how long it is believed that a name has no address, within dns_ttl */
#define NGX_EGRESS_NEGATIVE         5000

/* after a failure: 1, 2, 4, 8 s, and so on to this */
#define NGX_EGRESS_BACKOFF          1000
#define NGX_EGRESS_BACKOFF_MAX      30000

/* names looked at for one to evict */
#define NGX_EGRESS_EVICT_TRIES      16


/* of this process; the name is found again by its text */

typedef struct {
    ngx_resolver_ctx_t         *ctx;
    unsigned                    background:1;
    unsigned                    second:1;  /* IPv4 only, after a failure */
    size_t                      len;
    u_char                      text[NGX_EGRESS_HOST_MAX + 1];
} ngx_egress_lookup_t;


static ngx_egress_name_t *ngx_egress_name_find(ngx_egress_zone_t *zone,
    ngx_str_t *text, uint32_t hash);
static ngx_int_t ngx_egress_name_evict(ngx_egress_zone_t *zone,
    ngx_slab_pool_t *shpool);

static ngx_int_t ngx_egress_name_check(ngx_egress_conf_t *ecf,
    ngx_egress_name_t *name, ngx_msec_t now, ngx_uint_t *start);
static void ngx_egress_name_forget(ngx_egress_name_t *name);
static ngx_uint_t ngx_egress_name_usable(ngx_egress_conf_t *ecf,
    ngx_egress_name_t *name, ngx_msec_t now);
static ngx_uint_t ngx_egress_name_busy(ngx_egress_conf_t *ecf,
    ngx_egress_name_t *name, ngx_msec_t now);
static void ngx_egress_name_begin(ngx_egress_name_t *name, ngx_msec_t now);

static void ngx_egress_lookup_start(ngx_egress_conf_t *ecf, u_char *text,
    size_t len, ngx_uint_t background);
static ngx_int_t ngx_egress_lookup_query(ngx_egress_conf_t *ecf,
    ngx_egress_lookup_t *lookup);
static void ngx_egress_lookup_handler(ngx_resolver_ctx_t *ctx);
static ngx_uint_t ngx_egress_lookup_again(ngx_egress_lookup_t *lookup,
    ngx_int_t state);
static void ngx_egress_lookup_done(ngx_egress_lookup_t *lookup,
    ngx_int_t state, ngx_resolver_ctx_t *ctx);
static void ngx_egress_lookup_store(ngx_egress_conf_t *ecf,
    ngx_slab_pool_t *shpool, ngx_egress_name_t *name,
    ngx_egress_answer_t *answer, ngx_msec_t ttl);
static void ngx_egress_lookup_failed(ngx_egress_name_t *name,
    ngx_msec_t now);
static ngx_egress_answer_t *ngx_egress_answer_create(ngx_slab_pool_t *shpool,
    ngx_resolver_ctx_t *ctx);
static int ngx_libc_cdecl ngx_egress_answer_cmp(const void *one,
    const void *two);

static void ngx_egress_names_handler(ngx_event_t *ev);
static ngx_uint_t ngx_egress_names_lead(ngx_egress_zone_t *zone);
static void ngx_egress_names_refresh(ngx_egress_conf_t *ecf,
    ngx_egress_zone_t *zone);
static ngx_uint_t ngx_egress_names_due(ngx_egress_conf_t *ecf,
    ngx_egress_name_t *name, ngx_msec_t now);

static void ngx_egress_wait_handler(ngx_event_t *ev);


/* of this process */

static ngx_event_t  ngx_egress_names_event;
static ngx_event_t  ngx_egress_wait_event;
static ngx_queue_t  ngx_egress_waiting;        /* ngx_egress_reach_t */
static ngx_uint_t   ngx_egress_lookups;
static ngx_msec_t   ngx_egress_swept;

/* a timer's data has to have a descriptor's place */

static ngx_connection_t  ngx_egress_dummy;


static ngx_egress_name_t *
ngx_egress_name_find(ngx_egress_zone_t *zone, ngx_str_t *text, uint32_t hash)
{
    ngx_egress_name_t  *name;

    for (name = zone->names[hash & zone->mask]; name; name = name->next) {
        if (name->hash == hash && name->len == text->len
            && ngx_memcmp(name->text, text->data, text->len) == 0)
        {
            return name;
        }
    }

    return NULL;
}


ngx_egress_name_t *
ngx_egress_name_add(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool,
    ngx_str_t *text, ngx_uint_t gen, ngx_uint_t bound)
{
    uint32_t            hash;
    ngx_egress_name_t  *name, **bucket;

    hash = ngx_murmur_hash2(text->data, text->len);
    name = ngx_egress_name_find(zone, text, hash);

    if (name) {

        if (gen) {
            zone->asked -= (name->gen == 0);
            name->gen = (uint32_t) gen;

            /* a reload may be how somebody mends DNS */

            name->pause = 0;
        }

        return name;
    }

    if (gen == 0 && zone->asked >= bound
        && ngx_egress_name_evict(zone, shpool) != NGX_OK)
    {
        return NULL;
    }

    name = ngx_slab_calloc_locked(shpool,
                                  offsetof(ngx_egress_name_t, text)
                                  + text->len);
    if (name == NULL) {
        zone->full++;
        return NULL;
    }

    name->hash = hash;
    name->gen = (uint32_t) gen;
    name->born = (uint32_t) gen;
    name->len = (unsigned) text->len;
    ngx_memcpy(name->text, text->data, text->len);

    bucket = &zone->names[hash & zone->mask];

    name->next = *bucket;

    ngx_memory_barrier();

    *bucket = name;

    zone->asked += (gen == 0);

    return name;
}


/* one that was asked for; of a few, the one that nobody used for longest */

static ngx_int_t
ngx_egress_name_evict(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool)
{
    ngx_uint_t           i, tries;
    ngx_egress_name_t   *name, **p, **victim;

    victim = NULL;
    tries = NGX_EGRESS_EVICT_TRIES;

    for (i = 0; i <= zone->mask && tries; i++) {

        p = &zone->names[zone->hand++ & zone->mask];

        for ( /* void */ ; *p; p = &(*p)->next) {

            name = *p;

            if (name->gen) {
                continue;
            }

            /* one that is being looked up is asked for again by who waits */

            if (victim == NULL
                || (name->pid == 0 && (*victim)->pid)
                || ((name->pid == 0 || (*victim)->pid)
                    && (ngx_msec_int_t) (name->used - (*victim)->used) < 0))
            {
                victim = p;
            }

            tries -= (tries > 0);
        }
    }

    if (victim == NULL) {
        return NGX_DECLINED;
    }

    ngx_egress_name_free(zone, shpool, victim);
    zone->evicted++;

    return NGX_OK;
}


void
ngx_egress_name_free(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool,
    ngx_egress_name_t **p)
{
    ngx_egress_name_t  *name;

    name = *p;
    *p = name->next;

    zone->asked -= (name->gen == 0);

    if (name->answer) {
        ngx_slab_free_locked(shpool, name->answer);
    }

    ngx_slab_free_locked(shpool, name);
}


ngx_int_t
ngx_egress_names_check(ngx_egress_flow_t *flow, ngx_egress_variant_t *variant)
{
    ngx_int_t               rc;
    ngx_uint_t              i, n, ok, again, start;
    ngx_msec_t              now;
    ngx_slab_pool_t        *shpool;
    ngx_egress_conf_t      *ecf;
    ngx_egress_name_t      *name;
    ngx_egress_endpoint_t  *ep;

    if (!flow->service->named) {
        return NGX_OK;
    }

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    (void) ngx_egress_endpoint_zone(&shpool);

    now = ngx_current_msec;
    ok = 0;
    again = 0;

    ep = variant->host ? NULL : flow->service->endpoints->elts;
    n = variant->host ? 1 : flow->service->endpoints->nelts;

    for (i = 0; i < n; i++) {

        if (variant->subset
            && !ngx_egress_subset_matches(variant->subset, &ep[i]))
        {
            continue;
        }

        name = ep ? ep[i].name : variant->name;

        if (name == NULL) {
            ok++;
            continue;
        }

        start = 0;

        ngx_shmtx_lock(&shpool->mutex);

        rc = ngx_egress_name_check(ecf, name, now, &start);

        ngx_shmtx_unlock(&shpool->mutex);

        if (start) {
            ngx_egress_lookup_start(ecf, name->text, name->len, 0);
        }

        ok += (rc == NGX_OK);
        again += (rc == NGX_AGAIN);
    }

    if (ok) {
        return NGX_OK;
    }

    return again ? NGX_AGAIN : NGX_DECLINED;
}


ngx_int_t
ngx_egress_name_ask(ngx_egress_flow_t *flow, ngx_str_t *text,
    ngx_egress_addr_t *addrs, ngx_uint_t *n)
{
    ngx_int_t            rc;
    ngx_uint_t           i, start, first;
    ngx_slab_pool_t     *shpool;
    ngx_egress_conf_t   *ecf;
    ngx_egress_name_t   *name;
    ngx_egress_zone_t   *zone;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    zone = ngx_egress_endpoint_zone(&shpool);

    start = 0;
    first = (ngx_uint_t) ngx_random();

    ngx_shmtx_lock(&shpool->mutex);

    name = ngx_egress_name_add(zone, shpool, text, 0, ecf->dns);

    rc = name ? ngx_egress_name_check(ecf, name, ngx_current_msec, &start)
              : NGX_DECLINED;

    if (rc == NGX_OK) {

        *n = ngx_min(*n, name->answer->n);

        for (i = 0; i < *n; i++) {
            addrs[i] = name->answer->addrs[(first + i) % name->answer->n];
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (name == NULL && ngx_egress_log_due(&zone->logged) == NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "egress zone has no room for another name");
    }

    if (start) {
        ngx_egress_lookup_start(ecf, text->data, text->len, 0);
    }

    return rc;
}


ngx_uint_t
ngx_egress_names_version(ngx_egress_service_t *svc,
    ngx_egress_variant_t *variant)
{
    ngx_uint_t              i, version;
    ngx_egress_endpoint_t  *ep;

    if (!svc->named) {
        return 0;
    }

    if (variant->host) {
        return variant->name->version;
    }

    /* versions only grow */

    ep = svc->endpoints->elts;
    version = 0;

    for (i = 0; i < svc->endpoints->nelts; i++) {
        if (ep[i].name) {
            version += ep[i].name->version;
        }
    }

    return version;
}


ngx_int_t
ngx_egress_name_copy(ngx_egress_name_t *name, ngx_pool_t *pool,
    ngx_egress_addr_t **addrs, ngx_uint_t *n)
{
    ngx_uint_t        max;
    ngx_slab_pool_t  *shpool;

    (void) ngx_egress_endpoint_zone(&shpool);

    *n = 0;

    ngx_shmtx_lock(&shpool->mutex);
    max = name->answer ? name->answer->n : 0;
    ngx_shmtx_unlock(&shpool->mutex);

    if (max == 0) {
        return NGX_OK;
    }

    *addrs = ngx_palloc(pool, max * sizeof(ngx_egress_addr_t));
    if (*addrs == NULL) {
        return NGX_ERROR;
    }

    ngx_shmtx_lock(&shpool->mutex);

    if (name->answer) {
        *n = ngx_min(max, name->answer->n);
        ngx_memcpy(*addrs, name->answer->addrs,
                   *n * sizeof(ngx_egress_addr_t));
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;
}


/*
 * The mutex is locked.  NGX_OK: the answer may be used; NGX_AGAIN: it will be
 * known later, and if *start is set the caller looks the name up.
 */

static ngx_int_t
ngx_egress_name_check(ngx_egress_conf_t *ecf, ngx_egress_name_t *name,
    ngx_msec_t now, ngx_uint_t *start)
{
    name->used = now;

    if (name->answer && (ngx_msec_int_t) (name->expires - now) > 0) {
        return name->answer->n ? NGX_OK : NGX_DECLINED;
    }

    if (!ngx_egress_name_usable(ecf, name, now)) {
        ngx_egress_name_forget(name);
    }

    if (!ngx_egress_name_busy(ecf, name, now)) {

        if (name->failures
            && (ngx_msec_int_t) (name->started + name->pause - now) > 0)
        {

            if (ngx_egress_name_usable(ecf, name, now)) {
                return NGX_OK;
            }

            /* while all are refused for it, DNS is not spared for longer */

            if ((ngx_msec_int_t) (now - name->started) < NGX_EGRESS_NEGATIVE)
            {
                return NGX_DECLINED;
            }
        }

        ngx_egress_name_begin(name, now);
        *start = 1;
    }

    /*
     * Somebody saw to it in good time, or DNS has failed before: nobody has
     * to wait for more of the same.
     */

    if ((name->early || name->failures)
        && ngx_egress_name_usable(ecf, name, now))
    {
        return NGX_OK;
    }

    return NGX_AGAIN;
}


/* nothing is dialled any more that DNS said too long ago */

static void
ngx_egress_name_forget(ngx_egress_name_t *name)
{
    ngx_slab_pool_t      *shpool;
    ngx_egress_answer_t  *old;

    old = name->answer;

    if (old == NULL) {
        return;
    }

    (void) ngx_egress_endpoint_zone(&shpool);

    name->answer = NULL;
    name->version++;

    ngx_slab_free_locked(shpool, old);
}


/* the last good answer, while DNS fails */

static ngx_uint_t
ngx_egress_name_usable(ngx_egress_conf_t *ecf, ngx_egress_name_t *name,
    ngx_msec_t now)
{
    return name->answer && name->answer->n
           && (ngx_msec_int_t) (now - name->expires)
              < (ngx_msec_int_t) ecf->dns_stale;
}


static ngx_uint_t
ngx_egress_name_busy(ngx_egress_conf_t *ecf, ngx_egress_name_t *name,
    ngx_msec_t now)
{
    ngx_msec_t  max;

    if (name->pid == 0) {
        return 0;
    }

    /* twice: once more for IPv4 alone */

    max = 2 * ecf->resolver_timeout + NGX_EGRESS_LOOKUP_OVERDUE;

    /* another process's clock may be ahead of this one's */

    return (ngx_msec_int_t) (now - name->started) < (ngx_msec_int_t) max
           && ngx_egress_alive(name->pid);
}


static void
ngx_egress_name_begin(ngx_egress_name_t *name, ngx_msec_t now)
{
    name->early = (name->answer
                   && (ngx_msec_int_t) (now - name->expires)
                      < 5 * NGX_EGRESS_NAMES_TICK
                   && (ngx_msec_int_t) (name->used - name->answered) > 0);
    name->pid = ngx_pid;
    name->started = now;
    name->pause = 0;
    name->lookups++;
}


static void
ngx_egress_lookup_start(ngx_egress_conf_t *ecf, u_char *text, size_t len,
    ngx_uint_t background)
{
    ngx_egress_lookup_t  *lookup;

    lookup = ngx_calloc(sizeof(ngx_egress_lookup_t), ngx_cycle->log);
    if (lookup == NULL) {
        /* overdue some time later */
        return;
    }

    lookup->background = background;
    lookup->len = len;
    ngx_memcpy(lookup->text, text, len);

    ngx_egress_lookups += background;

    if (ngx_egress_lookup_query(ecf, lookup) != NGX_OK) {
        ngx_egress_lookup_done(lookup, NGX_RESOLVE_SERVFAIL, NULL);
    }
}


static ngx_int_t
ngx_egress_lookup_query(ngx_egress_conf_t *ecf, ngx_egress_lookup_t *lookup)
{
    ngx_resolver_t      *resolver;
    ngx_resolver_ctx_t  *ctx, temp;

    resolver = lookup->second ? ecf->resolver4 : ecf->resolver;

    if (resolver == NULL) {
        return NGX_ERROR;
    }

    temp.name.data = lookup->text;
    temp.name.len = lookup->len;

    ctx = ngx_resolve_start(resolver, &temp);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        return NGX_ERROR;
    }

    ctx->name = temp.name;
    ctx->handler = ngx_egress_lookup_handler;
    ctx->data = lookup;
    ctx->timeout = ecf->resolver_timeout;
    ctx->cancelable = lookup->background;

    lookup->ctx = ctx;

    /* on an error the context is gone */

    return ngx_resolve_name(ctx);
}


static void
ngx_egress_lookup_handler(ngx_resolver_ctx_t *ctx)
{
    ngx_int_t             state;
    ngx_egress_conf_t    *ecf;
    ngx_resolver_node_t  *node;
    ngx_egress_lookup_t  *lookup;

    lookup = ctx->data;
    state = ctx->state;
    node = ctx->node;

    /* the zone is the cache, for all processes; the resolver shall ask */

    if (state == NGX_OK && node) {
        node->valid = 0;
    }

    if (ngx_egress_lookup_again(lookup, state)) {

        ngx_resolve_name_done(ctx);

        lookup->second = 1;
        ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

        if (ngx_egress_lookup_query(ecf, lookup) != NGX_OK) {
            ngx_egress_lookup_done(lookup, state, NULL);
        }

        return;
    }

    ngx_egress_lookup_done(lookup, state, ctx);

    ngx_resolve_name_done(ctx);
}


/* some servers refuse a question for AAAA that could answer one for A, or deny
   that there is such a name (RFC 4074) */

static ngx_uint_t
ngx_egress_lookup_again(ngx_egress_lookup_t *lookup, ngx_int_t state)
{
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    return ecf->resolver4 != NULL && !lookup->second
           && state != NGX_OK && state != NGX_RESOLVE_TIMEDOUT;
}


/* ctx may be NULL; no lookup is started here: the resolver is at work */

static void
ngx_egress_lookup_done(ngx_egress_lookup_t *lookup, ngx_int_t state,
    ngx_resolver_ctx_t *ctx)
{
    ngx_str_t             text;
    ngx_msec_t            now, ttl;
    ngx_slab_pool_t      *shpool;
    ngx_egress_conf_t    *ecf;
    ngx_egress_name_t    *name;
    ngx_egress_zone_t    *zone;
    ngx_egress_answer_t  *answer;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    zone = ngx_egress_endpoint_zone(&shpool);
    now = ngx_current_msec;

    text.data = lookup->text;
    text.len = lookup->len;

    answer = NULL;
    ttl = 0;

    ngx_shmtx_lock(&shpool->mutex);

    name = ngx_egress_name_find(zone, &text,
                                ngx_murmur_hash2(text.data, text.len));

    if (name && (state == NGX_OK || state == NGX_RESOLVE_NXDOMAIN)) {

        answer = ngx_egress_answer_create(shpool, state ? NULL : ctx);
        zone->full += (answer == NULL);

        if (state == NGX_OK && ctx->valid > ngx_time()) {
            ttl = (ngx_msec_t) (ctx->valid - ngx_time()) * 1000;
        }
    }

    if (answer) {
        ngx_egress_lookup_store(ecf, shpool, name, answer, ttl);

    } else if (name) {
        ngx_egress_lookup_failed(name, now);
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (state != NGX_OK) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "%V could not be resolved (%i: %s)", &text, state,
                      ngx_resolver_strerror(state));
    }

    ngx_egress_lookups -= lookup->background;
    ngx_free(lookup);

    ngx_egress_wait_post();
}


/* the mutex is locked */

static void
ngx_egress_lookup_store(ngx_egress_conf_t *ecf, ngx_slab_pool_t *shpool,
    ngx_egress_name_t *name, ngx_egress_answer_t *answer, ngx_msec_t ttl)
{
    ngx_msec_t            now, lead;
    ngx_egress_answer_t  *old;

    now = ngx_current_msec;
    old = name->answer;

    if (old && old->n == answer->n
        && ngx_memcmp(old->addrs, answer->addrs,
                      answer->n * sizeof(ngx_egress_addr_t))
           == 0)
    {
        ngx_slab_free_locked(shpool, answer);

    } else {
        name->answer = answer;
        name->version++;

        if (old) {
            ngx_slab_free_locked(shpool, old);
        }
    }

    if (name->answer->n == 0) {
        ttl = NGX_EGRESS_NEGATIVE;
    }

    ttl = ngx_max(ttl, ecf->dns_min);
    ttl = ngx_min(ttl, ecf->dns_max);

    name->failures = 0;
    name->answered = now;
    name->expires = now + ttl;

    /* not all names at once, and the resolver needs its time */

    lead = ttl / 20 + (ngx_msec_t) ngx_random() % (ttl / 10 + 1);

    name->lead = (uint32_t) ngx_min(lead, NGX_MAX_UINT32_VALUE);
    name->pid = 0;
}


/* the mutex is locked */

static void
ngx_egress_lookup_failed(ngx_egress_name_t *name, ngx_msec_t now)
{
    ngx_msec_t  delay;

    delay = NGX_EGRESS_BACKOFF << ngx_min(name->failures, 5);
    delay = ngx_min(delay, NGX_EGRESS_BACKOFF_MAX);

    name->failures += (name->failures < NGX_EGRESS_FAILURES_MAX);
    name->errors++;
    name->pause = (uint32_t) (delay - (ngx_msec_t) ngx_random() % (delay / 5));

    /* the pause is counted from here, however long the lookup took */

    name->started = now;
    name->pid = 0;
}


/* sorted, so that the same addresses are the same answer; the mutex is
   locked; ctx is NULL if the name has no address */

static ngx_egress_answer_t *
ngx_egress_answer_create(ngx_slab_pool_t *shpool, ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t            i, n;
    ngx_egress_answer_t  *answer;

    n = ctx ? ngx_min(ctx->naddrs, NGX_EGRESS_ADDRS_MAX) : 0;

    if (n > NGX_EGRESS_ADDRS_FEW
        && ngx_egress_zone_scarce(shpool, NGX_EGRESS_ZONE_RESERVE))
    {
        return NULL;
    }

    answer = ngx_slab_calloc_locked(shpool,
                                    offsetof(ngx_egress_answer_t, addrs)
                                    + n * sizeof(ngx_egress_addr_t));
    if (answer == NULL) {
        return NULL;
    }

    for (i = 0; i < n; i++) {

        if (ctx->addrs[i].socklen > (socklen_t) sizeof(ngx_egress_addr_t)) {
            continue;
        }

        ngx_memcpy(&answer->addrs[answer->n], ctx->addrs[i].sockaddr,
                   ctx->addrs[i].socklen);
        ngx_inet_set_port(&answer->addrs[answer->n].sockaddr, 0);

        answer->n++;
    }

    ngx_qsort(answer->addrs, answer->n, sizeof(ngx_egress_addr_t),
              ngx_egress_answer_cmp);

    for (i = 1, n = 0; i < answer->n; i++) {
        if (ngx_egress_answer_cmp(&answer->addrs[n], &answer->addrs[i]) != 0)
        {
            answer->addrs[++n] = answer->addrs[i];
        }
    }

    answer->n = answer->n ? n + 1 : 0;

    return answer;
}


static int ngx_libc_cdecl
ngx_egress_answer_cmp(const void *one, const void *two)
{
    return ngx_memcmp(one, two, sizeof(ngx_egress_addr_t));
}


ngx_int_t
ngx_egress_resolve_init_process(ngx_cycle_t *cycle)
{
    ngx_queue_init(&ngx_egress_waiting);

    ngx_egress_lookups = 0;
    ngx_egress_dummy.fd = (ngx_socket_t) -1;

    ngx_egress_wait_event.handler = ngx_egress_wait_handler;
    ngx_egress_wait_event.data = &ngx_egress_dummy;
    ngx_egress_wait_event.log = cycle->log;

    if (ngx_egress_endpoint_zone(NULL) == NULL) {
        return NGX_OK;
    }

    ngx_egress_names_event.handler = ngx_egress_names_handler;
    ngx_egress_names_event.data = &ngx_egress_dummy;
    ngx_egress_names_event.log = cycle->log;
    ngx_egress_names_event.cancelable = 1;

    ngx_add_timer(&ngx_egress_names_event,
                  (ngx_msec_t) ngx_random() % NGX_EGRESS_NAMES_TICK + 1);

    return NGX_OK;
}


static void
ngx_egress_names_handler(ngx_event_t *ev)
{
    ngx_egress_conf_t  *ecf;
    ngx_egress_zone_t  *zone;

    zone = ngx_egress_endpoint_zone(NULL);

    if (ngx_exiting || ngx_terminate) {
        (void) ngx_atomic_cmp_set(&zone->leader, ngx_pid, 0);
        ngx_egress_pool_sweep((ngx_cycle_t *) ngx_cycle);
        return;
    }

    ngx_add_timer(ev, NGX_EGRESS_NAMES_TICK);

    ngx_egress_listener_check((ngx_cycle_t *) ngx_cycle);

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    ngx_egress_pool_sweep((ngx_cycle_t *) ngx_cycle);

    if (!ngx_egress_names_lead(zone)) {
        return;
    }

    if (ngx_current_msec - ngx_egress_swept >= 1000) {
        ngx_egress_swept = ngx_current_msec;
        ngx_egress_endpoint_reap(zone, ev->log);
        ngx_egress_endpoint_sweep(ecf);
    }

    if (ecf->resolver) {
        ngx_egress_names_refresh(ecf, zone);
    }
}


/* one process does it for all; if it is gone, who notices first */

static ngx_uint_t
ngx_egress_names_lead(ngx_egress_zone_t *zone)
{
    ngx_atomic_uint_t  pid;

    pid = zone->leader;

    if (pid == (ngx_atomic_uint_t) ngx_pid) {
        return 1;
    }

    if (pid && ngx_egress_alive((ngx_pid_t) pid)) {
        return 0;
    }

    return ngx_atomic_cmp_set(&zone->leader, pid, ngx_pid);
}


static void
ngx_egress_names_refresh(ngx_egress_conf_t *ecf, ngx_egress_zone_t *zone)
{
    u_char              text[NGX_EGRESS_HOST_MAX + 1];
    size_t              len;
    ngx_uint_t          i, n;
    ngx_msec_t          now;
    ngx_slab_pool_t    *shpool;
    ngx_egress_name_t  *name;

    (void) ngx_egress_endpoint_zone(&shpool);

    now = ngx_current_msec;

    for (i = 0; i <= zone->mask; /* void */ ) {

        len = 0;

        ngx_shmtx_lock(&shpool->mutex);

        for (n = 0; n < NGX_EGRESS_NAMES_BATCH && i <= zone->mask; n++, i++) {

            for (name = zone->names[i]; name; name = name->next) {
                if (ngx_egress_names_due(ecf, name, now)) {
                    break;
                }
            }

            if (name == NULL) {
                continue;
            }

            ngx_egress_name_begin(name, now);

            len = name->len;
            ngx_memcpy(text, name->text, len);
            break;
        }

        ngx_shmtx_unlock(&shpool->mutex);

        if (len) {
            ngx_egress_lookup_start(ecf, text, len, 1);
        }

        if (ngx_egress_lookups >= NGX_EGRESS_LOOKUPS_MAX) {
            return;
        }
    }
}


/* a name that nobody used since it was answered is left alone, and so is one
   whose answer is too old: it waits for a flow */

static ngx_uint_t
ngx_egress_names_due(ngx_egress_conf_t *ecf, ngx_egress_name_t *name,
    ngx_msec_t now)
{
    ngx_msec_t  refresh;

    refresh = name->failures ? name->started + name->pause
                             : name->expires - name->lead;

    return ngx_egress_name_usable(ecf, name, now)
           && (ngx_msec_int_t) (now - refresh) >= 0
           && (ngx_msec_int_t) (name->used - name->answered) > 0
           && !ngx_egress_name_busy(ecf, name, now);
}


void
ngx_egress_wait(ngx_egress_flow_t *flow, ngx_uint_t what)
{
    flow->reach->waits = what;

    ngx_queue_insert_tail(&ngx_egress_waiting, &flow->reach->queue);

    if (!ngx_egress_wait_event.timer_set) {
        ngx_add_timer(&ngx_egress_wait_event, NGX_EGRESS_WAIT_TICK);
    }
}


void
ngx_egress_wait_cancel(ngx_egress_flow_t *flow)
{
    if (flow->reach->waits) {
        flow->reach->waits = NGX_EGRESS_WAIT_NONE;
        ngx_queue_remove(&flow->reach->queue);
    }
}


void
ngx_egress_wait_post(void)
{
    if (ngx_egress_waiting.next && !ngx_queue_empty(&ngx_egress_waiting)) {
        ngx_post_event(&ngx_egress_wait_event, &ngx_posted_events);
    }
}


/* first come, first served; who is woken may do away with others */

static void
ngx_egress_wait_handler(ngx_event_t *ev)
{
    ngx_uint_t           n;
    ngx_queue_t         *q;
    ngx_egress_reach_t  *reach;

    n = 0;

    for (q = ngx_queue_head(&ngx_egress_waiting);
         q != ngx_queue_sentinel(&ngx_egress_waiting);
         q = ngx_queue_next(q))
    {
        n++;
    }

    while (n-- && !ngx_queue_empty(&ngx_egress_waiting)) {

        q = ngx_queue_head(&ngx_egress_waiting);
        reach = ngx_queue_data(q, ngx_egress_reach_t, queue);

        ngx_egress_wait_cancel(reach->flow);

        if (ngx_egress_reach_on(reach->flow) != NGX_AGAIN) {
            reach->flow->wake(reach->flow);
        }
    }

    if (ngx_queue_empty(&ngx_egress_waiting)) {

        if (ev->timer_set) {
            ngx_del_timer(ev);
        }

    } else if (!ev->timer_set) {
        ngx_add_timer(ev, NGX_EGRESS_WAIT_TICK);
    }
}
