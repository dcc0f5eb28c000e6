
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_RATELIMIT_H_INCLUDED_
#define _NGX_EGRESS_RATELIMIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress.h>


#define NGX_EGRESS_RATELIMIT_KEY   48      /* bytes of a key kept as it is */


typedef struct {
    uint64_t                  tokens;      /* of a full bucket, 32 bits */
    uint64_t                  fill;        /* tokens per interval, 32 bits */
    uint32_t                  interval;    /* ms */
} ngx_egress_rate_t;


/*
 * What a bucket holds, counted in parts of a token of which a token has as
 * many as the interval has milliseconds: "fill" parts come back each
 * millisecond, so no division is made and nothing is rounded away.
 */

typedef struct {
    uint64_t                  level;
    ngx_msec_t                last;
    uint32_t                  interval;    /* the parts of a token in level */
} ngx_egress_token_t;


typedef struct ngx_egress_row_s  ngx_egress_row_t;


typedef struct {
    ngx_str_node_t            sn;          /* key: the name */
    ngx_egress_rate_t         rate;
    ngx_uint_t                status;
    ngx_array_t              *headers;     /* ngx_keyval_t; or NULL */
    ngx_flag_t                on_full;     /* 1: what has no room may pass */

    ngx_uint_t                keyed;       /* a directive gives it keys */
    ngx_uint_t                max;         /* keys that it may have */
    ngx_egress_row_t         *row;         /* in the shared zone */
} ngx_egress_bucket_t;


typedef struct {
    ngx_array_t               buckets;     /* ngx_egress_bucket_t * */
    ngx_rbtree_t              names;       /* ngx_egress_bucket_t */
    ngx_rbtree_node_t         sentinel;
    ngx_uint_t                keys;        /* bound of them all */
} ngx_egress_ratelimit_conf_t;


/* one egress_ratelimit directive */

typedef struct {
    ngx_str_t                 name;        /* of the bucket */
    ngx_egress_bucket_t      *bucket;      /* known after the configuration */
    void                     *key;         /* complex value of the adapter's
                                              subsystem; or NULL */
    ngx_uint_t                enabled;     /* percent */
    ngx_uint_t                enforced;    /* percent */
    u_char                   *file;
    ngx_uint_t                line;
} ngx_egress_limit_t;


typedef struct {
    uint32_t                  hash;
    u_char                    len;
    u_char                    digest;      /* data is the key's SHA-256 */
    u_char                    data[NGX_EGRESS_RATELIMIT_KEY];
} ngx_egress_key_t;


/* what became of a charge */

#define NGX_EGRESS_TAKE_PASSED     0       /* had a token, or chance let it */
#define NGX_EGRESS_TAKE_LIMITED    1
#define NGX_EGRESS_TAKE_FULL       2       /* there was no room for its key */


typedef struct {
    ngx_egress_bucket_t      *bucket;
    ngx_egress_key_t          key;
    ngx_egress_token_t       *token;       /* valid under the lock only */
    unsigned                  enabled:1;
    unsigned                  enforced:1;
    unsigned                  result:2;
    unsigned                  refused:1;   /* it was this that refused */
    unsigned                  log:1;       /* it is time to log TAKE_FULL */
} ngx_egress_charge_t;


/* evaluates limit->key for the request or session flow->data */

typedef ngx_int_t (*ngx_egress_key_pt)(ngx_egress_flow_t *flow, void *key,
    ngx_str_t *value);


/* ngx_egress_ratelimit_module.c */

/*
 * The directive egress_ratelimit but for its key, whose text is returned in
 * *key and has to be compiled into (*limit)->key; *limit is NULL for "off".
 * *limits is NGX_CONF_UNSET_PTR, NULL ("off") or ngx_egress_limit_t *[].
 */
char *ngx_egress_ratelimit_limit(ngx_conf_t *cf, ngx_array_t **limits,
    ngx_egress_limit_t **limit, ngx_str_t *key);


/* ngx_egress_ratelimit_charge.c */

/* the step of the decision; limits may be NULL */
ngx_int_t ngx_egress_ratelimit(ngx_egress_flow_t *flow, ngx_array_t *limits,
    ngx_egress_key_pt key);


/* ngx_egress_ratelimit_shm.c */

/*
 * Takes a token of each charge's bucket, or none of any if one that is
 * enforced refuses: returns that one, else NULL.  Holds the zone's mutex.
 */
ngx_egress_charge_t *ngx_egress_ratelimit_take(ngx_egress_charge_t *charges,
    ngx_uint_t n, ngx_slab_pool_t *shpool, ngx_msec_t now);

/* the area in the shared zone: a row for each bucket; data is the conf */
ngx_int_t ngx_egress_ratelimit_init_area(ngx_slab_pool_t *shpool, void **area,
    void *data, ngx_log_t *log);


/* ngx_egress_token.c: pure functions */

void ngx_egress_token_init(ngx_egress_token_t *token, ngx_egress_rate_t *rate,
    ngx_msec_t now);
ngx_uint_t ngx_egress_token_take(ngx_egress_token_t *token,
    ngx_egress_rate_t *rate, ngx_msec_t now);
void ngx_egress_token_give(ngx_egress_token_t *token,
    ngx_egress_rate_t *rate);

/* a full bucket is the same as none */
ngx_uint_t ngx_egress_token_full(ngx_egress_token_t *token,
    ngx_egress_rate_t *rate, ngx_msec_t now);


extern ngx_module_t  ngx_egress_ratelimit_module;


#endif /* _NGX_EGRESS_RATELIMIT_H_INCLUDED_ */
