# Every target does its own set-up; `make` alone prints this help.

VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.ready
# Set PYTHON=... to choose one; else the first of these that is 3.11 or newer and can make a venv.
PYTHONS := $(PYTHON) python3.13 python3.12 python3.11 python3.14 python3 python
# What draws plots is installed only where they are drawn.
PLOTS = $(BIN)/python -c "import matplotlib" 2>/dev/null || $(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[bench]"

.DEFAULT_GOAL := help
.PHONY: help setup demo test faults chaos mutants lint bench bench-peers bench-growth bench-soak docs clean

help: ## Print this help
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP) ## Make .venv with all that the other targets need; once, and when pyproject.toml changed

demo: $(STAMP) ## Run every source file of the standard library through a queue, and check every figure
	@$(BIN)/taskq demo

test: $(STAMP) ## Run the tests but for the faults, three files at a time; T="tests/unit -x" chooses
	@$(BIN)/python -m pytest $(or $(T),-n 3 --dist loadfile --ignore=tests/chaos)

faults: $(STAMP) ## Inject faults, one by one, three at a time; T="tests/chaos/test_redis.py" chooses
	@$(BIN)/python -m pytest -n 3 $(or $(T),tests/chaos)

chaos: $(STAMP) ## Random faults under load, judged; SECONDS=600 SEED=7 RATE=200 RESULTS=file choose
	@$(BIN)/python -m tests.chaos.nemesis --seconds $(or $(SECONDS),120) --rate $(or $(RATE),200) $(addprefix --seed ,$(SEED)) $(addprefix --results ,$(RESULTS))

mutants: $(STAMP) ## Break every guard of lua/, one at a time, and see a test fail; SCRIPT=ack chooses
	@$(BIN)/python -m tests.mutation.run $(addprefix --script ,$(SCRIPT)) $(M)

lint: $(STAMP) ## Check style, types, layers, and that generated pages are fresh
	@echo "ruff check" && $(BIN)/ruff check .
	@echo "ruff format" && $(BIN)/ruff format --check .
	@echo "mypy" && $(BIN)/mypy
	@echo "lint-imports" && $(BIN)/lint-imports --no-logo
	@echo "docs" && $(BIN)/python docs/generate.py --check

bench: $(STAMP) ## Measure speed on this machine; PY=3.13: with this Python, in an environment of its own
	@$(BIN)/python bench/run.py $(addprefix --python ,$(PY)) $(B)

bench-peers: $(STAMP) ## Measure taskq beside eleven other queues, 25 minutes; B=--quick: 3
	@$(PLOTS)
	@$(BIN)/python bench/peers/run.py $(B)

bench-growth: $(STAMP) ## Measure what claims cost as jobs, workers, groups and queues grow
	@$(PLOTS)
	@$(BIN)/python bench/growth.py $(B)

bench-soak: $(STAMP) ## Half load for 30 minutes: does memory stay? B="--minutes 3", B=--quick: less
	@$(PLOTS)
	@$(BIN)/python bench/soak.py $(B)

docs: $(STAMP) ## Write the generated pages in docs/ anew
	@$(BIN)/python docs/generate.py

clean: ## Remove .venv, caches and builds
	rm -rf .venv .ci-venv bench/.peers build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# A candidate counts only if it runs: a version manager's shim may be on PATH with nothing behind it.
$(STAMP): pyproject.toml
	@set -e; \
	if ! $(BIN)/python -c "import pip" 2>/dev/null; then \
	  for candidate in $(PYTHONS); do \
	    if $$candidate -c "import ensurepip, sys, venv; sys.exit(sys.version_info < (3, 11))" 2>/dev/null; \
	    then found=$$candidate; break; fi; \
	  done; \
	  if [ -z "$$found" ]; then \
	    echo "no Python >= 3.11 with its venv module among: $(strip $(PYTHONS))" >&2; \
	    echo "install one (on Debian and Ubuntu with python3-venv), or name it: make PYTHON=/path/to/python3" >&2; \
	    exit 1; \
	  fi; \
	  echo "setting up $(VENV) with $$($$found --version) (once, about a minute) ..."; \
	  $$found -m venv --clear $(VENV); \
	else \
	  echo "bringing $(VENV) up to date: pyproject.toml has changed ..."; \
	fi; \
	echo "  installing taskq and its tools ..."; \
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e ".[dev]"; \
	touch $(STAMP); \
	echo "  ready"
