#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for the registry and the guard in http beyond egress_core.t: variables
# in the log, which of two ranges wins, more than one address, connections
# that carry several requests, clients that leave, and a DNS server that is
# slow.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use Time::HiRes qw/ time /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# answered with an address each; the port is nobody's, so that what the guard
# lets pass fails to connect, or times out

my %guard = (
	# name => [ address, status, extra ]
	'tie.example.com' => [ '127.9.1.1', 403 ],
	'deny-in-allow.example.com' => [ '127.8.1.1', 403 ],
	'allow-in-deny.example.com' => [ '127.8.1.2', 503 ],
	'loop6.example.com' => [ '::1', 403 ],
	'link6.example.com' => [ 'fe80::1', 403 ],
	'mapped.example.com' => [ '::ffff:127.0.0.1', 403 ],
	'nat64.example.com' => [ '64:ff9b::a9fe:a9fe', 403 ],
	'ula.example.com' => [ 'fd00::1', 403 ],
	'aws6.example.com' => [ 'fd00:ec2::254', 403 ],
	'six2four.example.com' => [ '2002:7f00:1::1', 403 ],
	'zero.example.com' => [ '0.0.0.0', 403 ],
	'broadcast.example.com' => [ '255.255.255.255', 403 ],
	'multicast.example.com' => [ '224.0.0.1', 403 ],
	'cgnat.example.com' => [ '100.64.0.1', 403 ],
	'azure.example.com' => [ '168.63.129.16', 403 ],
	'p10.example.com' => [ '10.0.0.1', 403 ],
	'p172.example.com' => [ '172.31.0.1', 403 ],
	'p192.example.com' => [ '192.168.0.1', 403 ],
	'aws6.internal' => [ 'fd00:ec2::254', 403, 'location internal;' ],
	'loop.internal' => [ '127.0.0.1', 403, 'location internal;' ],
	'link.internal' => [ '169.254.169.254', 403, 'location internal;' ],
	'exempt.example.com' => [ '127.0.0.2', 503, 'guard allow=127.0.0.2;' ],
	'exempt2.example.com' => [ '127.0.0.3', 403, 'guard allow=127.0.0.2;' ],
	'exempt3.example.com' => [ '127.8.1.1', 503, 'guard allow=127.8.0.0/16;' ],
);

my $blocks = join '', map {
	"    service $_ { host $_; port 80 http target=%%PORT_8099%%; "
		. "resolution dns; connect_timeout 50ms; "
		. ($guard{$_}[2] || '') . " }\n"
} sort keys %guard;

my $t = Test::Nginx->new()->has_daemon('dnsmasq')
	->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone              1m;
    resolver          127.0.0.1:8053;
    resolver_timeout  500ms;
    allow_address     127.0.1.0/24 127.8.0.0/16 127.8.1.2 127.9.1.0/24;
    deny_address      127.8.1.0/24 127.9.1.0/24;

$blocks

    service one {
        host        one.example.com;
        port        80 http target=%%PORT_8081%%;
        resolution  dns;
    }

    service two {
        host        two.example.com;
        port        80 http;
        endpoint    127.0.0.1 port=%%PORT_8081%%;
        endpoint    127.0.0.1 port=%%PORT_8099%%;
        endpoint    127.0.0.1 port=%%PORT_8098%%;
    }

    service named {
        host        named.example.com other-name.example.com;
        port        80 http;
        port        81 http target=%%PORT_8082%%;
        resolution  dns;
        endpoint    one.example.com port=%%PORT_8081%%;
    }

    service v6 {
        host        v6.example.com;
        port        80 http;
        endpoint    ::1 port=%%PORT_8081%%;
    }

    service unix {
        host        unix.example.com;
        port        80 http;
        endpoint    unix:%%TESTDIR%%/unix.sock;
    }

    service full { host full.example.com; port 80 http;
                   endpoint 127.0.0.1 port=%%PORT_8083%%;
                   connect_timeout 100ms; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  all  '\$egress_verdict \$egress_reason \$egress_service '
                     '\$egress_host:\$egress_port \$egress_protocol '
                     '\$egress_flags \$egress_endpoint \$egress_ech '
                     '\$status \$upstream_addr';

    upstream egress {
        egress_balance;
    }

    egress_reason_header  on;

    server {
        listen       127.0.0.1:8080;

        egress       on;
        egress_port  80;
        access_log   %%TESTDIR%%/access.log  all;

        location / {
            include     %%REPOSITORY%%/conf/egress_proxy.conf;
            proxy_pass  http://egress;
        }

        location /choose/ {
            egress_service  \$arg_s;
            proxy_pass      http://egress;
        }

        location /https {
            proxy_pass  https://egress;
        }

        location /chain {
            error_page  502 = \@second;
            proxy_pass  http://egress;
        }

        location \@second {
            egress_service  two;
            proxy_pass      http://egress;
        }
    }

    # who listens where nothing was configured: egress_port is the listener's

    server {
        listen      127.0.0.1:8084;
        egress      on;
        access_log  %%TESTDIR%%/access.log  all;
        location / { proxy_pass http://egress; }
    }

    %%FAR%%

    server {
        listen  127.0.0.1:8081;
        listen  127.0.1.1:8081;
        listen  unix:%%TESTDIR%%/unix.sock;

        location / {
            return  200  "\$request_method \$host \$request_uri";
        }

        location /bad {
            add_header  x-egress-reason far always;
            return      502  "from afar";
        }

        location /empty {
            return  444;
        }
    }

    %%NEAR%%
}

EOF

$t->run()->plan(keys(%guard) + 33);

###############################################################################

# a DNS server that has not answered yet

my $dns = IO::Socket::INET->new(
	LocalAddr => '127.0.0.1',
	LocalPort => port(8053),
	Proto => 'udp'
) or die "can't bind: $!";

my $start = time();
is(code('one.example.com'), 503, 'silent dns');
cmp_ok(time() - $start, '<', 2, 'silent dns, timeout');

# clients that leave while their name is looked up

for (1 .. 5) {
	my $s = connected();
	print $s "GET / HTTP/1.0\r\nHost: one.example.com\r\n\r\n";
	select undef, undef, undef, 0.01;
	close($s);
}

my @waiting = map {
	my $s = connected();
	print $s "GET /$_ HTTP/1.0\r\nHost: one.example.com\r\n\r\n";
	$s;
} 1 .. 3;

select undef, undef, undef, 0.05;
$t->reload();

is(join(' ', map { my $r = join '', <$_>; $r =~ / (\d+)/ } @waiting),
	'503 503 503', 'waiting over a reload');

close($dns);

$t->dns({
	(map { $_ => $guard{$_}[0] } keys %guard),
	'one.example.com' => '127.0.1.1',
});

# what failed is not asked again at once

sleep 1;
select undef, undef, undef, 0.1;

foreach my $name (sort keys %guard) {
	my $status = $guard{$name}[1];
	my $reason = $status == 403 ? 'address_denied' : 'connect_failed';

	like(get($name), qr/ $status .*x-egress-reason: $reason\r/s,
		"guard, $name");
}

is(code('one.example.com'), 200, 'dns');
is(code('named.example.com'), 200, 'endpoint is a name');
is(code('other-name.example.com'), 200, 'second host');
is(code('unix.example.com'), 200, 'endpoint is a socket');
is(code('v6.example.com'), 503, 'endpoint is IPv6, nobody there');

# every attempt is one of the three; what fails is not what is answered

is(join(' ', map { code('two.example.com') } 1 .. 9),
	join(' ', (200) x 9), 'next endpoint');
is(body('two.example.com', '/chain'), 'GET egress /chain',
	'not redirected');
is(body('v6.example.com', '/chain'), 'GET egress /chain',
	'error page');

like(get('one.example.com', '/bad'),
	qr/ 502 .*^x-egress-reason: far\r\n.*from afar$/sm, 'answer of 502');

unlike(get('one.example.com', '/empty'), qr/ 200 /, 'no answer');
is(code('one.example.com', '/https'), 503, 'https by the location');

# a server that never accepts

my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1',
	LocalPort => port(8083), ReuseAddr => 1) or die "can't listen: $!";
my @fill = map {
	IO::Socket::INET->new(PeerAddr => '127.0.0.1', PeerPort => port(8083),
		Blocking => 0)
} 1 .. 4;

$start = time();
like(get('full.example.com'), qr/ 503 .*connect_failed/s, 'connect timeout');
cmp_ok(time() - $start, '<', 2, 'connect timeout, time');

# egress_port is the listener's without egress_port

is(code('one.example.com', '/', 8084), 502, 'port of the listener');

# requests of one connection are decided one by one

my $r = http("GET /a HTTP/1.1\r\nHost: one.example.com\r\n\r\n"
	. "GET /b HTTP/1.1\r\nHost: p10.example.com\r\n\r\n"
	. "GET /c HTTP/1.1\r\nHost: one.example.com\r\n\r\n"
	. "GET /d HTTP/1.1\r\nHost: no.example.com\r\n"
	. "Connection: close\r\n\r\n");

is(join(' ', $r =~ /HTTP\/1.1 (\d+)/g), '200 403 200 502', 'pipelined');

$r = http("POST /a HTTP/1.1\r\nHost: no.example.com\r\n"
	. "Content-Length: 5\r\n\r\nhello"
	. "GET /c HTTP/1.1\r\nHost: one.example.com\r\n"
	. "Connection: close\r\n\r\n");

is(join(' ', $r =~ /HTTP\/1.1 (\d+)/g), '502 200', 'refused with a body');

# who is asked for: the name in the request line comes before Host

like(http("GET http://one.example.com/x HTTP/1.1\r\nHost: no.example.com\r\n"
	. "Connection: close\r\n\r\n"), qr/ 200 .*GET one.example.com \/x$/s,
	'absolute form');
like(http("GET http://no.example.com/x HTTP/1.1\r\nHost: one.example.com\r\n"
	. "Connection: close\r\n\r\n"), qr/ 502 /, 'absolute form, refused');
like(http("GET / HTTP/1.1\r\nHost: one.example.com\r\nHost: a\r\n"
	. "Connection: close\r\n\r\n"), qr/ 400 /, 'two hosts');

# choice by variable: nothing but a service's name

foreach my $arg ('two:', 'two:0', 'two:80x', 'two:65617', ':80', '*') {
	is(code('one.example.com', "/choose/?s=$arg"), 502, "choice, $arg");
}

# an allowed answer has no header of ours

unlike(get('one.example.com'), qr/x-egress/i, 'no header if allowed');

$t->stop();

my $log = $t->read_file('access.log');
my $p = port(8081);

like($log, qr/^allowed - one one\.\S+:80 http - 127\.0\.1\.1:$p 0 200 127/m,
	'log, allowed');
like($log, qr/^denied registry_miss - no\.example\.com:80 - NR - 0 502 -$/m,
	'log, miss');
like($log, qr/^denied address_denied p10\S+ p10\S+:80 http UAEX - 0 403 -$/m,
	'log, guard');
like($log, qr/^allowed connect_failed full full\S+:80 http UF \S+ 0 503 /m,
	'log, failed');

###############################################################################

sub connected {
	return IO::Socket::INET->new('127.0.0.1:' . port(8080))
		|| die "can't connect: $!";
}

sub get {
	my ($host, $uri, $port) = @_;

	return http('GET ' . ($uri || '/') . " HTTP/1.0\r\nHost: $host\r\n\r\n",
		port => $port || 8080) || '';
}

sub code {
	return get(@_) =~ m!^HTTP/1.. (\d+)! ? $1 : 0;
}

sub body {
	return get(@_) =~ /\r\n\r\n(.*)/s ? $1 : '';
}

###############################################################################
