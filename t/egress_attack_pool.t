#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for attacks on connections that are kept between requests: one that
# was opened to a port is not for a request to another port.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;
use Test::Nginx::Far;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone           1m;
    resolver       127.0.0.1:8053 ipv6=off;
    allow_address  127.0.1.0/24;

    service dns {
        host      dns.example.com;
        port      80 http target=%%PORT_8081%%;
        port      8080 http target=%%PORT_8082%%;
    }

    service static {
        host      static.example.com;
        port      80 http target=%%PORT_8081%%;
        port      8080 http target=%%PORT_8082%%;
        endpoint  127.0.0.1;
    }

    service tight {
        host      tight.example.com;
        port      80 http target=%%PORT_8081%%;
        port      8080 http target=%%PORT_8082%%;
        endpoint  127.0.0.1;
        max_connections  1;
    }
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
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_pass          http://egress;
        }
    }

    server {
        listen       127.0.0.1:8085;
        egress       on;
        egress_port  8080;

        location / {
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_pass          http://egress;
        }
    }
}

EOF

Test::Nginx::DNS::set($t, 'dns.example.com', 'A 127.0.1.1');
Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Far::start($t, 8081, 8082, '127.0.1.1:8081', '127.0.1.1:8082');

$t->run()->plan(9);

###############################################################################

foreach my $name (qw/ dns static tight /) {
	is(where($name, 8080), 8081, "$name, first port");
	is(where($name, 8085), 8082, "$name, another port");
	is(where($name, 8080), 8081, "$name, first port again");
}

###############################################################################

# the port of the server that answered

sub where {
	my ($name, $port) = @_;

	my $r = Test::Nginx::http("GET / HTTP/1.0\r\n"
		. "Host: $name.example.com\r\n\r\n", port => $port) // '';

	return $r =~ /(\d+) GET/ ? $1 : $r;
}

###############################################################################
