
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include "naive.h"


static ngx_uint_t naive_rule(ngx_egress_rule_t *rule, ngx_uint_t action,
    ngx_egress_ask_t *ask);
static ngx_uint_t naive_block(ngx_egress_block_t *block, ngx_uint_t action,
    ngx_egress_ask_t *ask);
static ngx_uint_t naive_cond(ngx_egress_cond_t *cond, ngx_uint_t action,
    ngx_egress_ask_t *ask);
static ngx_uint_t naive_values(ngx_egress_cond_t *cond, ngx_str_t *value);
static ngx_uint_t naive_header(ngx_egress_cond_t *cond, ngx_uint_t action,
    ngx_egress_ask_t *ask);
static ngx_uint_t naive_http(ngx_egress_rule_t *rule);
static ngx_uint_t naive_and(ngx_uint_t one, ngx_uint_t two);
static ngx_uint_t naive_or(ngx_uint_t one, ngx_uint_t two);


ngx_uint_t
naive_match(ngx_array_t *rules, ngx_uint_t action, ngx_egress_ask_t *ask,
    ngx_uint_t *number)
{
    ngx_uint_t           i, rc, unknown;
    ngx_egress_rule_t  **rule;

    rule = rules->elts;
    unknown = NGX_EGRESS_NO;

    for (i = 0; i < rules->nelts; i++) {

        rc = naive_rule(rule[i], action, ask);

        if (rc == NGX_EGRESS_YES
            || (rc != NGX_EGRESS_NO && action != NGX_EGRESS_ALLOW))
        {
            *number = i;
            return rc;
        }

        unknown = naive_or(unknown, rc);
    }

    *number = rules->nelts;

    return unknown;
}


/* one pair of "from" and "to" after the other */

static ngx_uint_t
naive_rule(ngx_egress_rule_t *rule, ngx_uint_t action, ngx_egress_ask_t *ask)
{
    ngx_uint_t           i, j, rc, result;
    ngx_egress_block_t  *from, *to;

    if (action == NGX_EGRESS_ALLOW && !ask->http && naive_http(rule)) {
        return NGX_EGRESS_NO;
    }

    result = NGX_EGRESS_NO;

    for (i = 0; i == 0 || i < rule->from.nelts; i++) {

        from = rule->from.nelts ? (ngx_egress_block_t *) rule->from.elts + i
                                : NULL;

        for (j = 0; j == 0 || j < rule->to.nelts; j++) {

            to = rule->to.nelts ? (ngx_egress_block_t *) rule->to.elts + j
                                : NULL;

            rc = naive_and(naive_block(from, action, ask),
                           naive_and(naive_block(to, action, ask),
                                     naive_block(&rule->when, action, ask)));

            result = naive_or(result, rc);
        }
    }

    return result;
}


static ngx_uint_t
naive_block(ngx_egress_block_t *block, ngx_uint_t action,
    ngx_egress_ask_t *ask)
{
    ngx_uint_t          i, result;
    ngx_egress_cond_t  *cond;

    result = NGX_EGRESS_YES;

    if (block == NULL) {
        return result;
    }

    cond = block->conds.elts;

    for (i = 0; i < block->conds.nelts; i++) {

        if (!ask->http && (cond[i].field == NGX_EGRESS_METHOD
                           || cond[i].field == NGX_EGRESS_PATH
                           || cond[i].field == NGX_EGRESS_HEADER))
        {
            continue;
        }

        result = naive_and(result, naive_cond(&cond[i], action, ask));
    }

    return result;
}


static ngx_uint_t
naive_cond(ngx_egress_cond_t *cond, ngx_uint_t action, ngx_egress_ask_t *ask)
{
    ngx_str_t            value, *s;
    ngx_uint_t           i, found;
    ngx_egress_addr_t    addr;
    ngx_egress_match_t  *m;

    s = &value;

    switch (cond->field) {

    case NGX_EGRESS_PORT:
        m = cond->values.elts;
        found = 0;

        for (i = 0; i < cond->values.nelts; i++) {
            found |= (m[i].port == ask->port);
        }

        return found ^ cond->negative;

    case NGX_EGRESS_HEADER:
        return naive_header(cond, action, ask);

    case NGX_EGRESS_SOURCE_IP:
    case NGX_EGRESS_REMOTE_IP:
    case NGX_EGRESS_DESTINATION_IP:
        addr.len = 0;
        ask->addr(ask, cond->field, &addr);

        if (addr.len == 0) {
            return NGX_EGRESS_UNREADABLE;
        }

        value.data = addr.bytes;
        value.len = addr.len;
        break;

    case NGX_EGRESS_HOST:
        s = &ask->host;
        break;

    case NGX_EGRESS_SNI:
        s = &ask->sni;
        break;

    case NGX_EGRESS_METHOD:
        s = &ask->method;
        break;

    case NGX_EGRESS_PATH:
        s = &ask->path;
        break;

    default:
        if (ask->principal.len == 0) {
            return NGX_EGRESS_NOBODY;
        }

        s = &ask->principal;
    }

    return naive_values(cond, s) ^ cond->negative;
}


static ngx_uint_t
naive_values(ngx_egress_cond_t *cond, ngx_str_t *value)
{
    ngx_uint_t           i;
    ngx_egress_match_t  *m;

    m = cond->values.elts;

    for (i = 0; i < cond->values.nelts; i++) {
        if (ngx_egress_match(&m[i], value)) {
            return 1;
        }
    }

    return 0;
}


static ngx_uint_t
naive_header(ngx_egress_cond_t *cond, ngx_uint_t action,
    ngx_egress_ask_t *ask)
{
    ngx_int_t             rc;
    ngx_uint_t            helps;
    ngx_egress_header_t   header;

    rc = ask->header(ask, &cond->name, &header);

    if (rc == NGX_ERROR) {
        return NGX_EGRESS_UNREADABLE;
    }

    if (rc == NGX_DECLINED) {
        return cond->negative;
    }

    helps = (action == NGX_EGRESS_ALLOW) ? !cond->negative : cond->negative;

    return ngx_egress_match_header(cond->values.elts, cond->values.nelts,
                                   &header, helps)
           ^ cond->negative;
}


static ngx_uint_t
naive_http(ngx_egress_rule_t *rule)
{
    ngx_uint_t           i, j, k;
    ngx_array_t          one, *blocks[3];
    ngx_egress_cond_t   *cond;
    ngx_egress_block_t  *block;

    one.elts = &rule->when;
    one.nelts = 1;

    blocks[0] = &rule->from;
    blocks[1] = &rule->to;
    blocks[2] = &one;

    for (i = 0; i < 3; i++) {

        block = blocks[i]->elts;

        for (j = 0; j < blocks[i]->nelts; j++) {

            cond = block[j].conds.elts;

            for (k = 0; k < block[j].conds.nelts; k++) {

                if (cond[k].field == NGX_EGRESS_METHOD
                    || cond[k].field == NGX_EGRESS_PATH
                    || cond[k].field == NGX_EGRESS_HEADER)
                {
                    return 1;
                }
            }
        }
    }

    return 0;
}


static ngx_uint_t
naive_and(ngx_uint_t one, ngx_uint_t two)
{
    static const ngx_uint_t  order[] = {
        NGX_EGRESS_NO, NGX_EGRESS_NOBODY, NGX_EGRESS_UNREADABLE
    };

    ngx_uint_t  i;

    for (i = 0; i < 3; i++) {
        if (one == order[i] || two == order[i]) {
            return order[i];
        }
    }

    return NGX_EGRESS_YES;
}


static ngx_uint_t
naive_or(ngx_uint_t one, ngx_uint_t two)
{
    static const ngx_uint_t  order[] = {
        NGX_EGRESS_YES, NGX_EGRESS_NOBODY, NGX_EGRESS_UNREADABLE
    };

    ngx_uint_t  i;

    for (i = 0; i < 3; i++) {
        if (one == order[i] || two == order[i]) {
            return order[i];
        }
    }

    return NGX_EGRESS_NO;
}
