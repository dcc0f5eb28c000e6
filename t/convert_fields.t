#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl fields: Istio's CRDs have no field that has no row, and
# README has the table as it is.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

my $ctl = egressctl();
my $crds = ($ENV{TEST_SHARED} // '../../shared') . '/reference/crds/istio.yaml';

plan(tests => 9);

my @rows = map { chomp; [ split(/\t/, $_, -1) ] } `$ctl fields`;

ok(@rows > 1000, 'rows');
is(join("\n", grep { @$_ != 3 } @rows), '', 'of three columns');
is(join("\n", map { $_->[0] } grep {
	$_->[1] !~ /^(rendered|no effect|refused)$/ } @rows), '', 'with a use');

# the first row of a tree that has no effect says why

my %why = map { $_->[0] =~ s/\[\]|\{\}//gr => $_ } @rows;
my @silent = grep {
	my $up = $_->[0] =~ s/\[\]|\{\}//gr =~ s/\.[^.]+$//r;
	$_->[1] eq 'no effect' && $_->[2] eq ''
	&& ($why{$up} // ['', ''])->[1] ne 'no effect'
} @rows;

is(join("\n", map { $_->[0] } @silent), '', 'no effect, and why');

my ($readme) = do { local (@ARGV, $/) = '../README.md'; <> };
is(`bash ../util/readme.sh $ctl ../README.md -`, $readme,
	'README is as "make readme" makes it');

is(`$ctl fields --foo 2>&1` =~ /^usage/ ? $? >> 8 : 0, 2, 'usage');

my $t = Test::Nginx->new();
my $d = $t->testdir();

$t->write_file('crd.yaml', <<'EOF');
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: x}
spec:
  names: {kind: ProxyConfig}
  versions:
  - name: v1
    schema:
      openAPIV3Schema:
        properties:
          spec:
            properties:
              concurrency: {type: integer}
              novel: {type: string}
              image: {properties: {imageType: {}, other: {}}}
              environmentVariables: {}
              selector: {properties: {matchLabels: {}}}
EOF

my $says = `$ctl fields --crd $d/crd.yaml 2>&1`;
is(($? >> 8) . " $says", "1 + ProxyConfig.novel\n+ ProxyConfig.image.other\n",
	'a field without a row');

SKIP: {
	skip 'no shared/ beside the project', 2 unless -f $crds;

	$says = `$ctl fields --crd $crds 2>&1`;
	is($? >> 8, 0, 'the CRDs of Istio');
	is(join('', grep { !/skipped/ } split(/^/, $says)), '',
		'have no field that has no row');
}

###############################################################################
