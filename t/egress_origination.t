#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for TLS origination beyond egress_tls.t: which name is said and
# verified, how names and chains may look, files that are not what they should
# be, several endpoints, and certificates that a reload changes.

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

# nginx logs a failed verification as [crit]

my $t = Test::Nginx->new()->has_daemon('openssl')
	->expect(qr/SSL_do_handshake\(\) failed/, qr/is refused: cannot load/);

my $d = $t->testdir();

# server certificates: names in the certificate, the one that is asked for,
# 1 if they go together

my @names = (
	[ 'DNS:*.n.test', 'a.n.test', 1 ],
	[ 'DNS:*.n.test', 'n.test', 0 ],
	[ 'DNS:*.n.test', 'a.b.n.test', 0 ],
	[ 'DNS:a*.n.test', 'ab.n.test', 0 ],
	[ 'DNS:A.N.test', 'a.n.TEST', 1 ],
	[ 'DNS:a.n.test.', 'a.n.test', 0 ],
	[ 'DNS:xa.n.test', 'a.n.test', 0 ],
	[ 'DNS:a.n.testx', 'a.n.test', 0 ],
	[ 'URI:https://a.n.test', 'a.n.test', 0 ],
	[ 'email:x@a.n.test', 'a.n.test', 0 ],
	[ '', 'cn', 0 ],
	[ 'DNS:127.0.0.1', '127.0.0.1', 0 ],
	[ 'IP:127.0.0.1', '127.0.0.1', 1 ],
	[ 'IP:127.0.0.2', '127.0.0.1', 0 ],
	[ 'DNS:*', 'test', 0 ],
	[ 'DNS:b.test,DNS:a.n.test', 'a.n.test', 1 ],
);

my ($services, $locations, $servers) = ('', '', '');
my $i = 0;

$t->ca('ca');

foreach my $name (@names) {
	my ($san, $host) = @$name;
	my $port = 8010 + $i;
	my $file = $san eq '' ? 'cn' : "name$i";

	$t->cert('ca', $file, $san);

	service("name$i", $port, "host $host;",
		'tls simple; tls_trusted_certificate ca.crt;');
	server($port, $file);

	$i++;
}

# the chain

$t->ca('root')->cert('root', 'inter', '', extensions =>
	"keyUsage=keyCertSign,cRLSign\nsubjectKeyIdentifier=hash\n");

# a CA below root; "cert" makes only leaves

$t->write_file('inter.ext', "basicConstraints=CA:TRUE\n");
system("openssl x509 -req -days 2 -in $d/inter.csr -CA $d/root.crt "
	. "-CAkey $d/root.key -CAcreateserial -extfile $d/inter.ext "
	. "-out $d/inter.crt >/dev/null 2>&1") and die;

$t->cert('inter', 'leaf', 'DNS:s.test')->cert('leaf', 'under', 'DNS:s.test')
	->cert('ca', 'good', 'DNS:s.test')->cert(undef, 'self', 'DNS:s.test')
	->cert('inter', 'inclient', 'DNS:client')
	->cert('ca', 'client', 'DNS:client')
	->cert('ca', 'usage', 'DNS:s.test',
		extensions => "extendedKeyUsage=clientAuth\n");

$t->write_file('chain.crt', $t->read_file('leaf.crt')
	. $t->read_file('inter.crt'));
$t->write_file('under-chain.crt', $t->read_file('under.crt')
	. $t->read_file('leaf.crt') . $t->read_file('inter.crt'));
$t->write_file('under-chain.key', $t->read_file('under.key'));
$t->write_file('chain.key', $t->read_file('leaf.key'));
$t->write_file('inclient-chain.crt', $t->read_file('inclient.crt')
	. $t->read_file('inter.crt'));
$t->write_file('trust.crt', $t->read_file('ca.crt'));
$t->write_file('empty.crt', '');
$t->write_file('noise.crt', 'no certificate');

# a certificate that is not valid yet

$t->write_file('ca.conf', <<'CONF');
[ca]
default_ca = c
[c]
database = index.txt
new_certs_dir = .
default_md = sha256
rand_serial = yes
policy = p
x509_extensions = e
[p]
commonName = supplied
[e]
subjectAltName = DNS:s.test
CONF

$t->write_file('index.txt', '');
system("cd $d && openssl ca -batch -notext -config ca.conf -cert ca.crt "
	. "-keyfile ca.key -in good.csr -out future.crt "
	. '-startdate 20980101000000Z -enddate 20990101000000Z >/dev/null 2>&1')
	and die "can't make a certificate of the future";
$t->write_file('future.key', $t->read_file('good.key'));

my %port = (good => 8040, leaf => 8041, chain => 8042, 'under-chain' => 8043,
	future => 8044, self => 8045, usage => 8046);

server($port{$_}, $_) foreach sort keys %port;

# what asks for a client's certificate

server(8050, 'good', "ssl_verify_client on;\n"
	. "        ssl_client_certificate ca.crt;");
server(8051, 'good', "ssl_verify_client on;\n        ssl_verify_depth 2;\n"
	. "        ssl_client_certificate root.crt;");
server(8052, 'chain', "ssl_verify_client on; ssl_protocols TLSv1.2;\n"
	. "        ssl_client_certificate ca.crt;");

my $s = 'tls simple; tls_trusted_certificate';
my $m = 'tls mutual; tls_trusted_certificate';
my $c = 'tls_certificate client.crt; tls_certificate_key client.key;';

service('chain', 8042, '', "$s root.crt; keepalive 0;");
service('san', 8042, '', "$s root.crt; tls_san x.test;");
service('leaf', 8041, '', "$s root.crt;");
service('under', 8043, '', "$s root.crt;");
service('future', 8044, '', "$s ca.crt;");
service('self', 8045, '', "$s self.crt;");
service('usage', 8046, '', "$s ca.crt;");
service('unverified', 8044, '', 'tls simple; tls_verify off;');
service('mutual', 8050, '', "$m ca.crt; $c");
service('nocert', 8050, '', "$s ca.crt;");
service('wrongcert', 8051, '', "$m ca.crt; $c");
service('inclient', 8051, '', "$m ca.crt; tls_certificate "
	. 'inclient-chain.crt; tls_certificate_key inclient.key;');
service('one', 8050, '', "$s ca.crt;");
service('moving', 8040, '', "$s trust.crt;");

# broken, and only that one

my %broken = (
	otherkey => "$m ca.crt; tls_certificate client.crt; "
		. 'tls_certificate_key good.key;',
	empty => "$m ca.crt; tls_certificate empty.crt; "
		. 'tls_certificate_key client.key;',
	noise => "$s noise.crt;",
	emptyca => "$s empty.crt;",
	directory => "$s .;",
	cert => "$s ca.crt; tls_certificate client.crt;",
	crl => "$s ca.crt; tls_crl noise.crt;",
);

service("broken-$_", 8040, '', $broken{$_}) foreach sort keys %broken;

# a wildcard: the name that the client asked for is said and verified

$services .= "    service wild { host *.n.test; port 80 https; "
	. "endpoint 127.0.0.1 port=%%PORT_8010%%; "
	. "$s ca.crt; }\n"
	. "    service retry { lookup off; host s.test; port 80 https; "
	. "endpoint 127.0.0.1 port=%%PORT_8044%%; "
	. "endpoint 127.0.0.1 port=%%PORT_8040%%; "
	. "endpoint 127.0.0.1 port=%%PORT_8060%%; $s ca.crt; }\n";
$locations .= "        location /retry { egress_service retry; "
	. "proxy_pass http://egress; }\n";

write_conf();

$t->run()->plan(@names + keys(%broken) + 28);

###############################################################################

# T-CRT-12, T-CRT-13: who was not verified has got no request

my $log = requests();

$i = 0;

foreach my $name (@names) {
	like(get('name' . $i++), $name->[2] ? qr/ 200 / : qr/ 503 .*tls_failed/s,
		"'$name->[0]' for '$name->[1]'");
}

is(requests() - $log, scalar(grep { $_->[2] } @names),
	'no request to who was not verified');

like(get('chain'), qr/ 200 /, 'chain');
like(get('leaf'), qr/ 503 .*tls_failed/s, 'chain without its middle');
like(get('under'), qr/ 503 .*tls_failed/s, 'leaf that signs');
like(get('future'), qr/ 503 .*tls_failed/s, 'not valid yet');
like(get('usage'), qr/ 503 .*tls_failed/s, 'not for servers');
like(get('self'), qr/ 200 /, 'self-signed, trusted');
like(get('unverified'), qr/ 200 /, 'not valid yet, verify off');

like(get('mutual'), qr/ 200 .*CN=client /s, 'mutual');
like(get('inclient'), qr/ 200 .*CN=inclient /s, 'mutual, chain');
like(get('nocert'), qr/ 400 .*No required SSL certificate/s,
	'their answer to no certificate');
like(get('wrongcert'), qr/ 400 .*SSL certificate error/s,
	'their answer to a wrong one');

# T-CRT: what is broken is refused alone

foreach my $name (sort keys %broken) {
	like(get("broken-$name"), qr/ 503 .*service_broken/s, "broken, $name");
}

is(join(' ', map { get('retry') =~ / (\d+)/ } 1 .. 9),
	join(' ', (200) x 9), 'next endpoint');

like(get('', 'a.n.test'), qr/ 200 .*sni=a.n.test/s, 'wildcard');
like(get('', 'b.n.test'), qr/ 200 .*sni=b.n.test/s, 'wildcard, other name');
like(get('', 'a.b.n.test'), qr/ 503 .*tls_failed/s, 'wildcard, two labels');

# no service uses the certificate, or the session, of another

like(get('mutual'), qr/CN=client /, 'mutual again');
like(get('one'), qr/ 400 /, 'not for another service');

# a session that was resumed would not be verified

get('chain') for 1 .. 2;
requests();
like($t->read_file('far.log'), qr/^r -\n\z/m, 'session of the same service');
like(get('san'), qr/ 503 .*tls_failed/s, 'no session of another');

# who has got a request: 200 and 400 only

$t->cert('ca', 'client', 'DNS:client');
system("cp $d/inclient.crt $d/client.crt; cp $d/inclient.key $d/client.key");
like(get('mutual'), qr/ 200 .*CN=client /s, 'files changed, no reload');
like(get('moving'), qr/ 200 /, 'CA');
reload();
like(get('mutual'), qr/ 400 .*SSL certificate error/s,
	'files changed, reload');

$t->write_file('trust.crt', $t->read_file('root.crt'));
reload();
like(get('moving'), qr/ 503 .*tls_failed/s, 'CA changed');

# a broken file in a reload refuses the service, and strict the reload

$t->write_file('trust.crt', 'noise');
reload();
like(get('moving'), qr/ 503 .*service_broken/s, 'CA broken');
like(get('chain'), qr/ 200 /, 'CA broken, another service');

write_conf('strict on;');
my ($status, $out) = $t->test_config();
ok($status && $out =~ /service "\S+" is refused: .* in \S+nginx.conf:\d+/,
	'strict') or diag($out);

$t->expect(qr/service "\S+" is refused/);
kill 'HUP', $t->{pid};
select undef, undef, undef, 0.2;
like(get('chain'), qr/ 200 /, 'strict, the old configuration stays');

###############################################################################

# old workers go a moment after new ones have come

sub reload {
	$t->reload();
	select undef, undef, undef, 0.2;
}

sub requests {
	select undef, undef, undef, 0.1;

	return scalar(() = $t->read_file('far.log') =~ /\n/g);
}

sub get {
	my ($name, $host) = @_;

	return http_get("/$name", host => $host) || '';
}

sub service {
	my ($name, $port, $host, $tls) = @_;

	$host ||= 'host s.test;';

	if ($host =~ /127/) {
		$host = 'host s.test; tls_san 127.0.0.1;';
	}

	$services .= "    service $name { lookup off; $host port 80 https; "
		. "endpoint 127.0.0.1 port=%%PORT_$port%%; $tls }\n";
	$locations .= "        location /$name { egress_service $name; "
		. "proxy_pass http://egress; }\n";
}

sub server {
	my ($port, $name, $more) = @_;

	$more ||= '';

	$servers .= "    server {\n        listen 127.0.0.1:$port ssl;\n"
		. "        access_log %%TESTDIR%%/far.log far;\n"
		. "        ssl_certificate $name.crt;\n"
		. "        ssl_certificate_key $name.key;\n        $more\n"
		. '        return 200 "sni=$ssl_server_name $ssl_client_s_dn ";'
		. "\n    }\n";
}

sub write_conf {
	my $strict = $_[0] || '';

	$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    egress_reason_header  on;

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  80;

        location / {
            proxy_pass  http://egress;
        }

$locations
    }

    map \$ssl_client_s_dn \$dn { default \$ssl_client_s_dn; "" -; }
    log_format  far  "\$ssl_session_reused \$dn";
    ssl_session_cache  shared:far:1m;

$servers
}

egress {
    zone  1m;
    $strict

$services
}

EOF
}

###############################################################################
