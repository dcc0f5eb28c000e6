#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests that no connection and no session serves two identities: services on
# one address with client certificates of their own, interleaved requests of
# several clients, two workers, http and stream.
#
# TEST_EGRESS_REQUESTS   in each of the two; "make soak" has 50000

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use Time::HiRes qw/ time /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $total = $ENV{TEST_EGRESS_REQUESTS} || 2000;
my $clients = 8;

# "c" and "d" have one certificate, and another name, and another CA

my %service = (
	a => 'tls_certificate a.crt; tls_certificate_key a.key; '
		. 'tls_trusted_certificate ca.crt;',
	b => 'tls_certificate b.crt; tls_certificate_key b.key; '
		. 'tls_trusted_certificate ca.crt;',
	c => 'tls_certificate c.crt; tls_certificate_key c.key; '
		. 'tls_trusted_certificate ca.crt; tls_name c.test;',
	d => 'tls_certificate c.crt; tls_certificate_key c.key; '
		. 'tls_trusted_certificate ca2.crt; tls_name d.test;',
);

my %answer = (a => 'CN=a s.test', b => 'CN=b s.test', c => 'CN=c c.test',
	d => 'CN=c d.test');

my %port = (a => 8082, b => 8083, c => 8084, d => 8085);

my ($services, $locations, $streams) = ('', '', '');

foreach my $name (sort keys %service) {
	$services .= "    service $name { lookup off; host s.test; "
		. "port 443 https;\n        endpoint 127.0.0.1 "
		. "port=%%PORT_8081%%; tls mutual; $service{$name} }\n";
	$locations .= "        location /$name { egress_service $name; "
		. "proxy_pass http://egress; }\n";
	$streams .= "    server { listen 127.0.0.1:$port{$name}; egress on; "
		. "egress_preread off; egress_port 443; egress_service $name; "
		. "proxy_pass egress; }\n";
}

my $t = Test::Nginx->new()->has_daemon('openssl')
	->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    keepalive_requests  1000000;

    upstream egress {
        egress_balance;
    }

    server {
        listen  127.0.0.1:8080 reuseport;
        egress  on;

        proxy_http_version  1.1;
        proxy_set_header    Connection "";

$locations
    }

    server {
        listen  127.0.0.1:8090;
        location / { egress_metrics; }
    }

%%FAR%%
    log_format  far  "\$ssl_session_reused";
    keepalive_requests  1000;

    server {
        listen                  127.0.0.1:8081 ssl;
        ssl_protocols           TLSv1.2 TLSv1.3;
        ssl_session_cache       shared:far:10m;
        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  ca.crt;
        ssl_verify_client       on;

        access_log  %%TESTDIR%%/far.log far;
        return      200 "\$ssl_client_s_dn \$ssl_server_name";
    }
%%NEAR%%
}

stream {
    upstream egress {
        egress_balance;
    }

$streams
}

egress {
    zone  1m;
$services
}

EOF

# two CAs that go by one name and key, so that both can verify the server

$t->ca('ca');

my $d = $t->testdir();

system("openssl x509 -in $d/ca.crt -signkey $d/ca.key -days 3 -out $d/ca2.crt "
	. '>/dev/null 2>&1') and die;

$t->cert('ca', 'server', 'DNS:s.test,DNS:c.test,DNS:d.test');
$t->cert('ca', $_, "DNS:$_") foreach qw/ a b c /;

$t->run()->plan(8);

###############################################################################

run(\&over_http);
my $before = memory();

my ($right, $wrong, $time) = run(\&over_http);
is($right, $total, "http: $total requests in $time s");
is($wrong, '', 'http: none with another identity');

# a connection that is kept again and again does not grow: 200 bytes for each
# request are too many, whatever their number

my $growth = memory() - $before;

SKIP: {
	skip 'memory of a sanitizer', 1 if $ENV{ASAN_OPTIONS};

	cmp_ok($growth, '<', 1024 + $total / 20, "http: memory, $growth kB more");
}

($right, $wrong, $time) = run(\&over_stream);
is($right, $total, "stream: $total connections in $time s");
is($wrong, '', 'stream: none with another identity');

# the pool and the sessions were used

my $far = $t->read_file('far.log');

cmp_ok(scalar(() = $far =~ /^r$/mg), '>', $total / 10, 'sessions were resumed');
cmp_ok(scalar(() = $far =~ /\n/g), '>=', 2 * $total, 'all were seen');

my @opened = $t->read_file('error.log') =~ /\[(?:crit|alert)\]/g;
is(scalar(@opened), 0, 'nothing went wrong');

###############################################################################

sub run {
	my ($code) = @_;

	my $start = time();
	my @readers;

	foreach my $client (1 .. $clients) {
		pipe(my $r, my $w) or die;

		my $pid = fork();
		die "can't fork: $!\n" unless defined $pid;

		if ($pid == 0) {
			$t->{child} = 1;
			close $r;
			srand($client);

			my ($ok, $bad) = $code->(int($total / $clients));
			print $w "$ok $bad";
			close $w;

			POSIX::_exit(0);
		}

		close $w;
		push @readers, [ $r, $pid ];
	}

	my ($right, $wrong) = (0, '');

	foreach my $reader (@readers) {
		my ($r, $pid) = @$reader;
		my ($ok, $bad) = split / /, <$r> // '0 died', 2;
		waitpid($pid, 0);
		$right += $ok;
		$wrong ||= $bad;
	}

	return ($right, $wrong, sprintf '%.1f', time() - $start);
}

# of the workers, in kB

sub memory {
	my $sum = 0;

	foreach my $pid (map { /(\d+)/ }
		$t->read_file('error.log') =~ /start worker process (\d+)/g)
	{
		open my $fh, '<', "/proc/$pid/status" or next;
		$sum += /^RssAnon:\s+(\d+)/ ? $1 : 0 while <$fh>;
	}

	return $sum;
}

sub pick {
	return (sort keys %service)[rand(4)];
}

# one connection to the gateway, requests to any of the services in turn

sub over_http {
	my ($n) = @_;

	my ($right, $wrong) = (0, '');
	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8080)) or return (0, 'no');

	for (1 .. $n) {
		my $name = pick();
		my ($reply, $body) = ('', undef);

		syswrite($s, "GET /$name HTTP/1.1\r\nHost: s.test\r\n\r\n");

		while (!defined $body) {
			sysread($s, $reply, 16384, length $reply) or last;

			if ($reply =~ /\r\nContent-Length: (\d+)\r\n.*?\r\n\r\n(.*)/s
				&& length($2) >= $1)
			{
				$body = $2;
			}
		}

		$body //= 'nothing';

		if ($body eq $answer{$name}) {
			$right++;
		} else {
			$wrong ||= "$name: $body";
			last if $body eq 'nothing';
		}
	}

	return ($right, $wrong);
}

sub over_stream {
	my ($n) = @_;

	my ($right, $wrong) = (0, '');

	for (1 .. $n) {
		my $name = pick();
		my $s = IO::Socket::INET->new('127.0.0.1:' . port($port{$name}))
			or return ($right, 'no');

		syswrite($s, "GET / HTTP/1.0\r\nHost: s.test\r\n\r\n");

		local $/;
		my ($body) = (<$s> // '') =~ /\r\n\r\n(.*)/s;
		$body //= 'nothing';

		if ($body eq $answer{$name}) {
			$right++;
		} else {
			$wrong ||= "$name: $body";
		}
	}

	return ($right, $wrong);
}

###############################################################################
