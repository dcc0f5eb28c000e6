#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for DNS while processes come and go: a reload each second, requests
# that wait over one, workers killed and stopped, and no workers at all.

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

my $services = join '', map { service($_) } qw/ a slow late /;

my $t = Test::Nginx->new()->expect(qr/exited on signal 9/,
		qr/"ngx_egress" was locked by \d+$/)
	->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

egress {
    zone              1m dns=100;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  2s;
    dns_ttl           max=1s;
    allow_address     127.0.1.0/24;

    service wild {
        host        *.wild.example.com;
        port        80 http target=%%PORT_8081%%;
        resolution  dynamic;
    }

    $services
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

EOF

set('a', 'A 127.0.1.1', 'A 127.0.1.2');
set('slow', 'A 127.0.1.3', 'delay 150');
set('late', 'A 127.0.1.4', 'delay 1200');
set('x.wild', 'A 127.0.1.5');

Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Dialled::start($t, 8081);

$t->run()->plan(17);

###############################################################################

# a reload each second

ask($_) foreach qw/ a slow x.wild /;

# when workers went

my @cuts;

my $s = begin('late');
my $load = load();
my $from = time();

for (1 .. 6) {
	sleep 0.8;

	my $began = time();
	$t->reload();
	push @cuts, [ $began, time() ];
}

sleep 0.5;

my $to = time();
my $r = Test::Nginx::Dialled::unload($load);

is($r->{failed}, 0, 'reload') or diag($r->{why});
cmp_ok($r->{all}, '>', 200, 'enough');
cmp_ok($r->{max}, '<', 1.9, 'nobody waits for long');

foreach my $name (qw/ a slow x.wild /) {
	is(doubled($name, $from, $to), 0, "not doubled, $name");
	cmp_ok((gaps($name, $from, $to))[-1], '<', 3.5, "not stopped, $name");
}

like(end($s), qr/127\.0\.1\.4$/, 'waited over a reload');

# each worker is killed in its turn, who refreshes names is one of them

@cuts = ();

$load = load();
$from = time();

foreach my $pid (Test::Nginx::Dialled::workers($t)) {
	kill 'KILL', $pid;
	push @cuts, [ time(), time() ];
	sleep 0.4;
}

sleep 2.5;

$to = time();
$r = Test::Nginx::Dialled::unload($load);

cmp_ok($r->{failed}, '<', 40, 'only those of who was killed');

cmp_ok((gaps('a', $from, $to))[-1], '<', 3.5, 'another one refreshes');
is(doubled('a', $from, $to), 0, 'only one of them');

# one is stopped for some time

$load = load();
$from = time();

my @workers = Test::Nginx::Dialled::workers($t);

kill 'STOP', @workers[0 .. 2];
sleep 2;

my $during = queries('a', $from, time());

kill 'CONT', @workers[0 .. 2];
sleep 0.5;

$r = Test::Nginx::Dialled::unload($load);

is($r->{failed}, 0, 'stopped workers') or diag($r->{why});
cmp_ok($during, '>=', 1, 'who is left asks');

$t->stop();

# without workers

my $conf = $t->read_file('nginx.conf');
$conf =~ s/^worker_processes.*/master_process off;/m;
$t->write_file('nginx.conf', $conf);
$t->write_file('nginx.pid', '');
$t->run();

$load = load();
$from = time();
sleep 3.5;
$to = time();
$r = Test::Nginx::Dialled::unload($load);

is($r->{failed}, 0, 'single process') or diag($r->{why});
cmp_ok((gaps('a', $from, $to))[-1], '<', 2.5, 'single process, refreshes');

###############################################################################

sub service {
	my ($name) = @_;

	return "service $name { host $name.example.com; "
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
	return Test::Nginx::Dialled::load($t, clients => 2, port => 8080,
		pause => 0.01,
		hosts => [ map { "$_.example.com" } qw/ a slow x.wild / ]);
}

sub asked {
	my ($name, $from, $to) = @_;

	return grep { $_ >= $from && $_ <= $to } $t->read_file('dns.log')
		=~ /^(\S+) \S+ A \Q$name\E\.example\.com$/mg;
}

# queries that are too near to each other; a worker that goes takes its
# lookup with it, who is next asks again

sub doubled {
	my @asked = asked(@_);

	return scalar grep { !interrupted(@$_) }
		grep { $_->[1] - $_->[0] < 0.4 }
		map { [ @asked[$_ - 1, $_] ] } 1 .. $#asked;
}

sub interrupted {
	my ($from, $to) = @_;

	return grep { $_->[1] >= $from - 0.1 && $_->[0] <= $to + 0.1 } @cuts;
}

sub queries {
	my @asked = asked(@_);

	return scalar @asked;
}

# seconds between queries, sorted

sub gaps {
	my @asked = asked(@_);

	return sort { $a <=> $b }
		map { $asked[$_] - $asked[$_ - 1] } 1 .. $#asked;
}

###############################################################################
