#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit: quotas by the calendar, and their state files.

###############################################################################

use warnings;
use strict;

use JSON::PP;
use POSIX qw/ mktime tzset /;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

plan(skip_all => 'no time zones are installed')
	unless -f '/usr/share/zoneinfo/Asia/Tokyo';

my $t = Test::Nginx->new();
my $d = $t->testdir();

chmod 0777, $d;

write_conf('zone Asia/Tokyo;');

$t->run()->plan(37);

###############################################################################

is(codes('/day', 4), '200 200 200 429', 'day');
is(codes('/month', 3), '200 200 429', 'month');
is(codes('/keyed?k=1', 3), '200 200 429', 'key');
is(codes('/keyed?k=2', 1), '200', 'another key');
is(codes('/keyed?k=' . 'x' x 100, 1), '200', 'long key');
is(codes('/back', 2), '429 429', 'refused by another');
is(status('given')->{remaining}, 5, 'given back');

my $day = until_end(0);
my ($after) = get('/day') =~ /^retry-after: (\d+)\x0d$/m;

# midnight in Tokyo, with a second or two between the clocks

cmp_ok(abs($after - $day), '<=', 2, 'end of the day');
like(get('/day'), qr/^x-ratelimit-remaining: 0\x0d$/m, 'remaining');

my ($reset) = get('/month') =~ /^x-ratelimit-reset: (\d+)\x0d$/m;
cmp_ok(abs($reset - until_end(1)), '<=', 2, 'end of the month');

# over a reload, also with more or fewer tokens

$t->reload();
is(codes('/day', 1), '429', 'reload');

write_conf('zone Asia/Tokyo;', 5);
$t->reload();
select undef, undef, undef, 0.5;
is(codes('/day', 3), '200 200 429', 'reload, more tokens');

# the file is there within seconds, whole, and nothing is left beside it

my $file = state_file();

like($file, qr/^egress quota 1 1 day Asia\/Tokyo day\n5 \d+ 0 -\nend 1 [0-9a-f]{8}\n$/,
	'state file');
is(join(' ', glob("$d/*.tmp.*")), '', 'no temporary file');

# a restart

restart();

is(codes('/day', 1), '429', 'restart');
is(codes('/keyed?k=1', 1), '429', 'restart, key');
is(codes('/keyed?k=2', 2), '200 429', 'restart, another key');
is(codes('/keyed?k=' . 'x' x 100, 2), '200 429', 'restart, long key');
is(codes('/month', 1), '200', 'restart without a state file');
is(status('day')->{remaining}, 0, 'restart, remaining');

# what was taken just before the end is there, too

write_conf('zone Asia/Tokyo;', 8);
restart();
is(codes('/day', 2), '200 200', 'just before the end');
restart();
is(codes('/day', 2), '200 429', 'not forgotten');

# killed: what was written in time

select undef, undef, undef, 1.5;

# the master first, which would start others

my @workers = workers();
kill 'KILL', $t->{pid};
waitpid($t->{pid}, 0);
kill 'KILL', @workers;
$t->{pid} = undef;
unlink "$d/nginx.pid";
select undef, undef, undef, 0.3;

$t->run();
is(codes('/day', 1), '429', 'killed');
$t->stop();

# whatever is torn or wrong is refused, and said

$file = $t->read_file('day.state');

torn(substr($file, 0, length($file) - 1), 'is torn', 'last byte');
torn(substr($file, 0, length($file) - 20), 'is torn', 'last line');
torn('', 'is torn', 'empty');
torn($file =~ s/^8 /7 /mr, 'is damaged', 'other number');
torn($file =~ s/end 1/end 2/r, 'is damaged', 'other count');
torn(crc("egress quota 1 3 day Asia/Tokyo day\n1 2\n", 1), 'is damaged',
	'wrong line');
torn(crc("egress quota 1 3 day Asia/Tokyo night\n", 0), 'is of another bucket',
	'bucket');
torn(crc("egress quota 1 3 hour Asia/Tokyo day\n", 0), 'is of another period',
	'period');
torn(crc("something\n", 0), 'is no state of a quota', 'other file');

unlink "$d/day.state";
mkdir "$d/day.state";
$t->run();
is(codes('/day', 1), '200', 'folder');
$t->stop();
rmdir "$d/day.state";

# an older nginx, which goes on after a binary upgrade, writes nothing

$t->write_file('day.state', crc("egress quota 1 3 day Asia/Tokyo day\n", 0));
$t->run();
is(codes('/day', 2), '200 200', 'before');
$t->write_file('day.state',
	my $newer = crc("egress quota 1 9 day Asia/Tokyo day\n", 0));
is(codes('/day', 2), '200 200', 'after');
$t->stop();
is($t->read_file('day.state'), $newer, 'newer state is kept');

unlink "$d/day.state";
$t->run();
is(codes('/day', 9), '200 200 200 200 200 200 200 200 429', 'no file');

###############################################################################

sub write_conf {
	my ($zone, $tokens) = @_;

	$tokens ||= 3;

	$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

worker_processes 2;

events {
}

egress {
    zone  2m;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    bucket day {
        tokens  $tokens;
        period  day;
        $zone
        state   day.state;
        retry_after          on;
        x_ratelimit_headers  draft_version_03;
    }

    bucket month {
        tokens  2;
        period  month;
        x_ratelimit_headers  draft_version_03;
    }

    bucket keyed  { tokens 2; period month; zone UTC; state keyed.state; }
    bucket given  { tokens 5; period day; }
    bucket none   { tokens 1; interval 1000s; }
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

        location /day {
            egress_ratelimit  bucket=day;
            proxy_pass        http://egress;
        }

        location /month {
            egress_ratelimit  bucket=month;
            proxy_pass        http://egress;
        }

        location /keyed {
            egress_ratelimit  bucket=keyed  key=\$arg_k;
            proxy_pass        http://egress;
        }

        location /back {
            egress_ratelimit  bucket=given;
            egress_ratelimit  bucket=none  cost=2;
            proxy_pass        http://egress;
        }

        location /status {
            egress  off;
            egress_status;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "ok";
        }
    }
}

EOF
}

sub get {
	my ($uri) = @_;

	return http_get($uri, host => 'api.example.com');
}

sub codes {
	my ($uri, $n) = @_;

	return join ' ', map { get($uri) =~ / (\d\d\d)/ } 1 .. $n;
}

sub status {
	my ($bucket) = @_;

	my ($json) = get('/status?what=buckets') =~ /\x0d\x0a\x0d\x0a(.*)$/s;

	return (grep { $_->{name} eq $bucket }
		@{decode_json($json)->{buckets}})[0];
}

# seconds to the end of the day in Tokyo, or of the month in UTC

sub until_end {
	my ($month) = @_;

	local $ENV{TZ} = $month ? 'UTC' : 'Asia/Tokyo';
	tzset();

	my @t = localtime();
	my $end = $month ? mktime(0, 0, 0, 1, $t[4] + 1, $t[5])
		: mktime(0, 0, 0, $t[3] + 1, $t[4], $t[5]);

	return $end - time();
}

sub state_file {
	for (1 .. 60) {
		my $file = $t->read_file('day.state');
		return $file if $file =~ /^5 /m;
		select undef, undef, undef, 0.05;
	}

	return 'none';
}

sub restart {
	$t->stop();
	unlink "$d/nginx.pid";
	$t->run();
}

sub torn {
	my ($text, $error, $name) = @_;

	unlink "$d/nginx.pid", "$d/error.log";
	$t->write_file('day.state', $text);
	$t->run();

	my $log = $t->read_file('error.log');
	my $codes = codes('/day', 1);

	$t->stop();

	is(($log =~ /state file "\S+" (.*?): bucket "day" starts full/)
		? "$1, $codes" : $log, "$error, 200", $name);
}

# with a last line that is right

sub crc {
	my ($text, $lines) = @_;

	my $crc = 0xffffffff;

	foreach my $byte (unpack 'C*', $text) {
		$crc ^= $byte;
		$crc = $crc & 1 ? ($crc >> 1) ^ 0xedb88320 : $crc >> 1 for 1 .. 8;
	}

	return sprintf "%send %d %08x\n", $text, $lines, $crc ^ 0xffffffff;
}

sub workers {
	open my $fh, '<', "/proc/$t->{pid}/task/$t->{pid}/children" or die;
	local $/;

	return split ' ', <$fh>;
}

###############################################################################
