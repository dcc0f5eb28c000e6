#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for bucket and egress_ratelimit: wrong configurations.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new();

# what stands in egress { }, and what nginx -t has to say

my @egress = (
	[ 'bucket b;',
		'directive "bucket" has no opening "{"' ],
	[ 'bucket b { }',
		'bucket "b" must have "tokens"' ],
	[ 'bucket b { tokens 1; }',
		'bucket "b" must have "interval"' ],
	[ 'bucket b { interval 1s; }',
		'bucket "b" must have "tokens"' ],
	[ 'bucket "" { tokens 1; interval 1s; }',
		'invalid bucket name ""' ],
	[ 'bucket "a b" { tokens 1; interval 1s; }',
		'invalid bucket name "a b"' ],
	[ 'bucket b { tokens 1; interval 1s; } bucket b { tokens 1; interval 1s; }',
		'duplicate bucket "b"' ],
	[ 'bucket b { tokens 0; interval 1s; }',
		'invalid value "0" in "tokens"' ],
	[ 'bucket b { tokens -1; interval 1s; }',
		'invalid value "-1" in "tokens"' ],
	[ 'bucket b { tokens 1.5; interval 1s; }',
		'invalid value "1.5" in "tokens"' ],
	[ 'bucket b { tokens 4294967296; interval 1s; }',
		'"tokens" and "fill" of bucket "b" must be 4294967295 at most' ],
	[ 'bucket b { tokens 99999999999999999999; interval 1s; }',
		'invalid value "99999999999999999999" in "tokens"' ],
	[ 'bucket b { tokens 1; interval 1s; fill 0; }',
		'invalid value "0" in "fill"' ],
	[ 'bucket b { tokens 1; interval 1s; tokens 1; }',
		'"tokens" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; fill 1; fill 1; }',
		'"fill" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; interval 1s; }',
		'"interval" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 0; }',
		'invalid value "0" in "interval"' ],
	[ 'bucket b { tokens 1; interval often; }',
		'invalid value "often" in "interval"' ],
	[ 'bucket b { tokens 1; interval 25d; }',
		'invalid value "25d" in "interval"' ],
	[ 'bucket b { tokens 1; interval 1s; status 200; }',
		'invalid value "200" in "status"' ],
	[ 'bucket b { tokens 1; interval 1s; status 600; }',
		'invalid value "600" in "status"' ],
	[ 'bucket b { tokens 1; interval 1s; status 429; status 429; }',
		'"status" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; on_full maybe; }',
		'invalid value "maybe" in "on_full": it has to be "deny" or "allow"' ],
	[ 'bucket b { tokens 1; interval 1s; on_full deny; on_full deny; }',
		'"on_full" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; on_error pass; }',
		'invalid value "pass" in "on_error": it has to be "deny" or "allow"' ],
	[ 'bucket b { tokens 1; interval 1s; on_error deny; on_error allow; }',
		'"on_error" directive is duplicate' ],
	[ 'bucket b { period day; }',
		'bucket "b" must have "tokens"' ],
	[ 'bucket b { tokens 1; period week; }',
		'invalid value "week" in "period": it has to be "minute", "hour", '
		. '"day" or "month"' ],
	[ 'bucket b { tokens 1; period day; period day; }',
		'"period" directive is duplicate' ],
	[ 'bucket b { tokens 1; period day; interval 1s; }',
		'"period" of bucket "b" is incompatible with "interval" and "fill"' ],
	[ 'bucket b { tokens 1; period day; fill 1; }',
		'"period" of bucket "b" is incompatible with "interval" and "fill"' ],
	[ 'bucket b { tokens 1; interval 1s; zone UTC; }',
		'"zone" of bucket "b" is of no use without "period"' ],
	[ 'bucket b { tokens 1; period day; zone Europe/Nowhere; }',
		'unknown time zone "Europe/Nowhere"' ],
	[ 'bucket b { tokens 1; period day; zone ../../../etc/passwd; }',
		'unknown time zone "../../../etc/passwd"' ],
	[ 'bucket b { tokens 1; period day; zone UTC; zone UTC; }',
		'"zone" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; state a; }',
		'"state" of bucket "b" is of no use without "period"' ],
	[ 'bucket b { tokens 1; period day; state a; state b; }',
		'"state" directive is duplicate' ],
	[ 'bucket b { tokens 1; period day; state ""; }',
		'"state" directive invalid value' ],
	[ 'bucket a { tokens 1; period day; state x; } bucket b { tokens 1; period day; state x; }',
		'"state" of bucket "b" is that of bucket "a"' ],
	[ 'bucket b { tokens 1; interval 1s; descriptor { tokens 1; interval 1s; } }',
		'invalid number of arguments in "descriptor" directive' ],
	[ 'bucket b { tokens 1; interval 1s; descriptor a; }',
		'directive "descriptor" has no opening "{"' ],
	[ 'bucket b { tokens 1; interval 1s; descriptor =a { tokens 1; interval 1s; } }',
		'invalid parameter "=a"' ],
	[ 'bucket b { tokens 1; interval 1s; descriptor a= { tokens 1; interval 1s; } }',
		'invalid parameter "a="' ],
	[ 'bucket b { tokens 1; interval 1s; descriptor a=1 { } }',
		'bucket "b/a=1" must have "tokens"' ],
	[ 'bucket b { tokens 1; interval 1s; descriptor a=1 { tokens 1; interval 1s; } descriptor a=1 { tokens 1; interval 1s; } }',
		'duplicate bucket "b/a=1"' ],
	[ 'bucket b { tokens 1; interval 1s; descriptor a=1 { descriptor b { tokens 1; interval 1s; } } }',
		'"descriptor" directive is not allowed in "descriptor"' ],
	[ 'bucket b { tokens 1; interval 1s; descriptor a=1 { tokens 1; interval 1s; status 500; } }',
		'what a client sees is set by bucket "b", not by its descriptors' ],
	[ 'bucket b { tokens 1; interval 1s; descriptor a=1 { tokens 1; interval 1s; always_consume on; } }',
		'"always_consume" is set by bucket "b", not by its descriptors' ],
	[ 'bucket b { tokens 1; interval 1s; always_consume on; always_consume off; }',
		'"always_consume" directive is duplicate' ],
	[ 'bucket b { max_connections 1; tokens 1; }',
		'bucket "b" must have "interval"' ],
	[ 'bucket b { max_connections 1; fill 1; }',
		'bucket "b" must have "tokens"' ],
	[ 'bucket b { max_connections 0; }',
		'invalid value "0" in "max_connections"' ],
	[ 'bucket b { max_connections 1; max_connections 1; }',
		'"max_connections" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; share 0; }',
		'invalid value "0" in "share"' ],
	[ 'bucket b { tokens 1; interval 1s; share 101%; }',
		'invalid value "101%" in "share"' ],
	[ 'bucket b { tokens 1; interval 1s; share 1; share 1; }',
		'"share" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; header a; }',
		'invalid number of arguments in "header" directive' ],
	[ 'bucket b { tokens 1; interval 1s; header "a b" c; }',
		'invalid header "a b"' ],
	[ 'bucket b { tokens 1; interval 1s; header a: c; }',
		'invalid header "a:"' ],
	[ 'bucket b { tokens 1; interval 1s; header "" c; }',
		'invalid header ""' ],
	[ 'bucket b { tokens 1; interval 1s; header Content-Length 0; }',
		'invalid header "Content-Length"' ],
	[ 'bucket b { tokens 1; interval 1s; header transfer-encoding chunked; }',
		'invalid header "transfer-encoding"' ],
	[ 'bucket b { tokens 1; interval 1s; header trailer c; }',
		'invalid header "trailer"' ],
	[ 'bucket b { tokens 1; interval 1s; header upgrade c; }',
		'invalid header "upgrade"' ],
	[ 'bucket b { tokens 1; interval 1s; header date c; }',
		'invalid header "date"' ],
	[ 'bucket b { tokens 1; interval 1s; header a "b\\r\\nc: d"; }',
		'invalid header "a"' ],
	[ 'bucket b { tokens 1; interval 1s; header host c; }',
		'invalid header "host"' ],
	[ 'bucket b { tokens 1; interval 1s; header_always a:b c; }',
		'invalid header "a:b"' ],
	[ 'bucket b { tokens 1; interval 1s; request_header content-length 1; }',
		'invalid header "content-length"' ],
	[ 'bucket b { tokens 1; interval 1s; request_header a "\n"; }',
		'invalid header "a"' ],
	[ 'bucket b { tokens 1; interval 1s; body a; body b; }',
		'"body" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; retry_after 1; }',
		'invalid value "1" in "retry_after" directive, it must be "on" or "off"' ],
	[ 'bucket b { tokens 1; interval 1s; retry_after on; retry_after on; }',
		'"retry_after" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; x_ratelimit_headers on; }',
		'invalid value "on"' ],
	[ 'bucket b { tokens 1; interval 1s; unit miles; }',
		'invalid value "miles"' ],
	[ 'bucket b { tokens 1; interval 1s; unit bytes; unit bytes; }',
		'"unit" directive is duplicate' ],
	[ 'bucket b { tokens 1; interval 1s; action allow; }',
		'"action" directive is not allowed here' ],
);

# what stands in a server { } of http and of stream

my @server = (
	[ 'egress_ratelimit ;',
		'invalid number of arguments in "egress_ratelimit" directive' ],
	[ 'egress_ratelimit bucket=x;',
		'bucket "x" is not defined' ],
	[ 'egress_ratelimit key=a;',
		'"egress_ratelimit" must have "bucket" parameter' ],
	[ 'egress_ratelimit bucket=;',
		'invalid parameter "bucket="' ],
	[ 'egress_ratelimit bucket=x bucket=y;',
		'invalid parameter "bucket=y"' ],
	[ 'egress_ratelimit bucket=x key=;',
		'invalid parameter "key="' ],
	[ 'egress_ratelimit bucket=x key=a key=b;',
		'invalid parameter "key=b"' ],
	[ 'egress_ratelimit bucket=x enabled=101;',
		'invalid parameter "enabled=101"' ],
	[ 'egress_ratelimit bucket=x enabled=%;',
		'invalid parameter "enabled=%"' ],
	[ 'egress_ratelimit bucket=x enforced=-1;',
		'invalid parameter "enforced=-1"' ],
	[ 'egress_ratelimit bucket=x enforced=1 enforced=2;',
		'invalid parameter "enforced=2"' ],
	[ 'egress_ratelimit bucket=x cost=;',
		'invalid parameter "cost="' ],
	[ 'egress_ratelimit bucket=x cost=1 cost=2;',
		'invalid parameter "cost=2"' ],
	[ 'egress_ratelimit bucket=x enabled=1/1000;',
		'invalid parameter "enabled=1/1000"' ],
	[ 'egress_ratelimit bucket=x enabled=101/100;',
		'invalid parameter "enabled=101/100"' ],
	[ 'egress_ratelimit bucket=x enabled=10%/10000;',
		'invalid parameter "enabled=10%/10000"' ],
	[ 'egress_ratelimit bucket=x enforced=1000001/1000000;',
		'invalid parameter "enforced=1000001/1000000"' ],
	[ 'egress_ratelimit bucket=x enforced=/100;',
		'invalid parameter "enforced=/100"' ],
	[ 'egress_ratelimit bucket=x enforced=1/;',
		'invalid parameter "enforced=1/"' ],
	[ 'egress_ratelimit_descriptor a;',
		'invalid parameter "a"' ],
	[ 'egress_ratelimit_descriptor =a;',
		'invalid parameter "=a"' ],
	[ 'egress_ratelimit_descriptor a=;',
		'invalid parameter "a="' ],
	[ 'egress_ratelimit_descriptor off; egress_ratelimit_descriptor a=1;',
		'is incompatible with "egress_ratelimit_descriptor off"' ],
	[ 'egress_ratelimit_descriptor a=1; egress_ratelimit_descriptor off;',
		'is incompatible with "egress_ratelimit_descriptor off"' ],
	[ 'egress_ratelimit x;',
		'invalid parameter "x"' ],
	[ 'egress_ratelimit off off;',
		'invalid parameter "off"' ],
	[ 'egress_ratelimit bucket=x; egress_ratelimit off;',
		'is incompatible with "egress_ratelimit off"' ],
	[ 'egress_ratelimit off; egress_ratelimit bucket=x;',
		'is incompatible with "egress_ratelimit off"' ],
	[ 'egress_ratelimit off; egress_ratelimit off;',
		'is incompatible with "egress_ratelimit off"' ],
);

# what is right

my @good = (
	'bucket b { tokens 99999999999999; period day; unit bytes; descriptor a=1 { tokens 1; period day; unit requests; } }',
	'bucket b { tokens 1; interval 1s; descriptor a=1 b { tokens 1; period day; state c; } descriptor c { max_connections 1; } }',
	'bucket b { tokens 1; period month; zone UTC; state b.state; }',
	'bucket b { max_connections 1; }',
	'bucket b { tokens 1; interval 1s; }',
	'bucket b { tokens 4294967295; fill 4294967295; interval 24d; status 503; on_full allow; on_error allow; header a b; header a ""; header x-c "d e"; header_always a b; request_header c d; body ""; retry_after on; x_ratelimit_headers off; share 1/10000; }',
);

$t->plan(@egress + 2 * @server + @good + 2);

###############################################################################

foreach my $case (@egress) {
	my ($conf, $error) = @$case;

	says($error, egress => $conf);
}

foreach my $case (@server) {
	my ($conf, $error) = @$case;

	says($error, http => $conf);
	says($error, stream => $conf);
}

foreach my $conf (@good) {
	says('test is successful', egress => $conf);
}

# what would not be enforced is refused: invariant 1

SKIP: {

# in a static build no module can be missing

skip 'static build', 2 if $t->version_text() =~ /--add-module=/;

foreach my $subsystem (qw/ http stream /) {
	says("\"bucket\" in LINE is not enforced for \"egress on\" in LINE: "
		. "load module ngx_${subsystem}_egress_ratelimit_module",
		egress => 'bucket b { tokens 1; interval 1s; }', $subsystem => 'egress on;',
		without => "ngx_${subsystem}_egress_ratelimit_module");
}

}

###############################################################################

sub says {
	my ($error, %conf) = @_;

	$conf{$_} ||= '' for qw/ egress http stream /;

	write_conf(%conf);

	my ($status, $out) = $t->test_config();

	# an error is of no use without its place

	$out =~ s!in \S*nginx\.conf:\d+!in LINE!g;

	$error .= ' in LINE' unless $error =~ /successful|LINE/;

	my $name = join ' ', map { $conf{$_} } qw/ egress http stream /;

	ok(index($out, $error) >= 0 && !$status == ($error =~ /successful/),
		"$name: $error") or diag($out);
}

sub write_conf {
	my (%conf) = @_;

	my $pass = $conf{stream} =~ /egress on/ ? 'egress' : '127.0.0.1:8082';

	$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m;
    $conf{egress}
}

http {
    %%TEST_GLOBALS_HTTP%%

    server {
        listen  127.0.0.1:8080;
        $conf{http}
    }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    upstream egress {
        egress_balance;
    }

    server {
        listen      127.0.0.1:8081;
        proxy_pass  $pass;
        $conf{stream}
    }
}

EOF

	return unless $conf{without};

	my $text = $t->read_file('nginx.conf');

	$text =~ s/load_module [^;]*$conf{without}\.so;//
		or die "no $conf{without} in nginx.conf\n";

	$t->write_file('nginx.conf', $text);
}

###############################################################################
