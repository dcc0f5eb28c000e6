
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


#define NGX_EGRESS_DECISIONS_LAYOUT   1    /* bump on any shared change */

#define NGX_EGRESS_DECISIONS_BUCKETS  1024


/*
 * egress_decisions_total.  A row is made with the zone's mutex held, is whole
 * before it can be found, and stays: who counts takes no lock.
 */

struct ngx_egress_decision_s {
    ngx_egress_decision_t    *next;        /* of the same bucket */
    ngx_atomic_t              count;
    uint32_t                  hash;
    ngx_uint_t                verdict;
    ngx_uint_t                reason;
    ngx_str_t                 service;     /* these are in the same memory */
    ngx_str_t                 policy;
};


typedef struct {
    ngx_uint_t                layout;
    ngx_uint_t                n;           /* rows but those of "_other" */
    ngx_atomic_t              lost;        /* no memory for a row */
    ngx_egress_decision_t    *buckets[NGX_EGRESS_DECISIONS_BUCKETS];
} ngx_egress_decisions_t;


static ngx_int_t ngx_egress_decisions_area(ngx_slab_pool_t *shpool,
    void **area, void *data, ngx_log_t *log);
static ngx_uint_t ngx_egress_decisions_same(ngx_egress_decision_t *row,
    ngx_egress_decision_t *key);
static ngx_egress_decision_t *ngx_egress_decisions_find(
    ngx_egress_decisions_t *sh, ngx_egress_decision_t *key);
static ngx_egress_decision_t *ngx_egress_decisions_add(
    ngx_egress_decisions_t *sh, ngx_slab_pool_t *shpool,
    ngx_egress_decision_t *key);
static void ngx_egress_decisions_hash(ngx_egress_decision_t *key);
static ngx_int_t ngx_egress_decisions_metrics(ngx_egress_report_t *report);


static ngx_str_t  ngx_egress_decisions_name = ngx_string("decisions");
static ngx_str_t  ngx_egress_decisions_other = ngx_string("_other");
static ngx_str_t  ngx_egress_decisions_none = ngx_string("-");


ngx_int_t
ngx_egress_decisions_init(ngx_conf_t *cf)
{
    if (ngx_egress_add_area(cf, NGX_EGRESS_AREA_DECISIONS,
                            ngx_egress_decisions_area, NULL)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_egress_add_report(cf, NGX_EGRESS_REPORT_METRICS,
                                 &ngx_egress_decisions_name,
                                 ngx_egress_decisions_metrics);
}


static ngx_int_t
ngx_egress_decisions_area(ngx_slab_pool_t *shpool, void **area, void *data,
    ngx_log_t *log)
{
    ngx_egress_decisions_t  *sh;

    if (*area) {
        sh = *area;
        return sh->layout == NGX_EGRESS_DECISIONS_LAYOUT ? NGX_OK : NGX_ERROR;
    }

    sh = ngx_slab_calloc(shpool, sizeof(ngx_egress_decisions_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    sh->layout = NGX_EGRESS_DECISIONS_LAYOUT;
    *area = sh;

    return NGX_OK;
}


void
ngx_egress_account(ngx_egress_flow_t *flow)
{
    ngx_slab_pool_t         *shpool;
    ngx_egress_local_t      *local;
    ngx_egress_decision_t    key, *row;
    ngx_egress_decisions_t  *sh;

    if (flow->accounted || flow->verdict == NGX_EGRESS_UNDECIDED) {
        return;
    }

    flow->accounted = 1;

    key.verdict = flow->verdict;
    key.reason = flow->reason;
    key.service = flow->service ? flow->service->name
                                : ngx_egress_decisions_none;
    key.policy = flow->policy.len ? flow->policy : ngx_egress_decisions_none;

    local = flow->service ? flow->service->local : NULL;

    /* what is decided on a service is mostly what was before */

    if (local && local->decision
        && ngx_egress_decisions_same(local->decision, &key))
    {
        (void) ngx_atomic_fetch_add(&local->decision->count, 1);
        return;
    }

    sh = ngx_egress_area(NGX_EGRESS_AREA_DECISIONS, &shpool);

    if (sh == NULL) {
        return;
    }

    ngx_egress_decisions_hash(&key);

    row = ngx_egress_decisions_find(sh, &key);

    if (row == NULL) {
        row = ngx_egress_decisions_add(sh, shpool, &key);

    } else if (local) {
        local->decision = row;
    }

    (void) ngx_atomic_fetch_add(row ? &row->count : &sh->lost, 1);
}


static ngx_uint_t
ngx_egress_decisions_same(ngx_egress_decision_t *row,
    ngx_egress_decision_t *key)
{
    return row->verdict == key->verdict
           && row->reason == key->reason
           && row->policy.len == key->policy.len
           && row->service.len == key->service.len
           && ngx_memcmp(row->policy.data, key->policy.data, key->policy.len)
              == 0
           && ngx_memcmp(row->service.data, key->service.data,
                         key->service.len)
              == 0;
}


static void
ngx_egress_decisions_hash(ngx_egress_decision_t *key)
{
    key->hash = ngx_crc32_long(key->service.data, key->service.len)
                ^ (ngx_crc32_long(key->policy.data, key->policy.len) << 1)
                ^ (uint32_t) (key->verdict << 8 | key->reason);
}


static ngx_egress_decision_t *
ngx_egress_decisions_find(ngx_egress_decisions_t *sh,
    ngx_egress_decision_t *key)
{
    ngx_egress_decision_t  *row;

    for (row = sh->buckets[key->hash % NGX_EGRESS_DECISIONS_BUCKETS];
         row;
         row = row->next)
    {
        if (row->hash == key->hash && ngx_egress_decisions_same(row, key)) {
            return row;
        }
    }

    return NULL;
}


/* past the bound of series there is a row for each verdict and reason */

static ngx_egress_decision_t *
ngx_egress_decisions_add(ngx_egress_decisions_t *sh, ngx_slab_pool_t *shpool,
    ngx_egress_decision_t *key)
{
    u_char                  *p;
    ngx_uint_t               other;
    ngx_egress_conf_t       *ecf;
    ngx_egress_decision_t   *row, **bucket;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    ngx_shmtx_lock(&shpool->mutex);

    other = (sh->n >= ecf->series);

    if (other) {
        key->service = ngx_egress_decisions_other;
        key->policy = ngx_egress_decisions_other;
        ngx_egress_decisions_hash(key);
    }

    /* another worker may have been first */

    row = ngx_egress_decisions_find(sh, key);

    if (row) {
        goto done;
    }

    row = ngx_slab_calloc_locked(shpool, sizeof(ngx_egress_decision_t)
                                         + key->service.len
                                         + key->policy.len);
    if (row == NULL) {
        goto done;
    }

    row->hash = key->hash;
    row->verdict = key->verdict;
    row->reason = key->reason;

    p = (u_char *) (row + 1);

    row->service.len = key->service.len;
    row->service.data = p;
    p = ngx_cpymem(p, key->service.data, key->service.len);

    row->policy.len = key->policy.len;
    row->policy.data = p;
    ngx_memcpy(p, key->policy.data, key->policy.len);

    bucket = &sh->buckets[row->hash % NGX_EGRESS_DECISIONS_BUCKETS];
    row->next = *bucket;

    ngx_memory_barrier();

    *bucket = row;

    if (!other) {
        sh->n++;
    }

done:

    ngx_shmtx_unlock(&shpool->mutex);

    return row;
}


static ngx_int_t
ngx_egress_decisions_metrics(ngx_egress_report_t *report)
{
    ngx_uint_t               i;
    ngx_egress_text_t       *text;
    ngx_egress_decision_t   *row;
    ngx_egress_decisions_t  *sh;

    text = &report->text;
    sh = ngx_egress_area(NGX_EGRESS_AREA_DECISIONS, NULL);

    if (sh == NULL) {
        return NGX_OK;
    }

    ngx_egress_metric_family(text, "egress_decisions_total", "counter",
                             "Requests and connections by what was decided.");

    for (i = 0; i < NGX_EGRESS_DECISIONS_BUCKETS; i++) {

        for (row = sh->buckets[i]; row; row = row->next) {
            ngx_egress_metric_open(text, "egress_decisions_total");
            ngx_egress_metric_label(text, "service", &row->service);
            ngx_egress_metric_label(text, "verdict",
                                    ngx_egress_verdict_name(row->verdict));
            ngx_egress_metric_label(text, "reason",
                                    ngx_egress_reason_name(row->reason));
            ngx_egress_metric_label(text, "policy", &row->policy);
            ngx_egress_metric_value(text, row->count);
        }
    }

    ngx_egress_metric_family(text, "egress_decisions_lost_total", "counter",
                             "Decisions not counted: the zone is full.");
    ngx_egress_metric_open(text, "egress_decisions_lost_total");
    ngx_egress_metric_value(text, sh->lost);

    return NGX_OK;
}
