#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for reloads with services that come and go: what only configurations
# of the past had does not fill the zone.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', conf(0));

$t->run()->plan(1);

###############################################################################

foreach my $n (1 .. 10) {
	$t->write_file_expand('nginx.conf', conf($n));

	kill 'HUP', $t->{pid};
	sleep 0.5;
}

my @reloads = $t->read_file('error.log') =~ /start worker processes/g;

is(scalar @reloads, 11, 'reloads');

###############################################################################

sub conf {
	my ($n) = @_;

	my $services = join '', map {
		"service s$n-$_ { host h$n-$_.example.com; port 80 http; }\n"
	} 1 .. 400;

	return <<"EOF";

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone      1m dns=100;
    resolver  127.0.0.1:8053 ipv6=off;

    $services
}

EOF
}

###############################################################################
