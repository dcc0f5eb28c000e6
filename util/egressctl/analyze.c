
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "egressctl.h"


/* what "convert" says and more: what is right, and will still surprise */

typedef struct {
    model_t     *m;
    node_t      *doc;
    const char  *action;
    int          mutual;                 /* some server knows identities */
    hash_t      *rules;                  /* by their text */
    node_t      *any;                    /* a rule that matches all, */
    const char  *any_action;             /* and its policy's action */
} analyze_t;


static void analyze_policy(analyze_t *a);
static void analyze_rules(analyze_t *a, node_t *rules);
static void analyze_twice(analyze_t *a, node_t *rule);
static int analyze_dry(node_t *doc);
static void analyze_text(FILE *out, const node_t *node);
static void analyze_block(analyze_t *a, node_t *list, const char *inner);
static void analyze_identity(analyze_t *a, node_t *field, int negative);
static void analyze_hosts(analyze_t *a, node_t *block, node_t *hosts,
    int negative);
static listener_t *analyze_listener(analyze_t *a, node_t *ports, int http);
static int analyze_host_port(node_t *hosts, const char *host);
static void analyze_ports(analyze_t *a, node_t *ports);
static void analyze_never(analyze_t *a, node_t *block);
static void analyze_values(node_t *field);
static const char *analyze_value(const char *name, const char *text);
static void analyze_when(analyze_t *a, node_t *list);
static void analyze_tls(model_t *m);
static node_t *analyze_negative(node_t *block, const char *name);
static json_t *analyze_json(const char *text);


void
analyze_model(model_t *m)
{
    size_t      i;
    node_t     *tls;
    server_t   *s;
    analyze_t   a;

    memset(&a, 0, sizeof(analyze_t));

    a.m = m;
    a.rules = hash_new();

    for (s = m->servers; s; s = s->next) {
        tls = node_get(s->node, "tls");

        a.mutual |= (s->listener && s->listener->mutual)
                    || (tls && node_text(tls, "mode")
                        && strstr(node_text(tls, "mode"), "MUTUAL"));
    }

    for (i = 0; i < m->ndocs; i++) {
        a.doc = m->docs[i];

        if (strcmp(doc_kind(a.doc), "AuthorizationPolicy") == 0
            && model_selected(m, a.doc))
        {
            analyze_policy(&a);
        }
    }

    analyze_tls(m);
}


static void
analyze_policy(analyze_t *a)
{
    node_t  *rules, *action, *spec;

    spec = node_get(a->doc, "spec");
    rules = node_get(spec, "rules");
    action = node_get(spec, "action");

    a->action = action && action->kind == NODE_SCALAR ? action->text
                                                      : "ALLOW";

    if (rules == NULL || rules->kind != NODE_LIST || rules->child == NULL) {

        if (strcmp(a->action, "ALLOW") == 0 && !analyze_dry(a->doc)) {
            diag(DIAG_WARNING, &a->doc->pos, "DENYALL",
                 "ALLOW policy \"%s\" has no rules: it allows nothing, and so "
                 "all is denied that no other policy allows",
                 doc_name(a->doc));
        }

        return;
    }

    analyze_rules(a, rules);
}


static void
analyze_rules(analyze_t *a, node_t *rules)
{
    node_t  *rule;

    for (rule = rules->child; rule; rule = rule->next) {

        if (rule->kind != NODE_MAP) {
            continue;
        }

        analyze_twice(a, rule);
        analyze_block(a, node_get(rule, "from"), "source");
        analyze_block(a, node_get(rule, "to"), "operation");
        analyze_when(a, node_get(rule, "when"));
    }
}


/* rules of an action are alternatives: of two that are the same one is idle */

static void
analyze_twice(analyze_t *a, node_t *rule)
{
    int      dry;
    FILE    *out;
    char    *text;
    size_t   len;
    node_t  *first;

    dry = analyze_dry(a->doc);

    out = open_memstream(&text, &len);
    if (out == NULL) {
        abort();
    }

    /* an account without a namespace is one of the policy's own */

    fprintf(out, "%s %d %s ", a->action, dry, doc_namespace(a->doc));
    analyze_text(out, rule);
    fclose(out);

    first = hash_get(a->rules, text);

    if (first) {
        diag(DIAG_WARNING, &rule->pos, "COVERED",
             "the rule is the same as the one in %s:%zu, which has the same "
             "action: it changes nothing", first->pos.source->name,
             first->pos.line);

    } else if (a->any && !dry
               && strcmp(a->any_action, a->action) == 0)
    {
        diag(DIAG_WARNING, &rule->pos, "COVERED",
             "the rule in %s:%zu matches everything and has the same action: "
             "this one changes nothing", a->any->pos.source->name,
             a->any->pos.line);
    }

    hash_put(a->rules, text, rule);

    if (rule->child == NULL) {

        diag(DIAG_WARNING, &rule->pos, "ANY",
             "an empty rule matches everything, also clients without "
             "identity: %s", strcmp(a->action, "DENY") == 0
             ? "all is denied"
             : strcmp(a->action, "AUDIT") == 0 ? "all is audited"
             : "all is allowed that no DENY policy matches");

        if (a->any == NULL && !dry) {
            a->any = rule;
            a->any_action = a->action;
        }
    }
}


static int
analyze_dry(node_t *doc)
{
    node_t  *dry;

    dry = node_get(node_path(doc, "metadata.annotations"),
                   "istio.io/dry-run");

    return dry && dry->kind == NODE_SCALAR && dry->text[0]
           && strchr("1tT", dry->text[0]);
}


/* what a node says, so that other nodes of the same text say the same */

static void
analyze_text(FILE *out, const node_t *node)
{
    const node_t  *n;

    if (node->kind == NODE_SCALAR) {
        fprintf(out, "%zu:%s", strlen(node->text), node->text);
        return;
    }

    fputc(node->kind == NODE_MAP ? '{' : '[', out);

    for (n = node->child; n; n = n->next) {

        if (n->key) {
            fprintf(out, "%s=", n->key->text);
        }

        analyze_text(out, n);
    }

    fputc('}', out);
}


static void
analyze_block(analyze_t *a, node_t *list, const char *inner)
{
    int          negative;
    node_t      *item, *block, *field;
    const char  *name;

    if (list == NULL || list->kind != NODE_LIST) {
        return;
    }

    for (item = list->child; item; item = item->next) {

        block = node_get(item, inner);

        if (block == NULL || block->kind != NODE_MAP) {
            continue;
        }

        for (field = block->child; field; field = field->next) {

            if (field->kind != NODE_LIST) {
                continue;
            }

            name = field->key->text;
            negative = (strncmp(name, "not", 3) == 0);

            if (strstr(name, "rincipals") || strstr(name, "amespaces")
                || strstr(name, "erviceAccounts"))
            {
                analyze_identity(a, field, negative);
            }

            if (strstr(name, "osts")) {
                analyze_hosts(a, block, field, negative);
            }

            if (strcmp(name, "ports") == 0) {
                analyze_ports(a, field);
            }

            if (!negative) {
                analyze_values(field);
            }
        }

        analyze_never(a, block);
    }
}


/* where no identity is known, Istio and the gateway differ */

static void
analyze_identity(analyze_t *a, node_t *field, int negative)
{
    int          deny;
    const char  *name;

    deny = (strcmp(a->action, "DENY") == 0);
    name = field->key->text;

    if (strcmp(a->action, "AUDIT") == 0) {
        return;
    }

    if (!a->mutual) {
        diag(DIAG_WARNING, &field->key->pos, "NOIDENTITY",
             "no server of a Gateway terminates the mesh's mTLS, so no client "
             "has an identity: because of \"%s\" the rule %s", name,
             deny ? "denies all that it is about" : "allows nothing");
        return;
    }

    if (deny != negative) {
        diag(DIAG_NOTE, &field->key->pos, "NOIDENTITY",
             deny ? "a client without identity is denied by \"%s\" as well; "
                    "in Istio the rule does not match it"
                  : "a client without identity is not allowed by \"%s\"; in "
                    "Istio the rule allows it", name);
    }

    if (negative && !deny) {
        diag(DIAG_WARNING, &field->key->pos, "NEGATIVE",
             "\"%s\" of an ALLOW rule lets all others pass, those of tomorrow "
             "included", name);
    }
}


static void
analyze_hosts(analyze_t *a, node_t *block, node_t *hosts, int negative)
{
    int          opens;
    node_t      *n;
    listener_t  *raw, *http;

    raw = analyze_listener(a, node_get(block, "ports"), 0);
    http = analyze_listener(a, node_get(block, "ports"), 1);

    opens = ((strcmp(a->action, "ALLOW") == 0) == negative);

    if (negative && strcmp(a->action, "ALLOW") == 0) {
        diag(DIAG_WARNING, &hosts->key->pos, "NEGATIVE",
             "\"notHosts\" of an ALLOW rule lets requests to all other "
             "registered hosts pass, those of tomorrow included");
    }

    if (raw) {
        diag(DIAG_NOTE, &hosts->key->pos, "SNI",
             "on port %ld, which is not HTTP, \"%s\" is matched with the SNI "
             "of TLS, or with the host of the service that the route chose; "
             "in Istio %s", raw->port, hosts->key->text,
             strcmp(a->action, "ALLOW") == 0
             ? "the rule allows nothing there"
             : "the rule matches there without regard to it");
    }

    if (http == NULL) {
        return;
    }

    for (n = hosts->child; n; n = n->next) {

        if (n->kind != NODE_SCALAR || *n->text == '\0'
            || n->text[strlen(n->text) - 1] == '*' || n->text[0] == '['
            || strchr(n->text, ':') || analyze_host_port(hosts, n->text))
        {
            continue;
        }

        diag(opens ? DIAG_WARNING : DIAG_NOTE, &n->pos, "HOSTPORT",
             "\"%s\" does not match a Host header with a port in it, as "
             "\"%s:%ld\": such a request %s; write %s\":*\" beside it",
             n->text, n->text[0] == '*' ? "name" : n->text, http->port,
             opens ? "gets by the condition" : "is not allowed by the rule",
             n->text[0] == '*' ? "each name with "
                               : xprintf("\"%s\" with ", n->text));
    }
}


/* the first one of those ports, HTTP or not */

static listener_t *
analyze_listener(analyze_t *a, node_t *ports, int http)
{
    node_t      *n;
    listener_t  *l;

    for (l = a->m->listeners; l; l = l->next) {

        if ((l->kind == LISTEN_HTTP) != http) {
            continue;
        }

        if (ports == NULL || ports->kind != NODE_LIST) {
            return l;
        }

        for (n = ports->child; n; n = n->next) {
            if (n->kind == NODE_SCALAR
                && strtol(n->text, NULL, 10) == l->port)
            {
                return l;
            }
        }
    }

    return NULL;
}


/* does another value match the host with a port */

static int
analyze_host_port(node_t *hosts, const char *host)
{
    size_t   len;
    node_t  *n;

    for (n = hosts->child; n; n = n->next) {

        if (n->kind != NODE_SCALAR || *n->text == '\0') {
            continue;
        }

        len = strlen(n->text);

        if (strcmp(n->text, "*") == 0
            || (n->text[len - 1] == '*'
                && strncasecmp(xprintf("%s:", host), n->text, len - 1) == 0
                && len - 1 <= strlen(host) + 1)
            || (strncasecmp(n->text, host, strlen(host)) == 0
                && n->text[strlen(host)] == ':'))
        {
            return 1;
        }
    }

    return 0;
}


static void
analyze_ports(analyze_t *a, node_t *ports)
{
    node_t      *n;
    listener_t  *l;

    diag(DIAG_NOTE, &ports->key->pos, "PORT",
         "\"%s\" are ports of Gateways; in Istio they are those of the "
         "gateway's pod, as 8443 for 443", ports->key->text);

    for (n = ports->child; n; n = n->next) {

        if (n->kind != NODE_SCALAR) {
            continue;
        }

        for (l = a->m->listeners; l; l = l->next) {
            if (l->port == strtol(n->text, NULL, 10)) {
                break;
            }
        }

        if (l == NULL) {
            diag(DIAG_WARNING, &n->pos, "NEVER",
                 "no Gateway for this gateway has port %s: it never matches",
                 n->text);
        }
    }
}


/* all of a field's values are excluded by its opposite */

static void
analyze_never(analyze_t *a, node_t *block)
{
    node_t  *field, *opposite, *n, *m;

    for (field = block->child; field; field = field->next) {

        if (strncmp(field->key->text, "not", 3) == 0
            || field->kind != NODE_LIST)
        {
            continue;
        }

        opposite = analyze_negative(block, field->key->text);

        if (opposite == NULL || opposite->kind != NODE_LIST) {
            continue;
        }

        for (n = field->child; n; n = n->next) {

            for (m = opposite->child; m; m = m->next) {
                if (m->kind == NODE_SCALAR && n->kind == NODE_SCALAR
                    && (strcmp(m->text, n->text) == 0
                        || strcmp(m->text, "*") == 0))
                {
                    break;
                }
            }

            if (m == NULL) {
                break;
            }
        }

        if (n == NULL) {
            diag(DIAG_WARNING, &field->key->pos, "NEVER",
                 "\"%s\" excludes each value of \"%s\": the rule of policy "
                 "\"%s\" never matches", opposite->key->text,
                 field->key->text, doc_name(a->doc));
        }
    }
}


/* hosts -> notHosts */

static node_t *
analyze_negative(node_t *block, const char *name)
{
    char    *text;
    node_t  *node;

    text = xprintf("not%c%s", toupper((unsigned char) *name), name + 1);
    node = node_get(block, text);

    free(text);

    return node;
}


static void
analyze_values(node_t *field)
{
    node_t      *n;
    const char  *why;

    for (n = field->child; n; n = n->next) {

        if (n->kind != NODE_SCALAR) {
            continue;
        }

        why = analyze_value(field->key->text, n->text);

        if (why) {
            diag(DIAG_WARNING, &n->pos, "NEVER", "\"%s\" never matches: %s",
                 n->text, why);
        }
    }
}


/* NULL: there may be what it matches */

static const char *
analyze_value(const char *name, const char *text)
{
    size_t       i, len;
    const char  *slash;

    len = strlen(text);

    if (len == 0) {
        return NULL;
    }

    if (strcmp(name, "methods") == 0 && strchr(text, '*') == NULL) {

        for (i = 0; i < len; i++) {
            if (islower((unsigned char) text[i])) {
                return "methods are compared with regard to case, and those "
                       "of HTTP are in upper case";
            }
        }
    }

    if (strcmp(name, "paths") == 0) {

        if (text[0] != '/' && text[0] != '*') {
            return "a path begins with \"/\"";
        }

        if (strpbrk(text, "?#")) {
            return "what follows \"?\" or \"#\" is not part of a path";
        }
    }

    if (strcmp(name, "principals") == 0 && strchr(text, '*') == NULL) {

        slash = strchr(text, '/');

        if (slash == NULL || slash == text || text[len - 1] == '/') {
            return "a principal is a trust domain, \"/\" and a path, as "
                   "\"cluster.local/ns/NAMESPACE/sa/ACCOUNT\"";
        }

        for (i = 0; text + i < slash; i++) {
            if (isupper((unsigned char) text[i])) {
                return "a trust domain is in lower case";
            }
        }
    }

    return NULL;
}


static void
analyze_when(analyze_t *a, node_t *list)
{
    node_t      *item, *key, *values, *n;
    const char  *c;

    if (list == NULL || list->kind != NODE_LIST) {
        return;
    }

    for (item = list->child; item; item = item->next) {

        key = node_get(item, "key");
        values = node_get(item, "values");

        if (key == NULL || key->kind != NODE_SCALAR || values == NULL
            || values->kind != NODE_LIST)
        {
            continue;
        }

        if (strcmp(key->text, "source.principal") == 0
            || strcmp(key->text, "source.namespace") == 0
            || strcmp(key->text, "source.serviceAccount") == 0
            || strcmp(key->text, "source.trustDomain") == 0)
        {
            analyze_identity(a, values, 0);
        }

        for (n = values->child; n; n = n->next) {

            if (n->kind != NODE_SCALAR
                || strcmp(key->text, "connection.sni") != 0)
            {
                continue;
            }

            for (c = n->text; *c && !isupper((unsigned char) *c); c++) {
                /* void */
            }

            if (*c) {
                diag(DIAG_WARNING, &n->pos, "NEVER",
                     "\"%s\" never matches: an SNI is compared in lower "
                     "case, this value as it is", n->text);
            }
        }
    }
}


/* the name of a server is always verified here */

static void
analyze_tls(model_t *m)
{
    node_t      *tls;
    service_t   *svc;
    const char  *mode;

    for (svc = m->services; svc; svc = svc->next) {

        tls = svc->policy.tls;
        mode = tls && tls->kind == NODE_MAP ? node_text(tls, "mode") : NULL;

        if (mode == NULL || !svc->originate || svc->passthrough
            || (strcmp(mode, "SIMPLE") != 0 && strcmp(mode, "MUTUAL") != 0)
            || node_first(tls, "subjectAltNames")
            || node_true(tls, "insecureSkipVerify"))
        {
            continue;
        }

        diag(DIAG_NOTE, &tls->pos, "VERIFY",
             "the certificate of \"%s\" has to be for \"%s\", as there are no "
             "subjectAltNames: Istio may take any that its CA signed",
             svc->host, node_text(tls, "sni") ? node_text(tls, "sni")
                                              : svc->host);
    }
}


int
analyze_print(int json)
{
    size_t             i, n;
    json_t            *list, *item;
    const diag_rec_t  *rec;

    rec = diag_collected(&n);

    if (!json) {

        for (i = 0; i < n; i++) {
            diag_print(stdout, &rec[i]);
        }

        return fflush(stdout) == 0 ? 0 : -1;
    }

    list = json_array();

    for (i = 0; i < n; i++) {
        item = json_pack("{s:o, s:I, s:I, s:s, s:s, s:o}",
                         "file", diag_file(&rec[i])
                                 ? analyze_json(diag_file(&rec[i]))
                                 : json_null(),
                         "line", (json_int_t) rec[i].pos.line,
                         "column", (json_int_t) rec[i].pos.col,
                         "severity", diag_level(&rec[i]),
                         "code", rec[i].code,
                         "text", analyze_json(rec[i].text));

        if (item == NULL || json_array_append_new(list, item) != 0) {
            abort();
        }
    }

    if (json_dumpf(list, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER
                                 | JSON_ENSURE_ASCII) != 0)
    {
        return -1;
    }

    json_decref(list);

    return putchar('\n') != EOF && fflush(stdout) == 0 ? 0 : -1;
}


/* a name of a file, and a text that was cut, need not be UTF-8 */

static json_t *
analyze_json(const char *text)
{
    char           *copy, *p;
    size_t          n;
    json_t         *json;
    unsigned char   ch;

    json = json_string(text);

    if (json) {
        return json;
    }

    copy = xstrdup(text);

    for (p = copy; *p; p += n) {
        ch = (unsigned char) *p;
        n = strnlen(p, ch < 0xc0 ? 1 : ch < 0xe0 ? 2 : ch < 0xf0 ? 3 : 4);

        json = json_stringn(p, n);

        if (json == NULL) {
            *p = '?';
            n = 1;
        }

        json_decref(json);
    }

    json = json_string(copy);
    free(copy);

    return json;
}
