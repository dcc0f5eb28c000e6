# shellcheck shell=bash

# Common to the benchmarks: sourced, not run.

# Copyright (C) 2026 Egress Gateway authors

BENCH_TOP=$(cd "$(dirname "$0")/../.." && pwd)
BENCH_NGINX=${TEST_NGINX_BINARY:-nginx}
BENCH_MODULES=${TEST_NGINX_MODULES:-$BENCH_TOP/build}
BENCH_DIR=$(mktemp -d)
BENCH_PIDS=

bench_end() {
    for pid in $BENCH_PIDS; do
        kill "$pid" 2>/dev/null
    done

    rm -rf "$BENCH_DIR"
}

trap bench_end EXIT
trap 'exit 130' INT TERM

# the load_module lines for the egress modules, in their order

bench_modules() {
    if $BENCH_NGINX -V 2>&1 | grep -q 'with-stream=dynamic'; then
        path=$($BENCH_NGINX -V 2>&1 \
               | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')
        echo "load_module $path/ngx_stream_module.so;"
    fi

    if $BENCH_NGINX -V 2>&1 | grep -q 'add-module'; then
        return
    fi

    for m in egress egress_authz egress_ratelimit \
             http_egress http_egress_authz http_egress_ratelimit \
             stream_egress stream_egress_authz stream_egress_ratelimit
    do
        echo "load_module $BENCH_MODULES/ngx_${m}_module.so;"
    done
}

# bench_start NAME: runs nginx with $BENCH_DIR/NAME.conf, which says
# "master_process off", and sets $name_pid

bench_start() {
    $BENCH_NGINX -p "$BENCH_DIR" -e "$BENCH_DIR/$1.log" \
        -c "$BENCH_DIR/$1.conf" -g "daemon off; pid $BENCH_DIR/$1.pid;" &
    BENCH_PIDS="$BENCH_PIDS $!"
    eval "$1_pid=$!"
}

# bench_wait PORT: until something listens there, 5 seconds at most

bench_wait() {
    i=0
    while ! (exec 3<>"/dev/tcp/127.0.0.1/$1") 2>/dev/null; do
        i=$((i + 1))
        [ $i -lt 50 ] || { echo "nothing listens on port $1" >&2; exit 1; }
        sleep 0.1
    done
}

# nanoseconds of CPU that a process has used so far

bench_cpu() {
    cut -d' ' -f1 "/proc/$1/schedstat"
}

# the median of the numbers on standard input

bench_median() {
    sort -n | awk '{ v[NR] = $1 }
                   END { if (NR % 2) print v[(NR + 1) / 2];
                         else print (v[NR / 2] + v[NR / 2 + 1]) / 2 }'
}
