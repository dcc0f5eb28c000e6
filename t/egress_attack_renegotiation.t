#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for attacks of a server on a connection that is kept: one that asks
# for another handshake (TLSv1.2) while it answers a later request does not
# get one, it could show another certificate there.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Far;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

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

        proxy_http_version  1.1;
        proxy_set_header    Connection "";

        location / { egress_service s; proxy_pass http://egress; }
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

# "r" at the start of what is typed asks for a handshake

pipe(my $in, my $typed) or die;

$t->run_daemon(sub {
	close $typed;
	open STDIN, '<&', $in;
	open STDOUT, '>', "$d/server.log";
	open STDERR, '>', "$d/server.err";
	exec('openssl', 's_server', '-tls1_2', '-no_ticket', '-no_cache',
		'-msg', '-accept', '127.0.0.1:' . port(8081),
		'-cert', "$d/server.crt", '-key', "$d/server.key") or POSIX::_exit(1);
});

close $in;

$t->run()->plan(4);

###############################################################################

my $s = ask('/one');
until_seen(qr!POST /one!);
type("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n1\n");
like(Test::Nginx::Far::answer($s), qr/ 200 .*1\n$/s, 'first request');

$s = ask('/two');
until_seen(qr!POST /two!);
is(handshakes(), 1, 'the same connection');
type("r\n");

my $r = Test::Nginx::Far::answer($s, 8) // '';
is(handshakes(), 1, 'no other handshake');
like($r, qr/ 502 /, 'who insists has not answered');

###############################################################################

# one that is not repeated over another connection

sub ask {
	my ($uri) = @_;

	return Test::Nginx::Far::ask(8080, "POST $uri HTTP/1.0\r\n"
		. "Host: s.test\r\nContent-Length: 0\r\n\r\n");
}

sub type {
	syswrite($typed, $_[0]);
}

sub until_seen {
	my ($what) = @_;

	for (1 .. 400) {
		return if $t->read_file('server.log') =~ $what;
		sleep 0.02;
	}

	die "the server has not seen $what\n";
}

sub handshakes {
	return scalar(() = $t->read_file('server.log') =~ /, ClientHello/g);
}

###############################################################################
