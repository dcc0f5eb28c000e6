
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_http.h>
#include <ngx_http_egress.h>
#include <ngx_egress_authz.h>


#define NGX_HTTP_TOO_EARLY         425


typedef struct {
    ngx_uint_t                mode;
} ngx_http_egress_authz_loc_conf_t;


static ngx_int_t ngx_http_egress_authz_step(ngx_egress_flow_t *flow);
static ngx_int_t ngx_http_egress_authz_authority(ngx_http_request_t *r,
    ngx_egress_flow_t *flow, ngx_str_t *authority);
static void ngx_http_egress_authz_port(u_char *p, u_char *last,
    ngx_str_t *port);
static ngx_int_t ngx_http_egress_authz_path(ngx_http_request_t *r,
    ngx_egress_authz_conf_t *acf, ngx_str_t *path, ngx_str_t *sent);
static ngx_int_t ngx_http_egress_authz_sent(ngx_egress_ask_t *ask,
    ngx_uint_t normalization, ngx_uint_t mode, ngx_str_t *sent);
static ngx_int_t ngx_http_egress_authz_header(ngx_egress_ask_t *ask,
    ngx_str_t *name, ngx_egress_header_t *header);
static void ngx_http_egress_authz_addr(ngx_egress_ask_t *ask,
    ngx_uint_t field, ngx_egress_addr_t *addr);
static void ngx_http_egress_authz_hop(ngx_http_request_t *r, ngx_int_t hops,
    ngx_egress_addr_t *addr);
static ngx_int_t ngx_http_egress_authz_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data);
static ngx_int_t ngx_http_egress_authz_add_variables(ngx_conf_t *cf);
static void *ngx_http_egress_authz_create_loc_conf(ngx_conf_t *cf);
static char *ngx_http_egress_authz_merge_loc_conf(ngx_conf_t *cf,
    void *parent, void *child);
static ngx_int_t ngx_http_egress_authz_init(ngx_conf_t *cf);


static ngx_conf_enum_t  ngx_http_egress_authz_modes[] = {
    { ngx_string("off"), NGX_EGRESS_AUTHZ_OFF },
    { ngx_string("on"), NGX_EGRESS_AUTHZ_ON },
    { ngx_string("report"), NGX_EGRESS_AUTHZ_REPORT },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_http_egress_authz_commands[] = {

    { ngx_string("egress_authz"),
      NGX_HTTP_MAIN_CONF|NGX_HTTP_SRV_CONF|NGX_HTTP_LOC_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      NGX_HTTP_LOC_CONF_OFFSET,
      offsetof(ngx_http_egress_authz_loc_conf_t, mode),
      &ngx_http_egress_authz_modes },

      ngx_null_command
};


static ngx_http_module_t  ngx_http_egress_authz_module_ctx = {
    ngx_http_egress_authz_add_variables,   /* preconfiguration */
    ngx_http_egress_authz_init,            /* postconfiguration */

    NULL,                                  /* create main configuration */
    NULL,                                  /* init main configuration */

    NULL,                                  /* create server configuration */
    NULL,                                  /* merge server configuration */

    ngx_http_egress_authz_create_loc_conf, /* create location configuration */
    ngx_http_egress_authz_merge_loc_conf   /* merge location configuration */
};


ngx_module_t  ngx_http_egress_authz_module = {
    NGX_MODULE_V1,
    &ngx_http_egress_authz_module_ctx,     /* module context */
    ngx_http_egress_authz_commands,        /* module directives */
    NGX_HTTP_MODULE,                       /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static ngx_http_variable_t  ngx_http_egress_authz_vars[] = {

    { ngx_string("egress_principal"), NULL, ngx_http_egress_authz_variable,
      offsetof(ngx_egress_identity_t, principal),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_trust_domain"), NULL, ngx_http_egress_authz_variable,
      offsetof(ngx_egress_identity_t, trust_domain),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_namespace"), NULL, ngx_http_egress_authz_variable,
      offsetof(ngx_egress_identity_t, namespace),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

    { ngx_string("egress_service_account"), NULL,
      ngx_http_egress_authz_variable,
      offsetof(ngx_egress_identity_t, service_account),
      NGX_HTTP_VAR_NOCACHEABLE, 0 },

      ngx_http_null_variable
};


static ngx_int_t
ngx_http_egress_authz_step(ngx_egress_flow_t *flow)
{
    ngx_int_t                          rc;
    ngx_str_t                          sent;
    ngx_egress_ask_t                   ask;
    ngx_http_request_t                *r;
    ngx_egress_authz_conf_t           *acf;
    ngx_http_egress_authz_loc_conf_t  *alcf;

    if (flow->explain) {
        return ngx_egress_authz_asked(flow);
    }

    acf = ngx_egress_authz_conf();

    r = flow->data;
    alcf = ngx_http_get_module_loc_conf(r, ngx_http_egress_authz_module);

    if (acf == NULL || alcf->mode == NGX_EGRESS_AUTHZ_OFF) {
        return NGX_OK;
    }

    /* it may be a replay, RFC 8470: 425 has the client send it again */

    ngx_str_null(&sent);

    if (r->connection->ssl) {

        (void) ngx_ssl_get_early_data(r->connection, r->pool, &sent);

        if (sent.len) {
            flow->status = NGX_HTTP_TOO_EARLY;
            return ngx_egress_deny(flow, NGX_EGRESS_AUTHZ_DENIED);
        }
    }

    ngx_memzero(&ask, sizeof(ngx_egress_ask_t));

    ask.http = 1;
    ask.method = r->method_name;
    ask.data = r;
    ask.addr = ngx_http_egress_authz_addr;
    ask.header = ngx_http_egress_authz_header;

    if (ngx_http_egress_authz_authority(r, flow, &ask.host) != NGX_OK
        || ngx_http_egress_authz_path(r, acf, &ask.path, &sent) != NGX_OK)
    {
        return NGX_ERROR;
    }

    rc = ngx_egress_authz(flow, &ask, alcf->mode);

    if (rc != NGX_OK || sent.len == 0) {
        return rc;
    }

    return ngx_http_egress_authz_sent(&ask, acf->normalization, alcf->mode,
                                      &sent);
}


/*
 * What is sent is another path than the client's: it has to pass, too, as it
 * is and as who gets it may read it.  A rewrite can join "/x/" and "../y".
 */

static ngx_int_t
ngx_http_egress_authz_sent(ngx_egress_ask_t *ask, ngx_uint_t normalization,
    ngx_uint_t mode, ngx_str_t *sent)
{
    u_char     *p;
    ngx_int_t   rc;
    ngx_str_t   path;

    if (sent->len != ask->path.len
        || ngx_memcmp(sent->data, ask->path.data, sent->len) != 0)
    {
        ask->path = *sent;

        rc = ngx_egress_authz(ask->flow, ask, mode);

        if (rc != NGX_OK) {
            return rc;
        }
    }

    p = ngx_pnalloc(ask->flow->pool, sent->len * 3);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_egress_path_normalize(p, &path, sent, normalization) != NGX_OK
        || (path.len == sent->len
            && ngx_memcmp(path.data, sent->data, path.len) == 0))
    {
        return NGX_OK;
    }

    ask->path = path;

    return ngx_egress_authz(ask->flow, ask, mode);
}


/*
 * What Envoy has as :authority, lower-cased: the host without trailing dot
 * that nginx goes by, and the port as the client wrote it.
 */

static ngx_int_t
ngx_http_egress_authz_authority(ngx_http_request_t *r,
    ngx_egress_flow_t *flow, ngx_str_t *authority)
{
    u_char     *p, *last;
    ngx_str_t   port;

    ngx_str_null(&port);

    /*
     * Of "GET http://host:port/", where the Host header counts nothing, or of
     * :authority.  Before 1.29 host_end is at the port, then behind it.
     */

    if (r->host_start) {
        ngx_http_egress_authz_port(r->host_start, r->host_end, &port);

        if (port.len == 0 && *r->host_end == ':'
#if (NGX_HTTP_V2)
            && r->stream == NULL
#endif
           )
        {
            port.data = r->host_end + 1;

            for (p = port.data; *p >= '0' && *p <= '9'; p++) { /* void */ }

            port.len = p - port.data;
        }

    } else if (r->headers_in.host) {
        p = r->headers_in.host->value.data;
        last = p + r->headers_in.host->value.len;

        ngx_http_egress_authz_port(p, last, &port);
    }

    if (port.len == 0) {
        *authority = flow->host;
        return NGX_OK;
    }

    authority->len = flow->host.len + 1 + port.len;
    authority->data = ngx_pnalloc(r->pool, authority->len);
    if (authority->data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(authority->data, flow->host.data, flow->host.len);
    *p++ = ':';
    ngx_memcpy(p, port.data, port.len);

    return NGX_OK;
}


static void
ngx_http_egress_authz_port(u_char *p, u_char *last, ngx_str_t *port)
{
    if (p < last && *p == '[') {
        p = ngx_strlchr(p, last, ']');
    }

    p = p ? ngx_strlchr(p, last, ':') : NULL;

    if (p) {
        port->data = p + 1;
        port->len = last - port->data;
    }
}


/*
 * The path to decide on: the client's, normalised.  If nginx sends another
 * one, since it was rewritten, that is in sent; else the normalised path is
 * what is sent, as Envoy does.
 */

static ngx_int_t
ngx_http_egress_authz_path(ngx_http_request_t *r,
    ngx_egress_authz_conf_t *acf, ngx_str_t *path, ngx_str_t *sent)
{
    u_char     *p, *last;
    size_t      len;
    ngx_str_t   raw;

    if (!(acf->fields & (1 << NGX_EGRESS_PATH))) {
        return NGX_OK;
    }

    raw = r->unparsed_uri;

    if (ngx_http_egress_sent_path(r, sent) == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (r != r->main) {
        raw = *sent;
    }

    p = ngx_pnalloc(r->pool, raw.len * 3);
    if (p == NULL) {
        return NGX_ERROR;
    }

    if (ngx_egress_path_normalize(p, path, &raw, acf->normalization)
        != NGX_OK
        || sent->len)
    {
        return NGX_OK;
    }

    for (len = 0; len < raw.len && raw.data[len] != '?'
                  && raw.data[len] != '#'; len++)
    {
        /* void */
    }

    /* the arguments stay as they are */

    last = ngx_strlchr(raw.data + len, raw.data + raw.len, '#');

    if (last == NULL) {
        last = raw.data + raw.len;

        if (path->len == len && ngx_memcmp(path->data, raw.data, len) == 0) {
            return NGX_OK;
        }
    }

    r->unparsed_uri.len = path->len + (last - (raw.data + len));
    r->unparsed_uri.data = ngx_pnalloc(r->pool, r->unparsed_uri.len);
    if (r->unparsed_uri.data == NULL) {
        return NGX_ERROR;
    }

    p = ngx_cpymem(r->unparsed_uri.data, path->data, path->len);
    ngx_memcpy(p, raw.data + len, last - (raw.data + len));

    return NGX_OK;
}


/* all lines of the name, joined as Envoy joins them */

static ngx_int_t
ngx_http_egress_authz_header(ngx_egress_ask_t *ask, ngx_str_t *name,
    ngx_egress_header_t *header)
{
    size_t               len;
    u_char              *p;
    ngx_uint_t           i, n;
    ngx_list_part_t     *part;
    ngx_table_elt_t     *h;
    ngx_http_request_t  *r;

    r = ask->data;
    p = NULL;

    header->joined.len = 0;

    for (n = 0; n < 2; n++) {

        /* their length, then the values */

        header->n = 0;
        len = 0;

        for (part = &r->headers_in.headers.part; part; part = part->next) {

            h = part->elts;

            for (i = 0; i < part->nelts; i++) {

                if (h[i].key.len != name->len
                    || ngx_strncasecmp(h[i].key.data, name->data, name->len)
                       != 0)
                {
                    continue;
                }

                if (header->n++) {
                    len++;

                    if (p) {
                        *p++ = ',';
                    }
                }

                len += h[i].value.len;

                if (p) {
                    p = ngx_cpymem(p, h[i].value.data, h[i].value.len);
                }
            }
        }

        if (header->n == 0) {
            return NGX_DECLINED;
        }

        if (n == 0) {
            header->joined.len = len;
            header->joined.data = ngx_pnalloc(r->pool, len + 1);
            if (header->joined.data == NULL) {
                return NGX_ERROR;
            }

            p = header->joined.data;
        }
    }

    return ngx_egress_authz_readable(&header->joined) ? NGX_OK : NGX_ERROR;
}


/* the peer of the connection, whatever it or a proxy says of itself */

static void
ngx_http_egress_authz_addr(ngx_egress_ask_t *ask, ngx_uint_t field,
    ngx_egress_addr_t *addr)
{
    ngx_str_t                   text;
    ngx_uint_t                  hash;
    ngx_http_request_t         *r;
    ngx_egress_authz_conf_t    *acf;
    ngx_http_variable_value_t  *v;

    static ngx_str_t  direct = ngx_string("realip_remote_addr");

    r = ask->data;
    acf = ngx_egress_authz_conf();

    if (field == NGX_EGRESS_REMOTE_IP && acf->trusted_hops) {
        ngx_http_egress_authz_hop(r, acf->trusted_hops, addr);

        if (addr->len) {
            return;
        }
    }

    if (field != NGX_EGRESS_SOURCE_IP) {
        ngx_egress_authz_addr(ask, field, addr);
        return;
    }

    hash = ngx_hash_key(direct.data, direct.len);
    v = ngx_http_get_variable(r, &direct, hash);

    if (v == NULL || v->not_found) {
        ngx_egress_authz_addr(ask, field, addr);
        return;
    }

    text.data = v->data;
    text.len = v->len;

    ngx_egress_authz_text_addr(addr, &text);
}


/*
 * As Envoy with xff_num_trusted_hops: the n-th address from the right.  Fewer
 * than that, or no address there: the peer itself.
 */

static void
ngx_http_egress_authz_hop(ngx_http_request_t *r, ngx_int_t hops,
    ngx_egress_addr_t *addr)
{
    u_char               *p, *start, *last;
    ngx_str_t             text;
    ngx_egress_ask_t      ask;
    ngx_egress_header_t   header;

    static ngx_str_t  name = ngx_string("x-forwarded-for");

    addr->len = 0;
    ask.data = r;

    if (ngx_http_egress_authz_header(&ask, &name, &header) != NGX_OK) {
        return;
    }

    start = header.joined.data;
    last = start + header.joined.len;

    for ( ;; ) {

        for (p = last; p > start && p[-1] != ','; p--) { /* void */ }

        if (--hops == 0) {
            break;
        }

        if (p == start) {
            return;
        }

        last = p - 1;
    }

    while (p < last && (*p == ' ' || *p == '\t')) { p++; }
    while (p < last && (last[-1] == ' ' || last[-1] == '\t')) { last--; }

    text.data = p;
    text.len = last - p;

    ngx_egress_authz_text_addr(addr, &text);
}


static ngx_int_t
ngx_http_egress_authz_variable(ngx_http_request_t *r,
    ngx_http_variable_value_t *v, uintptr_t data)
{
    ngx_str_t              *value;
    ngx_egress_identity_t  *id;

    id = ngx_egress_identity(r->connection);
    if (id == NULL) {
        return NGX_ERROR;
    }

    value = (ngx_str_t *) ((char *) id + data);

    if (value->len == 0) {
        v->not_found = 1;
        return NGX_OK;
    }

    v->data = value->data;
    v->len = value->len;
    v->valid = 1;
    v->no_cacheable = 0;
    v->not_found = 0;

    return NGX_OK;
}


static ngx_int_t
ngx_http_egress_authz_add_variables(ngx_conf_t *cf)
{
    ngx_http_variable_t  *var, *v;

    for (v = ngx_http_egress_authz_vars; v->name.len; v++) {
        var = ngx_http_add_variable(cf, &v->name, v->flags);
        if (var == NULL) {
            return NGX_ERROR;
        }

        var->get_handler = v->get_handler;
        var->data = v->data;
    }

    return NGX_OK;
}


static void *
ngx_http_egress_authz_create_loc_conf(ngx_conf_t *cf)
{
    ngx_http_egress_authz_loc_conf_t  *alcf;

    alcf = ngx_palloc(cf->pool, sizeof(ngx_http_egress_authz_loc_conf_t));
    if (alcf == NULL) {
        return NULL;
    }

    alcf->mode = NGX_CONF_UNSET_UINT;

    return alcf;
}


static char *
ngx_http_egress_authz_merge_loc_conf(ngx_conf_t *cf, void *parent,
    void *child)
{
    ngx_http_egress_authz_loc_conf_t *prev = parent;
    ngx_http_egress_authz_loc_conf_t *conf = child;

    ngx_conf_merge_uint_value(conf->mode, prev->mode, NGX_EGRESS_AUTHZ_ON);

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_http_egress_authz_init(ngx_conf_t *cf)
{
    return ngx_egress_add_step(cf, NGX_EGRESS_HTTP, NGX_EGRESS_STEP_AUTHZ,
                               ngx_http_egress_authz_step);
}
