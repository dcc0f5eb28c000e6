
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <yaml.h>

#include "egressctl.h"


#define YAML_MAX_DEPTH   64
#define YAML_MAX_NODES   2000000
#define YAML_MAX_KEYS    1024            /* of one mapping */
#define YAML_MAX_BYTES   (64 * 1024 * 1024)


typedef struct {
    source_t        *source;
    node_t          *stack[YAML_MAX_DEPTH];
    node_t          *key[YAML_MAX_DEPTH];
    node_t          *end[YAML_MAX_DEPTH];    /* the last value so far */
    size_t           depth;
    size_t           nodes;
    node_t          *first;
    node_t          *last;
} yaml_state_t;


static source_t *yaml_load(const char *name);
static node_t *yaml_parse(source_t *source);
static int yaml_event(yaml_state_t *y, yaml_event_t *event);
static node_t *yaml_node(yaml_state_t *y, yaml_event_t *event,
    node_kind_e kind);
static int yaml_scalar(yaml_state_t *y, yaml_event_t *event);
static int yaml_add(yaml_state_t *y, node_t *node);
static int yaml_open(yaml_state_t *y, yaml_event_t *event, node_kind_e kind,
    yaml_char_t *anchor, yaml_char_t *tag);
static int yaml_refused(yaml_state_t *y, yaml_mark_t *mark,
    const char *what);
static void yaml_error(yaml_state_t *y, yaml_parser_t *parser);
static const char *yaml_line(source_t *source, size_t line, size_t *len);


node_t *
yaml_read(const char *name)
{
    source_t  *source;

    source = yaml_load(name);

    if (source == NULL) {
        return NULL;
    }

    /* as of a "kubectl get" that failed: what is open would be closed */

    if (source->len == 0) {
        diag(DIAG_ERROR, NULL, "READ", "%s is empty", source->name);
        return NULL;
    }

    return yaml_parse(source);
}


/*
 * The lines of a block are counted from its first one, which follows the key.
 * Where its text begins in the line is not known any more.
 */

node_t *
yaml_text(node_t *scalar)
{
    size_t     i;
    char      *p;
    source_t  *source;

    source = xalloc(sizeof(source_t));
    source->name = scalar->pos.source->name;
    source->len = strlen(scalar->text);

    i = scalar->plain ? scalar->pos.line - 1 : scalar->pos.line;
    source->text = xalloc(i + source->len + 1);

    for (p = source->text; i; i--) {
        *p++ = '\n';
    }

    memcpy(p, scalar->text, source->len);
    source->len = strlen(source->text);

    return yaml_parse(source);
}


static node_t *
yaml_parse(source_t *source)
{
    int            rc, done;
    yaml_event_t   event;
    yaml_state_t   y;
    yaml_parser_t  parser;

    memset(&y, 0, sizeof(yaml_state_t));
    y.source = source;

    if (!yaml_parser_initialize(&parser)) {
        abort();
    }

    yaml_parser_set_encoding(&parser, YAML_UTF8_ENCODING);
    yaml_parser_set_input_string(&parser, (unsigned char *) y.source->text,
                                 y.source->len);

    for (done = 0; !done; /* void */ ) {

        if (!yaml_parser_parse(&parser, &event)) {
            yaml_error(&y, &parser);
            break;
        }

        done = (event.type == YAML_STREAM_END_EVENT);
        rc = yaml_event(&y, &event);

        yaml_event_delete(&event);

        if (rc != 0) {
            break;
        }
    }

    yaml_parser_delete(&parser);

    /* half a document is none */

    return y.depth ? NULL : y.first;
}


static source_t *
yaml_load(const char *name)
{
    FILE      *f;
    size_t     n, size;
    pos_t      pos;
    source_t  *source;

    source = xalloc(sizeof(source_t));
    source->name = xstrdup(strcmp(name, "-") == 0 ? "<stdin>" : name);

    memset(&pos, 0, sizeof(pos_t));
    pos.source = source;

    f = strcmp(name, "-") == 0 ? stdin : fopen(name, "rb");

    if (f == NULL) {
        diag(DIAG_ERROR, &pos, "READ", "cannot open: %s", strerror(errno));
        return NULL;
    }

    size = 65536;
    source->text = xalloc(size);

    for ( ;; ) {
        n = fread(source->text + source->len, 1, size - source->len - 1, f);
        source->len += n;

        if (n == 0 || source->len > YAML_MAX_BYTES) {
            break;
        }

        if (size - source->len < 32768) {
            size *= 2;
            source->text = realloc(source->text, size);

            if (source->text == NULL) {
                abort();
            }
        }
    }

    n = ferror(f);

    if (f != stdin) {
        fclose(f);
    }

    source->text[source->len] = '\0';

    if (n || source->len > YAML_MAX_BYTES) {
        diag(DIAG_ERROR, &pos, "READ", n ? "cannot read: is it a file?"
                                         : "is larger than 64 MB");
        return NULL;
    }

    return source;
}


static int
yaml_event(yaml_state_t *y, yaml_event_t *event)
{
    node_t  *node;

    switch (event->type) {

    case YAML_ALIAS_EVENT:
        return yaml_refused(y, &event->start_mark, "an alias");

    case YAML_SCALAR_EVENT:
        return yaml_scalar(y, event);

    case YAML_SEQUENCE_START_EVENT:
        return yaml_open(y, event, NODE_LIST, event->data.sequence_start.anchor,
                         event->data.sequence_start.tag);

    case YAML_MAPPING_START_EVENT:
        return yaml_open(y, event, NODE_MAP, event->data.mapping_start.anchor,
                         event->data.mapping_start.tag);

    case YAML_SEQUENCE_END_EVENT:
    case YAML_MAPPING_END_EVENT:
        node = y->stack[--y->depth];

        if (y->depth == 0) {
            if (y->last) {
                y->last->next = node;

            } else {
                y->first = node;
            }

            y->last = node;
            return 0;
        }

        return yaml_add(y, node);

    default:
        return 0;
    }
}


static node_t *
yaml_node(yaml_state_t *y, yaml_event_t *event, node_kind_e kind)
{
    node_t  *node;

    node = xpiece(sizeof(node_t));
    node->kind = kind;
    node->pos.source = y->source;
    node->pos.line = event->start_mark.line + 1;
    node->pos.col = event->start_mark.column + 1;

    if (++y->nodes > YAML_MAX_NODES) {
        diag(DIAG_ERROR, &node->pos, "LIMIT", "more than %d values",
             YAML_MAX_NODES);
        return NULL;
    }

    return node;
}


static int
yaml_scalar(yaml_state_t *y, yaml_event_t *event)
{
    node_t       *node;
    size_t        i, len;
    const char   *text;

    if (event->data.scalar.anchor) {
        return yaml_refused(y, &event->start_mark, "an anchor");
    }

    if (event->data.scalar.tag) {
        return yaml_refused(y, &event->start_mark, "a tag");
    }

    node = yaml_node(y, event, NODE_SCALAR);

    if (node == NULL) {
        return -1;
    }

    text = (const char *) event->data.scalar.value;
    len = event->data.scalar.length;

    for (i = 0; i < len; i++) {
        if (text[i] == '\0') {
            return yaml_refused(y, &event->start_mark, "a NUL character");
        }
    }

    node->text = xpiece(len + 1);
    memcpy(node->text, text, len);
    node->plain = (event->data.scalar.style == YAML_PLAIN_SCALAR_STYLE);

    if (y->depth == 0) {

        /* an empty document; any other lone scalar is no manifest */

        if (len) {
            diag(DIAG_ERROR, &node->pos, "SYNTAX",
                 "this is not a manifest: \"apiVersion:\" and \"kind:\" are "
                 "expected");
        }

        return 0;
    }

    return yaml_add(y, node);
}


static int
yaml_open(yaml_state_t *y, yaml_event_t *event, node_kind_e kind,
    yaml_char_t *anchor, yaml_char_t *tag)
{
    node_t  *node;

    if (anchor) {
        return yaml_refused(y, &event->start_mark, "an anchor");
    }

    if (tag) {
        return yaml_refused(y, &event->start_mark, "a tag");
    }

    node = yaml_node(y, event, kind);

    if (node == NULL) {
        return -1;
    }

    if (y->depth == YAML_MAX_DEPTH) {
        diag(DIAG_ERROR, &node->pos, "LIMIT", "nested deeper than %d",
             YAML_MAX_DEPTH);
        return -1;
    }

    y->key[y->depth] = NULL;
    y->end[y->depth] = NULL;
    y->stack[y->depth++] = node;

    return 0;
}


static int
yaml_add(yaml_state_t *y, node_t *node)
{
    size_t   keys;
    node_t  *parent, *key, *last, *n;

    parent = y->stack[y->depth - 1];
    key = y->key[y->depth - 1];

    if (parent->kind == NODE_MAP && key == NULL) {

        if (node->kind != NODE_SCALAR) {
            diag(DIAG_ERROR, &node->pos, "SYNTAX",
                 "a key has to be a plain word");
            return -1;
        }

        if (node->plain && strcmp(node->text, "<<") == 0) {
            diag(DIAG_ERROR, &node->pos, "SYNTAX",
                 "a merge key is refused: write out what it stands for");
            return -1;
        }

        for (n = parent->child, keys = 1; n; n = n->next, keys++) {
            if (strcmp(n->key->text, node->text) == 0) {
                diag(DIAG_ERROR, &node->pos, "DUPLICATE",
                     "duplicate key \"%s\", previously in line %zu",
                     node->text, n->key->pos.line);
                return -1;
            }
        }

        if (keys > YAML_MAX_KEYS) {
            diag(DIAG_ERROR, &node->pos, "LIMIT",
                 "a mapping with more than %d keys", YAML_MAX_KEYS);
            return -1;
        }

        y->key[y->depth - 1] = node;
        return 0;
    }

    node->key = key;
    y->key[y->depth - 1] = NULL;

    last = y->end[y->depth - 1];

    if (last) {
        last->next = node;

    } else {
        parent->child = node;
    }

    y->end[y->depth - 1] = node;

    return 0;
}


static int
yaml_refused(yaml_state_t *y, yaml_mark_t *mark, const char *what)
{
    pos_t  pos;

    pos.source = y->source;
    pos.line = mark->line + 1;
    pos.col = mark->column + 1;

    diag(DIAG_ERROR, &pos, "SYNTAX", "%s is refused: write out what it "
         "stands for", what);

    return -1;
}


static void
yaml_error(yaml_state_t *y, yaml_parser_t *parser)
{
    pos_t        pos;
    size_t       len, i;
    const char  *line;

    pos.source = y->source;
    pos.line = parser->problem_mark.line + 1;
    pos.col = parser->problem_mark.column + 1;

    if (parser->error == YAML_MEMORY_ERROR) {
        abort();
    }

    if (parser->error == YAML_READER_ERROR) {
        for (pos.line = 1, pos.col = 1, i = 0;
             i < parser->problem_offset && i < y->source->len; i++)
        {
            pos.col++;

            if (y->source->text[i] == '\n') {
                pos.line++;
                pos.col = 1;
            }
        }
    }

    /* a "simple key" without ":" is to blame where it began */

    if (parser->context && strstr(parser->context, "simple key")) {
        pos.line = parser->context_mark.line + 1;
        pos.col = parser->context_mark.column + 1;
    }

    line = yaml_line(y->source, pos.line, &len);

    while (len && (*line == ' ' || *line == '\t')) {
        line++;
        len--;
    }

    while (len && (line[len - 1] == ' ' || line[len - 1] == '\r')) {
        len--;
    }

    if (len == 2 && strncmp(line, "{}", 2) == 0) {
        diag(DIAG_ERROR, &pos, "SYNTAX",
             "\"{}\" cannot stand beside other fields of a mapping: remove "
             "it (a policy without rules already denies all), or write "
             "\"spec: {}\" alone to mean an empty spec");
        return;
    }

    if (len && *line == '\t') {
        diag(DIAG_ERROR, &pos, "SYNTAX", "a tab cannot indent: use spaces");
        return;
    }

    diag(DIAG_ERROR, &pos, "SYNTAX", "not valid YAML: %s%s%s%s",
         parser->context ? parser->context : "",
         parser->context ? ", " : "",
         parser->problem ? parser->problem : "unreadable",
         "; compare the indentation with the lines above");
}


static const char *
yaml_line(source_t *source, size_t line, size_t *len)
{
    size_t       n;
    const char  *p, *last, *end;

    p = source->text;
    last = p + source->len;

    for (n = 1; n < line && p < last; p++) {
        n += (*p == '\n');
    }

    end = memchr(p, '\n', last - p);
    *len = (end ? end : last) - p;

    return p;
}
