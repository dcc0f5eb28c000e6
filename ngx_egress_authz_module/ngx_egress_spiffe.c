
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


#define NGX_EGRESS_SPIFFE_MAX         2048
#define NGX_EGRESS_TRUST_DOMAIN_MAX   255

#define NGX_EGRESS_SEGMENTS           4


static ngx_int_t ngx_egress_spiffe_path(u_char *p, u_char *last,
    ngx_egress_identity_t *id);
static ngx_uint_t ngx_egress_spiffe_char(u_char ch, ngx_uint_t upper);


/*
 * The standard's own text of the ID is compared byte by byte by everybody,
 * so nothing is normalised here: what is not in its one form is refused.
 */

ngx_int_t
ngx_egress_spiffe_parse(ngx_str_t *uri, ngx_egress_identity_t *id)
{
    u_char  *p, *last, *start;

    static u_char  scheme[] = "spiffe://";

    ngx_memzero(id, sizeof(ngx_egress_identity_t));

    if (uri->len > NGX_EGRESS_SPIFFE_MAX) {
        ngx_str_set(&id->error, "SPIFFE ID is longer than 2048 bytes");
        return NGX_DECLINED;
    }

    if (uri->len < sizeof(scheme) - 1
        || ngx_memcmp(uri->data, scheme, sizeof(scheme) - 1) != 0)
    {
        ngx_str_set(&id->error, "URI is no SPIFFE ID");
        return NGX_DECLINED;
    }

    start = uri->data + sizeof(scheme) - 1;
    last = uri->data + uri->len;

    for (p = start; p < last && *p != '/'; p++) {
        if (!ngx_egress_spiffe_char(*p, 0)) {
            ngx_str_set(&id->error, "invalid byte in trust domain of SPIFFE "
                                    "ID");
            return NGX_DECLINED;
        }
    }

    if (p == start) {
        ngx_str_set(&id->error, "SPIFFE ID without trust domain");
        return NGX_DECLINED;
    }

    if (p - start > NGX_EGRESS_TRUST_DOMAIN_MAX) {
        ngx_str_set(&id->error, "trust domain of SPIFFE ID is longer than "
                                "255 bytes");
        return NGX_DECLINED;
    }

    if (ngx_egress_spiffe_path(p, last, id) != NGX_OK) {
        return NGX_DECLINED;
    }

    id->trust_domain.data = start;
    id->trust_domain.len = p - start;
    id->principal.data = start;
    id->principal.len = last - start;

    return NGX_OK;
}


/* p is at the first "/", or at last if the ID has no path */

static ngx_int_t
ngx_egress_spiffe_path(u_char *p, u_char *last, ngx_egress_identity_t *id)
{
    size_t       len;
    u_char      *start;
    ngx_str_t    segments[NGX_EGRESS_SEGMENTS];
    ngx_uint_t   n;

    n = 0;

    while (p < last) {

        start = ++p;

        while (p < last && *p != '/') {

            if (!ngx_egress_spiffe_char(*p, 1)) {
                ngx_str_set(&id->error, "invalid byte in path of SPIFFE ID");
                return NGX_DECLINED;
            }

            p++;
        }

        len = p - start;

        if (len == 0) {
            ngx_str_set(&id->error, "empty segment in path of SPIFFE ID");
            return NGX_DECLINED;
        }

        if (start[0] == '.' && (len == 1 || (len == 2 && start[1] == '.'))) {
            ngx_str_set(&id->error, "dot segment in path of SPIFFE ID");
            return NGX_DECLINED;
        }

        if (n < NGX_EGRESS_SEGMENTS) {
            segments[n].data = start;
            segments[n].len = len;
        }

        n++;
    }

    if (n == NGX_EGRESS_SEGMENTS
        && segments[0].len == 2 && ngx_memcmp(segments[0].data, "ns", 2) == 0
        && segments[2].len == 2 && ngx_memcmp(segments[2].data, "sa", 2) == 0)
    {
        id->namespace = segments[1];
        id->service_account = segments[3];
    }

    return NGX_OK;
}


static ngx_uint_t
ngx_egress_spiffe_char(u_char ch, ngx_uint_t upper)
{
    if ((ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')) {
        return 1;
    }

    if (ch >= 'A' && ch <= 'Z') {
        return upper;
    }

    return ch == '-' || ch == '.' || ch == '_';
}
