
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>

#include <openssl/sha.h>


/* what is done when a flow ends */

typedef struct {
    ngx_egress_flow_t              *flow;
    ngx_egress_ratelimit_table_t   *table;
    ngx_egress_ratelimit_charge_t   charge;
    ngx_egress_ratelimit_bytes_pt   bytes;
} ngx_egress_ratelimit_end_t;


static ngx_int_t ngx_egress_ratelimit_collect(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_array_t *limits,
    ngx_array_t *descriptors, ngx_egress_ratelimit_value_pt value);
static ngx_egress_ratelimit_charge_t *ngx_egress_ratelimit_charged(
    ngx_array_t *charges, ngx_uint_t n,
    ngx_egress_ratelimit_bucket_t *bucket);
static ngx_int_t ngx_egress_ratelimit_ask(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_limit_t *limit,
    ngx_array_t *descriptors, ngx_egress_ratelimit_value_pt value);
static ngx_int_t ngx_egress_ratelimit_ask_descriptors(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_limit_t *limit,
    ngx_array_t *descriptors, ngx_egress_ratelimit_value_pt value,
    ngx_str_t *first, ngx_egress_ratelimit_charge_t *like);
static void ngx_egress_ratelimit_sort(ngx_array_t *charges,
    ngx_uint_t before);
static uint64_t ngx_egress_ratelimit_speed(
    ngx_egress_ratelimit_bucket_t *bucket);
static ngx_int_t ngx_egress_ratelimit_add(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_charge_t *like,
    ngx_str_t *key);
static ngx_uint_t ngx_egress_ratelimit_chance(ngx_uint_t millionths);
static ngx_int_t ngx_egress_ratelimit_cost(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_limit_t *limit, ngx_egress_ratelimit_value_pt value,
    uint64_t *cost);
static ngx_int_t ngx_egress_ratelimit_set_key(
    ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, ngx_str_t *value);
static uint64_t ngx_egress_ratelimit_owner(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table);
static ngx_int_t ngx_egress_ratelimit_decide(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_uint_t before,
    ngx_egress_ratelimit_bytes_pt bytes);
static void ngx_egress_ratelimit_remember(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, ngx_uint_t passed,
    ngx_egress_ratelimit_bytes_pt bytes);
static void ngx_egress_ratelimit_at_end(void *data);
static ngx_uint_t ngx_egress_ratelimit_paid(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_uint_t now);
static void ngx_egress_ratelimit_paid_cleanup(void *data);
static void ngx_egress_ratelimit_cleanup(void *data);
static ngx_int_t ngx_egress_ratelimit_refuse(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_bucket_t *bucket);
static void ngx_egress_ratelimit_log(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_charge_t *charge);
static void ngx_egress_ratelimit_log_error(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_charge_t *charge);


/*
 * The phases of a request may run again, after an internal redirect for
 * instance: flow->charges remembers which buckets have decided, and how.
 */

ngx_int_t
ngx_egress_ratelimit(ngx_egress_flow_t *flow, ngx_array_t *limits,
    ngx_array_t *descriptors, ngx_egress_ratelimit_value_pt value,
    ngx_egress_ratelimit_bytes_pt bytes)
{
    ngx_int_t                      rc;
    ngx_uint_t                     before;
    ngx_array_t                   *charges;
    ngx_egress_ratelimit_table_t  *table;

    if (limits == NULL) {
        return NGX_OK;
    }

    table = ngx_egress_ratelimit_get_table();
    if (table == NULL) {
        return NGX_ERROR;
    }

    charges = flow->charges;

    if (charges == NULL) {
        charges = ngx_array_create(flow->pool, limits->nelts,
                                   sizeof(ngx_egress_ratelimit_charge_t));
        if (charges == NULL) {
            return NGX_ERROR;
        }

        flow->charges = charges;
    }

    before = charges->nelts;

    rc = ngx_egress_ratelimit_collect(flow, table, limits, descriptors, value);

    if (rc == NGX_OK && charges->nelts != before) {
        flow->charged = 1;
        rc = ngx_egress_ratelimit_decide(flow, table, before, bytes);

    } else if (rc != NGX_OK) {
        charges->nelts = before;
    }

    return rc;
}


/* what is to be charged now; NGX_DECLINED: one has refused before */

static ngx_int_t
ngx_egress_ratelimit_collect(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_array_t *limits,
    ngx_array_t *descriptors, ngx_egress_ratelimit_value_pt value)
{
    ngx_uint_t                      i, before;
    ngx_egress_ratelimit_limit_t  **limit;
    ngx_egress_ratelimit_charge_t  *charge;

    limit = limits->elts;
    before = ((ngx_array_t *) flow->charges)->nelts;

    for (i = 0; i < limits->nelts; i++) {

        charge = ngx_egress_ratelimit_charged(flow->charges, before,
                                              limit[i]->bucket);
        if (charge) {

            if (charge->refused) {
                return ngx_egress_ratelimit_refuse(flow, charge->bucket);
            }

            continue;
        }

        if (ngx_egress_ratelimit_ask(flow, table, limit[i], descriptors,
                                     value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_egress_ratelimit_charge_t *
ngx_egress_ratelimit_charged(ngx_array_t *charges, ngx_uint_t n,
    ngx_egress_ratelimit_bucket_t *bucket)
{
    ngx_uint_t                      i;
    ngx_egress_ratelimit_charge_t  *charge;

    charge = charges->elts;

    for (i = 0; i < n; i++) {
        if (charge[i].bucket == bucket
            || (charge[i].refused && charge[i].bucket->parent == bucket))
        {
            return &charge[i];
        }
    }

    return NULL;
}


/*
 * As Envoy's filter: the buckets of descriptors that match, in the order of
 * their rates, and that of the limit itself.  Chance and cost are the same
 * for all of them.
 */

static ngx_int_t
ngx_egress_ratelimit_ask(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_limit_t *limit,
    ngx_array_t *descriptors, ngx_egress_ratelimit_value_pt value)
{
    ngx_str_t                      key;
    ngx_uint_t                     before;
    ngx_array_t                   *charges;
    ngx_egress_ratelimit_charge_t  like;

    charges = flow->charges;
    before = charges->nelts;

    ngx_memzero(&like, sizeof(ngx_egress_ratelimit_charge_t));
    ngx_str_null(&key);

    if (limit->key && value(flow, limit->key, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    like.enabled = ngx_egress_ratelimit_chance(limit->enabled);
    like.enforced = ngx_egress_ratelimit_chance(limit->enforced);

    if (ngx_egress_ratelimit_cost(flow, limit, value, &like.cost) != NGX_OK) {
        return NGX_ERROR;
    }

    if (limit->bucket->keyed || limit->bucket->shapes) {
        like.owner = ngx_egress_ratelimit_owner(flow, table);
    }

    if (descriptors && limit->bucket->shapes
        && ngx_egress_ratelimit_ask_descriptors(flow, table, limit,
                                                descriptors, value, &key,
                                                &like)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (charges->nelts != before && !limit->bucket->consume) {
        return NGX_OK;
    }

    like.bucket = limit->bucket;

    return ngx_egress_ratelimit_add(flow, table, &like, &key);
}


static ngx_int_t
ngx_egress_ratelimit_ask_descriptors(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_limit_t *limit,
    ngx_array_t *descriptors, ngx_egress_ratelimit_value_pt value,
    ngx_str_t *first, ngx_egress_ratelimit_charge_t *like)
{
    ngx_str_t                      key, none;
    ngx_uint_t                     i, before;
    ngx_array_t                   *charges, **actions;
    ngx_egress_ratelimit_match_t  *match;

    charges = flow->charges;
    before = charges->nelts;
    actions = descriptors->elts;

    ngx_str_null(&none);

    for (i = 0; i < descriptors->nelts; i++) {

        if (ngx_egress_ratelimit_find_match(flow, limit->bucket, actions[i],
                                            value,
                                            limit->key ? first : &none,
                                            &match, &key)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (match == NULL) {
            continue;
        }

        like->bucket = match->bucket;

        if (ngx_egress_ratelimit_add(flow, table, like, &key) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_egress_ratelimit_sort(charges, before);
    }

    return NGX_OK;
}


/* puts the last one where it belongs, the slowest is first */

static void
ngx_egress_ratelimit_sort(ngx_array_t *charges, ngx_uint_t before)
{
    ngx_uint_t                      i;
    ngx_egress_ratelimit_charge_t  *charge, last;

    charge = charges->elts;
    i = charges->nelts - 1;
    last = charge[i];

    while (i > before
           && ngx_egress_ratelimit_speed(charge[i - 1].bucket)
              > ngx_egress_ratelimit_speed(last.bucket))
    {
        charge[i] = charge[i - 1];
        i--;
    }

    charge[i] = last;
}


/* tokens in 50 days, which is more than any interval */

static uint64_t
ngx_egress_ratelimit_speed(ngx_egress_ratelimit_bucket_t *bucket)
{
    static uint32_t  periods[] = { 60, 3600, 86400, 2678400 };

    if (bucket->period) {
        return bucket->rate.tokens * 4320000
               / periods[bucket->period->kind];
    }

    return bucket->rate.interval
           ? bucket->rate.fill * 4294967295U / bucket->rate.interval : 0;
}


/* a charge is kept also if chance has it that nothing is taken */

static ngx_int_t
ngx_egress_ratelimit_add(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_charge_t *like,
    ngx_str_t *key)
{
    ngx_egress_ratelimit_charge_t  *charge;

    charge = ngx_array_push(flow->charges);
    if (charge == NULL) {
        return NGX_ERROR;
    }

    *charge = *like;

    if (charge->bucket->unit == NGX_EGRESS_RATELIMIT_CONNECTIONS
        && ngx_egress_ratelimit_paid(flow, charge->bucket, 0))
    {
        charge->cost = 0;
    }

    if (charge->bucket->unit == NGX_EGRESS_RATELIMIT_BYTES) {
        charge->end = ngx_pool_cleanup_add(flow->pool,
                                         sizeof(ngx_egress_ratelimit_end_t));
        if (charge->end == NULL) {
            return NGX_ERROR;
        }
    }

    if (charge->bucket->connections) {
        charge->cln = ngx_pool_cleanup_add(flow->pool,
                                  sizeof(ngx_egress_ratelimit_connection_t));
        if (charge->cln == NULL) {
            return NGX_ERROR;
        }
    }

    return ngx_egress_ratelimit_set_key(table, charge, key);
}


static ngx_uint_t
ngx_egress_ratelimit_chance(ngx_uint_t millionths)
{
    return (ngx_uint_t) ngx_random() % 1000000 < millionths;
}


/* without a value it is 1, as Envoy's hits_addend; what is no number is dear */

static ngx_int_t
ngx_egress_ratelimit_cost(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_limit_t *limit, ngx_egress_ratelimit_value_pt value,
    uint64_t *cost)
{
    off_t      n;
    ngx_str_t  text;

    *cost = 1;

    if (limit->cost == NULL) {
        return NGX_OK;
    }

    if (value(flow, limit->cost, &text) != NGX_OK) {
        return NGX_ERROR;
    }

    if (text.len == 0) {
        return NGX_OK;
    }

    n = ngx_atoof(text.data, text.len);

    if (n == NGX_ERROR) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "egress bucket \"%V\": invalid cost \"%*s\"",
                      &limit->bucket->sn.str, ngx_min(text.len, 64),
                      text.data);
    }

    *cost = (n == NGX_ERROR) ? NGX_EGRESS_RATELIMIT_NEVER : (uint64_t) n;

    return NGX_OK;
}


static ngx_int_t
ngx_egress_ratelimit_set_key(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, ngx_str_t *value)
{
    ngx_egress_ratelimit_key_t  *key;

    key = &charge->key;

    if (value->len > NGX_EGRESS_RATELIMIT_KEY) {

        if (SHA256(value->data, value->len, key->data) == NULL) {
            return NGX_ERROR;
        }

        key->len = SHA256_DIGEST_LENGTH;
        key->digest = 1;

    } else if (value->len) {
        ngx_memcpy(key->data, value->data, value->len);
        key->len = (u_char) value->len;
    }

    key->hash = ngx_egress_ratelimit_hash(table, charge->bucket->row,
                                          key->data, key->len);

    return NGX_OK;
}


/* on whose account a key is made: of a client without identity, its address */

static uint64_t
ngx_egress_ratelimit_owner(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table)
{
    ngx_str_t   *who, value;
    ngx_uint_t   hash;

    static ngx_str_t  name = ngx_string("egress_principal");

    who = &flow->connection->addr_text;

    if (flow->identity) {

        if (flow->identity->principal.len) {
            who = &flow->identity->principal;
        }

    } else {

        /* without any policy nobody has asked who it is */

        hash = ngx_hash_key(name.data, name.len);

        if (flow->variable(flow, &name, hash, &value) == NGX_OK && value.len) {
            who = &value;
        }
    }

    return ngx_egress_ratelimit_hash(table, NULL, who->data, who->len);
}


static ngx_int_t
ngx_egress_ratelimit_decide(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table, ngx_uint_t before,
    ngx_egress_ratelimit_bytes_pt bytes)
{
    ngx_uint_t                      i, n;
    ngx_array_t                    *charges;
    ngx_egress_ratelimit_clock_t    clock;
    ngx_egress_ratelimit_charge_t  *charge, *refused;

    charges = flow->charges;
    charge = charges->elts;
    charge += before;
    n = charges->nelts - before;

    ngx_egress_ratelimit_clock(&clock);

    ngx_egress_ratelimit_take(table, charge, n, &clock, &refused);

    for (i = 0; i < n; i++) {
        ngx_egress_ratelimit_log(flow, &charge[i]);
        ngx_egress_ratelimit_remember(flow, table, &charge[i],
                                      refused == NULL, bytes);
    }

    if (refused == NULL) {
        return NGX_OK;
    }

    /* the others got their tokens back, or have not been asked */

    refused->refused = 1;
    charge[0] = *refused;
    charges->nelts = before + 1;

    return ngx_egress_ratelimit_refuse(flow, charge[0].bucket);
}


/*
 * A connection is given back when the pool of the flow goes, whatever became
 * of it; the room for that has been found before it was counted.  So are the
 * bytes taken then.
 */

static void
ngx_egress_ratelimit_remember(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, ngx_uint_t passed,
    ngx_egress_ratelimit_bytes_pt bytes)
{
    ngx_egress_ratelimit_end_t  *end;

    if (charge->connection.gauge) {
        *(ngx_egress_ratelimit_connection_t *) charge->cln->data =
                                                          charge->connection;
        charge->cln->handler = ngx_egress_ratelimit_cleanup;
    }

    if (!passed || !charge->enabled
        || charge->result == NGX_EGRESS_RATELIMIT_FULL
        || charge->result == NGX_EGRESS_RATELIMIT_ERROR)
    {
        return;
    }

    if (charge->bucket->unit == NGX_EGRESS_RATELIMIT_CONNECTIONS) {
        ngx_egress_ratelimit_paid(flow, charge->bucket, 1);
    }

    if (charge->end) {
        end = charge->end->data;
        end->flow = flow;
        end->table = table;
        end->charge = *charge;
        end->bytes = bytes;
        charge->end->handler = ngx_egress_ratelimit_at_end;
    }
}


static void
ngx_egress_ratelimit_at_end(void *data)
{
    ngx_egress_ratelimit_end_t *end = data;

    ngx_egress_ratelimit_clock_t  clock;

    ngx_egress_ratelimit_clock(&clock);
    ngx_egress_ratelimit_spend(end->table, &end->charge,
                               end->bytes(end->flow), &clock);
}


/*
 * Has the client's connection paid for itself?  Known as long as it lives;
 * who can't be remembered for want of memory pays again.
 */

static ngx_uint_t
ngx_egress_ratelimit_paid(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_uint_t now)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = flow->connection->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_egress_ratelimit_paid_cleanup
            && cln->data == (void *) bucket)
        {
            return 1;
        }
    }

    if (now) {
        cln = ngx_pool_cleanup_add(flow->connection->pool, 0);

        if (cln) {
            cln->handler = ngx_egress_ratelimit_paid_cleanup;
            cln->data = bucket;
        }
    }

    return 0;
}


/* nothing to clean up: it is how the pool's entry is found */

static void
ngx_egress_ratelimit_paid_cleanup(void *data)
{
    return;
}


static void
ngx_egress_ratelimit_cleanup(void *data)
{
    ngx_egress_ratelimit_disconnect(data);
}


static ngx_int_t
ngx_egress_ratelimit_refuse(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_bucket_t *bucket)
{
    flow->status = bucket->status;
    flow->bucket = bucket->sn.str;
    flow->body = &bucket->body;

    return ngx_egress_deny(flow, NGX_EGRESS_RATE_LIMITED);
}


static void
ngx_egress_ratelimit_log(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_charge_t *charge)
{
    ngx_str_t  *name;

    name = &charge->bucket->sn.str;

    if (charge->log && charge->error) {
        ngx_egress_ratelimit_log_error(flow, charge);

    } else if (charge->log) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "egress bucket \"%V\" has no room for another key, %s",
                      name, charge->bucket->on_full ? "passing" : "refusing");
    }

    if (!charge->would) {
        return;
    }

    if (flow->verdict != NGX_EGRESS_REPORTED) {
        flow->verdict = NGX_EGRESS_REPORTED;
        flow->reason = NGX_EGRESS_RATE_LIMITED;
        flow->bucket = *name;
    }

    ngx_log_error(NGX_LOG_INFO, flow->log, 0,
                  "egress would be denied: reason %V, bucket \"%V\"",
                  ngx_egress_reason_name(NGX_EGRESS_RATE_LIMITED), name);
}


static void
ngx_egress_ratelimit_log_error(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_charge_t *charge)
{
    const char  *error;

    error = (charge->error == NGX_EGRESS_RATELIMIT_LOCK)
            ? "can't be used, a lock in the zone is broken"
            : "can't count connections, this worker has no process slot";

    ngx_log_error(NGX_LOG_ERR, flow->log, 0, "egress bucket \"%V\" %s, %s",
                  &charge->bucket->sn.str, error,
                  charge->bucket->on_error ? "passing" : "refusing");
}


ngx_egress_ratelimit_charge_t *
ngx_egress_ratelimit_told(ngx_array_t *charges)
{
    ngx_uint_t                      i;
    ngx_egress_ratelimit_charge_t  *charge, *least;

    least = NULL;
    charge = charges->elts;

    for (i = 0; i < charges->nelts; i++) {

        /* what could not be asked has nothing to tell */

        if (!charge[i].enabled || !charge[i].bucket->x_ratelimit
            || charge[i].bucket->rate.tokens == 0
            || charge[i].result == NGX_EGRESS_RATELIMIT_ERROR)
        {
            continue;
        }

        if (charge[i].refused) {
            return &charge[i];
        }

        if (least == NULL || charge[i].left < least->left) {
            least = &charge[i];
        }
    }

    return least;
}
