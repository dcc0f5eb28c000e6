
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Unit tests of the ClientHello parser; prints TAP.  Each hello is fed whole
 * and byte by byte, and both have to agree.  Linked with libssl, which makes
 * the real hellos.
 */


#include "../../ngx_egress_module/ngx_egress_clienthello.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <openssl/ssl.h>


#define TEST_SIZE    131072
#define TEST_FIELDS  64

#define TEST_GITHUB  "api.github.com"


typedef struct {
    u_char               data[TEST_SIZE];
    size_t               len;
} test_bytes_t;


/* a length field: where it is, its width, what it is called */

typedef struct {
    size_t               pos;
    size_t               width;
    const char          *name;
} test_field_t;


typedef struct {
    test_bytes_t         b;
    test_field_t         fields[TEST_FIELDS];
    ngx_uint_t           nfields;
    size_t               open[16];
    ngx_uint_t           depth;
} test_hello_t;


static void ok(ngx_uint_t passed, const char *fmt, ...);
static void put(const void *p, size_t len);
static void put_number(size_t value, size_t width);
static void begin(const char *name, size_t width);
static void end(void);
static void begin_hello(void);
static void begin_exts(void);
static void end_hello(void);
static void put_ext(size_t type, const void *p, size_t len);
static void put_name(const void *p, size_t len);
static void put_sni(const void *p, size_t len);
static void put_alpn(const void *p, size_t len);
static void put_versions(const void *p, size_t len);
static void put_ech(void);
static void put_psk(void);
static void make_full(void);
static void wrap(const u_char *p, size_t len, size_t size);
static ngx_int_t feed(const u_char *p, size_t len);
static ngx_int_t parse(const u_char *p, size_t len);
static ngx_int_t parse_hello(void);
static void accepted(const char *name);
static void refused(const char *error, const char *name);
static void test_cuts(const u_char *p, size_t len, const char *name);
static void test_plain(void);
static void test_records(void);
static void test_record_rules(void);
static void test_sizes(void);
static void raw_size(size_t size, ngx_uint_t nrecords);
static void pad_hello(size_t size);
static void test_lengths(void);
static void off_by_one(test_field_t *f, int step);
static void test_fixed_part(void);
static void test_end(void);
static void test_names(void);
static void test_name_bytes(void);
static void test_name_sizes(void);
static void make_name(u_char *p, size_t len, size_t label);
static void test_sni_list(void);
static void test_alpn(void);
static void test_alpn_names(void);
static void test_alpn_sizes(void);
static void test_versions(void);
static void test_ech(void);
static void test_extensions(void);
static void test_not_tls(void);
static void test_real(void);
static ngx_int_t real_hello(const char *sni, const char *alpn, int version,
    ngx_uint_t padding);


static ngx_uint_t          tests;
static ngx_uint_t          failed;

static test_hello_t        t;
static test_bytes_t        raw;
static ngx_egress_hello_t  h;


int
main(void)
{
    test_plain();
    test_records();
    test_record_rules();
    test_sizes();
    test_lengths();
    test_fixed_part();
    test_end();
    test_names();
    test_name_bytes();
    test_name_sizes();
    test_sni_list();
    test_alpn();
    test_alpn_names();
    test_alpn_sizes();
    test_versions();
    test_ech();
    test_extensions();
    test_not_tls();
    test_real();

    printf("1..%lu\n", (unsigned long) tests);

    return failed != 0;
}


static void
ok(ngx_uint_t passed, const char *fmt, ...)
{
    va_list  args;

    tests++;

    if (!passed) {
        failed++;
    }

    printf("%sok %lu - ", passed ? "" : "not ", (unsigned long) tests);

    va_start(args, fmt);
    vprintf(fmt, args);
    va_end(args);

    printf("\n");

    if (!passed) {
        printf("# error: %s\n", h.error ? h.error : "none");
    }
}


/* a hello is built in t.b, without records */

static void
put(const void *p, size_t len)
{
    if (t.b.len + len > TEST_SIZE) {
        abort();
    }

    if (len) {
        memcpy(t.b.data + t.b.len, p, len);
        t.b.len += len;
    }
}


static void
put_number(size_t value, size_t width)
{
    u_char  byte;

    while (width--) {
        byte = (u_char) (value >> (8 * width));
        put(&byte, 1);
    }
}


static void
begin(const char *name, size_t width)
{
    test_field_t  *f;

    if (t.nfields == TEST_FIELDS || t.depth == 16) {
        abort();
    }

    f = &t.fields[t.nfields];
    f->pos = t.b.len;
    f->width = width;
    f->name = name;

    t.open[t.depth++] = t.nfields++;

    put_number(0, width);
}


static void
end(void)
{
    size_t         i, len;
    test_field_t  *f;

    f = &t.fields[t.open[--t.depth]];
    len = t.b.len - f->pos - f->width;

    for (i = 0; i < f->width; i++) {
        t.b.data[f->pos + f->width - 1 - i] = (u_char) (len >> (8 * i));
    }
}


static void
begin_hello(void)
{
    t.b.len = 0;
    t.nfields = 0;
    t.depth = 0;

    put_number(1, 1);
    begin("message", 3);
    put_number(0x0303, 2);
    put("random random random random rand", 32);
    begin("session id", 1);
    put("session session session session ", 32);
    end();
    begin("cipher suites", 2);
    put("\x13\x01\xc0\x2f", 4);
    end();
    begin("compression methods", 1);
    put("\0", 1);
    end();
}


static void
begin_exts(void)
{
    begin_hello();
    begin("extensions", 2);
}


static void
end_hello(void)
{
    while (t.depth) {
        end();
    }
}


static void
put_ext(size_t type, const void *p, size_t len)
{
    put_number(type, 2);
    begin("extension", 2);
    put(p, len);
    end();
}


static void
put_name(const void *p, size_t len)
{
    put_number(0, 1);
    begin("SNI name", 2);
    put(p, len);
    end();
}


static void
put_sni(const void *p, size_t len)
{
    put_number(0, 2);
    begin("SNI extension", 2);
    begin("SNI list", 2);
    put_name(p, len);
    end();
    end();
}


/* names with their lengths */

static void
put_alpn(const void *p, size_t len)
{
    put_number(16, 2);
    begin("ALPN extension", 2);
    begin("ALPN list", 2);
    put(p, len);
    end();
    end();
}


static void
put_versions(const void *p, size_t len)
{
    put_number(43, 2);
    begin("versions extension", 2);
    begin("versions list", 1);
    put(p, len);
    end();
    end();
}


static void
put_ech(void)
{
    put_number(0xfe0d, 2);
    begin("ECH extension", 2);
    put("\0\0\x01\0\x01\x2a", 6);
    begin("ECH enc", 2);
    put("enc enc enc enc enc enc enc enc ", 32);
    end();
    begin("ECH payload", 2);
    put("payload", 7);
    end();
    end();
}


static void
put_psk(void)
{
    put_ext(41, "\0\x07\0\x01i\0\0\0\0\0\x21\x20"
                "binder binder binder binder bind", 44);
}


/* all that the parser looks at */

static void
make_full(void)
{
    begin_exts();
    put_ext(0x1a1a, "", 0);
    put_sni(TEST_GITHUB, 14);
    put_ext(10, "\0\x02\0\x1d", 4);
    put_number(16, 2);
    begin("ALPN extension", 2);
    begin("ALPN list", 2);
    begin("ALPN name", 1);
    put("h2", 2);
    end();
    begin("ALPN name", 1);
    put("http/1.1", 8);
    end();
    end();
    end();
    put_versions("\x3a\x3a\x03\x04\x03\x03", 6);
    put_ech();
    put_ext(0xfafa, "\0", 1);
    put_psk();
    end_hello();
}


/* the message in records of a size, to raw */

static void
wrap(const u_char *p, size_t len, size_t size)
{
    size_t  n;

    raw.len = 0;

    while (len) {
        n = len > size ? size : len;

        if (raw.len + n + 5 > TEST_SIZE) {
            abort();
        }

        memcpy(raw.data + raw.len, "\x16\x03\x01", 3);
        raw.data[raw.len + 3] = (u_char) (n >> 8);
        raw.data[raw.len + 4] = (u_char) n;
        memcpy(raw.data + raw.len + 5, p, n);
        raw.len += n + 5;

        p += n;
        len -= n;
    }
}


/* from the heap, so that ASan sees a read past the end */

static ngx_int_t
feed(const u_char *p, size_t len)
{
    u_char     *copy;
    ngx_int_t   rc;

    copy = malloc(len ? len : 1);
    if (copy == NULL) {
        abort();
    }

    if (len) {
        memcpy(copy, p, len);
    }

    rc = ngx_egress_hello_parse(&h, copy, len);

    free(copy);

    return rc;
}


/* NGX_DONE's number stands for "whole and byte by byte do not agree" */

static ngx_int_t
parse(const u_char *p, size_t len)
{
    size_t               i;
    ngx_int_t            rc, whole;
    ngx_egress_hello_t   first;

    ngx_egress_hello_init(&h);
    whole = feed(p, len);
    first = h;

    ngx_egress_hello_init(&h);
    rc = NGX_AGAIN;

    for (i = 0; i < len && rc == NGX_AGAIN; i++) {
        rc = feed(p + i, 1);
    }

    if (rc != whole || h.error != first.error || h.sni_len != first.sni_len
        || h.alpn_len != first.alpn_len || h.version != first.version
        || memcmp(h.sni, first.sni, h.sni_len) != 0
        || memcmp(h.alpn, first.alpn, h.alpn_len) != 0)
    {
        return -4;
    }

    return rc;
}


static ngx_int_t
parse_hello(void)
{
    end_hello();
    wrap(t.b.data, t.b.len, 16384);

    return parse(raw.data, raw.len);
}


static void
accepted(const char *name)
{
    ok(parse_hello() == NGX_OK, "%s", name);
}


static void
refused(const char *error, const char *name)
{
    ngx_int_t  rc;

    rc = parse_hello();

    ok(rc == NGX_ERROR && h.error && strcmp(h.error, error) == 0,
       "%s: %s", name, error);
}


/* every cut in two, and everything that is short of the whole */

static void
test_cuts(const u_char *p, size_t len, const char *name)
{
    size_t              i, good;
    ngx_egress_hello_t  whole;

    ngx_egress_hello_init(&h);
    good = feed(p, len) == NGX_OK;
    whole = h;

    for (i = 1; i < len; i++) {
        ngx_egress_hello_init(&h);

        good += feed(p, i) == NGX_AGAIN
                && feed(p, 0) == NGX_AGAIN
                && feed(p + i, len - i) == NGX_OK
                && h.sni_len == whole.sni_len
                && memcmp(h.sni, whole.sni, h.sni_len) == 0
                && h.alpn_len == whole.alpn_len
                && memcmp(h.alpn, whole.alpn, h.alpn_len) == 0
                && h.version == whole.version
                && h.ech == whole.ech;
    }

    ok(good == len, "%s: %lu of %lu cuts", name, (unsigned long) good,
       (unsigned long) len);
}


static void
test_plain(void)
{
    make_full();
    accepted("a hello with everything");

    ok(h.sni_len == 14 && memcmp(h.sni, TEST_GITHUB, 15) == 0, "its SNI");
    ok(h.alpn_len == 11 && memcmp(h.alpn, "h2,http/1.1", 11) == 0,
       "its ALPN");
    ok(h.version == 0x0304 && h.tls13, "its version");
    ok(h.ech == 1 && !h.istio && !h.underscore && !h.alpn_truncated,
       "its flags");

    test_cuts(raw.data, raw.len, "in one record");

    begin_hello();
    accepted("no extensions at all");
    ok(h.sni_len == 0 && h.alpn_len == 0 && h.version == 0x0303 && !h.tls13
       && h.ech == 0, "and nothing found");

    begin_exts();
    accepted("an empty list of extensions");
    ok(h.sni_len == 0, "and no SNI");

    ngx_egress_hello_init(&h);
    ok(feed(raw.data, 0) == NGX_AGAIN, "no bytes");
}


static void
test_records(void)
{
    size_t  size, good;

    static u_char  after[] = "\x14\x03\x03\0\x01\x01";

    make_full();
    good = 0;

    for (size = 1; size <= t.b.len; size++) {
        wrap(t.b.data, t.b.len, size);
        good += parse(raw.data, raw.len) == NGX_OK
                && h.sni_len == 14 && h.alpn_len == 11;
    }

    ok(good == t.b.len, "records of every size");

    wrap(t.b.data, t.b.len, 1);
    test_cuts(raw.data, raw.len, "in records of one byte");

    wrap(t.b.data, t.b.len, 100);
    test_cuts(raw.data, raw.len, "in records of 100 bytes");

    memcpy(raw.data + raw.len, after, 6);
    ok(parse(raw.data, raw.len + 6) == NGX_OK, "a record after the hello");

    memset(raw.data + raw.len, 0xff, 100);
    ok(parse(raw.data, raw.len + 100) == NGX_OK, "anything after the hello");
}


static void
test_record_rules(void)
{
    size_t     i, good;
    ngx_int_t  rc;

    make_full();
    good = 0;

    for (i = 0; i < 256; i++) {
        wrap(t.b.data, t.b.len, 100);
        raw.data[1] = (u_char) i;
        rc = parse(raw.data, raw.len);
        good += (i == 3) ? rc == NGX_OK : rc == NGX_ERROR;

        wrap(t.b.data, t.b.len, 100);
        raw.data[2] = (u_char) i;
        good += parse(raw.data, raw.len) == NGX_OK;

        wrap(t.b.data, t.b.len, 100);
        raw.data[105] = (u_char) i;
        rc = parse(raw.data, raw.len);
        good += (i == 22) ? rc == NGX_OK : rc == NGX_ERROR;
    }

    ok(good == 768, "versions and types of records");

    ok(parse((u_char *) "\x16\x03\x01\0\0", 5) == NGX_ERROR
       && strcmp(h.error, "invalid record length") == 0, "an empty record");
    ok(parse((u_char *) "\x16\x03\x01\0\x01\x01\x16\x03\x01\0\0", 11)
       == NGX_ERROR, "an empty record inside");
    ok(parse((u_char *) "\x16\x03\x01\x40\x01\x01", 6) == NGX_ERROR,
       "a record of 16385 bytes");
    ok(parse((u_char *) "\x16\x03\x01\x40\0\x01", 6) == NGX_AGAIN,
       "a record of 16384 bytes");
}


static void
test_sizes(void)
{
    pad_hello(16384);
    accepted("16384 bytes in one record");
    ok(h.sni_len == 14, "16384 bytes, SNI");

    wrap(t.b.data, t.b.len, 100);
    ok(parse(raw.data, raw.len) == NGX_OK, "16384 bytes, in 164 records");

    pad_hello(16385);
    end_hello();
    wrap(t.b.data, t.b.len, 16000);
    ok(parse(raw.data, raw.len) == NGX_ERROR
       && strcmp(h.error, "too long") == 0, "16385 bytes");

    pad_hello(2200);
    accepted("2200 bytes");

    wrap(t.b.data, t.b.len, 1);
    ok(parse(raw.data, raw.len) == NGX_OK, "2200 bytes, a record each");

    pad_hello(16384);
    wrap(t.b.data, t.b.len, 1);
    ok(parse(raw.data, raw.len) == NGX_ERROR
       && strcmp(h.error, "too long with its records") == 0,
       "16384 bytes, a record each");

    /* 32768 is 16383 + 5 * 3277 */

    raw_size(16383, 3277);
    ok(raw.len == 32768 && parse(raw.data, raw.len) == NGX_OK,
       "records of 32768 bytes");

    raw_size(16384, 3277);
    ok(raw.len == 32769 && parse(raw.data, raw.len) == NGX_ERROR,
       "records of 32769 bytes");
}


/* all records but the last are of one byte */

static void
raw_size(size_t size, ngx_uint_t nrecords)
{
    size_t  n, len;
    u_char  header[5];

    pad_hello(size);
    wrap(t.b.data, nrecords - 1, 1);

    n = nrecords - 1;
    len = size - n;

    memcpy(header, "\x16\x03\x01", 3);
    header[3] = (u_char) (len >> 8);
    header[4] = (u_char) len;

    memcpy(raw.data + raw.len, header, 5);
    memcpy(raw.data + raw.len + 5, t.b.data + n, len);
    raw.len += len + 5;
}


static void
pad_hello(size_t size)
{
    begin_exts();
    put_sni(TEST_GITHUB, 14);
    put_number(21, 2);
    begin("padding", 2);

    while (t.b.len < size) {
        put("\0", 1);
    }

    end_hello();
}


/* nothing may hide behind a length that is wrong by one */

static void
test_lengths(void)
{
    ngx_uint_t  i;

    make_full();

    for (i = 0; i < t.nfields; i++) {
        off_by_one(&t.fields[i], 1);
        off_by_one(&t.fields[i], -1);
    }

    ok(i > 20, "all the lengths");

    make_full();
    wrap(t.b.data, t.b.len, 16384);
    raw.data[4]++;
    memset(raw.data + raw.len, 0, 100);
    ok(parse(raw.data, raw.len + 100) == NGX_ERROR, "record + 1");

    raw.data[4] -= 2;
    ok(parse(raw.data, raw.len + 100) == NGX_ERROR, "record - 1");
}


static void
off_by_one(test_field_t *f, int step)
{
    u_char     *p;
    ngx_int_t   rc;

    p = t.b.data + f->pos + f->width - 1;

    *p += step;

    /* what is missing for a larger length is given, as another record */

    wrap(t.b.data, t.b.len, 16384);

    memcpy(raw.data + raw.len, "\x16\x03\x01\0\x64", 5);
    memset(raw.data + raw.len + 5, 0, 100);

    rc = parse(raw.data, raw.len + 105);

    *p -= step;

    ok(rc == NGX_ERROR, "%s %s 1", f->name, step > 0 ? "+" : "-");
}


static void
test_fixed_part(void)
{
    size_t     i, good;
    ngx_int_t  rc;

    good = 0;

    for (i = 0; i < 256; i++) {
        begin_hello();
        t.b.data[0] = (u_char) i;
        rc = parse_hello();
        good += (i == 1) ? rc == NGX_OK : rc == NGX_ERROR;

        begin_hello();
        t.b.data[4] = (u_char) i;
        rc = parse_hello();
        good += (i == 3) ? rc == NGX_OK : rc == NGX_ERROR;
    }

    ok(good == 512, "handshake types and versions");

    /* the random ends at 38: session id, cipher suites, compression */

    begin_hello();
    t.b.len = 38;
    put("\0\0\x02\x13\x01\x01\0", 7);
    accepted("an empty session id");

    begin_hello();
    t.b.len = 38;
    put("\x21""123456789012345678901234567890123\0\x02\x13\x01\x01\0", 40);
    refused("invalid session id length", "a session id of 33 bytes");

    begin_hello();
    t.b.len = 38;
    put("\0\0\0\x01\0", 5);
    refused("invalid cipher suites length", "no cipher suites");

    begin_hello();
    t.b.len = 38;
    put("\0\0\x03\x13\x01\x13\x01\0", 8);
    refused("invalid cipher suites length", "half a cipher suite");

    begin_hello();
    t.b.len = 38;
    put("\0\0\x02\x13\x01\0", 6);
    refused("no compression methods", "an empty list");

    begin_hello();
    t.b.len = 38;
    put("\0\0\x02\x13\x01\x01\x01", 7);
    refused("no null compression", "only deflate");

    begin_hello();
    t.b.len = 38;
    put("\0\0\x02\x13\x01\x02\x01\0", 8);
    accepted("deflate and null");
}


static void
test_end(void)
{
    size_t  i, good;

    begin_hello();
    put("\0", 1);
    refused("a length exceeds what it is in", "half a list of extensions");

    begin_exts();
    put_sni(TEST_GITHUB, 14);
    end();
    put("\0", 1);
    refused("invalid extensions length", "bytes after the extensions");

    begin_exts();
    put("\0", 1);
    refused("a length exceeds what it is in", "half a type");

    begin_exts();
    put("\0\x10\0", 3);
    refused("a length exceeds what it is in", "half a length");

    make_full();
    put("\0", 1);
    refused("trailing bytes", "a byte after the hello");

    make_full();
    put("\x01\0\0\0", 4);
    refused("trailing bytes", "a message after the hello");

    /* a message that ends before its time, wherever that is */

    make_full();
    good = 0;

    for (i = 4; i < t.b.len; i++) {
        t.b.data[2] = (u_char) ((i - 4) >> 8);
        t.b.data[3] = (u_char) (i - 4);
        wrap(t.b.data, i, 16384);
        good += parse(raw.data, raw.len) == NGX_ERROR;
    }

    /* after the compression methods it may end */

    ok(good == t.b.len - 4 - 1, "messages that are cut off");
}


static void
test_names(void)
{
    size_t  i, n;

    static struct {
        const char  *name;
        const char  *read;
    } names[] = {
        { TEST_GITHUB, TEST_GITHUB },
        { "API.GitHub.COM", TEST_GITHUB },
        { "localhost", "localhost" },
        { "xn--bcher-kva.example", "xn--bcher-kva.example" },
        { "1.example", "1.example" },
        { "1.2.3.4.example", "1.2.3.4.example" },
        { "0x7f.example", "0x7f.example" },
        { "example.1a", "example.1a" },
        { "example.0a", "example.0a" },
        { "a-.-b", "a-.-b" },
        { "127.0.0.1", NULL },
        { "0.0.0.0", NULL },
        { "127.1", NULL },
        { "2130706433", NULL },
        { "0x7f000001", NULL },
        { "0x7f.1", NULL },
        { "127.0.0.0x1", NULL },
        { "127.0.0.0X1", NULL },
        { "example.0x", NULL },
        { "0177.0.0.01", NULL },
        { "example.1", NULL },
        { "::1", NULL },
        { "[::1]", NULL },
        { "fe80::1%eth0", NULL },
        { "::ffff:127.0.0.1", NULL },
        { "example.com.", NULL },
        { ".example.com", NULL },
        { "example..com", NULL },
        { ".", NULL },
        { "..", NULL },
        { "example.com:443", NULL },
        { "*.example.com", NULL },
        { "example.com/", NULL },
        { "user@example.com", NULL },
        { " example.com", NULL },
        { "example.com\r\n", NULL },
        { "b\xc3\xbc""cher.example", NULL }
    };

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        n = strlen(names[i].name);

        begin_exts();
        put_sni(names[i].name, n);

        if (names[i].read == NULL) {
            refused("invalid SNI name", names[i].name[n - 1] == '\n'
                                        ? "CR LF" : names[i].name);
            continue;
        }

        accepted(names[i].name);
        ok(h.sni_len == n && memcmp(h.sni, names[i].read, n + 1) == 0
           && !h.underscore, "is read as %s", names[i].read);
    }
}


static void
test_name_bytes(void)
{
    size_t       i, good, taken;
    u_char       name[] = "a?c.example";
    ngx_int_t    rc;
    const char  *mesh;

    good = 0;
    taken = 0;

    for (i = 0; i < 256; i++) {
        name[1] = (u_char) i;

        begin_exts();
        put_sni(name, 11);
        rc = parse_hello();

        if (rc != NGX_OK) {
            good += rc == NGX_ERROR;
            continue;
        }

        taken++;
        good += (i && strchr("-._0123456789abcdefghijklmnopqrstuvwxyz"
                             "ABCDEFGHIJKLMNOPQRSTUVWXYZ", (int) i) != NULL);
        good -= (h.underscore != (i == '_'));
    }

    ok(good == 256 && taken == 65, "bytes in a name, 65 are taken");

    begin_exts();
    put_sni("a\0.example", 10);
    refused("invalid SNI name", "NUL in the middle");

    begin_exts();
    put_sni("a.example\0", 10);
    refused("invalid SNI name", "NUL at the end");

    mesh = "outbound_.443_._.istio-egressgateway.istio-system.svc"
           ".cluster.local";

    begin_exts();
    put_sni(mesh, strlen(mesh));
    accepted("the mesh's own name");
    ok(h.underscore && h.sni_len == strlen(mesh)
       && memcmp(h.sni, mesh, h.sni_len) == 0, "has underscores");
}


static void
test_name_sizes(void)
{
    size_t  i;
    u_char  name[300];

    static struct {
        size_t       len;
        size_t       label;
        const char  *error;
    } sizes[] = {
        { 1, 63, NULL },
        { 63, 63, NULL },
        { 64, 64, "invalid SNI name" },
        { 100, 64, "invalid SNI name" },
        { 253, 63, NULL },
        { 253, 1, NULL },
        { 254, 50, "invalid SNI name" },
        { 255, 50, "invalid SNI name" },
        { 256, 50, "invalid SNI name length" },
        { 300, 50, "invalid SNI name length" },
        { 0, 1, "invalid SNI name length" }
    };

    for (i = 0; i < sizeof(sizes) / sizeof(sizes[0]); i++) {
        make_name(name, sizes[i].len, sizes[i].label);

        begin_exts();
        put_sni(name, sizes[i].len);

        if (sizes[i].error) {
            refused(sizes[i].error, "size of a name");
            continue;
        }

        accepted("size of a name");
        ok(h.sni_len == sizes[i].len
           && memcmp(h.sni, name, h.sni_len) == 0,
           "%lu bytes in labels of %lu", (unsigned long) sizes[i].len,
           (unsigned long) sizes[i].label);
    }
}


static void
make_name(u_char *p, size_t len, size_t label)
{
    size_t  i;

    for (i = 0; i < len; i++) {
        p[i] = (i % (label + 1) == label) ? '.' : 'a';
    }
}


static void
test_sni_list(void)
{
    begin_exts();
    put_ext(0, "\0\x0f\0\0\x04name\x01\0\x05other", 17);
    refused("invalid SNI name length", "a second entry of another type");

    begin_exts();
    put_ext(0, "\0\x0e\0\0\x04name\0\0\x04next", 16);
    refused("invalid SNI name length", "two names");

    begin_exts();
    put_ext(0, "\0\x07\x01\0\x04name", 9);
    refused("invalid SNI name type", "name_type 1");

    begin_exts();
    put_ext(0, "\0\x07\xff\0\x04name", 9);
    refused("invalid SNI name type", "name_type 255");

    begin_exts();
    put_ext(0, "\0\x07\0\0\x04nameEXTRA", 14);
    refused("invalid SNI list length", "a name in the slack");

    begin_exts();
    put_ext(0, "\0\0", 2);
    refused("a length exceeds what it is in", "an empty list");

    begin_exts();
    put_ext(0, "\0\0", 2);
    put_ext(10, "\0\x02\0\x1d", 4);
    refused("a length exceeds what it is in", "an empty list, not the last");

    begin_exts();
    put_ext(0, "", 0);
    refused("a length exceeds what it is in", "an empty SNI extension");

    begin_exts();
    put_ext(0, "\0\x02\0\0", 4);
    refused("a length exceeds what it is in", "half a name's length");

    begin_exts();
    put_sni("a.example", 9);
    put_sni("a.example", 9);
    refused("duplicate extension", "two SNI extensions");

    begin_exts();
    put_sni("a.example", 9);
    put_alpn("\x02h2", 3);
    put_sni("b.example", 9);
    refused("duplicate extension", "two SNI extensions, apart");
}


static void
test_alpn(void)
{
    begin_exts();
    put_alpn("", 0);
    refused("a length exceeds what it is in", "no names");

    begin_exts();
    put_ext(16, "", 0);
    refused("a length exceeds what it is in", "an empty ALPN extension");

    begin_exts();
    put_alpn("\0", 1);
    refused("invalid ALPN name length", "an empty name");

    begin_exts();
    put_alpn("\x02h2\0", 4);
    refused("invalid ALPN name length", "an empty second name");

    begin_exts();
    put_alpn("\x03h2", 3);
    refused("a length exceeds what it is in", "a name too long");

    begin_exts();
    put_ext(16, "\0\x03\x02h2\x08http/1.1", 14);
    refused("invalid ALPN list length", "names in the slack");

    begin_exts();
    put_alpn("\x02h2", 3);
    put_alpn("\x02h2", 3);
    refused("duplicate extension", "two ALPN extensions");
}


static void
test_alpn_names(void)
{
    size_t  i, n;

    static struct {
        const char  *list;
        const char  *read;
        ngx_uint_t   istio;
    } lists[] = {
        { "\x02h2", "h2", 0 },
        { "\x02h2\x08http/1.1", "h2,http/1.1", 0 },
        { "\x02\xfa\xfa\x02h2", "\\xfa\\xfa,h2", 0 },
        { "\x03" "a,b\x03" "c\"d\x03" "e\\f",
          "a\\x2cb,c\\x22d,e\\x5cf", 0 },
        { "\x03" "a b\x02\r\n\x02~\x7f",
          "a\\x20b,\\x0d\\x0a,~\\x7f", 0 },
        { "\x05istio", "istio", 1 },
        { "\x13istio-peer-exchange\x05istio", "istio-peer-exchange,istio",
          1 },
        { "\x02h2\x0eistio-http/1.1", "h2,istio-http/1.1", 1 },
        { "\x05istio\x02h2", "istio,h2", 1 },
        { "\x06xistio\x04isti", "xistio,isti", 0 },
        { "\x02is\x03tio", "is,tio", 0 },
        { "\x05Istio", "Istio", 0 }
    };

    for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        n = strlen(lists[i].read);

        begin_exts();
        put_alpn(lists[i].list, strlen(lists[i].list));

        ok(parse_hello() == NGX_OK && h.alpn_len == n
           && memcmp(h.alpn, lists[i].read, n) == 0
           && h.istio == lists[i].istio && !h.alpn_truncated,
           "ALPN %s", lists[i].read);
    }

    begin_exts();
    put_alpn("\x03" "a\0b", 4);
    ok(parse_hello() == NGX_OK && h.alpn_len == 6
       && memcmp(h.alpn, "a\\x00b", 6) == 0, "ALPN with NUL");
}


static void
test_alpn_sizes(void)
{
    u_char  list[2048];
    size_t  i;

    memset(list, 'a', sizeof(list));
    list[0] = 255;

    begin_exts();
    put_alpn(list, 256);
    ok(parse_hello() == NGX_OK && h.alpn_len == 255 && !h.alpn_truncated,
       "a name of 255 bytes");

    memcpy(list + 256, "\x05istio", 6);

    begin_exts();
    put_alpn(list, 262);
    ok(parse_hello() == NGX_OK && h.alpn_len == 255 && h.alpn_truncated
       && h.istio, "a name too many");

    memset(list, 'a', sizeof(list));
    list[0] = 2;
    memcpy(list + 1, "h2", 2);
    list[3] = 253;

    begin_exts();
    put_alpn(list, 257);
    ok(parse_hello() == NGX_OK && h.alpn_len == 2 && h.alpn_truncated
       && memcmp(h.alpn, "h2", 2) == 0, "cut at a whole name");

    list[3] = 252;

    begin_exts();
    put_alpn(list, 256);
    ok(parse_hello() == NGX_OK && h.alpn_len == 255 && !h.alpn_truncated,
       "full to the last byte");

    memset(list, 0xff, sizeof(list));

    begin_exts();
    put_alpn(list, 256);
    ok(parse_hello() == NGX_OK && h.alpn_len == 0 && h.alpn_truncated,
       "escapes that do not fit");

    for (i = 0; i < 1024; i++) {
        list[2 * i] = 1;
        list[2 * i + 1] = 'a';
    }

    begin_exts();
    put_alpn(list, 2048);
    ok(parse_hello() == NGX_OK && h.alpn_len == 255 && h.alpn_truncated
       && h.alpn[254] == 'a', "1024 names");
}


static void
test_versions(void)
{
    size_t  i;

    static struct {
        const char  *list;
        size_t       len;
        uint16_t     version;
        ngx_uint_t   tls13;
    } lists[] = {
        { "\x03\x04\x03\x03", 4, 0x0304, 1 },
        { "\x03\x03\x03\x04", 4, 0x0304, 1 },
        { "\xfa\xfa\x03\x04", 4, 0x0304, 1 },
        { "\x03\x02", 2, 0x0302, 0 },
        { "\x0a\x0a\x9a\x9a", 4, 0x0303, 0 },
        { "\x0a\x1a\x03\x04", 4, 0x0a1a, 1 }
    };

    for (i = 0; i < sizeof(lists) / sizeof(lists[0]); i++) {
        begin_exts();
        put_versions(lists[i].list, lists[i].len);

        ok(parse_hello() == NGX_OK && h.version == lists[i].version
           && h.tls13 == lists[i].tls13, "versions %lu",
           (unsigned long) i);
    }

    begin_exts();
    put_versions("", 0);
    refused("invalid versions length", "no versions");

    begin_exts();
    put_versions("\x03\x04\x03", 3);
    refused("invalid versions length", "half a version");

    begin_exts();
    put_ext(43, "\x02\x03\x04\x03\x03", 5);
    refused("invalid versions length", "versions in the slack");

    begin_exts();
    put_ext(43, "\x04\x03\x04", 3);
    refused("invalid versions length", "versions that are missing");

    begin_exts();
    put_ext(43, "", 0);
    refused("a length exceeds what it is in", "an empty extension");
}


static void
test_ech(void)
{
    begin_exts();
    put_ech();
    accepted("ECH outer");
    ok(h.ech == 1, "is 1");

    begin_exts();
    put_ext(0xfe0d, "\0\0\x01\0\x01\x2a\0\0\0\x01p", 11);
    accepted("ECH outer without enc");
    ok(h.ech == 1, "is 1");

    begin_exts();
    put_ext(0xfe0d, "\x01", 1);
    accepted("ECH inner");
    ok(h.ech == 2, "is 2");

    begin_exts();
    put_ext(0xfe0d, "\x02", 1);
    refused("invalid ECH type", "ECH of type 2");

    begin_exts();
    put_ext(0xfe0d, "", 0);
    refused("a length exceeds what it is in", "ECH without type");

    begin_exts();
    put_ext(0xfe0d, "\x01x", 2);
    refused("invalid ECH length", "ECH inner with contents");

    begin_exts();
    put_ext(0xfe0d, "\0\0\x01", 3);
    refused("a length exceeds what it is in", "ECH outer cut off");

    begin_exts();
    put_ext(0xfe0d, "\0\0\x01\0\x01\x2a\0\0\0\0", 10);
    refused("invalid ECH length", "ECH outer without payload");

    begin_exts();
    put_ext(0xfe0d, "\0\0\x01\0\x01\x2a\0\0\0\x01pq", 12);
    refused("invalid ECH length", "ECH outer with slack");

    begin_exts();
    put_ext(0xfe0d, "\x01", 1);
    put_ext(0xfe0d, "\x01", 1);
    refused("duplicate extension", "two ECH extensions");
}


static void
test_extensions(void)
{
    ngx_uint_t  i;

    begin_exts();
    put_sni(TEST_GITHUB, 14);
    put_psk();
    accepted("pre_shared_key as the last");

    begin_exts();
    put_psk();
    put_sni(TEST_GITHUB, 14);
    refused("pre_shared_key is not the last", "pre_shared_key before SNI");

    begin_exts();
    put_ext(0xabcd, "", 0);
    put_ext(0xabcd, "", 0);
    refused("duplicate extension", "an unknown type twice");

    begin_exts();
    put_ext(0x2a2a, "", 0);
    put_ext(10, "\0\x02\0\x1d", 4);
    put_ext(0x2a2a, "", 0);
    refused("duplicate extension", "GREASE twice");

    begin_exts();
    put_number(0xabcd, 2);
    put_number(1, 2);
    refused("invalid extension length", "an extension past the end");

    /* too many for the list of length fields */

    begin_exts();

    for (i = 0; i < NGX_EGRESS_HELLO_EXTENSIONS; i++) {
        put_number(0x1000 + i, 2);
        put_number(0, 2);
    }

    accepted("64 extensions");

    begin_exts();

    for (i = 0; i < NGX_EGRESS_HELLO_EXTENSIONS + 1; i++) {
        put_number(0x1000 + i, 2);
        put_number(0, 2);
    }

    refused("too many extensions", "65 extensions");
}


static void
test_not_tls(void)
{
    size_t  i, good;
    u_char  byte;

    static const char  sslv2[] = "\x80\x2e\x01\x03\x01\0\x15\0\0\0\x10";
    static const char  http[] = "GET / HTTP/1.1\r\nHost: a.example\r\n\r\n";
    static const char  ssh[] = "SSH-2.0-OpenSSH_9.2\r\n";

    ok(parse((u_char *) sslv2, sizeof(sslv2) - 1) == NGX_DECLINED, "SSLv2");
    ok(parse((u_char *) http, sizeof(http) - 1) == NGX_DECLINED, "HTTP");
    ok(parse((u_char *) ssh, sizeof(ssh) - 1) == NGX_DECLINED, "SSH");

    good = 0;

    for (i = 0; i < 256; i++) {
        byte = (u_char) i;
        good += parse(&byte, 1) == (i == 22 ? NGX_AGAIN : NGX_DECLINED);
    }

    ok(good == 256, "the first byte");
}


static void
test_real(void)
{
    ok(real_hello(TEST_GITHUB, "\x02h2\x08http/1.1", 0, 0) == NGX_OK
       && h.sni_len == 14 && memcmp(h.sni, TEST_GITHUB, 14) == 0
       && h.alpn_len == 11 && h.version == 0x0304 && h.tls13 && h.ech == 0,
       "of OpenSSL");
    test_cuts(raw.data, raw.len, "of OpenSSL");

    ok(real_hello("API.GITHUB.com", NULL, TLS1_2_VERSION, 0) == NGX_OK
       && h.sni_len == 14 && memcmp(h.sni, TEST_GITHUB, 14) == 0
       && h.alpn_len == 0 && h.version == 0x0303 && !h.tls13,
       "of OpenSSL, TLS 1.2");
    test_cuts(raw.data, raw.len, "of OpenSSL, TLS 1.2");

    ok(real_hello(NULL, NULL, 0, 0) == NGX_OK && h.sni_len == 0 && h.tls13,
       "of OpenSSL, without SNI");

    ok(real_hello(TEST_GITHUB, "\x05istio", 0, 1) == NGX_OK && h.istio
       && raw.len >= 512, "of OpenSSL, padded");

    ok(real_hello("127.0.0.1", NULL, 0, 0) == NGX_ERROR,
       "of OpenSSL, an address");
}


/* what the library that is installed sends first, to raw */

static ngx_int_t
real_hello(const char *sni, const char *alpn, int version,
    ngx_uint_t padding)
{
    BIO      *in, *out;
    SSL      *ssl;
    SSL_CTX  *ctx;

    ctx = SSL_CTX_new(TLS_client_method());
    ssl = ctx ? SSL_new(ctx) : NULL;
    in = BIO_new(BIO_s_mem());
    out = BIO_new(BIO_s_mem());

    if (ssl == NULL || in == NULL || out == NULL
        || (sni && !SSL_set_tlsext_host_name(ssl, sni))
        || (alpn && SSL_set_alpn_protos(ssl, (const u_char *) alpn,
                                        (unsigned) strlen(alpn)))
        || !SSL_set_max_proto_version(ssl, version))
    {
        abort();
    }

    if (padding) {
        SSL_set_options(ssl, SSL_OP_TLSEXT_PADDING);
        SSL_set_cipher_list(ssl, "ECDHE+AESGCM");
    }

    SSL_set_bio(ssl, in, out);
    SSL_set_connect_state(ssl);

    (void) SSL_do_handshake(ssl);

    raw.len = (size_t) BIO_read(out, raw.data, TEST_SIZE);

    SSL_free(ssl);
    SSL_CTX_free(ctx);

    return parse(raw.data, raw.len);
}
