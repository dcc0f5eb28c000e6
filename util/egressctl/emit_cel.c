
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "egressctl.h"
#include "emit.h"
#include "emit_log.h"


/*
 * Envoy's filters of access logs, a subset of CEL.  An expression becomes
 * variables with three values: "1", "0", and "e" for what can't be evaluated,
 * as an attribute that is not there.  What is "e" in the end is not logged.
 */

typedef struct {
    emit_t          *e;
    const pos_t     *pos;
    const char      *text;
    const char      *p;
    int              failed;
    int              depth;
} cel_t;


typedef enum {
    CEL_STRING = 0,
    CEL_NUMBER,
    CEL_BOOL
} cel_type_e;


typedef struct {
    const char      *name;
    cel_type_e       type;
    const char      *http;               /* NULL: is not there */
    const char      *stream;
    int              absent;             /* may be empty, which is absent */
} attribute_t;


static char *cel_or(cel_t *c);
static char *cel_and(cel_t *c);
static char *cel_unary(cel_t *c);
static char *cel_primary(cel_t *c);
static char *cel_has(cel_t *c);
static char *cel_relation(cel_t *c, const attribute_t *a);
static char *cel_compare(cel_t *c, const attribute_t *a, const char *op);
static char *cel_in(cel_t *c, const attribute_t *a);
static char *cel_method(cel_t *c, const attribute_t *a);
static char *cel_number(cel_t *c, const attribute_t *a, const char *op);
static char *cel_match(cel_t *c, const attribute_t *a, const char *regex,
    int invert);
static int cel_attribute(cel_t *c, attribute_t *a);
static int cel_header(cel_t *c, attribute_t *a);
static char *cel_string(cel_t *c);
static int cel_word(cel_t *c, const char *word);
static int cel_is(cel_t *c, const char *op);
static void cel_space(cel_t *c);
static char *cel_fail(cel_t *c, const char *what);
static char *cel_map(cel_t *c, const char *source, const char *rows,
    const char *none);
static char *cel_at_least(const char *digits);
static void cel_range(FILE *out, const char *digits);


static const attribute_t  attributes[] = {
    { "request.path", CEL_STRING, "$request_uri", NULL, 0 },
    { "request.url_path", CEL_STRING, "$uri", NULL, 0 },
    { "request.host", CEL_STRING, "$egress_authority", NULL, 1 },
    { "request.scheme", CEL_STRING, "$scheme", NULL, 0 },
    { "request.method", CEL_STRING, "$request_method", NULL, 0 },
    { "request.referer", CEL_STRING, "$http_referer", NULL, 1 },
    { "request.useragent", CEL_STRING, "$http_user_agent", NULL, 1 },
    { "request.id", CEL_STRING, "$egress_http_x_request_id", NULL, 1 },
    { "request.protocol", CEL_STRING, "$server_protocol", NULL, 0 },
    { "request.query", CEL_STRING, "$args", NULL, 0 },
    { "request.size", CEL_NUMBER, "$content_length", NULL, 1 },
    { "request.total_size", CEL_NUMBER, "$request_length", NULL, 0 },
    { "response.code", CEL_NUMBER, "$status", NULL, 0 },
    { "response.size", CEL_NUMBER, "$body_bytes_sent", NULL, 0 },
    { "response.total_size", CEL_NUMBER, "$bytes_sent", NULL, 0 },
    { "connection.mtls", CEL_BOOL, "$egress_principal", "$egress_principal",
      0 },
    { "connection.id", CEL_NUMBER, "$connection", "$connection", 0 },
    { "connection.requested_server_name", CEL_STRING, "$ssl_server_name",
      "$egress_sni", 1 },
    { "connection.tls_version", CEL_STRING, "$ssl_protocol",
      "$ssl_protocol", 1 },
    { "connection.uri_san_peer_certificate", CEL_STRING,
      "spiffe://$egress_principal", "spiffe://$egress_principal", 0 },
    { "connection.subject_peer_certificate", CEL_STRING, "$ssl_client_s_dn",
      "$ssl_client_s_dn", 1 },
    { "source.address", CEL_STRING, "$remote_addr:$remote_port",
      "$remote_addr:$remote_port", 0 },
    { "source.port", CEL_NUMBER, "$remote_port", "$remote_port", 0 },
    { "destination.address", CEL_STRING, "$server_addr:$server_port",
      "$server_addr:$server_port", 0 },
    { "destination.port", CEL_NUMBER, "$server_port", "$server_port", 0 },

    /* a number of bits in Envoy: only whether there is any can be asked */

    { "response.flags", CEL_NUMBER, "$egress_flags", "$egress_flags", 0 },
    { NULL, CEL_STRING, NULL, NULL, 0 }
};


const char *
cel_condition(emit_t *e, const pos_t *pos, const char *text)
{
    cel_t  c;
    char  *value;

    memset(&c, 0, sizeof(cel_t));

    c.e = e;
    c.pos = pos;
    c.text = text;
    c.p = text;

    if (strlen(text) > 4096) {
        cel_fail(&c, "is longer than 4096 characters");
        return NULL;
    }

    value = cel_or(&c);
    cel_space(&c);

    if (!c.failed && *c.p) {
        cel_fail(&c, "goes on where it should end");
    }

    if (c.failed) {
        return NULL;
    }

    /* always: no condition */

    if (strcmp(value, "1") == 0) {
        return NULL;
    }

    return cel_map(&c, value, "        \"1\"  1;\n", "0");
}


static char *
cel_or(cel_t *c)
{
    char  *one, *two;

    one = cel_and(c);

    while (!c->failed && cel_is(c, "||")) {
        two = cel_and(c);
        one = cel_map(c, xprintf("%s%s", text_braced(one), two),
                      "        \"~1\"   1;\n        \"00\"   0;\n", "e");
    }

    return one;
}


static char *
cel_and(cel_t *c)
{
    char  *one, *two;

    one = cel_unary(c);

    while (!c->failed && cel_is(c, "&&")) {
        two = cel_unary(c);
        one = cel_map(c, xprintf("%s%s", text_braced(one), two),
                      "        \"~0\"   0;\n        \"11\"   1;\n", "e");
    }

    return one;
}


static char *
cel_unary(cel_t *c)
{
    char  *value;

    if (c->depth++ == 64) {
        return cel_fail(c, "is nested too deep");
    }

    cel_space(c);

    if (c->p[0] == '!' && c->p[1] != '=') {
        c->p++;
        value = cel_map(c, cel_unary(c),
                        "        \"0\"  1;\n        \"1\"  0;\n", "e");

    } else {
        value = cel_primary(c);
    }

    c->depth--;

    return value;
}


static char *
cel_primary(cel_t *c)
{
    char         *value;
    attribute_t   a;

    if (cel_is(c, "(")) {
        value = cel_or(c);

        if (!c->failed && !cel_is(c, ")")) {
            return cel_fail(c, "has no \")\"");
        }

        return value;
    }

    if (cel_word(c, "true")) {
        return "1";
    }

    if (cel_word(c, "false")) {
        return "0";
    }

    if (cel_word(c, "has")) {
        return cel_has(c);
    }

    if (cel_attribute(c, &a) != 0) {
        return "e";
    }

    return cel_relation(c, &a);
}


/* whether an attribute is there */

static char *
cel_has(cel_t *c)
{
    attribute_t   a;
    const char   *variable;

    if (!cel_is(c, "(") || cel_attribute(c, &a) != 0) {
        return c->failed ? "e" : cel_fail(c, "has \"has\" without \"(\"");
    }

    if (!cel_is(c, ")")) {
        return cel_fail(c, "has no \")\"");
    }

    variable = c->e->stream ? a.stream : a.http;

    if (variable == NULL) {
        return "0";
    }

    return a.absent ? cel_map(c, variable, "        \"\"  0;\n", "1") : "1";
}


static char *
cel_relation(cel_t *c, const attribute_t *a)
{
    size_t  i;

    static const char  *ops[] = { "==", "!=", "<=", ">=", "<", ">" };

    if (cel_is(c, ".")) {
        return cel_method(c, a);
    }

    for (i = 0; i < sizeof(ops) / sizeof(ops[0]); i++) {
        if (cel_is(c, ops[i])) {
            return a->type == CEL_NUMBER ? cel_number(c, a, ops[i])
                                         : cel_compare(c, a, ops[i]);
        }
    }

    if (cel_word(c, "in")) {
        return cel_in(c, a);
    }

    if (a->type == CEL_BOOL) {
        return cel_match(c, a, ".", 0);
    }

    return cel_fail(c, "has an attribute that is compared with nothing");
}


static char *
cel_compare(cel_t *c, const attribute_t *a, const char *op)
{
    int    not;
    char  *value;

    not = (strcmp(op, "!=") == 0);

    if (!not && strcmp(op, "==") != 0) {
        return cel_fail(c, "compares texts by order");
    }

    if (a->type == CEL_BOOL) {

        if (cel_word(c, "true")) {
            return cel_match(c, a, ".", not);
        }

        if (cel_word(c, "false")) {
            return cel_match(c, a, ".", !not);
        }

        return cel_fail(c, "compares with neither true nor false");
    }

    value = cel_string(c);

    if (value == NULL) {
        return "e";
    }

    return cel_match(c, a, xprintf("^%s\\\\z", text_literal(c->pos, value)),
                     not);
}


static char *
cel_in(cel_t *c, const attribute_t *a)
{
    char  *value, *regex, *part;

    if (!cel_is(c, "[")) {
        return cel_fail(c, "has \"in\" without a list");
    }

    regex = xstrdup("");

    while (!cel_is(c, "]")) {

        if (*regex && !cel_is(c, ",")) {
            return cel_fail(c, "has a list without \",\" or \"]\"");
        }

        if (a->type == CEL_NUMBER) {
            cel_space(c);
            part = xprintf("%.*s", (int) strspn(c->p, "0123456789"), c->p);
            c->p += strlen(part);

            if (*part == '\0') {
                return cel_fail(c, "has no number where one should be");
            }

        } else {
            value = cel_string(c);

            if (value == NULL) {
                return "e";
            }

            part = text_literal(c->pos, value);
        }

        regex = xprintf("%s%s%s", regex, *regex ? "|" : "", part);
    }

    if (*regex == '\0') {
        return "0";
    }

    return cel_match(c, a, xprintf("^(?:%s)\\\\z", regex), 0);
}


static char *
cel_method(cel_t *c, const attribute_t *a)
{
    size_t  i;
    char   *value, *regex;

    static const char  *names[] = {
        "startsWith", "endsWith", "contains", "matches"
    };

    for (i = 0; i < 4; i++) {
        if (cel_word(c, names[i])) {
            break;
        }
    }

    if (i == 4 || a->type != CEL_STRING || !cel_is(c, "(")) {
        return cel_fail(c, "has another method than startsWith, endsWith, "
                        "contains and matches of a text");
    }

    value = cel_string(c);

    if (value == NULL) {
        return "e";
    }

    if (!cel_is(c, ")")) {
        return cel_fail(c, "has no \")\"");
    }

    regex = (i == 3) ? text_regex(c->pos, value, NULL, NULL)
                     : text_literal(c->pos, value);

    return cel_match(c, a, xprintf("%s%s%s", i == 0 ? "^" : "", regex,
                                   i == 1 ? "\\\\z" : ""), 0);
}


static char *
cel_number(cel_t *c, const attribute_t *a, const char *op)
{
    long   n;
    char  *digits;

    cel_space(c);
    digits = xprintf("%.*s", (int) strspn(c->p, "0123456789"), c->p);
    c->p += strlen(digits);

    /* an unsigned one */

    c->p += (*c->p == 'u');

    if (*digits == '\0' || strlen(digits) > 9
        || isalnum((unsigned char) *c->p) || *c->p == '.')
    {
        return cel_fail(c, "has no whole number where one should be");
    }

    n = strtol(digits, NULL, 10);

    if (strcmp(a->name, "response.flags") == 0) {

        if (n == 0 && (op[0] == '=' || op[0] == '!' || strcmp(op, ">") == 0))
        {
            return cel_match(c, a, ".", op[0] == '=');
        }

        return cel_fail(c, "asks for certain flags: only \"== 0\" and "
                        "\"!= 0\" can be told");
    }

    if (op[0] == '=' || op[0] == '!') {
        return cel_match(c, a, xprintf("^%ld\\\\z", n), op[0] == '!');
    }

    /* "> n" is ">= n + 1", and "<" the opposite of ">=" */

    if (strcmp(op, ">") == 0 || strcmp(op, "<=") == 0) {
        n++;
    }

    return cel_match(c, a, cel_at_least(xprintf("%ld", n)), op[0] == '<');
}


/* "e" where the attribute is not there */

static char *
cel_match(cel_t *c, const attribute_t *a, const char *regex, int invert)
{
    const char  *variable;

    variable = c->e->stream ? a->stream : a->http;

    if (variable == NULL) {
        return "e";
    }

    return cel_map(c, variable,
                   xprintf("%s        \"~%s\"  %d;\n",
                           a->absent ? "        \"\"  e;\n" : "", regex,
                           !invert), invert ? "1" : "0");
}


static int
cel_attribute(cel_t *c, attribute_t *a)
{
    size_t              len;
    const attribute_t  *is;

    cel_space(c);

    len = strspn(c->p, "abcdefghijklmnopqrstuvwxyz_.");

    if (strncmp(c->p, "request.headers", 15) == 0
        || strncmp(c->p, "response.headers", 16) == 0)
    {
        return cel_header(c, a);
    }

    /* the longest, as a method may follow */

    for (is = attributes; is->name; is++) {
        if (strncmp(is->name, c->p, strlen(is->name)) == 0
            && strlen(is->name) <= len
            && !isalnum((unsigned char) c->p[strlen(is->name)])
            && c->p[strlen(is->name)] != '_')
        {
            *a = *is;
            c->p += strlen(is->name);
            return 0;
        }
    }

    cel_fail(c, "has an attribute that nginx does not know");

    return -1;
}


/* request.headers["name"], or request.headers.name */

static int
cel_header(cel_t *c, attribute_t *a)
{
    int    response;
    char  *name;

    response = (c->p[2] == 's');
    c->p += response ? 16 : 15;

    if (cel_is(c, "[")) {
        name = cel_string(c);

        if (name && !cel_is(c, "]")) {
            cel_fail(c, "has no \"]\"");
            return -1;
        }

    } else if (cel_is(c, ".")) {
        name = xprintf("%.*s", (int) strspn(c->p, "abcdefghijklmnopqrstuvwxyz"
                                                  "0123456789_"), c->p);
        c->p += strlen(name);

    } else {
        cel_fail(c, "has all headers at once");
        return -1;
    }

    if (name == NULL) {
        return -1;
    }

    memset(a, 0, sizeof(attribute_t));

    a->name = "header";
    a->absent = 1;
    a->http = response ? text_header(c->pos, "$sent_http_", name)
                       : text_request(c->pos, name);

    if (a->http == NULL) {
        c->failed = 1;
        return -1;
    }

    return 0;
}


/* in either quotes; NULL: there is none */

static char *
cel_string(cel_t *c)
{
    char  *s, *to, quote;

    cel_space(c);
    quote = *c->p;

    if (quote != '"' && quote != '\'') {
        cel_fail(c, "has no text in quotes where one should be");
        return NULL;
    }

    s = xstrdup(c->p + 1);

    for (c->p++, to = s; *c->p && *c->p != quote; c->p++) {

        if (*c->p == '\\') {
            c->p++;

            if (*c->p == '\0' || strchr("\\\"'", *c->p) == NULL) {
                cel_fail(c, "has an escape other than of quotes and \"\\\"");
                return NULL;
            }
        }

        *to++ = *c->p;
    }

    *to = '\0';

    if (*c->p == '\0') {
        cel_fail(c, "has a text whose quote is not closed");
        return NULL;
    }

    c->p++;

    return s;
}


static int
cel_word(cel_t *c, const char *word)
{
    size_t  len;

    cel_space(c);
    len = strlen(word);

    if (strncmp(c->p, word, len) != 0 || isalnum((unsigned char) c->p[len])
        || c->p[len] == '_')
    {
        return 0;
    }

    c->p += len;

    return 1;
}


static int
cel_is(cel_t *c, const char *op)
{
    size_t  len;

    cel_space(c);
    len = strlen(op);

    if (strncmp(c->p, op, len) != 0) {
        return 0;
    }

    c->p += len;

    return 1;
}


static void
cel_space(cel_t *c)
{
    c->p += strspn(c->p, " \t\r\n");
}


/* the first of them counts */

static char *
cel_fail(cel_t *c, const char *what)
{
    if (!c->failed) {
        diag(DIAG_ERROR, c->pos, "EXPRESSION",
             "the filter's expression %s, at its character %zu: \"%.30s\"",
             what, (size_t) (c->p - c->text) + 1, c->p);
        c->failed = 1;
    }

    return "e";
}


static char *
cel_map(cel_t *c, const char *source, const char *rows, const char *none)
{
    char        *key;
    const char  *name;

    if (c->failed) {
        return "e";
    }

    key = xprintf("cel %s\n%s\n%s", source, none, rows);
    name = hash_get(c->e->conditions, key);

    if (name) {
        return xstrdup(name);
    }

    name = xprintf("$egress_log_%u", ++c->e->ids);
    hash_put(c->e->conditions, key, (void *) name);

    fprintf(c->e->logs, "\n    map \"%s\" %s {\n%s        default  %s;\n"
                        "    }\n", source, name, rows, none);

    return xstrdup(name);
}


/* numbers from n on, without leading zeros */

static char *
cel_at_least(const char *digits)
{
    char    *regex;
    FILE    *out;
    size_t   size;

    out = open_memstream(&regex, &size);

    if (out == NULL) {
        abort();
    }

    fprintf(out, "^(?:[1-9][0-9]{%zu,}|", strlen(digits));
    cel_range(out, digits);
    fputs(strcmp(digits, "0") ? ")\\\\z" : "|0)\\\\z", out);
    fclose(out);

    return regex;
}


/* of as many digits: one digit more than n's, and then any, or n itself */

static void
cel_range(FILE *out, const char *digits)
{
    size_t  i, len;

    len = strlen(digits);

    for (i = 0; i < len; i++) {
        if (digits[i] < '9') {
            fprintf(out, "%.*s[%c-9][0-9]{%zu}|", (int) i, digits,
                    digits[i] + 1, len - i - 1);
        }
    }

    fputs(digits, out);
}
