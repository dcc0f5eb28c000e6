
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <string.h>

#include "egressctl.h"
#include "emit.h"


static void mutual_name(emit_t *e, service_t *svc, node_t *tls);
static void mutual_identities(emit_t *e, service_t *svc, node_t *tls);
static void mutual_accounts(emit_t *e, service_t *svc, list_t *names);
static int mutual_labelled(node_t *ep);


/*
 * The gateway's own certificate, and the mesh's CA: what a workload of the
 * mesh shows another.
 */

void
emit_istio_mutual(emit_t *e, service_t *svc)
{
    size_t            i;
    node_t           *tls, *n;
    const options_t  *o;

    static const char  *own[] = {
        "clientCertificate", "privateKey", "caCertificates", "caCrl",
        "credentialName", "insecureSkipVerify"
    };

    o = e->m->options;
    tls = svc->policy.tls;

    for (i = 0; i < sizeof(own) / sizeof(own[0]); i++) {
        n = node_get(tls, own[i]);

        if (n) {
            diag(DIAG_ERROR, &n->key->pos, "VALUE",
                 "ISTIO_MUTUAL goes by the mesh's certificates, and \"%s\" "
                 "excludes it: is MUTUAL meant?", own[i]);
            return;
        }
    }

    fputs("        tls         mutual;\n", e->out);

    mutual_name(e, svc, tls);
    mutual_identities(e, svc, tls);

    fputs("        tls_certificate          ", e->out);
    emit_word(e, NULL, o->certificate);
    fputs(";\n        tls_certificate_key      ", e->out);
    emit_word(e, NULL, o->key);
    fputs(";\n        tls_trusted_certificate  ", e->out);
    emit_word(e, NULL, o->ca);

    /* by which a sidecar tells the mesh's mTLS from other TLS */

    fprintf(e->out, ";\n        tls_alpn    %s;\n",
            svc->http2 ? "istio-h2 istio h2"
                       : svc->http ? "istio-http/1.1 istio http/1.1"
                                   : "istio");
}


static void
mutual_name(emit_t *e, service_t *svc, node_t *tls)
{
    const char  *sni;

    sni = node_text(tls, "sni");

    if (sni == NULL && *svc->host == '*') {
        diag(DIAG_ERROR, &tls->pos, "MISSING",
             "ISTIO_MUTUAL for \"%s\" must have \"sni\": a wildcard is none",
             svc->host);
        return;
    }

    if (sni == NULL) {
        sni = xprintf("outbound_.%ld_.%s_.%s", svc->port,
                      svc->subset ? svc->subset : "", svc->host);

    }

    /* the mesh's own names have labels that no host has */

    if (strspn(sni, "abcdefghijklmnopqrstuvwxyz0123456789_.-"
                    "ABCDEFGHIJKLMNOPQRSTUVWXYZ") != strlen(sni))
    {
        diag(DIAG_ERROR, &tls->pos, "VALUE",
             "\"%.253s\" is no SNI: a name without a wildcard is", sni);
        return;
    }

    fputs("        tls_name    ", e->out);
    emit_word(e, &tls->pos, sni);
    fputs(";\n", e->out);
}


/* Istio takes any workload of the mesh where nothing says which */

static void
mutual_identities(emit_t *e, service_t *svc, node_t *tls)
{
    size_t   i;
    node_t  *n;
    list_t   names;

    memset(&names, 0, sizeof(list_t));

    for (n = node_first(tls, "subjectAltNames"); n; n = n->next) {
        list_push(&names, n->text);
    }

    if (names.n == 0) {
        n = node_first(node_get(svc->entry, "spec"), "subjectAltNames");

        for ( /* void */ ; n; n = n->next) {
            list_push(&names, n->text);
        }

        mutual_accounts(e, svc, &names);
    }

    if (names.n == 0) {
        diag(DIAG_ERROR, &tls->pos, "MISSING",
             "ISTIO_MUTUAL for \"%s\" does not say whose certificate is right, "
             "and Istio would take any workload's: write \"subjectAltNames: "
             "[spiffe://TRUST-DOMAIN/ns/NAMESPACE/sa/ACCOUNT]\", or "
             "\"serviceAccount\" of the endpoints", svc->host);
        return;
    }

    fputs("        tls_san    ", e->out);

    for (i = 0; i < names.n; i++) {
        fputc(' ', e->out);
        emit_word(e, &tls->pos, names.elts[i]);
    }

    fputs(";\n", e->out);
}


static void
mutual_accounts(emit_t *e, service_t *svc, list_t *names)
{
    char        *name;
    size_t       i, k;
    node_t      *n, *alias;
    const char  *domain, *account, *at;

    n = model_mesh(e->m, "trustDomain");
    domain = n ? n->text : "cluster.local";

    for (i = 0; i < svc->endpoints.n; i++) {
        account = node_text(svc->endpoints.elts[i], "serviceAccount");

        if (account == NULL) {
            continue;
        }

        alias = model_mesh(e->m, "trustDomainAliases");
        alias = alias ? alias->child : NULL;

        for (at = domain; at; at = alias ? alias->text : NULL,
                              alias = alias ? alias->next : NULL)
        {
            name = xprintf("spiffe://%s/ns/%s/sa/%s", at,
                           doc_namespace(svc->entry), account);

            for (k = 0; k < names->n; k++) {
                if (strcmp(names->elts[k], name) == 0) {
                    break;
                }
            }

            if (k == names->n) {
                list_push(names, name);
            }
        }
    }
}


/* without a rule Istio asks the endpoints, in its own mesh */

void
emit_auto_mutual(emit_t *e, service_t *svc)
{
    size_t       i;
    node_t      *n, *ep;
    const char  *location;

    location = node_text(node_get(svc->entry, "spec"), "location");
    n = model_mesh(e->m, "enableAutoMtls");

    if (location == NULL || strcmp(location, "MESH_INTERNAL") != 0
        || svc->passthrough || (n && strcmp(n->text, "false") == 0))
    {
        return;
    }

    for (i = 0; i < svc->endpoints.n; i++) {
        ep = svc->endpoints.elts[i];

        if (mutual_labelled(ep)) {
            diag(DIAG_ERROR, &ep->pos, "PLAINTEXT",
                 "Istio would speak mTLS to this endpoint of \"%s\" without "
                 "being told: say ISTIO_MUTUAL in a DestinationRule, or "
                 "DISABLE if plaintext is meant", svc->host);
            return;
        }
    }
}


static int
mutual_labelled(node_t *ep)
{
    const char  *mode;

    mode = node_text(node_get(ep, "labels"), "security.istio.io/tlsMode");

    return mode ? strcmp(mode, "istio") == 0
                : node_text(ep, "serviceAccount") != NULL;
}
