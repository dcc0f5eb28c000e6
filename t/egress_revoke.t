#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_revoke_timeout: connections of clients whose certificate is
# not accepted any more are closed, in stream and http, after a change of
# files and in old workers after a reload; those of others stay (T-CRT-11).

###############################################################################

use warnings;
use strict;

use IO::Select;
use IO::Socket::INET;
use IPC::Open3;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

$SIG{PIPE} = 'IGNORE';

my $bound = 10;

my $t = Test::Nginx->new()->has('http_v2')
	->has_daemon('openssl')->has_daemon('curl');
my $d = $t->testdir();

my $conf = <<'EOF';

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone          1m;
    trust_domain  td;

    egress_revoke_timeout  TIMEOUT;

    service db {
        lookup off;  host db.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8090%%;
    }

    service api {
        host *.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8091%%;
    }

    policy allow {
        action  allow;
        rule { from { principals td/ns/a/*; } }
    }
}

stream {
    upstream egress { egress_balance; }

    log_format  v  "$egress_principal $egress_reason";
    access_log  stream.log v;

    server {
        listen                  127.0.0.1:8082 ssl;
        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  CA.crt;
        ssl_verify_client       on;
        ssl_crl                 CRL;

        egress  on;  egress_port 5432;  egress_mesh off;
        egress_preread off;  egress_service db;
        proxy_pass  egress;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    log_format  v  "$egress_principal $egress_reason $request_uri";

    server {
        listen                  127.0.0.1:8080 ssl;
        listen                  127.0.0.1:8081 ssl http2;
        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  CA.crt;
        ssl_verify_client       optional;
        ssl_crl                 CRL;

        access_log  http.log v;

        egress  on;  egress_port 80;
        location / {
            proxy_buffering off;
            proxy_http_version 1.1;
            proxy_pass http://egress;
        }
    }

    server {
        listen  127.0.0.1:8083;
        location / { egress_metrics; }
    }
}

EOF

sub conf {
	my (%v) = (TIMEOUT => "${bound}s", CA => 'ca', CRL => 'a.crl', @_);

	my $text = $conf;
	$text =~ s/\b$_\b/$v{$_}/g foreach keys %v;
	$t->write_file_expand('nginx.conf', $text);
}

$t->ca($_) foreach qw/ ca other /;
$t->cert('ca', 'server', 'DNS:db.example.com');

foreach (qw/ x y z w /) {
	$t->spiffe('ca', $_, "td/ns/a/sa/$_");
	chmod 0644, "$d/$_.key";
}

crl('a.crl', 'ca');
crl('o.crl', 'other');

$t->plan(34);

conf(TIMEOUT => '9s');
like(($t->test_config())[1],
	qr/"egress_revoke_timeout" directive must be 0 or at least 10s/,
	'too short to be kept');

conf();

$t->run_daemon(\&far, 8090, 0);
$t->run_daemon(\&far, 8091, 1);
$t->wait_for_port(port($_)) foreach 8090, 8091;

$t->run();

###############################################################################

# a file changes: all that x has is closed, of y nothing

my %c;

foreach my $who (qw/ x y /) {
	$c{"tunnel $who"} = client($who, 8082);
	$c{"idle $who"} = client($who, 8080, "GET / HTTP/1.1\r\n");
	$c{"long $who"} = client($who, 8080, "GET /slow HTTP/1.1\r\n");
	$c{"h2 $who"} = h2($who, '/slow');
	$c{"many $who $_"} = client($who, 8082) for 1 .. 25;
}

my $expiring = expiring('e', 12);
$c{'tunnel e'} = client('e', 8082);

foreach my $k (grep { /^(tunnel|idle|long|h2)/ } sort keys %c) {
	ok(talks($c{$k}), "$k, works");
}

my $fds = upstreams();
cmp_ok($fds, '>=', 52, "connections to the far side: $fds");

my $start = time();
crl('a.crl', 'ca', 'x');

my @x = grep { / x/ } keys %c;
my $last = until_closed($bound, map { $c{$_} } @x);

is(join(', ', grep { !$c{$_}{closed} } sort @x), '',
	'all of the revoked one closed');
cmp_ok($last - $start, '<=', $bound, sprintf 'bound kept: %.1f s',
	$last - $start);

until_closed($expiring - time() + 2, $c{'tunnel e'});
ok($c{'tunnel e'}{closed}, 'expired, closed');
cmp_ok(time(), '>=', $expiring - 1, 'expired, not before');

foreach my $k (grep { /^(tunnel|idle|long|h2) y/ } sort keys %c) {
	ok(talks($c{$k}), "$k, stays");
}

# one that has ended, and waits for the client's end of TLS: up to 3 seconds

my $end = expiring('f', 4);
my $f = client('f', 8082);
$f->{request} = "bye\n";
talks($f);
kill 'STOP', $f->{pid};
sleep $end - 1 - time() if $end - 1 > time();
note_in('far.bye', '');
sleep $end + 1.5 - time();
is(scalar(() = $t->read_file('stream.log') =~ m!^td/ns/a/sa/f -$!mg), 1,
	'has ended, once');
kill 'CONT', $f->{pid};
unlink "$d/far.bye";
is(scalar(() = $t->read_file('stream.log') =~ m!^td/ns/a/sa/f!mg), 1,
	'has ended, not closed again');

is(scalar(grep { / y / && !talks($c{$_}) } keys %c), 0, 'others, all stay');
is(metric(), 30, 'counted, each once');

my @log = grep { /is not accepted any more/ }
	split /\n/, $t->read_file('error.log');
my ($serial) = `openssl x509 -in $d/x.crt -noout -serial` =~ /=(\w+)/;

is(scalar(@log), 30, 'a line for each');
is(scalar(grep { /more: certificate revoked.* serial: \L$serial\E, issuer: ".*CN=ca"/ }
	@log), 29, 'revoked, why and who');
is(scalar(grep { /more: certificate has expired/ } @log), 1, 'expired, why');
is(scalar(() = $t->read_file('stream.log') =~ m!^td/ns/a/sa/x no_identity$!mg),
	26, 'reason, stream');
like($t->read_file('http.log'), qr!^td/ns/a/sa/x no_identity /slow$!m,
	'reason, http');

cmp_ok($fds - upstreams(), '>=', 27, 'far side is closed as well');

# by a reload with a file of another name: in workers that finish

$c{$_} = client($_, 8082) foreach qw/ z w /;
talks($c{$_}) foreach qw/ z w /;

crl('b.crl', 'ca', 'y');
conf(CRL => 'b.crl');
$start = time();
$t->reload();

my @y = map { $c{$_} } grep { /(tunnel|long|h2|many) y/ } keys %c;
$last = until_closed($bound, @y);

is(scalar(grep { !$_->{closed} } @y), 0, 'reload, all closed');
cmp_ok($last - $start, '<=', $bound, sprintf 'reload, bound kept: %.1f s',
	$last - $start);
ok(talks($c{z}), 'reload, another stays');

# that file changes while workers finish

crl('b.crl', 'ca', 'y', 'w');
until_closed($bound, $c{w});
ok($c{w}{closed}, 'reload, then a change, closed');

# nobody trusts the CA any more

conf(CA => 'other', CRL => 'o.crl');
$t->reload();
until_closed($bound, $c{z});
ok($c{z}{closed}, 'reload, CA is gone, closed');

###############################################################################

# speaks TLS as $who, with a certificate of its own

sub client {
	my ($who, $port, $request) = @_;

	my $c = start('openssl', 's_client', '-quiet', '-verify_quiet',
		'-connect', '127.0.0.1:' . port($port),
		'-cert', "$d/$who.crt", '-key', "$d/$who.key");

	$c->{request} = $request
		? "${request}Host: a.example.com\r\n\r\n" : "hello\n";
	$c->{slow} = $request && $request =~ /slow/;

	return $c;
}

sub h2 {
	my ($who, $uri) = @_;

	my $c = start('curl', '-sNk', '--http2', '--cert', "$d/$who.crt",
		'--key', "$d/$who.key", '--connect-to',
		'::127.0.0.1:' . port(8081), "https://a.example.com$uri");

	$c->{slow} = 1;

	return $c;
}

sub start {
	my @command = @_;

	open my $null, '>', '/dev/null' or die;

	my $pid = open3(my $in, my $out, '>&' . fileno($null), @command);

	push @main::pids, $pid;

	return { pid => $pid, in => $in, out => $out };
}

# does what it sends, or a slow answer, still come back?

sub talks {
	my ($c) = @_;

	return 0 if $c->{closed};

	# what came so far

	drain($c, 0) if $c->{slow};
	$c->{sent}++ or !$c->{request} or syswrite($c->{in}, $c->{request});
	!$c->{slow} && $c->{sent}++ > 1 and syswrite($c->{in}, $c->{request});

	return drain($c, 5);
}

sub drain {
	my ($c, $timeout) = @_;

	my $s = IO::Select->new($c->{out});
	my $got = 0;

	while ($s->can_read($got ? 0 : $timeout)) {

		if (!sysread($c->{out}, my $buf, 65536)) {
			$c->{closed} = time();
			return 0;
		}

		$got = 1;
	}

	return $got;
}

# all of them, or the time is up; returns when it was

sub until_closed {
	my ($timeout, @list) = @_;

	my $end = time() + $timeout + 2;

	while (time() < $end) {
		my @open = grep { !$_->{closed} } @list;
		last unless @open;

		drain($_, 0) foreach @open;
		sleep 0.05;
	}

	my ($max) = sort { $b <=> $a } map { $_->{closed} || time() } @list;

	return $max;
}

sub metric {
	my ($n) = http_get('/', port => 8083) =~ /^egress_revoked_total (\d+)$/m;

	return $n;
}

# connections that the far side has

sub upstreams {
	return scalar(split /\n/, `cat $d/far.8090 $d/far.8091`)
		- scalar(split /\n/, `cat $d/far.8090.end $d/far.8091.end`);
}

sub crl {
	my ($name, $ca, @revoked) = @_;

	$t->write_file('crl.cnf', "[ca]\ndefault_ca = c\n[c]\n"
		. "database = $d/crl.txt\ndefault_md = sha256\n"
		. "default_crl_days = 2\n");
	$t->write_file('crl.txt', '');

	my $run = "openssl ca -config $d/crl.cnf -cert $d/$ca.crt "
		. "-keyfile $d/$ca.key";

	foreach (@revoked) {
		system("$run -revoke $d/$_.crt >/dev/null 2>&1")
			and die "can't revoke\n";
	}

	system("$run -gencrl -out $d/$name.new >/dev/null 2>&1")
		and die "can't make a CRL\n";

	rename "$d/$name.new", "$d/$name";
}

# a certificate that ends in some seconds

sub expiring {
	my ($name, $seconds) = @_;

	my $end = int(time()) + $seconds;

	$t->write_file('e.cnf', "[ca]\ndefault_ca = c\n[c]\n"
		. "database = $d/e.txt\nserial = $d/e.srl\nnew_certs_dir = $d\n"
		. "default_md = sha256\npolicy = p\n[p]\ncommonName = supplied\n");
	$t->write_file('e.txt', '');
	$t->write_file('e.srl', "77\n");
	$t->spiffe('ca', $name, "td/ns/a/sa/$name");

	my $date = POSIX::strftime('%Y%m%d%H%M%SZ', gmtime($end));

	system("openssl ca -batch -notext -config $d/e.cnf -cert $d/ca.crt"
		. " -keyfile $d/ca.key -in $d/$name.csr -extfile $d/$name.ext"
		. " -enddate $date -out $d/$name.crt >/dev/null 2>&1")
		and die "can't make a certificate\n";

	return $end;
}

# echoes, or answers HTTP; each connection in a process of its own

sub far {
	my ($self, $port, $http) = @_;

	$SIG{CHLD} = 'IGNORE';

	my $number = port($port);
	my $server = IO::Socket::INET->new(Proto => 'tcp', Listen => 100,
		LocalAddr => "127.0.0.1:$number", ReuseAddr => 1) or die;

	note_in("far.$port", '');
	note_in("far.$port.end", '');

	while (my $c = $server->accept()) {
		next if fork();

		note_in("far.$port", "1\n");
		$http ? answer($c) : echo($c);
		note_in("far.$port.end", "1\n");

		POSIX::_exit(0);
	}
}

sub echo {
	my ($c) = @_;

	my $f = IO::Select->new($c);
	my $mine;

	while (1) {

		# the one that spoke last ends

		return if $mine && -e "$d/far.bye";
		next unless $f->can_read(0.2);

		sysread($c, my $buf, 4096) or return;
		syswrite($c, $buf);
		$mine = $buf =~ /bye/;
	}
}

sub answer {
	my ($c) = @_;

	while (sysread($c, my $buf, 4096)) {

		if ($buf !~ m!/slow!) {
			syswrite($c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
			next;
		}

		syswrite($c, "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\n");

		while (defined syswrite($c, 'slow')) {
			last if IO::Select->new($c)->can_read(0.3);
		}

		return;
	}
}

sub note_in {
	my ($name, $text) = @_;

	open my $fh, '>>', "$d/$name" or die;
	syswrite($fh, $text);
}

END {
	kill 'TERM', @main::pids if @main::pids && !$t->{child};
}

###############################################################################
