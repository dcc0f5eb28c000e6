
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"
#include "emit.h"


static void emit_check_resolver(emit_t *e);
static void emit_service(emit_t *e, service_t *svc);
static void emit_answers(emit_t *e);
static void emit_protocol(emit_t *e, service_t *svc);
static void emit_resolution(emit_t *e, service_t *svc);
static void emit_round_robin(service_t *svc, node_t *resolution);
static void emit_endpoint(emit_t *e, service_t *svc, node_t *ep,
    hash_t **pinned);
static int emit_address(service_t *svc, node_t *ep, const char *address);
static long emit_endpoint_port(service_t *svc, node_t *ep);
static void emit_endpoint_labels(emit_t *e, node_t *ep);
static void emit_locality(emit_t *e, service_t *svc, node_t *ep);
static long emit_weight(emit_t *e, service_t *svc, node_t *ep);
static node_t *emit_distribution(emit_t *e, service_t *svc);
static int locality_within(const char *locality, const char *pattern);
static const char *emit_pinned(emit_t *e, const char *host, long at,
    long *target);
static void emit_pool(emit_t *e, service_t *svc);
static void emit_pool_tcp(emit_t *e, service_t *svc, node_t *tcp);
static void emit_pool_http(emit_t *e, service_t *svc, node_t *tcp,
    node_t *http);
static void emit_keepalive(emit_t *e, node_t *node);
static void emit_limit(emit_t *e, node_t *map, const char *key,
    const char *directive);
static void emit_time(emit_t *e, const char *directive, long ms);
static void emit_balancer(emit_t *e, service_t *svc);
static void emit_hash(emit_t *e, service_t *svc, node_t *hash);
static void emit_outlier(emit_t *e, service_t *svc);
static void emit_outlier_value(emit_t *e, node_t *node, const char *key,
    const char *name, long max);
static void emit_tls(emit_t *e, service_t *svc);
static void emit_tls_names(emit_t *e, service_t *svc, node_t *tls);
static void emit_tls_files(emit_t *e, node_t *tls);
static void emit_tls_secret(emit_t *e, node_t *tls, int mutual, int skip);
static int emit_tls_flaw(node_t *tls, int mutual, int skip);
static void emit_tls_defaults(emit_t *e);
static void emit_system_ca(emit_t *e);


void
emit_services(emit_t *e)
{
    service_t  *svc;

    for (svc = e->m->services; svc; svc = svc->next) {
        emit_service(e, svc);
    }

    if (e->m->answers) {
        emit_answers(e);
    }

    emit_check_resolver(e);
}


/* nginx -t would say so too, without naming the option */

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
    fputs(";\n", e->out);

    emit_protocol(e, svc);
    emit_resolution(e, svc);
    emit_pool(e, svc);
    emit_balancer(e, svc);
    emit_outlier(e, svc);

    if (svc->retry) {
        fprintf(e->out, "        retry       %s;\n", svc->retry);
    }

    emit_tls(e, svc);

    fputs("    }\n", e->out);
}


/* what the gateway answers itself is decided on as well, and not dialled */

static void
emit_answers(emit_t *e)
{
    fputs("\n    # answers of the gateway's own: decided on, never dialled\n"
          "    service answer {\n"
          "        lookup      off;\n"
          "        host        answer.invalid;\n"
          "        port        80 http;\n"
          "        resolution  static;\n"
          "        endpoint    unix:/dev/null;\n"
          "    }\n", e->out);
}


static void
emit_protocol(emit_t *e, service_t *svc)
{
    const char  *location;

    location = node_text(node_get(svc->entry, "spec"), "location");

    fprintf(e->out, "        port        %ld %s", svc->port, svc->protocol);

    if (svc->target != svc->port) {
        fprintf(e->out, " target=%ld", svc->target);
    }

    fprintf(e->out, ";\n        location    %s;\n",
            location && strcmp(location, "MESH_INTERNAL") == 0
            ? "internal" : "external");
}


static void
emit_resolution(emit_t *e, service_t *svc)
{
    long         pin_port;
    hash_t      *pinned;
    size_t       i;
    node_t      *spec;
    const char  *resolution, *pin;

    spec = node_get(svc->entry, "spec");
    resolution = node_text(spec, "resolution");
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

        if (svc->endpoints.n) {
            diag(DIAG_ERROR, &spec->pos, "VALUE",
                 "\"endpoints\" and resolution %s exclude each other",
                 resolution ? resolution : "NONE");
        }

        return;
    }

    if (strcmp(resolution, "STATIC") == 0) {
        fputs("        resolution  static;\n", e->out);

        if (svc->endpoints.n == 0) {
            diag(DIAG_ERROR, &spec->pos, "MISSING",
                 "resolution STATIC must have \"endpoints\"");
            return;
        }

    } else {
        fputs("        resolution  dns;\n", e->out);

        if (svc->host[0] == '*' && svc->endpoints.n == 0) {
            diag(DIAG_ERROR, &spec->pos, "VALUE",
                 "resolution DNS with a wildcard host must have "
                 "\"endpoints\"; DYNAMIC_DNS resolves the name asked for");
        }

        if (strcmp(resolution, "DNS_ROUND_ROBIN") == 0) {
            emit_round_robin(svc, node_get(spec, "resolution"));
        }
    }

    pinned = NULL;

    for (i = 0; i < svc->endpoints.n; i++) {
        emit_endpoint(e, svc, svc->endpoints.elts[i], &pinned);
    }
}


static void
emit_round_robin(service_t *svc, node_t *resolution)
{
    if (svc->endpoints.n > 1) {
        diag(DIAG_ERROR, &resolution->pos, "VALUE",
             "resolution DNS_ROUND_ROBIN has no more than one endpoint");
        return;
    }

    diag(DIAG_NOTE, &resolution->pos, "DNS",
         "DNS_ROUND_ROBIN of \"%s\" is rendered as DNS: a new connection goes "
         "to any address of the answer, where Envoy takes the first, and each "
         "of them has health of its own", svc->host);
}


static void
emit_endpoint(emit_t *e, service_t *svc, node_t *ep, hash_t **pinned)
{
    long         port, weight, pin_port;
    const char  *address, *pin;

    address = node_text(ep, "address");

    if (address == NULL) {
        diag(DIAG_ERROR, &ep->pos, "MISSING",
             "an endpoint must have \"address\"");
        return;
    }

    weight = emit_weight(e, svc, ep);

    if (emit_address(svc, ep, address) != 0 || weight == 0) {
        return;
    }

    port = emit_endpoint_port(svc, ep);
    pin = emit_pinned(e, address, port == -1 ? svc->target : port, &pin_port);

    if (pin) {
        address = pin;
        port = pin_port ? pin_port : port;

        /* several may be pinned to one place, where one is enough */

        *pinned = *pinned ? *pinned : hash_new();
        pin = xprintf("%s %ld", pin, port);

        if (hash_get(*pinned, pin)) {
            return;
        }

        hash_put(*pinned, pin, (void *) pin);
    }

    fputs("        endpoint    ", e->out);

    if (strncmp(address, "unix://", 7) == 0) {
        emit_word(e, &ep->pos, xprintf("unix:%s", address + 7));

    } else {
        emit_word(e, &ep->pos, address);

        if (port != -1 && port != svc->target) {
            fprintf(e->out, " port=%ld", port);
        }
    }

    if (weight != 1) {
        fprintf(e->out, " weight=%ld", weight);
    }

    emit_endpoint_labels(e, ep);
    emit_locality(e, svc, ep);

    fputs(";\n", e->out);
}


/* an address; a path that starts a socket's; with DNS a name as well */

static int
emit_address(service_t *svc, node_t *ep, const char *address)
{
    int          dns;
    const char  *resolution;

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

    if (is_address(address)
        || (dns && address[0] != '*' && is_host(address)))
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


static void
emit_endpoint_labels(emit_t *e, node_t *ep)
{
    node_t  *label;

    for (label = node_first(ep, "labels"); label; label = label->next) {
        fputc(' ', e->out);
        emit_word(e, &label->pos, xprintf("label=%s=%s", label->key->text,
                                          label->text));
    }
}


/*
 * Istio goes by locality only where outlierDetection tells which endpoints
 * can't be used.  "failover" puts one other region before all the rest.
 */

static void
emit_locality(emit_t *e, service_t *svc, node_t *ep)
{
    node_t      *setting, *n;
    const char  *locality, *to;

    locality = node_text(ep, "locality");
    setting = node_get(svc->policy.balancer, "localityLbSetting");

    if (locality == NULL || svc->policy.outlier == NULL
        || node_get(setting, "distribute")
        || (node_text(setting, "enabled") && !node_true(setting, "enabled")))
    {
        return;
    }

    if (node_first(setting, "failoverPriority")) {
        diag(DIAG_ERROR, &node_get(setting, "failoverPriority")->key->pos,
             "UNSUPPORTED", "\"failoverPriority\" is not rendered: localities "
             "are what endpoints are ordered by");
        return;
    }

    fputc(' ', e->out);
    emit_word(e, &ep->pos, xprintf("locality=%s", locality));

    for (n = node_first(setting, "failover"); n; n = n->next) {
        to = node_text(n, "to");

        if (to && e->m->options->locality
            && locality_within(e->m->options->locality,
                               node_text(n, "from") ? node_text(n, "from")
                                                    : ""))
        {
            if (!locality_within(locality, to)
                && !locality_within(locality, node_text(n, "from")))
            {
                fputs(" backup", e->out);
            }

            return;
        }
    }
}


/* 0: nothing of the traffic is for it */

static long
emit_weight(emit_t *e, service_t *svc, node_t *ep)
{
    long         weight, sum, percent;
    size_t       i;
    node_t      *to, *n, *other;
    const char  *locality, *at;

    weight = node_number(ep, "weight");
    weight = (weight < 1) ? 1 : weight;

    if (weight > 65535) {
        diag(DIAG_ERROR, &node_get(ep, "weight")->pos, "VALUE",
             "\"weight\" has to be from 0 to 65535");
        return 0;
    }

    to = emit_distribution(e, svc);

    if (to == NULL) {
        return weight;
    }

    locality = node_text(ep, "locality");

    for (n = to->child; n; n = n->next) {
        if (locality && locality_within(locality, n->key->text)) {
            break;
        }
    }

    if (n == NULL) {
        return 0;
    }

    sum = 0;

    for (i = 0; i < svc->endpoints.n; i++) {
        other = svc->endpoints.elts[i];
        at = node_text(other, "locality");

        if (at && locality_within(at, n->key->text)) {
            percent = node_number(other, "weight");
            sum += (percent < 1) ? 1 : percent;
        }
    }

    percent = strtol(n->text, NULL, 10);

    if (percent < 1 || percent > 100) {
        diag(DIAG_ERROR, &n->pos, "VALUE", "a percentage of \"to\" has to be "
             "from 1 to 100");
        return 0;
    }

    /* in tenths of a percent, and no endpoint without anything */

    weight = percent * 10 * weight / sum;

    return weight ? weight : 1;
}


/* of the gateway's own locality, if there is one for it */

static node_t *
emit_distribution(emit_t *e, service_t *svc)
{
    node_t      *setting, *n;
    const char  *from;

    setting = node_get(svc->policy.balancer, "localityLbSetting");
    n = node_first(setting, "distribute");

    if (n == NULL
        || (node_text(setting, "enabled") && !node_true(setting, "enabled")))
    {
        return NULL;
    }

    if (e->m->options->locality == NULL) {
        diag(DIAG_ERROR, &n->pos, "OPTION",
             "\"distribute\" depends on where the gateway is: say so with "
             "--locality REGION/ZONE/SUBZONE");
        return NULL;
    }

    for ( /* void */ ; n; n = n->next) {
        from = node_text(n, "from");

        if (from && locality_within(e->m->options->locality, from)) {
            return node_get(n, "to");
        }
    }

    return NULL;
}


/* "region/zone/a" is within "region", "region/zone" and with a "*" for any */

static int
locality_within(const char *locality, const char *pattern)
{
    size_t  n, k;

    while (*pattern) {

        if (strcmp(pattern, "*") == 0) {
            return 1;
        }

        n = strcspn(pattern, "/");
        k = strcspn(locality, "/");

        if (n != k || strncmp(pattern, locality, n) != 0) {
            return 0;
        }

        pattern += n + (pattern[n] == '/');
        locality += k + (locality[k] == '/');
    }

    return 1;
}


const char *
emit_pin(emit_t *e, service_t *svc, long *target)
{
    return emit_pinned(e, svc->host, svc->port, target);
}


/* --endpoint HOST[:PORT]=ADDRESS[:PORT]; an IPv6 address with a port: [] */

static const char *
emit_pinned(emit_t *e, const char *host, long at, long *target)
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

        if (strlen(host) != len || strncasecmp(p, host, len) != 0
            || (port && strtol(port + 1, NULL, 10) != at))
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


/* the DestinationRule's, else MeshConfig's; 10s are the module's default */

static void
emit_pool(emit_t *e, service_t *svc)
{
    node_t  *tcp;

    tcp = node_get(svc->policy.pool, "tcp");

    emit_pool_tcp(e, svc, tcp);
    emit_pool_http(e, svc, tcp, node_get(svc->policy.pool, "http"));
}


static void
emit_pool_tcp(emit_t *e, service_t *svc, node_t *tcp)
{
    long     ms;
    node_t  *n;

    n = node_get(tcp, "connectTimeout");
    ms = node_time(tcp, "connectTimeout");

    if (n == NULL) {
        n = model_mesh(e->m, "connectTimeout");

        if (n) {
            ms = node_time(&(node_t) { .kind = NODE_MAP, .child = n },
                           "connectTimeout");
        }
    }

    if (n && ms < 1) {
        diag(DIAG_ERROR, &n->pos, "VALUE", "invalid time \"%s\", as in "
             "\"10s\"", n->text);

    } else if (n) {
        emit_time(e, "connect_timeout", ms);
    }

    emit_limit(e, tcp, "maxConnections", "max_connections");

    if (!svc->http && node_time(tcp, "idleTimeout") > 0) {
        emit_time(e, "idle_timeout", node_time(tcp, "idleTimeout"));
    }

    n = node_get(tcp, "tcpKeepalive");
    n = n ? n : model_mesh(e->m, "tcpKeepalive");

    if (n) {
        emit_keepalive(e, n);
    }
}


static void
emit_pool_http(emit_t *e, service_t *svc, node_t *tcp, node_t *http)
{
    long  ms;

    if (!svc->http) {

        if (http) {
            diag(DIAG_NOTE, &http->key->pos, "NOEFFECT",
                 "connectionPool.http of \"%s\" has no effect on what is "
                 "not decrypted here", svc->host);
        }

        return;
    }

    emit_limit(e, http, "http1MaxPendingRequests", "max_pending");
    emit_limit(e, http, "http2MaxRequests", "max_requests");
    emit_limit(e, http, "maxRequestsPerConnection",
               "requests_per_connection");
    emit_limit(e, http, "maxRetries", "max_retries");

    ms = node_time(http, "idleTimeout");
    ms = (ms == -1) ? node_time(tcp, "idleTimeout") : ms;

    if (ms > 0) {
        emit_time(e, "keepalive_timeout", ms);
    }
}


static void
emit_keepalive(emit_t *e, node_t *node)
{
    long         n, max;
    size_t       i;

    static const char  *names[][2] = {
        { "time", "time" }, { "interval", "interval" }, { "probes", "probes" }
    };

    fputs("        tcp_keepalive  ", e->out);

    if (node->child == NULL) {
        fputs("on", e->out);
    }

    for (i = 0; i < 3; i++) {

        if (node_get(node, names[i][0]) == NULL) {
            continue;
        }

        n = (i == 2) ? node_number(node, names[i][0])
                     : (node_time(node, names[i][0]) + 999) / 1000;
        max = (i == 2) ? 127 : 32767;

        if (n < 1 || n > max) {
            diag(DIAG_ERROR, &node_get(node, names[i][0])->pos, "VALUE",
                 "\"%s\" has to be from 1%s to %ld%s", names[i][0],
                 i == 2 ? "" : "s", max, i == 2 ? "" : "s");
            continue;
        }

        fprintf(e->out, "%s%s=%ld%s", i ? " " : "", names[i][1], n,
                i == 2 ? "" : "s");
    }

    fputs(";\n", e->out);
}


/* 0 is as if it were not there, as Istio has it */

static void
emit_limit(emit_t *e, node_t *map, const char *key, const char *directive)
{
    long  n;

    n = node_number(map, key);

    if (n > 0) {
        fprintf(e->out, "        %s  %ld;\n", directive, n);
    }
}


static void
emit_time(emit_t *e, const char *directive, long ms)
{
    if (ms % 1000) {
        fprintf(e->out, "        %s  %ldms;\n", directive, ms);

    } else {
        fprintf(e->out, "        %s  %lds;\n", directive, ms / 1000);
    }
}


static void
emit_balancer(emit_t *e, service_t *svc)
{
    node_t      *lb, *hash;
    const char  *simple;

    lb = svc->policy.balancer;
    simple = node_text(lb, "simple");
    hash = node_get(lb, "consistentHash");

    if (simple && hash) {
        diag(DIAG_ERROR, &lb->pos, "VALUE",
             "\"simple\" and \"consistentHash\" exclude each other");
        return;
    }

    if (hash) {
        emit_hash(e, svc, hash);
        return;
    }

    /* LEAST_REQUEST is Istio's default, and the module's */

    if (simple && strcmp(simple, "ROUND_ROBIN") == 0) {
        fputs("        balance     round_robin;\n", e->out);

    } else if (simple && strcmp(simple, "RANDOM") == 0) {
        fputs("        balance     random;\n", e->out);

    } else if (simple && strcmp(simple, "PASSTHROUGH") == 0) {
        diag(DIAG_ERROR, &node_get(lb, "simple")->pos, "UNSUPPORTED",
             "PASSTHROUGH dials where the client was going, which is the "
             "gateway itself: resolution NONE dials the name that was asked "
             "for");
    }
}


static void
emit_hash(emit_t *e, service_t *svc, node_t *hash)
{
    node_t      *n;
    const char  *name;

    if (node_true(hash, "useSourceIp")) {
        fputs("        balance     hash $remote_addr;\n", e->out);
        return;
    }

    if (!svc->http) {
        diag(DIAG_NOTE, &hash->key->pos, "NOEFFECT",
             "consistentHash of \"%s\" is for HTTP: for TCP only useSourceIp "
             "is", svc->host);
        return;
    }

    n = node_get(hash, "httpHeaderName");

    if (n) {
        name = text_request(&n->pos, n->text);

    } else if (node_get(hash, "httpQueryParameterName")) {
        n = node_get(hash, "httpQueryParameterName");
        name = (strchr(n->text, '-') == NULL)
               ? text_header(&n->pos, "$arg_", n->text) : NULL;

    } else {
        n = node_path(hash, "httpCookie.name");
        name = (n && strchr(n->text, '-') == NULL)
               ? text_header(&n->pos, "$cookie_", n->text) : NULL;
    }

    if (name == NULL) {
        diag(DIAG_ERROR, &hash->pos, "VALUE",
             "\"consistentHash\" must have one of httpHeaderName, "
             "httpCookie, httpQueryParameterName and useSourceIp, of which "
             "nginx has a variable");
        return;
    }

    fprintf(e->out, "        balance     hash %s;\n", name);
}


static void
emit_outlier(emit_t *e, service_t *svc)
{
    int      split;
    node_t  *n;

    n = svc->policy.outlier;

    if (n == NULL) {
        return;
    }

    split = node_true(n, "splitExternalLocalOriginErrors");

    if (!split && node_get(n, "consecutiveLocalOriginFailures")) {
        diag(DIAG_ERROR,
             &node_get(n, "consecutiveLocalOriginFailures")->key->pos,
             "VALUE", "without \"splitExternalLocalOriginErrors: true\" "
             "Istio does not look at it");
        return;
    }

    fputs("        outlier    ", e->out);

    if (node_get(n, "consecutive5xxErrors") == NULL) {
        fputs(" consecutive_5xx=5", e->out);
    }

    emit_outlier_value(e, n, "consecutive5xxErrors", "consecutive_5xx", 0);
    emit_outlier_value(e, n, "consecutiveGatewayErrors",
                       "consecutive_gateway", 0);

    if (split && node_get(n, "consecutiveLocalOriginFailures") == NULL) {
        fputs(" consecutive_local=5", e->out);
    }

    emit_outlier_value(e, n, "consecutiveLocalOriginFailures",
                       "consecutive_local", 0);
    emit_outlier_value(e, n, "interval", "interval", -1);
    emit_outlier_value(e, n, "baseEjectionTime", "ejection", -1);
    emit_outlier_value(e, n, "maxEjectionPercent", "max_ejected", 100);
    emit_outlier_value(e, n, "minHealthPercent", "min_health", 100);

    fputs(";\n", e->out);
}


/* "max" 0: a number; -1: a time; else a percentage */

static void
emit_outlier_value(emit_t *e, node_t *node, const char *key,
    const char *name, long max)
{
    long  n;

    if (node_get(node, key) == NULL) {
        return;
    }

    n = (max == -1) ? node_time(node, key) : node_number(node, key);

    if ((max == -1 && n < 1) || (max > 0 && n > max)) {
        diag(DIAG_ERROR, &node_get(node, key)->pos, "VALUE",
             "\"%s\" has to be %s", key,
             max == -1 ? "1ms or more" : "from 0 to 100");
        return;
    }

    fprintf(e->out, " %s=%ld%s", name, n, max == -1 ? "ms" : max ? "%" : "");
}


static void
emit_tls(emit_t *e, service_t *svc)
{
    node_t      *tls;
    const char  *mode;

    tls = svc->policy.tls;
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

    if (mode == NULL) {
        emit_auto_mutual(e, svc);
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
        emit_istio_mutual(e, svc);
        return;
    }

    fprintf(e->out, "        tls         %s;\n",
            strcmp(mode, "MUTUAL") == 0 ? "mutual" : "simple");

    emit_tls_names(e, svc, tls);
    emit_tls_files(e, tls);
    emit_tls_defaults(e);
}


int
emit_originates(service_t *svc)
{
    const char  *mode;

    mode = node_text(svc->policy.tls, "mode");

    return mode && strcmp(mode, "DISABLE") != 0;
}


/* SANs of the DestinationRule, else of the ServiceEntry; exact ones */

static void
emit_tls_names(emit_t *e, service_t *svc, node_t *tls)
{
    node_t      *list, *n;
    const char  *sni;

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
        if ((*n->text == '*' || !is_host(n->text)) && !is_address(n->text)
            && strstr(n->text, "://") == NULL)
        {
            diag(DIAG_ERROR, &n->pos, "VALUE",
                 "a subjectAltName is a DNS name, an address or a URI, "
                 "compared as it is: \"%.60s\" is none", n->text);
            return;
        }
    }

    emit_words(e, "        tls_san    ", list);
}


static void
emit_tls_files(emit_t *e, node_t *tls)
{
    int          mutual, skip;
    const char  *ca;

    skip = node_true(tls, "insecureSkipVerify");
    mutual = (strcmp(node_text(tls, "mode"), "MUTUAL") == 0);

    if (emit_tls_flaw(tls, mutual, skip)) {
        return;
    }

    if (skip) {
        diag(DIAG_WARNING, &tls->pos, "UNVERIFIED",
             "insecureSkipVerify: the server is not verified");
    }

    if (node_get(tls, "credentialName")) {
        emit_tls_secret(e, tls, mutual, skip);
        return;
    }

    if (mutual) {
        emit_file(e, "        ", "tls_certificate",
                  node_get(tls, "clientCertificate"));
        emit_file(e, "        ", "tls_certificate_key",
                  node_get(tls, "privateKey"));
    }

    if (skip) {
        fputs("        tls_verify  off;\n", e->out);
        return;
    }

    ca = node_text(tls, "caCertificates");

    if (ca == NULL || strcmp(ca, "system") == 0) {
        emit_system_ca(e);

    } else {
        emit_file(e, "        ", "tls_trusted_certificate",
                  node_get(tls, "caCertificates"));
    }

    if (node_get(tls, "caCrl")) {
        emit_file(e, "        ", "tls_crl", node_get(tls, "caCrl"));
    }
}


/* there are no other CAs than those of the Secret */

static void
emit_tls_secret(emit_t *e, node_t *tls, int mutual, int skip)
{
    size_t       i;
    node_t      *name;
    const char  *file;

    static const char  *names[][2] = {
        { "cert", "tls_certificate" }, { "key", "tls_certificate_key" },
        { "ca", "tls_trusted_certificate" }
    };

    name = node_get(tls, "credentialName");

    for (i = mutual ? 0 : 2; i < (size_t) (skip ? 2 : 3); i++) {
        file = secret_file(e->m, name, names[i][0]);

        if (file) {
            fprintf(e->out, "        %s  ", names[i][1]);
            emit_word(e, &name->pos, file);
            fputs(";\n", e->out);
        }
    }

    if (skip) {
        fputs("        tls_verify  off;\n", e->out);
    }
}


static int
emit_tls_flaw(node_t *tls, int mutual, int skip)
{
    size_t   i;
    node_t  *credential;

    static const char  *files[] = {
        "clientCertificate", "privateKey", "caCertificates", "caCrl"
    };

    credential = node_get(tls, "credentialName");

    for (i = 0; credential && i < 4; i++) {
        if (node_get(tls, files[i])) {
            diag(DIAG_ERROR, &node_get(tls, files[i])->key->pos, "VALUE",
                 "\"%s\" and \"credentialName\" exclude each other",
                 files[i]);
            return 1;
        }
    }

    if (mutual && credential == NULL
        && (node_get(tls, "clientCertificate") == NULL
            || node_get(tls, "privateKey") == NULL))
    {
        diag(DIAG_ERROR, &tls->pos, "MISSING",
             "mode MUTUAL must have \"clientCertificate\" and "
             "\"privateKey\", or \"credentialName\"");
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
emit_tls_defaults(emit_t *e)
{
    node_t      *n;
    const char  *min;

    n = model_mesh(e->m, "tlsDefaults");
    min = node_text(n, "minProtocolVersion");

    if (min && strcmp(min, "TLSV1_3") == 0) {
        fputs("        tls_protocols  TLSv1.3;\n", e->out);
    }

    emit_colons(e, "tls_ciphers  ", node_first(n, "cipherSuites"));
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

void
emit_file(emit_t *e, const char *indent, const char *directive, node_t *node)
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

    fprintf(e->out, "%s%s  ", indent, directive);
    emit_word(e, &node->pos, file);
    fputs(";\n", e->out);
}
