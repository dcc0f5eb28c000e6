#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress in http: registry, outbound_policy, guard, DNS, the
# reasons of refusals, and that nothing steps around a decision.

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
	->expect(qr/refuses to dial without a verdict/);

my $services = <<'EOF';
    service static {
        host      static.example.com Upper.Example.com;
        port      80 http;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
    }

    service wild {
        host      *.wild.example.com;
        port      80 http;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
    }

    service exact {
        host      a.wild.example.com;
        port      80 http;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
    }

    service deep {
        host      *.deep.wild.example.com;
        port      80 http;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
    }

    service two {
        host      two.example.com;
        port      443 https;
        port      81 http;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
    }

    service off {
        lookup    off;
        host      off.example.com;
        port      80 http;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
    }

    service dynamic {
        host        *.dynamic.example.com dyn.example.com;
        port        80 http target=%%PORT_8081%%;
        resolution  dynamic;
    }

    service dead {
        host      dead.example.com;
        port      80 http;
        endpoint  127.0.1.1 port=%%PORT_8099%%;
        connect_timeout  1s;
    }

    service secure {
        host      secure.example.com;
        port      80 https;
        endpoint  127.0.1.1 port=%%PORT_8081%%;
    }

    service nx { host nx.example.com;  port 80 http; }
    service link { host link.example.com;  port 80 http; }
    service loop { host loop.example.com;  port 80 http; }
    service private { host private.example.com;  port 80 http; }
    service denied { host denied.example.com;  port 80 http; }
    service narrow { host narrow.example.com;  port 80 http; }
    service public { host public.example.com;  port 80 http; }

    service mixed {
        host  mixed.example.com;
        port  80 http target=%%PORT_8081%%;
    }

    service inside {
        host      private2.example.com link2.example.com;
        port      80 http;
        location  internal;
        connect_timeout  50ms;
    }

    service unguarded {
        host      unguarded.example.com;
        port      80 http target=%%PORT_8099%%;
        guard     off;
    }

    service exempt {
        host      exempt.example.com;
        port      80 http target=%%PORT_8099%%;
        guard     allow=127.0.0.2;
    }
EOF

write_conf('registry_only', $services);

my %dns = (
	'dns.example.com' => '127.0.1.1',
	'a.dynamic.example.com' => '127.0.1.1',
	'dyn.example.com' => '127.0.1.1',
	'other.example.com' => '127.0.1.1',
	'link.example.com' => '169.254.169.254',
	'link2.example.com' => '169.254.169.254',
	'loop.example.com' => '127.0.0.1',
	'private.example.com' => '10.1.2.3',
	'private2.example.com' => '10.255.255.1',
	'denied.example.com' => '127.0.1.77',
	'narrow.example.com' => '198.18.8.1',
	'public.example.com' => '8.8.8.8',
	'mixed.example.com' => [ '169.254.1.1', '127.0.1.1', '127.0.0.1' ],
	'unguarded.example.com' => '127.0.0.2',
	'exempt.example.com' => '127.0.0.2',
);

# no DNS server yet: the start does not need one

$t->run()->plan(58);

###############################################################################

like(get('dns.example.com'), qr/ 503 .*x-egress-reason: dns_failed/s,
	'dns down');

$t->dns(\%dns);

# what failed is not asked again at once

sleep 1;
select undef, undef, undef, 0.1;

is(code('dns.example.com'), 200, 'dns');
like(get('static.example.com'), qr/ 200 .*ok static.example.com/s, 'static');
is(code('STATIC.example.COM'), 200, 'case');
is(code('upper.example.com'), 200, 'configured in upper case');
is(code('static.example.com.'), 200, 'trailing dot');
is(code('static.example.com:8888'), 200, 'port of host is not asked');

is(code('b.wild.example.com'), 200, 'wildcard');
is(code('x.y.wild.example.com'), 200, 'wildcard, two labels');
is(code('wild.example.com'), 502, 'wildcard, no label');
is(code('xwild.example.com'), 502, 'wildcard, no dot');
is(served('a.wild.example.com'), 'exact', 'exact before wildcard');
is(served('a.deep.wild.example.com'), 'deep', 'longest wildcard');

like(get('other.example.com'), qr/ 502 .*x-egress-reason: registry_miss/s,
	'registry miss');
unlike(get('other.example.com', '/noreason'), qr/x-egress-reason/,
	'no reason header');
is(code('two.example.com'), 502, 'other port');
is(code('off.example.com'), 502, 'lookup off');
is(code(''), 502, 'no host');
is(code('127.0.1.1'), 502, 'literal');
like(code('a"b.example.com'), qr/^(400|502)$/, 'quote in host');

# egress_service

is(code('any.example.com', '/name'), 200, 'service by name');
is(code('any.example.com', '/port'), 200, 'service and port');
is(code('any.example.com', '/var?s=two:82'), 502, 'service without the port');
is(code('any.example.com', '/var?s=static'), 200, 'service by variable');
is(code('any.example.com', '/var?s=nosuch'), 502, 'unknown service');
is(code('static.example.com', '/var'), 200, 'empty variable, lookup');
is(code('any.example.com', '/var'), 502, 'empty variable, miss');

# dynamic: the name asked for has to be the service's

is(code('a.dynamic.example.com'), 200, 'dynamic, wildcard');
is(code('dyn.example.com', '/dynamic'), 200, 'dynamic, chosen');
is(code('other.example.com', '/dynamic'), 502, 'dynamic, foreign name');
is(code('b.dynamic.example.com'), 503, 'dynamic, no address');

# failures

like(get('nx.example.com'), qr/ 503 .*dns_failed/s, 'no such name');
like(get('dead.example.com'), qr/ 503 .*connect_failed/s, 'dead');
unlike(get('dead.example.com'), qr/502/, 'no trace of 502');
like(get('secure.example.com'), qr/ 503 .*service_broken/s,
	'no plaintext to https');

# T-DNS-01, T-DNS-03: the guard

foreach my $name (qw/ link loop private denied narrow public link2 /) {
	like(get("$name.example.com"), qr/ 403 .*address_denied/s,
		"guard, $name");
}

is(code('mixed.example.com'), 200, 'mixed answer, the allowed address');
is(code('unguarded.example.com'), 503, 'guard off, dialled');
is(code('exempt.example.com'), 503, 'guard allow, dialled');

# what another location decided does not hold here

is(body('any.example.com', '/error'), 'ok egress', 'error page, new verdict');
is(code('any.example.com', '/named'), 502, 'named location');
is(code('static.example.com', '/named'), 200, 'named location, registered');
is(code('any.example.com', '/satisfy'), 502, 'satisfy any');
is(code('static.example.com', '/off'), 500, 'redirect to egress off');
is(code('static.example.com', '/off2'), 500, 'egress off');
is(body('any.example.com', '/xaccel'), 'external', 'no internal redirect');

# allow_any, by reload

write_conf('allow_any', 'service static { host static.example.com; '
	. 'port 80 http; endpoint 127.0.1.1 port=%%PORT_8081%%; }'
	. join(' ', map { "service $_ { lookup off; host $_.example.com; "
		. 'port 81 http; endpoint 127.0.1.1; }' } qw/ off two dynamic dead /));
$t->reload();
select undef, undef, undef, 0.3;

like(get('link.example.com'), qr/ 403 .*address_denied/s,
	'allow any, link-local');
like(get('169.254.169.254'), qr/ 403 .*address_denied/s,
	'allow any, literal');
like(get('[::1]'), qr/ 403 .*address_denied/s, 'allow any, IPv6 literal');
like(get('127.1'), qr/ 503 .*dns_failed/s, 'allow any, short literal');
is(code('static.example.com'), 200, 'allow any, registered');
is(code('dyn.example.com', '/any'), 200, 'allow any, not registered');

###############################################################################

sub get {
	my ($host, $uri) = @_;

	$uri ||= '/';

	return http("GET $uri HTTP/1.0\r\n"
		. ($host eq '' ? '' : "Host: $host\r\n") . "\r\n") || '';
}

sub code {
	return get(@_) =~ m!^HTTP/1.. (\d+)! ? $1 : 0;
}

sub body {
	return get(@_) =~ /\r\n\r\n(.*)/s ? $1 : '';
}

# the service that was chosen, from the log

sub served {
	get(@_);

	select undef, undef, undef, 0.2;

	return (split / /, (split /\n/, $t->read_file('access.log'))[-1])[3];
}

sub write_conf {
	my ($policy, $blocks) = @_;

	$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    log_format  egress  '\$status \$egress_verdict \$egress_reason '
                        '\$egress_service \$egress_host:\$egress_port '
                        '\$egress_protocol \$egress_flags';

    upstream egress {
        egress_balance;
    }

    egress_reason_header  on;

    server {
        listen       127.0.0.1:8080;

        egress       on;
        egress_port  80;
        access_log   %%TESTDIR%%/access.log  egress;

        location / {
            include     %%REPOSITORY%%/conf/egress_proxy.conf;
            proxy_pass  http://egress;
        }

        location /any {
            egress_port  %%PORT_8081%%;
            proxy_pass   http://egress;
        }

        location /name {
            egress_service  off;
            proxy_pass      http://egress;
        }

        location /port {
            egress_service  two:81;
            proxy_pass      http://egress;
        }

        location /var {
            egress_service  \$arg_s;
            proxy_pass      http://egress;
        }

        location /dynamic {
            egress_service  dynamic;
            proxy_pass      http://egress;
        }

        location /noreason {
            egress_reason_header  off;
            proxy_pass            http://egress;
        }

        location /error {
            error_page      502 =200 /back;
            egress_service  dead;
            proxy_pass      http://egress;
        }

        location /back {
            egress_service  static;
            proxy_pass      http://egress;
        }

        location /named {
            error_page  418 = \@named;
            return      418;
        }

        location \@named {
            proxy_pass  http://egress;
        }

        # a verdict holds for the location that asked for it

        location /off {
            error_page      502 /off2;
            egress_service  dead;
            proxy_pass      http://egress;
        }

        location /off2 {
            egress      off;
            proxy_pass  http://egress;
        }

        location /satisfy {
            satisfy     any;
            allow       all;
            proxy_pass  http://egress;
        }

        location /xaccel {
            egress_service  static;
            proxy_pass      http://egress;
        }

        location /internal {
            internal;
            egress  off;
            return  200  "internal";
        }
    }

    %%FAR%%

    server {
        listen  127.0.1.1:8081;

        location / {
            return  200  "ok \$host";
        }

        location /xaccel {
            add_header  X-Accel-Redirect  /internal;
            return      200  "external";
        }
    }

    %%NEAR%%
}

egress {
    zone              1m;
    outbound_policy   $policy;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  2s;
    allow_address     127.0.1.0/24 198.18.7.0/24;
    deny_address      127.0.1.77 8.8.8.0/24;

    service dns {
        host  dns.example.com;
        port  80 http target=%%PORT_8081%%;
    }

    $blocks
}

EOF
}

###############################################################################
