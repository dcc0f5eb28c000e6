
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"
#include "schema.h"


typedef struct {
    const char      *name;
    pos_t            pos;
    size_t           count;
} skipped_t;


static int schema_header(node_t *doc, const kind_t **kind);
static int schema_gateway_api(node_t *doc);
static int schema_version(node_t *doc, const kind_t *kind);
static int schema_other(node_t *doc);
static void schema_skip(node_t *doc);
static int schema_names(node_t *meta);
static int schema_kube(node_t *doc, const kind_t *kind);
static int schema_fields(node_t *map, const field_t *fields,
    const char *where, int quiet);
static int schema_field(node_t *node, const field_t *f, const char *where,
    int quiet);
static int schema_type(node_t *node, const field_t *f, int quiet);
static int schema_map(node_t *node, const field_t *f, int quiet);
static int schema_wrong(node_t *node, const char *expected);
static int schema_list(node_t *node, const field_t *f, int quiet);
static int schema_scalar(node_t *node, const field_t *f);
static int schema_string(node_t *node, const field_t *f);
static int schema_number(node_t *node, long min, long max);
static int schema_time(const char *s);
static int schema_word(node_t *node, const char *words);
static void schema_unknown(node_t *key, const field_t *fields,
    const char *where);
static size_t schema_distance(const char *a, const char *b);
static int schema_same(char a, char b);


#define SKIPPED_MAX  64

static skipped_t  skipped[SKIPPED_MAX];
static size_t     nskipped;


int
schema_check(node_t *doc)
{
    node_t        *top;
    const kind_t  *kind;

    if (schema_header(doc, &kind) != 0) {
        return 0;
    }

    if (kind->group[0] == '\0' || kind->top == NULL) {
        return schema_kube(doc, kind);
    }

    if (schema_fields(doc, schema_document, "the manifest", 0) != 0) {
        return 0;
    }

    if (schema_names(node_get(doc, "metadata")) != 0) {
        return 0;
    }

    top = node_get(doc, kind->top);

    if (top == NULL || (top->kind == NODE_SCALAR && top->plain
                        && *top->text == '\0'))
    {
        if (!kind->empty) {
            diag(DIAG_ERROR, &doc->pos, "MISSING",
                 "%s must have \"%s\"", kind->kind, kind->top);
        }

        return kind->empty;
    }

    if (top->kind != NODE_MAP) {
        schema_wrong(top, "a mapping");
        return 0;
    }

    return kind->fields == NULL
           || schema_fields(top, kind->fields, kind->kind, 0) == 0;
}


int
schema_mesh(node_t *mesh)
{
    const kind_t  *kind;

    for (kind = schema_kinds; kind->kind; kind++) {
        if (strcmp(kind->kind, "IstioOperator") == 0) {
            return schema_fields(mesh, kind->fields->fields, "meshConfig", 0);
        }
    }

    return -1;
}


int
schema_rate_limit(node_t *config)
{
    if (config->kind != NODE_MAP) {
        return schema_wrong(config, "a mapping");
    }

    return schema_fields(config, schema_local_rate_limit,
                         "the local rate limit", 0);
}


int
schema_actions(node_t *node)
{
    return schema_fields(node, schema_rate_limits, "the patch", 0);
}


/* 1: a kind that may refuse what passes, and that is not converted */

const char *
schema_refusal(const char *name)
{
    const kind_t  *kind;

    for (kind = schema_kinds; kind->kind; kind++) {
        if (strcmp(kind->kind, name) == 0) {
            return kind->note;
        }
    }

    return NULL;
}


/*
 * What is not rendered is refused only where it would count: in the rule for
 * a sidecar, or for another workload, it changes nothing here.
 */

int
schema_refused(node_t *node)
{
    int             n;
    node_t         *child;
    const field_t  *f;

    n = 0;

    if (node == NULL) {
        return 0;
    }

    f = node->row;

    if (f) {
        diag(DIAG_ERROR, &node->key->pos, "UNSUPPORTED",
             f->use == F_NEVER ? "\"%s\" cannot be enforced here%s%s"
                               : "\"%s\" is not rendered%s%s",
             f->name, f->use == F_NEVER && !f->words ? "" : ": ",
             f->words ? f->words : f->use == F_NEVER ? ""
             : "remove it, if what it does can be done without");

        node->row = NULL;
        return 1;
    }

    for (child = node->child; child; child = child->next) {
        n += schema_refused(child);
    }

    return n;
}


void
schema_skipped(void)
{
    size_t  i;

    for (i = 0; i < nskipped; i++) {
        diag(DIAG_NOTE, &skipped[i].pos, "SKIPPED",
             "kind %s has no effect here: %zu skipped", skipped[i].name,
             skipped[i].count);
    }

    nskipped = 0;
}


/* -1: nothing to convert, which has been said */

static int
schema_header(node_t *doc, const kind_t **kind)
{
    const char  *version, *name;

    if (doc->kind != NODE_MAP) {
        diag(DIAG_ERROR, &doc->pos, "SYNTAX",
             "this is not a manifest: \"apiVersion:\" and \"kind:\" are "
             "expected");
        return -1;
    }

    version = node_text(doc, "apiVersion");
    name = node_text(doc, "kind");

    if (version == NULL || name == NULL) {
        diag(DIAG_ERROR, &doc->pos, "MISSING", "a manifest must have \"%s\"",
             version ? "kind" : "apiVersion");
        return -1;
    }

    if (strncmp(version, "gateway.networking.k8s.io/", 26) == 0) {
        return schema_gateway_api(doc);
    }

    for (*kind = schema_kinds; (*kind)->kind; (*kind)++) {
        if (strcmp((*kind)->kind, name) == 0) {

            /* a document itself has no row: this is what doc_kind() has */

            doc->row = (*kind)->kind;

            return schema_version(doc, *kind);
        }
    }

    return schema_other(doc);
}


/* without a Gateway or a route nothing is open that was not; a policy counts */

static int
schema_gateway_api(node_t *doc)
{
    size_t   i;
    node_t  *node;

    static const char  *kinds[] = {
        "Gateway", "GatewayClass", "HTTPRoute", "GRPCRoute", "TLSRoute",
        "TCPRoute", "UDPRoute", "ReferenceGrant", "ListenerSet"
    };

    node = node_get(doc, "kind");

    for (i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        if (strcmp(node->text, kinds[i]) == 0) {
            schema_skip(doc);
            return -1;
        }
    }

    diag(DIAG_ERROR, &node->pos, "UNSUPPORTED",
         "kind %s of the Gateway API is not converted, and it may ask for TLS "
         "to services or narrow something: say so in a DestinationRule or an "
         "AuthorizationPolicy, and take it out of the input", node->text);

    return -1;
}


static int
schema_version(node_t *doc, const kind_t *kind)
{
    size_t       len, i;
    const char  *version;

    static const char  *versions[] = {
        "v1", "v1beta1", "v1alpha3", "v1alpha1"
    };

    version = node_text(doc, "apiVersion");

    /* "v1" alone is Kubernetes' own group */

    len = strchr(version, '/') ? strcspn(version, "/") : 0;

    if (strlen(kind->group) != len
        || strncmp(kind->group, version, len) != 0)
    {
        /* another group's kind of the same name, as Knative's Service */

        if (strstr(version, "istio.io") == NULL
            && (kind->group[0] == '\0' || strstr(kind->group, "k8s.io")))
        {
            schema_skip(doc);
            return -1;
        }

        diag(DIAG_ERROR, &node_get(doc, "apiVersion")->pos, "KIND",
             "kind %s of \"%s\" is not converted, that of \"%s\" is",
             kind->kind, version, len || kind->group[0] ? kind->group : "v1");
        return -1;
    }

    version += len ? len + 1 : 0;

    for (i = 0; i < sizeof(versions) / sizeof(versions[0]); i++) {
        if (strcmp(version, versions[i]) == 0) {
            return 0;
        }
    }

    diag(DIAG_ERROR, &node_get(doc, "apiVersion")->pos, "VALUE",
         "unknown version \"%s\" of kind %s", node_text(doc, "apiVersion"),
         kind->kind);

    return -1;
}


/* what is not of Istio can be left out; a slip of the pen can not */

static int
schema_other(node_t *doc)
{
    size_t         best, n;
    node_t        *node;
    const char    *name, *version;
    const kind_t  *kind, *nearest;

    version = node_text(doc, "apiVersion");
    name = node_text(doc, "kind");
    node = node_get(doc, "kind");

    if (strcmp(name, "WorkloadGroup") == 0) {
        schema_skip(doc);
        return -1;
    }

    if (strstr(version, "istio.io/") == NULL) {
        best = 2;

    } else {
        best = 4;
    }

    nearest = NULL;

    for (kind = schema_kinds; kind->kind; kind++) {

        if (strchr(version, '/') && kind->group[0] == '\0') {
            continue;
        }

        n = schema_distance(kind->kind, name);

        if (n < best) {
            best = n;
            nearest = kind;
        }
    }

    if (nearest || strstr(version, "istio.io/")) {
        diag(DIAG_ERROR, &node->pos, "KIND",
             "unknown kind \"%s\" in \"%s\"%s%s%s", name, version,
             nearest ? ", did you mean \"" : "",
             nearest ? nearest->kind : "", nearest ? "\"?" : "");
        return -1;
    }

    schema_skip(doc);

    return -1;
}


/* one line for all of a kind */

static void
schema_skip(node_t *doc)
{
    size_t       i;
    const char  *name;

    name = node_text(doc, "kind");

    if (strncmp(node_text(doc, "apiVersion"), "gateway.networking.", 19) == 0) {
        name = xprintf("%s of the Gateway API", name);
    }

    for (i = 0; i < nskipped; i++) {
        if (strcmp(skipped[i].name, name) == 0) {
            break;
        }
    }

    if (i == SKIPPED_MAX) {
        i--;
    }

    if (i == nskipped) {
        skipped[i].name = name;
        skipped[i].pos = node_get(doc, "kind")->pos;
        skipped[i].count = 0;
        nskipped++;
    }

    skipped[i].count++;
}


/* RFC 1123, as Kubernetes has it */

static int
schema_names(node_t *meta)
{
    size_t       i;
    node_t      *n;

    static const char  *keys[] = { "name", "namespace" };

    for (i = 0; i < 2; i++) {
        n = node_get(meta, keys[i]);

        if (n && (strlen(n->text) > 253
                  || strspn(n->text, "abcdefghijklmnopqrstuvwxyz0123456789-.")
                     != strlen(n->text)))
        {
            diag(DIAG_ERROR, &n->pos, "VALUE",
                 "\"%s\" has other characters than a-z, 0-9, \"-\" and "
                 "\".\"", keys[i]);
            return -1;
        }
    }

    return 0;
}


/*
 * Kubernetes' own kinds have many fields that say nothing here: what is read
 * has to be right, the rest passes.
 */

static int
schema_kube(node_t *doc, const kind_t *kind)
{
    int             rc;
    node_t         *top, *n;
    const field_t  *f;

    n = node_get(doc, "metadata");

    if (n == NULL || n->kind != NODE_MAP || node_text(n, "name") == NULL) {
        diag(DIAG_ERROR, &doc->pos, "MISSING",
             "%s must have \"metadata\" with \"name\"", kind->kind);
        return 0;
    }

    if (schema_names(n) != 0) {
        return 0;
    }

    rc = 0;
    top = kind->top ? node_get(doc, kind->top) : doc;

    if (top == NULL || top->kind != NODE_MAP) {
        return top == NULL || (top->kind == NODE_SCALAR && *top->text == '\0');
    }

    for (f = kind->fields; f->name; f++) {
        n = node_get(top, f->name);

        if (n) {
            rc |= schema_type(n, f, 2);
        }
    }

    return rc == 0;
}


/* quiet: 1, what has no effect has been said; 2, other fields pass as well */

static int
schema_fields(node_t *map, const field_t *fields, const char *where,
    int quiet)
{
    int             rc;
    node_t         *n;
    const field_t  *f;

    rc = 0;

    for (n = map->child; n; n = n->next) {

        for (f = fields; f->name; f++) {
            if (strcmp(f->name, n->key->text) == 0) {
                break;
            }
        }

        if (f->name == NULL) {

            if (quiet != 2) {
                schema_unknown(n->key, fields, where);
                rc = -1;
            }

            continue;
        }

        if (schema_field(n, f, where, quiet) != 0) {
            rc = -1;
        }
    }

    for (f = fields; f->name; f++) {
        if (f->required == F_MUST && node_get(map, f->name) == NULL) {
            diag(DIAG_ERROR, &map->pos, "MISSING", "%s must have \"%s\"",
                 where, f->name);
            rc = -1;
        }
    }

    return rc;
}


static int
schema_field(node_t *node, const field_t *f, const char *where, int quiet)
{
    switch (f->use) {

    case F_LATER:
    case F_NEVER:
        node->row = f;
        break;

    case F_NONE:
        if (!quiet) {
            diag(DIAG_NOTE, &node->key->pos, "NOEFFECT",
                 "\"%s\" of %s has no effect at an egress gateway%s%s",
                 f->name, where, f->words && f->type != F_WORD ? ": " : "",
                 f->words && f->type != F_WORD ? f->words : "");
            quiet = 1;
        }

        break;

    case F_IDLE:
        quiet = quiet ? quiet : 1;
        break;

    default:
        break;
    }

    return schema_type(node, f, quiet);
}


static int
schema_type(node_t *node, const field_t *f, int quiet)
{
    switch (f->type) {

    case F_ANY:
        return 0;

    case F_MAP:
        if (node->kind != NODE_MAP) {
            return schema_wrong(node, "a mapping");
        }

        return schema_fields(node, f->fields, f->name, quiet);

    case F_MAPMAP:
    case F_LABELS:
    case F_PORTS:
        if (node->kind != NODE_MAP) {
            return schema_wrong(node, "a mapping");
        }

        return schema_map(node, f, quiet);

    case F_STRS:
    case F_INTS:
    case F_MAPS:
        return schema_list(node, f, quiet);

    default:
        return schema_scalar(node, f);
    }
}


static int
schema_map(node_t *node, const field_t *f, int quiet)
{
    int  rc;

    rc = 0;

    for (node = node->child; node; node = node->next) {

        if (f->type == F_MAPMAP) {

            if (node->kind != NODE_MAP) {
                rc |= schema_wrong(node, "a mapping");
                continue;
            }

            rc |= schema_fields(node, f->fields, f->name, quiet);

        } else if (node->kind != NODE_SCALAR) {
            rc |= schema_wrong(node, "a value");

        } else if (f->type == F_PORTS) {
            rc |= schema_number(node, 1, 65535);
        }
    }

    return rc;
}


static int
schema_wrong(node_t *node, const char *expected)
{
    static const char  *names[] = { "a value", "a list", "a mapping" };

    diag(DIAG_ERROR, &node->pos, "TYPE", "%s%s%sis %s, %s was expected",
         node->key ? "\"" : "", node->key ? node->key->text : "",
         node->key ? "\" " : "this ", names[node->kind], expected);

    return -1;
}


static int
schema_list(node_t *node, const field_t *f, int quiet)
{
    int      rc;
    node_t  *n;
    field_t  item;

    if (node->kind != NODE_LIST) {
        return schema_wrong(node, "a list");
    }

    if (f->required && node->child == NULL) {
        diag(DIAG_ERROR, &node->pos, "MISSING",
             "\"%s\" is empty: remove it, or say what it is for", f->name);
        return -1;
    }

    rc = 0;
    item = *f;
    item.type = (f->type == F_INTS) ? F_INT : F_STR;

    for (n = node->child; n; n = n->next) {

        if (f->type != F_MAPS) {
            rc |= schema_scalar(n, &item);

        } else if (n->kind != NODE_MAP) {
            rc |= schema_wrong(n, "a mapping");

        } else {
            rc |= schema_fields(n, f->fields, f->name, quiet);
        }
    }

    return rc;
}


static int
schema_scalar(node_t *node, const field_t *f)
{
    char        *end;
    double       n;
    const char  *s;

    if (node->kind != NODE_SCALAR) {
        return schema_wrong(node, "a value");
    }

    s = node->text;

    switch (f->type) {

    case F_INT:
        return schema_number(node, 0, 2147483647);

    case F_PORT:
        return schema_number(node, 1, 65535);

    case F_NUM:
        n = strtod(s, &end);

        if (!node->plain || strspn(s, "0123456789.") != strlen(s)
            || *end != '\0' || *s == '\0' || !(n >= 0 && n <= 1e9))
        {
            return schema_wrong(node, "a number");
        }

        return 0;

    case F_BOOL:
        if (!node->plain || (strcmp(s, "true") && strcmp(s, "false"))) {
            return schema_wrong(node, "true or false");
        }

        return 0;

    case F_TIME:
        if (schema_time(s) != 0) {
            return schema_wrong(node, "a time like \"10s\"");
        }

        return 0;

    case F_WORD:
        return schema_word(node, f->words);

    default:
        return schema_string(node, f);
    }
}


static int
schema_string(node_t *node, const field_t *f)
{
    char        *end;
    const char  *s;

    s = node->text;

    if (*s == '\0') {

        if (f->type == F_STR0 && !node->plain) {
            return 0;
        }

        diag(DIAG_ERROR, &node->pos, "VALUE", "\"%s\" is empty", f->name);
        return -1;
    }

    (void) strtod(s, &end);

    if (node->plain
        && (*end == '\0' || strcmp(s, "true") == 0
            || strcmp(s, "false") == 0 || strcmp(s, "null") == 0
            || strcmp(s, "~") == 0))
    {
        diag(DIAG_ERROR, &node->pos, "TYPE",
             "\"%s\" wants a string: write \"%s\" in quotes",
             f->name, s);
        return -1;
    }

    return 0;
}


/* decimal, and nothing that another reader of YAML takes for octal */

static int
schema_number(node_t *node, long min, long max)
{
    long         n;
    const char  *s;

    s = node->text;

    if (!node->plain || *s == '\0' || strspn(s, "0123456789") != strlen(s)
        || (*s == '0' && s[1]))
    {
        return schema_wrong(node, "a number");
    }

    errno = 0;
    n = strtol(s, NULL, 10);

    if (errno || n < min || n > max) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "%s%s%shas to be from %ld to %ld", node->key ? "\"" : "",
             node->key ? node->key->text : "it ", node->key ? "\" " : "",
             min, max);
        return -1;
    }

    return 0;
}


static int
schema_time(const char *s)
{
    size_t  n;

    if (*s == '\0') {
        return -1;
    }

    while (*s) {
        n = strspn(s, "0123456789.");

        if (n == 0) {
            return -1;
        }

        s += n;

        if (strncmp(s, "ms", 2) == 0) {
            s += 2;

        } else if (*s == 's' || *s == 'm' || *s == 'h') {
            s++;

        } else {
            return -1;
        }
    }

    return 0;
}


static int
schema_word(node_t *node, const char *words)
{
    size_t       len, n, best;
    const char  *p, *nearest;
    char         word[64];

    len = strlen(node->text);
    p = (len && strchr(node->text, '|') == NULL)
        ? strstr(words, node->text) : NULL;

    /* what is right is found at once */

    for ( /* void */ ; p; p = strstr(p + 1, node->text)) {
        if ((p == words || p[-1] == '|') && (p[len] == '|' || p[len] == '\0'))
        {
            return 0;
        }
    }

    best = 4;
    nearest = NULL;

    for (p = words; *p; p += len + (p[len] == '|')) {
        len = strcspn(p, "|");

        memcpy(word, p, len);
        word[len] = '\0';

        if (strcmp(word, node->text) == 0) {
            return 0;
        }

        /* Istio takes protocols in any case, and nothing else */

        if (strcmp(node->key->text, "protocol") == 0
            && strcasecmp(word, node->text) == 0)
        {
            strcpy(node->text, word);
            return 0;
        }

        n = schema_distance(word, node->text);

        if (n < best) {
            best = n;
            nearest = p;
        }
    }

    if (nearest) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "unknown value \"%s\", did you mean \"%.*s\"?", node->text,
             (int) strcspn(nearest, "|"), nearest);

    } else {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "unknown value \"%s\", it has to be one of %s", node->text,
             words);
    }

    return -1;
}


static void
schema_unknown(node_t *key, const field_t *fields, const char *where)
{
    size_t          n, best;
    const field_t  *f, *nearest;

    best = 4;
    nearest = NULL;

    for (f = fields; f->name; f++) {
        n = schema_distance(f->name, key->text);

        if (n < best) {
            best = n;
            nearest = f;
        }
    }

    diag(DIAG_ERROR, &key->pos, "FIELD", "unknown field \"%s\" in %s%s%s%s",
         key->text, where, nearest ? ", did you mean \"" : "",
         nearest ? nearest->name : "", nearest ? "\"?" : "");
}


/*
 * Levenshtein's, of what is short enough, two letters that have changed places
 * being one step; case counts for nothing.
 */

static size_t
schema_distance(const char *a, const char *b)
{
    size_t  i, j, la, lb, cost, rows[3][64], *row, *up, *upper;

    la = strlen(a);
    lb = strlen(b);

    if (la >= 64 || lb >= 64) {
        return 64;
    }

    for (j = 0; j <= lb; j++) {
        rows[0][j] = j;
    }

    for (i = 1; i <= la; i++) {
        row = rows[i % 3];
        up = rows[(i + 2) % 3];
        upper = rows[(i + 1) % 3];

        row[0] = i;

        for (j = 1; j <= lb; j++) {
            cost = !schema_same(a[i - 1], b[j - 1]);

            row[j] = up[j - 1] + cost;
            row[j] = (up[j] + 1 < row[j]) ? up[j] + 1 : row[j];
            row[j] = (row[j - 1] + 1 < row[j]) ? row[j - 1] + 1 : row[j];

            if (i > 1 && j > 1 && schema_same(a[i - 1], b[j - 2])
                && schema_same(a[i - 2], b[j - 1])
                && upper[j - 2] + 1 < row[j])
            {
                row[j] = upper[j - 2] + 1;
            }
        }
    }

    return rows[la % 3][lb];
}


static int
schema_same(char a, char b)
{
    return tolower((unsigned char) a) == tolower((unsigned char) b);
}
