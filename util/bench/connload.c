
/*
 * Copyright (C) 2026 Egress Gateway authors
 *
 * connload: opens TCP connections to a gateway on loopback, sends one
 * ClientHello on each, waits for the first byte of an answer and closes.
 * Prints the number of connections that were answered.
 *
 * usage: connload port total concurrency hello-file
 */


#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>


#define CONNLOAD_EVENTS   256
#define CONNLOAD_SECONDS  60               /* it ends by itself */
#define CONNLOAD_HELLO    16384


static int connload_open(int ep, int port);
static int connload_number(const char *text, int max);
static size_t connload_read_hello(const char *name, char *buf, size_t size);
static int connload_event(int ep, struct epoll_event *ev, const char *hello,
    size_t len);


int
main(int argc, char **argv)
{
    int                 i, n, ep, port, total, opened, closed, answered;
    int                 concurrency;
    char                hello[CONNLOAD_HELLO];
    size_t              len;
    time_t              start;
    struct epoll_event  events[CONNLOAD_EVENTS];

    if (argc != 5) {
        fprintf(stderr, "usage: connload port total concurrency hello\n");
        return 2;
    }

    port = connload_number(argv[1], 65535);
    total = connload_number(argv[2], 10000000);
    concurrency = connload_number(argv[3], 1000);
    len = connload_read_hello(argv[4], hello, sizeof(hello));

    ep = epoll_create1(0);
    start = time(NULL);
    opened = 0;
    closed = 0;
    answered = 0;

    while (closed < total && time(NULL) - start < CONNLOAD_SECONDS) {

        while (opened < total && opened - closed < concurrency) {
            if (connload_open(ep, port) == -1) {
                perror("connect");
                return 1;
            }

            opened++;
        }

        n = epoll_wait(ep, events, CONNLOAD_EVENTS, 1000);

        for (i = 0; i < n; i++) {
            switch (connload_event(ep, &events[i], hello, len)) {
            case 1:
                answered++;
                closed++;
                break;
            case -1:
                closed++;
                break;
            default:
                break;
            }
        }
    }

    printf("%d\n", answered);

    return answered == total ? 0 : 1;
}


static int
connload_open(int ep, int port)
{
    int                 fd;
    struct sockaddr_in  sin;
    struct epoll_event  ev;

    fd = socket(AF_INET, SOCK_STREAM|SOCK_NONBLOCK, 0);
    if (fd == -1) {
        return -1;
    }

    memset(&sin, 0, sizeof(sin));
    sin.sin_family = AF_INET;
    sin.sin_port = htons(port);
    sin.sin_addr.s_addr = htonl(INADDR_LOOPBACK);

    if (connect(fd, (struct sockaddr *) &sin, sizeof(sin)) == -1
        && errno != EINPROGRESS)
    {
        close(fd);
        return -1;
    }

    ev.events = EPOLLOUT;
    ev.data.fd = fd;

    return epoll_ctl(ep, EPOLL_CTL_ADD, fd, &ev);
}


/* 0: goes on; 1: answered and closed; -1: closed without an answer */

static int
connload_event(int ep, struct epoll_event *ev, const char *hello, size_t len)
{
    int                 fd;
    char                buf[4096];
    ssize_t             n;
    struct linger       linger;
    struct epoll_event  in;

    fd = ev->data.fd;

    if (ev->events & EPOLLOUT) {

        if (send(fd, hello, len, MSG_NOSIGNAL) != (ssize_t) len) {
            close(fd);
            return -1;
        }

        in.events = EPOLLIN;
        in.data.fd = fd;
        epoll_ctl(ep, EPOLL_CTL_MOD, fd, &in);

        return 0;
    }

    n = recv(fd, buf, sizeof(buf), 0);

    /* no TIME_WAIT, or ports run out */

    linger.l_onoff = 1;
    linger.l_linger = 0;
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &linger, sizeof(linger));
    close(fd);

    return n > 0 ? 1 : -1;
}


static int
connload_number(const char *text, int max)
{
    long   n;
    char  *end;

    errno = 0;
    n = strtol(text, &end, 10);

    if (errno || *end || n < 1 || n > max) {
        fprintf(stderr, "connload: invalid number \"%s\"\n", text);
        exit(2);
    }

    return (int) n;
}


static size_t
connload_read_hello(const char *name, char *buf, size_t size)
{
    FILE    *f;
    size_t   n;

    f = fopen(name, "rb");

    if (f == NULL) {
        perror(name);
        exit(2);
    }

    n = fread(buf, 1, size, f);
    fclose(f);

    return n;
}
