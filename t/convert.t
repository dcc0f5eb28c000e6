#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl convert: golden files.  For t/convert/NAME.yaml, NAME.err
# is what it says, and NAME.conf what it writes, if it writes at all.
# T-AUZ-10: 05, 08, 22; T-AUZ-11: 10, 15.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

my $ctl = egressctl();
my @names = map { s!^convert/(.*)\.yaml$!$1!r } sort glob('convert/*.yaml');
my $shared = $ENV{TEST_SHARED} // '../../shared';
my $seed = "$shared/seed/manifests";

plan(tests => 3 * @names + 5);

ok(@names > 15, 'there are golden files');

foreach my $name (@names) {
	my ($status, $out, $err) = convert("-f $name.yaml");
	my $conf = content("$name.conf");

	is($status, defined $conf ? 0 : 1, "$name, status");
	is($out, defined $conf ? $conf : '', "$name, output");
	is($err, content("$name.err") // '', "$name, diagnostics");
}

# the same input, the same output

is((convert('-f ../../conf/istio'))[1], (convert('-f ../../conf/istio'))[1],
	'deterministic');

SKIP: {
	skip 'no shared/ beside the project', 3 unless -d $seed;

	my %status = ('step07-authz-deny-all-egress.yaml' => 1);
	my @wrong;

	foreach my $file (map { s!.*/!!r } glob("$seed/*.yaml")) {
		my ($status) = convert("-f " . ($seed =~ m!^/! ? $seed : "../$seed") . "/$file");
		push @wrong, "$file: $status" if $status != ($status{$file} || 0);
	}

	is(join("\n", @wrong), '', 'the manifests of the guide');

	# together they contradict each other in no other place

	my ($status, undef, $err) = convert('-f '
		. ($seed =~ m!^/! ? $seed : "../$seed"));
	like($err, qr/deny-all-egress.yaml:14:3: error: "\{\}" cannot stand beside other fields of a mapping: remove it .*, or write "spec: \{\}" alone/,
		'what is wrong with the one that is');
	$err = join("\n", grep { /: error: / && !/deny-all-egress/ }
		split(/\n/, $err));
	is("$status $err", '1 ', 'and all of them together');
}

###############################################################################

sub convert {
	my ($args) = @_;

	my $out = `cd convert && $ctl convert --resolver 127.0.0.53 $args 2>/tmp/egress-convert.$$`;
	my $status = $? >> 8;

	open my $fh, '<', "/tmp/egress-convert.$$" or die;
	local $/;
	my $err = <$fh> // '';
	close $fh;
	unlink "/tmp/egress-convert.$$";

	return ($status, $out, $err);
}

sub content {
	my ($name) = @_;

	open my $fh, '<', "convert/$name" or return undef;
	local $/;

	return scalar <$fh>;
}

###############################################################################
