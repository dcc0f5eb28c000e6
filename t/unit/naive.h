
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NAIVE_H_INCLUDED_
#define _NAIVE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


/*
 * The reference for ngx_egress_engine_match(): rule after rule as they were
 * read, condition after condition, value after value.
 */
ngx_uint_t naive_match(ngx_array_t *rules, ngx_uint_t action,
    ngx_egress_ask_t *ask, ngx_uint_t *number);


#endif /* _NAIVE_H_INCLUDED_ */
