
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_authz.h>

#include <openssl/x509v3.h>


static ngx_egress_identity_t *ngx_egress_identity_cached(ngx_pool_t *pool);
static void ngx_egress_identity_cleanup(void *data);
static ngx_int_t ngx_egress_identity_find(ngx_connection_t *c,
    ngx_egress_identity_t *id);
static X509 *ngx_egress_identity_leaf(ngx_connection_t *c,
    ngx_egress_identity_t *id);
static ngx_int_t ngx_egress_identity_usage(X509 *cert,
    ngx_egress_identity_t *id);
static ngx_int_t ngx_egress_identity_uri(ngx_connection_t *c, X509 *cert,
    ngx_egress_identity_t *id, ngx_str_t *uri);
static ngx_int_t ngx_egress_identity_names(GENERAL_NAMES *names,
    ngx_egress_identity_t *id, ASN1_STRING **uri);


/* no identity yet, or never: not cached, and nobody writes to them */

static ngx_egress_identity_t  ngx_egress_identity_no_tls = {
    ngx_null_string, ngx_null_string, ngx_null_string, ngx_null_string,
    ngx_string("client speaks no TLS to the gateway")
};


static ngx_egress_identity_t  ngx_egress_identity_handshake = {
    ngx_null_string, ngx_null_string, ngx_null_string, ngx_null_string,
    ngx_string("TLS handshake is not done")
};


/* of an administrator's question: with or without "spiffe://", or none */

ngx_int_t
ngx_egress_identity_asked(ngx_egress_flow_t *flow)
{
    ngx_str_t               value, uri;
    ngx_egress_identity_t  *id;

    id = ngx_pcalloc(flow->pool, sizeof(ngx_egress_identity_t));
    if (id == NULL) {
        return NGX_ERROR;
    }

    flow->identity = id;

    switch (flow->explain->arg(flow->explain, "principal", &value)) {

    case NGX_ERROR:
        return NGX_ERROR;

    case NGX_DECLINED:
        ngx_str_set(&id->error, "no principal was given");
        return NGX_OK;
    }

    uri = value;

    if (value.len < 9 || ngx_strncmp(value.data, "spiffe://", 9) != 0) {

        uri.len = sizeof("spiffe://") - 1 + value.len;
        uri.data = ngx_pnalloc(flow->pool, uri.len);
        if (uri.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(ngx_cpymem(uri.data, "spiffe://", 9), value.data,
                   value.len);
    }

    if (ngx_egress_spiffe_parse(&uri, id) == NGX_OK
        && id->principal.len == id->trust_domain.len)
    {
        ngx_memzero(id, sizeof(ngx_egress_identity_t));
        ngx_str_set(&id->error, "SPIFFE ID without path");
    }

    return NGX_OK;
}


ngx_egress_identity_t *
ngx_egress_identity(ngx_connection_t *c)
{
    ngx_int_t               rc;
    ngx_pool_cleanup_t     *cln;
    ngx_egress_identity_t  *id;

    if (c->ssl == NULL) {
        return &ngx_egress_identity_no_tls;
    }

    /* nginx calls a connection with early data handshaked */

    if (!c->ssl->handshaked || !SSL_is_init_finished(c->ssl->connection)) {
        return &ngx_egress_identity_handshake;
    }

    id = ngx_egress_identity_cached(c->pool);
    if (id) {
        return id;
    }

    id = ngx_pcalloc(c->pool, sizeof(ngx_egress_identity_t));
    if (id == NULL) {
        return NULL;
    }

    rc = ngx_egress_identity_find(c, id);

    /* a certificate that can't be parsed leaves its errors in the queue */

    ERR_clear_error();

    if (rc == NGX_ERROR) {
        return NULL;
    }

    cln = ngx_pool_cleanup_add(c->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_egress_identity_cleanup;
    cln->data = id;

    if (rc == NGX_DECLINED) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "client has no identity: %V", &id->error);
    }

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0,
                   "egress identity: \"%V\"", &id->principal);

    return id;
}


/*
 * All requests of a connection, and all streams of an HTTP/2 one, share its
 * pool; the cleanup is there only to be found.
 */

static ngx_egress_identity_t *
ngx_egress_identity_cached(ngx_pool_t *pool)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_egress_identity_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static void
ngx_egress_identity_cleanup(void *data)
{
}


/* NGX_DECLINED: id->error says why there is none */

static ngx_int_t
ngx_egress_identity_find(ngx_connection_t *c, ngx_egress_identity_t *id)
{
    X509       *cert;
    ngx_int_t   rc;
    ngx_str_t   uri;

    cert = ngx_egress_identity_leaf(c, id);

    if (cert == NULL || ngx_egress_identity_usage(cert, id) != NGX_OK) {
        return NGX_DECLINED;
    }

    rc = ngx_egress_identity_uri(c, cert, id, &uri);
    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_egress_spiffe_parse(&uri, id) != NGX_OK) {
        return NGX_DECLINED;
    }

    if (id->principal.len == id->trust_domain.len) {

        /* X509-SVID: a leaf has a path, else it would be the trust domain */

        ngx_memzero(id, sizeof(ngx_egress_identity_t));
        ngx_str_set(&id->error, "SPIFFE ID without path");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


/*
 * Not what the client sent, but what was verified.  The verified chain is
 * not part of a TLS session: after a resumption there is none.
 */

static X509 *
ngx_egress_identity_leaf(ngx_connection_t *c, ngx_egress_identity_t *id)
{
    SSL             *ssl;
    STACK_OF(X509)  *chain;

    ssl = c->ssl->connection;

    if (SSL_get_verify_result(ssl) != X509_V_OK) {
        ngx_str_set(&id->error, "client certificate is not verified");
        return NULL;
    }

    chain = SSL_get0_verified_chain(ssl);

    if (chain && sk_X509_num(chain) > 0) {
        return sk_X509_value(chain, 0);
    }

    if (SSL_session_reused(ssl)) {
        ngx_str_set(&id->error, "no verified chain in a resumed TLS session");

    } else {
        ngx_str_set(&id->error, "no client certificate");
    }

    return NULL;
}


static ngx_int_t
ngx_egress_identity_usage(X509 *cert, ngx_egress_identity_t *id)
{
    uint32_t  flags;

    flags = X509_get_extension_flags(cert);

    if (flags & EXFLAG_INVALID) {
        ngx_str_set(&id->error, "invalid extension in client certificate");
        return NGX_DECLINED;
    }

    if (flags & EXFLAG_CA) {
        ngx_str_set(&id->error, "client certificate is a CA");
        return NGX_DECLINED;
    }

    if ((flags & EXFLAG_KUSAGE)
        && (X509_get_key_usage(cert) & (KU_KEY_CERT_SIGN|KU_CRL_SIGN)))
    {
        ngx_str_set(&id->error, "client certificate may sign certificates");
        return NGX_DECLINED;
    }

    if ((flags & EXFLAG_XKUSAGE)
        && !(X509_get_extended_key_usage(cert) & XKU_SSL_CLIENT))
    {
        ngx_str_set(&id->error, "client certificate is not for TLS clients");
        return NGX_DECLINED;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_identity_uri(ngx_connection_t *c, X509 *cert,
    ngx_egress_identity_t *id, ngx_str_t *uri)
{
    int             crit;
    ngx_int_t       rc;
    ASN1_STRING    *value;
    GENERAL_NAMES  *names;

    /* an extension that stands there twice is NULL as well, crit is -2 */

    names = X509_get_ext_d2i(cert, NID_subject_alt_name, &crit, NULL);

    if (names == NULL) {
        ngx_str_set(&id->error, "no valid subjectAltName in client "
                                "certificate");
        return NGX_DECLINED;
    }

    rc = ngx_egress_identity_names(names, id, &value);

    if (rc == NGX_OK) {

        /* the principal is a part of this text for the connection's life */

        uri->len = ASN1_STRING_length(value);
        uri->data = ngx_pnalloc(c->pool, uri->len ? uri->len : 1);

        if (uri->data == NULL) {
            rc = NGX_ERROR;

        } else {
            ngx_memcpy(uri->data, ASN1_STRING_get0_data(value), uri->len);
        }
    }

    GENERAL_NAMES_free(names);

    return rc;
}


static ngx_int_t
ngx_egress_identity_names(GENERAL_NAMES *names, ngx_egress_identity_t *id,
    ASN1_STRING **uri)
{
    int            i;
    GENERAL_NAME  *name;

    *uri = NULL;

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {

        name = sk_GENERAL_NAME_value(names, i);

        if (name->type != GEN_URI) {
            continue;
        }

        if (*uri) {
            ngx_str_set(&id->error, "several URIs in client certificate");
            return NGX_DECLINED;
        }

        *uri = name->d.uniformResourceIdentifier;
    }

    if (*uri == NULL) {
        ngx_str_set(&id->error, "no URI in client certificate");
        return NGX_DECLINED;
    }

    if (ASN1_STRING_length(*uri) > 2048) {
        ngx_str_set(&id->error, "URI in client certificate is too long");
        return NGX_DECLINED;
    }

    return NGX_OK;
}
