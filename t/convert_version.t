#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for the version of a configuration: what egressctl wrote for an older
# or newer module is refused, at the start and at a reload, and nothing of it
# is applied (T-AUZ-09).

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

my $t = Test::Nginx->new()->expect(qr/made for version/, qr/unknown directive/);
my $d = $t->testdir();
my $r = Test::Nginx::repository();

$t->write_file('in.yaml', <<'EOF');
apiVersion: networking.istio.io/v1
kind: ServiceEntry
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  ports: [{number: 80, name: http, protocol: HTTP}]
  resolution: STATIC
  endpoints: [{address: 127.0.0.1}]
---
apiVersion: networking.istio.io/v1
kind: Gateway
metadata: {name: g, namespace: default}
spec:
  selector: {istio: egressgateway}
  servers:
  - port: {number: 80, name: http, protocol: HTTP}
    hosts: [a.example.com]
---
apiVersion: networking.istio.io/v1
kind: VirtualService
metadata: {name: a, namespace: default}
spec:
  hosts: [a.example.com]
  gateways: [g]
  http: [{route: [{destination: {host: a.example.com, port: {number: 80}}}]}]
EOF

my $out = `@{[ egressctl() ]} convert -f $d/in.yaml --resolver 127.0.0.1 --listen 80=127.0.0.1:@{[ port(8080) ]} --endpoint a.example.com=127.0.0.1:@{[ port(8081) ]} --proxy-conf $r/conf/egress_proxy.conf --access-log $d/access.log 2>$d/err`;

my $modules = join "\n", 'daemon off;', $t->load_modules();

# by another egressctl: with a version of its own, and what only it knows

sub by {
	my ($version, $more) = @_;

	my $conf = $out;

	$conf =~ s!^include  modules-enabled.*$!$modules\npid $d/nginx.pid;\nerror_log $d/error.log info;!m;
	$conf =~ s!^    version +1;\n!    $version\n!m or die "no version\n";
	$conf =~ s!^(    zone .*\n)!$1    $more\n!m if $more;
	$conf =~ s!^http \{\n!"http {\n" . $t->globals_http()!me;

	return $t->write_file('nginx.conf', $conf);
}

###############################################################################

$t->plan(13);

like($out, qr/^egress \{\n    version +1;\n/m, 'first directive of all');

by('version 1;');
my ($status, $text) = $t->test_config();
is($status, 0, 'same version') or diag($text);

foreach my $n (2, 99) {
	by("version $n;", 'something_new on;');
	($status, $text) = $t->test_config();
	isnt($status, 0, "version $n, refused");
	like($text, qr/made for version $n of the egress directives, this module has version 1: convert it .* in .*nginx.conf:\d+/,
		"version $n, says so, not what it does not know");
}

by('version 0;');
like(($t->test_config())[1], qr/invalid value "0"/, 'invalid version');

by('versionn 1;');
isnt(($t->test_config())[0], 0, 'a module that knows no versions');

# at a reload the one that was there goes on, whole

my $far = sub {
	my $s = IO::Socket::INET->new(Proto => 'tcp', Listen => 5,
		LocalAddr => '127.0.0.1:' . port(8081), ReuseAddr => 1) or die;

	while (my $c = $s->accept()) {
		sysread($c, my $buf, 4096);
		syswrite($c, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok");
	}
};

$t->run_daemon($far)->wait_for_port(port(8081));

by('version 1;');
$t->run();
like(http_get('/', host => 'a.example.com'), qr/ 200 .*ok$/s, 'allowed');

my $deny = 'policy all { action deny; rule { } }';

by('version 2;', $deny);
kill 'HUP', $t->{pid};

for (1 .. 100) {
	last if $t->read_file('error.log') =~ /made for version 2/;
	select undef, undef, undef, 0.05;
}

like($t->read_file('error.log'), qr/\[emerg\].*made for version 2/,
	'reload, refused');
like(http_get('/', host => 'a.example.com'), qr/ 200 .*ok$/s,
	'reload, the last good one goes on');

by('version 1;', $deny);
$t->reload();
like(http_get('/', host => 'a.example.com'), qr/ 403 /,
	'reload, the same with its version is applied');

# the same text in "explain -c"

by('version 2;');
like(`@{[ egressctl() ]} explain -c $d/nginx.conf --nginx @{[ Test::Nginx::binary() ]} --host a.example.com --port 80 2>&1`,
	qr/made for version 2/, 'explain, refused');

###############################################################################
