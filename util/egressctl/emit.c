
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


static void emit_modules(emit_t *e);
static void emit_processes(emit_t *e);
static void emit_egress(emit_t *e);
static void emit_resolver(emit_t *e);
static void emit_trust_domain(emit_t *e);
static void emit_authz(emit_t *e, node_t *doc);
static int emit_authz_flaw(node_t *doc);
static void emit_authz_rule(emit_t *e, node_t *doc, node_t *rule);
static void emit_authz_block(emit_t *e, node_t *doc, const char *block,
    node_t *list, const char *inner);
static void emit_authz_values(emit_t *e, node_t *doc, node_t *field);
static int emit_authz_value(node_t *field, node_t *value);
static void emit_authz_hosts(emit_t *e, node_t *hosts);


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

    return buf;
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

    fputs("egress {\n    zone             8m;\n"
          "    gateway          name=istio-egressgateway namespace=", e->out);
    emit_word(e, NULL, o->namespace);

    if (o->locality) {
        fputc(' ', e->out);
        emit_word(e, NULL, xprintf("locality=%s", o->locality));
    }

    fprintf(e->out, ";\n    outbound_policy  %s;\n",
            e->m->allow_any ? "allow_any" : "registry_only");

    emit_trust_domain(e);
    emit_resolver(e);

    for (i = 0; i < o->nallow; i++) {
        fputs("    allow_address    ", e->out);
        emit_word(e, NULL, o->allow[i]);
        fputs(";\n", e->out);
    }

    emit_services(e);

    for (i = 0; i < e->m->ndocs; i++) {
        if (strcmp(doc_kind(e->m->docs[i]), "AuthorizationPolicy") == 0) {
            emit_authz(e, e->m->docs[i]);
        }
    }

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


static void
emit_authz(emit_t *e, node_t *doc)
{
    node_t      *rules, *rule, *action;

    if (!model_selected(e->m, doc)) {
        return;
    }

    if (schema_refused(node_get(doc, "spec")) + emit_authz_flaw(doc)) {
        return;
    }

    rules = node_path(doc, "spec.rules");
    action = node_path(doc, "spec.action");

    fputc('\n', e->out);
    emit_comment(e, "    ", &doc->pos);
    fputs("    policy ", e->out);
    emit_word(e, &doc->pos, xprintf("%s/%s", doc_namespace(doc),
                                    doc_name(doc)));
    fputs(" {\n", e->out);
    emit_source(e, &doc->pos);
    fprintf(e->out, "        action  %s;\n",
            action && strcmp(action->text, "DENY") == 0 ? "deny" : "allow");

    for (rule = rules ? rules->child : NULL; rule; rule = rule->next) {
        emit_authz_rule(e, doc, rule);
    }

    fputs("    }\n", e->out);
}


/* what can't be enforced as it is written is no policy at all */

static int
emit_authz_flaw(node_t *doc)
{
    node_t      *rules, *action, *dry;
    const char  *text;

    rules = node_path(doc, "spec.rules");
    action = node_path(doc, "spec.action");
    text = action ? action->text : "ALLOW";
    dry = node_get(node_path(doc, "metadata.annotations"),
                   "istio.io/dry-run");

    if (dry && (dry->kind != NODE_SCALAR || strcmp(dry->text, "false") != 0))
    {
        diag(DIAG_ERROR, &dry->key->pos, "UNSUPPORTED",
             "a policy for a dry run is not rendered yet, and would be "
             "enforced: take it out of the input");
        return 1;
    }

    if (strcmp(text, "AUDIT") == 0 || strcmp(text, "CUSTOM") == 0) {
        diag(DIAG_ERROR, &action->pos, "UNSUPPORTED",
             strcmp(text, "AUDIT") == 0
             ? "action AUDIT is not rendered yet"
             : "action CUSTOM cannot be enforced: an authorizer that is not "
               "called can't allow anything");
        return 1;
    }

    if (strcmp(text, "DENY") == 0 && (rules == NULL || rules->child == NULL))
    {
        diag(DIAG_ERROR, &action->pos, "VALUE",
             "DENY without \"rules\" denies nothing: to deny all, write "
             "\"rules: [{}]\", or \"spec: {}\" for what nothing allows");
        return 1;
    }

    return 0;
}


static void
emit_authz_rule(emit_t *e, node_t *doc, node_t *rule)
{
    node_t  *from, *to;

    from = node_get(rule, "from");
    to = node_get(rule, "to");

    fputs("\n        rule {\n", e->out);

    emit_authz_block(e, doc, "from", from, "source");
    emit_authz_block(e, doc, "to", to, "operation");

    fputs("        }\n", e->out);
}


static void
emit_authz_block(emit_t *e, node_t *doc, const char *block, node_t *list,
    const char *inner)
{
    char     name[64], *p;
    node_t  *item, *field;

    for (item = list ? list->child : NULL; item; item = item->next) {

        field = node_get(item, inner)->child;

        if (field == NULL) {
            diag(DIAG_ERROR, &item->pos, "MISSING",
                 "\"%s\" is empty: it would match nothing or all, say which",
                 inner);
            continue;
        }

        fprintf(e->out, "            %s {\n", block);

        for ( /* void */ ; field; field = field->next) {

            /* notServiceAccounts -> not_service_accounts */

            p = name;
            for (const char *k = field->key->text; *k; k++) {
                if (isupper((unsigned char) *k)) {
                    *p++ = '_';
                }

                *p++ = (char) tolower((unsigned char) *k);
            }
            *p = '\0';

            fprintf(e->out, "                %s", name);
            emit_authz_values(e, doc, field);

            if (strcmp(name, "hosts") == 0) {
                emit_authz_hosts(e, field);
            }
        }

        fputs("            }\n", e->out);
    }
}


static void
emit_authz_values(emit_t *e, node_t *doc, node_t *field)
{
    int      accounts;
    node_t  *n;

    accounts = (strstr(field->key->text, "erviceAccounts") != NULL);

    for (n = field->child; n; n = n->next) {

        if (emit_authz_value(field, n) != 0) {
            continue;
        }

        fputc(' ', e->out);

        /* an account without a namespace is one of the policy's own */

        if (accounts && strchr(n->text, '/') == NULL) {
            emit_word(e, &n->pos, xprintf("%s/%s", doc_namespace(doc),
                                          n->text));
            continue;
        }

        emit_word(e, &n->pos, n->text);
    }

    fputs(";\n", e->out);
}


/* what nginx -t would refuse, with its place in the manifest */

static int
emit_authz_value(node_t *field, node_t *value)
{
    long         port;
    size_t       len;
    const char  *name, *text, *star;

    name = field->key->text;
    text = value->text;
    len = strlen(text);
    star = strchr(text, '*');

    if (strcmp(name, "ports") == 0 || strcmp(name, "notPorts") == 0) {

        port = (len > 5 || strspn(text, "0123456789") != len)
               ? 0 : strtol(text, NULL, 10);

        if (port < 1 || port > 65535) {
            diag(DIAG_ERROR, &value->pos, "VALUE",
                 "\"%s\" is not a port number", text);
            return -1;
        }

        return 0;
    }

    if (strstr(name, "osts") && text[0] != '[' && strchr(text, ':')) {
        diag(DIAG_ERROR, &value->pos, "VALUE",
             "\"%s\": a host is written without a port here, which \"ports\" "
             "is for", text);
        return -1;
    }

    if (strstr(name, "rincipals") && strncmp(text, "spiffe://", 9) == 0) {
        diag(DIAG_ERROR, &value->pos, "VALUE",
             "a principal is written without \"spiffe://\"");
        return -1;
    }

    if (star && (strstr(name, "osts") || strstr(name, "rincipals"))
        && (strchr(star + 1, '*') || (star != text && star[1] != '\0')))
    {
        diag(DIAG_ERROR, &value->pos, "VALUE",
             "\"%s\": \"*\" stands for anything only as the first or the "
             "last character", text);
        return -1;
    }

    return 0;
}


/* a host that no service has will never match */

static void
emit_authz_hosts(emit_t *e, node_t *hosts)
{
    node_t  *n;

    for (n = hosts->child; n; n = n->next) {
        if (strchr(n->text, '*') == NULL && !model_reached(e->m, n->text)) {
            diag(DIAG_WARNING, &n->pos, "UNREACHABLE",
                 "no ServiceEntry with a route through this gateway has host "
                 "\"%s\": the rule matches nothing", n->text);
        }
    }
}
