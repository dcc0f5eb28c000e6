
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Unit tests of SPIFFE IDs and of the matches of policies; prints TAP.
 * Linked with ngx_egress_spiffe.c, ngx_egress_match.c, ngx_string.c's few
 * functions are below.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


static ngx_uint_t  tests;
static ngx_uint_t  failed;


static void ok(ngx_uint_t passed, const char *name);
static ngx_uint_t parses(const char *text, size_t len);
static void test_ids(void);
static void test_fields(void);
static void test_bytes(void);
static void test_lengths(void);
static void test_matches(void);
static ngx_uint_t in_namespace(const char *value, const char *text);
static ngx_uint_t matches(const char *(*make)(ngx_egress_match_t *m,
    ngx_str_t *value), const char *pattern, const char *text);
static ngx_uint_t refused(const char *(*make)(ngx_egress_match_t *m,
    ngx_str_t *value), const char *pattern);


int
main(void)
{
    test_ids();
    test_fields();
    test_bytes();
    test_lengths();
    test_matches();

    printf("1..%lu\n", (unsigned long) tests);

    return failed != 0;
}


/* of nginx's own, so that the driver needs no object of nginx */

void
ngx_strlow(u_char *dst, u_char *src, size_t n)
{
    while (n--) {
        *dst++ = ngx_tolower(*src);
        src++;
    }
}


static void
ok(ngx_uint_t passed, const char *name)
{
    tests++;

    if (!passed) {
        failed++;
    }

    printf("%sok %lu - %s\n", passed ? "" : "not ", (unsigned long) tests,
           name);
}


static ngx_uint_t
parses(const char *text, size_t len)
{
    u_char                 *copy;
    ngx_int_t               rc;
    ngx_str_t               uri;
    ngx_egress_identity_t   id;

    /* a block of its own: a read behind the end is seen by ASan */

    copy = malloc(len ? len : 1);
    memcpy(copy, text, len);

    uri.data = copy;
    uri.len = len;

    rc = ngx_egress_spiffe_parse(&uri, &id);

    if ((rc == NGX_OK) != (id.error.len == 0)
        || (rc != NGX_OK && id.principal.len != 0))
    {
        printf("# result and identity disagree: %.*s\n", (int) len, text);
        failed++;
    }

    free(copy);

    return rc == NGX_OK;
}


static void
test_ids(void)
{
    size_t  i;

    static const char  *valid[] = {
        "spiffe://td",
        "spiffe://td/a",
        "spiffe://cluster.local/ns/default/sa/frontend",
        "spiffe://td-1.x_y/A.b-c_D/...",
        "spiffe://td/.a/a./..a/a..b",
        "spiffe://10.0.0.1/a"
    };

    static const char  *invalid[] = {
        "",
        "spiffe:",
        "spiffe:/td/a",
        "spiffe://",
        "spiffe:///a",
        "Spiffe://td/a",
        "SPIFFE://td/a",
        "http://td/a",
        "https://spiffe://td/a",
        " spiffe://td/a",
        "spiffe://td/a ",
        "spiffe://td/",
        "spiffe://td//a",
        "spiffe://td/a//b",
        "spiffe://td/a/",
        "spiffe://td/.",
        "spiffe://td/..",
        "spiffe://td/./a",
        "spiffe://td/a/../b",
        "spiffe://td/a/..",
        "spiffe://td/a?",
        "spiffe://td/a?b=c",
        "spiffe://td/a#",
        "spiffe://td?a",
        "spiffe://td#a",
        "spiffe://td:443/a",
        "spiffe://user@td/a",
        "spiffe://user:pass@td/a",
        "spiffe://TD/a",
        "spiffe://td/%61",
        "spiffe://t%64/a",
        "spiffe://[::1]/a",
        "spiffe://t\303\244/a",
        "spiffe://td/\303\244",
        "spiffe://td/a*",
        "spiffe://td/a\\b",
        "spiffe://td\\a",
        "spiffe://td/a\n",
        "spiffe://*/a"
    };

    for (i = 0; i < sizeof(valid) / sizeof(valid[0]); i++) {
        ok(parses(valid[i], strlen(valid[i])), valid[i]);
    }

    for (i = 0; i < sizeof(invalid) / sizeof(invalid[0]); i++) {
        if (parses(invalid[i], strlen(invalid[i]))) {
            printf("# accepted: \"%s\"\n", invalid[i]);
            ok(0, "invalid ID");
        }
    }

    ok(1, "invalid IDs");

    ok(!parses("spiffe://td/a\0b", 15), "nul");
    ok(!parses("spiffe://td/a\0", 14), "trailing nul");
    ok(!parses("spiffe://td\0.evil/a", 19), "nul in trust domain");
}


static void
test_fields(void)
{
    size_t                  i, n;
    ngx_str_t               uri;
    ngx_uint_t              good;
    ngx_egress_identity_t   id;

    static const char  *other[] = {
        "spiffe://td/ns/a/sa",
        "spiffe://td/ns/a/sa/b/c",
        "spiffe://td/NS/a/sa/b",
        "spiffe://td/ns/a/sb/b",
        "spiffe://td/x/ns/a/sa/b",
        "spiffe://td/nsx/a/sa/b"
    };

    ngx_str_set(&uri, "spiffe://cluster.local/ns/default/sa/frontend");
    ngx_egress_spiffe_parse(&uri, &id);

    ok(id.principal.len == uri.len - 9
       && id.principal.data == uri.data + 9, "principal");
    ok(id.trust_domain.len == 13
       && memcmp(id.trust_domain.data, "cluster.local", 13) == 0,
       "trust domain");
    ok(id.namespace.len == 7 && memcmp(id.namespace.data, "default", 7) == 0,
       "namespace");
    ok(id.service_account.len == 8
       && memcmp(id.service_account.data, "frontend", 8) == 0,
       "service account");

    good = 1;
    n = sizeof(other) / sizeof(other[0]);

    for (i = 0; i < n; i++) {
        uri.data = (u_char *) other[i];
        uri.len = strlen(other[i]);

        if (ngx_egress_spiffe_parse(&uri, &id) != NGX_OK
            || id.namespace.len || id.service_account.len)
        {
            printf("# %s\n", other[i]);
            good = 0;
        }
    }

    ok(good, "no namespace in IDs of another form");
}


/* each of the 256 bytes at the start, in the middle and at the end */

static void
test_bytes(void)
{
    int          ch;
    char         text[64];
    size_t       len;
    ngx_uint_t   domain, path, i, good_domain, good_path;

    static const char  *domains[] = {
        "spiffe://%ctd/a", "spiffe://t%cd/a", "spiffe://td%c/a"
    };

    static const char  *paths[] = {
        "spiffe://td/%ca", "spiffe://td/a%cb", "spiffe://td/a%c",
        "spiffe://td/x/%cy/z"
    };

    good_domain = 1;
    good_path = 1;

    for (ch = 0; ch < 256; ch++) {

        domain = (ch >= 'a' && ch <= 'z') || (ch >= '0' && ch <= '9')
                 || ch == '-' || ch == '.' || ch == '_';
        path = domain || (ch >= 'A' && ch <= 'Z');

        for (i = 0; i < 3; i++) {
            len = sprintf(text, domains[i], ch);

            /* "t/d" is a trust domain with a path */

            if (parses(text, len) != (domain || (ch == '/' && i == 1))) {
                printf("# trust domain, byte %d, at %lu\n", ch, i);
                good_domain = 0;
            }
        }

        for (i = 0; i < 4; i++) {
            len = sprintf(text, paths[i], ch);

            if (parses(text, len) != (path || (ch == '/' && i == 1))) {
                printf("# path, byte %d, at %lu\n", ch, i);
                good_path = 0;
            }
        }
    }

    ok(good_domain, "trust domain, bytes 0..255");
    ok(good_path, "path, bytes 0..255");
}


static void
test_lengths(void)
{
    char  text[4096];

    memset(text, 'a', sizeof(text));
    memcpy(text, "spiffe://", 9);

    ok(parses(text, 9 + 255), "trust domain of 255 bytes");
    ok(!parses(text, 9 + 256), "trust domain of 256 bytes");

    text[11] = '/';

    ok(parses(text, 2048), "2048 bytes");
    ok(!parses(text, 2049), "2049 bytes");
}


static void
test_matches(void)
{
    const char  *(*p)(ngx_egress_match_t *, ngx_str_t *);
    const char  *(*n)(ngx_egress_match_t *, ngx_str_t *);
    const char  *(*a)(ngx_egress_match_t *, ngx_str_t *);
    const char  *(*h)(ngx_egress_match_t *, ngx_str_t *);

    p = ngx_egress_match_principal;
    n = ngx_egress_match_namespace;
    a = ngx_egress_match_account;
    h = ngx_egress_match_host;

    /* T-CRT-06 */

    ok(matches(p, "td/ns/a/sa/b", "td/ns/a/sa/b"), "exact");
    ok(!matches(p, "td/ns/a/sa/b", "td/ns/a/sa/bc"), "exact, longer");
    ok(!matches(p, "td/ns/a/sa/b", "td/ns/A/sa/b"), "exact, case");
    ok(!matches(p, "t.d/ns/a/sa/b", "txd/ns/a/sa/b"), "dot is a dot");
    ok(matches(p, "td/ns/a/*", "td/ns/a/sa/b"), "prefix");
    ok(!matches(p, "td/ns/a/*", "td/ns/ab/sa/b"), "prefix, other namespace");
    ok(matches(p, "*/sa/b", "td/ns/a/sa/b"), "suffix");
    ok(!matches(p, "*/sa/b", "td/ns/a/sa/xb"), "suffix, other account");
    ok(matches(p, "*", "td/x"), "presence");
    ok(!matches(p, "*", ""), "presence, empty");
    ok(refused(p, "td/ns/*/sa/b"), "star in the middle");
    ok(refused(p, "*td*"), "two stars");
    ok(refused(p, "**"), "only stars");
    ok(refused(p, ""), "empty principal");
    ok(refused(p, "spiffe://td/ns/a/sa/b"), "scheme");
    ok(refused(p, "td/ns/a b"), "byte no ID has");
    ok(refused(p, "td/ns/a/sa/b/"), "trailing slash");
    ok(refused(p, "td"), "trust domain only");
    ok(refused(p, "TD/ns/a/sa/b"), "upper case trust domain");

    ok(in_namespace("a", "td/ns/a/sa/b"), "namespace");
    ok(in_namespace("a", "td/x/ns/a/y"), "namespace, more segments");
    ok(!in_namespace("a", "td/ns/ab/sa/b"), "namespace, longer");
    ok(!in_namespace("a", "td/ns/ba/sa/b"), "namespace, longer before");
    ok(!in_namespace("a", "td/ns/a"), "namespace, nothing behind");
    ok(!in_namespace("a", "ns/a/sa/b"), "namespace, trust domain ns");
    ok(in_namespace("a*", "td/ns/ab/sa/b"), "namespace, prefix");
    ok(in_namespace("*b", "td/ns/ab/sa/b"), "namespace, suffix");
    ok(in_namespace("a*c", "td/ns/abbc/sa/b"), "namespace, star inside");
    ok(!in_namespace("a*c", "td/ns/abb/sa/b"), "namespace, star, no");
    ok(in_namespace("*", "td/ns/a/sa/b"), "namespace, any");
    ok(!in_namespace("*", "td/x/y"), "namespace, any, none");
    ok(refused(n, "a/b"), "slash in namespace");
    ok(refused(n, ""), "empty namespace");

    ok(matches(a, "a/b", "td/ns/a/sa/b"), "account");
    ok(matches(a, "a/b", "td/x/ns/a/y/sa/b/z"), "account, more segments");
    ok(matches(a, "a/b", "td/ns/c/ns/a/sa/c/sa/b"), "account, later pairs");
    ok(!matches(a, "a/b", "td/ns/a/sa/bb"), "account, longer");
    ok(!matches(a, "a/b", "td/ns/aa/sa/b"), "account, longer namespace");
    ok(!matches(a, "a/b", "td/sa/b/ns/a"), "account, order");
    ok(!matches(a, "a/b", "td/ns/a"), "account, namespace only");
    ok(!matches(a, "a/b", "ns/a/sa/b"), "account, trust domain ns");
    ok(!matches(a, "sa/b", "td/ns/sa/b"), "account, overlapping");
    ok(refused(a, "b"), "account without namespace");
    ok(refused(a, "a/b/c"), "account, two slashes");
    ok(refused(a, "a/*"), "account, star");
    ok(refused(a, "/b"), "account, empty namespace");
    ok(refused(a, "a/"), "account, empty name");

    ok(matches(h, "API.Example.com", "api.example.com"), "host, case");
    ok(!matches(h, "api.example.com", "apixexample.com"), "host, dot");
    ok(matches(h, "*.example.com", "a.b.example.com"), "host, suffix");
    ok(!matches(h, "*.example.com", "example.com"), "host, suffix, bare");
    ok(!matches(h, "*.example.com", "xexample.com"), "host, suffix, dot");
    ok(matches(h, "api.*", "api.example.com"), "host, prefix");
    ok(matches(h, "*", "a"), "host, presence");
    ok(!matches(h, "*", ""), "host, no name");
    ok(matches(h, "[2001:DB8::1]", "[2001:db8::1]"), "host, address");
    ok(refused(h, "api.example.com:443"), "host with port");
    ok(refused(h, "api.example.com."), "host with trailing dot");
    ok(refused(h, "a*.example.com"), "host, star in the middle");
    ok(refused(h, "a/b"), "host with slash");
    ok(refused(h, ""), "empty host");
}


/* as the directive completes the value */

static ngx_uint_t
in_namespace(const char *value, const char *text)
{
    char                 pattern[64];
    ngx_str_t            s;
    ngx_egress_match_t   m;

    m.kind = NGX_EGRESS_MATCH_GLOB;
    m.value.len = sprintf(pattern, "*/ns/%s/*", value);
    m.value.data = (u_char *) pattern;

    s.data = (u_char *) text;
    s.len = strlen(text);

    return ngx_egress_match(&m, &s);
}


static ngx_uint_t
matches(const char *(*make)(ngx_egress_match_t *m, ngx_str_t *value),
    const char *pattern, const char *text)
{
    u_char              copy[256];
    ngx_str_t           value, s;
    ngx_egress_match_t  m;

    value.len = strlen(pattern);
    value.data = copy;
    memcpy(copy, pattern, value.len);

    s.data = (u_char *) text;
    s.len = strlen(text);

    if (make(&m, &value) != NULL) {
        printf("# refused: \"%s\"\n", pattern);
        return 0;
    }

    return ngx_egress_match(&m, &s);
}


static ngx_uint_t
refused(const char *(*make)(ngx_egress_match_t *m, ngx_str_t *value),
    const char *pattern)
{
    u_char              copy[256];
    ngx_str_t           value;
    ngx_egress_match_t  m;

    value.len = strlen(pattern);
    value.data = copy;
    memcpy(copy, pattern, value.len);

    return make(&m, &value) != NULL;
}
