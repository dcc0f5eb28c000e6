
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


static void ngx_egress_draft_init(ngx_conf_t *cf, ngx_egress_draft_t *draft);
static ngx_int_t ngx_egress_draft_save(ngx_conf_t *cf, ngx_egress_conf_t *ecf,
    ngx_egress_draft_t *draft);
static ngx_int_t ngx_egress_draft_conf(ngx_conf_t *cf,
    ngx_egress_intern_t *in, ngx_egress_service_conf_t *conf);
static ngx_int_t ngx_egress_draft_retry(ngx_conf_t *cf,
    ngx_egress_intern_t *in, ngx_egress_service_conf_t *conf);
static ngx_int_t ngx_egress_draft_key(ngx_conf_t *cf,
    ngx_egress_intern_t *in, ngx_egress_service_conf_t *conf);
static ngx_int_t ngx_egress_draft_tls(ngx_conf_t *cf, ngx_egress_intern_t *in,
    ngx_egress_tls_t *tls);
static ngx_int_t ngx_egress_draft_hosts(ngx_conf_t *cf,
    ngx_egress_draft_t *draft);
static ngx_egress_tls_t *ngx_egress_service_get_tls(void *conf);
static char *ngx_egress_host(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_egress_port(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_egress_endpoint(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_endpoint_address(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_endpoint_t *ep);
static ngx_uint_t ngx_egress_endpoint_same(ngx_egress_endpoint_t *a,
    ngx_egress_endpoint_t *b);
static char *ngx_egress_endpoint_param(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_endpoint_t *ep);
static char *ngx_egress_address(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_not_zero(ngx_conf_t *cf, void *post, void *data);
static char *ngx_egress_service_enum(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_guard(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_egress_tls_str(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_tls_name(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_uint_t ngx_egress_valid_sni(ngx_conf_t *cf, ngx_str_t *name);
static char *ngx_egress_tls_san(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_conf_tls_verify(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_egress_tls_protocols(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_tls_alpn(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_conf_enum_t  ngx_egress_resolutions[] = {
    { ngx_string("static"), NGX_EGRESS_STATIC },
    { ngx_string("dns"), NGX_EGRESS_DNS },
    { ngx_string("none"), NGX_EGRESS_DYNAMIC },
    { ngx_string("dynamic"), NGX_EGRESS_DYNAMIC },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_egress_locations[] = {
    { ngx_string("external"), NGX_EGRESS_EXTERNAL },
    { ngx_string("internal"), NGX_EGRESS_INTERNAL },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_egress_ech_modes[] = {
    { ngx_string("deny"), NGX_EGRESS_ECH_DENY },
    { ngx_string("allow"), NGX_EGRESS_ECH_ALLOW },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_egress_tls_modes[] = {
    { ngx_string("off"), NGX_EGRESS_TLS_OFF },
    { ngx_string("simple"), NGX_EGRESS_TLS_SIMPLE },
    { ngx_string("mutual"), NGX_EGRESS_TLS_MUTUAL },
    { ngx_null_string, 0 }
};


static ngx_conf_bitmask_t  ngx_egress_tls_versions[] = {
    { ngx_string("TLSv1"), NGX_SSL_TLSv1 },
    { ngx_string("TLSv1.1"), NGX_SSL_TLSv1_1 },
    { ngx_string("TLSv1.2"), NGX_SSL_TLSv1_2 },
    { ngx_string("TLSv1.3"), NGX_SSL_TLSv1_3 },
    { ngx_null_string, 0 }
};


static ngx_conf_num_bounds_t  ngx_egress_one_or_more = {
    ngx_conf_check_num_bounds, 1, -1
};


static ngx_egress_param_t  ngx_egress_endpoint_params[] = {

    { ngx_string("weight="), NGX_EGRESS_PARAM_NUMBER, 1, 65535,
      offsetof(ngx_egress_endpoint_t, weight) },

    { ngx_null_string, 0, 0, 0, 0 }
};


static ngx_conf_post_t  ngx_egress_not_zero_post = { ngx_egress_not_zero };


static ngx_command_t  ngx_egress_registry_commands[] = {

    { ngx_string("host"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_1MORE,
      ngx_egress_host,
      0,
      0,
      NULL },

    { ngx_string("address"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_1MORE,
      ngx_egress_address,
      0,
      0,
      NULL },

    { ngx_string("port"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE23,
      ngx_egress_port,
      0,
      0,
      NULL },

    { ngx_string("endpoint"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_1MORE,
      ngx_egress_endpoint,
      0,
      0,
      NULL },

    { ngx_string("subset"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_2MORE,
      ngx_egress_conf_subset,
      0,
      0,
      NULL },

    { ngx_string("resolution"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_service_enum,
      0,
      offsetof(ngx_egress_draft_t, conf.resolution),
      &ngx_egress_resolutions },

    { ngx_string("location"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_service_enum,
      0,
      offsetof(ngx_egress_draft_t, conf.location),
      &ngx_egress_locations },

    { ngx_string("ech"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_service_enum,
      0,
      offsetof(ngx_egress_draft_t, conf.ech),
      &ngx_egress_ech_modes },

    { ngx_string("connect_timeout"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.connect_timeout),
      &ngx_egress_not_zero_post },

    { ngx_string("idle_timeout"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.idle_timeout),
      NULL },

    { ngx_string("tcp_keepalive"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE123,
      ngx_egress_conf_tcp_keepalive,
      0,
      0,
      NULL },

    { ngx_string("balance"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE12,
      ngx_egress_conf_balance,
      0,
      0,
      NULL },

    { ngx_string("max_connections"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.max_connections),
      &ngx_egress_one_or_more },

    { ngx_string("max_pending"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE12,
      ngx_egress_conf_max_pending,
      0,
      offsetof(ngx_egress_draft_t, conf.max_pending),
      NULL },

    { ngx_string("max_requests"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.max_requests),
      &ngx_egress_one_or_more },

    { ngx_string("max_retries"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.max_retries),
      NULL },

    { ngx_string("requests_per_connection"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.requests_per_connection),
      &ngx_egress_one_or_more },

    { ngx_string("keepalive"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.keepalive),
      NULL },

    { ngx_string("keepalive_timeout"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.keepalive_timeout),
      NULL },

    { ngx_string("keepalive_time"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.keepalive_time),
      NULL },

    { ngx_string("retry"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_1MORE,
      ngx_egress_conf_retry,
      0,
      0,
      NULL },

    { ngx_string("outlier"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_1MORE,
      ngx_egress_conf_outlier,
      0,
      0,
      NULL },

    { ngx_string("lookup"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_egress_draft_t, conf.lookup),
      NULL },

    { ngx_string("source"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_str_slot,
      0,
      offsetof(ngx_egress_service_t, source),
      NULL },

    { ngx_string("guard"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_1MORE,
      ngx_egress_guard,
      0,
      0,
      NULL },

    { ngx_string("tls"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_service_enum,
      0,
      offsetof(ngx_egress_draft_t, conf.tls_mode),
      &ngx_egress_tls_modes },

    { ngx_string("tls_certificate"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_tls_str,
      0,
      offsetof(ngx_egress_tls_t, certificate),
      NULL },

    { ngx_string("tls_certificate_key"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_tls_str,
      0,
      offsetof(ngx_egress_tls_t, certificate_key),
      NULL },

    { ngx_string("tls_trusted_certificate"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_tls_str,
      0,
      offsetof(ngx_egress_tls_t, trusted),
      NULL },

    { ngx_string("tls_crl"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_tls_str,
      0,
      offsetof(ngx_egress_tls_t, crl),
      NULL },

    { ngx_string("tls_ciphers"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_tls_str,
      0,
      offsetof(ngx_egress_tls_t, ciphers),
      NULL },

    { ngx_string("tls_name"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_tls_name,
      0,
      0,
      NULL },

    { ngx_string("tls_san"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_1MORE,
      ngx_egress_tls_san,
      0,
      0,
      NULL },

    { ngx_string("tls_verify"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_FLAG,
      ngx_egress_conf_tls_verify,
      0,
      0,
      NULL },

    { ngx_string("tls_protocols"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_1MORE,
      ngx_egress_tls_protocols,
      0,
      0,
      NULL },

    { ngx_string("tls_alpn"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_1MORE,
      ngx_egress_tls_alpn,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_egress_module_t  ngx_egress_registry_module_ctx = {
    ngx_string("registry"),
    NULL,                                  /* create configuration */
    NULL                                   /* init configuration */
};


ngx_module_t  ngx_egress_registry_module = {
    NGX_MODULE_V1,
    &ngx_egress_registry_module_ctx,       /* module context */
    ngx_egress_registry_commands,          /* module directives */
    NGX_EGRESS_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_str_t  ngx_egress_protocols[] = {
    ngx_string("unknown"),
    ngx_string("http"),
    ngx_string("http2"),
    ngx_string("grpc"),
    ngx_string("https"),
    ngx_string("tls"),
    ngx_string("tcp"),
    ngx_string("mongo"),
    ngx_string("mysql"),
    ngx_string("postgres"),
    ngx_string("redis"),
    ngx_null_string
};


ngx_str_t *
ngx_egress_protocol_name(ngx_uint_t protocol)
{
    return &ngx_egress_protocols[protocol];
}


char *
ngx_egress_service_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    char                *rv;
    ngx_str_t           *value;
    ngx_conf_t           save;
    ngx_egress_draft_t   draft;

    value = cf->args->elts;

    if (!ngx_egress_valid_name(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid service name \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    ngx_egress_draft_init(cf, &draft);

    draft.svc.name = value[1];
    draft.svc.file = cf->conf_file->file.name.data;
    draft.svc.line = cf->conf_file->line;

    /*
     * the directives of the block find the draft in the registry module's
     * slot, which is not used for anything else
     */

    ecf->conf[ngx_egress_registry_module.ctx_index] = &draft;

    save = *cf;

    cf->cmd_type = NGX_EGRESS_SERVICE_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    ecf->conf[ngx_egress_registry_module.ctx_index] = NULL;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_egress_draft_hosts(cf, &draft) != NGX_OK
        || ngx_egress_service_complete(&draft, cf->log) != NGX_OK
        || ngx_egress_draft_save(cf, ecf, &draft) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static void
ngx_egress_draft_init(ngx_conf_t *cf, ngx_egress_draft_t *draft)
{
    ngx_memzero(draft, sizeof(ngx_egress_draft_t));

    /*
     * set by ngx_memzero():
     *
     *     svc.source, conf.broken = { 0, NULL }
     *     svc.hosts, ports, endpoints, cidrs, subsets = NULL
     *     svc.variants = NULL, nvariants = 0
     *     conf.tcp_keepalive, outlier, retry, exempt, hash_key, tls = NULL
     */

    draft->svc.conf = &draft->conf;

    draft->conf.resolution = NGX_CONF_UNSET_UINT;
    draft->conf.location = NGX_CONF_UNSET_UINT;
    draft->conf.ech = NGX_CONF_UNSET_UINT;
    draft->conf.tls_mode = NGX_CONF_UNSET_UINT;
    draft->conf.lookup = NGX_CONF_UNSET;
    draft->conf.guard = NGX_CONF_UNSET;
    draft->conf.connect_timeout = NGX_CONF_UNSET_MSEC;

    ngx_egress_traffic_create(&draft->conf);

    draft->tls.verify = NGX_CONF_UNSET;

    draft->hosts.elts = draft->host;
    draft->hosts.size = sizeof(ngx_str_t);
    draft->hosts.nalloc = NGX_EGRESS_DRAFT;
    draft->hosts.pool = cf->pool;

    draft->ports.elts = draft->port;
    draft->ports.size = sizeof(ngx_egress_port_t);
    draft->ports.nalloc = NGX_EGRESS_DRAFT;
    draft->ports.pool = cf->pool;
}


/* what lasts of it, in the pool */

static ngx_int_t
ngx_egress_draft_save(ngx_conf_t *cf, ngx_egress_conf_t *ecf,
    ngx_egress_draft_t *draft)
{
    ngx_egress_service_t  *svc, **p;

    svc = ngx_palloc(cf->pool, sizeof(ngx_egress_service_t));
    if (svc == NULL) {
        return NGX_ERROR;
    }

    *svc = draft->svc;

    svc->ports = ngx_egress_intern_array(cf, &ecf->intern, svc->ports);
    if (svc->ports == NULL) {
        return NGX_ERROR;
    }

    if (ngx_egress_draft_conf(cf, &ecf->intern, &draft->conf) != NGX_OK) {
        return NGX_ERROR;
    }

    svc->conf = ngx_egress_intern(cf, &ecf->intern, &draft->conf,
                                  sizeof(ngx_egress_service_conf_t));

    p = ngx_array_push(&ecf->services);

    if (svc->conf == NULL || p == NULL) {
        return NGX_ERROR;
    }

    *p = svc;

    return NGX_OK;
}


/* from the leaves up: then what is equal has equal bytes */

static ngx_int_t
ngx_egress_draft_conf(ngx_conf_t *cf, ngx_egress_intern_t *in,
    ngx_egress_service_conf_t *conf)
{
    if (conf->tcp_keepalive) {
        conf->tcp_keepalive = ngx_egress_intern(cf, in, conf->tcp_keepalive,
                                          sizeof(ngx_egress_tcp_keepalive_t));
        if (conf->tcp_keepalive == NULL) {
            return NGX_ERROR;
        }
    }

    if (conf->outlier) {
        conf->outlier = ngx_egress_intern(cf, in, conf->outlier,
                                          sizeof(ngx_egress_outlier_t));
        if (conf->outlier == NULL) {
            return NGX_ERROR;
        }
    }

    if (conf->retry && ngx_egress_draft_retry(cf, in, conf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (conf->hash_key && ngx_egress_draft_key(cf, in, conf) != NGX_OK) {
        return NGX_ERROR;
    }

    if (conf->tls) {

        if (ngx_egress_draft_tls(cf, in, conf->tls) != NGX_OK) {
            return NGX_ERROR;
        }

        conf->tls = ngx_egress_intern(cf, in, conf->tls,
                                      sizeof(ngx_egress_tls_t));
        if (conf->tls == NULL) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_draft_retry(ngx_conf_t *cf, ngx_egress_intern_t *in,
    ngx_egress_service_conf_t *conf)
{
    ngx_egress_retry_t  *retry;

    retry = conf->retry;

    if (retry->statuses) {
        retry->statuses = ngx_egress_intern_array(cf, in, retry->statuses);
        if (retry->statuses == NULL) {
            return NGX_ERROR;
        }
    }

    conf->retry = ngx_egress_intern(cf, in, retry, sizeof(ngx_egress_retry_t));

    return conf->retry ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_egress_draft_key(ngx_conf_t *cf, ngx_egress_intern_t *in,
    ngx_egress_service_conf_t *conf)
{
    ngx_uint_t              i;
    ngx_egress_key_part_t  *part;

    part = conf->hash_key->elts;

    for (i = 0; i < conf->hash_key->nelts; i++) {
        if (ngx_egress_intern_str(cf, in, &part[i].text, 0) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    conf->hash_key = ngx_egress_intern_array(cf, in, conf->hash_key);

    return conf->hash_key ? NGX_OK : NGX_ERROR;
}


static ngx_int_t
ngx_egress_draft_tls(ngx_conf_t *cf, ngx_egress_intern_t *in,
    ngx_egress_tls_t *tls)
{
    ngx_uint_t         i;
    ngx_egress_san_t  *san;

    if (ngx_egress_intern_str(cf, in, &tls->certificate, 1) != NGX_OK
        || ngx_egress_intern_str(cf, in, &tls->certificate_key, 1) != NGX_OK
        || ngx_egress_intern_str(cf, in, &tls->trusted, 1) != NGX_OK
        || ngx_egress_intern_str(cf, in, &tls->crl, 1) != NGX_OK
        || ngx_egress_intern_str(cf, in, &tls->name, 1) != NGX_OK
        || ngx_egress_intern_str(cf, in, &tls->ciphers, 1) != NGX_OK
        || ngx_egress_intern_str(cf, in, &tls->alpn, 0) != NGX_OK)
    {
        return NGX_ERROR;
    }

    if (tls->san == NULL) {
        return NGX_OK;
    }

    san = tls->san->elts;

    for (i = 0; i < tls->san->nelts; i++) {
        if (ngx_egress_intern_str(cf, in, &san[i].value, 0) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    tls->san = ngx_egress_intern_array(cf, in, tls->san);

    return tls->san ? NGX_OK : NGX_ERROR;
}


/* they are no other service's */

static ngx_int_t
ngx_egress_draft_hosts(ngx_conf_t *cf, ngx_egress_draft_t *draft)
{
    size_t               size;
    ngx_egress_hosts_t  *hosts;

    if (draft->hosts.nelts == 0) {
        return NGX_OK;
    }

    size = draft->hosts.nelts * sizeof(ngx_str_t);

    hosts = ngx_palloc(cf->pool, offsetof(ngx_egress_hosts_t, elts) + size);
    if (hosts == NULL) {
        return NGX_ERROR;
    }

    hosts->nelts = draft->hosts.nelts;
    ngx_memcpy(hosts->elts, draft->hosts.elts, size);

    draft->svc.hosts = hosts;

    return NGX_OK;
}


static char *
ngx_egress_host(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_draft_t *draft = conf;

    ngx_str_t   *value, *host;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        ngx_strlow(value[i].data, value[i].data, value[i].len);

        if (!ngx_egress_valid_host(&value[i], 1)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid host \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        host = ngx_array_push(&draft->hosts);
        if (host == NULL) {
            return NGX_CONF_ERROR;
        }

        *host = value[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_port(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_draft_t *draft = conf;

    ngx_int_t           n;
    ngx_str_t          *value;
    ngx_uint_t          i;
    ngx_egress_port_t  *port;

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 1 || n > 65535) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid port \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    draft->svc.ports = &draft->ports;

    if (ngx_egress_service_port(&draft->svc, n)) {
        return "is duplicate";
    }

    port = ngx_array_push(&draft->ports);
    if (port == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(port, sizeof(ngx_egress_port_t));

    port->port = n;
    port->target = n;

    for (i = NGX_EGRESS_PROTO_HTTP; ngx_egress_protocols[i].len; i++) {
        if (ngx_egress_protocols[i].len == value[2].len
            && ngx_strcmp(ngx_egress_protocols[i].data, value[2].data) == 0)
        {
            break;
        }
    }

    if (ngx_egress_protocols[i].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid protocol \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    port->protocol = i;

    if (cf->args->nelts == 3) {
        return NGX_CONF_OK;
    }

    n = NGX_ERROR;

    if (value[3].len > 7 && ngx_strncmp(value[3].data, "target=", 7) == 0) {
        n = ngx_atoi(value[3].data + 7, value[3].len - 7);
    }

    if (n < 1 || n > 65535) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[3]);
        return NGX_CONF_ERROR;
    }

    port->target = n;

    return NGX_CONF_OK;
}


static char *
ngx_egress_endpoint(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_service_t *svc = conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_uint_t              i;
    ngx_egress_endpoint_t  *ep, *other;

    if (svc->endpoints == NULL) {
        svc->endpoints = ngx_array_create(cf->pool, 1,
                                          sizeof(ngx_egress_endpoint_t));
        if (svc->endpoints == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    ep = ngx_array_push(svc->endpoints);
    if (ep == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(ep, sizeof(ngx_egress_endpoint_t));

    ep->weight = NGX_CONF_UNSET_UINT;

    value = cf->args->elts;

    rv = ngx_egress_endpoint_address(cf, &value[1], ep);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_egress_endpoint_param(cf, &value[i], ep);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    ngx_conf_init_uint_value(ep->weight, 1);

    other = svc->endpoints->elts;

    for (i = 0; i < svc->endpoints->nelts - 1; i++) {
        if (ngx_egress_endpoint_same(&other[i], ep)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "duplicate endpoint \"%V\"", &value[1]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_endpoint_address(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_endpoint_t *ep)
{
    ngx_url_t   u;
    ngx_addr_t  addr;

    /* IPv6 as in a URL */

    if (value->len > 2 && value->data[0] == '['
        && value->data[value->len - 1] == ']')
    {
        value->data++;
        value->len -= 2;
    }

    ep->address = *value;

    if (ngx_strncmp(value->data, "unix:", 5) == 0) {
        ngx_memzero(&u, sizeof(ngx_url_t));
        u.url = *value;
        u.no_resolve = 1;

        if (ngx_parse_url(cf->pool, &u) != NGX_OK) {
            goto invalid;
        }

        ep->sockaddr = u.addrs[0].sockaddr;
        ep->socklen = u.addrs[0].socklen;

        return NGX_CONF_OK;
    }

    switch (ngx_parse_addr(cf->pool, &addr, value->data, value->len)) {

    case NGX_OK:
        ep->sockaddr = addr.sockaddr;
        ep->socklen = addr.socklen;
        return NGX_CONF_OK;

    case NGX_ERROR:
        return NGX_CONF_ERROR;

    default: /* NGX_DECLINED */
        break;
    }

    ngx_strlow(value->data, value->data, value->len);

    if (ngx_egress_valid_host(value, 0)) {
        return NGX_CONF_OK;
    }

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid address \"%V\"%s", value,
                       ngx_strlchr(value->data, value->data + value->len, ':')
                           ? ": a port is a parameter, \"port=\"" : "");

    return NGX_CONF_ERROR;
}


static ngx_uint_t
ngx_egress_endpoint_same(ngx_egress_endpoint_t *a, ngx_egress_endpoint_t *b)
{
    if (a->port != b->port) {
        return 0;
    }

    if (a->sockaddr && b->sockaddr) {
        return ngx_cmp_sockaddr(a->sockaddr, a->socklen,
                                b->sockaddr, b->socklen, 0)
               == NGX_OK;
    }

    return a->sockaddr == b->sockaddr
           && a->address.len == b->address.len
           && ngx_memcmp(a->address.data, b->address.data, a->address.len)
              == 0;
}


static char *
ngx_egress_endpoint_param(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_endpoint_t *ep)
{
    ngx_int_t  n;

    if (ngx_strncmp(value->data, "port=", 5) == 0) {

        n = ngx_atoi(value->data + 5, value->len - 5);

        if (n < 1 || n > 65535 || ep->port
            || (ep->sockaddr && ep->sockaddr->sa_family == AF_UNIX))
        {
            goto invalid;
        }

        ep->port = n;

        return NGX_CONF_OK;
    }

    if (ngx_strncmp(value->data, "label=", 6) == 0) {

        switch (ngx_egress_add_label(cf->pool, &ep->labels, value->data + 6,
                                     value->len - 6))
        {
        case NGX_OK:
            return NGX_CONF_OK;

        case NGX_ERROR:
            return NGX_CONF_ERROR;

        default: /* NGX_DECLINED */
            goto invalid;
        }
    }

    if (ngx_strncmp(value->data, "locality=", 9) == 0) {

        if (ep->locality.len) {
            goto invalid;
        }

        ep->locality.data = value->data + 9;
        ep->locality.len = value->len - 9;

        if (!ngx_egress_valid_locality(&ep->locality)) {
            goto invalid;
        }

        return NGX_CONF_OK;
    }

    if (ngx_strcmp(value->data, "backup") == 0 && !ep->backup) {
        ep->backup = 1;
        return NGX_CONF_OK;
    }

    return ngx_egress_conf_param(cf, value, ngx_egress_endpoint_params, ep);

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\"", value);

    return NGX_CONF_ERROR;
}


ngx_int_t
ngx_egress_add_label(ngx_pool_t *pool, ngx_array_t **labels, u_char *data,
    size_t len)
{
    u_char      *p;
    size_t       key;
    ngx_str_t   *label;
    ngx_uint_t   i;

    p = ngx_strlchr(data, data + len, '=');

    if (p == NULL || p == data) {
        return NGX_DECLINED;
    }

    if (*labels == NULL) {
        *labels = ngx_array_create(pool, 1, sizeof(ngx_str_t));
        if (*labels == NULL) {
            return NGX_ERROR;
        }
    }

    key = p - data + 1;
    label = (*labels)->elts;

    for (i = 0; i < (*labels)->nelts; i++) {
        if (label[i].len >= key && ngx_memcmp(label[i].data, data, key) == 0)
        {
            return NGX_DECLINED;
        }
    }

    label = ngx_array_push(*labels);
    if (label == NULL) {
        return NGX_ERROR;
    }

    label->data = data;
    label->len = len;

    return NGX_OK;
}


ngx_uint_t
ngx_egress_valid_name(ngx_str_t *name)
{
    size_t  i;

    for (i = 0; i < name->len; i++) {
        if (name->data[i] == ':' || name->data[i] == '/') {
            return 0;
        }
    }

    return name->len != 0;
}


static char *
ngx_egress_address(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_service_t *svc = conf;

    ngx_int_t    rc;
    ngx_str_t   *value;
    ngx_uint_t   i;
    ngx_cidr_t  *cidr;

    if (svc->cidrs == NULL) {
        svc->cidrs = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                      sizeof(ngx_cidr_t));
        if (svc->cidrs == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        cidr = ngx_array_push(svc->cidrs);
        if (cidr == NULL) {
            return NGX_CONF_ERROR;
        }

        rc = ngx_ptocidr(&value[i], cidr);

        if (rc == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        if (rc == NGX_DONE) {
            ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                               "low address bits of %V are meaningless",
                               &value[i]);
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_not_zero(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *np = data;

    return *np ? NGX_CONF_OK : "must not be 0";
}


static char *
ngx_egress_service_enum(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t        *value;
    ngx_uint_t       *np, i;
    ngx_conf_enum_t  *e;

    np = (ngx_uint_t *) ((char *) conf + cmd->offset);

    if (*np != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;
    e = cmd->post;

    for (i = 0; e[i].name.len; i++) {
        if (e[i].name.len == value[1].len
            && ngx_strcmp(e[i].name.data, value[1].data) == 0)
        {
            *np = e[i].value;
            return NGX_CONF_OK;
        }
    }

    ngx_egress_conf_choices(cf, &value[1], e);

    return NGX_CONF_ERROR;
}


/* "invalid value", and which are valid */

void
ngx_egress_conf_choices(ngx_conf_t *cf, ngx_str_t *value, ngx_conf_enum_t *e)
{
    u_char  *p, *last;
    u_char   buf[NGX_MAX_CONF_ERRSTR];

    p = buf;
    last = buf + NGX_MAX_CONF_ERRSTR;

    for ( /* void */ ; e->name.len; e++) {
        p = ngx_slprintf(p, last, p == buf ? "%V" : ", %V", &e->name);
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\", it must be one of: %*s",
                       value, (size_t) (p - buf), buf);
}


static char *
ngx_egress_guard(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_service_t *svc = conf;

    ngx_str_t   *value, range;
    ngx_uint_t   i;
    ngx_cidr_t   cidr;

    if (svc->conf->guard != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        svc->conf->guard = 0;
        return NGX_CONF_OK;
    }

    svc->conf->guard = 1;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "on") == 0) {
        return NGX_CONF_OK;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "allow=", 6) != 0) {
            goto invalid;
        }

        range.data = value[i].data + 6;
        range.len = value[i].len - 6;

        if (ngx_ptocidr(&range, &cidr) == NGX_ERROR) {
            goto invalid;
        }

        if (ngx_egress_guard_exempt(cf->pool, &svc->conf->exempt, &cidr)
            != NGX_OK)
        {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\"", &value[i]);

    return NGX_CONF_ERROR;
}


static ngx_egress_tls_t *
ngx_egress_service_get_tls(void *conf)
{
    ngx_egress_draft_t *draft = conf;

    draft->conf.tls = &draft->tls;

    return &draft->tls;
}


static char *
ngx_egress_tls_str(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t         *value, *field;
    ngx_egress_tls_t  *tls;

    tls = ngx_egress_service_get_tls(conf);

    field = (ngx_str_t *) ((char *) tls + cmd->offset);

    if (field->data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    *field = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_egress_tls_name(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t         *value;
    ngx_egress_tls_t  *tls;

    tls = ngx_egress_service_get_tls(conf);

    if (tls->name.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ngx_strlow(value[1].data, value[1].data, value[1].len);

    if (!ngx_egress_valid_sni(cf, &value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid host \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    tls->name = value[1];

    return NGX_CONF_OK;
}


/* a host, or what the mesh's own are like: "outbound_.443_._.a.example.com" */

static ngx_uint_t
ngx_egress_valid_sni(ngx_conf_t *cf, ngx_str_t *name)
{
    size_t     i;
    ngx_str_t  host;

    host.len = name->len;
    host.data = ngx_pstrdup(cf->temp_pool, name);

    if (host.data == NULL) {
        return 0;
    }

    for (i = 0; i + 1 < host.len; i++) {
        if (host.data[i] == '_' && host.data[i + 1] == '.') {
            host.data[i] = '-';
        }
    }

    return ngx_egress_valid_host(&host, 0);
}


static char *
ngx_egress_tls_san(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t         *value;
    ngx_uint_t         i;
    ngx_egress_tls_t  *tls;
    ngx_egress_san_t  *san;

    tls = ngx_egress_service_get_tls(conf);

    if (tls->san == NULL) {
        tls->san = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                    sizeof(ngx_egress_san_t));
        if (tls->san == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        san = ngx_array_push(tls->san);
        if (san == NULL) {
            return NGX_CONF_ERROR;
        }

        switch (ngx_egress_san_parse(cf->pool, &value[i], san)) {

        case NGX_OK:
            break;

        case NGX_ERROR:
            return NGX_CONF_ERROR;

        default: /* NGX_DECLINED */
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_conf_tls_verify(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_command_t      slot;
    ngx_egress_tls_t  *tls;

    tls = ngx_egress_service_get_tls(conf);

    slot = *cmd;
    slot.offset = offsetof(ngx_egress_tls_t, verify);

    return ngx_conf_set_flag_slot(cf, &slot, tls);
}


static char *
ngx_egress_tls_protocols(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_command_t      slot;
    ngx_egress_tls_t  *tls;

    tls = ngx_egress_service_get_tls(conf);

    if (tls->protocols) {
        return "is duplicate";
    }

    slot = *cmd;
    slot.offset = offsetof(ngx_egress_tls_t, protocols);
    slot.post = ngx_egress_tls_versions;

    return ngx_conf_set_bitmask_slot(cf, &slot, tls);
}


static char *
ngx_egress_tls_alpn(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    u_char            *p;
    size_t             len;
    ngx_str_t         *value;
    ngx_uint_t         i;
    ngx_egress_tls_t  *tls;

    tls = ngx_egress_service_get_tls(conf);

    if (tls->alpn.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    len = 0;

    for (i = 1; i < cf->args->nelts; i++) {

        if (value[i].len == 0 || value[i].len > 255) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        len += value[i].len + 1;
    }

    p = ngx_pnalloc(cf->pool, len);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    tls->alpn.data = p;
    tls->alpn.len = len;

    for (i = 1; i < cf->args->nelts; i++) {
        *p++ = (u_char) value[i].len;
        p = ngx_cpymem(p, value[i].data, value[i].len);
    }

    return NGX_CONF_OK;
}
