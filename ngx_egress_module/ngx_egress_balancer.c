
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


ngx_egress_peer_t *
ngx_egress_next_peer(ngx_egress_flow_t *flow)
{
    u_char             *p;
    ngx_egress_peer_t  *peer;

    if (flow->verdict != NGX_EGRESS_ALLOWED
        && flow->verdict != NGX_EGRESS_REPORTED)
    {
        ngx_log_error(NGX_LOG_ALERT, flow->log, 0,
                      "egress refuses to dial without a verdict");
        return NULL;
    }

    if (flow->next >= flow->npeers) {
        return NULL;
    }

    peer = &flow->peers[flow->next];

    if (peer->name.len == 0) {
        p = ngx_pnalloc(flow->pool, NGX_SOCKADDR_STRLEN);
        if (p == NULL) {
            return NULL;
        }

        peer->name.len = ngx_sock_ntop(peer->sockaddr, peer->socklen, p,
                                       NGX_SOCKADDR_STRLEN, 1);
        peer->name.data = p;
    }

    flow->next++;
    flow->peer = peer;

    return peer;
}
