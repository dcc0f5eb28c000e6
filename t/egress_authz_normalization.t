#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for path_normalization: what a decision is about in each mode, T-AUZ-04,
# and that it is the path which is sent.

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

my $t = Test::Nginx->new();

# a path, and what is decided on and sent in each mode

my @modes = qw/ none base merge_slashes decode_and_merge_slashes /;

my @paths = (
	[ '/a/b', '/a/b', '/a/b', '/a/b', '/a/b' ],
	[ '/x/../a/b', '/x/../a/b', '/a/b', '/a/b', '/a/b' ],
	[ '/a\\b', '/a\\b', '/a/b', '/a/b', '/a/b' ],
	[ '/%61/b', '/%61/b', '/a/b', '/a/b', '/a/b' ],
	[ '/a//b', '/a//b', '/a//b', '/a/b', '/a/b' ],
	[ '/a%2fb', '/a%2fb', '/a%2fb', '/a%2fb', '/a/b' ],
	[ '/a/b?c=//', '/a/b?c=//', '/a/b?c=//', '/a/b?c=//', '/a/b?c=//' ],
);

$t->write_file_expand('nginx.conf', conf('none'));
$t->run()->plan(@modes * @paths);

###############################################################################

for my $i (0 .. $#modes) {

	if ($i) {
		$t->write_file_expand('nginx.conf', conf($modes[$i]));
		$t->reload();
	}

	for (@paths) {
		my ($path, @decided) = @$_;
		my $decided = $decided[$i];
		my $answer = http("GET $path HTTP/1.1\r\nHost: a.test\r\n"
			. "Connection: close\r\n\r\n");

		if ($decided =~ m!^/a/b(\?|$)!) {
			is($answer =~ /^sent (.*)$/m ? $1 : $answer, $decided,
				"$modes[$i], $path, sent");

		} else {
			like($answer, qr/ 403 /, "$modes[$i], $path, denied");
		}
	}
}

###############################################################################

sub conf {
	my ($mode) = @_;

	return <<"EOF";

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone                1m;
    allow_address       127.0.0.0/8;
    path_normalization  $mode;

    service a {
        host        a.test;
        port        80 http;
        resolution  static;
        endpoint    127.0.0.1 port=%%PORT_8081%%;
    }

    policy p { action allow; rule { to { paths /a/b; } } }
}

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    server {
        listen       127.0.0.1:8080;
        egress       on;
        egress_port  80;
        location / { proxy_pass http://egress; }
    }

    server {
        listen  127.0.0.1:8081;
        location / { return 200 "sent \$request_uri\\n"; }
    }
}

EOF
}

###############################################################################
