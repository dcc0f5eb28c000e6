
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _EGRESSCTL_H_INCLUDED_
#define _EGRESSCTL_H_INCLUDED_


#include <stddef.h>
#include <stdio.h>
#include <sys/types.h>

#include <jansson.h>


#define EGRESSCTL_VERSION      "0.1.0"

#define EGRESSCTL_OK           0
#define EGRESSCTL_REFUSED      1
#define EGRESSCTL_USAGE        2

#define EGRESSCTL_SOCKET       "/run/egress/admin.sock"


/* diag.c: all that egressctl says of its input goes through here */

typedef enum {
    DIAG_NOTE = 0,
    DIAG_WARNING,
    DIAG_ERROR
} diag_level_e;


typedef struct source_s  source_t;

/* a file as it was read; lives until the program ends */

struct source_s {
    source_t            *next;
    char                *name;
    char                *text;
    size_t               len;
};


typedef struct {
    source_t            *source;
    size_t               line;           /* 1-based; 0: the whole file */
    size_t               col;            /* 1-based, in characters */
} pos_t;


/* "file:line:col: level: text [CODE]", the line and a caret; to stderr */
void diag(diag_level_e level, const pos_t *pos, const char *code,
    const char *fmt, ...) __attribute__((format(printf, 4, 5)));

/* after this, warnings count as errors */
void diag_strict(void);

/*
 * After this, nothing is printed: what would have been is handed out in the
 * end, by place, and the same thing but once.
 */
void diag_collect(void);

typedef struct {
    diag_level_e         level;
    pos_t                pos;
    const char          *code;
    char                *text;
    size_t               order;
} diag_rec_t;

const diag_rec_t *diag_collected(size_t *n);
const char *diag_level(const diag_rec_t *rec);
const char *diag_file(const diag_rec_t *rec);    /* or NULL */
void diag_print(FILE *out, const diag_rec_t *rec);
size_t diag_count(diag_level_e level);

/* says how many errors were not shown; returns the number of errors */
size_t diag_end(void);


/* yaml.c: libyaml's events into a tree whose nodes know where they stand */

typedef enum {
    NODE_SCALAR = 0,
    NODE_LIST,
    NODE_MAP
} node_kind_e;


typedef struct node_s  node_t;

struct node_s {
    pos_t                pos;
    node_t              *next;           /* in a list, a map or a stream */
    node_t              *child;          /* the first value */
    node_t              *key;            /* of a value in a map */
    char                *text;           /* of a scalar, without NUL inside */
    const void          *row;            /* why it can't be rendered */
    unsigned             order;          /* of documents */
    unsigned char        kind;           /* node_kind_e */
    unsigned char        plain;          /* not quoted */
    unsigned char        used;           /* a document that counts */
};


/*
 * Reads a file ("-": standard input) and returns its documents, linked by
 * "next"; what is wrong has been said by diag().
 */
node_t *yaml_read(const char *name);

/* the same for a text within a scalar, as a ConfigMap has it */
node_t *yaml_text(node_t *scalar);

node_t *node_get(const node_t *map, const char *key);
node_t *node_path(node_t *node, const char *path);
const char *node_text(const node_t *map, const char *key);
/* -1 if there is no such number */
long node_number(const node_t *map, const char *key);
/* -1 if there is no such time, else milliseconds */
long node_time(const node_t *map, const char *key);
int node_true(const node_t *map, const char *key);
/* the first of a list's values, or NULL */
node_t *node_first(const node_t *map, const char *key);
int node_equal(const node_t *one, const node_t *two);

/* nodes that no file has, in the place of one that a file has */
node_t *node_new(const node_t *place, node_kind_e kind);
node_t *node_add(node_t *map, const char *key, node_t *value);
node_t *node_string(const node_t *place, const char *text);
/* the children are the same ones */
node_t *node_copy(const node_t *node);


/* util.c: what never returns NULL, as out of memory ends the program */

void *xalloc(size_t size);
char *xstrdup(const char *s);
char *xprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));

/* of many small pieces, which are never given back one by one */
void *xpiece(size_t size);
/* for a program that converts more than once and frees all in between */
void xreset(void);

char *lower(const char *s);
/* decoded, with a NUL after it; NULL: it is not that */
unsigned char *base64(const char *text, size_t *len);

typedef struct hash_s  hash_t;

hash_t *hash_new(void);
void *hash_get(const hash_t *h, const char *key);
void hash_put(hash_t *h, const char *key, void *value);

typedef struct {
    void               **elts;
    size_t               n;
} list_t;

void list_push(list_t *list, void *elt);

/* an address of a workload, IPv4 or IPv6 */
int is_address(const char *s);
const char *cidr_error(const char *text);
/* a DNS name, or "*." and one */
int is_host(const char *s);
/* "*" and "*.suffix" cover what ends so; anything else, itself */
int host_covers(const char *pattern, const char *host);


/* schema.c, check.c: every field of a manifest, and what becomes of it */

/* 1: a kind that is converted, and its fields are right */
int schema_check(node_t *document);

/* 0: a right MeshConfig */
int schema_mesh(node_t *mesh);

/* 0: a right configuration of Envoy's local rate limit */
int schema_rate_limit(node_t *config);

/* 0: a mapping with nothing but right "rate_limits" */
int schema_actions(node_t *node);

/* reports what of the tree can't be rendered; returns how much */
int schema_refused(node_t *node);

/* why a kind has to be refused that is not converted, or NULL */
const char *schema_refusal(const char *kind);

/* notes what kinds were skipped */
void schema_skipped(void);

/* fields.c: the table, printed or compared with Istio's CRDs */
int fields(int argc, char **argv);


/* model.c, registry.c, routes.c */

typedef struct {
    const char          *selector;
    const char          *namespace;
    const char          *root;
    const char          *locality;
    const char          *secrets;        /* folder */
    const char          *modules;        /* folder of the .so files */
    const char          *stream_module;
    const char          *certificate;
    const char          *key;
    const char          *ca;
    const char          *resolver;
    const char          *system_ca;
    const char          *proxy_conf;
    const char          *access_log;
    const char          *admin;          /* path of a Unix socket */
    unsigned             version;        /* of nginx, 1025001; 0: any */
    const char         **listen;         /* "443=127.0.0.1:8443" */
    const char         **endpoint;       /* "HOST[:PORT]=ADDRESS[:PORT]" */
    const char         **path;           /* "PREFIX=DIR" */
    const char         **allow;          /* CIDR */
    size_t               nlisten, nendpoint, npath, nallow;
} options_t;


typedef struct service_s   service_t;
typedef struct target_s    target_t;
typedef struct route_s     route_t;
typedef struct rule_s      rule_t;
typedef struct vhost_s     vhost_t;
typedef struct server_s    server_t;
typedef struct listener_s  listener_t;
typedef struct model_s     model_t;

/* what DestinationRules and MeshConfig make of a host, port and subset */

typedef struct {
    node_t              *rule;           /* the DestinationRule, or NULL */
    node_t              *pool;
    node_t              *balancer;
    node_t              *outlier;
    node_t              *tls;
    node_t              *labels;         /* of the subset */
} policy_t;


struct service_s {
    service_t           *next;
    char                *name;
    const char          *host;
    long                 port;
    long                 target;
    const char          *protocol;       /* nginx's word */
    const char          *subset;         /* NULL: all endpoints */
    const char          *retry;          /* of http routes; NULL: none */
    node_t              *entry;          /* the ServiceEntry */
    node_t              *port_node;
    list_t               endpoints;
    policy_t             policy;
    int                  http;
    int                  http2;          /* is spoken to it, by http */
    int                  lookup;         /* routed under its own name */
    int                  passthrough;
    int                  originate;
};


/* one of the destinations of a rule; several have weights */

struct target_s {
    target_t            *next;
    service_t           *service;
    long                 weight;
    node_t              *node;
};


struct route_s {
    route_t             *next;
    const char          *host;           /* SNI */
    node_t              *node;
    target_t            *targets;
    int                  identity;       /* found by the name itself */
};


/* an http rule of a VirtualService, delegates resolved */

struct rule_s {
    node_t              *vs;
    node_t              *node;
    node_t              *match;          /* NULL: any request */
    const char          *name;
    target_t            *targets;
    target_t            *mirrors;
    const char          *delay;          /* before it is answered; or NULL */
    int                  any;            /* matches all paths and more */
};


struct vhost_s {
    vhost_t             *next;
    const char          *host;
    node_t              *node;
    server_t            *server;
    list_t               rules;          /* rule_t */
};


typedef enum {
    LISTEN_TLS = 0,
    LISTEN_HTTP,
    LISTEN_TCP
} listen_kind_e;


/* a server of a Gateway that selects this gateway */

struct server_s {
    server_t            *next;
    node_t              *gateway;
    node_t              *node;
    listener_t          *listener;
    hash_t              *hosts;          /* name to list of namespaces */
};


struct listener_s {
    listener_t          *next;
    listen_kind_e        kind;
    long                 port;
    node_t              *node;           /* the first of its servers */
    int                  mutual;         /* terminates the mesh's mTLS */
    int                  required;
    int                  terminates;     /* TLS that is not the mesh's */
    int                  http2;          /* some server of it says so */
    server_t            *server;
    route_t             *routes;
    route_t            **last_route;
    vhost_t             *vhosts;
    vhost_t            **last_vhost;
    hash_t              *names;          /* of routes or vhosts */
    hash_t              *suffixes;       /* that those names have */
};


struct model_s {
    const options_t     *options;
    node_t             **docs;
    size_t               ndocs;
    int                  allow_any;
    node_t              *mesh;           /* which does not say */
    list_t               meshes;
    hash_t              *hosts;          /* to list_t of ServiceEntries */
    hash_t              *suffixes;       /* that those hosts have */
    hash_t              *rules;          /* DestinationRules by host */
    list_t               partial;        /* those for "*foo.com" */
    hash_t              *gateways;       /* "namespace/name" to list_t */
    hash_t              *virtuals;       /* VirtualServices by name */
    hash_t              *secrets;        /* Secrets by name */
    list_t               used_secrets;
    hash_t              *keys;           /* services by what they are for */
    hash_t              *names;          /* and their names */
    hash_t              *reached;        /* and their hosts */
    int                  answers;        /* some rule needs no service */
    service_t           *services;
    service_t          **last_service;
    server_t            *servers;
    server_t           **last_server;
    listener_t          *listeners;
};


/* resolves the documents as Istio does at a gateway; says what it can't */
void model_build(model_t *model);

const char *doc_kind(const node_t *doc);
const char *doc_name(const node_t *doc);
const char *doc_namespace(const node_t *doc);
/* the policy applies to this gateway */
int model_selected(model_t *model, node_t *doc);
/* 1: the gateway has the labels; 0: it has not; -1: that is not known */
int model_labels(model_t *m, node_t *labels, const char **unknown);
/* is what lists namespaces, or a default of MeshConfig, for the gateway's */
int model_exported(model_t *m, node_t *doc, const char *mesh_default);
/* the first MeshConfig that has it */
node_t *model_mesh(model_t *m, const char *key);
int model_bound(node_t *vs, node_t *names, node_t *gateway);
int model_own(model_t *m, node_t *doc, const char *host);
/* does a route through the gateway lead to the host */
int model_reached(model_t *m, const char *host);
int model_match(node_t *vs, server_t *s, node_t *match);
const char *model_server_covers(server_t *s, node_t *vs, const char *host,
    int narrower);
int model_rule_refused(node_t *vs, server_t *s, node_t *rule);
void suffixes_add(hash_t *h, const char *host);
/* does a name of the set lie within the pattern, or is it it */
int suffixes_within(const hash_t *names, const hash_t *suffixes,
    const char *pattern);

/* registry.c: from a destination's host, port and subset to a service */

void registry_build(model_t *m);
/* "retry": parameters of the directive, NULL where it has no meaning */
service_t *registry_service(model_t *m, node_t *vs, server_t *s, node_t *dest,
    const char *retry);
/* all of a rule's destinations; NULL if there is an error */
target_t *registry_targets(model_t *m, node_t *vs, server_t *s, node_t *rule,
    const char *retry);
/* what of the input was for nothing */
void registry_unused(model_t *m);

/* routes.c: the http rules of a VirtualService */

void routes_http(model_t *m, node_t *vs, server_t *s);
/* in the end: what matches anything goes last */
void routes_finish(listener_t *l);

/* secret.c: files of Kubernetes' Secrets */

/* of a Secret with a certificate and a key, and of one with CAs */
const char *secret_file(model_t *m, node_t *name, const char *what);
/* 0: Secrets of the input are files now */
void secret_check(model_t *m);
int secret_write(model_t *m);


/* emit.c and others that render */

/*
 * Renders nginx.conf into a buffer of its own; text that could leave its
 * place in it is refused by diag().
 */
char *emit_conf(model_t *model);


/* main.c: what "convert" would write; argv[0] counts nothing */
int convert_text(int argc, char **argv, char **text);


/* analyze.c */

/* what of a built model is right, and will still surprise */
void analyze_model(model_t *m);
/* all that diag() has collected; -1: it can't be written */
int analyze_print(int json);


/* http.c */

/*
 * GET of a URI from an admin socket.  NULL: diag() has said why; else the
 * answer, to be freed with json_decref(), and its status.
 */
json_t *http_get_json(const char *socket_path, const char *uri, long *status);

/* adds name=value to *uri, which is freed; nothing if value is NULL */
void http_escape(char **uri, const char *name, const char *value);


/* private.c */

typedef struct {
    const char          *nginx;          /* program */
    const char          *conf;           /* nginx.conf; or NULL */
    const char         **files;          /* or manifests */
    size_t               nfiles;
    int                  argc;           /* options of "convert" */
    char               **argv;

    char                *folder;         /* made by private_start() */
    char                *socket;
    pid_t                pid;
} private_t;

void private_add(private_t *p, const char *file);
int private_start(private_t *p);
void private_stop(private_t *p);         /* also if it did not start */


/* commands: the exit status */
int explain(int argc, char **argv);
int learn(int argc, char **argv);


#endif /* _EGRESSCTL_H_INCLUDED_ */
