#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_status, egress_metrics and egress_explain: who may ask,
# what is answered, and bytes that must not break out of JSON (T-OBS-01).

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Socket::UNIX;
use JSON::PP;
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();

my $odd = qq!a\\"b\\\\c\t<script>\x01\x7f\xc3\xa4\xff\xed\xa0\x80\xc0\xaf\xe2\x82!;
my $many = join '', map {
	"service many$_ { host m$_.example.com; port 443 tls; }\n"
} 1 .. 1500;

$t->write_file_expand('nginx.conf', <<"EOC");

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone 2m;
    resolver      127.0.0.1:8099;
    gateway       name=gw namespace=ns1 service_account=sa1;
    trust_domain  td1 old-td;

    service api {
        host api.example.com *.api.example.com;  port 80 http target=8080;
        port 443 tls;
        resolution static;  endpoint 127.0.0.1;
        source "$odd";
    }

    service partner {
        lookup off;  host partner.example.com;  port 443 https;
        tls mutual;  tls_certificate no.crt;  tls_certificate_key no.key;
    }

    service db { host db.example.com; port 5432 postgres;
        port 27017 mongo;  port 6379 redis;  port 3306 mysql;
        endpoint 127.0.0.1; }

    $many

    policy p {
        action allow;
        rule {
            from { principals td1/ns/a/sa/b; }
            to { hosts api.example.com; }
        }
        rule { to { ports 5432; } }
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen  127.0.0.1:8080;
        listen  unix:%%TESTDIR%%/admin.sock;

        location /status { egress_status; }
        location = /exact { egress_status; }
        location /metrics { egress_metrics; }
        location /explain { egress_explain; }
    }

    # open to the network, or not

    server { listen 0.0.0.0:%%PORT_8081%%;
        location /s { egress_status; } location /m { egress_metrics; }
        location /e { egress_explain; }
        location /a { allow 127.0.0.1; deny all; egress_status; } }

    upstream egress { egress_balance; }

    server { listen 127.0.0.1:8082; egress on;
        location / { proxy_pass http://egress; } }
}

stream {
    upstream egress { egress_balance; }

    server { listen 127.0.0.1:8083; egress on; proxy_pass egress; }
}

EOC

$t->run()->plan(56);

###############################################################################

my $all = get('/status');

is($all->{versions}{nginx}, version(), 'nginx version');
like($all->{versions}{module}, qr/^\d+\.\d+\.\d+$/, 'module version');
like($all->{versions}{pid}, qr/^\d+$/, 'pid');
ok(exists $all->{versions}{$_}, $_) for qw/ layout generation /;

is_deeply($all->{gateway}, {
	name => 'gw', namespace => 'ns1', service_account => 'sa1',
	outbound_policy => 'registry_only', trust_domains => [ 'td1', 'old-td' ],
	services => 1503
}, 'gateway');

my ($api, $partner) = @{$all->{services}};

is_deeply($api->{hosts}, [ 'api.example.com', '*.api.example.com' ], 'hosts');
is_deeply($api->{ports}, [
	{ port => 80, protocol => 'http', target => 8080 },
	{ port => 443, protocol => 'tls', target => 443 }
], 'ports');
my ($db) = grep { $_->{name} eq 'db' } @{$all->{services}};

is(join(' ', map { "$_->{port} $_->{protocol}" } @{$db->{ports}}),
	'5432 postgres 27017 mongo 6379 redis 3306 mysql', 'protocols');
is($api->{resolution}, 'static', 'resolution');
is($api->{broken}, undef, 'not broken');
is($partner->{name}, 'partner', 'name');
is($partner->{source}, undef, 'no source');
like($partner->{broken}, qr/no\.crt/, 'broken');

# T-OBS-01: every byte comes back, or U+FFFD stands for it

my $r = chr(0xfffd);

is($api->{source}, "a\"b\\c\t<script>\x01\x7f\xe4" . $r x 8, 'odd bytes');

my $raw = body(request('GET /status?what=services&limit=1'));

unlike($raw, qr/[<>\x00-\x09\x0b-\x1f\x7f]/, 'no raw bytes');
ok(utf8::decode(my $copy = $raw), 'valid utf-8');

# one member

is_deeply([ keys %{get('/status/gateway')} ], [ 'gateway' ], 'path suffix');
is_deeply([ keys %{get('/status?what=versions')} ], [ 'versions' ], 'what');
like(request('GET /status/none'), qr/ 404 /, 'no such member');
like(request('GET /statusgateway'), qr/ 200 /, 'prefix');
like(request('GET /exact?what=gateway'), qr/ 200 /, 'exact location');

# pages

is(@{$all->{services}}, 1000, 'a page at most');
is(@{get('/status/services?limit=2')->{services}}, 2, 'limit');
is(get('/status/services?limit=2&offset=5')->{services}[1]{name}, 'many4',
	'offset');
is(@{get('/status/services?offset=1502')->{services}}, 1, 'last page');
is(@{get('/status/services?offset=9999')->{services}}, 0, 'beyond');
is(@{get('/status/services?limit=2000')->{services}}, 1503, 'all');

# methods and headers

like(request('POST /status'), qr/ 405 /, 'post');
like(request('PUT /metrics'), qr/ 405 /, 'put');
like(request('DELETE /explain'), qr/ 405 /, 'delete');

my $head = request('HEAD /status/gateway');
my ($length) = $head =~ /^Content-Length: (\d+)/m;

is(body($head), '', 'head');
is($length, length body(request('GET /status/gateway')), 'length');
like($head, qr!^Content-Type: application/json\r!m, 'json');
like($head, qr/^Cache-Control: no-store\r/m, 'not to be cached');
like($head, qr/^X-Content-Type-Options: nosniff\r/m, 'no html');

like(request('GET /metrics'), qr!Content-Type: text/plain; version=0\.0\.4!,
	'metrics');

# the Unix socket

my $s = IO::Socket::UNIX->new(Peer => $t->testdir() . '/admin.sock');

like(http("GET /status/gateway HTTP/1.0\r\n\r\n", socket => $s),
	qr/"name":"gw"/, 'unix socket');

# explain: the very decision, without anything dialled

is(why('host=api.example.com&port=443&principal=td1/ns/a/sa/b'),
	'allowed:-:api:stream:p/0', 'allowed');
is(why('host=API.example.com.&port=80&principal=spiffe://td1/ns/a/sa/b'),
	'allowed:-:api:http:p/0', 'http');
is(why('host=api.example.com&principal=td1/ns/a/sa/c'),
	'denied:authz_denied:api:stream:', 'denied');
is(why('host=api.example.com'), 'denied:no_identity:api:stream:', 'nobody');
is(why('host=other.example.com&principal=td1/ns/a/sa/b'),
	'denied:registry_miss::stream:', 'not registered');
is(why('host=db.example.com&port=5432&service=db&protocol=tcp'),
	'allowed:-:db:stream:p/1', 'service');

# what its client speaks, when a route chooses it

is(why('host=db.example.com&port=5432&service=db'),
	'allowed:-:db:stream:p/1', 'service, tcp');
is(why('host=partner.example.com'), 'denied:authz_denied:partner:http:',
	'service with TLS, http');
is(get('/explain?host=partner.example.com')->{found_by}, 'route', 'by route');
like(get('/explain?host=partner.example.com')->{broken}, qr/no.crt/,
	'why it is broken');
is(get('/explain?host=api.example.com')->{broken}, undef, 'not broken');

like(request("GET /explain?$_"), qr/ 400 .*"error"/s, "explain, $_")
	for 'port=x&host=a', 'port=1', 'host=a&prt=1', 'host=a&source=banana',
	'host=a&remote=1.2.3.4&destination=x';

# nginx -t warns of what the network can ask

my (undef, $out) = $t->test_config();

my @warned = $out =~ /\[warn\] "(\w+)" in \S+ is open to the network/g;

is("@warned", 'egress_status egress_metrics egress_explain', 'open');

$t->stop();

unlike($t->read_file('error.log'), qr/egress denied/, 'a question is no denial');

###############################################################################

sub version {
	return $t->version_text() =~ m!nginx/([\d.]+)! ? $1 : '';
}

sub request {
	my ($line) = @_;

	return http("$line HTTP/1.0\r\nHost: localhost\r\n\r\n");
}

sub body {
	my ($answer) = @_;

	return $answer =~ /\r\n\r\n(.*)/s ? $1 : '';
}

sub get {
	my ($uri) = @_;

	return JSON::PP->new->utf8->decode(body(request("GET $uri")));
}

sub why {
	my ($args) = @_;

	my $e = get("/explain?$args");

	return join ':', map { $_ // '' } @$e{qw/
		verdict reason service subsystem policy
	/};
}

###############################################################################
