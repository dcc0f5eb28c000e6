#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for stream connections that tell no name: services by "address", the
# longest prefix, local addresses, PROXY protocol of peers that are trusted
# and of others, servers that speak first, allow_any, and loops.
# stream_egress_redirect.t has what netfilter redirects.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use Time::HiRes qw/ time /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has('stream_realip')->has_daemon('openssl');

# nothing but loopback can be dialled; 127.0.5.0/25 and 127.0.7.0/24 stand for
# what may

my $services = <<'EOF';

    service wide {
        address   127.0.2.0/24 127.0.3.0/24;
        port      5432 tcp;
        port      5433 tcp;
        endpoint  127.0.1.1 port=%%PORT_8071%%;
    }

    service half {
        host      half.example.com;
        address   127.0.2.128/25;
        port      5432 tcp;
        endpoint  127.0.1.1 port=%%PORT_8072%%;
    }

    service one {
        address   127.0.2.130;
        port      5432 tcp;
        endpoint  127.0.1.1 port=%%PORT_8073%%;
    }

    service all {
        address   0.0.0.0/0;
        port      5434 tcp;
        endpoint  127.0.1.1 port=%%PORT_8074%%;
    }

    service six {
        address   fd00:1::/32 ::1;
        port      5432 tcp;
        endpoint  127.0.1.1 port=%%PORT_8075%%;
    }

    service banner {
        address   127.0.2.0/24;
        port      3306 mysql;
        endpoint  127.0.1.1 port=%%PORT_8076%%;
    }

    service secure {
        host      secure.example.com;
        address   127.0.2.0/24;
        port      443 tls;
        endpoint  127.0.1.1 port=%%PORT_8077%%;
    }

    service unlisted {
        lookup      off;
        address     127.0.5.0/25;
        port        6000 tcp target=%%PORT_8078%%;
        guard       allow=127.0.5.0/25;
    }

    # the original destination itself is dialled

    service dynamic {
        address     127.0.5.0/24;
        port        6000 tcp target=%%PORT_8078%%;
        port        %%PORT_8078%% tcp;
        port        %%PORT_8080%% tcp;
        guard       allow=127.0.5.0/25;
    }

    service named {
        host        named.example.com;
        address     127.0.6.0/24;
        port        6000 tcp target=%%PORT_8078%%;
        resolution  none;
        guard       allow=127.0.6.0/24;
    }

    policy hosts {
        action deny;
        rule { to { hosts named.example.com 127.0.5.9; } }
    }

    policy ports {
        action deny;
        rule { to { ports 5433; } }
    }
EOF

sub conf {
	my ($policy) = @_;

	$t->write_file_expand('nginx.conf', <<EOF);

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone             1m;
    resolver         127.0.0.1:8053;
    outbound_policy  $policy;
    deny_address     0.0.0.0/0 ::/0;
    allow_address    127.0.7.0/24;
    $services
}

stream {
    log_format  all  '\$egress_verdict \$egress_reason \$egress_service '
                     '\$egress_host:\$egress_port \$egress_protocol '
                     '\$egress_endpoint';
    access_log  %%TESTDIR%%/access.log  all;

    upstream egress {
        egress_balance;
    }

    egress_preread_timeout  300ms;

    # local addresses

    server {
        listen       127.0.2.1:8080;
        listen       127.0.2.128:8080;
        listen       127.0.2.130:8080;
        listen       127.0.3.1:8080;
        listen       127.0.4.1:8080;
        listen       [::1]:%%PORT_8080%%;
        egress       on;
        egress_port  5432;
        proxy_pass   egress;
    }

    server {
        listen       %%PORT_8081%%;
        egress       on;
        egress_port  5434;
        proxy_pass   egress;
    }

    server {
        listen       127.0.2.1:8082;
        egress       on;
        egress_port  3306;
        egress_preread_timeout  5s;
        proxy_pass   egress;
    }

    server {
        listen       127.0.2.1:8083;
        egress       on;
        egress_port  443;
        proxy_pass   egress;
    }

    server {
        listen          127.0.2.1:8084;
        egress          on;
        egress_port     5432;
        egress_preread  tls;
        proxy_pass      egress;
    }

    server {
        listen          127.0.2.1:8085;
        egress          on;
        egress_port     5432;
        egress_preread  off;
        egress_preread_timeout  5s;
        proxy_pass      egress;
    }

    server {
        listen       127.0.5.1:8080;
        egress       on;
        egress_port  6000;
        proxy_pass   egress;
    }

    # PROXY protocol

    server {
        listen       127.0.0.1:8086 proxy_protocol;
        listen       127.0.2.1:8086 proxy_protocol;
        set_real_ip_from  127.0.0.1;
        egress       on;
        egress_port  5432;
        proxy_pass   egress;
    }

    server {
        listen       127.0.0.1:8087 proxy_protocol;
        egress       on;
        proxy_pass   egress;
    }

    server {
        listen          127.0.0.1:8088 proxy_protocol;
        set_real_ip_from  127.0.0.1;
        egress          on;
        egress_service  unlisted;
        proxy_pass      egress;
    }

    %%FAR%%

    ssl_certificate      ca.crt;
    ssl_certificate_key  ca.key;

    server {
        listen  127.0.1.1:8076;
        return  "banner";
    }

    server {
        listen  127.0.1.1:8077 ssl;
        return  "secure";
    }

    %%NEAR%%
}

EOF
}

conf('registry_only');

$t->ca('ca');

my %far = ((map { $_ => '127.0.1.1' } 8071 .. 8075));

$t->run_daemon(\&echo, $far{$_}, $_) foreach sort keys %far;
$t->run_daemon(\&echo, $_, 8078)
	foreach qw/ 127.0.0.1 127.0.5.1 127.0.6.1 127.0.7.1 /;
$t->wait_for_port_at($far{$_}, port($_)) foreach sort keys %far;
$t->wait_for_port_at($_, port(8078))
	foreach qw/ 127.0.0.1 127.0.5.1 127.0.6.1 127.0.7.1 /;

$t->run()->plan(60);

###############################################################################

# local addresses; the longest prefix

is(get('127.0.2.1', 8080), '127.0.1.1:8071 hello', 'prefix 24');
is(get('127.0.3.1', 8080), '127.0.1.1:8071 hello', 'second network');
is(get('127.0.2.128', 8080), '127.0.1.1:8072 hello', 'prefix 25');
is(get('127.0.2.130', 8080), '127.0.1.1:8073 hello', 'prefix 32');
is(get('::1', 8080), '127.0.1.1:8075 hello', 'IPv6');
is(get('127.0.4.1', 8080), '', 'not registered');
is(get('127.0.4.1', 8081), '127.0.1.1:8074 hello', 'prefix 0, wildcard');
is(get('127.0.0.1', 8081), '127.0.1.1:8074 hello', 'prefix 0, wildcard');

# who says nothing, and who is said nothing to

my $start = time();
is(get('127.0.2.1', 8080, 'later', 0.5), '127.0.1.1:8071 later',
	'client that waits');

$start = time();
is(get('127.0.2.1', 8082, ''), 'banner', 'server speaks first');
cmp_ok(time() - $start, '<', 2, 'server speaks first, at once');

$start = time();
is(get('127.0.2.1', 8085), '127.0.1.1:8071 hello', 'preread off');
cmp_ok(time() - $start, '<', 2, 'preread off, at once');

is(get('127.0.2.1', 8084), '', 'preread tls');
is(get('127.0.2.1', 8083), '', 'not TLS');
like(tls('127.0.2.1', 8083, '-noservername'), qr/secure$/, 'TLS, no name');
like(tls('127.0.2.1', 8083, '-servername secure.example.com'), qr/secure$/,
	'TLS, name');
like(tls('127.0.2.1', 8083, '-servername nosuch.example.com'),
	qr/alert number 112/, 'TLS, another name');
like(tls('127.0.2.1', 8084, '-noservername'), qr/wrong version|alert|error/,
	'preread tls, TLS without a name');

# a local address is looked up, but not dialled

is(get('127.0.5.1', 8080), '', 'not redirected');

# PROXY protocol

is(proxied('127.0.2.1 5432'), '127.0.1.1:8071 hello', 'proxied');
is(proxied('127.0.2.130 5432'), '127.0.1.1:8073 hello', 'proxied, prefix');
is(proxied('10.1.2.3 5434'), '127.0.1.1:8074 hello', 'proxied, port');
is(proxied('10.1.2.3 5435'), '', 'proxied, another port');
is(proxied('fd00:1::77 5432'), '127.0.1.1:8075 hello', 'proxied, IPv6');
is(proxied('fd00:2::77 5432'), '', 'proxied, IPv6, not registered');
is(proxied('127.0.2.1 3306', text => ''), 'banner',
	'proxied, server speaks first');
is(proxied('::ffff:127.0.2.130 5432'), '127.0.1.1:8073 hello',
	'proxied, mapped');
is(proxied(undef, host => '127.0.2.1'), '127.0.1.1:8071 hello',
	'proxied, unknown');
is(proxied('127.0.2.130 0', host => '127.0.2.1'), '127.0.1.1:8071 hello',
	'proxied, no port');
is(proxied('127.0.2.130 5432', v2 => 1), '127.0.1.1:8073 hello',
	'proxied, version 2');
is(proxied('127.0.2.130 5432', v2 => 0, host => '127.0.2.1'),
	'127.0.1.1:8071 hello', 'proxied, version 2, local');

# T-OBS-02: a header of anybody else changes nothing

is(proxied('127.0.2.130 5432', from => '127.0.0.2'), '', 'not trusted');
is(proxied('127.0.2.130 5432', from => '127.0.0.2', host => '127.0.2.1'),
	'127.0.1.1:8071 hello', 'not trusted, local address');
is(proxied('127.0.2.130 5432', port => 8087), '', 'no trust at all');
is(proxied('127.0.5.1 6000', from => '127.0.0.2'), '',
	'not trusted, dynamic');

# the original destination is dialled, behind the guard

is(proxied('127.0.5.1 6000'), '127.0.5.1:8078 hello', 'dynamic');
is(proxied('127.0.5.1 ' . port(8078)), '127.0.5.1:8078 hello',
	'dynamic, port');
is(proxied('127.0.5.200 6000'), '', 'dynamic, guard');
is(proxied('127.0.5.1 ' . port(8080)), '', 'dynamic, own listener');
is(proxied('127.0.5.9 6000'), '', 'dynamic, policy of the address');
is(proxied('127.0.6.1 6000'), '', 'dynamic, policy of the host');
is(proxied('127.0.2.1 5433'), '', 'policy of the port');
is(proxied('127.0.5.1 6000', port => 8088), '127.0.5.1:8078 hello',
	'service, dynamic');
is(proxied('127.0.5.200 6000', port => 8088), '', 'service, outside');
is(proxied('127.0.7.1 ' . port(8078)), '', 'registry only');

# allow_any

conf('allow_any');
$t->reload();

is(proxied('127.0.7.1 ' . port(8078)), '127.0.7.1:8078 hello', 'any');
is(proxied('127.0.0.1 ' . port(8078)), '', 'any, guard');
is(proxied('127.0.7.1 ' . port(8081)), '', 'any, own listener');
is(get('127.0.4.1', 8080), '', 'any, not redirected');
is(proxied('127.0.7.1 ' . port(8078), from => '127.0.0.2'), '',
	'any, not trusted');
is(proxied('127.0.2.1 5432'), '127.0.1.1:8071 hello', 'any, registered');

# errors

my $rest = 'port 3307 tcp; endpoint 127.0.1.1;';

like(refused("service a { address 10.0.0.0/8 127.0.2.77/25; port 1 tcp; $rest }"
	. "\nservice b { address 127.0.2.0/25; $rest }"),
	qr/duplicate address "127\.0\.2\.0\/25" and port 3307 in service "b" in \S+:5, previously in \S+:4/,
	'duplicate');
like(refused("service a { address fd00::/64; $rest }"
	. "service b { address fd00::1/64; $rest }"),
	qr/duplicate address "fd00::\/64" and port 3307/, 'duplicate, IPv6');
unlike(refused("service a { address 10.0.0.0/8 10.0.0.0/9 ::/8; $rest }"
	. "service b { address 10.0.0.0/8; lookup off; $rest }"
	. "service c { address 10.0.0.0/8; port 1 tcp; }"
	. "service d { address 0.0.0.0/8; $rest }"),
	qr/emerg/, 'no duplicates');
like(refused('service a { address 10.0.0.0/8; port 1 tcp; resolution dns; }'),
	qr/service "a" with "resolution dns" must have "host" or "endpoint" in/,
	'nothing to resolve');
like(refused("service a { address ::ffff:10.0.0.0/104; $rest }"),
	qr/service "a" has an IPv4-mapped "address"/, 'mapped');

$t->stop();

my $log = $t->read_file('access.log');
my $p = port(8078);

like($log, qr/^allowed - half half\.example\.com:5432 tcp 127/m, 'log, host');
like($log, qr/^allowed - dynamic 127\.0\.5\.1:6000 tcp 127\.0\.5\.1:$p$/m,
	'log, no host');

my %denied;

$denied{$_}++ foreach $log =~ /^denied (\S+ \S+)/mg;

is(join(', ', map { "$_ $denied{$_}" } sort keys %denied),
	'address_denied allow_any 2, address_denied dynamic 3, '
	. 'authz_denied dynamic 1, authz_denied named 1, authz_denied wide 1, '
	. 'not_tls - 1, not_tls secure 1, registry_miss - 11', 'log, denied');

###############################################################################

# what nginx -t says to services, which begin in line 4

sub refused {
	my ($services) = @_;

	my $globals = join ' ', split /\n/, $t->globals();

	$t->write_file('refused.conf',
		"$globals\nevents { }\negress { zone 1m;\n$services }\n");

	return ($t->test_config('refused.conf'))[1];
}

sub get {
	my ($host, $port, $text, $delay, %extra) = @_;

	$text = 'hello' unless defined $text;

	my $s = IO::Socket::IP->new(
		PeerHost => $host,
		PeerPort => port($port),
		LocalHost => $extra{from} || ($host =~ /:/ ? '::1' : '127.0.0.1')
	) or return undef;

	local $SIG{PIPE} = 'IGNORE';

	print $s $extra{header} if defined $extra{header};
	select undef, undef, undef, $delay if $delay;
	print $s "$text\n" if $text ne '';

	my $reply = '';

	while (IO::Select->new($s)->can_read(5)) {
		last unless $s->sysread($reply, 1000, length $reply);
	}

	$reply =~ s/\n//g;
	my $base = port(8000);
	$reply =~ s/:(\d{5})\b/':' . ($1 - $base + 8000)/e;

	return $reply;
}

# "address port" as the PROXY protocol's destination; undef: unknown

sub proxied {
	my ($to, %extra) = @_;

	my ($address, $port) = split ' ', $to || '';
	my $header = "PROXY UNKNOWN\r\n";

	if (defined $extra{v2}) {
		$header = "\r\n\r\n\0\r\nQUIT\n" . pack('CCn', 0x20 + $extra{v2},
			0x11, 12) . pack('C4', 1, 2, 3, 4)
			. pack('C4', split /\./, $address)
			. pack('nn', 1000, $port);

	} elsif (defined $to) {
		$header = $address =~ /:/
			? "PROXY TCP6 fd00::1 $address 1000 $port\r\n"
			: "PROXY TCP4 1.2.3.4 $address 1000 $port\r\n";
	}

	return get($extra{host} || '127.0.0.1', $extra{port} || 8086,
		$extra{text}, 0, header => $header, from => $extra{from});
}

sub tls {
	my ($host, $port, $name) = @_;

	$port = port($port);

	return scalar `timeout 5 openssl s_client -quiet -verify_quiet -connect $host:$port $name </dev/null 2>&1`;
}

# says who it is and what it got, a line

sub echo {
	my ($t, $address, $port) = @_;

	my $l = IO::Socket::INET->new(Listen => 16, LocalAddr => $address,
		LocalPort => port($port), ReuseAddr => 1) or return;

	local $SIG{PIPE} = 'IGNORE';

	while (my $s = $l->accept()) {
		my $line = <$s>;
		print $s "$address:" . port($port) . ' ' . ($line || '');
		close($s);
	}
}

###############################################################################
