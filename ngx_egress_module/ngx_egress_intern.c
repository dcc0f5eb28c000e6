
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>


/*
 * What many services say alike is kept once.  The table is of malloc(), and
 * gone when the configuration has been read.
 */


struct ngx_egress_interned_s {
    void                     *data;        /* NULL: the slot is free */
    uint32_t                  hash;
    unsigned                  size:31;
    unsigned                  text:1;      /* it need not be aligned */
};


static ngx_egress_interned_t *ngx_egress_intern_find(ngx_conf_t *cf,
    ngx_egress_intern_t *in, ngx_egress_interned_t *key);
static ngx_int_t ngx_egress_intern_grow(ngx_conf_t *cf,
    ngx_egress_intern_t *in);
static void ngx_egress_intern_cleanup(void *data);


void *
ngx_egress_intern(ngx_conf_t *cf, ngx_egress_intern_t *in, void *data,
    size_t size)
{
    ngx_egress_interned_t   key, *slot;

    key.data = data;
    key.hash = ngx_murmur_hash2(data, size);
    key.size = size;
    key.text = 0;

    slot = ngx_egress_intern_find(cf, in, &key);
    if (slot == NULL) {
        return NULL;
    }

    if (slot->data == NULL) {
        key.data = ngx_palloc(cf->pool, size);
        if (key.data == NULL) {
            return NULL;
        }

        ngx_memcpy(key.data, data, size);

        *slot = key;
        in->n++;
    }

    return slot->data;
}


ngx_int_t
ngx_egress_intern_str(ngx_conf_t *cf, ngx_egress_intern_t *in, ngx_str_t *str,
    ngx_uint_t nul)
{
    ngx_egress_interned_t   key, *slot;

    if (str->data == NULL) {
        return NGX_OK;
    }

    key.data = str->data;
    key.hash = ngx_murmur_hash2(str->data, str->len + nul);
    key.size = str->len + nul;
    key.text = 1;

    slot = ngx_egress_intern_find(cf, in, &key);
    if (slot == NULL) {
        return NGX_ERROR;
    }

    if (slot->data == NULL) {
        *slot = key;
        in->n++;
    }

    str->data = slot->data;

    return NGX_OK;
}


ngx_array_t *
ngx_egress_intern_array(ngx_conf_t *cf, ngx_egress_intern_t *in,
    ngx_array_t *array)
{
    ngx_array_t  whole;

    whole = *array;
    whole.nalloc = whole.nelts;

    whole.elts = ngx_egress_intern(cf, in, array->elts,
                                   array->nelts * array->size);
    if (whole.elts == NULL) {
        return NULL;
    }

    return ngx_egress_intern(cf, in, &whole, sizeof(ngx_array_t));
}


void
ngx_egress_intern_free(ngx_egress_intern_t *in)
{
    if (in->slots) {
        ngx_free(in->slots);
        in->slots = NULL;
    }
}


/* the slot that has it, or the free one where it belongs */

static ngx_egress_interned_t *
ngx_egress_intern_find(ngx_conf_t *cf, ngx_egress_intern_t *in,
    ngx_egress_interned_t *key)
{
    ngx_uint_t              i;
    ngx_egress_interned_t  *slot;

    if ((in->slots == NULL || in->n >= in->mask / 2)
        && ngx_egress_intern_grow(cf, in) != NGX_OK)
    {
        return NULL;
    }

    for (i = key->hash & in->mask; /* void */ ; i = (i + 1) & in->mask) {

        slot = &in->slots[i];

        if (slot->data == NULL
            || (slot->hash == key->hash && slot->size == key->size
                && slot->text == key->text
                && ngx_memcmp(slot->data, key->data, key->size) == 0))
        {
            return slot;
        }
    }
}


static ngx_int_t
ngx_egress_intern_grow(ngx_conf_t *cf, ngx_egress_intern_t *in)
{
    ngx_uint_t              i, n, mask;
    ngx_pool_cleanup_t     *cln;
    ngx_egress_interned_t  *slots;

    mask = in->slots ? 2 * in->mask + 1 : 63;

    if (in->slots == NULL) {

        cln = ngx_pool_cleanup_add(cf->pool, 0);
        if (cln == NULL) {
            return NGX_ERROR;
        }

        cln->handler = ngx_egress_intern_cleanup;
        cln->data = in;
    }

    slots = ngx_calloc((mask + 1) * sizeof(ngx_egress_interned_t), cf->log);
    if (slots == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; in->slots && i <= in->mask; i++) {

        if (in->slots[i].data == NULL) {
            continue;
        }

        for (n = in->slots[i].hash & mask; slots[n].data; n = (n + 1) & mask)
        {
            /* void */
        }

        slots[n] = in->slots[i];
    }

    ngx_egress_intern_free(in);

    in->slots = slots;
    in->mask = mask;

    return NGX_OK;
}


static void
ngx_egress_intern_cleanup(void *data)
{
    ngx_egress_intern_free(data);
}
