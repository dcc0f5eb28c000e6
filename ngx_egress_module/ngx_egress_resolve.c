
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


static ngx_int_t ngx_egress_resolve_endpoints(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_resolve_host(ngx_egress_flow_t *flow);
static ngx_int_t ngx_egress_resolve_literal(ngx_egress_flow_t *flow,
    ngx_str_t *name);
static ngx_int_t ngx_egress_resolve_name(ngx_egress_flow_t *flow,
    ngx_str_t *name);
static void ngx_egress_resolve_handler(ngx_resolver_ctx_t *ctx);
static void ngx_egress_resolve_copy(ngx_egress_flow_t *flow,
    ngx_resolver_ctx_t *ctx);
static ngx_int_t ngx_egress_resolve_check(ngx_egress_flow_t *flow,
    struct sockaddr *sa, socklen_t socklen);
static ngx_int_t ngx_egress_add_peer(ngx_egress_flow_t *flow,
    struct sockaddr *sa, socklen_t socklen, in_port_t port);


ngx_int_t
ngx_egress_resolve(ngx_egress_flow_t *flow)
{
    if (flow->addressed && flow->service->resolution == NGX_EGRESS_DYNAMIC) {
        return ngx_egress_original_peer(flow);
    }

    flow->peers = ngx_pcalloc(flow->pool, NGX_EGRESS_TRIES
                                          * sizeof(ngx_egress_peer_t));
    if (flow->peers == NULL) {
        return ngx_egress_deny(flow, NGX_EGRESS_NO_HEALTHY_ENDPOINT);
    }

    flow->npeers = 0;
    flow->next = 0;

    if (flow->service->endpoints) {
        return ngx_egress_resolve_endpoints(flow);
    }

    return ngx_egress_resolve_host(flow);
}


void
ngx_egress_resolve_cancel(ngx_egress_flow_t *flow)
{
    ngx_resolver_ctx_t  *ctx;

    ctx = flow->resolve;

    if (ctx) {
        flow->resolve = NULL;
        ngx_resolve_name_done(ctx);
    }
}


/* what the configuration spells out is not subject to the guard */

static ngx_int_t
ngx_egress_resolve_endpoints(ngx_egress_flow_t *flow)
{
    ngx_uint_t              i, n, start;
    ngx_egress_endpoint_t  *ep, *e;

    ep = flow->service->endpoints->elts;
    n = flow->service->endpoints->nelts;
    start = (n > 1) ? (ngx_uint_t) ngx_random() % n : 0;

    if (ep[start].sockaddr == NULL) {

        if (ep[start].port) {
            flow->target = ep[start].port;
        }

        return ngx_egress_resolve_name(flow, &ep[start].address);
    }

    for (i = 0; i < n && flow->npeers < NGX_EGRESS_TRIES; i++) {

        e = &ep[(start + i) % n];

        if (e->sockaddr == NULL) {
            continue;
        }

        if (ngx_egress_add_peer(flow, e->sockaddr, e->socklen,
                                e->port ? e->port : flow->target)
            != NGX_OK)
        {
            return ngx_egress_deny(flow, NGX_EGRESS_NO_HEALTHY_ENDPOINT);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_resolve_host(ngx_egress_flow_t *flow)
{
    ngx_int_t              rc;
    ngx_str_t             *name, *hosts;
    ngx_egress_service_t  *svc;

    svc = flow->service;
    name = &flow->host;

    if (svc->resolution == NGX_EGRESS_DNS
        && !ngx_egress_service_has_host(svc, name))
    {
        hosts = svc->hosts->elts;
        name = &hosts[0];
    }

    rc = ngx_egress_resolve_literal(flow, name);

    if (rc != NGX_ABORT) {
        return rc;
    }

    if (!ngx_egress_valid_host(name, 0)) {
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    return ngx_egress_resolve_name(flow, name);
}


/* NGX_ABORT: the name is not an address */

static ngx_int_t
ngx_egress_resolve_literal(ngx_egress_flow_t *flow, ngx_str_t *name)
{
    ngx_int_t   rc;
    ngx_str_t   text;
    ngx_addr_t  addr;

    text = *name;

    if (text.len > 2 && text.data[0] == '[' && text.data[text.len - 1] == ']')
    {
        text.data++;
        text.len -= 2;
    }

    rc = ngx_parse_addr(flow->pool, &addr, text.data, text.len);

    if (rc == NGX_DECLINED) {
        return NGX_ABORT;
    }

    if (rc != NGX_OK) {
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    if (ngx_egress_resolve_check(flow, addr.sockaddr, addr.socklen)
        != NGX_OK)
    {
        return ngx_egress_deny(flow, NGX_EGRESS_ADDRESS_DENIED);
    }

    if (ngx_egress_add_peer(flow, addr.sockaddr, addr.socklen, flow->target)
        != NGX_OK)
    {
        return ngx_egress_deny(flow, NGX_EGRESS_NO_HEALTHY_ENDPOINT);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_resolve_name(ngx_egress_flow_t *flow, ngx_str_t *name)
{
    ngx_str_t            copy;
    ngx_egress_conf_t   *ecf;
    ngx_resolver_ctx_t  *ctx, temp;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    /* the resolver lower-cases the name in place */

    copy.len = name->len;
    copy.data = ngx_pstrdup(flow->pool, name);
    if (copy.data == NULL) {
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    temp.name = copy;

    ctx = ngx_resolve_start(ecf->resolver, &temp);

    if (ctx == NULL || ctx == NGX_NO_RESOLVER) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "no resolver defined to resolve %V", name);
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    ctx->name = copy;
    ctx->handler = ngx_egress_resolve_handler;
    ctx->data = flow;
    ctx->timeout = ecf->resolver_timeout;

    flow->resolve = ctx;

    /* the handler may run inside of ngx_resolve_name() */

    flow->inside = 1;

    if (ngx_resolve_name(ctx) != NGX_OK) {
        flow->inside = 0;
        flow->resolve = NULL;
        return ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);
    }

    flow->inside = 0;

    if (flow->resolve) {
        return NGX_AGAIN;
    }

    return flow->npeers ? NGX_OK : NGX_DECLINED;
}


static void
ngx_egress_resolve_handler(ngx_resolver_ctx_t *ctx)
{
    ngx_egress_flow_t  *flow;

    flow = ctx->data;

    if (ctx->state) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "%V could not be resolved (%i: %s)",
                      &ctx->name, ctx->state,
                      ngx_resolver_strerror(ctx->state));

        (void) ngx_egress_deny(flow, NGX_EGRESS_DNS_FAILED);

    } else {
        ngx_egress_resolve_copy(flow, ctx);
    }

    flow->resolve = NULL;
    ngx_resolve_name_done(ctx);

    if (!flow->inside) {
        flow->wake(flow);
    }
}


static void
ngx_egress_resolve_copy(ngx_egress_flow_t *flow, ngx_resolver_ctx_t *ctx)
{
    ngx_uint_t        i, refused;
    struct sockaddr  *sa;

    refused = 0;

    for (i = 0; i < ctx->naddrs && flow->npeers < NGX_EGRESS_TRIES; i++) {

        sa = ctx->addrs[i].sockaddr;

        if (ngx_egress_resolve_check(flow, sa, ctx->addrs[i].socklen)
            != NGX_OK)
        {
            refused = 1;
            continue;
        }

        if (ngx_egress_add_peer(flow, sa, ctx->addrs[i].socklen,
                                flow->target)
            != NGX_OK)
        {
            break;
        }
    }

    if (flow->npeers == 0) {
        (void) ngx_egress_deny(flow, refused ? NGX_EGRESS_ADDRESS_DENIED
                                             : NGX_EGRESS_DNS_FAILED);
    }
}


/* the guard has to see the port that is dialled */

static ngx_int_t
ngx_egress_resolve_check(ngx_egress_flow_t *flow, struct sockaddr *sa,
    socklen_t socklen)
{
    ngx_sockaddr_t      copy;
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    ngx_memcpy(&copy, sa, socklen);
    ngx_inet_set_port(&copy.sockaddr, flow->target);

    return ngx_egress_guard_check(ecf, flow->service, &copy.sockaddr);
}


static ngx_int_t
ngx_egress_add_peer(ngx_egress_flow_t *flow, struct sockaddr *sa,
    socklen_t socklen, in_port_t port)
{
    ngx_egress_peer_t  *peer;

    peer = &flow->peers[flow->npeers];

    peer->sockaddr = ngx_palloc(flow->pool, socklen);
    if (peer->sockaddr == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(peer->sockaddr, sa, socklen);
    peer->socklen = socklen;

    if (sa->sa_family != AF_UNIX) {
        ngx_inet_set_port(peer->sockaddr, port);
    }

    flow->npeers++;

    return NGX_OK;
}
