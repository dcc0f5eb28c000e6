#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for the table of refusals: each reason with its verdict, flag and
# status, in http and in stream, and what the client sees of it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;
use Test::Nginx::Dialled;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# in http: host, what is asked for, status, verdict, reason, flag

my @http = (
	[ 'ok', '/', 200, 'allowed', '-', '-' ],
	[ 'miss', '/', 502, 'denied', 'registry_miss', 'NR' ],
	[ 'denied', '/', 403, 'denied', 'authz_denied', '-' ],
	[ 'noid', '/', 403, 'denied', 'no_identity', '-' ],
	[ 'private', '/', 403, 'denied', 'address_denied', 'UAEX' ],
	[ 'ok', '/limited', 429, 'denied', 'rate_limited', 'RL' ],
	[ 'full', '/', 503, 'denied', 'circuit_open', 'UO' ],
	[ 'sick', '/', 503, 'denied', 'no_healthy_endpoint', 'UH' ],
	[ 'dead', '/', 503, 'allowed', 'connect_failed', 'UF' ],
	[ 'badtls', '/', 503, 'allowed', 'tls_failed', 'UF' ],
	[ 'nodns', '/', 503, 'denied', 'dns_failed', 'DF' ],
	[ 'broken', '/', 503, 'denied', 'service_broken', 'UH' ],
	[ 'ok', '/stall', 504, 'allowed', 'upstream_timeout', 'UT' ],
);

# in stream: server, what the client says, status, verdict, reason, flag,
# alert

my @stream = (
	[ 'main', hello('miss'), 502, 'denied', 'registry_miss', 'NR', 112 ],
	[ 'main', hello('denied'), 403, 'denied', 'authz_denied', '-', 49 ],
	[ 'main', hello('noid'), 403, 'denied', 'no_identity', '-', 49 ],
	[ 'main', hello('private'), 403, 'denied', 'address_denied', 'UAEX', 49 ],
	[ 'limited', hello('ok'), 429, 'denied', 'rate_limited', 'RL', 49 ],
	[ 'main', hello('full'), 503, 'denied', 'circuit_open', 'UO', 80 ],
	[ 'main', hello('sick'), 503, 'denied', 'no_healthy_endpoint', 'UH', 80 ],
	[ 'main', hello('dead'), 503, 'allowed', 'connect_failed', 'UF', 80 ],
	[ 'main', hello('nodns'), 503, 'denied', 'dns_failed', 'DF', 80 ],
	[ 'main', hello('broken'), 503, 'denied', 'service_broken', 'UH', 80 ],
	[ 'main', hello('ok', 1), 403, 'denied', 'ech_denied', 'DC', 49 ],
	[ 'main', "\x16\3\1\0\4\1\0\0\0", 400, 'denied', 'bad_client_hello', 'DC',
		50 ],
	[ 'main', "plain text\r\n", 400, 'denied', 'not_tls', 'DC', 0 ],
	[ 'plain', 'hello', 503, 'allowed', 'tls_failed', 'UF', 0 ],
);

my @modes = qw/ alert reset close /;

my $target = 'target=%%PORT_8081%%';
my $far = 'endpoint 127.0.1.1;';
my $servers = '';

foreach my $i (0 .. $#modes) {
	my %settings = (
		main => [ 8010 + $i, '' ],
		limited => [ 8013 + $i, 'egress_ratelimit bucket=stream;' ],
		plain => [ 8016 + $i, 'egress_service badtls;' ],
	);

	foreach my $name (sort keys %settings) {
		my ($port, $text) = @{$settings{$name}};

		$servers .= "server { listen 127.0.0.1:$port; egress on; "
			. "egress_port 443; egress_refuse $modes[$i]; $text "
			. "proxy_pass egress; }\n    ";
	}
}

my $t = Test::Nginx->new()->has('stream')
	->expect(qr/SSL_do_handshake\(\) failed/)
	->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone              1m;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  1s;

    service ok       { host ok.example.com;       port 80 http $target;
                       port 443 tls $target; $far }
    service denied   { host denied.example.com;   port 80 http $target;
                       port 443 tls $target; $far }
    service noid     { host noid.example.com;     port 80 http $target;
                       port 443 tls $target; $far }
    service private  { host private.example.com;  port 80 http $target;
                       port 443 tls $target; }
    service nodns    { host nodns.example.com;    port 80 http $target;
                       port 443 tls $target; }
    service full     { host full.example.com;     port 80 http $target;
                       port 443 tls $target; $far
                       max_connections 1; max_pending 0; }
    service dead     { host dead.example.com;     port 80 http; port 443 tls;
                       endpoint 127.0.1.1 port=%%PORT_8099%%; }
    service sick     { host sick.example.com;     port 80 http; port 443 tls;
                       endpoint 127.0.1.1 port=%%PORT_8099%%;
                       outlier consecutive_5xx=1 ejection=1h max_ejected=100%; }
    service badtls   { host badtls.example.com;   port 80 https $target;
                       port 5432 tcp $target; $far
                       connect_timeout 400ms; tls simple;
                       tls_trusted_certificate ca.crt; }
    service broken   { host broken.example.com;   port 80 https $target;
                       port 443 tls $target; $far tls mutual;
                       tls_certificate none.crt; tls_certificate_key none.key;
                       tls_trusted_certificate ca.crt; }
    service idle     { host idle.example.com;     port 5432 tcp $target; $far
                       idle_timeout 300ms; }

    policy deny {
        action  deny;
        rule { to { hosts denied.example.com; } }
    }

    policy allow {
        action  allow;
        rule { to { not_hosts noid.example.com; } }
        rule {
            from { principals cluster.local/ns/a/sa/b; }
            to { hosts noid.example.com; }
        }
    }

    bucket http    { tokens 1; interval 1000s; }
    bucket stream  { tokens 1; interval 1000s; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  refusal  '\$host \$egress_verdict|\$egress_reason|'
                         '\$egress_flags|\$status';

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  80;
        access_log   %%TESTDIR%%/http.log  refusal;
        egress_reason_header  on;
        proxy_read_timeout    400ms;

        location / {
            proxy_pass  http://egress;
        }

        location /limited {
            egress_ratelimit  bucket=http;
            proxy_pass        http://egress;
        }

        location /long {
            rewrite             ^ /stall break;
            proxy_read_timeout  1m;
            proxy_pass          http://egress;
        }

        location = /silent {
            egress_reason_header  off;
            proxy_pass            http://egress;
        }
    }
}

stream {
    log_format  refusal  '\$server_port \$egress_verdict|\$egress_reason|'
                         '\$egress_flags|\$status';
    access_log  %%TESTDIR%%/stream.log  refusal;

    egress_preread_timeout  300ms;

    upstream egress {
        egress_balance;
    }

    $servers

    server {
        listen          127.0.0.1:8019;
        egress          on;
        egress_service  idle;
        proxy_pass      egress;
    }
}

EOF

$t->ca('ca');

Test::Nginx::DNS::set($t, 'private.example.com', 'A 10.0.0.1 ttl=60');
Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Dialled::start($t, 8081);

$t->run()->plan(3 * @http + 2 * @stream * @modes + 9);

###############################################################################

# what comes before: a token, a connection that stays, a failure

ask('ok', '/limited');

my $held = IO::Socket::INET->new('127.0.0.1:' . port(8080));
print $held "GET /long HTTP/1.0\r\nHost: full.example.com\r\n\r\n";
sleep 0.2;

ask('sick', '/');

$t->write_file('http.log', '');

foreach my $row (@http) {
	my ($host, $uri, $status, $verdict, $reason, $flag) = @$row;

	my $answer = ask($host, $uri);

	like($answer, qr/^HTTP\/1.1 $status /, "http, $reason");

	is(($answer =~ /^x-egress-reason: (\S+)\r$/m)[0],
		$status == 200 ? undef : $reason, "http, $reason, header");
	is(logged('http', "$host.example.com"),
		"$verdict|$reason|$flag|$status", "http, $reason, logged");
}

like(ask('denied', '/'), qr/\r\n\r\nRBAC: access denied$/, 'rbac, body');
unlike(ask('denied', '/silent'), qr/egress-reason/i, 'no header');
like(ask('badtls', '/'), qr/^Content-Length: (\d+)\r.*\r\n\r\n(?!.*502)/ms,
	'no page of another status');

# stream

foreach my $i (0 .. $#modes) {
	is(talk(8013 + $i, hello('ok'), 0.1), 'timeout', 'the last token')
		if $i == 0;

	foreach my $row (@stream) {
		my ($server, $said, $status, $verdict, $reason, $flag, $alert)
			= @$row;

		my $port = { main => 8010, limited => 8013, plain => 8016 }
			->{$server} + $i;

		my $got = talk($port, $said, 5);
		my $what = "stream, $reason, $modes[$i]";

		if ($modes[$i] eq 'alert' && $alert) {
			is($got, unpack('H*', pack('C7', 21, 3, 3, 0, 2, 2, $alert)),
				$what);

		} elsif ($modes[$i] eq 'reset') {
			is($got, 'reset', $what);

		} else {
			like($got, qr/^(reset)?$/, $what);
		}

		is(logged('stream', port($port)),
			"$verdict|$reason|$flag|$status", "$what, logged");
	}
}

is(talk(8019, 'PING', 5, 1), unpack('H*', "127.0.1.1\n"),
	'stream, upstream_timeout');
is(logged('stream', port(8019)), 'allowed|upstream_timeout|UT|200',
	'stream, upstream_timeout, logged');

close($held);
sleep 0.3;

like(ask('full', '/'), qr/ 200 /, 'circuit is closed again');

my $log = $t->read_file('error.log');

like($log, qr/service "full" has reached its limit: max_pending/, 'limit logged');
like($log, qr/denied: reason circuit_open, service "full"/, 'denial logged');

###############################################################################

sub ask {
	my ($host, $uri) = @_;

	return http("GET $uri HTTP/1.0\r\nHost: $host.example.com\r\n\r\n") || '';
}

# hex of what comes until the end, "reset", or "timeout"

sub talk {
	my ($num, $said, $timeout, $idle) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port($num))
		or die "can't connect: $!\n";

	syswrite($s, $said);

	my $buf = '';

	while (IO::Select->new($s)->can_read($timeout)) {
		my $n = sysread($s, $buf, 4096, length $buf);

		return length $buf ? unpack('H*', $buf) : 'reset' unless defined $n;
		return unpack('H*', $buf) if $n == 0;
	}

	return 'timeout';
}

# the last line of a host or a port, as soon as there is a new one

sub logged {
	my ($name, $key) = @_;

	for (1 .. 60) {
		my @lines = $t->read_file("$name.log") =~ /^\Q$key\E (.*)$/mg;

		if (@lines > ($t->{seen}{"$name $key"} || 0)) {
			$t->{seen}{"$name $key"} = @lines;
			return $lines[-1];
		}

		sleep 0.05;
	}

	return 'nothing';
}

# a ClientHello, with encrypted_client_hello if asked for

sub hello {
	my ($name, $ech) = @_;

	$name .= '.example.com';

	my $ext = pack('nn/a*', 0, pack('n/a*', pack('Cn/a*', 0, $name)))
		. pack('nn/a*', 43, pack('C/a*', pack('nn', 0x0304, 0x0303)))
		. pack('nn/a*', 10, pack('n/a*', pack('n', 29)))
		. pack('nn/a*', 13, pack('n/a*', pack('n', 0x0403)))
		. pack('nn/a*', 51, pack('n/a*', pack('nn/a*', 29, 'k' x 32)));

	# outer, HKDF-SHA256 and AES-128-GCM

	$ext .= pack('nn/a*', 0xfe0d, pack('CnnC', 0, 1, 1, 7)
		. pack('n/a*', 'e' x 32) . pack('n/a*', 'p' x 64)) if $ech;

	my $body = pack('n', 0x0303) . 'r' x 32 . pack('C/a*', 's' x 32)
		. pack('n/a*', pack('n3', 0x1301, 0xc02b, 0xc02f))
		. pack('C/a*', "\0") . pack('n/a*', $ext);

	my $message = pack('C', 1) . substr(pack('N', length $body), 1) . $body;

	return pack('Cnn/a*', 22, 0x0301, $message);
}

###############################################################################
