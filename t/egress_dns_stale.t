#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for DNS that fails in all its ways: the last good answer serves at
# once and for as long as it may, then the service is closed, until DNS is
# back.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;
use Test::Nginx::Dialled;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my %faults = (
	servfail => 'rcode SERVFAIL',
	refused => 'rcode REFUSED',
	formerr => 'rcode FORMERR',
	garbage => 'garbage',
	header => 'garbage 12',
	short => 'short',
	drop => 'drop',
	wrongid => 'wrongid',
	loop => 'loop',
);

my @names = sort keys %faults;
my $services = join '', map { service($_) } @names, 'cold', 'left';

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone              1m;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  1s;
    dns_ttl           max=1s stale=3s;
    allow_address     127.0.1.0/24;

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

set($_, 'A 127.0.1.1') foreach @names;
set('cold', 'drop');
set('left', 'A 127.0.1.1');

Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Dialled::start($t, 8081);

$t->run()->plan(3 * @names + 11);

###############################################################################

# without an answer there is nothing to serve; the flow waits as long as it may

my $start = time();

is(ask('cold'), '503 dns_failed', 'no answer ever');

my $time = time() - $start;

cmp_ok($time, '>', 0.9, 'waited');
cmp_ok($time, '<', 3, 'and no longer');

$start = time();

is(ask('cold'), '503 dns_failed', 'not asked again at once');
cmp_ok(time() - $start, '<', 0.6, 'without a wait');

ask($_) foreach @names, 'left', 'left', 'left';

# DNS fails; the answer gets old

my $load = load();

set($_, "A 127.0.1.1", $faults{$_}) foreach @names;
set('left', 'rcode SERVFAIL');

$start = time();

sleep 2.5;

my $r = Test::Nginx::Dialled::unload($load);

foreach my $name (@names) {
	is(join(' ', keys %{$r->{"$name.example.com"}}), '127.0.1.1',
		"stale, $name");
}

cmp_ok($r->{max}, '<', 0.8, 'no delay');

sleep 0.1 while time() - $start < 4.8;

foreach my $name (@names) {
	is(ask($name), '503 dns_failed', "too old, $name");
}

my $left = queries('left');

# it has failed for some time, and does not wait for longer and longer

$load = load();
sleep 0.1 while time() - $start < 7;
Test::Nginx::Dialled::unload($load);

set($_, 'A 127.0.1.2 ttl=60') foreach @names;

my %got;

for (1 .. 30) {
	foreach my $name (@names) {
		$got{$name} = ask($name)
			if ($got{$name} || '') ne '127.0.1.2';
	}

	last unless grep { $_ ne '127.0.1.2' } values %got;

	sleep 0.2;
}

foreach my $name (@names) {
	is($got{$name}, '127.0.1.2', "back, $name");
}

is(queries('left'), $left, 'not for nobody');

# the server is gone, all of it

$load = load();
sleep 0.5;
Test::Nginx::DNS::stop($t);
sleep 2.5;
$r = Test::Nginx::Dialled::unload($load);

is($r->{failed}, 0, 'no server') or diag($r->{why});
cmp_ok($r->{max}, '<', 0.8, 'no server, no delay');

my $queries = queries('servfail');

cmp_ok($queries, '>', 3, 'asked again');
cmp_ok($queries, '<', 16, 'not all the time');

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

sub load {
	return Test::Nginx::Dialled::load($t, clients => 2, port => 8080,
		pause => 0.005, hosts => [ map { "$_.example.com" } @names ]);
}

sub queries {
	my ($name) = @_;

	return Test::Nginx::DNS::queries($t, "$name.example.com", 'A');
}

###############################################################################
