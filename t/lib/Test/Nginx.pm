package Test::Nginx;

# (C) 2026 Egress Gateway authors

# The test harness: real nginx with the egress modules, real certificates, a
# real DNS server.  It speaks the dialect of nginx's own test suite.
#
# Ports: write 127.0.0.1:8080 (8000 to 8099, any 127.x address) in a
# configuration and port(8080) in Perl; both become a free port, so that
# files run side by side under "prove -j".  %%PORT_8080%% is the bare number.
#
# The far side: servers that the gateway reaches by a name or an address of
# the client's can't be the gateway's own, it would not dial itself.  What
# stands between %%FAR%% and %%NEAR%% in http or stream of nginx.conf runs in
# an nginx of its own, with far_error.log for its errors.
#
# Environment:
#   TEST_NGINX_BINARY   nginx
#   TEST_NGINX_MODULES  the folder of the .so files, ../build
#   TEST_EGRESSCTL      egressctl, ../build/egressctl
#   TEST_NGINX_VERBOSE  prints requests and answers
#   TEST_NGINX_LEAVE    leaves the test's folder

use warnings;
use strict;

use base qw/ Exporter /;

our @EXPORT = qw/ port http http_get log_in /;
our @EXPORT_OK = qw/ binary modules egressctl repository /;

use Cwd qw/ abs_path /;
use Fcntl qw/ :flock /;
use File::Basename qw/ dirname /;
use File::Path qw/ rmtree /;
use File::Temp qw/ tempdir /;
use IO::Socket::INET;
use POSIX qw/ :sys_wait_h /;
use Test::More qw//;
use Time::HiRes qw/ sleep time /;

###############################################################################

my ($base, $lock, @instances);

# not DESTROY: a test's own subs hold its object until Test::More is gone

END {
	my $status = $?;

	$_->finish() foreach @instances;
	close($lock) if $lock;

	$? = $status;
}

sub repository {
	return abs_path(dirname(__FILE__) . '/../../..');
}

sub binary {
	return $ENV{TEST_NGINX_BINARY} || 'nginx';
}

sub modules {
	return $ENV{TEST_NGINX_MODULES} || repository() . '/build';
}

sub egressctl {
	return $ENV{TEST_EGRESSCTL} || repository() . '/build/egressctl';
}

# a hundred ports that no other test file has, below the ephemeral ones

sub base {
	return $base if $base;

	foreach my $n (0 .. 119) {
		my $name = "/tmp/egress-test-ports.$n.lock";

		open $lock, '>', $name or next;
		next unless flock($lock, LOCK_EX | LOCK_NB);

		my $s = IO::Socket::INET->new(
			Listen => 1,
			LocalAddr => '127.0.0.1',
			LocalPort => 20000 + $n * 100 + 80,
			ReuseAddr => 1
		) or next;

		close($s);

		return $base = 20000 + $n * 100;
	}

	die "no free ports\n";
}

sub port {
	my ($num) = @_;

	die "port $num is not in 8000..8099\n" if $num < 8000 || $num > 8099;

	return base() + $num - 8000;
}

###############################################################################

sub new {
	my ($class) = @_;

	my $self = bless {
		dir => tempdir('egress-test-XXXXXX', TMPDIR => 1, CLEANUP => 0),
		owner => $$,
		daemons => [],
		expected => []
	}, $class;

	chmod 0755, $self->{dir};

	push @instances, $self;

	return $self;
}

sub testdir {
	my ($self) = @_;

	return $self->{dir};
}

# a program that the test can't do without

sub has_daemon {
	my ($self, $name) = @_;

	foreach my $dir (split(/:/, $ENV{PATH}), '/usr/sbin', '/sbin') {
		return $self if -x "$dir/$name";
	}

	Test::More::plan(skip_all => "$name is not installed");
}

# what nginx was built with: "http_v2", "stream_realip"

sub has {
	my ($self, @features) = @_;

	my $v = $self->version_text();

	foreach my $feature (@features) {
		next if $v =~ /--with-${feature}(_module)?\b/;
		next if $feature =~ /^(http|proxy|rewrite|map)$/;
		Test::More::plan(skip_all => "no $feature in nginx");
	}

	return $self;
}

sub version_text {
	my ($self) = @_;

	$self->{version_text} //= `@{[ binary() ]} -V 2>&1`;

	return $self->{version_text};
}

# 1022001 for 1.22.1

sub version {
	my ($self) = @_;

	$self->version_text() =~ m!nginx/(\d+)\.(\d+)\.(\d+)! or die;

	return $1 * 1000000 + $2 * 1000 + $3;
}

# two checks more than asked for: no alerts, no sanitizer errors

sub plan {
	my ($self, $n) = @_;

	Test::More::plan(tests => $n + 2);
	$self->{planned} = 1;

	return $self;
}

###############################################################################

sub write_file {
	my ($self, $name, $content) = @_;

	open my $fh, '>', "$self->{dir}/$name"
		or die "can't create $name: $!\n";
	print $fh $content;
	close $fh;

	return $self;
}

sub read_file {
	my ($self, $name) = @_;

	open my $fh, '<', "$self->{dir}/$name" or return '';
	local $/;
	my $content = <$fh>;
	close $fh;

	return defined $content ? $content : '';
}

sub write_file_expand {
	my ($self, $name, $content) = @_;

	$content = $self->far($content) if $name eq 'nginx.conf';

	return $self->write_file($name, $self->expand($content));
}

# far.conf gets the far side, what is left is returned

sub far {
	my ($self, $content) = @_;

	my (%far, $block, $in);
	my $near = '';

	foreach my $line (split /^/, $content) {
		$block = $1 if $line =~ /^(http|stream) \{/;

		if ($line =~ /^\s*%%(FAR|NEAR)%%$/) {
			$in = $1 eq 'FAR';

		} elsif ($in) {
			$far{$block} .= $line;

		} else {
			$near .= $line;
		}
	}

	return $near unless %far;

	my $d = $self->{dir};

	$self->write_file('far.conf', $self->expand(join "\n",
		$self->load_modules(), "pid $d/far.pid;",
		"error_log $d/far_error.log info;", 'daemon off;', 'events { }',
		map { "$_ {\n" . ($_ eq 'http' ? $self->globals_http() : '')
			. "$far{$_}}\n" } sort keys %far));

	$self->{far} ||= 0;

	return $near;
}

sub expand {
	my ($self, $content) = @_;

	$content =~ s/%%TEST_GLOBALS%%/$self->globals()/ge;
	$content =~ s/%%TEST_GLOBALS_HTTP%%/$self->globals_http()/ge;
	$content =~ s/%%TEST_GLOBALS_STREAM%%//g;
	$content =~ s/%%TESTDIR%%/$self->{dir}/g;
	$content =~ s/%%REPOSITORY%%/repository()/ge;
	$content =~ s/%%PORT_(80\d\d)%%/port($1)/ge;
	$content =~ s/\b(127\.\d+\.\d+\.\d+:)(80\d\d)\b/$1 . port($2)/ge;

	return $content;
}

sub globals {
	my ($self) = @_;

	return join("\n", $self->load_modules(),
		"pid $self->{dir}/nginx.pid;",
		"error_log $self->{dir}/error.log "
			. ($ENV{TEST_NGINX_VERBOSE} ? 'debug' : 'info') . ';');
}

# in the order in which they need one another; $only picks some of ours

sub load_modules {
	my ($self, @only) = @_;

	my $v = $self->version_text();
	my @lines;

	if ($v =~ /--with-stream=dynamic/) {
		my ($path) = $v =~ /--modules-path=(\S+)/;
		push @lines, "load_module $path/ngx_stream_module.so;";
	}

	return @lines if $v =~ /--add-module=/;

	@only = qw/
		egress egress_authz egress_ratelimit
		http_egress http_egress_authz http_egress_ratelimit
		stream_egress stream_egress_authz stream_egress_ratelimit
	/ unless @only;

	my $dir = modules();

	return @lines, map { "load_module $dir/ngx_${_}_module.so;" } @only;
}

sub globals_http {
	my ($self) = @_;

	my $s = "access_log off;\n";

	foreach my $name (qw/ client_body proxy fastcgi uwsgi scgi /) {
		$s .= "${name}_temp_path $self->{dir}/$name;\n";
	}

	return $s;
}

###############################################################################

sub run {
	my ($self, $conf) = @_;

	$self->{far} ||= $self->start('far.conf', 'far.pid', 'far_error.log')
		if exists $self->{far};

	$self->{pid} = $self->start($conf || 'nginx.conf', 'nginx.pid',
		'error.log');

	$self->wait_workers(0);

	return $self;
}

sub start {
	my ($self, $conf, $pidfile, $log) = @_;

	my $d = $self->{dir};

	my $pid = fork();
	die "can't fork: $!\n" unless defined $pid;

	if ($pid == 0) {
		open STDOUT, '>>', "$d/stdout.log";
		open STDERR, '>>', "$d/stderr.log";
		exec(binary(), '-p', "$d/", '-c', $conf, '-e', "$d/$log")
			or exit(1);
	}

	for (1 .. 100) {
		last if -s "$d/$pidfile";

		if (waitpid($pid, WNOHANG) == $pid) {
			die "nginx did not start:\n", $self->read_file('stderr.log'),
				$self->read_file($log);
		}

		sleep 0.05;
	}

	return $pid;
}

# the number of workers that have started is in the log

sub wait_workers {
	my ($self, $before) = @_;

	for (1 .. 100) {
		last if $self->workers() > $before;
		sleep 0.02;
	}

	sleep 0.05;
}

sub workers {
	my ($self) = @_;

	my @n = $self->read_file('error.log') =~ /start worker process \d+/g;

	return scalar @n;
}

sub reload {
	my ($self) = @_;

	my $before = $self->workers();
	my $left = $self->leaving();

	kill 'HUP', $self->{pid};

	$self->wait_workers($before);

	# old workers, mostly as many, are told 100ms after new ones have started

	sleep 0.15;

	$left += $self->workers() - $before;

	for (1 .. 40) {
		last if $self->leaving() >= $left;
		sleep 0.02;
	}

	return $self;
}

sub leaving {
	my ($self) = @_;

	my @n = $self->read_file('error.log') =~ /gracefully shutting down/g;

	return scalar @n;
}

# nginx -t: the status and what it says

sub test_config {
	my ($self, $conf) = @_;

	my $d = $self->{dir};
	my $out = `@{[ binary() ]} -p $d/ -c @{[ $conf || 'nginx.conf' ]} -e $d/test.log -t 2>&1`;

	return ($? >> 8, $out);
}

sub stop {
	my ($self) = @_;

	foreach my $who (qw/ pid far /) {
		$self->{$who} = $self->quit($self->{$who}) if $self->{$who};
	}

	return $self;
}

sub quit {
	my ($self, $pid) = @_;

	kill 'QUIT', $pid;

	for (1 .. 160) {
		return undef if waitpid($pid, WNOHANG) == $pid;

		kill 'TERM', $pid if $_ == 100;
		sleep 0.05;
	}

	kill 'KILL', $pid;
	waitpid($pid, 0);

	return undef;
}

# a sub that runs in a process of its own until the end

sub run_daemon {
	my ($self, $code, @args) = @_;

	my $pid = fork();
	die "can't fork: $!\n" unless defined $pid;

	if ($pid == 0) {
		$self->{child} = 1;

		if (ref($code) eq 'CODE') {
			$code->($self, @args);
			POSIX::_exit(0);
		}

		open STDOUT, '>>', "$self->{dir}/daemon.log";
		open STDERR, '>>', "$self->{dir}/daemon.log";
		exec($code, @args) or POSIX::_exit(1);
	}

	push @{$self->{daemons}}, $pid;

	return $self;
}

sub stop_daemons {
	my ($self) = @_;

	while (my $pid = shift @{$self->{daemons}}) {
		kill 'TERM', $pid;

		for (1 .. 40) {
			last if waitpid($pid, WNOHANG) == $pid;
			kill 'KILL', $pid if $_ == 30;
			sleep 0.05;
		}
	}

	return $self;
}

sub wait_for_port {
	my ($self, $port) = @_;

	return $self->wait_for_port_at('127.0.0.1', $port);
}

sub wait_for_port_at {
	my ($self, $address, $port) = @_;

	for (1 .. 100) {
		my $s = IO::Socket::INET->new("$address:$port");
		return $self if $s;
		sleep 0.05;
	}

	die "nothing listens on port $port\n";
}

###############################################################################

# a DNS server on port(8053) with the records { name => address or [...] };
# called again, it has the new records

sub dns {
	my ($self, $records) = @_;

	my @args = ('-k', '-p', port(8053), '--listen-address=127.0.0.1',
		'--bind-interfaces', '--no-resolv', '--no-hosts',
		'--local=/com/', '--local=/org/', '--local=/internal/',
		'--max-ttl=1', '--pid-file=', '--user=root');

	foreach my $name (sort keys %$records) {
		my $list = $records->{$name};

		foreach my $address (ref $list ? @$list : $list) {
			push @args, "--host-record=$name,$address";
		}
	}

	$self->dns_stop();
	$self->run_daemon('dnsmasq', @args);
	$self->{dns} = $self->{daemons}[-1];

	return $self->wait_for_port(port(8053));
}

sub dns_stop {
	my ($self) = @_;

	return unless $self->{dns};

	kill 'TERM', $self->{dns};
	waitpid($self->{dns}, 0);

	$self->{daemons} = [ grep { $_ != $self->{dns} } @{$self->{daemons}} ];
	$self->{dns} = undef;
}

# $t->ca('ca'): ca.crt, ca.key

sub ca {
	my ($self, $name) = @_;

	my $d = $self->{dir};

	openssl("req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
		. " -days 2 -subj /CN=$name -keyout $d/$name.key"
		. " -out $d/$name.crt");

	return $self;
}

# $t->cert('ca', 'name', 'DNS:a,URI:b', extensions => '...', days => n)

sub cert {
	my ($self, $ca, $name, $san, %extra) = @_;

	my $d = $self->{dir};
	my $days = $extra{days} // 2;
	my $sign = $ca ? "-CA $d/$ca.crt -CAkey $d/$ca.key -CAcreateserial"
		: "-signkey $d/$name.key";

	$self->write_file("$name.ext", "basicConstraints=CA:FALSE\n"
		. ($san ? "subjectAltName=$san\n" : '')
		. ($extra{extensions} || ''));

	openssl("req -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes"
		. " -subj /CN=$name -keyout $d/$name.key -out $d/$name.csr");
	openssl("x509 -req -days $days -in $d/$name.csr $sign"
		. " -extfile $d/$name.ext -out $d/$name.crt");

	return $self;
}

sub spiffe {
	my ($self, $ca, $name, $id) = @_;

	return $self->cert($ca, $name, "URI:spiffe://$id");
}

sub openssl {
	my ($args) = @_;

	my $out = `openssl $args 2>&1`;
	die "openssl $args:\n$out" if $?;
}

###############################################################################

# sends a request, reads until the end, 8 seconds at most

sub http {
	my ($request, %extra) = @_;

	my $reply = '';

	eval {
		local $SIG{ALRM} = sub { die "timeout\n" };
		local $SIG{PIPE} = 'IGNORE';
		alarm(8);

		my $s = $extra{socket} || IO::Socket::INET->new(
			Proto => 'tcp',
			PeerAddr => '127.0.0.1:' . port($extra{port} || 8080)
		) or die "can't connect: $!\n";

		log_in('>> ', $request);
		print $s $request;

		local $/;
		$reply = <$s> // '';
		log_in('<< ', $reply);

		alarm(0);
	};

	alarm(0);

	if ($@) {
		log_in('', "died: $@");
		return undef;
	}

	return $reply;
}

sub http_get {
	my ($uri, %extra) = @_;

	my $host = $extra{host} || 'localhost';

	return http("GET $uri HTTP/1.0\r\nHost: $host\r\n\r\n", %extra);
}

sub log_in {
	my ($prefix, $text) = @_;

	return unless $ENV{TEST_NGINX_VERBOSE};

	$text =~ s/^/# $prefix/mg;
	$text =~ s/[^\x20-\x7e\n]/./g;
	print STDERR "$text\n";
}

###############################################################################

# alerts that the test provokes: a regular expression each

sub expect {
	my ($self, @patterns) = @_;

	push @{$self->{expected}}, @patterns;

	return $self;
}

sub finish {
	my ($self) = @_;

	return if $self->{child} || $$ != $self->{owner};

	$self->stop();
	$self->stop_daemons();

	if ($self->{planned}) {
		my @alerts = grep { /\[(alert|crit|emerg)\]/ }
			split /\n/, $self->read_file('error.log');

		foreach my $pattern (@{$self->{expected}}) {
			@alerts = grep { $_ !~ $pattern } @alerts;
		}

		Test::More::is(join("\n", @alerts), '', 'no alerts');

		my $text = $self->read_file('stderr.log')
			. $self->read_file('error.log');
		my @errors = grep {
			/(AddressSanitizer|LeakSanitizer|runtime error)/
		} split /\n/, $text;

		Test::More::is(join("\n", @errors), '', 'no sanitizer errors');
	}

	rmtree($self->{dir}) unless $ENV{TEST_NGINX_LEAVE};
}

###############################################################################

1;

###############################################################################
