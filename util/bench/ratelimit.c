
/*
 * Copyright (C) 2026 Egress Gateway authors
 *
 * ratelimit: what a decision of the rate limit costs.  Processes take tokens
 * of a table in shared memory, all at once, as workers do; prints the time
 * per decision and, checking itself, whether the sum is right to the token.
 *
 * usage: ratelimit processes keys decisions
 *
 * keys: 0 is one bucket for all of them; the decisions are of each process.
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>

#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>


#define RATELIMIT_PROCESSES  64


typedef struct {
    ngx_atomic_t                   ready;
    ngx_atomic_t                   go;
    uint64_t                       got[RATELIMIT_PROCESSES];
    uint64_t                       ns[RATELIMIT_PROCESSES];
    uint64_t                       cpu[RATELIMIT_PROCESSES];
} ratelimit_shared_t;


ngx_int_t    ngx_ncpu;
ngx_pid_t    ngx_pid;
ngx_uint_t   ngx_process = NGX_PROCESS_WORKER;


static void *ratelimit_map(size_t size);
static void ratelimit_worker(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ratelimit_shared_t *shared,
    ngx_uint_t me, ngx_uint_t keys, ngx_uint_t decisions);
static uint64_t ratelimit_ns(clockid_t clock);


int
main(int argc, char **argv)
{
    size_t                          size;
    uint64_t                        seed[2] = { 1, 2 }, got, ns, cpu;
    ngx_str_t                       name = ngx_string("bench");
    ngx_uint_t                      i, n, keys, decisions;
    ratelimit_shared_t             *shared;
    ngx_egress_ratelimit_table_t   *table;
    ngx_egress_ratelimit_bucket_t   bucket = {
        .rate = { 4294967295U, 1, 1000000000 }, .share = 1000000 };

    if (argc != 4) {
        fprintf(stderr, "usage: ratelimit processes keys decisions\n");
        return 2;
    }

    n = atoi(argv[1]);
    keys = atoi(argv[2]);
    decisions = atoi(argv[3]);
    ngx_ncpu = sysconf(_SC_NPROCESSORS_ONLN);

    if (n < 1 || n > RATELIMIT_PROCESSES) {
        return 2;
    }

    shared = ratelimit_map(sizeof(ratelimit_shared_t));
    size = ngx_egress_ratelimit_table_size(ngx_max(keys, 65536), 64);
    table = ratelimit_map(size);

    if (ngx_egress_ratelimit_table_init(table, ngx_max(keys, 65536), 64, seed)
        != NGX_OK)
    {
        return 1;
    }

    bucket.max = ngx_max(keys, 65536);
    bucket.row = ratelimit_map(ngx_egress_ratelimit_row_size(table,
                                                             name.len));
    ngx_egress_ratelimit_row_init(table, bucket.row, &name, &bucket.rate, 0);

    for (i = 0; i < n; i++) {
        if (fork() == 0) {
            ngx_pid = getpid();
            ratelimit_worker(table, &bucket, shared, i, keys, decisions);
            _exit(0);
        }
    }

    while (shared->ready < n) {
        usleep(1000);
    }

    shared->go = 1;

    while (wait(NULL) > 0) { /* void */ }

    got = ns = cpu = 0;

    for (i = 0; i < n; i++) {
        got += shared->got[i];
        ns = ngx_max(ns, shared->ns[i]);
        cpu += shared->cpu[i];
    }

    printf("%2lu %7lu %10.1f %10.1f %10.1f %s\n", (unsigned long) n,
           (unsigned long) keys, (double) ns / (n * decisions),
           (double) cpu / (n * decisions),
           (double) size / ngx_max(keys, 65536),
           got == (uint64_t) n * decisions ? "exact" : "WRONG");

    return got != (uint64_t) n * decisions;
}


static void *
ratelimit_map(size_t size)
{
    void  *p;

    p = mmap(NULL, size, PROT_READ|PROT_WRITE, MAP_SHARED|MAP_ANON, -1, 0);

    if (p == MAP_FAILED) {
        perror("mmap");
        exit(1);
    }

    return p;
}


static void
ratelimit_worker(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ratelimit_shared_t *shared,
    ngx_uint_t me, ngx_uint_t keys, ngx_uint_t decisions)
{
    uint64_t                        ns, cpu, random, key;
    ngx_uint_t                      i;
    ngx_egress_ratelimit_clock_t    clock;
    ngx_egress_ratelimit_charge_t   charge, *refused;

    random = me + 1;

    (void) ngx_atomic_fetch_add(&shared->ready, 1);

    while (!shared->go) {
        usleep(100);
    }

    ns = ratelimit_ns(CLOCK_MONOTONIC);
    cpu = ratelimit_ns(CLOCK_PROCESS_CPUTIME_ID);

    for (i = 0; i < decisions; i++) {

        random = random * 6364136223846793005ULL + 1442695040888963407ULL;

        ngx_memzero(&charge, sizeof(ngx_egress_ratelimit_charge_t));

        charge.bucket = bucket;
        charge.cost = 1;
        charge.enabled = 1;
        charge.enforced = 1;

        if (keys) {
            key = (random >> 33) % keys;
            charge.key.len = 32;
            ngx_memcpy(charge.key.data, &key, sizeof(uint64_t));
            charge.key.hash = ngx_egress_ratelimit_hash(table, bucket->row,
                                                        charge.key.data, 32);
        }

        ngx_egress_ratelimit_clock(&clock);

        ngx_egress_ratelimit_take(table, &charge, 1, &clock, &refused);

        if (refused == NULL) {
            shared->got[me]++;
        }
    }

    shared->ns[me] = ratelimit_ns(CLOCK_MONOTONIC) - ns;
    shared->cpu[me] = ratelimit_ns(CLOCK_PROCESS_CPUTIME_ID) - cpu;
}


static uint64_t
ratelimit_ns(clockid_t clock)
{
    struct timespec  ts;

    (void) clock_gettime(clock, &ts);

    return (uint64_t) ts.tv_sec * 1000000000 + ts.tv_nsec;
}
