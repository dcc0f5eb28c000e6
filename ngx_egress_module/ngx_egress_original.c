
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


/* linux/netfilter_ipv4.h, and IP6T_SO_ORIGINAL_DST */
#define NGX_EGRESS_SO_ORIGINAL_DST  80


static ngx_int_t ngx_egress_original_proxied(ngx_egress_flow_t *flow,
    ngx_sockaddr_t *sa);
static ngx_int_t ngx_egress_original_redirected(ngx_connection_t *c,
    ngx_sockaddr_t *sa, ngx_sockaddr_t *local);
static ngx_uint_t ngx_egress_original_transparent(ngx_connection_t *c);
static void ngx_egress_original_plain(ngx_sockaddr_t *sa,
    struct sockaddr *from, socklen_t len);
static socklen_t ngx_egress_original_len(ngx_sockaddr_t *sa);


ngx_int_t
ngx_egress_original(ngx_egress_flow_t *flow, ngx_uint_t trusted)
{
    ngx_sockaddr_t      sa, local;
    ngx_connection_t   *c;
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    c = flow->connection;

    if (flow->original
        || (ecf->cidrs.index.buckets == NULL
            && ecf->outbound_policy != NGX_EGRESS_ALLOW_ANY))
    {
        return NGX_OK;
    }

    if (ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_egress_original_plain(&local, c->local_sockaddr, c->local_socklen);

    if (trusted && ngx_egress_original_proxied(flow, &sa) == NGX_OK) {
        flow->redirected = 1;

    } else if (ngx_egress_original_redirected(c, &sa, &local) == NGX_OK) {
        flow->redirected = 1;

    } else if (local.sockaddr.sa_family == AF_UNIX) {
        return NGX_OK;

    } else {
        sa = local;
        ngx_inet_set_port(&sa.sockaddr, flow->port);
        flow->redirected = ngx_egress_original_transparent(c);
    }

    /* what could not be dialled may only be looked up */

    if (!flow->redirected && ecf->cidrs.index.buckets == NULL) {
        return NGX_OK;
    }

    flow->original_len = ngx_egress_original_len(&sa);

    flow->original = ngx_palloc(flow->pool, flow->original_len);
    if (flow->original == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(flow->original, &sa, flow->original_len);

    return NGX_OK;
}


ngx_uint_t
ngx_egress_original_speaks_first(ngx_egress_flow_t *flow)
{
    ngx_egress_port_t  *settings;

    return flow->original
           && ngx_egress_cidr_find(
                          ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle),
                          flow->original, &settings)
           && settings->protocol == NGX_EGRESS_PROTO_MYSQL;
}


ngx_int_t
ngx_egress_original_peer(ngx_egress_flow_t *flow)
{
    ngx_egress_conf_t  *ecf;
    ngx_egress_peer_t  *peer;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    if (!flow->redirected) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "egress service \"%V\" has no address to dial: "
                      "the connection was not redirected",
                      &flow->service->name);
        return ngx_egress_deny(flow, NGX_EGRESS_ADDRESS_DENIED);
    }

    peer = ngx_pcalloc(flow->pool, sizeof(ngx_egress_peer_t));
    if (peer == NULL) {
        return ngx_egress_deny(flow, NGX_EGRESS_NO_HEALTHY_ENDPOINT);
    }

    peer->sockaddr = ngx_palloc(flow->pool, flow->original_len);
    if (peer->sockaddr == NULL) {
        return ngx_egress_deny(flow, NGX_EGRESS_NO_HEALTHY_ENDPOINT);
    }

    ngx_memcpy(peer->sockaddr, flow->original, flow->original_len);
    ngx_inet_set_port(peer->sockaddr, flow->target);

    peer->socklen = flow->original_len;

    if (ngx_egress_guard_check(ecf, flow->service, peer->sockaddr) != NGX_OK)
    {
        return ngx_egress_deny(flow, NGX_EGRESS_ADDRESS_DENIED);
    }

    flow->peers = peer;
    flow->npeers = 1;
    flow->next = 0;

    return NGX_OK;
}


/* a PROXY protocol header of a sender that "set_real_ip_from" trusts */

static ngx_int_t
ngx_egress_original_proxied(ngx_egress_flow_t *flow, ngx_sockaddr_t *sa)
{
    ngx_addr_t             addr;
    ngx_proxy_protocol_t  *pp;

    pp = flow->connection->proxy_protocol;

    if (pp == NULL || pp->dst_port == 0
        || ngx_parse_addr(flow->pool, &addr, pp->dst_addr.data,
                          pp->dst_addr.len)
           != NGX_OK)
    {
        return NGX_DECLINED;
    }

    ngx_egress_original_plain(sa, addr.sockaddr, addr.socklen);
    ngx_inet_set_port(&sa->sockaddr, pp->dst_port);

    return NGX_OK;
}


/* netfilter knows all connections, also those that were not redirected */

static ngx_int_t
ngx_egress_original_redirected(ngx_connection_t *c, ngx_sockaddr_t *sa,
    ngx_sockaddr_t *local)
{
#if (NGX_LINUX)

    int             level;
    socklen_t       len;
    ngx_sockaddr_t  dst;

    switch (local->sockaddr.sa_family) {

    case AF_INET:
        level = IPPROTO_IP;
        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        level = IPPROTO_IPV6;
        break;
#endif

    default:
        return NGX_DECLINED;
    }

    len = sizeof(ngx_sockaddr_t);
    ngx_memzero(&dst, len);

    if (getsockopt(c->fd, level, NGX_EGRESS_SO_ORIGINAL_DST, &dst, &len)
        == -1)
    {
        ngx_log_debug0(NGX_LOG_DEBUG_CORE, c->log, ngx_socket_errno,
                       "egress: no original destination");
        return NGX_DECLINED;
    }

    ngx_egress_original_plain(sa, &dst.sockaddr, len);

    if (ngx_cmp_sockaddr(&sa->sockaddr, ngx_egress_original_len(sa),
                         &local->sockaddr, ngx_egress_original_len(local), 1)
        == NGX_OK)
    {
        return NGX_DECLINED;
    }

    return NGX_OK;

#else

    return NGX_DECLINED;

#endif
}


/*
 * Unless the socket is transparent (TPROXY), its local address is this
 * machine's: to dial it would lead here.
 */

static ngx_uint_t
ngx_egress_original_transparent(ngx_connection_t *c)
{
#ifdef IP_TRANSPARENT

    int        on, level, name;
    socklen_t  len;

    on = 0;
    len = sizeof(int);

    level = IPPROTO_IP;
    name = IP_TRANSPARENT;

#ifdef IPV6_TRANSPARENT
    if (c->local_sockaddr->sa_family == AF_INET6) {
        level = IPPROTO_IPV6;
        name = IPV6_TRANSPARENT;
    }
#endif

    return getsockopt(c->fd, level, name, &on, &len) == 0 && on;

#else

    return 0;

#endif
}


/* IPv4 on a socket of IPv6 is IPv4 */

static void
ngx_egress_original_plain(ngx_sockaddr_t *sa, struct sockaddr *from,
    socklen_t len)
{
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    ngx_memzero(sa, sizeof(ngx_sockaddr_t));

#if (NGX_HAVE_INET6)

    sin6 = (struct sockaddr_in6 *) from;

    if (from->sa_family == AF_INET6
        && IN6_IS_ADDR_V4MAPPED(&sin6->sin6_addr))
    {
        sa->sockaddr_in.sin_family = AF_INET;
        sa->sockaddr_in.sin_port = sin6->sin6_port;
        ngx_memcpy(&sa->sockaddr_in.sin_addr, &sin6->sin6_addr.s6_addr[12],
                   4);
        return;
    }

#endif

    ngx_memcpy(sa, from, ngx_min((size_t) len, sizeof(ngx_sockaddr_t)));
}


static socklen_t
ngx_egress_original_len(ngx_sockaddr_t *sa)
{
#if (NGX_HAVE_INET6)
    if (sa->sockaddr.sa_family == AF_INET6) {
        return sizeof(struct sockaddr_in6);
    }
#endif

    return sizeof(struct sockaddr_in);
}
