#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_authz in stream: identity of the mesh's mTLS around TLS
# and plain TCP.

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

my $t = Test::Nginx->new()->has_daemon('openssl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m;

    service api {
        host api.example.com;  port 443 tls;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    service open {
        host open.example.com;  port 443 tls;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    service db {
        host db.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8082%%;
    }

    policy test/allow {
        action  allow;

        rule {
            from { principals cluster.local/ns/default/sa/frontend; }
            to { hosts api.example.com; ports 443; }
        }

        rule {
            from { namespaces data; }
            to { hosts db.example.com; ports 5432; }
        }

        rule {
            to { hosts open.example.com; }
        }
    }

    policy test/deny {
        action  deny;

        rule {
            from { principals *bad; }
            to { hosts open.example.com; }
        }
    }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    log_format  authz  "$egress_verdict:$egress_reason:$egress_policy:"
                       "$egress_principal:$egress_trust_domain:"
                       "$egress_namespace:$egress_service_account";

    upstream egress {
        egress_balance;
    }

    ssl_certificate          server.crt;
    ssl_certificate_key      server.key;
    ssl_client_certificate   ca.crt;
    ssl_session_cache        off;
    ssl_session_tickets      off;

    server {
        listen            127.0.0.1:8080 ssl;
        ssl_verify_client on;

        egress            on;
        egress_port       443;
        egress_mesh       optional;
        egress_preread    tls;
        proxy_pass        egress;
        access_log        %%TESTDIR%%/tls.log  authz;
    }

    server {
        listen            127.0.0.1:8083 ssl;
        ssl_verify_client optional;

        egress            on;
        egress_port       5432;
        egress_mesh       optional;
        egress_preread    off;
        egress_service    db;
        proxy_pass        egress;
        access_log        %%TESTDIR%%/tcp.log  authz;
    }

    server {
        listen            127.0.0.1:8084 ssl;
        ssl_verify_client optional;

        egress            on;
        egress_authz      report;
        egress_port       5432;
        egress_mesh       optional;
        egress_preread    off;
        egress_service    db;
        proxy_pass        egress;
        access_log        %%TESTDIR%%/report.log  authz;
    }

    server {
        listen            127.0.0.1:8085;

        egress            on;
        egress_authz      off;
        egress_port       5432;
        egress_preread    off;
        egress_service    db;
        proxy_pass        egress;
    }

    # the workloads' sidecars

    proxy_ssl_server_name  on;
    proxy_ssl_name         outbound_.443_._.gateway.local;

    server {
        listen                     127.0.0.1:8090;
        proxy_pass                 127.0.0.1:8080;
        proxy_ssl                  on;
        proxy_ssl_certificate      frontend.crt;
        proxy_ssl_certificate_key  frontend.key;
    }

    server {
        listen                     127.0.0.1:8091;
        proxy_pass                 127.0.0.1:8080;
        proxy_ssl                  on;
        proxy_ssl_certificate      bad.crt;
        proxy_ssl_certificate_key  bad.key;
    }

    server {
        listen       127.0.0.1:8081 ssl;
        return       "tls";
        ssl_verify_client off;
    }

    server {
        listen       127.0.0.1:8082;
        return       "tcp";
    }
}

EOF

my $d = $t->testdir();

write_certs();

$t->run()->plan(19);

###############################################################################

# TLS within the mesh's mTLS: the inner name decides, the outer identity

is(tls(8090, 'api.example.com'), 'tls', 'principal');
is(tls(8090, 'API.example.com'), 'tls', 'principal, upper case');
is(tls(8091, 'api.example.com'), '', 'other principal');
is(tls(8090, 'open.example.com'), 'tls', 'not asked for');

# T-AUZ-01: a wildcard principal denies on TCP

is(tls(8091, 'open.example.com'), '', 'denied by suffix');

# TLS as it is, which no identity comes with

is(tls(8080, 'api.example.com'), '', 'no identity');
is(tls(8080, 'open.example.com'), '', 'no identity, deny');

# TCP: the name is the one of the service that the server chose

is(mesh(8083, 'reader'), 'tcp', 'namespace');
is(mesh(8083, 'frontend'), '', 'other namespace');
is(mesh(8083, ''), '', 'no certificate');
is(mesh(8083, 'twouri'), '', 'two names');

# report, off

is(mesh(8084, 'frontend'), 'tcp', 'report');
is(mesh(8084, ''), 'tcp', 'report, no identity');
is(plain(8085), 'tcp', 'off');

$t->stop();

is($t->read_file('tls.log'), <<'EOF', 'log, tls');
allowed:-:test/allow/0:cluster.local/ns/default/sa/frontend:cluster.local:default:frontend
allowed:-:test/allow/0:cluster.local/ns/default/sa/frontend:cluster.local:default:frontend
denied:authz_denied:-:cluster.local/ns/default/sa/bad:cluster.local:default:bad
allowed:-:test/allow/2:cluster.local/ns/default/sa/frontend:cluster.local:default:frontend
denied:authz_denied:test/deny/0:cluster.local/ns/default/sa/bad:cluster.local:default:bad
denied:no_identity:-:-:-:-:-
denied:no_identity:test/deny/0:-:-:-:-
EOF

is($t->read_file('tcp.log'), <<'EOF', 'log, tcp');
allowed:-:test/allow/1:cluster.local/ns/data/sa/reader:cluster.local:data:reader
denied:authz_denied:-:cluster.local/ns/default/sa/frontend:cluster.local:default:frontend
denied:no_identity:-:-:-:-:-
denied:no_identity:-:-:-:-:-
EOF

is($t->read_file('report.log'), <<'EOF', 'log, report');
reported:authz_denied:-:cluster.local/ns/default/sa/frontend:cluster.local:default:frontend
reported:no_identity:-:-:-:-:-
EOF

my $log = $t->read_file('error.log');

like($log, qr/no identity: several URIs in client certificate/, 'why');
like($log, qr/would be denied: reason authz_denied, .*host "db.example.com"/,
	'report in the log');

###############################################################################

sub tls {
	my ($port, $name) = @_;

	return s_client($port, "-servername $name");
}

sub mesh {
	my ($port, $cert) = @_;

	$cert &&= "-cert $d/$cert.crt -key $d/$cert.key";

	return s_client($port, "-alpn istio $cert");
}

sub s_client {
	my ($port, $args) = @_;

	my $addr = '127.0.0.1:' . port($port);

	return `openssl s_client -connect $addr -quiet $args </dev/null 2>/dev/null`;
}

sub plain {
	my ($port) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port($port))
		or die "can't connect: $!";

	local $/;

	return scalar <$s>;
}

###############################################################################

sub write_certs {
	my $td = 'cluster.local';

	$t->ca('ca')->cert('ca', 'server', 'DNS:localhost');

	$t->spiffe('ca', 'frontend', "$td/ns/default/sa/frontend");
	$t->spiffe('ca', 'bad', "$td/ns/default/sa/bad");
	$t->spiffe('ca', 'reader', "$td/ns/data/sa/reader");

	$t->cert('ca', 'twouri', "URI:spiffe://$td/ns/data/sa/reader,"
		. "URI:spiffe://$td/ns/data/sa/x");
}

###############################################################################
