# metier: `make demo` shows what it does, `make test` checks that it works. Both need Python 3.11 and make, nothing else.
#
#   make demo        install, then fine-tune, evaluate and prove the bundled base on the bundled example
#   make test        install, then lint, types, import contract and the tests (minutes)
#   make test-all    the same with the slow tests
#   make check       what is quick: lint, types, import contract, guards of the house
#   make fuzz        hundreds of requests for every path of the server (schemathesis)
#   make clients     two further clients of the server's API, for the tests that use them (Node and litellm)
#   make docs        rewrite the pages that are generated from the program
#   make clean       delete everything that make made

SHELL := /bin/sh
PYTHON ?= $(or $(shell command -v python3.11),$(shell command -v python3))
# What is installed before the package. With a GPU: install your own torch into .venv first and say `make demo TORCH=`.
TORCH ?= torch==2.13.0
WORKERS ?= 2

BIN := .venv/bin
PIP := $(BIN)/python -m pip --quiet --disable-pip-version-check install
INSTALLED := .venv/installed.toml
LOOKED_AT := src tests docs bench

# Arithmetic threads of the demo are the program's choice; tests run side by side, one thread each, and never go online.
TEST := OMP_NUM_THREADS=1 HF_HUB_OFFLINE=1 $(BIN)/python -m pytest -n $(WORKERS)

.DEFAULT_GOAL := help
.PHONY: help demo test test-all check fuzz clients lint docs clean

help:
	@sed -n '/^#  /s/^# *//p' Makefile

demo: $(INSTALLED)
	@test -d demo || $(BIN)/metier init demo
	@$(BIN)/metier run --project demo

test: $(INSTALLED) lint
	@$(TEST)

# Slow tests compute for longer than a quarter of an hour on a busy machine.
test-all: $(INSTALLED) lint
	@$(TEST) -m "slow or not slow" -o faulthandler_timeout=5400

check: $(INSTALLED) lint
	@$(TEST) tests/house

fuzz: $(INSTALLED)
	@METIER_FUZZ=300 $(TEST) -n 0 tests/serve/test_fuzz.py

clients: $(INSTALLED)
	@mkdir -p .venv/clients && cd .venv/clients && npm install --no-audit --no-fund openai
	@$(BIN)/python -m venv .venv/clients/litellm && .venv/clients/litellm/bin/pip install --quiet litellm

lint: $(INSTALLED)
	@$(BIN)/ruff check --quiet $(LOOKED_AT)
	@$(BIN)/ruff format --check --quiet $(LOOKED_AT) || { echo "not formatted; do: $(BIN)/ruff format $(LOOKED_AT)"; exit 1; }
	@$(BIN)/lint-imports --no-logo > .venv/lint-imports.txt 2>&1 || { cat .venv/lint-imports.txt; exit 1; }
	@$(BIN)/pyrefly check --summary=none

docs: $(INSTALLED)
	@$(BIN)/python docs/generate.py

clean:
	rm -rf .venv demo build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The stamp is a copy of pyproject.toml: when only its date is new (a git checkout), nothing is installed again.
$(INSTALLED): pyproject.toml
	@if cmp -s pyproject.toml $@; then touch $@; else $(MAKE) --no-print-directory install; fi

.PHONY: install
install:
	@test -n "$(PYTHON)" || { echo "found: no python3; wanted: Python 3.11 or newer; do: apt-get install python3.11 python3.11-venv"; exit 2; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "found: $$($(PYTHON) --version); wanted: Python 3.11 or newer; do: make PYTHON=/path/to/python3.11"; exit 2; }
	@test -x $(BIN)/pip || { echo "making .venv with $(PYTHON)"; $(PYTHON) -m venv --clear .venv; } \
		|| { rm -rf .venv; echo "do: apt-get install python3.11-venv"; exit 2; }
	@if test -n "$(TORCH)"; then echo "installing $(TORCH)"; $(PIP) "$(TORCH)"; fi
	@echo "installing metier with its extras"
	@$(PIP) -e '.[train,heads,clean,sweep,fast,files,sql,adamw-8bit,schedule-free,protect,synthesise,judge,registry,postgres,gguf,llama-cpp,serve,upstream,telemetry,dev]'
	@cp pyproject.toml $(INSTALLED)
