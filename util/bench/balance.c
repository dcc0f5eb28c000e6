
/*
 * Copyright (C) 2026 Egress Gateway authors
 *
 * balance: times ngx_egress_set() and ngx_egress_pick(), the module's own, on
 * a set of endpoints.  Prints the best and the median of the rounds, in
 * nanoseconds a pick.
 *
 * usage: balance rounds round_robin|least_request|random|hash n even|weighted
 */


#include "../../t/unit/far_shim.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>


#define BENCH_ROUNDS  1000
#define BENCH_NSEC    5e6                  /* a round takes so long, or more */


static double bench_round(ngx_egress_service_t *svc, ngx_uint_t picks);
static int bench_compare(const void *a, const void *b);


/* what is picked has to be of some use */

static volatile ngx_uint_t  bench_sum;


int
main(int argc, char **argv)
{
    int                    rounds, n, i;
    double                 ns[BENCH_ROUNDS];
    ngx_uint_t             balance, picks;
    ngx_egress_service_t  *svc;

    static const char  *names[] = { "round_robin", "least_request", "random",
                                    "hash" };

    rounds = argc == 5 ? atoi(argv[1]) : 0;
    n = argc == 5 ? atoi(argv[3]) : 0;

    for (balance = 0; balance < 4; balance++) {
        if (n > 0 && strcmp(argv[2], names[balance]) == 0) {
            break;
        }
    }

    if (rounds < 1 || rounds > BENCH_ROUNDS || n < 1 || balance == 4) {
        fprintf(stderr, "usage: balance rounds algorithm n even|weighted\n");
        return 2;
    }

    svc = shim_service(NGX_EGRESS_ROUND_ROBIN + balance, n);

    if (strcmp(argv[4], "weighted") == 0) {
        for (i = 0; i < n; i++) {
            shim_endpoint(svc, i)->weight = 1 + i % 4;
        }
    }

    for (picks = 64; bench_round(svc, picks) * picks < BENCH_NSEC; picks *= 2)
    {
        /* void */
    }

    for (i = 0; i < rounds; i++) {
        ns[i] = bench_round(svc, picks);
    }

    qsort(ns, rounds, sizeof(double), bench_compare);

    printf("%.0f %.0f\n", ns[0], ns[rounds / 2]);

    return 0;
}


static double
bench_round(ngx_egress_service_t *svc, ngx_uint_t picks)
{
    ngx_uint_t            i;
    struct timespec       start, end;
    ngx_egress_member_t  *m;

    clock_gettime(CLOCK_MONOTONIC, &start);

    for (i = 0; i < picks; i++) {
        m = ngx_egress_pick(svc, shim_set(svc, 0), ngx_egress_mix(i + 1), 1,
                            0);
        bench_sum += (ngx_uint_t) (uintptr_t) m;
    }

    clock_gettime(CLOCK_MONOTONIC, &end);

    return ((end.tv_sec - start.tv_sec) * 1e9 + end.tv_nsec - start.tv_nsec)
           / picks;
}


static int
bench_compare(const void *a, const void *b)
{
    double  x, y;

    x = *(const double *) a;
    y = *(const double *) b;

    return (x > y) - (x < y);
}
