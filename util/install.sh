#!/bin/bash

# Copyright (C) 2026 Egress Gateway authors

# usage: util/install.sh BUILD install|uninstall
#
# Puts the modules, their load_module snippet, the include for egress
# locations and egressctl where the installed nginx looks for them.

set -eu

build=$1
action=$2
dest=${DESTDIR:-}
prefix=${PREFIX:-/usr/local}
top=$(cd "$(dirname "$0")/.." && pwd)

arg() {
    nginx -V 2>&1 | sed -n "s/.*--$1=\([^ ]*\).*/\1/p"
}

modules=$(arg modules-path)
conf=$(dirname "$(arg conf-path)")

[ -n "$modules" ] || { echo "install: no --modules-path in nginx -V" >&2
                       exit 1; }

# Debian's own places for load_module lines; elsewhere a file to include

if [ -d /usr/share/nginx/modules-available ]; then
    snippet=/usr/share/nginx/modules-available/mod-egress.conf
    link=$conf/modules-enabled/70-mod-egress.conf
else
    snippet=$conf/egress_modules.conf
    link=
fi

tmpfiles=/usr/lib/tmpfiles.d

names="egress egress_authz egress_ratelimit
       http_egress http_egress_authz http_egress_ratelimit
       stream_egress stream_egress_authz stream_egress_ratelimit"

if [ "$action" = uninstall ]; then
    for m in $names; do
        rm -f "$dest$modules/ngx_${m}_module.so"
    done
    rm -f "$dest$snippet" "$dest$conf/egress_proxy.conf" \
        "$dest$conf/egress_proxy_headers.conf" \
        "$dest$conf/egress_proxy_grpc.conf" \
        "$dest$conf/egress_proxy_grpc_headers.conf" \
        "$dest$prefix/bin/egressctl" "$dest$tmpfiles/egress.conf"
    [ -z "$link" ] || rm -f "$dest$link"
    exit 0
fi

install -d "$dest$modules" "$dest$conf" "$dest$prefix/bin" \
    "$(dirname "$dest$snippet")"

# a running nginx has the old file mapped: replace it, do not write into it

for m in $names; do
    install -m 644 "$build/ngx_${m}_module.so" \
        "$dest$modules/ngx_${m}_module.so.new"
    mv "$dest$modules/ngx_${m}_module.so.new" \
        "$dest$modules/ngx_${m}_module.so"
done

for f in egress_proxy egress_proxy_headers egress_proxy_grpc \
         egress_proxy_grpc_headers; do
    install -m 644 "$top/conf/$f.conf" "$dest$conf/$f.conf"
done

install -m 755 "$build/egressctl" "$dest$prefix/bin/egressctl"

# the folder of the admin socket, where systemd makes folders at boot

if [ -d "$dest$tmpfiles" ] || [ -n "$dest" ]; then
    install -D -m 644 "$top/conf/tmpfiles-egress.conf" \
        "$dest$tmpfiles/egress.conf"
fi

for m in $names; do
    echo "load_module modules/ngx_${m}_module.so;"
done > "$dest$snippet"

if [ -n "$link" ]; then
    install -d "$(dirname "$dest$link")"
    ln -sfn "$snippet" "$dest$link"
fi

echo "installed: modules in $modules, $snippet, $conf/egress_proxy.conf," \
     "$prefix/bin/egressctl"
