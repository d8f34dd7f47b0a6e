# `make demo` and `make test` need Python 3.11 or newer, git and make; nothing else.
PYTHON ?= $(shell command -v python3.11 || command -v python3)
BIN := .venv/bin

.PHONY: demo bench test test-slow test-browser lint clean

demo: .venv/installed
	$(BIN)/bench run -m experiment=demo
	$(BIN)/bench table demo
	$(BIN)/bench dashboard

bench: .venv/installed
	$(BIN)/bench speed

test: .venv/installed lint
	$(BIN)/pytest

test-slow: .venv/installed
	$(BIN)/pytest -m slow

# Needs a Chromium (Debian: apt-get install chromium).
test-browser: .venv/browser
	$(BIN)/pytest -m browser

.venv/browser: .venv/installed
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[browser]'
	touch $@

lint: .venv/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Versions are pinned to those that were tested.
.venv/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[weights,dev]'
	touch $@

clean:
	rm -rf .venv outputs dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache
