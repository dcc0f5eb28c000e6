
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Fuzzes ngx_egress_spiffe_parse() against a second, slower reading of the
 * standard that shares no code with it.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);


static ngx_uint_t reference(const char *text, size_t len);
static ngx_uint_t inside(ngx_str_t *s, ngx_str_t *uri);


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char                   *copy;
    ngx_int_t               rc;
    ngx_str_t               uri;
    ngx_egress_identity_t   id;

    copy = malloc(size + 1);
    if (copy == NULL) {
        return 0;
    }

    memcpy(copy, data, size);
    copy[size] = '\0';

    uri.data = (u_char *) data;
    uri.len = size;

    rc = ngx_egress_spiffe_parse(&uri, &id);

    if ((rc == NGX_OK) != reference(copy, size)) {
        abort();
    }

    if (rc == NGX_OK
        && (id.error.len != 0
            || id.principal.len + 9 != size
            || !inside(&id.principal, &uri)
            || !inside(&id.trust_domain, &uri)
            || !inside(&id.namespace, &uri)
            || !inside(&id.service_account, &uri)
            || (id.namespace.len == 0) != (id.service_account.len == 0)))
    {
        abort();
    }

    if (rc != NGX_OK && (id.error.len == 0 || id.principal.len != 0)) {
        abort();
    }

    free(copy);

    return 0;
}


static ngx_uint_t
reference(const char *text, size_t len)
{
    size_t  domain;

    static const char  *domain_chars = "abcdefghijklmnopqrstuvwxyz0123456789"
                                       "-._";
    static const char  *path_chars = "abcdefghijklmnopqrstuvwxyz"
                                     "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                     "-._/";

    if (len > 2048 || strlen(text) != len
        || strncmp(text, "spiffe://", 9) != 0)
    {
        return 0;
    }

    text += 9;
    domain = strspn(text, domain_chars);

    if (domain == 0 || domain > 255) {
        return 0;
    }

    text += domain;

    if (*text == '\0') {
        return 1;
    }

    if (*text != '/' || text[strspn(text, path_chars)] != '\0') {
        return 0;
    }

    len = strlen(text);

    return strstr(text, "//") == NULL
           && strstr(text, "/./") == NULL
           && strstr(text, "/../") == NULL
           && text[len - 1] != '/'
           && strcmp(text + len - 2, "/.") != 0
           && (len < 3 || strcmp(text + len - 3, "/..") != 0);
}


static ngx_uint_t
inside(ngx_str_t *s, ngx_str_t *uri)
{
    return s->len == 0
           || (s->data >= uri->data
               && s->data + s->len <= uri->data + uri->len);
}
