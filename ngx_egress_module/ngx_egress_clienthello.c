
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include "ngx_egress_clienthello.h"


#define NGX_EGRESS_TLS_HANDSHAKE     22
#define NGX_EGRESS_TLS_CLIENT_HELLO  1
#define NGX_EGRESS_TLS_RECORD_MAX    16384

#define NGX_EGRESS_EXT_SNI           0
#define NGX_EGRESS_EXT_ALPN          16
#define NGX_EGRESS_EXT_PSK           41
#define NGX_EGRESS_EXT_VERSIONS      43
#define NGX_EGRESS_EXT_ECH           0xfe0d


typedef enum {
    hello_type = 0,
    hello_length,
    hello_version,
    hello_random,
    hello_sid_length,
    hello_sid,
    hello_ciphers_length,
    hello_ciphers,
    hello_compression_length,
    hello_compression,
    hello_exts_length,
    hello_ext_type,
    hello_ext_length,
    hello_ext_skip,
    hello_sni_list,
    hello_sni_type,
    hello_sni_length,
    hello_sni_name,
    hello_alpn_list,
    hello_alpn_length,
    hello_alpn_name,
    hello_versions_length,
    hello_versions,
    hello_ech_type,
    hello_ech_suite,
    hello_ech_enc_length,
    hello_ech_enc,
    hello_ech_payload_length
} ngx_egress_hello_state_e;


static ngx_int_t ngx_egress_hello_header(ngx_egress_hello_t *h, u_char ch);
static void ngx_egress_hello_consume(ngx_egress_hello_t *h, const u_char *p,
    size_t len);
static ngx_int_t ngx_egress_hello_step(ngx_egress_hello_t *h);
static ngx_int_t ngx_egress_hello_step_ext(ngx_egress_hello_t *h, size_t num);
static ngx_int_t ngx_egress_hello_step_ech(ngx_egress_hello_t *h, size_t num);
static ngx_int_t ngx_egress_hello_ext(ngx_egress_hello_t *h);
static ngx_int_t ngx_egress_hello_ext_end(ngx_egress_hello_t *h);
static ngx_int_t ngx_egress_hello_done(ngx_egress_hello_t *h);
static ngx_int_t ngx_egress_hello_want(ngx_egress_hello_t *h,
    ngx_uint_t state, size_t need);
static ngx_int_t ngx_egress_hello_error(ngx_egress_hello_t *h,
    const char *error);
static ngx_int_t ngx_egress_hello_seen(ngx_egress_hello_t *h);
static ngx_int_t ngx_egress_hello_check_sni(ngx_egress_hello_t *h);
static void ngx_egress_hello_alpn_byte(ngx_egress_hello_t *h, u_char ch);
static void ngx_egress_hello_offered(ngx_egress_hello_t *h, size_t num);


void
ngx_egress_hello_init(ngx_egress_hello_t *h)
{
    ngx_memzero(h, sizeof(ngx_egress_hello_t));

    h->state = hello_type;
    h->need = 1;
}


ngx_int_t
ngx_egress_hello_parse(ngx_egress_hello_t *h, const u_char *p, size_t len)
{
    size_t         n;
    ngx_int_t      rc;
    const u_char  *last;

    last = p + len;

    while (p < last) {

        if (h->record_left == 0) {
            rc = ngx_egress_hello_header(h, *p++);

            if (rc != NGX_AGAIN) {
                return rc;
            }

            continue;
        }

        n = last - p;

        if (n > h->record_left) {
            n = h->record_left;
        }

        if (n > h->need) {
            n = h->need;
        }

        ngx_egress_hello_consume(h, p, n);

        p += n;

        if (h->need == 0) {
            rc = ngx_egress_hello_step(h);

            if (rc != NGX_AGAIN) {
                return rc;
            }
        }
    }

    return NGX_AGAIN;
}


/* content type, version, length: RFC 8446, 5.1 */

static ngx_int_t
ngx_egress_hello_header(ngx_egress_hello_t *h, u_char ch)
{
    switch (h->header++) {

    case 0:
        if (ch == NGX_EGRESS_TLS_HANDSHAKE) {
            break;
        }

        /* the state moves on with the first byte of the first record */

        if (h->state == hello_type) {
            return NGX_DECLINED;
        }

        return ngx_egress_hello_error(h, "a record of another type inside");

    case 1:
        if (ch != 3) {
            return ngx_egress_hello_error(h, "invalid record version");
        }

        break;

    case 2:
        break;

    case 3:
        h->length = ch;
        break;

    default:
        h->header = 0;
        h->record_left = (h->length << 8) + ch;

        if (h->record_left == 0
            || h->record_left > NGX_EGRESS_TLS_RECORD_MAX)
        {
            return ngx_egress_hello_error(h, "invalid record length");
        }

        h->raw += h->record_left + 5;

        if (h->raw > NGX_EGRESS_HELLO_RAW_MAX) {
            return ngx_egress_hello_error(h, "too long with its records");
        }
    }

    return NGX_AGAIN;
}


static void
ngx_egress_hello_consume(ngx_egress_hello_t *h, const u_char *p, size_t len)
{
    size_t  i;

    h->record_left -= len;
    h->need -= len;

    if (h->in_message) {
        h->left -= len;
    }

    if (h->in_extension) {
        h->ext_left -= len;
    }

    switch (h->state) {

    case hello_random:
    case hello_sid:
    case hello_ciphers:
    case hello_ext_skip:
    case hello_ech_suite:
    case hello_ech_enc:
        break;

    case hello_compression:
        for (i = 0; i < len; i++) {
            h->null_compression |= (p[i] == 0);
        }

        break;

    case hello_sni_name:
        ngx_memcpy(h->sni + h->pos, p, len);
        h->pos += len;
        break;

    case hello_alpn_name:
        for (i = 0; i < len; i++) {
            ngx_egress_hello_alpn_byte(h, p[i]);
        }

        break;

    default:
        for (i = 0; i < len; i++) {
            h->num = (h->num << 8) + p[i];
        }
    }
}


static ngx_int_t
ngx_egress_hello_step(ngx_egress_hello_t *h)
{
    size_t  num;

    num = h->num;
    h->num = 0;

    switch (h->state) {

    case hello_type:
        if (num != NGX_EGRESS_TLS_CLIENT_HELLO) {
            return ngx_egress_hello_error(h, "not a ClientHello");
        }

        return ngx_egress_hello_want(h, hello_length, 3);

    case hello_length:
        if (num > NGX_EGRESS_HELLO_MAX - 4) {
            return ngx_egress_hello_error(h, "too long");
        }

        h->in_message = 1;
        h->left = num;

        return ngx_egress_hello_want(h, hello_version, 2);

    case hello_version:
        if (num >> 8 != 3) {
            return ngx_egress_hello_error(h, "invalid version");
        }

        h->legacy_version = (uint16_t) num;
        h->version = h->legacy_version;

        return ngx_egress_hello_want(h, hello_random, 32);

    case hello_random:
        return ngx_egress_hello_want(h, hello_sid_length, 1);

    case hello_sid_length:
        if (num > 32) {
            return ngx_egress_hello_error(h, "invalid session id length");
        }

        if (num) {
            return ngx_egress_hello_want(h, hello_sid, num);
        }

        /* fall through */

    case hello_sid:
        return ngx_egress_hello_want(h, hello_ciphers_length, 2);

    case hello_ciphers_length:
        if (num < 2 || num & 1) {
            return ngx_egress_hello_error(h, "invalid cipher suites length");
        }

        return ngx_egress_hello_want(h, hello_ciphers, num);

    case hello_ciphers:
        return ngx_egress_hello_want(h, hello_compression_length, 1);

    case hello_compression_length:
        if (num == 0) {
            return ngx_egress_hello_error(h, "no compression methods");
        }

        return ngx_egress_hello_want(h, hello_compression, num);

    case hello_compression:
        if (!h->null_compression) {
            return ngx_egress_hello_error(h, "no null compression");
        }

        if (h->left == 0) {
            return ngx_egress_hello_done(h);
        }

        return ngx_egress_hello_want(h, hello_exts_length, 2);

    case hello_exts_length:
        if (num != h->left) {
            return ngx_egress_hello_error(h, "invalid extensions length");
        }

        return ngx_egress_hello_ext_end(h);

    case hello_ext_type:
        h->type = num;

        if (ngx_egress_hello_seen(h) != NGX_OK) {
            return NGX_ERROR;
        }

        return ngx_egress_hello_want(h, hello_ext_length, 2);

    case hello_ext_length:
        if (num > h->left) {
            return ngx_egress_hello_error(h, "invalid extension length");
        }

        h->in_extension = 1;
        h->ext_left = num;

        return ngx_egress_hello_ext(h);

    default:
        return ngx_egress_hello_step_ext(h, num);
    }
}


/* the steps inside of an extension that is looked at */

static ngx_int_t
ngx_egress_hello_step_ext(ngx_egress_hello_t *h, size_t num)
{
    switch (h->state) {

    case hello_sni_list:
        if (num != h->ext_left) {
            return ngx_egress_hello_error(h, "invalid SNI list length");
        }

        return ngx_egress_hello_want(h, hello_sni_type, 1);

    case hello_sni_type:
        if (num != 0) {
            return ngx_egress_hello_error(h, "invalid SNI name type");
        }

        return ngx_egress_hello_want(h, hello_sni_length, 2);

    case hello_sni_length:
        /* a second name of any type would follow here */

        if (num == 0 || num != h->ext_left || num > NGX_EGRESS_HELLO_SNI_MAX)
        {
            return ngx_egress_hello_error(h, "invalid SNI name length");
        }

        return ngx_egress_hello_want(h, hello_sni_name, num);

    case hello_sni_name:
        if (ngx_egress_hello_check_sni(h) != NGX_OK) {
            return ngx_egress_hello_error(h, "invalid SNI name");
        }

        return ngx_egress_hello_ext_end(h);

    case hello_alpn_list:
        if (num != h->ext_left) {
            return ngx_egress_hello_error(h, "invalid ALPN list length");
        }

        return ngx_egress_hello_want(h, hello_alpn_length, 1);

    case hello_alpn_length:
        if (num == 0) {
            return ngx_egress_hello_error(h, "invalid ALPN name length");
        }

        h->pos = 0;

        return ngx_egress_hello_want(h, hello_alpn_name, num);

    case hello_alpn_name:
        if (h->ext_left) {
            return ngx_egress_hello_want(h, hello_alpn_length, 1);
        }

        return ngx_egress_hello_ext_end(h);

    case hello_versions_length:
        if (num != h->ext_left || num < 2 || num & 1) {
            return ngx_egress_hello_error(h, "invalid versions length");
        }

        h->version = 0;

        return ngx_egress_hello_want(h, hello_versions, 2);

    case hello_versions:
        ngx_egress_hello_offered(h, num);

        if (h->ext_left) {
            return ngx_egress_hello_want(h, hello_versions, 2);
        }

        if (h->version == 0) {
            h->version = h->legacy_version;
        }

        return ngx_egress_hello_ext_end(h);

    case hello_ext_skip:
        return ngx_egress_hello_ext_end(h);

    default:
        return ngx_egress_hello_step_ech(h, num);
    }
}


/* RFC 9849, 5: the inner type is empty, GREASE has the form of the outer */

static ngx_int_t
ngx_egress_hello_step_ech(ngx_egress_hello_t *h, size_t num)
{
    switch (h->state) {

    case hello_ech_type:
        if (num > 1) {
            return ngx_egress_hello_error(h, "invalid ECH type");
        }

        h->ech = num + 1;

        if (num == 0) {
            return ngx_egress_hello_want(h, hello_ech_suite, 5);
        }

        if (h->ext_left) {
            return ngx_egress_hello_error(h, "invalid ECH length");
        }

        return ngx_egress_hello_ext_end(h);

    case hello_ech_suite:
        return ngx_egress_hello_want(h, hello_ech_enc_length, 2);

    case hello_ech_enc_length:
        if (num) {
            return ngx_egress_hello_want(h, hello_ech_enc, num);
        }

        /* fall through */

    case hello_ech_enc:
        return ngx_egress_hello_want(h, hello_ech_payload_length, 2);

    default: /* hello_ech_payload_length */
        if (num == 0 || num != h->ext_left) {
            return ngx_egress_hello_error(h, "invalid ECH length");
        }

        return ngx_egress_hello_want(h, hello_ext_skip, num);
    }
}


static ngx_int_t
ngx_egress_hello_ext(ngx_egress_hello_t *h)
{
    switch (h->type) {

    case NGX_EGRESS_EXT_SNI:
        h->pos = 0;
        return ngx_egress_hello_want(h, hello_sni_list, 2);

    case NGX_EGRESS_EXT_ALPN:
        return ngx_egress_hello_want(h, hello_alpn_list, 2);

    case NGX_EGRESS_EXT_VERSIONS:
        return ngx_egress_hello_want(h, hello_versions_length, 1);

    case NGX_EGRESS_EXT_ECH:
        return ngx_egress_hello_want(h, hello_ech_type, 1);

    default:
        if (h->ext_left) {
            return ngx_egress_hello_want(h, hello_ext_skip, h->ext_left);
        }

        return ngx_egress_hello_ext_end(h);
    }
}


static ngx_int_t
ngx_egress_hello_ext_end(ngx_egress_hello_t *h)
{
    h->in_extension = 0;

    if (h->left) {
        return ngx_egress_hello_want(h, hello_ext_type, 2);
    }

    return ngx_egress_hello_done(h);
}


static ngx_int_t
ngx_egress_hello_done(ngx_egress_hello_t *h)
{
    if (h->record_left) {
        return ngx_egress_hello_error(h, "trailing bytes");
    }

    return NGX_OK;
}


/* nothing may be longer than what it stands in */

static ngx_int_t
ngx_egress_hello_want(ngx_egress_hello_t *h, ngx_uint_t state, size_t need)
{
    if ((h->in_message && need > h->left)
        || (h->in_extension && need > h->ext_left))
    {
        return ngx_egress_hello_error(h, "a length exceeds what it is in");
    }

    h->state = state;
    h->need = need;

    return NGX_AGAIN;
}


static ngx_int_t
ngx_egress_hello_error(ngx_egress_hello_t *h, const char *error)
{
    h->error = error;

    return NGX_ERROR;
}


/* RFC 8446, 4.2 and 4.2.11: no type twice, pre_shared_key only as the last */

static ngx_int_t
ngx_egress_hello_seen(ngx_egress_hello_t *h)
{
    ngx_uint_t  i;

    for (i = 0; i < h->nseen; i++) {
        if (h->seen[i] == h->type) {
            return ngx_egress_hello_error(h, "duplicate extension");
        }
    }

    if (h->nseen && h->seen[h->nseen - 1] == NGX_EGRESS_EXT_PSK) {
        return ngx_egress_hello_error(h, "pre_shared_key is not the last");
    }

    if (h->nseen == NGX_EGRESS_HELLO_EXTENSIONS) {
        return ngx_egress_hello_error(h, "too many extensions");
    }

    h->seen[h->nseen++] = (uint16_t) h->type;

    return NGX_OK;
}


/*
 * A DNS name in ASCII without trailing dot (RFC 6066, 3), no address in any
 * of the forms that a resolver could read one in.
 */

static ngx_int_t
ngx_egress_hello_check_sni(ngx_egress_hello_t *h)
{
    u_char  ch;
    size_t  i, label, digits;

    h->sni_len = h->pos;
    label = 0;
    digits = 0;

    if (h->sni_len > 253) {
        return NGX_ERROR;
    }

    for (i = 0; i < h->sni_len; i++) {
        ch = h->sni[i];

        if (ch >= 'A' && ch <= 'Z') {
            ch |= 0x20;
            h->sni[i] = ch;
        }

        if (ch == '.') {
            if (label == 0) {
                return NGX_ERROR;
            }

            label = 0;
            digits = 0;
            continue;
        }

        if (ch >= '0' && ch <= '9') {
            digits++;

        } else if (ch == '_') {
            h->underscore = 1;

        } else if (!(ch >= 'a' && ch <= 'z') && ch != '-') {
            return NGX_ERROR;
        }

        if (++label > 63) {
            return NGX_ERROR;
        }
    }

    /* "127.1", "2130706433" and "0x7f000001" are addresses to some */

    if (label == 0 || digits == label) {
        return NGX_ERROR;
    }

    if (label > 1 && h->sni[h->sni_len - label] == '0'
        && h->sni[h->sni_len - label + 1] == 'x')
    {
        return NGX_ERROR;
    }

    h->sni[h->sni_len] = '\0';

    return NGX_OK;
}


/* a name that does not fit is left out as a whole, and all after it */

static void
ngx_egress_hello_alpn_byte(ngx_egress_hello_t *h, u_char ch)
{
    size_t  len;

    static const u_char  hex[] = "0123456789abcdef";
    static const u_char  istio[] = "istio";

    if (h->pos == 0) {
        h->matched = 1;
        h->name_start = h->alpn_len;

        if (h->alpn_len && !h->alpn_truncated) {
            h->alpn[h->alpn_len++] = ',';
        }
    }

    if (h->pos < 5) {
        h->matched &= (ch == istio[h->pos]);
        h->istio |= (h->pos == 4 && h->matched);
    }

    h->pos++;

    if (h->alpn_truncated) {
        return;
    }

    len = (ch > 0x20 && ch < 0x7f && ch != ',' && ch != '"' && ch != '\\')
          ? 1 : 4;

    /* one byte is kept for the comma of the next name */

    if (h->alpn_len + len >= NGX_EGRESS_HELLO_ALPN_MAX) {
        h->alpn_truncated = 1;
        h->alpn_len = h->name_start;
        return;
    }

    if (len == 1) {
        h->alpn[h->alpn_len++] = ch;
        return;
    }

    h->alpn[h->alpn_len++] = '\\';
    h->alpn[h->alpn_len++] = 'x';
    h->alpn[h->alpn_len++] = hex[ch >> 4];
    h->alpn[h->alpn_len++] = hex[ch & 0xf];
}


/* RFC 8701: GREASE values are 0x0a0a, 0x1a1a, ... 0xfafa */

static void
ngx_egress_hello_offered(ngx_egress_hello_t *h, size_t num)
{
    if ((num & 0x0f0f) == 0x0a0a && num >> 8 == (num & 0xff)) {
        return;
    }

    if (num == 0x0304) {
        h->tls13 = 1;
    }

    if (num > h->version) {
        h->version = (uint16_t) num;
    }
}
