#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit: costs, chances, headers, bodies and counters.

###############################################################################

use warnings;
use strict;

use JSON::PP;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/ http_auth_request /)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

worker_processes 2;

events {
}

egress {
    zone  2m;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    bucket cost { tokens 10; fill 1; interval 1000s; }

    bucket told {
        tokens               2;
        interval             100s;
        body                 "come back later";
        header               x-limited    yes;
        header_always        x-told       always;
        request_header       x-would      limit;
        x_ratelimit_headers  draft_version_03;
        retry_after          on;
    }

    bucket larger { tokens 5; interval 100s; x_ratelimit_headers draft_version_03; }
    bucket silent { tokens 1; interval 100s; x_ratelimit_headers off; retry_after off; body ""; }
    bucket small  { tokens 2; interval 100s; retry_after on; x_ratelimit_headers draft_version_03; }
    bucket half   { tokens 1; interval 1000s; }
    bucket tenth  { tokens 1; interval 1000s; }
    bucket rare   { tokens 1; interval 1000s; }
    bucket sub    { tokens 3; interval 1000s; }
    bucket keyed  { tokens 3; interval 1000s; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;

        egress       on;
        egress_port  80;

        location /cost {
            egress_ratelimit  bucket=cost  cost=$arg_cost;
            proxy_pass        http://egress;
        }

        location /told {
            egress_ratelimit  bucket=told;
            proxy_pass        http://egress;
        }

        location /watched {
            egress_ratelimit  bucket=told  enforced=0/10000;
            proxy_pass        http://egress/echo;
        }

        location /two {
            egress_ratelimit  bucket=larger;
            egress_ratelimit  bucket=told  key=two;
            proxy_pass        http://egress;
        }

        location /silent {
            egress_ratelimit  bucket=silent;
            proxy_pass        http://egress;
        }

        location /small {
            egress_ratelimit  bucket=small  cost=$arg_cost;
            proxy_pass        http://egress;
        }

        location /page {
            egress_ratelimit  bucket=told  key=page;
            error_page        429  /sorry;
            proxy_pass        http://egress;
        }

        location /sorry {
            egress  off;
            return  200  "sorry";
        }

        location /half {
            egress_ratelimit  bucket=half  enabled=5000/10000;
            proxy_pass        http://egress;
        }

        location /tenth {
            egress_ratelimit  bucket=tenth  enforced=100000/1000000;
            proxy_pass        http://egress;
        }

        location /rare {
            egress_ratelimit  bucket=rare  enabled=1/1000000;
            proxy_pass        http://egress;
        }

        location /keyed {
            egress_ratelimit  bucket=keyed  key=$arg_k;
            proxy_pass        http://egress;
        }

        location /sub {
            auth_request      /auth;
            egress_ratelimit  bucket=sub;
            proxy_pass        http://egress;
        }

        location = /auth {
            internal;
            egress_ratelimit  bucket=sub;
            proxy_pass        http://egress/;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }

        location /echo {
            return  200  "would: $http_x_would";
        }
    }

    server {
        listen  127.0.0.1:8082;

        location /status {
            egress_status;
        }

        location /metrics {
            egress_metrics;
        }
    }
}

EOF

$t->run()->plan(54);

###############################################################################

# cost by a variable

is(get('/cost?cost=4'), '200', 'cost');
is(get('/cost?cost=7'), '429', 'too dear');
is(get('/cost?cost=11'), '429', 'dearer than a full bucket');
is(get('/cost?cost=x'), '429', 'no number');
is(get('/cost?cost=-1'), '429', 'negative');
is(get('/cost?cost=99999999999999999999'), '429', 'too large a number');
is(get('/cost?cost=4294967297'), '429', 'no 32 bits');
is(get('/cost?cost=0'), '200', 'for free');
is(get('/cost'), '200', 'cost is 1 without a value');
is(get('/cost?cost=5'), '200', 'all of the rest');
is(get('/cost'), '429', 'nothing left');
is(get('/cost?cost=0'), '200', 'but what costs nothing');

# headers on all answers, and on limited ones

my $r = answer('/told');

like($r, qr/ 200 /, 'passed');
like($r, qr/^x-told: always\x0d$/m, 'header, always');
unlike($r, qr/^(x-limited|retry-after)/m, 'no header of limited ones');
like($r, qr/^x-ratelimit-limit: 2\x0d$/m, 'limit');
like($r, qr/^x-ratelimit-remaining: 1\x0d$/m, 'remaining');
like($r, qr/^x-ratelimit-reset: 0\x0d$/m, 'reset');

$r = answer('/told');

like($r, qr/^x-ratelimit-remaining: 0\x0d$/m, 'none remaining');
like($r, qr/^x-ratelimit-reset: (49|50)\x0d$/m, 'reset in time');

$r = answer('/told');

like($r, qr/ 429 .*\x0d\x0a\x0d\x0acome back later$/s, 'body');
like($r, qr/^x-limited: yes\x0d$/m, 'header of a limited one');
is(scalar(() = $r =~ /^x-told: always\x0d$/mg), 1, 'once');
like($r, qr/^retry-after: (49|50)\x0d$/m, 'retry-after');
like($r, qr/^x-ratelimit-remaining: 0\x0d$/m, 'limited, remaining');

like(answer('/watched'), qr/^would: limit$/m, 'request header');
is(get('/watched'), '200', 'not enforced');

# several buckets: the one that has the fewest tokens is told

like(answer('/two'), qr/^x-ratelimit-limit: 2\x0d$/m, 'fewest tokens');
answer('/two');
like(answer('/two'), qr/ 429 .*^x-ratelimit-limit: 2\x0d$/ms, 'refusing');

is(get('/silent'), '200', 'silent');
$r = answer('/silent');
like($r, qr/ 429 .*\x0d\x0a\x0d\x0a$/s, 'no body');
unlike($r, qr/^(x-ratelimit|retry-after)/m, 'no headers');

$r = answer('/small?cost=3');
like($r, qr/ 429 .*^x-ratelimit-remaining: 2\x0d$/ms, 'never, remaining');
unlike($r, qr/^(retry-after|x-ratelimit-reset)/m, 'never, no time');

get('/page') for 1 .. 2;
$r = answer('/page');
like($r, qr/ 429 .*sorry$/s, 'error page');
is(scalar(() = $r =~ /^x-limited: yes\x0d$/mg), 1, 'header once');

# subrequests are not charged again

is(join(' ', map { get('/sub') } 1 .. 4), '200 200 200 429', 'subrequest');

# chances

my $n = grep { get('/half') eq '429' } 1 .. 400;
cmp_ok($n, '>', 130, "enabled in half of the cases: $n");
cmp_ok($n, '<', 270, 'not in more');

$n = grep { get('/tenth') eq '429' } 1 .. 400;
cmp_ok($n, '>', 10, "enforced in one of ten: $n");
cmp_ok($n, '<', 90, 'not in more');

is(scalar(grep { get('/rare') eq '429' } 1 .. 50), 0, 'one in a million');

# what is counted

get("/keyed?k=$_") for 1, 1, 2, 3, 1, 1;

my $status = status();

is("@{$status->{cost}}{qw/ limit fill remaining allowed limited /}",
	'10 1 0 5 7', 'status');
is($status->{cost}{interval_ms}, 1000000, 'interval');
is($status->{told}{would_limit}, 2, 'would limit');
is($status->{tenth}{would_limit} + $status->{tenth}{limited}
	+ $status->{tenth}{allowed}, 400, 'all');
is($status->{tenth}{limited}, $n, 'limited');
is("@{$status->{keyed}}{qw/ keys allowed limited full evicted /}",
	'3 5 1 0 0', 'keys');
ok(!exists $status->{keyed}{remaining}, 'remaining without keys only');

my $m = http_get('/metrics', port => 8082);

like($m, qr/^egress_ratelimit_limited_total\{bucket="cost"\} 7$/m, 'metric');
like($m, qr/^egress_ratelimit_remaining\{bucket="cost"\} 0$/m, 'gauge');
like($m, qr/^# TYPE egress_ratelimit_allowed_total counter$/m, 'type');
is(join('', $m =~ /\x0d\x0a\x0d\x0a(.*)$/s
	? grep { /ratelimit/
		&& !/^(# (HELP|TYPE) [a-z_]+ .+|[a-z_]+\{bucket="[a-z]+"\} \d+)$/ }
		split /\n/, $1 : 'nothing'), '', 'format');

$t->stop();

like($t->read_file('error.log'), qr/egress bucket "cost": invalid cost "x"/,
	'invalid cost logged');

###############################################################################

sub answer {
	my ($uri) = @_;

	return http_get($uri, host => 'api.example.com');
}

sub get {
	my ($uri) = @_;

	return answer($uri) =~ m!^HTTP/1.1 (\d+)! ? $1 : 'none';
}

sub status {
	my ($json) = http_get('/status?what=buckets', port => 8082)
		=~ /\x0d\x0a\x0d\x0a(.*)$/s;

	return { map { $_->{name} => $_ } @{decode_json($json)->{buckets}} };
}

###############################################################################
