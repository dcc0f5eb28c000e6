
/*
 * Copyright (C) 2026 Egress Gateway authors
 *
 * clienthello: times ngx_egress_hello_parse() on the hello in a file, init
 * included.  Prints the best and the median of the rounds in nanoseconds.
 *
 * usage: clienthello rounds hello-file
 */


#include "../../ngx_egress_module/ngx_egress_clienthello.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>


#define BENCH_ROUNDS  1000
#define BENCH_HELLOS  20000
#define BENCH_SIZE    65536


static double bench_round(const u_char *p, size_t len);
static int bench_compare(const void *a, const void *b);


int
main(int argc, char **argv)
{
    int            i, n;
    FILE          *file;
    size_t         len;
    double         ns[BENCH_ROUNDS];
    static u_char  data[BENCH_SIZE];

    n = argc == 3 ? atoi(argv[1]) : 0;

    if (n < 1 || n > BENCH_ROUNDS) {
        fprintf(stderr, "usage: clienthello rounds hello-file\n");
        return 2;
    }

    file = fopen(argv[2], "rb");

    if (file == NULL) {
        fprintf(stderr, "clienthello: cannot read \"%s\"\n", argv[2]);
        return 1;
    }

    len = fread(data, 1, sizeof(data), file);
    fclose(file);

    for (i = 0; i < n; i++) {
        ns[i] = bench_round(data, len);

        if (ns[i] < 0) {
            fprintf(stderr, "clienthello: \"%s\" is refused\n", argv[2]);
            return 1;
        }
    }

    qsort(ns, n, sizeof(double), bench_compare);

    printf("%lu %.0f %.0f\n", (unsigned long) len, ns[0], ns[n / 2]);

    return 0;
}


static double
bench_round(const u_char *p, size_t len)
{
    int                 i;
    struct timespec     start, end;
    ngx_egress_hello_t  h;

    clock_gettime(CLOCK_MONOTONIC, &start);

    for (i = 0; i < BENCH_HELLOS; i++) {
        ngx_egress_hello_init(&h);

        if (ngx_egress_hello_parse(&h, p, len) != NGX_OK) {
            return -1;
        }
    }

    clock_gettime(CLOCK_MONOTONIC, &end);

    return ((end.tv_sec - start.tv_sec) * 1e9 + end.tv_nsec - start.tv_nsec)
           / BENCH_HELLOS;
}


static int
bench_compare(const void *a, const void *b)
{
    double  x, y;

    x = *(const double *) a;
    y = *(const double *) b;

    return (x > y) - (x < y);
}
