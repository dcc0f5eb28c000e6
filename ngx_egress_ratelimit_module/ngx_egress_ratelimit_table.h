
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_RATELIMIT_TABLE_H_INCLUDED_
#define _NGX_EGRESS_RATELIMIT_TABLE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>

#include <pthread.h>


#define NGX_EGRESS_RATELIMIT_SHARDS  16    /* at most 64: bits of a mask */
#define NGX_EGRESS_RATELIMIT_NIL     0xffffffff


/*
 * One key's bucket; 128 bytes on 64-bit systems.  What repair() goes by is
 * valid at each instruction: "used" is set last and cleared first, and a new
 * state is written beside the old one before "cur" points to it.
 */

struct ngx_egress_ratelimit_slot_s {
    uint32_t                      hash;
    u_char                        used;
    u_char                        cur;     /* which token[] holds */
    u_char                        len;
    u_char                        digest;
    ngx_egress_ratelimit_row_t   *row;

    uint32_t                      next;    /* in the chain, or free */
    uint32_t                      newer;   /* in the row's LRU list */
    uint32_t                      older;
    uint32_t                      owner;

    ngx_egress_ratelimit_token_t  token[2];
    u_char                        data[NGX_EGRESS_RATELIMIT_KEY];
};


/* how many keys one principal has in a row and a shard */

typedef struct {
    uint64_t                      hash;
    ngx_egress_ratelimit_row_t   *row;
    uint32_t                      n;
    uint32_t                      next;    /* in the chain, or free */
} ngx_egress_ratelimit_owner_t;


/* what became of those for which a bucket could not be used */

#define NGX_EGRESS_RATELIMIT_ERROR_NONE     0  /* others decided */
#define NGX_EGRESS_RATELIMIT_ERROR_ALLOWED  1
#define NGX_EGRESS_RATELIMIT_ERROR_LIMITED  2
#define NGX_EGRESS_RATELIMIT_ERROR_WOULD    3
#define NGX_EGRESS_RATELIMIT_ERRORS         4


/* a row's part of a shard: changed with the shard's lock held */

typedef struct {
    ngx_egress_ratelimit_rate_t   rate;    /* as last used */
    uint32_t                      n;
    uint32_t                      newest;
    uint32_t                      oldest;
    uint64_t                      allowed;
    uint64_t                      limited;
    uint64_t                      would_limit;
    uint64_t                      full;
    uint64_t                      evicted;
    uint64_t                      spent;   /* bytes */
    uint64_t                      pad[5];  /* no false sharing */
} ngx_egress_ratelimit_part_t;


/*
 * What a configured bucket has in the shared zone.  Rows outlive the
 * configuration that had them: older workers still use them, and so does a
 * configuration to which a reload goes back.
 */

struct ngx_egress_ratelimit_row_s {
    ngx_rbtree_node_t             node;    /* the master's: hash of the name */
    ngx_egress_ratelimit_row_t   *next;
    ngx_str_t                     name;
    ngx_uint_t                    home;    /* shard of the own slot */
    ngx_egress_ratelimit_slot_t   slot;    /* of what has no key */
    ngx_atomic_t                  logged;  /* ms: no room */
    ngx_atomic_t                  complained;  /* ms: an error */
    ngx_atomic_t                  errors[NGX_EGRESS_RATELIMIT_ERRORS];
                                           /* counted without the lock */
    uint64_t                      generation;  /* of the state file */
    uint64_t                      saved;   /* "allowed" when it was written */
    uint32_t                     *gauges;  /* of the own slot, by process */
    uint32_t                     *totals;  /* of all keys, by process */
    ngx_egress_ratelimit_part_t   parts[1];
};


typedef struct {
    pthread_mutex_t               mutex;
    uint32_t                      free;    /* slots */
    uint32_t                      ofree;   /* owners */
    ngx_egress_ratelimit_row_t   *hand;    /* row to take a slot from next */
    uint64_t                      repairs;
    uint64_t                      broken;  /* the mutex can't be had again */
    uint64_t                      pad[6];
} ngx_egress_ratelimit_shard_t;


typedef struct {
    pthread_mutex_t               mutex;   /* held as long as it lives */
    ngx_pid_t                     pid;     /* 0: free, or unknown */
} ngx_egress_ratelimit_process_t;


struct ngx_egress_ratelimit_table_s {
    ngx_uint_t                      layout;
    ngx_uint_t                      keys;
    ngx_uint_t                      shards_n;
    ngx_uint_t                      per;       /* slots of a shard */
    ngx_uint_t                      mask;      /* of the heads of a shard */
    uint64_t                        seed[2];

    ngx_egress_ratelimit_row_t     *rows;      /* the master adds in front */
    ngx_rbtree_t                    names;     /* the master's */
    ngx_rbtree_node_t               sentinel;

    ngx_uint_t                      processes_n;
    ngx_egress_ratelimit_process_t *processes;
    uint32_t                       *gauges;    /* by slot and process; NULL:
                                                  no bucket counts */
    ngx_egress_ratelimit_shard_t   *shards;
    ngx_egress_ratelimit_slot_t    *slots;
    ngx_egress_ratelimit_owner_t   *owners;
    uint32_t                       *heads;
    uint32_t                       *oheads;
};


/*
 * Locks a shard; if its last owner was killed with the lock held, the lists
 * of the shard are built anew from its slots.  NGX_ERROR: the lock can't be
 * had any more.
 */
ngx_int_t ngx_egress_ratelimit_lock(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard);
void ngx_egress_ratelimit_unlock(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard);


/*
 * The slot of a key, made if there is none; NULL: no room.  With the lock of
 * the shard held.
 */
ngx_egress_ratelimit_slot_t *ngx_egress_ratelimit_get_slot(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_clock_t *clock);

/* ngx_egress_ratelimit_process.c */

/*
 * Counts a connection of the slot's key, if there are fewer than max.  With
 * the lock of the shard held.  NGX_DECLINED: there are as many; NGX_ERROR:
 * it can't be counted.
 */
ngx_int_t ngx_egress_ratelimit_connect(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_slot_t *slot, ngx_uint_t max,
    ngx_egress_ratelimit_connection_t *connection);

/* how many a slot has; with some, it can't make room for another key */
ngx_uint_t ngx_egress_ratelimit_connected(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_slot_t *slot);

/* takes back what processes had that are gone */
void ngx_egress_ratelimit_bury(ngx_egress_ratelimit_table_t *table);


/* which shard a key belongs to */
ngx_uint_t ngx_egress_ratelimit_shard(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row, ngx_egress_ratelimit_key_t *key);


#endif /* _NGX_EGRESS_RATELIMIT_TABLE_H_INCLUDED_ */
