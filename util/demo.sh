#!/bin/bash

# Copyright (C) 2026 Egress Gateway authors

# The demo: the manifests of conf/istio become a running gateway, and
# stand-in workloads send real traffic through it to stand-in services.
# All of it is on loopback.  KEEP=1 leaves it running.

set -u

top=$(cd "$(dirname "$0")/.." && pwd)
build=${BUILD:-$top/build}
nginx=${TEST_NGINX_BINARY:-nginx}
dir=$(mktemp -d)
pids=
failed=0

dns=28053

stop() {
    for pid in $pids; do
        kill "$pid" 2>/dev/null
    done

    for pid in $pids; do
        wait "$pid" 2>/dev/null
    done

    rm -rf "$dir"
}

trap stop EXIT
trap 'exit 130' INT TERM

fail() {
    echo "demo: $1" >&2
    exit 1
}

run() {
    "$@" > "$dir/out" 2>&1 || { cat "$dir/out" >&2; fail "failed: $1"; }
}


# certificates: one CA of the mesh, one of the world

ca() {
    run openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 \
        -nodes -days 2 -subj "/CN=$1" -keyout "$dir/$1.key" \
        -out "$dir/$1.crt"
}

cert() {
    run openssl req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes \
        -subj "/CN=$2" -keyout "$dir/$2.key" -out "$dir/$2.csr"
    printf 'basicConstraints=CA:FALSE\nsubjectAltName=%s\n' "$3" \
        > "$dir/$2.ext"
    run openssl x509 -req -days 2 -in "$dir/$2.csr" -CA "$dir/$1.crt" \
        -CAkey "$dir/$1.key" -CAcreateserial -extfile "$dir/$2.ext" \
        -out "$dir/$2.crt"
}

sa() {
    cert mesh-ca "$2" "URI:spiffe://cluster.local/ns/$1/sa/$2"
}

hosts="api.github.com api.stripe.com status.example.com
       api.external-service.com secure-api.partner.com other.example.org
       api.payment-provider.com"

ca mesh-ca
ca world-ca
sa istio-system gateway
sa default frontend
sa default backend
sa analytics reporting
sa production payment-service
cert world-ca client DNS:client.example.com
cp "$dir/world-ca.crt" "$dir/ca.crt"

for host in $hosts; do
    cert world-ca "$host" "DNS:$host"
done


# the world: a DNS server, TLS servers, a database

stream=$($nginx -V 2>&1 | grep -q with-stream=dynamic \
    && $nginx -V 2>&1 | sed -n 's/.*--modules-path=\([^ ]*\).*/\1/p')
stream=${stream:+$stream/ngx_stream_module.so}

world() {
    [ -z "$stream" ] || echo "load_module $stream;"
    echo "events { }"
    echo "stream {"
    echo "  server { listen 127.0.1.20:5432; return 'primary database\n'; }"
    echo "}"
    echo "http { access_log off;"

    n=10
    for host in $hosts; do
        echo "  server { listen 127.0.1.$n:443 ssl; server_name $host;"
        echo "    ssl_certificate $dir/$host.crt;"
        echo "    ssl_certificate_key $dir/$host.key;"
        if [ "$host" = secure-api.partner.com ]; then
            echo "    ssl_client_certificate $dir/world-ca.crt;"
            echo "    ssl_verify_client on;"
        fi
        echo "    return 200 'sni=\$ssl_server_name" \
             "client=\$ssl_client_s_dn xfcc=\$http_x_forwarded_client_cert\n';"
        echo "  }"
        n=$((n + 1))
    done
    echo "}"
}

# what a sidecar does: the workload's TCP goes to the gateway in mTLS.  Ports:
# 28443, 28080, 28432 of the gateway; 29xxx of the one with ALLOW_ANY; 24xxx,
# 25xxx, 26xxx and 27xxx of the sidecars, 23xxx of the payments'

listen() {
    echo "$1$2" | sed 's/443$/443/; s/80$/080/; s/5432$/432/'
}

sidecar() {
    for port in 443 80 5432; do
        echo "  server { listen 127.0.0.1:$(listen "$2" $port);"
        echo "    proxy_pass 127.0.0.1:$(listen "$3" $port);"
        echo "    proxy_ssl on; proxy_ssl_server_name on;"
        echo "    proxy_ssl_certificate $dir/$1.crt;"
        echo "    proxy_ssl_certificate_key $dir/$1.key;"
        echo "    proxy_ssl_name" \
             "outbound_.${port}_._.istio-egressgateway.istio-system.svc.cluster.local;"
        echo "  }"
    done
}

mesh() {
    [ -z "$stream" ] || echo "load_module $stream;"
    echo "events { }"
    echo "stream {"
    sidecar frontend 24 28
    sidecar backend 25 28
    sidecar reporting 26 28
    sidecar payment-service 23 28
    sidecar backend 27 29
    echo "}"
}

start() {
    $nginx -p "$dir" -e "$dir/$1.log" -c "$dir/$1.conf" \
        -g "daemon off; pid $dir/$1.pid;" > "$dir/$1.out" 2>&1 &
    pids="$pids $!"
}

ready() {
    i=0
    while ! (exec 3<>"/dev/tcp/$1/$2") 2>/dev/null; do
        i=$((i + 1))
        if [ $i -ge 50 ]; then
            cat "$dir"/*.log "$dir"/*.out >&2
            fail "nothing listens on $1:$2: is the port in use?"
        fi
        sleep 0.1
    done
}

world > "$dir/world.conf"
mesh > "$dir/mesh.conf"

records=
n=10
for host in $hosts; do
    records="$records --host-record=$host,127.0.1.$n"
    n=$((n + 1))
done

# shellcheck disable=SC2086
dnsmasq -k -p $dns --listen-address=127.0.0.1 --bind-interfaces \
    --no-resolv --no-hosts --no-daemon --local=/com/ --local=/org/ $records \
    --host-record=metadata.example.org,169.254.169.254 > "$dir/dns.out" 2>&1 &
pids="$pids $!"

start world
start mesh


# the gateway: manifests in, nginx.conf out

convert() {
    name=$1
    base=$2
    shift 2
    "$build/egressctl" convert "$@" -o "$dir/$name.conf" \
        --module-path "$build" ${stream:+--stream-module "$stream"} \
        --mesh-certificate "$dir/gateway.crt" \
        --mesh-key "$dir/gateway.key" --mesh-ca "$dir/mesh-ca.crt" \
        --path "/etc/istio/external-certs=$dir" \
        --proxy-conf "$top/conf/egress_proxy.conf" \
        --resolver "127.0.0.1:$dns" --allow-address 127.0.1.0/24 \
        --endpoint external-db.example.com=127.0.1.20:5432 \
        --listen "443=127.0.0.1:${base}443" \
        --listen "80=127.0.0.1:${base}080" \
        --listen "5432=127.0.0.1:${base}432" \
        --access-log "$dir/$name.access" 2> "$dir/$name.convert" \
        || { cat "$dir/$name.convert" >&2; fail "egressctl convert"; }
    : > "$dir/$name.access"
    start "$name"
}

echo "egressctl convert -f conf/istio: $(ls "$top"/conf/istio/*.yaml | wc -l)" \
     "files"

convert gateway 28 -f "$top/conf/istio" --system-ca "$dir/world-ca.crt"

# the second one passes what is not registered, has no policies, and trusts
# a CA that has signed nobody's certificate

cat > "$dir/any.yaml" <<END
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata:
  name: mesh
spec:
  meshConfig:
    outboundTrafficPolicy:
      mode: ALLOW_ANY
END

i=$top/conf/istio
convert any 29 -f "$dir/any.yaml" -f "$i/02-services.yaml" \
    -f "$i/03-gateways.yaml" -f "$i/04-routes.yaml" -f "$i/05-tls.yaml" \
    --system-ca "$dir/mesh-ca.crt"

ready 127.0.1.10 443
for port in 24443 28443 28080 28432 29443 29080; do
    ready 127.0.0.1 $port
done

sleep 0.2
: > "$dir/gateway.access"
: > "$dir/any.access"


# row GATEWAY WORKLOAD DESTINATION EXPECTED GOT: prints a line of the table;
# EXPECTED is "what reason"

lines=0

reason() {
    i=0
    while [ $i -lt 30 ]; do
        r=$(tail -n 1 "$dir/$1.access" | awk '{ print $6 }')
        [ -z "$r" ] || break
        i=$((i + 1))
        sleep 0.1
    done
    : > "$dir/$1.access"
    echo "${r:-(none)}"
}

row() {
    why=$(reason "$1")
    want=${4%% *}
    because=${4#* }
    mark=ok

    if [ "$5" != "$want" ] || [ "$why" != "$because" ]; then
        mark="NOT AS EXPECTED"
        failed=$((failed + 1))
    fi

    lines=$((lines + 1))
    [ "$because" = - ] && because=
    [ "$why" = - ] && why=
    printf '%-29s %-33s %-9s %-9s %-16s %s\n' "$2" "$3" "$want" "$5" \
        "$why" "$mark"
}

# HTTPS, to the port where the workload's sidecar or the gateway listens

https() {
    out=$(curl -sS -m 10 --cacert "$dir/world-ca.crt" \
          --connect-to "::127.0.0.1:$1" "https://$2/" 2> "$dir/curl.err")

    case $? in
        0)
            case $out in
                "sni=$2 "*) echo allowed ;;
                *)          echo "wrong" ;;
            esac ;;
        35)
            echo refused ;;
        *)
            cat "$dir/curl.err" >> "$dir/gateway.log"
            echo failed ;;
    esac
}

# HTTP; 200 only if the service saw TLS with its own name

http() {
    code=$(curl -sS -m 10 -o "$dir/body" -w '%{http_code}' \
           -H 'X-Forwarded-Client-Cert: By=secret' \
           --connect-to "::127.0.0.1:$1" "http://$2/" 2>/dev/null)

    if [ "$code" = 200 ] && ! grep -q "^sni=$2 client=$3 xfcc=\$" "$dir/body"
    then
        code="200 but $(cat "$dir/body")"
    fi

    echo "$code"
}

tcp() {
    perl -MIO::Socket::INET -e '
        $SIG{ALRM} = sub { print "timeout"; exit };
        alarm(5);
        my $s = IO::Socket::INET->new(PeerAddr => "127.0.0.1:$ARGV[0]")
            or do { print "failed"; exit };
        syswrite($s, "startup");
        my $n = sysread($s, my $b, 100);
        print $n && $b =~ /database/ ? "allowed" : "refused";
    ' "$1"
}

printf '\n%-29s %-33s %-9s %-9s %-16s\n' workload destination expected got \
    reason
printf '%s\n' "--------------------------------------------------------------\
------------------------------------------"

g=gateway
s=" in the mesh"

row $g "frontend$s" "api.github.com:443" "allowed -" \
    "$(https 24443 api.github.com)"
row $g "frontend$s" "api.stripe.com:443" "refused authz_denied" \
    "$(https 24443 api.stripe.com)"
row $g "backend$s" "api.stripe.com:443" "allowed -" \
    "$(https 25443 api.stripe.com)"
row $g "backend$s" "other.example.org:443" "refused registry_miss" \
    "$(https 25443 other.example.org)"
row $g "plain client, same port" "status.example.com:443" "allowed -" \
    "$(https 28443 status.example.com)"
row $g "plain client, same port" "api.github.com:443" \
    "refused no_identity" "$(https 28443 api.github.com)"
row $g "plain client, same port" "other.example.org:443" \
    "refused registry_miss" "$(https 28443 other.example.org)"
row $g "payments (ns production)" "api.payment-provider.com:443" "allowed -" \
    "$(https 23443 api.payment-provider.com)"
row $g "backend$s" "api.payment-provider.com:443" "refused authz_denied" \
    "$(https 25443 api.payment-provider.com)"
row $g "reporting (ns analytics)" "external-db.example.com:5432" \
    "allowed -" "$(tcp 26432)"
row $g "frontend$s" "external-db.example.com:5432" \
    "refused authz_denied" "$(tcp 24432)"
row $g "backend, HTTP" "api.external-service.com (TLS)" "200 -" \
    "$(http 25080 api.external-service.com '')"
row $g "backend, HTTP" "secure-api.partner.com (mTLS)" "200 -" \
    "$(http 25080 secure-api.partner.com CN=client)"
row $g "frontend, HTTP" "api.external-service.com (TLS)" \
    "403 authz_denied" "$(http 24080 api.external-service.com '')"

for n in 3 4 5; do
    http 25080 api.external-service.com '' > /dev/null
done

sleep 0.1
row $g "backend, HTTP, 6th request" "api.external-service.com (TLS)" \
    "429 rate_limited" "$(http 25080 api.external-service.com '')"

s=", ALLOW_ANY"

row any "plain client$s" "other.example.org:443" "allowed -" \
    "$(https 29443 other.example.org)"
row any "plain client$s" "metadata.example.org:443" \
    "refused address_denied" "$(https 29443 metadata.example.org)"
row any "backend, HTTP$s" "server of an untrusted CA" "503 tls_failed" \
    "$(http 27080 api.external-service.com '')"

echo

if grep -h -E '\[(alert|emerg)\]' "$dir/gateway.log" "$dir/any.log"; then
    echo "demo: the gateway's log has the above" >&2
    failed=$((failed + 1))
fi

if [ "$failed" != 0 ]; then
    tail -n 20 "$dir/gateway.log" "$dir/any.log" >&2
    fail "$failed of $lines are not as expected"
fi

echo "demo: all $lines as expected"

if [ -n "${KEEP:-}" ]; then
    trap - EXIT
    disown -a

    cat <<END

The gateway goes on, with its files in $dir.  Try it by hand:

  # plain TLS, no identity
  curl --cacert $dir/world-ca.crt --connect-to ::127.0.0.1:28443 https://status.example.com/
  # as the frontend, through its sidecar
  curl --cacert $dir/world-ca.crt --connect-to ::127.0.0.1:24443 https://api.github.com/
  # as the backend, HTTP that leaves as TLS
  curl --connect-to ::127.0.0.1:25080 http://api.external-service.com/

  the configuration    $dir/gateway.conf
  its access log       $dir/gateway.access
  its error log        $dir/gateway.log

Stop it:

  kill$pids; rm -r $dir
END
fi
