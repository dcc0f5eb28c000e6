
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/* the longest ejection, unless a single one is longer; as in Envoy */
#define NGX_EGRESS_EJECTION_MAX    300000

/* of its part of the traffic, percent, right after the return */
#define NGX_EGRESS_RETURN_PERCENT  10


static ngx_uint_t ngx_egress_outlier_sweeps(ngx_egress_service_t *svc,
    ngx_msec_t now);
static ngx_uint_t ngx_egress_outlier_due(ngx_egress_outlier_t *outlier,
    ngx_egress_state_t *state, ngx_uint_t outcome);
static ngx_msec_t ngx_egress_outlier_eject(ngx_egress_service_t *svc,
    ngx_egress_set_t *set, ngx_egress_state_t *state);


/*
 * Envoy's outlier detection (Istio: DestinationRule.outlierDetection):
 * ejection at once, return with an interval only.  Without it nobody stays
 * ejected: an older configuration may have had it.
 */

void
ngx_egress_outlier_sweep(ngx_egress_service_t *svc)
{
    ngx_msec_t           now;
    ngx_egress_share_t  *share;
    ngx_egress_state_t  *state;

    share = svc->share;
    now = ngx_current_msec;

    if (!ngx_egress_outlier_sweeps(svc, now)) {
        return;
    }

    ngx_egress_share_lock(share);

    if (!ngx_egress_outlier_sweeps(svc, now)) {
        ngx_egress_share_unlock(share);
        return;
    }

    share->swept = now;

    for (state = share->states; state; state = state->next) {

        if (state->ejected == 0) {
            state->ejections -= (state->ejections > 0);
            continue;
        }

        if (svc->conf->outlier && (ngx_msec_int_t) (now - state->ejected) < 0) {
            continue;
        }

        state->run_5xx = 0;
        state->run_gateway = 0;
        state->run_local = 0;
        state->returned = now ? now : 1;
        state->ejected = 0;

        ngx_memory_barrier();

        share->health++;
    }

    ngx_egress_share_unlock(share);
}


/* another process's clock may be ahead of this one's */

static ngx_uint_t
ngx_egress_outlier_sweeps(ngx_egress_service_t *svc, ngx_msec_t now)
{
    ngx_msec_int_t  interval;

    interval = svc->conf->outlier ? svc->conf->outlier->interval : 0;

    return (ngx_msec_int_t) (now - svc->share->swept) >= interval;
}


ngx_uint_t
ngx_egress_outlier_returning(ngx_egress_service_t *svc,
    ngx_egress_state_t *state)
{
    ngx_uint_t      percent;
    ngx_msec_int_t  elapsed;

    if (svc->conf->outlier == NULL || state->returned == 0) {
        return 0;
    }

    elapsed = (ngx_msec_int_t) (ngx_current_msec - state->returned);
    elapsed = ngx_max(elapsed, 0);

    if (elapsed >= (ngx_msec_int_t) svc->conf->outlier->interval) {
        return 0;
    }

    percent = (ngx_uint_t) elapsed * 100 / svc->conf->outlier->interval;
    percent = ngx_max(percent, NGX_EGRESS_RETURN_PERCENT);

    return (ngx_uint_t) ngx_random() % 100 >= percent;
}


void
ngx_egress_outlier_count(ngx_egress_service_t *svc, ngx_egress_set_t *set,
    ngx_egress_state_t *state, ngx_uint_t outcome, ngx_log_t *log)
{
    size_t            len;
    u_char            text[NGX_SOCKADDR_STRLEN];
    ngx_msec_t        time;
    struct sockaddr  *sa;

    if (!ngx_egress_outlier_due(svc->conf->outlier, state, outcome)
        || state->ejected)
    {
        return;
    }

    ngx_egress_share_lock(svc->share);

    time = ngx_egress_outlier_eject(svc, set, state);

    ngx_egress_share_unlock(svc->share);

    if (time == 0) {
        return;
    }

    /* without a port of its own it has the service's */

    sa = (struct sockaddr *) state->sockaddr;

    len = ngx_sock_ntop(sa, state->socklen, text, NGX_SOCKADDR_STRLEN,
                        ngx_inet_get_port(sa) != 0);

    ngx_log_error(NGX_LOG_WARN, log, 0,
                  "egress endpoint %*s of service \"%V\" is ejected for %M ms",
                  len, text, &svc->name, time);
}


static ngx_uint_t
ngx_egress_outlier_due(ngx_egress_outlier_t *outlier,
    ngx_egress_state_t *state, ngx_uint_t outcome)
{
    ngx_uint_t  any, gateway;

    /* split, as splitExternalLocalOriginErrors, or a failure is a 503 */

    if (outcome == NGX_EGRESS_OUTCOME_LOCAL && outlier->consecutive_local) {
        return ngx_atomic_fetch_add(&state->run_local, 1) + 1
               >= outlier->consecutive_local;
    }

    state->run_local = 0;

    if (outcome == NGX_EGRESS_OUTCOME_OK) {
        state->run_5xx = 0;
        state->run_gateway = 0;
        return 0;
    }

    if (outcome == NGX_EGRESS_OUTCOME_5XX) {
        state->run_gateway = 0;
        gateway = 0;

    } else {
        gateway = ngx_atomic_fetch_add(&state->run_gateway, 1) + 1;
    }

    any = ngx_atomic_fetch_add(&state->run_5xx, 1) + 1;

    return (outlier->consecutive_5xx && any >= outlier->consecutive_5xx)
           || (outlier->consecutive_gateway
               && gateway >= outlier->consecutive_gateway);
}


/* the share is locked; returns for how long, or 0: it may not be ejected */

static ngx_msec_t
ngx_egress_outlier_eject(ngx_egress_service_t *svc, ngx_egress_set_t *set,
    ngx_egress_state_t *state)
{
    ngx_uint_t             i, ejected;
    ngx_msec_t             time, max, now;
    ngx_egress_outlier_t  *outlier;

    outlier = svc->conf->outlier;

    if (state->ejected) {
        return 0;
    }

    ejected = 0;

    for (i = 0; i < set->n; i++) {
        ejected += (set->members[i].state->ejected != 0);
    }

    if (100 * (ejected + 1) > outlier->max_ejected * set->n) {
        return 0;
    }

    now = ngx_current_msec;
    max = ngx_max(outlier->ejection, NGX_EGRESS_EJECTION_MAX);

    state->ejections++;

    time = outlier->ejection * state->ejections;
    time = ngx_min(time, max);

    state->returned = 0;
    state->ejected = (now + time) ? now + time : 1;

    svc->share->ejections++;

    ngx_memory_barrier();

    svc->share->health++;

    return time;
}
