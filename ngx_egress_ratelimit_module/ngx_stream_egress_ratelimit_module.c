
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>
#include <ngx_egress_ratelimit.h>


typedef struct {
    ngx_array_t  *limits;    /* ngx_egress_ratelimit_limit_t *; or NULL */
    ngx_array_t  *descriptors;
                             /* of ngx_array_t *, of
                                ngx_egress_ratelimit_action_t; or NULL */
} ngx_stream_egress_ratelimit_srv_conf_t;


static ngx_int_t ngx_stream_egress_ratelimit_step(ngx_egress_flow_t *flow);
static ngx_int_t ngx_stream_egress_ratelimit_value(ngx_egress_flow_t *flow,
    void *value, ngx_str_t *text);
static ngx_int_t ngx_stream_egress_ratelimit_variable(ngx_egress_flow_t *flow,
    ngx_str_t *name, ngx_uint_t hash, ngx_str_t *value);
static uint64_t ngx_stream_egress_ratelimit_bytes(ngx_egress_flow_t *flow);
static void *ngx_stream_egress_ratelimit_create_srv_conf(ngx_conf_t *cf);
static char *ngx_stream_egress_ratelimit_merge_srv_conf(ngx_conf_t *cf,
    void *parent, void *child);
static char *ngx_stream_egress_ratelimit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_stream_egress_ratelimit_descriptor(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static ngx_int_t ngx_stream_egress_ratelimit_compile(ngx_conf_t *cf,
    ngx_str_t *text, void **value);
static ngx_int_t ngx_stream_egress_ratelimit_init(ngx_conf_t *cf);


static ngx_command_t  ngx_stream_egress_ratelimit_commands[] = {

    { ngx_string("egress_ratelimit"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_1MORE,
      ngx_stream_egress_ratelimit,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

    { ngx_string("egress_ratelimit_descriptor"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF
          |NGX_CONF_1MORE,
      ngx_stream_egress_ratelimit_descriptor,
      NGX_STREAM_SRV_CONF_OFFSET,
      0,
      NULL },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_egress_ratelimit_module_ctx = {
    NULL,                                  /* preconfiguration */
    ngx_stream_egress_ratelimit_init,      /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_stream_egress_ratelimit_create_srv_conf,
                                           /* create server configuration */
    ngx_stream_egress_ratelimit_merge_srv_conf
                                           /* merge server configuration */
};


ngx_module_t  ngx_stream_egress_ratelimit_module = {
    NGX_MODULE_V1,
    &ngx_stream_egress_ratelimit_module_ctx,
                                           /* module context */
    ngx_stream_egress_ratelimit_commands,  /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    ngx_egress_ratelimit_init_process,     /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_int_t
ngx_stream_egress_ratelimit_step(ngx_egress_flow_t *flow)
{
    ngx_stream_egress_ratelimit_srv_conf_t  *rscf;

    rscf = ngx_stream_get_module_srv_conf((ngx_stream_session_t *) flow->data,
                                          ngx_stream_egress_ratelimit_module);

    if (flow->variable == NULL) {
        flow->variable = ngx_stream_egress_ratelimit_variable;
    }

    return ngx_egress_ratelimit(flow, rscf->limits, rscf->descriptors,
                              ngx_stream_egress_ratelimit_value,
                              ngx_stream_egress_ratelimit_bytes);
}


static ngx_int_t
ngx_stream_egress_ratelimit_value(ngx_egress_flow_t *flow, void *value,
    ngx_str_t *text)
{
    return ngx_stream_complex_value(flow->data, value, text);
}


static ngx_int_t
ngx_stream_egress_ratelimit_variable(ngx_egress_flow_t *flow, ngx_str_t *name,
    ngx_uint_t hash, ngx_str_t *value)
{
    ngx_stream_variable_value_t  *v;

    v = ngx_stream_get_variable(flow->data, name, hash);

    if (v == NULL || v->not_found) {
        return NGX_DECLINED;
    }

    value->len = v->len;
    value->data = v->data;

    return NGX_OK;
}


static uint64_t
ngx_stream_egress_ratelimit_bytes(ngx_egress_flow_t *flow)
{
    ngx_stream_session_t *s = flow->data;

    return (uint64_t) s->received + s->connection->sent;
}


static void *
ngx_stream_egress_ratelimit_create_srv_conf(ngx_conf_t *cf)
{
    ngx_stream_egress_ratelimit_srv_conf_t  *rscf;

    rscf = ngx_palloc(cf->pool, sizeof(ngx_stream_egress_ratelimit_srv_conf_t));
    if (rscf == NULL) {
        return NULL;
    }

    rscf->limits = NGX_CONF_UNSET_PTR;
    rscf->descriptors = NGX_CONF_UNSET_PTR;

    return rscf;
}


static char *
ngx_stream_egress_ratelimit_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_stream_egress_ratelimit_srv_conf_t  *prev = parent;
    ngx_stream_egress_ratelimit_srv_conf_t  *conf = child;

    ngx_conf_merge_ptr_value(conf->limits, prev->limits, NULL);
    ngx_conf_merge_ptr_value(conf->descriptors, prev->descriptors, NULL);

    return NGX_CONF_OK;
}


static char *
ngx_stream_egress_ratelimit(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_stream_egress_ratelimit_srv_conf_t *rscf = conf;

    return ngx_egress_ratelimit_limit(cf, &rscf->limits,
                                      ngx_stream_egress_ratelimit_compile);
}


static char *
ngx_stream_egress_ratelimit_descriptor(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_stream_egress_ratelimit_srv_conf_t *rscf = conf;

    return ngx_egress_ratelimit_actions(cf, &rscf->descriptors,
                                        ngx_stream_egress_ratelimit_compile);
}


static ngx_int_t
ngx_stream_egress_ratelimit_compile(ngx_conf_t *cf, ngx_str_t *text,
    void **value)
{
    ngx_stream_compile_complex_value_t  ccv;

    *value = ngx_palloc(cf->pool, sizeof(ngx_stream_complex_value_t));
    if (*value == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(&ccv, sizeof(ngx_stream_compile_complex_value_t));

    ccv.cf = cf;
    ccv.value = text;
    ccv.complex_value = *value;

    return ngx_stream_compile_complex_value(&ccv);
}


static ngx_int_t
ngx_stream_egress_ratelimit_init(ngx_conf_t *cf)
{
    return ngx_egress_add_step(cf, NGX_EGRESS_STREAM, NGX_EGRESS_STEP_RATELIMIT,
                               ngx_stream_egress_ratelimit_step);
}
