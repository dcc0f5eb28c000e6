
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "egressctl.h"


node_t *
node_get(const node_t *map, const char *key)
{
    node_t  *n;

    if (map == NULL || map->kind != NODE_MAP) {
        return NULL;
    }

    for (n = map->child; n; n = n->next) {
        if (strcmp(n->key->text, key) == 0) {
            return n;
        }
    }

    return NULL;
}


/* "spec.trafficPolicy.tls" */

node_t *
node_path(node_t *node, const char *path)
{
    char        key[64];
    size_t      len;
    const char *dot;

    while (node && *path) {
        dot = strchr(path, '.');
        len = dot ? (size_t) (dot - path) : strlen(path);

        if (len >= sizeof(key)) {
            return NULL;
        }

        memcpy(key, path, len);
        key[len] = '\0';

        node = node_get(node, key);
        path += len + (dot != NULL);
    }

    return node;
}


const char *
node_text(const node_t *map, const char *key)
{
    node_t  *n;

    n = node_get(map, key);

    return (n && n->kind == NODE_SCALAR) ? n->text : NULL;
}


long
node_number(const node_t *map, const char *key)
{
    long         n;
    char        *end;
    const char  *text;

    text = node_text(map, key);

    if (text == NULL || *text == '\0') {
        return -1;
    }

    errno = 0;
    n = strtol(text, &end, 10);

    return (errno || *end || n < 0) ? -1 : n;
}


/* "1h2m3.5s", "100ms"; -1: none, or not a time */

long
node_time(const node_t *map, const char *key)
{
    char        *end;
    double       n, sum;
    const char  *s;

    s = node_text(map, key);
    sum = 0;

    if (s == NULL || *s == '\0') {
        return -1;
    }

    while (*s) {

        if (!isdigit((unsigned char) *s) && *s != '.') {
            return -1;
        }

        n = strtod(s, &end);

        /* a lone "." is no number, "1e3" no time */

        if (end == s || strcspn(s, "eExXpP") < (size_t) (end - s)) {
            return -1;
        }

        s = end;

        if (strncmp(s, "ms", 2) == 0) {
            s += 2;

        } else if (*s == 's') {
            n *= 1000;
            s++;

        } else if (*s == 'm') {
            n *= 60000;
            s++;

        } else if (*s == 'h') {
            n *= 3600000;
            s++;

        } else {
            return -1;
        }

        sum += n;
    }

    /* what nginx takes: a number of milliseconds in 32 bits */

    return (sum > 2147483647.0) ? -1 : (long) sum;
}


int
node_true(const node_t *map, const char *key)
{
    const char  *text;

    text = node_text(map, key);

    return text && strcmp(text, "true") == 0;
}


node_t *
node_first(const node_t *map, const char *key)
{
    node_t  *n;

    n = node_get(map, key);

    return n ? n->child : NULL;
}


int
node_equal(const node_t *one, const node_t *two)
{
    if (one->kind != two->kind
        || (one->key == NULL) != (two->key == NULL)
        || (one->key && strcmp(one->key->text, two->key->text) != 0))
    {
        return 0;
    }

    if (one->kind == NODE_SCALAR) {
        return strcmp(one->text, two->text) == 0;
    }

    one = one->child;
    two = two->child;

    while (one && two && node_equal(one, two)) {
        one = one->next;
        two = two->next;
    }

    return one == NULL && two == NULL;
}


node_t *
node_new(const node_t *place, node_kind_e kind)
{
    node_t  *n;

    n = xpiece(sizeof(node_t));
    n->pos = place->pos;
    n->kind = kind;

    return n;
}


node_t *
node_add(node_t *map, const char *key, node_t *value)
{
    node_t  **last;

    for (last = &map->child; *last; last = &(*last)->next) {
        /* void */
    }

    if (key) {
        value->key = node_string(value, key);
    }

    value->next = NULL;
    *last = value;

    return value;
}


node_t *
node_string(const node_t *place, const char *text)
{
    node_t  *n;

    n = node_new(place, NODE_SCALAR);
    n->text = xstrdup(text);

    return n;
}


node_t *
node_copy(const node_t *node)
{
    node_t  *n;

    n = xpiece(sizeof(node_t));
    *n = *node;
    n->next = NULL;

    return n;
}
