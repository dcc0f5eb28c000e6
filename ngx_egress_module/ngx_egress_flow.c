
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


static void ngx_egress_flow_reset(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_choose(ngx_egress_conf_t *ecf,
    ngx_egress_flow_t *flow, ngx_str_t *choice);
static ngx_egress_port_t *ngx_egress_choose_port(ngx_cycle_t *cycle,
    ngx_str_t *choice, in_port_t asked, ngx_egress_service_t **svc,
    ngx_str_t *subset);
static ngx_uint_t ngx_egress_has_subset(ngx_egress_service_t *svc,
    ngx_str_t *name);
static ngx_int_t ngx_egress_lookup(ngx_egress_conf_t *ecf,
    ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_lookup_address(ngx_egress_conf_t *ecf,
    ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_name(ngx_egress_flow_t *flow);
static ngx_uint_t ngx_egress_disagreement(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_flow_flags(ngx_egress_flow_t *flow,
    ngx_str_t *value);


typedef struct {
    ngx_str_t                 name;
    ngx_str_t                 flag;
    ngx_uint_t                status;
} ngx_egress_reason_t;


/* in the order of ngx_egress_reason_e; the flags are Envoy's */

static ngx_egress_reason_t  ngx_egress_reasons[] = {
    { ngx_string("-"), ngx_string("-"), 200 },
    { ngx_string("registry_miss"), ngx_string("NR"), 502 },
    { ngx_string("authz_denied"), ngx_string("-"), 403 },
    { ngx_string("no_identity"), ngx_string("-"), 403 },
    { ngx_string("address_denied"), ngx_string("UAEX"), 403 },
    { ngx_string("rate_limited"), ngx_string("RL"), 429 },
    { ngx_string("circuit_open"), ngx_string("UO"), 503 },
    { ngx_string("no_healthy_endpoint"), ngx_string("UH"), 503 },
    { ngx_string("connect_failed"), ngx_string("UF"), 503 },
    { ngx_string("tls_failed"), ngx_string("UF"), 503 },
    { ngx_string("dns_failed"), ngx_string("DF"), 503 },
    { ngx_string("service_broken"), ngx_string("UH"), 503 },
    { ngx_string("upstream_timeout"), ngx_string("UT"), 504 },
    { ngx_string("bad_client_hello"), ngx_string("DC"), 400 },
    { ngx_string("not_tls"), ngx_string("DC"), 400 },
    { ngx_string("ech_denied"), ngx_string("DC"), 403 }
};


static ngx_str_t  ngx_egress_verdicts[] = {
    ngx_string("-"),
    ngx_string("allowed"),
    ngx_string("denied"),
    ngx_string("reported")
};


ngx_str_t *
ngx_egress_reason_name(ngx_uint_t reason)
{
    return &ngx_egress_reasons[reason].name;
}


ngx_str_t *
ngx_egress_reason_flag(ngx_uint_t reason)
{
    return &ngx_egress_reasons[reason].flag;
}


ngx_uint_t
ngx_egress_reason_status(ngx_uint_t reason)
{
    return ngx_egress_reasons[reason].status;
}


ngx_str_t *
ngx_egress_verdict_name(ngx_uint_t verdict)
{
    return &ngx_egress_verdicts[verdict];
}


ngx_int_t
ngx_egress_decide(ngx_egress_flow_t *flow, ngx_str_t *choice)
{
    ngx_int_t            rc;
    ngx_uint_t           i, reason;
    ngx_egress_conf_t   *ecf;
    ngx_egress_step_pt   step;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    ngx_egress_flow_reset(flow);

    if (ngx_egress_choose(ecf, flow, choice) != NGX_OK) {
        return ngx_egress_deny(flow, NGX_EGRESS_REGISTRY_MISS);
    }

    for (i = 0; i < NGX_EGRESS_STEPS; i++) {

        /* who is refused for this pays no token, and who may not, learns not */

        reason = (i == NGX_EGRESS_STEP_RATELIMIT)
                 ? ngx_egress_disagreement(flow) : 0;

        if (reason) {
            return ngx_egress_deny(flow, reason);
        }

        step = ecf->steps[flow->subsystem][i];

        if (step == NULL
            || (flow->explain && i == NGX_EGRESS_STEP_RATELIMIT))
        {
            continue;
        }

        rc = step(flow);

        if (rc == NGX_OK) {
            continue;
        }

        if (rc != NGX_DECLINED || flow->verdict != NGX_EGRESS_DENIED) {
            return ngx_egress_deny(flow, NGX_EGRESS_SERVICE_BROKEN);
        }

        return NGX_DECLINED;
    }

    if (flow->verdict != NGX_EGRESS_REPORTED) {
        flow->verdict = NGX_EGRESS_ALLOWED;
    }

    ngx_log_debug4(NGX_LOG_DEBUG_CORE, flow->log, 0,
                   "egress allowed: service \"%V\" host \"%V\" port %ui "
                   "target %ui", &flow->service->name, &flow->host,
                   (ngx_uint_t) flow->port, (ngx_uint_t) flow->target);

    return NGX_OK;
}


ngx_int_t
ngx_egress_deny(ngx_egress_flow_t *flow, ngx_uint_t reason)
{
    static ngx_str_t  none = ngx_string("-");

    flow->verdict = NGX_EGRESS_DENIED;
    flow->reason = reason;

    if (flow->explain) {
        return NGX_DECLINED;
    }

    ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                  "egress denied: reason %V, service \"%V\", host \"%V\", "
                  "port %ui, principal \"%V\", policy \"%V\"",
                  ngx_egress_reason_name(reason),
                  flow->service ? &flow->service->name : &none,
                  flow->host.len ? &flow->host : &none,
                  (ngx_uint_t) flow->port,
                  flow->identity && flow->identity->principal.len
                      ? &flow->identity->principal : &none,
                  flow->policy.len ? &flow->policy : &none);

    return NGX_DECLINED;
}


void
ngx_egress_fail(ngx_egress_flow_t *flow, ngx_uint_t reason)
{
    flow->reason = reason;

    ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                  "egress failed: reason %V, service \"%V\", host \"%V\", "
                  "port %ui", ngx_egress_reason_name(reason),
                  &flow->service->name, &flow->host, (ngx_uint_t) flow->port);
}


static void
ngx_egress_flow_reset(ngx_egress_flow_t *flow)
{
    ngx_egress_release(flow);

    flow->service = NULL;
    flow->protocol = NGX_EGRESS_PROTO_UNKNOWN;
    flow->target = 0;
    flow->addressed = 0;
    flow->verdict = NGX_EGRESS_UNDECIDED;
    flow->reason = NGX_EGRESS_REASON_NONE;
    flow->status = 0;
    flow->headers = NULL;
    flow->body = NULL;
    flow->peers = NULL;
    flow->npeers = 0;
    flow->next = 0;
    flow->peer = NULL;
    flow->exhausted = 0;
    flow->overflow = 0;

    ngx_str_null(&flow->subset);
    ngx_str_null(&flow->policy);
    ngx_str_null(&flow->bucket);
}


static ngx_int_t
ngx_egress_choose(ngx_egress_conf_t *ecf, ngx_egress_flow_t *flow,
    ngx_str_t *choice)
{
    ngx_uint_t             named;
    ngx_egress_port_t     *port;
    ngx_egress_service_t  *svc;

    if (choice == NULL || choice->len == 0) {
        return ngx_egress_lookup(ecf, flow);
    }

    port = ngx_egress_choose_port((ngx_cycle_t *) ngx_cycle, choice,
                                  flow->port, &svc, &flow->subset);

    if (port == NULL) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "egress service, its subset or its port not found "
                      "in \"%V\"", choice);
        return NGX_DECLINED;
    }

    flow->service = svc;
    flow->protocol = port->protocol;
    flow->target = port->target;

    /* policies are about the service's port, whatever listener leads to it */

    if (!flow->declared) {
        flow->port = port->port;
    }

    named = (flow->subsystem == NGX_EGRESS_HTTP
             || (flow->tls && flow->host.len));

    flow->addressed = (!named && svc->cidrs && flow->redirected
                       && ngx_cidr_match(flow->original, svc->cidrs)
                          == NGX_OK);

    /* the name that a client without TLS could claim counts for nothing */

    if (flow->subsystem == NGX_EGRESS_STREAM && !flow->tls
        && ngx_egress_name(flow) != NGX_OK)
    {
        return NGX_DECLINED;
    }

    /* the name asked for is dialled: it has to be one of the service's */

    if (svc->conf->resolution == NGX_EGRESS_DYNAMIC && !flow->addressed
        && !ngx_egress_service_has_host(svc, &flow->host))
    {
        flow->service = NULL;
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * "name[/subset]" with the port asked for, or else its first one; or
 * "name[/subset]:port"
 */

static ngx_egress_port_t *
ngx_egress_choose_port(ngx_cycle_t *cycle, ngx_str_t *choice,
    in_port_t asked, ngx_egress_service_t **svc, ngx_str_t *subset)
{
    u_char             *p, *slash, *last;
    ngx_int_t           n;
    ngx_str_t           name;
    ngx_egress_port_t  *port;

    name = *choice;
    last = name.data + name.len;

    p = ngx_strlchr(name.data, last, ':');

    if (p) {
        name.len = p - name.data;
    }

    ngx_str_null(subset);

    slash = ngx_strlchr(name.data, name.data + name.len, '/');

    if (slash) {
        subset->data = slash + 1;
        subset->len = name.data + name.len - subset->data;
        name.len = slash - name.data;
    }

    *svc = ngx_egress_find_name(cycle, &name);

    if (*svc == NULL || (slash && !ngx_egress_has_subset(*svc, subset))) {
        return NULL;
    }

    if (p) {
        n = ngx_atoi(p + 1, last - p - 1);

        return (n < 1 || n > 65535) ? NULL : ngx_egress_service_port(*svc, n);
    }

    port = ngx_egress_service_port(*svc, asked);

    return port ? port : (*svc)->ports->elts;
}


static ngx_uint_t
ngx_egress_has_subset(ngx_egress_service_t *svc, ngx_str_t *name)
{
    ngx_uint_t            i;
    ngx_egress_subset_t  *subset;

    if (svc->subsets == NULL) {
        return 0;
    }

    subset = svc->subsets->elts;

    for (i = 0; i < svc->subsets->nelts; i++) {
        if (subset[i].name.len == name->len
            && ngx_memcmp(subset[i].name.data, name->data, name->len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_egress_lookup(ngx_egress_conf_t *ecf, ngx_egress_flow_t *flow)
{
    if (flow->host.len == 0) {
        return ngx_egress_lookup_address(ecf, flow);
    }

    flow->service = ngx_egress_find_service((ngx_cycle_t *) ngx_cycle,
                                            &flow->host, flow->port,
                                            &flow->protocol, &flow->target);
    if (flow->service) {
        return NGX_OK;
    }

    if (ecf->outbound_policy != NGX_EGRESS_ALLOW_ANY) {
        return NGX_DECLINED;
    }

    flow->service = &ecf->any;
    flow->target = flow->port;

    if (flow->tls) {
        flow->protocol = NGX_EGRESS_PROTO_TLS;

    } else {
        flow->protocol = (flow->subsystem == NGX_EGRESS_HTTP)
                         ? NGX_EGRESS_PROTO_HTTP : NGX_EGRESS_PROTO_TCP;
    }

    return NGX_OK;
}


/* the port is the original destination's too: policies are about it */

static ngx_int_t
ngx_egress_lookup_address(ngx_egress_conf_t *ecf, ngx_egress_flow_t *flow)
{
    ngx_egress_port_t  *settings;

    if (flow->original == NULL) {
        return NGX_DECLINED;
    }

    flow->service = ngx_egress_cidr_find(ecf, flow->original, &settings);

    if (flow->service) {
        flow->protocol = settings->protocol;
        flow->target = settings->target;

    } else if (ecf->outbound_policy == NGX_EGRESS_ALLOW_ANY
               && flow->redirected)
    {
        flow->service = &ecf->any;
        flow->protocol = flow->tls ? NGX_EGRESS_PROTO_TLS
                                   : NGX_EGRESS_PROTO_TCP;
        flow->target = ngx_inet_get_port(flow->original);

    } else {

        /* for the log: what would have to be registered */

        flow->port = ngx_inet_get_port(flow->original);
        (void) ngx_egress_name(flow);

        return NGX_DECLINED;
    }

    flow->addressed = 1;
    flow->port = ngx_inet_get_port(flow->original);

    return ngx_egress_name(flow);
}


/* who tells no name gets the service's, or the address's text */

static ngx_int_t
ngx_egress_name(ngx_egress_flow_t *flow)
{
    u_char     *p;
    ngx_str_t  *hosts;

    if (flow->service && flow->service->hosts) {
        hosts = flow->service->hosts->elts;
        flow->host = hosts[0];
        return NGX_OK;
    }

    ngx_str_null(&flow->host);

    if (flow->original == NULL) {
        return NGX_OK;
    }

    p = ngx_pnalloc(flow->pool, NGX_SOCKADDR_STRLEN);
    if (p == NULL) {
        return NGX_ERROR;
    }

    flow->host.len = ngx_sock_ntop(flow->original, flow->original_len, p,
                                   NGX_SOCKADDR_STRLEN, 0);
    flow->host.data = p;

    return NGX_OK;
}


/* what was asked for and what the service is have to go together */

static ngx_uint_t
ngx_egress_disagreement(ngx_egress_flow_t *flow)
{
    ngx_str_t             *broken;
    ngx_uint_t             secure;
    ngx_egress_service_t  *svc;

    svc = flow->service;

    broken = ngx_egress_tls_broken(svc);

    if (broken) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "egress service \"%V\" is refused: %V",
                      &svc->name, broken);
        return NGX_EGRESS_SERVICE_BROKEN;
    }

    if (flow->ech && svc->conf->ech == NGX_EGRESS_ECH_DENY) {
        return NGX_EGRESS_ECH_DENIED;
    }

    secure = (flow->protocol == NGX_EGRESS_PROTO_TLS
              || flow->protocol == NGX_EGRESS_PROTO_HTTPS);

    if (!secure || flow->tls || svc->conf->tls_mode != NGX_EGRESS_TLS_OFF) {
        return NGX_EGRESS_REASON_NONE;
    }

    if (flow->subsystem == NGX_EGRESS_STREAM) {
        return NGX_EGRESS_NOT_TLS;
    }

    ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                  "egress service \"%V\" has protocol \"%V\" and \"tls off\": "
                  "refusing to send plaintext", &svc->name,
                  ngx_egress_protocol_name(flow->protocol));

    return NGX_EGRESS_SERVICE_BROKEN;
}


ngx_uint_t
ngx_egress_speaks_first(ngx_str_t *choice, in_port_t port)
{
    ngx_str_t              subset;
    ngx_egress_port_t     *p;
    ngx_egress_service_t  *svc;

    p = ngx_egress_choose_port((ngx_cycle_t *) ngx_cycle, choice, port, &svc,
                               &subset);

    return p && p->protocol == NGX_EGRESS_PROTO_MYSQL;
}


ngx_uint_t
ngx_egress_choice_protocol(ngx_cycle_t *cycle, ngx_str_t *choice,
    in_port_t port)
{
    ngx_str_t              subset;
    ngx_egress_port_t     *p;
    ngx_egress_service_t  *svc;

    p = ngx_egress_choose_port(cycle, choice, port, &svc, &subset);

    return p ? p->protocol : NGX_EGRESS_PROTO_UNKNOWN;
}


ngx_egress_service_t *
ngx_egress_choice_service(ngx_cycle_t *cycle, ngx_str_t *choice,
    in_port_t port, ngx_uint_t *protocol)
{
    ngx_str_t              subset;
    ngx_egress_port_t     *p;
    ngx_egress_service_t  *svc;

    p = ngx_egress_choose_port(cycle, choice, port, &svc, &subset);

    if (p == NULL) {
        return NULL;
    }

    *protocol = p->protocol;

    return svc;
}


ngx_uint_t
ngx_egress_protocol_fits(ngx_uint_t protocol, ngx_uint_t http2)
{
    switch (protocol) {

    case NGX_EGRESS_PROTO_HTTP:
        return !http2;

    case NGX_EGRESS_PROTO_HTTP2:
    case NGX_EGRESS_PROTO_GRPC:
        return http2 != 0;

    default:
        return 1;
    }
}


ngx_int_t
ngx_egress_flow_value(ngx_egress_flow_t *flow, ngx_uint_t var,
    ngx_str_t *value)
{
    ngx_str_null(value);

    switch (var) {

    case NGX_EGRESS_VAR_SERVICE:
        if (flow->service) {
            *value = flow->service->name;
        }

        break;

    case NGX_EGRESS_VAR_HOST:
        *value = flow->host;
        break;

    case NGX_EGRESS_VAR_PORT:
        value->data = ngx_pnalloc(flow->pool, NGX_INT_T_LEN);
        if (value->data == NULL) {
            return NGX_DECLINED;
        }

        value->len = ngx_sprintf(value->data, "%ui", (ngx_uint_t) flow->port)
                     - value->data;
        break;

    case NGX_EGRESS_VAR_PROTOCOL:
        if (flow->service) {
            *value = *ngx_egress_protocol_name(flow->protocol);
        }

        break;

    case NGX_EGRESS_VAR_SNI:
        *value = flow->sni;
        break;

    case NGX_EGRESS_VAR_ALPN:
        *value = flow->alpn;
        break;

    case NGX_EGRESS_VAR_ECH:
        value->len = 1;
        value->data = (u_char *) (flow->ech ? "1" : "0");
        break;

    case NGX_EGRESS_VAR_VERDICT:
        *value = *ngx_egress_verdict_name(flow->verdict);
        break;

    case NGX_EGRESS_VAR_REASON:
        *value = *ngx_egress_reason_name(flow->reason);
        break;

    case NGX_EGRESS_VAR_POLICY:
        *value = flow->policy;
        break;

    case NGX_EGRESS_VAR_BUCKET:
        *value = flow->bucket;
        break;

    case NGX_EGRESS_VAR_FLAGS:
        return ngx_egress_flow_flags(flow, value);

    case NGX_EGRESS_VAR_ENDPOINT:
        if (flow->peer) {
            *value = flow->peer->name;
        }

        break;

    case NGX_EGRESS_VAR_TLS_ERROR:
        if (flow->tls_error) {
            value->data = (u_char *) flow->tls_error;
            value->len = ngx_strlen(flow->tls_error);
        }

        break;
    }

    return value->len ? NGX_OK : NGX_DECLINED;
}


/* as Envoy joins them: in http the retries first, in stream last */

static ngx_int_t
ngx_egress_flow_flags(ngx_egress_flow_t *flow, ngx_str_t *value)
{
    u_char     *p;
    ngx_str_t  *flag;

    static ngx_str_t  exhausted = ngx_string("URX");
    static ngx_str_t  overflow = ngx_string("UO");

    flag = ngx_egress_reason_flag(flow->reason);

    if (!flow->exhausted && !flow->overflow) {
        *value = *flag;
        return NGX_OK;
    }

    if (flow->reason == NGX_EGRESS_REASON_NONE) {
        *value = flow->exhausted ? exhausted : overflow;
        return NGX_OK;
    }

    value->data = ngx_pnalloc(flow->pool, sizeof("URX,UO,") + flag->len);
    if (value->data == NULL) {
        return NGX_DECLINED;
    }

    if (flow->subsystem == NGX_EGRESS_STREAM) {
        p = ngx_sprintf(value->data, "%V,%V", flag, &exhausted);

    } else {
        p = ngx_sprintf(value->data, "%V,%V", flow->exhausted ? &exhausted
                                                              : &overflow,
                        flag);
    }

    value->len = p - value->data;

    return NGX_OK;
}


/* bytes that are TLS already are carried unchanged */

ngx_uint_t
ngx_egress_originates(ngx_egress_flow_t *flow)
{
    return flow->service->conf->tls_mode != NGX_EGRESS_TLS_OFF && !flow->tls;
}


ngx_msec_t
ngx_egress_connect_timeout(ngx_egress_flow_t *flow)
{
    return flow->service->conf->connect_timeout;
}


ngx_msec_t
ngx_egress_idle_timeout(ngx_egress_flow_t *flow)
{
    return flow->service->conf->idle_timeout;
}
