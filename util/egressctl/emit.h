
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _EMIT_H_INCLUDED_
#define _EMIT_H_INCLUDED_


#include <stdio.h>

#include "egressctl.h"


/* of nginx, which reads configurations by 4096 bytes */
#define EMIT_WORD_MAX  4000


typedef struct {
    model_t     *m;
    FILE        *out;
    FILE        *maps;                   /* of the block that is written */
    FILE        *logs;                   /* maps of logs */
    hash_t      *conditions;             /* of http */
    unsigned     ids;                    /* for names of variables */
    int          portless[2];            /* of plain, of TLS: map written */
    int          dollar;                 /* some text has a "$" */
    int          empty;                  /* some body is empty */
    int          named;                  /* some rule of http has a name */
    int          http2;                  /* some service is asked in it */
    int          stream;                 /* the block is stream { } */
} emit_t;


/* emit_service.c */

void emit_services(emit_t *e);
/* does the gateway speak TLS to it */
int emit_originates(service_t *svc);
const char *emit_pin(emit_t *e, service_t *svc, long *target);
/* a directive that names a file, as --path has it */
void emit_file(emit_t *e, const char *indent, const char *directive,
    node_t *node);

/* emit_mutual.c: ISTIO_MUTUAL, of a rule, and where there is none */

void emit_istio_mutual(emit_t *e, service_t *svc);
void emit_auto_mutual(emit_t *e, service_t *svc);

/* emit_stream.c */
void emit_colons(emit_t *e, const char *directive, node_t *n);
void emit_server_protocols(emit_t *e, node_t *tls);

void emit_stream(emit_t *e);
void emit_listen(emit_t *e, listener_t *l, const char *more);
/* has nginx a directive for it, and both protocols in one port */
int emit_has_http2(emit_t *e);
void emit_http2(emit_t *e, listener_t *l);
void emit_mutual(emit_t *e);
/* certificates of a Gateway's server that ends TLS */
void emit_server_tls(emit_t *e, server_t *s);

/* emit_http.c, emit_route.c */

void emit_http(emit_t *e);
void emit_vhost(emit_t *e, listener_t *l, vhost_t *v);
/* the service, or a variable that splits by weight */
const char *emit_targets(emit_t *e, target_t *targets);

/* emit_authz.c */

void emit_policies(emit_t *e);

/* emit_log.c */

void emit_logs(emit_t *e);

/* emit_text.c */

void emit_comment(emit_t *e, const char *indent, const pos_t *pos);
void emit_source(emit_t *e, const pos_t *pos);
/* whatever the file is called, it is a word */
void emit_place(emit_t *e, const pos_t *pos);
void emit_words(emit_t *e, const char *directive, node_t *list);

/*
 * One word of nginx.conf.  What nginx would read as anything but itself,
 * even within quotes, is refused: a variable, an escape, the end of the
 * word, a byte that no name has.
 */
void emit_word(emit_t *e, const pos_t *pos, const char *text);
void emit_host(emit_t *e, const pos_t *pos, const char *host);

/* text in quotes, where nginx expands variables: "$" is one of ours */
char *text_quoted(emit_t *e, const pos_t *pos, const char *text);
/* the same without quotes, to be put together */
char *text_value(emit_t *e, const pos_t *pos, const char *text);
char *text_line(emit_t *e, const pos_t *pos, const char *text);
/* "$a" as "${a}", whatever follows */
char *text_braced(const char *value);
/* a regular expression, for within quotes; of a literal, and of RE2's */
char *text_literal(const pos_t *pos, const char *text);
char *text_regex(const pos_t *pos, const char *text, int *groups,
    int *alternatives);
/* "$http_name"; NULL if it can't be a header's name */
char *text_header(const pos_t *pos, const char *prefix, const char *name);
char *text_request(const pos_t *pos, const char *name);


#endif /* _EMIT_H_INCLUDED_ */
