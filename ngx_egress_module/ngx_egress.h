
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_H_INCLUDED_
#define _NGX_EGRESS_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_event_connect.h>


#define NGX_EGRESS_MODULE          0x53524745  /* "EGRS" */

/* contexts of the directives inside of egress { } */

#define NGX_EGRESS_CONF            0x02000000
#define NGX_EGRESS_SERVICE_CONF    0x04000000
#define NGX_EGRESS_POLICY_CONF     0x08000000
#define NGX_EGRESS_RULE_CONF       0x10000000
#define NGX_EGRESS_FROM_CONF       0x20000000
#define NGX_EGRESS_TO_CONF         0x40000000
#define NGX_EGRESS_BUCKET_CONF     0x80000000

#define NGX_EGRESS_HTTP            0
#define NGX_EGRESS_STREAM          1
#define NGX_EGRESS_SUBSYSTEMS      2

/* the order in which a flow is decided after the registry's own verdict */

#define NGX_EGRESS_STEP_AUTHZ      0
#define NGX_EGRESS_STEP_RATELIMIT  1
#define NGX_EGRESS_STEPS           2

/* what a report belongs to: ngx_egress_add_report() */

#define NGX_EGRESS_REPORT_STATUS   0       /* a member of the status */
#define NGX_EGRESS_REPORT_METRICS  1       /* families of metrics */
#define NGX_EGRESS_REPORT_EXPLAIN  2       /* a member of an explanation */
#define NGX_EGRESS_REPORT_KINDS    3

/* owners of an area in the shared zone */

#define NGX_EGRESS_AREA_RATELIMIT  0
#define NGX_EGRESS_AREA_CORE       1
#define NGX_EGRESS_AREA_DECISIONS  2
#define NGX_EGRESS_AREA_AUTHZ      3
#define NGX_EGRESS_AREA_REVOKE     4
#define NGX_EGRESS_AREAS           5

#define NGX_EGRESS_UNDECIDED       0
#define NGX_EGRESS_ALLOWED         1
#define NGX_EGRESS_DENIED          2
#define NGX_EGRESS_REPORTED        3       /* would be denied, but passed */


typedef enum {
    NGX_EGRESS_REASON_NONE = 0,
    NGX_EGRESS_REGISTRY_MISS,
    NGX_EGRESS_AUTHZ_DENIED,
    NGX_EGRESS_NO_IDENTITY,
    NGX_EGRESS_ADDRESS_DENIED,
    NGX_EGRESS_RATE_LIMITED,
    NGX_EGRESS_CIRCUIT_OPEN,
    NGX_EGRESS_NO_HEALTHY_ENDPOINT,
    NGX_EGRESS_CONNECT_FAILED,
    NGX_EGRESS_TLS_FAILED,
    NGX_EGRESS_DNS_FAILED,
    NGX_EGRESS_SERVICE_BROKEN,
    NGX_EGRESS_UPSTREAM_TIMEOUT,
    NGX_EGRESS_BAD_CLIENT_HELLO,
    NGX_EGRESS_NOT_TLS,
    NGX_EGRESS_ECH_DENIED,
    NGX_EGRESS_REASONS
} ngx_egress_reason_e;


typedef enum {
    NGX_EGRESS_PROTO_UNKNOWN = 0,
    NGX_EGRESS_PROTO_HTTP,
    NGX_EGRESS_PROTO_HTTP2,
    NGX_EGRESS_PROTO_GRPC,
    NGX_EGRESS_PROTO_HTTPS,
    NGX_EGRESS_PROTO_TLS,
    NGX_EGRESS_PROTO_TCP,
    NGX_EGRESS_PROTO_MONGO,
    NGX_EGRESS_PROTO_MYSQL,
    NGX_EGRESS_PROTO_POSTGRES,
    NGX_EGRESS_PROTO_REDIS
} ngx_egress_protocol_e;


typedef struct ngx_egress_conf_s      ngx_egress_conf_t;
typedef struct ngx_egress_service_s   ngx_egress_service_t;
typedef struct ngx_egress_flow_s      ngx_egress_flow_t;
typedef struct ngx_egress_identity_s  ngx_egress_identity_t;
typedef struct ngx_egress_reach_s     ngx_egress_reach_t;
typedef struct ngx_egress_report_s    ngx_egress_report_t;


/* the context of a module of type NGX_EGRESS_MODULE */

typedef struct {
    ngx_str_t                 name;

    /* at "egress {", before its directives; NULL: out of memory */
    void                   *(*create_conf)(ngx_conf_t *cf);

    /*
     * when the whole configuration is known; errors are logged with
     * NGX_LOG_EMERG to cycle->log, NGX_ERROR fails the start
     */
    ngx_int_t               (*init_conf)(ngx_cycle_t *cycle, void *conf);
} ngx_egress_module_t;


/* who the client is; made by the authz module, lives in the client's pool */

struct ngx_egress_identity_s {
    ngx_str_t                 principal;   /* td/ns/a/sa/b, no spiffe:// */
    ngx_str_t                 trust_domain;
    ngx_str_t                 namespace;        /* empty if not ns/a/sa/b */
    ngx_str_t                 service_account;  /* empty if not ns/a/sa/b */
    ngx_str_t                 error;       /* why there is no principal */
};


/* an address to dial, checked by the guard where it has to be */

typedef struct {
    struct sockaddr          *sockaddr;
    socklen_t                 socklen;
    ngx_str_t                 name;
} ngx_egress_peer_t;


/*
 * The subsystem-neutral view of one stream session or one http request.
 * It is allocated from flow->pool and lives as long as that pool.
 */

struct ngx_egress_flow_s {
    ngx_uint_t                subsystem;   /* NGX_EGRESS_HTTP or _STREAM */
    void                     *data;        /* request or session, the
                                              adapters' business only */
    ngx_connection_t         *connection;  /* the client's */
    ngx_pool_t               *pool;
    ngx_log_t                *log;

    /* what the client asked for, set by the adapter */

    ngx_str_t                 host;        /* validated, lower-cased, without
                                              port; empty: no name known */
    in_port_t                 port;        /* the declared port, host order */
    ngx_str_t                 sni;
    ngx_str_t                 alpn;
    struct sockaddr          *original;    /* destination of a connection
                                              that tells no name; or NULL */
    socklen_t                 original_len;
    unsigned                  redirected:1;          /* original may be
                                              dialled */
    unsigned                  declared:1;  /* port is "egress_port", not the
                                              listener's */
    unsigned                  tls:1;       /* client's bytes are TLS */
    unsigned                  ech:1;
    unsigned                  http2:2;     /* what of nginx speaks HTTP/2 to
                                              the service, or 0: none does;
                                              each keeps a state of its own
                                              with a connection */

    /* the value of a variable: NGX_OK, or NGX_DECLINED: there is none */

    ngx_int_t               (*variable)(ngx_egress_flow_t *flow,
                                        ngx_str_t *name, ngx_uint_t hash,
                                        ngx_str_t *value);

    /*
     * Not NULL: nobody's traffic, but an administrator's question.  Then
     * there is neither data nor connection, nothing is charged or logged,
     * and a step takes what it would have asked them for from the
     * question's arguments.
     */

    ngx_egress_report_t      *explain;

    /* steps charge a flow once, however often it is decided */

    unsigned                  charged:1;
    unsigned                  accounted:1; /* by ngx_egress_account() */
    void                     *charges;     /* which: the step's own list */

    /* the result of ngx_egress_decide() */

    ngx_egress_identity_t    *identity;    /* NULL: not asked for yet */
    ngx_egress_service_t     *service;
    ngx_uint_t                protocol;    /* ngx_egress_protocol_e */
    in_port_t                 target;      /* port to dial, host order */
    unsigned                  addressed:1; /* chosen by original, which a
                                              dynamic service dials */
    ngx_uint_t                verdict;
    ngx_uint_t                reason;      /* ngx_egress_reason_e */
    ngx_uint_t                status;      /* http status if not the reason's
                                              own, else 0 */
    ngx_str_t                 policy;      /* policy/rule that decided */
    ngx_str_t                 bucket;
    ngx_array_t              *headers;     /* ngx_keyval_t: to be added to a
                                              refusal; or NULL */
    ngx_str_t                *body;        /* of a refusal in http, if not
                                              the reason's own; or NULL */

    /* the result of ngx_egress_reach() */

    ngx_egress_peer_t        *peers;       /* of a name asked for */
    ngx_uint_t                npeers;
    ngx_uint_t                next;        /* first peer not tried yet */
    ngx_egress_peer_t        *peer;        /* dialled last, or NULL */
    ngx_str_t                 subset;      /* that was chosen, or empty */
    unsigned                  exhausted:1; /* all tries are used up */
    unsigned                  overflow:1;  /* a retry was one too many */
    const char               *tls_error;   /* why the last certificate was
                                              refused; or NULL */
    ngx_egress_reach_t       *reach;       /* what it holds; or NULL */

    /* called once after ngx_egress_reach() returned NGX_AGAIN */

    void                    (*wake)(ngx_egress_flow_t *flow);
};


/*
 * A step of the decision.  Runs in a worker, must not block.
 * NGX_OK: no objection; NGX_DECLINED: refused, ngx_egress_deny() was called;
 * NGX_ERROR: could not decide, the flow is refused as broken.
 */

typedef ngx_int_t (*ngx_egress_step_pt)(ngx_egress_flow_t *flow);

/* a check of http or stream settings once the whole configuration is known */

typedef ngx_int_t (*ngx_egress_check_pt)(ngx_cycle_t *cycle, void *data);

/*
 * Prepares an area of the shared zone.  *area is NULL for a new zone, else
 * what an older configuration left: it is in use by live workers and must be
 * changed with shpool->mutex held only.
 */

typedef ngx_int_t (*ngx_egress_area_pt)(ngx_slab_pool_t *shpool, void **area,
    void *data, ngx_log_t *log);


/*
 * The configuration of the core; exists also without an egress { } block.
 * conf_ctx is cf->cycle->conf_ctx or cycle->conf_ctx.  Never NULL.
 */
#define ngx_egress_get_core_conf(cycle)                                       \
    ((ngx_egress_conf_t *) ngx_get_conf((cycle)->conf_ctx, ngx_egress_module))

/*
 * The configuration of a module of type NGX_EGRESS_MODULE, or NULL if there
 * is no egress { } block (yet: it may follow http { }).
 */
void *ngx_egress_get_conf(ngx_cycle_t *cycle, ngx_module_t *module);

/*
 * Registers a step of one subsystem's decision; called in postconfiguration
 * of an adapter.  NGX_ERROR if the step is taken.
 */
ngx_int_t ngx_egress_add_step(ngx_conf_t *cf, ngx_uint_t subsystem,
    ngx_uint_t step, ngx_egress_step_pt handler);

/*
 * Says that a block at the current position of cf ("policy", "bucket") needs
 * the step in every subsystem that has "egress on"; the start fails if the
 * step has no handler there.  module is the adapter's name without the
 * subsystem, "egress_authz".
 */
void ngx_egress_require_step(ngx_conf_t *cf, ngx_uint_t step,
    const char *block, const char *module);

/* called by an adapter for every "egress on"; was it called so far? */
void ngx_egress_use(ngx_conf_t *cf, ngx_uint_t subsystem);
ngx_uint_t ngx_egress_used(ngx_conf_t *cf, ngx_uint_t subsystem);

/*
 * Has handler called after all of the configuration has been read, after
 * init_conf of the modules; errors are logged there with NGX_LOG_EMERG and
 * the position that data holds.
 */
ngx_int_t ngx_egress_add_check(ngx_conf_t *cf, ngx_egress_check_pt handler,
    void *data);

/* does a subsystem have this variable? name is lower-cased, hash is its key */

typedef ngx_uint_t (*ngx_egress_known_pt)(void *data, ngx_str_t *name,
    ngx_uint_t hash);

/*
 * Asks known about the variables of "balance hash"; to be called once in a
 * check of each subsystem that has "egress on".  NGX_ERROR: this was the last
 * of them, and none knows a variable; that was logged with the service's
 * position.
 */
ngx_int_t ngx_egress_check_keys(ngx_cycle_t *cycle, ngx_uint_t subsystem,
    ngx_egress_known_pt known, void *data);

/* the files of a TLS server that clients connect to, as nginx has them */

typedef struct {
    SSL_CTX                  *ctx;
    ngx_array_t              *certificates;          /* ngx_str_t; NULL: none
                                              that can be looked at */
    ngx_array_t              *keys;        /* ngx_str_t */
    ngx_str_t                *client;      /* CA to be told and trusted */
    ngx_str_t                *trusted;     /* CA only to be trusted */
    ngx_str_t                *crl;
} ngx_egress_listener_conf_t;

/*
 * Has the workers look at the files every two seconds, and new handshakes go
 * by what has changed.  Called in postconfiguration; the context has to live
 * as long as the configuration.
 */
ngx_int_t ngx_egress_add_listener(ngx_conf_t *cf,
    ngx_egress_listener_conf_t *conf);

/* a server's sessions are whole ones from now on; ctx may be NULL */
void ngx_egress_no_resumption(SSL_CTX *ctx);

/*
 * With "egress_revoke_timeout": has close called, from a timer, when the
 * verified certificate of an allowed client is not accepted any more.  c is
 * the socket's connection, whose pool lives as long as its TLS; once for each
 * connection, more calls do nothing.  NGX_ERROR: out of memory.
 */
ngx_int_t ngx_egress_revoke_watch(ngx_connection_t *c,
    void (*close)(ngx_connection_t *c));

/* reserves an area of the shared zone, at any time of the configuration */
ngx_int_t ngx_egress_add_area(ngx_conf_t *cf, ngx_uint_t id,
    ngx_egress_area_pt init, void *data);

/* the area in a worker, or NULL; shpool may be NULL if not wanted */
void *ngx_egress_area(ngx_uint_t id, ngx_slab_pool_t **shpool);

/* the bounds "keys=" (0: not given) and "reports=" of the zone directive */
ngx_uint_t ngx_egress_zone_keys(ngx_cycle_t *cycle);
ngx_uint_t ngx_egress_zone_reports(ngx_cycle_t *cycle);

/* the bound "series=": samples of a metric, besides "_other" */
ngx_uint_t ngx_egress_zone_series(ngx_cycle_t *cycle);

/*
 * The trust domains of this mesh: an array of ngx_str_t, the first is the
 * main one, the others are its aliases.  Never NULL in a worker.
 */
ngx_array_t *ngx_egress_trust_domains(ngx_cycle_t *cycle);

/* NULL if there is no such service */
ngx_egress_service_t *ngx_egress_find_service(ngx_cycle_t *cycle,
    ngx_str_t *host, in_port_t port, ngx_uint_t *protocol, in_port_t *target);
ngx_egress_service_t *ngx_egress_find_name(ngx_cycle_t *cycle,
    ngx_str_t *name);
ngx_str_t *ngx_egress_service_name(ngx_egress_service_t *svc);

/*
 * Decides: registry, then the steps.  If choice is not empty it is the
 * "name" or "name:port" of the service that the configuration chose.
 * Afterwards flow->verdict is never NGX_EGRESS_UNDECIDED.  NGX_OK: allowed
 * (or reported); NGX_DECLINED: denied, flow->reason says why.
 */
ngx_int_t ngx_egress_decide(ngx_egress_flow_t *flow, ngx_str_t *choice);

/*
 * Refuses the flow: verdict and reason are set, the refusal is logged at
 * NGX_LOG_ERR, as nginx's access module does.  Always returns NGX_DECLINED.
 */
ngx_int_t ngx_egress_deny(ngx_egress_flow_t *flow, ngx_uint_t reason);

/* an allowed flow came to nothing: the reason is set, the verdict stays */
void ngx_egress_fail(ngx_egress_flow_t *flow, ngx_uint_t reason);

/*
 * Counts the flow's verdict, reason and policy in egress_decisions_total, once
 * however often it is called; to be called when they don't change any more.
 * Takes no lock but for a combination that is new.
 */
void ngx_egress_account(ngx_egress_flow_t *flow);

/*
 * Sees to it that an allowed flow can be carried: counts it against the
 * limits of the service, has names resolved, looks whether an endpoint is
 * left.  NGX_OK; NGX_AGAIN: flow->wake will be called once, when
 * flow->verdict tells; NGX_DECLINED: denied, with its reason.
 */
ngx_int_t ngx_egress_reach(ngx_egress_flow_t *flow);

/* is the flow allowed, and its slot taken */
ngx_uint_t ngx_egress_reached(ngx_egress_flow_t *flow);

/*
 * Starts what the core does in a worker, once; to be called when a process of
 * an adapter's is initialized.  It can't be the core's own: built into nginx,
 * it comes before the module that makes the timers.
 */
ngx_int_t ngx_egress_init_process(ngx_cycle_t *cycle);

/* gives back all that the flow holds; has to be called when its pool goes */
void ngx_egress_release(ngx_egress_flow_t *flow);

/*
 * The next peer to dial, checked by the guard, or NULL: there is none, or a
 * retry is one too many (flow->overflow).  Refuses with NGX_LOG_ALERT, and
 * NULL, a flow that carries no verdict "allowed" (invariant 1 of the house).
 * The endpoint is in use until the next call, ngx_egress_peer_free() or
 * ngx_egress_release().
 */
ngx_egress_peer_t *ngx_egress_next_peer(ngx_egress_flow_t *flow);
void ngx_egress_peer_free(ngx_egress_flow_t *flow);

/* why there was no peer, though none has been tried: a reason */
ngx_uint_t ngx_egress_no_peer(ngx_egress_flow_t *flow);

/* how many peers the flow may try */
ngx_uint_t ngx_egress_tries(ngx_egress_flow_t *flow);

/* what came of the peer, for outlier detection: once for each */

#define NGX_EGRESS_OUTCOME_OK       0
#define NGX_EGRESS_OUTCOME_5XX      1
#define NGX_EGRESS_OUTCOME_GATEWAY  2      /* 502, 503, 504 */
#define NGX_EGRESS_OUTCOME_LOCAL    3      /* no connection, or no answer */

void ngx_egress_outcome(ngx_egress_flow_t *flow, ngx_uint_t outcome);

/* a connection that had been idle failed: that says nothing of the endpoint */
void ngx_egress_untry(ngx_egress_flow_t *flow);

/* connects to what ngx_egress_next_peer() said; as ngx_event_connect_peer() */
ngx_int_t ngx_egress_connect(ngx_egress_flow_t *flow,
    ngx_peer_connection_t *pc);

/*
 * May what failed be tried again?  status is the answer's, or 0; sent: the
 * request was, in part at least; idempotent: it may be repeated then.
 */
ngx_uint_t ngx_egress_may_retry(ngx_egress_flow_t *flow, ngx_uint_t status,
    ngx_uint_t sent, ngx_uint_t idempotent);

/* counts one more retry; NGX_BUSY: it is one too many (flow->overflow) */
ngx_int_t ngx_egress_retry(ngx_egress_flow_t *flow);

/* the service has a "retry" of its own */
ngx_uint_t ngx_egress_has_retry(ngx_egress_flow_t *flow);

/* in milliseconds, 0: none */
ngx_msec_t ngx_egress_try_timeout(ngx_egress_flow_t *flow);
ngx_msec_t ngx_egress_idle_timeout(ngx_egress_flow_t *flow);

/*
 * Connections between requests.  keep: takes over c, which is in order and
 * has no bytes to read; NGX_DECLINED: close it.  kept: the connection that
 * was idle before, or NULL: to be dialled.
 */
ngx_int_t ngx_egress_keep(ngx_egress_flow_t *flow, ngx_connection_t *c);
ngx_connection_t *ngx_egress_kept(ngx_egress_flow_t *flow);

/* has the flow to be carried over TLS that we originate? */
ngx_uint_t ngx_egress_originates(ngx_egress_flow_t *flow);
ngx_msec_t ngx_egress_connect_timeout(ngx_egress_flow_t *flow);

/*
 * Does the server of the chosen service speak first, as MySQL's does?  port
 * is the one asked for, 0 if it isn't known.
 */
ngx_uint_t ngx_egress_speaks_first(ngx_str_t *choice, in_port_t port);

/*
 * The protocol of the chosen service's port while the configuration is read,
 * as above; NGX_EGRESS_PROTO_UNKNOWN: there is no such service or port.
 */
ngx_uint_t ngx_egress_choice_protocol(ngx_cycle_t *cycle, ngx_str_t *choice,
    in_port_t port);

/* the chosen service and the protocol of its port, or NULL */
ngx_egress_service_t *ngx_egress_choice_service(ngx_cycle_t *cycle,
    ngx_str_t *choice, in_port_t port, ngx_uint_t *protocol);

/*
 * Can a location that speaks HTTP/2, or else HTTP/1, carry the protocol?  Of
 * https and tls only the service's owner knows: either may.
 */
ngx_uint_t ngx_egress_protocol_fits(ngx_uint_t protocol, ngx_uint_t http2);

/* ngx_egress_report.c */

/*
 * A text that grows by buffers of 16k.  What can't be written, because memory
 * is short or the bound is reached, sets "failed", and nothing is written any
 * more: who makes a text looks at it once, at the end.
 */

typedef struct {
    ngx_pool_t               *pool;        /* of the request */
    ngx_chain_t              *out;         /* what was written */
    ngx_chain_t              *last;
    size_t                    size;        /* bytes written */
    size_t                    max;

    /* JSON: bit n is about the n-th object or array that is open */

    ngx_uint_t                depth;
    uint32_t                  filled;      /* it has a member */
    uint32_t                  arrays;      /* it is an array */

    unsigned                  labels:1;    /* the sample has a label */
    unsigned                  failed:1;
} ngx_egress_text_t;


struct ngx_egress_report_s {
    ngx_egress_text_t         text;
    ngx_log_t                *log;
    ngx_egress_flow_t        *flow;        /* what is explained, or NULL */

    /*
     * The value of an argument of the request, unescaped, in the request's
     * pool.  NGX_DECLINED: there is none; NGX_ERROR: out of memory.
     */

    ngx_int_t               (*arg)(ngx_egress_report_t *report,
                                   const char *name, ngx_str_t *value);
    void                     *data;        /* the request: of arg only */

    /* an argument that ngx_egress_explain_knows() not; or empty */

    ngx_str_t                 unknown;
};


/*
 * Writes a module's part of a report: for STATUS and EXPLAIN one JSON value
 * (the member's name is written already), for METRICS whole families.  Runs
 * in a worker, must not block: what a lock protects is copied first and
 * written when the lock is free again.  Anything but NGX_OK fails the report.
 */

typedef ngx_int_t (*ngx_egress_report_pt)(ngx_egress_report_t *report);

/*
 * Adds a part to the reports of a kind, in the order of the calls; to be
 * called while the configuration is read (create_conf of a module of type
 * NGX_EGRESS_MODULE is a good place).  name is kept, not copied; with METRICS
 * it is not shown.  NGX_ERROR: a part has this name, or out of memory.
 */
ngx_int_t ngx_egress_add_report(ngx_conf_t *cf, ngx_uint_t kind,
    ngx_str_t *name, ngx_egress_report_pt handler);

/*
 * The whole report, text.pool, log, arg and data being set.  what: the one
 * member that is wanted, or an empty string.  NGX_DECLINED: there is no such
 * member.
 */
ngx_int_t ngx_egress_report_status(ngx_egress_report_t *report,
    ngx_str_t *what);
ngx_int_t ngx_egress_report_metrics(ngx_egress_report_t *report);

/*
 * Decides as for traffic what the arguments host, port, protocol (http, tls,
 * tcp), sni, service and those of the steps say.  NGX_DECLINED: an argument
 * is wrong, the text says which.
 */
ngx_int_t ngx_egress_report_explain(ngx_egress_report_t *report);

/* the name of an argument of the above, as it came */
ngx_uint_t ngx_egress_explain_knows(ngx_str_t *name);

/* an argument as a number of 0..max; NGX_DECLINED: none, or it is no number */
ngx_int_t ngx_egress_report_number(ngx_egress_report_t *report,
    const char *name, ngx_uint_t max, ngx_uint_t *value);

/*
 * The length of the character at p, 0 if it is none.  RFC 3629: neither
 * overlong, nor a surrogate, nor beyond U+10FFFF.
 */
size_t ngx_egress_utf8(const u_char *p, const u_char *last);

void ngx_egress_text_add(ngx_egress_text_t *text, const u_char *data,
    size_t len);
void ngx_egress_text_str(ngx_egress_text_t *text, const char *s);

/*
 * JSON (RFC 8259): key is NULL in an array and for the outermost value.  A
 * string's invalid UTF-8 becomes U+FFFD, "<" and ">" are escaped.
 */
void ngx_egress_json_open(ngx_egress_text_t *text, const char *key, char type);
                                           /* type: '{' or '[' */
void ngx_egress_json_close(ngx_egress_text_t *text);
void ngx_egress_json_key(ngx_egress_text_t *text, ngx_str_t *key);
                                           /* then a value with key NULL */
void ngx_egress_json_string(ngx_egress_text_t *text, const char *key,
    ngx_str_t *value);
void ngx_egress_json_cstring(ngx_egress_text_t *text, const char *key,
    const char *value);
void ngx_egress_json_number(ngx_egress_text_t *text, const char *key,
    int64_t value);
void ngx_egress_json_bool(ngx_egress_text_t *text, const char *key,
    ngx_uint_t value);
void ngx_egress_json_null(ngx_egress_text_t *text, const char *key);

/*
 * Prometheus' text format 0.0.4.  A sample is metric_open, its labels, and
 * one value; all samples of a family follow its metric_family.
 */
void ngx_egress_metric_family(ngx_egress_text_t *text, const char *name,
    const char *type, const char *help);
void ngx_egress_metric_open(ngx_egress_text_t *text, const char *name);
void ngx_egress_metric_label(ngx_egress_text_t *text, const char *name,
    ngx_str_t *value);
void ngx_egress_metric_value(ngx_egress_text_t *text, uint64_t value);
void ngx_egress_metric_msec(ngx_egress_text_t *text, uint64_t msec);
                                           /* written in seconds */

/*
 * Sets flow->original to where the client of a TCP connection meant to go:
 * what its PROXY protocol header says, if trusted is set (the sender is one of
 * "set_real_ip_from"), else what netfilter redirected, else the local address
 * with flow->port, which has to be set.  It stays NULL if the configuration
 * has no use for it.  NGX_ERROR: out of memory, or the client is gone.
 */
ngx_int_t ngx_egress_original(ngx_egress_flow_t *flow, ngx_uint_t trusted);

/* ngx_egress_speaks_first() for who is found by flow->original */
ngx_uint_t ngx_egress_original_speaks_first(ngx_egress_flow_t *flow);

/* which variable ngx_egress_flow_value() is asked for */

#define NGX_EGRESS_VAR_SERVICE     0
#define NGX_EGRESS_VAR_HOST        1
#define NGX_EGRESS_VAR_PORT        2
#define NGX_EGRESS_VAR_PROTOCOL    3
#define NGX_EGRESS_VAR_SNI         4
#define NGX_EGRESS_VAR_ALPN        5
#define NGX_EGRESS_VAR_ECH         6
#define NGX_EGRESS_VAR_VERDICT     7
#define NGX_EGRESS_VAR_REASON      8
#define NGX_EGRESS_VAR_POLICY      9
#define NGX_EGRESS_VAR_BUCKET      10
#define NGX_EGRESS_VAR_FLAGS       11
#define NGX_EGRESS_VAR_ENDPOINT    12
#define NGX_EGRESS_VAR_TLS_ERROR   13

/* the value of a variable; NGX_DECLINED: there is none; lives as the flow */
ngx_int_t ngx_egress_flow_value(ngx_egress_flow_t *flow, ngx_uint_t var,
    ngx_str_t *value);

/* names as documented in README: "registry_miss", "denied", "NR", "http" */
ngx_str_t *ngx_egress_reason_name(ngx_uint_t reason);
ngx_str_t *ngx_egress_verdict_name(ngx_uint_t verdict);
ngx_str_t *ngx_egress_reason_flag(ngx_uint_t reason);
ngx_uint_t ngx_egress_reason_status(ngx_uint_t reason);
ngx_str_t *ngx_egress_protocol_name(ngx_uint_t protocol);


extern ngx_module_t  ngx_egress_module;


#endif /* _NGX_EGRESS_H_INCLUDED_ */
