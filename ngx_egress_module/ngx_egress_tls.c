
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>
#include <ngx_egress_tls.h>


/*
 * All contexts are made when the configuration is read, as that is when what
 * is wrong has to be told.  So many are kept, some 13 KB each and shared by
 * the workers; the rest is made again by each worker on first use, unless the
 * workers may not read the files.
 */
#define NGX_EGRESS_TLS_KEEP  1024


static ngx_egress_tls_ctx_t *ngx_egress_tls_find(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_egress_service_t *svc);
static ngx_int_t ngx_egress_tls_key(ngx_log_t *log,
    ngx_egress_service_t *svc, ngx_str_t *key);
static ngx_egress_tls_ctx_t *ngx_egress_tls_create(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_egress_service_t *svc);
static ngx_int_t ngx_egress_tls_ciphers(ngx_cycle_t *cycle,
    ngx_str_t *ciphers, ngx_str_t *value);
static ngx_egress_tls_store_t *ngx_egress_tls_find_store(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_egress_tls_t *tls);
static void ngx_egress_tls_drop(ngx_egress_tls_ctx_t *ctx);
static void ngx_egress_tls_cleanup(void *data);
static void ngx_egress_tls_cleanup_store(void *data);

static void ngx_egress_tls_refresh(ngx_egress_tls_ctx_t *ctx);
static ngx_uint_t ngx_egress_tls_fresh(ngx_egress_tls_ctx_t *ctx);
static void ngx_egress_tls_make(ngx_egress_tls_ctx_t *ctx, SSL_CTX *from);
static const char *ngx_egress_tls_load(ngx_egress_tls_ctx_t *ctx,
    SSL_CTX *from, ngx_str_t *file);
static const char *ngx_egress_tls_load_pair(ngx_egress_watch_t *watch,
    SSL_CTX *ssl, ngx_str_t *file);
static const char *ngx_egress_tls_take(SSL_CTX *ssl, SSL_CTX *from);
static void ngx_egress_tls_refresh_store(ngx_egress_tls_store_t *store);
static void ngx_egress_tls_make_store(ngx_egress_tls_store_t *store);
static const char *ngx_egress_tls_load_store(ngx_egress_tls_store_t *store,
    X509_STORE *x509, ngx_str_t *file);
static const char *ngx_egress_tls_load_crl(X509_STORE *x509, ngx_str_t *file);

static ssize_t ngx_egress_tls_recv(ngx_connection_t *c, u_char *buf,
    size_t size);
static ngx_uint_t ngx_egress_tls_drained(ngx_connection_t *c,
    ngx_uint_t partial);
static ngx_uint_t ngx_egress_tls_is(ngx_str_t *name, const char *text);
static ngx_int_t ngx_egress_tls_set_sni(ngx_egress_flow_t *flow,
    ngx_ssl_conn_t *ssl);
static ngx_uint_t ngx_egress_tls_literal(ngx_str_t *name);


/* of the process; sessions of an older context are found out by it */

static ngx_uint_t  ngx_egress_tls_generation;

static u_char      ngx_egress_tls_h2[] = "\x02h2";


ngx_int_t
ngx_egress_tls_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    ngx_egress_tls_t  *tls;

    tls = svc->conf->tls;

    if (svc->conf->tls_mode == NGX_EGRESS_TLS_MUTUAL
        && (tls->certificate.len == 0 || tls->certificate_key.len == 0))
    {
        ngx_str_set(&svc->conf->broken, "\"tls mutual\" without "
                    "\"tls_certificate\" and \"tls_certificate_key\"");
        return NGX_OK;
    }

    if (svc->conf->tls_mode == NGX_EGRESS_TLS_SIMPLE
        && (tls->certificate.len || tls->certificate_key.len))
    {
        ngx_str_set(&svc->conf->broken,
                    "\"tls_certificate\" with \"tls simple\"");
        return NGX_OK;
    }

    /* settings that are shared have been here */

    if (tls->ctx) {
        return NGX_OK;
    }

    if (ngx_egress_tls_verify_init(cycle->log) != NGX_OK) {
        return NGX_ERROR;
    }

    tls->ctx = ngx_egress_tls_find(cycle, ecf, svc);

    return tls->ctx ? NGX_OK : NGX_ERROR;
}


/* services with the same settings share a context */

static ngx_egress_tls_ctx_t *
ngx_egress_tls_find(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    uint32_t               hash;
    ngx_str_t              key;
    ngx_egress_tls_ctx_t  *ctx;

    if (ngx_egress_tls_key(cycle->log, svc, &key) != NGX_OK) {
        return NULL;
    }

    hash = ngx_crc32_long(key.data, key.len);

    ctx = (ngx_egress_tls_ctx_t *) ngx_str_rbtree_lookup(&ecf->tls, &key,
                                                         hash);
    if (ctx == NULL) {
        ctx = ngx_egress_tls_create(cycle, ecf, svc);

        if (ctx) {
            ctx->sn.node.key = hash;
            ctx->sn.str.len = key.len;
            ctx->sn.str.data = ngx_pstrdup(cycle->pool, &key);

            if (ctx->sn.str.data) {
                ngx_rbtree_insert(&ecf->tls, &ctx->sn.node);

            } else {
                ctx = NULL;
            }
        }
    }

    ngx_free(key.data);

    return ctx;
}


/* with malloc(): most of the keys are found and not kept */

static ngx_int_t
ngx_egress_tls_key(ngx_log_t *log, ngx_egress_service_t *svc, ngx_str_t *key)
{
    u_char            *p;
    ngx_egress_tls_t  *tls;

    tls = svc->conf->tls;

    key->len = tls->certificate.len + tls->certificate_key.len
               + tls->trusted.len + tls->crl.len + tls->ciphers.len
               + 5 + 2 * NGX_INT_T_LEN + 1;

    key->data = ngx_alloc(key->len, log);
    if (key->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_snprintf(key->data, key->len, "%V%Z%V%Z%V%Z%V%Z%V%Z%ui:%i",
                     &tls->certificate, &tls->certificate_key, &tls->trusted,
                     &tls->crl, &tls->ciphers, tls->protocols, tls->verify);

    key->len = p - key->data;

    return NGX_OK;
}


static ngx_egress_tls_ctx_t *
ngx_egress_tls_create(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    ngx_str_t             *names[2];
    ngx_egress_tls_t      *tls;
    ngx_pool_cleanup_t    *cln;
    ngx_egress_tls_ctx_t  *ctx;

    tls = svc->conf->tls;

    ctx = ngx_pcalloc(cycle->pool, sizeof(ngx_egress_tls_ctx_t));
    cln = ngx_pool_cleanup_add(cycle->pool, 0);

    if (ctx == NULL || cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_egress_tls_cleanup;
    cln->data = ctx;

    ctx->ssl.log = cycle->log;
    ctx->protocols = tls->protocols;

    if (tls->ciphers.len
        && ngx_egress_tls_ciphers(cycle, &ctx->ciphers, &tls->ciphers)
           != NGX_OK)
    {
        return NULL;
    }

    names[0] = &tls->certificate;
    names[1] = &tls->certificate_key;

    if (ngx_egress_watch_init(cycle, &ctx->watch, names, 2) != NGX_OK) {
        return NULL;
    }

    if (tls->verify) {
        ctx->store = ngx_egress_tls_find_store(cycle, ecf, tls);
        if (ctx->store == NULL) {
            return NULL;
        }
    }

    ngx_egress_tls_make(ctx, NULL);

    if (ctx->ssl.ctx && ++ecf->ntls > NGX_EGRESS_TLS_KEEP) {
        ngx_egress_tls_drop(ctx);
    }

    return ctx;
}


/*
 * Without those that need no certificate, which "HIGH" and "ALL" have as well:
 * nobody would be asked for one, and nothing verified.  Nor those that do not
 * encrypt.  The length is that of what the configuration says.
 */

static ngx_int_t
ngx_egress_tls_ciphers(ngx_cycle_t *cycle, ngx_str_t *ciphers,
    ngx_str_t *value)
{
    u_char  *p;

    static u_char  never[] = ":!aNULL:!eNULL";

    p = ngx_pnalloc(cycle->pool, value->len + sizeof(never));
    if (p == NULL) {
        return NGX_ERROR;
    }

    ciphers->len = value->len;
    ciphers->data = p;

    p = ngx_cpymem(p, value->data, value->len);
    ngx_memcpy(p, never, sizeof(never));

    return NGX_OK;
}


/* to be made again on first use; not what a worker could not, or not fast */

static void
ngx_egress_tls_drop(ngx_egress_tls_ctx_t *ctx)
{
    ngx_egress_tls_store_t  *store;

    if (ctx->watch.readable) {
        SSL_CTX_free(ctx->ssl.ctx);
        ctx->ssl.ctx = NULL;
    }

    store = ctx->store;

    if (store && store->watch.readable
        && ngx_strcmp(store->sn.str.data, "system") != 0)
    {
        X509_STORE_free(store->store);
        store->store = NULL;
    }
}


static ngx_egress_tls_store_t *
ngx_egress_tls_find_store(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_tls_t *tls)
{
    u_char                  *p;
    uint32_t                 hash;
    ngx_str_t                key, *names[2];
    ngx_pool_cleanup_t      *cln;
    ngx_egress_tls_store_t  *store;

    key.len = tls->trusted.len + 1 + tls->crl.len;
    key.data = ngx_pnalloc(cycle->pool, key.len);
    if (key.data == NULL) {
        return NULL;
    }

    p = ngx_cpymem(key.data, tls->trusted.data, tls->trusted.len);
    *p++ = '\0';
    ngx_memcpy(p, tls->crl.data, tls->crl.len);

    hash = ngx_crc32_long(key.data, key.len);

    store = (ngx_egress_tls_store_t *) ngx_str_rbtree_lookup(&ecf->stores,
                                                             &key, hash);
    if (store) {
        return store;
    }

    store = ngx_pcalloc(cycle->pool, sizeof(ngx_egress_tls_store_t));
    cln = ngx_pool_cleanup_add(cycle->pool, 0);

    if (store == NULL || cln == NULL) {
        return NULL;
    }

    cln->handler = ngx_egress_tls_cleanup_store;
    cln->data = store;

    store->sn.node.key = hash;
    store->sn.str = key;

    names[0] = (ngx_strcmp(tls->trusted.data, "system") == 0)
               ? NULL : &tls->trusted;
    names[1] = &tls->crl;

    if (ngx_egress_watch_init(cycle, &store->watch, names, 2) != NGX_OK) {
        return NULL;
    }

    ngx_egress_tls_make_store(store);

    ngx_rbtree_insert(&ecf->stores, &store->sn.node);

    return store;
}


static void
ngx_egress_tls_cleanup(void *data)
{
    ngx_egress_tls_ctx_t *ctx = data;

    SSL_CTX_free(ctx->ssl.ctx);
    ngx_egress_tls_forget(&ctx->error);
}


static void
ngx_egress_tls_cleanup_store(void *data)
{
    ngx_egress_tls_store_t *store = data;

    X509_STORE_free(store->store);
    ngx_egress_tls_forget(&store->error);
}


ngx_str_t *
ngx_egress_tls_broken(ngx_egress_service_t *svc)
{
    if (svc->conf->broken.len == 0 && svc->conf->tls) {
        ngx_egress_tls_refresh(svc->conf->tls->ctx);
    }

    return ngx_egress_tls_flaw(svc);
}


ngx_str_t *
ngx_egress_tls_flaw(ngx_egress_service_t *svc)
{
    ngx_egress_tls_ctx_t  *ctx;

    if (svc->conf->broken.len) {
        return &svc->conf->broken;
    }

    ctx = svc->conf->tls ? svc->conf->tls->ctx : NULL;

    return (ctx && ctx->error.len) ? &ctx->error : NULL;
}


/*
 * Makes the context if there is none, or a new one if its files or its store
 * have changed.  One that was good is only replaced by another good one, and
 * what is not good on disk is taken from it: a revocation takes effect even
 * if the certificate is half written.
 */

static void
ngx_egress_tls_refresh(ngx_egress_tls_ctx_t *ctx)
{
    SSL_CTX     *old;
    ngx_uint_t   due;

    if (ngx_egress_tls_fresh(ctx)) {
        return;
    }

    if (ctx->store) {
        ngx_egress_tls_refresh_store(ctx->store);
    }

    old = ctx->ssl.ctx;

    due = (old == NULL && ctx->error.len == 0)
          || (ctx->store && ctx->stored != ctx->store->generation);

    if (ngx_egress_watch_check(&ctx->watch) == NGX_OK) {

        ngx_egress_tls_make(ctx, NULL);
        ngx_egress_watch_report(&ctx->watch, "certificate",
                                ctx->error.len ? &ctx->error : NULL,
                                ngx_cycle->log);
        due = (ctx->ssl.ctx == NULL && old);

    } else if (!due) {
        return;
    }

    if (due) {
        ngx_egress_tls_make(ctx, old);
    }

    if (ctx->ssl.ctx == NULL) {
        ctx->ssl.ctx = old;

        if (old) {
            ngx_egress_tls_forget(&ctx->error);
        }

        return;
    }

    /* connections that have it go on with it */

    SSL_CTX_free(old);
}


/* there is one, it has the last store, and no file is due to be looked at */

static ngx_uint_t
ngx_egress_tls_fresh(ngx_egress_tls_ctx_t *ctx)
{
    return ctx->ssl.ctx
           && !ngx_egress_watch_due(&ctx->watch)
           && (ctx->store == NULL
               || (!ngx_egress_watch_due(&ctx->store->watch)
                   && ctx->stored == ctx->store->generation));
}


/*
 * Sets ssl.ctx, or error; the certificate is that of another context, or is
 * read from its files.
 */

static void
ngx_egress_tls_make(ngx_egress_tls_ctx_t *ctx, SSL_CTX *from)
{
    ngx_str_t    file;
    const char  *error;

    ngx_egress_tls_forget(&ctx->error);

    ctx->ssl.ctx = NULL;

    if (from == NULL) {
        ngx_egress_watch_mark(&ctx->watch);
    }

    if (ctx->store) {

        if (ctx->store->store == NULL && ctx->store->error.len == 0) {
            ngx_egress_tls_make_store(ctx->store);
        }

        ctx->stored = ctx->store->generation;
    }

    ctx->generation = ++ngx_egress_tls_generation;

    ngx_str_null(&file);

    if (ngx_ssl_create(&ctx->ssl, ctx->protocols, NULL) != NGX_OK) {
        ngx_egress_tls_explain(&ctx->error, "cannot create context", &file);
        return;
    }

    error = ngx_egress_tls_load(ctx, from, &file);

    if (error == NULL && ctx->store && ctx->store->store == NULL) {
        ngx_egress_tls_copy_error(&ctx->error, &ctx->store->error);

    } else if (error) {
        ngx_egress_tls_explain(&ctx->error, error, &file);

    } else {
        ERR_clear_error();
        return;
    }

    SSL_CTX_free(ctx->ssl.ctx);
    ctx->ssl.ctx = NULL;
}


/* returns what failed, and in file what to blame */

static const char *
ngx_egress_tls_load(ngx_egress_tls_ctx_t *ctx, SSL_CTX *from,
    ngx_str_t *file)
{
    SSL_CTX     *ssl;
    const char  *error;

    ssl = ctx->ssl.ctx;

    error = from ? ngx_egress_tls_take(ssl, from)
                 : ngx_egress_tls_load_pair(&ctx->watch, ssl, file);
    if (error) {
        return error;
    }

    if (ctx->ciphers.len
        && SSL_CTX_set_cipher_list(ssl, (char *) ctx->ciphers.data) != 1)
    {
        *file = ctx->ciphers;
        return "cannot use ciphers";
    }

    if (ngx_ssl_client_session_cache(NULL, &ctx->ssl, 1) != NGX_OK) {
        return "cannot use sessions";
    }

    /*
     * A server may not ask for another handshake: it would show another
     * certificate in the middle of an exchange, and the flow that the names
     * are verified for may be gone.  nginx forbids it to clients only.
     */

    SSL_CTX_set_options(ssl, SSL_OP_NO_RENEGOTIATION);

    /*
     * Verification fails the handshake: not one byte of a request is sent to
     * a server that was not verified.
     */

    if (ctx->store == NULL) {
        SSL_CTX_set_verify(ssl, SSL_VERIFY_NONE, NULL);
        return NULL;
    }

    SSL_CTX_set_verify(ssl, SSL_VERIFY_PEER, NULL);
    SSL_CTX_set_cert_verify_callback(ssl, ngx_egress_tls_verify, NULL);

    if (ctx->store->store) {
        SSL_CTX_set1_cert_store(ssl, ctx->store->store);
    }

    return NULL;
}


static const char *
ngx_egress_tls_load_pair(ngx_egress_watch_t *watch, SSL_CTX *ssl,
    ngx_str_t *file)
{
    const char  *error;

    if (watch->n == 0) {
        return NULL;
    }

    /* a password is never asked for: nobody is there */

    SSL_CTX_set_default_passwd_cb_userdata(ssl, (void *) "");

    *file = watch->files[0].name;

    error = ngx_egress_file_unfit(&watch->files[0]);
    if (error) {
        return error;
    }

    if (SSL_CTX_use_certificate_chain_file(ssl, (char *) file->data) != 1) {
        return "cannot load certificate";
    }

    *file = watch->files[1].name;

    error = ngx_egress_file_unfit(&watch->files[1]);
    if (error) {
        return error;
    }

    if (SSL_CTX_use_PrivateKey_file(ssl, (char *) file->data,
                                    SSL_FILETYPE_PEM)
        != 1
        || SSL_CTX_check_private_key(ssl) != 1)
    {
        return "cannot load certificate key";
    }

    return NULL;
}


static const char *
ngx_egress_tls_take(SSL_CTX *ssl, SSL_CTX *from)
{
    X509            *cert;
    STACK_OF(X509)  *chain;

    cert = SSL_CTX_get0_certificate(from);

    if (cert == NULL) {
        return NULL;
    }

    if (SSL_CTX_get0_chain_certs(from, &chain) != 1
        || SSL_CTX_use_cert_and_key(ssl, cert, SSL_CTX_get0_privatekey(from),
                                    chain, 1)
           != 1)
    {
        return "cannot use certificate again";
    }

    return NULL;
}


static void
ngx_egress_tls_refresh_store(ngx_egress_tls_store_t *store)
{
    X509_STORE  *old;

    if (ngx_egress_watch_check(&store->watch) != NGX_OK) {
        return;
    }

    old = store->store;

    ngx_egress_tls_make_store(store);

    ngx_egress_watch_report(&store->watch, "trusted certificates",
                            store->error.len ? &store->error : NULL,
                            ngx_cycle->log);

    if (store->store) {
        X509_STORE_free(old);

    } else if (old) {
        store->store = old;
        ngx_egress_tls_forget(&store->error);
    }
}


/* sets store and another generation, or error */

static void
ngx_egress_tls_make_store(ngx_egress_tls_store_t *store)
{
    ngx_str_t    file;
    X509_STORE  *x509;
    const char  *error;

    ngx_egress_tls_forget(&store->error);
    ngx_egress_watch_mark(&store->watch);

    store->store = NULL;

    ngx_str_null(&file);

    x509 = X509_STORE_new();

    error = x509 ? ngx_egress_tls_load_store(store, x509, &file)
                 : "cannot create store";

    if (error) {
        ngx_egress_tls_explain(&store->error, error, &file);
        X509_STORE_free(x509);
        return;
    }

    ERR_clear_error();

    store->store = x509;
    store->generation++;
}


static const char *
ngx_egress_tls_load_store(ngx_egress_tls_store_t *store, X509_STORE *x509,
    ngx_str_t *file)
{
    const char         *error;
    ngx_egress_file_t  *next;

    next = store->watch.files;

    if (ngx_strcmp(store->sn.str.data, "system") == 0) {
        ngx_str_set(file, "system");

        if (X509_STORE_set_default_paths(x509) != 1) {
            return "cannot load CA certificates";
        }

    } else {
        *file = next->name;

        error = ngx_egress_file_unfit(next);
        if (error) {
            return error;
        }

        if (X509_STORE_load_locations(x509, (char *) file->data, NULL) != 1)
        {
            return "cannot load CA certificates";
        }

        next++;
    }

    if (next == store->watch.files + store->watch.n) {
        return NULL;
    }

    *file = next->name;

    error = ngx_egress_file_unfit(next);

    return error ? error : ngx_egress_tls_load_crl(x509, file);
}


static const char *
ngx_egress_tls_load_crl(X509_STORE *x509, ngx_str_t *file)
{
    X509_LOOKUP  *lookup;

    lookup = X509_STORE_add_lookup(x509, X509_LOOKUP_file());

    if (lookup == NULL
        || X509_load_crl_file(lookup, (char *) file->data, X509_FILETYPE_PEM)
           == 0)
    {
        return "cannot load CRL";
    }

    X509_STORE_set_flags(x509, X509_V_FLAG_CRL_CHECK
                               |X509_V_FLAG_CRL_CHECK_ALL);

    return NULL;
}


ngx_ssl_t *
ngx_egress_tls_ssl(ngx_egress_flow_t *flow)
{
    ngx_egress_tls_ctx_t  *ctx;

    ctx = flow->service->conf->tls->ctx;

    /* the verdict may be old: a body, a name or a slot was waited for */

    ngx_egress_tls_refresh(ctx);

    return &ctx->ssl;
}


/* a connection keeps the context that it was made with, so it can't be gone */

ngx_uint_t
ngx_egress_tls_current(ngx_egress_service_t *svc, ngx_connection_t *c)
{
    ngx_egress_tls_ctx_t  *ctx;

    if (svc->conf->tls == NULL || c->ssl == NULL) {
        return 1;
    }

    ctx = svc->conf->tls->ctx;

    ngx_egress_tls_refresh(ctx);

    return SSL_get_SSL_CTX(c->ssl->connection) == ctx->ssl.ctx;
}


ngx_str_t *
ngx_egress_tls_server_name(ngx_egress_flow_t *flow)
{
    ngx_str_t             *hosts;
    ngx_egress_service_t  *svc;

    svc = flow->service;

    /* without a host, what the client calls it does not count */

    if (svc->conf->tls->name.len || svc->hosts == NULL) {
        return &svc->conf->tls->name;
    }

    if (ngx_egress_service_has_host(svc, &flow->host)) {
        return &flow->host;
    }

    hosts = svc->hosts->elts;

    return (hosts[0].data[0] == '*') ? NULL : &hosts[0];
}


void
ngx_egress_tls_expect(ngx_connection_t *c)
{
    if (c->recv == ngx_ssl_recv) {
        c->recv = ngx_egress_tls_recv;
    }
}


static ssize_t
ngx_egress_tls_recv(ngx_connection_t *c, u_char *buf, size_t size)
{
    int  n;

    c->recv = ngx_ssl_recv;

    if (c->ssl->saved_write_handler
        || (c->ssl->last != NGX_OK && c->ssl->last != NGX_AGAIN))
    {
        return ngx_ssl_recv(c, buf, size);
    }

    ERR_clear_error();

    n = SSL_read(c->ssl->connection, buf, (int) size);

    ngx_log_debug1(NGX_LOG_DEBUG_EVENT, c->log, 0, "egress SSL_read: %d", n);

    if (n > 0) {
        c->ssl->last = NGX_OK;
        c->read->ready = !ngx_egress_tls_drained(c, n < (int) size);
        return n;
    }

    if (SSL_get_error(c->ssl->connection, n) == SSL_ERROR_WANT_READ) {
        c->ssl->last = NGX_AGAIN;
        c->read->ready = 0;
        c->recv = ngx_egress_tls_recv;
        return NGX_AGAIN;
    }

    if (ERR_peek_error() == 0) {

        /* its end, or something to be written first: nginx's business */

        return ngx_ssl_recv(c, buf, size);
    }

    ngx_ssl_error(NGX_LOG_ERR, c->log, 0, "SSL_read() failed");

    c->ssl->no_wait_shutdown = 1;
    c->ssl->no_send_shutdown = 1;
    c->ssl->last = NGX_ERROR;
    c->read->error = 1;

    return NGX_ERROR;
}


/*
 * OpenSSL has taken from the socket all that its buffer, which is larger than
 * a record, had room for, and nothing is left in it.  What comes from now on
 * makes a new event, and what came before with the end of the connection was
 * said by the event: as in nginx's recv().
 */

static ngx_uint_t
ngx_egress_tls_drained(ngx_connection_t *c, ngx_uint_t partial)
{
#if (NGX_HAVE_EPOLLRDHUP)

    return partial
           && (ngx_event_flags & NGX_USE_EPOLL_EVENT)
           && ngx_use_epoll_rdhup
           && !c->read->pending_eof
           && SSL_get_read_ahead(c->ssl->connection)
           && !SSL_has_pending(c->ssl->connection)
           && !BIO_get_ktls_recv(SSL_get_rbio(c->ssl->connection));

#else

    return 0;

#endif
}


ngx_uint_t
ngx_egress_tls_quiet(ngx_connection_t *c)
{
    u_char  buf[1];

    /* what OpenSSL has to write first would be written into a request */

    return !SSL_has_pending(c->ssl->connection)
           || (ngx_ssl_recv(c, buf, sizeof(buf)) == NGX_AGAIN
               && c->ssl->saved_write_handler == NULL);
}


ngx_int_t
ngx_egress_tls_setup(ngx_egress_flow_t *flow, ngx_connection_t *c)
{
    ngx_str_t          alpn;
    ngx_ssl_conn_t    *ssl;
    ngx_egress_tls_t  *tls;

    tls = flow->service->conf->tls;
    ssl = c->ssl->connection;

    flow->tls_error = NULL;

    if (ngx_egress_tls_set_flow(ssl, flow) != NGX_OK
        || ngx_egress_tls_set_sni(flow, ssl) != NGX_OK)
    {
        return NGX_ERROR;
    }

    alpn = tls->alpn;

    if (alpn.len == 0 && flow->http2) {
        alpn.data = ngx_egress_tls_h2;
        alpn.len = sizeof(ngx_egress_tls_h2) - 1;
    }

    if (alpn.len && SSL_set_alpn_protos(ssl, alpn.data, alpn.len) != 0) {
        return NGX_ERROR;
    }

    ngx_egress_session_offer(flow, c);

    return NGX_OK;
}


ngx_uint_t
ngx_egress_tls_alpn_fits(ngx_egress_flow_t *flow)
{
    u_char     *p, *last;
    ngx_str_t  *alpn, name;

    alpn = &flow->service->conf->tls->alpn;

    p = alpn->data;
    last = p + alpn->len;

    while (p < last) {
        name.len = *p++;
        name.data = p;
        p += name.len;

        if (flow->http2 ? ngx_egress_tls_is(&name, "http/1.1")
                        : ngx_egress_tls_is(&name, "h2"))
        {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_egress_tls_is(ngx_str_t *name, const char *text)
{
    return name->len == ngx_strlen(text)
           && ngx_memcmp(name->data, text, name->len) == 0;
}


static ngx_int_t
ngx_egress_tls_set_sni(ngx_egress_flow_t *flow, ngx_ssl_conn_t *ssl)
{
    ngx_str_t         *name;
    ngx_egress_tls_t  *tls;
    u_char             buf[NGX_EGRESS_HOST_MAX + 1];

    tls = flow->service->conf->tls;
    name = ngx_egress_tls_server_name(flow);

    /* an empty one would verify anything */

    if (name == NULL || name->len > NGX_EGRESS_HOST_MAX
        || (name->len == 0 && tls->san == NULL && tls->verify))
    {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "no name of egress service \"%V\" to verify",
                      &flow->service->name);
        return NGX_ERROR;
    }

    /* RFC 6066: no addresses in SNI */

    if (name->len == 0 || ngx_egress_tls_literal(name)) {
        return NGX_OK;
    }

    ngx_cpystrn(buf, name->data, name->len + 1);

    return SSL_set_tlsext_host_name(ssl, (char *) buf) == 1 ? NGX_OK
                                                            : NGX_ERROR;
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
