
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "egressctl.h"


typedef struct {
    char           *args;
    const char     *location;
    const char     *socket_path;
    int             json;
    private_t       private;
    int             named;          /* there is something to ask about */
} explain_t;


static int explain_option(explain_t *e, int ch);
static int explain_header(explain_t *e);
static int explain_where(explain_t *e);
static void explain_print(json_t *answer);
static void explain_rule(const char *label, json_t *rule);
static void explain_allow(json_t *authz);
static const char *explain_text(json_t *object, const char *key);
static void explain_put(const char *text);


static const char  explain_usage[] =
"usage: egressctl explain --host NAME [--port N] [--principal ID] [options]\n"
"                         [--socket PATH | -c NGINX.CONF | -f FILE|DIR ...]\n"
"\n"
"Would this principal reach this host and port, and why: decided by the same\n"
"code as traffic, in the gateway that runs, or in a private one that is\n"
"started with the given configuration or manifests and dials nothing.\n"
"\n"
"      --principal ID     td/ns/NAMESPACE/sa/ACCOUNT; none: no identity\n"
"      --host NAME        Host, or SNI\n"
"      --port N           that the client means (443)\n"
"      --protocol P       http, tls or tcp (what the service speaks)\n"
"      --service NAME     which a listener chooses, instead of a lookup\n"
"      --sni NAME         if it is not the host\n"
"      --method M         (GET)\n"
"      --path P           (/)\n"
"      --authority A      Host as the client writes it, with its port\n"
"      --header NAME=V    may be repeated\n"
"      --source A, --remote A, --destination A\n"
"                         addresses\n"
"      --limit N          allow rules to be told about (100)\n"
"      --socket PATH      (/run/egress/admin.sock)\n"
"      --uri URI          of egress_explain there (/explain)\n"
"  -c, --conf FILE        an nginx.conf\n"
"  -f, --file FILE|DIR    Istio manifests, converted with the options of\n"
"                         convert that follow a \"--\"\n"
"      --nginx PATH       the nginx to start for -c and -f (nginx)\n"
"  -o, --output json|text (text)\n";


enum {
    OPT_SOCKET = 256,
    OPT_URI,
    OPT_HEADER,
    OPT_NGINX,
    OPT_ARGUMENT
};


/* those that are handed over as they are follow EXPLAIN_OWN others */

#define EXPLAIN_OWN  8

static const struct option  explain_long[] = {
    { "socket", required_argument, NULL, OPT_SOCKET },
    { "uri", required_argument, NULL, OPT_URI },
    { "header", required_argument, NULL, OPT_HEADER },
    { "nginx", required_argument, NULL, OPT_NGINX },
    { "conf", required_argument, NULL, 'c' },
    { "file", required_argument, NULL, 'f' },
    { "output", required_argument, NULL, 'o' },
    { "help", no_argument, NULL, 'h' },
    { "principal", required_argument, NULL, OPT_ARGUMENT },
    { "host", required_argument, NULL, OPT_ARGUMENT + 1 },
    { "port", required_argument, NULL, OPT_ARGUMENT + 2 },
    { "protocol", required_argument, NULL, OPT_ARGUMENT + 3 },
    { "service", required_argument, NULL, OPT_ARGUMENT + 4 },
    { "sni", required_argument, NULL, OPT_ARGUMENT + 5 },
    { "method", required_argument, NULL, OPT_ARGUMENT + 6 },
    { "path", required_argument, NULL, OPT_ARGUMENT + 7 },
    { "authority", required_argument, NULL, OPT_ARGUMENT + 8 },
    { "source", required_argument, NULL, OPT_ARGUMENT + 9 },
    { "remote", required_argument, NULL, OPT_ARGUMENT + 10 },
    { "destination", required_argument, NULL, OPT_ARGUMENT + 11 },
    { "limit", required_argument, NULL, OPT_ARGUMENT + 12 },
    { NULL, 0, NULL, 0 }
};


int
explain(int argc, char **argv)
{
    int         ch, rc;
    char       *uri;
    long        status;
    json_t     *answer;
    explain_t   e;

    memset(&e, 0, sizeof(explain_t));

    argv[0] = "egressctl";
    e.args = xstrdup("");
    e.location = "/explain";
    e.private.nginx = "nginx";

    while ((ch = getopt_long(argc, argv, "c:f:o:h", explain_long, NULL))
           != -1)
    {
        rc = explain_option(&e, ch);

        if (rc != -1) {
            return rc;
        }
    }

    if (!e.named) {
        fputs("egressctl: explain must have --host NAME, or --sni or "
              "--service\n", stderr);
        return EGRESSCTL_USAGE;
    }

    e.private.argc = argc - optind;
    e.private.argv = argv + optind;

    rc = explain_where(&e);

    if (rc != EGRESSCTL_OK) {
        private_stop(&e.private);
        return rc;
    }

    uri = xprintf("%s%s", e.location, e.args);

    answer = http_get_json(e.socket_path, uri, &status);

    private_stop(&e.private);

    if (answer == NULL) {
        return EGRESSCTL_REFUSED;
    }

    if (status != 200) {
        diag(DIAG_ERROR, NULL, "EXPLAIN", "%s",
             *explain_text(answer, "error") ? explain_text(answer, "error")
             : "the gateway refuses to answer");
        return EGRESSCTL_REFUSED;
    }

    if (e.json) {
        json_dumpf(answer, stdout, JSON_INDENT(2) | JSON_PRESERVE_ORDER);
        putchar('\n');

    } else {
        explain_print(answer);
    }

    json_decref(answer);

    return fflush(stdout) == 0 ? EGRESSCTL_OK : EGRESSCTL_REFUSED;
}


/* -1: go on */

static int
explain_option(explain_t *e, int ch)
{
    const char  *name;

    switch (ch) {

    case OPT_SOCKET:
        e->socket_path = optarg;
        return -1;

    case OPT_URI:
        e->location = optarg;
        return -1;

    case OPT_NGINX:
        e->private.nginx = optarg;
        return -1;

    case 'c':
        e->private.conf = optarg;
        return -1;

    case 'f':
        private_add(&e->private, optarg);
        return -1;

    case 'o':
        e->json = (strcmp(optarg, "json") == 0);

        if (!e->json && strcmp(optarg, "text") != 0) {
            fprintf(stderr, "egressctl: -o must be json or text\n");
            return EGRESSCTL_USAGE;
        }

        return -1;

    case 'h':
        fputs(explain_usage, stdout);
        return EGRESSCTL_OK;

    case OPT_HEADER:
        return explain_header(e);

    case '?':
        fputs("egressctl: see egressctl explain --help\n", stderr);
        return EGRESSCTL_USAGE;

    default:
        name = explain_long[ch - OPT_ARGUMENT + EXPLAIN_OWN].name;

        e->named |= strcmp(name, "host") == 0 || strcmp(name, "sni") == 0
                    || strcmp(name, "service") == 0;

        http_escape(&e->args, name, optarg);
        return -1;
    }
}


static int
explain_header(explain_t *e)
{
    char  *name, *value, *p;

    value = strchr(optarg, '=');

    if (value == NULL) {
        fprintf(stderr, "egressctl: --header must have the form NAME=VALUE, "
                "not \"%s\"\n", optarg);
        return EGRESSCTL_USAGE;
    }

    *value++ = '\0';
    name = xprintf("header.%s", optarg);

    for (p = name; *p; p++) {
        *p = (*p >= 'A' && *p <= 'Z') ? *p + 32 : *p;
    }

    http_escape(&e->args, name, value);
    free(name);

    return -1;
}


static int
explain_where(explain_t *e)
{
    private_t  *p;

    p = &e->private;

    if ((p->conf != NULL) + (p->nfiles != 0) + (e->socket_path != NULL) > 1
        || (p->argc && p->nfiles == 0))
    {
        fputs("egressctl: explain asks one of --socket, -c and -f\n", stderr);
        return EGRESSCTL_USAGE;
    }

    if (p->conf == NULL && p->nfiles == 0) {

        if (e->socket_path == NULL) {
            e->socket_path = EGRESSCTL_SOCKET;
        }

        return EGRESSCTL_OK;
    }

    if (private_start(p) != EGRESSCTL_OK) {
        return EGRESSCTL_REFUSED;
    }

    e->socket_path = p->socket;
    e->location = "/explain";

    return EGRESSCTL_OK;
}


static void
explain_print(json_t *answer)
{
    json_t      *authz;
    const char  *service, *error;

    authz = json_object_get(answer, "authz");
    service = explain_text(answer, "service");

    explain_put(explain_text(answer, "verdict"));

    if (strcmp(explain_text(answer, "reason"), "-") != 0) {
        printf(": ");
        explain_put(explain_text(answer, "reason"));
    }

    printf(", %s ", explain_text(answer, "subsystem"));
    explain_put(explain_text(answer, "host"));
    printf(" port %lld", (long long)
           json_integer_value(json_object_get(answer, "port")));

    if (*service) {
        printf(", service ");
        explain_put(service);

        if (*explain_text(answer, "source")) {
            printf(" (");
            explain_put(explain_text(answer, "source"));
            printf(")");
        }
    }

    printf("\n");

    if (*explain_text(answer, "broken")) {
        printf("  the service is broken: ");
        explain_put(explain_text(answer, "broken"));
        printf("\n");
    }

    error = explain_text(authz, "no_identity");

    if (*error) {
        printf("  identity: none: ");
        explain_put(error);
        printf("\n");

    } else if (*explain_text(authz, "principal")) {
        printf("  identity: ");
        explain_put(explain_text(authz, "principal"));
        printf("\n");
    }

    explain_rule("decided by", json_object_get(authz, "decided_by"));
    explain_allow(authz);
    explain_rule("audited by", json_object_get(authz, "audit"));

    if (*explain_text(authz, "dry_run")) {
        printf("  on a dry run: ");
        explain_put(explain_text(authz, "dry_run"));
        printf("\n");
        explain_rule("  decided by", json_object_get(authz, "dry_run_by"));
    }
}


static void
explain_rule(const char *label, json_t *rule)
{
    if (!json_is_object(rule)) {
        return;
    }

    printf("  %s: ", label);
    explain_put(explain_text(rule, "action"));
    printf(" policy ");
    explain_put(explain_text(rule, "policy"));
    printf(", rule %lld", (long long)
           json_integer_value(json_object_get(rule, "rule")));

    if (*explain_text(rule, "source")) {
        printf(" (");
        explain_put(explain_text(rule, "source"));
        printf(")");
    }

    printf("\n");
}


static void
explain_allow(json_t *authz)
{
    size_t      i;
    json_t     *list, *rule;
    long long   n;

    list = json_object_get(authz, "not_allowed_by");

    if (list == NULL) {
        return;
    }

    n = json_integer_value(json_object_get(authz, "allow_rules"));

    printf("  no allow rule lets it pass:\n");

    json_array_foreach(list, i, rule) {
        printf("    policy ");
        explain_put(explain_text(rule, "policy"));
        printf(", rule %lld", (long long)
               json_integer_value(json_object_get(rule, "rule")));

        if (*explain_text(rule, "source")) {
            printf(" (");
            explain_put(explain_text(rule, "source"));
            printf(")");
        }

        printf(": ");
        explain_put(explain_text(rule, "field"));
        printf(": ");
        explain_put(explain_text(rule, "why"));
        printf("\n");
    }

    if ((long long) json_array_size(list) < n) {
        printf("    and %lld more (--limit)\n",
               n - (long long) json_array_size(list));
    }

    if (n == 0) {
        printf("    there is none\n");
    }
}


static const char *
explain_text(json_t *object, const char *key)
{
    const char  *s;

    s = json_string_value(json_object_get(object, key));

    return s ? s : "";
}


/* what came from elsewhere does not steer a terminal */

static void
explain_put(const char *text)
{
    for ( /* void */ ; *text; text++) {
        putchar((unsigned char) *text < 0x20 || *text == 0x7f ? '?' : *text);
    }
}
