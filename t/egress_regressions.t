#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# (C) 2026 Egress Gateway authors

# Regressions: the answer of a live endpoint after a dead one, and the port
# that says whether the server speaks first.

use warnings;
use strict;

use Test::More;
use IO::Socket::INET;
use Time::HiRes qw/ time /;
BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<'EOF');
%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone 1m;
    service one { host one.example.com; port 80 http; endpoint 127.0.0.1 port=%%PORT_8081%%; }
    service two {
        host two.example.com; port 80 http;
        endpoint 127.0.0.1 port=%%PORT_8081%%;
        endpoint 127.0.0.1 port=%%PORT_8099%%;
    }
    service dead { host dead.example.com; port 80 http; endpoint 127.0.0.1 port=%%PORT_8099%%; }
    service reset { host reset.example.com; port 80 http; endpoint 127.0.0.1 port=%%PORT_8081%%; }

    service multi {
        host multi.example.com;
        port 5432 tcp;
        port 3306 mysql;
        endpoint 127.0.0.1 port=%%PORT_8083%%;
    }
    service multi2 {
        host multi2.example.com;
        port 3306 mysql;
        port 443 tls;
        endpoint 127.0.0.1 port=%%PORT_8083%%;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%
    upstream egress { egress_balance; }
    egress_reason_header on;

    server {
        listen 127.0.0.1:8080;
        egress on;
        egress_port 80;
        location / { proxy_pass http://egress; }
    }
    server {
        listen 127.0.0.1:8081;
        location / { return 502 "far"; }
        location /r { return 444; }
    }
    server { listen 127.0.0.1:8082; location / { return 200 "bypassed"; } }
}

stream {
    upstream egress { egress_balance; }
    egress_preread_timeout 700ms;
    server { listen 127.0.0.1:8084; egress on; egress_service multi:3306; proxy_pass egress; }
    server { listen 127.0.0.1:8085; egress on; egress_port 3306; egress_service multi; proxy_pass egress; }
    server { listen 127.0.0.1:8086; egress on; egress_service multi2:443; proxy_pass egress; }
    server { listen 127.0.0.1:8087; egress on; egress_port 443; egress_service multi2; proxy_pass egress; }
    server { listen 127.0.0.1:8083; return "banner"; }
}
EOF
$t->run()->plan(7);
sub get { my ($h,$u)=@_; http("GET $u HTTP/1.0\r\nHost: $h\r\n\r\n") }
my %n; $n{ (get('two.example.com', '/') =~ /(far|upstream connect error)$/m)[0] // '?' }++ for 1..30;
is_deeply(\%n, { far => 30 }, 'answer of 502 after a failed endpoint') or diag(explain(\%n));
for my $p (8084, 8085) {
	my $s = IO::Socket::INET->new('127.0.0.1:' . port($p));
	my $start = time(); my $b = ''; sysread($s, $b, 100);
	is($b, 'banner', "$p banner"); cmp_ok(time() - $start, '<', 0.4, "$p no wait");
}
# a hello
my $l = IO::Socket::INET->new(Listen => 1, LocalAddr => '127.0.0.1');
system("timeout 2 openssl s_client -connect 127.0.0.1:" . $l->sockport() . " -servername multi2.example.com </dev/null >/dev/null 2>&1 &");
my $c = $l->accept(); sysread($c, my $hello, 16384); close $c;
for my $p (8086, 8087) {
	my $s = IO::Socket::INET->new('127.0.0.1:' . port($p));
	syswrite($s, $hello); my $b = ''; sysread($s, $b, 100);
	is($b, 'banner', "$p tls");
}

