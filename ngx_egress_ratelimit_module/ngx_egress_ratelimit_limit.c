
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


static char *ngx_egress_ratelimit_list(ngx_conf_t *cf, ngx_array_t **limits,
    ngx_egress_ratelimit_limit_t **limit);
static char *ngx_egress_ratelimit_parameter(ngx_conf_t *cf,
    ngx_egress_ratelimit_limit_t *limit, ngx_str_t *value,
    ngx_egress_ratelimit_compile_pt compile);
static ngx_int_t ngx_egress_ratelimit_set_text(ngx_conf_t *cf,
    ngx_str_t *value, size_t skip, void **slot,
    ngx_egress_ratelimit_compile_pt compile);
static ngx_int_t ngx_egress_ratelimit_set_fraction(ngx_str_t *value,
    size_t skip, ngx_uint_t *slot);
static ngx_int_t ngx_egress_ratelimit_find_bucket(ngx_cycle_t *cycle,
    void *data);


char *
ngx_egress_ratelimit_limit(ngx_conf_t *cf, ngx_array_t **limits,
    ngx_egress_ratelimit_compile_pt compile)
{
    char                          *rv;
    ngx_str_t                     *value;
    ngx_uint_t                     i;
    ngx_egress_ratelimit_limit_t  *limit;

    rv = ngx_egress_ratelimit_list(cf, limits, &limit);

    if (rv != NGX_CONF_OK || limit == NULL) {
        return rv;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {
        rv = ngx_egress_ratelimit_parameter(cf, limit, &value[i], compile);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    if (limit->name.len == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"%V\" must have \"bucket\" parameter",
                           &value[0]);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_uint_value(limit->enabled, 1000000);
    ngx_conf_init_uint_value(limit->enforced, 1000000);

    if (ngx_egress_add_check(cf, ngx_egress_ratelimit_find_bucket, limit)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* *limit is NULL for "off" */

static char *
ngx_egress_ratelimit_list(ngx_conf_t *cf, ngx_array_t **limits,
    ngx_egress_ratelimit_limit_t **limit)
{
    ngx_str_t                      *value;
    ngx_uint_t                      off;
    ngx_egress_ratelimit_limit_t  **p;

    *limit = NULL;

    value = cf->args->elts;
    off = (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0);

    if (*limits == NULL || (off && *limits != NGX_CONF_UNSET_PTR)) {
        return "is incompatible with \"egress_ratelimit off\"";
    }

    if (off) {
        *limits = NULL;
        return NGX_CONF_OK;
    }

    if (*limits == NGX_CONF_UNSET_PTR) {
        *limits = ngx_array_create(cf->pool, 2,
                                   sizeof(ngx_egress_ratelimit_limit_t *));
        if (*limits == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    p = ngx_array_push(*limits);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    *p = ngx_pcalloc(cf->pool, sizeof(ngx_egress_ratelimit_limit_t));
    if (*p == NULL) {
        return NGX_CONF_ERROR;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     limit->name = { 0, NULL }
     *     limit->bucket, key, cost = NULL
     */

    (*p)->enabled = NGX_CONF_UNSET_UINT;
    (*p)->enforced = NGX_CONF_UNSET_UINT;
    (*p)->file = cf->conf_file->file.name.data;
    (*p)->line = cf->conf_file->line;

    *limit = *p;

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_parameter(ngx_conf_t *cf,
    ngx_egress_ratelimit_limit_t *limit, ngx_str_t *value,
    ngx_egress_ratelimit_compile_pt compile)
{
    ngx_int_t  rc;

    rc = NGX_DECLINED;

    if (ngx_strncmp(value->data, "bucket=", 7) == 0 && limit->name.len == 0) {

        limit->name.data = value->data + 7;
        limit->name.len = value->len - 7;

        rc = limit->name.len ? NGX_OK : NGX_DECLINED;

    } else if (ngx_strncmp(value->data, "key=", 4) == 0) {
        rc = ngx_egress_ratelimit_set_text(cf, value, 4, &limit->key,
                                           compile);

    } else if (ngx_strncmp(value->data, "cost=", 5) == 0) {
        rc = ngx_egress_ratelimit_set_text(cf, value, 5, &limit->cost,
                                           compile);

    } else if (ngx_strncmp(value->data, "enabled=", 8) == 0) {
        rc = ngx_egress_ratelimit_set_fraction(value, 8, &limit->enabled);

    } else if (ngx_strncmp(value->data, "enforced=", 9) == 0) {
        rc = ngx_egress_ratelimit_set_fraction(value, 9, &limit->enforced);
    }

    if (rc == NGX_DECLINED) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", value);
    }

    return (rc == NGX_OK) ? NGX_CONF_OK : NGX_CONF_ERROR;
}


/* NGX_DECLINED: empty, or set before; NGX_ERROR has been logged */

static ngx_int_t
ngx_egress_ratelimit_set_text(ngx_conf_t *cf, ngx_str_t *value, size_t skip,
    void **slot, ngx_egress_ratelimit_compile_pt compile)
{
    ngx_str_t  text;

    text.data = value->data + skip;
    text.len = value->len - skip;

    if (*slot || text.len == 0) {
        return NGX_DECLINED;
    }

    return compile(cf, &text, slot);
}


static ngx_int_t
ngx_egress_ratelimit_set_fraction(ngx_str_t *value, size_t skip,
    ngx_uint_t *slot)
{
    ngx_int_t  n;

    n = ngx_egress_ratelimit_fraction(value->data + skip, value->len - skip);

    if (*slot != NGX_CONF_UNSET_UINT || n == NGX_ERROR) {
        return NGX_DECLINED;
    }

    *slot = n;

    return NGX_OK;
}


/* the denominators are those of Envoy's FractionalPercent */

ngx_int_t
ngx_egress_ratelimit_fraction(u_char *p, size_t len)
{
    size_t     skip;
    u_char    *last, *slash;
    ngx_int_t  n, of;

    last = p + len;
    skip = 0;

    slash = ngx_strlchr(p, last, '/');

    if (slash == NULL) {
        of = 100;
        slash = last;
        skip = (len && last[-1] == '%');

    } else {
        of = ngx_atoi(slash + 1, last - slash - 1);
    }

    if (of != 100 && of != 10000 && of != 1000000) {
        return NGX_ERROR;
    }

    n = ngx_atoi(p, slash - p - skip);

    if (n == NGX_ERROR || n > of) {
        return NGX_ERROR;
    }

    return n * (1000000 / of);
}


static ngx_int_t
ngx_egress_ratelimit_find_bucket(ngx_cycle_t *cycle, void *data)
{
    ngx_egress_ratelimit_limit_t *limit = data;

    uint32_t                      hash;
    ngx_uint_t                    i;
    ngx_array_t                  *children;
    ngx_egress_ratelimit_conf_t  *rcf;

    rcf = ngx_egress_get_conf(cycle, &ngx_egress_ratelimit_module);

    if (rcf) {
        hash = ngx_crc32_short(limit->name.data, limit->name.len);

        limit->bucket = (ngx_egress_ratelimit_bucket_t *)
                            ngx_str_rbtree_lookup(&rcf->names, &limit->name,
                                                  hash);
    }

    if (limit->bucket == NULL) {
        ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                      "bucket \"%V\" is not defined in %s:%ui",
                      &limit->name, limit->file, limit->line);
        return NGX_ERROR;
    }

    if (limit->key) {
        limit->bucket->keyed = 1;

        children = limit->bucket->children;

        for (i = 0; children && i < children->nelts; i++) {
            ((ngx_egress_ratelimit_bucket_t **) children->elts)[i]->keyed = 1;
        }
    }

    return NGX_OK;
}
