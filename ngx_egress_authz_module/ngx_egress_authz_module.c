
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


typedef const char *(*ngx_egress_match_pt)(ngx_egress_match_t *m,
    ngx_str_t *value);


static void *ngx_egress_authz_create_conf(ngx_conf_t *cf);
static ngx_int_t ngx_egress_authz_init_conf(ngx_cycle_t *cycle, void *conf);

static char *ngx_egress_authz_policy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_egress_policy_t *ngx_egress_authz_add_policy(ngx_conf_t *cf,
    ngx_egress_authz_conf_t *acf, ngx_str_t *name);
static char *ngx_egress_authz_action(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_source(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_rule_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_from_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_to_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_match_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_namespace_slot(ngx_conf_t *cf,
    ngx_command_t *cmd, void *conf);
static char *ngx_egress_authz_port_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_block(ngx_conf_t *cf, void *conf,
    ngx_uint_t type);


static ngx_command_t  ngx_egress_authz_commands[] = {

    { ngx_string("policy"),
      NGX_EGRESS_CONF|NGX_CONF_BLOCK|NGX_CONF_TAKE1,
      ngx_egress_authz_policy,
      0,
      0,
      NULL },

    { ngx_string("action"),
      NGX_EGRESS_POLICY_CONF|NGX_CONF_TAKE1,
      ngx_egress_authz_action,
      0,
      0,
      NULL },

    { ngx_string("source"),
      NGX_EGRESS_POLICY_CONF|NGX_CONF_TAKE1,
      ngx_egress_authz_source,
      0,
      0,
      NULL },

    { ngx_string("rule"),
      NGX_EGRESS_POLICY_CONF|NGX_CONF_BLOCK|NGX_CONF_NOARGS,
      ngx_egress_authz_rule_block,
      0,
      0,
      NULL },

    { ngx_string("from"),
      NGX_EGRESS_RULE_CONF|NGX_CONF_BLOCK|NGX_CONF_NOARGS,
      ngx_egress_authz_from_block,
      0,
      0,
      NULL },

    { ngx_string("to"),
      NGX_EGRESS_RULE_CONF|NGX_CONF_BLOCK|NGX_CONF_NOARGS,
      ngx_egress_authz_to_block,
      0,
      0,
      NULL },

    { ngx_string("principals"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      offsetof(ngx_egress_from_t, principals),
      ngx_egress_match_principal },

    { ngx_string("not_principals"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      offsetof(ngx_egress_from_t, not_principals),
      ngx_egress_match_principal },

    { ngx_string("namespaces"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_namespace_slot,
      0,
      offsetof(ngx_egress_from_t, namespaces),
      ngx_egress_match_namespace },

    { ngx_string("not_namespaces"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_namespace_slot,
      0,
      offsetof(ngx_egress_from_t, not_namespaces),
      ngx_egress_match_namespace },

    { ngx_string("service_accounts"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      offsetof(ngx_egress_from_t, service_accounts),
      ngx_egress_match_account },

    { ngx_string("not_service_accounts"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      offsetof(ngx_egress_from_t, not_service_accounts),
      ngx_egress_match_account },

    { ngx_string("hosts"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      offsetof(ngx_egress_to_t, hosts),
      ngx_egress_match_host },

    { ngx_string("not_hosts"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      offsetof(ngx_egress_to_t, not_hosts),
      ngx_egress_match_host },

    { ngx_string("ports"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_port_slot,
      0,
      offsetof(ngx_egress_to_t, ports),
      NULL },

    { ngx_string("not_ports"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_port_slot,
      0,
      offsetof(ngx_egress_to_t, not_ports),
      NULL },

      ngx_null_command
};


static ngx_egress_module_t  ngx_egress_authz_module_ctx = {
    ngx_string("authz"),
    ngx_egress_authz_create_conf,
    ngx_egress_authz_init_conf
};


ngx_module_t  ngx_egress_authz_module = {
    NGX_MODULE_V1,
    &ngx_egress_authz_module_ctx,          /* module context */
    ngx_egress_authz_commands,             /* module directives */
    NGX_EGRESS_MODULE,                     /* module type */
    NULL,                                  /* init master */
    NULL,                                  /* init module */
    NULL,                                  /* init process */
    NULL,                                  /* init thread */
    NULL,                                  /* exit thread */
    NULL,                                  /* exit process */
    NULL,                                  /* exit master */
    NGX_MODULE_V1_PADDING
};


static void *
ngx_egress_authz_create_conf(ngx_conf_t *cf)
{
    ngx_uint_t                i;
    ngx_egress_authz_conf_t  *acf;

    acf = ngx_pcalloc(cf->pool, sizeof(ngx_egress_authz_conf_t));
    if (acf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     acf->npolicies[] = 0
     */

    if (ngx_array_init(&acf->policies, cf->pool, 4,
                       sizeof(ngx_egress_policy_t *))
        != NGX_OK)
    {
        return NULL;
    }

    for (i = 0; i < NGX_EGRESS_ACTIONS; i++) {
        if (ngx_array_init(&acf->rules[i], cf->pool, 4,
                           sizeof(ngx_egress_rule_t *))
            != NGX_OK)
        {
            return NULL;
        }
    }

    ngx_rbtree_init(&acf->names, &acf->sentinel, ngx_str_rbtree_insert_value);

    return acf;
}


static ngx_int_t
ngx_egress_authz_init_conf(ngx_cycle_t *cycle, void *conf)
{
    return ngx_egress_authz_compile(cycle->pool, conf,
                                    ngx_egress_trust_domains(cycle));
}


static char *
ngx_egress_authz_policy(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_authz_conf_t *acf = conf;

    char                 *rv;
    ngx_str_t            *value;
    ngx_egress_policy_t  *policy;

    value = cf->args->elts;

    policy = ngx_egress_authz_add_policy(cf, acf, &value[1]);
    if (policy == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_egress_require_step(cf, NGX_EGRESS_STEP_AUTHZ, "policy",
                            "egress_authz");

    rv = ngx_egress_authz_block(cf, policy, NGX_EGRESS_POLICY_CONF);

    if (rv == NGX_CONF_OK && policy->action == NGX_CONF_UNSET_UINT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "policy \"%V\" must have \"action\"",
                           &policy->sn.str);
        return NGX_CONF_ERROR;
    }

    return rv;
}


static ngx_egress_policy_t *
ngx_egress_authz_add_policy(ngx_conf_t *cf, ngx_egress_authz_conf_t *acf,
    ngx_str_t *name)
{
    size_t                i;
    uint32_t              hash;
    ngx_egress_policy_t  *policy, **p;

    /* the name is printed into logs and variables */

    for (i = 0; i < name->len; i++) {
        if (name->data[i] <= 0x20 || name->data[i] >= 0x7f
            || name->data[i] == '"' || name->data[i] == '\\')
        {
            break;
        }
    }

    if (i == 0 || i != name->len) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid policy name \"%V\"", name);
        return NULL;
    }

    hash = ngx_crc32_short(name->data, name->len);

    if (ngx_str_rbtree_lookup(&acf->names, name, hash)) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "duplicate policy \"%V\"", name);
        return NULL;
    }

    policy = ngx_pcalloc(cf->pool, sizeof(ngx_egress_policy_t));
    if (policy == NULL) {
        return NULL;
    }

    /* set by ngx_pcalloc(): policy->source = { 0, NULL } */

    policy->action = NGX_CONF_UNSET_UINT;

    if (ngx_array_init(&policy->rules, cf->pool, 4,
                       sizeof(ngx_egress_rule_t *))
        != NGX_OK)
    {
        return NULL;
    }

    p = ngx_array_push(&acf->policies);
    if (p == NULL) {
        return NULL;
    }

    *p = policy;

    policy->sn.str = *name;
    policy->sn.node.key = hash;
    ngx_rbtree_insert(&acf->names, &policy->sn.node);

    return policy;
}


static char *
ngx_egress_authz_action(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_policy_t *policy = conf;

    ngx_str_t  *value;

    if (policy->action != NGX_CONF_UNSET_UINT) {
        return "is duplicate";
    }

    value = cf->args->elts;

    if (ngx_strcmp(value[1].data, "allow") == 0) {
        policy->action = NGX_EGRESS_ALLOW;

    } else if (ngx_strcmp(value[1].data, "deny") == 0) {
        policy->action = NGX_EGRESS_DENY;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\": "
                           "it has to be \"allow\" or \"deny\"",
                           &value[1], &cmd->name);
        return NGX_CONF_ERROR;
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_authz_source(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_policy_t *policy = conf;

    ngx_str_t  *value;

    if (policy->source.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    policy->source = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_egress_authz_rule_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_policy_t *policy = conf;

    ngx_egress_rule_t  *rule, **p;

    rule = ngx_pcalloc(cf->pool, sizeof(ngx_egress_rule_t));
    if (rule == NULL) {
        return NGX_CONF_ERROR;
    }

    rule->name.data = ngx_pnalloc(cf->pool, policy->sn.str.len + 1
                                            + NGX_INT_T_LEN);
    if (rule->name.data == NULL) {
        return NGX_CONF_ERROR;
    }

    rule->name.len = ngx_sprintf(rule->name.data, "%V/%ui", &policy->sn.str,
                                 policy->rules.nelts)
                     - rule->name.data;

    if (ngx_array_init(&rule->from, cf->pool, 1, sizeof(ngx_egress_from_t))
        != NGX_OK
        || ngx_array_init(&rule->to, cf->pool, 1, sizeof(ngx_egress_to_t))
           != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    p = ngx_array_push(&policy->rules);
    if (p == NULL) {
        return NGX_CONF_ERROR;
    }

    *p = rule;

    return ngx_egress_authz_block(cf, rule, NGX_EGRESS_RULE_CONF);
}


static char *
ngx_egress_authz_from_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_rule_t *rule = conf;

    char               *rv;
    ngx_egress_from_t  *from;

    from = ngx_array_push(&rule->from);
    if (from == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(from, sizeof(ngx_egress_from_t));

    rv = ngx_egress_authz_block(cf, from, NGX_EGRESS_FROM_CONF);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (from->principals == NULL && from->not_principals == NULL
        && from->namespaces == NULL && from->not_namespaces == NULL
        && from->service_accounts == NULL
        && from->not_service_accounts == NULL)
    {
        return "is empty";
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_authz_to_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_rule_t *rule = conf;

    char             *rv;
    ngx_egress_to_t  *to;

    to = ngx_array_push(&rule->to);
    if (to == NULL) {
        return NGX_CONF_ERROR;
    }

    ngx_memzero(to, sizeof(ngx_egress_to_t));

    rv = ngx_egress_authz_block(cf, to, NGX_EGRESS_TO_CONF);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    if (to->hosts == NULL && to->not_hosts == NULL
        && to->ports == NULL && to->not_ports == NULL)
    {
        return "is empty";
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_authz_match_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_str_t            *value;
    ngx_uint_t            i;
    const char           *err;
    ngx_array_t         **list;
    ngx_egress_match_t   *match;
    ngx_egress_match_pt   make;

    list = (ngx_array_t **) ((char *) conf + cmd->offset);
    make = (ngx_egress_match_pt) cmd->post;

    if (*list) {
        return "is duplicate";
    }

    *list = ngx_array_create(cf->pool, cf->args->nelts - 1,
                             sizeof(ngx_egress_match_t));
    if (*list == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        match = ngx_array_push(*list);
        if (match == NULL) {
            return NGX_CONF_ERROR;
        }

        err = make(match, &value[i]);

        if (err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"%V\": %s",
                               &value[i], &cmd->name, err);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


/*
 * Istio's expression for a namespace is ".*" "/ns/" value "/.*" over the
 * whole ID, where each "*" of the value is ".*": also an ID of another trust
 * domain, and one with more segments, is in the namespace that it names.
 */

static char *
ngx_egress_authz_namespace_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf)
{
    char                *rv;
    u_char              *p;
    ngx_uint_t           i;
    ngx_array_t         *list;
    ngx_egress_match_t  *match;

    rv = ngx_egress_authz_match_slot(cf, cmd, conf);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    list = *(ngx_array_t **) ((char *) conf + cmd->offset);
    match = list->elts;

    for (i = 0; i < list->nelts; i++) {

        p = ngx_pnalloc(cf->pool, match[i].value.len + sizeof("*/ns//*") - 1);
        if (p == NULL) {
            return NGX_CONF_ERROR;
        }

        match[i].value.len = ngx_sprintf(p, "*/ns/%V/*", &match[i].value) - p;
        match[i].value.data = p;
    }

    return NGX_CONF_OK;
}


static char *
ngx_egress_authz_port_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_int_t      n;
    in_port_t     *port;
    ngx_str_t     *value;
    ngx_uint_t     i;
    ngx_array_t  **list;

    list = (ngx_array_t **) ((char *) conf + cmd->offset);

    if (*list) {
        return "is duplicate";
    }

    *list = ngx_array_create(cf->pool, cf->args->nelts - 1,
                             sizeof(in_port_t));
    if (*list == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    for (i = 1; i < cf->args->nelts; i++) {

        n = ngx_atoi(value[i].data, value[i].len);

        if (n < 1 || n > 65535) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid port \"%V\" in \"%V\"",
                               &value[i], &cmd->name);
            return NGX_CONF_ERROR;
        }

        port = ngx_array_push(*list);
        *port = (in_port_t) n;
    }

    return NGX_CONF_OK;
}


/* the directives within the block find conf where the module's own was */

static char *
ngx_egress_authz_block(ngx_conf_t *cf, void *conf, ngx_uint_t type)
{
    char        *rv;
    void       **slot, *parent;
    ngx_conf_t   save;

    slot = &(*(void ***) cf->ctx)[ngx_egress_authz_module.ctx_index];
    parent = *slot;
    *slot = conf;

    save = *cf;
    cf->cmd_type = type;

    rv = ngx_conf_parse(cf, NULL);

    *cf = save;
    *slot = parent;

    return rv;
}
