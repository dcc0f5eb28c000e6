#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for attacks of a server that has no certificate: ciphers that need
# none (RFC 5246, A.5) are not offered, whatever "tls_ciphers" says.

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

        location / { egress_service s; proxy_pass http://egress; }
    }
}

egress {
    zone  1m;

    service s {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate ca.crt;
        tls_ciphers ALL:@SECLEVEL=0; tls_protocols TLSv1.2;
    }
}

EOF

$t->ca('ca');

my $d = $t->testdir();

# it has none, and answers whoever goes on without one

$t->run_daemon(sub {
	open STDOUT, '>', "$d/server.log";
	open STDERR, '>', "$d/server.err";
	exec('openssl', 's_server', '-tls1_2', '-nocert', '-www', '-cipher',
		'aNULL:@SECLEVEL=0', '-accept', '127.0.0.1:' . port(8081))
		or POSIX::_exit(1);
});

$t->wait_for_port(port(8081));

$t->run()->plan(2);

###############################################################################

like(`openssl s_client -tls1_2 -cipher 'ALL:\@SECLEVEL=0' -connect 127.0.0.1:@{[
	port(8081) ]} </dev/null 2>&1`, qr/Cipher is A(EC)?DH/,
	'it would be gone on with');

like(http_get('/', host => 's.test'), qr/tls_failed/, 'no certificate');

###############################################################################
