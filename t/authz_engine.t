#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# The index of policies against the one that looks at one rule after the other:
# a million random decisions, and some more with the sanitizers.

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

my $cc = join ' ', $ENV{CC} || 'cc', '-std=gnu11 -g -Wall -Wextra',
	'-Wno-unused-parameter -Werror',
	(map { "-I $nginx/$_" } qw! src/core src/event src/event/modules
		src/os/unix objs !),
	'-I ../ngx_egress_module', "-I $authz",
	'unit/engine.c unit/naive.c unit/core.c',
	map { "$authz/ngx_egress_$_.c" } qw/ engine compile match spiffe /;

my $dir = tempdir(CLEANUP => 1);

plan(tests => 6);

###############################################################################

agree('fast', '-O2', 1000000);
agree('safe', '-O1 -fsanitize=address,undefined '
	. '-fno-sanitize-recover=undefined', 50000);

###############################################################################

sub agree {
	my ($name, $flags, $n) = @_;

	my $out = `$cc $flags -o $dir/$name 2>&1`;

	is($?, 0, "$name, built") or diag($out);

	$out = `$dir/$name $n 2>&1`;

	like($out, qr/^ok 1 - \d{5,} decisions agree$/m, "$name, agree")
		or diag($out);
	like($out, qr/^ok 2 - all answers$/m, "$name, all answers")
		or diag($out);
}

###############################################################################
