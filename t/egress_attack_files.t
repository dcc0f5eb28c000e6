#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for files of certificates that a worker can't read without waiting:
# a key with a password, a FIFO, one of many megabytes.  The last good ones
# stay, and requests are answered.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use POSIX qw/ mkfifo /;
use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;

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

    egress_reason_header  on;

    server {
        listen  127.0.0.1:8080;
        egress  on;

        location /locked/ { egress_service locked; proxy_pass http://egress; }
        location /m/ { egress_service m; proxy_pass http://egress; }
        location /ca/ { egress_service ca; proxy_pass http://egress; }
        location /crl/ { egress_service crl; proxy_pass http://egress; }
    }

    server {
        listen                  127.0.0.1:8082 ssl;
        egress                  on;
        ssl_certificate         near.crt;
        ssl_certificate_key     near.key;
        ssl_client_certificate  clients.crt;
        ssl_verify_client       optional;

        return  200 "$egress_verdict";
    }

%%FAR%%
    server {
        listen               127.0.0.1:8081 ssl;
        ssl_certificate      server.crt;
        ssl_certificate_key  server.key;

        return  200 ok;
    }
%%NEAR%%
}

egress {
    zone  1m;

    service locked {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls mutual; tls_certificate m.crt; tls_certificate_key locked.key;
        tls_trusted_certificate root.crt;
    }

    service m {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls mutual; tls_certificate m.crt; tls_certificate_key m.key;
        tls_trusted_certificate root.crt;
    }

    service ca {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate ca.crt;
    }

    service crl {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate root.crt; tls_crl root.crl;
    }
}

EOF

my $d = $t->testdir();

$t->ca('root');
$t->cert('root', $_, 'DNS:s.test') foreach qw/ server m near /;

$t->write_file('ca.cnf', "[ca]\ndefault_ca = c\n[c]\ndatabase = $d/ca.txt\n"
	. "default_md = sha256\n")->write_file('ca.txt', '');

run("openssl ca -config $d/ca.cnf -cert $d/root.crt -keyfile $d/root.key "
	. "-crldays 2 -gencrl -out $d/root.crl");
run("openssl pkcs8 -topk8 -in $d/m.key -passout pass:secret "
	. "-out $d/locked.key");
run("cp $d/root.crt $d/$_.crt") foreach qw/ ca clients /;

chmod 0644, map { "$d/$_.key" } qw/ m near locked /;

# where a password would be read from, if not from a terminal

pipe(my $r, my $w) or die;
open STDIN, '<&', $r or die;

$t->run()->plan(13);

###############################################################################

like($t->read_file('error.log') . $t->read_file('stderr.log'),
	qr/"locked" is refused: cannot load certificate key/,
	'key with a password, told at the start');
like(get('locked'), qr/service_broken/, 'key with a password');

like(get($_), qr/ 200 /, "$_, before") foreach qw/ m ca crl /;

run("cp $d/locked.key $d/m.key");
replace($_) foreach qw/ ca.crt near.key clients.crt /;
truncate("$d/root.crl", 65 * 1024 * 1024) or die;

like(until_log($_), qr/./, "log: $_") foreach (
	'ficate key "\S+/m.key" \(',
	'not a regular file "\S+/ca.crt"$',
	'more than 64 MB in "\S+/root.crl"$',
	'not a regular file "\S+/near.key"$',
	'not a regular file "\S+/clients.crt"$'
);

like(get($_), qr/ 200 /, "$_, the last good one stays") foreach qw/ m ca crl /;

###############################################################################

sub get {
	my ($name) = @_;

	return http_get("/$name/") || '';
}

sub run {
	my ($command) = @_;

	system("$command >/dev/null 2>&1") and die "$command failed\n";
}

sub replace {
	my ($name) = @_;

	unlink "$d/$name";
	mkfifo("$d/$name", 0644) or die "can't create a FIFO: $!\n";
}

# workers look when they have something to do

sub until_log {
	my ($what) = @_;

	for (1 .. 80) {
		my ($line) = $t->read_file('error.log')
			=~ /^(.*what was read before stays: .*$what)/m;
		return $line if $line;

		get($_) foreach qw/ m ca crl /;
		sleep 0.1;
	}

	return '';
}

###############################################################################
