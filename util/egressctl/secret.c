
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "egressctl.h"


/* kubernetes.io/tls, and Istio's generic form */

static const char  *secret_keys[][3] = {
    { "cert", "tls.crt", "cert" },
    { "key", "tls.key", "key" },
    { "ca", "ca.crt", "cacert" }
};


static int secret_found(model_t *m, node_t *name, size_t what,
    const char **file);
static const char *secret_manifest(model_t *m, node_t *secret, node_t *name,
    size_t what);
static const char *secret_folder(model_t *m, node_t *name, size_t what);
static node_t *secret_value(node_t *secret, const char *key);
static const char *secret_path(model_t *m, const char *name, const char *key);
static int secret_save(model_t *m, node_t *secret, int write);
static int secret_file_save(const char *path, const unsigned char *data,
    size_t len);


/*
 * A Secret of the input, else a folder of --secrets-dir as Kubernetes mounts
 * one.  The CAs may be in another one, NAME-cacert.
 */

const char *
secret_file(model_t *m, node_t *name, const char *what)
{
    size_t       i;
    node_t       ca;
    const char  *text, *file;

    for (i = 0; strcmp(secret_keys[i][0], what) != 0; i++) {
        /* void */
    }

    text = name->text;

    if (strncmp(text, "kubernetes://", 13) == 0) {
        text += 13;
    }

    /* a name is a folder's, and nothing more */

    if (*text == '\0' || *text == '.' || strlen(text) > 253
        || strspn(text, "abcdefghijklmnopqrstuvwxyz0123456789-.")
           != strlen(text))
    {
        diag(DIAG_ERROR, &name->pos, "VALUE", "\"%.253s\" is not the name of a "
             "Secret: a-z, 0-9, \"-\" and \".\" are expected", name->text);
        return NULL;
    }

    if (m->options->secrets == NULL) {
        diag(DIAG_ERROR, &name->pos, "OPTION",
             "\"%s\" names a Secret: say with --secrets-dir DIR where the "
             "folders of Secrets are", name->text);
        return NULL;
    }

    ca = *name;
    ca.text = xprintf("%s-cacert", text);
    file = NULL;

    if (i != 2 || !secret_found(m, &ca, i, &file)) {
        ca.text = (char *) text;

        if (!secret_found(m, &ca, i, &file)) {
            file = secret_path(m, text, secret_keys[i][1]);
        }

    } else {
        return file;
    }

    if (hash_get(m->secrets, text) || access(file, F_OK) == 0) {
        return file;
    }

    diag(DIAG_NOTE, &name->pos, "SECRET", "there is no Secret \"%s\" in the "
         "input or in %s: it is expected there, with the keys of "
         "kubernetes.io/tls", text, m->options->secrets);

    return file;
}


/* 1: there is one, with or without what is wanted */

static int
secret_found(model_t *m, node_t *name, size_t what, const char **file)
{
    node_t  *secret;

    secret = hash_get(m->secrets, name->text);

    if (secret) {
        *file = secret_manifest(m, secret, name, what);
        return 1;
    }

    *file = secret_folder(m, name, what);

    return *file != NULL;
}


static const char *
secret_manifest(model_t *m, node_t *secret, node_t *name, size_t what)
{
    size_t   i;
    node_t  *n;

    for (i = 1; i < 3; i++) {
        n = secret_value(secret, secret_keys[what][i]);

        if (n == NULL) {
            continue;
        }

        if (!secret->used) {
            secret->used = 1;
            list_push(&m->used_secrets, secret);
        }

        return secret_path(m, name->text, secret_keys[what][i]);
    }

    diag(DIAG_ERROR, &name->pos, "REFERENCE",
         "Secret \"%s\" in %s:%zu has neither \"%s\" nor \"%s\"", name->text,
         secret->pos.source->name, secret->pos.line, secret_keys[what][1],
         secret_keys[what][2]);

    return NULL;
}


static const char *
secret_folder(model_t *m, node_t *name, size_t what)
{
    size_t       i;
    const char  *file;

    for (i = 1; i < 3; i++) {
        file = secret_path(m, name->text, secret_keys[what][i]);

        if (access(file, F_OK) == 0) {
            return file;
        }
    }

    return NULL;
}


static node_t *
secret_value(node_t *secret, const char *key)
{
    node_t  *n;

    n = node_get(node_get(secret, "stringData"), key);

    return n ? n : node_get(node_get(secret, "data"), key);
}


static const char *
secret_path(model_t *m, const char *name, const char *key)
{
    return xprintf("%s/%s/%s", m->options->secrets, name, key);
}


/* only what some service or listener names, and only when all is right */

void
secret_check(model_t *m)
{
    size_t  i;

    for (i = 0; i < m->used_secrets.n; i++) {
        (void) secret_save(m, m->used_secrets.elts[i], 0);
    }
}


int
secret_write(model_t *m)
{
    size_t  i;

    for (i = 0; i < m->used_secrets.n; i++) {
        if (secret_save(m, m->used_secrets.elts[i], 1) != 0) {
            return -1;
        }
    }

    return 0;
}


static int
secret_save(model_t *m, node_t *secret, int write)
{
    int             rc;
    size_t          i, len;
    node_t         *n;
    const char     *name, *dir;
    unsigned char  *data;

    name = doc_name(secret);
    dir = xprintf("%s/%s", m->options->secrets, name);

    if (write && mkdir(dir, 0700) == -1 && errno != EEXIST) {
        diag(DIAG_ERROR, &secret->pos, "WRITE", "%s: %s%s", dir,
             strerror(errno), errno == ENOENT
                              ? ": make the folder of --secrets-dir" : "");
        return -1;
    }

    for (i = 0; i < 6; i++) {
        n = secret_value(secret, secret_keys[i / 2][1 + i % 2]);

        if (n == NULL) {
            continue;
        }

        if (node_get(node_get(secret, "stringData"), n->key->text)) {
            data = (unsigned char *) n->text;
            len = strlen(n->text);

        } else {
            data = base64(n->text, &len);
        }

        if (data == NULL) {
            diag(DIAG_ERROR, &n->pos, "VALUE", "\"%s\" is not base64",
                 n->key->text);
            return -1;
        }

        /* what nginx can't read would replace what it can */

        if (memmem(data, len, "-----BEGIN ", 11) == NULL) {
            diag(DIAG_ERROR, &n->pos, "VALUE", "\"%s\" is not PEM: there is "
                 "no \"-----BEGIN\" in it", n->key->text);
            return -1;
        }

        rc = write ? secret_file_save(secret_path(m, name, n->key->text),
                                      data, len)
                   : 0;

        if (rc != 0) {
            diag(DIAG_ERROR, &n->pos, "WRITE", "%s: %s", dir,
                 strerror(errno));
            return -1;
        }
    }

    return 0;
}


/* replaced at once, so that a gateway never reads half a key */

static int
secret_file_save(const char *path, const unsigned char *data, size_t len)
{
    int      fd;
    char    *temp;

    temp = xprintf("%s.XXXXXX", path);
    fd = mkstemp(temp);

    if (fd == -1) {
        return -1;
    }

    if (write(fd, data, len) == (ssize_t) len && close(fd) == 0
        && rename(temp, path) == 0)
    {
        return 0;
    }

    unlink(temp);

    return -1;
}
