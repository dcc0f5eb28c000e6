
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/* picks that may turn out to have been tried, or to be on their way back */
#define NGX_EGRESS_REPICKS  5


static ngx_int_t ngx_egress_reach_request(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_reach_start(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_reach_endpoints(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_reach_variant(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_reach_name(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_reach_address(ngx_egress_flow_t *flow,
    ngx_str_t *name);
static ngx_int_t ngx_egress_reach_peers(ngx_egress_flow_t *flow,
    ngx_egress_addr_t *addrs, ngx_uint_t n);
static ngx_int_t ngx_egress_reach_refused(ngx_egress_flow_t *flow,
    struct sockaddr *sa, socklen_t socklen);
static ngx_int_t ngx_egress_reach_slot(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_reach_pending(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_reach_overflow(ngx_egress_flow_t *flow,
    const char *what);

static ngx_egress_peer_t *ngx_egress_next_address(ngx_egress_flow_t *flow);
static ngx_egress_peer_t *ngx_egress_next_endpoint(ngx_egress_flow_t *flow);
static ngx_egress_member_t *ngx_egress_choose_member(ngx_egress_flow_t *flow,
    ngx_egress_set_t *set);
static ngx_egress_member_t *ngx_egress_kept_member(ngx_egress_flow_t *flow,
    ngx_egress_set_t *set);
static ngx_egress_member_t *ngx_egress_untried_member(ngx_egress_flow_t *flow,
    ngx_egress_set_t *set);
static ngx_uint_t ngx_egress_is_tried(ngx_egress_reach_t *reach,
    ngx_egress_state_t *state);
static void ngx_egress_tried(ngx_egress_reach_t *reach,
    ngx_egress_state_t *state);
static ngx_int_t ngx_egress_try(ngx_egress_flow_t *flow,
    ngx_egress_member_t *member, ngx_egress_peer_t **peer);
static ngx_egress_peer_t *ngx_egress_member_peer(ngx_egress_flow_t *flow,
    ngx_egress_member_t *member);
static ngx_int_t ngx_egress_peer_text(ngx_egress_flow_t *flow,
    ngx_egress_peer_t *peer);
static void ngx_egress_key(ngx_egress_flow_t *flow);


ngx_int_t
ngx_egress_reach(ngx_egress_flow_t *flow)
{
    ngx_int_t  rc;

    if (ngx_egress_reach_start(flow) != NGX_OK) {
        return ngx_egress_reach_overflow(flow, "zone");
    }

    rc = (flow->subsystem == NGX_EGRESS_HTTP)
         ? ngx_egress_reach_request(flow) : ngx_egress_reach_on(flow);

    ngx_log_debug2(NGX_LOG_DEBUG_CORE, flow->log, 0,
                   "egress reach service \"%V\": %i",
                   &flow->service->name, rc);

    return rc;
}


/*
 * Who is one too many starts no lookup; without a limit the request and its
 * connection are counted in one go.
 */

static ngx_int_t
ngx_egress_reach_request(ngx_egress_flow_t *flow)
{
    ngx_int_t              rc;
    ngx_egress_hold_t     *hold;
    ngx_egress_service_t  *svc;

    svc = flow->service;
    hold = flow->reach->hold;

    if (svc->conf->max_requests != NGX_EGRESS_UNLIMITED) {

        if (ngx_egress_hold_add(hold, NGX_EGRESS_HOLD_REQUEST,
                                svc->conf->max_requests)
            != NGX_OK)
        {
            return ngx_egress_reach_overflow(flow, "max_requests");
        }

        return ngx_egress_reach_on(flow);
    }

    rc = ngx_egress_reach_endpoints(flow);

    if (rc == NGX_OK && svc->local->pending == 0
        && ngx_egress_hold_begin(hold, svc->conf->max_connections) == NGX_OK)
    {
        return NGX_OK;
    }

    (void) ngx_egress_hold_add(hold, NGX_EGRESS_HOLD_REQUEST,
                               NGX_EGRESS_UNLIMITED);

    return (rc == NGX_OK) ? ngx_egress_reach_slot(flow) : rc;
}


static ngx_int_t
ngx_egress_reach_start(ngx_egress_flow_t *flow)
{
    ngx_egress_reach_t  *reach;

    reach = flow->reach;

    if (reach == NULL) {
        reach = ngx_palloc(flow->pool, sizeof(ngx_egress_reach_t));
        if (reach == NULL) {
            return NGX_ERROR;
        }

        flow->reach = reach;

    } else {
        ngx_egress_release(flow);
    }

    ngx_memzero(reach, sizeof(ngx_egress_reach_t));

    reach->flow = flow;
    reach->since = ngx_current_msec;

    if (ngx_egress_local(flow->service) == NULL) {
        return NGX_ERROR;
    }

    reach->hold = ngx_egress_hold_create(flow->service->share);

    return reach->hold ? NGX_OK : NGX_ERROR;
}


void
ngx_egress_release(ngx_egress_flow_t *flow)
{
    ngx_egress_reach_t  *reach;

    reach = flow->reach;

    if (reach == NULL) {
        return;
    }

    if (reach->hold && (reach->hold->flags & NGX_EGRESS_HOLD_PENDING)) {
        flow->service->local->pending--;
    }

    ngx_egress_wait_cancel(flow);

    if (reach->kept) {
        ngx_egress_close(reach->kept);
        reach->kept = NULL;
    }

    reach->state = NULL;

    if (reach->hold) {
        ngx_egress_hold_destroy(reach->hold);
        reach->hold = NULL;
    }
}


/* names first, then a slot: who waits for DNS takes none */

ngx_int_t
ngx_egress_reach_on(ngx_egress_flow_t *flow)
{
    ngx_int_t  rc;

    if ((flow->reach->hold->flags & NGX_EGRESS_HOLD_PENDING) == 0) {

        rc = ngx_egress_reach_endpoints(flow);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    return ngx_egress_reach_slot(flow);
}


static ngx_int_t
ngx_egress_reach_endpoints(ngx_egress_flow_t *flow)
{
    ngx_int_t           rc;
    ngx_msec_t          max;
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    if (flow->service->conf->resolution != NGX_EGRESS_DYNAMIC) {
        rc = ngx_egress_reach_variant(flow);

    } else if (flow->addressed) {
        rc = ngx_egress_original_peer(flow);

    } else {
        rc = ngx_egress_reach_name(flow);
    }

    if (rc != NGX_AGAIN) {
        return rc;
    }

    /* a lookup of another process may come to nothing, and one of ours then */

    max = 4 * ecf->resolver_timeout + 4000;

    if (ngx_current_msec - flow->reach->since > max) {
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    ngx_egress_wait(flow, NGX_EGRESS_WAIT_NAME);

    return NGX_AGAIN;
}


/* which endpoints are meant, and is one of them left */

static ngx_int_t
ngx_egress_reach_variant(ngx_egress_flow_t *flow)
{
    ngx_int_t              rc;
    ngx_uint_t             i;
    ngx_egress_set_t      *set;
    ngx_egress_service_t  *svc;
    ngx_egress_variant_t  *variant;

    svc = flow->service;

    for (i = 0; i < svc->nvariants; i++) {
        variant = &svc->variants[i];

        if (variant->host) {

            if (variant->host->len == flow->host.len
                && ngx_memcmp(variant->host->data, flow->host.data,
                              flow->host.len)
                   == 0)
            {
                flow->reach->variant = i;
                break;
            }

        } else if (variant->subset
                   && variant->subset->name.len == flow->subset.len
                   && ngx_memcmp(variant->subset->name.data,
                                 flow->subset.data, flow->subset.len)
                      == 0)
        {
            flow->reach->variant = i;
            break;
        }
    }

    /* none of them is: the first host, or all endpoints */

    rc = ngx_egress_names_check(flow, &svc->variants[flow->reach->variant]);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    set = ngx_egress_set(svc, flow->reach->variant, flow->log);

    if (set && set->n == 0 && set->denied) {
        return ngx_egress_reach_refused(flow, set->refused, set->refused_len);
    }

    if (set == NULL || set->n == 0) {
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    if (set->ejected == set->n && !set->panic) {
        return ngx_egress_deny(flow, NGX_EGRESS_NO_HEALTHY_ENDPOINT);
    }

    return NGX_OK;
}


/* the name or the address that the client asked for */

static ngx_int_t
ngx_egress_reach_name(ngx_egress_flow_t *flow)
{
    ngx_int_t          rc;
    ngx_uint_t         n;
    ngx_egress_addr_t  addrs[NGX_EGRESS_ADDRS];

    rc = ngx_egress_reach_address(flow, &flow->host);

    if (rc != NGX_ABORT) {
        return rc;
    }

    if (!ngx_egress_valid_host(&flow->host, 0)) {
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    n = NGX_EGRESS_ADDRS;

    rc = ngx_egress_name_ask(flow, &flow->host, addrs, &n);

    if (rc == NGX_AGAIN) {
        return NGX_AGAIN;
    }

    if (rc != NGX_OK) {
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    return ngx_egress_reach_peers(flow, addrs, n);
}


/* NGX_ABORT: the name is not an address */

static ngx_int_t
ngx_egress_reach_address(ngx_egress_flow_t *flow, ngx_str_t *name)
{
    ngx_int_t          rc;
    ngx_str_t          text;
    ngx_addr_t         addr;
    ngx_egress_addr_t  a;

    text = *name;

    if (text.len > 2 && text.data[0] == '[' && text.data[text.len - 1] == ']')
    {
        text.data++;
        text.len -= 2;
    }

    rc = ngx_parse_addr(flow->pool, &addr, text.data, text.len);

    if (rc == NGX_DECLINED) {
        return NGX_ABORT;
    }

    if (rc != NGX_OK || addr.socklen > (socklen_t) sizeof(ngx_egress_addr_t))
    {
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    ngx_memzero(&a, sizeof(ngx_egress_addr_t));
    ngx_memcpy(&a, addr.sockaddr, addr.socklen);

    return ngx_egress_reach_peers(flow, &a, 1);
}


static ngx_int_t
ngx_egress_reach_peers(ngx_egress_flow_t *flow, ngx_egress_addr_t *addrs,
    ngx_uint_t n)
{
    ngx_uint_t          i, refused;
    ngx_egress_conf_t  *ecf;
    ngx_egress_peer_t  *peer;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    flow->peers = ngx_pcalloc(flow->pool, n * (sizeof(ngx_egress_peer_t)
                                               + sizeof(ngx_egress_addr_t)));
    if (flow->peers == NULL) {
        return ngx_egress_deny(flow, NGX_EGRESS_NO_HEALTHY_ENDPOINT);
    }

    refused = 0;
    flow->npeers = 0;
    flow->next = 0;

    for (i = 0; i < n; i++) {

        ngx_inet_set_port(&addrs[i].sockaddr, flow->target);

        if (ngx_egress_guard_check(ecf, flow->service, &addrs[i].sockaddr)
            != NGX_OK)
        {
            refused = i;
            continue;
        }

        peer = &flow->peers[flow->npeers];

        peer->sockaddr = (struct sockaddr *)
                         ((u_char *) &flow->peers[n]
                          + flow->npeers * sizeof(ngx_egress_addr_t));
        ngx_memcpy(peer->sockaddr, &addrs[i], sizeof(ngx_egress_addr_t));

        peer->socklen = (addrs[i].sockaddr.sa_family == AF_INET)
                        ? sizeof(struct sockaddr_in)
                        : sizeof(ngx_egress_addr_t);

        flow->npeers++;
    }

    if (flow->npeers == 0) {
        return ngx_egress_reach_refused(flow, &addrs[refused].sockaddr,
                                        sizeof(ngx_egress_addr_t));
    }

    return NGX_OK;
}


/* the guard left no address */

static ngx_int_t
ngx_egress_reach_refused(ngx_egress_flow_t *flow, struct sockaddr *sa,
    socklen_t socklen)
{
    size_t  len;
    u_char  text[NGX_SOCKADDR_STRLEN];

    (void) ngx_atomic_fetch_add(&flow->service->share->denied, 1);

    len = ngx_sock_ntop(sa, socklen, text, NGX_SOCKADDR_STRLEN, 0);

    ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                  "egress guard refuses %*s", len, text);

    return ngx_egress_deny(flow, NGX_EGRESS_ADDRESS_DENIED);
}


/* first come, first served, among those who wait in this process */

static ngx_int_t
ngx_egress_reach_slot(ngx_egress_flow_t *flow)
{
    ngx_uint_t             waits;
    ngx_egress_reach_t    *reach;
    ngx_egress_service_t  *svc;

    svc = flow->service;
    reach = flow->reach;

    waits = reach->hold->flags & NGX_EGRESS_HOLD_PENDING;

    if ((waits || svc->local->pending == 0)
        && (ngx_egress_hold_add(reach->hold, NGX_EGRESS_HOLD_CONNECTION,
                                svc->conf->max_connections)
            == NGX_OK
            || ngx_egress_pool_take(flow, NULL) == NGX_OK))
    {
        if (waits) {
            svc->local->pending--;
            ngx_egress_hold_drop(reach->hold, NGX_EGRESS_HOLD_PENDING);
        }

        return NGX_OK;
    }

    if (flow->subsystem == NGX_EGRESS_STREAM) {
        return ngx_egress_reach_overflow(flow, "max_connections");
    }

    return ngx_egress_reach_pending(flow);
}


static ngx_int_t
ngx_egress_reach_pending(ngx_egress_flow_t *flow)
{
    ngx_int_t              max;
    ngx_egress_hold_t     *hold;
    ngx_egress_service_t  *svc;

    svc = flow->service;
    hold = flow->reach->hold;

    if (hold->flags & NGX_EGRESS_HOLD_PENDING) {

        if (ngx_current_msec - flow->reach->since
            > svc->conf->pending_timeout)
        {
            svc->local->pending--;
            ngx_egress_hold_drop(hold, NGX_EGRESS_HOLD_PENDING);

            return ngx_egress_deny(flow, NGX_EGRESS_UPSTREAM_TIMEOUT);
        }

    } else {

        max = svc->conf->max_pending;

        /* other processes close what is idle for as many more */

        if (max != NGX_EGRESS_UNLIMITED) {
            max += svc->share->held[NGX_EGRESS_HELD_IDLE];
        }

        if (ngx_egress_hold_add(hold, NGX_EGRESS_HOLD_PENDING, max) != NGX_OK)
        {
            return ngx_egress_reach_overflow(flow, "max_pending");
        }

        svc->local->pending++;
        flow->reach->since = ngx_current_msec;
    }

    ngx_egress_wait(flow, NGX_EGRESS_WAIT_SLOT);

    return NGX_AGAIN;
}


static ngx_int_t
ngx_egress_reach_overflow(ngx_egress_flow_t *flow, const char *what)
{
    ngx_egress_share_t  *share;

    share = flow->service->share;

    (void) ngx_atomic_fetch_add(&share->overflows, 1);

    if (ngx_egress_log_due(&share->logged) == NGX_OK) {
        ngx_log_error(NGX_LOG_WARN, flow->log, 0,
                      "egress service \"%V\" has reached its limit: %s",
                      &flow->service->name, what);
    }

    return ngx_egress_deny(flow, NGX_EGRESS_CIRCUIT_OPEN);
}


ngx_uint_t
ngx_egress_reached(ngx_egress_flow_t *flow)
{
    return (flow->verdict == NGX_EGRESS_ALLOWED
            || flow->verdict == NGX_EGRESS_REPORTED)
           && flow->reach && flow->reach->hold
           && (flow->reach->hold->flags & NGX_EGRESS_HOLD_CONNECTION);
}


ngx_uint_t
ngx_egress_tries(ngx_egress_flow_t *flow)
{
    ngx_egress_service_t  *svc;

    svc = flow->service;

    if (svc->conf->retry) {
        return svc->conf->retry->attempts + 1;
    }

    return NGX_EGRESS_TRIES;
}


ngx_egress_peer_t *
ngx_egress_next_peer(ngx_egress_flow_t *flow)
{
    ngx_egress_peer_t     *peer;
    ngx_egress_reach_t    *reach;
    ngx_egress_service_t  *svc;

    reach = flow->reach;
    svc = flow->service;

    if (!ngx_egress_reached(flow)) {
        ngx_log_error(NGX_LOG_ALERT, flow->log, 0,
                      "egress refuses to dial without a verdict");
        return NULL;
    }

    if (reach->attempts) {

        if (ngx_egress_retry(flow) != NGX_OK) {
            return NULL;
        }

        ngx_egress_hold_unuse(reach->hold);
        reach->state = NULL;
    }

    peer = (svc->conf->resolution == NGX_EGRESS_DYNAMIC)
           ? ngx_egress_next_address(flow) : ngx_egress_next_endpoint(flow);

    if (peer == NULL) {
        return NULL;
    }

    if (reach->attempts++) {
        (void) ngx_atomic_fetch_add(&svc->share->retried, 1);
    }

    flow->peer = peer;

    return peer;
}


ngx_uint_t
ngx_egress_no_peer(ngx_egress_flow_t *flow)
{
    return (flow->reach && flow->reach->refused)
           ? NGX_EGRESS_ADDRESS_DENIED : NGX_EGRESS_NO_HEALTHY_ENDPOINT;
}


ngx_int_t
ngx_egress_retry(ngx_egress_flow_t *flow)
{
    ngx_egress_service_t  *svc;

    svc = flow->service;

    if (ngx_egress_hold_add(flow->reach->hold, NGX_EGRESS_HOLD_RETRY,
                            svc->conf->max_retries)
        == NGX_OK)
    {
        return NGX_OK;
    }

    (void) ngx_atomic_fetch_add(&svc->share->retry_overflows, 1);

    flow->overflow = 1;

    return NGX_BUSY;
}


void
ngx_egress_peer_free(ngx_egress_flow_t *flow)
{
    ngx_egress_reach_t  *reach;

    reach = flow->reach;

    if (reach && reach->hold) {
        ngx_egress_hold_unuse(reach->hold);
        ngx_egress_hold_drop(reach->hold, NGX_EGRESS_HOLD_CONNECTION
                                          |NGX_EGRESS_HOLD_RETRY);
    }
}


/* addresses of a name asked for: were checked when they were copied */

static ngx_egress_peer_t *
ngx_egress_next_address(ngx_egress_flow_t *flow)
{
    ngx_egress_conf_t  *ecf;
    ngx_egress_peer_t  *peer;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    if (flow->next >= flow->npeers && flow->service->conf->retry) {
        flow->next = 0;
    }

    while (flow->next < flow->npeers) {

        peer = &flow->peers[flow->next++];

        if (ngx_egress_guard_check(ecf, flow->service, peer->sockaddr)
            == NGX_OK
            && ngx_egress_peer_text(flow, peer) == NGX_OK)
        {
            return peer;
        }

        flow->reach->refused = 1;
    }

    return NULL;
}


static ngx_egress_peer_t *
ngx_egress_next_endpoint(ngx_egress_flow_t *flow)
{
    ngx_int_t             rc;
    ngx_uint_t            i;
    ngx_egress_set_t     *set;
    ngx_egress_peer_t    *peer;
    ngx_egress_member_t  *member;

    for (i = 0; i < NGX_EGRESS_TRIED; i++) {

        set = ngx_egress_set(flow->service, flow->reach->variant, flow->log);

        if (set == NULL || set->n == 0) {
            return NULL;
        }

        member = ngx_egress_choose_member(flow, set);

        if (member == NULL) {
            return NULL;
        }

        rc = ngx_egress_try(flow, member, &peer);

        if (rc == NGX_OK) {
            return peer;
        }

        if (rc == NGX_ERROR) {
            return NULL;
        }

        if (rc == NGX_AGAIN) {

            /* its state has gone: the set is of another time */

            set = flow->service->local->sets[flow->reach->variant];
            set->made = (ngx_uint_t) -1;
        }
    }

    return NULL;
}


/* NGX_DECLINED: not this one; NGX_AGAIN: its state has gone */

static ngx_int_t
ngx_egress_try(ngx_egress_flow_t *flow, ngx_egress_member_t *member,
    ngx_egress_peer_t **peer)
{
    uint64_t             id;
    ngx_egress_conf_t   *ecf;
    ngx_egress_reach_t  *reach;
    ngx_egress_state_t  *state;

    reach = flow->reach;

    /* a look at the pool may make the set, and with it the member, anew */

    state = member->state;
    id = member->id;

    *peer = ngx_egress_member_peer(flow, member);

    if (*peer == NULL) {
        return NGX_ERROR;
    }

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    if (!member->spelled
        && ngx_egress_guard_check(ecf, flow->service, (*peer)->sockaddr)
           != NGX_OK)
    {
        (void) ngx_atomic_fetch_add(&flow->service->share->denied, 1);
        reach->refused = 1;
        ngx_egress_tried(reach, state);
        return NGX_DECLINED;
    }

    ngx_egress_tried(reach, state);

    if (reach->kept) {
        return NGX_OK;
    }

    if (ngx_egress_pool_take(flow, state) == NGX_OK) {
        return NGX_OK;
    }

    if (ngx_egress_hold_use(reach->hold, state, id) != NGX_OK) {
        return NGX_AGAIN;
    }

    reach->state = state;

    return NGX_OK;
}


/* of its own: the set may be made anew while the flow has the peer */

static ngx_egress_peer_t *
ngx_egress_member_peer(ngx_egress_flow_t *flow, ngx_egress_member_t *member)
{
    u_char             *p;
    ngx_egress_peer_t  *peer;

    if (member->portless && member->target != flow->target) {
        ngx_egress_set_target(member, flow->target);
    }

    peer = ngx_palloc(flow->pool, sizeof(ngx_egress_peer_t)
                                  + member->socklen + member->text.len);
    if (peer == NULL) {
        return NULL;
    }

    peer->socklen = member->socklen;
    peer->sockaddr = (struct sockaddr *) &peer[1];

    p = ngx_cpymem(peer->sockaddr, member->sockaddr, member->socklen);

    if (member->portless) {
        ngx_inet_set_port(peer->sockaddr, flow->target);
    }

    peer->name.len = member->text.len;
    peer->name.data = p;
    ngx_memcpy(p, member->text.data, member->text.len);

    return peer;
}


static ngx_int_t
ngx_egress_peer_text(ngx_egress_flow_t *flow, ngx_egress_peer_t *peer)
{
    u_char  *p;

    if (peer->name.len) {
        return NGX_OK;
    }

    p = ngx_pnalloc(flow->pool, NGX_SOCKADDR_STRLEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    peer->name.len = ngx_sock_ntop(peer->sockaddr, peer->socklen, p,
                                   NGX_SOCKADDR_STRLEN, 1);
    peer->name.data = p;

    return NGX_OK;
}


/* one that was not tried, if there is one; if not, only "retry" goes on */

static ngx_egress_member_t *
ngx_egress_choose_member(ngx_egress_flow_t *flow, ngx_egress_set_t *set)
{
    ngx_egress_state_t   *last;
    ngx_egress_reach_t   *reach;
    ngx_egress_member_t  *member;

    reach = flow->reach;

    if (!reach->keyed) {
        ngx_egress_key(flow);
    }

    if (reach->kept) {
        member = ngx_egress_kept_member(flow, set);

        if (member) {
            return member;
        }

        ngx_egress_kept_close(flow);
    }

    member = ngx_egress_untried_member(flow, set);

    if (member || flow->service->conf->retry == NULL || reach->ntried == 0) {
        return member;
    }

    /* once more around, and not with the one that has just failed */

    last = reach->tried[(reach->ntried - 1) % NGX_EGRESS_TRIED];

    reach->ntried = 0;
    ngx_egress_tried(reach, last);

    member = ngx_egress_untried_member(flow, set);

    return member ? member
                  : ngx_egress_pick(flow->service, set, reach->key,
                                    reach->has_key, 1);
}


/*
 * NULL: its endpoint is none any more, or is not the one that is asked for, or
 * the certificate, CA or CRL has changed while the body was coming
 */

static ngx_egress_member_t *
ngx_egress_kept_member(ngx_egress_flow_t *flow, ngx_egress_set_t *set)
{
    ngx_uint_t            i;
    ngx_egress_reach_t   *reach;
    ngx_egress_member_t  *member;

    reach = flow->reach;

    if (!ngx_egress_tls_current(flow->service, reach->kept)) {
        return NULL;
    }

    if (reach->has_key) {
        member = ngx_egress_untried_member(flow, set);

        return (member && member->state == reach->state) ? member : NULL;
    }

    for (i = 0; i < set->n; i++) {
        if (set->members[i].state == reach->state) {
            return &set->members[i];
        }
    }

    return NULL;
}


static ngx_egress_member_t *
ngx_egress_untried_member(ngx_egress_flow_t *flow, ngx_egress_set_t *set)
{
    ngx_uint_t            i;
    ngx_egress_reach_t   *reach;
    ngx_egress_member_t  *member, *last;

    reach = flow->reach;
    last = NULL;

    for (i = 0; i < NGX_EGRESS_REPICKS; i++) {

        member = ngx_egress_pick(flow->service, set,
                                 ngx_egress_mix(reach->key + reach->attempts
                                                + i),
                                 reach->has_key, reach->attempts + i);
        if (member == NULL) {
            return NULL;
        }

        if (ngx_egress_is_tried(reach, member->state)) {
            continue;
        }

        if (!ngx_egress_outlier_returning(flow->service, member->state)) {
            return member;
        }

        last = member;
    }

    if (last) {
        return last;
    }

    for (i = 0; i < set->n; i++) {

        member = &set->members[i];

        if (!ngx_egress_is_tried(reach, member->state)
            && (member->state->ejected == 0 || set->panic))
        {
            return member;
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_egress_is_tried(ngx_egress_reach_t *reach, ngx_egress_state_t *state)
{
    ngx_uint_t  i;

    for (i = 0; i < ngx_min(reach->ntried, NGX_EGRESS_TRIED); i++) {
        if (reach->tried[i] == state) {
            return 1;
        }
    }

    return 0;
}


static void
ngx_egress_tried(ngx_egress_reach_t *reach, ngx_egress_state_t *state)
{
    if (!ngx_egress_is_tried(reach, state)) {
        reach->tried[reach->ntried++ % NGX_EGRESS_TRIED] = state;
    }
}


void
ngx_egress_untry(ngx_egress_flow_t *flow)
{
    ngx_uint_t           i;
    ngx_egress_reach_t  *reach;

    reach = flow->reach;

    for (i = 0; i < NGX_EGRESS_TRIED; i++) {
        if (reach->tried[i] == reach->state) {
            reach->tried[i] = NULL;
        }
    }
}


/* without a value there is no key: any endpoint will do */

static void
ngx_egress_key(ngx_egress_flow_t *flow)
{
    size_t                  n;
    uint64_t                key;
    ngx_str_t               value;
    ngx_uint_t              i;
    ngx_egress_reach_t     *reach;
    ngx_egress_key_part_t  *part;

    reach = flow->reach;
    reach->keyed = 1;

    if (flow->service->conf->balance != NGX_EGRESS_HASH) {
        return;
    }

    part = flow->service->conf->hash_key->elts;
    key = 0xcbf29ce484222325ULL;

    for (i = 0; i < flow->service->conf->hash_key->nelts; i++) {

        value = part[i].text;

        if (part[i].variable) {

            if (flow->variable(flow, &part[i].text, part[i].hash, &value)
                != NGX_OK)
            {
                continue;
            }

            reach->has_key |= (value.len != 0);
        }

        /* FNV-1a */

        for (n = 0; n < value.len; n++) {
            key = (key ^ value.data[n]) * 0x100000001b3ULL;
        }
    }

    reach->key = key;
}


ngx_uint_t
ngx_egress_has_retry(ngx_egress_flow_t *flow)
{
    return flow->service->conf->retry != NULL;
}


ngx_msec_t
ngx_egress_try_timeout(ngx_egress_flow_t *flow)
{
    return flow->service->conf->retry
               ? flow->service->conf->retry->per_try_timeout : 0;
}


/*
 * Envoy's retry_on (Istio: VirtualService.http.retries): a request that may
 * have been processed is repeated only if it may be by RFC 9110, 9.2.2.
 */

ngx_uint_t
ngx_egress_may_retry(ngx_egress_flow_t *flow, ngx_uint_t status,
    ngx_uint_t sent, ngx_uint_t idempotent)
{
    ngx_uint_t           i, mask, *statuses;
    ngx_egress_retry_t  *retry;

    retry = flow->service->conf->retry;

    if (sent && !idempotent) {
        return 0;
    }

    if (status == 0) {
        mask = NGX_EGRESS_RETRY_RESET|NGX_EGRESS_RETRY_5XX
               |NGX_EGRESS_RETRY_GATEWAY;

        if (!sent) {
            mask |= NGX_EGRESS_RETRY_CONNECT|NGX_EGRESS_RETRY_UNSENT;
        }

        return (retry->on & mask) != 0;
    }

    if ((retry->on & NGX_EGRESS_RETRY_5XX) && status >= 500) {
        return 1;
    }

    if ((retry->on & NGX_EGRESS_RETRY_GATEWAY)
        && status >= 502 && status <= 504)
    {
        return 1;
    }

    if ((retry->on & NGX_EGRESS_RETRY_LIMITED) && status == 429) {
        return 1;
    }

    if (retry->statuses == NULL) {
        return 0;
    }

    statuses = retry->statuses->elts;

    for (i = 0; i < retry->statuses->nelts; i++) {
        if (statuses[i] == status) {
            return 1;
        }
    }

    return 0;
}


void
ngx_egress_outcome(ngx_egress_flow_t *flow, ngx_uint_t outcome)
{
    ngx_egress_set_t      *set;
    ngx_egress_state_t    *state;
    ngx_egress_service_t  *svc;

    svc = flow->service;

    if (outcome == NGX_EGRESS_OUTCOME_LOCAL) {
        (void) ngx_atomic_fetch_add(&svc->share->failed, 1);
    }

    state = flow->reach ? flow->reach->state : NULL;

    if (state == NULL) {
        return;
    }

    if (outcome == NGX_EGRESS_OUTCOME_LOCAL) {
        (void) ngx_atomic_fetch_add(&state->failed, 1);

    } else if (outcome != NGX_EGRESS_OUTCOME_OK) {
        (void) ngx_atomic_fetch_add(&state->errors, 1);
    }

    if (svc->conf->outlier == NULL) {
        return;
    }

    set = ngx_egress_set(svc, flow->reach->variant, flow->log);

    if (set) {
        ngx_egress_outlier_count(svc, set, state, outcome, flow->log);
    }
}
