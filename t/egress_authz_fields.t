#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for policies: each field and each key of "when", in http and stream,
# audit and dry run, the path that is decided on and the path that is sent.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use IO::Select;
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('openssl')->has_daemon('curl')
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone          1m;
    trust_domain  td1;
    trusted_hops  2;

    service all {
        host *.example.com;  port 80 http;  port 8000 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    service tcp {
        lookup off;  host tcp.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8082%%;
    }

    service tcp2 {
        lookup off;  host tcp2.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8082%%;
    }

    service tcp3 {
        lookup off;  host tcp3.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8082%%;
    }

    # each host is decided by one rule only

    policy allow {
        action  allow;

        rule { to { hosts port.example.com; } }
        rule { to { hosts anyport.example.com:*; } }

        rule { to { hosts m.example.com; methods GET P*; } }
        rule { to { hosts nm.example.com; not_methods GET; } }
        rule { to { hosts p.example.com;
                    paths /a /b/* *.png "/t/{*}/x" "/u/{**}"; } }
        rule { to { hosts np.example.com; not_paths /secret*; } }

        rule { from { ip_blocks 127.0.0.2; } to { hosts ip.example.com; } }
        rule { from { ip_blocks 127.0.0.0/8; not_ip_blocks 127.0.0.2; }
               to { hosts nip.example.com; } }
        rule { from { remote_ip_blocks 10.9.0.0/16; }
               to { hosts rip.example.com; } }
        rule { from { not_remote_ip_blocks 10.9.0.0/16; }
               to { hosts nrip.example.com; } }
        rule { from { trust_domains td1; } to { hosts td.example.com; } }
        rule { from { not_trust_domains td1; } to { hosts ntd.example.com; } }

        rule { to { hosts h.example.com; }
               when request.headers[X-Role] in admin dev*; }
        rule { to { hosts nh.example.com; }
               when request.headers[x-role] not_in admin; }
        rule { to { hosts hp.example.com; }
               when request.headers[x-role] in *; }
        rule { to { hosts two.example.com; }
               when request.headers[x-role] in dev* admin;
               when request.headers[x-role] not_in devil; }

        rule { to { hosts wsip.example.com; } when source.ip in 127.0.0.2; }
        rule { to { hosts wrip.example.com; } when remote.ip in 10.9.0.1; }
        rule { to { hosts wns.example.com; } when source.namespace in a; }
        rule { to { hosts wp.example.com; }
               when source.principal in td1/ns/a/sa/x; }
        rule { to { hosts wsa.example.com; }
               when source.serviceAccount in a/x; }
        rule { to { hosts wtd.example.com; } when source.trustDomain in td*; }
        rule { to { hosts wdip.example.com; }
               when destination.ip in 127.0.0.1; }
        rule { to { hosts wdp.example.com; } when destination.port in 8000; }
        rule { to { hosts wsni.example.com; }
               when connection.sni in *.sni.test; }
        rule { to { hosts nwsni.example.com; }
               when connection.sni not_in *.sni.test; }

        # what "from", "to" and "when" have to do with each other

        rule { from { namespaces a; } from { ip_blocks 127.0.0.2; }
               to { hosts or1.example.com; methods GET; }
               to { hosts or2.example.com; } }

        rule { to { hosts d.example.com dp.example.com dm.example.com
                          audit.example.com dry.example.com
                          path.example.com rewrite.example.com; } }

        rule { to { hosts tcp.example.com tcp2.example.com; } }
        rule { to { hosts tcp3.example.com; methods GET; } }
    }

    policy deny {
        action  deny;

        rule { to { hosts d.example.com; }
               when request.headers[x-role] in admin; }
        rule { to { hosts dp.example.com path.example.com rewrite.example.com;
                    paths /admin*; } }
        rule { to { hosts dm.example.com; methods DELETE; } }
        rule { to { hosts tcp2.example.com; methods GET; } }
        rule { from { ip_blocks 127.0.0.3; } }
    }

    policy audit {
        action  audit;
        rule { to { hosts audit.example.com; } }
    }

    policy dry/deny {
        action   deny;
        dry_run  on;
        rule { to { hosts dry.example.com; } }
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    egress_port  80;

    server {
        listen  127.0.0.1:8080;
        egress  on;

        location / {
            proxy_pass  http://egress;
        }

        location /port {
            egress_port  8000;
            proxy_pass   http://egress;
        }
    }

    # a proxy in front says who the client is

    server {
        listen  127.0.0.1:8087 proxy_protocol;
        egress  on;

        set_real_ip_from  127.0.0.0/8;
        real_ip_header    proxy_protocol;

        location / {
            proxy_pass  http://egress;
        }

        location /off/ {
            egress_authz  off;
            proxy_pass    http://egress;
        }
    }

    # what is sent is not what the client wrote

    server {
        listen       127.0.0.1:8080;
        server_name  rewrite.example.com;
        egress       on;

        location /uri/ {
            proxy_pass  http://egress/;
        }

        location /rewrite {
            rewrite     ^/rewrite(.*) $1 break;
            proxy_pass  http://egress;
        }

        location /joined {
            rewrite     ^/joined(.*) /x/$1 break;
            proxy_pass  http://egress;
        }
    }

    server {
        listen  127.0.0.1:8083 ssl;
        egress  on;

        ssl_certificate         server.crt;
        ssl_certificate_key     server.key;
        ssl_client_certificate  ca.crt;
        ssl_verify_client       optional;

        location / {
            proxy_pass  http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;
        return  200  "$request_method $request_uri";
    }
}

stream {
    upstream egress { egress_balance; }

    server {
        listen          127.0.0.1:8084;
        egress          on;
        egress_port     5432;
        egress_preread  off;
        egress_service  tcp;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8085;
        egress          on;
        egress_port     5432;
        egress_preread  off;
        egress_service  tcp2;
        proxy_pass      egress;
    }

    server {
        listen          127.0.0.1:8086;
        egress          on;
        egress_port     5432;
        egress_preread  off;
        egress_service  tcp3;
        proxy_pass      egress;
    }

    server {
        listen            127.0.0.1:8088 proxy_protocol;
        set_real_ip_from  127.0.0.0/8;
        egress            on;
        egress_port       5432;
        egress_preread    off;
        egress_service    tcp;
        proxy_pass        egress;
    }

    server {
        listen  127.0.0.1:8082;
        return  hello;
    }
}

EOF

my $d = $t->testdir();

$t->ca('ca')->cert('ca', 'server', 'DNS:localhost');
$t->spiffe('ca', 'x', 'td1/ns/a/sa/x');
$t->spiffe('ca', 'y', 'td2/ns/b/sa/y');

my @local = ('--interface', '127.0.0.2');
my @third = ('--interface', '127.0.0.3');

# host, arguments of curl, path, status

my @cases = (

	# the port of Host counts, as in Istio

	[ 'port', [], '/', 200 ],
	[ 'port.example.com:80', [], '/', 403 ],
	[ 'anyport.example.com:80', [], '/', 200 ],
	[ 'anyport.example.com:81', [], '/', 200 ],
	[ 'anyport', [], '/', 403 ],
	[ 'PORT.Example.COM', [], '/', 200 ],
	[ 'port.example.com.', [], '/', 200 ],

	[ 'm', [], '/', 200 ],
	[ 'm', [ '-X', 'POST' ], '/', 200 ],
	[ 'm', [ '-X', 'PATCH' ], '/', 200 ],
	[ 'm', [ '-X', 'DELETE' ], '/', 403 ],
	[ 'm', [ '-I' ], '/', 403 ],
	[ 'nm', [], '/', 403 ],
	[ 'nm', [ '-X', 'POST' ], '/', 200 ],

	[ 'p', [], '/a', 200 ],
	[ 'p', [], '/a?q=/z', 200 ],
	[ 'p', [], '/A', 403 ],
	[ 'p', [], '/a/', 403 ],
	[ 'p', [], '/b', 403 ],
	[ 'p', [], '/b/c', 200 ],
	[ 'p', [], '/b/../c', 403 ],
	[ 'p', [], '/c/x.png', 200 ],
	[ 'p', [], '/t/1/x', 200 ],
	[ 'p', [], '/t//x', 403 ],
	[ 'p', [], '/t/1/2/x', 403 ],
	[ 'p', [], '/u/', 200 ],
	[ 'p', [], '/u/1/2', 200 ],
	[ 'p', [], '/u', 403 ],
	[ 'np', [], '/secret', 403 ],
	[ 'np', [], '/secre', 200 ],

	[ 'ip', [], '/', 403 ],
	[ 'ip', \@local, '/', 200 ],
	[ 'nip', [], '/', 200 ],
	[ 'nip', \@local, '/', 403 ],
	[ 'port', \@third, '/', 403 ],

	# the second address from the right, the one before may be a lie

	[ 'rip', [ xff('10.9.1.2, 10.1.1.1') ], '/', 200 ],
	[ 'rip', [ xff('10.8.0.1, 10.9.1.2,10.1.1.1') ], '/', 200 ],
	[ 'rip', [ xff('10.9.1.2, 10.8.0.1, 10.1.1.1') ], '/', 403 ],
	[ 'rip', [ xff('10.9.1.2') ], '/', 403 ],
	[ 'rip', [ xff('10.9.1.2'), xff('10.1.1.1') ], '/', 200 ],
	[ 'rip', [ xff('x, 10.1.1.1') ], '/', 403 ],
	[ 'rip', [], '/', 403 ],
	[ 'nrip', [ xff('10.9.1.2, 10.1.1.1') ], '/', 403 ],
	[ 'nrip', [], '/', 200 ],

	[ 'td', [ as('x') ], '/', 200 ],
	[ 'td', [ as('y') ], '/', 403 ],
	[ 'td', [ as('') ], '/', 403 ],
	[ 'ntd', [ as('x') ], '/', 403 ],
	[ 'ntd', [ as('y') ], '/', 200 ],
	[ 'ntd', [ as('') ], '/', 403 ],

	[ 'h', [ role('admin') ], '/', 200 ],
	[ 'h', [ role('developer') ], '/', 200 ],
	[ 'h', [ role('Admin') ], '/', 403 ],
	[ 'h', [ role('user') ], '/', 403 ],
	[ 'h', [], '/', 403 ],
	[ 'hp', [ role('user') ], '/', 200 ],
	[ 'hp', [ '-H', 'X-Role;' ], '/', 200 ],
	[ 'hp', [], '/', 403 ],
	[ 'nh', [ role('user') ], '/', 200 ],
	[ 'nh', [ role('admin') ], '/', 403 ],
	[ 'nh', [], '/', 200 ],
	[ 'two', [ role('developer') ], '/', 200 ],
	[ 'two', [ role('devil') ], '/', 403 ],

	# T-AUZ-02: each value of several, each of one

	[ 'h', [ role('user,admin') ], '/', 403 ],
	[ 'h', [ role('admin'), role('user') ], '/', 403 ],
	[ 'nh', [ role('user,admin') ], '/', 403 ],
	[ 'nh', [ role('user'), role('admin') ], '/', 403 ],
	[ 'd', [ role('admin') ], '/', 403 ],
	[ 'd', [ role('user,admin') ], '/', 403 ],
	[ 'd', [ role('user, admin') ], '/', 403 ],
	[ 'd', [ role('admin'), role('admin') ], '/', 403 ],
	[ 'd', [ role('user'), role('administrator') ], '/', 200 ],

	# T-AUZ-03: what can't be read never helps

	[ 'nh', [ role("user\xff") ], '/', 403 ],
	[ 'nh', [ role("user\xc0\xaf") ], '/', 403 ],
	[ 'nh', [ role("us\xc3\xa4r") ], '/', 200 ],
	[ 'd', [ role("user\xff") ], '/', 403 ],
	[ 'nh', [ role('a' x 5000), role('b' x 4000) ], '/', 403 ],
	[ 'd', [ role('a' x 5000), role('b' x 4000) ], '/', 403 ],

	[ 'wsip', [], '/', 403 ],
	[ 'wsip', \@local, '/', 200 ],
	[ 'wrip', [ xff('10.9.0.1, 10.1.1.1') ], '/', 200 ],
	[ 'wrip', [ xff('10.9.0.2, 10.1.1.1') ], '/', 403 ],
	[ 'wns', [ as('x') ], '/', 200 ],
	[ 'wns', [ as('y') ], '/', 403 ],
	[ 'wns', [ as('') ], '/', 403 ],
	[ 'wp', [ as('x') ], '/', 200 ],
	[ 'wp', [ as('y') ], '/', 403 ],
	[ 'wsa', [ as('x') ], '/', 200 ],
	[ 'wsa', [ as('y') ], '/', 403 ],
	[ 'wtd', [ as('y') ], '/', 200 ],
	[ 'wtd', [ as('') ], '/', 403 ],
	[ 'wdip', [], '/', 200 ],
	[ 'wdp', [], '/', 403 ],
	[ 'wdp', [], '/port', 200 ],
	[ 'wsni', [ as('', 'a.sni.test') ], '/', 200 ],
	[ 'wsni', [ as('', 'a.other.test') ], '/', 403 ],
	[ 'wsni', [], '/', 403 ],
	[ 'nwsni', [ as('', 'a.sni.test') ], '/', 403 ],
	[ 'nwsni', [], '/', 200 ],

	[ 'or1', [ as('x') ], '/', 200 ],
	[ 'or1', [ as('x'), '-X', 'POST' ], '/', 403 ],
	[ 'or1', \@local, '/', 200 ],
	[ 'or1', [ as('y') ], '/', 403 ],
	[ 'or2', [ as('x'), '-X', 'POST' ], '/', 200 ],
	[ 'or3', [ as('x') ], '/', 403 ],

	[ 'dm', [ '-X', 'DELETE' ], '/', 403 ],
	[ 'dm', [], '/', 200 ],
	[ 'audit', [], '/', 200 ],
	[ 'dry', [], '/', 200 ],
);

# T-AUZ-04: path, status, and what the far side got

my @paths = (
	[ '/adm', 200, '/adm' ],
	[ '/admin', 403 ],
	[ '/admin/x?y', 403 ],
	[ '/x/../admin', 403 ],
	[ '/x/..\\admin', 403 ],
	[ '/./admin', 403 ],
	[ '/%61dmin', 403 ],
	[ '/x/%2e%2e/admin', 403 ],
	[ '/x/%2E./admin', 403 ],
	[ '/x/../b?c=/../d', 200, '/b?c=/../d' ],
	[ '/x\\y', 200, '/x/y' ],
	[ '/%62', 200, '/b' ],
	[ '/x%2fadmin', 200, '/x%2fadmin' ],
	[ '/x%2F..%2Fadmin', 200, '/x%2F..%2Fadmin' ],
	[ '//admin', 200, '//admin' ],
	[ '/x;a/..;b/admin', 200, '/x;a/..;b/admin' ],
	[ '/b"c', 200, '/b%22c' ],
	[ '/b?c"d', 200, '/b?c"d' ],
	[ '/b#/admin', 200, '/b' ],
	[ '/x/../b#c', 200, '/b' ],
);

# the same where nginx sends another one

my @rewritten = (
	[ '/uri/b', 200, '/b' ],
	[ '/uri/admin', 403 ],
	[ '/uri/x%2f..%2fadmin', 403 ],
	[ '/uri/x/../admin', 403 ],
	[ '/uri//admin', 403 ],
	[ '/rewrite/b', 200, '/b' ],
	[ '/rewrite/admin', 403 ],
	[ '/rewrite/%2e/admin', 403 ],
	[ '/rewrite/x%2f..%2fadmin', 403 ],
	[ '/joined/b', 200, '/x//b' ],
	[ '/joined../b', 200, '/x/../b' ],
	[ '/joined../admin', 403 ],
	[ '/joined%2e%2e/admin', 403 ],
	[ '/joined.\\./admin', 200, '/x/.%5C./admin' ],
);

$t->run()->plan(@cases + @paths + @rewritten + 27);

###############################################################################

foreach my $case (@cases) {
	my ($host, $args, $path, $status) = @$case;

	my $name = "$host $path @$args";

	$name =~ s/[^\x20-\x7e]/?/g;
	$name = substr($name, 0, 90);

	is(code($host, $path, @$args), $status, $name);
}

foreach my $case (@paths) {
	my ($path, $status, $sent) = @$case;

	sends('path', $path, $status, $sent);
}

foreach my $case (@rewritten) {
	my ($path, $status, $sent) = @$case;

	sends('rewrite', $path, $status, $sent);
}

# T-AUZ-05: one name, whoever says it

like(raw("GET http://port.example.com/ HTTP/1.1\r\nHost: other.example.com\r\n"),
	qr/^HTTP\S+ 200 /, 'absolute-form');
like(raw("GET http://other.example.com/ HTTP/1.1\r\nHost: port.example.com\r\n"),
	qr/^HTTP\S+ 403 /, 'absolute-form, other');
like(raw("GET http://port.example.com:80/ HTTP/1.1\r\nHost: port.example.com\r\n"),
	qr/^HTTP\S+ 403 /, 'absolute-form with port');
like(raw("GET http://anyport.example.com:80/ HTTP/1.1\r\nHost: a\r\n"),
	qr/^HTTP\S+ 200 /, 'absolute-form with any port');
like(raw("GET / HTTP/1.1\r\nHost: port.example.com\r\nHost: a\r\n"),
	qr/^HTTP\S+ 400 /, 'two hosts');
like(raw("GET / HTTP/1.1\r\n"), qr/^HTTP\S+ 400 /, 'no host');
like(raw("GET / HTTP/1.0\r\n"), qr/^HTTP\S+ 502 /, 'no host, HTTP/1.0');

# T-AUZ-06, T-AUZ-07: there is no CONNECT in front of a location

like(raw("CONNECT $_ HTTP/1.1\r\nHost: port.example.com\r\n"),
	qr/^HTTP\S+ 40[05] /, "connect $_")
	for 'port.example.com:80', 'port.example.com', '[fe80::1%eth0]:80',
		'port.example.com:0', 'port.example.com:65536', ':80';

# T-OBS-02 and 3.3: ip_blocks are the peer's, remote_ip_blocks the client's

is(proxied('127.0.0.2', 'ip'), 403, 'ip_blocks, PROXY protocol');
is(proxied('127.0.0.2', 'nip'), 200, 'not_ip_blocks, PROXY protocol');
is(proxied('10.9.0.1', 'rip'), 200, 'remote_ip_blocks, PROXY protocol');
is(proxied('10.8.0.1', 'rip'), 403, 'remote_ip_blocks, another');
is(tcp(8088, "PROXY TCP4 127.0.0.3 127.0.0.1 1 2\r\n"), 'hello',
	'ip_blocks, PROXY protocol, stream');

like(raw("GET /off/../x HTTP/1.1\r\nHost: none.example.com\r\n", 8087,
	"PROXY TCP4 1.1.1.1 1.1.1.1 1 2\r\n"), qr/^HTTP\S+ 403 /, 'on');
like(raw("GET /off/./x HTTP/1.1\r\nHost: none.example.com\r\n", 8087,
	"PROXY TCP4 1.1.1.1 1.1.1.1 1 2\r\n"), qr!GET /off/\./x!,
	'off, path as it is');

# TCP: what it can't know leaves an allow rule out, and out of a deny rule

is(tcp(8084), 'hello', 'tcp');
is(tcp(8085), '', 'tcp, deny of http fields is wider');
is(tcp(8086), '', 'tcp, allow of http fields is none');

$t->stop();

my $log = $t->read_file('error.log');

like($log, qr/\[notice\].*egress audit: reason -, host "audit\.example\.com", port 80, principal "-", policy "audit\/0"/,
	'audit');
like($log, qr/\[warn\].*egress dry run: would be denied: reason authz_denied, host "dry\.example\.com", port 80, principal "-", policy "dry\/deny\/0"/,
	'dry run, deny');
is(scalar(() = $log =~ /egress audit/g), 1, 'audit of nothing else');
is(scalar(() = $log =~ /dry run/g), 1, 'dry run of nothing else');

###############################################################################

sub xff { return ('-H', "X-Forwarded-For: $_[0]"); }

sub role { return ('-H', "X-Role: $_[0]"); }

# over TLS, with this certificate and SNI

sub as {
	my ($name, $sni) = @_;

	my @args = ('--resolve', ($sni || 'localhost') . ':' . port(8083)
		. ':127.0.0.1', '--url', 'https://' . ($sni || 'localhost') . ':'
		. port(8083));

	push @args, '--cert', "$d/$name.crt", '--key', "$d/$name.key" if $name;

	return @args;
}

sub code {
	my ($host, $path, @args) = @_;

	$host .= '.example.com' unless $host =~ /\./;

	my $url = 'http://127.0.0.1:' . port(8080);

	for (my $i = 0; $i < @args; $i++) {
		next unless $args[$i] eq '--url';
		(undef, $url) = splice @args, $i, 2;
	}

	open my $fh, '-|', 'curl', '-sk', '--max-time', '10', '--path-as-is',
		'-o', '/dev/null', '-w', '%{http_code}', '-H', "Host: $host",
		@args, $url . $path or die "can't run curl: $!";

	local $/;

	return scalar <$fh>;
}

sub sends {
	my ($host, $path, $status, $sent) = @_;

	my $reply = raw("GET $path HTTP/1.1\r\nHost: $host.example.com\r\n");

	my ($code) = $reply =~ m!^HTTP/1.1 (\d+)!;
	my ($got) = $reply =~ /\r\n\r\n.*?GET ([^\r\n]*)/s;

	is(join(' ', $code, $code == 200 ? $got : ()),
		join(' ', $status, $sent || ()), "$host $path");
}

sub raw {
	my ($head, $port, $before) = @_;

	return http(($before || '') . "${head}Connection: close\r\n\r\n",
		port => $port || 8080) // '';
}

sub proxied {
	my ($from, $host) = @_;

	my $reply = raw("GET / HTTP/1.1\r\nHost: $host.example.com\r\n", 8087,
		"PROXY TCP4 $from 127.0.0.1 1 2\r\n");

	return $reply =~ m!^HTTP/1.1 (\d+)! ? $1 : '';
}

sub tcp {
	my ($port, $say) = @_;

	my $s = IO::Socket::INET->new(PeerAddr => '127.0.0.1:' . port($port))
		or return 'not connected';

	my $got = '';

	print $s $say if $say;

	while (IO::Select->new($s)->can_read(5)) {
		last unless sysread($s, $got, 100, length $got);
	}

	return $got;
}

###############################################################################
