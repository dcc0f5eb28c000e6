
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
static ngx_uint_t ngx_egress_match_namespace_of(ngx_str_t *namespace,
    ngx_str_t *principal);
static ngx_uint_t ngx_egress_match_domain_of(ngx_str_t *pattern,
    ngx_str_t *principal);
static ngx_uint_t ngx_egress_match_operator(ngx_str_t *value);
static const char *ngx_egress_match_segments(ngx_str_t *value,
    ngx_uint_t template);
static ngx_uint_t ngx_egress_match_template(ngx_str_t *template,
    ngx_str_t *path);
static u_char *ngx_egress_match_run(u_char *p, u_char *last,
    ngx_uint_t slashes);
static ngx_uint_t ngx_egress_match_bits(ngx_str_t *cidr, ngx_str_t *addr);
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

    if (value->len > 512 || !ngx_egress_match_chars(value, "-._*")) {
        return "no namespace can match it";
    }

    m->kind = NGX_EGRESS_MATCH_NAMESPACE;
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


/* Istio's "*" within a trust domain does not go beyond it */

const char *
ngx_egress_match_domain(ngx_egress_match_t *m, ngx_str_t *value)
{
    size_t  i;

    if (value->len == 0) {
        return "it is empty";
    }

    for (i = 0; i < value->len; i++) {
        if (value->data[i] >= 'A' && value->data[i] <= 'Z') {
            break;
        }
    }

    if (i != value->len || !ngx_egress_match_chars(value, "-._*")) {
        return "no trust domain can match it";
    }

    m->kind = NGX_EGRESS_MATCH_DOMAIN;
    m->value = *value;

    return NULL;
}


/* a flow's host is in lower case and has no trailing dot, in http it has the
 * port that the client wrote */

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

    if (!ngx_egress_match_chars(&m->value, "-._:")
        || (m->kind != NGX_EGRESS_MATCH_PREFIX && m->value.len
            && m->value.data[m->value.len - 1] == '.'))
    {
        return "no host can match it";
    }

    return NULL;
}


/* StringMatcherWithPrefix of Istio: one "*" counts, the others are bytes */

const char *
ngx_egress_match_text(ngx_egress_match_t *m, ngx_str_t *value)
{
    if (value->len == 0) {
        return "it is empty";
    }

    m->value = *value;

    if (value->data[0] == '*') {
        m->kind = (value->len == 1) ? NGX_EGRESS_MATCH_PRESENT
                                    : NGX_EGRESS_MATCH_SUFFIX;
        m->value.data++;
        m->value.len--;

    } else if (value->data[value->len - 1] == '*') {
        m->kind = NGX_EGRESS_MATCH_PREFIX;
        m->value.len--;

    } else {
        m->kind = NGX_EGRESS_MATCH_EXACT;
    }

    return NULL;
}


const char *
ngx_egress_match_path(ngx_egress_match_t *m, ngx_str_t *value)
{
    ngx_uint_t   template;
    const char  *err;

    template = ngx_egress_match_operator(value);

    err = ngx_egress_match_segments(value, template);

    if (err) {
        return err;
    }

    err = ngx_egress_match_text(m, value);

    if (err == NULL && template) {
        m->kind = NGX_EGRESS_MATCH_TEMPLATE;
        m->value = *value;
    }

    return err;
}


/* is {*} or {**} anywhere in it */

static ngx_uint_t
ngx_egress_match_operator(ngx_str_t *value)
{
    u_char  *p, *last;

    last = value->data + value->len;

    for (p = value->data; last - p >= 3; p++) {

        if (p[0] == '{' && p[1] == '*'
            && (p[2] == '}' || (last - p >= 4 && p[2] == '*' && p[3] == '}')))
        {
            return 1;
        }
    }

    return 0;
}


/* CheckValidPathTemplate of Istio, and a template begins with a slash */

static const char *
ngx_egress_match_segments(ngx_str_t *value, ngx_uint_t template)
{
    u_char      *p, *end, *last;
    ngx_str_t    s;
    ngx_uint_t   any;

    if (template && value->data[0] != '/') {
        return "a path template begins with \"/\"";
    }

    p = value->data;
    last = p + value->len;
    any = 0;

    for (p = value->data; p < last; p = end + 1) {

        end = ngx_strlchr(p, last, '/');

        if (end == NULL) {
            end = last;
        }

        s.data = p;
        s.len = end - p;

        if ((s.len == 3 && ngx_strncmp(p, "{*}", 3) == 0)
            || (s.len == 4 && ngx_strncmp(p, "{**}", 4) == 0))
        {
            if (any) {
                return "{**} is not the last operator";
            }

            any = (s.len == 4);
            continue;
        }

        if (ngx_strlchr(p, end, '{') || ngx_strlchr(p, end, '}')) {
            return "it contains \"{\" or \"}\" beyond a supported path "
                   "template";
        }

        if (template && !ngx_egress_match_chars(&s, "-._~%!$&'()+,;:@=")) {
            return "it contains a segment with an invalid string literal";
        }
    }

    return NULL;
}


const char *
ngx_egress_match_port(ngx_egress_match_t *m, ngx_str_t *value)
{
    ngx_int_t  n;

    n = ngx_atoi(value->data, value->len);

    if (n < 1 || n > 65535) {
        return "it has to be a port";
    }

    m->kind = NGX_EGRESS_MATCH_PORT;
    m->port = n;

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

    case NGX_EGRESS_MATCH_NAMESPACE:
        return ngx_egress_match_namespace_of(value, s);

    case NGX_EGRESS_MATCH_ACCOUNT:
        return ngx_egress_match_account_of(value, s);

    case NGX_EGRESS_MATCH_DOMAIN:
        return ngx_egress_match_domain_of(value, s);

    case NGX_EGRESS_MATCH_TEMPLATE:
        return ngx_egress_match_template(value, s);

    case NGX_EGRESS_MATCH_CIDR:
        return ngx_egress_match_bits(value, s);

    default: /* NGX_EGRESS_MATCH_PORT */
        return 0;
    }
}


/*
 * CVE-2026-26308: "x: admin" twice is "admin,admin" for Envoy, and a deny rule
 * for "admin" does not see it.  What has to match in order to let pass, has to
 * be the whole of the header; what refuses if it matches, may be one of its
 * values.
 */

ngx_uint_t
ngx_egress_match_header(ngx_egress_match_t *m, ngx_uint_t n,
    ngx_egress_header_t *header, ngx_uint_t helps)
{
    u_char      *p, *end, *last;
    ngx_str_t    s;
    ngx_uint_t   i;

    for (i = 0; i < n; i++) {

        if (m[i].kind == NGX_EGRESS_MATCH_PRESENT
            || ngx_egress_match(&m[i], &header->joined))
        {
            return 1;
        }
    }

    if (helps) {
        return 0;
    }

    p = header->joined.data;
    last = p + header->joined.len;

    for ( ;; ) {

        end = ngx_strlchr(p, last, ',');

        s.data = p;
        s.len = (end ? end : last) - p;

        while (s.len && (s.data[0] == ' ' || s.data[0] == '\t')) {
            s.data++;
            s.len--;
        }

        while (s.len && (s.data[s.len - 1] == ' '
                         || s.data[s.len - 1] == '\t'))
        {
            s.len--;
        }

        for (i = 0; i < n; i++) {
            if (ngx_egress_match(&m[i], &s)) {
                return 1;
            }
        }

        if (end == NULL) {
            return 0;
        }

        p = end + 1;
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
 * Istio's expression for a namespace is ".*" "/ns/" value "/.*" over the
 * whole ID, where each "*" of the value is ".*": also an ID of another trust
 * domain, and one with more segments, is in the namespace that it names.
 */

static ngx_uint_t
ngx_egress_match_namespace_of(ngx_str_t *namespace, ngx_str_t *principal)
{
    u_char     *p, *last;
    ngx_str_t   s, pattern;
    u_char      text[sizeof("/ns/") + sizeof("/*") + 512];

    /* ngx_egress_match_namespace() has looked at its length */

    p = ngx_cpymem(text, namespace->data, namespace->len);
    *p++ = '/';
    *p++ = '*';

    pattern.data = text;
    pattern.len = p - text;

    last = principal->data + principal->len;

    for (p = principal->data; p < last; p++) {

        if (last - p < 4 || ngx_memcmp(p, "/ns/", 4) != 0) {
            continue;
        }

        s.data = p + 4;
        s.len = last - s.data;

        if (ngx_egress_match_glob(&pattern, &s)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
ngx_egress_match_domain_of(ngx_str_t *pattern, ngx_str_t *principal)
{
    u_char     *p, *last;
    ngx_str_t   domain;

    last = principal->data + principal->len;
    p = ngx_strlchr(principal->data, last, '/');

    domain.data = principal->data;
    domain.len = (p ? p : last) - principal->data;

    return ngx_egress_match_glob(pattern, &domain);
}


/*
 * {*} is one segment that is not empty, {**} as many as there are or none;
 * both of the bytes that Envoy's uri_template has.  What follows the only
 * {**} is text.
 */

static ngx_uint_t
ngx_egress_match_template(ngx_str_t *template, ngx_str_t *path)
{
    u_char  *p, *last, *t, *tlast, *end;
    size_t   rest;

    t = template->data;
    tlast = t + template->len;
    p = path->data;
    last = p + path->len;

    while (t < tlast) {

        if (tlast - t >= 4 && ngx_memcmp(t, "{**}", 4) == 0) {

            t += 4;
            rest = tlast - t;

            return (size_t) (last - p) >= rest
                   && ngx_memcmp(last - rest, t, rest) == 0
                   && ngx_egress_match_run(p, last - rest, 1) == last - rest;
        }

        if (tlast - t >= 3 && ngx_memcmp(t, "{*}", 3) == 0) {

            end = ngx_egress_match_run(p, last, 0);

            if (end == p) {
                return 0;
            }

            p = end;
            t += 3;
            continue;
        }

        if (p == last || *p != *t) {
            return 0;
        }

        p++;
        t++;
    }

    return p == last;
}


/* the end of the bytes that an operator of a template may stand for */

static u_char *
ngx_egress_match_run(u_char *p, u_char *last, ngx_uint_t slashes)
{
    for ( /* void */ ; p < last; p++) {

        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
            || (*p >= '0' && *p <= '9') || (slashes && *p == '/')
            || (*p && ngx_strchr("-._~%!$&'()*+,;:@=", *p)))
        {
            continue;
        }

        break;
    }

    return p;
}


static ngx_uint_t
ngx_egress_match_bits(ngx_str_t *cidr, ngx_str_t *addr)
{
    u_char      mask;
    size_t      bytes;
    ngx_uint_t  bits;

    if (addr->len == 0 || addr->len != cidr->len - 1) {
        return 0;
    }

    bits = cidr->data[0];
    bytes = bits / 8;

    if (ngx_memcmp(cidr->data + 1, addr->data, bytes) != 0) {
        return 0;
    }

    if (bits % 8 == 0) {
        return 1;
    }

    mask = (u_char) (0xff << (8 - bits % 8));

    return (cidr->data[1 + bytes] & mask) == (addr->data[bytes] & mask);
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
