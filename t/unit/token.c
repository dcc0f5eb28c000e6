
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/* Unit tests of the arithmetic of token buckets; prints TAP. */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


static ngx_uint_t  tests;
static ngx_uint_t  failed;


static void ok(ngx_uint_t passed, const char *name);
static ngx_uint_t take(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now, ngx_uint_t n);
static void test_refill(void);
static void test_clock(void);
static void test_bounds(void);
static void test_reload(void);
static void test_drift(void);
static void test_cost(void);
static void test_spend(void);


int
main(void)
{
    test_refill();
    test_clock();
    test_bounds();
    test_reload();
    test_drift();
    test_cost();
    test_spend();

    printf("1..%lu\n", (unsigned long) tests);

    return failed != 0;
}


static void
ok(ngx_uint_t passed, const char *name)
{
    tests++;

    if (!passed) {
        failed++;
    }

    printf("%sok %lu - %s\n", passed ? "" : "not ", (unsigned long) tests,
           name);
}


/* how many of n are given */

static ngx_uint_t
take(ngx_egress_ratelimit_token_t *token, ngx_egress_ratelimit_rate_t *rate,
    uint64_t now, ngx_uint_t n)
{
    ngx_uint_t  given;

    given = 0;

    while (n--) {
        given += ngx_egress_ratelimit_token_take(token, rate, now, 1);
    }

    return given;
}


/* the oracle's scenario 23: 10 tokens in 20 s are 2 after 5 s */

static void
test_refill(void)
{
    ngx_egress_ratelimit_rate_t   rate = { 10, 10, 20000 };
    ngx_egress_ratelimit_token_t  token;

    ngx_egress_ratelimit_token_init(&token, &rate, 1000);

    ok(ngx_egress_ratelimit_token_full(&token, &rate, 1000), "starts full");
    ok(take(&token, &rate, 1000, 100) == 10, "all tokens");
    ok(!ngx_egress_ratelimit_token_full(&token, &rate, 1000), "empty");
    ok(take(&token, &rate, 2999, 100) == 0, "no token after 1.999 s");
    ok(take(&token, &rate, 3000, 100) == 1, "one after 2 s");
    ok(take(&token, &rate, 8000, 100) == 2, "two after 5 s more");
    ok(take(&token, &rate, 9000, 100) == 1, "the rest was kept");

    ngx_egress_ratelimit_token_give(&token, &rate, 1);
    ok(take(&token, &rate, 9000, 100) == 1, "given back");

    ok(!ngx_egress_ratelimit_token_full(&token, &rate, 28999), "not full yet");
    ok(ngx_egress_ratelimit_token_full(&token, &rate, 29000), "full again");
    ok(take(&token, &rate, 999999999, 100) == 10, "not more than full");
}


static void
test_clock(void)
{
    uint64_t                      end;
    ngx_egress_ratelimit_rate_t   rate = { 5, 1, 100 };
    ngx_egress_ratelimit_token_t  token;

    ngx_egress_ratelimit_token_init(&token, &rate, 10000);

    ok(take(&token, &rate, 10000, 100) == 5, "tokens");
    ok(take(&token, &rate, 9000, 100) == 0, "earlier clock gives nothing");
    ok(take(&token, &rate, 10100, 100) == 1, "and takes nothing away");
    ok(take(&token, &rate, 10050, 100) == 0, "behind the last time");
    ok(take(&token, &rate, 10200, 100) == 1, "counted once");

    end = (uint64_t) -50;

    ngx_egress_ratelimit_token_init(&token, &rate, end);
    ok(take(&token, &rate, end, 100) == 5, "tokens before the wrap");
    ok(take(&token, &rate, end + 99, 100) == 0, "over the wrap");
    ok(take(&token, &rate, end + 100, 100) == 1, "after the wrap");
}


static void
test_bounds(void)
{
    ngx_egress_ratelimit_rate_t   rate = { 4294967295U, 4294967295U,
                                          2147483647U };
    ngx_egress_ratelimit_token_t  token;

    ngx_egress_ratelimit_token_init(&token, &rate, 0);

    ok(take(&token, &rate, 0, 1000) == 1000, "largest values");
    ok(!ngx_egress_ratelimit_token_full(&token, &rate, 499),
       "largest, not full");
    ok(ngx_egress_ratelimit_token_full(&token, &rate, 1000), "largest, full");
    ok(ngx_egress_ratelimit_token_full(&token, &rate, (uint64_t) 1 << 62),
       "largest, a long time");

    rate.tokens = 1;
    rate.fill = 1;
    rate.interval = 1;

    ngx_egress_ratelimit_token_init(&token, &rate, 0);
    ok(take(&token, &rate, 0, 10) == 1, "smallest values");
    ok(take(&token, &rate, 1, 10) == 1, "smallest, refilled");

    rate.tokens = 1;
    rate.fill = 4294967295U;

    ok(take(&token, &rate, 2, 10) == 1, "more fill than tokens");
}


static void
test_reload(void)
{
    ngx_egress_ratelimit_rate_t   rate = { 10, 10, 1000 };
    ngx_egress_ratelimit_token_t  token;

    ngx_egress_ratelimit_token_init(&token, &rate, 0);
    take(&token, &rate, 0, 4);

    rate.interval = 60000;
    ok(take(&token, &rate, 0, 100) == 6, "other interval");

    ngx_egress_ratelimit_token_init(&token, &rate, 0);
    rate.tokens = 3;
    rate.interval = 7;
    ok(take(&token, &rate, 0, 100) == 3, "fewer tokens, other interval");

    rate.tokens = 20;
    ok(take(&token, &rate, 0, 100) == 0, "more tokens come by time only");

    ngx_egress_ratelimit_token_init(&token, &rate, 0);
    token.interval = 2147483647U;
    token.level = (uint64_t) 4294967295U * 2147483647U;
    ok(take(&token, &rate, 0, 100) == 20, "largest level");
}


/* random times of several workers: exactly what the rate says, no drift */

static void
test_drift(void)
{
    uint64_t                      i, given, expected;
    uint64_t                      now, seen;
    ngx_egress_ratelimit_rate_t   rate = { 7, 3, 97 };
    ngx_egress_ratelimit_token_t  token;

    srandom(1);

    now = 5000;
    seen = now;
    given = 0;

    ngx_egress_ratelimit_token_init(&token, &rate, now);
    given += take(&token, &rate, now, 100);

    for (i = 0; i < 3000000; i++) {

        now += random() % 3;

        /* a worker whose clock is behind */

        seen = now - random() % 5;

        given += take(&token, &rate, seen, 4);
    }

    given += take(&token, &rate, now, 100);
    expected = 7 + (uint64_t) (now - 5000) * 3 / 97;

    if (given != expected) {
        printf("# %lu of %lu\n", (unsigned long) given,
               (unsigned long) expected);
    }

    ok(given == expected, "no drift in 3000000 takes");
}


static void
test_cost(void)
{
    ngx_egress_ratelimit_rate_t   rate = { 10, 1, 1000 };
    ngx_egress_ratelimit_token_t  token;

    ngx_egress_ratelimit_token_init(&token, &rate, 0);

    ok(ngx_egress_ratelimit_token_take(&token, &rate, 0, 7), "cost");
    ok(!ngx_egress_ratelimit_token_take(&token, &rate, 0, 4), "too dear");
    ok(ngx_egress_ratelimit_token_left(&token, &rate) == 3, "what is left");
    ok(ngx_egress_ratelimit_token_take(&token, &rate, 0, 0), "for free");
    ok(ngx_egress_ratelimit_token_wait(&token, &rate, 3) == 0, "no wait");
    ok(ngx_egress_ratelimit_token_wait(&token, &rate, 5) == 2000, "wait");

    ok(!ngx_egress_ratelimit_token_take(&token, &rate, 999, 4), "waiting");
    ok(ngx_egress_ratelimit_token_wait(&token, &rate, 4) == 1, "a bit more");
    ok(ngx_egress_ratelimit_token_take(&token, &rate, 1000, 4), "waited");

    ok(ngx_egress_ratelimit_token_wait(&token, &rate, 11)
       == NGX_EGRESS_RATELIMIT_NEVER, "never");

    ngx_egress_ratelimit_token_give(&token, &rate, 4);
    ok(ngx_egress_ratelimit_token_left(&token, &rate) == 4, "cost given back");

    rate.tokens = 4294967295U;
    rate.interval = 2147483647U;

    ngx_egress_ratelimit_token_init(&token, &rate, 0);
    ok(ngx_egress_ratelimit_token_take(&token, &rate, 0, 4294967295U)
       && token.level == 0, "largest cost");
}


static void
test_spend(void)
{
    uint64_t                      i, owed, got;
    ngx_egress_ratelimit_rate_t   rate = { 10, 3, 1000 };
    ngx_egress_ratelimit_token_t  token;

    ngx_egress_ratelimit_token_init(&token, &rate, 0);
    ngx_egress_ratelimit_token_spend(&token, &rate, 0, 4);
    ok(ngx_egress_ratelimit_token_left(&token, &rate) == 6, "spent");

    /* 13 are owed: one more is there after 14000 / 3 ms */

    ngx_egress_ratelimit_token_spend(&token, &rate, 0, 19);
    ok(ngx_egress_ratelimit_token_left(&token, &rate) == 0, "owes");
    ok(!ngx_egress_ratelimit_token_full(&token, &rate, 4334), "not full");
    ok(!ngx_egress_ratelimit_token_take(&token, &rate, 4666, 1), "owes still");
    ok(ngx_egress_ratelimit_token_take(&token, &rate, 4667, 1), "paid");

    ngx_egress_ratelimit_token_spend(&token, &rate, 5000, (uint64_t) -1);
    ok(!ngx_egress_ratelimit_token_take(&token, &rate, 1000000000, 1),
       "owes for years");

    /* what is spent beyond is neither lost nor given, in the long run */

    ngx_egress_ratelimit_token_init(&token, &rate, 0);
    srandom(2);

    for (i = 0, got = 0; i < 1000000; i += random() % 50) {
        if (ngx_egress_ratelimit_token_take(&token, &rate, i, 1)) {
            owed = random() % 100;
            ngx_egress_ratelimit_token_spend(&token, &rate, i, owed);
            got += owed + 1;
        }
    }

    ngx_egress_ratelimit_token_refill(&token, &rate, i);

    ok((int64_t) (10 + i * 3 / 1000 - got) == (token.level >= 0
       ? token.level / 1000 : -((999 - token.level) / 1000)), "exact");
}
