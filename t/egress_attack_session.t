#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for attacks of a server on TLS sessions: one that is resumed again and
# again is not verified any more, so that has an end.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')
	->expect(qr/SSL_do_handshake\(\) failed/);

my ($services, $locations, $servers) = ('', '', '');

# a TLS version each

foreach my $n (2, 3) {
	$services .= "    service v$n { lookup off; host s.test; port 443 https;\n"
		. "        endpoint 127.0.0.1 port=%%PORT_808$n%%; tls simple;\n"
		. "        tls_trusted_certificate ca.crt; tls_crl ca.crl;\n"
		. "        keepalive 0; keepalive_time 8s; }\n";
	$locations .= "        location /v$n/ { egress_service v$n; "
		. "proxy_pass http://egress; }\n";
	$servers .= "    server { listen 127.0.0.1:808$n ssl; "
		. "ssl_protocols TLSv1.$n; ssl_session_cache shared:v$n:1m;\n"
		. "        ssl_certificate server.crt; "
		. "ssl_certificate_key server.key;\n"
		. "        return 200 \"\$ssl_protocol \$ssl_session_reused\"; }\n";
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
        add_header  X-Error \$egress_tls_error always;

$locations
    }

%%FAR%%
$servers
%%NEAR%%
}

egress {
    zone  1m;

$services
}

EOF

my $d = $t->testdir();

$t->ca('ca')->cert('ca', 'server', 'DNS:s.test');

# a list that says nothing any more in some seconds

$t->write_file('ca.cnf', "[ca]\ndefault_ca = c\n[c]\ndatabase = $d/ca.txt\n"
	. "default_md = sha256\n")->write_file('ca.txt', '');

system("openssl ca -config $d/ca.cnf -cert $d/ca.crt -keyfile $d/ca.key "
	. "-crlsec 10 -gencrl -out $d/ca.crl >/dev/null 2>&1")
	and die "can't make a CRL\n";

$t->run()->plan(6);

###############################################################################

like(get($_), qr/ 200 .*TLSv1.$_ \.$/s, "TLSv1.$_, verified") foreach 2, 3;
like(get($_), qr/ 200 .*TLSv1.$_ r$/s, "TLSv1.$_, resumed") foreach 2, 3;

# each answer brings another session

my %last;

for (1 .. 300) {
	$last{$_} = get($_) foreach 2, 3;
	last unless grep { / 200 / } values %last;
	sleep 0.1;
}

like($last{$_}, qr/X-Error: CRL has expired/, "TLSv1.$_, verified again")
	foreach 2, 3;

###############################################################################

sub get {
	my ($n) = @_;

	return http_get("/v$n/") || '';
}

###############################################################################
