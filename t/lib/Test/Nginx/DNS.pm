package Test::Nginx::DNS;

# (C) 2026 Egress Gateway authors

# A DNS server that does what a test says, wrong things included, over UDP
# and TCP of 127.0.0.1:
#
#   use Test::Nginx::DNS;
#
#   Test::Nginx::DNS::set($t, 'a.example.com', 'A 127.0.1.1 ttl=5');
#   Test::Nginx::DNS::start($t, 8053);
#   ...
#   Test::Nginx::DNS::set($t, 'a.example.com', 'rcode SERVFAIL');
#   is(Test::Nginx::DNS::queries($t, 'a.example.com', 'A'), 1, 'once');
#   Test::Nginx::DNS::stop($t);
#
# A name has lines, which are read anew at each query:
#
#   A address [ttl=n]         ttl is 1 if not given
#   A* address n=n [ttl=n]    n consecutive addresses, the first is this one
#   AAAA address [ttl=n]
#   CNAME name [ttl=n]        several are a chain; the addresses, if there
#                             are any, belong to the last one, otherwise the
#                             resolver has to ask for it
#   rcode name                SERVFAIL, NXDOMAIN, REFUSED, NOTIMP, FORMERR or
#                             NOERROR, and no records
#   rcode6 name               the same, to AAAA only
#   rotate                    the A records, by one at each answer
#   delay ms                  others don't wait for it
#   drop                      no answer
#   truncate                  TC over UDP, whatever the size
#   garbage [n]               random bytes, after n bytes that are right:
#                             2 leave the ident, 12 leave the header
#   short [n]                 ends in the middle of its records, or n bytes
#                             early
#   wrongid                   an ident that nobody asked with
#   loop                      CNAMEs that are pointers to themselves
#
# A name without lines is there and has no records, a name never set is not:
# NXDOMAIN.  Answers over 512 bytes get TC over UDP, over 65535 over TCP.
#
# The queries are in dns.log, a line each, as they arrive:
#
#   1764000000.123 udp A a.example.com

use warnings;
use strict;

use Fcntl qw/ O_APPEND O_CREAT O_WRONLY /;
use IO::Select;
use IO::Socket::INET;
use POSIX qw/ :sys_wait_h /;
use Socket qw/ AF_INET AF_INET6 inet_pton /;
use Time::HiRes qw/ sleep time /;

use Test::Nginx qw//;

###############################################################################

my %types = (1 => 'A', 5 => 'CNAME', 12 => 'PTR', 16 => 'TXT', 28 => 'AAAA',
	33 => 'SRV', 65 => 'HTTPS');

my %rcodes = (NOERROR => 0, FORMERR => 1, SERVFAIL => 2, NXDOMAIN => 3,
	NOTIMP => 4, REFUSED => 5);

my $ready = '_pid';

###############################################################################

# the test's side

sub dir {
	my ($t) = @_;

	return $t->testdir() . '/dns';
}

# starts a server on port($num), ready when this returns; servers on several
# ports have the same names and one log

sub start {
	my ($t, $num) = @_;

	my $port = Test::Nginx::port($num //= 8053);

	die "a DNS server on port $num is there\n" if $t->{dns_pids}{$num};

	mkdir(dir($t));

	$t->run_daemon(\&serve, $port, dir($t));

	my $pid = $t->{dns_pids}{$num} = $t->{daemons}[-1];

	for (1 .. 250) {
		my $r = ask($port, $ready, 'A', timeout => 0.1);

		# not another one that is still there

		return $t if defined $r && substr($r, -4) eq pack('N', $pid);

		if (waitpid($pid, WNOHANG) == $pid) {
			forget($t, $num);
			last;
		}

		sleep 0.02;
	}

	die "DNS server did not start on port $num\n";
}

# one server, or all; connections to it get reset, what was to be answered
# later is not

sub stop {
	my ($t, @nums) = @_;

	@nums = keys %{$t->{dns_pids}} unless @nums;

	foreach my $num (@nums) {
		my $pid = $t->{dns_pids}{$num} or next;

		kill 'TERM', $pid;

		for (1 .. 100) {
			last if waitpid($pid, WNOHANG);
			kill 'KILL', $pid if $_ == 90;
			sleep 0.02;
		}

		forget($t, $num);
	}

	return $t;
}

sub forget {
	my ($t, $num) = @_;

	my $pid = delete $t->{dns_pids}{$num};

	$t->{daemons} = [ grep { $_ != $pid } @{$t->{daemons}} ];
}

# a name's lines from now on

my $written = 0;

sub set {
	my ($t, $name, @lines) = @_;

	$name = lc $name;

	die "name $name\n" unless valid($name);
	parse(@lines);

	my $dir = dir($t);
	my $new = "$dir/.new.$$." . $written++;

	mkdir($dir);

	open my $fh, '>', $new or die "can't create $new: $!\n";
	print $fh map { "$_\n" } @lines;
	close($fh) or die "can't write $new: $!\n";

	rename($new, "$dir/$name") or die "can't rename $new: $!\n";

	return $t;
}

# how many queries there were; of all types and protocols if not given

sub queries {
	my ($t, $name, $type, $proto) = @_;

	$name = lc $name;
	$type = defined $type ? quotemeta($type) : '\S+';
	$proto = defined $proto ? quotemeta($proto) : '\S+';

	my @n = $t->read_file('dns.log')
		=~ /^\S+ $proto $type \Q$name\E$/mg;

	return scalar @n;
}

# a client: the answer as it came, undef if none did; a bare port

sub ask {
	my ($port, $name, $type, %extra) = @_;

	my $proto = $extra{proto} || 'udp';
	my $timeout = $extra{timeout} || 2;

	my $s = IO::Socket::INET->new(Proto => $proto,
		PeerAddr => "127.0.0.1:$port", Timeout => $timeout)
		or return undef;

	my $query = $extra{query} // query($name, $type, $extra{id});

	$s->syswrite($proto eq 'tcp' ? pack('n/a*', $query) : $query)
		or return undef;

	my $until = time() + $timeout;
	my $select = IO::Select->new($s);
	my $buf = '';

	while (1) {
		my $left = $until - time();

		return undef if $left <= 0 || !$select->can_read($left);

		my $n = $s->sysread($buf, 65537, length $buf);

		return undef unless defined $n;
		return $buf if $proto eq 'udp';
		return substr($buf, 2) if length $buf >= 2
			&& length $buf >= 2 + unpack('n', $buf);
		return undef unless $n;
	}
}

sub query {
	my ($name, $type, $id) = @_;

	my %number = reverse %types;

	return pack('n6', $id // 0x1234, 0x0100, 1, 0, 0, 0) . wire($name)
		. pack('nn', $number{$type} || $type, 1);
}

###############################################################################

# what both sides know

sub valid {
	my ($name) = @_;

	return $name =~ /^[a-z0-9_*-][a-z0-9_.*-]*$/ && length $name < 254;
}

sub wire {
	my ($name) = @_;

	my @labels = split /\./, $name;

	die "label in $name\n" if grep { $_ eq '' || length > 63 } @labels;

	return join('', map { pack('C/a*', $_) } @labels) . "\0";
}

# dies at what it does not know: a test should not pass because of a typo

sub parse {
	my @lines = @_;

	my $r = { A => [], AAAA => [], CNAME => [] };

	foreach my $line (@lines) {
		my ($what, @args) = split ' ', $line;

		next unless defined $what;

		my %opt = map { /^(ttl|n)=(\d+)$/ ? ($1, $2) : () } @args;
		@args = grep { !/^(ttl|n)=\d+$/ } @args;

		my $ttl = $opt{ttl} // 1;
		my $arg = shift @args;
		my $ok = !@args;

		if ($what =~ /^(drop|truncate|wrongid|loop|rotate)$/) {
			$ok &&= !defined $arg && !%opt;
			$r->{$what} = 1;

		} elsif ($what eq 'garbage' || $what eq 'short') {
			$r->{$what} = $arg // 0;
			$ok &&= $r->{$what} =~ /^\d+$/ && !%opt;

		} elsif (!defined $arg) {
			$ok = 0;

		} elsif ($what eq 'delay') {
			$ok &&= $arg =~ /^\d+$/ && !%opt;
			$r->{delay} = $arg;

		} elsif ($what =~ /^rcode6?$/) {
			$r->{$what} = $rcodes{$arg};
			$ok &&= defined $r->{$what} && !%opt;

		} elsif ($what eq 'CNAME') {
			push @{$r->{CNAME}}, [ wire($arg), $ttl ];
			$ok &&= !exists $opt{n};

		} elsif ($what eq 'AAAA') {
			my $address = inet_pton(AF_INET6, $arg);
			push @{$r->{AAAA}}, [ $address, $ttl ];
			$ok &&= defined $address && !exists $opt{n};

		} elsif ($what eq 'A' || $what eq 'A*') {
			my $address = inet_pton(AF_INET, $arg);
			my $n = $opt{n} // 1;

			$ok &&= defined $address
				&& ($what eq 'A*') == exists $opt{n};

			if ($ok) {
				my $first = unpack('N', $address);
				push @{$r->{A}}, map {
					[ pack('N', $first + $_), $ttl ]
				} 0 .. $n - 1;
			}

		} else {
			$ok = 0;
		}

		die "DNS line \"$line\"\n" unless $ok;
	}

	return $r;
}

###############################################################################

# the server's side; under run_daemon() the test is the first argument

sub serve {
	shift if ref $_[0];

	my ($port, $dir) = @_;

	$SIG{$_} = 'DEFAULT' foreach qw/ TERM INT HUP CHLD ALRM __DIE__ /;
	$SIG{PIPE} = 'IGNORE';

	my $parent = getppid();

	leave_files();
	srand();

	my @args = (LocalAddr => '127.0.0.1', LocalPort => $port,
		Blocking => 0);

	my $udp = IO::Socket::INET->new(Proto => 'udp', @args);
	my $tcp = IO::Socket::INET->new(Proto => 'tcp', Listen => 128,
		ReuseAddr => 1, @args);

	unless ($udp && $tcp) {
		warn "DNS server, port $port: $!\n";
		POSIX::_exit(1);
	}

	my $self = {
		dir => $dir,
		turns => {},
		later => [],
		connections => {},
		read => IO::Select->new($udp, $tcp),
		write => IO::Select->new()
	};

	while (getppid() == $parent) {
		my $wait = 1;

		if (@{$self->{later}}) {
			$wait = $self->{later}[0][0] - time();
			$wait = 0 if $wait < 0;
			$wait = 1 if $wait > 1;
		}

		my ($r, $w) = IO::Select->select($self->{read}, $self->{write},
			undef, $wait);

		foreach my $s (@{$r || []}) {
			if ($s == $udp) {
				read_udp($self, $udp);

			} elsif ($s == $tcp) {
				accept_tcp($self, $tcp);

			} else {
				read_tcp($self, $s);
			}
		}

		foreach my $s (@{$w || []}) {
			write_tcp($self, $s);
		}

		while (@{$self->{later}} && $self->{later}[0][0] <= time()) {
			my ($due, $send) = @{shift @{$self->{later}}};
			$send->();
		}
	}

	POSIX::_exit(0);
}

# the test's sockets are not to stay open here when the test closes them, nor
# its output; the numbers remain taken, as perl counts what has a number

sub leave_files {
	opendir my $dh, '/proc/self/fd' or return;
	my @fds = grep { /^\d+$/ && $_ > 2 } readdir $dh;
	closedir $dh;

	open my $null, '+<', '/dev/null' or return;

	foreach my $fd (1, @fds) {
		POSIX::dup2(fileno($null), $fd) if $fd != fileno($null);
	}
}

# a name's $send at its time, in the order of time

sub later {
	my ($self, $ms, $send) = @_;

	return $send->() unless $ms;

	@{$self->{later}} = sort { $a->[0] <=> $b->[0] }
		@{$self->{later}}, [ time() + $ms / 1000, $send ];
}

sub read_udp {
	my ($self, $udp) = @_;

	while (defined(my $peer = $udp->recv(my $query, 65535))) {
		my ($answer, $delay) = answer($self, 'udp', $query);

		next unless defined $answer;

		later($self, $delay, sub { send($udp, $answer, 0, $peer) });
	}
}

sub accept_tcp {
	my ($self, $tcp) = @_;

	while (my $s = $tcp->accept()) {
		$s->blocking(0);
		$self->{connections}{$s} = { in => '', out => '' };
		$self->{read}->add($s);
	}
}

sub read_tcp {
	my ($self, $s) = @_;

	my $c = $self->{connections}{$s} or return;

	my $n = $s->sysread($c->{in}, 65536, length $c->{in});

	return if !defined $n && $!{EAGAIN};
	return close_tcp($self, $s) unless $n;

	while (length $c->{in} >= 2) {
		my $len = unpack('n', $c->{in});

		last if length $c->{in} < 2 + $len;

		my $query = substr($c->{in}, 2, $len);
		substr($c->{in}, 0, 2 + $len) = '';

		my ($answer, $delay) = answer($self, 'tcp', $query);

		next unless defined $answer;

		later($self, $delay, sub {
			return if $c->{closed};
			$c->{out} .= pack('n/a*', $answer);
			write_tcp($self, $s);
		});
	}
}

sub write_tcp {
	my ($self, $s) = @_;

	my $c = $self->{connections}{$s} or return;

	if (length $c->{out}) {
		my $n = $s->syswrite($c->{out});

		return close_tcp($self, $s) if !defined $n && !$!{EAGAIN};

		substr($c->{out}, 0, $n || 0) = '';
	}

	if (length $c->{out}) {
		$self->{write}->add($s);

	} else {
		$self->{write}->remove($s);
	}
}

sub close_tcp {
	my ($self, $s) = @_;

	$self->{read}->remove($s);
	$self->{write}->remove($s);

	my $c = delete $self->{connections}{$s};
	$c->{closed} = 1;

	close($s);
}

###############################################################################

# the bytes to send, or undef, and in how many milliseconds

sub answer {
	my ($self, $proto, $query) = @_;

	return undef if length $query < 12;

	my ($id, $flags, $questions) = unpack('nnn', $query);

	return undef if $flags & 0x8000;

	# QR, RD as it was, RA

	my $m = { id => $id, flags => 0x8080 | $flags & 0x0100, an => [],
		question => '', max => $proto eq 'udp' ? 512 : 65535 };

	my ($name, $type, $len) = question($query);

	unless (defined $name && $questions == 1) {
		record($self, $proto, 'BAD', '-');
		return message($m, $rcodes{FORMERR});
	}

	$m->{question} = substr($query, 12, $len);

	if ($name eq $ready) {
		add($m, "\xc0\x0c", 1, 0, pack('N', $$));
		return message($m, 0);
	}

	record($self, $proto, $type, $name);

	return message($m, $rcodes{NOTIMP}) if $flags & 0x7800;

	my $r = lines($self, $name);

	return message($m, $rcodes{NXDOMAIN}) unless $r;
	return undef if $r->{drop};

	my $rcode = $r->{rcode};
	$rcode = $r->{rcode6} if $type eq 'AAAA' && defined $r->{rcode6};

	if ($r->{loop}) {
		loop($m);

	} elsif (!defined $rcode) {
		records($self, $m, $name, $type, $r);
	}

	$m->{flags} |= 0x0200 if $r->{truncate} && $proto eq 'udp';

	my $answer = message($m, $rcode // 0);

	if ($r->{rotate} && $type eq 'A' && !($m->{flags} & 0x0200)) {
		$self->{turns}{$name}++;
	}

	return distort($m, $answer, $r), $r->{delay};
}

# the name in lower case, the type and the length of the question

sub question {
	my ($query) = @_;

	my $i = 12;
	my @labels;

	while (1) {
		return if $i >= length $query;

		my $n = ord(substr($query, $i++, 1));

		last if $n == 0;
		return if $n > 63 || $i + $n > length $query;

		push @labels, lc substr($query, $i, $n);
		$i += $n;
	}

	return if $i + 4 > length $query;

	my $type = unpack('n', substr($query, $i, 2));

	# one line, one word

	my $name = join('.', map { s/[^!-~]|[.\/]/?/gr } @labels);

	return ($name eq '' ? '.' : $name, $types{$type} || "TYPE$type",
		$i + 4 - 12);
}

# a line of the log, whole

sub record {
	my ($self, $proto, $type, $name) = @_;

	sysopen my $fh, "$self->{dir}.log", O_WRONLY | O_APPEND | O_CREAT
		or return;
	syswrite($fh, sprintf("%.3f %s %s %s\n", time(), $proto, $type, $name));
	close($fh);
}

sub lines {
	my ($self, $name) = @_;

	return undef unless valid($name);

	open my $fh, '<', "$self->{dir}/$name" or return undef;
	my @lines = <$fh>;
	close $fh;

	chomp @lines;

	my $r = eval { parse(@lines) };
	warn "$name: $@" unless $r;

	return $r || { rcode => $rcodes{SERVFAIL} };
}

sub records {
	my ($self, $m, $name, $type, $r) = @_;

	my $owner = "\xc0\x0c";
	my $pos = 12 + length $m->{question};

	foreach my $cname (@{$r->{CNAME}}) {
		my ($target, $ttl) = @$cname;

		add($m, $owner, 5, $ttl, $target);

		# where the target's name is now

		$pos += length($owner) + 10;
		$owner = $pos < 0x4000 ? pack('n', 0xc000 | $pos) : $target;
		$pos += length($target);
	}

	return unless $type eq 'A' || $type eq 'AAAA';

	my @list = @{$r->{$type}};

	if ($r->{rotate} && $type eq 'A' && @list) {
		my $n = ($self->{turns}{$name} || 0) % @list;
		push @list, splice(@list, 0, $n);
	}

	add($m, $owner, $type eq 'A' ? 1 : 28, $_->[1], $_->[0])
		foreach @list;
}

sub add {
	my ($m, $owner, $type, $ttl, $data) = @_;

	push @{$m->{an}}, $owner . pack('nnNn/a*', $type, 1, $ttl, $data);
}

# a target whose two pointers lead to one another, and an owner that is a
# pointer to itself

sub loop {
	my ($m) = @_;

	my $pos = 12 + length $m->{question};
	my $target = $pos + 12;

	add($m, "\xc0\x0c", 5, 1, pack('nn', 0xc000 | $target + 2,
		0xc000 | $target));

	$pos += 16;

	add($m, pack('n', 0xc000 | $pos), 5, 1, pack('n', 0xc000 | $pos + 12));
}

# what fits; TC if that is not all

sub message {
	my ($m, $rcode) = @_;

	my $len = 12 + length $m->{question};
	my $body = '';
	my $n = 0;

	foreach my $record (@{$m->{an}}) {
		if ($len + length($body) + length($record) > $m->{max}) {
			$m->{flags} |= 0x0200;
			last;
		}

		$body .= $record;
		$n++;
	}

	return pack('n6', $m->{id}, $m->{flags} | $rcode,
		$m->{question} eq '' ? 0 : 1, $n, 0, 0)
		. $m->{question} . $body;
}

sub distort {
	my ($m, $answer, $r) = @_;

	my $head = 12 + length $m->{question};

	if (defined $r->{short}) {

		# in the middle of a record, not between two

		my $n = length($answer) - $head;

		$n = $n ? int($n / 2) - 3 : int($head / 2);
		$n = $r->{short} if $r->{short};

		$answer = substr($answer, 0, -$n);
	}

	if (defined $r->{garbage}) {
		$answer = substr($answer, 0, $r->{garbage});
		$answer .= join('', map { chr(int(rand(256))) }
			1 .. 1 + int(rand(400)));
	}

	substr($answer, 0, 2) = pack('n', $m->{id} ^ 0x5555) if $r->{wrongid};

	return $answer;
}

###############################################################################

1;

###############################################################################
