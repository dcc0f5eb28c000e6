
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_CORE_H_INCLUDED_
#define _NGX_EGRESS_CORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress.h>


#define NGX_EGRESS_ZONE_LAYOUT    1        /* bump on any shared change */

#define NGX_EGRESS_REGISTRY_ONLY  0
#define NGX_EGRESS_ALLOW_ANY      1

#define NGX_EGRESS_STATIC         1
#define NGX_EGRESS_DNS            2
#define NGX_EGRESS_DYNAMIC        3        /* "none" and "dynamic" */

#define NGX_EGRESS_EXTERNAL       1
#define NGX_EGRESS_INTERNAL       2

#define NGX_EGRESS_TLS_OFF        1
#define NGX_EGRESS_TLS_SIMPLE     2
#define NGX_EGRESS_TLS_MUTUAL     3

#define NGX_EGRESS_ECH_DENY       1
#define NGX_EGRESS_ECH_ALLOW      2

/* endpoints that one flow may try */
#define NGX_EGRESS_TRIES          3

/* RFC 1035 */
#define NGX_EGRESS_HOST_MAX       253


typedef struct {
    ngx_radix_tree_t         *tree;
#if (NGX_HAVE_INET6)
    ngx_radix_tree_t         *tree6;
#endif
} ngx_egress_guard_t;


typedef struct {
    in_port_t                 port;        /* host order */
    in_port_t                 target;      /* host order */
    ngx_uint_t                protocol;
} ngx_egress_port_t;


typedef struct {
    ngx_str_t                 address;     /* name, if it has to be resolved */
    struct sockaddr          *sockaddr;    /* or NULL */
    socklen_t                 socklen;
    in_port_t                 port;        /* 0: the service's target */
    ngx_array_t              *labels;      /* ngx_str_t "key=value"; or NULL */
} ngx_egress_endpoint_t;


/* a TLS context, shared by all services with the same settings */

typedef struct {
    ngx_str_node_t            sn;          /* key: the settings */
    ngx_ssl_t                 ssl;
    ngx_str_t                 error;       /* why it can't be used */
} ngx_egress_tls_ctx_t;


typedef struct {
    ngx_str_t                 certificate;
    ngx_str_t                 certificate_key;
    ngx_str_t                 trusted;     /* file, or "system" */
    ngx_str_t                 crl;
    ngx_str_t                 name;
    ngx_array_t              *san;         /* ngx_str_t; or NULL */
    ngx_flag_t                verify;
    ngx_uint_t                protocols;
    ngx_str_t                 ciphers;
    ngx_str_t                 alpn;        /* in wire format */
    ngx_egress_tls_ctx_t     *ctx;
} ngx_egress_tls_t;


struct ngx_egress_service_s {
    ngx_str_t                 name;
    ngx_str_t                 source;
    u_char                   *file;
    ngx_uint_t                line;

    ngx_array_t              *hosts;       /* ngx_str_t, lower-cased */
    ngx_array_t              *ports;       /* ngx_egress_port_t */
    ngx_array_t              *endpoints;   /* ngx_egress_endpoint_t */

    ngx_uint_t                resolution;
    ngx_uint_t                location;
    ngx_uint_t                ech;
    ngx_flag_t                lookup;
    ngx_flag_t                guard;
    ngx_egress_guard_t       *exempt;      /* guard allow=; or NULL */
    ngx_msec_t                connect_timeout;

    ngx_uint_t                tls_mode;
    ngx_egress_tls_t         *tls;         /* NULL if no tls_ directive */

    ngx_str_t                 broken;      /* why it refuses all; or empty */
};


/* the index: a host and a port lead to a service */

typedef struct ngx_egress_entry_s  ngx_egress_entry_t;

struct ngx_egress_entry_s {
    ngx_egress_entry_t       *next;
    uint32_t                  hash;
    in_port_t                 port;
    ngx_uint_t                wildcard;
    ngx_str_t                *host;
    ngx_egress_port_t        *settings;
    ngx_egress_service_t     *service;
};


typedef struct {
    ngx_egress_entry_t      **buckets;
    ngx_uint_t                mask;
    ngx_uint_t                wildcards;   /* are there any */
} ngx_egress_index_t;


typedef struct {
    const char               *block;       /* NULL: not needed */
    const char               *module;
    u_char                   *file;
    ngx_uint_t                line;
} ngx_egress_need_t;


typedef struct {
    ngx_egress_check_pt       handler;
    void                     *data;
} ngx_egress_check_t;


typedef struct {
    ngx_egress_area_pt        init;
    void                     *data;
} ngx_egress_area_t;


typedef struct {
    ngx_uint_t                layout;
    void                     *areas[NGX_EGRESS_AREAS];
} ngx_egress_shctx_t;


struct ngx_egress_conf_s {
    void                    **conf;        /* of the modules; NULL: no block */
    u_char                   *file;        /* of egress { } */
    ngx_uint_t                line;

    ngx_shm_zone_t           *zone;
    ngx_uint_t                keys;
    ngx_uint_t                series;
    ngx_uint_t                dns;
    ngx_uint_t                reports;

    ngx_str_t                 gateway;
    ngx_str_t                 gateway_namespace;
    ngx_str_t                 gateway_account;

    ngx_uint_t                outbound_policy;
    ngx_array_t              *trust_domains;
    ngx_resolver_t           *resolver;
    ngx_msec_t                resolver_timeout;
    ngx_flag_t                strict;

    ngx_array_t              *allow;       /* ngx_cidr_t; or NULL */
    ngx_array_t              *deny;        /* ngx_cidr_t; or NULL */
    ngx_flag_t                deny_special;
    ngx_egress_guard_t        guard;

    ngx_array_t               services;    /* ngx_egress_service_t * */
    ngx_egress_index_t        index;       /* by host and port */
    ngx_egress_index_t        names;       /* by name of the service */
    ngx_egress_service_t      any;         /* what allow_any lets pass */
    ngx_rbtree_t              tls;         /* ngx_egress_tls_ctx_t */
    ngx_rbtree_node_t         tls_sentinel;

    ngx_egress_step_pt        steps[NGX_EGRESS_SUBSYSTEMS][NGX_EGRESS_STEPS];
    ngx_egress_need_t         needs[NGX_EGRESS_STEPS];
    ngx_egress_need_t         uses[NGX_EGRESS_SUBSYSTEMS];
    ngx_array_t               checks;      /* ngx_egress_check_t */
    ngx_egress_area_t         areas[NGX_EGRESS_AREAS];
};


typedef struct {
    void                    **conf;
} ngx_egress_conf_ctx_t;


/* ngx_egress_registry.c */

/* the handler of "service name {" */
char *ngx_egress_service_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/*
 * Completes the services when the whole configuration is known and builds
 * the index; errors are logged with the position of the service.
 */
ngx_int_t ngx_egress_registry_init(ngx_cycle_t *cycle,
    ngx_egress_conf_t *ecf);

/* is host one of the service's hosts; wildcards included */
ngx_uint_t ngx_egress_service_has_host(ngx_egress_service_t *svc,
    ngx_str_t *host);

/* the service's settings for the port, NULL if it has no such port */
ngx_egress_port_t *ngx_egress_service_port(ngx_egress_service_t *svc,
    in_port_t port);

/*
 * Is it a lower-cased host name: labels of letters, digits and "-",
 * 63 bytes each, 253 in all; "*." before it if wildcard is set.
 */
ngx_uint_t ngx_egress_valid_host(ngx_str_t *host, ngx_uint_t wildcard);


/* ngx_egress_guard.c */

/*
 * Builds the guard's trees from deny_address, allow_address and the IANA
 * special-purpose ranges (RFC 6890 and its registries).
 */
ngx_int_t ngx_egress_guard_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf);

/* a guard that only knows ranges to allow: "guard allow=cidr" */
ngx_int_t ngx_egress_guard_exempt(ngx_pool_t *pool, ngx_egress_guard_t **guard,
    ngx_cidr_t *cidr);

/* NGX_OK: may be dialled for this service; NGX_DECLINED: may not */
ngx_int_t ngx_egress_guard_check(ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc, struct sockaddr *sa);


/* ngx_egress_tls.c */

/*
 * Finds or makes the context for the service's settings; svc->broken tells
 * afterwards if it can't be used.  NGX_ERROR: out of memory.
 */
ngx_int_t ngx_egress_tls_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc);


extern ngx_module_t  ngx_egress_core_module;
extern ngx_module_t  ngx_egress_registry_module;


#endif /* _NGX_EGRESS_CORE_H_INCLUDED_ */
