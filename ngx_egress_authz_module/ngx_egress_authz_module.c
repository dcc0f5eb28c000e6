
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


typedef const char *(*ngx_egress_match_pt)(ngx_egress_match_t *m,
    ngx_str_t *value);


/* a field that a directive or a key of "when" is about */

typedef struct {
    ngx_str_t                 name;
    ngx_uint_t                field;
    ngx_egress_match_pt       make;        /* NULL: an address */
} ngx_egress_authz_key_t;


#define ngx_egress_authz_offset(field, negative)  ((field) * 2 + (negative))


static void *ngx_egress_authz_create_conf(ngx_conf_t *cf);
static void ngx_egress_authz_cleanup(void *data);
static ngx_int_t ngx_egress_authz_init_conf(ngx_cycle_t *cycle, void *conf);
static ngx_int_t ngx_egress_authz_compile(ngx_cycle_t *cycle,
    ngx_egress_authz_conf_t *acf);
static ngx_int_t ngx_egress_authz_sort(ngx_cycle_t *cycle,
    ngx_egress_authz_conf_t *acf, ngx_array_t *lists);

static char *ngx_egress_authz_policy(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_egress_policy_t *ngx_egress_authz_add_policy(ngx_conf_t *cf,
    ngx_egress_authz_conf_t *acf, ngx_str_t *name);
static char *ngx_egress_authz_check_policy(ngx_conf_t *cf,
    ngx_egress_policy_t *policy);
static char *ngx_egress_authz_action(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_source(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_rule_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_rule_source(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_from_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_to_block(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_sub_block(ngx_conf_t *cf, ngx_array_t *blocks,
    ngx_uint_t type);
static char *ngx_egress_authz_match_slot(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_when(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static ngx_egress_authz_key_t *ngx_egress_authz_key(ngx_conf_t *cf,
    ngx_str_t *text, ngx_str_t *header);
static const char *ngx_egress_authz_key_error(ngx_str_t *text);
static ngx_egress_cond_t *ngx_egress_authz_add_cond(ngx_conf_t *cf,
    ngx_egress_block_t *block, ngx_uint_t field, ngx_uint_t negative,
    ngx_uint_t n);
static char *ngx_egress_authz_values(ngx_conf_t *cf, ngx_egress_cond_t *cond,
    ngx_egress_match_pt make, ngx_str_t *value, ngx_uint_t n,
    ngx_str_t *name);
static const char *ngx_egress_authz_cidr(ngx_conf_t *cf,
    ngx_egress_match_t *m, ngx_str_t *value);
static char *ngx_egress_authz_refused(ngx_conf_t *cf, ngx_command_t *cmd,
    void *conf);
static char *ngx_egress_authz_block(ngx_conf_t *cf, void *conf,
    ngx_uint_t type);


static ngx_conf_enum_t  ngx_egress_authz_normalizations[] = {
    { ngx_string("none"), NGX_EGRESS_PATH_NONE },
    { ngx_string("base"), NGX_EGRESS_PATH_BASE },
    { ngx_string("merge_slashes"), NGX_EGRESS_PATH_MERGE },
    { ngx_string("decode_and_merge_slashes"), NGX_EGRESS_PATH_DECODE },
    { ngx_null_string, 0 }
};


static ngx_command_t  ngx_egress_authz_commands[] = {

    { ngx_string("path_normalization"),
      NGX_EGRESS_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_enum_slot,
      0,
      offsetof(ngx_egress_authz_conf_t, normalization),
      ngx_egress_authz_normalizations },

    { ngx_string("trusted_hops"),
      NGX_EGRESS_CONF|NGX_CONF_TAKE1,
      ngx_conf_set_num_slot,
      0,
      offsetof(ngx_egress_authz_conf_t, trusted_hops),
      NULL },

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

    { ngx_string("dry_run"),
      NGX_EGRESS_POLICY_CONF|NGX_CONF_FLAG,
      ngx_conf_set_flag_slot,
      0,
      offsetof(ngx_egress_policy_t, dry_run),
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

    { ngx_string("source"),
      NGX_EGRESS_RULE_CONF|NGX_CONF_TAKE1,
      ngx_egress_authz_rule_source,
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

    { ngx_string("when"),
      NGX_EGRESS_RULE_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_when,
      0,
      0,
      NULL },

    { ngx_string("principals"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_PRINCIPAL, 0),
      ngx_egress_match_principal },

    { ngx_string("not_principals"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_PRINCIPAL, 1),
      ngx_egress_match_principal },

    { ngx_string("namespaces"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_NAMESPACE, 0),
      ngx_egress_match_namespace },

    { ngx_string("not_namespaces"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_NAMESPACE, 1),
      ngx_egress_match_namespace },

    { ngx_string("service_accounts"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_SERVICE_ACCOUNT, 0),
      ngx_egress_match_account },

    { ngx_string("not_service_accounts"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_SERVICE_ACCOUNT, 1),
      ngx_egress_match_account },

    { ngx_string("trust_domains"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_TRUST_DOMAIN, 0),
      ngx_egress_match_domain },

    { ngx_string("not_trust_domains"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_TRUST_DOMAIN, 1),
      ngx_egress_match_domain },

    { ngx_string("ip_blocks"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_SOURCE_IP, 0),
      NULL },

    { ngx_string("not_ip_blocks"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_SOURCE_IP, 1),
      NULL },

    { ngx_string("remote_ip_blocks"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_REMOTE_IP, 0),
      NULL },

    { ngx_string("not_remote_ip_blocks"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_REMOTE_IP, 1),
      NULL },

    { ngx_string("hosts"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_HOST, 0),
      ngx_egress_match_host },

    { ngx_string("not_hosts"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_HOST, 1),
      ngx_egress_match_host },

    { ngx_string("ports"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_PORT, 0),
      ngx_egress_match_port },

    { ngx_string("not_ports"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_PORT, 1),
      ngx_egress_match_port },

    { ngx_string("methods"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_METHOD, 0),
      ngx_egress_match_text },

    { ngx_string("not_methods"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_METHOD, 1),
      ngx_egress_match_text },

    { ngx_string("paths"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_PATH, 0),
      ngx_egress_match_path },

    { ngx_string("not_paths"),
      NGX_EGRESS_TO_CONF|NGX_CONF_1MORE,
      ngx_egress_authz_match_slot,
      0,
      ngx_egress_authz_offset(NGX_EGRESS_PATH, 1),
      ngx_egress_match_path },

    { ngx_string("request_principals"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_ANY,
      ngx_egress_authz_refused,
      0,
      0,
      NULL },

    { ngx_string("not_request_principals"),
      NGX_EGRESS_FROM_CONF|NGX_CONF_ANY,
      ngx_egress_authz_refused,
      0,
      0,
      NULL },

      ngx_null_command
};


/* attributes of Istio's conditions */

static ngx_egress_authz_key_t  ngx_egress_authz_keys[] = {

    { ngx_string("request.headers"), NGX_EGRESS_HEADER,
      ngx_egress_match_text },
    { ngx_string("source.ip"), NGX_EGRESS_SOURCE_IP, NULL },
    { ngx_string("remote.ip"), NGX_EGRESS_REMOTE_IP, NULL },
    { ngx_string("source.namespace"), NGX_EGRESS_NAMESPACE,
      ngx_egress_match_namespace },
    { ngx_string("source.principal"), NGX_EGRESS_PRINCIPAL,
      ngx_egress_match_principal },
    { ngx_string("source.serviceAccount"), NGX_EGRESS_SERVICE_ACCOUNT,
      ngx_egress_match_account },
    { ngx_string("source.trustDomain"), NGX_EGRESS_TRUST_DOMAIN,
      ngx_egress_match_domain },
    { ngx_string("destination.ip"), NGX_EGRESS_DESTINATION_IP, NULL },
    { ngx_string("destination.port"), NGX_EGRESS_PORT,
      ngx_egress_match_port },
    { ngx_string("connection.sni"), NGX_EGRESS_SNI, ngx_egress_match_text },

    { ngx_null_string, 0, NULL }
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
    ngx_pool_cleanup_t       *cln;
    ngx_egress_authz_conf_t  *acf;

    acf = ngx_pcalloc(cf->pool, sizeof(ngx_egress_authz_conf_t));
    if (acf == NULL) {
        return NULL;
    }

    /*
     * set by ngx_pcalloc():
     *
     *     acf->npolicies[] = 0
     *     acf->base, engines[] = NULL
     *     acf->fields = 0
     */

    acf->normalization = NGX_CONF_UNSET_UINT;
    acf->trusted_hops = NGX_CONF_UNSET;
    acf->pool = cf->pool;

    if (ngx_array_init(&acf->policies, cf->pool, 4,
                       sizeof(ngx_egress_policy_t *))
        != NGX_OK)
    {
        return NULL;
    }

    ngx_rbtree_init(&acf->names, &acf->sentinel, ngx_str_rbtree_insert_value);

    /* what the parser makes of rules is some ten times what they compile to */

    cln = ngx_pool_cleanup_add(cf->pool, 0);
    if (cln == NULL) {
        return NULL;
    }

    acf->temp = ngx_create_pool(NGX_CYCLE_POOL_SIZE, cf->log);
    if (acf->temp == NULL) {
        return NULL;
    }

    cln->handler = ngx_egress_authz_cleanup;
    cln->data = acf;

    if (ngx_egress_authz_add_reports(cf) != NGX_OK) {
        return NULL;
    }

    return acf;
}


static void
ngx_egress_authz_cleanup(void *data)
{
    ngx_egress_authz_conf_t *acf = data;

    if (acf->temp) {
        ngx_destroy_pool(acf->temp);
        acf->temp = NULL;
    }
}


static ngx_int_t
ngx_egress_authz_init_conf(ngx_cycle_t *cycle, void *conf)
{
    ngx_egress_authz_conf_t *acf = conf;

    ngx_conf_init_uint_value(acf->normalization, NGX_EGRESS_PATH_BASE);
    ngx_conf_init_value(acf->trusted_hops, 0);

    if (ngx_egress_authz_compile(cycle, acf) != NGX_OK) {
        return NGX_ERROR;
    }

    ngx_egress_authz_cleanup(acf);

    return NGX_OK;
}


static ngx_int_t
ngx_egress_authz_compile(ngx_cycle_t *cycle, ngx_egress_authz_conf_t *acf)
{
    ngx_uint_t   i;
    ngx_array_t  lists[NGX_EGRESS_ENGINES];

    acf->base = ngx_egress_base_create(cycle->pool, acf->temp);

    if (acf->base == NULL
        || ngx_egress_authz_sort(cycle, acf, lists) != NGX_OK)
    {
        return NGX_ERROR;
    }

    for (i = 0; i < NGX_EGRESS_ENGINES; i++) {

        acf->engines[i] = ngx_egress_engine_create(acf->base,
                                                   i % NGX_EGRESS_ACTIONS,
                                                   &lists[i]);
        if (acf->engines[i] == NULL) {
            return NGX_ERROR;
        }
    }

    if (ngx_egress_base_done(acf->base) != NGX_OK) {
        return NGX_ERROR;
    }

    acf->fields = ngx_egress_base_fields(acf->base);

    return NGX_OK;
}


/* rules by what they do, when the trust domains are known */

static ngx_int_t
ngx_egress_authz_sort(ngx_cycle_t *cycle, ngx_egress_authz_conf_t *acf,
    ngx_array_t *lists)
{
    ngx_uint_t             i, k, n;
    ngx_egress_rule_t    **rule, **p;
    ngx_egress_policy_t  **policy;

    for (i = 0; i < NGX_EGRESS_ENGINES; i++) {
        if (ngx_array_init(&lists[i], acf->temp, 16,
                           sizeof(ngx_egress_rule_t *))
            != NGX_OK)
        {
            return NGX_ERROR;
        }
    }

    policy = acf->policies.elts;

    for (i = 0; i < acf->policies.nelts; i++) {

        n = policy[i]->action + (policy[i]->dry_run ? NGX_EGRESS_DRY : 0);

        acf->npolicies[n]++;

        rule = policy[i]->rules.elts;

        for (k = 0; k < policy[i]->rules.nelts; k++) {

            if (ngx_egress_domains_replace(acf->temp, rule[k],
                                           ngx_egress_trust_domains(cycle))
                != NGX_OK)
            {
                return NGX_ERROR;
            }

            p = ngx_array_push(&lists[n]);
            if (p == NULL) {
                return NGX_ERROR;
            }

            *p = rule[k];
        }

        policy[i]->nrules = policy[i]->rules.nelts;

        /* of the pool that goes */

        ngx_memzero(&policy[i]->rules, sizeof(ngx_array_t));
    }

    return NGX_OK;
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

    cf->pool = acf->temp;

    rv = ngx_egress_authz_block(cf, policy, NGX_EGRESS_POLICY_CONF);

    cf->pool = acf->pool;

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return ngx_egress_authz_check_policy(cf, policy);
}


static char *
ngx_egress_authz_check_policy(ngx_conf_t *cf, ngx_egress_policy_t *policy)
{
    if (policy->action == NGX_CONF_UNSET_UINT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "policy \"%V\" must have \"action\"",
                           &policy->sn.str);
        return NGX_CONF_ERROR;
    }

    ngx_conf_init_value(policy->dry_run, 0);

    if (policy->dry_run && policy->action == NGX_EGRESS_AUDIT) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"dry_run\" of policy \"%V\" is for \"allow\" and "
                           "\"deny\" only", &policy->sn.str);
        return NGX_CONF_ERROR;
    }

    if (policy->source.len) {
        policy->source.data = ngx_pstrdup(cf->pool, &policy->source);
        if (policy->source.data == NULL) {
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
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
    policy->dry_run = NGX_CONF_UNSET;

    if (ngx_array_init(&policy->rules, acf->temp, 1,
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

    } else if (ngx_strcmp(value[1].data, "audit") == 0) {
        policy->action = NGX_EGRESS_AUDIT;

    } else if (ngx_strcmp(value[1].data, "custom") == 0) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "\"action custom\" is not possible: an authorizer "
                           "that is not called can't allow anything");
        return NGX_CONF_ERROR;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"%V\": it has to be "
                           "\"allow\", \"deny\" or \"audit\"",
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

    rule->policy = policy;
    rule->index = policy->rules.nelts;

    if (ngx_array_init(&rule->from, cf->pool, 1, sizeof(ngx_egress_block_t))
        != NGX_OK
        || ngx_array_init(&rule->to, cf->pool, 1, sizeof(ngx_egress_block_t))
           != NGX_OK
        || ngx_array_init(&rule->when.conds, cf->pool, 1,
                          sizeof(ngx_egress_cond_t))
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
ngx_egress_authz_rule_source(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_rule_t *rule = conf;

    ngx_str_t  *value;

    if (rule->source.data) {
        return "is duplicate";
    }

    value = cf->args->elts;
    rule->source = value[1];

    return NGX_CONF_OK;
}


static char *
ngx_egress_authz_from_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_rule_t *rule = conf;

    return ngx_egress_authz_sub_block(cf, &rule->from, NGX_EGRESS_FROM_CONF);
}


static char *
ngx_egress_authz_to_block(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_rule_t *rule = conf;

    return ngx_egress_authz_sub_block(cf, &rule->to, NGX_EGRESS_TO_CONF);
}


static char *
ngx_egress_authz_sub_block(ngx_conf_t *cf, ngx_array_t *blocks,
    ngx_uint_t type)
{
    char                *rv;
    ngx_egress_block_t  *block;

    block = ngx_array_push(blocks);
    if (block == NULL) {
        return NGX_CONF_ERROR;
    }

    if (ngx_array_init(&block->conds, cf->pool, 2, sizeof(ngx_egress_cond_t))
        != NGX_OK)
    {
        return NGX_CONF_ERROR;
    }

    rv = ngx_egress_authz_block(cf, block, type);

    if (rv != NGX_CONF_OK) {
        return rv;
    }

    return block->conds.nelts ? NGX_CONF_OK : "is empty";
}


static char *
ngx_egress_authz_match_slot(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_block_t *block = conf;

    ngx_str_t          *value;
    ngx_uint_t          i, field, negative;
    ngx_egress_cond_t  *cond;

    field = cmd->offset / 2;
    negative = cmd->offset % 2;

    cond = block->conds.elts;

    for (i = 0; i < block->conds.nelts; i++) {
        if (cond[i].field == field && cond[i].negative == negative) {
            return "is duplicate";
        }
    }

    cond = ngx_egress_authz_add_cond(cf, block, field, negative,
                                     cf->args->nelts - 1);
    if (cond == NULL) {
        return NGX_CONF_ERROR;
    }

    value = cf->args->elts;

    return ngx_egress_authz_values(cf, cond, (ngx_egress_match_pt) cmd->post,
                                   &value[1], cf->args->nelts - 1,
                                   &cmd->name);
}


/* when key in|not_in value ...; */

static char *
ngx_egress_authz_when(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_egress_rule_t *rule = conf;

    ngx_str_t               *value, header;
    ngx_uint_t               negative;
    ngx_egress_cond_t       *cond;
    ngx_egress_authz_key_t  *key;

    value = cf->args->elts;

    key = ngx_egress_authz_key(cf, &value[1], &header);

    if (key == NULL) {
        return NGX_CONF_ERROR;
    }

    if (cf->args->nelts < 4) {
        return "must have a key, \"in\" or \"not_in\", and values";
    }

    if (ngx_strcmp(value[2].data, "in") == 0) {
        negative = 0;

    } else if (ngx_strcmp(value[2].data, "not_in") == 0) {
        negative = 1;

    } else {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                           "invalid value \"%V\" in \"when\": "
                           "it has to be \"in\" or \"not_in\"", &value[2]);
        return NGX_CONF_ERROR;
    }

    cond = ngx_egress_authz_add_cond(cf, &rule->when, key->field, negative,
                                     cf->args->nelts - 3);
    if (cond == NULL) {
        return NGX_CONF_ERROR;
    }

    cond->name = header;

    return ngx_egress_authz_values(cf, cond, key->make, &value[3],
                                   cf->args->nelts - 3, &value[1]);
}


static ngx_egress_authz_key_t *
ngx_egress_authz_key(ngx_conf_t *cf, ngx_str_t *text, ngx_str_t *header)
{
    size_t                   len;
    ngx_egress_authz_key_t  *key;

    ngx_str_null(header);

    for (key = ngx_egress_authz_keys; key->name.len; key++) {

        len = key->name.len;

        if (text->len < len
            || ngx_strncmp(text->data, key->name.data, len) != 0)
        {
            continue;
        }

        if (key->field != NGX_EGRESS_HEADER) {

            if (text->len == len) {
                return key;
            }

            continue;
        }

        if (text->len < len + 3 || text->data[len] != '['
            || text->data[text->len - 1] != ']')
        {
            break;
        }

        header->data = text->data + len + 1;
        header->len = text->len - len - 2;

        ngx_strlow(header->data, header->data, header->len);

        return key;
    }

    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "invalid key \"%V\" in \"when\": "
                       "%s", text, ngx_egress_authz_key_error(text));

    return NULL;
}


/* in Istio's words where it has any */

static const char *
ngx_egress_authz_key_error(ngx_str_t *text)
{
    ngx_uint_t  i;

    static struct {
        const char  *prefix;
        const char  *error;
    } known[] = {
        { "request.auth.", "there are no JWTs at this gateway" },
        { "request.headers", "it has to be request.headers[name]" },
        { "experimental.", "there is no metadata of Envoy filters" },
        { "destination.namespace", "it is replaced by the metadata.namespace" },
        { "destination.labels", "it is replaced by the workload selector" },
        { "destination.name", "it is deprecated, of v1alpha1 only" },
        { "destination.user", "it is deprecated, of v1alpha1 only" },
        { NULL, NULL }
    };

    for (i = 0; known[i].prefix; i++) {
        if (ngx_strncmp(text->data, known[i].prefix,
                        ngx_strlen(known[i].prefix))
            == 0)
        {
            return known[i].error;
        }
    }

    return "unknown attribute";
}


static ngx_egress_cond_t *
ngx_egress_authz_add_cond(ngx_conf_t *cf, ngx_egress_block_t *block,
    ngx_uint_t field, ngx_uint_t negative, ngx_uint_t n)
{
    ngx_egress_cond_t  *cond;

    cond = ngx_array_push(&block->conds);
    if (cond == NULL) {
        return NULL;
    }

    cond->field = field;
    cond->negative = negative;

    ngx_str_null(&cond->name);

    if (n > 65000) {
        ngx_conf_log_error(NGX_LOG_EMERG, cf, 0, "too many values");
        return NULL;
    }

    if (ngx_array_init(&cond->values, cf->pool, n, sizeof(ngx_egress_match_t))
        != NGX_OK)
    {
        return NULL;
    }

    return cond;
}


static char *
ngx_egress_authz_values(ngx_conf_t *cf, ngx_egress_cond_t *cond,
    ngx_egress_match_pt make, ngx_str_t *value, ngx_uint_t n, ngx_str_t *name)
{
    ngx_uint_t           i;
    const char          *err;
    ngx_egress_match_t  *match;

    for (i = 0; i < n; i++) {

        match = ngx_array_push(&cond->values);
        if (match == NULL) {
            return NGX_CONF_ERROR;
        }

        ngx_memzero(match, sizeof(ngx_egress_match_t));

        err = make ? make(match, &value[i])
                   : ngx_egress_authz_cidr(cf, match, &value[i]);

        if (err) {
            ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                               "invalid value \"%V\" in \"%V\": %s",
                               &value[i], name, err);
            return NGX_CONF_ERROR;
        }
    }

    return NGX_CONF_OK;
}


static const char *
ngx_egress_authz_cidr(ngx_conf_t *cf, ngx_egress_match_t *m, ngx_str_t *value)
{
    u_char      *p, *addr, *mask;
    ngx_int_t    rc;
    ngx_uint_t   i, n, bits;
    ngx_cidr_t   cidr;

    rc = ngx_ptocidr(value, &cidr);

    if (rc == NGX_ERROR || cidr.family == AF_UNIX) {
        return "it has to be an address or a CIDR";
    }

    if (rc == NGX_DONE) {
        ngx_conf_log_error(NGX_LOG_WARN, cf, 0,
                           "low address bits of %V are meaningless", value);
    }

#if (NGX_HAVE_INET6)
    if (cidr.family == AF_INET6) {
        n = 16;
        addr = cidr.u.in6.addr.s6_addr;
        mask = cidr.u.in6.mask.s6_addr;

        /* clients are never known by such an address: it would be nobody's */

        if (IN6_IS_ADDR_V4MAPPED(&cidr.u.in6.addr)) {
            return "addresses of IPv4 are compared as such: write it as one";
        }

    } else
#endif
    {
        n = 4;
        addr = (u_char *) &cidr.u.in.addr;
        mask = (u_char *) &cidr.u.in.mask;
    }

    bits = 0;

    for (i = 0; i < n * 8; i++) {
        bits += (mask[i / 8] >> (7 - i % 8)) & 1;
    }

    p = ngx_pnalloc(cf->pool, n + 1);
    if (p == NULL) {
        return "no memory";
    }

    p[0] = (u_char) bits;
    ngx_memcpy(&p[1], addr, n);

    m->kind = NGX_EGRESS_MATCH_CIDR;
    m->value.data = p;
    m->value.len = n + 1;

    return NULL;
}


static char *
ngx_egress_authz_refused(ngx_conf_t *cf, ngx_command_t *cmd, void *conf)
{
    ngx_conf_log_error(NGX_LOG_EMERG, cf, 0,
                       "\"%V\" is not possible: there are no JWTs at this "
                       "gateway", &cmd->name);

    return NGX_CONF_ERROR;
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
