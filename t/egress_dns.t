#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for DNS answers as endpoints: all addresses, refresh in time by one of
# four workers, bounds on TTL, answers that change, both families, aliases.

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

my @names = qw/ all once twice idle zero long change gone family refused
	failing none6 alias chain denied mixed kept rebound /;

my $services = join '', map { service($_) } @names;

my $t = Test::Nginx->new()->has_daemon('ss')->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
worker_processes 4;

events {
}

egress {
    zone              1m;
    resolver          127.0.0.1:8053;
    resolver_timeout  1s;
    dns_ttl           min=1s max=3s stale=1s;
    allow_address     127.0.1.0/24 ::1;

    $services

    service over {
        host          *.over.example.com;
        port          80 http target=%%PORT_8081%%;
        resolution    dynamic;
        max_requests  1;
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
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_pass          http://egress;
        }
    }
}

EOF

set('all', map { "A 127.0.1.$_ ttl=60" } 1 .. 20);
set('once', 'A 127.0.1.1 ttl=2', 'delay 700');
set('idle', 'A 127.0.1.1 ttl=1');
set('zero', 'A 127.0.1.1 ttl=0');
set('long', 'A 127.0.1.1 ttl=3600');
set('change', 'A 127.0.1.1 ttl=1', 'A 127.0.1.2 ttl=1');
set('gone', 'A 127.0.1.1 ttl=1');
set('family', 'A 127.0.1.1 ttl=60', 'AAAA ::1 ttl=60');
set('refused', 'A 127.0.1.1 ttl=60', 'rcode6 REFUSED');
set('failing', 'A 127.0.1.1 ttl=60', 'rcode6 SERVFAIL');
set('none6', 'A 127.0.1.1 ttl=60', 'rcode6 NXDOMAIN');
set('kept', 'A 127.0.1.50 ttl=1');
set('rebound', 'A 127.0.1.1 ttl=0');
set('alias', 'CNAME real.example.com ttl=60', 'A 127.0.1.7 ttl=60');
set('chain', 'CNAME link.example.com ttl=60');
set('link', 'CNAME real.example.com ttl=60');
set('real', 'A 127.0.1.8 ttl=60');
set('denied', 'A 127.0.2.1 ttl=60', 'A 169.254.169.254 ttl=60');
set('mixed', 'A 127.0.1.1 ttl=60', 'A 10.0.0.1 ttl=60');
set($_, 'A 127.0.1.1 ttl=60') foreach 'a.over', 'b.over';

Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Dialled::start($t, 8081);

$t->run()->plan(39);

###############################################################################

# all addresses of an answer

my %all;
$all{ask('all')}++ for 1 .. 200;

is(join(' ', sort keys %all), join(' ', sort map { "127.0.1.$_" } 1 .. 20),
	'all addresses');

my %family;
$family{ask('family')}++ for 1 .. 40;

is(join(' ', sort keys %family), '127.0.1.1 ::1', 'both families');

is(ask('refused'), '127.0.1.1', 'AAAA refused');
is(ask('failing'), '127.0.1.1', 'AAAA fails');
is(ask('none6'), '127.0.1.1', 'AAAA denies the name');
is(ask('alias'), '127.0.1.7', 'alias with addresses');
is(ask('chain'), '127.0.1.8', 'alias without');
is(ask('denied'), '403 address_denied', 'denied addresses');

# who is one too many has nothing looked up

my $slow = IO::Socket::INET->new('127.0.0.1:' . port(8080))
	or die "can't connect: $!\n";
$slow->syswrite("GET /slow?2000 HTTP/1.0\r\nHost: b.over.example.com\r\n\r\n");

for (1 .. 100) {
	last if queries('b.over');
	sleep 0.02;
}

is(ask('a.over'), '503 circuit_open', 'over max_requests');
is(queries('a.over'), 0, 'over max_requests, no lookup');

my %mixed;
$mixed{ask('mixed')}++ for 1 .. 20;

is(join(' ', keys %mixed), '127.0.1.1', 'mixed answer');

# refresh, while it is in use and while it is not

ask('idle');
ask('once');

my $load = load('once', 'zero', 'long', 'change', 'gone');

sleep 2;

my $before = queries('idle');

sleep 3.5;

my $r = Test::Nginx::Dialled::unload($load);

is($r->{failed}, 0, 'refreshed') or diag($r->{why});
cmp_ok($r->{max}, '<', 0.6, 'nobody waits');
cmp_ok($r->{all}, '>', 200, 'enough');

is(join(' ', sort keys %{$r->{'change.example.com'}}), '127.0.1.1 127.0.1.2',
	'two addresses');

my @gaps = gaps('once');

cmp_ok(@gaps, '>=', 2, 'refreshes');
cmp_ok((sort { $a <=> $b } @gaps)[0], '>', 1.5, 'one query each');
cmp_ok((sort { $b <=> $a } @gaps)[0], '<', 3.2, 'in time');

@gaps = gaps('zero');

cmp_ok((sort { $a <=> $b } @gaps)[0], '>', 0.7, 'minimum ttl');
cmp_ok(@gaps, '>=', 3, 'minimum ttl, refreshes');

@gaps = gaps('long');

cmp_ok(@gaps, '>=', 1, 'maximum ttl');
cmp_ok($gaps[0], '<', 3.5, 'maximum ttl, in time');

cmp_ok($before, '<=', 2, 'once more at most');
is(queries('idle'), $before, 'not refreshed when nobody asks');
cmp_ok(queries('all'), '<=', 2, 'nor this one');

# the answer grows, shrinks, moves

$load = load('change');

set('change', 'A 127.0.1.2 ttl=1', 'A 127.0.1.3 ttl=1');
sleep 1.5;

Test::Nginx::Dialled::unload($load);

my %change;
$change{ask('change')}++ for 1 .. 40;

is(join(' ', sort keys %change), '127.0.1.2 127.0.1.3', 'new addresses');

# no connection stays to an address that left; another one is checked as well

set('rebound', 'A 127.0.1.1 ttl=0');
is(ask('rebound'), '127.0.1.1', 'before it is rebound');
set('rebound', 'A 169.254.169.254 ttl=0');

ask('kept') for 1 .. 4;
is(connections('127.0.1.50'), 1, 'kept');

set('kept', 'A 127.0.1.51 ttl=60');

for (1 .. 60) {
	ask('kept');
	ask('rebound');
	last if $_ > 12 && !connections('127.0.1.50');
	sleep 0.1;
}

is(connections('127.0.1.50'), 0, 'closed');
is(connections('127.0.1.51'), 1, 'another one');
is(ask('rebound'), '403 address_denied', 'rebound');

# it is empty, and comes back

set('gone', 'rcode NXDOMAIN');
ask('gone');
sleep 1.5;
ask('gone');
sleep 0.3;

is(ask('gone'), '503 dns_failed', 'gone');

$before = queries('gone');
is(ask('gone'), '503 dns_failed', 'still gone');
is(queries('gone'), $before, 'which is remembered');

set('gone', 'A 127.0.1.4 ttl=60');
sleep 3;

is(ask('gone'), '127.0.1.4', 'back');

# no records of the type is the same

set('twice', 'AAAA ::1 ttl=1');
is(ask('twice'), '::1', 'the other family only');

my $log = $t->read_file('error.log');

like($log, qr/gone.example.com could not be resolved \(3: /, 'logged');
like($log, qr/denied: reason dns_failed, service "gone"/, 'denial logged');
unlike($log, qr/no room/, 'there is room');

###############################################################################

sub service {
	my ($name) = @_;

	my $keep = $name eq 'kept' ? 1 : 0;

	return "service $name { host $name.example.com; "
		. "balance round_robin; keepalive $keep; "
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

sub load {
	my (@hosts) = @_;

	return Test::Nginx::Dialled::load($t, clients => 2, port => 8080,
		pause => 0.005, hosts => [ map { "$_.example.com" } @hosts ]);
}

sub queries {
	my ($name) = @_;

	return Test::Nginx::DNS::queries($t, "$name.example.com", 'A');
}

# is there a connection to an address

sub connections {
	my ($address) = @_;

	return `ss -tn state established dst $address` =~ /\Q$address\E/ ? 1 : 0;
}

# seconds between queries

sub gaps {
	my ($name) = @_;

	my @times = $t->read_file('dns.log')
		=~ /^(\S+) \S+ A \Q$name\E\.example\.com$/mg;

	return map { $times[$_] - $times[$_ - 1] } 1 .. $#times;
}

###############################################################################
