
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_FAR_H_INCLUDED_
#define _NGX_EGRESS_FAR_H_INCLUDED_


/*
 * The far side as reports show it: copies of what the zone keeps, made under
 * its locks and written when these are free again.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/* states of a service that one copy has; some half a millisecond locked */
#define NGX_EGRESS_FAR_STATES     8192

/* names of one copy, and addresses of a name */
#define NGX_EGRESS_FAR_NAMES      256
#define NGX_EGRESS_FAR_ADDRS      16


/* numbers of a service */

typedef struct {
    uint32_t                  held[NGX_EGRESS_HOLD_KINDS];
    ngx_uint_t                opened;
    ngx_uint_t                reused;
    ngx_uint_t                failed;
    ngx_uint_t                overflows;
    ngx_uint_t                retried;
    ngx_uint_t                retry_overflows;
    ngx_uint_t                ejections;
    ngx_uint_t                denied;
} ngx_egress_far_service_t;


typedef struct {
    ngx_sockaddr_t            sa;          /* port 0: the flow's target */
    socklen_t                 socklen;
    ngx_uint_t                weight;
    ngx_uint_t                level;

    ngx_uint_t                active;
    ngx_uint_t                idle;
    ngx_uint_t                picked;
    ngx_uint_t                failed;
    ngx_uint_t                errors;
    ngx_uint_t                ejections;
    ngx_msec_t                ejected;     /* until then; 0: it is not */
    ngx_msec_t                returned;

    unsigned                  placed:1;    /* may be chosen, if healthy */
    unsigned                  known:1;     /* has a state in the zone */
    unsigned                  spelled:1;   /* out in the configuration */
} ngx_egress_far_endpoint_t;


typedef struct {
    u_char                    text[NGX_EGRESS_HOST_MAX + 1];
    size_t                    len;
    ngx_egress_addr_t         addrs[NGX_EGRESS_FAR_ADDRS];
    ngx_uint_t                n;           /* of addrs */
    ngx_uint_t                total;       /* of the answer */
    ngx_uint_t                failures;
    uint64_t                  lookups;
    uint64_t                  errors;
    ngx_msec_t                answered;    /* 0: never was */
    ngx_msec_t                expires;
    unsigned                  configured:1;
    unsigned                  has_answer:1;
} ngx_egress_far_name_t;


/* where the next copy of names goes on; zeroed at first */

typedef struct {
    ngx_uint_t                bucket;
    ngx_uint_t                skip;        /* names of the bucket */
} ngx_egress_far_cursor_t;


typedef struct {
    size_t                    size;        /* bytes */
    size_t                    free;        /* bytes in free pages */
    ngx_uint_t                free_pages;
    ngx_uint_t                full;        /* times that memory ran out */
    ngx_uint_t                processes;
    ngx_pid_t                 leader;
    ngx_uint_t                names;
    ngx_uint_t                evicted;     /* names */
    ngx_uint_t                generation;
} ngx_egress_far_zone_t;


/* ngx_egress_far.c */

/*
 * The services of the configuration, n-th first; after the last one what
 * allow_any lets pass, if it does; then NULL.
 */
ngx_egress_service_t *ngx_egress_far_nth(ngx_uint_t n);

/* locks the share */
void ngx_egress_far_service(ngx_egress_service_t *svc,
    ngx_egress_far_service_t *far);

/*
 * The endpoints of a service in the order of their addresses, in the pool:
 * those of the configuration and of the answers that the guard lets pass, and
 * those of the zone that are not among them any more.  Who has been ejected
 * for long enough is brought back.  Locks the share and the slab's mutex, one
 * after the other.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_egress_far_endpoints(ngx_egress_service_t *svc,
    ngx_pool_t *pool, ngx_array_t *endpoints);

/*
 * Copies the next names, NGX_EGRESS_FAR_NAMES at most; returns how many, 0
 * after the last one.  A name that comes or goes between two calls may be
 * left out, or another be there twice.  Locks the slab's mutex.
 */
ngx_uint_t ngx_egress_far_names(ngx_egress_far_cursor_t *cursor,
    ngx_egress_far_name_t *names);

/* locks the slab's mutex; NGX_DECLINED: there is no zone */
ngx_int_t ngx_egress_far_zone(ngx_egress_far_zone_t *far);


/* ngx_egress_far_metrics.c */

/* a part of the metrics */
ngx_int_t ngx_egress_far_metrics(ngx_egress_report_t *report);


#endif /* _NGX_EGRESS_FAR_H_INCLUDED_ */
