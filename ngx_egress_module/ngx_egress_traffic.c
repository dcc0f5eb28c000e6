
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


typedef struct {
    ngx_str_t                 name;
    ngx_uint_t                on;
    ngx_uint_t                status;      /* 0: none */
    const char               *unsupported; /* why; or NULL */
} ngx_egress_retry_on_t;


static ngx_egress_subset_t *ngx_egress_subset_find(ngx_array_t *subsets,
    ngx_str_t *name);
static char *ngx_egress_hash_key(ngx_conf_t *cf, ngx_egress_service_t *svc,
    ngx_str_t *key);
static u_char *ngx_egress_hash_variable(ngx_egress_key_part_t *part,
    u_char *p, u_char *last);
static void ngx_egress_key_ask(ngx_egress_service_t *svc,
    ngx_egress_known_pt known, void *data);
static ngx_int_t ngx_egress_key_unknown(ngx_cycle_t *cycle,
    ngx_egress_service_t *svc);
static char *ngx_egress_traffic_params(ngx_conf_t *cf,
    ngx_egress_param_t *params, void *conf);
static char *ngx_egress_retry_list(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_retry_t *retry);
static char *ngx_egress_retry_on(ngx_conf_t *cf, ngx_str_t *name,
    ngx_egress_retry_t *retry);
static ngx_int_t ngx_egress_retry_status(ngx_pool_t *pool,
    ngx_egress_retry_t *retry, ngx_uint_t status);
static void ngx_egress_traffic_levels(ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc);
static ngx_uint_t ngx_egress_locality_level(ngx_str_t *gateway,
    ngx_str_t *locality);
static ngx_int_t ngx_egress_traffic_subsets(ngx_cycle_t *cycle,
    ngx_egress_service_t *svc);
static void ngx_egress_traffic_doubts(ngx_cycle_t *cycle,
    ngx_egress_service_t *svc);
static ngx_int_t ngx_egress_traffic_variants(ngx_cycle_t *cycle,
    ngx_egress_service_t *svc);


static ngx_conf_enum_t  ngx_egress_balances[] = {
    { ngx_string("round_robin"), NGX_EGRESS_ROUND_ROBIN },
    { ngx_string("least_request"), NGX_EGRESS_LEAST_REQUEST },
    { ngx_string("random"), NGX_EGRESS_RANDOM },
    { ngx_string("hash"), NGX_EGRESS_HASH },
    { ngx_null_string, 0 }
};


/* the limits of Linux for TCP_KEEPIDLE, TCP_KEEPINTVL and TCP_KEEPCNT */

static ngx_egress_param_t  ngx_egress_tcp_keepalive_params[] = {

    { ngx_string("time="), NGX_EGRESS_PARAM_SEC, 1, 32767,
      offsetof(ngx_egress_tcp_keepalive_t, time) },

    { ngx_string("interval="), NGX_EGRESS_PARAM_SEC, 1, 32767,
      offsetof(ngx_egress_tcp_keepalive_t, interval) },

    { ngx_string("probes="), NGX_EGRESS_PARAM_NUMBER, 1, 127,
      offsetof(ngx_egress_tcp_keepalive_t, probes) },

    { ngx_null_string, 0, 0, 0, 0 }
};


static ngx_egress_param_t  ngx_egress_pending_params[] = {

    { ngx_string("timeout="), NGX_EGRESS_PARAM_MSEC, 1, NGX_MAX_INT_T_VALUE,
      offsetof(ngx_egress_draft_t, conf.pending_timeout) },

    { ngx_null_string, 0, 0, 0, 0 }
};


static ngx_egress_param_t  ngx_egress_retry_params[] = {

    { ngx_string("attempts="), NGX_EGRESS_PARAM_NUMBER, 0, 100,
      offsetof(ngx_egress_retry_t, attempts) },

    { ngx_string("per_try_timeout="), NGX_EGRESS_PARAM_MSEC, 1,
      NGX_MAX_INT_T_VALUE, offsetof(ngx_egress_retry_t, per_try_timeout) },

    { ngx_null_string, 0, 0, 0, 0 }
};


static ngx_egress_param_t  ngx_egress_outlier_params[] = {

    { ngx_string("consecutive_5xx="), NGX_EGRESS_PARAM_NUMBER, 0,
      NGX_MAX_INT32_VALUE, offsetof(ngx_egress_outlier_t, consecutive_5xx) },

    { ngx_string("consecutive_gateway="), NGX_EGRESS_PARAM_NUMBER, 0,
      NGX_MAX_INT32_VALUE,
      offsetof(ngx_egress_outlier_t, consecutive_gateway) },

    { ngx_string("consecutive_local="), NGX_EGRESS_PARAM_NUMBER, 0,
      NGX_MAX_INT32_VALUE,
      offsetof(ngx_egress_outlier_t, consecutive_local) },

    { ngx_string("interval="), NGX_EGRESS_PARAM_MSEC, 1, NGX_MAX_INT_T_VALUE,
      offsetof(ngx_egress_outlier_t, interval) },

    { ngx_string("ejection="), NGX_EGRESS_PARAM_MSEC, 1, NGX_MAX_INT_T_VALUE,
      offsetof(ngx_egress_outlier_t, ejection) },

    { ngx_string("max_ejected="), NGX_EGRESS_PARAM_PERCENT, 0, 100,
      offsetof(ngx_egress_outlier_t, max_ejected) },

    { ngx_string("min_health="), NGX_EGRESS_PARAM_PERCENT, 0, 100,
      offsetof(ngx_egress_outlier_t, min_health) },

    { ngx_null_string, 0, 0, 0, 0 }
};


/* the names are Envoy's */

static ngx_egress_retry_on_t  ngx_egress_retries[] = {

    { ngx_string("connect-failure"), NGX_EGRESS_RETRY_CONNECT, 0, NULL },

    { ngx_string("refused-stream"), NGX_EGRESS_RETRY_CONNECT, 0, NULL },

    { ngx_string("reset-before-request"), NGX_EGRESS_RETRY_UNSENT, 0, NULL },

    { ngx_string("reset"),
      NGX_EGRESS_RETRY_RESET|NGX_EGRESS_RETRY_UNSENT
      |NGX_EGRESS_RETRY_CONNECT, 0, NULL },

    { ngx_string("5xx"),
      NGX_EGRESS_RETRY_5XX|NGX_EGRESS_RETRY_RESET|NGX_EGRESS_RETRY_UNSENT
      |NGX_EGRESS_RETRY_CONNECT, 0, NULL },

    { ngx_string("gateway-error"), NGX_EGRESS_RETRY_GATEWAY, 0, NULL },

    { ngx_string("envoy-ratelimited"), NGX_EGRESS_RETRY_LIMITED, 0, NULL },

    { ngx_string("retriable-4xx"), 0, 409, NULL },

    /* the codes stand beside it */

    { ngx_string("retriable-status-codes"), 0, 0, NULL },

    { ngx_string("retriable-headers"), 0, 0, "no headers can be named" },

    { ngx_string("cancelled"), 0, 0, "nginx does not see gRPC statuses" },

    { ngx_string("deadline-exceeded"), 0, 0,
      "nginx does not see gRPC statuses" },

    { ngx_string("internal"), 0, 0, "nginx does not see gRPC statuses" },

    { ngx_string("resource-exhausted"), 0, 0,
      "nginx does not see gRPC statuses" },

    { ngx_string("unavailable"), 0, 0, "nginx does not see gRPC statuses" },

    { ngx_string("http3-post-connect-failure"), 0, 0,
      "nginx does not speak HTTP/3 to services" },

    { ngx_null_string, 0, 0, NULL }
};


char *
ngx_egress_conf_subset(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_service_t *svc = conf;

    ngx_int_t             rc;
    ngx_str_t            *value;
    ngx_uint_t            i;
    ngx_egress_subset_t  *subset;

    value = cf->args->elts;

    if (!ngx_egress_valid_name(&value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid subset name \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (svc->subsets == NULL) {
        svc->subsets = ngx_array_create(cf->pool, 1,
                                        sizeof(ngx_egress_subset_t));
        if (svc->subsets == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_egress_subset_find(svc->subsets, &value[1])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate subset \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    subset = ngx_array_push(svc->subsets);
    if (subset == NULL) {
        return NGX_CONF_ERROR;
    }

    subset->name = value[1];
    subset->labels = NULL;

    for (i = 2; i < cf->args->nelts; i++) {

        rc = ngx_egress_add_label(cf->pool, &subset->labels, value[i].data,
                                  value[i].len);

        if (rc == NGX_DECLINED) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
        }

        if (rc != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static ngx_egress_subset_t *
ngx_egress_subset_find(ngx_array_t *subsets, ngx_str_t *name)
{
    ngx_uint_t            i;
    ngx_egress_subset_t  *subset;

    subset = subsets->elts;

    for (i = 0; i < subsets->nelts; i++) {
        if (subset[i].name.len == name->len
            && ngx_memcmp(subset[i].name.data, name->data, name->len) == 0)
        {
            return &subset[i];
        }
    }

    return NULL;
}


char *
ngx_egress_conf_balance(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_service_t *svc = conf;

    ngx_str_t        *value;
    ngx_conf_enum_t  *e;

    if (svc->conf->balance != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (e = ngx_egress_balances; e->name.len; e++) {
        if (e->name.len == value[1].len
            && ngx_strcmp(e->name.data, value[1].data) == 0)
        {
            break;
        }
    }

    if (e->name.len == 0) {
        ngx_egress_conf_choices(cf, &value[1], ngx_egress_balances);
        return NGX_CONF_ERROR;
    }

    svc->conf->balance = e->value;

    if (svc->conf->balance == NGX_EGRESS_HASH) {

        if (cf->args->nelts == 2) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"balance hash\" must have a key");
            return NGX_CONF_ERROR;
        }

        return ngx_egress_hash_key(cf, svc, &value[2]);
    }

    if (cf->args->nelts == 3) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_hash_key(ngx_conf_t *cf, ngx_egress_service_t *svc, ngx_str_t *key)
{
    u_char                 *p, *last;
    ngx_egress_key_part_t  *part;

    if (key->len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\"", key);
        return NGX_CONF_ERROR;
    }

    svc->conf->hash_key = ngx_array_create(cf->pool, 1,
                                     sizeof(ngx_egress_key_part_t));
    if (svc->conf->hash_key == NULL) {
        return NGX_CONF_ERROR;
    }

    p = key->data;
    last = p + key->len;

    while (p < last) {

        part = ngx_array_push(svc->conf->hash_key);
        if (part == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(part, sizeof(ngx_egress_key_part_t));

        if (*p == '$') {
            p = ngx_egress_hash_variable(part, p + 1, last);

            if (p == NULL) {
                ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                                   "invalid variable name in \"%V\"", key);
                return NGX_CONF_ERROR;
            }

            continue;
        }

        part->text.data = p;

        while (p < last && *p != '$') {
            p++;
        }

        part->text.len = p - part->text.data;
    }

    return NGX_CONF_OK;
}


/* returns where the name ends, or NULL: there is none */

static u_char *
ngx_egress_hash_variable(ngx_egress_key_part_t *part, u_char *p, u_char *last)
{
    u_char      ch, *name;
    ngx_uint_t  bracket;

    bracket = (p < last && *p == '{');

    p += bracket;
    name = p;

    for ( /* void */ ; p < last; p++) {
        ch = ngx_tolower(*p);

        if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9') || ch == '_')
        {
            continue;
        }

        break;
    }

    /* captures such as "$1" belong to a request's regexes, not to a service */

    if (p == name || (*name >= '0' && *name <= '9')) {
        return NULL;
    }

    if (bracket && (p == last || *p != '}')) {
        return NULL;
    }

    part->variable = 1;
    part->text.data = name;
    part->text.len = p - name;
    part->hash = ngx_hash_strlow(name, name, part->text.len);

    return p + bracket;
}


ngx_int_t
ngx_egress_check_keys(ngx_cycle_t *cycle, ngx_uint_t subsystem,
    ngx_egress_known_pt known, void *data)
{
    ngx_uint_t              i;
    ngx_egress_conf_t      *ecf;
    ngx_egress_service_t  **svc;

    ecf = ngx_egress_get_core_conf(cycle);
    svc = ecf->services.elts;

    for (i = 0; i < ecf->services.nelts; i++) {
        ngx_egress_key_ask(svc[i], known, data);
    }

    ecf->keyed |= (ngx_uint_t) 1 << subsystem;

    for (i = 0; i < NGX_EGRESS_SUBSYSTEMS; i++) {
        if (ecf->uses[i].block && !((ecf->keyed >> i) & 1)) {
            return NGX_OK;
        }
    }

    for (i = 0; i < ecf->services.nelts; i++) {
        if (ngx_egress_key_unknown(cycle, svc[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static void
ngx_egress_key_ask(ngx_egress_service_t *svc, ngx_egress_known_pt known,
    void *data)
{
    ngx_uint_t              i;
    ngx_egress_key_part_t  *part;

    if (svc->conf->hash_key == NULL) {
        return;
    }

    part = svc->conf->hash_key->elts;

    for (i = 0; i < svc->conf->hash_key->nelts; i++) {
        if (part[i].variable && !part[i].known) {
            part[i].known = known(data, &part[i].text, part[i].hash);
        }
    }
}


static ngx_int_t
ngx_egress_key_unknown(ngx_cycle_t *cycle, ngx_egress_service_t *svc)
{
    ngx_uint_t              i;
    ngx_egress_key_part_t  *part;

    if (svc->conf->hash_key == NULL) {
        return NGX_OK;
    }

    part = svc->conf->hash_key->elts;

    for (i = 0; i < svc->conf->hash_key->nelts; i++) {

        if (!part[i].variable || part[i].known) {
            continue;
        }

        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "unknown \"%V\" variable in \"balance hash\" of service "
                      "\"%V\" in %s:%ui", &part[i].text, &svc->name,
                      svc->file, svc->line);
        return NGX_ERROR;
    }

    return NGX_OK;
}


char *
ngx_egress_conf_tcp_keepalive(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_draft_t *draft = conf;

    char                        *rv;
    ngx_str_t                   *value;
    ngx_egress_tcp_keepalive_t  *ka;

    if (draft->conf.tcp_keepalive) {
        return "is duplicate";
    }

    ka = &draft->tcp_keepalive;
    draft->conf.tcp_keepalive = ka;

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        return NGX_CONF_OK;
    }

    ka->enable = 1;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "on") == 0) {
        return NGX_CONF_OK;
    }

    ka->time = NGX_CONF_UNSET_UINT;
    ka->interval = NGX_CONF_UNSET_UINT;
    ka->probes = NGX_CONF_UNSET_UINT;

    rv = ngx_egress_traffic_params(cf, ngx_egress_tcp_keepalive_params, ka);

    ngx_conf_init_uint_value(ka->time, 0);
    ngx_conf_init_uint_value(ka->interval, 0);
    ngx_conf_init_uint_value(ka->probes, 0);

    return rv;
}


/* all arguments are parameters */

static char *
ngx_egress_traffic_params(ngx_conf_t *cf, ngx_egress_param_t *params,
    void *conf)
{
    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   i;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_egress_conf_param(cf, &value[i], params, conf);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


char *
ngx_egress_conf_max_pending(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char       *rv;
    ngx_str_t  *value;

    rv = ngx_conf_set_num_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK || cf->args->nelts == 2) {
        return rv;
    }

    value = cf->args->elts;

    return ngx_egress_conf_param(cf, &value[2], ngx_egress_pending_params,
                                 conf);
}


char *
ngx_egress_conf_retry(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_draft_t *draft = conf;

    char                *rv;
    ngx_str_t           *value;
    ngx_uint_t           i;
    ngx_egress_retry_t  *retry;

    if (draft->conf.retry) {
        return "is duplicate";
    }

    retry = &draft->retry;
    draft->conf.retry = retry;

    retry->attempts = NGX_CONF_UNSET_UINT;
    retry->per_try_timeout = NGX_CONF_UNSET_MSEC;
    retry->on = NGX_CONF_UNSET_UINT;

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "on=", 3) == 0) {
            rv = ngx_egress_retry_list(cf, &value[i], retry);

        } else {
            rv = ngx_egress_conf_param(cf, &value[i], ngx_egress_retry_params,
                                       retry);
        }

        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (retry->attempts == NGX_CONF_UNSET_UINT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"retry\" must have \"attempts\" parameter");
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_msec_value(retry->per_try_timeout, 0);
    ngx_conf_init_uint_value(retry->on, NGX_EGRESS_RETRY_CONNECT
                                        |NGX_EGRESS_RETRY_UNSENT);

    return NGX_CONF_OK;
}


static char *
ngx_egress_retry_list(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_retry_t *retry)
{
    char       *rv;
    u_char     *p, *last;
    ngx_str_t   name;

    if (retry->on != NGX_CONF_UNSET_UINT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", value);
        return NGX_CONF_ERROR;
    }

    retry->on = 0;

    last = value->data + value->len;

    for (p = value->data + 3; /* void */ ; p++) {

        name.data = p;

        while (p < last && *p != ',') {
            p++;
        }

        name.len = p - name.data;

        rv = ngx_egress_retry_on(cf, &name, retry);

        if (rv != NGX_CONF_OK || p == last) {
            return rv;
        }
    }
}


static char *
ngx_egress_retry_on(ngx_conf_t *cf, ngx_str_t *name,
    ngx_egress_retry_t *retry)
{
    ngx_int_t               n;
    ngx_egress_retry_on_t  *r;

    for (r = ngx_egress_retries; r->name.len; r++) {
        if (r->name.len == name->len
            && ngx_strncmp(r->name.data, name->data, name->len) == 0)
        {
            break;
        }
    }

    if (r->unsupported) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "retry on \"%V\" is not supported: %s",
                           name, r->unsupported);
        return NGX_CONF_ERROR;
    }

    n = r->status;

    if (r->name.len == 0) {
        n = ngx_atoi(name->data, name->len);

        if (name->len != 3 || n < 100 || n > 599) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" of \"on=\", which has "
                               "a list without blanks, as "
                               "on=connect-failure,reset,503", name);
            return NGX_CONF_ERROR;
        }
    }

    retry->on |= r->on;

    if (n && ngx_egress_retry_status(cf->pool, retry, n) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_egress_retry_status(ngx_pool_t *pool, ngx_egress_retry_t *retry,
    ngx_uint_t status)
{
    ngx_uint_t  *p;

    if (retry->statuses == NULL) {
        retry->statuses = ngx_array_create(pool, 1, sizeof(ngx_uint_t));
        if (retry->statuses == NULL) {
            return NGX_ERROR;
        }
    }

    p = ngx_array_push(retry->statuses);
    if (p == NULL) {
        return NGX_ERROR;
    }

    *p = status;

    return NGX_OK;
}


char *
ngx_egress_conf_outlier(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_draft_t *draft = conf;

    char                  *rv;
    ngx_egress_outlier_t  *outlier;

    if (draft->conf.outlier) {
        return "is duplicate";
    }

    outlier = &draft->outlier;
    draft->conf.outlier = outlier;

    outlier->consecutive_5xx = NGX_CONF_UNSET_UINT;
    outlier->consecutive_gateway = NGX_CONF_UNSET_UINT;
    outlier->consecutive_local = NGX_CONF_UNSET_UINT;
    outlier->max_ejected = NGX_CONF_UNSET_UINT;
    outlier->min_health = NGX_CONF_UNSET_UINT;
    outlier->interval = NGX_CONF_UNSET_MSEC;
    outlier->ejection = NGX_CONF_UNSET_MSEC;

    rv = ngx_egress_traffic_params(cf, ngx_egress_outlier_params, outlier);

    ngx_conf_init_uint_value(outlier->consecutive_5xx, 5);
    ngx_conf_init_uint_value(outlier->consecutive_gateway, 0);
    ngx_conf_init_uint_value(outlier->consecutive_local, 0);
    ngx_conf_init_uint_value(outlier->max_ejected, 10);
    ngx_conf_init_uint_value(outlier->min_health, 0);
    ngx_conf_init_msec_value(outlier->interval, 10000);
    ngx_conf_init_msec_value(outlier->ejection, 30000);

    return rv;
}


void
ngx_egress_traffic_create(ngx_egress_service_conf_t *conf)
{
    conf->balance = NGX_CONF_UNSET_UINT;
    conf->idle_timeout = NGX_CONF_UNSET_MSEC;

    /* the same value means unset to the directives */

    conf->max_connections = NGX_EGRESS_UNLIMITED;
    conf->max_pending = NGX_EGRESS_UNLIMITED;
    conf->max_requests = NGX_EGRESS_UNLIMITED;
    conf->max_retries = NGX_EGRESS_UNLIMITED;
    conf->requests_per_connection = NGX_EGRESS_UNLIMITED;
    conf->pending_timeout = NGX_CONF_UNSET_MSEC;

    conf->keepalive = NGX_CONF_UNSET;
    conf->keepalive_timeout = NGX_CONF_UNSET_MSEC;
    conf->keepalive_time = NGX_CONF_UNSET_MSEC;
}


const char *
ngx_egress_traffic_flaw(ngx_egress_service_t *svc)
{
    if (svc->conf->resolution == NGX_EGRESS_DYNAMIC) {

        if (svc->subsets) {
            return "with \"resolution dynamic\" has no use for \"subset\"";
        }

        if (svc->conf->balance != NGX_CONF_UNSET_UINT) {
            return "with \"resolution dynamic\" has no use for \"balance\"";
        }

        if (svc->conf->outlier) {
            return "with \"resolution dynamic\" has no use for \"outlier\"";
        }
    }

    if (svc->subsets && svc->endpoints == NULL) {
        return "with \"subset\" must have \"endpoint\"";
    }

    return NULL;
}


/* what is legal and has no effect */

static void
ngx_egress_traffic_doubts(ngx_cycle_t *cycle, ngx_egress_service_t *svc)
{
    ngx_uint_t              i, far;
    ngx_egress_outlier_t   *outlier;
    ngx_egress_endpoint_t  *ep;

    ep = svc->endpoints ? svc->endpoints->elts : NULL;
    outlier = svc->conf->outlier;

    for (i = 0, far = 0; ep && i < svc->endpoints->nelts; i++) {
        far += (ep[i].level != 0);
    }

    if (far
        && (outlier == NULL
            || outlier->max_ejected * svc->endpoints->nelts < 100))
    {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "service \"%V\" in %s:%ui never goes to its backup or "
                      "farther endpoints: without \"outlier\", or with this "
                      "\"max_ejected\", none is ejected",
                      &svc->name, svc->file, svc->line);
    }

    if (svc->conf->max_pending != NGX_EGRESS_UNLIMITED
        && svc->conf->max_connections == NGX_EGRESS_UNLIMITED)
    {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "\"max_pending\" without \"max_connections\" has no "
                      "effect in service \"%V\" in %s:%ui",
                      &svc->name, svc->file, svc->line);
    }
}


void
ngx_egress_traffic_defaults(ngx_egress_service_conf_t *conf)
{
    ngx_conf_init_uint_value(conf->balance, NGX_EGRESS_LEAST_REQUEST);
    ngx_conf_init_msec_value(conf->idle_timeout, 0);
    ngx_conf_init_msec_value(conf->pending_timeout, 60000);
    ngx_conf_init_value(conf->keepalive, 16);
    ngx_conf_init_msec_value(conf->keepalive_time, 3600000);
    ngx_conf_init_msec_value(conf->keepalive_timeout,
                             conf->idle_timeout ? conf->idle_timeout : 60000);
}


ngx_int_t
ngx_egress_traffic_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    if (svc->endpoints) {
        ngx_egress_traffic_levels(ecf, svc);
    }

    ngx_egress_traffic_doubts(cycle, svc);

    if (svc->subsets && ngx_egress_traffic_subsets(cycle, svc) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_egress_traffic_variants(cycle, svc);
}


static void
ngx_egress_traffic_levels(ngx_egress_conf_t *ecf, ngx_egress_service_t *svc)
{
    ngx_uint_t              i;
    ngx_egress_endpoint_t  *ep;

    ep = svc->endpoints->elts;

    for (i = 0; i < svc->endpoints->nelts; i++) {

        if (ep[i].backup) {
            ep[i].level = NGX_EGRESS_LEVEL_BACKUP;
            continue;
        }

        if (ep[i].locality.len && ecf->gateway_locality.len) {
            ep[i].level = ngx_egress_locality_level(&ecf->gateway_locality,
                                                    &ep[i].locality);
        }
    }
}


/* how many of the three parts, from the last one on, are not the same */

static ngx_uint_t
ngx_egress_locality_level(ngx_str_t *gateway, ngx_str_t *locality)
{
    u_char      *g, *l, *glast, *llast;
    size_t       glen, llen;
    ngx_uint_t   level;

    g = gateway->data;
    glast = g + gateway->len;

    l = locality->data;
    llast = l + locality->len;

    for (level = 3; level; level--) {

        /* a part that is not there is empty */

        for (glen = 0; g + glen < glast && g[glen] != '/'; glen++) {
            /* void */
        }

        for (llen = 0; l + llen < llast && l[llen] != '/'; llen++) {
            /* void */
        }

        if (glen != llen || ngx_memcmp(g, l, glen) != 0) {
            break;
        }

        g = ngx_min(g + glen + 1, glast);
        l = ngx_min(l + llen + 1, llast);
    }

    return level;
}


static ngx_int_t
ngx_egress_traffic_subsets(ngx_cycle_t *cycle, ngx_egress_service_t *svc)
{
    ngx_uint_t              i, n;
    ngx_egress_subset_t    *subset;
    ngx_egress_endpoint_t  *ep;

    ep = svc->endpoints->elts;
    subset = svc->subsets->elts;

    for (i = 0; i < svc->subsets->nelts; i++) {

        for (n = 0; n < svc->endpoints->nelts; n++) {
            if (ngx_egress_subset_matches(&subset[i], &ep[n])) {
                break;
            }
        }

        if (n == svc->endpoints->nelts) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "subset \"%V\" of service \"%V\" has no endpoint "
                          "in %s:%ui", &subset[i].name, &svc->name,
                          svc->file, svc->line);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_traffic_variants(ngx_cycle_t *cycle, ngx_egress_service_t *svc)
{
    ngx_str_t            *hosts;
    ngx_uint_t            i, n;
    ngx_egress_subset_t  *subset;

    if (svc->conf->resolution == NGX_EGRESS_DYNAMIC) {
        return NGX_OK;
    }

    n = svc->subsets ? svc->subsets->nelts : 0;

    svc->nvariants = svc->endpoints ? 1 + n : svc->hosts->nelts;

    svc->variants = ngx_pcalloc(cycle->pool,
                                svc->nvariants * sizeof(ngx_egress_variant_t));
    if (svc->variants == NULL) {
        return NGX_ERROR;
    }

    if (svc->endpoints == NULL) {
        hosts = svc->hosts->elts;

        for (i = 0; i < svc->nvariants; i++) {
            svc->variants[i].host = &hosts[i];
        }

        return NGX_OK;
    }

    if (n) {
        subset = svc->subsets->elts;

        for (i = 0; i < n; i++) {
            svc->variants[1 + i].subset = &subset[i];
        }
    }

    return NGX_OK;
}
