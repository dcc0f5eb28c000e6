#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit and egress_ratelimit_descriptor: inheritance.

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
        tokens 100; interval 1000s; header x-bucket main;
        descriptor level=main      { tokens 1; interval 1000s; }
        descriptor level=server    { tokens 2; interval 1000s; }
        descriptor level=location  { tokens 3; interval 1000s; }
        descriptor level=nested    { tokens 4; interval 1000s; }
    }

    bucket server   { tokens 1; interval 1000s; header x-bucket server; }
    bucket place    { tokens 1; interval 1000s; header x-bucket place; }
    bucket nested   { tokens 1; interval 1000s; header x-bucket nested; }
    bucket tcp {
        tokens 100; interval 1000s;
        descriptor level=main      { tokens 1; interval 1000s; }
        descriptor level=server    { tokens 2; interval 1000s; }
    }
    bucket tcp2     { tokens 3; interval 1000s; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    egress       on;
    egress_port  80;

    egress_ratelimit             bucket=main  key=$request_uri;
    egress_ratelimit_descriptor  level=main;

    server {
        listen  127.0.0.1:8080;

        location / {
            proxy_pass  http://egress;

            location /nested {
                egress_ratelimit_descriptor  level=nested;
                proxy_pass                   http://egress;
            }

            location /other {
                egress_ratelimit  bucket=nested;
                proxy_pass        http://egress;
            }

            location /off {
                egress_ratelimit  off;
                proxy_pass        http://egress;
            }
        }

        location /place {
            egress_ratelimit_descriptor  level=location;
            proxy_pass                   http://egress;

            location /place/inner {
                proxy_pass  http://egress;
            }
        }
    }

    server {
        listen  127.0.0.1:8082;

        egress_ratelimit_descriptor  level=server;

        location / {
            proxy_pass  http://egress;
        }

        location /none {
            egress_ratelimit_descriptor  off;
            proxy_pass                   http://egress;
        }
    }

    server {
        listen  127.0.0.1:8083;

        egress_ratelimit  bucket=server;

        location / {
            proxy_pass  http://egress;
        }

        location /place {
            egress_ratelimit  bucket=place;
            proxy_pass        http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;
        egress  off;

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

    egress          on;
    egress_port     5432;
    egress_preread  off;

    egress_ratelimit             bucket=tcp;
    egress_ratelimit_descriptor  level=main;

    server {
        listen          127.0.0.1:8084;
        egress_service  db;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8085;
        egress_service  db;
        egress_ratelimit_descriptor  level=server;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8086;
        egress_service  db;
        egress_ratelimit  bucket=tcp2;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8087;
        egress_service  db;
        egress_ratelimit  off;
        proxy_pass      egress;
    }

    server {
        listen  127.0.0.1:8090;
        egress  off;
        return  "db";
    }
}

EOF

$t->run()->plan(14);

###############################################################################

is(limit('/'), '1 main', 'http, main');
is(limit('/nested'), '4 main', 'nested location, own descriptor');
is(limit('/other'), '1 nested', 'nested location, own bucket');
is(limit('/off'), 'none', 'nested location, off');
is(limit('/place'), '3 main', 'location, own descriptor');
is(limit('/place/inner'), '3 main', 'from a location');
is(limit('/', 8082), '2 main', 'server, own descriptor');
is(limit('/none', 8082), 'none', 'location, no descriptor');
is(limit('/', 8083), '1 server', 'server, own bucket');
is(limit('/place', 8083), '1 place', 'location, own bucket');

is(sessions(8084), 1, 'stream, main');
is(sessions(8085), 2, 'stream, own descriptor');
is(sessions(8086), 3, 'stream, own bucket');
is(sessions(8087), 6, 'stream, off');

###############################################################################

# how many of six requests pass, and which bucket refuses the others

sub limit {
	my ($uri, $port) = @_;

	my $n = 0;

	foreach (1 .. 6) {
		my $r = http_get($uri, host => 'api.example.com',
			port => $port || 8080);

		return "$n $1" if $r =~ / 429 .*^x-bucket: (\w+)/ms;
		$n++ if $r =~ / 200 /;
	}

	return 'none';
}

sub sessions {
	my ($port) = @_;

	return scalar grep {
		my $s = IO::Socket::INET->new('127.0.0.1:' . port($port))
			or die "can't connect: $!\n";
		local $/;
		(<$s> || '') eq 'db';
	} 1 .. 6;
}

###############################################################################
