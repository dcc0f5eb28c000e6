
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Fuzzes ngx_egress_hello_parse(): the same verdict and the same results
 * however the input is cut, and the same names as OpenSSL reads whenever both
 * accept.  OpenSSL gets the hello in memory: nothing is looked up or dialled.
 */


#include "../../ngx_egress_module/ngx_egress_clienthello.h"

#include <stdio.h>
#include <stdlib.h>
#include <openssl/err.h>
#include <openssl/ssl.h>


#define FUZZ_TRAILER  16


typedef struct {
    int                  seen;         /* the callback was called */
    size_t               ext_len;      /* of the SNI extension */
    int                  ext_present;
    int                  alpn_present;
    int                  resolved;     /* the name was read by OpenSSL */
    char                 name[512];
} fuzz_openssl_t;


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static void fuzz_report(void);
static void fuzz_fail(const char *what);
static size_t fuzz_cut(uint32_t *seed, ngx_uint_t way, size_t left);
static ngx_int_t fuzz_feed(ngx_egress_hello_t *h, const u_char *p,
    size_t len, ngx_uint_t way, size_t *used);
static void fuzz_same(ngx_egress_hello_t *a, ngx_int_t arc,
    ngx_egress_hello_t *b, ngx_int_t brc);
static void fuzz_invariants(ngx_egress_hello_t *h, ngx_int_t rc);
static void fuzz_openssl(const u_char *p, size_t len, fuzz_openssl_t *o);
static int fuzz_hello_cb(SSL *ssl, int *al, void *arg);
static int fuzz_name_cb(SSL *ssl, int *al, void *arg);
static void fuzz_compare(ngx_egress_hello_t *h, fuzz_openssl_t *o);


static SSL_CTX        *fuzz_ctx;
static unsigned long   fuzz_accepted;
static unsigned long   fuzz_compared;


static void
fuzz_report(void)
{
    /* a differential test that never compares anything says nothing */

    fprintf(stderr, "accepted by ours: %lu, names compared: %lu\n",
            fuzz_accepted, fuzz_compared);
}


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    fuzz_ctx = SSL_CTX_new(TLS_server_method());

    if (fuzz_ctx == NULL
        || !SSL_CTX_set_min_proto_version(fuzz_ctx, TLS1_VERSION)
        || !SSL_CTX_set_cipher_list(fuzz_ctx, "ALL:@SECLEVEL=0"))
    {
        fuzz_fail("no OpenSSL context");
    }

    SSL_CTX_set_client_hello_cb(fuzz_ctx, fuzz_hello_cb, NULL);
    SSL_CTX_set_tlsext_servername_callback(fuzz_ctx, fuzz_name_cb);

    atexit(fuzz_report);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t              used, n;
    u_char             *copy;
    ngx_int_t           rc, brc;
    ngx_uint_t          way;
    fuzz_openssl_t      o;
    ngx_egress_hello_t  h, b;

    /* byte by byte: says where the hello ends */

    rc = fuzz_feed(&h, data, size, 1, &used);

    fuzz_invariants(&h, rc);

    for (way = 0; way < 5; way++) {
        brc = fuzz_feed(&b, data, size, way, &n);
        fuzz_same(&h, rc, &b, brc);
    }

    /* what follows the hello is not looked at */

    copy = malloc(used + FUZZ_TRAILER);
    if (copy == NULL) {
        return 0;
    }

    memcpy(copy, data, used);
    memset(copy + used, 0xff, FUZZ_TRAILER);

    if (rc == NGX_OK) {
        brc = fuzz_feed(&b, copy, used + FUZZ_TRAILER, 0, &n);
        fuzz_same(&h, rc, &b, brc);

        fuzz_accepted++;

        memset(&o, 0, sizeof(o));
        fuzz_openssl(copy, used, &o);
        fuzz_compare(&h, &o);
    }

    free(copy);

    return 0;
}


static void
fuzz_fail(const char *what)
{
    fprintf(stderr, "fuzz_clienthello: %s\n", what);
    abort();
}


/* 0: all at once, 1: a byte each, others: pieces of random sizes */

static size_t
fuzz_cut(uint32_t *seed, ngx_uint_t way, size_t left)
{
    size_t  n;

    if (way < 2) {
        return way ? 1 : left;
    }

    *seed = *seed * 1103515245 + 12345;
    n = (*seed >> 16) % (way == 2 ? 4 : way == 3 ? 64 : 1024);

    return n > left ? left : n;
}


static ngx_int_t
fuzz_feed(ngx_egress_hello_t *h, const u_char *p, size_t len, ngx_uint_t way,
    size_t *used)
{
    size_t     n, pos;
    u_char    *piece;
    uint32_t   seed;
    ngx_int_t  rc;

    ngx_egress_hello_init(h);

    seed = (uint32_t) (len * 2654435761u + way);
    rc = NGX_AGAIN;

    for (pos = 0; pos < len && rc == NGX_AGAIN; pos += n) {
        n = fuzz_cut(&seed, way, len - pos);

        /* in memory of its own, so that ASan sees a read past the piece */

        piece = malloc(n ? n : 1);
        if (piece == NULL) {
            fuzz_fail("out of memory");
        }

        memcpy(piece, p + pos, n);
        rc = ngx_egress_hello_parse(h, piece, n);
        free(piece);
    }

    *used = pos;

    return rc;
}


static void
fuzz_same(ngx_egress_hello_t *a, ngx_int_t arc, ngx_egress_hello_t *b,
    ngx_int_t brc)
{
    if (arc != brc) {
        fuzz_fail("the verdict depends on the cut");
    }

    if (arc == NGX_ERROR && a->error != b->error) {
        fuzz_fail("the error depends on the cut");
    }

    if (arc != NGX_OK) {
        return;
    }

    if (a->sni_len != b->sni_len || a->alpn_len != b->alpn_len
        || memcmp(a->sni, b->sni, a->sni_len) != 0
        || memcmp(a->alpn, b->alpn, a->alpn_len) != 0
        || a->version != b->version || a->ech != b->ech
        || a->istio != b->istio || a->tls13 != b->tls13
        || a->underscore != b->underscore
        || a->alpn_truncated != b->alpn_truncated)
    {
        fuzz_fail("the results depend on the cut");
    }
}


static void
fuzz_invariants(ngx_egress_hello_t *h, ngx_int_t rc)
{
    size_t  i;

    if ((rc == NGX_ERROR) != (h->error != NULL)) {
        fuzz_fail("an error without text, or text without error");
    }

    if (rc != NGX_OK) {
        return;
    }

    if (h->sni_len > 253 || h->alpn_len > NGX_EGRESS_HELLO_ALPN_MAX
        || h->ech > 2)
    {
        fuzz_fail("a result out of range");
    }

    for (i = 0; i < h->sni_len; i++) {
        if (h->sni[i] == '\0'
            || strchr("abcdefghijklmnopqrstuvwxyz0123456789-._", h->sni[i])
               == NULL)
        {
            fuzz_fail("a byte in the SNI that should not be there");
        }
    }

    for (i = 0; i < h->alpn_len; i++) {
        if (h->alpn[i] <= 0x20 || h->alpn[i] >= 0x7f || h->alpn[i] == '"') {
            fuzz_fail("a byte in the ALPN that should not be there");
        }
    }
}


static void
fuzz_openssl(const u_char *p, size_t len, fuzz_openssl_t *o)
{
    BIO  *in, *out;
    SSL  *ssl;

    ssl = SSL_new(fuzz_ctx);
    in = BIO_new_mem_buf(p, (int) len);
    out = BIO_new(BIO_s_mem());

    if (ssl == NULL || in == NULL || out == NULL) {
        fuzz_fail("out of memory");
    }

    BIO_set_mem_eof_return(in, -1);

    SSL_set_app_data(ssl, o);
    SSL_set_bio(ssl, in, out);
    SSL_set_accept_state(ssl);

    (void) SSL_do_handshake(ssl);

    SSL_free(ssl);
    ERR_clear_error();
}


static int
fuzz_hello_cb(SSL *ssl, int *al, void *arg)
{
    size_t           n;
    const u_char    *p;
    fuzz_openssl_t  *o;

    (void) al;
    (void) arg;

    o = SSL_get_app_data(ssl);

    o->seen = 1;
    o->alpn_present = SSL_client_hello_get0_ext(ssl,
                          TLSEXT_TYPE_application_layer_protocol_negotiation,
                          &p, &n);
    o->ext_present = SSL_client_hello_get0_ext(ssl, TLSEXT_TYPE_server_name,
                                               &p, &n);

    /* list length, type, name length: 5 bytes before the name */

    if (o->ext_present) {
        o->ext_len = n;

        if (n > 5 && n - 5 < sizeof(o->name)) {
            memcpy(o->name, p + 5, n - 5);
        }
    }

    return SSL_CLIENT_HELLO_SUCCESS;
}


static int
fuzz_name_cb(SSL *ssl, int *al, void *arg)
{
    const char      *name;
    fuzz_openssl_t  *o;

    (void) al;
    (void) arg;

    o = SSL_get_app_data(ssl);
    name = SSL_get_servername(ssl, TLSEXT_NAMETYPE_host_name);

    o->resolved = 1;
    o->name[0] = '\0';

    if (name) {
        snprintf(o->name, sizeof(o->name), "%s", name);
    }

    return SSL_TLSEXT_ERR_OK;
}


static void
fuzz_compare(ngx_egress_hello_t *h, fuzz_openssl_t *o)
{
    size_t  i, len;

    if (!o->seen) {
        return;
    }

    /* OpenSSL has taken the message apart, down to the extensions */

    if (o->ext_present != (h->sni_len != 0)
        || o->alpn_present != (h->alpn_len != 0 || h->alpn_truncated)
        || (o->ext_present && o->ext_len != h->sni_len + 5))
    {
        fuzz_fail("OpenSSL sees other extensions");
    }

    len = strlen(o->name);

    for (i = 0; i < len; i++) {
        if (o->name[i] >= 'A' && o->name[i] <= 'Z') {
            o->name[i] |= 0x20;
        }
    }

    if (len != h->sni_len || memcmp(o->name, h->sni, len) != 0) {
        fuzz_fail(o->resolved ? "OpenSSL reads another name"
                              : "OpenSSL has another name in the extension");
    }

    if (o->resolved && len) {
        fuzz_compared++;
    }
}
