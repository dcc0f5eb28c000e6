
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_egress_ratelimit.h>
#include <ngx_http_egress.h>


typedef struct {
    ngx_array_t  *limits;    /* ngx_egress_ratelimit_limit_t *; or NULL */
    ngx_array_t  *descriptors;
                             /* of ngx_array_t *, of
                                ngx_egress_ratelimit_action_t; or NULL */
} ngx_http_egress_ratelimit_loc_conf_t;


/* of a client's request: subrequests and redirects are not charged again */

typedef struct {
    ngx_array_t  *charges;   /* ngx_egress_ratelimit_charge_t; or NULL */
} ngx_http_egress_ratelimit_ctx_t;


static ngx_int_t ngx_http_egress_ratelimit_step(ngx_egress_flow_t *flow);
static ngx_int_t ngx_http_egress_ratelimit_value(ngx_egress_flow_t *flow,
    void *value, ngx_str_t *text);
static ngx_int_t ngx_http_egress_ratelimit_variable(ngx_egress_flow_t *flow,
    ngx_str_t *name, ngx_uint_t hash, ngx_str_t *value);
static uint64_t ngx_http_egress_ratelimit_bytes(ngx_egress_flow_t *flow);
static ngx_http_egress_ratelimit_ctx_t *ngx_http_egress_ratelimit_get_ctx(
    ngx_http_request_t *r, ngx_uint_t create);
static void ngx_http_egress_ratelimit_cleanup(void *data);
static ngx_int_t ngx_http_egress_ratelimit_tell_service(
    ngx_http_request_t *r, ngx_array_t *charges);
static ngx_int_t ngx_http_egress_ratelimit_add_request_header(
    ngx_http_request_t *r, ngx_keyval_t *kv);

static ngx_int_t ngx_http_egress_ratelimit_header_filter(
    ngx_http_request_t *r);
static ngx_int_t ngx_http_egress_ratelimit_charge_headers(
    ngx_http_request_t *r, ngx_egress_ratelimit_charge_t *charge);
static ngx_int_t ngx_http_egress_ratelimit_x_headers(ngx_http_request_t *r,
    ngx_egress_ratelimit_charge_t *charge);
static ngx_int_t ngx_http_egress_ratelimit_add_headers(ngx_http_request_t *r,
    ngx_array_t *headers);
static ngx_int_t ngx_http_egress_ratelimit_add_number(ngx_http_request_t *r,
    const char *name, uint64_t n);

static void *ngx_http_egress_ratelimit_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_egress_ratelimit_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_http_egress_ratelimit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_http_egress_ratelimit_descriptor(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_http_egress_ratelimit_compile(ngx_conf_t *cf,
    ngx_str_t *text, void **value);
static ngx_int_t ngx_http_egress_ratelimit_init(ngx_conf_t *cf);


static ngx_command_t  ngx_http_egress_ratelimit_commands[] = {

    { ngx_string("egress_ratelimit"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_1MORE,
      ngx_http_egress_ratelimit,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("egress_ratelimit_descriptor"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF
          |NGX_CONF_1MORE,
      ngx_http_egress_ratelimit_descriptor,
      NGX_HTTP_LOC_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_egress_ratelimit_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_http_egress_ratelimit_init,        /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_egress_ratelimit_create_loc_conf,
                                           /* create location configuration */
    ngx_http_egress_ratelimit_merge_loc_conf
                                           /* merge location configuration */
};


ngx_module_t  ngx_http_egress_ratelimit_module = {
    NGX_MODULE_V1,
    &ngx_http_egress_ratelimit_module_ctx, /* module context */
    ngx_http_egress_ratelimit_commands,    /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_egress_ratelimit_init_process,     /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_output_header_filter_pt  ngx_http_next_header_filter;


static ngx_int_t
ngx_http_egress_ratelimit_step(ngx_egress_flow_t *flow)
{
    ngx_int_t                              rc;
    ngx_http_request_t                    *r;
    ngx_http_egress_ratelimit_ctx_t       *ctx;
    ngx_http_egress_ratelimit_loc_conf_t  *rlcf;

    r = flow->data;

    rlcf = ngx_http_get_module_loc_conf(r, ngx_http_egress_ratelimit_module);

    if (rlcf->limits == NULL) {
        return NGX_OK;
    }

    ctx = ngx_http_egress_ratelimit_get_ctx(r, 1);
    if (ctx == NULL) {
        return NGX_ERROR;
    }

    flow->charges = ctx->charges;

    if (flow->variable == NULL) {
        flow->variable = ngx_http_egress_ratelimit_variable;
    }

    rc = ngx_egress_ratelimit(flow, rlcf->limits, rlcf->descriptors,
                              ngx_http_egress_ratelimit_value,
                              ngx_http_egress_ratelimit_bytes);

    ctx->charges = flow->charges;

    if (rc == NGX_OK) {
        rc = ngx_http_egress_ratelimit_tell_service(r, ctx->charges);
    }

    return rc;
}


static ngx_int_t
ngx_http_egress_ratelimit_value(ngx_egress_flow_t *flow, void *value,
    ngx_str_t *text)
{
    return ngx_http_complex_value(flow->data, value, text);
}


static ngx_int_t
ngx_http_egress_ratelimit_variable(ngx_egress_flow_t *flow, ngx_str_t *name,
    ngx_uint_t hash, ngx_str_t *value)
{
    ngx_http_variable_value_t  *v;

    v = ngx_http_get_variable(flow->data, name, hash);

    if (v == NULL || v->not_found) {
        return NGX_DECLINED;
    }

    value->len = v->len;
    value->data = v->data;

    return NGX_OK;
}


static uint64_t
ngx_http_egress_ratelimit_bytes(ngx_egress_flow_t *flow)
{
    ngx_http_request_t *r = flow->data;

    return (uint64_t) r->request_length + r->connection->sent;
}


/* r->ctx does not survive an internal redirect, the pool does */

static ngx_http_egress_ratelimit_ctx_t *
ngx_http_egress_ratelimit_get_ctx(ngx_http_request_t *r, ngx_uint_t create)
{
    ngx_pool_cleanup_t               *cln;
    ngx_http_egress_ratelimit_ctx_t  *ctx;

    ctx = ngx_http_get_module_ctx(r->main, ngx_http_egress_ratelimit_module);

    if (ctx) {
        return ctx;
    }

    for (cln = r->pool->cleanup; cln; cln = cln->next) {
        if (cln->handler == ngx_http_egress_ratelimit_cleanup) {
            break;
        }
    }

    if (cln == NULL) {

        if (!create) {
            return NULL;
        }

        cln = ngx_pool_cleanup_add(r->pool,
                                   sizeof(ngx_http_egress_ratelimit_ctx_t));
        if (cln == NULL) {
            return NULL;
        }

        cln->handler = ngx_http_egress_ratelimit_cleanup;
        ngx_memzero(cln->data, sizeof(ngx_http_egress_ratelimit_ctx_t));
    }

    ctx = cln->data;
    ngx_http_set_ctx(r->main, ctx, ngx_http_egress_ratelimit_module);

    return ctx;
}


/* nothing to clean up: it is how the pool's entry is found */

static void
ngx_http_egress_ratelimit_cleanup(void *data)
{
    return;
}


/* as Envoy's request_headers_to_add_when_not_enforced */

static ngx_int_t
ngx_http_egress_ratelimit_tell_service(ngx_http_request_t *r,
    ngx_array_t *charges)
{
    ngx_uint_t                      i, k;
    ngx_array_t                    *headers;
    ngx_keyval_t                   *kv;
    ngx_egress_ratelimit_charge_t  *charge;

    charge = charges->elts;

    for (i = 0; i < charges->nelts; i++) {

        headers = charge[i].bucket->request;

        if (!charge[i].would || charge[i].told || headers == NULL) {
            continue;
        }

        charge[i].told = 1;
        kv = headers->elts;

        for (k = 0; k < headers->nelts; k++) {
            if (ngx_http_egress_ratelimit_add_request_header(r, &kv[k])
                != NGX_OK)
            {
                return NGX_ERROR;
            }
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_ratelimit_add_request_header(ngx_http_request_t *r,
    ngx_keyval_t *kv)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_in.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->key = kv->key;
    h->value = kv->value;

    h->lowcase_key = ngx_pnalloc(r->pool, kv->key.len);
    if (h->lowcase_key == NULL) {
        return NGX_ERROR;
    }

    h->hash = ngx_hash_strlow(h->lowcase_key, kv->key.data, kv->key.len);

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_ratelimit_header_filter(ngx_http_request_t *r)
{
    ngx_uint_t                        i;
    ngx_egress_ratelimit_charge_t    *charge;
    ngx_http_egress_ratelimit_ctx_t  *ctx;

    if (r != r->main) {
        return ngx_http_next_header_filter(r);
    }

    ctx = ngx_http_egress_ratelimit_get_ctx(r, 0);

    if (ctx == NULL || ctx->charges == NULL) {
        return ngx_http_next_header_filter(r);
    }

    charge = ctx->charges->elts;

    for (i = 0; i < ctx->charges->nelts; i++) {

        if (ngx_http_egress_ratelimit_charge_headers(r, &charge[i])
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    charge = ngx_egress_ratelimit_told(ctx->charges);

    if (charge && ngx_http_egress_ratelimit_x_headers(r, charge) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_http_next_header_filter(r);
}


static ngx_int_t
ngx_http_egress_ratelimit_charge_headers(ngx_http_request_t *r,
    ngx_egress_ratelimit_charge_t *charge)
{
    ngx_egress_ratelimit_bucket_t  *bucket;

    bucket = charge->bucket;

    if (!charge->enabled) {
        return NGX_OK;
    }

    if (ngx_http_egress_ratelimit_add_headers(r, bucket->always) != NGX_OK) {
        return NGX_ERROR;
    }

    if (!charge->refused) {
        return NGX_OK;
    }

    if (bucket->retry_after
        && charge->result == NGX_EGRESS_RATELIMIT_LIMITED
        && charge->wait != NGX_EGRESS_RATELIMIT_NEVER
        && ngx_http_egress_ratelimit_add_number(r, "retry-after",
                                                (charge->wait + 999) / 1000)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_http_egress_ratelimit_add_headers(r, bucket->headers);
}


static ngx_int_t
ngx_http_egress_ratelimit_x_headers(ngx_http_request_t *r,
    ngx_egress_ratelimit_charge_t *charge)
{
    if (ngx_http_egress_ratelimit_add_number(r, "x-ratelimit-limit",
                                             charge->bucket->rate.tokens)
           != NGX_OK
        || ngx_http_egress_ratelimit_add_number(r, "x-ratelimit-remaining",
                                                charge->left)
           != NGX_OK)
    {
        return NGX_ERROR;
    }

    /* what costs more than a full bucket has is not a matter of time */

    if (charge->wait == NGX_EGRESS_RATELIMIT_NEVER) {
        return NGX_OK;
    }

    return ngx_http_egress_ratelimit_add_number(r, "x-ratelimit-reset",
                                                (charge->wait + 999) / 1000);
}


static ngx_int_t
ngx_http_egress_ratelimit_add_headers(ngx_http_request_t *r,
    ngx_array_t *headers)
{
    ngx_uint_t        i;
    ngx_keyval_t     *kv;
    ngx_table_elt_t  *h;

    if (headers == NULL) {
        return NGX_OK;
    }

    kv = headers->elts;

    for (i = 0; i < headers->nelts; i++) {

        h = ngx_list_push(&r->headers_out.headers);
        if (h == NULL) {
            return NGX_ERROR;
        }

        ngx_memzero(h, sizeof(ngx_table_elt_t));

        h->hash = 1;
        h->key = kv[i].key;
        h->value = kv[i].value;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_ratelimit_add_number(ngx_http_request_t *r, const char *name,
    uint64_t n)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->value.data = ngx_pnalloc(r->pool, NGX_INT64_LEN);
    if (h->value.data == NULL) {
        return NGX_ERROR;
    }

    h->hash = 1;
    h->key.len = ngx_strlen(name);
    h->key.data = (u_char *) name;
    h->value.len = ngx_sprintf(h->value.data, "%uL", n) - h->value.data;

    return NGX_OK;
}


static void *
ngx_http_egress_ratelimit_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_egress_ratelimit_loc_conf_t  *rlcf;

    rlcf = ngx_palloc(cf->pool, sizeof(ngx_http_egress_ratelimit_loc_conf_t));
    if (rlcf == NULL) {
        return NULL;
    }

    rlcf->limits = NGX_CONF_UNSET_PTR;
    rlcf->descriptors = NGX_CONF_UNSET_PTR;

    return rlcf;
}


static char *
ngx_http_egress_ratelimit_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_egress_ratelimit_loc_conf_t  *prev = parent;
    ngx_http_egress_ratelimit_loc_conf_t  *conf = child;

    ngx_conf_merge_ptr_value(conf->limits, prev->limits, NULL);
    ngx_conf_merge_ptr_value(conf->descriptors, prev->descriptors, NULL);

    return NGX_CONF_OK;
}


static char *
ngx_http_egress_ratelimit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_http_egress_ratelimit_loc_conf_t *rlcf = conf;

    return ngx_egress_ratelimit_limit(cf, &rlcf->limits,
                                      ngx_http_egress_ratelimit_compile);
}


static char *
ngx_http_egress_ratelimit_descriptor(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_http_egress_ratelimit_loc_conf_t *rlcf = conf;

    return ngx_egress_ratelimit_actions(cf, &rlcf->descriptors,
                                        ngx_http_egress_ratelimit_compile);
}


static ngx_int_t
ngx_http_egress_ratelimit_compile(ngx_conf_t *cf, ngx_str_t *text,
    void **value)
{
    ngx_http_compile_complex_value_t  ccv;

    *value = ngx_palloc(cf->pool, sizeof(ngx_http_complex_value_t));
    if (*value == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_http_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = *value;

    return ngx_http_compile_complex_value(&ccv);
}


static ngx_int_t
ngx_http_egress_ratelimit_init(ngx_conf_t *cf)
{
    ngx_http_next_header_filter = ngx_http_top_header_filter;
    ngx_http_top_header_filter = ngx_http_egress_ratelimit_header_filter;

    return ngx_egress_add_step(cf, NGX_EGRESS_HTTP, NGX_EGRESS_STEP_RATELIMIT,
                               ngx_http_egress_ratelimit_step);
}
