
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_ratelimit.h>
#include <ngx_egress_ratelimit_table.h>


/*
 * The state of a quota in a file, which is replaced as a whole:
 *
 *     egress quota 1 GENERATION KIND ZONE NAME
 *     USED END DIGEST KEY           for each key: seconds of UTC, 0 or 1, hex
 *     end NUMBER CRC32              of the lines before, hex
 *
 * The generation is one more than that of the file that was loaded: an nginx
 * that goes on with older memory, after a binary upgrade, does not write.
 */

#define NGX_EGRESS_RATELIMIT_HEAD    "egress quota 1 "
#define NGX_EGRESS_RATELIMIT_LINE    (2 * NGX_INT64_LEN + 8                   \
                                      + 2 * NGX_EGRESS_RATELIMIT_KEY)
#define NGX_EGRESS_RATELIMIT_STATE   (256 * 1024 * 1024)   /* bytes, at most */


typedef struct {
    u_char                    *pos;
    u_char                    *last;
} ngx_egress_ratelimit_reader_t;


static ngx_int_t ngx_egress_ratelimit_write_state(
    ngx_egress_ratelimit_bucket_t *bucket, ngx_str_t *text, ngx_uint_t sync,
    ngx_log_t *log);
static ngx_int_t ngx_egress_ratelimit_rename_state(ngx_str_t *name,
    u_char *tmp, ngx_str_t *text, ngx_uint_t sync, ngx_log_t *log);
static ngx_int_t ngx_egress_ratelimit_state_text(
    ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_str_t *text, ngx_log_t *log);
static ngx_int_t ngx_egress_ratelimit_copy_slots(
    ngx_egress_ratelimit_table_t *table, ngx_egress_ratelimit_row_t *row,
    ngx_egress_ratelimit_slot_t *copies, ngx_uint_t max, ngx_uint_t *n);
static u_char *ngx_egress_ratelimit_state_line(u_char *p,
    ngx_egress_ratelimit_slot_t *slot);

static ngx_int_t ngx_egress_ratelimit_read_file(ngx_str_t *name, size_t max,
    ngx_str_t *text, ngx_log_t *log);
static uint64_t ngx_egress_ratelimit_generation(ngx_str_t *text);
static const char *ngx_egress_ratelimit_parse_state(
    ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_str_t *text);
static const char *ngx_egress_ratelimit_check_end(ngx_str_t *text,
    ngx_uint_t *n);
static const char *ngx_egress_ratelimit_check_head(
    ngx_egress_ratelimit_bucket_t *bucket,
    ngx_egress_ratelimit_reader_t *reader);
static ngx_int_t ngx_egress_ratelimit_parse_line(
    ngx_egress_ratelimit_reader_t *reader, ngx_egress_ratelimit_key_t *key,
    ngx_egress_ratelimit_token_t *token);
static void ngx_egress_ratelimit_restore(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_egress_ratelimit_key_t *key,
    ngx_egress_ratelimit_token_t *token);
static ngx_str_t ngx_egress_ratelimit_word(
    ngx_egress_ratelimit_reader_t *reader, u_char end);


static const char  *ngx_egress_ratelimit_kinds[] = {
    "minute", "hour", "day", "month"
};


ngx_int_t
ngx_egress_ratelimit_save_state(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_uint_t last, ngx_log_t *log)
{
    ngx_int_t                      rc;
    ngx_str_t                      text;
    ngx_egress_ratelimit_counts_t  counts;

    ngx_egress_ratelimit_count(table, bucket->row, &counts);

    if (counts.allowed + counts.spent == bucket->row->saved) {
        return NGX_OK;
    }

    if (ngx_egress_ratelimit_read_file(&bucket->state, 64, &text, log)
        == NGX_OK)
    {
        rc = (ngx_egress_ratelimit_generation(&text)
              > bucket->row->generation);

        ngx_free(text.data);

        if (rc) {
            return NGX_OK;
        }
    }

    if (ngx_egress_ratelimit_state_text(table, bucket, &text, log) != NGX_OK) {
        return NGX_ERROR;
    }

    rc = ngx_egress_ratelimit_write_state(bucket, &text, last, log);

    ngx_free(text.data);

    if (rc == NGX_OK) {
        bucket->row->saved = counts.allowed + counts.spent;
    }

    return rc;
}


static ngx_int_t
ngx_egress_ratelimit_write_state(ngx_egress_ratelimit_bucket_t *bucket,
    ngx_str_t *text, ngx_uint_t sync, ngx_log_t *log)
{
    u_char    *tmp;
    ngx_int_t  rc;

    tmp = ngx_alloc(bucket->state.len + sizeof(".tmp.") + NGX_INT64_LEN, log);
    if (tmp == NULL) {
        return NGX_ERROR;
    }

    ngx_sprintf(tmp, "%V.tmp.%P%Z", &bucket->state, ngx_pid);

    rc = ngx_egress_ratelimit_rename_state(&bucket->state, tmp, text, sync,
                                           log);
    ngx_free(tmp);

    return rc;
}


static ngx_int_t
ngx_egress_ratelimit_rename_state(ngx_str_t *name, u_char *tmp,
    ngx_str_t *text, ngx_uint_t sync, ngx_log_t *log)
{
    ssize_t           n;
    ngx_fd_t          fd;
    ngx_core_conf_t  *ccf;

    fd = ngx_open_file(tmp, NGX_FILE_WRONLY, NGX_FILE_TRUNCATE, 0600);

    if (fd == NGX_INVALID_FILE) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      ngx_open_file_n " \"%s\" failed", tmp);
        return NGX_ERROR;
    }

    /* what the master writes last, workers read and replace */

    if (geteuid() == 0) {
        ccf = (ngx_core_conf_t *) ngx_get_conf(ngx_cycle->conf_ctx,
                                               ngx_core_module);
        (void) !fchown(fd, ccf->user, ccf->group);
    }

    n = ngx_write_fd(fd, text->data, text->len);

    if (n == (ssize_t) text->len && sync && fsync(fd) == -1) {
        n = -1;
    }

    if (ngx_close_file(fd) == NGX_FILE_ERROR || n != (ssize_t) text->len) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      ngx_write_fd_n " \"%s\" failed", tmp);
        (void) ngx_delete_file(tmp);
        return NGX_ERROR;
    }

    if (ngx_rename_file(tmp, name->data) == NGX_FILE_ERROR) {
        ngx_log_error(NGX_LOG_ERR, log, ngx_errno,
                      ngx_rename_file_n " \"%s\" to \"%V\" failed", tmp, name);
        (void) ngx_delete_file(tmp);
        return NGX_ERROR;
    }

    return NGX_OK;
}


/* text->data is to be freed */

static ngx_int_t
ngx_egress_ratelimit_state_text(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_str_t *text, ngx_log_t *log)
{
    u_char                         *p;
    uint32_t                        crc;
    ngx_uint_t                      i, n, max, lines;
    ngx_egress_ratelimit_slot_t    *copies;
    ngx_egress_ratelimit_counts_t   counts;
    ngx_egress_ratelimit_period_t  *period;

    /* some more may come meanwhile: those are left to the next time */

    ngx_egress_ratelimit_count(table, bucket->row, &counts);
    max = counts.keys + counts.keys / 8 + 16;

    copies = ngx_alloc(max * sizeof(ngx_egress_ratelimit_slot_t), log);
    if (copies == NULL) {
        return NGX_ERROR;
    }

    period = bucket->period;

    text->data = NULL;

    if (ngx_egress_ratelimit_copy_slots(table, bucket->row, copies, max, &n)
        != NGX_OK)
    {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "\"state\" of bucket \"%V\" can't be saved, a lock in "
                      "the zone is broken", &bucket->sn.str);

    } else {
        text->data = ngx_alloc(n * NGX_EGRESS_RATELIMIT_LINE + 256
                               + period->zone.len + bucket->sn.str.len, log);
    }

    if (text->data == NULL) {
        ngx_free(copies);
        return NGX_ERROR;
    }

    p = ngx_sprintf(text->data, NGX_EGRESS_RATELIMIT_HEAD "%uL %s %s %V\n",
                    bucket->row->generation,
                    ngx_egress_ratelimit_kinds[period->kind],
                    period->zone.len ? (char *) period->zone.data : "UTC",
                    &bucket->sn.str);

    for (i = 0, lines = 0; i < n; i++) {

        if (copies[i].token[0].interval == NGX_EGRESS_RATELIMIT_PERIOD
            && copies[i].token[0].level)
        {
            p = ngx_egress_ratelimit_state_line(p, &copies[i]);
            lines++;
        }
    }

    crc = ngx_crc32_long(text->data, p - text->data);
    p = ngx_sprintf(p, "end %ui %08xD\n", lines, crc);

    text->len = p - text->data;

    ngx_free(copies);

    return NGX_OK;
}


/* the token that holds goes to token[0] of the copy */

static ngx_int_t
ngx_egress_ratelimit_copy_slots(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_row_t *row, ngx_egress_ratelimit_slot_t *copies,
    ngx_uint_t max, ngx_uint_t *n)
{
    uint32_t                      k;
    ngx_uint_t                    i;
    ngx_egress_ratelimit_slot_t  *slot, *slots;

    *n = 0;

    for (i = 0; i < table->shards_n; i++) {

        if (ngx_egress_ratelimit_lock(table, i) != NGX_OK) {
            return NGX_ERROR;
        }

        slots = &table->slots[i * table->per];
        slot = (row->home == i) ? &row->slot : NULL;
        k = row->parts[i].newest;

        while (*n < max && (slot || k != NGX_EGRESS_RATELIMIT_NIL)) {

            if (slot == NULL) {
                slot = &slots[k];
                k = slot->older;
            }

            copies[*n] = *slot;
            copies[*n].token[0] = slot->token[slot->cur];
            (*n)++;

            slot = NULL;
        }

        ngx_egress_ratelimit_unlock(table, i);
    }

    return NGX_OK;
}


static u_char *
ngx_egress_ratelimit_state_line(u_char *p, ngx_egress_ratelimit_slot_t *slot)
{
    p = ngx_sprintf(p, "%uL %uL %d ", slot->token[0].level,
                    slot->token[0].last, (int) slot->digest);

    if (slot->len) {
        p = ngx_hex_dump(p, slot->data, slot->len);

    } else {
        *p++ = '-';
    }

    *p++ = '\n';

    return p;
}


void
ngx_egress_ratelimit_load_state(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_log_t *log)
{
    ngx_int_t    rc;
    ngx_str_t    text;
    const char  *error;

    bucket->row->generation = 1;

    rc = ngx_egress_ratelimit_read_file(&bucket->state,
                                        NGX_EGRESS_RATELIMIT_STATE, &text,
                                        log);
    if (rc == NGX_DECLINED) {
        return;
    }

    error = "can't be read";

    if (rc == NGX_OK) {
        bucket->row->generation = ngx_egress_ratelimit_generation(&text) + 1;
        error = ngx_egress_ratelimit_parse_state(table, bucket, &text);
        ngx_free(text.data);
    }

    if (error) {
        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "state file \"%V\" %s: bucket \"%V\" starts full",
                      &bucket->state, error, &bucket->sn.str);
    }
}


/* NGX_DECLINED: there is none; text->data is to be freed after NGX_OK */

static ngx_int_t
ngx_egress_ratelimit_read_file(ngx_str_t *name, size_t max, ngx_str_t *text,
    ngx_log_t *log)
{
    off_t            size;
    ssize_t          n;
    ngx_fd_t         fd;
    ngx_file_info_t  fi;

    fd = ngx_open_file(name->data, NGX_FILE_RDONLY, NGX_FILE_OPEN, 0);

    if (fd == NGX_INVALID_FILE) {
        return (ngx_errno == NGX_ENOENT) ? NGX_DECLINED : NGX_ERROR;
    }

    n = -1;
    text->data = NULL;

    if (ngx_fd_info(fd, &fi) != NGX_FILE_ERROR && ngx_is_file(&fi)) {

        size = ngx_min(ngx_file_size(&fi), (off_t) max);

        text->len = (size_t) size;
        text->data = ngx_alloc(text->len + 1, log);

        if (text->data) {
            n = ngx_read_fd(fd, text->data, text->len);
        }
    }

    (void) ngx_close_file(fd);

    if (n == -1 || (size_t) n != text->len) {

        if (text->data) {
            ngx_free(text->data);
        }

        return NGX_ERROR;
    }

    return NGX_OK;
}


/* 0: it can't be told */

static uint64_t
ngx_egress_ratelimit_generation(ngx_str_t *text)
{
    off_t                          n;
    size_t                         len;
    ngx_str_t                      word;
    ngx_egress_ratelimit_reader_t  reader;

    len = sizeof(NGX_EGRESS_RATELIMIT_HEAD) - 1;

    if (text->len < len
        || ngx_memcmp(text->data, NGX_EGRESS_RATELIMIT_HEAD, len) != 0)
    {
        return 0;
    }

    reader.pos = text->data + len;
    reader.last = text->data + text->len;

    word = ngx_egress_ratelimit_word(&reader, ' ');
    n = ngx_atoof(word.data, word.len);

    return (n == NGX_ERROR) ? 0 : (uint64_t) n;
}


/* NULL, or what is wrong with it */

static const char *
ngx_egress_ratelimit_parse_state(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_str_t *text)
{
    u_char                        *lines;
    ngx_uint_t                     i, n, restore;
    const char                    *error;
    ngx_egress_ratelimit_key_t     key;
    ngx_egress_ratelimit_token_t   token;
    ngx_egress_ratelimit_reader_t  reader;

    error = ngx_egress_ratelimit_check_end(text, &n);
    if (error) {
        return error;
    }

    reader.pos = text->data;
    reader.last = text->data + text->len;

    error = ngx_egress_ratelimit_check_head(bucket, &reader);
    if (error) {
        return error;
    }

    lines = reader.pos;

    /* nothing of it is taken before all of it is known to be right */

    for (restore = 0; restore < 2; restore++) {

        reader.pos = lines;

        for (i = 0; i < n; i++) {

            if (ngx_egress_ratelimit_parse_line(&reader, &key, &token)
                != NGX_OK)
            {
                return "is damaged";
            }

            if (restore) {
                ngx_egress_ratelimit_restore(table, bucket, &key, &token);
            }
        }
    }

    return NULL;
}


/* cuts the last line off */

static const char *
ngx_egress_ratelimit_check_end(ngx_str_t *text, ngx_uint_t *n)
{
    u_char                        *p;
    ngx_int_t                      lines, crc;
    ngx_str_t                      word;
    ngx_egress_ratelimit_reader_t  reader;

    if (text->len == 0 || text->data[text->len - 1] != '\n') {
        return "is torn";
    }

    for (p = text->data + text->len - 1; p > text->data; p--) {
        if (p[-1] == '\n') {
            break;
        }
    }

    reader.pos = p;
    reader.last = text->data + text->len;

    word = ngx_egress_ratelimit_word(&reader, ' ');

    if (word.len != 3 || ngx_memcmp(word.data, "end", 3) != 0) {
        return "is torn";
    }

    word = ngx_egress_ratelimit_word(&reader, ' ');
    lines = ngx_atoi(word.data, word.len);

    word = ngx_egress_ratelimit_word(&reader, '\n');
    crc = ngx_hextoi(word.data, word.len);

    text->len = p - text->data;

    if (lines == NGX_ERROR || crc == NGX_ERROR
        || (uint32_t) crc != ngx_crc32_long(text->data, text->len))
    {
        return "is damaged";
    }

    *n = lines;

    return NULL;
}


static const char *
ngx_egress_ratelimit_check_head(ngx_egress_ratelimit_bucket_t *bucket,
    ngx_egress_ratelimit_reader_t *reader)
{
    size_t                          len;
    ngx_str_t                       kind, zone, name, *own;
    ngx_egress_ratelimit_period_t  *period;

    static ngx_str_t  utc = ngx_string("UTC");

    len = sizeof(NGX_EGRESS_RATELIMIT_HEAD) - 1;

    if ((size_t) (reader->last - reader->pos) < len
        || ngx_memcmp(reader->pos, NGX_EGRESS_RATELIMIT_HEAD, len) != 0)
    {
        return "is no state of a quota";
    }

    reader->pos += len;
    (void) ngx_egress_ratelimit_word(reader, ' ');

    kind = ngx_egress_ratelimit_word(reader, ' ');
    zone = ngx_egress_ratelimit_word(reader, ' ');
    name = ngx_egress_ratelimit_word(reader, '\n');

    if (name.len != bucket->sn.str.len
        || ngx_memcmp(name.data, bucket->sn.str.data, name.len) != 0)
    {
        return "is of another bucket";
    }

    period = bucket->period;
    own = period->zone.len ? &period->zone : &utc;
    len = ngx_strlen(ngx_egress_ratelimit_kinds[period->kind]);

    if (kind.len != len
        || ngx_memcmp(kind.data, ngx_egress_ratelimit_kinds[period->kind], len)
           != 0
        || zone.len != own->len
        || ngx_memcmp(zone.data, own->data, own->len) != 0)
    {
        return "is of another period";
    }

    return NULL;
}


static ngx_int_t
ngx_egress_ratelimit_parse_line(ngx_egress_ratelimit_reader_t *reader,
    ngx_egress_ratelimit_key_t *key, ngx_egress_ratelimit_token_t *token)
{
    off_t      used, end;
    size_t     i;
    ngx_int_t  ch;
    ngx_str_t  word;

    word = ngx_egress_ratelimit_word(reader, ' ');
    used = ngx_atoof(word.data, word.len);

    word = ngx_egress_ratelimit_word(reader, ' ');
    end = ngx_atoof(word.data, word.len);

    word = ngx_egress_ratelimit_word(reader, ' ');

    if (used == NGX_ERROR || end == NGX_ERROR || word.len != 1) {
        return NGX_ERROR;
    }

    ngx_memzero(key, sizeof(ngx_egress_ratelimit_key_t));

    token->level = used;
    token->last = end;
    token->interval = NGX_EGRESS_RATELIMIT_PERIOD;
    key->digest = (word.data[0] == '1');

    word = ngx_egress_ratelimit_word(reader, '\n');

    if (word.len == 1 && word.data[0] == '-') {
        return NGX_OK;
    }

    if (word.len == 0 || word.len % 2
        || word.len > 2 * NGX_EGRESS_RATELIMIT_KEY)
    {
        return NGX_ERROR;
    }

    key->len = word.len / 2;

    for (i = 0; i < key->len; i++) {
        ch = ngx_hextoi(word.data + 2 * i, 2);

        if (ch == NGX_ERROR) {
            return NGX_ERROR;
        }

        key->data[i] = (u_char) ch;
    }

    return NGX_OK;
}


/*
 * The zone is new: nobody else has it.  On whose account the keys have been
 * made is not known any more.
 */

static void
ngx_egress_ratelimit_restore(ngx_egress_ratelimit_table_t *table,
    ngx_egress_ratelimit_bucket_t *bucket, ngx_egress_ratelimit_key_t *key,
    ngx_egress_ratelimit_token_t *token)
{
    ngx_uint_t                     shard;
    ngx_egress_ratelimit_slot_t   *slot;
    ngx_egress_ratelimit_clock_t   clock;
    ngx_egress_ratelimit_charge_t  charge;
    ngx_egress_ratelimit_bucket_t  all;

    ngx_egress_ratelimit_clock(&clock);

    if (token->last <= clock.sec) {
        return;
    }

    all = *bucket;
    all.share = 1000000;

    ngx_memzero(&charge, sizeof(ngx_egress_ratelimit_charge_t));

    charge.bucket = &all;
    charge.key = *key;
    charge.key.hash = ngx_egress_ratelimit_hash(table, bucket->row, key->data,
                                                key->len);

    shard = ngx_egress_ratelimit_shard(table, bucket->row, &charge.key);

    if (ngx_egress_ratelimit_lock(table, shard) != NGX_OK) {
        return;
    }

    slot = ngx_egress_ratelimit_get_slot(table, shard, &charge, &clock);

    if (slot) {
        slot->token[slot->cur] = *token;
    }

    ngx_egress_ratelimit_unlock(table, shard);
}


/* up to end, which is skipped; empty if there is none */

static ngx_str_t
ngx_egress_ratelimit_word(ngx_egress_ratelimit_reader_t *reader, u_char end)
{
    u_char    *p;
    ngx_str_t  word;

    word.data = reader->pos;
    word.len = 0;

    p = ngx_strlchr(reader->pos, reader->last, end);

    if (p) {
        word.len = p - reader->pos;
        reader->pos = p + 1;
    }

    return word;
}
