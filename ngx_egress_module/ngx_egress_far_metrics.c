
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_far.h>


#define NGX_EGRESS_FAR_VALUES  13          /* of a row, at most */


#define NGX_EGRESS_FAR_SUM     0           /* how _other is made */
#define NGX_EGRESS_FAR_MAX     1           /* and milliseconds in seconds */


/* the n-th family of a table is the n-th value of its rows */

typedef struct {
    const char               *name;
    const char               *type;
    const char               *help;
    ngx_uint_t                merge;
} ngx_egress_far_family_t;


typedef struct {
    ngx_str_t                 service;     /* or name */
    ngx_str_t                 endpoint;
    uint64_t                  values[NGX_EGRESS_FAR_VALUES];
} ngx_egress_far_row_t;


typedef struct {
    ngx_egress_far_family_t  *families;
    const char               *label;
    const char               *label2;      /* or NULL */
    ngx_pool_t               *pool;        /* of the rows and their texts */
    ngx_array_t               rows;        /* ngx_egress_far_row_t */
    ngx_uint_t                bound;
    ngx_egress_far_row_t      other;
    ngx_uint_t                nother;
} ngx_egress_far_table_t;


static ngx_int_t ngx_egress_far_table(ngx_egress_far_table_t *table,
    ngx_egress_far_family_t *families, const char *label, const char *label2,
    ngx_pool_t *pool);
static ngx_egress_far_row_t *ngx_egress_far_row(ngx_egress_far_table_t *table);
static void ngx_egress_far_other(ngx_egress_far_table_t *table,
    ngx_egress_far_row_t *row);
static void ngx_egress_far_write(ngx_egress_text_t *text,
    ngx_egress_far_table_t *table);
static void ngx_egress_far_sample(ngx_egress_text_t *text,
    ngx_egress_far_table_t *table, ngx_uint_t n, ngx_egress_far_row_t *row);

static ngx_int_t ngx_egress_far_metrics_services(ngx_egress_report_t *report,
    ngx_pool_t *pool);
static ngx_int_t ngx_egress_far_metrics_endpoints(ngx_egress_report_t *report,
    ngx_pool_t *pool);
static ngx_int_t ngx_egress_far_metrics_endpoint(
    ngx_egress_far_table_t *table, ngx_egress_service_t *svc,
    ngx_egress_far_endpoint_t *far);
static ngx_int_t ngx_egress_far_metrics_names(ngx_egress_report_t *report,
    ngx_pool_t *pool);
static ngx_int_t ngx_egress_far_metrics_name(ngx_egress_far_table_t *table,
    ngx_egress_far_name_t *far);
static void ngx_egress_far_metrics_zone(ngx_egress_report_t *report);


static ngx_egress_far_family_t  ngx_egress_far_service_families[] = {

    { "egress_service_connections", "gauge",
      "Connections to the service's endpoints, idle ones included.", 0 },

    { "egress_service_requests", "gauge",
      "Requests under way.", 0 },

    { "egress_service_pending", "gauge",
      "Requests that wait for a connection.", 0 },

    { "egress_service_retries_active", "gauge",
      "Retries under way.", 0 },

    { "egress_service_connections_opened_total", "counter",
      "Connections that were opened.", 0 },

    { "egress_service_connections_reused_total", "counter",
      "Uses of a connection that had been idle.", 0 },

    { "egress_service_connections_failed_total", "counter",
      "Connections that failed, or gave no answer.", 0 },

    { "egress_circuit_open_total", "counter",
      "Requests and connections refused because of a limit.", 0 },

    { "egress_retries_total", "counter",
      "Attempts after the first one.", 0 },

    { "egress_retry_overflows_total", "counter",
      "Retries left out because of max_retries.", 0 },

    { "egress_service_ejections_total", "counter",
      "Ejections of endpoints by outlier detection.", 0 },

    { "egress_address_denied_total", "counter",
      "Addresses that the guard refused.", 0 },

    { NULL, NULL, NULL, 0 }
};


static ngx_egress_far_family_t  ngx_egress_far_endpoint_families[] = {

    { "egress_endpoint_up", "gauge",
      "1 unless the endpoint is ejected.", 0 },

    { "egress_endpoint_active", "gauge",
      "Connections to the endpoint that are in use.", 0 },

    { "egress_endpoint_idle", "gauge",
      "Connections to the endpoint that wait for a request.", 0 },

    { "egress_endpoint_picks_total", "counter",
      "Connections for which the endpoint was chosen.", 0 },

    { "egress_endpoint_failures_total", "counter",
      "Connections to the endpoint that failed, or gave no answer.", 0 },

    { "egress_endpoint_errors_total", "counter",
      "Answers of 5xx.", 0 },

    { "egress_endpoint_ejections", "gauge",
      "What multiplies the time of the next ejection.", 0 },

    { NULL, NULL, NULL, 0 }
};


static ngx_egress_far_family_t  ngx_egress_far_name_families[] = {

    { "egress_dns_lookups_total", "counter",
      "Lookups of the name.", 0 },

    { "egress_dns_errors_total", "counter",
      "Lookups that failed.", 0 },

    { "egress_dns_age_seconds", "gauge",
      "Since the last answer; of _other, the oldest.", NGX_EGRESS_FAR_MAX },

    { NULL, NULL, NULL, 0 }
};


ngx_int_t
ngx_egress_far_metrics(ngx_egress_report_t *report)
{
    ngx_pool_t  *pool;

    pool = report->text.pool;

    if (ngx_egress_far_metrics_services(report, pool) != NGX_OK
        || ngx_egress_far_metrics_endpoints(report, pool) != NGX_OK
        || ngx_egress_far_metrics_names(report, pool) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_egress_far_metrics_zone(report);

    return NGX_OK;
}


static ngx_int_t
ngx_egress_far_table(ngx_egress_far_table_t *table,
    ngx_egress_far_family_t *families, const char *label, const char *label2,
    ngx_pool_t *pool)
{
    ngx_egress_conf_t  *ecf;

    ngx_memzero(table, sizeof(ngx_egress_far_table_t));

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    table->families = families;
    table->label = label;
    table->label2 = label2;
    table->pool = pool;
    table->bound = ecf->series;

    return ngx_array_init(&table->rows, pool, 16,
                          sizeof(ngx_egress_far_row_t));
}


/* a zeroed row; NULL: no memory, or the bound is reached */

static ngx_egress_far_row_t *
ngx_egress_far_row(ngx_egress_far_table_t *table)
{
    ngx_egress_far_row_t  *row;

    if (table->rows.nelts >= table->bound) {
        return NULL;
    }

    row = ngx_array_push(&table->rows);

    if (row) {
        ngx_memzero(row, sizeof(ngx_egress_far_row_t));
    }

    return row;
}


static void
ngx_egress_far_other(ngx_egress_far_table_t *table, ngx_egress_far_row_t *row)
{
    ngx_uint_t  i;

    for (i = 0; table->families[i].name; i++) {

        if (table->families[i].merge == NGX_EGRESS_FAR_MAX) {
            table->other.values[i] = ngx_max(table->other.values[i],
                                             row->values[i]);

        } else {
            table->other.values[i] += row->values[i];
        }
    }

    table->nother++;
}


static void
ngx_egress_far_write(ngx_egress_text_t *text, ngx_egress_far_table_t *table)
{
    ngx_uint_t             i, n;
    ngx_egress_far_row_t  *row;

    if (table->rows.nelts == 0 && table->nother == 0) {
        return;
    }

    row = table->rows.elts;

    ngx_str_set(&table->other.service, "_other");
    ngx_str_set(&table->other.endpoint, "_other");

    for (n = 0; table->families[n].name; n++) {

        ngx_egress_metric_family(text, table->families[n].name,
                                 table->families[n].type,
                                 table->families[n].help);

        for (i = 0; i < table->rows.nelts; i++) {
            ngx_egress_far_sample(text, table, n, &row[i]);
        }

        if (table->nother) {
            ngx_egress_far_sample(text, table, n, &table->other);
        }
    }
}


static void
ngx_egress_far_sample(ngx_egress_text_t *text, ngx_egress_far_table_t *table,
    ngx_uint_t n, ngx_egress_far_row_t *row)
{
    ngx_egress_metric_open(text, table->families[n].name);
    ngx_egress_metric_label(text, table->label, &row->service);

    if (table->label2) {
        ngx_egress_metric_label(text, table->label2, &row->endpoint);
    }

    if (table->families[n].merge == NGX_EGRESS_FAR_MAX) {
        ngx_egress_metric_msec(text, row->values[n]);

    } else {
        ngx_egress_metric_value(text, row->values[n]);
    }
}


static ngx_int_t
ngx_egress_far_metrics_services(ngx_egress_report_t *report, ngx_pool_t *pool)
{
    ngx_uint_t                 i;
    ngx_egress_service_t      *svc;
    ngx_egress_far_row_t      *row, rest;
    ngx_egress_far_table_t     table;
    ngx_egress_far_service_t   far;

    if (ngx_egress_far_table(&table, ngx_egress_far_service_families,
                             "service", NULL, pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; (svc = ngx_egress_far_nth(i)) != NULL; i++) {

        ngx_egress_far_service(svc, &far);

        row = ngx_egress_far_row(&table);

        if (row == NULL && table.rows.nelts < table.bound) {
            return NGX_ERROR;
        }

        if (row == NULL) {
            row = &rest;
        }

        row->service = svc->name;
        row->values[0] = far.held[NGX_EGRESS_HELD_CONNECTIONS];
        row->values[1] = far.held[NGX_EGRESS_HELD_REQUESTS];
        row->values[2] = far.held[NGX_EGRESS_HELD_PENDING];
        row->values[3] = far.held[NGX_EGRESS_HELD_RETRIES];
        row->values[4] = far.opened;
        row->values[5] = far.reused;
        row->values[6] = far.failed;
        row->values[7] = far.overflows;
        row->values[8] = far.retried;
        row->values[9] = far.retry_overflows;
        row->values[10] = far.ejections;
        row->values[11] = far.denied;

        if (row == &rest) {
            ngx_egress_far_other(&table, row);
        }
    }

    ngx_egress_far_write(&report->text, &table);

    return NGX_OK;
}


/* those that the zone knows, and that may be chosen */

static ngx_int_t
ngx_egress_far_metrics_endpoints(ngx_egress_report_t *report,
    ngx_pool_t *pool)
{
    ngx_int_t                   rc;
    ngx_uint_t                  i, n;
    ngx_pool_t                 *temp;
    ngx_array_t                 endpoints;
    ngx_egress_service_t       *svc;
    ngx_egress_far_table_t      table;
    ngx_egress_far_endpoint_t  *far;

    if (ngx_egress_far_table(&table, ngx_egress_far_endpoint_families,
                             "service", "endpoint", pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    temp = ngx_create_pool(16384, report->log);
    if (temp == NULL) {
        return NGX_ERROR;
    }

    rc = NGX_OK;

    for (i = 0; rc == NGX_OK && (svc = ngx_egress_far_nth(i)) != NULL; i++) {

        /* a service that nobody has used yet may have none */

        if (svc->share->states == NULL) {
            continue;
        }

        ngx_reset_pool(temp);

        rc = ngx_egress_far_endpoints(svc, temp, &endpoints);

        far = endpoints.elts;

        for (n = 0; rc == NGX_OK && n < endpoints.nelts; n++) {
            if (far[n].placed && far[n].known) {
                rc = ngx_egress_far_metrics_endpoint(&table, svc, &far[n]);
            }
        }
    }

    ngx_destroy_pool(temp);

    if (rc == NGX_OK) {
        ngx_egress_far_write(&report->text, &table);
    }

    return rc;
}


static ngx_int_t
ngx_egress_far_metrics_endpoint(ngx_egress_far_table_t *table,
    ngx_egress_service_t *svc, ngx_egress_far_endpoint_t *far)
{
    u_char                *p;
    ngx_uint_t             port;
    ngx_egress_far_row_t  *row, rest;

    row = &rest;

    if (table->rows.nelts < table->bound) {

        row = ngx_egress_far_row(table);
        p = ngx_pnalloc(table->pool, NGX_SOCKADDR_STRLEN);

        if (row == NULL || p == NULL) {
            return NGX_ERROR;
        }

        port = (far->sa.sockaddr.sa_family != AF_UNIX
                && ngx_inet_get_port(&far->sa.sockaddr));

        row->service = svc->name;
        row->endpoint.data = p;
        row->endpoint.len = ngx_sock_ntop(&far->sa.sockaddr, far->socklen, p,
                                          NGX_SOCKADDR_STRLEN, port);
    }

    row->values[0] = (far->ejected == 0);
    row->values[1] = far->active;
    row->values[2] = far->idle;
    row->values[3] = far->picked;
    row->values[4] = far->failed;
    row->values[5] = far->errors;
    row->values[6] = far->ejections;

    if (row == &rest) {
        ngx_egress_far_other(table, row);
    }

    return NGX_OK;
}


/* names of the configuration have lines of their own, others are _other */

static ngx_int_t
ngx_egress_far_metrics_names(ngx_egress_report_t *report, ngx_pool_t *pool)
{
    ngx_int_t                 rc;
    ngx_uint_t                i, n;
    ngx_egress_far_name_t    *far;
    ngx_egress_far_table_t    table;
    ngx_egress_far_cursor_t   cursor;

    if (ngx_egress_far_table(&table, ngx_egress_far_name_families, "name",
                             NULL, pool)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    far = ngx_alloc(NGX_EGRESS_FAR_NAMES * sizeof(ngx_egress_far_name_t),
                    report->log);
    if (far == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&cursor, sizeof(ngx_egress_far_cursor_t));

    rc = NGX_OK;

    do {
        n = ngx_egress_far_names(&cursor, far);

        for (i = 0; i < n && rc == NGX_OK; i++) {
            rc = ngx_egress_far_metrics_name(&table, &far[i]);
        }

    } while (n && rc == NGX_OK);

    ngx_free(far);

    if (rc == NGX_OK) {
        ngx_egress_far_write(&report->text, &table);
    }

    return rc;
}


static ngx_int_t
ngx_egress_far_metrics_name(ngx_egress_far_table_t *table,
    ngx_egress_far_name_t *far)
{
    ngx_egress_far_row_t  *row, rest;

    row = &rest;

    if (far->configured && table->rows.nelts < table->bound) {

        row = ngx_egress_far_row(table);
        if (row == NULL) {
            return NGX_ERROR;
        }

        row->service.len = far->len;
        row->service.data = ngx_pnalloc(table->pool, far->len);
        if (row->service.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(row->service.data, far->text, far->len);
    }

    row->values[0] = far->lookups;
    row->values[1] = far->errors;
    row->values[2] = far->answered ? ngx_current_msec - far->answered : 0;

    if (row == &rest) {
        ngx_egress_far_other(table, row);
    }

    return NGX_OK;
}


static void
ngx_egress_far_metrics_zone(ngx_egress_report_t *report)
{
    ngx_uint_t              i;
    uint64_t                values[4];
    ngx_egress_far_zone_t   far;

    static ngx_egress_far_family_t  families[] = {
        { "egress_zone_size_bytes", "gauge", "The size of the zone.", 0 },
        { "egress_zone_free_bytes", "gauge", "In free pages.", 0 },
        { "egress_zone_full_total", "counter",
          "Times that there was no room in the zone.", 0 },
        { "egress_zone_processes", "gauge",
          "Processes that serve from the zone.", 0 }
    };

    if (ngx_egress_far_zone(&far) != NGX_OK) {
        return;
    }

    values[0] = far.size;
    values[1] = far.free;
    values[2] = far.full;
    values[3] = far.processes;

    for (i = 0; i < 4; i++) {
        ngx_egress_metric_family(&report->text, families[i].name,
                                 families[i].type, families[i].help);
        ngx_egress_metric_open(&report->text, families[i].name);
        ngx_egress_metric_value(&report->text, values[i]);
    }
}
