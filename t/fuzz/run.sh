#!/bin/bash

# Copyright (C) 2026 Egress Gateway authors

# Builds and runs the fuzzers, each for as long as FUZZ_TIME says (seconds,
# 30); exit 1 if one finds anything.  What was found stays in build/fuzz.
#
# usage: t/fuzz/run.sh [clienthello] [convert] [spiffe]

set -u

cd "$(dirname "$0")/../.." || exit 1

clang=${CLANG:-clang}
time=${FUZZ_TIME:-30}
dir=build/fuzz

# a small quarantine: an SSL object for each input would fill 256 MB

export ASAN_OPTIONS=${ASAN_OPTIONS:-quarantine_size_mb=32}

flags="-g -O1 -Wall -Wextra -Wno-unused-parameter -Werror
    -fsanitize=fuzzer,address,undefined -fno-sanitize-recover=undefined"

nginx=build/nginx
headers="-I $nginx/src/core -I $nginx/src/event -I $nginx/src/event/modules
    -I $nginx/src/os/unix -I $nginx/objs
    -I ngx_egress_module -I ngx_egress_authz_module"

# egressctl frees little: the fuzzer does, after each input

arena="-Dcalloc=fuzz_calloc -Drealloc=fuzz_realloc -Dstrdup=fuzz_strdup
    -Dvasprintf=fuzz_vasprintf -Dopen_memstream=fuzz_memstream
    -Dfree=fuzz_free"

command -v "$clang" > /dev/null \
    || { echo "no clang: install it, or say where with CLANG=" >&2; exit 1; }

mkdir -p "$dir" || exit 1

# clang comes without its fuzzer in some distributions

echo "int LLVMFuzzerTestOneInput(const char *p, unsigned long n);
int LLVMFuzzerTestOneInput(const char *p, unsigned long n)
{ (void) p; (void) n; return 0; }" \
    | "$clang" -fsanitize=fuzzer,address -x c - -o "$dir/.probe" 2> /dev/null \
    || { echo "$clang has no -fsanitize=fuzzer: install compiler-rt" \
             "(libclang-rt-dev, or libclang-common-14-dev and the like)" >&2
         exit 1; }

rm -f "$dir/.probe"

build() {
    # shellcheck disable=SC2086
    case $1 in

    clienthello)
        $clang $flags -DNGX_EGRESS_STANDALONE -I t/fuzz \
            t/fuzz/fuzz_clienthello.c \
            ngx_egress_module/ngx_egress_clienthello.c \
            -lssl -lcrypto -o "$dir/clienthello"
        ;;

    convert)
        # shellcheck disable=SC2086
        $clang $flags -std=gnu11 -D_GNU_SOURCE $arena t/fuzz/fuzz_convert.c \
            $(ls util/egressctl/*.c | grep -v -e main.c -e diag.c) \
            -lyaml -ljansson -o "$dir/convert"
        ;;

    spiffe)
        if [ ! -f $nginx/objs/ngx_auto_config.h ]; then
            echo "no $nginx/objs/ngx_auto_config.h: run \"make\" first" >&2
            return 1
        fi

        $clang $flags -std=gnu11 $headers t/fuzz/fuzz_spiffe.c \
            ngx_egress_authz_module/ngx_egress_spiffe.c -o "$dir/spiffe"
        ;;

    *)
        echo "no such fuzzer: \"$1\"" >&2
        return 1
        ;;
    esac
}

if [ $# = 0 ]; then
    for name in t/fuzz/fuzz_*.c; do
        name=${name#t/fuzz/fuzz_}
        set -- "$@" "${name%.c}"
    done
fi

failed=0

for name in "$@"; do
    mkdir -p "$dir/corpus/$name"

    if ! build "$name"; then
        failed=1
        continue
    fi

    seeds=
    [ -d "t/fuzz/corpus/$name" ] && seeds=t/fuzz/corpus/$name
    [ "$name" = convert ] && seeds="t/convert conf/istio"

    echo "fuzz $name, $time s"

    # shellcheck disable=SC2086
    if ! "$dir/$name" -max_total_time="$time" -max_len=20000 -verbosity=0 \
        -print_final_stats=1 -artifact_prefix="$dir/$name-" \
        "$dir/corpus/$name" $seeds
    then
        failed=1
    fi
done

[ $failed = 0 ] && echo "fuzz: nothing found"

exit $failed
