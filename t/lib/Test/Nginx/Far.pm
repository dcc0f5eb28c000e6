package Test::Nginx::Far;

# (C) 2026 Egress Gateway authors

# HTTP/1.1 servers that do what a test says, wrong things included, in one
# process:
#
#   use Test::Nginx::Far;
#
#   Test::Nginx::Far::start($t, 8081, 'tls:8082', '127.0.1.1:8081',
#       '[::1]:8081', 'unix:a.sock');
#   Test::Nginx::Far::set($t, 8081, 'answer 503 times=2');
#   ...
#   is(Test::Nginx::Far::requests($t, 8081), 3, 'two more tries');
#
# A server has lines, of which the first that has not been used up holds; when
# set() returns they do.  For a connection:
#
#   refuse                    does not listen
#   full                      listens, and what connects gets no SYN,ACK
#   accept reset|close|stall [times=n]
#   hangup                    closes, once, those that have nothing to do
#
# For a request; "times" as often, then the next line:
#
#   answer [status] [times=n] [delay=ms] [size=bytes] [pause=ms] [close]
#          [drop] [header=name:value]
#                             pause: in the middle of the body; close: says
#                             so; drop: closes, and has not said so
#   reset|cut head|body|part [times=n] [delay=ms]
#                             head: when the head is there, body: when all of
#                             it is, part: in the middle of the answer; cut:
#                             with FIN
#   stall [times=n]           no answer
#
# Without a line: 200.  The body is "<name> <method> <uri> <length>;", of the
# request.
#
# What happens is in far.log, a line each:
#
#   1764000000.123 8081 open 4 2            connection 4, 2 are open
#   1764000000.124 8081 head 4 1 GET /a     1 request is under way
#   1764000000.125 8081 done 4 0 5          5 bytes of body
#   1764000000.126 8081 end 4 1             closed, 1 is open
#
# clear() forgets what was until now.
#
# And the clients' side, for several requests at a time:
#
#   my $s = Test::Nginx::Far::ask($port, "GET / HTTP/1.0\r\n\r\n");
#   my $answer = Test::Nginx::Far::answer($s);

use warnings;
use strict;

use Errno qw/ EAGAIN EINTR EWOULDBLOCK /;
use Fcntl qw/ O_APPEND O_CREAT O_WRONLY /;
use IO::Select;
use IO::Socket::INET;
use IO::Socket::IP;
use IO::Socket::UNIX;
use POSIX qw/ :sys_wait_h /;
use Socket qw/ SOL_SOCKET SO_LINGER SOCK_STREAM SOMAXCONN /;
use Time::HiRes qw/ sleep time /;

use Test::Nginx qw//;

###############################################################################

# the test's side

sub dir {
	my ($t) = @_;

	return $t->testdir() . '/far';
}

sub start {
	my ($t, @names) = @_;

	my $dir = dir($t);
	mkdir($dir);

	if (grep { /^tls:/ } @names) {
		$t->ca('far-ca') unless -f $t->testdir() . '/far-ca.crt';
		$t->cert('far-ca', 'far', join ',', map { "DNS:$_" }
			@{$t->{far_hosts} || [ 'localhost', '*.example.com' ]})
			unless -f $t->testdir() . '/far.crt';
	}

	write_lines($t, $_, 0) foreach @names;

	$t->run_daemon(\&serve, $t->testdir(), @names);

	$t->{far_serials} = { map { $_ => 0 } @names };
	$t->{far_pid} = $t->{daemons}[-1];
	$t->{far_log} = 0;

	wait_seen($t, $_) foreach @names;

	return $t;
}

# the lines of a server from now on

sub set {
	my ($t, $name, @lines) = @_;

	die "no far side $name\n" unless defined $t->{far_serials}{$name};

	parse($_) foreach @lines;
	write_lines($t, $name, ++$t->{far_serials}{$name}, @lines);

	return wait_seen($t, $name);
}

sub write_lines {
	my ($t, $name, $version, @lines) = @_;

	my $file = dir($t) . '/' . file($name);

	open my $fh, '>', "$file.new" or die "can't create $file.new: $!\n";
	print $fh map { "$_\n" } $version, @lines;
	close($fh) or die "can't write $file.new: $!\n";

	rename("$file.new", $file) or die "can't rename $file.new: $!\n";
}

sub wait_seen {
	my ($t, $name) = @_;

	my $seen = 'far/' . file($name) . '.seen';

	for (1 .. 1000) {
		return $t if $t->read_file($seen) eq $t->{far_serials}{$name};
		last if waitpid($t->{far_pid}, WNOHANG) == $t->{far_pid};
		sleep 0.01;
	}

	die "far side does not serve $name\n" . $t->read_file('far.err');
}

# where the log of a test's part begins

sub clear {
	my ($t) = @_;

	$t->{far_log} = length $t->read_file('far.log');

	return $t;
}

# lines since then: of a server, or of all

sub lines {
	my ($t, $name, $what) = @_;

	$name = defined $name ? quotemeta($name) : '\S+';

	return grep { /^\S+ $name $what / }
		split /\n/, substr($t->read_file('far.log'), $t->{far_log});
}

sub connections {
	my ($t, $name) = @_;

	return scalar lines($t, $name, 'open');
}

# heads that came; with a pattern, those whose method and URI match it

sub requests {
	my ($t, $name, $pattern) = @_;

	return scalar grep { !$pattern || /$pattern/ }
		map { s/^\S+ \S+ \S+ \S+ \S+ //r } lines($t, $name, 'head');
}

# most requests, or connections, at a time

sub most {
	my ($t, $name, $what) = @_;

	my $most = 0;

	foreach (lines($t, $name, $what || 'head')) {
		my $n = (split)[4];
		$most = $n if $n > $most;
	}

	return $most;
}

# waits until a condition holds, five seconds at most

sub until_true {
	my ($code, $seconds) = @_;

	for (1 .. 50 * ($seconds || 5)) {
		my $v = $code->();
		return $v if $v;
		sleep 0.02;
	}

	return 0;
}

sub stop {
	my ($t) = @_;

	my $pid = delete $t->{far_pid} or return $t;

	kill 'TERM', $pid;
	waitpid($pid, 0);

	$t->{daemons} = [ grep { $_ != $pid } @{$t->{daemons}} ];

	return $t;
}

# sends a request; port as in Test::Nginx

sub ask {
	my ($port, $request) = @_;

	my $s = IO::Socket::INET->new(
		Proto => 'tcp',
		PeerAddr => '127.0.0.1:' . Test::Nginx::port($port)
	) or die "can't connect: $!\n";

	local $SIG{PIPE} = 'IGNORE';

	$s->autoflush(1);
	$s->print($request);

	return $s;
}

# all that comes until the end, or in so many seconds

sub answer {
	my ($s, $seconds) = @_;

	my $until = time() + ($seconds || 8);
	my $select = IO::Select->new($s);
	my $buf = '';

	while ((my $left = $until - time()) > 0) {
		next unless $select->can_read($left);

		my $n = $s->sysread($buf, 65536, length $buf);
		last unless $n;
	}

	return $buf;
}

###############################################################################

# what both sides know

sub file {
	my ($name) = @_;

	return $name =~ s/[^\w.-]/_/gr;
}

# dies at what it does not know: a test should not pass because of a typo

sub parse {
	my ($line) = @_;

	my ($what, @args) = split ' ', $line;

	my $r = { what => $what, line => $line };

	foreach my $arg (@args) {
		if ($arg =~ /^(times|delay|size|pause)=(\d+)$/) {
			$r->{$1} = $2;

		} elsif ($arg =~ /^header=([\w-]+):(.*)$/) {
			push @{$r->{headers}}, "$1: $2";

		} elsif ($what eq 'answer' && $arg =~ /^\d{3}$/) {
			$r->{status} = $arg;

		} elsif ($what eq 'answer' && $arg =~ /^(close|drop)$/) {
			$r->{$1} = 1;

		} elsif ($what =~ /^(reset|cut)$/ && $arg =~ /^(head|body|part)$/) {
			$r->{at} = $1;

		} elsif ($what eq 'accept' && $arg =~ /^(reset|close|stall)$/) {
			$r->{how} = $1;

		} else {
			die "far side line \"$line\"\n";
		}
	}

	my $ok = $what =~ /^(answer|stall|refuse|full|hangup)$/
		|| $what =~ /^(reset|cut)$/ && $r->{at}
		|| $what eq 'accept' && $r->{how};

	die "far side line \"$line\"\n" unless $ok;

	return $r;
}

###############################################################################

# the server's side; under run_daemon() the test is the first argument

my (%servers, %conns, $log, $dir, $select, $last);

sub serve {
	shift if ref $_[0];

	my $testdir;
	($testdir, my @names) = @_;

	$SIG{PIPE} = 'IGNORE';
	$SIG{TERM} = sub { POSIX::_exit(0) };

	open STDERR, '>', "$testdir/far.err";
	sysopen $log, "$testdir/far.log", O_WRONLY | O_APPEND | O_CREAT
		or die "can't open far.log: $!\n";

	$dir = "$testdir/far";
	$select = IO::Select->new();
	$last = 0;

	require IO::Socket::SSL if grep { /^tls:/ } @names;

	foreach my $name (@names) {
		$servers{$name} = { name => $name, dir => $testdir, open => 0,
			busy => 0, version => -1, filling => [] };
	}

	while (1) {
		look($_) foreach values %servers;

		my @new;

		foreach my $fh ($select->can_read(next_timer())) {
			my $c = $conns{fileno($fh)};
			$c ? readable($c) : push @new, $fh;
		}

		# who closed one before a new one came is not counted twice

		foreach my $fh (@new ? $select->can_read(0) : ()) {
			my $c = $conns{fileno($fh)};
			readable($c) if $c;
		}

		accepted($_) foreach map {
			my $fh = $_;
			grep { ($_->{listen} // 0) == $fh } values %servers;
		} @new;

		timers();
	}
}

# has the test said something else

sub look {
	my ($server) = @_;

	my $file = "$dir/" . file($server->{name});

	open my $fh, '<', $file or return;
	my ($version, @lines) = <$fh>;
	close($fh);

	chomp($version, @lines);

	return if $version eq $server->{version};

	$server->{version} = $version;
	$server->{lines} = [ map { parse($_) } @lines ];

	my ($mode) = map { $_->{what} }
		grep { $_->{what} =~ /^(refuse|full)$/ } @{$server->{lines}};

	listen_on($server, $mode // 'listen');

	if (grep { $_->{what} eq 'hangup' } @{$server->{lines}}) {
		finish($_) foreach grep {
			$_->{server} == $server && !$_->{busy}
		} values %conns;
	}

	open $fh, '>', "$file.seen.new";
	print $fh $version;
	close($fh);
	rename("$file.seen.new", "$file.seen");
}

sub listen_on {
	my ($server, $mode) = @_;

	return if ($server->{mode} // '') eq $mode;

	if ($server->{listen}) {
		$select->remove($server->{listen});
		close($server->{listen});
		$server->{listen} = undef;
	}

	close($_) foreach @{$server->{filling}};
	$server->{filling} = [];
	$server->{mode} = $mode;

	return if $mode eq 'refuse';

	my $backlog = $mode eq 'full' ? 1 : SOMAXCONN;

	for (1 .. 100) {
		$server->{listen} = listener($server, $backlog) and last;
		sleep 0.05;
	}

	die "can't listen on $server->{name}: $!\n" unless $server->{listen};

	if ($mode eq 'listen') {
		$server->{listen}->blocking(0);
		$select->add($server->{listen});
		return;
	}

	# what nobody accepts; one more than the backlog is let in

	for (1 .. 4) {
		my $s = IO::Socket::IP->new(
			PeerHost => $server->{address},
			PeerPort => $server->{port},
			Type => SOCK_STREAM,
			Blocking => 0
		);
		push @{$server->{filling}}, $s if $s;
		sleep 0.02;
	}
}

sub listener {
	my ($server, $backlog) = @_;

	my $name = $server->{name};

	if ($name =~ /^unix:(.+)$/) {
		unlink("$server->{dir}/$1");

		my $s = IO::Socket::UNIX->new(
			Type => SOCK_STREAM,
			Local => "$server->{dir}/$1",
			Listen => $backlog
		);

		chmod 0666, "$server->{dir}/$1";

		return $s;
	}

	$server->{tls} = ($name =~ s/^tls://);

	my ($address, $num) = $name =~ /^(?:\[?([\d.:a-f]+?)\]?:)?(80\d\d)$/
		or die "far side \"$name\"\n";

	$server->{address} = $address // '127.0.0.1';
	$server->{port} = Test::Nginx::port($num);

	return IO::Socket::IP->new(
		LocalHost => $server->{address},
		LocalPort => $server->{port},
		Type => SOCK_STREAM,
		Listen => $backlog,
		ReuseAddr => 1
	);
}

# the line that holds, one time less

sub line {
	my ($server, $accept) = @_;

	foreach my $line (@{$server->{lines}}) {
		next if $line->{what} =~ /^(refuse|full|hangup)$/;
		next if ($line->{what} eq 'accept') != $accept;
		next if defined $line->{times} && $line->{times} == 0;

		$line->{times}-- if defined $line->{times};
		return $line;
	}

	return $accept ? undef : { what => 'answer' };
}

sub say_log {
	my ($c, $what, $text) = @_;

	syswrite($log, sprintf("%.3f %s %s %d %s\n", time(), $c->{server}{name},
		$what, $c->{n}, $text));
}

sub accepted {
	my ($server) = @_;

	my $s = $server->{listen}->accept() or return;
	my $line = line($server, 1);
	my $c = { server => $server, s => $s, n => ++$last, in => '' };

	$server->{open}++;
	say_log($c, 'open', $server->{open});

	$s->blocking(0);
	$conns{fileno($s)} = $c;
	$c->{fd} = fileno($s);

	if ($line && $line->{how} ne 'stall') {
		return finish($c, $line->{how} eq 'reset');
	}

	# a stalled one is closed when the gateway does

	$c->{stalled} = 1 if $line;
	$c->{handshake} = 1 if $server->{tls} && !$line;

	$select->add($s);
}

sub finish {
	my ($c, $reset) = @_;

	my $s = $c->{s};

	return if $c->{finished}++;

	setsockopt($s, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0)) if $reset;

	$select->remove($s);
	delete $conns{$c->{fd}};

	$c->{server}{busy}-- if $c->{busy};
	$c->{server}{open}--;
	say_log($c, 'end', $c->{server}{open});

	# a handshake that failed leaves a plain socket

	if ($c->{ssl} && $s->isa('IO::Socket::SSL')) {
		$s->close(SSL_no_shutdown => $reset ? 1 : 0,
			SSL_fast_shutdown => 1);
	} else {
		close($s);
	}
}

sub readable {
	my ($c) = @_;

	return handshake($c) if $c->{handshake};

	while (1) {
		my $n = $c->{s}->sysread($c->{in}, 65536, length $c->{in});

		if (!defined $n) {
			return finish($c) unless $! == EAGAIN || $! == EINTR
				|| $! == EWOULDBLOCK;
			last;
		}

		return finish($c) if $n == 0;

		$c->{in} = '' if $c->{stalled};
	}

	consume($c);
}

sub handshake {
	my ($c) = @_;

	if (!$c->{ssl}) {
		my $d = $c->{server}{dir};

		IO::Socket::SSL->start_SSL($c->{s},
			SSL_server => 1,
			SSL_startHandshake => 0,
			SSL_cert_file => "$d/far.crt",
			SSL_key_file => "$d/far.key"
		) or return finish($c, 1);

		$c->{s}->blocking(0);
		$c->{ssl} = 1;
	}

	if ($c->{s}->accept_SSL()) {
		$c->{handshake} = 0;
		$c->{sni} = $c->{s}->get_servername();
		say_log($c, 'sni', 0 . ' ' . ($c->{sni} // '-'));
		return readable($c);
	}

	no warnings 'once';

	return if $IO::Socket::SSL::SSL_ERROR
		== IO::Socket::SSL::SSL_WANT_READ()
		|| $IO::Socket::SSL::SSL_ERROR
		== IO::Socket::SSL::SSL_WANT_WRITE();

	finish($c, 1);
}

sub consume {
	my ($c) = @_;

	return if $c->{finished} || $c->{line} && $c->{answering};

	head($c) or return unless $c->{line};

	return if $c->{finished} || $c->{answering} || !body($c);

	my $line = $c->{line};

	say_log($c, 'done', "$c->{server}{busy} $c->{length}");

	$c->{answering} = 1;
	$c->{at} = time() + ($line->{delay} || 0) / 1000;
}

sub head {
	my ($c) = @_;

	$c->{in} =~ s/^(\S+) (\S+) (HTTP\/1\.\d)\r\n(.*?\r\n)?\r\n//s
		or return 0;

	($c->{method}, $c->{uri}, my $version, my $headers) = ($1, $2, $3, $4);

	my %h = map { /^([^:]+):\s*(.*)$/ ? (lc($1), $2) : () }
		split /\r\n/, $headers // '';

	$c->{keep} = $version eq 'HTTP/1.1'
		&& lc($h{connection} // '') ne 'close';
	$c->{chunked} = lc($h{'transfer-encoding'} // '') eq 'chunked';
	$c->{left} = $h{'content-length'} // 0;
	$c->{length} = 0;
	$c->{line} = line($c->{server}, 0);

	$c->{busy} = 1;
	$c->{server}{busy}++;

	say_log($c, 'head', "$c->{server}{busy} $c->{method} $c->{uri} "
		. ($h{host} // '-'));

	my $line = $c->{line};

	if ($line->{what} =~ /^(reset|cut)$/ && $line->{at} eq 'head') {
		finish($c, $line->{what} eq 'reset');
		return 0;
	}

	return 1;
}

# has all of it come

sub body {
	my ($c) = @_;

	if (!$c->{chunked}) {
		my $n = length $c->{in};
		$n = $c->{left} if $n > $c->{left};

		substr($c->{in}, 0, $n, '');
		$c->{left} -= $n;
		$c->{length} += $n;

		return $c->{left} == 0;
	}

	while ($c->{in} =~ /^([0-9a-fA-F]+)\r\n/) {
		my ($n, $size) = (hex($1), length($1) + 2);

		return 0 if length $c->{in} < $size + $n + 2;

		substr($c->{in}, 0, $size + $n + 2, '');
		$c->{length} += $n;

		return 1 if $n == 0;
	}

	return 0;
}

sub next_timer {
	my $wait = 0.02;
	my $now = time();

	foreach my $c (values %conns) {
		next unless defined $c->{at};
		my $left = $c->{at} - $now;
		$left = 0 if $left < 0;
		$wait = $left if $left < $wait;
	}

	return $wait;
}

sub timers {
	my $now = time();

	foreach my $c (values %conns) {
		next unless defined $c->{at} && $c->{at} <= $now;
		delete $c->{at};
		step($c);
	}
}

sub step {
	my ($c) = @_;

	my $line = $c->{line};

	return if $line->{what} eq 'stall';

	if ($line->{what} =~ /^(reset|cut)$/ && $line->{at} eq 'body') {
		return finish($c, $line->{what} eq 'reset');
	}

	if (!defined $c->{out}) {
		$c->{out} = reply($c);

		my $pause = $line->{pause} || ($line->{at} ? 50 : 0);

		if ($pause) {
			my $half = index($c->{out}, "\r\n\r\n") + 4;
			$half += int((length($c->{out}) - $half) / 2);

			output($c, substr($c->{out}, 0, $half, ''));
			$c->{at} = time() + $pause / 1000;
			return;
		}
	}

	return finish($c, $line->{what} eq 'reset') if $line->{at};

	output($c, $c->{out});

	# what is answered is over for the gateway as well

	$c->{server}{busy}-- if $c->{busy};
	$c->{busy} = 0;

	return if $c->{finished};

	if (!$c->{keep} || $line->{close} || $line->{drop}) {
		return finish($c);
	}

	delete @$c{qw/ out line answering /};

	consume($c) if length $c->{in};
}

# small enough for the socket's buffer, or for as long as it takes

sub output {
	my ($c, $data) = @_;

	$c->{s}->blocking(1);

	while (length $data) {
		my $n = $c->{s}->syswrite($data);

		if (!$n) {
			next if $! == EINTR;
			finish($c);
			return;
		}

		substr($data, 0, $n, '');
	}

	$c->{s}->blocking(0);
}

sub reply {
	my ($c) = @_;

	my $line = $c->{line};
	my $status = $line->{status} || 200;
	my $body = "$c->{server}{name} $c->{method} $c->{uri} $c->{length};";

	$body = 'x' x $line->{size} if defined $line->{size};

	my $close = !$c->{keep} || $line->{close};

	my $head = join "\r\n", "HTTP/1.1 $status Far",
		'X-Far: ' . $c->{server}{name},
		'Connection: ' . ($close ? 'close' : 'keep-alive'),
		$status == 204 || $status == 304 ? ()
			: 'Content-Length: ' . length($body),
		@{$line->{headers} || []}, '', '';

	$body = '' if $c->{method} eq 'HEAD' || $status == 204 || $status == 304;

	return $head . $body;
}

###############################################################################

1;

###############################################################################
