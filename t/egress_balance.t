#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for balancing: weights, hashes, subsets, localities and backups, and
# the kinds of endpoints; by two workers.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;
use Test::Nginx::Far;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();

write_conf(3);

Test::Nginx::DNS::set($t, 'dns.example.com', map { "A 127.0.1.$_" } 1 .. 3);
Test::Nginx::DNS::set($t, 'mixed.example.com', 'A 127.0.1.1');
Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Far::start($t, 8081 .. 8084, 'unix:u.sock',
	map { "127.0.1.$_:8085" } 1 .. 3);

my $v6 = eval {
	Test::Nginx::Far::listener({ name => '[::1]:8086', dir => '' }, 1)
};

$t->run()->plan(47);

###############################################################################

is(go(30, 'even'), '8081:10 8082:10 8083:10', 'round_robin');
is(go(80, 'turns'), '8081:50 8082:10 8083:20', 'round_robin, weights');
cmp_ok(pids('turns'), '>', 1, 'round_robin, by both workers');
is(join(' ', map { go(2, 'turns') =~ /8081/ ? 'a' : 'b' } 1 .. 4), 'a a a a',
	'round_robin, smooth');
is(go(20, 'prime'), '8081:19 8082:1', 'round_robin, weights, 19 and 1');

my %n = counts(go(200, 'random'));
cmp_ok($n{8081}, '>', 115, 'random, weight 3');
cmp_ok($n{8082}, '>', 20, 'random, weight 1');

%n = counts(go(100, 'default'));
cmp_ok($n{8081}, '>', 20, 'least_request');
cmp_ok($n{8082}, '>', 20, 'least_request, other');

# who is busy gets less

Test::Nginx::Far::set($t, 8081, 'answer delay=3500');
%n = counts(parallel(32, 'default'));
Test::Nginx::Far::set($t, 8081);
cmp_ok($n{8082}, '>', $n{8081} // 0, 'least_request, one is busy');

# hash

foreach my $name ('header', 'cookie', 'uri') {
	my %at = map { ($_ => where($name, $_)) } 1 .. 30;
	my $bad = grep { where($name, $_) ne $at{$_} } 1 .. 30;

	is($bad, 0, "hash, $name");
	is(scalar(keys %{{ reverse %at }}), 3, "hash, $name, all used");
}

like(go(10, 'address'), qr/^808\d:10$/, 'hash, address');

%n = counts(go(40, 'header'));
is(scalar(keys %n), 3, 'hash, without a key');

%n = ();
$n{where('weights', $_)}++ for 1 .. 100;
cmp_ok($n{8081}, '>', $n{8082} + $n{8083}, 'hash, weights');

my %before = map { ($_ => where('header', $_)) } 1 .. 60;

# retries leave the endpoint of the key, and go back to it later

Test::Nginx::Far::set($t, 8082, 'refuse', 'hangup');
my @moved = grep { where('header', $_) ne $before{$_} } 1 .. 60;
is(scalar(grep { $before{$_} != 8082 } @moved), 0, 'hash, one refuses');
is(scalar(@moved), scalar(grep { $before{$_} == 8082 } 1 .. 60),
	'hash, one refuses, its keys');
Test::Nginx::Far::set($t, 8082);

# one endpoint less: its keys only are moved

write_conf(2);
$t->reload();
sleep 0.4;

my %after = map { ($_ => where('header', $_)) } 1 .. 60;

is(scalar(grep { $before{$_} != 8083 && $after{$_} != $before{$_} } 1 .. 60),
	0, 'hash, endpoint removed, others stay');
is(scalar(grep { $after{$_} == 8083 } 1 .. 60), 0,
	'hash, endpoint removed, not used');

write_conf(3);
$t->reload();
sleep 0.4;

%after = map { ($_ => where('header', $_)) } 1 .. 60;
is_deeply(\%after, \%before, 'hash, endpoint returns');

# subsets

is(go(20, 'subsets'), '8081:5 8082:5 8083:5 8084:5', 'all endpoints');
is(go(10, 'subsets', uri => '/v1/'), '8081:5 8082:5', 'subset');
is(go(10, 'subsets', uri => '/v2eu/'), '8084:10', 'subset, two labels');

# localities and backups

is(go(10, 'near'), '8082:10', 'locality, zone');
Test::Nginx::Far::set($t, 8082, 'answer 503');
is(go(10, 'near'), '8081:9 8082:1', 'locality, region');
Test::Nginx::Far::set($t, 8081, 'answer 503');
is(go(10, 'near'), '8081:1 8083:9', 'locality, others');
Test::Nginx::Far::set($t, 8083, 'answer 503');
is(go(10, 'near'), '8083:1 8084:9', 'locality, backup');
Test::Nginx::Far::set($t, 8084, 'answer 503');
is(go(10, 'near'), '-:9 8084:1', 'locality, none');
Test::Nginx::Far::set($t, $_) foreach 8081 .. 8084;

# 140 %: with three of four all of it stays, with two 70 %

is(go(20, 'over'), '127.0.1.1:8085:5 127.0.1.2:8085:5 127.0.1.3:8085:5 8081:5',
	'priority');
Test::Nginx::Far::set($t, 8081, 'answer 503');
go(4, 'over');
%n = counts(go(20, 'over'));
is($n{8084}, undef, 'priority, three of four');
Test::Nginx::Far::set($t, '127.0.1.1:8085', 'answer 503');
go(6, 'over');
Test::Nginx::Far::set($t, '127.0.1.1:8085');
%n = counts(go(200, 'over'));
cmp_ok($n{8084}, '>', 30, 'priority, two of four');
cmp_ok($n{8084}, '<', 90, 'priority, two of four, most of it');
Test::Nginx::Far::set($t, 8081);

# without outlier detection it is for retries

is(go(10, 'backup'), '8081:10', 'backup');
Test::Nginx::Far::set($t, 8081, 'refuse', 'hangup');
is(go(10, 'backup'), '8084:10', 'backup, primary refuses');
Test::Nginx::Far::set($t, 8081, 'answer 503');
is(go(10, 'backup'), '8084:10', 'backup, primary fails');
Test::Nginx::Far::set($t, 8081);

# kinds of endpoints

is(go(10, 'socket'), '8081:5 unix:u.sock:5', 'unix');
is(go(4, 'ports'), '127.0.1.1:8085:2 127.0.1.2:8085:2', 'ports');
is(go(30, 'dns'), '127.0.1.1:8085:10 127.0.1.2:8085:10 127.0.1.3:8085:10',
	'dns, all addresses');
# until both names have been answered, the others do

go(2, 'mixed');
sleep 0.5;
%n = counts(go(30, 'mixed'));
is(join(' ', sort keys %n), '127.0.1.1:8085 127.0.1.2:8085 8081',
	'dns, names and addresses');

SKIP: {
	skip 'no IPv6', 1 unless $v6;
	$v6->blocking(1);

	my $s = Test::Nginx::Far::ask(8080,
		"GET / HTTP/1.0\r\nHost: six.example.com\r\n\r\n");
	my $c = $v6->accept();
	$c->sysread(my $buf, 4096);
	$c->syswrite("HTTP/1.0 200 OK\r\n\r\nsix");
	close($c);

	like(Test::Nginx::Far::answer($s), qr/ 200 .*six$/s, 'ipv6');
}

# weights that one cycle is too long for are kept all the same

%n = counts(go(100, 'wide'));
cmp_ok($n{8081}, '>=', 60, 'round_robin, wide weights');
cmp_ok($n{8081}, '<=', 73, 'round_robin, wide weights, at most');

is(join(' ', $t->read_file('error.log') =~ /exited on signal \d+/g), '',
	'no crash');

###############################################################################

sub write_conf {
	my ($hashed) = @_;

	my @three = map { "127.0.0.1 port=%%PORT_$_%%" } 8081 .. 8083;
	my @some = @three[0 .. $hashed - 1];
	my $outlier = 'outlier consecutive_5xx=1 max_ejected=100 ejection=60s;';

	my %services = (
		even => [ 'balance round_robin;', @three ],
		turns => [ 'balance round_robin;', "$three[0] weight=5",
			$three[1], "$three[2] weight=2" ],
		prime => [ 'balance round_robin;', "$three[0] weight=19",
			$three[1] ],
		wide => [ 'balance round_robin;', "$three[0] weight=40009",
			"$three[1] weight=20011" ],
		random => [ 'balance random;', "$three[0] weight=3", $three[1] ],
		default => [ '', @three[0, 1] ],
		header => [ 'balance hash $http_key; retry attempts=1'
			. ' on=connect-failure;', @some ],
		cookie => [ 'balance hash $cookie_key;', @three ],
		uri => [ 'balance hash $uri;', @three ],
		address => [ 'balance hash $remote_addr;', @three ],
		weights => [ 'balance hash $http_key;', "$three[0] weight=8",
			@three[1, 2] ],
		subsets => [ 'balance round_robin; subset v1 version=v1;'
			. 'subset v2eu version=v2 region=eu;',
			"$three[0] label=version=v1",
			"$three[1] label=version=v1 label=region=eu",
			"$three[2] label=version=v2",
			'127.0.0.1 port=%%PORT_8084%% label=version=v2'
			. ' label=region=eu' ],
		near => [ "balance round_robin; $outlier",
			"$three[0] locality=eu/other", "$three[1] locality=eu/west",
			"$three[2] locality=us/west",
			'127.0.0.1 port=%%PORT_8084%% backup' ],
		over => [ "balance round_robin; $outlier", $three[0],
			(map { "127.0.1.$_ port=%%PORT_8085%%" } 1 .. 3),
			'127.0.0.1 port=%%PORT_8084%% backup' ],
		backup => [ 'retry attempts=1 on=5xx;', $three[0],
			'127.0.0.1 port=%%PORT_8084%% backup' ],
		socket => [ 'balance round_robin;', $three[0],
			'unix:%%TESTDIR%%/u.sock' ],
		ports => [ 'balance round_robin;',
			map { "127.0.1.$_ port=%%PORT_8085%%" } 1, 2 ],
		six => [ '', '[::1] port=%%PORT_8086%%' ],
		dns => [ 'balance round_robin; port 81 http'
			. ' target=%%PORT_8085%%;' ],
		mixed => [ 'balance round_robin; resolution dns;',
			'mixed.example.com port=%%PORT_8085%%',
			'127.0.1.2 port=%%PORT_8085%%', $three[0] ],
	);

	my $services = join '', map {
		my ($conf, @endpoints) = @{$services{$_}};
		"    service $_ {\n        host $_.example.com;\n"
			. ($conf =~ /port/ ? '' : "        port 81 http;\n")
			. "        $conf\n"
			. join('', map { "        endpoint $_;\n" } @endpoints)
			. "    }\n";
	} sort keys %services;

	$t->write_file_expand('nginx.conf', <<'EOF2' =~ s/%%SERVICES%%/$services/r);

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone           2m;
    gateway        name=g locality=eu/west;
    resolver       127.0.0.1:8053 ipv6=off;
    allow_address  127.0.1.0/24;

%%SERVICES%%
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  far  "$pid $host $status";

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080 reuseport;
        access_log   %%TESTDIR%%/access.log  far;

        egress       on;
        egress_port  81;
        include      %%REPOSITORY%%/conf/egress_proxy.conf;

        location / {
            proxy_pass  http://egress;
        }

        location /v1/ {
            egress_service  subsets/v1;
            proxy_pass      http://egress;
        }

        location /v2eu/ {
            egress_service  subsets/v2eu;
            proxy_pass      http://egress;
        }
    }
}

EOF2
}

sub ask {
	my ($name, $uri, $headers) = @_;

	return Test::Nginx::Far::ask(8080, "GET $uri HTTP/1.1\r\n"
		. "Host: $name.example.com\r\nConnection: close\r\n"
		. ($headers // '') . "\r\n");
}

# who answered, and how often

sub go {
	my ($n, $name, %extra) = @_;

	return sums(map {
		Test::Nginx::Far::answer(ask($name, $extra{uri} || '/'))
	} 1 .. $n);
}

sub parallel {
	my ($n, $name) = @_;

	my @s = map { sleep 0.06; ask($name, '/') } 1 .. $n;

	return sums(map { Test::Nginx::Far::answer($_) } @s);
}

sub sums {
	my %n;

	$n{/^X-Far: (\S+)/m ? $1 : '-'}++ foreach @_;

	return join ' ', map { "$_:$n{$_}" } sort keys %n;
}

sub counts {
	return map { /^(.*):(\d+)$/ } split / /, $_[0];
}

# who answers for a key

sub where {
	my ($name, $key) = @_;

	my $r = Test::Nginx::Far::answer(ask($name,
		$name eq 'uri' ? "/$key" : '/',
		"Key: key$key\r\nCookie: key=key$key\r\n"));

	return $r =~ /^X-Far: (\S+)/m ? $1 : '-';
}

sub pids {
	my ($name) = @_;

	sleep 0.1;

	my %pids = map { ($_ => 1) }
		$t->read_file('access.log') =~ /^(\d+) $name\./mg;

	return scalar keys %pids;
}

###############################################################################
