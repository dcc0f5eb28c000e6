#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl convert: Secrets become files, if all is right, and only
# those that something uses.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

my $t = Test::Nginx->new()->plan(23);
my $d = $t->testdir();
my $ctl = egressctl();
my $in = do { local (@ARGV, $/) = 'convert/44-secrets.yaml'; <> };

mkdir("$d/secrets") or die "mkdir: $!";

###############################################################################

my ($status, $out, $err) = ctl($in, "--secrets-dir $d/secrets");
is($status, 0, 'converted') or diag($err);

is(join(' ', map { s!^$d/secrets/!!r } sort glob("$d/secrets/*/*")),
	'client/cacert client/cert client/key server-cacert/cacert '
	. 'server/tls.crt server/tls.key', 'files');
is($t->read_file('secrets/server/tls.crt'), "-----BEGIN cert\n", 'base64');
is($t->read_file('secrets/client/cert'), "-----BEGIN cert\n",
	'without padding');
is($t->read_file('secrets/server-cacert/cacert'), '-----BEGIN the CA',
	'stringData');
is(sprintf('%o', (stat("$d/secrets/server/tls.key"))[2] & 07777), '600',
	'mode of a file');
is(sprintf('%o', (stat("$d/secrets/server"))[2] & 07777), '700',
	'mode of a folder');

like($out, qr!ssl_certificate         $d/secrets/server/tls.crt;!, 'server');
like($out, qr!ssl_client_certificate  $d/secrets/server-cacert/cacert;!,
	"the server's CA");
like($out, qr!tls_certificate_key  $d/secrets/client/key;!, 'client');
like($out, qr!tls_trusted_certificate  $d/secrets/elsewhere/ca.crt;!,
	'what is not here yet');
like($err, qr/note: there is no Secret "elsewhere"/, 'is said');

# a folder as Kubernetes mounts it

mkdir("$d/secrets/elsewhere") or die "mkdir: $!";
$t->write_file('secrets/elsewhere/cacert', 'CA');
($status, $out, $err) = ctl($in, "--secrets-dir $d/secrets");
like($out, qr!tls_trusted_certificate  $d/secrets/elsewhere/cacert;!,
	'a folder that is there');
unlike($err, qr/there is no Secret/, 'nothing to say');

# what is wrong

($status, undef, $err) = ctl($in, '');
like($err, qr/error: "server" names a Secret: say with --secrets-dir/,
	'no folder');

foreach my $name ('../server', 'a/b', '.') {
	(undef, undef, $err) = ctl($in =~ s/credentialName: client/credentialName: "$name"/r,
		"--secrets-dir $d/secrets");
	like($err, qr/error: "\Q$name\E" is not the name of a Secret/, "not $name");
}

system("rm -r $d/secrets/*");
($status, undef, $err) = ctl($in =~ s/CRUdJTiBjZXJ0Cg,/CRUdJTiBjZXJ0C*,/r,
	"--secrets-dir $d/secrets");
is("$status " . ($err =~ /error: "cert" is not base64/ ? 1 : $err)
	. join('', glob("$d/secrets/*")), '1 1', 'not base64');

# nginx could not read it, and would have lost what it can

($status, undef, $err) = ctl($in =~ s/tls.key: \S+\}/tls.key: aGVsbG8=}/r,
	"--secrets-dir $d/secrets");
is("$status " . ($err =~ /error: "tls.key" is not PEM/ ? 1 : $err)
	. join('', glob("$d/secrets/*")), '1 1', 'not PEM');
like(`$ctl analyze -f $d/m.yaml --resolver 127.0.0.1 --secrets-dir $d/secrets`,
	qr/error: "tls.key" is not PEM/, 'not PEM, analyze');

($status, undef, $err) = ctl($in, "--secrets-dir $d/none");
like($err, qr!none/\S+: No such .*: make the folder of --secrets-dir!,
	'no such folder');

system("rm -rf $d/secrets/*");
ctl($in =~ s/resolution: DNS/resolution: NO/r, "--secrets-dir $d/secrets");
is(join(' ', glob("$d/secrets/*")), '', 'nothing is written after an error');

###############################################################################

sub ctl {
	my ($in, $args) = @_;

	$t->write_file('m.yaml', $in);
	my $out = `$ctl convert -f $d/m.yaml --resolver 127.0.0.1 $args 2>$d/err`;

	return ($? >> 8, $out, $t->read_file('err'));
}

###############################################################################
