
/*
 * Copyright (C) 2026 Egress Gateway authors
 */


#include <stdlib.h>
#include <string.h>

#include "egressctl.h"
#include "emit.h"


void
emit_logs(emit_t *e)
{
    if (e->m->options->access_log == NULL) {
        return;
    }

    fputs("\n    log_format  egress  '$time_iso8601 $remote_addr "
          "\"$egress_principal\" $egress_host:$egress_port '\n"
          "                        '$egress_verdict $egress_reason "
          "$egress_service $egress_endpoint '\n", e->out);

    fputs(e->stream
          ? "                        '$status $bytes_received $bytes_sent'"
          : "                        '$status $bytes_sent "
            "\"$request_method $uri\"'", e->out);

    fputs(";\n    access_log  ", e->out);
    emit_word(e, NULL, e->m->options->access_log);
    fputs("  egress;\n", e->out);
}
