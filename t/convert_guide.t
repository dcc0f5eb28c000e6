#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for conf/istio: the guide made whole, converted, and each of its
# services reached by whom it is for, through sidecars, and by nobody else.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl');

my $d = $t->testdir();
my $ctl = egressctl();
my $r = Test::Nginx::repository();

$t->plan(23);

my %gateway = (443 => port(8085), 80 => port(8086), 5432 => port(8087));
my %sidecar = ('default/frontend' => 8010, 'default/backend' => 8020,
	'analytics/reporting' => 8030, 'production/payment-service' => 8040);
my @tls = qw/ api.github.com api.stripe.com status.example.com
	api.payment-provider.com /;

$t->ca('mesh')->ca('ca');
$t->spiffe('mesh', 'gateway', 'cluster.local/ns/istio-system/sa/gateway');
$t->cert('ca', 'client', 'DNS:client.example.com');
$t->cert('ca', 'far', join(',', map { "DNS:$_" } @tls,
	qw/ api.external-service.com secure-api.partner.com /));

foreach my $who (keys %sidecar) {
	my ($ns, $sa) = split(/\//, $who);
	$t->spiffe('mesh', $sa, "cluster.local/ns/$ns/sa/$sa");
}

my %pins = ((map { $_ => 8081 } @tls), 'api.external-service.com' => 8081,
	'secure-api.partner.com' => 8083, 'external-db.example.com' => 8084);

my $conf = `$ctl convert -f ../conf/istio --resolver 127.0.0.1 \\
	--mesh-certificate $d/gateway.crt --mesh-key $d/gateway.key \\
	--mesh-ca $d/mesh.crt --path /etc/istio/external-certs=$d \\
	--system-ca $d/ca.crt --proxy-conf $r/conf/egress_proxy.conf \\
	@{[ map { "--listen $_=127.0.0.1:$gateway{$_}" } sort keys %gateway ]} \\
	@{[ map { "--endpoint $_=127.0.0.1:" . port($pins{$_}) } sort keys %pins ]} \\
	2>$d/err`;

is($?, 0, 'converted') or diag($t->read_file('err'));
unlike($t->read_file('err'), qr/: (?:warning|error): /, 'without a warning');

my $globals = $t->globals() . "\ndaemon off;";
my $http = $t->globals_http() =~ s/^access_log off;\n//r;
my $sidecars = join('', map { sidecar($_) } sort keys %sidecar);

$conf =~ s!^include  modules-enabled.*$!$globals!m;
$conf =~ s!/dev/stdout!$d/access.log!g;

my $far = <<"EOF";
%%FAR%%
    ssl_certificate      $d/far.crt;
    ssl_certificate_key  $d/far.key;

    server {
        listen  127.0.0.1:8081 ssl;
        return  200 "\$ssl_server_name \$http_host \$uri\\n";
    }

    server {
        listen  127.0.0.1:8083 ssl;

        ssl_client_certificate  $d/ca.crt;
        ssl_verify_client       on;

        return  200 "\$ssl_server_name \$ssl_client_s_dn\\n";
    }
%%NEAR%%
EOF

$conf =~ s!^stream \{$!stream {\n%%FAR%%\n$sidecars%%NEAR%%!m;
$conf =~ s!^http \{$!http {\n$http$far!m;

$t->write_file_expand('nginx.conf', $conf);
$t->run();

###############################################################################

# steps 3 to 5: passthrough, within the mesh's mTLS

like(tls('default/frontend', 'api.github.com'), qr/^api.github.com /,
	'frontend to github');
is(tls('default/backend', 'api.github.com'), '', 'backend to github');
like(tls('default/backend', 'api.stripe.com'), qr/^api.stripe.com /,
	'backend to stripe');
is(tls('default/frontend', 'api.stripe.com'), '', 'frontend to stripe');
is(tls('default/frontend', 'other.example.com'), '', 'not registered');

# without an identity

like(tls(undef, 'status.example.com'), qr/^status/, 'nobody to status page');
is(tls(undef, 'api.github.com'), '', 'nobody to github');

# the database, through the gateway

like(tcp('analytics/reporting'), qr/^primary database/,
	'reporting to the database');
is(tcp('default/frontend'), '', 'frontend to the database');

# HTTP, to services with TLS; secure-api.partner.com with a certificate

like(plain('default/backend', 'api.external-service.com', '/a'),
	qr/^api.external-service.com api.external-service.com \/a$/m,
	'backend to external API');
like(plain('default/frontend', 'api.external-service.com', '/a'),
	qr/^RBAC: access denied/m, 'frontend to external API');
like(plain('default/backend', 'secure-api.partner.com', '/a'),
	qr/^secure-api.partner.com CN=client$/m, 'backend to partner API');
like(plain('default/frontend', 'secure-api.partner.com', '/a'),
	qr/^RBAC: access denied/m, 'frontend to partner API');
like(plain('default/backend', 'api.github.com', '/'),
	qr/ 502 |RBAC: access denied/, 'no route over HTTP');

# a sidecar may speak HTTP/2 as well, by ALPN

SKIP: {
	skip 'nginx without HTTP/2', 2
		unless $t->version_text() =~ /--with-http_v2_module/;

	like(h2('backend'), qr/^HTTP\/2 200 .*^api.external-service.com /ms,
		'HTTP/2, backend');
	like(h2('frontend'), qr/^HTTP\/2 403 .*^RBAC: access denied/ms,
		'HTTP/2, frontend');
}

# step 9: five requests at once, of those that policies allow

my @status = map {
	plain('default/backend', 'api.external-service.com', '/') =~
		/^HTTP\/1.1 (\d+)/ ? $1 : '-'
} 1 .. 6;

is((grep { $_ eq '429' } @status) > 0 && $status[0] eq '200', 1, 'rate limit')
	or diag("@status");

# step 10

like(tls('production/payment-service', 'api.payment-provider.com'),
	qr/^api.payment-provider.com /, 'payments');
is(tls('default/backend', 'api.payment-provider.com'), '',
	'payments, somebody else');

# step 2: the access log in Envoy's format

$t->stop();
my $log = $t->read_file('access.log');

like($log, qr/^\[\S+\] "GET \/a HTTP\/1.1" 200 - .*"api.external-service.com" "127.0.0.1:\d+"$/m,
	'access log, allowed');
like($log, qr/^\[\S+\] "GET \/ HTTP\/1.1" 429 RL /m, 'access log, limited');

###############################################################################

# what a workload sends, in mTLS to the gateway's port

sub sidecar {
	my ($who) = @_;

	my ($ns, $sa) = split(/\//, $who);
	my $n = $sidecar{$who};

	return join('', map { <<"EOF" } 443, 80, 5432)
    server {
        listen                     127.0.0.1:@{[ $n++ ]};
        proxy_pass                 127.0.0.1:$gateway{$_};
        proxy_ssl                  on;
        proxy_ssl_server_name      on;
        proxy_ssl_name             outbound_.${_}_._.istio-egressgateway.istio-system.svc.cluster.local;
        proxy_ssl_certificate      $d/$sa.crt;
        proxy_ssl_certificate_key  $d/$sa.key;
    }

EOF
	. ($sa eq 'backend' ? <<"EOF" : '');
    server {
        listen  127.0.0.1:8084;
        return  "primary database\\n";
    }

EOF
}

sub tls {
	my ($who, $host) = @_;

	my $port = defined $who ? port($sidecar{$who}) : $gateway{443};

	return `curl -s -m 10 --cacert $d/ca.crt --resolve $host:$port:127.0.0.1 https://$host:$port/`;
}

sub plain {
	my ($who, $host, $uri) = @_;

	return `curl -s -i -m 10 -H 'Host: $host' http://127.0.0.1:@{[ port($sidecar{$who} + 1) ]}$uri`;
}

sub h2 {
	my ($sa) = @_;

	return `curl -s -i -m 10 -k --http2 --cert $d/$sa.crt --key $d/$sa.key -H 'Host: api.external-service.com' https://127.0.0.1:$gateway{80}/b`;
}

sub tcp {
	my ($who) = @_;

	return http('x', port => $sidecar{$who} + 2) // '';
}

###############################################################################
