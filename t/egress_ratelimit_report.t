#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for what egress_status and egress_metrics say of buckets: pages, the
# bound of the metrics, names that have to be escaped.

###############################################################################

use warnings;
use strict;

use JSON::PP;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone  2m series=3;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    bucket "a<b{c='d'}"  { tokens 5; fill 2; interval 1000s; }
    bucket keyed         { tokens 1; interval 1000s; }
    bucket quota         { tokens 9000000000000000000; period month; }
    bucket late          { tokens 3; interval 1000s; max_connections 7; }

    bucket later {
        tokens    4;
        interval  1000s;

        descriptor "k=x y"  { tokens 2; interval 1000s; }
        descriptor k        { tokens 1; interval 1000s; }
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  80;

        location / {
            egress_ratelimit  "bucket=a<b{c='d'}";
            egress_ratelimit  bucket=keyed key=$arg_k;
            egress_ratelimit  bucket=late;
            proxy_pass        http://egress;
        }

        location /late {
            egress_ratelimit             bucket=later;
            egress_ratelimit_descriptor  k=$arg_k;
            proxy_pass                   http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }
    }

    server {
        listen  127.0.0.1:8082;

        location /status  { egress_status; }
        location /metrics { egress_metrics; }
    }
}

EOC

$t->run()->plan(21);

###############################################################################

is(join(' ', map { code("/?k=$_") } 1, 2, 2, 3), '200 200 429 200', 'traffic');
is(join(' ', map { code("/late?k=$_") } 1, 2, 2), '200 200 429', 'descriptor');

my $all = status('');

is_deeply([ grep { /^buckets$/ } keys %$all ], [ 'buckets' ], 'member');
ok(exists $all->{services}, 'others');

my @buckets = @{$all->{buckets}};

is(join(' ', map { $_->{name} } @buckets),
	"a<b{c='d'} keyed quota late later later/k=x%20y later/k", 'names');
is_deeply($buckets[0], {
	name => "a<b{c='d'}", limit => 5, fill => 2, interval_ms => 1000000,
	remaining => 2, max_keys => 0, keys => 0, max_connections => 0,
	connections => 0, allowed => 3, limited => 0, would_limit => 0,
	full => 0, errors => 0, evicted => 0, bytes => 0
}, 'all of a bucket');
is("@{$buckets[1]}{qw/ keys allowed limited /}", '3 3 1', 'keyed');
ok(!exists $buckets[1]{remaining}, 'nothing remains of keys');
is("@{$buckets[2]}{qw/ limit interval_ms remaining /}",
	'9000000000000000000 0 9000000000000000000', 'quota');
is("@{$buckets[3]}{qw/ max_connections connections /}", '7 0', 'connections');
is($buckets[6]{limited}, 1, 'descriptor');

# pages

is(names('&limit=2'), "a<b{c='d'} keyed", 'limit');
is(names('&limit=2&offset=5'), 'later/k=x%20y later/k', 'offset');
is(names('&offset=7'), '', 'beyond');

# three lines and the rest, whose sum it is

my $m = body('/metrics');

is(lines('allowed_total'), "a<b{c='d'}:3 keyed:3 quota:0 _other:7", 'counter');
is(lines('limited_total'), "a<b{c='d'}:0 keyed:1 quota:0 _other:1", 'other');
is(lines('remaining'),
	"a<b{c='d'}:2 quota:9000000000000000000 _other:4", 'without keys');
is(lines('max_connections'), "a<b{c='d'}:0 keyed:0 quota:0 _other:7", 'gauge');

my @families = $m =~ /^# TYPE (egress_ratelimit_\w+) /mg;
my %seen = map { $_ => 1 } @families;

is(@families, keys %seen, 'each family once');

SKIP: {
	skip 'promtool is not installed', 1
		unless grep { -x "$_/promtool" } split /:/, $ENV{PATH};

	$t->write_file('metrics', $m);

	my $out = `promtool check metrics < @{[ $t->testdir() ]}/metrics 2>&1`;

	is($?, 0, 'promtool') or diag($out);
}

# no block, no buckets

$t->stop();

my $conf = $t->read_file('nginx.conf');

$conf =~ s/^    bucket .*?\n\}\n/}\n/ms;
$conf =~ s/^\s+egress_ratelimit.*\n//mg;

$t->write_file('nginx.conf', $conf);
$t->run();

is(names(''), '', 'no buckets');

###############################################################################

sub code {
	my ($uri) = @_;

	return http_get($uri, host => 'api.example.com') =~ / (\d\d\d)/
		? $1 : 'none';
}

sub body {
	my ($uri) = @_;

	return http_get($uri, port => 8082) =~ /\x0d\x0a\x0d\x0a(.*)$/s ? $1 : '';
}

sub status {
	my ($args) = @_;

	return decode_json(body("/status?$args"));
}

sub names {
	my ($args) = @_;

	my $status = status("what=buckets$args");

	return join ' ', map { $_->{name} } @{$status->{buckets}};
}

sub lines {
	my ($family) = @_;

	return join ' ', map { /bucket="(.*)"\} (\d+)$/ ? "$1:$2" : '?' }
		grep { /^egress_ratelimit_$family\{/ } split /\n/, $m;
}

###############################################################################
