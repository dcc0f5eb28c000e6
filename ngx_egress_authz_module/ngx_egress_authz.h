
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_AUTHZ_H_INCLUDED_
#define _NGX_EGRESS_AUTHZ_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress.h>


#define NGX_EGRESS_AUTHZ_OFF       0
#define NGX_EGRESS_AUTHZ_ON        1
#define NGX_EGRESS_AUTHZ_REPORT    2

#define NGX_EGRESS_ALLOW           0
#define NGX_EGRESS_DENY            1
#define NGX_EGRESS_ACTIONS         2


typedef enum {
    NGX_EGRESS_MATCH_EXACT = 0,
    NGX_EGRESS_MATCH_PREFIX,
    NGX_EGRESS_MATCH_SUFFIX,
    NGX_EGRESS_MATCH_PRESENT,              /* any value but an empty one */
    NGX_EGRESS_MATCH_GLOB,                 /* "*" is any bytes, "/" as well */
    NGX_EGRESS_MATCH_ACCOUNT               /* namespace/account */
} ngx_egress_match_e;


typedef struct {
    ngx_uint_t                kind;        /* ngx_egress_match_e */
    ngx_str_t                 value;       /* without the "*" of a prefix */
} ngx_egress_match_t;


/* alternatives within a list, all of the lists have to hold; NULL: not set */

typedef struct {
    ngx_array_t              *principals;            /* ngx_egress_match_t */
    ngx_array_t              *not_principals;
    ngx_array_t              *namespaces;
    ngx_array_t              *not_namespaces;
    ngx_array_t              *service_accounts;
    ngx_array_t              *not_service_accounts;
} ngx_egress_from_t;


typedef struct {
    ngx_array_t              *hosts;                 /* ngx_egress_match_t */
    ngx_array_t              *not_hosts;
    ngx_array_t              *ports;                 /* in_port_t */
    ngx_array_t              *not_ports;
} ngx_egress_to_t;


typedef struct {
    ngx_str_t                 name;        /* policy/index */
    ngx_str_t                 source;
    ngx_array_t               from;        /* ngx_egress_from_t */
    ngx_array_t               to;          /* ngx_egress_to_t */
} ngx_egress_rule_t;


typedef struct {
    ngx_str_node_t            sn;          /* key: the name */
    ngx_str_t                 source;      /* where it was converted from */
    ngx_uint_t                action;
    ngx_array_t               rules;       /* ngx_egress_rule_t * */
} ngx_egress_policy_t;


typedef struct {
    ngx_array_t               policies;    /* ngx_egress_policy_t * */
    ngx_rbtree_t              names;       /* ngx_egress_policy_t */
    ngx_rbtree_node_t         sentinel;

    /* by action; made when the whole configuration is known */

    ngx_uint_t                npolicies[NGX_EGRESS_ACTIONS];
    ngx_array_t               rules[NGX_EGRESS_ACTIONS];
                                           /* ngx_egress_rule_t * */
} ngx_egress_authz_conf_t;


/* ngx_egress_authz_policy.c */

/*
 * The step of the decision.  NGX_EGRESS_AUTHZ_REPORT as mode: what would be
 * denied is logged and marked in the flow, but passes.
 */
ngx_int_t ngx_egress_authz(ngx_egress_flow_t *flow, ngx_uint_t mode);

/* compiles the policies when the trust domains are known */
ngx_int_t ngx_egress_authz_compile(ngx_pool_t *pool,
    ngx_egress_authz_conf_t *acf, ngx_array_t *domains);


/* ngx_egress_match.c: pure functions */

/*
 * These make a match out of a value of the configuration, which is used in
 * place.  They return NULL or what is wrong with it.
 */
const char *ngx_egress_match_principal(ngx_egress_match_t *m,
    ngx_str_t *value);
const char *ngx_egress_match_namespace(ngx_egress_match_t *m,
    ngx_str_t *value);
const char *ngx_egress_match_account(ngx_egress_match_t *m,
    ngx_str_t *value);
const char *ngx_egress_match_host(ngx_egress_match_t *m, ngx_str_t *value);

ngx_uint_t ngx_egress_match(ngx_egress_match_t *m, ngx_str_t *s);


/* ngx_egress_spiffe.c: a pure function */

/*
 * Parses a SPIFFE ID strictly; the fields of id become slices of uri.
 * NGX_DECLINED: it is none, only id->error is set.
 */
ngx_int_t ngx_egress_spiffe_parse(ngx_str_t *uri, ngx_egress_identity_t *id);


/* ngx_egress_identity.c */

/*
 * Who is at the other end of c; found out once per connection and kept in
 * its pool.  An identity without a principal tells in error why there is
 * none.  NULL: out of memory.
 */
ngx_egress_identity_t *ngx_egress_identity(ngx_connection_t *c);

/*
 * Sets flow->identity to the one that the argument "principal" of a question
 * names; as above if it names none, or none that could be.
 */
ngx_int_t ngx_egress_identity_asked(ngx_egress_flow_t *flow);


extern ngx_module_t  ngx_egress_authz_module;


#endif /* _NGX_EGRESS_AUTHZ_H_INCLUDED_ */
