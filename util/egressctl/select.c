
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/* what of the input is meant for this gateway */


#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "egressctl.h"


#define MODEL_SERVICE  "istio-egressgateway"


const char *
doc_kind(const node_t *doc)
{
    return doc->row ? doc->row : node_text(doc, "kind");
}


const char *
doc_name(const node_t *doc)
{
    return node_text(node_get(doc, "metadata"), "name");
}


const char *
doc_namespace(const node_t *doc)
{
    const char  *ns;

    ns = node_text(node_get(doc, "metadata"), "namespace");

    return ns ? ns : "default";
}


node_t *
model_mesh(model_t *m, const char *key)
{
    size_t   i;
    node_t  *n, *first;

    first = NULL;

    for (i = 0; i < m->meshes.n; i++) {
        n = node_get(m->meshes.elts[i], key);

        if (n && first && !node_equal(n, first)) {
            diag(DIAG_ERROR, &n->key->pos, "CONFLICT",
                 "%s says otherwise than in %s:%zu: which of them counts?",
                 key, first->pos.source->name, first->pos.line);
            n->kind = first->kind;
            n->child = first->child;
            n->text = first->text;
        }

        first = first ? first : n;
    }

    return first;
}


int
model_selected(model_t *m, node_t *doc)
{
    int          rc;
    node_t      *labels;
    const char  *ns, *unknown;

    ns = doc_namespace(doc);
    labels = node_path(doc, "spec.selector.matchLabels");

    if (strcmp(ns, m->options->namespace) != 0
        && strcmp(ns, m->options->root) != 0)
    {
        rc = (labels && labels->child
              && model_labels(m, labels, &unknown) == 1);

        diag(rc ? DIAG_WARNING : DIAG_NOTE, &doc->pos, "SELECTOR",
             "%s \"%s\" is of namespace \"%s\"%s and does not apply to the "
             "gateway%s", doc_kind(doc), doc_name(doc), ns,
             node_path(doc, "metadata.namespace") ? "" : ", as it names none,",
             rc ? ", whose labels it selects: is another namespace meant?"
                : "");
        return 0;
    }

    if (labels == NULL) {
        return 1;
    }

    rc = model_labels(m, labels, &unknown);

    if (rc == -1) {
        diag(DIAG_ERROR, &labels->pos, "SELECTOR",
             "does the gateway have the label \"%s\"? Say so with "
             "--selector", unknown);
    }

    if (rc == 0) {
        diag(DIAG_NOTE, &labels->pos, "SELECTOR",
             "%s \"%s\" selects other workloads", doc_kind(doc),
             doc_name(doc));
    }

    return rc == 1;
}


/*
 * 1: the gateway has all of the labels; 0: it has another value of one;
 * -1: it is not known whether it has them.
 */

int
model_labels(model_t *m, node_t *labels, const char **unknown)
{
    int          rc;
    size_t       klen, vlen;
    node_t      *n;
    const char  *p, *end;

    rc = 1;
    end = NULL;

    for (n = labels->child; n; n = n->next) {

        klen = strlen(n->key->text);

        for (p = m->options->selector; *p; p = end + (*end == ',')) {
            end = p + strcspn(p, ",");

            if (strncmp(p, n->key->text, klen) == 0 && p[klen] == '=') {
                break;
            }
        }

        if (*p == '\0') {
            *unknown = n->key->text;
            rc = -1;
            continue;
        }

        p += klen + 1;
        vlen = end - p;

        if (strlen(n->text) != vlen || strncmp(p, n->text, vlen) != 0) {
            return 0;
        }
    }

    return rc;
}


int
model_exported(model_t *m, node_t *doc, const char *mesh_default)
{
    node_t  *n, *list;

    list = node_path(doc, "spec.exportTo");

    if (list == NULL || list->child == NULL) {
        list = model_mesh(m, mesh_default);
    }

    if (list == NULL || list->child == NULL) {
        return 1;
    }

    for (n = list->child; n; n = n->next) {

        if (strcmp(n->text, "*") == 0
            || strcmp(n->text, m->options->namespace) == 0)
        {
            return 1;
        }

        if (strcmp(n->text, ".") == 0
            && strcmp(doc_namespace(doc), m->options->namespace) == 0)
        {
            return 1;
        }
    }

    return 0;
}


/* is the gateway among the names; a bare name is in the rule's namespace */

int
model_bound(node_t *vs, node_t *names, node_t *gateway)
{
    size_t       len;
    node_t      *n;
    const char  *name, *slash, *ns;

    for (n = names->child; n; n = n->next) {

        name = n->text;
        slash = strchr(name, '/');
        ns = doc_namespace(vs);
        len = strlen(ns);

        if (slash && !(slash == name + 1 && *name == '.')) {
            ns = name;
            len = slash - name;
        }

        if (slash) {
            name = slash + 1;
        }

        if (strcmp(name, doc_name(gateway)) == 0
            && strlen(doc_namespace(gateway)) == len
            && strncmp(doc_namespace(gateway), ns, len) == 0)
        {
            return 1;
        }
    }

    return 0;
}


int
model_match(node_t *vs, server_t *s, node_t *match)
{
    long     port;
    node_t  *gateways;

    gateways = node_get(match, "gateways");

    if (gateways && !model_bound(vs, gateways, s->gateway)) {
        return 0;
    }

    port = node_number(match, "port");

    return port == -1 || port == s->listener->port;
}


/* does the name mean the gateway's own Service */

int
model_own(model_t *m, node_t *doc, const char *host)
{
    char         full[512];
    size_t       i;
    const char  *ns;

    static const char  *forms[] = {
        "%s.%s", "%s.%s.svc", "%s.%s.svc.cluster.local"
    };

    ns = m->options->namespace;

    if (strcmp(host, MODEL_SERVICE) == 0) {
        return strcmp(doc_namespace(doc), ns) == 0;
    }

    for (i = 0; i < sizeof(forms) / sizeof(forms[0]); i++) {
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(full, sizeof(full), forms[i], MODEL_SERVICE, ns);
#pragma GCC diagnostic pop

        if (strcmp(full, host) == 0) {
            return 1;
        }
    }

    return host[0] == '*' && host_covers(host, full);
}
