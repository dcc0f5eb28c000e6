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

# keys: one for the bucket without keys, four for each of the others

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  64k  keys=13;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    bucket plain   { tokens 3; interval 1000s; }
    bucket closed  { tokens 2; interval 1000s; }
    bucket opened  { tokens 2; interval 1000s; on_full allow; }
    bucket brief   { tokens 2; interval 600ms; }
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
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }
    }
}

EOF

$t->run()->plan(12);

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

$t->stop();

my $n = () = $t->read_file('error.log') =~ /has no room for another key/g;

# three buckets, at most one line a second of each

ok($n >= 2 && $n <= 12, "logged $n times");

###############################################################################

sub flood {
	my ($uri, $n, $first) = @_;

	$first ||= 1;

	return join ' ', map { get("$uri?k=$_") } $first .. $first + $n - 1;
}

sub get {
	my ($uri) = @_;

	http_get($uri, host => 'api.example.com') =~ / (\d\d\d)/;

	return $1;
}

###############################################################################
