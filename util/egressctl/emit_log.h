
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _EMIT_LOG_H_INCLUDED_
#define _EMIT_LOG_H_INCLUDED_


/*
 * emit_cel.c: a variable that is 1 where the expression is true, and 0 where
 * it is false or can't be evaluated; NULL after an error.
 */
const char *cel_condition(emit_t *e, const pos_t *pos, const char *text);


#endif /* _EMIT_LOG_H_INCLUDED_ */
