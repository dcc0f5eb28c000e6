#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl convert: what http rules become works in nginx, and text
# that passes arrives as it was written.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl http /;
use IO::Socket::INET;
use Time::HiRes qw/ time /;

###############################################################################

my $t = Test::Nginx->new();
my $d = $t->testdir();
my $ctl = egressctl();
my $r = Test::Nginx::repository();

# what nginx.conf would take for something else

my @meta = ('"', "'", '\\', '$', ';', '{', '}', '#', ' ', '%', '$host',
	'${host}', '\\n', '"; return 200 x; #', "\t");

$t->plan(66 + 3 * @meta);

my $rules = '';

for my $i (0 .. $#meta) {
	my $text = $meta[$i] =~ s/(["\\])/\\$1/gr =~ s/\t/\\t/gr;
	my $percent = $text =~ s/%/%%/gr;

	$rules .= <<"EOF";
  - match: [{uri: {exact: /match$i}, headers: {x-m: {exact: "a${text}b"}}}]
    directResponse: {status: 200, body: {string: "matched"}}
  - match: [{uri: {exact: /meta$i}}]
    headers: {response: {set: {x-set: "a${percent}b"}}}
    directResponse: {status: 200, body: {string: "a${text}b"}}
EOF
}

$t->write_file('m.yaml', <<"EOF");
apiVersion: install.istio.io/v1alpha1
kind: IstioOperator
metadata: {name: mesh}
spec:
  meshConfig: {accessLogFile: $d/routes.log, accessLogFormat: "%REQ(:PATH)% user=%REQ(X-USER)%\\n"}
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  selector: {istio: egressgateway}
  servers: [{port: {number: 80, name: http, protocol: HTTP}, hosts: ["*"]}]
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: all}
spec:
  hosts: [a.test, b.test, dead.test]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: DNS
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no, namespace: istio-system}
spec: {action: DENY, rules: [{to: [{operation: {hosts: [denied.test]}}]}]}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: denied}
spec:
  hosts: [denied.test]
  gateways: [gw]
  http:
  - match: [{uri: {prefix: /redirect}}]
    redirect: {uri: /x}
  - directResponse: {status: 200, body: {string: secret}}
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a}
spec:
  hosts: [a.test, "*.a.test"]
  gateways: [gw]
  http:
$rules
  - match: [{uri: {prefix: /first}}]
    directResponse: {status: 200, body: {string: first}}
  - match: [{uri: {prefix: /first/longer}}]
    directResponse: {status: 200, body: {string: longer}}
  - match: [{uri: {prefix: /method}, method: {exact: PUT}}]
    directResponse: {status: 200, body: {string: put}}
  - match: [{uri: {prefix: /without}, withoutHeaders: {x-no: {exact: "1"}}}]
    directResponse: {status: 200, body: {string: without}}
  - match: [{uri: {prefix: /query}, queryParams: {q: {regex: "[0-9]+"}}}]
    directResponse: {status: 200, body: {string: number}}
  - match: [{uri: {prefix: /query}, queryParams: {q: {exact: ""}}}]
    directResponse: {status: 200, body: {string: empty}}
  - match: [{uri: {prefix: /authority}, authority: {exact: "a.test:80"}}]
    directResponse: {status: 200, body: {string: authority}}
  - match: [{uri: {prefix: /host}, headers: {host: {exact: a.test}}}]
    directResponse: {status: 200, body: {string: host}}
  - match: [{uri: {regex: "/re/[a-c]+"}}]
    directResponse: {status: 200, body: {string: regex}}
  - match: [{uri: {prefix: /gateways}, sourceLabels: {app: frontend}}]
    directResponse: {status: 200, body: {string: mesh}}
  - match: [{uri: {exact: "/blank%20s"}}]
    directResponse: {status: 200, body: {string: blank}}
  - match: [{uri: {exact: /to-https}}]
    redirect: {scheme: https}
  - match: [{uri: {prefix: /rewrite}}]
    rewrite: {uri: /new, authority: other.test}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /regex}}]
    rewrite: {uriRegexRewrite: {match: "^/regex/([^/]+)/(.*)", rewrite: "/\\\\2/\\\\1"}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /redirect/}}]
    redirect: {prefixRewrite: /to/, scheme: https, port: 8443, redirectCode: 307}
  - match: [{uri: {prefix: /split}}]
    route: [{destination: {host: a.test}, weight: 1}, {destination: {host: b.test}, weight: 1}]
  - match: [{uri: {prefix: /mirror}}]
    rewrite: {uri: /mirrored}
    mirrors: [{destination: {host: b.test}}]
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /half}}]
    fault: {abort: {httpStatus: 555, percentage: {value: 50}}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /slow}}]
    fault: {delay: {fixedDelay: 0.3s, percentage: {value: 100}}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /sometimes}}]
    fault: {delay: {fixedDelay: 250ms, percent: 50}, abort: {httpStatus: 555, percentage: {value: 100}}}
    route: [{destination: {host: a.test}}]
  - match: [{uri: {prefix: /retry}}]
    retries: {attempts: 3, retryOn: "503"}
    route: [{destination: {host: b.test}}]
  - match: [{uri: {prefix: /timeout}}]
    timeout: 300ms
    route: [{destination: {host: b.test}}]
  - match: [{uri: {prefix: /dead}}]
    route: [{destination: {host: dead.test}}]
  - match: [{uri: {prefix: /cors}}]
    corsPolicy: {allowOrigins: [{regex: "https://.*[.]a"}], allowMethods: [PUT], allowCredentials: true, maxAge: 60s}
    route: [{destination: {host: a.test}}]
  - headers:
      request: {set: {x-set: "%REQ(x-in)%"}, add: {x-add: two}, remove: [x-gone]}
      response: {set: {x-answer: set}, remove: [x-far]}
    route: [{destination: {host: a.test}}]
EOF

my ($a, $b) = (port(8081), port(8082));

my $conf = `$ctl convert -f $d/m.yaml --resolver 127.0.0.1 \\
	--listen 80=127.0.0.1:@{[ port(8080) ]} \\
	--endpoint a.test=127.0.0.1:$a --endpoint b.test=127.0.0.1:$b \\
	--endpoint dead.test=127.0.0.1:@{[ port(8083) ]} \\
	--proxy-conf $r/conf/egress_proxy.conf 2>$d/err`;

is($?, 0, 'converted') or diag($t->read_file('err'));

my $globals = $t->globals() . "\ndaemon off;";
my $http = $t->globals_http() =~ s!access_log off;!!r;
$conf =~ s!^include  modules-enabled.*$!$globals!m;
$conf =~ s!^http \{$!http {\n$http!m;
$t->write_file('nginx.conf', $conf);

$t->run_daemon(\&far_side, $a, 'a');
$t->run_daemon(\&far_side, $b, 'b');
$t->wait_for_port($a);
$t->wait_for_port($b);
$t->run();

###############################################################################

# text in its place

for my $i (0 .. $#meta) {
	my $answer = get("/meta$i");
	my $text = quotemeta("a$meta[$i]b");

	like($answer, qr/\r\n\r\n$text\z/, "a body with $meta[$i]");
	like($answer, qr/^x-set: $text\r$/m, "a header with $meta[$i]");
	like(get("/match$i", "X-M: a$meta[$i]b"), qr/\r\n\r\nmatched\z/,
		"a match with $meta[$i]");
}

# which rule

like(get('/first/longer'), qr/first\z/, 'the first one counts');
like(get('/method'), qr/ 200 .*GET \/method/s, 'another method');
like(http("PUT /method HTTP/1.0\r\nHost: a.test\r\n\r\n"), qr/put\z/,
	'the method');
like(get('/without'), qr/without\z/, 'without a header');
like(get('/without', 'X-No: 1'), qr/GET \/without/, 'with it');
like(get('/query?a=1&q=17'), qr/number\z/, 'a parameter');
like(get('/query?q=17x'), qr/GET/, 'not a number');
like(get('/query?q=x&q=17'), qr/GET/, 'the first of the parameters');
like(get('/query?q'), qr/empty\z/, 'without a value');
like(get('/query?qq='), qr/GET/, 'of another name');
like(http("GET /authority HTTP/1.0\r\nHost: a.test:80\r\n\r\n"),
	qr/authority\z/, 'authority');
like(get('/authority'), qr/GET/, 'another one');
like(http("GET http://a.test/authority HTTP/1.0\r\nHost: a.test:80\r\n\r\n"),
	qr/GET/, 'another one in the request line, where Host counts nothing');
like(http("GET http://a.test:80/authority HTTP/1.0\r\nHost: x\r\n\r\n"),
	qr/authority\z/, 'authority in the request line');
like(get('/re/abc'), qr/regex\z/, 'regex');
like(get('/re/abcd'), qr/GET/, 'that matches all of the path');
like(get('/re/abc%0A'), qr/GET/, 'a line feed included');
like(get('/gateways'), qr/GET/, 'a rule for a sidecar');
like(http("GET /first HTTP/1.0\r\nHost: x.y.a.test\r\n\r\n"), qr/first\z/,
	'a wildcard host');

# what becomes of the request

like(get('/a%2Fb//c/../d?e=%2F'), qr!^GET /a%2Fb//c/\.\./d\?e=%2F HTTP!m,
	'the path as it came');
like(get('/rewrite/x?y'), qr!^GET /new/x\?y HTTP.*^Host: other\.test\r$!sm,
	'rewrite');
like(get('/rewrite/x%2fy'), qr/ 400 /, 'rewrite, encoded slash');
like(get('/regex/1/2%2F3'), qr/ 400 /, 'regex rewrite, encoded slash');
like(get('/rewrite/x%25?y=%2f'), qr!^GET /new/x%25\?y=%2f HTTP!m,
	'rewrite, nothing else encoded');
is(() = get('/rewrite') =~ /^Host: /mg, 1, 'one Host');
like(get('/regex/1/2/3'), qr!^GET /2/3/1 HTTP!m, 'regex rewrite');
like(get('/redirect/a?b'), qr!^HTTP/1.1 307 .*^Location: https://a.test:8443/to/a\?b\r!sm,
	'redirect');

my $answer = get('/', "X-In: in\r\nX-Add: one\r\nX-Gone: x\r\nX-Set: y");

like($answer, qr/^x-set: in\r$/mi, 'header set');
unlike($answer, qr/^x-set: y\r$/mi, 'the old one is gone');
like($answer, qr/^X-Add: one\r.*^X-Add: two\r$/msi, 'header added');
unlike($answer, qr/X-Gone/i, 'header removed');
like($answer, qr/^x-answer: set\r$/m, 'header of the answer set');

# a client's "x_in" is not the "x-in" that is vouched for

$answer = get('/', "X_In: forged\r\nX_Add: forged\r\nX-In: in\r\nX-In: two");

like($answer, qr/^x-set: in, two\r$/mi, 'all lines, and no other header');
unlike($answer, qr/^x-(?:set|add): forged\r$/mi, 'not forged');
like($answer, qr/^x_in: forged\r$/mi, 'but sent as it is');
like(get('/without', "X_No: 1"), qr/without\z/, 'a match of another header');
like(http("GET http://b.a.test/host HTTP/1.0\r\nHost: a.test\r\n\r\n"),
	qr/GET \/host/, 'host, which the request line says');
like(get('/host'), qr/host\z/, 'host');
$answer = get('/', "X-In: in\r\nX-Add: one\r\nX-Gone: x\r\nX-Set: y");
unlike($answer, qr/^x-far/mi, 'and removed');

# weights, retries, timeouts, faults, mirrors

my %got;
$got{get('/split') =~ /^from: (\w)/m ? $1 : '?'}++ for 1 .. 30;
is(join(' ', sort keys %got), 'a b', 'weights');

like(get('/retry', 'X-Fail: 3'), qr/^tries: 4\r$/m, 'retries');
like(get('/timeout', 'X-Sleep: 1'), qr/^HTTP\/1.1 504 /, 'timeout');
select(undef, undef, undef, 1);
like(get('/timeout'), qr/^HTTP\/1.1 200 /, 'in time');
like(get('/dead'), qr/^HTTP\/1.1 503 /, 'nobody there');

%got = ();
$got{get('/half') =~ /^HTTP\/1.1 (\d+)/ ? $1 : '?'}++ for 1 .. 40;
is(join(' ', sort keys %got), '200 555', 'faults');

my $from = time();
like(get('/slow'), qr/^from: a/m, 'delay, the answer');
cmp_ok(time() - $from, '>=', 0.29, 'delay');

my ($waited, $at_once) = (0, 0);

for (1 .. 16) {
	$from = time();
	my $answer = get('/sometimes');
	last if $answer !~ /^HTTP\/1.1 555/;
	time() - $from >= 0.24 ? $waited++ : $at_once++;
}

is($waited + $at_once, 16, 'delay before abort');
ok($waited && $at_once, 'delay of some');

like(get('/mirror/x%20y?z'), qr!^from: a.*^GET /mirrored/x%20y\?z HTTP!sm,
	'mirror, the answer');
my ($last) = get('/dead/../timeout') =~ /^before: (.*)\r$/m;
is($last, 'GET /mirrored/x%20y?z HTTP/1.0', 'mirror, what it got');

# what is logged of a header is not said by another name

get('/log', "X_User: bob\r\nX-User: alice");
get('/log2', "X_User: bob");

my $log = '';

for (1 .. 100) {
	last if ($log = $t->read_file('routes.log')) =~ /^\/log2 .*\n/m;
	select undef, undef, undef, 0.05;
}

like($log, qr/^\/log user=alice$/m, 'log, the header');
like($log, qr/^\/log2 user=-$/m, 'log, none of that name');

# CORS

$answer = http("OPTIONS /cors HTTP/1.0\r\nHost: a.test\r\n"
	. "Origin: https://b.a\r\nAccess-Control-Request-Method: PUT\r\n\r\n");
like($answer, qr/^HTTP\/1.1 200 .*^Access-Control-Allow-Origin: https:\/\/b.a\r.*^Access-Control-Allow-Methods: PUT\r/sm,
	'preflight');
unlike($answer, qr/^from/m, 'is answered here');
like(http("OPTIONS /cors HTTP/1.0\r\nHost: a.test\r\nOrigin: https://c\r\n"
	. "Access-Control-Request-Method: PUT\r\n\r\n"), qr/^from: a/m,
	'that of another origin is not');
like(get('/cors', 'Origin: https://b.a'),
	qr/^Access-Control-Allow-Origin: https:\/\/b.a\r/m, 'an answer');
unlike(get('/cors', 'Origin: https://c'), qr/^Access-Control/m,
	'for another origin');

# a policy comes before the gateway's own answers

like(http("GET / HTTP/1.0\r\nHost: denied.test\r\n\r\n"), qr/ 403 .*RBAC/s,
	'no answer for who is denied');
like(http("GET /redirect HTTP/1.0\r\nHost: denied.test\r\n\r\n"), qr/ 403 /,
	'and no redirect');

like(get('/blank%20s'), qr/blank\z/, 'match with %20');
like(get('/x', 'X_Under: 1'), qr/^x_under: 1\r$/mi, 'underscore in a header');

like(http("GET /to-https HTTP/1.0\r\nHost: a.test:8080\r\n\r\n"),
	qr!^Location: https://a\.test:8080/to-https\r$!m, 'redirect, port');
like(http("GET /to-https HTTP/1.0\r\nHost: a.test:80\r\n\r\n"),
	qr!^Location: https://a\.test/to-https\r$!m, 'redirect, port of http');
like(http("GET http://a.test:81/to-https HTTP/1.0\r\nHost: evil.test\r\n\r\n"),
	qr!^Location: https://a\.test:81/to-https\r$!m,
	'redirect, host of the request line');

###############################################################################

sub get {
	my ($uri, $headers) = @_;

	return http("GET $uri HTTP/1.0\r\nHost: a.test\r\n"
		. ($headers ? "$headers\r\n" : '') . "\r\n") // '';
}

# answers with the request, and the first line of the one before

sub far_side {
	my (undef, $port, $name) = @_;

	my $l = IO::Socket::INET->new(Listen => 20, LocalAddr => '127.0.0.1',
		LocalPort => $port, ReuseAddr => 1) or die "listen: $!";

	my ($before, $tries) = ('', 0);

	$SIG{PIPE} = 'IGNORE';

	while (my $c = $l->accept()) {
		my $got = '';

		while ($got !~ /\r\n\r\n/) {
			sysread($c, $got, 65536, length $got) or last;
		}

		my ($line) = $got =~ /^(.*)\r\n/ or next;

		select(undef, undef, undef, $1) if $got =~ /^X-Sleep: (\d)/mi;

		$tries = $got =~ /^X-Fail/mi ? $tries + 1 : 0;
		my $status = $got =~ /^X-Fail: (\d)/mi && $tries <= $1
			? '503 Fail' : '200 OK';

		print $c "HTTP/1.1 $status\r\nConnection: close\r\nfrom: $name\r\n"
			. "before: $before\r\ntries: $tries\r\nx-far: 1\r\n\r\n$got";
		$before = $line =~ s/1\.1/1.0/r;
		close $c;
	}
}

###############################################################################
