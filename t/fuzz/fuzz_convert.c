
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Fuzzes egressctl convert, from the bytes of a manifest to nginx.conf.
 * What is not refused has to have nothing in it but words that egressctl
 * itself puts there in the place of a directive: text of a manifest that got
 * out of its own place would show as another one.
 *
 * egressctl frees nothing, as it ends soon: what it allocates comes from
 * fuzz_*() here (run.sh has the -D), and goes when an input is done.
 */


#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>


static FILE  *fuzz_null;


#undef stderr
#define stderr  fuzz_null
#define main    egressctl_main

#include "../../util/egressctl/diag.c"
#include "../../util/egressctl/main.c"

#undef main
#undef calloc
#undef realloc
#undef strdup
#undef vasprintf
#undef open_memstream
#undef free

/* the headers have declared them under the other names */

extern void *calloc(size_t n, size_t size);
extern void *realloc(void *p, size_t size);
extern void free(void *p);


#define FUZZ_DEPTH  16


typedef struct fuzz_block_s  fuzz_block_t;

/* what open_memstream() would grow */

typedef struct {
    char          **buf;
    size_t         *size;
    size_t          room;
} fuzz_stream_t;


/* in front of what is allocated, which keeps its alignment */

struct fuzz_block_s {
    fuzz_block_t   *next;
    fuzz_block_t  **prev;
};


int LLVMFuzzerInitialize(int *argc, char ***argv);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

void *fuzz_calloc(size_t n, size_t size);
void *fuzz_realloc(void *p, size_t size);
char *fuzz_strdup(const char *s);
int fuzz_vasprintf(char **s, const char *fmt, va_list args);
FILE *fuzz_memstream(char **buf, size_t *size);
void fuzz_free(void *p);


static ssize_t fuzz_write(void *cookie, const char *data, size_t size);
static void fuzz_link(fuzz_block_t *b);
static void fuzz_unlink(fuzz_block_t *b);
static void fuzz_check(const char *text);
static const char *fuzz_word(const char *p, char *word, size_t size);
static void fuzz_directive(const char *block, const char *word);
static void fuzz_fail(const char *what, const char *word);


static int            fuzz_fd;
static char           fuzz_name[64];
static fuzz_block_t  *fuzz_blocks;


int
LLVMFuzzerInitialize(int *argc, char ***argv)
{
    (void) argc;
    (void) argv;

    fuzz_null = fopen("/dev/null", "w");
    fuzz_fd = memfd_create("manifest", 0);

    if (fuzz_null == NULL || fuzz_fd == -1) {
        abort();
    }

    snprintf(fuzz_name, sizeof(fuzz_name), "/proc/self/fd/%d", fuzz_fd);

    return 0;
}


int
LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    char       *text;
    pos_t       pos;
    model_t     m;
    options_t   o;

    static source_t  none = { NULL, "none", "", 0 };

    if (ftruncate(fuzz_fd, 0) == -1
        || pwrite(fuzz_fd, data, size, 0) != (ssize_t) size)
    {
        abort();
    }

    memset(&m, 0, sizeof(model_t));
    memset(&o, 0, sizeof(options_t));

    o.selector = "istio=egressgateway,app=istio-egressgateway";
    o.namespace = "istio-system";
    o.root = "istio-system";
    o.certificate = "tls.crt";
    o.key = "tls.key";
    o.ca = "ca.crt";
    o.proxy_conf = "egress_proxy.conf";
    o.resolver = "127.0.0.1";
    o.secrets = "secrets";
    o.locality = "eu/a";
    m.options = &o;

    /* what diag_quote() remembers must not be of a source that is gone */

    pos.source = &none;
    pos.line = 1;
    pos.col = 1;

    diag(DIAG_WARNING, &pos, "FUZZ", "next");

    diag_errors = 0;
    diag_shown = 0;

    convert_add(&m, fuzz_name);
    schema_skipped();
    convert_twice(&m);
    model_build(&m);

    text = emit_conf(&m);

    if (diag_end() == 0) {
        fuzz_check(text);
    }

    while (fuzz_blocks) {
        fuzz_free(fuzz_blocks + 1);
    }

    xreset();

    return 0;
}


void *
fuzz_calloc(size_t n, size_t size)
{
    fuzz_block_t  *b;

    b = calloc(1, sizeof(fuzz_block_t) + n * size);

    if (b == NULL) {
        abort();
    }

    fuzz_link(b);

    return b + 1;
}


void *
fuzz_realloc(void *p, size_t size)
{
    fuzz_block_t  *b;

    b = NULL;

    if (p) {
        b = (fuzz_block_t *) p - 1;
        fuzz_unlink(b);
    }

    b = realloc(b, sizeof(fuzz_block_t) + size);

    if (b == NULL) {
        abort();
    }

    fuzz_link(b);

    return b + 1;
}


char *
fuzz_strdup(const char *s)
{
    return strcpy(fuzz_calloc(1, strlen(s) + 1), s);
}


int
fuzz_vasprintf(char **s, const char *fmt, va_list args)
{
    int      n;
    va_list  copy;

    va_copy(copy, args);
    n = vsnprintf(NULL, 0, fmt, copy);
    va_end(copy);

    *s = fuzz_calloc(1, (size_t) n + 1);

    return vsnprintf(*s, (size_t) n + 1, fmt, args);
}


FILE *
fuzz_memstream(char **buf, size_t *size)
{
    FILE           *f;
    fuzz_stream_t  *stream;

    stream = fuzz_calloc(1, sizeof(fuzz_stream_t));
    stream->buf = buf;
    stream->size = size;
    stream->room = 256;

    *buf = fuzz_calloc(1, stream->room);
    *size = 0;

    f = fopencookie(stream, "w",
                    (cookie_io_functions_t) { .write = fuzz_write });

    if (f == NULL) {
        abort();
    }

    return f;
}


static ssize_t
fuzz_write(void *cookie, const char *data, size_t size)
{
    fuzz_stream_t *s = cookie;

    while (*s->size + size + 1 > s->room) {
        s->room *= 2;
        *s->buf = fuzz_realloc(*s->buf, s->room);
    }

    memcpy(*s->buf + *s->size, data, size);
    *s->size += size;
    (*s->buf)[*s->size] = '\0';

    return size;
}


void
fuzz_free(void *p)
{
    if (p) {
        fuzz_unlink((fuzz_block_t *) p - 1);
        free((fuzz_block_t *) p - 1);
    }
}


static void
fuzz_link(fuzz_block_t *b)
{
    b->next = fuzz_blocks;
    b->prev = &fuzz_blocks;

    if (b->next) {
        b->next->prev = &b->next;
    }

    fuzz_blocks = b;
}


static void
fuzz_unlink(fuzz_block_t *b)
{
    *b->prev = b->next;

    if (b->next) {
        b->next->prev = b->prev;
    }
}


/* the words of nginx.conf as nginx takes them apart */

static void
fuzz_check(const char *text)
{
    int          first;
    char         word[4096], blocks[FUZZ_DEPTH][4096];
    size_t       depth;
    const char  *p;

    depth = 1;
    first = 1;
    strcpy(blocks[0], "");
    strcpy(word, "");

    for (p = text; *p; /* void */ ) {

        if (*p == ' ' || *p == '\n') {
            p++;

        } else if (*p == '#') {
            p += strcspn(p, "\n");

        } else if (*p == ';') {
            first = 1;
            p++;

        } else if (*p == '{') {
            if (depth == FUZZ_DEPTH) {
                fuzz_fail("too deep", word);
            }

            strcpy(blocks[depth++], word);
            first = 1;
            p++;

        } else if (*p == '}') {
            if (--depth == 0 || !first) {
                fuzz_fail("a \"}\" too many, or in place of \";\"", word);
            }

            p++;

        } else if (first) {
            p = fuzz_word(p, word, sizeof(word));
            fuzz_directive(blocks[depth - 1], word);
            first = 0;

        } else {
            p = fuzz_word(p, NULL, 0);
        }
    }

    if (depth != 1 || !first) {
        fuzz_fail("not ended", word);
    }
}


/* copied, without its quotes, if there is room for it */

static const char *
fuzz_word(const char *p, char *word, size_t size)
{
    char         quote;
    size_t       len;
    const char  *start, *end;

    quote = *p;
    start = p;

    if (quote == '"' || quote == '\'') {
        start++;
        end = start;

        while (*end && *end != quote) {
            end += (*end == '\\' && end[1]) ? 2 : 1;
        }

        p = end + 1;

        if (*end == '\0' || *p == '\0' || strchr(" \n;{)", *p) == NULL) {
            fuzz_fail("a quote is not closed", start);
        }

    } else {
        end = p + strcspn(p, " \t\r\n;{");
        p = end;
    }

    len = end - start;

    if (word) {
        if (len >= size) {
            fuzz_fail("a long directive", start);
        }

        memcpy(word, start, len);
        word[len] = '\0';
    }

    return p;
}


static void
fuzz_directive(const char *block, const char *word)
{
    size_t       i, len;
    const char  *p;

    static const char  *allowed[][2] = {
        { "", "include worker_processes worker_shutdown_timeout events egress"
          " stream http" },
        { "events", "worker_connections" },
        { "egress", "version zone gateway outbound_policy trust_domain"
          " path_normalization resolver service policy bucket" },
        { "service", "source lookup host port location resolution endpoint"
          " connect_timeout idle_timeout tcp_keepalive max_connections"
          " max_requests max_pending max_retries requests_per_connection"
          " keepalive_timeout balance outlier retry tls tls_name tls_san"
          " tls_certificate tls_certificate_key tls_trusted_certificate"
          " tls_crl tls_verify tls_protocols tls_ciphers tls_alpn" },
        { "policy", "source action dry_run rule" },
        { "rule", "source from to when" },
        { "from", "principals not_principals namespaces not_namespaces"
          " service_accounts not_service_accounts trust_domains"
          " not_trust_domains ip_blocks not_ip_blocks remote_ip_blocks"
          " not_remote_ip_blocks" },
        { "to", "hosts not_hosts ports not_ports methods not_methods paths"
          " not_paths" },
        { "bucket", "tokens fill interval status header request_header"
          " x_ratelimit_headers always_consume descriptor" },
        { "descriptor", "tokens fill interval" },
        { "stream", "map_hash_bucket_size upstream map geo split_clients"
          " log_format access_log server" },
        { "http", "server_names_hash_bucket_size map_hash_bucket_size"
          " variables_hash_max_size merge_slashes underscores_in_headers"
          " client_max_body_size"
          " proxy_read_timeout proxy_send_timeout grpc_read_timeout"
          " grpc_send_timeout uninitialized_variable_warn"
          " upstream map geo split_clients log_format"
          " access_log server" },
        { "upstream", "egress_balance" },
        { "server", "listen server_name ssl_certificate ssl_certificate_key"
          " ssl_client_certificate ssl_verify_client ssl_verify_depth"
          " ssl_protocols ssl_ciphers ssl_ecdh_curve ssl_crl"
          " ssl_reject_handshake ssl_session_tickets ssl_session_cache egress"
          " egress_port egress_mesh egress_preread egress_service"
          " egress_ratelimit egress_ratelimit_descriptor proxy_timeout"
          " proxy_pass return location" },
        { "location", "egress egress_service egress_ratelimit"
          " egress_ratelimit_descriptor include root"
          " try_files default_type return error_page internal if set rewrite"
          " mirror add_header proxy_set_header proxy_hide_header"
          " proxy_read_timeout proxy_send_timeout proxy_pass grpc_set_header"
          " grpc_hide_header grpc_read_timeout grpc_send_timeout grpc_pass"
          " client_body_timeout" },
        { "if", "return" }
    };

    /* what is looked up, and not a directive */

    if (strcmp(block, "map") == 0 || strcmp(block, "geo") == 0
        || strcmp(block, "split_clients") == 0)
    {
        return;
    }

    len = strlen(word);

    for (i = 0; i < sizeof(allowed) / sizeof(allowed[0]); i++) {

        if (strcmp(allowed[i][0], block) != 0) {
            continue;
        }

        for (p = allowed[i][1]; *p; p += strspn(p, " ")) {

            if (strncmp(p, word, len) == 0
                && (p[len] == ' ' || p[len] == '\0'))
            {
                return;
            }

            p += strcspn(p, " ");
        }
    }

    fuzz_fail("a directive that is not egressctl's", word);
}


static void
fuzz_fail(const char *what, const char *word)
{
    dprintf(STDERR_FILENO, "fuzz_convert: %s: \"%.80s\"\n", what, word);
    abort();
}
