
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_STREAM_EGRESS_H_INCLUDED_
#define _NGX_STREAM_EGRESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_stream.h>
#include <ngx_egress.h>


/* the flow of the session, or NULL if there is none (yet) */
ngx_egress_flow_t *ngx_stream_egress_get_flow(ngx_stream_session_t *s);


#endif /* _NGX_STREAM_EGRESS_H_INCLUDED_ */
