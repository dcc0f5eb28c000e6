
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>
#include <math.h>


static ngx_egress_level_t *ngx_egress_pick_level(ngx_egress_set_t *set);
static ngx_uint_t ngx_egress_pick_turn(ngx_egress_share_t *share,
    ngx_egress_set_t *set, ngx_egress_level_t *level);
static ngx_uint_t ngx_egress_pick_two(ngx_egress_set_t *set,
    ngx_egress_level_t *level);
static ngx_uint_t ngx_egress_pick_any(ngx_egress_set_t *set,
    ngx_egress_level_t *level);
static ngx_uint_t ngx_egress_pick_hash(ngx_egress_set_t *set,
    ngx_egress_level_t *level, uint64_t key);
static ngx_uint_t ngx_egress_pick_at(ngx_egress_set_t *set,
    ngx_egress_level_t *level, uint64_t point);
static uint64_t ngx_egress_random(void);


ngx_egress_member_t *
ngx_egress_pick(ngx_egress_service_t *svc, ngx_egress_set_t *set,
    uint64_t key, ngx_uint_t has_key, ngx_uint_t again)
{
    ngx_uint_t           n;
    ngx_egress_level_t  *level;

    level = ngx_egress_pick_level(set);

    if (level == NULL) {
        return NULL;
    }

    if (level->n == 1) {
        return &set->members[set->live[level->first]];
    }

    switch (svc->conf->balance) {

    case NGX_EGRESS_ROUND_ROBIN:

        /*
         * A retry that took a turn would bring the next flow to where this
         * one began: of two endpoints always to the one that is dead.
         */

        n = again ? ngx_egress_pick_any(set, level)
                  : ngx_egress_pick_turn(svc->share, set, level);
        break;

    case NGX_EGRESS_LEAST_REQUEST:
        n = ngx_egress_pick_two(set, level);
        break;

    case NGX_EGRESS_HASH:
        n = has_key ? ngx_egress_pick_hash(set, level, key)
                    : ngx_egress_pick_any(set, level);
        break;

    default: /* NGX_EGRESS_RANDOM */
        n = ngx_egress_pick_any(set, level);
        break;
    }

    return &set->members[set->live[level->first + n]];
}


static ngx_egress_level_t *
ngx_egress_pick_level(ngx_egress_set_t *set)
{
    ngx_uint_t           i, point;
    ngx_egress_level_t  *last;

    if (set->levels[0].load == 100) {
        return &set->levels[0];
    }

    point = ngx_egress_random() % 100;
    last = NULL;

    for (i = 0; i < NGX_EGRESS_LEVELS; i++) {

        if (set->levels[i].load == 0) {
            continue;
        }

        last = &set->levels[i];

        if (point < last->load) {
            break;
        }

        point -= last->load;
    }

    return last;
}


/*
 * The position is common to all processes, and so is the order, which is made
 * of nothing but the weights.  Each subset and host has its own: with one for
 * all, requests to two of them by turns would get every second endpoint of
 * each only.
 */

static ngx_uint_t
ngx_egress_pick_turn(ngx_egress_share_t *share, ngx_egress_set_t *set,
    ngx_egress_level_t *level)
{
    ngx_atomic_uint_t  turn;

    turn = ngx_atomic_fetch_add(&share->turns[set->turn], 1);

    if (level->even) {
        return turn % level->n;
    }

    if (level->turns) {
        return level->turns[turn % level->nturns];
    }

    /* the golden ratio: each part of the circle gets its share all the time */

    return ngx_egress_pick_at(set, level,
                              (uint64_t) turn * 0x9e3779b97f4a7c15ULL);
}


/* the less busy one of two, for its weight */

static ngx_uint_t
ngx_egress_pick_two(ngx_egress_set_t *set, ngx_egress_level_t *level)
{
    ngx_uint_t            one, two;
    ngx_egress_member_t  *a, *b;

    one = ngx_egress_pick_any(set, level);
    two = ngx_egress_pick_any(set, level);

    a = &set->members[set->live[level->first + one]];
    b = &set->members[set->live[level->first + two]];

    return (b->state->active * a->weight < a->state->active * b->weight)
           ? two : one;
}


static ngx_uint_t
ngx_egress_pick_any(ngx_egress_set_t *set, ngx_egress_level_t *level)
{
    return ngx_egress_pick_at(set, level, ngx_egress_random());
}


/*
 * Rendezvous hashing: the endpoint with the highest score for the key; one
 * that goes or comes moves its own keys only.  Weights as in "Weighted
 * distributed hash tables" by Schindelhauer and Schomaker (2005).
 */

static ngx_uint_t
ngx_egress_pick_hash(ngx_egress_set_t *set, ngx_egress_level_t *level,
    uint64_t key)
{
    double                u, score, best;
    uint64_t              n, most;
    ngx_uint_t            i, winner;
    ngx_egress_member_t  *m;

    winner = 0;
    most = 0;
    best = -1;

    for (i = 0; i < level->n; i++) {

        m = &set->members[set->live[level->first + i]];
        n = ngx_egress_mix(key ^ m->hash);

        if (level->even) {
            if (n >= most) {
                most = n;
                winner = i;
            }

            continue;
        }

        u = ((n >> 11) + 1) * 0x1p-53;

        /* -log(u) >= 1 - u: most can't win, and need no logarithm */

        if (m->weight <= best * (1 - u)) {
            continue;
        }

        score = m->weight / -log(u);

        if (score > best) {
            best = score;
            winner = i;
        }
    }

    return winner;
}


/* point: on a circle of 2^64, of which each has an arc after its weight */

static ngx_uint_t
ngx_egress_pick_at(ngx_egress_set_t *set, ngx_egress_level_t *level,
    uint64_t point)
{
    uint64_t    w, *upto;
    ngx_uint_t  low, high, mid;

    if (level->even) {
        return ((point >> 32) * level->n) >> 32;
    }

    /* the sum of weights is below 2^32 */

    w = ((point >> 32) * level->weight) >> 32;
    upto = &set->upto[level->first];

    low = 0;
    high = level->n - 1;

    while (low < high) {
        mid = (low + high) / 2;

        if (w < upto[mid]) {
            high = mid;

        } else {
            low = mid + 1;
        }
    }

    return low;
}


/* xorshift64*; not for secrets */

static uint64_t
ngx_egress_random(void)
{
    static uint64_t  state;

    if (state == 0) {
        state = ngx_egress_mix(((uint64_t) ngx_random() << 32)
                               ^ ((uint64_t) ngx_pid << 16)
                               ^ (uint64_t) ngx_current_msec) | 1;
    }

    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;

    return state * 0x2545f4914f6cdd1dULL;
}
