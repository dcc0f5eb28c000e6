#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for connections that are kept between requests: which request gets
# which, and when they are closed.

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

my $t = Test::Nginx->new()->has_daemon('openssl')
	->write_file_expand('nginx.conf', <<'EOF2');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone           1m;
    resolver       127.0.0.1:8053 ipv6=off;
    allow_address  127.0.1.0/24;

    service plain {
        host      plain.example.com;
        port      80 http;
        endpoint  127.0.0.1 port=%%PORT_8081%%;
    }

    service same {
        host      same.example.com;
        port      80 http;
        endpoint  127.0.0.1 port=%%PORT_8081%%;
    }

    service two {
        host      two.example.com;
        port      80 http;
        balance   round_robin;
        endpoint  127.0.0.1 port=%%PORT_8081%%;
        endpoint  127.0.0.1 port=%%PORT_8082%%;
    }

    service names {
        host      a.example.com b.example.com;
        port      80 https;
        endpoint  127.0.0.1 port=%%PORT_8083%%;
        tls       simple;
        tls_trusted_certificate  far-ca.crt;
    }

    service named {
        host      c.example.com d.example.com;
        port      80 https;
        endpoint  127.0.0.1 port=%%PORT_8083%%;
        tls       simple;
        tls_name  e.example.com;
        tls_trusted_certificate  far-ca.crt;
    }

    service bound {
        host       bound.example.com;
        port       80 http;
        endpoint   127.0.0.1 port=%%PORT_8081%%;
        keepalive  2;
    }

    service none {
        host       none.example.com;
        port       80 http;
        endpoint   127.0.0.1 port=%%PORT_8081%%;
        keepalive  0;
    }

    service brief {
        host       brief.example.com;
        port       80 http;
        endpoint   127.0.0.1 port=%%PORT_8086%%;
        keepalive_timeout  300ms;
    }

    service counted {
        host       counted.example.com;
        port       80 http;
        endpoint   127.0.0.1 port=%%PORT_8081%%;
        requests_per_connection  3;
    }

    service retry {
        host       retry.example.com;
        port       80 http;
        endpoint   127.0.0.1 port=%%PORT_8081%%;
        retry      attempts=2 on=reset,403,404;
    }

    service dns {
        host     dns.example.com;
        port     80 http target=%%PORT_8084%%;
        balance  round_robin;
    }

    service tight {
        host       tight.example.com;
        port       80 http target=%%PORT_8084%%;
        max_connections  1;
    }

    service sticky {
        host       sticky.example.com;
        port       80 http;
        balance    hash $http_key;
        endpoint   127.0.0.1 port=%%PORT_8081%%;
        endpoint   127.0.0.1 port=%%PORT_8082%%;
        max_connections  1;
    }

    service ejects {
        host       ejects.example.com;
        port       80 http;
        endpoint   127.0.0.1 port=%%PORT_8085%%;
        outlier    consecutive_5xx=1 max_ejected=100 ejection=1s;
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
        include      %%REPOSITORY%%/conf/egress_proxy.conf;

        location / {
            proxy_pass  http://egress;
        }

        location /close {
            proxy_set_header  Connection close;
            proxy_pass        http://egress;
        }
    }
}

EOF2

Test::Nginx::DNS::set($t, 'dns.example.com', 'A 127.0.1.1', 'A 127.0.1.2');
Test::Nginx::DNS::set($t, 'tight.example.com', 'A 127.0.1.1');
Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Far::start($t, 8081, 8082, 'tls:8083', '127.0.1.1:8084',
	'127.0.1.2:8084', 8085, 8086);

$t->run()->plan(47);

###############################################################################

is(go(5, 'plain'), '200 200 200 200 200', 'answers');
is(connections(8081), 1, 'reused');

is(go(2, 'plain', method => 'HEAD') . ' ' . go(2, 'plain'),
	'200 200 200 200', 'head');
is(connections(8081), 0, 'head, reused');

far(8081, 'answer 204 times=1', 'answer 304 times=1', 'answer 403 times=1',
	'answer 503 times=1');
is(go(5, 'plain'), '204 304 403 503 200', 'statuses');
is(connections(8081), 0, 'statuses, reused');

go(2, 'plain', method => 'POST', body => 'abc');
is(connections(8081), 0, 'body, reused');

go(2, 'same');
is(connections(8081), 1, 'another service');

go(4, 'two');
is(connections(8081) . connections(8082), '11', 'by endpoint');

# a connection belongs to the name that was verified

go(2, 'a');
go(2, 'b', go => 1);
go(2, 'a', go => 1);
is(sni(), 'a.example.com b.example.com', 'by name');
go(2, 'c');
go(2, 'd', go => 1);
is(sni(), 'e.example.com', 'by name, fixed');

# how many, how long

close_all();
far(8081, 'answer delay=100');
several(5, 'bound');
is(open_at(8081, 2), 2, 'keepalive');

close_all();
go(3, 'none');
is(connections(8081), 3, 'keepalive 0');
is(open_at(8081, 0), 0, 'keepalive 0, closed');

go(2, 'brief');
is(connections(8086), 1, 'keepalive_timeout');
is(open_at(8086, 0), 0, 'keepalive_timeout, closed');

go(7, 'counted');
is(connections(8081), 3, 'requests_per_connection');

go(2, 'plain', uri => '/close');
is(connections(8081), 2, 'closed by us');
is(go(2, 'same'), '200 200', 'kept');
far(8081, 'answer close');
is(go(2, 'same'), '200 200', 'said to close');
far(8081, 'answer drop');
is(go(3, 'same'), '200 200 200', 'dropped');
is(connections(8081), 3, 'dropped, others');

# an answer that is not over, or that a client did not wait for

far(8081, 'cut part times=1', 'answer');
go(1, 'plain');
is(go(1, 'plain', go => 1), '200', 'after a part');
is(connections(8081), 2, 'after a part, another');

far(8081, 'answer pause=400 size=1000');
my $s = ask('plain');
Test::Nginx::Far::until_true(sub {
	Test::Nginx::Far::lines($t, 8081, 'done')
});
sleep 0.1;
close($s);
far(8081);
is(go(1, 'plain'), '200', 'after a client that left');

# what was closed while idle is not used

go(1, 'plain');
close_all();
is(go(1, 'plain', method => 'POST', body => 'a'), '200', 'closed while idle');

# or is noticed when it is: once more, if the request may be

far(8081, 'reset body times=1', 'answer');
is(go(1, 'plain'), '200', 'reset when used');
is(connections(8081), 1, 'reset when used, another');
far(8081, 'reset body times=1', 'answer');
is(go(1, 'plain', method => 'POST', body => 'a'), '502',
	'reset when used, POST');
is(Test::Nginx::Far::requests($t, 8081), 1, 'reset when used, POST, once');

far(8081);
go(1, 'retry');
far(8081, 'answer 403 times=1', 'answer 404 times=1', 'answer');
is(go(1, 'retry'), '200', 'retry');
far(8081, 'answer 403 times=1', 'answer 404 times=1', 'answer');
is(go(1, 'retry', method => 'HEAD'), '200', 'retry, head');
far(8081, 'reset body times=1', 'answer');
is(go(1, 'retry'), '200', 'retry, reset when used');

# an address that leaves the answer

go(4, 'dns');
is(open_now('127.0.1.1:8084') . open_now('127.0.1.2:8084'), '11', 'dns');
Test::Nginx::DNS::set($t, 'dns.example.com', 'A 127.0.1.2');
is(open_at('127.0.1.1:8084', 0), 0, 'dns, address left');
is(open_now('127.0.1.2:8084'), 1, 'dns, address stays');
Test::Nginx::Far::clear($t);
go(4, 'dns');
is(Test::Nginx::Far::requests($t, '127.0.1.1:8084'), 0,
	'dns, address left, no request');

# or leaves it while a connection to it is reserved

$s = keep_ask('tight');
Test::Nginx::DNS::set($t, 'tight.example.com', 'A 127.0.1.2');
sleep 1.6;
print $s '67890';
like(Test::Nginx::Far::answer($s), qr/200.*127\.0\.1\.[12]:8084 POST .* 10;/s,
	'dns, address left, reserved');

# the connection to one endpoint is not for who is sent to the other

Test::Nginx::Far::set($t, $_) foreach 8081, 8082;
my %at = map { ($_ => go(1, 'sticky', key => $_, where => 1)) } 1 .. 20;
my $bad = 0;

foreach my $key (reverse(1 .. 20), 1 .. 20) {
	$bad++ if go(1, 'sticky', key => $key, where => 1) ne $at{$key};
}

is(scalar(keys %{{ reverse %at }}), 2, 'hash, both endpoints');
is($bad, 0, 'hash, the same endpoint');

# an endpoint that is ejected

far(8085, 'answer delay=100 times=3', 'answer 503');
several(3, 'ejects');
is(open_now(8085), 3, 'ejected, before');
is(go(2, 'ejects', go => 1), '503 503', 'ejected');
is(open_at(8085, 0), 0, 'ejected, closed');
is(Test::Nginx::Far::requests($t, 8085), 4, 'ejected, not asked');

# idle ones are no hindrance to a reload

go(2, 'two');
my @open = map { open_now($_) } 8081, 8082;
cmp_ok($open[0] * $open[1], '>', 0, 'reload, before');
$t->reload();
is(open_at(8081, 0) + open_at(8082, 0), 0, 'reload, closed');
is(go(2, 'two'), '200 200', 'reload, again');

###############################################################################

sub far {
	my ($name, @lines) = @_;

	Test::Nginx::Far::set($t, $name, @lines);
	Test::Nginx::Far::clear($t);
}

# since the last go() or far()

sub connections {
	my ($name) = @_;

	return Test::Nginx::Far::connections($t, $name);
}

sub sni {
	my @names = map { (split)[-1] }
		Test::Nginx::Far::lines($t, 'tls:8083', 'sni');

	return join ' ', @names;
}

# how many connections a server has

sub open_now {
	my ($name) = @_;

	my ($n) = $t->read_file('far.log')
		=~ /.*^\S+ \Q$name\E (?:open|end) \d+ (\d+)$/ms;

	return $n;
}

sub open_at {
	my ($name, $n) = @_;

	Test::Nginx::Far::until_true(sub { open_now($name) == $n });

	return open_now($name);
}

sub close_all {
	far(8081, 'hangup');
	open_at(8081, 0);
	far(8081);
}

sub ask {
	my ($name, %extra) = @_;

	my $method = $extra{method} || 'GET';
	my $uri = $extra{uri} || '/';
	my $body = $extra{body} // '';

	return Test::Nginx::Far::ask(8080, "$method $uri HTTP/1.1\r\n"
		. "Host: $name.example.com\r\nConnection: close\r\n"
		. (defined $extra{key} ? "Key: $extra{key}\r\n" : '')
		. (length $body ? 'Content-Length: ' . length($body) . "\r\n" : '')
		. "\r\n$body");
}

# the statuses of so many requests, one after the other

sub go {
	my ($n, $name, %extra) = @_;

	Test::Nginx::Far::clear($t) unless $extra{go};

	return join ' ', map {
		my $r = Test::Nginx::Far::answer(ask($name, %extra));
		$extra{where} ? $r =~ /^X-Far: (\S+)/m ? $1 : '-'
			: $r =~ /^HTTP\S+ (\d+)/ ? $1 : '-';
	} 1 .. $n;
}

sub several {
	my ($n, $name) = @_;

	my @s = map { ask($name) } 1 .. $n;

	return map { Test::Nginx::Far::answer($_) } @s;
}

# a request, and half of another

sub keep_ask {
	my ($name) = @_;

	my $s = Test::Nginx::Far::ask(8080,
		"GET / HTTP/1.1\r\nHost: $name.example.com\r\n\r\n");

	sleep 0.2;

	print $s "POST /slow HTTP/1.1\r\nHost: $name.example.com\r\n"
		. "Connection: close\r\nContent-Length: 10\r\n\r\n12345";

	sleep 0.1;

	return $s;
}

###############################################################################
