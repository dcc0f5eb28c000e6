
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


static ngx_int_t ngx_egress_domains_block(ngx_pool_t *pool,
    ngx_egress_block_t *block, ngx_array_t *domains);
static ngx_int_t ngx_egress_domains_domain(ngx_pool_t *pool,
    ngx_array_t *list, ngx_egress_match_t *m, ngx_array_t *domains);
static ngx_int_t ngx_egress_domains_principal(ngx_pool_t *pool,
    ngx_array_t *list, ngx_egress_match_t *m, ngx_array_t *domains);
static ngx_uint_t ngx_egress_domains_of(ngx_egress_match_t *m,
    ngx_str_t *domain);
static ngx_uint_t ngx_egress_domains_covers(ngx_str_t *domain,
    ngx_uint_t wildcard, ngx_array_t *domains);


ngx_int_t
ngx_egress_domains_replace(ngx_pool_t *pool, ngx_egress_rule_t *rule,
    ngx_array_t *domains)
{
    ngx_uint_t           i;
    ngx_egress_block_t  *from;

    from = rule->from.elts;

    for (i = 0; i < rule->from.nelts; i++) {
        if (ngx_egress_domains_block(pool, &from[i], domains) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return ngx_egress_domains_block(pool, &rule->when, domains);
}


/*
 * A principal td/ns/a/sa/b with one of the mesh's own trust domains, or with
 * "cluster.local", means the same account in each of them.
 */

static ngx_int_t
ngx_egress_domains_block(ngx_pool_t *pool, ngx_egress_block_t *block,
    ngx_array_t *domains)
{
    ngx_int_t            rc;
    ngx_uint_t           i, k;
    ngx_array_t          list;
    ngx_egress_cond_t   *cond;
    ngx_egress_match_t  *m;

    cond = block->conds.elts;

    for (i = 0; i < block->conds.nelts; i++) {

        if (cond[i].field != NGX_EGRESS_PRINCIPAL
            && cond[i].field != NGX_EGRESS_TRUST_DOMAIN)
        {
            continue;
        }

        if (ngx_array_init(&list, pool, cond[i].values.nelts,
                           sizeof(ngx_egress_match_t))
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        m = cond[i].values.elts;

        for (k = 0; k < cond[i].values.nelts; k++) {

            rc = (cond[i].field == NGX_EGRESS_PRINCIPAL)
                 ? ngx_egress_domains_principal(pool, &list, &m[k], domains)
                 : ngx_egress_domains_domain(pool, &list, &m[k], domains);

            if (rc != NGX_OK) {
                return NGX_ERROR;
            }
        }

        cond[i].values = list;
    }

    return NGX_OK;
}


/* one of the mesh's own trust domains stands for all of them */

static ngx_int_t
ngx_egress_domains_domain(ngx_pool_t *pool, ngx_array_t *list,
    ngx_egress_match_t *m, ngx_array_t *domains)
{
    ngx_str_t           *name;
    ngx_uint_t           i;
    ngx_egress_match_t  *match;

    match = ngx_array_push(list);
    if (match == NULL) {
        return NGX_ERROR;
    }

    *match = *m;

    if (ngx_strlchr(m->value.data, m->value.data + m->value.len, '*')
        || !ngx_egress_domains_covers(&m->value, 0, domains))
    {
        return NGX_OK;
    }

    name = domains->elts;

    for (i = 0; i < domains->nelts; i++) {

        match = ngx_array_push(list);
        if (match == NULL) {
            return NGX_ERROR;
        }

        *match = *m;
        match->value = name[i];
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_domains_principal(ngx_pool_t *pool, ngx_array_t *list,
    ngx_egress_match_t *m, ngx_array_t *domains)
{
    u_char              *p;
    ngx_str_t            domain, *name;
    ngx_uint_t           i, wildcard;
    ngx_egress_match_t  *match;

    wildcard = (m->kind == NGX_EGRESS_MATCH_SUFFIX);

    if (!ngx_egress_domains_of(m, &domain)
        || !ngx_egress_domains_covers(&domain, wildcard, domains))
    {
        match = ngx_array_push(list);
        if (match == NULL) {
            return NGX_ERROR;
        }

        *match = *m;

        return NGX_OK;
    }

    if (wildcard) {
        match = ngx_array_push(list);
        if (match == NULL) {
            return NGX_ERROR;
        }

        *match = *m;
    }

    name = domains->elts;

    for (i = 0; i < domains->nelts; i++) {

        match = ngx_array_push(list);
        if (match == NULL) {
            return NGX_ERROR;
        }

        match->kind = wildcard ? NGX_EGRESS_MATCH_EXACT : m->kind;
        match->value.len = name[i].len + m->value.len - domain.len;

        p = ngx_pnalloc(pool, match->value.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        match->value.data = p;

        p = ngx_cpymem(p, name[i].data, name[i].len);
        ngx_memcpy(p, m->value.data + domain.len, m->value.len - domain.len);
    }

    return NGX_OK;
}


/*
 * The trust domain of a pattern of the form td/ns/a/sa/b; td may be a suffix
 * and b a prefix.  0: it has another form and stays as it is.
 */

static ngx_uint_t
ngx_egress_domains_of(ngx_egress_match_t *m, ngx_str_t *domain)
{
    u_char      *p, *start, *last;
    ngx_uint_t   n;
    ngx_str_t    segments[5];

    p = m->value.data;
    last = p + m->value.len;
    n = 0;

    for ( ;; ) {
        start = p;
        p = ngx_strlchr(p, last, '/');

        if (n == 5) {
            return 0;
        }

        segments[n].data = start;
        segments[n].len = (p ? p : last) - start;
        n++;

        if (p == NULL) {
            break;
        }

        p++;
    }

    if (n != 5
        || segments[1].len != 2 || ngx_memcmp(segments[1].data, "ns", 2) != 0
        || segments[3].len != 2 || ngx_memcmp(segments[3].data, "sa", 2) != 0
        || segments[0].len == 0)
    {
        return 0;
    }

    *domain = segments[0];

    return 1;
}


static ngx_uint_t
ngx_egress_domains_covers(ngx_str_t *domain, ngx_uint_t wildcard,
    ngx_array_t *domains)
{
    ngx_str_t           *name;
    ngx_uint_t           i;
    ngx_egress_match_t   m;

    static ngx_str_t  local = ngx_string("cluster.local");

    m.kind = wildcard ? NGX_EGRESS_MATCH_SUFFIX : NGX_EGRESS_MATCH_EXACT;
    m.value = *domain;

    if (!wildcard && ngx_egress_match(&m, &local)) {
        return 1;
    }

    name = domains->elts;

    for (i = 0; i < domains->nelts; i++) {
        if (ngx_egress_match(&m, &name[i])) {
            return 1;
        }
    }

    return 0;
}
