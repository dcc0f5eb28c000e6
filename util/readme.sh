#!/bin/bash

# Copyright (C) 2026 Egress Gateway authors

# Puts the table of fields into README, or with "-" prints README as it should
# be.
#
# usage: util/readme.sh EGRESSCTL README.md [-]

set -u

made=$("$1" fields --markdown) || exit 1

out=$(MADE=$made awk '
    /^<!-- made by "make readme"/ { print; print ""; print ENVIRON["MADE"];
                                    print ""; skip = 1 }
    /^<!-- end -->/ { skip = 0 }
    !skip { print }
    /^<!-- made by/ { next }
    ' "$2") || exit 1

if [ "${3:-}" = - ]; then
    printf '%s\n' "$out"
    exit
fi

[ "$out" = "$(cat "$2")" ] || printf '%s\n' "$out" > "$2"
