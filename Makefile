# `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
# Where it is set every process compiles the whole program again, and tests start it hundreds of times.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help environment demo test test-unit test-kills test-faults test-faults-short drill pictures lint check format docs lock bench bench-p1 clean

help: ## List the targets
	@grep -hE '^[a-z0-9-]+:.*?## ' $(MAKEFILE_LIST) | awk -F':.*?## ' '{printf "  %-12s %s\n", $$1, $$2}'

environment: $(READY) ## Make .venv with every dependency at its pinned version

$(READY): requirements.txt pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --editable .
	@touch $@

demo: $(READY) ## Everything from nothing: real services, sample files, outbound messages on screen
	$(BIN)/dataharvest harvest examples/acme --tenant acme
	@echo "The services are still up: \`$(BIN)/dataharvest status\` shows the set, \`$(BIN)/dataharvest stack down\` stops them."

test: $(READY) ## Everything from nothing: all tests against the real services, on three stacks side by side
	$(BIN)/python -m pytest -n 3 --dist loadfile --no-loadscope-reorder --ignore tests/e2e/test_faults.py

test-unit: $(READY) ## The tests that need no service
	$(BIN)/python -m pytest tests/unit tests/agents

test-kills: $(READY) ## Workers killed under load, services cut off: nothing lost (about ten minutes)
	$(BIN)/python -m tests.kills

pictures: $(READY) ## The screenshots in docs/pictures, of real data in a real browser
	PICTURES=1 $(BIN)/python -m pytest tests/web/test_pictures.py

# Small disks that can be filled need mounts of our own; without them F13 is left out, and the report says so.
OWN_MOUNTS = $(shell unshare -m mount -t tmpfs none /tmp 2>/dev/null && echo env DATAHARVEST_FAULTS_OWN_MOUNTS=1 unshare -m)

test-faults-short: $(READY) ## Every kind of fault but jumping clocks once, and three planted bugs
	$(OWN_MOUNTS) $(BIN)/python -m pytest -n 3 --dist loadgroup tests/e2e/test_faults.py

test-faults: $(READY) ## Every kind of fault under load, about 215 in all, then the planted bugs (about forty minutes)
	$(BIN)/python -m tests.faults
	$(BIN)/python -m tests.faults --bugs

drill: $(READY) ## The same for hours, and 20,000 made-up files: make drill SEED=7 FAULTS=F1,F16 repeats a part
	$(BIN)/python -m tests.faults --scale drill $(if $(SEED),--seed $(SEED)) $(if $(FAULTS),--only $(FAULTS))
	$(BIN)/python -m pytest tests/unit/test_records.py tests/unit/test_splitting.py --hypothesis-profile drill --timeout 0

lint: $(READY) ## Style, types and architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

check: lint test ## Style, types, architecture, then all tests

format: $(READY) ## Bring the code into shape
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

docs: $(READY) ## Write what is generated: settings, metrics, topics, the schema of `status --json`
	$(BIN)/python -m dataharvest.settings_table
	$(BIN)/python -m dataharvest.status_schema
	$(BIN)/python -m dataharvest.metrics_page
	$(BIN)/dataharvest topics doc

lock: $(READY) ## Pin the dependencies of pyproject.toml again
	$(PYTHON) -m venv build/lock
	build/lock/bin/python -m pip install --quiet pip-tools
	build/lock/bin/pip-compile --quiet --strip-extras --extra stack --extra dev --no-annotate --no-header \
		--no-emit-index-url --no-emit-trusted-host --no-emit-find-links --no-emit-options -o requirements.txt pyproject.toml

bench-p1: $(READY) ## 3,000,000 rows through everything against a bare \copy, in the same run
	$(BIN)/python -m benchmarks.p1

bench: $(READY) ## Every benchmark, with its peer in the same run, into benchmarks/RESULTS.md; BENCH=full takes hours
	$(BIN)/python -m benchmarks.run $(or $(BENCH),short)

clean: ## Stop the services and remove the environment and the services' data
	-$(BIN)/dataharvest stack down
	rm -rf $(VENV) .dataharvest build
