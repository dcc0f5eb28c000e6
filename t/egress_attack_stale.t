#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for answers of DNS that are too old: they are not dialled while they
# are looked up anew, whatever else the service has.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;
use Test::Nginx::Dialled;

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
    dns_ttl        max=1s stale=1s;
    allow_address  127.0.1.0/24;

    service two {
        host        two.example.com;
        port        80 http target=%%PORT_8081%%;
        resolution  dns;
        balance     round_robin;
        endpoint    127.0.1.1;
        endpoint    b.example.com;
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
            proxy_pass  http://egress;
        }
    }
}

EOF

Test::Nginx::DNS::set($t, 'b.example.com', 'A 127.0.1.2');
Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Dialled::start($t, 8081);

$t->run()->plan(2);

###############################################################################

dialled();
select undef, undef, undef, 0.5;

is(dialled(), '127.0.1.1 127.0.1.2', 'both');

Test::Nginx::DNS::set($t, 'b.example.com', 'A 127.0.1.3', 'delay 2000');
select undef, undef, undef, 7;

is(dialled(), '127.0.1.1', 'not what is too old');

###############################################################################

sub dialled {
	my %seen = map {
		Test::Nginx::Dialled::get(8080, 'two.example.com') => 1
	} 1 .. 6;

	return join ' ', sort keys %seen;
}

###############################################################################
