
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#ifndef _NGX_EGRESS_CLIENTHELLO_H_INCLUDED_
#define _NGX_EGRESS_CLIENTHELLO_H_INCLUDED_


#ifdef NGX_EGRESS_STANDALONE
#include "ngx_shim.h"
#else
#include <ngx_config.h>
#include <ngx_core.h>
#endif


/* what the length byte of a name can say and what is kept of the list */

#define NGX_EGRESS_HELLO_SNI_MAX     255
#define NGX_EGRESS_HELLO_ALPN_MAX    256

/* bytes of a ClientHello with its header, and of the records around it */

#define NGX_EGRESS_HELLO_MAX         16384
#define NGX_EGRESS_HELLO_RAW_MAX     32768

/* TLS has some 60 extensions, a client sends 10 to 20 */

#define NGX_EGRESS_HELLO_EXTENSIONS  64


typedef struct {

    /* valid after NGX_OK */

    u_char                    sni[NGX_EGRESS_HELLO_SNI_MAX + 1];
    size_t                    sni_len;     /* 0: no SNI; lower-cased */
    u_char                    alpn[NGX_EGRESS_HELLO_ALPN_MAX];
    size_t                    alpn_len;    /* names joined by ",", bytes that
                                              are not printable as \xHH */
    uint16_t                  version;     /* the highest one offered */
    unsigned                  ech:2;       /* 1: outer or GREASE, 2: inner */
    unsigned                  istio:1;     /* an ALPN name is of the mesh */
    unsigned                  tls13:1;
    unsigned                  underscore:1;     /* in the SNI */
    unsigned                  alpn_truncated:1;

    const char               *error;       /* after NGX_ERROR, static text */

    /* private */

    unsigned                  in_message:1;
    unsigned                  in_extension:1;
    unsigned                  null_compression:1;
    unsigned                  matched:1;   /* ALPN name so far: "istio" */
    ngx_uint_t                state;
    ngx_uint_t                header;      /* bytes seen of a record header */
    size_t                    raw;         /* of the records so far */
    size_t                    record_left;
    size_t                    need;        /* bytes until the next step */
    size_t                    left;        /* of the message */
    size_t                    ext_left;    /* of the extension */
    size_t                    num;         /* big-endian, what was read */
    size_t                    pos;         /* in the current name */
    size_t                    name_start;  /* of the current ALPN name */
    size_t                    length;      /* of the record, being read */
    ngx_uint_t                type;        /* of the extension */
    uint16_t                  legacy_version;
    ngx_uint_t                nseen;
    uint16_t                  seen[NGX_EGRESS_HELLO_EXTENSIONS];
} ngx_egress_hello_t;


/* must be called before the first ngx_egress_hello_parse() */
void ngx_egress_hello_init(ngx_egress_hello_t *h);

/*
 * A strict parser of a TLS ClientHello in its records (RFC 8446, 4.1.2 and
 * 5.1; RFC 6066, 3; RFC 7301).  Takes len more bytes, however the stream is
 * cut; does not look at what follows the hello in later records.
 *
 * NGX_AGAIN: more is needed; NGX_OK: the whole hello is there and accepted;
 * NGX_DECLINED: the first byte says that this is not TLS; NGX_ERROR: refused,
 * h->error says why.  After anything but NGX_AGAIN it must not be called
 * again.
 */
ngx_int_t ngx_egress_hello_parse(ngx_egress_hello_t *h, const u_char *p,
    size_t len);


#endif /* _NGX_EGRESS_CLIENTHELLO_H_INCLUDED_ */
