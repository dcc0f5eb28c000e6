#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for conf/egress_proxy.conf: the bytes that the far side gets, and that
# its answer comes back as it is.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  80;

        location / {
            include     %%REPOSITORY%%/conf/egress_proxy.conf;
            proxy_pass  http://egress;
        }
    }
}

egress {
    zone  1m;

    service a {
        host      a.example.com;
        port      80 http;
        endpoint  127.0.0.1 port=%%PORT_8081%%;
    }
}

EOF

$t->run_daemon(\&far_side);
$t->wait_for_port(port(8081));
$t->run()->plan(16);

###############################################################################

my @mesh = qw/
	X-Forwarded-Client-Cert X-Forwarded-For X-Forwarded-Proto X-Request-Id
	X-Envoy-Attempt-Count X-Envoy-Decorator-Operation X-Envoy-Peer-Metadata
	X-Envoy-Peer-Metadata-Id X-Envoy-External-Address X-Envoy-Internal
	X-Envoy-Original-Path X-B3-TraceId X-B3-SpanId X-B3-Sampled Traceparent
	Tracestate Forwarded X-Envoy-Downstream-Service-Cluster
	X-Envoy-Downstream-Service-Node X-Envoy-Original-Dst-Host
	Grpc-Trace-Bin X-Cloud-Trace-Context X-Ot-Span-Context
/;

my $r = http("GET /path?a=%2F HTTP/1.1\r\nHost: A.example.com:80\r\n"
	. "Connection: close\r\nAccept: x/y\r\nAuthorization: Bearer t\r\n"
	. join('', map { "$_: secret\r\n" } @mesh) . "\r\n");

my ($got) = $r =~ /\r\n\r\n(.*)/s;

is($got, "GET /path?a=%2F HTTP/1.1\r\nHost: A.example.com:80\r\n"
	. "Accept: x/y\r\nAuthorization: Bearer t\r\n\r\n", 'request');

like($r, qr/^HTTP\/1.1 207 Some/, 'status');
like($r, qr/^Server: far\r$/m, 'server');
like($r, qr/^Date: never\r$/m, 'date');
like($r, qr/^Location: http:\/\/egress\/x\r$/m, 'location');
like($r, qr/^X-Accel-Redirect: \/y\r$/m, 'x-accel-redirect is a header');

$r = http("POST / HTTP/1.1\r\nHost: a.example.com\r\nConnection: close\r\n"
	. "Content-Length: 5\r\n\r\nhello");

like($r, qr/Content-Length: 5\r\n\r\nhello$/, 'body');
unlike($r, qr/secret/, 'nothing of another request');

# the host that was decided on, whatever else is said of it

is(host('/', 'a.example.com'), 'a.example.com', 'host');
is(host('/', 'a.example.com:8080'), 'a.example.com:8080', 'host with a port');
is(host('/', 'a.example.com:'), 'a.example.com', 'host with an empty port');
is(host('/', 'a.example.com.'), 'a.example.com', 'host with a dot');
is(host('/', 'a.example.com.:81'), 'a.example.com', 'with a dot and a port');
is(host('http://a.example.com/', 'b.example.com'), 'a.example.com',
	'host of the request line');
is(host('http://A.example.com:82/', 'b.example.com:83'), 'A.example.com:82',
	'port of the request line');
is(host('http://a.example.com?x', 'b.example.com:83'), 'a.example.com',
	'request line without a path');

###############################################################################

sub host {
	my ($uri, $host) = @_;

	my $r = http("GET $uri HTTP/1.1\r\nHost: $host\r\n"
		. "Connection: close\r\n\r\n");

	return $r =~ /\r\n\r\n.*^Host: (\S*)\r$/ms ? $1 : $r;
}

# answers with the bytes that it got

sub far_side {
	my $l = IO::Socket::INET->new(
		Listen => 5,
		LocalAddr => '127.0.0.1',
		LocalPort => port(8081),
		ReuseAddr => 1
	) or die "can't listen: $!\n";

	while (my $s = $l->accept()) {
		my $request = '';

		while ($request !~ /\r\n\r\n/) {
			sysread($s, $request, 4096, length $request) or last;
		}

		if ($request =~ /Content-Length: (\d+)/) {
			while ($request !~ /\r\n\r\n.{$1}/s) {
				sysread($s, $request, 4096, length $request) or last;
			}
		}

		print $s "HTTP/1.1 207 Some\r\nServer: far\r\nDate: never\r\n"
			. "Location: http://egress/x\r\nX-Accel-Redirect: /y\r\n"
			. 'Content-Length: ' . length($request)
			. "\r\nConnection: close\r\n\r\n$request";
		close($s);
	}
}

###############################################################################
