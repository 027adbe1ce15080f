# WorkflowHub's commands. They need Python 3.11 or newer, make and git, and install the rest into .venv.
SHELL := /bin/sh
PORT ?= 8000
HOST ?= 127.0.0.1
JOBS ?= 3
# Faults wait more than they work.
FAULT_JOBS ?= 4
ARGS ?=
# How many runs demo-data and bench-pages make.
N ?=
# sqlite or postgresql; empty: both, one after the other.
DB ?=
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)
BIN := .venv/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check

.DEFAULT_GOAL := help
.PHONY: help run start stop test test-faults test-browser mutation bench bench-peers bench-pages demo-data lint check format

help: ## Show these lines
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)
	@echo '  Options: make run PORT=8000 HOST=127.0.0.1; make test DB=sqlite|postgresql ARGS="-k words" JOBS=3'

run: .venv/run.stamp ## Set everything up and serve the hub until Ctrl-C
	@exec $(BIN)/python manage.py up --host $(HOST) --port $(PORT)

start: .venv/run.stamp ## The same, in the background
	@$(BIN)/python manage.py up --host $(HOST) --port $(PORT) --detach

demo-data: .venv/run.stamp ## Fill the hub with N runs of a month that never was, to look around
	@$(BIN)/python manage.py migrate -v 0
	@$(BIN)/python manage.py demo_data $(N) $(ARGS)

stop: .venv/run.stamp ## Stop the hub that runs in the background
	@$(BIN)/python manage.py down

# What needs more than this may is a tier of its own.
TIER := not faults and not browser

test: .venv/dev.stamp ## Run the tests on SQLite and on PostgreSQL
ifeq ($(DB),)
	@echo '== SQLite'
	@TEST_DATABASE=sqlite $(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "$(TIER)" $(ARGS)
	@echo '== PostgreSQL (the tests that touch a database)'
	@TEST_DATABASE=postgresql $(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "$(TIER)" $(ARGS)
else
	@TEST_DATABASE=$(DB) $(BIN)/pytest -q -n $(JOBS) --dist worksteal -m "$(TIER)" $(ARGS)
endif

test-faults: .venv/dev.stamp ## Kill, pause and starve what runs, on both databases
	@echo '== SQLite'
	@TEST_DATABASE=sqlite $(BIN)/pytest -q -n $(FAULT_JOBS) --dist worksteal -m faults $(ARGS)
	@echo '== PostgreSQL'
	@TEST_DATABASE=postgresql $(BIN)/pytest -q -n $(FAULT_JOBS) --dist worksteal -m faults $(ARGS)

test-browser: .venv/dev.stamp ## See the pages in a real browser (needs Chromium)
	@TEST_DATABASE=sqlite $(BIN)/pytest -q -m browser $(ARGS)

mutation: .venv/dev.stamp ## Mutate states, moves and plan, and see whether the tests notice (half an hour)
	@$(PIP) mutmut==3.8.1
	@TEST_DATABASE=sqlite $(BIN)/mutmut run --max-children $(JOBS)
	@$(BIN)/python -m tests.mutation

bench: .venv/dev.stamp ## Measure the hub on both databases and print one table (a quarter of an hour)
	@$(BIN)/python -m bench $(ARGS)

bench-peers: .venv/dev.stamp ## The same work for other engines and queues, in turn (installs them into .engines)
	@$(BIN)/python -m bench.peers $(ARGS)

bench-pages: N := $(or $(N),1000000)
bench-pages: .venv/dev.stamp ## Measure every list, filter and page on a history of N runs (PostgreSQL)
	@$(BIN)/python -m bench.pages $(N) $(ARGS)

lint: .venv/dev.stamp ## Style, types, layers, migrations, security
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@home=$$(mktemp -d) && trap 'rm -rf "$$home"' EXIT && \
		WORKFLOWHUB_HOME=$$home $(BIN)/python manage.py makemigrations --check --dry-run
	@$(BIN)/bandit -q -c pyproject.toml -r -ll workflowhub engines runs -x '*/tests/*'

check: lint test ## Everything that a change must pass

format: .venv/dev.stamp ## Format the code and mend what can be mended
	@$(BIN)/ruff check --fix --quiet . ; $(BIN)/ruff format .

.venv/bin/python:
	@if [ -z "$(PYTHON)" ]; then \
		echo 'WorkflowHub needs Python 3.11 or newer, and none is on the PATH.' >&2; \
		echo 'Install one, or name it: make run PYTHON=/path/to/python3.12' >&2; exit 1; fi
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
		echo '$(PYTHON) is not a Python of 3.11 or newer, which WorkflowHub needs.' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
		echo '$(PYTHON) cannot make virtual environments: install its venv package (Debian: python3-venv).' >&2; exit 1; }
	@echo 'Making the virtual environment .venv'
	@$(PYTHON) -m venv .venv

# A stamp is newer than the list that it stands for, so nothing is installed twice.
.venv/run.stamp: requirements.txt | .venv/bin/python
	@echo 'Installing requirements.txt'
	@$(PIP) -r requirements.txt
	@touch $@

.venv/dev.stamp: requirements.txt requirements-dev.txt | .venv/bin/python
	@echo 'Installing requirements-dev.txt'
	@$(PIP) -r requirements-dev.txt
	@touch .venv/run.stamp $@
