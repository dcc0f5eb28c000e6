
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_authz.h>


#define NGX_EGRESS_REPORTS_LAYOUT    1     /* bump on any shared change */

#define NGX_EGRESS_REPORTS_BUCKETS   256

/* policies of one status unless limit= says more */
#define NGX_EGRESS_STATUS_POLICIES   1000

/* allow rules of one explanation unless limit= says more */
#define NGX_EGRESS_EXPLAIN_RULES     100


/*
 * What would have been denied: to whom, where to, by which rule.  Rows are
 * never taken away, and changed with the zone's mutex held only.
 */

typedef struct ngx_egress_would_s  ngx_egress_would_t;

struct ngx_egress_would_s {
    ngx_egress_would_t       *next;        /* of the same principal */
    uint32_t                  hash;
    uint64_t                  count;
    time_t                    first;
    time_t                    last;
    ngx_uint_t                reason;
    ngx_uint_t                dry_run;
    ngx_uint_t                http;
    ngx_uint_t                protocol;
    in_port_t                 port;
    ngx_str_t                 host;        /* these are in the same memory */
    ngx_str_t                 service;     /* empty: not registered */
    ngx_str_t                 policy;      /* empty: no allow rule matched */
};


typedef struct ngx_egress_caller_s  ngx_egress_caller_t;

struct ngx_egress_caller_s {
    ngx_egress_caller_t      *next;        /* of the same bucket */
    uint32_t                  hash;
    ngx_uint_t                n;
    ngx_egress_would_t       *rows;
    ngx_str_t                 principal;
};


typedef struct {
    ngx_uint_t                layout;
    ngx_uint_t                n;
    uint64_t                  dropped;     /* not kept: a bound was reached */
    ngx_atomic_t              would[2][2]; /* dry run, without identity */
    ngx_atomic_t              audits;
    ngx_egress_caller_t      *buckets[NGX_EGRESS_REPORTS_BUCKETS];
} ngx_egress_reports_t;


static ngx_int_t ngx_egress_reports_init(ngx_slab_pool_t *shpool,
    void **area, void *data, ngx_log_t *log);
static void ngx_egress_reports_add(ngx_egress_reports_t *sh,
    ngx_slab_pool_t *shpool, ngx_str_t *principal, ngx_egress_would_t *would);
static ngx_egress_caller_t *ngx_egress_reports_caller(
    ngx_egress_reports_t *sh, ngx_slab_pool_t *shpool, ngx_str_t *principal);
static ngx_egress_would_t *ngx_egress_reports_row(ngx_egress_caller_t *caller,
    ngx_egress_would_t *would);
static ngx_egress_would_t *ngx_egress_reports_copy(ngx_slab_pool_t *shpool,
    ngx_pool_t *pool, ngx_egress_would_t *would);
static ngx_uint_t ngx_egress_reports_equal(ngx_str_t *one, ngx_str_t *two);

static ngx_int_t ngx_egress_status_policies(ngx_egress_report_t *report);
static ngx_int_t ngx_egress_status_reports(ngx_egress_report_t *report);
static ngx_int_t ngx_egress_status_bucket(ngx_egress_report_t *report,
    ngx_egress_reports_t *sh, ngx_slab_pool_t *shpool, ngx_uint_t bucket);
static void ngx_egress_status_row(ngx_egress_text_t *text,
    ngx_str_t *principal, ngx_egress_would_t *would);
static ngx_int_t ngx_egress_authz_metrics(ngx_egress_report_t *report);

static ngx_int_t ngx_egress_explain_authz(ngx_egress_report_t *report);
static void ngx_egress_explain_hit(ngx_egress_text_t *text, const char *key,
    ngx_egress_hit_t *hit);
static void ngx_egress_explain_allow(ngx_egress_report_t *report,
    ngx_egress_authz_conf_t *acf, ngx_egress_lookup_t *lookup);
static void ngx_egress_explain_source(ngx_egress_text_t *text,
    ngx_egress_engine_t *engine, ngx_uint_t rule);
static void ngx_egress_explain_field(ngx_egress_text_t *text,
    ngx_uint_t field, ngx_uint_t negative);


static ngx_str_t  ngx_egress_policies_name = ngx_string("policies");
static ngx_str_t  ngx_egress_reports_name = ngx_string("reports");
static ngx_str_t  ngx_egress_authz_name_text = ngx_string("authz");

static const char  *ngx_egress_authz_actions[] = { "allow", "deny", "audit" };


ngx_int_t
ngx_egress_authz_add_reports(ngx_conf_t *cf)
{
    if (ngx_egress_add_area(cf, NGX_EGRESS_AREA_AUTHZ,
                            ngx_egress_reports_init, NULL)
        != NGX_OK
        || ngx_egress_add_report(cf, NGX_EGRESS_REPORT_STATUS,
                                 &ngx_egress_policies_name,
                                 ngx_egress_status_policies)
           != NGX_OK
        || ngx_egress_add_report(cf, NGX_EGRESS_REPORT_STATUS,
                                 &ngx_egress_reports_name,
                                 ngx_egress_status_reports)
           != NGX_OK
        || ngx_egress_add_report(cf, NGX_EGRESS_REPORT_METRICS,
                                 &ngx_egress_authz_name_text,
                                 ngx_egress_authz_metrics)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_egress_add_report(cf, NGX_EGRESS_REPORT_EXPLAIN,
                                 &ngx_egress_authz_name_text,
                                 ngx_egress_explain_authz);
}


static ngx_int_t
ngx_egress_reports_init(ngx_slab_pool_t *shpool, void **area, void *data,
    ngx_log_t *log)
{
    ngx_egress_reports_t  *sh;

    if (*area) {
        sh = *area;
        return sh->layout == NGX_EGRESS_REPORTS_LAYOUT ? NGX_OK : NGX_ERROR;
    }

    sh = ngx_slab_calloc(shpool, sizeof(ngx_egress_reports_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    sh->layout = NGX_EGRESS_REPORTS_LAYOUT;
    *area = sh;

    return NGX_OK;
}


void
ngx_egress_authz_audited(void)
{
    ngx_egress_reports_t  *sh;

    sh = ngx_egress_area(NGX_EGRESS_AREA_AUTHZ, NULL);

    if (sh) {
        (void) ngx_atomic_fetch_add(&sh->audits, 1);
    }
}


void
ngx_egress_authz_would_deny(ngx_egress_ask_t *ask, ngx_uint_t dry_run,
    ngx_uint_t reason, ngx_str_t *policy)
{
    ngx_str_t              service;
    ngx_slab_pool_t       *shpool;
    ngx_egress_flow_t     *flow;
    ngx_egress_would_t     would;
    ngx_egress_reports_t  *sh;

    sh = ngx_egress_area(NGX_EGRESS_AREA_AUTHZ, &shpool);

    if (sh == NULL) {
        return;
    }

    flow = ask->flow;

    (void) ngx_atomic_fetch_add(
               &sh->would[dry_run][reason == NGX_EGRESS_NO_IDENTITY], 1);

    service = *ngx_egress_service_name(flow->service);

    if (ngx_egress_find_name((ngx_cycle_t *) ngx_cycle, &service) == NULL) {
        ngx_str_null(&service);
    }

    ngx_memzero(&would, sizeof(ngx_egress_would_t));

    would.first = ngx_time();
    would.last = would.first;
    would.count = 1;
    would.reason = reason;
    would.dry_run = dry_run;
    would.http = ask->http;
    would.protocol = flow->protocol;
    would.port = flow->port;
    would.host = ask->host;
    would.service = service;
    would.policy = *policy;

    would.hash = ngx_crc32_long(would.host.data, would.host.len)
                 ^ (ngx_crc32_long(policy->data, policy->len) << 1)
                 ^ ((uint32_t) would.port << 16)
                 ^ (uint32_t) (reason << 3 | dry_run << 1 | would.http);

    ngx_shmtx_lock(&shpool->mutex);

    ngx_egress_reports_add(sh, shpool, &ask->principal, &would);

    ngx_shmtx_unlock(&shpool->mutex);
}


/* an eighth of the rows is what one principal, or nobody, may take */

static void
ngx_egress_reports_add(ngx_egress_reports_t *sh, ngx_slab_pool_t *shpool,
    ngx_str_t *principal, ngx_egress_would_t *would)
{
    ngx_uint_t            max;
    ngx_egress_would_t   *row;
    ngx_egress_caller_t  *caller;

    max = ngx_egress_zone_reports((ngx_cycle_t *) ngx_cycle);

    caller = ngx_egress_reports_caller(sh, sh->n < max ? shpool : NULL,
                                       principal);
    if (caller == NULL) {
        sh->dropped++;
        return;
    }

    row = ngx_egress_reports_row(caller, would);

    if (row) {
        row->count++;
        row->last = would->last;
        return;
    }

    if (sh->n >= max || caller->n >= ngx_max(max / 8, 1)) {
        sh->dropped++;
        return;
    }

    row = ngx_egress_reports_copy(shpool, NULL, would);
    if (row == NULL) {
        sh->dropped++;
        return;
    }

    row->next = caller->rows;
    caller->rows = row;
    caller->n++;
    sh->n++;
}


/* shpool is NULL: it is not made if it isn't there */

static ngx_egress_caller_t *
ngx_egress_reports_caller(ngx_egress_reports_t *sh, ngx_slab_pool_t *shpool,
    ngx_str_t *principal)
{
    uint32_t               hash;
    ngx_egress_caller_t   *caller, **bucket;

    hash = ngx_crc32_long(principal->data, principal->len);
    bucket = &sh->buckets[hash % NGX_EGRESS_REPORTS_BUCKETS];

    for (caller = *bucket; caller; caller = caller->next) {
        if (caller->hash == hash
            && ngx_egress_reports_equal(&caller->principal, principal))
        {
            return caller;
        }
    }

    if (shpool == NULL) {
        return NULL;
    }

    caller = ngx_slab_calloc_locked(shpool, sizeof(ngx_egress_caller_t)
                                            + principal->len);
    if (caller == NULL) {
        return NULL;
    }

    caller->hash = hash;
    caller->principal.len = principal->len;
    caller->principal.data = (u_char *) (caller + 1);

    ngx_memcpy(caller->principal.data, principal->data, principal->len);

    caller->next = *bucket;
    *bucket = caller;

    return caller;
}


static ngx_egress_would_t *
ngx_egress_reports_row(ngx_egress_caller_t *caller, ngx_egress_would_t *would)
{
    ngx_egress_would_t  *row;

    for (row = caller->rows; row; row = row->next) {
        if (row->hash == would->hash
            && row->port == would->port
            && row->reason == would->reason
            && row->dry_run == would->dry_run
            && row->http == would->http
            && ngx_egress_reports_equal(&row->host, &would->host)
            && ngx_egress_reports_equal(&row->policy, &would->policy))
        {
            return row;
        }
    }

    return NULL;
}


/* into the zone, whose mutex is held; or, if pool is not NULL, out of it */

static ngx_egress_would_t *
ngx_egress_reports_copy(ngx_slab_pool_t *shpool, ngx_pool_t *pool,
    ngx_egress_would_t *would)
{
    u_char              *p;
    size_t               size;
    ngx_egress_would_t  *row;

    size = sizeof(ngx_egress_would_t) + would->host.len + would->service.len
           + would->policy.len;

    row = pool ? ngx_palloc(pool, size) : ngx_slab_alloc_locked(shpool, size);
    if (row == NULL) {
        return NULL;
    }

    *row = *would;

    p = (u_char *) (row + 1);

    row->host.data = p;
    p = ngx_cpymem(p, would->host.data, would->host.len);

    row->service.data = p;
    p = ngx_cpymem(p, would->service.data, would->service.len);

    row->policy.data = p;
    ngx_memcpy(p, would->policy.data, would->policy.len);

    return row;
}


static ngx_uint_t
ngx_egress_reports_equal(ngx_str_t *one, ngx_str_t *two)
{
    return one->len == two->len
           && ngx_memcmp(one->data, two->data, one->len) == 0;
}


static ngx_int_t
ngx_egress_status_policies(ngx_egress_report_t *report)
{
    ngx_uint_t                i, offset, limit;
    ngx_egress_text_t        *text;
    ngx_egress_policy_t     **policy;
    ngx_egress_authz_conf_t  *acf;

    text = &report->text;
    acf = ngx_egress_authz_conf();

    offset = 0;
    limit = NGX_EGRESS_STATUS_POLICIES;

    (void) ngx_egress_report_number(report, "offset", NGX_MAX_INT32_VALUE,
                                    &offset);
    (void) ngx_egress_report_number(report, "limit", NGX_MAX_INT32_VALUE,
                                    &limit);

    ngx_egress_json_open(text, NULL, '[');

    policy = acf ? acf->policies.elts : NULL;

    for (i = offset; acf && i < acf->policies.nelts && i - offset < limit;
         i++)
    {
        ngx_egress_json_open(text, NULL, '{');
        ngx_egress_json_string(text, "name", &policy[i]->sn.str);
        ngx_egress_json_cstring(text, "action",
                                ngx_egress_authz_actions[policy[i]->action]);
        ngx_egress_json_bool(text, "dry_run", policy[i]->dry_run);
        ngx_egress_json_number(text, "rules", policy[i]->nrules);
        ngx_egress_json_string(text, "source", &policy[i]->source);
        ngx_egress_json_close(text);
    }

    ngx_egress_json_close(text);

    return NGX_OK;
}


static ngx_int_t
ngx_egress_status_reports(ngx_egress_report_t *report)
{
    ngx_uint_t             i, n;
    uint64_t               dropped;
    ngx_slab_pool_t       *shpool;
    ngx_egress_reports_t  *sh;

    sh = ngx_egress_area(NGX_EGRESS_AREA_AUTHZ, &shpool);

    if (sh == NULL) {
        ngx_egress_json_null(&report->text, NULL);
        return NGX_OK;
    }

    ngx_egress_json_open(&report->text, NULL, '{');
    ngx_egress_json_open(&report->text, "rows", '[');

    for (i = 0; i < NGX_EGRESS_REPORTS_BUCKETS; i++) {
        if (ngx_egress_status_bucket(report, sh, shpool, i) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_egress_json_close(&report->text);

    ngx_shmtx_lock(&shpool->mutex);

    n = sh->n;
    dropped = sh->dropped;

    ngx_shmtx_unlock(&shpool->mutex);

    ngx_egress_json_number(&report->text, "kept", n);
    ngx_egress_json_number(&report->text, "bound",
                    ngx_egress_zone_reports((ngx_cycle_t *) ngx_cycle));
    ngx_egress_json_number(&report->text, "dropped", dropped);
    ngx_egress_json_close(&report->text);

    return NGX_OK;
}


/* the rows of a bucket are copied under the lock, and written without it */

static ngx_int_t
ngx_egress_status_bucket(ngx_egress_report_t *report,
    ngx_egress_reports_t *sh, ngx_slab_pool_t *shpool, ngx_uint_t bucket)
{
    ngx_pool_t            *pool;
    ngx_egress_would_t    *row, *copy;
    ngx_egress_caller_t   *caller, *callers, *c;

    pool = report->text.pool;
    callers = NULL;

    ngx_shmtx_lock(&shpool->mutex);

    for (caller = sh->buckets[bucket]; caller; caller = caller->next) {

        c = ngx_palloc(pool, sizeof(ngx_egress_caller_t));
        if (c == NULL) {
            break;
        }

        /* a principal stays where it is as long as the zone */

        *c = *caller;
        c->next = callers;
        c->rows = NULL;
        callers = c;

        for (row = caller->rows; row; row = row->next) {

            copy = ngx_egress_reports_copy(shpool, pool, row);
            if (copy == NULL) {
                break;
            }

            copy->next = c->rows;
            c->rows = copy;
        }

        if (row) {
            break;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (caller) {
        return NGX_ERROR;
    }

    for (c = callers; c; c = c->next) {
        for (row = c->rows; row; row = row->next) {
            ngx_egress_status_row(&report->text, &c->principal, row);
        }
    }

    return NGX_OK;
}


static void
ngx_egress_status_row(ngx_egress_text_t *text, ngx_str_t *principal,
    ngx_egress_would_t *would)
{
    ngx_egress_json_open(text, NULL, '{');
    ngx_egress_json_string(text, "principal", principal);
    ngx_egress_json_string(text, "host", &would->host);
    ngx_egress_json_number(text, "port", would->port);
    ngx_egress_json_string(text, "policy", &would->policy);
    ngx_egress_json_string(text, "reason",
                           ngx_egress_reason_name(would->reason));
    ngx_egress_json_cstring(text, "mode", would->dry_run ? "dry_run"
                                                         : "report");
    ngx_egress_json_string(text, "service", &would->service);
    ngx_egress_json_string(text, "protocol",
                           ngx_egress_protocol_name(would->protocol));
    ngx_egress_json_bool(text, "http", would->http);
    ngx_egress_json_number(text, "count", would->count);
    ngx_egress_json_number(text, "first", would->first);
    ngx_egress_json_number(text, "last", would->last);
    ngx_egress_json_close(text);
}


static ngx_int_t
ngx_egress_authz_metrics(ngx_egress_report_t *report)
{
    ngx_uint_t             i, k, n;
    uint64_t               dropped;
    ngx_str_t              mode;
    ngx_egress_text_t     *text;
    ngx_slab_pool_t       *shpool;
    ngx_egress_reports_t  *sh;

    static ngx_str_t  modes[] = { ngx_string("report"),
                                  ngx_string("dry_run") };

    sh = ngx_egress_area(NGX_EGRESS_AREA_AUTHZ, &shpool);

    if (sh == NULL) {
        return NGX_OK;
    }

    ngx_shmtx_lock(&shpool->mutex);

    n = sh->n;
    dropped = sh->dropped;

    ngx_shmtx_unlock(&shpool->mutex);

    text = &report->text;

    ngx_egress_metric_family(text, "egress_authz_would_deny_total", "counter",
                             "Flows that passed and would be denied.");

    for (i = 0; i < 2; i++) {
        mode = modes[i];

        for (k = 0; k < 2; k++) {
            ngx_egress_metric_open(text, "egress_authz_would_deny_total");
            ngx_egress_metric_label(text, "mode", &mode);
            ngx_egress_metric_label(text, "reason",
                            ngx_egress_reason_name(k ? NGX_EGRESS_NO_IDENTITY
                                               : NGX_EGRESS_AUTHZ_DENIED));
            ngx_egress_metric_value(text, sh->would[i][k]);
        }
    }

    ngx_egress_metric_family(text, "egress_authz_audits_total", "counter",
                             "Flows that an audit policy matched.");
    ngx_egress_metric_open(text, "egress_authz_audits_total");
    ngx_egress_metric_value(text, sh->audits);

    ngx_egress_metric_family(text, "egress_authz_reports", "gauge",
                             "Rows of would-be denials that are kept.");
    ngx_egress_metric_open(text, "egress_authz_reports");
    ngx_egress_metric_value(text, n);

    ngx_egress_metric_family(text, "egress_authz_reports_dropped_total",
                             "counter",
                             "Would-be denials without a row of their own.");
    ngx_egress_metric_open(text, "egress_authz_reports_dropped_total");
    ngx_egress_metric_value(text, dropped);

    return NGX_OK;
}


static ngx_int_t
ngx_egress_explain_authz(ngx_egress_report_t *report)
{
    ngx_uint_t                reason;
    ngx_egress_hit_t          hit;
    ngx_egress_ask_t          ask;
    ngx_egress_text_t        *text;
    ngx_egress_flow_t        *flow;
    ngx_egress_lookup_t       lookup;
    ngx_egress_authz_conf_t  *acf;

    text = &report->text;
    flow = report->flow;
    acf = ngx_egress_authz_conf();

    if (acf == NULL) {
        ngx_egress_json_null(text, NULL);
        return NGX_OK;
    }

    if (ngx_egress_authz_ask(flow, &ask) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_egress_base_lookup(acf->base, &ask, &lookup);

    ngx_egress_json_open(text, NULL, '{');

    ngx_egress_json_string(text, "principal", &ask.principal);

    if (ask.principal.len == 0) {
        ngx_egress_json_string(text, "no_identity", &flow->identity->error);
    }

    if (ask.http) {
        ngx_egress_json_string(text, "authority", &ask.host);
        ngx_egress_json_string(text, "method", &ask.method);
        ngx_egress_json_string(text, "path", &ask.path);
    }

    reason = ngx_egress_authz_reason(acf, &lookup, 0, &hit);

    ngx_egress_json_string(text, "reason", ngx_egress_reason_name(reason));
    ngx_egress_explain_hit(text, "decided_by", &hit);

    if (reason != NGX_EGRESS_REASON_NONE && hit.engine == NULL) {
        ngx_egress_explain_allow(report, acf, &lookup);
    }

    if (acf->npolicies[NGX_EGRESS_AUDIT]) {
        hit.engine = acf->engines[NGX_EGRESS_AUDIT];

        if (ngx_egress_engine_match(hit.engine, &lookup, &hit.rule)
            != NGX_EGRESS_NO)
        {
            ngx_egress_explain_hit(text, "audit", &hit);
        }
    }

    reason = ngx_egress_authz_reason(acf, &lookup, 1, &hit);

    if (reason != NGX_EGRESS_REASON_NONE) {
        ngx_egress_json_string(text, "dry_run",
                               ngx_egress_reason_name(reason));
        ngx_egress_explain_hit(text, "dry_run_by", &hit);
    }

    ngx_egress_json_close(text);

    return NGX_OK;
}


static void
ngx_egress_explain_hit(ngx_egress_text_t *text, const char *key,
    ngx_egress_hit_t *hit)
{
    ngx_egress_policy_t  *policy;

    if (hit->engine == NULL) {
        ngx_egress_json_null(text, key);
        return;
    }

    policy = ngx_egress_engine_policy(hit->engine, hit->rule);

    ngx_egress_json_open(text, key, '{');
    ngx_egress_json_string(text, "policy", &policy->sn.str);
    ngx_egress_json_number(text, "rule",
                           ngx_egress_engine_index(hit->engine, hit->rule));
    ngx_egress_json_cstring(text, "action",
                            ngx_egress_authz_actions[policy->action]);
    ngx_egress_explain_source(text, hit->engine, hit->rule);
    ngx_egress_json_close(text);
}


/* why none of the allow rules lets it pass, one after the other */

static void
ngx_egress_explain_allow(ngx_egress_report_t *report,
    ngx_egress_authz_conf_t *acf, ngx_egress_lookup_t *lookup)
{
    ngx_uint_t            i, n, limit, rc, field, negative;
    ngx_egress_text_t    *text;
    ngx_egress_engine_t  *engine;
    ngx_egress_policy_t  *policy;

    static const char  *why[] = {
        "does not match", "matches", "no identity", "not readable"
    };

    text = &report->text;
    engine = acf->engines[NGX_EGRESS_ALLOW];
    n = ngx_egress_engine_rules(engine);
    limit = NGX_EGRESS_EXPLAIN_RULES;

    (void) ngx_egress_report_number(report, "limit", NGX_MAX_INT32_VALUE,
                                    &limit);

    ngx_egress_json_number(text, "allow_rules", n);
    ngx_egress_json_open(text, "not_allowed_by", '[');

    for (i = 0; i < n && i < limit; i++) {

        rc = ngx_egress_engine_rule(engine, lookup, i, &field, &negative);
        policy = ngx_egress_engine_policy(engine, i);

        ngx_egress_json_open(text, NULL, '{');
        ngx_egress_json_string(text, "policy", &policy->sn.str);
        ngx_egress_json_number(text, "rule",
                               ngx_egress_engine_index(engine, i));
        ngx_egress_explain_source(text, engine, i);
        ngx_egress_explain_field(text, field, negative);
        ngx_egress_json_cstring(text, "why", why[rc]);
        ngx_egress_json_close(text);
    }

    ngx_egress_json_close(text);
}


static void
ngx_egress_explain_source(ngx_egress_text_t *text,
    ngx_egress_engine_t *engine, ngx_uint_t rule)
{
    u_char      *p;
    ngx_str_t    source;
    ngx_uint_t   line;

    line = ngx_egress_engine_source(engine, rule, &source);

    if (line) {
        p = ngx_pnalloc(text->pool, source.len + 1 + NGX_INT_T_LEN);

        if (p == NULL) {
            text->failed = 1;
            return;
        }

        source.len = ngx_sprintf(p, "%V:%ui", &source, line) - p;
        source.data = p;
    }

    ngx_egress_json_string(text, "source", &source);
}


static void
ngx_egress_explain_field(ngx_egress_text_t *text, ngx_uint_t field,
    ngx_uint_t negative)
{
    u_char  name[64];

    /* in the order of ngx_egress_field_e */

    static const char  *names[] = {
        "principals", "namespaces", "service_accounts", "trust_domains",
        "ip_blocks", "remote_ip_blocks", "destination.ip", "hosts", "ports",
        "connection.sni", "methods", "paths", "request.headers", "-"
    };

    ngx_sprintf(name, "%s%s%Z", negative ? "not_" : "", names[field]);

    ngx_egress_json_cstring(text, "field", (const char *) name);
}
