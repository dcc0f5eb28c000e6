#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for report mode and dry runs: what would be denied in status and
# metrics, its bounds, a reload; egress_explain of policies; egressctl explain
# and learn on an admin socket.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use JSON::PP;
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone             1m reports=32 series=6;
    trust_domain     td;
    outbound_policy  allow_any;
    resolver         127.0.0.1:%%PORT_8099%%;

    service all {
        host *.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    service db {
        host db.example.org;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8082%%;
    }

    policy shop/allow {
        action  allow;
        source  "shop.yaml:12";

        rule {
            from { principals td/ns/a/sa/x; }
            to { hosts ok.example.com; methods GET; paths /a*; }
        }

        rule {
            from { not_namespaces b; }
            to { hosts ns.example.com; }
            when request.headers[x-a] in b;
        }
    }

    policy shop/deny {
        action  deny;
        source  "shop.yaml:40";
        rule { to { hosts bad.example.com; } }
    }

    policy shop/audit {
        action  audit;
        rule { to { hosts ok.example.com; } }
    }

    policy dry/allow {
        action   allow;
        dry_run  on;
        rule { to { hosts ok.example.com; } }
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    server {
        listen  unix:%%TESTDIR%%/admin.sock;
        listen  127.0.0.1:8083;

        location /status   { egress_status; }
        location /metrics  { egress_metrics; }
        location /explain  { egress_explain; }
    }

    server {
        listen  127.0.0.1:8080 ssl;

        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  ca.crt;
        ssl_verify_client       optional;

        egress       on;
        egress_port  80;

        location / {
            proxy_pass  http://egress;
        }

        location /report {
            egress_authz  report;
            proxy_pass    http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;
        return  200 ok;
    }
}

stream {
    upstream egress { egress_balance; }

    server {
        listen          127.0.0.1:8084;
        egress          on;
        egress_authz    report;
        egress_port     5432;
        egress_preread  off;
        egress_service  db;
        proxy_pass      egress;
    }

    server {
        listen  127.0.0.1:8082;
        return  hello;
    }
}

EOF

my $d = $t->testdir();

$t->ca('ca')->cert('ca', 'server', 'DNS:localhost');
$t->spiffe('ca', 'x', 'td/ns/a/sa/x');
$t->spiffe('ca', 'y', 'td/ns/b/sa/y');

$t->run()->plan(81);

###############################################################################

# T-AUZ-15: what is only reported passes, what is enforced does not

is(code('x', 'ok', '/a'), 200, 'allowed');
is(code('y', 'ok', '/a'), 403, 'denied');
is(code('y', 'ok', '/report'), 200, 'reported');
is(code('y', 'ok', '/report'), 200, 'reported again');
is(code('x', 'bad', '/report'), 200, 'reported, deny');
is(code('', 'ns', '/report', '-H', 'X-A: b'), 200, 'reported, nobody');

my $r = get('/status/reports')->{reports};
my @rows = grep { $_->{mode} eq 'report' } @{$r->{rows}};
my ($row) = grep { $_->{principal} eq 'td/ns/b/sa/y' } @rows;

is(@rows, 3, 'rows');
is($row->{host}, 'ok.example.com', 'host');
is($row->{port}, 80, 'port');
is($row->{policy}, '', 'no allow rule');
is($row->{reason}, 'authz_denied', 'reason');
is($row->{service}, 'all', 'service');
is($row->{count}, 2, 'count');
ok($row->{first} <= $row->{last} && $row->{last} > time() - 60, 'times');

($row) = grep { $_->{policy} ne '' } @rows;
is($row->{policy}, 'shop/deny/0', 'deny rule');

($row) = grep { $_->{principal} eq '' } @rows;
is($row->{reason}, 'no_identity', 'nobody');

# what is on a dry run says what it would say, alone

my @dry = grep { $_->{mode} eq 'dry_run' } @{$r->{rows}};

is(join(' ', sort map { "$_->{principal}>$_->{host}" } @dry),
	'>ns.example.com td/ns/a/sa/x>bad.example.com', 'dry run');

# metrics

my $m = body('/metrics');

like($m, qr/^egress_authz_would_deny_total\{mode="report",reason="authz_denied"\} 3$/m,
	'metric, reported');
like($m, qr/^egress_authz_would_deny_total\{mode="report",reason="no_identity"\} 1$/m,
	'metric, nobody');
like($m, qr/^egress_authz_would_deny_total\{mode="dry_run",reason="authz_denied"\} 2$/m,
	'metric, dry run');
like($m, qr/^egress_authz_audits_total 4$/m, 'metric, audits');
like($m, qr/^egress_authz_reports 5$/m, 'metric, rows');

is(metric_errors($m), '', 'metrics, format');

# what was decided, each request once

like($m, qr/^egress_decisions_total\{service="all",verdict="$_->[0]",reason="$_->[1]",policy="$_->[2]"\} $_->[3]$/m,
	"decisions, @$_")
	for [ 'allowed', '-', 'shop/allow/0', 1 ],
		[ 'denied', 'authz_denied', '-', 1 ],
		[ 'reported', 'authz_denied', '-', 2 ],
		[ 'reported', 'authz_denied', 'shop/deny/0', 1 ],
		[ 'reported', 'no_identity', '-', 1 ];

# stream

is(tcp(), 'hello', 'stream, reported');
like(body('/metrics'), qr/^egress_decisions_total\{service="db",verdict="reported",reason="no_identity",policy="-"\} 1$|^egress_decisions_total\{service="db",verdict="reported",reason="authz_denied",policy="-"\} 1$/m,
	'decisions, stream');

($row) = grep { $_->{host} eq 'db.example.org' && $_->{mode} eq 'report' }
	@{get('/status/reports')->{reports}{rows}};

is($row->{protocol}, 'tcp', 'stream, protocol');
is($row->{http}, JSON::PP::false, 'stream, no http');

# a reload keeps them

$t->reload();

is(scalar @{get('/status/reports')->{reports}{rows}}, 7, 'rows after reload');

# past series= there is "_other"

like(body('/metrics'), qr/^egress_decisions_total\{service="_other",verdict="\w+",reason="[\w-]+",policy="_other"\} \d+$/m,
	'decisions, other')
	if code('x', 'bad', '/');

# policies

my $p = get('/status/policies')->{policies};

is(join(' ', map { $_->{name} } @$p),
	'shop/allow shop/deny shop/audit dry/allow', 'policies');
is_deeply($p->[0], { name => 'shop/allow', action => 'allow', rules => 2,
	dry_run => JSON::PP::false, source => 'shop.yaml:12' }, 'policy');
is(get('/status/policies?offset=3')->{policies}[0]{dry_run}, JSON::PP::true,
	'policy, dry run');

# one principal takes an eighth of the rows, and no more than there are

code('y', "many$_", '/report') for 1 .. 6;

$r = get('/status/reports')->{reports};

is(scalar(grep { $_->{principal} eq 'td/ns/b/sa/y' } @{$r->{rows}}), 4,
	'bound of a principal');
is($r->{kept}, scalar @{$r->{rows}}, 'kept');
is($r->{bound}, 32, 'bound');
cmp_ok($r->{dropped}, '>=', 3, 'dropped');

# explain

my $e = why('host=ok.example.com&port=80&principal=td/ns/a/sa/x&path=/a/b');

is($e->{verdict}, 'allowed', 'explain, allowed');
is_deeply($e->{authz}{decided_by}, { policy => 'shop/allow', rule => 0,
	action => 'allow', source => 'shop.yaml:12' }, 'explain, rule');
is($e->{authz}{audit}{policy}, 'shop/audit', 'explain, audit');

$e = why('host=bad.example.com&port=80&principal=td/ns/a/sa/x');

is($e->{verdict}, 'denied', 'explain, denied');
is($e->{authz}{decided_by}{source}, 'shop.yaml:40', 'explain, deny rule');
is($e->{authz}{dry_run}, 'authz_denied', 'explain, dry run');

is(fields('host=ok.example.com&port=80&principal=td/ns/b/sa/y&path=/a'),
	'principals:does not match hosts:does not match', 'explain, principal');
is(fields('host=ok.example.com&port=80&principal=td/ns/a/sa/x&path=/b'),
	'paths:does not match hosts:does not match', 'explain, path');
is(fields('host=ok.example.com&port=80&principal=td/ns/a/sa/x&path=/b/../a'),
	undef, 'explain, path is normalised');
is(fields('host=ok.example.com&port=80&principal=td/ns/a/sa/x&path=/a&method=PUT'),
	'methods:does not match hosts:does not match', 'explain, method');
is(fields('host=ok.example.com&port=80&path=/a'),
	'principals:no identity hosts:does not match', 'explain, nobody');
is(fields('host=ns.example.com&port=80&principal=td/ns/b/sa/y&header.x-a=b'),
	'hosts:does not match not_namespaces:does not match',
	'explain, negative');
is(fields('host=ns.example.com&port=80&principal=td/ns/c/sa/y'),
	'hosts:does not match request.headers:does not match',
	'explain, header');
is(fields('host=ns.example.com&port=80&principal=td/ns/c/sa/y&header.x-a=b'),
	undef, 'explain, header given');
is(fields('host=ns.example.com&port=80&principal=td/ns/c/sa/y&authority=ns.example.com:80'),
	'hosts:does not match hosts:does not match', 'explain, authority');
is(fields('host=db.example.org&port=5432&service=db&protocol=tcp&principal=td/ns/a/sa/x'),
	'methods:does not match methods:does not match', 'explain, tcp');
like(why('host=ok.example.com&port=80&principal=td/ns/a/sa/x/')
	->{authz}{no_identity}, qr/empty segment/, 'explain, bad principal');

# egressctl explain, through the socket

my $sock = "$d/admin.sock";

my ($status, $out, $err) = ctl('explain', '--socket', $sock, '--principal',
	'td/ns/a/sa/x', '--host', 'ok.example.com', '--port', '80', '--path',
	'/a?b=c&d', '--method', 'GET');

is($status, 0, 'egressctl explain, status');
like($out, qr/^allowed\b.*service all/m, 'egressctl explain, verdict');
like($out, qr/shop\/allow.*rule 0.*shop\.yaml:12/, 'egressctl explain, rule');

($status, $out) = ctl('explain', '--socket', $sock, '--principal',
	'td/ns/b/sa/y', '--host', 'ok.example.com', '--port', '80', '--path',
	'/a');

is($status, 0, 'egressctl explain, denied, status');
like($out, qr/^denied\b.*authz_denied/m, 'egressctl explain, denied');
like($out, qr/shop\/allow.*rule 0.*shop\.yaml:12.*principals/,
	'egressctl explain, reason');

($status, $out, $err) = ctl('explain', '--socket', $sock, '--host', 'a b');

is($status, 1, 'egressctl explain, wrong host');
like($err, qr/no host name/, 'egressctl explain, its error');

($status, $out, $err) = ctl('explain', '--socket', "$d/none.sock", '--host',
	'a');

is($status, 1, 'egressctl explain, no socket');
like($err, qr/none\.sock/, 'egressctl explain, says which');

# egressctl learn: what would allow exactly what was seen

($status, $out, $err) = ctl('learn', '--socket', $sock);

is($status, 0, 'egressctl learn, status');
like($out, qr/kind: AuthorizationPolicy.*action: ALLOW/s, 'egressctl learn');
like($err, qr/bad\.example\.com.*shop\/deny/, 'egressctl learn, deny rule');
like($err, qr/without identity/, 'egressctl learn, nobody');

# it is converted, and then lets pass what was reported

$t->write_file('learnt.yaml', $out . <<'EOF');
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: { name: all, namespace: istio-system }
spec:
  hosts: [ ok.example.com ]
  ports: [ { number: 80, name: http, protocol: HTTP } ]
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: { name: gw, namespace: istio-system }
spec:
  selector: { istio: egressgateway }
  servers:
  - port: { number: 80, name: http, protocol: HTTP }
    hosts: [ ok.example.com ]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: { name: ok, namespace: istio-system }
spec:
  hosts: [ ok.example.com ]
  gateways: [ gw ]
  http:
  - route:
    - destination: { host: ok.example.com, port: { number: 80 } }
EOF

($status, $out, $err) = ctl('convert', '-f', "$d/learnt.yaml", '--resolver',
	'127.0.0.1');

is($status, 0, 'learnt, converted') or diag($err);
like($out, qr/principals\s+td\/ns\/b\/sa\/y/, 'learnt, principal');

# explain of a configuration that does not run: a private nginx is asked

($status, $out, $err) = ctl('explain', '-c', "$d/nginx.conf", '--nginx',
	Test::Nginx::binary(), '--principal', 'td/ns/a/sa/x', '--host',
	'ok.example.com', '--port', '80', '--path', '/a');

is($status, 0, 'explain -c, status') or diag($err);
like($out, qr/^allowed, http ok\.example\.com.*shop\/allow, rule 0/s,
	'explain -c');

my ($stream) = $t->version_text() =~ /--with-stream=dynamic/
	? $t->version_text() =~ /--modules-path=(\S+)/ : ();

($status, $out, $err) = ctl('explain', '-f', "$d/learnt.yaml", '--nginx',
	Test::Nginx::binary(), '--principal', 'td/ns/b/sa/y', '--host',
	'ok.example.com', '--port', '80', '--protocol', 'http', '--',
	'--resolver', '127.0.0.1', modules($stream));

is($status, 0, 'explain -f, status') or diag($err);
like($out, qr/^allowed, .*learnt\.yaml:\d+/s, 'explain -f');

$t->write_file('wrong.conf', 'egress { zone 1m; nonsense; }');

($status, $out, $err) = ctl('explain', '-c', "$d/wrong.conf", '--nginx',
	Test::Nginx::binary(), '--host', 'a');

is($status, 1, 'explain -c, wrong');
like($err, qr/unknown directive "(nonsense|egress)"/, 'explain -c, says why');
is(join(' ', glob('/tmp/egressctl-*')), '', 'nothing is left');

###############################################################################

sub modules {
	my ($stream) = @_;

	my $v = $t->version_text();

	return ('--module-path', Test::Nginx::modules(), $stream
		? ('--stream-module', "$stream/ngx_stream_module.so") : ())
		unless $v =~ /--add-module=/;

	return ();
}

sub code {
	my ($name, $host, $path, @args) = @_;

	my @cert = $name ? ('--cert', "$d/$name.crt", '--key', "$d/$name.key")
		: ();

	open my $fh, '-|', 'curl', '-sk', '--max-time', '10', '-o', '/dev/null',
		'-w', '%{http_code}', '-H', "Host: $host.example.com", @cert, @args,
		'https://127.0.0.1:' . port(8080) . $path or die "curl: $!";

	local $/;

	return scalar <$fh>;
}

sub body {
	my ($uri) = @_;

	my $answer = http_get($uri, port => 8083);

	return $answer =~ /\r\n\r\n(.*)/s ? $1 : '';
}

sub get {
	my ($uri) = @_;

	return JSON::PP->new->utf8->decode(body($uri));
}

sub why {
	my ($args) = @_;

	return get("/explain?$args");
}

sub fields {
	my ($args) = @_;

	my $e = why($args);

	return undef unless $e->{authz}{not_allowed_by};

	return join ' ', map { "$_->{field}:$_->{why}" }
		@{$e->{authz}{not_allowed_by}};
}

sub metric_errors {
	my ($text) = @_;

	my (%type, @errors);

	foreach my $line (split /\n/, $text) {

		if ($line =~ /^# (HELP|TYPE) (\w+) /) {
			$type{$2}++;
			next;
		}

		push @errors, $line unless $line =~
			/^(\w+)(\{\w+="[^"\\]*"(,\w+="[^"\\]*")*\})? [0-9.]+$/
			&& $type{$1};
	}

	return join "\n", @errors;
}

sub tcp {
	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(8084));

	my $got = '';

	while ($s && sysread($s, $got, 100, length $got)) { }

	return $got;
}

sub ctl {
	my (@args) = @_;

	my $pid = fork();

	if ($pid == 0) {
		open STDOUT, '>', "$d/ctl.out";
		open STDERR, '>', "$d/ctl.err";
		exec(egressctl(), @args) or exit(127);
	}

	waitpid($pid, 0);

	return ($? >> 8, $t->read_file('ctl.out'), $t->read_file('ctl.err'));
}

###############################################################################
