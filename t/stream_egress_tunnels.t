#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for max_connections: tunnels at once, given back on every way out.

###############################################################################

use warnings;
use strict;

use JSON::PP;
use Socket qw/ SOL_SOCKET SO_LINGER /;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# TEST_EGRESS_ABORTS=1000000 takes a few minutes

my $aborts = $ENV{TEST_EGRESS_ABORTS} || 3000;

my $t = Test::Nginx->new()->expect(qr/exited on signal 9/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;

worker_processes 3;

events {
}

egress {
    zone  2m;

    service db {
        host db.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8090%%;
    }

    service dead {
        host dead.example.com;  port 5432 tcp;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8099%%;
    }

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8090%%;
    }

    bucket tunnels  { max_connections 3; }
    bucket plain    { max_connections 2; }
    bucket tokens   { max_connections 2; tokens 4; interval 1000s; }
    bucket none     { tokens 1; interval 1000s; }
    bucket back     { max_connections 5; }
    bucket dead     { max_connections 2; }
}

stream {
    %%TEST_GLOBALS_STREAM%%

    upstream egress {
        egress_balance;
    }

    egress          on;
    egress_port     5432;
    egress_preread  off;

    server {
        listen            127.0.0.1:8080;
        egress_service    db;
        listen            127.0.0.1:8081;
        egress_ratelimit  bucket=tunnels  key=$server_port;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8082;
        egress_service    db;
        egress_ratelimit  bucket=plain;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8083;
        egress_service    db;
        egress_ratelimit  bucket=tokens;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8084;
        egress_service    db;
        egress_ratelimit  bucket=back;
        egress_ratelimit  bucket=none;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8085;
        egress_service    dead;
        egress_ratelimit  bucket=dead;
        proxy_pass        egress;
    }

    server {
        listen            127.0.0.1:8086;
        egress_service    db;
        egress_ratelimit  bucket=tunnels  key=many;
        proxy_pass        egress;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen            127.0.0.1:8087;
        egress            on;
        egress_port       80;

        location / {
            egress_ratelimit  bucket=plain;
            proxy_pass        http://egress;
        }
    }

    server {
        listen  127.0.0.1:8088;

        location / {
            egress_status;
        }
    }
}

EOF

$t->run_daemon(\&echo_daemon);
$t->wait_for_port(port(8090));
$t->run()->plan(33);

###############################################################################

# three for each key

my @s = map { tunnel(8080) } 1 .. 3;

is(join(' ', map { $_ ? 'open' : '-' } @s), 'open open open', 'three');
is(tunnel(8080), undef, 'not a fourth');
is(status('tunnels')->{connections}, 3, 'counted');

my @other = map { tunnel(8081) } 1 .. 3;

is(scalar(grep { $_ } @other), 3, 'another key');

# closed by the client, by a reset, by the service

close shift @s;
ok(push(@s, again(8080)) && $s[-1], 'closed');
abort(shift @s);
ok(push(@s, again(8080)) && $s[-1], 'reset');
$s[0]->syswrite("quit\n");
ok($s[0] = again(8080), 'closed by the service');
is(tunnel(8080), undef, 'still not a fourth');

# the same bucket in http; one who is refused has nothing to give back

my @two = (tunnel(8082), tunnel(8082));

like(http_get('/', host => 'api.example.com', port => 8087), qr/ 429 /,
	'http, limited by tunnels');
is(tunnel(8082), undef, 'tunnel, limited');
close shift @two;
gone('plain', 1);
like(http_get('/', host => 'api.example.com', port => 8087), qr/ 200 /,
	'http, one was closed');
is(status('plain')->{connections}, 1, 'request is over');

# with tokens as well: one who gets no tunnel pays no token

my @t = (tunnel(8083), tunnel(8083));

is(tunnel(8083), undef, 'no tunnel');
is(status('tokens')->{remaining}, 2, 'no token paid');
close shift @t;
ok(again(8083), 'tunnel and token');
is(status('tokens')->{remaining}, 1, 'token paid');

# what another bucket refuses is given back

close tunnel(8084);
is(tunnel(8084), undef, 'no token');
is(gone('back', 0), 0, 'given back');

# what could not be connected

is(join(' ', map { tunnel(8085) ? 'open' : '-' } 1 .. 10),
	join(' ', ('-') x 10), 'dead');
is(gone('dead', 0), 0, 'dead, given back');
is(status('dead')->{limited}, 0, 'dead, not limited');

# T-RTL-04: many aborts, at any moment

foreach (1 .. $aborts) {
	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8086)) or next;
	$s->syswrite('x') if $_ % 3;
	select undef, undef, undef, 0.001 if $_ % 3 == 2;
	abort($s);
}

close $_ foreach grep { $_ } @s, @other;

is(gone('tunnels', 0), 0, "none left of $aborts aborts");

# a reload: what old workers have counts

@s = (tunnel(8080), tunnel(8080));

$t->reload();

ok(push(@s, tunnel(8080)) && $s[-1], 'reload, the third');
is(tunnel(8080), undef, 'reload, not a fourth');
abort(shift @s);
ok(again(8080), 'reload, one less');
close $_ foreach @s;
is(gone('tunnels', 0), 0, 'reload, none left');

# workers that are killed

@s = (tunnel(8080), tunnel(8080), tunnel(8080));
is(scalar(grep { $_ } @s), 3, 'before the kill');

kill 'KILL', workers();
select undef, undef, undef, 0.5;

@s = (again(8080), again(8080), again(8080));
is(scalar(grep { $_ } @s), 3, 'killed, three again');
is(tunnel(8080), undef, 'killed, not a fourth');
is(status('tunnels')->{connections}, 3, 'killed, counted');
close $_ foreach @s;
is(gone('tunnels', 0), 0, 'killed, none left');

# and whose places no new worker takes

@s = map { (tunnel(8080), tunnel(8081), tunnel(8086)) } 1 .. 3;
is(scalar(grep { $_ } @s), 9, 'nine of three workers');

$t->write_file('nginx.conf', $t->read_file('nginx.conf')
	=~ s/worker_processes 3/worker_processes 1/r);
my @old = workers();
$t->reload();
kill 'KILL', @old;
select undef, undef, undef, 0.3;

@s = map { (tunnel(8080), tunnel(8081), tunnel(8086)) } 1 .. 3;
is(scalar(grep { $_ } @s), 9, 'nine of one worker');

###############################################################################

# a tunnel to the echo service, or undef if it was refused

sub tunnel {
	my ($port) = @_;

	my $s = IO::Socket::INET->new('127.0.0.1:' . port($port)) or return;

	$s->syswrite("x\n");

	my $rin = '';
	vec($rin, fileno($s), 1) = 1;
	select($rin, undef, undef, 3) or return;

	my $n = $s->sysread(my $buf, 2);

	return $n ? $s : undef;
}

# as soon as the workers know what has been closed

sub again {
	my ($port) = @_;

	for (1 .. 50) {
		my $s = tunnel($port);
		return $s if $s;
		select undef, undef, undef, 0.02;
	}

	return;
}

sub abort {
	my ($s) = @_;

	setsockopt($s, SOL_SOCKET, SO_LINGER, pack('ii', 1, 0));
	close $s;
}

sub gone {
	my ($bucket, $n) = @_;

	my $connections;

	for (1 .. 100) {
		$connections = status($bucket)->{connections};
		last if $connections == $n;
		select undef, undef, undef, 0.05;
	}

	return $connections;
}

sub status {
	my ($bucket) = @_;

	my ($json) = http_get('/?what=buckets', port => 8088)
		=~ /\x0d\x0a\x0d\x0a(.*)$/s;

	return (grep { $_->{name} eq $bucket }
		@{decode_json($json)->{buckets}})[0];
}

sub workers {
	my $master = $t->read_file('nginx.pid');
	chomp $master;

	open my $fh, '<', "/proc/$master/task/$master/children" or die;
	local $/;

	return split ' ', <$fh>;
}

# echoes lines, ends at "quit", speaks http if asked for

sub echo_daemon {
	my $server = IO::Socket::INET->new(
		Proto => 'tcp',
		LocalAddr => '127.0.0.1:' . port(8090),
		Listen => 128,
		Reuse => 1
	) or die "can't create listening socket: $!\n";

	my $rin = '';
	my %clients;

	vec($rin, fileno($server), 1) = 1;

	while (1) {
		select(my $rout = $rin, undef, undef, undef) or next;

		if (vec($rout, fileno($server), 1)) {
			my $c = $server->accept() or next;
			$clients{fileno($c)} = $c;
			vec($rin, fileno($c), 1) = 1;
		}

		foreach my $fd (keys %clients) {
			next unless vec($rout, $fd, 1);

			my $n = $clients{$fd}->sysread(my $buf, 4096);

			local $SIG{PIPE} = 'IGNORE';

			if ($n && $buf =~ /^GET/) {
				$clients{$fd}->syswrite("HTTP/1.0 200 OK\r\n\r\nok");
				$n = 0;
			}

			if (!$n || $buf =~ /quit/) {
				vec($rin, $fd, 1) = 0;
				close(delete $clients{$fd});
				next;
			}

			$clients{$fd}->syswrite($buf);
		}
	}
}

###############################################################################
