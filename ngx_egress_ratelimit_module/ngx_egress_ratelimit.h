
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_RATELIMIT_H_INCLUDED_
#define _NGX_EGRESS_RATELIMIT_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress.h>


#define NGX_EGRESS_RATELIMIT_KEY    48     /* bytes of a key kept as it is */

#define NGX_EGRESS_RATELIMIT_NEVER  ((uint64_t) -1)


typedef struct {
    uint64_t                  tokens;      /* of a full bucket, 32 bits */
    uint64_t                  fill;        /* tokens per interval, 32 bits */
    uint32_t                  interval;    /* ms */
} ngx_egress_ratelimit_rate_t;


/*
 * What a bucket holds, counted in parts of a token of which a token has as
 * many as the interval has milliseconds: "fill" parts come back each
 * millisecond, so no division is made and nothing is rounded away.
 */

typedef struct {
    uint64_t                  level;
    uint64_t                  last;        /* ms, of a monotonic clock */
    uint32_t                  interval;    /* the parts of a token in level */
} ngx_egress_ratelimit_token_t;


typedef struct ngx_egress_ratelimit_table_s  ngx_egress_ratelimit_table_t;
typedef struct ngx_egress_ratelimit_row_s    ngx_egress_ratelimit_row_t;
typedef struct ngx_egress_ratelimit_slot_s   ngx_egress_ratelimit_slot_t;


typedef struct {
    ngx_str_node_t               sn;       /* key: the name */
    ngx_egress_ratelimit_rate_t  rate;
    ngx_uint_t                   status;
    ngx_array_t                 *headers;  /* ngx_keyval_t; or NULL */
    ngx_flag_t                   on_full;  /* 1: what has no room may pass */
    ngx_uint_t                   share;    /* percent of max that the keys of
                                              one principal may take */

    ngx_uint_t                   keyed;    /* a directive gives it keys */
    ngx_uint_t                   max;      /* keys that it may have */
    ngx_egress_ratelimit_row_t  *row;      /* in the shared zone */
} ngx_egress_ratelimit_bucket_t;


typedef struct {
    ngx_array_t               buckets;     /* ngx_egress_ratelimit_bucket_t * */
    ngx_rbtree_t              names;       /* ngx_egress_ratelimit_bucket_t */
    ngx_rbtree_node_t         sentinel;
    ngx_uint_t                keys;        /* bound of them all; 0: as many as
                                              a quarter of the zone holds */
} ngx_egress_ratelimit_conf_t;


/* one egress_ratelimit directive */

typedef struct {
    ngx_str_t                       name;  /* of the bucket */
    ngx_egress_ratelimit_bucket_t  *bucket;
                                           /* known after the configuration */
    void                           *key;   /* complex value of the adapter's
                                              subsystem; or NULL */
    ngx_uint_t                      enabled;     /* percent */
    ngx_uint_t                      enforced;    /* percent */
    u_char                         *file;
    ngx_uint_t                      line;
} ngx_egress_ratelimit_limit_t;


typedef struct {
    uint64_t                  hash;
    u_char                    len;         /* 0: the row's own slot */
    u_char                    digest;      /* data is the key's SHA-256 */
    u_char                    data[NGX_EGRESS_RATELIMIT_KEY];
} ngx_egress_ratelimit_key_t;


/* what became of a charge */

#define NGX_EGRESS_RATELIMIT_PASSED   0    /* had a token, or chance let it */
#define NGX_EGRESS_RATELIMIT_LIMITED  1
#define NGX_EGRESS_RATELIMIT_FULL     2    /* there was no room for its key */


typedef struct {
    ngx_egress_ratelimit_bucket_t  *bucket;
    ngx_egress_ratelimit_key_t      key;
    uint64_t                        owner; /* hash of who has the key made */
    uint32_t                        cost;  /* tokens */

    /* of ngx_egress_ratelimit_take(): */

    ngx_egress_ratelimit_slot_t    *slot;  /* valid under the lock only */
    unsigned                        enabled:1;
    unsigned                        enforced:1;
    unsigned                        result:2;
    unsigned                        refused:1;   /* it was this that refused */
    unsigned                        log:1;       /* time to log "full" */
} ngx_egress_ratelimit_charge_t;


typedef struct {
    uint64_t                  keys;        /* in use */
    uint64_t                  allowed;
    uint64_t                  limited;
    uint64_t                  would_limit;
    uint64_t                  full;
    uint64_t                  evicted;
} ngx_egress_ratelimit_counts_t;


/* evaluates limit->key for the request or session flow->data */

typedef ngx_int_t (*ngx_egress_ratelimit_key_pt)(ngx_egress_flow_t *flow,
    void *key, ngx_str_t *value);


/* ngx_egress_ratelimit_module.c */

/*
 * The directive egress_ratelimit but for its key, whose text is returned in
 * *key and has to be compiled into (*limit)->key; *limit is NULL for "off".
 * *limits is NGX_CONF_UNSET_PTR, NULL ("off") or
 * ngx_egress_ratelimit_limit_t *[].
 */
char *ngx_egress_ratelimit_limit(ngx_conf_t *cf, ngx_array_t **limits,
    ngx_egress_ratelimit_limit_t **limit, ngx_str_t *key);


/* ngx_egress_ratelimit_charge.c */

/*
 * The step of the decision; limits may be NULL.  NGX_OK: every enforced
 * bucket had what the request costs, or chance let it pass; NGX_DECLINED:
 * refused, nothing was taken from any; NGX_ERROR: out of memory.
 */
ngx_int_t ngx_egress_ratelimit(ngx_egress_flow_t *flow, ngx_array_t *limits,
    ngx_egress_ratelimit_key_pt key);


/* ngx_egress_ratelimit_shm.c */

/*
 * The area in the shared zone: the table, and a row for each bucket; data is
 * the ngx_egress_ratelimit_conf_t.  Runs in the master only.
 */
ngx_int_t ngx_egress_ratelimit_init_area(ngx_slab_pool_t *shpool, void **area,
    void *data, ngx_log_t *log);

/* the table in a worker, or NULL if the configuration has no buckets */
ngx_egress_ratelimit_table_t *ngx_egress_ratelimit_get_table(void);


/* ngx_egress_ratelimit_table.c: needs memory and a clock, no slab pool */

/* bytes of a table for so many keys, and of a row of a name's length */
size_t ngx_egress_ratelimit_table_size(ngx_uint_t keys);
size_t ngx_egress_ratelimit_row_size(ngx_egress_ratelimit_table_t *table,
    size_t len);

/*
 * Makes a table or a row in zeroed memory that all processes map at the same
 * address.  The table's mutexes are robust: the kernel hands a lock on when
 * its owner is killed.
 */
ngx_int_t ngx_egress_ratelimit_table_init(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t keys, uint64_t seed[2]);
void ngx_egress_ratelimit_row_init(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row, ngx_str_t *name,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now);

ngx_str_t *ngx_egress_ratelimit_row_name(ngx_egress_ratelimit_row_t *row);
ngx_egress_ratelimit_row_t *ngx_egress_ratelimit_table_rows(
    ngx_egress_ratelimit_table_t *table);
ngx_egress_ratelimit_row_t *ngx_egress_ratelimit_row_next(
    ngx_egress_ratelimit_row_t *row);

/* a hash with the table's secret: clients choose keys, not collisions */
uint64_t ngx_egress_ratelimit_hash(ngx_egress_ratelimit_table_t *table,
    void *salt, u_char *data, size_t len);

/*
 * Takes what each charge costs of its bucket, or nothing of any if one that
 * is enforced refuses: *refused is that one, else NULL.  Holds the locks of
 * the shards of all charges, some hundred nanoseconds; the work does not
 * depend on how many keys there are.  now is in milliseconds.  NGX_ERROR: a
 * lock is broken.
 */
ngx_int_t ngx_egress_ratelimit_take(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charges, ngx_uint_t n, uint64_t now,
    ngx_egress_ratelimit_charge_t **refused);

/* sums up a row's shards, without their locks */
void ngx_egress_ratelimit_count(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row, ngx_egress_ratelimit_counts_t *counts);

/* a clock that no one sets, the same for all processes; ms */
uint64_t ngx_egress_ratelimit_now(void);


/*
 * ngx_egress_ratelimit_token.c: pure functions of the token bucket as Envoy
 * defines it, api/v3/type/v3/token_bucket.proto, with a continuous refill as
 * its AtomicTokenBucket has.  now is in milliseconds.
 */

void ngx_egress_ratelimit_token_init(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now);
void ngx_egress_ratelimit_token_refill(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now);
ngx_uint_t ngx_egress_ratelimit_token_take(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now, uint32_t cost);
void ngx_egress_ratelimit_token_give(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint32_t cost);

/* a full bucket is the same as none */
ngx_uint_t ngx_egress_ratelimit_token_full(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now);

/* of a refilled bucket: whole tokens, and ms until it has so many */
uint64_t ngx_egress_ratelimit_token_left(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate);
uint64_t ngx_egress_ratelimit_token_wait(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint32_t cost);


extern ngx_module_t  ngx_egress_ratelimit_module;


#endif /* _NGX_EGRESS_RATELIMIT_H_INCLUDED_ */
