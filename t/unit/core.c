
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * The few functions of nginx's core that the engines need, so that unit tests
 * and benchmarks need no object of nginx.  pool->max counts bytes.
 */


#include <ngx_config.h>
#include <ngx_core.h>


typedef struct core_alloc_s  core_alloc_t;

struct core_alloc_s {
    core_alloc_t  *next;
    core_alloc_t  *prev;
    size_t         size;
    size_t         pad;
};


void *
ngx_palloc(ngx_pool_t *pool, size_t size)
{
    core_alloc_t  *a, *head;

    a = malloc(sizeof(core_alloc_t) + size);

    if (a == NULL) {
        return NULL;
    }

    head = (core_alloc_t *) pool->large;

    a->next = head;
    a->prev = NULL;
    a->size = size;

    if (head) {
        head->prev = a;
    }

    pool->large = (ngx_pool_large_t *) a;
    pool->max += size;

    return a + 1;
}


void *
ngx_pnalloc(ngx_pool_t *pool, size_t size)
{
    return ngx_palloc(pool, size);
}


void *
ngx_pcalloc(ngx_pool_t *pool, size_t size)
{
    void  *p;

    p = ngx_palloc(pool, size);

    if (p) {
        memset(p, 0, size);
    }

    return p;
}


ngx_int_t
ngx_pfree(ngx_pool_t *pool, void *p)
{
    core_alloc_t  *a;

    a = (core_alloc_t *) p - 1;

    if (a->prev) {
        a->prev->next = a->next;

    } else {
        pool->large = (ngx_pool_large_t *) a->next;
    }

    if (a->next) {
        a->next->prev = a->prev;
    }

    pool->max -= a->size;

    free(a);

    return NGX_OK;
}


ngx_pool_t *
ngx_create_pool(size_t size, ngx_log_t *log)
{
    (void) size;
    (void) log;

    return calloc(1, sizeof(ngx_pool_t));
}


void
ngx_destroy_pool(ngx_pool_t *pool)
{
    core_alloc_t  *a;

    while (pool->large) {
        a = (core_alloc_t *) pool->large;
        pool->large = (ngx_pool_large_t *) a->next;
        free(a);
    }

    free(pool);
}


void *
ngx_array_push(ngx_array_t *a)
{
    void  *p;

    if (a->nelts == a->nalloc) {

        p = ngx_palloc(a->pool, 2 * a->nalloc * a->size);

        if (p == NULL) {
            return NULL;
        }

        memcpy(p, a->elts, a->nelts * a->size);
        ngx_pfree(a->pool, a->elts);

        a->elts = p;
        a->nalloc *= 2;
    }

    return (u_char *) a->elts + a->size * a->nelts++;
}


void
ngx_strlow(u_char *dst, u_char *src, size_t n)
{
    while (n--) {
        *dst++ = ngx_tolower(*src);
        src++;
    }
}


ngx_int_t
ngx_atoi(u_char *line, size_t n)
{
    ngx_int_t  value;

    if (n == 0 || n > 9) {
        return NGX_ERROR;
    }

    for (value = 0; n--; line++) {

        if (*line < '0' || *line > '9') {
            return NGX_ERROR;
        }

        value = value * 10 + (*line - '0');
    }

    return value;
}
