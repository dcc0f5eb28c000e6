
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

/* an interval that is none: a quota by the calendar */
#define NGX_EGRESS_RATELIMIT_PERIOD  0xffffffff

/* what a token is for */

#define NGX_EGRESS_RATELIMIT_REQUESTS     0
#define NGX_EGRESS_RATELIMIT_CONNECTIONS  1
#define NGX_EGRESS_RATELIMIT_BYTES        2

#define NGX_EGRESS_RATELIMIT_MINUTE  0
#define NGX_EGRESS_RATELIMIT_HOUR    1
#define NGX_EGRESS_RATELIMIT_DAYS    2
#define NGX_EGRESS_RATELIMIT_MONTH   3


typedef struct {
    uint64_t                  tokens;      /* of a full bucket, 32 bits but
                                              for a period */
    uint64_t                  fill;        /* tokens per interval, 32 bits */
    uint32_t                  interval;    /* ms; 0: no tokens are asked */
} ngx_egress_ratelimit_rate_t;


/*
 * What a bucket holds, counted in parts of a token of which a token has as
 * many as the interval has milliseconds: "fill" parts come back each
 * millisecond, so no division is made and nothing is rounded away.
 */

typedef struct {
    int64_t                   level;       /* 63 bits; less than 0 is owed */
    uint64_t                  last;        /* ms, of a monotonic clock */
    uint32_t                  interval;    /* the parts of a token in level */
} ngx_egress_ratelimit_token_t;


typedef struct {
    int64_t                   since;       /* seconds of UTC */
    int64_t                   offset;      /* seconds east of it */
} ngx_egress_ratelimit_offset_t;


typedef struct {
    ngx_uint_t                      kind;
    ngx_str_t                       zone;
    ngx_egress_ratelimit_offset_t  *offsets;
    ngx_uint_t                      n;     /* 0: UTC */
} ngx_egress_ratelimit_period_t;


/* where in a period it is now; seconds of UTC */

typedef struct {
    uint64_t                  now;
    uint64_t                  end;
    uint64_t                  length;      /* of a period, at most */
} ngx_egress_ratelimit_span_t;


typedef struct {
    uint64_t                  ms;          /* that nobody sets */
    uint64_t                  sec;         /* of UTC */
} ngx_egress_ratelimit_clock_t;


typedef struct ngx_egress_ratelimit_table_s  ngx_egress_ratelimit_table_t;
typedef struct ngx_egress_ratelimit_row_s    ngx_egress_ratelimit_row_t;
typedef struct ngx_egress_ratelimit_slot_s   ngx_egress_ratelimit_slot_t;


typedef struct ngx_egress_ratelimit_bucket_s  ngx_egress_ratelimit_bucket_t;
typedef struct ngx_egress_ratelimit_conf_s    ngx_egress_ratelimit_conf_t;


struct ngx_egress_ratelimit_bucket_s {
    ngx_str_node_t               sn;       /* key: the name */
    ngx_egress_ratelimit_rate_t  rate;
    ngx_egress_ratelimit_period_t  *period;      /* or NULL */
    ngx_uint_t                   unit;

    /* what a client in http gets to see; ngx_keyval_t *[] or NULL */

    ngx_uint_t                   status;
    ngx_str_t                    body;
    ngx_array_t                 *headers;  /* of what is limited */
    ngx_array_t                 *always;   /* of all answers */
    ngx_array_t                 *request;  /* to the service, if it would be
                                              limited */
    ngx_uint_t                   x_ratelimit;
    ngx_flag_t                   retry_after;

    ngx_str_t                    state;    /* file; or empty */
    ngx_str_node_t               file;     /* so; while that is checked */
    ngx_uint_t                   connections;  /* at once, of a key; or 0 */
    ngx_flag_t                   on_full;  /* 1: what has no room may pass */
    ngx_flag_t                   on_error; /* 1: so may what can't be asked */
    ngx_uint_t                   share;    /* millionths of max that the keys
                                              of one principal may take */

    u_char                      *conf_file;
    ngx_uint_t                   line;
    ngx_uint_t                   keyed;    /* a directive gives it keys */
    ngx_uint_t                   max;      /* keys that it may have */
    ngx_egress_ratelimit_row_t  *row;      /* in the shared zone */

    /* descriptors have buckets of their own */

    ngx_egress_ratelimit_conf_t    *conf;
    ngx_egress_ratelimit_bucket_t  *parent;      /* NULL: it is none */
    ngx_array_t                    *children;    /* or NULL */
    ngx_array_t                    *shapes;      /* or NULL */
    ngx_flag_t                      consume;     /* also if one matched */
};


/* a descriptor: key and value, or with any value */

typedef struct {
    ngx_str_t                 key;
    ngx_str_t                 value;
    ngx_uint_t                any;
} ngx_egress_ratelimit_entry_t;


typedef struct {
    ngx_array_t               entries;     /* ngx_egress_ratelimit_entry_t */
    ngx_uint_t                any;         /* how many of them */
    ngx_rbtree_t              tree;        /* ngx_egress_ratelimit_match_t */
    ngx_rbtree_node_t         sentinel;
} ngx_egress_ratelimit_shape_t;


typedef struct {
    ngx_str_node_t                  sn;    /* key: the values */
    ngx_uint_t                      any;
    ngx_egress_ratelimit_bucket_t  *bucket;
} ngx_egress_ratelimit_match_t;


/* what makes an entry of a request's descriptor */

typedef struct {
    ngx_str_t                 key;
    void                     *value;       /* complex value */
    ngx_uint_t                optional;    /* none without a value */
} ngx_egress_ratelimit_action_t;


struct ngx_egress_ratelimit_conf_s {
    ngx_array_t               buckets;     /* ngx_egress_ratelimit_bucket_t * */
    ngx_rbtree_t              names;       /* ngx_egress_ratelimit_bucket_t */
    ngx_rbtree_node_t         sentinel;
    ngx_uint_t                keys;        /* bound of them all; 0: as many as
                                              a quarter of the zone holds */
    ngx_uint_t                processes;   /* that may count connections */
};


/* one egress_ratelimit directive */

typedef struct {
    ngx_str_t                       name;  /* of the bucket */
    ngx_egress_ratelimit_bucket_t  *bucket;
                                           /* known after the configuration */
    void                           *key;   /* complex value of the adapter's
                                              subsystem; or NULL */
    void                           *cost;  /* so, too */
    ngx_uint_t                      enabled;     /* millionths */
    ngx_uint_t                      enforced;    /* millionths */
    u_char                         *file;
    ngx_uint_t                      line;
} ngx_egress_ratelimit_limit_t;


typedef struct {
    uint64_t                  hash;
    u_char                    len;         /* 0: the row's own slot */
    u_char                    digest;      /* data is the key's SHA-256 */
    u_char                    data[NGX_EGRESS_RATELIMIT_KEY];
} ngx_egress_ratelimit_key_t;


/* where this process has counted a connection; gauge is NULL: nowhere */

typedef struct {
    uint32_t                 *gauge;
    uint32_t                 *total;
} ngx_egress_ratelimit_connection_t;


/* what became of a charge */

#define NGX_EGRESS_RATELIMIT_PASSED   0    /* had a token, or chance let it */
#define NGX_EGRESS_RATELIMIT_LIMITED  1
#define NGX_EGRESS_RATELIMIT_FULL     2    /* there was no room for its key */
#define NGX_EGRESS_RATELIMIT_ERROR    3    /* the bucket could not be used */

/* why not; with on_error, tokens are taken also without a process slot */

#define NGX_EGRESS_RATELIMIT_LOCK     1    /* the lock is broken, for good */
#define NGX_EGRESS_RATELIMIT_PROCESS  2    /* connections can't be counted:
                                              the process has no slot */


typedef struct {
    ngx_egress_ratelimit_bucket_t  *bucket;
    ngx_egress_ratelimit_key_t      key;
    uint64_t                        owner; /* hash of who has the key made */
    uint64_t                        cost;  /* tokens */

    /* of ngx_egress_ratelimit_take(): */

    ngx_pool_cleanup_t             *cln;   /* to disconnect; or NULL */
    ngx_pool_cleanup_t             *end;   /* to take the bytes; or NULL */

    ngx_egress_ratelimit_slot_t    *slot;  /* valid under the lock only */
    ngx_egress_ratelimit_connection_t  connection;
    uint64_t                        left;  /* tokens */
    uint64_t                        wait;  /* ms until it has the cost, or
                                              if it was paid a token */
    unsigned                        enabled:1;
    unsigned                        enforced:1;
    unsigned                        result:2;
    unsigned                        error:2;     /* or 0 */
    unsigned                        refused:1;   /* it was this that refused */
    unsigned                        log:1;       /* time to log "full", or
                                                    the error */
    unsigned                        would:1;     /* would have refused, but
                                                    is not enforced */
    unsigned                        told:1;      /* request headers added */
} ngx_egress_ratelimit_charge_t;


typedef struct {
    uint64_t                  keys;        /* in use */
    uint64_t                  allowed;
    uint64_t                  limited;
    uint64_t                  would_limit;
    uint64_t                  full;
    uint64_t                  evicted;
    uint64_t                  spent;       /* bytes */
    uint64_t                  errors;
} ngx_egress_ratelimit_counts_t;


/*
 * The adapter's part: compiles a text with variables, and evaluates it for
 * the request or session flow->data.
 */

typedef ngx_int_t (*ngx_egress_ratelimit_compile_pt)(ngx_conf_t *cf,
    ngx_str_t *text, void **value);
typedef ngx_int_t (*ngx_egress_ratelimit_value_pt)(ngx_egress_flow_t *flow,
    void *value, ngx_str_t *text);

/* bytes from and to the client, when the request or session ends */
typedef uint64_t (*ngx_egress_ratelimit_bytes_pt)(ngx_egress_flow_t *flow);


/* ngx_egress_ratelimit_module.c */

/* starts the timer that writes state files; may be called more than once */
ngx_int_t ngx_egress_ratelimit_init_process(ngx_cycle_t *cycle);


/* ngx_egress_ratelimit_limit.c */

/*
 * The directive egress_ratelimit.  *limits is NGX_CONF_UNSET_PTR, NULL
 * ("off") or ngx_egress_ratelimit_limit_t *[].
 */
char *ngx_egress_ratelimit_limit(ngx_conf_t *cf, ngx_array_t **limits,
    ngx_egress_ratelimit_compile_pt compile);

/* "n", "n%", "n/100", "n/10000" or "n/1000000": millionths, or NGX_ERROR */
ngx_int_t ngx_egress_ratelimit_fraction(u_char *p, size_t len);


/* ngx_egress_ratelimit_descriptor.c */

/*
 * A descriptor of the bucket parent with the arguments of the directive; its
 * own bucket of the returned name has to be put into (*match)->bucket.
 */
char *ngx_egress_ratelimit_descriptor(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *parent, ngx_array_t *args,
    ngx_str_t **name, ngx_egress_ratelimit_match_t **match);

/*
 * The directive egress_ratelimit_descriptor: one rate_limits entry of a route
 * of Envoy.  *descriptors is NGX_CONF_UNSET_PTR, NULL ("off") or an array of
 * arrays of ngx_egress_ratelimit_action_t.
 */
char *ngx_egress_ratelimit_actions(ngx_conf_t *cf, ngx_array_t **descriptors,
    ngx_egress_ratelimit_compile_pt compile);

/*
 * The descriptor of parent that equals, entry by entry, what the actions make
 * of the request, with a value before one with any; *match is NULL: none.
 * *key are the values of any, after first if it has data; from flow->pool.
 * One lookup for each set of keys, however many descriptors there are.
 */
ngx_int_t ngx_egress_ratelimit_find_match(ngx_egress_flow_t *flow,
    ngx_egress_ratelimit_bucket_t *parent, ngx_array_t *actions,
    ngx_egress_ratelimit_value_pt value, ngx_str_t *first,
    ngx_egress_ratelimit_match_t **match, ngx_str_t *key);


/* ngx_egress_ratelimit_charge.c */

/*
 * The step of the decision; limits and descriptors may be NULL.  NGX_OK:
 * every enforced bucket had what the request costs, or chance let it pass;
 * NGX_DECLINED: refused, nothing was taken from any; NGX_ERROR: out of
 * memory.
 */
ngx_int_t ngx_egress_ratelimit(ngx_egress_flow_t *flow, ngx_array_t *limits,
    ngx_array_t *descriptors, ngx_egress_ratelimit_value_pt value,
    ngx_egress_ratelimit_bytes_pt bytes);


/*
 * The charge whose state a client is told in x-ratelimit-limit, -remaining
 * and -reset: the one that refused, else the one with the fewest tokens left;
 * NULL: none of them wants it told.
 */
ngx_egress_ratelimit_charge_t *ngx_egress_ratelimit_told(
    ngx_array_t *charges);


/* ngx_egress_ratelimit_report.c */

/* member "buckets" of the status, and families of metrics */
ngx_int_t ngx_egress_ratelimit_add_reports(ngx_conf_t *cf);


/* ngx_egress_ratelimit_shm.c */

/*
 * The area in the shared zone: the table, and a row for each bucket; data is
 * the ngx_egress_ratelimit_conf_t.  Runs in the master only.
 */
ngx_int_t ngx_egress_ratelimit_init_area(ngx_slab_pool_t *shpool, void **area,
    void *data, ngx_log_t *log);

/* the table in a worker, or NULL if the configuration has no buckets */
ngx_egress_ratelimit_table_t *ngx_egress_ratelimit_get_table(void);


/* ngx_egress_ratelimit_state.c */

/*
 * Writes the state file of a bucket that has one, if anything was taken since
 * it was written; last: what is written has to be on the disk.  Errors are
 * logged.
 */
ngx_int_t ngx_egress_ratelimit_save_state(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_uint_t last, ngx_log_t *log);

/*
 * Loads it into a row that is new; what can't be used is logged, and the
 * bucket starts full.
 */
void ngx_egress_ratelimit_load_state(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_log_t *log);


/* ngx_egress_ratelimit_table.c: needs memory and a clock, no slab pool */

/*
 * Bytes of a table for so many keys and processes, of its gauges, and of a
 * row of a name's length.
 */
size_t ngx_egress_ratelimit_table_size(ngx_uint_t keys, ngx_uint_t processes);
size_t ngx_egress_ratelimit_gauges_size(ngx_egress_ratelimit_table_t *table);
size_t ngx_egress_ratelimit_row_size(ngx_egress_ratelimit_table_t *table,
    size_t len);

/*
 * Makes a table or a row in zeroed memory that all processes map at the same
 * address.  The table's mutexes are robust: the kernel hands a lock on when
 * its owner is killed.
 */
ngx_int_t ngx_egress_ratelimit_table_init(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t keys, ngx_uint_t processes, uint64_t seed[2]);
void ngx_egress_ratelimit_row_init(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row, ngx_str_t *name,
    ngx_egress_ratelimit_rate_t *rate, uint64_t ms);

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
 * depend on how many keys there are.
 */
void ngx_egress_ratelimit_take(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charges, ngx_uint_t n,
    ngx_egress_ratelimit_clock_t *clock,
    ngx_egress_ratelimit_charge_t **refused);

/*
 * Takes what has been used already of a key's bucket: what is not there is
 * owed.  Only the key, the bucket and the owner of the charge are looked at.
 */
void ngx_egress_ratelimit_spend(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge, uint64_t n,
    ngx_egress_ratelimit_clock_t *clock);

/* sums up a row's shards, without their locks */
void ngx_egress_ratelimit_count(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row, ngx_egress_ratelimit_counts_t *counts);

/* tokens left in the bucket of what has no key; takes a shard's lock */
uint64_t ngx_egress_ratelimit_remaining(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket,
    ngx_egress_ratelimit_clock_t *clock);

/* called once for each connection counted, in the process that counted it */
void ngx_egress_ratelimit_disconnect(
    ngx_egress_ratelimit_connection_t *connection);

/* all connections of a bucket */
ngx_uint_t ngx_egress_ratelimit_connections(
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_row_t *row);

/* the same for all processes */
void ngx_egress_ratelimit_clock(ngx_egress_ratelimit_clock_t *clock);


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
    ngx_egress_ratelimit_rate_t *rate, uint64_t now, uint64_t cost);
void ngx_egress_ratelimit_token_give(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t cost);

/* takes also what there isn't: it is owed, to parts of a token */
void ngx_egress_ratelimit_token_spend(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now, uint64_t n);

/* a full bucket is the same as none */
ngx_uint_t ngx_egress_ratelimit_token_full(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now);

/* of a refilled bucket: whole tokens, and ms until it has so many */
uint64_t ngx_egress_ratelimit_token_left(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate);
uint64_t ngx_egress_ratelimit_token_wait(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t cost);


/*
 * ngx_egress_ratelimit_period.c: pure functions of a quota, which has so many
 * tokens in a period of the calendar.
 */

void ngx_egress_ratelimit_quota_init(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_span_t *span);
ngx_uint_t ngx_egress_ratelimit_quota_take(ngx_egress_ratelimit_token_t *token,
    uint64_t tokens, ngx_egress_ratelimit_span_t *span, uint64_t cost);

/* begins the period that it is now; all of the others do so, too */
void ngx_egress_ratelimit_quota_renew(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_span_t *span);

void ngx_egress_ratelimit_quota_spend(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_span_t *span, uint64_t n);
void ngx_egress_ratelimit_quota_give(ngx_egress_ratelimit_token_t *token,
    uint64_t cost);
uint64_t ngx_egress_ratelimit_quota_left(ngx_egress_ratelimit_token_t *token,
    uint64_t tokens, ngx_egress_ratelimit_span_t *span);
uint64_t ngx_egress_ratelimit_quota_wait(ngx_egress_ratelimit_token_t *token,
    uint64_t tokens, ngx_egress_ratelimit_span_t *span, uint64_t cost);

void ngx_egress_ratelimit_period_span(ngx_egress_ratelimit_period_t *period,
    uint64_t now, ngx_egress_ratelimit_span_t *span);

/*
 * The offsets of a time zone from two days before now on, for 20 years, at
 * most max of them; 0: there is no such zone.  Sets TZ for a moment: only for
 * the master while it reads the configuration.
 */
ngx_uint_t ngx_egress_ratelimit_zone_offsets(const char *name,
    ngx_egress_ratelimit_offset_t *offsets, ngx_uint_t max, time_t now);


extern ngx_module_t  ngx_egress_ratelimit_module;


#endif /* _NGX_EGRESS_RATELIMIT_H_INCLUDED_ */
