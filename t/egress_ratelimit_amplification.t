#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit: what a client that is limited makes the gateway
# write, and clients that are gone when they are limited.

###############################################################################

use warnings;
use strict;

use Socket qw/ SOL_SOCKET SO_LINGER /;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/ http_v2 /)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

worker_processes 2;

events {
}

egress {
    zone  2m;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    service db {
        host db.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    bucket one {
        tokens               1;
        fill                 1;
        interval             1000s;
        max_connections      100;
        header               x-limited  yes;
        header_always        x-seen     yes;
        retry_after          on;
        x_ratelimit_headers  draft_version_03;
    }

    bucket keyed  { tokens 1; fill 1; interval 1000s; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    large_client_header_buffers  4 32k;

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8082 http2;

        error_log    %%TESTDIR%%/limited.log;

        egress       on;
        egress_port  80;

        location / {
            egress_ratelimit  bucket=one;
            egress_ratelimit  bucket=keyed  key=$http_cookie;
            proxy_pass        http://egress;
        }

        location /page {
            egress_ratelimit  bucket=one;
            egress_ratelimit  bucket=keyed  key=$http_cookie;
            error_page        429  /again;
            proxy_pass        http://egress;
        }

        location /again {
            egress_ratelimit  bucket=keyed  key=page;
            egress_ratelimit  bucket=one    key=page;
            proxy_pass        http://egress/;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }
    }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    upstream egress {
        egress_balance;
    }

    server {
        listen            127.0.0.1:8083;
        egress            on;
        egress_port       5432;
        egress_preread    off;
        egress_service    db;
        egress_ratelimit  bucket=keyed  key=stream;
        egress_ratelimit  bucket=one;
        proxy_pass        egress;
    }
}

EOF

$t->run()->plan(9);

###############################################################################

my $d = $t->testdir();

# T-RTL-05: answers and log of limited requests, by the bytes that were sent

http_get('/', host => 'api.example.com');

my $request = "GET / HTTP/1.1\r\nHost: api.example.com\r\n\r\n";

my ($sent, $got) = (0, 0);
my $log = logged();

foreach (1 .. 10) {
	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8080)) or die;

	foreach (1 .. 20) {
		$s->syswrite($request);
		$sent += length $request;
		my $n = $s->sysread(my $answer, 65536);
		$got += $n;
	}
}

cmp_ok($got / $sent, '<', 20, 'answers');
cmp_ok((logged() - $log) / $sent, '<', 20, 'log');

# a header of 3 KB, once in the table of HTTP/2, costs a byte each time

$log = logged();

($sent, $got, my $n) = h2('k' x 3000, 200);

is($n, 200, 'h2 answers');
cmp_ok($got / $sent, '<', 20, 'h2 bytes answered');
cmp_ok((logged() - $log) / $sent, '<', 80, 'h2 log');

# keys of any length take the same room, and are not written anywhere

unlike($t->read_file('limited.log'), qr/kkkk/, 'no key in the log');

# T-RTL-03: clients that are gone, in any phase; see also make asan

foreach (1 .. 400) {
	foreach my $port (8080, 8083) {
		my $s = IO::Socket::INET->new('127.0.0.1:' . port($port)) or next;
		my $uri = $_ % 2 ? '/page' : '/';
		$s->syswrite("GET $uri HTTP/1.1\r\nHost: api.example.com\r\n"
			. "Cookie: $_\r\n\r\n");
		select undef, undef, undef, 0.001 if $_ % 3 == 0;
		setsockopt($s, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
		close $s;
	}
}

like(http_get('/', host => 'api.example.com'), qr/ 429 /, 'alive, http');
is(tcp(), '', 'alive, stream');

$t->stop();

unlike($t->read_file('error.log'), qr/exited on signal/, 'no worker died');

###############################################################################

sub logged {
	return -s "$d/limited.log" || 0;
}

sub tcp {
	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8083)) or die;
	local $/;

	return <$s> // '';
}

# n requests on a connection, the cookie in the first of them only

sub h2 {
	my ($cookie, $n) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8082)) or die;
	my ($sent, $got, $answers, $buf) = (0, 0, 0, '');

	$s->syswrite("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, ''));

	foreach my $i (0 .. $n - 1) {
		my $block = "\x82\x86\x84" . ($i ? "\xbf\xbe"
			: "\x41" . chr(15) . "api.example.com"
			. "\x60" . integer(length $cookie) . $cookie);

		my $frame = frame(1, 5, 2 * $i + 1, $block);

		$s->syswrite($frame);
		$sent += length $frame if $i;

		# an answer ends with a frame that ends its stream

		while (1) {
			my ($len, $type, $flags, $id);

			if (length $buf >= 9) {
				($len, $type, $flags, $id) = unpack 'x1nCCN', $buf;

				if (length $buf >= 9 + $len) {
					substr($buf, 0, 9 + $len) = '';
					next unless $id == 2 * $i + 1 && $flags & 1;
					$answers++;
					last;
				}
			}

			my $m = $s->sysread($buf, 65536, length $buf)
				or return ($sent, $got, $answers);
			$got += $m if $i;
		}
	}

	return ($sent, $got, $answers);
}

sub frame {
	my ($type, $flags, $id, $payload) = @_;

	return pack('CnCCN', 0, length $payload, $type, $flags, $id) . $payload;
}

# HPACK, with a prefix of 7 bits

sub integer {
	my ($n) = @_;

	return chr($n) if $n < 127;

	my $text = chr(127);
	$n -= 127;

	while ($n >= 128) {
		$text .= chr($n % 128 + 128);
		$n = int($n / 128);
	}

	return $text . chr($n);
}

###############################################################################
