#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for the limits of a service: connections, requests and those that
# wait, of two workers together, and slots that come back whoever had them.

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

my $t = Test::Nginx->new()->expect(qr/exited on signal 9/);

write_conf(3);

Test::Nginx::Far::start($t, 8081);

$t->run()->plan(40);

###############################################################################

# both workers take connections; what they count they count together

far(8081, 'answer delay=100');

my @r = several(16, 'conns');

is(scalar(grep { /^HTTP\S+ 200/ } @r), 16, 'max_connections, all answered');
is(most(), 3, 'max_connections, at a time');
cmp_ok(pids('conns'), '>', 1, 'max_connections, by both workers');

far(8081, 'answer delay=100');

@r = several(12, 'keep');

is(scalar(grep { /^HTTP\S+ 200/ } @r), 12, 'max_connections, keepalive');
is(most(), 3, 'max_connections, keepalive, at a time');
cmp_ok(Test::Nginx::Far::most($t, undef, 'open'), '<=', 3,
	'max_connections, keepalive, open');

# one after the other, as they came

far(8081, 'answer delay=60');

my @s;

foreach my $i (1 .. 6) {
	push @s, ask('one', "/one$i");
	sleep 0.03;
}

Test::Nginx::Far::answer($_) foreach @s;

is(most(), 1, 'queue, one at a time');
is(order('one'), '', 'queue, first come, first served');

far(8081, 'answer delay=800');

@s = map { ask('short', "/short$_") } 1 .. 3;
@r = map { Test::Nginx::Far::answer($_) } @s;

is(statuses(@r), '200 504 504', 'pending timeout');
like(flags('/short'), qr/^(504 UT upstream_timeout ){2}$/,
	'pending timeout, flags');

# max_pending

far(8081, 'answer delay=300');

@r = several(6, 'pend');

is(statuses(@r), '200 200 200 503 503 503', 'max_pending');
like(flags('/pend'), qr/^(503 UO circuit_open ){3}$/, 'max_pending, flags');

@r = several(3, 'nopend');

is(statuses(@r), '200 503 503', 'max_pending 0');
like(get('nopend', '/again'), qr/^HTTP\S+ 200/, 'max_pending 0, again');

# max_requests

@r = several(8, 'reqs');

is(statuses(@r), '200 200 503 503 503 503 503 503', 'max_requests');
like(flags('/reqs'), qr/^(503 UO circuit_open ){6}$/, 'max_requests, flags');
like($t->read_file('error.log'), qr/service "reqs" has reached its limit: max_requests/,
	'max_requests, logged');

# requests_per_connection

far(8081);

my $s = Test::Nginx::Far::ask(8080, join '', map {
	"GET /per$_ HTTP/1.1\r\nHost: per.example.com\r\n"
	. ($_ == 6 ? 'Connection: close' : 'X-A: b') . "\r\n\r\n"
} 1 .. 6);
Test::Nginx::Far::answer($s);

is(Test::Nginx::Far::connections($t, 8081), 3, 'requests_per_connection');

# slots come back from clients that leave: of one that is served, of one that
# waits

far(8081, 'stall');

@s = map { ask('two', "/gone$_") } 1 .. 4;
Test::Nginx::Far::until_true(sub { most() == 2 });
close($_) foreach @s;

far(8081);
is(statuses(several(2, 'two')), '200 200', 'clients that left');

# from the far side

far(8081, 'reset body', 'answer');
is(statuses(several(4, 'two')), '502 502 502 502', 'resets');
far(8081, 'reset part');
several(4, 'two');
far(8081, 'accept reset');
several(4, 'two');
far(8081, 'answer delay=100');
is(statuses(several(4, 'two')), '200 200 200 200', 'after resets');
is(most(), 2, 'after resets, at a time');

# of a kept connection that closes while the body that it is for still comes

far(8081);

$s = Test::Nginx::Far::ask(8080,
	"GET /first HTTP/1.1\r\nHost: single.example.com\r\n\r\n");
Test::Nginx::Far::until_true(sub {
	Test::Nginx::Far::lines($t, 8081, 'done') == 1
});

print $s "POST /slow HTTP/1.1\r\nHost: single.example.com\r\n"
	. "Connection: close\r\nContent-Length: 10\r\n\r\n12345";
sleep 0.1;
far(8081, 'hangup');
sleep 0.1;
print $s '67890';
like(Test::Nginx::Far::answer($s), qr/^HTTP\S+ 200.* POST \/slow 10;/s,
	'kept connection closes');
like(get('single', '/after'), qr/^HTTP\S+ 200/,
	'kept connection closes, slot');

# of a worker that died: the ones it had come back in some two seconds

far(8081, 'stall');

@s = map { ask('dead', "/dead$_") } 1 .. 12;
Test::Nginx::Far::until_true(sub {
	Test::Nginx::Far::requests($t, 8081) == 2
});

my @workers = workers();

kill 'KILL', @workers;

# or those that nobody has accepted get the slots

close($_) foreach @s;

Test::Nginx::Far::until_true(sub {
	!grep { my $pid = $_; grep { $_ == $pid } workers() } @workers
		and workers() == 2
});

far(8081, 'answer delay=100');

my $time = time();
@r = several(4, 'dead');

is(statuses(@r), '200 200 200 200', 'killed workers');
is(most(), 2, 'killed workers, at a time');
cmp_ok(time() - $time, '<', 4, 'killed workers, soon');

# one of two: those of the other one are still counted

far(8081, 'stall');

@s = ();

for (1 .. 40) {
	push @s, ask('dead', "/more$_");
	last if Test::Nginx::Far::until_true(sub {
		Test::Nginx::Far::requests($t, 8081) == 2
	}, 0.1);
}

is(most(), 2, 'before one is killed');
kill 'KILL', (workers())[0];
sleep 2.5;
cmp_ok(Test::Nginx::Far::most($t, 8081), '<=', 2, 'one killed, at a time');

close($_) foreach @s;
@s = ();

# a reload: old workers and new ones count together, and a new limit holds

far(8081, 'answer delay=900');

@s = map { ask('conns', "/old$_") } 1 .. 3;
Test::Nginx::Far::until_true(sub { most() == 3 });

write_conf(4);
reload();

push @s, map { ask('conns', "/new$_") } 1 .. 4;

Test::Nginx::Far::until_true(sub { most() == 4 });
is(most(), 4, 'reload, at a time');
is(statuses(map { Test::Nginx::Far::answer($_) } @s), join(' ', (200) x 7),
	'reload, all answered');
is(most(), 4, 'reload, limit');

write_conf(1);
reload();

far(8081, 'answer delay=100');

is(statuses(several(3, 'conns')), '200 200 200', 'reload, lower limit');
is(most(), 1, 'reload, lower limit, at a time');

for (1 .. 2) {
	@s = map { ask('conns', "/load$_$_") } 1 .. 4;
	$t->reload();
	Test::Nginx::Far::answer($_) foreach @s;
}

far(8081, 'answer delay=100');
is(statuses(several(3, 'conns')), '200 200 200', 'reloads with waiting');
is(most(), 1, 'reloads with waiting, at a time');

# stream: over the limit is closed

SKIP: {
	skip 'no stream', 3 unless $t->version_text() =~ /--with-stream/;

	far(8081, 'answer delay=400');

	my $request = "GET /tcp HTTP/1.1\r\nHost: tcp\r\nConnection: close\r\n\r\n";

	@s = map { Test::Nginx::Far::ask(8083, $request) } 1 .. 4;
	@r = map { Test::Nginx::Far::answer($_) } @s;

	is(scalar(grep { /^HTTP\S+ 200/ } @r), 2, 'stream');
	is(most(), 2, 'stream, at a time');

	far(8081);
	is(scalar(grep { /^HTTP\S+ 200/ }
		map { Test::Nginx::Far::answer(
			Test::Nginx::Far::ask(8083, $request)) } 1 .. 3), 3,
		'stream, again');
}

unlike($t->read_file('error.log'), qr/exited on signal (?!9)/, 'no crash');

###############################################################################

sub write_conf {
	my ($max) = @_;

	my %services = (
		conns => "max_connections $max; keepalive 0;",
		keep => 'max_connections 3; keepalive 2;',
		one => 'max_connections 1;',
		single => 'max_connections 1; keepalive 1;',
		two => 'max_connections 2;',
		dead => 'max_connections 2;',
		short => 'max_connections 1; max_pending 9 timeout=300ms;',
		pend => 'max_connections 1; max_pending 2;',
		nopend => 'max_connections 1; max_pending 0;',
		reqs => 'max_requests 2;',
		per => 'requests_per_connection 2; keepalive 4;',
	);

	my $services = join '', map { <<"EOF2" } sort keys %services;
    service $_ {
        host      $_.example.com;
        port      80 http;
        endpoint  127.0.0.1 port=%%PORT_8081%%;
        $services{$_}
    }
EOF2

	$t->write_file_expand('nginx.conf', <<'EOF2' =~ s/%%SERVICES%%/$services/r);

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone  1m;

%%SERVICES%%

    service tcp {
        host             tcp.example.com;
        port             9000 tcp;
        endpoint         127.0.0.1 port=%%PORT_8081%%;
        max_connections  2;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  far  "$pid $uri $status $egress_flags $egress_reason";

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

stream {
    %%TEST_GLOBALS_STREAM%%

    upstream egress {
        egress_balance;
    }

    server {
        listen          127.0.0.1:8083;
        egress          on;
        egress_service  tcp;
        egress_port     9000;
        egress_preread  off;
        proxy_pass      egress;
    }
}

EOF2
}

# until the old workers have let go of the listeners

sub reload {
	$t->reload();
	sleep 0.4;
}

sub far {
	my ($name, @lines) = @_;

	Test::Nginx::Far::set($t, $name, @lines);
	Test::Nginx::Far::clear($t);
}

sub most {
	return Test::Nginx::Far::most($t, 8081);
}

sub ask {
	my ($name, $uri) = @_;

	return Test::Nginx::Far::ask(8080, "GET $uri HTTP/1.1\r\n"
		. "Host: $name.example.com\r\nConnection: close\r\n\r\n");
}

sub get {
	my ($name, $uri) = @_;

	return Test::Nginx::Far::answer(ask($name, $uri));
}

sub several {
	my ($n, $name) = @_;

	my @s = map { ask($name, "/$name$_") } 1 .. $n;

	return map { Test::Nginx::Far::answer($_) } @s;
}

sub statuses {
	return join ' ', sort map { /^HTTP\S+ (\d+)/ ? $1 : '-' } @_;
}

# of those that were not answered 200

sub flags {
	my ($uri) = @_;

	sleep 0.1;

	return join '', map { "$_ " } $t->read_file('access.log')
		=~ /^\d+ \Q$uri\E\d* ([1-57-9]0[34] .*)$/mg;
}

# requests that came before earlier ones of the same worker

sub order {
	my ($name) = @_;

	sleep 0.1;

	my %pids = reverse $t->read_file('access.log') =~ /^(\d+) (\S+) /mg;
	my %last;

	return join ' ', grep {
		my ($n) = /(\d+)$/;
		my $pid = $pids{$_};
		my $bad = ($last{$pid} // 0) > $n;
		$last{$pid} = $n;
		$bad;
	} map { m!GET (/$name\d+)! ? $1 : () }
		Test::Nginx::Far::lines($t, 8081, 'head');
}

# workers that answered for a service

sub pids {
	my ($name) = @_;

	sleep 0.1;

	my %pids = map { ($_ => 1) } $t->read_file('access.log')
		=~ m!^(\d+) /$name\d* !mg;

	return scalar keys %pids;
}

# children of the master

sub workers {
	return map { split } map {
		open my $fh, '<', "/proc/$t->{pid}/task/$t->{pid}/children";
		scalar(<$fh>) // '';
	} 1;
}

###############################################################################
