
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_far.h>


/* rows of one report unless limit= says more */
#define NGX_EGRESS_FAR_PAGE  1000


/* which rows are wanted */

typedef struct {
    ngx_uint_t                offset;
    ngx_uint_t                limit;
    ngx_str_t                 service;     /* empty: all */
    ngx_uint_t                row;
} ngx_egress_far_page_t;


static ngx_int_t ngx_egress_far_page(ngx_egress_report_t *report,
    ngx_egress_far_page_t *page);
static ngx_int_t ngx_egress_far_wanted(ngx_egress_far_page_t *page);

static void ngx_egress_far_limits(ngx_egress_text_t *text,
    ngx_egress_service_t *svc, ngx_egress_far_service_t *far);
static void ngx_egress_far_limit(ngx_egress_text_t *text, const char *key,
    ngx_uint_t used, ngx_int_t max);
static void ngx_egress_far_counters(ngx_egress_text_t *text,
    ngx_egress_far_service_t *far);

static ngx_int_t ngx_egress_far_status_endpoints(ngx_egress_report_t *report);
static ngx_int_t ngx_egress_far_endpoints_of(ngx_egress_report_t *report,
    ngx_egress_service_t *svc, ngx_egress_far_page_t *page);
static void ngx_egress_far_endpoint(ngx_egress_text_t *text,
    ngx_egress_service_t *svc, ngx_egress_far_endpoint_t *far);
static void ngx_egress_far_address(ngx_egress_text_t *text,
    struct sockaddr *sa, socklen_t socklen, const char *key);
static const char *ngx_egress_far_state_name(ngx_egress_service_t *svc,
    ngx_egress_far_endpoint_t *far);
static ngx_uint_t ngx_egress_far_ejected_for(ngx_egress_far_endpoint_t *far);

static ngx_int_t ngx_egress_far_status_dns(ngx_egress_report_t *report);
static void ngx_egress_far_dns_name(ngx_egress_text_t *text,
    ngx_egress_far_name_t *far);
static const char *ngx_egress_far_dns_state(ngx_egress_far_name_t *far);

static ngx_int_t ngx_egress_far_status_zone(ngx_egress_report_t *report);


static ngx_str_t  ngx_egress_far_endpoints_name = ngx_string("endpoints");
static ngx_str_t  ngx_egress_far_names_name = ngx_string("dns");
static ngx_str_t  ngx_egress_far_zone_name = ngx_string("zone");
static ngx_str_t  ngx_egress_far_metrics_name = ngx_string("far");


ngx_int_t
ngx_egress_far_init(ngx_conf_t *cf)
{
    if (ngx_egress_add_report(cf, NGX_EGRESS_REPORT_STATUS,
                              &ngx_egress_far_endpoints_name,
                              ngx_egress_far_status_endpoints)
        != NGX_OK
        || ngx_egress_add_report(cf, NGX_EGRESS_REPORT_STATUS,
                                 &ngx_egress_far_names_name,
                                 ngx_egress_far_status_dns)
           != NGX_OK
        || ngx_egress_add_report(cf, NGX_EGRESS_REPORT_STATUS,
                                 &ngx_egress_far_zone_name,
                                 ngx_egress_far_status_zone)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_egress_add_report(cf, NGX_EGRESS_REPORT_METRICS,
                                 &ngx_egress_far_metrics_name,
                                 ngx_egress_far_metrics);
}


static ngx_int_t
ngx_egress_far_page(ngx_egress_report_t *report, ngx_egress_far_page_t *page)
{
    ngx_memzero(page, sizeof(ngx_egress_far_page_t));

    page->limit = NGX_EGRESS_FAR_PAGE;

    (void) ngx_egress_report_number(report, "offset", NGX_MAX_INT32_VALUE,
                                    &page->offset);
    (void) ngx_egress_report_number(report, "limit", NGX_MAX_INT32_VALUE,
                                    &page->limit);

    if (report->arg(report, "service", &page->service) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* of the next row; NGX_DECLINED: not yet; NGX_DONE: not any more */

static ngx_int_t
ngx_egress_far_wanted(ngx_egress_far_page_t *page)
{
    ngx_uint_t  row;

    row = page->row++;

    if (row < page->offset) {
        return NGX_DECLINED;
    }

    return (row - page->offset < page->limit) ? NGX_OK : NGX_DONE;
}


ngx_int_t
ngx_egress_far_status_service(ngx_egress_report_t *report,
    ngx_egress_service_t *svc)
{
    ngx_uint_t                  i, n;
    ngx_pool_t                 *pool;
    ngx_array_t                 endpoints;
    ngx_egress_far_service_t    numbers;
    ngx_egress_far_endpoint_t  *far;

    static const char          *balances[] = { "", "round_robin",
                                               "least_request", "random",
                                               "hash" };

    pool = ngx_create_pool(4096, report->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    if (ngx_egress_far_endpoints(svc, pool, &endpoints) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NGX_ERROR;
    }

    far = endpoints.elts;

    for (i = 0, n = 0; i < endpoints.nelts; i++) {
        n += far[i].placed;
    }

    ngx_destroy_pool(pool);

    ngx_egress_far_service(svc, &numbers);

    ngx_egress_json_cstring(&report->text, "balance",
                            balances[svc->conf->balance]);
    ngx_egress_json_number(&report->text, "endpoints", n);

    ngx_egress_far_limits(&report->text, svc, &numbers);
    ngx_egress_far_counters(&report->text, &numbers);

    return NGX_OK;
}


static void
ngx_egress_far_limits(ngx_egress_text_t *text, ngx_egress_service_t *svc,
    ngx_egress_far_service_t *far)
{
    ngx_egress_json_open(text, "limits", '{');

    ngx_egress_far_limit(text, "connections",
                         far->held[NGX_EGRESS_HELD_CONNECTIONS],
                         svc->conf->max_connections);
    ngx_egress_far_limit(text, "requests",
                         far->held[NGX_EGRESS_HELD_REQUESTS],
                         svc->conf->max_requests);
    ngx_egress_far_limit(text, "pending", far->held[NGX_EGRESS_HELD_PENDING],
                         svc->conf->max_pending);
    ngx_egress_far_limit(text, "retries", far->held[NGX_EGRESS_HELD_RETRIES],
                         svc->conf->max_retries);

    ngx_egress_json_close(text);
}


static void
ngx_egress_far_limit(ngx_egress_text_t *text, const char *key,
    ngx_uint_t used, ngx_int_t max)
{
    ngx_egress_json_open(text, key, '{');
    ngx_egress_json_number(text, "used", used);

    if (max == NGX_EGRESS_UNLIMITED) {
        ngx_egress_json_null(text, "max");

    } else {
        ngx_egress_json_number(text, "max", max);
    }

    ngx_egress_json_close(text);
}


static void
ngx_egress_far_counters(ngx_egress_text_t *text, ngx_egress_far_service_t *far)
{
    ngx_egress_json_open(text, "counters", '{');
    ngx_egress_json_number(text, "opened", far->opened);
    ngx_egress_json_number(text, "reused", far->reused);
    ngx_egress_json_number(text, "failed", far->failed);
    ngx_egress_json_number(text, "overflows", far->overflows);
    ngx_egress_json_number(text, "retried", far->retried);
    ngx_egress_json_number(text, "retry_overflows", far->retry_overflows);
    ngx_egress_json_number(text, "ejections", far->ejections);
    ngx_egress_json_number(text, "denied_addresses", far->denied);
    ngx_egress_json_close(text);
}


/* a page of them: offset=, limit= and service= */

static ngx_int_t
ngx_egress_far_status_endpoints(ngx_egress_report_t *report)
{
    ngx_int_t               rc;
    ngx_uint_t              i;
    ngx_egress_service_t   *svc;
    ngx_egress_far_page_t   page;

    if (ngx_egress_far_page(report, &page) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_egress_json_open(&report->text, NULL, '[');

    for (i = 0, rc = NGX_OK; rc == NGX_OK; i++) {

        svc = ngx_egress_far_nth(i);

        if (svc == NULL) {
            break;
        }

        if (page.service.len
            && (page.service.len != svc->name.len
                || ngx_memcmp(page.service.data, svc->name.data,
                              svc->name.len)
                   != 0))
        {
            continue;
        }

        rc = ngx_egress_far_endpoints_of(report, svc, &page);
    }

    ngx_egress_json_close(&report->text);

    return (rc == NGX_ERROR) ? NGX_ERROR : NGX_OK;
}


/* NGX_DONE: the page is full */

static ngx_int_t
ngx_egress_far_endpoints_of(ngx_egress_report_t *report,
    ngx_egress_service_t *svc, ngx_egress_far_page_t *page)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i;
    ngx_pool_t                 *pool;
    ngx_array_t                 endpoints;
    ngx_egress_far_endpoint_t  *far;

    pool = ngx_create_pool(4096, report->log);
    if (pool == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_egress_far_endpoints(svc, pool, &endpoints);

    far = endpoints.elts;

    for (i = 0; rc == NGX_OK && i < endpoints.nelts; i++) {

        rc = ngx_egress_far_wanted(page);

        if (rc == NGX_OK) {
            ngx_egress_far_endpoint(&report->text, svc, &far[i]);

        } else if (rc == NGX_DECLINED) {
            rc = NGX_OK;
        }
    }

    ngx_destroy_pool(pool);

    return rc;
}


static void
ngx_egress_far_endpoint(ngx_egress_text_t *text, ngx_egress_service_t *svc,
    ngx_egress_far_endpoint_t *far)
{
    in_port_t  port;

    ngx_egress_json_open(text, NULL, '{');
    ngx_egress_json_string(text, "service", &svc->name);
    ngx_egress_far_address(text, &far->sa.sockaddr, far->socklen, "address");

    port = (far->sa.sockaddr.sa_family == AF_UNIX)
           ? 0 : ngx_inet_get_port(&far->sa.sockaddr);

    if (port) {
        ngx_egress_json_number(text, "port", port);

    } else {
        ngx_egress_json_null(text, "port");
    }

    ngx_egress_json_cstring(text, "state",
                            ngx_egress_far_state_name(svc, far));
    ngx_egress_json_number(text, "active", far->active);
    ngx_egress_json_number(text, "idle", far->idle);
    ngx_egress_json_number(text, "picked", far->picked);
    ngx_egress_json_number(text, "failed", far->failed);
    ngx_egress_json_number(text, "errors", far->errors);
    ngx_egress_json_number(text, "ejections", far->ejections);
    ngx_egress_json_number(text, "ejected_for",
                           ngx_egress_far_ejected_for(far));
    ngx_egress_json_number(text, "level", far->level);
    ngx_egress_json_bool(text, "backup",
                         far->level == NGX_EGRESS_LEVEL_BACKUP);
    ngx_egress_json_number(text, "weight", far->weight);
    ngx_egress_json_bool(text, "spelled", far->spelled);
    ngx_egress_json_close(text);
}


static void
ngx_egress_far_address(ngx_egress_text_t *text, struct sockaddr *sa,
    socklen_t socklen, const char *key)
{
    u_char     buf[NGX_SOCKADDR_STRLEN];
    ngx_str_t  address;

    address.data = buf;
    address.len = ngx_sock_ntop(sa, socklen, buf, NGX_SOCKADDR_STRLEN, 0);

    ngx_egress_json_string(text, key, &address);
}


static const char *
ngx_egress_far_state_name(ngx_egress_service_t *svc,
    ngx_egress_far_endpoint_t *far)
{
    if (!far->placed) {
        return "unused";
    }

    if (far->ejected) {
        return "ejected";
    }

    if (svc->conf->outlier && far->returned
        && ngx_current_msec - far->returned < svc->conf->outlier->interval)
    {
        return "returning";
    }

    return "healthy";
}


/* seconds left, in full; it ends with an interval, and so may be 0 */

static ngx_uint_t
ngx_egress_far_ejected_for(ngx_egress_far_endpoint_t *far)
{
    ngx_msec_int_t  left;

    if (far->ejected == 0) {
        return 0;
    }

    left = (ngx_msec_int_t) (far->ejected - ngx_current_msec);

    return (left > 0) ? (left + 999) / 1000 : 0;
}


/* a page of them: offset= and limit= */

static ngx_int_t
ngx_egress_far_status_dns(ngx_egress_report_t *report)
{
    ngx_int_t                 rc;
    ngx_uint_t                i, n;
    ngx_egress_far_name_t    *far;
    ngx_egress_far_page_t     page;
    ngx_egress_far_cursor_t   cursor;

    if (ngx_egress_far_page(report, &page) != NGX_OK) {
        return NGX_ERROR;
    }

    far = ngx_alloc(NGX_EGRESS_FAR_NAMES * sizeof(ngx_egress_far_name_t),
                    report->log);
    if (far == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&cursor, sizeof(ngx_egress_far_cursor_t));

    ngx_egress_json_open(&report->text, NULL, '[');

    do {
        n = ngx_egress_far_names(&cursor, far);
        rc = NGX_OK;

        for (i = 0; i < n && rc != NGX_DONE; i++) {

            rc = ngx_egress_far_wanted(&page);

            if (rc == NGX_OK) {
                ngx_egress_far_dns_name(&report->text, &far[i]);
            }
        }

    } while (n && rc != NGX_DONE);

    ngx_egress_json_close(&report->text);

    ngx_free(far);

    return NGX_OK;
}


static void
ngx_egress_far_dns_name(ngx_egress_text_t *text, ngx_egress_far_name_t *far)
{
    ngx_str_t       name;
    ngx_uint_t      i;
    ngx_msec_t      now;
    ngx_msec_int_t  left;

    now = ngx_current_msec;

    name.data = far->text;
    name.len = far->len;

    ngx_egress_json_open(text, NULL, '{');
    ngx_egress_json_string(text, "name", &name);
    ngx_egress_json_bool(text, "configured", far->configured);
    ngx_egress_json_cstring(text, "state", ngx_egress_far_dns_state(far));
    ngx_egress_json_open(text, "addresses", '[');

    for (i = 0; i < far->n; i++) {
        ngx_egress_far_address(text, &far->addrs[i].sockaddr,
                               sizeof(ngx_egress_addr_t), NULL);
    }

    ngx_egress_json_close(text);
    ngx_egress_json_number(text, "total", far->total);

    if (far->has_answer) {
        left = (ngx_msec_int_t) (far->expires - now);
        ngx_egress_json_number(text, "expires_in", left / 1000);

    } else {
        ngx_egress_json_null(text, "expires_in");
    }

    if (far->answered) {
        ngx_egress_json_number(text, "answered",
                               (now - far->answered) / 1000);

    } else {
        ngx_egress_json_null(text, "answered");
    }

    ngx_egress_json_number(text, "failures", far->failures);
    ngx_egress_json_number(text, "lookups", far->lookups);
    ngx_egress_json_number(text, "errors", far->errors);
    ngx_egress_json_close(text);
}


static const char *
ngx_egress_far_dns_state(ngx_egress_far_name_t *far)
{
    ngx_msec_int_t      age;
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    age = (ngx_msec_int_t) (ngx_current_msec - far->expires);

    if (far->has_answer && age < 0) {
        return "fresh";
    }

    if (far->has_answer && far->total
        && age < (ngx_msec_int_t) ecf->dns_stale)
    {
        return "stale";
    }

    return far->failures ? "failed" : "unknown";
}


static ngx_int_t
ngx_egress_far_status_zone(ngx_egress_report_t *report)
{
    ngx_egress_text_t      *text;
    ngx_egress_far_zone_t   far;

    text = &report->text;

    if (ngx_egress_far_zone(&far) != NGX_OK) {
        ngx_egress_json_null(text, NULL);
        return NGX_OK;
    }

    ngx_egress_json_open(text, NULL, '{');
    ngx_egress_json_number(text, "size", far.size);
    ngx_egress_json_number(text, "free", far.free);
    ngx_egress_json_number(text, "free_pages", far.free_pages);
    ngx_egress_json_number(text, "full", far.full);
    ngx_egress_json_number(text, "processes", far.processes);
    ngx_egress_json_number(text, "leader", far.leader);
    ngx_egress_json_number(text, "names", far.names);
    ngx_egress_json_number(text, "evicted", far.evicted);
    ngx_egress_json_number(text, "generation", far.generation);
    ngx_egress_json_close(text);

    return NGX_OK;
}
