
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <openssl/x509v3.h>
#include <ngx_egress_core.h>
#include <ngx_egress_tls.h>


/* what is verified when there is no "tls_san" */

typedef struct {
    ngx_egress_san_t          san;
    u_char                    addr[16];
} ngx_egress_name_san_t;


static const char *ngx_egress_verify_names(ngx_egress_flow_t *flow,
    X509 *cert);
static ngx_int_t ngx_egress_name_san(ngx_egress_flow_t *flow,
    ngx_egress_name_san_t *name);
static ngx_uint_t ngx_egress_verify_honest(GENERAL_NAME *name);
static ngx_uint_t ngx_egress_verify_any(GENERAL_NAME *name,
    ngx_egress_san_t *san, ngx_uint_t n);
static ngx_uint_t ngx_egress_verify_dns(ngx_str_t *pattern, ngx_str_t *name);
static void ngx_egress_verify_failed(ngx_egress_flow_t *flow,
    X509_STORE_CTX *store, const char *error);
static size_t ngx_egress_san_address(ngx_str_t *value, u_char *addr);
static ngx_uint_t ngx_egress_san_uri(ngx_str_t *value);


static int  ngx_egress_flow_index = -1;
static int  ngx_egress_verified_index = -1;


ngx_int_t
ngx_egress_tls_verify_init(ngx_log_t *log)
{
    if (ngx_egress_verified_index != -1) {
        return NGX_OK;
    }

    ngx_egress_flow_index = SSL_get_ex_new_index(0, NULL, NULL, NULL, NULL);

    if (ngx_egress_flow_index == -1) {
        ngx_ssl_error(NGX_LOG_ALERT, log, 0, "SSL_get_ex_new_index() failed");
        return NGX_ERROR;
    }

    ngx_egress_verified_index = SSL_SESSION_get_ex_new_index(0, NULL, NULL,
                                                             NULL, NULL);
    if (ngx_egress_verified_index == -1) {
        ngx_ssl_error(NGX_LOG_ALERT, log, 0,
                      "SSL_SESSION_get_ex_new_index() failed");
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* OpenSSL copies the time from session to session */

time_t
ngx_egress_tls_verified(ngx_ssl_session_t *session)
{
    return (time_t) (uintptr_t) SSL_SESSION_get_ex_data(session,
                                                 ngx_egress_verified_index);
}


ngx_int_t
ngx_egress_tls_set_flow(ngx_ssl_conn_t *ssl, ngx_egress_flow_t *flow)
{
    return SSL_set_ex_data(ssl, ngx_egress_flow_index, flow) == 1
           ? NGX_OK : NGX_ERROR;
}


/* in the handshake the flow is alive; once it is over, there is none */

int
ngx_egress_tls_verify(X509_STORE_CTX *store, void *arg)
{
    const char         *error;
    ngx_ssl_conn_t     *ssl;
    ngx_egress_flow_t  *flow;

    ssl = X509_STORE_CTX_get_ex_data(store,
                                     SSL_get_ex_data_X509_STORE_CTX_idx());
    flow = SSL_get_ex_data(ssl, ngx_egress_flow_index);

    if (flow == NULL) {
        return 0;
    }

    if (X509_verify_cert(store) <= 0) {
        error = X509_verify_cert_error_string(
                                           X509_STORE_CTX_get_error(store));
        ngx_egress_verify_failed(flow, store, error);
        return 0;
    }

    error = ngx_egress_verify_names(flow, X509_STORE_CTX_get0_cert(store));

    if (error) {
        X509_STORE_CTX_set_error_depth(store, 0);
        X509_STORE_CTX_set_error(store, X509_V_ERR_HOSTNAME_MISMATCH);
        ngx_egress_verify_failed(flow, store, error);
        return 0;
    }

    return SSL_SESSION_set_ex_data(SSL_get_session(ssl),
                                   ngx_egress_verified_index,
                                   (void *) (uintptr_t) ngx_time());
}


static void
ngx_egress_verify_failed(ngx_egress_flow_t *flow, X509_STORE_CTX *store,
    const char *error)
{
    flow->tls_error = error;

    ngx_log_error(NGX_LOG_ERR, flow->log, 0,
                  "certificate of egress service \"%V\" at %V is refused: "
                  "%s (depth %d)", &flow->service->name, &flow->peer->name,
                  error, X509_STORE_CTX_get_error_depth(store));
}


/* returns what is wrong, or NULL */

static const char *
ngx_egress_verify_names(ngx_egress_flow_t *flow, X509 *cert)
{
    int                     i, found;
    const char             *error;
    ngx_uint_t              n;
    GENERAL_NAME           *name;
    GENERAL_NAMES          *names;
    ngx_egress_san_t       *san;
    ngx_egress_tls_t       *tls;
    ngx_egress_name_san_t   host;

    tls = flow->service->conf->tls;

    if (tls->san) {
        san = tls->san->elts;
        n = tls->san->nelts;

    } else if (ngx_egress_name_san(flow, &host) == NGX_OK) {
        san = &host.san;
        n = 1;

    } else {
        return "no name to verify";
    }

    names = X509_get_ext_d2i(cert, NID_subject_alt_name, &found, NULL);

    if (names == NULL) {
        return found == -1 ? "no name in the certificate"
                           : "invalid names in the certificate";
    }

    error = "other name in the certificate";

    for (i = 0; i < sk_GENERAL_NAME_num(names); i++) {

        name = sk_GENERAL_NAME_value(names, i);

        if (!ngx_egress_verify_honest(name)) {
            error = "NUL in a name of the certificate";
            break;
        }

        if (ngx_egress_verify_any(name, san, n)) {
            error = NULL;
        }
    }

    GENERAL_NAMES_free(names);

    return error;
}


static ngx_int_t
ngx_egress_name_san(ngx_egress_flow_t *flow, ngx_egress_name_san_t *name)
{
    ngx_str_t  *value;

    value = ngx_egress_tls_server_name(flow);

    if (value == NULL || value->len == 0) {
        return NGX_DECLINED;
    }

    name->san.type = NGX_EGRESS_SAN_IP;
    name->san.value.data = name->addr;
    name->san.value.len = ngx_egress_san_address(value, name->addr);

    if (name->san.value.len == 0) {
        name->san.type = NGX_EGRESS_SAN_DNS;
        name->san.value = *value;
    }

    return NGX_OK;
}


/* a CA that overlooked a NUL may have read another name than we would */

static ngx_uint_t
ngx_egress_verify_honest(GENERAL_NAME *name)
{
    ASN1_TYPE    *type;
    ASN1_STRING  *value;

    switch (name->type) {

    case GEN_DNS:
    case GEN_URI:
    case GEN_EMAIL:
        value = name->d.ia5;
        break;

    case GEN_OTHERNAME:
        type = name->d.otherName->value;

        if (type->type != V_ASN1_UTF8STRING && type->type != V_ASN1_IA5STRING
            && type->type != V_ASN1_PRINTABLESTRING)
        {
            return 1;
        }

        value = type->value.asn1_string;
        break;

    default:
        return 1;
    }

    return memchr(ASN1_STRING_get0_data(value), '\0',
                  ASN1_STRING_length(value))
           == NULL;
}


/* a name is only ever compared with names of its own kind (RFC 9525, 6) */

static ngx_uint_t
ngx_egress_verify_any(GENERAL_NAME *name, ngx_egress_san_t *san,
    ngx_uint_t n)
{
    ngx_str_t     value;
    ngx_uint_t    i, type;
    ASN1_STRING  *s;

    switch (name->type) {

    case GEN_DNS:
        type = NGX_EGRESS_SAN_DNS;
        s = name->d.dNSName;
        break;

    case GEN_URI:
        type = NGX_EGRESS_SAN_URI;
        s = name->d.uniformResourceIdentifier;
        break;

    case GEN_IPADD:
        type = NGX_EGRESS_SAN_IP;
        s = name->d.iPAddress;
        break;

    default:
        return 0;
    }

    value.data = (u_char *) ASN1_STRING_get0_data(s);
    value.len = ASN1_STRING_length(s);

    for (i = 0; i < n; i++) {

        if (san[i].type != type) {
            continue;
        }

        if (type == NGX_EGRESS_SAN_DNS) {

            if (ngx_egress_verify_dns(&value, &san[i].value)) {
                return 1;
            }

        } else if (value.len == san[i].value.len
                   && ngx_memcmp(value.data, san[i].value.data, value.len)
                      == 0)
        {
            return 1;
        }
    }

    return 0;
}


/*
 * RFC 9525, 6.3: "*" is a whole label, the leftmost one, and stands for
 * exactly one.  What follows it has to be two labels at least.
 */

static ngx_uint_t
ngx_egress_verify_dns(ngx_str_t *pattern, ngx_str_t *name)
{
    u_char  *dot;
    size_t   len;

    if (pattern->len < 3 || pattern->data[0] != '*' || pattern->data[1] != '.')
    {
        return pattern->len == name->len
               && ngx_strncasecmp(pattern->data, name->data, name->len) == 0;
    }

    dot = ngx_strlchr(name->data, name->data + name->len, '.');

    if (dot == NULL || dot == name->data) {
        return 0;
    }

    len = name->data + name->len - dot;

    return pattern->len - 1 == len
           && ngx_strlchr(dot + 1, dot + len, '.') != NULL
           && ngx_strncasecmp(pattern->data + 1, dot, len) == 0;
}


ngx_int_t
ngx_egress_san_parse(ngx_pool_t *pool, ngx_str_t *value,
    ngx_egress_san_t *san)
{
    size_t  len;
    u_char  addr[16];

    len = ngx_egress_san_address(value, addr);

    if (len) {
        san->type = NGX_EGRESS_SAN_IP;
        san->value.len = len;
        san->value.data = ngx_pnalloc(pool, len);

        if (san->value.data == NULL) {
            return NGX_ERROR;
        }

        ngx_memcpy(san->value.data, addr, len);

        return NGX_OK;
    }

    san->value = *value;

    if (ngx_egress_san_uri(value)) {
        san->type = NGX_EGRESS_SAN_URI;
        return NGX_OK;
    }

    san->type = NGX_EGRESS_SAN_DNS;

    ngx_strlow(value->data, value->data, value->len);

    return ngx_egress_valid_host(value, 0) ? NGX_OK : NGX_DECLINED;
}


/* the address in network order, or 0: it is none */

static size_t
ngx_egress_san_address(ngx_str_t *value, u_char *addr)
{
    in_addr_t  addr4;

    addr4 = ngx_inet_addr(value->data, value->len);

    if (addr4 != INADDR_NONE) {
        ngx_memcpy(addr, &addr4, 4);
        return 4;
    }

#if (NGX_HAVE_INET6)
    if (ngx_inet6_addr(value->data, value->len, addr) == NGX_OK) {
        return 16;
    }
#endif

    return 0;
}


/* RFC 3986, 3.1: a scheme, ":", and printable ASCII */

static ngx_uint_t
ngx_egress_san_uri(ngx_str_t *value)
{
    size_t  i, colon;

    for (colon = 0; colon < value->len; colon++) {

        if (value->data[colon] == ':') {
            break;
        }

        if (!isalnum(value->data[colon])
            && (colon == 0 || ngx_strchr("+-.", value->data[colon]) == NULL))
        {
            return 0;
        }
    }

    if (colon == 0 || colon + 1 >= value->len || !isalpha(value->data[0])) {
        return 0;
    }

    for (i = colon; i < value->len; i++) {
        if (value->data[i] <= 0x20 || value->data[i] >= 0x7f) {
            return 0;
        }
    }

    return 1;
}
