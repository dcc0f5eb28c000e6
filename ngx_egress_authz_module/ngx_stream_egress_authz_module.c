
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>
#include <ngx_egress_authz.h>


typedef struct {
    ngx_uint_t                mode;
} ngx_stream_egress_authz_srv_conf_t;


static ngx_int_t ngx_stream_egress_authz_step(ngx_egress_flow_t *flow);
static void ngx_stream_egress_authz_addr(ngx_egress_ask_t *ask,
    ngx_uint_t field, ngx_egress_addr_t *addr);
static ngx_int_t ngx_stream_egress_authz_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_stream_egress_authz_add_variables(ngx_conf_t *cf);
static void *ngx_stream_egress_authz_create_srv_conf(ngx_conf_t *cf);
static char *ngx_stream_egress_authz_merge_srv_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_stream_egress_authz_init(ngx_conf_t *cf);


static ngx_conf_enum_t  ngx_stream_egress_authz_modes[] = {
    { ngx_string("off"), NGX_EGRESS_AUTHZ_OFF },
    { ngx_string("on"), NGX_EGRESS_AUTHZ_ON },
    { ngx_string("report"), NGX_EGRESS_AUTHZ_REPORT },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_stream_egress_authz_commands[] = {

    { ngx_string("egress_authz"),
      NGX_STREAM_MAIN_CONF|NGX_STREAM_SRV_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_STREAM_SRV_CONF_OFFSET,
      offsetof(ngx_stream_egress_authz_srv_conf_t, mode),
      &ngx_stream_egress_authz_modes },

      ngx_null_command
};


static ngx_stream_module_t  ngx_stream_egress_authz_module_ctx = {
    ngx_stream_egress_authz_add_variables, /* preconfiguration */
    ngx_stream_egress_authz_init,          /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    ngx_stream_egress_authz_create_srv_conf,
                                           /* create server configuration */
    ngx_stream_egress_authz_merge_srv_conf /* merge server configuration */
};


ngx_module_t  ngx_stream_egress_authz_module = {
    NGX_MODULE_V1,
    &ngx_stream_egress_authz_module_ctx,   /* module context */
    ngx_stream_egress_authz_commands,      /* module directives */
    NGX_STREAM_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_stream_variable_t  ngx_stream_egress_authz_vars[] = {

    { ngx_string("egress_principal"), NULL, ngx_stream_egress_authz_variable,
      offsetof(ngx_egress_identity_t, principal),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_trust_domain"), NULL,
      ngx_stream_egress_authz_variable,
      offsetof(ngx_egress_identity_t, trust_domain),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_namespace"), NULL, ngx_stream_egress_authz_variable,
      offsetof(ngx_egress_identity_t, namespace),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_service_account"), NULL,
      ngx_stream_egress_authz_variable,
      offsetof(ngx_egress_identity_t, service_account),
      NGX_STREAM_VAR_NOCACHEABLE, 0 },

      ngx_stream_null_variable
};


static ngx_int_t
ngx_stream_egress_authz_step(ngx_egress_flow_t *flow)
{
    ngx_egress_ask_t                     ask;
    ngx_stream_egress_authz_srv_conf_t  *ascf;

    if (flow->explain) {
        return ngx_egress_authz_asked(flow);
    }

    ascf = ngx_stream_get_module_srv_conf((ngx_stream_session_t *) flow->data,
                                          ngx_stream_egress_authz_module);

    ngx_memzero(&ask, sizeof(ngx_egress_ask_t));

    ask.data = flow->data;
    ask.addr = ngx_stream_egress_authz_addr;

    return ngx_egress_authz(flow, &ask, ascf->mode);
}


/* the peer of the connection, whatever a proxy says of it */

static void
ngx_stream_egress_authz_addr(ngx_egress_ask_t *ask, ngx_uint_t field,
    ngx_egress_addr_t *addr)
{
    ngx_str_t                     text;
    ngx_uint_t                    hash;
    ngx_stream_variable_value_t  *v;

    static ngx_str_t  direct = ngx_string("realip_remote_addr");

    v = NULL;

    if (field == NGX_EGRESS_SOURCE_IP) {
        hash = ngx_hash_key(direct.data, direct.len);
        v = ngx_stream_get_variable(ask->data, &direct, hash);
    }

    if (v == NULL || v->not_found) {
        ngx_egress_authz_addr(ask, field, addr);
        return;
    }

    text.data = v->data;
    text.len = v->len;

    ngx_egress_authz_text_addr(addr, &text);
}


static ngx_int_t
ngx_stream_egress_authz_variable(ngx_stream_session_t *s,
    ngx_stream_variable_value_t *v, uintptr_t data)
{
    ngx_str_t              *value;
    ngx_egress_identity_t  *id;

    id = ngx_egress_identity(s->connection);
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
ngx_stream_egress_authz_add_variables(ngx_conf_t *cf)
{
    ngx_stream_variable_t  *var, *v;

    for (v = ngx_stream_egress_authz_vars; v->name.len; v++) {
        var = ngx_stream_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static void *
ngx_stream_egress_authz_create_srv_conf(ngx_conf_t *cf)
{
    ngx_stream_egress_authz_srv_conf_t  *ascf;

    ascf = ngx_palloc(cf->pool, sizeof(ngx_stream_egress_authz_srv_conf_t));
    if (ascf == NULL) {
        return NULL;
    }

    ascf->mode = NGX_CONF_UNSET_UINT;

    return ascf;
}


static char *
ngx_stream_egress_authz_merge_srv_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_stream_egress_authz_srv_conf_t *prev = parent;
    ngx_stream_egress_authz_srv_conf_t *conf = child;

    ngx_conf_merge_uint_value(conf->mode, prev->mode, NGX_EGRESS_AUTHZ_ON);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_stream_egress_authz_init(ngx_conf_t *cf)
{
    return ngx_egress_add_step(cf, NGX_EGRESS_STREAM, NGX_EGRESS_STEP_AUTHZ,
                               ngx_stream_egress_authz_step);
}
