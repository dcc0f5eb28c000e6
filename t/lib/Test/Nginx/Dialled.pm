package Test::Nginx::Dialled;

# (C) 2026 Egress Gateway authors

# A far side on all addresses of loopback, 127.0.0.0/8 and ::1, that says
# which of them was dialled; and clients that ask for a while:
#
#   use Test::Nginx::Dialled;
#
#   Test::Nginx::Dialled::start($t, 8081);
#   ...
#   is(Test::Nginx::Dialled::get(8080, 'a.example.com'), '127.0.1.1', 'dialled');
#
#   my $load = Test::Nginx::Dialled::load($t, clients => 2, port => 8080,
#       hosts => [ 'a.example.com' ]);
#   ...
#   my $r = Test::Nginx::Dialled::unload($load);
#   is($r->{failed}, 0, 'all');
#
# The far side answers "GET /" with the address; "/stall" never, "/slow?ms"
# late, "/close" with the end of the connection.  A connection that says
# "PING" gets the address and a line feed, and what comes then comes back.

use warnings;
use strict;

use IO::Select;
use IO::Socket::INET;
use POSIX qw/ :sys_wait_h /;
use Socket qw/ AF_INET6 SOCK_STREAM SOL_SOCKET inet_ntop pack_sockaddr_in6
	inet_pton unpack_sockaddr_in unpack_sockaddr_in6 sockaddr_family /;
use Time::HiRes qw/ sleep time /;

use Test::Nginx qw//;

# of Linux

use constant SO_BINDTODEVICE => 25;

###############################################################################

sub start {
	my ($t, $num) = @_;

	my $port = Test::Nginx::port($num);

	# bound here, so that it is there when this returns; all addresses, but
	# of the loopback interface only

	my $s4 = IO::Socket::INET->new(Proto => 'tcp', ReuseAddr => 1,
		LocalAddr => '0.0.0.0', LocalPort => $port)
		or die "can't bind to port $num: $!\n";

	setsockopt($s4, SOL_SOCKET, SO_BINDTODEVICE, "lo\0")
		or die "can't stay on loopback: $!\n";
	listen($s4, 511) or die "can't listen: $!\n";
	$s4->blocking(0);

	socket(my $s6, AF_INET6, SOCK_STREAM, 0) or die "socket: $!\n";
	setsockopt($s6, SOL_SOCKET, Socket::SO_REUSEADDR(), 1);
	bind($s6, pack_sockaddr_in6($port, inet_pton(AF_INET6, '::1')))
		or die "can't bind to ::1: $!\n";
	listen($s6, 511) or die "can't listen: $!\n";
	IO::Handle::blocking($s6, 0);

	$t->run_daemon(\&serve, $s4, $s6);

	close($s4);
	close($s6);

	return $t->{daemons}[-1];
}

sub serve {
	my (undef, @listen) = @_;

	$SIG{$_} = 'DEFAULT' foreach qw/ TERM INT HUP CHLD ALRM __DIE__ /;
	$SIG{PIPE} = 'IGNORE';

	my $parent = getppid();
	my $select = IO::Select->new(@listen);
	my %listen = map { fileno($_) => 1 } @listen;
	my (%conns, @later);

	while (getppid() == $parent) {
		my $wait = 1;

		if (@later) {
			$wait = $later[0][0] - time();
			$wait = 0 if $wait < 0;
			$wait = 1 if $wait > 1;
		}

		foreach my $s ($select->can_read($wait)) {

			if ($listen{fileno($s)}) {
				while (accept(my $c, $s)) {
					IO::Handle::blocking($c, 0);
					$conns{fileno($c)} = { s => $c, in => '',
						name => name($c) };
					$select->add($c);
				}

				next;
			}

			my $c = $conns{fileno($s)};
			my $n = sysread($s, $c->{in}, 65536, length $c->{in});

			next if !defined $n && $!{EAGAIN};

			if (!$n || answer($c, \@later) eq 'close') {
				delete $conns{fileno($s)};
				$select->remove($s);
				close($s);
			}
		}

		while (@later && $later[0][0] <= time()) {
			my ($due, $c) = @{shift @later};
			reply($c);
		}
	}

	POSIX::_exit(0);
}

sub name {
	my ($c) = @_;

	my $sa = getsockname($c) or return '';

	return inet_ntop(AF_INET6, (unpack_sockaddr_in6($sa))[1])
		if sockaddr_family($sa) == AF_INET6;

	return Socket::inet_ntoa((unpack_sockaddr_in($sa))[1]);
}

sub answer {
	my ($c, $later) = @_;

	if ($c->{in} =~ s/^PING//) {
		$c->{echo} = 1;
		syswrite($c->{s}, "$c->{name}\n");
	}

	if ($c->{echo}) {
		syswrite($c->{s}, $c->{in}) if length $c->{in};
		$c->{in} = '';
		return '';
	}

	while ($c->{in} =~ s/^\w+ (\S+) .*?\r\n\r\n//s) {
		my $uri = $1;

		return 'close' if $uri eq '/close';
		next if $uri eq '/stall';

		if ($uri =~ m!^/slow\?(\d+)$!) {
			@$later = sort { $a->[0] <=> $b->[0] }
				@$later, [ time() + $1 / 1000, $c ];
			next;
		}

		reply($c);
	}

	return '';
}

sub reply {
	my ($c) = @_;

	return unless defined fileno($c->{s});

	syswrite($c->{s}, "HTTP/1.1 200 OK\r\nContent-Length: "
		. length($c->{name}) . "\r\n\r\n$c->{name}");
}

###############################################################################

# the body of a 200, else the status and the reason; 0: no answer

sub get {
	my ($num, $host, %extra) = @_;

	my $uri = $extra{uri} || '/';

	my $s = IO::Socket::INET->new(Proto => 'tcp',
		PeerAddr => '127.0.0.1:' . Test::Nginx::port($num)) or return 0;

	$s->syswrite("GET $uri HTTP/1.1\r\nHost: $host\r\n"
		. "Connection: close\r\n\r\n");

	my $buf = '';
	my $until = time() + ($extra{timeout} || 8);
	my $select = IO::Select->new($s);

	while (1) {
		my $left = $until - time();
		return 0 if $left <= 0;

		# a signal is no failure

		next unless $select->can_read($left);
		sysread($s, $buf, 65536, length $buf) or last;
	}

	return $1 if $buf =~ m!^HTTP/1.1 200 .*?\r\n\r\n(.*)!s;

	return 0 unless $buf =~ m!^HTTP/1.1 (\d+)!;

	my $status = $1;

	return $buf =~ /^x-egress-reason: (\S+)/mi ? "$status $1" : $status;
}

# processes that ask, one request after the other

sub load {
	my ($t, %extra) = @_;

	my $dir = $t->testdir();
	my $n = ++$t->{loads};
	my @pids;

	foreach my $i (1 .. $extra{clients} || 1) {
		my $pid = fork();
		die "can't fork: $!\n" unless defined $pid;

		if ($pid == 0) {
			$t->{child} = 1;
			ask($dir, "load$n.$i", $i, %extra);
			POSIX::_exit(0);
		}

		push @pids, $pid;
	}

	return { t => $t, n => $n, pids => \@pids };
}

sub ask {
	my ($dir, $name, $turn, %extra) = @_;

	my $stop = 0;
	my $parent = getppid();
	my (%got, $max);

	local $SIG{PIPE} = 'IGNORE';

	# what was begun is not given up

	POSIX::sigaction(POSIX::SIGTERM, POSIX::SigAction->new(
		sub { $stop = 1 }, POSIX::SigSet->new(), POSIX::SA_RESTART));

	$max = 0;

	while (!$stop && getppid() == $parent) {
		my $host = $extra{hosts}[$turn++ % @{$extra{hosts}}];
		my $start = time();
		my $got = get($extra{port}, $host, %extra);
		my $time = time() - $start;

		$max = $time if $time > $max;
		$got{"$host $got"}++;

		sleep $extra{pause} if $extra{pause};
	}

	open my $fh, '>', "$dir/$name" or return;
	print $fh "max $max\n", map { "$got{$_} $_\n" } keys %got;
	close($fh);
}

# { "host" => { got => how many times }, failed => n, all => n, max => s }

sub unload {
	my ($load) = @_;

	my $r = { failed => 0, all => 0, max => 0, why => '' };
	my $i = 0;

	kill 'TERM', @{$load->{pids}};

	foreach my $pid (@{$load->{pids}}) {
		waitpid($pid, 0);

		my $text = $load->{t}->read_file("load$load->{n}." . ++$i);

		$r->{max} = $1 if $text =~ /^max (\S+)/ && $1 > $r->{max};

		while ($text =~ /^(\d+) (\S+) (.*)$/mg) {
			my ($n, $host, $got) = ($1, $2, $3);

			$r->{$host}{$got} += $n;
			$r->{all} += $n;

			if ($got !~ /[.:]/) {
				$r->{failed} += $n;
				$r->{why} .= "$n times $host: $got\n";
			}
		}
	}

	return $r;
}

# pids of nginx's workers

sub workers {
	my ($t) = @_;

	my @pids;

	foreach my $file (glob '/proc/[0-9]*/stat') {
		open my $fh, '<', $file or next;
		my $stat = <$fh> // '';
		close($fh);

		push @pids, $1
			if $stat =~ /^(\d+) \(.*\) (\S) (\d+) /
				&& $3 == $t->{pid} && $2 ne 'Z';
	}

	return @pids;
}

###############################################################################

1;

###############################################################################
