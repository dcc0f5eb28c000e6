#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for the protocols of clients and services: HTTP/1.1, HTTP/2, gRPC and
# WebSocket, a location that speaks another one, and what the far side sees
# within the TLS that the gateway originates.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Select;
use IO::Socket::INET;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/ http_v2 /)->has_daemon('openssl')
	->has_daemon('curl');

my $d = $t->testdir();
my $v2 = $t->version() >= 1029004;

# from 1.25.1 on "listen ... http2" is deprecated

my $http2 = $t->version() >= 1025001 ? 'http2 on;' : '';
my $listen = $t->version() >= 1025001 ? '' : 'http2';

my $proxy2 = $v2 ? <<'EOF' : '';
        location /proxy2/ {
            egress_service      h2;
            proxy_http_version  2;
            proxy_pass          https://egress;
        }
EOF

my $conf = <<"EOF";

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    egress_reason_header  on;

    log_format  near  "\$uri \$upstream_addr \$egress_reason";

    server {
        listen       127.0.0.1:8080 $listen;
        listen       127.0.0.1:8087;
        server_name  _;
        $http2

        egress       on;
        access_log   %%TESTDIR%%/near.log near;

        include  %%REPOSITORY%%/conf/egress_proxy.conf;

        location / {
            egress_service  web;
            proxy_redirect  https://\$host/ http://\$host/;
            proxy_pass      http://egress;
        }

        location /grpc/ {
            egress_service  grpc;
            grpc_set_header Host \$host;
            grpc_pass       grpcs://egress;
        }

        location /h2/ {
            egress_service  h2;
            grpc_pass       grpcs://egress;
        }

        location /h2c/ {
            egress_service  h2c;
            grpc_pass       grpc://egress;
        }

        location /either/ {
            egress_service  either;
            grpc_pass       grpcs://egress;
        }

        location /either1/ {
            egress_service  either;
            proxy_pass      http://egress;
        }

        # a service that nginx -t can't know

        location /wrong1/ {
            egress_service  \$arg_s;
            proxy_pass      http://egress;
        }

        location /wrong2/ {
            egress_service  \$arg_s;
            grpc_pass       grpc://egress;
        }

        location /wrong3/ {
            egress_service  \$arg_s;
            grpc_pass       grpcs://egress;
        }

        location /wrong4/ {
            egress_service  \$arg_s;
            proxy_pass      https://egress;
        }

$proxy2
    }

%%FAR%%
    log_format  far  "\$ssl_server_name|\$ssl_alpn_protocol|\$server_protocol|\$scheme|\$http_host|\$connection|\$request_method \$request_uri";

    server {
        access_log           %%TESTDIR%%/far.log far;
        listen               127.0.0.1:8081 ssl $listen;
        $http2
        ssl_protocols        TLSv1.2 TLSv1.3;
        ssl_certificate      server.crt;
        ssl_certificate_key  server.key;
        return               200 "\$server_protocol \$connection\\n";
    }

    server {
        listen  127.0.0.1:8082 $listen;
        $http2
        return  200 "\$server_protocol\\n";
    }
%%NEAR%%
}

stream {
%%FAR%%
    log_format  far  "\$ssl_server_name|\$ssl_alpn_protocol";

    server {
        listen               127.0.0.1:8083 ssl;
        ssl_protocols        TLSv1.2 TLSv1.3;
        ssl_certificate      server.crt;
        ssl_certificate_key  server.key;
        access_log           %%TESTDIR%%/tls.log far;
        proxy_pass           127.0.0.1:8084;
    }
%%NEAR%%
}

egress {
    zone  1m;

    service web {
        host s.test; port 80 http; endpoint 127.0.0.1 port=%%PORT_8083%%;
        tls simple; tls_trusted_certificate ca.crt;
    }

    service grpc {
        lookup off; host s.test; port 443 grpc;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate ca.crt;
    }

    service h2 {
        lookup off; host s.test; port 443 http2;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate ca.crt;
    }

    service h2c {
        lookup off; host s.test; port 80 http2;
        endpoint 127.0.0.1 port=%%PORT_8082%%;
    }

    service either {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate ca.crt;
    }

    service alpn {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate ca.crt; tls_alpn x h2 http/1.1;
    }

    service alpn2 {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate ca.crt; tls_alpn x h2;
    }
}

EOF

$t->write_file_expand('nginx.conf', $conf);

$t->ca('ca')->cert('ca', 'server', 'DNS:s.test');

$t->run_daemon(\&far_side);
$t->wait_for_port(port(8084));
$t->run()->plan(48 + ($v2 ? 3 : 0));

###############################################################################

# within the TLS: the bytes of two requests on one connection

my $r = http("GET /a?b=%2F HTTP/1.1\r\nHost: S.test\r\nAccept: x/y\r\n"
	. "X-Forwarded-Client-Cert: secret\r\nTraceparent: secret\r\n"
	. "Upgrade: h2c\r\nHTTP2-Settings: AAAA\r\n"
	. "Connection: Upgrade, HTTP2-Settings\r\n\r\n"
	. "GET /c HTTP/1.1\r\nHost: s.test\r\nConnection: close\r\n\r\n",
	port => 8087);

like($r, qr/^1 1\nGET \/a\?b=%2F HTTP\/1.1\r\nHost: S.test\r\nAccept: x\/y\r\nHTTP2-Settings: AAAA\r\n\r\n/m,
	'request');
like($r, qr/^1 2\nGET \/c HTTP\/1.1\r\nHost: s.test\r\n\r\n/m,
	'another on the same connection');

is((lines('near.log', 2))[0], '/a 127.0.0.1:' . port(8083) . ' -', 'log');

# redirects, also to where nobody is rewritten

like(get('/redirect?https://s.test/x'), qr/^Location: http:\/\/s.test\/x\r$/m,
	'redirect to the same host');
like(get('/redirect?https://other.test/x'),
	qr/^Location: https:\/\/other.test\/x\r$/m, 'redirect to another host');

# an error of the log says https

get('/close');
like($t->read_file('error.log'), qr/upstream: "https:\/\/127.0.0.1:\d+\/close"/,
	'https in the log');

# WebSocket

my $s = IO::Socket::INET->new('127.0.0.1:' . port(8087));
print $s "GET /ws HTTP/1.1\r\nHost: s.test\r\nUpgrade: WebSocket\r\n"
	. "Connection: Upgrade\r\nSec-WebSocket-Key: a2V5\r\n"
	. "Sec-WebSocket-Version: 13\r\n\r\n";

my $head = read_until($s, qr/\r\n\r\n/);
like($head, qr/^HTTP\/1.1 101 /, 'websocket');
like($head, qr/^X-Got: websocket\/upgrade\r$/m, 'websocket, headers');
print $s 'ping';
is(read_until($s, qr/pong/), 'pong:ping', 'websocket, both ways');
close $s;

# what the far side saw of the TLS; a tunnel is logged when it ends

my @tls = lines('tls.log', 2);
is($tls[0], 's.test|-', 'SNI, no ALPN');

# HTTP/2: of clients, of services

is(curl('--http2-prior-knowledge', '/x') =~ /^GET (\S+)/m, 1,
	'client with HTTP/2');

my $with_port = "-s --max-time 8 --http2-prior-knowledge -H 'Host: S.test:99'";

like(`curl $with_port http://127.0.0.1:@{[port(8080)]}/x`,
	qr/^Host: S\.test:99\r$/m, 'client with HTTP/2, port of the host');

foreach my $uri (qw/ grpc h2 /) {
	like(curl('--http2-prior-knowledge', "/$uri/"), qr/^HTTP\/2.0 /,
		"$uri");
	my ($name, $alpn, $protocol, $scheme, $host)
		= split /\|/, (lines('far.log', 1))[-1];
	is("$name $alpn $protocol $scheme", 's.test h2 HTTP/2.0 https',
		"$uri, far side");
}

my ($one) = curl('--http2-prior-knowledge', '/h2/') =~ / (\d+)/;
my ($two) = curl('--http2-prior-knowledge', '/h2/') =~ / (\d+)/;
is($two, $one, 'connection kept');

like(curl('', '/h2c/'), qr/^HTTP\/2.0/, 'h2c, of a client with HTTP/1.1');
like(curl('', '/either/'), qr/^HTTP\/2.0/, 'https in grpc_pass');
like(curl('', '/either1/'), qr/^HTTP\/1.1/, 'https in proxy_pass');

if ($v2) {
	like(curl('', '/proxy2/'), qr/^HTTP\/2.0 /, 'proxy_http_version 2');
	my ($name, $alpn, $protocol, $scheme)
		= split /\|/, (lines('far.log', 1))[-1];
	is("$name $alpn $protocol $scheme", 's.test h2 HTTP/2.0 https',
		'proxy_http_version 2, far side');
	unlike(curl('', '/proxy2/'), qr/service_broken/, 'and again');
}

# what does not go together at run time, and is not dialled

my $far = () = lines('far.log', 1);

foreach my $what ([ 1, 'grpc', 'HTTP/2, the location HTTP/1.1' ],
	[ 1, 'h2c', 'HTTP/2, the location HTTP/1.1' ],
	[ 2, 'web', 'HTTP/1.1, the location HTTP/2' ],
	[ 2, 'h2', 'TLS, the location HTTP/2 without it' ],
	[ 3, 'h2c', 'no TLS, the location TLS' ],
	[ 4, 'h2', 'HTTP/2, the location HTTP/1.1' ],
	[ 1, 'alpn', 'HTTP/2 by its "tls_alpn", the location HTTP/1.1' ],
	[ 3, 'alpn', 'HTTP/1.1 by its "tls_alpn", the location HTTP/2' ])
{
	my ($n, $name, $text) = @$what;

	like(get("/wrong$n/?s=$name"), qr/ 503 .*x-egress-reason: service_broken/s,
		"$name, $text");
	like($t->read_file('error.log'),
		qr/service "$name" is refused: it speaks $text/, "$name, log");
}

like(get('/wrong4/?s=either'), qr/ 200 /, 'https location, https service');
like(get('/wrong3/?s=alpn2'), qr/ 200 .*HTTP\/2.0/s, 'tls_alpn that fits');
is(scalar(() = lines('far.log', $far + 2)), $far + 2, 'not dialled');

# and what nginx -t can know

refused('grpc', 'proxy_pass http://egress;',
	qr/service "grpc" has protocol "grpc", and location "\/" under "egress on" in \S+:\d+ speaks HTTP\/1.1: say "grpc_pass", or from nginx 1.29.4 on "proxy_http_version 2"/);
refused('h2c', 'proxy_pass http://egress;', qr/has protocol "http2"/);
refused('grpc:443', 'proxy_http_version 1.1; proxy_pass http://egress;',
	qr/service "grpc:443" has protocol "grpc"/);
refused('web', 'grpc_pass grpc://egress;',
	qr/service "web" has protocol "http", and location "\/" .* speaks HTTP\/2/);

my $version2 = $t->write_file_expand('two.conf', two('grpc',
	'proxy_http_version 2; proxy_pass https://egress;'));
my ($status, $out) = $t->test_config('two.conf');

$v2 ? is($status, 0, 'proxy_http_version 2')
	: like($out, qr/invalid value "2"/, 'proxy_http_version 2');

###############################################################################

sub get {
	my ($uri) = @_;

	return http("GET $uri HTTP/1.1\r\nHost: s.test\r\nConnection: close\r\n"
		. "\r\n", port => 8087) || '';
}

sub curl {
	my ($args, $uri) = @_;

	my $port = $args =~ /http2/ ? port(8080) : port(8087);

	return `curl -s --max-time 8 $args -H 'Host: s.test' http://127.0.0.1:$port$uri`;
}

sub lines {
	my ($name, $n) = @_;

	my @lines;

	for (1 .. 50) {
		@lines = split /\n/, $t->read_file($name);
		last if @lines >= $n;
		select undef, undef, undef, 0.02;
	}

	select undef, undef, undef, 0.1;

	return split /\n/, $t->read_file($name);
}

sub read_until {
	my ($s, $pattern) = @_;

	my $got = '';
	my $select = IO::Select->new($s);

	while ($got !~ $pattern && $select->can_read(5)) {
		sysread($s, $got, 4096, length $got) or last;
	}

	return $got;
}

sub two {
	my ($service, $pass) = @_;

	return <<"EOF";

%%TEST_GLOBALS%%

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    server {
        listen  127.0.0.1:8080;
        egress  on;

        location / {
            egress_service  $service;
            $pass
        }
    }
}

egress {
    zone  1m;
    service web { host s.test; port 80 http; endpoint 127.0.0.1; }
    service grpc { lookup off; host s.test; port 443 grpc; endpoint 127.0.0.1;
        tls simple; }
    service h2c { lookup off; host s.test; port 80 http2; endpoint 127.0.0.1; }
}

EOF
}

sub refused {
	my ($service, $pass, $pattern) = @_;

	$t->write_file_expand('two.conf', two($service, $pass));

	my ($status, $out) = $t->test_config('two.conf');

	is($status, 1, "nginx -t, $service, $pass");
	like($out, $pattern, "nginx -t, $service, message");
}

# answers with the number of the connection, of the request, and its bytes

sub far_side {
	my $l = IO::Socket::INET->new(
		Listen => 5,
		LocalAddr => '127.0.0.1',
		LocalPort => port(8084),
		ReuseAddr => 1
	) or die "can't listen: $!\n";

	$SIG{CHLD} = 'IGNORE';
	my $connection = 0;

	accept_one($l->accept(), 0);

	while (my $s = $l->accept()) {
		$connection++;
		next if fork();
		accept_one($s, $connection);
		POSIX::_exit(0);
	}
}

sub accept_one {
	my ($s, $connection) = @_;

	my $n = 0;

	while ((my $request = read_until($s, qr/\r\n\r\n/)) ne '') {
		$n++;

		my ($uri) = $request =~ /^GET (\S+)/ or return;
		my ($upgrade) = $request =~ /^Upgrade: (\S+)\r$/m;
		my ($c) = $request =~ /^Connection: (\S+)\r$/m;

		if ($uri =~ /^\/redirect\?(.*)/) {
			print $s "HTTP/1.1 302 Found\r\nLocation: $1\r\n"
				. "Content-Length: 0\r\n\r\n";

		} elsif ($uri eq '/close') {
			close $s;
			return;

		} elsif ($upgrade) {
			print $s "HTTP/1.1 101 Switching Protocols\r\n"
				. "Upgrade: websocket\r\nConnection: upgrade\r\n"
				. "X-Got: $upgrade/$c\r\n\r\n";
			print $s 'pong:' . read_until($s, qr/ping/);
			return;

		} else {
			my $body = "$connection $n\n$request";
			print $s "HTTP/1.1 200 OK\r\nContent-Length: "
				. length($body) . "\r\n\r\n$body";
		}
	}
}

###############################################################################
