
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>
#include <ngx_egress_tls.h>


/* idle connections looked at in one go for one that fits */
#define NGX_EGRESS_POOL_TRIES  64


/*
 * A connection between two requests.  It belongs to one TLS identity: that of
 * its service, of the context as it is now (the connection has one of its
 * own), and of the name that was said in SNI and verified.  Lives in the
 * connection's own pool.
 */

typedef struct {
    ngx_queue_t               queue;       /* of the service */
    ngx_queue_t               all;         /* of the process */
    ngx_egress_service_t     *svc;
    ngx_connection_t         *connection;
    ngx_egress_hold_t        *hold;
    ngx_egress_state_t       *state;
    ngx_uint_t                variant;
    in_port_t                 target;
    ngx_uint_t                made;        /* versions of names in which the
                                              endpoint was seen last */
    ngx_str_t                 name;        /* in SNI; empty: no TLS */
    ngx_uint_t                http2;       /* of the flow */
} ngx_egress_idle_t;


static ngx_uint_t ngx_egress_keeps(ngx_egress_flow_t *flow,
    ngx_connection_t *c);
static ngx_egress_idle_t *ngx_egress_idle_create(ngx_egress_flow_t *flow,
    ngx_connection_t *c);
static ngx_egress_idle_t *ngx_egress_idle_find(ngx_connection_t *c);
static void ngx_egress_idle_cleanup(void *data);
static void ngx_egress_idle_start(ngx_egress_idle_t *idle);
static ngx_uint_t ngx_egress_idle_fits(ngx_egress_idle_t *idle,
    ngx_egress_flow_t *flow, ngx_str_t *name, ngx_egress_state_t *state);
static void ngx_egress_idle_remove(ngx_egress_idle_t *idle);
static void ngx_egress_idle_close(ngx_egress_idle_t *idle);
static ngx_uint_t ngx_egress_idle_valid(ngx_egress_idle_t *idle);
static ngx_int_t ngx_egress_idle_quiet(ngx_event_t *ev);
static void ngx_egress_idle_read_handler(ngx_event_t *ev);
static void ngx_egress_kept_read_handler(ngx_event_t *ev);
static void ngx_egress_idle_write_handler(ngx_event_t *ev);
static ngx_int_t ngx_egress_set_keepalive(ngx_connection_t *c,
    ngx_egress_tcp_keepalive_t *ka);


static ngx_queue_t  ngx_egress_idles;      /* of this process */


ngx_int_t
ngx_egress_connect(ngx_egress_flow_t *flow, ngx_peer_connection_t *pc)
{
    ngx_int_t               rc;
    ngx_egress_share_t     *share;
    ngx_peer_connection_t   own;

    share = flow->service->share;

    own = *pc;
    own.get = ngx_event_get_peer;
    own.connection = NULL;

    rc = ngx_event_connect_peer(&own);

    pc->connection = NULL;

    if (rc != NGX_OK && rc != NGX_AGAIN) {
        return rc;
    }

    pc->connection = own.connection;

    (void) ngx_atomic_fetch_add(&share->opened, 1);

    if (flow->service->conf->tcp_keepalive
        && flow->peer->sockaddr->sa_family != AF_UNIX
        && ngx_egress_set_keepalive(own.connection,
                                    flow->service->conf->tcp_keepalive)
           != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, flow->log, ngx_socket_errno,
                      "setting keepalive of egress service \"%V\" failed",
                      &flow->service->name);
    }

    return rc;
}


static ngx_int_t
ngx_egress_set_keepalive(ngx_connection_t *c, ngx_egress_tcp_keepalive_t *ka)
{
    int         value;
    ngx_uint_t  i;

    struct {
        int         level;
        int         name;
        ngx_uint_t  value;                 /* 0: the system's */
    } options[] = {
        { SOL_SOCKET, SO_KEEPALIVE, ka->enable },
        { IPPROTO_TCP, TCP_KEEPIDLE, ka->time },
        { IPPROTO_TCP, TCP_KEEPINTVL, ka->interval },
        { IPPROTO_TCP, TCP_KEEPCNT, ka->probes }
    };

    for (i = 0; i < sizeof(options) / sizeof(options[0]); i++) {

        value = (int) options[i].value;

        if ((value || i == 0)
            && setsockopt(c->fd, options[i].level, options[i].name,
                          (const void *) &value, sizeof(int))
               == -1)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


void
ngx_egress_close(ngx_connection_t *c)
{
    if (c->ssl) {
        c->ssl->no_wait_shutdown = 1;
        c->ssl->no_send_shutdown = 1;

        (void) ngx_ssl_shutdown(c);
    }

    if (c->pool) {
        ngx_destroy_pool(c->pool);
    }

    ngx_close_connection(c);
}


ngx_int_t
ngx_egress_keep(ngx_egress_flow_t *flow, ngx_connection_t *c)
{
    ngx_queue_t         *q;
    ngx_egress_idle_t   *idle;
    ngx_egress_local_t  *local;

    if (!ngx_egress_keeps(flow, c)) {
        return NGX_DECLINED;
    }

    idle = ngx_egress_idle_create(flow, c);

    if (idle == NULL) {
        return NGX_DECLINED;
    }

    local = flow->service->local;

    ngx_queue_insert_head(&local->idle, &idle->queue);
    ngx_queue_insert_head(&ngx_egress_idles, &idle->all);

    if (++local->nidle > (ngx_uint_t) flow->service->conf->keepalive) {
        q = ngx_queue_last(&local->idle);
        ngx_egress_idle_close(ngx_queue_data(q, ngx_egress_idle_t, queue));
    }

    ngx_egress_idle_start(idle);

    return NGX_OK;
}


static ngx_uint_t
ngx_egress_keeps(ngx_egress_flow_t *flow, ngx_connection_t *c)
{
    ngx_egress_service_t  *svc;

    svc = flow->service;

    if (svc->conf->keepalive == 0 || flow->reach->state == NULL
        || c->pool == NULL
        || ngx_terminate || ngx_exiting)
    {
        return 0;
    }

    if (svc->conf->requests_per_connection != NGX_EGRESS_UNLIMITED
        && c->requests >= (ngx_uint_t) svc->conf->requests_per_connection)
    {
        return 0;
    }

    if (c->read->eof || c->read->error || c->read->timedout
        || c->write->error || c->write->timedout)
    {
        return 0;
    }

    if (ngx_current_msec - c->start_time >= svc->conf->keepalive_time
        || !ngx_egress_tls_current(svc, c))
    {
        return 0;
    }

    /* bytes that nobody asked for would be the next request's answer */

    if (c->ssl && !ngx_egress_tls_quiet(c)) {
        return 0;
    }

    /* somebody waits for a slot */

    if (svc->share->held[NGX_EGRESS_HELD_PENDING]) {
        return 0;
    }

    return ngx_handle_read_event(c->read, 0) == NGX_OK;
}


static ngx_egress_idle_t *
ngx_egress_idle_create(ngx_egress_flow_t *flow, ngx_connection_t *c)
{
    ngx_str_t          *name;
    ngx_egress_hold_t  *hold;
    ngx_egress_idle_t  *idle;

    idle = ngx_egress_idle_find(c);
    if (idle == NULL) {
        return NULL;
    }

    if (c->ssl && idle->name.data == NULL) {

        name = ngx_egress_tls_server_name(flow);

        /* what comes later of this connection's TLS is no flow's */

        if (name == NULL
            || ngx_egress_tls_set_flow(c->ssl->connection, NULL) != NGX_OK)
        {
            return NULL;
        }

        idle->name.len = name->len;
        idle->name.data = ngx_pstrdup(c->pool, name);

        if (idle->name.data == NULL) {
            return NULL;
        }
    }

    hold = ngx_egress_hold_create(flow->service->share);

    if (hold == NULL) {
        return NULL;
    }

    ngx_egress_hold_park(hold, flow->reach->hold);

    idle->svc = flow->service;
    idle->connection = c;
    idle->hold = hold;
    idle->state = flow->reach->state;
    idle->variant = flow->reach->variant;
    idle->http2 = flow->http2;
    idle->target = flow->target;

    flow->reach->state = NULL;

    return idle;
}


/* a connection may be kept a million times, its pool only grows */

static ngx_egress_idle_t *
ngx_egress_idle_find(ngx_connection_t *c)
{
    ngx_egress_idle_t   *idle;
    ngx_pool_cleanup_t  *cln;

    for (cln = c->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_egress_idle_cleanup) {
            return cln->data;
        }
    }

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_egress_idle_t));
    if (cln == NULL) {
        return NULL;
    }

    ngx_memzero(cln->data, sizeof(ngx_egress_idle_t));

    cln->handler = ngx_egress_idle_cleanup;

    /* a connection always has the same endpoint */

    idle = cln->data;
    idle->made = (ngx_uint_t) -1;

    return idle;
}


/* marks what it is called for, and nothing more */

static void
ngx_egress_idle_cleanup(void *data)
{
    ngx_egress_idle_t *idle = data;

    idle->connection = NULL;
}


static void
ngx_egress_idle_start(ngx_egress_idle_t *idle)
{
    ngx_msec_t         timeout, left;
    ngx_connection_t  *c;

    c = idle->connection;

    c->read->delayed = 0;

    if (c->write->timer_set) {
        ngx_del_timer(c->write);
    }

    c->read->handler = ngx_egress_idle_read_handler;
    c->write->handler = ngx_egress_idle_write_handler;

    c->data = idle;
    c->idle = 1;
    c->log = ngx_cycle->log;
    c->read->log = ngx_cycle->log;
    c->write->log = ngx_cycle->log;
    c->pool->log = ngx_cycle->log;

    timeout = idle->svc->conf->keepalive_timeout;
    left = idle->svc->conf->keepalive_time - (ngx_current_msec - c->start_time);

    /* the answer's timer mostly ends at nearly the same time, and stays */

    ngx_add_timer(c->read, ngx_min(timeout, left));

    if (c->read->ready) {
        ngx_egress_idle_read_handler(c->read);
    }
}


ngx_int_t
ngx_egress_pool_take(ngx_egress_flow_t *flow, ngx_egress_state_t *state)
{
    ngx_str_t           *name;
    ngx_uint_t           tries;
    ngx_queue_t         *q;
    ngx_connection_t    *c;
    ngx_egress_idle_t   *idle;
    ngx_egress_local_t  *local;

    local = flow->service->local;

    if (local->nidle == 0 || flow->subsystem != NGX_EGRESS_HTTP) {
        return NGX_DECLINED;
    }

    name = ngx_egress_originates(flow) ? ngx_egress_tls_server_name(flow)
                                       : NULL;
    tries = NGX_EGRESS_POOL_TRIES;

    for (q = ngx_queue_head(&local->idle);
         q != ngx_queue_sentinel(&local->idle) && tries--;
         q = ngx_queue_next(q))
    {
        idle = ngx_queue_data(q, ngx_egress_idle_t, queue);

        if (!ngx_egress_idle_fits(idle, flow, name, state)) {
            continue;
        }

        c = idle->connection;

        ngx_egress_idle_remove(idle);

        if (c->read->timer_set) {
            ngx_del_timer(c->read);
        }

        c->read->handler = ngx_egress_kept_read_handler;

        c->data = flow->reach;
        c->idle = 0;
        c->log = flow->log;
        c->read->log = flow->log;
        c->write->log = flow->log;
        c->pool->log = flow->log;

        if (c->ssl) {
            ngx_egress_tls_expect(c);
        }

        ngx_egress_hold_resume(flow->reach->hold, idle->hold);

        flow->reach->kept = c;
        flow->reach->state = idle->state;

        return NGX_OK;
    }

    return NGX_DECLINED;
}


static ngx_uint_t
ngx_egress_idle_fits(ngx_egress_idle_t *idle, ngx_egress_flow_t *flow,
    ngx_str_t *name, ngx_egress_state_t *state)
{
    /* an endpoint without a port of its own has one state for all ports */

    if (idle->variant != flow->reach->variant
        || idle->http2 != flow->http2
        || idle->target != flow->target
        || (state && idle->state != state)
        || (idle->connection->ssl != NULL)
           != (ngx_egress_originates(flow) != 0))
    {
        return 0;
    }

    if (idle->connection->ssl
        && (name == NULL || name->len != idle->name.len
            || ngx_memcmp(name->data, idle->name.data, name->len) != 0))
    {
        return 0;
    }

    return ngx_egress_tls_current(idle->svc, idle->connection)
           && ngx_egress_idle_valid(idle);
}


ngx_connection_t *
ngx_egress_kept(ngx_egress_flow_t *flow)
{
    ngx_connection_t  *c;

    c = flow->reach->kept;
    flow->reach->kept = NULL;

    return c;
}


void
ngx_egress_kept_close(ngx_egress_flow_t *flow)
{
    ngx_egress_reach_t  *reach;

    reach = flow->reach;

    ngx_egress_close(reach->kept);
    reach->kept = NULL;

    /* the slot stays the flow's */

    ngx_egress_hold_unuse(reach->hold);
    reach->state = NULL;
}


static void
ngx_egress_idle_remove(ngx_egress_idle_t *idle)
{
    ngx_queue_remove(&idle->queue);
    ngx_queue_remove(&idle->all);

    idle->svc->local->nidle--;
}


static void
ngx_egress_idle_close(ngx_egress_idle_t *idle)
{
    ngx_egress_idle_remove(idle);

    ngx_egress_hold_destroy(idle->hold);

    ngx_egress_close(idle->connection);
}


/* is the endpoint still one of the service's, and not ejected */

static ngx_uint_t
ngx_egress_idle_valid(ngx_egress_idle_t *idle)
{
    ngx_uint_t             i, version;
    ngx_egress_set_t      *set;
    ngx_egress_service_t  *svc;

    svc = idle->svc;
    version = ngx_egress_names_version(svc, &svc->variants[idle->variant]);

    if (idle->made == version && idle->state->ejected == 0) {
        return 1;
    }

    set = ngx_egress_set(svc, idle->variant, ngx_cycle->log);

    if (set == NULL || (idle->state->ejected && !set->panic)) {
        return 0;
    }

    for (i = 0; i < set->n; i++) {
        if (set->members[i].state == idle->state) {
            idle->made = set->made;
            return 1;
        }
    }

    return 0;
}


void
ngx_egress_pool_init_process(void)
{
    ngx_queue_init(&ngx_egress_idles);
}


void
ngx_egress_pool_sweep(ngx_cycle_t *cycle)
{
    ngx_queue_t        *q, *next;
    ngx_egress_idle_t  *idle;

    for (q = ngx_queue_head(&ngx_egress_idles);
         q != ngx_queue_sentinel(&ngx_egress_idles);
         q = next)
    {
        next = ngx_queue_next(q);
        idle = ngx_queue_data(q, ngx_egress_idle_t, all);

        if (idle->svc->share->held[NGX_EGRESS_HELD_PENDING]
            || !ngx_egress_tls_current(idle->svc, idle->connection)
            || !ngx_egress_idle_valid(idle))
        {
            ngx_egress_idle_close(idle);
        }
    }
}


/* nothing is expected of an idle server: whatever comes is its end */

static ngx_int_t
ngx_egress_idle_quiet(ngx_event_t *ev)
{
    int                n;
    char               buf[1];
    ngx_connection_t  *c;

    c = ev->data;

    if (c->close || ev->timedout) {
        return NGX_ERROR;
    }

    n = recv(c->fd, buf, 1, MSG_PEEK);

    if (n != -1 || ngx_socket_errno != NGX_EAGAIN) {
        return NGX_ERROR;
    }

    ev->ready = 0;

    return ngx_handle_read_event(ev, 0);
}


static void
ngx_egress_idle_read_handler(ngx_event_t *ev)
{
    ngx_connection_t  *c;

    c = ev->data;

    if (ngx_egress_idle_quiet(ev) != NGX_OK) {
        ngx_egress_idle_close(c->data);
    }
}


/* a flow has the connection, and does not use it yet: its body is to come */

static void
ngx_egress_kept_read_handler(ngx_event_t *ev)
{
    ngx_connection_t    *c;
    ngx_egress_reach_t  *reach;

    c = ev->data;
    reach = c->data;

    if (ngx_egress_idle_quiet(ev) != NGX_OK) {
        ngx_egress_kept_close(reach->flow);
    }
}


static void
ngx_egress_idle_write_handler(ngx_event_t *ev)
{
    ngx_log_debug0(NGX_LOG_DEBUG_CORE, ev->log, 0,
                   "egress idle connection write event");
}
