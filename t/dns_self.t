#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for Test::Nginx::DNS, the DNS server of the fault tests: what it
# sends, read byte by byte, and what nginx's own resolver makes of it.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Select;
use IO::Socket::INET;
use Socket qw/ AF_INET6 AF_UNIX PF_UNSPEC SOCK_STREAM inet_ntoa inet_ntop /;
use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  tried  "$arg_h $upstream_addr";

    resolver_timeout  500ms;

    server {
        listen    127.0.0.1:8080;
        resolver  127.0.0.1:8053 ipv6=off;

        location / {
            proxy_pass  http://$arg_h:%%PORT_8082%%;
        }

        location /all {
            resolver_timeout  5s;
            access_log        %%TESTDIR%%/tried.log tried;
            proxy_pass        http://$arg_h:%%PORT_8083%%;
        }
    }

    server {
        listen    127.0.0.1:8081;
        resolver  127.0.0.1:8053;

        location / {
            proxy_pass  http://$arg_h:%%PORT_8082%%;
        }
    }

    server {
        listen  127.0.1.1:8082;
        listen  127.0.1.2:8082;
        return  200  "at $server_addr;";
    }
}

EOF

dns('a', 'A 127.0.1.1 ttl=7', 'AAAA ::1 ttl=8');
dns('A.Upper', 'A 127.0.1.1');
dns('v4', 'A 127.0.1.1');
dns('none');
dns('chain', 'CNAME x.example.com', 'CNAME y.example.com ttl=9',
	'A 127.0.1.2');
dns('link', 'CNAME v4.example.com');
dns('ring', 'CNAME ring.example.com');
dns('servfail', 'A 127.0.1.1', 'rcode SERVFAIL');
dns('notimp', 'rcode NOTIMP', 'rcode6 REFUSED');
dns('six', 'A 127.0.1.1', 'AAAA ::1', 'rcode6 SERVFAIL');
dns('drop', 'A 127.0.1.1', 'drop');
dns('slow', 'A 127.0.1.1', 'delay 200');
dns('slower', 'A 127.0.1.1', 'delay 900');
dns('tc', 'A 127.0.1.1', 'truncate');
dns('garbage', 'A 127.0.1.1', 'garbage');
dns('garbage12', 'A 127.0.1.1', 'garbage 12');
dns('short', 'A 127.0.1.1', 'A 127.0.1.2', 'short');
dns('short1', 'A 127.0.1.1', 'A 127.0.1.2', 'short 1');
dns('wrongid', 'A 127.0.1.1', 'wrongid');
dns('loop', 'A 127.0.1.1', 'loop');
dns('rotate', 'A 127.0.1.1', 'A 127.0.1.2', 'A 127.0.1.3', 'rotate');
dns('many', 'A* 127.1.0.0 n=1000');
dns('most', 'A* 127.1.0.0 n=5000');
dns('star', '', 'A* 127.1.0.254 n=4 ttl=0');

# the test's own sockets are not the server's

socketpair(my $left, my $right, AF_UNIX, SOCK_STREAM, PF_UNSPEC) or die;
Test::Nginx::DNS::start($t, 8053);
close($right);

$t->run()->plan(83);

###############################################################################

# a record at a time

ok(IO::Select->new($left)->can_read(2), "the test's files are not kept");

is(answer('a'), 'A 127.0.1.1 7', 'A');
is(answer('a', 'AAAA'), 'AAAA ::1 8', 'AAAA');
is(answer('a', 'A', proto => 'tcp'), 'A 127.0.1.1 7', 'A, tcp');
is(answer('a', 'TXT'), '', 'another type');
is(answer('a.upper'), 'A 127.0.1.1 1', 'set in upper case');
is(answer('A.UPPER'), 'A 127.0.1.1 1', 'asked in upper case');
is(answer('v4', 'AAAA'), '', 'no AAAA');
is(answer('none'), '', 'no records');
is(answer('unknown'), 'NXDOMAIN', 'unknown');
is(answer('chain'), 'CNAME x.example.com 1, CNAME y.example.com 9, '
	. 'A 127.0.1.2 1', 'chain of names');
is(answer('link'), 'CNAME v4.example.com 1', 'name');
is(answer('servfail'), 'SERVFAIL', 'servfail');
is(answer('servfail', 'AAAA'), 'SERVFAIL', 'servfail, AAAA');
is(answer('notimp') . answer('notimp', 'AAAA'), 'NOTIMPREFUSED', 'rcode6');
is(answer('six') . answer('six', 'AAAA'), 'A 127.0.1.1 1SERVFAIL',
	'rcode6 only');
is(answer('drop', 'A', timeout => 0.3), 'none', 'drop');
is(answer('drop', 'A', timeout => 0.3, proto => 'tcp'), 'none', 'drop, tcp');
is(answer('tc'), 'TC A 127.0.1.1 1', 'truncate');
is(answer('tc', 'A', proto => 'tcp'), 'A 127.0.1.1 1', 'truncate, tcp');
is(answer('wrongid'), 'ident', 'wrongid');
is(answer('loop'), 'loop', 'loop');
is(answer('short'), 'A 127.0.1.1 1, short', 'short');
is(answer('short', 'A', proto => 'tcp'), 'A 127.0.1.1 1, short',
	'short, tcp');
is(answer('short1'), 'A 127.0.1.1 1, short', 'short by a byte');
is(answer('star'), 'A 127.1.0.254 0, A 127.1.0.255 0, A 127.1.1.0 0, '
	. 'A 127.1.1.1 0', 'consecutive');

my %first;
$first{(split / /, answer('rotate'))[1]}++ for 1 .. 6;
is(join(' ', map { "$_=$first{$_}" } sort keys %first),
	'127.0.1.1=2 127.0.1.2=2 127.0.1.3=2', 'rotate');

isnt(raw('garbage'), raw('garbage'), 'garbage');
isnt(substr(raw('garbage'), 0, 12), substr(raw('a'), 0, 12),
	'garbage, no header');
is(substr(raw('garbage12'), 0, 12), substr(raw('a'), 0, 12),
	'garbage after the header');

# sizes

my $r = raw('many');
cmp_ok(length $r, '<=', 512, 'many, udp');
like(decode($r), qr/^TC A 127.1.0.0 1, /, 'many, udp, truncated');

my @list = split /, /, answer('many', 'A', proto => 'tcp');
is(@list, 1000, 'many, tcp');
is("$list[0] $list[999]", 'A 127.1.0.0 1 A 127.1.3.231 1', 'many, ends');

$r = raw('most', 'A', proto => 'tcp');
cmp_ok(length $r, '>', 65535 - 16, 'over 65535');
like(decode($r), qr/^TC /, 'over 65535, truncated');

# later, and the others don't wait

my $start = time();
my $slow = client('udp');
$slow->syswrite(Test::Nginx::DNS::query('slower.example.com', 'A'));
is(answer('a'), 'A 127.0.1.1 7', 'next to a delay');
ok(!IO::Select->new($slow)->can_read(0), 'delay, not yet');
IO::Select->new($slow)->can_read(3) && $slow->sysread($r, 512);
is(decode($r), 'A 127.0.1.1 1', 'delay');
cmp_ok(time() - $start, '>=', 0.89, 'delay, time');

# a connection with two queries, in pieces; the answers change places

my $s = client('tcp');
my $two = join '', map { pack('n/a*',
	Test::Nginx::DNS::query("$_.example.com", 'A')) } qw/ slow a /;

foreach my $piece (unpack '(a7)*', $two) {
	$s->syswrite($piece);
	sleep 0.005;
}

my @two = map { tcp_read($s) } 1 .. 2;
is(join(' ', map { decode($_) } @two), 'A 127.0.1.1 7 A 127.0.1.1 1',
	'pieces of a stream');

# what is no query

is(decode(raw('a', 'A', query => "\x12\x34\x01\x00\x00\x01" . "\0" x 6)),
	'FORMERR', 'no question');
is(decode(raw('a', 'A', query => "\x12\x34\x01\x00\x00\x01" . "\0" x 6
	. "\xc0\x0c\0\1\0\1")), 'FORMERR', 'question with a pointer');
is(raw('a', 'A', query => 'x', timeout => 0.2), undef, 'one byte');
is(raw('a', 'A', query => pack('n6', 0x1234, 0x8180, 1, 0, 0, 0)
	. substr(Test::Nginx::DNS::query('a.example.com', 'A'), 12),
	timeout => 0.2), undef, 'an answer for a query');
is(decode(raw('a', 'A', query => pack('n6', 0x1234, 0x0100, 1, 0, 0, 0)
	. pack('C/a*', '../nginx.conf') . "\0\0\1\0\1")), 'NXDOMAIN', 'no path');

# changes, at once

dns('a', 'A 127.0.1.9');
is(answer('a'), 'A 127.0.1.9 1', 'changed');

# the log

is(Test::Nginx::DNS::queries($t, 'rotate.example.com'), 6, 'queries');
is(Test::Nginx::DNS::queries($t, 'Six.example.com', 'A'), 1, 'queries, A');
is(Test::Nginx::DNS::queries($t, 'six.example.com', 'AAAA'), 1,
	'queries, AAAA');
is(Test::Nginx::DNS::queries($t, 'many.example.com', 'A', 'tcp'), 1,
	'queries, tcp');
is(Test::Nginx::DNS::queries($t, 'example.com'), 0, 'queries, none');
like($t->read_file('dns.log'),
	qr/^\d+\.\d{3} udp AAAA six\.example\.com$/m, 'line');
unlike($t->read_file('dns.log'),
	qr/^(?!\d+\.\d{3} (udp|tcp) \w+ \S+$)/m, 'nothing but such lines');

# typos

eval { dns('typo', 'A 127.0.1') };
like($@, qr/^DNS line "A 127\.0\.1"/, 'no address');
eval { dns('typo', 'rcode SERVFIAL') };
like($@, qr/^DNS line "rcode SERVFIAL"/, 'no rcode');
is(answer('typo'), 'NXDOMAIN', 'a typo sets nothing');

###############################################################################

# nginx asks

dns('a', 'A 127.0.1.1');

like(get('v4'), qr/at 127.0.1.1;/, 'nginx');
like(get('chain'), qr/at 127.0.1.2;/, 'nginx, chain');
like(get('link'), qr/at 127.0.1.1;/, 'nginx, name');
is(fails('unknown'), '3: Host not found', 'nginx, unknown');
is(fails('servfail'), '2: Server failure', 'nginx, servfail');
is(fails('drop'), '110: Operation timed out', 'nginx, drop');
is(fails('wrongid'), '110: Operation timed out', 'nginx, wrongid');
is(fails('slower'), '110: Operation timed out', 'nginx, later than that');
like(get('slow'), qr/at 127.0.1.1;/, 'nginx, delay');
like(get('v4', 8081), qr/at 127.0.1.1;/, 'nginx, no AAAA');
like(get('tc'), qr/at 127.0.1.1;/, 'nginx, truncated');

is(join(' ', map { Test::Nginx::DNS::queries($t, 'tc.example.com', 'A', $_) }
	qw/ udp tcp /), '2 2', 'nginx, truncated, again by tcp');

# those end somehow, and nginx is there

is(fails($_), '110: Operation timed out', "nginx, $_")
	foreach qw/ garbage garbage12 short short1 loop /;
is(fails('ring'), '3: Host not found', 'nginx, ring');
is(fails('six', 8081), '2: Server failure', 'nginx, one of two');

my $log = $t->read_file('error.log');
like($log, qr/wrong ident \d+ in DNS response for wrongid/, 'log, wrongid');
like($log, qr/short DNS response/, 'log, short');
like($log, qr/compression pointers loop in DNS/, 'log, loop');

http_get('/all?h=many.example.com');
my %tried = map { $_ => 1 } $t->read_file('tried.log')
	=~ /(127\.1\.\d+\.\d+):\d+/g;
is(keys %tried, 1000, 'nginx, many');

# it dies and comes back; the old answer was for a second

Test::Nginx::DNS::stop($t);
is(answer('a', 'A', timeout => 0.2), 'none', 'stopped');
is(fails('a'), '110: Operation timed out', 'nginx, stopped');

Test::Nginx::DNS::start($t);
like(get('a'), qr/at 127.0.1.1;/, 'nginx, started again');

###############################################################################

sub dns {
	my ($name, @lines) = @_;

	Test::Nginx::DNS::set($t, "$name.example.com", @lines);
}

sub get {
	my ($name, $port) = @_;

	return http_get("/?h=$name.example.com", port => $port || 8080);
}

# why nginx did not find it

sub fails {
	my ($name, $port) = @_;

	get($name, $port);

	my ($why) = reverse $t->read_file('error.log')
		=~ /\Q$name\E\.example\.com could not be resolved \((.*?)\)/g;

	return $why;
}

sub raw {
	my ($name, $type, %extra) = @_;

	return Test::Nginx::DNS::ask(port(8053), "$name.example.com",
		$type || 'A', %extra);
}

sub answer {
	return decode(raw(@_));
}

sub client {
	my ($proto) = @_;

	return IO::Socket::INET->new(Proto => $proto,
		PeerAddr => '127.0.0.1:' . port(8053));
}

sub tcp_read {
	my ($s) = @_;

	my $buf = '';
	my $len = 2;

	while (length $buf < $len) {
		IO::Select->new($s)->can_read(2) or return undef;
		$s->sysread($buf, $len - length $buf, length $buf)
			or return undef;
		$len = 2 + unpack('n', $buf) if length $buf == 2;
	}

	return substr($buf, 2);
}

# what an answer says, up to where it goes wrong

sub decode {
	my ($m) = @_;

	return 'none' unless defined $m;

	my ($id, $flags, $qd, $an) = unpack('n4', $m);

	return 'ident' if $id != 0x1234;
	return 'no answer' unless $flags & 0x8000;

	my $rcode = $flags & 0x0f;
	return (qw/ 0 FORMERR SERVFAIL NXDOMAIN NOTIMP REFUSED /)[$rcode]
		if $rcode;

	my $pos = 12;

	for (1 .. $qd) {
		(undef, $pos) = name($m, $pos);
		$pos += 4;
	}

	my @list;

	for (1 .. $an) {
		my ($name, $next) = name($m, $pos);

		return join(', ', @list, $name) unless defined $next;
		return join(', ', @list, 'short')
			if length $m < $next + 10;

		my ($type, undef, $ttl, $len) = unpack('nnNn',
			substr($m, $next, 10));

		$pos = $next + 10;

		return join(', ', @list, 'short') if length $m < $pos + $len;

		my $data = substr($m, $pos, $len);

		if ($type == 1) {
			push @list, 'A ' . inet_ntoa($data) . " $ttl";

		} elsif ($type == 28) {
			push @list, 'AAAA ' . inet_ntop(AF_INET6, $data)
				. " $ttl";

		} else {
			my ($target, $end) = name($m, $pos);

			return join(', ', @list, $target)
				unless defined $end;
			push @list, "CNAME $target $ttl";
		}

		$pos += $len;
	}

	push @list, 'more' if $pos != length $m;

	return ($flags & 0x0200 ? 'TC ' : '') . join(', ', @list);
}

# a name and where it ends

sub name {
	my ($m, $pos) = @_;

	my ($end, @labels);

	for (1 .. 128) {
		return 'short' if $pos >= length $m;

		my $n = ord(substr($m, $pos, 1));

		if ($n >= 0xc0) {
			return 'short' if $pos + 2 > length $m;

			$end //= $pos + 2;
			$pos = unpack('n', substr($m, $pos, 2)) & 0x3fff;
			next;
		}

		return join('.', @labels), $end // $pos + 1 unless $n;

		push @labels, substr($m, $pos + 1, $n);
		$pos += 1 + $n;
	}

	return 'loop';
}

###############################################################################
