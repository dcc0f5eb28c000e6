#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for attacks of a server on the next request of a connection: an answer
# that nobody asked for, in a TLS record of its own right behind the one that
# fills nginx's buffer, is not given to who comes next.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use Socket qw/ IPPROTO_TCP /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

eval { require IO::Socket::SSL };
plan(skip_all => 'no IO::Socket::SSL') if $@;

plan(skip_all => 'no TCP_CORK') unless eval { Socket::TCP_CORK() };

my $t = Test::Nginx->new()->has_daemon('openssl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen  127.0.0.1:8080;
        egress  on;

        proxy_http_version       1.1;
        proxy_set_header         Connection "";
        proxy_buffer_size        4k;
        proxy_buffers            2 4k;
        proxy_busy_buffers_size  4k;

        location /buffered/ { egress_service s; proxy_pass http://egress; }

        location /unbuffered/ {
            proxy_buffering  off;
            egress_service   s;
            proxy_pass       http://egress;
        }
    }
}

egress {
    zone  1m;

    service s {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate ca.crt;
    }
}

EOF

$t->ca('ca')->cert('ca', 'server', 'DNS:s.test');

my $d = $t->testdir();

$t->run_daemon(\&server);
$t->wait_for_port(port(8081));

$t->run()->plan(10);

###############################################################################

# what fills a buffer, or several of them; one byte less has been fine

foreach my $uri (qw!
	/unbuffered/4096 /unbuffered/8192 /unbuffered/4095
	/buffered/8192 /buffered/16384
!)
{
	like(http_get("$uri/more"), qr/ 200 .*own/s, $uri);
	unlike(http_get("$uri"), qr/smuggled/, "$uri, the next request");
}

###############################################################################

# answers have as many bytes as the request says, in one segment with what
# follows

sub server {
	my $listen = IO::Socket::INET->new(
		LocalAddr => '127.0.0.1:' . port(8081),
		Listen => 16,
		ReuseAddr => 1
	) or die "can't listen: $!\n";

	local $SIG{CHLD} = 'IGNORE';

	while (my $s = $listen->accept()) {

		if (fork()) {
			close $s;
			next;
		}

		IO::Socket::SSL->start_SSL($s, SSL_server => 1,
			SSL_cert_file => "$d/server.crt",
			SSL_key_file => "$d/server.key") and answer($s);

		POSIX::_exit(0);
	}
}

sub answer {
	my ($s) = @_;

	my $in = '';

	while ($s->sysread($in, 65536, length $in)) {
		next unless $in =~ /\r\n\r\n/;

		my ($size, $more) = $in =~ m!/(\d+)(/more)?!;
		$in = '';

		my $head = "HTTP/1.1 200 OK\r\nX-Answer: own\r\nContent-Length: ";
		my $body = $size - length("$head-----\r\n\r\n");

		setsockopt($s, IPPROTO_TCP, Socket::TCP_CORK(), 1);

		$s->syswrite($head . sprintf('%05d', $body) . "\r\n\r\n"
			. 'x' x $body);

		$s->syswrite("HTTP/1.1 200 OK\r\nX-Answer: smuggled\r\n"
			. "Content-Length: 0\r\n\r\n") if $more;

		setsockopt($s, IPPROTO_TCP, Socket::TCP_CORK(), 0);
	}
}

###############################################################################
