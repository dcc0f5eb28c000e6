
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"


/* of the module's directives that are written: its NGX_EGRESS_CONF_VERSION */
#define EMIT_VERSION  1


typedef struct {
    model_t     *m;
    FILE        *out;
} emit_t;


static void emit_modules(emit_t *e);
static void emit_egress(emit_t *e);
static void emit_trust_domain(emit_t *e);
static void emit_normalization(emit_t *e);
static void emit_check_resolver(emit_t *e);
static void emit_service(emit_t *e, service_t *svc);
static void emit_resolution(emit_t *e, service_t *svc);
static void emit_endpoint(emit_t *e, service_t *svc, node_t *ep);
static int emit_address(service_t *svc, node_t *ep, const char *address);
static long emit_endpoint_port(service_t *svc, node_t *ep);
static const char *emit_pin(emit_t *e, service_t *svc, long *target);
static void emit_policy_settings(emit_t *e, service_t *svc);
static void emit_pool(emit_t *e, service_t *svc, node_t *pool);
static void emit_balancer(service_t *svc, node_t *node);
static void emit_tls(emit_t *e, service_t *svc, node_t *tls);
static void emit_tls_names(emit_t *e, service_t *svc, node_t *tls);
static void emit_tls_files(emit_t *e, node_t *tls);
static int emit_tls_flaw(node_t *tls, int mutual, int skip);
static void emit_system_ca(emit_t *e);
static void emit_file(emit_t *e, const char *directive, node_t *node);
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
static int emit_authz_cidr(const char *text);
static const char *emit_authz_path(const char *text);
static void emit_authz_tcp(emit_t *e, node_t *doc, node_t *node,
    const char *name);
static int emit_authz_dry_run(node_t *doc);
static void emit_authz_hosts(emit_t *e, node_t *hosts);
static void emit_buckets(emit_t *e);
static void emit_bucket(emit_t *e, node_t *doc, node_t *value,
    listener_t *l);
static void emit_token_bucket(emit_t *e, node_t *node);
static void emit_bucket_headers(emit_t *e, node_t *node);
static long emit_percent(node_t *config, const char *key);
static node_t *emit_limit_config(node_t *value);
static void emit_stream(emit_t *e);
static void emit_stream_server(emit_t *e, listener_t *l);
static int emit_streamed(listener_t *l);
static int emit_mapped(listener_t *l);
static void emit_map(emit_t *e, listener_t *l);
static void emit_http(emit_t *e);
static void emit_admin(emit_t *e);
static void emit_http_server(emit_t *e, listener_t *l, route_t *r);
static void emit_listen(emit_t *e, listener_t *l, const char *more);
static void emit_mutual(emit_t *e);
static void emit_comment(emit_t *e, const char *indent, const pos_t *pos);
static void emit_source(emit_t *e, const pos_t *pos);
static void emit_place(emit_t *e, const pos_t *pos);
static void emit_words(emit_t *e, const char *directive, node_t *list);
static void emit_word(emit_t *e, const pos_t *pos, const char *text);
static void emit_host(emit_t *e, const pos_t *pos, const char *host);
static int emit_valid_host(const char *host);
static long emit_milliseconds(const char *s);


char *
emit_conf(model_t *m)
{
    char    *buf;
    size_t   size;
    emit_t   e;

    e.m = m;
    e.out = open_memstream(&buf, &size);

    if (e.out == NULL) {
        abort();
    }

    fputs("# Made by egressctl convert from Istio manifests: change those, "
          "not this.\n\n", e.out);

    emit_modules(&e);

    fputs("worker_processes  auto;\n\n"
          "events {\n    worker_connections  4096;\n}\n\n", e.out);

    emit_egress(&e);
    emit_stream(&e);
    emit_http(&e);

    fclose(e.out);

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
emit_egress(emit_t *e)
{
    size_t            i, len;
    service_t        *svc;
    const char       *p;
    const options_t  *o;

    o = e->m->options;

    fprintf(e->out, "egress {\n    version          %d;\n", EMIT_VERSION);

    fputs("    zone             8m;\n"
          "    gateway          name=istio-egressgateway namespace=", e->out);
    emit_word(e, NULL, o->namespace);
    fprintf(e->out, ";\n    outbound_policy  %s;\n",
            e->m->allow_any ? "allow_any" : "registry_only");

    emit_trust_domain(e);
    emit_normalization(e);

    if (o->resolver) {
        fputs("    resolver        ", e->out);

        /* an address, or several, and parameters */

        for (p = o->resolver; *p; p += len) {
            p += strspn(p, " ");
            len = strcspn(p, " ");

            if (len) {
                fputc(' ', e->out);
                emit_word(e, NULL, xprintf("%.*s", (int) len, p));
            }
        }

        fputs(";\n", e->out);
    }

    for (i = 0; i < o->nallow; i++) {
        fputs("    allow_address    ", e->out);
        emit_word(e, NULL, o->allow[i]);
        fputs(";\n", e->out);
    }

    for (svc = e->m->services; svc; svc = svc->next) {
        emit_service(e, svc);
    }

    emit_check_resolver(e);

    for (i = 0; i < e->m->ndocs; i++) {
        if (strcmp(doc_kind(e->m->docs[i]), "AuthorizationPolicy") == 0) {
            emit_authz(e, e->m->docs[i]);
        }
    }

    emit_buckets(e);

    fputs("}\n\n", e->out);
}


/* nothing, where the default is meant; the aliases of all documents */

static void
emit_trust_domain(emit_t *e)
{
    size_t   i;
    node_t  *mesh, *n, *domain, *aliases;

    domain = NULL;
    aliases = NULL;

    for (i = 0; i < e->m->ndocs; i++) {

        if (strcmp(doc_kind(e->m->docs[i]), "IstioOperator") != 0) {
            continue;
        }

        mesh = node_path(e->m->docs[i], "spec.meshConfig");
        n = node_get(mesh, "trustDomain");

        if (n && domain && strcmp(domain->text, n->text) != 0) {
            diag(DIAG_ERROR, &n->pos, "CONFLICT",
                 "trustDomain says otherwise than in %s:%zu: which of them "
                 "counts?", domain->pos.source->name, domain->pos.line);
        }

        domain = domain ? domain : n;
        n = node_get(mesh, "trustDomainAliases");

        if (n && aliases) {
            diag(DIAG_ERROR, &n->key->pos, "CONFLICT",
                 "trustDomainAliases are in %s:%zu as well: write all of "
                 "them in one place", aliases->pos.source->name,
                 aliases->pos.line);
        }

        aliases = aliases ? aliases : n;
    }

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


/* nginx -t would say so too, without naming the option */

/* DEFAULT is BASE, as ours */

static void
emit_normalization(emit_t *e)
{
    size_t       i;
    node_t      *n, *found;
    const char  *p;

    found = NULL;

    for (i = 0; i < e->m->ndocs; i++) {

        if (strcmp(doc_kind(e->m->docs[i]), "IstioOperator") != 0) {
            continue;
        }

        n = node_path(e->m->docs[i],
                      "spec.meshConfig.pathNormalization.normalization");

        if (n && found && strcmp(found->text, n->text) != 0) {
            diag(DIAG_ERROR, &n->pos, "CONFLICT",
                 "pathNormalization says otherwise than in %s:%zu: which of "
                 "them counts?", found->pos.source->name, found->pos.line);
        }

        found = found ? found : n;
    }

    if (found == NULL || strcmp(found->text, "DEFAULT") == 0) {
        return;
    }

    fputs("    path_normalization  ", e->out);

    for (p = found->text; *p; p++) {
        fputc(tolower((unsigned char) *p), e->out);
    }

    fputs(";\n", e->out);
}


static void
emit_check_resolver(emit_t *e)
{
    long         port;
    service_t   *svc;
    const char  *resolution;

    if (e->m->options->resolver) {
        return;
    }

    for (svc = e->m->services; svc; svc = svc->next) {
        resolution = node_text(node_get(svc->entry, "spec"), "resolution");

        if ((resolution == NULL || strcmp(resolution, "STATIC") != 0)
            && emit_pin(e, svc, &port) == NULL)
        {
            break;
        }
    }

    if (svc || e->m->allow_any) {
        diag(DIAG_WARNING, svc ? &svc->entry->pos : NULL, "OPTION",
             "names have to be resolved: without --resolver ADDRESS nginx "
             "will refuse this");
    }
}


static void
emit_service(emit_t *e, service_t *svc)
{
    const char  *location;

    location = node_text(node_get(svc->entry, "spec"), "location");

    fputc('\n', e->out);
    emit_comment(e, "    ", &svc->entry->pos);
    fputs("    service ", e->out);
    emit_word(e, &svc->entry->pos, svc->name);
    fputs(" {\n", e->out);

    emit_source(e, &svc->entry->pos);

    if (!svc->lookup) {
        fputs("        lookup      off;\n", e->out);
    }

    fputs("        host        ", e->out);
    emit_host(e, &svc->entry->pos, svc->host);
    fprintf(e->out, ";\n        port        %ld %s", svc->port,
            svc->protocol);

    if (svc->target != svc->port) {
        fprintf(e->out, " target=%ld", svc->target);
    }

    fprintf(e->out, ";\n        location    %s;\n",
            location && strcmp(location, "MESH_INTERNAL") == 0
            ? "internal" : "external");

    if (strcmp(svc->protocol, "http2") == 0
        || strcmp(svc->protocol, "grpc") == 0)
    {
        diag(DIAG_ERROR, &svc->port_node->pos, "UNSUPPORTED",
             "protocol %s to a service is not rendered yet: HTTP is",
             svc->protocol);
    }

    emit_resolution(e, svc);
    emit_policy_settings(e, svc);

    fputs("    }\n", e->out);
}


static void
emit_resolution(emit_t *e, service_t *svc)
{
    long         pin_port;
    node_t      *spec, *ep;
    const char  *resolution, *pin;

    spec = node_get(svc->entry, "spec");
    resolution = node_text(spec, "resolution");
    ep = node_get(spec, "endpoints");
    pin = emit_pin(e, svc, &pin_port);

    if (pin) {
        fputs("        resolution  static;\n        endpoint    ", e->out);
        emit_word(e, NULL, pin);

        if (pin_port) {
            fprintf(e->out, " port=%ld", pin_port);
        }

        fputs(";\n", e->out);
        return;
    }

    if (resolution == NULL || strcmp(resolution, "NONE") == 0
        || strcmp(resolution, "DYNAMIC_DNS") == 0)
    {
        fprintf(e->out, "        resolution  %s;\n",
                resolution && *resolution == 'D' ? "dynamic" : "none");

        if (ep && ep->child) {
            diag(DIAG_ERROR, &ep->pos, "VALUE",
                 "\"endpoints\" and resolution %s exclude each other",
                 resolution ? resolution : "NONE");
        }

        return;
    }

    if (strcmp(resolution, "STATIC") == 0) {
        fputs("        resolution  static;\n", e->out);

        if (ep == NULL || ep->child == NULL) {
            diag(DIAG_ERROR, &spec->pos, "MISSING",
                 "resolution STATIC must have \"endpoints\"");
            return;
        }

    } else {
        fputs("        resolution  dns;\n", e->out);

        if (svc->host[0] == '*' && (ep == NULL || ep->child == NULL)) {
            diag(DIAG_ERROR, &spec->pos, "VALUE",
                 "resolution DNS with a wildcard host must have "
                 "\"endpoints\"; DYNAMIC_DNS resolves the name asked for");
        }
    }

    for (ep = ep ? ep->child : NULL; ep; ep = ep->next) {
        emit_endpoint(e, svc, ep);
    }
}


static void
emit_endpoint(emit_t *e, service_t *svc, node_t *ep)
{
    long         port;
    node_t      *label, *labels;
    const char  *address;

    address = node_text(ep, "address");

    if (emit_address(svc, ep, address) != 0) {
        return;
    }

    port = emit_endpoint_port(svc, ep);

    fputs("        endpoint    ", e->out);

    if (strncmp(address, "unix://", 7) == 0) {
        emit_word(e, &ep->pos, xprintf("unix:%s", address + 7));

    } else {
        emit_word(e, &ep->pos, address);

        if (port != -1 && port != svc->target) {
            fprintf(e->out, " port=%ld", port);
        }
    }

    labels = node_get(ep, "labels");

    for (label = labels ? labels->child : NULL; label; label = label->next) {
        fputc(' ', e->out);
        emit_word(e, &label->pos, xprintf("label=%s=%s", label->key->text,
                                          label->text));
    }

    fputs(";\n", e->out);
}


/* an address; a path that starts a socket's; with DNS a name as well */

static int
emit_address(service_t *svc, node_t *ep, const char *address)
{
    int             dns;
    unsigned char   buf[16];
    const char     *resolution;

    resolution = node_text(node_get(svc->entry, "spec"), "resolution");
    dns = (strncmp(resolution, "DNS", 3) == 0);

    if (strncmp(address, "unix://", 7) == 0) {

        if (address[7] == '/' && node_get(ep, "ports") == NULL) {
            return 0;
        }

        diag(DIAG_ERROR, &ep->pos, "VALUE",
             "a socket has the form \"unix:///path\" and no \"ports\"");
        return -1;
    }

    if (inet_pton(AF_INET, address, buf) == 1
        || inet_pton(AF_INET6, address, buf) == 1
        || (dns && address[0] != '*' && emit_valid_host(address)))
    {
        return 0;
    }

    diag(DIAG_ERROR, &node_get(ep, "address")->pos, "VALUE",
         "\"%s\" is not an IP address%s", address,
         dns ? " or a name" : ": resolution STATIC takes no names, DNS does");

    return -1;
}


/* the keys are names of the service's ports, of which one is this one's */

static long
emit_endpoint_port(service_t *svc, node_t *ep)
{
    long         port;
    node_t      *n, *p;
    const char  *name;

    port = -1;
    n = node_get(ep, "ports");

    for (n = n ? n->child : NULL; n; n = n->next) {

        p = node_path(svc->entry, "spec.ports")->child;

        for ( /* void */ ; p; p = p->next) {
            name = node_text(p, "name");

            if (strcmp(name, n->key->text) == 0) {
                break;
            }
        }

        if (p == NULL) {
            diag(DIAG_ERROR, &n->key->pos, "REFERENCE",
                 "ServiceEntry \"%s\" has no port with the name \"%s\"",
                 doc_name(svc->entry), n->key->text);

        } else if (p == svc->port_node) {
            port = strtol(n->text, NULL, 10);
        }
    }

    return port;
}


/* --endpoint HOST[:PORT]=ADDRESS[:PORT]; an IPv6 address with a port: [] */

static const char *
emit_pin(emit_t *e, service_t *svc, long *target)
{
    char        *value, *end, *colon;
    size_t       i, len;
    const char  *p, *port;

    *target = 0;

    for (i = 0; i < e->m->options->nendpoint; i++) {
        p = e->m->options->endpoint[i];
        len = strcspn(p, "=");
        port = memchr(p, ':', len);
        value = xstrdup(p + len + 1);
        len = port ? (size_t) (port - p) : len;

        if (strlen(svc->host) != len || strncasecmp(p, svc->host, len) != 0
            || (port && strtol(port + 1, NULL, 10) != svc->port))
        {
            continue;
        }

        colon = strrchr(value, ':');

        if (value[0] == '[') {
            end = strchr(value, ']');
            colon = (end && end[1] == ':') ? end + 1 : NULL;

            if (end) {
                *end = '\0';
                value++;
            }

        } else if (colon && strchr(value, ':') != colon) {
            colon = NULL;
        }

        if (colon) {
            *colon = '\0';
            *target = strtol(colon + 1, NULL, 10);

            if (*target < 1 || *target > 65535) {
                diag(DIAG_ERROR, NULL, "OPTION", "--endpoint %s: no port "
                     "after \":\"", p);
            }
        }

        return value;
    }

    return NULL;
}


static void
emit_policy_settings(emit_t *e, service_t *svc)
{
    node_t  *n;

    if (svc->policy == NULL) {
        emit_tls(e, svc, NULL);
        return;
    }

    n = node_get(svc->policy, "connectionPool");

    if (n) {
        emit_pool(e, svc, n);
    }

    n = node_get(svc->policy, "loadBalancer");

    if (n) {
        emit_balancer(svc, n);
    }

    n = node_get(svc->policy, "outlierDetection");

    if (n) {
        diag(DIAG_ERROR, &n->key->pos, "UNSUPPORTED",
             "outlierDetection of \"%s\" is not rendered yet: remove it, if "
             "the service can do without", svc->host);
    }

    emit_tls(e, svc, node_get(svc->policy, "tls"));
}


static void
emit_pool(emit_t *e, service_t *svc, node_t *pool)
{
    long     ms;
    node_t  *part, *n;

    if (pool->kind != NODE_MAP) {
        diag(DIAG_ERROR, &pool->pos, "TYPE", "connectionPool is a mapping");
        return;
    }

    for (part = pool->child; part; part = part->next) {

        for (n = part->child; n && part->kind == NODE_MAP; n = n->next) {

            if (strcmp(part->key->text, "tcp") == 0
                && strcmp(n->key->text, "connectTimeout") == 0
                && n->kind == NODE_SCALAR)
            {
                ms = emit_milliseconds(n->text);

                if (ms < 1) {
                    diag(DIAG_ERROR, &n->pos, "VALUE",
                         "invalid time \"%s\", as in \"10s\"", n->text);
                    continue;
                }

                fprintf(e->out, "        connect_timeout  %ldms;\n", ms);
                continue;
            }

            diag(DIAG_ERROR, &n->key->pos, "UNSUPPORTED",
                 "connectionPool.%s.%s of \"%s\" is not rendered yet: remove "
                 "it, if the service can do without", part->key->text,
                 n->key->text, svc->host);
        }
    }
}


static void
emit_balancer(service_t *svc, node_t *node)
{
    const char  *simple;

    simple = node_text(node, "simple");

    if (simple && node->child && node->child->next == NULL
        && (strcmp(simple, "ROUND_ROBIN") == 0
            || strcmp(simple, "RANDOM") == 0
            || strcmp(simple, "LEAST_REQUEST") == 0
            || strcmp(simple, "LEAST_CONN") == 0
            || strcmp(simple, "UNSPECIFIED") == 0))
    {
        if (strcmp(simple, "ROUND_ROBIN") == 0
            || strcmp(simple, "RANDOM") == 0)
        {
            diag(DIAG_NOTE, &node->pos, "APPROXIMATE",
                 "endpoints of \"%s\" are chosen by least request for now",
                 svc->host);
        }

        return;
    }

    diag(DIAG_ERROR, &node->pos, "UNSUPPORTED",
         "this loadBalancer of \"%s\" is not rendered yet: \"simple\" with "
         "ROUND_ROBIN, LEAST_REQUEST or RANDOM is", svc->host);
}


static void
emit_tls(emit_t *e, service_t *svc, node_t *tls)
{
    const char  *mode;

    mode = node_text(tls, "mode");

    if (tls && svc->passthrough && (mode == NULL
                                    || strcmp(mode, "DISABLE") != 0))
    {
        diag(DIAG_NOTE, &tls->pos, "PASSTHROUGH",
             "%s for \"%s\" does not apply to bytes that are TLS already: "
             "they are carried unchanged", mode ? mode : "\"tls\"",
             svc->host);

        if (!svc->originate) {
            return;
        }
    }

    if (tls && mode == NULL) {
        diag(DIAG_ERROR, &tls->pos, "MISSING",
             "\"tls\" without \"mode\" is DISABLE in Istio, plaintext: say "
             "\"mode: SIMPLE\", or DISABLE if that is meant");
        return;
    }

    if (mode == NULL || strcmp(mode, "DISABLE") == 0) {

        if (svc->originate && (strcmp(svc->protocol, "https") == 0
                               || strcmp(svc->protocol, "tls") == 0))
        {
            diag(DIAG_WARNING, &svc->port_node->pos, "PLAINTEXT",
                 "port %ld of \"%s\" is %s and no DestinationRule originates "
                 "TLS: the gateway refuses to send plaintext there",
                 svc->port, svc->host, svc->protocol);
        }

        return;
    }

    if (strcmp(mode, "ISTIO_MUTUAL") == 0) {
        diag(DIAG_ERROR, &tls->pos, "UNSUPPORTED",
             "ISTIO_MUTUAL towards \"%s\" is for services of the mesh",
             svc->host);
        return;
    }

    fprintf(e->out, "        tls         %s;\n",
            strcmp(mode, "MUTUAL") == 0 ? "mutual" : "simple");

    emit_tls_names(e, svc, tls);
    emit_tls_files(e, tls);
}


/* SANs of the DestinationRule, else of the ServiceEntry; exact ones */

static void
emit_tls_names(emit_t *e, service_t *svc, node_t *tls)
{
    node_t         *list, *n;
    const char     *sni;
    unsigned char   buf[16];

    sni = node_text(tls, "sni");

    if (sni) {
        fputs("        tls_name    ", e->out);

        if (*sni == '*') {
            diag(DIAG_ERROR, &node_get(tls, "sni")->pos, "VALUE",
                 "an SNI has no wildcard");
        }

        emit_host(e, &node_get(tls, "sni")->pos, sni);
        fputs(";\n", e->out);
    }

    list = node_get(tls, "subjectAltNames");

    if (list == NULL || list->child == NULL) {
        list = node_path(svc->entry, "spec.subjectAltNames");
    }

    if (list == NULL || list->child == NULL) {
        return;
    }

    for (n = list->child; n; n = n->next) {
        if ((*n->text == '*' || !emit_valid_host(n->text))
            && inet_pton(AF_INET, n->text, buf) != 1
            && inet_pton(AF_INET6, n->text, buf) != 1)
        {
            diag(DIAG_ERROR, &n->pos, "UNSUPPORTED",
                 "a subjectAltName has to be a DNS name or an address, "
                 "others are not rendered yet");
            return;
        }
    }

    emit_words(e, "        tls_san    ", list);
}


static void
emit_tls_files(emit_t *e, node_t *tls)
{
    int          mutual, skip;
    const char  *ca, *off;

    off = node_text(tls, "insecureSkipVerify");
    skip = (off && strcmp(off, "true") == 0);
    mutual = (strcmp(node_text(tls, "mode"), "MUTUAL") == 0);

    if (emit_tls_flaw(tls, mutual, skip)) {
        return;
    }

    if (mutual) {
        emit_file(e, "tls_certificate", node_get(tls, "clientCertificate"));
        emit_file(e, "tls_certificate_key", node_get(tls, "privateKey"));
    }

    if (skip) {
        fputs("        tls_verify  off;\n", e->out);
        diag(DIAG_WARNING, &tls->pos, "UNVERIFIED",
             "insecureSkipVerify: the server is not verified");
        return;
    }

    ca = node_text(tls, "caCertificates");

    if (ca == NULL || strcmp(ca, "system") == 0) {
        emit_system_ca(e);

    } else {
        emit_file(e, "tls_trusted_certificate",
                  node_get(tls, "caCertificates"));
    }

    if (node_get(tls, "caCrl")) {
        emit_file(e, "tls_crl", node_get(tls, "caCrl"));
    }
}


static int
emit_tls_flaw(node_t *tls, int mutual, int skip)
{
    if (mutual && (node_get(tls, "clientCertificate") == NULL
                   || node_get(tls, "privateKey") == NULL))
    {
        diag(DIAG_ERROR, &tls->pos, "MISSING",
             "mode MUTUAL must have \"clientCertificate\" and "
             "\"privateKey\"");
        return 1;
    }

    if (!mutual && (node_get(tls, "clientCertificate")
                    || node_get(tls, "privateKey")))
    {
        diag(DIAG_ERROR, &tls->pos, "VALUE",
             "mode SIMPLE has no use for a client certificate: is MUTUAL "
             "meant?");
        return 1;
    }

    if (skip && (node_get(tls, "caCertificates")
                 || node_get(tls, "subjectAltNames")
                 || node_get(tls, "caCrl")))
    {
        diag(DIAG_ERROR, &node_get(tls, "insecureSkipVerify")->pos, "VALUE",
             "insecureSkipVerify excludes \"caCertificates\", \"caCrl\" and "
             "\"subjectAltNames\": remove it to verify the server");
        return 1;
    }

    return 0;
}


static void
emit_system_ca(emit_t *e)
{
    fputs("        tls_trusted_certificate  ", e->out);
    emit_word(e, NULL, e->m->options->system_ca
                       ? e->m->options->system_ca : "system");
    fputs(";\n", e->out);
}


/* --path PREFIX=DIR says where the files of a pod are on this machine */

static void
emit_file(emit_t *e, const char *directive, node_t *node)
{
    size_t       i, len;
    const char  *p, *file;

    file = node->text;

    /* OpenSSL's engines and inline data have prefixes, no path has them */

    if (*file != '/' || strstr(file, "/../")) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "\"%s\" has to be an absolute path without \"..\"",
             node->key->text);
        return;
    }

    for (i = 0; i < e->m->options->npath; i++) {
        p = e->m->options->path[i];
        len = strcspn(p, "=");

        if (strncmp(p, file, len) == 0
            && (file[len] == '/' || file[len] == '\0'))
        {
            file = xprintf("%s%s", p + len + 1, file + len);
            break;
        }
    }

    fprintf(e->out, "        %s  ", directive);
    emit_word(e, &node->pos, file);
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

    if ((strstr(name, "pBlocks") || strcmp(name, "source.ip") == 0
         || strcmp(name, "remote.ip") == 0
         || strcmp(name, "destination.ip") == 0)
        && emit_authz_cidr(text) == -1)
    {
        diag(DIAG_ERROR, &value->pos, "VALUE",
             "\"%s\" is neither an address nor a CIDR", text);
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


static int
emit_authz_cidr(const char *text)
{
    char            address[INET6_ADDRSTRLEN];
    long            bits, max;
    size_t          len;
    unsigned char   bytes[16];
    const char     *slash;

    slash = strchr(text, '/');
    len = slash ? (size_t) (slash - text) : strlen(text);

    if (len >= sizeof(address)) {
        return -1;
    }

    memcpy(address, text, len);
    address[len] = '\0';

    if (inet_pton(AF_INET, address, bytes) == 1) {
        max = 32;

    } else if (inet_pton(AF_INET6, address, bytes) == 1) {
        max = 128;

    } else {
        return -1;
    }

    if (slash == NULL) {
        return 0;
    }

    len = strlen(slash + 1);
    bits = strtol(slash + 1, NULL, 10);

    return len > 0 && len < 4 && strspn(slash + 1, "0123456789") == len
           && bits <= max ? 0 : -1;
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


/* a host that no service has will never match */

static void
emit_authz_hosts(emit_t *e, node_t *hosts)
{
    size_t       len;
    node_t      *n;
    service_t   *svc;
    listener_t  *l;
    route_t     *r;

    for (n = hosts->child; n; n = n->next) {

        if (strchr(n->text, '*')) {
            continue;
        }

        len = strlen(n->text);

        /* with the port that a client writes into Host, in HTTP */

        if (n->text[0] != '[' && strchr(n->text, ':')) {
            continue;
        }

        for (svc = e->m->services; svc; svc = svc->next) {
            if (strcasecmp(svc->host, n->text) == 0
                || (svc->host[0] == '*'
                    && len > strlen(svc->host) - 1
                    && strcasecmp(n->text + len - strlen(svc->host) + 1,
                                  svc->host + 1)
                       == 0))
            {
                break;
            }
        }

        r = NULL;

        for (l = e->m->listeners; l && svc == NULL && r == NULL; l = l->next)
        {
            for (r = l->routes; r; r = r->next) {
                if (strcasecmp(r->host, n->text) == 0) {
                    break;
                }
            }
        }

        if (svc == NULL && r == NULL) {
            diag(DIAG_WARNING, &n->pos, "UNREACHABLE",
                 "no ServiceEntry with a route through this gateway has host "
                 "\"%s\": the rule matches nothing", n->text);
        }
    }
}


static void
emit_buckets(emit_t *e)
{
    size_t       i;
    node_t      *doc, *patch, *value;
    listener_t  *l;

    for (i = 0; i < e->m->ndocs; i++) {
        doc = e->m->docs[i];

        if (strcmp(doc_kind(doc), "EnvoyFilter") != 0) {
            continue;
        }

        patch = node_path(doc, "spec.configPatches");

        for (patch = patch->child; patch; patch = patch->next) {

            value = node_path(patch, "patch.value");

            for (l = e->m->listeners; l; l = l->next) {
                if (l->bucket
                    && strcmp(l->bucket, xprintf("%s/%s_%ld",
                                                 doc_namespace(doc),
                                                 doc_name(doc), l->port))
                       == 0)
                {
                    emit_bucket(e, doc, value, l);
                }
            }
        }
    }
}


/* typed_config, bare or within a TypedStruct; NULL if it is neither */

static node_t *
emit_limit_config(node_t *value)
{
    node_t      *config;
    const char  *type;

    config = node_get(value, "typed_config");
    type = node_text(config, "@type");

    if (type && strstr(type, "TypedStruct")) {
        type = node_text(config, "type_url");
        config = node_get(config, "value");
    }

    if (config == NULL || type == NULL
        || strcmp(type, "type.googleapis.com/envoy.extensions.filters.http."
                        "local_ratelimit.v3.LocalRateLimit")
           != 0)
    {
        diag(DIAG_ERROR, &value->pos, "VALUE",
             "\"typed_config\" of the local rate limit must have \"@type\" "
             "(or \"type_url\") type.googleapis.com/envoy.extensions.filters."
             "http.local_ratelimit.v3.LocalRateLimit");
        return NULL;
    }

    return config;
}


static void
emit_bucket(emit_t *e, node_t *doc, node_t *value, listener_t *l)
{
    long      code, enabled, enforced;
    node_t   *config, *n, *status;

    config = emit_limit_config(value);

    if (config == NULL || schema_rate_limit(config) != 0
        || schema_refused(config))
    {
        return;
    }

    fputc('\n', e->out);
    emit_comment(e, "    ", &doc->pos);
    fputs("    bucket ", e->out);
    emit_word(e, &doc->pos, l->bucket);
    fputs(" {\n", e->out);

    status = node_get(config, "status");
    code = node_number(status, "code");

    for (n = config->child; n; n = n->next) {

        if (strcmp(n->key->text, "token_bucket") == 0) {
            emit_token_bucket(e, n);

        } else if (strcmp(n->key->text, "response_headers_to_add") == 0) {
            emit_bucket_headers(e, n);

        } else if (strcmp(n->key->text, "status") == 0) {
            if (code < 400 || code > 599) {
                diag(DIAG_ERROR, &n->pos, "VALUE",
                     "\"code\" has to be from 400 to 599");
                continue;
            }

            fprintf(e->out, "        status    %ld;\n", code);

        }
    }

    fputs("    }\n", e->out);

    enabled = emit_percent(config, "filter_enabled");
    enforced = emit_percent(config, "filter_enforced");

    l->bucket = xprintf("bucket=%s enabled=%ld enforced=%ld", l->bucket,
                        enabled, enforced);
}


static void
emit_token_bucket(emit_t *e, node_t *node)
{
    long     tokens, fill, ms;
    node_t  *interval;

    tokens = node_number(node, "max_tokens");
    fill = node_number(node, "tokens_per_fill");
    interval = node_get(node, "fill_interval");
    ms = (interval && interval->kind == NODE_SCALAR)
         ? emit_milliseconds(interval->text) : -1;

    if (fill == -1 && node_get(node, "tokens_per_fill") == NULL) {
        fill = 1;
    }

    if (tokens < 1 || fill < 1 || ms < 50) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "\"token_bucket\" must have \"max_tokens\" and "
             "\"tokens_per_fill\" of 1 or more and \"fill_interval\" of "
             "50ms or more");
        return;
    }

    fprintf(e->out, "        tokens    %ld;\n        fill      %ld;\n"
                    "        interval  %ldms;\n", tokens, fill, ms);
}


static void
emit_bucket_headers(emit_t *e, node_t *node)
{
    node_t      *n;
    const char  *key, *value;

    for (n = node->child; n; n = n->next) {
        key = node_text(node_get(n, "header"), "key");
        value = node_text(node_get(n, "header"), "value");

        if (key == NULL || value == NULL) {
            diag(DIAG_ERROR, &n->pos, "MISSING",
                 "a header must have \"key\" and \"value\"");
            continue;
        }

        if (strspn(key, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789-_")
            != strlen(key) || strchr(value, '%'))
        {
            diag(DIAG_ERROR, &n->pos, "VALUE", "this header is not rendered: "
                 "its name has other characters than letters, digits and "
                 "\"-\", or its value has Envoy's commands");
            continue;
        }

        fputs("        header    ", e->out);
        emit_word(e, &n->pos, key);
        fputc(' ', e->out);
        emit_word(e, &n->pos, value);
        fputs(";\n", e->out);
    }
}


/* absent means 0, as Envoy has it; what is no whole percent is refused */

static long
emit_percent(node_t *config, const char *key)
{
    long         n;
    node_t      *node, *value;
    const char  *of;

    node = node_get(config, key);

    if (node == NULL) {
        diag(DIAG_WARNING, &config->pos, "UNENFORCED",
             "without \"%s\" the limit is not applied at all", key);
        return 0;
    }

    value = node_get(node, "default_value");
    n = node_number(value, "numerator");
    of = node_text(value, "denominator");

    if (n < 0 || n > 100 || (of && strcmp(of, "HUNDRED") != 0)) {
        diag(DIAG_ERROR, &node->pos, "VALUE",
             "\"%s\" must have \"default_value\" with \"numerator\" from 0 "
             "to 100 and \"denominator\" HUNDRED", key);
        return 0;
    }

    return n;
}


static void
emit_stream(emit_t *e)
{
    listener_t  *l;

    for (l = e->m->listeners; l; l = l->next) {
        if (emit_streamed(l)) {
            break;
        }
    }

    if (l == NULL) {
        return;
    }

    fputs("stream {\n", e->out);

    for (l = e->m->listeners; l; l = l->next) {
        if (emit_mapped(l)) {
            fputs("    map_hash_bucket_size  512;\n\n", e->out);
            break;
        }
    }

    fputs("    upstream egress {\n        egress_balance;\n    }\n", e->out);

    if (e->m->options->access_log) {
        fputs("\n    log_format  egress  '$time_iso8601 $remote_addr "
              "\"$egress_principal\" $egress_host:$egress_port '\n"
              "                        '$egress_verdict $egress_reason "
              "$egress_service $egress_endpoint '\n"
              "                        '$status $bytes_received "
              "$bytes_sent';\n    access_log  ", e->out);
        emit_word(e, NULL, e->m->options->access_log);
        fputs("  egress;\n", e->out);
    }

    for (l = e->m->listeners; l; l = l->next) {
        if (emit_streamed(l)) {
            emit_stream_server(e, l);
        }
    }

    fputs("}\n\n", e->out);
}


static void
emit_stream_server(emit_t *e, listener_t *l)
{
    if (emit_mapped(l)) {
        emit_map(e, l);
    }

    fputc('\n', e->out);
    emit_comment(e, "    ", &l->node->pos);
    fputs("    server {\n", e->out);
    emit_listen(e, l, "");

    if (l->mutual) {
        emit_mutual(e);
    }

    fprintf(e->out, "\n        egress          on;\n"
                    "        egress_port     %ld;\n", l->port);

    if (l->mutual) {
        fprintf(e->out, "        egress_mesh     %s;\n",
                l->required ? "required" : "optional");
    }

    if (l->kind == LISTEN_TLS) {
        fputs("        egress_preread  tls;\n", e->out);

        if (emit_mapped(l)) {
            fprintf(e->out, "        egress_service  $egress_route_%ld;\n",
                    l->port);
        }

    } else {
        fputs("        egress_service  ", e->out);
        emit_word(e, &l->routes->node->pos, l->routes->service->name);
        fputs(";\n", e->out);
    }

    fputs("\n        proxy_pass      egress;\n    }\n", e->out);
}


/* a TCP port without a route is closed: a name would say nothing there */

static int
emit_streamed(listener_t *l)
{
    return l->kind == LISTEN_TLS || (l->kind == LISTEN_TCP && l->routes);
}


/* names that are services' own are found without a map */

static int
emit_mapped(listener_t *l)
{
    route_t  *r;

    if (l->kind != LISTEN_TLS) {
        return 0;
    }

    for (r = l->routes; r; r = r->next) {
        if (!r->identity) {
            return 1;
        }
    }

    return 0;
}


/* all names, as one of the services' own may lie within a wildcard */

static void
emit_map(emit_t *e, listener_t *l)
{
    route_t  *r;

    fprintf(e->out, "\n    map $egress_sni $egress_route_%ld {\n"
                    "        hostnames;\n        default  \"\";\n", l->port);

    for (r = l->routes; r; r = r->next) {
        fputs("        ", e->out);
        emit_host(e, &r->node->pos, r->host);
        fputs("  ", e->out);
        emit_word(e, &r->node->pos, r->service->name);
        fputs(";\n", e->out);
    }

    fputs("    }\n", e->out);
}


/* nginx makes the socket for everybody: its folder keeps others out */

static void
emit_admin(emit_t *e)
{
    if (e->m->options->admin == NULL) {
        return;
    }

    fputs("\n    server {\n        listen      ", e->out);
    emit_word(e, NULL, xprintf("unix:%s", e->m->options->admin));
    fputs(";\n        access_log  off;\n\n"
          "        location /status {\n            egress_status;\n"
          "        }\n\n"
          "        location /metrics {\n            egress_metrics;\n"
          "        }\n\n"
          "        location /explain {\n            egress_explain;\n"
          "        }\n    }\n", e->out);
}


static void
emit_http(emit_t *e)
{
    route_t     *r;
    listener_t  *l;

    for (l = e->m->listeners; l; l = l->next) {
        if (l->kind == LISTEN_HTTP) {
            break;
        }
    }

    if (l == NULL && e->m->options->admin == NULL) {
        return;
    }

    fputs("http {\n", e->out);

    if (l) {
        fputs("    server_names_hash_bucket_size  512;\n\n"
              "    upstream egress {\n        egress_balance;\n    }\n",
              e->out);
    }

    emit_admin(e);

    if (l && e->m->options->access_log) {
        fputs("\n    log_format  egress  '$time_iso8601 $remote_addr "
              "\"$egress_principal\" $egress_host:$egress_port '\n"
              "                        '$egress_verdict $egress_reason "
              "$egress_service $egress_endpoint '\n"
              "                        '$status $bytes_sent "
              "\"$request_method $uri\"';\n    access_log  ", e->out);
        emit_word(e, NULL, e->m->options->access_log);
        fputs("  egress;\n", e->out);
    }

    for ( /* void */ ; l; l = l->next) {

        if (l->kind != LISTEN_HTTP) {
            continue;
        }

        /* what no rule routes is looked up: refused under registry_only */

        emit_http_server(e, l, NULL);

        for (r = l->routes; r; r = r->next) {
            emit_http_server(e, l, r);
        }
    }

    fputs("}\n", e->out);
}


static void
emit_http_server(emit_t *e, listener_t *l, route_t *r)
{
    fputc('\n', e->out);
    emit_comment(e, "    ", r ? &r->node->pos : &l->node->pos);
    fputs("    server {\n", e->out);
    emit_listen(e, l, r ? "" : " default_server");

    fputs("        server_name  ", e->out);

    if (r) {
        emit_host(e, &r->node->pos, r->host);

    } else {
        fputs("_", e->out);
    }

    fputs(";\n", e->out);

    if (l->mutual) {
        emit_mutual(e);
    }

    fprintf(e->out, "\n        egress            on;\n"
                    "        egress_port       %ld;\n", l->port);

    if (l->bucket) {
        fprintf(e->out, "        egress_ratelimit  %s;\n", l->bucket);
    }

    fputs("\n        location / {\n", e->out);

    if (r) {
        fputs("            egress_service  ", e->out);
        emit_word(e, &r->node->pos, r->service->name);
        fputs(";\n", e->out);
    }

    fputs("            include         ", e->out);
    emit_word(e, NULL, e->m->options->proxy_conf);
    fputs(";\n            proxy_pass      http://egress;\n"
          "        }\n    }\n", e->out);
}


static void
emit_listen(emit_t *e, listener_t *l, const char *more)
{
    size_t       i, len;
    char         port[16];
    const char  *p;

    snprintf(port, sizeof(port), "%ld", l->port);
    len = strlen(port);

    fputs("        listen       ", e->out);

    for (i = 0; i < e->m->options->nlisten; i++) {
        p = e->m->options->listen[i];

        if (strncmp(p, port, len) == 0 && p[len] == '=') {
            emit_word(e, NULL, p + len + 1);
            break;
        }
    }

    if (i == e->m->options->nlisten) {
        fputs(port, e->out);
    }

    fprintf(e->out, "%s%s;\n", l->mutual ? " ssl" : "", more);
}


static void
emit_mutual(emit_t *e)
{
    const options_t  *o;

    o = e->m->options;

    fputs("\n        ssl_certificate         ", e->out);
    emit_word(e, NULL, o->certificate);
    fputs(";\n        ssl_certificate_key     ", e->out);
    emit_word(e, NULL, o->key);
    fputs(";\n        ssl_client_certificate  ", e->out);
    emit_word(e, NULL, o->ca);
    fputs(";\n        ssl_verify_client       on;\n"
          "        ssl_verify_depth        4;\n"
          "        ssl_protocols           TLSv1.2 TLSv1.3;\n"
          "        ssl_session_tickets     off;\n"
          "        ssl_session_cache       off;\n", e->out);
}


static void
emit_comment(emit_t *e, const char *indent, const pos_t *pos)
{
    const char  *p;

    fprintf(e->out, "%s# ", indent);

    for (p = pos->source->name; *p; p++) {
        fputc((unsigned char) *p < 0x20 || *p == 0x7f ? '?' : *p, e->out);
    }

    fprintf(e->out, ":%zu\n", pos->line);
}


static void
emit_source(emit_t *e, const pos_t *pos)
{
    fputs("        source      ", e->out);
    emit_place(e, pos);
}


/* whatever the file is called, it is a word */

static void
emit_place(emit_t *e, const pos_t *pos)
{
    char  *p, *source;

    source = xprintf("%s:%zu", pos->source->name, pos->line);

    for (p = source; *p; p++) {
        if ((unsigned char) *p < 0x20 || strchr("\"'\\$;{}\x7f", *p)) {
            *p = '?';
        }
    }

    emit_word(e, pos, source);
    fputs(";\n", e->out);
}


static void
emit_words(emit_t *e, const char *directive, node_t *list)
{
    node_t  *n;

    fputs(directive, e->out);

    for (n = list->child; n; n = n->next) {
        fputc(' ', e->out);
        emit_word(e, &n->pos, n->text);
    }

    fputs(";\n", e->out);
}


/*
 * One word of nginx.conf.  What nginx would read as anything but itself,
 * even within quotes, is refused: a variable, an escape, the end of the
 * word, a byte that no name has.
 */

static void
emit_word(emit_t *e, const pos_t *pos, const char *text)
{
    int          quote;
    const char  *p;

    quote = (*text == '\0');

    for (p = text; *p; p++) {

        if ((unsigned char) *p < 0x20 || *p == 0x7f || strchr("\"'\\$;{}", *p))
        {
            diag(DIAG_ERROR, pos, "VALUE",
                 "a value with control characters or one of \" ' \\ $ ; { } "
                 "is refused");
            return;
        }

        quote |= !(isalnum((unsigned char) *p) || strchr("._/:*@=+,-", *p)
                   || (*p & 0x80));
    }

    fprintf(e->out, quote ? "\"%s\"" : "%s", text);
}


static void
emit_host(emit_t *e, const pos_t *pos, const char *host)
{
    if (strcmp(host, "*") == 0) {
        diag(DIAG_ERROR, pos, "UNSUPPORTED",
             "a route for all hosts is not rendered yet: name them, or "
             "\"*.example.com\"");
        return;
    }

    if (!emit_valid_host(host)) {
        diag(DIAG_ERROR, pos, "VALUE", "invalid host \"%.253s\": a DNS name "
             "or \"*.\" and a DNS name is expected", host);
        return;
    }

    for ( /* void */ ; *host; host++) {
        fputc(tolower((unsigned char) *host), e->out);
    }
}


static int
emit_valid_host(const char *host)
{
    size_t  label;

    if (strlen(host) > 253) {
        return 0;
    }

    if (host[0] == '*' && host[1] == '.') {
        host += 2;
    }

    for (label = 0; *host; host++) {

        if (*host == '.') {
            if (label == 0) {
                return 0;
            }

            label = 0;
            continue;
        }

        if (!isalnum((unsigned char) *host) && *host != '-') {
            return 0;
        }

        if (++label > 63) {
            return 0;
        }
    }

    return label != 0;
}


/* "1h2m3.5s", "100ms"; -1: not a time */

static long
emit_milliseconds(const char *s)
{
    char    *end;
    double   n, sum;

    sum = 0;

    if (*s == '\0') {
        return -1;
    }

    while (*s) {

        if (!isdigit((unsigned char) *s) && *s != '.') {
            return -1;
        }

        n = strtod(s, &end);
        s = end;

        if (strncmp(s, "ms", 2) == 0) {
            s += 2;

        } else if (*s == 's') {
            n *= 1000;
            s++;

        } else if (*s == 'm') {
            n *= 60000;
            s++;

        } else if (*s == 'h') {
            n *= 3600000;
            s++;

        } else {
            return -1;
        }

        sum += n;
    }

    return (sum > 1e12) ? -1 : (long) sum;
}
