#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for what AuthorizationPolicy means, a table: policies, questions, and
# what is decided.  Numbers are sections of Istio's semantics as in the
# reference: 3.2 evaluation, 3.3 kinds of matches, 3.4 trust domains, 3.5 TCP,
# 3.8 dry run, 3.9 Istio's own test data.  egress_explain decides by the code
# that traffic takes.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use JSON::PP;
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();

my $x = 'principal=td1/ns/foo/sa/x';
my $y = 'principal=td1/ns/bar/sa/y';

# name, policies, questions: arguments and "verdict reason policy"

my @cases = (

[ '3.2 no policy', '', [ '', 'allowed - ' ], [ $x, 'allowed - ' ] ],

[ '3.2 spec: {}, an allow policy without rules denies all',
	'policy a { action allow; }',
	[ '', 'denied authz_denied ' ], [ $x, 'denied authz_denied ' ],
	[ "protocol=tcp&service=s&$x", 'denied authz_denied ' ] ],

[ '3.2 deny without rules denies nothing',
	'policy a { action deny; }', [ '', 'allowed - ' ] ],

[ '3.2 audit decides nothing',
	'policy a { action audit; rule { } }', [ '', 'allowed - ' ] ],

[ '3.9 (1) rules: [{}] allows all',
	'policy a { action allow; rule { } }', [ '', 'allowed - a/0' ] ],

[ '3.9 (13) rules: [{}] denies all',
	'policy a { action deny; rule { } }', [ $x, 'denied authz_denied a/0' ] ],

[ '3.2 a rule that allows beside a policy that has none',
	'policy a { action allow; } policy b { action allow; rule { } }',
	[ '', 'allowed - b/0' ] ],

[ '3.9 (12) deny before allow, in whatever order they stand',
	'policy a { action allow; rule { } }
	 policy d { action deny; rule { from { principals td1/ns/foo/sa/x; } } }',
	[ $x, 'denied authz_denied d/0' ], [ $y, 'allowed - a/0' ],
	[ '', 'denied no_identity d/0' ] ],

[ '3.2 values are alternatives, fields have to hold together',
	'policy a { action allow; rule {
		from { principals td1/ns/foo/sa/x td1/ns/bar/sa/y; namespaces foo; }
		to { methods GET PUT; paths /a /b; } } }',
	[ "$x&path=/a", 'allowed - a/0' ],
	[ "$x&path=/b&method=PUT", 'allowed - a/0' ],
	[ "$x&path=/b&method=POST", 'denied authz_denied ' ],
	[ "$x&path=/c", 'denied authz_denied ' ],
	[ "$y&path=/a", 'denied authz_denied ' ] ],

[ '3.2 several from and to are alternatives, when holds for all',
	'policy a { action allow; rule {
		from { namespaces foo; } from { ip_blocks 10.0.0.0/8; }
		to { methods GET; } to { paths /a; }
		when request.headers[h] in v; when destination.port in 80; } }',
	[ "$x&header.h=v", 'allowed - a/0' ],
	[ "$x&header.h=v&method=PUT&path=/a", 'allowed - a/0' ],
	[ "source=10.1.2.3&header.h=v", 'allowed - a/0' ],
	[ "source=11.1.2.3&header.h=v", 'denied no_identity ' ],
	[ "$y&source=11.1.2.3&header.h=v", 'denied authz_denied ' ],
	[ "$x&header.h=w", 'denied authz_denied ' ],
	[ "$x&header.h=v&method=PUT", 'denied authz_denied ' ],
	[ "$x&header.h=v&port=8000", 'denied authz_denied ' ] ],

[ '3.2 values and notValues of one key both hold',
	'policy a { action allow; rule {
		when request.headers[h] in a*; when request.headers[h] not_in ab; } }',
	[ 'header.h=ac', 'allowed - a/0' ],
	[ 'header.h=ab', 'denied authz_denied ' ],
	[ '', 'denied authz_denied ' ] ],

[ '3.2 not-lists hold if none matches',
	'policy a { action allow; rule { to { not_methods GET PUT; not_paths /x*; } } }',
	[ 'method=POST', 'allowed - a/0' ],
	[ 'method=PUT', 'denied authz_denied ' ],
	[ 'method=POST&path=/xy', 'denied authz_denied ' ] ],

[ '3.2 of several rules the first that matches is named',
	'policy a { action allow; rule { to { methods PUT; } } rule { } rule { } }
	 policy b { action allow; rule { } }',
	[ '', 'allowed - a/1' ], [ 'method=PUT', 'allowed - a/0' ] ],

[ '3.3 * is anything but nothing, a prefix, a suffix',
	'policy a { action allow;
		rule { from { principals *; } to { paths /any; } }
		rule { from { principals td1/ns/foo/*; } to { paths /prefix; } }
		rule { from { principals *-foo/sa/x; } to { paths /none; } }
		rule { from { principals */ns/foo/sa/x; } to { paths /suffix; } } }',
	[ "$x&path=/any", 'allowed - a/0' ],
	[ 'path=/any', 'denied no_identity ' ],
	[ "$x&path=/prefix", 'allowed - a/1' ],
	[ 'principal=td1/ns/foobar/sa/x&path=/prefix', 'denied authz_denied ' ],
	[ "$x&path=/none", 'denied authz_denied ' ],
	[ "$x&path=/suffix", 'allowed - a/3' ] ],

[ '3.3 case: hosts and header names not, principals, methods, paths do',
	'policy a { action allow;
		rule { to { hosts S.Example.COM; methods GET; paths /Path; }
		       when request.headers[X-Name] in Value; } }',
	[ 'path=/Path&header.x-name=Value', 'allowed - a/0' ],
	[ 'path=/path&header.x-name=Value', 'denied authz_denied ' ],
	[ 'path=/Path&header.x-name=value', 'denied authz_denied ' ],
	[ 'path=/Path&header.x-name=Value&method=get', 'denied authz_denied ' ] ],

[ '3.3 hosts include the port of Host',
	'policy a { action allow; rule { to { hosts s.example.com; } }
		rule { to { hosts t.example.com:*; } } }',
	[ '', 'allowed - a/0' ],
	[ 'authority=s.example.com:80', 'denied authz_denied ' ],
	[ 'authority=t.example.com:80', 'allowed - a/1' ] ],

[ '3.3 namespaces: * anywhere, over segments',
	'policy a { action allow; rule { from { namespaces f*o; } } }',
	[ $x, 'allowed - a/0' ], [ $y, 'denied authz_denied ' ],
	[ 'principal=td9/ns/fo/sa/oo/x', 'allowed - a/0' ],
	[ 'principal=td9/x/y', 'denied authz_denied ' ] ],

[ '3.3 service accounts: any trust domain, more segments',
	'policy a { action allow; rule { from { service_accounts foo/x; } } }',
	[ $x, 'allowed - a/0' ], [ 'principal=td9/ns/foo/sa/x', 'allowed - a/0' ],
	[ 'principal=td9/a/ns/foo/b/sa/x/c', 'allowed - a/0' ],
	[ 'principal=td1/ns/foo/sa/xy', 'denied authz_denied ' ] ],

[ '3.3 connection.sni is not lower-cased in a rule',
	'policy a { action allow; rule { when connection.sni in S.example.com; }
		rule { when connection.sni in *.example.com; to { paths /a; } } }',
	[ 'sni=s.example.com', 'denied authz_denied ' ],
	[ 'sni=S.example.com&path=/a', 'allowed - a/1' ],
	[ 'path=/a', 'denied authz_denied ' ] ],

[ '3.3 addresses',
	'policy a { action allow; rule { from { ip_blocks 10.0.0.0/9 2001:db8::/32; } }
		rule { when remote.ip in 192.0.2.1; }
		rule { when destination.ip in 198.51.100.0/24; } }',
	[ 'source=10.127.0.1', 'allowed - a/0' ],
	[ 'source=10.128.0.1', 'denied authz_denied ' ],
	[ 'source=2001:db8::9', 'allowed - a/0' ],
	[ 'source=::ffff:10.0.0.1', 'allowed - a/0' ],
	[ 'remote=192.0.2.1', 'allowed - a/1' ],
	[ 'destination=198.51.100.9', 'allowed - a/2' ] ],

[ 'departure 3: a missing identity never helps',
	'policy a { action allow; rule { from { not_principals td1/ns/bar/sa/y; }
			to { methods GET; } }
		rule { to { methods PUT; } } rule { to { methods POST; } } }
	 policy d { action deny; rule { from { not_namespaces foo; }
			to { methods PUT; } } }',
	[ $x, 'allowed - a/0' ], [ $y, 'denied authz_denied ' ],
	[ '', 'denied no_identity ' ],
	[ "$x&method=PUT", 'allowed - a/1' ],
	[ 'method=PUT', 'denied no_identity d/0' ],
	[ 'method=POST', 'allowed - a/2' ] ],

[ '3.4 trust domains: aliases, cluster.local, others, wildcards',
	'policy a { action allow;
		rule { from { principals cluster.local/ns/foo/sa/x; } }
		rule { from { principals other/ns/foo/sa/x; } }
		rule { from { principals *-td/ns/bar/sa/y; } }
		rule { from { principals td1/a/b; } } }',
	[ $x, 'allowed - a/0' ],
	[ 'principal=old-td/ns/foo/sa/x', 'allowed - a/0' ],
	[ 'principal=cluster.local/ns/foo/sa/x', 'denied authz_denied ' ],
	[ 'principal=other/ns/foo/sa/x', 'allowed - a/1' ],
	[ 'principal=new-td/ns/bar/sa/y', 'allowed - a/2' ],
	[ $y, 'allowed - a/2' ],
	[ 'principal=old-td/a/b', 'denied authz_denied ' ] ],

[ '3.9 (23) trust domains as a field',
	'policy a { action allow; rule { from { trust_domains td1; } }
		rule { from { trust_domains b*d; } } }',
	[ 'principal=old-td/ns/foo/sa/x', 'allowed - a/0' ],
	[ 'principal=bad/ns/foo/sa/x', 'allowed - a/1' ],
	[ 'principal=b/ad/ns/foo/sa/x', 'denied authz_denied ' ] ],

[ '3.5, 3.9 (24, 25) TCP: an allow rule with a field of HTTP is none',
	'policy a { action allow; rule { to { methods GET; } }
		rule { to { ports 5432; paths /a; } }
		rule { from { principals td1/ns/foo/sa/x; } when request.headers[h] in v; }
		rule { from { principals td1/ns/bar/sa/y; } } }',
	[ "protocol=tcp&service=s&port=5432&$x", 'denied authz_denied ' ],
	[ "protocol=tcp&service=s&port=5432&$y", 'allowed - a/3' ] ],

[ '3.5, 3.9 (29) TCP: a deny rule goes on without it',
	'policy d { action deny; rule { from { namespaces foo; } to { methods GET; } }
		rule { to { ports 5432; paths /a; } } }',
	[ "protocol=tcp&service=s&port=80&$x", 'denied authz_denied d/0' ],
	[ "protocol=tcp&service=s&port=80&$y", 'allowed - ' ],
	[ "protocol=tcp&service=s&port=5432&$y", 'denied authz_denied d/1' ] ],

[ 'departure 1: hosts count on TCP and on the SNI',
	'policy a { action allow; rule { to { hosts s.example.com; } } }',
	[ "protocol=tcp&service=s&port=5432", 'allowed - a/0' ],
	[ "protocol=tls&sni=s.example.com&port=443", 'allowed - a/0' ],
	[ "protocol=tls&sni=t.example.com&port=443", 'denied authz_denied ' ] ],

[ '3.8 dry run: nothing is enforced, also if it is all there is',
	'policy a { action allow; dry_run on; } policy d { action deny; dry_run on; rule { } }',
	[ '', 'allowed - ' ] ],

[ '3.9 (16) dry run beside what is enforced',
	'policy a { action allow; rule { to { methods GET; } } }
	 policy b { action allow; dry_run on; rule { to { methods PUT; } } }',
	[ '', 'allowed - a/0' ], [ 'method=PUT', 'denied authz_denied ' ] ],

);

my $n = 0;
$n += @$_ - 2 foreach @cases;

configure('');
$t->run()->plan($n);

###############################################################################

foreach my $case (@cases) {
	my ($name, $policies, @questions) = @$case;

	my $old = worker();

	configure($policies);
	$t->reload();

	# the old worker may take a request until it is gone

	for (1 .. 250) {
		last unless kill 0, $old;
		select undef, undef, undef, 0.02;
	}

	foreach my $question (@questions) {
		my ($args, $expected) = @$question;

		is(decided($args), $expected, "$name: $args");
	}
}

###############################################################################

sub decided {
	my ($args) = @_;

	$args .= '&host=s.example.com' unless $args =~ /sni=/
		&& $args =~ /protocol=tls/;
	$args .= '&port=80' unless $args =~ /port=/;
	$args .= '&protocol=http' unless $args =~ /protocol=/;

	my ($json) = http_get("/explain?$args") =~ /\r\n\r\n(.*)/s;
	my $e = JSON::PP->new->utf8->decode($json);

	return $e->{error} || join ' ', @$e{qw/ verdict reason policy /};
}

sub worker {
	return http_get('/status/versions') =~ /"pid":(\d+)/ ? $1 : die;
}

sub configure {
	my ($policies) = @_;

	$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone          1m;
    trust_domain  td1 old-td;

    service s {
        host s.example.com t.example.com;
        port 80 http;  port 8000 http;  port 443 tls;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1;
    }

    $policies
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    server {
        listen  127.0.0.1:8080;
        location /explain { egress_explain; }
        location /status { egress_status; }
    }

    server {
        listen  127.0.0.1:8081;
        egress  on;
        location / { proxy_pass http://egress; }
    }
}

stream {
    upstream egress { egress_balance; }

    server {
        listen  127.0.0.1:8082;
        egress  on;
        proxy_pass  egress;
    }
}

EOF
}

###############################################################################
