
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <dirent.h>
#include <errno.h>
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
} convert_t;


static int convert(int argc, char **argv);
static int convert_options(int argc, char **argv, convert_t *c);
static void convert_push(const char ***list, size_t *n, const char *value);
static int convert_pair(const char *name, const char *value);
static void convert_add(convert_t *c, model_t *m, const char *name);
static void convert_folder(convert_t *c, model_t *m, const char *name);
static void convert_file(model_t *m, const char *name);
static int convert_write(const char *name, const char *text);
static int convert_stdout(const char *text);
static int yaml_name(const struct dirent *entry);


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
"      --resolver ADDRESS     name server\n"
"      --system-ca FILE       instead of the system's CA certificates\n"
"      --allow-address CIDR   let the guard pass addresses that DNS returns\n"
"      --proxy-conf FILE      to include (egress_proxy.conf)\n"
"      --access-log FILE      write access logs\n"
"      --strict               warnings are errors\n"
"\n"
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
    OPT_STRICT
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
    { "proxy-conf", required_argument, NULL, OPT_PROXY_CONF },
    { "access-log", required_argument, NULL, OPT_ACCESS_LOG },
    { "strict", no_argument, NULL, OPT_STRICT },
    { NULL, 0, NULL, 0 }
};


int
main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "convert") == 0) {
        return convert(argc - 1, argv + 1);
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
    size_t      i;
    model_t     m;
    convert_t   c;

    memset(&c, 0, sizeof(convert_t));
    memset(&m, 0, sizeof(model_t));

    c.options.selector = "istio=egressgateway,app=istio-egressgateway";
    c.options.namespace = "istio-system";
    c.options.root = "istio-system";
    c.options.certificate = "/etc/egress/mesh/tls.crt";
    c.options.key = "/etc/egress/mesh/tls.key";
    c.options.ca = "/etc/egress/mesh/ca.crt";
    c.options.proxy_conf = "egress_proxy.conf";

    rc = convert_options(argc, argv, &c);

    if (rc != -1) {
        return rc;
    }

    m.options = &c.options;

    for (i = 0; i < c.nfiles; i++) {
        convert_add(&c, &m, c.files[i]);
    }

    model_build(&m);

    text = emit_conf(&m);

    if (diag_end()) {
        return EGRESSCTL_REFUSED;
    }

    return c.output ? convert_write(c.output, text) : convert_stdout(text);
}


/* -1: go on */

static int
convert_options(int argc, char **argv, convert_t *c)
{
    int         ch;
    options_t  *o;

    o = &c->options;

    while ((ch = getopt_long(argc, argv, "f:o:h", convert_long, NULL)) != -1)
    {
        switch (ch) {

        case 'f':
            convert_push(&c->files, &c->nfiles, optarg);
            break;

        case 'o':
            c->output = optarg;
            break;

        case 'h':
            fputs(usage, stdout);
            return EGRESSCTL_OK;

        case OPT_SELECTOR:
            o->selector = optarg;
            break;

        case OPT_NAMESPACE:
            o->namespace = optarg;
            break;

        case OPT_ROOT:
            o->root = optarg;
            break;

        case OPT_MODULES:
            o->modules = optarg;
            break;

        case OPT_STREAM:
            o->stream_module = optarg;
            break;

        case OPT_CERTIFICATE:
            o->certificate = optarg;
            break;

        case OPT_KEY:
            o->key = optarg;
            break;

        case OPT_CA:
            o->ca = optarg;
            break;

        case OPT_LISTEN:
            if (convert_pair("--listen", optarg) != 0) {
                return EGRESSCTL_USAGE;
            }

            convert_push(&o->listen, &o->nlisten, optarg);
            break;

        case OPT_ENDPOINT:
            if (convert_pair("--endpoint", optarg) != 0) {
                return EGRESSCTL_USAGE;
            }

            convert_push(&o->endpoint, &o->nendpoint, optarg);
            break;

        case OPT_PATH:
            if (convert_pair("--path", optarg) != 0) {
                return EGRESSCTL_USAGE;
            }

            convert_push(&o->path, &o->npath, optarg);
            break;

        case OPT_RESOLVER:
            o->resolver = optarg;
            break;

        case OPT_SYSTEM_CA:
            o->system_ca = optarg;
            break;

        case OPT_ALLOW:
            convert_push(&o->allow, &o->nallow, optarg);
            break;

        case OPT_PROXY_CONF:
            o->proxy_conf = optarg;
            break;

        case OPT_ACCESS_LOG:
            o->access_log = optarg;
            break;

        case OPT_STRICT:
            diag_strict();
            break;

        default:
            fputs("egressctl: see egressctl --help\n", stderr);
            return EGRESSCTL_USAGE;
        }
    }

    if (optind < argc) {
        fprintf(stderr, "egressctl: unexpected \"%s\": files are given with "
                "-f\n", argv[optind]);
        return EGRESSCTL_USAGE;
    }

    if (c->nfiles == 0) {
        fputs("egressctl: convert must have -f FILE, DIR or -\n", stderr);
        return EGRESSCTL_USAGE;
    }

    return -1;
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
        return -1;
    }

    return 0;
}


static void
convert_add(convert_t *c, model_t *m, const char *name)
{
    struct stat  st;

    if (strcmp(name, "-") != 0 && stat(name, &st) == 0
        && S_ISDIR(st.st_mode))
    {
        convert_folder(c, m, name);
        return;
    }

    convert_file(m, name);
}


static void
convert_folder(convert_t *c, model_t *m, const char *name)
{
    int              i, n;
    struct dirent  **entries;

    n = scandir(name, &entries, yaml_name, alphasort);

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
    (void) c;
}


static int
yaml_name(const struct dirent *entry)
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

        if (!schema_check(doc)) {
            continue;
        }

        m->docs = realloc(m->docs, (m->ndocs + 1) * sizeof(node_t *));

        if (m->docs == NULL) {
            abort();
        }

        m->docs[m->ndocs++] = doc;
    }
}


/* the target is whole at any time: the old one or the new one */

static int
convert_write(const char *name, const char *text)
{
    int      fd;
    char    *temp;
    size_t   len;
    ssize_t  n;

    temp = xprintf("%s.XXXXXX", name);
    fd = mkstemp(temp);

    if (fd == -1) {
        goto failed;
    }

    for (len = strlen(text); len; text += n, len -= n) {
        n = write(fd, text, len);

        if (n <= 0) {
            goto failed;
        }
    }

    if (fchmod(fd, 0644) == -1 || fsync(fd) == -1 || close(fd) == -1
        || rename(temp, name) == -1)
    {
        goto failed;
    }

    return EGRESSCTL_OK;

failed:

    diag(DIAG_ERROR, NULL, "WRITE", "%s: %s", name, strerror(errno));

    if (fd != -1) {
        unlink(temp);
    }

    return EGRESSCTL_REFUSED;
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
