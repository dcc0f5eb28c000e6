
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "egressctl.h"


/* one principal's, or one host's, are neighbours */

typedef struct {
    const char  *principal;
    const char  *host;
    const char  *policy;
    const char  *service;
    const char  *protocol;
    long         port;
    int          http;
} learn_row_t;


static int learn_read(const char *socket_path, const char *location,
    json_t **answer, learn_row_t **rows, size_t *n);
static int learn_usable(learn_row_t *row, json_t *value);
static int learn_plain(const char *s);
static int learn_compare(const void *one, const void *two);
static void learn_policy(learn_row_t *rows, size_t n, const char *namespace,
    const char *name, const char *selector);
static size_t learn_same(learn_row_t *rows, size_t i, size_t n);
static void learn_entries(learn_row_t *rows, size_t n, const char *namespace);
static int learn_compare_host(const void *one, const void *two);
static void learn_selector(const char *selector);


static const char  learn_usage[] =
"usage: egressctl learn [--socket PATH] [options]\n"
"\n"
"Report mode's would-be denials, as the AuthorizationPolicy, and the\n"
"ServiceEntry for hosts that are not registered, that would allow exactly\n"
"them.  What no policy can allow is told on stderr.\n"
"\n"
"      --socket PATH      (/run/egress/admin.sock)\n"
"      --uri URI          of egress_status there (/status)\n"
"      --namespace NAME   of the gateway (istio-system)\n"
"      --name NAME        of the policy (learnt)\n"
"      --selector K=V[,K=V]\n"
"                         labels of the gateway (istio=egressgateway)\n"
"      --dry-run          write the policy with the dry-run annotation\n";


enum {
    OPT_SOCKET = 256,
    OPT_URI,
    OPT_NAMESPACE,
    OPT_NAME,
    OPT_SELECTOR,
    OPT_DRY
};


static const struct option  learn_long[] = {
    { "socket", required_argument, NULL, OPT_SOCKET },
    { "uri", required_argument, NULL, OPT_URI },
    { "namespace", required_argument, NULL, OPT_NAMESPACE },
    { "name", required_argument, NULL, OPT_NAME },
    { "selector", required_argument, NULL, OPT_SELECTOR },
    { "dry-run", no_argument, NULL, OPT_DRY },
    { "help", no_argument, NULL, 'h' },
    { NULL, 0, NULL, 0 }
};

static int  learn_dry_run;


int
learn(int argc, char **argv)
{
    int           ch;
    size_t        n;
    json_t       *answer;
    learn_row_t  *rows;
    const char   *socket_path, *location, *namespace, *name, *selector;

    argv[0] = "egressctl";
    socket_path = EGRESSCTL_SOCKET;
    location = "/status";
    namespace = "istio-system";
    name = "learnt";
    selector = "istio=egressgateway";

    while ((ch = getopt_long(argc, argv, "h", learn_long, NULL)) != -1) {

        switch (ch) {

        case OPT_SOCKET:
            socket_path = optarg;
            break;

        case OPT_URI:
            location = optarg;
            break;

        case OPT_NAMESPACE:
            namespace = optarg;
            break;

        case OPT_NAME:
            name = optarg;
            break;

        case OPT_SELECTOR:
            selector = optarg;
            break;

        case OPT_DRY:
            learn_dry_run = 1;
            break;

        case 'h':
            fputs(learn_usage, stdout);
            return EGRESSCTL_OK;

        default:
            fputs("egressctl: see egressctl learn --help\n", stderr);
            return EGRESSCTL_USAGE;
        }
    }

    if (optind < argc || !learn_plain(namespace) || !learn_plain(name)) {
        fputs("egressctl: see egressctl learn --help\n", stderr);
        return EGRESSCTL_USAGE;
    }

    if (learn_read(socket_path, location, &answer, &rows, &n)
        != EGRESSCTL_OK)
    {
        return EGRESSCTL_REFUSED;
    }

    if (n == 0) {
        diag(DIAG_NOTE, NULL, "LEARN", "there is nothing to be allowed");
        return EGRESSCTL_OK;
    }

    qsort(rows, n, sizeof(learn_row_t), learn_compare);
    learn_policy(rows, n, namespace, name, selector);

    qsort(rows, n, sizeof(learn_row_t), learn_compare_host);
    learn_entries(rows, n, namespace);

    json_decref(answer);
    free(rows);

    return fflush(stdout) == 0 ? EGRESSCTL_OK : EGRESSCTL_REFUSED;
}


static int
learn_read(const char *socket_path, const char *location, json_t **answer,
    learn_row_t **rows, size_t *n)
{
    char    *uri;
    long     status;
    size_t   i;
    json_t  *reports, *list, *value;

    uri = xprintf("%s/reports", location);

    *n = 0;
    *answer = http_get_json(socket_path, uri, &status);

    if (*answer == NULL) {
        return EGRESSCTL_REFUSED;
    }

    reports = json_object_get(*answer, "reports");
    list = json_object_get(reports, "rows");

    if (status != 200 || !json_is_array(list)) {
        diag(DIAG_ERROR, NULL, "LEARN", "%s: no \"reports\" at %s",
             socket_path, uri);
        return EGRESSCTL_REFUSED;
    }

    if (json_integer_value(json_object_get(reports, "dropped"))) {
        diag(DIAG_WARNING, NULL, "LEARN", "the gateway had no room for %lld "
             "more: what follows is not all of them (zone ... reports=)",
             (long long)
             json_integer_value(json_object_get(reports, "dropped")));
    }

    *rows = xalloc((json_array_size(list) + 1) * sizeof(learn_row_t));

    json_array_foreach(list, i, value) {
        if (learn_usable(&(*rows)[*n], value)) {
            (*n)++;
        }
    }

    return EGRESSCTL_OK;
}


/* a name that could leave its place in YAML is not learnt */

static int
learn_usable(learn_row_t *row, json_t *value)
{
    const char  *mode;

    row->principal = json_string_value(json_object_get(value, "principal"));
    row->host = json_string_value(json_object_get(value, "host"));
    row->policy = json_string_value(json_object_get(value, "policy"));
    row->service = json_string_value(json_object_get(value, "service"));
    row->protocol = json_string_value(json_object_get(value, "protocol"));
    row->port = (long) json_integer_value(json_object_get(value, "port"));
    row->http = json_is_true(json_object_get(value, "http"));
    mode = json_string_value(json_object_get(value, "mode"));

    if (row->principal == NULL || row->host == NULL || row->policy == NULL
        || row->service == NULL || row->protocol == NULL || mode == NULL)
    {
        return 0;
    }

    if (strcmp(mode, "report") != 0) {
        return 0;
    }

    if (row->host[0] == '\0' || !learn_plain(row->host)
        || row->port < 1 || row->port > 65535)
    {
        diag(DIAG_WARNING, NULL, "LEARN", "a destination \"%s\" port %ld "
             "can't be written as a host", row->host, row->port);
        return 0;
    }

    if (row->policy[0]) {
        diag(DIAG_WARNING, NULL, "LEARN", "%s to %s port %ld was matched by "
             "the deny rule %s: no allow policy changes that",
             row->principal[0] ? row->principal : "a client without identity",
             row->host, row->port, row->policy);
        return 0;
    }

    if (row->principal[0] == '\0' || !learn_plain(row->principal)) {
        diag(DIAG_WARNING, NULL, "LEARN", "a client without identity asked "
             "for %s port %ld: a rule for it would be one for everybody",
             row->host, row->port);
        return 0;
    }

    return 1;
}


static int
learn_plain(const char *s)
{
    const char  *p;

    for (p = s; *p; p++) {
        if ((*p >= 'a' && *p <= 'z') || (*p >= 'A' && *p <= 'Z')
            || (*p >= '0' && *p <= '9') || strchr("-._/:[]", *p))
        {
            continue;
        }

        return 0;
    }

    return p != s;
}


static int
learn_compare(const void *one, const void *two)
{
    int                 rc;
    const learn_row_t  *a, *b;

    a = one;
    b = two;

    rc = strcmp(a->principal, b->principal);

    if (rc == 0) {
        rc = (a->port > b->port) - (a->port < b->port);
    }

    if (rc == 0) {
        rc = a->http - b->http;
    }

    return rc ? rc : strcmp(a->host, b->host);
}


/* a rule for each principal and port: hosts times ports would be more */

static void
learn_policy(learn_row_t *rows, size_t n, const char *namespace,
    const char *name, const char *selector)
{
    size_t  i, k, last;

    printf("apiVersion: security.istio.io/v1\n"
           "kind: AuthorizationPolicy\n"
           "metadata:\n"
           "  name: \"%s\"\n"
           "  namespace: \"%s\"\n%s"
           "spec:\n"
           "  selector:\n"
           "    matchLabels:\n", name, namespace,
           learn_dry_run ? "  annotations:\n"
                           "    istio.io/dry-run: \"true\"\n" : "");

    learn_selector(selector);

    printf("  action: ALLOW\n"
           "  rules:\n");

    for (i = 0; i < n; i = last) {

        last = learn_same(rows, i, n);

        printf("  - from:\n"
               "    - source:\n"
               "        principals:\n"
               "        - \"%s\"\n"
               "    to:\n"
               "    - operation:\n"
               "        hosts:\n", rows[i].principal);

        for (k = i; k < last; k++) {

            if (k == i || strcmp(rows[k].host, rows[k - 1].host) != 0) {
                printf("        - \"%s\"\n", rows[k].host);
            }
        }

        printf("        ports:\n"
               "        - \"%ld\"\n", rows[i].port);
    }
}


static size_t
learn_same(learn_row_t *rows, size_t i, size_t n)
{
    size_t  k;

    for (k = i + 1; k < n; k++) {
        if (strcmp(rows[k].principal, rows[i].principal) != 0
            || rows[k].port != rows[i].port
            || rows[k].http != rows[i].http)
        {
            break;
        }
    }

    return k;
}


static void
learn_selector(const char *selector)
{
    const char  *p, *comma, *equals;

    for (p = selector; *p; p = comma + (*comma != '\0')) {

        comma = strchr(p, ',');

        if (comma == NULL) {
            comma = p + strlen(p);
        }

        equals = memchr(p, '=', comma - p);

        if (equals == NULL) {
            continue;
        }

        printf("      \"%.*s\": \"%.*s\"\n", (int) (equals - p), p,
               (int) (comma - equals - 1), equals + 1);
    }
}


/* what outboundTrafficPolicy ALLOW_ANY let pass is registered by this */

static void
learn_entries(learn_row_t *rows, size_t n, const char *namespace)
{
    size_t       i;
    int          address;
    char        *host, *colon;
    const char  *protocol;

    for (i = 0; i < n; i++) {

        if (rows[i].service[0]) {
            continue;
        }

        if (i && learn_compare_host(&rows[i], &rows[i - 1]) == 0) {
            continue;
        }

        host = xstrdup(rows[i].host);
        address = (host[0] == '[');
        colon = address ? NULL : strrchr(host, ':');

        if (colon) {
            *colon = '\0';
        }

        protocol = rows[i].http ? "HTTP"
                   : strcmp(rows[i].protocol, "tcp") == 0 ? "TCP" : "TLS";

        printf("---\n"
               "apiVersion: networking.istio.io/v1\n"
               "kind: ServiceEntry\n"
               "metadata:\n"
               "  name: \"learnt-%zu\"\n"
               "  namespace: \"%s\"\n"
               "spec:\n"
               "  hosts:\n"
               "  - \"%s\"\n"
               "  ports:\n"
               "  - number: %ld\n"
               "    name: \"%s-%ld\"\n"
               "    protocol: %s\n"
               "  location: MESH_EXTERNAL\n"
               "  resolution: DNS\n", i, namespace, host, rows[i].port,
               rows[i].http ? "http" : protocol[1] == 'C' ? "tcp" : "tls",
               rows[i].port, protocol);

        free(host);
    }
}


static int
learn_compare_host(const void *one, const void *two)
{
    int                 rc;
    const learn_row_t  *a, *b;

    a = one;
    b = two;

    rc = strcmp(a->host, b->host);

    if (rc == 0) {
        rc = (a->port > b->port) - (a->port < b->port);
    }

    return rc ? rc : a->http - b->http;
}
