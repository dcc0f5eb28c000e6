
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>
#include <ngx_egress_ratelimit_table.h>


static ngx_int_t ngx_egress_ratelimit_lock_all(
    ngx_egress_ratelimit_table_t *table, uint64_t mask);
static void ngx_egress_ratelimit_unlock_all(
    ngx_egress_ratelimit_table_t *table, uint64_t mask);
static void ngx_egress_ratelimit_take_one(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, ngx_egress_ratelimit_clock_t *clock);
static ngx_uint_t ngx_egress_ratelimit_pay(
    ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_token_t *token, ngx_egress_ratelimit_clock_t *clock);
static void ngx_egress_ratelimit_take_full(
    ngx_egress_ratelimit_charge_t *charge, ngx_egress_ratelimit_clock_t *clock);
static ngx_uint_t ngx_egress_ratelimit_refuses(
    ngx_egress_ratelimit_charge_t *charge);
static void ngx_egress_ratelimit_give_back(
    ngx_egress_ratelimit_charge_t *charge);
static void ngx_egress_ratelimit_set_token(ngx_egress_ratelimit_slot_t *slot,
    ngx_egress_ratelimit_token_t *token);
static void ngx_egress_ratelimit_account(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, ngx_uint_t refused);


ngx_int_t
ngx_egress_ratelimit_take(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charges, ngx_uint_t n,
    ngx_egress_ratelimit_clock_t *clock,
    ngx_egress_ratelimit_charge_t **refused)
{
    uint64_t    mask;
    ngx_uint_t  i, k;

    mask = 0;
    *refused = NULL;

    for (i = 0; i < n; i++) {
        if (charges[i].enabled) {
            mask |= (uint64_t) 1
                    << ngx_egress_ratelimit_shard(table,
                                                  charges[i].bucket->row,
                                                  &charges[i].key);
        }
    }

    if (ngx_egress_ratelimit_lock_all(table, mask) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (!charges[i].enabled) {
            continue;
        }

        ngx_egress_ratelimit_take_one(table, &charges[i], clock);

        if (ngx_egress_ratelimit_refuses(&charges[i])) {
            *refused = &charges[i];
            break;
        }
    }

    for (k = 0; *refused && k < i; k++) {
        ngx_egress_ratelimit_give_back(&charges[k]);
    }

    for (k = 0; k < n && k <= i; k++) {
        if (charges[k].enabled) {
            ngx_egress_ratelimit_account(table, &charges[k],
                                         *refused != NULL);
        }
    }

    ngx_egress_ratelimit_unlock_all(table, mask);

    return NGX_OK;
}


/* in the order of the shards: two processes never wait for each other */

static ngx_int_t
ngx_egress_ratelimit_lock_all(ngx_egress_ratelimit_table_t *table,
    uint64_t mask)
{
    ngx_uint_t  i;

    for (i = 0; i < table->shards_n; i++) {

        if (!(mask & ((uint64_t) 1 << i))) {
            continue;
        }

        if (ngx_egress_ratelimit_lock(table, i) != NGX_OK) {
            ngx_egress_ratelimit_unlock_all(table,
                                            mask & (((uint64_t) 1 << i) - 1));
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_egress_ratelimit_unlock_all(ngx_egress_ratelimit_table_t *table,
    uint64_t mask)
{
    ngx_uint_t  i;

    for (i = 0; i < table->shards_n; i++) {
        if (mask & ((uint64_t) 1 << i)) {
            ngx_egress_ratelimit_unlock(table, i);
        }
    }
}


static void
ngx_egress_ratelimit_take_one(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, ngx_egress_ratelimit_clock_t *clock)
{
    ngx_int_t                       rc;
    ngx_uint_t                      shard, passed;
    ngx_egress_ratelimit_slot_t    *slot;
    ngx_egress_ratelimit_token_t    token;
    ngx_egress_ratelimit_bucket_t  *bucket;

    bucket = charge->bucket;

    shard = ngx_egress_ratelimit_shard(table, bucket->row, &charge->key);
    bucket->row->parts[shard].rate = bucket->rate;

    slot = ngx_egress_ratelimit_get_slot(table, shard, charge, clock);

    charge->slot = slot;

    if (slot == NULL) {
        ngx_egress_ratelimit_take_full(charge, clock);
        return;
    }

    if (bucket->connections) {

        rc = ngx_egress_ratelimit_connect(table, slot, bucket->connections,
                                          &charge->connection);
        if (rc == NGX_ERROR) {
            ngx_egress_ratelimit_take_full(charge, clock);
            return;
        }

        if (rc == NGX_DECLINED) {
            charge->result = NGX_EGRESS_RATELIMIT_LIMITED;
            charge->wait = NGX_EGRESS_RATELIMIT_NEVER;
            return;
        }
    }

    token = slot->token[slot->cur];
    passed = ngx_egress_ratelimit_pay(charge, &token, clock);

    if (!passed) {

        /* a period that is another by a clock that was set back is kept */

        if (token.last != slot->token[slot->cur].last) {
            ngx_egress_ratelimit_set_token(slot, &token);
        }

        ngx_egress_ratelimit_disconnect(&charge->connection);
        charge->result = NGX_EGRESS_RATELIMIT_LIMITED;
        return;
    }

    ngx_egress_ratelimit_set_token(slot, &token);
    charge->result = NGX_EGRESS_RATELIMIT_PASSED;
}


/* of a copy of the slot's token; sets what is told of it */

static ngx_uint_t
ngx_egress_ratelimit_pay(ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_token_t *token, ngx_egress_ratelimit_clock_t *clock)
{
    uint64_t                        need;
    ngx_uint_t                      passed;
    ngx_egress_ratelimit_span_t     span;
    ngx_egress_ratelimit_token_t    copy;
    ngx_egress_ratelimit_bucket_t  *bucket;

    bucket = charge->bucket;

    if (bucket->period) {
        ngx_egress_ratelimit_period_span(bucket->period, clock->sec, &span);
        ngx_egress_ratelimit_quota_renew(token, &span);
    }

    /* bytes are taken when they are known: now there has to be one */

    if (bucket->unit == NGX_EGRESS_RATELIMIT_BYTES) {
        copy = *token;
        token = &copy;
        charge->cost = 1;
    }

    if (bucket->period) {
        passed = ngx_egress_ratelimit_quota_take(token, bucket->rate.tokens,
                                                 &span, charge->cost);
        need = passed ? 1 : charge->cost;

        charge->left = ngx_egress_ratelimit_quota_left(token,
                                                 bucket->rate.tokens, &span);
        charge->wait = ngx_egress_ratelimit_quota_wait(token,
                                           bucket->rate.tokens, &span, need);
        return passed;
    }

    passed = ngx_egress_ratelimit_token_take(token, &bucket->rate, clock->ms,
                                             charge->cost);
    need = passed ? 1 : charge->cost;

    charge->left = ngx_egress_ratelimit_token_left(token, &bucket->rate);
    charge->wait = ngx_egress_ratelimit_token_wait(token, &bucket->rate, need);

    return passed;
}


/* once a second, whichever shard and process it is */

static void
ngx_egress_ratelimit_take_full(ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_clock_t *clock)
{
    ngx_atomic_uint_t            logged, ms;
    ngx_egress_ratelimit_row_t  *row;

    charge->result = NGX_EGRESS_RATELIMIT_FULL;

    row = charge->bucket->row;
    logged = row->logged;
    ms = (ngx_atomic_uint_t) clock->ms;

    if ((logged == 0 || ms - logged >= 1000)
        && ngx_atomic_cmp_set(&row->logged, logged, ms))
    {
        charge->log = 1;
    }
}


static ngx_uint_t
ngx_egress_ratelimit_refuses(ngx_egress_ratelimit_charge_t *charge)
{
    return charge->enforced
           && (charge->result == NGX_EGRESS_RATELIMIT_LIMITED
               || (charge->result == NGX_EGRESS_RATELIMIT_FULL
                   && !charge->bucket->on_full));
}


static void
ngx_egress_ratelimit_give_back(ngx_egress_ratelimit_charge_t *charge)
{
    ngx_egress_ratelimit_token_t  token;

    if (!charge->enabled || charge->result != NGX_EGRESS_RATELIMIT_PASSED) {
        return;
    }

    token = charge->slot->token[charge->slot->cur];

    if (charge->bucket->unit == NGX_EGRESS_RATELIMIT_BYTES) {
        ngx_egress_ratelimit_disconnect(&charge->connection);
        return;
    }

    if (charge->bucket->period) {
        ngx_egress_ratelimit_quota_give(&token, charge->cost);

    } else {
        ngx_egress_ratelimit_token_give(&token, &charge->bucket->rate,
                                        charge->cost);
    }

    ngx_egress_ratelimit_set_token(charge->slot, &token);

    ngx_egress_ratelimit_disconnect(&charge->connection);
}


void
ngx_egress_ratelimit_spend(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, uint64_t n,
    ngx_egress_ratelimit_clock_t *clock)
{
    ngx_uint_t                      shard;
    ngx_egress_ratelimit_span_t     span;
    ngx_egress_ratelimit_slot_t    *slot;
    ngx_egress_ratelimit_token_t    token;
    ngx_egress_ratelimit_bucket_t  *bucket;

    bucket = charge->bucket;
    shard = ngx_egress_ratelimit_shard(table, bucket->row, &charge->key);

    if (ngx_egress_ratelimit_lock(table, shard) != NGX_OK) {
        return;
    }

    /* a bucket that was full may have made room meanwhile */

    slot = ngx_egress_ratelimit_get_slot(table, shard, charge, clock);

    if (slot == NULL) {
        bucket->row->parts[shard].full++;

    } else {
        token = slot->token[slot->cur];

        if (bucket->period) {
            ngx_egress_ratelimit_period_span(bucket->period, clock->sec,
                                             &span);
            ngx_egress_ratelimit_quota_spend(&token, &span, n);

        } else {
            ngx_egress_ratelimit_token_spend(&token, &bucket->rate, clock->ms,
                                             n);
        }

        ngx_egress_ratelimit_set_token(slot, &token);
        bucket->row->parts[shard].spent += n;
    }

    ngx_egress_ratelimit_unlock(table, shard);
}


/* who is killed in between leaves the old state, or the new one */

static void
ngx_egress_ratelimit_set_token(ngx_egress_ratelimit_slot_t *slot,
    ngx_egress_ratelimit_token_t *token)
{
    slot->token[!slot->cur] = *token;
    ngx_memory_barrier();
    slot->cur = !slot->cur;
}


/* what another bucket refused has been neither allowed nor limited here */

static void
ngx_egress_ratelimit_account(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, ngx_uint_t refused)
{
    ngx_uint_t                    passed;
    ngx_egress_ratelimit_row_t   *row;
    ngx_egress_ratelimit_part_t  *part;

    row = charge->bucket->row;
    part = &row->parts[ngx_egress_ratelimit_shard(table, row, &charge->key)];

    passed = (charge->result == NGX_EGRESS_RATELIMIT_PASSED);

    if (charge->result == NGX_EGRESS_RATELIMIT_FULL) {
        part->full++;
        passed = charge->bucket->on_full;
    }

    if (passed) {
        part->allowed += !refused;

    } else if (charge->enforced) {
        part->limited++;

    } else {
        charge->would = 1;
        part->would_limit++;
    }
}


uint64_t
ngx_egress_ratelimit_remaining(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_egress_ratelimit_clock_t *clock)
{
    ngx_uint_t                    shard;
    ngx_egress_ratelimit_span_t   span;
    ngx_egress_ratelimit_slot_t  *slot;
    ngx_egress_ratelimit_token_t  token;

    slot = &bucket->row->slot;
    shard = bucket->row->home;

    if (ngx_egress_ratelimit_lock(table, shard) != NGX_OK) {
        return 0;
    }

    token = slot->token[slot->cur];

    ngx_egress_ratelimit_unlock(table, shard);

    if (bucket->period) {
        ngx_egress_ratelimit_period_span(bucket->period, clock->sec, &span);

        return ngx_egress_ratelimit_quota_left(&token, bucket->rate.tokens,
                                               &span);
    }

    ngx_egress_ratelimit_token_refill(&token, &bucket->rate, clock->ms);

    return ngx_egress_ratelimit_token_left(&token, &bucket->rate);
}
