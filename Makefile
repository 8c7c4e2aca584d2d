# Each target works from an empty checkout: it makes .venv first, and a second call installs nothing.
#   make demo      the matrix on the embedded microworld, and its report
#   make test      ruff, mypy --strict on harness/, pytest without the slow tests
#   make test-all  everything, the slow tests too
#   make lint      ruff and mypy alone

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# a process for each core, neighbours in one process, since tests of one file share what they train
PARALLEL := --numprocesses auto --dist worksteal

# the hub is never asked for anything by these targets
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-all lint install clean
.DEFAULT_GOAL := demo

demo: $(READY)
	@$(BIN)/bakeoff run demo.yaml --workers 2

test: lint
	@$(BIN)/python -m pytest -m "not slow and not gpu" $(PARALLEL)

# what takes the time of others must run alone
test-all: test
	@$(BIN)/python -m pytest -m "slow or gpu"

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

install: $(READY)

# torch first and alone: with it in place no other package asks for another build.
# pyreft and pyvene ask for far more than they import (an old transformers, notebooks), so they go in without their
# dependencies; matplotlib is the one that importing them needs and nothing else here brings.
$(READY): constraints.txt pyproject.toml
	@echo "Installing into $(VENV): a few minutes, once."
	@$(PYTHON) -c 'import sys; sys.exit("bakeoff needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt torch setuptools
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[dev,ifeval]" matplotlib
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps pyvene pyreft
	@touch $(READY)

clean:
	rm -rf $(VENV) .bakeoff
