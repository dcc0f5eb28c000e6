#!/bin/sh

# Copyright (C) 2026 Egress Gateway authors

# Installs what is missing of Debian's packages, and says what.

set -u

packages="nginx nginx-dev libnginx-mod-stream libyaml-dev libjansson-dev gcc libc6-dev make
          libpcre2-dev libssl-dev zlib1g-dev openssl curl dnsmasq-base perl
          libio-socket-ssl-perl libnet-ssleay-perl procps ca-certificates"

missing=

for p in $packages; do
    if ! dpkg-query -W -f '${Status}' "$p" 2>/dev/null \
         | grep -q 'ok installed'
    then
        missing="$missing $p"
    fi
done

[ -n "$missing" ] || exit 0

echo "installing:$missing"

if [ "$(id -u)" != 0 ]; then
    echo "deps: run as root, or install these packages yourself" >&2
    exit 1
fi

export DEBIAN_FRONTEND=noninteractive

log=$(mktemp)

# shellcheck disable=SC2086
if ! { apt-get -q update \
       && apt-get -q -y --no-install-recommends install $missing; } \
     > "$log" 2>&1
then
    tail -20 "$log" >&2
    rm -f "$log"
    exit 1
fi

rm -f "$log"
