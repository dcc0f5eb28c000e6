#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit_descriptor: buckets of descriptors, as those of
# Envoy's local rate limit, matched by what a route makes of a request.

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

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

worker_processes 2;

events {
}

egress {
    zone  4m;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    service db {
        host db.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8090%%;
    }

    bucket main {
        tokens    100;
        interval  1000s;
        status    503;
        header    x-limited  main;
        x_ratelimit_headers  draft_version_03;

        descriptor client=gold         { tokens 4; interval 1000s; }
        descriptor client              { tokens 2; interval 1000s; }
        descriptor client=gold path=/a { tokens 1; interval 1000s; }
        descriptor path=/a client=gold { tokens 3; interval 1000s; }
        descriptor client path         { tokens 1; interval 1000s; }
        descriptor "client=a b"        { tokens 1; interval 1000s; }
    }

    bucket only {
        tokens          1;
        interval        1000s;
        always_consume  off;

        descriptor generic_key=slow    { tokens 2; interval 1000s; }
    }

    bucket actions {
        tokens    100;
        interval  1000s;

        descriptor remote_address                { tokens 1; interval 1000s; }
        descriptor destination_cluster=api       { tokens 2; interval 1000s; }
        descriptor header_match=beta             { tokens 3; interval 1000s; }
        descriptor generic_key=foo user          { tokens 1; interval 1000s; }
        descriptor generic_key=foo               { tokens 4; interval 1000s; }
    }

    bucket order {
        tokens  50;  interval  1000s;

        descriptor a=1  { tokens 3; fill 1; interval 1000s; }
        descriptor b=1  { tokens 1; fill 9; interval 1000s; }
    }

    bucket pairs {
        tokens  50;  interval  1000s;

        descriptor a=1:x b=2  { tokens 1; interval 1000s; }
        descriptor c d        { tokens 1; interval 1000s; }
    }

    bucket tcp {
        tokens  50;  interval  1000s;

        descriptor destination_cluster=db port  { tokens 1; interval 1000s; }
    }

    bucket per {
        tokens  2;  interval  1000s;

        descriptor client=gold  { tokens 1; interval 1000s; }
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  limit  "$uri:$egress_bucket";

    map $http_x_env $beta {
        default  "";
        ~^beta   beta;
    }

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;

        access_log   %%TESTDIR%%/limit.log  limit;

        egress       on;
        egress_port  80;

        egress_ratelimit             bucket=main;
        egress_ratelimit_descriptor  client=$http_x_client;

        location / {
            proxy_pass  http://egress;
        }

        location /own {
            egress_ratelimit_descriptor  client=$http_x_client  path=/a;
            proxy_pass                   http://egress;
        }

        location /reverse {
            egress_ratelimit_descriptor  path=/a  client=$http_x_client;
            proxy_pass                   http://egress;
        }

        location /none {
            egress_ratelimit_descriptor  off;
            proxy_pass                   http://egress;
        }

        location /unknown {
            egress_ratelimit_descriptor  client=$http_x_client  more=1;
            proxy_pass                   http://egress;
        }

        location /only {
            egress_ratelimit             bucket=only;
            egress_ratelimit_descriptor  generic_key=$arg_k;
            proxy_pass                   http://egress;
        }

        location /remote {
            egress_ratelimit             bucket=actions;
            egress_ratelimit_descriptor  remote_address=$remote_addr;
            proxy_pass                   http://egress;
        }

        location /cluster {
            egress_ratelimit             bucket=actions;
            egress_ratelimit_descriptor  destination_cluster=$egress_service;
            proxy_pass                   http://egress;
        }

        location /match {
            egress_ratelimit             bucket=actions;
            egress_ratelimit_descriptor  header_match=$beta;
            proxy_pass                   http://egress;
        }

        location /optional {
            egress_ratelimit             bucket=actions;
            egress_ratelimit_descriptor  generic_key=foo  user?=$http_x_user;
            proxy_pass                   http://egress;
        }

        location /order {
            egress_ratelimit             bucket=order;
            egress_ratelimit_descriptor  b=$arg_b;
            egress_ratelimit_descriptor  a=$arg_a;
            proxy_pass                   http://egress;
        }

        location /pairs {
            egress_ratelimit             bucket=pairs;
            egress_ratelimit_descriptor  a=$http_x_a  b=$http_x_b;
            proxy_pass                   http://egress;
        }

        location /any {
            egress_ratelimit             bucket=pairs;
            egress_ratelimit_descriptor  c=$http_x_c  d=$http_x_d;
            proxy_pass                   http://egress;
        }

        location /per {
            egress_ratelimit             bucket=per  key=$arg_k;
            egress_ratelimit_descriptor  client=gold;
            proxy_pass                   http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }
    }

    server {
        listen  127.0.0.1:8082;

        location / {
            egress_status;
        }
    }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    upstream egress {
        egress_balance;
    }

    egress          on;
    egress_port     5432;
    egress_preread  off;

    egress_ratelimit_descriptor  destination_cluster=db  port=$server_port;

    server {
        listen            127.0.0.1:8083;
        listen            127.0.0.1:8084;
        egress_service    db;
        egress_ratelimit  bucket=tcp;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8085;
        egress_service    db;
        egress_ratelimit  bucket=tcp;
        egress_ratelimit_descriptor  off;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8090;
        egress            off;
        return            "db";
    }
}

EOF

$t->run()->plan(35);

###############################################################################

# a value before any, each value of any has its own

is(codes('/', 5, 'X-Client: gold'), '200 200 200 200 503', 'value');
is(codes('/', 3, 'X-Client: tin'), '200 200 503', 'any');
is(codes('/', 3, 'X-Client: lead'), '200 200 503', 'any, another');
is(codes('/', 2, 'X-Client: a b'), '200 503', 'value with a space');
is(codes('/', 3), '200 200 200', 'no header, no descriptor');

# entries have to be the same in order and number

is(codes('/own', 2, 'X-Client: gold'), '200 503', 'two entries');
is(codes('/own', 2, 'X-Client: tin'), '200 503', 'two of any');
is(codes('/reverse', 4, 'X-Client: gold'), '200 200 200 503', 'other order');
is(codes('/reverse', 3, 'X-Client: tin'), '200 200 200', 'order of none');
is(codes('/none', 3, 'X-Client: gold'), '200 200 200', 'off');
is(codes('/unknown', 3, 'X-Client: gold'), '200 200 200', 'more entries');

# what a client sees is the bucket's, of the descriptor that refuses

my $r = answer('/', 'X-Client: gold');

like($r, qr/^x-limited: main\x0d$/m, 'header');
like($r, qr/^x-ratelimit-limit: 4\x0d$/m, 'limit of the descriptor');
like($r, qr/^x-ratelimit-remaining: 0\x0d$/m, 'remaining');

# 25 have passed so far: what a descriptor refused cost the bucket nothing

is(status('main')->{remaining}, 100 - 4 - 2 - 2 - 1 - 3 - 1 - 1 - 3 - 3 - 3 - 3,
	'bucket itself');
is(status('main/client=gold')->{limited}, 2, 'status of a descriptor');
is(status('main/client')->{keys}, 2, 'keys of a descriptor');
is(status('main/client=a%20b')->{allowed}, 1, 'name with a space');

# always_consume

is(codes('/only?k=slow', 3), '200 200 429', 'descriptor only');
is(codes('/only?k=other', 2), '200 429', 'bucket where none matches');

# actions

is(codes('/remote', 2), '200 429', 'remote_address');
is(codes('/cluster', 3), '200 200 429', 'destination_cluster');
is(codes('/match', 4, 'X-Env: beta2'), '200 200 200 429',
	'header_value_match');
is(codes('/match', 4, 'X-Env: prod'), '200 200 200 200', 'no match');
is(codes('/optional', 5), '200 200 200 200 429', 'skipped if absent');
is(codes('/optional', 2, 'X-User: me'), '200 429', 'present');

# the slower one is asked first, and gives back

is(codes('/order?a=1&b=1', 4), '200 429 429 429', 'several descriptors');
is(codes('/order?a=1', 3), '200 200 429', 'given back');

# no choice of values looks like others

is(codes('/pairs', 2, "X-A: 1:x\r\nX-B: 2") . ' ' . codes('/pairs', 1,
	"X-A: 1\r\nX-B: x3:2"), '200 429 200', 'pairs');
is(codes('/any', 1, "X-C: a1:b\r\nX-D: c") . ' ' . codes('/any', 1,
	"X-C: a\r\nX-D: b1:c"), '200 200', 'pairs of any');

# key= holds for descriptors as well

is(codes('/per?k=1', 2) . ' ' . codes('/per?k=2', 2), '200 429 200 429',
	'key');

# stream, the same

is(sessions(8083, 2), 'db -', 'stream');
is(sessions(8084, 2), 'db -', 'stream, another value');
is(sessions(8085, 3), 'db db db', 'stream, off');

$t->stop();

like($t->read_file('limit.log'), qr!^/own:main/client=gold,path=/a$!m,
	'$egress_bucket') or diag($t->read_file('limit.log'));

###############################################################################

sub answer {
	my ($uri, $headers) = @_;

	return http("GET $uri HTTP/1.0\r\nHost: api.example.com\r\n"
		. ($headers ? "$headers\r\n" : '') . "\r\n") || '';
}

sub codes {
	my ($uri, $n, $headers) = @_;

	return join ' ', map { answer($uri, $headers) =~ / (\d\d\d)/ } 1 .. $n;
}

sub status {
	my ($bucket) = @_;

	my ($json) = http_get('/?what=buckets', port => 8082)
		=~ /\x0d\x0a\x0d\x0a(.*)$/s;

	return (grep { $_->{name} eq $bucket }
		@{decode_json($json)->{buckets}})[0];
}

sub sessions {
	my ($port, $n) = @_;

	return join ' ', map {
		my $s = IO::Socket::INET->new('127.0.0.1:' . port($port))
			or die "can't connect: $!\n";
		local $/;
		<$s> || '-';
	} 1 .. $n;
}

###############################################################################
