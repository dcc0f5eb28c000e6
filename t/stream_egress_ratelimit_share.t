#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit in stream: keys and shares by principal.

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

my $t = Test::Nginx->new()->has_daemon('openssl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m  keys=12;

    service db {
        host db.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8090%%;
    }

    bucket who    { tokens 2; interval 1000s; share 100%; }
    bucket share  { tokens 5; interval 1000s; share 50%; }
    bucket both   { tokens 1; interval 1000s; share 100%; }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    upstream egress {
        egress_balance;
    }

    ssl_certificate         server.crt;
    ssl_certificate_key     server.key;
    ssl_client_certificate  ca.crt;
    ssl_verify_client       on;

    egress          on;
    egress_port     5432;
    egress_preread  off;

    server {
        listen            127.0.0.1:8080 ssl;
        egress_mesh       off;
        egress_service    db;
        egress_ratelimit  bucket=who  key=$egress_principal;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8081 ssl;
        listen            127.0.0.1:8082 ssl;
        listen            127.0.0.1:8083 ssl;
        listen            127.0.0.1:8084 ssl;
        egress_mesh       off;
        egress_service    db;
        egress_ratelimit  bucket=share  key=$server_port;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8085 ssl;
        listen            127.0.0.1:8086 ssl;
        egress_mesh       off;
        egress_service    db;
        egress_ratelimit  bucket=both  key=$egress_principal:$server_port;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8090;
        egress            off;
        ssl_verify_client off;
        return            "db";
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen  127.0.0.1:8087;

        location / {
            egress_status;
        }
    }
}

EOF

$t->ca('ca')->cert('ca', 'server', 'DNS:localhost');
$t->spiffe('ca', $_, "cluster.local/ns/default/sa/$_") foreach qw/ a b c /;

$t->run()->plan(11);

###############################################################################

is(sessions('a', 8080, 3), 'db db -', 'principal');
is(sessions('b', 8080, 3), 'db db -', 'another principal');

is(sessions('a', 8085, 2), 'db -', 'principal and place');
is(sessions('a', 8086, 2), 'db -', 'another place');
is(sessions('b', 8085, 2), 'db -', 'another principal there');

# T-RTL-02: four keys, of which one principal may make two, all from the same
# address; the keys themselves are for all

is(sessions('a', 8081, 1) . sessions('a', 8082, 1), 'dbdb', 'share');
is(sessions('a', 8083, 2), '- -', 'no more than that');
is(sessions('b', 8083, 1) . sessions('b', 8084, 1), 'dbdb',
	'another principal');
is(sessions('a', 8083, 1), 'db', 'a key of another');
is(sessions('c', 8081, 1), 'db', 'a key of a third');

my ($json) = http_get('/?what=buckets', port => 8087)
	=~ /\x0d\x0a\x0d\x0a(.*)$/s;
my ($share) = grep { $_->{name} eq 'share' } @{decode_json($json)->{buckets}};

is("@{$share}{qw/ keys max_keys full limited allowed /}", '4 4 2 2 6',
	'counted');

###############################################################################

sub sessions {
	my ($name, $port, $n) = @_;

	my $d = $t->testdir();
	my $addr = '127.0.0.1:' . port($port);

	return join ' ', map {
		`openssl s_client -connect $addr -quiet -cert $d/$name.crt -key $d/$name.key </dev/null 2>/dev/null` || '-';
	} 1 .. $n;
}

###############################################################################
