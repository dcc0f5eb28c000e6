#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests that a connection to the far side that is kept after a request of one
# principal gives nobody more than a new one would: it stays with its service
# and certificate, each request is decided by itself, and what a reload takes
# away is gone with the next request (T-AUZ-08).

###############################################################################

use warnings;
use strict;

use IO::Select;
use IPC::Open3;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

$SIG{PIPE} = 'IGNORE';

my $t = Test::Nginx->new()->has_daemon('openssl');
my $d = $t->testdir();

my $conf = <<'EOF';

%%TEST_GLOBALS%%

daemon off;
worker_processes 1;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    keepalive_timeout  1000s;
    keepalive_requests 10000;

    server {
        listen                  127.0.0.1:8080 ssl;
        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  ca.crt;
        ssl_verify_client       on;

        egress       on;
        egress_port  443;

        proxy_http_version  1.1;
        proxy_set_header    Connection "";

        location /one { egress_service one; proxy_pass http://egress; }
        location /two { egress_service two; proxy_pass http://egress; }
    }

    server {
        listen  127.0.0.1:8083;
        location / { egress_metrics; }
    }

%%FAR%%
    server {
        listen                  127.0.0.1:8081 ssl;
        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  ca.crt;
        ssl_verify_client       on;

        access_log  %%TESTDIR%%/far.log;
        return      200 "$ssl_client_s_dn $connection\n";
    }
%%NEAR%%
}

egress {
    zone          1m;
    trust_domain  td;

    service one {
        lookup off;  host s.test;  port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls mutual;  tls_certificate one.crt;  tls_certificate_key one.key;
        tls_trusted_certificate ca.crt;
    }

    service two {
        lookup off;  host s.test;  port 443 https;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        tls mutual;  tls_certificate two.crt;  tls_certificate_key two.key;
        tls_trusted_certificate ca.crt;
    }

    policy a {
        action  allow;
        rule { from { principals td/ns/n/sa/a; } to { paths /one* /two*; } }
    }

    policy b {
        action  allow;
        rule { from { principals td/ns/n/sa/b; } to { paths /two*; } }
    }
}

EOF

$t->ca('ca');
$t->cert('ca', 'server', 'DNS:s.test');
$t->cert('ca', $_, "DNS:$_") foreach qw/ one two /;
$t->spiffe('ca', $_, "td/ns/n/sa/$_") foreach qw/ a b /;
chmod 0644, glob "$d/*.key";

$t->write_file_expand('nginx.conf', $conf);
$t->run()->plan(15);

###############################################################################

# the connection that is left idle by one is there for the next

my ($one) = get('a', '/one') =~ /^CN=one (\d+)$/m;
ok($one, 'a allowed, with the certificate of the service');
like(get('a', '/one'), qr/^CN=one $one$/m, 'a again, the kept connection');
is(idle('one'), 1, 'it is idle');

# another service at the same address, with another certificate

my ($two) = get('a', '/two') =~ /^CN=two (\d+)$/m;
ok($two, 'another service, its own certificate');
isnt($two, $one, 'another service, a connection of its own');

# another principal: decided by itself

# the far side writes its log after the client has its answer

for (1 .. 50) {
	last if far() >= 3;
	select undef, undef, undef, 0.05;
}

my $far = 3;
my $answer = get('b', '/one');
like($answer, qr/ 403 /, 'b denied, though one is idle');
select undef, undef, undef, 0.3;
is(far(), $far, 'b denied, nothing was sent');
like(get('b', '/two'), qr/^CN=two $two$/m, 'b where it is allowed');

for (1 .. 10) {
	$answer = join '', map { get(@$_) =~ /(CN=\w+| 403 )/g }
		[ 'a', '/one' ], [ 'b', '/two' ], [ 'b', '/one' ], [ 'a', '/two' ];
	last if $answer ne 'CN=oneCN=two 403 CN=two';
}

is($answer, 'CN=oneCN=two 403 CN=two', 'interleaved');

# a policy is taken away: for a new client, and within a connection that was
# there and had been allowed

my $c = client('a');
like(ask($c, '/one'), qr/^CN=one /m, 'before the reload');

$conf =~ s/principals td\/ns\/n\/sa\/a/principals td\/ns\/n\/sa\/none/;
$t->write_file_expand('nginx.conf', $conf);
$t->reload();

select undef, undef, undef, 0.3;

$far = far();
like(get('a', '/one'), qr/ 403 /, 'policy is gone, denied');
unlike(ask($c, '/one'), qr/CN=one/,
	'policy is gone, nothing for the connection of before');
select undef, undef, undef, 0.3;
is(far(), $far, 'policy is gone, nothing was sent');
like(get('b', '/two'), qr/^CN=two /m, 'the other one stays');

$conf =~ s/sa\/none/sa\/a/;
$t->write_file_expand('nginx.conf', $conf);
$t->reload();
like(get('a', '/one'), qr/^CN=one /m, 'policy is back');

###############################################################################

sub get {
	my ($who, $uri) = @_;

	return `printf 'GET $uri HTTP/1.1\\r\\nHost: s.test\\r\\nConnection: close\\r\\n\\r\\n' | timeout 5 openssl s_client -quiet -verify_quiet -connect 127.0.0.1:@{[ port(8080) ]} -cert $d/$who.crt -key $d/$who.key 2>/dev/null`;
}

# one that stays

sub client {
	my ($who) = @_;

	open my $null, '>', '/dev/null' or die;

	my $pid = open3(my $in, my $out, '>&' . fileno($null), 'openssl',
		's_client', '-quiet', '-verify_quiet', '-connect',
		'127.0.0.1:' . port(8080), '-cert', "$d/$who.crt",
		'-key', "$d/$who.key");

	push @main::pids, $pid;

	return { in => $in, out => $out };
}

sub ask {
	my ($c, $uri) = @_;

	syswrite($c->{in}, "GET $uri HTTP/1.1\r\nHost: s.test\r\n\r\n");

	my $s = IO::Select->new($c->{out});
	my $text = '';

	while ($text !~ /\n\r?\n.*\n/ && $s->can_read(3)) {
		sysread($c->{out}, $text, 4096, length $text) or last;
	}

	return $text;
}

sub idle {
	my ($service) = @_;

	my $n = 0;
	$n += $_ foreach http_get('/', port => 8083)
		=~ /^egress_endpoint_idle\{service="$service",.*\} (\d+)$/mg;

	return $n;
}

# requests that the far side had

sub far {
	my @lines = split /\n/, $t->read_file('far.log');

	return scalar @lines;
}

END {
	kill 'TERM', @main::pids if @main::pids && !$t->{child};
}

###############################################################################
