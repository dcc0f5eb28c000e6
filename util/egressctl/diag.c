
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


static void diag_puts(FILE *out, const char *s, size_t len);
static void diag_quote(FILE *out, const pos_t *pos);
static void diag_keep(diag_rec_t *rec);
static int diag_compare(const void *one, const void *two);
static int diag_same(const diag_rec_t *one, const diag_rec_t *two);


static size_t  diag_errors;
static size_t  diag_shown;
static size_t  diag_strict_warnings;
static int     diag_warnings_count;

static int          diag_collecting;
static diag_rec_t  *diag_recs;
static size_t       diag_nrecs;


void
diag(diag_level_e level, const pos_t *pos, const char *code, const char *fmt,
    ...)
{
    int         len;
    va_list     args;
    diag_rec_t  rec;

    static diag_rec_t  last;

    memset(&rec, 0, sizeof(diag_rec_t));

    va_start(args, fmt);
    len = vasprintf(&rec.text, fmt, args);
    va_end(args);

    if (len == -1) {
        abort();
    }

    rec.level = level;
    rec.code = code;

    if (pos) {
        rec.pos = *pos;
    }

    /* a Secret has a certificate, a key and CAs, and the same flaw thrice */

    if (last.text && diag_same(&last, &rec)) {
        free(rec.text);
        return;
    }

    if (!diag_collecting) {
        free(last.text);
    }

    last = rec;

    if (level == DIAG_ERROR) {
        diag_errors++;
        diag_shown++;

    } else if (level == DIAG_WARNING && diag_warnings_count) {
        diag_errors++;
        diag_strict_warnings++;
    }

    if (diag_collecting) {
        diag_keep(&rec);
        return;
    }

    if (level != DIAG_ERROR || diag_shown <= DIAG_MAX) {
        diag_print(stderr, &rec);
    }
}


void
diag_print(FILE *out, const diag_rec_t *rec)
{
    const pos_t  *pos;

    pos = &rec->pos;

    if (pos->source) {
        diag_puts(out, pos->source->name, strlen(pos->source->name));

        if (pos->line) {
            fprintf(out, ":%zu:%zu", pos->line, pos->col);
        }

    } else {
        fputs("egressctl", out);
    }

    fprintf(out, ": %s: ", diag_level(rec));
    diag_puts(out, rec->text, strlen(rec->text));
    fprintf(out, " [%s]\n", rec->code);

    if (rec->level != DIAG_NOTE && pos->source && pos->line) {
        diag_quote(out, pos);
    }
}


const char *
diag_level(const diag_rec_t *rec)
{
    static const char  *names[] = { "note", "warning", "error" };

    return names[rec->level];
}


const char *
diag_file(const diag_rec_t *rec)
{
    return rec->pos.source ? rec->pos.source->name : NULL;
}


void
diag_collect(void)
{
    diag_collecting = 1;
}


static void
diag_keep(diag_rec_t *rec)
{
    if ((diag_nrecs & (diag_nrecs - 1)) == 0) {
        diag_recs = realloc(diag_recs, (diag_nrecs ? 2 * diag_nrecs : 1)
                                       * sizeof(diag_rec_t));
        if (diag_recs == NULL) {
            abort();
        }
    }

    rec->order = diag_nrecs;
    diag_recs[diag_nrecs++] = *rec;
}


const diag_rec_t *
diag_collected(size_t *n)
{
    size_t  i, k;

    if (diag_nrecs) {
        qsort(diag_recs, diag_nrecs, sizeof(diag_rec_t), diag_compare);
    }

    for (i = 0, k = 0; i < diag_nrecs; i++) {
        if (k == 0 || !diag_same(&diag_recs[k - 1], &diag_recs[i])) {
            diag_recs[k++] = diag_recs[i];
        }
    }

    diag_nrecs = k;
    *n = k;

    return diag_recs;
}


size_t
diag_count(diag_level_e level)
{
    size_t  i, n;

    for (i = 0, n = 0; i < diag_nrecs; i++) {
        n += (diag_recs[i].level == level);
    }

    return n;
}


/* what is of no file comes first; then in the order of what was said */

static int
diag_compare(const void *one, const void *two)
{
    int                rc;
    const diag_rec_t  *a, *b;

    a = one;
    b = two;

    rc = strcmp(diag_file(a) ? diag_file(a) : "",
                diag_file(b) ? diag_file(b) : "");

    if (rc == 0) {
        rc = (a->pos.line > b->pos.line) - (a->pos.line < b->pos.line);
    }

    if (rc == 0) {
        rc = (a->pos.col > b->pos.col) - (a->pos.col < b->pos.col);
    }

    if (rc == 0) {
        rc = (int) b->level - (int) a->level;
    }

    if (rc == 0) {
        rc = strcmp(a->text, b->text);
    }

    return rc ? rc : (a->order > b->order) - (a->order < b->order);
}


static int
diag_same(const diag_rec_t *one, const diag_rec_t *two)
{
    return one->pos.source == two->pos.source
           && one->pos.line == two->pos.line && one->pos.col == two->pos.col
           && one->level == two->level
           && strcmp(one->code, two->code) == 0
           && strcmp(one->text, two->text) == 0;
}


/* control characters of the input, C1 in UTF-8 too, don't reach a terminal */

static void
diag_puts(FILE *out, const char *s, size_t len)
{
    size_t         i;
    unsigned char  ch, next;

    for (i = 0; i < len; i++) {
        ch = s[i];
        next = (i + 1 < len) ? s[i + 1] : 0;

        if (ch == 0xc2 && next >= 0x80 && next <= 0x9f) {
            fputc('?', out);
            i++;

        } else if (ch == '\t') {
            fputc(' ', out);

        } else {
            fputc(ch < 0x20 || ch == 0x7f ? '?' : ch, out);
        }
    }
}


static void
diag_quote(FILE *out, const pos_t *pos)
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

    fputs("    ", out);
    diag_puts(out, p, end - p);
    fputs("\n    ", out);

    for (i = 1; i < pos->col && i < DIAG_LINE; i++) {
        fputc(' ', out);
    }

    fputs("^\n", out);
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
