#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit in stream, and for buckets shared with http.

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

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

worker_processes 2;

events {
}

egress {
    zone  1m;

    service db {
        host db.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8090%%;
    }

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8091%%;
    }

    bucket plain    { tokens 2; interval 1000s; }
    bucket keyed    { tokens 1; interval 1000s; }
    bucket first    { tokens 3; interval 1000s; }
    bucket second   { tokens 1; interval 1000s; }
    bucket inherit  { tokens 1; interval 1000s; }
    bucket watch    { tokens 1; interval 1000s; }
    bucket shared   { tokens 4; interval 1000s; }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    log_format  limit  "$egress_verdict:$egress_reason:$egress_bucket";

    upstream egress {
        egress_balance;
    }

    egress            on;
    egress_port       5432;
    egress_preread    off;

    egress_ratelimit  bucket=inherit;

    server {
        listen            127.0.0.1:8080;
        egress_service    db;
        egress_ratelimit  bucket=plain;
        proxy_pass        egress;
        access_log        %%TESTDIR%%/limit.log  limit;
    }

    server {
        listen            127.0.0.1:8081;
        listen            127.0.0.1:8082;
        egress_service    db;
        egress_ratelimit  bucket=keyed  key=$server_port;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8083;
        egress_service    db;
        egress_ratelimit  bucket=first;
        egress_ratelimit  bucket=second;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8084;
        egress_service    db;
        egress_ratelimit  bucket=first;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8085;
        egress_service    db;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8086;
        egress_service    db;
        egress_ratelimit  off;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8087;
        egress_service    db;
        egress_ratelimit  bucket=watch  enforced=0;
        proxy_pass        egress;
        access_log        %%TESTDIR%%/watch.log  limit;
    }

    server {
        listen            127.0.0.1:8088;
        egress_service    db;
        egress_ratelimit  bucket=shared  key=all;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8090;
        egress            off;
        return            "db";
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen            127.0.0.1:8089;
        egress            on;
        egress_port       80;

        location / {
            egress_ratelimit  bucket=shared  key=all;
            proxy_pass        http://egress;
        }
    }

    server {
        listen  127.0.0.1:8091;

        location / {
            return  200  "api";
        }
    }
}

EOF

$t->run()->plan(11);

###############################################################################

is(sessions(8080, 4), 'db db - -', 'limited');

is(sessions(8081, 2), 'db -', 'key');
is(sessions(8082, 2), 'db -', 'another key');

is(sessions(8083, 3), 'db - -', 'both');
is(sessions(8084, 3), 'db db -', 'given back');

is(sessions(8085, 2), 'db -', 'inherited');
is(sessions(8086, 3), 'db db db', 'off');
is(sessions(8087, 3), 'db db db', 'not enforced');

is(sessions(8088, 2) . ' ' . requests(8089, 3), 'db db 200 200 429',
	'shared with http');

$t->stop();

is($t->read_file('limit.log'), <<'EOF', 'log');
allowed:-:-
allowed:-:-
denied:rate_limited:plain
denied:rate_limited:plain
EOF

is($t->read_file('watch.log'), <<'EOF', 'log, not enforced');
allowed:-:-
reported:rate_limited:watch
reported:rate_limited:watch
EOF

###############################################################################

sub connection {
	my ($port) = @_;

	return IO::Socket::INET->new('127.0.0.1:' . port($port))
		|| die "can't connect: $!";
}

sub sessions {
	my ($port, $n) = @_;

	return join ' ', map {
		my $s = connection($port);
		local $/;
		<$s> || '-';
	} 1 .. $n;
}

sub requests {
	my ($port, $n) = @_;

	return join ' ', map {
		http_get('/', host => 'api.example.com', port => $port)
			=~ / (\d\d\d)/;
	} 1 .. $n;
}

###############################################################################
