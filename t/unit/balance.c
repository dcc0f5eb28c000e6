
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/* Unit tests of sets and of the choice among them; prints TAP. */


#include "far_shim.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>


#define PICKS     100000
#define MAX       1000
#define WINDOW    64                       /* picks that are in use at a time */


static ngx_uint_t  tests;
static ngx_uint_t  failed;
static ngx_uint_t  counts[MAX];


static const char  *names[] = { "", "round_robin", "least_request", "random",
                                "hash" };


static void ok(ngx_uint_t passed, const char *what, const char *name);
static uint64_t key_of(ngx_uint_t n);
static void run(ngx_egress_service_t *svc, ngx_uint_t variant, ngx_uint_t n);
static double worst(ngx_egress_service_t *svc);
static ngx_egress_service_t *weighted(ngx_uint_t balance, ngx_uint_t n,
    const ngx_uint_t *weights);
static void test_spread(ngx_uint_t balance);
static void test_ejected(ngx_uint_t balance);
static void test_smooth(void);
static void test_moved(ngx_uint_t step);
static void test_gone(void);
static void test_levels(void);
static void test_loads(ngx_uint_t healthy, ngx_uint_t backups,
    ngx_uint_t load);
static void test_panic(void);
static void test_subsets(void);
static void test_no_outlier(void);
static void test_retries(void);


int
main(void)
{
    ngx_uint_t  balance;

    for (balance = NGX_EGRESS_ROUND_ROBIN; balance <= NGX_EGRESS_HASH;
         balance++)
    {
        test_spread(balance);
        test_ejected(balance);
    }

    test_smooth();
    test_moved(0);
    test_moved(1);
    test_gone();
    test_levels();
    test_panic();
    test_subsets();
    test_no_outlier();
    test_retries();

    printf("1..%lu\n", (unsigned long) tests);

    return failed != 0;
}


static void
ok(ngx_uint_t passed, const char *what, const char *name)
{
    tests++;

    if (!passed) {
        failed++;
    }

    printf("%sok %lu - %s, %s\n", passed ? "" : "not ",
           (unsigned long) tests, what, name);
}


static uint64_t
key_of(ngx_uint_t n)
{
    return ngx_egress_mix(n + 1);
}


/* n picks, each in use for as long as WINDOW others */

static void
run(ngx_egress_service_t *svc, ngx_uint_t variant, ngx_uint_t n)
{
    ngx_uint_t            i;
    ngx_egress_set_t     *set;
    ngx_egress_state_t   *used[WINDOW], **slot;
    ngx_egress_member_t  *m;

    memset(counts, 0, sizeof(counts));
    memset(used, 0, sizeof(used));

    for (i = 0; i < n; i++) {
        set = shim_set(svc, variant);
        m = ngx_egress_pick(svc, set, key_of(i), 1, 0);

        if (m == NULL) {
            continue;
        }

        slot = &used[i % WINDOW];

        if (*slot) {
            (*slot)->active--;
        }

        *slot = m->state;
        m->state->active++;
        counts[shim_number(m)]++;
    }

    for (i = 0; i < WINDOW; i++) {
        if (used[i]) {
            used[i]->active--;
        }
    }
}


/* how far from its weight, in percent of what is its part */

static double
worst(ngx_egress_service_t *svc)
{
    double      sum, picks, part, off, max;
    ngx_uint_t  i, n;

    n = svc->endpoints->nelts;
    sum = 0;
    picks = 0;
    max = 0;

    for (i = 0; i < n; i++) {
        sum += shim_endpoint(svc, i)->weight;
        picks += counts[i];
    }

    for (i = 0; i < n; i++) {
        part = picks * shim_endpoint(svc, i)->weight / sum;
        off = fabs(counts[i] - part) * 100 / part;
        max = off > max ? off : max;
    }

    return max;
}


static ngx_egress_service_t *
weighted(ngx_uint_t balance, ngx_uint_t n, const ngx_uint_t *weights)
{
    ngx_uint_t             i;
    ngx_egress_service_t  *svc;

    svc = shim_service(balance, n);

    for (i = 0; i < n; i++) {
        shim_endpoint(svc, i)->weight = weights[i];
    }

    return svc;
}


static void
test_spread(ngx_uint_t balance)
{
    double                 off;
    ngx_uint_t             i;
    ngx_egress_service_t  *svc;

    static const ngx_uint_t  weights[][4] = {
        { 1, 1, 1, 1 }, { 1, 2, 3, 4 }, { 10, 1, 1, 1 }, { 30, 60, 90, 120 },
        { 65535, 32749, 9973, 4099 }       /* too many turns for a table */
    };

    for (i = 0; i < sizeof(weights) / sizeof(weights[0]); i++) {
        svc = weighted(balance, 4, weights[i]);

        run(svc, 0, PICKS);

        off = worst(svc);
        printf("# %s: %.2f %%\n", names[balance], off);

        ok(off < 5, names[balance], "spread by weight");
    }

    svc = shim_service(balance, 1);
    run(svc, 0, 100);
    ok(counts[0] == 100, names[balance], "one endpoint");

    svc = shim_service(balance, 10);
    run(svc, 0, PICKS);
    ok(worst(svc) < 5, names[balance], "ten endpoints");
}


static void
test_ejected(ngx_uint_t balance)
{
    ngx_uint_t             i, wrong;
    ngx_egress_set_t      *set;
    ngx_egress_service_t  *svc;
    ngx_egress_outlier_t   outlier = { 5, 0, 0, 100, 0, 10000, 30000 };

    svc = shim_service(balance, 10);
    svc->conf->outlier = &outlier;

    for (i = 0; i < 10; i++) {
        shim_endpoint(svc, i)->weight = i + 1;
    }

    set = shim_set(svc, 0);

    for (i = 0; i < 10; i += 3) {
        shim_eject(svc, set, i, ngx_current_msec + 1000);
    }

    run(svc, 0, PICKS);

    wrong = 0;

    for (i = 0; i < 10; i++) {
        wrong += (i % 3 == 0) ? counts[i] : (counts[i] == 0);
    }

    ok(wrong == 0, names[balance], "ejected are not picked, others are");

    for (i = 0; i < 10; i++) {
        shim_eject(svc, set, i, ngx_current_msec + 1000);
    }

    run(svc, 0, 100);

    ok(counts[0] + counts[5] + counts[9] == 0, names[balance],
       "nobody is left");

    ngx_current_msec += 20000;

    run(svc, 0, PICKS);
    ok(worst(svc) < 10, names[balance], "all are back");
}


/* nginx's own order: 5, 1, 1 is a a b a c a a */

static void
test_smooth(void)
{
    char                   order[8];
    ngx_uint_t             i;
    ngx_egress_service_t  *svc;

    static const ngx_uint_t  weights[] = { 50, 10, 10 };

    svc = weighted(NGX_EGRESS_ROUND_ROBIN, 3, weights);

    for (i = 0; i < 7; i++) {
        order[i] = 'a' + shim_number(ngx_egress_pick(svc, shim_set(svc, 0), 0,
                                                     0, 0));
    }

    order[7] = '\0';

    ok(strcmp(order, "aabacaa") == 0, "smooth order", order);
}


/* one of 100 is ejected; weights are 1, or 1 to 3 */

static void
test_moved(ngx_uint_t step)
{
    ngx_uint_t             i, moved, others, was[PICKS / 10];
    ngx_egress_set_t      *set;
    ngx_egress_service_t  *svc;

    svc = shim_service(NGX_EGRESS_HASH, 100);

    for (i = 0; i < 100; i++) {
        shim_endpoint(svc, i)->weight = 1 + step * (i % 3);
    }

    set = shim_set(svc, 0);

    for (i = 0; i < PICKS / 10; i++) {
        was[i] = shim_number(ngx_egress_pick(svc, set, key_of(i), 1, 0));
    }

    shim_eject(svc, set, 42, ngx_current_msec + 1000);

    svc->conf->outlier = &(ngx_egress_outlier_t) { 5, 0, 0, 100, 0, 10000,
                                                   30000 };
    set = shim_set(svc, 0);

    moved = 0;
    others = 0;

    for (i = 0; i < PICKS / 10; i++) {
        if (shim_number(ngx_egress_pick(svc, set, key_of(i), 1, 0)) != was[i]) {
            moved++;
            others += (was[i] != 42);
        }
    }

    printf("# moved: %lu of %d\n", (unsigned long) moved, PICKS / 10);

    ok(others == 0, "hash", "the others' keys stay");
    ok(moved > 0 && moved * 1000 <= PICKS / 10 * 12, "hash",
       "its own keys move");
}


/* a set of another answer, in which one has come and one has gone */

static void
test_gone(void)
{
    ngx_uint_t             i, moved, now, was[PICKS / 10];
    ngx_egress_set_t      *set;
    ngx_egress_service_t  *svc;

    svc = shim_service(NGX_EGRESS_HASH, 101);
    svc->endpoints->nelts = 100;

    set = shim_set(svc, 0);

    for (i = 0; i < PICKS / 10; i++) {
        was[i] = shim_number(ngx_egress_pick(svc, set, key_of(i), 1, 0));
    }

    svc->endpoints->nelts = 101;
    *shim_endpoint(svc, 0) = *shim_endpoint(svc, 100);
    svc->endpoints->nelts = 100;

    shim_changed();
    set = shim_set(svc, 0);

    moved = 0;

    for (i = 0; i < PICKS / 10; i++) {
        now = shim_number(ngx_egress_pick(svc, set, key_of(i), 1, 0));
        moved += (now != was[i] && was[i] != 0 && now != 100);
    }

    ok(moved == 0, "hash", "one for another moves theirs only");
}


/* Envoy: a level that is healthy to 1/1.4 takes it all */

static void
test_levels(void)
{
    test_loads(10, 10, 100);
    test_loads(8, 10, 100);
    test_loads(7, 10, 98);
    test_loads(5, 10, 70);
    test_loads(1, 10, 14);
    test_loads(0, 10, 0);
    test_loads(5, 0, 100);
    test_loads(2, 2, 50);
    test_loads(1, 3, 25);
}


/* so many of ten are healthy; load is the first level's, in percent */

static void
test_loads(ngx_uint_t healthy, ngx_uint_t backups, ngx_uint_t load)
{
    char                   name[64];
    ngx_uint_t             i, first;
    ngx_egress_set_t      *set;
    ngx_egress_service_t  *svc;
    ngx_egress_outlier_t   outlier = { 5, 0, 0, 100, 0, 10000, 30000 };

    svc = shim_service(NGX_EGRESS_RANDOM, 20);
    svc->conf->outlier = &outlier;

    for (i = 10; i < 20; i++) {
        shim_endpoint(svc, i)->level = NGX_EGRESS_LEVEL_BACKUP;
    }

    set = shim_set(svc, 0);

    for (i = healthy; i < 10; i++) {
        shim_eject(svc, set, i, ngx_current_msec + 1000);
    }

    for (i = 10 + backups; i < 20; i++) {
        shim_eject(svc, set, i, ngx_current_msec + 1000);
    }

    run(svc, 0, PICKS);

    for (first = 0, i = 0; i < 10; i++) {
        first += counts[i];
    }

    sprintf(name, "%lu and %lu of ten: %lu %%", (unsigned long) healthy,
            (unsigned long) backups, (unsigned long) load);

    set = shim_set(svc, 0);

    ok(set->levels[0].load >= load && set->levels[0].load <= load + 1,
       "load", name);
    ok(fabs(first * 100.0 / PICKS - set->levels[0].load) < 1, "picks", name);
}


static void
test_panic(void)
{
    ngx_uint_t             i;
    ngx_egress_set_t      *set;
    ngx_egress_service_t  *svc;
    ngx_egress_outlier_t   outlier = { 5, 0, 0, 100, 50, 10000, 30000 };

    svc = shim_service(NGX_EGRESS_RANDOM, 10);
    svc->conf->outlier = &outlier;

    set = shim_set(svc, 0);

    for (i = 0; i < 5; i++) {
        shim_eject(svc, set, i, ngx_current_msec + 1000);
    }

    run(svc, 0, PICKS);
    ok(counts[0] == 0 && counts[9] > 0, "panic", "not at the bound");

    shim_eject(svc, set, 5, ngx_current_msec + 1000);

    run(svc, 0, PICKS);
    ok(worst(svc) < 5, "panic", "all are picked");
}


/* requests to two subsets by turns: each goes around all of its own */

static void
test_subsets(void)
{
    ngx_uint_t             i, n, wrong;
    ngx_str_t              labels[] = { ngx_string("v=0"), ngx_string("v=1") };
    ngx_array_t            arrays[2];
    ngx_egress_set_t      *set;
    ngx_egress_subset_t    subsets[2];
    ngx_egress_service_t  *svc;

    svc = shim_service(NGX_EGRESS_ROUND_ROBIN, 8);
    svc->nvariants = 3;

    for (i = 0; i < 2; i++) {
        memset(&arrays[i], 0, sizeof(ngx_array_t));
        arrays[i].elts = &labels[i];
        arrays[i].nelts = 1;

        subsets[i].labels = &arrays[i];
        svc->variants[i + 1].subset = &subsets[i];
    }

    for (i = 0; i < 8; i++) {
        shim_endpoint(svc, i)->labels = &arrays[i % 2];
    }

    memset(counts, 0, sizeof(counts));

    for (i = 0; i < 800; i++) {
        set = shim_set(svc, 1 + i % 2);
        n = shim_number(ngx_egress_pick(svc, set, 0, 0, 0));
        counts[n]++;
    }

    for (i = 0, wrong = 0; i < 8; i++) {
        wrong += (counts[i] != 100);
    }

    ok(wrong == 0, "round_robin", "subsets by turns");
}


/* the configuration has outlier detection no more */

static void
test_no_outlier(void)
{
    ngx_egress_set_t      *set;
    ngx_egress_service_t  *svc;

    svc = shim_service(NGX_EGRESS_ROUND_ROBIN, 2);

    set = shim_set(svc, 0);
    shim_eject(svc, set, 0, ngx_current_msec + 1000);
    shim_changed();

    run(svc, 0, 100);
    ok(counts[0] > 40, "ejected", "back without outlier detection");
}


/* of two endpoints one is dead: who is brought there goes to the other */

static void
test_retries(void)
{
    ngx_uint_t             i, first;
    ngx_egress_member_t   *m;
    ngx_egress_service_t  *svc;

    svc = shim_service(NGX_EGRESS_ROUND_ROBIN, 2);
    first = 0;

    for (i = 0; i < 1000; i++) {
        m = ngx_egress_pick(svc, shim_set(svc, 0), 0, 0, 0);

        if (shim_number(m) == 0) {
            first++;
            (void) ngx_egress_pick(svc, shim_set(svc, 0), 0, 0, 1);
        }
    }

    ok(first == 500, "round_robin", "retries take no turn");
}
