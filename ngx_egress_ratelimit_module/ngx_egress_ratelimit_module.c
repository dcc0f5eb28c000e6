
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_event.h>
#include <ngx_egress_ratelimit.h>


#define NGX_EGRESS_RATELIMIT_MAX      4294967295ULL

/* ms; with as many tokens the product has 63 bits */
#define NGX_EGRESS_RATELIMIT_INTERVAL     2147483647

/* ms between writing of states, and after one that failed */
#define NGX_EGRESS_RATELIMIT_SAVE         1000
#define NGX_EGRESS_RATELIMIT_SAVE_FAILED  60000

/* changes of a time zone's clocks in 20 years */
#define NGX_EGRESS_RATELIMIT_OFFSETS  128


static void *ngx_egress_ratelimit_create_conf(ngx_conf_t *cf);
static ngx_int_t ngx_egress_ratelimit_init_conf(ngx_cycle_t *cycle,
    void *conf);

static ngx_int_t ngx_egress_ratelimit_check_states(ngx_cycle_t *cycle,
    ngx_egress_ratelimit_conf_t *rcf);
static void ngx_egress_ratelimit_exit_master(ngx_cycle_t *cycle);
static ngx_uint_t ngx_egress_ratelimit_save(ngx_cycle_t *cycle,
    ngx_uint_t last);
static void ngx_egress_ratelimit_timer(ngx_event_t *ev);

static char *ngx_egress_ratelimit_bucket(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_egress_ratelimit_bucket_t *ngx_egress_ratelimit_add_bucket(
    ngx_conf_t *cf, ngx_egress_ratelimit_conf_t *rcf, ngx_str_t *name);
static ngx_uint_t ngx_egress_ratelimit_valid_name(ngx_str_t *name);
static char *ngx_egress_ratelimit_block(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *bucket);
static char *ngx_egress_ratelimit_descriptor_block(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static void ngx_egress_ratelimit_inherit(
    ngx_egress_ratelimit_bucket_t *bucket);
static char *ngx_egress_ratelimit_complete(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *bucket);
static ngx_int_t ngx_egress_ratelimit_check_period(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *bucket);
static ngx_int_t ngx_egress_ratelimit_check_rate(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *bucket);
static char *ngx_egress_ratelimit_number(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_ratelimit_interval(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_egress_ratelimit_period(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_ratelimit_zone(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_ratelimit_state(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_egress_ratelimit_period_t *ngx_egress_ratelimit_get_period(
    ngx_conf_t *cf, ngx_egress_ratelimit_bucket_t *bucket);
static char *ngx_egress_ratelimit_connections_limit(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_egress_ratelimit_status(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_ratelimit_header(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_uint_t ngx_egress_ratelimit_valid_header(ngx_str_t *name,
    ngx_str_t *value);
static char *ngx_egress_ratelimit_deny_or_allow(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_egress_ratelimit_share(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_ratelimit_body(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);


static ngx_conf_enum_t  ngx_egress_ratelimit_x_ratelimit[] = {
    { ngx_string("off"), 0 },
    { ngx_string("draft_version_03"), 1 },
    { ngx_null_string, 0 }
};


static ngx_conf_enum_t  ngx_egress_ratelimit_units[] = {
    { ngx_string("requests"), NGX_EGRESS_RATELIMIT_REQUESTS },
    { ngx_string("connections"), NGX_EGRESS_RATELIMIT_CONNECTIONS },
    { ngx_string("bytes"), NGX_EGRESS_RATELIMIT_BYTES },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_egress_ratelimit_commands[] = {

    { ngx_string("bucket"),
      NGX_EGRESS_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_bucket,
      0,
      0,
      NULL },

    { ngx_string("tokens"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_number,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, rate.tokens),
      NULL },

    { ngx_string("fill"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_number,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, rate.fill),
      NULL },

    { ngx_string("interval"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_interval,
      0,
      0,
      NULL },

    { ngx_string("unit"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, unit),
      &ngx_egress_ratelimit_units },

    { ngx_string("period"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_period,
      0,
      0,
      NULL },

    { ngx_string("zone"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_zone,
      0,
      0,
      NULL },

    { ngx_string("state"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_state,
      0,
      0,
      NULL },

    { ngx_string("max_connections"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_connections_limit,
      0,
      0,
      NULL },

    { ngx_string("descriptor"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_BLOCK|NGX_CONF_1MORE,
      ngx_egress_ratelimit_descriptor_block,
      0,
      0,
      NULL },

    { ngx_string("always_consume"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, consume),
      NULL },

    { ngx_string("status"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_status,
      0,
      0,
      NULL },

    { ngx_string("header"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE2,
      ngx_egress_ratelimit_header,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, headers),
      NULL },

    { ngx_string("header_always"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE2,
      ngx_egress_ratelimit_header,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, always),
      NULL },

    { ngx_string("request_header"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE2,
      ngx_egress_ratelimit_header,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, request),
      NULL },

    { ngx_string("x_ratelimit_headers"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, x_ratelimit),
      &ngx_egress_ratelimit_x_ratelimit },

    { ngx_string("retry_after"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, retry_after),
      NULL },

    { ngx_string("body"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_body,
      0,
      0,
      NULL },

    { ngx_string("on_full"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_deny_or_allow,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, on_full),
      NULL },

    { ngx_string("on_error"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_deny_or_allow,
      0,
      offsetof(ngx_egress_ratelimit_bucket_t, on_error),
      NULL },

    { ngx_string("share"),
      NGX_EGRESS_BUCKET_CONF|NGX_CONF_TAKE1,
      ngx_egress_ratelimit_share,
      0,
      0,
      NULL },

      ngx_null_command
};


static ngx_egress_module_t  ngx_egress_ratelimit_module_ctx = {
    ngx_string("ratelimit"),
    ngx_egress_ratelimit_create_conf,
    ngx_egress_ratelimit_init_conf
};


ngx_module_t  ngx_egress_ratelimit_module = {
    NGX_MODULE_V1,
    &ngx_egress_ratelimit_module_ctx,      /* module context */
    ngx_egress_ratelimit_commands,         /* module directives */
    NGX_EGRESS_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    ngx_egress_ratelimit_exit_master,      /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_egress_ratelimit_create_conf(ngx_conf_t *cf)
{
    ngx_egress_ratelimit_conf_t  *rcf;

    rcf = ngx_pcalloc(cf->pool, sizeof(ngx_egress_ratelimit_conf_t));
    if (rcf == NULL) {
        return NULL;
    }

    /* set by ngx_pcalloc(): rcf->keys = 0 */

    if (ngx_array_init(&rcf->buckets, cf->pool, 4,
                       sizeof(ngx_egress_ratelimit_bucket_t *))
        != NGX_OK)
    {
        return NULL;
    }

    ngx_rbtree_init(&rcf->names, &rcf->sentinel, ngx_str_rbtree_insert_value);

    if (ngx_egress_ratelimit_add_reports(cf) != NGX_OK) {
        return NULL;
    }

    return rcf;
}


static ngx_int_t
ngx_egress_ratelimit_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_egress_ratelimit_conf_t *rcf = conf;

    ngx_core_conf_t  *ccf;

    ccf = (ngx_core_conf_t *) ngx_get_conf(cycle->conf_ctx, ngx_core_module);

    rcf->keys = ngx_egress_zone_keys(cycle);

    /* workers of a few reloads, some of which have tunnels for a long time */

    rcf->processes = ngx_max(4 * ccf->worker_processes, 64);

    return ngx_egress_ratelimit_check_states(cycle, rcf);
}


/*
 * The first worker writes the states, each second, and the master at last.
 * Called by the adapters: in a static build this module is initialized before
 * there are timers.
 */

ngx_int_t
ngx_egress_ratelimit_init_process(ngx_cycle_t *cycle)
{
    ngx_uint_t                       i, n;
    ngx_egress_ratelimit_conf_t     *rcf;
    ngx_egress_ratelimit_bucket_t  **bucket;

    static ngx_event_t       timer;
    static ngx_connection_t  dumb;

    rcf = ngx_egress_get_conf(cycle, &ngx_egress_ratelimit_module);

    if (rcf == NULL || timer.timer_set
        || (ngx_process != NGX_PROCESS_SINGLE
            && (ngx_process != NGX_PROCESS_WORKER || ngx_worker != 0)))
    {
        return NGX_OK;
    }

    bucket = rcf->buckets.elts;
    n = 0;

    for (i = 0; i < rcf->buckets.nelts; i++) {
        n += (bucket[i]->state.len != 0);
    }

    if (n == 0) {
        return NGX_OK;
    }

    dumb.fd = (ngx_socket_t) -1;

    timer.handler = ngx_egress_ratelimit_timer;
    timer.data = &dumb;
    timer.log = cycle->log;
    timer.cancelable = 1;

    ngx_add_timer(&timer, NGX_EGRESS_RATELIMIT_SAVE);

    return NGX_OK;
}


static void
ngx_egress_ratelimit_timer(ngx_event_t *ev)
{
    ngx_uint_t  failed;

    /* without a master, a reload brings another cycle */

    ev->log = ngx_cycle->log;

    failed = ngx_egress_ratelimit_save((ngx_cycle_t *) ngx_cycle, 0);

    if (!ngx_exiting) {
        ngx_add_timer(ev, failed ? NGX_EGRESS_RATELIMIT_SAVE_FAILED
                                 : NGX_EGRESS_RATELIMIT_SAVE);
    }
}


/* all workers are gone */

static void
ngx_egress_ratelimit_exit_master(ngx_cycle_t *cycle)
{
    (void) ngx_egress_ratelimit_save(cycle, 1);
}


/* how many could not be saved */

static ngx_uint_t
ngx_egress_ratelimit_save(ngx_cycle_t *cycle, ngx_uint_t last)
{
    ngx_uint_t                       i, n;
    ngx_egress_ratelimit_conf_t     *rcf;
    ngx_egress_ratelimit_table_t    *table;
    ngx_egress_ratelimit_bucket_t  **bucket;

    rcf = ngx_egress_get_conf(cycle, &ngx_egress_ratelimit_module);
    table = ngx_egress_ratelimit_get_table();

    if (rcf == NULL || table == NULL) {
        return 0;
    }

    bucket = rcf->buckets.elts;
    n = 0;

    for (i = 0; i < rcf->buckets.nelts; i++) {

        if (bucket[i]->state.len
            && ngx_egress_ratelimit_save_state(table, bucket[i], last,
                                               cycle->log)
               != NGX_OK)
        {
            n++;
        }
    }

    return n;
}


/* two buckets that write the same file would load each other's state */

static ngx_int_t
ngx_egress_ratelimit_check_states(ngx_cycle_t *cycle,
    ngx_egress_ratelimit_conf_t *rcf)
{
    ngx_uint_t                       i;
    ngx_rbtree_t                     tree;
    ngx_str_node_t                  *node, *other;
    ngx_rbtree_node_t                sentinel;
    ngx_egress_ratelimit_bucket_t  **bucket;

    ngx_rbtree_init(&tree, &sentinel, ngx_str_rbtree_insert_value);

    bucket = rcf->buckets.elts;

    for (i = 0; i < rcf->buckets.nelts; i++) {

        if (bucket[i]->state.len == 0) {
            continue;
        }

        node = &bucket[i]->file;
        node->str = bucket[i]->state;
        node->node.key = ngx_crc32_short(node->str.data, node->str.len);

        other = ngx_str_rbtree_lookup(&tree, &node->str, node->node.key);

        if (other) {
            ngx_log_error(NGX_LOG_EMERG, cycle->log, 0,
                          "\"state\" of bucket \"%V\" is that of bucket "
                          "\"%V\" in %s:%ui", &bucket[i]->sn.str,
                          &((ngx_egress_ratelimit_bucket_t *)
                                ((u_char *) other
                                 - offsetof(ngx_egress_ratelimit_bucket_t,
                                            file)))->sn.str,
                          bucket[i]->conf_file, bucket[i]->line);
            return NGX_ERROR;
        }

        ngx_rbtree_insert(&tree, &node->node);
    }

    return NGX_OK;
}


static char *
ngx_egress_ratelimit_bucket(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_ratelimit_conf_t *rcf = conf;

    char                           *rv;
    ngx_str_t                      *value;
    ngx_egress_ratelimit_bucket_t  *bucket;

    value = cf->args->elts;

    if (rcf->buckets.nelts == 0
        && ngx_egress_add_area(cf, NGX_EGRESS_AREA_RATELIMIT,
                               ngx_egress_ratelimit_init_area, rcf)
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    bucket = ngx_egress_ratelimit_add_bucket(cf, rcf, &value[1]);
    if (bucket == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_egress_require_step(cf, NGX_EGRESS_STEP_RATELIMIT, "bucket",
                            "egress_ratelimit");

    rv = ngx_egress_ratelimit_block(cf, bucket);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (ngx_egress_ratelimit_complete(cf, bucket) != NGX_CONF_OK) {
        return NGX_CONF_ERROR;
    }

    ngx_egress_ratelimit_inherit(bucket);

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_descriptor_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_egress_ratelimit_bucket_t *parent = conf;

    char                           *rv;
    ngx_str_t                      *name;
    ngx_egress_ratelimit_match_t   *match;
    ngx_egress_ratelimit_bucket_t  *bucket, **p;

    if (parent->parent) {
        return "is not allowed in \"descriptor\"";
    }

    rv = ngx_egress_ratelimit_descriptor(cf, parent, cf->args, &name, &match);
    if (rv != NGX_CONF_OK) {
        return rv;
    }

    bucket = ngx_egress_ratelimit_add_bucket(cf, parent->conf, name);
    if (bucket == NULL) {
        return NGX_CONF_ERROR;
    }

    match->bucket = bucket;
    bucket->parent = parent;
    bucket->keyed = (match->any != 0);

    if (parent->children == NULL) {
        parent->children = ngx_array_create(cf->pool, 4,
                                   sizeof(ngx_egress_ratelimit_bucket_t *));
        if (parent->children == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    p = ngx_array_push(parent->children);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    *p = bucket;

    rv = ngx_egress_ratelimit_block(cf, bucket);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (bucket->consume != NGX_CONF_UNSET) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"always_consume\" is set by bucket \"%V\", not "
                           "by its descriptors", &parent->sn.str);
        return NGX_CONF_ERROR;
    }

    return ngx_egress_ratelimit_complete(cf, bucket);
}


/* what a client gets to see is that of the bucket, as in Envoy's filter */

static void
ngx_egress_ratelimit_inherit(ngx_egress_ratelimit_bucket_t *bucket)
{
    ngx_uint_t                       i;
    ngx_egress_ratelimit_bucket_t  **child;

    if (bucket->children == NULL) {
        return;
    }

    child = bucket->children->elts;

    for (i = 0; i < bucket->children->nelts; i++) {
        ngx_conf_init_uint_value(child[i]->unit, bucket->unit);

        child[i]->status = bucket->status;
        child[i]->body = bucket->body;
        child[i]->headers = bucket->headers;
        child[i]->request = bucket->request;
        child[i]->retry_after = bucket->retry_after;
        child[i]->x_ratelimit = bucket->x_ratelimit;
    }
}


static ngx_egress_ratelimit_bucket_t *
ngx_egress_ratelimit_add_bucket(ngx_conf_t *cf,
    ngx_egress_ratelimit_conf_t *rcf, ngx_str_t *name)
{
    uint32_t                        hash;
    ngx_egress_ratelimit_bucket_t  *bucket, **p;

    if (!ngx_egress_ratelimit_valid_name(name)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid bucket name \"%V\"", name);
        return NULL;
    }

    hash = ngx_crc32_short(name->data, name->len);

    if (ngx_str_rbtree_lookup(&rcf->names, name, hash)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate bucket \"%V\"", name);
        return NULL;
    }

    bucket = ngx_pcalloc(cf->pool, sizeof(ngx_egress_ratelimit_bucket_t));
    if (bucket == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     bucket->rate = { 0, 0, 0 }
     *     bucket->period = NULL
     *     bucket->state = { 0, NULL }
     *     bucket->connections = 0
     *     bucket->status = 0
     *     bucket->body = { 0, NULL }
     *     bucket->headers, always, request = NULL
     *     bucket->keyed = 0
     *     bucket->max = 0
     *     bucket->row = NULL
     *     bucket->parent, children, shapes = NULL
     */

    bucket->conf_file = cf->conf_file->file.name.data;
    bucket->line = cf->conf_file->line;
    bucket->on_full = NGX_CONF_UNSET;
    bucket->on_error = NGX_CONF_UNSET;
    bucket->conf = rcf;
    bucket->consume = NGX_CONF_UNSET;
    bucket->unit = NGX_CONF_UNSET_UINT;
    bucket->share = NGX_CONF_UNSET_UINT;
    bucket->x_ratelimit = NGX_CONF_UNSET_UINT;
    bucket->retry_after = NGX_CONF_UNSET;

    p = ngx_array_push(&rcf->buckets);
    if (p == NULL) {
        return NULL;
    }

    *p = bucket;

    bucket->sn.str = *name;
    bucket->sn.node.key = hash;
    ngx_rbtree_insert(&rcf->names, &bucket->sn.node);

    return bucket;
}


/* it is printed into logs, variables and JSON */

static ngx_uint_t
ngx_egress_ratelimit_valid_name(ngx_str_t *name)
{
    size_t  i;

    for (i = 0; i < name->len; i++) {
        if (name->data[i] <= 0x20 || name->data[i] >= 0x7f
            || name->data[i] == '"' || name->data[i] == '\\')
        {
            return 0;
        }
    }

    return name->len != 0;
}


/* the directives within the block find it where the module's own conf was */

static char *
ngx_egress_ratelimit_block(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *bucket)
{
    char       *rv;
    void      **slot, *parent;
    ngx_conf_t  save;

    slot = &(*(void ***) cf->ctx)[ngx_egress_ratelimit_module.ctx_index];
    parent = *slot;
    *slot = bucket;

    save = *cf;
    cf->cmd_type = NGX_EGRESS_BUCKET_CONF;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;
    *slot = parent;

    return rv;
}


static char *
ngx_egress_ratelimit_complete(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *bucket)
{
    if (ngx_egress_ratelimit_check_period(cf, bucket) != NGX_OK
        || ngx_egress_ratelimit_check_rate(cf, bucket) != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    if (bucket->rate.fill == 0) {
        bucket->rate.fill = bucket->rate.tokens;
    }

    if (bucket->parent
        && (bucket->status || bucket->body.data || bucket->headers
            || bucket->always || bucket->request
            || bucket->retry_after != NGX_CONF_UNSET
            || bucket->x_ratelimit != NGX_CONF_UNSET_UINT))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "what a client sees is set by bucket \"%V\", not "
                           "by its descriptors", &bucket->parent->sn.str);
        return NGX_CONF_ERROR;
    }

    if (bucket->status == 0) {
        bucket->status = 429;
    }

    ngx_conf_init_value(bucket->consume, 1);

    /* a descriptor's is that of its bucket, which may follow */

    if (bucket->parent == NULL) {
        ngx_conf_init_uint_value(bucket->unit, NGX_EGRESS_RATELIMIT_REQUESTS);
    }

    ngx_conf_init_value(bucket->on_full, 0);
    ngx_conf_init_value(bucket->on_error, 0);
    ngx_conf_init_uint_value(bucket->share, 500000);
    ngx_conf_init_uint_value(bucket->x_ratelimit, 0);
    ngx_conf_init_value(bucket->retry_after, 0);

    if (bucket->body.data == NULL) {
        ngx_str_set(&bucket->body, "local_rate_limited");
    }

    return NGX_CONF_OK;
}


static ngx_int_t
ngx_egress_ratelimit_check_period(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *bucket)
{
    if (bucket->period) {

        if (bucket->period->kind == NGX_CONF_UNSET_UINT) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"zone\" of bucket \"%V\" is of no use "
                               "without \"period\"", &bucket->sn.str);
            return NGX_ERROR;
        }

        if (bucket->rate.interval || bucket->rate.fill) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "\"period\" of bucket \"%V\" is incompatible "
                               "with \"interval\" and \"fill\"",
                               &bucket->sn.str);
            return NGX_ERROR;
        }

        bucket->rate.interval = NGX_EGRESS_RATELIMIT_PERIOD;
    }

    if (bucket->state.len && bucket->period == NULL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"state\" of bucket \"%V\" is of no use "
                           "without \"period\"", &bucket->sn.str);
        return NGX_ERROR;
    }

    return NGX_OK;
}


static ngx_int_t
ngx_egress_ratelimit_check_rate(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *bucket)
{
    /* in parts of a token, tokens have 64 bits */

    if ((bucket->period == NULL
         && bucket->rate.tokens > NGX_EGRESS_RATELIMIT_MAX)
        || bucket->rate.fill > NGX_EGRESS_RATELIMIT_MAX)
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"tokens\" and \"fill\" of bucket \"%V\" must be "
                           "%uL at most", &bucket->sn.str,
                           (uint64_t) NGX_EGRESS_RATELIMIT_MAX);
        return NGX_ERROR;
    }

    if ((bucket->rate.tokens == 0 || bucket->rate.interval == 0)
        && (bucket->connections == 0 || bucket->rate.tokens
            || bucket->rate.interval || bucket->rate.fill))
    {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "bucket \"%V\" must have \"%s\"", &bucket->sn.str,
                           bucket->rate.tokens == 0 ? "tokens" : "interval");
        return NGX_ERROR;
    }

    return NGX_OK;
}


static char *
ngx_egress_ratelimit_number(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    off_t       n;
    uint64_t   *number;
    ngx_str_t  *value;

    number = (uint64_t *) ((char *) conf + cmd->offset);

    if (*number) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_atoof(value[1].data, value[1].len);

    if (n < 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    *number = n;

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_interval(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_ratelimit_bucket_t *bucket = conf;

    ngx_int_t   ms;
    ngx_str_t  *value;

    if (bucket->rate.interval) {
        return "is duplicate";
    }

    value = cf->args->elts;

    ms = ngx_parse_time(&value[1], 0);

    if (ms < 1 || ms > NGX_EGRESS_RATELIMIT_INTERVAL) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    bucket->rate.interval = ms;

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_period(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_ratelimit_bucket_t *bucket = conf;

    ngx_str_t                      *value;
    ngx_uint_t                      i;
    ngx_egress_ratelimit_period_t  *period;

    static const char  *kinds[] = { "minute", "hour", "day", "month", NULL };

    period = ngx_egress_ratelimit_get_period(cf, bucket);
    if (period == NULL) {
        return NGX_CONF_ERROR;
    }

    if (period->kind != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    for (i = 0; kinds[i]; i++) {
        if (ngx_strcmp(value[1].data, kinds[i]) == 0) {
            period->kind = i;
            return NGX_CONF_OK;
        }
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "invalid value \"%V\" in \"%V\": it has to be "
                       "\"minute\", \"hour\", \"day\" or \"month\"",
                       &value[1], &cmd->name);

    return NGX_CONF_ERROR;
}


static char *
ngx_egress_ratelimit_zone(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_ratelimit_bucket_t *bucket = conf;

    ngx_str_t                      *value;
    ngx_egress_ratelimit_period_t  *period;

    period = ngx_egress_ratelimit_get_period(cf, bucket);
    if (period == NULL) {
        return NGX_CONF_ERROR;
    }

    if (period->zone.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    period->zone = value[1];

    if (ngx_strcmp(value[1].data, "UTC") == 0) {
        return NGX_CONF_OK;
    }

    period->offsets = ngx_palloc(cf->pool, NGX_EGRESS_RATELIMIT_OFFSETS
                                     * sizeof(ngx_egress_ratelimit_offset_t));
    if (period->offsets == NULL) {
        return NGX_CONF_ERROR;
    }

    period->n = ngx_egress_ratelimit_zone_offsets((char *) value[1].data,
                                                  period->offsets,
                                                  NGX_EGRESS_RATELIMIT_OFFSETS,
                                                  ngx_time());
    if (period->n == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "unknown time zone \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_state(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_ratelimit_bucket_t *bucket = conf;

    ngx_str_t  *value;

    if (bucket->state.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (value[1].len == 0) {
        return "invalid value";
    }

    bucket->state = value[1];

    if (ngx_conf_full_name(cf->cycle, &bucket->state, 0) != NGX_OK) {
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static ngx_egress_ratelimit_period_t *
ngx_egress_ratelimit_get_period(ngx_conf_t *cf,
    ngx_egress_ratelimit_bucket_t *bucket)
{
    if (bucket->period == NULL) {
        bucket->period = ngx_pcalloc(cf->pool,
                                     sizeof(ngx_egress_ratelimit_period_t));
        if (bucket->period == NULL) {
            return NULL;
        }

        /* set by ngx_pcalloc(): zone = { 0, NULL }, offsets = NULL, n = 0 */

        bucket->period->kind = NGX_CONF_UNSET_UINT;
    }

    return bucket->period;
}


static char *
ngx_egress_ratelimit_connections_limit(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_egress_ratelimit_bucket_t *bucket = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (bucket->connections) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 1 || (uint64_t) n > NGX_EGRESS_RATELIMIT_MAX) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    bucket->connections = n;

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_status(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_ratelimit_bucket_t *bucket = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (bucket->status) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_atoi(value[1].data, value[1].len);

    if (n < 400 || n > 599) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    bucket->status = n;

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_header(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t     *value;
    ngx_array_t  **headers;
    ngx_keyval_t  *header;

    headers = (ngx_array_t **) ((char *) conf + cmd->offset);

    value = cf->args->elts;

    if (!ngx_egress_ratelimit_valid_header(&value[1], &value[2])) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid header \"%V\"", &value[1]);
        return NGX_CONF_ERROR;
    }

    if (*headers == NULL) {
        *headers = ngx_array_create(cf->pool, 2, sizeof(ngx_keyval_t));
        if (*headers == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    header = ngx_array_push(*headers);
    if (header == NULL) {
        return NGX_CONF_ERROR;
    }

    header->key = value[1];
    header->value = value[2];

    return NGX_CONF_OK;
}


/* the framing of what is sent is nginx's own business */

static ngx_uint_t
ngx_egress_ratelimit_valid_header(ngx_str_t *name, ngx_str_t *value)
{
    u_char      ch;
    size_t      i;
    ngx_str_t  *r;

    static ngx_str_t  reserved[] = {
        ngx_string("connection"),
        ngx_string("content-encoding"),
        ngx_string("content-length"),
        ngx_string("content-type"),
        ngx_string("date"),
        ngx_string("host"),
        ngx_string("keep-alive"),
        ngx_string("server"),
        ngx_string("trailer"),
        ngx_string("transfer-encoding"),
        ngx_string("upgrade"),
        ngx_null_string
    };

    for (i = 0; i < name->len; i++) {
        ch = name->data[i];

        if (ch <= 0x20 || ch >= 0x7f || ngx_strchr("\"(),/:;<=>?@[\\]{}", ch))
        {
            return 0;
        }
    }

    for (r = reserved; r->len; r++) {
        if (name->len == r->len
            && ngx_strncasecmp(name->data, r->data, r->len) == 0)
        {
            return 0;
        }
    }

    for (i = 0; i < value->len; i++) {
        ch = value->data[i];

        if ((ch < 0x20 && ch != '\t') || ch == 0x7f) {
            return 0;
        }
    }

    return name->len != 0;
}


static char *
ngx_egress_ratelimit_deny_or_allow(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    ngx_str_t   *value;
    ngx_flag_t  *flag;

    flag = (ngx_flag_t *) ((char *) conf + cmd->offset);

    if (*flag != NGX_CONF_UNSET) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "deny") == 0) {
        *flag = 0;

    } else if (ngx_strcmp(value[1].data, "allow") == 0) {
        *flag = 1;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\": "
                           "it has to be \"deny\" or \"allow\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_share(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_ratelimit_bucket_t *bucket = conf;

    ngx_int_t   n;
    ngx_str_t  *value;

    if (bucket->share != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    n = ngx_egress_ratelimit_fraction(value[1].data, value[1].len);

    if (n < 1) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    bucket->share = n;

    return NGX_CONF_OK;
}


static char *
ngx_egress_ratelimit_body(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_ratelimit_bucket_t *bucket = conf;

    ngx_str_t  *value;

    if (bucket->body.data) {
        return "is duplicate";
    }

    value = cf->args->elts;

    bucket->body = value[1];

    return NGX_CONF_OK;
}
