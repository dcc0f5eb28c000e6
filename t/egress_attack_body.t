#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for requests whose body comes slowly: what has changed until it is
# there holds for the connection that was set aside for them.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Far;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')
	->expect(qr/SSL_do_handshake\(\) failed/)
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

    egress_reason_header  on;

    server {
        listen  127.0.0.1:8080;
        egress  on;

        proxy_http_version  1.1;
        proxy_set_header    Connection "";

        location /m/ { egress_service m; proxy_pass http://egress; }
        location /crl/ { egress_service crl; proxy_pass http://egress; }
    }

%%FAR%%
    server {
        listen                  127.0.0.1:8081 ssl;
        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  root.crt;
        ssl_verify_client       optional;

        access_log  %%TESTDIR%%/far.log;
        return      200 "$ssl_client_s_dn $connection\n";
    }
%%NEAR%%
}

egress {
    zone  1m;

    service m {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        max_connections 2; tls mutual; tls_certificate m.crt; tls_certificate_key m.key;
        tls_trusted_certificate root.crt;
    }

    service crl {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        max_connections 2; tls simple; tls_trusted_certificate root.crt; tls_crl root.crl;
    }
}

EOF

my $d = $t->testdir();

$t->ca('root')->cert('root', 'server', 'DNS:s.test');

$t->write_file('ca.cnf', "[ca]\ndefault_ca = c\n[c]\ndatabase = $d/ca.txt\n"
	. "default_md = sha256\n")->write_file('ca.txt', '');

foreach my $name (qw/ one two /) {
	$t->cert('root', $name, "DNS:$name");
	chmod 0644, "$d/$name.key";
}

swap('one');
crl('');

$t->run()->plan(8);

###############################################################################

# no connection may be opened, so one that is kept is set aside for a request
# before its body is there

is(two('m'), 'CN=one', 'certificate, two connections');
is(two('crl'), '', 'not revoked, two connections');

my $m = start('m');
my $crl = start('crl');

swap('two');
crl('-revoke');

# others go by what the files are now

like(until_new('m', qr/CN=two/), qr/CN=two/, 'another certificate');
like(until_new('crl', qr/tls_failed/), qr/tls_failed/, 'revoked');

my $before = requests();

like(end($m), qr/ 200 .*CN=two/s, 'body was there after the change');
is(requests(), $before + 1, 'request was sent once');

like(end($crl), qr/tls_failed/, 'body was there after the revocation');
is(requests(), $before + 1, 'request was not sent');

###############################################################################

sub start {
	my ($name) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8080))
		or die "can't connect: $!\n";

	$s->autoflush(1);
	$s->print("POST /$name/ HTTP/1.0\r\nHost: s.test\r\n"
		. "Content-Length: 2\r\n\r\na");

	return $s;
}

sub end {
	my ($s) = @_;

	$s->print('b');

	return Test::Nginx::Far::answer($s);
}

sub post {
	my ($name) = @_;

	return end(start($name));
}

# until there are two connections: the name of the certificate

sub two {
	my ($name) = @_;

	for (1 .. 50) {
		my @s = map { Test::Nginx::Far::ask(8080,
			"GET /$name/ HTTP/1.0\r\nHost: s.test\r\n\r\n") } 1 .. 4;

		my %seen = map { /^(\S*) (\d+)$/m ? ($2 => $1) : () }
			map { Test::Nginx::Far::answer($_) } @s;

		return (values %seen)[0] if keys %seen == 2;
	}

	return 'one connection';
}

sub requests {
	return scalar(() = $t->read_file('far.log') =~ /\n/g);
}

sub until_new {
	my ($name, $what) = @_;

	my $r = '';

	for (1 .. 80) {
		$r = post($name);
		last if $r =~ $what;
		sleep 0.1;
	}

	return $r;
}

sub swap {
	my ($name) = @_;

	foreach my $type (qw/ crt key /) {
		system("cp $d/$name.$type $d/new && mv $d/new $d/m.$type")
			and die;
	}
}

sub crl {
	my ($revoke) = @_;

	my $run = "openssl ca -config $d/ca.cnf -cert $d/root.crt "
		. "-keyfile $d/root.key -crldays 2";

	system(($revoke ? "$run -revoke $d/server.crt >/dev/null 2>&1 && " : '')
		. "$run -gencrl -out $d/new.crl >/dev/null 2>&1 "
		. "&& mv $d/new.crl $d/root.crl") and die "can't make a CRL\n";
}

###############################################################################
