# Targets build .venv first if it is missing or older than pyproject.toml.
PYTHON ?= python3
UV := $(shell command -v uv 2>/dev/null)
READY := .venv/.ready
PYTEST := .venv/bin/python -m pytest --numprocesses auto --dist worksteal

.PHONY: help run demo test test-slow test-all test-ray lint docs docs-site benchmark clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "make %-9s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

run: $(READY) ## train and evaluate the paper's CVAE (on the embedded digits if MNIST is not available)
	.venv/bin/python -m cvae_lightning

demo: $(READY) ## draw digits with a model that comes with the package, reconstruct them, and open the explorer
	.venv/bin/python -m cvae_lightning.sample run=pretrained:best num=1
	.venv/bin/python -m cvae_lightning.reconstruct run=pretrained:best images=outputs/pretrained/best/samples/samples.npz labels=[0,1,2,3,4,5,6,7,8,9]
	.venv/bin/python -m cvae_lightning.export run=pretrained:best
	@.venv/bin/python -m webbrowser outputs/pretrained/best/export/explorer.html || true # where there is a browser

test: $(READY) ## run all tests except the slow ones, on all cores, in some minutes
	$(PYTEST)

test-slow: $(READY) ## run the slow tests: engines, killed sweeps, the wheel, the notebook, the browser, more combinations
	$(PYTEST) -m "slow and not ray"

test-all: test test-slow ## run all tests except those of Ray

test-ray: $(READY) ## install the extra cluster and run the tests of Ray
ifdef UV
	$(UV) pip install --quiet --python .venv/bin/python --constraints constraints.txt --editable '.[dev,cluster]'
else
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,cluster]'
endif
	.venv/bin/python -m pytest -m ray

lint: $(READY) ## run ruff and mypy, and check the layers of the package
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	.venv/bin/mypy
	.venv/bin/mypy --platform win32 --cache-dir .mypy_cache/win32 cvae_lightning hydra_plugins
	.venv/bin/lint-imports --no-cache

docs: $(READY) ## write every table and picture of the documentation from the csv files in multirun/reference
	.venv/bin/python benchmarks/write_docs.py

docs-site: $(READY) ## install the extra site and build the documentation into site/; a broken link fails
ifdef UV
	$(UV) pip install --quiet --python .venv/bin/python --constraints constraints.txt --editable '.[dev,site]'
else
	.venv/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev,site]'
endif
	NO_MKDOCS_2_WARNING=1 .venv/bin/python -m mkdocs build --strict # with --quiet no warning would count

benchmark: $(READY) ## train everything in docs/benchmark.md, which takes hours, then make docs
	.venv/bin/python benchmarks/benchmark.py
	.venv/bin/python benchmarks/write_docs.py

clean: ## remove the environment and the caches of tools
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
