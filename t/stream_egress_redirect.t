#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for stream connections that netfilter has redirected here: what
# SO_ORIGINAL_DST says.  Runs in a network namespace of its own, which has
# nothing but a loopback interface.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Select;
use IO::Socket::IP;

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

unless ($ENV{EGRESS_TEST_NETNS}) {
	my $try = 'ip link set lo up && nft add table ip t'
		. " && nft 'add chain ip t o { type nat hook output priority -100; }'"
		. ' && nft add rule ip t o tcp dport 1 redirect to :2';

	plan(skip_all => 'no network namespaces with nftables here')
		if system("unshare -n sh -c \"$try\" >/dev/null 2>&1");

	$ENV{EGRESS_TEST_NETNS} = 1;
	exec('unshare', '-n', $^X, $FindBin::Script);
}

my $rules = <<'EOF';
table ip egress {
    chain output {
        type nat hook output priority -100;
        ip daddr 127.0.8.0/24 tcp dport { 3306, 5432, 6000 } redirect to :%%PORT_8080%%
        ip daddr 127.0.8.0/24 tcp dport 6001 dnat to 127.0.0.1:%%PORT_8081%%
        ip daddr 127.0.8.0/24 tcp dport 6002 redirect to :%%PORT_8082%%
    }
}
table ip6 egress {
    chain output {
        type nat hook output priority -100;
        ip6 daddr fd00:8::/64 tcp dport { 5432, 6000 } redirect to :%%PORT_8080%%
    }
}
EOF

my $t = Test::Nginx->new()->has('stream_realip');

$t->write_file_expand('rules', $rules);
$t->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone          1m;
    deny_address  0.0.0.0/0 ::/0;

    service db {
        host      db.example.com;
        address   127.0.8.0/24;
        port      5432 tcp;
        endpoint  127.0.1.1 port=%%PORT_8071%%;
    }

    service db1 {
        address   127.0.8.1 fd00:8::1;
        port      5432 tcp;
        endpoint  127.0.1.1 port=%%PORT_8072%%;
    }

    service mysql {
        address   127.0.8.0/24;
        port      3306 mysql;
        endpoint  127.0.1.1 port=%%PORT_8073%%;
    }

    service dynamic {
        address   127.0.8.0/24 fd00:8::/64;
        port      6000 tcp target=%%PORT_8075%%;
        port      6001 tcp target=%%PORT_8075%%;
        port      6002 tcp target=%%PORT_8082%%;
        guard     allow=127.0.8.0/25 allow=fd00:8::/65;
    }
}

stream {
    log_format  all  '$egress_verdict $egress_reason $egress_service '
                     '$egress_host:$egress_port';
    access_log  %%TESTDIR%%/access.log  all;

    upstream egress {
        egress_balance;
    }

    egress_preread_timeout  5s;

    server {
        listen       %%PORT_8080%%;
        listen       [::]:%%PORT_8080%%;
        egress       on;
        proxy_pass   egress;
    }

    # IPv4 on a socket of IPv6; the declared port is not what was meant

    server {
        listen       [::]:%%PORT_8081%% ipv6only=off;
        egress       on;
        egress_port  443;
        proxy_pass   egress;
    }

    server {
        listen       %%PORT_8082%% proxy_protocol;
        set_real_ip_from  127.0.0.0/8;
        egress       on;
        proxy_pass   egress;
    }

    %%FAR%%

    server {
        listen  127.0.1.1:8073;
        return  "banner";
    }

    %%NEAR%%
}

EOF

foreach my $command ('ip link set lo up', 'ip addr add fd00:8::1/128 dev lo',
	'ip addr add fd00:8::8000:0:0:1/128 dev lo',
	'nft -f ' . $t->testdir() . '/rules')
{
	system("$command >/dev/null 2>&1") == 0 or die "$command: $?\n";
}

my @far = (['127.0.1.1', 8071], ['127.0.1.1', 8072], ['127.0.8.1', 8075],
	['127.0.8.200', 8075], ['fd00:8::1', 8075],
	['fd00:8::8000:0:0:1', 8075]);

$t->run_daemon(\&echo, @$_) foreach @far;

foreach my $far (@far) {
	for (1 .. 100) {
		last if IO::Socket::IP->new(PeerHost => $far->[0],
			PeerPort => port($far->[1]));
		select undef, undef, undef, 0.05;
	}
}

$t->run()->plan(17);

###############################################################################

is(get('127.0.8.7', 5432), '127.0.1.1:8071 hello', 'redirected');
is(get('127.0.8.1', 5432), '127.0.1.1:8072 hello', 'redirected, prefix');
is(get('127.0.8.1', 3306, ''), 'banner', 'redirected, server speaks first');
is(get('fd00:8::1', 5432), '127.0.1.1:8072 hello', 'redirected, IPv6');

is(get('127.0.8.1', 6000), '127.0.8.1:8075 hello', 'dialled');
is(get('fd00:8::1', 6000), 'fd00:8::1:8075 hello', 'dialled, IPv6');
is(get('127.0.8.200', 6000), '', 'guard');
is(get('fd00:8::8000:0:0:1', 6000), '', 'guard, IPv6');
is(get('127.0.8.1', 6001), '127.0.8.1:8075 hello', 'IPv4 on IPv6');

# not redirected

is(get('127.0.8.1', port(8080)), '', 'direct');
is(get('127.0.0.1', port(8080)), '', 'direct, loopback');

# a trusted header says more than netfilter

is(get('127.0.8.7', 6002, "PROXY TCP4 1.2.3.4 127.0.8.1 1 5432\r\nhello"),
	'127.0.1.1:8072 hello', 'proxied');
is(get('127.0.8.7', 6002, "PROXY UNKNOWN\r\nhello"), '',
	'own listener behind a redirect');

$t->stop();

my $log = $t->read_file('access.log');

like($log, qr/^allowed - db db\.example\.com:5432$/m, 'log, host');
like($log, qr/^allowed - db1 127\.0\.8\.1:5432$/m, 'log, address');
like($log, qr/^allowed - dynamic 127\.0\.8\.1:6001$/m, 'log, port');
like($log, qr/^denied address_denied dynamic 127\.0\.8\.7:6002$/m,
	'log, own listener');

###############################################################################

sub get {
	my ($host, $port, $text) = @_;

	$text = 'hello' unless defined $text;

	my $s = IO::Socket::IP->new(PeerHost => $host, PeerPort => $port)
		or return undef;

	local $SIG{PIPE} = 'IGNORE';

	print $s "$text\n" if $text ne '';

	my $reply = '';

	while (IO::Select->new($s)->can_read(3)) {
		last unless $s->sysread($reply, 1000, length $reply);
	}

	$reply =~ s/\n//g;
	my $base = port(8000);
	$reply =~ s/:(\d{5})\b/':' . ($1 - $base + 8000)/e;

	return $reply;
}

# says who it is and what it got, a line

sub echo {
	my ($t, $address, $port) = @_;

	my $l = IO::Socket::IP->new(Listen => 16, LocalHost => $address,
		LocalPort => port($port), ReuseAddr => 1) or return;

	local $SIG{PIPE} = 'IGNORE';

	while (my $s = $l->accept()) {
		my $line = <$s>;
		print $s "$address:" . port($port) . ' ' . ($line || '');
		close($s);
	}
}

###############################################################################
