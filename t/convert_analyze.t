#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl analyze: what is right and will still surprise.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use JSON::PP;
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

my $t = Test::Nginx->new();
my $d = $t->testdir();
my $ctl = egressctl();

# one HTTP port, one of TLS, one of the mesh's mTLS if it is asked for

my $base = <<'EOF';
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: i, namespace: istio-system}
spec: {meshConfig: {outboundTrafficPolicy: {mode: REGISTRY_ONLY}}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: istio-system}
spec:
  hosts: [a.test]
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 443, name: tls, protocol: TLS}
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: istio-system}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [a.test]
  - port: {number: 443, name: tls, protocol: TLS}
    hosts: [a.test]
    tls: {mode: PASSTHROUGH}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: istio-system}
spec:
  hosts: [a.test]
  gateways: [g]
  http:
  - route: [{destination: {host: a.test, port: {number: 80}}}]
  tls:
  - match: [{port: 443, sniHosts: [a.test]}]
    route: [{destination: {host: a.test, port: {number: 443}}}]
EOF

my $mutual = <<'EOF';
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: m, namespace: istio-system}
spec:
  host: istio-egressgateway.istio-system.svc.cluster.local
  trafficPolicy:
    portLevelSettings:
    - {port: {number: 443}, tls: {mode: ISTIO_MUTUAL, sni: a.test}}
EOF

# name, action, rules, mesh's mTLS, what is expected: severities and codes

my $who = 'from: [{source: {principals: [td/ns/a/sa/b]}}]';
my $other = 'from: [{source: {principals: [td/ns/a/sa/c]}}]';
my $to = 'to: [{operation: {ports: ["80"]}}]';

my @table = (
	[ 'method', 'ALLOW', 'to: [{operation: {methods: [GET], ports: ["80"]}}]',
		0, 'note PORT', 'note TCP' ],
	[ 'lower-case method', 'ALLOW',
		'to: [{operation: {methods: [get]}}]', 0,
		'note TCP', 'warning NEVER' ],
	[ 'path without slash', 'ALLOW', 'to: [{operation: {paths: [a]}}]', 0,
		'note TCP', 'warning NEVER' ],
	[ 'path with query', 'DENY', 'to: [{operation: {paths: ["/a?b"]}}]', 0,
		'warning NEVER', 'warning TCP' ],
	[ 'path', 'ALLOW', 'to: [{operation: {paths: [/a, "*b"]}}]', 0,
		'note TCP' ],
	[ 'port without Gateway', 'ALLOW',
		'to: [{operation: {ports: ["8443"]}}]', 0,
		'note PORT', 'warning NEVER' ],
	[ 'excluded', 'ALLOW',
		'to: [{operation: {methods: [GET], notMethods: [POST, GET]}}]', 0,
		'note TCP', 'note TCP', 'warning NEVER' ],
	[ 'excluded in part', 'ALLOW',
		'to: [{operation: {methods: [GET, PUT], notMethods: [GET]}}]', 0,
		'note TCP', 'note TCP' ],
	[ 'upper-case SNI', 'ALLOW',
		'when: [{key: connection.sni, values: [A.test]}]', 0,
		'warning NEVER' ],
	[ 'lower-case SNI', 'ALLOW',
		'when: [{key: connection.sni, values: [a.test]}]', 0 ],

	[ 'host', 'ALLOW', 'to: [{operation: {hosts: [a.test]}}]', 0,
		'note HOSTPORT', 'note SNI' ],
	[ 'host, port', 'ALLOW',
		'to: [{operation: {hosts: [a.test, "a.test:*"]}}]', 0, 'note SNI' ],
	[ 'host, denied', 'DENY', 'to: [{operation: {hosts: [a.test]}}]', 0,
		'note SNI', 'warning HOSTPORT' ],
	[ 'host on TLS', 'DENY',
		'to: [{operation: {hosts: [a.test], ports: ["443"]}}]', 0,
		'note PORT', 'note SNI' ],
	[ 'host on HTTP', 'DENY',
		'to: [{operation: {hosts: [a.test], ports: ["80"]}}]', 0,
		'note PORT', 'warning HOSTPORT' ],
	[ 'not host', 'ALLOW', 'to: [{operation: {notHosts: [a.test]}}]', 0,
		'note SNI', 'warning HOSTPORT', 'warning NEGATIVE' ],
	[ 'not host, denied', 'DENY', 'to: [{operation: {notHosts: [a.test]}}]',
		0, 'note HOSTPORT', 'note SNI' ],
	[ 'host not registered', 'ALLOW',
		'to: [{operation: {hosts: [b.test, "b.test:*"]}}]', 0,
		'note SNI', 'warning UNREACHABLE' ],

	[ 'nobody has an identity', 'ALLOW', $who, 0, 'warning NOIDENTITY' ],
	[ 'identity', 'ALLOW', $who, 1 ],
	[ 'identity, denied', 'DENY', $who, 1, 'note NOIDENTITY' ],
	[ 'not identity', 'ALLOW', 'from: [{source: {notNamespaces: [a]}}]', 1,
		'note NOIDENTITY', 'warning NEGATIVE' ],
	[ 'not identity, denied', 'DENY',
		'from: [{source: {notNamespaces: [a]}}]', 1 ],
	[ 'condition, denied', 'DENY',
		'when: [{key: source.namespace, values: [a]}]', 1,
		'note NOIDENTITY' ],
	[ 'no principal', 'ALLOW', 'from: [{source: {principals: [a]}}]', 1,
		'warning NEVER' ],
	[ 'audit', 'AUDIT', $who, 0 ],

	[ 'any', 'ALLOW', '{}', 0, 'warning ANY' ],
	[ 'twice', 'ALLOW', "$who\n  - $who", 1, 'warning COVERED' ],
	[ 'not twice', 'ALLOW', "$who\n  - $other", 1 ],
	[ 'after any', 'ALLOW', "{}\n  - $who", 1,
		'warning ANY', 'warning COVERED' ],
	[ 'no rules', 'ALLOW', undef, 0, 'warning DENYALL' ],
	[ 'CUSTOM', 'CUSTOM', $who, 1, 'error UNSUPPORTED' ],
);

plan(tests => 2 * @table + 26);

###############################################################################

for (@table) {
	my ($name, $action, $rules, $mtls, @codes) = @$_;

	$t->write_file('a.yaml', $base . ($mtls ? $mutual : '')
		. policy('p', $action, $rules));

	my ($status, $out) = analyze('--format json');
	my @found = sort map { "$_->{severity} $_->{code}" }
		grep { $_->{code} !~ /^(MUTUAL|DEFAULT)$/ } @{decode_json($out)};

	is(join(', ', @found), join(', ', sort @codes), $name);
	is($status, scalar(grep { /^error/ } @codes) ? 1 : 0, "$name, status");
}

# the same rule in two policies

$t->write_file('a.yaml', $base . policy('p', 'ALLOW', $to)
	. policy('q', 'ALLOW', $to));

my ($status, $out, $err) = analyze('');

like($out, qr/^\S+a.yaml:\d+:5: warning: .*a.yaml:\d+, .* \[COVERED\]\n    /m,
	'two policies, text');
is($err, '', 'nothing on standard error');
is($status, 0, 'warning, status');
is((analyze('--fail-on warning'))[0], 1, 'fail on warning');
is((analyze('--strict'))[0], 1, 'strict');
is((analyze(''))[1], $out, 'again');

$t->write_file('a.yaml', $base . policy('p', 'ALLOW', $to)
	. policy('q', 'DENY', $to));
unlike((analyze(''))[1], qr/COVERED/, 'two actions');

$t->write_file('a.yaml', $base);
is((analyze('--fail-on warning'))[0], 0, 'nothing to warn of');

my $dry = policy('p', 'ALLOW', undef);
$dry =~ s/name: p,/name: p, annotations: {istio.io\/dry-run: "true"},/;
$t->write_file('a.yaml', $base . $dry);
unlike((analyze(''))[1], qr/DENYALL/, 'no rules, on a dry run');

my $elsewhere = policy('p', 'ALLOW', $to);
$elsewhere =~ s/spec:/spec:\n  selector: {matchLabels: {istio: other}}/;
$t->write_file('a.yaml', $base . $elsewhere);
like((analyze(''))[1], qr/selects other workloads \[SELECTOR\]/,
	'other workloads');

# all that "convert" says is there, and each thing once

my @convert = said((ctl('convert -f ../conf/istio'))[2]);
my @analyze = said((ctl('analyze -f ../conf/istio'))[1]);
my %seen;

$seen{$_}++ for @analyze;

cmp_ok(scalar(@convert), '>', 3, 'convert says something');
is(join("\n", grep { !$seen{$_} } @convert), '', 'all of convert');
is(join("\n", grep { $seen{$_} > 1 } sort keys %seen), '', 'each thing once');
cmp_ok(scalar(@analyze), '>', scalar(@convert), 'and more');

# errors: all of them, with their place

my $bad = join '', map { policy("p$_", 'CUSTOM', $to) } 1 .. 60;

$t->write_file('a.yaml', $base . $bad);
($status, $out) = analyze('--format json');
my @errors = grep { $_->{severity} eq 'error' } @{decode_json($out)};

is($status, 1, 'errors, status');
is(scalar(@errors), 60, 'more errors than convert shows');
is(join(' ', sort keys %{$errors[0]}), 'code column file line severity text',
	'members');
is("$errors[0]{file} $errors[0]{column}", "$d/a.yaml 11", 'place');

$t->write_file('a.yaml', "a: [\n");
($status, $out) = analyze('--format json');
is("$status " . join(' ', map { $_->{code} }
	grep { $_->{severity} eq 'error' } @{decode_json($out)}), '1 SYNTAX',
	'no YAML');

# what is cut within a character, and the name of a file that is no UTF-8

$t->write_file("\xff.yaml", $base =~ s!- route: !- match: [{uri: {prefix: "/%a\xc3\xa9"}}]\n    route: !r);
($status, $out) = ctl("analyze -f $d/\xff.yaml --resolver 127.0.0.1 --format json");
is("$status " . join(' ', map { "$_->{file} $_->{text}" =~ s/^\Q$d\E//r }
	grep { $_->{severity} eq 'error' } @{decode_json($out)}),
	'1 /?.yaml "%a?" in a path: nginx compares it decoded, and would find more than this',
	'no UTF-8');

# usage, and nothing is written

is((ctl('analyze'))[0], 2, 'no file');
is((ctl('analyze -f ../conf/istio --format xml'))[0], 2, 'format');
is((ctl('analyze -f ../conf/istio --fail-on note'))[0], 2, 'fail on');
is((ctl("analyze -f ../conf/istio -o $d/x.conf"))[0], 2, 'output');
ok(!-e "$d/x.conf", 'nothing written');
is((ctl('convert -f ../conf/istio --format json'))[0], 2, 'not of convert');

###############################################################################

sub policy {
	my ($name, $action, $rules) = @_;

	$rules = defined $rules ? "  rules:\n  - $rules\n" : '';

	return <<"EOF";
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: $name, namespace: istio-system}
spec:
  action: $action
$rules
EOF
}

sub said {
	return grep { / \[[A-Z]+\]$/ } split /\n/, $_[0];
}

sub analyze {
	my ($args) = @_;

	return ctl("analyze -f $d/a.yaml --resolver 127.0.0.1 $args");
}

sub ctl {
	my ($args) = @_;

	my $out = `$ctl $args 2>$d/stderr`;

	return ($? >> 8, $out, $t->read_file('stderr'));
}

###############################################################################
