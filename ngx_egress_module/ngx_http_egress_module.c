
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_egress.h>
#include <ngx_egress_tls.h>
#include <ngx_http_egress.h>


#define NGX_HTTP_EGRESS_CACHE_KEY  "proxy_cache_key"

/* what of nginx speaks HTTP/2 */

#define NGX_HTTP_EGRESS_GRPC       1
#define NGX_HTTP_EGRESS_PROXY_V2   2

/* contexts kept for requests to come; a memory checker is to see their end */

#ifdef __SANITIZE_ADDRESS__
#define NGX_HTTP_EGRESS_CTXS       0
#else
#define NGX_HTTP_EGRESS_CTXS       512
#endif


typedef struct {
    ngx_flag_t                     enable;
    ngx_int_t                      port;
    ngx_flag_t                     reason_header;
    ngx_http_complex_value_t      *service;
    ngx_http_complex_value_t      *delay;     /* or NULL */

    u_char                        *file;      /* of "egress on" */
    ngx_uint_t                     line;

    ngx_str_t                      cache_key; /* "proxy_cache_key" */
    ngx_uint_t                     passes;    /* "..._pass" directives */
    ngx_module_t                  *passer;    /* of the last one */
    ngx_str_t                      uri;       /* its path, or empty */
    ngx_uint_t                     http2;     /* is spoken to services; set
                                                 when all is known */
} ngx_http_egress_loc_conf_t;


typedef struct {
    ngx_flag_t                     balance;   /* of an upstream */
    ngx_uint_t                     serves;    /* "egress on" is in it */
} ngx_http_egress_srv_conf_t;


/*
 * A directive that makes a location dial, or names what is cached; cmd is NULL
 * if it isn't wrapped.
 */

typedef struct {
    const char                    *module;
    const char                    *name;
    ngx_module_t                  *passer;
    ngx_command_t                 *cmd;
    char                        *(*set)(ngx_conf_t *cf, ngx_command_t *cmd,
                                        void *conf);
} ngx_http_egress_pass_t;


/* a location to look at when the whole configuration is known */

typedef struct {
    ngx_http_core_loc_conf_t      *clcf;
    void                         **loc_conf;
    ngx_http_egress_loc_conf_t    *elcf;
} ngx_http_egress_place_t;


typedef struct ngx_http_egress_ctx_s  ngx_http_egress_ctx_t;

/* not in the request's pool, which would need another block for it */

struct ngx_http_egress_ctx_s {
    ngx_egress_flow_t              flow;
    ngx_http_request_t            *request;
    ngx_uint_t                     failure;   /* of the last attempt, or 0 */
    ngx_event_t                    timer;     /* of the attempt */

    /* of the module that makes the request, while ours stand before them */

    ngx_int_t                    (*process_header)(ngx_http_request_t *r);
    ngx_int_t                    (*reinit_request)(ngx_http_request_t *r);
    ngx_uint_t                     status;    /* that is tried again; or 0 */

    unsigned                       resumed:1;
    unsigned                       delayed:1; /* once in a request */
    unsigned                       mismatch:1;          /* of service and
                                                           location */
    unsigned                       timedout:1;
    unsigned                       rewritten:1;
    unsigned                       body_sent:1;

    ngx_http_egress_ctx_t         *next;      /* of those that are kept */
    ngx_http_upstream_conf_t       conf;      /* of the upstream; comes last,
                                                 is set as a whole */
};


/* the statuses after which nginx itself can go to another server */

typedef struct {
    ngx_uint_t                     status;
    ngx_uint_t                     mask;
} ngx_http_egress_next_t;


static ngx_int_t ngx_http_egress_handler(ngx_http_request_t *r);
static ngx_uint_t ngx_http_egress_misdirected(ngx_http_request_t *r);
static ngx_int_t ngx_http_egress_fill(ngx_http_request_t *r,
    ngx_egress_flow_t *flow, ngx_http_egress_loc_conf_t *elcf);
static ngx_int_t ngx_http_egress_wait(ngx_http_request_t *r);
static void ngx_http_egress_wake(ngx_egress_flow_t *flow);
static void ngx_http_egress_continue(ngx_http_request_t *r);
static ngx_int_t ngx_http_egress_start_delay(ngx_http_request_t *r,
    ngx_http_egress_ctx_t *ctx, ngx_http_complex_value_t *delay);
static void ngx_http_egress_delayed(ngx_event_t *ev);
static ngx_int_t ngx_http_egress_watch(ngx_http_request_t *r);
static void ngx_http_egress_revoked(ngx_connection_t *c);
#if (NGX_HTTP_V2)
static void ngx_http_egress_v2_revoked(ngx_connection_t *c);
#endif
static ngx_int_t ngx_http_egress_refuse(ngx_http_request_t *r,
    ngx_http_egress_ctx_t *ctx);
static ngx_int_t ngx_http_egress_refuse_headers(ngx_http_request_t *r,
    ngx_egress_flow_t *flow);
static ngx_int_t ngx_http_egress_add_header(ngx_http_request_t *r,
    ngx_str_t *key, ngx_str_t *value);
static ngx_uint_t ngx_http_egress_has_error_page(ngx_http_request_t *r,
    ngx_uint_t status);
static ngx_http_egress_ctx_t *ngx_http_egress_find_ctx(ngx_http_request_t *r);
static ngx_http_egress_ctx_t *ngx_http_egress_create_ctx(
    ngx_http_request_t *r);
static void ngx_http_egress_cleanup(void *data);

static ngx_int_t ngx_http_egress_header_filter(ngx_http_request_t *r);
static ngx_str_t *ngx_http_egress_failure(ngx_http_egress_ctx_t *ctx);
static ngx_int_t ngx_http_egress_body_filter(ngx_http_request_t *r,
    ngx_chain_t *in);

static ngx_int_t ngx_http_egress_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us);
static ngx_int_t ngx_http_egress_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us);
static void ngx_http_egress_set_conf(ngx_http_request_t *r,
    ngx_http_egress_ctx_t *ctx);
static void ngx_http_egress_match(ngx_http_egress_ctx_t *ctx,
    ngx_http_upstream_t *u);
static void ngx_http_egress_set_next(ngx_http_egress_ctx_t *ctx,
    ngx_http_upstream_conf_t *conf);
static ngx_int_t ngx_http_egress_reinit_request(ngx_http_request_t *r);
static ngx_int_t ngx_http_egress_process_header(ngx_http_request_t *r);
static void ngx_http_egress_retry_status(ngx_http_egress_ctx_t *ctx,
    ngx_http_upstream_t *u);
static ngx_uint_t ngx_http_egress_repeatable(ngx_http_request_t *r);
static ngx_uint_t ngx_http_egress_idempotent(ngx_http_request_t *r);
static ngx_int_t ngx_http_egress_get_peer(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_egress_timer_handler(ngx_event_t *ev);
static void ngx_http_egress_failed(ngx_http_egress_ctx_t *ctx,
    ngx_peer_connection_t *pc);
static void ngx_http_egress_keep(ngx_http_egress_ctx_t *ctx,
    ngx_peer_connection_t *pc, ngx_uint_t state);
static void ngx_http_egress_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state);
static ngx_int_t ngx_http_egress_set_session(ngx_peer_connection_t *pc,
    void *data);
static void ngx_http_egress_save_session(ngx_peer_connection_t *pc,
    void *data);

static ngx_int_t ngx_http_egress_value(ngx_egress_flow_t *flow,
    ngx_str_t *name, ngx_uint_t hash, ngx_str_t *value);
static ngx_int_t ngx_http_egress_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_egress_upgrade(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_egress_authority(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_egress_request_header(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_uint_t ngx_http_egress_named(ngx_str_t *key, ngx_str_t *name);
static ngx_int_t ngx_http_egress_add_variables(ngx_conf_t *cf);
static ngx_int_t ngx_http_egress_wrap_passes(ngx_conf_t *cf);
static void ngx_http_egress_unwrap_passes(void *data);
static char *ngx_http_egress_pass(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static void ngx_http_egress_pass_uri(ngx_conf_t *cf, ngx_str_t *uri);
static void *ngx_http_egress_create_srv_conf(ngx_conf_t *cf);
static void *ngx_http_egress_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_egress_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child);
static ngx_int_t ngx_http_egress_check_place(ngx_cycle_t *cycle, void *data);
static ngx_int_t ngx_http_egress_check_upstream_conf(ngx_cycle_t *cycle,
    ngx_http_egress_place_t *place, ngx_http_upstream_conf_t *conf,
    ngx_module_t *module);
static ngx_int_t ngx_http_egress_check_protocol(ngx_cycle_t *cycle,
    ngx_http_egress_place_t *place);
static ngx_uint_t ngx_http_egress_speaks_http2(ngx_module_t *module,
    void *conf);
static char *ngx_http_egress_enable(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_egress_port(ngx_conf_t *cf, void *post, void *data);
static char *ngx_http_egress_delay(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_egress_delay_time(ngx_str_t *value);
static char *ngx_http_egress_balance(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_int_t ngx_http_egress_init(ngx_conf_t *cf);
static ngx_int_t ngx_http_egress_check_keys(ngx_cycle_t *cycle, void *data);
static ngx_uint_t ngx_http_egress_known(void *data, ngx_str_t *name,
    ngx_uint_t hash);
static ngx_int_t ngx_http_egress_check_upstreams(ngx_conf_t *cf);
static void ngx_http_egress_no_resumption(ngx_conf_t *cf);
static ngx_http_ssl_srv_conf_t *ngx_http_egress_ssl(
    ngx_http_core_srv_conf_t *cscf);
static ngx_int_t ngx_http_egress_listeners(ngx_conf_t *cf);


static ngx_conf_post_t  ngx_http_egress_port_post = { ngx_http_egress_port };


static ngx_command_t  ngx_http_egress_commands[] = {

    { ngx_string("egress"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_http_egress_enable,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_egress_loc_conf_t, enable),
      NULL },

    { ngx_string("egress_port"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_egress_loc_conf_t, port),
      &ngx_http_egress_port_post },

    { ngx_string("egress_service"),
      NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_set_complex_value_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_egress_loc_conf_t, service),
      NULL },

    { ngx_string("egress_delay"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_http_egress_delay,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_egress_loc_conf_t, delay),
      NULL },

    { ngx_string("egress_reason_header"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_egress_loc_conf_t, reason_header),
      NULL },

    { ngx_string("egress_balance"),
      NGX_HTTP_UPS_CONF|NGX_CONF_NOARGS,
      ngx_http_egress_balance,
      NGX_HTTP_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("egress_status"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_egress_status,
      0,
      0,
      NULL },

    { ngx_string("egress_metrics"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_egress_metrics,
      0,
      0,
      NULL },

    { ngx_string("egress_explain"),
      NGX_HTTP_LOC_CONF|NGX_CONF_NOARGS,
      ngx_http_egress_explain,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_egress_module_ctx = {
    ngx_http_egress_add_variables,         /* preconfiguration */
    ngx_http_egress_init,                  /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_http_egress_create_srv_conf,       /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_egress_create_loc_conf,       /* create location configuration */
    ngx_http_egress_merge_loc_conf         /* merge location configuration */
};


ngx_module_t  ngx_http_egress_module = {
    NGX_MODULE_V1,
    &ngx_http_egress_module_ctx,           /* module context */
    ngx_http_egress_commands,              /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_egress_init_process,               /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_egress_vars[] = {

    { ngx_string("egress_service"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_SERVICE, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_host"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_HOST, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_port"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_PORT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_protocol"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_PROTOCOL, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_sni"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_SNI, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_alpn"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_ALPN, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_ech"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_ECH, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_verdict"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_VERDICT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_reason"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_REASON, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_policy"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_POLICY, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_bucket"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_BUCKET, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_flags"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_FLAGS, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_endpoint"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_ENDPOINT, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_tls_error"), NULL, ngx_http_egress_variable,
      NGX_EGRESS_VAR_TLS_ERROR, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_upgrade"), NULL, ngx_http_egress_upgrade,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_connection"), NULL, ngx_http_egress_upgrade,
      1, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_authority"), NULL, ngx_http_egress_authority,
      0, NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_http_"), NULL, ngx_http_egress_request_header,
      0, NGX_HTTP_VAR_PREFIX, 0 },

      ngx_http_null_variable
};


/*
 * Modules whose location configuration begins with ngx_http_upstream_conf_t:
 * whatever can dial in a location.  The last three members are set while an
 * http { } block is read.
 */

static ngx_http_egress_pass_t  ngx_http_egress_passes[] = {
    { "ngx_http_proxy_module", "proxy_pass", NULL, NULL, NULL },
    { "ngx_http_grpc_module", "grpc_pass", NULL, NULL, NULL },
    { "ngx_http_fastcgi_module", "fastcgi_pass", NULL, NULL, NULL },
    { "ngx_http_uwsgi_module", "uwsgi_pass", NULL, NULL, NULL },
    { "ngx_http_scgi_module", "scgi_pass", NULL, NULL, NULL },
    { "ngx_http_memcached_module", "memcached_pass", NULL, NULL, NULL },
    { "ngx_http_proxy_module", NGX_HTTP_EGRESS_CACHE_KEY, NULL, NULL, NULL },
    { NULL, NULL, NULL, NULL, NULL }
};


static ngx_http_egress_next_t  ngx_http_egress_nexts[] = {
    { NGX_HTTP_INTERNAL_SERVER_ERROR, NGX_HTTP_UPSTREAM_FT_HTTP_500 },
    { NGX_HTTP_BAD_GATEWAY, NGX_HTTP_UPSTREAM_FT_HTTP_502 },
    { NGX_HTTP_SERVICE_UNAVAILABLE, NGX_HTTP_UPSTREAM_FT_HTTP_503 },
    { NGX_HTTP_GATEWAY_TIME_OUT, NGX_HTTP_UPSTREAM_FT_HTTP_504 },
    { NGX_HTTP_FORBIDDEN, NGX_HTTP_UPSTREAM_FT_HTTP_403 },
    { NGX_HTTP_NOT_FOUND, NGX_HTTP_UPSTREAM_FT_HTTP_404 },
    { NGX_HTTP_TOO_MANY_REQUESTS, NGX_HTTP_UPSTREAM_FT_HTTP_429 },
    { 0, 0 }
};


#if (NGX_HTTP_CACHE)

/*
 * What has to come first in a cache's key.  There is no space in a host, a
 * port or a principal, and so no way to read two keys as one.
 */

static ngx_str_t  ngx_http_egress_key = ngx_string(
    "$egress_service $egress_host $egress_port $egress_principal ");

#endif

static ngx_str_t  ngx_http_egress_rbac_text =
    ngx_string("RBAC: access denied");
static ngx_str_t  ngx_http_egress_limit_text =
    ngx_string("local_rate_limited");
static ngx_str_t  ngx_http_egress_failed_text =
    ngx_string("upstream connect error\n");
static ngx_str_t  ngx_http_egress_timeout_text =
    ngx_string("upstream request timeout\n");
static ngx_str_t  ngx_http_egress_text_type = ngx_string("text/plain");

/* of this process */

static ngx_http_egress_ctx_t  *ngx_http_egress_ctxs;
static ngx_int_t               ngx_http_egress_nctxs;

static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;
static ngx_http_output_body_filter_pt    ngx_http_next_body_filter;


static ngx_int_t
ngx_http_egress_handler(ngx_http_request_t *r)
{
    ngx_int_t                    rc;
    ngx_str_t                    choice;
    ngx_egress_flow_t           *flow;
    ngx_http_egress_ctx_t       *ctx;
    ngx_http_egress_loc_conf_t  *elcf;

    elcf = ngx_http_get_module_loc_conf(r, ngx_http_egress_module);

    ctx = ngx_http_egress_find_ctx(r);

    if (!elcf->enable) {

        /* what another location decided holds there only */

        if (ctx) {
            ctx->flow.verdict = NGX_EGRESS_UNDECIDED;
        }

        return NGX_DECLINED;
    }

    if (ctx == NULL) {
        ctx = ngx_http_egress_create_ctx(r);
        if (ctx == NULL) {
            return NGX_HTTP_INTERNAL_SERVER_ERROR;
        }
    }

    flow = &ctx->flow;

    if (ctx->resumed) {
        ctx->resumed = 0;

        if (flow->verdict == NGX_EGRESS_DENIED) {
            return ngx_http_egress_refuse(r, ctx);
        }

        return NGX_DECLINED;
    }

    ctx->failure = 0;

    if (ngx_http_egress_fill(r, flow, elcf) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_http_egress_misdirected(r)) {
        flow->status = NGX_HTTP_MISDIRECTED_REQUEST;

        (void) ngx_egress_deny(flow, NGX_EGRESS_NO_IDENTITY);

        return ngx_http_egress_refuse(r, ctx);
    }

    ngx_str_null(&choice);

    if (elcf->service
        && ngx_http_complex_value(r, elcf->service, &choice) != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (ngx_egress_decide(flow, &choice) != NGX_OK) {
        return ngx_http_egress_refuse(r, ctx);
    }

    if (ngx_http_egress_watch(r) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    /* nothing is held meanwhile, and it is decided on again afterwards */

    if (elcf->delay && !ctx->delayed) {
        rc = ngx_http_egress_start_delay(r, ctx, elcf->delay);

        if (rc != NGX_DECLINED) {
            return rc;
        }
    }

    rc = ngx_egress_reach(flow);

    if (rc == NGX_OK) {
        return NGX_DECLINED;
    }

    if (rc == NGX_DECLINED) {
        return ngx_http_egress_refuse(r, ctx);
    }

    /* rc == NGX_AGAIN */

    return ngx_http_egress_wait(r);
}


static ngx_int_t
ngx_http_egress_wait(ngx_http_request_t *r)
{
    r->read_event_handler = ngx_http_test_reading;
    r->write_event_handler = ngx_http_request_empty_handler;

    if (r->connection->read->ready) {
        ngx_post_event(r->connection->read, &ngx_posted_events);

    } else if (ngx_handle_read_event(r->connection->read, 0) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return NGX_AGAIN;
}


/*
 * The handshake was in the name of another server, and the certificate was
 * verified by that one's CA.  nginx says so itself where the SNI named one,
 * and not if it was the default server.
 */

static ngx_uint_t
ngx_http_egress_misdirected(ngx_http_request_t *r)
{
    ngx_uint_t                i;
    ngx_str_t                *one[3], *two[3];
    ngx_http_ssl_srv_conf_t  *sscf, *was;

    if (r->connection->ssl == NULL) {
        return 0;
    }

    sscf = ngx_http_get_module_srv_conf(r, ngx_http_ssl_module);
    was = r->http_connection->conf_ctx->srv_conf[ngx_http_ssl_module.ctx_index];

    if (sscf == was || !sscf->verify) {
        return 0;
    }

    one[0] = &sscf->client_certificate;
    one[1] = &sscf->trusted_certificate;
    one[2] = &sscf->crl;

    two[0] = &was->client_certificate;
    two[1] = &was->trusted_certificate;
    two[2] = &was->crl;

    for (i = 0; i < 3; i++) {
        if (one[i]->len != two[i]->len
            || ngx_memcmp(one[i]->data, two[i]->data, one[i]->len) != 0)
        {
            ngx_log_error(NGX_LOG_INFO, r->connection->log, 0,
                          "client's certificate was verified for another "
                          "server than the requested one");
            return 1;
        }
    }

    return 0;
}


static ngx_int_t
ngx_http_egress_fill(ngx_http_request_t *r, ngx_egress_flow_t *flow,
    ngx_http_egress_loc_conf_t *elcf)
{
    const char        *name;
    ngx_connection_t  *c;

    c = r->connection;

    flow->host = r->headers_in.server;
    flow->port = elcf->port;
    flow->declared = (elcf->port != 0);
    flow->http2 = elcf->http2;

    if (flow->port == 0) {

        if (ngx_connection_local_sockaddr(c, NULL, 0) != NGX_OK) {
            return NGX_ERROR;
        }

        flow->port = ngx_inet_get_port(c->local_sockaddr);
    }

    if (c->ssl && flow->sni.data == NULL) {

        name = SSL_get_servername(c->ssl->connection,
                                  TLSEXT_NAMETYPE_host_name);
        if (name) {
            flow->sni.len = ngx_strlen(name);
            flow->sni.data = ngx_pnalloc(flow->pool, flow->sni.len);
            if (flow->sni.data == NULL) {
                return NGX_ERROR;
            }

            ngx_memcpy(flow->sni.data, name, flow->sni.len);
        }
    }

    return NGX_OK;
}


static void
ngx_http_egress_wake(ngx_egress_flow_t *flow)
{
    ngx_http_request_t     *r;
    ngx_http_egress_ctx_t  *ctx;

    r = flow->data;

    ctx = ngx_http_egress_find_ctx(r);
    ctx->resumed = 1;

    ngx_http_egress_continue(r);
}


static void
ngx_http_egress_continue(ngx_http_request_t *r)
{
    ngx_connection_t  *c;

    c = r->connection;

    ngx_http_set_log_request(c->log, r);

    r->read_event_handler = ngx_http_block_reading;
    r->write_event_handler = ngx_http_core_run_phases;

    ngx_http_core_run_phases(r);
    ngx_http_run_posted_requests(c);
}


/* NGX_DECLINED: it doesn't wait */

static ngx_int_t
ngx_http_egress_start_delay(ngx_http_request_t *r, ngx_http_egress_ctx_t *ctx,
    ngx_http_complex_value_t *delay)
{
    ngx_int_t  ms;
    ngx_str_t  value;

    if (ngx_http_complex_value(r, delay, &value) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ms = ngx_http_egress_delay_time(&value);

    if (ms == NGX_ERROR) {
        /* the value may be the client's, and is no text to log as it is */

        ngx_log_error(NGX_LOG_ERR, r->connection->log, 0,
                      "the variables of \"egress_delay\" are no time");
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    ctx->delayed = 1;

    if (ms == 0) {
        return NGX_DECLINED;
    }

    ctx->timer.handler = ngx_http_egress_delayed;
    ctx->timer.data = ctx;
    ctx->timer.log = ctx->flow.log;

    ngx_add_timer(&ctx->timer, (ngx_msec_t) ms);

    return ngx_http_egress_wait(r);
}


static void
ngx_http_egress_delayed(ngx_event_t *ev)
{
    ngx_http_egress_ctx_t *ctx = ev->data;

    ev->timedout = 0;

    ngx_http_egress_continue(ctx->request);
}


static ngx_int_t
ngx_http_egress_watch(ngx_http_request_t *r)
{
#if (NGX_HTTP_V2)

    /* a stream has a connection of its own, which goes with the request */

    if (r->stream) {
        return ngx_egress_revoke_watch(r->stream->connection->connection,
                                       ngx_http_egress_v2_revoked);
    }

#endif

    return ngx_egress_revoke_watch(r->connection, ngx_http_egress_revoked);
}


/* as nginx does when worker_shutdown_timeout is over */

static void
ngx_http_egress_revoked(ngx_connection_t *c)
{
    ngx_http_request_t     *r;
    ngx_http_egress_ctx_t  *ctx;

    if (!c->idle) {

        /* c->data is a request, if only one that is being read */

        r = c->data;
        r = r->main;

        ctx = ngx_http_egress_find_ctx(r);

        if (ctx) {
            ctx->flow.reason = NGX_EGRESS_NO_IDENTITY;
        }

        r->keepalive = 0;
        r->lingering_close = 0;
    }

    c->close = 1;
    c->error = 1;

    /* who reads a request line or headers looks at this only */

    c->read->timedout = 1;

    c->read->handler(c->read);
}


#if (NGX_HTTP_V2)

/* as after a timeout: GOAWAY, and all of its streams end */

static void
ngx_http_egress_v2_revoked(ngx_connection_t *c)
{
    c->read->timedout = 1;
    c->read->handler(c->read);
}

#endif


static ngx_int_t
ngx_http_egress_refuse(ngx_http_request_t *r, ngx_http_egress_ctx_t *ctx)
{
    ngx_int_t                  rc;
    ngx_uint_t                 status;
    ngx_egress_flow_t         *flow;
    ngx_http_complex_value_t   cv;

    flow = &ctx->flow;

    status = flow->status ? flow->status
                          : ngx_egress_reason_status(flow->reason);

    if (ngx_http_egress_refuse_headers(r, flow) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    if (r != r->main || ngx_http_egress_has_error_page(r, status)) {
        return status;
    }

    ngx_memzero(&cv, sizeof(ngx_http_complex_value_t));

    switch (flow->reason) {

    case NGX_EGRESS_AUTHZ_DENIED:
    case NGX_EGRESS_NO_IDENTITY:
        cv.value = ngx_http_egress_rbac_text;
        break;

    case NGX_EGRESS_RATE_LIMITED:
        cv.value = flow->body ? *flow->body : ngx_http_egress_limit_text;
        break;

    default:
        return status;
    }

    rc = ngx_http_send_response(r, status, &ngx_http_egress_text_type, &cv);

    /* the phase engine would take NGX_OK for "go on" */

    ngx_http_finalize_request(r, rc);

    return NGX_DONE;
}


static ngx_int_t
ngx_http_egress_refuse_headers(ngx_http_request_t *r, ngx_egress_flow_t *flow)
{
    ngx_uint_t                   i;
    ngx_keyval_t                *kv;
    ngx_http_egress_loc_conf_t  *elcf;

    static ngx_str_t  name = ngx_string("x-egress-reason");

    elcf = ngx_http_get_module_loc_conf(r, ngx_http_egress_module);

    if (elcf->reason_header
        && ngx_http_egress_add_header(r, &name,
                                      ngx_egress_reason_name(flow->reason))
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (flow->headers == NULL) {
        return NGX_OK;
    }

    kv = flow->headers->elts;

    for (i = 0; i < flow->headers->nelts; i++) {
        if (ngx_http_egress_add_header(r, &kv[i].key, &kv[i].value)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_add_header(ngx_http_request_t *r, ngx_str_t *key,
    ngx_str_t *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key = *key;
    h->value = *value;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_egress_has_error_page(ngx_http_request_t *r, ngx_uint_t status)
{
    ngx_uint_t                 i;
    ngx_http_err_page_t       *page;
    ngx_http_core_loc_conf_t  *clcf;

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (clcf->error_pages == NULL) {
        return 0;
    }

    page = clcf->error_pages->elts;

    for (i = 0; i < clcf->error_pages->nelts; i++) {
        if (page[i].status == (ngx_int_t) status) {
            return 1;
        }
    }

    return 0;
}


/* r->ctx does not survive an internal redirect, the pool does */

static ngx_http_egress_ctx_t *
ngx_http_egress_find_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_egress_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_egress_module);

    if (ctx) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {

        if (cln->handler != ngx_http_egress_cleanup) {
            continue;
        }

        ctx = cln->data;

        if (ctx->request == r) {
            ngx_http_set_ctx(r, ctx, ngx_http_egress_module);
            return ctx;
        }
    }

    return NULL;
}


static ngx_http_egress_ctx_t *
ngx_http_egress_create_ctx(ngx_http_request_t *r)
{
    ngx_pool_cleanup_t     *cln;
    ngx_http_egress_ctx_t  *ctx;

    cln = ngx_pool_cleanup_add(r->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    ctx = ngx_http_egress_ctxs;

    if (ctx) {
        ngx_http_egress_ctxs = ctx->next;
        ngx_http_egress_nctxs--;

    } else {
        ctx = ngx_alloc(sizeof(ngx_http_egress_ctx_t), r->connection->log);
        if (ctx == NULL) {
            return NULL;
        }
    }

    ngx_memzero(ctx, offsetof(ngx_http_egress_ctx_t, conf));

    ctx->request = r;

    ctx->flow.subsystem = NGX_EGRESS_HTTP;
    ctx->flow.data = r;
    ctx->flow.connection = r->connection;
    ctx->flow.pool = r->pool;
    ctx->flow.log = r->connection->log;
    ctx->flow.wake = ngx_http_egress_wake;
    ctx->flow.variable = ngx_http_egress_value;

    cln->handler = ngx_http_egress_cleanup;
    cln->data = ctx;

    ngx_http_set_ctx(r, ctx, ngx_http_egress_module);

    return ctx;
}


static void
ngx_http_egress_cleanup(void *data)
{
    ngx_http_egress_ctx_t *ctx = data;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    ngx_egress_account(&ctx->flow);
    ngx_egress_release(&ctx->flow);

    if (ngx_http_egress_nctxs >= NGX_HTTP_EGRESS_CTXS) {
        ngx_free(ctx);
        return;
    }

    ctx->next = ngx_http_egress_ctxs;
    ngx_http_egress_ctxs = ctx;
    ngx_http_egress_nctxs++;
}


ngx_egress_flow_t *
ngx_http_egress_get_flow(ngx_http_request_t *r)
{
    ngx_http_egress_ctx_t  *ctx;

    ctx = ngx_http_egress_find_ctx(r);

    return ctx ? &ctx->flow : NULL;
}


/* nginx answers 502 or 504 where no service could be reached: 503 is meant */

static ngx_int_t
ngx_http_egress_header_filter(ngx_http_request_t *r)
{
    ngx_http_egress_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_egress_module);

    if (ctx == NULL || ctx->failure == 0
        || (r->headers_out.status != NGX_HTTP_BAD_GATEWAY
            && r->headers_out.status != NGX_HTTP_GATEWAY_TIME_OUT))
    {
        return ngx_http_next_header_filter(r);
    }

    ctx->flow.reason = ctx->failure;

    r->headers_out.status = ngx_egress_reason_status(ctx->failure);
    r->headers_out.status_line.len = 0;

    if (r->err_status) {
        r->err_status = r->headers_out.status;
    }

    ctx->rewritten = 1;

    ngx_http_clear_content_length(r);

    r->headers_out.content_length_n = ngx_http_egress_failure(ctx)->len;
    r->headers_out.content_type = ngx_http_egress_text_type;
    r->headers_out.content_type_len = ngx_http_egress_text_type.len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_egress_refuse_headers(r, &ctx->flow) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_str_t *
ngx_http_egress_failure(ngx_http_egress_ctx_t *ctx)
{
    return (ctx->failure == NGX_EGRESS_UPSTREAM_TIMEOUT)
           ? &ngx_http_egress_timeout_text : &ngx_http_egress_failed_text;
}


/* the page that nginx has for 502 is not the one for 503 */

static ngx_int_t
ngx_http_egress_body_filter(ngx_http_request_t *r, ngx_chain_t *in)
{
    ngx_buf_t              *b;
    ngx_chain_t             out, *cl;
    ngx_http_egress_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r, ngx_http_egress_module);

    if (ctx == NULL || !ctx->rewritten || in == NULL) {
        return ngx_http_next_body_filter(r, in);
    }

    for (cl = in; cl; cl = cl->next) {
        cl->buf->pos = cl->buf->last;
        cl->buf->file_pos = cl->buf->file_last;
    }

    if (ctx->body_sent) {
        return NGX_OK;
    }

    ctx->body_sent = 1;

    b = ngx_calloc_buf(r->pool);
    if (b == NULL) {
        return NGX_ERROR;
    }

    b->pos = ngx_http_egress_failure(ctx)->data;
    b->last = b->pos + ngx_http_egress_failure(ctx)->len;
    b->memory = 1;
    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    out.buf = b;
    out.next = NULL;

    return ngx_http_next_body_filter(r, &out);
}


static ngx_int_t
ngx_http_egress_init_upstream(ngx_conf_t *cf,
    ngx_http_upstream_srv_conf_t *us)
{
    us->peer.init = ngx_http_egress_init_peer;

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_init_peer(ngx_http_request_t *r,
    ngx_http_upstream_srv_conf_t *us)
{
    ngx_http_upstream_t         *u;
    ngx_http_egress_ctx_t       *ctx;
    ngx_http_egress_loc_conf_t  *elcf;

    u = r->upstream;

    elcf = ngx_http_get_module_loc_conf(r, ngx_http_egress_module);
    ctx = ngx_http_egress_find_ctx(r);

    if (!elcf->enable || ctx == NULL || !ngx_egress_reached(&ctx->flow)) {
        ngx_log_error(NGX_LOG_ALERT, r->connection->log, 0,
                      "egress refuses to dial without a verdict");
        return NGX_ERROR;
    }

    ngx_http_egress_set_conf(r, ctx);

    u->peer.data = ctx;
    u->peer.get = ngx_http_egress_get_peer;
    u->peer.free = ngx_http_egress_free_peer;
    u->peer.set_session = ngx_http_egress_set_session;
    u->peer.save_session = ngx_http_egress_save_session;
    u->peer.tries = ngx_egress_tries(&ctx->flow);

    if (ngx_egress_has_retry(&ctx->flow)) {
        ctx->process_header = u->process_header;
        ctx->reinit_request = u->reinit_request;

        u->process_header = ngx_http_egress_process_header;
        u->reinit_request = ngx_http_egress_reinit_request;
    }

    return NGX_OK;
}


/*
 * The location's settings are shared by all services; what the service sets
 * goes into a copy for this request.
 */

static void
ngx_http_egress_set_conf(ngx_http_request_t *r, ngx_http_egress_ctx_t *ctx)
{
    ngx_http_upstream_t       *u;
    ngx_http_upstream_conf_t  *conf;

    u = r->upstream;

    /* a request that was redirected comes with another location's */

    conf = &ctx->conf;

    if (u->conf != conf) {
        *conf = *u->conf;
        u->conf = conf;
    }

    conf->connect_timeout = ngx_egress_connect_timeout(&ctx->flow);

    if (ngx_egress_has_retry(&ctx->flow)) {
        ngx_http_egress_set_next(ctx, conf);
    }

    /* an external service has no say in where this nginx goes */

    conf->ignore_headers |= NGX_HTTP_UPSTREAM_IGN_XA_REDIRECT;

    ngx_http_egress_match(ctx, u);

    if (!ngx_egress_originates(&ctx->flow)) {
        return;
    }

    /*
     * Names are verified by OpenSSL in the handshake, with what
     * ngx_http_egress_set_session() sets right before it.
     */

    conf->ssl = ngx_egress_tls_ssl(&ctx->flow);
    conf->ssl_verify = 0;
    conf->ssl_server_name = 0;
    conf->ssl_session_reuse = 1;
    conf->ssl_name = NULL;
    conf->ssl_certificate = NULL;
    conf->ssl_certificate_key = NULL;
    conf->ssl_passwords = NULL;

    u->ssl = 1;
    ngx_str_set(&u->schema, "https://");
}


/*
 * The request has been made: by whom, and so for which protocol, is known.
 * In HTTP/2 it says "https" only if the location did.
 */

static void
ngx_http_egress_match(ngx_http_egress_ctx_t *ctx, ngx_http_upstream_t *u)
{
    const char         *error;
    ngx_uint_t          http2;
    ngx_module_t       *module;
    ngx_egress_flow_t  *flow;

    flow = &ctx->flow;
    module = u->output.tag;

    http2 = (ngx_strcmp(module->name, "ngx_http_grpc_module") == 0)
            ? NGX_HTTP_EGRESS_GRPC
            : (ngx_strcmp(module->name, "ngx_http_proxy_v2_module") == 0)
            ? NGX_HTTP_EGRESS_PROXY_V2 : 0;
    error = NULL;

    if (flow->http2 != http2) {
        error = "something else than the location seemed to";

    } else if (!ngx_egress_protocol_fits(flow->protocol, flow->http2)) {
        error = flow->http2 ? "HTTP/1.1, the location HTTP/2"
                            : "HTTP/2, the location HTTP/1.1";

    } else if (u->ssl && !ngx_egress_originates(flow)) {
        error = "no TLS, the location TLS";

    } else if (!u->ssl && flow->http2 && ngx_egress_originates(flow)) {
        error = "TLS, the location HTTP/2 without it";

    } else if (ngx_egress_originates(flow)
               && !ngx_egress_tls_alpn_fits(flow))
    {
        error = flow->http2 ? "HTTP/1.1 by its \"tls_alpn\", "
                              "the location HTTP/2"
                            : "HTTP/2 by its \"tls_alpn\", "
                              "the location HTTP/1.1";
    }

    ctx->mismatch = (error != NULL);

    if (error) {
        ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                      "egress service \"%V\" is refused: it speaks %s",
                      ngx_egress_service_name(flow->service), error);
    }
}


/*
 * "retry" of the service says what is tried again, in place of the location's
 * proxy_next_upstream: errors are decided in free(), statuses here.
 */

static void
ngx_http_egress_set_next(ngx_http_egress_ctx_t *ctx,
    ngx_http_upstream_conf_t *conf)
{
    ngx_uint_t               repeatable;
    ngx_http_egress_next_t  *next;

    conf->next_upstream_tries = 0;
    conf->next_upstream_timeout = 0;
    conf->next_upstream = NGX_HTTP_UPSTREAM_FT_ERROR
                          |NGX_HTTP_UPSTREAM_FT_TIMEOUT
                          |NGX_HTTP_UPSTREAM_FT_INVALID_HEADER;

    repeatable = ngx_http_egress_repeatable(ctx->request);

    for (next = ngx_http_egress_nexts; next->status; next++) {
        if (ngx_egress_may_retry(&ctx->flow, next->status, 1, repeatable)) {
            conf->next_upstream |= next->mask;
        }
    }

    /* what any other status is made, for a moment */

    if (repeatable) {
        conf->next_upstream |= NGX_HTTP_UPSTREAM_FT_HTTP_502;
    }
}


static ngx_int_t
ngx_http_egress_reinit_request(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_http_egress_ctx_t  *ctx;

    ctx = ngx_http_egress_find_ctx(r);

    rc = ctx->reinit_request(r);

    ctx->process_header = r->upstream->process_header;
    r->upstream->process_header = ngx_http_egress_process_header;

    return rc;
}


/* the module goes from the status line to the header by its own pointer */

static ngx_int_t
ngx_http_egress_process_header(ngx_http_request_t *r)
{
    ngx_int_t               rc;
    ngx_http_upstream_t    *u;
    ngx_http_egress_ctx_t  *ctx;

    u = r->upstream;
    ctx = ngx_http_egress_find_ctx(r);

    u->process_header = ctx->process_header;

    rc = u->process_header(r);

    ctx->process_header = u->process_header;
    u->process_header = ngx_http_egress_process_header;

    if (rc == NGX_OK
        && u->headers_in.status_n >= NGX_HTTP_SPECIAL_RESPONSE)
    {
        ngx_http_egress_retry_status(ctx, u);
    }

    return rc;
}


/*
 * nginx goes on to another server after the statuses that it knows, if there
 * are tries left: one that it doesn't know has to look like one that it does.
 */

static void
ngx_http_egress_retry_status(ngx_http_egress_ctx_t *ctx,
    ngx_http_upstream_t *u)
{
    ngx_uint_t               status;
    ngx_egress_flow_t       *flow;
    ngx_http_egress_next_t  *next;

    flow = &ctx->flow;
    status = u->headers_in.status_n;

    if (!ngx_egress_may_retry(flow, status, 1,
                              ngx_http_egress_repeatable(ctx->request)))
    {
        if (status == NGX_HTTP_BAD_GATEWAY) {
            u->peer.tries = 1;
        }

        return;
    }

    if (u->peer.tries <= 1) {
        flow->exhausted = (ngx_egress_tries(flow) > 1);
        return;
    }

    /* the answer is passed on if another try would be one too many */

    if (ngx_egress_retry(flow) != NGX_OK) {
        u->peer.tries = 1;
        return;
    }

    for (next = ngx_http_egress_nexts; next->status; next++) {
        if (next->status == status) {
            return;
        }
    }

    ctx->status = status;
    u->headers_in.status_n = NGX_HTTP_BAD_GATEWAY;
}


/* once it was sent; a body that was passed on as it came is gone */

static ngx_uint_t
ngx_http_egress_repeatable(ngx_http_request_t *r)
{
    return !r->request_body_no_buffering && ngx_http_egress_idempotent(r);
}


/* RFC 9110, 9.2.2; a method that nginx does not know is not */

static ngx_uint_t
ngx_http_egress_idempotent(ngx_http_request_t *r)
{
    return (r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD|NGX_HTTP_PUT
                         |NGX_HTTP_DELETE|NGX_HTTP_OPTIONS|NGX_HTTP_TRACE))
           != 0;
}


static ngx_int_t
ngx_http_egress_get_peer(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_egress_ctx_t *ctx = data;

    ngx_int_t           rc;
    ngx_connection_t   *c;
    ngx_egress_peer_t  *peer;

    if (ctx->mismatch) {
        ctx->failure = NGX_EGRESS_SERVICE_BROKEN;
        return NGX_BUSY;
    }

    peer = ngx_egress_next_peer(&ctx->flow);

    if (peer == NULL) {

        if (ctx->flow.peer == NULL) {
            ctx->failure = ngx_egress_no_peer(&ctx->flow);
        }

        return NGX_BUSY;
    }

    /* the failure of an earlier attempt is not this one's */

    ctx->failure = 0;
    ctx->status = 0;
    ctx->timedout = 0;

    pc->sockaddr = peer->sockaddr;
    pc->socklen = peer->socklen;
    pc->name = &peer->name;
    pc->cached = 0;
    pc->connection = NULL;

    if (ngx_egress_try_timeout(&ctx->flow)) {
        ctx->timer.handler = ngx_http_egress_timer_handler;
        ctx->timer.data = ctx;
        ctx->timer.log = ctx->flow.log;

        ngx_add_timer(&ctx->timer, ngx_egress_try_timeout(&ctx->flow));
    }

    c = ngx_egress_kept(&ctx->flow);

    if (c) {
        c->sent = 0;
        c->data = NULL;

        pc->connection = c;
        pc->cached = 1;

        return NGX_DONE;
    }

    rc = ngx_egress_connect(&ctx->flow, pc);

    /* NGX_OK would have it done once more by nginx */

    return (rc == NGX_OK) ? NGX_DONE : rc;
}


/* the time for one attempt, until its answer begins, is over */

static void
ngx_http_egress_timer_handler(ngx_event_t *ev)
{
    ngx_event_t            *event;
    ngx_connection_t       *c;
    ngx_http_request_t     *r;
    ngx_http_egress_ctx_t  *ctx;

    ctx = ev->data;
    r = ctx->request;
    c = r->upstream->peer.connection;

    if (c == NULL || r->upstream->header_sent) {
        return;
    }

    ngx_http_set_log_request(r->connection->log, r);

    ctx->timedout = 1;

    event = (c->ssl && !c->ssl->handshaked) ? c->write : c->read;

    event->timedout = 1;
    event->handler(event);
}


static void
ngx_http_egress_free_peer(ngx_peer_connection_t *pc, void *data,
    ngx_uint_t state)
{
    ngx_http_egress_ctx_t *ctx = data;

    ngx_uint_t            status;
    ngx_http_upstream_t  *u;

    if (ctx->timer.timer_set) {
        ngx_del_timer(&ctx->timer);
    }

    if (pc->tries) {
        pc->tries--;
    }

    u = ctx->request->upstream;

    /* without a connection, what is there is of the attempt before */

    status = 0;

    if (pc->connection) {
        status = ctx->status ? ctx->status : u->headers_in.status_n;
    }

    ctx->failure = 0;

    if (status) {
        ngx_egress_outcome(&ctx->flow,
                           status < NGX_HTTP_INTERNAL_SERVER_ERROR
                               ? NGX_EGRESS_OUTCOME_OK
                           : (status >= NGX_HTTP_BAD_GATEWAY
                              && status <= NGX_HTTP_GATEWAY_TIME_OUT)
                               ? NGX_EGRESS_OUTCOME_GATEWAY
                               : NGX_EGRESS_OUTCOME_5XX);

    } else if (state & NGX_PEER_FAILED) {
        ngx_http_egress_failed(ctx, pc);
        ngx_egress_outcome(&ctx->flow, NGX_EGRESS_OUTCOME_LOCAL);
    }

    ngx_http_egress_keep(ctx, pc, state);

    /* what is tried again goes on with its slot */

    if (!(state & (NGX_PEER_FAILED|NGX_PEER_NEXT))
        || (pc->tries == 0 && !pc->cached))
    {
        ngx_egress_peer_free(&ctx->flow);
    }
}


/* no answer: why, and is there another try */

static void
ngx_http_egress_failed(ngx_http_egress_ctx_t *ctx, ngx_peer_connection_t *pc)
{
    ngx_uint_t            sent;
    ngx_connection_t     *c;
    ngx_egress_flow_t    *flow;
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;
    c = pc->connection;
    flow = &ctx->flow;

    sent = (c && u->request_sent);

    if (ctx->timedout
        || (sent && (c->read->timedout || c->write->timedout)))
    {
        ctx->failure = NGX_EGRESS_UPSTREAM_TIMEOUT;

    } else if (pc->cached) {
        ngx_egress_untry(flow);

    } else if (!sent) {
        ctx->failure = (c && c->ssl && !c->ssl->handshaked)
                       ? NGX_EGRESS_TLS_FAILED : NGX_EGRESS_CONNECT_FAILED;
    }

    if (!ngx_egress_has_retry(flow)) {

        /* nginx takes a method that it doesn't know for an idempotent one */

        if (sent && !ngx_http_egress_idempotent(ctx->request)
            && !(u->conf->next_upstream
                 & NGX_HTTP_UPSTREAM_FT_NON_IDEMPOTENT))
        {
            pc->tries = 0;
            pc->cached = 0;
        }

        return;
    }

    /* nginx gives one more try for a connection that had been idle */

    pc->cached = 0;

    if (ngx_egress_may_retry(flow, 0, sent,
                             ngx_http_egress_repeatable(ctx->request)))
    {
        if (pc->tries == 0) {
            flow->exhausted = (ngx_egress_tries(flow) > 1);
            return;
        }

        if (ngx_egress_retry(flow) == NGX_OK) {
            return;
        }
    }

    pc->tries = 0;
}


static void
ngx_http_egress_keep(ngx_http_egress_ctx_t *ctx, ngx_peer_connection_t *pc,
    ngx_uint_t state)
{
    ngx_http_upstream_t  *u;

    u = ctx->request->upstream;

    /* who tries again goes on with the slot, NGX_PEER_NEXT included */

    if (pc->connection == NULL || state != 0
        || !u->keepalive || !u->request_body_sent)
    {
        return;
    }

    if (ngx_egress_keep(&ctx->flow, pc->connection) == NGX_OK) {
        pc->connection = NULL;
    }
}


/* called by nginx when the connection has its SSL object, not yet a hello */

static ngx_int_t
ngx_http_egress_set_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_egress_ctx_t *ctx = data;

    return ngx_egress_tls_setup(&ctx->flow, pc->connection);
}


static void
ngx_http_egress_save_session(ngx_peer_connection_t *pc, void *data)
{
    ngx_http_egress_ctx_t *ctx = data;

    ngx_egress_tls_save(&ctx->flow, pc->connection);
}


static ngx_int_t
ngx_http_egress_value(ngx_egress_flow_t *flow, ngx_str_t *name,
    ngx_uint_t hash, ngx_str_t *value)
{
    ngx_http_variable_value_t  *vv;

    vv = ngx_http_get_variable(flow->data, name, hash);

    if (vv == NULL || vv->not_found) {
        return NGX_DECLINED;
    }

    value->len = vv->len;
    value->data = vv->data;

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_variable(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_str_t           value;
    ngx_egress_flow_t  *flow;

    flow = ngx_http_egress_get_flow(r);

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


/*
 * What Upgrade, and with data set Connection, say to the service: a client may
 * ask for WebSocket (RFC 6455), and for nothing else that would make bytes of
 * its own out of the connection.
 */

static ngx_int_t
ngx_http_egress_upgrade(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    ngx_table_elt_t  *h;

    static ngx_str_t  websocket = ngx_string("websocket");
    static ngx_str_t  upgrade = ngx_string("upgrade");

    h = r->headers_in.upgrade;

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = 0;
    v->data = (u_char *) "";

    if (h && h->value.len == websocket.len
        && ngx_strncasecmp(h->value.data, websocket.data, websocket.len) == 0)
    {
        v->len = data ? upgrade.len : websocket.len;
        v->data = data ? upgrade.data : websocket.data;
    }

    return NGX_OK;
}


/*
 * The host that was decided on, in the client's letters and with its port:
 * what the header says counts only as far as it is that host, since the
 * request line's own host goes before it.
 */

static ngx_int_t
ngx_http_egress_authority(ngx_http_request_t *r, ngx_http_variable_value_t *v,
    uintptr_t data)
{
    u_char     *p, *last;
    ngx_str_t   host;

    host = r->headers_in.server;

    if (r->host_start) {
        p = r->host_start;
        last = r->host_end;

        /* before 1.29 the port is behind host_end */

        if (*last == ':'
#if (NGX_HTTP_V2)
            && r->stream == NULL
#endif
           )
        {
            do { last++; } while (*last >= '0' && *last <= '9');
        }

    } else if (r->headers_in.host) {
        p = r->headers_in.host->value.data;
        last = p + r->headers_in.host->value.len;

    } else {
        p = last = host.data;
    }

    if ((size_t) (last - p) >= host.len
        && ngx_strncasecmp(p, host.data, host.len) == 0)
    {
        host.data = p;
        p += host.len;

        if (last - p > 1 && *p == ':') {
            do { p++; } while (p < last && *p >= '0' && *p <= '9');

            host.len = (p == last) ? (size_t) (p - host.data) : host.len;
        }
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;
    v->len = host.len;
    v->data = host.data;

    return NGX_OK;
}


/*
 * All lines of the header, joined as nginx does from 1.23 on.  For "x-a"
 * $http_x_a has the value of "x_a", too, which nobody on the way took for it.
 */

static ngx_int_t
ngx_http_egress_request_header(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    size_t            len;
    u_char           *p;
    ngx_str_t         name;
    ngx_uint_t        i, n;
    ngx_list_part_t  *part;
    ngx_table_elt_t  *h;

    name = *(ngx_str_t *) data;
    name.data += sizeof("egress_http_") - 1;
    name.len -= sizeof("egress_http_") - 1;

    p = NULL;
    len = 0;

    for (n = 0; n < 2; n++) {

        for (part = &r->headers_in.headers.part; part; part = part->next) {

            h = part->elts;

            for (i = 0; i < part->nelts; i++) {

                if (!ngx_http_egress_named(&h[i].key, &name)) {
                    continue;
                }

                if (p) {
                    p = ngx_cpymem(p, h[i].value.data, h[i].value.len);
                    *p++ = ',';
                    *p++ = ' ';
                }

                len += h[i].value.len + 2;
            }
        }

        if (len == 0) {
            v->not_found = 1;
            return NGX_OK;
        }

        if (n == 0) {
            p = ngx_pnalloc(r->pool, len);
            if (p == NULL) {
                return NGX_ERROR;
            }

            v->data = p;
            v->len = len - 2;
        }
    }

    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_uint_t
ngx_http_egress_named(ngx_str_t *key, ngx_str_t *name)
{
    u_char  ch;
    size_t  i;

    if (key->len != name->len) {
        return 0;
    }

    for (i = 0; i < key->len; i++) {

        ch = ngx_tolower(key->data[i]);

        if (ch == '_' || name->data[i] != (ch == '-' ? '_' : ch)) {
            return 0;
        }
    }

    return 1;
}


static ngx_int_t
ngx_http_egress_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_egress_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return ngx_http_egress_wrap_passes(cf);
}


/*
 * Which module will handle a location is known to nobody but the directive
 * that says so: it is asked while the http { } block is read.
 */

static ngx_int_t
ngx_http_egress_wrap_passes(ngx_conf_t *cf)
{
    ngx_uint_t               i;
    ngx_command_t           *cmd;
    ngx_pool_cleanup_t      *cln;
    ngx_http_egress_pass_t  *pass;

    /* undone if the block turns out to be wrong and the cycle is dropped */

    cln = ngx_pool_cleanup_add(cf->cycle->pool, 0);
    if (cln == NULL) {
        return NGX_ERROR;
    }

    cln->handler = ngx_http_egress_unwrap_passes;

    for (i = 0; cf->cycle->modules[i]; i++) {

        for (pass = ngx_http_egress_passes; pass->name; pass++) {

            if (ngx_strcmp(cf->cycle->modules[i]->name, pass->module) != 0) {
                continue;
            }

            for (cmd = cf->cycle->modules[i]->commands;
                 cmd->name.len && ngx_strcmp(cmd->name.data, pass->name) != 0;
                 cmd++)
            {
                /* void */
            }

            if (cmd->name.len == 0) {

                /* nginx may be built without a cache */

                if (ngx_strcmp(pass->name, NGX_HTTP_EGRESS_CACHE_KEY) == 0) {
                    continue;
                }

                return NGX_ERROR;
            }

            pass->passer = cf->cycle->modules[i];
            pass->cmd = cmd;
            pass->set = cmd->set;
            cmd->set = ngx_http_egress_pass;
        }
    }

    return NGX_OK;
}


static void
ngx_http_egress_unwrap_passes(void *data)
{
    ngx_http_egress_pass_t  *pass;

    for (pass = ngx_http_egress_passes; pass->name; pass++) {
        if (pass->cmd) {
            pass->cmd->set = pass->set;
            pass->cmd = NULL;
        }
    }
}


static char *
ngx_http_egress_pass(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t                   *value;
    ngx_http_egress_pass_t      *pass;
    ngx_http_egress_loc_conf_t  *elcf;

    elcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_egress_module);

    for (pass = ngx_http_egress_passes; pass->name; pass++) {
        if (pass->cmd != cmd) {
            continue;
        }

        if (ngx_strcmp(pass->name, NGX_HTTP_EGRESS_CACHE_KEY) == 0) {
            value = cf->args->elts;
            elcf->cache_key = value[1];

        } else {
            elcf->passes++;
            elcf->passer = pass->passer;
            ngx_http_egress_pass_uri(cf, &elcf->uri);
        }

        return pass->set(cf, cmd, conf);
    }

    return NGX_CONF_ERROR;
}


/* "http://name/path": the path takes the place of the location's prefix */

static void
ngx_http_egress_pass_uri(ngx_conf_t *cf, ngx_str_t *uri)
{
    u_char     *p, *last;
    ngx_str_t  *value;

    ngx_str_null(uri);

    if (cf->args->nelts < 2) {
        return;
    }

    value = cf->args->elts;

    p = value[1].data;
    last = p + value[1].len;

    if (ngx_strncmp(p, "http://", 7) == 0) {
        p += 7;

    } else if (ngx_strncmp(p, "https://", 8) == 0) {
        p += 8;
    }

    p = ngx_strlchr(p, last, '/');

    if (p) {
        uri->data = p;
        uri->len = last - p;
    }
}


ngx_int_t
ngx_http_egress_sent_path(ngx_http_request_t *r, ngx_str_t *path)
{
    u_char                      *p;
    size_t                       prefix, len;
    ngx_http_core_loc_conf_t    *clcf;
    ngx_http_egress_loc_conf_t  *elcf;

    elcf = ngx_http_get_module_loc_conf(r, ngx_http_egress_module);
    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);

    if (r == r->main && r->valid_unparsed_uri && elcf->uri.len == 0) {
        return NGX_DECLINED;
    }

    /* as ngx_http_proxy_create_request() */

    prefix = (elcf->uri.len && r->valid_location
              && clcf->name.len <= r->uri.len) ? clcf->name.len : 0;

    len = r->uri.len - prefix;

    path->len = elcf->uri.len + len
                + 2 * ngx_escape_uri(NULL, r->uri.data + prefix, len,
                                     NGX_ESCAPE_URI);

    path->data = ngx_pnalloc(r->pool, path->len);
    if (path->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(path->data, elcf->uri.data, elcf->uri.len);

    (void) ngx_escape_uri(p, r->uri.data + prefix, len, NGX_ESCAPE_URI);

    return NGX_OK;
}


static void *
ngx_http_egress_create_srv_conf(ngx_conf_t *cf)
{
    return ngx_pcalloc(cf->pool, sizeof(ngx_http_egress_srv_conf_t));
}


static void *
ngx_http_egress_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_egress_loc_conf_t  *conf;

    conf = ngx_pcalloc(cf->pool, sizeof(ngx_http_egress_loc_conf_t));
    if (conf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     conf->service, delay, file, passer = NULL
     *     conf->line, passes = 0
     *     conf->cache_key, uri = { 0, NULL }
     */

    conf->enable = NGX_CONF_UNSET;
    conf->port = NGX_CONF_UNSET;
    conf->reason_header = NGX_CONF_UNSET;

    return conf;
}


static char *
ngx_http_egress_merge_loc_conf(ngx_conf_t *cf, void *parent, void *child)
{
    ngx_http_egress_loc_conf_t *prev = parent;
    ngx_http_egress_loc_conf_t *conf = child;

    ngx_http_conf_ctx_t         *ctx;
    ngx_http_egress_place_t     *place;
    ngx_http_egress_srv_conf_t  *escf;

    if (conf->enable == NGX_CONF_UNSET) {
        conf->file = prev->file;
        conf->line = prev->line;
    }

    ngx_conf_merge_value(conf->enable, prev->enable, 0);
    ngx_conf_merge_value(conf->port, prev->port, 0);
    ngx_conf_merge_value(conf->reason_header, prev->reason_header, 0);
    ngx_conf_merge_str_value(conf->uri, prev->uri, "");

    if (conf->service == NULL) {
        conf->service = prev->service;
    }

    if (conf->delay == NULL) {
        conf->delay = prev->delay;
    }

    ngx_conf_merge_str_value(conf->cache_key, prev->cache_key, "");

    if (!conf->enable) {
        return NGX_CONF_OK;
    }

    escf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_egress_module);
    escf->serves = 1;

    place = ngx_palloc(cf->pool, sizeof(ngx_http_egress_place_t));
    if (place == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx = cf->ctx;

    place->clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);
    place->loc_conf = ctx->loc_conf;
    place->elcf = conf;

    if (ngx_egress_add_check(cf, ngx_http_egress_check_place, place)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* "egress on" and a way to dial that is not ours do not go together */

static ngx_int_t
ngx_http_egress_check_place(ngx_cycle_t *cycle, void *data)
{
    ngx_http_egress_place_t *place = data;

    ngx_int_t                  rc;
    ngx_uint_t                 i, ours;
    ngx_http_egress_pass_t    *pass;
    ngx_http_complex_value_t  *service;
    ngx_http_upstream_conf_t  *conf;

    service = place->elcf->service;

    if (service && service->lengths == NULL
        && ngx_egress_choice_protocol(cycle, &service->value,
                                      place->elcf->port)
           == NGX_EGRESS_PROTO_UNKNOWN)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"egress_service %V\" in location \"%V\" under "
                      "\"egress on\" in %s:%ui: no such service, subset "
                      "or port", &service->value, &place->clcf->name,
                      place->elcf->file, place->elcf->line);
        return NGX_ERROR;
    }

    ours = 0;

    for (i = 0; cycle->modules[i]; i++) {

        for (pass = ngx_http_egress_passes; pass->name; pass++) {
            if (ngx_strcmp(cycle->modules[i]->name, pass->module) == 0) {
                break;
            }
        }

        if (pass->name == NULL) {
            continue;
        }

        conf = place->loc_conf[cycle->modules[i]->ctx_index];

        rc = ngx_http_egress_check_upstream_conf(cycle, place, conf,
                                                 cycle->modules[i]);

        if (rc == NGX_ERROR) {
            return NGX_ERROR;
        }

        /*
         * What another module was told, or what a condition inherits, does
         * not vouch for the module that will handle the request.
         */

        if (place->elcf->passer == NULL
            || place->elcf->passer == cycle->modules[i])
        {
            ours += (rc == NGX_OK);
        }

        if (rc == NGX_OK) {
            place->elcf->http2 |= ngx_http_egress_speaks_http2(
                                                   cycle->modules[i], conf);
        }
    }

    if (place->elcf->passes <= 1
        && (place->clcf->handler == NULL || ours))
    {
        return ours ? ngx_http_egress_check_protocol(cycle, place) : NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "location \"%V\" under \"egress on\" in %s:%ui must have "
                  "one \"proxy_pass\" to an upstream with "
                  "\"egress_balance\", or \"egress off\"",
                  &place->clcf->name, place->elcf->file, place->elcf->line);

    return NGX_ERROR;
}


/* NGX_DECLINED: nothing is dialled by this module */

static ngx_int_t
ngx_http_egress_check_upstream_conf(ngx_cycle_t *cycle,
    ngx_http_egress_place_t *place, ngx_http_upstream_conf_t *conf,
    ngx_module_t *module)
{
    ngx_http_egress_srv_conf_t    *escf;
    ngx_http_upstream_srv_conf_t  *us;

    us = conf->upstream;

    if (us == NULL) {
        return NGX_DECLINED;
    }

    escf = us->srv_conf
           ? ngx_http_conf_upstream_srv_conf(us, ngx_http_egress_module)
           : NULL;

    if (escf == NULL || !escf->balance) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"%V\" in location \"%V\" under \"egress on\" "
                      "in %s:%ui is not an upstream with \"egress_balance\"",
                      &us->host, &place->clcf->name,
                      place->elcf->file, place->elcf->line);
        return NGX_ERROR;
    }

    /* another principal could be answered what was fetched for this one */

    if (conf->store > 0) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "store in location \"%V\" is incompatible "
                      "with \"egress on\" in %s:%ui", &place->clcf->name,
                      place->elcf->file, place->elcf->line);
        return NGX_ERROR;
    }

#if (NGX_HTTP_CACHE)

    if (conf->cache > 0
        && (ngx_strcmp(module->name, "ngx_http_proxy_module") != 0
            || ngx_strncmp(place->elcf->cache_key.data,
                           ngx_http_egress_key.data, ngx_http_egress_key.len)
               != 0))
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "cache in location \"%V\" under \"egress on\" in "
                      "%s:%ui must have a \"proxy_cache_key\" that begins "
                      "with \"%V\"", &place->clcf->name, place->elcf->file,
                      place->elcf->line, &ngx_http_egress_key);
        return NGX_ERROR;
    }

#endif

    return NGX_OK;
}


/* of a service that is known by now */

static ngx_int_t
ngx_http_egress_check_protocol(ngx_cycle_t *cycle,
    ngx_http_egress_place_t *place)
{
    ngx_str_t                   *name;
    ngx_uint_t                   protocol;
    ngx_http_egress_loc_conf_t  *elcf;

    elcf = place->elcf;

    if (elcf->service == NULL || elcf->service->lengths) {
        return NGX_OK;
    }

    name = &elcf->service->value;
    protocol = ngx_egress_choice_protocol(cycle, name, elcf->port);

    if (ngx_egress_protocol_fits(protocol, elcf->http2)) {
        return NGX_OK;
    }

    ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                  "egress service \"%V\" has protocol \"%V\", and location "
                  "\"%V\" under \"egress on\" in %s:%ui speaks %s", name,
                  ngx_egress_protocol_name(protocol), &place->clcf->name,
                  elcf->file, elcf->line,
                  elcf->http2 ? "HTTP/2"
                              : "HTTP/1.1: say \"grpc_pass\", or from nginx "
                                "1.29.4 on \"proxy_http_version 2\"");

    return NGX_ERROR;
}


/* the proxy's configuration is private; its command says where this is */

static ngx_uint_t
ngx_http_egress_speaks_http2(ngx_module_t *module, void *conf)
{
    ngx_command_t  *cmd;

    if (ngx_strcmp(module->name, "ngx_http_grpc_module") == 0) {
        return NGX_HTTP_EGRESS_GRPC;
    }

    for (cmd = module->commands; cmd->name.len; cmd++) {
        if (ngx_strcmp(cmd->name.data, "proxy_http_version") == 0) {
            return *(ngx_uint_t *) ((char *) conf + cmd->offset)
                   == NGX_HTTP_VERSION_20 ? NGX_HTTP_EGRESS_PROXY_V2 : 0;
        }
    }

    return 0;
}


static char *
ngx_http_egress_enable(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_egress_loc_conf_t *elcf = conf;

    char  *rv;

    rv = ngx_conf_set_flag_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    elcf->file = cf->conf_file->file.name.data;
    elcf->line = cf->conf_file->line;

    if (elcf->enable) {
        ngx_egress_use(cf, NGX_EGRESS_HTTP);
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_egress_port(ngx_conf_t *cf, void *post, void *data)
{
    ngx_int_t *np = data;

    if (*np < 1 || *np > 65535) {
        return "invalid value";
    }

    return NGX_CONF_OK;
}


static char *
ngx_http_egress_delay(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char *p = conf;

    char                       *rv;
    ngx_str_t                  *value;
    ngx_http_complex_value_t  **delay;

    rv = ngx_http_set_complex_value_slot(cf, cmd, conf);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    value = cf->args->elts;
    delay = (ngx_http_complex_value_t **) (p + cmd->offset);

    if ((*delay)->lengths == NULL
        && (value[1].len == 0
            || ngx_http_egress_delay_time(&value[1]) == NGX_ERROR))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\" directive, "
                           "it must be a time, as 100ms",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* in milliseconds; nothing is 0 */

static ngx_int_t
ngx_http_egress_delay_time(ngx_str_t *value)
{
    return value->len ? ngx_parse_time(value, 0) : 0;
}


static char *
ngx_http_egress_balance(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_egress_srv_conf_t *escf = conf;

    ngx_http_upstream_server_t    *us;
    ngx_http_upstream_srv_conf_t  *uscf;

    if (escf->balance) {
        return "is duplicate";
    }

    uscf = ngx_http_conf_get_module_srv_conf(cf, ngx_http_upstream_module);

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

    ngx_memzero(us, sizeof(ngx_http_upstream_server_t));

    us->down = 1;

    escf->balance = 1;

    uscf->flags = NGX_HTTP_UPSTREAM_CREATE;
    uscf->peer.init_upstream = ngx_http_egress_init_upstream;

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_egress_init(ngx_conf_t *cf)
{
    ngx_http_handler_pt        *h;
    ngx_http_core_main_conf_t  *cmcf;

    ngx_http_egress_unwrap_passes(NULL);

    if (ngx_http_egress_check_upstreams(cf) != NGX_OK
        || ngx_http_egress_listeners(cf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_http_egress_no_resumption(cf);

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (ngx_egress_used(cf, NGX_EGRESS_HTTP)
        && ngx_egress_add_check(cf, ngx_http_egress_check_keys, cmcf)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    h = ngx_array_push(&cmcf->phases[NGX_HTTP_PREACCESS_PHASE].handlers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    *h = ngx_http_egress_handler;

    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_egress_header_filter;

    ngx_http_next_body_filter = ngx_http_top_body_filter;
    ngx_http_top_body_filter = ngx_http_egress_body_filter;

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_check_keys(ngx_cycle_t *cycle, void *data)
{
    return ngx_egress_check_keys(cycle, NGX_EGRESS_HTTP,
                                 ngx_http_egress_known, data);
}


/* as ngx_http_get_variable() finds it */

static ngx_uint_t
ngx_http_egress_known(void *data, ngx_str_t *name, ngx_uint_t hash)
{
    ngx_http_core_main_conf_t *cmcf = data;

    ngx_uint_t            i;
    ngx_http_variable_t  *v;

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
ngx_http_egress_check_upstreams(ngx_conf_t *cf)
{
    ngx_uint_t                      i;
    ngx_http_egress_srv_conf_t     *escf;
    ngx_http_upstream_srv_conf_t   *us, **uscfp;
    ngx_http_upstream_main_conf_t  *umcf;

    umcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_upstream_module);
    uscfp = umcf->upstreams.elts;

    for (i = 0; i < umcf->upstreams.nelts; i++) {

        us = uscfp[i];

        if (us->srv_conf == NULL) {
            continue;
        }

        escf = ngx_http_conf_upstream_srv_conf(us, ngx_http_egress_module);

        if (!escf->balance) {
            continue;
        }

        if (us->servers->nelts != 1
            || us->peer.init_upstream != ngx_http_egress_init_upstream
#if (NGX_HTTP_UPSTREAM_ZONE)
            || us->shm_zone
#endif
           )
        {
            ngx_log_error(NGX_LOG_EMERG, cf->log, 0,
                          "\"egress_balance\" is incompatible with \"server\","
                          " \"keepalive\", \"zone\" and other balancing "
                          "methods in upstream \"%V\" in %s:%ui",
                          &us->host, us->file_name, us->line);
            return NGX_ERROR;
        }

        /* from 1.29.7 nginx turns its own keepalive on in every upstream */

        us->peer.init = ngx_http_egress_init_peer;
    }

    return NGX_OK;
}


/*
 * A resumed session has no verified chain, and so no identity: where the
 * mesh's certificates count, there is no resumption.  A session is resumed in
 * the name of the address's first server, whichever it began with.
 */

static void
ngx_http_egress_no_resumption(ngx_conf_t *cf)
{
    ngx_uint_t                  i, n, k, verify;
    ngx_http_conf_addr_t       *addr;
    ngx_http_conf_port_t       *port;
    ngx_http_ssl_srv_conf_t    *sscf;
    ngx_http_core_srv_conf_t  **cscfp;
    ngx_http_core_main_conf_t  *cmcf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);

    if (!ngx_egress_used(cf, NGX_EGRESS_HTTP) || cmcf->ports == NULL) {
        return;
    }

    port = cmcf->ports->elts;

    for (i = 0; i < cmcf->ports->nelts; i++) {

        addr = port[i].addrs.elts;
        verify = 0;

        /* one socket may be bound for several of a port's addresses */

        for (n = 0; n < port[i].addrs.nelts; n++) {
            cscfp = addr[n].servers.elts;

            for (k = 0; k < addr[n].servers.nelts; k++) {
                sscf = ngx_http_egress_ssl(cscfp[k]);
                verify |= (sscf->ssl.ctx && sscf->verify);
            }
        }

        for (n = 0; verify && n < port[i].addrs.nelts; n++) {
            cscfp = addr[n].servers.elts;

            for (k = 0; k < addr[n].servers.nelts; k++) {
                ngx_egress_no_resumption(
                                       ngx_http_egress_ssl(cscfp[k])->ssl.ctx);
            }
        }
    }
}


static ngx_http_ssl_srv_conf_t *
ngx_http_egress_ssl(ngx_http_core_srv_conf_t *cscf)
{
    return cscf->ctx->srv_conf[ngx_http_ssl_module.ctx_index];
}


/* whose certificates the workers look at */

static ngx_int_t
ngx_http_egress_listeners(ngx_conf_t *cf)
{
    ngx_uint_t                    i;
    ngx_http_ssl_srv_conf_t      *sscf;
    ngx_http_core_srv_conf_t    **cscfp;
    ngx_http_core_main_conf_t    *cmcf;
    ngx_egress_listener_conf_t    conf;
    ngx_http_egress_srv_conf_t   *escf;

    cmcf = ngx_http_conf_get_module_main_conf(cf, ngx_http_core_module);
    cscfp = cmcf->servers.elts;

    for (i = 0; i < cmcf->servers.nelts; i++) {

        sscf = ngx_http_egress_ssl(cscfp[i]);
        escf = cscfp[i]->ctx->srv_conf[ngx_http_egress_module.ctx_index];

        if (!escf->serves || sscf->ssl.ctx == NULL) {
            continue;
        }

        /* with variables nginx reads them in each handshake */

        conf.ctx = sscf->ssl.ctx;
        conf.certificates = (sscf->certificate_values || sscf->passwords)
                            ? NULL : sscf->certificates;
        conf.keys = sscf->certificate_keys;
        conf.client = &sscf->client_certificate;
        conf.trusted = &sscf->trusted_certificate;
        conf.crl = &sscf->crl;

        if (ngx_egress_add_listener(cf, &conf) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}
