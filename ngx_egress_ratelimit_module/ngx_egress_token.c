
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


static void ngx_egress_token_refill(ngx_egress_token_t *token,
    ngx_egress_rate_t *rate, ngx_msec_t now);


void
ngx_egress_token_init(ngx_egress_token_t *token, ngx_egress_rate_t *rate,
    ngx_msec_t now)
{
    token->level = rate->tokens * rate->interval;
    token->last = now;
    token->interval = rate->interval;
}


ngx_uint_t
ngx_egress_token_take(ngx_egress_token_t *token, ngx_egress_rate_t *rate,
    ngx_msec_t now)
{
    ngx_egress_token_refill(token, rate, now);

    if (token->level < rate->interval) {
        return 0;
    }

    token->level -= rate->interval;

    return 1;
}


/* of what was taken at the same time, so the bucket can't overflow */

void
ngx_egress_token_give(ngx_egress_token_t *token, ngx_egress_rate_t *rate)
{
    token->level += rate->interval;
}


ngx_uint_t
ngx_egress_token_full(ngx_egress_token_t *token, ngx_egress_rate_t *rate,
    ngx_msec_t now)
{
    ngx_egress_token_refill(token, rate, now);

    return token->level == rate->tokens * rate->interval;
}


static void
ngx_egress_token_refill(ngx_egress_token_t *token, ngx_egress_rate_t *rate,
    ngx_msec_t now)
{
    uint64_t        full, need, whole, part;
    ngx_msec_int_t  elapsed;

    /* another interval, another unit: a reload changed the configuration */

    if (token->interval != rate->interval) {
        whole = token->level / token->interval;
        part = token->level % token->interval;

        token->level = (whole < rate->tokens)
                       ? whole * rate->interval
                         + part * rate->interval / token->interval
                       : rate->tokens * rate->interval;

        token->interval = rate->interval;
    }

    full = rate->tokens * rate->interval;

    if (token->level > full) {
        token->level = full;
    }

    /*
     * Each worker has a clock of its own, which stands still while it is
     * busy: a time before the last one is no time at all.
     */

    elapsed = (ngx_msec_int_t) (now - token->last);

    if (elapsed <= 0) {
        return;
    }

    token->last = now;
    need = full - token->level;

    if ((uint64_t) elapsed > need / rate->fill) {
        token->level = full;

    } else {
        token->level += (uint64_t) elapsed * rate->fill;
    }
}
