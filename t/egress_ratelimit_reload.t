#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit: buckets over a reload, and over one that fails.

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

my $t = Test::Nginx->new()->expect(qr!\[emerg\]!);

write_conf('bucket a { tokens 3; interval 1000s; } '
	. 'bucket b { tokens 3; interval 1000s; }', 'b');

$t->run()->plan(9);

###############################################################################

is(codes('/a', 2), '200 200', 'before');
is(codes('/b', 4), '200 200 200 429', 'another, before');

# other buckets come, one goes, the order changes

write_conf('bucket c { tokens 1; interval 1000s; } '
	. 'bucket a { tokens 3; interval 1000s; }', 'c');

reload();

is(codes('/a', 2), '200 429', 'kept');
is(codes('/b', 2), '200 429', 'new bucket');

# what was there before comes back as it was

write_conf('bucket a { tokens 9; interval 1000s; } '
	. 'bucket b { tokens 3; interval 1000s; }', 'b');

reload();

is(codes('/b', 1), '429', 'bucket comes back');
is(codes('/a', 1), '429', 'more tokens come by time only');

# another unit of time, and a faster one

write_conf('bucket a { tokens 2; fill 10; interval 1s; } '
	. 'bucket b { tokens 3; interval 2000s; }', 'b');

reload();
select undef, undef, undef, 0.5;

is(codes('/b', 1), '429', 'other interval');
is(codes('/a', 2), '200 200', 'faster');

# a configuration that can't be used changes nothing

write_conf('bucket a { tokens 3; interval 1000s; } '
	. 'bucket b { tokens 300; fill 300; interval 1s; }', 'b',
	'bucket=missing');

$t->expect(qr/bucket "missing" is not defined/);

reload();

is(codes('/b', 1), '429', 'failed reload');

###############################################################################

sub write_conf {
	my ($buckets, $second, $extra) = @_;

	$extra = $extra ? "egress_ratelimit $extra;" : '';

	$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  1m;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    $buckets
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

        location /a {
            egress_ratelimit  bucket=a;
            proxy_pass        http://egress;
        }

        location /b {
            egress_ratelimit  bucket=$second;
            proxy_pass        http://egress;
        }

        location /extra {
            $extra
            proxy_pass        http://egress;
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

sub reload {
	$t->reload();

	# until the old workers are gone

	select undef, undef, undef, 0.5;
}

sub codes {
	my ($uri, $n) = @_;

	return join ' ', map {
		http_get($uri, host => 'api.example.com') =~ / (\d\d\d)/;
	} 1 .. $n;
}

###############################################################################
