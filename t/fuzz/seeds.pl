#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Makes the seed corpus of fuzz_clienthello: hellos of real clients (openssl
# s_client, curl), caught on loopback, the same cut into other records, and
# some which no client at hand sends.
#
# usage: t/fuzz/seeds.pl [directory]

###############################################################################

use warnings;
use strict;

use FindBin;
use IO::Socket::INET;

###############################################################################

my $dir = shift || "$FindBin::Bin/corpus/clienthello";

my @clients = (
	[ sclient_sni => 'openssl s_client -servername api.github.com' ],
	[ sclient_nosni => 'openssl s_client -noservername' ],
	[ sclient_upper => 'openssl s_client -servername API.GitHub.COM' ],
	[ sclient_mesh => 'openssl s_client -alpn istio-peer-exchange,istio'
		. ' -servername outbound_.443_._.istio-egressgateway'
		. '.istio-system.svc.cluster.local' ],
	[ sclient_alpn => 'openssl s_client -alpn h2,http/1.1'
		. ' -servername api.stripe.com' ],
	[ sclient_tls12 => 'openssl s_client -tls1_2 -servername example.com' ],
	[ sclient_tls13 => 'openssl s_client -tls1_3 -servername example.com' ],
	[ sclient_ip => 'openssl s_client -servername 192.0.2.1' ],
	[ curl => 'curl -sk -m 5 https://api.github.com:PORT/'
		. ' --resolve api.github.com:PORT:127.0.0.1' ],
	[ curl_tls12 => 'curl -sk -m 5 --tls-max 1.2 --http1.1'
		. ' https://api.github.com:PORT/'
		. ' --resolve api.github.com:PORT:127.0.0.1' ],
);

my %seed;

for my $client (@clients) {
	my ($name, $command) = @$client;
	$seed{$name} = caught($command);
}

my $message = unrecord($seed{sclient_alpn});

$seed{records_1} = records($message, 1);
$seed{records_100} = records($message, 100);
$seed{records_first} = records(substr($message, 0, 5), 5)
	. records(substr($message, 5), 16384);
$seed{cut} = substr($seed{sclient_alpn}, 0, 150);
$seed{followed} = $seed{sclient_tls12} . "\x14\x03\x03\x00\x01\x01";

my $sni = ext(0, list(2, "\0" . list(2, 'example.com')));
my $versions = ext(43, list(1, "\x3a\x3a\x03\x04\x03\x03"));
my $ech = pack('CnnCn/a*n/a*', 0, 1, 1, 7, 'e' x 32, 'p' x 144);

$seed{grease} = hello(ext(0x1a1a), $sni, $versions, ext(0xfe0d, $ech),
	ext(16, list(2, list(1, "\xfa\xfa") . list(1, 'h2'))),
	ext(0xfafa, "\0"));
$seed{ech_inner} = hello($sni, ext(0xfe0d, "\1"));
$seed{no_extensions} = hello();
$seed{empty_extensions} = hello('');
$seed{mlkem} = hello($sni, $versions, ext(51, list(2, pack('nn/a*', 0x11ec,
	'k' x 1216))));
$seed{padded} = hello($sni, ext(21, "\0" x 4000));
$seed{psk} = hello($sni, $versions, ext(41, list(2, list(2, 'i' x 32)
	. pack('N', 1)) . list(2, list(1, 'b' x 32))));
$seed{two_names} = hello(ext(0, list(2, "\0" . list(2, 'a.example') . "\0"
	. list(2, 'b.example'))));
$seed{two_snis} = hello($sni, $sni);
$seed{nul} = hello(ext(0, list(2, "\0" . list(2, "a\0b.example"))));
$seed{http} = "GET / HTTP/1.1\r\nHost: example.com\r\n\r\n";

for my $name (sort keys %seed) {
	open my $fh, '>:raw', "$dir/$name" or die "$dir/$name: $!\n";
	print $fh $seed{$name};
	close $fh or die "$dir/$name: $!\n";
}

print scalar(keys %seed), " seeds in $dir\n";

###############################################################################

# the first flight of a client

sub caught {
	my ($command) = @_;

	my $server = IO::Socket::INET->new(LocalAddr => '127.0.0.1',
		Listen => 1) or die "listen: $!\n";
	my $port = $server->sockport();

	$command =~ s/PORT/$port/g;
	$command =~ s/s_client/s_client -connect 127.0.0.1:$port/;

	my $pid = fork();
	die "fork: $!\n" unless defined $pid;

	if ($pid == 0) {
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', '/dev/null';
		open STDERR, '>', '/dev/null';
		exec(split / /, $command) or exit 1;
	}

	my $data = '';

	local $SIG{ALRM} = sub { die "nothing came from \"$command\"\n" };
	alarm(10);

	my $client = $server->accept();

	while (length($data) < 5
		|| length($data) < 5 + unpack('x3n', $data))
	{
		$client->sysread($data, 16384, length($data)) or last;
	}

	alarm(0);

	close $client;
	waitpid($pid, 0);

	die "no hello from \"$command\"\n" unless $data =~ /^\x16\x03/;

	return $data;
}


sub unrecord {
	my ($data) = @_;
	my $message = '';

	while (length($data)) {
		my $len = unpack('x3n', $data);
		$message .= substr($data, 5, $len);
		$data = substr($data, 5 + $len);
	}

	return $message;
}


sub records {
	my ($message, $size) = @_;

	return join '', map { pack('H6n/a*', '160301', $_) }
		unpack("(a$size)*", $message);
}


sub list {
	my ($bytes, $data) = @_;

	return $bytes == 1 ? pack('C/a*', $data) : pack('n/a*', $data);
}


sub ext {
	my ($type, $data) = @_;

	return pack('nn/a*', $type, defined $data ? $data : '');
}


sub hello {
	my $body = "\x03\x03" . 'r' x 32 . list(1, 's' x 32)
		. list(2, "\x13\x01\xc0\x2f\x00\x2f") . list(1, "\0");

	$body .= list(2, join '', @_) if @_;

	return records("\1" . substr(pack('N', length($body)), 1) . $body,
		16384);
}

###############################################################################
