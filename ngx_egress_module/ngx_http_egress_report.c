
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_egress.h>
#include <ngx_http_egress.h>


/* a location whose listeners are looked at when all is known */

typedef struct {
    ngx_http_core_main_conf_t     *cmcf;
    ngx_http_core_srv_conf_t      *cscf;
    void                         **loc_conf;
    ngx_str_t                     *directive;
    u_char                        *file;
    ngx_uint_t                     line;
} ngx_http_egress_exposed_t;


static ngx_int_t ngx_http_egress_status_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_egress_metrics_handler(ngx_http_request_t *r);
static ngx_int_t ngx_http_egress_explain_handler(ngx_http_request_t *r);
static void ngx_http_egress_report_unknown(ngx_http_request_t *r,
    ngx_str_t *unknown);
static ngx_int_t ngx_http_egress_report_init(ngx_http_request_t *r,
    ngx_egress_report_t *report);
static void ngx_http_egress_report_what(ngx_http_request_t *r,
    ngx_egress_report_t *report, ngx_str_t *what);
static ngx_int_t ngx_http_egress_report_send(ngx_http_request_t *r,
    ngx_egress_report_t *report, ngx_uint_t status, ngx_str_t *type);
static ngx_int_t ngx_http_egress_report_header(ngx_http_request_t *r,
    const char *key, const char *value);
static ngx_int_t ngx_http_egress_report_arg(ngx_egress_report_t *report,
    const char *name, ngx_str_t *value);

static char *ngx_http_egress_report(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_handler_pt handler);
static ngx_int_t ngx_http_egress_check_exposed(ngx_cycle_t *cycle,
    void *data);
static ngx_uint_t ngx_http_egress_restricted(ngx_cycle_t *cycle,
    void **loc_conf);
static ngx_http_conf_addr_t *ngx_http_egress_open_listener(
    ngx_http_egress_exposed_t *exposed);
static ngx_uint_t ngx_http_egress_loopback(struct sockaddr *sa);


static ngx_str_t  ngx_http_egress_json_type =
    ngx_string("application/json");
static ngx_str_t  ngx_http_egress_metrics_type =
    ngx_string("text/plain; version=0.0.4; charset=utf-8");


static ngx_int_t
ngx_http_egress_status_handler(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_str_t             what;
    ngx_egress_report_t   report;

    rc = ngx_http_egress_report_init(r, &report);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_egress_report_what(r, &report, &what);

    rc = ngx_egress_report_status(&report, &what);

    if (rc == NGX_DECLINED) {
        return NGX_HTTP_NOT_FOUND;
    }

    if (rc != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_egress_report_send(r, &report, NGX_HTTP_OK,
                                       &ngx_http_egress_json_type);
}


static ngx_int_t
ngx_http_egress_metrics_handler(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_egress_report_t   report;

    rc = ngx_http_egress_report_init(r, &report);

    if (rc != NGX_OK) {
        return rc;
    }

    if (ngx_egress_report_metrics(&report) != NGX_OK) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_egress_report_send(r, &report, NGX_HTTP_OK,
                                       &ngx_http_egress_metrics_type);
}


static ngx_int_t
ngx_http_egress_explain_handler(ngx_http_request_t *r)
{
    ngx_int_t             rc;
    ngx_egress_report_t   report;

    rc = ngx_http_egress_report_init(r, &report);

    if (rc != NGX_OK) {
        return rc;
    }

    ngx_http_egress_report_unknown(r, &report.unknown);

    rc = ngx_egress_report_explain(&report);

    if (rc == NGX_ERROR) {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    return ngx_http_egress_report_send(r, &report,
                                       rc == NGX_OK ? NGX_HTTP_OK
                                                    : NGX_HTTP_BAD_REQUEST,
                                       &ngx_http_egress_json_type);
}


/* the first argument that means nothing: a typing error, say */

static void
ngx_http_egress_report_unknown(ngx_http_request_t *r, ngx_str_t *unknown)
{
    u_char     *p, *last;
    ngx_str_t   name;

    p = r->args.data;
    last = p + r->args.len;

    while (p < last) {

        name.data = p;

        while (p < last && *p != '=' && *p != '&') { p++; }

        name.len = p - name.data;

        if (name.len && !ngx_egress_explain_knows(&name)) {
            *unknown = name;
            return;
        }

        while (p < last && *p++ != '&') { /* void */ }
    }
}


static ngx_int_t
ngx_http_egress_report_init(ngx_http_request_t *r,
    ngx_egress_report_t *report)
{
    if (!(r->method & (NGX_HTTP_GET|NGX_HTTP_HEAD))) {
        return NGX_HTTP_NOT_ALLOWED;
    }

    ngx_memzero(report, sizeof(ngx_egress_report_t));

    report->text.pool = r->pool;
    report->log = r->connection->log;
    report->arg = ngx_http_egress_report_arg;
    report->data = r;

    return ngx_http_discard_request_body(r);
}


/* "?what=name", or what follows the location's prefix and a slash */

static void
ngx_http_egress_report_what(ngx_http_request_t *r,
    ngx_egress_report_t *report, ngx_str_t *what)
{
    ngx_str_t                 *name;
    ngx_http_core_loc_conf_t  *clcf;

    ngx_str_null(what);

    if (report->arg(report, "what", what) == NGX_OK) {
        return;
    }

    clcf = ngx_http_get_module_loc_conf(r, ngx_http_core_module);
    name = &clcf->name;

    if (r->uri.len <= name->len
        || ngx_memcmp(r->uri.data, name->data, name->len) != 0)
    {
        return;
    }

    what->data = r->uri.data + name->len;
    what->len = r->uri.len - name->len;

    if (what->data[0] == '/' && what->len > 1) {
        what->data++;
        what->len--;
    }
}


static ngx_int_t
ngx_http_egress_report_send(ngx_http_request_t *r,
    ngx_egress_report_t *report, ngx_uint_t status, ngx_str_t *type)
{
    ngx_int_t     rc;
    ngx_buf_t    *b;
    ngx_chain_t   empty, *out;

    r->headers_out.status = status;
    r->headers_out.content_length_n = report->text.size;
    r->headers_out.content_type = *type;
    r->headers_out.content_type_len = type->len;
    r->headers_out.content_type_lowcase = NULL;

    if (ngx_http_egress_report_header(r, "Cache-Control", "no-store")
        != NGX_OK
        || ngx_http_egress_report_header(r, "X-Content-Type-Options",
                                         "nosniff")
           != NGX_OK)
    {
        return NGX_HTTP_INTERNAL_SERVER_ERROR;
    }

    rc = ngx_http_send_header(r);

    if (rc == NGX_ERROR || rc > NGX_OK || r->header_only) {
        return rc;
    }

    if (report->text.out) {
        out = report->text.out;
        b = report->text.last->buf;

    } else {
        b = ngx_calloc_buf(r->pool);
        if (b == NULL) {
            return NGX_ERROR;
        }

        empty.buf = b;
        empty.next = NULL;
        out = &empty;
    }

    b->last_buf = (r == r->main);
    b->last_in_chain = 1;

    return ngx_http_output_filter(r, out);
}


static ngx_int_t
ngx_http_egress_report_header(ngx_http_request_t *r, const char *key,
    const char *value)
{
    ngx_table_elt_t  *h;

    h = ngx_list_push(&r->headers_out.headers);
    if (h == NULL) {
        return NGX_ERROR;
    }

    ngx_memzero(h, sizeof(ngx_table_elt_t));

    h->hash = 1;
    h->key.data = (u_char *) key;
    h->key.len = ngx_strlen(key);
    h->value.data = (u_char *) value;
    h->value.len = ngx_strlen(value);

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_report_arg(ngx_egress_report_t *report, const char *name,
    ngx_str_t *value)
{
    u_char              *src, *dst;
    ngx_str_t            raw;
    ngx_http_request_t  *r;

    r = report->data;

    if (ngx_http_arg(r, (u_char *) name, ngx_strlen(name), &raw) != NGX_OK
        || raw.len == 0)
    {
        return NGX_DECLINED;
    }

    dst = ngx_pnalloc(r->pool, raw.len);
    if (dst == NULL) {
        return NGX_ERROR;
    }

    src = raw.data;
    value->data = dst;

    ngx_unescape_uri(&dst, &src, raw.len, 0);

    value->len = dst - value->data;

    return NGX_OK;
}


char *
ngx_http_egress_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_egress_report(cf, cmd, ngx_http_egress_status_handler);
}


char *
ngx_http_egress_metrics(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_egress_report(cf, cmd, ngx_http_egress_metrics_handler);
}


char *
ngx_http_egress_explain(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    return ngx_http_egress_report(cf, cmd, ngx_http_egress_explain_handler);
}


static char *
ngx_http_egress_report(ngx_conf_t *cf, ngx_command_t *cmd,
    ngx_http_handler_pt handler)
{
    ngx_http_conf_ctx_t        *ctx;
    ngx_http_core_loc_conf_t   *clcf;
    ngx_http_egress_exposed_t  *exposed;

    clcf = ngx_http_conf_get_module_loc_conf(cf, ngx_http_core_module);

    if (clcf->handler) {
        return "is duplicate, or the location has another handler";
    }

    clcf->handler = handler;

    exposed = ngx_palloc(cf->pool, sizeof(ngx_http_egress_exposed_t));
    if (exposed == NULL) {
        return NGX_CONF_ERROR;
    }

    ctx = cf->ctx;

    exposed->cmcf = ngx_http_conf_get_module_main_conf(cf,
                                                       ngx_http_core_module);
    exposed->cscf = ngx_http_conf_get_module_srv_conf(cf,
                                                      ngx_http_core_module);
    exposed->loc_conf = ctx->loc_conf;
    exposed->directive = &cmd->name;
    exposed->file = cf->conf_file->file.name.data;
    exposed->line = cf->conf_file->line;

    if (ngx_egress_add_check(cf, ngx_http_egress_check_exposed, exposed)
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


/* what the gateway knows is for who runs it */

static ngx_int_t
ngx_http_egress_check_exposed(ngx_cycle_t *cycle, void *data)
{
    ngx_http_egress_exposed_t *exposed = data;

    ngx_http_conf_addr_t  *addr;

    if (ngx_http_egress_restricted(cycle, exposed->loc_conf)) {
        return NGX_OK;
    }

    addr = ngx_http_egress_open_listener(exposed);

    if (addr) {
        ngx_log_error(NGX_LOG_WARN, cycle->log, 0,
                      "\"%V\" in %s:%ui is open to the network at %V: listen "
                      "on a Unix socket or loopback, or add \"allow\" and "
                      "\"deny\"", exposed->directive, exposed->file,
                      exposed->line, &addr->opt.addr_text);
    }

    return NGX_OK;
}


/* the configuration of nginx's access module begins with its lists of rules */

static ngx_uint_t
ngx_http_egress_restricted(ngx_cycle_t *cycle, void **loc_conf)
{
    ngx_uint_t     i;
    ngx_array_t  **rules;

    for (i = 0; cycle->modules[i]; i++) {

        if (ngx_strcmp(cycle->modules[i]->name, "ngx_http_access_module")
            == 0)
        {
            rules = loc_conf[cycle->modules[i]->ctx_index];

            return rules[0] != NULL;
        }
    }

    return 0;
}


static ngx_http_conf_addr_t *
ngx_http_egress_open_listener(ngx_http_egress_exposed_t *exposed)
{
    ngx_uint_t                  i, j, k;
    ngx_http_conf_port_t       *port;
    ngx_http_conf_addr_t       *addr;
    ngx_http_core_srv_conf_t  **cscf;

    if (exposed->cmcf->ports == NULL) {
        return NULL;
    }

    port = exposed->cmcf->ports->elts;

    for (i = 0; i < exposed->cmcf->ports->nelts; i++) {

        addr = port[i].addrs.elts;

        for (j = 0; j < port[i].addrs.nelts; j++) {

            cscf = addr[j].servers.elts;

            for (k = 0; k < addr[j].servers.nelts; k++) {

                if (cscf[k] == exposed->cscf
                    && !ngx_http_egress_loopback(addr[j].opt.sockaddr))
                {
                    return &addr[j];
                }
            }
        }
    }

    return NULL;
}


static ngx_uint_t
ngx_http_egress_loopback(struct sockaddr *sa)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    switch (sa->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sa;
        return (ntohl(sin->sin_addr.s_addr) >> 24) == 127;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;
        return IN6_IS_ADDR_LOOPBACK(&sin6->sin6_addr);
#endif

    default: /* AF_UNIX */
        return 1;
    }
}
