#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for what is read on a kept TLS connection: however an answer is cut
# into records and segments, it is read to its end, without waiting, and what
# comes after it is nobody's answer.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use IO::Socket::SSL;
use Socket qw/ IPPROTO_TCP TCP_NODELAY /;
use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

use constant TCP_CORK => 3;

my $t = Test::Nginx->new()->has_daemon('openssl')
	->write_file_expand('nginx.conf', <<'EOF2');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m;

    service a {
        host      a.example.com;
        port      80 http;
        endpoint  127.0.0.1 port=%%PORT_8081%%;
        tls       simple;
        tls_trusted_certificate  ca.crt;
    }

    service old {
        host      old.example.com;
        port      80 http;
        endpoint  127.0.0.1 port=%%PORT_8081%%;
        tls       simple;
        tls_protocols  TLSv1.2;
        tls_trusted_certificate  ca.crt;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    proxy_http_version  1.1;
    proxy_set_header    Connection "";
    proxy_set_header    Host $host;
    proxy_read_timeout  3s;
    proxy_buffer_size   4k;
    proxy_buffers       4 4k;

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  80;

        location / {
            proxy_pass  http://egress;
        }

        location /off/ {
            proxy_buffering  off;
            proxy_pass       http://egress/;
        }
    }
}

EOF2

# what comes, and is the connection kept then

my @ways = (
	[ 'whole', 1 ], [ 'two', 1 ], [ 'apart', 1 ], [ 'bytes', 1 ],
	[ 'slow', 1 ], [ 'chunked', 1 ], [ 'chunk', 1 ], [ 'big', 1 ],
	[ 'record', 1 ], [ 'fit', 1 ], [ 'fits', 1 ], [ 'none', 1 ],
	[ 'end', 0 ], [ 'cut', 0 ], [ 'short', 0 ],
	[ 'more', 0 ], [ 'mores', 0 ], [ 'later', 0 ], [ 'gone', 0 ],
	[ 'notify', 0 ]
);

$t->ca('ca')->cert('ca', 's', 'DNS:*.example.com');
$t->run_daemon(\&serve, $t->testdir());
$t->wait_for_port(Test::Nginx::port(8081));
$t->run()->plan(2 * @ways * 3 + @ways + 3);

###############################################################################

foreach my $where ('/', '/off/') {
	foreach my $way (@ways) {
		try('a', $where, @$way);
	}
}

foreach my $way (@ways) {
	try('old', '/', @$way, 1);
}

# with TLSv1.2 a server may ask for a new handshake, and gets none

my ($conn) = ask('old', '/whole');
my (undef, $answer) = ask('old', '/again');
is($answer, '/again;', 'answer with a HelloRequest');

my ($then, $last) = ask('old', '/whole');
is($last, '/whole;', 'answer after a HelloRequest');

$t->stop();

my @reads = grep { /upstream timed out/ } split /\n/, $t->read_file('error.log');
is(@reads, 0, 'nothing was waited for');

###############################################################################

sub try {
	my ($service, $where, $way, $kept, $few) = @_;

	my ($conn) = ask($service, '/whole');
	my $start = time();
	my ($c, $answer) = ask($service, "$where$way");
	my $took = time() - $start;

	my $body = "/$way;" x size($way);
	$body = '' if $way eq 'none';
	$answer = substr($answer, 0, length($body)) if $way eq 'short';

	my $name = "$service $where$way";
	my $ok = ($c == $conn && $answer eq $body);

	sleep(0.2) if $way eq 'later';

	my ($next, $own) = ask($service, '/whole');

	if ($few) {
		ok($ok && $own eq '/whole;' && $kept == ($next == $conn), $name);
		diag("$c $conn $next $took") unless $ok;
		return;
	}

	ok($ok, "$name, answer")
		or diag("connection $conn, then $c; " . length($answer)
			. " bytes of " . length($body) . " in $took s");
	is($own, '/whole;', "$name, next answer");
	is($next == $conn ? 1 : 0, $kept, "$name, connection");
}

# the connection that it came by, and the body

sub ask {
	my ($service, $uri) = @_;

	my $r = Test::Nginx::http("GET $uri HTTP/1.0\r\n"
		. "Host: $service.example.com\r\n\r\n") // '';

	my ($head, $body) = split /\r\n\r\n/, $r, 2;

	return (($head // '') =~ /^X-Conn: (\d+)/m ? $1 : 0, $body // '');
}

# how often the path is in the body

sub size {
	my ($way) = @_;

	return 200000 if $way eq 'big';

	# with its head of 80 bytes one record, or nginx's buffer of 4 KB

	return int((16384 - 80) / length("/$way;")) if $way eq 'record';
	return (4096 - 80) / length("/$way;") if $way eq 'fit';
	return 2 * (4096 - 80) / length("/$way;") if $way eq 'fits';

	return 1;
}

###############################################################################

sub serve {
	my ($self, $d) = @_;

	my ($n, $parent) = (0, $$);

	my $server = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1:' . Test::Nginx::port(8081),
		Listen => 128, ReuseAddr => 1
	) or die "can't listen: $!\n";

	local $SIG{CHLD} = 'IGNORE';

	while (my $c = $server->accept()) {

		$n++;

		if (fork()) {
			close($c);
			next;
		}

		close($server);
		$SIG{ALRM} = sub { POSIX::_exit(0) };
		alarm(120);

		setsockopt($c, IPPROTO_TCP, TCP_NODELAY, 1);

		$c = IO::Socket::SSL->start_SSL($c, SSL_server => 1,
			SSL_cert_file => "$d/s.crt", SSL_key_file => "$d/s.key");

		while ($c && defined(my $uri = request($c))) {
			last unless answer($c, $n, $uri);
		}

		POSIX::_exit(0);
	}
}

sub request {
	my ($c) = @_;

	my $head = '';

	while ($head !~ /\r\n\r\n/) {
		sysread($c, $head, 4096, length($head)) or return undef;
	}

	return $head =~ m!^GET (/\S*)! ? $1 : undef;
}

# a record for each, or more if it is too long; all of them are sent at once

sub records {
	my ($c, @records) = @_;

	setsockopt($c, IPPROTO_TCP, TCP_CORK, 1);

	foreach my $record (@records) {
		while (length($record)) {
			my $n = $c->syswrite($record) or return;
			substr($record, 0, $n, '');
		}
	}

	setsockopt($c, IPPROTO_TCP, TCP_CORK, 0);
}

# a head of 80 bytes; 0: the connection is not gone on with

sub answer {
	my ($c, $n, $uri) = @_;

	my ($way) = $uri =~ m!/(\w*)$!;
	my $body = "/$way;" x size($way);
	my $length = length($body);

	my $how = $way =~ /^(end|cut)$/ ? "Connection: close"
		: $way =~ /^chunk/ ? "Transfer-Encoding: chunked"
		: "Content-Length: " . ($way eq 'short' ? 1000 : $length);

	my $head = "HTTP/1.1 200 OK\r\nX-Conn: $n\r\n$how\r\nX-Pad: ";
	$head .= '-' x (76 - length($head)) . "\r\n\r\n";

	my $stray = "HTTP/1.1 200 OK\r\nX-Conn: 99999\r\n"
		. "Content-Length: 6\r\n\r\nstray;";

	if ($way eq 'none') {
		$head =~ s/200 OK/204 No/;
		$head =~ s/Content-Length: \d+\r\n//;
		records($c, $head);

	} elsif ($way eq 'two') {
		records($c, $head, $body);

	} elsif ($way eq 'apart') {
		records($c, $head);
		sleep(0.05);
		records($c, $body);

	} elsif ($way eq 'bytes') {
		records($c, split //, "$head$body");

	} elsif ($way eq 'slow') {
		foreach my $part ("$head$body" =~ /.{1,20}/gs) {
			records($c, $part);
			sleep(0.01);
		}

	} elsif ($way eq 'chunked') {
		records($c, sprintf("%s%x\r\n", $head, $length), $body,
			"\r\n");
		sleep(0.05);
		records($c, "0\r\n\r\n");

	} elsif ($way eq 'chunk') {
		records($c, sprintf("%s%x\r\n%s\r\n", $head, $length, $body),
			"0\r\n\r\n");

	} elsif ($way eq 'again') {
		setsockopt($c, IPPROTO_TCP, TCP_CORK, 1);
		$c->syswrite("$head$body");
		Net::SSLeay::renegotiate($c->_get_ssl_object());
		Net::SSLeay::do_handshake($c->_get_ssl_object());
		setsockopt($c, IPPROTO_TCP, TCP_CORK, 0);

	} elsif ($way eq 'more') {
		records($c, "$head$body$stray");

	} elsif ($way eq 'mores') {
		records($c, "$head$body", $stray);

	} elsif ($way eq 'later') {
		records($c, "$head$body");
		sleep(0.05);
		records($c, $stray);

	} elsif ($way =~ /^(end|short|notify)$/) {
		setsockopt($c, IPPROTO_TCP, TCP_CORK, 1);
		$c->syswrite("$head$body");
		$c->close();
		return 0;

	} elsif ($way =~ /^(cut|gone)$/) {
		setsockopt($c, IPPROTO_TCP, TCP_CORK, 1);
		$c->syswrite("$head$body");
		$c->close(SSL_no_shutdown => 1);
		return 0;

	} else {
		records($c, "$head$body");
	}

	return 1;
}

###############################################################################
