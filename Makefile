# SPDX-License-Identifier: AGPL-3.0-or-later
# Everything a contributor needs. `make` alone lists it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PROMPT ?= a red circle on a blue background
OUT ?= circle.webp
DATA ?= data
PORT ?= 7001
PYTEST_OPTIONS ?=

VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# Stamps: installed again only when the list of dependencies changes.
RUN_STAMP := $(VENV)/installed-to-run
TEST_STAMP := $(VENV)/installed-to-test

.DEFAULT_GOAL := help
.PHONY: help demo up test browser check format bench clean

help: ## list these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(RUN_STAMP) ## draw one picture with a horde of your own: make demo PROMPT="..." OUT=circle.webp
	@$(BIN)/horde demo --prompt "$$PROMPT" --out "$$OUT"

up: $(RUN_STAMP) ## run a horde here until Ctrl-C: server, database, worker (DATA=data PORT=7001)
	@exec $(BIN)/horde up --data "$$DATA" --port "$$PORT"

test: check browser ## everything CI runs: check, then all tests (PYTEST_OPTIONS="-k word")
	$(BIN)/python -m pytest $(PYTEST_OPTIONS)

browser:
	@scripts/install-chromium.sh

check: $(TEST_STAMP) ## formatting, lint, types and import rules
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(TEST_STAMP) ## put the source into shape
	$(BIN)/ruff format
	$(BIN)/ruff check --fix

bench: $(TEST_STAMP) ## measure (see bench/README.md)
	$(BIN)/python -m bench

clean: ## remove what was installed and cached here; data stays
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# Prompts and file names reach the recipes through the environment, so that quotes in them are safe.
export PROMPT OUT DATA PORT

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "make: no python3.11 or python3 found. Install Python 3.11 or newer."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: openhorde needs Python 3.11 or newer, and $(PYTHON) is $$("$(PYTHON)" --version | head -n 1)."; \
	  echo "      Name another one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv $(VENV) || { \
	  echo "make: $(PYTHON) cannot make virtual environments (on Debian: apt install python3-venv)."; exit 1; }

$(RUN_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "installing openhorde with server and worker (the first time takes some minutes)"
	@$(PIP) install -c constraints.txt -e '.[all]'
	@touch $@

$(TEST_STAMP): pyproject.toml constraints.txt | $(BIN)/pip
	@echo "installing openhorde with everything its tests need (the first time takes some minutes)"
	@$(PIP) install -c constraints.txt -e '.[all,dev]'
	@touch $@ $(RUN_STAMP)
