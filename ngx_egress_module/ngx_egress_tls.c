
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_tls.h>


static ngx_int_t ngx_egress_tls_key(ngx_pool_t *pool,
    ngx_egress_service_t *svc, ngx_str_t *key);
static ngx_int_t ngx_egress_tls_create(ngx_cycle_t *cycle,
    ngx_egress_service_t *svc, ngx_egress_tls_ctx_t *ctx);
static const char *ngx_egress_tls_load(ngx_cycle_t *cycle,
    ngx_egress_service_t *svc, SSL_CTX *ctx, ngx_str_t *file);
static const char *ngx_egress_tls_load_ca(ngx_cycle_t *cycle,
    ngx_egress_tls_t *tls, SSL_CTX *ctx, ngx_str_t *file);
static const char *ngx_egress_tls_load_crl(ngx_cycle_t *cycle,
    ngx_egress_tls_t *tls, SSL_CTX *ctx, ngx_str_t *file);
static ngx_int_t ngx_egress_tls_error(ngx_cycle_t *cycle,
    ngx_egress_tls_ctx_t *ctx, const char *text, ngx_str_t *file);
static ngx_int_t ngx_egress_tls_set_names(ngx_egress_tls_t *tls,
    ngx_str_t *name, ngx_ssl_conn_t *ssl);
static ngx_int_t ngx_egress_tls_set_name(ngx_ssl_conn_t *ssl,
    ngx_str_t *name);
static ngx_uint_t ngx_egress_tls_literal(ngx_str_t *name);


/*
 * Contexts are made where the files can be read, before the workers drop
 * their privileges, and are shared by all services with the same settings.
 */

ngx_int_t
ngx_egress_tls_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    uint32_t               hash;
    ngx_str_t              key;
    ngx_egress_tls_t      *tls;
    ngx_egress_tls_ctx_t  *ctx;

    tls = svc->tls;

    if (svc->tls_mode == NGX_EGRESS_TLS_MUTUAL
        && (tls->certificate.len == 0 || tls->certificate_key.len == 0))
    {
        ngx_str_set(&svc->broken, "\"tls mutual\" without "
                    "\"tls_certificate\" and \"tls_certificate_key\"");
        return NGX_OK;
    }

    if (svc->tls_mode == NGX_EGRESS_TLS_SIMPLE
        && (tls->certificate.len || tls->certificate_key.len))
    {
        ngx_str_set(&svc->broken, "\"tls_certificate\" with \"tls simple\"");
        return NGX_OK;
    }

    if (ngx_egress_tls_key(cycle->pool, svc, &key) != NGX_OK) {
        return NGX_ERROR;
    }

    hash = ngx_crc32_long(key.data, key.len);

    ctx = (ngx_egress_tls_ctx_t *) ngx_str_rbtree_lookup(&ecf->tls, &key,
                                                         hash);
    if (ctx == NULL) {
        ctx = ngx_pcalloc(cycle->pool, sizeof(ngx_egress_tls_ctx_t));
        if (ctx == NULL) {
            return NGX_ERROR;
        }

        ctx->sn.node.key = hash;
        ctx->sn.str = key;

        if (ngx_egress_tls_create(cycle, svc, ctx) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_rbtree_insert(&ecf->tls, &ctx->sn.node);
    }

    tls->ctx = ctx;
    svc->broken = ctx->error;

    return NGX_OK;
}


static ngx_int_t
ngx_egress_tls_key(ngx_pool_t *pool, ngx_egress_service_t *svc,
    ngx_str_t *key)
{
    u_char            *p;
    ngx_egress_tls_t  *tls;

    tls = svc->tls;

    key->len = tls->certificate.len + tls->certificate_key.len
               + tls->trusted.len + tls->crl.len + tls->ciphers.len
               + 5 + 2 * NGX_INT_T_LEN + 1;

    key->data = ngx_pnalloc(pool, key->len);
    if (key->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_snprintf(key->data, key->len, "%V%Z%V%Z%V%Z%V%Z%V%Z%ui:%i",
                     &tls->certificate, &tls->certificate_key, &tls->trusted,
                     &tls->crl, &tls->ciphers, tls->protocols, tls->verify);

    key->len = p - key->data;

    return NGX_OK;
}


static ngx_int_t
ngx_egress_tls_create(ngx_cycle_t *cycle, ngx_egress_service_t *svc,
    ngx_egress_tls_ctx_t *ctx)
{
    ngx_str_t            file;
    const char          *error;
    ngx_pool_cleanup_t  *cln;

    ctx->ssl.log = cycle->log;

    if (ngx_ssl_create(&ctx->ssl, svc->tls->protocols, NULL) != NGX_OK) {
        return NGX_ERROR;
    }

    cln = ngx_pool_cleanup_add(cycle->pool, 0);
    if (cln == NULL) {
        ngx_ssl_cleanup_ctx(&ctx->ssl);
        return NGX_ERROR;
    }

    cln->handler = ngx_ssl_cleanup_ctx;
    cln->data = &ctx->ssl;

    ngx_str_null(&file);

    error = ngx_egress_tls_load(cycle, svc, ctx->ssl.ctx, &file);

    if (error) {
        return ngx_egress_tls_error(cycle, ctx, error, &file);
    }

    /*
     * Verification is OpenSSL's own and fails the handshake: not one byte of
     * a request is sent to a server that was not verified.
     */

    SSL_CTX_set_verify(ctx->ssl.ctx,
                       svc->tls->verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE,
                       NULL);

    return NGX_OK;
}


/* returns what failed, and in file the file to blame */

static const char *
ngx_egress_tls_load(ngx_cycle_t *cycle, ngx_egress_service_t *svc,
    SSL_CTX *ctx, ngx_str_t *file)
{
    const char        *error;
    ngx_egress_tls_t  *tls;

    tls = svc->tls;

    if (svc->tls_mode == NGX_EGRESS_TLS_MUTUAL) {

        *file = tls->certificate;

        if (ngx_conf_full_name(cycle, file, 1) != NGX_OK
            || SSL_CTX_use_certificate_chain_file(ctx, (char *) file->data)
               != 1)
        {
            return "cannot load certificate";
        }

        *file = tls->certificate_key;

        if (ngx_conf_full_name(cycle, file, 1) != NGX_OK
            || SSL_CTX_use_PrivateKey_file(ctx, (char *) file->data,
                                           SSL_FILETYPE_PEM)
               != 1
            || SSL_CTX_check_private_key(ctx) != 1)
        {
            return "cannot load certificate key";
        }
    }

    if (tls->ciphers.len) {

        *file = tls->ciphers;

        if (SSL_CTX_set_cipher_list(ctx, (char *) tls->ciphers.data) != 1) {
            return "cannot use ciphers";
        }
    }

    error = ngx_egress_tls_load_ca(cycle, tls, ctx, file);

    if (error == NULL && tls->crl.len) {
        error = ngx_egress_tls_load_crl(cycle, tls, ctx, file);
    }

    return error;
}


static const char *
ngx_egress_tls_load_ca(ngx_cycle_t *cycle, ngx_egress_tls_t *tls,
    SSL_CTX *ctx, ngx_str_t *file)
{
    *file = tls->trusted;

    if (!tls->verify) {
        return NULL;
    }

    if (ngx_strcmp(tls->trusted.data, "system") == 0) {

        if (SSL_CTX_set_default_verify_paths(ctx) != 1) {
            return "cannot load CA certificates";
        }

        return NULL;
    }

    if (ngx_conf_full_name(cycle, file, 1) != NGX_OK
        || SSL_CTX_load_verify_locations(ctx, (char *) file->data, NULL) != 1)
    {
        return "cannot load CA certificates";
    }

    return NULL;
}


static const char *
ngx_egress_tls_load_crl(ngx_cycle_t *cycle, ngx_egress_tls_t *tls,
    SSL_CTX *ctx, ngx_str_t *file)
{
    X509_STORE   *store;
    X509_LOOKUP  *lookup;

    *file = tls->crl;

    store = SSL_CTX_get_cert_store(ctx);
    lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

    if (lookup == NULL
        || ngx_conf_full_name(cycle, file, 1) != NGX_OK
        || X509_load_crl_file(lookup, (char *) file->data, X509_FILETYPE_PEM)
           == 0)
    {
        return "cannot load CRL";
    }

    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK
                                |X509_V_FLAG_CRL_CHECK_ALL);

    return NULL;
}


static ngx_int_t
ngx_egress_tls_error(ngx_cycle_t *cycle, ngx_egress_tls_ctx_t *ctx,
    const char *text, ngx_str_t *file)
{
    u_char         *p;
    size_t          len;
    u_long          n;
    const char     *reason;

    n = ERR_peek_error();
    reason = n ? ERR_reason_error_string(n) : NULL;

    if (n && ERR_SYSTEM_ERROR(n)) {
        reason = strerror(ERR_GET_REASON(n));
    }

    if (reason == NULL) {
        reason = "unknown error";
    }

    len = ngx_strlen(text) + ngx_strlen(reason) + file->len
          + sizeof(" \"\" ()") - 1;

    ctx->error.data = ngx_pnalloc(cycle->pool, len);
    if (ctx->error.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_snprintf(ctx->error.data, len, "%s \"%V\" (%s)", text, file,
                     reason);
    ctx->error.len = p - ctx->error.data;

    ERR_clear_error();

    return NGX_OK;
}


ngx_ssl_t *
ngx_egress_tls_ssl(ngx_egress_flow_t *flow)
{
    return &flow->service->tls->ctx->ssl;
}


/* the name to say in SNI and, without tls_san, to verify */

ngx_int_t
ngx_egress_tls_setup(ngx_egress_flow_t *flow, ngx_connection_t *c)
{
    ngx_str_t         *name, *hosts;
    ngx_ssl_conn_t    *ssl;
    ngx_egress_tls_t  *tls;
    u_char             buf[NGX_EGRESS_HOST_MAX + 1];

    tls = flow->service->tls;
    ssl = c->ssl->connection;

    if (tls->name.len) {
        name = &tls->name;

    } else if (flow->service->hosts == NULL) {
        name = &flow->host;

    } else {
        hosts = flow->service->hosts->elts;
        name = (hosts[0].data[0] == '*') ? &flow->host : &hosts[0];
    }

    if (name->len == 0 || name->len > NGX_EGRESS_HOST_MAX) {
        return NGX_ERROR;
    }

    if (!ngx_egress_tls_literal(name)) {
        ngx_cpystrn(buf, name->data, name->len + 1);

        if (SSL_set_tlsext_host_name(ssl, (char *) buf) != 1) {
            return NGX_ERROR;
        }
    }

    if (tls->alpn.len
        && SSL_set_alpn_protos(ssl, tls->alpn.data, tls->alpn.len) != 0)
    {
        return NGX_ERROR;
    }

    if (!tls->verify) {
        return NGX_OK;
    }

    return ngx_egress_tls_set_names(tls, name, ssl);
}


/* RFC 9525: no partial wildcards, no common names */

static ngx_int_t
ngx_egress_tls_set_names(ngx_egress_tls_t *tls, ngx_str_t *name,
    ngx_ssl_conn_t *ssl)
{
    ngx_str_t   *san;
    ngx_uint_t   i;

    SSL_set_hostflags(ssl, X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS
                           |X509_CHECK_FLAG_NEVER_CHECK_SUBJECT);

    if (tls->san == NULL) {
        return ngx_egress_tls_set_name(ssl, name);
    }

    san = tls->san->elts;

    for (i = 0; i < tls->san->nelts; i++) {
        if (ngx_egress_tls_set_name(ssl, &san[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_tls_set_name(ngx_ssl_conn_t *ssl, ngx_str_t *name)
{
    u_char  buf[NGX_EGRESS_HOST_MAX + 1];

    if (name->len > NGX_EGRESS_HOST_MAX) {
        return NGX_ERROR;
    }

    ngx_cpystrn(buf, name->data, name->len + 1);

    if (ngx_egress_tls_literal(name)) {
        return X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl),
                                             (char *) buf)
               == 1 ? NGX_OK : NGX_ERROR;
    }

    return SSL_add1_host(ssl, (char *) buf) == 1 ? NGX_OK : NGX_ERROR;
}


static ngx_uint_t
ngx_egress_tls_literal(ngx_str_t *name)
{
#if (NGX_HAVE_INET6)
    u_char  addr6[16];

    if (ngx_inet6_addr(name->data, name->len, addr6) == NGX_OK) {
        return 1;
    }
#endif

    return ngx_inet_addr(name->data, name->len) != INADDR_NONE;
}
