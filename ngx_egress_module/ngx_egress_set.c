
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/* states of a set are said to be in use, and so are kept */
#define NGX_EGRESS_SET_SEEN     10000

/* after this it is seen whether there is room for all endpoints now */
#define NGX_EGRESS_SET_MISSING  1000

/* turns of a smooth order, and steps to make it */
#define NGX_EGRESS_TURNS_MAX    4096
#define NGX_EGRESS_TURNS_STEPS  262144

/* as Envoy's overprovisioning factor, percent */
#define NGX_EGRESS_OVERPROVISION  140


/* while a set is made: states by their address */

typedef struct {
    ngx_egress_state_t       *state;
    ngx_egress_member_t      *member;
} ngx_egress_slot_t;


typedef struct {
    ngx_egress_service_t     *svc;
    ngx_egress_set_t         *set;
    ngx_egress_slot_t        *slots;
    ngx_uint_t                mask;
} ngx_egress_build_t;


static ngx_egress_set_t *ngx_egress_set_refresh(ngx_egress_service_t *svc,
    ngx_uint_t variant, ngx_log_t *log);
static ngx_egress_set_t *ngx_egress_set_build(ngx_egress_service_t *svc,
    ngx_uint_t variant, ngx_log_t *log);
static ngx_int_t ngx_egress_set_gather(ngx_egress_service_t *svc,
    ngx_egress_variant_t *variant, ngx_egress_set_t *set);
static ngx_int_t ngx_egress_set_name(ngx_egress_service_t *svc,
    ngx_egress_name_t *name, ngx_egress_endpoint_t *ep, ngx_array_t *members);
static ngx_int_t ngx_egress_set_add(ngx_array_t *members, ngx_pool_t *pool,
    ngx_egress_endpoint_t *ep, struct sockaddr *sa, socklen_t socklen);
static ngx_int_t ngx_egress_set_bind(ngx_egress_service_t *svc,
    ngx_egress_set_t *set, ngx_log_t *log);
static void ngx_egress_set_member(ngx_egress_build_t *b,
    ngx_egress_member_t *m);
static ngx_egress_slot_t *ngx_egress_set_slot(ngx_egress_build_t *b,
    struct sockaddr *sa, socklen_t socklen);
static uint64_t ngx_egress_set_hash(ngx_str_t *text);
static void ngx_egress_set_seen(ngx_egress_set_t *set, ngx_msec_t now);
static ngx_int_t ngx_egress_set_live(ngx_egress_service_t *svc,
    ngx_egress_set_t *set);
static void ngx_egress_set_level(ngx_egress_set_t *set, ngx_uint_t n,
    ngx_uint_t first);
static void ngx_egress_set_loads(ngx_egress_set_t *set);
static ngx_int_t ngx_egress_set_turns(ngx_egress_set_t *set,
    ngx_egress_level_t *level);
static ngx_uint_t ngx_egress_gcd(ngx_uint_t a, ngx_uint_t b);


ngx_egress_local_t *
ngx_egress_local(ngx_egress_service_t *svc)
{
    ngx_egress_local_t  *local;

    if (svc->local) {
        return svc->local;
    }

    /* lives as long as the process, like the service */

    local = ngx_pcalloc(ngx_cycle->pool, sizeof(ngx_egress_local_t)
                                         + svc->nvariants
                                           * sizeof(ngx_egress_set_t *));
    if (local == NULL) {
        return NULL;
    }

    local->sets = (ngx_egress_set_t **) &local[1];

    ngx_queue_init(&local->idle);

    svc->local = local;

    return local;
}


ngx_egress_set_t *
ngx_egress_set(ngx_egress_service_t *svc, ngx_uint_t variant, ngx_log_t *log)
{
    ngx_egress_set_t  *set;

    set = svc->local ? svc->local->sets[variant] : NULL;

    /* mostly nothing has changed, and there is nothing to look at */

    if (set && set->live
        && set->made == ngx_egress_names_version(svc, &svc->variants[variant])
        && set->health == svc->share->health
        && set->missing == 0 && set->ejected == 0
        && svc->conf->outlier == NULL
        && ngx_current_msec - set->checked < NGX_EGRESS_SET_SEEN)
    {
        return set;
    }

    return ngx_egress_set_refresh(svc, variant, log);
}


static ngx_egress_set_t *
ngx_egress_set_refresh(ngx_egress_service_t *svc, ngx_uint_t variant,
    ngx_log_t *log)
{
    ngx_uint_t            version;
    ngx_msec_t            now;
    ngx_egress_set_t     *set, **slot;
    ngx_egress_local_t   *local;

    local = ngx_egress_local(svc);
    if (local == NULL) {
        return NULL;
    }

    now = ngx_current_msec;
    slot = &local->sets[variant];
    set = *slot;

    version = ngx_egress_names_version(svc, &svc->variants[variant]);

    if (set == NULL || set->made != version
        || (set->missing && now - set->checked >= NGX_EGRESS_SET_MISSING))
    {

        set = ngx_egress_set_build(svc, variant, log);
        if (set == NULL) {
            return NULL;
        }

        set->made = version;

        if (*slot) {
            ngx_destroy_pool((*slot)->scratch);
            ngx_destroy_pool((*slot)->pool);
        }

        *slot = set;

    } else if (now - set->checked >= NGX_EGRESS_SET_SEEN) {
        ngx_egress_set_seen(set, now);
    }

    if (svc->conf->outlier || set->ejected || set->live == NULL) {
        ngx_egress_outlier_sweep(svc);
    }

    if (set->live == NULL || set->health != svc->share->health) {
        if (ngx_egress_set_live(svc, set) != NGX_OK) {
            return NULL;
        }
    }

    return set;
}


static ngx_egress_set_t *
ngx_egress_set_build(ngx_egress_service_t *svc, ngx_uint_t variant,
    ngx_log_t *log)
{
    ngx_pool_t        *pool, *scratch;
    ngx_egress_set_t  *set;

    pool = ngx_create_pool(1024, ngx_cycle->log);
    if (pool == NULL) {
        return NULL;
    }

    scratch = ngx_create_pool(512, ngx_cycle->log);
    if (scratch == NULL) {
        ngx_destroy_pool(pool);
        return NULL;
    }

    set = ngx_pcalloc(pool, sizeof(ngx_egress_set_t));

    if (set == NULL
        || (set->pool = pool, set->scratch = scratch,
            set->turn = variant % svc->share->nturns,
            ngx_egress_set_gather(svc, &svc->variants[variant], set))
           != NGX_OK
        || ngx_egress_set_bind(svc, set, log) != NGX_OK)
    {
        ngx_destroy_pool(scratch);
        ngx_destroy_pool(pool);
        return NULL;
    }

    ngx_egress_set_seen(set, ngx_current_msec);

    return set;
}


static ngx_int_t
ngx_egress_set_gather(ngx_egress_service_t *svc, ngx_egress_variant_t *variant,
    ngx_egress_set_t *set)
{
    ngx_uint_t              i;
    ngx_array_t             members;
    ngx_egress_endpoint_t  *ep, host;

    if (ngx_array_init(&members, set->pool, 4, sizeof(ngx_egress_member_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (variant->host) {
        ngx_memzero(&host, sizeof(ngx_egress_endpoint_t));
        host.weight = 1;

        if (ngx_egress_set_name(svc, variant->name, &host, &members)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    ep = variant->host ? NULL : svc->endpoints->elts;

    for (i = 0; ep && i < svc->endpoints->nelts; i++) {

        if (variant->subset
            && !ngx_egress_subset_matches(variant->subset, &ep[i]))
        {
            continue;
        }

        if ((ep[i].sockaddr
             ? ngx_egress_set_add(&members, set->pool, &ep[i],
                                  ep[i].sockaddr, ep[i].socklen)
             : ngx_egress_set_name(svc, ep[i].name, &ep[i], &members))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    set->members = members.elts;
    set->n = members.nelts;

    return NGX_OK;
}


ngx_uint_t
ngx_egress_subset_matches(ngx_egress_subset_t *subset,
    ngx_egress_endpoint_t *ep)
{
    ngx_str_t   *wanted, *label;
    ngx_uint_t   i, n;

    if (ep->labels == NULL) {
        return 0;
    }

    wanted = subset->labels->elts;
    label = ep->labels->elts;

    for (i = 0; i < subset->labels->nelts; i++) {

        for (n = 0; n < ep->labels->nelts; n++) {
            if (label[n].len == wanted[i].len
                && ngx_memcmp(label[n].data, wanted[i].data, label[n].len)
                   == 0)
            {
                break;
            }
        }

        if (n == ep->labels->nelts) {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_egress_set_name(ngx_egress_service_t *svc, ngx_egress_name_t *name,
    ngx_egress_endpoint_t *ep, ngx_array_t *members)
{
    ngx_uint_t          i, n;
    ngx_egress_addr_t  *addrs;

    if (ngx_egress_name_copy(name, members->pool, &addrs, &n) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (ngx_egress_set_add(members, members->pool, ep,
                               &addrs[i].sockaddr,
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
ngx_egress_set_add(ngx_array_t *members, ngx_pool_t *pool,
    ngx_egress_endpoint_t *ep, struct sockaddr *sa, socklen_t socklen)
{
    size_t                len;
    u_char                text[NGX_SOCKADDR_STRLEN];
    ngx_egress_member_t  *m;

    m = ngx_array_push(members);
    if (m == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(m, sizeof(ngx_egress_member_t));

    m->sockaddr = ngx_palloc(pool, socklen);
    if (m->sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(m->sockaddr, sa, socklen);

    if (ep->port && sa->sa_family != AF_UNIX) {
        ngx_inet_set_port(m->sockaddr, ep->port);
    }

    len = ngx_sock_ntop(m->sockaddr, socklen, text, NGX_SOCKADDR_STRLEN, 1);

    /* the port may be another one for each flow */

    m->text.len = len;
    m->text.data = ngx_pnalloc(pool, len + sizeof("65535") - 1);
    if (m->text.data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(m->text.data, text, len);

    m->socklen = socklen;
    m->weight = ep->weight;
    m->level = ep->level;
    m->portless = (sa->sa_family != AF_UNIX
                   && ngx_inet_get_port(m->sockaddr) == 0);
    m->spelled = (ep->sockaddr != NULL);
    m->hash = ngx_egress_set_hash(&m->text);

    return NGX_OK;
}


void
ngx_egress_set_target(ngx_egress_member_t *member, in_port_t target)
{
    ngx_sockaddr_t  sa;

    ngx_memcpy(&sa, member->sockaddr, member->socklen);
    ngx_inet_set_port(&sa.sockaddr, target);

    /* any port has room where the text had ":0" and five bytes more */

    member->target = target;
    member->text.len = ngx_sock_ntop(&sa.sockaddr, member->socklen,
                                     member->text.data, NGX_SOCKADDR_STRLEN,
                                     1);
}


/*
 * Finds the states of the members, and makes those that are not there.  An
 * address that the guard refuses, or that there is no room for, is left out;
 * one that is there twice counts twice.
 */

static ngx_int_t
ngx_egress_set_bind(ngx_egress_service_t *svc, ngx_egress_set_t *set,
    ngx_log_t *log)
{
    ngx_uint_t           i, n, total;
    ngx_egress_zone_t   *zone;
    ngx_egress_build_t   b;
    ngx_egress_state_t  *state;

    ngx_memzero(&b, sizeof(ngx_egress_build_t));

    b.svc = svc;
    b.set = set;
    total = set->n;

    ngx_egress_share_lock(svc->share);

    for (state = svc->share->states; state; state = state->next) {
        total++;
    }

    ngx_egress_share_unlock(svc->share);

    /* some more may come until the lock is taken again: half stays free */

    for (n = 64; n < 2 * total; n *= 2) { /* void */ }

    b.slots = ngx_calloc(n * sizeof(ngx_egress_slot_t), log);
    if (b.slots == NULL) {
        return NGX_ERROR;
    }

    b.mask = n - 1;
    total = n / 2;
    n = set->n;
    set->n = 0;

    ngx_egress_share_lock(svc->share);

    for (state = svc->share->states; state && total; state = state->next) {
        ngx_egress_set_slot(&b, (struct sockaddr *) state->sockaddr,
                            state->socklen)->state = state;
        total--;
    }

    for (i = 0; i < n; i++) {
        ngx_egress_set_member(&b, &set->members[i]);
    }

    ngx_egress_state_expire(svc->share, ngx_current_msec);

    ngx_egress_share_unlock(svc->share);

    ngx_free(b.slots);

    zone = ngx_egress_endpoint_zone(NULL);

    if (set->missing && ngx_egress_log_due(&zone->logged) == NGX_OK) {
        ngx_log_error(NGX_LOG_CRIT, log, 0,
                      "egress zone has no room for %ui endpoints of service "
                      "\"%V\"", set->missing, &svc->name);
    }

    return NGX_OK;
}


/* the share is locked */

static void
ngx_egress_set_member(ngx_egress_build_t *b, ngx_egress_member_t *m)
{
    ngx_egress_set_t   *set;
    ngx_egress_conf_t  *ecf;
    ngx_egress_slot_t  *slot;

    set = b->set;
    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    if (!m->spelled
        && ngx_egress_guard_check(ecf, b->svc, m->sockaddr) != NGX_OK)
    {
        set->denied++;
        set->refused = m->sockaddr;
        set->refused_len = m->socklen;
        return;
    }

    slot = ngx_egress_set_slot(b, m->sockaddr, m->socklen);

    if (slot->member) {
        slot->member->weight += m->weight;
        slot->member->spelled |= m->spelled;
        return;
    }

    if (slot->state == NULL) {
        slot->state = ngx_egress_state_add(b->svc->share, m->sockaddr,
                                           m->socklen);
        if (slot->state == NULL) {
            set->missing++;
            return;
        }
    }

    m->state = slot->state;
    m->id = slot->state->id;
    slot->state->seen = ngx_current_msec;

    slot->member = &set->members[set->n];
    set->members[set->n++] = *m;
}


/* the slot of an address, or a free one for it */

static ngx_egress_slot_t *
ngx_egress_set_slot(ngx_egress_build_t *b, struct sockaddr *sa,
    socklen_t socklen)
{
    u_char              buf[NGX_SOCKADDR_STRLEN];
    ngx_str_t           text;
    ngx_uint_t          n;
    ngx_egress_slot_t  *slot;

    text.data = buf;
    text.len = ngx_sock_ntop(sa, socklen, buf, NGX_SOCKADDR_STRLEN, 1);

    for (n = ngx_egress_set_hash(&text); /* void */ ; n++) {

        slot = &b->slots[n & b->mask];

        if (slot->state == NULL
            || ngx_cmp_sockaddr((struct sockaddr *) slot->state->sockaddr,
                                slot->state->socklen, sa, socklen, 1)
               == NGX_OK)
        {
            return slot;
        }
    }
}


/* not of all bytes: some are padding */

static uint64_t
ngx_egress_set_hash(ngx_str_t *text)
{
    uint64_t  crc;

    crc = ngx_crc32_long(text->data, text->len);

    return ngx_egress_mix((crc << 32)
                          | ngx_murmur_hash2(text->data, text->len));
}


/* who was freed meanwhile is found out when it is chosen */

static void
ngx_egress_set_seen(ngx_egress_set_t *set, ngx_msec_t now)
{
    ngx_uint_t            i;
    ngx_egress_member_t  *m;

    set->checked = now;

    for (i = 0; i < set->n; i++) {
        m = &set->members[i];

        if (m->state->id == m->id) {
            m->state->seen = now;
        }
    }
}


/* who takes traffic: anew with each ejection and return */

static ngx_int_t
ngx_egress_set_live(ngx_egress_service_t *svc, ngx_egress_set_t *set)
{
    ngx_uint_t            i, n, first;
    ngx_egress_member_t  *m;

    ngx_reset_pool(set->scratch);
    ngx_memzero(set->levels, sizeof(set->levels));

    set->health = svc->share->health;
    set->ejected = 0;

    set->live = ngx_palloc(set->scratch, (set->n + 1) * sizeof(uint32_t));
    set->upto = ngx_palloc(set->scratch, (set->n + 1) * sizeof(uint64_t));

    if (set->live == NULL || set->upto == NULL) {
        set->live = NULL;
        return NGX_ERROR;
    }

    for (i = 0; i < set->n; i++) {
        m = &set->members[i];
        set->ejected += (m->state->ejected != 0);
        set->levels[m->level].total++;
    }

    set->panic = (svc->conf->outlier
                  && 100 * (set->n - set->ejected)
                     < svc->conf->outlier->min_health * set->n);

    for (n = 0, first = 0; n < NGX_EGRESS_LEVELS; n++) {
        ngx_egress_set_level(set, n, first);
        first += set->levels[n].n;
    }

    ngx_egress_set_loads(set);

    if (svc->conf->balance != NGX_EGRESS_ROUND_ROBIN) {
        return NGX_OK;
    }

    for (n = 0; n < NGX_EGRESS_LEVELS; n++) {
        if (ngx_egress_set_turns(set, &set->levels[n]) != NGX_OK) {
            set->live = NULL;
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_egress_set_level(ngx_egress_set_t *set, ngx_uint_t n, ngx_uint_t first)
{
    ngx_uint_t            i;
    ngx_egress_level_t   *level;
    ngx_egress_member_t  *m;

    level = &set->levels[n];

    level->first = first;
    level->even = 1;

    for (i = 0; i < set->n; i++) {

        m = &set->members[i];

        if (m->level != n || (m->state->ejected && !set->panic)) {
            continue;
        }

        if (level->n
            && m->weight != set->members[set->live[level->first]].weight)
        {
            level->even = 0;
        }

        level->weight += m->weight;

        set->live[first + level->n] = i;
        set->upto[first + level->n] = level->weight;

        level->n++;
    }
}


/*
 * As Envoy's priority levels: one that is healthy to 72 % takes it all, what
 * it can't take goes to the next.
 */

static void
ngx_egress_set_loads(ngx_egress_set_t *set)
{
    ngx_uint_t  n, left, sum, health[NGX_EGRESS_LEVELS];

    sum = 0;

    for (n = 0; n < NGX_EGRESS_LEVELS; n++) {

        health[n] = set->levels[n].n
                    ? ngx_min(NGX_EGRESS_OVERPROVISION * set->levels[n].n
                              / set->levels[n].total, 100)
                    : 0;

        if (set->levels[n].n && health[n] == 0) {
            health[n] = 1;
        }

        sum += health[n];
    }

    if (sum == 0) {
        return;
    }

    left = 100;

    for (n = 0; n < NGX_EGRESS_LEVELS; n++) {

        set->levels[n].load = (sum < 100) ? health[n] * 100 / sum
                                          : ngx_min(health[n], left);
        left -= set->levels[n].load;
    }

    /* what rounding left over */

    for (n = NGX_EGRESS_LEVELS; left && n-- > 0; /* void */ ) {
        if (health[n]) {
            set->levels[n].load += left;
            left = 0;
        }
    }
}


/* nginx's smooth weighted round robin, once around */

static ngx_int_t
ngx_egress_set_turns(ngx_egress_set_t *set, ngx_egress_level_t *level)
{
    ngx_uint_t   i, t, gcd, best;
    ngx_int_t   *current, w;

    if (level->n < 2 || level->even) {
        return NGX_OK;
    }

    gcd = 0;

    for (i = 0; i < level->n; i++) {
        gcd = ngx_egress_gcd(set->members[set->live[level->first + i]].weight,
                             gcd);
    }

    level->nturns = level->weight / gcd;

    if (level->nturns > NGX_EGRESS_TURNS_MAX
        || level->nturns * level->n > NGX_EGRESS_TURNS_STEPS)
    {
        return NGX_OK;
    }

    level->turns = ngx_palloc(set->scratch,
                              level->nturns * sizeof(uint16_t));
    current = ngx_pcalloc(set->scratch, level->n * sizeof(ngx_int_t));

    if (level->turns == NULL || current == NULL) {
        return NGX_ERROR;
    }

    for (t = 0; t < level->nturns; t++) {

        best = 0;

        for (i = 0; i < level->n; i++) {
            w = set->members[set->live[level->first + i]].weight / gcd;
            current[i] += w;

            if (current[i] > current[best]) {
                best = i;
            }
        }

        current[best] -= level->nturns;
        level->turns[t] = (uint16_t) best;
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_egress_gcd(ngx_uint_t a, ngx_uint_t b)
{
    ngx_uint_t  n;

    while (b) {
        n = a % b;
        a = b;
        b = n;
    }

    return a;
}
