#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit in http.

###############################################################################

use warnings;
use strict;

use POSIX qw//;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

worker_processes 4;

events {
}

egress {
    zone  1m;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    service other {
        host other.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    policy test/deny {
        action  deny;
        rule { to { hosts other.example.com; } }
    }

    bucket plain {
        tokens    2;
        fill      1;
        interval  1000s;
        header    x-rate-limited  true;
        header    retry-after     7;
    }

    bucket status   { tokens 1; interval 1000s; status 503; }
    bucket refill   { tokens 2; fill 1; interval 1s; }
    bucket keyed    { tokens 2; interval 1000s; }
    bucket first    { tokens 5; interval 1000s; }
    bucket second   { tokens 1; interval 1000s; }
    bucket inherit  { tokens 1; interval 1000s; }
    bucket once     { tokens 2; interval 1000s; }
    bucket after    { tokens 1; interval 1000s; }
    bucket watch    { tokens 1; interval 1000s; }
    bucket disabled { tokens 1; interval 1000s; }
    bucket twice    { tokens 4; interval 1000s; }
    bucket crowd    { tokens 300; interval 1000s; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  limit  "$uri:$egress_verdict:$egress_reason:$egress_bucket:"
                       "$egress_flags";

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;

        egress       on;
        egress_port  80;

        access_log   %%TESTDIR%%/limit.log  limit;

        location / {
            egress_ratelimit  bucket=plain;
            proxy_pass        http://egress;
        }

        location /status {
            egress_ratelimit  bucket=status;
            proxy_pass        http://egress;
        }

        location /refill {
            egress_ratelimit  bucket=refill;
            proxy_pass        http://egress;
        }

        location /keyed {
            egress_ratelimit  bucket=keyed key=$arg_a:$arg_b;
            proxy_pass        http://egress;
        }

        location /none {
            egress_ratelimit  bucket=keyed key=$egress_principal;
            proxy_pass        http://egress;
        }

        location /both {
            egress_ratelimit  bucket=first;
            egress_ratelimit  bucket=second;
            proxy_pass        http://egress;
        }

        location /first {
            egress_ratelimit  bucket=first;
            proxy_pass        http://egress;
        }

        location /once {
            egress_ratelimit        bucket=once;
            error_page              404  = /again;
            proxy_intercept_errors  on;
            proxy_pass              http://egress/missing;
        }

        location /again {
            egress_ratelimit  bucket=once;
            proxy_pass        http://egress;
        }

        location /fallback {
            egress_ratelimit  bucket=once;
            error_page        429  = /again;
            proxy_pass        http://egress;
        }

        location /after {
            egress_ratelimit  bucket=after;
            proxy_pass        http://egress;
        }

        location /watch {
            egress_ratelimit  bucket=watch  enforced=0;
            proxy_pass        http://egress;
        }

        location /watched {
            egress_ratelimit  bucket=watch;
            proxy_pass        http://egress;
        }

        location /disabled {
            egress_ratelimit  bucket=disabled  enabled=0%;
            proxy_pass        http://egress;
        }

        location /enabled {
            egress_ratelimit  bucket=disabled  enabled=100%  enforced=100;
            proxy_pass        http://egress;
        }

        location /twice {
            egress_ratelimit  bucket=twice  key=$arg_a;
            egress_ratelimit  bucket=twice  key=$arg_b;
            proxy_pass        http://egress;
        }

        location /crowd {
            egress_ratelimit  bucket=crowd;
            access_log        off;
            proxy_pass        http://egress;
        }
    }

    server {
        listen            127.0.0.1:8082;

        egress            on;
        egress_port       80;
        egress_ratelimit  bucket=inherit;

        location / {
            proxy_pass    http://egress;
        }

        location /off {
            egress_ratelimit  off;
            proxy_pass        http://egress;
        }

        location /own {
            egress_ratelimit  bucket=inherit  key=own;
            proxy_pass        http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }

        location /missing {
            return  404;
        }
    }
}

EOF

$t->run()->plan(38);

###############################################################################

is(codes('/', 4), '200 200 429 429', 'limited');

my $r = get('/');

like($r, qr/ 429 .*^x-rate-limited: true\x0d$/ms, 'header');
like($r, qr/^retry-after: 7\x0d$/m, 'another header');
like($r, qr/\x0d\x0a\x0d\x0alocal_rate_limited$/, 'body');

is(codes('/status', 2), '200 503', 'status');

# tokens come back continuously

is(codes('/refill', 3), '200 200 429', 'refill, empty');
select undef, undef, undef, 1.3;
is(codes('/refill', 2), '200 429', 'refill, one');

# keys

is(codes('/keyed?a=1&b=2', 3), '200 200 429', 'key');
is(codes('/keyed?a=2&b=1', 3), '200 200 429', 'another key');
is(codes('/keyed?a=1:2', 3), '200 200 429', 'a longer key');
is(codes('/keyed', 3), '200 200 429', 'key without values');
is(codes('/none', 3), '200 200 429', 'empty key is a key');

# longer keys are kept as a digest, not cut

my $long = 'x' x 1000;

is(codes("/keyed?a=${long}1", 3), '200 200 429', 'long key');
is(codes("/keyed?a=${long}2", 3), '200 200 429', 'another long key');

my $full = 'y' x 47;

is(codes("/keyed?a=$full", 3), '200 200 429', 'longest key kept');
is(codes("/keyed?a=${full}z", 3), '200 200 429', 'shortest digest');

# a later limit gives back what earlier ones took

is(codes('/both', 4), '200 429 429 429', 'both');
is(codes('/first', 5), '200 200 200 200 429', 'given back');

# twice the same bucket, also with the same key

is(codes('/twice?a=1&b=2', 1), '200', 'two keys of a bucket');
is(codes('/twice?a=1&b=1', 2), '200 429', 'same key twice');
is(codes('/twice?a=1&b=3', 2), '200 429', 'one token left');
is(codes('/twice?a=3&b=4', 4), '200 200 200 429', 'given back to a key');

# once per client request, however often the phases run

is(codes('/once', 3), '200 200 429', 'redirect');
is(codes('/fallback', 1), '429', 'refused stays refused');

# what is refused before costs nothing

is(codes('/after', 3, 'other.example.com'), '403 403 403', 'denied');
is(codes('/after', 3, 'unknown.example.com'), '502 502 502', 'unknown');
is(codes('/after', 2), '200 429', 'not charged');

# percentages

is(codes('/watch', 3), '200 200 200', 'not enforced');
is(codes('/watched', 1), '429', 'but charged');
is(codes('/disabled', 3), '200 200 200', 'not enabled');
is(codes('/enabled', 2), '200 429', 'and not charged');

# inheritance

is(codes('/', 2, undef, 8082), '200 429', 'inherited');
is(codes('/off', 2, undef, 8082), '200 200', 'off');
is(codes('/own', 2, undef, 8082), '200 429', 'own');

# T-RTL-01: four workers, eight clients, one bucket

is(crowd('/crowd', 8, 60), '300 180', 'exact');

$t->stop();

my $log = $t->read_file('limit.log');

like($log, qr!^/:denied:rate_limited:plain:RL$!m, 'log');
like($log, qr!^/watch:reported:rate_limited:watch:!m, 'log, not enforced');
unlike($log, qr!^/disabled:(?\!allowed:-:-)!m, 'log, not enabled');

###############################################################################

sub get {
	my ($uri, $host, $port) = @_;

	return http_get($uri, host => $host || 'api.example.com',
		port => $port || 8080);
}

sub codes {
	my ($uri, $n, $host, $port) = @_;

	return join ' ', map {
		get($uri, $host, $port) =~ m!^HTTP/1.1 (\d+)! ? $1 : 'none'
	} 1 .. $n;
}

# how many of all were passed, and how many were limited

sub crowd {
	my ($uri, $clients, $requests) = @_;

	my (@pipes, %n);

	foreach (1 .. $clients) {
		my $pid = open my $pipe, '-|';

		die "can't fork: $!" unless defined $pid;

		if ($pid == 0) {
			print codes($uri, $requests), "\n";
			POSIX::_exit(0);
		}

		push @pipes, $pipe;
	}

	foreach my $pipe (@pipes) {
		$n{$_}++ for split / /, join '', map { chomp; $_ } <$pipe>;
	}

	return "$n{200} $n{429}";
}

###############################################################################
