#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Unit tests in C: the ClientHello parser, and the seeds of its fuzzer.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use File::Temp qw/ tempdir /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $parser = '../ngx_egress_module/ngx_egress_clienthello.c';

# without any header of nginx

my $cc = join ' ', $ENV{CC} || 'cc', '-std=gnu11 -g -O1 -Wall -Wextra -Werror',
	'-fsanitize=address,undefined -fno-sanitize-recover=undefined',
	'-DNGX_EGRESS_STANDALONE -I fuzz';

my $dir = tempdir(CLEANUP => 1);

plan(tests => 6);

###############################################################################

my $out = `$cc unit/clienthello_test.c $parser -lssl -lcrypto -o $dir/unit 2>&1`;

is($?, 0, 'built') or diag($out);

$out = `$dir/unit 2>&1`;

is($?, 0, 'all passed') or diag(failures($out));

my ($planned) = $out =~ /^1\.\.(\d+)$/m;
my $passed = () = $out =~ /^ok /mg;

is($passed, $planned, 'as many as planned');
is($planned, 236, 'all run');

# the fuzzer, fed once with each of its seeds: what it compares still agrees

$out = `$cc fuzz/once.c fuzz/fuzz_clienthello.c $parser -lssl -lcrypto \\
	-o $dir/once 2>&1`;

is($?, 0, 'fuzzer built') or diag($out);

$out = `$dir/once fuzz/corpus/clienthello/* 2>&1`;

like($out, qr/^accepted by ours: 20, names compared: 1\d$/m,
	'seeds read as OpenSSL does') or diag($out);

###############################################################################

sub failures {
	my ($out) = @_;

	return join("\n", $out =~ /^(not ok .*\n# .*)$/mg) || $out;
}

###############################################################################
