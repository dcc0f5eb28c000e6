
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_ENDPOINT_H_INCLUDED_
#define _NGX_EGRESS_ENDPOINT_H_INCLUDED_


/*
 * What the core keeps of the far side.  In the shared zone: for each service
 * its share, with the state of each of its endpoints; names and their last
 * answers; what each process holds.  In a process: the set of endpoints that
 * a flow may choose from, made of both and of the configuration.
 *
 * Locks.  The slab pool's mutex is for memory, for names and for the table of
 * processes; nginx takes it back from a dead owner.  A share has a lock of
 * its own, which whoever waits for it takes from a dead owner.  The mutex may
 * be taken with a share locked, never the other way round.  What is changed
 * under a lock is in order after each store, or is counted anew by who takes
 * the lock from the dead.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_core.h>


#define NGX_EGRESS_ENDPOINT_LAYOUT  5      /* bump on any shared change */

/* processes that may serve from one zone at a time, old ones included */
#define NGX_EGRESS_PROCS            256

/* what a hold counts for */

#define NGX_EGRESS_HOLD_CONNECTION  0x0001
#define NGX_EGRESS_HOLD_REQUEST     0x0002
#define NGX_EGRESS_HOLD_PENDING     0x0004
#define NGX_EGRESS_HOLD_RETRY       0x0008
#define NGX_EGRESS_HOLD_IDLE        0x0010 /* a connection that waits for
                                              the next request */

#define NGX_EGRESS_HOLD_KINDS       5

/* where they are counted */

#define NGX_EGRESS_HELD_CONNECTIONS 0
#define NGX_EGRESS_HELD_REQUESTS    1
#define NGX_EGRESS_HELD_PENDING     2
#define NGX_EGRESS_HELD_RETRIES     3
#define NGX_EGRESS_HELD_IDLE        4

/* more addresses of a name than these leave one part of so many of the zone to
   others */
#define NGX_EGRESS_ADDRS_FEW        16
#define NGX_EGRESS_ZONE_RESERVE     8

/* lookups of a name that failed in a row, as far as they are counted */
#define NGX_EGRESS_FAILURES_MAX     0x7fffff

/* endpoints that a flow remembers to have tried */
#define NGX_EGRESS_TRIED            8


typedef struct ngx_egress_state_s     ngx_egress_state_t;
typedef struct ngx_egress_hold_s      ngx_egress_hold_t;
typedef struct ngx_egress_page_s      ngx_egress_page_t;
typedef struct ngx_egress_answer_s    ngx_egress_answer_t;
typedef struct ngx_egress_set_s       ngx_egress_set_t;
typedef struct ngx_egress_decision_s  ngx_egress_decision_t;


/* what DNS can answer; a good deal smaller than struct sockaddr_storage */

typedef union {
    struct sockaddr           sockaddr;
    struct sockaddr_in        sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6       sin6;
#endif
} ngx_egress_addr_t;


/*
 * One endpoint of a service.  It is found again by its address, whatever the
 * configuration, and goes some time after it was last seen in an answer.
 */

struct ngx_egress_state_s {
    ngx_egress_state_t       *next;        /* of the share */
    uint64_t                  id;          /* never the same twice */

    ngx_atomic_t              active;      /* holds that have it */
    ngx_atomic_t              idle;        /* the same, of idle connections */
    ngx_atomic_t              run_5xx;     /* consecutive ones */
    ngx_atomic_t              run_gateway;
    ngx_atomic_t              run_local;

    ngx_msec_t                ejected;     /* until then; 0: it is not */
    ngx_msec_t                returned;    /* when; 0: never was ejected */
    ngx_uint_t                ejections;   /* multiplies the next one */
    ngx_msec_t                seen;        /* in a set, last */
    ngx_uint_t                gen;         /* last configuration that spells
                                              it out; 0: none does */

    ngx_atomic_t              picked;
    ngx_atomic_t              failed;      /* connects and handshakes */
    ngx_atomic_t              errors;      /* answers of 5xx */

    socklen_t                 socklen;
    u_char                    sockaddr[1]; /* port 0: the flow's target */
};


/* the state of a service, by its name; see the lock above */

struct ngx_egress_share_s {
    ngx_str_node_t            sn;          /* key: the name */
    ngx_egress_share_t       *link;        /* of all shares */
    ngx_atomic_t              lock;        /* pid of the owner */
    uint32_t                  gen;         /* last configuration with it */
    uint32_t                  born;        /* the first one */

    ngx_egress_state_t       *states;
    uint32_t                  nstates;
    uint32_t                  nturns;
    uint64_t                  ids;

    /* under the lock: of all holds, in the order of the bits */

    uint32_t                  held[NGX_EGRESS_HOLD_KINDS];

    ngx_atomic_t              health;      /* changes with each ejection and
                                              return */
    ngx_msec_t                swept;       /* last interval of the outlier */
    ngx_msec_t                logged;      /* last line about a limit */

    ngx_atomic_t              opened;      /* connections */
    ngx_atomic_t              reused;
    ngx_atomic_t              failed;      /* connections */
    ngx_atomic_t              overflows;   /* refused: circuit_open */
    ngx_atomic_t              retried;
    ngx_atomic_t              retry_overflows;
    ngx_atomic_t              ejections;
    ngx_atomic_t              denied;      /* addresses, by the guard */

    ngx_atomic_t              turns[1];    /* of round_robin, by variant;
                                              the name follows */
};


/*
 * Something that a process holds; changed with the share's lock held only, but
 * that a free one, which counts for nothing, is given a share.
 */

struct ngx_egress_hold_s {
    ngx_egress_hold_t        *next;        /* free ones, of the owner only */
    ngx_egress_share_t       *share;       /* NULL: nothing is held */
    ngx_egress_state_t       *state;       /* endpoint in use, or NULL */
    ngx_uint_t                flags;
};


/* pages of a process are its successor's, and never go */

struct ngx_egress_page_s {
    ngx_egress_page_t        *next;
    ngx_uint_t                n;
    ngx_egress_hold_t         holds[1];
};


typedef struct {
    ngx_atomic_t              pid;         /* 0: free; negative: of the one
                                              that gives back for a dead one */
    uint32_t                  gen;
    uint32_t                  stale;       /* files of its own that it can't
                                              use as they are now */
    ngx_egress_page_t        *pages;
} ngx_egress_proc_t;


/* replaced as a whole, under the mutex */

struct ngx_egress_answer_s {
    ngx_uint_t                n;           /* 0: the name has no address */
    ngx_egress_addr_t         addrs[1];    /* sorted; port 0 */
};


/* a name and its last good answer; all of it under the mutex */

struct ngx_egress_name_s {
    ngx_egress_name_t        *next;        /* in the bucket */
    ngx_egress_answer_t      *answer;      /* or NULL */

    ngx_msec_t                used;        /* last, by a flow */
    ngx_msec_t                answered;    /* last lookup that went well */
    ngx_msec_t                expires;
    ngx_msec_t                started;     /* the last lookup; or when it
                                              failed */
    uint64_t                  lookups;
    uint32_t                  errors;

    uint32_t                  lead;        /* refreshed so long before it
                                              expires, unless lookups fail */
    uint32_t                  pause;       /* not again so long after it
                                              started, after a failure */
    uint32_t                  hash;
    uint32_t                  gen;         /* of a configuration that has it;
                                              0: it was asked for */
    uint32_t                  born;        /* gen at first */
    volatile uint32_t         version;     /* changes with the answer */
    int32_t                   pid;         /* is looking it up; 0: nobody */

    unsigned                  early:1;     /* before the answer was old */
    unsigned                  len:8;
    unsigned                  failures:23; /* in a row */

    u_char                    text[1];     /* a slab of 128 bytes has room for
                                              36 of it */
};


typedef struct {
    ngx_uint_t                layout;
    ngx_uint_t                gen;         /* of the last configuration */

    ngx_rbtree_t              shares;
    ngx_rbtree_node_t         sentinel;
    ngx_egress_share_t       *first;       /* of all shares */

    ngx_egress_name_t       **names;       /* buckets */
    ngx_uint_t                mask;
    ngx_uint_t                asked;       /* names with gen 0 */
    ngx_uint_t                hand;        /* bucket where to evict next */
    ngx_atomic_t              leader;      /* pid of who refreshes names */

    ngx_atomic_t              tls_reloads; /* of changed files; all workers */
    ngx_atomic_t              tls_failures;

    uint64_t                  evicted;
    ngx_atomic_t              full;        /* times that memory ran out */
    ngx_msec_t                logged;

    ngx_egress_proc_t         procs[NGX_EGRESS_PROCS];
} ngx_egress_zone_t;


/* what a flow may choose from, in a process */

typedef struct {
    ngx_egress_state_t       *state;
    uint64_t                  id;          /* of the state */
    struct sockaddr          *sockaddr;    /* port 0: the flow's target */
    socklen_t                 socklen;
    ngx_uint_t                weight;
    ngx_uint_t                level;
    uint64_t                  hash;        /* of the address */
    ngx_str_t                 text;        /* of the address and the port */
    in_port_t                 target;      /* in the text, if portless */
    unsigned                  portless:1;
    unsigned                  spelled:1;   /* out in the configuration */
} ngx_egress_member_t;


typedef struct {
    ngx_uint_t                first;       /* in live[] and upto[] */
    ngx_uint_t                n;
    ngx_uint_t                total;       /* with the ejected ones */
    ngx_uint_t                even;        /* weights are the same */
    ngx_uint_t                load;        /* percent, of traffic */
    uint64_t                  weight;      /* of all that are live */
    uint16_t                 *turns;       /* smooth order; or NULL */
    ngx_uint_t                nturns;
} ngx_egress_level_t;


struct ngx_egress_set_s {
    ngx_pool_t               *pool;
    ngx_uint_t                turn;        /* in share->turns[] */
    ngx_uint_t                made;        /* of which versions of names */
    ngx_uint_t                health;      /* of which health of the share */
    ngx_msec_t                checked;     /* states were seen */

    ngx_egress_member_t      *members;
    ngx_uint_t                n;
    ngx_uint_t                denied;      /* addresses that the guard left
                                              out */
    struct sockaddr          *refused;     /* one of them; or NULL */
    socklen_t                 refused_len;
    ngx_uint_t                missing;     /* those without room */
    ngx_uint_t                ejected;
    ngx_uint_t                panic;       /* ejections do not count */

    ngx_egress_level_t        levels[NGX_EGRESS_LEVELS];
    uint32_t                 *live;        /* of members, by level */
    uint64_t                 *upto;        /* weights so far in the level */
    ngx_pool_t               *scratch;     /* of live, upto and turns */
};


/* of a service, in a process */

struct ngx_egress_local_s {
    ngx_egress_set_t        **sets;        /* as svc->variants */
    ngx_uint_t                pending;     /* flows that wait for a slot */
    ngx_queue_t               idle;        /* connections, last used first */
    ngx_uint_t                nidle;
    ngx_egress_decision_t    *decision;    /* counted last; or NULL */
};


/* of a flow: what it holds and what it has tried */

struct ngx_egress_reach_s {
    ngx_egress_hold_t        *hold;        /* or NULL */
    ngx_uint_t                variant;

    ngx_queue_t               queue;       /* of those that wait */
    ngx_uint_t                waits;       /* NGX_EGRESS_WAIT_... */
    ngx_msec_t                since;
    ngx_egress_flow_t        *flow;

    ngx_uint_t                attempts;    /* so far */
    ngx_egress_state_t       *state;       /* of the attempt; or NULL */
    ngx_connection_t         *kept;        /* idle before, for the attempt */
    ngx_egress_state_t       *tried[NGX_EGRESS_TRIED];
    ngx_uint_t                ntried;

    uint64_t                  key;         /* of "balance hash" */
    unsigned                  keyed:1;     /* key was looked for */
    unsigned                  has_key:1;
    unsigned                  refused:1;   /* an address, by the guard */
};


#define NGX_EGRESS_WAIT_NONE  0
#define NGX_EGRESS_WAIT_NAME  1
#define NGX_EGRESS_WAIT_SLOT  2


/* ngx_egress_endpoint.c */

ngx_int_t ngx_egress_endpoint_init_area(ngx_slab_pool_t *shpool, void **area,
    void *data, ngx_log_t *log);

/* what init_area() takes, in bytes: what it says if there is not enough */
size_t ngx_egress_endpoint_memory(ngx_egress_conf_t *ecf);

/* claims a row of the table of processes; gives back what the dead held */
ngx_int_t ngx_egress_endpoint_init_process(ngx_cycle_t *cycle);
void ngx_egress_endpoint_exit_process(ngx_cycle_t *cycle);

/* gives back what processes held that are gone; bounded, called each second */
void ngx_egress_endpoint_reap(ngx_egress_zone_t *zone, ngx_log_t *log);

uint64_t ngx_egress_mix(uint64_t n);

/*
 * This process has so many more, or fewer, files that changed and can't be
 * used; the number of all live processes.
 */
void ngx_egress_endpoint_stale(ngx_int_t n);
ngx_uint_t ngx_egress_endpoint_stale_total(void);

/* frees endpoints that have left; bounded, called each second by one process */
void ngx_egress_endpoint_sweep(ngx_egress_conf_t *ecf);

/* is there such a process; a stopped one and a zombie are */
ngx_uint_t ngx_egress_alive(ngx_pid_t pid);

/* the zone of this process; shpool may be NULL if not wanted */
ngx_egress_zone_t *ngx_egress_endpoint_zone(ngx_slab_pool_t **shpool);

/*
 * Locks a share.  Between the two: no logging, no allocation but from the
 * slab, bounded time.
 */
void ngx_egress_share_lock(ngx_egress_share_t *share);
void ngx_egress_share_unlock(ngx_egress_share_t *share);

/* a hold that holds nothing yet; NULL: the zone is full */
ngx_egress_hold_t *ngx_egress_hold_create(ngx_egress_share_t *share);

/*
 * Counts one more of the given kind.  NGX_BUSY: there are max already
 * (NGX_EGRESS_UNLIMITED: as many as there are).
 */
ngx_int_t ngx_egress_hold_add(ngx_egress_hold_t *hold, ngx_uint_t flag,
    ngx_int_t max);
void ngx_egress_hold_drop(ngx_egress_hold_t *hold, ngx_uint_t flags);

/*
 * Counts a request, of which there is no limit, and its connection in one go.
 * NGX_BUSY: there are max connections already, and nothing is counted.
 */
ngx_int_t ngx_egress_hold_begin(ngx_egress_hold_t *hold, ngx_int_t max);

/* NGX_DECLINED: the endpoint is not there any more */
ngx_int_t ngx_egress_hold_use(ngx_egress_hold_t *hold,
    ngx_egress_state_t *state, uint64_t id);
void ngx_egress_hold_unuse(ngx_egress_hold_t *hold);

/* the connection and its endpoint go to another hold, to wait for a request */
void ngx_egress_hold_park(ngx_egress_hold_t *to, ngx_egress_hold_t *from);

/*
 * The connection that waited carries a request, in place of the connection
 * and the endpoint that its hold may have.  The one that it waited in is free
 * then; what to had, another flow may have.
 */
void ngx_egress_hold_resume(ngx_egress_hold_t *to, ngx_egress_hold_t *from);

/* gives all back; the hold is free then */
void ngx_egress_hold_destroy(ngx_egress_hold_t *hold);

/* is less than one part of so many of the zone free; the mutex is locked */
ngx_uint_t ngx_egress_zone_scarce(ngx_slab_pool_t *shpool, ngx_uint_t parts);

/* NULL: the zone is full; share locked, shpool's mutex not */
ngx_egress_state_t *ngx_egress_state_add(ngx_egress_share_t *share,
    struct sockaddr *sa, socklen_t socklen);

/*
 * Frees the states that no set has seen for some time and that nobody uses;
 * share locked.
 */
void ngx_egress_state_expire(ngx_egress_share_t *share, ngx_msec_t now);

/* a line of the log a second at most: NGX_OK, or NGX_DECLINED */
ngx_int_t ngx_egress_log_due(ngx_msec_t *logged);


/* ngx_egress_resolve.c */

/* under the mutex; NULL: the zone is full */
ngx_egress_name_t *ngx_egress_name_add(ngx_egress_zone_t *zone,
    ngx_slab_pool_t *shpool, ngx_str_t *text, ngx_uint_t gen,
    ngx_uint_t bound);

/* under the mutex: the name that p points to */
void ngx_egress_name_free(ngx_egress_zone_t *zone, ngx_slab_pool_t *shpool,
    ngx_egress_name_t **p);

ngx_int_t ngx_egress_resolve_init_process(ngx_cycle_t *cycle);

/*
 * Sees to it that the names of the flow's endpoints have answers.  NGX_OK;
 * NGX_AGAIN: a lookup is under way, here or in another process;
 * NGX_DECLINED: DNS has no answer for any of them.
 */
ngx_int_t ngx_egress_names_check(ngx_egress_flow_t *flow,
    ngx_egress_variant_t *variant);

/*
 * The answer for a name that a client asked for, copied to addrs, which has
 * room for *n; as ngx_egress_names_check().
 */
ngx_int_t ngx_egress_name_ask(ngx_egress_flow_t *flow, ngx_str_t *text,
    ngx_egress_addr_t *addrs, ngx_uint_t *n);

/* the versions of the names of a variant, as one number */
ngx_uint_t ngx_egress_names_version(ngx_egress_service_t *svc,
    ngx_egress_variant_t *variant);

/* a copy of the answer in the pool; n is 0 if there is none to be used */
ngx_int_t ngx_egress_name_copy(ngx_egress_name_t *name, ngx_pool_t *pool,
    ngx_egress_addr_t **addrs, ngx_uint_t *n);

/* the flow waits for a name or a slot; woken by ngx_egress_wait_post() */
void ngx_egress_wait(ngx_egress_flow_t *flow, ngx_uint_t what);
void ngx_egress_wait_cancel(ngx_egress_flow_t *flow);

/* those that wait are looked at as soon as the current event is done */
void ngx_egress_wait_post(void);


/* ngx_egress_reach.c */

/* goes on with a flow that waited: as ngx_egress_reach() */
ngx_int_t ngx_egress_reach_on(ngx_egress_flow_t *flow);


/* ngx_egress_set.c */

/* the process's part of a service; NULL: no memory */
ngx_egress_local_t *ngx_egress_local(ngx_egress_service_t *svc);

/*
 * The set of a variant as it is now; NULL: no memory.  It is valid until the
 * next call.
 */
ngx_egress_set_t *ngx_egress_set(ngx_egress_service_t *svc,
    ngx_uint_t variant, ngx_log_t *log);


/* what a member without a port is called when the flow's target is dialled */
void ngx_egress_set_target(ngx_egress_member_t *member, in_port_t target);


/* ngx_egress_balancer.c */

/*
 * The choice of an algorithm alone; again: the flow has picked before.  NULL:
 * all are ejected, or none is there.
 */
ngx_egress_member_t *ngx_egress_pick(ngx_egress_service_t *svc,
    ngx_egress_set_t *set, uint64_t key, ngx_uint_t has_key,
    ngx_uint_t again);


/* ngx_egress_outlier.c */

/* brings back who has been ejected for long enough; locks the share */
void ngx_egress_outlier_sweep(ngx_egress_service_t *svc);

/* is the endpoint back, but not yet for all of its part of the traffic */
ngx_uint_t ngx_egress_outlier_returning(ngx_egress_service_t *svc,
    ngx_egress_state_t *state);

/* ejects the endpoint if what it did is enough, and enough others are left */
void ngx_egress_outlier_count(ngx_egress_service_t *svc,
    ngx_egress_set_t *set, ngx_egress_state_t *state, ngx_uint_t outcome,
    ngx_log_t *log);


/* ngx_egress_pool.c */

/* closes a connection to a service, its TLS and its pool */
void ngx_egress_close(ngx_connection_t *c);

void ngx_egress_pool_init_process(void);

/* closes idle connections that may not be used any more */
void ngx_egress_pool_sweep(ngx_cycle_t *cycle);

/*
 * Takes an idle connection of the flow's service, to this endpoint or, with
 * NULL, to any; it and its endpoint are the flow's then.
 */
ngx_int_t ngx_egress_pool_take(ngx_egress_flow_t *flow,
    ngx_egress_state_t *state);

/* closes what was taken and not used */
void ngx_egress_kept_close(ngx_egress_flow_t *flow);


#endif /* _NGX_EGRESS_ENDPOINT_H_INCLUDED_ */
