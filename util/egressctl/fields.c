
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "egressctl.h"
#include "schema.h"


static int fields_usage(void);
static void fields_text(const field_t *f, const char *path, int use);
static void fields_markdown(void);
static void fields_table(const field_t *fields, const char *path, int use);
static void fields_cell(const field_t *fields, int use, int all);
static const char *fields_seen(const field_t *fields, const char *path);
static int fields_crds(const char *name);
static int fields_crd(node_t *crd);
static int fields_compare(node_t *schema, const field_t *fields,
    const char *path);
static int fields_compare_one(node_t *schema, const field_t *f,
    const char *path);
static node_t *fields_properties(node_t *schema);


typedef struct {
    const field_t   *fields;
    const char      *path;
} seen_t;

static seen_t  seen[256];
static size_t  nseen;


static const char  *uses[] = {
    "rendered", "no effect", "refused", "refused", "no effect"
};


/* fields [--markdown | --crd FILE] */

int
fields(int argc, char **argv)
{
    const kind_t  *kind;

    if (argc == 2 && strcmp(argv[1], "--markdown") == 0) {
        fields_markdown();
        return EGRESSCTL_OK;
    }

    if (argc == 3 && strcmp(argv[1], "--crd") == 0) {
        return fields_crds(argv[2]);
    }

    if (argc != 1) {
        return fields_usage();
    }

    for (kind = schema_kinds; kind->kind; kind++) {
        if (kind->fields) {
            fields_text(kind->fields,
                        kind->top ? xprintf("%s %s", kind->kind, kind->top)
                                  : xprintf("%s ", kind->kind),
                        F_USED);
        }
    }

    return EGRESSCTL_OK;
}


static int
fields_usage(void)
{
    fputs("usage: egressctl fields [--markdown | --crd FILE]\n", stderr);
    return EGRESSCTL_USAGE;
}


/* what a row says that is not rendered, it says for all below it */

static void
fields_text(const field_t *f, const char *path, int use)
{
    int          u;
    char        *p;
    const char  *dot;

    for ( /* void */ ; f->name; f++) {
        u = use ? use : f->use;
        dot = (path[strlen(path) - 1] == ' ') ? "" : ".";

        p = xprintf("%s%s%s%s", path, dot, f->name,
                    f->type == F_MAPS || f->type == F_STRS
                    || f->type == F_INTS ? "[]"
                    : f->type == F_MAPMAP || f->type == F_LABELS
                      || f->type == F_PORTS ? "{}" : "");

        printf("%s\t%s\t%s\n", p, uses[u],
               f->use && f->type != F_WORD && f->words ? f->words : "");

        if (f->fields) {
            fields_text(f->fields, p, u);
        }
    }
}


/* a table of fields that several places share stands once */

static void
fields_markdown(void)
{
    const kind_t  *kind;

    puts("| fields of | rendered | no effect here | refused |\n"
         "|---|---|---|---|");

    for (kind = schema_kinds; kind->kind; kind++) {

        if (kind->fields == NULL) {
            printf("| **%s** | | if it selects another workload | %s |\n",
                   kind->kind, kind->note);
            continue;
        }

        fields_table(kind->fields, xprintf("**%s**", kind->kind), F_USED);
    }

    fields_table(schema_local_rate_limit, "**local_ratelimit**", F_USED);
}


static void
fields_table(const field_t *fields, const char *path, int use)
{
    int             u;
    const char     *where;
    const field_t  *f;

    where = fields_seen(fields, path);

    if (where) {
        printf("| %s | as %s | | |\n", path, where);
        return;
    }

    printf("| %s | ", path);
    fields_cell(fields, F_USED, use);
    printf(" | ");
    fields_cell(fields, F_NONE, use);
    printf(" | ");
    fields_cell(fields, F_LATER, use);
    puts(" |");

    for (f = fields; f->name; f++) {
        u = use ? use : f->use;

        if (f->fields && u == F_USED) {
            fields_table(f->fields, xprintf("%s.%s", path, f->name), u);
        }
    }
}


static void
fields_cell(const field_t *fields, int use, int all)
{
    int             u, n;
    const field_t  *f;

    n = 0;

    for (f = fields; f->name; f++) {
        u = all ? all : f->use;
        u = (u == F_NEVER) ? F_LATER : (u == F_IDLE) ? F_NONE : u;

        if (u != use) {
            continue;
        }

        printf("%s%s", n++ ? ", " : "", f->name);

        if (u != F_USED && f->type != F_WORD && f->words) {
            printf(" (%s)", f->words);
        }
    }
}


static const char *
fields_seen(const field_t *fields, const char *path)
{
    size_t  i;

    for (i = 0; i < nseen; i++) {
        if (seen[i].fields == fields) {
            return seen[i].path;
        }
    }

    if (nseen < sizeof(seen) / sizeof(seen[0])) {
        seen[nseen].fields = fields;
        seen[nseen++].path = path;
    }

    return NULL;
}


/* "+": a field of the CRDs that has no row; "-": a row without a field */

static int
fields_crds(const char *name)
{
    int      n;
    node_t  *doc;

    n = 0;

    for (doc = yaml_read(name); doc; doc = doc->next) {
        if (strcmp(doc_kind(doc) ? doc_kind(doc) : "",
                   "CustomResourceDefinition") == 0)
        {
            n += fields_crd(doc);
        }
    }

    return (n || diag_end()) ? EGRESSCTL_REFUSED : EGRESSCTL_OK;
}


static int
fields_crd(node_t *crd)
{
    int            n;
    node_t        *version, *spec;
    const char    *name;
    const kind_t  *kind;

    name = node_text(node_path(crd, "spec.names"), "kind");

    for (kind = schema_kinds; name && kind->kind; kind++) {
        if (strcmp(kind->kind, name) == 0) {
            break;
        }
    }

    if (name == NULL || kind->kind == NULL || kind->fields == NULL) {
        printf("  %s: skipped, as its kind is\n", name ? name : "?");
        return 0;
    }

    n = 0;
    version = node_path(crd, "spec.versions");

    for (version = version ? version->child : NULL; version;
         version = version->next)
    {
        spec = node_path(version, "schema.openAPIV3Schema.properties.spec");
        n += fields_compare(spec, kind->fields, kind->kind);
    }

    return n;
}


static int
fields_compare(node_t *schema, const field_t *fields, const char *path)
{
    int             n;
    node_t         *p, *properties;
    const field_t  *f;

    n = 0;
    properties = fields_properties(schema);

    for (p = properties ? properties->child : NULL; p; p = p->next) {

        for (f = fields; f->name; f++) {
            if (strcmp(f->name, p->key->text) == 0) {
                break;
            }
        }

        if (f->name == NULL) {
            printf("+ %s.%s\n", path, p->key->text);
            n++;
            continue;
        }

        n += fields_compare_one(p, f, xprintf("%s.%s", path, f->name));
    }

    for (f = fields; f->name; f++) {
        if (node_get(properties, f->name) == NULL) {
            printf("- %s.%s\n", path, f->name);
            n++;
        }
    }

    return n;
}


static int
fields_compare_one(node_t *schema, const field_t *f, const char *path)
{
    node_t  *values;

    if (f->fields) {
        return fields_compare(schema, f->fields, path);
    }

    values = node_get(schema, "additionalProperties");

    if (fields_properties(schema) || node_get(values, "properties")) {
        printf("+ %s.*\n", path);
        return 1;
    }

    return 0;
}


static node_t *
fields_properties(node_t *schema)
{
    node_t      *n;
    size_t       i;

    static const char  *within[] = { "items", "additionalProperties" };

    n = node_get(schema, "properties");

    for (i = 0; n == NULL && i < 2; i++) {
        n = node_get(node_get(schema, within[i]), "properties");
    }

    return n;
}
