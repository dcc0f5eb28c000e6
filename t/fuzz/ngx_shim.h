
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/* what ngx_egress_clienthello.c needs of nginx, to build it without nginx */

#ifndef _NGX_SHIM_H_INCLUDED_
#define _NGX_SHIM_H_INCLUDED_


#include <stddef.h>
#include <stdint.h>
#include <string.h>


typedef unsigned char  u_char;
typedef intptr_t       ngx_int_t;
typedef uintptr_t      ngx_uint_t;


#define NGX_OK         0
#define NGX_ERROR     -1
#define NGX_AGAIN     -2
#define NGX_DECLINED  -5


#define ngx_memzero(buf, n)     (void) memset(buf, 0, n)
#define ngx_memcpy(dst, src, n) (void) memcpy(dst, src, n)


#endif /* _NGX_SHIM_H_INCLUDED_ */
