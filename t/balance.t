#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Unit tests in C of sets of endpoints and of the choice among them: spread
# by weight, keys that stay, levels, panic, ejections.

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

my $dir = tempdir(CLEANUP => 1);

my $cc = join ' ', $ENV{CC} || 'cc', '-std=gnu11 -g -O1 -Wall -Wextra',
	'-Wno-unused-parameter -Werror -fsanitize=address,undefined',
	'-fno-sanitize-recover=undefined',
	(map { "-I $nginx/$_" } qw! src/core src/event src/event/modules
		src/os/unix objs !),
	'-I ../ngx_egress_module unit/balance.c unit/far_shim.c',
	(map { "../ngx_egress_module/ngx_egress_$_.c" }
		qw/ set balancer outlier /), "-lm -o $dir/balance";

plan(tests => 3);

###############################################################################

my $out = `$cc 2>&1`;

is($?, 0, 'built') or diag($out);

$out = `ASAN_OPTIONS=detect_leaks=0 $dir/balance 2>&1`;

is($?, 0, 'all passed') or diag($out);

my $n = () = $out =~ /^ok /mg;

is($n, 69, 'all run');

###############################################################################
