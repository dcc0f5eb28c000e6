#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for TLS origination in http: the "tls" directives of a service.

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

# nginx logs a failed verification as [crit]

my $t = Test::Nginx->new()->has_daemon('openssl')
	->expect(qr/SSL_do_handshake\(\) failed/, qr/is refused: cannot load/);

my %services = (
	simple => 'tls simple; tls_trusted_certificate ca.crt;',
	system => 'tls simple;',
	other => 'tls simple; tls_trusted_certificate other.crt;',
	unverified => 'tls simple; tls_verify off;',
	name => 'tls simple; tls_trusted_certificate ca.crt; tls_name n.test;',
	wrongname => 'tls simple; tls_trusted_certificate ca.crt; '
		. 'tls_name w.test;',
	san => 'tls simple; tls_trusted_certificate ca.crt; tls_name w.test; '
		. 'tls_san x.test n.test;',
	wrongsan => 'tls simple; tls_trusted_certificate ca.crt; tls_san x.test;',
	address => 'tls simple; tls_trusted_certificate ca.crt; '
		. 'tls_san 127.0.0.1;',
	mutual => 'tls mutual; tls_certificate client.crt; '
		. 'tls_certificate_key client.key; tls_trusted_certificate ca.crt;',
	nofile => 'tls mutual; tls_certificate none.crt; '
		. 'tls_certificate_key client.key; tls_trusted_certificate ca.crt;',
	nokey => 'tls mutual; tls_trusted_certificate ca.crt;',
	noca => 'tls simple; tls_trusted_certificate none.crt;',
	nocrl => 'tls simple; tls_trusted_certificate ca.crt; tls_crl none.crl;',
	crl => 'tls simple; tls_trusted_certificate ca.crt; tls_crl ca.crl;',
	versions => 'tls simple; tls_trusted_certificate ca.crt; '
		. 'tls_protocols TLSv1.2; tls_ciphers ECDHE-ECDSA-AES256-GCM-SHA384; '
		. 'tls_alpn http/1.1;',
	badciphers => 'tls simple; tls_verify off; tls_ciphers FOO;',
	oldserver => 'tls simple; tls_trusted_certificate ca.crt; '
		. 'tls_protocols TLSv1.3;',
	expired => 'tls simple; tls_trusted_certificate ca.crt;',
	selfsigned => 'tls simple; tls_trusted_certificate ca.crt;',
	plain => 'tls simple; tls_trusted_certificate ca.crt; '
		. 'connect_timeout 500ms;',
);

my %port = (oldserver => 8082, expired => 8083, selfsigned => 8084,
	plain => 8085);

write_conf('strict off;', %services);

$t->ca('ca')->ca('other');
$t->cert('ca', 'server', 'DNS:s.test,DNS:n.test,IP:127.0.0.1');
$t->cert('ca', 'client', 'DNS:client');
$t->cert(undef, 'self', 'DNS:s.test');
$t->cert('ca', 'old', 'DNS:s.test', days => -1);

# a list of revocations with the certificate of the server

my $d = $t->testdir();

$t->write_file('openssl.conf', <<'CONF');
[ca]
default_ca = c
[c]
database = index.txt
default_md = sha256
default_crl_days = 2
CONF

$t->write_file('index.txt', '');
system("cd $d && openssl ca -config openssl.conf -cert ca.crt -keyfile ca.key"
	. " -revoke server.crt >/dev/null 2>&1 && openssl ca -config openssl.conf"
	. " -cert ca.crt -keyfile ca.key -gencrl -out ca.crl >/dev/null 2>&1")
	and die "can't make a CRL";

$t->run()->plan(31);

###############################################################################

like(get('simple'), qr/ 200 .*sni=s.test client=- /s, 'simple');
like(get('unverified'), qr/ 200 .*sni=s.test/s, 'verify off');
like(get('name'), qr/ 200 .*sni=n.test/s, 'name');
like(get('san'), qr/ 200 .*sni=w.test/s, 'san');
like(get('address'), qr/ 200 .*sni=s.test/s, 'san, address');
like(get('mutual'), qr/ 200 .*client=CN=client /s, 'mutual');
like(get('versions'), qr/ 200 .*TLSv1.2 .*AES256-GCM/s,
	'protocols, ciphers');

my $before = requests();
cmp_ok($before, '>', 5, 'requests are seen');

foreach my $name (qw/ system other wrongname wrongsan crl oldserver expired
	selfsigned plain /)
{
	like(get($name), qr/ 503 .*tls_failed/s, "refused, $name");
}

# T-CRT-12, T-CRT-13

is(requests(), $before, 'not one request was sent');

foreach my $name (qw/ nofile nokey noca nocrl badciphers /) {
	like(get($name), qr/ 503 .*service_broken/s, "broken, $name");
}

my ($status, $out) = $t->test_config();

is($status, 0, 'broken services do not stop the start');
like($out, qr/service "nofile" is refused: cannot load certificate ".*none.crt" \(No such file or directory\) in .*nginx.conf:\d+/,
	'what is broken');
like($out, qr/service "nokey" is refused: "tls mutual" without/,
	'what is missing');

# strict, one bad service at a time

foreach my $name (qw/ nofile noca nocrl badciphers /) {
	write_conf('strict on;', $name => $services{$name});

	($status, $out) = $t->test_config();

	ok($status && $out =~ /\[emerg\].*service "$name" is refused/,
		"strict, $name");
}

write_conf('strict on;', simple => $services{simple});
is(($t->test_config())[0], 0, 'strict, whole');

###############################################################################

sub get {
	my ($name) = @_;

	return http_get("/$name") || '';
}

sub requests {
	select undef, undef, undef, 0.1;

	# a server without TLS logs the hello, which is no request

	my @lines = grep { /"GET / } split /\n/, $t->read_file('upstream.log');

	return scalar @lines;
}

sub write_conf {
	my ($strict, %services) = @_;

	my ($blocks, $locations) = ('', '');

	foreach my $name (sort keys %services) {
		my $port = $port{$name} || 8081;

		$blocks .= "    service $name {\n        lookup off; host s.test; "
			. "port 443 https; endpoint 127.0.0.1 port=%%PORT_$port%%;\n"
			. "        $services{$name}\n    }\n";

		$locations .= "        location /$name {\n"
			. "            egress_service $name;\n"
			. "            proxy_pass http://egress;\n        }\n";
	}

	$t->write_file_expand('nginx.conf', <<"EOF");

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
        listen      127.0.0.1:8080;
        egress      on;
        access_log  off;

$locations
    }

    map \$ssl_client_s_dn \$dn { default \$ssl_client_s_dn; "" -; }

    ssl_certificate         server.crt;
    ssl_certificate_key     server.key;
    ssl_client_certificate  ca.crt;
    ssl_verify_client       optional;

    server {
        listen  127.0.0.1:8081 ssl;
        access_log  %%TESTDIR%%/upstream.log;
        return  200 "sni=\$ssl_server_name client=\$dn \$ssl_protocol \$ssl_cipher ";
    }

    server {
        listen         127.0.0.1:8082 ssl;
        access_log  %%TESTDIR%%/upstream.log;
        ssl_protocols  TLSv1.2;
        return         200 "old";
    }

    server {
        listen               127.0.0.1:8083 ssl;
        access_log  %%TESTDIR%%/upstream.log;
        ssl_certificate      old.crt;
        ssl_certificate_key  old.key;
        return               200 "expired";
    }

    server {
        listen               127.0.0.1:8084 ssl;
        access_log  %%TESTDIR%%/upstream.log;
        ssl_certificate      self.crt;
        ssl_certificate_key  self.key;
        return               200 "self";
    }

    server {
        listen  127.0.0.1:8085;
        access_log  %%TESTDIR%%/upstream.log;
        return  200 "plain";
    }
}

egress {
    zone  1m;
    $strict
$blocks
}

EOF
}

###############################################################################
