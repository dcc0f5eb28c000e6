#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for T-AUZ-13: one destination by several ways, each decided on its own.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Select;
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone             1m;
    outbound_policy  allow_any;
    resolver         127.0.0.1:%%PORT_8099%%;
    allow_address    127.0.0.0/8;

    service good {
        host good.example.com;  port 80 http;  port 443 tls;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8089%%;
    }

    service bad {
        host bad.example.com;  port 80 http;  port 443 tls;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8089%%;
    }

    policy only-good {
        action  allow;
        rule { to { hosts good.example.com; ports 80 443; } }
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    ssl_certificate      server.crt;
    ssl_certificate_key  server.key;

    server {
        listen  127.0.0.1:8080;
        listen  127.0.0.1:8081 ssl http2;
        egress  on;  egress_port 80;

        location / { proxy_pass http://egress; }

        location /other {
            egress_port  8443;
            proxy_pass   http://egress;
        }

        location /chosen {
            egress_service  bad;
            proxy_pass      http://egress;
        }

        error_page  404 = @again;

        location /redirect {
            egress  off;
            return  404;
        }

        location @again {
            egress_service  bad;
            proxy_pass      http://egress;
        }
    }

    server {
        listen  127.0.0.1:8089;
        return  200 reached;
    }
}

stream {
    upstream egress { egress_balance; }

    server {
        listen  127.0.0.1:8082;
        egress  on;  egress_port 443;  egress_preread tls;
        proxy_pass  egress;
    }
}

EOF

my $d = $t->testdir();

$t->ca('ca')->cert('ca', 'server', 'DNS:localhost');

$t->run()->plan(17);

###############################################################################

is(code('good.example.com'), 200, 'the one that is allowed');
is(code('bad.example.com'), 403, 'the other one');
is(code('127.0.0.1'), 403, 'address instead of the name');
is(code('127.0.0.1:' . port(8089)), 403, 'address and port');
is(code('[::1]'), 403, 'IPv6 address');
is(code('2130706433'), 403, 'address as a number');
is(code('alias.example.com'), 403, 'another name of it');
is(code('good.example.com.evil.test'), 403, 'name that begins like it');
is(code('xgood.example.com'), 403, 'name that ends like it');
is(code('good.example.com', '/other'), 403, 'another port');
is(code('bad.example.com', '/chosen'), 403, 'service of the location');
is(code('bad.example.com', '/redirect'), 403, 'after a redirect');

# in http the name is the client's, whatever service the location chose

is(code('good.example.com', '/chosen'), 200, 'name that is allowed');

# h2: a connection for one name, requests for another

is(h2(), '200 403 200', 'h2, each request');

# HTTP on the port of TLS

is(plain(), '', 'HTTP where TLS is meant');
is(sni('bad.example.com'), '', 'SNI');
is(sni('127.0.0.1'), '', 'address as SNI');

###############################################################################

sub code {
	my ($host, $path) = @_;

	my ($code) = (http_get($path || '/', host => $host) // '')
		=~ m!^HTTP/1.1 (\d+)!;

	return $code;
}

sub h2 {
	my $url = 'https://127.0.0.1:' . port(8081) . '/';
	my @args;

	foreach my $name (qw/ good bad good /) {
		push @args, '--next' if @args;
		push @args, '-sk', '--http2', '--max-time', '10', '-o', '/dev/null',
			'-w', '%{http_code} ', '-H', "Host: $name.example.com", $url;
	}

	open my $fh, '-|', 'curl', @args or die "curl: $!";

	local $/;

	return <$fh> =~ s/ $//r;
}

sub plain {
	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(8082));

	print $s "GET / HTTP/1.1\r\nHost: good.example.com\r\n\r\n";

	my $got = '';

	while (IO::Select->new($s)->can_read(5)) {
		last unless sysread($s, $got, 1000, length $got);
	}

	return $got =~ /reached/ ? 'reached' : '';
}

sub sni {
	my ($name) = @_;

	my $out = `openssl s_client -connect 127.0.0.1:@{[ port(8082) ]} -servername $name </dev/null 2>&1`;

	return $out =~ /reached|BEGIN CERTIFICATE/ ? 'reached' : '';
}

###############################################################################
