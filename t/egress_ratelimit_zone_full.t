#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit: more keys than there is room for.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# keys: four for each of the buckets that have some

my $t = Test::Nginx->new()->expect(qr/is too small/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  64k  keys=20;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    bucket plain   { tokens 3; interval 1000s; }
    bucket closed  { tokens 2; interval 1000s; share 100%; }
    bucket opened  { tokens 2; interval 1000s; share 100%; on_full allow; }
    bucket brief   { tokens 2; interval 600ms; share 100%; }
    bucket half    { tokens 2; interval 1000s; }
    bucket quarter { tokens 2; interval 1000s; share 25; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  limit  "$egress_verdict:$egress_reason:$egress_bucket";

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;

        egress       on;
        egress_port  80;

        location / {
            egress_ratelimit  bucket=plain;
            proxy_pass        http://egress;
        }

        location /closed {
            egress_ratelimit  bucket=closed  key=$arg_k;
            access_log        %%TESTDIR%%/limit.log  limit;
            proxy_pass        http://egress;
        }

        location /opened {
            egress_ratelimit  bucket=opened  key=$arg_k;
            proxy_pass        http://egress;
        }

        location /watched {
            egress_ratelimit  bucket=closed  key=$arg_k  enforced=0;
            proxy_pass        http://egress;
        }

        location /brief {
            egress_ratelimit  bucket=brief  key=$arg_k;
            proxy_pass        http://egress;
        }

        location /half {
            egress_ratelimit  bucket=half  key=$arg_k;
            proxy_pass        http://egress;
        }

        location /quarter {
            egress_ratelimit  bucket=quarter  key=$arg_k;
            proxy_pass        http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }
    }
}

EOF

$t->run()->plan(19);

###############################################################################

# T-RTL-02: a flood of keys can't evict a key in use, and fails closed

is(flood('/closed', 4), '200 200 200 200', 'room');
is(flood('/closed', 200, 5), join(' ', ('429') x 200), 'flood refused');
is(flood('/closed', 4), '200 200 200 200', 'still there');
is(flood('/closed', 4), '429 429 429 429', 'and limited');
is(flood('/watched', 4, 300), '200 200 200 200', 'not enforced');

# others have their own room

is(flood('/opened', 4), '200 200 200 200', 'another bucket');
is(flood('/opened', 20, 5), join(' ', ('200') x 20), 'flood passed');
is(flood('/opened', 4) . ' ' . flood('/opened', 4),
	'200 200 200 200 429 429 429 429', 'and others limited');
is(get('/') . get('/') . get('/') . get('/'), '200200200429',
	'bucket without keys');

# who is full again makes room

is(flood('/brief', 6), '200 200 200 200 429 429', 'brief');
select undef, undef, undef, 0.7;
is(flood('/brief', 4, 10), '200 200 200 200', 'brief, room again');

# one client can't fill the table for others, which share what they have

is(flood('/half', 4), '200 200 429 429', 'half of the keys');
is(flood('/half', 4, 1, '127.0.0.2'), '200 200 200 200', 'another client');
is(flood('/half', 1, 5, '127.0.0.3'), '429', 'and all are taken');
is(flood('/half', 1, 1, '127.0.0.3'), '429', 'but not a key of others');
is(flood('/quarter', 2), '200 429', 'a quarter');
is(flood('/quarter', 3, 2, '127.0.0.2'), '200 429 429', 'another quarter');

$t->stop();

my $n = () = $t->read_file('error.log') =~ /has no room for another key/g;

# five buckets, at most one line a second of each

ok($n >= 4 && $n <= 20, "logged $n times");

$t->write_file_expand('nginx.conf', $t->read_file('nginx.conf')
	=~ s/keys=20/keys=4/r);

my ($status, $out) = $t->test_config();

like($out, qr/"keys=4" of "zone" is too small for 5 buckets with keys/,
	'too few keys');

###############################################################################

sub flood {
	my ($uri, $n, $first, $from) = @_;

	$first ||= 1;

	return join ' ', map { get("$uri?k=$_", $from) }
		$first .. $first + $n - 1;
}

sub get {
	my ($uri, $from) = @_;

	my $s = IO::Socket::INET->new(
		PeerAddr => '127.0.0.1:' . port(8080),
		LocalAddr => $from || '127.0.0.1'
	) or die "can't connect: $!\n";

	return http_get($uri, host => 'api.example.com', socket => $s)
		=~ / (\d\d\d)/ ? $1 : 'none';
}

###############################################################################
