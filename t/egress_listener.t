#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for listeners with client certificates: certificate, CA and CRL that
# change on disk, verification with intermediate and several root CAs, and no
# resumption whichever server of the port a session began with.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# what nginx itself says of a client without an issuer where there is a CRL,
# and of one without a certificate

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl')
	->expect(qr/ignoring stale global SSL error/,
		qr/SSL_shutdown\(\) failed .*application data after close notify/);

my $d = $t->testdir();

$t->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    log_format  who  "$egress_principal";

    ssl_protocols           TLSv1.2 TLSv1.3;
    ssl_certificate         mesh.crt;
    ssl_certificate_key     mesh.key;
    ssl_client_certificate  roots.crt;
    ssl_trusted_certificate more.crt;
    ssl_crl                 roots.crl;
    ssl_verify_depth        3;

    server {
        listen             127.0.0.1:8080 ssl;
        server_name        a.test;
        ssl_verify_client  on;

        egress       on;
        egress_port  80;

        location / {
            proxy_pass  http://egress;
        }
    }

    server {
        listen       127.0.0.1:8084;
        location /   { egress_metrics; }
    }

    # a port with a first server that does not verify

    server {
        listen       127.0.0.1:8083 ssl default_server;
        server_name  d.test;
        return       200 plain;
    }

    server {
        listen             127.0.0.1:8083 ssl;
        server_name        a.test;
        ssl_verify_client  on;

        egress       on;
        egress_port  80;

        location / {
            proxy_pass  http://egress;
        }
    }

    # what has no egress keeps what it was started with

    server {
        listen       127.0.0.1:8085 ssl;
        server_name  other.test;
        return       200 other;
    }

%%FAR%%
    server {
        listen  127.0.0.1:8081;
        return  200 far;
    }
%%NEAR%%
}

stream {
    upstream egress {
        egress_balance;
    }

    server {
        listen                  127.0.0.1:8082 ssl;
        ssl_protocols           TLSv1.2 TLSv1.3;
        ssl_certificate         mesh.crt;
        ssl_certificate_key     mesh.key;
        ssl_client_certificate  roots.crt;
        ssl_verify_client       on;
        ssl_verify_depth        3;

        egress          on;
        egress_mesh     off;
        egress_preread  off;
        egress_port     80;
        egress_service  a;
        proxy_pass      egress;
    }
}

egress {
    zone  1m;

    service a {
        host      a.test;
        port      80 http;
        endpoint  127.0.0.1 port=%%PORT_8081%%;
    }

    policy p {
        action  allow;
        rule { from { principals cluster.local/ns/a/sa/*; } }
    }
}

EOF

$t->ca('root1')->ca('root2')->ca('root3');

# an intermediate of root2

$t->cert('root2', 'inter', '');
$t->write_file('inter.ext', "basicConstraints=CA:TRUE\n");
system("openssl x509 -req -days 2 -in $d/inter.csr -CA $d/root2.crt "
	. "-CAkey $d/root2.key -CAcreateserial -extfile $d/inter.ext "
	. "-out $d/inter.crt >/dev/null 2>&1") and die;

$t->spiffe('root1', 'one', 'cluster.local/ns/a/sa/one')
	->spiffe('inter', 'two', 'cluster.local/ns/a/sa/two')
	->spiffe('root3', 'three', 'cluster.local/ns/a/sa/three')
	->cert('root1', 'server', 'URI:spiffe://cluster.local/ns/a/sa/server',
		extensions => "extendedKeyUsage=serverAuth\n");

$t->write_file('lone.crt', $t->read_file('two.crt'));
$t->write_file('lone.key', $t->read_file('two.key'));
$t->write_file('two.crt', $t->read_file('two.crt')
	. $t->read_file('inter.crt'));

$t->cert('root1', 'first', 'DNS:a.test')->cert('root1', 'second', 'DNS:a.test');
$t->cert('root1', 'third', 'DNS:a.test');

# another type of key

system("openssl req -x509 -newkey rsa:2048 -nodes -days 2 -subj /CN=rsa "
	. "-keyout $d/rsa.key -out $d/rsa.crt >/dev/null 2>&1") and die;

swap('first', 'mesh');
copy('roots.crt', 'root1.crt');
copy('more.crt', 'root2.crt');
crls();

$t->run()->plan(43);

###############################################################################

# several roots, an intermediate, usage

is(code('one'), '200', 'first root');
is(code('two'), '200', 'intermediate of another root');
is(code('lone'), '400', 'without its intermediate');
is(code('three'), '400', 'unknown root');
is(code('server'), '400', 'certificate of a server');
is(code(), '400', 'no certificate');
is(over_stream('one'), 'far', 'stream, first root');
is(over_stream('three'), '', 'stream, unknown root');
is(over_stream(), '', 'stream, no certificate');

# no resumption: versions, the server it began with, the one it goes on with

foreach my $version (qw/ tls1_2 tls1_3 /) {
	foreach my $pair ([ 8083, 'd.test', 'a.test' ],
		[ 8083, 'a.test', 'a.test' ], [ 8083, 'd.test', 'd.test' ],
		[ 8080, 'a.test', 'a.test' ], [ 8082, 'a.test', 'a.test' ])
	{
		is(resumed($version, @$pair), 'no', "$version, @$pair");
	}

	is(resumed($version, 8085, 'other.test', 'other.test'), 'yes',
		"$version, without egress");
}

# a new certificate under load

is(shown(8080), 'first', 'first certificate');
is(shown(8082), 'first', 'first certificate, stream');

my @pids = (load('one', 'http', \&code), load('one', 'stream', \&over_stream));

sleep 0.3;
swap('second', 'mesh');

foreach my $port (8080, 8082) {
	my $when = until_new(sub { shown($port) }, qr/^second$/);
	cmp_ok($when, '<', 10, "new certificate after $when s, $port");
}

sleep 2.5;
is(join(' ', map { shown(8080) } 1 .. 6), join(' ', ('second') x 6),
	'of both workers');
is(shown(8085), 'first', 'without egress it stays');

# another type of key, and then none that is any good

swap('rsa', 'mesh');
cmp_ok(until_new(sub { shown(8080) }, qr/^rsa$/), '<', 10, 'RSA');
sleep 2.5;
is(join(' ', map { shown(8080, '-sigalgs', 'ECDSA+SHA256') } 1 .. 4),
	join(' ', ('none') x 4), 'the old one is not shown any more');

copy('mesh.crt', 'third.crt');
like(until_log(qr/listener's certificate ".*mesh.crt" changed and can't be used.*cannot load certificate key/),
	qr/mesh.key/, 'other key');
is(shown(8080), 'rsa', 'other key, the last good one stays');
like(metrics(), qr/^egress_tls_stale [1-9]/m, 'stale');

swap('third', 'mesh');
cmp_ok(until_new(sub { shown(8080) }, qr/^third$/), '<', 10, 'good again');

kill 'TERM', @pids;
waitpid($_, 0) foreach @pids;

foreach my $name (qw/ http stream /) {
	my @load = split /\n/, $t->read_file("load-$name.log");
	my @bad = grep { !/^(200|far)$/ } @load;

	cmp_ok(scalar(@load), '>', 50, "$name, connections meanwhile: " . @load);
	is(scalar(@bad), 0, "$name, none failed");
}

# another CA, a revocation

copy('roots.crt', 'root3.crt');
cmp_ok(until_new(sub { code('three') }, qr/200/), '<', 10, 'new root');
cmp_ok(until_new(sub { code('one') }, qr/400/), '<', 10, 'old root');
is(code('two'), '200', 'trusted certificates stay');
cmp_ok(until_new(sub { over_stream('three') }, qr/far/), '<', 10,
	'stream, new root');

crls('three');
cmp_ok(until_new(sub { code('three') }, qr/400/), '<', 10, 'revoked');
is(code('two'), '200', 'others are not');

###############################################################################

sub curl {
	my ($name, @args) = @_;

	push @args, '--cert', "$d/$name.crt", '--key', "$d/$name.key" if $name;

	return `curl -sk --max-time 8 @args`;
}

sub code {
	my ($name) = @_;

	return curl($name, '-o', '/dev/null', '-w', '%{http_code}', '--connect-to',
		'a.test::127.0.0.1:' . port(8080), 'https://a.test/');
}

sub over_stream {
	my ($name) = @_;

	return curl($name, '--connect-to', 'a.test::127.0.0.1:' . port(8082),
		'https://a.test/');
}

sub s_client {
	my ($port, $name, @args) = @_;

	return `openssl s_client -connect 127.0.0.1:@{[ port($port) ]} -servername $name -cert $d/one.crt -key $d/one.key @args 2>&1`;
}

sub resumed {
	my ($version, $port, $first, $second) = @_;

	unlink "$d/session";

	my $out = request($port, $first, "-$version", '-sess_out', "$d/session");

	return "no answer: $out" if $out !~ /HTTP/;
	return 'no' unless -s "$d/session";

	$out = request($port, $second, "-$version", '-sess_in', "$d/session");

	return $out =~ /^Reused, /m ? 'yes' : $out =~ /^New, /m ? 'no' : $out;
}

# with TLSv1.3 a session comes after the handshake

sub request {
	my ($port, $name, @args) = @_;

	my $out = `(printf 'GET / HTTP/1.0\\r\\nHost: $name\\r\\n\\r\\n'; sleep 1) | timeout 5 openssl s_client -ign_eof -connect 127.0.0.1:@{[ port($port) ]} -servername $name -cert $d/one.crt -key $d/one.key @args 2>&1`;

	return $out;
}

# the name in the certificate that the listener shows

sub shown {
	my ($port, @args) = @_;

	my ($name) = s_client($port, 'a.test', @args, '</dev/null')
		=~ /^subject=CN = (\S+)/m;

	return $name || 'none';
}

sub metrics {
	return http_get('/metrics', port => 8084) || '';
}

sub load {
	my ($name, $what, $code) = @_;

	my $pid = fork();
	die "can't fork: $!\n" unless defined $pid;

	return $pid if $pid;

	$t->{child} = 1;

	open my $fh, '>', "$d/load-$what.log" or POSIX::_exit(1);
	$fh->autoflush(1);

	while (1) {
		print $fh $code->($name), "\n";
		sleep 0.03;
	}
}

sub until_new {
	my ($what, $pattern) = @_;

	my $start = time();

	while (time() - $start < 15) {
		last if $what->() =~ $pattern;
		sleep 0.1;
	}

	return sprintf '%.1f', time() - $start;
}

sub until_log {
	my ($pattern) = @_;

	for (1 .. 100) {
		my ($line) = grep { $_ =~ $pattern }
			split /\n/, $t->read_file('error.log');
		return $line if $line;

		sleep 0.1;
	}

	return '';
}

sub copy {
	my ($to, $from) = @_;

	$t->write_file("$to.new", $t->read_file($from));
	chmod 0644, "$d/$to.new";
	rename "$d/$to.new", "$d/$to";
}

sub swap {
	my ($from, $to) = @_;

	copy("$to.crt", "$from.crt");
	copy("$to.key", "$from.key");
}

# lists of all CAs, in one file

sub crls {
	my ($revoked) = @_;

	my $lists = '';

	foreach my $ca (qw/ root1 root2 root3 inter /) {
		$t->write_file("$ca.cnf", "[ca]\ndefault_ca = c\n[c]\n"
			. "database = $d/$ca.txt\ndefault_md = sha256\n"
			. "default_crl_days = 2\n");
		$t->write_file("$ca.txt", '');

		my $run = "openssl ca -config $d/$ca.cnf -cert $d/$ca.crt "
			. "-keyfile $d/$ca.key";

		system("$run -revoke $d/$revoked.crt >/dev/null 2>&1")
			if $revoked && $ca eq 'root3';
		system("$run -gencrl -out $d/$ca.crl >/dev/null 2>&1")
			and die "can't make a CRL\n";

		$lists .= $t->read_file("$ca.crl");
	}

	$t->write_file('lists', $lists);
	copy('roots.crl', 'lists');
}

###############################################################################
