#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Unit tests in C of the guard: T-DNS-01, addresses that embed others, which
# of two ranges wins, and the gateway's own listeners.

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

my $cc = join ' ', $ENV{CC} || 'cc', '-std=gnu11 -g -O1 -Wall -Wextra',
	'-Wno-unused-parameter -Werror -fsanitize=address,undefined',
	'-fno-sanitize-recover=undefined',
	(map { "-I $nginx/$_" } qw! src/core src/event src/event/modules
		src/os/unix objs !),
	'-I ../ngx_egress_module';

my $dir = tempdir(CLEANUP => 1);

plan(tests => 3);

###############################################################################

my $out = `$cc unit/guard.c ../ngx_egress_module/ngx_egress_guard.c -o $dir/guard 2>&1`;

is($?, 0, 'built') or diag($out);

$out = `ASAN_OPTIONS=detect_leaks=0 $dir/guard 2>&1`;

is($?, 0, 'all passed') or diag(grep { !/^ok / } split /^/, $out);

my $n = () = $out =~ /^ok /mg;

is($n, 522, 'all run');

###############################################################################
