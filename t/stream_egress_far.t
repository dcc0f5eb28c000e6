#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for the far side in stream: choice of endpoints, limits, timeouts,
# attempts, ejection, sockets, servers that speak first, and that all bytes
# arrive.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Digest::SHA qw/ sha256_hex /;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::UNIX;
use Socket qw/ SHUT_WR SOL_SOCKET SO_LINGER /;
use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Dialled;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $far = 'port=%%PORT_8081%%';
my $dead = 'port=%%PORT_8099%%';
my $tls = 'tls simple; tls_name a.example.com; tls_trusted_certificate ca.crt;';

# name, port listened on, settings of the service, settings of the server

my @services = (
	[ 'turns', 8010, "balance round_robin; endpoint 127.0.1.1 $far weight=3;"
		. "endpoint 127.0.1.2 $far;" ],
	[ 'hash', 8011, 'balance hash $remote_addr; '
		. join(' ', map { "endpoint 127.0.1.$_ $far;" } 1 .. 5) ],
	[ 'sets', 8012, "endpoint 127.0.1.1 $far label=v=1;"
		. "endpoint 127.0.1.2 $far label=v=2;"
		. "endpoint 127.0.1.3 $far label=v=2; subset two v=2;", '', '/two' ],
	[ 'limit', 8013, "max_connections 2; endpoint 127.0.1.1 $far;" ],
	[ 'slow', 8014, 'connect_timeout 300ms; '
		. 'endpoint 127.0.1.1 port=%%PORT_8086%%;' ],
	[ 'attempts', 8015, 'retry attempts=8; balance round_robin; '
		. join(' ', map { "endpoint 127.0.1.$_ $dead;" } 1 .. 4)
		. "endpoint 127.0.1.5 $far;" ],
	[ 'used', 8016, 'retry attempts=1; '
		. join(' ', map { "endpoint 127.0.1.$_ $dead;" } 1 .. 4) ],
	[ 'idle', 8017, "idle_timeout 500ms; endpoint 127.0.1.1 $far;" ],
	[ 'probes', 8018, "tcp_keepalive time=77s interval=5s probes=3; "
		. "endpoint 127.0.1.1 $far;" ],
	[ 'out', 8019, 'outlier consecutive_local=2 max_ejected=100%; '
		. "endpoint 127.0.1.1 $dead;" ],
	[ 'outs', 8020, 'outlier consecutive_local=1 max_ejected=100%; '
		. "endpoint 127.0.1.1 $dead; endpoint 127.0.1.2 $far;" ],
	[ 'unix', 8021, 'endpoint unix:%%TESTDIR%%/far.sock;' ],
	[ 'six', 8022, "endpoint ::1 $far;" ],
	[ 'mysql', 8023, 'endpoint 127.0.1.1 port=%%PORT_8083%%;', '', '', 'mysql' ],
	[ 'smtp', 8024, 'endpoint 127.0.1.1 port=%%PORT_8084%%;',
		'egress_preread off;' ],
	[ 'sums', 8025, 'endpoint 127.0.1.1 port=%%PORT_8085%%;',
		'proxy_half_close on;' ],
	[ 'badtls', 8026, "$tls endpoint 127.0.1.1 port=%%PORT_8083%%;" ],
	[ 'stalltls', 8027, "$tls connect_timeout 300ms; "
		. 'endpoint 127.0.1.1 port=%%PORT_8085%%;' ],
	[ 'sometls', 8028, "$tls retry attempts=3; balance round_robin; "
		. 'endpoint 127.0.1.1 port=%%PORT_8083%%; '
		. 'endpoint 127.0.1.1 port=%%PORT_8087%%;' ],
	[ 'near', 8029, "balance round_robin; endpoint 127.0.1.1 $far;"
		. "endpoint 127.0.1.2 $far backup;" ],
	[ 'gone', 8032, 'connect_timeout 8s; max_connections 2; '
		. 'endpoint 127.0.1.1 port=%%PORT_8086%%;', '', '', 'tls' ],
	[ 'refused', 8030, "endpoint 127.0.1.1 $dead;" ],
	[ 'sumstls', 8031, "$tls endpoint 127.0.1.1 port=%%PORT_8088%%;",
		'proxy_half_close on;' ],
);

my ($services, $servers) = ('', '');

foreach my $s (@services) {
	my ($name, $port, $settings, $extra, $subset, $protocol) = @$s;

	$extra //= '';
	$subset //= '';
	$protocol //= 'tcp';

	$services .= "service $name { host $name.example.com; "
		. "port 5432 $protocol; $settings }\n    ";
	$servers .= "server { listen 127.0.0.1:$port; egress on; "
		. "egress_service $name$subset; $extra proxy_pass egress; }\n    ";
}

my $t = Test::Nginx->new()->has('stream')->has_daemon('openssl')
	->has_daemon('ss')->expect(qr/SSL_do_handshake\(\) failed/)
	->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone  1m;

    $services
}

stream {
    log_format  far  '\$egress_service|\$egress_verdict|\$egress_reason|'
                     '\$egress_flags|\$egress_endpoint|\$status';
    access_log  %%TESTDIR%%/access.log  far;

    egress_preread_timeout  300ms;

    upstream egress {
        egress_balance;
    }

    $servers

    server {
        listen               127.0.1.1:8087 ssl;
        ssl_certificate      far.crt;
        ssl_certificate_key  far.key;
        proxy_pass           127.0.1.1:8081;
    }

    server {
        listen               127.0.1.1:8088 ssl;
        ssl_certificate      far.crt;
        ssl_certificate_key  far.key;
        proxy_half_close     on;
        proxy_pass           127.0.1.1:8085;
    }
}

EOF

my $d = $t->testdir();

$t->ca('ca')->cert('ca', 'far', 'DNS:a.example.com');

Test::Nginx::Dialled::start($t, 8081);

$t->run_daemon(\&speaks_first, 8083, "J\0\0\0\x0a8.0.36\0greeting");
$t->run_daemon(\&speaks_first, 8084, "220 far ESMTP\r\n");
$t->run_daemon(\&sums, 8085);
$t->run_daemon(\&on_unix, "$d/far.sock");
my @full = full(8086);

$t->wait_for_port_at('127.0.1.1', port($_)) foreach 8083, 8084, 8085;
sleep 0.05 until -S "$d/far.sock";

$t->run()->plan(80);

###############################################################################

# which one

my %n;
$n{far(8010)}++ for 1 .. 40;

is($n{'127.0.1.1'}, 30, 'weight');
is($n{'127.0.1.2'}, 10, 'other weight');

%n = ();
$n{far(8012)}++ for 1 .. 20;

is(join(' ', sort keys %n), '127.0.1.2 127.0.1.3', 'subset');

%n = ();
$n{far(8029)}++ for 1 .. 10;

is(join(' ', keys %n), '127.0.1.1', 'no backup');

my %hash;

foreach my $i (1 .. 20) {
	$hash{$i}{far(8011, from => "127.0.3.$i")}++ for 1 .. 3;
}

is(scalar(grep { keys %$_ != 1 } values %hash), 0, 'hash, same address');

%n = map { (keys %$_)[0] => 1 } values %hash;

cmp_ok(keys %n, '>', 2, 'hash, other addresses');

is(far(8022), '::1', 'ipv6');
like(logged('six'), qr/^allowed\|-\|-\|\[::1\]:\d+\|200$/, 'ipv6, logged');
is(far(8021), 'unix', 'unix socket');
like(logged('unix'), qr!^allowed\|-\|-\|unix:.*far.sock\|200$!, 'unix, logged');

# limits

my @s = map { start(8013) } 1 .. 2;
is(line($_), '127.0.1.1', 'within the limit') foreach @s;

is(far(8013), '', 'above the limit');
is(logged('limit'), 'denied|circuit_open|UO|-|503', 'above the limit, logged');

close(shift @s);
sleep 0.2;

is(far(8013), '127.0.1.1', 'below again');

# old workers count as well

sleep 0.2;

push @s, start(8013);
is(line($s[1]), '127.0.1.1', 'at the limit before a reload');

$t->reload();

is(far(8013), '', 'above the limit after a reload');
print { $s[0] } 'still there';
is(gets($s[0], 11), 'still there', 'connection outlives a reload');
@s = ();

# who does not answer

my $start = time();

is(far(8014), '', 'connect timeout');
cmp_ok(time() - $start, '>', 0.25, 'not too soon');
cmp_ok(time() - $start, '<', 3, 'not too late');
like(logged('slow'), qr/^allowed\|connect_failed\|UF\|127.0.1.1:\d+\|503$/,
	'connect timeout, logged');

is(far(8030), '', 'refused');
like(logged('refused'), qr/^allowed\|connect_failed\|UF\|127.0.1.1:\d+\|503$/,
	'refused, logged');

is(far(8015), '127.0.1.5', 'another endpoint') for 1 .. 3;
is(far(8016), '', 'attempts are used up');
like(logged('used'), qr/^allowed\|connect_failed\|UF,URX\|127/,
	'used up, logged');

# a client that leaves before its service is reached holds nothing

@s = map { start(8032, hello()) } 1 .. 2;
sleep 0.2;
close($_) foreach @s;
sleep 0.2;

@s = map { start(8032, hello()) } 1 .. 2;
sleep 0.2;

foreach my $s (@s) {
	setsockopt($s, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
	close($s);
}

sleep 0.2;

is(scalar(() = $t->read_file('access.log') =~ /^gone\|allowed\|-\|-\|/mg), 4,
	'clients that leave');

# TLS that fails

is(far(8026), '', 'not tls');
like(logged('badtls'), qr/^allowed\|tls_failed\|UF\|.*\|503$/,
	'not tls, logged');

$start = time();

is(far(8027), '', 'tls stalls');
cmp_ok(time() - $start, '<', 3, 'tls stalls, not for long');
like(logged('stalltls'), qr/^allowed\|tls_failed\|UF\|.*\|503$/,
	'tls stalls, logged');
is(far(8028), '127.0.1.1', 'another tls endpoint') for 1 .. 3;

# time without traffic

my $s = start(8017);
line($s);

for (1 .. 6) {
	sleep 0.2;
	print $s 'x';
}

is(gets($s, 6), 'xxxxxx', 'not idle');

$start = time();
is(gets($s, 1), '', 'idle');
cmp_ok(time() - $start, '>', 0.4, 'idle, not too soon');
cmp_ok(time() - $start, '<', 3, 'idle, not too late');
like(logged('idle'), qr/^allowed\|upstream_timeout\|UT\|127/, 'idle, logged');

$s = start(8018);
line($s);

my $port = port(8081);
my $ss = `ss -tno state established dst 127.0.1.1:$port`;

like($ss, qr/timer:\(keepalive,1min1[5-7]sec,0\)/, 'tcp keepalive')
	or diag($ss);
close($s);

# who fails is left out

far(8019) for 1 .. 2;
like(logged('out'), qr/^allowed\|connect_failed\|UF\|/, 'fails');
is(far(8019), '', 'ejected');
is(logged('out'), 'denied|no_healthy_endpoint|UH|-|503', 'ejected, logged');

is(far(8020), '127.0.1.2', 'the other one') for 1 .. 20;

my $lines = () = $t->read_file('error.log')
	=~ /endpoint 127.0.1.1:\d+ of service "outs" is ejected/g;

is($lines, 1, 'ejected once');

# the server speaks first

$start = time();
$s = start(8023, '');

is(gets($s, 20), "J\0\0\0\x0a8.0.36\0greeting", 'mysql');
cmp_ok(time() - $start, '<', 0.25, 'mysql, no wait');
print $s "login";
is(gets($s, 5), 'login', 'mysql, client');

$start = time();
$s = start(8024, '');

is(gets($s, 15), "220 far ESMTP\r\n", 'smtp');
cmp_ok(time() - $start, '<', 0.25, 'smtp, no wait');
print $s "EHLO me\r\n";
is(gets($s, 9), "EHLO me\r\n", 'smtp, client');
close($s);

# all bytes

$s = start(8012, 'PINGright after');
line($s);
is(gets($s, 11), 'right after', 'sent at once');

is(transfer(8025, 0, 0), 'ok', 'nothing but the end');
is(transfer(8025, 10, 10), 'ok', 'half close');
is(transfer(8025, 16_000_000, 16_000_000), 'ok', 'large');
is(transfer(8031, 0, 100), 'ok', 'tls, the end only');
is(transfer(8031, 8_000_000, 8_000_000), 'ok', 'tls, large');

###############################################################################

sub start {
	my ($num, $text, %extra) = @_;

	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port($num),
		LocalAddr => $extra{from}) or die "can't connect: $!\n";

	$s->autoflush(1);
	$SIG{PIPE} = 'IGNORE';

	print $s $text // 'PING';

	return $s;
}

sub hello {
	my $ext = pack('nn/a*', 0, pack('n/a*',
		pack('Cn/a*', 0, 'gone.example.com')));

	my $body = pack('n', 0x0303) . 'r' x 32 . pack('C/a*', '')
		. pack('n/a*', pack('n', 0xc02b)) . pack('C/a*', "\0")
		. pack('n/a*', $ext);

	return pack('Cnn/a*', 22, 0x0301,
		pack('C', 1) . substr(pack('N', length $body), 1) . $body);
}

sub gets {
	my ($s, $n) = @_;

	my $buf = '';
	my $select = IO::Select->new($s);

	while (length $buf < $n && $select->can_read(6)) {
		sysread($s, $buf, $n - length $buf, length $buf) or last;
	}

	return $buf;
}

sub line {
	my ($s) = @_;

	my $buf = '';

	while ((my $c = gets($s, 1)) ne '') {
		return $buf if $c eq "\n";
		$buf .= $c;
	}

	return $buf;
}

sub far {
	my ($num, %extra) = @_;

	return line(start($num, undef, %extra));
}

# of the last connection to a service

sub logged {
	my ($name) = @_;

	my $n = $t->{seen}{$name} || 0;

	for (1 .. 50) {
		my @lines = $t->read_file('access.log') =~ /^$name\|(.*)$/mg;

		if (@lines > $n) {
			$t->{seen}{$name} = @lines;
			sleep 0.05;
			@lines = $t->read_file('access.log') =~ /^$name\|(.*)$/mg;
			$t->{seen}{$name} = @lines;
			return $lines[-1];
		}

		sleep 0.05;
	}

	return 'nothing';
}

# n bytes there and then the end, m bytes and their sum back

sub transfer {
	my ($num, $n, $m) = @_;

	my $data = join '', map { chr(rand 256) } 1 .. 1000;
	$data = substr($data x ($n / 1000 + 1), 0, $n);
	my $text = sprintf('%010d', $m) . $data;

	my $s = start($num, '');
	my $buf = '';

	$s->blocking(0);

	my ($r, $w) = (IO::Select->new($s), IO::Select->new($s));
	my $until = time() + 15;

	while (time() < $until) {
		my @ready = IO::Select->select($r, length $text ? $w : undef,
			undef, 1);

		if (@{$ready[1] || []}) {
			my $n = syswrite($s, $text, 262144);
			substr($text, 0, $n || 0) = '';
			shutdown($s, SHUT_WR) if $text eq '';
		}

		if (@{$ready[0] || []}) {
			my $n = sysread($s, $buf, 262144, length $buf);
			last if defined $n && $n == 0;
		}
	}

	my ($there, $back) = $buf =~ /(\w{64})(\w{64})\z/ or return 'no sums';
	substr($buf, -128) = '';

	return 'too little: ' . length $buf if length $buf != $m;
	return 'wrong there' if $there ne sha256_hex($data);
	return 'wrong back' if $back ne sha256_hex($buf);
	return 'ok';
}

# each connection gets a process

sub serve {
	my ($server, $code) = @_;

	$SIG{$_} = 'DEFAULT' foreach qw/ TERM INT HUP ALRM __DIE__ /;
	$SIG{CHLD} = 'IGNORE';

	while (my $c = $server->accept()) {
		if (fork()) {
			close($c);
			next;
		}

		close($server);
		$c->autoflush(1);
		$code->($c);
		POSIX::_exit(0);
	}

	die "accept: $!\n";
}

sub listener {
	my ($num, @args) = @_;

	my $s = IO::Socket::INET->new(Listen => 20, ReuseAddr => 1,
		LocalAddr => '127.0.1.1:' . port($num), @args);

	return $s || die "can't bind: $!\n";
}

sub speaks_first {
	my (undef, $num, $text) = @_;

	serve(listener($num), sub {
		my ($c) = @_;

		print $c $text;
		while (sysread($c, my $buf, 65536)) { syswrite($c, $buf) }
	});
}

sub sums {
	my (undef, $num) = @_;

	serve(listener($num), sub {
		my ($c) = @_;

		# both ways at a time

		my $m = gets($c, 10);

		POSIX::_exit(0) if $m !~ /^\d{10}$/;

		my $data = join '', map { chr(rand 256) } 1 .. 1000;
		$data = substr($data x ($m / 1000 + 1), 0, $m);

		my ($in, $sent, $eof) = ('', 0, 0);
		my ($r, $w) = (IO::Select->new($c), IO::Select->new($c));

		$c->blocking(0);

		while (!$eof || $sent < $m) {
			my @ready = IO::Select->select($eof ? undef : $r,
				$sent < $m ? $w : undef, undef, 10);

			last unless @ready;

			if (@{$ready[1] || []}) {
				$sent += syswrite($c, $data, 262144, $sent) || 0;
			}

			if (@{$ready[0] || []}) {
				my $n = sysread($c, $in, 262144, length $in);
				$eof = 1 if defined $n && $n == 0;
			}
		}

		$c->blocking(1);
		print $c sha256_hex($in), sha256_hex($data);
	});
}

sub on_unix {
	my (undef, $path) = @_;

	my $server = IO::Socket::UNIX->new(Local => $path, Listen => 5)
		or die "can't bind: $!\n";

	chmod 0666, $path;

	serve($server, sub {
		my ($c) = @_;

		gets($c, 4);
		print $c "unix\n";
	});
}

# a queue without room: what comes is not answered

sub full {
	my ($num) = @_;

	my $server = listener($num, Listen => 1);
	my @s = $server;

	for (1 .. 4) {
		push @s, IO::Socket::INET->new(Blocking => 0,
			PeerAddr => '127.0.1.1:' . port($num));
	}

	return @s;
}

###############################################################################
