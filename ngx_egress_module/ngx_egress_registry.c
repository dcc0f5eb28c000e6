
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


/* for the index of services by name */
#define NGX_EGRESS_NO_PORT  0


static ngx_int_t ngx_egress_index_names(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf);
static ngx_int_t ngx_egress_index_hosts(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf);
static ngx_int_t ngx_egress_index_service(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_egress_service_t *svc);
static ngx_int_t ngx_egress_service_complete(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_egress_service_t *svc);
static const char *ngx_egress_service_flaw(ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc);
static ngx_int_t ngx_egress_service_tls(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_egress_service_t *svc);

static ngx_egress_service_t *ngx_egress_create_service(ngx_pool_t *pool);
static ngx_egress_tls_t *ngx_egress_service_get_tls(ngx_conf_t *cf,
    ngx_egress_service_t *svc);
static char *ngx_egress_host(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_egress_address(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_port(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_egress_endpoint(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_endpoint_address(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_endpoint_t *ep);
static char *ngx_egress_endpoint_param(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_endpoint_t *ep);
static char *ngx_egress_service_enum(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_guard(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
static char *ngx_egress_tls_str(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_tls_name(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_tls_san(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_tls_verify(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
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

    { ngx_string("resolution"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_service_enum,
      0,
      offsetof(ngx_egress_service_t, resolution),
      &ngx_egress_resolutions },

    { ngx_string("location"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_service_enum,
      0,
      offsetof(ngx_egress_service_t, location),
      &ngx_egress_locations },

    { ngx_string("ech"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_egress_service_enum,
      0,
      offsetof(ngx_egress_service_t, ech),
      &ngx_egress_ech_modes },

    { ngx_string("connect_timeout"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_msec_slot,
      0,
      offsetof(ngx_egress_service_t, connect_timeout),
      NULL },

    { ngx_string("lookup"),
      NGX_EGRESS_SERVICE_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_egress_service_t, lookup),
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
      offsetof(ngx_egress_service_t, tls_mode),
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
      ngx_egress_tls_verify,
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


ngx_str_t *
ngx_egress_service_name(ngx_egress_service_t *svc)
{
    return &svc->name;
}


/* an exact host wins, then the longest wildcard */

ngx_egress_service_t *
ngx_egress_find_service(ngx_cycle_t *cycle, ngx_str_t *host, in_port_t port,
    ngx_uint_t *protocol, in_port_t *target)
{
    u_char              *p, *last;
    ngx_str_t            suffix;
    ngx_egress_conf_t   *ecf;
    ngx_egress_entry_t  *entry;

    ecf = ngx_egress_get_core_conf(cycle);

    if (ecf->index.buckets == NULL || host->len == 0
        || host->len > NGX_EGRESS_HOST_MAX)
    {
        return NULL;
    }

    entry = ngx_egress_index_find(&ecf->index, host, port, 0);

    if (entry == NULL && ecf->index.wildcards) {
        last = host->data + host->len;

        for (p = host->data; p < last; p++) {
            if (*p != '.' || p == host->data) {
                continue;
            }

            suffix.data = p + 1;
            suffix.len = last - suffix.data;

            entry = ngx_egress_index_find(&ecf->index, &suffix, port, 1);
            if (entry) {
                break;
            }
        }
    }

    if (entry == NULL) {
        return NULL;
    }

    *protocol = entry->settings->protocol;
    *target = entry->settings->target;

    return entry->service;
}


ngx_egress_service_t *
ngx_egress_find_name(ngx_cycle_t *cycle, ngx_str_t *name)
{
    ngx_egress_conf_t   *ecf;
    ngx_egress_entry_t  *entry;

    ecf = ngx_egress_get_core_conf(cycle);

    if (ecf->names.buckets == NULL) {
        return NULL;
    }

    entry = ngx_egress_index_find(&ecf->names, name, NGX_EGRESS_NO_PORT, 0);

    return entry ? entry->service : NULL;
}


ngx_egress_port_t *
ngx_egress_service_port(ngx_egress_service_t *svc, in_port_t port)
{
    ngx_uint_t          i;
    ngx_egress_port_t  *ports;

    ports = svc->ports->elts;

    for (i = 0; i < svc->ports->nelts; i++) {
        if (ports[i].port == port) {
            return &ports[i];
        }
    }

    return NULL;
}


ngx_uint_t
ngx_egress_service_has_host(ngx_egress_service_t *svc, ngx_str_t *host)
{
    size_t       len;
    ngx_str_t   *hosts;
    ngx_uint_t   i;

    if (svc->hosts == NULL) {
        return 0;
    }

    hosts = svc->hosts->elts;

    for (i = 0; i < svc->hosts->nelts; i++) {

        if (hosts[i].data[0] != '*') {

            if (hosts[i].len == host->len
                && ngx_memcmp(hosts[i].data, host->data, host->len) == 0)
            {
                return 1;
            }

            continue;
        }

        /* "*.suffix": something has to stand before the dot */

        len = hosts[i].len - 1;

        if (host->len > len
            && ngx_memcmp(hosts[i].data + 1,
                          host->data + host->len - len, len)
               == 0)
        {
            return 1;
        }
    }

    return 0;
}


ngx_uint_t
ngx_egress_valid_host(ngx_str_t *host, ngx_uint_t wildcard)
{
    size_t   label;
    u_char  *p, *last;

    p = host->data;
    last = p + host->len;

    if (wildcard && host->len > 2 && p[0] == '*' && p[1] == '.') {
        p += 2;
    }

    if (host->len > NGX_EGRESS_HOST_MAX) {
        return 0;
    }

    label = 0;

    for ( /* void */ ; p < last; p++) {

        if (*p == '.') {
            if (label == 0) {
                return 0;
            }

            label = 0;
            continue;
        }

        if (!((*p >= 'a' && *p <= 'z') || (*p >= '0' && *p <= '9')
              || *p == '-'))
        {
            return 0;
        }

        if (++label > 63) {
            return 0;
        }
    }

    return label != 0;
}


ngx_egress_entry_t *
ngx_egress_index_find(ngx_egress_index_t *index, ngx_str_t *host,
    in_port_t port, ngx_uint_t wildcard)
{
    uint32_t             hash;
    ngx_egress_entry_t  *entry;

    hash = ngx_murmur_hash2(host->data, host->len) + port;

    for (entry = index->buckets[hash & index->mask];
         entry;
         entry = entry->next)
    {
        if (entry->hash == hash
            && entry->port == port
            && entry->wildcard == wildcard
            && entry->host->len - 2 * wildcard == host->len
            && ngx_memcmp(entry->host->data + 2 * wildcard, host->data,
                          host->len)
               == 0)
        {
            return entry;
        }
    }

    return NULL;
}


void
ngx_egress_index_insert(ngx_egress_index_t *index, ngx_egress_entry_t *entry)
{
    ngx_uint_t  skip;

    skip = 2 * entry->wildcard;

    entry->hash = ngx_murmur_hash2(entry->host->data + skip,
                                   entry->host->len - skip)
                  + entry->port;

    entry->next = index->buckets[entry->hash & index->mask];
    index->buckets[entry->hash & index->mask] = entry;

    index->wildcards += entry->wildcard;
}


ngx_int_t
ngx_egress_index_create(ngx_pool_t *pool, ngx_egress_index_t *index,
    ngx_uint_t n)
{
    ngx_uint_t  size;

    for (size = 16; size < n; size *= 2) { /* void */ }

    index->buckets = ngx_pcalloc(pool, size * sizeof(ngx_egress_entry_t *));
    if (index->buckets == NULL) {
        return NGX_ERROR;
    }

    index->mask = size - 1;

    return NGX_OK;
}


ngx_int_t
ngx_egress_registry_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_uint_t              i;
    ngx_egress_service_t  **svc;

    svc = ecf->services.elts;

    for (i = 0; i < ecf->services.nelts; i++) {
        if (ngx_egress_service_complete(cycle, ecf, svc[i]) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    if (ecf->outbound_policy == NGX_EGRESS_ALLOW_ANY && ecf->resolver == NULL)
    {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "\"outbound_policy allow_any\" must have \"resolver\" "
                      "in \"egress\" in %s:%ui", ecf->file, ecf->line);
        return NGX_ERROR;
    }

    ngx_str_set(&ecf->any.name, "allow_any");
    ecf->any.resolution = NGX_EGRESS_DYNAMIC;
    ecf->any.location = NGX_EGRESS_EXTERNAL;
    ecf->any.ech = NGX_EGRESS_ECH_ALLOW;
    ecf->any.guard = 1;
    ecf->any.tls_mode = NGX_EGRESS_TLS_OFF;
    ecf->any.connect_timeout = 10000;

    if (ngx_egress_index_names(cycle, ecf) != NGX_OK
        || ngx_egress_cidr_init(cycle, ecf) != NGX_OK)
    {
        return NGX_ERROR;
    }

    return ngx_egress_index_hosts(cycle, ecf);
}


static ngx_int_t
ngx_egress_index_names(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_uint_t              i;
    ngx_egress_entry_t     *entry, *other;
    ngx_egress_service_t  **svc;

    if (ngx_egress_index_create(cycle->pool, &ecf->names,
                                ecf->services.nelts)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    svc = ecf->services.elts;

    for (i = 0; i < ecf->services.nelts; i++) {

        other = ngx_egress_index_find(&ecf->names, &svc[i]->name,
                                      NGX_EGRESS_NO_PORT, 0);
        if (other) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "duplicate service \"%V\" in %s:%ui, "
                          "previously in %s:%ui", &svc[i]->name,
                          svc[i]->file, svc[i]->line,
                          other->service->file, other->service->line);
            return NGX_ERROR;
        }

        entry = ngx_pcalloc(cycle->pool, sizeof(ngx_egress_entry_t));
        if (entry == NULL) {
            return NGX_ERROR;
        }

        entry->port = NGX_EGRESS_NO_PORT;
        entry->host = &svc[i]->name;
        entry->service = svc[i];

        ngx_egress_index_insert(&ecf->names, entry);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_index_hosts(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_uint_t              i, n;
    ngx_egress_service_t  **svc;

    svc = ecf->services.elts;
    n = 0;

    for (i = 0; i < ecf->services.nelts; i++) {
        n += svc[i]->hosts ? svc[i]->hosts->nelts * svc[i]->ports->nelts : 0;
    }

    if (ngx_egress_index_create(cycle->pool, &ecf->index, n) != NGX_OK) {
        return NGX_ERROR;
    }

    for (i = 0; i < ecf->services.nelts; i++) {

        if (svc[i]->lookup && svc[i]->hosts
            && ngx_egress_index_service(cycle, ecf, svc[i]) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_index_service(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    ngx_str_t            host, *hosts;
    ngx_uint_t           i, n, wildcard;
    ngx_egress_port_t   *ports;
    ngx_egress_entry_t  *entry, *other;

    hosts = svc->hosts->elts;
    ports = svc->ports->elts;

    for (i = 0; i < svc->hosts->nelts; i++) {

        wildcard = (hosts[i].data[0] == '*');

        host.data = hosts[i].data + 2 * wildcard;
        host.len = hosts[i].len - 2 * wildcard;

        for (n = 0; n < svc->ports->nelts; n++) {

            other = ngx_egress_index_find(&ecf->index, &host, ports[n].port,
                                          wildcard);
            if (other) {
                ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                              "duplicate host \"%V\" and port %ui "
                              "in service \"%V\" in %s:%ui, "
                              "previously in %s:%ui",
                              &hosts[i], (ngx_uint_t) ports[n].port,
                              &svc->name, svc->file, svc->line,
                              other->service->file, other->service->line);
                return NGX_ERROR;
            }

            entry = ngx_palloc(cycle->pool, sizeof(ngx_egress_entry_t));
            if (entry == NULL) {
                return NGX_ERROR;
            }

            entry->port = ports[n].port;
            entry->wildcard = wildcard;
            entry->host = &hosts[i];
            entry->settings = &ports[n];
            entry->service = svc;

            ngx_egress_index_insert(&ecf->index, entry);
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_service_complete(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    const char  *flaw;

    ngx_conf_init_uint_value(svc->resolution,
                             svc->endpoints ? NGX_EGRESS_STATIC
                             : svc->hosts ? NGX_EGRESS_DNS
                                          : NGX_EGRESS_DYNAMIC);
    ngx_conf_init_uint_value(svc->location, NGX_EGRESS_EXTERNAL);
    ngx_conf_init_uint_value(svc->ech, NGX_EGRESS_ECH_DENY);
    ngx_conf_init_uint_value(svc->tls_mode, NGX_EGRESS_TLS_OFF);
    ngx_conf_init_value(svc->lookup, 1);
    ngx_conf_init_value(svc->guard, 1);
    ngx_conf_init_msec_value(svc->connect_timeout, 10000);

    flaw = ngx_egress_service_flaw(ecf, svc);

    if (flaw) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "service \"%V\" %s in %s:%ui",
                      &svc->name, flaw, svc->file, svc->line);
        return NGX_ERROR;
    }

    return ngx_egress_service_tls(cycle, ecf, svc);
}


static const char *
ngx_egress_service_flaw(ngx_egress_conf_t *ecf, ngx_egress_service_t *svc)
{
    ngx_str_t              *hosts;
    ngx_uint_t              i;
    ngx_egress_endpoint_t  *ep;

    if (svc->hosts == NULL && svc->cidrs == NULL) {
        return "must have \"host\"";
    }

    if (svc->ports == NULL) {
        return "must have \"port\"";
    }

    if (svc->hosts == NULL && svc->endpoints == NULL
        && svc->resolution == NGX_EGRESS_DNS)
    {
        return "with \"resolution dns\" must have \"host\" or \"endpoint\"";
    }

    hosts = svc->hosts ? svc->hosts->elts : NULL;

    for (i = 0; hosts && i < svc->hosts->nelts; i++) {
        if (hosts[i].data[0] == '*' && svc->resolution == NGX_EGRESS_DNS
            && svc->endpoints == NULL)
        {
            return "with a wildcard host and \"resolution dns\" "
                   "must have \"endpoint\", or be \"resolution dynamic\"";
        }
    }

    if (svc->resolution == NGX_EGRESS_STATIC && svc->endpoints == NULL) {
        return "with \"resolution static\" must have \"endpoint\"";
    }

    if (svc->resolution == NGX_EGRESS_DYNAMIC && svc->endpoints) {
        return "with \"resolution dynamic\" has no use for \"endpoint\"";
    }

    if (svc->endpoints && svc->resolution == NGX_EGRESS_STATIC) {
        ep = svc->endpoints->elts;

        for (i = 0; i < svc->endpoints->nelts; i++) {
            if (ep[i].sockaddr == NULL) {
                return "with \"resolution static\" has an endpoint "
                       "that is not an IP address";
            }
        }
    }

    /* an original destination needs no name */

    if (ecf->resolver == NULL && svc->resolution != NGX_EGRESS_STATIC
        && (svc->hosts || svc->endpoints))
    {
        return "must have \"resolver\" in \"egress\"";
    }

    return NULL;
}


static ngx_int_t
ngx_egress_service_tls(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    ngx_uint_t         level;
    ngx_egress_tls_t  *tls;

    if (svc->tls_mode == NGX_EGRESS_TLS_OFF) {

        if (svc->tls) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "service \"%V\" has TLS settings and \"tls off\" "
                          "in %s:%ui", &svc->name, svc->file, svc->line);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    if (svc->tls == NULL) {
        svc->tls = ngx_pcalloc(cycle->pool, sizeof(ngx_egress_tls_t));
        if (svc->tls == NULL) {
            return NGX_ERROR;
        }

        svc->tls->verify = NGX_CONF_UNSET;
    }

    tls = svc->tls;

    ngx_conf_init_value(tls->verify, 1);

    if (tls->protocols == 0) {
        tls->protocols = NGX_CONF_BITMASK_SET|NGX_SSL_TLSv1_2
                         |NGX_SSL_TLSv1_3;
    }

    if (tls->trusted.len == 0) {
        ngx_str_set(&tls->trusted, "system");
    }

    if (ngx_egress_tls_init(cycle, ecf, svc) != NGX_OK) {
        return NGX_ERROR;
    }

    if (svc->broken.len == 0) {
        return NGX_OK;
    }

    level = ecf->strict ? NGX_LOG_EMERG : NGX_LOG_WARN;

    ngx_log_error(level, cycle->log, 0,
                  "service \"%V\" is refused: %V in %s:%ui",
                  &svc->name, &svc->broken, svc->file, svc->line);

    return ecf->strict ? NGX_ERROR : NGX_OK;
}


char *
ngx_egress_service_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_conf_t *ecf = conf;

    char                   *rv;
    ngx_str_t              *value;
    ngx_conf_t              save;
    ngx_egress_service_t   *svc, **p;

    svc = ngx_egress_create_service(cf->pool);
    if (svc == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    if (value[1].len == 0 || ngx_strlchr(value[1].data,
                                         value[1].data + value[1].len, ':'))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid service name \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    svc->name = value[1];
    svc->file = cf->conf_file->file.name.data;
    svc->line = cf->conf_file->line;

    p = ngx_array_push(&ecf->services);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    *p = svc;

    /*
     * the directives of the block find the service in the registry module's
     * slot, which is not used for anything else
     */

    ecf->conf[ngx_egress_registry_module.ctx_index] = svc;

    save = *cf;

    cf->cmd_type = NGX_EGRESS_SERVICE_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;

    ecf->conf[ngx_egress_registry_module.ctx_index] = NULL;

    return rv;
}


static ngx_egress_service_t *
ngx_egress_create_service(ngx_pool_t *pool)
{
    ngx_egress_service_t  *svc;

    svc = ngx_pcalloc(pool, sizeof(ngx_egress_service_t));
    if (svc == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     svc->source, broken = { 0, NULL }
     *     svc->hosts, ports, endpoints, exempt, tls = NULL
     */

    svc->resolution = NGX_CONF_UNSET_UINT;
    svc->location = NGX_CONF_UNSET_UINT;
    svc->ech = NGX_CONF_UNSET_UINT;
    svc->tls_mode = NGX_CONF_UNSET_UINT;
    svc->lookup = NGX_CONF_UNSET;
    svc->guard = NGX_CONF_UNSET;
    svc->connect_timeout = NGX_CONF_UNSET_MSEC;

    return svc;
}


static char *
ngx_egress_host(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_service_t *svc = conf;

    ngx_str_t   *value, *host;
    ngx_uint_t   i;

    if (svc->hosts == NULL) {
        svc->hosts = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                      sizeof(ngx_str_t));
        if (svc->hosts == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        ngx_strlow(value[i].data, value[i].data, value[i].len);

        if (!ngx_egress_valid_host(&value[i], 1)) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid host \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        host = ngx_array_push(svc->hosts);
        if (host == NULL) {
            return NGX_CONF_ERROR;
        }

        *host = value[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_address(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_service_t *svc = conf;

    ngx_str_t   *value;
    ngx_cidr_t  *cidr;
    ngx_uint_t   i;

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

        if (ngx_ptocidr(&value[i], cidr) == NGX_ERROR) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid address \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_port(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_service_t *svc = conf;

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

    if (svc->ports == NULL) {
        svc->ports = ngx_array_create(cf->pool, 1, sizeof(ngx_egress_port_t));
        if (svc->ports == NULL) {
            return NGX_CONF_ERROR;
        }

    } else if (ngx_egress_service_port(svc, n)) {
        return "is duplicate";
    }

    port = ngx_array_push(svc->ports);
    if (port == NULL) {
        return NGX_CONF_ERROR;
    }

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
    ngx_egress_endpoint_t  *ep;

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

    return NGX_CONF_OK;
}


static char *
ngx_egress_endpoint_address(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_endpoint_t *ep)
{
    ngx_url_t   u;
    ngx_addr_t  addr;

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
                       "invalid address \"%V\"", value);

    return NGX_CONF_ERROR;
}


static char *
ngx_egress_endpoint_param(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_endpoint_t *ep)
{
    u_char     *p;
    ngx_int_t   n;
    ngx_str_t  *label;

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

        p = ngx_strlchr(value->data + 6, value->data + value->len, '=');

        if (p == NULL || p == value->data + 6) {
            goto invalid;
        }

        if (ep->labels == NULL) {
            ep->labels = ngx_array_create(cf->pool, 1, sizeof(ngx_str_t));
            if (ep->labels == NULL) {
                return NGX_CONF_ERROR;
            }
        }

        label = ngx_array_push(ep->labels);
        if (label == NULL) {
            return NGX_CONF_ERROR;
        }

        label->data = value->data + 6;
        label->len = value->len - 6;

        return NGX_CONF_OK;
    }

invalid:

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid parameter \"%V\"", value);

    return NGX_CONF_ERROR;
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

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\"", &value[1]);

    return NGX_CONF_ERROR;
}


static char *
ngx_egress_guard(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_service_t *svc = conf;

    ngx_str_t   *value, range;
    ngx_uint_t   i;
    ngx_cidr_t   cidr;

    if (svc->guard != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0) {
        svc->guard = 0;
        return NGX_CONF_OK;
    }

    svc->guard = 1;

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

        if (ngx_egress_guard_exempt(cf->pool, &svc->exempt, &cidr) != NGX_OK)
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
ngx_egress_service_get_tls(ngx_conf_t *cf, ngx_egress_service_t *svc)
{
    if (svc->tls == NULL) {
        svc->tls = ngx_pcalloc(cf->pool, sizeof(ngx_egress_tls_t));
        if (svc->tls == NULL) {
            return NULL;
        }

        svc->tls->verify = NGX_CONF_UNSET;
    }

    return svc->tls;
}


static char *
ngx_egress_tls_str(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t         *value, *field;
    ngx_egress_tls_t  *tls;

    tls = ngx_egress_service_get_tls(cf, conf);
    if (tls == NULL) {
        return NGX_CONF_ERROR;
    }

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

    tls = ngx_egress_service_get_tls(cf, conf);
    if (tls == NULL) {
        return NGX_CONF_ERROR;
    }

    if (tls->name.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ngx_strlow(value[1].data, value[1].data, value[1].len);

    if (!ngx_egress_valid_host(&value[1], 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid host \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    tls->name = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_egress_tls_san(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t         *value, *san;
    ngx_uint_t         i;
    ngx_addr_t         addr;
    ngx_egress_tls_t  *tls;

    tls = ngx_egress_service_get_tls(cf, conf);
    if (tls == NULL) {
        return NGX_CONF_ERROR;
    }

    if (tls->san == NULL) {
        tls->san = ngx_array_create(cf->pool, cf->args->nelts - 1,
                                    sizeof(ngx_str_t));
        if (tls->san == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        ngx_strlow(value[i].data, value[i].data, value[i].len);

        if (!ngx_egress_valid_host(&value[i], 0)
            && ngx_parse_addr(cf->pool, &addr, value[i].data, value[i].len)
               != NGX_OK)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\"", &value[i]);
            return NGX_CONF_ERROR;
        }

        san = ngx_array_push(tls->san);
        if (san == NULL) {
            return NGX_CONF_ERROR;
        }

        *san = value[i];
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_tls_verify(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_command_t      slot;
    ngx_egress_tls_t  *tls;

    tls = ngx_egress_service_get_tls(cf, conf);
    if (tls == NULL) {
        return NGX_CONF_ERROR;
    }

    slot = *cmd;
    slot.offset = offsetof(ngx_egress_tls_t, verify);

    return ngx_conf_set_flag_slot(cf, &slot, tls);
}


static char *
ngx_egress_tls_protocols(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_command_t      slot;
    ngx_egress_tls_t  *tls;

    tls = ngx_egress_service_get_tls(cf, conf);
    if (tls == NULL) {
        return NGX_CONF_ERROR;
    }

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

    tls = ngx_egress_service_get_tls(cf, conf);
    if (tls == NULL) {
        return NGX_CONF_ERROR;
    }

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
