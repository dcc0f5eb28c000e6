
# Copyright (C) 2026 Egress Gateway authors

# make                 the modules and egressctl, against the installed nginx
# make NGINX_SRC=dir   the modules against an unpacked nginx source tree
# make nginx NGINX_SRC=dir [STATIC=1]
#                      nginx itself as well, with the modules built in
# make deps demo test lint asan soak fuzz bench matrix install uninstall clean
# make readme          the tables of README that are made from the source
# make parity [FULL=1] compares the gateway with what Envoy did

BUILD ?=		build
NGINX_SRC ?=
STATIC ?=

CC =		cc
CFLAGS =	-O2 -g
WARN =		-std=c11 -D_GNU_SOURCE -Wall -Wextra -Werror
JOBS =		2

PREFIX ?=	/usr/local
DESTDIR ?=

MODULES =	egress egress_authz egress_ratelimit \
		http_egress http_egress_authz http_egress_ratelimit \
		stream_egress stream_egress_authz stream_egress_ratelimit

SOURCES =	$(wildcard config ngx_egress*_module/*)
CTL =		$(wildcard util/egressctl/*.c)
CTL_H =		$(wildcard util/egressctl/*.h)

TESTS =		t/*.t


all: modules egressctl


modules: $(BUILD)/.modules

$(BUILD)/.configured: config ngx_egress_module/config \
		ngx_egress_authz_module/config \
		ngx_egress_ratelimit_module/config util/build.sh
	@rm -rf $(BUILD)/nginx
	@mkdir -p $(BUILD)
	@bash util/build.sh $(BUILD)/nginx "$(NGINX_SRC)"
	@touch $@

$(BUILD)/.modules: $(BUILD)/.configured $(SOURCES)
	@$(MAKE) -s -C $(BUILD)/nginx -f objs/Makefile -j$(JOBS) \
		$(MODULES:%=objs/ngx_%_module.so) \
		> $(BUILD)/modules.log 2>&1 \
		|| { cat $(BUILD)/modules.log >&2; exit 1; }
	@for m in $(MODULES); do \
		cp $(BUILD)/nginx/objs/ngx_$${m}_module.so $(BUILD)/$$m.new \
		&& mv $(BUILD)/$$m.new $(BUILD)/ngx_$${m}_module.so \
		|| exit 1; \
	done
	@touch $@
	@echo "modules: $(BUILD)/ngx_*.so"


nginx:
	@test -n "$(NGINX_SRC)" \
		|| { echo "make nginx needs NGINX_SRC=dir, an unpacked nginx" \
			"source tree" >&2; exit 2; }
	@rm -rf $(BUILD)/static
	@mkdir -p $(BUILD)
	@bash util/build.sh $(BUILD)/static "$(NGINX_SRC)" \
		$(if $(STATIC),static,dynamic)
	@$(MAKE) -s -C $(BUILD)/static -f objs/Makefile -j$(JOBS) binary \
		> $(BUILD)/nginx.log 2>&1 \
		|| { tail -40 $(BUILD)/nginx.log >&2; exit 1; }
	@$(if $(STATIC),:,$(MAKE) -s -C $(BUILD)/static -f objs/Makefile \
		-j$(JOBS) modules >> $(BUILD)/nginx.log 2>&1)
	@cp $(BUILD)/static/objs/nginx $(BUILD)/nginx-binary
	@echo "nginx: $(BUILD)/nginx-binary"


egressctl: $(BUILD)/egressctl

$(BUILD)/egressctl: $(CTL) $(CTL_H)
	@mkdir -p $(BUILD)
	$(CC) $(WARN) $(CFLAGS) -o $@ $(CTL) -lyaml -ljansson


deps:
	@sh util/deps.sh

demo: deps all
	@bash util/demo.sh

test: deps all
	TEST_NGINX_MODULES=$(CURDIR)/$(BUILD) \
	TEST_EGRESSCTL=$(CURDIR)/$(BUILD)/egressctl \
		prove -j$(JOBS) -It/lib $(TESTS)

lint:
	@bash util/lint.sh

# the field table of README

readme: egressctl
	@bash util/readme.sh $(BUILD)/egressctl README.md

# what Istio does on the same manifests: needs ../shared/oracle and python3;
# FULL=1 asks Envoy anew, and needs Go and Envoy

parity: all
	@BUILD=$(CURDIR)/$(BUILD) util/parity $(if $(FULL),--full)

# needs the sources of nginx, to build it with the sanitizers as well

asan:
	@test -n "$(NGINX_SRC)" \
		|| { echo "make asan needs NGINX_SRC=dir, an unpacked nginx" \
			"source tree" >&2; exit 2; }
	@$(MAKE) -s NGINX_SRC= all
	@CC_OPT="$(ASAN) -DNGX_DEBUG_PALLOC=1" LD_OPT="$(ASAN)" \
		$(MAKE) -s nginx STATIC=1 NGINX_SRC="$(NGINX_SRC)" \
		BUILD=$(CURDIR)/build-asan
	@mkdir -p build-asan
	$(CC) $(WARN) $(ASAN) -o build-asan/egressctl $(CTL) -lyaml -ljansson
	ASAN_OPTIONS=detect_leaks=0:abort_on_error=0 \
	TEST_NGINX_BINARY=$(CURDIR)/build-asan/nginx-binary \
	TEST_EGRESSCTL=$(CURDIR)/build-asan/egressctl \
		prove -j2 -It/lib $(TESTS)

# nginx itself passes NULL with a length of 0 to memcpy and shifts into signs

ASAN =		-O1 -g -fno-omit-frame-pointer -fsanitize=address,undefined \
		-fno-sanitize=nonnull-attribute,shift,alignment,pointer-overflow

# what "make test" does on a small scale

soak: deps all
	TEST_EGRESS_REQUESTS=50000 \
	TEST_NGINX_MODULES=$(CURDIR)/$(BUILD) \
		prove -v -It/lib t/egress_tls_identity.t

fuzz:
	@bash t/fuzz/run.sh

bench: all
	util/bench/registry
	util/bench/passthrough
	util/bench/upstream
	util/bench/balance
	util/bench/ratelimit
	util/bench/authz
	util/bench/convert

# builds against every source tree in NGINX_TREES, warnings are errors

matrix:
	@test -n "$(NGINX_TREES)" \
		|| { echo "make matrix needs NGINX_TREES=\"dir ...\", unpacked" \
			"nginx source trees" >&2; exit 2; }
	@for dir in $(NGINX_TREES); do \
		$(MAKE) -s nginx STATIC=1 NGINX_SRC=$$dir \
			BUILD=$(CURDIR)/build-matrix || exit 1; \
		$(MAKE) -s nginx NGINX_SRC=$$dir \
			BUILD=$(CURDIR)/build-matrix || exit 1; \
		echo "matrix: $$dir ok"; \
	done

install: all
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" bash util/install.sh \
		$(BUILD) install

uninstall:
	@DESTDIR="$(DESTDIR)" PREFIX="$(PREFIX)" bash util/install.sh \
		$(BUILD) uninstall

clean:
	rm -rf build build-asan build-matrix


.PHONY: all modules nginx egressctl deps demo test lint readme parity asan \
	soak fuzz bench matrix install uninstall clean
