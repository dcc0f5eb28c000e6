
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _SCHEMA_H_INCLUDED_
#define _SCHEMA_H_INCLUDED_


/* what may stand there */

#define F_STR      1
#define F_INT      2
#define F_BOOL     3
#define F_TIME     4                     /* "10s", "1h2m", "100ms" */
#define F_MAP      5
#define F_STRS     6                     /* a list of strings */
#define F_MAPS     7                     /* a list of mappings */
#define F_LABELS   8                     /* a mapping of values */
#define F_ANY      9
#define F_WORD     10                    /* one of "words" */
#define F_PORTS    11                    /* a mapping of port numbers */
#define F_PORT     12
#define F_NUM      13                    /* with a fraction, perhaps */
#define F_MAPMAP   14                    /* a mapping of mappings */
#define F_STR0     15                    /* a string that may be empty */
#define F_INTS     16                    /* a list of numbers */

/* what becomes of it */

#define F_USED     0                     /* rendered */
#define F_NONE     1                     /* no effect at an egress gateway */
#define F_LATER    2                     /* refused where it would count */
#define F_NEVER    3                     /* the same, for good */
#define F_IDLE     4                     /* no effect, and none is expected */

/* must it be there */

#define F_MUST     1
#define F_FILLED   2                     /* if it is, it is not empty */


typedef struct field_s  field_t;

struct field_s {
    const char      *name;
    int              type;
    int              use;
    int              required;
    const field_t   *fields;

    /*
     * What F_WORD allows, separated by "|"; else why there is no effect, or
     * the way out of a refusal.
     */

    const char      *words;
};


typedef struct {
    const char      *kind;
    const char      *group;
    const char      *top;                /* where its fields are: "spec" */
    const field_t   *fields;
    int              empty;              /* may be without them */
    const char      *note;               /* why it is skipped */
} kind_t;


extern const kind_t   schema_kinds[];
extern const field_t  schema_metadata[];
extern const field_t  schema_document[];
extern const field_t  schema_local_rate_limit[];
extern const field_t  schema_rate_limits[];


#endif /* _SCHEMA_H_INCLUDED_ */
