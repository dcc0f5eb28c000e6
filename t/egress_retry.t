#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for retries in http: what is tried again, how often, where, and what
# never is.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Far;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl');
my $d = $t->testdir();

my @pair = (8081, 8082);

my %services = (
	default => [ 'retry attempts=2;', @pair ],
	none => [ 'retry attempts=0 on=5xx;', @pair ],
	stock => [ 'keepalive 0;', @pair ],
	stock3 => [ '', 8081, 8082, 8099 ],
	solo => [ 'retry attempts=3 on=5xx;', 8081 ],
	connect => [ 'retry attempts=3 on=connect-failure;', 8099, 8081 ],
	refused => [ 'retry attempts=1 on=refused-stream;', 8099, 8081 ],
	dead => [ 'retry attempts=2 on=connect-failure;', 8099 ],
	socket => [ 'retry attempts=2 on=5xx;', 8081, 'unix:u.sock' ],
	unsent => [ 'retry attempts=1 on=reset-before-request; tls simple;'
		. 'tls_trusted_certificate far-ca.crt;', 8083, 8084 ],
	reset => [ 'retry attempts=1 on=reset;', @pair ],
	all5xx => [ 'retry attempts=1 on=5xx;', @pair ],
	gateway => [ 'retry attempts=1 on=gateway-error;', @pair ],
	limited => [ 'retry attempts=1 on=envoy-ratelimited;', @pair ],
	conflict => [ 'retry attempts=1 on=retriable-4xx;', @pair ],
	codes => [ 'retry attempts=1 on=retriable-status-codes,418,403,500;',
		@pair ],
	many => [ 'retry attempts=100 on=5xx;', @pair ],
	try => [ 'retry attempts=1 per_try_timeout=600ms on=5xx;', @pair ],
	tryconn => [ 'retry attempts=1 per_try_timeout=600ms'
		. ' on=connect-failure,reset;', 8085, 8081 ],
	trytls => [ 'retry attempts=1 per_try_timeout=600ms on=5xx;'
		. 'tls simple; tls_trusted_certificate far-ca.crt;', 8083, 8084 ],
	few => [ 'retry attempts=1 on=503; max_retries 1;', @pair ],
	noretries => [ 'retry attempts=1 on=5xx; max_retries 0;', @pair ],
);

$t->write_file_expand('nginx.conf', <<'EOF2' =~ s/%%SERVICES%%/services()/er);

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m;

%%SERVICES%%
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  far  "$uri $status $egress_flags $upstream_status";

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;
        access_log   %%TESTDIR%%/access.log  far;

        egress       on;
        egress_port  80;
        include      %%REPOSITORY%%/conf/egress_proxy.conf;

        location / {
            proxy_pass  http://egress;
        }

        location /small {
            client_body_buffer_size  1k;
            proxy_pass               http://egress;
        }

        location /unbuffered {
            proxy_request_buffering  off;
            proxy_pass               http://egress;
        }

        location /statuses {
            proxy_next_upstream  http_503 error;
            proxy_pass           http://egress;
        }

        location /repeat {
            proxy_next_upstream  error non_idempotent;
            proxy_pass           http://egress;
        }
    }
}

EOF2

Test::Nginx::Far::start($t, 8081, 8082, 'tls:8083', 'tls:8084', 8085,
	'unix:u.sock');
Test::Nginx::Far::set($t, 8085, 'refuse');

$t->run()->plan(101);

###############################################################################

# attempts

both('answer 503');

is(go('default'), '503 -', 'default, not a status');
is(far(), 1, 'default, once');

both('reset body');

is(go('default'), '502 -', 'default, not after the request');
is(far(), 1, 'default, once after the request');

both('answer 503 times=1');
set(8082);

is(go('all5xx') . go('all5xx'), '200 -200 -', 'one and another endpoint');
is(far(8081) + far(8082), 3, 'one more try');

both('answer 503 size=7');

is(go('all5xx'), '503 URX', 'used up');
is(far(8081) . far(8082), '11', 'used up, both tried');
like($t->{reply}, qr/^HTTP\S+ 503 .*\r\n\r\nxxxxxxx$/s, 'used up, passed on');

both('answer 501 size=9');

is(go('all5xx'), '501 URX', 'used up, unknown to nginx');
like($t->{reply}, qr/^HTTP\S+ 501 .*\r\n\r\nxxxxxxxxx$/s,
	'used up, unknown to nginx, passed on');

both('answer 503');

is(go('none'), '503 -', 'attempts 0');
is(far(), 1, 'attempts 0, once');

both('answer 503');

is(go('solo'), '503 URX', 'one endpoint');
is(far(), 4, 'one endpoint, all attempts');

both('answer 503 times=2', 'answer 200');

is(go('solo'), '200 -', 'one endpoint, recovers');
is(far(), 3, 'one endpoint, attempts until then');

is(go('dead'), '503 URX,UF', 'connect failures used up');
is(upstreams(), 3, 'connect failures, attempts');

both('answer 503 times=50', 'answer 200');

is(go('many'), '200 -', 'a hundred retries');
is(far(), 101, 'a hundred retries, attempts');

my $fds = fds();

go('many');
cmp_ok(fds(), '<', $fds + 10, 'no descriptor is lost');

# what is tried again

both('answer 200');

is(go('connect') . go('connect'), '200 -200 -', 'connect-failure');
is(go('refused') . go('refused'), '200 -200 -', 'refused-stream');
is(go('connect', method => 'POST', body => 'x')
	. go('connect', method => 'POST', body => 'x'),
	'200 -200 -', 'connect-failure, not sent');

both('reset body');
is(go('connect'), '502 -', 'connect-failure, reset');

set('tls:8083', 'accept reset');
is(go('unsent', method => 'POST', body => 'x')
	. go('unsent', method => 'POST', body => 'x'),
	'200 -200 -', 'reset-before-request');
set('tls:8083', 'reset body');
set('tls:8084', 'reset body');
Test::Nginx::Far::clear($t);
is(go('unsent'), '502 -', 'reset-before-request, after the request');
is(far('tls:8083') + far('tls:8084'), 1,
	'reset-before-request, after the request, once');
set('tls:8083');
set('tls:8084');

foreach my $how ('reset head', 'reset body', 'cut head', 'cut body') {
	both("$how times=1");
	set(8082);
	is(go('reset') . go('reset'), '200 -200 -', "reset, $how");
}

both('reset part');
like(go('reset'), qr/^200/, 'reset, answer began');
is(far(), 1, 'reset, answer began, once');

both('answer 503');
is(go('reset'), '503 -', 'reset, not a status');

foreach my $status (500, 501, 505, 599) {
	both("answer $status times=1");
	set(8082);
	is(go('all5xx') . go('all5xx'), '200 -200 -', "5xx, $status");
	both("answer $status");
	is(go('gateway'), "$status -", "gateway-error, not $status");
	is(far(), 1, "gateway-error, not $status, once");
}

foreach my $status (502, 503, 504) {
	both("answer $status times=1");
	set(8082);
	is(go('gateway') . go('gateway'), '200 -200 -',
		"gateway-error, $status");
}

both('answer 429 times=1');
set(8082);
is(go('limited') . go('limited'), '200 -200 -', 'envoy-ratelimited');
both('answer 409 times=1');
set(8082);
is(go('conflict') . go('conflict'), '200 -200 -', 'retriable-4xx');

foreach my $status (418, 403, 500) {
	both("answer $status times=1");
	set(8082);
	is(go('codes') . go('codes'), '200 -200 -', "status $status");
}

both('answer 502');
is(go('codes'), '502 -', 'status, another');
is(far(), 1, 'status, another, once');

# endpoints that refuse between others that answer: nothing is left over of
# the attempt before

both('answer 503');
set('unix:u.sock', 'refuse');
is(go('socket', uri => '/a'), '503 URX', 'after a status');
like($t->{log}, qr/503, 502, 503|502, 503, 503/, 'after a status, refused');
both('reset body');
like(go('socket', uri => '/b'), qr/^(502 URX|503 URX,UF)$/, 'after a reset');

# per_try_timeout

both('stall times=1');
set(8082);
is(go('try') . go('try'), '200 -200 -', 'try timeout');
both('stall');
is(go('try'), '504 URX,UT', 'try timeout, used up');
is(far(8081) . far(8082), '11', 'try timeout, attempts');
both('answer 200 pause=1300');
like(go('try') . $t->{reply}, qr/^200 -.*;$/s, 'try timeout, answer began');
is(far(), 1, 'try timeout, answer began, once');

set(8085, 'full');
set(8081);
is(go('tryconn', method => 'POST', body => 'x')
	. go('tryconn', method => 'POST', body => 'x'),
	'200 -200 -', 'try timeout, connecting');
set(8085, 'refuse');

set('tls:8083', 'accept stall');
is(go('trytls', method => 'POST', body => 'x')
	. go('trytls', method => 'POST', body => 'x'),
	'200 -200 -', 'try timeout, handshake');
set('tls:8083');

# methods

foreach my $method ('POST', 'PATCH', 'PURGE', 'LOCK') {
	my $bad = 0;

	foreach my $line ('answer 503', 'answer 501', 'reset body') {
		both($line);
		go('all5xx', method => $method, body => 'abc');
		$bad++ if far() != 1;
	}

	is($bad, 0, "$method is not repeated");
}

both('stall');
is(go('try', method => 'POST', body => 'abc'), '504 UT', 'POST, try timeout');
is(far(), 1, 'POST, try timeout, is not repeated');

foreach my $method ('PUT', 'DELETE', 'HEAD', 'OPTIONS') {
	my $bad = 0;

	foreach my $line ('answer 503', 'answer 501', 'reset body') {
		both($line);
		go('all5xx', method => $method, body => 'abc');
		$bad++ if far() != 2;
	}

	is($bad, 0, "$method is repeated");
}

# bodies

both('answer 503 times=1');
set(8082);
is(go('all5xx', method => 'PUT', body => 'x' x 5000)
	. go('all5xx', method => 'PUT', body => 'x' x 5000),
	'200 -200 -', 'body');
is(bodies(), '5000 5000 5000', 'body, whole');

both('answer 503 times=1');
set(8082);
is(go('all5xx', method => 'PUT', body => 'x' x 900000, uri => '/small/')
	. go('all5xx', method => 'PUT', body => 'x' x 900000, uri => '/small/'),
	'200 -200 -', 'body in a file');
is(bodies(), '900000 900000 900000', 'body in a file, whole');

# what was not buffered can't be repeated, and the status is the server's

foreach my $line ('answer 501', 'answer 503', 'reset body') {
	both($line);
	my ($status) = $line =~ /(\d+)/;
	is(go('all5xx', method => 'PUT', body => 'x' x 5000, half => 1,
		uri => '/unbuffered/'), ($status // 502) . ' -',
		"unbuffered body, $line");
	is(far(), 1, "unbuffered body, $line, once");
}

# max_retries

both('answer 503 delay=300');

my @s = map { ask('few', uri => "/few$_") } 1 .. 4;
my @r = map { Test::Nginx::Far::answer($_) } @s;

is(scalar(grep { /^HTTP\S+ 503 .*8\d+ GET \/few/s } @r), 4,
	'too many retries, passed on');
is(far(), 5, 'too many retries, one');
is(join(' ', sort map { logged("/few$_") } 1 .. 4),
	'503 UO 503 UO 503 UO 503 URX', 'too many retries, flags');

both('answer 503');
is(go('few'), '503 URX', 'retries are given back');
is(go('noretries'), '503 UO', 'no retries at once');
both('reset body');
is(go('noretries'), '502 UO', 'no retries at once, reset');

# without "retry" the location's proxy_next_upstream holds

both('answer 503 times=1');
set(8082);
is(go('stock', uri => '/statuses/') . go('stock', uri => '/statuses/'),
	'200 -200 -', 'proxy_next_upstream');
both('answer 503');
is(go('stock'), '503 -', 'proxy_next_upstream, default');
is(far(), 1, 'proxy_next_upstream, default, once');
both('reset body times=1');
set(8082);
is(go('stock') . go('stock'), '200 -200 -', 'proxy_next_upstream, error');
both('reset body');
go('stock', method => 'PURGE');
is(far(), 1, 'proxy_next_upstream, unknown method');
both('reset body');
go('stock', method => 'PURGE', uri => '/repeat/');
is(far(), 2, 'proxy_next_upstream, non_idempotent');
both('answer 200');
is(go('stock3') . go('stock3') . go('stock3'), '200 -200 -200 -',
	'proxy_next_upstream, refused');

###############################################################################

sub services {
	my $s = '';

	foreach my $name (sort keys %services) {
		my ($conf, @ports) = @{$services{$name}};

		$s .= "service $name {\n    host $name.example.com;\n"
			. '    port 80 ' . ($conf =~ /tls/ ? 'https' : 'http')
			. ";\n    balance round_robin;\n    $conf\n"
			. join('', map { '    endpoint ' . (/^unix:(.*)/
				? "unix:%%TESTDIR%%/$1"
				: "127.0.0.1 port=%%PORT_$_%%") . ";\n" } @ports)
			. "}\n";
	}

	return $s;
}

sub set {
	my ($name, @lines) = @_;

	Test::Nginx::Far::set($t, $name, @lines);
}

sub both {
	my (@lines) = @_;

	set(8081, @lines);
	set(8082, @lines);

	Test::Nginx::Far::clear($t);
}

sub far {
	my ($name) = @_;

	return Test::Nginx::Far::requests($t, $name);
}

sub bodies {
	return join ' ', map { (split)[5] }
		Test::Nginx::Far::lines($t, undef, 'done');
}

my $n;

sub ask {
	my ($name, %extra) = @_;

	my $method = $extra{method} || 'GET';
	my $uri = $extra{uri} // '/';
	my $body = $extra{body} // '';

	my $length = length $body;
	my $rest = $extra{half} ? substr($body, $length / 2, $length, '') : '';

	my $s = Test::Nginx::Far::ask(8080, "$method $uri HTTP/1.1\r\n"
		. "Host: $name.example.com\r\nConnection: close\r\n"
		. ($length ? "Content-Length: $length\r\n" : '')
		. "\r\n$body");

	if ($extra{half}) {
		select undef, undef, undef, 0.3;
		print $s $rest;
	}

	return $s;
}

# the status and the flags

sub go {
	my ($name, %extra) = @_;

	$extra{uri} = ($extra{uri} // '/') . ++$n;

	$t->{reply} = Test::Nginx::Far::answer(ask($name, %extra));

	return logged($extra{uri});
}

sub logged {
	my ($uri) = @_;

	Test::Nginx::Far::until_true(sub {
		($t->{log}) = $t->read_file('access.log')
			=~ /^(\Q$uri\E \d+ .*)$/m;
	});

	return ($t->{log} // '') =~ /^\S+ (\d+ \S+)/ ? $1 : '';
}

# attempts of the last one

sub upstreams {
	my ($list) = $t->{log} =~ /^\S+ \d+ \S+ (.*)$/;

	return scalar(my @l = split /, /, $list);
}

# of all workers

sub fds {
	my @pids = $t->read_file('error.log') =~ /start worker process (\d+)/g;

	return scalar(my @fds = map { glob "/proc/$_/fd/*" } @pids);
}

###############################################################################
