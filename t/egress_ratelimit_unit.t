#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit: tokens for connections and for bytes.

###############################################################################

use warnings;
use strict;

use JSON::PP;
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
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8090%%;
    }

    bucket conns  { unit connections; tokens 2; interval 1000s; }
    bucket h2     { unit connections; tokens 2; interval 1000s; }
    bucket bytes  { unit bytes; tokens 15000; interval 1000s; }
    bucket brief  { unit bytes; tokens 1000; fill 20000; interval 1s; }
    bucket quota  { unit bytes; tokens 15000000000; period month; }
    bucket tcp    { unit bytes; tokens 15000; interval 1000s; }
    bucket none   { tokens 1; interval 1000s; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8083 http2;

        egress       on;
        egress_port  80;

        location /conns {
            egress_ratelimit  bucket=conns;
            proxy_pass        http://egress/;
        }

        location /h2 {
            egress_ratelimit  bucket=h2;
            proxy_pass        http://egress/;
        }

        location /bytes {
            egress_ratelimit  bucket=bytes;
            proxy_pass        http://egress;
        }

        location /brief {
            egress_ratelimit  bucket=brief;
            proxy_pass        http://egress/bytes;
        }

        location /quota {
            egress_ratelimit  bucket=quota;
            proxy_pass        http://egress/bytes;
        }

        location /both {
            egress_ratelimit  bucket=bytes;
            egress_ratelimit  bucket=none;
            proxy_pass        http://egress/;
        }

        location /status {
            egress  off;
            egress_status;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }

        location /bytes {
            alias  %%TESTDIR%%/bytes;
        }
    }
}

stream {
    upstream egress {
        egress_balance;
    }

    server {
        listen            127.0.0.1:8082;
        egress            on;
        egress_port       5432;
        egress_preread    off;
        egress_service    db;
        egress_ratelimit  bucket=tcp;
        proxy_pass        egress;
    }
}

EOF

$t->write_file('bytes', 'x' x 10000);
$t->run_daemon(\&db_daemon);
$t->wait_for_port(port(8090));
$t->run()->plan(19);

###############################################################################

# one token for all requests of a connection

is(codes_in('/conns', 5), '200 200 200 200 200', 'connection');
is(codes_in('/conns', 3), '200 200 200', 'another');
is(codes_in('/conns', 3), '429 429 429', 'a third');
is(status('conns')->{allowed}, 8, 'allowed');
is(status('conns')->{remaining}, 0, 'tokens');

is(h2('/h2') . h2('/h2') . h2('/h2'), '330', 'connections of HTTP/2');
is(status('h2')->{allowed}, 6, 'allowed, HTTP/2');

# what is used beyond is owed

is(get('/bytes'), '200', 'bytes');

my $left = status('bytes')->{remaining};

cmp_ok($left, '<', 5000, 'bytes taken');
cmp_ok($left, '>', 4000, 'no more than that');
is(get('/bytes') . ' ' . get('/bytes'), '200 429', 'bytes, owed');
is(status('bytes')->{remaining}, 0, 'nothing remains');
cmp_ok(status('bytes')->{bytes}, '>', 20000, 'counted');

is(get('/brief'), '200', 'brief');
is(get('/brief'), '429', 'brief, owed');
select undef, undef, undef, 0.8;
is(get('/brief'), '200', 'brief, paid');

get('/quota');
my $used = 15000000000 - status('quota')->{remaining};
ok($used > 10000 && $used < 11000, 'quota of more than 32 bits');

# stream, both ways

my $s = IO::Socket::INET->new('127.0.0.1:' . port(8082)) or die;
$s->syswrite('y' x 3000);
{ local $/; my $answer = <$s>; }
close $s;

select undef, undef, undef, 0.2;
is(status('tcp')->{bytes}, 13000, 'stream, both ways');
cmp_ok(abs(status('tcp')->{remaining} - 2010), '<=', 10, 'stream, remaining');

###############################################################################

sub get {
	my ($uri) = @_;

	my $r = http_get($uri, host => 'api.example.com');

	# the client has all of it before nginx ends the request

	select undef, undef, undef, 0.05;

	return $r =~ / (\d\d\d)/ ? $1 : 'none';
}

sub codes_in {
	my ($uri, $n) = @_;

	my $r = http(join('', map {
		"GET $uri HTTP/1.1\r\nHost: api.example.com\r\n"
			. ($_ == $n ? "Connection: close\r\n" : '') . "\r\n"
	} 1 .. $n));

	return join ' ', $r =~ m!HTTP/1.1 (\d+)!g;
}

# three requests on a connection: how many got 200, which HPACK has an index for

sub h2 {
	my ($uri) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8083)) or die;
	my ($n, $buf) = (0, '');

	$s->syswrite("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" . frame(4, 0, 0, ''));

	foreach my $id (1, 3, 5) {
		$s->syswrite(frame(1, 5, $id, "\x82\x86"
			. "\x04" . chr(length $uri) . $uri
			. "\x01" . chr(15) . 'api.example.com'));

		while (1) {
			my ($len, $type, $flags, $stream) = length $buf < 9 ? (0)
				: unpack 'x1nCCN', $buf;

			if (length $buf < 9 || length $buf < 9 + $len) {
				$s->sysread($buf, 65536, length $buf) or return $n;
				next;
			}

			my $payload = substr($buf, 9, $len);
			substr($buf, 0, 9 + $len) = '';

			next unless $stream == $id;
			$n++ if $type == 1 && $payload =~ /^\x88/;
			last if $flags & 1;
		}
	}

	return $n;
}

sub frame {
	my ($type, $flags, $id, $payload) = @_;

	return pack('CnCCN', 0, length $payload, $type, $flags, $id) . $payload;
}

sub status {
	my ($bucket) = @_;

	my ($json) = http_get('/status?what=buckets') =~ /\x0d\x0a\x0d\x0a(.*)$/s;

	return (grep { $_->{name} eq $bucket }
		@{decode_json($json)->{buckets}})[0];
}

# reads 3000 bytes, sends 10000

sub db_daemon {
	my $server = IO::Socket::INET->new(
		Proto => 'tcp',
		LocalAddr => '127.0.0.1:' . port(8090),
		Listen => 5,
		Reuse => 1
	) or die "can't create listening socket: $!\n";

	while (my $c = $server->accept()) {
		my $n = 0;
		while ($n < 3000 && (my $m = $c->sysread(my $buf, 4096))) {
			$n += $m;
		}
		$c->syswrite('z' x 10000);
		close $c;
	}
}

###############################################################################
