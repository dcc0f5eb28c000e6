#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for requests that wait for DNS: with bodies, several at a time, over
# HTTP/2, behind other modules of the same phase, and clients that leave.

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

my $t = Test::Nginx->new()->has('http_v2')->has_daemon('curl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone              1m;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  2s;
    allow_address     127.0.1.0/24;

    service s {
        host  s.example.com t.example.com;
        port  80 http target=%%PORT_8081%%;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    limit_req_zone    $server_port zone=r:1m rate=50r/s;
    proxy_set_header  Host $host;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8082 http2;

        egress       on;
        egress_port  80;

        location / {
            proxy_pass  http://egress;
        }

        location /limit {
            limit_req   zone=r burst=20;
            proxy_pass  http://egress;
        }

        location /unbuffered {
            proxy_request_buffering  off;
            proxy_http_version       1.1;
            proxy_pass               http://egress;
        }
    }

    # the body is read, so that its length is what has arrived

    %%FAR%%

    server {
        listen  127.0.1.1:8081;

        location / {
            proxy_pass  http://127.0.1.1:8083;
        }
    }

    server {
        listen  127.0.1.1:8083;
        return  200  "length $http_content_length;";
    }

    %%NEAR%%
}

EOF

my $d = $t->testdir();

$t->write_file('body', 'x' x 900000);
$t->run_daemon(\&slow_dns)->run()->plan(9);

###############################################################################

# the far side's answer is not kept for longer than a second

is(curl(8080, '', ''), 'length ;', 'no body');
is(curl(8080, "--data-binary \@$d/body", 'new'), 'length 900000;', 'body');
is(curl(8080, "-H 'Expect: 100-continue' --data-binary \@$d/body", 'new'),
	'length 900000;', 'body, expect');
is(curl(8080, "-H 'Transfer-Encoding: chunked' --data-binary \@$d/body",
	'new', 'unbuffered'), 'length 900000;', 'body, chunked, unbuffered');
is(curl(8082, "--http2-prior-knowledge --data-binary \@$d/body", 'new'),
	'length 900000;', 'body, http2');

is(several(8082, '--http2-prior-knowledge', 'n'), 'length ;' x 10,
	'streams of a connection');
is(several(8080, '', 'limit'), 'length ;' x 10, 'delayed by limit_req');

# clients that leave, with a body in half

for (1 .. 4) {
	system("timeout 0.03 curl -s -H 'Host: t.example.com' "
		. "--http2-prior-knowledge --data-binary \@$d/body "
		. 'http://127.0.0.1:' . port(8082) . '/ >/dev/null 2>&1');

	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8080));
	print $s "POST / HTTP/1.1\r\nHost: t.example.com\r\n"
		. "Content-Length: 100000\r\n\r\n" . 'x' x 5000;
	select undef, undef, undef, 0.01;
	close($s);
}

select undef, undef, undef, 0.2;

is(curl(8080, '', ''), 'length ;', 'after clients that left');
unlike($t->read_file('error.log'), qr/exited on signal/, 'no crash');

###############################################################################

sub curl {
	my ($port, $args, $new, $uri) = @_;

	$uri ||= '';

	# an answer of DNS is for a second

	forget() if $new;

	my $url = 'http://127.0.0.1:' . port($port) . "/$uri";

	return scalar `curl -s -m 6 -H 'Host: s.example.com' $args $url 2>&1`;
}

sub several {
	my ($port, $args, $uri) = @_;

	forget();

	my $url = 'http://127.0.0.1:' . port($port) . "/$uri";
	my $files = join ' ', map { "-o $d/$uri$_ $url" } 1 .. 10;

	`curl -s -m 6 --parallel --parallel-immediate -H 'Host: s.example.com' $args $files 2>&1`;

	return join '', map { $t->read_file("$uri$_") } 1 .. 10;
}

# a new worker knows no answers

sub forget {
	$t->reload();
	select undef, undef, undef, 0.12;
}

# answers after a while, each on its own

sub slow_dns {
	my $s = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1',
		LocalPort => port(8053),
		Proto => 'udp'
	) or die "can't bind: $!";

	local $SIG{CHLD} = 'IGNORE';

	while (my $peer = $s->recv(my $query, 512)) {
		next if fork();

		select undef, undef, undef, 0.1;

		my ($name) = substr($query, 12) =~ /^(.*?\0....)/s;

		$s->send(substr($query, 0, 2) . "\x81\x80"
			. pack('n4', 1, 1, 0, 0) . $name . "\xc0\x0c"
			. pack('nnNnC4', 1, 1, 1, 4, 127, 0, 1, 1), 0, $peer);

		POSIX::_exit(0);
	}
}

###############################################################################
