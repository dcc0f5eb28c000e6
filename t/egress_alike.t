#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for services that say the same, or all but the same: what is alike is
# kept once, and none gets what another one said.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use JSON::PP;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $far = 'endpoint 127.0.0.1 port=%%PORT_8081%%;';

# what is said beside a host, a port and an endpoint, and what status shows

my @say = (
	[ '' ],
	[ 'balance random;', balance => 'random' ],
	[ 'balance hash a;', balance => 'hash' ],
	[ 'max_connections 7;', connections => 7 ],
	[ 'max_connections 8;', connections => 8 ],
	[ 'max_requests 7;', requests => 7 ],
	[ 'max_retries 7;', retries => 7 ],
	[ 'max_connections 7; max_pending 7;', connections => 7,
		pending => 7 ],
	[ 'tls simple; tls_verify off;' ],
	[ 'tls simple; tls_trusted_certificate no.crt;', broken => 'no.crt' ],
	[ 'tls simple; tls_trusted_certificate on.crt;', broken => 'on.crt' ],
	[ 'tls simple; tls_verify off; tls_certificate no.crt;',
		broken => 'with "tls simple"' ],
	[ 'tls mutual; tls_verify off; tls_certificate no.crt;',
		broken => 'without "tls_certificate" and' ],
	[ 'source a.yaml:1;', source => 'a.yaml:1' ],

	# more than there is room for at first

	map { [ "max_requests 1$_;", requests => "1$_" ] } 0 .. 99
);

my $n = 0;
my $blocks = '';

# all of them, and all again

for my $say (@say, @say) {
	$blocks .= "    service s$n { host h$n.example.com; port 80 http; $far "
		. "$say->[0] }\n";
	$n++;
}

my $hosts = join ' ', map { "many$_.example.com" } 1 .. 20;
my $ports = join ' ', map { "port $_ http target=1$_;" } 101 .. 111;

my $t = Test::Nginx->new()->plan(7 + 2 * @say)
	->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m;

$blocks
    service many { host $hosts; host last.example.com; $ports
        port 112 http target=%%PORT_8081%%; endpoint 127.0.0.1; }
    service more { host more.example.com; $ports
        port 112 http target=%%PORT_8081%%; port 113 tcp;
        endpoint 127.0.0.1; }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  112;

        location / { proxy_pass http://egress; }
    }

    server {
        listen    127.0.0.1:8083;
        location  /status { egress_status; }
    }

    server {
        listen      127.0.0.1:8081;
        add_header  X-Far yes;
        return      200;
    }
}

EOF

$t->run();

###############################################################################

my $status = decode_json(http_get('/status/services', socket => near(8083))
	=~ s/.*?\r\n\r\n//sr);
my %service = map { $_->{name} => $_ } @{$status->{services}};

for my $i (0 .. 2 * @say - 1) {
	my ($text, %want) = @{$say[$i % @say]};
	my $s = $service{"s$i"};
	my %got = (balance => $s->{balance}, source => $s->{source},
		map { $_ => $s->{limits}{$_}{max} }
			qw/ connections requests pending retries /);
	my $broken = delete $want{broken};
	my %all = ((map { $_ => undef } keys %got),
		balance => 'least_request', %want);

	$got{broken} = defined $broken
		? ($s->{broken} || '') =~ /\Q$broken\E/ ? 'so' : 'else'
		: $s->{broken};
	$all{broken} = defined $broken ? 'so' : undef;

	is_deeply(\%got, \%all, "s$i: " . ($text || 'nothing'));
}

is(scalar @{$service{many}{hosts}}, 21, 'hosts');
is($service{many}{hosts}[19], 'many20.example.com', 'a host');
is_deeply([ map { "$_->{port} $_->{target}" } @{$service{many}{ports}} ],
	[ (map { "$_ 1$_" } 101 .. 111), '112 ' . port(8081) ], 'ports');
is(scalar @{$service{more}{ports}}, 13, 'ports of another one');

like(get('many1.example.com'), qr/X-Far: yes/, 'first host, last port');
like(get('last.example.com'), qr/X-Far: yes/, 'last host');
unlike(get('h0.example.com'), qr/X-Far: yes/, 'not at this port');

###############################################################################

sub near {
	my ($port) = @_;

	return IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port($port));
}


sub get {
	my ($host) = @_;

	return http("GET / HTTP/1.0\r\nHost: $host\r\n\r\n");
}

###############################################################################
