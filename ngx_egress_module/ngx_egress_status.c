
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <nginx.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/* services of one report unless limit= says more; a page is some 200 KB */
#define NGX_EGRESS_STATUS_SERVICES  1000


static ngx_int_t ngx_egress_metrics_tls(ngx_egress_report_t *report);
static ngx_int_t ngx_egress_status_versions(ngx_egress_report_t *report);
static ngx_int_t ngx_egress_status_gateway(ngx_egress_report_t *report);
static ngx_int_t ngx_egress_status_services(ngx_egress_report_t *report);
static ngx_int_t ngx_egress_status_service(ngx_egress_report_t *report,
    ngx_egress_service_t *svc);

static ngx_int_t ngx_egress_explain_fill(ngx_egress_report_t *report,
    ngx_egress_flow_t *flow, ngx_str_t *choice);
static const char *ngx_egress_explain_addrs(ngx_egress_report_t *report);
static ngx_int_t ngx_egress_explain_host(ngx_egress_report_t *report,
    ngx_egress_flow_t *flow, ngx_str_t *choice);
static ngx_int_t ngx_egress_explain_protocol(ngx_egress_report_t *report,
    ngx_egress_flow_t *flow, ngx_str_t *choice);
static ngx_uint_t ngx_egress_explain_guess(ngx_egress_flow_t *flow,
    ngx_str_t *choice);
static void ngx_egress_explain_error(ngx_egress_report_t *report,
    const char *error);
static const char *ngx_egress_explain_route(ngx_egress_flow_t *flow,
    ngx_str_t *choice);
static ngx_int_t ngx_egress_explain_verdict(ngx_egress_report_t *report,
    ngx_egress_flow_t *flow, const char *found);


static ngx_str_t  ngx_egress_versions_name = ngx_string("versions");
static ngx_str_t  ngx_egress_gateway_name = ngx_string("gateway");
static ngx_str_t  ngx_egress_tls_part = ngx_string("tls");
static ngx_str_t  ngx_egress_services_name = ngx_string("services");


ngx_int_t
ngx_egress_status_init(ngx_conf_t *cf)
{
    if (ngx_egress_add_report(cf, NGX_EGRESS_REPORT_STATUS,
                              &ngx_egress_versions_name,
                              ngx_egress_status_versions)
        != NGX_OK
        || ngx_egress_add_report(cf, NGX_EGRESS_REPORT_STATUS,
                                 &ngx_egress_gateway_name,
                                 ngx_egress_status_gateway)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (ngx_egress_add_report(cf, NGX_EGRESS_REPORT_STATUS,
                              &ngx_egress_services_name,
                              ngx_egress_status_services)
        != NGX_OK
        || ngx_egress_add_report(cf, NGX_EGRESS_REPORT_METRICS,
                                 &ngx_egress_tls_part,
                                 ngx_egress_metrics_tls)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_egress_far_init(cf);
}


static ngx_int_t
ngx_egress_metrics_tls(ngx_egress_report_t *report)
{
    ngx_egress_text_t  *text;
    ngx_egress_zone_t  *zone;

    text = &report->text;
    zone = ngx_egress_endpoint_zone(NULL);

    ngx_egress_metric_family(text, "egress_tls_reloads_total", "counter",
                             "Certificates and revocation lists that changed "
                             "on disk and were read again, by each worker.");
    ngx_egress_metric_open(text, "egress_tls_reloads_total");
    ngx_egress_metric_value(text, zone->tls_reloads);

    ngx_egress_metric_family(text, "egress_tls_reload_failures_total",
                             "counter", "Those that could not be used.");
    ngx_egress_metric_open(text, "egress_tls_reload_failures_total");
    ngx_egress_metric_value(text, zone->tls_failures);

    ngx_egress_metric_family(text, "egress_tls_stale", "gauge",
                             "Those of all workers that can't be used as they "
                             "are on disk: older ones serve.");
    ngx_egress_metric_open(text, "egress_tls_stale");
    ngx_egress_metric_value(text, ngx_egress_endpoint_stale_total());

    return NGX_OK;
}


static ngx_int_t
ngx_egress_status_versions(ngx_egress_report_t *report)
{
    ngx_egress_conf_t  *ecf;
    ngx_egress_text_t  *text;

    text = &report->text;
    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    ngx_egress_json_open(text, NULL, '{');
    ngx_egress_json_cstring(text, "nginx", NGINX_VERSION);
    ngx_egress_json_cstring(text, "module", NGX_EGRESS_VERSION);
    ngx_egress_json_number(text, "configuration", NGX_EGRESS_CONF_VERSION);
    ngx_egress_json_number(text, "layout", NGX_EGRESS_ZONE_LAYOUT);
    ngx_egress_json_number(text, "generation", ecf->gen);
    ngx_egress_json_number(text, "pid", ngx_pid);
    ngx_egress_json_close(text);

    return NGX_OK;
}


static ngx_int_t
ngx_egress_status_gateway(ngx_egress_report_t *report)
{
    ngx_str_t          *domain;
    ngx_uint_t          i;
    ngx_egress_conf_t  *ecf;
    ngx_egress_text_t  *text;

    text = &report->text;
    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    domain = ecf->trust_domains->elts;

    ngx_egress_json_open(text, NULL, '{');
    ngx_egress_json_string(text, "name", &ecf->gateway);
    ngx_egress_json_string(text, "namespace", &ecf->gateway_namespace);
    ngx_egress_json_string(text, "service_account", &ecf->gateway_account);
    ngx_egress_json_cstring(text, "outbound_policy",
                            ecf->outbound_policy == NGX_EGRESS_ALLOW_ANY
                                ? "allow_any" : "registry_only");
    ngx_egress_json_open(text, "trust_domains", '[');

    for (i = 0; i < ecf->trust_domains->nelts; i++) {
        ngx_egress_json_string(text, NULL, &domain[i]);
    }

    ngx_egress_json_close(text);
    ngx_egress_json_number(text, "services", ecf->services.nelts);
    ngx_egress_json_close(text);

    return NGX_OK;
}


/* a page of them: offset= and limit=; "gateway" tells how many there are */

static ngx_int_t
ngx_egress_status_services(ngx_egress_report_t *report)
{
    ngx_uint_t              i, offset, limit;
    ngx_egress_conf_t      *ecf;
    ngx_egress_service_t  **svc;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    svc = ecf->services.elts;

    offset = 0;
    limit = NGX_EGRESS_STATUS_SERVICES;

    (void) ngx_egress_report_number(report, "offset", NGX_MAX_INT32_VALUE,
                                    &offset);
    (void) ngx_egress_report_number(report, "limit", NGX_MAX_INT32_VALUE,
                                    &limit);

    ngx_egress_json_open(&report->text, NULL, '[');

    for (i = offset; i < ecf->services.nelts && i - offset < limit; i++) {
        if (ngx_egress_status_service(report, svc[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_egress_json_close(&report->text);

    return NGX_OK;
}


static ngx_int_t
ngx_egress_status_service(ngx_egress_report_t *report,
    ngx_egress_service_t *svc)
{
    ngx_str_t          *host, *broken;
    ngx_uint_t          i;
    ngx_egress_port_t  *port;
    ngx_egress_text_t  *text;

    static const char  *resolutions[] = { "", "static", "dns", "dynamic" };

    text = &report->text;

    ngx_egress_json_open(text, NULL, '{');
    ngx_egress_json_string(text, "name", &svc->name);
    ngx_egress_json_open(text, "hosts", '[');

    host = svc->hosts ? svc->hosts->elts : NULL;

    for (i = 0; host && i < svc->hosts->nelts; i++) {
        ngx_egress_json_string(text, NULL, &host[i]);
    }

    ngx_egress_json_close(text);
    ngx_egress_json_open(text, "ports", '[');

    port = svc->ports->elts;

    for (i = 0; i < svc->ports->nelts; i++) {
        ngx_egress_json_open(text, NULL, '{');
        ngx_egress_json_number(text, "port", port[i].port);
        ngx_egress_json_string(text, "protocol",
                               ngx_egress_protocol_name(port[i].protocol));
        ngx_egress_json_number(text, "target", port[i].target);
        ngx_egress_json_close(text);
    }

    ngx_egress_json_close(text);
    ngx_egress_json_cstring(text, "resolution",
                            resolutions[svc->conf->resolution]);

    if (svc->source.len) {
        ngx_egress_json_string(text, "source", &svc->source);

    } else {
        ngx_egress_json_null(text, "source");
    }

    broken = ngx_egress_tls_flaw(svc);

    if (broken) {
        ngx_egress_json_string(text, "broken", broken);

    } else {
        ngx_egress_json_null(text, "broken");
    }

    if (ngx_egress_far_status_service(report, svc) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_egress_json_close(text);

    return NGX_OK;
}


ngx_int_t
ngx_egress_report_explain(ngx_egress_report_t *report)
{
    ngx_int_t           rc;
    ngx_str_t           choice;
    const char         *found;
    ngx_egress_flow_t  *flow;

    flow = ngx_pcalloc(report->text.pool, sizeof(ngx_egress_flow_t));
    if (flow == NULL) {
        return NGX_ERROR;
    }

    flow->pool = report->text.pool;
    flow->log = report->log;
    flow->explain = report;

    report->flow = flow;

    rc = ngx_egress_explain_fill(report, flow, &choice);

    if (rc != NGX_OK) {
        return rc;
    }

    found = ngx_egress_explain_route(flow, &choice);

    (void) ngx_egress_decide(flow, &choice);

    return ngx_egress_explain_verdict(report, flow, found);
}


static ngx_int_t
ngx_egress_explain_fill(ngx_egress_report_t *report, ngx_egress_flow_t *flow,
    ngx_str_t *choice)
{
    ngx_uint_t   port;
    const char  *error;

    error = report->unknown.len ? "an argument is unknown"
                                : ngx_egress_explain_addrs(report);
    if (error) {
        ngx_egress_explain_error(report, error);
        return NGX_DECLINED;
    }

    port = 443;

    if (report->arg(report, "port", choice) != NGX_DECLINED
        && (ngx_egress_report_number(report, "port", 65535, &port) != NGX_OK
            || port == 0))
    {
        ngx_egress_explain_error(report, "port is not a number of 1..65535");
        return NGX_DECLINED;
    }

    flow->port = (in_port_t) port;
    flow->declared = 1;

    ngx_str_null(choice);

    if (report->arg(report, "service", choice) == NGX_ERROR) {
        return NGX_ERROR;
    }

    return ngx_egress_explain_host(report, flow, choice);
}


/* of the steps that ask for addresses: what is none would match nothing */

static const char *
ngx_egress_explain_addrs(ngx_egress_report_t *report)
{
    ngx_str_t    text;
    ngx_addr_t   addr;
    ngx_uint_t   i;

    static const char  *names[] = { "source", "remote", "destination" };

    for (i = 0; i < 3; i++) {

        if (report->arg(report, names[i], &text) == NGX_OK
            && ngx_parse_addr(report->text.pool, &addr, text.data, text.len)
               != NGX_OK)
        {
            return "source, remote or destination is no address";
        }
    }

    return NULL;
}


ngx_uint_t
ngx_egress_explain_knows(ngx_str_t *name)
{
    ngx_uint_t  i;

    static ngx_str_t  names[] = {
        ngx_string("host"), ngx_string("port"), ngx_string("principal"),
        ngx_string("sni"), ngx_string("service"), ngx_string("protocol"),
        ngx_string("method"), ngx_string("path"), ngx_string("authority"),
        ngx_string("source"), ngx_string("remote"),
        ngx_string("destination"), ngx_string("limit")
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (name->len == names[i].len
            && ngx_strncasecmp(name->data, names[i].data, name->len) == 0)
        {
            return 1;
        }
    }

    return name->len > 7 && ngx_strncasecmp(name->data, (u_char *) "header.", 7)
                            == 0;
}


/* a name as an adapter hands it over: lower-cased, without a trailing dot */

static ngx_int_t
ngx_egress_explain_host(ngx_egress_report_t *report, ngx_egress_flow_t *flow,
    ngx_str_t *choice)
{
    ngx_str_t  *name[2];
    ngx_uint_t  i;

    name[0] = &flow->host;
    name[1] = &flow->sni;

    if (report->arg(report, "host", &flow->host) == NGX_ERROR
        || report->arg(report, "sni", &flow->sni) == NGX_ERROR)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < 2; i++) {

        ngx_strlow(name[i]->data, name[i]->data, name[i]->len);

        if (name[i]->len && name[i]->data[name[i]->len - 1] == '.') {
            name[i]->len--;
        }

        if (name[i]->len && name[i]->data[0] != '['
            && !ngx_egress_valid_host(name[i], 0))
        {
            ngx_egress_explain_error(report, "host or sni is no host name");
            return NGX_DECLINED;
        }
    }

    if (flow->host.len == 0 && flow->sni.len == 0 && choice->len == 0) {
        ngx_egress_explain_error(report, "host, sni or service is required");
        return NGX_DECLINED;
    }

    return ngx_egress_explain_protocol(report, flow, choice);
}


static ngx_int_t
ngx_egress_explain_protocol(ngx_egress_report_t *report,
    ngx_egress_flow_t *flow, ngx_str_t *choice)
{
    ngx_str_t   name;
    ngx_uint_t  protocol;

    switch (report->arg(report, "protocol", &name)) {

    case NGX_ERROR:
        return NGX_ERROR;

    case NGX_DECLINED:
        protocol = ngx_egress_explain_guess(flow, choice);
        break;

    default:
        if (name.len == 4 && ngx_strncmp(name.data, "http", 4) == 0) {
            protocol = NGX_EGRESS_PROTO_HTTP;

        } else if (name.len == 3 && ngx_strncmp(name.data, "tls", 3) == 0) {
            protocol = NGX_EGRESS_PROTO_TLS;

        } else if (name.len == 3 && ngx_strncmp(name.data, "tcp", 3) == 0) {
            protocol = NGX_EGRESS_PROTO_TCP;

        } else {
            ngx_egress_explain_error(report,
                                     "protocol is not http, tls or tcp");
            return NGX_DECLINED;
        }
    }

    flow->subsystem = (protocol == NGX_EGRESS_PROTO_HTTP)
                      ? NGX_EGRESS_HTTP : NGX_EGRESS_STREAM;

    /* where nothing is decided, the answer would be "allowed" */

    if (ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle)
            ->uses[flow->subsystem].block == NULL)
    {
        ngx_egress_explain_error(report, flow->subsystem == NGX_EGRESS_HTTP
                                         ? "no \"egress on\" in http"
                                         : "no \"egress on\" in stream");
        return NGX_DECLINED;
    }

    if (protocol != NGX_EGRESS_PROTO_TLS) {
        return NGX_OK;
    }

    /* in stream the name is what the hello says */

    flow->tls = 1;

    if (flow->sni.len == 0) {
        flow->sni = flow->host;
    }

    flow->host = flow->sni;

    return NGX_OK;
}


/* what a client of that port would speak to the gateway */

static ngx_uint_t
ngx_egress_explain_guess(ngx_egress_flow_t *flow, ngx_str_t *choice)
{
    in_port_t              target;
    ngx_str_t             *host, route;
    ngx_uint_t             protocol;
    ngx_egress_service_t  *svc;

    host = flow->host.len ? &flow->host : &flow->sni;
    protocol = NGX_EGRESS_PROTO_UNKNOWN;

    route = *choice;
    (void) ngx_egress_explain_route(flow, &route);

    if (route.len) {
        svc = ngx_egress_choice_service((ngx_cycle_t *) ngx_cycle, &route,
                                        flow->port, &protocol);

    } else {
        svc = ngx_egress_find_service((ngx_cycle_t *) ngx_cycle, host,
                                      flow->port, &protocol, &target);
    }

    switch (svc ? protocol : NGX_EGRESS_PROTO_UNKNOWN) {

    case NGX_EGRESS_PROTO_HTTP:
    case NGX_EGRESS_PROTO_HTTP2:
    case NGX_EGRESS_PROTO_GRPC:
        return NGX_EGRESS_PROTO_HTTP;

    case NGX_EGRESS_PROTO_HTTPS:
        return svc->conf->tls_mode == NGX_EGRESS_TLS_OFF
               ? NGX_EGRESS_PROTO_TLS : NGX_EGRESS_PROTO_HTTP;

    case NGX_EGRESS_PROTO_TLS:
        return NGX_EGRESS_PROTO_TLS;

    case NGX_EGRESS_PROTO_UNKNOWN:
        return flow->sni.len || flow->port == 443
               ? NGX_EGRESS_PROTO_TLS : NGX_EGRESS_PROTO_HTTP;

    default:
        return NGX_EGRESS_PROTO_TCP;
    }
}


static void
ngx_egress_explain_error(ngx_egress_report_t *report, const char *error)
{
    ngx_egress_json_open(&report->text, NULL, '{');
    ngx_egress_json_cstring(&report->text, "error", error);
    ngx_egress_json_close(&report->text);
    ngx_egress_text_str(&report->text, "\n");
}


/*
 * A service that a route has to choose ("lookup off") is found by its host
 * here: one that has the port, or else the only one.  Linear, and nobody's
 * traffic.  Says how the service is found.
 */

static const char *
ngx_egress_explain_route(ngx_egress_flow_t *flow, ngx_str_t *choice)
{
    in_port_t               target;
    ngx_str_t              *host;
    ngx_uint_t              i, n, protocol;
    ngx_egress_conf_t      *ecf;
    ngx_egress_service_t  **svc, *found;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    host = flow->host.len ? &flow->host : &flow->sni;

    if (choice->len) {
        return "argument";
    }

    if (ngx_egress_find_service((ngx_cycle_t *) ngx_cycle, host, flow->port,
                                &protocol, &target))
    {
        return "lookup";
    }

    svc = ecf->services.elts;
    found = NULL;
    n = 0;

    for (i = 0; i < ecf->services.nelts; i++) {

        if (svc[i]->conf->lookup
            || !ngx_egress_service_has_host(svc[i], host))
        {
            continue;
        }

        if (ngx_egress_service_port(svc[i], flow->port)) {
            found = svc[i];
            n = 1;
            break;
        }

        found = svc[i];
        n++;
    }

    if (n != 1) {
        return "lookup";
    }

    *choice = found->name;

    return "route";
}


static ngx_int_t
ngx_egress_explain_verdict(ngx_egress_report_t *report,
    ngx_egress_flow_t *flow, const char *found)
{
    ngx_str_t                 *broken;
    ngx_uint_t                 i;
    ngx_array_t               *parts;
    ngx_egress_text_t         *text;
    ngx_egress_report_part_t  *part;

    text = &report->text;

    ngx_egress_json_open(text, NULL, '{');
    ngx_egress_json_string(text, "verdict",
                           ngx_egress_verdict_name(flow->verdict));
    ngx_egress_json_string(text, "reason",
                           ngx_egress_reason_name(flow->reason));
    ngx_egress_json_cstring(text, "subsystem",
                            flow->subsystem == NGX_EGRESS_HTTP ? "http"
                                                               : "stream");
    ngx_egress_json_string(text, "host", &flow->host);
    ngx_egress_json_number(text, "port", flow->port);

    if (flow->service) {
        ngx_egress_json_cstring(text, "found_by", found);
        ngx_egress_json_string(text, "service", &flow->service->name);
        ngx_egress_json_string(text, "source", &flow->service->source);
        ngx_egress_json_string(text, "protocol",
                               ngx_egress_protocol_name(flow->protocol));
        ngx_egress_json_number(text, "target", flow->target);

        broken = ngx_egress_tls_flaw(flow->service);

        if (broken) {
            ngx_egress_json_string(text, "broken", broken);
        }

    } else {
        ngx_egress_json_null(text, "service");
    }

    ngx_egress_json_string(text, "policy", &flow->policy);

    parts = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle)
                ->parts[NGX_EGRESS_REPORT_EXPLAIN];

    part = parts ? parts->elts : NULL;

    for (i = 0; parts && i < parts->nelts; i++) {

        ngx_egress_json_key(text, part[i].name);

        if (part[i].handler(report) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_egress_json_close(text);
    ngx_egress_text_str(text, "\n");

    return text->failed ? NGX_ERROR : NGX_OK;
}
