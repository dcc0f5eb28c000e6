#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_authz in http: policies and SPIFFE identities of clients.

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

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone          1m;
    trust_domain  td1 old-td;

    service api {
        host api.example.com;  port 80 http;  port 8000 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    service db {
        host db.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    service wild {
        host *.wild.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    # each of the hosts below is decided by one rule only

    policy test/allow {
        action  allow;
        source  "allow.yaml:3";

        rule {
            from { principals td1/ns/default/sa/frontend; }
            to { hosts API.example.com; ports 80; }
        }

        rule {
            from { namespaces prod; }
            from { service_accounts data/reader; }
            to { hosts db.example.com; }
        }

        rule {
            from { principals *; not_namespaces bad*; }
            to { hosts *.a.wild.example.com; }
        }

        rule {
            from { principals cluster.local/ns/legacy/sa/x; }
            to { hosts b.wild.example.com; }
        }

        rule {
            from { not_principals td1/ns/bad/sa/bad; }
            to { hosts c.wild.example.com; }
        }

        rule {
            to { hosts open.wild.example.com fre*; not_hosts free2.*; }
        }

        rule {
            to { hosts deny.wild.example.com deny2.wild.example.com; }
        }

        rule {
            to { ports 8000; }
        }
    }

    policy test/deny {
        action  deny;

        rule {
            from { principals td1/ns/bad/sa/bad; }
            to { hosts open.wild.example.com; }
        }

        rule {
            to { hosts deny.wild.example.com; not_ports 8000; }
        }

        rule {
            from { not_namespaces default; }
            to { hosts deny2.wild.example.com; }
        }
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  authz  "$egress_verdict:$egress_reason:$egress_policy";
    log_format  who    "$egress_principal|$egress_trust_domain|"
                       "$egress_namespace|$egress_service_account";

    upstream egress {
        egress_balance;
    }

    ssl_certificate          server.crt;
    ssl_certificate_key      server.key;
    ssl_client_certificate   ca.crt;
    ssl_verify_client        optional;
    ssl_session_tickets      off;

    server {
        listen       127.0.0.1:8080 ssl http2;

        egress       on;
        egress_port  80;

        location / {
            access_log  %%TESTDIR%%/authz.log  authz;
            proxy_pass  http://egress;
        }

        location /who {
            access_log  %%TESTDIR%%/who.log  who;
            proxy_pass  http://egress;
        }

        location /off {
            egress_authz  off;
            proxy_pass    http://egress;
        }

        location /report {
            egress_authz  report;
            access_log    %%TESTDIR%%/authz.log  authz;
            proxy_pass    http://egress;
        }

        location /port {
            egress_port  8000;
            access_log   %%TESTDIR%%/authz.log  authz;
            proxy_pass   http://egress;
        }

        location /plain {
            egress  off;
            return  200 "$egress_principal";
        }
    }

    server {
        listen       127.0.0.1:8082;

        egress       on;
        egress_port  80;
        access_log   %%TESTDIR%%/authz.log  authz;

        location / {
            proxy_pass  http://egress;
        }
    }

    server {
        listen       127.0.0.1:8083 ssl;

        ssl_verify_client  optional_no_ca;

        egress       on;
        egress_port  80;
        access_log   %%TESTDIR%%/authz.log  authz;

        location / {
            proxy_pass  http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }
    }
}

EOF

my $d = $t->testdir();

write_certs();

$t->run()->plan(77);

###############################################################################

# who the client is

is(who('frontend'), 'td1/ns/default/sa/frontend|td1|default|frontend',
	'identity');
is(who('path'), 'td1/some/Path|td1|-|-', 'identity of another form');
is(who(''), '-|-|-|-', 'no certificate');

# T-CRT-01, T-CRT-02, T-CRT-05: nothing but one valid SPIFFE ID will do

foreach my $name (qw/
	twouri dns email nosan nopath slash query fragment port userinfo upper
	scheme percent dots empty nul ascii long keysign leaf-ca
/) {
	is(who($name), '-|-|-|-', "no identity, $name");
}

# T-CRT-04: nginx itself refuses what OpenSSL does not verify

is(code('serverauth', 'api.example.com'), 400, 'not for clients');
is(code('stranger', 'api.example.com'), 400, 'unknown CA');
is(code('stranger', 'api.example.com', '/', 8083), 403, 'not verified');
is(code('frontend', 'api.example.com', '/', 8083), 200, 'verified');

is(body('frontend', 'any.example.com', '/plain'),
	'td1/ns/default/sa/frontend', 'identity without egress');

# policies

is(code('frontend', 'api.example.com'), 200, 'principal');
is(code('frontend', 'API.EXAMPLE.com'), 200, 'host in upper case');
is(code('frontend', 'api.example.com.'), 200, 'host with trailing dot');
is(code('frontend', 'api.example.com:8888'), 403, 'host with port');
is(code('old', 'api.example.com'), 200, 'trust domain alias');
is(code('foreign', 'api.example.com'), 403, 'foreign trust domain');
is(code('frontend2', 'api.example.com'), 403, 'longer name');
is(code('prod', 'api.example.com'), 403, 'other principal');
is(body('prod', 'api.example.com'), 'RBAC: access denied', 'body');

is(code('prod', 'db.example.com'), 200, 'namespace');
is(code('prodx', 'db.example.com'), 403, 'longer namespace');
is(code('reader', 'db.example.com'), 200, 'service account');
is(code('frontend', 'db.example.com'), 403, 'other namespace');

is(code('frontend', 'x.a.wild.example.com'), 200, 'not namespace');
is(code('bad', 'x.a.wild.example.com'), 403, 'not namespace, prefix');
is(code('path', 'x.a.wild.example.com'), 200, 'not namespace, has none');

is(code('legacy', 'b.wild.example.com'), 200, 'cluster.local means ours');
is(code('local', 'b.wild.example.com'), 403, 'cluster.local is not ours');

is(code('frontend', 'open.wild.example.com'), 200, 'not denied');
is(code('bad', 'open.wild.example.com'), 403, 'deny first');
is(code('frontend', 'deny.wild.example.com'), 403, 'deny, host');
is(code('frontend', 'deny2.wild.example.com'), 200, 'deny, not namespace');
is(code('prod', 'deny2.wild.example.com'), 403, 'deny, other namespace');
is(code('frontend', 'free2.wild.example.com'), 403, 'not hosts');
is(code('frontend', 'api.example.com', '/port'), 200, 'ports');
is(code('prod', 'api.example.com', '/port'), 200, 'ports, anybody');

# T-CRT-09: a missing identity never helps, whatever is asked about it

is(code('', 'api.example.com'), 403, 'none, principal');
is(code('', 'x.a.wild.example.com'), 403, 'none, not namespace');
is(code('', 'c.wild.example.com'), 403, 'none, not principal');
is(code('frontend', 'c.wild.example.com'), 200, 'one, not principal');
is(code('', 'open.wild.example.com'), 403, 'none, deny principal');
is(code('', 'deny2.wild.example.com'), 403, 'none, deny not namespace');
is(code('', 'free.wild.example.com'), 200, 'none, not asked for');
is(code('twouri', 'api.example.com'), 403, 'bad, principal');

# modes

is(code('prod', 'api.example.com', '/off'), 200, 'off');
is(code('prod', 'api.example.com', '/report'), 200, 'report');
is(code('', 'api.example.com', '/report'), 200, 'report, no identity');

# no TLS at all

like(http_get('/', port => 8082, host => 'api.example.com'),
	qr/ 403 .*RBAC/s, 'plain');

# one connection, several requests: one identity

is(several('--http1.1'), '200 403 200', 'keepalive');
is(several('--http2'), '200 403 200', 'http2');

# T-CRT-08: no resumption where identity counts, so that it is verified anew

is(reused(), 0, 'no session reused');

$t->stop();

my $log = $t->read_file('authz.log');

like($log, qr!^reported:authz_denied:-\nreported:no_identity:-$!m,
	'log, report');
like($log, qr!^allowed:-:test/allow/0$!m, 'log, allow rule');
like($log, qr!^allowed:-:test/allow/7$!m, 'log, ports');
like($log, qr!^denied:authz_denied:test/deny/0$!m, 'log, deny rule');
like($log, qr!^denied:no_identity:test/deny/0$!m, 'log, deny, none');
like($log, qr!^denied:no_identity:test/deny/2$!m, 'log, deny not, none');
like($log, qr!^denied:no_identity:-$!m, 'log, allow, none');
like($log, qr!^denied:authz_denied:-$!m, 'log, nothing matched');

###############################################################################

sub request {
	my ($name, $host, $uri, $port, @args) = @_;

	return curl($name, '-H', "Host: $host", @args,
		'https://127.0.0.1:' . port($port || 8080) . ($uri || '/'));
}

sub code {
	my ($name, $host, $uri, $port) = @_;

	return request($name, $host, $uri, $port, '-o', '/dev/null',
		'-w', '%{http_code}');
}

sub body {
	return request(@_);
}

sub who {
	my ($name) = @_;

	my @before = split /\n/, $t->read_file('who.log');
	my @lines;

	request($name, 'any.example.com', '/who');

	# the log is written after the answer

	for (1 .. 50) {
		@lines = split /\n/, $t->read_file('who.log');
		last if @lines > @before;
		select undef, undef, undef, 0.02;
	}

	return $lines[-1];
}

sub several {
	my ($version) = @_;

	my $url = 'https://127.0.0.1:' . port(8080) . '/';
	my @next = ();
	my @args = ();

	foreach my $host (qw/ api db api /) {
		push @args, @next, '-sk', $version, '-H',
			"Host: $host.example.com", '-o', '/dev/null',
			'-w', '%{http_code}/%{num_connects} ', $url;
		@next = ('--next', cert_args('frontend'));
	}

	my @codes = split / /, curl('frontend', @args);

	# the first one has connected

	return join ' ', map { s!/0$!!; s!/1$!! if $_ eq $codes[0]; $_ } @codes;
}

sub reused {
	my $port = port(8080);
	my $cert = "-cert $d/frontend.crt -key $d/frontend.key";
	my $n = 0;

	foreach my $version (qw/ tls1_2 tls1_3 /) {
		my $out = `openssl s_client -connect 127.0.0.1:$port $cert -$version -reconnect </dev/null 2>&1`;

		die "no session" unless $out =~ /^New,/m;
		$n++ while $out =~ /^Reused,/mg;
	}

	return $n;
}

sub curl {
	my ($name, @args) = @_;

	open my $fh, '-|', 'curl', '-sk', '--max-time', '10',
		cert_args($name), @args
		or die "can't run curl: $!";

	local $/;

	return scalar <$fh>;
}

sub cert_args {
	my ($name) = @_;

	return () if $name eq '';
	return ('--cert', "$d/$name.crt", '--key', "$d/$name.key");
}

###############################################################################

sub write_certs {
	my $uri = 'spiffe://td1/ns/default/sa/frontend';

	my %ids = (
		frontend => 'td1/ns/default/sa/frontend',
		frontend2 => 'td1/ns/default/sa/frontend2',
		old => 'old-td/ns/default/sa/frontend',
		foreign => 'evil/ns/default/sa/frontend',
		local => 'cluster.local/ns/legacy/sa/x',
		legacy => 'td1/ns/legacy/sa/x',
		prod => 'td1/ns/prod/sa/job',
		prodx => 'td1/ns/prodx/sa/job',
		reader => 'td1/ns/data/sa/reader',
		bad => 'td1/ns/bad/sa/bad',
		path => 'td1/some/Path',
		nopath => 'td1',
		slash => 'td1/ns/default/sa/frontend/',
		query => 'td1/ns/default/sa/frontend?a',
		port => 'td1:443/ns/default/sa/frontend',
		userinfo => 'a@td1/ns/default/sa/frontend',
		upper => 'TD1/ns/default/sa/frontend',
		percent => 'td1/ns/default/sa/%66rontend',
		dots => 'td1/ns/x/../default/sa/frontend',
		empty => 'td1//ns/default/sa/frontend',
		long => 'td1/' . 'a' x 2040,
	);

	my %names = (
		server => 'DNS:localhost',
		twouri => "URI:$uri,URI:spiffe://td1/other",
		scheme => 'URI:SPIFFE://td1/ns/default/sa/frontend',
		dns => 'DNS:td1',
		email => 'email:spiffe@td1',
		nosan => '',
		nul => 'DER:' . uri_name("$uri\0.evil"),
		ascii => 'DER:' . uri_name("$uri\xe4"),
		fragment => 'DER:' . uri_name("$uri#a"),
	);

	my %extensions = (
		serverauth => 'extendedKeyUsage=serverAuth',
		keysign => 'keyUsage=digitalSignature,keyCertSign',
		'leaf-ca' => 'basicConstraints=CA:TRUE',
	);

	$t->ca('ca')->ca('other-ca');

	$t->spiffe('ca', $_, $ids{$_}) for sort keys %ids;
	$t->cert('ca', $_, $names{$_}) for sort keys %names;
	$t->cert('ca', $_, "URI:$uri", extensions => "$extensions{$_}\n")
		for sort keys %extensions;

	$t->cert('other-ca', 'stranger', "URI:$uri");
}

# GeneralNames with one uniformResourceIdentifier of any bytes

sub uri_name {
	my ($bytes) = @_;

	my $name = "\x86" . chr(length $bytes) . $bytes;

	return unpack 'H*', "\x30" . chr(length $name) . $name;
}

###############################################################################
