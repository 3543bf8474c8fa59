# Everything a contributor runs. The only thing that must be there before is
# Python >= 3.11: the first target that needs the virtual environment makes it,
# and what a target needs is installed into it once.

PYTHON ?= python3#  the interpreter that makes the environment
VENV ?= .venv#      where it is
JOBS ?= auto#       test processes
ARGS ?=#            passed on to the script or to pytest
OUT ?= out/smoke#   where `make smoke` writes
SITE ?= site#       where `make docs` does

BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n $(JOBS) --maxprocesses 8 --durations 25 --durations-min 3

.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
.SUFFIXES:

## Use

.PHONY: help
help:  ## print this list
	@awk -F ':.*## ' \
	    '/^## / { printf "\n%s\n", substr($$0, 4) } \
	     /^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))
	@printf '\nARGS="…" is passed on: make sine ARGS="--steps 100", make test ARGS="-k lstm -n 0".\n'

.PHONY: sine
sine: $(VENV)/.stamp-plot  ## train a two-layer LSTM on sine waves and draw what it predicts
	$(BIN)/python examples/sine.py $(ARGS)

.PHONY: smoke
smoke: $(VENV)/.stamp-plot $(VENV)/.stamp-data $(VENV)/.stamp-export  ## run every example at a small size
	@for example in examples/[!_]*.py; do \
	    [ -e "$$example" ] || continue; \
	    echo "$$example --smoke"; \
	    $(BIN)/python "$$example" --smoke --out "$(OUT)/$$(basename "$$example" .py)" $(ARGS) \
	        || exit 1; \
	done

## Check

.PHONY: test
test: $(VENV)/.stamp-test  ## run the tests and the docstrings' examples
	$(PYTEST) -m "not slow and not oracle" $(ARGS)

.PHONY: test-rest
test-rest: $(VENV)/.stamp-test $(VENV)/.stamp-oracle $(VENV)/.stamp-data $(VENV)/.stamp-docs  ## run only what `make test` leaves out: slow and oracle tests
	$(PYTEST) -m "slow or oracle" $(ARGS) || [ $$? -eq 5 ]  # 5: there is none

.PHONY: test-all
test-all: $(VENV)/.stamp-test $(VENV)/.stamp-oracle $(VENV)/.stamp-data $(VENV)/.stamp-docs  ## run every test and report coverage
	$(PYTEST) --cov --cov-report=term $(ARGS)

.PHONY: lint
lint: $(VENV)/.stamp-lint  ## check style and formatting
	$(BIN)/ruff check $(ARGS)
	$(BIN)/ruff format --check

.PHONY: format
format: $(VENV)/.stamp-lint  ## fix what can be fixed of them
	$(BIN)/ruff check --fix $(ARGS)
	$(BIN)/ruff format

.PHONY: types
types: $(VENV)/.stamp-lint $(VENV)/.stamp-plot  ## check types
	$(BIN)/pyright --pythonpath $(BIN)/python $(ARGS)

.PHONY: docs
docs: $(VENV)/.stamp-docs  ## build the documentation into site/
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --site-dir $(SITE) $(ARGS)
	$(BIN)/python docs/check_api.py $(SITE)/objects.inv

.PHONY: site-check
site-check: docs $(VENV)/.stamp-site  ## open every page in Chromium, and ask the search what newcomers ask
	$(BIN)/python docs/check_site.py $(SITE) $(ARGS)

.PHONY: docs-version
docs-version: $(VENV)/.stamp-docs  ## put the documentation of this version beside the others, on the branch gh-pages
	VERSIONS=mike NO_MKDOCS_2_WARNING=1 $(BIN)/mike deploy --update-aliases \
	    "$$($(BIN)/python -c 'import jaxrnn; print(jaxrnn.__version__)')" latest $(ARGS)

## Release

.PHONY: release-check
release-check: $(VENV)/.stamp-release  ## build wheel and sdist, install and try them on every supported Python
	BIN=$(abspath $(BIN)) .ci/release $(ARGS)

## Measure

.PHONY: bench
bench: $(VENV)/.stamp-bench  ## run the benchmarks, beside other libraries
	@for script in benchmarks/[!_]*.py; do \
	    [ -e "$$script" ] || continue; \
	    echo "$$script $(ARGS)"; \
	    $(BIN)/python "$$script" $(ARGS) || exit 1; \
	done

.PHONY: bench-quick
bench-quick: override ARGS := --quick $(ARGS)
bench-quick: bench  ## run them at a small size

## Tidy

.PHONY: clean
clean:  ## remove what was built, but not the environment
	rm -rf build dist out site htmlcov .coverage .coverage.* .hypothesis .pytest_cache .ruff_cache
	find .ci benchmarks docs examples jaxrnn tests -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true

.PHONY: distclean
distclean: clean  ## remove that too
	rm -rf $(VENV)

# The environment, and one stamp per extra of pyproject.toml in it. The stamp is
# the last thing written, so that an interrupted installation is taken up again.

$(VENV)/.stamp-venv:
	@command -v $(PYTHON) >/dev/null || { \
	    echo "jaxrnn needs Python >= 3.11, and there is no '$(PYTHON)' on the PATH." >&2; \
	    echo "Name one: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "jaxrnn needs Python >= 3.11; '$(PYTHON)' is $$($(PYTHON) --version 2>&1)." >&2; \
	    echo "Name another: make PYTHON=/path/to/python3.12 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "creating $(VENV)"
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --upgrade 'pip>=25.1' >$(VENV)/pip.log 2>&1 || \
	    { cat $(VENV)/pip.log >&2; exit 1; }
	@touch $@

$(VENV)/.stamp-%: pyproject.toml | $(VENV)/.stamp-venv
	@echo "installing jaxrnn[$*] into $(VENV) (once; it can take minutes)"
	@$(BIN)/python -m pip install --quiet --editable '.[$*]' >$(VENV)/pip.log 2>&1 || \
	    { cat $(VENV)/pip.log >&2; exit 1; }
	@touch $@
