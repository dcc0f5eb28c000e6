
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>


#define NGX_EGRESS_RATELIMIT_DAY      86400
#define NGX_EGRESS_RATELIMIT_AHEAD    (20 * 366)  /* days */
#define NGX_EGRESS_RATELIMIT_ZONES    "/usr/share/zoneinfo"


static int64_t ngx_egress_ratelimit_next(ngx_uint_t kind, int64_t local);
static int64_t ngx_egress_ratelimit_next_month(int64_t day);
static int64_t ngx_egress_ratelimit_floor(int64_t n, int64_t d);
static int64_t ngx_egress_ratelimit_offset(
    ngx_egress_ratelimit_period_t *period, int64_t sec);
static ngx_uint_t ngx_egress_ratelimit_valid_zone(const char *name);
static ngx_uint_t ngx_egress_ratelimit_read_offsets(
    ngx_egress_ratelimit_offset_t *offsets, ngx_uint_t max, time_t now);
static int64_t ngx_egress_ratelimit_gmtoff(time_t sec);


/* of a quota, token->level is what has been used, token->last is the end */

void
ngx_egress_ratelimit_quota_init(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_span_t *span)
{
    token->level = 0;
    token->last = span->end;
    token->interval = NGX_EGRESS_RATELIMIT_PERIOD;
}


ngx_uint_t
ngx_egress_ratelimit_quota_take(ngx_egress_ratelimit_token_t *token,
    uint64_t tokens, ngx_egress_ratelimit_span_t *span, uint64_t cost)
{
    ngx_egress_ratelimit_quota_renew(token, span);

    if (cost > tokens || (uint64_t) token->level > tokens - cost) {
        return 0;
    }

    token->level += cost;

    return 1;
}


void
ngx_egress_ratelimit_quota_spend(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_span_t *span, uint64_t n)
{
    ngx_egress_ratelimit_quota_renew(token, span);

    token->level += n;
}


void
ngx_egress_ratelimit_quota_give(ngx_egress_ratelimit_token_t *token,
    uint64_t cost)
{
    token->level -= ngx_min(cost, (uint64_t) token->level);
}


uint64_t
ngx_egress_ratelimit_quota_left(ngx_egress_ratelimit_token_t *token,
    uint64_t tokens, ngx_egress_ratelimit_span_t *span)
{
    ngx_egress_ratelimit_quota_renew(token, span);

    return ((uint64_t) token->level < tokens) ? tokens - token->level : 0;
}


uint64_t
ngx_egress_ratelimit_quota_wait(ngx_egress_ratelimit_token_t *token,
    uint64_t tokens, ngx_egress_ratelimit_span_t *span, uint64_t cost)
{
    if (cost > tokens) {
        return NGX_EGRESS_RATELIMIT_NEVER;
    }

    if (ngx_egress_ratelimit_quota_left(token, tokens, span) >= cost) {
        return 0;
    }

    return (token->last - span->now) * 1000;
}


/*
 * The wall clock may be set.  Forward, a new period begins, as it would have.
 * Back, it does not begin again: until the end that was known, or if that is
 * more than a period away, until the end by the new time, what has been used
 * stays used.
 */

void
ngx_egress_ratelimit_quota_renew(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_span_t *span)
{
    if (token->interval != NGX_EGRESS_RATELIMIT_PERIOD
        || span->now >= token->last)
    {
        ngx_egress_ratelimit_quota_init(token, span);

    } else if (token->last > span->end + span->length) {
        token->last = span->end;
    }
}


void
ngx_egress_ratelimit_period_span(ngx_egress_ratelimit_period_t *period,
    uint64_t now, ngx_egress_ratelimit_span_t *span)
{
    int64_t  sec, before, after, local, end, other;

    static uint32_t  lengths[] = { 60, 3600, 86400 + 7200, 31 * 86400 + 7200 };

    sec = (int64_t) now;

    before = ngx_egress_ratelimit_offset(period, sec);
    local = ngx_egress_ratelimit_next(period->kind, sec + before);

    end = local - before;
    after = ngx_egress_ratelimit_offset(period, end);

    if (after != before) {

        /*
         * The clocks change until then.  In the hour that is left out there
         * is no such local time: then it is the moment of the change.
         */

        other = local - after;

        if (other > sec && ngx_egress_ratelimit_offset(period, other) == after)
        {
            end = other;
        }
    }

    span->now = now;
    span->end = (uint64_t) end;
    span->length = lengths[period->kind];
}


/* the beginning of the next period in local seconds */

static int64_t
ngx_egress_ratelimit_next(ngx_uint_t kind, int64_t local)
{
    switch (kind) {

    case NGX_EGRESS_RATELIMIT_MINUTE:
        return (ngx_egress_ratelimit_floor(local, 60) + 1) * 60;

    case NGX_EGRESS_RATELIMIT_HOUR:
        return (ngx_egress_ratelimit_floor(local, 3600) + 1) * 3600;

    case NGX_EGRESS_RATELIMIT_DAYS:
        return (ngx_egress_ratelimit_floor(local, NGX_EGRESS_RATELIMIT_DAY)
                + 1) * NGX_EGRESS_RATELIMIT_DAY;

    default: /* NGX_EGRESS_RATELIMIT_MONTH */
        return ngx_egress_ratelimit_next_month(
                  ngx_egress_ratelimit_floor(local, NGX_EGRESS_RATELIMIT_DAY))
               * NGX_EGRESS_RATELIMIT_DAY;
    }
}


/*
 * In the Gregorian calendar, whose years are begun in March for this, so that
 * the leap day is the last; day is counted from 1970-01-01.
 */

static int64_t
ngx_egress_ratelimit_next_month(int64_t day)
{
    int64_t  era, doe, yoe, doy, month, first;

    day += 719468;

    era = ngx_egress_ratelimit_floor(day, 146097);
    doe = day - era * 146097;
    yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    doy = doe - (365 * yoe + yoe / 4 - yoe / 100);

    month = (5 * doy + 2) / 153 + 1;

    /* the 12th is February, whose end is that of the year */

    if (month < 12) {
        first = (153 * month + 2) / 5;

    } else {
        yoe++;
        first = 0;
    }

    return era * 146097 + yoe * 365 + yoe / 4 - yoe / 100 + yoe / 400
           + first - 719468;
}


static int64_t
ngx_egress_ratelimit_floor(int64_t n, int64_t d)
{
    return n / d - (n % d < 0);
}


/* seconds east of UTC */

static int64_t
ngx_egress_ratelimit_offset(ngx_egress_ratelimit_period_t *period, int64_t sec)
{
    ngx_uint_t  low, high, mid;

    if (period->n == 0) {
        return 0;
    }

    low = 0;
    high = period->n;

    while (high - low > 1) {
        mid = low + (high - low) / 2;

        if (period->offsets[mid].since <= sec) {
            low = mid;

        } else {
            high = mid;
        }
    }

    return period->offsets[low].offset;
}


/*
 * The C library knows time zones by the environment only; there is no other
 * thread while the configuration is read.
 */

ngx_uint_t
ngx_egress_ratelimit_zone_offsets(const char *name,
    ngx_egress_ratelimit_offset_t *offsets, ngx_uint_t max, time_t now)
{
    char       *old;
    ngx_uint_t  n;

    if (!ngx_egress_ratelimit_valid_zone(name)) {
        return 0;
    }

    old = getenv("TZ");

    if (old) {
        old = strdup(old);
        if (old == NULL) {
            return 0;
        }
    }

    n = 0;

    if (setenv("TZ", name, 1) == 0) {
        tzset();
        n = ngx_egress_ratelimit_read_offsets(offsets, max, now);
    }

    if (old) {
        (void) setenv("TZ", old, 1);
        free(old);

    } else {
        (void) unsetenv("TZ");
    }

    tzset();

    return n;
}


/* the C library takes a zone that it doesn't know for UTC */

static ngx_uint_t
ngx_egress_ratelimit_valid_zone(const char *name)
{
    char         path[256], magic[4];
    FILE        *file;
    size_t       n;
    const char  *p, *dir;

    for (p = name; *p; p++) {
        if (!(*p >= 'A' && *p <= 'Z') && !(*p >= 'a' && *p <= 'z')
            && !(*p >= '0' && *p <= '9') && strchr("_+-/", *p) == NULL)
        {
            return 0;
        }
    }

    dir = getenv("TZDIR");

    if (p == name || *name == '/'
        || snprintf(path, sizeof(path), "%s/%s",
                    dir ? dir : NGX_EGRESS_RATELIMIT_ZONES, name)
           >= (int) sizeof(path))
    {
        return 0;
    }

    file = fopen(path, "r");
    if (file == NULL) {
        return 0;
    }

    n = fread(magic, 1, sizeof(magic), file);

    (void) fclose(file);

    return n == sizeof(magic) && memcmp(magic, "TZif", sizeof(magic)) == 0;
}


static ngx_uint_t
ngx_egress_ratelimit_read_offsets(ngx_egress_ratelimit_offset_t *offsets,
    ngx_uint_t max, time_t now)
{
    time_t      sec, low, high, mid;
    int64_t     offset;
    ngx_uint_t  i, n;

    sec = now - 2 * NGX_EGRESS_RATELIMIT_DAY;

    offsets[0].since = sec;
    offsets[0].offset = ngx_egress_ratelimit_gmtoff(sec);
    n = 1;

    for (i = 0; i < NGX_EGRESS_RATELIMIT_AHEAD && n < max; i++) {

        low = sec;
        sec += NGX_EGRESS_RATELIMIT_DAY;
        high = sec;

        offset = ngx_egress_ratelimit_gmtoff(high);

        if (offset == offsets[n - 1].offset) {
            continue;
        }

        while (high - low > 1) {
            mid = low + (high - low) / 2;

            if (ngx_egress_ratelimit_gmtoff(mid) == offset) {
                high = mid;

            } else {
                low = mid;
            }
        }

        offsets[n].since = high;
        offsets[n].offset = offset;
        n++;
    }

    return n;
}


static int64_t
ngx_egress_ratelimit_gmtoff(time_t sec)
{
    struct tm  tm;

    return localtime_r(&sec, &tm) ? tm.tm_gmtoff : 0;
}
