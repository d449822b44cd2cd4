# SPDX-License-Identifier: AGPL-3.0-or-later
# Everything a contributor needs. `make` alone lists it.

PYTHON ?= $(shell command -v python3.11 || command -v python3)
PROMPT ?= a red circle on a blue background
OUT ?= circle.webp
DATA ?= data
PORT ?= 7001
MODEL ?=
# Which build of torch: auto, cpu, cuda, rocm (docs/gpu-worker.md).
TORCH ?= auto
PYTEST_OPTIONS ?=

VENV := .venv
BIN := $(VENV)/bin
INSTALL := $(BIN)/python scripts/install.py
# Stamps: installed again only when the list of dependencies changes, torch when TORCH does.
TORCH_STAMP := $(VENV)/torch-is-$(TORCH)
RUN_STAMP := $(VENV)/installed-to-run
TEST_STAMP := $(VENV)/installed-to-test

.DEFAULT_GOAL := help
.PHONY: help demo up port test browser check format bench clean

help: ## list these commands
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

demo: $(RUN_STAMP) ## draw one picture with a horde of your own: make demo PROMPT="..." OUT=circle.webp
	@$(BIN)/horde demo --prompt "$$PROMPT" --out "$$OUT"

up: port $(RUN_STAMP) ## run a horde here until Ctrl-C: server, database, worker (DATA= PORT= MODEL=smollm2)
	@exec $(BIN)/horde up --data "$$DATA" --port "$$PORT" $(if $(MODEL),--model "$$MODEL")

port:
	@case "$$PORT" in *[!0-9]*|"") echo "make: PORT=$$PORT is not a number: give a port, 1 to 65535."; exit 1;; esac

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
export PROMPT OUT DATA PORT MODEL

$(BIN)/pip:
	@test -n "$(PYTHON)" || { echo "make: no python3.11 or python3 found. Install Python 3.11 or newer."; exit 1; }
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "make: openhorde needs Python 3.11 or newer, and $(PYTHON) is $$("$(PYTHON)" --version | head -n 1)."; \
	  echo "      Name another one: make PYTHON=/path/to/python3.11"; exit 1; }
	@echo "making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv $(VENV) || { \
	  echo "make: $(PYTHON) cannot make virtual environments (on Debian: apt install python3-venv)."; exit 1; }

$(TORCH_STAMP): constraints.txt | $(BIN)/pip
	@$(INSTALL) --torch "$(TORCH)"
	@rm -f $(VENV)/torch-is-*
	@touch $@

$(RUN_STAMP): pyproject.toml constraints.txt | $(TORCH_STAMP)
	@echo "installing openhorde with server and worker (the first time 95 packages, 350 MB)"
	@$(INSTALL) --extras all
	@touch $@

$(TEST_STAMP): pyproject.toml constraints.txt | $(TORCH_STAMP)
	@echo "installing openhorde with everything its tests need (the first time 210 packages, 570 MB)"
	@$(INSTALL) --extras all,dev
	@touch $@ $(RUN_STAMP)
