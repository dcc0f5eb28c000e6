#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for the directives of the egress block, and of egress in http and
# stream: bad input is refused with nginx's phrase, the file and the line.

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

my $t = Test::Nginx->new()->expect(qr!\[emerg\]!);

# each: what stands in egress { }, what nginx -t says

my $svc = 'host a.example.com; port 80 http;';

my @egress = (
	[ 'zone;', 'invalid number of arguments in "zone" directive' ],
	[ 'zone 1m; zone 1m;', '"zone" directive is duplicate' ],
	[ 'zone 1x;', 'invalid zone size "1x"' ],
	[ 'zone 8k;', 'zone "8k" is too small' ],
	[ 'zone 1m keys=0;', 'invalid parameter "keys=0"' ],
	[ 'zone 1m foo=1;', 'invalid parameter "foo=1"' ],
	[ 'zone 1m series=x;', 'invalid parameter "series=x"' ],
	[ 'zone 1m dns=;', 'invalid parameter "dns="' ],
	[ 'zone 1m reports=-1;', 'invalid parameter "reports=-1"' ],
	[ '', '"egress" must have "zone"' ],
	[ 'gateway foo;', 'invalid parameter "foo"' ],
	[ 'gateway namespace=a;', '"gateway" must have "name" parameter' ],
	[ 'gateway name=;', 'invalid parameter' ],
	[ 'gateway name=a; gateway name=b;', '"gateway" directive is duplicate' ],
	[ 'outbound_policy any;', 'invalid value "any"' ],
	[ 'outbound_policy allow_any; outbound_policy allow_any;',
		'"outbound_policy" directive is duplicate' ],
	[ 'zone 1m; outbound_policy allow_any;',
		'"outbound_policy allow_any" must have "resolver"' ],
	[ 'trust_domain A;', 'invalid value "A"' ],
	[ 'trust_domain a; trust_domain b;',
		'"trust_domain" directive is duplicate' ],
	[ 'resolver 127.0.0.1 valid=x;', 'invalid parameter: valid=x' ],
	[ 'resolver 127.0.0.1; resolver 127.0.0.1;',
		'"resolver" directive is duplicate' ],
	[ 'resolver_timeout x;', '"resolver_timeout" directive invalid value' ],
	[ 'dns_ttl;', 'invalid number of arguments in "dns_ttl" directive' ],
	[ 'dns_ttl 1s;', 'invalid parameter "1s"' ],
	[ 'dns_ttl min=;', 'invalid parameter "min="' ],
	[ 'dns_ttl min=x;', 'invalid parameter "min=x"' ],
	[ 'dns_ttl min=0;', 'invalid parameter "min=0"' ],
	[ 'dns_ttl max=0;', 'invalid parameter "max=0"' ],
	[ 'dns_ttl stale=-1;', 'invalid parameter "stale=-1"' ],
	[ 'dns_ttl min=1s min=2s;', 'invalid parameter "min=2s"' ],
	[ 'dns_ttl min=2s max=1999ms;', '"dns_ttl" has "min" above "max"' ],
	[ 'dns_ttl min=3601s;', '"dns_ttl" has "min" above "max"' ],
	[ 'dns_ttl max=999ms;', '"dns_ttl" has "min" above "max"' ],
	[ 'gateway name=a locality=;', 'invalid parameter ""' ],
	[ 'gateway name=a locality=/b;', 'invalid parameter "/b"' ],
	[ 'gateway name=a locality=a/;', 'invalid parameter "a/"' ],
	[ 'gateway name=a locality=a//c;', 'invalid parameter "a//c"' ],
	[ 'gateway name=a locality=a/b/c/d;', 'invalid parameter "a/b/c/d"' ],
	[ 'gateway name=a locality=a locality=b;', 'invalid parameter "b"' ],
	[ 'gateway locality=a;', '"gateway" must have "name" parameter' ],
	[ 'strict maybe;', 'invalid value "maybe" in "strict" directive' ],
	[ 'deny_address 1.2.3;', 'invalid parameter "1.2.3"' ],
	[ 'allow_address special;', 'invalid parameter "special"' ],
	[ 'foo;', 'unknown directive "foo"' ],
	[ 'host a;', '"host" directive is not allowed here' ],
	[ 'service a:b { }', 'invalid service name "a:b"' ],
	[ "zone 1m; service a { port 80 http; }", 'service "a" must have "host"' ],
	[ "zone 1m; service a { host a; }", 'service "a" must have "port"' ],
	[ "zone 1m; service a { $svc }", 'must have "resolver" in "egress"' ],
	[ "zone 1m; service a { $svc resolution static; }",
		'with "resolution static" must have "endpoint"' ],
	[ "zone 1m; resolver 127.0.0.1; service a { host *.a; port 80 http; }",
		'with a wildcard host and "resolution dns"' ],
	[ "zone 1m; resolver 127.0.0.1; service a { $svc resolution dynamic;"
		. "endpoint 127.0.0.1; }", 'has no use for "endpoint"' ],
	[ "zone 1m; service a { $svc endpoint a.b; resolution static; }",
		'has an endpoint that is not an IP address' ],
	[ "zone 1m; service a { $svc endpoint 127.0.0.1; }"
		. "service a { host b; port 80 http; endpoint 127.0.0.1; }",
		'duplicate service "a"' ],
	[ "zone 1m; service a { $svc endpoint 127.0.0.1; }"
		. "service b { $svc endpoint 127.0.0.1; }",
		'duplicate host "a.example.com" and port 80 in service "b"' ],
);

my @service = (
	[ 'host a..b;', 'invalid host "a..b"' ],
	[ 'host a_b;', 'invalid host "a_b"' ],
	[ 'host *;', 'invalid host "*"' ],
	[ 'host a.*;', 'invalid host "a.*"' ],
	[ 'host ' . 'a' x 64 . ';', 'invalid host' ],
	[ 'port 0 http;', 'invalid port "0"' ],
	[ 'port 65536 http;', 'invalid port "65536"' ],
	[ 'port 81 foo;', 'invalid protocol "foo"' ],
	[ 'port 81 http target=0;', 'invalid parameter "target=0"' ],
	[ 'port 80 http;', '"port" directive is duplicate' ],
	[ 'resolution foo;', 'invalid value "foo"' ],
	[ 'resolution dns; resolution dns;',
		'"resolution" directive is duplicate' ],
	[ 'location inside;', 'invalid value "inside"' ],
	[ 'ech maybe;', 'invalid value "maybe"' ],
	[ 'lookup maybe;', 'invalid value "maybe" in "lookup" directive' ],
	[ 'connect_timeout x;', '"connect_timeout" directive invalid value' ],
	[ 'source;', 'invalid number of arguments in "source" directive' ],
	[ 'guard foo;', 'invalid parameter "foo"' ],
	[ 'guard allow=x;', 'invalid parameter "allow=x"' ],
	[ 'guard on; guard off;', '"guard" directive is duplicate' ],
	[ 'endpoint a_b;', 'invalid address "a_b"' ],
	[ 'endpoint 127.0.0.1:80;', 'a port is a parameter, "port="' ],
	[ 'endpoint unix:;', 'invalid address' ],
	[ 'endpoint 127.0.0.1 port=0;', 'invalid parameter "port=0"' ],
	[ 'endpoint 127.0.0.1 label=a;', 'invalid parameter "label=a"' ],
	[ 'endpoint 127.0.0.1 foo=a;', 'invalid parameter "foo=a"' ],
	[ 'tls foo;', 'invalid value "foo"' ],
	[ 'tls_name a;', 'has TLS settings and "tls off"' ],
	[ 'tls_name a_b;', 'invalid host "a_b"' ],
	[ 'tls_name a_.b_;', 'invalid host "a_.b_"' ],
	[ 'tls_name a; tls_name b;', '"tls_name" directive is duplicate' ],
	[ 'tls_san a_b;', 'invalid value "a_b"' ],
	[ 'tls_san "spiffe://a/b c";', 'invalid value "spiffe://a/b c"' ],
	[ 'tls_san spiffe:;', 'invalid value "spiffe:"' ],
	[ 'tls_san 1s://a;', 'invalid value "1s://a"' ],
	[ 'tls_san *.a.test;', 'invalid value "*.a.test"' ],
	[ 'keepalive_time x;', 'invalid value' ],
	[ 'keepalive_time 1s; keepalive_time 1s;',
		'"keepalive_time" directive is duplicate' ],
	[ 'tls_verify x;', 'invalid value "x" in "tls_verify" directive' ],
	[ 'tls_protocols SSLv1;', 'invalid value "SSLv1"' ],
	[ 'tls_alpn a; tls_alpn b;', '"tls_alpn" directive is duplicate' ],
	[ 'tls_ciphers a; tls_ciphers b;',
		'"tls_ciphers" directive is duplicate' ],
	[ 'tls_certificate a; tls_certificate b;',
		'"tls_certificate" directive is duplicate' ],
	[ 'tls_certificate_key "";', 'invalid value ""' ],
	[ 'tls_trusted_certificate "";', 'invalid value ""' ],
	[ 'tls_crl "";', 'invalid value ""' ],
);

my $ups = 'upstream egress { egress_balance; } upstream other '
	. '{ server 127.0.0.1:1; }';

my @http = (
	[ 'egress maybe;', 'invalid value "maybe" in "egress" directive' ],
	[ 'egress_port 0;', '"egress_port" directive invalid value' ],
	[ 'egress_port 65536;', '"egress_port" directive invalid value' ],
	[ 'egress_reason_header x;', 'invalid value "x"' ],
	[ "$ups server { egress on; location / { proxy_pass http://other; } }",
		'"other" in location "/" under "egress on"' ],
	[ "$ups server { egress on; location / { proxy_pass http://127.0.0.1; } }",
		'"127.0.0.1" in location "/" under "egress on"' ],
	[ "$ups server { egress on; location / { proxy_pass http://\$host; } }",
		'location "/" under "egress on"' ],
	[ "$ups server { egress on; location / { fastcgi_pass 127.0.0.1:1; } }",
		'is not an upstream with "egress_balance"' ],
	[ "$ups server { egress on; location / { if (\$arg_a) "
		. "{ proxy_pass http://other; } } }",
		'is not an upstream with "egress_balance"' ],
	[ "$ups server { egress on; location / { fastcgi_pass egress; "
		. "proxy_pass http://\$arg_a; } }",
		'must have one "proxy_pass"' ],
	[ "$ups server { egress on; location / { proxy_pass http://egress; "
		. "fastcgi_pass \$arg_a; } }", 'must have one "proxy_pass"' ],
	[ "$ups server { egress on; location / { proxy_pass http://egress; "
		. "if (\$arg_a) { fastcgi_pass \$arg_a; } } }",
		'must have one "proxy_pass"' ],
	[ "$ups server { egress on; location / { proxy_pass http://egress; "
		. "limit_except GET { proxy_pass http://\$arg_a; } } }",
		'must have one "proxy_pass"' ],
	[ "$ups proxy_cache_path %%TESTDIR%%/c keys_zone=c:1m; server "
		. "{ egress on; location / { proxy_cache c; "
		. "proxy_pass http://egress; } }", 'cache in location "/"' ],
	[ "$ups proxy_cache_path %%TESTDIR%%/c keys_zone=c:1m; proxy_cache c; "
		. 'proxy_cache_key "$egress_service $egress_host $egress_port '
		. '$request_uri"; server { egress on; location / { '
		. 'proxy_pass http://egress; } }', 'must have a "proxy_cache_key"' ],
	[ "$ups proxy_cache_path %%TESTDIR%%/c keys_zone=c:1m; proxy_cache c; "
		. 'proxy_cache_key "$egress_service $egress_host $egress_port '
		. '$egress_principal "; server { egress on; location / { '
		. 'proxy_cache_key $uri; proxy_pass http://egress; } }',
		'must have a "proxy_cache_key"' ],
	[ "$ups fastcgi_cache_path %%TESTDIR%%/f keys_zone=c:1m; "
		. 'proxy_cache_key "$egress_service $egress_host $egress_port '
		. '$egress_principal "; server { egress on; location / { '
		. 'fastcgi_cache c; fastcgi_cache_key $uri; fastcgi_pass egress; } }',
		'must have a "proxy_cache_key"' ],
	[ "$ups server { egress on; location / { proxy_store on; "
		. "proxy_pass http://egress; } }", 'store in location "/"' ],
	[ 'upstream a { server 127.0.0.1:1; egress_balance; }',
		'"egress_balance" directive is incompatible with "server"' ],
	[ 'upstream a { egress_balance; server 127.0.0.1:1; }',
		'"egress_balance" is incompatible with "server"' ],
	[ 'upstream a { egress_balance; egress_balance; }',
		'"egress_balance" directive is duplicate' ],
	[ 'upstream a { egress_balance; least_conn; }',
		'load balancing method redefined' ],
	[ 'upstream a { least_conn; egress_balance; }',
		'is incompatible with another balancing method' ],
	[ 'upstream a { zone a 1m; egress_balance; }',
		'"egress_balance" is incompatible with' ],
);

# from 1.29.7 keepalive is in every upstream, and is taken back in silence

push @http, [ 'upstream a { egress_balance; keepalive 2; }',
		'"egress_balance" is incompatible with' ],
	[ 'upstream a { keepalive 2; egress_balance; }',
		'is incompatible with another balancing method' ]
	if $t->version() < 1029007;

my @stream = (
	[ 'egress_mesh maybe;', 'is not allowed here' ],
	[ 'egress_preread maybe;', 'invalid value "maybe"' ],
	[ 'egress_preread_timeout x;',
		'"egress_preread_timeout" directive invalid value' ],
	[ 'egress_refuse maybe;', 'invalid value "maybe"' ],
	[ 'egress_port 0;', '"egress_port" directive invalid value' ],
	[ "$ups server { listen 127.0.0.1:8080; egress_mesh x; }",
		'invalid value "x"' ],
	[ "$ups server { listen 127.0.0.1:8080; egress on; proxy_pass other; }",
		'"proxy_pass other" under "egress on"' ],
	[ "$ups server { listen 127.0.0.1:8080; egress on; "
		. "proxy_pass 127.0.0.1:1; }",
		'"proxy_pass 127.0.0.1:1" under "egress on"' ],
	[ "$ups server { listen 127.0.0.1:8080; egress on; "
		. "proxy_pass \$server_addr:1; }", 'under "egress on"' ],
	[ "$ups server { listen 127.0.0.1:8080; egress on; return a; }",
		'"egress on" must have "proxy_pass"' ],
	[ "$ups proxy_ssl on; server { listen 127.0.0.1:8080; egress on; "
		. "proxy_pass egress; }", '"proxy_ssl" is incompatible' ],
	[ 'upstream a { server 127.0.0.1:1; egress_balance; }',
		'"egress_balance" directive is incompatible with "server"' ],
	[ 'upstream a { egress_balance; hash $remote_addr; }',
		'load balancing method redefined' ],
	[ 'upstream a { hash $remote_addr; egress_balance; }',
		'is incompatible with another balancing method' ],
	[ 'upstream a { zone a 1m; egress_balance; }',
		'"egress_balance" is incompatible with' ],
);

# where the block stands does not matter

my @good = (
	[ "egress { zone 1m; } http { %%TEST_GLOBALS_HTTP%% $ups server { listen 127.0.0.1:8080; "
		. "egress on; location / { proxy_pass http://egress; } } }",
		'egress before http' ],
	[ "http { %%TEST_GLOBALS_HTTP%% $ups server { listen 127.0.0.1:8080; "
		. "egress on; location / "
		. "{ proxy_pass http://egress; } } } egress { zone 1m; }",
		'egress after http' ],
	[ "stream { $ups server { listen 127.0.0.1:8080; egress on; "
		. "proxy_pass egress; } } egress { zone 1m; }",
		'egress after stream' ],
	[ 'egress { zone 1m; dns_ttl min=1ms max=1ms stale=0; '
		. 'gateway name=a locality=r; }', 'smallest ttl' ],
	[ 'egress { zone 1m; dns_ttl min=1h; gateway name=a locality=r/z; }',
		'smallest maximum' ],
	[ 'egress { zone 1m; dns_ttl max=1s stale=10d; '
		. 'gateway name=a locality=r/z/s; }', 'largest minimum' ],
	[ "egress { zone 1m; resolver 127.0.0.1; resolver_timeout 1s; strict on;"
		. "service a { host A.example.com *.b.example.com; port 80 http; "
		. "port 443 https target=444; resolution none; lookup off; "
		. "guard allow=10.0.0.0/8 allow=fc00::/7; ech allow; } }",
		'service' ],
);

plan_all();

###############################################################################

refused("egress { $_->[0] }", $_->[1], $_->[0]) foreach @egress;

refused("egress { zone 1m; resolver 127.0.0.1; service s { $svc $_->[0] } }",
	$_->[1], $_->[0]) foreach @service;

refused("egress { zone 1m; } http { %%TEST_GLOBALS_HTTP%% $_->[0] }",
	$_->[1], "http, $_->[0]") foreach @http;

refused("egress { zone 1m; } stream { $_->[0] }", $_->[1],
	"stream, $_->[0]") foreach @stream;

refused("http { $ups server { listen 127.0.0.1:8080; egress on; } }",
	'no "egress" block for "egress on"', 'no block');
refused('egress { zone 1m; } egress { zone 1m; }',
	'"egress" directive is duplicate', 'two blocks');

foreach my $good (@good) {
	my ($status, $out) = config($good->[0]);
	is($status, 0, $good->[1]) or diag($out);
}

###############################################################################

sub plan_all {
	$t->plan(@egress + @service + @http + @stream + 2 + @good);
}

sub config {
	my ($conf) = @_;

	$t->write_file_expand('nginx.conf',
		"%%TEST_GLOBALS%%\nevents { }\n$conf\n");

	return $t->test_config();
}

sub refused {
	my ($conf, $error, $name) = @_;

	my ($status, $out) = config($conf);

	ok($status && index($out, $error) >= 0
		&& $out =~ /nginx\.conf:\d+/, substr($name, 0, 60)) or diag($out);
}

###############################################################################
