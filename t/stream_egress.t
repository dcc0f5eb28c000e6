#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress in stream beyond stream_egress_core.t: services chosen by
# a variable and by a port, hellos in pieces, bytes that come with the hello,
# attempts that fail, slow DNS, clients that leave, and UDP.

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

# nginx logs a failed verification as [crit]

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('dnsmasq')
	->expect(qr/SSL_do_handshake\(\) failed/, qr/SSL_shutdown\(\) failed/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone              1m;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  500ms;
    allow_address     127.0.1.0/24;

    service a {
        host        a.example.com;
        port        443 tls target=%%PORT_8081%%;
        resolution  dns;
    }

    service far {
        host      far.example.com;
        port      443 tls;
        endpoint  127.0.1.1 port=%%PORT_8083%%;
    }

    service tcp {
        host      tcp.example.com;
        port      5432 tcp;
        endpoint  127.0.1.1 port=%%PORT_8082%%;
    }

    service broken {
        host      broken.example.com;
        port      443 tls;
        lookup    off;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
        tls       mutual;
        tls_certificate          none.crt;
        tls_certificate_key      none.key;
        tls_trusted_certificate  ca.crt;
    }

    service retry {
        host      a.example.com;
        port      5432 tcp;
        lookup    off;
        endpoint  127.0.1.1 port=%%PORT_8082%%;
        endpoint  127.0.1.1 port=%%PORT_8084%%;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
        connect_timeout  200ms;
        tls       simple;
        tls_trusted_certificate  ca.crt;
    }

    service plain {
        host      a.example.com;
        port      5432 tcp;
        lookup    off;
        endpoint  127.0.1.1 port=%%PORT_8082%%;
        connect_timeout  200ms;
        tls       simple;
        tls_trusted_certificate  ca.crt;
    }

    service names {
        host      *.example.com;
        port      5432 tls;
        lookup    off;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
        tls       simple;
        tls_name  a.example.com;
        tls_trusted_certificate  ca.crt;
    }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    log_format  egress  '$egress_verdict|$egress_reason|$egress_service|'
                        '$egress_host:$egress_port|$egress_protocol|'
                        '$egress_sni|$egress_alpn|$egress_ech|'
                        '$egress_flags|$egress_endpoint|$status';
    access_log  %%TESTDIR%%/access.log  egress;

    egress_preread_timeout  900ms;

    upstream egress {
        egress_balance;
    }

    map $egress_sni $chosen {
        default        "";
        x.example.com  a;
        y.example.com  nosuch;
        z.example.com  broken;
    }

    map $remote_addr $noport {
        default  tcp:443;
    }

    map $remote_addr $tcp {
        default  tcp;
    }

    server {
        listen          127.0.0.1:8080;
        egress          on;
        egress_port     443;
        egress_service  $chosen;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8085;
        egress          on;
        egress_service  $tcp:5432;

        proxy_half_close  on;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8086;
        egress          on;
        egress_service  $noport;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8087;
        egress          on;
        egress_preread  off;
        egress_port     5432;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8088;
        egress          on;
        egress_service  retry;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8089;
        egress          on;
        egress_service  plain;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8090;
        egress          on;
        egress_service  names;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8091 udp;
        egress          on;
        egress_service  tcp;
        proxy_pass      egress;
    }

    # without egress, nothing can be dialled through ours

    server {
        listen      127.0.0.1:8092;
        proxy_pass  egress;
    }

    server {
        listen          127.0.0.1:8093 proxy_protocol;
        egress          on;
        egress_port     443;
        proxy_pass      egress;
    }

    %%FAR%%

    server {
        listen               127.0.1.1:8081 ssl;
        access_log           off;
        ssl_certificate      a.crt;
        ssl_certificate_key  a.key;
        return               "tls $ssl_server_name";
    }

    server {
        listen               127.0.1.1:8084 ssl;
        access_log           off;
        ssl_certificate      other.crt;
        ssl_certificate_key  other.key;
        return               "other";
    }

    %%NEAR%%
}

EOF

$t->ca('ca')->cert('ca', 'a', 'DNS:a.example.com')
	->cert('ca', 'other', 'DNS:other.example.com');

$t->run_daemon(\&echo, 8082)->run_daemon(\&echo, 8083);
$t->wait_for_port_at('127.0.1.1', port($_)) foreach 8082, 8083;

$t->expect(qr/egress refuses to dial without a verdict/);
$t->run()->plan(40);

###############################################################################

# a DNS server that does not answer

my $dns = IO::Socket::INET->new(
	LocalAddr => '127.0.0.1',
	LocalPort => port(8053),
	Proto => 'udp'
) or die "can't bind: $!";

my $start = time();
is(raw(8080, hello('a.example.com')), alert(80), 'silent dns');
cmp_ok(time() - $start, '<', 2, 'silent dns, timeout');

for (1 .. 3) {
	my $s = connected(8080);
	syswrite($s, hello('a.example.com'));
	select undef, undef, undef, 0.01;
	close($s);
}

my $waiting = connected(8080);
syswrite($waiting, hello('a.example.com'));
select undef, undef, undef, 0.02;
$t->reload();
is(answer($waiting), alert(80), 'waiting over a reload');

close($dns);
$t->dns({ 'a.example.com' => '127.0.1.1' });

# what failed is not asked again at once

for (1 .. 60) {
	last if tls(8080, 'a.example.com') =~ /tls a.example.com$/;
	select undef, undef, undef, 0.1;
}

# choice

like(tls(8080, 'a.example.com'), qr/tls a.example.com$/, 'empty variable');
like(tls(8080, 'x.example.com'), qr/tls x.example.com$/, 'variable of SNI');
like(tls(8080, 'y.example.com'), qr/alert number 112/, 'unknown service');
like(tls(8080, 'z.example.com'), qr/alert number 80/, 'broken service');
is(raw(8085, 'hi'), 'hi', 'variable and port');
is(raw(8086, 'hi'), '', 'port that the service has not');
is(raw(8087, 'hi'), '', 'no preread, no service');
is(raw(8087, hello('a.example.com')), '', 'no preread, hello');
is(raw(8092, 'hi'), '', 'no egress');

# the far side gets every byte, in order, and so does the client

my $hello = hello('far.example.com');

is(raw(8080, $hello), $hello, 'hello is passed unchanged');
is(raw(8080, $hello . 'early' x 4000, length($hello) + 20000),
	$hello . 'early' x 4000, 'bytes behind the hello');
is(pieces(8080, length($hello), unpack('(a7)*', $hello)), $hello,
	'hello in pieces');

my $two = substr($hello, 0, 3) . pack('n', 10) . substr($hello, 5, 10)
	. substr($hello, 0, 3) . pack('n', length($hello) - 15)
	. substr($hello, 15);

is(raw(8080, $two), $two, 'hello in two records');

my $none = substr($hello, 0, 3) . pack('n', 0) . $hello;
is(raw(8080, $none), alert(50), 'empty record');

my $huge = "\x16\x03\x01\x40\x00\x01\x00\xff\xff" . "\x03\x03" . 'r' x 16378;
is(raw(8080, $huge x 6), alert(50), 'hello that is too long');

(my $nul = $hello) =~ s/far\.example\.com/far\.example\0com/;
is(raw(8080, $nul), alert(50), 'NUL in the name');
(my $dot = $hello) =~ s/far\.example\.com/far_example.com/;
is(raw(8080, $dot), alert(50), 'name of the mesh');

like(raw(8093, "PROXY TCP4 1.2.3.4 5.6.7.8 1 2\r\n" . $hello),
	qr/^\Q$hello\E$/, 'PROXY protocol');

# half of a connection

my $s = connected(8085);
syswrite($s, 'bye');
shutdown($s, 1);
is(answer($s), 'bye', 'client that only listens');

# large

is(length(raw(8085, 'z' x 300000, 300000)), 300000, 'many bytes');

# TLS that the gateway originates, endpoint by endpoint

is(join(' ', map { raw(8088, 'x') } 1 .. 6),
	join(' ', ('tls a.example.com') x 6), 'next endpoint');
is(raw(8089, 'x'), '', 'not TLS there');
is(raw(8090, 'x'), 'tls a.example.com', 'wildcard host, tls_name');

# no datagrams

my $udp = IO::Socket::INET->new(Proto => 'udp', PeerAddr => '127.0.0.1',
	PeerPort => port(8091));
$udp->send('x');
is(answer($udp, 0.3), 'timeout', 'UDP');

# connections that nobody ends

my @open = map { connected(8080) } 1 .. 20;
select undef, undef, undef, 0.5;
is(scalar(grep { answer($_) eq '' } @open), 20, 'silent clients');

# tunnels outlive reloads, and are ended by a stop

$s = connected(8085);
syswrite($s, 'a');
sysread($s, my $b, 1);
$t->reload()->reload();
syswrite($s, 'b');
sysread($s, $b, 1);
is($b, 'b', 'tunnel over two reloads');
close($s);

$t->stop();

my $log = $t->read_file('access.log');
my $p = port(8081);

like($log, qr/^allowed\|-\|a\|a\.example\.com:443\|tls\|a\.example\.com\|-\|0\|-\|127\.0\.1\.1:$p\|200$/m,
	'log, allowed');
like($log, qr/^allowed\|-\|a\|x.example.com:443\|tls\|x.example.com\|/m,
	'log, chosen');
like($log, qr/^denied\|registry_miss\|-\|y.example.com:443\|-\|y\S+NR\|-\|502$/m,
	'log, unknown service');
like($log, qr/^denied\|service_broken\|broken\|.*\|UH\|-\|503$/m,
	'log, broken');
like($log, qr/^denied\|dns_failed\|a\|.*\|DF\|-\|503$/m, 'log, dns');
like($log, qr/^allowed\|tls_failed\|plain\|.*\|UF\|127\S+\|503$/m,
	'log, failed');
like($log, qr/^denied\|not_tls\|-\|.*\|DC\|-\|400$/m, 'log, not TLS');
like($log, qr/^denied\|bad_client_hello\|-\|.*\|DC\|-\|400$/m,
	'log, bad hello');
unlike($log, qr/[^\x20-\x7e\n]/, 'log, no byte of a client as it is');
is(scalar(() = $log =~ /^-\|/mg), 1, 'log, one session without egress');
is(join("\n", grep { /^allowed/ && !/\d+\|(200|503)$/ } split /\n/, $log), '',
	'log, statuses');

###############################################################################

sub connected {
	my ($port) = @_;

	return IO::Socket::INET->new('127.0.0.1:' . port($port))
		|| die "can't connect: $!";
}

sub tls {
	my ($port, $name) = @_;

	$port = port($port);

	return scalar `timeout 5 openssl s_client -quiet -verify_quiet -connect 127.0.0.1:$port -servername $name </dev/null 2>&1`;
}

sub raw {
	my ($port, $data, $want) = @_;

	return pieces($port, $want || 1, $data);
}

# sends each piece in a packet of its own, reads until there is enough

sub pieces {
	my ($port, $want, @pieces) = @_;

	my $s = connected($port);
	my $got = '';

	$s->sockopt(6, 1);

	my $pid = fork();

	if (!$pid) {
		local $SIG{PIPE} = 'IGNORE';

		foreach my $piece (@pieces) {
			my $n = 0;

			while ($n < length $piece) {
				$n += syswrite($s, $piece, length($piece) - $n, $n)
					|| last;
			}

			select undef, undef, undef, 0.002 if @pieces > 1;
		}

		POSIX::_exit(0);
	}

	while (length $got < $want) {
		my $more = answer($s);
		last if $more =~ /^(timeout|reset|)$/;
		$got .= $more;
	}

	waitpid($pid, 0);

	return $got;
}

sub answer {
	my ($s, $timeout) = @_;

	my ($b, $n) = ('');

	my $r = '';
	vec($r, fileno($s), 1) = 1;

	return 'timeout' unless select($r, undef, undef, $timeout || 4);

	$n = sysread($s, $b, 65536);

	return defined $n ? $b : 'reset';
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

# sends back what it gets

sub echo {
	my ($self, $port) = @_;

	my $l = IO::Socket::INET->new(
		Listen => 5,
		LocalAddr => '127.0.1.1',
		LocalPort => port($port),
		ReuseAddr => 1
	) or die "can't listen: $!\n";

	local $SIG{CHLD} = 'IGNORE';

	while (my $s = $l->accept()) {
		next if fork();

		while (sysread($s, my $b, 65536)) {
			syswrite($s, $b);
		}

		POSIX::_exit(0);
	}
}

###############################################################################
