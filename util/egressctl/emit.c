
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"
#include "emit.h"
#include "limits.h"


/* of the module's directives that are written: its NGX_EGRESS_CONF_VERSION */
#define EMIT_VERSION  1


static void emit_check_words(const char *p);
static void emit_modules(emit_t *e);
static void emit_processes(emit_t *e);
static void emit_egress(emit_t *e);
static void emit_resolver(emit_t *e);
static void emit_trust_domain(emit_t *e);
static void emit_normalization(emit_t *e);


/*
 * What services, buckets and the like are needed shows only when stream and
 * http are written, and "egress" stands before them.
 */

char *
emit_conf(model_t *m)
{
    char    *buf, *rest;
    size_t   size, rest_size;
    emit_t   e;

    memset(&e, 0, sizeof(emit_t));

    e.m = m;
    e.out = open_memstream(&rest, &rest_size);

    if (e.out == NULL) {
        abort();
    }

    limits_build(&e);
    emit_stream(&e);
    emit_http(&e);

    fclose(e.out);

    e.out = open_memstream(&buf, &size);

    if (e.out == NULL) {
        abort();
    }

    fputs("# Made by egressctl convert from Istio manifests: change those, "
          "not this.\n\n", e.out);

    emit_modules(&e);
    emit_processes(&e);
    emit_egress(&e);

    fputs(rest, e.out);
    fclose(e.out);
    free(rest);

    emit_check_words(buf);

    return buf;
}


/* a word may have been put together of what is not too long by itself */

static void
emit_check_words(const char *p)
{
    char         quote;
    const char  *start;

    while (*p) {

        if (strchr(" \n;{}", *p)) {
            p++;
            continue;
        }

        if (*p == '#') {
            p += strcspn(p, "\n");
            continue;
        }

        start = p;
        quote = (*p == '"' || *p == '\'') ? *p : '\0';

        for (p += (quote != '\0'); *p; p++) {

            if (*p == '\\' && p[1]) {
                p++;
                continue;
            }

            if (quote ? *p == quote : strchr(" \n;", *p) != NULL) {
                break;
            }
        }

        p += (*p == quote && quote);

        if (p - start > EMIT_WORD_MAX) {
            diag(DIAG_ERROR, NULL, "LIMIT",
                 "nginx takes no word of more than %d bytes, and the "
                 "conditions of a rule, or of the rules of a host, make one "
                 "of %zu: split them", EMIT_WORD_MAX, (size_t) (p - start));
            return;
        }
    }
}


static void
emit_modules(emit_t *e)
{
    size_t            i;
    const options_t  *o;

    static const char  *names[] = {
        "egress", "egress_authz", "egress_ratelimit",
        "http_egress", "http_egress_authz", "http_egress_ratelimit",
        "stream_egress", "stream_egress_authz", "stream_egress_ratelimit"
    };

    o = e->m->options;

    if (o->modules == NULL && o->stream_module == NULL) {

        /* where "make install" has put the load_module lines, if anywhere */

        fputs("include  modules-enabled/*.conf;\n\n", e->out);
        return;
    }

    if (o->stream_module) {
        fputs("load_module  ", e->out);
        emit_word(e, NULL, o->stream_module);
        fputs(";\n", e->out);
    }

    if (o->modules) {
        for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
            fputs("load_module  ", e->out);
            emit_word(e, NULL, xprintf("%s/ngx_%s_module.so", o->modules,
                                       names[i]));
            fputs(";\n", e->out);
        }
    }

    fputc('\n', e->out);
}


static void
emit_processes(emit_t *e)
{
    size_t       i;
    node_t      *doc, *n, *found, *config;
    const char  *ns;

    found = NULL;
    config = model_mesh(e->m, "defaultConfig");

    /* the gateway's own, else its namespace's, else the mesh's */

    for (i = 0; i < e->m->ndocs; i++) {
        doc = e->m->docs[i];
        ns = doc_namespace(doc);
        n = node_path(doc, "spec.concurrency");

        if (strcmp(doc_kind(doc), "ProxyConfig") == 0 && n
            && model_selected(e->m, doc)
            && (found == NULL || node_path(doc, "spec.selector")
                || strcmp(ns, e->m->options->root) != 0))
        {
            found = n;
        }
    }

    found = found ? found : node_get(config, "concurrency");

    fputs("worker_processes  ", e->out);

    if (found && strcmp(found->text, "0") != 0) {
        fprintf(e->out, "%ld;\n", strtol(found->text, NULL, 10));

    } else {
        fputs("auto;\n", e->out);
    }

    if (node_time(config, "drainDuration") > 0) {
        fprintf(e->out, "worker_shutdown_timeout  %ldms;\n",
                node_time(config, "drainDuration"));
    }

    fputs("\nevents {\n    worker_connections  4096;\n}\n\n", e->out);
}


static void
emit_egress(emit_t *e)
{
    size_t            i;
    const options_t  *o;

    o = e->m->options;

    fprintf(e->out, "egress {\n    version          %d;\n", EMIT_VERSION);

    fputs("    zone             8m;\n"
          "    gateway          name=istio-egressgateway namespace=", e->out);
    emit_word(e, NULL, o->namespace);

    if (o->locality) {
        fputc(' ', e->out);
        emit_word(e, NULL, xprintf("locality=%s", o->locality));
    }

    fprintf(e->out, ";\n    outbound_policy  %s;\n",
            e->m->allow_any ? "allow_any" : "registry_only");

    emit_trust_domain(e);
    emit_normalization(e);
    emit_resolver(e);

    for (i = 0; i < o->nallow; i++) {
        fputs("    allow_address    ", e->out);
        emit_word(e, NULL, o->allow[i]);
        fputs(";\n", e->out);
    }

    emit_services(e);

    emit_policies(e);
    limits_buckets(e);

    fputs("}\n\n", e->out);
}


static void
emit_resolver(emit_t *e)
{
    size_t       len;
    const char  *p;

    p = e->m->options->resolver;

    if (p == NULL) {
        return;
    }

    fputs("    resolver        ", e->out);

    /* an address, or several, and parameters */

    for ( /* void */ ; *p; p += len) {
        p += strspn(p, " ");
        len = strcspn(p, " ");

        if (len) {
            fputc(' ', e->out);
            emit_word(e, NULL, xprintf("%.*s", (int) len, p));
        }
    }

    fputs(";\n", e->out);
}


/* nothing, where the default is meant */

static void
emit_trust_domain(emit_t *e)
{
    node_t  *n, *domain, *aliases;

    domain = model_mesh(e->m, "trustDomain");
    aliases = model_mesh(e->m, "trustDomainAliases");

    if (domain == NULL && (aliases == NULL || aliases->child == NULL)) {
        return;
    }

    fputs("    trust_domain     ", e->out);
    emit_word(e, domain ? &domain->pos : NULL,
              domain ? domain->text : "cluster.local");

    for (n = aliases ? aliases->child : NULL; n; n = n->next) {
        fputc(' ', e->out);
        emit_word(e, &n->pos, n->text);
    }

    fputs(";\n", e->out);
}


/* DEFAULT is BASE, as ours */

static void
emit_normalization(emit_t *e)
{
    node_t      *n;
    const char  *p;

    n = node_get(model_mesh(e->m, "pathNormalization"), "normalization");

    if (n == NULL || strcmp(n->text, "DEFAULT") == 0) {
        return;
    }

    fputs("    path_normalization  ", e->out);

    for (p = n->text; *p; p++) {
        fputc(tolower((unsigned char) *p), e->out);
    }

    fputs(";\n", e->out);
}
