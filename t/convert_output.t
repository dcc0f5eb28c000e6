#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl convert: where the output goes, what reaches the
# terminal, options that nothing comes of, limits.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

my $t = Test::Nginx->new()->plan(43);
my $d = $t->testdir();
my $ctl = egressctl();
my $in = 'convert/23-list.yaml';

###############################################################################

my ($status, $out, $err) = ctl("-f $in");
my $conf = $out;

is($status, 0, 'converted');

# -o

is(join(' ', (ctl("-f $in -o -"))[0, 1]), "0 $conf", 'to standard output');
ok(!-e '-', 'not to a file of that name');

symlink('/dev/null', "$d/device");
is((ctl("-f $in -o $d/device"))[0], 0, 'to a device');
ok(-l "$d/device" && -c "$d/device", 'which is still one');

is((ctl("-f $in -o $d"))[0], 1, 'a folder is refused');

$t->write_file('out.conf', 'old');
chmod(0600, "$d/out.conf");
is((ctl("-f $in -o $d/out.conf"))[0], 0, 'replaced');
is(sprintf('%o', (stat("$d/out.conf"))[2] & 07777), '600', 'with its mode');
is($t->read_file('out.conf'), $conf, 'with the new text');

# what a manifest says doesn't reach the terminal as a control sequence

foreach my $text ("\\e[2J", "\\x9b2J", "\\r\\nforged:1:1: error", "\\x07") {
	$t->write_file('m.yaml', "apiVersion: networking.istio.io/v1\n"
		. "kind: \"Gateway$text\"\nmetadata: {name: a}\n");

	($status, $out, $err) = ctl("-f $d/m.yaml");

	$err =~ s/^    kind: .*\n//m;
	is($status, 1, "$text refused");
	unlike($err, qr/[\x00-\x09\x0b-\x1f\x7f]|\xc2[\x80-\x9f]|^forged/m,
		"$text not printed");
}

# options

(undef, undef, $err) = ctl("-f $in --listen 443=127.0.0.1:8443"
	. " --endpoint a.example.com:443=127.0.0.1:1");
like($err, qr/warning: --listen 443=127.0.0.1:8443: no Gateway/, 'listen');
like($err, qr/warning: --endpoint a.example.com:443=.*: nothing/, 'endpoint');

(undef, $out) = ctl('-f convert/26-tcp-hosts.yaml'
	. ' --resolver "127.0.0.1 ipv6=off"'
	. ' --endpoint "DB.example.com=[::1]:99"');
like($out, qr/^    resolver         127.0.0.1 ipv6=off;$/m, 'resolver');
like($out, qr/^        endpoint    ::1 port=99;$/m, 'IPv6 endpoint');

is(join(' ', map { (ctl("-f $in --nginx-version $_"))[0] }
	qw/ 1.22.1 1.31.0 1.20.0 1.22 x /), '0 0 2 2 2', 'nginx version');

# a mapping too large to look for duplicates in

$t->write_file('m.yaml', join("\n", map { "k$_: v" } 1 .. 1025) . "\n");
($status, undef, $err) = ctl("-f $d/m.yaml");
is($status, 1, 'many keys');
like($err, qr/^\S+:1025:1: error: a mapping with more than 1024 keys/m,
	'many keys, said');

# more of anything than there may be

$t->write_file('m.yaml', "a: [" . '1,' x 2000001 . "1]\n");
($status, undef, $err) = ctl("-f $d/m.yaml");
like("$status $err", qr/^1 \S+: error: .*more than 2000000 /, 'many values');

open my $fh, '>', "$d/m.yaml" or die;
print $fh '#' x 1048575, "\n" for 1 .. 65;
close $fh;
($status, undef, $err) = ctl("-f $d/m.yaml");
like("$status $err", qr/^1 \S+: error: .*64 MB/, 'many bytes');

# what nginx's buffer does not hold, at once or put together

my $http = do { local (@ARGV, $/) = 'convert/51-other-kinds.yaml'; <> };

foreach my $n (100, 5000) {
	$t->write_file('m.yaml', $http =~ s/http: \[/sprintf 'http: [{match: '
		. '[{uri: {prefix: \/a}}], directResponse: {status: 200, body: '
		. '{string: %s}}}, ', 'x' x $n/er);
	($status, undef, $err) = ctl("-f $d/m.yaml");
	is($status, $n > 4000 ? 1 : 0, "a body of $n bytes");
}

like($err, qr/^\S+m.yaml:\d+:\d+: error: a value that takes 5000 bytes /m,
	'too long a body, said');

foreach my $n (10, 400) {
	$t->write_file('m.yaml', $http =~ s/http: \[/'http: [' . join('', map {
		"{match: [{headers: {x-$_: {exact: '1'}}}], "
		. "directResponse: {status: 200}}, " } 1 .. $n)/er);
	($status, undef, $err) = ctl("-f $d/m.yaml");
	is($status, $n > 100 ? 1 : 0, "$n conditions");
}

like($err, qr/error: nginx takes no word of more than 4000 bytes, .* split/,
	'too many conditions, said');

# all errors of a run, up to 50

$t->write_file('m.yaml', join("---\n", map {
	"apiVersion: networking.istio.io/v1\nkind: X$_\n" } 1 .. 60));
($status, undef, $err) = ctl("-f $d/m.yaml");
is(scalar(() = $err =~ /: error: /g), 50, 'errors of all documents');
like($err, qr/^egressctl: 10 more errors are not shown$/m, 'and how many more');

unlink "$d/m.yaml";

(undef, undef, $err) = ctl("--strict -f $in --listen 443=127.0.0.1:8443");
like($err, qr/^egressctl: refused because of 1 warning \(--strict\)$/m,
	'strict');

is((ctl('-f ../conf/istio --resolver 127.0.0.1 --strict'))[0], 0,
	'the example has no warnings');

# where the gateway is decides what localities mean

my $dr = do { local (@ARGV, $/) = 'convert/33-destination-rules.yaml'; <> };
my ($failover) = $dr =~ /(localityLbSetting: .*)/;

sub located {
	my ($setting, $locality) = @_;

	$t->write_file('m.yaml', $dr =~ s/\Q$failover\E/$setting/r);
	my (undef, $out, $err) = ctl("-f $d/m.yaml --resolver 127.0.0.1"
		. ($locality ? " --locality $locality" : ''));
	my ($svc) = $out =~ /service a.example.com_80_two \{(.*?)\n    \}/s;

	return $svc ? join("\n", $svc =~ /endpoint    (.*);/g) : $err;
}

is(located($failover, 'eu/b'), <<'EOF' =~ s/\n$//r, 'failover');
192.0.2.2 label=version=v2 locality=eu/b/x
2001:db8::3 label=version=v2 locality=us/a
192.0.2.4 label=version=v2 locality=asia/a backup
EOF

my $distribute = 'localityLbSetting: {distribute: [{from: "eu/*", '
	. 'to: {"eu/*": 80, "us/*": 20}}]}';

is(located($distribute, 'eu/b'), <<'EOF' =~ s/\n$//r, 'distribute');
192.0.2.2 weight=800 label=version=v2
2001:db8::3 weight=200 label=version=v2
EOF

like(located($distribute), qr/error: "distribute" depends on where/,
	'the place of the gateway is not known');
unlike(located('localityLbSetting: {enabled: false}', 'eu/b'), qr/locality/,
	'not enabled');

# the file for locations that set their own Host is the other one without it

my ($one, $two) = map {
	local (@ARGV, $/) = ("../conf/$_.conf");
	<> =~ s/^#.*\n//mgr;
} qw/ egress_proxy egress_proxy_headers /;
is($one =~ s/^proxy_set_header  Host .*\n\n//mr, $two, 'headers');

# and those for "grpc_pass" clear and pass the same headers

my ($three, $four) = map {
	local (@ARGV, $/) = ("../conf/$_.conf");
	<> =~ s/^#.*\n//mgr;
} qw/ egress_proxy_grpc egress_proxy_grpc_headers /;
is($three =~ s/^grpc_set_header  Host .*\n\n//mr, $four, 'headers, grpc');
is(named($three =~ s/^.*\$egress_.*\n//mgr, 'grpc'),
	named($one =~ s/^.*\$egress_.*\n//mgr, 'proxy'),
	'grpc as proxy');

###############################################################################

sub named {
	my ($text, $module) = @_;

	return join(' ', sort map { s/^${module}_//r =~ s/\s+/ /gr } grep {
		/^${module}_(?:set|pass|ignore)_header/ } split(/\n/, $text));
}

sub ctl {
	my ($args) = @_;

	my $out = `$ctl convert $args 2>$d/err`;

	return ($? >> 8, $out, $t->read_file('err'));
}

###############################################################################
