#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for policy and egress_authz: wrong configurations.

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

my $t = Test::Nginx->new();

# what stands in egress { }, and what nginx -t has to say

my @egress = (
	[ 'policy a;',
		'directive "policy" has no opening "{"' ],
	[ 'policy a { }',
		'policy "a" must have "action"' ],
	[ 'policy a { action; }',
		'invalid number of arguments in "action" directive' ],
	[ 'policy a { action block; }',
		'invalid value "block" in "action": it has to be "allow", "deny" or "audit"' ],
	[ 'policy a { action custom; }',
		'"action custom" is not possible: an authorizer that is not called can\'t allow anything' ],
	[ 'policy a { action allow; action deny; }',
		'"action" directive is duplicate' ],
	[ 'policy a { action allow; source a; source b; }',
		'"source" directive is duplicate' ],
	[ 'policy a { action allow; rule { source a; source b; } }',
		'"source" directive is duplicate' ],
	[ 'policy a { action allow; dry_run maybe; }',
		'invalid value "maybe" in "dry_run" directive, it must be "on" or "off"' ],
	[ 'policy a { action allow; dry_run on; dry_run on; }',
		'"dry_run" directive is duplicate' ],
	[ 'policy a { action audit; dry_run on; }',
		'"dry_run" of policy "a" is for "allow" and "deny" only' ],
	[ 'path_normalization some;',
		'invalid value "some"' ],
	[ 'path_normalization base; path_normalization base;',
		'"path_normalization" directive is duplicate' ],
	[ 'trusted_hops -1;',
		'invalid number' ],
	[ 'trusted_hops 1; trusted_hops 1;',
		'"trusted_hops" directive is duplicate' ],
	[ 'policy a { action allow; tokens 1; }',
		'"tokens" directive is not allowed here' ],
	[ 'policy a { action allow; } policy a { action deny; }',
		'duplicate policy "a"' ],
	[ 'policy "a b" { action allow; }',
		'invalid policy name "a b"' ],
	[ 'policy "" { action allow; }',
		'invalid policy name ""' ],
	[ 'policy a { action allow; from { } }',
		'"from" directive is not allowed here' ],
	[ 'policy a { action allow; rule a { } }',
		'invalid number of arguments in "rule" directive' ],
	[ 'policy a { action allow; rule { when a in b; } }',
		'invalid key "a" in "when": unknown attribute' ],
	[ 'policy a { action allow; rule { when source.ip; } }',
		'"when" directive must have a key, "in" or "not_in", and values' ],
	[ 'policy a { action allow; rule { when source.ip in; } }',
		'"when" directive must have a key, "in" or "not_in", and values' ],
	[ 'policy a { action allow; rule { when source.ip is 10.0.0.1; } }',
		'invalid value "is" in "when": it has to be "in" or "not_in"' ],
	[ 'policy a { action allow; rule { when source.ip in 10.0.0.256; } }',
		'invalid value "10.0.0.256" in "source.ip": it has to be an address or a CIDR' ],
	[ 'policy a { action allow; rule { when source.ips in 10.0.0.1; } }',
		'invalid key "source.ips" in "when": unknown attribute' ],
	[ 'policy a { action allow; rule { when request.headers in a; } }',
		'invalid key "request.headers" in "when": it has to be request.headers[name]' ],
	[ 'policy a { action allow; rule { when request.headers[] in a; } }',
		'invalid key "request.headers[]" in "when": it has to be request.headers[name]' ],
	[ 'policy a { action allow; rule { when request.headers[a in a; } }',
		'invalid key "request.headers[a" in "when": it has to be request.headers[name]' ],
	[ 'policy a { action allow; rule { when request.auth.claims[a] in a; } }',
		'invalid key "request.auth.claims[a]" in "when": there are no JWTs at this gateway' ],
	[ 'policy a { action allow; rule { when request.auth.principal not_in a; } }',
		'invalid key "request.auth.principal" in "when": there are no JWTs at this gateway' ],
	[ 'policy a { action allow; rule { when experimental.envoy.filters.a[b] in c; } }',
		'invalid key "experimental.envoy.filters.a[b]" in "when": there is no metadata of Envoy filters' ],
	[ 'policy a { action allow; rule { when destination.namespace in a; } }',
		'invalid key "destination.namespace" in "when": it is replaced by the metadata.namespace' ],
	[ 'policy a { action allow; rule { when destination.labels[a] in a; } }',
		'invalid key "destination.labels[a]" in "when": it is replaced by the workload selector' ],
	[ 'policy a { action allow; rule { when destination.user in a; } }',
		'invalid key "destination.user" in "when": it is deprecated, of v1alpha1 only' ],
	[ 'policy a { action allow; rule { when destination.port in 0; } }',
		'invalid value "0" in "destination.port": it has to be a port' ],
	[ 'policy a { action allow; rule { when source.principal in a; } }',
		'invalid value "a" in "source.principal": no SPIFFE ID can match it' ],
	[ 'policy a { action allow; rule { from {  } } }',
		'"from" directive is empty' ],
	[ 'policy a { action allow; rule { to {  } } }',
		'"to" directive is empty' ],
	[ 'policy a { action allow; rule { from { principals; } } }',
		'invalid number of arguments in "principals" directive' ],
	[ 'policy a { action allow; rule { from { principals a/b; principals a/c; } } }',
		'"principals" directive is duplicate' ],
	[ 'policy a { action allow; rule { from { namespaces a; namespaces b; } } }',
		'"namespaces" directive is duplicate' ],
	[ 'policy a { action allow; rule { from { principals ""; } } }',
		'invalid value "" in "principals": it is empty' ],
	[ 'policy a { action allow; rule { from { principals spiffe://a/b; } } }',
		'invalid value "spiffe://a/b" in "principals": a principal is written without "spiffe://"' ],
	[ 'policy a { action allow; rule { from { principals a/*/b; } } }',
		'invalid value "a/*/b" in "principals": "*" has to be either its first or its last byte' ],
	[ 'policy a { action allow; rule { from { not_principals *a*; } } }',
		'invalid value "*a*" in "not_principals": "*" has to be either its first or its last byte' ],
	[ 'policy a { action allow; rule { from { principals a/b/; } } }',
		'invalid value "a/b/" in "principals": no SPIFFE ID can match it' ],
	[ 'policy a { action allow; rule { from { principals A/b; } } }',
		'invalid value "A/b" in "principals": no SPIFFE ID can match it' ],
	[ 'policy a { action allow; rule { from { principals a; } } }',
		'invalid value "a" in "principals": no SPIFFE ID can match it' ],
	[ 'policy a { action allow; rule { from { namespaces a/b; } } }',
		'invalid value "a/b" in "namespaces": no namespace can match it' ],
	[ 'policy a { action allow; rule { from { not_namespaces ""; } } }',
		'invalid value "" in "not_namespaces": it is empty' ],
	[ 'policy a { action allow; rule { from { service_accounts a; } } }',
		'invalid value "a" in "service_accounts": it has to be "namespace/name"' ],
	[ 'policy a { action allow; rule { from { service_accounts a/b/c; } } }',
		'invalid value "a/b/c" in "service_accounts": it has to be "namespace/name"' ],
	[ 'policy a { action allow; rule { from { not_service_accounts a/*; } } }',
		'invalid value "a/*" in "not_service_accounts": no service account can match it' ],
	[ 'policy a { action allow; rule { from { hosts a; } } }',
		'"hosts" directive is not allowed here' ],
	[ 'policy a { action allow; rule { from { ip_blocks 10.0.0.0/33; } } }',
		'invalid value "10.0.0.0/33" in "ip_blocks": it has to be an address or a CIDR' ],
	[ 'policy a { action deny; rule { from { ip_blocks ::ffff:10.0.0.0/104; } } }',
		'invalid value "::ffff:10.0.0.0/104" in "ip_blocks": addresses of IPv4 are compared as such: write it as one' ],
	[ 'policy a { action allow; rule { from { not_remote_ip_blocks unix:; } } }',
		'invalid value "unix:" in "not_remote_ip_blocks": it has to be an address or a CIDR' ],
	[ 'policy a { action allow; rule { from { ip_blocks ::1; ip_blocks ::1; } } }',
		'"ip_blocks" directive is duplicate' ],
	[ 'policy a { action allow; rule { from { trust_domains A; } } }',
		'invalid value "A" in "trust_domains": no trust domain can match it' ],
	[ 'policy a { action allow; rule { from { request_principals a; } } }',
		'"request_principals" is not possible: there are no JWTs at this gateway' ],
	[ 'policy a { action deny; rule { from { not_request_principals *; } } }',
		'"not_request_principals" is not possible: there are no JWTs at this gateway' ],
	[ 'policy a { action allow; rule { to { principals a/b; } } }',
		'"principals" directive is not allowed here' ],
	[ 'policy a { action allow; rule { to { methods ""; } } }',
		'invalid value "" in "methods": it is empty' ],
	[ 'policy a { action allow; rule { to { paths "/{**}/{*}"; } } }',
		'invalid value "/{**}/{*}" in "paths": {**} is not the last operator' ],
	[ 'policy a { action allow; rule { to { not_paths "/{a}"; } } }',
		'invalid value "/{a}" in "not_paths": it contains "{" or "}" beyond a supported path template' ],
	[ 'policy a { action allow; rule { to { paths "/{*}/a[b"; } } }',
		'invalid value "/{*}/a[b" in "paths": it contains a segment with an invalid string literal' ],
	[ 'policy a { action allow; rule { to { paths "a/{*}"; } } }',
		'invalid value "a/{*}" in "paths": a path template begins with "/"' ],
	[ 'policy a { action allow; rule { to { hosts a.*.b; } } }',
		'invalid value "a.*.b" in "hosts": "*" has to be either its first or its last byte' ],
	[ 'policy a { action allow; rule { to { hosts a.; } } }',
		'invalid value "a." in "hosts": no host can match it' ],
	[ 'policy a { action allow; rule { to { not_hosts "a b"; } } }',
		'invalid value "a b" in "not_hosts": no host can match it' ],
	[ 'policy a { action allow; rule { to { ports 0; } } }',
		'invalid value "0" in "ports": it has to be a port' ],
	[ 'policy a { action allow; rule { to { ports 65536; } } }',
		'invalid value "65536" in "ports": it has to be a port' ],
	[ 'policy a { action allow; rule { to { not_ports 443 https; } } }',
		'invalid value "https" in "not_ports": it has to be a port' ],
	[ 'policy a { action allow; rule { to { ports -1; } } }',
		'invalid value "-1" in "ports": it has to be a port' ],
);

# what stands in a server { } of http and of stream

my @server = (
	[ 'egress_authz maybe;',
		'invalid value "maybe"' ],
	[ 'egress_authz;',
		'invalid number of arguments in "egress_authz" directive' ],
	[ 'egress_authz on; egress_authz on;',
		'"egress_authz" directive is duplicate' ],
);

# what is right

my @good = (
	'policy a { action allow; }',
	'policy a/b { action deny; source "f.yaml:3"; rule { } }',
	'policy a { action allow; rule { from { principals * *b b/*; not_principals a/b; namespaces * a* *b a*b; service_accounts a/b; } } }',
	'policy a { action allow; rule { to { hosts * A.b *.b a.* [::1]; not_hosts a; ports 1 65535; not_ports 2; } } }',
	'policy a { action audit; rule { to { hosts a:443 a:*; methods * G* *T GET; not_methods PUT; paths /a /b* *.c "/{*}/{**}"; not_paths /x; } } }',
	'path_normalization decode_and_merge_slashes; trusted_hops 2; policy a { action deny; dry_run on; rule { from { ip_blocks 10.0.0.0/8 ::1; not_ip_blocks 10.1.0.0/16; remote_ip_blocks 1.2.3.4; not_remote_ip_blocks 1.2.3.5; trust_domains a *b; not_trust_domains c; not_namespaces d; not_service_accounts a/b; } } }',
	'policy a { action allow; rule { when request.headers[X-A] in a *b c* *; when source.ip not_in 10.0.0.0/8; when remote.ip in ::/0; when source.namespace in a; when source.principal in a/b; when source.serviceAccount in a/b; when source.trustDomain in a; when destination.ip in 127.0.0.1; when destination.port in 443; when connection.sni in *.a; } }',
	'policy a { action allow; rule { from { namespaces a; } from { namespaces b; } to { ports 1; } to { ports 2; } } rule { } }',
);

$t->plan(@egress + 2 * @server + @good + 2);

###############################################################################

foreach my $case (@egress) {
	my ($conf, $error) = @$case;

	says($error, egress => $conf);
}

foreach my $case (@server) {
	my ($conf, $error) = @$case;

	says($error, http => $conf);
	says($error, stream => $conf);
}

foreach my $conf (@good) {
	says('test is successful', egress => $conf);
}

# what would not be enforced is refused: invariant 1

SKIP: {

# in a static build no module can be missing

skip 'static build', 2 if $t->version_text() =~ /--add-module=/;

foreach my $subsystem (qw/ http stream /) {
	says("\"policy\" in LINE is not enforced for \"egress on\" in LINE: "
		. "load module ngx_${subsystem}_egress_authz_module",
		egress => 'policy a { action deny; }', $subsystem => 'egress on;',
		without => "ngx_${subsystem}_egress_authz_module");
}

}

###############################################################################

sub says {
	my ($error, %conf) = @_;

	$conf{$_} ||= '' for qw/ egress http stream /;

	write_conf(%conf);

	my ($status, $out) = $t->test_config();

	# an error is of no use without its place

	$out =~ s!in \S*nginx\.conf:\d+!in LINE!g;

	$error .= ' in LINE' unless $error =~ /successful|LINE/;

	my $name = join ' ', map { $conf{$_} } qw/ egress http stream /;

	ok(index($out, $error) >= 0 && !$status == ($error =~ /successful/),
		"$name: $error") or diag($out);
}

sub write_conf {
	my (%conf) = @_;

	my $pass = $conf{stream} =~ /egress on/ ? 'egress' : '127.0.0.1:8082';

	$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m;
    $conf{egress}
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen  127.0.0.1:8080;
        $conf{http}
    }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    upstream egress {
        egress_balance;
    }

    server {
        listen      127.0.0.1:8081;
        proxy_pass  $pass;
        $conf{stream}
    }
}

EOF

	return unless $conf{without};

	my $text = $t->read_file('nginx.conf');

	$text =~ s/load_module [^;]*$conf{without}\.so;//
		or die "no $conf{without} in nginx.conf\n";

	$t->write_file('nginx.conf', $text);
}

###############################################################################
