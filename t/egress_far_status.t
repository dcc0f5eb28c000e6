#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for what egress_status and egress_metrics say of the far side: limits
# in use, endpoints and their health, names, the zone.  All of it is shared:
# both workers say the same.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Socket::INET;
use JSON::PP;
use Time::HiRes qw/ sleep time /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();

my $many = join '', map {
	"service many$_ { host m$_.example.com; port 80 http; "
		. "endpoint 127.0.0.1 port=%%PORT_8081%%; }\n"
} 1 .. 100;

my $conf = <<"EOC";

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone              2m series=103;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  500ms;
    dns_ttl           min=1s stale=1m;
    allow_address     127.0.1.0/24;

    service api {
        host  api.example.com;  port 80 http;  balance round_robin;

        endpoint 127.0.0.1 port=%%PORT_8081%% weight=2;
        endpoint 127.0.0.1 port=%%PORT_8082%%;

        outlier consecutive_5xx=2 interval=200ms ejection=1s max_ejected=100;
    }

    service slow {
        host  slow.example.com;  port 80 http;
        endpoint 127.0.0.1 port=%%PORT_8084%%;
        max_connections 1;  max_pending 1;  max_requests 2;  max_retries 4;
    }

    service named {
        host  named.example.com no.example.com never.example.com;
        port  80 http target=%%PORT_8085%%;
        balance hash \$arg_a;
    }

    service wild {
        host  *.wild.example.com;  port 80 http target=%%PORT_8085%%;
        resolution dynamic;
    }

    service db {
        port      5432 postgres;
        address   192.0.2.0/24;
        endpoint  127.0.0.1 backup;
        endpoint  unix:%%TESTDIR%%/db.sock weight=3;
    }

    $many
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  80;

        location / {
            proxy_http_version  1.1;
            proxy_set_header    Connection "";
            proxy_pass          http://egress;
        }
    }

    server {
        listen  127.0.0.1:8083;

        location /status { egress_status; }
        location /metrics { egress_metrics; }
    }

    server { listen 127.0.0.1:8081; return 200; }
    server { listen 127.0.0.1:8082; return 503; }

    %%FAR%%

    server {
        listen  127.0.1.1:8085;
        listen  127.0.1.2:8085;
        return  200;
    }

    %%NEAR%%
}

stream {
    upstream egress { egress_balance; }

    server { listen 127.0.0.1:8086; egress on; egress_service db:5432;
        proxy_pass egress; }
}

EOC

$t->write_file_expand('nginx.conf', $conf);

Test::Nginx::DNS::set($t, 'named.example.com', 'A 127.0.1.1', 'A 127.0.1.2',
	'A 10.0.0.1');
Test::Nginx::DNS::set($t, 'a.wild.example.com', 'A 127.0.1.1 ttl=100');
Test::Nginx::DNS::set($t, 'no.example.com', 'rcode SERVFAIL');
Test::Nginx::DNS::start($t);

# connections are made, requests are not answered

my $slow = IO::Socket::INET->new(Listen => 16,
	LocalAddr => '127.0.0.1:' . port(8084), ReuseAddr => 1) or die;

$t->run()->plan(74);

###############################################################################

# nothing happened yet

my $api = service('api');

is($api->{balance}, 'round_robin', 'balance');
is($api->{endpoints}, 2, 'endpoints');
is_deeply($api->{limits}, { map { $_ => { used => 0, max => undef } }
	qw/ connections requests pending retries / }, 'no limits');
is_deeply($api->{counters}, { map { $_ => 0 } qw/ opened reused failed
	overflows retried retry_overflows ejections denied_addresses / },
	'no counts');

my ($good, $bad) = endpoints('api');

is_deeply($good, {
	service => 'api', address => '127.0.0.1', port => port(8081) + 0,
	state => 'healthy', active => 0, idle => 0, picked => 0, failed => 0,
	errors => 0, ejections => 0, ejected_for => 0, level => 0,
	backup => JSON::PP::false, weight => 2,
	spelled => JSON::PP::true
}, 'endpoint');
is($bad->{port}, port(8082), 'another one');

my ($unix, $backup) = endpoints('db');

is($unix->{address}, 'unix:' . $t->testdir() . '/db.sock', 'unix');
is($unix->{port}, undef, 'unix, no port');
is($backup->{port}, undef, 'port of the flow');
is($backup->{backup}, JSON::PP::true, 'backup');
is_deeply(service('db')->{hosts}, [], 'service without a host');

is(scalar endpoints('named'), 0, 'nothing resolved');
is(dns('named')->{state}, 'unknown', 'unknown');
is_deeply(dns('named')->{addresses}, [], 'no addresses');
is(dns('named')->{expires_in}, undef, 'no answer');
is(dns('named')->{answered}, undef, 'never answered');

# an ejection, as both workers tell

request('api') for 1 .. 9;

($good, $bad) = endpoints('api');

is($good->{state}, 'healthy', 'healthy');
is($good->{errors}, 0, 'no errors');
is($bad->{state}, 'ejected', 'ejected');
is($bad->{errors}, 2, 'errors');
is($bad->{picked}, 2, 'picked');
is($bad->{ejections}, 1, 'ejections');
is($bad->{ejected_for}, 1, 'ejected for');
is($good->{picked} + $bad->{picked}, 9, 'all picks');

is(service('api')->{counters}{ejections}, 1, 'ejections of the service');

my %said = both('/status/endpoints?service=api');

is(keys %said, 2, 'two workers');
is((keys %{{ map { $_ => 1 } values %said }}), 1, 'agree');

my $m = metrics();

is(value($m, 'egress_endpoint_up', 'api', port(8081)), 1, 'up');
is(value($m, 'egress_endpoint_up', 'api', port(8082)), 0, 'not up');
is(value($m, 'egress_endpoint_errors_total', 'api', port(8082)), 2,
	'errors, metric');
is(value($m, 'egress_service_ejections_total', 'api'), 1,
	'ejections, metric');

# without any traffic, it comes back

sleep(1.3);

# "returning" is short: an interval

my @states = map { (endpoints('api'))[1]{state} } 1 .. 2;

unlike("@states", qr/ejected/, 'back without traffic');

sleep(0.3);

is((endpoints('api'))[1]{state}, 'healthy', 'healthy again');

# a connection that waits for the next request is not in use

request('m1') for 1 .. 2;
wait_for(sub { (endpoints('many1'))[0]{active} == 0 });

my ($kept) = endpoints('many1');

is($kept->{active}, 0, 'not active');
cmp_ok($kept->{idle}, '>', 0, 'idle');
is(service('many1')->{limits}{connections}{used}, $kept->{idle},
	'idle connections are connections');

# limits in use

my @waiting = map { start('slow') } 1 .. 2;

wait_for(sub { service('slow')->{limits}{pending}{used} });

is_deeply(service('slow')->{limits}, {
	connections => { used => 1, max => 1 },
	requests => { used => 2, max => 2 },
	pending => { used => 1, max => 1 },
	retries => { used => 0, max => 4 },
}, 'limits in use');

like(request('slow'), qr/ 503 /, 'one too many');
is(service('slow')->{counters}{overflows}, 1, 'overflows');
is((endpoints('slow'))[0]{active}, 1, 'active');

$m = metrics();

is(value($m, 'egress_service_connections', 'slow'), 1, 'connections');
is(value($m, 'egress_service_requests', 'slow'), 2, 'requests');
is(value($m, 'egress_service_pending', 'slow'), 1, 'pending');
is(value($m, 'egress_service_retries_active', 'slow'), 0, 'no retries');
is(value($m, 'egress_circuit_open_total', 'slow'), 1, 'circuit open');
is(value($m, 'egress_service_connections_opened_total', 'slow'), 1, 'opened');

close($_) for @waiting;

wait_for(sub { service('slow')->{limits}{requests}{used} == 0 });

is(service('slow')->{limits}{requests}{used}, 0, 'given back');

# names

request('named') for 1 .. 4;
request('a.wild');

my $dns = dns('named');

is($dns->{state}, 'fresh', 'fresh');
is_deeply([ sort @{$dns->{addresses}} ],
	[ '10.0.0.1', '127.0.1.1', '127.0.1.2' ], 'addresses');
is($dns->{configured}, JSON::PP::true, 'configured');
is(dns('a.wild')->{configured}, JSON::PP::false, 'asked for');
cmp_ok(dns('a.wild')->{expires_in}, '>', 90, 'expires');
cmp_ok(dns('a.wild')->{answered}, '<', 5, 'answered');
is((join ' ', map { $_->{address} } endpoints('named')),
	'127.0.1.1 127.0.1.2', 'denied address is no endpoint');
is(service('named')->{endpoints}, 2, 'two endpoints');
cmp_ok(value(metrics(), 'egress_dns_lookups_total', 'named.example.com'), '>',
	0, 'lookups');

# what has left the answer

Test::Nginx::DNS::set($t, 'named.example.com', 'A 127.0.1.2');
sleep(1.2);
request('named') for 1 .. 2;
wait_for(sub { service('named')->{endpoints} == 1 });

is((join ' ', map { $_->{state} } endpoints('named')), 'unused healthy',
	'unused');

# DNS fails

like(request('no'), qr/ 503 /, 'no answer');
is(dns('no')->{state}, 'failed', 'failed');
cmp_ok(dns('no')->{errors}, '>', 0, 'dns errors');

Test::Nginx::DNS::set($t, 'named.example.com', 'rcode SERVFAIL');
sleep(1.2);
like(request('named'), qr/ 200 /, 'stale is served');
is(dns('named')->{state}, 'stale', 'stale');

# pages and the zone

is(@{get('/status/endpoints')->{endpoints}}, 107, 'all endpoints');

my $page = get('/status/endpoints?offset=5&limit=2')->{endpoints};

is((join ' ', map { $_->{service} } @$page), 'db db', 'page');
is(@{get('/status/dns?offset=2')->{dns}}, 2, 'page of names');

my $zone = get('/status/zone')->{zone};

is($zone->{size}, 2 * 1024 * 1024, 'size');
is($zone->{processes}, 2, 'processes');
is($zone->{names}, 1, 'names asked for');
cmp_ok($zone->{leader}, '>', 0, 'leader');
cmp_ok($zone->{free}, '>', 0, 'free');
is($zone->{full}, 0, 'not full');

# a bounded number of lines: the rest is one

$m = metrics();

my @lines = $m =~ /^egress_endpoint_up\{.*$/mg;

is(@lines, 104, 'bounded');
is(value($m, 'egress_endpoint_up', '_other', '_other'), 3, 'other');

SKIP: {
	skip 'promtool is not installed', 1
		unless grep { -x "$_/promtool" } split /:/, $ENV{PATH};

	$t->write_file('metrics', $m);

	my $out = `promtool check metrics < @{[ $t->testdir() ]}/metrics 2>&1`;

	is($?, 0, 'promtool') or diag($out);
}

###############################################################################

sub request {
	my ($name) = @_;

	return http("GET / HTTP/1.0\r\nHost: $name.example.com\r\n\r\n");
}

sub start {
	my ($name) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8080)) or die;

	print $s "GET / HTTP/1.0\r\nHost: $name.example.com\r\n\r\n";

	return $s;
}

sub wait_for {
	my ($code) = @_;

	for (1 .. 50) {
		return if $code->();
		sleep(0.05);
	}
}

sub body {
	my ($uri) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8083)) or die;

	return http("GET $uri HTTP/1.0\r\nHost: localhost\r\n\r\n", socket => $s)
		=~ /\r\n\r\n(.*)/s ? $1 : '';
}

sub get {
	my ($uri) = @_;

	return JSON::PP->new->utf8->decode(body($uri));
}

sub service {
	my ($name) = @_;

	my ($svc) = grep { $_->{name} eq $name }
		@{get('/status/services')->{services}};

	return $svc;
}

sub endpoints {
	my ($name) = @_;

	return @{get("/status/endpoints?service=$name")->{endpoints}};
}

sub dns {
	my ($name) = @_;

	my ($dns) = grep { $_->{name} eq "$name.example.com" }
		@{get('/status/dns')->{dns}};

	return $dns;
}

# what each worker says

sub both {
	my ($uri) = @_;

	my (%said, $text);

	for (1 .. 200) {
		my $s = IO::Socket::INET->new('127.0.0.1:' . port(8083)) or die;

		$text = http("GET /status/versions HTTP/1.1\r\nHost: a\r\n\r\n"
			. "GET $uri HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n",
			socket => $s);

		$said{$1} = $2 if $text =~ /"pid":(\d+).*\r\n\r\n(.*)$/s;

		last if keys %said == 2;
	}

	return %said;
}

sub metrics {
	return body('/metrics');
}

sub value {
	my ($text, $family, $label, $port) = @_;

	my $more = defined $port ? qr/,endpoint="[^"]*\Q$port\E"/ : qr//;

	return $text =~ /^$family\{\w+="\Q$label\E"$more\} ([\d.]+)$/m ? $1 : undef;
}

###############################################################################
