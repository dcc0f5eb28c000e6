#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Unit tests in C: SPIFFE IDs, matches and paths, token buckets and their
# table in shared memory.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use File::Temp qw/ tempdir /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# headers and ngx_auto_config.h of the nginx that the modules are built for

my $nginx = '../build/nginx';

die "no $nginx/objs/ngx_auto_config.h: run \"make\" first\n"
	unless -f "$nginx/objs/ngx_auto_config.h";

my $authz = '../ngx_egress_authz_module';
my $ratelimit = '../ngx_egress_ratelimit_module';

my $cc = join ' ', $ENV{CC} || 'cc', '-std=gnu11 -g -O1 -Wall -Wextra',
	'-Wno-unused-parameter -Werror -fsanitize=address,undefined',
	'-fno-sanitize-recover=undefined',
	(map { "-I $nginx/$_" } qw! src/core src/event src/event/modules
		src/os/unix objs !),
	'-I ../ngx_egress_module', "-I $authz", "-I $ratelimit";

my $dir = tempdir(CLEANUP => 1);

plan(tests => 12);

###############################################################################

unit('spiffe', join(' ', 'unit/core.c', map { "$authz/ngx_egress_$_.c" }
	qw/ spiffe match path domains /), 268);
unit('token', "$ratelimit/ngx_egress_ratelimit_token.c", 50);
unit('period', "$ratelimit/ngx_egress_ratelimit_period.c", 27);
unit('table', join(' ', map { "$ratelimit/ngx_egress_ratelimit_$_.c" }
	qw/ period process table take token /), 34);

###############################################################################

sub unit {
	my ($name, $sources, $expected) = @_;

	my $out = `$cc unit/$name.c $sources -o $dir/$name 2>&1`;

	is($?, 0, "$name, built") or diag($out);

	$out = `nice -n 19 $dir/$name 2>&1`;

	is($?, 0, "$name, all passed") or diag($out);

	my $n = () = $out =~ /^ok /mg;

	is($n, $expected, "$name, all run");
}

###############################################################################
