# One word each; `make` alone lists them.

# The interpreters that `make test` runs on, oldest first ...
PYTHONS ?= python3.11 python3.12 python3.13
# ... and the one that .venv is made with: a name on PATH or in pyenv, or a path.
# "python3" is any that is new enough, and leaves a .venv that is there alone.
PYTHON ?= python3
# The one of `make next` and `make cpython`: newer than those of `make test`.
NEXT ?= python3.14

VENV := .venv
TOOLS := build/tools
RELEASE := build/release
# Tests and examples run outside this folder, so that they see what is
# installed and not the sources beside them.
AWAY := build/away
SUITES ?= tests/unit
PYTEST = $(CURDIR)/$(VENV)/bin/pytest -c $(CURDIR)/pyproject.toml --rootdir=$(CURDIR)
PIP = -m pip --disable-pip-version-check
# Warnings are errors here; they are not for users, whose compiler may be newer.
STRICT = --config-settings=cmake.define.CASYNCIO_WERROR=ON

.DEFAULT_GOAL := help
.PHONY: help try test setup build unit next cpython refleaks venv pytest sanitized ctest asan tsan \
        sanitizedvenv stressed lint format shape layers stubtest bench netbench figures stress tlsstress \
        instructions libraries uvloop docs dist wheels clean

help:  ## this list
	@sed -nE 's/^([a-z]+):.*## (.*)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 16

# ---------------------------------------------------------------- for users

try:  ## set up .venv with casyncio in it and run the example on its loop
	@tools/venv.sh $(VENV) $(PYTHON)
	$(VENV)/bin/python $(PIP) install --quiet .
	@mkdir -p $(AWAY)
	@cd $(AWAY) && $(CURDIR)/$(VENV)/bin/python -m casyncio info
	@cd $(AWAY) && $(CURDIR)/$(VENV)/bin/python -m casyncio $(CURDIR)/examples/hello.py

test:  ## everything, on all of PYTHONS; what .ci/run runs
	@tools/test.sh $(PYTHONS)

# ------------------------------------------------------ for the day's work

setup:  ## set up .venv with all that tests need, and casyncio
	@tools/venv.sh $(VENV) $(PYTHON) requirements/test.txt requirements/dev.txt
	@$(MAKE) --no-print-directory build

build:  ## install the sources into .venv again; only what changed is compiled
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" $(VENV)/bin/python $(PIP) install --quiet --no-deps \
		--no-build-isolation --config-settings=build-dir=build/dev-{wheel_tag} $(STRICT) .

unit:  ## the unit tests in .venv; a part of them: make unit K=timers
	@mkdir -p $(AWAY)
	cd $(AWAY) && $(PYTEST) $(CURDIR)/tests/unit $(if $(K),-k "$(K)")

next: VENV = build/venv/next
next:  ## the unit tests on the Python to come: make next NEXT=python3.15 K=timers
	@tools/find-python.sh "$(NEXT)" > /dev/null || \
		{ echo "make next: nothing is tested; NEXT=... names another interpreter" >&2; exit 1; }
	@tools/venv.sh $(VENV) "$(NEXT)" requirements/unit.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	@mkdir -p $(AWAY)
	@cd $(AWAY) && $(CURDIR)/$(VENV)/bin/python -m casyncio info
	cd $(AWAY) && $(PYTEST) $(CURDIR)/tests/unit $(if $(K),-k "$(K)")

cpython: VENV = build/venv/next
cpython:  ## CPython's own asyncio tests on the Python to come: make cpython NEXT=python3.15 ARGS="-k 'test_locks.*'"
	@tools/find-python.sh "$(NEXT)" > /dev/null || \
		{ echo "make cpython: nothing is tested; NEXT=... names another interpreter" >&2; exit 1; }
	@tools/venv.sh $(VENV) "$(NEXT)" requirements/unit.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	@mkdir -p $(AWAY)
	cd $(AWAY) && $(CURDIR)/$(VENV)/bin/python $(CURDIR)/tests/conformance/run_cpython_suite.py $(ARGS)

refleaks: VENV = build/venv/refleaks
refleaks: NEXT = python3.14d
refleaks:  ## the unit tests over and over on a debug build, counting references: make refleaks K=fd
	@tools/find-python.sh "$(NEXT)" > /dev/null || \
		{ echo "make refleaks: nothing is tested; NEXT=... names a debug build" >&2; exit 1; }
	@tools/venv.sh $(VENV) "$(NEXT)" requirements/unit.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	@mkdir -p $(AWAY)
	cd $(AWAY) && PYTHONPATH=$(CURDIR)/tests/leaks $(PYTEST) -p refhunt $(CURDIR)/tests/unit \
		$(if $(K),-k "$(K)")

# ------------------------------------------- C below the Python line, alone

ctest:  ## the C tests
	@$(MAKE) --no-print-directory -s -C tests/c -j2 run

asan:  ## the C tests under AddressSanitizer and UBSan
	@$(MAKE) --no-print-directory -s -C tests/c -j2 asan

tsan:  ## the C tests with threads under ThreadSanitizer
	@$(MAKE) --no-print-directory -s -C tests/c -j2 tsan

# ------------------------------------------------------- how the code looks

lint: $(TOOLS)  ## ruff and clang-format, changing nothing
	@status=0; \
	$(TOOLS)/bin/ruff check . || status=1; \
	$(TOOLS)/bin/ruff format --check --output-format=concise . || status=1; \
	$(TOOLS)/bin/python tools/cformat.py --check || status=1; \
	exit $$status

format: $(TOOLS)  ## ruff and clang-format, in place
	$(TOOLS)/bin/ruff check --fix --exit-zero .
	$(TOOLS)/bin/ruff format .
	$(TOOLS)/bin/python tools/cformat.py

shape:  ## sizes of files and functions, against their limits
	@"$$(tools/find-python.sh python3)" tools/shape.py --gate

layers:  ## who includes whom, and what the Python line lets through
	@"$$(tools/find-python.sh python3)" tools/layers.py

# -------------------------- the steps of `make test`, alone; VENV=... says where

venv:  ## an environment as users make it, with what tests need
	@$(if $(FRESH),rm -rf $(VENV))
	@tools/venv.sh $(VENV) $(PYTHON) requirements/test.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps $(STRICT) .

pytest:  ## some suites: make pytest SUITES="tests/leaks tests/house"
	@mkdir -p $(AWAY)
	cd $(AWAY) && $(PYTEST) $(addprefix $(CURDIR)/,$(SUITES))

stubtest:  ## the type stubs against the module
	@mkdir -p $(AWAY)
	cd $(AWAY) && $(CURDIR)/$(VENV)/bin/python -m mypy.stubtest casyncio

# AddressSanitizer keeps freed memory back, so tests of memory growth (no_memory)
# would measure that; they run without it.  Children with a preexec_fn hang in its
# runtime, on asyncio's own loop too: tests of subprocesses run without it as well.
# Only our module is instrumented, so the runtime library has to be there first;
# with Python's own allocator it would not see what Python's objects do.
SANITIZERS = LD_PRELOAD="$$(gcc -print-file-name=libasan.so) $$(gcc -print-file-name=libubsan.so)" \
	PYTHONMALLOC=malloc UBSAN_OPTIONS=print_stacktrace=1 ASAN_OPTIONS=detect_leaks=0:allocator_may_return_null=1

sanitizedvenv sanitized stressed: VENV = build/venv/sanitized
sanitizedvenv:
	@tools/venv.sh $(VENV) $(PYTHON) requirements/test.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps $(STRICT) \
		--config-settings=build-dir=build/sanitized-{wheel_tag} \
		--config-settings=cmake.build-type=Debug \
		--config-settings=install.strip=false \
		--config-settings=cmake.define.CASYNCIO_ASAN=ON \
		--config-settings=cmake.define.CASYNCIO_UBSAN=ON .
	@mkdir -p $(AWAY)

sanitized: sanitizedvenv  ## the unit tests on an extension with AddressSanitizer and UBSan
	cd $(AWAY) && $(SANITIZERS) $(PYTEST) -o timeout=600 -o faulthandler_timeout=590 -k "not no_memory" \
		--ignore-glob='$(CURDIR)/tests/unit/test_subprocess*.py' $(CURDIR)/tests/unit

# Little freed memory is kept back here, so that growth shows.
stressed: sanitizedvenv  ## the same for 1,000 connections with moods: make stressed ARGS="--backend io_uring"
	cd $(AWAY) && $(SANITIZERS):quarantine_size_mb=8 STRESS_PATIENCE_S=120 $(CURDIR)/$(VENV)/bin/python \
		-P $(CURDIR)/benchmarks/stress.py --only moods --timeout 120 $(ARGS)

# -------------------------------------------------------------------- rest

bench:  ## casyncio against other loops; every row: make bench ARGS="--suite full"
	@tools/venv.sh $(VENV) $(PYTHON) requirements/bench.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	$(VENV)/bin/python -P -m casyncio bench $(ARGS)

netbench:  ## the same as servers and clients, with C servers beside them: make netbench ARGS=--quick
	@tools/venv.sh $(VENV) $(PYTHON) requirements/bench.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	$(VENV)/bin/python -P benchmarks/net.py $(ARGS)

figures:  ## measure README's tables anew and write them there; a quiet machine is wanted
	@tools/venv.sh $(VENV) $(PYTHON) requirements/bench.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	$(VENV)/bin/python -P benchmarks/figures.py $(ARGS)

stress:  ## thousands of connections, slow readers, resets, no descriptors: nothing lost or kept
	@tools/venv.sh $(VENV) $(PYTHON) requirements/bench.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	$(VENV)/bin/python -P benchmarks/stress.py $(ARGS)

tlsstress:  ## the same for TLS: connections in sequence, transfers by hash, idle ones, trickles
	@tools/venv.sh $(VENV) $(PYTHON) requirements/test.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	$(VENV)/bin/python -P benchmarks/tlsstress.py $(ARGS)

instructions:  ## instructions of hot paths, counted by valgrind, against their ceilings
	@tools/venv.sh $(VENV) $(PYTHON) requirements/bench.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	$(VENV)/bin/python -P benchmarks/ceilings.py $(ARGS)

libraries: VENV = build/venv/libraries
libraries:  ## other libraries' own tests, on asyncio's loop and on casyncio's: make libraries ARGS="--only anyio"
	@tools/venv.sh $(VENV) $(PYTHON) requirements/unit.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	@mkdir -p $(AWAY)
	cd $(AWAY) && $(CURDIR)/$(VENV)/bin/python $(CURDIR)/tests/libraries/run.py \
		--folder $(CURDIR)/build/libraries $(ARGS)

uvloop: VENV = build/venv/uvloop
uvloop:  ## uvloop's own tests, on casyncio's loop: make uvloop ARGS="-k test_udp --show"
	@tools/venv.sh $(VENV) $(PYTHON) requirements/test.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	@mkdir -p $(AWAY)
	cd $(AWAY) && $(CURDIR)/$(VENV)/bin/python $(CURDIR)/tests/conformance/run_uvloop_suite.py \
		--folder $(CURDIR)/build/uvloop $(ARGS)

docs: VENV = build/venv/docs
docs:  ## the manual as HTML, in build/docs; every warning and every broken link is an error
	@tools/venv.sh $(VENV) $(PYTHON) requirements/docs.txt
	$(VENV)/bin/python $(PIP) install --quiet --no-deps .
	@rm -rf build/docs
	cd docs && $(CURDIR)/$(VENV)/bin/python -P -m sphinx -W --keep-going -n -q -b html . ../build/docs
	$(VENV)/bin/python -P tools/doclinks.py build/docs
	@echo "open build/docs/index.html"

dist: $(RELEASE)  ## source distribution and wheel, in dist, checked as the package index does
	@rm -rf dist
	$(RELEASE)/bin/python -m build
	$(RELEASE)/bin/twine check --strict dist/*

# From the source distribution, as others build them.  CI for many machines: [tool.cibuildwheel].
wheels: $(RELEASE)  ## wheels of all PYTHONS for any Linux with glibc 2.28, and the sdist, in dist
	@rm -rf dist build/wheels
	$(RELEASE)/bin/python -m build --sdist
	@set -e; for python in $(PYTHONS); do \
		echo "wheel for $$python"; \
		"$$(tools/find-python.sh "$$python")" $(PIP) wheel --quiet --no-deps $(STRICT) \
			--wheel-dir build/wheels dist/*.tar.gz; \
	done
	PATH="$(CURDIR)/$(RELEASE)/bin:$$PATH" $(RELEASE)/bin/auditwheel repair \
		--plat manylinux_2_28_$$(uname -m) --wheel-dir dist build/wheels/*.whl
	$(RELEASE)/bin/twine check --strict dist/*

clean:  ## remove what was built, and the environments
	rm -rf build dist $(VENV)

$(RELEASE): requirements/release.txt
	@tools/venv.sh $(RELEASE) python3 requirements/release.txt
	@touch $(RELEASE)

$(TOOLS): requirements/tools.txt
	@tools/venv.sh $(TOOLS) python3 requirements/tools.txt
	@touch $(TOOLS)
