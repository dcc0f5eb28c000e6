#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for a zone that is too small for what DNS answers: it is said, the
# service has as many addresses as there is room for, and others are served.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;
use Test::Nginx::Dialled;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $services = join '', map { service($_) } qw/ few many moves later last /;

my $t = Test::Nginx->new()->expect(qr/no room for \d+ endpoints of service "m/,
		qr/zone "ngx_egress" is too small/)
	->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone              384k dns=20;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  1s;
    dns_ttl           stale=3s;
    allow_address     127.0.1.0/24 127.1.0.0/16;

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

set('few', 'A 127.0.1.1');
set('later', 'A 127.0.1.2');
set('last', 'A 127.0.1.3');
set('many', 'A* 127.1.0.1 n=2000 ttl=60');

Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Dialled::start($t, 8081);

$t->run()->plan(9);

###############################################################################

# an answer that always has other addresses: what has left makes room

my $failed = 0;

for my $i (1 .. 6) {
	set('moves', "A* 127.1.$i.1 n=200 ttl=0");
	ask('moves') =~ /^127/ || $failed++ for 1 .. 30;
	sleep 1.05;
}

is($failed, 0, 'addresses that move');

my $got = '';

for (1 .. 20) {
	$got = ask('moves');
	last if $got =~ /^127\.1\.6/;
	sleep 0.1;
}

like($got, qr/^127\.1\.6\./, 'the last ones');

# more than there is room for

set('moves', "A* 127.1.20.1 n=500 ttl=0");
ask('moves');
sleep 1.1;
ask('moves') for 1 .. 5;

my %many;
$many{ask('many')}++ for 1 .. 900;

diag(explain(\%many)) if grep { !/^127\.1\.|dns_failed$/ } keys %many;
is(scalar(grep { !/^127\.1\.|dns_failed$/ } keys %many), 0,
	'as many as there is room for');
like($t->read_file('error.log'), qr/no room for \d+ endpoints of service "m/,
	'it is said');

# there is more of it, and the answer is the same

set('moves', 'A 127.1.0.1 ttl=60');
ask('moves');
sleep 1.2;
ask('moves');

for (1 .. 40) {
	ask('many');
	sleep 0.05;
}

my %more;
$more{ask('many')}++ for 1 .. 900;

cmp_ok(keys %more, '>', 300 + keys %many, 'as soon as there is room');

# who was there, and who comes later

is(ask('few'), '127.0.1.1', 'another one');
is(ask('later'), '127.0.1.2', 'one that comes later');

sleep 1.2;

is(ask('later'), '127.0.1.2', 'and is refreshed');

# a configuration that does not fit takes nothing from the one that serves

my $conf = $t->read_file('nginx.conf');
my $more = join '', map { "service z$_ { host z$_.example.com; "
	. "port 80 http; }\n" } 1 .. 3000;

$t->write_file('nginx.conf', $conf =~ s/(service few)/$more$1/r);

kill 'HUP', $t->{pid};

for (1 .. 100) {
	last if $t->read_file('error.log') =~ /zone "ngx_egress" is too small/;
	sleep 0.05;
}

is(ask('last'), '127.0.1.3', 'after a reload that failed');

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

###############################################################################
