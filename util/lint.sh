#!/bin/bash

# Copyright (C) 2026 Egress Gateway authors

# What a machine can see of the house style.  Prints each place; exit 1 if
# there is any.

set -u

cd "$(dirname "$0")/.." || exit 1

files() {
    git ls-files --cached --others --exclude-standard -- "$@"
}

found=0

report() {
    [ -n "$2" ] || return
    printf '%s:\n%s\n' "$1" "$2"
    found=1
}

# shellcheck disable=SC2046
c=$(files '*.c' '*.h')

report "style of C" "$(awk '
    length($0) > 80       { print FILENAME ":" FNR ": over 80 columns" }
    /\t/                  { print FILENAME ":" FNR ": tab" }
    /[ \t]+$/             { print FILENAME ":" FNR ": trailing space" }
    /(^|[^:"])\/\/ /      { print FILENAME ":" FNR ": // comment" }
    /[^\x00-\x7f]/        { print FILENAME ":" FNR ": not ASCII" }
    ' $c)"

report "functions over 130 lines" "$(awk '
    FNR == 1 { start = 0; name = "" }
    /^[a-z_]+\(/ && !start { name = $0; sub(/\(.*/, "", name) }
    /^\{/ { start = FNR }
    /^\}/ { if (start && FNR - start > 130)
                print FILENAME ": " name " has " FNR - start " lines";
            start = 0 }
    ' $(files '*.c'))"

report "functions without two blank lines between" "$(awk '
    FNR == 1 { end = 0 }
    end && FNR == end + 1 && $0 != "" && !/^#/ { print FILENAME ":" FNR }
    end && FNR == end + 2 && $0 != "" && !/^#/ { print FILENAME ":" FNR }
    /^\}$/ { end = FNR }
    ' $(files '*.c'))"

report "trailing space or CR" "$(files | grep -v -e '^t/fuzz/corpus' \
    -e '^t/convert/' | xargs grep -nIE '[ 	]+$|'$'\r''$' -- /dev/null)"

# directives and variables that no test or no documentation names

names=$(grep -ohE '^    \{ ngx_string\("[a-z_0-9]+"\),$' ngx_egress*_module/*.c \
    | sed -E 's/.*"([^"]+)".*/\1/' | sort -u)

for name in $names; do
    grep -qw -- "$name" t/*.t || report "no test names" "$name"
    grep -qw -- "$name" README.md || report "not in README" "$name"
done

report "paths of a machine" "$(files | xargs grep -nIE \
    '(^|[^a-z.])/(work|home|farm)/[a-z]' -- /dev/null | grep -v lint.sh)"

if command -v shellcheck > /dev/null; then
    report "shellcheck" "$(files '*.sh' .ci/run util/bench/passthrough \
        util/bench/registry util/bench/upstream util/bench/balance \
        util/bench/ratelimit util/bench/authz \
        | xargs shellcheck -x -S warning -e SC1091,SC2046 2>&1)"
fi

for f in $(files '*.t' 't/lib/*.pm'); do
    perl -It/lib -c "$f" > /dev/null 2>&1 \
        || report "perl -c" "$(perl -It/lib -c "$f" 2>&1)"
done

[ $found = 0 ] && echo "lint: nothing found"

exit $found
