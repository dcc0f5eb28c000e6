
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stdlib.h>
#include <string.h>

#include "egressctl.h"
#include "emit.h"
#include "limits.h"


static void emit_stream_server(emit_t *e, listener_t *l);
static void emit_stream_route(emit_t *e, listener_t *l);
static long emit_stream_timeout(listener_t *l);
static int emit_streamed(listener_t *l);
static int emit_mapped(listener_t *l);
static int emit_listen_http2(emit_t *e, listener_t *l);
static void emit_map(emit_t *e, listener_t *l);
static void emit_sni_map(emit_t *e, listener_t *l);
static void emit_server_files(emit_t *e, node_t *tls);
static void emit_server_secrets(emit_t *e, node_t *tls);
static void emit_server_secret(emit_t *e, node_t *name);
static void emit_server_clients(emit_t *e, node_t *tls, const char *mode);


void
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

    e->stream = 1;
    e->maps = e->out;

    fputs("stream {\n", e->out);

    for (l = e->m->listeners; l; l = l->next) {
        if (emit_mapped(l)) {
            fputs("    map_hash_bucket_size  512;\n\n", e->out);
            break;
        }
    }

    fputs("    upstream egress {\n        egress_balance;\n    }\n", e->out);

    emit_logs(e);

    for (l = e->m->listeners; l; l = l->next) {
        if (emit_streamed(l)) {
            emit_stream_server(e, l);
        }
    }

    if (e->dollar) {
        fputs("\n    geo $egress_dollar {\n        default  \"$\";\n    }\n",
              e->out);
        e->dollar = 0;
    }

    fputs("}\n\n", e->out);
}


static void
emit_stream_server(emit_t *e, listener_t *l)
{
    const char  *service;

    service = NULL;

    if (emit_mapped(l)) {
        emit_map(e, l);

    } else if (l->terminates) {
        emit_sni_map(e, l);

    } else if (l->kind == LISTEN_TCP) {
        service = emit_targets(e, l->routes->targets);
    }

    fputc('\n', e->out);
    emit_comment(e, "    ", &l->node->pos);
    fputs("    server {\n", e->out);
    emit_listen(e, l, "");

    if (l->mutual) {
        emit_mutual(e);

    } else if (l->terminates) {
        emit_server_tls(e, l->server);
    }

    fprintf(e->out, "\n        egress          on;\n"
                    "        egress_port     %ld;\n", l->port);

    if (l->mutual) {
        fprintf(e->out, "        egress_mesh     %s;\n",
                l->required ? "required" : "optional");

    } else if (l->terminates) {
        fputs("        egress_mesh     off;\n", e->out);
    }

    if (service) {
        fprintf(e->out, "        egress_service  %s;\n", service);

    } else {
        emit_stream_route(e, l);
    }

    limits_listener(e, l, "        ", e->out);

    fprintf(e->out, "\n        proxy_timeout   %lds;\n"
                    "        proxy_pass      egress;\n    }\n",
            emit_stream_timeout(l));
}


static void
emit_stream_route(emit_t *e, listener_t *l)
{
    if (l->kind == LISTEN_TLS) {
        fputs("        egress_preread  tls;\n", e->out);
    }

    if (l->terminates || emit_mapped(l)) {
        fprintf(e->out, "        egress_service  $egress_route_%ld;\n",
                l->port);
    }
}


/* nginx's own is never shorter than what a service says; Istio's is an hour */

static long
emit_stream_timeout(listener_t *l)
{
    long       max, ms;
    node_t    *n;
    route_t   *r;
    target_t  *t;

    max = 3600000;

    for (r = l->routes; r; r = r->next) {
        for (t = r->targets; t; t = t->next) {

            n = node_get(t->service->policy.pool, "tcp");
            ms = node_time(n, "idleTimeout");

            /* "0s" is for ever */

            ms = (ms == 0) ? 30 * 24 * 3600000L : ms;
            max = (ms > max) ? ms : max;
        }
    }

    return max / 1000;
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
    char     *buf;
    FILE     *out;
    size_t    size;
    route_t  *r;

    /* splits, if any, stand before */

    out = e->out;
    e->out = open_memstream(&buf, &size);

    if (e->out == NULL) {
        abort();
    }

    fprintf(e->out, "\n    map $egress_sni $egress_route_%ld {\n"
                    "        hostnames;\n        default  \"\";\n", l->port);

    for (r = l->routes; r; r = r->next) {
        fputs("        ", e->out);

        if (strcmp(r->host, "*") == 0) {
            diag(DIAG_ERROR, &r->node->pos, "UNSUPPORTED",
                 "a TLS route for all hosts is not rendered: name them, or "
                 "\"*.example.com\"");
            continue;
        }

        emit_host(e, &r->node->pos, r->host);
        fprintf(e->out, "  %s;\n", emit_targets(e, r->targets));
    }

    fputs("    }\n", e->out);
    fclose(e->out);

    e->out = out;
    fputs(buf, e->out);
    free(buf);
}


/* the hosts of a server that ends TLS are what its clients have to name */

static void
emit_sni_map(emit_t *e, listener_t *l)
{
    node_t      *n;
    const char  *service, *name;

    service = emit_targets(e, l->routes->targets);

    fprintf(e->out, "\n    map $ssl_server_name $egress_route_%ld {\n"
                    "        hostnames;\n", l->port);

    for (n = node_first(l->server->node, "hosts"); n; n = n->next) {

        name = strchr(n->text, '/');
        name = name ? name + 1 : n->text;

        if (strcmp(name, "*") == 0) {
            fprintf(e->out, "        default  %s;\n    }\n", service);
            return;
        }

        fputs("        ", e->out);
        emit_host(e, &n->pos, name);
        fprintf(e->out, "  %s;\n", service);
    }

    /* which is none */

    fputs("        default  closed;\n    }\n", e->out);
}


/* murmur hash of what differs from one connection, or request, to the next */

const char *
emit_targets(emit_t *e, target_t *targets)
{
    long       sum, part, left;
    char      *name;
    target_t  *t;

    if (targets->next == NULL) {
        return targets->service->name;
    }

    name = xprintf("$egress_split_%u", ++e->ids);
    sum = 0;

    for (t = targets; t; t = t->next) {
        sum += t->weight;
    }

    fputc('\n', e->maps);

    fprintf(e->maps, "    split_clients  %s  %s {\n", e->stream
                     ? "\"$connection $msec $remote_addr $remote_port\""
                     : "$request_id", name);

    left = 10000;

    for (t = targets; t; t = t->next) {

        if (t->next == NULL) {
            fprintf(e->maps, "        *  %s;\n", t->service->name);
            break;
        }

        /* in hundredths of a percent, of which each gets one at least */

        part = (long) ((double) t->weight * 10000 / sum + 0.5);
        part = part ? part : 1;
        part = (part >= left) ? left - 1 : part;
        left -= part;

        fprintf(e->maps, "        %ld.%02ld%%  %s;\n", part / 100, part % 100,
                t->service->name);
    }

    fputs("    }\n", e->maps);

    return name;
}


void
emit_listen(emit_t *e, listener_t *l, const char *more)
{
    size_t       i, len;
    char         port[24];
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

    fprintf(e->out, "%s%s%s;\n", l->mutual || l->terminates ? " ssl" : "",
            emit_listen_http2(e, l) && !emit_has_http2(e) ? " http2" : "",
            more);
}


void
emit_http2(emit_t *e, listener_t *l)
{
    if (emit_listen_http2(e, l) && emit_has_http2(e)) {
        fputs("        http2        on;\n", e->out);
    }
}


/*
 * Envoy looks at what comes.  nginx does within TLS, by ALPN, and from 1.25.1
 * on without it: before, a port speaks either, and HTTP/2 if it is to.
 */

static int
emit_listen_http2(emit_t *e, listener_t *l)
{
    return l->kind == LISTEN_HTTP
           && (l->http2 || l->mutual || l->terminates || emit_has_http2(e));
}


int
emit_has_http2(emit_t *e)
{
    return e->m->options->version >= 1025001;
}


void
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
          "        ssl_verify_depth        4;\n", e->out);

    emit_server_protocols(e, model_mesh(e->m, "meshMTLS"));

    fputs("        ssl_session_tickets     off;\n"
          "        ssl_session_cache       off;\n", e->out);
}


void
emit_server_tls(emit_t *e, server_t *s)
{
    node_t      *tls;
    const char  *mode;

    tls = node_get(s->node, "tls");
    mode = node_text(tls, "mode");

    fputc('\n', e->out);

    if (node_get(tls, "credentialName") || node_get(tls, "credentialNames")) {
        emit_server_secrets(e, tls);

    } else {
        emit_server_files(e, tls);
    }

    if (strcmp(mode, "SIMPLE") != 0) {
        emit_server_clients(e, tls, mode);
    }

    if (node_get(tls, "caCrl")) {

        if (strcmp(mode, "SIMPLE") == 0) {
            diag(DIAG_ERROR, &node_get(tls, "caCrl")->key->pos, "VALUE",
                 "mode SIMPLE asks for no certificate that could be revoked");
        }

        emit_file(e, "        ", "ssl_crl", node_get(tls, "caCrl"));
    }

    emit_server_protocols(e, tls);

    fputs("        ssl_session_tickets     off;\n"
          "        ssl_session_cache       off;\n", e->out);
}


static void
emit_server_files(emit_t *e, node_t *tls)
{
    node_t  *n, *pair;

    n = node_first(tls, "tlsCertificates");

    if (n && node_get(tls, "serverCertificate")) {
        diag(DIAG_ERROR, &tls->pos, "VALUE",
             "\"tlsCertificates\" and \"serverCertificate\" exclude each "
             "other");
        return;
    }

    for (pair = n ? n : tls; pair; pair = n ? pair->next : NULL) {

        if (node_get(pair, "serverCertificate") == NULL
            || node_get(pair, "privateKey") == NULL)
        {
            diag(DIAG_ERROR, &pair->pos, "MISSING",
                 "mode %s must have \"serverCertificate\" and "
                 "\"privateKey\", or \"credentialName\"",
                 node_text(tls, "mode"));
            return;
        }

        emit_file(e, "        ", "ssl_certificate        ",
                  node_get(pair, "serverCertificate"));
        emit_file(e, "        ", "ssl_certificate_key    ",
                  node_get(pair, "privateKey"));
    }
}


static void
emit_server_secrets(emit_t *e, node_t *tls)
{
    node_t  *n;

    if (node_get(tls, "serverCertificate") || node_get(tls, "privateKey")
        || node_get(tls, "tlsCertificates")
        || (node_get(tls, "credentialName")
            && node_get(tls, "credentialNames")))
    {
        diag(DIAG_ERROR, &tls->pos, "VALUE",
             "only one of credentialName, credentialNames, tlsCertificates "
             "and serverCertificate may be there");
        return;
    }

    n = node_get(tls, "credentialName");

    if (n) {
        emit_server_secret(e, n);
    }

    for (n = node_first(tls, "credentialNames"); n; n = n->next) {
        emit_server_secret(e, n);
    }
}


static void
emit_server_secret(emit_t *e, node_t *name)
{
    const char  *cert, *key;

    cert = secret_file(e->m, name, "cert");
    key = secret_file(e->m, name, "key");

    if (cert == NULL || key == NULL) {
        return;
    }

    fputs("        ssl_certificate         ", e->out);
    emit_word(e, &name->pos, cert);
    fputs(";\n        ssl_certificate_key     ", e->out);
    emit_word(e, &name->pos, key);
    fputs(";\n", e->out);
}


static void
emit_server_clients(emit_t *e, node_t *tls, const char *mode)
{
    node_t      *n, *pair;
    const char  *file;

    pair = node_first(tls, "tlsCertificates");
    n = node_get(tls, "caCertificates");
    n = n ? n : node_get(pair, "caCertificates");

    if (n) {
        emit_file(e, "        ", "ssl_client_certificate ", n);

    } else {
        n = node_get(tls, "caCertCredentialName");
        n = n ? n : node_get(tls, "credentialName");
        n = n ? n : node_first(tls, "credentialNames");

        if (n == NULL) {
            diag(DIAG_ERROR, &tls->pos, "MISSING",
                 "mode %s must have \"caCertificates\", or "
                 "\"credentialName\"", mode);
            return;
        }

        file = secret_file(e->m, n, "ca");

        if (file) {
            fputs("        ssl_client_certificate  ", e->out);
            emit_word(e, &n->pos, file);
            fputs(";\n", e->out);
        }
    }

    fprintf(e->out, "        ssl_verify_client       %s;\n"
                    "        ssl_verify_depth        4;\n",
            strcmp(mode, "MUTUAL") == 0 ? "on" : "optional");
}


/* "tls" of a server, or of MeshConfig; or none */

void
emit_server_protocols(emit_t *e, node_t *tls)
{
    size_t       i, min, max;
    const char  *text;

    static const char  *names[][2] = {
        { "TLSV1_0", "TLSv1" }, { "TLSV1_1", "TLSv1.1" },
        { "TLSV1_2", "TLSv1.2" }, { "TLSV1_3", "TLSv1.3" }
    };

    min = 2;
    max = 3;

    for (i = 0; i < 4; i++) {
        text = node_text(tls, "minProtocolVersion");
        min = (text && strcmp(text, names[i][0]) == 0) ? i : min;

        text = node_text(tls, "maxProtocolVersion");
        max = (text && strcmp(text, names[i][0]) == 0) ? i : max;
    }

    if (min > max) {
        diag(DIAG_ERROR, &tls->pos, "VALUE",
             "minProtocolVersion is above maxProtocolVersion");
        return;
    }

    fputs("        ssl_protocols          ", e->out);

    for (i = min; i <= max; i++) {
        fprintf(e->out, " %s", names[i][1]);
    }

    fputs(";\n", e->out);

    emit_colons(e, "ssl_ciphers             ", node_first(tls, "cipherSuites"));
    emit_colons(e, "ssl_ecdh_curve          ", node_first(tls, "ecdhCurves"));
}


/* a quote is part of no name, and could stand within the list only */

void
emit_colons(emit_t *e, const char *directive, node_t *n)
{
    if (n == NULL) {
        return;
    }

    fprintf(e->out, "        %s", directive);

    for ( /* void */ ; n; n = n->next) {

        if (strspn(n->text, "abcdefghijklmnopqrstuvwxyz0123456789-_+!@=."
                            "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
            != strlen(n->text))
        {
            diag(DIAG_ERROR, &n->pos, "VALUE",
                 "\"%s\" is no name of a cipher or a curve", n->text);
        }

        emit_word(e, &n->pos, n->text);
        fputs(n->next ? ":" : ";\n", e->out);
    }
}
