
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"
#include "emit.h"


/* a regular expression while it is looked through */

typedef struct {
    const pos_t     *pos;
    const char      *p;
    FILE            *out;
    int              groups;
    int              depth;
    int              alternatives;       /* outside of all groups */
    int              repeatable;         /* something stands before */
} regex_t;


static int text_long(const pos_t *pos, size_t len);
static int regex_walk(regex_t *r);
static int regex_group(regex_t *r);
static int regex_escape(regex_t *r, int within);
static int regex_class(regex_t *r);
static size_t regex_posix(const char *p);
static int regex_repeat(regex_t *r);
static int regex_refuse(regex_t *r, const char *what);
static void regex_put(regex_t *r, char ch);


void
emit_comment(emit_t *e, const char *indent, const pos_t *pos)
{
    const char  *p;

    fprintf(e->out, "%s# ", indent);

    for (p = pos->source->name; *p; p++) {
        fputc((unsigned char) *p < 0x20 || *p == 0x7f ? '?' : *p, e->out);
    }

    fprintf(e->out, ":%zu\n", pos->line);
}


void
emit_source(emit_t *e, const pos_t *pos)
{
    fputs("        source      ", e->out);
    emit_place(e, pos);
}


void
emit_place(emit_t *e, const pos_t *pos)
{
    char  *p, *source;

    source = xprintf("%s:%zu", pos->source->name, pos->line);

    for (p = source; *p; p++) {
        if ((unsigned char) *p < 0x20 || strchr("\"'\\$;{}\x7f", *p)) {
            *p = '?';
        }
    }

    emit_word(e, pos, source);
    fputs(";\n", e->out);

    free(source);
}


void
emit_words(emit_t *e, const char *directive, node_t *list)
{
    node_t  *n;

    fputs(directive, e->out);

    for (n = list->child; n; n = n->next) {
        fputc(' ', e->out);
        emit_word(e, &n->pos, n->text);
    }

    fputs(";\n", e->out);
}


void
emit_word(emit_t *e, const pos_t *pos, const char *text)
{
    int          quote;
    const char  *p;

    quote = (*text == '\0');

    if (text_long(pos, strlen(text))) {
        return;
    }

    for (p = text; *p; p++) {

        if ((unsigned char) *p < 0x20 || *p == 0x7f || strchr("\"'\\$;{}", *p))
        {
            diag(DIAG_ERROR, pos, "VALUE",
                 "a value with control characters or one of \" ' \\ $ ; { } "
                 "is refused");
            return;
        }

        quote |= !(isalnum((unsigned char) *p) || strchr("._/:*@=+,-", *p)
                   || (*p & 0x80));
    }

    fprintf(e->out, quote ? "\"%s\"" : "%s", text);
}


void
emit_host(emit_t *e, const pos_t *pos, const char *host)
{
    if (!is_host(host)) {
        diag(DIAG_ERROR, pos, "VALUE", "invalid host \"%.253s\": a DNS name "
             "or \"*.\" and a DNS name is expected", host);
        return;
    }

    for ( /* void */ ; *host; host++) {
        fputc(tolower((unsigned char) *host), e->out);
    }
}


char *
text_quoted(emit_t *e, const pos_t *pos, const char *text)
{
    return xprintf("\"%s\"", text_value(e, pos, text));
}


char *
text_braced(const char *value)
{
    char    *buf;
    FILE    *out;
    size_t   size, len;

    out = open_memstream(&buf, &size);

    if (out == NULL) {
        abort();
    }

    while (*value) {

        if (*value != '$' || value[1] == '{') {
            fputc(*value++, out);
            continue;
        }

        len = strspn(value + 1, "abcdefghijklmnopqrstuvwxyz0123456789_");
        fprintf(out, "${%.*s}", (int) len, value + 1);
        value += len + 1;
    }

    fclose(out);

    return buf;
}


/* nginx has no escape for "$": a variable has that value */

char *
text_value(emit_t *e, const pos_t *pos, const char *text)
{
    char    *buf;
    size_t   size;
    FILE    *out;

    out = open_memstream(&buf, &size);

    if (out == NULL) {
        abort();
    }

    for ( /* void */ ; *text; text++) {

        switch (*text) {

        case '"':
        case '\\':
            fprintf(out, "\\%c", *text);
            break;

        case '$':
            fputs("${egress_dollar}", out);
            e->dollar = 1;
            break;

        case '\n':
            fputs("\\n", out);
            break;

        case '\r':
            fputs("\\r", out);
            break;

        case '\t':
            fputs("\\t", out);
            break;

        default:
            if ((unsigned char) *text < 0x20 || *text == 0x7f) {
                diag(DIAG_ERROR, pos, "VALUE",
                     "a text with control characters is refused");
                fclose(out);
                return xstrdup("");
            }

            fputc(*text, out);
        }
    }

    fclose(out);

    text_long(pos, size);

    return buf;
}


/* of a header: what ends it would begin another one, or another request */

char *
text_line(emit_t *e, const pos_t *pos, const char *text)
{
    if (text[strcspn(text, "\r\n")]) {
        diag(DIAG_ERROR, pos, "VALUE",
             "a header with a line feed or carriage return is refused");
        return xstrdup("");
    }

    return text_value(e, pos, text);
}


static int
text_long(const pos_t *pos, size_t len)
{
    if (len <= EMIT_WORD_MAX) {
        return 0;
    }

    diag(DIAG_ERROR, pos, "LIMIT", "a value that takes %zu bytes in "
         "nginx.conf, where %d are the most", len, EMIT_WORD_MAX);

    return 1;
}


char *
text_literal(const pos_t *pos, const char *text)
{
    char    *buf;
    regex_t  r;
    size_t   size;

    memset(&r, 0, sizeof(regex_t));
    r.out = open_memstream(&buf, &size);

    if (r.out == NULL) {
        abort();
    }

    for ( /* void */ ; *text; text++) {

        if (((unsigned char) *text < 0x20 && *text != '\t') || *text == 0x7f)
        {
            diag(DIAG_ERROR, pos, "VALUE",
                 "a value with control characters is refused");
            break;
        }

        if (strchr("\\^$.[]|()*+?{}#", *text)) {
            regex_put(&r, '\\');
        }

        regex_put(&r, *text);
    }

    fclose(r.out);
    text_long(pos, size);

    return buf;
}


/*
 * RE2's syntax is nearly PCRE's.  What only one of them has is refused, names
 * of groups too: nginx would make variables of them.  "$" is the end of the
 * text in RE2, and in PCRE a place before a line feed as well.
 */

char *
text_regex(const pos_t *pos, const char *text, int *groups, int *alternatives)
{
    int      rc;
    char    *buf;
    regex_t  r;
    size_t   size;

    memset(&r, 0, sizeof(regex_t));
    r.pos = pos;
    r.p = text;
    r.out = open_memstream(&buf, &size);

    if (r.out == NULL) {
        abort();
    }

    rc = (strlen(text) > 1024)
         ? regex_refuse(&r, "is longer than 1024 characters") : 0;

    while (rc == 0 && *r.p) {
        rc = regex_walk(&r);
    }

    if (rc == 0 && r.depth) {
        regex_refuse(&r, "has a \"(\" without \")\"");
    }

    fclose(r.out);

    if (groups) {
        *groups = r.groups;
        *alternatives = r.alternatives;
    }

    return buf;
}


static int
regex_walk(regex_t *r)
{
    char  ch;

    ch = *r->p++;

    switch (ch) {

    case '(':
        return regex_group(r);

    case ')':
        if (r->depth-- == 0) {
            return regex_refuse(r, "has a \")\" without \"(\"");
        }

        regex_put(r, ch);
        r->repeatable = 1;
        return 0;

    case '|':
        r->alternatives |= (r->depth == 0);
        r->repeatable = 0;
        regex_put(r, ch);
        return 0;

    case '[':
        return regex_class(r);

    case '\\':
        return regex_escape(r, 0);

    case '*':
    case '+':
    case '?':
    case '{':
        r->p--;
        return regex_repeat(r);

    case '^':
        regex_put(r, ch);
        r->repeatable = 0;
        return 0;

    case '$':
        regex_put(r, '\\');
        regex_put(r, 'z');
        r->repeatable = 0;
        return 0;

    default:
        if ((unsigned char) ch < 0x20 || ch == 0x7f) {
            return regex_refuse(r, "has control characters");
        }

        regex_put(r, ch);
        r->repeatable = 1;
        return 0;
    }
}


/* "(", "(?:", "(?i)", "(?i:" */

static int
regex_group(regex_t *r)
{
    size_t  len;

    if (r->depth++ == 32) {
        return regex_refuse(r, "has too many groups in each other");
    }

    regex_put(r, '(');
    r->repeatable = 0;

    if (*r->p != '?') {
        r->groups++;
        return 0;
    }

    len = 1 + strspn(r->p + 1, "isU-");

    if (r->p[len] != ':' && r->p[len] != ')') {
        return regex_refuse(r, "has a group \"(?\" other than \"(?:\" and "
                            "\"(?i)\"");
    }

    if (r->p[len] == ')') {
        r->depth--;
    }

    for (len++; len; len--) {
        regex_put(r, *r->p++);
    }

    return 0;
}


static int
regex_escape(regex_t *r, int within)
{
    char         ch;
    size_t       len;
    const char  *more;

    ch = *r->p;
    more = within ? "dDsSwWnrtfvapPx" : "dDsSwWnrtfvapPxbBAz";

    if (ch == '\0' || (isalnum((unsigned char) ch) && !strchr(more, ch))
        || (unsigned char) ch < 0x20 || ch == 0x7f)
    {
        return regex_refuse(r, "has an escape that RE2 or PCRE does not have");
    }

    r->p++;
    len = 0;

    /* "\pL", "\p{Greek}", "\x7f", "\x{7f}" */

    if (ch == 'p' || ch == 'P') {
        len = (*r->p == '{') ? 2 + strspn(r->p + 1,
                                          "^_abcdefghijklmnopqrstuvwxyz"
                                          "ABCDEFGHIJKLMNOPQRSTUVWXYZ")
                             : (isalpha((unsigned char) *r->p) ? 1 : 0);

    } else if (ch == 'x') {
        len = (*r->p == '{')
              ? 2 + strspn(r->p + 1, "0123456789abcdefABCDEF")
              : (strspn(r->p, "0123456789abcdefABCDEF") >= 2 ? 2 : 0);
    }

    if (strchr("pPx", ch)
        && (len == 0 || (*r->p == '{' && (len < 3 || r->p[len - 1] != '}'))
            || (ch == 'x' && len > 4)))
    {
        return regex_refuse(r, "has an escape that is not whole, or a "
                            "character beyond \\xff");
    }

    regex_put(r, '\\');
    regex_put(r, ch);

    while (len--) {
        regex_put(r, *r->p++);
    }

    r->repeatable = (strchr("bBAz", ch) == NULL);

    return 0;
}


static int
regex_class(regex_t *r)
{
    size_t  len;

    regex_put(r, '[');
    r->repeatable = 1;

    if (*r->p == '^') {
        regex_put(r, *r->p++);
    }

    /* a "]" that is the first stands for itself */

    if (*r->p == ']') {
        regex_put(r, '\\');
        regex_put(r, *r->p++);
    }

    while (*r->p && *r->p != ']') {

        if ((unsigned char) *r->p < 0x20 || *r->p == 0x7f) {
            return regex_refuse(r, "has control characters");
        }

        if (*r->p == '\\') {
            r->p++;

            if (regex_escape(r, 1) != 0) {
                return -1;
            }

            continue;
        }

        if (*r->p == '[') {
            len = regex_posix(r->p);

            if (len == 0) {
                regex_put(r, '\\');
                len = 1;
            }

            while (len--) {
                regex_put(r, *r->p++);
            }

            continue;
        }

        if (r->p[1] == '-' && r->p[2] && strchr("]\\[", r->p[2]) == NULL
            && (unsigned char) r->p[2] < (unsigned char) r->p[0])
        {
            return regex_refuse(r, "has a range that ends before it begins");
        }

        regex_put(r, *r->p++);
    }

    if (*r->p == '\0') {
        return regex_refuse(r, "has a \"[\" without \"]\"");
    }

    regex_put(r, *r->p++);

    return 0;
}


/* the length of "[:alpha:]" or "[:^alpha:]"; 0: it is just a "[" */

static size_t
regex_posix(const char *p)
{
    size_t  i, n, len;

    static const char  *names[] = {
        "alnum", "alpha", "ascii", "blank", "cntrl", "digit", "graph",
        "lower", "print", "punct", "space", "upper", "word", "xdigit"
    };

    if (strncmp(p, "[:", 2) != 0) {
        return 0;
    }

    n = (p[2] == '^') ? 3 : 2;

    for (i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        len = strlen(names[i]);

        if (strncmp(p + n, names[i], len) == 0
            && strncmp(p + n + len, ":]", 2) == 0)
        {
            return n + len + 2;
        }
    }

    return 0;
}


static int
regex_repeat(regex_t *r)
{
    size_t       n, k;
    const char  *p;

    p = r->p;
    n = 1;

    if (*p == '{') {
        n = 1 + strspn(p + 1, "0123456789");
        k = n;

        if (p[n] == ',') {
            n++;
            n += strspn(p + n, "0123456789");
        }

        /* else it is a "{" that stands for itself */

        if (p[n] != '}' || k == 1) {
            regex_put(r, '\\');
            regex_put(r, *r->p++);
            r->repeatable = 1;
            return 0;
        }

        if (strtol(p + 1, NULL, 10) > 1000
            || (p[k] == ',' && strtol(p + k + 1, NULL, 10) > 1000)
            || (p[k] == ',' && p[k + 1] != '}'
                && strtol(p + k + 1, NULL, 10) < strtol(p + 1, NULL, 10)))
        {
            return regex_refuse(r, "repeats more than 1000 times, or less "
                                "than it says");
        }

        n++;
    }

    if (!r->repeatable) {
        return regex_refuse(r, "repeats nothing");
    }

    while (n--) {
        regex_put(r, *r->p++);
    }

    if (*r->p == '?') {
        regex_put(r, *r->p++);
    }

    r->repeatable = 0;

    return 0;
}


static int
regex_refuse(regex_t *r, const char *what)
{
    diag(DIAG_ERROR, r->pos, "REGEX", "this regular expression %s", what);

    return -1;
}


/* within the quotes of nginx.conf */

static void
regex_put(regex_t *r, char ch)
{
    if (ch == '"' || ch == '\\') {
        fputc('\\', r->out);
    }

    fputc(ch, r->out);
}


char *
text_header(const pos_t *pos, const char *prefix, const char *name)
{
    char  *p, *s;

    if (*name == '\0'
        || strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
                        "0123456789-") != strlen(name)
        || strlen(name) > 128)
    {
        diag(DIAG_ERROR, pos, "VALUE", "\"%.128s\" is not the name of a "
             "header: letters, digits and \"-\" are expected", name);
        return NULL;
    }

    s = xprintf("%s%s", prefix, name);

    for (p = s; *p; p++) {
        *p = (*p == '-') ? '_' : (char) tolower((unsigned char) *p);
    }

    return s;
}


/* the variable of a request's header, of none with a "_" in place of a "-" */

char *
text_request(const pos_t *pos, const char *name)
{
    /* Envoy's other name for ":authority" */

    if (strcasecmp(name, "host") == 0) {
        return xstrdup("$egress_authority");
    }

    return text_header(pos, "$egress_http_", name);
}
