
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_TLS_H_INCLUDED_
#define _NGX_EGRESS_TLS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress.h>


/*
 * The TLS context for an allowed flow whose service originates TLS
 * (ngx_egress_originates() is true); belongs to the configuration.
 */
ngx_ssl_t *ngx_egress_tls_ssl(ngx_egress_flow_t *flow);

/*
 * Keeps the session of a connection of the flow for the next one of the same
 * identity: same service, same context, same name, same endpoint.  Called in
 * the worker when there is a session, with TLSv1.3 after the handshake.
 */
void ngx_egress_tls_save(ngx_egress_flow_t *flow, ngx_connection_t *c);

/*
 * Sets SNI, ALPN and the names to verify (RFC 6066, RFC 7301, RFC 9525) of a
 * connection to the flow's service; c->ssl has been created, the handshake
 * not been started.  NGX_ERROR: the connection must be given up.
 */
ngx_int_t ngx_egress_tls_setup(ngx_egress_flow_t *flow, ngx_connection_t *c);

/*
 * A connection whose handshake is over is about to carry a request: what is
 * read of the answer first is one SSL_read(), which for most is all of it,
 * without the second one that finds nothing.
 */
void ngx_egress_tls_expect(ngx_connection_t *c);

/*
 * Is nothing left of what the far side sent, but records without data (RFC
 * 8446, 4.6).  What is left would be the next request's answer; a record that
 * OpenSSL has read ahead and not decrypted is neither in SSL_pending() nor in
 * the socket.
 */
ngx_uint_t ngx_egress_tls_quiet(ngx_connection_t *c);

/*
 * Whether no name of tls_alpn lets the far side choose another version of HTTP
 * than the flow's location speaks; for flows of http to a service with TLS.
 */
ngx_uint_t ngx_egress_tls_alpn_fits(ngx_egress_flow_t *flow);

/*
 * The name to say in SNI and, without tls_san, to verify: tls_name, or the
 * name asked for if it is the service's, or the service's first; empty for a
 * service without a host.  NULL: it has a wildcard, and the name asked for is
 * not of it.
 */
ngx_str_t *ngx_egress_tls_server_name(ngx_egress_flow_t *flow);


#endif /* _NGX_EGRESS_TLS_H_INCLUDED_ */
