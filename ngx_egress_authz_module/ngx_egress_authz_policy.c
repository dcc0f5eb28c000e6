
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_authz.h>


static ngx_int_t ngx_egress_authz_identify(ngx_egress_flow_t *flow,
    ngx_egress_ask_t *ask);
static ngx_int_t ngx_egress_authz_enforce(ngx_egress_authz_conf_t *acf,
    ngx_egress_lookup_t *lookup, ngx_uint_t mode);
static ngx_int_t ngx_egress_authz_audit(ngx_egress_authz_conf_t *acf,
    ngx_egress_lookup_t *lookup);
static ngx_int_t ngx_egress_authz_dry_run(ngx_egress_authz_conf_t *acf,
    ngx_egress_lookup_t *lookup);
static void ngx_egress_authz_log(ngx_uint_t level, ngx_egress_lookup_t *lookup,
    const char *what, ngx_uint_t reason, ngx_str_t *policy);

static ngx_int_t ngx_egress_authz_asked_header(ngx_egress_ask_t *ask,
    ngx_str_t *name, ngx_egress_header_t *header);
#if (NGX_HAVE_INET6)
static void ngx_egress_authz_in6_addr(ngx_egress_addr_t *addr,
    struct in6_addr *in6);
#endif
static void ngx_egress_authz_asked_addr(ngx_egress_ask_t *ask,
    ngx_uint_t field, ngx_egress_addr_t *addr);


ngx_egress_authz_conf_t *
ngx_egress_authz_conf(void)
{
    ngx_egress_authz_conf_t  *acf;

    acf = ngx_egress_get_conf((ngx_cycle_t *) ngx_cycle,
                              &ngx_egress_authz_module);

    return (acf && acf->policies.nelts) ? acf : NULL;
}


ngx_int_t
ngx_egress_authz(ngx_egress_flow_t *flow, ngx_egress_ask_t *ask,
    ngx_uint_t mode)
{
    ngx_egress_lookup_t       lookup;
    ngx_egress_authz_conf_t  *acf;

    acf = ngx_egress_authz_conf();

    if (mode == NGX_EGRESS_AUTHZ_OFF || acf == NULL) {
        return NGX_OK;
    }

    if (ngx_egress_authz_identify(flow, ask) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_egress_base_lookup(acf->base, ask, &lookup);

    if (!flow->explain
        && (ngx_egress_authz_audit(acf, &lookup) != NGX_OK
            || ngx_egress_authz_dry_run(acf, &lookup) != NGX_OK))
    {
        return NGX_ERROR;
    }

    return ngx_egress_authz_enforce(acf, &lookup, mode);
}


static ngx_int_t
ngx_egress_authz_identify(ngx_egress_flow_t *flow, ngx_egress_ask_t *ask)
{
    if (flow->identity == NULL && flow->explain) {
        if (ngx_egress_identity_asked(flow) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (flow->identity == NULL) {
        flow->identity = ngx_egress_identity(flow->connection);

        if (flow->identity == NULL) {
            return NGX_ERROR;
        }
    }

    ask->flow = flow;
    ask->principal = flow->identity->principal;
    ask->trust_domain = flow->identity->trust_domain;
    ask->port = flow->port;
    ask->sni = flow->sni;

    if (ask->host.len == 0) {
        ask->host = flow->host;
    }

    if (ask->addr == NULL) {
        ask->addr = ngx_egress_authz_addr;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_authz_enforce(ngx_egress_authz_conf_t *acf,
    ngx_egress_lookup_t *lookup, ngx_uint_t mode)
{
    ngx_uint_t          reason;
    ngx_egress_hit_t    hit;
    ngx_egress_flow_t  *flow;

    flow = lookup->ask->flow;

    reason = ngx_egress_authz_reason(acf, lookup, 0, &hit);

    if (ngx_egress_authz_name(flow->pool, &hit, &flow->policy) == NGX_ERROR) {
        return NGX_ERROR;
    }

    if (reason == NGX_EGRESS_REASON_NONE) {
        return NGX_OK;
    }

    if (mode != NGX_EGRESS_AUTHZ_REPORT) {
        return ngx_egress_deny(flow, reason);
    }

    flow->verdict = NGX_EGRESS_REPORTED;
    flow->reason = reason;

    ngx_egress_authz_log(NGX_LOG_WARN, lookup, "would be denied", reason,
                         &flow->policy);

    ngx_egress_authz_would_deny(lookup->ask, 0, reason, &flow->policy);

    return NGX_OK;
}


/*
 * Deny rules first; then one of the allow rules has to match if there is any
 * allow policy, be it one without rules.  What is up to an identity that is
 * missing, or to a value that can't be read, counts as matched if it denies,
 * and as not matched if it allows.
 */

ngx_uint_t
ngx_egress_authz_reason(ngx_egress_authz_conf_t *acf,
    ngx_egress_lookup_t *lookup, ngx_uint_t dry, ngx_egress_hit_t *hit)
{
    ngx_uint_t  rc, first;

    first = dry ? NGX_EGRESS_DRY : 0;

    hit->engine = acf->engines[first + NGX_EGRESS_DENY];

    rc = ngx_egress_engine_match(hit->engine, lookup, &hit->rule);

    if (rc != NGX_EGRESS_NO) {
        return rc == NGX_EGRESS_NOBODY ? NGX_EGRESS_NO_IDENTITY
                                       : NGX_EGRESS_AUTHZ_DENIED;
    }

    hit->engine = NULL;

    if (acf->npolicies[first + NGX_EGRESS_ALLOW] == 0) {
        return NGX_EGRESS_REASON_NONE;
    }

    rc = ngx_egress_engine_match(acf->engines[first + NGX_EGRESS_ALLOW],
                                 lookup, &hit->rule);

    if (rc == NGX_EGRESS_YES) {
        hit->engine = acf->engines[first + NGX_EGRESS_ALLOW];
        return NGX_EGRESS_REASON_NONE;
    }

    return rc == NGX_EGRESS_NOBODY ? NGX_EGRESS_NO_IDENTITY
                                   : NGX_EGRESS_AUTHZ_DENIED;
}


ngx_int_t
ngx_egress_authz_name(ngx_pool_t *pool, ngx_egress_hit_t *hit,
    ngx_str_t *name)
{
    ngx_str_t  *policy;

    ngx_str_null(name);

    if (hit->engine == NULL) {
        return NGX_OK;
    }

    policy = &ngx_egress_engine_policy(hit->engine, hit->rule)->sn.str;

    name->data = ngx_pnalloc(pool, policy->len + 1 + NGX_INT_T_LEN);
    if (name->data == NULL) {
        return NGX_ERROR;
    }

    name->len = ngx_sprintf(name->data, "%V/%ui", policy,
                            ngx_egress_engine_index(hit->engine, hit->rule))
                - name->data;

    return NGX_OK;
}


/* never refuses; what is up to a missing identity is told as well */

static ngx_int_t
ngx_egress_authz_audit(ngx_egress_authz_conf_t *acf,
    ngx_egress_lookup_t *lookup)
{
    ngx_uint_t         rc;
    ngx_str_t          name;
    ngx_egress_hit_t   hit;

    if (acf->npolicies[NGX_EGRESS_AUDIT] == 0) {
        return NGX_OK;
    }

    hit.engine = acf->engines[NGX_EGRESS_AUDIT];

    rc = ngx_egress_engine_match(hit.engine, lookup, &hit.rule);

    if (rc == NGX_EGRESS_NO) {
        return NGX_OK;
    }

    if (ngx_egress_authz_name(lookup->ask->flow->pool, &hit, &name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_egress_authz_log(NGX_LOG_NOTICE, lookup, "audit",
                         rc == NGX_EGRESS_NOBODY ? NGX_EGRESS_NO_IDENTITY
                                                 : NGX_EGRESS_REASON_NONE,
                         &name);

    ngx_egress_authz_audited();

    return NGX_OK;
}


/* what the policies on a dry run alone would say, as Istio's shadow rules */

static ngx_int_t
ngx_egress_authz_dry_run(ngx_egress_authz_conf_t *acf,
    ngx_egress_lookup_t *lookup)
{
    ngx_str_t          name;
    ngx_uint_t         reason;
    ngx_egress_hit_t   hit;

    if (acf->npolicies[NGX_EGRESS_DRY + NGX_EGRESS_ALLOW] == 0
        && acf->npolicies[NGX_EGRESS_DRY + NGX_EGRESS_DENY] == 0)
    {
        return NGX_OK;
    }

    reason = ngx_egress_authz_reason(acf, lookup, 1, &hit);

    if (reason == NGX_EGRESS_REASON_NONE) {
        return NGX_OK;
    }

    if (ngx_egress_authz_name(lookup->ask->flow->pool, &hit, &name) != NGX_OK)
    {
        return NGX_ERROR;
    }

    ngx_egress_authz_log(NGX_LOG_WARN, lookup, "dry run: would be denied",
                         reason, &name);

    ngx_egress_authz_would_deny(lookup->ask, 1, reason, &name);

    return NGX_OK;
}


static void
ngx_egress_authz_log(ngx_uint_t level, ngx_egress_lookup_t *lookup,
    const char *what, ngx_uint_t reason, ngx_str_t *policy)
{
    ngx_egress_ask_t   *ask;
    ngx_egress_flow_t  *flow;

    static ngx_str_t  none = ngx_string("-");

    ask = lookup->ask;
    flow = ask->flow;

    if (flow->explain) {
        return;
    }

    ngx_log_error(level, flow->log, 0,
                  "egress %s: reason %V, host \"%V\", port %ui, "
                  "principal \"%V\", policy \"%V\"",
                  what, ngx_egress_reason_name(reason),
                  flow->host.len ? &flow->host : &none,
                  (ngx_uint_t) flow->port,
                  ask->principal.len ? &ask->principal : &none,
                  policy->len ? policy : &none);
}


ngx_uint_t
ngx_egress_authz_readable(ngx_str_t *value)
{
    size_t   n;
    u_char  *p, *last;

    if (value->len > NGX_EGRESS_HEADER_MAX) {
        return 0;
    }

    p = value->data;
    last = p + value->len;

    while (p < last) {

        n = ngx_egress_utf8(p, last);

        if (n == 0 || (*p < 0x20 && *p != '\t') || *p == 0x7f) {
            return 0;
        }

        p += n;
    }

    return 1;
}


void
ngx_egress_authz_sockaddr(ngx_egress_addr_t *addr, struct sockaddr *sa)
{
    struct sockaddr_in   *sin;
#if (NGX_HAVE_INET6)
    struct sockaddr_in6  *sin6;
#endif

    addr->len = 0;

    switch (sa->sa_family) {

    case AF_INET:
        sin = (struct sockaddr_in *) sa;

        addr->len = 4;
        ngx_memcpy(addr->bytes, &sin->sin_addr, 4);
        break;

#if (NGX_HAVE_INET6)
    case AF_INET6:
        sin6 = (struct sockaddr_in6 *) sa;

        ngx_egress_authz_in6_addr(addr, &sin6->sin6_addr);
        break;
#endif
    }
}


#if (NGX_HAVE_INET6)

/* a client of IPv4 is the same on a socket for both */

static void
ngx_egress_authz_in6_addr(ngx_egress_addr_t *addr, struct in6_addr *in6)
{
    if (IN6_IS_ADDR_V4MAPPED(in6)) {
        addr->len = 4;
        ngx_memcpy(addr->bytes, &in6->s6_addr[12], 4);
        return;
    }

    addr->len = 16;
    ngx_memcpy(addr->bytes, in6->s6_addr, 16);
}

#endif


void
ngx_egress_authz_text_addr(ngx_egress_addr_t *addr, ngx_str_t *text)
{
    in_addr_t        in;
#if (NGX_HAVE_INET6)
    struct in6_addr  in6;
#endif

    addr->len = 0;

    in = ngx_inet_addr(text->data, text->len);

    if (in != INADDR_NONE) {
        addr->len = 4;
        ngx_memcpy(addr->bytes, &in, 4);
        return;
    }

#if (NGX_HAVE_INET6)

    if (ngx_inet6_addr(text->data, text->len, in6.s6_addr) == NGX_OK) {
        ngx_egress_authz_in6_addr(addr, &in6);
    }

#endif
}


void
ngx_egress_authz_addr(ngx_egress_ask_t *ask, ngx_uint_t field,
    ngx_egress_addr_t *addr)
{
    ngx_connection_t  *c;

    c = ask->flow->connection;

    if (field != NGX_EGRESS_DESTINATION_IP) {
        ngx_egress_authz_sockaddr(addr, c->sockaddr);
        return;
    }

    if (ngx_connection_local_sockaddr(c, NULL, 0) == NGX_OK) {
        ngx_egress_authz_sockaddr(addr, c->local_sockaddr);
    }
}


ngx_int_t
ngx_egress_authz_asked(ngx_egress_flow_t *flow)
{
    ngx_egress_ask_t  ask;

    if (ngx_egress_authz_ask(flow, &ask) != NGX_OK) {
        return NGX_ERROR;
    }

    return ngx_egress_authz(flow, &ask, NGX_EGRESS_AUTHZ_ON);
}


/* a path is normalised as a client's would be */

ngx_int_t
ngx_egress_authz_ask(ngx_egress_flow_t *flow, ngx_egress_ask_t *ask)
{
    u_char                   *p;
    ngx_str_t                 value;
    ngx_egress_report_t      *report;
    ngx_egress_authz_conf_t  *acf;

    report = flow->explain;
    acf = ngx_egress_authz_conf();

    ngx_memzero(ask, sizeof(ngx_egress_ask_t));

    ask->addr = ngx_egress_authz_asked_addr;
    ask->header = ngx_egress_authz_asked_header;

    if (flow->subsystem == NGX_EGRESS_HTTP) {

        ask->http = 1;
        ngx_str_set(&ask->method, "GET");
        ngx_str_set(&ask->path, "/");

        (void) report->arg(report, "method", &ask->method);
        (void) report->arg(report, "authority", &ask->host);

        if (acf && report->arg(report, "path", &value) == NGX_OK) {

            p = ngx_pnalloc(flow->pool, 3 * value.len);
            if (p == NULL) {
                return NGX_ERROR;
            }

            (void) ngx_egress_path_normalize(p, &ask->path, &value,
                                             acf->normalization);
        }
    }

    return ngx_egress_authz_identify(flow, ask);
}


/* "header.name=value" */

static ngx_int_t
ngx_egress_authz_asked_header(ngx_egress_ask_t *ask, ngx_str_t *name,
    ngx_egress_header_t *header)
{
    u_char                text[256];
    ngx_int_t             rc;
    ngx_egress_report_t  *report;

    report = ask->flow->explain;

    if (name->len + sizeof("header.") > sizeof(text)) {
        return NGX_DECLINED;
    }

    ngx_sprintf(text, "header.%V%Z", name);

    header->n = 1;

    rc = report->arg(report, (const char *) text, &header->joined);

    if (rc == NGX_OK && !ngx_egress_authz_readable(&header->joined)) {
        return NGX_ERROR;
    }

    return rc;
}


static void
ngx_egress_authz_asked_addr(ngx_egress_ask_t *ask, ngx_uint_t field,
    ngx_egress_addr_t *addr)
{
    ngx_str_t             text;
    ngx_egress_report_t  *report;

    static const char  *names[] = { "source", "remote", "destination" };

    report = ask->flow->explain;

    if (report->arg(report, names[field - NGX_EGRESS_SOURCE_IP], &text)
        == NGX_OK)
    {
        ngx_egress_authz_text_addr(addr, &text);
    }
}
