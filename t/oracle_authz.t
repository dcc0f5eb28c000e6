#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Scenarios of authorization that were run through Istio's own control plane
# and a real Envoy: the same manifests through egressctl convert, the same
# questions through egressctl explain, and the verdicts compared.
#
# EGRESS_SHARED   the folder with oracle/ and seed/, ../shared of the
#                 repository; without it there is nothing to do

###############################################################################

use warnings;
use strict;

use JSON::PP;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT binary egressctl repository /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my ($oracle) = grep { -d "$_/scenarios" && -d "$_/expected" }
	map { "$_/oracle" } grep { $_ }
	$ENV{EGRESS_SHARED}, repository() . '/../shared';

plan(skip_all => 'no oracle: EGRESS_SHARED is not set') unless $oracle;

my @scenarios = qw/ 05-istio-mutual 10-seed-authz 11-policy-ports
	12-policy-ports-443 21-policy-sni /;

# a scenario again, without what lets another rule hide the others: in Istio
# rules with hosts are dropped for TCP, and the verdicts are the same

my %again = ('21-policy-sni' => qr/^.*operation: \{(hosts|notHosts): .*\n/m);

# the port that the client means, by the address that the oracle listened on

my %declared = (8080 => 80, 8443 => 443, 443 => 443, 15443 => 15443);

# the service that a TCP route chooses, whatever the name within

my %route = (
	'05-istio-mutual 443' => 'api.example.com_80',
	'05-istio-mutual 15443' => 'api.example.com_443'
);

# what is refused there by a listener or a route, before any policy

my %elsewhere = map { ("05-istio-mutual: http: $_" => 1) }
	'default sidecar SNI', 'other Host', 'no SNI';

# where we depart on purpose: the section of the architecture, our verdict,
# and the rule or reason that it is by

my $sni = 'istio-system/sni';
my $without = '21-policy-sni, again';

my %departure = (
	'11-policy-ports: frontend to github' => [ '9.2 ports are declared ones',
		'allowed', 'istio-system/egress-gateway-authz/0' ],

	(map { ("21-policy-sni: $_" => [ '9.1 notHosts is about the SNI',
		'allowed', "$sni/8" ]) }
		qw/ suffix upper any-principal unlisted /),

	'21-policy-sni: hosts' => [ '9.1 hosts is about the SNI',
		'allowed', "$sni/7" ],
	'21-policy-sni: port-443' => [ '9.2 ports are declared ones',
		'allowed', "$sni/5" ],

	"$without: port-443" => [ '9.2 ports are declared ones',
		'allowed', "$sni/5" ],
	"$without: port-8443" => [ '9.2 ports are declared ones',
		'denied', 'authz_denied' ],
	"$without: not-principal" => [ '9.3 no identity never helps',
		'denied', 'no_identity' ],
	"$without: not-namespace" => [ '9.3 no identity never helps',
		'denied', 'no_identity' ],
);

###############################################################################

my $t = Test::Nginx->new()->has_daemon('openssl');
my $d = $t->testdir();

$t->ca('ca');
$t->cert('ca', 'gateway', 'DNS:gateway');

my (@questions, %seen);

foreach my $name (@scenarios) {
	my $scenario = json("$oracle/scenarios/$name.json");
	my %expected = map { $_->{name} => $_ }
		@{json("$oracle/expected/$name.json")->{probes}};

	push @questions, [ $name, $scenario, \%expected ];
	push @questions, [ "$name, again", $scenario, \%expected ]
		if $again{$name};
}

my $probes = 0;
$probes += @{$_->[1]{probes}} foreach @questions;

$t->plan(@questions + $probes + 1);

foreach (@questions) {
	my ($name, $scenario, $expected) = @$_;

	ok(convert($name, $scenario), "$name, converted")
		or diag($t->read_file("$name.err"));

	foreach my $probe (@{$scenario->{probes}}) {
		my $id = "$name: $probe->{name}";

		SKIP: {
		skip "$id, not by a policy", 1 if $elsewhere{$id};

		my $want = $expected->{$probe->{name}}{outcome} eq 'http 200'
			? 'allowed' : 'denied';
		my ($got, $why) = ask($name, $probe);

		if ($departure{$id}) {
			$seen{$id} = 1;
			my ($section, $ours, $by) = @{$departure{$id}};

			is($ours eq $want ? 'as there' : "$got $why", "$ours $by",
				"$id, departs by $section");

		} else {
			is($got, $want, "$id, $want") or diag($why);
		}
		}
	}
}

is(join(', ', grep { !$seen{$_} } sort keys %departure), '',
	'all departures were met');

###############################################################################

sub json {
	my ($file) = @_;

	open my $fh, '<', $file or die "can't open $file: $!\n";
	local $/;

	return decode_json(<$fh>);
}

sub convert {
	my ($name, $scenario) = @_;

	my @files = map { "-f '$_'" } map { without($name, $_) }
		map { "$oracle/scenarios/$_" } @{$scenario->{oracle}{files}};

	my $conf = `@{[ egressctl() ]} convert @files --resolver 127.0.0.1 --mesh-certificate $d/gateway.crt --mesh-key $d/gateway.key --mesh-ca $d/ca.crt --system-ca $d/ca.crt --proxy-conf @{[ repository() ]}/conf/egress_proxy.conf 2>'$d/$name.err'`;

	my $status = $?;
	my $modules = join "\n", $t->load_modules();

	$conf =~ s!^include  modules-enabled.*$!$modules!m;
	$t->write_file("$name.conf", $conf);

	return $status == 0;
}

# a copy of the file, if lines are to be left out of it

sub without {
	my ($name, $file) = @_;

	my ($base) = $name =~ /^(.*), again$/ or return $file;

	return $file unless $file =~ m!/\Q$base\E\.yaml$!;

	open my $fh, '<', $file or die "can't open $file: $!\n";
	my $text = do { local $/; <$fh> };

	$text =~ s/$again{$base}//g or die "nothing to leave out\n";
	$t->write_file("$base.yaml", $text);

	return "$d/$base.yaml";
}

sub ask {
	my ($name, $probe) = @_;

	my ($number) = $probe->{address} =~ /:(\d+)$/;
	my $port = $declared{$number} or die "no port of $number\n";
	my $route = $route{"$name $port"};

	my ($host) = lc($probe->{host} || $probe->{sni}) =~ /^([^:]+)/;
	my @args = ('--host', $host, '--port', $port, '--source', '127.0.0.1');

	push @args, '--principal', "cluster.local/ns/$1/sa/$2"
		if ($probe->{identity} || '') =~ /^wl-(\w+)-(\w+)$/;

	if ($probe->{host}) {
		push @args, '--protocol', 'http', '--authority', $probe->{host},
			'--path', $probe->{path} || '/';

	} else {
		push @args, '--protocol', 'tls', '--sni', $probe->{sni};
	}

	push @args, '--service', $route if $route;

	my $text = do {
		my $command = join ' ', map { "'$_'" } egressctl(), 'explain',
			'-o', 'json', '--nginx', binary(), '-c', "$d/$name.conf",
			@args;
		`$command 2>$d/explain.err`;
	};

	my $answer = eval { decode_json($text) };

	return ('nothing', $t->read_file('explain.err')) unless $answer;

	return ($answer->{verdict}, $answer->{verdict} eq 'allowed'
		? $answer->{policy} : $answer->{reason});
}

###############################################################################
