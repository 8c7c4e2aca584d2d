# Every target works from an empty checkout: it creates .venv first, and a second call installs nothing.
#   make demo      run the matrix of demo.yaml on the embedded microworld and write its report
#   make test      lint, then pytest without the slow tests
#   make test-all  all tests, the slow ones too
#   make lint      ruff, mypy --strict on harness/, the import contracts
#   make tables    write the README's tables of plugins again, from their docstrings

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# one process per core; worksteal keeps neighbouring tests in one process, since tests of one file share what they train
PARALLEL := --numprocesses auto --dist worksteal

# these targets never ask the Hugging Face hub for anything
export HF_HUB_OFFLINE := 1
export HF_HUB_DISABLE_TELEMETRY := 1
export TOKENIZERS_PARALLELISM := false
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test test-all lint tables install clean
.DEFAULT_GOAL := demo

demo: $(READY)
	@$(BIN)/bakeoff run demo.yaml --workers 2

test: lint
	@$(BIN)/python -m pytest -m "not slow and not gpu" $(PARALLEL)

# not in parallel: tests that measure time must run alone
test-all: test
	@$(BIN)/python -m pytest -m "slow or gpu"

lint: $(READY)
	@$(BIN)/ruff check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-cache --no-logo

tables: $(READY)
	@$(BIN)/python docs/tables.py

install: $(READY)

# torch goes first and alone: once it is installed, no other package asks for another build of it.
# pyreft and pyvene require far more than they import (an old transformers, notebooks), so they are installed without
# their dependencies; matplotlib is the only one of those that importing them needs.
$(READY): constraints.txt pyproject.toml
	@echo "Installing into $(VENV): a few minutes, once."
	@$(PYTHON) -c 'import sys; sys.exit("bakeoff needs Python 3.11 or later, and $(PYTHON) is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt torch setuptools
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-build-isolation --editable ".[dev,ifeval,endpoint]" matplotlib
	@$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps pyvene pyreft
	@touch $(READY)

clean:
	rm -rf $(VENV) .bakeoff
