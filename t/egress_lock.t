#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for a worker that dies with a lock of the shared zone, in the middle
# of what the lock is for: with a debugger, which is the only way to be sure.

###############################################################################

use warnings;
use strict;

use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use IO::Select;
use IO::Socket::INET;
use POSIX qw/ :sys_wait_h /;
use Time::HiRes qw/ sleep /;

use lib 'lib';
use Test::Nginx;
use Test::Nginx::DNS;
use Test::Nginx::Dialled;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

# where: a share is locked in all of these, the zone's mutex in some

my @places = qw/ ngx_egress_hold_give ngx_egress_state_alloc
	ngx_egress_lookup_store ngx_egress_name_evict /;

my $t = Test::Nginx->new()->has_daemon('gdb')
	->expect(qr/exited on signal 9/, qr/"ngx_egress" was locked by \d+$/)
	->write_file_expand('nginx.conf', <<'EOF');

%%TEST_GLOBALS%%

daemon off;
worker_processes 2;

events {
}

egress {
    zone              1m dns=4;
    resolver          127.0.0.1:8053 ipv6=off;
    resolver_timeout  2s;
    dns_ttl           max=1s;
    allow_address     127.0.1.0/24;

    service limited {
        host             limited.example.com;
        port             80 http target=%%PORT_8081%%;
        endpoint         127.0.1.1;
        keepalive        0;
        max_connections  3;
        max_pending      0;
    }

    service names {
        host       names.example.com;
        port       80 http target=%%PORT_8081%%;
        keepalive  0;
    }

    service wild {
        host        *.wild.example.com;
        port        80 http target=%%PORT_8081%%;
        resolution  dynamic;
    }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress {
        egress_balance;
    }

    server {
        listen       127.0.0.1:8080 reuseport;
        egress       on;
        egress_port  80;

        location / {
            proxy_pass  http://egress;
        }
    }
}

EOF

Test::Nginx::DNS::set($t, "$_.wild.example.com", 'A 127.0.1.1') for 'a' .. 'j';

Test::Nginx::DNS::start($t, 8053);
Test::Nginx::Dialled::start($t, 8081);

$t->run()->plan(4 * @places + 1);

###############################################################################

my $n = 0;
my $dead = 0;

foreach my $place (@places) {

	# who holds it dies; the other one has to go on

	my $pid = debug((Test::Nginx::Dialled::workers($t))[0], $place);

	for (1 .. 200) {
		traffic();
		last if waitpid($pid, WNOHANG) == $pid;
		sleep 0.02;
	}

	# the master says so a moment later

	my @killed;

	for (1 .. 100) {
		@killed = $t->read_file('error.log') =~ /exited on signal 9/g;
		last if @killed > $dead;
		sleep 0.02;
	}

	is(scalar @killed, ++$dead, "$place, killed")
		or diag($t->read_file("gdb.$place"));

	kill 'KILL', $pid if @killed < $dead;
	$dead = @killed;

	sleep 0.3;

	is(at_once(5), 3, "$place, limits");
	like(Test::Nginx::Dialled::get(8080, 'names.example.com'), qr/^127/,
		"$place, names");
	is(Test::Nginx::Dialled::get(8080, 'a.wild.example.com'), '127.0.1.1',
		"$place, names asked for");
}

my @others = $t->read_file('error.log') =~ /exited on signal (?!9)\d+/g;

is(@others, 0, 'no crash');

###############################################################################

# adds, removes, takes and gives back

sub traffic {
	$n++;

	Test::Nginx::DNS::set($t, 'names.example.com',
		'A 127.0.1.' . ($n % 200 + 1) . ' ttl=0');

	my @s = map { begin($_) } 'limited', 'names',
		map { chr(97 + ($n * 3 + $_) % 10) . '.wild' } 1 .. 3;

	my $select = IO::Select->new(@s);

	while ($select->count()) {
		my @ready = $select->can_read(0.3) or last;

		foreach my $s (@ready) {
			sysread($s, my $buf, 4096) and next;
			$select->remove($s);
		}
	}
}

sub begin {
	my ($name, $uri) = @_;

	$uri ||= '/';

	my $s = IO::Socket::INET->new('127.0.0.1:' . port(8080))
		or die "can't connect: $!\n";

	$s->syswrite("GET $uri HTTP/1.0\r\nHost: $name.example.com\r\n\r\n");

	return $s;
}

# how many of n are served

sub at_once {
	my ($n) = @_;

	my @s = map { begin('limited', '/slow?500') } 1 .. $n;
	my @got = map { local $/; my $s = $_; <$s> } @s;

	return scalar grep { defined && / 200 OK/ } @got;
}

sub debug {
	my ($pid, $place) = @_;

	my $d = $t->testdir();
	my $child = fork();

	die "can't fork: $!\n" unless defined $child;

	if ($child == 0) {
		$t->{child} = 1;
		open STDIN, '<', '/dev/null';
		open STDOUT, '>', "$d/gdb.$place";
		open STDERR, '>&', \*STDOUT;
		exec('gdb', '-nx', '-batch', '-iex', 'set auto-solib-add off',
			'-iex', 'set debuginfod enabled off', '-p', $pid,
			'-ex', 'sharedlibrary ngx_egress_module',
			'-ex', 'set breakpoint pending off',
			'-ex', "break $place", '-ex', 'continue', '-ex', 'kill')
			or POSIX::_exit(1);
	}

	# until it is there, and goes on

	for (1 .. 200) {
		open my $fh, '<', "/proc/$pid/status" or last;
		my $status = join '', <$fh>;
		close($fh);

		last if $status =~ /^State:\s+[SR]/m
			&& $status =~ /^TracerPid:\s+[1-9]/m;
		sleep 0.05;
	}

	return $child;
}

###############################################################################
