
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


/* a network and the length of its prefix */
#define NGX_EGRESS_CIDR_KEY  17


static ngx_int_t ngx_egress_cidr_service(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_uint_t number);
static ngx_int_t ngx_egress_cidr_insert(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf, ngx_uint_t number, ngx_str_t *key);
static ngx_int_t ngx_egress_cidr_key(ngx_pool_t *pool,
    ngx_egress_cidrs_t *cidrs, ngx_cidr_t *cidr, ngx_str_t *key);
static void ngx_egress_cidr_mask(ngx_str_t *key, ngx_uint_t bits);
static size_t ngx_egress_cidr_text(ngx_str_t *key, u_char *text, size_t len);


ngx_int_t
ngx_egress_cidr_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf)
{
    ngx_uint_t              i, n, used;
    ngx_egress_service_t  **svc;

    svc = ecf->services.elts;
    used = 0;
    n = 0;

    for (i = 0; i < ecf->services.nelts; i++) {
        if (svc[i]->cidrs == NULL) {
            continue;
        }

        used = 1;

        if (svc[i]->conf->lookup) {
            n += svc[i]->cidrs->nelts * svc[i]->ports->nelts;
        }
    }

    /* without any the index stays NULL, and nobody asks for addresses */

    if (!used) {
        return NGX_OK;
    }

    if (ngx_egress_index_create(cycle->pool, &ecf->cidrs.index,
                                &ecf->services, n)
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < ecf->services.nelts; i++) {

        if (svc[i]->cidrs && svc[i]->conf->lookup
            && ngx_egress_cidr_service(cycle, ecf, i) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


ngx_egress_service_t *
ngx_egress_cidr_find(ngx_egress_conf_t *ecf, struct sockaddr *sa,
    ngx_egress_port_t **settings)
{
    u_char                 data[NGX_EGRESS_CIDR_KEY];
    uint64_t              *lengths;
    ngx_int_t              bits;
    ngx_str_t              key;
    in_port_t              port;
    ngx_egress_service_t  *svc;

    if (ecf->cidrs.index.buckets == NULL) {
        return NULL;
    }

    key.data = data;

    switch (sa->sa_family) {

    case AF_INET:
        ngx_memcpy(data, &((struct sockaddr_in *) sa)->sin_addr, 4);
        key.len = 5;
        lengths = &ecf->cidrs.lengths4;
        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        ngx_memcpy(data, &((struct sockaddr_in6 *) sa)->sin6_addr, 16);
        key.len = 17;
        lengths = ecf->cidrs.lengths6;
        break;
#endif

    default:
        return NULL;
    }

    port = ngx_inet_get_port(sa);

    for (bits = 8 * (key.len - 1); bits >= 0; bits--) {

        if (!(lengths[bits / 64] & (uint64_t) 1 << bits % 64)) {
            continue;
        }

        ngx_egress_cidr_mask(&key, bits);

        svc = ngx_egress_index_find(&ecf->cidrs.index, &key, port, 0,
                                    settings);
        if (svc) {
            return svc;
        }
    }

    return NULL;
}


static ngx_int_t
ngx_egress_cidr_service(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_uint_t number)
{
    ngx_int_t              rc;
    ngx_str_t             *key;
    ngx_cidr_t            *cidr;
    ngx_uint_t             i;
    ngx_egress_service_t  *svc;

    svc = ((ngx_egress_service_t **) ecf->services.elts)[number];
    cidr = svc->cidrs->elts;

    for (i = 0; i < svc->cidrs->nelts; i++) {

        key = ngx_palloc(cycle->pool, sizeof(ngx_str_t));
        if (key == NULL) {
            return NGX_ERROR;
        }

        rc = ngx_egress_cidr_key(cycle->pool, &ecf->cidrs, &cidr[i], key);

        if (rc == NGX_DECLINED) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "service \"%V\" has an IPv4-mapped \"address\", "
                          "which has to be written as IPv4, in %s:%ui",
                          &svc->name, svc->file, svc->line);
        }

        if (rc != NGX_OK
            || ngx_egress_cidr_insert(cycle, ecf, number, key) != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_cidr_insert(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_uint_t number, ngx_str_t *key)
{
    size_t                 len;
    ngx_uint_t             i;
    ngx_egress_port_t     *ports;
    ngx_egress_entry_t     entry;
    ngx_egress_service_t  *svc, *other;
    u_char                 text[NGX_SOCKADDR_STRLEN + sizeof("/128")];

    svc = ((ngx_egress_service_t **) ecf->services.elts)[number];
    ports = svc->ports->elts;

    for (i = 0; i < svc->ports->nelts; i++) {

        other = ngx_egress_index_find(&ecf->cidrs.index, key, ports[i].port,
                                      0, NULL);
        if (other) {
            len = ngx_egress_cidr_text(key, text, sizeof(text));

            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "duplicate address \"%*s\" and port %ui "
                          "in service \"%V\" in %s:%ui, "
                          "previously in %s:%ui",
                          len, text, (ngx_uint_t) ports[i].port, &svc->name,
                          svc->file, svc->line, other->file, other->line);
            return NGX_ERROR;
        }

        ngx_memzero(&entry, sizeof(ngx_egress_entry_t));

        entry.port = ports[i].port;
        entry.host = key;
        entry.nport = i;
        entry.service = number;

        ngx_egress_index_insert(&ecf->cidrs.index, &entry);
    }

    return NGX_OK;
}


/* NGX_DECLINED: an original destination is never IPv4-mapped */

static ngx_int_t
ngx_egress_cidr_key(ngx_pool_t *pool, ngx_egress_cidrs_t *cidrs,
    ngx_cidr_t *cidr, ngx_str_t *key)
{
    u_char      *addr, *mask;
    size_t       size;
    uint64_t    *lengths;
    ngx_uint_t   bits;

    addr = (u_char *) &cidr->u.in.addr;
    mask = (u_char *) &cidr->u.in.mask;
    size = 4;
    lengths = &cidrs->lengths4;

#if (NGX_HAVE_INET6)

    if (cidr->family == AF_INET6) {
        addr = cidr->u.in6.addr.s6_addr;
        mask = cidr->u.in6.mask.s6_addr;
        size = 16;
        lengths = cidrs->lengths6;

        if (IN6_IS_ADDR_V4MAPPED(&cidr->u.in6.addr)) {
            return NGX_DECLINED;
        }
    }

#endif

    for (bits = 0; bits < 8 * size; bits++) {
        if (!(mask[bits / 8] & 0x80 >> bits % 8)) {
            break;
        }
    }

    key->len = size + 1;
    key->data = ngx_pnalloc(pool, key->len);
    if (key->data == NULL) {
        return NGX_ERROR;
    }

    ngx_memcpy(key->data, addr, size);
    ngx_egress_cidr_mask(key, bits);

    lengths[bits / 64] |= (uint64_t) 1 << bits % 64;

    return NGX_OK;
}


static void
ngx_egress_cidr_mask(ngx_str_t *key, ngx_uint_t bits)
{
    ngx_uint_t  n, size;

    n = bits / 8;
    size = key->len - 1;

    if (n < size) {
        key->data[n] &= (u_char) (0xff << (8 - bits % 8));
        ngx_memzero(key->data + n + 1, size - n - 1);
    }

    key->data[size] = (u_char) bits;
}


static size_t
ngx_egress_cidr_text(ngx_str_t *key, u_char *text, size_t len)
{
    size_t  n;

    n = ngx_inet_ntop(key->len == 5 ? AF_INET : AF_INET6, key->data, text,
                      len);

    return ngx_snprintf(text + n, len - n, "/%d",
                        (int) key->data[key->len - 1])
           - text;
}
