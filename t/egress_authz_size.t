#!/usr/bin/perl

# (C) 2026 Egress Gateway authors

# Tests for many rules, T-AUZ-11: what a large input costs is bounded, from the
# manifests to the decision.

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

my $t = Test::Nginx->new();
my $d = $t->testdir();
my $n = 30000;

# seconds of the processor: other tests run beside

my $limit = 30;

plan(tests => 12);

###############################################################################

my $yaml = '';

for my $i (0 .. $n - 1) {
	$yaml .= "---\napiVersion: security.istio.io/v1\nkind: AuthorizationPolicy\n"
		. "metadata: {name: p$i, namespace: istio-system}\nspec:\n  rules:\n"
		unless $i % 500;

	$yaml .= "  - from: [{source: {principals: "
		. "[cluster.local/ns/n/sa/s@{[ $i % 1000 ]}]}}]\n"
		. "    to: [{operation: {hosts: ['*.h$i.test']}}]\n";
}

$t->write_file('many.yaml', $yaml);

my ($status, $seconds) = ctl('convert', '-f', "$d/many.yaml", '-o',
	"$d/many.conf", '--resolver', '127.0.0.1');

is($status, 0, 'converted');
cmp_ok($seconds, '<', $limit, 'converted in time');

my ($egress) = $t->read_file('many.conf') =~ /^(egress \{.*?^\})/ms;

$t->write_file_expand('nginx.conf', <<"EOF");

%%TEST_GLOBALS%%

daemon off;

events {
}

$egress

http {
    %%TEST_GLOBALS_HTTP%%

    upstream egress { egress_balance; }

    server {
        listen  127.0.0.1:8080;
        location / { egress_explain; }
    }

    server {
        listen  127.0.0.1:8081;
        egress  on;
        location / { proxy_pass http://egress; }
    }
}

EOF

my @before = times();

($status, my $out) = $t->test_config();

my @after = times();

is($status, 0, 'nginx -t') or diag($out);
cmp_ok($after[2] - $before[2], '<', $limit, 'nginx -t in time');

$t->run();

foreach my $i (0, 1, 15000, $n - 1) {
	my $e = asked($i % 1000, $i);

	like($e, qr/"decided_by":\{"policy":"istio-system\/p@{[ $i - $i % 500 ]}","rule":@{[ $i % 500 ]},/,
		"rule $i");
	unlike(asked(($i + 1) % 1000, $i), qr/"decided_by":\{/,
		"rule $i, another principal");
}

###############################################################################

sub asked {
	my ($who, $host) = @_;

	return http_get("/?host=a.h$host.test&port=80&protocol=http&limit=1"
		. "&principal=cluster.local/ns/n/sa/s$who");
}

# the status, and the seconds that the processor took

sub ctl {
	my (@args) = @_;

	my @before = times();
	my $pid = fork();

	if ($pid == 0) {
		open STDERR, '>', "$d/ctl.err";
		exec(egressctl(), @args) or exit(127);
	}

	waitpid($pid, 0);

	my @after = times();

	return ($? >> 8, $after[2] - $before[2]);
}

###############################################################################
