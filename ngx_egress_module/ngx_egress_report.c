
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_core.h>


#define NGX_EGRESS_TEXT_BUFFER    16384

/* of one report; a worker renders some 300 megabytes in a second */
#define NGX_EGRESS_TEXT_MAX       (64 * 1024 * 1024)

#define NGX_EGRESS_JSON_DEPTH     32


static ngx_int_t ngx_egress_text_buffer(ngx_egress_text_t *text);
static void ngx_egress_json_begin(ngx_egress_text_t *text, const char *key);
static void ngx_egress_json_quote(ngx_egress_text_t *text, ngx_str_t *value);
static size_t ngx_egress_json_escape(u_char ch, u_char *escaped);


ngx_int_t
ngx_egress_add_report(ngx_conf_t *cf, ngx_uint_t kind, ngx_str_t *name,
    ngx_egress_report_pt handler)
{
    ngx_uint_t                 i;
    ngx_array_t              **parts;
    ngx_egress_report_part_t  *part;

    parts = &ngx_egress_get_core_conf(cf->cycle)->parts[kind];

    if (*parts == NULL) {
        *parts = ngx_array_create(cf->pool, 8,
                                  sizeof(ngx_egress_report_part_t));
        if (*parts == NULL) {
            return NGX_ERROR;
        }
    }

    part = (*parts)->elts;

    for (i = 0; i < (*parts)->nelts; i++) {
        if (part[i].name->len == name->len
            && ngx_memcmp(part[i].name->data, name->data, name->len) == 0)
        {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "egress report \"%V\" is already bound", name);
            return NGX_ERROR;
        }
    }

    part = ngx_array_push(*parts);
    if (part == NULL) {
        return NGX_ERROR;
    }

    part->name = name;
    part->handler = handler;

    return NGX_OK;
}


ngx_int_t
ngx_egress_report_status(ngx_egress_report_t *report, ngx_str_t *what)
{
    ngx_uint_t                 i, found;
    ngx_array_t               *parts;
    ngx_egress_conf_t         *ecf;
    ngx_egress_report_part_t  *part;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    parts = ecf->parts[NGX_EGRESS_REPORT_STATUS];

    if (parts == NULL) {
        return NGX_DECLINED;
    }

    part = parts->elts;
    found = 0;

    ngx_egress_json_open(&report->text, NULL, '{');

    for (i = 0; i < parts->nelts; i++) {

        if (what->len
            && (what->len != part[i].name->len
                || ngx_memcmp(what->data, part[i].name->data, what->len) != 0))
        {
            continue;
        }

        found = 1;

        ngx_egress_json_key(&report->text, part[i].name);

        if (part[i].handler(report) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    ngx_egress_json_close(&report->text);
    ngx_egress_text_str(&report->text, "\n");

    if (report->text.failed) {
        return NGX_ERROR;
    }

    return found ? NGX_OK : NGX_DECLINED;
}


ngx_int_t
ngx_egress_report_metrics(ngx_egress_report_t *report)
{
    ngx_uint_t                 i;
    ngx_array_t               *parts;
    ngx_egress_conf_t         *ecf;
    ngx_egress_report_part_t  *part;

    ecf = ngx_egress_get_core_conf((ngx_cycle_t *) ngx_cycle);
    parts = ecf->parts[NGX_EGRESS_REPORT_METRICS];

    if (parts == NULL) {
        return NGX_OK;
    }

    part = parts->elts;

    for (i = 0; i < parts->nelts; i++) {
        if (part[i].handler(report) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    return report->text.failed ? NGX_ERROR : NGX_OK;
}


ngx_int_t
ngx_egress_report_number(ngx_egress_report_t *report, const char *name,
    ngx_uint_t max, ngx_uint_t *value)
{
    ngx_int_t  n;
    ngx_str_t  text;

    if (report->arg(report, name, &text) != NGX_OK) {
        return NGX_DECLINED;
    }

    n = ngx_atoi(text.data, text.len);

    if (n == NGX_ERROR || (ngx_uint_t) n > max) {
        return NGX_DECLINED;
    }

    *value = n;

    return NGX_OK;
}


void
ngx_egress_text_add(ngx_egress_text_t *text, const u_char *data, size_t len)
{
    size_t      n;
    ngx_buf_t  *b;

    while (len && !text->failed) {

        b = text->last ? text->last->buf : NULL;

        if (b == NULL || b->last == b->end) {

            if (ngx_egress_text_buffer(text) != NGX_OK) {
                text->failed = 1;
                return;
            }

            b = text->last->buf;
        }

        n = ngx_min(len, (size_t) (b->end - b->last));

        b->last = ngx_cpymem(b->last, data, n);

        data += n;
        len -= n;
        text->size += n;
    }
}


static ngx_int_t
ngx_egress_text_buffer(ngx_egress_text_t *text)
{
    ngx_buf_t    *b;
    ngx_chain_t  *cl;

    if (text->max == 0) {
        text->max = NGX_EGRESS_TEXT_MAX;
    }

    if (text->size >= text->max) {
        ngx_log_error(NGX_LOG_ERR, text->pool->log, 0,
                      "egress report is larger than %uz bytes", text->max);
        return NGX_ERROR;
    }

    b = ngx_create_temp_buf(text->pool, NGX_EGRESS_TEXT_BUFFER);
    if (b == NULL) {
        return NGX_ERROR;
    }

    cl = ngx_alloc_chain_link(text->pool);
    if (cl == NULL) {
        return NGX_ERROR;
    }

    cl->buf = b;
    cl->next = NULL;

    if (text->last) {
        text->last->next = cl;

    } else {
        text->out = cl;
    }

    text->last = cl;

    return NGX_OK;
}


void
ngx_egress_text_str(ngx_egress_text_t *text, const char *s)
{
    ngx_egress_text_add(text, (const u_char *) s, ngx_strlen(s));
}


size_t
ngx_egress_utf8(const u_char *p, const u_char *last)
{
    size_t    len, i;
    u_char    low, high;

    if (p[0] < 0x80) {
        return 1;
    }

    low = 0x80;
    high = 0xbf;

    if (p[0] >= 0xc2 && p[0] <= 0xdf) {
        len = 2;

    } else if (p[0] >= 0xe0 && p[0] <= 0xef) {
        len = 3;
        low = (p[0] == 0xe0) ? 0xa0 : 0x80;
        high = (p[0] == 0xed) ? 0x9f : 0xbf;

    } else if (p[0] >= 0xf0 && p[0] <= 0xf4) {
        len = 4;
        low = (p[0] == 0xf0) ? 0x90 : 0x80;
        high = (p[0] == 0xf4) ? 0x8f : 0xbf;

    } else {
        return 0;
    }

    if ((size_t) (last - p) < len || p[1] < low || p[1] > high) {
        return 0;
    }

    for (i = 2; i < len; i++) {
        if (p[i] < 0x80 || p[i] > 0xbf) {
            return 0;
        }
    }

    return len;
}


void
ngx_egress_json_open(ngx_egress_text_t *text, const char *key, char type)
{
    ngx_uint_t  bit;

    ngx_egress_json_begin(text, key);

    if (text->depth == NGX_EGRESS_JSON_DEPTH) {
        text->failed = 1;
        return;
    }

    bit = (ngx_uint_t) 1 << text->depth++;

    text->filled &= ~bit;

    if (type == '[') {
        text->arrays |= bit;

    } else {
        text->arrays &= ~bit;
    }

    ngx_egress_text_str(text, type == '[' ? "[" : "{");
}


void
ngx_egress_json_close(ngx_egress_text_t *text)
{
    if (text->depth == 0) {
        text->failed = 1;
        return;
    }

    text->depth--;

    ngx_egress_text_str(text, (text->arrays >> text->depth) & 1 ? "]" : "}");
}


/* the comma and the key before a value; after json_key there is neither */

static void
ngx_egress_json_begin(ngx_egress_text_t *text, const char *key)
{
    ngx_str_t   name;
    ngx_uint_t  bit;

    if (key) {
        name.data = (u_char *) key;
        name.len = ngx_strlen(key);

        ngx_egress_json_key(text, &name);
        return;
    }

    if (text->depth == 0) {
        return;
    }

    bit = (ngx_uint_t) 1 << (text->depth - 1);

    if (!(text->arrays & bit)) {
        return;
    }

    if (text->filled & bit) {
        ngx_egress_text_str(text, ",");
    }

    text->filled |= bit;
}


void
ngx_egress_json_key(ngx_egress_text_t *text, ngx_str_t *key)
{
    ngx_uint_t  bit;

    if (text->depth == 0) {
        text->failed = 1;
        return;
    }

    bit = (ngx_uint_t) 1 << (text->depth - 1);

    if (text->filled & bit) {
        ngx_egress_text_str(text, ",");
    }

    text->filled |= bit;

    ngx_egress_json_quote(text, key);
    ngx_egress_text_str(text, ":");
}


void
ngx_egress_json_string(ngx_egress_text_t *text, const char *key,
    ngx_str_t *value)
{
    ngx_egress_json_begin(text, key);
    ngx_egress_json_quote(text, value);
}


void
ngx_egress_json_cstring(ngx_egress_text_t *text, const char *key,
    const char *value)
{
    ngx_str_t  s;

    s.data = (u_char *) value;
    s.len = ngx_strlen(value);

    ngx_egress_json_string(text, key, &s);
}


void
ngx_egress_json_number(ngx_egress_text_t *text, const char *key,
    int64_t value)
{
    u_char  buf[NGX_INT64_LEN + 1];

    ngx_egress_json_begin(text, key);
    ngx_egress_text_add(text, buf, ngx_sprintf(buf, "%L", value) - buf);
}


void
ngx_egress_json_bool(ngx_egress_text_t *text, const char *key,
    ngx_uint_t value)
{
    ngx_egress_json_begin(text, key);
    ngx_egress_text_str(text, value ? "true" : "false");
}


void
ngx_egress_json_null(ngx_egress_text_t *text, const char *key)
{
    ngx_egress_json_begin(text, key);
    ngx_egress_text_str(text, "null");
}


static void
ngx_egress_json_quote(ngx_egress_text_t *text, ngx_str_t *value)
{
    size_t   len;
    u_char  *p, *start, *last, escaped[6];

    p = value->data;
    last = p + value->len;
    start = p;

    ngx_egress_text_str(text, "\"");

    while (p < last) {

        len = ngx_egress_utf8(p, last);

        if (len > 1 || (len == 1 && ngx_egress_json_escape(*p, escaped) == 0))
        {
            p += len;
            continue;
        }

        ngx_egress_text_add(text, start, p - start);

        if (len == 0) {
            ngx_egress_text_str(text, "\\ufffd");

        } else {
            ngx_egress_text_add(text, escaped,
                                ngx_egress_json_escape(*p, escaped));
        }

        start = ++p;
    }

    ngx_egress_text_add(text, start, p - start);
    ngx_egress_text_str(text, "\"");
}


/* returns the length of what stands for the byte, 0: it may stand as it is */

static size_t
ngx_egress_json_escape(u_char ch, u_char *escaped)
{
    static u_char  hex[] = "0123456789abcdef";

    if (ch == '"' || ch == '\\') {
        escaped[0] = '\\';
        escaped[1] = ch;
        return 2;
    }

    if (ch >= 0x20 && ch != 0x7f && ch != '<' && ch != '>') {
        return 0;
    }

    escaped[0] = '\\';
    escaped[1] = 'u';
    escaped[2] = '0';
    escaped[3] = '0';
    escaped[4] = hex[ch >> 4];
    escaped[5] = hex[ch & 0xf];

    return 6;
}


void
ngx_egress_metric_family(ngx_egress_text_t *text, const char *name,
    const char *type, const char *help)
{
    ngx_egress_text_str(text, "# HELP ");
    ngx_egress_text_str(text, name);
    ngx_egress_text_str(text, " ");
    ngx_egress_text_str(text, help);
    ngx_egress_text_str(text, "\n# TYPE ");
    ngx_egress_text_str(text, name);
    ngx_egress_text_str(text, " ");
    ngx_egress_text_str(text, type);
    ngx_egress_text_str(text, "\n");
}


void
ngx_egress_metric_open(ngx_egress_text_t *text, const char *name)
{
    text->labels = 0;

    ngx_egress_text_str(text, name);
}


/* control bytes other than LF have no escape in the format: U+FFFD */

void
ngx_egress_metric_label(ngx_egress_text_t *text, const char *name,
    ngx_str_t *value)
{
    size_t   len;
    u_char  *p, *last;

    ngx_egress_text_str(text, text->labels ? "," : "{");
    ngx_egress_text_str(text, name);
    ngx_egress_text_str(text, "=\"");

    text->labels = 1;

    p = value->data;
    last = p + value->len;

    while (p < last) {

        len = ngx_egress_utf8(p, last);

        if (len == 1 && (*p == '"' || *p == '\\')) {
            ngx_egress_text_str(text, "\\");
            ngx_egress_text_add(text, p++, 1);

        } else if (len == 1 && *p == '\n') {
            ngx_egress_text_str(text, "\\n");
            p++;

        } else if (len == 0 || *p < 0x20 || *p == 0x7f) {
            ngx_egress_text_str(text, "\xef\xbf\xbd");
            p++;

        } else {
            ngx_egress_text_add(text, p, len);
            p += len;
        }
    }

    ngx_egress_text_str(text, "\"");
}


void
ngx_egress_metric_value(ngx_egress_text_t *text, uint64_t value)
{
    u_char  buf[NGX_INT64_LEN + sizeof("} \n")];

    ngx_egress_text_add(text, buf,
                        ngx_sprintf(buf, "%s %uL\n", text->labels ? "}" : "",
                                    value)
                        - buf);
}


void
ngx_egress_metric_msec(ngx_egress_text_t *text, uint64_t msec)
{
    u_char  buf[NGX_INT64_LEN + sizeof("} .000\n")];

    ngx_egress_text_add(text, buf,
                        ngx_sprintf(buf, "%s %uL.%03uL\n",
                                    text->labels ? "}" : "", msec / 1000,
                                    msec % 1000)
                        - buf);
}
