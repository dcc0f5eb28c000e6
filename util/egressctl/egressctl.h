
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
    node_kind_e          kind;
    pos_t                pos;
    node_t              *next;           /* in a list, a map or a stream */
    node_t              *child;          /* the first value */
    node_t              *last;
    node_t              *key;            /* of a value in a map */
    char                *text;           /* of a scalar, without NUL inside */
    char                *refusal;        /* why it can't be rendered */
    int                  plain;          /* not quoted */
    int                  used;           /* a document that counts */
    size_t               order;          /* of documents */
};


/*
 * Reads a file ("-": standard input) and returns its documents, linked by
 * "next"; what is wrong has been said by diag().
 */
node_t *yaml_read(const char *name);

node_t *node_get(const node_t *map, const char *key);
node_t *node_path(node_t *node, const char *path);
const char *node_text(const node_t *map, const char *key);
/* -1 if there is no such number */
long node_number(const node_t *map, const char *key);

/* never return NULL: out of memory ends the program */
void *xalloc(size_t size);
char *xstrdup(const char *s);
char *xprintf(const char *fmt, ...) __attribute__((format(printf, 1, 2)));


/* schema.c: every field that may stand in a manifest, and what becomes of it */

/* 1: a kind that is converted, and its fields are right */
int schema_check(node_t *document);

/* 0: a right configuration of Envoy's local rate limit */
int schema_rate_limit(node_t *config);

/* reports what of the tree can't be rendered; returns how much */
int schema_refused(node_t *node);


/* model.c, emit.c */

typedef struct {
    const char          *selector;
    const char          *namespace;
    const char          *root;
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
    const char         **listen;         /* "443=127.0.0.1:8443" */
    const char         **endpoint;       /* "HOST[:PORT]=ADDRESS[:PORT]" */
    const char         **path;           /* "PREFIX=DIR" */
    const char         **allow;          /* CIDR */
    size_t               nlisten, nendpoint, npath, nallow;
} options_t;


typedef struct service_s   service_t;
typedef struct route_s     route_t;
typedef struct listener_s  listener_t;
typedef struct model_s     model_t;

struct service_s {
    service_t           *next;
    char                *name;
    const char          *host;
    long                 port;
    long                 target;
    const char          *protocol;       /* nginx's word */
    node_t              *entry;          /* the ServiceEntry */
    node_t              *port_node;
    node_t              *policy;         /* trafficPolicy of the port; NULL */
    int                  lookup;         /* routed under its own name */
    int                  passthrough;
    int                  originate;
};


struct route_s {
    route_t             *next;
    const char          *host;           /* SNI or Host */
    node_t              *node;
    service_t           *service;
    int                  identity;       /* found by the name itself */
};


typedef enum {
    LISTEN_TLS = 0,
    LISTEN_HTTP,
    LISTEN_TCP
} listen_kind_e;


struct listener_s {
    listener_t          *next;
    listen_kind_e        kind;
    long                 port;
    node_t              *node;           /* the Gateway's server */
    int                  mutual;         /* terminates the mesh's mTLS */
    int                  required;
    route_t             *routes;
    char                *bucket;         /* parameters of egress_ratelimit */
};


struct model_s {
    const options_t     *options;
    node_t             **docs;
    size_t               ndocs;
    int                  allow_any;
    node_t              *mesh;           /* which does not say */
    service_t           *services;
    listener_t          *listeners;
};


/* resolves the documents as Istio does at a gateway; says what it can't */
void model_build(model_t *model);

const char *doc_kind(const node_t *doc);
const char *doc_name(const node_t *doc);
const char *doc_namespace(const node_t *doc);
/* the policy applies to this gateway */
int model_selected(model_t *model, node_t *doc);

/*
 * Renders nginx.conf into a buffer of its own; text that could leave its
 * place in it is refused by diag().
 */
char *emit_conf(model_t *model);


/* main.c: what "convert" would write; argv[0] counts nothing */
int convert_text(int argc, char **argv, char **text);


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
