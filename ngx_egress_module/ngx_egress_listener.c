
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


/* a certificate as it was read again */

struct ngx_egress_pair_s {
    X509                     *cert;
    EVP_PKEY                 *key;
    STACK_OF(X509)           *chain;
};


static ngx_int_t ngx_egress_listener_own(ngx_conf_t *cf,
    ngx_egress_listener_t *l, ngx_array_t *certs, ngx_array_t *keys);
static ngx_int_t ngx_egress_listener_trust(ngx_conf_t *cf,
    ngx_egress_listener_t *l, ngx_str_t *client, ngx_str_t *trusted,
    ngx_str_t *crl);
static void ngx_egress_listener_cleanup(void *data);
static void ngx_egress_listener_read_own(ngx_egress_listener_t *l);
static ngx_egress_pair_t *ngx_egress_listener_read_pairs(
    ngx_egress_listener_t *l);
static const char *ngx_egress_pair_read(ngx_egress_pair_t *pair,
    ngx_egress_file_t *cert, ngx_egress_file_t *key,
    ngx_egress_file_t **file);
static const char *ngx_egress_pair_read_chain(ngx_egress_pair_t *pair,
    BIO *bio);
static void ngx_egress_pairs_free(ngx_egress_pair_t *pairs, ngx_uint_t n);
static int ngx_egress_listener_certificate(ngx_ssl_conn_t *ssl, void *data);
static void ngx_egress_listener_read_trust(ngx_egress_listener_t *l);
static const char *ngx_egress_listener_load(ngx_egress_listener_t *l,
    X509_STORE *store, ngx_egress_file_t **file);


ngx_int_t
ngx_egress_add_listener(ngx_conf_t *cf, ngx_egress_listener_conf_t *conf)
{
    ngx_egress_conf_t      *ecf;
    ngx_pool_cleanup_t     *cln;
    ngx_egress_listener_t  *l, **p;

    ecf = ngx_egress_get_core_conf(cf->cycle);

    l = ngx_pcalloc(cf->pool, sizeof(ngx_egress_listener_t));
    cln = ngx_pool_cleanup_add(cf->cycle->pool, 0);
    p = ngx_array_push(&ecf->listeners);

    if (l == NULL || cln == NULL || p == NULL) {
        return NGX_ERROR;
    }

    *p = l;

    cln->handler = ngx_egress_listener_cleanup;
    cln->data = l;

    l->ctx = conf->ctx;

    if (conf->certificates
        && ngx_egress_listener_own(cf, l, conf->certificates, conf->keys)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_egress_listener_trust(cf, l, conf->client, conf->trusted,
                                     conf->crl);
}


static ngx_int_t
ngx_egress_listener_own(ngx_conf_t *cf, ngx_egress_listener_t *l,
    ngx_array_t *certs, ngx_array_t *keys)
{
    ngx_str_t   *cert, *key, **names;
    ngx_uint_t   i;

    cert = certs->elts;
    key = keys->elts;

    names = ngx_palloc(cf->temp_pool, 2 * certs->nelts * sizeof(ngx_str_t *));
    if (names == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < certs->nelts; i++) {

        /* what is not in a file of its own can't be looked at */

        if (ngx_strncmp(cert[i].data, "data:", 5) == 0
            || ngx_strncmp(key[i].data, "data:", 5) == 0
            || ngx_strncmp(key[i].data, "engine:", 7) == 0
            || ngx_strncmp(key[i].data, "store:", 6) == 0)
        {
            return NGX_OK;
        }

        names[i] = &cert[i];
        names[certs->nelts + i] = &key[i];
    }

    l->n = certs->nelts;

    if (ngx_egress_watch_init(cf->cycle, &l->own, names, 2 * l->n) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_egress_watch_mark(&l->own);

    return NGX_OK;
}


static ngx_int_t
ngx_egress_listener_trust(ngx_conf_t *cf, ngx_egress_listener_t *l,
    ngx_str_t *client, ngx_str_t *trusted, ngx_str_t *crl)
{
    ngx_str_t  *names[3];

    if (client->len == 0 && trusted->len == 0) {
        return NGX_OK;
    }

    names[0] = client;
    names[1] = trusted;
    names[2] = crl;

    if (ngx_egress_watch_init(cf->cycle, &l->trust, names, 3) != NGX_OK) {
        return NGX_ERROR;
    }

    if (client->len) {
        l->client = &l->trust.files[0];
    }

    if (crl->len) {
        l->crl = &l->trust.files[l->trust.n - 1];
    }

    ngx_egress_watch_mark(&l->trust);

    return NGX_OK;
}


static void
ngx_egress_listener_cleanup(void *data)
{
    ngx_egress_listener_t *l = data;

    ngx_egress_pairs_free(l->pairs, l->n);
    ngx_egress_tls_forget(&l->error);
}


void
ngx_egress_no_resumption(SSL_CTX *ctx)
{
    if (ctx == NULL) {
        return;
    }

    (void) SSL_CTX_set_session_cache_mode(ctx, SSL_SESS_CACHE_OFF);
    (void) SSL_CTX_set_options(ctx, SSL_OP_NO_TICKET);
#ifdef TLS1_3_VERSION
    (void) SSL_CTX_set_num_tickets(ctx, 0);
#endif
}


void
ngx_egress_listener_check(ngx_cycle_t *cycle)
{
    ngx_uint_t               i;
    ngx_array_t             *listeners;
    ngx_egress_listener_t  **l;

    listeners = &ngx_egress_get_core_conf(cycle)->listeners;
    l = listeners->elts;

    for (i = 0; i < listeners->nelts; i++) {

        if (ngx_egress_watch_check(&l[i]->own) == NGX_OK) {
            ngx_egress_listener_read_own(l[i]);
        }

        if (ngx_egress_watch_check(&l[i]->trust) == NGX_OK) {
            ngx_egress_listener_read_trust(l[i]);
        }
    }
}


static void
ngx_egress_listener_read_own(ngx_egress_listener_t *l)
{
    ngx_egress_pair_t  *pairs;

    pairs = ngx_egress_listener_read_pairs(l);

    if (pairs) {
        ngx_egress_pairs_free(l->pairs, l->n);
        l->pairs = pairs;

        SSL_CTX_set_cert_cb(l->ctx, ngx_egress_listener_certificate, l);
    }

    ngx_egress_watch_report(&l->own, "listener's certificate",
                            pairs ? NULL : &l->error, ngx_cycle->log);
}


/* NULL: one can't be used, and l->error says why */

static ngx_egress_pair_t *
ngx_egress_listener_read_pairs(ngx_egress_listener_t *l)
{
    ngx_uint_t          i;
    const char         *error;
    ngx_egress_file_t  *file;
    ngx_egress_pair_t  *pairs;

    pairs = ngx_calloc(l->n * sizeof(ngx_egress_pair_t), ngx_cycle->log);
    if (pairs == NULL) {
        ngx_egress_tls_explain(&l->error, "no memory for",
                               &l->own.files[0].name);
        return NULL;
    }

    for (i = 0; i < l->n; i++) {

        error = ngx_egress_pair_read(&pairs[i], &l->own.files[i],
                                     &l->own.files[l->n + i], &file);
        if (error) {
            ngx_egress_tls_explain(&l->error, error, &file->name);
            ngx_egress_pairs_free(pairs, l->n);
            return NULL;
        }
    }

    return pairs;
}


/* returns what failed, and the file to blame */

static const char *
ngx_egress_pair_read(ngx_egress_pair_t *pair, ngx_egress_file_t *cert,
    ngx_egress_file_t *key, ngx_egress_file_t **file)
{
    BIO         *bio;
    const char  *error;

    *file = cert;

    error = ngx_egress_file_unfit(cert);
    if (error) {
        return error;
    }

    bio = BIO_new_file((char *) cert->name.data, "r");
    if (bio == NULL) {
        return "cannot load certificate";
    }

    error = ngx_egress_pair_read_chain(pair, bio);

    BIO_free(bio);

    if (error) {
        return error;
    }

    *file = key;

    error = ngx_egress_file_unfit(key);
    if (error) {
        return error;
    }

    bio = BIO_new_file((char *) key->name.data, "r");
    if (bio == NULL) {
        return "cannot load certificate key";
    }

    /* a password is never asked for: nobody is there */

    pair->key = PEM_read_bio_PrivateKey(bio, NULL, NULL, (void *) "");

    BIO_free(bio);

    if (pair->key == NULL || X509_check_private_key(pair->cert, pair->key) != 1)
    {
        return "cannot load certificate key";
    }

    return NULL;
}


static const char *
ngx_egress_pair_read_chain(ngx_egress_pair_t *pair, BIO *bio)
{
    X509    *cert;
    u_long   n;

    pair->cert = PEM_read_bio_X509_AUX(bio, NULL, NULL, (void *) "");
    pair->chain = sk_X509_new_null();

    if (pair->cert == NULL || pair->chain == NULL) {
        return "cannot load certificate";
    }

    for ( ;; ) {

        cert = PEM_read_bio_X509(bio, NULL, NULL, (void *) "");

        if (cert == NULL) {
            break;
        }

        if (sk_X509_push(pair->chain, cert) == 0) {
            X509_free(cert);
            return "cannot load certificate";
        }
    }

    /* the end of the file is the only good one */

    n = ERR_peek_last_error();

    if (ERR_GET_LIB(n) != ERR_LIB_PEM
        || ERR_GET_REASON(n) != PEM_R_NO_START_LINE)
    {
        return "cannot load certificate";
    }

    ERR_clear_error();

    return NULL;
}


static void
ngx_egress_pairs_free(ngx_egress_pair_t *pairs, ngx_uint_t n)
{
    ngx_uint_t  i;

    if (pairs == NULL) {
        return;
    }

    for (i = 0; i < n; i++) {
        X509_free(pairs[i].cert);
        EVP_PKEY_free(pairs[i].key);
        sk_X509_pop_free(pairs[i].chain, X509_free);
    }

    ngx_free(pairs);
}


/*
 * Instead of the context's own: those can be replaced, but not removed, and
 * one with another type of key would not replace it.
 */

static int
ngx_egress_listener_certificate(ngx_ssl_conn_t *ssl, void *data)
{
    ngx_egress_listener_t *l = data;

    ngx_uint_t  i;

    SSL_certs_clear(ssl);

    for (i = 0; i < l->n; i++) {
        if (SSL_use_cert_and_key(ssl, l->pairs[i].cert, l->pairs[i].key,
                                 l->pairs[i].chain, 1)
            != 1)
        {
            return 0;
        }
    }

    return 1;
}


/* handshakes under way go by the new store as well */

static void
ngx_egress_listener_read_trust(ngx_egress_listener_t *l)
{
    X509_STORE           *store;
    STACK_OF(X509_NAME)  *names;

    names = NULL;

    store = ngx_egress_listener_store(l);

    if (store && l->client) {
        names = SSL_load_client_CA_file((char *) l->client->name.data);

        if (names == NULL) {
            ngx_egress_tls_explain(&l->error, "cannot load CA certificates",
                                   &l->client->name);
            X509_STORE_free(store);
            store = NULL;
        }
    }

    if (store) {
        SSL_CTX_set_cert_store(l->ctx, store);

        if (names) {
            SSL_CTX_set_client_CA_list(l->ctx, names);
        }

        ngx_egress_revoke_changed();
    }

    ngx_egress_watch_report(&l->trust, "listener's trusted certificates",
                            store ? NULL : &l->error, ngx_cycle->log);
}


X509_STORE *
ngx_egress_listener_store(ngx_egress_listener_t *l)
{
    X509_STORE         *store;
    const char         *error;
    ngx_egress_file_t  *file;

    file = &l->trust.files[0];

    store = X509_STORE_new();

    error = store ? ngx_egress_listener_load(l, store, &file)
                  : "cannot create store";

    if (error) {
        X509_STORE_free(store);
        ngx_egress_tls_explain(&l->error, error, &file->name);
        return NULL;
    }

    ERR_clear_error();

    return store;
}


static const char *
ngx_egress_listener_load(ngx_egress_listener_t *l, X509_STORE *store,
    ngx_egress_file_t **file)
{
    ngx_uint_t    i;
    const char   *error;
    X509_LOOKUP  *lookup;

    for (i = 0; i < l->trust.n; i++) {

        *file = &l->trust.files[i];

        error = ngx_egress_file_unfit(*file);
        if (error) {
            return error;
        }

        if (*file == l->crl) {
            break;
        }

        if (X509_STORE_load_locations(store, (char *) (*file)->name.data,
                                      NULL)
            != 1)
        {
            return "cannot load CA certificates";
        }
    }

    if (l->crl == NULL) {
        return NULL;
    }

    lookup = X509_STORE_add_lookup(store, X509_LOOKUP_file());

    if (lookup == NULL
        || X509_load_crl_file(lookup, (char *) l->crl->name.data,
                              X509_FILETYPE_PEM)
           == 0)
    {
        return "cannot load CRL";
    }

    X509_STORE_set_flags(store, X509_V_FLAG_CRL_CHECK
                                |X509_V_FLAG_CRL_CHECK_ALL);

    return NULL;
}
