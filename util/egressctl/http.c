
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include "egressctl.h"


#define HTTP_MAX      (256 * 1024 * 1024)
#define HTTP_TIMEOUT  10                   /* seconds without a byte */


static int http_connect(const char *socket_path);
static int http_send(int fd, const char *request);
static char *http_receive(int fd, size_t *len);
static json_t *http_parse(const char *socket_path, char *answer, size_t len,
    long *status);


json_t *
http_get_json(const char *socket_path, const char *uri, long *status)
{
    int      fd;
    char    *request, *answer;
    size_t   len;
    json_t  *json;

    fd = http_connect(socket_path);

    if (fd == -1) {
        return NULL;
    }

    request = xprintf("GET %s HTTP/1.0\r\nHost: localhost\r\n\r\n", uri);

    if (http_send(fd, request) == -1) {
        answer = NULL;

    } else {
        answer = http_receive(fd, &len);
    }

    free(request);

    if (answer == NULL) {
        diag(DIAG_ERROR, NULL, "SOCKET", "%s: %s", socket_path,
             strerror(errno));
        close(fd);
        return NULL;
    }

    close(fd);

    json = http_parse(socket_path, answer, len, status);

    free(answer);

    return json;
}


static int
http_connect(const char *socket_path)
{
    int                 fd;
    struct timeval      tv;
    struct sockaddr_un  sun;

    memset(&sun, 0, sizeof(struct sockaddr_un));

    sun.sun_family = AF_UNIX;

    if (strlen(socket_path) >= sizeof(sun.sun_path)) {
        diag(DIAG_ERROR, NULL, "SOCKET", "%s: the path of a Unix socket has "
             "%zu bytes at most", socket_path, sizeof(sun.sun_path) - 1);
        return -1;
    }

    strcpy(sun.sun_path, socket_path);

    fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);

    if (fd == -1) {
        diag(DIAG_ERROR, NULL, "SOCKET", "%s: %s", socket_path,
             strerror(errno));
        return -1;
    }

    tv.tv_sec = HTTP_TIMEOUT;
    tv.tv_usec = 0;

    if (setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &tv, sizeof(tv)) == -1
        || setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &tv, sizeof(tv)) == -1
        || connect(fd, (struct sockaddr *) &sun, sizeof(sun)) == -1)
    {
        diag(DIAG_ERROR, NULL, "SOCKET", "%s: %s: is the gateway running, "
             "with a server that listens there?", socket_path,
             strerror(errno));
        close(fd);
        return -1;
    }

    return fd;
}


static int
http_send(int fd, const char *request)
{
    size_t   len;
    ssize_t  n;

    for (len = strlen(request); len; request += n, len -= n) {
        n = send(fd, request, len, MSG_NOSIGNAL);

        if (n <= 0) {
            return -1;
        }
    }

    return 0;
}


/* all until the end, with a NUL behind it */

static char *
http_receive(int fd, size_t *len)
{
    char     *buf, *more;
    size_t    size;
    ssize_t   n;

    size = 65536;
    *len = 0;
    buf = xalloc(size);

    for ( ;; ) {

        if (size - *len < 2) {

            if (size > HTTP_MAX) {
                errno = EFBIG;
                break;
            }

            more = realloc(buf, size * 2);

            if (more == NULL) {
                break;
            }

            buf = more;
            size *= 2;
        }

        n = recv(fd, buf + *len, size - *len - 1, 0);

        if (n == 0) {
            buf[*len] = '\0';
            return buf;
        }

        if (n == -1) {
            break;
        }

        *len += n;
    }

    free(buf);

    return NULL;
}


static json_t *
http_parse(const char *socket_path, char *answer, size_t len, long *status)
{
    char          *body;
    json_t        *json;
    json_error_t   error;

    body = strstr(answer, "\r\n\r\n");

    if (strncmp(answer, "HTTP/1.", 7) != 0 || len < 12 || body == NULL) {
        diag(DIAG_ERROR, NULL, "SOCKET", "%s: the answer is no HTTP",
             socket_path);
        return NULL;
    }

    *status = strtol(answer + 9, NULL, 10);

    body += 4;

    json = json_loadb(body, len - (body - answer), 0, &error);

    if (json == NULL) {
        diag(DIAG_ERROR, NULL, "SOCKET", "%s: the answer, with status %ld, is "
             "no JSON: is egress_status or egress_explain there?", socket_path,
             *status);
    }

    return json;
}


void
http_escape(char **uri, const char *name, const char *value)
{
    char                 *p, *escaped, *longer;
    const unsigned char  *s;

    if (value == NULL) {
        return;
    }

    escaped = xalloc(strlen(value) * 3 + 1);
    p = escaped;

    for (s = (const unsigned char *) value; *s; s++) {

        if ((*s >= 'a' && *s <= 'z') || (*s >= 'A' && *s <= 'Z')
            || (*s >= '0' && *s <= '9') || strchr("-._~/:", *s))
        {
            *p++ = *s;

        } else {
            p += sprintf(p, "%%%02X", *s);
        }
    }

    *p = '\0';

    longer = xprintf("%s%c%s=%s", *uri, strchr(*uri, '?') ? '&' : '?', name,
                     escaped);

    free(*uri);
    free(escaped);

    *uri = longer;
}
