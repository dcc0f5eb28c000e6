#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for outlier detection: what ejects an endpoint, for how long, how many
# at most, and how it returns; by two workers, over a reload.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::Far;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();

my @two = map { "127.0.0.1 port=%%PORT_$_%%" } 8081, 8082;
my $one = '127.0.0.1 port=%%PORT_8081%%';
my @ten = map { "127.0.1.$_ port=%%PORT_8085%%" } 1 .. 10;

my $long = 'max_ejected=100 ejection=60s';

my %services = (
	five => [ "consecutive_5xx=3 $long", @two ],
	default => [ $long, @two ],
	gateway => [ "consecutive_5xx=0 consecutive_gateway=2 $long", @two ],
	local => [ "consecutive_5xx=2 consecutive_local=3 $long", @two ],
	(map { ($_ => [ "consecutive_5xx=2 $long", @two ]) } qw/ run reset
		refuse /),
	off => [ 'consecutive_5xx=0 max_ejected=100', @two ],
	few => [ 'consecutive_5xx=1 ejection=60s', @two ],
	ten => [ 'consecutive_5xx=1 ejection=60s', @ten ],
	half => [ 'consecutive_5xx=1 ejection=60s max_ejected=50', @two ],
	alone => [ 'consecutive_5xx=1 max_ejected=100 ejection=300ms'
		. ' interval=300ms', $one ],
	tick => [ 'consecutive_5xx=1 max_ejected=100 ejection=100ms'
		. ' interval=1500ms', $one ],
	slow => [ 'consecutive_5xx=1 max_ejected=100 ejection=100ms'
		. ' interval=2s', @two ],
	panic => [ "consecutive_5xx=1 min_health=50 $long", @two ],
);

$t->write_file_expand('nginx.conf', <<'EOF2' =~ s/%%SERVICES%%/services()/er);

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone  1m;

%%SERVICES%%
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  far  "$pid $host $status $egress_flags $egress_reason";

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080 reuseport;
        access_log   %%TESTDIR%%/access.log  far;

        egress       on;
        egress_port  80;
        include      %%REPOSITORY%%/conf/egress_proxy.conf;
        proxy_next_upstream  off;

        location / {
            proxy_pass  http://egress;
        }
    }
}

EOF2

Test::Nginx::Far::start($t, 8081, 8082, map { "127.0.1.$_:8085" } 1 .. 10);

$t->run()->plan(34);

###############################################################################

# so many in a row, whoever counts them

far('answer 503');
is(go(20, 'five'), '200 x17 503 x3', 'consecutive_5xx');
is(asked(8081), 3, 'consecutive_5xx, ejected');
cmp_ok(pids('five'), '>', 1, 'consecutive_5xx, by both workers');
like($t->read_file('error.log'), qr/egress endpoint 127.0.0.1:\d+ of service "five" is ejected for 60000 ms/,
	'consecutive_5xx, logged');

$t->reload();
sleep 0.4;

is(go(10, 'five'), '200 x10', 'ejected, reload');
is(asked(8081), 0, 'ejected, reload, not asked');

far('answer 500');
is(go(20, 'default'), '200 x15 500 x5', 'default');

far('answer 503 times=1', 'answer 200 times=1', 'answer 503 times=1',
	'answer 404 times=1', 'answer');
is(go(20, 'run'), '200 x17 404 x1 503 x2', 'not in a row');
is(asked(8081), 10, 'not in a row, not ejected');

far('answer 500 times=3', 'answer 502 times=1', 'answer 500 times=1',
	'answer 504 times=2', 'answer 599');
is(go(30, 'gateway'), '200 x23 500 x4 502 x1 504 x2', 'consecutive_gateway');

far('answer 503');
is(go(10, 'off'), '200 x5 503 x5', 'off');

# failures without an answer: of their own, or as any other

far('reset body times=1', 'answer 503 times=1', 'reset body');
is(go(20, 'local'), '200 x15 502 x4 503 x1', 'consecutive_local');
far('reset body times=1', 'answer 500 times=1', 'answer 599');
is(go(10, 'reset'), '200 x8 500 x1 502 x1', 'without consecutive_local');
far('refuse');
is(go(10, 'refuse'), '200 x8 503 x2', 'connect failures');

# how many at most

far('answer 503');
is(go(10, 'few'), '200 x5 503 x5', 'max_ejected, none of two');

Test::Nginx::Far::set($t, "127.0.1.$_:8085", 'answer 503') foreach 2, 5;
is(go(29, 'ten'), '200 x25 503 x4', 'max_ejected, one of ten');

both('answer 503');
is(go(11, 'half'), '503 x11', 'max_ejected, one of two');
is(join(' ', sort { $a <=> $b } asked(8081), asked(8082)), '1 10',
	'max_ejected, all others stay');

# all of them

far('answer 503 times=2', 'answer');
is(go(3, 'alone'), '503 x3', 'one endpoint');
is(asked(8081), 1, 'one endpoint, asked once');
like($t->read_file('access.log'), qr/^\d+ alone\S* 503 UH no_healthy_endpoint$/m,
	'one endpoint, flags');

# back, and out again for longer

ok(until_asked('alone'), 'returned');
like(last_ejected('alone'), qr/^300 600$/, 'ejected for longer');
ok(until_status('alone', 200), 'returned again');

# back with an interval only

far('answer 503 times=1', 'answer');
my $time = time();
go(1, 'tick');
sleep 0.6;
is(go(1, 'tick'), '503 x1', 'not before the interval');
ok(until_status('tick', 200), 'with the interval');
cmp_ok(time() - $time, '>', 1.0, 'with the interval, time');

# little at first

far('answer 503 times=1', 'answer');
go(4, 'slow');
is(asked(8081), 1, 'ejected');
$time = time();

Test::Nginx::Far::until_true(sub { go(1, 'slow', 1); asked(8081) > 1 });
far();
go(60, 'slow');

my $n = asked(8081);

SKIP: {
	skip 'too slow', 1 if time() - $time > 4;
	cmp_ok($n, '<', 24, 'little at first');
}

sleep 2.1;
go(40, 'slow');
cmp_ok(asked(8081), '>', 10, 'all of it later');

# too few are left: ejections do not count

both('answer 503');
is(go(10, 'panic'), '503 x10', 'min_health');
cmp_ok(asked(8081), '>', 1, 'min_health, asked');
cmp_ok(asked(8082), '>', 1, 'min_health, both asked');

is(crashes(), '', 'no crash');

###############################################################################

sub services {
	my $s = '';

	foreach my $name (sort keys %services) {
		my ($conf, @endpoints) = @{$services{$name}};

		$s .= "service $name {\n    host $name.example.com;\n"
			. "    port 80 http;\n    balance round_robin;\n"
			. "    outlier $conf;\n    keepalive 0;\n"
			. join('', map { "    endpoint $_;\n" } @endpoints)
			. "}\n";
	}

	return $s;
}

# the first endpoint; the other one answers 200

sub far {
	both();
	Test::Nginx::Far::set($t, 8081, @_);
}

sub both {
	Test::Nginx::Far::set($t, $_, @_) foreach 8081, 8082;
}

sub asked {
	return Test::Nginx::Far::requests($t, @_);
}

# how many of each status

sub go {
	my ($n, $name, $more) = @_;

	my %n;

	Test::Nginx::Far::clear($t) unless $more;

	for (1 .. $n) {
		my $r = Test::Nginx::Far::answer(Test::Nginx::Far::ask(8080,
			"GET / HTTP/1.0\r\nHost: $name.example.com\r\n\r\n"));
		$n{$r =~ /^HTTP\S+ (\d+)/ ? $1 : '-'}++;
	}

	return join ' ', map { "$_ x$n{$_}" } sort keys %n;
}

sub until_status {
	my ($name, $status) = @_;

	return Test::Nginx::Far::until_true(sub {
		go(1, $name) eq "$status x1"
	});
}

sub until_asked {
	my ($name) = @_;

	return Test::Nginx::Far::until_true(sub {
		go(1, $name);
		asked(8081)
	});
}

sub last_ejected {
	my ($name) = @_;

	return join ' ', $t->read_file('error.log')
		=~ /service "$name" is ejected for (\d+) ms/g;
}

sub pids {
	my ($name) = @_;

	sleep 0.1;

	my %pids = map { ($_ => 1) }
		$t->read_file('access.log') =~ /^(\d+) $name\./mg;

	return scalar keys %pids;
}

sub crashes {
	return join ' ', $t->read_file('error.log') =~ /exited on signal \d+/g;
}

###############################################################################
