
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>
#include <ngx_egress_ratelimit_table.h>


/* slots looked at for one that may go, and rows of others */
#define NGX_EGRESS_RATELIMIT_TRIES   8

/* tries for a lock that another processor is about to leave */
#define NGX_EGRESS_RATELIMIT_SPIN    200

/* tables below are one shard, whose bounds are exact */
#define NGX_EGRESS_RATELIMIT_SMALL   1024


typedef struct {
    ngx_uint_t                shards_n;
    ngx_uint_t                per;
    ngx_uint_t                heads;
} ngx_egress_ratelimit_sizes_t;


static void ngx_egress_ratelimit_sizes(ngx_uint_t keys,
    ngx_egress_ratelimit_sizes_t *sizes);
static ngx_int_t ngx_egress_ratelimit_mutex(pthread_mutex_t *mutex);
static void ngx_egress_ratelimit_repair(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard);
static void ngx_egress_ratelimit_clear(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard);

static ngx_egress_ratelimit_slot_t *ngx_egress_ratelimit_find(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_row_t *row, ngx_egress_ratelimit_key_t *key);
static ngx_egress_ratelimit_slot_t *ngx_egress_ratelimit_create(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_charge_t *charge, ngx_egress_ratelimit_clock_t *clock);
static ngx_uint_t ngx_egress_ratelimit_room(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_charge_t *charge, ngx_egress_ratelimit_clock_t *clock);
static ngx_uint_t ngx_egress_ratelimit_room_elsewhere(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_row_t *row, ngx_egress_ratelimit_clock_t *clock);
static ngx_uint_t ngx_egress_ratelimit_keys(
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_row_t *row);
static ngx_uint_t ngx_egress_ratelimit_owner_full(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_charge_t *charge);
static ngx_uint_t ngx_egress_ratelimit_expire(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_row_t *row,
    ngx_egress_ratelimit_clock_t *clock, ngx_uint_t tries);
static ngx_uint_t ngx_egress_ratelimit_is_full(
    ngx_egress_ratelimit_token_t *token, ngx_egress_ratelimit_rate_t *rate,
    ngx_egress_ratelimit_clock_t *clock);
static ngx_uint_t ngx_egress_ratelimit_expire_others(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_clock_t *clock);
static void ngx_egress_ratelimit_remove(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, uint32_t i);

static void ngx_egress_ratelimit_link(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, uint32_t i);
static void ngx_egress_ratelimit_lru_insert(
    ngx_egress_ratelimit_slot_t *slots, ngx_egress_ratelimit_part_t *part,
    uint32_t i);
static void ngx_egress_ratelimit_lru_remove(
    ngx_egress_ratelimit_slot_t *slots, ngx_egress_ratelimit_part_t *part,
    uint32_t i);
static uint32_t *ngx_egress_ratelimit_owner_head(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_row_t *row, uint64_t hash);
static uint32_t ngx_egress_ratelimit_owner_find(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_row_t *row, uint64_t hash);
static uint32_t ngx_egress_ratelimit_owner_take(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard,
    ngx_egress_ratelimit_row_t *row, uint64_t hash);
static void ngx_egress_ratelimit_owner_give(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t shard, uint32_t i);


#define ngx_egress_ratelimit_slots(table, shard)                              \
    (&(table)->slots[(shard) * (table)->per])

#define ngx_egress_ratelimit_owners(table, shard)                             \
    (&(table)->owners[(shard) * (table)->per])

#define ngx_egress_ratelimit_head(table, shard, hash)                         \
    (&(table)->heads[(shard) * ((table)->mask + 1)                            \
                     + ((hash) & (table)->mask)])

#define ngx_egress_ratelimit_rotl(x, b)  (((x) << (b)) | ((x) >> (64 - (b))))


/*
 * Keys fall into shards by chance: each has room for an eighth more than its
 * part, and for what small numbers scatter.
 */

static void
ngx_egress_ratelimit_sizes(ngx_uint_t keys,
    ngx_egress_ratelimit_sizes_t *sizes)
{
    if (keys < NGX_EGRESS_RATELIMIT_SMALL) {
        sizes->shards_n = 1;
        sizes->per = keys;

    } else {
        sizes->shards_n = NGX_EGRESS_RATELIMIT_SHARDS;
        sizes->per = keys / NGX_EGRESS_RATELIMIT_SHARDS;
        sizes->per += sizes->per / 8 + 32;
    }

    for (sizes->heads = 1; sizes->heads < sizes->per; sizes->heads <<= 1) {
        /* void */
    }
}


size_t
ngx_egress_ratelimit_table_size(ngx_uint_t keys, ngx_uint_t processes)
{
    ngx_egress_ratelimit_sizes_t  sizes;

    ngx_egress_ratelimit_sizes(keys, &sizes);

    return ngx_align(sizeof(ngx_egress_ratelimit_table_t), 128)
           + processes * sizeof(ngx_egress_ratelimit_process_t)
           + sizes.shards_n * (sizeof(ngx_egress_ratelimit_shard_t)
                  + sizes.per * (sizeof(ngx_egress_ratelimit_slot_t)
                                 + sizeof(ngx_egress_ratelimit_owner_t))
                  + sizes.heads * 2 * sizeof(uint32_t));
}


size_t
ngx_egress_ratelimit_gauges_size(ngx_egress_ratelimit_table_t *table)
{
    return table->shards_n * table->per * table->processes_n
           * sizeof(uint32_t);
}


ngx_int_t
ngx_egress_ratelimit_table_init(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t keys, ngx_uint_t processes, uint64_t seed[2])
{
    u_char                       *p;
    ngx_uint_t                    i;
    ngx_egress_ratelimit_sizes_t  sizes;

    ngx_egress_ratelimit_sizes(keys, &sizes);

    table->keys = keys;
    table->processes_n = processes;
    table->shards_n = sizes.shards_n;
    table->per = sizes.per;
    table->mask = sizes.heads - 1;
    table->seed[0] = seed[0];
    table->seed[1] = seed[1];

    p = (u_char *) table + ngx_align(sizeof(ngx_egress_ratelimit_table_t),
                                     128);

    table->slots = (ngx_egress_ratelimit_slot_t *) p;
    p += sizes.shards_n * sizes.per * sizeof(ngx_egress_ratelimit_slot_t);

    table->shards = (ngx_egress_ratelimit_shard_t *) p;
    p += sizes.shards_n * sizeof(ngx_egress_ratelimit_shard_t);

    table->owners = (ngx_egress_ratelimit_owner_t *) p;
    p += sizes.shards_n * sizes.per * sizeof(ngx_egress_ratelimit_owner_t);

    table->processes = (ngx_egress_ratelimit_process_t *) p;
    p += processes * sizeof(ngx_egress_ratelimit_process_t);

    table->heads = (uint32_t *) p;
    table->oheads = table->heads + sizes.shards_n * sizes.heads;

    for (i = 0; i < processes; i++) {
        if (ngx_egress_ratelimit_mutex(&table->processes[i].mutex) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    for (i = 0; i < sizes.shards_n; i++) {

        if (ngx_egress_ratelimit_mutex(&table->shards[i].mutex) != NGX_OK) {
            return NGX_ERROR;
        }

        ngx_egress_ratelimit_repair(table, i);
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_ratelimit_mutex(pthread_mutex_t *mutex)
{
    int                  rc;
    pthread_mutexattr_t  attr;

    if (pthread_mutexattr_init(&attr) != 0) {
        return NGX_ERROR;
    }

    rc = pthread_mutexattr_setpshared(&attr, PTHREAD_PROCESS_SHARED);

    if (rc == 0) {
        rc = pthread_mutexattr_setrobust(&attr, PTHREAD_MUTEX_ROBUST);
    }

    if (rc == 0) {
        rc = pthread_mutex_init(mutex, &attr);
    }

    (void) pthread_mutexattr_destroy(&attr);

    return (rc == 0) ? NGX_OK : NGX_ERROR;
}


size_t
ngx_egress_ratelimit_row_size(ngx_egress_ratelimit_table_t *table, size_t len)
{
    return offsetof(ngx_egress_ratelimit_row_t, parts)
           + table->shards_n * sizeof(ngx_egress_ratelimit_part_t) + len;
}


void
ngx_egress_ratelimit_row_init(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row, ngx_str_t *name,
    ngx_egress_ratelimit_rate_t *rate, uint64_t now)
{
    ngx_uint_t  i;

    row->name.len = name->len;
    row->name.data = (u_char *) row->parts
                     + table->shards_n * sizeof(ngx_egress_ratelimit_part_t);
    ngx_memcpy(row->name.data, name->data, name->len);

    row->home = ngx_egress_ratelimit_hash(table, NULL, name->data, name->len)
                % table->shards_n;

    row->slot.row = row;
    row->slot.used = 1;
    ngx_egress_ratelimit_token_init(&row->slot.token[0], rate, now);

    for (i = 0; i < table->shards_n; i++) {
        row->parts[i].rate = *rate;
        row->parts[i].newest = NGX_EGRESS_RATELIMIT_NIL;
        row->parts[i].oldest = NGX_EGRESS_RATELIMIT_NIL;
    }

    /* workers may walk along the list meanwhile */

    row->next = table->rows;
    ngx_memory_barrier();
    table->rows = row;
}


ngx_str_t *
ngx_egress_ratelimit_row_name(ngx_egress_ratelimit_row_t *row)
{
    return &row->name;
}


ngx_egress_ratelimit_row_t *
ngx_egress_ratelimit_table_rows(ngx_egress_ratelimit_table_t *table)
{
    return table->rows;
}


ngx_egress_ratelimit_row_t *
ngx_egress_ratelimit_row_next(ngx_egress_ratelimit_row_t *row)
{
    return row->next;
}


/* SipHash-2-4 of Aumasson and Bernstein, https://131002.net/siphash/ */

uint64_t
ngx_egress_ratelimit_hash(ngx_egress_ratelimit_table_t *table, void *salt,
    u_char *data, size_t len)
{
    uint64_t    m, k0, k1, v0, v1, v2, v3;
    ngx_uint_t  i, n, last;

    k0 = table->seed[0] ^ (uint64_t) (uintptr_t) salt;
    k1 = table->seed[1];

    v0 = k0 ^ 0x736f6d6570736575ULL;
    v1 = k1 ^ 0x646f72616e646f6dULL;
    v2 = k0 ^ 0x6c7967656e657261ULL;
    v3 = k1 ^ 0x7465646279746573ULL;

    last = len / 8 + 1;

    /* the words, the last one with the length, and the end */

    for (i = 0; i <= last; i++) {

        m = 0;
        n = 4;

        if (i < last) {
            ngx_memcpy(&m, data + i * 8, (i < last - 1) ? 8 : len % 8);
            m |= (i == last - 1) ? (uint64_t) len << 56 : 0;
            n = 2;

        } else {
            v2 ^= 0xff;
        }

        v3 ^= m;

        while (n--) {
            v0 += v1;
            v2 += v3;
            v1 = ngx_egress_ratelimit_rotl(v1, 13) ^ v0;
            v3 = ngx_egress_ratelimit_rotl(v3, 16) ^ v2;
            v0 = ngx_egress_ratelimit_rotl(v0, 32);
            v2 += v1;
            v0 += v3;
            v1 = ngx_egress_ratelimit_rotl(v1, 17) ^ v2;
            v3 = ngx_egress_ratelimit_rotl(v3, 21) ^ v0;
            v2 = ngx_egress_ratelimit_rotl(v2, 32);
        }

        v0 ^= m;
    }

    return v0 ^ v1 ^ v2 ^ v3;
}


ngx_uint_t
ngx_egress_ratelimit_shard(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row, ngx_egress_ratelimit_key_t *key)
{
    return key->len ? (key->hash >> 32) % table->shards_n : row->home;
}


void
ngx_egress_ratelimit_clock(ngx_egress_ratelimit_clock_t *clock)
{
    struct timespec  ts;

    (void) clock_gettime(CLOCK_MONOTONIC, &ts);

    clock->ms = (uint64_t) ts.tv_sec * 1000 + ts.tv_nsec / 1000000;

    (void) clock_gettime(CLOCK_REALTIME, &ts);

    clock->sec = (uint64_t) ts.tv_sec;
}


ngx_int_t
ngx_egress_ratelimit_lock(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard)
{
    int               rc;
    ngx_uint_t        i;
    pthread_mutex_t  *mutex;

    mutex = &table->shards[shard].mutex;

    /* glibc's trylock of such a mutex leaves it locked: others would wait */

    if (table->shards[shard].broken) {
        return NGX_ERROR;
    }

    rc = pthread_mutex_trylock(mutex);

    for (i = 0; rc == EBUSY && ngx_ncpu > 1; i++) {

        if (i == NGX_EGRESS_RATELIMIT_SPIN) {
            break;
        }

        ngx_cpu_pause();
        rc = pthread_mutex_trylock(mutex);
    }

    if (rc == EBUSY) {
        rc = pthread_mutex_lock(mutex);
    }

    if (rc == 0) {
        return NGX_OK;
    }

    if (rc != EOWNERDEAD) {
        table->shards[shard].broken = 1;
        return NGX_ERROR;
    }

    /* killed in the middle of this, too, the next one begins anew */

    ngx_egress_ratelimit_repair(table, shard);
    table->shards[shard].repairs++;

    if (pthread_mutex_consistent(mutex) != 0) {
        table->shards[shard].broken = 1;
        (void) pthread_mutex_unlock(mutex);
        return NGX_ERROR;
    }

    return NGX_OK;
}


void
ngx_egress_ratelimit_unlock(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard)
{
    (void) pthread_mutex_unlock(&table->shards[shard].mutex);
}


/* the order of the LRU lists is lost, no bucket is */

static void
ngx_egress_ratelimit_repair(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard)
{
    uint32_t                       i;
    ngx_egress_ratelimit_slot_t   *slots;
    ngx_egress_ratelimit_owner_t  *owners;
    ngx_egress_ratelimit_shard_t  *sd;

    ngx_egress_ratelimit_clear(table, shard);

    sd = &table->shards[shard];
    slots = ngx_egress_ratelimit_slots(table, shard);
    owners = ngx_egress_ratelimit_owners(table, shard);

    for (i = table->per; i-- > 0; /* void */ ) {

        if (!slots[i].used) {
            slots[i].next = sd->free;
            sd->free = i;
            continue;
        }

        owners[slots[i].owner].n++;
        ngx_egress_ratelimit_link(table, shard, i);
    }

    for (i = table->per; i-- > 0; /* void */ ) {
        uint32_t  *head;

        head = owners[i].n
               ? ngx_egress_ratelimit_owner_head(table, shard, owners[i].row,
                                                 owners[i].hash)
               : &sd->ofree;

        owners[i].next = *head;
        *head = i;
    }
}


static void
ngx_egress_ratelimit_clear(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard)
{
    uint32_t                       i;
    ngx_uint_t                     heads;
    ngx_egress_ratelimit_row_t    *row;
    ngx_egress_ratelimit_owner_t  *owners;
    ngx_egress_ratelimit_shard_t  *sd;

    sd = &table->shards[shard];
    sd->free = NGX_EGRESS_RATELIMIT_NIL;
    sd->ofree = NGX_EGRESS_RATELIMIT_NIL;
    sd->hand = NULL;

    heads = table->mask + 1;

    /* all bits set: NGX_EGRESS_RATELIMIT_NIL */

    ngx_memset(&table->heads[shard * heads], 0xff, heads * sizeof(uint32_t));
    ngx_memset(&table->oheads[shard * heads], 0xff, heads * sizeof(uint32_t));

    for (row = table->rows; row; row = row->next) {
        row->parts[shard].n = 0;
        row->parts[shard].newest = NGX_EGRESS_RATELIMIT_NIL;
        row->parts[shard].oldest = NGX_EGRESS_RATELIMIT_NIL;
    }

    owners = ngx_egress_ratelimit_owners(table, shard);

    for (i = 0; i < table->per; i++) {
        owners[i].n = 0;
    }
}


ngx_egress_ratelimit_slot_t *
ngx_egress_ratelimit_get_slot(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_clock_t *clock)
{
    uint32_t                      i;
    ngx_egress_ratelimit_row_t   *row;
    ngx_egress_ratelimit_part_t  *part;
    ngx_egress_ratelimit_slot_t  *slot, *slots;

    row = charge->bucket->row;

    if (charge->key.len == 0) {
        return &row->slot;
    }

    slot = ngx_egress_ratelimit_find(table, shard, row, &charge->key);

    if (slot == NULL) {
        return ngx_egress_ratelimit_create(table, shard, charge, clock);
    }

    slots = ngx_egress_ratelimit_slots(table, shard);
    part = &row->parts[shard];
    i = slot - slots;

    if (part->newest != i) {
        ngx_egress_ratelimit_lru_remove(slots, part, i);
        ngx_egress_ratelimit_lru_insert(slots, part, i);
    }

    return slot;
}


static ngx_egress_ratelimit_slot_t *
ngx_egress_ratelimit_find(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_row_t *row,
    ngx_egress_ratelimit_key_t *key)
{
    uint32_t                      i, hash;
    ngx_egress_ratelimit_slot_t  *slot, *slots;

    slots = ngx_egress_ratelimit_slots(table, shard);
    hash = (uint32_t) key->hash;

    for (i = *ngx_egress_ratelimit_head(table, shard, hash);
         i != NGX_EGRESS_RATELIMIT_NIL;
         i = slot->next)
    {
        slot = &slots[i];

        if (slot->hash == hash && slot->row == row && slot->len == key->len
            && slot->digest == key->digest
            && ngx_memcmp(slot->data, key->data, key->len) == 0)
        {
            return slot;
        }
    }

    return NULL;
}


static ngx_egress_ratelimit_slot_t *
ngx_egress_ratelimit_create(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_clock_t *clock)
{
    uint32_t                       i;
    ngx_egress_ratelimit_key_t    *key;
    ngx_egress_ratelimit_row_t    *row;
    ngx_egress_ratelimit_slot_t   *slot;
    ngx_egress_ratelimit_shard_t  *sd;

    if (!ngx_egress_ratelimit_room(table, shard, charge, clock)) {
        return NULL;
    }

    sd = &table->shards[shard];
    row = charge->bucket->row;
    key = &charge->key;

    i = sd->free;
    slot = &ngx_egress_ratelimit_slots(table, shard)[i];
    sd->free = slot->next;

    slot->hash = (uint32_t) key->hash;
    slot->row = row;
    slot->len = key->len;
    slot->digest = key->digest;
    ngx_memcpy(slot->data, key->data, key->len);

    slot->cur = 0;
    ngx_egress_ratelimit_token_init(&slot->token[0], &charge->bucket->rate,
                                    clock->ms);

    slot->owner = ngx_egress_ratelimit_owner_take(table, shard, row,
                                                  charge->owner);
    ngx_memory_barrier();
    slot->used = 1;
    ngx_memory_barrier();

    ngx_egress_ratelimit_link(table, shard, i);

    return slot;
}


/* is there a free slot that this charge may take? */

static ngx_uint_t
ngx_egress_ratelimit_room(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_charge_t *charge,
    ngx_egress_ratelimit_clock_t *clock)
{
    ngx_egress_ratelimit_row_t     *row;
    ngx_egress_ratelimit_bucket_t  *bucket;

    bucket = charge->bucket;
    row = bucket->row;

    ngx_egress_ratelimit_expire(table, shard, row, clock, 1);

    if (ngx_egress_ratelimit_owner_full(table, shard, charge)) {

        ngx_egress_ratelimit_expire(table, shard, row, clock,
                                    NGX_EGRESS_RATELIMIT_TRIES);

        if (ngx_egress_ratelimit_owner_full(table, shard, charge)) {
            return 0;
        }
    }

    if (ngx_egress_ratelimit_keys(table, row) >= bucket->max
        && ngx_egress_ratelimit_expire(table, shard, row, clock,
                                       NGX_EGRESS_RATELIMIT_TRIES)
           == 0
        && !ngx_egress_ratelimit_room_elsewhere(table, shard, row, clock))
    {
        return 0;
    }

    if (table->shards[shard].free != NGX_EGRESS_RATELIMIT_NIL
        || ngx_egress_ratelimit_expire(table, shard, row, clock,
                                       NGX_EGRESS_RATELIMIT_TRIES))
    {
        return 1;
    }

    return ngx_egress_ratelimit_expire_others(table, shard, clock);
}


/*
 * The row has its share, and all that this shard has of it is in use: one of
 * another shard may go.  Locks are waited for in their order only, so here
 * it is not waited.
 */

static ngx_uint_t
ngx_egress_ratelimit_room_elsewhere(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_row_t *row,
    ngx_egress_ratelimit_clock_t *clock)
{
    int         rc;
    ngx_uint_t  i, n, other;

    n = 0;

    for (i = 1; n == 0 && i < table->shards_n; i++) {

        other = (shard + i) % table->shards_n;

        if (table->shards[other].broken) {
            continue;
        }

        rc = pthread_mutex_trylock(&table->shards[other].mutex);

        if (rc == EOWNERDEAD) {
            ngx_egress_ratelimit_repair(table, other);
            table->shards[other].repairs++;
            (void) pthread_mutex_consistent(&table->shards[other].mutex);

        } else if (rc != 0) {

            if (rc != EBUSY) {
                table->shards[other].broken = 1;
            }

            continue;
        }

        n = ngx_egress_ratelimit_expire(table, other, row, clock, 1);

        ngx_egress_ratelimit_unlock(table, other);
    }

    return n;
}


/* those of other shards may change meanwhile: by a few at most */

static ngx_uint_t
ngx_egress_ratelimit_keys(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < table->shards_n; i++) {
        n += *(volatile uint32_t *) &row->parts[i].n;
    }

    return n;
}


static ngx_uint_t
ngx_egress_ratelimit_owner_full(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_charge_t *charge)
{
    uint32_t                        i;
    ngx_uint_t                      limit;
    ngx_egress_ratelimit_bucket_t  *bucket;

    bucket = charge->bucket;

    if (bucket->share == 1000000) {
        return 0;
    }

    i = ngx_egress_ratelimit_owner_find(table, shard, bucket->row,
                                        charge->owner);
    if (i == NGX_EGRESS_RATELIMIT_NIL) {
        return 0;
    }

    limit = (uint64_t) bucket->max * bucket->share / 1000000
            / table->shards_n;

    if (table->shards_n > 1) {
        limit += limit / 8 + 2;
    }

    return ngx_egress_ratelimit_owners(table, shard)[i].n >= ngx_max(limit, 1);
}


/*
 * Frees those of the least recently used that are full again: they are as
 * good as none.  The others are put to the other end, so that next time it
 * is the turn of the next.
 */

static ngx_uint_t
ngx_egress_ratelimit_expire(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_row_t *row,
    ngx_egress_ratelimit_clock_t *clock,
    ngx_uint_t tries)
{
    uint32_t                      i;
    ngx_uint_t                    n;
    ngx_egress_ratelimit_part_t  *part;
    ngx_egress_ratelimit_slot_t  *slots;
    ngx_egress_ratelimit_token_t  token;

    n = 0;
    part = &row->parts[shard];
    slots = ngx_egress_ratelimit_slots(table, shard);

    while (tries-- && part->oldest != NGX_EGRESS_RATELIMIT_NIL) {

        i = part->oldest;
        token = slots[i].token[slots[i].cur];

        if (!ngx_egress_ratelimit_is_full(&token, &part->rate, clock)
            || ngx_egress_ratelimit_connected(table, &slots[i]))
        {
            ngx_egress_ratelimit_lru_remove(slots, part, i);
            ngx_egress_ratelimit_lru_insert(slots, part, i);
            continue;
        }

        ngx_egress_ratelimit_remove(table, shard, i);
        part->evicted++;
        n++;
    }

    return n;
}


/* is the bucket as good as none? */

static ngx_uint_t
ngx_egress_ratelimit_is_full(ngx_egress_ratelimit_token_t *token,
    ngx_egress_ratelimit_rate_t *rate, ngx_egress_ratelimit_clock_t *clock)
{
    if (rate->interval != NGX_EGRESS_RATELIMIT_PERIOD) {
        return ngx_egress_ratelimit_token_full(token, rate, clock->ms);
    }

    return token->interval != NGX_EGRESS_RATELIMIT_PERIOD
           || token->level == 0 || clock->sec >= token->last;
}


static ngx_uint_t
ngx_egress_ratelimit_expire_others(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_clock_t *clock)
{
    ngx_uint_t                     i;
    ngx_egress_ratelimit_row_t    *row;
    ngx_egress_ratelimit_shard_t  *sd;

    sd = &table->shards[shard];

    for (i = 0; i < NGX_EGRESS_RATELIMIT_TRIES; i++) {

        row = sd->hand ? sd->hand : table->rows;
        sd->hand = row->next;

        if (ngx_egress_ratelimit_expire(table, shard, row, clock,
                                        NGX_EGRESS_RATELIMIT_TRIES))
        {
            return 1;
        }
    }

    return 0;
}


static void
ngx_egress_ratelimit_remove(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, uint32_t i)
{
    uint32_t                      *p;
    ngx_egress_ratelimit_slot_t   *slot, *slots;
    ngx_egress_ratelimit_shard_t  *sd;

    sd = &table->shards[shard];
    slots = ngx_egress_ratelimit_slots(table, shard);
    slot = &slots[i];

    slot->used = 0;
    ngx_memory_barrier();

    for (p = ngx_egress_ratelimit_head(table, shard, slot->hash);
         *p != i;
         p = &slots[*p].next)
    {
        /* void */
    }

    *p = slot->next;

    ngx_egress_ratelimit_lru_remove(slots, &slot->row->parts[shard], i);
    slot->row->parts[shard].n--;

    ngx_egress_ratelimit_owner_give(table, shard, slot->owner);

    slot->next = sd->free;
    sd->free = i;
}


static void
ngx_egress_ratelimit_link(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, uint32_t i)
{
    uint32_t                     *head;
    ngx_egress_ratelimit_part_t  *part;
    ngx_egress_ratelimit_slot_t  *slots;

    slots = ngx_egress_ratelimit_slots(table, shard);
    part = &slots[i].row->parts[shard];

    head = ngx_egress_ratelimit_head(table, shard, slots[i].hash);
    slots[i].next = *head;
    *head = i;

    ngx_egress_ratelimit_lru_insert(slots, part, i);
    part->n++;
}


static void
ngx_egress_ratelimit_lru_insert(ngx_egress_ratelimit_slot_t *slots,
    ngx_egress_ratelimit_part_t *part, uint32_t i)
{
    slots[i].newer = NGX_EGRESS_RATELIMIT_NIL;
    slots[i].older = part->newest;

    if (part->newest != NGX_EGRESS_RATELIMIT_NIL) {
        slots[part->newest].newer = i;

    } else {
        part->oldest = i;
    }

    part->newest = i;
}


static void
ngx_egress_ratelimit_lru_remove(ngx_egress_ratelimit_slot_t *slots,
    ngx_egress_ratelimit_part_t *part, uint32_t i)
{
    if (slots[i].newer != NGX_EGRESS_RATELIMIT_NIL) {
        slots[slots[i].newer].older = slots[i].older;

    } else {
        part->newest = slots[i].older;
    }

    if (slots[i].older != NGX_EGRESS_RATELIMIT_NIL) {
        slots[slots[i].older].newer = slots[i].newer;

    } else {
        part->oldest = slots[i].newer;
    }
}


static uint32_t *
ngx_egress_ratelimit_owner_head(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_row_t *row, uint64_t hash)
{
    hash ^= (uintptr_t) row >> 6;

    return &table->oheads[shard * (table->mask + 1) + (hash & table->mask)];
}


static uint32_t
ngx_egress_ratelimit_owner_find(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_row_t *row, uint64_t hash)
{
    uint32_t                       i;
    ngx_egress_ratelimit_owner_t  *owners;

    owners = ngx_egress_ratelimit_owners(table, shard);

    for (i = *ngx_egress_ratelimit_owner_head(table, shard, row, hash);
         i != NGX_EGRESS_RATELIMIT_NIL;
         i = owners[i].next)
    {
        if (owners[i].hash == hash && owners[i].row == row) {
            return i;
        }
    }

    return NGX_EGRESS_RATELIMIT_NIL;
}


/* there are as many owners as slots: one is free if a slot was */

static uint32_t
ngx_egress_ratelimit_owner_take(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, ngx_egress_ratelimit_row_t *row, uint64_t hash)
{
    uint32_t                       i, *head;
    ngx_egress_ratelimit_owner_t  *owners;
    ngx_egress_ratelimit_shard_t  *sd;

    owners = ngx_egress_ratelimit_owners(table, shard);

    i = ngx_egress_ratelimit_owner_find(table, shard, row, hash);

    if (i == NGX_EGRESS_RATELIMIT_NIL) {
        sd = &table->shards[shard];

        i = sd->ofree;
        sd->ofree = owners[i].next;

        owners[i].hash = hash;
        owners[i].row = row;
        owners[i].n = 0;

        head = ngx_egress_ratelimit_owner_head(table, shard, row, hash);
        owners[i].next = *head;
        *head = i;
    }

    owners[i].n++;

    return i;
}


static void
ngx_egress_ratelimit_owner_give(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t shard, uint32_t i)
{
    uint32_t                      *p;
    ngx_egress_ratelimit_owner_t  *owners;
    ngx_egress_ratelimit_shard_t  *sd;

    owners = ngx_egress_ratelimit_owners(table, shard);

    if (--owners[i].n) {
        return;
    }

    for (p = ngx_egress_ratelimit_owner_head(table, shard, owners[i].row,
                                             owners[i].hash);
         *p != i;
         p = &owners[*p].next)
    {
        /* void */
    }

    *p = owners[i].next;

    sd = &table->shards[shard];
    owners[i].next = sd->ofree;
    sd->ofree = i;
}


void
ngx_egress_ratelimit_count(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row, ngx_egress_ratelimit_counts_t *counts)
{
    ngx_uint_t                    i;
    ngx_egress_ratelimit_part_t  *part;

    ngx_memzero(counts, sizeof(ngx_egress_ratelimit_counts_t));

    for (i = 0; i < table->shards_n; i++) {
        part = &row->parts[i];

        counts->keys += part->n;
        counts->allowed += part->allowed;
        counts->limited += part->limited;
        counts->would_limit += part->would_limit;
        counts->full += part->full;
        counts->evicted += part->evicted;
        counts->spent += part->spent;
    }

    counts->allowed += row->errors[NGX_EGRESS_RATELIMIT_ERROR_ALLOWED];
    counts->limited += row->errors[NGX_EGRESS_RATELIMIT_ERROR_LIMITED];
    counts->would_limit += row->errors[NGX_EGRESS_RATELIMIT_ERROR_WOULD];

    for (i = 0; i < NGX_EGRESS_RATELIMIT_ERRORS; i++) {
        counts->errors += row->errors[i];
    }
}
