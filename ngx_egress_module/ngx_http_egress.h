
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_HTTP_EGRESS_H_INCLUDED_
#define _NGX_HTTP_EGRESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_egress.h>


/*
 * The flow of the request, or NULL if there is none (yet).  It outlives
 * internal redirects; a subrequest has one of its own.
 */
ngx_egress_flow_t *ngx_http_egress_get_flow(ngx_http_request_t *r);

/*
 * The path that is sent if it is not the client's own request target, but
 * r->uri, or what a location makes of it: "proxy_pass http://egress/path",
 * rewrites, redirects, subrequests.  NGX_DECLINED: it is the client's.
 */
ngx_int_t ngx_http_egress_sent_path(ngx_http_request_t *r, ngx_str_t *path);


/* ngx_http_egress_report.c: directives of a location */

char *ngx_http_egress_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_egress_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_http_egress_explain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);


#endif /* _NGX_HTTP_EGRESS_H_INCLUDED_ */
