
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_ENGINE_H_INCLUDED_
#define _NGX_EGRESS_ENGINE_H_INCLUDED_


#include <ngx_config.h>
#include <ngx_core.h>
#include <ngx_egress_authz.h>


/*
 * How a decision is found
 *
 * A rule is as many clauses as it has pairs of "from" and "to"; all
 * conditions of a clause have to hold.  The patterns of a field stand in one
 * table, so that a flow's value is looked up once: a probe for the exact
 * value, and one for each length of a prefix, suffix or CIDR that is in use.
 *
 * A clause stands in a trie whose levels are the groups below: an edge is a
 * node and a pattern that must match there, or "any".  A walk follows only
 * edges of patterns that do match, so it meets no clause whose host, path,
 * address or identity can't.  What is left of a clause is looked at then.
 *
 * Identity is the last level.  A flow without identity can't walk there: each
 * node of that level has a list of its clauses that ask for one, of those
 * that differ in nothing else only the first.
 *
 * CIDRs are found by the first bits of the address, about as many as tell them
 * apart: what is there tells for which lengths it is worth to look.  That is
 * one step of a radix tree that is as wide as the whole is large; the rest of
 * the way is hashes.
 */

#define NGX_EGRESS_GROUP_HOST      0
#define NGX_EGRESS_GROUP_PATH      1
#define NGX_EGRESS_GROUP_IP        2       /* source addresses */
#define NGX_EGRESS_GROUP_WHO       3
#define NGX_EGRESS_GROUP_NONE      NGX_EGRESS_GROUPS

#define NGX_EGRESS_ANY             0       /* the pattern that is none */

#define NGX_EGRESS_LAST            0x80000000  /* of a list of clauses */

/* a clause whose product of values is larger is walked to by less of them */
#define NGX_EGRESS_PRODUCT         256


/*
 * A pattern is a record in base->text and its number is where it begins: group
 * and kind, two bytes of length, the text.  So whoever has the number is one
 * step from the bytes.
 */

#define NGX_EGRESS_PATTERN_HEAD    4

#define ngx_egress_pattern_group(p)   ((p)[0])
#define ngx_egress_pattern_kind(p)    ((p)[1])
#define ngx_egress_pattern_len(p)     ((size_t) (p)[2] << 8 | (p)[3])
#define ngx_egress_pattern_text(p)    ((p) + NGX_EGRESS_PATTERN_HEAD)


/*
 * Of a condition with one value, values is the pattern or the port itself,
 * else where they begin in base->values, in ascending order.  A header's name
 * is a pattern before them, and then they never stand here.
 */

typedef struct {
    uint8_t                   field;
    unsigned                  negative:1;
    unsigned                  last:1;      /* of its block */
    uint16_t                  n;
    uint32_t                  values;
} ngx_egress_code_t;

/* block 0 has no conditions */

#define ngx_egress_code_first(code, block)  ((block) ? &(code)[block] : NULL)
#define ngx_egress_code_next(p)             ((p)->last ? NULL : (p) + 1)


typedef struct {
    uint32_t                  hash;
    uint32_t                  id;          /* of a pattern; 0: free */
} ngx_egress_slot_t;


typedef struct {
    uint32_t                  node;
    uint32_t                  id;          /* of a pattern */
    uint32_t                  to;          /* node, or list of clauses, or
                                              NGX_EGRESS_LAST | clause;
                                              0: free */
    uint32_t                  port;        /* all that is left to look at of
                                              the only clause; 0: see there */
} ngx_egress_edge_t;                       /* four of them are a cache line */


/* of a node of the last level: its clauses that ask for an identity */

typedef struct {
    uint32_t                  node;
    uint32_t                  to;          /* as that of an edge */
} ngx_egress_nobody_t;


/*
 * The first of several levels has no edges: its nodes are the patterns
 * themselves.  Nodes further down are edges, numbered from here on.
 *
 * Where an edge is hangs on the hashes of the texts on the way to it, not on
 * numbers that would have to be looked up before: so all that a flow needs is
 * fetched at once, and compared later.
 */

#define NGX_EGRESS_NODES           0x20000000


typedef struct {
    unsigned                  rule:26;
    unsigned                  covered:4;   /* groups that the walk did */
    unsigned                  bare:1;      /* nothing is left to look at */
    unsigned                  http:1;      /* has fields of http only */
    uint32_t                  from;        /* offsets in base->code */
    uint32_t                  to;
    uint32_t                  when;
} ngx_egress_clause_t;


typedef struct {
    uint32_t                  policy;
    uint32_t                  index;       /* of the rule in it */
    uint32_t                  clause;      /* its first one */
    uint32_t                  source;      /* a pattern; ANY: the policy's */
    uint32_t                  line;        /* after source and ":"; 0: none */
} ngx_egress_compiled_t;


/*
 * Which lengths occur: ascending, for prefixes and so on.  All patterns of a
 * length may have the same byte at their inner end, as the dot of "*.a.com";
 * 0: they don't.
 */

typedef struct {
    uint16_t                 *lengths;
    u_char                   *bytes;
    ngx_uint_t                n;
} ngx_egress_lengths_t;


/* texts of bytes that are numbered from 0 on, until all is compiled */

typedef struct {
    size_t                    offset;
    uint32_t                  len;
    uint32_t                  hash;
} ngx_egress_deduped_t;


typedef struct {
    ngx_pool_t               *pool;
    u_char                   *data;
    size_t                    size;
    size_t                    room;
    ngx_egress_deduped_t    *items;
    uint32_t                  n;
    uint32_t                  nitems;      /* allocated */
    uint32_t                 *slots;       /* number + 1; 0: free */
    uint32_t                  mask;
} ngx_egress_dedup_t;


#define NGX_EGRESS_TABLES          6

/* kinds of lengths, and of tables of patterns to be probed by a part */

#define NGX_EGRESS_PREFIXES        0
#define NGX_EGRESS_SUFFIXES        1
#define NGX_EGRESS_HEADS           2       /* of templates, of namespaces
                                              with a "*" */


struct ngx_egress_base_s {
    ngx_pool_t               *pool;
    ngx_pool_t               *temp;
    ngx_array_t               engines;     /* ngx_egress_engine_t * */

    ngx_egress_dedup_t      *patterns_in; /* until ngx_egress_base_done() */
    ngx_egress_dedup_t      *values_in;
    ngx_egress_dedup_t      *code_in;

    u_char                   *text;        /* of all patterns */
    size_t                    ntext;
    uint32_t                 *values;
    ngx_egress_code_t        *code;

    ngx_egress_slot_t        *slots;       /* by the whole text */
    uint32_t                  nslots;
    ngx_egress_slot_t        *heads;       /* by the text before the "*" */
    uint32_t                  nheads;

    uint32_t                 *filter;      /* bits of hashes that are there:
                                              most lengths don't match */
    uint32_t                  nfilter;

    uint64_t                 *cidrs;       /* by the first bits of an address,
                                              which lengths of CIDRs occur
                                              there; the last bit: any of the
                                              further ones */
    ngx_uint_t                ncidrs;      /* patterns */
    ngx_uint_t                cidr_bits;

    ngx_egress_lengths_t      lengths[NGX_EGRESS_GROUPS][3];
    uint32_t                  present[NGX_EGRESS_GROUPS];
    ngx_array_t               always;      /* uint32_t: patterns of WHO that
                                              have no head */

    ngx_uint_t                fields;
    size_t                    size;
};


struct ngx_egress_engine_s {
    ngx_egress_base_t        *base;
    ngx_uint_t                action;

    ngx_egress_policy_t     **policies;
    ngx_egress_compiled_t    *rules;
    uint32_t                  nrules;
    ngx_egress_clause_t      *clauses;
    uint32_t                  nclauses;

    ngx_uint_t                groups[NGX_EGRESS_GROUPS + 1];
                                           /* levels; ends with GROUP_NONE */
    ngx_uint_t                any;         /* bits: levels that have a clause
                                              without a pattern */
    uint32_t                  root;        /* if there is no level */
    ngx_egress_edge_t        *edges;
    uint32_t                  nedges;
    ngx_egress_nobody_t      *nobodys;
    uint32_t                  nnobodys;
    uint32_t                 *lists;       /* of clauses */
    size_t                    size;
};


#define ngx_egress_reduce(hash, n)                                            \
    ((uint32_t) (((uint64_t) (hash) * (n)) >> 32))

#define NGX_EGRESS_NEAR            64
#define NGX_EGRESS_CIDR_BITS       20

#define ngx_egress_cidr_near(base, word)                                      \
    ((word) >> 1 >> (63 - (base)->cidr_bits))

/* a word of the filter, and two of its bits */
#define ngx_egress_filter(base, hash)                                         \
    (base)->filter[ngx_egress_reduce((hash) * 0x9e3779b1, (base)->nfilter)]
#define ngx_egress_filter_bits(hash)                                          \
    ((uint32_t) 1 << ((hash) & 31) | (uint32_t) 1 << ((hash) >> 5 & 31))

uint32_t ngx_egress_hash(u_char *data, size_t len, uint32_t seed);
uint32_t ngx_egress_edge_hash(uint32_t node, uint32_t key);

/* of a CIDR's text; an address as two words of which the first bits count */
uint32_t ngx_egress_cidr_hash(u_char *text, size_t len);
void ngx_egress_cidr_words(u_char *addr, size_t len, uint64_t *words);

/* the seed of a pattern's hash: what may stand in one table */
#define ngx_egress_seed(group, kind)                                          \
    (((uint32_t) (group) << 8 | (uint32_t) (kind)) * 0x9e3779b1 + 1)

ngx_uint_t ngx_egress_field_group(ngx_uint_t field);

/* the text before the first operator or "*" of a template or a namespace */
size_t ngx_egress_pattern_head(u_char *pattern);


#endif /* _NGX_EGRESS_ENGINE_H_INCLUDED_ */
