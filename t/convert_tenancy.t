#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for tenancy at conversion: what namespace "a" writes neither defines
# nor redirects a host that namespace "b" has registered and routed, unless
# the gateway or b lets it (T-AUZ-12).

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

my $t = Test::Nginx->new();
my $d = $t->testdir();
my $ctl = egressctl();

# what b has, and a gateway: of the hosts' namespaces, or open to all

my $entry = entry('b', 'b', 'b.example.com', 'resolution: DNS');
my $route = route('b', 'b', 'b.example.com', 'b.example.com');
my $closed = gateway('b/b.example.com', 'a/a.example.com');
my $open = gateway('"*"');

my $a = entry('a', 'a', 'a.example.com', 'resolution: DNS')
	. route('a', 'a', 'a.example.com', 'a.example.com');

# what a tries

my $evil = "resolution: STATIC\n  endpoints: [{address: 203.0.113.66}]";

my $b = $entry . $route . $closed;

$t->plan(42);

###############################################################################

my ($status, $out, $err) = convert($b . $a);
is($status, 0, 'each its own') or diag($err);
is(service($out, 'b.example.com'), 'b.example.com_80', 'host of b');
is(service($out, 'a.example.com'), 'a.example.com_80', 'host of a');

# a ServiceEntry for the same host

foreach (
	[ 'later', $b . $a . entry('a', 'x', 'b.example.com', $evil) ],
	[ 'wildcard', entry('a', 'x', '"*.example.com"', $evil) . $b . $a ],
	[ 'private to a', entry('a', 'x', 'b.example.com',
		"$evil\n  exportTo: [\".\"]") . $b . $a ])
{
	my ($name, $text) = @$_;

	($status, $out, $err) = convert($text);
	is($status, 0, "ServiceEntry, $name, converted") or diag($err);
	unlike($out, qr/203\.0\.113\.66/, "ServiceEntry, $name, not dialled");
	is(service($out, 'b.example.com'), 'b.example.com_80',
		"ServiceEntry, $name, routed as before");
}

($status, $out, $err) = convert(entry('a', 'x', 'b.example.com', $evil)
	. $b . $a);
ok($status != 0 || $out !~ /203\.0\.113\.66/,
	'ServiceEntry, earlier, not dialled');

# a VirtualService for the same host

($status, $out, $err) = convert($b . $a
	. route('a', 'x', 'b.example.com', 'a.example.com'));
is(service($out, 'b.example.com'), 'b.example.com_80',
	'VirtualService, host is not for its namespace');
like($err, qr/warning: "b.example.com" is not among the hosts of Gateway/,
	'VirtualService, says so');

($status, $out, $err) = convert(route('a', 'x', 'b.example.com',
	'a.example.com') . $a . $b);
is(service($out, 'b.example.com'), 'b.example.com_80',
	'VirtualService, earlier, host is not for its namespace');

foreach my $hosts ('"*.example.com"', '"*"') {
	($status, $out, $err) = convert($b . entry('a', 'a', 'a.example.com',
		'resolution: DNS') . route('a', 'x', $hosts, 'a.example.com'));
	is(service($out, 'b.example.com'), 'b.example.com_80',
		"VirtualService, $hosts, host of b");
	is(service($out, 'a.example.com'), 'a.example.com_80',
		"VirtualService, $hosts, opens its own");
}

($status, $out, $err) = convert($entry . $route . $open . $a
	. route('a', 'x', 'b.example.com', 'a.example.com'));
isnt($status, 0, 'VirtualService, open gateway, later, refused');
like($err, qr/error: all requests to "b.example.com" are routed by/,
	'VirtualService, open gateway, later, says so');

($status, $out, $err) = convert(route('a', 'x', 'b.example.com',
	'a.example.com') . $a . $entry . $route . $open);
ok($status != 0 || service($out, 'b.example.com') eq 'b.example.com_80',
	'VirtualService, open gateway, earlier');

($status, $out, $err) = convert($b . route('a', 'x', 'b.example.com',
	'b.example.com', 'exportTo: ["."]'));
like($err, qr/VirtualService "x" is not exported to namespace "istio-system"/,
	'VirtualService, private to a');

# a part of the requests

my $part = route('a', 'x', 'b.example.com', 'a.example.com');
$part =~ s!\[\{route:![{match: [{uri: {prefix: /x}}], route:!;

foreach (
	[ 'later', $entry . $route . $open . $a . $part ],
	[ 'earlier', $part . $a . $entry . $route . $open ])
{
	my ($name, $text) = @$_;

	($status, $out, $err) = convert($text);
	like($err, qr/warning: requests to "b.example.com" are routed by name/,
		"VirtualService, a part, $name, says so");
}

# a ServiceEntry that b keeps to itself

($status, $out, $err) = convert(entry('b', 'b', 'b.example.com',
	"resolution: DNS\n  exportTo: [\".\"]") . $closed . $a
	. route('a', 'x', 'a.example.com', 'b.example.com'));
is($status, 1, 'private to b, refused');
is($out, '', 'private to b, nothing is written');
like($err, qr/error: ServiceEntry "b" is not exported to namespace/,
	'private to b, says so');

# a DestinationRule for the host of another

foreach (
	[ 'a', '', 'in namespace "a" does not apply at the gateway' ],
	[ 'a', 'exportTo: ["*"]', 'in namespace "a" does not apply at the gat' ],
	[ 'a', 'exportTo: [istio-system]', 'in namespace "a" does not apply' ],
	[ 'b', 'exportTo: ["."]', 'is not exported to namespace "istio-system"' ])
{
	my ($ns, $export, $says) = @$_;
	my $name = "DestinationRule, $ns" . ($export ? ", $export" : '');

	($status, $out, $err) = convert($b . $a . rule($ns, $export));
	unlike($out, qr/evil\.example|tls_verify/, "$name, has no effect");
	like($err, qr/warning: DestinationRule "x" \Q$says\E/, "$name, says so");
}

foreach my $ns (qw/ b istio-system /) {
	($status, $out, $err) = convert($b . $a . rule($ns, ''));
	like($out, qr/tls_name +evil\.example\.net;/,
		"DestinationRule, $ns, counts");
}

# policies and limits of the gateway are not a's to write

($status, $out, $err) = convert($b . $a . policy('a'));
unlike($out, qr/policy a\//, 'AuthorizationPolicy, a, has no effect');
like($err, qr/AuthorizationPolicy "x" is of namespace "a"/,
	'AuthorizationPolicy, a, says so');

($status, $out, $err) = convert($b . $a . policy('istio-system'));
like($out, qr/policy istio-system\/x \{/, 'AuthorizationPolicy, the gateway\'s');

###############################################################################

sub convert {
	my ($text) = @_;

	$t->write_file('in.yaml', $text);

	my $out = `$ctl convert -f $d/in.yaml --resolver 127.0.0.1 --proxy-conf /etc/nginx/egress_proxy.conf 2>$d/err`;

	return ($? >> 8, $out, $t->read_file('err'));
}

# the service that the server of a name, or of a wildcard, chooses

sub service {
	my ($conf, $host) = @_;

	my ($parent) = $host =~ /(\..*)/;
	my ($name, %chosen);

	foreach (split /\n/, $conf) {
		$name = $1 if /^ +server_name +(\S+);$/;
		$chosen{$name} //= $1 if /^ +egress_service +(\S+);$/;
	}

	return $chosen{$host} // $chosen{"*$parent"} // 'none';
}

sub entry {
	my ($ns, $name, $host, $more) = @_;

	return <<"EOF";
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: $name, namespace: $ns}
spec:
  hosts: [$host]
  ports: [{number: 80, name: http, protocol: HTTP}]
  $more
EOF
}

sub route {
	my ($ns, $name, $host, $to, $more) = @_;

	$more ||= '';

	return <<"EOF";
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: $name, namespace: $ns}
spec:
  hosts: [$host]
  gateways: [istio-system/g]
  http: [{route: [{destination: {host: $to, port: {number: 80}}}]}]
  $more
EOF
}

sub gateway {
	my $hosts = join ', ', @_;

	return <<"EOF";
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: istio-system}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [$hosts]
EOF
}

sub rule {
	my ($ns, $more) = @_;

	return <<"EOF";
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: x, namespace: $ns}
spec:
  host: b.example.com
  $more
  trafficPolicy:
    tls: {mode: SIMPLE, sni: evil.example.net, insecureSkipVerify: true}
EOF
}

sub policy {
	my ($ns) = @_;

	return <<"EOF";
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: x, namespace: $ns}
spec:
  selector: {matchLabels: {istio: egressgateway}}
  action: ALLOW
  rules: [{}]
EOF
}

###############################################################################
