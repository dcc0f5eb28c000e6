#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl convert: options, exit codes, what is written when, and
# that text of a manifest stays in its place of nginx.conf.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

my $t = Test::Nginx->new()->has_daemon('openssl');
my $d = $t->testdir();
my $ctl = egressctl();
my $istio = '../conf/istio';

my %place = (
	host => 'hosts: ["a%s.test"]',
	address => 'endpoints: [{address: "10.0.0.1%s"}]',
	label => 'labels: {a: "b%s"}',
	sni => 'sni: "a%s.test"',
	san => 'subjectAltNames: ["spiffe://td/a%s"]',
	account => 'serviceAccount: "a%s"',
	meshsni => 'sni: "outbound_.80_._.a%s.test"',
	file => 'caCertificates: "/etc/ca%s.crt"',
	principal => 'principals: ["td/ns/a/sa/b%s"]',
	header => 'value: "v%s"',
	namespace => 'namespace: "istio-system%s"',
);

my @meta = ('\\"', "'", '\\\\', '$', ';', '{', '}', '\\n', '\\r', '\\t',
	'\\0', '\\x7f');

$t->plan(41 + keys(%place) * @meta);

###############################################################################

my ($status, $out, $err);

($status, $out, $err) = ctl('');
is($status, 2, 'no command');
like($err, qr/^usage: /m, 'usage');

($status, $out, $err) = ctl('--help');
is("$status $err", '0 ', 'help');
like($out, qr/--mesh-certificate/, 'help lists options');

is((ctl('foo'))[0], 2, 'unknown command');
is((ctl('convert'))[0], 2, 'no file');
is((ctl('convert --foo'))[0], 2, 'unknown option');
is((ctl('convert -f a b'))[0], 2, 'stray argument');
is((ctl('convert -f a --listen 443'))[0], 2, 'listen without address');
is((ctl("convert -f a --listen $_=127.0.0.1:80"))[0], 2, "listen $_")
	for qw/ x 0 65536 44x /;
is((ctl("convert -f a --allow-address $_"))[0], 2, "address $_")
	for qw! x 10.0.0.0/33 10.0.0 ::/129 10.0.0.0/ !;
is((ctl("convert -f a --conf-path $d"))[0], 2, 'the folder of the file');
is((ctl('explain --port 443'))[0], 2, 'explain nothing');
is((ctl("convert -f $d/none.yaml"))[0], 1, 'no such file');
is((ctl('convert -f - < /dev/null'))[0], 1, 'empty standard input');
is((ctl("convert -f $d"))[0], 1, 'folder without manifests');

# -o: whole or not at all

$t->write_file('nginx.conf', 'old');
$t->write_file('bad.yaml', "apiVersion: networking.istio.io/v1\nkind: X\n");

is((ctl("convert -f $istio -f $d/bad.yaml -o $d/nginx.conf"))[0], 1,
	'refused');
is($t->read_file('nginx.conf'), 'old', 'nothing written');
is((ctl("convert -f $istio -o $d/none/nginx.conf"))[0], 1, 'no such folder');

my $conf = (ctl("convert -f $istio --resolver 127.0.0.1"))[1];

is((ctl("convert -f $istio --resolver 127.0.0.1 -o $d/nginx.conf"))[0], 0,
	'written');
is($t->read_file('nginx.conf'), $conf, 'as to standard output');
is(join(' ', glob("$d/nginx.conf.*")), '', 'no temporary file left');

is((ctl("convert -f - < $istio/01-mesh.yaml"))[0], 0, 'standard input');
is((ctl("convert --strict -f $istio"))[0], 1, 'strict: no resolver');

# options are rendered

$conf = (ctl("convert -f $istio --listen 443=127.0.0.1:8443 --path "
	. "/etc/istio/external-certs=/certs --endpoint "
	. "external-db.example.com:5432=127.0.0.1:15432 --system-ca /ca.crt "
	. "--allow-address 127.0.1.0/24 --resolver 127.0.0.1 --access-log /log "
	. "--admin-socket /run/a.sock"))[1];

like($conf, qr/listen       127.0.0.1:8443 ssl;/, 'listen');
like($conf, qr!tls_certificate  /certs/client.crt;!, 'path');
like($conf, qr/endpoint    127.0.0.1 port=15432;/, 'endpoint');
like($conf, qr!tls_trusted_certificate  /ca.crt;!, 'system CA');
like($conf, qr!allow_address    127.0.1.0/24;!, 'allow address');
like($conf, qr!listen      unix:/run/a.sock;.*egress_explain;!s,
	'admin socket');

$conf = (ctl("convert -f $istio --resolver 127.0.0.1 --access-log off"))[1];
like($conf, qr/^    access_log  off;$/m, 'access log, off');

# what comes out is what nginx takes

$t->ca('ca');
$t->cert('ca', 'client', 'DNS:client');

my $modules = join("\n", $t->load_modules());
my $r = Test::Nginx::repository();

# which nginx it is for: "listen ... http2" of old ones is a warning of new ones

my ($version) = $t->version_text() =~ m!nginx/([\d.]+)!;

ctl("convert -f $istio --nginx-version $version --resolver 127.0.0.1 --mesh-certificate $d/client.crt "
	. "--mesh-key $d/client.key --mesh-ca $d/ca.crt --access-log $d/a.log "
	. "--path /etc/istio/external-certs=$d --system-ca $d/ca.crt "
	. "--proxy-conf $r/conf/egress_proxy.conf --admin-socket $d/admin.sock "
	. join(' ', map { "--listen $_=127.0.0.1:" . port(8000 + $_ % 90) }
		80, 443, 5432) . " -o $d/out.conf");

$t->write_file('nginx.conf', "$modules\npid $d/nginx.pid;\n"
	. $t->read_file('out.conf'));

($status, $out) = $t->test_config();
is($status, 0, 'nginx takes it') or diag($out);
unlike($out, qr/\[(warn|emerg)\]/, 'without a warning');

# T-AUZ-10: nothing breaks out of its place

$t->write_file('m.yaml', manifest('', ''));
is((ctl("convert -f $d/m.yaml"))[0], 0, 'the manifest is right without');

foreach my $name (sort keys %place) {
	foreach my $meta (@meta) {
		my $text = manifest($name, $meta);
		$t->write_file('m.yaml', $text);

		my ($status, $out) = ctl("convert -f $d/m.yaml");

		is("$status $out", '1 ', "$name, $meta");
	}
}

###############################################################################

sub ctl {
	my ($args) = @_;

	my $out = `$ctl $args 2>$d/err`;

	return ($? >> 8, $out, $t->read_file('err'));
}

sub manifest {
	my ($name, $meta) = @_;

	my %text = map { $_ => sprintf($place{$_}, $_ eq $name ? $meta : '') }
		keys %place;

	$text{namespace} = 'namespace: "istio-system' . $meta . '"'
		if $name eq 'namespace';

	return <<"END";
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a}
spec:
  $text{host}
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  @{[ $text{address} =~ s/\}\]/, $text{label}}]/r ]}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g}
spec: {servers: [{port: {number: 80, protocol: HTTP, name: a}, hosts: ["*"]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: v}
spec:
  $text{host}
  gateways: [g]
  http: [{route: [{destination: {host: @{[ $text{host} =~ /\["(.*)"\]/ ? "\"$1\"" : '' ]}}}]}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: d}
spec:
  host: @{[ $text{host} =~ /\["(.*)"\]/ ? "\"$1\"" : '' ]}
  trafficPolicy: {tls: {mode: SIMPLE, $text{sni}, $text{file}, $text{san}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: mesh}
spec:
  hosts: [mesh.test]
  location: MESH_INTERNAL
  ports: [{number: 80, name: http, protocol: GRPC}]
  resolution: STATIC
  endpoints: [{address: 10.0.0.2, $text{account}}]
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: mesh}
spec:
  host: mesh.test
  trafficPolicy: {tls: {mode: ISTIO_MUTUAL, $text{meshsni}}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: mesh}
spec:
  hosts: [mesh.test]
  gateways: [g]
  http: [{route: [{destination: {host: mesh.test}}]}]
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: p, $text{namespace}}
spec: {rules: [{from: [{source: {$text{principal}}}]}]}
---
apiVersion: networking.istio.io/v1alpha3
kind: EnvoyFilter
metadata: {name: limit, namespace: istio-system}
spec:
  configPatches:
    - applyTo: HTTP_FILTER
      patch:
        operation: INSERT_BEFORE
        value:
          name: envoy.filters.http.local_ratelimit
          typed_config:
            "\@type": type.googleapis.com/envoy.extensions.filters.http.local_ratelimit.v3.LocalRateLimit
            token_bucket: {max_tokens: 1, tokens_per_fill: 1, fill_interval: 1s}
            response_headers_to_add: [{header: {key: x, $text{header}}}]
END
}

###############################################################################
