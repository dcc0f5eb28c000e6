#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for certificates of clients and of services: whose leaf counts, CRLs in
# http and stream, early data, names and usages of the far side.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Select;
use IO::Socket::INET;
use Time::HiRes qw/ time /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl')
	->expect(qr/certificate verify failed.*upstream/);

my $d = $t->testdir();

my %crl = (8080 => '', 8081 => 'all.crl', 8082 => 'expired.crl',
	8083 => 'wrong.crl');

my $http = join '', map { <<"EOF" } sort keys %crl;
    server {
        listen  127.0.0.1:$_ ssl;
        @{[ $crl{$_} ? "ssl_crl $crl{$_};" : '' ]}
        egress  on;  egress_port 80;

        location / {
            proxy_pass  http://egress;
            add_header  X-Principal  \$egress_principal  always;
        }
    }
EOF

my $stream = join '', map { <<"EOF" } sort keys %crl;
    server {
        listen  127.0.0.1:@{[ $_ + 4 ]} ssl;
        @{[ $crl{$_} ? "ssl_crl $crl{$_};" : '' ]}
        egress  on;  egress_port 5432;  egress_mesh off;
        egress_preread off;  egress_service db;
        proxy_pass  egress;
    }
EOF

my %far = (8091 => 'wild', 8092 => 'nodns', 8093 => 'clientonly');

my $far = join '', map { <<"EOF" } sort keys %far;
    server {
        listen  127.0.0.1:$_ ssl;
        ssl_certificate $far{$_}.crt;  ssl_certificate_key $far{$_}.key;
        ssl_verify_client off;
        return  200 "far";
    }
EOF

my $services = join '', map { my ($name, $host, $port) = @$_; <<"EOF" }
    service $name {
        host $host;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_$port%%;
        tls simple;  tls_trusted_certificate ca.crt;
    }
EOF
	[ 'wild', 'a.wild.test', 8091 ], [ 'deep', 'a.b.wild.test', 8091 ],
	[ 'bare', 'wild.test', 8091 ], [ 'nodns', 'a.nodns.test', 8092 ],
	[ 'clientonly', 'a.clientonly.test', 8093 ];

$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone          1m;
    trust_domain  td;

    service all {
        host *.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8089%%;
    }

    service db {
        lookup off;  host db.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8090%%;
    }

    $services

    policy allow {
        action  allow;
        rule { from { principals td/ns/a/sa/x td/ns/a/sa/chain
                                 td/ns/a/sa/chain2 td/ns/a/sa/revoked; } }
        rule { to { hosts open.example.com; } }
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    ssl_certificate         server.crt;
    ssl_certificate_key     server.key;
    ssl_client_certificate  ca.crt;
    ssl_verify_client       optional;
    ssl_verify_depth        2;
    ssl_protocols           TLSv1.2 TLSv1.3;

$http
    # no client certificates, and so resumption

    server {
        listen  127.0.0.1:8094 ssl;
        ssl_verify_client  off;
        ssl_early_data     on;
        egress  on;  egress_port 80;
        location / { proxy_pass http://egress; }
    }

    server {
        listen  127.0.0.1:8095 ssl;
        ssl_early_data  on;
        egress  on;  egress_port 80;
        location / { proxy_pass http://egress; }
    }

    server {
        listen  127.0.0.1:8089;
        access_log  %%TESTDIR%%/far.log;
        return  200 far;
    }

$far
}

stream {
    upstream egress { egress_balance; }

    ssl_certificate         server.crt;
    ssl_certificate_key     server.key;
    ssl_client_certificate  ca.crt;
    ssl_verify_client       optional;
    ssl_verify_depth        2;

$stream
    server { listen 127.0.0.1:8090;  return hello; }
}

EOF

write_certs();

$t->run()->plan(35);

###############################################################################

# T-CRT-07: the leaf of the verified chain, whatever else was sent

is(who('x'), '200 td/ns/a/sa/x', 'leaf');
is(who('both'), '200 td/ns/a/sa/x', 'another leaf behind it');
is(who('chain'), '200 td/ns/a/sa/chain', 'leaf of an intermediate');
is(who('chained-both'), '200 td/ns/a/sa/chain', 'intermediate with a name');
like(who('alone'), qr/^400/, 'intermediate missing');
is(who('admin'), '403 td/ns/a/sa/admin', 'the other one alone');
like(who('reversed'), qr/^000/, 'other leaf first, its key is missing');

# T-CRT-10: revoked leaf and intermediate, CRLs that are of no use

foreach my $name (qw/ x chain /) {
	like(who($name, 8081), qr/^200/, "$name, CRL");
	is(tcp($name, 8085), 'hello', "$name, CRL, stream");
}

foreach my $name (qw/ revoked chain2 /) {
	like(who($name, 8080), qr/^200/, "$name, no CRL");
	is(tcp($name, 8084), 'hello', "$name, no CRL, stream");
	like(who($name, 8081), qr/^400/, "$name, CRL");
	is(tcp($name, 8085), '', "$name, CRL, stream");
}

foreach my $port (8082, 8083) {
	like(who('x', $port), qr/^400/, "$crl{$port}");
	is(tcp('x', $port + 4), '', "$crl{$port}, stream");
	like(who('', $port, 'open'), qr/^200/, "$crl{$port}, no certificate");
}

# a CRL that is not there: no start

my $conf = $t->read_file('nginx.conf');

foreach my $block (qw/ http stream /) {
	my $wrong = $conf;

	$wrong =~ s/($block \{.*?ssl_crl )all/$1none/s or die;
	$t->write_file('wrong.conf', $wrong);

	my ($status, $out) = $t->test_config('wrong.conf');

	ok($status && $out =~ /none\.crl/, "missing CRL, $block");
}

# T-CRT-14: early data reaches no service

is(early(8095), 'not sent', 'early data where clients are verified');
is(early(8094), 425, 'early data where they are not');

# T-CRT-01, T-CRT-03, T-CRT-04: names and usages of the far side

is(far('a.wild.test'), 200, 'wildcard, one label');
is(far('a.b.wild.test'), 503, 'wildcard, two labels');
is(far('wild.test'), 503, 'wildcard, none');
is(far('a.nodns.test'), 503, 'email and URI are no DNS name');
is(far('a.clientonly.test'), 503, 'not for servers');

$t->stop();

unlike($t->read_file('far.log'), qr/early/, 'nothing early arrived');

###############################################################################

sub curl {
	my ($name, $port, $host, @args) = @_;

	my @cert = $name ? ('--cert', "$d/$name.pem", '--key', "$d/$name.key")
		: ();

	open my $fh, '-|', 'curl', '-sk', '--max-time', '10', '-H',
		"Host: $host", @cert, @args, 'https://127.0.0.1:' . port($port) . '/'
		or die "curl: $!";

	local $/;

	return scalar <$fh>;
}

sub who {
	my ($name, $port, $host) = @_;

	my $out = curl($name, $port || 8080, ($host || 'any') . '.example.com',
		'-D', '-', '-o', '/dev/null', '-w', '%{http_code}');

	my ($principal) = $out =~ /^X-Principal: (\S+)/mi;
	my ($code) = $out =~ /(\d+)$/;

	return $code . ($principal ? " $principal" : '');
}

sub far {
	my ($host) = @_;

	return curl('x', 8080, $host, '-o', '/dev/null', '-w', '%{http_code}');
}

sub tcp {
	my ($name, $port) = @_;

	my $out = `openssl s_client -quiet -connect 127.0.0.1:@{[ port($port) ]} -cert $d/$name.crt -cert_chain $d/$name.pem -key $d/$name.key </dev/null 2>/dev/null`;

	return $out =~ /(hello)/ ? $1 : '';
}

# the status of a request that was sent as early data

sub early {
	my ($port) = @_;

	my $to = '-connect 127.0.0.1:' . port($port) . ' -tls1_3';

	$t->write_file('early', "GET /early HTTP/1.1\r\nHost: open.example.com\r\n"
		. "Connection: close\r\n\r\n");
	$t->write_file('normal', "GET / HTTP/1.1\r\nHost: open.example.com\r\n"
		. "Connection: close\r\n\r\n");

	unlink "$d/session";

	`(cat $d/normal; sleep 1) | openssl s_client $to -sess_out $d/session 2>&1`;

	return 'not sent' unless -s "$d/session";

	# before the client has said that it is there, or this is not early

	my $relay = relay($port);
	$to =~ s/:\d+/':' . $relay->sockport()/e;

	my $out = `sleep 3 | openssl s_client $to -sess_in $d/session -early_data $d/early 2>&1`;
	close($relay);

	return 'not sent' unless $out =~ /Early data was accepted/;
	return $out =~ /HTTP\/1\.1 (\d+)/ ? $1 : 'nothing';
}

###############################################################################

# what a server says takes a second

sub relay {
	my ($to) = @_;

	my $port = port($to);

	my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1')
		or die "can't listen: $!\n";

	$t->run_daemon(sub {
		my $c = $l->accept();
		my $s = IO::Socket::INET->new("127.0.0.1:$port") or return;
		my $select = IO::Select->new($c, $s);
		my ($from, $held) = (time(), '');

		while (1) {
			for my $in ($select->can_read(0.1)) {
				my $n = sysread($in, my $data, 65536);
				return unless $n || ($in == $s && $held ne '');

				$select->remove($in) unless $n;
				$in == $s ? $held .= $data : syswrite($s, $data);
			}

			if (time() - $from > 1 && $held ne '') {
				syswrite($c, $held);
				$held = '';
			}
		}
	});

	return $l;
}

sub write_certs {
	$t->ca('ca')->ca('other')->cert('ca', 'server', 'DNS:localhost');

	$t->spiffe('ca', $_, "td/ns/a/sa/$_") for qw/ x admin revoked /;

	authority('inter', 'URI:spiffe://td/ns/a/sa/admin');
	authority('inter2', '');

	$t->spiffe('inter', 'chain', 'td/ns/a/sa/chain');
	$t->spiffe('inter2', 'chain2', 'td/ns/a/sa/chain2');

	$t->cert('ca', 'wild', 'DNS:*.wild.test');
	$t->cert('ca', 'nodns', 'email:x@a.nodns.test,URI:https://a.nodns.test/');
	$t->cert('ca', 'clientonly', 'DNS:a.clientonly.test',
		extensions => "extendedKeyUsage=clientAuth\n");

	pem('x', 'x');
	pem('admin', 'admin');
	pem('revoked', 'revoked');
	pem('both', 'x', 'admin');
	pem('chain', 'chain', 'inter');
	pem('chain2', 'chain2', 'inter2');
	pem('chained-both', 'chain', 'inter', 'admin');
	pem('alone', 'chain');
	pem('reversed', 'admin', 'x');

	key('both', 'x');
	key('chained-both', 'chain');
	key('alone', 'chain');
	key('reversed', 'x');

	revoke('ca', $_) for qw/ revoked inter2 /;

	my $good = crl('ca') . crl('inter') . crl('inter2');

	$t->write_file('all.crl', $good);
	$t->write_file('wrong.crl', crl('other'));
	$t->write_file('expired.crl', crl('ca',
		'-crl_lastupdate 20200101000000Z -crl_nextupdate 20200102000000Z'));
}

sub authority {
	my ($name, $san) = @_;

	$t->write_file("$name.ext", "basicConstraints=critical,CA:TRUE\n"
		. "keyUsage=keyCertSign,cRLSign\n"
		. ($san ? "subjectAltName=$san\n" : ''));

	run("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
		. " -subj /CN=$name -keyout $d/$name.key -out $d/$name.csr");
	run("x509 -req -days 2 -in $d/$name.csr -CA $d/ca.crt -CAkey $d/ca.key"
		. " -CAcreateserial -extfile $d/$name.ext -out $d/$name.crt");
}

sub pem {
	my ($name, @certs) = @_;

	$t->write_file("$name.pem", join '', map { $t->read_file("$_.crt") }
		@certs);
}

sub key {
	my ($name, $of) = @_;

	$t->write_file("$name.key", $t->read_file("$of.key"));
}

sub revoke {
	my ($ca, $name) = @_;

	ca_conf($ca);
	run("ca -config $d/$ca.cnf -keyfile $d/$ca.key -cert $d/$ca.crt"
		. " -revoke $d/$name.crt");
}

sub crl {
	my ($ca, $args) = @_;

	ca_conf($ca);
	run("ca -config $d/$ca.cnf -keyfile $d/$ca.key -cert $d/$ca.crt"
		. " -gencrl -out $d/$ca.crl " . ($args || '-crldays 2'));

	return $t->read_file("$ca.crl");
}

sub ca_conf {
	my ($ca) = @_;

	return if -f "$d/$ca.cnf";

	$t->write_file("$ca.index", '');
	$t->write_file("$ca.cnf", "[ca]\ndefault_ca = a\n[a]\n"
		. "database = $d/$ca.index\ndefault_md = sha256\n");
}

sub run {
	my ($args) = @_;

	my $out = `openssl $args 2>&1`;
	die "openssl $args:\n$out" if $?;
}

###############################################################################
