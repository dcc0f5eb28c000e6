#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for the guard on addresses with clients and a DNS server that try to
# get past it, in http, HTTP/2 and stream: T-DNS-02 to T-DNS-06.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# 127.0.1.0/24 stands for what is public; everything else is denied twice, so
# that a mistake does not leave this machine

my $t = Test::Nginx->new()->has('http_v2')->has_daemon('curl')
	->has_daemon('openssl')->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone              1m;
    outbound_policy   allow_any;
    resolver          127.0.0.1:8053;
    resolver_timeout  1s;
    deny_address      0.0.0.0/0 ::/0;
    allow_address     127.0.1.0/24;

    # the embedded address has to pass on its own

    allow_address     ::ffff:0:0/96 64:ff9b::/96 2002::/16;

    service dynamic {
        host        *.dyn.example.com *.1 *.0x7f000001;
        port        %%PORT_8081%% http;
        port        %%PORT_8083%% tls;
        resolution  dynamic;
    }

    service retry {
        host        retry.example.com;
        port        %%PORT_8081%% http;
        resolution  dns;
    }

    # loops: an own listener, whatever the guard would let pass

    service off {
        host        off.example.com;
        port        %%PORT_8081%% http target=%%PORT_8084%%;
        resolution  dns;
        guard       off;
    }

    service exempt {
        host        exempt.example.com;
        port        %%PORT_8081%% http target=%%PORT_8084%%;
        resolution  dns;
        guard       allow=127.0.0.0/8 allow=0.0.0.0 allow=::/127;
    }

    service name {
        host        name.example.com;
        port        %%PORT_8081%% http;
        resolution  dns;
        endpoint    loop.example.com port=%%PORT_8084%%;
    }

    # what is spelled out is the operator's business

    service written {
        host        written.example.com;
        port        %%PORT_8081%% http;
        endpoint    127.0.1.50 port=%%PORT_8087%%;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    egress_reason_header  on;

    server {
        listen       127.0.0.1:8080;
        listen       127.0.0.1:8082 http2;

        egress       on;
        egress_port  %%PORT_8081%%;

        location / {
            include     %%REPOSITORY%%/conf/egress_proxy.conf;
            proxy_pass  http://egress;
        }
    }

    # to the ports of the gateway's own listeners

    server {
        listen       127.0.0.1:8090;
        egress       on;
        egress_port  %%PORT_8084%%;
        location / { proxy_pass http://egress; }
    }

    server {
        listen       127.0.0.1:8091;
        egress       on;
        egress_port  %%PORT_8086%%;
        location / { proxy_pass http://egress; }
    }

    server {
        listen       127.0.0.1:8092;
        egress       on;
        egress_port  %%PORT_8085%%;
        location / { proxy_pass http://egress; }
    }

    server {
        listen       127.0.1.50:8084;
        listen       [::1]:%%PORT_8084%%;
        listen       %%PORT_8086%%;

        egress       on;
        egress_port  %%PORT_8084%%;
        location / { proxy_pass http://egress; }
    }

    server {
        listen  127.0.1.50:8087;
        return  200  "written";
    }

    %%FAR%%

    log_format  all  '$server_addr $host';
    access_log  %%TESTDIR%%/far.log  all;

    server {
        listen  127.0.0.1:8081;
        listen  [::1]:%%PORT_8081%%;
        listen  127.0.1.1:8081;
        listen  127.0.1.50:8081;
        listen  127.0.1.51:8084;

        location / {
            return  200  "far $server_addr";
        }

        location /redirect {
            return  302  http://169.254.169.254/latest/meta-data/;
        }

        location /local {
            return  307  http://127.0.0.1:%%PORT_8081%%/;
        }
    }

    %%NEAR%%
}

stream {
    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.1.50:8085;
        listen       127.0.0.1:8085;
        egress       on;
        egress_port  %%PORT_8083%%;
        proxy_pass   egress;
    }

    server {
        listen       127.0.0.1:8088;
        egress       on;
        egress_port  %%PORT_8085%%;
        proxy_pass   egress;
    }

    %%FAR%%

    ssl_certificate      ca.crt;
    ssl_certificate_key  ca.key;

    log_format  all  '$server_addr $ssl_server_name';
    access_log  %%TESTDIR%%/far.log  all;

    server {
        listen  127.0.0.1:8083 ssl;
        listen  127.0.1.1:8083 ssl;
        return  "far $server_addr";
    }

    %%NEAR%%
}

EOF

# T-DNS-02: loopback and metadata in all spellings that something may take
# for them

my @spellings = qw/
	127.0.0.1 127.0.0.1. 127.1 127.0.1 127.000.000.001 0127.0.0.1
	2130706433 0177.0.0.1 0177.1 017700000001 0x7f000001 0x7f.0.0.1
	0x7f.1 0X7F000001 127.0.0.0x1 1.0x7f000001 0.0.0.0 0
	169.254.169.254 2852039166 0xa9fea9fe 0251.0376.0251.0376
	[::1] [::] [::ffff:127.0.0.1] [::ffff:7f00:1] [::FFFF:7F00:1]
	[0:0:0:0:0:ffff:7f00:1] [::7f00:1] [::127.0.0.1] [::ffff:0:7f00:1]
	[64:ff9b::7f00:1] [2002:7f00:1::] [::ffff:a9fe:a9fe]
	[2001:0:808:808::80ff:fffe] [fe80::1%25lo] [::1%251] [127.0.0.1]
	[::ffff:127.1] ::1 127.0.0.1%00 127.0.0.1%2e localhost
/;

$t->ca('ca');

Test::Nginx::DNS::set($t, 'public.example.com', 'A 127.0.1.1');
Test::Nginx::DNS::set($t, 'a.dyn.example.com', 'A 127.0.1.1');
Test::Nginx::DNS::set($t, 'mapped.example.com', 'AAAA ::ffff:127.0.1.1');
Test::Nginx::DNS::set($t, 'nat.example.com', 'AAAA 64:ff9b::7f00:1');
Test::Nginx::DNS::set($t, $_, 'A 127.0.1.50')
	foreach qw/ loop.example.com off.example.com exempt.example.com /;
Test::Nginx::DNS::start($t);

$t->run()->plan(3 * @spellings + 53);

###############################################################################

like(get('public.example.com'), qr/far 127\.0\.1\.1$/, 'public');
like(get('a.dyn.example.com'), qr/far 127\.0\.1\.1$/, 'public, dynamic');
like(get('127.0.1.1'), qr/far 127\.0\.1\.1$/, 'public, literal');
like(h2('public.example.com'), qr/^far 127\.0\.1\.1 200$/, 'public, http2');
like(h2('127.0.1.1'), qr/^far 127\.0\.1\.1 200$/, 'public, literal, http2');
like(tls('public.example.com'), qr/far 127\.0\.1\.1$/, 'public, stream');

foreach my $spelling (@spellings) {
	like(get($spelling), qr/^HTTP\/1.. (400|403|502|503) /,
		"T-DNS-02 $spelling, Host");
	like(h2($spelling), qr/ (000|400|403|502|503)$/,
		"T-DNS-02 $spelling, :authority");
	unlike(tls($spelling), qr/far/, "T-DNS-02 $spelling, SNI");
}

# mapped and translated: open themselves, but what is in them decides

like(get('[::ffff:127.0.1.1]'), qr/far 127\.0\.1\.1$/, 'mapped, public');
like(get('mapped.example.com'), qr/far 127\.0\.1\.1$/,
	'mapped, public, name');
like(get('nat.example.com'), qr/ 403 .*address_denied/s, 'NAT64, name');

# T-DNS-03: an answer that changes, and one that is mixed

Test::Nginx::DNS::set($t, 'rebind.example.com', 'A 127.0.1.1 ttl=0');
like(get('rebind.example.com'), qr/far 127\.0\.1\.1$/, 'T-DNS-03 public');
Test::Nginx::DNS::set($t, 'rebind.example.com', 'A 127.0.0.1 ttl=0');
select undef, undef, undef, 2.1;
like(get('rebind.example.com'), qr/ 403 .*address_denied/s,
	'T-DNS-03 rebound');
unlike(tls('rebind.example.com'), qr/far/, 'T-DNS-03 rebound, stream');

Test::Nginx::DNS::set($t, 'mixed.example.com', 'A 127.0.0.1',
	'A 127.0.1.1', 'A 127.0.0.1', 'AAAA ::1', 'rotate');
Test::Nginx::DNS::set($t, 'mixed.dyn.example.com', 'A 127.0.0.1',
	'A 127.0.1.1', 'AAAA ::1', 'AAAA ::ffff:127.0.0.1', 'rotate');

is(join(',', map { body(get('mixed.example.com')) } 1 .. 8),
	join(',', ('far 127.0.1.1') x 8), 'T-DNS-03 mixed');
is(join(',', map { body(get('mixed.dyn.example.com')) } 1 .. 8),
	join(',', ('far 127.0.1.1') x 8), 'T-DNS-03 mixed, dynamic');
is(join(',', map { tls('mixed.example.com') =~ /(far.*)/ } 1 .. 3),
	join(',', ('far 127.0.1.1') x 3), 'T-DNS-03 mixed, stream');

# the next attempt is not for the others either

Test::Nginx::DNS::set($t, 'retry.example.com', 'A 127.0.1.9', 'A 127.0.0.1',
	'A 127.0.1.8', 'AAAA ::1');

is(join(',', map { get('retry.example.com') =~ m!^HTTP/1.. (\d+)! } 1 .. 4),
	'503,503,503,503', 'T-DNS-03 next attempt');

# T-DNS-04

Test::Nginx::DNS::set($t, 'cname.example.com', 'CNAME inner.example.com');
Test::Nginx::DNS::set($t, 'inner.example.com', 'A 127.0.0.1');
Test::Nginx::DNS::set($t, 'chain.example.com', 'CNAME b.example.com',
	'CNAME c.example.com', 'A 169.254.169.254');
Test::Nginx::DNS::set($t, 'good.example.com', 'CNAME public.example.com');
Test::Nginx::DNS::set($t, 'many.example.com', 'A* 127.0.2.0 n=1000');
Test::Nginx::DNS::set($t, 'manyin.example.com', 'A* 127.0.2.0 n=900',
	'A 127.0.1.1');
Test::Nginx::DNS::set($t, 'none.example.com', 'rcode NXDOMAIN');
Test::Nginx::DNS::set($t, 'fail.example.com', 'rcode SERVFAIL');
Test::Nginx::DNS::set($t, 'garbage.example.com', 'A 127.0.1.1',
	'garbage 12');
Test::Nginx::DNS::set($t, 'short.example.com', 'A 127.0.1.1', 'short');
Test::Nginx::DNS::set($t, 'loops.example.com', 'loop');
Test::Nginx::DNS::set($t, 'self.example.com', 'CNAME self.example.com');

like(get('cname.example.com'), qr/ 403 .*address_denied/s, 'T-DNS-04 cname');
like(get('chain.example.com'), qr/ 403 .*address_denied/s, 'T-DNS-04 chain');
like(get('good.example.com'), qr/far 127\.0\.1\.1$/,
	'T-DNS-04 cname, public');
like(get('many.example.com'), qr/ 403 .*address_denied/s,
	'T-DNS-04 1000 records');
like(get('manyin.example.com'), qr/(far 127\.0\.1\.1$| 403 )/,
	'T-DNS-04 one of many');
like(get("$_.example.com"), qr/ 503 .*dns_failed/s, "T-DNS-04 $_")
	foreach qw/ none fail short loops self /;
like(get('garbage.example.com'), qr/ 50[34] /, 'T-DNS-04 garbage');

is(join(',', map { get("n$_.example.com") =~ m!^HTTP/1.. (\d+)! } 1 .. 50),
	join(',', (503) x 50), 'T-DNS-04 NXDOMAIN storm');

my $long = join('.', ('x' x 49) x 4, 'y' x 40, 'example.com');

Test::Nginx::DNS::set($t, $long, 'A 127.0.1.1');

is(length($long), 252, 'T-DNS-04 length');
like(get($long), qr/far 127\.0\.1\.1$/, 'T-DNS-04 longest name');
like(get("xx$long"), qr/ (400|502|503) /, 'T-DNS-04 too long');
like(get('x' x 64 . '.example.com'), qr/ (400|502|503) /,
	'T-DNS-04 label too long');

# T-DNS-05

like(get('public.example.com', '/redirect'),
	qr!^HTTP/1.. 302 .*Location: http://169\.254\.169\.254/latest/!s,
	'T-DNS-05 not followed');
like(get('public.example.com', '/local'),
	qr!^HTTP/1.. 307 .*Location: http://127\.0\.0\.1:!s,
	'T-DNS-05 not followed, loopback');

# T-DNS-06: the guard lets 127.0.1.0/24 pass, and not what we listen on

my $denied = qr/ 403 .*address_denied/s;

like(get('loop.example.com', '/', 8090), $denied, 'T-DNS-06 name');
like(get('127.0.1.50', '/', 8090), $denied, 'T-DNS-06 literal');
like(get('[::ffff:127.0.1.50]', '/', 8090), $denied, 'T-DNS-06 mapped');
like(get('127.0.1.50'), qr/far 127\.0\.1\.50$/,
	'T-DNS-06 same address, another port');
like(get('127.0.1.51', '/', 8090), qr/far 127\.0\.1\.51$/,
	'T-DNS-06 same port, another address');
like(get($_, '/', 8091), $denied, "T-DNS-06 wildcard, $_")
	foreach qw/ 127.0.1.50 127.0.1.77 [::ffff:127.0.1.1] /;
like(get('127.0.1.50', '/', 8092), $denied, 'T-DNS-06 listener of stream');
like(get('off.example.com'), $denied, 'T-DNS-06 guard off');
like(get('exempt.example.com'), $denied, 'T-DNS-06 exempt');
like(get('name.example.com'), $denied, 'T-DNS-06 endpoint is a name');

Test::Nginx::DNS::set($t, 'exempt.example.com', 'A 0.0.0.0', 'AAAA ::1',
	'AAAA ::');
select undef, undef, undef, 2.1;
like(get('exempt.example.com'), $denied, 'T-DNS-06 unspecified, loopback');

unlike(tls('loop.example.com', 8088), qr/far/, 'T-DNS-06 stream');
like(get('written.example.com'), qr/written$/, 'spelled out');

$t->reload();

like(get('loop.example.com', '/', 8090), $denied, 'T-DNS-06 after a reload');

$t->stop();

# nobody but the public ones was dialled, and nothing again by us

is(join(',', grep { !/^127\.0\.1\.\d+ / } split /\n/,
	$t->read_file('far.log')), '', 'far side, public only');

my $log = $t->read_file('error.log');

unlike($log, qr/upstream: "\w+:\/\/(?!127\.0\.1\.|\[::ffff:127\.0\.1\.)/,
	'log, public only');
like($log, qr/egress denied: reason address_denied/, 'log');

###############################################################################

sub get {
	my ($host, $uri, $port) = @_;

	$uri ||= '/';

	return http("GET $uri HTTP/1.0\r\nHost: $host\r\n\r\n",
		port => $port || 8080) || '';
}

sub body {
	my ($reply) = @_;

	return $reply =~ /\r\n\r\n(.*)/s ? $1 : $reply;
}

# curl would make an address of the odd ones in a URL, but not in a header

sub h2 {
	my ($authority) = @_;

	my $port = port(8082);

	return scalar `curl -s -m 5 --http2-prior-knowledge -w ' %{http_code}' -H 'Host: $authority' http://127.0.0.1:$port/`;
}

sub tls {
	my ($name, $port) = @_;

	$port = port($port || 8085);

	return scalar `timeout 5 openssl s_client -quiet -verify_quiet -connect 127.0.0.1:$port -servername '$name' </dev/null 2>&1`;
}

###############################################################################
