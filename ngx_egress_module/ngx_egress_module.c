
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/* ms; the defaults of "dns_ttl" */
#define NGX_EGRESS_DNS_MIN  1000
#define NGX_EGRESS_DNS_MAX  3600000


/* ms; a change of files is seen 5 seconds after it at the latest */
#define NGX_EGRESS_REVOKE_MIN  10000


/* workers of a small gateway */
#define NGX_EGRESS_SPARE  2


static void *ngx_egress_create_conf(ngx_cycle_t *cycle);
static char *ngx_egress_init_conf(ngx_cycle_t *cycle, void *conf);
static ngx_int_t ngx_egress_init_modules(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf);
static ngx_int_t ngx_egress_check_needs(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf);
static void ngx_egress_exit_process(ngx_cycle_t *cycle);
static ngx_int_t ngx_egress_init_zone(ngx_shm_zone_t *zone, void *data);
static ngx_int_t ngx_egress_init_areas(ngx_shm_zone_t *zone,
    ngx_egress_shctx_t *sh, ngx_slab_pool_t *shpool);

static char *ngx_egress_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_egress_version(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_egress_zone_bound(ngx_conf_t *cf, ngx_egress_conf_t *ecf,
    ngx_str_t *value);
static char *ngx_egress_gateway(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_outbound_policy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_trust_domain(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
#if (NGX_HAVE_INET6)
static char *ngx_egress_resolver4(ngx_conf_t *cf, ngx_egress_conf_t *ecf);
#endif
static char *ngx_egress_resolver(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_dns_ttl(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_addresses(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_revoke_timeout(ngx_conf_t *cf, void *post,
    void *data);


static ngx_conf_post_t  ngx_egress_revoke_timeout_post =
    { ngx_egress_revoke_timeout };


static ngx_egress_param_t  ngx_egress_dns_params[] = {

    { ngx_string("min="), NGX_EGRESS_PARAM_MSEC, 1, NGX_MAX_INT_T_VALUE,
      offsetof(ngx_egress_conf_t, dns_min) },

    { ngx_string("max="), NGX_EGRESS_PARAM_MSEC, 1, NGX_MAX_INT_T_VALUE,
      offsetof(ngx_egress_conf_t, dns_max) },

    { ngx_string("stale="), NGX_EGRESS_PARAM_MSEC, 0, NGX_MAX_INT_T_VALUE,
      offsetof(ngx_egress_conf_t, dns_stale) },

    { ngx_null_string, 0, 0, 0, 0 }
};


static ngx_command_t  ngx_egress_commands[] = {

    { ngx_string("egress"),
      NGX_MAIN_CONF|NGX_CONF_BLOCK|NGX_CONF_NOARGS,
      ngx_egress_block,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_core_module_t  ngx_egress_module_ctx = {
    ngx_string("egress"),
    ngx_egress_create_conf,
    ngx_egress_init_conf
};


ngx_module_t  ngx_egress_module = {
    NGX_MODULE_V1,
    &ngx_egress_module_ctx,                /* module context */
    ngx_egress_commands,                   /* module directives */
    NGX_CORE_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    ngx_egress_exit_process,               /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_command_t  ngx_egress_core_commands[] = {

    { ngx_string("version"),
      NGX_EGRESS_CONF|NGX_CONF_TAKE1,
      ngx_egress_version,
      0,
      0,
      NULL },

    { ngx_string("zone"),
      NGX_EGRESS_CONF|NGX_CONF_1MORE,
      ngx_egress_zone,
      0,
      0,
      NULL },

    { ngx_string("gateway"),
      NGX_EGRESS_CONF|NGX_CONF_1MORE,
      ngx_egress_gateway,
      0,
      0,
      NULL },

    { ngx_string("outbound_policy"),
      NGX_EGRESS_CONF|NGX_CONF_TAKE1,
      ngx_egress_outbound_policy,
      0,
      0,
      NULL },

    { ngx_string("trust_domain"),
      NGX_EGRESS_CONF|NGX_CONF_1MORE,
      ngx_egress_trust_domain,
      0,
      0,
      NULL },

    { ngx_string("resolver"),
      NGX_EGRESS_CONF|NGX_CONF_1MORE,
      ngx_egress_resolver,
      0,
      0,
      NULL },

    { ngx_string("resolver_timeout"),
      NGX_EGRESS_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_egress_conf_t, resolver_timeout),
      NULL },

    { ngx_string("dns_ttl"),
      NGX_EGRESS_CONF|NGX_CONF_1MORE,
      ngx_egress_dns_ttl,
      0,
      0,
      NULL },

    { ngx_string("egress_revoke_timeout"),
      NGX_EGRESS_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_egress_conf_t, revoke_timeout),
      &ngx_egress_revoke_timeout_post },

    { ngx_string("strict"),
      NGX_EGRESS_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_egress_conf_t, strict),
      NULL },

    { ngx_string("deny_address"),
      NGX_EGRESS_CONF|NGX_CONF_1MORE,
      ngx_egress_addresses,
      0,
      offsetof(ngx_egress_conf_t, deny),
      NULL },

    { ngx_string("allow_address"),
      NGX_EGRESS_CONF|NGX_CONF_1MORE,
      ngx_egress_addresses,
      0,
      offsetof(ngx_egress_conf_t, allow),
      NULL },

    { ngx_string("service"),
      NGX_EGRESS_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_egress_service_block,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_egress_module_t  ngx_egress_core_module_ctx = {
    ngx_string("core"),
    NULL,                                  /* create configuration */
    NULL                                   /* init configuration */
};


ngx_module_t  ngx_egress_core_module = {
    NGX_MODULE_V1,
    &ngx_egress_core_module_ctx,           /* module context */
    ngx_egress_core_commands,              /* module directives */
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


static ngx_str_t  ngx_egress_zone_name = ngx_string("ngx_egress");


void *
ngx_egress_get_conf(ngx_cycle_t *cycle, ngx_module_t *module)
{
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf(cycle);

    if (ecf->conf == NULL) {
        return NULL;
    }

    return ecf->conf[module->ctx_index];
}


ngx_int_t
ngx_egress_add_step(ngx_conf_t *cf, ngx_uint_t subsystem, ngx_uint_t step,
    ngx_egress_step_pt handler)
{
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf(cf->cycle);

    if (ecf->steps[subsystem][step]) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "egress step %ui is already bound", step);
        return NGX_ERROR;
    }

    ecf->steps[subsystem][step] = handler;

    return NGX_OK;
}


void
ngx_egress_require_step(ngx_conf_t *cf, ngx_uint_t step, const char *block,
    const char *module)
{
    ngx_egress_need_t  *need;

    need = &ngx_egress_get_core_conf(cf->cycle)->needs[step];

    if (need->block) {
        return;
    }

    need->block = block;
    need->module = module;
    need->file = cf->conf_file->file.name.data;
    need->line = cf->conf_file->line;
}


void
ngx_egress_use(ngx_conf_t *cf, ngx_uint_t subsystem)
{
    ngx_egress_need_t  *use;

    use = &ngx_egress_get_core_conf(cf->cycle)->uses[subsystem];

    if (use->block) {
        return;
    }

    use->block = "egress";
    use->file = cf->conf_file->file.name.data;
    use->line = cf->conf_file->line;
}


ngx_uint_t
ngx_egress_used(ngx_conf_t *cf, ngx_uint_t subsystem)
{
    return ngx_egress_get_core_conf(cf->cycle)->uses[subsystem].block != NULL;
}


ngx_int_t
ngx_egress_add_check(ngx_conf_t *cf, ngx_egress_check_pt handler, void *data)
{
    ngx_egress_check_t  *check;

    check = ngx_array_push(&ngx_egress_get_core_conf(cf->cycle)->checks);
    if (check == NULL) {
        return NGX_ERROR;
    }

    check->handler = handler;
    check->data = data;

    return NGX_OK;
}


ngx_int_t
ngx_egress_add_area(ngx_conf_t *cf, ngx_uint_t id, ngx_egress_area_pt init,
    void *data)
{
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf(cf->cycle);

    ecf->areas[id].init = init;
    ecf->areas[id].data = data;

    return NGX_OK;
}


void *
ngx_egress_area(ngx_uint_t id, ngx_slab_pool_t **shpool)
{
    ngx_egress_conf_t   *ecf;
    ngx_egress_shctx_t  *sh;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);

    if (ecf->zone == NULL || ecf->zone->shm.addr == NULL) {
        return NULL;
    }

    if (shpool) {
        *shpool = (ngx_slab_pool_t *) ecf->zone->shm.addr;
    }

    sh = ((ngx_slab_pool_t *) ecf->zone->shm.addr)->data;

    return sh->areas[id];
}


ngx_uint_t
ngx_egress_zone_keys(ngx_cycle_t *cycle)
{
    return ngx_egress_get_core_conf(cycle)->keys;
}


ngx_uint_t
ngx_egress_zone_reports(ngx_cycle_t *cycle)
{
    return ngx_egress_get_core_conf(cycle)->reports;
}


ngx_uint_t
ngx_egress_zone_series(ngx_cycle_t *cycle)
{
    return ngx_egress_get_core_conf(cycle)->series;
}


ngx_array_t *
ngx_egress_trust_domains(ngx_cycle_t *cycle)
{
    return ngx_egress_get_core_conf(cycle)->trust_domains;
}


char *
ngx_egress_conf_param(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_param_t *params, void *conf)
{
    ngx_int_t            n;
    ngx_str_t            s;
    ngx_uint_t          *field;
    ngx_egress_param_t  *param;

    for (param = params; param->name.len; param++) {

        if (ngx_strncmp(value->data, param->name.data, param->name.len) != 0)
        {
            continue;
        }

        field = (ngx_uint_t *) ((char *) conf + param->offset);

        s.data = value->data + param->name.len;
        s.len = value->len - param->name.len;

        if (param->type == NGX_EGRESS_PARAM_PERCENT && s.len
            && s.data[s.len - 1] == '%')
        {
            s.len--;
        }

        if (param->type == NGX_EGRESS_PARAM_SEC
            || param->type == NGX_EGRESS_PARAM_MSEC)
        {
            n = ngx_parse_time(&s, param->type == NGX_EGRESS_PARAM_SEC);

        } else {
            n = ngx_atoi(s.data, s.len);
        }

        if (n == NGX_ERROR || (ngx_uint_t) n < param->min
            || (ngx_uint_t) n > param->max || *field != NGX_CONF_UNSET_UINT)
        {
            break;
        }

        *field = n;

        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\"", value);

    return NGX_CONF_ERROR;
}


ngx_uint_t
ngx_egress_valid_locality(ngx_str_t *locality)
{
    size_t      len;
    u_char     *p, *last;
    ngx_uint_t  parts;

    p = locality->data;
    last = p + locality->len;

    len = 0;
    parts = 1;

    for ( /* void */ ; p < last; p++) {

        if (*p != '/') {
            len++;
            continue;
        }

        if (len == 0 || ++parts > 3) {
            return 0;
        }

        len = 0;
    }

    return len != 0;
}


static void *
ngx_egress_create_conf(ngx_cycle_t *cycle)
{
    ngx_egress_conf_t  *ecf;

    ecf = ngx_pcalloc(cycle->pool, sizeof(ngx_egress_conf_t));
    if (ecf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     ecf->conf = NULL, and with it "no egress { } block"
     *     ecf->zone, resolver, allow, deny, trust_domains = NULL
     *     ecf->steps, needs, uses, areas, parts = NULL
     *     ecf->gateway... = { 0, NULL }
     */

    ecf->outbound_policy = NGX_CONF_UNSET_UINT;
    ecf->resolver_timeout = NGX_CONF_UNSET_MSEC;
    ecf->dns_min = NGX_CONF_UNSET_MSEC;
    ecf->dns_max = NGX_CONF_UNSET_MSEC;
    ecf->dns_stale = NGX_CONF_UNSET_MSEC;
    ecf->revoke_timeout = NGX_CONF_UNSET_MSEC;
    ecf->strict = NGX_CONF_UNSET;

    if (ngx_array_init(&ecf->services, cycle->pool, 16,
                       sizeof(ngx_egress_service_t *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&ecf->listeners, cycle->pool, 4, sizeof(void *))
        != NGX_OK)
    {
        return NULL;
    }

    if (ngx_array_init(&ecf->checks, cycle->pool, 16,
                       sizeof(ngx_egress_check_t))
        != NGX_OK)
    {
        return NULL;
    }

    ngx_rbtree_init(&ecf->tls, &ecf->tls_sentinel,
                    ngx_str_rbtree_insert_value);
    ngx_rbtree_init(&ecf->stores, &ecf->stores_sentinel,
                    ngx_str_rbtree_insert_value);

    return ecf;
}


static char *
ngx_egress_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    ngx_uint_t           i;
    ngx_egress_check_t  *check;

    if (ecf->conf == NULL) {

        for (i = 0; i < NGX_EGRESS_SUBSYSTEMS; i++) {
            if (ecf->uses[i].block) {
                ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                              "no \"egress\" block for \"egress on\" "
                              "in %s:%ui",
                              ecf->uses[i].file, ecf->uses[i].line);
                return NGX_CONF_ERROR;
            }
        }

        return NGX_CONF_OK;
    }

    if (ngx_egress_init_modules(cycle, ecf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    check = ecf->checks.elts;

    for (i = 0; i < ecf->checks.nelts; i++) {
        if (check[i].handler(cycle, check[i].data) != NGX_OK) {
            return NGX_CONF_ERROR;
        }
    }

    if (ngx_egress_check_needs(cycle, ecf) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_egress_init_modules(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_str_t            *domain;
    ngx_uint_t            i;
    ngx_egress_module_t  *module;

    if (ecf->zone == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"egress\" must have \"zone\" in %s:%ui",
                      ecf->file, ecf->line);
        return NGX_ERROR;
    }

    ngx_conf_init_uint_value(ecf->outbound_policy, NGX_EGRESS_REGISTRY_ONLY);
    ngx_conf_init_msec_value(ecf->resolver_timeout, 5000);
    ngx_conf_init_msec_value(ecf->dns_min, NGX_EGRESS_DNS_MIN);
    ngx_conf_init_msec_value(ecf->dns_max, NGX_EGRESS_DNS_MAX);
    ngx_conf_init_msec_value(ecf->dns_stale, 3600000);
    ngx_conf_init_msec_value(ecf->revoke_timeout, 0);
    ngx_conf_init_value(ecf->strict, 0);

    if (ecf->gateway.len == 0) {
        ngx_str_set(&ecf->gateway, "istio-egressgateway");
    }

    if (ecf->gateway_namespace.len == 0) {
        ngx_str_set(&ecf->gateway_namespace, "istio-system");
    }

    if (ecf->trust_domains == NULL) {
        ecf->trust_domains = ngx_array_create(cycle->pool, 1,
                                              sizeof(ngx_str_t));
        if (ecf->trust_domains == NULL) {
            return NGX_ERROR;
        }

        domain = ngx_array_push(ecf->trust_domains);
        ngx_str_set(domain, "cluster.local");
    }

    if (ngx_egress_guard_init(cycle, ecf) != NGX_OK
        || ngx_egress_registry_init(cycle, ecf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_egress_guard_doubts(cycle, ecf);

    ecf->areas[NGX_EGRESS_AREA_CORE].init = ngx_egress_endpoint_init_area;
    ecf->areas[NGX_EGRESS_AREA_CORE].data = ecf;

    for (i = 0; cycle->modules[i]; i++) {
        if (cycle->modules[i]->type != NGX_EGRESS_MODULE) {
            continue;
        }

        module = cycle->modules[i]->ctx;

        if (module->init_conf
            && module->init_conf(cycle,
                                 ecf->conf[cycle->modules[i]->ctx_index])
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/* a policy or a bucket that one subsystem would not enforce is an error */

static ngx_int_t
ngx_egress_check_needs(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_uint_t          i, n;
    ngx_egress_need_t  *need, *use;

    static const char  *subsystem[] = { "http", "stream" };

    for (i = 0; i < NGX_EGRESS_STEPS; i++) {
        need = &ecf->needs[i];

        if (need->block == NULL) {
            continue;
        }

        for (n = 0; n < NGX_EGRESS_SUBSYSTEMS; n++) {
            use = &ecf->uses[n];

            if (use->block == NULL || ecf->steps[n][i]) {
                continue;
            }

            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "\"%s\" in %s:%ui is not enforced for \"egress on\" "
                          "in %s:%ui: load module ngx_%s_%s_module",
                          need->block, need->file, need->line,
                          use->file, use->line, subsystem[n], need->module);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_egress_init_process(ngx_cycle_t *cycle)
{
    static ngx_pid_t  done;

    if (done == ngx_pid) {
        return NGX_OK;
    }

    done = ngx_pid;

    /* not in the cache's loader and manager */

    if (ngx_process != NGX_PROCESS_WORKER && ngx_process != NGX_PROCESS_SINGLE)
    {
        return NGX_OK;
    }

    ngx_egress_pool_init_process();

    if (ngx_egress_endpoint_init_process(cycle) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_egress_revoke_init_process(cycle);

    return ngx_egress_resolve_init_process(cycle);
}


static void
ngx_egress_exit_process(ngx_cycle_t *cycle)
{
    ngx_egress_endpoint_exit_process(cycle);
}


static ngx_int_t
ngx_egress_init_zone(ngx_shm_zone_t *zone, void *data)
{
    ngx_slab_pool_t     *shpool;
    ngx_egress_shctx_t  *sh;

    shpool = (ngx_slab_pool_t *) zone->shm.addr;

    if (data || zone->shm.exists) {

        /*
         * Nothing here writes to what the zone holds but an area's own init:
         * on a reload the old workers are still serving from it.
         */

        sh = shpool->data;

        if (sh->layout != NGX_EGRESS_ZONE_LAYOUT) {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "egress zone has layout %ui "
                          "while previously it had %ui",
                          (ngx_uint_t) NGX_EGRESS_ZONE_LAYOUT, sh->layout);
            return NGX_ERROR;
        }

        return ngx_egress_init_areas(zone, sh, shpool);
    }

    sh = ngx_slab_calloc(shpool, sizeof(ngx_egress_shctx_t));
    if (sh == NULL) {
        return NGX_ERROR;
    }

    sh->layout = NGX_EGRESS_ZONE_LAYOUT;
    shpool->data = sh;

    shpool->log_ctx = ngx_slab_alloc(shpool, sizeof(" in egress zone"));
    if (shpool->log_ctx == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(shpool->log_ctx, " in egress zone", sizeof(" in egress zone"));

    /* who finds the zone full says so itself, once a second */

    shpool->log_nomem = 0;

    if (ngx_egress_init_areas(zone, sh, shpool) != NGX_OK) {
        return NGX_ERROR;
    }

    /* a page of what each worker holds, and one for an answer */

    if (shpool->pfree < 2 * NGX_EGRESS_SPARE) {
        ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                      "zone \"%V\" is too small: the configuration leaves "
                      "%ui pages of it for flows and DNS", &zone->shm.name,
                      shpool->pfree);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_init_areas(ngx_shm_zone_t *zone, ngx_egress_shctx_t *sh,
    ngx_slab_pool_t *shpool)
{
    ngx_uint_t          i;
    ngx_egress_conf_t  *ecf;

    ecf = zone->data;

    for (i = 0; i < NGX_EGRESS_AREAS; i++) {

        if (ecf->areas[i].init == NULL) {
            continue;
        }

        if (ecf->areas[i].init(shpool, &sh->areas[i], ecf->areas[i].data,
                               zone->shm.log)
            != NGX_OK)
        {
            ngx_log_error(NGX_LOG_EMERG, zone->shm.log, 0,
                          "zone \"%V\" is too small: %ui services with their "
                          "endpoints and names take some %uzk, and rate limit "
                          "keys and flows come to that", &zone->shm.name,
                          ecf->services.nelts,
                          ngx_egress_endpoint_memory(ecf) / 1024);
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static char *
ngx_egress_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    char                   *rv;
    ngx_conf_t              save;
    ngx_uint_t              i, n;
    ngx_egress_conf_t      *ecf;
    ngx_egress_module_t    *module;
    ngx_egress_conf_ctx_t  *ctx;

    ecf = ngx_egress_get_core_conf(cf->cycle);

    if (ecf->conf) {
        return "is duplicate";
    }

    ecf->file = cf->conf_file->file.name.data;
    ecf->line = cf->conf_file->line;

    n = ngx_count_modules(cf->cycle, NGX_EGRESS_MODULE);

    ctx = ngx_palloc(cf->pool, sizeof(ngx_egress_conf_ctx_t));
    if (ctx == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx->conf = ngx_pcalloc(cf->pool, n * sizeof(void *));
    if (ctx->conf == NULL) {
        return NGX_CONF_ERROR;
    }

    ecf->conf = ctx->conf;
    ecf->conf[ngx_egress_core_module.ctx_index] = ecf;

    if (ngx_egress_status_init(cf) != NGX_OK
        || ngx_egress_decisions_init(cf) != NGX_OK
        || ngx_egress_revoke_init(cf) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 0; cf->cycle->modules[i]; i++) {
        if (cf->cycle->modules[i]->type != NGX_EGRESS_MODULE) {
            continue;
        }

        module = cf->cycle->modules[i]->ctx;

        if (module->create_conf) {
            rv = module->create_conf(cf);
            if (rv == NULL) {
                return NGX_CONF_ERROR;
            }

            ctx->conf[cf->cycle->modules[i]->ctx_index] = rv;
        }
    }

    save = *cf;

    cf->ctx = ctx;
    cf->module_type = NGX_EGRESS_MODULE;
    cf->cmd_type = NGX_EGRESS_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    return rv;
}


/* stands first in what egressctl writes, before anything not known here */

static char *
ngx_egress_version(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_int_t   n;
    ngx_str_t  *value;

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n == NGX_ERROR || n == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (n != NGX_EGRESS_CONF_VERSION) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "configuration was made for version %i of the "
                           "egress directives, this module has version %d: "
                           "convert it with the egressctl of this module",
                           n, NGX_EGRESS_CONF_VERSION);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    char        *rv;
    ssize_t      size;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (ecf->zone) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ecf->series = 10000;
    ecf->dns = 4096;
    ecf->reports = 4096;

    for (i = 2; i < cf->args->nelts; i++) {
        rv = ngx_egress_zone_bound(cf, ecf, &value[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    size = ngx_parse_size(&value[1]);

    if (size == NGX_ERROR) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid zone size \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (size < (ssize_t) (8 * ngx_pagesize)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "zone \"%V\" is too small", &value[1]);
        return NGX_CONF_ERROR;
    }

    ecf->zone = ngx_shared_memory_add(cf, &ngx_egress_zone_name, size,
                                      &ngx_egress_module);
    if (ecf->zone == NULL) {
        return NGX_CONF_ERROR;
    }

    ecf->zone->init = ngx_egress_init_zone;
    ecf->zone->data = ecf;

    return NGX_CONF_OK;
}


static char *
ngx_egress_zone_bound(ngx_conf_t *cf, ngx_egress_conf_t *ecf,
    ngx_str_t *value)
{
    ngx_int_t    n;
    ngx_uint_t   i, *bound;

    struct {
        ngx_str_t    name;
        ngx_uint_t  *bound;
    } bounds[] = {
        { ngx_string("keys="), &ecf->keys },
        { ngx_string("series="), &ecf->series },
        { ngx_string("dns="), &ecf->dns },
        { ngx_string("reports="), &ecf->reports },
        { ngx_null_string, NULL }
    };

    for (i = 0; bounds[i].bound; i++) {

        if (value->len <= bounds[i].name.len
            || ngx_strncmp(value->data, bounds[i].name.data,
                           bounds[i].name.len)
               != 0)
        {
            continue;
        }

        bound = bounds[i].bound;

        n = ngx_atoi(value->data + bounds[i].name.len,
                     value->len - bounds[i].name.len);

        if (n == NGX_ERROR || n == 0) {
            break;
        }

        *bound = n;

        return NGX_CONF_OK;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\"", value);

    return NGX_CONF_ERROR;
}


static char *
ngx_egress_gateway(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    ngx_str_t   *value, *slot;
    ngx_uint_t   i;

    if (ecf->gateway.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (ngx_strncmp(value[i].data, "name=", 5) == 0) {
            value[i].data += 5;
            value[i].len -= 5;
            slot = &ecf->gateway;

        } else if (ngx_strncmp(value[i].data, "namespace=", 10) == 0) {
            value[i].data += 10;
            value[i].len -= 10;
            slot = &ecf->gateway_namespace;

        } else if (ngx_strncmp(value[i].data, "service_account=", 16) == 0) {
            value[i].data += 16;
            value[i].len -= 16;
            slot = &ecf->gateway_account;

        } else if (ngx_strncmp(value[i].data, "locality=", 9) == 0) {
            value[i].data += 9;
            value[i].len -= 9;
            slot = &ecf->gateway_locality;

        } else {
            slot = NULL;
        }

        if (slot == NULL || slot->len || value[i].len == 0
            || (slot == &ecf->gateway_locality
                && !ngx_egress_valid_locality(&value[i])))
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid parameter \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        *slot = value[i];
    }

    if (ecf->gateway.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"gateway\" must have \"name\" parameter");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_outbound_policy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    ngx_str_t  *value;

    if (ecf->outbound_policy != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "registry_only") == 0) {
        ecf->outbound_policy = NGX_EGRESS_REGISTRY_ONLY;

    } else if (ngx_strcmp(value[1].data, "allow_any") == 0) {
        ecf->outbound_policy = NGX_EGRESS_ALLOW_ANY;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_trust_domain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    u_char       ch;
    size_t       n;
    ngx_str_t   *value, *domain;
    ngx_uint_t   i;

    if (ecf->trust_domains) {
        return "is duplicate";
    }

    ecf->trust_domains = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                          sizeof(ngx_str_t));
    if (ecf->trust_domains == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        for (n = 0; n < value[i].len; n++) {
            ch = value[i].data[n];

            if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')
                || ch == '-' || ch == '.' || ch == '_')
            {
                continue;
            }

            break;
        }

        if (n == 0 || n != value[i].len || n > 255) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        domain = ngx_array_push(ecf->trust_domains);
        *domain = value[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_resolver(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    ngx_str_t  *value;

    if (ecf->resolver) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ecf->resolver = ngx_resolver_create(cf, &value[1], cf->args->nelts - 1);
    if (ecf->resolver == NULL) {
        return NGX_CONF_ERROR;
    }

#if (NGX_HAVE_INET6)

    if (ecf->resolver->ipv6) {
        return ngx_egress_resolver4(cf, ecf);
    }

#endif

    return NGX_CONF_OK;
}


#if (NGX_HAVE_INET6)

/* the same servers, for those of them that fail a name for its AAAA */

static char *
ngx_egress_resolver4(ngx_conf_t *cf, ngx_egress_conf_t *ecf)
{
    ngx_str_t   *value, *names;
    ngx_uint_t   i, n;

    value = cf->args->elts;

    names = ngx_palloc(cf->temp_pool, cf->args->nelts * sizeof(ngx_str_t));
    if (names == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1, n = 0; i < cf->args->nelts; i++) {
        if (ngx_strncmp(value[i].data, "ipv", 3) != 0) {
            names[n++] = value[i];
        }
    }

    ngx_str_set(&names[n], "ipv6=off");

    ecf->resolver4 = ngx_resolver_create(cf, names, n + 1);

    return ecf->resolver4 ? NGX_CONF_OK : NGX_CONF_ERROR;
}

#endif


static char *
ngx_egress_dns_ttl(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    char        *rv;
    ngx_str_t   *value;
    ngx_uint_t   i;

    if (ecf->dns_min != NGX_CONF_UNSET_MSEC) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_egress_conf_param(cf, &value[i], ngx_egress_dns_params, ecf);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    ngx_conf_init_msec_value(ecf->dns_min, NGX_EGRESS_DNS_MIN);
    ngx_conf_init_msec_value(ecf->dns_max, NGX_EGRESS_DNS_MAX);

    if (ecf->dns_min > ecf->dns_max) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"dns_ttl\" has \"min\" above \"max\"");
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_addresses(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    ngx_int_t     rc;
    ngx_str_t    *value;
    ngx_uint_t    i;
    ngx_cidr_t   *cidr;
    ngx_array_t **list;

    list = (ngx_array_t **) ((char *) conf + cmd->offset);

    if (*list == NULL) {
        *list = ngx_array_create(cf->pool, 4, sizeof(ngx_cidr_t));
        if (*list == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        if (list == &ecf->deny && ngx_strcmp(value[i].data, "special") == 0) {
            ecf->deny_special = 1;
            continue;
        }

        cidr = ngx_array_push(*list);
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
ngx_egress_revoke_timeout(ngx_conf_t *cf, void *post, void *data)
{
    ngx_msec_t *timeout = data;

    if (*timeout != 0 && *timeout < NGX_EGRESS_REVOKE_MIN) {
        return "must be 0 or at least 10s";
    }

    return NGX_CONF_OK;
}
