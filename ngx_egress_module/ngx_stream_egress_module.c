
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event_connect.h>
#include <ngx_stream.h>
#include <ngx_egress.h>
#include <ngx_egress_tls.h>
#include <ngx_egress_clienthello.h>
#include <ngx_stream_egress.h>


#define NGX_STREAM_EGRESS_MESH_OFF       0
#define NGX_STREAM_EGRESS_MESH_REQUIRED  1
#define NGX_STREAM_EGRESS_MESH_OPTIONAL  2

#define NGX_STREAM_EGRESS_PREREAD_OFF    0
#define NGX_STREAM_EGRESS_PREREAD_ON     1
#define NGX_STREAM_EGRESS_PREREAD_TLS    2

#define NGX_STREAM_EGRESS_REFUSE_ALERT   0
#define NGX_STREAM_EGRESS_REFUSE_RESET   1
#define NGX_STREAM_EGRESS_REFUSE_CLOSE   2

/* RFC 8446, 6 */

#define NGX_STREAM_EGRESS_ALERT_ACCESS_DENIED      49
#define NGX_STREAM_EGRESS_ALERT_DECODE_ERROR       50
#define NGX_STREAM_EGRESS_ALERT_INTERNAL_ERROR     80
#define NGX_STREAM_EGRESS_ALERT_UNRECOGNIZED_NAME  112

#define NGX_STREAM_EGRESS_HELLO_SIZE     2048

/* looks at an idle session within its timeout */
#define NGX_STREAM_EGRESS_IDLE_LOOKS     8

/* where nginx's own ssl module says that a client certificate is asked for */
#define NGX_STREAM_EGRESS_VERIFY_OFF     0


#if (nginx_version >= 1025005)
typedef ngx_stream_ssl_srv_conf_t  ngx_stream_ssl_conf_t;
#endif


typedef struct {
    ngx_flag_t                       enable;
    ngx_int_t                        port;
    ngx_uint_t                       mesh;
    ngx_uint_t                       preread;
    ngx_msec_t                       preread_timeout;
    ngx_uint_t                       refuse;
    ngx_stream_complex_value_t      *service;
    ngx_module_t                    *realip;     /* or NULL */

    ngx_stream_content_handler_pt    handler;    /* of nginx's proxy */
    ngx_str_t                        proxy_pass;
    u_char                          *file;       /* of proxy_pass */
    ngx_uint_t                       line;

    ngx_flag_t                       balance;    /* of an upstream */
} ngx_stream_egress_srv_conf_t;


typedef struct {
    ngx_egress_flow_t                flow;
    ngx_egress_hello_t               hello;
    size_t                           parsed;     /* bytes of c->buffer */
    ngx_event_t                      timer;      /* of the preread */
    ngx_peer_connection_t            pc;         /* until handed over */
    ngx_uint_t                       failure;    /* of the last attempt */
    ngx_uint_t                       tries;      /* that are left */
    ngx_event_t                      idle;       /* timer of the session */
    ngx_msec_t                       active;     /* last */
    off_t                            moved;      /* bytes, until then */
    unsigned                         preread:1;  /* done */
    unsigned                         timedout:1;
    unsigned                         bad:1;      /* not a hello we accept */
} ngx_stream_egress_ctx_t;


static ngx_int_t ngx_stream_egress_ssl_handler(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_egress_peek(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx);
static ngx_int_t ngx_stream_egress_preread_handler(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_egress_preread_done(
    ngx_stream_egress_ctx_t *ctx);
static void ngx_stream_egress_timer_handler(ngx_event_t *ev);
static void ngx_stream_egress_read_handler(ngx_event_t *rev);
static ngx_int_t ngx_stream_egress_read(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx);
static ngx_int_t ngx_stream_egress_parse(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx);
static ngx_int_t ngx_stream_egress_grow(ngx_connection_t *c);
static void ngx_stream_egress_content_handler(ngx_stream_session_t *s);
static ngx_int_t ngx_stream_egress_destination(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx);
static ngx_int_t ngx_stream_egress_choice(ngx_stream_session_t *s,
    ngx_str_t *choice);
static ngx_uint_t ngx_stream_egress_classify(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx, ngx_str_t *choice);
static void ngx_stream_egress_wake(ngx_egress_flow_t *flow);
static void ngx_stream_egress_connect(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx);
static void ngx_stream_egress_connect_handler(ngx_event_t *ev);
static ngx_int_t ngx_stream_egress_test_connect(ngx_connection_t *c);
static void ngx_stream_egress_connected(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx);
static void ngx_stream_egress_handshake(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx);
static void ngx_stream_egress_save_session(ngx_connection_t *pc);
static void ngx_stream_egress_handshake_handler(ngx_connection_t *c);
static void ngx_stream_egress_next(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx, ngx_uint_t failure);
static void ngx_stream_egress_failed(ngx_stream_egress_ctx_t *ctx,
    ngx_uint_t failure);
static void ngx_stream_egress_close(ngx_stream_egress_ctx_t *ctx);
static void ngx_stream_egress_client_handler(ngx_event_t *ev);
static ngx_uint_t ngx_stream_egress_client_gone(ngx_connection_t *c,
    ngx_stream_egress_ctx_t *ctx);
static void ngx_stream_egress_idle(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx);
static void ngx_stream_egress_idle_handler(ngx_event_t *ev);
static ngx_int_t ngx_stream_egress_value(ngx_egress_flow_t *flow,
    ngx_str_t *name, ngx_uint_t hash, ngx_str_t *value);
static void ngx_stream_egress_revoked(ngx_connection_t *c);
static void ngx_stream_egress_timeout(ngx_connection_t *c);
static void ngx_stream_egress_refuse(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx);
static void ngx_stream_egress_send_alert(ngx_connection_t *c,
    ngx_uint_t reason);
static ngx_stream_egress_ctx_t *ngx_stream_egress_get_ctx(
    ngx_stream_session_t *s);
static void ngx_stream_egress_cleanup(void *data);

static ngx_int_t ngx_stream_egress_init_upstream(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us);
static ngx_int_t ngx_stream_egress_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us);
static ngx_int_t ngx_stream_egress_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_stream_egress_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);

static ngx_int_t ngx_stream_egress_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_egress_preconfiguration(ngx_conf_t *cf);
static ngx_int_t ngx_stream_egress_wrap_proxy_pass(ngx_conf_t *cf);
static void ngx_stream_egress_unwrap_proxy_pass(void *data);
static char *ngx_stream_egress_proxy_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void *ngx_stream_egress_create_srv_conf(ngx_conf_t *cf);
static char *ngx_stream_egress_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child);
static char *ngx_stream_egress_check_server(ngx_conf_t *cf,
    ngx_stream_egress_srv_conf_t *conf);
static ngx_int_t ngx_stream_egress_check_service(ngx_cycle_t *cycle,
    void *data);
static ngx_module_t *ngx_stream_egress_realip(ngx_conf_t *cf);
static ngx_uint_t ngx_stream_egress_proxies_ssl(ngx_conf_t *cf);
static ngx_uint_t ngx_stream_egress_is_balanced(ngx_conf_t *cf,
    ngx_str_t *name);
static char *ngx_stream_egress_enable(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_stream_egress_port(ngx_conf_t *cf, void *post, void *data);
static char *ngx_stream_egress_balance(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_stream_egress_init(ngx_conf_t *cf);
static ngx_int_t ngx_stream_egress_check_keys(ngx_cycle_t *cycle, void *data);
static ngx_uint_t ngx_stream_egress_known(void *data, ngx_str_t *name,
    ngx_uint_t hash);
static ngx_int_t ngx_stream_egress_check_upstreams(ngx_conf_t *cf);
static ngx_int_t ngx_stream_egress_listeners(ngx_conf_t *cf);


extern ngx_module_t  ngx_stream_proxy_module;


static ngx_conf_enum_t  ngx_stream_egress_mesh[] = {
    { ngx_string("off"), NGX_STREAM_EGRESS_MESH_OFF },
    { ngx_string("required"), NGX_STREAM_EGRESS_MESH_REQUIRED },
    { ngx_string("optional"), NGX_STREAM_EGRESS_MESH_OPTIONAL },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_stream_egress_preread[] = {
    { ngx_string("off"), NGX_STREAM_EGRESS_PREREAD_OFF },
    { ngx_string("on"), NGX_STREAM_EGRESS_PREREAD_ON },
    { ngx_string("tls"), NGX_STREAM_EGRESS_PREREAD_TLS },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_stream_egress_refusals[] = {
    { ngx_string("alert"), NGX_STREAM_EGRESS_REFUSE_ALERT },
    { ngx_string("reset"), NGX_STREAM_EGRESS_REFUSE_RESET },
    { ngx_string("close"), NGX_STREAM_EGRESS_REFUSE_CLOSE },
    { ngx_null_string, 0 }
};


static ngx_conf_post_t  ngx_stream_egress_port_post =
    { ngx_stream_egress_port };


static ngx_command_t  ngx_stream_egress_commands[] = {

    { ngx_string("egress"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_FLAG,
      ngx_stream_egress_enable,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_egress_srv_conf_t, enable),
      NULL },

    { ngx_string("egress_port"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_egress_srv_conf_t, port),
      &ngx_stream_egress_port_post },

    { ngx_string("egress_mesh"),
      NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_egress_srv_conf_t, mesh),
      &ngx_stream_egress_mesh },

    { ngx_string("egress_service"),
      NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_stream_set_complex_value_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_egress_srv_conf_t, service),
      NULL },

    { ngx_string("egress_preread"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_egress_srv_conf_t, preread),
      &ngx_stream_egress_preread },

    { ngx_string("egress_preread_timeout"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_egress_srv_conf_t, preread_timeout),
      NULL },

    { ngx_string("egress_refuse"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_egress_srv_conf_t, refuse),
      &ngx_stream_egress_refusals },

    { ngx_string("egress_balance"),
      NGX_STREAM_UPS_CONF|NGX_CONF_NOARGS,
      ngx_stream_egress_balance,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_egress_module_ctx = {
    ngx_stream_egress_preconfiguration,    /* preconfiguration */
    ngx_stream_egress_init,                /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_stream_egress_create_srv_conf,     /* create server configuration */
    ngx_stream_egress_merge_srv_conf       /* merge server configuration */
};


ngx_module_t  ngx_stream_egress_module = {
    NGX_MODULE_V1,
    &ngx_stream_egress_module_ctx,         /* module context */
    ngx_stream_egress_commands,            /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_egress_init_process,               /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_stream_variable_t  ngx_stream_egress_vars[] = {

    { ngx_string("egress_service"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_SERVICE, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_host"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_HOST, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_port"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_PORT, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_protocol"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_PROTOCOL, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_sni"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_SNI, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_alpn"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_ALPN, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_ech"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_ECH, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_verdict"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_VERDICT, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_reason"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_REASON, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_policy"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_POLICY, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_bucket"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_BUCKET, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_flags"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_FLAGS, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_endpoint"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_ENDPOINT, NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_tls_error"), NULL, ngx_stream_egress_variable,
      NGX_EGRESS_VAR_TLS_ERROR, NGX_STREAM_VAR_NOCACHEABLE, 0 },

      ngx_stream_null_variable
};


/* while a stream { } block is read: nginx's own handler of "proxy_pass" */

static ngx_command_t  *ngx_stream_egress_wrapped;
static char         *(*ngx_stream_egress_original)(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);


/*
 * Runs before nginx's own handler of the phase, which was registered before.
 * NGX_DECLINED lets nginx terminate TLS; NGX_OK with s->ssl cleared passes
 * the client's bytes as they are.
 */

static ngx_int_t
ngx_stream_egress_ssl_handler(ngx_stream_session_t *s)
{
    ngx_int_t                      rc;
    ngx_connection_t              *c;
    ngx_stream_egress_ctx_t       *ctx;
    ngx_stream_egress_srv_conf_t  *escf;

    c = s->connection;

    escf = ngx_stream_get_module_srv_conf(s, ngx_stream_egress_module);

    if (!escf->enable || !s->ssl || c->ssl
        || escf->mesh == NGX_STREAM_EGRESS_MESH_OFF)
    {
        return NGX_DECLINED;
    }

    ctx = ngx_stream_egress_get_ctx(s);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    rc = ngx_stream_egress_peek(s, ctx);

    if (rc == NGX_AGAIN || rc == NGX_DONE) {
        return rc == NGX_DONE ? NGX_STREAM_OK : NGX_AGAIN;
    }

    if (c->read->timer_set) {
        ngx_del_timer(c->read);
    }

    if (rc == NGX_OK
        && (ctx->hello.istio
            || (ctx->hello.sni_len > 9
                && ngx_strncmp(ctx->hello.sni, "outbound_", 9) == 0)))
    {
        return NGX_DECLINED;
    }

    if (escf->mesh == NGX_STREAM_EGRESS_MESH_OPTIONAL) {
        s->ssl = 0;
        return NGX_OK;
    }

    ctx->flow.tls = (rc == NGX_OK);
    ctx->flow.port = escf->port;
    ctx->flow.declared = (escf->port != 0);

    (void) ngx_egress_deny(&ctx->flow, NGX_EGRESS_NO_IDENTITY);

    ngx_stream_egress_refuse(s, ctx);

    /* the session is gone */

    return NGX_DONE;
}


/* like ngx_egress_hello_parse(); NGX_DONE: the client is gone */

static ngx_int_t
ngx_stream_egress_peek(ngx_stream_session_t *s, ngx_stream_egress_ctx_t *ctx)
{
    ssize_t                        n;
    ngx_err_t                      err;
    ngx_int_t                      rc;
    ngx_connection_t              *c;
    ngx_stream_egress_srv_conf_t  *escf;
    u_char                         buf[NGX_EGRESS_HELLO_RAW_MAX];

    c = s->connection;

    if (c->read->timedout) {
        c->read->timedout = 0;
        ctx->timedout = 1;
        return NGX_ERROR;
    }

    n = recv(c->fd, (char *) buf, sizeof(buf), MSG_PEEK);

    err = ngx_socket_errno;

    ngx_log_debug1(NGX_LOG_DEBUG_STREAM, c->log, 0, "egress peek: %z", n);

    if (n == 0) {
        return NGX_DONE;
    }

    if (n == -1) {
        if (err != NGX_EAGAIN) {
            ngx_connection_error(c, err, "recv() failed");
            return NGX_DONE;
        }

        rc = NGX_AGAIN;

    } else {
        ngx_egress_hello_init(&ctx->hello);
        rc = ngx_egress_hello_parse(&ctx->hello, buf, n);

        if (rc == NGX_AGAIN && n == sizeof(buf)) {
            rc = NGX_ERROR;
        }
    }

    if (rc != NGX_AGAIN) {
        c->read->ready = 1;
        return rc;
    }

    c->read->ready = 0;

    if (!c->read->timer_set) {
        escf = ngx_stream_get_module_srv_conf(s, ngx_stream_egress_module);
        ngx_add_timer(c->read, escf->preread_timeout);
    }

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_DONE;
    }

    return NGX_AGAIN;
}


static ngx_int_t
ngx_stream_egress_preread_handler(ngx_stream_session_t *s)
{
    ngx_int_t                      rc;
    ngx_uint_t                     mode;
    ngx_connection_t              *c;
    ngx_stream_egress_ctx_t       *ctx;
    ngx_stream_egress_srv_conf_t  *escf;

    c = s->connection;

    escf = ngx_stream_get_module_srv_conf(s, ngx_stream_egress_module);

    if (!escf->enable || c->type != SOCK_STREAM) {
        return NGX_DECLINED;
    }

    ctx = ngx_stream_egress_get_ctx(s);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    if (ctx->preread) {
        return ngx_stream_egress_preread_done(ctx);
    }

    mode = escf->preread;

    /* a variable may depend on the hello, and would keep its value */

    if (mode == NGX_STREAM_EGRESS_PREREAD_ON && escf->service
        && escf->service->lengths == NULL
        && ngx_egress_speaks_first(&escf->service->value, escf->port))
    {
        mode = NGX_STREAM_EGRESS_PREREAD_OFF;
    }

    if (mode == NGX_STREAM_EGRESS_PREREAD_ON && escf->service == NULL) {

        if (ngx_stream_egress_destination(s, ctx) != NGX_OK) {
            return NGX_ERROR;
        }

        if (ngx_egress_original_speaks_first(&ctx->flow)) {
            mode = NGX_STREAM_EGRESS_PREREAD_OFF;
        }
    }

    if (mode == NGX_STREAM_EGRESS_PREREAD_OFF) {
        ctx->preread = 1;
        return NGX_DECLINED;
    }

    c->log->action = "reading client hello";

    ngx_egress_hello_init(&ctx->hello);

    rc = ngx_stream_egress_read(s, ctx);

    if (rc != NGX_AGAIN) {
        ctx->preread = 1;
        return rc == NGX_ERROR ? NGX_ERROR
                               : ngx_stream_egress_preread_done(ctx);
    }

    /*
     * Own buffer, own timer: nginx's preread would give up at 16k, and its
     * phase checker deletes the timer of c->read on NGX_DONE.
     */

    c->read->handler = ngx_stream_egress_read_handler;

    ctx->timer.handler = ngx_stream_egress_timer_handler;
    ctx->timer.data = c;
    ctx->timer.log = c->log;

    ngx_add_timer(&ctx->timer, escf->preread_timeout);

    if (ngx_handle_read_event(c->read, 0) != NGX_OK) {
        return NGX_ERROR;
    }

    return NGX_DONE;
}


/* other prereaders would wait for what will never come */

static ngx_int_t
ngx_stream_egress_preread_done(ngx_stream_egress_ctx_t *ctx)
{
    return (ctx->bad || ctx->timedout || !ctx->flow.tls) ? NGX_OK
                                                         : NGX_DECLINED;
}


static void
ngx_stream_egress_timer_handler(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    ngx_stream_session_t     *s;
    ngx_stream_egress_ctx_t  *ctx;

    c = ev->data;
    s = c->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);
    ctx->timedout = 1;

    ngx_stream_egress_read_handler(c->read);
}


static void
ngx_stream_egress_read_handler(ngx_event_t *rev)
{
    ngx_int_t                 rc;
    ngx_connection_t         *c;
    ngx_stream_session_t     *s;
    ngx_stream_egress_ctx_t  *ctx;

    c = rev->data;
    s = c->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);

    rc = ngx_stream_egress_read(s, ctx);

    if (rc == NGX_AGAIN) {
        if (ngx_handle_read_event(rev, 0) != NGX_OK) {
            rc = NGX_ERROR;

        } else {
            return;
        }
    }

    if (rc == NGX_ERROR) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    rev->handler = ngx_stream_session_handler;
    ctx->preread = 1;

    ngx_stream_core_run_phases(s);
}


/* NGX_OK: it is known what the client speaks, or never will be */

static ngx_int_t
ngx_stream_egress_read(ngx_stream_session_t *s, ngx_stream_egress_ctx_t *ctx)
{
    ssize_t            n;
    ngx_int_t          rc;
    ngx_buf_t         *b;
    ngx_connection_t  *c;

    c = s->connection;

    for ( ;; ) {

        if (c->buffer == NULL || c->buffer->last == c->buffer->end) {
            rc = ngx_stream_egress_grow(c);

            if (rc == NGX_DECLINED) {
                ctx->bad = 1;
                return NGX_OK;
            }

            if (rc != NGX_OK) {
                return NGX_ERROR;
            }
        }

        if (ngx_stream_egress_parse(s, ctx) == NGX_OK) {
            return NGX_OK;
        }

        b = c->buffer;

        n = c->recv(c, b->last, b->end - b->last);

        if (n == NGX_AGAIN && !ctx->timedout) {
            return NGX_AGAIN;
        }

        if (n <= 0) {
            ctx->bad = (ctx->parsed != 0);
            return NGX_OK;
        }

        b->last += n;
    }
}


static ngx_int_t
ngx_stream_egress_parse(ngx_stream_session_t *s, ngx_stream_egress_ctx_t *ctx)
{
    size_t      len;
    ngx_int_t   rc;
    ngx_buf_t  *b;

    b = s->connection->buffer;
    len = b->last - b->pos - ctx->parsed;

    if (len == 0) {
        return NGX_AGAIN;
    }

    rc = ngx_egress_hello_parse(&ctx->hello, b->pos + ctx->parsed, len);

    ctx->parsed += len;

    switch (rc) {

    case NGX_AGAIN:
        return NGX_AGAIN;

    case NGX_OK:
        ctx->flow.tls = 1;
        ctx->flow.ech = (ctx->hello.ech != 0);
        ctx->flow.sni.data = ctx->hello.sni;
        ctx->flow.sni.len = ctx->hello.sni_len;
        ctx->flow.alpn.data = ctx->hello.alpn;
        ctx->flow.alpn.len = ctx->hello.alpn_len;
        return NGX_OK;

    case NGX_DECLINED:
        return NGX_OK;

    default: /* NGX_ERROR */
        ngx_log_error(NGX_LOG_INFO, s->connection->log, 0,
                      "client sent invalid client hello: %s",
                      ctx->hello.error);
        ctx->bad = 1;
        return NGX_OK;
    }
}


/* NGX_DECLINED: the client has sent all that a hello may take */

static ngx_int_t
ngx_stream_egress_grow(ngx_connection_t *c)
{
    size_t      size;
    ngx_buf_t  *b;

    size = NGX_STREAM_EGRESS_HELLO_SIZE;

    if (c->buffer) {
        size = 4 * (c->buffer->end - c->buffer->start);

        if (size > NGX_EGRESS_HELLO_RAW_MAX) {
            size = NGX_EGRESS_HELLO_RAW_MAX;
        }

        if (size <= (size_t) (c->buffer->end - c->buffer->start)) {
            return NGX_DECLINED;
        }
    }

    b = ngx_create_temp_buf(c->pool, size);
    if (b == NULL) {
        return NGX_ERROR;
    }

    if (c->buffer) {
        b->last = ngx_cpymem(b->last, c->buffer->pos,
                             c->buffer->last - c->buffer->pos);
    }

    c->buffer = b;

    return NGX_OK;
}


static void
ngx_stream_egress_content_handler(ngx_stream_session_t *s)
{
    ngx_int_t                      rc;
    ngx_str_t                      choice;
    ngx_uint_t                     reason;
    ngx_connection_t              *c;
    ngx_egress_flow_t             *flow;
    ngx_stream_egress_ctx_t       *ctx;

    c = s->connection;

    ctx = ngx_stream_egress_get_ctx(s);

    if (ctx == NULL || ngx_stream_egress_choice(s, &choice) != NGX_OK
        || ngx_stream_egress_destination(s, ctx) != NGX_OK)
    {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    flow = &ctx->flow;

    flow->host = flow->sni;

    reason = ngx_stream_egress_classify(s, ctx, &choice);

    if (reason) {
        (void) ngx_egress_deny(flow, reason);
        ngx_stream_egress_refuse(s, ctx);
        return;
    }

    if (ngx_egress_decide(flow, &choice) != NGX_OK) {
        ngx_stream_egress_refuse(s, ctx);
        return;
    }

    if (ngx_egress_revoke_watch(c, ngx_stream_egress_revoked) != NGX_OK) {
        ngx_stream_finalize_session(s, NGX_STREAM_INTERNAL_SERVER_ERROR);
        return;
    }

    /* nothing is read from the client before it can be passed on */

    c->read->handler = ngx_stream_egress_client_handler;
    c->write->handler = ngx_stream_egress_client_handler;

    rc = ngx_egress_reach(flow);

    if (rc == NGX_AGAIN) {
        c->log->action = "resolving egress service";
        return;
    }

    ngx_stream_egress_wake(flow);
}


/* the port, and where no name is told the address, that the client meant */

static ngx_int_t
ngx_stream_egress_destination(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx)
{
    ngx_uint_t                     trusted;
    ngx_connection_t              *c;
    ngx_stream_egress_srv_conf_t  *escf;

    c = s->connection;

    escf = ngx_stream_get_module_srv_conf(s, ngx_stream_egress_module);

    ctx->flow.port = escf->port;
    ctx->flow.declared = (escf->port != 0);

    if (ctx->flow.port == 0) {

        if (ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK) {
            return NGX_ERROR;
        }

        ctx->flow.port = ngx_inet_get_port(c->local_sockaddr);
    }

    if (ctx->flow.sni.len || c->type != SOCK_STREAM) {
        return NGX_OK;
    }

    /* the context is there if the header's sender was trusted */

    trusted = (escf->realip
               && ngx_stream_get_module_ctx(s, (*escf->realip)) != NULL);

    return ngx_egress_original(&ctx->flow, trusted);
}


static ngx_int_t
ngx_stream_egress_choice(ngx_stream_session_t *s, ngx_str_t *choice)
{
    ngx_stream_egress_srv_conf_t  *escf;

    escf = ngx_stream_get_module_srv_conf(s, ngx_stream_egress_module);

    if (escf->service == NULL) {
        ngx_str_null(choice);
        return NGX_OK;
    }

    return ngx_stream_complex_value(s, escf->service, choice);
}


/* is what the client said enough to decide on; the reason if not */

static ngx_uint_t
ngx_stream_egress_classify(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx, ngx_str_t *choice)
{
    ngx_stream_egress_srv_conf_t  *escf;

    escf = ngx_stream_get_module_srv_conf(s, ngx_stream_egress_module);

    /* "_" is for the mesh's own names, which are never a destination's */

    if (ctx->bad || (ctx->flow.tls && ctx->hello.underscore)) {
        return NGX_EGRESS_BAD_CLIENT_HELLO;
    }

    if (ctx->flow.tls) {
        return NGX_EGRESS_REASON_NONE;
    }

    /* a preread handler of another module may have ended the phase */

    if (escf->preread == NGX_STREAM_EGRESS_PREREAD_TLS
        || !ctx->preread
        || (choice->len == 0 && ctx->flow.original == NULL))
    {
        return NGX_EGRESS_NOT_TLS;
    }

    return NGX_EGRESS_REASON_NONE;
}


static void
ngx_stream_egress_wake(ngx_egress_flow_t *flow)
{
    ngx_stream_session_t     *s;
    ngx_stream_egress_ctx_t  *ctx;

    s = flow->data;
    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);

    ngx_egress_account(flow);

    if (flow->verdict == NGX_EGRESS_DENIED) {
        ngx_stream_egress_refuse(s, ctx);
        return;
    }

    ctx->tries = ngx_egress_tries(flow);

    ngx_stream_egress_connect(s, ctx);
}


static void
ngx_stream_egress_connect(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx)
{
    ngx_int_t           rc;
    ngx_connection_t   *c, *pc;
    ngx_egress_peer_t  *peer;

    c = s->connection;
    c->log->action = "connecting to egress service";

    for ( ;; ) {

        peer = ctx->tries ? ngx_egress_next_peer(&ctx->flow) : NULL;

        if (peer == NULL) {

            if (ctx->flow.peer == NULL) {
                ctx->failure = ngx_egress_no_peer(&ctx->flow);
            }

            ctx->flow.exhausted = (ctx->tries == 0
                                   && ngx_egress_has_retry(&ctx->flow)
                                   && ngx_egress_tries(&ctx->flow) > 1);
            ngx_egress_fail(&ctx->flow, ctx->failure);
            ngx_stream_egress_refuse(s, ctx);
            return;
        }

        ctx->tries--;

        ngx_memzero(&ctx->pc, sizeof(ngx_peer_connection_t));

        ctx->pc.sockaddr = peer->sockaddr;
        ctx->pc.socklen = peer->socklen;
        ctx->pc.name = &peer->name;
        ctx->pc.log = c->log;
        ctx->pc.log_error = NGX_ERROR_ERR;
        ctx->pc.type = SOCK_STREAM;

        rc = ngx_egress_connect(&ctx->flow, &ctx->pc);

        if (rc == NGX_OK || rc == NGX_AGAIN) {
            break;
        }

        ngx_stream_egress_failed(ctx, NGX_EGRESS_CONNECT_FAILED);
    }

    pc = ctx->pc.connection;

    pc->data = s;
    pc->pool = c->pool;
    pc->log = c->log;
    pc->read->log = c->log;
    pc->write->log = c->log;
    pc->read->handler = ngx_stream_egress_connect_handler;
    pc->write->handler = ngx_stream_egress_connect_handler;

    if (rc == NGX_AGAIN) {
        ngx_add_timer(pc->write, ngx_egress_connect_timeout(&ctx->flow));
        return;
    }

    ngx_stream_egress_connected(s, ctx);
}


static void
ngx_stream_egress_connect_handler(ngx_event_t *ev)
{
    ngx_connection_t         *pc;
    ngx_stream_session_t     *s;
    ngx_stream_egress_ctx_t  *ctx;

    pc = ev->data;
    s = pc->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);

    if (ev->timedout) {
        ngx_log_error(NGX_LOG_ERR, pc->log, NGX_ETIMEDOUT,
                      "egress service \"%V\" timed out", ctx->pc.name);
        ngx_stream_egress_next(s, ctx, NGX_EGRESS_CONNECT_FAILED);
        return;
    }

    if (ngx_stream_egress_test_connect(pc) != NGX_OK) {
        ngx_stream_egress_next(s, ctx, NGX_EGRESS_CONNECT_FAILED);
        return;
    }

    ngx_stream_egress_connected(s, ctx);
}


static ngx_int_t
ngx_stream_egress_test_connect(ngx_connection_t *c)
{
    int        err;
    socklen_t  len;

    err = 0;
    len = sizeof(int);

    if (getsockopt(c->fd, SOL_SOCKET, SO_ERROR, (void *) &err, &len) == -1) {
        err = ngx_socket_errno;
    }

    if (err) {
        (void) ngx_connection_error(c, err, "connect() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static void
ngx_stream_egress_connected(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx)
{
    ngx_connection_t              *pc;
    ngx_stream_egress_srv_conf_t  *escf;

    pc = ctx->pc.connection;

    if (ngx_egress_originates(&ctx->flow) && pc->ssl == NULL) {
        ngx_stream_egress_handshake(s, ctx);
        return;
    }

    if (pc->write->timer_set) {
        ngx_del_timer(pc->write);
    }

    ngx_egress_outcome(&ctx->flow, NGX_EGRESS_OUTCOME_OK);
    ngx_stream_egress_idle(s, ctx);

    /* nginx's proxy takes the connection in ngx_stream_egress_get_peer() */

    escf = ngx_stream_get_module_srv_conf(s, ngx_stream_egress_module);

    escf->handler(s);
}


static void
ngx_stream_egress_handshake(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx)
{
    ngx_int_t          rc;
    ngx_connection_t  *pc;

    pc = ctx->pc.connection;

    s->connection->log->action = "SSL handshaking to egress service";

    if (ngx_ssl_create_connection(ngx_egress_tls_ssl(&ctx->flow), pc,
                                  NGX_SSL_BUFFER|NGX_SSL_CLIENT)
        != NGX_OK
        || ngx_egress_tls_setup(&ctx->flow, pc) != NGX_OK)
    {
        ngx_stream_egress_next(s, ctx, NGX_EGRESS_TLS_FAILED);
        return;
    }

    pc->ssl->save_session = ngx_stream_egress_save_session;

    rc = ngx_ssl_handshake(pc);

    if (rc == NGX_AGAIN) {

        if (!pc->write->timer_set) {
            ngx_add_timer(pc->write,
                          ngx_egress_connect_timeout(&ctx->flow));
        }

        pc->ssl->handler = ngx_stream_egress_handshake_handler;
        return;
    }

    ngx_stream_egress_handshake_handler(pc);
}


/* with TLSv1.3 it comes later, while nginx's proxy has the connection */

static void
ngx_stream_egress_save_session(ngx_connection_t *pc)
{
    ngx_stream_session_t     *s;
    ngx_stream_egress_ctx_t  *ctx;

    s = pc->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);

    ngx_egress_tls_save(&ctx->flow, pc);
}


static void
ngx_stream_egress_handshake_handler(ngx_connection_t *pc)
{
    ngx_stream_session_t     *s;
    ngx_stream_egress_ctx_t  *ctx;

    s = pc->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);

    if (!pc->ssl->handshaked) {

        if (pc->write->timedout) {
            ngx_log_error(NGX_LOG_ERR, pc->log, NGX_ETIMEDOUT,
                          "SSL handshake with egress service \"%V\" timed out",
                          ctx->pc.name);
        }

        ngx_stream_egress_next(s, ctx, NGX_EGRESS_TLS_FAILED);
        return;
    }

    ngx_stream_egress_connected(s, ctx);
}


static void
ngx_stream_egress_next(ngx_stream_session_t *s, ngx_stream_egress_ctx_t *ctx,
    ngx_uint_t failure)
{
    ngx_stream_egress_close(ctx);
    ngx_stream_egress_failed(ctx, failure);
    ngx_stream_egress_connect(s, ctx);
}


static void
ngx_stream_egress_failed(ngx_stream_egress_ctx_t *ctx, ngx_uint_t failure)
{
    ctx->failure = failure;

    ngx_egress_outcome(&ctx->flow, NGX_EGRESS_OUTCOME_LOCAL);

    if (ngx_egress_has_retry(&ctx->flow)
        && !ngx_egress_may_retry(&ctx->flow, 0, 0, 0))
    {
        ctx->tries = 0;
    }
}


static void
ngx_stream_egress_close(ngx_stream_egress_ctx_t *ctx)
{
    ngx_connection_t  *pc;

    pc = ctx->pc.connection;

    if (pc == NULL) {
        return;
    }

    ctx->pc.connection = NULL;

    if (pc->ssl) {
        pc->ssl->no_wait_shutdown = 1;
        pc->ssl->no_send_shutdown = 1;

        (void) ngx_ssl_shutdown(pc);
    }

    ngx_close_connection(pc);
}


static void
ngx_stream_egress_client_handler(ngx_event_t *ev)
{
    ngx_connection_t         *c;
    ngx_stream_session_t     *s;
    ngx_stream_egress_ctx_t  *ctx;

    ngx_log_debug0(NGX_LOG_DEBUG_STREAM, ev->log, 0,
                   "egress client event while waiting");

    c = ev->data;
    s = c->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);

    if (!ev->write && ngx_stream_egress_client_gone(c, ctx)) {
        ngx_log_error(NGX_LOG_INFO, c->log, 0,
                      "client closed connection before egress service was "
                      "reached");
        ngx_stream_finalize_session(s, NGX_STREAM_OK);
    }
}


/*
 * Who has closed one half may still wait for an answer to what it sent, but
 * not in the middle of a handshake.
 */

static ngx_uint_t
ngx_stream_egress_client_gone(ngx_connection_t *c,
    ngx_stream_egress_ctx_t *ctx)
{
    int     n;
    u_char  buf[1];

    n = recv(c->fd, buf, 1, MSG_PEEK);

    if (n == -1) {
        return ngx_socket_errno != NGX_EAGAIN;
    }

    return n == 0 && ctx->flow.tls;
}


/*
 * The timeout of nginx's proxy is the location's, and private: the service's
 * own is looked after from here.
 */

static void
ngx_stream_egress_idle(ngx_stream_session_t *s, ngx_stream_egress_ctx_t *ctx)
{
    ngx_msec_t  timeout;

    timeout = ngx_egress_idle_timeout(&ctx->flow);

    if (timeout == 0) {
        return;
    }

    ctx->active = ngx_current_msec;

    ctx->idle.handler = ngx_stream_egress_idle_handler;
    ctx->idle.data = s->connection;
    ctx->idle.log = s->connection->log;

    ngx_add_timer(&ctx->idle, timeout / NGX_STREAM_EGRESS_IDLE_LOOKS + 1);
}


static void
ngx_stream_egress_idle_handler(ngx_event_t *ev)
{
    off_t                     moved;
    ngx_msec_t                timeout;
    ngx_connection_t         *c, *pc;
    ngx_stream_session_t     *s;
    ngx_stream_egress_ctx_t  *ctx;

    c = ev->data;
    s = c->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);
    pc = s->upstream ? s->upstream->peer.connection : NULL;

    if (pc == NULL) {
        return;
    }

    timeout = ngx_egress_idle_timeout(&ctx->flow);
    moved = s->received + c->sent + s->upstream->received + pc->sent;

    if (moved != ctx->moved) {
        ctx->moved = moved;
        ctx->active = ngx_current_msec;

    } else if (ngx_current_msec - ctx->active >= timeout) {

        ctx->flow.reason = NGX_EGRESS_UPSTREAM_TIMEOUT;

        ngx_stream_egress_timeout(c);
        return;
    }

    ngx_add_timer(ev, timeout / NGX_STREAM_EGRESS_IDLE_LOOKS + 1);
}


/* both sides are closed as after a timeout of the proxy's own */

static void
ngx_stream_egress_timeout(ngx_connection_t *c)
{
    ngx_event_t  *wev;

    wev = c->write;
    wev->timedout = 1;
    wev->delayed = 0;
    wev->handler(wev);
}


static void
ngx_stream_egress_revoked(ngx_connection_t *c)
{
    ngx_stream_session_t     *s;
    ngx_stream_egress_ctx_t  *ctx;

    s = c->data;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);
    ctx->flow.reason = NGX_EGRESS_NO_IDENTITY;

    if (s->upstream && s->upstream->peer.connection) {
        ngx_stream_egress_timeout(c);
        return;
    }

    /* what it waits for or connects to goes with its pool */

    ngx_stream_finalize_session(s, NGX_STREAM_FORBIDDEN);
}


static void
ngx_stream_egress_refuse(ngx_stream_session_t *s,
    ngx_stream_egress_ctx_t *ctx)
{
    ngx_connection_t              *c;
    struct linger                  linger;
    ngx_stream_egress_srv_conf_t  *escf;

    c = s->connection;

    escf = ngx_stream_get_module_srv_conf(s, ngx_stream_egress_module);

    switch (escf->refuse) {

    case NGX_STREAM_EGRESS_REFUSE_ALERT:
        if (ctx->flow.tls || ctx->bad) {
            ngx_stream_egress_send_alert(c, ctx->flow.reason);
        }

        break;

    case NGX_STREAM_EGRESS_REFUSE_RESET:
        linger.l_onoff = 1;
        linger.l_linger = 0;

        if (setsockopt(c->fd, SOL_SOCKET, SO_LINGER,
                       (const void *) &linger, sizeof(struct linger))
            == -1)
        {
            ngx_log_error(NGX_LOG_ERR, c->log, ngx_socket_errno,
                          "setsockopt(SO_LINGER) failed");
        }

        break;

    default: /* NGX_STREAM_EGRESS_REFUSE_CLOSE */
        break;
    }

    ngx_stream_finalize_session(s,
                                ngx_egress_reason_status(ctx->flow.reason));
}


/* a fatal alert instead of the server's hello; best effort, never waits */

static void
ngx_stream_egress_send_alert(ngx_connection_t *c, ngx_uint_t reason)
{
    u_char  alert[] = { 21, 3, 3, 0, 2, 2, 0 };

    switch (reason) {

    case NGX_EGRESS_REGISTRY_MISS:
        alert[6] = NGX_STREAM_EGRESS_ALERT_UNRECOGNIZED_NAME;
        break;

    case NGX_EGRESS_BAD_CLIENT_HELLO:
        alert[6] = NGX_STREAM_EGRESS_ALERT_DECODE_ERROR;
        break;

    case NGX_EGRESS_AUTHZ_DENIED:
    case NGX_EGRESS_NO_IDENTITY:
    case NGX_EGRESS_ADDRESS_DENIED:
    case NGX_EGRESS_RATE_LIMITED:
    case NGX_EGRESS_ECH_DENIED:
        alert[6] = NGX_STREAM_EGRESS_ALERT_ACCESS_DENIED;
        break;

    default:
        alert[6] = NGX_STREAM_EGRESS_ALERT_INTERNAL_ERROR;
        break;
    }

    (void) c->send(c, alert, sizeof(alert));
}


static ngx_stream_egress_ctx_t *
ngx_stream_egress_get_ctx(ngx_stream_session_t *s)
{
    ngx_connection_t         *c;
    ngx_pool_cleanup_t       *cln;
    ngx_stream_egress_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);

    if (ctx) {
        return ctx;
    }

    c = s->connection;

    cln = ngx_pool_cleanup_add(c->pool, sizeof(ngx_stream_egress_ctx_t));
    if (cln == NULL) {
        return NULL;
    }

    ctx = cln->data;

    ngx_memzero(ctx, sizeof(ngx_stream_egress_ctx_t));

    ctx->failure = NGX_EGRESS_NO_HEALTHY_ENDPOINT;

    ctx->flow.subsystem = NGX_EGRESS_STREAM;
    ctx->flow.data = s;
    ctx->flow.connection = c;
    ctx->flow.pool = c->pool;
    ctx->flow.log = c->log;
    ctx->flow.wake = ngx_stream_egress_wake;
    ctx->flow.variable = ngx_stream_egress_value;

    cln->handler = ngx_stream_egress_cleanup;

    ngx_stream_set_ctx(s, ctx, ngx_stream_egress_module);

    return ctx;
}


static void
ngx_stream_egress_cleanup(void *data)
{
    ngx_stream_egress_ctx_t *ctx = data;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    if (ctx->idle.timer_set) {
        ngx_del_timer(&ctx->idle);
    }

    ngx_egress_account(&ctx->flow);
    ngx_stream_egress_close(ctx);
    ngx_egress_release(&ctx->flow);
}


ngx_egress_flow_t *
ngx_stream_egress_get_flow(ngx_stream_session_t *s)
{
    ngx_stream_egress_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);

    return ctx ? &ctx->flow : NULL;
}


static ngx_int_t
ngx_stream_egress_init_upstream(ngx_conf_t *cf,
    ngx_stream_upstream_srv_conf_t *us)
{
    us->peer.init = ngx_stream_egress_init_peer;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_egress_init_peer(ngx_stream_session_t *s,
    ngx_stream_upstream_srv_conf_t *us)
{
    ngx_stream_upstream_t    *u;
    ngx_stream_egress_ctx_t  *ctx;

    ctx = ngx_stream_get_module_ctx(s, ngx_stream_egress_module);

    if (ctx == NULL || ctx->pc.connection == NULL) {
        ngx_log_error(NGX_LOG_ALERT, s->connection->log, 0,
                      "egress refuses to dial without a verdict");
        return NGX_ERROR;
    }

    u = s->upstream;

    u->peer.data = ctx;
    u->peer.get = ngx_stream_egress_get_peer;
    u->peer.free = ngx_stream_egress_free_peer;
    u->peer.tries = 1;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_egress_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_stream_egress_ctx_t *ctx = data;

    pc->name = ctx->pc.name;

    if (ctx->pc.connection == NULL) {
        return NGX_BUSY;
    }

    pc->sockaddr = ctx->pc.sockaddr;
    pc->socklen = ctx->pc.socklen;
    pc->connection = ctx->pc.connection;

    ctx->pc.connection = NULL;

    return NGX_DONE;
}


static void
ngx_stream_egress_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    pc->tries = 0;
}


static ngx_int_t
ngx_stream_egress_value(ngx_egress_flow_t *flow, ngx_str_t *name,
    ngx_uint_t hash, ngx_str_t *value)
{
    ngx_stream_variable_value_t  *vv;

    vv = ngx_stream_get_variable(flow->data, name, hash);

    if (vv == NULL || vv->not_found) {
        return NGX_DECLINED;
    }

    value->len = vv->len;
    value->data = vv->data;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_egress_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_str_t           value;
    ngx_egress_flow_t  *flow;

    flow = ngx_stream_egress_get_flow(s);

    if (flow == NULL
        || ngx_egress_flow_value(flow, data, &value) != NGX_OK)
    {
        v->not_found = 1;
        return NGX_OK;
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = value.len;
    v->data = value.data;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_egress_preconfiguration(ngx_conf_t *cf)
{
    ngx_stream_variable_t  *var, *v;

    for (v = ngx_stream_egress_vars; v->name.len; v++) {
        var = ngx_stream_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return ngx_stream_egress_wrap_proxy_pass(cf);
}


/*
 * The proxy's configuration is private to nginx, so what "proxy_pass" says
 * under "egress on" is learnt by standing before its handler while the
 * stream { } block is read.
 */

static ngx_int_t
ngx_stream_egress_wrap_proxy_pass(ngx_conf_t *cf)
{
    ngx_command_t       *cmd;
    ngx_pool_cleanup_t  *cln;

    for (cmd = ngx_stream_proxy_module.commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, "proxy_pass") == 0) {
            break;
        }
    }

    if (cmd->name.len == 0 || cmd->set == ngx_stream_egress_proxy_pass) {
        return NGX_ERROR;
    }

    /* undone if the block turns out to be wrong and the cycle is dropped */

    cln = ngx_pool_cleanup_add(cf->cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_stream_egress_unwrap_proxy_pass;

    ngx_stream_egress_wrapped = cmd;
    ngx_stream_egress_original = cmd->set;
    cmd->set = ngx_stream_egress_proxy_pass;

    return NGX_OK;
}


static void
ngx_stream_egress_unwrap_proxy_pass(void *data)
{
    if (ngx_stream_egress_wrapped) {
        ngx_stream_egress_wrapped->set = ngx_stream_egress_original;
        ngx_stream_egress_wrapped = NULL;
    }
}


static char *
ngx_stream_egress_proxy_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                     *value;
    ngx_stream_egress_srv_conf_t  *escf;

    escf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_egress_module);

    value = cf->args->elts;

    escf->proxy_pass = value[1];
    escf->file = cf->conf_file->file.name.data;
    escf->line = cf->conf_file->line;

    return ngx_stream_egress_original(cf, cmd, conf);
}


static void *
ngx_stream_egress_create_srv_conf(ngx_conf_t *cf)
{
    ngx_stream_egress_srv_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_stream_egress_srv_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->service, handler, file = NULL
     *     conf->proxy_pass = { 0, NULL }
     *     conf->balance = 0
     */

    conf->enable = NGX_CONF_UNSET;
    conf->port = NGX_CONF_UNSET;
    conf->mesh = NGX_CONF_UNSET_UINT;
    conf->preread = NGX_CONF_UNSET_UINT;
    conf->preread_timeout = NGX_CONF_UNSET_MSEC;
    conf->refuse = NGX_CONF_UNSET_UINT;

    return conf;
}


static char *
ngx_stream_egress_merge_srv_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_stream_egress_srv_conf_t *prev = parent;
    ngx_stream_egress_srv_conf_t *conf = child;

    ngx_uint_t              mesh;
    ngx_stream_ssl_conf_t  *sslcf;

    sslcf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_ssl_module);

    /* the ssl module has merged its own before: it is built in */

    mesh = (sslcf->verify == NGX_CONF_UNSET_UINT
            || sslcf->verify == NGX_STREAM_EGRESS_VERIFY_OFF)
           ? NGX_STREAM_EGRESS_MESH_OFF : NGX_STREAM_EGRESS_MESH_REQUIRED;

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_value(conf->port, prev->port, 0);
    ngx_conf_merge_uint_value(conf->mesh, prev->mesh, mesh);
    ngx_conf_merge_uint_value(conf->preread, prev->preread,
                              NGX_STREAM_EGRESS_PREREAD_ON);
    ngx_conf_merge_msec_value(conf->preread_timeout, prev->preread_timeout,
                              1000);
    ngx_conf_merge_uint_value(conf->refuse, prev->refuse,
                              NGX_STREAM_EGRESS_REFUSE_ALERT);

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    conf->realip = ngx_stream_egress_realip(cf);

    return ngx_stream_egress_check_server(cf, conf);
}


static char *
ngx_stream_egress_check_server(ngx_conf_t *cf,
    ngx_stream_egress_srv_conf_t *conf)
{
    ngx_stream_core_srv_conf_t  *cscf;

    cscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_core_module);

    if (cscf->handler == NULL) {
        return NGX_CONF_OK;
    }

    if (conf->proxy_pass.len == 0) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"egress on\" must have \"proxy_pass\" "
                      "to an upstream with \"egress_balance\" in %s:%ui",
                      cscf->file_name, cscf->line);
        return NGX_CONF_ERROR;
    }

    if (ngx_stream_egress_proxies_ssl(cf)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"proxy_ssl\" is incompatible with \"egress on\" "
                      "in %s:%ui: \"tls\" of the service says it",
                      conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    if (!ngx_stream_egress_is_balanced(cf, &conf->proxy_pass)) {
        ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                      "\"proxy_pass %V\" under \"egress on\" is not "
                      "an upstream with \"egress_balance\" in %s:%ui",
                      &conf->proxy_pass, conf->file, conf->line);
        return NGX_CONF_ERROR;
    }

    if (conf->service && conf->service->lengths == NULL
        && ngx_egress_add_check(cf, ngx_stream_egress_check_service, conf)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    conf->handler = cscf->handler;
    cscf->handler = ngx_stream_egress_content_handler;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_egress_check_service(ngx_cycle_t *cycle, void *data)
{
    ngx_stream_egress_srv_conf_t *conf = data;

    if (ngx_egress_choice_protocol(cycle, &conf->service->value, conf->port)
        != NGX_EGRESS_PROTO_UNKNOWN)
    {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "\"egress_service %V\" of the server with \"proxy_pass\" "
                  "in %s:%ui: no such service, subset or port",
                  &conf->service->value, conf->file, conf->line);

    return NGX_ERROR;
}


/* nginx may be built without it, and it may be in a .so */

static ngx_module_t *
ngx_stream_egress_realip(ngx_conf_t *cf)
{
    ngx_uint_t  i;

    for (i = 0; cf->cycle->modules[i]; i++) {
        if (ngx_strcmp(cf->cycle->modules[i]->name,
                       "ngx_stream_realip_module")
            == 0)
        {
            return cf->cycle->modules[i];
        }
    }

    return NULL;
}


/*
 * nginx's proxy would wrap what we hand over in a TLS of its own; its flag is
 * where its command says.
 */

static ngx_uint_t
ngx_stream_egress_proxies_ssl(ngx_conf_t *cf)
{
    char           *pscf;
    ngx_command_t  *cmd;

    pscf = ngx_stream_conf_get_module_srv_conf(cf, ngx_stream_proxy_module);

    for (cmd = ngx_stream_proxy_module.commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, "proxy_ssl") == 0) {
            return *(ngx_flag_t *) (pscf + cmd->offset) == 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_stream_egress_is_balanced(ngx_conf_t *cf, ngx_str_t *name)
{
    ngx_uint_t                        i;
    ngx_stream_egress_srv_conf_t     *escf;
    ngx_stream_upstream_srv_conf_t  **uscfp;
    ngx_stream_upstream_main_conf_t  *umcf;

    umcf = ngx_stream_conf_get_module_main_conf(cf,
                                                ngx_stream_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        if (uscfp[i]->srv_conf == NULL
            || uscfp[i]->host.len != name->len
            || ngx_strncasecmp(uscfp[i]->host.data, name->data, name->len)
               != 0)
        {
            continue;
        }

        escf = ngx_stream_conf_upstream_srv_conf(uscfp[i],
                                                 ngx_stream_egress_module);
        return escf->balance;
    }

    return 0;
}


static char *
ngx_stream_egress_enable(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_egress_srv_conf_t *escf = conf;

    char  *rv;

    rv = ngx_conf_set_flag_slot(cf, cmd, conf);

    if (rv == NGX_CONF_OK && escf->enable) {
        ngx_egress_use(cf, NGX_EGRESS_STREAM);
    }

    return rv;
}


static char *
ngx_stream_egress_port(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t *np = data;

    if (*np < 1 || *np > 65535) {
        return "invalid value";
    }

    return NGX_CONF_OK;
}


static char *
ngx_stream_egress_balance(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_egress_srv_conf_t *escf = conf;

    ngx_stream_upstream_server_t    *us;
    ngx_stream_upstream_srv_conf_t  *uscf;

    if (escf->balance) {
        return "is duplicate";
    }

    uscf = ngx_stream_conf_get_module_srv_conf(cf,
                                               ngx_stream_upstream_module);

    if (uscf->servers->nelts) {
        return "is incompatible with \"server\"";
    }

    if (uscf->peer.init_upstream) {
        return "is incompatible with another balancing method";
    }

    /* without any server nginx refuses the upstream */

    us = ngx_array_push(uscf->servers);
    if (us == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(us, sizeof(ngx_stream_upstream_server_t));

    us->down = 1;

    escf->balance = 1;

    uscf->flags = NGX_STREAM_UPSTREAM_CREATE;
    uscf->peer.init_upstream = ngx_stream_egress_init_upstream;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_egress_init(ngx_conf_t *cf)
{
    ngx_stream_handler_pt        *h;
    ngx_stream_core_main_conf_t  *cmcf;

    ngx_stream_egress_unwrap_proxy_pass(NULL);

    if (ngx_stream_egress_check_upstreams(cf) != NGX_OK
        || ngx_stream_egress_listeners(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);

    if (ngx_egress_used(cf, NGX_EGRESS_STREAM)
        && ngx_egress_add_check(cf, ngx_stream_egress_check_keys, cmcf)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_SSL_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_egress_ssl_handler;

    h = ngx_array_push(&cmcf->phases[NGX_STREAM_PREREAD_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_stream_egress_preread_handler;

    return NGX_OK;
}


static ngx_int_t
ngx_stream_egress_check_keys(ngx_cycle_t *cycle, void *data)
{
    return ngx_egress_check_keys(cycle, NGX_EGRESS_STREAM,
                                 ngx_stream_egress_known, data);
}


/* as ngx_stream_get_variable() finds it */

static ngx_uint_t
ngx_stream_egress_known(void *data, ngx_str_t *name, ngx_uint_t hash)
{
    ngx_stream_core_main_conf_t *cmcf = data;

    ngx_uint_t              i;
    ngx_stream_variable_t  *v;

    if (ngx_hash_find(&cmcf->variables_hash, hash, name->data, name->len)) {
        return 1;
    }

    v = cmcf->prefix_variables.elts;

    for (i = 0; i < cmcf->prefix_variables.nelts; i++) {
        if (name->len >= v[i].name.len
            && ngx_strncmp(name->data, v[i].name.data, v[i].name.len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_stream_egress_check_upstreams(ngx_conf_t *cf)
{
    ngx_uint_t                        i;
    ngx_stream_egress_srv_conf_t     *escf;
    ngx_stream_upstream_srv_conf_t   *us, **uscfp;
    ngx_stream_upstream_main_conf_t  *umcf;

    umcf = ngx_stream_conf_get_module_main_conf(cf,
                                                ngx_stream_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        us = uscfp[i];

        if (us->srv_conf == NULL) {
            continue;
        }

        escf = ngx_stream_conf_upstream_srv_conf(us,
                                                 ngx_stream_egress_module);
        if (!escf->balance) {
            continue;
        }

        if (us->servers->nelts != 1
            || us->peer.init_upstream != ngx_stream_egress_init_upstream
#if (NGX_STREAM_UPSTREAM_ZONE)
            || us->shm_zone
#endif
           )
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"egress_balance\" is incompatible with \"server\","
                          " \"zone\" and other balancing methods in upstream "
                          "\"%V\" in %s:%ui", &us->host, us->file_name,
                          us->line);
            return NGX_ERROR;
        }

        us->peer.init = ngx_stream_egress_init_peer;
    }

    return NGX_OK;
}


/*
 * A resumed session has no verified chain, and so no identity.  A session is
 * resumed in the name of the address's first server, whichever it began with:
 * with "egress on" anywhere there is no resumption.
 */

static ngx_int_t
ngx_stream_egress_listeners(ngx_conf_t *cf)
{
    ngx_uint_t                     i;
    ngx_stream_ssl_conf_t         *sslcf;
    ngx_egress_listener_conf_t     conf;
    ngx_stream_core_srv_conf_t   **cscfp;
    ngx_stream_core_main_conf_t   *cmcf;
    ngx_stream_egress_srv_conf_t  *escf;

    cmcf = ngx_stream_conf_get_module_main_conf(cf, ngx_stream_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        escf = cscfp[i]->ctx->srv_conf[ngx_stream_egress_module.ctx_index];
        sslcf = cscfp[i]->ctx->srv_conf[ngx_stream_ssl_module.ctx_index];

        if (sslcf->ssl.ctx == NULL || !ngx_egress_used(cf, NGX_EGRESS_STREAM))
        {
            continue;
        }

        ngx_egress_no_resumption(sslcf->ssl.ctx);

        if (!escf->enable) {
            continue;
        }

        /* with variables nginx reads them in each handshake */

        conf.ctx = sslcf->ssl.ctx;
        conf.certificates = (sslcf->certificate_values || sslcf->passwords)
                            ? NULL : sslcf->certificates;
        conf.keys = sslcf->certificate_keys;
        conf.client = &sslcf->client_certificate;
        conf.trusted = &sslcf->trusted_certificate;
        conf.crl = &sslcf->crl;

        if (ngx_egress_add_listener(cf, &conf) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
