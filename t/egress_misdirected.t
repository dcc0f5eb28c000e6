#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for clients whose certificate another server's CA verified than that of
# the server that the Host header asks for.

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

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl');

my $d = $t->testdir();

# the default server, one with another CA, and one with the same

my $servers = join '', map { my ($name, $ca) = @$_; <<"EOF" }
    server {
        listen       127.0.0.1:8080 ssl;
        server_name  $name;
        egress       on;
        egress_port  80;

        ssl_client_certificate  $ca.crt;
        ssl_verify_client       on;

        location / {
            proxy_pass  http://egress;
        }
    }
EOF
	[ 'default.test', 'one' ], [ 'other.test', 'two' ],
	[ 'same.test', 'one' ];

$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m;

    service all {
        host *.test;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }
}

http {
    @{[ $t->globals_http() =~ s!access_log off;!!r ]}

    upstream egress {
        egress_balance;
    }

    ssl_certificate      server.crt;
    ssl_certificate_key  server.key;

    egress_reason_header  on;
    log_format  said  '\$host \$status \$egress_verdict \$egress_reason';
    access_log  %%TESTDIR%%/said.log  said;

    $servers

    server {
        listen  127.0.0.1:8081;
        return  200 far;
    }
}

EOF

$t->ca('one')->ca('two')->cert('one', 'server', 'DNS:default.test');
$t->spiffe('one', 'a', 'cluster.local/ns/a/sa/x');
$t->spiffe('two', 'b', 'cluster.local/ns/a/sa/x');

$t->run()->plan(10);

###############################################################################

is(code('a', 'default.test', 'default.test'), 200, 'the default server');
is(code('b', 'other.test', 'other.test'), 200, 'another one');
is(code('b', 'default.test', 'default.test'), 400, 'of another CA');
is(code('a', 'other.test', 'other.test'), 400, 'of another CA, by SNI');

# what was verified by the default server's CA

is(code('a', 'default.test', 'other.test'), 421, 'for another server');
is(code('a', 'unknown.test', 'other.test'), '421 no_identity',
	'with an unknown SNI');
is(code('a', '127.0.0.1', 'other.test'), '421 no_identity', 'without SNI');
is(code('a', 'unknown.test', 'same.test'), 200, 'for one of the same CA');
is(code('a', '127.0.0.1', 'same.test'), 200, 'without SNI, same CA');

$t->stop();

like($t->read_file('said.log'), qr/^other\.test 421 denied no_identity$/m,
	'reason in the log');

###############################################################################

sub code {
	my ($cert, $sni, $host) = @_;

	my $port = port(8080);
	my $out = `curl -sk -m 10 --http1.1 -o /dev/null -w '%{http_code} %header{x-egress-reason}' \\
		--cert $d/$cert.crt --key $d/$cert.key -H 'Host: $host' \\
		--resolve $sni:$port:127.0.0.1 https://$sni:$port/`;

	return $out =~ s/ \z//r;
}

###############################################################################
