#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl convert: what it accepts, nginx accepts.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

my $t = Test::Nginx->new()->has_daemon('openssl');
my $d = $t->testdir();
my $ctl = egressctl();
my $r = Test::Nginx::repository();

my @names = map { s!^convert/(.*)\.conf$!$1!r } sort glob('convert/*.conf');

$t->plan(2 * @names);

$t->ca('ca');
$t->cert('ca', 'gateway', 'DNS:gateway');

# where nginx's own default of an access log is relative

mkdir "$d/logs";

my $modules = join("\n", $t->load_modules());

###############################################################################

foreach my $name (@names) {
	my @ports = do {
		local @ARGV = "convert/$name.conf";
		map { /^\s+listen\s+(\d+)/ ? $1 : () } <>;
	};

	my %listen = map { $ports[$_] => port(8000 + $_) } 0 .. $#ports;

	my $out = `$ctl convert -f convert/$name.yaml --resolver 127.0.0.1 \\
		--mesh-certificate $d/gateway.crt --mesh-key $d/gateway.key \\
		--mesh-ca $d/ca.crt --proxy-conf $r/conf/egress_proxy.conf \\
		--path /etc/istio=$d --system-ca $d/ca.crt \\
		@{[ map { "--listen $_=127.0.0.1:$listen{$_}" } keys %listen ]} \\
		2>$d/err`;

	is($?, 0, "$name, converted") or diag($t->read_file('err'));

	$out =~ s!^include  modules-enabled.*$!$modules\npid $d/nginx.pid;!m;
	$t->write_file('nginx.conf', $out);

	my ($status, $says) = $t->test_config();

	# rate limits may be those of an older module than the converter knows

	SKIP: {
		my $new = qr/request_header|x_ratelimit_headers|always_consume
			|descriptor|egress_ratelimit_descriptor/x;

		skip "no $1 in this module", 1
			if $says =~ /unknown directive "($new)"/;

		is($status, 0, "$name, nginx takes it") or diag($says);
	}
}

###############################################################################
