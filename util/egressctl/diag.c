
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "egressctl.h"


#define DIAG_MAX   50
#define DIAG_LINE  160


static void diag_puts(const char *s, size_t len);
static void diag_quote(const pos_t *pos);


static size_t  diag_errors;
static size_t  diag_shown;
static size_t  diag_strict_warnings;
static int     diag_warnings_count;


void
diag(diag_level_e level, const pos_t *pos, const char *code, const char *fmt,
    ...)
{
    int      len;
    char    *text;
    va_list  args;

    static const char  *names[] = { "note", "warning", "error" };

    if (level == DIAG_ERROR) {
        diag_errors++;

        if (diag_shown++ >= DIAG_MAX) {
            return;
        }

    } else if (level == DIAG_WARNING && diag_warnings_count) {
        diag_errors++;
        diag_strict_warnings++;
    }

    va_start(args, fmt);
    len = vasprintf(&text, fmt, args);
    va_end(args);

    if (len == -1) {
        abort();
    }

    if (pos && pos->source) {
        diag_puts(pos->source->name, strlen(pos->source->name));

        if (pos->line) {
            fprintf(stderr, ":%zu:%zu", pos->line, pos->col);
        }

    } else {
        fputs("egressctl", stderr);
    }

    fprintf(stderr, ": %s: ", names[level]);
    diag_puts(text, len);
    fprintf(stderr, " [%s]\n", code);

    free(text);

    if (level != DIAG_NOTE && pos && pos->source && pos->line) {
        diag_quote(pos);
    }
}


/* control characters of the input, C1 in UTF-8 too, don't reach a terminal */

static void
diag_puts(const char *s, size_t len)
{
    size_t         i;
    unsigned char  ch, next;

    for (i = 0; i < len; i++) {
        ch = s[i];
        next = (i + 1 < len) ? s[i + 1] : 0;

        if (ch == 0xc2 && next >= 0x80 && next <= 0x9f) {
            fputc('?', stderr);
            i++;

        } else if (ch == '\t') {
            fputc(' ', stderr);

        } else {
            fputc(ch < 0x20 || ch == 0x7f ? '?' : ch, stderr);
        }
    }
}


static void
diag_quote(const pos_t *pos)
{
    size_t       i;
    const char  *p, *last, *end;

    /* where the last one was, for the many that follow each other */

    static size_t           line;
    static const char      *start;
    static const source_t  *source;

    if (source != pos->source || line > pos->line) {
        source = pos->source;
        start = source->text;
        line = 1;
    }

    p = start;
    last = source->text + source->len;

    for ( /* void */ ; line < pos->line && p < last; p++) {
        line += (*p == '\n');
    }

    start = p;
    end = memchr(p, '\n', last - p);

    if (end == NULL) {
        end = last;
    }

    if (end > p && end[-1] == '\r') {
        end--;
    }

    if (end - p > DIAG_LINE) {
        end = p + DIAG_LINE;
    }

    fputs("    ", stderr);
    diag_puts(p, end - p);
    fputs("\n    ", stderr);

    for (i = 1; i < pos->col && i < DIAG_LINE; i++) {
        fputc(' ', stderr);
    }

    fputs("^\n", stderr);
}


void
diag_strict(void)
{
    diag_warnings_count = 1;
}


size_t
diag_end(void)
{
    if (diag_shown > DIAG_MAX) {
        fprintf(stderr, "egressctl: %zu more errors are not shown\n",
                diag_shown - DIAG_MAX);
    }

    if (diag_strict_warnings) {
        fprintf(stderr, "egressctl: refused because of %zu warning%s "
                "(--strict)\n", diag_strict_warnings,
                diag_strict_warnings == 1 ? "" : "s");
    }

    return diag_errors;
}
