# The targets for people; `make help` lists them. Each target runs the set-up that it needs.
PYTHON ?= python3
profile ?=
STATE ?= $(if $(filter full,$(profile)),full,demo)
BIN := .venv/bin
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
unexport PYTHONDONTWRITEBYTECODE # every one of hundreds of processes would compile our modules again
.PHONY: help setup demo tables test test-units test-journeys lint audit chaos fuzz load mutants fmt bench wheel up down

help: ## list the targets
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: ## create both virtual environments (takes minutes and 9 GB, once)
	@$(MAKE) --no-print-directory -j2 .venv/.ready .venv-label-studio/.ready

demo: setup ## run the main job on drawn people: ingest clips, train and register models, write a report
	@$(BIN)/python -m flows demo --state $(STATE)

tables: setup ## fit every method of the paper's tables on drawn people, and write docs/benchmark.md; takes half an hour
	@$(BIN)/python -m flows tables all drawn --size tiny --out paper-tables --page docs/benchmark.md

test: setup ## run all tests; ARGS="-m 'not journey'" runs the unit tests only
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else # journeys mostly wait for services and unit tests compute, so they run in parallel
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=line test-units test-journeys
endif

test-units: .venv/.ready .venv-label-studio/.ready # with low priority; two threads per test would wait for each other beside journeys
	@OMP_NUM_THREADS=1 nice $(BIN)/python -m pytest --ignore=tests/journeys

test-journeys: .venv/.ready .venv-label-studio/.ready
	@$(BIN)/python -m pytest -m "not full" tests/journeys

lint: setup ## check format, lint rules, types, import layers, dependencies and spelling
	@$(BIN)/ruff format --check --quiet . || { echo "run 'make fmt'"; exit 1; }
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry .
	@$(BIN)/codespell
	@echo "lint: clean"

audit: setup ## check the digests, licenses and known vulnerabilities of all packages; ARGS=--offline needs no network
	@$(BIN)/python infra/audit.py $(ARGS)

chaos: setup ## disturb every flow with every fault, and count what is lost or duplicated; takes an hour
	@$(BIN)/python -m tests.chaos.run $(ARGS)

fuzz: setup ## read 100 000 mutated inputs of each text format and 2 000 images and videos; takes half an hour
	@$(BIN)/python -m tests.fuzz.run $(ARGS)

load: setup ## measure parallel writers, submissions, webhooks and scoring workers; takes ten minutes
	@$(BIN)/python -m tests.load.run $(ARGS)

mutants: setup ## change critical code line by line, and count for how many changes a test fails; takes hours, a sample minutes
	@$(BIN)/python infra/mutants.py $(ARGS)

fmt: setup ## format the code and fix what can be fixed
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## run the benchmarks against their baselines, and write docs/performance.md; takes an hour
	@$(BIN)/vitau bench all --page docs/performance.md
	@$(BIN)/python -m flows bench-sync --page docs/performance.md
	@$(BIN)/python -m flows bench-cores --page docs/performance.md

wheel: setup ## build dist/vitau-….whl, for people who only use models; needs no network
	@rm -rf build dist
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@rm -rf build
	@ls dist/*.whl

up: setup ## start the services on the state of the demo; profile=full starts all, with PostgreSQL, S3 and workers, in full/
	@$(BIN)/python -m flows up --state $(STATE) $(if $(profile),--profile $(profile))

down: setup ## stop the services; profile=full those in full/
	@$(BIN)/python -m flows down --state $(STATE)

# Nothing is resolved: every package is pinned with its digests, and `pip check` fails if the pins do not fit together.
.venv/.ready: constraints.txt pyproject.toml
	@echo "Setting up .venv (the application) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ViTAU needs Python 3.11 or newer; set PYTHON=…")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check --quiet
	@rm -rf $(@D)/empty
	@$(EMPTY_PREFECT) $(BIN)/python -m prefect server database upgrade --yes >$(@D)/empty.log 2>&1 || { cat $(@D)/empty.log; exit 1; }
	@printf '%s\n' '#!$(CURDIR)/$(BIN)/python' 'import sys' 'sys.path.insert(0, "$(CURDIR)")' \
		'from flows.cli.app import app' 'from vitau.collector import collect_seldom' 'collect_seldom()' 'app()' >$(BIN)/flows # `flows --install-completion` completes it in the shell
	@chmod +x $(BIN)/flows
	@touch $@

.venv-label-studio/.ready: constraints-label-studio.txt
	@echo "Setting up .venv-label-studio (its pins conflict with ours) …"
	@$(PYTHON) -m venv .venv-label-studio
	@.venv-label-studio/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r constraints-label-studio.txt
	@.venv-label-studio/bin/python -m pip check --quiet
	@rm -rf $(@D)/empty
	@$(EMPTY_LABEL_STUDIO) $(@D)/bin/label-studio version >$(@D)/empty.log 2>&1 || { cat $(@D)/empty.log; exit 1; }
	@touch $@

EMPTY_PREFECT := PREFECT_HOME=$(CURDIR)/.venv/empty DO_NOT_TRACK=1 \
	PREFECT_SERVER_DATABASE_CONNECTION_URL=sqlite+aiosqlite:///$(CURDIR)/.venv/empty/prefect.db

# Any command of it migrates its database; a new state folder starts from a copy of the result (flows/local_stack/services.py).
EMPTY_LABEL_STUDIO := LABEL_STUDIO_BASE_DATA_DIR=$(CURDIR)/.venv-label-studio/empty SECRET_KEY=signs-nothing \
	COLLECT_ANALYTICS=false LATEST_VERSION_CHECK=false SENTRY_DSN= FRONTEND_SENTRY_DSN=
