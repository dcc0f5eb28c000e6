
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


/* what a rule, or a part of it, says about a flow */

#define NGX_EGRESS_RULE_NO         0
#define NGX_EGRESS_RULE_YES        1
#define NGX_EGRESS_RULE_UNKNOWN    2       /* that is up to an identity, and
                                              the flow has none */


static ngx_uint_t ngx_egress_authz_reason(ngx_egress_authz_conf_t *acf,
    ngx_egress_flow_t *flow);
static ngx_uint_t ngx_egress_authz_rule(ngx_egress_rule_t *rule,
    ngx_egress_flow_t *flow);
static ngx_uint_t ngx_egress_authz_from(ngx_egress_from_t *from,
    ngx_egress_identity_t *id);
static ngx_uint_t ngx_egress_authz_to(ngx_egress_to_t *to,
    ngx_egress_flow_t *flow);
static ngx_uint_t ngx_egress_authz_list(ngx_array_t *list,
    ngx_array_t *not_list, ngx_str_t *value);
static ngx_uint_t ngx_egress_authz_any(ngx_array_t *list, ngx_str_t *value);
static ngx_uint_t ngx_egress_authz_ports(ngx_array_t *list,
    ngx_array_t *not_list, in_port_t port);
static ngx_uint_t ngx_egress_authz_any_port(ngx_array_t *list,
    in_port_t port);

static ngx_int_t ngx_egress_authz_compile_from(ngx_pool_t *pool,
    ngx_egress_rule_t *rule, ngx_array_t *domains);
static ngx_int_t ngx_egress_authz_replace(ngx_pool_t *pool, ngx_array_t **list,
    ngx_array_t *domains);
static ngx_int_t ngx_egress_authz_aliases(ngx_pool_t *pool, ngx_array_t *list,
    ngx_egress_match_t *m, ngx_array_t *domains);
static ngx_uint_t ngx_egress_authz_domain(ngx_egress_match_t *m,
    ngx_str_t *domain);
static ngx_uint_t ngx_egress_authz_covers(ngx_str_t *domain,
    ngx_uint_t wildcard, ngx_array_t *domains);


ngx_int_t
ngx_egress_authz(ngx_egress_flow_t *flow, ngx_uint_t mode)
{
    ngx_str_t                *policy;
    ngx_uint_t                reason;
    ngx_egress_authz_conf_t  *acf;

    static ngx_str_t  none = ngx_string("-");

    if (mode == NGX_EGRESS_AUTHZ_OFF) {
        return NGX_OK;
    }

    acf = ngx_egress_get_conf((ngx_cycle_t *) ngx_cycle,
                              &ngx_egress_authz_module);

    if (acf == NULL || acf->policies.nelts == 0) {
        return NGX_OK;
    }

    if (flow->explain) {
        if (ngx_egress_identity_asked(flow) != NGX_OK) {
            return NGX_ERROR;
        }

    } else if (flow->identity == NULL) {
        flow->identity = ngx_egress_identity(flow->connection);

        if (flow->identity == NULL) {
            return NGX_ERROR;
        }
    }

    reason = ngx_egress_authz_reason(acf, flow);

    if (reason == NGX_EGRESS_REASON_NONE) {
        return NGX_OK;
    }

    if (mode != NGX_EGRESS_AUTHZ_REPORT) {
        return ngx_egress_deny(flow, reason);
    }

    flow->verdict = NGX_EGRESS_REPORTED;
    flow->reason = reason;

    policy = flow->policy.len ? &flow->policy : &none;

    ngx_log_error(NGX_LOG_WARN, flow->log, 0,
                  "egress would be denied: reason %V, host \"%V\", port %ui, "
                  "principal \"%V\", policy \"%V\"",
                  ngx_egress_reason_name(reason),
                  flow->host.len ? &flow->host : &none,
                  (ngx_uint_t) flow->port,
                  flow->identity->principal.len ? &flow->identity->principal
                                                : &none,
                  policy);

    return NGX_OK;
}


/*
 * Deny rules first; then one of the allow rules has to match if there is any
 * allow policy, be it one without rules.  A rule that is up to a missing
 * identity counts as matched if it denies, and as not matched if it allows.
 */

static ngx_uint_t
ngx_egress_authz_reason(ngx_egress_authz_conf_t *acf, ngx_egress_flow_t *flow)
{
    ngx_uint_t           i, rc, unknown;
    ngx_array_t         *rules;
    ngx_egress_rule_t  **rule;

    rules = &acf->rules[NGX_EGRESS_DENY];
    rule = rules->elts;

    for (i = 0; i < rules->nelts; i++) {

        rc = ngx_egress_authz_rule(rule[i], flow);

        if (rc == NGX_EGRESS_RULE_NO) {
            continue;
        }

        flow->policy = rule[i]->name;

        return rc == NGX_EGRESS_RULE_YES ? NGX_EGRESS_AUTHZ_DENIED
                                         : NGX_EGRESS_NO_IDENTITY;
    }

    if (acf->npolicies[NGX_EGRESS_ALLOW] == 0) {
        return NGX_EGRESS_REASON_NONE;
    }

    rules = &acf->rules[NGX_EGRESS_ALLOW];
    rule = rules->elts;
    unknown = 0;

    for (i = 0; i < rules->nelts; i++) {

        rc = ngx_egress_authz_rule(rule[i], flow);

        if (rc == NGX_EGRESS_RULE_YES) {
            flow->policy = rule[i]->name;
            return NGX_EGRESS_REASON_NONE;
        }

        if (rc == NGX_EGRESS_RULE_UNKNOWN) {
            unknown = 1;
        }
    }

    return unknown ? NGX_EGRESS_NO_IDENTITY : NGX_EGRESS_AUTHZ_DENIED;
}


static ngx_uint_t
ngx_egress_authz_rule(ngx_egress_rule_t *rule, ngx_egress_flow_t *flow)
{
    ngx_uint_t          i, rc, unknown;
    ngx_egress_to_t    *to;
    ngx_egress_from_t  *from;

    to = rule->to.elts;

    for (i = 0; i < rule->to.nelts; i++) {
        if (ngx_egress_authz_to(&to[i], flow)) {
            break;
        }
    }

    if (i == rule->to.nelts && i != 0) {
        return NGX_EGRESS_RULE_NO;
    }

    if (rule->from.nelts == 0) {
        return NGX_EGRESS_RULE_YES;
    }

    from = rule->from.elts;
    unknown = 0;

    for (i = 0; i < rule->from.nelts; i++) {

        rc = ngx_egress_authz_from(&from[i], flow->identity);

        if (rc == NGX_EGRESS_RULE_YES) {
            return NGX_EGRESS_RULE_YES;
        }

        if (rc == NGX_EGRESS_RULE_UNKNOWN) {
            unknown = 1;
        }
    }

    return unknown ? NGX_EGRESS_RULE_UNKNOWN : NGX_EGRESS_RULE_NO;
}


/* a block is never empty, and all that may stand there is about identity */

static ngx_uint_t
ngx_egress_authz_from(ngx_egress_from_t *from, ngx_egress_identity_t *id)
{
    ngx_str_t  *principal;

    principal = &id->principal;

    if (principal->len == 0) {
        return NGX_EGRESS_RULE_UNKNOWN;
    }

    if (ngx_egress_authz_list(from->principals, from->not_principals,
                              principal)
        && ngx_egress_authz_list(from->namespaces, from->not_namespaces,
                                 principal)
        && ngx_egress_authz_list(from->service_accounts,
                                 from->not_service_accounts, principal))
    {
        return NGX_EGRESS_RULE_YES;
    }

    return NGX_EGRESS_RULE_NO;
}


static ngx_uint_t
ngx_egress_authz_to(ngx_egress_to_t *to, ngx_egress_flow_t *flow)
{
    return ngx_egress_authz_ports(to->ports, to->not_ports, flow->port)
           && ngx_egress_authz_list(to->hosts, to->not_hosts, &flow->host);
}


static ngx_uint_t
ngx_egress_authz_list(ngx_array_t *list, ngx_array_t *not_list,
    ngx_str_t *value)
{
    if (list && !ngx_egress_authz_any(list, value)) {
        return 0;
    }

    return not_list == NULL || !ngx_egress_authz_any(not_list, value);
}


static ngx_uint_t
ngx_egress_authz_any(ngx_array_t *list, ngx_str_t *value)
{
    ngx_uint_t           i;
    ngx_egress_match_t  *match;

    match = list->elts;

    for (i = 0; i < list->nelts; i++) {
        if (ngx_egress_match(&match[i], value)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_egress_authz_ports(ngx_array_t *list, ngx_array_t *not_list,
    in_port_t port)
{
    if (list && !ngx_egress_authz_any_port(list, port)) {
        return 0;
    }

    return not_list == NULL || !ngx_egress_authz_any_port(not_list, port);
}


static ngx_uint_t
ngx_egress_authz_any_port(ngx_array_t *list, in_port_t port)
{
    in_port_t   *ports;
    ngx_uint_t   i;

    ports = list->elts;

    for (i = 0; i < list->nelts; i++) {
        if (ports[i] == port) {
            return 1;
        }
    }

    return 0;
}


ngx_int_t
ngx_egress_authz_compile(ngx_pool_t *pool, ngx_egress_authz_conf_t *acf,
    ngx_array_t *domains)
{
    ngx_uint_t             i, n;
    ngx_array_t           *rules;
    ngx_egress_rule_t    **rule, **p;
    ngx_egress_policy_t  **policy;

    policy = acf->policies.elts;

    for (i = 0; i < acf->policies.nelts; i++) {

        acf->npolicies[policy[i]->action]++;

        rules = &acf->rules[policy[i]->action];
        rule = policy[i]->rules.elts;

        for (n = 0; n < policy[i]->rules.nelts; n++) {

            rule[n]->source = policy[i]->source;

            if (ngx_egress_authz_compile_from(pool, rule[n], domains)
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            p = ngx_array_push(rules);
            if (p == NULL) {
                return NGX_ERROR;
            }

            *p = rule[n];
        }
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_authz_compile_from(ngx_pool_t *pool, ngx_egress_rule_t *rule,
    ngx_array_t *domains)
{
    ngx_uint_t          i;
    ngx_egress_from_t  *from;

    from = rule->from.elts;

    for (i = 0; i < rule->from.nelts; i++) {

        if (ngx_egress_authz_replace(pool, &from[i].principals, domains)
            != NGX_OK
            || ngx_egress_authz_replace(pool, &from[i].not_principals, domains)
               != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    return NGX_OK;
}


/*
 * A principal td/ns/a/sa/b with one of the mesh's own trust domains, or with
 * "cluster.local", means the same account in each of them.
 */

static ngx_int_t
ngx_egress_authz_replace(ngx_pool_t *pool, ngx_array_t **list,
    ngx_array_t *domains)
{
    ngx_uint_t           i;
    ngx_array_t         *replaced;
    ngx_egress_match_t  *m;

    if (*list == NULL) {
        return NGX_OK;
    }

    replaced = ngx_array_create(pool, (*list)->nelts * domains->nelts,
                                sizeof(ngx_egress_match_t));
    if (replaced == NULL) {
        return NGX_ERROR;
    }

    m = (*list)->elts;

    for (i = 0; i < (*list)->nelts; i++) {
        if (ngx_egress_authz_aliases(pool, replaced, &m[i], domains)
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    *list = replaced;

    return NGX_OK;
}


static ngx_int_t
ngx_egress_authz_aliases(ngx_pool_t *pool, ngx_array_t *list,
    ngx_egress_match_t *m, ngx_array_t *domains)
{
    u_char              *p;
    ngx_str_t            domain, *name;
    ngx_uint_t           i, wildcard;
    ngx_egress_match_t  *match;

    wildcard = (m->kind == NGX_EGRESS_MATCH_SUFFIX);

    if (!ngx_egress_authz_domain(m, &domain)
        || !ngx_egress_authz_covers(&domain, wildcard, domains))
    {
        match = ngx_array_push(list);
        if (match == NULL) {
            return NGX_ERROR;
        }

        *match = *m;

        return NGX_OK;
    }

    if (wildcard) {
        match = ngx_array_push(list);
        if (match == NULL) {
            return NGX_ERROR;
        }

        *match = *m;
    }

    name = domains->elts;

    for (i = 0; i < domains->nelts; i++) {

        match = ngx_array_push(list);
        if (match == NULL) {
            return NGX_ERROR;
        }

        match->kind = wildcard ? NGX_EGRESS_MATCH_EXACT : m->kind;
        match->value.len = name[i].len + m->value.len - domain.len;

        p = ngx_pnalloc(pool, match->value.len);
        if (p == NULL) {
            return NGX_ERROR;
        }

        match->value.data = p;

        p = ngx_cpymem(p, name[i].data, name[i].len);
        ngx_memcpy(p, m->value.data + domain.len, m->value.len - domain.len);
    }

    return NGX_OK;
}


/*
 * The trust domain of a pattern of the form td/ns/a/sa/b; td may be a suffix
 * and b a prefix.  0: it has another form and stays as it is.
 */

static ngx_uint_t
ngx_egress_authz_domain(ngx_egress_match_t *m, ngx_str_t *domain)
{
    u_char      *p, *start, *last;
    ngx_uint_t   n;
    ngx_str_t    segments[5];

    p = m->value.data;
    last = p + m->value.len;
    n = 0;

    for ( ;; ) {
        start = p;
        p = ngx_strlchr(p, last, '/');

        if (n == 5) {
            return 0;
        }

        segments[n].data = start;
        segments[n].len = (p ? p : last) - start;
        n++;

        if (p == NULL) {
            break;
        }

        p++;
    }

    if (n != 5
        || segments[1].len != 2 || ngx_memcmp(segments[1].data, "ns", 2) != 0
        || segments[3].len != 2 || ngx_memcmp(segments[3].data, "sa", 2) != 0
        || segments[0].len == 0)
    {
        return 0;
    }

    *domain = segments[0];

    return 1;
}


static ngx_uint_t
ngx_egress_authz_covers(ngx_str_t *domain, ngx_uint_t wildcard,
    ngx_array_t *domains)
{
    ngx_str_t           *name;
    ngx_uint_t           i;
    ngx_egress_match_t   m;

    static ngx_str_t  local = ngx_string("cluster.local");

    m.kind = wildcard ? NGX_EGRESS_MATCH_SUFFIX : NGX_EGRESS_MATCH_EXACT;
    m.value = *domain;

    if (!wildcard && ngx_egress_match(&m, &local)) {
        return 1;
    }

    name = domains->elts;

    for (i = 0; i < domains->nelts; i++) {
        if (ngx_egress_match(&m, &name[i])) {
            return 1;
        }
    }

    return 0;
}
