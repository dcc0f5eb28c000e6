
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


static u_char *ngx_egress_path_base(u_char *dst, u_char *p, u_char *last,
    ngx_uint_t mode);
static u_char *ngx_egress_path_char(u_char *out, u_char **p, u_char *last,
    ngx_uint_t mode, ngx_uint_t *slash);
static u_char *ngx_egress_path_segment(u_char *dst, u_char *start,
    u_char *out, ngx_uint_t *dots);
static u_char *ngx_egress_path_merge(u_char *dst, u_char *last);
static ngx_int_t ngx_egress_path_hex(u_char *p);


ngx_int_t
ngx_egress_path_normalize(u_char *dst, ngx_str_t *path, ngx_str_t *src,
    ngx_uint_t mode)
{
    u_char  *p, *last;

    p = src->data;
    last = p + src->len;

    while (p < last && *p != '?' && *p != '#') {
        p++;
    }

    last = p;
    path->data = dst;

    /* "*" of OPTIONS is the other form that arrives here */

    if (last == src->data) {
        path->len = 0;
        return NGX_DECLINED;
    }

    if (mode == NGX_EGRESS_PATH_NONE || src->data[0] != '/') {
        path->len = last - src->data;
        ngx_memcpy(dst, src->data, path->len);
        return NGX_OK;
    }

    p = ngx_egress_path_base(dst, src->data, last, mode);

    if (mode != NGX_EGRESS_PATH_BASE) {
        p = ngx_egress_path_merge(dst, p);
    }

    path->len = p - dst;

    return NGX_OK;
}


/*
 * RFC 3986, 5.2.4 and 6.2.2.2, as googleurl's CanonicalizePath has it, which
 * Envoy's normalize_path calls: a backslash is a slash, escaped unreserved
 * bytes are unescaped ("%2e" is a dot then), slashes are not merged.
 */

static u_char *
ngx_egress_path_base(u_char *dst, u_char *p, u_char *last, ngx_uint_t mode)
{
    u_char      *out, *start;
    ngx_uint_t   slash, dots;

    out = dst;
    *out++ = '/';
    start = out;
    p++;

    while (p < last) {

        out = ngx_egress_path_char(out, &p, last, mode, &slash);

        if (!slash) {
            continue;
        }

        out = ngx_egress_path_segment(dst, start, out, &dots);

        if (!dots) {
            *out++ = '/';
        }

        start = out;
    }

    return ngx_egress_path_segment(dst, start, out, &dots);
}


/* a byte of the path goes to out, unless it ends a segment */

static u_char *
ngx_egress_path_char(u_char *out, u_char **p, u_char *last, ngx_uint_t mode,
    ngx_uint_t *slash)
{
    u_char     ch;
    ngx_int_t  n;

    static u_char  hex[] = "0123456789ABCDEF";

    *slash = 0;
    ch = *(*p)++;

    if (ch == '/' || ch == '\\') {
        *slash = 1;
        return out;
    }

    if (ch == '%' && last - *p >= 2) {

        n = ngx_egress_path_hex(*p);

        if (n == '-' || n == '.' || n == '_' || n == '~'
            || (n >= '0' && n <= '9') || (n >= 'A' && n <= 'Z')
            || (n >= 'a' && n <= 'z'))
        {
            *p += 2;
            *out++ = (u_char) n;
            return out;
        }

        if (mode == NGX_EGRESS_PATH_DECODE && (n == '/' || n == '\\')) {
            *p += 2;
            *slash = 1;
            return out;
        }

        *out++ = ch;
        return out;
    }

    if (ch <= 0x20 || ch >= 0x7f || ch == '"' || ch == '<' || ch == '>'
        || ch == '`' || ch == '{' || ch == '}')
    {
        *out++ = '%';
        *out++ = hex[ch >> 4];
        *out++ = hex[ch & 0xf];
        return out;
    }

    *out++ = ch;

    return out;
}


/* takes a dot segment away, two dots with the one before; start is its own */

static u_char *
ngx_egress_path_segment(u_char *dst, u_char *start, u_char *out,
    ngx_uint_t *dots)
{
    *dots = 0;

    if (out - start == 1 && start[0] == '.') {
        *dots = 1;
        return start;
    }

    if (out - start != 2 || start[0] != '.' || start[1] != '.') {
        return out;
    }

    *dots = 1;

    if (start - dst == 1) {
        return start;
    }

    for (out = start - 1; out[-1] != '/'; out--) { /* void */ }

    return out;
}


static u_char *
ngx_egress_path_merge(u_char *dst, u_char *last)
{
    u_char  *p, *out;

    out = dst;

    for (p = dst; p < last; p++) {

        if (*p == '/' && out > dst && out[-1] == '/') {
            continue;
        }

        *out++ = *p;
    }

    return out;
}


static ngx_int_t
ngx_egress_path_hex(u_char *p)
{
    ngx_uint_t  i;
    ngx_int_t   n;
    u_char      ch;

    n = 0;

    for (i = 0; i < 2; i++) {
        ch = p[i] | 0x20;

        if (p[i] >= '0' && p[i] <= '9') {
            n = n * 16 + (p[i] - '0');

        } else if (ch >= 'a' && ch <= 'f') {
            n = n * 16 + (ch - 'a' + 10);

        } else {
            return NGX_ERROR;
        }
    }

    return n;
}
