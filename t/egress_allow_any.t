#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for "outbound_policy allow_any" in http and stream: who is not
# registered is resolved and dialled, but never where the guard forbids.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('dnsmasq')->has_daemon('openssl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone             1m;
    outbound_policy  allow_any;
    resolver         127.0.0.1:8053;
    allow_address    127.0.1.0/24;

    # what 0177.0.0.1 may be taken for: no test dials a foreign address

    deny_address     177.0.0.0/8;

    # a registered one is its service, and nothing else

    service reg {
        host        reg.example.com;
        port        %%PORT_8081%% http;
        resolution  static;
        endpoint    127.0.1.1 port=%%PORT_8082%%;
    }

    service off {
        lookup      off;
        host        off.example.com;
        port        %%PORT_8081%% http;
        resolution  static;
        endpoint    127.0.1.1 port=%%PORT_8082%%;
    }

    service secure {
        host        secure.example.com;
        port        %%PORT_8081%% https;
        resolution  static;
        endpoint    127.0.1.1 port=%%PORT_8082%%;
    }

    service tls {
        host        tls.example.com;
        port        %%PORT_8083%% tls;
        resolution  static;
        endpoint    127.0.1.1 port=%%PORT_8084%%;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  all  '$egress_verdict $egress_reason $egress_service '
                     '$egress_host:$egress_port $egress_protocol';

    upstream egress {
        egress_balance;
    }

    egress_reason_header  on;

    server {
        listen       127.0.0.1:8080;

        egress       on;
        egress_port  %%PORT_8081%%;
        access_log   %%TESTDIR%%/access.log  all;

        location / {
            include     %%REPOSITORY%%/conf/egress_proxy.conf;
            proxy_pass  http://egress;
        }

        location /choose {
            egress_service  $arg_s;
            proxy_pass      http://egress;
        }
    }

    %%FAR%%

    server {
        listen  127.0.1.1:8081;
        return  200  "any $host";
    }

    server {
        listen  127.0.1.1:8082;
        return  200  "registered $host";
    }

    %%NEAR%%
}

stream {
    upstream egress {
        egress_balance;
    }

    egress_preread_timeout  200ms;

    server {
        listen       127.0.0.1:8085;
        egress       on;
        egress_port  %%PORT_8083%%;
        proxy_pass   egress;
    }

    %%FAR%%

    ssl_certificate      ca.crt;
    ssl_certificate_key  ca.key;

    server {
        listen  127.0.1.1:8083 ssl;
        return  "any";
    }

    server {
        listen  127.0.1.1:8084 ssl;
        return  "registered";
    }

    %%NEAR%%
}

EOF

$t->ca('ca')->dns({
	'any.example.com' => '127.0.1.1',
	'reg.example.com' => '127.0.1.1',
	'off.example.com' => '127.0.1.1',
	'secure.example.com' => '127.0.1.1',
	'tls.example.com' => '127.0.1.1',
	'meta.example.com' => '169.254.169.254',
	'loop.example.com' => '127.0.0.1',
	'ten.example.com' => '10.0.0.1',
	'six.example.com' => '::1',
	'both.example.com' => [ '127.0.1.1', '::1' ],
});

my @literals = qw/
	169.254.169.254 169.254.169.254. 127.0.0.1 0.0.0.0 10.0.0.1 192.168.1.1
	[::1] [::] [fe80::1] [fd00:ec2::254] [::ffff:127.0.0.1]
	[::ffff:169.254.169.254] [::ffff:a9fe:a9fe] [64:ff9b::a9fe:a9fe]
	[2002:a9fe:a9fe::1] [::169.254.169.254]
/;

# what only some resolvers take for an address is a name here

my @odd = qw/
	127.1 2130706433 0x7f000001 0x7f.0.0.1 0177.0.0.1 017700000001
	255.255.255.255
	127.0.0.1.example.com 169.254.169.254.example.com a_b.example.com
	-.example.com a..example.com *.example.com
/;

$t->run()->plan(@literals + @odd + 27);

###############################################################################

is(body('any.example.com'), 'any any.example.com', 'not registered');
is(body('ANY.example.com:1'), 'any any.example.com', 'case, port');
is(body('127.0.1.1'), 'any 127.0.1.1', 'literal that is allowed');
is(body('both.example.com'), 'any both.example.com', 'allowed of two');
is(body('reg.example.com'), 'registered reg.example.com', 'registered');
is(body('off.example.com'), 'any off.example.com', 'lookup off');
is(body('any.example.com', '/choose?s=off'), 'registered egress',
	'lookup off, chosen');
is(code('any.example.com', '/choose?s=nosuch'), 502, 'chosen, unknown');
is(code('any.example.com', '/choose?s=allow_any'), 502, 'chosen, our name');
is(code('any.example.com', '/choose'), 200, 'chosen, empty');
is(code('secure.example.com'), 503, 'no plaintext to registered https');
is(code('nosuch.example.com'), 503, 'no such name');
is(code(''), 502, 'no host');

like(get("$_.example.com"), qr/ 403 .*address_denied/s, "guard, $_")
	foreach qw/ meta loop ten six /;
like(get($_), qr/ 403 .*address_denied/s, "guard, $_") foreach @literals;
like(get($_), qr/ (400|403|502|503) /, "not an address, $_") foreach @odd;

# stream

like(tls('-servername any.example.com'), qr/any$/, 'stream');
like(tls('-servername tls.example.com'), qr/registered$/,
	'stream, registered');
like(tls('-servername meta.example.com'), qr/alert number 49/,
	'stream, guard');
like(tls('-servername nosuch.example.com'), qr/alert number 80/,
	'stream, no such name');
like(tls('-noservername'), qr/alert number 112/, 'stream, no name');

my $s = IO::Socket::INET->new('127.0.0.1:' . port(8085));
print $s "GET / HTTP/1.0\r\nHost: any.example.com\r\n\r\n";
is(join('', <$s>), '', 'stream, not TLS');

$t->stop();

my $log = $t->read_file('access.log');
my $p = port(8081);

like($log, qr/^allowed - allow_any any\.example\.com:$p http$/m, 'log, any');
like($log, qr/^allowed - reg reg\.example\.com:$p http$/m, 'log, registered');
like($log, qr/^denied address_denied allow_any meta\.example\.com:$p http$/m,
	'log, guard');
is(scalar(grep { /^allowed.*(meta|loop|ten|six|254)/ } split /\n/, $log), 0,
	'log, nothing slipped through');

###############################################################################

sub get {
	my ($host, $uri) = @_;

	$uri ||= '/';

	return http("GET $uri HTTP/1.0\r\n"
		. ($host eq '' ? '' : "Host: $host\r\n") . "\r\n") || '';
}

sub code {
	return get(@_) =~ m!^HTTP/1.. (\d+)! ? $1 : 0;
}

sub body {
	return get(@_) =~ /\r\n\r\n(.*)/s ? $1 : '';
}

sub tls {
	my ($name) = @_;

	my $port = port(8085);

	return scalar `timeout 5 openssl s_client -quiet -verify_quiet -connect 127.0.0.1:$port $name </dev/null 2>&1`;
}

###############################################################################
