#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress in stream: passthrough by SNI, the mesh's mTLS on the same
# port, TCP services, TLS origination, and how a refusal shows.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use Socket qw/ SOL_SOCKET SO_LINGER /;
use Time::HiRes qw/ time /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl')
	->has_daemon('dnsmasq')
	->expect(qr/SSL_do_handshake\(\) failed/, qr/SSL_shutdown\(\) failed/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone           1m;
    resolver       127.0.0.1:8053 ipv6=off;
    allow_address  127.0.1.0/24;

    service a {
        host        a.example.com;
        port        443 tls target=%%PORT_8081%%;
        resolution  dns;
    }

    service wild {
        host      *.wild.example.com;
        port      443 tls;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
    }

    service link { host link.example.com;  port 443 tls; }

    service dead {
        host      dead.example.com;
        port      443 tls;
        endpoint  127.0.1.1 port=%%PORT_8099%%;
    }

    service tcp {
        host      tcp.example.com;
        port      5432 tcp;
        endpoint  127.0.1.1 port=%%PORT_8082%%;
    }

    service two {
        host      two.example.com;
        port      5432 tcp;
        endpoint  127.0.1.1 port=%%PORT_8099%%;
        endpoint  127.0.1.1 port=%%PORT_8082%%;
    }

    service banner {
        host      banner.example.com;
        port      3306 mysql;
        endpoint  127.0.1.1 port=%%PORT_8083%%;
    }

    service simple {
        host      a.example.com;
        port      5432 tls;
        lookup    off;
        endpoint  127.0.1.1 port=%%PORT_8084%%;
        tls       simple;
        tls_trusted_certificate  ca.crt;
    }

    service wrong {
        host      w.example.com;
        port      5432 tls;
        lookup    off;
        endpoint  127.0.1.1 port=%%PORT_8084%%;
        tls       simple;
        tls_trusted_certificate  ca.crt;
    }

    service mutual {
        host      a.example.com;
        port      5433 tls;
        lookup    off;
        endpoint  127.0.1.1 port=%%PORT_8084%%;
        tls       mutual;
        tls_certificate          frontend.crt;
        tls_certificate_key      frontend.key;
        tls_trusted_certificate  ca.crt;
    }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    log_format  egress  '$egress_verdict $egress_reason $egress_service '
                        '$egress_sni $egress_flags';
    access_log  %%TESTDIR%%/access.log  egress;

    egress_preread_timeout  300ms;

    upstream egress {
        egress_balance;
    }

    # what another module's preread does changes nothing

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  443;
        ssl_preread  on;
        proxy_pass   egress;
    }

    server {
        listen          127.0.0.1:8086;
        egress          on;
        egress_port     443;
        egress_refuse   reset;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8087;
        egress          on;
        egress_port     443;
        egress_refuse   close;
        proxy_pass      egress;
    }

    ssl_certificate         frontend.crt;
    ssl_certificate_key     frontend.key;
    ssl_client_certificate  ca.crt;

    server {
        listen             127.0.0.1:8088 ssl;
        ssl_verify_client  on;
        egress             on;
        egress_port        443;
        egress_mesh        optional;
        egress_preread     tls;
        proxy_pass         egress;
    }

    server {
        listen             127.0.0.1:8089 ssl;
        ssl_verify_client  on;
        egress             on;
        egress_port        443;
        proxy_pass         egress;
    }

    server {
        listen             127.0.0.1:8090 ssl;
        ssl_verify_client  on;
        egress             on;
        egress_mesh        required;
        egress_service     banner;
        proxy_pass         egress;
    }

    server {
        listen          127.0.0.1:8091;
        egress          on;
        egress_service  tcp;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8092;
        egress          on;
        egress_service  banner;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8093;
        egress          on;
        egress_service  simple;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8094;
        egress          on;
        egress_service  wrong;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8095;
        egress          on;
        egress_service  mutual;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8096;
        egress          on;
        egress_service  two;
        proxy_pass      egress;
    }

    # the external services

    %%FAR%%

    server {
        listen               127.0.1.1:8081 ssl;
        ssl_certificate      a.crt;
        ssl_certificate_key  a.key;
        return               "tls";
    }

    server {
        listen      127.0.1.1:8083;
        return      "banner";
    }

    server {
        listen               127.0.1.1:8084 ssl;
        ssl_certificate      a.crt;
        ssl_certificate_key  a.key;
        ssl_verify_client    optional;
        ssl_client_certificate  ca.crt;
        return               "tls $ssl_server_name $ssl_client_s_dn";
    }

    %%NEAR%%

    # sidecars

    proxy_ssl_certificate      frontend.crt;
    proxy_ssl_certificate_key  frontend.key;
    proxy_ssl_server_name      on;
    proxy_ssl_name             outbound_.443_._.gateway.test;

    server {
        listen      127.0.0.1:8070;
        proxy_ssl   on;
        proxy_pass  127.0.0.1:8088;
    }

    server {
        listen      127.0.0.1:8071;
        proxy_ssl   on;
        proxy_pass  127.0.0.1:8089;
    }

    server {
        listen      127.0.0.1:8072;
        proxy_ssl   on;
        proxy_pass  127.0.0.1:8090;
    }

    server {
        listen          127.0.0.1:8073;
        proxy_ssl       on;
        proxy_ssl_name  gateway.test;
        proxy_pass      127.0.0.1:8089;
    }
}

EOF

my $d = $t->testdir();

$t->ca('ca');
$t->cert('ca', 'a', 'DNS:a.example.com,DNS:*.wild.example.com');
$t->spiffe('ca', 'frontend', 'cluster.local/ns/default/sa/frontend');
$t->dns({
	'a.example.com' => '127.0.1.1', 'link.example.com' => '169.254.169.254'
});

$t->run_daemon(\&echo_daemon);
$t->wait_for_port_at('127.0.1.1', port(8082));
$t->run()->plan(40);

###############################################################################

# passthrough

like(tls(8080, 'a.example.com'), qr/tls$/, 'passthrough');
like(tls(8080, 'A.Example.COM'), qr/tls$/, 'case');
like(tls(8080, 'x.y.wild.example.com'), qr/tls$/, 'wildcard');
like(tls(8080, 'b.example.com'), qr/alert number 112/, 'not registered');
like(tls(8080, 'wild.example.com'), qr/alert number 112/, 'not a subdomain');
like(tls(8080, ''), qr/alert number 112/, 'no name');
like(tls(8080, 'link.example.com'), qr/alert number 49/, 'guard');
like(tls(8080, 'dead.example.com'), qr/alert number 80/, 'dead');
is(raw(8080, "GET / HTTP/1.0\r\n\r\n"), '', 'not TLS');
is(raw(8080, "SSH-2.0-x\r\n"), '', 'not TLS, ssh');
is(raw(8080, "\x16\x03\x01\x00\x05\x01\x00\x00\x02\x03\x03"),
	alert(50), 'bad hello');

# T-SNI-07: who says nothing does not stay

my $start = time();
is(raw(8080, ''), '', 'silent');
cmp_ok(time() - $start, '<', 2, 'silent, timeout');
is(raw(8080, "\x16\x03\x01"), alert(50), 'stops in its middle');

# T-SNI-06: a byte at a time

like(slow(8080, hello('a.example.com')), qr/^\x16\x03/, 'byte by byte');
is(slow(8080, hello('b.example.com')), alert(112),
	'byte by byte, not registered');

is(raw(8086, hello('b.example.com')), 'reset', 'refuse by reset');
is(raw(8087, hello('b.example.com')), '', 'refuse by close');

# the mesh: the inner name decides

like(tls(8088, 'a.example.com'), qr/tls$/, 'optional, plain client');
like(tls(8088, 'b.example.com'), qr/alert number 112/,
	'optional, plain client, not registered');
like(tls(8070, 'a.example.com'), qr/tls$/, 'optional, mesh');
like(tls(8070, 'b.example.com'), qr/alert number 112/,
	'optional, mesh, not registered');
is(raw(8070, "GET / HTTP/1.0\r\n\r\n"), '', 'optional, mesh, not TLS');
like(slow(8088, hello('a.example.com')), qr/^\x16\x03/,
	'optional, byte by byte');
is(raw(8088, "GET / HTTP/1.0\r\n\r\n"), '', 'optional, not TLS');

like(tls(8071, 'a.example.com'), qr/tls$/, 'required, mesh');
like(tls(8089, 'a.example.com'), qr/alert number 49/, 'required, plain');
unlike(tls(8073, 'a.example.com'), qr/tls$/, 'required, other name');

# TCP by egress_service

is(raw(8091, 'hello'), 'echo hello', 'tcp');
is(raw(8096, 'hello'), 'echo hello', 'tcp, second endpoint');

$start = time();
is(raw(8092, ''), 'banner', 'server speaks first');
cmp_ok(time() - $start, '<', 0.25, 'server speaks first, no wait');
is(raw(8072, ''), 'banner', 'server speaks first, mesh');

# TLS that the gateway originates

is(raw(8093, 'x'), 'tls a.example.com ', 'simple');
is(raw(8094, 'x'), '', 'simple, other name');
is(raw(8095, 'x'), 'tls a.example.com CN=frontend', 'mutual');

# a tunnel outlives a reload

my $s = IO::Socket::INET->new('127.0.0.1:' . port(8091));
syswrite($s, 'one');
sysread($s, my $one, 100);
$t->reload();
syswrite($s, 'two');
sysread($s, my $two, 100);
is("$one $two", 'echo one echo two', 'tunnel over reload');
close($s);

$t->stop();

my $log = $t->read_file('access.log');

like($log, qr/^allowed - a a.example.com -$/m, 'log, allowed');
like($log, qr/^denied registry_miss - b.example.com NR$/m, 'log, miss');
like($log, qr/^denied no_identity - - -$/m, 'log, plain where mesh is asked');

###############################################################################

sub tls {
	my ($port, $name) = @_;

	$port = port($port);
	$name = $name eq '' ? '-noservername' : "-servername $name";

	my $out = `timeout 5 openssl s_client -quiet -verify_quiet -connect 127.0.0.1:$port $name </dev/null 2>&1`;

	return $out;
}

sub raw {
	my ($port, $data) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port($port)) or return;
	syswrite($s, $data) if length $data;

	return answer($s);
}

sub slow {
	my ($port, $data) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port($port)) or return;
	$s->sockopt(6, 1);

	foreach my $byte (split //, $data) {
		syswrite($s, $byte);
		select undef, undef, undef, 0.0003;
	}

	return answer($s);
}

sub answer {
	my ($s) = @_;

	my ($b, $n) = ('');

	eval {
		local $SIG{ALRM} = sub { die "timeout\n" };
		alarm(4);
		$n = sysread($s, $b, 4096);
		alarm(0);
	};

	alarm(0);

	return 'timeout' if $@;
	return 'reset' if !defined $n;
	return $b;
}

sub alert {
	return pack('C7', 21, 3, 3, 0, 2, 2, $_[0]);
}

# what openssl sends

sub hello {
	my ($name) = @_;

	my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1',
		Timeout => 20) or die;
	my $pid = fork();

	if (!$pid) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec('timeout', '20', 'openssl', 's_client', '-connect',
			'127.0.0.1:' . $l->sockport(), '-servername', $name);
	}

	my $s = $l->accept() or die "no hello\n";
	sysread($s, my $hello, 16384);
	close($s);
	waitpid($pid, 0);

	return $hello;
}

sub echo_daemon {
	my $l = IO::Socket::INET->new(
		Listen => 5,
		LocalAddr => '127.0.1.1',
		LocalPort => port(8082),
		ReuseAddr => 1
	) or die "can't listen: $!\n";

	local $SIG{CHLD} = 'IGNORE';

	while (my $s = $l->accept()) {
		next if fork();

		while (sysread($s, my $b, 100)) {
			syswrite($s, "echo $b");
		}

		POSIX::_exit(0);
	}
}

###############################################################################
