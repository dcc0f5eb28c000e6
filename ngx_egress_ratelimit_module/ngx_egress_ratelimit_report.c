
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


/* buckets of one status unless limit= says more; a page is some 300 KB */
#define NGX_EGRESS_RATELIMIT_PAGE  1000


typedef struct {
    const char                *name;
    const char                *metric;
    const char                *type;
    const char                *help;
    size_t                     offset;     /* in _sample_t */
    ngx_uint_t                 own;        /* of buckets without keys only */
} ngx_egress_ratelimit_field_t;


/* uint64_t[] but for "name" and "keyed" */

typedef struct {
    ngx_str_t                     *name;
    ngx_uint_t                     keyed;
    uint64_t                       limit;
    uint64_t                       fill;
    uint64_t                       interval;
    uint64_t                       remaining;
    uint64_t                       max_keys;
    uint64_t                       max_connections;
    uint64_t                       connections;
    ngx_egress_ratelimit_counts_t  counts;
} ngx_egress_ratelimit_sample_t;


static ngx_int_t ngx_egress_ratelimit_report_status(
    ngx_egress_report_t *report);
static void ngx_egress_ratelimit_report_bucket(ngx_egress_text_t *text,
    ngx_egress_ratelimit_bucket_t *bucket);
static ngx_int_t ngx_egress_ratelimit_report_metrics(
    ngx_egress_report_t *report);
static ngx_egress_ratelimit_sample_t *ngx_egress_ratelimit_report_samples(
    ngx_pool_t *pool, ngx_array_t *buckets, ngx_uint_t *n);
static void ngx_egress_ratelimit_report_other(
    ngx_egress_ratelimit_sample_t *other,
    ngx_egress_ratelimit_sample_t *sample);
static void ngx_egress_ratelimit_report_family(ngx_egress_text_t *text,
    ngx_egress_ratelimit_field_t *field,
    ngx_egress_ratelimit_sample_t *samples, ngx_uint_t n);
static ngx_array_t *ngx_egress_ratelimit_report_buckets(void);
static void ngx_egress_ratelimit_sample(ngx_egress_ratelimit_bucket_t *bucket,
    ngx_egress_ratelimit_sample_t *sample);


#define ngx_egress_ratelimit_sampled(sample, field)                           \
    (*(uint64_t *) ((char *) (sample) + (field)->offset))


static ngx_str_t  ngx_egress_ratelimit_status_name = ngx_string("buckets");
static ngx_str_t  ngx_egress_ratelimit_metrics_name = ngx_string("ratelimit");


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

    { "errors", "egress_ratelimit_errors_total", "counter",
      "Those for which the bucket could not be used.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.errors), 0 },

    { "evicted", "egress_ratelimit_evicted_total", "counter",
      "Keys, full again, that made room for others.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.evicted), 0 },

    { "bytes", "egress_ratelimit_bytes_total", "counter",
      "Bytes that were charged.",
      offsetof(ngx_egress_ratelimit_sample_t, counts.spent), 0 },

    { NULL, NULL, NULL, NULL, 0, 0 }
};


ngx_int_t
ngx_egress_ratelimit_add_reports(ngx_conf_t *cf)
{
    if (ngx_egress_add_report(cf, NGX_EGRESS_REPORT_STATUS,
                              &ngx_egress_ratelimit_status_name,
                              ngx_egress_ratelimit_report_status)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_egress_add_report(cf, NGX_EGRESS_REPORT_METRICS,
                                 &ngx_egress_ratelimit_metrics_name,
                                 ngx_egress_ratelimit_report_metrics);
}


/* a page of them: offset= and limit= */

static ngx_int_t
ngx_egress_ratelimit_report_status(ngx_egress_report_t *report)
{
    ngx_uint_t                       i, n, offset, limit;
    ngx_array_t                     *buckets;
    ngx_egress_ratelimit_bucket_t  **bucket;

    buckets = ngx_egress_ratelimit_report_buckets();

    bucket = buckets ? buckets->elts : NULL;
    n = buckets ? buckets->nelts : 0;

    offset = 0;
    limit = NGX_EGRESS_RATELIMIT_PAGE;

    (void) ngx_egress_report_number(report, "offset", NGX_MAX_INT32_VALUE,
                                    &offset);
    (void) ngx_egress_report_number(report, "limit", NGX_MAX_INT32_VALUE,
                                    &limit);

    ngx_egress_json_open(&report->text, NULL, '[');

    for (i = offset; i < n && i - offset < limit; i++) {
        ngx_egress_ratelimit_report_bucket(&report->text, bucket[i]);
    }

    ngx_egress_json_close(&report->text);

    return NGX_OK;
}


static void
ngx_egress_ratelimit_report_bucket(ngx_egress_text_t *text,
    ngx_egress_ratelimit_bucket_t *bucket)
{
    ngx_egress_ratelimit_field_t  *field;
    ngx_egress_ratelimit_sample_t  sample;

    ngx_egress_ratelimit_sample(bucket, &sample);

    ngx_egress_json_open(text, NULL, '{');
    ngx_egress_json_string(text, "name", sample.name);

    for (field = ngx_egress_ratelimit_fields; field->name; field++) {

        if (field->own && sample.keyed) {
            continue;
        }

        ngx_egress_json_number(text, field->name,
                               ngx_egress_ratelimit_sampled(&sample, field));
    }

    ngx_egress_json_close(text);
}


static ngx_int_t
ngx_egress_ratelimit_report_metrics(ngx_egress_report_t *report)
{
    ngx_uint_t                      n;
    ngx_array_t                    *buckets;
    ngx_egress_ratelimit_field_t   *field;
    ngx_egress_ratelimit_sample_t  *samples;

    buckets = ngx_egress_ratelimit_report_buckets();

    if (buckets == NULL) {
        return NGX_OK;
    }

    samples = ngx_egress_ratelimit_report_samples(report->text.pool, buckets,
                                                  &n);
    if (samples == NULL) {
        return NGX_ERROR;
    }

    for (field = ngx_egress_ratelimit_fields; field->name; field++) {
        if (field->metric) {
            ngx_egress_ratelimit_report_family(&report->text, field, samples,
                                               n);
        }
    }

    return NGX_OK;
}


/* past "series" of the zone, the rest is one, their sum */

static ngx_egress_ratelimit_sample_t *
ngx_egress_ratelimit_report_samples(ngx_pool_t *pool, ngx_array_t *buckets,
    ngx_uint_t *n)
{
    ngx_uint_t                       i, bound;
    ngx_egress_ratelimit_sample_t   *samples, sample;
    ngx_egress_ratelimit_bucket_t  **bucket;

    static ngx_str_t  other = ngx_string("_other");

    bucket = buckets->elts;
    bound = ngx_min(ngx_egress_zone_series((ngx_cycle_t *) ngx_cycle),
                    buckets->nelts);

    *n = bound + (bound < buckets->nelts);

    samples = ngx_pcalloc(pool, *n * sizeof(ngx_egress_ratelimit_sample_t));
    if (samples == NULL) {
        return NULL;
    }

    samples[*n - 1].name = &other;
    samples[*n - 1].keyed = 1;

    for (i = 0; i < bound; i++) {
        ngx_egress_ratelimit_sample(bucket[i], &samples[i]);
    }

    for ( /* void */ ; i < buckets->nelts; i++) {
        ngx_egress_ratelimit_sample(bucket[i], &sample);
        ngx_egress_ratelimit_report_other(&samples[bound], &sample);
    }

    return samples;
}


static void
ngx_egress_ratelimit_report_other(ngx_egress_ratelimit_sample_t *other,
    ngx_egress_ratelimit_sample_t *sample)
{
    ngx_egress_ratelimit_field_t  *field;

    for (field = ngx_egress_ratelimit_fields; field->name; field++) {

        if (field->own && sample->keyed) {
            continue;
        }

        ngx_egress_ratelimit_sampled(other, field) +=
                                  ngx_egress_ratelimit_sampled(sample, field);
    }

    /* with all of them keyed there is nothing of its own to tell */

    other->keyed &= sample->keyed;
}


static void
ngx_egress_ratelimit_report_family(ngx_egress_text_t *text,
    ngx_egress_ratelimit_field_t *field,
    ngx_egress_ratelimit_sample_t *samples, ngx_uint_t n)
{
    ngx_uint_t  i, named;

    named = 0;

    for (i = 0; i < n; i++) {

        if (field->own && samples[i].keyed) {
            continue;
        }

        if (!named) {
            ngx_egress_metric_family(text, field->metric, field->type,
                                     field->help);
            named = 1;
        }

        ngx_egress_metric_open(text, field->metric);
        ngx_egress_metric_label(text, "bucket", samples[i].name);
        ngx_egress_metric_value(text, ngx_egress_ratelimit_sampled(&samples[i],
                                                                   field));
    }
}


/* NULL: there are none */

static ngx_array_t *
ngx_egress_ratelimit_report_buckets(void)
{
    ngx_egress_ratelimit_conf_t  *rcf;

    rcf = ngx_egress_get_conf((ngx_cycle_t *) ngx_cycle,
                              &ngx_egress_ratelimit_module);

    if (rcf == NULL || rcf->buckets.nelts == 0
        || ngx_egress_ratelimit_get_table() == NULL)
    {
        return NULL;
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

    sample->name = &bucket->sn.str;
    sample->keyed = bucket->keyed;
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
