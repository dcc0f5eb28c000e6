#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for what steps from one location to another: redirects, error pages,
# named locations, subrequests.  Each location decides for itself, and nothing
# is dialled on what another one decided.

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

my $t = Test::Nginx->new()->has_daemon('dnsmasq')
	->expect(qr/egress refuses to dial without a verdict/);

$t->has('http_auth_request')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone           1m;
    resolver       127.0.0.1:8053 ipv6=off;
    allow_address  127.0.1.0/24;

    service one { host one.example.com; port 80 http target=%%PORT_8081%%; }
    service two { host two.example.com; port 80 http target=%%PORT_8081%%; }

    service st {
        host      st.example.com;
        port      80 http;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
    }

    service forbidden {
        host        forbidden.example.com;
        port        80 http target=%%PORT_8081%%;
        resolution  dns;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    proxy_set_header  Host  $host;

    server {
        listen       127.0.0.1:8080;

        egress       on;
        egress_port  80;

        location / {
            proxy_pass  http://egress;
        }

        # allowed here, then elsewhere

        location /error {
            error_page              404 = /to_two;
            proxy_intercept_errors  on;
            egress_service          one;
            proxy_pass              http://egress/missing;
        }

        location /error_off {
            error_page              404 = /off;
            proxy_intercept_errors  on;
            egress_service          one;
            proxy_pass              http://egress/missing;
        }

        location /error_forbidden {
            error_page              404 = @forbidden;
            proxy_intercept_errors  on;
            egress_service          one;
            proxy_pass              http://egress/missing;
        }

        location /error_refused {
            error_page      403 = /to_two;
            egress_service  forbidden;
            proxy_pass      http://egress;
        }

        location /to_two {
            egress_service  two;
            proxy_pass      http://egress;
        }

        location /off {
            egress      off;
            proxy_pass  http://egress;
        }

        location @off {
            egress      off;
            proxy_pass  http://egress;
        }

        location @forbidden {
            egress_service  forbidden;
            proxy_pass      http://egress;
        }

        location /try {
            try_files  /nosuch @forbidden;
        }

        location /try_off {
            try_files  /nosuch @off;
        }

        location /rewrite {
            rewrite  ^  /to_two  last;
        }

        # what does not refuse may not let in either

        location /satisfy {
            satisfy         any;
            allow           all;
            egress_service  forbidden;
            proxy_pass      http://egress;
        }

        # subrequests: one for each decision

        location /auth/ {
            auth_request    /check;
            egress_service  one;
            proxy_pass      http://egress;
        }

        location /auth_off/ {
            egress        off;
            auth_request  /check;
            proxy_pass    http://egress;
        }

        location /auth_bad/ {
            auth_request    /check_forbidden;
            egress_service  one;
            proxy_pass      http://egress;
        }

        location = /check {
            internal;
            egress_service           two;
            proxy_pass               http://egress/auth;
            proxy_pass_request_body  off;
            proxy_set_header         Content-Length  "";
        }

        location = /check_forbidden {
            internal;
            egress_service  forbidden;
            proxy_pass      http://egress/auth;
        }

        location /ssi {
            egress  off;
            ssi     on;
            root    %%TESTDIR%%;

            default_type  text/html;
        }

        location /part_one {
            egress_service  one;
            proxy_pass      http://egress;
        }

        location /part_two {
            egress_service  two;
            proxy_pass      http://egress;
        }

        location /part_bad {
            egress_service  forbidden;
            proxy_pass      http://egress;
        }

        location /part_off {
            egress      off;
            proxy_pass  http://egress;
        }

        location /mirror {
            mirror          /mirrored;
            egress_service  st;
            proxy_pass      http://egress;
        }

        location /mirrored {
            egress      off;
            proxy_pass  http://egress;
        }

        location /mirror2 {
            mirror          /part_two;
            egress_service  st;
            proxy_pass      http://egress;
        }

        # from our own server to a location of egress

        location /local {
            egress      off;
            proxy_pass  http://127.0.0.1:8082;
        }

        location /xforbidden {
            internal;
            egress_service  forbidden;
            proxy_pass      http://egress;
        }
    }

    %%FAR%%

    server {
        listen      127.0.1.1:8081;
        access_log  %%TESTDIR%%/far.log;

        location / {
            return  200  "far $host $uri;";
        }

        location /missing {
            return  404;
        }

        location /local {
            add_header  X-Accel-Redirect  /off;
            return      200 "far local";
        }
    }

    %%NEAR%%

    server {
        listen  127.0.0.1:8082;

        location /local/off {
            add_header  X-Accel-Redirect  /off;
            return      200;
        }

        location /local/two {
            add_header  X-Accel-Redirect  /to_two;
            return      200;
        }

        location /local/forbidden {
            add_header  X-Accel-Redirect  /xforbidden;
            return      200;
        }

        location /local/named {
            add_header  X-Accel-Redirect  @off;
            return      200;
        }
    }
}

EOF

$t->write_file('ssi', '<!--#include virtual="/part_one" -->'
	. '<!--#include virtual="/part_two" -->'
	. '<!--#include virtual="/part_one" -->');
$t->write_file('ssi_bad', '<!--#include virtual="/part_one" -->'
	. '[<!--#include virtual="/part_bad" -->]');
$t->write_file('ssi_off', '<!--#include virtual="/part_one" -->'
	. '[<!--#include virtual="/part_off" -->]');

# the guard refuses what the last one is resolved to

$t->dns({
	'one.example.com' => '127.0.1.1', 'two.example.com' => '127.0.1.1',
	'forbidden.example.com' => '127.0.2.1'
});
$t->run()->plan(24);

###############################################################################

is(body('/error', 'x'), 'far x /to_two;', 'error page, another service');
is(code('/error_off', 'one.example.com'), 500, 'error page, egress off');
is(code('/error_forbidden', 'one.example.com'), 403,
	'error page, not allowed there');
is(body('/error_refused', 'x'), 'far x /to_two;',
	'error page of a refusal');
is(code('/off', 'one.example.com'), 500, 'egress off');
is(code('/try', 'one.example.com'), 403, 'try_files, named location');
is(code('/try_off', 'one.example.com'), 500, 'try_files, egress off');
is(body('/rewrite', 'x'), 'far x /to_two;', 'rewrite');
is(code('/satisfy', 'x'), 403, 'satisfy any');

is(body('/auth/', 'x'), 'far x /auth/;', 'auth request, both allowed');
is(code('/auth_off/', 'x'), 500, 'auth request, only that one allowed');
is(code('/auth_bad/', 'x'), 403, 'auth request, only that one refused');

is(body('/ssi', 'x'), 'far x /part_one;far x /part_two;far x /part_one;',
	'ssi');
like(body('/ssi_bad', 'x'), qr/^far x \/part_one;\[(?!far).*\]$/s,
	'ssi, one refused');
like(body('/ssi_off', 'x'), qr/^far x \/part_one;\[(?!far).*\]$/s,
	'ssi, one without egress');

is(body('/mirror', 'x'), 'far x /mirror;', 'mirror, egress off');
is(body('/mirror2', 'x'), 'far x /mirror2;', 'mirror, allowed');

is(code('/local/off', 'one.example.com'), 500, 'accel, egress off');
is(code('/local/named', 'one.example.com'), 500, 'accel, named location');
is(body('/local/two', 'x'), 'far x /to_two;', 'accel, allowed');
is(code('/local/forbidden', 'one.example.com'), 403, 'accel, not allowed');

# and the far side may not do that

is(body('/part_one/../local', 'one.example.com') =~ /far/ ? 1 : 0, 0,
	'normalized uri is what is decided on');

$t->stop();

my $log = $t->read_file('far.log');

is($log =~ /mirrored|forbidden|\/off|part_bad|part_off|satisfy/ ? $& : '',
	'', 'nothing was dialled in vain');
like($log, qr/GET \/part_two/, 'mirror was dialled');

###############################################################################

sub get {
	my ($uri, $host) = @_;

	return http("GET $uri HTTP/1.0\r\nHost: $host\r\n\r\n") || '';
}

sub code {
	return get(@_) =~ m!^HTTP/1.. (\d+)! ? $1 : 0;
}

sub body {
	return get(@_) =~ /\r\n\r\n(.*)/s ? $1 : '';
}

###############################################################################
