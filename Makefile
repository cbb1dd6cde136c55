# The doors of the house. Every target does its own set-up.
PYTHON ?= python3
profile ?=
STATE ?= $(if $(filter full,$(profile)),full,demo)
BIN := .venv/bin
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test test-rooms test-journeys lint fmt bench wheel up down

help: ## say what there is
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 16

setup: ## make both virtual environments (minutes and 9 GB, once)
	@$(MAKE) --no-print-directory -j2 .venv/.ready .venv-label-studio/.ready

demo: setup ## run the main job on drawn people: clips in, registered models and a report out
	@$(BIN)/python -m flows demo --state $(STATE)

test: setup ## pass the tests; ARGS="-m 'not journey'" for the quick ones
ifdef ARGS
	@$(BIN)/python -m pytest $(ARGS)
else # journeys wait for services most of the time, rooms compute: side by side
	@$(MAKE) --no-print-directory --keep-going --jobs=2 --output-sync=line test-rooms test-journeys
endif

test-rooms test-journeys: .venv/.ready .venv-label-studio/.ready # the longer lane goes first
	@$(if $(filter test-rooms,$@),nice) $(BIN)/python -m pytest -m "$(if $(filter test-rooms,$@),not journey,journey and not full)"

lint: setup ## format, rules, types, layers, dependencies, spelling
	@$(BIN)/ruff format --check --quiet . || { echo "run 'make fmt'"; exit 1; }
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@$(BIN)/deptry .
	@$(BIN)/codespell
	@echo "lint: clean"

fmt: setup ## rewrite the code as the rules want it
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: setup ## our work beside an honest baseline, as ratios
	@$(BIN)/vitau bench all

wheel: setup ## build dist/vitau-….whl, all that a person with a model needs; asks no network
	@rm -rf build dist
	@$(BIN)/python -m pip wheel --quiet --disable-pip-version-check --no-deps --no-build-isolation --wheel-dir dist .
	@rm -rf build
	@ls dist/*.whl

up: setup ## start the services on the state of the demo; profile=full for PostgreSQL, S3, workers and all, in full/
	@$(BIN)/python -m flows up --state $(STATE) $(if $(profile),--profile $(profile))

down: setup ## stop them (profile=full likewise)
	@$(BIN)/python -m flows down --state $(STATE)

# No resolving: every package is pinned and installed as it is; `pip check` says if the pins fit.
.venv/.ready: constraints.txt pyproject.toml
	@echo "Setting up .venv (the application) …"
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "ViTAU needs Python 3.11 or newer; set PYTHON=…")'
	@$(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@$(BIN)/python -m pip check --quiet
	@touch $@

.venv-label-studio/.ready: constraints-label-studio.txt
	@echo "Setting up .venv-label-studio (its pins clash with ours) …"
	@$(PYTHON) -m venv .venv-label-studio
	@.venv-label-studio/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -r constraints-label-studio.txt
	@.venv-label-studio/bin/python -m pip check --quiet
	@rm -rf $(@D)/empty
	@$(EMPTY_LABEL_STUDIO) $(@D)/bin/label-studio version >$(@D)/empty.log 2>&1 || { cat $(@D)/empty.log; exit 1; }
	@touch $@

# It migrates whatever command it is given; a new state begins with a copy of what that leaves (flows/local_stack/services.py).
EMPTY_LABEL_STUDIO := LABEL_STUDIO_BASE_DATA_DIR=$(CURDIR)/.venv-label-studio/empty SECRET_KEY=signs-nothing \
	COLLECT_ANALYTICS=false LATEST_VERSION_CHECK=false SENTRY_DSN= FRONTEND_SENTRY_DSN=
