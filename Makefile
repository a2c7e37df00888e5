# `make` lists the commands.
.DEFAULT_GOAL := help
.PHONY: help setup demo test screenshots newest check bench docs fingerprint release-schema clean

PYTHON := $(shell command -v python3.11 || echo python3)
# Missing programs that some tests need. Each name is both the marker of these tests and a Debian package.
MISSING := $(strip $(shell PATH="$$PATH:/usr/sbin"; command -v chromium >/dev/null || echo chromium; \
	command -v pgbouncer >/dev/null || echo pgbouncer; \
	command -v rsyslogd >/dev/null || echo rsyslog; \
	command -v systemd-analyze >/dev/null || echo systemd))
# The tests copy a database some thousand times: with 8 GB to spare, in memory, where they take a third of the time.
ROOMY := $(shell awk '/^MemAvailable/ && $$2 > 8000000 {print "yes"}' /proc/meminfo 2>/dev/null)
IN_MEMORY := $(if $(ROOMY),$(shell df -k /dev/shm 2>/dev/null | awk '$$4 > 4000000 && $$6 == "/dev/shm" {print $$6}'))
READY := .venv/ready

help: ## Lists the commands
	@sed -nE 's/^([a-z-]+):.*## (.*)/  make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 22

setup: $(READY) ## Creates .venv with all dependencies; the other commands do so, too

$(READY): pyproject.toml requirements-dev.txt
	$(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --upgrade pip
	.venv/bin/python -m pip install --quiet --requirement requirements-dev.txt
	.venv/bin/python -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(READY) ## Runs the demo: an application, two workers, one killed half way, and a final count
	.venv/bin/pgaudit demo

test: $(READY) ## Runs the tests, on real servers that they start
	$(if $(MISSING),@echo "Skips the tests marked $(MISSING). To run them: apt-get install $(MISSING)")
	$(if $(TMPDIR),,$(if $(IN_MEMORY),TMPDIR=$(IN_MEMORY) )).venv/bin/pytest --numprocesses 3 --dist loadfile --no-loadscope-reorder \
		$(if $(MISSING),-m "not ($(shell echo $(MISSING) | sed 's/ / or /'))")

screenshots: $(READY) ## Takes the pictures of the dashboard in docs/img; needs chromium
	PGAUDIT_SCREENSHOTS=docs/img .venv/bin/pytest tests/browser/test_screenshots.py

newest: $(READY) ## Runs the worker's tests with the newest Procrastinate, and never fails
	rm -rf .newest
	.venv/bin/python -m pip install --quiet --no-deps --pre --target .newest procrastinate
	@ls -d .newest/procrastinate-*.dist-info
	-PYTHONPATH=.newest .venv/bin/pytest --numprocesses 2 tests/worker tests/acceptance tests/migrations/test_procrastinate.py

check: $(READY) ## Runs the linters, the type checkers and the contract on imports
	.venv/bin/ruff check
	.venv/bin/ruff format --check
	.venv/bin/mypy
	.venv/bin/basedpyright
	.venv/bin/lint-imports --no-logo

bench: $(READY) ## Measures what recording costs and how fast workers drain the queue
	.venv/bin/python -m benchmarks

docs: $(READY) ## Builds the documentation into site/; a warning is an error
	.venv/bin/python -m docs.generate
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict

fingerprint: $(READY) ## Writes migrations/fingerprint.json, after a change of the SQL
	.venv/bin/python -m tests.migrations.regenerate fingerprint

release-schema: $(READY) ## Writes this version's files in tests/migrations/released, after a change of the SQL
	.venv/bin/python -m tests.migrations.regenerate release

clean: ## Removes .venv, build results and caches
	rm -rf .venv .newest dist site .pytest_cache .hypothesis .mypy_cache .ruff_cache .import_linter_cache
