
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_tls.h>


/* sessions of a worker, some 4 KB each; the longest unused one goes first */
#define NGX_EGRESS_SESSIONS     1024

#define NGX_EGRESS_SESSION_KEY  (sizeof(void *) + sizeof(ngx_uint_t)          \
                                 + sizeof(struct sockaddr_storage)            \
                                 + NGX_EGRESS_HOST_MAX)


/* with malloc(), as its number is bounded and its life is not a flow's */

typedef struct {
    ngx_str_node_t            sn;          /* key: the identity */
    ngx_queue_t               queue;       /* last used first */
    ngx_ssl_session_t        *session;
} ngx_egress_session_t;


static ngx_int_t ngx_egress_session_key(ngx_egress_flow_t *flow,
    ngx_str_t *key);
static ngx_egress_session_t *ngx_egress_session_find(ngx_str_t *key,
    uint32_t hash);
static ngx_egress_session_t *ngx_egress_session_create(ngx_str_t *key,
    uint32_t hash, ngx_log_t *log);
static void ngx_egress_session_free(ngx_egress_session_t *s);
static ngx_uint_t ngx_egress_session_usable(ngx_egress_flow_t *flow,
    ngx_ssl_session_t *session);


/* of this process */

static ngx_rbtree_t       ngx_egress_sessions;
static ngx_rbtree_node_t  ngx_egress_sessions_sentinel;
static ngx_queue_t        ngx_egress_sessions_queue;
static ngx_uint_t         ngx_egress_nsessions;


/*
 * A resumed session is not verified again: it is for who would have accepted
 * the certificate in the same way, and sent the same one.  The service stands
 * for its SANs, the context's generation for its files.
 */

static ngx_int_t
ngx_egress_session_key(ngx_egress_flow_t *flow, ngx_str_t *key)
{
    u_char      *p;
    ngx_str_t   *name;
    ngx_uint_t   generation;

    name = ngx_egress_tls_server_name(flow);

    if (name == NULL || name->len > NGX_EGRESS_HOST_MAX
        || flow->peer->socklen > (socklen_t) sizeof(struct sockaddr_storage))
    {
        return NGX_DECLINED;
    }

    generation = flow->service->conf->tls->ctx->generation;

    p = ngx_cpymem(key->data, &flow->service, sizeof(void *));
    p = ngx_cpymem(p, &generation, sizeof(ngx_uint_t));
    p = ngx_cpymem(p, flow->peer->sockaddr, flow->peer->socklen);
    p = ngx_cpymem(p, name->data, name->len);

    key->len = p - key->data;

    return NGX_OK;
}


void
ngx_egress_session_offer(ngx_egress_flow_t *flow, ngx_connection_t *c)
{
    ngx_str_t              key;
    ngx_egress_session_t  *s;
    u_char                 buf[NGX_EGRESS_SESSION_KEY];

    key.data = buf;

    if (ngx_egress_nsessions == 0
        || ngx_egress_session_key(flow, &key) != NGX_OK)
    {
        return;
    }

    s = ngx_egress_session_find(&key, ngx_crc32_long(key.data, key.len));

    if (s == NULL) {
        return;
    }

    if (!ngx_egress_session_usable(flow, s->session)) {
        ngx_egress_session_free(s);
        return;
    }

    if (SSL_set_session(c->ssl->connection, s->session) == 0) {
        ERR_clear_error();
    }
}


void
ngx_egress_tls_save(ngx_egress_flow_t *flow, ngx_connection_t *c)
{
    uint32_t               hash;
    ngx_str_t              key;
    ngx_ssl_session_t     *session;
    ngx_egress_session_t  *s;
    u_char                 buf[NGX_EGRESS_SESSION_KEY];

    key.data = buf;

    /* a context that was replaced since has another identity */

    if (SSL_get_SSL_CTX(c->ssl->connection)
        != flow->service->conf->tls->ctx->ssl.ctx
        || ngx_egress_session_key(flow, &key) != NGX_OK)
    {
        return;
    }

    session = ngx_ssl_get_session(c);
    if (session == NULL) {
        return;
    }

    if (!ngx_egress_session_usable(flow, session)) {
        ngx_ssl_free_session(session);
        return;
    }

    hash = ngx_crc32_long(key.data, key.len);

    s = ngx_egress_session_find(&key, hash);

    if (s == NULL) {
        s = ngx_egress_session_create(&key, hash, flow->log);

        if (s == NULL) {
            ngx_ssl_free_session(session);
            return;
        }
    }

    if (s->session) {
        ngx_ssl_free_session(s->session);
    }

    s->session = session;
}


/* what is found is the last used */

static ngx_egress_session_t *
ngx_egress_session_find(ngx_str_t *key, uint32_t hash)
{
    ngx_egress_session_t  *s;

    if (ngx_egress_nsessions == 0) {
        return NULL;
    }

    s = (ngx_egress_session_t *) ngx_str_rbtree_lookup(&ngx_egress_sessions,
                                                       key, hash);
    if (s) {
        ngx_queue_remove(&s->queue);
        ngx_queue_insert_head(&ngx_egress_sessions_queue, &s->queue);
    }

    return s;
}


static ngx_egress_session_t *
ngx_egress_session_create(ngx_str_t *key, uint32_t hash, ngx_log_t *log)
{
    ngx_queue_t           *q;
    ngx_egress_session_t  *s;

    if (ngx_egress_sessions.root == NULL) {
        ngx_rbtree_init(&ngx_egress_sessions, &ngx_egress_sessions_sentinel,
                        ngx_str_rbtree_insert_value);
        ngx_queue_init(&ngx_egress_sessions_queue);
    }

    if (ngx_egress_nsessions == NGX_EGRESS_SESSIONS) {
        q = ngx_queue_last(&ngx_egress_sessions_queue);
        ngx_egress_session_free(ngx_queue_data(q, ngx_egress_session_t,
                                               queue));
    }

    s = ngx_calloc(sizeof(ngx_egress_session_t) + key->len, log);
    if (s == NULL) {
        return NULL;
    }

    s->sn.node.key = hash;
    s->sn.str.len = key->len;
    s->sn.str.data = (u_char *) s + sizeof(ngx_egress_session_t);
    ngx_memcpy(s->sn.str.data, key->data, key->len);

    ngx_rbtree_insert(&ngx_egress_sessions, &s->sn.node);
    ngx_queue_insert_head(&ngx_egress_sessions_queue, &s->queue);

    ngx_egress_nsessions++;

    return s;
}


static void
ngx_egress_session_free(ngx_egress_session_t *s)
{
    ngx_rbtree_delete(&ngx_egress_sessions, &s->sn.node);
    ngx_queue_remove(&s->queue);

    ngx_egress_nsessions--;

    if (s->session) {
        ngx_ssl_free_session(s->session);
    }

    ngx_free(s);
}


/*
 * The certificate that was verified may have expired since.  Another one of
 * its chain, or the CRL, may as well: what was verified holds for a session
 * as long as it does for a connection.
 */

static ngx_uint_t
ngx_egress_session_usable(ngx_egress_flow_t *flow, ngx_ssl_session_t *session)
{
    X509                       *cert;
    time_t                      age;
    ngx_egress_service_conf_t  *conf;

    if (!SSL_SESSION_is_resumable(session)) {
        return 0;
    }

    conf = flow->service->conf;

    if (conf->tls->verify) {
        age = ngx_time() - ngx_egress_tls_verified(session);

        if (age < 0 || (ngx_msec_t) age * 1000 >= conf->keepalive_time) {
            return 0;
        }
    }

    cert = SSL_SESSION_get0_peer(session);

    return cert && X509_cmp_time(X509_get0_notAfter(cert), NULL) > 0;
}
