
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _LIMITS_H_INCLUDED_
#define _LIMITS_H_INCLUDED_


/* reads EnvoyFilters; before anything asks for what they limit */
void limits_build(emit_t *e);

/*
 * Writes egress_ratelimit for a listener, a virtual host or one of its rules,
 * where Envoy has a configuration for just that.
 */
void limits_listener(emit_t *e, listener_t *l, const char *indent, FILE *out);
void limits_vhost(emit_t *e, listener_t *l, vhost_t *v, FILE *out);
void limits_rule(emit_t *e, listener_t *l, vhost_t *v, rule_t *rule,
    FILE *out);

/* has the host, or one of its routes, a configuration of its own */
int limits_own(emit_t *e, listener_t *l, vhost_t *v);

/* the buckets of all that was written, and what came to nothing */
void limits_buckets(emit_t *e);


#endif /* _LIMITS_H_INCLUDED_ */
