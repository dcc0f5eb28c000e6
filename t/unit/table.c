
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


/*
 * Unit tests of the table of token buckets, also with several processes that
 * are killed while they use it; prints TAP.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>
#include <ngx_egress_ratelimit_table.h>

#include <sys/mman.h>
#include <sys/wait.h>
#include <sched.h>


#define PROCESSES  4


typedef struct {
    ngx_atomic_t  asked;
    ngx_atomic_t  got;
    ngx_atomic_t  errors;
    ngx_atomic_t  active[8];
} shared_t;


ngx_int_t          ngx_ncpu = 2;
ngx_pid_t          ngx_pid;
ngx_uint_t         ngx_process = NGX_PROCESS_WORKER;

static ngx_uint_t  tests;
static ngx_uint_t  failed;
static shared_t   *shared;


static void ok(ngx_uint_t passed, const char *name);
static void *map(size_t size);
static ngx_egress_ratelimit_table_t *make(ngx_uint_t keys,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_uint_t n);
static void fill(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_bucket_t *bucket, uint64_t key, uint64_t owner);
static ngx_uint_t take(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, uint64_t key, uint64_t owner,
    uint64_t now);
static ngx_uint_t whole(ngx_egress_ratelimit_table_t *table);
static ngx_uint_t whole_shard(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard);
static void test_keys(void);
static void test_share(void);
static void test_bound(void);
static void test_exact(void);
static void test_killed(void);
static void test_connections(void);
static void test_connections_killed(void);
static void test_broken(void);
static void break_lock(ngx_egress_ratelimit_table_t *table, ngx_uint_t shard);
static void test_processes(void);
static void connect_worker(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_uint_t rounds);
static void worker(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *buckets, ngx_uint_t rounds);
static pid_t start(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *buckets, ngx_uint_t rounds);


int
main(void)
{
    shared = map(sizeof(shared_t));

    test_keys();
    test_share();
    test_bound();
    test_exact();
    test_killed();
    test_connections();
    test_connections_killed();
    test_broken();
    test_processes();

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
    fflush(stdout);
}


static void *
map(size_t size)
{
    return mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANON, -1, 0);
}


static ngx_egress_ratelimit_table_t *
make(ngx_uint_t keys, ngx_egress_ratelimit_bucket_t *bucket, ngx_uint_t n)
{
    uint64_t                       seed[2] = { 1, 2 };
    ngx_uint_t                     i;
    ngx_egress_ratelimit_table_t  *table;

    static ngx_str_t  name = ngx_string("bucket");

    table = map(ngx_egress_ratelimit_table_size(keys, 16));

    if (ngx_egress_ratelimit_table_init(table, keys, 16, seed) != NGX_OK) {
        exit(2);
    }

    for (i = 0; i < n; i++) {
        bucket[i].row = map(ngx_egress_ratelimit_row_size(table, name.len));
        ngx_egress_ratelimit_row_init(table, bucket[i].row, &name,
                                      &bucket[i].rate, 0);
    }

    return table;
}


static void
fill(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_bucket_t *bucket, uint64_t key, uint64_t owner)
{
    ngx_memzero(charge, sizeof(ngx_egress_ratelimit_charge_t));

    charge->bucket = bucket;
    charge->cost = 1;
    charge->enabled = 1;
    charge->enforced = 1;
    charge->owner = owner;
    charge->key.len = key ? sizeof(uint64_t) : 0;
    ngx_memcpy(charge->key.data, &key, sizeof(uint64_t));
    charge->key.hash = ngx_egress_ratelimit_hash(table, bucket->row,
                                                 charge->key.data,
                                                 charge->key.len);
}


static ngx_uint_t
take(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, uint64_t key, uint64_t owner,
    uint64_t now)
{
    ngx_egress_ratelimit_clock_t   clock = { now, 0 };
    ngx_egress_ratelimit_charge_t  charge, *refused;

    fill(table, &charge, bucket, key, owner);

    ngx_egress_ratelimit_take(table, &charge, 1, &clock, &refused);

    return refused == NULL;
}


/* do all lists hold what the slots say, and nothing else? */

static ngx_uint_t
whole(ngx_egress_ratelimit_table_t *table)
{
    ngx_uint_t  i, n;

    n = 1;

    for (i = 0; i < table->shards_n; i++) {

        if (ngx_egress_ratelimit_lock(table, i) != NGX_OK) {
            return 0;
        }

        n &= whole_shard(table, i);

        ngx_egress_ratelimit_unlock(table, i);
    }

    return n;
}


static ngx_uint_t
whole_shard(ngx_egress_ratelimit_table_t *table, ngx_uint_t shard)
{
    uint32_t                       i, n, used, free, owned, ofree;
    ngx_uint_t                     k;
    ngx_egress_ratelimit_row_t    *row;
    ngx_egress_ratelimit_slot_t   *slots;
    ngx_egress_ratelimit_part_t   *part;
    ngx_egress_ratelimit_owner_t  *owners;
    ngx_egress_ratelimit_shard_t  *sd;

    sd = &table->shards[shard];
    slots = &table->slots[shard * table->per];
    owners = &table->owners[shard * table->per];

    used = free = owned = ofree = 0;

    for (k = 0; k <= table->mask; k++) {
        for (i = table->heads[shard * (table->mask + 1) + k];
             i != NGX_EGRESS_RATELIMIT_NIL;
             i = slots[i].next)
        {
            used += slots[i].used;
        }

        for (i = table->oheads[shard * (table->mask + 1) + k];
             i != NGX_EGRESS_RATELIMIT_NIL;
             i = owners[i].next)
        {
            owned++;
        }
    }

    for (i = sd->free; i != NGX_EGRESS_RATELIMIT_NIL; i = slots[i].next) {
        free++;
    }

    for (i = sd->ofree; i != NGX_EGRESS_RATELIMIT_NIL; i = owners[i].next) {
        ofree++;
    }

    for (row = table->rows, n = 0; row; row = row->next) {
        part = &row->parts[shard];
        n += part->n;

        for (i = part->newest; i != NGX_EGRESS_RATELIMIT_NIL;
             i = slots[i].older)
        {
            n--;
            used -= slots[i].used;
            free += slots[i].used;
        }
    }

    return n == 0 && used == 0 && free == table->per
           && owned + ofree == table->per;
}


static void
test_keys(void)
{
    ngx_uint_t                     i, n;
    ngx_egress_ratelimit_table_t  *table;
    ngx_egress_ratelimit_counts_t  counts;
    ngx_egress_ratelimit_bucket_t   b = { .rate = { 1, 1, 1000 },
                                          .max = 1000, .share = 1000000 };

    table = make(1000, &b, 1);

    for (i = 1, n = 0; i <= 1000; i++) {
        n += take(table, &b, i, 1, 0);
    }

    ok(n == 1000, "a bucket for each key");

    for (i = 1, n = 0; i <= 1000; i++) {
        n += take(table, &b, i, 1, 0);
    }

    ok(n == 0, "each found again");
    ok(!take(table, &b, 1001, 1, 999), "no room");
    ok(take(table, &b, 0, 1, 999), "but for what has no key");
    ok(take(table, &b, 1002, 1, 1000), "room as soon as one is full again");
    ok(whole(table), "whole");

    ngx_egress_ratelimit_count(table, b.row, &counts);

    ok(counts.keys <= 1000 && counts.allowed == 1002 && counts.limited == 1001
       && counts.full == 1 && counts.evicted >= 1, "counted");
}


static void
test_share(void)
{
    ngx_uint_t                     i, n;
    ngx_egress_ratelimit_table_t  *table;
    ngx_egress_ratelimit_bucket_t   b = { .rate = { 1, 1, 1000000 },
                                          .max = 4096, .share = 250000 };

    table = make(4096, &b, 1);

    for (i = 1, n = 0; i <= 4096; i++) {
        n += take(table, &b, i, 1, 0);
    }

    ok(n > 900 && n < 1250, "a quarter for one owner");

    for (i = 5001, n = 0; i <= 5500; i++) {
        n += take(table, &b, i, i, 0);
    }

    ok(n == 500, "room for others");
    ok(whole(table), "whole");
}


/* rows of several shards: the bound is that of the row, not of a shard */

static void
test_bound(void)
{
    ngx_uint_t                     i, n;
    ngx_egress_ratelimit_table_t  *table;
    ngx_egress_ratelimit_bucket_t   b[2] = {
        { .rate = { 1, 1, 1000 }, .max = 100, .share = 1000000 },
        { .rate = { 1, 1, 1000 }, .max = 3900, .share = 1000000 } };

    table = make(4000, b, 2);

    for (i = 1, n = 0; i <= 1000; i++) {
        n += take(table, &b[0], i, 1, 0);
    }

    ok(n == 100, "bound of a row");

    for (i = 1, n = 0; i <= 3900; i++) {
        n += take(table, &b[1], i, 1, 0);
    }

    ok(n == 3900, "room of another row");

    for (i = 1001, n = 0; i <= 1100; i++) {
        n += take(table, &b[0], i, 1, 1000);
    }

    ok(n == 100, "room when they are full again");
    ok(whole(table), "whole");
}


static void
worker(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *buckets, ngx_uint_t rounds)
{
    ngx_egress_ratelimit_clock_t   clock;
    ngx_egress_ratelimit_charge_t  charges[2], *refused;

    srandom(getpid());

    while (rounds--) {
        fill(table, &charges[0], &buckets[0], random() % 4000 + 1, 1);
        fill(table, &charges[1], &buckets[1], 0, 1);

        (void) ngx_atomic_fetch_add(&shared->asked, 1);

        ngx_egress_ratelimit_clock(&clock);
        ngx_egress_ratelimit_take(table, charges, 2, &clock, &refused);

        if (charges[0].error || charges[1].error) {
            (void) ngx_atomic_fetch_add(&shared->errors, 1);

        } else if (refused == NULL) {
            (void) ngx_atomic_fetch_add(&shared->got, 1);
        }
    }

    _exit(0);
}


static pid_t
start(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *buckets, ngx_uint_t rounds)
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        ngx_pid = getpid();

        if (buckets[0].connections) {
            connect_worker(table, buckets, rounds);
        }

        worker(table, buckets, rounds);
    }

    return pid;
}


static void
test_exact(void)
{
    ngx_uint_t                     i;
    ngx_egress_ratelimit_table_t  *table;
    ngx_egress_ratelimit_bucket_t   b[2] = {
        { .rate = { 1000, 1, 1000000 }, .max = 4096, .share = 1000000 },
        { .rate = { 70000, 1, 1000000 } } };

    table = make(4096, b, 2);
    ngx_memzero(shared, sizeof(shared_t));

    for (i = 0; i < PROCESSES; i++) {
        start(table, b, 20000);
    }

    while (wait(NULL) > 0) { /* void */ }

    ok(shared->got == 70000, "4 processes got what there was");
    ok(whole(table), "whole");
}


/*
 * T-RTL-01: at each kill at most one charge is taken that nobody gets to
 * know of; keys come and go all the time.
 */

static void
test_killed(void)
{
    pid_t                          pid[PROCESSES];
    ngx_uint_t                     i, n, k, left, repairs;
    ngx_egress_ratelimit_table_t  *table;
    ngx_egress_ratelimit_bucket_t   b[2] = {
        { .rate = { 1, 1000, 1 }, .max = 1500, .share = 900000 },
        { .rate = { 4294967295U, 1, 100000000 } } };

    table = make(1500, b, 2);
    ngx_memzero(shared, sizeof(shared_t));

    for (i = 0; i < PROCESSES; i++) {
        pid[i] = start(table, b, (ngx_uint_t) -1);
    }

    for (k = 0; k < 400; k++) {
        usleep(random() % 3000);

        i = random() % PROCESSES;
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
        pid[i] = start(table, b, (ngx_uint_t) -1);
    }

    for (i = 0; i < PROCESSES; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
    }

    ok(whole(table), "whole after 404 kills");

    for (i = 0, repairs = 0; i < table->shards_n; i++) {
        repairs += table->shards[i].repairs;
    }

    left = ngx_egress_ratelimit_token_left(
                  &b[1].row->slot.token[b[1].row->slot.cur], &b[1].rate);
    n = 4294967295U - left;

    printf("# repairs %lu, asked %lu, got %lu, taken %lu\n", repairs,
           (unsigned long) shared->asked, (unsigned long) shared->got, n);

    ok(repairs > 0, "some had a lock");
    ok(n >= shared->got && n - shared->got <= k + PROCESSES
       && shared->errors == 0, "no token too many, none lost");
}


/* never more at once than a key may have, its own slot included */

static void
test_connections(void)
{
    ngx_uint_t                     i, n;
    ngx_egress_ratelimit_table_t  *table;
    ngx_egress_ratelimit_bucket_t   b = { .connections = 2, .max = 100,
                                          .share = 1000000 };

    table = make(100, &b, 1);
    ngx_memzero(shared, sizeof(shared_t));

    table->gauges = map(ngx_egress_ratelimit_gauges_size(table));
    b.row->gauges = map(2 * 16 * sizeof(uint32_t));
    b.row->totals = b.row->gauges + 16;

    for (i = 0; i < PROCESSES; i++) {
        start(table, &b, 20000);
    }

    while (wait(NULL) > 0) { /* void */ }

    for (i = 0, n = 0; i < 8; i++) {
        n += shared->active[i];
    }

    printf("# asked %lu, got %lu\n", (unsigned long) shared->asked,
           (unsigned long) shared->got);

    ok(shared->errors == 0 && shared->got > 0 && shared->got < shared->asked,
       "connections at once");
    ok(ngx_egress_ratelimit_connections(table, b.row) == 0 && n == 0,
       "none left");
}


/* T-RTL-04: what killed processes had is taken back */

static void
test_connections_killed(void)
{
    pid_t                          pid[PROCESSES];
    ngx_uint_t                     i, k, n;
    ngx_egress_ratelimit_table_t  *table;
    ngx_egress_ratelimit_bucket_t   b = { .connections = 1000, .max = 100,
                                          .share = 1000000 };

    table = make(100, &b, 1);

    table->gauges = map(ngx_egress_ratelimit_gauges_size(table));
    b.row->gauges = map(2 * 16 * sizeof(uint32_t));
    b.row->totals = b.row->gauges + 16;

    for (i = 0; i < PROCESSES; i++) {
        pid[i] = start(table, &b, (ngx_uint_t) -1);
    }

    for (k = 0, n = 0; k < 200; k++) {
        usleep(random() % 3000);

        i = random() % PROCESSES;
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
        n += ngx_egress_ratelimit_connections(table, b.row);
        pid[i] = start(table, &b, (ngx_uint_t) -1);
    }

    ok(n > 0, "some had connections");

    for (i = 0; i < PROCESSES; i++) {
        kill(pid[i], SIGKILL);
        waitpid(pid[i], NULL, 0);
    }

    ok(ngx_egress_ratelimit_connections(table, b.row) == 0,
       "none left after 204 kills");

    for (i = 0, n = 0; i < table->per * table->processes_n; i++) {
        n += table->gauges[i];
    }

    ok(n == 0 && whole(table), "nor of any key, and whole");
}


static void
connect_worker(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_uint_t rounds)
{
    ngx_uint_t                     key;
    ngx_egress_ratelimit_clock_t   clock = { 0, 0 };
    ngx_egress_ratelimit_charge_t  charge, *refused;

    srandom(getpid());

    while (rounds--) {
        key = random() % 8;

        fill(table, &charge, bucket, key, 1);
        ngx_egress_ratelimit_take(table, &charge, 1, &clock, &refused);

        (void) ngx_atomic_fetch_add(&shared->asked, 1);

        if (refused) {
            continue;
        }

        (void) ngx_atomic_fetch_add(&shared->got, 1);

        if (ngx_atomic_fetch_add(&shared->active[key], 1)
            >= (ngx_atomic_uint_t) bucket->connections)
        {
            (void) ngx_atomic_fetch_add(&shared->errors, 1);
        }

        (void) sched_yield();

        (void) ngx_atomic_fetch_add(&shared->active[key], -1);

        ngx_egress_ratelimit_disconnect(&charge.connection);
    }

    _exit(0);
}


/* the buckets of other shards go on, and get back what was not to be taken */

static void
test_broken(void)
{
    ngx_uint_t                      i, shard;
    ngx_egress_ratelimit_clock_t    clock = { 0, 0 };
    ngx_egress_ratelimit_table_t   *table;
    ngx_egress_ratelimit_counts_t   counts, other;
    ngx_egress_ratelimit_charge_t   charges[2], *refused;
    ngx_egress_ratelimit_bucket_t   b[2] = {
        { .rate = { 5, 1, 1000 }, .max = 100, .share = 1000000 },
        { .rate = { 3, 1, 1000 }, .max = 100, .share = 1000000 } };

    table = make(4096, b, 2);

    fill(table, &charges[0], &b[0], 0, 1);
    shard = ngx_egress_ratelimit_shard(table, b[0].row, &charges[0].key);

    i = 0;

    do {
        fill(table, &charges[1], &b[1], ++i, 1);
    } while (ngx_egress_ratelimit_shard(table, b[1].row, &charges[1].key)
             == shard);

    break_lock(table, shard);

    ok(!take(table, &b[0], 0, 1, 0), "broken lock refuses");
    ok(take(table, &b[1], i, 1, 0), "another lock doesn't");

    fill(table, &charges[0], &b[1], i, 1);
    fill(table, &charges[1], &b[0], 0, 1);
    ngx_egress_ratelimit_take(table, charges, 2, &clock, &refused);

    ok(refused == &charges[1]
       && charges[1].error == NGX_EGRESS_RATELIMIT_LOCK, "which one");

    b[0].on_error = 1;

    fill(table, &charges[0], &b[0], 0, 1);
    fill(table, &charges[1], &b[1], i, 1);
    ngx_egress_ratelimit_take(table, charges, 2, &clock, &refused);

    ok(refused == NULL && charges[0].result == NGX_EGRESS_RATELIMIT_ERROR
       && charges[1].left == 1, "on_error, and the other has got it back");

    ok(take(table, &b[1], i, 1, 0), "the last token");

    fill(table, &charges[0], &b[0], 0, 1);
    fill(table, &charges[1], &b[1], i, 1);
    ngx_egress_ratelimit_take(table, charges, 2, &clock, &refused);

    ok(refused == &charges[1], "another refuses");

    ngx_egress_ratelimit_spend(table, &charges[0], 10, &clock);

    b[0].on_error = 0;
    fill(table, &charges[0], &b[0], 0, 1);
    charges[0].enforced = 0;
    ngx_egress_ratelimit_take(table, charges, 1, &clock, &refused);

    ok(refused == NULL && charges[0].would, "not enforced");

    ngx_egress_ratelimit_count(table, b[0].row, &counts);
    ngx_egress_ratelimit_count(table, b[1].row, &other);

    ok(counts.errors == 6 && counts.allowed == 1 && counts.limited == 2
       && counts.would_limit == 1 && counts.spent == 0
       && other.errors == 0 && other.allowed == 3 && other.limited == 1,
       "counted");
}


/* as if who repairs a shard could not make its lock consistent */

static void
break_lock(ngx_egress_ratelimit_table_t *table, ngx_uint_t shard)
{
    pid_t  pid;

    pid = fork();

    if (pid == 0) {
        (void) ngx_egress_ratelimit_lock(table, shard);
        _exit(0);
    }

    waitpid(pid, NULL, 0);

    if (pthread_mutex_lock(&table->shards[shard].mutex) == EOWNERDEAD) {
        (void) pthread_mutex_unlock(&table->shards[shard].mutex);
    }
}


/* a process without a slot can't count, but has tokens to take */

static void
test_processes(void)
{
    int                             status;
    ngx_uint_t                      i, n;
    ngx_egress_ratelimit_clock_t    clock = { 1000, 0 };
    ngx_egress_ratelimit_table_t   *table;
    ngx_egress_ratelimit_counts_t   counts;
    ngx_egress_ratelimit_charge_t   charge, *refused;
    ngx_egress_ratelimit_bucket_t   b = { .rate = { 2, 1, 1000 }, .max = 10,
                                          .connections = 5, .share = 1000000 };

    table = make(100, &b, 1);

    b.row->gauges = map(2 * 16 * sizeof(uint32_t));
    b.row->totals = b.row->gauges + 16;

    for (i = 0; i < table->processes_n; i++) {
        (void) pthread_mutex_lock(&table->processes[i].mutex);
        table->processes[i].pid = getpid();
    }

    if (fork() == 0) {
        ngx_pid = getpid();

        fill(table, &charge, &b, 0, 1);
        ngx_egress_ratelimit_take(table, &charge, 1, &clock, &refused);

        n = (refused && charge.error == NGX_EGRESS_RATELIMIT_PROCESS
             && charge.result == NGX_EGRESS_RATELIMIT_ERROR && charge.log);

        /* the third one has no token */

        b.on_error = 1;

        for (i = 0; i < 3; i++) {
            fill(table, &charge, &b, 0, 1);
            ngx_egress_ratelimit_take(table, &charge, 1, &clock, &refused);

            n += (charge.error == NGX_EGRESS_RATELIMIT_PROCESS && !charge.log
                  && charge.connection.gauge == NULL
                  && (refused == NULL) == (i < 2));
        }

        _exit(n);
    }

    (void) wait(&status);

    ok(WIFEXITED(status) && WEXITSTATUS(status) == 4, "no process slot");

    ngx_egress_ratelimit_count(table, b.row, &counts);

    ok(counts.errors == 4 && counts.allowed == 2 && counts.limited == 2
       && counts.full == 0
       && ngx_egress_ratelimit_connections(table, b.row) == 0, "counted");
}
