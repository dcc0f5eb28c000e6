
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * What ngx_egress_set.c, ngx_egress_balancer.c and ngx_egress_outlier.c need
 * of nginx and of the zone, to run them without either: one process, memory
 * of the heap, no DNS.  The code under test is the module's own.
 */

#ifndef _FAR_SHIM_H_INCLUDED_
#define _FAR_SHIM_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/*
 * A static service of n endpoints 10.x.x.x:80, of weight 1 and level 0 until
 * the caller says more in its endpoints.  Lives until the end.
 */
ngx_egress_service_t *shim_service(ngx_uint_t balance, ngx_uint_t n);

ngx_egress_endpoint_t *shim_endpoint(ngx_egress_service_t *svc, ngx_uint_t n);

/* the set of the variant; the process ends if there is none */
ngx_egress_set_t *shim_set(ngx_egress_service_t *svc, ngx_uint_t variant);

/* which endpoint a member of a set is, by its address */
ngx_uint_t shim_number(ngx_egress_member_t *m);

/* ejects the n-th member until the given time, as outlier detection does */
void shim_eject(ngx_egress_service_t *svc, ngx_egress_set_t *set,
    ngx_uint_t n, ngx_msec_t until);

/* has the set made anew, as after another answer of DNS */
void shim_changed(void);


#endif /* _FAR_SHIM_H_INCLUDED_ */
