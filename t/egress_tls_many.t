#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for more TLS contexts than are kept from the start: the others are
# made on first use, but for those whose files the workers may not read.

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

my $n = 1100;

my $t = Test::Nginx->new()->has_daemon('openssl')
	->expect(qr/SSL_do_handshake\(\) failed/, qr/is refused: cannot load/);

my $d = $t->testdir();

# settings that differ make a context each

my $services = join '', map {
	my $bits = sprintf '%011b', $_;
	my $ciphers = join ':', map { $_ ? 'ECDHE-ECDSA-AES128-GCM-SHA256'
		: 'ECDHE-ECDSA-AES256-GCM-SHA384' } split //, $bits;
	my $more = $_ == $n - 1 ? 'tls mutual; tls_certificate client.crt; '
		. 'tls_certificate_key client.key;'
		: $_ == $n - 2 ? 'tls mutual; tls_certificate open.crt; '
		. 'tls_certificate_key open.key;' : 'tls simple;';
	my $ca = $_ == $n - 3 ? 'other.crt' : $_ == $n - 4 ? 'none.crt' : 'ca.crt';

	"    service s$_ { lookup off; host s.test; port 443 https;\n"
		. "        endpoint 127.0.0.1 port=%%PORT_8081%%; $more\n"
		. "        tls_trusted_certificate $ca;\n"
		. "        tls_ciphers $ciphers; }\n"
} 0 .. $n - 1;

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
        listen  127.0.0.1:8080;
        egress  on;

        location / {
            egress_service  \$arg_s;
            proxy_pass      http://egress;
        }
    }

%%FAR%%
    server {
        listen                  127.0.0.1:8081 ssl;
        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  ca.crt;
        ssl_verify_client       optional;
        return                  200 "client=\$ssl_client_s_dn ";
    }
%%NEAR%%
}

egress {
    zone  8m;
$services
}

EOF

$t->ca('ca')->ca('other')->cert('ca', 'server', 'DNS:s.test')
	->cert('ca', 'client', 'DNS:client')->cert('ca', 'open', 'DNS:open');

chmod 0600, "$d/client.key";
chmod 0644, "$d/open.key";

$t->run()->plan(10);

###############################################################################

like(get(0), qr/ 200 .*client= /s, 'from the start');
like(get($n - 5), qr/ 200 .*client= /s, 'on first use');
like(get($n - 5), qr/ 200 .*client= /s, 'and then');
like(get($n - 2), qr/ 200 .*client=CN=open /s, 'on first use, certificate');
like(get($n - 1), qr/ 200 .*client=CN=client /s,
	'key that the workers may not read');
like(get($n - 3), qr/ 503 .*tls_failed/s, 'on first use, other CA');
like(get($n - 4), qr/ 503 .*service_broken/s, 'no CA, told at the start');

# what has become bad before the first use is refused, and good again later

$t->reload();
$t->write_file('open.crt', 'noise');
like(get($n - 2), qr/ 503 .*service_broken/s, 'bad before its first use');
like(get($n - 1), qr/ 200 .*client=CN=client /s, 'another after a reload');

$t->cert('ca', 'open', 'DNS:open');
chmod 0644, "$d/open.key";

my $r = '';

for (1 .. 100) {
	last if ($r = get($n - 2)) =~ / 200 /;
	select undef, undef, undef, 0.1;
}

like($r, qr/ 200 .*client=CN=open /s, 'good again');

###############################################################################

sub get {
	my ($n) = @_;

	return http_get("/?s=s$n") || '';
}

###############################################################################
