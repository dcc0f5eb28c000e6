
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "egressctl.h"


typedef struct {
    const char     **files;
    size_t           nfiles;
    const char      *output;
    options_t        options;
    int              analyze;            /* the command is that one */
    int              json;
    int              fail;               /* warnings are a failure */
} convert_t;


static int convert(int argc, char **argv);
static int analyze(int argc, char **argv);
static int analyze_option(convert_t *c, int ch);
static int convert_prepare(int argc, char **argv, convert_t *c, model_t *m,
    char **text);
static int convert_options(int argc, char **argv, convert_t *c);
static int convert_option(convert_t *c, int ch);
static int convert_string(options_t *o, int ch);
static void convert_push(const char ***list, size_t *n, const char *value);
static int convert_pair(const char *name, const char *value);
static int convert_listen(const char *value);
static int convert_allow(const char *value);
static int convert_proxy_conf(const char *value);
static int convert_version(options_t *o, const char *value);
static void convert_add(model_t *m, const char *name);
static void convert_folder(model_t *m, const char *name);
static int convert_name(const struct dirent *entry);
static void convert_file(model_t *m, const char *name);
static void convert_document(model_t *m, node_t *doc);
static void convert_twice(model_t *m);
static int convert_compare(const void *one, const void *two);
static int convert_write(const char *name, const char *text);
static int convert_all(int fd, const char *text);
static int convert_stdout(const char *text);


static const char  usage[] =
"usage: egressctl convert -f FILE|DIR|- ... [-o FILE] [options]\n"
"\n"
"Converts Istio manifests to an nginx.conf for the egress modules.  What it\n"
"says of them goes to stderr; nothing is written if there is an error.\n"
"\n"
"  -f, --file FILE|DIR|-      manifests; may be repeated\n"
"  -o, --output FILE          instead of standard output\n"
"      --selector K=V[,K=V]   labels of the gateway\n"
"                             (istio=egressgateway,app=istio-egressgateway)\n"
"      --namespace NAME       of the gateway (istio-system)\n"
"      --locality PLACE       of the gateway, as REGION/ZONE/SUBZONE\n"
"      --root-namespace NAME  of the mesh (istio-system)\n"
"      --module-path DIR      write load_module lines for the modules there,\n"
"                             instead of an include of modules-enabled/\n"
"      --stream-module FILE   and for nginx's own stream module, if dynamic\n"
"      --mesh-certificate FILE, --mesh-key FILE, --mesh-ca FILE\n"
"                             the gateway's own, for the mesh's mTLS\n"
"                             (/etc/egress/mesh/{tls.crt,tls.key,ca.crt})\n"
"      --listen PORT=ADDRESS  where a Gateway's port is bound\n"
"      --endpoint HOST[:PORT]=ADDRESS[:PORT]\n"
"                             pin where a host is dialled\n"
"      --path PREFIX=DIR      where files named in manifests are\n"
"      --secrets-dir DIR      where Secrets are, a folder each; those in the\n"
"                             manifests are written there\n"
"      --resolver ADDRESS     name server\n"
"      --system-ca FILE       instead of the system's CA certificates\n"
"      --allow-address CIDR   let the guard pass addresses that DNS returns\n"
"      --conf-path FILE       where egress_proxy.conf is, for \"include\"\n"
"      --nginx-version X.Y.Z  the nginx that is to run it (from 1.22.0 on);\n"
"                             without it, what all of them take\n"
"      --access-log FILE      write access logs, or \"off\"\n"
"      --admin-socket PATH    serve status, metrics and explain there, as\n"
"                             /run/egress/admin.sock (folder of mode 0750)\n"
"      --strict               warnings are errors\n"
"\n"
"egressctl analyze -f FILE|DIR|- ... [--format text|json] [--fail-on warning]\n"
"                             what is wrong with manifests, or will surprise,\n"
"                             to standard output; options as of convert, and\n"
"                             no configuration is written\n"
"egressctl explain --help   why a principal may reach a host, or not\n"
"egressctl learn --help     what would allow what report mode has seen\n"
"egressctl fields [--markdown | --crd FILE]\n"
"                             what becomes of each field of each kind; which\n"
"                             fields of Istio's CRDs are not known\n"
"egressctl --version, egressctl --help\n"
"exit status: 0 done, 1 input refused, 2 usage\n";


enum {
    OPT_SELECTOR = 256,
    OPT_NAMESPACE,
    OPT_ROOT,
    OPT_MODULES,
    OPT_STREAM,
    OPT_CERTIFICATE,
    OPT_KEY,
    OPT_CA,
    OPT_LISTEN,
    OPT_ENDPOINT,
    OPT_PATH,
    OPT_RESOLVER,
    OPT_SYSTEM_CA,
    OPT_ALLOW,
    OPT_PROXY_CONF,
    OPT_ACCESS_LOG,
    OPT_ADMIN,
    OPT_VERSION,
    OPT_STRICT,
    OPT_LOCALITY,
    OPT_SECRETS,
    OPT_FORMAT,
    OPT_FAIL_ON
};


static const struct option  convert_long[] = {
    { "file", required_argument, NULL, 'f' },
    { "output", required_argument, NULL, 'o' },
    { "help", no_argument, NULL, 'h' },
    { "selector", required_argument, NULL, OPT_SELECTOR },
    { "namespace", required_argument, NULL, OPT_NAMESPACE },
    { "root-namespace", required_argument, NULL, OPT_ROOT },
    { "module-path", required_argument, NULL, OPT_MODULES },
    { "stream-module", required_argument, NULL, OPT_STREAM },
    { "mesh-certificate", required_argument, NULL, OPT_CERTIFICATE },
    { "mesh-key", required_argument, NULL, OPT_KEY },
    { "mesh-ca", required_argument, NULL, OPT_CA },
    { "listen", required_argument, NULL, OPT_LISTEN },
    { "endpoint", required_argument, NULL, OPT_ENDPOINT },
    { "path", required_argument, NULL, OPT_PATH },
    { "resolver", required_argument, NULL, OPT_RESOLVER },
    { "system-ca", required_argument, NULL, OPT_SYSTEM_CA },
    { "allow-address", required_argument, NULL, OPT_ALLOW },
    { "conf-path", required_argument, NULL, OPT_PROXY_CONF },
    { "proxy-conf", required_argument, NULL, OPT_PROXY_CONF },
    { "nginx-version", required_argument, NULL, OPT_VERSION },
    { "access-log", required_argument, NULL, OPT_ACCESS_LOG },
    { "admin-socket", required_argument, NULL, OPT_ADMIN },
    { "locality", required_argument, NULL, OPT_LOCALITY },
    { "secrets-dir", required_argument, NULL, OPT_SECRETS },
    { "strict", no_argument, NULL, OPT_STRICT },
    { "format", required_argument, NULL, OPT_FORMAT },
    { "fail-on", required_argument, NULL, OPT_FAIL_ON },
    { NULL, 0, NULL, 0 }
};


int
main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "convert") == 0) {
        return convert(argc - 1, argv + 1);
    }

    if (argc > 1 && strcmp(argv[1], "analyze") == 0) {
        return analyze(argc - 1, argv + 1);
    }

    if (argc > 1 && strcmp(argv[1], "explain") == 0) {
        return explain(argc - 1, argv + 1);
    }

    if (argc > 1 && strcmp(argv[1], "learn") == 0) {
        return learn(argc - 1, argv + 1);
    }

    if (argc > 1 && strcmp(argv[1], "fields") == 0) {
        return fields(argc - 1, argv + 1);
    }

    if (argc > 1 && (strcmp(argv[1], "--help") == 0
                     || strcmp(argv[1], "-h") == 0))
    {
        fputs(usage, stdout);
        return EGRESSCTL_OK;
    }

    if (argc > 1 && strcmp(argv[1], "--version") == 0) {
        puts("egressctl " EGRESSCTL_VERSION);
        return EGRESSCTL_OK;
    }

    if (argc > 1) {
        fprintf(stderr, "egressctl: unknown command \"%s\"\n", argv[1]);
    }

    fputs(usage, stderr);

    return EGRESSCTL_USAGE;
}


static int
convert(int argc, char **argv)
{
    int         rc;
    char       *text;
    model_t     m;
    convert_t   c;

    memset(&c, 0, sizeof(convert_t));

    rc = convert_prepare(argc, argv, &c, &m, &text);

    if (rc != -1) {
        return rc;
    }

    if (secret_write(&m) != 0) {
        return EGRESSCTL_REFUSED;
    }

    return c.output ? convert_write(c.output, text) : convert_stdout(text);
}


/* reads, checks and renders as "convert" does, and writes nothing */

static int
analyze(int argc, char **argv)
{
    int         rc;
    char       *text;
    model_t     m;
    convert_t   c;

    memset(&c, 0, sizeof(convert_t));
    c.analyze = 1;

    rc = convert_prepare(argc, argv, &c, &m, &text);

    /* of the options, or of the input, which is about to be said */

    if (rc != -1 && (rc != EGRESSCTL_REFUSED || m.options == NULL)) {
        return rc;
    }

    analyze_model(&m);

    if (analyze_print(c.json) != 0) {
        fprintf(stderr, "egressctl: standard output: %s\n",
                strerror(errno));
        return EGRESSCTL_REFUSED;
    }

    return diag_count(DIAG_ERROR) || (c.fail && diag_count(DIAG_WARNING))
           ? EGRESSCTL_REFUSED : EGRESSCTL_OK;
}


int
convert_text(int argc, char **argv, char **text)
{
    int         rc;
    model_t     m;
    convert_t   c;

    optind = 1;
    memset(&c, 0, sizeof(convert_t));

    /* Secrets of the input stay where they are: nothing is to change */

    rc = convert_prepare(argc, argv, &c, &m, text);

    return rc == -1 ? EGRESSCTL_OK : rc;
}


/* -1: the text is there */

static int
convert_prepare(int argc, char **argv, convert_t *c, model_t *m, char **text)
{
    int     rc;
    size_t  i;

    memset(m, 0, sizeof(model_t));

    c->options.selector = "istio=egressgateway,app=istio-egressgateway";
    c->options.namespace = "istio-system";
    c->options.root = "istio-system";
    c->options.certificate = "/etc/egress/mesh/tls.crt";
    c->options.key = "/etc/egress/mesh/tls.key";
    c->options.ca = "/etc/egress/mesh/ca.crt";
    c->options.proxy_conf = "egress_proxy.conf";

    rc = convert_options(argc, argv, c);

    if (rc != -1) {
        return rc;
    }

    m->options = &c->options;

    if (c->analyze) {
        diag_collect();
    }

    for (i = 0; i < c->nfiles; i++) {
        convert_add(m, c->files[i]);
    }

    schema_skipped();
    convert_twice(m);
    model_build(m);

    *text = emit_conf(m);

    secret_check(m);

    if (c->analyze) {
        return -1;
    }

    return diag_end() ? EGRESSCTL_REFUSED : -1;
}


/* -1: go on */

static int
convert_options(int argc, char **argv, convert_t *c)
{
    int  ch, rc;

    /* getopt's own messages begin with it */

    argv[0] = "egressctl";

    while ((ch = getopt_long(argc, argv, "f:o:h", convert_long, NULL)) != -1)
    {
        rc = convert_option(c, ch);

        if (rc != -1) {
            return rc;
        }
    }

    if (optind < argc) {
        fprintf(stderr, "egressctl: unexpected \"%s\": files are given with "
                "-f\n", argv[optind]);
        return EGRESSCTL_USAGE;
    }

    if (c->nfiles == 0) {
        fprintf(stderr, "egressctl: %s must have -f FILE, DIR or -\n",
                c->analyze ? "analyze" : "convert");
        return EGRESSCTL_USAGE;
    }

    return -1;
}


static int
convert_option(convert_t *c, int ch)
{
    options_t  *o;

    o = &c->options;

    switch (ch) {

    case 'f':
        convert_push(&c->files, &c->nfiles, optarg);
        return -1;

    case 'o':
        if (c->analyze) {
            fputs("egressctl: analyze writes no configuration: -o is for "
                  "convert\n", stderr);
            return EGRESSCTL_USAGE;
        }

        c->output = optarg;
        return -1;

    case 'h':
        fputs(usage, stdout);
        return EGRESSCTL_OK;

    case OPT_LISTEN:
        convert_push(&o->listen, &o->nlisten, optarg);
        return convert_listen(optarg);

    case OPT_ENDPOINT:
        convert_push(&o->endpoint, &o->nendpoint, optarg);
        return convert_pair("--endpoint", optarg);

    case OPT_PATH:
        convert_push(&o->path, &o->npath, optarg);
        return convert_pair("--path", optarg);

    case OPT_ALLOW:
        convert_push(&o->allow, &o->nallow, optarg);
        return convert_allow(optarg);

    case OPT_VERSION:
        return convert_version(o, optarg);

    case OPT_PROXY_CONF:
        o->proxy_conf = optarg;
        return convert_proxy_conf(optarg);

    case OPT_STRICT:
        c->fail = 1;
        diag_strict();
        return -1;

    case OPT_FORMAT:
    case OPT_FAIL_ON:
        return analyze_option(c, ch);

    default:
        return convert_string(o, ch);
    }
}


static int
analyze_option(convert_t *c, int ch)
{
    if (!c->analyze) {
        fputs("egressctl: --format and --fail-on are for analyze\n", stderr);
        return EGRESSCTL_USAGE;
    }

    if (ch == OPT_FAIL_ON) {

        if (strcmp(optarg, "warning") == 0) {
            c->fail = 1;
            return -1;
        }

        fprintf(stderr, "egressctl: --fail-on is \"warning\", not \"%s\"\n",
                optarg);
        return EGRESSCTL_USAGE;
    }

    c->json = (strcmp(optarg, "json") == 0);

    if (!c->json && strcmp(optarg, "text") != 0) {
        fprintf(stderr, "egressctl: --format is \"text\" or \"json\", not "
                "\"%s\"\n", optarg);
        return EGRESSCTL_USAGE;
    }

    return -1;
}


static int
convert_string(options_t *o, int ch)
{
    size_t  i;

    static const struct {
        int     option;
        size_t  offset;
    } strings[] = {
        { OPT_SELECTOR, offsetof(options_t, selector) },
        { OPT_NAMESPACE, offsetof(options_t, namespace) },
        { OPT_ROOT, offsetof(options_t, root) },
        { OPT_MODULES, offsetof(options_t, modules) },
        { OPT_STREAM, offsetof(options_t, stream_module) },
        { OPT_CERTIFICATE, offsetof(options_t, certificate) },
        { OPT_KEY, offsetof(options_t, key) },
        { OPT_CA, offsetof(options_t, ca) },
        { OPT_RESOLVER, offsetof(options_t, resolver) },
        { OPT_SYSTEM_CA, offsetof(options_t, system_ca) },
        { OPT_ACCESS_LOG, offsetof(options_t, access_log) },
        { OPT_ADMIN, offsetof(options_t, admin) },
        { OPT_LOCALITY, offsetof(options_t, locality) },
        { OPT_SECRETS, offsetof(options_t, secrets) }
    };

    for (i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        if (strings[i].option == ch) {
            *(const char **) ((char *) o + strings[i].offset) = optarg;
            return -1;
        }
    }

    fputs("egressctl: see egressctl --help\n", stderr);

    return EGRESSCTL_USAGE;
}


static void
convert_push(const char ***list, size_t *n, const char *value)
{
    *list = realloc(*list, (*n + 1) * sizeof(char *));

    if (*list == NULL) {
        abort();
    }

    (*list)[(*n)++] = value;
}


static int
convert_pair(const char *name, const char *value)
{
    const char  *p;

    p = strchr(value, '=');

    if (p == NULL || p == value || p[1] == '\0') {
        fprintf(stderr, "egressctl: %s must have the form A=B, not \"%s\"\n",
                name, value);
        return EGRESSCTL_USAGE;
    }

    return -1;
}


static int
convert_listen(const char *value)
{
    long   port;
    char  *end;

    port = strtol(value, &end, 10);

    if (*end != '=' || port < 1 || port > 65535) {
        fprintf(stderr, "egressctl: --listen begins with a port of a Gateway, "
                "as in 443=127.0.0.1:8443, not \"%s\"\n", value);
        return EGRESSCTL_USAGE;
    }

    return convert_pair("--listen", value);
}


static int
convert_allow(const char *value)
{
    const char  *error;

    error = cidr_error(value);

    if (error == NULL) {
        return -1;
    }

    fprintf(stderr, "egressctl: --allow-address: \"%s\" %s\n", value, error);

    return EGRESSCTL_USAGE;
}


static int
convert_proxy_conf(const char *value)
{
    struct stat  st;

    if (stat(value, &st) == 0 && S_ISDIR(st.st_mode)) {
        fprintf(stderr, "egressctl: --conf-path is the file, as "
                "%s/egress_proxy.conf, not its folder\n", value);
        return EGRESSCTL_USAGE;
    }

    return -1;
}


/* what is written is the same for all that are supported */

static int
convert_version(options_t *o, const char *value)
{
    int       n;
    unsigned  major, minor, patch;

    n = 0;

    if (sscanf(value, "%3u.%3u.%3u%n", &major, &minor, &patch, &n) != 3
        || value[n] != '\0')
    {
        fprintf(stderr, "egressctl: --nginx-version must have the form "
                "1.22.1, not \"%s\"\n", value);
        return EGRESSCTL_USAGE;
    }

    if (major < 1 || (major == 1 && minor < 22)) {
        fprintf(stderr, "egressctl: nginx %s is too old: 1.22.0 is the "
                "first that is supported\n", value);
        return EGRESSCTL_USAGE;
    }

    o->version = major * 1000000 + minor * 1000 + patch;

    return -1;
}


static void
convert_add(model_t *m, const char *name)
{
    struct stat  st;

    if (strcmp(name, "-") != 0 && stat(name, &st) == 0
        && S_ISDIR(st.st_mode))
    {
        convert_folder(m, name);
        return;
    }

    convert_file(m, name);
}


static void
convert_folder(model_t *m, const char *name)
{
    int              i, n;
    struct dirent  **entries;

    n = scandir(name, &entries, convert_name, alphasort);

    if (n <= 0) {
        diag(DIAG_ERROR, NULL, "READ", "%s: %s", name,
             n == 0 ? "no *.yaml, *.yml or *.json in this folder"
                    : strerror(errno));
        return;
    }

    for (i = 0; i < n; i++) {
        convert_file(m, xprintf("%s%s%s", name,
                                name[strlen(name) - 1] == '/' ? "" : "/",
                                entries[i]->d_name));
        free(entries[i]);
    }

    free(entries);
}


static int
convert_name(const struct dirent *entry)
{
    const char  *dot;

    dot = strrchr(entry->d_name, '.');

    return dot && entry->d_name[0] != '.'
           && (strcmp(dot, ".yaml") == 0 || strcmp(dot, ".yml") == 0
               || strcmp(dot, ".json") == 0);
}


static void
convert_file(model_t *m, const char *name)
{
    node_t  *doc, *next;

    for (doc = yaml_read(name); doc; doc = next) {
        next = doc->next;
        convert_document(m, doc);
    }
}


static void
convert_document(model_t *m, node_t *doc)
{
    node_t      *items, *item, *next;
    const char  *kind;

    kind = node_text(doc, "kind");
    items = node_get(doc, "items");

    /* what kubectl get -o yaml prints: a List, or a ServiceEntryList */

    if (kind && items && strlen(kind) >= 4
        && strcmp(kind + strlen(kind) - 4, "List") == 0)
    {
        if (items->kind != NODE_LIST) {
            diag(DIAG_ERROR, &items->pos, "TYPE",
                 "\"items\" has to be a list");
            return;
        }

        for (item = items->child; item; item = next) {
            next = item->next;
            convert_document(m, item);
        }

        return;
    }

    if (!schema_check(doc)) {
        return;
    }

    convert_push((const char ***) (void *) &m->docs, &m->ndocs, (void *) doc);
}


/* the same object twice: which of them would count is anybody's guess */

static void
convert_twice(model_t *m)
{
    size_t    i;
    node_t  **docs, *one, *two;

    docs = xalloc((m->ndocs + 1) * sizeof(node_t *));

    for (i = 0; i < m->ndocs; i++) {
        m->docs[i]->order = (unsigned) i;
        docs[i] = m->docs[i];
    }

    qsort(docs, m->ndocs, sizeof(node_t *), convert_compare);

    for (i = 1; i < m->ndocs; i++) {
        one = docs[i - 1];
        two = docs[i];

        if (strcmp(doc_kind(one), doc_kind(two)) == 0
            && strcmp(doc_namespace(one), doc_namespace(two)) == 0
            && strcmp(doc_name(one), doc_name(two)) == 0)
        {
            diag(DIAG_ERROR, &two->pos, "DUPLICATE",
                 "%s \"%s\" in namespace \"%s\" is in %s:%zu already: "
                 "remove one of them", doc_kind(two), doc_name(two),
                 doc_namespace(two), one->pos.source->name, one->pos.line);
        }
    }

    free(docs);
}


static int
convert_compare(const void *one, const void *two)
{
    int            rc;
    const node_t  *a, *b;

    a = *(node_t *const *) one;
    b = *(node_t *const *) two;

    rc = strcmp(doc_name(a), doc_name(b));

    if (rc == 0) {
        rc = strcmp(doc_namespace(a), doc_namespace(b));
    }

    if (rc == 0) {
        rc = strcmp(doc_kind(a), doc_kind(b));
    }

    return rc ? rc : (a->order > b->order) - (a->order < b->order);
}


/* the target is whole at any time: the old one or the new one */

static int
convert_write(const char *name, const char *text)
{
    int          fd, mode;
    char        *temp;
    struct stat  st;

    temp = NULL;
    mode = 0644;

    if (strcmp(name, "-") == 0) {
        return convert_stdout(text);
    }

    if (stat(name, &st) == 0) {

        /* a device, a pipe: nothing to be replaced */

        if (!S_ISREG(st.st_mode)) {
            fd = open(name, O_WRONLY);
            goto opened;
        }

        mode = st.st_mode & 0777;
    }

    temp = xprintf("%s.XXXXXX", name);
    fd = mkstemp(temp);

opened:

    if (fd != -1 && convert_all(fd, text) == 0
        && (temp == NULL || (fchmod(fd, mode) == 0 && fsync(fd) == 0))
        && close(fd) == 0
        && (temp == NULL || rename(temp, name) == 0))
    {
        return EGRESSCTL_OK;
    }

    diag(DIAG_ERROR, NULL, "WRITE", "%s: %s", name, strerror(errno));

    if (fd != -1 && temp) {
        unlink(temp);
    }

    return EGRESSCTL_REFUSED;
}


static int
convert_all(int fd, const char *text)
{
    size_t   len;
    ssize_t  n;

    for (len = strlen(text); len; text += n, len -= n) {
        n = write(fd, text, len);

        if (n <= 0) {
            return -1;
        }
    }

    return 0;
}


static int
convert_stdout(const char *text)
{
    if (fputs(text, stdout) == EOF || fflush(stdout) == EOF) {
        diag(DIAG_ERROR, NULL, "WRITE", "standard output: %s",
             strerror(errno));
        return EGRESSCTL_REFUSED;
    }

    return EGRESSCTL_OK;
}
