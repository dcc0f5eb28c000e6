
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"
#include "emit.h"
#include "emit_log.h"


/* a provider that logs, and what it leaves out */

typedef struct {
    const char      *name;
    const char      *file;
    node_t          *format;             /* a text, or a mapping for JSON */
    const char      *text;               /* where there is none: Istio's own */
    int              json;
    node_t          *filter;
    const pos_t     *pos;                /* of who names it */
} log_t;


/* an operator of Envoy's formats, and nginx's variable for it */

typedef struct {
    const char      *name;
    const char      *http;               /* NULL: see log_value() */
    const char      *stream;             /* NULL: "-" */
    int              number;
} operator_t;


static void logs_find(emit_t *e, list_t *logs);
static void logs_defaults(emit_t *e, list_t *logs);
static int logs_telemetry(emit_t *e, list_t *logs);
static void logs_entry(emit_t *e, node_t *entry, list_t *logs);
static void logs_set(emit_t *e, list_t *logs, const char *name,
    const pos_t *pos, node_t *filter, int disabled);
static log_t *logs_provider(emit_t *e, const char *name, const pos_t *pos);
static void logs_format(log_t *log, node_t *format, int json);
static void log_write(emit_t *e, log_t *log, unsigned n);
static char *log_text(emit_t *e, const pos_t *pos, const char *format);
static char *log_json(emit_t *e, node_t *format);
static char *log_json_value(emit_t *e, node_t *n);
static char *log_operator(emit_t *e, const pos_t *pos, const char *name,
    int *number);
static char *log_header(emit_t *e, const pos_t *pos, const char *name,
    const char *prefix);
static char *log_one_header(const pos_t *pos, const char *name,
    const char *prefix);
static char *log_value(emit_t *e, const char *name);
static char *log_cluster(emit_t *e);
static char *log_mapped(emit_t *e, const char *variable, const char *name,
    const char *rows);


#define DASH  "-"

static const char  log_default[] =
    "[%START_TIME%] \"%REQ(:METHOD)% %REQ(X-ENVOY-ORIGINAL-PATH?:PATH)% "
    "%PROTOCOL%\" %RESPONSE_CODE% %RESPONSE_FLAGS% %RESPONSE_CODE_DETAILS% "
    "%CONNECTION_TERMINATION_DETAILS% "
    "\"%UPSTREAM_TRANSPORT_FAILURE_REASON%\" %BYTES_RECEIVED% %BYTES_SENT% "
    "%DURATION% %RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)% "
    "\"%REQ(X-FORWARDED-FOR)%\" \"%REQ(USER-AGENT)%\" \"%REQ(X-REQUEST-ID)%\" "
    "\"%REQ(:AUTHORITY)%\" \"%UPSTREAM_HOST%\" %UPSTREAM_CLUSTER_RAW% "
    "%UPSTREAM_LOCAL_ADDRESS% %DOWNSTREAM_LOCAL_ADDRESS% "
    "%DOWNSTREAM_REMOTE_ADDRESS% %REQUESTED_SERVER_NAME% %ROUTE_NAME%";

static const char  *log_default_json[][2] = {
    { "start_time", "%START_TIME%" },
    { "route_name", "%ROUTE_NAME%" },
    { "method", "%REQ(:METHOD)%" },
    { "path", "%REQ(X-ENVOY-ORIGINAL-PATH?:PATH)%" },
    { "protocol", "%PROTOCOL%" },
    { "response_code", "%RESPONSE_CODE%" },
    { "response_flags", "%RESPONSE_FLAGS%" },
    { "response_code_details", "%RESPONSE_CODE_DETAILS%" },
    { "connection_termination_details", "%CONNECTION_TERMINATION_DETAILS%" },
    { "bytes_received", "%BYTES_RECEIVED%" },
    { "bytes_sent", "%BYTES_SENT%" },
    { "duration", "%DURATION%" },
    { "upstream_service_time", "%RESP(X-ENVOY-UPSTREAM-SERVICE-TIME)%" },
    { "x_forwarded_for", "%REQ(X-FORWARDED-FOR)%" },
    { "user_agent", "%REQ(USER-AGENT)%" },
    { "request_id", "%REQ(X-REQUEST-ID)%" },
    { "authority", "%REQ(:AUTHORITY)%" },
    { "upstream_host", "%UPSTREAM_HOST%" },
    { "upstream_cluster", "%UPSTREAM_CLUSTER_RAW%" },
    { "upstream_local_address", "%UPSTREAM_LOCAL_ADDRESS%" },
    { "downstream_local_address", "%DOWNSTREAM_LOCAL_ADDRESS%" },
    { "downstream_remote_address", "%DOWNSTREAM_REMOTE_ADDRESS%" },
    { "requested_server_name", "%REQUESTED_SERVER_NAME%" },
    { "upstream_transport_failure_reason",
      "%UPSTREAM_TRANSPORT_FAILURE_REASON%" }
};

static const operator_t  operators[] = {
    { "START_TIME", "$time_iso8601", "$time_iso8601", 0 },
    { "PROTOCOL", "$server_protocol", NULL, 0 },
    { "RESPONSE_CODE", NULL, "0", 1 },
    { "RESPONSE_FLAGS", NULL, "$egress_flags", 0 },
    { "RESPONSE_CODE_DETAILS", NULL, NULL, 0 },
    { "CONNECTION_TERMINATION_DETAILS", DASH, "$egress_reason", 0 },
    { "UPSTREAM_TRANSPORT_FAILURE_REASON", NULL, "$egress_reason", 0 },
    { "BYTES_RECEIVED", NULL, "$bytes_received", 1 },
    { "BYTES_SENT", "$body_bytes_sent", "$bytes_sent", 1 },
    { "DURATION", NULL, "$session_time", 1 },
    { "UPSTREAM_HOST", NULL, "$egress_endpoint", 0 },
    { "UPSTREAM_REMOTE_ADDRESS", NULL, "$egress_endpoint", 0 },
    { "UPSTREAM_CLUSTER", NULL, "$egress_service", 0 },
    { "UPSTREAM_CLUSTER_RAW", NULL, "$egress_service", 0 },
    { "DOWNSTREAM_LOCAL_ADDRESS", "$server_addr:$server_port",
      "$server_addr:$server_port", 0 },
    { "DOWNSTREAM_LOCAL_ADDRESS_WITHOUT_PORT", "$server_addr",
      "$server_addr", 0 },
    { "DOWNSTREAM_LOCAL_PORT", "$server_port", "$server_port", 1 },
    { "DOWNSTREAM_REMOTE_ADDRESS", "$remote_addr:$remote_port",
      "$remote_addr:$remote_port", 0 },
    { "DOWNSTREAM_REMOTE_ADDRESS_WITHOUT_PORT", "$remote_addr",
      "$remote_addr", 0 },
    { "DOWNSTREAM_REMOTE_PORT", "$remote_port", "$remote_port", 1 },
    { "DOWNSTREAM_DIRECT_REMOTE_ADDRESS", "$remote_addr:$remote_port",
      "$remote_addr:$remote_port", 0 },
    { "DOWNSTREAM_DIRECT_REMOTE_ADDRESS_WITHOUT_PORT", "$remote_addr",
      "$remote_addr", 0 },
    { "DOWNSTREAM_TLS_VERSION", NULL, "$ssl_protocol", 0 },
    { "DOWNSTREAM_TLS_CIPHER", NULL, "$ssl_cipher", 0 },
    { "DOWNSTREAM_PEER_SUBJECT", NULL, "$ssl_client_s_dn", 0 },
    { "DOWNSTREAM_PEER_ISSUER", NULL, "$ssl_client_i_dn", 0 },
    { "DOWNSTREAM_PEER_SERIAL", NULL, "$ssl_client_serial", 0 },
    { "DOWNSTREAM_PEER_URI_SAN", NULL, "$egress_principal", 0 },
    { "REQUESTED_SERVER_NAME", NULL, "$egress_sni", 0 },
    { "HOSTNAME", "$hostname", "$hostname", 0 },
    { "CONNECTION_ID", "$connection", "$connection", 1 },
    { "STREAM_ID", "$request_id", NULL, 0 },

    { "ROUTE_NAME", DASH, NULL, 0 },

    /* nginx does not know, and it is in Istio's own format */

    { "UPSTREAM_LOCAL_ADDRESS", DASH, NULL, 0 },
    { NULL, NULL, NULL, 0 }
};


/* in each of the blocks, as formats and variables differ */

void
emit_logs(emit_t *e)
{
    FILE         *out;
    char         *buf;
    size_t        i, size;
    list_t        logs;
    hash_t       *conditions;

    memset(&logs, 0, sizeof(list_t));
    logs_find(e, &logs);

    conditions = e->conditions;
    e->conditions = hash_new();
    e->logs = NULL;

    /* what a format needs stands before it */

    out = e->out;

    for (i = 0; i < logs.n; i++) {
        e->out = open_memstream(&buf, &size);
        e->logs = out;

        if (e->out == NULL) {
            abort();
        }

        log_write(e, logs.elts[i], (unsigned) i + 1);
        fclose(e->out);
        fputs(buf, out);
        free(buf);
    }

    e->out = out;
    e->conditions = conditions;

    if (e->m->options->access_log == NULL) {
        return;
    }

    if (strcmp(e->m->options->access_log, "off") == 0) {
        fputs("\n    access_log  off;\n", e->out);
        return;
    }

    fputs("\n    log_format  egress  '$time_iso8601 $remote_addr "
          "\"$egress_principal\" $egress_host:$egress_port '\n"
          "                        '$egress_verdict $egress_reason "
          "$egress_service $egress_endpoint '\n", e->out);

    fputs(e->stream
          ? "                        '$status $bytes_received $bytes_sent'"
          : "                        '$status $bytes_sent "
            "\"$request_method $uri\"'", e->out);

    fputs(";\n    access_log  ", e->out);
    emit_word(e, NULL, e->m->options->access_log);
    fputs("  egress;\n", e->out);
}


static void
logs_find(emit_t *e, list_t *logs)
{
    node_t  *file;
    log_t   *log;

    logs_defaults(e, logs);

    if (logs_telemetry(e, logs) || logs->n) {
        return;
    }

    /* where no Telemetry says anything */

    file = model_mesh(e->m, "accessLogFile");

    if (file && *file->text) {
        log = logs_provider(e, "envoy", &file->pos);
        log->file = file->text;
        list_push(logs, log);
    }
}


static void
logs_defaults(emit_t *e, list_t *logs)
{
    node_t  *n;

    n = node_first(model_mesh(e->m, "defaultProviders"), "accessLogging");

    for ( /* void */ ; n; n = n->next) {
        logs_set(e, logs, n->text, &n->pos, NULL, 0);
    }
}


/*
 * The root namespace's, the gateway's namespace's, those that select the
 * gateway; a later one goes on where another one left off.
 */

static int
logs_telemetry(emit_t *e, list_t *logs)
{
    int      pass, found, selects, root;
    size_t   i;
    node_t  *doc, *entry;

    found = 0;

    for (pass = 0; pass < 3; pass++) {
        for (i = 0; i < e->m->ndocs; i++) {
            doc = e->m->docs[i];
            entry = node_first(node_get(doc, "spec"), "accessLogging");

            if (strcmp(doc_kind(doc), "Telemetry") != 0 || entry == NULL) {
                continue;
            }

            selects = (node_path(doc, "spec.selector") != NULL);
            root = (strcmp(doc_namespace(doc), e->m->options->root) == 0);

            if (pass != (selects ? 2 : !root)
                || (!doc->used && !model_selected(e->m, doc)))
            {
                continue;
            }

            doc->used = 1;
            schema_refused(node_get(doc, "spec"));
            found = 1;

            for ( /* void */ ; entry; entry = entry->next) {
                logs_entry(e, entry, logs);
            }
        }
    }

    return found;
}


static void
logs_entry(emit_t *e, node_t *entry, list_t *logs)
{
    int          disabled;
    node_t      *n;
    const char  *mode;

    mode = node_text(node_get(entry, "match"), "mode");

    /* a gateway is a client */

    if (mode && strcmp(mode, "SERVER") == 0) {
        return;
    }

    disabled = node_true(entry, "disabled");
    n = node_first(entry, "providers");

    if (n == NULL && disabled) {
        logs->n = 0;
        return;
    }

    if (n == NULL && node_get(entry, "filter")) {
        diag(DIAG_WARNING, &node_get(entry, "filter")->pos, "NOEFFECT",
             "a filter is for the providers of its own entry, and it names "
             "none");
    }

    for ( /* void */ ; n; n = n->next) {
        logs_set(e, logs, node_text(n, "name"), &n->pos,
                 node_path(entry, "filter.expression"), disabled);
    }
}


static void
logs_set(emit_t *e, list_t *logs, const char *name, const pos_t *pos,
    node_t *filter, int disabled)
{
    size_t   i;
    log_t   *log;

    for (i = 0; i < logs->n; i++) {
        log = logs->elts[i];

        if (strcmp(log->name, name) == 0) {
            break;
        }
    }

    if (disabled) {
        for ( /* void */ ; i + 1 < logs->n; i++) {
            logs->elts[i] = logs->elts[i + 1];
        }

        logs->n -= (i < logs->n);
        return;
    }

    log = logs_provider(e, name, pos);

    if (log == NULL) {
        return;
    }

    log->filter = filter;

    if (i < logs->n) {
        logs->elts[i] = log;

    } else {
        list_push(logs, log);
    }
}


/* "envoy" is built in; one that is not there does nothing in Istio */

static log_t *
logs_provider(emit_t *e, const char *name, const pos_t *pos)
{
    log_t       *log;
    node_t      *n, *file, *format;
    const char  *encoding;

    log = xalloc(sizeof(log_t));
    log->name = name;
    log->text = log_default;
    log->pos = pos;

    n = model_mesh(e->m, "extensionProviders");

    for (n = n ? n->child : NULL; n; n = n->next) {

        if (strcmp(node_text(n, "name"), name) != 0) {
            continue;
        }

        file = node_get(n, "envoyFileAccessLog");

        if (file == NULL) {
            diag(DIAG_WARNING, pos, "UNSUPPORTED",
                 "provider \"%s\" does not log to a file: nothing else is "
                 "rendered", name);
            return NULL;
        }

        log->file = node_text(file, "path");
        format = node_path(file, "logFormat.labels");
        logs_format(log, format ? format
                                   : node_path(file, "logFormat.text"),
                    format != NULL);
        return log;
    }

    if (strcmp(name, "envoy") != 0) {
        diag(DIAG_WARNING, pos, "REFERENCE",
             "there is no provider \"%s\" in extensionProviders: Istio logs "
             "nothing for it", name);
        return NULL;
    }

    n = model_mesh(e->m, "accessLogEncoding");
    encoding = n ? n->text : "TEXT";
    log->file = "/dev/stdout";
    logs_format(log, model_mesh(e->m, "accessLogFormat"),
                strcmp(encoding, "JSON") == 0);

    return log;
}


static void
logs_format(log_t *log, node_t *format, int json)
{
    log->json = json;

    if (format == NULL
        || (format->kind == NODE_SCALAR && *format->text == '\0'))
    {
        return;
    }

    log->format = format;

    if (json && format->kind == NODE_SCALAR) {
        log->format = yaml_text(format);
    }

    if (json && (log->format == NULL || log->format->kind != NODE_MAP)) {
        diag(DIAG_ERROR, &format->pos, "VALUE",
             "a format for JSON has to be one object");
        log->format = NULL;
    }
}


static void
log_write(emit_t *e, log_t *log, unsigned n)
{
    char        *text;
    const char  *condition;

    if (log->json) {
        text = log_json(e, log->format);

    } else {
        text = log_text(e, log->format ? &log->format->pos : NULL,
                        log->format ? log->format->text : log->text);
    }

    condition = NULL;

    /* "off" and "syslog:" are something else to nginx */

    if (log->file == NULL || *log->file != '/') {
        diag(DIAG_ERROR, log->pos, "VALUE",
             "a log's file has to be an absolute path");
        return;
    }

    if (log->filter) {
        condition = cel_condition(e, &log->filter->pos, log->filter->text);
    }

    fprintf(e->out, "\n    log_format  istio_%u%s\n        \"%s\";\n"
                    "    access_log  ", n, log->json ? "  escape=json" : "",
            text);
    emit_word(e, log->format ? &log->format->pos : NULL, log->file);
    fprintf(e->out, "  istio_%u%s%s;\n", n, condition ? " if=" : "",
            condition ? condition : "");
}


static char *
log_text(emit_t *e, const pos_t *pos, const char *format)
{
    int          number;
    char        *text, *part, *value;
    const char  *p, *end;

    text = xstrdup("");

    for (p = format; *p; p = end) {
        end = p + strcspn(p, "%");
        part = xprintf("%.*s", (int) (end - p), p);

        /* nginx ends the line itself */

        if (*end == '\0' && end > p && end[-1] == '\n') {
            part[strlen(part) - 1] = '\0';
        }

        text = xprintf("%s%s", text, text_value(e, pos, part));

        if (*end == '\0') {
            break;
        }

        p = end + 1;
        end = strchr(p, '%');

        /* of the format of a time, too, as in START_TIME(%Y) */

        if (end && memchr(p, '(', end - p) && !memchr(p, ')', end - p)) {
            end = strchr(p, ')');
            end = end ? strchr(end, '%') : NULL;
        }

        if (end == NULL) {
            diag(DIAG_ERROR, pos, "VALUE", "\"%%%.40s\" has no second \"%%\"",
                 p);
            break;
        }

        if (end == p) {
            text = xprintf("%s%%", text);
            end++;
            continue;
        }

        value = log_operator(e, pos, xprintf("%.*s", (int) (end - p), p),
                             &number);
        text = xprintf("%s%s", text, text_braced(value));
        end++;
    }

    return text;
}


static char *
log_json(emit_t *e, node_t *format)
{
    char    *text;
    size_t   i;
    node_t  *n, map, key;

    memset(&map, 0, sizeof(node_t));
    memset(&key, 0, sizeof(node_t));

    if (format) {
        return log_json_value(e, format);
    }

    text = xstrdup("{");

    for (i = 0; i < sizeof(log_default_json) / sizeof(log_default_json[0]);
         i++)
    {
        n = &map;
        n->kind = NODE_SCALAR;
        n->text = (char *) log_default_json[i][1];
        text = xprintf("%s%s\\\"%s\\\":%s", text, i ? "," : "",
                       log_default_json[i][0], log_json_value(e, n));
    }

    return xprintf("%s}", text);
}


/* a value that is one operator keeps its type */

static char *
log_json_value(emit_t *e, node_t *n)
{
    int      number;
    char    *text, *name;
    size_t   len;
    node_t  *child;

    if (n->kind == NODE_MAP) {
        text = xstrdup("{");

        for (child = n->child; child; child = child->next) {
            text = xprintf("%s%s\\\"%s\\\":%s", text,
                           child == n->child ? "" : ",",
                           text_value(e, &child->pos, child->key->text),
                           log_json_value(e, child));

            if (strpbrk(child->key->text, "\"\\\n\t\r")) {
                diag(DIAG_ERROR, &child->pos, "VALUE",
                     "a key of the format with \", \\ or control characters "
                     "is refused");
            }
        }

        return xprintf("%s}", text);
    }

    if (n->kind != NODE_SCALAR || strpbrk(n->text, "\"\\\n\t\r")) {
        diag(DIAG_ERROR, &n->pos, "VALUE", "a value of the format has to be a "
             "text, without \" and \\, or an object");
        return "";
    }

    len = strlen(n->text);
    number = 0;

    if (len > 2 && n->text[0] == '%' && strchr(n->text + 1, '%') == n->text
                                                                    + len - 1)
    {
        name = xprintf("%.*s", (int) len - 2, n->text + 1);
        text = log_operator(e, &n->pos, name, &number);

    } else {
        text = log_text(e, &n->pos, n->text);
    }

    return number ? text : xprintf("\\\"%s\\\"", text);
}


/* "NAME", "NAME(arguments)", "NAME(arguments):length" */

static char *
log_operator(emit_t *e, const pos_t *pos, const char *name, int *number)
{
    char              *value;
    size_t             len;
    const char        *args;
    const operator_t  *op;

    *number = 0;
    len = strcspn(name, "(:");
    args = name + len;

    if (strncmp(name, "REQ(", 4) == 0) {
        return log_header(e, pos, args, e->stream ? NULL : "$egress_http_");
    }

    if (strncmp(name, "RESP(", 5) == 0) {
        return log_header(e, pos, args, e->stream ? NULL : "$sent_http_");
    }

    for (op = operators; op->name; op++) {
        if (strlen(op->name) == len && strncmp(op->name, name, len) == 0) {
            break;
        }
    }

    if (op->name == NULL || *args) {
        diag(DIAG_ERROR, pos, "UNSUPPORTED",
             "operator %%%.60s%% of the log's format has no equivalent in "
             "nginx", name);
        return "";
    }

    *number = op->number;

    if (strcmp(op->name, "ROUTE_NAME") == 0 && e->named && !e->stream) {
        return log_mapped(e, "$egress_name", op->name,
                          "        \"\"  -;\n");
    }

    if (e->stream) {

        if (op->stream == NULL) {
            return DASH;
        }

        if (*op->stream != '$' || strchr(op->stream + 1, '$')
            || (op->number && strcmp(op->name, "DURATION") != 0))
        {
            return xstrdup(op->stream);
        }

    } else if (op->http) {
        return xstrdup(op->http);
    }

    value = log_value(e, op->name);

    return value ? value
                 : log_mapped(e, op->stream, op->name, "        \"\"  -;\n");
}


/* "(NAME)", "(NAME?OTHER)", "(NAME):length" */

static char *
log_header(emit_t *e, const pos_t *pos, const char *name, const char *prefix)
{
    long         max;
    char        *one, *two, *copy, *other, *end;

    if (prefix == NULL) {
        return DASH;
    }

    copy = xstrdup(name + 1);
    end = strchr(copy, ')');

    if (end == NULL || (end[1] && end[1] != ':')) {
        diag(DIAG_ERROR, pos, "VALUE", "\"%.60s\" has no \")\"", name);
        return "";
    }

    max = (end[1] == ':') ? strtol(end + 2, NULL, 10) : 0;
    *end = '\0';

    other = strchr(copy, '?');

    if (other) {
        *other++ = '\0';
    }

    /* a path is logged as the client had it */

    if (other && strcasecmp(copy, "x-envoy-original-path") == 0) {
        copy = other;
        other = NULL;
    }

    if (strcasecmp(copy, "x-envoy-upstream-service-time") == 0) {
        return log_value(e, "UPSTREAM_TIME");
    }

    one = log_one_header(pos, copy, prefix);
    two = other ? log_one_header(pos, other, prefix) : DASH;

    if (one == NULL || two == NULL) {
        return "";
    }

    if (max > 0 && max < 10000) {
        return log_mapped(e, one, xprintf("%s:%ld", copy, max),
                          xprintf("        \"\"  %s;\n        "
                                  "\"~^(?<egress_cut_%u>.{1,%ld})\"  "
                                  "$egress_cut_%u;\n", two, e->ids, max,
                                  e->ids));
    }

    return log_mapped(e, one, xprintf("%s?%s", copy, two),
                      xprintf("        \"\"  %s;\n", two));
}


static char *
log_one_header(const pos_t *pos, const char *name, const char *prefix)
{
    size_t  i;

    static const char  *pseudo[][2] = {
        { ":METHOD", "$request_method" }, { ":PATH", "$request_uri" },
        { ":AUTHORITY", "$egress_authority" }, { ":SCHEME", "$scheme" }
    };

    for (i = 0; i < 4; i++) {
        if (strcasecmp(name, pseudo[i][0]) == 0) {
            return xstrdup(pseudo[i][1]);
        }
    }

    return strcmp(prefix, "$egress_http_") == 0
           ? text_request(pos, name) : text_header(pos, prefix, name);
}


/* what takes a map; NULL: only that an empty value is "-" */

static char *
log_value(emit_t *e, const char *name)
{
    size_t  i;

    static const char  ms[] =
        "        \"~^0\\.0*(?<egress_ms_>\\d+)$\"  $egress_ms_;\n"
        "        \"~(?<egress_s_>[1-9]\\d*)\\.(?<egress_f_>\\d+)$\"  "
        "$egress_s_$egress_f_;\n";

    static const char  *rows[][3] = {
        { "RESPONSE_CODE", "$status", "        499  0;\n" },
        { "RESPONSE_FLAGS", "$egress_flags", "        \"\"  -;\n" },
        { "RESPONSE_CODE_DETAILS", "$egress_reason",
          "        \"\"                   via_upstream;\n"
          "        registry_miss        route_not_found;\n"
          "        authz_denied         "
          "\"rbac_access_denied_matched_policy[none]\";\n"
          "        rate_limited         local_rate_limited;\n"
          "        no_healthy_endpoint  no_healthy_upstream;\n"
          "        upstream_timeout     response_timeout;\n"
          "        circuit_open         "
          "\"upstream_reset_before_response_started{overflow}\";\n"
          "        connect_failed       \"upstream_reset_before_response_"
          "started{remote_connection_failure}\";\n" },
        { "UPSTREAM_TRANSPORT_FAILURE_REASON", "$egress_reason",
          "        tls_failed  TLS_error;\n        \"~.*\"      -;\n" },
        { "BYTES_RECEIVED", "$content_length", "        \"\"  0;\n" },
        { "DURATION", "$request_time", ms },
        { "UPSTREAM_TIME", "$upstream_header_time",
          "        \"\"  -;\n        \"-\"  -;\n" },
        { "UPSTREAM_HOST", "$egress_endpoint", "        \"\"  -;\n" },
        { "UPSTREAM_REMOTE_ADDRESS", "$egress_endpoint",
          "        \"\"  -;\n" },
        { "REQUESTED_SERVER_NAME", "$ssl_server_name",
          "        \"\"  -;\n" },
        { "DOWNSTREAM_PEER_URI_SAN", "$egress_principal",
          "        \"\"  -;\n        \"~(?<egress_id_>.+)\"  "
          "\"spiffe://$egress_id_\";\n" }
    };

    if (strncmp(name, "UPSTREAM_CLUSTER", 16) == 0) {
        return log_cluster(e);
    }

    for (i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {

        if (strcmp(rows[i][0], name) != 0) {
            continue;
        }

        if (e->stream && strcmp(name, "DURATION") == 0) {
            return log_mapped(e, "$session_time", name, ms);
        }

        if (e->stream && strcmp(name, "REQUESTED_SERVER_NAME") == 0) {
            return NULL;
        }

        if (strcmp(name, "UPSTREAM_TIME") == 0) {
            return log_mapped(e, rows[i][1], name,
                              xprintf("%s%s", rows[i][2], ms));
        }

        return log_mapped(e, rows[i][1], name, rows[i][2]);
    }

    return NULL;
}


/* Envoy's name of what a service is made from */

static char *
log_cluster(emit_t *e)
{
    char       *rows, *value;
    FILE       *out;
    size_t      size;
    service_t  *svc;

    out = open_memstream(&rows, &size);

    if (out == NULL) {
        abort();
    }

    fputs("        \"\"  -;\n", out);

    for (svc = e->m->services; svc; svc = svc->next) {

        /* a subset's name is Istio's, and may be any text */

        if (svc->subset && strspn(svc->subset, "abcdefghijklmnopqrstuvwxyz"
                                  "ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.")
                           != strlen(svc->subset))
        {
            continue;
        }

        if (is_host(svc->host)) {
            fprintf(out, "        %s  \"outbound|%ld|%s|%s\";\n",
                    svc->name, svc->port,
                    svc->subset ? svc->subset : "", svc->host);
        }
    }

    fclose(out);
    value = log_mapped(e, "$egress_service", "cluster", rows);
    free(rows);

    return value;
}


static char *
log_mapped(emit_t *e, const char *variable, const char *name,
    const char *rows)
{
    char        *key;
    const char  *is;

    key = xprintf("log %s %s", variable, name);
    is = hash_get(e->conditions, key);

    if (is) {
        return xstrdup(is);
    }

    is = xprintf("$egress_log_%u", ++e->ids);
    hash_put(e->conditions, key, (void *) is);

    fprintf(e->logs, "\n    map %s %s {\n%s        default  %s;\n    }\n",
            variable, is, rows, variable);

    return xstrdup(is);
}
