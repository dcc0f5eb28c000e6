#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for workers that are killed while they hold connections, requests,
# places in the queue and lookups: all of it is given back, and no lock stays.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;
use Test::Nginx::Dialled;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has('stream')->expect(qr/exited on signal 9/,
		qr/"ngx_egress" was locked by \d+$/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone              1m dns=20;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  2s;
    dns_ttl           max=1s;
    allow_address     127.0.1.0/24;

    service connections {
        host             connections.example.com;
        port             80 http target=%%PORT_8081%%;
        endpoint         127.0.1.1;
        endpoint         127.0.1.2;
        keepalive        0;
        max_connections  4;
        max_pending      0;
    }

    service pending {
        host             pending.example.com;
        port             80 http target=%%PORT_8081%%;
        endpoint         127.0.1.1;
        keepalive        0;
        max_connections  1;
        max_pending      3;
    }

    service requests {
        host          requests.example.com;
        port          80 http target=%%PORT_8081%%;
        max_requests  3;
    }

    service plain {
        host      plain.example.com;
        port      80 http target=%%PORT_8081%%;
        endpoint  127.0.1.1;
        endpoint  127.0.1.2;
        outlier   consecutive_5xx=3 interval=100ms;
    }

    service wild {
        host        *.wild.example.com;
        port        80 http target=%%PORT_8081%%;
        resolution  dynamic;
    }

    service tcp {
        host             tcp.example.com;
        port             5432 tcp target=%%PORT_8081%%;
        endpoint         127.0.1.1;
        max_connections  2;
    }
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
        egress_reason_header  on;

        location / {
            proxy_pass  http://egress;
        }
    }
}

stream {
    upstream egress {
        egress_balance;
    }

    server {
        listen          127.0.0.1:8082;
        egress          on;
        egress_service  tcp;
        egress_preread  off;
        proxy_pass      egress;
    }
}

EOF

Test::Nginx::DNS::set($t, 'requests.example.com', 'A 127.0.1.1', 'delay 50');
Test::Nginx::DNS::set($t, "$_.wild.example.com", 'A 127.0.1.1', 'delay 30')
	foreach 'a' .. 'z';

Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Dialled::start($t, 8081);

$t->run()->plan(18);

###############################################################################

check('before');

# the storm

my @loads = map { Test::Nginx::Dialled::load($t, %$_, port => 8080, timeout => 3) } (
	{ clients => 3, hosts => [ map { "$_.example.com" }
		qw/ connections pending requests / ], uri => '/slow?60' },
	{ clients => 1, hosts => [ map { "$_.example.com" }
		'plain', map { "$_.wild" } 'a' .. 'z' ] },
	{ clients => 1, hosts => [ 'plain.example.com' ] }
);

my $killed = 0;
my @tcp;

while ($killed < 20) {
	push @tcp, tcp();
	shift @tcp if @tcp > 2;

	my @pids = Test::Nginx::Dialled::workers($t);

	if (@pids) {
		$killed += kill 'KILL', $pids[int(rand @pids)];
	}

	sleep 0.08 + rand 0.2;
}

@tcp = ();

Test::Nginx::Dialled::unload($_) foreach @loads;

sleep 1.5;

check('after');

# a worker is stopped in the middle of what it does, again and again

my $load = Test::Nginx::Dialled::load($t, clients => 3, port => 8080,
	hosts => [ 'plain.example.com', 'a.wild.example.com' ]);

for (1 .. 40) {
	my @pids = Test::Nginx::Dialled::workers($t);

	kill 'STOP', $pids[0];
	sleep 0.02;
	kill 'CONT', $pids[0];
	sleep 0.01;
}

my ($stopped) = Test::Nginx::Dialled::workers($t);

kill 'STOP', $stopped;
sleep 0.1;

# the other one serves; a client in the queue of who is stopped waits for it

my $ok = 0;

for (1 .. 20) {
	$ok++ if Test::Nginx::Dialled::get(8080, 'plain.example.com', timeout => 0.5)
		=~ /^127/;
}

kill 'CONT', $stopped;

my $r = Test::Nginx::Dialled::unload($load);

cmp_ok($ok, '>', 10, 'the other worker serves');
is($r->{failed}, 0, 'stopped') or diag($r->{why});
cmp_ok($r->{all}, '>', 100, 'enough');

check('at last', 1);

my $log = $t->read_file('error.log');
my @killed = $log =~ /exited on signal 9/g;
my @others = $log =~ /exited on signal (?!9)\d+/g;

cmp_ok(@killed, '>=', 10, 'killed');
is(@others, 0, 'no crash');

###############################################################################

# each service is as good as its limits

sub check {
	my ($when, $short) = @_;

	is(at_once('connections', 4), '4 of 4', "connections, $when");
	is(at_once('connections', 6), '4 of 6', "connections, limit, $when");
	is(at_once('requests', 5), '3 of 5', "requests, limit, $when");

	return if $short;

	is(at_once('pending', 6, 150), '4 of 6', "pending, limit, $when");

	my @s = map { tcp() } 1 .. 3;
	is(scalar(grep { defined && <$_> } @s), 2, "stream, limit, $when");
}

sub at_once {
	my ($name, $n, $ms) = @_;

	$ms ||= 500;

	my @s = map {
		my $s = IO::Socket::INET->new('127.0.0.1:' . port(8080));
		print $s "GET /slow?$ms HTTP/1.0\r\n"
			. "Host: $name.example.com\r\n\r\n";
		$s;
	} 1 .. $n;

	my @got = map { local $/; my $s = $_; <$s> } @s;

	return scalar(grep { defined && / 200 OK/ } @got) . " of $n";
}

sub tcp {
	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(8082),
		Timeout => 2) or return undef;

	$s->autoflush(1);
	local $SIG{PIPE} = 'IGNORE';
	print $s 'PING';

	return $s;
}

###############################################################################
