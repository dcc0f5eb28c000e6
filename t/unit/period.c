
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Unit tests of quotas by the calendar, whose ends are compared with those
 * that the C library's time zones have; prints TAP.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


#define NOW  1700000000                    /* 2023-11-14 22:13:20 UTC */


static ngx_uint_t  tests;
static ngx_uint_t  failed;


static void ok(ngx_uint_t passed, const char *name);
static void test_zone(const char *zone);
static int64_t expected(int64_t sec, ngx_uint_t kind);
static int64_t stamp(int64_t sec, ngx_uint_t kind);
static void test_names(void);
static void test_quota(void);
static void test_clock(void);


int
main(void)
{
    ngx_uint_t  i;

    /* clocks that change at night, at midnight, by half an hour, never */

    static const char  *zones[] = {
        "Europe/Berlin", "America/New_York", "America/Santiago",
        "America/Havana", "Asia/Beirut", "Australia/Lord_Howe",
        "Asia/Kolkata", "Pacific/Apia", "Africa/Casablanca", NULL
    };

    for (i = 0; zones[i]; i++) {
        test_zone(zones[i]);
    }

    test_names();
    test_quota();
    test_clock();

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


static void
test_zone(const char *zone)
{
    int64_t                        sec, end;
    ngx_uint_t                     i, kind, wrong;
    ngx_egress_ratelimit_span_t    span;
    ngx_egress_ratelimit_offset_t  offsets[128];
    ngx_egress_ratelimit_period_t  period = { .offsets = offsets };

    period.n = ngx_egress_ratelimit_zone_offsets(zone, offsets, 128, NOW);

    setenv("TZ", zone, 1);
    tzset();

    srandom(1);
    wrong = 0;

    for (i = 0; i < 4000; i++) {

        /* every other near a change of the clocks */

        sec = (i % 2) ? NOW + random() % (18 * 365 * 86400)
                      : offsets[i % period.n].since + 86400 * 2
                        - random() % (86400 * 4);

        for (kind = 0; kind < 4; kind++) {
            period.kind = kind;
            ngx_egress_ratelimit_period_span(&period, sec, &span);
            end = expected(sec, kind);

            if ((int64_t) span.end != end && sec >= offsets[0].since) {
                wrong++;
                printf("# %s kind %lu at %ld: %ld, not %ld\n", zone,
                       (unsigned long) kind, (long) sec, (long) span.end,
                       (long) end);
            }
        }
    }

    unsetenv("TZ");

    ok(period.n > 0 && wrong == 0, zone);
}


/* the first second that the C library has in a later period */

static int64_t
expected(int64_t sec, ngx_uint_t kind)
{
    int64_t  low, high, mid, now;

    now = stamp(sec, kind);

    /* minutes come again when clocks are set back: each is one of its own */

    if (kind == NGX_EGRESS_RATELIMIT_MINUTE) {
        do { sec++; } while (stamp(sec, kind) == now);
        return sec;
    }
    low = sec;
    high = sec + 33 * 86400;

    while (high - low > 1) {
        mid = low + (high - low) / 2;

        if (stamp(mid, kind) > now) {
            high = mid;

        } else {
            low = mid;
        }
    }

    return high;
}


static int64_t
stamp(int64_t sec, ngx_uint_t kind)
{
    time_t     t;
    int64_t    n;
    struct tm  tm;

    t = sec;
    localtime_r(&t, &tm);

    n = (int64_t) tm.tm_year * 12 + tm.tm_mon;

    if (kind <= NGX_EGRESS_RATELIMIT_DAYS) {
        n = n * 31 + tm.tm_mday;
    }

    if (kind <= NGX_EGRESS_RATELIMIT_HOUR) {
        n = n * 24 + tm.tm_hour;
    }

    if (kind == NGX_EGRESS_RATELIMIT_MINUTE) {
        n = n * 60 + tm.tm_min;
    }

    return n;
}


static void
test_names(void)
{
    ngx_uint_t                     i, n;
    ngx_egress_ratelimit_span_t    span;
    ngx_egress_ratelimit_offset_t  offsets[128];
    ngx_egress_ratelimit_period_t   period = { .kind =
                                                   NGX_EGRESS_RATELIMIT_MONTH };

    static const char  *wrong[] = {
        "", "Europe/Nowhere", "/etc/localtime", "../../../etc/passwd",
        "Europe", "EST5EDT,M3.2.0,M11.1.0", ":UTC", "Europe/Berlin ", "tzdata",
        NULL
    };

    for (i = 0, n = 0; wrong[i]; i++) {
        n += ngx_egress_ratelimit_zone_offsets(wrong[i], offsets, 128, NOW);
    }

    ok(n == 0, "names of no zone");

    setenv("TZ", "Asia/Kolkata", 1);
    n = ngx_egress_ratelimit_zone_offsets("UTC", offsets, 128, NOW);
    ok(n == 1 && offsets[0].offset == 0
       && strcmp(getenv("TZ"), "Asia/Kolkata") == 0, "TZ is put back");

    /* without a table, in leap years and others: 1583 to 2400 */

    for (i = 0, n = 0; i < 817 * 12; i++) {
        int64_t    sec;
        struct tm  tm = { .tm_year = 1583 - 1900, .tm_mon = i, .tm_mday = 1 };

        sec = timegm(&tm);
        tm.tm_mon++;

        ngx_egress_ratelimit_period_span(&period, (uint64_t) sec, &span);
        n += ((int64_t) span.end != timegm(&tm));
    }

    ok(n == 0, "months");
}


static void
test_quota(void)
{
    ngx_egress_ratelimit_span_t   span = { 1000, 1060, 60 };
    ngx_egress_ratelimit_token_t  token;

    ngx_egress_ratelimit_quota_init(&token, &span);

    ok(ngx_egress_ratelimit_quota_left(&token, 10, &span) == 10, "full");
    ok(ngx_egress_ratelimit_quota_take(&token, 10, &span, 7), "used");
    ok(!ngx_egress_ratelimit_quota_take(&token, 10, &span, 4), "too dear");
    ok(ngx_egress_ratelimit_quota_wait(&token, 10, &span, 4) == 60000, "wait");
    ok(ngx_egress_ratelimit_quota_wait(&token, 10, &span, 11)
       == NGX_EGRESS_RATELIMIT_NEVER, "never");
    ok(ngx_egress_ratelimit_quota_take(&token, 12, &span, 5), "more by reload");
    ok(ngx_egress_ratelimit_quota_left(&token, 5, &span) == 0, "less by it");

    ngx_egress_ratelimit_quota_give(&token, 5);
    ok(ngx_egress_ratelimit_quota_left(&token, 12, &span) == 5, "given back");

    span.now = 1059;
    ok(!ngx_egress_ratelimit_quota_take(&token, 10, &span, 10), "not yet");

    span.now = 1060;
    span.end = 1120;
    ok(ngx_egress_ratelimit_quota_take(&token, 10, &span, 10), "next period");
}


static void
test_clock(void)
{
    ngx_egress_ratelimit_span_t   span = { 10000, 10020, 60 };
    ngx_egress_ratelimit_token_t  token;

    ngx_egress_ratelimit_quota_init(&token, &span);
    ngx_egress_ratelimit_quota_take(&token, 10, &span, 10);

    span.now = 10020;
    span.end = 10080;
    ok(ngx_egress_ratelimit_quota_take(&token, 10, &span, 10), "forward");

    span.now = 10019;
    span.end = 10020;
    ok(!ngx_egress_ratelimit_quota_take(&token, 10, &span, 1), "a bit back");

    span.now = 10020;
    span.end = 10080;
    ok(!ngx_egress_ratelimit_quota_take(&token, 10, &span, 1), "and again");

    span.now = 5000;
    span.end = 5040;
    ok(!ngx_egress_ratelimit_quota_take(&token, 10, &span, 1), "far back");

    span.now = 5040;
    span.end = 5100;
    ok(ngx_egress_ratelimit_quota_take(&token, 10, &span, 1),
       "not for ever");
}
