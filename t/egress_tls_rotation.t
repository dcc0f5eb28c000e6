#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for certificates, CAs and revocation lists of services that change on
# disk: without a reload, under load, in http and stream.

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

my $t = Test::Nginx->new()->has_daemon('openssl')
	->expect(qr/SSL_do_handshake\(\) failed/, qr/is refused: cannot load/);

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

    egress_reason_header  on;

    server {
        listen  127.0.0.1:8080;
        egress  on;

        proxy_http_version  1.1;
        proxy_set_header    Connection "";

        location /m/ { egress_service m; proxy_pass http://egress; }
        location /ca/ { egress_service ca; proxy_pass http://egress; }
        location /crl/ { egress_service crl; proxy_pass http://egress; }
        location /late/ { egress_service late; proxy_pass http://egress; }
        location /key/ { egress_service key; proxy_pass http://egress; }
        location /age/ { egress_service age; proxy_pass http://egress; }
        location /metrics { egress off; egress_metrics; }
        location /status { egress off; egress_status; }
    }

%%FAR%%
    server {
        listen                  127.0.0.1:8081 ssl;
        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  root.crt;
        ssl_verify_client       optional_no_ca;

        return  200 "$ssl_client_s_dn $connection $ssl_session_reused\n";
    }
%%NEAR%%
}

stream {
    upstream egress {
        egress_balance;
    }

    server {
        listen          127.0.0.1:8082;
        egress          on;
        egress_preread  off;
        egress_port     443;
        egress_service  m;
        proxy_pass      egress;
    }
}

egress {
    zone  1m;

    service m {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls mutual; tls_certificate m.crt; tls_certificate_key m.key;
        tls_trusted_certificate root.crt;
    }

    service ca {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate moving.crt;
    }

    service crl {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate root.crt; tls_crl root.crl;
    }

    service late {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_trusted_certificate late.crt;
    }

    service key {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls mutual; tls_certificate key.crt; tls_certificate_key key.key;
        tls_trusted_certificate root.crt;
    }

    service age {
        lookup off; host s.test; port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls simple; tls_verify off; keepalive_time 1s;
    }
}

EOF

$t->ca('root')->ca('other')->cert('root', 'server', 'DNS:s.test');

pair($_, 0644) foreach qw/ one two three m /;
pair('key', 0600);
swap('one', 'm');

copy('root.crt', 'moving.crt');
crl('');

$t->run()->plan(29);

###############################################################################

# the age of a connection

my %old = connections();
cmp_ok(scalar(keys %old), '<=', 2, 'connection of each worker is kept');
sleep 1.3;
my %new = connections();
is(scalar(grep { $old{$_} } keys %new), 0, 'connection too old');

# a new certificate, under load: a request every few ms, by both workers

like(get('m'), qr/CN=one \d+ /, 'first certificate');
like(over_stream(), qr/CN=one /, 'first certificate, stream');

my $pid = load();
sleep 0.3;
swap('two', 'm');

my $when = until_new(sub { get('m') }, qr/CN=two /);
cmp_ok($when, '<', 10, "new certificate after $when s");
$when = until_new(\&over_stream, qr/CN=two /);
cmp_ok($when, '<', 10, "new certificate in stream after $when s");

sleep 2.5;
kill 'TERM', $pid;
waitpid($pid, 0);

my @load = split /\n/, $t->read_file('load.log');
cmp_ok(scalar(@load), '>', 100, 'requests meanwhile: ' . @load);
is(scalar(grep { !/^CN=(one|two) / } @load), 0, 'none failed');
is(scalar(grep { /^CN=one / } @load[-20 .. -1]), 0,
	'no connection with the old one is left');

like(metrics(), qr/^egress_tls_reloads_total [1-9]/m, 'counted');
like(metrics(), qr/^egress_tls_stale 0$/m, 'none is stale');

# what can't be used

$t->write_file('m.crt', 'noise');
like(until_log(qr/certificate ".*m.crt" changed and can't be used, what was read before stays: cannot load certificate ".*m.crt"/),
	qr/m.crt/, 'bad certificate, log');
like(get('m'), qr/CN=two /, 'the last good one stays');
sleep 4.5;
get('m') for 1 .. 20;
cmp_ok(scalar(() = $t->read_file('error.log') =~ /m.crt" changed and can't/g),
	'<=', 2, 'a line of the log for each worker');
like(metrics(), qr/^egress_tls_reload_failures_total [12]$/m,
	'failures counted');
like(metrics(), qr/^egress_tls_stale [12]$/m, 'stale');

swap('three', 'm');
cmp_ok(until_new(sub { get('m') }, qr/CN=three /), '<', 10, 'good again');
sleep 2.2;
get('m') for 1 .. 20;
like(metrics(), qr/^egress_tls_stale 0$/m, 'not stale any more');

# CA, revocation, a file that comes late

like(get('ca'), qr/ 200 /, 'CA');
copy('other.crt', 'moving.crt');
cmp_ok(until_new(sub { get('ca') }, qr/tls_failed/), '<', 10, 'CA changed');

like(get('crl'), qr/ 200 /, 'not revoked');
crl('server');
cmp_ok(until_new(sub { get('crl') }, qr/tls_failed/), '<', 10, 'revoked');

like(get('late'), qr/service_broken/, 'no file');
like(http_get('/status/services'), qr/"broken":"cannot load CA certificates/,
	'no file, status');
copy('root.crt', 'late.crt');
cmp_ok(until_new(sub { get('late') }, qr/ 200 /), '<', 10, 'file is there');

# what the workers may not read is what was read at start

like(get('key'), qr/CN=key /, 'key');

SKIP: {
	skip 'the workers may read what nginx reads', 3 if $> != 0;

	pair('new', 0600);
	system("cp $d/new.crt $d/key.crt; cp $d/new.key $d/key.key");
	like(until_log(qr/"\S+key.crt" changed and can't be used.*Permission denied/),
		qr/denied/, 'key that can not be read, log');
	like(get('key'), qr/CN=key /, 'key that can not be read, the old stays');

	chmod 0644, "$d/key.key";
	cmp_ok(until_new(sub { get('key') }, qr/CN=new /), '<', 10,
		'key that may be read now');
}

###############################################################################

sub get {
	my ($name) = @_;

	return http_get("/$name/") || '';
}

sub connections {
	return map { get('age') =~ / (\d+) [r.]$/m ? ($1 => 1) : ('none' => 1) }
		1 .. 10;
}

sub over_stream {
	return http_get('/', host => 's.test', port => 8082) || '';
}

sub metrics {
	return http_get('/metrics') || '';
}

sub load {
	my $pid = fork();
	die "can't fork: $!\n" unless defined $pid;

	return $pid if $pid;

	$t->{child} = 1;

	open my $fh, '>', "$d/load.log" or POSIX::_exit(1);
	$fh->autoflush(1);

	while (1) {
		my ($line) = get('m') =~ /\r\n\r\n(.*)/s;
		print $fh $line || "failed\n";
		sleep 0.005;
	}
}

# how long it took, 15 s at most

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

		get('m');
		get('key');
		sleep 0.05;
	}

	return '';
}

sub pair {
	my ($name, $mode) = @_;

	$t->cert('root', $name, "DNS:$name");
	chmod $mode, "$d/$name.key";
}

# as kubelet and cert-manager do: a new file in the place of the old one

sub copy {
	my ($from, $to) = @_;

	$t->write_file("$to.new", $t->read_file($from));
	chmod 0644, "$d/$to.new";
	rename "$d/$to.new", "$d/$to";
}

sub swap {
	my ($from, $to) = @_;

	copy("$from.crt", "$to.crt");
	copy("$from.key", "$to.key");
}

sub crl {
	my ($revoked) = @_;

	$t->write_file('crl.cnf', "[ca]\ndefault_ca = c\n[c]\n"
		. "database = $d/crl.txt\ndefault_md = sha256\n"
		. "default_crl_days = 2\n");
	$t->write_file('crl.txt', '');

	my $run = "openssl ca -config $d/crl.cnf -cert $d/root.crt "
		. "-keyfile $d/root.key";

	system(($revoked ? "$run -revoke $d/$revoked.crt >/dev/null 2>&1 && " : '')
		. "$run -gencrl -out $d/root.crl.new >/dev/null 2>&1")
		and die "can't make a CRL\n";

	rename "$d/root.crl.new", "$d/root.crl";
}

###############################################################################
