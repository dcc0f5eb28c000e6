#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for egress_ratelimit: on_error, with a worker that finds no process
# slot, and then a broken lock, both by a debugger.

###############################################################################

use warnings;
use strict;

use JSON::PP;
use Test::More;

BEGIN { use FindBin; chdir($FindBin::Bin); }

use lib 'lib';
use Test::Nginx;

###############################################################################

select STDERR; $| = 1;
select STDOUT; $| = 1;

my $t = Test::Nginx->new()->has_daemon('gdb')
	->write_file_expand('nginx.conf', <<'EOC');

%%TEST_GLOBALS%%

daemon off;

events {
}

egress {
    zone  2m keys=100;

    service api {
        host api.example.com;  port 80 http;
        resolution static;  endpoint 127.0.0.1 port=%%PORT_8081%%;
    }

    bucket closed { tokens 100; interval 1000s; }
    bucket opened { tokens 100; interval 1000s; on_error allow; }
    bucket none   { max_connections 5; tokens 100; interval 1000s; }
    bucket some   { max_connections 5; tokens 2; interval 1000s; on_error allow; }
    bucket watch  { tokens 100; interval 1000s; on_error deny; }
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

        location /closed {
            egress_ratelimit  bucket=closed;
            proxy_pass        http://egress;
        }

        location /opened {
            egress_ratelimit  bucket=opened;
            proxy_pass        http://egress;
        }

        location /none {
            egress_ratelimit  bucket=none;
            proxy_pass        http://egress;
        }

        location /some {
            egress_ratelimit  bucket=some;
            proxy_pass        http://egress;
        }

        location /watch {
            egress_ratelimit  bucket=watch enforced=0;
            proxy_pass        http://egress;
        }

        location /status {
            egress  off;
            egress_status;
        }
    }

    server {
        listen  127.0.0.1:8081;
        return  200;
    }
}

EOC

$t->run()->plan(15);

###############################################################################

is(join(' ', map { code($_) } qw/ closed opened watch /), '200 200 200',
	'before');

# tokens are there, also where connections can't be counted

my $out = debug('processes_n = 0');

is(code('none'), '429', 'no process slot, deny') or diag($out);
is(join(' ', map { code('some') } 1 .. 3), '200 200 429',
	'no process slot, allow');
is(status('none'), '1 0 1 0', 'no process slot, counted');
is(status('some'), '3 2 1 0', 'no process slot, tokens');

# glibc's mark of a mutex whose state nobody could make consistent

$out = debug('shards[0].mutex.__data.__owner = 0x7ffffffe');

is(code('closed'), '429', 'deny') or diag($out);
is(join(' ', map { code('opened') } 1 .. 10), join(' ', (200) x 10), 'allow');
is(code('watch'), '200', 'not enforced');

is(status('closed'), '1 1 1 0', 'deny, counted');
is(status('opened'), '10 11 0 0', 'allow, counted');
is(status('watch'), '1 1 0 1', 'not enforced, counted');

$t->stop();

my $log = $t->read_file('error.log');
my $broken = "can't be used, a lock in the zone is broken";

like($log, qr/bucket "closed" $broken, refusing/, 'logged');
like($log, qr/bucket "none" can't count connections, this worker has no process slot, refusing/, 'no process slot, logged');
unlike($log, qr/no room for another key/, 'not as a full table');

my @lines = $log =~ /bucket "opened" $broken, passing/g;

cmp_ok(@lines, '<', 10, 'not each of them');

###############################################################################

sub code {
	my ($uri) = @_;

	return http_get("/$uri", host => 'api.example.com') =~ / (\d\d\d)/
		? $1 : 'none';
}

# errors, allowed, limited, would limit

sub status {
	my ($bucket) = @_;

	my ($json) = http_get('/status?what=buckets')
		=~ /\x0d\x0a\x0d\x0a(.*)$/s;
	my ($b) = grep { $_->{name} eq $bucket }
		@{decode_json($json)->{buckets}};

	return "@{$b}{qw/ errors allowed limited would_limit /}";
}

# sets something in the table

sub debug {
	my ($what) = @_;

	my $master = $t->read_file('nginx.pid');
	chomp $master;

	open my $fh, '<', "/proc/$master/task/$master/children" or die;
	my ($worker) = split ' ', <$fh>;

	my $table = '((ngx_egress_ratelimit_table_t *)'
		. ' ngx_egress_ratelimit_get_table())';

	return `gdb -nx -batch -iex 'set auto-solib-add off' -iex 'set debuginfod enabled off' -p $worker -ex 'sharedlibrary ngx_egress' -ex 'set variable $table->$what' 2>&1`;
}

###############################################################################
