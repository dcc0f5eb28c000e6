
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


#define NGX_EGRESS_RATELIMIT_DEBT  (1LL << 62)


static void ngx_egress_ratelimit_token_convert(
    ngx_egress_ratelimit_token_t *token, ngx_egress_ratelimit_rate_t *rate,
    uint64_t now);


void
ngx_egress_ratelimit_token_init(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now)
{
    token->level = rate->tokens * rate->interval;
    token->last = now;

    /* what has never been used is no quota either */

    token->interval = (rate->interval == NGX_EGRESS_RATELIMIT_PERIOD)
                      ? 0 : rate->interval;
}


ngx_uint_t
ngx_egress_ratelimit_token_take(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now, uint64_t cost)
{
    int64_t  parts;

    ngx_egress_ratelimit_token_refill(token, rate, now);

    if (rate->interval == 0) {
        return 1;
    }

    if (cost > rate->tokens) {
        return 0;
    }

    parts = cost * rate->interval;

    if (token->level < parts) {
        return 0;
    }

    token->level -= parts;

    return 1;
}


/* a debt of more than 62 bits is one of years in any case */

void
ngx_egress_ratelimit_token_spend(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now, uint64_t n)
{
    ngx_egress_ratelimit_token_refill(token, rate, now);

    if (rate->interval == 0 || token->level < -NGX_EGRESS_RATELIMIT_DEBT) {
        return;
    }

    n = ngx_min(n, NGX_EGRESS_RATELIMIT_DEBT / rate->interval);
    token->level -= n * rate->interval;
}


/* of what was taken at the same time, so the bucket can't overflow */

void
ngx_egress_ratelimit_token_give(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t cost)
{
    token->level += cost * rate->interval;
}


ngx_uint_t
ngx_egress_ratelimit_token_full(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now)
{
    ngx_egress_ratelimit_token_refill(token, rate, now);

    return rate->interval == 0
           || token->level == (int64_t) (rate->tokens * rate->interval);
}


uint64_t
ngx_egress_ratelimit_token_left(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate)
{
    return (rate->interval && token->level > 0) ? token->level / rate->interval
                                                : 0;
}


uint64_t
ngx_egress_ratelimit_token_wait(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t cost)
{
    int64_t   parts;
    uint64_t  need;

    if (rate->interval == 0) {
        return 0;
    }

    if (cost > rate->tokens) {
        return NGX_EGRESS_RATELIMIT_NEVER;
    }

    parts = cost * rate->interval;

    if (token->level >= parts) {
        return 0;
    }

    need = (uint64_t) parts - token->level;

    return need / rate->fill + (need % rate->fill != 0);
}


void
ngx_egress_ratelimit_token_refill(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now)
{
    int64_t   elapsed, full;
    uint64_t  need;

    if (rate->interval == 0) {
        return;
    }

    /* another interval, another unit: a reload changed the configuration */

    if (token->interval != rate->interval) {
        ngx_egress_ratelimit_token_convert(token, rate, now);
    }

    full = rate->tokens * rate->interval;

    if (token->level > full) {
        token->level = full;
    }

    /*
     * Each worker reads the clock before it has the lock: a time before the
     * last one is no time at all.  The difference is right over a wrap, too.
     */

    elapsed = (int64_t) (now - token->last);

    if (elapsed <= 0) {
        return;
    }

    token->last = now;
    need = (uint64_t) full - token->level;

    if ((uint64_t) elapsed > need / rate->fill) {
        token->level = full;

    } else {
        token->level += (uint64_t) elapsed * rate->fill;
    }
}


static void
ngx_egress_ratelimit_token_convert(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now)
{
    int64_t  whole, part;

    if (token->interval == 0
        || token->interval == NGX_EGRESS_RATELIMIT_PERIOD)
    {
        ngx_egress_ratelimit_token_init(token, rate, now);
        return;
    }

    whole = token->level / token->interval;
    part = token->level % token->interval;

    /* a debt that the product can't hold stays one of years */

    whole = ngx_max(whole, -2147483648LL);

    token->level = (whole < (int64_t) rate->tokens)
                   ? whole * rate->interval
                     + part * rate->interval / token->interval
                   : (int64_t) (rate->tokens * rate->interval);

    token->interval = rate->interval;
}
