
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_ratelimit.h>

#include <openssl/sha.h>


static ngx_int_t ngx_egress_ratelimit_add(ngx_egress_flow_t *flow,
    ngx_egress_limit_t *limit, ngx_egress_key_pt key);
static ngx_int_t ngx_egress_ratelimit_key(ngx_egress_key_t *key,
    ngx_str_t *value);
static ngx_int_t ngx_egress_ratelimit_refuse(ngx_egress_flow_t *flow,
    ngx_egress_bucket_t *bucket);
static void ngx_egress_ratelimit_log(ngx_egress_flow_t *flow,
    ngx_egress_charge_t *charge);


/*
 * The phases of a request may run again, after an internal redirect for
 * instance: flow->charges remembers which buckets have decided, and how.
 */

ngx_int_t
ngx_egress_ratelimit(ngx_egress_flow_t *flow, ngx_array_t *limits,
    ngx_egress_key_pt key)
{
    ngx_uint_t             i, k, before, n;
    ngx_array_t           *charges;
    ngx_slab_pool_t       *shpool;
    ngx_egress_limit_t   **limit;
    ngx_egress_charge_t   *charge, *refused;

    if (limits == NULL) {
        return NGX_OK;
    }

    charges = flow->charges;

    if (charges == NULL) {
        charges = ngx_array_create(flow->pool, limits->nelts,
                                   sizeof(ngx_egress_charge_t));
        if (charges == NULL) {
            return NGX_ERROR;
        }

        flow->charges = charges;
    }

    before = charges->nelts;
    limit = limits->elts;

    for (i = 0; i < limits->nelts; i++) {

        charge = charges->elts;

        for (k = 0; k < before; k++) {
            if (charge[k].bucket == limit[i]->bucket) {
                break;
            }
        }

        if (k < before) {

            if (charge[k].refused) {
                charges->nelts = before;
                return ngx_egress_ratelimit_refuse(flow, limit[i]->bucket);
            }

            continue;
        }

        if (ngx_egress_ratelimit_add(flow, limit[i], key) != NGX_OK) {
            charges->nelts = before;
            return NGX_ERROR;
        }
    }

    n = charges->nelts - before;

    if (n == 0) {
        return NGX_OK;
    }

    if (ngx_egress_area(NGX_EGRESS_AREA_RATELIMIT, &shpool) == NULL) {
        charges->nelts = before;
        return NGX_ERROR;
    }

    flow->charged = 1;

    charge = charges->elts;
    charge += before;

    refused = ngx_egress_ratelimit_take(charge, n, shpool, ngx_current_msec);

    for (i = 0; i < n; i++) {
        ngx_egress_ratelimit_log(flow, &charge[i]);
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


/* a charge is kept also if chance has it that nothing is taken */

static ngx_int_t
ngx_egress_ratelimit_add(ngx_egress_flow_t *flow, ngx_egress_limit_t *limit,
    ngx_egress_key_pt key)
{
    ngx_str_t             value;
    ngx_egress_charge_t  *charge;

    ngx_str_null(&value);

    if (limit->key && key(flow, limit->key, &value) != NGX_OK) {
        return NGX_ERROR;
    }

    charge = ngx_array_push(flow->charges);
    if (charge == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(charge, sizeof(ngx_egress_charge_t));

    charge->bucket = limit->bucket;
    charge->enabled = (ngx_uint_t) ngx_random() % 100 < limit->enabled;
    charge->enforced = (ngx_uint_t) ngx_random() % 100 < limit->enforced;

    return ngx_egress_ratelimit_key(&charge->key, &value);
}


static ngx_int_t
ngx_egress_ratelimit_key(ngx_egress_key_t *key, ngx_str_t *value)
{
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

    key->hash = ngx_crc32_short(key->data, key->len);

    return NGX_OK;
}


static ngx_int_t
ngx_egress_ratelimit_refuse(ngx_egress_flow_t *flow,
    ngx_egress_bucket_t *bucket)
{
    flow->status = bucket->status;
    flow->bucket = bucket->sn.str;
    flow->headers = bucket->headers;

    return ngx_egress_deny(flow, NGX_EGRESS_RATE_LIMITED);
}


static void
ngx_egress_ratelimit_log(ngx_egress_flow_t *flow, ngx_egress_charge_t *charge)
{
    ngx_str_t  *name;

    name = &charge->bucket->sn.str;

    if (charge->log) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "egress bucket \"%V\" has no room for another key, %s",
                      name, charge->bucket->on_full ? "passing" : "refusing");
    }

    if (charge->result == NGX_EGRESS_TAKE_PASSED || charge->enforced) {
        return;
    }

    /* enabled, but not enforced */

    if (flow->verdict != NGX_EGRESS_REPORTED) {
        flow->verdict = NGX_EGRESS_REPORTED;
        flow->reason = NGX_EGRESS_RATE_LIMITED;
        flow->bucket = *name;
    }

    ngx_log_error(NGX_LOG_INFO, flow->log, 0,
                  "egress would be denied: reason %V, bucket \"%V\"",
                  ngx_egress_reason_name(NGX_EGRESS_RATE_LIMITED), name);
}
