
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


/* ms; how often some of the connections are looked at */
#define NGX_EGRESS_REVOKE_TICK    100

/* ms; a change of files is seen after that at the latest */
#define NGX_EGRESS_REVOKE_NOTICE  5000

/* connections that a tick looks at, however few there are */
#define NGX_EGRESS_REVOKE_BATCH   16

/* files of a listener: client, trusted, crl */
#define NGX_EGRESS_REVOKE_FILES   3


/*
 * What the listeners of a configuration trust, for workers of older ones:
 * three names for each listener, with a NUL each.  In the shared zone.
 */

typedef struct ngx_egress_trusts_s  ngx_egress_trusts_t;

struct ngx_egress_trusts_s {
    ngx_egress_trusts_t      *next;
    ngx_uint_t                gen;
    ngx_uint_t                n;           /* listeners */
    size_t                    len;
    u_char                    text[1];
};


typedef struct {
    ngx_atomic_t              revoked;     /* connections that were closed */

    /* under the mutex; the current one stays, the others go at a reload */

    ngx_egress_trusts_t      *trusts;
    ngx_egress_trusts_t      *current;     /* of trusts; or NULL */
} ngx_egress_revoke_area_t;


/* a client's connection; in its own pool */

typedef struct {
    ngx_queue_t               queue;
    ngx_connection_t         *connection;
    void                    (*close)(ngx_connection_t *c);
    ngx_uint_t                epoch;       /* of trust that it passed */
    time_t                    expires;     /* first of its certificates */
    unsigned                  closed:1;
} ngx_egress_watched_t;


/* of a process: what the listeners of a newer configuration trust */

typedef struct {
    ngx_pool_t               *pool;        /* of all of it; NULL: no newer */
    ngx_uint_t                gen;
    ngx_uint_t                n;
    ngx_egress_listener_t    *listeners;
    X509_STORE              **stores;      /* NULL: can't be read */
} ngx_egress_newer_t;


static void ngx_egress_revoke_cleanup(void *data);
static ngx_egress_watched_t *ngx_egress_revoke_find(ngx_connection_t *c);
static time_t ngx_egress_revoke_expires(STACK_OF(X509) *chain);
static void ngx_egress_revoke_handler(ngx_event_t *ev);
static void ngx_egress_revoke_look(ngx_egress_watched_t *w);
static const char *ngx_egress_revoke_verify(SSL *ssl);
static const char *ngx_egress_revoke_verify_by(SSL *ssl, X509_STORE *store);
static void ngx_egress_revoke_log(ngx_connection_t *c, const char *error);

static void ngx_egress_revoke_follow(ngx_cycle_t *cycle);
static ngx_int_t ngx_egress_revoke_copy(ngx_egress_revoke_area_t *area,
    ngx_slab_pool_t *shpool, ngx_egress_newer_t *newer);
static ngx_int_t ngx_egress_revoke_names(ngx_egress_newer_t *newer,
    u_char *text);
static void ngx_egress_revoke_read(ngx_egress_newer_t *newer, ngx_uint_t i);
static void ngx_egress_revoke_forget(ngx_egress_newer_t *newer);

static ngx_int_t ngx_egress_revoke_init_area(ngx_slab_pool_t *shpool,
    void **area, void *data, ngx_log_t *log);
static ngx_egress_trusts_t *ngx_egress_revoke_trusts(ngx_slab_pool_t *shpool,
    ngx_egress_conf_t *ecf);
static size_t ngx_egress_revoke_text(ngx_egress_conf_t *ecf, u_char *p,
    ngx_uint_t *n);
static ngx_int_t ngx_egress_revoke_metrics(ngx_egress_report_t *report);


static ngx_str_t             ngx_egress_revoke_part = ngx_string("revoke");

/* of the process */

static ngx_queue_t           ngx_egress_revoke_queue;  /* next first */
static ngx_uint_t            ngx_egress_revoke_n;
static ngx_uint_t            ngx_egress_revoke_epoch;
static ngx_msec_t            ngx_egress_revoke_since;  /* of the epoch */
static ngx_event_t           ngx_egress_revoke_event;
static ngx_connection_t      ngx_egress_revoke_dummy;
static ngx_egress_newer_t    ngx_egress_revoke_newer;


ngx_int_t
ngx_egress_revoke_watch(ngx_connection_t *c,
    void (*close)(ngx_connection_t *c))
{
    SSL                   *ssl;
    STACK_OF(X509)        *chain;
    ngx_pool_cleanup_t    *cln;
    ngx_egress_watched_t  *w;

    if (c->ssl == NULL || ngx_egress_revoke_event.handler == NULL
        || ngx_egress_revoke_find(c))
    {
        return NGX_OK;
    }

    /* as of an identity: without a chain that was verified there is none */

    ssl = c->ssl->connection;
    chain = SSL_get0_verified_chain(ssl);

    if (chain == NULL || sk_X509_num(chain) == 0
        || SSL_get_verify_result(ssl) != X509_V_OK)
    {
        return NGX_OK;
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_egress_watched_t));
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_egress_revoke_cleanup;

    w = cln->data;
    w->connection = c;
    w->close = close;
    w->closed = 0;
    w->expires = ngx_egress_revoke_expires(chain);

    /* its handshake may have been before the last change */

    w->epoch = ((ngx_msec_int_t) (c->start_time - ngx_egress_revoke_since)
                > 0)
               ? ngx_egress_revoke_epoch : 0;

    ngx_queue_insert_tail(&ngx_egress_revoke_queue, &w->queue);
    ngx_egress_revoke_n++;

    if (!ngx_egress_revoke_event.timer_set) {
        ngx_add_timer(&ngx_egress_revoke_event, NGX_EGRESS_REVOKE_TICK);
    }

    return NGX_OK;
}


static void
ngx_egress_revoke_cleanup(void *data)
{
    ngx_egress_watched_t *w = data;

    ngx_queue_remove(&w->queue);
    ngx_egress_revoke_n--;
}


static ngx_egress_watched_t *
ngx_egress_revoke_find(ngx_connection_t *c)
{
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_egress_revoke_cleanup) {
            return cln->data;
        }
    }

    return NULL;
}


static time_t
ngx_egress_revoke_expires(STACK_OF(X509) *chain)
{
    int     i, days, sec;
    time_t  expires, t;

    expires = 0;

    for (i = 0; i < sk_X509_num(chain); i++) {

        if (ASN1_TIME_diff(&days, &sec, NULL,
                           X509_get0_notAfter(sk_X509_value(chain, i)))
            == 0)
        {
            ERR_clear_error();
            return 0;
        }

        t = ngx_time() + (time_t) days * 86400 + sec;

        if (i == 0 || t < expires) {
            expires = t;
        }
    }

    return expires;
}


void
ngx_egress_revoke_changed(void)
{
    ngx_egress_revoke_epoch++;
    ngx_egress_revoke_since = ngx_current_msec;
}


/*
 * All connections are looked at once in the time that the bound leaves after
 * a change was noticed: a look costs something only if there is a reason.
 */

static void
ngx_egress_revoke_handler(ngx_event_t *ev)
{
    ngx_uint_t             n;
    ngx_msec_t             time;
    ngx_queue_t           *q;
    ngx_cycle_t           *cycle;
    ngx_egress_watched_t  *w;

    cycle = (ngx_cycle_t *) ngx_cycle;

    /* in a worker that finishes nobody else looks at the files */

    ngx_egress_listener_check(cycle);
    ngx_egress_revoke_follow(cycle);

    time = ngx_egress_get_core_conf(cycle)->revoke_timeout
           - NGX_EGRESS_REVOKE_NOTICE;

    n = ngx_egress_revoke_n * NGX_EGRESS_REVOKE_TICK / time
        + NGX_EGRESS_REVOKE_BATCH;

    n = ngx_min(n, ngx_egress_revoke_n);

    /* one that is closed may take itself out, but no other */

    while (n--) {
        q = ngx_queue_head(&ngx_egress_revoke_queue);
        w = ngx_queue_data(q, ngx_egress_watched_t, queue);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(&ngx_egress_revoke_queue, q);

        ngx_egress_revoke_look(w);
    }

    if (ngx_egress_revoke_n) {
        ngx_add_timer(ev, NGX_EGRESS_REVOKE_TICK);
    }
}


static void
ngx_egress_revoke_look(ngx_egress_watched_t *w)
{
    SSL                       *ssl;
    const char                *error;
    ngx_egress_revoke_area_t  *area;

    if (w->closed || (w->epoch == ngx_egress_revoke_epoch
                      && ngx_time() <= w->expires))
    {
        return;
    }

    w->epoch = ngx_egress_revoke_epoch;

    ssl = w->connection->ssl ? w->connection->ssl->connection : NULL;

    /* waits for the end of TLS only: what its data was is gone */

    if (ssl == NULL || (SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN)) {
        return;
    }

    error = ngx_egress_revoke_verify(ssl);

    ERR_clear_error();

    if (error == NULL) {
        return;
    }

    w->closed = 1;

    area = ngx_egress_area(NGX_EGRESS_AREA_REVOKE, NULL);
    (void) ngx_atomic_fetch_add(&area->revoked, 1);

    ngx_egress_revoke_log(w->connection, error);

    w->close(w->connection);
}


/*
 * By what the listener trusts now, and in an old worker by what any listener
 * of the new configuration does: which of them follows the old one can't be
 * told.  Returns what is wrong, or NULL.
 */

static const char *
ngx_egress_revoke_verify(SSL *ssl)
{
    ngx_uint_t           i;
    const char          *error;
    ngx_egress_newer_t  *newer;

    error = ngx_egress_revoke_verify_by(ssl,
                               SSL_CTX_get_cert_store(SSL_get_SSL_CTX(ssl)));

    newer = &ngx_egress_revoke_newer;

    if (error || newer->pool == NULL) {
        return error;
    }

    error = "no listener of the new configuration verifies clients";

    for (i = 0; i < newer->n; i++) {

        /* files that can't be read say nothing against anybody */

        if (newer->stores[i] == NULL) {
            return NULL;
        }

        error = ngx_egress_revoke_verify_by(ssl, newer->stores[i]);

        if (error == NULL) {
            return NULL;
        }
    }

    return error;
}


/* as OpenSSL does it in a handshake */

static const char *
ngx_egress_revoke_verify_by(SSL *ssl, X509_STORE *store)
{
    int              rc;
    const char      *error;
    STACK_OF(X509)  *chain;
    X509_STORE_CTX  *ctx;

    ctx = X509_STORE_CTX_new();
    if (ctx == NULL) {
        return "no memory";
    }

    error = "cannot be verified";
    chain = SSL_get0_verified_chain(ssl);

    if (X509_STORE_CTX_init(ctx, store, sk_X509_value(chain, 0), chain) == 1
        && X509_STORE_CTX_set_default(ctx, "ssl_client") == 1
        && X509_VERIFY_PARAM_set1(X509_STORE_CTX_get0_param(ctx),
                                  SSL_get0_param(ssl))
           == 1)
    {
        rc = X509_verify_cert(ctx);

        error = (rc == 1) ? NULL
                          : X509_verify_cert_error_string(
                                             X509_STORE_CTX_get_error(ctx));
    }

    X509_STORE_CTX_free(ctx);

    return error;
}


static void
ngx_egress_revoke_log(ngx_connection_t *c, const char *error)
{
    X509           *cert;
    size_t          len;
    u_char         *p, hex[2 * 20];
    char            issuer[256];
    ASN1_INTEGER   *serial;

    cert = sk_X509_value(SSL_get0_verified_chain(c->ssl->connection), 0);

    serial = X509_get_serialNumber(cert);
    len = ngx_min(ASN1_STRING_length(serial), 20);
    p = ngx_hex_dump(hex, (u_char *) ASN1_STRING_get0_data(serial), len);

    if (X509_NAME_oneline(X509_get_issuer_name(cert), issuer, sizeof(issuer))
        == NULL)
    {
        issuer[0] = '\0';
    }

    ngx_log_error(NGX_LOG_ERR, c->log, 0,
                  "client certificate is not accepted any more: %s, "
                  "connection is closed, serial: %*s, issuer: \"%s\"",
                  error, (size_t) (p - hex), hex, issuer);
}


/* notices a newer configuration, and changes of its files */

static void
ngx_egress_revoke_follow(ngx_cycle_t *cycle)
{
    ngx_uint_t                 i;
    ngx_slab_pool_t           *shpool;
    ngx_egress_newer_t        *newer;
    ngx_egress_revoke_area_t  *area;

    newer = &ngx_egress_revoke_newer;

    for (i = 0; newer->pool && i < newer->n; i++) {
        if (ngx_egress_watch_check(&newer->listeners[i].trust) == NGX_OK) {
            ngx_egress_revoke_read(newer, i);
            ngx_egress_revoke_changed();
        }
    }

    area = ngx_egress_area(NGX_EGRESS_AREA_REVOKE, &shpool);

    if (!ngx_exiting || area->current == NULL) {
        return;
    }

    if (newer->gen == 0) {
        newer->gen = ngx_egress_get_core_conf(cycle)->gen;
    }

    if (ngx_egress_revoke_copy(area, shpool, newer) == NGX_OK) {
        ngx_egress_revoke_changed();
    }
}


/* NGX_DECLINED: there is nothing new */

static ngx_int_t
ngx_egress_revoke_copy(ngx_egress_revoke_area_t *area,
    ngx_slab_pool_t *shpool, ngx_egress_newer_t *newer)
{
    u_char               *text;
    ngx_pool_t           *pool;
    ngx_uint_t            i, gen;
    ngx_egress_newer_t    copy;
    ngx_egress_trusts_t  *trusts;

    ngx_shmtx_lock(&shpool->mutex);
    gen = area->current->gen;
    ngx_shmtx_unlock(&shpool->mutex);

    if (gen <= newer->gen) {
        return NGX_DECLINED;
    }

    pool = ngx_create_pool(4096, ngx_cycle->log);
    if (pool == NULL) {
        return NGX_DECLINED;
    }

    /* by now it may be yet another one, which is newer all the more */

    ngx_shmtx_lock(&shpool->mutex);

    trusts = area->current;

    text = ngx_pnalloc(pool, trusts->len + 1);

    if (text) {
        ngx_memcpy(text, trusts->text, trusts->len);
        copy.gen = trusts->gen;
        copy.n = trusts->n;
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (text == NULL) {
        ngx_destroy_pool(pool);
        return NGX_DECLINED;
    }

    copy.pool = pool;

    if (ngx_egress_revoke_names(&copy, text) != NGX_OK) {
        ngx_destroy_pool(pool);
        return NGX_DECLINED;
    }

    for (i = 0; i < copy.n; i++) {
        ngx_egress_watch_mark(&copy.listeners[i].trust);
        ngx_egress_revoke_read(&copy, i);
    }

    ngx_egress_revoke_forget(newer);

    *newer = copy;

    return NGX_OK;
}


static ngx_int_t
ngx_egress_revoke_names(ngx_egress_newer_t *newer, u_char *text)
{
    size_t                  len;
    ngx_uint_t              i, k;
    ngx_egress_file_t      *file;
    ngx_egress_listener_t  *l;

    newer->listeners = ngx_pcalloc(newer->pool, (newer->n + 1)
                                   * sizeof(ngx_egress_listener_t));
    newer->stores = ngx_pcalloc(newer->pool, (newer->n + 1)
                                             * sizeof(X509_STORE *));

    if (newer->listeners == NULL || newer->stores == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < newer->n; i++) {

        l = &newer->listeners[i];

        l->trust.files = ngx_pcalloc(newer->pool, NGX_EGRESS_REVOKE_FILES
                                                  * sizeof(ngx_egress_file_t));
        if (l->trust.files == NULL) {
            return NGX_ERROR;
        }

        for (k = 0; k < NGX_EGRESS_REVOKE_FILES; k++) {

            len = ngx_strlen(text);

            if (len) {
                file = &l->trust.files[l->trust.n++];
                file->name.data = text;
                file->name.len = len;

                if (k == NGX_EGRESS_REVOKE_FILES - 1) {
                    l->crl = file;
                }
            }

            text += len + 1;
        }
    }

    return NGX_OK;
}


static void
ngx_egress_revoke_read(ngx_egress_newer_t *newer, ngx_uint_t i)
{
    X509_STORE             *store;
    ngx_egress_listener_t  *l;

    l = &newer->listeners[i];

    store = ngx_egress_listener_store(l);

    if (store == NULL) {
        ngx_log_error(NGX_LOG_ERR, ngx_cycle->log, 0,
                      "clients of before the reload are not verified by the "
                      "new configuration: %V", &l->error);
        ngx_egress_tls_forget(&l->error);

        /* the last good one stays, as in new workers */

        return;
    }

    X509_STORE_free(newer->stores[i]);
    newer->stores[i] = store;
}


static void
ngx_egress_revoke_forget(ngx_egress_newer_t *newer)
{
    ngx_uint_t  i;

    if (newer->pool == NULL) {
        return;
    }

    for (i = 0; i < newer->n; i++) {
        X509_STORE_free(newer->stores[i]);
    }

    ngx_destroy_pool(newer->pool);
}


ngx_int_t
ngx_egress_revoke_init(ngx_conf_t *cf)
{
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf(cf->cycle);

    if (ngx_egress_add_area(cf, NGX_EGRESS_AREA_REVOKE,
                            ngx_egress_revoke_init_area, ecf)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_egress_add_report(cf, NGX_EGRESS_REPORT_METRICS,
                                 &ngx_egress_revoke_part,
                                 ngx_egress_revoke_metrics);
}


/*
 * Room is taken here, where its lack fails the start; it becomes the current
 * one when a worker starts: until then this configuration may yet fail.
 */

static ngx_int_t
ngx_egress_revoke_init_area(ngx_slab_pool_t *shpool, void **area, void *data,
    ngx_log_t *log)
{
    ngx_egress_conf_t *ecf = data;

    ngx_egress_trusts_t       *trusts, **p;
    ngx_egress_revoke_area_t  *ra;

    ngx_shmtx_lock(&shpool->mutex);

    ra = *area;

    if (ra == NULL) {
        ra = ngx_slab_calloc_locked(shpool,
                                    sizeof(ngx_egress_revoke_area_t));
        if (ra == NULL) {
            goto failed;
        }

        *area = ra;
    }

    for (p = &ra->trusts; *p; /* void */ ) {

        trusts = *p;

        if (trusts == ra->current) {
            p = &trusts->next;
            continue;
        }

        *p = trusts->next;
        ngx_slab_free_locked(shpool, trusts);
    }

    trusts = ngx_egress_revoke_trusts(shpool, ecf);
    if (trusts == NULL) {
        goto failed;
    }

    trusts->next = ra->trusts;
    ra->trusts = trusts;

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_OK;

failed:

    ngx_shmtx_unlock(&shpool->mutex);

    return NGX_ERROR;
}


static ngx_egress_trusts_t *
ngx_egress_revoke_trusts(ngx_slab_pool_t *shpool, ngx_egress_conf_t *ecf)
{
    size_t                len;
    ngx_uint_t            n;
    ngx_egress_trusts_t  *trusts;

    len = ngx_egress_revoke_text(ecf, NULL, &n);

    trusts = ngx_slab_calloc_locked(shpool,
                                    sizeof(ngx_egress_trusts_t) + len);
    if (trusts == NULL) {
        return NULL;
    }

    trusts->gen = ecf->gen;
    trusts->n = n;
    trusts->len = ngx_egress_revoke_text(ecf, trusts->text, &n);

    return trusts;
}


/* p may be NULL: only the length is wanted */

static size_t
ngx_egress_revoke_text(ngx_egress_conf_t *ecf, u_char *p, ngx_uint_t *n)
{
    size_t                   len;
    ngx_uint_t               i, k, next;
    ngx_str_t               *name;
    ngx_egress_listener_t  **l;

    static ngx_str_t  none = ngx_string("");

    l = ecf->listeners.elts;
    len = 0;
    *n = 0;

    for (i = 0; i < ecf->listeners.nelts; i++) {

        if (l[i]->trust.n == 0) {
            continue;
        }

        (*n)++;
        next = 0;

        for (k = 0; k < NGX_EGRESS_REVOKE_FILES; k++) {

            name = &none;

            /* CAs need not stand in their own places, the CRL has to */

            if (next < l[i]->trust.n
                && ((k == NGX_EGRESS_REVOKE_FILES - 1)
                    == (&l[i]->trust.files[next] == l[i]->crl)))
            {
                name = &l[i]->trust.files[next++].name;
            }

            if (p) {
                p = ngx_cpymem(p, name->data, name->len);
                *p++ = '\0';
            }

            len += name->len + 1;
        }
    }

    return len;
}


void
ngx_egress_revoke_init_process(ngx_cycle_t *cycle)
{
    ngx_egress_conf_t         *ecf;
    ngx_slab_pool_t           *shpool;
    ngx_egress_trusts_t       *trusts;
    ngx_egress_revoke_area_t  *area;

    area = ngx_egress_area(NGX_EGRESS_AREA_REVOKE, &shpool);
    if (area == NULL) {
        return;
    }

    ecf = ngx_egress_get_core_conf(cycle);

    ngx_shmtx_lock(&shpool->mutex);

    for (trusts = area->trusts; trusts; trusts = trusts->next) {

        if (trusts->gen == ecf->gen
            && (area->current == NULL || area->current->gen < ecf->gen))
        {
            area->current = trusts;
            break;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    if (ecf->revoke_timeout == 0) {
        return;
    }

    ngx_queue_init(&ngx_egress_revoke_queue);

    ngx_egress_revoke_epoch = 1;
    ngx_egress_revoke_since = ngx_current_msec;

    ngx_egress_revoke_dummy.fd = (ngx_socket_t) -1;

    ngx_egress_revoke_event.handler = ngx_egress_revoke_handler;
    ngx_egress_revoke_event.data = &ngx_egress_revoke_dummy;
    ngx_egress_revoke_event.log = cycle->log;
    ngx_egress_revoke_event.cancelable = 1;
}


static ngx_int_t
ngx_egress_revoke_metrics(ngx_egress_report_t *report)
{
    ngx_egress_text_t         *text;
    ngx_egress_revoke_area_t  *area;

    text = &report->text;
    area = ngx_egress_area(NGX_EGRESS_AREA_REVOKE, NULL);

    ngx_egress_metric_family(text, "egress_revoked_total", "counter",
                             "Connections that were closed because the "
                             "client's certificate is not accepted any more.");
    ngx_egress_metric_open(text, "egress_revoked_total");
    ngx_egress_metric_value(text, area->revoked);

    return NGX_OK;
}
