
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <arpa/inet.h>
#include <ctype.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "egressctl.h"


#define PIECES_SIZE  (256 * 1024)


typedef struct hash_row_s  hash_row_t;

struct hash_row_s {
    hash_row_t      *next;
    const char      *key;
    void            *value;
    uint32_t         sum;
};


struct hash_s {
    hash_row_t     **rows;
    size_t           size;               /* a power of two */
    size_t           n;
};


static uint32_t hash_sum(const char *key);
static hash_row_t *hash_find(const hash_t *h, const char *key, uint32_t sum);
static void hash_grow(hash_t *h);


static char    *pieces;
static size_t   pieces_left;


void *
xalloc(size_t size)
{
    void  *p;

    p = calloc(1, size);

    if (p == NULL) {
        abort();
    }

    return p;
}


char *
xstrdup(const char *s)
{
    char  *p;

    p = strdup(s);

    if (p == NULL) {
        abort();
    }

    return p;
}


char *
xprintf(const char *fmt, ...)
{
    char     *p;
    va_list   args;

    va_start(args, fmt);

    if (vasprintf(&p, fmt, args) == -1) {
        abort();
    }

    va_end(args);

    return p;
}


void *
xpiece(size_t size)
{
    void  *p;

    size = (size + 7) & ~(size_t) 7;

    if (size > PIECES_SIZE / 4) {
        return xalloc(size);
    }

    if (size > pieces_left) {
        pieces = xalloc(PIECES_SIZE);
        pieces_left = PIECES_SIZE;
    }

    p = pieces;
    pieces += size;
    pieces_left -= size;

    return p;
}


void
xreset(void)
{
    pieces = NULL;
    pieces_left = 0;
}


char *
lower(const char *s)
{
    char  *p, *copy;

    copy = xstrdup(s);

    for (p = copy; *p; p++) {
        *p = (char) tolower((unsigned char) *p);
    }

    return copy;
}


hash_t *
hash_new(void)
{
    hash_t  *h;

    h = xalloc(sizeof(hash_t));
    h->size = 64;
    h->rows = xalloc(h->size * sizeof(hash_row_t *));

    return h;
}


void *
hash_get(const hash_t *h, const char *key)
{
    hash_row_t  *row;

    row = hash_find(h, key, hash_sum(key));

    return row ? row->value : NULL;
}


void
hash_put(hash_t *h, const char *key, void *value)
{
    uint32_t     sum;
    hash_row_t  *row;

    sum = hash_sum(key);
    row = hash_find(h, key, sum);

    if (row) {
        row->value = value;
        return;
    }

    if (h->n == h->size) {
        hash_grow(h);
    }

    row = xpiece(sizeof(hash_row_t));
    row->key = key;
    row->value = value;
    row->sum = sum;
    row->next = h->rows[sum & (h->size - 1)];

    h->rows[sum & (h->size - 1)] = row;
    h->n++;
}


/* FNV-1a */

static uint32_t
hash_sum(const char *key)
{
    uint32_t  sum;

    for (sum = 2166136261u; *key; key++) {
        sum = (sum ^ (unsigned char) *key) * 16777619u;
    }

    return sum ^ (sum >> 15);
}


static hash_row_t *
hash_find(const hash_t *h, const char *key, uint32_t sum)
{
    hash_row_t  *row;

    for (row = h->rows[sum & (h->size - 1)]; row; row = row->next) {
        if (row->sum == sum && strcmp(row->key, key) == 0) {
            return row;
        }
    }

    return NULL;
}


static void
hash_grow(hash_t *h)
{
    size_t        i, size;
    hash_row_t  **rows, *row, *next;

    size = h->size * 2;
    rows = xalloc(size * sizeof(hash_row_t *));

    for (i = 0; i < h->size; i++) {
        for (row = h->rows[i]; row; row = next) {
            next = row->next;
            row->next = rows[row->sum & (size - 1)];
            rows[row->sum & (size - 1)] = row;
        }
    }

    free(h->rows);

    h->rows = rows;
    h->size = size;
}


void
list_push(list_t *list, void *elt)
{
    /* room is doubled whenever the number is a power of two */

    if ((list->n & (list->n - 1)) == 0) {
        list->elts = realloc(list->elts, (list->n ? list->n * 2 : 1)
                                         * sizeof(void *));

        if (list->elts == NULL) {
            abort();
        }
    }

    list->elts[list->n++] = elt;
}


int
is_address(const char *s)
{
    unsigned char  buf[16];

    return inet_pton(AF_INET, s, buf) == 1 || inet_pton(AF_INET6, s, buf) == 1;
}


/* of an address, or a range of them; NULL: it is right */

const char *
cidr_error(const char *text)
{
    char              address[INET6_ADDRSTRLEN];
    long              bits, max;
    size_t            len;
    const char       *slash;
    struct in_addr    v4;
    struct in6_addr   v6;

    static const char  none[] = "is neither an address nor a CIDR";

    slash = strchr(text, '/');
    len = slash ? (size_t) (slash - text) : strlen(text);

    if (len >= sizeof(address)) {
        return none;
    }

    memcpy(address, text, len);
    address[len] = '\0';

    if (inet_pton(AF_INET, address, &v4) == 1) {
        max = 32;

    } else if (inet_pton(AF_INET6, address, &v6) == 1) {
        max = 128;

    } else {
        return none;
    }

    if (max == 128 && IN6_IS_ADDR_V4MAPPED(&v6)) {
        return "is an address of IPv4 in one of IPv6, which no client has: "
               "write it as IPv4";
    }

    if (slash == NULL) {
        return NULL;
    }

    len = strlen(slash + 1);
    bits = strtol(slash + 1, NULL, 10);

    return len > 0 && len < 4 && strspn(slash + 1, "0123456789") == len
           && bits <= max ? NULL : none;
}


int
is_host(const char *host)
{
    size_t  label;

    if (strlen(host) > 253) {
        return 0;
    }

    if (host[0] == '*' && host[1] == '.') {
        host += 2;
    }

    for (label = 0; *host; host++) {

        if (*host == '.') {
            if (label == 0) {
                return 0;
            }

            label = 0;
            continue;
        }

        if (!isalnum((unsigned char) *host) && *host != '-') {
            return 0;
        }

        if (++label > 63) {
            return 0;
        }
    }

    return label != 0;
}


int
host_covers(const char *pattern, const char *host)
{
    size_t  len, plen;

    if (pattern[0] != '*') {
        return strcasecmp(pattern, host) == 0;
    }

    pattern++;
    len = strlen(host);
    plen = strlen(pattern);

    return len > plen && strcasecmp(host + len - plen, pattern) == 0;
}


unsigned char *
base64(const char *text, size_t *len)
{
    int             bits, n;
    unsigned        value;
    const char     *p;
    unsigned char  *out;

    static const char  digits[] =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

    out = xalloc(strlen(text) + 1);
    *len = 0;
    value = 0;
    bits = 0;

    for (n = 0; *text && *text != '='; text++) {

        if (*text == '\n' || *text == ' ') {
            continue;
        }

        p = strchr(digits, *text);

        if (p == NULL) {
            return NULL;
        }

        value = (value << 6) | (unsigned) (p - digits);
        bits += 6;
        n++;

        if (bits >= 8) {
            bits -= 8;
            out[(*len)++] = (unsigned char) (value >> bits);
        }
    }

    if (text[strspn(text, "= \n")] || n % 4 == 1) {
        return NULL;
    }

    return out;
}
