
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>
#include <ngx_egress_ratelimit_table.h>


static ngx_uint_t ngx_egress_ratelimit_claim(
    ngx_egress_ratelimit_table_t *table);
static ngx_uint_t ngx_egress_ratelimit_claim_slot(
    ngx_egress_ratelimit_table_t *table, ngx_uint_t i);
static void ngx_egress_ratelimit_forget(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t process);
static ngx_uint_t ngx_egress_ratelimit_sum(
    ngx_egress_ratelimit_table_t *table, uint32_t *gauges);
static uint32_t *ngx_egress_ratelimit_gauges(
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_slot_t *slot);


/*
 * What is counted up and down is counted by each process for itself, so that
 * it can be taken back when a process is gone.  A process holds a robust
 * mutex as long as it lives: whether it does, the kernel knows, and a pid
 * that is used again confuses nobody.
 */

static ngx_pid_t                      ngx_egress_ratelimit_pid;
static ngx_uint_t                     ngx_egress_ratelimit_index;
static ngx_egress_ratelimit_table_t  *ngx_egress_ratelimit_claimed;


ngx_int_t
ngx_egress_ratelimit_connect(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_slot_t *slot, ngx_uint_t max,
    ngx_egress_ratelimit_connection_t *connection)
{
    uint32_t   *gauges;
    ngx_uint_t  me;

    me = ngx_egress_ratelimit_claim(table);
    gauges = ngx_egress_ratelimit_gauges(table, slot);

    if (me == NGX_EGRESS_RATELIMIT_NIL || gauges == NULL) {
        return NGX_ERROR;
    }

    if (ngx_egress_ratelimit_sum(table, gauges) >= max) {

        ngx_egress_ratelimit_bury(table);

        if (ngx_egress_ratelimit_sum(table, gauges) >= max) {
            return NGX_DECLINED;
        }
    }

    connection->gauge = &gauges[me];
    connection->total = &slot->row->totals[me];

    (*connection->gauge)++;
    (*connection->total)++;

    return NGX_OK;
}


void
ngx_egress_ratelimit_disconnect(ngx_egress_ratelimit_connection_t *connection)
{
    if (connection->gauge == NULL) {
        return;
    }

    (*connection->gauge)--;
    (*connection->total)--;

    connection->gauge = NULL;
}


ngx_uint_t
ngx_egress_ratelimit_connected(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_slot_t *slot)
{
    uint32_t  *gauges;

    gauges = ngx_egress_ratelimit_gauges(table, slot);

    return gauges ? ngx_egress_ratelimit_sum(table, gauges) : 0;
}


ngx_uint_t
ngx_egress_ratelimit_connections(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row)
{
    if (row->totals == NULL) {
        return 0;
    }

    ngx_egress_ratelimit_bury(table);

    return ngx_egress_ratelimit_sum(table, row->totals);
}


/* the slot of this process, or NGX_EGRESS_RATELIMIT_NIL: there are too many */

static ngx_uint_t
ngx_egress_ratelimit_claim(ngx_egress_ratelimit_table_t *table)
{
    ngx_uint_t  i;

    /* forgotten by a fork, and by a reload that makes another zone */

    if (ngx_egress_ratelimit_claimed == table
        && ngx_egress_ratelimit_pid == ngx_pid)
    {
        return ngx_egress_ratelimit_index;
    }

    /* alone, and the zone may be unmapped by a reload: no lock is held */

    if (ngx_process == NGX_PROCESS_SINGLE) {
        return 0;
    }

    for (i = 0; i < table->processes_n; i++) {

        if (ngx_egress_ratelimit_claim_slot(table, i)) {
            ngx_egress_ratelimit_claimed = table;
            ngx_egress_ratelimit_pid = ngx_pid;
            ngx_egress_ratelimit_index = i;

            return i;
        }
    }

    return NGX_EGRESS_RATELIMIT_NIL;
}


static ngx_uint_t
ngx_egress_ratelimit_claim_slot(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t i)
{
    int                              rc;
    ngx_egress_ratelimit_process_t  *process;

    process = &table->processes[i];

    rc = pthread_mutex_trylock(&process->mutex);

    if (rc == EOWNERDEAD) {
        ngx_egress_ratelimit_forget(table, i);
        rc = pthread_mutex_consistent(&process->mutex);
    }

    if (rc != 0) {
        return 0;
    }

    process->pid = ngx_pid;

    return 1;
}


/* takes back what processes had that are gone */

void
ngx_egress_ratelimit_bury(ngx_egress_ratelimit_table_t *table)
{
    ngx_uint_t                       i;
    ngx_egress_ratelimit_process_t  *process;

    for (i = 0; i < table->processes_n; i++) {

        process = &table->processes[i];

        if (process->pid == 0 || process->pid == ngx_pid) {
            continue;
        }

        if (ngx_egress_ratelimit_claim_slot(table, i)) {
            process->pid = 0;
            (void) pthread_mutex_unlock(&process->mutex);
        }
    }
}


/* who is killed in here holds the mutex: the next one does it again */

static void
ngx_egress_ratelimit_forget(ngx_egress_ratelimit_table_t *table,
    ngx_uint_t process)
{
    ngx_uint_t                   i;
    ngx_egress_ratelimit_row_t  *row;

    for (row = table->rows; row; row = row->next) {
        if (row->totals) {
            row->totals[process] = 0;
            row->gauges[process] = 0;
        }
    }

    if (table->gauges == NULL) {
        return;
    }

    for (i = 0; i < table->shards_n * table->per; i++) {
        table->gauges[i * table->processes_n + process] = 0;
    }
}


static ngx_uint_t
ngx_egress_ratelimit_sum(ngx_egress_ratelimit_table_t *table,
    uint32_t *gauges)
{
    ngx_uint_t  i, n;

    n = 0;

    for (i = 0; i < table->processes_n; i++) {
        n += *(volatile uint32_t *) &gauges[i];
    }

    return n;
}


/* NULL: no bucket has asked for them so far */

static uint32_t *
ngx_egress_ratelimit_gauges(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_slot_t *slot)
{
    if (slot == &slot->row->slot) {
        return slot->row->gauges;
    }

    return table->gauges
           ? &table->gauges[(slot - table->slots) * table->processes_n] : NULL;
}
