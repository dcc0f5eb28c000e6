#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for policies that can't be read, T-AUZ-14: what was decided is decided
# still, and nothing is open by default.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();
my $d = $t->testdir();

my $deny = "policy p { action allow; rule { to { paths /allowed; } } }\n";
my $whole = conf();

$t->write_file('policies.conf', $deny);
$t->write_file_expand('nginx.conf', $whole);
$t->expect(qr/policies\.conf/);
$t->run()->plan(17);

###############################################################################

like(get('/allowed'), qr/ 503 /, 'allowed: nobody answers there');
like(get('/other'), qr/ 403 /, 'denied');

# each of them is refused, and what runs goes on

my @broken = (
	[ 'no file', sub { unlink "$d/policies.conf" } ],
	[ 'a folder', sub { mkdir "$d/policies.conf" } ],
	[ 'half a file', sub {
		rmdir "$d/policies.conf";
		$t->write_file('policies.conf', substr($deny, 0, 40));
	} ],
	[ 'an unknown field', sub {
		$t->write_file('policies.conf',
			$deny =~ s/paths/passwords/r);
	} ],
);

for (@broken) {
	my ($name, $break) = @$_;

	$break->();

	my $before = emergencies();

	kill 'HUP', $t->{pid};

	for (1 .. 100) {
		last if emergencies() > $before;
		sleep 0.1;
	}

	cmp_ok(emergencies(), '>', $before, "$name, refused");
	like(get('/other'), qr/ 403 /, "$name, denied still");
	isnt(($t->test_config())[0], 0, "$name, no start");
}

# manifests: no configuration at all

my $ctl = egressctl();

$t->write_file('out.conf', 'old');

for (
	[ "$d/none.yaml", 'no manifest' ],
	[ '/proc/self/mem', 'no readable manifest' ],
)
{
	my ($file, $name) = @$_;

	system("$ctl convert -f ../conf/istio -f $file -o $d/out.conf "
		. "2>/dev/null");

	is(($? >> 8) . ' ' . $t->read_file('out.conf'), '1 old', $name);
}

# with the policies back, all is as before

$t->write_file('policies.conf', $deny);
is(($t->test_config())[0], 0, 'policies are back');

###############################################################################

sub emergencies {
	my @n = $t->read_file('error.log') =~ /\[(?:emerg|crit)\]/g;

	return scalar @n;
}

sub conf {
	return <<'EOF';

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone           1m;
    allow_address  127.0.0.0/8;

    service a {
        host      a.test;
        port      80 http;
        resolution  static;
        endpoint  127.0.0.1 port=1;
    }

    include  policies.conf;
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  80;
        location / { proxy_pass http://egress; }
    }
}

EOF
}

sub get {
	my ($path) = @_;

	return http("GET $path HTTP/1.1\r\nHost: a.test\r\n"
		. "Connection: close\r\n\r\n");
}

###############################################################################
