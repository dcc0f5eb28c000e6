#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl convert: ISTIO_MUTUAL towards services, with the
# gateway's own certificate, the mesh's CA, SNI, ALPN and identities.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')
	->expect(qr/certificate verify failed/);

my $d = $t->testdir();
my $ctl = egressctl();
my $r = Test::Nginx::repository();

$t->plan(12);

my ($far, $other) = (port(8081), port(8082));

$t->write_file('m.yaml', <<"EOF");
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  selector: {istio: egressgateway}
  servers:
  - {port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}
  - {port: {number: 9000, name: tcp, protocol: TCP}, hosts: ["*"]}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: shop}
spec:
  hosts: [a.test]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: $far}, serviceAccount: a, labels: {v: one}}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: b, namespace: shop}
spec:
  hosts: [b.test]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: HTTP}, {number: 9000, name: tcp, protocol: TCP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1, ports: {http: $far, tcp: $other}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: a, namespace: shop}
spec:
  host: a.test
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}
  subsets: [{name: one, labels: {v: one}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: b, namespace: shop}
spec:
  host: b.test
  trafficPolicy:
    portLevelSettings:
    - {port: {number: 80}, tls: {mode: ISTIO_MUTUAL, subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/wrong"]}}
    - {port: {number: 9000}, tls: {mode: ISTIO_MUTUAL, sni: other.test, subjectAltNames: ["spiffe://cluster.local/ns/shop/sa/a"]}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test]
  gateways: [gw]
  http:
  - match: [{uri: {prefix: /subset}}]
    route: [{destination: {host: a.test, subset: one}}]
  - route: [{destination: {host: a.test}}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: b}
spec:
  hosts: [b.test]
  gateways: [gw]
  http: [{route: [{destination: {host: b.test, port: {number: 80}}}]}]
  tcp: [{match: [{port: 9000}], route: [{destination: {host: b.test, port: {number: 9000}}}]}]
EOF

$t->ca('mesh')->ca('web');
$t->spiffe('mesh', 'gateway', 'cluster.local/ns/istio-system/sa/egress');
$t->spiffe('mesh', 'a', 'cluster.local/ns/shop/sa/a');
$t->cert('web', 'stranger', 'URI:spiffe://cluster.local/ns/shop/sa/a');

my $options = "--mesh-certificate $d/gateway.crt --mesh-key $d/gateway.key "
	. "--mesh-ca $d/mesh.crt --resolver 127.0.0.1 "
	. "--allow-address 127.0.0.0/8 "
	. "--listen 80=127.0.0.1:@{[ port(8080) ]} "
	. "--listen 9000=127.0.0.1:@{[ port(8090) ]} "
	. "--proxy-conf $r/conf/egress_proxy.conf";

my $conf = `$ctl convert -f $d/m.yaml $options 2>$d/err`;
is($?, 0, 'converted') or diag($t->read_file('err'));

my $globals = $t->globals() . "\ndaemon off;";
my $http = $t->globals_http();
$conf =~ s!^include  modules-enabled.*$!$globals!m;
$conf =~ s!^http \{$!http {\n$http!m;
my $workload = far('a');
$conf =~ s!\}\n\z!$workload}\n!;
$t->write_file_expand('nginx.conf', $conf);
$t->run();

###############################################################################

like(get('a.test', '/'), qr/^it is SUCCESS CN=gateway$/m, 'whose certificate');
like(last_of('far.log'), qr/^outbound_\.80_\._\.a\.test\|http\/1\.1$/,
	'SNI and ALPN');

get('a.test', '/subset');
like(last_of('far.log'), qr/^outbound_\.80_\.one_\.a\.test\|/, 'of a subset');

like(get('b.test', '/'), qr/^HTTP\/1.1 503 /, 'another identity');
like($t->read_file('error.log'), qr/"b.test_80" at \S+ is refused: other name in the certificate/,
	'and the log says so');
like(http("x\r\n", port => 8090) // '', qr/^tcp SUCCESS other\.test istio/,
	'over TCP');

# who has another CA

$t->stop();
$conf =~ s!\Q$d/a.crt\E!$d/stranger.crt!g;
$conf =~ s!\Q$d/a.key\E!$d/stranger.key!g;
$t->write_file_expand('nginx.conf', $conf);
$t->run();

like(get('a.test', '/'), qr/^HTTP\/1.1 503 /, 'a name of another CA');

# what can't be told

refused('endpoints: [{address: 127.0.0.1, ports: {http: ' . $far
	. '}, serviceAccount: a, labels: {v: one}}]',
	"endpoints: [{address: 127.0.0.1, labels: {v: one}}]",
	qr/m2.yaml:\d+:\d+: error: ISTIO_MUTUAL for "a.test" does not say whose/);
refused('{tls: {mode: ISTIO_MUTUAL}}',
	'{tls: {mode: ISTIO_MUTUAL, caCertificates: /x}}',
	qr/"caCertificates" excludes it: is MUTUAL meant/);
refused('  trafficPolicy: {tls: {mode: ISTIO_MUTUAL}}', '',
	qr/Istio would speak mTLS to this endpoint of "a.test" without being told/);

my $text = $t->read_file('m.yaml');
$text =~ s/^  trafficPolicy: \{tls: \{mode: ISTIO_MUTUAL\}\}$/  trafficPolicy: {tls: {mode: DISABLE}}/m;
$t->write_file('m2.yaml', $text);
like(`$ctl convert -f $d/m2.yaml $options 2>/dev/null`,
	qr/service a.test_80 \{(?:(?!tls )[^}])*\}/, 'plaintext that is asked for');

###############################################################################

# a workload of the mesh, which logs what it was asked

sub far {
	my ($cert) = @_;

	my $ssl = <<"EOF";
        ssl_certificate         $d/$cert.crt;
        ssl_certificate_key     $d/$cert.key;
        ssl_client_certificate  $d/mesh.crt;
        ssl_verify_client       on;
EOF

	$conf =~ s!^stream \{$!<<"EOF"!me;
stream {
%%FAR%%
    server {
        listen  127.0.0.1:8082 ssl;
$ssl        ssl_alpn  istio;
        return  "tcp \$ssl_client_verify \$ssl_server_name \$ssl_alpn_protocol";
    }
%%NEAR%%
EOF

	return <<"EOF";
%%FAR%%
    log_format  far  "\$ssl_server_name|\$ssl_alpn_protocol";

    server {
        listen      127.0.0.1:8081 ssl;
        access_log  $d/far.log far;
$ssl
        return  200 "it is \$ssl_client_verify \$ssl_client_s_dn\\n";
    }
%%NEAR%%
EOF
}

sub get {
	my ($host, $uri) = @_;

	return http("GET $uri HTTP/1.1\r\nHost: $host\r\nConnection: close\r\n"
		. "\r\n") // '';
}

sub last_of {
	my ($name) = @_;

	select(undef, undef, undef, 0.1);

	return (split(/\n/, $t->read_file($name)))[-1] // '';
}

sub refused {
	my ($from, $to, $re) = @_;

	my $text = $t->read_file('m.yaml');
	$text =~ s/\Q$from\E/$to/ or die;
	$t->write_file('m2.yaml', $text);

	like(`$ctl convert -f $d/m2.yaml $options 2>&1 >/dev/null`, $re, 'refused');
}

###############################################################################
