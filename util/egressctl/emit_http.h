
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _EMIT_HTTP_H_INCLUDED_
#define _EMIT_HTTP_H_INCLUDED_


/* a location of the server that is written */

typedef struct {
    const char      *name;
    const pos_t     *pos;
    char            *body;
    size_t           size;
} place_t;


/* one way to it: conditions that hold, and what the path is like */

typedef struct {
    list_t           conditions;
    const char      *uri;                /* a regular expression, or "" */
    int              icase;
    int              any;
    const char      *to;
} arm_t;


typedef struct {
    emit_t          *e;
    listener_t      *l;
    vhost_t         *v;
    list_t           conditions;
    list_t           arms;
    list_t           places;
    const char      *route;              /* the variable */
    int              conditional;        /* not only paths decide */
    int              last;               /* some arm matches all */
    unsigned         n;
    rule_t          *rule;               /* the last one, and where it went */
    const char      *to;
} vh_t;


/* emit_http.c */

char *emit_string(node_t *node, const char *any);
const char *emit_condition(emit_t *e, const char *variable, const char *regex,
    int icase, int invert);
void emit_preflight(vh_t *vh, rule_t *rule, const char *to,
    const char *origin);

/* emit_route.c: each returns the name of the location it made */

const char *emit_location(vh_t *vh, rule_t *rule);
/* "return status text"; rule: for its headers, or NULL */
const char *emit_answer(vh_t *vh, const pos_t *pos, rule_t *rule,
    const char *status, const char *text);
/*
 * NULL: none; grpc: the answer to gRPC, if that is another one; condition:
 * when, NULL for always.
 */
const char *emit_abort(vh_t *vh, rule_t *rule, const char **grpc,
    const char **condition);
void emit_cors(vh_t *vh, rule_t *rule);


#endif /* _EMIT_HTTP_H_INCLUDED_ */
