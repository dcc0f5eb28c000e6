#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for what a service may say of its far side: endpoints, subsets,
# balancing, limits, retries, outlier detection, addresses.  Every edge of a
# range is tried from both sides; an error names the file and the line.

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

my $host = 'host a.example.com; port 80 http;';
my $ep = 'endpoint 127.0.0.1 label=v=1;';

# beside $host and $ep: what is right

my @good = (
	'endpoint 127.0.0.2;',
	'endpoint 127.0.0.1 port=1;',
	'endpoint 127.0.0.1 port=65535;',
	'endpoint 127.0.0.2 weight=1 backup;',
	'endpoint 127.0.0.2 weight=65535;',
	'endpoint 127.0.0.2 locality=r;',
	'endpoint 127.0.0.2 locality=r/z;',
	'endpoint 127.0.0.2 backup locality=r/z/s label=v=2 label=w= weight=2;',
	'endpoint unix:/tmp/a weight=2 label=v=2;',
	'endpoint unix:/tmp/a; endpoint unix:/tmp/b;',
	'endpoint ::1; endpoint ::1 port=1;',
	'subset a v=1;',
	'subset a v=1; subset b v=1;',
	'endpoint 127.0.0.2 label=v=1 label=w=a=b; subset a w=a=b v=1;',
	'endpoint 127.0.0.2 label=v=; subset a v=; subset v1.b-c_d v=1;',
	'balance round_robin;', 'balance least_request;', 'balance random;',
	'balance hash $remote_addr;', 'balance hash ${remote_addr};',
	'balance hash text;', 'balance hash "a $b${c}d${E_1}";',
	'balance hash $a_1$_b;', 'balance hash $arg_a-;',
	'idle_timeout 0;', 'idle_timeout 1ms;', 'idle_timeout 10d;',
	'connect_timeout 1ms;',
	'tcp_keepalive on;', 'tcp_keepalive off;',
	'tcp_keepalive time=1;',
	'tcp_keepalive time=32767s interval=32767s probes=127;',
	'tcp_keepalive probes=1 interval=1s time=2h;',
	'max_connections 1;', 'max_connections 2147483647;',
	'max_pending 0;', 'max_pending 1 timeout=1ms;',
	'max_pending 1024 timeout=1m;',
	'max_requests 1;', 'max_retries 0;', 'max_retries 3;',
	'requests_per_connection 1;',
	'keepalive 0;', 'keepalive 1024;', 'keepalive_timeout 1h;',
	'idle_timeout 1s; keepalive 1; keepalive_timeout 2s;',
	'retry attempts=0;', 'retry attempts=100;',
	'retry attempts=1 per_try_timeout=1ms on=connect-failure;',
	'retry on=refused-stream,reset,reset-before-request,5xx,gateway-error,'
		. 'envoy-ratelimited,retriable-4xx,retriable-status-codes,100,503,'
		. '599 attempts=2;',
	'retry attempts=1 on=retriable-status-codes;',
	'retry attempts=1 on=503,503;',
	'outlier consecutive_5xx=0;', 'outlier consecutive_gateway=5;',
	'outlier consecutive_local=5;', 'outlier interval=1ms;',
	'outlier ejection=1ms;', 'outlier max_ejected=0;',
	'outlier max_ejected=100;', 'outlier max_ejected=100%;',
	'outlier min_health=0%;',
	'outlier consecutive_5xx=5 consecutive_gateway=3 consecutive_local=2 '
		. 'interval=10s ejection=30s max_ejected=10% min_health=50;',
	'address 192.0.2.1;', 'address 192.0.2.0/24 2001:db8::/32;',
	'address 192.0.2.1; address 192.0.2.2;', 'address 0.0.0.0/0 ::/0;',
);

# and what is not, with nginx's phrase

my @bad = (
	[ 'endpoint 127.0.0.2 weight=0;', 'invalid parameter "weight=0"' ],
	[ 'endpoint 127.0.0.2 weight=65536;', 'invalid parameter "weight=65536"' ],
	[ 'endpoint 127.0.0.2 weight=;', 'invalid parameter "weight="' ],
	[ 'endpoint 127.0.0.2 weight=-1;', 'invalid parameter "weight=-1"' ],
	[ 'endpoint 127.0.0.2 weight=1 weight=1;',
		'invalid parameter "weight=1"' ],
	[ 'endpoint 127.0.0.2 port=65536;', 'invalid parameter "port=65536"' ],
	[ 'endpoint 127.0.0.2 port=1 port=1;', 'invalid parameter "port=1"' ],
	[ 'endpoint unix:/tmp/a port=1;', 'invalid parameter "port=1"' ],
	[ 'endpoint 127.0.0.2 backup backup;', 'invalid parameter "backup"' ],
	[ 'endpoint 127.0.0.2 backups;', 'invalid parameter "backups"' ],
	[ 'endpoint 127.0.0.2 locality=;', 'invalid parameter "locality="' ],
	[ 'endpoint 127.0.0.2 locality=/;', 'invalid parameter "locality=/"' ],
	[ 'endpoint 127.0.0.2 locality=a/;', 'invalid parameter "locality=a/"' ],
	[ 'endpoint 127.0.0.2 locality=/a;', 'invalid parameter "locality=/a"' ],
	[ 'endpoint 127.0.0.2 locality=a//c;',
		'invalid parameter "locality=a//c"' ],
	[ 'endpoint 127.0.0.2 locality=a/b/c/;',
		'invalid parameter "locality=a/b/c/"' ],
	[ 'endpoint 127.0.0.2 locality=a/b/c/d;',
		'invalid parameter "locality=a/b/c/d"' ],
	[ 'endpoint 127.0.0.2 locality=a locality=b;',
		'invalid parameter "locality=b"' ],
	[ 'endpoint 127.0.0.2 label==1;', 'invalid parameter "label==1"' ],
	[ 'endpoint 127.0.0.2 label=v=1 label=v=2;',
		'invalid parameter "label=v=2"' ],
	[ 'endpoint 127.0.0.1;', 'duplicate endpoint "127.0.0.1"' ],
	[ 'endpoint 127.0.0.1 weight=2 backup;',
		'duplicate endpoint "127.0.0.1"' ],
	[ 'endpoint ::1 port=1; endpoint 0:0::1 port=1;',
		'duplicate endpoint "0:0::1"' ],
	[ 'endpoint unix:/tmp/a; endpoint unix:/tmp/a;',
		'duplicate endpoint "unix:/tmp/a"' ],
	[ 'resolution dns; endpoint b.c; endpoint B.c;',
		'duplicate endpoint "b.c"' ],
	[ 'resolution dns; endpoint unix:/tmp/a;',
		'with "resolution dns" has an endpoint that is a Unix socket' ],

	[ 'subset a;', 'invalid number of arguments in "subset" directive' ],
	[ 'subset "" v=1;', 'invalid subset name ""' ],
	[ 'subset a:b v=1;', 'invalid subset name "a:b"' ],
	[ 'subset a/b v=1;', 'invalid subset name "a/b"' ],
	[ 'subset a v;', 'invalid parameter "v"' ],
	[ 'subset a =1;', 'invalid parameter "=1"' ],
	[ 'subset a v=1 v=2;', 'invalid parameter "v=2"' ],
	[ 'subset a v=1; subset a v=1;', 'duplicate subset "a"' ],
	[ 'subset a v=1; subset b v=2;',
		'subset "b" of service "s" has no endpoint' ],
	[ 'subset a v=1 w=1;', 'subset "a" of service "s" has no endpoint' ],
	[ 'subset a v=;', 'subset "a" of service "s" has no endpoint' ],
	[ 'endpoint 127.0.0.2 label=w=1; subset a v=1 w=1;',
		'subset "a" of service "s" has no endpoint' ],

	[ 'balance;', 'invalid number of arguments in "balance" directive' ],
	[ 'balance maglev;', 'invalid value "maglev"' ],
	[ 'balance random two;', 'invalid parameter "two"' ],
	[ 'balance hash;', '"balance hash" must have a key' ],
	[ 'balance hash "";', 'invalid value ""' ],
	[ 'balance hash a b;',
		'invalid number of arguments in "balance" directive' ],

	map { [ "balance hash $_;", "invalid variable name in \"$_\"" ] }
		'$', 'a$', '$$a', '$-a', '${}', '${a', '${a-b}', 'b$a${', '$1',
		'${1a}'
);

push @bad, (
	[ 'idle_timeout x;', '"idle_timeout" directive invalid value' ],
	[ 'idle_timeout -1;', '"idle_timeout" directive invalid value' ],
	[ 'keepalive_timeout x;', '"keepalive_timeout" directive invalid value' ],
	[ 'keepalive -1;', '"keepalive" directive invalid number' ],
	[ 'keepalive off;', '"keepalive" directive invalid number' ],

	[ 'tcp_keepalive;',
		'invalid number of arguments in "tcp_keepalive" directive' ],
	[ 'tcp_keepalive maybe;', 'invalid parameter "maybe"' ],
	[ 'tcp_keepalive on time=1;', 'invalid parameter "on"' ],
	[ 'tcp_keepalive time=1 off;', 'invalid parameter "off"' ],
	[ 'tcp_keepalive time=0;', 'invalid parameter "time=0"' ],
	[ 'tcp_keepalive time=1ms;', 'invalid parameter "time=1ms"' ],
	[ 'tcp_keepalive time=1500ms;', 'invalid parameter "time=1500ms"' ],
	[ 'tcp_keepalive time=32768;', 'invalid parameter "time=32768"' ],
	[ 'tcp_keepalive time=1 time=1;', 'invalid parameter "time=1"' ],
	[ 'tcp_keepalive interval=0;', 'invalid parameter "interval=0"' ],
	[ 'tcp_keepalive interval=32768s;',
		'invalid parameter "interval=32768s"' ],
	[ 'tcp_keepalive probes=0;', 'invalid parameter "probes=0"' ],
	[ 'tcp_keepalive probes=128;', 'invalid parameter "probes=128"' ],
	[ 'tcp_keepalive probes=1s;', 'invalid parameter "probes=1s"' ],

	[ 'max_connections 0;', 'value must be equal to or greater than 1' ],
	[ 'max_connections -1;', '"max_connections" directive invalid number' ],
	[ 'max_connections 1 2;',
		'invalid number of arguments in "max_connections" directive' ],
	[ 'max_requests 0;', 'value must be equal to or greater than 1' ],
	[ 'max_requests x;', '"max_requests" directive invalid number' ],
	[ 'requests_per_connection 0;',
		'value must be equal to or greater than 1' ],
	[ 'max_retries -1;', '"max_retries" directive invalid number' ],
	[ 'max_pending -1;', '"max_pending" directive invalid number' ],
	[ 'max_pending timeout=1s;', '"max_pending" directive invalid number' ],
	[ 'max_pending 1 time=1s;', 'invalid parameter "time=1s"' ],
	[ 'max_pending 1 timeout=0;', 'invalid parameter "timeout=0"' ],
	[ 'max_pending 1 timeout=x;', 'invalid parameter "timeout=x"' ],

	[ 'retry;', 'invalid number of arguments in "retry" directive' ],
	[ 'retry 1;', 'invalid parameter "1"' ],
	[ 'retry on=5xx;', '"retry" must have "attempts" parameter' ],
	[ 'retry attempts=101;', 'invalid parameter "attempts=101"' ],
	[ 'retry attempts=-1;', 'invalid parameter "attempts=-1"' ],
	[ 'retry attempts=1 attempts=1;', 'invalid parameter "attempts=1"' ],
	[ 'retry attempts=1 per_try_timeout=0;',
		'invalid parameter "per_try_timeout=0"' ],
	[ 'retry attempts=1 per_try_timeout=x;',
		'invalid parameter "per_try_timeout=x"' ],
	[ 'retry attempts=1 on=5xx on=503;', 'invalid parameter "on=503"' ],
	[ 'retry attempts=1 on=;', 'invalid value ""' ],
	[ 'retry attempts=1 on=5xx,;', 'invalid value ""' ],
	[ 'retry attempts=1 on=,5xx;', 'invalid value ""' ],
	[ 'retry attempts=1 on=5xx,,503;', 'invalid value ""' ],
	[ 'retry attempts=1 on=5x;', 'invalid value "5x"' ],
	[ 'retry attempts=1 on=5xxx;', 'invalid value "5xxx"' ],
	[ 'retry attempts=1 on=4xx;', 'invalid value "4xx"' ],
	[ 'retry attempts=1 on=99;', 'invalid value "99"' ],
	[ 'retry attempts=1 on=099;', 'invalid value "099"' ],
	[ 'retry attempts=1 on=0503;', 'invalid value "0503"' ],
	[ 'retry attempts=1 on=5xx,600;', 'invalid value "600"' ],
	[ 'retry attempts=1 on=RESET;', 'invalid value "RESET"' ],
	[ 'retry attempts=1 on=retriable-headers;',
		'retry on "retriable-headers" is not supported: no headers' ],
	[ 'retry attempts=1 on=5xx,http3-post-connect-failure;',
		'retry on "http3-post-connect-failure" is not supported: nginx does '
		. 'not speak HTTP/3' ],

	map { [ "retry attempts=1 on=reset,$_;", "retry on \"$_\" is not "
			. 'supported: nginx does not see gRPC statuses' ] }
		qw/ cancelled deadline-exceeded internal resource-exhausted
		unavailable /
);

push @bad, (
	[ 'outlier;', 'invalid number of arguments in "outlier" directive' ],
	[ 'outlier on;', 'invalid parameter "on"' ],
	[ 'outlier interval=0;', 'invalid parameter "interval=0"' ],
	[ 'outlier ejection=0;', 'invalid parameter "ejection=0"' ],
	[ 'outlier max_ejected=101;', 'invalid parameter "max_ejected=101"' ],
	[ 'outlier max_ejected=101%;', 'invalid parameter "max_ejected=101%"' ],
	[ 'outlier max_ejected=%;', 'invalid parameter "max_ejected=%"' ],
	[ 'outlier max_ejected=1%%;', 'invalid parameter "max_ejected=1%%"' ],
	[ 'outlier min_health=-1;', 'invalid parameter "min_health=-1"' ],
	[ 'outlier min_health=;', 'invalid parameter "min_health="' ],

	(map { [ "outlier $_=1%;", "invalid parameter \"$_=1%\"" ],
			[ "outlier $_=-1;", "invalid parameter \"$_=-1\"" ],
			[ "outlier $_=2147483648;",
			"invalid parameter \"$_=2147483648\"" ] }
		qw/ consecutive_5xx consecutive_gateway consecutive_local /),

	(map { [ "outlier $_=1 $_=1;", "invalid parameter \"$_=1\"" ] }
		qw/ consecutive_5xx consecutive_gateway consecutive_local interval
		ejection max_ejected min_health /),

	[ 'address;', 'invalid number of arguments in "address" directive' ],
	[ 'address a.b;', 'invalid parameter "a.b"' ],
	[ 'address 192.0.2.0/33;', 'invalid parameter "192.0.2.0/33"' ],
	[ 'address 192.0.2.1 ::1/129;', 'invalid parameter "::1/129"' ],
	[ 'address unix:/tmp/a;', 'invalid parameter "unix:/tmp/a"' ],
);

my @twice = (
	'balance random;', 'idle_timeout 1s;', 'tcp_keepalive off;',
	'max_connections 1;', 'max_pending 0;', 'max_requests 1;',
	'max_retries 0;', 'requests_per_connection 1;', 'keepalive 0;',
	'keepalive_timeout 1s;', 'retry attempts=0;', 'outlier interval=1s;'
);

# whole services: what goes together, or what it lacks

my $any = 'max_connections 1; max_pending 1; max_requests 1; max_retries 1; '
	. 'requests_per_connection 1; keepalive 1; keepalive_timeout 1s; '
	. 'idle_timeout 1s; tcp_keepalive on; retry attempts=1;';

my @service = (
	[ "$host $any" ],
	[ "$host $any resolution dynamic;" ],
	[ "$host balance random; outlier interval=1s;" ],
	[ "$host resolution dns; endpoint b.c weight=2 label=v=1 backup "
		. 'locality=r; endpoint 127.0.0.1; subset a v=1;' ],
	[ 'host a b c; port 80 http; balance hash $a;' ],
	[ "$host resolution dynamic; balance random;",
		'with "resolution dynamic" has no use for "balance"' ],
	[ "$host resolution none; balance random;",
		'with "resolution dynamic" has no use for "balance"' ],
	[ "$host resolution none; outlier interval=1s;",
		'with "resolution dynamic" has no use for "outlier"' ],
	[ "$host resolution none; subset a v=1;",
		'with "resolution dynamic" has no use for "subset"' ],
	[ "$host subset a v=1;", 'with "subset" must have "endpoint"' ],

	[ 'port 80 tcp;', 'must have "host" or "address"' ],
	[ 'address 192.0.2.1;', 'must have "port"' ],
	[ 'address 192.0.2.1; port 1 tcp; resolution static;',
		'with "resolution static" must have "endpoint"' ],
	[ 'address 192.0.2.1; port 1 tcp; resolution dns;',
		'with "resolution dns" must have "host" or "endpoint"' ],
	[ 'address 192.0.2.1; port 1 tcp; balance random;',
		'with "resolution dynamic" has no use for "balance"' ],
	[ 'address 192.0.2.1; port 1 tcp; endpoint 127.0.0.1; '
		. 'resolution dynamic;',
		'with "resolution dynamic" has no use for "endpoint"' ],
	[ 'address 192.0.2.1; port 1 tcp; resolution dns; endpoint b.c;' ],
	[ 'address 192.0.2.1; port 1 tcp; endpoint unix:/tmp/a;' ],
	[ 'address 192.0.2.1; port 1 tcp; tls simple; tls_verify on;',
		'with "tls" must have "host", "tls_name", "tls_san" or '
		. '"tls_verify off"' ],
	[ 'address 192.0.2.1; port 1 tcp; tls simple;',
		'with "tls" must have "host"' ],
	[ 'address 192.0.2.1; port 1 tcp; tls simple; tls_alpn h2;',
		'with "tls" must have "host"' ],
	[ 'address 192.0.2.1; port 1 tcp; tls simple; tls_name a;' ],
	[ 'address 192.0.2.1; port 1 tcp; tls simple; tls_san a;' ],
	[ 'address 192.0.2.1; port 1 tcp; tls simple; tls_verify off;' ],
	[ 'address 192.0.2.1; port 1 tcp; lookup off;' ],
);

$t->plan(@good + @bad + @twice + @service + 27);

###############################################################################

is(said("$host $ep $_"), '', "good: $_") foreach @good;
refused("$host $ep\n", $_->[0], $_->[1]) foreach @bad;

foreach my $line (@twice) {
	my ($name) = $line =~ /^(\w+)/;

	refused("$host $ep $line\n", $line, "\"$name\" directive is duplicate");
}

foreach my $service (@service) {
	my ($conf, $error) = @$service;

	if ($error) {
		refused("\n", $conf, "service \"s\" $error");

	} else {
		is(said($conf), '', "good: $conf");
	}
}

# a service of addresses only needs no resolver, one with a name does

is(egress('service a { address 192.0.2.1; port 1 tcp; }'), '',
	'addresses, no resolver');
like(egress('service a { address 192.0.2.1; host a; port 1 tcp; }'),
	qr/service "a" must have "resolver" in "egress"/, 'a name, no resolver');
is(egress('service a { address 192.0.2.1; port 1 tcp; } '
	. 'service b { host a; port 1 tcp; endpoint 127.0.0.1; }'), '',
	'index, no hosts');

# names

like(egress('service a/b { }'), qr/invalid service name "a\/b"/,
	'slash in name');
like(egress('service "" { }'), qr/invalid service name ""/, 'no name');

# where the service begins, and where the directive stands

like(egress("service a {\nhost a;\nport 1 tcp;\nendpoint 127.0.0.1;\n"
	. "subset b v=1;\n}"),
	qr/subset "b" of service "a" has no endpoint in \S+nginx.conf:5$/m,
	'line, subset');

$t->write_file('a.inc', "\nservice a {\nhost a;\n\nretry attempts=x;\n}\n");
like(egress('include a.inc;'),
	qr/invalid parameter "attempts=x" in \S+a\.inc:5$/m, 'line, include');

# a variable of a key has to be known to http or to stream, where egress is on

my $http = 'http { access_log off; map $host $mine { default a; } '
	. 'upstream egress { egress_balance; } server { listen 127.0.0.1:8080; %s '
	. 'location / { proxy_pass http://egress; } } }';
my $stream = 'stream { upstream egress { egress_balance; } '
	. 'server { listen 127.0.0.1:8081; %s proxy_pass egress; } }';
my $on = 'egress on;';

is(keyed($_, [ $on, '' ]), '', "known to http: $_")
	foreach '$remote_addr', '$arg_x', '$http_x_y', '$cookie_a', '$mine',
		'$upstream_http_a', '$egress_host', 'a${sent_http_b}c$Host';

my $unknown = qr/\[emerg\] unknown "(\w+)" variable in "balance hash" of service "s" in \S+nginx\.conf:5$/m;

is((keyed('$remote_addr$NoSuch', [ $on, $on ]) =~ $unknown)[0], 'nosuch',
	'unknown to both');
is((keyed('$nosuch', [ $on, '' ]) =~ $unknown)[0], 'nosuch',
	'unknown to http');
is((keyed('$http_a', [ '', $on ]) =~ $unknown)[0], 'http_a',
	'unknown to stream');
is(keyed('$http_a', [ $on, $on ]), '', 'known to one of them');
is(keyed('$protocol', [ $on, $on ]), '', 'known to the other');
is(keyed('$nosuch', [ '', '' ]), '', 'egress is not on');

# no directive of a service stands elsewhere

like(egress('outlier interval=1s;'),
	qr/"outlier" directive is not allowed here/, 'not in egress');

$t->write_file_expand('nginx.conf', "%%TEST_GLOBALS%%\nevents { }\n"
	. "egress { zone 1m; service a { port 1 tcp; address 192.0.2.1/24; } }\n");
like($t->test_config(),
	qr/\[warn\].*low address bits of 192\.0\.2\.1\/24 are meaningless in/,
	'low bits');

# what would be verified is not

foreach my $what ('tls_crl none.crl;', 'tls_san a.test;',
	'tls_trusted_certificate none.crt;', '')
{
	$t->write_file_expand('nginx.conf', "%%TEST_GLOBALS%%\nevents { }\n"
		. 'egress { zone 1m; service a { host a.test; port 443 https; '
		. "endpoint 192.0.2.1; tls simple; tls_verify off; $what } }\n");

	my $warned = $t->test_config()
		=~ /\[warn\].*no effect with "tls_verify off" in service "a"/ ? 1 : 0;

	is($warned, $what ? 1 : 0, "not verified, $what");
}

###############################################################################

# what nginx -t complains of, or nothing; the first line of conf is 5

sub egress {
	my ($conf, $before, $http, $stream) = @_;

	my $globals = $t->expand('%%TEST_GLOBALS%%');

	$globals =~ s/\n/ /g;
	$before = '' unless defined $before;

	$_ = defined $_ ? $_ : '' foreach $http, $stream;

	$t->write_file_expand('nginx.conf', "$globals\n$http events { }\n"
		. "egress { zone 1m;\n$before\n$conf }\n$stream\n");

	my ($status, $out) = $t->test_config();

	$out =~ s/.*\[warn\].*\n//g;

	return $status ? $out : $out =~ /\[emerg\]/ ? "emerg: $out" : '';
}

sub said {
	return egress("service s { $_[0] }", 'resolver 127.0.0.1;');
}

# with http { } before, and stream { } after; the service is in line 5

sub keyed {
	my ($key, $on) = @_;

	return egress('service s { host a.b; port 80 http; endpoint 127.0.0.1; '
		. "balance hash '$key'; }", '', sprintf($http, $on->[0]),
		sprintf($stream, $on->[1]));
}

# the error is at the line where the directive stands, or the service does

sub refused {
	my ($before, $conf, $error) = @_;

	like(said($before . $conf),
		qr/\[emerg\].*\Q$error\E.* in \S+nginx\.conf:[56]$/m,
		"bad: $conf");
}

###############################################################################
