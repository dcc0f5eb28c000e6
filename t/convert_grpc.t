#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egressctl convert: HTTP/2 and gRPC, from clients and to services.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx qw/ :DEFAULT egressctl /;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has(qw/ http_v2 /)->has_daemon('openssl')
	->has_daemon('curl');

my $d = $t->testdir();
my $ctl = egressctl();
my $r = Test::Nginx::repository();
my $new = $t->version() >= 1025001;
my $version = sprintf('%d.%d.%d', $t->version() / 1000000,
	$t->version() / 1000 % 1000, $t->version() % 1000);

my $http2 = $new ? 'http2 on;' : '';
my $listen = $new ? '' : 'http2';

$t->write_file('m.yaml', <<'EOF');
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: gw}
spec:
  selector: {istio: egressgateway}
  servers:
  - {port: {number: 80, name: grpc, protocol: GRPC}, hosts: ["*"]}
  - {port: {number: 443, name: https, protocol: HTTPS}, hosts: ["*"], tls: {mode: SIMPLE, serverCertificate: /etc/istio/gw.crt, privateKey: /etc/istio/gw.key}}
---
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: all}
spec:
  hosts: [grpc.test, tls.test, h1.test, up.test, dead.test]
  ports:
  - {number: 80, name: http, protocol: HTTP}
  - {number: 50051, name: grpc, protocol: GRPC}
  - {number: 443, name: tls, protocol: HTTPS}
  - {number: 8443, name: h2, protocol: HTTP2}
  resolution: DNS
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: tls}
spec:
  host: tls.test
  trafficPolicy:
    portLevelSettings:
    - port: {number: 443}
      tls: {mode: SIMPLE, caCertificates: /etc/istio/ca.crt, sni: s.test}
      connectionPool: {http: {h2UpgradePolicy: UPGRADE}}
    - port: {number: 8443}
      tls: {mode: SIMPLE, caCertificates: /etc/istio/ca.crt, sni: s.test}
---
apiVersion: networking.istio.io/v1
kind: DestinationRule
metadata: {name: up}
spec:
  host: up.test
  trafficPolicy: {connectionPool: {http: {h2UpgradePolicy: UPGRADE}}}
---
apiVersion: security.istio.io/v1
kind: AuthorizationPolicy
metadata: {name: no, namespace: istio-system}
spec:
  action: DENY
  rules: [{to: [{operation: {paths: ["/denied*"]}}]}]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: g}
spec:
  hosts: [grpc.test]
  gateways: [gw]
  http:
  - match: [{uri: {prefix: /abort}}]
    fault: {abort: {grpcStatus: UNAVAILABLE, percentage: {value: 100}}}
    headers: {response: {set: {x-answer: set}}}
    route: [{destination: {host: grpc.test, port: {number: 50051}}}]
  - match: [{uri: {prefix: /tls}}]
    route: [{destination: {host: tls.test, port: {number: 443}}}]
  - match: [{uri: {prefix: /h2tls}}]
    route: [{destination: {host: tls.test, port: {number: 8443}}}]
  - match: [{uri: {prefix: /h1}}]
    route: [{destination: {host: h1.test, port: {number: 80}}}]
  - match: [{uri: {prefix: /up}}]
    rewrite: {uri: /upgraded, authority: other.test}
    route: [{destination: {host: up.test, port: {number: 80}}}]
  - match: [{uri: {prefix: /mixed}}]
    route:
    - {destination: {host: up.test, port: {number: 80}}, weight: 34}
    - {destination: {host: h1.test, port: {number: 80}}, weight: 33}
    - {destination: {host: tls.test, port: {number: 443}}, weight: 33}
  - match: [{uri: {prefix: /mirror}}]
    mirrors: [{destination: {host: grpc.test, port: {number: 50051}}}]
    route: [{destination: {host: h1.test, port: {number: 80}}}]
  - match: [{uri: {prefix: /timeout}}]
    timeout: 300ms
    retries: {attempts: 0}
    route: [{destination: {host: dead.test, port: {number: 50051}}}]
  - headers:
      request: {set: {x-set: "%REQ(x-in)%"}, remove: [x-gone]}
      response: {set: {x-answer: set}, remove: [x-far]}
    route: [{destination: {host: grpc.test, port: {number: 50051}}}]
EOF

$t->ca('ca')->cert('ca', 'server', 'DNS:s.test')->cert('ca', 'gw',
	'DNS:grpc.test');

my ($h2c, $tls, $h1) = (port(8081), port(8082), port(8083));

my $conf = `$ctl convert -f $d/m.yaml --resolver 127.0.0.1 \\
	--nginx-version $version \\
	--listen 80=127.0.0.1:@{[ port(8080) ]} \\
	--listen 443=127.0.0.1:@{[ port(8085) ]} \\
	--path /etc/istio=$d \\
	--endpoint grpc.test=127.0.0.1:$h2c --endpoint up.test=127.0.0.1:$h2c \\
	--endpoint tls.test=127.0.0.1:$tls --endpoint h1.test=127.0.0.1:$h1 \\
	--endpoint dead.test=127.0.0.1:@{[ port(8084) ]} \\
	--proxy-conf $r/conf/egress_proxy.conf 2>$d/err`;

$t->plan(27);

is($?, 0, 'converted') or diag($t->read_file('err'));

my $globals = $t->globals() . "\ndaemon off;";
my $http = $t->globals_http();
$conf =~ s!^include  modules-enabled.*$!$globals!m;
$conf =~ s!^http \{$!http {\n$http!m;

# a trailer, as gRPC has it, and what came

my $far = <<"EOF";
%%FAR%%
    add_trailer  grpc-status 0;
    add_header   x-far secret;

    # with a Content-Length curl waits for no trailers

    gzip            on;
    gzip_min_length 0;
    gzip_types      *;

    log_format   far  "\$server_protocol|\$ssl_server_name|\$ssl_alpn_protocol|\$request_uri";
    client_max_body_size  0;

    server {
        listen      127.0.0.1:8081 $listen;
        $http2
        access_log  %%TESTDIR%%/h2c.log far;

        location / {
            default_type  application/grpc;
            return  200 "\$server_protocol \$request_method \$request_uri host=\$host set=\$http_x_set gone=\$http_x_gone te=\$http_te trace=\$http_traceparent\$http_x_forwarded_client_cert\\n";
        }

        location /big {
            proxy_pass  http://127.0.0.1:8083/big;
        }
    }

    server {
        listen               127.0.0.1:8082 ssl $listen;
        $http2
        access_log           %%TESTDIR%%/tls.log far;
        ssl_certificate      server.crt;
        ssl_certificate_key  server.key;
        return  200 "\$server_protocol tls\\n";
    }

    server {
        listen  127.0.0.1:8083;

        location / {
            return  200 "\$server_protocol h1\\n";
        }

        location /big {
            return  200 "\$content_length\\n";
        }
    }
%%NEAR%%
EOF

$conf =~ s/\}\n\z/$far}\n/;
$t->write_file_expand('nginx.conf', $conf);

# takes connections and says nothing

$t->run_daemon(sub {
	my $l = IO::Socket::INET->new(Listen => 5, LocalAddr => '127.0.0.1',
		LocalPort => port(8084), ReuseAddr => 1) or die;
	my @kept;
	push @kept, $_ while $_ = $l->accept();
});
$t->wait_for_port(port(8084));

$t->run();

###############################################################################

my $answer = curl('/a', '-H', 'x-in: in', '-H', 'x-gone: x', '-H',
	'te: trailers', '-H', 'traceparent: secret', '-H',
	'content-type: application/grpc', '--compressed', '-d', 'x');

like($answer, qr/^HTTP\/2.0 POST \/a host=grpc.test set=in gone= te=trailers trace=$/m,
	'gRPC, what arrives');
like($answer, qr/^grpc-status: 0\r$/m, 'trailers');
like($answer, qr/^x-answer: set\r$/m, 'header of the answer');
unlike($answer, qr/x-far/, 'and one removed');

like(curl('/tls'), qr/^HTTP\/2.0 tls$/m, 'upgraded, TLS');
like(curl('/h2tls'), qr/^HTTP\/2.0 tls$/m, 'HTTP/2, TLS');
is(join(' ', log_for('tls.log', qr/h2tls/)),
	'HTTP/2.0|s.test|h2|/tls HTTP/2.0|s.test|h2|/h2tls', 'SNI and ALPN');
like(curl('/h1'), qr/^HTTP\/1.1 h1$/m, 'HTTP/1.1 for whom it is for');
like(curl('/up/x'), qr/^HTTP\/2.0 GET \/upgraded\/x host=other.test /m,
	'upgraded, rewritten');

my %got;
$got{curl('/mixed') =~ /^HTTP\/\S+ (tls|h1|GET)/m ? $1 : '?'}++ for 1 .. 40;
is(join(' ', sort keys %got), 'GET h1 tls', 'destinations of each kind');

like(curl('/mirror/x'), qr/^HTTP\/1.1 h1$/m, 'mirror, the answer');
ok((grep { $_ eq 'HTTP/2.0|||/mirror/x' || $_ eq 'HTTP/2.0|-|-|/mirror/x' }
	log_for('h2c.log', qr/mirror/)), 'mirror, what it got');

like(curl('/timeout'), qr/^HTTP\/2 504 /m, 'timeout');

# refusals; a gRPC client takes 403 for PERMISSION_DENIED

like(curl('/denied/x'), qr/^HTTP\/2 403 .*RBAC/ms, 'denied');

$answer = curl('/abort', '-H', 'content-type: application/grpc+proto');
like($answer, qr/^HTTP\/2 200 .*^content-type: application\/grpc\r/ms,
	'abort with a status of gRPC');
like($answer, qr/^grpc-status: 14\r$/m, 'the status');
like($answer, qr/^x-answer: set\r$/m, 'abort, headers');
like(curl('/abort', '-H', 'content-type: application/grpc-web'),
	qr/^HTTP\/2 200 .*fault filter abort/ms, 'abort, no gRPC');

# a body of more than nginx's own limit

$t->write_file('body', 'x' x 1500000);
like(curl('/big', '-X', 'POST', '-H', 'expect:', '--data-binary',
	"\@$d/body"), qr/^1500000$/m, 'a long body');

# within TLS, where ALPN tells

like(tls('--http2'), qr/^HTTP\/2 200 .*^HTTP\/2.0 GET/ms, 'clients with TLS');
like(tls('--http1.1'), qr/^HTTP\/1.1 200 .*^HTTP\/2.0 GET/ms,
	'and HTTP/1.1');

# another Host then: no files of nginx's own

mkdir "$d/html";
$t->write_file('html/index.html', 'a file');
like(tls('--http1.1', '-H', 'Host: other.test'), qr/^HTTP\/1.1 404 /,
	'a Host that is not there');

SKIP: {
	skip 'nginx before 1.25.1', 1 unless $new;

	like(`curl -s -m 10 -i --http1.1 -H 'Host: grpc.test' http://127.0.0.1:@{[ port(8080) ]}/a`,
		qr/^HTTP\/1.1 200 /, 'HTTP/1.1 in the same port');
}

# what is said of it

is($t->read_file('err') =~ /takes no HTTP\/1.1 in port 80,/ ? 1 : 0,
	$new ? 0 : 1, 'what clients an older nginx takes');

$t->write_file('old.yaml', $t->read_file('m.yaml')
	=~ s/number: 80, name: grpc, protocol: GRPC/number: 80, name: a, protocol: HTTP/r);
like(`$ctl convert -f $d/old.yaml --path /etc/istio=$d --resolver 127.0.0.1 2>&1 >/dev/null`,
	qr/gRPC needs HTTP\/2 from its clients/, 'gRPC through HTTP');

my $text = `$ctl convert -f $d/old.yaml --path /etc/istio=$d --resolver 127.0.0.1 --nginx-version 1.25.1 2>&1`;
unlike($text, qr/gRPC needs|listen +80 http2/, 'a newer nginx needs no port');

###############################################################################

sub curl {
	my ($uri, @args) = @_;

	return run('curl', '-s', '-m', '10', '-i', '--http2-prior-knowledge',
		'-H', 'Host: grpc.test', @args,
		'http://127.0.0.1:' . port(8080) . $uri);
}

sub tls {
	my ($protocol, @args) = @_;

	return run('curl', '-s', '-m', '10', '-i', '-k', $protocol, '--resolve',
		'grpc.test:' . port(8085) . ':127.0.0.1', @args,
		'https://grpc.test:' . port(8085) . (@args ? '/' : '/a'));
}

sub run {
	open my $fh, '-|', @_ or return '';
	local $/;

	return scalar(<$fh>) // '';
}

# lines of a log, as soon as there is one that matches

sub log_for {
	my ($name, $re) = @_;

	for (1 .. 100) {
		my @lines = split(/\n/, $t->read_file($name));
		return @lines if grep { /$re/ } @lines;
		select(undef, undef, undef, 0.05);
	}

	return ();
}

###############################################################################
