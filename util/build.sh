#!/bin/bash

# Copyright (C) 2026 Egress Gateway authors

# Configures nginx for the egress modules in a folder of its own.
#
# usage: util/build.sh FOLDER [NGINX_SRC [static]]
#
# Without NGINX_SRC: against the installed nginx, with the headers and the
# configure script of nginx-dev and the arguments that "nginx -V" prints: the
# layout of nginx's structures depends on them.

set -eu

top=$(cd "$(dirname "$0")/.." && pwd)
dir=$1
src=${2:-}
mode=${3:-dynamic}

fail() {
    echo "build: $1" >&2
    exit 1
}

our_flags="-Wall -Wextra -Wno-unused-parameter -Werror"

# what our tests and the demo use of nginx itself

own="--with-debug --with-pcre --with-threads --with-http_ssl_module
     --with-http_v2_module --with-http_realip_module
     --with-http_stub_status_module --with-http_auth_request_module
     --with-stream --with-stream_ssl_module --with-stream_ssl_preread_module
     --with-stream_realip_module --with-compat"

mkdir -p "$dir"

if [ -n "$src" ]; then
    [ -d "$src/src/core" ] || fail "no nginx source in \"$src\""

    cp -a "$src/." "$dir"
    cd "$dir"

    configure=./configure
    [ -x ./configure ] || configure=auto/configure

    add=--add-dynamic-module
    [ "$mode" = static ] && add=--add-module

    # shellcheck disable=SC2086
    $configure $own "$add=$top" \
        --with-cc-opt="${CC_OPT:--O2 -g} $our_flags" \
        --with-ld-opt="${LD_OPT:-}" > configure.log 2>&1 \
        || { tail -20 configure.log >&2; fail "configure failed"; }

    exit 0
fi

command -v nginx > /dev/null || fail "no nginx installed: run \"make deps\""

dev=/usr/share/nginx/src

[ -x $dev/configure ] \
    || fail "no $dev: run \"make deps\", or give NGINX_SRC=dir"

ln -sfn $dev/auto "$dir/auto"
ln -sfn $dev/src "$dir/src"
ln -sfn $dev/configure "$dir/configure"

cd "$dir"

# the arguments are quoted as for a shell

args=$(nginx -V 2>&1 | sed -n 's/^configure arguments: //p')

eval "set -- $args"

n=$#
while [ "$n" -gt 0 ]; do
    arg=$1
    shift
    case $arg in
        --with-cc-opt=*)
            set -- "$@" "$arg $our_flags" ;;
        --with-*_module=dynamic|--with-mail=dynamic|--add-*module=*)
            # not ours, and they need libraries of their own
            ;;
        *)
            set -- "$@" "$arg" ;;
    esac
    n=$((n - 1))
done

./configure "$@" --add-dynamic-module="$top" > configure.log 2>&1 \
    || { tail -20 configure.log >&2; fail "configure failed"; }
