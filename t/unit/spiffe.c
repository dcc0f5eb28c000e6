
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Unit tests of SPIFFE IDs and of the matches of policies; prints TAP.
 * Linked with ngx_egress_spiffe.c, ngx_egress_match.c, ngx_egress_path.c,
 * ngx_egress_domains.c and core.c.
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
static void test_more_matches(void);
static void test_templates(void);
static void test_headers(void);
static void test_cidrs(void);
static void test_paths(void);
static void test_domains(void);
static ngx_uint_t header(const char *pattern, const char *value,
    ngx_uint_t helps);
static ngx_uint_t cidr(ngx_uint_t bits, const char *net, const char *addr,
    size_t len);
static const char *normalized(const char *path, ngx_uint_t mode);
static const char *replaced(ngx_uint_t field, const char *value);
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
    test_more_matches();
    test_templates();
    test_headers();
    test_cidrs();
    test_paths();
    test_domains();

    printf("1..%lu\n", (unsigned long) tests);

    return failed != 0;
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
    ok(matches(h, "api.example.com:443", "api.example.com:443"),
       "host with port");
    ok(!matches(h, "api.example.com", "api.example.com:443"),
       "host without port");
    ok(matches(h, "api.example.com:*", "api.example.com:443"),
       "host with any port");
    ok(refused(h, "api.example.com."), "host with trailing dot");
    ok(refused(h, "a*.example.com"), "host, star in the middle");
    ok(refused(h, "a/b"), "host with slash");
    ok(refused(h, ""), "empty host");
}


/* StringMatcherWithPrefix of Istio */

static void
test_more_matches(void)
{
    const char  *(*t)(ngx_egress_match_t *, ngx_str_t *);
    const char  *(*p)(ngx_egress_match_t *, ngx_str_t *);
    const char  *(*d)(ngx_egress_match_t *, ngx_str_t *);

    t = ngx_egress_match_text;
    p = ngx_egress_match_path;
    d = ngx_egress_match_domain;

    ok(matches(t, "GET", "GET"), "text, exact");
    ok(!matches(t, "GET", "get"), "text, case");
    ok(matches(t, "P*", "PATCH"), "text, prefix");
    ok(matches(t, "*T", "GET"), "text, suffix");
    ok(matches(t, "*", "x"), "text, presence");
    ok(!matches(t, "*", ""), "text, presence, empty");
    ok(matches(t, "*x*", "ax*"), "text, two stars are a suffix");
    ok(!matches(t, "*x*", "axb"), "text, two stars are no infix");
    ok(matches(t, "a*b", "a*b"), "text, star inside is itself");
    ok(!matches(t, "a*b", "axb"), "text, star inside is no glob");
    ok(refused(t, ""), "text, empty");

    ok(matches(p, "/a", "/a"), "path, exact");
    ok(!matches(p, "/a", "/a/"), "path, trailing slash");
    ok(!matches(p, "/a", "/A"), "path, case");
    ok(matches(p, "/a/*", "/a/b/c"), "path, prefix");
    ok(!matches(p, "/a/*", "/ab"), "path, prefix, other segment");
    ok(matches(p, "*.png", "/a/b.png"), "path, suffix");
    ok(matches(p, "*", "/"), "path, presence");

    ok(matches(d, "td", "td/ns/a/sa/b"), "domain");
    ok(!matches(d, "td", "td2/ns/a/sa/b"), "domain, longer");
    ok(matches(d, "t*", "td2/ns/a/sa/b"), "domain, prefix");
    ok(!matches(d, "*b", "td/ns/a/sa/b"), "domain, not beyond it");
    ok(matches(d, "a*c", "abbc/x"), "domain, inside");
    ok(matches(d, "*", "td/x"), "domain, any");
    ok(refused(d, "TD"), "domain, upper case");
    ok(refused(d, "a/b"), "domain, slash");
    ok(refused(d, ""), "domain, empty");
}


/* uri_template of Envoy, CheckValidPathTemplate of Istio */

static void
test_templates(void)
{
    const char  *(*p)(ngx_egress_match_t *, ngx_str_t *);

    p = ngx_egress_match_path;

    ok(matches(p, "/foo/{*}", "/foo/a"), "template, one");
    ok(!matches(p, "/foo/{*}", "/foo/"), "template, one, empty");
    ok(!matches(p, "/foo/{*}", "/foo/a/b"), "template, one, two");
    ok(matches(p, "/foo/{*}", "/foo/a=b*c"), "template, sign of its own");
    ok(!matches(p, "/foo/{*}", "/foo/a[b"), "template, no bracket");
    ok(matches(p, "/foo/{*}/bar", "/foo/x.y-z~_%/bar"), "template, inside");
    ok(!matches(p, "/foo/{*}/bar", "/foo/x/baz"), "template, inside, other");
    ok(matches(p, "/{*}/{*}", "/a/b"), "template, two");
    ok(matches(p, "/foo/{**}", "/foo/"), "template, any, none");
    ok(!matches(p, "/foo/{**}", "/foo"), "template, any, no slash");
    ok(matches(p, "/foo/{**}", "/foo/a/b/c"), "template, any, three");
    ok(!matches(p, "/foo/{**}", "/foobar"), "template, any, other");
    ok(matches(p, "/{**}/bar", "/a/b/bar"), "template, any, then text");
    ok(!matches(p, "/{**}/bar", "/a/b/barx"), "template, any, other text");
    ok(matches(p, "/{*}/x/{**}", "/a/x/b/c"), "template, one and any");
    ok(!matches(p, "/{**}", "a"), "template, no slash");
    ok(matches(p, "/{**}", "/"), "template, any at all");
    ok(refused(p, "/{**}/{*}"), "template, operator after any");
    ok(refused(p, "/{**}/{**}"), "template, any twice");
    ok(refused(p, "/{a}"), "template, name");
    ok(refused(p, "/{*}a"), "template, text beside");
    ok(refused(p, "/a}"), "path, brace");
    ok(refused(p, "/{*}/a\"b"), "template, invalid literal");
    ok(refused(p, "{*}"), "template, no slash first");
}


/* T-AUZ-02 */

static void
test_headers(void)
{
    ok(header("admin", "admin", 1), "header, exact");
    ok(!header("admin", "user,admin", 1), "header, helps by the whole");
    ok(header("admin", "user,admin", 0), "header, hurts by one");
    ok(header("admin", "user, admin\t", 0), "header, hurts, spaces");
    ok(header("admin", "admin,admin", 0), "header, hurts, twice");
    ok(!header("admin", "administrator", 0), "header, hurts, longer");
    ok(header("adm*", "user,administrator", 0), "header, hurts, prefix");
    ok(header("*", "", 1), "header, presence, empty value");
}


static void
test_cidrs(void)
{
    ok(cidr(8, "\x0a\0\0\0", "\x0a\1\2\3", 4), "cidr, /8");
    ok(!cidr(8, "\x0a\0\0\0", "\x0b\1\2\3", 4), "cidr, /8, other");
    ok(cidr(12, "\xac\x10\0\0", "\xac\x1f\xff\xff", 4), "cidr, /12");
    ok(!cidr(12, "\xac\x10\0\0", "\xac\x20\0\0", 4), "cidr, /12, other");
    ok(cidr(0, "\0\0\0\0", "\x08\x08\x08\x08", 4), "cidr, /0");
    ok(cidr(32, "\1\2\3\4", "\1\2\3\4", 4), "cidr, /32");
    ok(!cidr(32, "\1\2\3\4", "\1\2\3\5", 4), "cidr, /32, other");
    ok(!cidr(0, "\0\0\0\0", "\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\1", 16),
       "cidr, other family");
    ok(!cidr(0, "\0\0\0\0", "", 0), "cidr, no address");
}


/* T-AUZ-04; meshConfig.pathNormalization */

static void
test_paths(void)
{
    size_t  i;

    static const struct {
        const char  *path;
        const char  *none;
        const char  *base;
        const char  *merge;
        const char  *decode;
    } paths[] = {
        { "/", "/", "/", "/", "/" },
        { "/a/b", "/a/b", "/a/b", "/a/b", "/a/b" },
        { "/a?b#c", "/a", "/a", "/a", "/a" },
        { "/a#b?c", "/a", "/a", "/a", "/a" },
        { "/a/../b", "/a/../b", "/b", "/b", "/b" },
        { "/a/./b/.", "/a/./b/.", "/a/b/", "/a/b/", "/a/b/" },
        { "/a/b/..", "/a/b/..", "/a/", "/a/", "/a/" },
        { "/../../a", "/../../a", "/a", "/a", "/a" },
        { "/..", "/..", "/", "/", "/" },
        { "/a/%2e%2E/b", "/a/%2e%2E/b", "/b", "/b", "/b" },
        { "/a//b", "/a//b", "/a//b", "/a/b", "/a/b" },
        { "//a", "//a", "//a", "/a", "/a" },
        { "/a//../b", "/a//../b", "/a/b", "/a/b", "/a/b" },
        { "/a\\b", "/a\\b", "/a/b", "/a/b", "/a/b" },
        { "/a/..\\b", "/a/..\\b", "/b", "/b", "/b" },
        { "/a%2fb", "/a%2fb", "/a%2fb", "/a%2fb", "/a/b" },
        { "/a%2F%5cb", "/a%2F%5cb", "/a%2F%5cb", "/a%2F%5cb", "/a/b" },
        { "/a/%2e%2e%2fb", "/a/%2e%2e%2fb", "/a/..%2fb", "/a/..%2fb", "/b" },
        { "/%41%7e%2D%3d", "/%41%7e%2D%3d", "/A~-%3d", "/A~-%3d", "/A~-%3d" },
        { "/a;x/.;/..;y", "/a;x/.;/..;y", "/a;x/.;/..;y", "/a;x/.;/..;y",
          "/a;x/.;/..;y" },
        { "/a\"<>`{}", "/a\"<>`{}", "/a%22%3C%3E%60%7B%7D",
          "/a%22%3C%3E%60%7B%7D", "/a%22%3C%3E%60%7B%7D" },
        { "/\xc3\xa4", "/\xc3\xa4", "/%C3%A4", "/%C3%A4", "/%C3%A4" },
        { "/%", "/%", "/%", "/%", "/%" },
        { "/%4", "/%4", "/%4", "/%4", "/%4" },
        { "/%zz%252e", "/%zz%252e", "/%zz%252e", "/%zz%252e", "/%zz%252e" },
        { "*", "*", "*", "*", "*" }
    };

    for (i = 0; i < sizeof(paths) / sizeof(paths[0]); i++) {
        ok(strcmp(normalized(paths[i].path, NGX_EGRESS_PATH_NONE),
                  paths[i].none) == 0, paths[i].path);
        ok(strcmp(normalized(paths[i].path, NGX_EGRESS_PATH_BASE),
                  paths[i].base) == 0, paths[i].path);
        ok(strcmp(normalized(paths[i].path, NGX_EGRESS_PATH_MERGE),
                  paths[i].merge) == 0, paths[i].path);
        ok(strcmp(normalized(paths[i].path, NGX_EGRESS_PATH_DECODE),
                  paths[i].decode) == 0, paths[i].path);
    }

    ok(strcmp(normalized("?a", NGX_EGRESS_PATH_BASE), "(none)") == 0,
       "no path");
}


/* trustdomain/bundle.go; the mesh is td1 with the alias old-td */

static void
test_domains(void)
{
    size_t  i;

    static const struct {
        ngx_uint_t   field;
        const char  *value;
        const char  *expected;
    } values[] = {
        { NGX_EGRESS_PRINCIPAL, "td1/ns/a/sa/b",
          "td1/ns/a/sa/b old-td/ns/a/sa/b" },
        { NGX_EGRESS_PRINCIPAL, "old-td/ns/a/sa/b",
          "td1/ns/a/sa/b old-td/ns/a/sa/b" },
        { NGX_EGRESS_PRINCIPAL, "cluster.local/ns/a/sa/b",
          "td1/ns/a/sa/b old-td/ns/a/sa/b" },
        { NGX_EGRESS_PRINCIPAL, "other/ns/a/sa/b", "other/ns/a/sa/b" },
        { NGX_EGRESS_PRINCIPAL, "*-td/ns/a/sa/b",
          "-td/ns/a/sa/b td1/ns/a/sa/b old-td/ns/a/sa/b" },
        { NGX_EGRESS_PRINCIPAL, "*", "" },
        { NGX_EGRESS_PRINCIPAL, "td1/ns/a/*", "td1/ns/a/" },
        { NGX_EGRESS_PRINCIPAL, "td1/x/y", "td1/x/y" },
        { NGX_EGRESS_TRUST_DOMAIN, "td1", "td1 td1 old-td" },
        { NGX_EGRESS_TRUST_DOMAIN, "other", "other" },
        { NGX_EGRESS_TRUST_DOMAIN, "o*", "o*" }
    };

    for (i = 0; i < sizeof(values) / sizeof(values[0]); i++) {
        ok(strcmp(replaced(values[i].field, values[i].value),
                  values[i].expected) == 0, values[i].value);
    }
}


static ngx_uint_t
header(const char *pattern, const char *value, ngx_uint_t helps)
{
    ngx_str_t             s;
    ngx_egress_match_t    m;
    ngx_egress_header_t   h;

    s.data = (u_char *) pattern;
    s.len = strlen(pattern);

    (void) ngx_egress_match_text(&m, &s);

    h.n = 1;
    h.joined.data = (u_char *) value;
    h.joined.len = strlen(value);

    return ngx_egress_match_header(&m, 1, &h, helps);
}


static ngx_uint_t
cidr(ngx_uint_t bits, const char *net, const char *addr, size_t len)
{
    u_char              text[5];
    ngx_str_t           s;
    ngx_egress_match_t  m;

    text[0] = (u_char) bits;
    memcpy(&text[1], net, 4);

    m.kind = NGX_EGRESS_MATCH_CIDR;
    m.value.data = text;
    m.value.len = 5;

    s.data = (u_char *) addr;
    s.len = len;

    return ngx_egress_match(&m, &s);
}


static const char *
normalized(const char *path, ngx_uint_t mode)
{
    u_char         *room;
    ngx_str_t       src, dst;
    static char     text[256];

    src.data = (u_char *) path;
    src.len = strlen(path);

    /* of the documented size, for the sanitizer */

    room = malloc(3 * src.len);

    if (ngx_egress_path_normalize(room, &dst, &src, mode) != NGX_OK) {
        free(room);
        return "(none)";
    }

    memcpy(text, dst.data, dst.len);
    text[dst.len] = '\0';

    free(room);

    return text;
}


static const char *
replaced(ngx_uint_t field, const char *value)
{
    size_t               i;
    ngx_str_t            s;
    ngx_array_t          domains;
    ngx_pool_t          *pool;
    ngx_str_t           *domain;
    ngx_egress_cond_t   *cond;
    ngx_egress_rule_t    rule;
    ngx_egress_match_t  *m;
    ngx_egress_block_t  *block;
    static char          text[512];

    pool = ngx_create_pool(4096, NULL);

    ngx_array_init(&domains, pool, 2, sizeof(ngx_str_t));
    domain = ngx_array_push(&domains);
    ngx_str_set(domain, "td1");
    domain = ngx_array_push(&domains);
    ngx_str_set(domain, "old-td");

    memset(&rule, 0, sizeof(ngx_egress_rule_t));

    ngx_array_init(&rule.from, pool, 1, sizeof(ngx_egress_block_t));
    block = ngx_array_push(&rule.from);
    ngx_array_init(&block->conds, pool, 1, sizeof(ngx_egress_cond_t));
    cond = ngx_array_push(&block->conds);
    cond->field = field;
    ngx_array_init(&cond->values, pool, 1, sizeof(ngx_egress_match_t));
    m = ngx_array_push(&cond->values);

    s.data = (u_char *) value;
    s.len = strlen(value);

    if (field == NGX_EGRESS_PRINCIPAL) {
        (void) ngx_egress_match_principal(m, &s);

    } else {
        (void) ngx_egress_match_domain(m, &s);
    }

    (void) ngx_egress_domains_replace(pool, &rule, &domains);

    m = cond->values.elts;
    text[0] = '\0';

    for (i = 0; i < cond->values.nelts; i++) {
        sprintf(text + strlen(text), "%s%.*s", i ? " " : "",
                (int) m[i].value.len, m[i].value.data);
    }

    ngx_destroy_pool(pool);

    return text;
}


static ngx_uint_t
in_namespace(const char *value, const char *text)
{
    return matches(ngx_egress_match_namespace, value, text);
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
