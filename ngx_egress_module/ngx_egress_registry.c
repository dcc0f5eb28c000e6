
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
    ngx_egress_conf_t *ecf, ngx_uint_t number);
static ngx_int_t ngx_egress_service_init(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_egress_service_t *svc);
static ngx_uint_t ngx_egress_service_resolution(ngx_egress_service_t *svc);
static const char *ngx_egress_service_flaw(ngx_egress_service_t *svc);
static const char *ngx_egress_service_endpoints_flaw(
    ngx_egress_service_t *svc);
static const char *ngx_egress_service_hosts_flaw(ngx_egress_service_t *svc);
static ngx_uint_t ngx_egress_service_resolves(ngx_egress_service_t *svc);
static ngx_int_t ngx_egress_service_tls(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_egress_service_t *svc);


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
    u_char                *p, *last;
    ngx_str_t              suffix;
    ngx_egress_conf_t     *ecf;
    ngx_egress_port_t     *settings;
    ngx_egress_service_t  *svc;

    ecf = ngx_egress_get_core_conf(cycle);

    if (ecf->index.buckets == NULL || host->len == 0
        || host->len > NGX_EGRESS_HOST_MAX)
    {
        return NULL;
    }

    svc = ngx_egress_index_find(&ecf->index, host, port, 0, &settings);

    if (svc == NULL && ecf->index.wildcards) {
        last = host->data + host->len;

        for (p = host->data; p < last; p++) {
            if (*p != '.' || p == host->data) {
                continue;
            }

            suffix.data = p + 1;
            suffix.len = last - suffix.data;

            svc = ngx_egress_index_find(&ecf->index, &suffix, port, 1,
                                        &settings);
            if (svc) {
                break;
            }
        }
    }

    if (svc == NULL) {
        return NULL;
    }

    *protocol = settings->protocol;
    *target = settings->target;

    return svc;
}


ngx_egress_service_t *
ngx_egress_find_name(ngx_cycle_t *cycle, ngx_str_t *name)
{
    ngx_egress_conf_t  *ecf;

    ecf = ngx_egress_get_core_conf(cycle);

    if (ecf->names.buckets == NULL) {
        return NULL;
    }

    return ngx_egress_index_find(&ecf->names, name, NGX_EGRESS_NO_PORT, 0,
                                 NULL);
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


ngx_egress_service_t *
ngx_egress_index_find(ngx_egress_index_t *index, ngx_str_t *host,
    in_port_t port, ngx_uint_t wildcard, ngx_egress_port_t **settings)
{
    uint32_t               hash, n;
    ngx_egress_entry_t    *entry;
    ngx_egress_service_t  *svc;

    hash = ngx_murmur_hash2(host->data, host->len) + port;

    for (n = index->buckets[hash & index->mask]; n; n = entry->next) {

        entry = &index->entries[n - 1];

        if (entry->hash == hash
            && entry->port == port
            && entry->wildcard == wildcard
            && entry->host->len - 2 * wildcard == host->len
            && ngx_memcmp(entry->host->data + 2 * wildcard, host->data,
                          host->len)
               == 0)
        {
            svc = index->services[entry->service];

            if (settings) {
                *settings = (ngx_egress_port_t *) svc->ports->elts
                            + entry->nport;
            }

            return svc;
        }
    }

    return NULL;
}


void
ngx_egress_index_insert(ngx_egress_index_t *index, ngx_egress_entry_t *entry)
{
    uint32_t    *bucket;
    ngx_uint_t   skip;

    skip = 2 * entry->wildcard;

    entry->hash = ngx_murmur_hash2(entry->host->data + skip,
                                   entry->host->len - skip)
                  + entry->port;

    bucket = &index->buckets[entry->hash & index->mask];

    entry->next = *bucket;

    index->entries[index->n++] = *entry;
    index->wildcards += entry->wildcard;

    *bucket = (uint32_t) index->n;
}


ngx_int_t
ngx_egress_index_create(ngx_pool_t *pool, ngx_egress_index_t *index,
    ngx_array_t *services, ngx_uint_t n)
{
    ngx_uint_t  size;

    for (size = 16; size < n; size *= 2) { /* void */ }

    index->buckets = ngx_pcalloc(pool, size * sizeof(uint32_t));
    index->entries = ngx_palloc(pool, n * sizeof(ngx_egress_entry_t));

    if (index->buckets == NULL || index->entries == NULL) {
        return NGX_ERROR;
    }

    index->mask = size - 1;
    index->services = services->elts;

    return NGX_OK;
}


ngx_int_t
ngx_egress_registry_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_uint_t              i;
    ngx_egress_service_t  **svc;

    ngx_egress_intern_free(&ecf->intern);

    svc = ecf->services.elts;

    for (i = 0; i < ecf->services.nelts; i++) {
        if (ngx_egress_service_init(cycle, ecf, svc[i]) != NGX_OK) {
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
    ecf->any.conf = &ecf->any_conf;

    ngx_egress_traffic_create(&ecf->any_conf);

    ecf->any_conf.resolution = NGX_EGRESS_DYNAMIC;
    ecf->any_conf.location = NGX_EGRESS_EXTERNAL;
    ecf->any_conf.ech = NGX_EGRESS_ECH_ALLOW;
    ecf->any_conf.guard = 1;
    ecf->any_conf.tls_mode = NGX_EGRESS_TLS_OFF;
    ecf->any_conf.connect_timeout = 10000;
    ecf->any_conf.keepalive = 0;

    ngx_egress_traffic_defaults(&ecf->any_conf);

    if (ngx_egress_traffic_init(cycle, ecf, &ecf->any) != NGX_OK) {
        return NGX_ERROR;
    }

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
    ngx_egress_entry_t      entry;
    ngx_egress_service_t  **svc, *other;

    if (ngx_egress_index_create(cycle->pool, &ecf->names, &ecf->services,
                                ecf->services.nelts)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    svc = ecf->services.elts;

    for (i = 0; i < ecf->services.nelts; i++) {

        other = ngx_egress_index_find(&ecf->names, &svc[i]->name,
                                      NGX_EGRESS_NO_PORT, 0, NULL);
        if (other) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "duplicate service \"%V\" in %s:%ui, "
                          "previously in %s:%ui", &svc[i]->name,
                          svc[i]->file, svc[i]->line,
                          other->file, other->line);
            return NGX_ERROR;
        }

        ngx_memzero(&entry, sizeof(ngx_egress_entry_t));

        entry.port = NGX_EGRESS_NO_PORT;
        entry.host = &svc[i]->name;
        entry.service = i;

        ngx_egress_index_insert(&ecf->names, &entry);
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
        if (svc[i]->hosts && svc[i]->conf->lookup) {
            n += svc[i]->hosts->nelts * svc[i]->ports->nelts;
        }
    }

    if (ngx_egress_index_create(cycle->pool, &ecf->index, &ecf->services, n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < ecf->services.nelts; i++) {

        if (svc[i]->conf->lookup && svc[i]->hosts
            && ngx_egress_index_service(cycle, ecf, i) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_index_service(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_uint_t number)
{
    ngx_str_t              host, *hosts;
    ngx_uint_t             i, n, wildcard;
    ngx_egress_port_t     *ports;
    ngx_egress_entry_t     entry;
    ngx_egress_service_t  *svc, *other;

    svc = ((ngx_egress_service_t **) ecf->services.elts)[number];

    hosts = svc->hosts->elts;
    ports = svc->ports->elts;

    for (i = 0; i < svc->hosts->nelts; i++) {

        wildcard = (hosts[i].data[0] == '*');

        host.data = hosts[i].data + 2 * wildcard;
        host.len = hosts[i].len - 2 * wildcard;

        for (n = 0; n < svc->ports->nelts; n++) {

            other = ngx_egress_index_find(&ecf->index, &host, ports[n].port,
                                          wildcard, NULL);
            if (other) {
                ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                              "duplicate host \"%V\" and port %ui "
                              "in service \"%V\" in %s:%ui, "
                              "previously in %s:%ui",
                              &hosts[i], (ngx_uint_t) ports[n].port,
                              &svc->name, svc->file, svc->line,
                              other->file, other->line);
                return NGX_ERROR;
            }

            ngx_memzero(&entry, sizeof(ngx_egress_entry_t));

            entry.port = ports[n].port;
            entry.wildcard = wildcard;
            entry.host = &hosts[i];
            entry.nport = n;
            entry.service = number;

            ngx_egress_index_insert(&ecf->index, &entry);
        }
    }

    return NGX_OK;
}


ngx_int_t
ngx_egress_service_complete(ngx_egress_draft_t *draft, ngx_log_t *log)
{
    const char                 *flaw;
    ngx_egress_service_t       *svc;
    ngx_egress_service_conf_t  *conf;

    svc = &draft->svc;
    conf = &draft->conf;

    ngx_conf_init_uint_value(conf->resolution,
                             ngx_egress_service_resolution(svc));
    ngx_conf_init_uint_value(conf->location, NGX_EGRESS_EXTERNAL);
    ngx_conf_init_uint_value(conf->ech, NGX_EGRESS_ECH_DENY);
    ngx_conf_init_uint_value(conf->tls_mode, NGX_EGRESS_TLS_OFF);
    ngx_conf_init_value(conf->lookup, 1);
    ngx_conf_init_value(conf->guard, 1);
    ngx_conf_init_msec_value(conf->connect_timeout, 10000);

    flaw = ngx_egress_service_flaw(svc);

    if (flaw) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "service \"%V\" %s in %s:%ui",
                      &svc->name, flaw, svc->file, svc->line);
        return NGX_ERROR;
    }

    ngx_egress_traffic_defaults(conf);

    ngx_conf_init_value(draft->tls.verify, 1);

    if (!draft->tls.verify
        && (draft->tls.trusted.len || draft->tls.crl.len || draft->tls.san))
    {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "\"tls_trusted_certificate\", \"tls_crl\" and "
                      "\"tls_san\" have no effect with \"tls_verify off\" "
                      "in service \"%V\" in %s:%ui",
                      &svc->name, svc->file, svc->line);
    }

    if (draft->tls.protocols == 0) {
        draft->tls.protocols = NGX_CONF_BITMASK_SET|NGX_SSL_TLSv1_2
                               |NGX_SSL_TLSv1_3;
    }

    if (draft->tls.trusted.len == 0) {
        ngx_str_set(&draft->tls.trusted, "system");
    }

    if (conf->tls_mode != NGX_EGRESS_TLS_OFF) {
        conf->tls = &draft->tls;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_service_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    if (ecf->resolver == NULL && ngx_egress_service_resolves(svc)) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "service \"%V\" must have \"resolver\" in \"egress\" "
                      "in %s:%ui", &svc->name, svc->file, svc->line);
        return NGX_ERROR;
    }

    if (ngx_egress_traffic_init(cycle, ecf, svc) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_egress_service_tls(cycle, ecf, svc);
}


static ngx_uint_t
ngx_egress_service_resolution(ngx_egress_service_t *svc)
{
    if (svc->endpoints) {
        return NGX_EGRESS_STATIC;
    }

    return svc->hosts ? NGX_EGRESS_DNS : NGX_EGRESS_DYNAMIC;
}


static const char *
ngx_egress_service_flaw(ngx_egress_service_t *svc)
{
    const char  *flaw;

    if (svc->hosts == NULL && svc->cidrs == NULL) {
        return "must have \"host\" or \"address\"";
    }

    if (svc->ports == NULL) {
        return "must have \"port\"";
    }

    flaw = svc->endpoints ? ngx_egress_service_endpoints_flaw(svc)
                          : ngx_egress_service_hosts_flaw(svc);
    if (flaw) {
        return flaw;
    }

    flaw = ngx_egress_traffic_flaw(svc);
    if (flaw) {
        return flaw;
    }

    if (svc->conf->tls_mode != NGX_EGRESS_TLS_OFF && svc->hosts == NULL
        && (svc->conf->tls == NULL
            || (svc->conf->tls->name.len == 0 && svc->conf->tls->san == NULL
                && svc->conf->tls->verify != 0)))
    {
        return "with \"tls\" must have \"host\", \"tls_name\", "
               "\"tls_san\" or \"tls_verify off\"";
    }

    return NULL;
}


/* a service of addresses only resolves nothing */

static ngx_uint_t
ngx_egress_service_resolves(ngx_egress_service_t *svc)
{
    return svc->conf->resolution == NGX_EGRESS_DNS
           || (svc->conf->resolution == NGX_EGRESS_DYNAMIC && svc->hosts);
}


static const char *
ngx_egress_service_endpoints_flaw(ngx_egress_service_t *svc)
{
    ngx_uint_t              i;
    ngx_egress_endpoint_t  *ep;

    if (svc->conf->resolution == NGX_EGRESS_DYNAMIC) {
        return "with \"resolution dynamic\" has no use for \"endpoint\"";
    }

    ep = svc->endpoints->elts;

    for (i = 0; i < svc->endpoints->nelts; i++) {

        if (svc->conf->resolution == NGX_EGRESS_STATIC) {
            if (ep[i].sockaddr == NULL) {
                return "with \"resolution static\" has an endpoint "
                       "that is not an IP address: a name must have "
                       "\"resolution dns\"";
            }

            continue;
        }

        if (ep[i].sockaddr && ep[i].sockaddr->sa_family == AF_UNIX) {
            return "with \"resolution dns\" has an endpoint "
                   "that is a Unix socket";
        }
    }

    return NULL;
}


/* of a service without endpoints */

static const char *
ngx_egress_service_hosts_flaw(ngx_egress_service_t *svc)
{
    ngx_str_t   *hosts;
    ngx_uint_t   i;

    if (svc->conf->resolution == NGX_EGRESS_STATIC) {
        return "with \"resolution static\" must have \"endpoint\"";
    }

    if (svc->conf->resolution == NGX_EGRESS_DYNAMIC) {
        return NULL;
    }

    if (svc->hosts == NULL) {
        return "with \"resolution dns\" must have \"host\" "
               "or \"endpoint\"";
    }

    hosts = svc->hosts->elts;

    for (i = 0; i < svc->hosts->nelts; i++) {
        if (hosts[i].data[0] == '*') {
            return "with a wildcard host and \"resolution dns\" "
                   "must have \"endpoint\", or be \"resolution dynamic\"";
        }
    }

    return NULL;
}


static ngx_int_t
ngx_egress_service_tls(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc)
{
    ngx_str_t   *broken;
    ngx_uint_t   level;

    if (svc->conf->tls_mode == NGX_EGRESS_TLS_OFF) {

        if (svc->conf->tls) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "service \"%V\" has TLS settings and \"tls off\" "
                          "in %s:%ui", &svc->name, svc->file, svc->line);
            return NGX_ERROR;
        }

        return NGX_OK;
    }

    if (ngx_egress_tls_init(cycle, ecf, svc) != NGX_OK) {
        return NGX_ERROR;
    }

    broken = ngx_egress_tls_flaw(svc);

    if (broken == NULL) {
        return NGX_OK;
    }

    level = ecf->strict ? NGX_LOG_EMERG : NGX_LOG_WARN;

    ngx_log_error(level, cycle->log, 0,
                  "service \"%V\" is refused: %V in %s:%ui",
                  &svc->name, broken, svc->file, svc->line);

    return ecf->strict ? NGX_ERROR : NGX_OK;
}
