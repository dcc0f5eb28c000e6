#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for proxy_cache under "egress on": what one principal was answered by
# one service is nobody else's.

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

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    proxy_cache_path  %%TESTDIR%%/cache keys_zone=c:1m;
    proxy_cache_key   "$egress_service $egress_host $egress_port $egress_principal $request_uri";

    server {
        listen  127.0.0.1:8080 ssl;

        ssl_certificate         gateway.crt;
        ssl_certificate_key     gateway.key;
        ssl_client_certificate  ca.crt;
        ssl_verify_client       optional;

        egress       on;
        egress_port  80;

        proxy_cache        c;
        proxy_cache_valid  1h;
        proxy_set_header   Host $host;

        add_header  X-Cache $upstream_cache_status always;

        location / {
            proxy_set_header  Host  $host;
            proxy_set_header  X-Who $egress_principal;
            proxy_pass        http://egress;
        }

        # another service for the same host and path

        location /other/ {
            egress_service  other;
            proxy_pass      http://egress;
        }

        location /same/ {
            egress_service  same;
            proxy_pass      http://egress;
        }
    }

%%FAR%%
    server {
        listen  127.0.0.1:8081;
        return  200 "$http_host $http_x_who $request_id";
    }
%%NEAR%%
}

egress {
    zone  1m;

    service a { host a.test; port 80 http;
        endpoint 127.0.0.1 port=%%PORT_8081%%; }
    service b { host b.test; port 80 http;
        endpoint 127.0.0.1 port=%%PORT_8081%%; }
    service open { host open.test; port 80 http;
        endpoint 127.0.0.1 port=%%PORT_8081%%; }
    service other { lookup off; host a.test; port 80 http;
        endpoint 127.0.0.1 port=%%PORT_8081%%; }
    service same { lookup off; host a.test; port 80 http;
        endpoint 127.0.0.1 port=%%PORT_8081%%; }

    policy p {
        action  allow;
        rule { from { principals cluster.local/ns/n/sa/one
                                 cluster.local/ns/n/sa/two; } }
        rule { to { hosts open.test; } }
    }
}

EOF

my $d = $t->testdir();

$t->ca('ca')->cert('ca', 'gateway', 'DNS:a.test');
$t->spiffe('ca', $_, "cluster.local/ns/n/sa/$_") foreach qw/ one two three /;

$t->run()->plan(14);

###############################################################################

my $first = get('one', 'a.test', '/x');
like($first, qr/^200 MISS a.test cluster.local\/ns\/n\/sa\/one \w+$/, 'first');

is(get('one', 'a.test', '/x'), $first =~ s/MISS/HIT/r, 'again');

like(get('two', 'a.test', '/x'), qr/^200 MISS .*two /, 'another principal');
like(get('one', 'b.test', '/x'), qr/^200 MISS b.test .*one /,
	'another service');
like(get('one', 'a.test', '/y'), qr/^200 MISS /, 'another path');

# refused before the cache is looked at

like(get('three', 'a.test', '/x'), qr/^403 /, 'not allowed');
like(get('', 'a.test', '/x'), qr/^403 /, 'no identity');

# no identity is none of the identities

like(get('one', 'open.test', '/'), qr/^200 MISS .*one /, 'open');
like(get('', 'open.test', '/'), qr/^200 MISS open.test  \w+$/,
	'open, no identity');
like(get('', 'open.test', '/'), qr/^200 HIT open.test  \w+$/,
	'open, no identity, again');

# the same host, port and path

my $other = get('one', 'a.test', '/other/');
like($other, qr/^200 MISS /, 'chosen service');
like(get('one', 'a.test', '/same/'), qr/^200 MISS /, 'another path and service');

# still there, each its own

is(get('one', 'a.test', '/x'), $first =~ s/MISS/HIT/r, 'at last');
is(get('one', 'a.test', '/other/'), $other =~ s/MISS/HIT/r,
	'at last, chosen service');

###############################################################################

sub get {
	my ($name, $host, $uri) = @_;

	my $cert = $name ? "--cert $d/$name.crt --key $d/$name.key" : '';
	my $r = `curl -ski --max-time 8 $cert --connect-to $host\::127.0.0.1:@{[ port(8080) ]} https://$host$uri`;

	my ($status) = $r =~ /^HTTP\S+ (\d+)/;
	my ($cache) = $r =~ /^X-Cache: (\S+)/mi;
	my ($body) = $r =~ /\r\n\r\n(.*)/s;

	return join ' ', map { $_ // '-' } $status, $cache, $body;
}

###############################################################################
