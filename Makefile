# make run, make test: each builds .venv where that is missing or older than pyproject.toml.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
READY := .venv/.ready
PYTEST := .venv/bin/python -m pytest --numprocesses auto --dist worksteal

.PHONY: help run test test-slow test-all test-ray lint docs benchmark clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) ## the main job: train and evaluate the paper's CVAE (on embedded digits where MNIST can't be had)
	.venv/bin/python -m cvae_lightning

test: $(READY) ## all tests but the slow ones, on all cores: some minutes
	$(PYTEST)

test-slow: $(READY) ## the slow tests: engines, killed sweeps, the wheel, the notebook, the browser, more combinations
	$(PYTEST) -m "slow and not ray"

test-all: test test-slow ## all tests but those of Ray

test-ray: $(READY) ## the tests of the extra cluster, which it installs
ifdef UV
	$(UV) pip install --quiet --python .venv/bin/python --constraints constraints.txt --editable '.[dev,cluster]'
else
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,cluster]'
endif
	.venv/bin/python -m pytest -m ray

lint: $(READY) ## ruff, mypy, and the layers of the package
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/lint-imports --no-cache

docs: $(READY) ## every table and picture of the documentation, from the csv files in multirun/reference
	.venv/bin/python benchmarks/write_docs.py

benchmark: $(READY) ## train everything in docs/benchmark.md, which takes hours, then make docs
	.venv/bin/python benchmarks/benchmark.py
	.venv/bin/python benchmarks/write_docs.py

clean: ## remove the environment and what tools have cached
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache dist

$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Expected Python >= 3.11 (PYTHON), got $$($(PYTHON) -V). Set PYTHON=<path of a newer one>." >&2; exit 1; }
ifdef UV
	$(UV) venv --quiet --clear --python $(PYTHON) .venv
	$(UV) pip install --quiet --python .venv/bin/python --constraints constraints.txt --editable '.[dev]'
else
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
endif
	@touch $@
