
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


static void diag_quote(const pos_t *pos);


static size_t  diag_errors;
static size_t  diag_shown;
static int     diag_warnings_count;


void
diag(diag_level_e level, const pos_t *pos, const char *code, const char *fmt,
    ...)
{
    va_list  args;

    static const char  *names[] = { "note", "warning", "error" };

    if (level == DIAG_ERROR || (level == DIAG_WARNING && diag_warnings_count))
    {
        diag_errors++;
    }

    if (level == DIAG_ERROR && diag_shown++ >= DIAG_MAX) {
        return;
    }

    if (pos && pos->source) {
        fprintf(stderr, "%s:", pos->source->name);

        if (pos->line) {
            fprintf(stderr, "%zu:%zu:", pos->line, pos->col);
        }

        fputc(' ', stderr);

    } else {
        fputs("egressctl: ", stderr);
    }

    fprintf(stderr, "%s: ", names[level]);

    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);

    fprintf(stderr, " [%s]\n", code);

    if (level != DIAG_NOTE && pos && pos->source && pos->line) {
        diag_quote(pos);
    }
}


/* control bytes of the input never reach the terminal */

static void
diag_quote(const pos_t *pos)
{
    size_t       i, line;
    const char  *p, *last, *end;

    p = pos->source->text;
    last = p + pos->source->len;

    for (line = 1; line < pos->line && p < last; p++) {
        line += (*p == '\n');
    }

    end = memchr(p, '\n', last - p);

    if (end == NULL) {
        end = last;
    }

    if (end - p > DIAG_LINE) {
        end = p + DIAG_LINE;
    }

    fputs("    ", stderr);

    for (i = 0; p + i < end; i++) {
        fputc((unsigned char) p[i] < 0x20 || p[i] == 0x7f ? ' ' : p[i],
              stderr);
    }

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

    return diag_errors;
}
