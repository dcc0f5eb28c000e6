#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for configurations that are more than one directive: every duplicate,
# the exact file and line, a module that is not loaded, and whatever can dial
# in a location under "egress on".  Invalid values: egress_core_errors.t.

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

my $svc = 'host a.example.com; port 80 http; endpoint 127.0.0.1;';
my $ups = 'upstream egress { egress_balance; } upstream other '
	. '{ server 127.0.0.1:1; }';

# each once is right, twice is not

my @core = (
	'zone 1m;', 'gateway name=a;', 'outbound_policy registry_only;',
	'trust_domain a;', 'resolver 127.0.0.1;', 'resolver_timeout 1s;',
	'strict on;', 'dns_ttl max=2h;'
);

my @service = (
	'resolution static;', 'location external;', 'ech allow;',
	'connect_timeout 1s;', 'lookup off;', 'source a;', 'guard off;',
	'tls simple;', 'port 81 http;'
);

my @tls = (
	'tls_certificate a;', 'tls_certificate_key a;',
	'tls_trusted_certificate a;', 'tls_crl a;', 'tls_ciphers a;',
	'tls_name a;', 'tls_verify on;', 'tls_protocols TLSv1.3;',
	'tls_alpn h2;'
);

my @http = (
	'egress off;', 'egress_port 80;', 'egress_service a;',
	'egress_reason_header on;'
);

my @stream = (
	'egress off;', 'egress_port 80;', 'egress_service a;',
	'egress_mesh off;', 'egress_preread on;', 'egress_preread_timeout 1s;',
	'egress_refuse close;'
);

# what else can dial in a location

my @diallers = (
	'fastcgi_pass other;', 'uwsgi_pass other;', 'scgi_pass other;',
	'set $memcached_key a; memcached_pass other;', 'proxy_pass https://other;',
	'proxy_pass http://egress$uri;', 'proxy_pass http://$arg_a;',
	'fastcgi_pass $arg_a;', 'proxy_pass http://unix:/tmp/a;',
	'proxy_pass http://egress; limit_except GET '
		. '{ proxy_pass http://other; }',
	'proxy_pass http://egress; if ($arg_a) { proxy_pass http://$arg_a; }',
	'proxy_pass http://egress; location /n { proxy_pass http://other; }',
	'location ~ x { proxy_pass http://other; }',
	'empty_gif;',
);

my @beside = (
	'return 200;', 'proxy_pass http://egress; location /n { egress off; '
		. 'proxy_pass http://other; }',
	'proxy_pass http://EGRESS;', 'rewrite ^ /a;',
	'proxy_pass http://egress; if ($arg_a) { return 403; }'
);

$t->plan(@core + @service + @tls + @http + @stream + @diallers + @beside + 18);

###############################################################################

foreach my $line (@core) {
	my $zone = $line =~ /^zone/ ? '' : 'zone 1m;';
	twice("egress { $zone", $line, '}');
}

twice("egress { zone 1m; service s { $svc", $_, '} }') foreach @service;
twice("egress { zone 1m; service s { $svc tls simple;", $_, '} }')
	foreach @tls;
twice("egress { zone 1m; service a { $svc } } http { $ups server { "
	. 'listen 127.0.0.1:8080; ', $_, '} }') foreach @http;
twice("egress { zone 1m; service a { $svc } } stream { $ups server { "
	. 'listen 127.0.0.1:8080; proxy_pass egress;', $_, '} }')
	foreach @stream;

foreach my $dialler (@diallers) {
	like(said("egress { zone 1m; } http { %%TEST_GLOBALS_HTTP%% $ups server {"
		. "\negress on;\nlocation / { $dialler } } }"),
		qr/"egress on".* in \S+nginx.conf:\d+/, "refused: $dialler");
}

foreach my $beside (@beside) {
	is(said("egress { zone 1m; } http { %%TEST_GLOBALS_HTTP%% $ups server { "
		. "listen 127.0.0.1:8080; egress on; location / { $beside } } }"),
		'', "accepted: $beside");
}

# the line of the block, and of the other one

like(said("egress {\nzone 1m;\nservice a {\nhost a;\n}\n}"),
	qr/service "a" must have "port" in \S+nginx.conf:6$/m, 'line');
like(said("egress {\nzone 1m;\nservice a { $svc }\n\nservice b { $svc }\n}"),
	qr/in service "b" in \S+:8, previously in \S+:6$/m, 'both lines, host');
like(said("egress {\nzone 1m;\nservice a { $svc }\n\n"
	. "service a { host b; port 1 tcp; endpoint 127.0.0.1; }\n}"),
	qr/duplicate service "a" in \S+:8, previously in \S+:6$/m,
	'both lines, name');
like(said("egress {\nzone 1m;\nservice a { host *.b A.example.com; "
	. "port 80 http; endpoint 127.0.0.1; }\n\nservice b { host *.B; "
	. "port 443 tls; port 80 http; endpoint 127.0.0.1; }\n}"),
	qr/duplicate host "\*\.b" and port 80 in service "b" in \S+:8, /,
	'wildcards, case');
like(said("egress {\nzone 1m;\nservice a { host a a; port 80 http; "
	. "endpoint 127.0.0.1; }\n}"),
	qr/duplicate host "a" and port 80 in service "a"/, 'twice in one');

is(said("egress { zone 1m; service a { $svc } service b { $svc lookup off; } "
	. 'service c { host *.example.com; port 80 http; endpoint 127.0.0.1; } '
	. 'service d { host a.example.com; port 81 http; endpoint 127.0.0.1; } }'
	), '', 'not duplicates');

$t->write_file('a.inc', "\n\nzone 1m;\nservice a { host a; }\n");
like(said("egress {\ninclude a.inc;\n}"),
	qr/service "a" must have "port" in \S+a\.inc:4$/m, 'line, include');

$t->write_file('a.inc', "\n\nservice a {\nport x y;\n}\n");
like(said("egress {\ninclude a.inc;\n}"),
	qr/invalid port "x" in \S+a\.inc:4$/m, 'line of directive, include');

$t->write_file("$_.inc", "service $_ { host $_; port 1 tcp; "
	. "endpoint 127.0.0.1; }\n") foreach qw/ one1 one2 /;
is(said("egress {\nzone 1m; include one*.inc;\n}"), '', 'include, mask');

like(said("egress {\nzone 1m;\nservice a { $svc\n"),
	qr/unexpected end of file/, 'no brace');
like(said("http {\negress on;\n$ups server { } }"),
	qr/no "egress" block for "egress on" in \S+nginx.conf:5$/m,
	'no block, line');

# a policy or a bucket has to be enforced wherever egress is on

my $policy = "egress { zone 1m; service a { $svc }\n"
	. 'policy a/b { action deny; rule { to { hosts *; } } } }';
my $http = "\nhttp { %%TEST_GLOBALS_HTTP%% $ups server { "
	. 'listen 127.0.0.1:8080; egress on; location / '
	. '{ proxy_pass http://egress; } } }';
my $stream = "\nstream { $ups server { listen 127.0.0.1:8080; egress on; "
	. 'proxy_pass egress; } }';

my @base = qw/ egress egress_authz http_egress stream_egress /;

SKIP: {

skip 'no module can be missing in a static build', 7
	if $t->version_text() =~ /--add-module=/;

like(said($policy . $http, @base),
	qr/policy.* is not enforced .*load module ngx_http_egress_authz_module/,
	'policy, no module, http');
like(said($policy . $stream, @base),
	qr/policy.* not enforced .*load module ngx_stream_egress_authz_module/,
	'policy, no module, stream');
like(said($policy . $http . $stream, @base, 'http_egress_authz'),
	qr/policy.* not enforced .*load module ngx_stream_egress_authz_module/,
	'policy, one module');
is(said($policy . $http, @base, 'http_egress_authz'), '',
	'policy, module');
like(said($policy . $http, qw/ egress http_egress /),
	qr/unknown directive "policy" in/, 'policy, no module at all');

$policy =~ s/policy.*/bucket a { tokens 1; fill 1; interval 1s; } }/;

like(said($policy . $http, @base, 'egress_ratelimit'),
	qr/bucket.* not enforced .*load module ngx_http_egress_ratelimit_module/,
	'bucket, no module');

# the order of load_module

like(said($policy . $http, reverse 'egress', 'http_egress'),
	qr/undefined symbol|unknown directive/, 'wrong order');

}

###############################################################################

# what nginx -t complains of, or nothing

sub said {
	my ($conf, @modules) = @_;

	my $globals = @modules
		? join("\n", $t->load_modules(@modules)) . "\npid "
			. $t->testdir() . '/nginx.pid;'
		: '%%TEST_GLOBALS%%';

	# the first line of the configuration is 4

	$globals =~ s/\n//g;
	$globals = $t->expand($globals);
	$globals =~ s/\n/ /g;

	$t->write_file_expand('nginx.conf', "$globals\nevents { }\n\n$conf\n");

	my ($status, $out) = $t->test_config();

	$out =~ s/.*\[warn\].*\n//g;

	return $status ? $out : $out =~ /\[emerg\]/ ? "emerg: $out" : '';
}

sub twice {
	my ($before, $line, $after) = @_;

	my ($name) = $line =~ /^(\w+)/;

	like(said("$before $line\n$line $after"),
		qr/"$name" directive is duplicate in \S+nginx.conf:5$/m,
		"twice, $line");
}

###############################################################################
