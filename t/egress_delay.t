#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_delay: which requests wait, how long, what is decided
# before and after, and clients and workers that go meanwhile.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx qw/ :DEFAULT binary /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()
	->expect(qr/the variables of "egress_delay" are no time/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
        max_requests 1;
    }

    bucket few { tokens 3; fill 1; interval 1000s; }

    policy bad { action deny; rule { to { paths /denied; } } }
    policy any { action allow; rule { } }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    egress_delay  300ms;

    log_format  said  "$uri $status $egress_verdict $egress_reason";

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  80;
        egress_reason_header  on;

        access_log  %%TESTDIR%%/said.log  said;

        location / {
            proxy_pass  http://egress;
        }

        location /none {
            egress_delay  0;
            proxy_pass    http://egress;
        }

        location /chosen {
            egress_delay  $arg_d;
            proxy_pass    http://egress;
        }

        location /limited {
            egress_ratelimit  bucket=few;
            proxy_pass        http://egress;
        }

        location /long {
            egress_delay  2s;
            proxy_pass    http://egress;
        }

        location /again {
            error_page  404 = /first;
            proxy_intercept_errors  on;
            proxy_pass  http://egress;
        }
    }

    server {
        listen  127.0.0.1:8084;

        location / {
            return  200  "not egress";
        }
    }

%%FAR%%
    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }

        location /again {
            return  404;
        }
    }
%%NEAR%%
}

EOF

$t->run()->plan(23);

###############################################################################

my ($took, $answer);

ask('/');
like($answer, qr/ 200 .*ok$/s, 'delay, answer');
cmp_ok($took, '>=', 0.29, 'delay');

ask('/none');
like($answer, qr/ 200 .*ok$/s, 'none, answer');
cmp_ok($took, '<', 0.29, 'none');

ask('/chosen');
cmp_ok($took, '<', 0.29, 'empty variable');
ask('/chosen?d=400ms');
cmp_ok($took, '>=', 0.39, 'variable');
ask('/chosen?d=soon');
like($answer, qr/ 500 /, 'invalid variable');

ask('/denied');
like($answer, qr/ 403 .*^X-Egress-Reason: authz_denied/msi, 'denied');
cmp_ok($took, '<', 0.29, 'denied at once');

ask('/', 8084);
like($answer, qr/not egress$/, 'without egress');
cmp_ok($took, '<', 0.29, 'without egress, at once');

# an internal redirect is the same request

ask('/again');
like($answer, qr/ 200 .*ok$/s, 'redirect');
cmp_ok($took, '<', 0.58, 'redirect, one delay');

# a token each, though it is decided twice

is(join(' ', map { ask('/limited'); $answer =~ / (\d+) / } 1 .. 4),
	'200 200 200 429', 'charged once');
cmp_ok($took, '<', 0.29, 'limited at once');

# several wait side by side, and hold nothing of the one request that may be

my $from = time();
my @all = map { begin('/long') } 1 .. 5;

ask('/none');
like($answer, qr/ 200 .*ok$/s, 'who waits holds nothing');

# one goes meanwhile, and the configuration changes for the others

close(shift @all);
$t->reload();

is(scalar(grep { end($_) =~ / (200|503) / } @all), 4, 'over a reload');
cmp_ok(time() - $from, '>=', 1.9, 'over a reload, all of it');

for (1 .. 50) {
	last if $t->read_file('said.log') =~ /^\/long 499/m;
	sleep 0.1;
}

like($t->read_file('said.log'), qr/^\/long 499/m, 'client that went');

# bad values

foreach my $value (qw/ soon 10x -1 /, '""') {
	my $conf = $t->read_file('nginx.conf');
	$conf =~ s/egress_delay  300ms/egress_delay  $value/;
	$t->write_file('bad.conf', $conf);

	my $d = $t->testdir();
	my $said = `@{[ binary() ]} -p $d -c bad.conf -e bad.log -t 2>&1`;

	like($said, qr/invalid value .* in "egress_delay" directive, it must be a time, as 100ms in .*bad\.conf:/,
		"value $value");
}

###############################################################################

sub ask {
	my ($uri, $port) = @_;

	my $from = time();
	$answer = end(begin($uri, $port));
	$took = time() - $from;
}

sub begin {
	my ($uri, $port) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port($port || 8080))
		or die "can't connect: $!\n";

	$s->syswrite("GET $uri HTTP/1.0\r\nHost: api.example.com\r\n\r\n");

	return $s;
}

sub end {
	my ($s) = @_;

	local $/;
	return <$s> // '';
}

###############################################################################
