
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_egress_authz.h>


typedef struct {
    ngx_uint_t                mode;
} ngx_http_egress_authz_loc_conf_t;


static ngx_int_t ngx_http_egress_authz_step(ngx_egress_flow_t *flow);
static ngx_int_t ngx_http_egress_authz_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_egress_authz_add_variables(ngx_conf_t *cf);
static void *ngx_http_egress_authz_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_egress_authz_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_egress_authz_init(ngx_conf_t *cf);


static ngx_conf_enum_t  ngx_http_egress_authz_modes[] = {
    { ngx_string("off"), NGX_EGRESS_AUTHZ_OFF },
    { ngx_string("on"), NGX_EGRESS_AUTHZ_ON },
    { ngx_string("report"), NGX_EGRESS_AUTHZ_REPORT },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_egress_authz_commands[] = {

    { ngx_string("egress_authz"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_egress_authz_loc_conf_t, mode),
      &ngx_http_egress_authz_modes },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_egress_authz_module_ctx = {
    ngx_http_egress_authz_add_variables,   /* preconfiguration */
    ngx_http_egress_authz_init,            /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_egress_authz_create_loc_conf, /* create location configuration */
    ngx_http_egress_authz_merge_loc_conf   /* merge location configuration */
};


ngx_module_t  ngx_http_egress_authz_module = {
    NGX_MODULE_V1,
    &ngx_http_egress_authz_module_ctx,     /* module context */
    ngx_http_egress_authz_commands,        /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_egress_authz_vars[] = {

    { ngx_string("egress_principal"), NULL, ngx_http_egress_authz_variable,
      offsetof(ngx_egress_identity_t, principal),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_trust_domain"), NULL, ngx_http_egress_authz_variable,
      offsetof(ngx_egress_identity_t, trust_domain),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_namespace"), NULL, ngx_http_egress_authz_variable,
      offsetof(ngx_egress_identity_t, namespace),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_service_account"), NULL,
      ngx_http_egress_authz_variable,
      offsetof(ngx_egress_identity_t, service_account),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_http_egress_authz_step(ngx_egress_flow_t *flow)
{
    ngx_http_egress_authz_loc_conf_t  *alcf;

    if (flow->explain) {
        return ngx_egress_authz(flow, NGX_EGRESS_AUTHZ_ON);
    }

    alcf = ngx_http_get_module_loc_conf((ngx_http_request_t *) flow->data,
                                        ngx_http_egress_authz_module);

    return ngx_egress_authz(flow, alcf->mode);
}


static ngx_int_t
ngx_http_egress_authz_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t              *value;
    ngx_egress_identity_t  *id;

    id = ngx_egress_identity(r->connection);
    if (id == NULL) {
        return NGX_ERROR;
    }

    value = (ngx_str_t *) ((char *) id + data);

    if (value->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value->data;
    v->len = value->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_authz_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_egress_authz_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static void *
ngx_http_egress_authz_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_egress_authz_loc_conf_t  *alcf;

    alcf = ngx_palloc(cf->pool, sizeof(ngx_http_egress_authz_loc_conf_t));
    if (alcf == NULL) {
        return NULL;
    }

    alcf->mode = NGX_CONF_UNSET_UINT;

    return alcf;
}


static char *
ngx_http_egress_authz_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_egress_authz_loc_conf_t *prev = parent;
    ngx_http_egress_authz_loc_conf_t *conf = child;

    ngx_conf_merge_uint_value(conf->mode, prev->mode, NGX_EGRESS_AUTHZ_ON);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_egress_authz_init(ngx_conf_t *cf)
{
    return ngx_egress_add_step(cf, NGX_EGRESS_HTTP, NGX_EGRESS_STEP_AUTHZ,
                               ngx_http_egress_authz_step);
}
