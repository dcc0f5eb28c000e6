
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "egressctl.h"
#include "emit.h"


static void emit_authz(emit_t *e, node_t *doc);
static int emit_authz_flaw(node_t *doc);
static void emit_authz_rule(emit_t *e, node_t *doc, node_t *rule);
static void emit_authz_block(emit_t *e, node_t *doc, const char *block,
    node_t *list, const char *inner);
static void emit_authz_when(emit_t *e, node_t *doc, node_t *list);
static int emit_authz_key(node_t *key);
static void emit_authz_values(emit_t *e, node_t *doc, const char *name,
    node_t *list);
static int emit_authz_value(const char *name, node_t *value);
static const char *emit_authz_path(const char *text);
static void emit_authz_tcp(emit_t *e, node_t *doc, node_t *node,
    const char *name);
static int emit_authz_dry_run(node_t *doc);
static void emit_authz_dots(node_t *hosts);
static void emit_authz_hosts(emit_t *e, node_t *hosts);


void
emit_policies(emit_t *e)
{
    size_t  i;

    for (i = 0; i < e->m->ndocs; i++) {
        if (strcmp(doc_kind(e->m->docs[i]), "AuthorizationPolicy") == 0) {
            emit_authz(e, e->m->docs[i]);
        }
    }
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
            action == NULL ? "allow"
            : strcmp(action->text, "DENY") == 0 ? "deny"
            : strcmp(action->text, "AUDIT") == 0 ? "audit" : "allow");

    if (emit_authz_dry_run(doc) == 1) {
        fputs("        dry_run  on;\n", e->out);
    }

    for (rule = rules ? rules->child : NULL; rule; rule = rule->next) {
        emit_authz_rule(e, doc, rule);
    }

    fputs("    }\n", e->out);
}


/* what can't be enforced as it is written is no policy at all */

static int
emit_authz_flaw(node_t *doc)
{
    node_t      *rules, *action;
    const char  *text;

    rules = node_path(doc, "spec.rules");
    action = node_path(doc, "spec.action");
    text = action ? action->text : "ALLOW";

    if (emit_authz_dry_run(doc) == -1) {
        return 1;
    }

    if (strcmp(text, "CUSTOM") == 0) {
        diag(DIAG_ERROR, &action->pos, "UNSUPPORTED",
             "action CUSTOM cannot be enforced: an authorizer that is not "
             "called can't allow anything");
        return 1;
    }

    if (strcmp(text, "AUDIT") == 0 && emit_authz_dry_run(doc) == 1) {
        diag(DIAG_ERROR, &action->pos, "VALUE",
             "the annotation istio.io/dry-run is for action ALLOW or DENY "
             "only");
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


/* 1: on a dry run; -1: the annotation says neither, which has been said */

static int
emit_authz_dry_run(node_t *doc)
{
    size_t   i;
    node_t  *dry;

    /* what Go's strconv.ParseBool takes */

    static const char  *words[] = {
        "1", "t", "T", "TRUE", "true", "True",
        "0", "f", "F", "FALSE", "false", "False"
    };

    dry = node_get(node_path(doc, "metadata.annotations"),
                   "istio.io/dry-run");

    if (dry == NULL) {
        return 0;
    }

    for (i = 0; dry->kind == NODE_SCALAR && i < 12; i++) {
        if (strcmp(dry->text, words[i]) == 0) {
            return i < 6;
        }
    }

    diag(DIAG_ERROR, &dry->pos, "VALUE",
         "istio.io/dry-run is \"true\" or \"false\"");

    return -1;
}


static void
emit_authz_rule(emit_t *e, node_t *doc, node_t *rule)
{
    node_t  *from, *to;

    from = node_get(rule, "from");
    to = node_get(rule, "to");

    fputs("\n        rule {\n            source  ", e->out);
    emit_place(e, &rule->pos);

    emit_authz_block(e, doc, "from", from, "source");
    emit_authz_block(e, doc, "to", to, "operation");
    emit_authz_when(e, doc, node_get(rule, "when"));

    fputs("        }\n", e->out);
}


static void
emit_authz_block(emit_t *e, node_t *doc, const char *block, node_t *list,
    const char *inner)
{
    char     name[64], *p;
    node_t  *item, *field, *source;

    for (item = list ? list->child : NULL; item; item = item->next) {

        source = node_get(item, inner);
        field = source->child;

        if (field == NULL) {
            diag(DIAG_ERROR, &item->pos, "MISSING",
                 "\"%s\" is empty: it would match nothing or all, say which",
                 inner);
            continue;
        }

        if (node_get(source, "serviceAccounts")
            && (node_get(source, "principals")
                || node_get(source, "namespaces")))
        {
            diag(DIAG_ERROR, &field->key->pos, "CONFLICT",
                 "cannot set serviceAccounts with namespaces or principals");
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
            emit_authz_values(e, doc, field->key->text, field);

            if (strcmp(name, "hosts") == 0) {
                emit_authz_hosts(e, field);
            }

            if (strcmp(name, "hosts") == 0 || strcmp(name, "not_hosts") == 0) {
                emit_authz_dots(field);
            }

            emit_authz_tcp(e, doc, field->key, field->key->text);
        }

        fputs("            }\n", e->out);
    }
}


/* "values" and "notValues" of one condition both have to hold */

static void
emit_authz_when(emit_t *e, node_t *doc, node_t *list)
{
    size_t   i;
    node_t  *item, *key, *values;

    static const char  *names[] = { "values", "notValues" };

    for (item = list ? list->child : NULL; item; item = item->next) {

        key = node_get(item, "key");

        if (emit_authz_key(key) == -1) {
            continue;
        }

        if (node_get(item, "values") == NULL
            && node_get(item, "notValues") == NULL)
        {
            diag(DIAG_ERROR, &item->pos, "MISSING",
                 "at least one of \"values\" or \"notValues\" must be set "
                 "for key %s", key->text);
            continue;
        }

        for (i = 0; i < 2; i++) {
            values = node_get(item, names[i]);

            if (values == NULL) {
                continue;
            }

            fputs("            when ", e->out);
            emit_word(e, &key->pos, key->text);
            fputs(i ? " not_in" : " in", e->out);
            emit_authz_values(e, doc, key->text, values);
        }

        emit_authz_tcp(e, doc, key, key->text);
    }
}


/* in Istio's words where it has any */

static int
emit_authz_key(node_t *key)
{
    size_t       i, len;
    const char  *text;

    static const char  *known[] = {
        "source.ip", "remote.ip", "source.namespace", "source.principal",
        "source.serviceAccount", "source.trustDomain", "destination.ip",
        "destination.port", "connection.sni"
    };

    static const struct {
        const char  *prefix;
        const char  *error;
    } wrong[] = {
        { "request.auth.", "there are no JWTs at this gateway" },
        { "request.headers", "it has to be request.headers[name]" },
        { "experimental.", "there is no metadata of Envoy filters" },
        { "destination.namespace", "it is replaced by the "
          "metadata.namespace" },
        { "destination.labels", "it is replaced by the workload selector" },
        { "destination.name", "deprecated: only supported in v1alpha1" },
        { "destination.user", "deprecated: only supported in v1alpha1" },
        { "", "unknown attribute" }
    };

    text = key->text;
    len = strlen(text);

    for (i = 0; i < sizeof(known) / sizeof(known[0]); i++) {
        if (strcmp(text, known[i]) == 0) {
            return 0;
        }
    }

    if (len > 17 && strncmp(text, "request.headers[", 16) == 0
        && text[len - 1] == ']')
    {
        return 0;
    }

    for (i = 0; strncmp(text, wrong[i].prefix, strlen(wrong[i].prefix)); i++)
    {
        /* void */
    }

    diag(DIAG_ERROR, &key->pos, "UNSUPPORTED", "\"key\" %s: %s", text,
         wrong[i].error);

    return -1;
}


/* name: of the field, or a condition's key */

static void
emit_authz_values(emit_t *e, node_t *doc, const char *name, node_t *list)
{
    int      accounts;
    node_t  *n;

    accounts = (strstr(name, "erviceAccount") != NULL);

    for (n = list->child; n; n = n->next) {

        if (emit_authz_value(name, n) != 0) {
            continue;
        }

        fputc(' ', e->out);

        /* an account without a namespace is one of the policy's own */

        if (accounts && strchr(n->text, '/') == NULL) {
            emit_word(e, &n->pos, xprintf("%s/%s", doc_namespace(doc),
                                          n->text));
            continue;
        }

        /* braces are nothing special within quotes */

        if (strstr(name, "aths") && strchr(n->text, '{')
            && strpbrk(n->text, "\"'\\$;") == NULL)
        {
            fprintf(e->out, "\"%s\"", n->text);
            continue;
        }

        emit_word(e, &n->pos, n->text);
    }

    fputs(";\n", e->out);
}


/* what nginx -t would refuse, with its place in the manifest */

static int
emit_authz_value(const char *name, node_t *value)
{
    long         port;
    size_t       len;
    const char  *text, *star, *error;

    text = value->text;
    len = strlen(text);
    star = strchr(text, '*');

    if (len == 0) {
        diag(DIAG_ERROR, &value->pos, "VALUE", "an empty value of \"%s\"",
             name);
        return -1;
    }

    if (strcmp(name, "ports") == 0 || strcmp(name, "notPorts") == 0
        || strcmp(name, "destination.port") == 0)
    {
        port = (len > 5 || strspn(text, "0123456789") != len)
               ? 0 : strtol(text, NULL, 10);

        if (port < 1 || port > 65535) {
            diag(DIAG_ERROR, &value->pos, "VALUE",
                 "\"%s\" is not a port number", text);
            return -1;
        }

        return 0;
    }

    error = (strstr(name, "pBlocks") || strcmp(name, "source.ip") == 0
             || strcmp(name, "remote.ip") == 0
             || strcmp(name, "destination.ip") == 0)
            ? cidr_error(text) : NULL;

    if (error) {
        diag(DIAG_ERROR, &value->pos, "VALUE", "\"%s\" %s", text, error);
        return -1;
    }

    error = (strcmp(name, "paths") == 0 || strcmp(name, "notPaths") == 0)
            ? emit_authz_path(text) : NULL;

    if (error) {
        diag(DIAG_ERROR, &value->pos, "VALUE",
             "invalid or unsupported path %s: %s", text, error);
        return -1;
    }

    if ((strstr(name, "rincipals") || strcmp(name, "source.principal") == 0)
        && strncmp(text, "spiffe://", 9) == 0)
    {
        diag(DIAG_ERROR, &value->pos, "VALUE",
             "a principal is written without \"spiffe://\"");
        return -1;
    }

    if (star && (strstr(name, "osts") || strstr(name, "rincipal"))
        && (strchr(star + 1, '*') || (star != text && star[1] != '\0')))
    {
        diag(DIAG_ERROR, &value->pos, "VALUE",
             "\"%s\": \"*\" stands for anything only as the first or the "
             "last character", text);
        return -1;
    }

    return 0;
}


/* CheckValidPathTemplate of Istio; NULL: it is right */

static const char *
emit_authz_path(const char *text)
{
    int          template, any;
    size_t       len;
    const char  *p;

    template = strstr(text, "{*}") || strstr(text, "{**}");
    any = 0;

    if (template && text[0] != '/') {
        return "a path template begins with \"/\"";
    }

    for (p = text; *p; p += len + (p[len] == '/')) {

        len = strcspn(p, "/");

        if ((len == 3 && strncmp(p, "{*}", 3) == 0)
            || (len == 4 && strncmp(p, "{**}", 4) == 0))
        {
            if (any) {
                return "{**} is not the last operator";
            }

            any = (len == 4);
            continue;
        }

        if (memchr(p, '{', len) || memchr(p, '}', len)) {
            return "Contains '{' or '}' beyond a supported path template";
        }

        if (template
            && strspn(p, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                         "0123456789-._~%!$&'()+,;:@=") < len)
        {
            return "Contains a segment with invalid string literal";
        }
    }

    return NULL;
}


/* what Istio does with a field of HTTP where there is none is done here too */

static void
emit_authz_tcp(emit_t *e, node_t *doc, node_t *node, const char *name)
{
    node_t      *action;
    listener_t  *l;

    if (strcmp(name, "methods") != 0 && strcmp(name, "notMethods") != 0
        && strcmp(name, "paths") != 0 && strcmp(name, "notPaths") != 0
        && strncmp(name, "request.headers", 15) != 0)
    {
        return;
    }

    for (l = e->m->listeners; l && l->kind == LISTEN_HTTP; l = l->next) {
        /* void */
    }

    if (l == NULL) {
        return;
    }

    action = node_path(doc, "spec.action");

    if (action && strcmp(action->text, "DENY") == 0) {
        diag(DIAG_WARNING, &node->pos, "TCP",
             "on port %ld, which is not HTTP, the rule denies without regard "
             "to \"%s\": as in Istio", l->port, name);
        return;
    }

    if (action == NULL || strcmp(action->text, "ALLOW") == 0) {
        diag(DIAG_NOTE, &node->pos, "TCP",
             "on port %ld, which is not HTTP, the rule allows nothing because "
             "of \"%s\": as in Istio", l->port, name);
    }
}


/* nginx takes the dot off that a client may write behind a host */

static void
emit_authz_dots(node_t *hosts)
{
    size_t   len;
    node_t  *n;

    for (n = hosts->child; n; n = n->next) {
        len = strlen(n->text);

        if (len && n->text[len - 1] == '.') {
            diag(DIAG_ERROR, &n->pos, "VALUE", "\"%s\": no host ends with a "
                 "dot here, so that nothing matches it", n->text);
        }
    }
}


/* a host that no service has will never match */

static void
emit_authz_hosts(emit_t *e, node_t *hosts)
{
    node_t  *n;

    for (n = hosts->child; n; n = n->next) {

        /* with the port that a client writes into Host, in HTTP */

        if (n->text[0] != '[' && strchr(n->text, ':')) {
            continue;
        }

        if (strchr(n->text, '*') == NULL && !model_reached(e->m, n->text)) {
            diag(DIAG_WARNING, &n->pos, "UNREACHABLE",
                 "no ServiceEntry with a route through this gateway has host "
                 "\"%s\": the rule matches nothing", n->text);
        }
    }
}
