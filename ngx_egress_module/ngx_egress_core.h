
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_CORE_H_INCLUDED_
#define _NGX_EGRESS_CORE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress.h>


#define NGX_EGRESS_VERSION        "0.1.0"

/*
 * Of the directives: bump when a configuration of before would mean another
 * thing now, or when what is new must not be missed.  egressctl writes it.
 */
#define NGX_EGRESS_CONF_VERSION   1

#define NGX_EGRESS_ZONE_LAYOUT    3        /* bump on any shared change */

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

/* connects of a flow whose service has no "retry" */
#define NGX_EGRESS_TRIES          3

/* addresses of a name asked for that one flow may try */
#define NGX_EGRESS_ADDRS          8

/* addresses of one answer that are kept */
#define NGX_EGRESS_ADDRS_MAX      4096

#define NGX_EGRESS_ROUND_ROBIN    1
#define NGX_EGRESS_LEAST_REQUEST  2
#define NGX_EGRESS_RANDOM         3
#define NGX_EGRESS_HASH           4

/* localities that match the gateway's less and less, then the backups */
#define NGX_EGRESS_LEVELS         5
#define NGX_EGRESS_LEVEL_BACKUP   4

#define NGX_EGRESS_UNLIMITED      -1       /* no limit was set */

/* what may follow the "=" of a parameter */

#define NGX_EGRESS_PARAM_NUMBER   0
#define NGX_EGRESS_PARAM_PERCENT  1        /* a number, "%" may follow */
#define NGX_EGRESS_PARAM_SEC      2
#define NGX_EGRESS_PARAM_MSEC     3

/* what is retried, beyond a connection that was never made */

#define NGX_EGRESS_RETRY_CONNECT    0x0001
#define NGX_EGRESS_RETRY_UNSENT     0x0002 /* reset before the request */
#define NGX_EGRESS_RETRY_RESET      0x0004
#define NGX_EGRESS_RETRY_5XX        0x0008
#define NGX_EGRESS_RETRY_GATEWAY    0x0010
#define NGX_EGRESS_RETRY_LIMITED    0x0020 /* 429, "x-envoy-ratelimited" */

/* RFC 1035 */
#define NGX_EGRESS_HOST_MAX       253


typedef struct {
    ngx_radix_tree_t         *tree;
#if (NGX_HAVE_INET6)
    ngx_radix_tree_t         *tree6;
#endif
} ngx_egress_guard_t;


typedef struct ngx_egress_own_s       ngx_egress_own_t;    /* listeners */


typedef struct {
    in_port_t                 port;        /* host order */
    in_port_t                 target;      /* host order */
    ngx_uint_t                protocol;
} ngx_egress_port_t;


typedef struct ngx_egress_share_s     ngx_egress_share_t;  /* in the zone */
typedef struct ngx_egress_name_s      ngx_egress_name_t;   /* in the zone */
typedef struct ngx_egress_local_s     ngx_egress_local_t;  /* of a process */


typedef struct {
    ngx_str_t                 address;     /* name, if it has to be resolved */
    struct sockaddr          *sockaddr;    /* or NULL */
    socklen_t                 socklen;
    in_port_t                 port;        /* 0: the service's target */
    ngx_uint_t                weight;
    ngx_uint_t                level;       /* 0 is asked first; set when
                                              all is known */
    ngx_str_t                 locality;
    ngx_flag_t                backup;
    ngx_array_t              *labels;      /* ngx_str_t "key=value"; or NULL */
    ngx_egress_name_t        *name;        /* if it has to be resolved */
} ngx_egress_endpoint_t;


/* "subset name key=value ...", or all endpoints */

typedef struct {
    ngx_str_t                 name;
    ngx_array_t              *labels;      /* ngx_str_t */
} ngx_egress_subset_t;


/*
 * What may be chosen from: the endpoints of a subset, or the addresses of one
 * of the hosts.
 */

typedef struct {
    ngx_egress_subset_t      *subset;      /* NULL: all */
    ngx_str_t                *host;        /* NULL: endpoints are written */
    ngx_egress_name_t        *name;        /* of the host */
} ngx_egress_variant_t;


/* a piece of "hash key": text, or a variable's name and its hash */

typedef struct {
    ngx_str_t                 text;
    ngx_uint_t                hash;
    unsigned                  variable:1;
    unsigned                  known:1;     /* to a subsystem */
} ngx_egress_key_part_t;


typedef struct {
    ngx_uint_t                consecutive_5xx;       /* 0: off */
    ngx_uint_t                consecutive_gateway;   /* 0: off */
    ngx_uint_t                consecutive_local;     /* 0: counts as a 5xx */
    ngx_uint_t                max_ejected;           /* percent */
    ngx_uint_t                min_health;            /* percent */
    ngx_msec_t                interval;
    ngx_msec_t                ejection;
} ngx_egress_outlier_t;


typedef struct {
    ngx_uint_t                attempts;    /* after the first one */
    ngx_msec_t                per_try_timeout;       /* 0: none */
    ngx_uint_t                on;          /* NGX_EGRESS_RETRY_... */
    ngx_array_t              *statuses;    /* ngx_uint_t; or NULL */
} ngx_egress_retry_t;


typedef struct {
    ngx_flag_t                enable;
    ngx_uint_t                time;        /* seconds; 0: the system's */
    ngx_uint_t                interval;    /* seconds; 0: the system's */
    ngx_uint_t                probes;      /* 0: the system's */
} ngx_egress_tcp_keepalive_t;


/* a file that is read, and how it looked right before it was */

typedef struct {
    ngx_str_t                 name;        /* full, ends with a NUL */
    ngx_err_t                 err;         /* of stat(); then nothing else */
    time_t                    mtime;
    ngx_uint_t                nsec;
    uint64_t                  inode;
    off_t                     size;
    ngx_uint_t                mode;        /* and owners: who may read it */
    uid_t                     uid;
    gid_t                     gid;
} ngx_egress_file_t;


/* ms between two looks at the same files */
#define NGX_EGRESS_FILE_INTERVAL  2000

/* files that are read together */

typedef struct {
    ngx_egress_file_t        *files;
    ngx_uint_t                n;
    ngx_msec_t                checked;     /* last */
    unsigned                  readable:1;  /* by the workers */
    unsigned                  stale:1;     /* what is on disk can't be used:
                                              what was read before is */
} ngx_egress_watch_t;


typedef struct ngx_egress_pair_s      ngx_egress_pair_t;


/*
 * A TLS server of nginx's.  Its context is only ever added to: what is read
 * again belongs to the process, and new handshakes are given it.
 */

typedef struct {
    SSL_CTX                  *ctx;
    ngx_egress_watch_t        own;         /* certificates, then keys */
    ngx_egress_watch_t        trust;       /* CAs and CRL that there are */
    ngx_egress_file_t        *client;      /* of trust; or NULL */
    ngx_egress_file_t        *crl;         /* of trust; or NULL */
    ngx_uint_t                n;           /* certificates */
    ngx_egress_pair_t        *pairs;       /* NULL: as nginx read them */
    ngx_str_t                 error;
} ngx_egress_listener_t;


/*
 * Trusted certificates and revocation lists, shared by all contexts with the
 * same files: with the system's roots it is nearly a megabyte.
 */

typedef struct {
    ngx_str_node_t            sn;          /* key: the names of the files */
    X509_STORE               *store;
    ngx_egress_watch_t        watch;       /* CA, CRL */
    ngx_uint_t                generation;
    ngx_str_t                 error;       /* why there is none */
} ngx_egress_tls_store_t;


/* a TLS context, shared by all services with the same settings */

typedef struct {
    ngx_str_node_t            sn;          /* key: the settings */
    ngx_ssl_t                 ssl;         /* ssl.ctx is NULL: not made */
    ngx_egress_tls_store_t   *store;       /* NULL: nothing is verified */
    ngx_uint_t                stored;      /* generation of the store in it */
    ngx_uint_t                generation;  /* never the same in a process */
    ngx_egress_watch_t        watch;       /* certificate, key; or empty */
    ngx_uint_t                protocols;
    ngx_str_t                 ciphers;
    ngx_str_t                 error;       /* why there is none */
} ngx_egress_tls_ctx_t;


#define NGX_EGRESS_SAN_DNS   0             /* lower-cased */
#define NGX_EGRESS_SAN_IP    1             /* 4 or 16 bytes */
#define NGX_EGRESS_SAN_URI   2


typedef struct {
    ngx_uint_t                type;
    ngx_str_t                 value;
} ngx_egress_san_t;


typedef struct {
    ngx_str_t                 certificate;
    ngx_str_t                 certificate_key;
    ngx_str_t                 trusted;     /* file, or "system" */
    ngx_str_t                 crl;
    ngx_str_t                 name;
    ngx_array_t              *san;         /* ngx_egress_san_t; or NULL */
    ngx_flag_t                verify;
    ngx_uint_t                protocols;
    ngx_str_t                 ciphers;
    ngx_str_t                 alpn;        /* in wire format */
    ngx_egress_tls_ctx_t     *ctx;
} ngx_egress_tls_t;


/*
 * What a service says that many others say as well: one copy for all of them,
 * not to be changed but in the same way for all.
 */

typedef struct {
    ngx_uint_t                resolution;
    ngx_uint_t                location;
    ngx_uint_t                ech;
    ngx_flag_t                lookup;
    ngx_flag_t                guard;
    ngx_egress_guard_t       *exempt;      /* guard allow=; or NULL */
    ngx_msec_t                connect_timeout;
    ngx_msec_t                idle_timeout;          /* 0: none */
    ngx_egress_tcp_keepalive_t  *tcp_keepalive;      /* or NULL */

    ngx_uint_t                balance;
    ngx_array_t              *hash_key;    /* ngx_egress_key_part_t */
    ngx_egress_outlier_t     *outlier;     /* or NULL */
    ngx_egress_retry_t       *retry;       /* or NULL */

    /* NGX_EGRESS_UNLIMITED, or a number */

    ngx_int_t                 max_connections;
    ngx_int_t                 max_pending;
    ngx_int_t                 max_requests;
    ngx_int_t                 max_retries;
    ngx_int_t                 requests_per_connection;
    ngx_msec_t                pending_timeout;

    ngx_int_t                 keepalive;   /* idle connections per worker */
    ngx_msec_t                keepalive_timeout;
    ngx_msec_t                keepalive_time;        /* age of a connection */

    ngx_uint_t                tls_mode;
    ngx_egress_tls_t         *tls;         /* NULL if no TLS is originated */

    ngx_str_t                 broken;      /* why it refuses all; or empty */
} ngx_egress_service_conf_t;


typedef struct {
    ngx_uint_t                nelts;
    ngx_str_t                 elts[1];     /* lower-cased */
} ngx_egress_hosts_t;


struct ngx_egress_service_s {
    ngx_str_t                 name;
    ngx_str_t                 source;
    u_char                   *file;
    ngx_uint_t                line;

    ngx_egress_hosts_t       *hosts;       /* or NULL */
    ngx_array_t              *ports;       /* ngx_egress_port_t; shared */
    ngx_array_t              *endpoints;   /* ngx_egress_endpoint_t */
    ngx_array_t              *cidrs;       /* ngx_cidr_t; or NULL */
    ngx_array_t              *subsets;     /* ngx_egress_subset_t; or NULL */

    ngx_egress_service_conf_t  *conf;      /* shared */

    ngx_egress_share_t       *share;
    ngx_egress_variant_t     *variants;    /* all endpoints first, then the
                                              subsets; or one per host */
    unsigned                  nvariants:31;
    unsigned                  named:1;     /* DNS is asked for an endpoint */
    ngx_egress_local_t       *local;       /* made on first use */
};


/* a service while its block is read; the directives find the service in it */

#define NGX_EGRESS_DRAFT  8

typedef struct {
    ngx_egress_service_t      svc;
    ngx_egress_service_conf_t  conf;
    ngx_egress_tls_t          tls;
    ngx_egress_tcp_keepalive_t  tcp_keepalive;
    ngx_egress_outlier_t      outlier;
    ngx_egress_retry_t        retry;

    /* most have no more: what they have is copied when it is known */

    ngx_array_t               hosts;
    ngx_array_t               ports;
    ngx_str_t                 host[NGX_EGRESS_DRAFT];
    ngx_egress_port_t         port[NGX_EGRESS_DRAFT];
} ngx_egress_draft_t;


typedef struct ngx_egress_interned_s  ngx_egress_interned_t;

typedef struct {
    ngx_egress_interned_t    *slots;
    ngx_uint_t                n;
    ngx_uint_t                mask;
} ngx_egress_intern_t;


/*
 * The index: a host and a port lead to a service.  The entries lie in one
 * array, numbered from 1; what does not match is told by the hash.
 */

typedef struct {
    ngx_str_t                *host;
    uint32_t                  hash;
    uint32_t                  next;        /* in the bucket; 0: the last */
    unsigned                  service:31;  /* of the services */
    unsigned                  wildcard:1;
    in_port_t                 port;
    uint16_t                  nport;       /* of the service's ports */
} ngx_egress_entry_t;


typedef struct {
    uint32_t                 *buckets;
    ngx_egress_entry_t       *entries;
    ngx_egress_service_t    **services;
    ngx_uint_t                n;
    ngx_uint_t                mask;
    ngx_uint_t                wildcards;   /* are there any */
} ngx_egress_index_t;


/* "address cidr": one table lookup for each prefix length that is in use */

typedef struct {
    ngx_egress_index_t        index;
    uint64_t                  lengths4;    /* bits 0..32 */
    uint64_t                  lengths6[3]; /* bits 0..128 */
} ngx_egress_cidrs_t;


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
    ngx_str_t                *name;
    ngx_egress_report_pt      handler;
} ngx_egress_report_part_t;


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
    ngx_str_t                 gateway_locality;

    ngx_uint_t                outbound_policy;
    ngx_array_t              *trust_domains;
    ngx_resolver_t           *resolver;
    ngx_resolver_t           *resolver4;   /* without IPv6; NULL: is as well */
    ngx_msec_t                resolver_timeout;
    ngx_msec_t                dns_min;
    ngx_msec_t                dns_max;
    ngx_msec_t                dns_stale;
    ngx_msec_t                revoke_timeout;        /* 0: off */
    ngx_flag_t                strict;

    ngx_array_t              *allow;       /* ngx_cidr_t; or NULL */
    ngx_array_t              *deny;        /* ngx_cidr_t; or NULL */
    ngx_flag_t                deny_special;
    ngx_egress_guard_t        guard;
    ngx_egress_own_t         *own;

    ngx_array_t               services;    /* ngx_egress_service_t * */
    ngx_egress_index_t        index;       /* by host and port */
    ngx_egress_index_t        names;       /* by name of the service */
    ngx_egress_cidrs_t        cidrs;       /* by address */
    ngx_uint_t                gen;         /* of this configuration */
    ngx_egress_service_t      any;         /* what allow_any lets pass */
    ngx_egress_service_conf_t  any_conf;
    ngx_egress_intern_t       intern;      /* while services are read */
    ngx_rbtree_t              tls;         /* ngx_egress_tls_ctx_t */
    ngx_rbtree_node_t         tls_sentinel;
    ngx_rbtree_t              stores;      /* ngx_egress_tls_store_t */
    ngx_rbtree_node_t         stores_sentinel;
    ngx_uint_t                ntls;        /* contexts kept from the start */
    ngx_array_t               listeners;   /* ngx_egress_listener_t * */

    ngx_egress_step_pt        steps[NGX_EGRESS_SUBSYSTEMS][NGX_EGRESS_STEPS];
    ngx_egress_need_t         needs[NGX_EGRESS_STEPS];
    ngx_egress_need_t         uses[NGX_EGRESS_SUBSYSTEMS];
    ngx_array_t               checks;      /* ngx_egress_check_t */
    ngx_uint_t                keyed;       /* subsystems, a bit each, that were
                                              asked about hash keys */
    ngx_egress_area_t         areas[NGX_EGRESS_AREAS];
    ngx_array_t              *parts[NGX_EGRESS_REPORT_KINDS];
                                           /* ngx_egress_report_part_t */
};


typedef struct {
    void                    **conf;
} ngx_egress_conf_ctx_t;


/* ngx_egress_decisions.c */

/* reserves the counters of decisions, at "egress {" */
ngx_int_t ngx_egress_decisions_init(ngx_conf_t *cf);


/* ngx_egress_status.c */

/* adds the core's own parts of the reports, at "egress {" */
ngx_int_t ngx_egress_status_init(ngx_conf_t *cf);


/* ngx_egress_far_status.c */

/* adds what reports show of the far side, at "egress {" */
ngx_int_t ngx_egress_far_init(ngx_conf_t *cf);

/* writes members of a service's object; NGX_ERROR: no memory */
ngx_int_t ngx_egress_far_status_service(ngx_egress_report_t *report,
    ngx_egress_service_t *svc);


/* a parameter "name=value" of a directive; a list ends with an empty name */

typedef struct {
    ngx_str_t                 name;        /* with its "=" */
    ngx_uint_t                type;
    ngx_uint_t                min;
    ngx_uint_t                max;
    size_t                    offset;      /* of an ngx_uint_t that was set
                                              to NGX_CONF_UNSET_UINT */
} ngx_egress_param_t;


/* ngx_egress_module.c */

/* sets the field of the one among the parameters that value is */
char *ngx_egress_conf_param(ngx_conf_t *cf, ngx_str_t *value,
    ngx_egress_param_t *params, void *conf);

/* is it "region", "region/zone" or "region/zone/subzone" */
ngx_uint_t ngx_egress_valid_locality(ngx_str_t *locality);


/* ngx_egress_registry.c */

/*
 * Checks a service at the end of its block and sets its defaults; errors are
 * logged with the position of the service.
 */
ngx_int_t ngx_egress_service_complete(ngx_egress_draft_t *draft,
    ngx_log_t *log);

/*
 * Does what takes the whole configuration and builds the index; errors as
 * above.
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


/* ngx_egress_service.c */

/* the handler of "service name {" */
char *ngx_egress_service_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* logs that a value is none of these */
void ngx_egress_conf_choices(ngx_conf_t *cf, ngx_str_t *value,
    ngx_conf_enum_t *e);

/* of a service or subset: it is chosen as "service/subset:port" */
ngx_uint_t ngx_egress_valid_name(ngx_str_t *name);

/* adds "key=value"; NGX_DECLINED: it is none, or the key is there already */
ngx_int_t ngx_egress_add_label(ngx_pool_t *pool, ngx_array_t **labels,
    u_char *data, size_t len);


/* ngx_egress_intern.c */

/*
 * A copy of the size bytes at data in the pool, the same one for the same
 * bytes; NULL: no memory.
 */
void *ngx_egress_intern(ngx_conf_t *cf, ngx_egress_intern_t *in, void *data,
    size_t size);

/*
 * str->data becomes the first that had the same bytes, which stays where it
 * is; nul is 1 if a NUL ends it and is needed.
 */
ngx_int_t ngx_egress_intern_str(ngx_conf_t *cf, ngx_egress_intern_t *in,
    ngx_str_t *str, ngx_uint_t nul);

/* a copy of the array and of its elements, as above; nothing may be pushed */
ngx_array_t *ngx_egress_intern_array(ngx_conf_t *cf, ngx_egress_intern_t *in,
    ngx_array_t *array);
void ngx_egress_intern_free(ngx_egress_intern_t *in);


/* ngx_egress_traffic.c */

/* the handlers of directives of service { } */
char *ngx_egress_conf_subset(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_egress_conf_balance(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_egress_conf_tcp_keepalive(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_egress_conf_max_pending(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
char *ngx_egress_conf_retry(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);
char *ngx_egress_conf_outlier(ngx_conf_t *cf, ngx_command_t *cmd, void *conf);

/* everything unset, unlimited */
void ngx_egress_traffic_create(ngx_egress_service_conf_t *conf);

/* what does not go together, or NULL; before ngx_egress_traffic_defaults() */
const char *ngx_egress_traffic_flaw(ngx_egress_service_t *svc);
void ngx_egress_traffic_defaults(ngx_egress_service_conf_t *conf);

/*
 * The levels of the endpoints and the variants; errors are logged with the
 * position of the service.
 */
ngx_int_t ngx_egress_traffic_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc);


/*
 * Hash tables of the configuration; port and wildcard are part of the key.  n
 * is how many entries there can be.
 */

ngx_int_t ngx_egress_index_create(ngx_pool_t *pool, ngx_egress_index_t *index,
    ngx_array_t *services, ngx_uint_t n);

/* what is inserted is a copy; hash and next are set in it */
void ngx_egress_index_insert(ngx_egress_index_t *index,
    ngx_egress_entry_t *entry);

/* NULL: there is none; settings may be NULL, and is set if there is one */
ngx_egress_service_t *ngx_egress_index_find(ngx_egress_index_t *index,
    ngx_str_t *host, in_port_t port, ngx_uint_t wildcard,
    ngx_egress_port_t **settings);


/* ngx_egress_cidr.c */

/*
 * Builds the index of services by "address"; the same cidr and port in two
 * services is an error, logged with both positions.
 */
ngx_int_t ngx_egress_cidr_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf);

/*
 * The service with the longest prefix that the address is in, at the address's
 * port, and its settings for that port; NULL if there is none.
 */
ngx_egress_service_t *ngx_egress_cidr_find(ngx_egress_conf_t *ecf,
    struct sockaddr *sa, ngx_egress_port_t **settings);


/* ngx_egress_original.c */

/*
 * Makes flow->original, at the service's target port, the only peer of an
 * allowed flow.  NGX_DECLINED: denied, by the guard or because the connection
 * was not redirected.
 */
ngx_int_t ngx_egress_original_peer(ngx_egress_flow_t *flow);


/* ngx_egress_set.c */

/* has the endpoint all labels of the subset */
ngx_uint_t ngx_egress_subset_matches(ngx_egress_subset_t *subset,
    ngx_egress_endpoint_t *ep);


/* ngx_egress_guard.c */

/*
 * Builds the guard's trees from deny_address, allow_address and the IANA
 * special-purpose ranges (RFC 6890 and its registries), and the set of
 * addresses and ports that this nginx listens on.
 */
ngx_int_t ngx_egress_guard_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf);

/* warns of endpoints that are listeners of this nginx */
void ngx_egress_guard_doubts(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf);

/* a guard that only knows ranges to allow: "guard allow=cidr" */
ngx_int_t ngx_egress_guard_exempt(ngx_pool_t *pool, ngx_egress_guard_t **guard,
    ngx_cidr_t *cidr);

/*
 * NGX_OK: may be dialled for this service; NGX_DECLINED: may not.  An IPv4
 * address within one of IPv6 has to pass as well.  With a port, what this
 * nginx listens on is refused even with "guard off"; with port 0 it can't be
 * told.  To be called in a worker, with what is dialled, on every attempt.
 */
ngx_int_t ngx_egress_guard_check(ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc, struct sockaddr *sa);


/* ngx_egress_file.c */

/*
 * Sets the files of a watch: n names as the configuration has them, empty
 * ones are left out.  Tells if the workers will be able to read them all.
 * NGX_ERROR: out of memory.
 */
ngx_int_t ngx_egress_watch_init(ngx_cycle_t *cycle, ngx_egress_watch_t *watch,
    ngx_str_t **names, ngx_uint_t n);

/* is it time for another look at the files */
#define ngx_egress_watch_due(watch)                                           \
    (ngx_current_msec - (watch)->checked >= NGX_EGRESS_FILE_INTERVAL)

/* to be called before the files are read */
void ngx_egress_watch_mark(ngx_egress_watch_t *watch);

/*
 * Looks at the files, at most every two seconds; cheap otherwise.  NGX_OK:
 * they have changed since they were marked and are marked anew: read them;
 * NGX_DECLINED: nothing to be done.
 */
ngx_int_t ngx_egress_watch_check(ngx_egress_watch_t *watch);

/*
 * What came of reading changed files, for metrics and the log, where what
 * names their user.  error: why the last good ones stay; NULL: they are used.
 */
void ngx_egress_watch_report(ngx_egress_watch_t *watch, const char *what,
    ngx_str_t *error, ngx_log_t *log);

/*
 * NULL, or what speaks against opening a file that was marked: a worker would
 * wait for who writes to a FIFO, or have no memory left.
 */
const char *ngx_egress_file_unfit(ngx_egress_file_t *file);

/*
 * An error of OpenSSL's as text, "what \"file\" (reason)", without a reason if
 * it is none of its own, with malloc(); an older one is freed.  Its queue is
 * empty afterwards.
 */
void ngx_egress_tls_explain(ngx_str_t *error, const char *what,
    ngx_str_t *file);
void ngx_egress_tls_copy_error(ngx_str_t *error, ngx_str_t *from);
void ngx_egress_tls_forget(ngx_str_t *error);


/* ngx_egress_tls.c */

/*
 * Finds or makes the context for the service's settings, while the
 * configuration is read; ngx_egress_tls_flaw() tells afterwards if it can't
 * be used.  NGX_ERROR: out of memory.
 */
ngx_int_t ngx_egress_tls_init(ngx_cycle_t *cycle, ngx_egress_conf_t *ecf,
    ngx_egress_service_t *svc);

/*
 * Why the service can't be used, or NULL.  In a worker only: the context is
 * made, or made anew after its files have changed; called before each flow.
 */
ngx_str_t *ngx_egress_tls_broken(ngx_egress_service_t *svc);

/* the same, as it was when the context was made last */
ngx_str_t *ngx_egress_tls_flaw(ngx_egress_service_t *svc);

/* is a connection's TLS of the service as it is now */
ngx_uint_t ngx_egress_tls_current(ngx_egress_service_t *svc,
    ngx_connection_t *c);


/* ngx_egress_listener.c */

/* in a worker, often: reads again what listeners' files have changed */
void ngx_egress_listener_check(ngx_cycle_t *cycle);

/* what the listener's files say now; NULL: l->error says why there is none */
X509_STORE *ngx_egress_listener_store(ngx_egress_listener_t *l);


/* ngx_egress_revoke.c */

/* reserves what old and new workers share, at "egress {" */
ngx_int_t ngx_egress_revoke_init(ngx_conf_t *cf);

/* in a worker: from now on older ones go by this configuration as well */
void ngx_egress_revoke_init_process(ngx_cycle_t *cycle);

/* a listener trusts other certificates than before */
void ngx_egress_revoke_changed(void);


/* ngx_egress_tls_verify.c */

/* what the value of "tls_san" is; NGX_DECLINED: nothing that can be verified */
ngx_int_t ngx_egress_san_parse(ngx_pool_t *pool, ngx_str_t *value,
    ngx_egress_san_t *san);

/*
 * Replaces OpenSSL's verification of a server's certificate: its own, then
 * the names (RFC 9525), of the flow that is the connection's ex_data.
 */
int ngx_egress_tls_verify(X509_STORE_CTX *store, void *arg);

/*
 * When the certificate of a session, or of the one that it was resumed from,
 * was verified; 0: it was not.
 */
time_t ngx_egress_tls_verified(ngx_ssl_session_t *session);

/*
 * The places of the flow in an SSL object's ex_data, and of the time of its
 * verification in a session's.  NGX_ERROR: no memory.
 */
ngx_int_t ngx_egress_tls_verify_init(ngx_log_t *log);
ngx_int_t ngx_egress_tls_set_flow(ngx_ssl_conn_t *ssl,
    ngx_egress_flow_t *flow);


/* ngx_egress_tls_session.c */

/* offers the session that the same identity had with the endpoint, if any */
void ngx_egress_session_offer(ngx_egress_flow_t *flow, ngx_connection_t *c);


extern ngx_module_t  ngx_egress_core_module;
extern ngx_module_t  ngx_egress_registry_module;


#endif /* _NGX_EGRESS_CORE_H_INCLUDED_ */
