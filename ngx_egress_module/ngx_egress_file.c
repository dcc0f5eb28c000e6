
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <grp.h>
#include <ngx_egress_core.h>
#include <ngx_egress_endpoint.h>


/* seconds for which a file is left alone: it may be half written */
#define NGX_EGRESS_FILE_SETTLED   1

/* bytes; a CRL of a public CA has some millions */
#define NGX_EGRESS_FILE_MAX       (64 * 1024 * 1024)

/* supplementary groups of the workers that are looked at */
#define NGX_EGRESS_GROUPS         64


/* who the workers will be */

typedef struct {
    uid_t                     uid;
    gid_t                     gid;
    gid_t                     groups[NGX_EGRESS_GROUPS];
    int                       ngroups;
} ngx_egress_reader_t;


static void ngx_egress_file_look(ngx_egress_file_t *file,
    ngx_egress_file_t *now);
static ngx_uint_t ngx_egress_file_same(ngx_egress_file_t *a,
    ngx_egress_file_t *b);
static ngx_uint_t ngx_egress_watch_readable(ngx_cycle_t *cycle,
    ngx_egress_watch_t *watch);
static ngx_uint_t ngx_egress_file_readable(ngx_egress_reader_t *reader,
    ngx_str_t *name);
static ngx_uint_t ngx_egress_file_permits(ngx_egress_reader_t *reader,
    char *path, ngx_uint_t bit);


static ngx_str_t  ngx_egress_no_memory = ngx_string("out of memory");


ngx_int_t
ngx_egress_watch_init(ngx_cycle_t *cycle, ngx_egress_watch_t *watch,
    ngx_str_t **names, ngx_uint_t n)
{
    ngx_uint_t          i;
    ngx_egress_file_t  *file;

    watch->files = ngx_pcalloc(cycle->pool, n * sizeof(ngx_egress_file_t));
    if (watch->files == NULL) {
        return NGX_ERROR;
    }

    for (i = 0; i < n; i++) {

        if (names[i] == NULL || names[i]->len == 0) {
            continue;
        }

        file = &watch->files[watch->n++];
        file->name = *names[i];

        if (ngx_conf_full_name(cycle, &file->name, 1) != NGX_OK) {
            return NGX_ERROR;
        }
    }

    watch->readable = ngx_egress_watch_readable(cycle, watch);

    return NGX_OK;
}


void
ngx_egress_watch_mark(ngx_egress_watch_t *watch)
{
    ngx_uint_t  i;

    for (i = 0; i < watch->n; i++) {
        ngx_egress_file_look(&watch->files[i], &watch->files[i]);
    }

    watch->checked = ngx_current_msec;
}


ngx_int_t
ngx_egress_watch_check(ngx_egress_watch_t *watch)
{
    ngx_uint_t         i, changed;
    ngx_egress_file_t  now;

    if (!ngx_egress_watch_due(watch)) {
        return NGX_DECLINED;
    }

    watch->checked = ngx_current_msec;

    changed = 0;

    for (i = 0; i < watch->n; i++) {

        ngx_egress_file_look(&watch->files[i], &now);

        if (ngx_egress_file_same(&watch->files[i], &now)) {
            continue;
        }

        changed = 1;

        if (now.err == 0 && now.mtime <= ngx_time()
            && ngx_time() - now.mtime < NGX_EGRESS_FILE_SETTLED)
        {
            return NGX_DECLINED;
        }
    }

    if (!changed) {
        return NGX_DECLINED;
    }

    ngx_egress_watch_mark(watch);

    return NGX_OK;
}


static void
ngx_egress_file_look(ngx_egress_file_t *file, ngx_egress_file_t *now)
{
    ngx_file_info_t  fi;

    now->err = 0;
    now->mtime = 0;
    now->nsec = 0;
    now->inode = 0;
    now->size = 0;
    now->mode = 0;
    now->uid = 0;
    now->gid = 0;

    if (ngx_file_info(file->name.data, &fi) == NGX_FILE_ERROR) {
        now->err = ngx_errno;
        return;
    }

    now->mtime = ngx_file_mtime(&fi);
    now->inode = ngx_file_uniq(&fi);
    now->size = ngx_file_size(&fi);
    now->mode = fi.st_mode;
    now->uid = fi.st_uid;
    now->gid = fi.st_gid;
#if (__linux__)
    now->nsec = fi.st_mtim.tv_nsec;
#endif
}


static ngx_uint_t
ngx_egress_file_same(ngx_egress_file_t *a, ngx_egress_file_t *b)
{
    return a->err == b->err
           && a->mtime == b->mtime
           && a->nsec == b->nsec
           && a->inode == b->inode
           && a->size == b->size
           && a->mode == b->mode
           && a->uid == b->uid
           && a->gid == b->gid;
}


const char *
ngx_egress_file_unfit(ngx_egress_file_t *file)
{
    const char  *error;

    /* one that is not there is told of by who opens it */

    error = (file->err) ? NULL
            : !S_ISREG(file->mode) ? "not a regular file"
            : (file->size > NGX_EGRESS_FILE_MAX) ? "more than 64 MB in"
            : NULL;

    if (error) {
        ERR_clear_error();
    }

    return error;
}


void
ngx_egress_watch_report(ngx_egress_watch_t *watch, const char *what,
    ngx_str_t *error, ngx_log_t *log)
{
    ngx_str_t          *name;
    ngx_egress_zone_t  *zone;

    static ngx_str_t  none = ngx_string("no file");

    zone = ngx_egress_endpoint_zone(NULL);
    name = watch->n ? &watch->files[0].name : &none;

    if (error) {
        (void) ngx_atomic_fetch_add(&zone->tls_failures, 1);

        ngx_log_error(NGX_LOG_ERR, log, 0,
                      "%s \"%V\" changed and can't be used, what was read "
                      "before stays: %V", what, name, error);

    } else {
        (void) ngx_atomic_fetch_add(&zone->tls_reloads, 1);

        ngx_log_error(NGX_LOG_NOTICE, log, 0,
                      "%s \"%V\" changed and was read again", what, name);
    }

    ngx_egress_endpoint_stale((error != NULL) - (ngx_int_t) watch->stale);

    watch->stale = (error != NULL);
}


/*
 * The workers' right to read is worked out from owners and modes: only they
 * could try, and they don't exist yet.  What an ACL takes away is not seen.
 */

static ngx_uint_t
ngx_egress_watch_readable(ngx_cycle_t *cycle, ngx_egress_watch_t *watch)
{
    ngx_uint_t            i;
    ngx_core_conf_t      *ccf;
    ngx_egress_reader_t   reader;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    if (geteuid() != 0 || ccf->master == 0 || ccf->user == 0
        || ccf->user == (ngx_uid_t) NGX_CONF_UNSET_UINT)
    {
        return 1;
    }

    reader.uid = ccf->user;
    reader.gid = ccf->group;
    reader.ngroups = NGX_EGRESS_GROUPS;

    if (ccf->username == NULL
        || getgrouplist(ccf->username, reader.gid, reader.groups,
                        &reader.ngroups)
           == -1)
    {
        reader.ngroups = 0;
    }

    for (i = 0; i < watch->n; i++) {
        if (!ngx_egress_file_readable(&reader, &watch->files[i].name)) {
            return 0;
        }
    }

    return 1;
}


static ngx_uint_t
ngx_egress_file_readable(ngx_egress_reader_t *reader, ngx_str_t *name)
{
    char        *path, *p;
    ngx_uint_t   ok;

    path = realpath((char *) name->data, NULL);
    if (path == NULL) {
        return 0;
    }

    ok = ngx_egress_file_permits(reader, path, S_IROTH);

    /* each folder on the way has to be searchable */

    for (p = strrchr(path, '/'); ok && p; p = strrchr(path, '/')) {
        *p = '\0';

        if (p == path) {
            ok = ngx_egress_file_permits(reader, (char *) "/", S_IXOTH);
            break;
        }

        ok = ngx_egress_file_permits(reader, path, S_IXOTH);
    }

    free(path);

    return ok;
}


/* bit is one of the three for others */

static ngx_uint_t
ngx_egress_file_permits(ngx_egress_reader_t *reader, char *path,
    ngx_uint_t bit)
{
    int          i;
    struct stat  st;

    if (stat(path, &st) == -1) {
        return 0;
    }

    if (st.st_uid == reader->uid) {
        return (st.st_mode & (bit << 6)) != 0;
    }

    if (st.st_gid == reader->gid) {
        return (st.st_mode & (bit << 3)) != 0;
    }

    for (i = 0; i < reader->ngroups; i++) {
        if (st.st_gid == reader->groups[i]) {
            return (st.st_mode & (bit << 3)) != 0;
        }
    }

    return (st.st_mode & bit) != 0;
}


void
ngx_egress_tls_explain(ngx_str_t *error, const char *what, ngx_str_t *file)
{
    size_t       len;
    u_long       n;
    const char  *reason;

    n = ERR_peek_error();
    reason = n ? ERR_reason_error_string(n) : NULL;

    if (n && ERR_SYSTEM_ERROR(n)) {
        reason = strerror(ERR_GET_REASON(n));
    }

    if (n && reason == NULL) {
        reason = "unknown error";
    }

    ERR_clear_error();

    ngx_egress_tls_forget(error);

    len = ngx_strlen(what) + (reason ? ngx_strlen(reason) : 0) + file->len
          + sizeof(" \"\" ()") - 1;

    error->data = ngx_alloc(len, ngx_cycle->log);

    if (error->data == NULL) {
        *error = ngx_egress_no_memory;
        return;
    }

    error->len = (reason ? ngx_snprintf(error->data, len, "%s \"%V\" (%s)",
                                        what, file, reason)
                         : ngx_snprintf(error->data, len, "%s \"%V\"", what,
                                        file))
                 - error->data;
}


void
ngx_egress_tls_forget(ngx_str_t *error)
{
    if (error->data && error->data != ngx_egress_no_memory.data) {
        ngx_free(error->data);
    }

    ngx_str_null(error);
}


void
ngx_egress_tls_copy_error(ngx_str_t *error, ngx_str_t *from)
{
    ngx_egress_tls_forget(error);

    error->data = ngx_alloc(from->len, ngx_cycle->log);

    if (error->data == NULL) {
        *error = ngx_egress_no_memory;
        return;
    }

    error->len = from->len;
    ngx_memcpy(error->data, from->data, from->len);
}
