#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit: a clock that is set.  A library between nginx
# and the kernel moves the wall clock by what stands in a file.

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

my $t = Test::Nginx->new()->has_daemon('cc')
	->write_file_expand('nginx.conf', <<'EOF');

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

    bucket plain  { tokens 3; fill 1; interval 1000s; }
    bucket keyed  { tokens 1; fill 1; interval 1000s; }
    bucket month  { tokens 2; period month; }
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

        location /plain {
            egress_ratelimit  bucket=plain;
            proxy_pass        http://egress;
        }

        location /keyed {
            egress_ratelimit  bucket=keyed  key=$arg_k;
            proxy_pass        http://egress;
        }

        location /month {
            egress_ratelimit  bucket=month;
            proxy_pass        http://egress;
        }
    }

    server {
        listen  127.0.0.1:8081;

        location / {
            return  200  "$date_gmt";
        }
    }
}

EOF

my $d = $t->testdir();

$t->write_file('clock', '0');
chmod 0666, "$d/clock";

$t->write_file('clock.c', <<"EOF");
#define _GNU_SOURCE

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long offset(void)
{
    int      fd;
    char     buf[32];
    ssize_t  n;

    fd = open("$d/clock", O_RDONLY);
    n = (fd == -1) ? -1 : read(fd, buf, sizeof(buf) - 1);
    close(fd);

    buf[n > 0 ? n : 0] = 0;

    return atol(buf);
}

int clock_gettime(clockid_t id, struct timespec *ts)
{
    int                                    rc;
    static int (*real)(clockid_t, struct timespec *);

    if (real == NULL) {
        real = (int (*)(clockid_t, struct timespec *))
                   dlsym(RTLD_NEXT, "clock_gettime");
    }

    rc = real(id, ts);

    if (id == CLOCK_REALTIME) {
        ts->tv_sec += offset();
    }

    return rc;
}

int gettimeofday(struct timeval *tv, void *tz)
{
    struct timespec  ts;

    (void) tz;

    clock_gettime(CLOCK_REALTIME, &ts);

    tv->tv_sec = ts.tv_sec;
    tv->tv_usec = ts.tv_nsec / 1000;

    return 0;
}
EOF

system("cc -shared -fPIC -o $d/clock.so $d/clock.c -ldl") == 0
	or die "can't build the library\n";

# what the sanitizers' run time is linked into comes first in any case

plan(skip_all => 'sanitizers') if $t->version_text() =~ /fsanitize/;

{
	local $ENV{LD_PRELOAD} = "$d/clock.so";
	$t->run();
}

$t->plan(15);

###############################################################################

my $year = (gmtime())[5] + 1900;

is(codes('/plain', 4), '200 200 200 429', 'before');
is(codes('/keyed?k=1', 2), '200 429', 'before, key');
is(codes('/month', 3), '200 200 429', 'before, quota');

# T-RTL-01: no step of the clock brings a token or takes one

set(3 * 366 * 86400);

like(date(), qr/@{[ $year + 3 ]}|@{[ $year + 2 ]}/, 'clock is set');
is(codes('/plain', 1), '429', 'forward');
is(codes('/keyed?k=1', 1), '429', 'forward, key');
is(codes('/keyed?k=2', 2), '200 429', 'forward, new key');

# but a month has gone by

is(codes('/month', 3), '200 200 429', 'forward, quota');

set(-3 * 366 * 86400);

like(date(), qr/@{[ $year - 3 ]}|@{[ $year - 4 ]}/, 'clock is set back');
is(codes('/plain', 1), '429', 'back');
is(codes('/keyed?k=1', 1), '429', 'back, key');
is(codes('/keyed?k=3', 2), '200 429', 'back, new key');
is(codes('/month', 1), '429', 'back, quota');

set(0);

is(codes('/plain', 1), '429', 'right again');

# the quota that was told the end of an earlier month begins the present one

is(codes('/month', 3), '200 200 429', 'right again, quota');

###############################################################################

sub set {
	my ($offset) = @_;

	$t->write_file('clock', $offset);

	# workers look at their clock at least that often

	date() for 1 .. 4;
	select undef, undef, undef, 0.6;
}

sub date {
	return http_get('/', port => 8081);
}

sub codes {
	my ($uri, $n) = @_;

	return join ' ', map {
		http_get($uri, host => 'api.example.com') =~ / (\d\d\d)/
	} 1 .. $n;
}

###############################################################################
