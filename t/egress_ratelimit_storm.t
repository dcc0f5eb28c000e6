#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit: four workers under wrk, reloads, and workers that
# are killed.

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

my $t = Test::Nginx->new()->has_daemon('wrk')
	->expect(qr/exited on signal 9/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

worker_processes 4;
worker_priority  19;

events {
}

egress {
    zone  2m;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    bucket plain   { tokens 2000; fill 1; interval 1000s; }
    bucket keyed   { tokens 1000; fill 1; interval 1000s; }
    bucket live    { tokens 3000; fill 1; interval 1000s; }
    bucket killed  { tokens 6000; fill 1; interval 1000s; }
    bucket brief   { tokens 1; fill 1000; interval 1ms; share 100%; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen              127.0.0.1:8080;

        error_log           %%TESTDIR%%/http.log  crit;
        keepalive_requests  1000000;

        egress              on;
        egress_port         80;

        location /plain {
            egress_ratelimit  bucket=plain;
            proxy_pass        http://egress;
        }

        location /keyed {
            egress_ratelimit  bucket=keyed  key=$arg_k;
            proxy_pass        http://egress;
        }

        location /live {
            egress_ratelimit  bucket=live;
            proxy_pass        http://egress;
        }

        location /killed {
            egress_ratelimit  bucket=brief  key=$request_id;
            egress_ratelimit  bucket=killed;
            proxy_pass        http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }
    }
}

EOF

$t->run()->plan(6);

###############################################################################

# T-RTL-01: four workers, many clients, to the token

is(drain('/plain'), 2000, 'exact');
is(drain('/keyed?k=1'), 1000, 'exact with a key');

# reloads in the middle: old and new workers have the same buckets

my $wrk = start('/live', 2);

foreach (1 .. 4) {
	select undef, undef, undef, 0.05;
	kill 'HUP', $t->{pid};
}

# an answer may be lost with a connection that an old worker closes

my $n = count($wrk) + drain('/live');

cmp_ok($n, '<=', 3000, 'reloads, not more than there were');
cmp_ok($n, '>=', 3000 - 4 * 32, 'none lost but those on the way');

# workers that are killed in the middle take what they had, and no more

$wrk = start('/killed', 3);

foreach (1 .. 8) {
	select undef, undef, undef, 0.2;
	my ($pid) = workers();
	kill 'KILL', $pid if $pid;
}

$n = count($wrk) + drain('/killed');

cmp_ok($n, '<=', 6000, 'not more than there were');
cmp_ok($n, '>=', 6000 - 8 * 32, 'none lost but those on the way');

###############################################################################

# until nothing is left, however slow the machine is

sub drain {
	my ($uri) = @_;

	my $all = 0;

	for (1 .. 20) {
		my $n = count(start($uri, 1));
		return $all if $n == 0;
		$all += $n;
	}

	return "$all and more";
}

sub start {
	my ($uri, $seconds) = @_;

	# tests that run at the same time need the processors, too

	open my $wrk, '-|', 'nice', '-n', 19, 'wrk', '-t', 1, '-c', 32, '-d', $seconds,
		'-H', 'Host: api.example.com',
		'http://127.0.0.1:' . port(8080) . $uri
		or die "can't run wrk: $!\n";

	return $wrk;
}

# the answers with 200

sub count {
	my ($wrk) = @_;

	my $out = do { local $/; <$wrk> };

	my ($all) = $out =~ /(\d+) requests in/ or die $out;
	my ($other) = $out =~ /Non-2xx or 3xx responses: (\d+)/;

	return $all - ($other || 0);
}

sub workers {
	my $master = $t->read_file('nginx.pid');
	chomp $master;

	open my $fh, '<', "/proc/$master/task/$master/children" or die;
	local $/;

	return split ' ', <$fh>;
}

###############################################################################
