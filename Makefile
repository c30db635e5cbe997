# make setup   .venv with everything; afterwards .venv/bin/treereason works
# make demo    20 lists of 64 digits sorted by tree of thoughts on the shipped model, live
# make test    all tests but the slow ones; make slow: those; make check: formatting, lint, types
# make gpu     tests of kernels and graphs, and what a card can do, on a machine with one, with its own python3
#
# A CPU machine without torch at hand saves a download of gigabytes with
#   make setup PIP_ARGS="--extra-index-url https://download.pytorch.org/whl/cpu"

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help setup demo test slow gpu check clean

PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | head -8

setup: .venv/.installed

# pip's stream is cut down to one line per package: minutes of silence look like a hang.
.venv/.installed: pyproject.toml constraints.txt
	@echo "Installing treereason into .venv (takes some minutes the first time)"
	@$(PYTHON) -m venv .venv
	@$(BIN)/pip install --disable-pip-version-check --progress-bar off $(PIP_ARGS) -c constraints.txt -e '.[test,check]' \
		| { grep --line-buffered -oE '^(Collecting|Installing|Building|Successfully installed) ?[^ (;<>=!~]*' || true; }
	@touch $@

demo: setup
	@$(BIN)/treereason task=sorting task.length=64 task.limit=20 search=tree_of_thoughts

# Of one thread each: two workers of two threads are slower. Three on two cores, for they wait a sixth of their time.
test: setup
	OMP_NUM_THREADS=1 MKL_NUM_THREADS=1 PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest -q -n 3

slow: setup
	$(BIN)/python -m pytest -q -m slow

# Needs torch, numpy, triton, pytest and transformers there. All parts run, within eight minutes, and without an
# accelerator none. tools/gpu_checks.py tells the rest.
gpu:
	@$(PYTHON) tools/gpu_checks.py

# By package rather than by folder: kernels/ and tasks/ are then found once, under the name they import as.
check: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy -p treereason -p treereason.kernels -p treereason.tasks -p benchmarks
	$(BIN)/mypy --explicit-package-bases tests tools

clean:
	rm -rf .venv build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
