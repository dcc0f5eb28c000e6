
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


static char *ngx_egress_ratelimit_entry(ngx_conf_t *cf,
    ngx_egress_ratelimit_entry_t *entry, ngx_str_t *value);
static ngx_str_t *ngx_egress_ratelimit_descriptor_name(ngx_pool_t *pool,
    ngx_egress_ratelimit_bucket_t *parent, ngx_array_t *args);
static ngx_egress_ratelimit_shape_t *ngx_egress_ratelimit_get_shape(
    ngx_conf_t *cf, ngx_egress_ratelimit_bucket_t *parent,
    ngx_array_t *entries);
static ngx_uint_t ngx_egress_ratelimit_is_shape(
    ngx_egress_ratelimit_shape_t *shape, ngx_array_t *entries,
    ngx_uint_t any);
static char *ngx_egress_ratelimit_action(ngx_conf_t *cf,
    ngx_egress_ratelimit_action_t *action, ngx_str_t *value,
    ngx_egress_ratelimit_compile_pt compile);
static ngx_int_t ngx_egress_ratelimit_evaluate(ngx_egress_flow_t *flow,
    ngx_array_t *actions, ngx_egress_ratelimit_value_pt value,
    ngx_array_t *entries);
static ngx_int_t ngx_egress_ratelimit_join(ngx_pool_t *pool,
    ngx_egress_ratelimit_shape_t *shape, ngx_array_t *entries, ngx_uint_t any,
    ngx_str_t *first, ngx_str_t *text);


/* "descriptor key[=value] ... { ... }" of a bucket */

char *
ngx_egress_ratelimit_descriptor(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *parent, ngx_array_t *args,
    ngx_str_t **name, ngx_egress_ratelimit_match_t **match)
{
    char                          *rv;
    ngx_str_t                     *value, text, none;
    ngx_uint_t                     i;
    ngx_array_t                    entries;
    ngx_egress_ratelimit_entry_t  *entry;
    ngx_egress_ratelimit_shape_t  *shape;

    value = args->elts;

    if (ngx_array_init(&entries, cf->pool, args->nelts,
                       sizeof(ngx_egress_ratelimit_entry_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < args->nelts; i++) {

        entry = ngx_array_push(&entries);

        rv = ngx_egress_ratelimit_entry(cf, entry, &value[i]);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    *name = ngx_egress_ratelimit_descriptor_name(cf->pool, parent, args);
    shape = ngx_egress_ratelimit_get_shape(cf, parent, &entries);
    *match = ngx_pcalloc(cf->pool, sizeof(ngx_egress_ratelimit_match_t));

    ngx_str_null(&none);

    if (*name == NULL || shape == NULL || *match == NULL
        || ngx_egress_ratelimit_join(cf->pool, shape, &entries, 0, &none,
                                     &text)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    (*match)->any = shape->any;
    (*match)->sn.str = text;
    (*match)->sn.node.key = ngx_crc32_short(text.data, text.len);

    /* the same one twice has the same name as well, which is refused */

    ngx_rbtree_insert(&shape->tree, &(*match)->sn.node);

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_entry(ngx_conf_t *cf,
    ngx_egress_ratelimit_entry_t *entry, ngx_str_t *value)
{
    u_char  *p, *last;

    last = value->data + value->len;
    p = ngx_strlchr(value->data, last, '=');

    entry->key.data = value->data;
    entry->key.len = (p ? p : last) - value->data;
    entry->value.data = p ? p + 1 : last;
    entry->value.len = last - entry->value.data;
    entry->any = (p == NULL);

    if (entry->key.len == 0 || (p && entry->value.len == 0)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", value);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* "parent/key=value,key", what can't stand in a bucket's name as %XX */

static ngx_str_t *
ngx_egress_ratelimit_descriptor_name(ngx_pool_t *pool,
    ngx_egress_ratelimit_bucket_t *parent, ngx_array_t *args)
{
    size_t      len, k;
    u_char      ch, *p;
    ngx_str_t  *name, *value;
    ngx_uint_t  i;

    value = args->elts;
    len = parent->sn.str.len;

    for (i = 1; i < args->nelts; i++) {
        len += 3 * value[i].len + 1;
    }

    name = ngx_palloc(pool, sizeof(ngx_str_t));
    if (name == NULL) {
        return NULL;
    }

    name->data = ngx_pnalloc(pool, len);
    if (name->data == NULL) {
        return NULL;
    }

    p = ngx_cpymem(name->data, parent->sn.str.data, parent->sn.str.len);

    for (i = 1; i < args->nelts; i++) {
        *p++ = (i == 1) ? '/' : ',';

        for (k = 0; k < value[i].len; k++) {
            ch = value[i].data[k];

            if (ch <= 0x20 || ch >= 0x7f || ngx_strchr("\"\\%,", ch)) {
                p = ngx_sprintf(p, "%%%02Xd", (int) ch);

            } else {
                *p++ = ch;
            }
        }
    }

    name->len = p - name->data;

    return name;
}


/*
 * Descriptors with the same keys, and a value or any for the same ones, are
 * found by one lookup.  Those with fewer of any come first.
 */

static ngx_egress_ratelimit_shape_t *
ngx_egress_ratelimit_get_shape(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *parent, ngx_array_t *entries)
{
    ngx_uint_t                     any, i;
    ngx_egress_ratelimit_entry_t  *entry;
    ngx_egress_ratelimit_shape_t  *shape, **p;

    if (parent->shapes == NULL) {
        parent->shapes = ngx_array_create(cf->pool, 2,
                                   sizeof(ngx_egress_ratelimit_shape_t *));
        if (parent->shapes == NULL) {
            return NULL;
        }
    }

    entry = entries->elts;

    for (i = 0, any = 0; i < entries->nelts; i++) {
        any += entry[i].any;
    }

    p = parent->shapes->elts;

    for (i = 0; i < parent->shapes->nelts; i++) {
        if (ngx_egress_ratelimit_is_shape(p[i], entries, 1)) {
            return p[i];
        }
    }

    shape = ngx_palloc(cf->pool, sizeof(ngx_egress_ratelimit_shape_t));
    if (shape == NULL) {
        return NULL;
    }

    shape->any = any;
    shape->entries = *entries;
    ngx_rbtree_init(&shape->tree, &shape->sentinel,
                    ngx_str_rbtree_insert_value);

    if (ngx_array_push(parent->shapes) == NULL) {
        return NULL;
    }

    p = parent->shapes->elts;

    for (i = parent->shapes->nelts - 1; i > 0 && p[i - 1]->any > any; i--) {
        p[i] = p[i - 1];
    }

    p[i] = shape;

    return shape;
}


static ngx_uint_t
ngx_egress_ratelimit_is_shape(ngx_egress_ratelimit_shape_t *shape,
    ngx_array_t *entries, ngx_uint_t any)
{
    ngx_uint_t                     i;
    ngx_egress_ratelimit_entry_t  *own, *entry;

    if (shape->entries.nelts != entries->nelts) {
        return 0;
    }

    own = shape->entries.elts;
    entry = entries->elts;

    for (i = 0; i < entries->nelts; i++) {

        if (own[i].key.len != entry[i].key.len
            || ngx_memcmp(own[i].key.data, entry[i].key.data, own[i].key.len)
               != 0
            || (any && own[i].any != entry[i].any))
        {
            return 0;
        }
    }

    return 1;
}


/* "egress_ratelimit_descriptor key[?]=value ..." */

char *
ngx_egress_ratelimit_actions(ngx_conf_t *cf, ngx_array_t **descriptors,
    ngx_egress_ratelimit_compile_pt compile)
{
    char                           *rv;
    ngx_str_t                      *value;
    ngx_uint_t                      i, off;
    ngx_array_t                   **p;
    ngx_egress_ratelimit_action_t  *action;

    value = cf->args->elts;
    off = (cf->args->nelts == 2 && ngx_strcmp(value[1].data, "off") == 0);

    if (*descriptors == NULL || (off && *descriptors != NGX_CONF_UNSET_PTR)) {
        return "is incompatible with \"egress_ratelimit_descriptor off\"";
    }

    if (off) {
        *descriptors = NULL;
        return NGX_CONF_OK;
    }

    if (*descriptors == NGX_CONF_UNSET_PTR) {
        *descriptors = ngx_array_create(cf->pool, 2, sizeof(ngx_array_t *));
        if (*descriptors == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    p = ngx_array_push(*descriptors);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    *p = ngx_array_create(cf->pool, cf->args->nelts - 1,
                          sizeof(ngx_egress_ratelimit_action_t));
    if (*p == NULL) {
        return NGX_CONF_ERROR;
    }

    for (i = 1; i < cf->args->nelts; i++) {

        action = ngx_array_push(*p);

        rv = ngx_egress_ratelimit_action(cf, action, &value[i], compile);
        if (rv != NGX_CONF_OK) {
            return rv;
        }
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_action(ngx_conf_t *cf,
    ngx_egress_ratelimit_action_t *action, ngx_str_t *value,
    ngx_egress_ratelimit_compile_pt compile)
{
    u_char    *p, *last;
    ngx_str_t  text;

    last = value->data + value->len;
    p = ngx_strlchr(value->data, last, '=');

    if (p == NULL || p == value->data || p + 1 == last) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid parameter \"%V\"", value);
        return NGX_CONF_ERROR;
    }

    action->key.data = value->data;
    action->key.len = p - value->data;
    action->optional = 0;
    action->value = NULL;

    if (action->key.len > 1 && p[-1] == '?') {
        action->key.len--;
        action->optional = 1;
    }

    text.data = p + 1;
    text.len = last - text.data;

    return (compile(cf, &text, &action->value) == NGX_OK) ? NGX_CONF_OK
                                                          : NGX_CONF_ERROR;
}


ngx_int_t
ngx_egress_ratelimit_find_match(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_bucket_t *parent, ngx_array_t *actions,
    ngx_egress_ratelimit_value_pt value, ngx_str_t *first,
    ngx_egress_ratelimit_match_t **match, ngx_str_t *key)
{
    uint32_t                        hash;
    ngx_int_t                       rc;
    ngx_str_t                       text, none;
    ngx_uint_t                      i;
    ngx_array_t                     entries;
    ngx_egress_ratelimit_shape_t  **shape;

    *match = NULL;

    if (ngx_array_init(&entries, flow->pool, actions->nelts,
                       sizeof(ngx_egress_ratelimit_entry_t))
        != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_egress_ratelimit_evaluate(flow, actions, value, &entries);

    if (rc != NGX_OK) {
        return (rc == NGX_DECLINED) ? NGX_OK : rc;
    }

    ngx_str_null(&none);
    shape = parent->shapes->elts;

    for (i = 0; i < parent->shapes->nelts; i++) {

        if (!ngx_egress_ratelimit_is_shape(shape[i], &entries, 0)) {
            continue;
        }

        if (ngx_egress_ratelimit_join(flow->pool, shape[i], &entries, 0,
                                      &none, &text)
            != NGX_OK)
        {
            return NGX_ERROR;
        }

        hash = ngx_crc32_short(text.data, text.len);

        *match = (ngx_egress_ratelimit_match_t *)
                     ngx_str_rbtree_lookup(&shape[i]->tree, &text, hash);

        if (*match) {
            return ngx_egress_ratelimit_join(flow->pool, shape[i], &entries,
                                             1, first, key);
        }
    }

    return NGX_OK;
}


/* NGX_DECLINED: what has no value makes no descriptor */

static ngx_int_t
ngx_egress_ratelimit_evaluate(ngx_egress_flow_t *flow, ngx_array_t *actions,
    ngx_egress_ratelimit_value_pt value, ngx_array_t *entries)
{
    ngx_str_t                       text;
    ngx_uint_t                      i;
    ngx_egress_ratelimit_entry_t   *entry;
    ngx_egress_ratelimit_action_t  *action;

    action = actions->elts;

    for (i = 0; i < actions->nelts; i++) {

        if (value(flow, action[i].value, &text) != NGX_OK) {
            return NGX_ERROR;
        }

        if (text.len == 0) {

            if (action[i].optional) {
                continue;
            }

            return NGX_DECLINED;
        }

        entry = ngx_array_push(entries);

        entry->key = action[i].key;
        entry->value = text;
        entry->any = 0;
    }

    return NGX_OK;
}


/*
 * Joins the values of the entries for which the shape has a value (any is 0)
 * or any: one by itself, several each with its length, so that no choice of
 * values by a client looks like others.  first, if it has data, precedes.
 */

static ngx_int_t
ngx_egress_ratelimit_join(ngx_pool_t *pool,
    ngx_egress_ratelimit_shape_t *shape, ngx_array_t *entries, ngx_uint_t any,
    ngx_str_t *first, ngx_str_t *text)
{
    size_t                         len;
    u_char                        *p;
    ngx_uint_t                     i, n;
    ngx_egress_ratelimit_entry_t  *own, *entry;

    own = shape->entries.elts;
    entry = entries->elts;

    n = (first->data != NULL);
    len = first->len + NGX_SIZE_T_LEN + 1;
    *text = *first;

    for (i = 0; i < entries->nelts; i++) {
        if (own[i].any == any) {
            n++;
            len += entry[i].value.len + NGX_SIZE_T_LEN + 1;
            *text = (n == 1) ? entry[i].value : *text;
        }
    }

    if (n <= 1) {
        return NGX_OK;
    }

    p = ngx_pnalloc(pool, len);
    if (p == NULL) {
        return NGX_ERROR;
    }

    text->data = p;

    if (first->data) {
        p = ngx_sprintf(p, "%uz:%V", first->len, first);
    }

    for (i = 0; i < entries->nelts; i++) {
        if (own[i].any == any) {
            p = ngx_sprintf(p, "%uz:%V", entry[i].value.len, &entry[i].value);
        }
    }

    text->len = p - text->data;

    return NGX_OK;
}
