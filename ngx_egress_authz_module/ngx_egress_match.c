
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


static const char *ngx_egress_match_kind(ngx_egress_match_t *m,
    ngx_str_t *value);
static ngx_uint_t ngx_egress_match_chars(ngx_str_t *s, const char *others);
static ngx_uint_t ngx_egress_match_glob(ngx_str_t *pattern, ngx_str_t *s);
static ngx_uint_t ngx_egress_match_account_of(ngx_str_t *account,
    ngx_str_t *principal);
static u_char *ngx_egress_match_pair(u_char *p, u_char *last,
    const char *key, ngx_str_t *value);
static u_char *ngx_egress_match_segment(u_char *p, u_char *last,
    ngx_str_t *text);


const char *
ngx_egress_match_principal(ngx_egress_match_t *m, ngx_str_t *value)
{
    u_char                  id[2048];
    ngx_str_t               uri;
    const char             *err;
    ngx_egress_identity_t   identity;

    if (value->len >= 9 && ngx_strncmp(value->data, "spiffe://", 9) == 0) {
        return "a principal is written without \"spiffe://\"";
    }

    err = ngx_egress_match_kind(m, value);
    if (err) {
        return err;
    }

    if (!ngx_egress_match_chars(&m->value, "-._/")
        || m->value.len > sizeof(id) - 9)
    {
        return "no SPIFFE ID can match it";
    }

    if (m->kind != NGX_EGRESS_MATCH_EXACT) {
        return NULL;
    }

    uri.data = id;
    uri.len = ngx_cpymem(ngx_cpymem(id, "spiffe://", 9), m->value.data,
                         m->value.len)
              - id;

    if (ngx_egress_spiffe_parse(&uri, &identity) != NGX_OK
        || identity.principal.len == identity.trust_domain.len)
    {
        return "no SPIFFE ID can match it";
    }

    return NULL;
}


const char *
ngx_egress_match_namespace(ngx_egress_match_t *m, ngx_str_t *value)
{
    if (value->len == 0) {
        return "it is empty";
    }

    if (!ngx_egress_match_chars(value, "-._*")) {
        return "no namespace can match it";
    }

    m->kind = NGX_EGRESS_MATCH_GLOB;
    m->value = *value;

    return NULL;
}


const char *
ngx_egress_match_account(ngx_egress_match_t *m, ngx_str_t *value)
{
    u_char  *p, *last;

    last = value->data + value->len;
    p = ngx_strlchr(value->data, last, '/');

    if (p == NULL || p == value->data || p + 1 == last
        || ngx_strlchr(p + 1, last, '/') != NULL)
    {
        return "it has to be \"namespace/name\"";
    }

    if (!ngx_egress_match_chars(value, "-._/")) {
        return "no service account can match it";
    }

    m->kind = NGX_EGRESS_MATCH_ACCOUNT;
    m->value = *value;

    return NULL;
}


/* a flow's host is in lower case, and has neither port nor trailing dot */

const char *
ngx_egress_match_host(ngx_egress_match_t *m, ngx_str_t *value)
{
    const char  *err;

    err = ngx_egress_match_kind(m, value);
    if (err) {
        return err;
    }

    ngx_strlow(m->value.data, m->value.data, m->value.len);

    /* an IPv6 address is the only one that has colons */

    if (m->value.len && m->value.data[0] == '[') {

        if (!ngx_egress_match_chars(&m->value, ":.[]")) {
            return "no host can match it";
        }

        return NULL;
    }

    if (ngx_strlchr(m->value.data, m->value.data + m->value.len, ':')) {
        return "a host is written without port";
    }

    if (!ngx_egress_match_chars(&m->value, "-._")
        || (m->kind != NGX_EGRESS_MATCH_PREFIX && m->value.len
            && m->value.data[m->value.len - 1] == '.'))
    {
        return "no host can match it";
    }

    return NULL;
}


ngx_uint_t
ngx_egress_match(ngx_egress_match_t *m, ngx_str_t *s)
{
    size_t      len;
    ngx_str_t  *value;

    value = &m->value;
    len = value->len;

    switch (m->kind) {

    case NGX_EGRESS_MATCH_EXACT:
        return s->len == len && ngx_memcmp(s->data, value->data, len) == 0;

    case NGX_EGRESS_MATCH_PREFIX:
        return s->len >= len && ngx_memcmp(s->data, value->data, len) == 0;

    case NGX_EGRESS_MATCH_SUFFIX:
        return s->len >= len
               && ngx_memcmp(s->data + s->len - len, value->data, len) == 0;

    case NGX_EGRESS_MATCH_PRESENT:
        return s->len != 0;

    case NGX_EGRESS_MATCH_GLOB:
        return ngx_egress_match_glob(value, s);

    default: /* NGX_EGRESS_MATCH_ACCOUNT */
        return ngx_egress_match_account_of(value, s);
    }
}


static const char *
ngx_egress_match_kind(ngx_egress_match_t *m, ngx_str_t *value)
{
    if (value->len == 0) {
        return "it is empty";
    }

    m->value = *value;

    if (value->len == 1 && value->data[0] == '*') {
        m->kind = NGX_EGRESS_MATCH_PRESENT;
        m->value.len = 0;

    } else if (value->data[0] == '*') {
        m->kind = NGX_EGRESS_MATCH_SUFFIX;
        m->value.data++;
        m->value.len--;

    } else if (value->data[value->len - 1] == '*') {
        m->kind = NGX_EGRESS_MATCH_PREFIX;
        m->value.len--;

    } else {
        m->kind = NGX_EGRESS_MATCH_EXACT;
    }

    if (ngx_strlchr(m->value.data, m->value.data + m->value.len, '*')) {
        return "\"*\" has to be either its first or its last byte";
    }

    return NULL;
}


/* letters, digits and the others named */

static ngx_uint_t
ngx_egress_match_chars(ngx_str_t *s, const char *others)
{
    u_char   ch;
    size_t   i;

    for (i = 0; i < s->len; i++) {
        ch = s->data[i];

        if ((ch >= 'a' && ch <= 'z') || (ch >= 'A' && ch <= 'Z')
            || (ch >= '0' && ch <= '9'))
        {
            continue;
        }

        if (ch == '\0' || ngx_strchr(others, ch) == NULL) {
            return 0;
        }
    }

    return 1;
}


/* "*" takes as little as it can and one byte more each time the rest fails */

static ngx_uint_t
ngx_egress_match_glob(ngx_str_t *pattern, ngx_str_t *s)
{
    u_char  *p, *plast, *c, *last, *star, *retry;

    p = pattern->data;
    plast = p + pattern->len;
    c = s->data;
    last = c + s->len;
    star = NULL;
    retry = NULL;

    while (c < last) {

        if (p < plast && *p == '*') {
            star = ++p;
            retry = c;
            continue;
        }

        if (p < plast && *p == *c) {
            p++;
            c++;
            continue;
        }

        if (star == NULL) {
            return 0;
        }

        p = star;
        c = ++retry;
    }

    while (p < plast && *p == '*') {
        p++;
    }

    return p == plast;
}


/*
 * Istio's expression is "spiffe://.+/ns/NS/(.+/|)sa/SA(/.+)?": the two pairs
 * of segments, one after the other, anywhere behind the trust domain.
 */

static ngx_uint_t
ngx_egress_match_account_of(ngx_str_t *account, ngx_str_t *principal)
{
    u_char     *p, *last;
    ngx_str_t   namespace, name;

    last = account->data + account->len;
    p = ngx_strlchr(account->data, last, '/');

    namespace.data = account->data;
    namespace.len = p - account->data;
    name.data = p + 1;
    name.len = last - name.data;

    last = principal->data + principal->len;

    /* the first pair leaves the most for the second one */

    p = ngx_egress_match_pair(principal->data, last, "ns", &namespace);

    return p && ngx_egress_match_pair(p, last, "sa", &name);
}


/* returns the end of the first "/key/value" of whole segments, or NULL */

static u_char *
ngx_egress_match_pair(u_char *p, u_char *last, const char *key,
    ngx_str_t *value)
{
    u_char     *end;
    ngx_str_t   s;

    s.data = (u_char *) key;
    s.len = ngx_strlen(key);

    for (p = ngx_strlchr(p, last, '/'); p; p = ngx_strlchr(p + 1, last, '/')) {

        end = ngx_egress_match_segment(p, last, &s);

        if (end) {
            end = ngx_egress_match_segment(end, last, value);
        }

        if (end) {
            return end;
        }
    }

    return NULL;
}


/* p is at a "/" or at last; returns the end of the segment, or NULL */

static u_char *
ngx_egress_match_segment(u_char *p, u_char *last, ngx_str_t *text)
{
    u_char  *end;

    if (p == last) {
        return NULL;
    }

    p++;
    end = ngx_strlchr(p, last, '/');

    if (end == NULL) {
        end = last;
    }

    if ((size_t) (end - p) != text->len
        || ngx_memcmp(p, text->data, text->len) != 0)
    {
        return NULL;
    }

    return end;
}
