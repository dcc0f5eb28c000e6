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

    map $egress_reason $taken {
        rate_limited  "";
        default       1;
    }

    log_format  taken  "$uri";

    server {
        listen              127.0.0.1:8080;

        access_log          %%TESTDIR%%/taken.log  taken  if=$taken;

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

$t->run()->plan(7);

###############################################################################

# T-RTL-01: four workers, many clients, to the token.  What wrk has still on
# the way when its time is up has its token and isn't counted by it: the log
# has it.

my $n = drain('/plain');

is(taken('/plain'), 2000, 'exact');
cmp_ok($n, '<=', 2000, 'not more answers than tokens');
cmp_ok($n, '>', 1000, 'answers');

drain('/keyed?k=1');
is(taken('/keyed'), 1000, 'exact with a key');

# reloads in the middle: old and new workers have the same buckets

my $wrk = start('/live', 2);

foreach (1 .. 4) {
	select undef, undef, undef, 0.05;
	kill 'HUP', $t->{pid};
}

count($wrk);
drain('/live');

is(taken('/live'), 3000, 'exact over reloads');

# workers that are killed in the middle take what they had, and no more

$wrk = start('/killed', 3);

foreach (1 .. 8) {
	select undef, undef, undef, 0.2;
	my ($pid) = workers();
	kill 'KILL', $pid if $pid;
}

count($wrk);
drain('/killed');
$n = taken('/killed');

cmp_ok($n, '<=', 6000, 'not more than there were');
cmp_ok($n, '>=', 6000 - 8 * 32, 'none lost but those on the way');

###############################################################################

# until nothing is left, however slow the machine is: twice in a row, some were
# refused and none was let through

sub drain {
	my ($uri) = @_;

	my ($all, $dry) = (0, 0);

	for (1 .. 60) {
		my $had = taken($uri =~ s/\?.*//r);
		my ($n, $refused) = count(start($uri, 1));

		$all += $n;
		$dry = 0 if taken($uri =~ s/\?.*//r) != $had;
		$dry++ if $refused && taken($uri =~ s/\?.*//r) == $had;

		return $all if $dry == 2;
	}

	return "$all and more";
}

# requests that were let through, as logged

sub taken {
	my ($uri) = @_;

	return scalar(() = $t->read_file('taken.log') =~ m!^\Q$uri\E$!mg);
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

# the answers with 200, and the others

sub count {
	my ($wrk) = @_;

	my $out = do { local $/; <$wrk> };

	my ($all) = $out =~ /(\d+) requests in/ or die $out;
	my ($other) = $out =~ /Non-2xx or 3xx responses: (\d+)/;

	$other ||= 0;

	return ($all - $other, $other);
}

sub workers {
	my $master = $t->read_file('nginx.pid');
	chomp $master;

	open my $fh, '<', "/proc/$master/task/$master/children" or die;
	local $/;

	return split ' ', <$fh>;
}

###############################################################################
