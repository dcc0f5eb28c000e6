
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>
#include <ngx_egress_ratelimit_table.h>

#include <openssl/rand.h>


#define NGX_EGRESS_RATELIMIT_LAYOUT   4    /* bump on any shared change */

/* the part of the zone for keys if its size isn't configured */
#define NGX_EGRESS_RATELIMIT_PART     4


static ngx_egress_ratelimit_table_t *ngx_egress_ratelimit_create_table(
    ngx_slab_pool_t *shpool, ngx_egress_ratelimit_conf_t *rcf,
    ngx_uint_t least);
static ngx_int_t ngx_egress_ratelimit_add_gauges(
    ngx_egress_ratelimit_table_t *table, ngx_slab_pool_t *shpool,
    ngx_egress_ratelimit_bucket_t *bucket);
static void ngx_egress_ratelimit_share_out(ngx_egress_ratelimit_conf_t *rcf,
    ngx_uint_t keys, ngx_uint_t keyed);
static ngx_egress_ratelimit_row_t *ngx_egress_ratelimit_add_row(
    ngx_egress_ratelimit_table_t *table, ngx_slab_pool_t *shpool,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_uint_t *made);
static ngx_egress_ratelimit_row_t *ngx_egress_ratelimit_find_row(
    ngx_egress_ratelimit_table_t *table, ngx_str_t *name, ngx_uint_t hash);
static void ngx_egress_ratelimit_insert_row(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static ngx_int_t ngx_egress_ratelimit_cmp_row(ngx_egress_ratelimit_row_t *row,
    ngx_str_t *name);


ngx_egress_ratelimit_table_t *
ngx_egress_ratelimit_get_table(void)
{
    return ngx_egress_area(NGX_EGRESS_AREA_RATELIMIT, NULL);
}


ngx_int_t
ngx_egress_ratelimit_init_area(ngx_slab_pool_t *shpool, void **area,
    void *data, ngx_log_t *log)
{
    ngx_egress_ratelimit_conf_t *rcf = data;

    ngx_uint_t                       i, keyed, keys, made;
    ngx_egress_ratelimit_table_t    *table;
    ngx_egress_ratelimit_bucket_t  **bucket;

    bucket = rcf->buckets.elts;
    keyed = 0;

    for (i = 0; i < rcf->buckets.nelts; i++) {
        keyed += bucket[i]->keyed;
    }

    if (*area == NULL) {
        *area = ngx_egress_ratelimit_create_table(shpool, rcf, keyed);
    }

    table = *area;

    if (table == NULL) {
        return NGX_ERROR;
    }

    if (table->layout != NGX_EGRESS_RATELIMIT_LAYOUT) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "buckets have layout %ui while previously they had %ui",
                      (ngx_uint_t) NGX_EGRESS_RATELIMIT_LAYOUT, table->layout);
        return NGX_ERROR;
    }

    keys = table->keys;

    if (rcf->keys > keys) {
        ngx_log_error(NGX_LOG_WARN, log, 0,
                      "\"keys=%ui\" of \"zone\": there is room for %ui "
                      "until nginx is restarted", rcf->keys, keys);

    } else if (rcf->keys) {
        keys = rcf->keys;
    }

    if (keys < keyed) {
        ngx_log_error(NGX_LOG_EMERG, log, 0,
                      "\"keys=%ui\" of \"zone\" is too small "
                      "for %ui buckets with keys", keys, keyed);
        return NGX_ERROR;
    }

    ngx_egress_ratelimit_share_out(rcf, keys, keyed);

    for (i = 0; i < rcf->buckets.nelts; i++) {

        bucket[i]->row = ngx_egress_ratelimit_add_row(table, shpool,
                                                      bucket[i], &made);
        if (bucket[i]->row == NULL) {
            return NGX_ERROR;
        }

        if (bucket[i]->connections
            && ngx_egress_ratelimit_add_gauges(table, shpool, bucket[i])
               != NGX_OK)
        {
            return NGX_ERROR;
        }

        if (made && bucket[i]->state.len) {
            ngx_egress_ratelimit_load_state(table, bucket[i], log);
        }
    }

    return NGX_OK;
}


static ngx_egress_ratelimit_table_t *
ngx_egress_ratelimit_create_table(ngx_slab_pool_t *shpool,
    ngx_egress_ratelimit_conf_t *rcf, ngx_uint_t least)
{
    size_t                           size;
    uint64_t                         seed[2];
    ngx_uint_t                       i, keys;
    ngx_egress_ratelimit_table_t    *table;
    ngx_egress_ratelimit_bucket_t  **bucket;

    keys = rcf->keys;
    bucket = rcf->buckets.elts;

    if (keys == 0) {

        /* what a key takes, with heads, whose number is rounded, and gauges */

        size = ngx_egress_ratelimit_table_size(4096, 0) / 4096 + 8;

        for (i = 0; i < rcf->buckets.nelts; i++) {
            if (bucket[i]->connections && bucket[i]->keyed) {
                size += rcf->processes * sizeof(uint32_t) * 9 / 8;
                break;
            }
        }

        keys = (shpool->end - shpool->start) / NGX_EGRESS_RATELIMIT_PART
               / size;
        keys = ngx_max(keys, ngx_max(least, 1));
    }

    for ( ;; ) {
        size = ngx_egress_ratelimit_table_size(keys, rcf->processes);
        table = ngx_slab_calloc(shpool, size);

        if (table) {
            break;
        }

        /* a reload finds the zone in use: what was not asked for may be less */

        if (rcf->keys || keys / 2 < ngx_max(least, 1)) {
            return NULL;
        }

        keys /= 2;
    }

    if (RAND_bytes((u_char *) seed, sizeof(seed)) != 1) {
        return NULL;
    }

    if (ngx_egress_ratelimit_table_init(table, keys, rcf->processes, seed)
        != NGX_OK)
    {
        return NULL;
    }

    table->layout = NGX_EGRESS_RATELIMIT_LAYOUT;
    ngx_rbtree_init(&table->names, &table->sentinel, NULL);

    return table;
}


/* none can take the room of another, and those without keys need none */

static void
ngx_egress_ratelimit_share_out(ngx_egress_ratelimit_conf_t *rcf,
    ngx_uint_t keys, ngx_uint_t keyed)
{
    ngx_uint_t                       i;
    ngx_egress_ratelimit_bucket_t  **bucket;

    bucket = rcf->buckets.elts;

    for (i = 0; i < rcf->buckets.nelts; i++) {
        bucket[i]->max = bucket[i]->keyed ? keys / keyed : 0;
    }
}


/* old workers are serving meanwhile: no more than a row is added in front */

static ngx_egress_ratelimit_row_t *
ngx_egress_ratelimit_add_row(ngx_egress_ratelimit_table_t *table,
    ngx_slab_pool_t *shpool, ngx_egress_ratelimit_bucket_t *bucket,
    ngx_uint_t *made)
{
    ngx_str_t                    *name;
    ngx_uint_t                    hash;
    ngx_egress_ratelimit_row_t   *row;
    ngx_egress_ratelimit_clock_t  clock;

    name = &bucket->sn.str;
    hash = bucket->sn.node.key;

    *made = 0;

    row = ngx_egress_ratelimit_find_row(table, name, hash);
    if (row) {
        return row;
    }

    row = ngx_slab_calloc(shpool,
                          ngx_egress_ratelimit_row_size(table, name->len));
    if (row == NULL) {
        return NULL;
    }

    ngx_egress_ratelimit_clock(&clock);
    ngx_egress_ratelimit_row_init(table, row, name, &bucket->rate,
                                  clock.ms);

    /* the module may have been loaded at another address since */

    table->names.insert = ngx_egress_ratelimit_insert_row;

    row->node.key = hash;
    ngx_rbtree_insert(&table->names, &row->node);

    *made = 1;

    return row;
}


/* workers of older configurations, which don't count, use none of them */

static ngx_int_t
ngx_egress_ratelimit_add_gauges(ngx_egress_ratelimit_table_t *table,
    ngx_slab_pool_t *shpool, ngx_egress_ratelimit_bucket_t *bucket)
{
    ngx_egress_ratelimit_row_t  *row;

    row = bucket->row;

    if (bucket->keyed && table->gauges == NULL) {
        table->gauges = ngx_slab_calloc(shpool,
                                     ngx_egress_ratelimit_gauges_size(table));
        if (table->gauges == NULL) {
            return NGX_ERROR;
        }
    }

    if (row->totals == NULL) {
        row->gauges = ngx_slab_calloc(shpool, 2 * table->processes_n
                                              * sizeof(uint32_t));
        if (row->gauges == NULL) {
            return NGX_ERROR;
        }

        ngx_memory_barrier();
        row->totals = row->gauges + table->processes_n;
    }

    return NGX_OK;
}


static ngx_egress_ratelimit_row_t *
ngx_egress_ratelimit_find_row(ngx_egress_ratelimit_table_t *table,
    ngx_str_t *name, ngx_uint_t hash)
{
    ngx_int_t                    rc;
    ngx_rbtree_node_t           *node;
    ngx_egress_ratelimit_row_t  *row;

    node = table->names.root;

    while (node != &table->sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        row = (ngx_egress_ratelimit_row_t *) node;
        rc = ngx_egress_ratelimit_cmp_row(row, name);

        if (rc == 0) {
            return row;
        }

        node = (rc > 0) ? node->left : node->right;
    }

    return NULL;
}


static void
ngx_egress_ratelimit_insert_row(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel)
{
    ngx_str_t           *name;
    ngx_rbtree_node_t  **p;

    name = &((ngx_egress_ratelimit_row_t *) node)->name;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            p = (ngx_egress_ratelimit_cmp_row(
                                  (ngx_egress_ratelimit_row_t *) temp, name)
                 > 0)
                ? &temp->left : &temp->right;
        }

        if (*p == sentinel) {
            break;
        }

        temp = *p;
    }

    *p = node;
    node->parent = temp;
    node->left = sentinel;
    node->right = sentinel;
    ngx_rbt_red(node);
}


static ngx_int_t
ngx_egress_ratelimit_cmp_row(ngx_egress_ratelimit_row_t *row, ngx_str_t *name)
{
    if (row->name.len != name->len) {
        return row->name.len > name->len ? 1 : -1;
    }

    return ngx_memcmp(row->name.data, name->data, name->len);
}
