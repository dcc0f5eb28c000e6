
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>
#include <ngx_egress_ratelimit_table.h>


static uint64_t ngx_egress_ratelimit_lock_all(
    ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charges, ngx_uint_t n);
static void ngx_egress_ratelimit_unlock_all(
    ngx_egress_ratelimit_table_t *table, uint64_t mask);
static void ngx_egress_ratelimit_take_one(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, uint64_t locked,
    ngx_egress_ratelimit_clock_t *clock);
static ngx_uint_t ngx_egress_ratelimit_pay(
    ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_token_t *token, ngx_egress_ratelimit_clock_t *clock);
static void ngx_egress_ratelimit_take_full(
    ngx_egress_ratelimit_charge_t *charge, ngx_egress_ratelimit_clock_t *clock);
static void ngx_egress_ratelimit_take_error(
    ngx_egress_ratelimit_charge_t *charge, ngx_uint_t error,
    ngx_egress_ratelimit_clock_t *clock);
static ngx_uint_t ngx_egress_ratelimit_may_log(ngx_atomic_t *last,
    ngx_egress_ratelimit_clock_t *clock);
static ngx_uint_t ngx_egress_ratelimit_refuses(
    ngx_egress_ratelimit_charge_t *charge);
static void ngx_egress_ratelimit_give_back(
    ngx_egress_ratelimit_charge_t *charge);
static void ngx_egress_ratelimit_set_token(ngx_egress_ratelimit_slot_t *slot,
    ngx_egress_ratelimit_token_t *token);
static void ngx_egress_ratelimit_account(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, ngx_uint_t refused);
static void ngx_egress_ratelimit_account_error(
    ngx_egress_ratelimit_charge_t *charge, ngx_uint_t refused);
static void ngx_egress_ratelimit_error(ngx_egress_ratelimit_row_t *row,
    ngx_uint_t n);


void
ngx_egress_ratelimit_take(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charges, ngx_uint_t n,
    ngx_egress_ratelimit_clock_t *clock,
    ngx_egress_ratelimit_charge_t **refused)
{
    uint64_t    locked;
    ngx_uint_t  i, k;

    *refused = NULL;

    locked = ngx_egress_ratelimit_lock_all(table, charges, n);

    for (i = 0; i < n; i++) {

        if (!charges[i].enabled) {
            continue;
        }

        ngx_egress_ratelimit_take_one(table, &charges[i], locked, clock);

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

    ngx_egress_ratelimit_unlock_all(table, locked);
}


/*
 * Those that are locked: without the others, buckets of other shards go on.
 * In the order of the shards: two processes never wait for each other.
 */

static uint64_t
ngx_egress_ratelimit_lock_all(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charges, ngx_uint_t n)
{
    uint64_t    mask, locked;
    ngx_uint_t  i;

    mask = 0;
    locked = 0;

    for (i = 0; i < n; i++) {
        if (charges[i].enabled) {
            mask |= (uint64_t) 1
                    << ngx_egress_ratelimit_shard(table,
                                                  charges[i].bucket->row,
                                                  &charges[i].key);
        }
    }

    for (i = 0; i < table->shards_n; i++) {

        if ((mask & ((uint64_t) 1 << i))
            && ngx_egress_ratelimit_lock(table, i) == NGX_OK)
        {
            locked |= (uint64_t) 1 << i;
        }
    }

    return locked;
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
    ngx_egress_ratelimit_charge_t *charge, uint64_t locked,
    ngx_egress_ratelimit_clock_t *clock)
{
    ngx_int_t                       rc;
    ngx_uint_t                      shard, passed;
    ngx_egress_ratelimit_slot_t    *slot;
    ngx_egress_ratelimit_token_t    token;
    ngx_egress_ratelimit_bucket_t  *bucket;

    bucket = charge->bucket;

    shard = ngx_egress_ratelimit_shard(table, bucket->row, &charge->key);

    if (!(locked & ((uint64_t) 1 << shard))) {
        charge->result = NGX_EGRESS_RATELIMIT_ERROR;
        ngx_egress_ratelimit_take_error(charge, NGX_EGRESS_RATELIMIT_LOCK,
                                        clock);
        return;
    }

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
            ngx_egress_ratelimit_take_error(charge,
                                            NGX_EGRESS_RATELIMIT_PROCESS,
                                            clock);

            /* tokens are there to be taken all the same */

            if (!bucket->on_error) {
                charge->result = NGX_EGRESS_RATELIMIT_ERROR;
                return;
            }
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


static void
ngx_egress_ratelimit_take_full(ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_clock_t *clock)
{
    charge->result = NGX_EGRESS_RATELIMIT_FULL;
    charge->log = ngx_egress_ratelimit_may_log(&charge->bucket->row->logged,
                                               clock);
}


static void
ngx_egress_ratelimit_take_error(ngx_egress_ratelimit_charge_t *charge,
    ngx_uint_t error, ngx_egress_ratelimit_clock_t *clock)
{
    charge->error = error;
    charge->log = ngx_egress_ratelimit_may_log(
                                    &charge->bucket->row->complained, clock);
}


/* once a second, whichever shard and process it is */

static ngx_uint_t
ngx_egress_ratelimit_may_log(ngx_atomic_t *last,
    ngx_egress_ratelimit_clock_t *clock)
{
    ngx_atomic_uint_t  logged, ms;

    logged = *last;
    ms = (ngx_atomic_uint_t) clock->ms;

    return (logged == 0 || ms - logged >= 1000)
           && ngx_atomic_cmp_set(last, logged, ms);
}


static ngx_uint_t
ngx_egress_ratelimit_refuses(ngx_egress_ratelimit_charge_t *charge)
{
    return charge->enforced
           && (charge->result == NGX_EGRESS_RATELIMIT_LIMITED
               || (charge->result == NGX_EGRESS_RATELIMIT_FULL
                   && !charge->bucket->on_full)
               || (charge->result == NGX_EGRESS_RATELIMIT_ERROR
                   && !charge->bucket->on_error));
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
        ngx_egress_ratelimit_error(bucket->row,
                                   NGX_EGRESS_RATELIMIT_ERROR_NONE);
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

    if (charge->result == NGX_EGRESS_RATELIMIT_ERROR) {
        ngx_egress_ratelimit_account_error(charge, refused);
        return;
    }

    if (charge->error) {
        ngx_egress_ratelimit_error(row, NGX_EGRESS_RATELIMIT_ERROR_NONE);
    }

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


static void
ngx_egress_ratelimit_account_error(ngx_egress_ratelimit_charge_t *charge,
    ngx_uint_t refused)
{
    ngx_uint_t  n;

    if (charge->bucket->on_error) {
        n = refused ? NGX_EGRESS_RATELIMIT_ERROR_NONE
                    : NGX_EGRESS_RATELIMIT_ERROR_ALLOWED;

    } else if (charge->enforced) {
        n = NGX_EGRESS_RATELIMIT_ERROR_LIMITED;

    } else {
        charge->would = 1;
        n = NGX_EGRESS_RATELIMIT_ERROR_WOULD;
    }

    ngx_egress_ratelimit_error(charge->bucket->row, n);
}


static void
ngx_egress_ratelimit_error(ngx_egress_ratelimit_row_t *row, ngx_uint_t n)
{
    (void) ngx_atomic_fetch_add(&row->errors[n], 1);
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
