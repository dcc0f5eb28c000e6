
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


/* of one line or member, besides names and numbers */
#define NGX_EGRESS_RATELIMIT_TEXT     96


typedef struct {
    const char                *name;
    const char                *metric;
    const char                *type;
    const char                *help;
    size_t                     offset;     /* in _sample_t */
    ngx_uint_t                 own;        /* of buckets without keys only */
} ngx_egress_ratelimit_field_t;


/* uint64_t[] */

typedef struct {
    uint64_t                       limit;
    uint64_t                       fill;
    uint64_t                       interval;
    uint64_t                       remaining;
    uint64_t                       max_keys;
    uint64_t                       max_connections;
    uint64_t                       connections;
    ngx_egress_ratelimit_counts_t  counts;
} ngx_egress_ratelimit_sample_t;


static ngx_array_t *ngx_egress_ratelimit_buckets(ngx_uint_t *len);
static void ngx_egress_ratelimit_sample(ngx_egress_ratelimit_bucket_t *bucket,
    ngx_egress_ratelimit_sample_t *sample);
static u_char *ngx_egress_ratelimit_json_bucket(u_char *p,
    ngx_egress_ratelimit_bucket_t *bucket);


#define ngx_egress_ratelimit_sampled(sample, field)                           \
    (*(uint64_t *) ((char *) (sample) + (field)->offset))


static ngx_egress_ratelimit_field_t  ngx_egress_ratelimit_fields[] = {

    { "limit", "egress_ratelimit_limit", "gauge",
      "Tokens of a full bucket.",
      offsetof(ngx_egress_ratelimit_sample_t, limit), 0 },

    { "fill", NULL, NULL, NULL,
      offsetof(ngx_egress_ratelimit_sample_t, fill), 0 },

    { "interval_ms", NULL, NULL, NULL,
      offsetof(ngx_egress_ratelimit_sample_t, interval), 0 },

    { "remaining", "egress_ratelimit_remaining", "gauge",
      "Tokens left in a bucket without keys.",
      offsetof(ngx_egress_ratelimit_sample_t, remaining), 1 },

    { "max_keys", "egress_ratelimit_max_keys", "gauge",
      "Keys that a bucket may have.",
      offsetof(ngx_egress_ratelimit_sample_t, max_keys), 0 },

    { "keys", "egress_ratelimit_keys", "gauge",
      "Keys that a bucket has.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.keys), 0 },

    { "max_connections", "egress_ratelimit_max_connections", "gauge",
      "Connections that a key may have at once, 0: any number.",
      offsetof(ngx_egress_ratelimit_sample_t, max_connections), 0 },

    { "connections", "egress_ratelimit_connections", "gauge",
      "Connections of all keys, if they are limited.",
      offsetof(ngx_egress_ratelimit_sample_t, connections), 0 },

    { "allowed", "egress_ratelimit_allowed_total", "counter",
      "Requests and connections that got what they cost.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.allowed), 0 },

    { "limited", "egress_ratelimit_limited_total", "counter",
      "Requests and connections that were refused.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.limited), 0 },

    { "would_limit", "egress_ratelimit_would_limit_total", "counter",
      "Those that passed because the bucket was not enforced.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.would_limit), 0 },

    { "full", "egress_ratelimit_full_total", "counter",
      "Those for whose key there was no room.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.full), 0 },

    { "evicted", "egress_ratelimit_evicted_total", "counter",
      "Keys, full again, that made room for others.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.evicted), 0 },

    { "bytes", "egress_ratelimit_bytes_total", "counter",
      "Bytes that were charged.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.spent), 0 },

    { NULL, NULL, NULL, NULL, 0, 0 }
};


ngx_int_t
ngx_egress_ratelimit_json(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char                          *p;
    ngx_uint_t                       i, len, n;
    ngx_array_t                     *buckets;
    ngx_egress_ratelimit_bucket_t  **bucket;

    buckets = ngx_egress_ratelimit_buckets(&len);

    n = sizeof(ngx_egress_ratelimit_fields)
        / sizeof(ngx_egress_ratelimit_field_t);

    len += (buckets ? buckets->nelts : 0) * (n + 1)
           * (NGX_EGRESS_RATELIMIT_TEXT + NGX_INT64_LEN);

    p = ngx_pnalloc(pool, len + 3);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    *p++ = '[';

    if (buckets) {
        bucket = buckets->elts;

        for (i = 0; i < buckets->nelts; i++) {
            if (i) {
                *p++ = ',';
            }

            p = ngx_egress_ratelimit_json_bucket(p, bucket[i]);
        }
    }

    *p++ = ']';

    text->len = p - text->data;

    return NGX_OK;
}


/* the names of buckets hold nothing that would have to be escaped */

static u_char *
ngx_egress_ratelimit_json_bucket(u_char *p,
    ngx_egress_ratelimit_bucket_t *bucket)
{
    ngx_egress_ratelimit_field_t  *field;
    ngx_egress_ratelimit_sample_t  sample;

    ngx_egress_ratelimit_sample(bucket, &sample);

    p = ngx_sprintf(p, "{\"name\":\"%V\"", &bucket->sn.str);

    for (field = ngx_egress_ratelimit_fields; field->name; field++) {
        if (field->own && bucket->keyed) {
            continue;
        }

        p = ngx_sprintf(p, ",\"%s\":%uL", field->name,
                        ngx_egress_ratelimit_sampled(&sample, field));
    }

    *p++ = '}';

    return p;
}


ngx_int_t
ngx_egress_ratelimit_prometheus(ngx_pool_t *pool, ngx_str_t *text)
{
    u_char                          *p;
    ngx_uint_t                       i, len, n;
    ngx_array_t                     *buckets;
    ngx_egress_ratelimit_field_t    *field;
    ngx_egress_ratelimit_sample_t    sample;
    ngx_egress_ratelimit_bucket_t  **bucket;

    buckets = ngx_egress_ratelimit_buckets(&len);

    if (buckets == NULL) {
        ngx_str_null(text);
        return NGX_OK;
    }

    n = sizeof(ngx_egress_ratelimit_fields)
        / sizeof(ngx_egress_ratelimit_field_t);

    len = n * (len + 3 * NGX_EGRESS_RATELIMIT_TEXT
               + buckets->nelts * (NGX_EGRESS_RATELIMIT_TEXT
                                   + NGX_INT64_LEN));

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;
    bucket = buckets->elts;

    for (field = ngx_egress_ratelimit_fields; field->name; field++) {

        if (field->metric == NULL) {
            continue;
        }

        p = ngx_sprintf(p, "# HELP %s %s\n# TYPE %s %s\n", field->metric,
                        field->help, field->metric, field->type);

        for (i = 0; i < buckets->nelts; i++) {

            if (field->own && bucket[i]->keyed) {
                continue;
            }

            ngx_egress_ratelimit_sample(bucket[i], &sample);

            p = ngx_sprintf(p, "%s{bucket=\"%V\"} %uL\n", field->metric,
                            &bucket[i]->sn.str,
                            ngx_egress_ratelimit_sampled(&sample, field));
        }
    }

    text->len = p - text->data;

    return NGX_OK;
}


/* NULL: there are none; *len is that of their names */

static ngx_array_t *
ngx_egress_ratelimit_buckets(ngx_uint_t *len)
{
    ngx_uint_t                       i;
    ngx_egress_ratelimit_conf_t     *rcf;
    ngx_egress_ratelimit_bucket_t  **bucket;

    *len = 0;

    rcf = ngx_egress_get_conf((ngx_cycle_t *) ngx_cycle,
                              &ngx_egress_ratelimit_module);

    if (rcf == NULL || rcf->buckets.nelts == 0
        || ngx_egress_ratelimit_get_table() == NULL)
    {
        return NULL;
    }

    bucket = rcf->buckets.elts;

    for (i = 0; i < rcf->buckets.nelts; i++) {
        *len += bucket[i]->sn.str.len;
    }

    return &rcf->buckets;
}


static void
ngx_egress_ratelimit_sample(ngx_egress_ratelimit_bucket_t *bucket,
    ngx_egress_ratelimit_sample_t *sample)
{
    ngx_egress_ratelimit_clock_t   clock;
    ngx_egress_ratelimit_table_t  *table;

    table = ngx_egress_ratelimit_get_table();

    sample->limit = bucket->rate.tokens;
    sample->fill = bucket->rate.fill;
    sample->interval = bucket->period ? 0 : bucket->rate.interval;
    sample->max_keys = bucket->max;
    sample->max_connections = bucket->connections;
    sample->connections = ngx_egress_ratelimit_connections(table,
                                                           bucket->row);

    ngx_egress_ratelimit_clock(&clock);
    sample->remaining = ngx_egress_ratelimit_remaining(table, bucket, &clock);

    ngx_egress_ratelimit_count(table, bucket->row, &sample->counts);
}
