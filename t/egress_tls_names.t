#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for what is verified of a server's certificate: "tls_san" with names,
# addresses and URIs, and the reason of each refusal, in http and stream.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')
	->expect(qr/SSL_do_handshake\(\) failed/);

my $d = $t->testdir();

# names of the certificate, "tls_san", the error or '' if they go together

my $other = 'other name in the certificate';
my $nul = 'NUL in a name of the certificate';

my @names = (
	[ 'DNS:a.n.test', 'a.n.test', '' ],
	[ 'DNS:a.n.test', 'x.test A.N.test', '' ],
	[ 'DNS:*.n.test', 'a.n.test', '' ],
	[ 'DNS:*.n.test', 'a.b.n.test', $other ],
	[ 'DNS:*.n.test', 'n.test', $other ],
	[ 'DNS:*.test', 'a.test', $other ],
	[ 'IP:127.0.0.1', '127.0.0.1', '' ],
	[ 'IP:::1', '::1', '' ],
	[ 'IP:::1', '0:0:0:0:0:0:0:1', '' ],
	[ 'IP:127.0.0.2', '127.0.0.1', $other ],
	[ 'URI:spiffe://td/ns/a/sa/b', 'spiffe://td/ns/a/sa/b', '' ],
	[ 'URI:spiffe://td/ns/a/sa/b,DNS:x.test', 'y.test spiffe://td/ns/a/sa/b',
		'' ],
	[ 'URI:spiffe://td/ns/a/sa/bc', 'spiffe://td/ns/a/sa/b', $other ],
	[ 'URI:spiffe://td/ns/a/sa/B', 'spiffe://td/ns/a/sa/b', $other ],
	[ 'URI:spiffe://td/*', 'spiffe://td/a', $other ],

	# T-CRT-01: a name of one kind is none of another

	[ 'URI:a.n.test', 'a.n.test', $other ],
	[ 'email:a@a.n.test', 'a.n.test', $other ],
	[ 'DNS:127.0.0.1', '127.0.0.1', $other ],
	[ 'URI:127.0.0.1', '127.0.0.1', $other ],
	[ 'DNS:spiffe://td/a', 'spiffe://td/a', $other ],
	[ '', 'cn', 'no name in the certificate' ],

	# T-CRT-02: "a.n.test\0.x", also beside the name that is asked for

	[ der(0x82, "a.n.test\0.x"), 'a.n.test', $nul ],
	[ der(0x82, 'a.n.test', 0x82, "b\0"), 'a.n.test', $nul ],
	[ der(0x86, "spiffe://td/a\0b"), 'spiffe://td/a', $nul ],
	[ der(0x86, "\0", 0x82, 'a.n.test'), 'a.n.test', $nul ],
	[ der(0x81, "a\@b\0", 0x82, 'a.n.test'), 'a.n.test', $nul ],
	[ der(0x82, ''), 'a.n.test', $other ],
);

# certificate, CA and more of the service, what is said of it

my @chains = (
	[ 'expired', '', 'certificate has expired' ],
	[ 'selfsigned', '', 'self-signed certificate' ],
	[ 'foreign', '', 'unable to get local issuer certificate' ],
	[ 'revoked', 'tls_crl ca.crl;', 'certificate revoked' ],
	[ 'good', 'tls_crl old.crl;', 'CRL has expired' ],
	[ 'good', 'tls_crl other.crl;', 'unable to get certificate CRL' ],
	[ 'clientonly', '', 'unsuitable certificate purpose' ],
	[ 'good', 'tls_name x.test;', $other ],
);

my ($services, $locations, $streams, $servers) = ('', '', '', '');
my $i = 0;

$t->ca('ca')->ca('other');

foreach my $name (@names) {
	$t->cert('ca', $name->[0] eq '' ? 'cn' : "name$i", $name->[0]);
	add($i, $name->[0] eq '' ? 'cn' : "name$i", "tls_san $name->[1];");
	$i++;
}

$t->cert('ca', 'good', 'DNS:s.test')
	->cert('ca', 'expired', 'DNS:s.test', days => -1)
	->cert(undef, 'selfsigned', 'DNS:s.test')
	->cert('other', 'foreign', 'DNS:s.test')
	->cert('ca', 'revoked', 'DNS:s.test')
	->cert('ca', 'clientonly', 'DNS:s.test',
		extensions => "extendedKeyUsage=clientAuth\n");

crl('ca', 'ca', 'revoked', '-crldays 2');
crl('ca', 'old', '', '-crlsec 1');
crl('other', 'other', '', '-crldays 2');

foreach my $chain (@chains) {
	add($i, $chain->[0], $chain->[1]);
	$i++;
}

$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    log_format  near  "\$egress_service|\$egress_reason|\$egress_tls_error";

    server {
        listen      127.0.0.1:8080;
        egress      on;
        access_log  %%TESTDIR%%/near.log near;

$locations
    }

$servers
}

stream {
    upstream egress {
        egress_balance;
    }

    log_format  near  "\$egress_service|\$egress_reason|\$egress_tls_error";

    access_log  %%TESTDIR%%/stream.log near;

    map \$remote_port \$nothing { default ""; }

$streams
}

egress {
    zone  1m;
$services
}

EOC

my $all = @names + @chains;

select undef, undef, undef, 1.1;

$t->run()->plan(2 * $all + 3);

###############################################################################

my ($bad, $good) = (0, 0);

foreach my $n (0 .. $all - 1) {
	my $error = $n < @names ? $names[$n][2] : $chains[$n - @names][2];
	my $what = $n < @names ? "'$names[$n][0]' for '$names[$n][1]'"
		: "$chains[$n - @names][0] $chains[$n - @names][1]";

	my $r = http_get("/s$n/") || '';

	$error ? $bad++ : $good++;

	if ($error) {
		is((lines('near.log', $n + 1))[-1], "s$n|tls_failed|$error", $what);
	} else {
		like($r, qr/ 200 /, $what);
	}
}

# stream, over one port each as far as they go

foreach my $n (0 .. $all - 1) {
	my $error = $n < @names ? $names[$n][2] : $chains[$n - @names][2];

	my $r = http("GET / HTTP/1.0\r\nHost: s.test\r\n\r\n",
		socket => IO::Socket::UNIX->new(Peer => "$d/s$n.sock"));

	is((lines('stream.log', $n + 1))[-1],
		$error ? "s$n|tls_failed|$error" : "s$n|-|-",
		"stream, $n" . ($error ? ", $error" : ''));
}

cmp_ok($bad, '>', 20, 'refusals were tried');

is(scalar(() = $t->read_file('far.log') =~ /GET/g), 2 * $good,
	'not one byte of a request to who was refused');

like($t->read_file('error.log'), qr/certificate of egress service "s\d+" at 127\.0\.0\.1:\d+ is refused: certificate has expired \(depth 0\)/,
	'the log says why');

###############################################################################

sub add {
	my ($n, $name, $tls) = @_;

	my $port = 8010 + $n;

	$services .= "    service s$n { lookup off; host s.test; port 443 https; "
		. "endpoint 127.0.0.1 port=%%PORT_$port%%; keepalive 0;\n"
		. "        tls simple; tls_trusted_certificate ca.crt; $tls }\n";
	$locations .= "        location /s$n/ { egress_service s$n; "
		. "proxy_pass http://egress; }\n";
	$streams .= "    server { listen unix:$d/s$n.sock; egress on; "
		. "egress_preread off; egress_port 443; egress_service s$n; "
		. "proxy_pass egress; }\n";
	$servers .= "    server { listen 127.0.0.1:$port ssl; "
		. "ssl_certificate $name.crt; ssl_certificate_key $name.key; "
		. "access_log %%TESTDIR%%/far.log; return 200 ok; }\n";
}

# names of a certificate as bytes: tag and value of each

sub der {
	my $names = '';

	while (@_) {
		my ($tag, $value) = splice @_, 0, 2;
		$names .= pack('CCa*', $tag, length $value, $value);
	}

	return 'DER:' . join(':', map { sprintf '%02x', $_ } 0x30,
		length($names), unpack('C*', $names));
}

sub crl {
	my ($ca, $name, $revoked, $time) = @_;

	$t->write_file("$name.cnf", "[ca]\ndefault_ca = c\n[c]\n"
		. "database = $d/$name.txt\ndefault_md = sha256\n");
	$t->write_file("$name.txt", '');

	my $run = "openssl ca -config $d/$name.cnf -cert $d/$ca.crt "
		. "-keyfile $d/$ca.key";

	system(($revoked ? "$run -revoke $d/$revoked.crt >/dev/null 2>&1 && " : '')
		. "$run $time -gencrl -out $d/$name.crl >/dev/null 2>&1")
		and die "can't make a CRL\n";
}

# as soon as there are so many

sub lines {
	my ($name, $n) = @_;

	my @lines;

	for (1 .. 50) {
		@lines = split /\n/, $t->read_file($name);
		last if @lines >= $n;
		select undef, undef, undef, 0.02;
	}

	return @lines;
}

###############################################################################
