# Two commands matter: `make demo` shows what attune does, `make test` proves it. Both set up .venv by themselves.
# All paths are relative to this file, so the checkout may live in a directory with spaces in its name.

SHELL := /bin/sh
MAKEFLAGS += --no-print-directory
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check --quiet
PINNED := --constraint constraints.txt --build-constraint constraints.txt
PYTHONS := $(if $(PYTHON),"$(PYTHON)",python3 python3.13 python3.12 python3.11)
WHAT_IS_INSTALLED_FROM := pyproject.toml constraints.txt

.PHONY: help demo test check format bench stack clean

help: ## Say what can be asked for
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/make \1	\2/p' Makefile

demo: $(VENV)/.installed ## Show routing, an outage and the way back, on this machine alone
	$(BIN)/attune demo $(ARGS)

# What drives real programs waits for them, by the clock: it runs by itself, after all that only wants the processor.
test: $(VENV)/.installed-for-tests ## Run every test; ARGS="tests/calls -k stream" runs some (PYTEST_ADDOPTS is passed on)
ifdef ARGS
	$(BIN)/python -m pytest $(ARGS)
else
	$(BIN)/python -m pytest --numprocesses auto --dist loadfile --ignore tests/stack
	$(BIN)/python -m pytest tests/stack
endif

check: $(VENV)/.installed-for-tests ## Lint and type-check
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.installed-for-tests ## Put the source into the one format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/.installed-for-tests ## Measure what README promises
	@status=0; for script in tests/benchmarks/bench_*.py; do \
	  echo "== $$script"; $(BIN)/python "$$script" || status=1; \
	done; exit $$status

stack: | $(BIN)/python ## Get the programs that the infrastructure tests run against (collector/README.md)
	$(BIN)/python collector/stack/build.py $(ARGS)

clean: ## Remove what was built and cached, .venv included
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The newest interpreter is not the best one: the first of the list that is 3.11 or later and can make a venv is taken.
$(BIN)/python:
	@for python in $(PYTHONS); do \
	  if "$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then \
	    echo "Making $(VENV) with $$python"; \
	    "$$python" -m venv --clear $(VENV) && exit 0; \
	  fi; \
	done; \
	echo "attune needs Python 3.11 or later with the venv module. Tried:" $(PYTHONS) >&2; \
	echo "Install one (on Debian: python3 and python3-venv), or say which: make PYTHON=/path/to/python" >&2; \
	exit 1

$(VENV)/.installed: $(WHAT_IS_INSTALLED_FROM) | $(BIN)/python
	$(PIP) install --constraint constraints.txt --upgrade pip
	$(PIP) install $(PINNED) --editable .
	@touch $@

$(VENV)/.installed-for-tests: $(VENV)/.installed
	$(PIP) install $(PINNED) --editable ".[all]" --group dev
	@touch $@
