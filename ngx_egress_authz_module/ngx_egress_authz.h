
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
#define NGX_EGRESS_AUDIT           2
#define NGX_EGRESS_ACTIONS         3

/* dry runs have lists of their own behind those of the actions */

#define NGX_EGRESS_DRY             NGX_EGRESS_ACTIONS
#define NGX_EGRESS_ENGINES         (2 * NGX_EGRESS_ACTIONS)

/*
 * What a condition, a rule or an engine says about a flow.  Where all have to
 * hold, NO wins, then NOBODY, then UNREADABLE; of alternatives YES does, then
 * NOBODY, then UNREADABLE.
 */

#define NGX_EGRESS_NO              0
#define NGX_EGRESS_YES             1
#define NGX_EGRESS_NOBODY          2       /* up to an identity that the flow
                                              does not have */
#define NGX_EGRESS_UNREADABLE      3       /* up to a value that can't be read
                                              as what it has to be */

/* RFC 9110 sets no bound on a header's value, we do: beyond it's unreadable */
#define NGX_EGRESS_HEADER_MAX      8192


typedef enum {
    NGX_EGRESS_MATCH_EXACT = 0,
    NGX_EGRESS_MATCH_PREFIX,
    NGX_EGRESS_MATCH_SUFFIX,
    NGX_EGRESS_MATCH_PRESENT,              /* any value but an empty one */
    NGX_EGRESS_MATCH_GLOB,                 /* "*" is any bytes, "/" as well */
    NGX_EGRESS_MATCH_NAMESPACE,            /* a segment after "ns" */
    NGX_EGRESS_MATCH_ACCOUNT,              /* namespace/account */
    NGX_EGRESS_MATCH_DOMAIN,               /* GLOB on the trust domain */
    NGX_EGRESS_MATCH_TEMPLATE,             /* a path with {*} or {**} */
    NGX_EGRESS_MATCH_CIDR,                 /* the value is a byte, how many
                                              bits count, and the address */
    NGX_EGRESS_MATCH_PORT
} ngx_egress_match_e;


typedef struct {
    ngx_uint_t                kind;        /* ngx_egress_match_e */
    ngx_str_t                 value;       /* without the "*" of a prefix */
    ngx_uint_t                port;
} ngx_egress_match_t;


/* what a condition is about; these are in explanations, in this order */

typedef enum {
    NGX_EGRESS_PRINCIPAL = 0,
    NGX_EGRESS_NAMESPACE,
    NGX_EGRESS_SERVICE_ACCOUNT,
    NGX_EGRESS_TRUST_DOMAIN,               /* up to here: of an identity */
    NGX_EGRESS_SOURCE_IP,
    NGX_EGRESS_REMOTE_IP,
    NGX_EGRESS_DESTINATION_IP,
    NGX_EGRESS_HOST,
    NGX_EGRESS_PORT,
    NGX_EGRESS_SNI,
    NGX_EGRESS_METHOD,                     /* from here on: of http only */
    NGX_EGRESS_PATH,
    NGX_EGRESS_HEADER,
    NGX_EGRESS_FIELDS
} ngx_egress_field_e;

#define ngx_egress_field_identity(f)  ((f) <= NGX_EGRESS_TRUST_DOMAIN)
#define ngx_egress_field_http(f)      ((f) >= NGX_EGRESS_METHOD)

#define NGX_EGRESS_ADDRESSES       3       /* fields from SOURCE_IP on */


/*
 * As read from the configuration.  All conditions of a block have to hold; of
 * the values of one, one has to match, or none if it is negative.
 */

typedef struct {
    ngx_uint_t                field;       /* ngx_egress_field_e */
    ngx_uint_t                negative;
    ngx_str_t                 name;        /* of a header, lower-cased */
    ngx_array_t               values;      /* ngx_egress_match_t */
} ngx_egress_cond_t;


typedef struct {
    ngx_array_t               conds;       /* ngx_egress_cond_t */
} ngx_egress_block_t;


typedef struct ngx_egress_policy_s  ngx_egress_policy_t;


typedef struct {
    ngx_egress_policy_t      *policy;
    ngx_uint_t                index;       /* within the policy */
    ngx_str_t                 source;      /* or empty: the policy's */
    ngx_array_t               from;        /* ngx_egress_block_t: one of */
    ngx_array_t               to;          /* ngx_egress_block_t: one of */
    ngx_egress_block_t        when;
} ngx_egress_rule_t;


struct ngx_egress_policy_s {
    ngx_str_node_t            sn;          /* key: the name */
    ngx_str_t                 source;      /* where it was converted from */
    ngx_uint_t                action;
    ngx_flag_t                dry_run;
    ngx_uint_t                nrules;
    ngx_array_t               rules;       /* ngx_egress_rule_t *; only until
                                              they are compiled */
};


/* an address without its family: 4 or 16 bytes, 0: there is none */

typedef struct {
    u_char                    len;
    u_char                    bytes[16];
} ngx_egress_addr_t;


/* a header's values: all lines of that name, in their order */

typedef struct {
    ngx_uint_t                n;
    ngx_str_t                 joined;      /* by commas */
} ngx_egress_header_t;


/* what the policies are asked about; lives as long as the question */

typedef struct ngx_egress_ask_s  ngx_egress_ask_t;

struct ngx_egress_ask_s {
    ngx_uint_t                http;        /* not a stream session */
    ngx_str_t                 principal;   /* empty: nobody */
    ngx_str_t                 trust_domain;
    ngx_str_t                 host;        /* in http with the port of Host */
    in_port_t                 port;
    ngx_str_t                 sni;
    ngx_str_t                 method;
    ngx_str_t                 path;

    ngx_egress_addr_t         addrs[NGX_EGRESS_ADDRESSES];
    unsigned                  known:NGX_EGRESS_ADDRESSES;

    /* field: NGX_EGRESS_SOURCE_IP and so on; addr->len is 0 before */
    void                    (*addr)(ngx_egress_ask_t *ask, ngx_uint_t field,
                                    ngx_egress_addr_t *addr);

    /* NGX_DECLINED: there is none, NGX_ERROR: it is not readable */
    ngx_int_t               (*header)(ngx_egress_ask_t *ask, ngx_str_t *name,
                                      ngx_egress_header_t *header);
    void                     *data;        /* of the two above */
    ngx_egress_flow_t        *flow;
};


typedef struct ngx_egress_base_s    ngx_egress_base_t;
typedef struct ngx_egress_engine_s  ngx_egress_engine_t;


/* which patterns match a flow; on the caller's stack */

#define NGX_EGRESS_GROUPS          4
#define NGX_EGRESS_MATCHED         24      /* patterns of one group */

typedef struct {
    ngx_egress_ask_t         *ask;
    ngx_uint_t                linear;      /* too many patterns match: the
                                              index is of no use */
    ngx_uint_t                n[NGX_EGRESS_GROUPS];
    uint32_t                  ids[NGX_EGRESS_GROUPS][NGX_EGRESS_MATCHED];
    uint32_t                  keys[NGX_EGRESS_GROUPS][NGX_EGRESS_MATCHED];
} ngx_egress_lookup_t;


typedef struct {
    ngx_array_t               policies;    /* ngx_egress_policy_t * */
    ngx_rbtree_t              names;       /* ngx_egress_policy_t */
    ngx_rbtree_node_t         sentinel;

    ngx_uint_t                normalization;
    ngx_int_t                 trusted_hops;

    ngx_pool_t               *pool;        /* of the configuration */
    ngx_pool_t               *temp;        /* of what is read; destroyed when
                                              all is compiled */

    /* made when the whole configuration is known */

    ngx_uint_t                npolicies[NGX_EGRESS_ENGINES];
    ngx_egress_base_t        *base;
    ngx_egress_engine_t      *engines[NGX_EGRESS_ENGINES];
    ngx_uint_t                fields;      /* bits: what is asked about */
} ngx_egress_authz_conf_t;


/* ngx_egress_authz_policy.c */

/*
 * The step of the decision.  ask is zeroed, or filled by the adapter with
 * what is not in the flow.  NGX_EGRESS_AUTHZ_REPORT as mode: what would be
 * denied is logged and marked in the flow, but passes.
 */
ngx_int_t ngx_egress_authz(ngx_egress_flow_t *flow, ngx_egress_ask_t *ask,
    ngx_uint_t mode);

/* the same of an administrator's question, in http and stream alike */
ngx_int_t ngx_egress_authz_asked(ngx_egress_flow_t *flow);

/* fills ask, and flow->identity, from its arguments */
ngx_int_t ngx_egress_authz_ask(ngx_egress_flow_t *flow,
    ngx_egress_ask_t *ask);

/* the policies of the running configuration, NULL: there are none */
ngx_egress_authz_conf_t *ngx_egress_authz_conf(void);

/* the rule that decided; engine is NULL if it is that none allows */

typedef struct {
    ngx_egress_engine_t      *engine;
    ngx_uint_t                rule;
} ngx_egress_hit_t;

/*
 * What the policies say: NGX_EGRESS_REASON_NONE, or why not.  dry: what those
 * policies would say that are on a dry run.
 */
ngx_uint_t ngx_egress_authz_reason(ngx_egress_authz_conf_t *acf,
    ngx_egress_lookup_t *lookup, ngx_uint_t dry, ngx_egress_hit_t *hit);

/* "policy/rule", in memory of the pool; NGX_ERROR: there is none */
ngx_int_t ngx_egress_authz_name(ngx_pool_t *pool, ngx_egress_hit_t *hit,
    ngx_str_t *name);

/* a text of UTF-8 and of a bounded length: else no comparison means much */
ngx_uint_t ngx_egress_authz_readable(ngx_str_t *value);

/* an IPv6 address that is an IPv4 one becomes that */
void ngx_egress_authz_sockaddr(ngx_egress_addr_t *addr, struct sockaddr *sa);
void ngx_egress_authz_text_addr(ngx_egress_addr_t *addr, ngx_str_t *text);

/* ask->addr of a client that nothing but its connection is known of */
void ngx_egress_authz_addr(ngx_egress_ask_t *ask, ngx_uint_t field,
    ngx_egress_addr_t *addr);


/* ngx_egress_authz_report.c */

/* members of status and explanation, metrics, and their area in the zone */
ngx_int_t ngx_egress_authz_add_reports(ngx_conf_t *cf);

/*
 * A flow passed that would be denied: in report mode, or by policies on a dry
 * run.  Takes the zone's mutex.
 */
void ngx_egress_authz_would_deny(ngx_egress_ask_t *ask, ngx_uint_t dry_run,
    ngx_uint_t reason, ngx_str_t *policy);
void ngx_egress_authz_audited(void);


/* ngx_egress_domains.c */

/*
 * Puts the mesh's trust domains for each other into the rule's principals
 * and trust domains; memory is from pool.
 */
ngx_int_t ngx_egress_domains_replace(ngx_pool_t *pool,
    ngx_egress_rule_t *rule, ngx_array_t *domains);


/* ngx_egress_engine.c and ngx_egress_compile.c */

/*
 * Patterns that the engines of one configuration share.  What stays is from
 * pool, what is needed until ngx_egress_base_done() is from temp.
 */
ngx_egress_base_t *ngx_egress_base_create(ngx_pool_t *pool, ngx_pool_t *temp);

/*
 * Compiles rules (ngx_egress_rule_t *) of one action into an index.  Neither
 * rules nor what they point to is needed afterwards.
 */
ngx_egress_engine_t *ngx_egress_engine_create(ngx_egress_base_t *base,
    ngx_uint_t action, ngx_array_t *rules);
ngx_int_t ngx_egress_base_done(ngx_egress_base_t *base);

/* which of the ngx_egress_field_e are asked about, as bits */
ngx_uint_t ngx_egress_base_fields(ngx_egress_base_t *base);

/* once per flow, for all engines of the base */
void ngx_egress_base_lookup(ngx_egress_base_t *base, ngx_egress_ask_t *ask,
    ngx_egress_lookup_t *lookup);

/*
 * Does any rule match?  Of those that do the first one's number is set.  An
 * engine of allow rules says YES as soon as one does; others the first of
 * YES, NOBODY and UNREADABLE in the order of the rules.
 */
ngx_uint_t ngx_egress_engine_match(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_uint_t *rule);

/* the same by looking at rule after rule, from the one given on */
ngx_uint_t ngx_egress_engine_scan(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_uint_t first, ngx_uint_t *rule);

/* of a rule alone; field: the first one that was in its way */
ngx_uint_t ngx_egress_engine_rule(ngx_egress_engine_t *engine,
    ngx_egress_lookup_t *lookup, ngx_uint_t rule, ngx_uint_t *field,
    ngx_uint_t *negative);

ngx_uint_t ngx_egress_engine_rules(ngx_egress_engine_t *engine);

/* its number within its policy */
ngx_uint_t ngx_egress_engine_index(ngx_egress_engine_t *engine,
    ngx_uint_t rule);

/* returns the line if source is but the file, else 0 */
ngx_uint_t ngx_egress_engine_source(ngx_egress_engine_t *engine,
    ngx_uint_t rule, ngx_str_t *source);
ngx_egress_policy_t *ngx_egress_engine_policy(ngx_egress_engine_t *engine,
    ngx_uint_t rule);
size_t ngx_egress_base_size(ngx_egress_base_t *base);      /* bytes */
size_t ngx_egress_engine_size(ngx_egress_engine_t *engine);


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
const char *ngx_egress_match_domain(ngx_egress_match_t *m, ngx_str_t *value);
const char *ngx_egress_match_host(ngx_egress_match_t *m, ngx_str_t *value);
const char *ngx_egress_match_path(ngx_egress_match_t *m, ngx_str_t *value);
const char *ngx_egress_match_port(ngx_egress_match_t *m, ngx_str_t *value);

/* any text: methods, SNI, values of headers */
const char *ngx_egress_match_text(ngx_egress_match_t *m, ngx_str_t *value);

/*
 * s: the principal for what is about identity, the bytes of an address for
 * MATCH_CIDR.  Not for MATCH_PORT.
 */
ngx_uint_t ngx_egress_match(ngx_egress_match_t *m, ngx_str_t *s);

/* a condition's values against a header; helps: a match lets pass */
ngx_uint_t ngx_egress_match_header(ngx_egress_match_t *m, ngx_uint_t n,
    ngx_egress_header_t *header, ngx_uint_t helps);

/* ngx_egress_path.c: a pure function */

#define NGX_EGRESS_PATH_NONE       0
#define NGX_EGRESS_PATH_BASE       1
#define NGX_EGRESS_PATH_MERGE      2
#define NGX_EGRESS_PATH_DECODE     3

/*
 * Normalises the path of a request target as Envoy does for
 * meshConfig.pathNormalization; dst has room for 3 * src->len bytes.  What
 * follows "?" or "#" is not part of it.  NGX_DECLINED: there is no path.
 */
ngx_int_t ngx_egress_path_normalize(u_char *dst, ngx_str_t *path,
    ngx_str_t *src, ngx_uint_t mode);


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
