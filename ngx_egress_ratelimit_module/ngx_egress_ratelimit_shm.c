
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


#define NGX_EGRESS_RATELIMIT_LAYOUT   1    /* bump on any shared change */

/* nodes looked at for one that may go, and rows of others */

#define NGX_EGRESS_RATELIMIT_TRIES    8


/*
 * All of it is changed with the zone's mutex held only.  What one version of
 * the module leaves is found by another one at another address: functions of
 * the trees are set before each use.
 */

struct ngx_egress_row_s {
    ngx_rbtree_node_t         node;        /* key: hash of the name */
    ngx_queue_t               queue;       /* of the rows */
    ngx_queue_t              *rows;

    ngx_rbtree_t              keys;        /* ngx_egress_node_t */
    ngx_rbtree_node_t         sentinel;
    ngx_queue_t               lru;         /* ngx_egress_node_t */
    ngx_uint_t                n;

    ngx_egress_rate_t         rate;        /* as last used */
    ngx_msec_t                logged;

    size_t                    len;
    u_char                    name[1];
};


/* stands in an ngx_rbtree_node_t from its color on: 128 bytes in all */

typedef struct {
    u_char                    color;
    u_char                    len;
    u_char                    digest;
    u_char                    data[NGX_EGRESS_RATELIMIT_KEY];
    ngx_queue_t               queue;
    ngx_egress_token_t        token;
} ngx_egress_node_t;


typedef struct {
    ngx_uint_t                layout;
    ngx_rbtree_t              names;       /* ngx_egress_row_t */
    ngx_rbtree_node_t         sentinel;
    ngx_queue_t               rows;
} ngx_egress_ratelimit_shctx_t;


static ngx_egress_ratelimit_shctx_t *ngx_egress_ratelimit_create_shctx(
    ngx_slab_pool_t *shpool);
static ngx_egress_row_t *ngx_egress_ratelimit_add_row(
    ngx_egress_ratelimit_shctx_t *sh, ngx_slab_pool_t *shpool,
    ngx_egress_bucket_t *bucket);
static ngx_egress_row_t *ngx_egress_ratelimit_find_row(
    ngx_egress_ratelimit_shctx_t *sh, ngx_str_t *name, ngx_uint_t hash);
static void ngx_egress_ratelimit_insert_row(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static ngx_int_t ngx_egress_ratelimit_cmp_row(ngx_egress_row_t *row,
    u_char *name, size_t len);

static void ngx_egress_ratelimit_charge(ngx_egress_charge_t *charge,
    ngx_slab_pool_t *shpool, ngx_msec_t now);
static ngx_egress_node_t *ngx_egress_ratelimit_find(ngx_egress_row_t *row,
    ngx_egress_key_t *key);
static ngx_egress_node_t *ngx_egress_ratelimit_create(
    ngx_egress_charge_t *charge, ngx_slab_pool_t *shpool, ngx_msec_t now);
static ngx_rbtree_node_t *ngx_egress_ratelimit_alloc(ngx_egress_row_t *row,
    ngx_slab_pool_t *shpool, ngx_msec_t now);
static ngx_uint_t ngx_egress_ratelimit_expire(ngx_egress_row_t *row,
    ngx_slab_pool_t *shpool, ngx_msec_t now, ngx_uint_t tries);
static void ngx_egress_ratelimit_insert(ngx_rbtree_node_t *temp,
    ngx_rbtree_node_t *node, ngx_rbtree_node_t *sentinel);
static ngx_int_t ngx_egress_ratelimit_cmp(ngx_egress_node_t *node,
    u_char len, u_char digest, u_char *data);


#define ngx_egress_ratelimit_node(rbn)                                        \
    ((ngx_egress_node_t *) &(rbn)->color)

#define ngx_egress_ratelimit_rbnode(node)                                     \
    ((ngx_rbtree_node_t *)                                                    \
        ((u_char *) (node) - offsetof(ngx_rbtree_node_t, color)))


ngx_int_t
ngx_egress_ratelimit_init_area(ngx_slab_pool_t *shpool, void **area,
    void *data, ngx_log_t *log)
{
    ngx_egress_ratelimit_conf_t *rcf = data;

    ngx_int_t                      rc;
    ngx_uint_t                     i;
    ngx_egress_bucket_t          **bucket;
    ngx_egress_ratelimit_shctx_t  *sh;

    rc = NGX_OK;

    ngx_shmtx_lock(&shpool->mutex);

    if (*area == NULL) {
        *area = ngx_egress_ratelimit_create_shctx(shpool);
    }

    sh = *area;

    if (sh == NULL || sh->layout != NGX_EGRESS_RATELIMIT_LAYOUT) {
        rc = NGX_ERROR;
    }

    bucket = rcf->buckets.elts;

    for (i = 0; rc == NGX_OK && i < rcf->buckets.nelts; i++) {
        bucket[i]->row = ngx_egress_ratelimit_add_row(sh, shpool, bucket[i]);

        if (bucket[i]->row == NULL) {
            rc = NGX_ERROR;
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return rc;
}


static ngx_egress_ratelimit_shctx_t *
ngx_egress_ratelimit_create_shctx(ngx_slab_pool_t *shpool)
{
    ngx_egress_ratelimit_shctx_t  *sh;

    sh = ngx_slab_calloc_locked(shpool, sizeof(ngx_egress_ratelimit_shctx_t));
    if (sh == NULL) {
        return NULL;
    }

    sh->layout = NGX_EGRESS_RATELIMIT_LAYOUT;

    ngx_rbtree_init(&sh->names, &sh->sentinel, NULL);
    ngx_queue_init(&sh->rows);

    return sh;
}


/*
 * Rows outlive the configuration that had them: older workers still use
 * them, and so does a configuration to which a reload goes back.
 */

static ngx_egress_row_t *
ngx_egress_ratelimit_add_row(ngx_egress_ratelimit_shctx_t *sh,
    ngx_slab_pool_t *shpool, ngx_egress_bucket_t *bucket)
{
    ngx_str_t         *name;
    ngx_uint_t         hash;
    ngx_egress_row_t  *row;

    name = &bucket->sn.str;
    hash = bucket->sn.node.key;

    row = ngx_egress_ratelimit_find_row(sh, name, hash);
    if (row) {
        return row;
    }

    row = ngx_slab_calloc_locked(shpool,
                                 offsetof(ngx_egress_row_t, name) + name->len);
    if (row == NULL) {
        return NULL;
    }

    /* set by ngx_slab_calloc_locked(): row->n = 0; row->logged = 0 */

    row->rows = &sh->rows;
    row->rate = bucket->rate;
    row->len = name->len;
    ngx_memcpy(row->name, name->data, name->len);

    ngx_rbtree_init(&row->keys, &row->sentinel, NULL);
    ngx_queue_init(&row->lru);

    row->node.key = hash;
    sh->names.insert = ngx_egress_ratelimit_insert_row;
    ngx_rbtree_insert(&sh->names, &row->node);
    ngx_queue_insert_tail(&sh->rows, &row->queue);

    return row;
}


static ngx_egress_row_t *
ngx_egress_ratelimit_find_row(ngx_egress_ratelimit_shctx_t *sh,
    ngx_str_t *name, ngx_uint_t hash)
{
    ngx_int_t           rc;
    ngx_egress_row_t   *row;
    ngx_rbtree_node_t  *node;

    node = sh->names.root;

    while (node != &sh->sentinel) {

        if (hash != node->key) {
            node = (hash < node->key) ? node->left : node->right;
            continue;
        }

        row = (ngx_egress_row_t *) node;
        rc = ngx_egress_ratelimit_cmp_row(row, name->data, name->len);

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
    ngx_egress_row_t    *row;
    ngx_rbtree_node_t  **p;

    row = (ngx_egress_row_t *) node;

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            p = (ngx_egress_ratelimit_cmp_row((ngx_egress_row_t *) temp,
                                              row->name, row->len)
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
ngx_egress_ratelimit_cmp_row(ngx_egress_row_t *row, u_char *name, size_t len)
{
    if (row->len != len) {
        return row->len > len ? 1 : -1;
    }

    return ngx_memcmp(row->name, name, len);
}


/* bounded work: no loop here depends on how many keys there are */

ngx_egress_charge_t *
ngx_egress_ratelimit_take(ngx_egress_charge_t *charges, ngx_uint_t n,
    ngx_slab_pool_t *shpool, ngx_msec_t now)
{
    ngx_uint_t            i, k;
    ngx_egress_charge_t  *charge, *refused;

    refused = NULL;

    ngx_shmtx_lock(&shpool->mutex);

    for (i = 0; i < n; i++) {

        charge = &charges[i];

        if (!charge->enabled) {
            continue;
        }

        ngx_egress_ratelimit_charge(charge, shpool, now);

        if (charge->enforced
            && (charge->result == NGX_EGRESS_TAKE_LIMITED
                || (charge->result == NGX_EGRESS_TAKE_FULL
                    && !charge->bucket->on_full)))
        {
            refused = charge;
            break;
        }
    }

    for (k = 0; refused && k < i; k++) {

        /* evicted in between it was not: it is not full */

        if (charges[k].token && charges[k].result == NGX_EGRESS_TAKE_PASSED) {
            ngx_egress_token_give(charges[k].token, &charges[k].bucket->rate);
        }
    }

    ngx_shmtx_unlock(&shpool->mutex);

    return refused;
}


static void
ngx_egress_ratelimit_charge(ngx_egress_charge_t *charge,
    ngx_slab_pool_t *shpool, ngx_msec_t now)
{
    ngx_egress_row_t     *row;
    ngx_egress_node_t    *node;
    ngx_egress_bucket_t  *bucket;

    bucket = charge->bucket;
    row = bucket->row;
    row->rate = bucket->rate;

    node = ngx_egress_ratelimit_find(row, &charge->key);

    if (node) {
        ngx_queue_remove(&node->queue);
        ngx_queue_insert_head(&row->lru, &node->queue);

    } else {
        node = ngx_egress_ratelimit_create(charge, shpool, now);
    }

    if (node == NULL) {
        charge->result = NGX_EGRESS_TAKE_FULL;

        if (row->logged == 0 || now - row->logged >= 1000) {
            row->logged = now;
            charge->log = 1;
        }

        return;
    }

    charge->token = &node->token;

    charge->result = ngx_egress_token_take(&node->token, &bucket->rate, now)
                     ? NGX_EGRESS_TAKE_PASSED : NGX_EGRESS_TAKE_LIMITED;
}


static ngx_egress_node_t *
ngx_egress_ratelimit_find(ngx_egress_row_t *row, ngx_egress_key_t *key)
{
    ngx_int_t           rc;
    ngx_egress_node_t  *node;
    ngx_rbtree_node_t  *rbn;

    rbn = row->keys.root;

    while (rbn != &row->sentinel) {

        if (key->hash != rbn->key) {
            rbn = (key->hash < rbn->key) ? rbn->left : rbn->right;
            continue;
        }

        node = ngx_egress_ratelimit_node(rbn);
        rc = ngx_egress_ratelimit_cmp(node, key->len, key->digest, key->data);

        if (rc == 0) {
            return node;
        }

        rbn = (rc > 0) ? rbn->left : rbn->right;
    }

    return NULL;
}


static ngx_egress_node_t *
ngx_egress_ratelimit_create(ngx_egress_charge_t *charge,
    ngx_slab_pool_t *shpool, ngx_msec_t now)
{
    ngx_uint_t            tries;
    ngx_egress_row_t     *row;
    ngx_egress_key_t     *key;
    ngx_egress_node_t    *node;
    ngx_rbtree_node_t    *rbn;
    ngx_egress_bucket_t  *bucket;

    bucket = charge->bucket;
    row = bucket->row;

    tries = (row->n < bucket->max) ? 1 : NGX_EGRESS_RATELIMIT_TRIES;

    ngx_egress_ratelimit_expire(row, shpool, now, tries);

    if (row->n >= bucket->max) {
        return NULL;
    }

    rbn = ngx_egress_ratelimit_alloc(row, shpool, now);
    if (rbn == NULL) {
        return NULL;
    }

    key = &charge->key;
    node = ngx_egress_ratelimit_node(rbn);

    rbn->key = key->hash;
    node->len = key->len;
    node->digest = key->digest;
    ngx_memcpy(node->data, key->data, key->len);

    ngx_egress_token_init(&node->token, &bucket->rate, now);

    row->keys.insert = ngx_egress_ratelimit_insert;
    ngx_rbtree_insert(&row->keys, rbn);
    ngx_queue_insert_head(&row->lru, &node->queue);
    row->n++;

    return node;
}


/* all nodes are of one size: one that goes makes room for another */

static ngx_rbtree_node_t *
ngx_egress_ratelimit_alloc(ngx_egress_row_t *row, ngx_slab_pool_t *shpool,
    ngx_msec_t now)
{
    size_t              size;
    ngx_uint_t          i;
    ngx_queue_t        *q;
    ngx_egress_row_t   *other;
    ngx_rbtree_node_t  *rbn;

    size = offsetof(ngx_rbtree_node_t, color) + sizeof(ngx_egress_node_t);

    rbn = ngx_slab_alloc_locked(shpool, size);

    if (rbn) {
        return rbn;
    }

    if (ngx_egress_ratelimit_expire(row, shpool, now,
                                    NGX_EGRESS_RATELIMIT_TRIES))
    {
        return ngx_slab_alloc_locked(shpool, size);
    }

    for (i = 0; i < NGX_EGRESS_RATELIMIT_TRIES; i++) {

        q = ngx_queue_head(row->rows);
        other = ngx_queue_data(q, ngx_egress_row_t, queue);

        ngx_queue_remove(q);
        ngx_queue_insert_tail(row->rows, q);

        if (ngx_egress_ratelimit_expire(other, shpool, now,
                                        NGX_EGRESS_RATELIMIT_TRIES))
        {
            return ngx_slab_alloc_locked(shpool, size);
        }
    }

    return NULL;
}


/*
 * Frees those of the least recently used that are full again.  The others
 * are put to the other end, so that next time it is the turn of the next.
 */

static ngx_uint_t
ngx_egress_ratelimit_expire(ngx_egress_row_t *row, ngx_slab_pool_t *shpool,
    ngx_msec_t now, ngx_uint_t tries)
{
    ngx_uint_t          n;
    ngx_queue_t        *q;
    ngx_egress_node_t  *node;
    ngx_rbtree_node_t  *rbn;

    n = 0;

    while (tries-- && !ngx_queue_empty(&row->lru)) {

        q = ngx_queue_last(&row->lru);
        ngx_queue_remove(q);

        node = ngx_queue_data(q, ngx_egress_node_t, queue);

        if (!ngx_egress_token_full(&node->token, &row->rate, now)) {
            ngx_queue_insert_head(&row->lru, q);
            continue;
        }

        rbn = ngx_egress_ratelimit_rbnode(node);

        ngx_rbtree_delete(&row->keys, rbn);
        ngx_slab_free_locked(shpool, rbn);

        row->n--;
        n++;
    }

    return n;
}


static void
ngx_egress_ratelimit_insert(ngx_rbtree_node_t *temp, ngx_rbtree_node_t *node,
    ngx_rbtree_node_t *sentinel)
{
    ngx_egress_node_t   *n;
    ngx_rbtree_node_t  **p;

    n = ngx_egress_ratelimit_node(node);

    for ( ;; ) {

        if (node->key != temp->key) {
            p = (node->key < temp->key) ? &temp->left : &temp->right;

        } else {
            p = (ngx_egress_ratelimit_cmp(ngx_egress_ratelimit_node(temp),
                                          n->len, n->digest, n->data)
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
ngx_egress_ratelimit_cmp(ngx_egress_node_t *node, u_char len, u_char digest,
    u_char *data)
{
    if (node->len != len) {
        return (ngx_int_t) node->len - len;
    }

    if (node->digest != digest) {
        return (ngx_int_t) node->digest - digest;
    }

    return ngx_memcmp(node->data, data, len);
}
