#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for DNS in numbers: names that clients ask for in a bounded cache,
# 1,000 addresses of a name, 2,000 names, one lookup for who waits in all
# workers, and clients that leave.

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

my $services = join '', map { service("c$_") } 1 .. 2000;
$services .= join '', map { service($_) } qw/ many wait left /;

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

egress {
    zone              4m dns=50;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  2s;
    dns_ttl           max=1m stale=10s;
    allow_address     127.0.1.0/24 127.1.0.0/16;

    service wild {
        host        *.wild.example.com;
        port        80 http target=%%PORT_8081%%;
        resolution  dynamic;
        keepalive   0;
    }

    $services
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080 backlog=1024;
        egress       on;
        egress_port  80;
        egress_reason_header  on;

        location / {
            proxy_pass  http://egress;
        }
    }
}

EOF

set("c$_", 'A 127.0.1.1 ttl=2') foreach 1 .. 2000;
set("f$_.wild", 'A 127.0.1.2 ttl=60') foreach 1 .. 500;
set('busy.wild', 'A 127.0.1.3 ttl=60');
set('a.b.wild', 'A 127.0.1.4 ttl=60');
set('private.wild', 'A 10.0.0.1 ttl=60');
set('many', 'A* 127.1.0.1 n=1000 ttl=60');
set('wait', 'A 127.0.1.1 ttl=60', 'delay 500');
set('left', 'A 127.0.1.1 ttl=60', 'delay 500');

Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Dialled::start($t, 8081);

$t->run()->plan(25);

###############################################################################

# one lookup, whoever waits

my $start = time();
my @clients = map { begin('wait') } 1 .. 16;
my @got = map { end($_) } @clients;

is(scalar(grep { /127\.0\.1\.1$/ } @got), 16, 'all waited');
is(queries('wait'), 1, 'for one lookup');
cmp_ok(time() - $start, '<', 1.5, 'and no longer');

# clients that leave

@clients = map { begin('left') } 1 .. 16;
sleep 0.1;
close($_) foreach @clients;
sleep 0.6;

is(ask('left'), '127.0.1.1', 'after clients that left');
is(queries('left'), 1, 'lookup was not lost');

# a name asked for, after the verdict

is(ask('a.b.wild'), '127.0.1.4', 'dynamic');
is(queries('a.b.wild'), 1, 'looked up');
is(ask('a.b.wild'), '127.0.1.4', 'again');
is(queries('a.b.wild'), 1, 'cached for all');
is(ask('private.wild'), '403 address_denied', 'dynamic, guarded');
is(ask('nosuch.wild'), '503 dns_failed', 'dynamic, no such name');
is(ask('x.other'), '502 registry_miss', 'not registered');
is(queries('x.other'), 0, 'not looked up');

# all of 1,000 addresses

my %many;
$many{ask('many')}++ for 1 .. 1000;

is(keys %many, 1000, 'all addresses');
is($many{'127.1.3.232'}, 1, 'the last one');
cmp_ok(queries('many'), '<=', 2, 'one answer');

# ten times more names than there is room for

my $load = load('busy.wild', 'c1');

my %flood;
$flood{ask("f$_.wild")}++ for 1 .. 500;

my $r = Test::Nginx::Dialled::unload($load);

is($flood{'127.0.1.2'}, 500, 'all names') or diag(explain(\%flood));
is($r->{failed}, 0, 'others') or diag($r->{why});
cmp_ok($r->{all}, '>', 50, 'enough');
unlike($t->read_file('error.log'), qr/no room/, 'there is room');
cmp_ok(queries('busy.wild'), '<', 20, 'name in use is kept');

# many names, used all the time, with a small ttl

$load = load(map { "c$_" } 1 .. 2000);
sleep 4;
$r = Test::Nginx::Dialled::unload($load);

is($r->{failed}, 0, 'many names') or diag($r->{why});

my @names = grep { /^c\d+\.example\.com$/ } keys %$r;

cmp_ok(@names, '>', 1000, 'many of them');
cmp_ok($r->{max}, '<', 1, 'without a wait');

# none is asked for twice in its time

my ($twice, %last) = (0);

foreach my $line (split /\n/, $t->read_file('dns.log')) {
	next unless $line =~ /^(\S+) \S+ A (c\d+)\.example\.com$/;

	my ($time, $name) = ($1, $2);

	if ($last{$name} && $time - $last{$name} < 1.4) {
		$twice++;
		diag("$name after " . ($time - $last{$name}));
	}

	$last{$name} = $time;
}

is($twice, 0, 'none is asked for twice');

###############################################################################

sub service {
	my ($name) = @_;

	return "service $name { host $name.example.com; "
		. "balance round_robin; keepalive 0; "
		. "port 80 http target=%%PORT_8081%%; }\n    ";
}

sub set {
	my ($name, @lines) = @_;

	Test::Nginx::DNS::set($t, "$name.example.com", @lines);
}

sub ask {
	my ($name) = @_;

	return Test::Nginx::Dialled::get(8080, "$name.example.com");
}

sub begin {
	my ($name) = @_;

	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port(8080))
		or die "can't connect: $!\n";

	$s->syswrite("GET / HTTP/1.0\r\nHost: $name.example.com\r\n\r\n");

	return $s;
}

sub end {
	my ($s) = @_;

	local $/;
	return <$s> // '';
}

sub load {
	my (@hosts) = @_;

	return Test::Nginx::Dialled::load($t, clients => 2, port => 8080,
		hosts => [ map { "$_.example.com" } @hosts ]);
}

sub queries {
	my ($name) = @_;

	return Test::Nginx::DNS::queries($t, "$name.example.com", 'A');
}

###############################################################################
