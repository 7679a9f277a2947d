# `make onboard` does the main job in the lab, `make test` runs every test. Both set up what they need.
SHELL := /bin/bash
PYTHON ?= python3
MEMBER ?= grabow
WORKSTATIONS ?= 6
VENV := .venv
BIN := $(VENV)/bin

.PHONY: setup onboard test test-fast lint format lab-down clean

onboard: setup
	$(BIN)/ksm-onboard onboard $(MEMBER) --workstations $(WORKSTATIONS)

test: setup
	$(BIN)/python -m pytest

test-fast: $(VENV)/.ready
	$(BIN)/python -m pytest -m 'not lab' tests/unit

setup: $(VENV)/.ready
	$(BIN)/ksm-onboard lab setup

lab-down: $(VENV)/.ready
	$(BIN)/ksm-onboard lab down

lint: $(VENV)/.ready
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/yamllint --strict .
	$(BIN)/ansible-lint --offline
	$(BIN)/shellcheck $$(git ls-files '*.sh' .ci/run)
	@for module in lab/*/go.mod; do \
	  folder=$$(dirname $$module); \
	  unformatted=$$(gofmt -l $$folder); \
	  if [ -n "$$unformatted" ]; then echo "not formatted by gofmt: $$unformatted"; exit 1; fi; \
	  if ls $$folder/*.go >/dev/null 2>&1; then echo "go vet $$folder"; (cd $$folder && go vet ./...) || exit 1; fi; \
	done

format: $(VENV)/.ready
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	gofmt -w lab

# Exactly the versions and contents of requirements.lock (see docs/how-to/update-dependencies.md).
$(VENV)/.ready: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit("Python 3.11 or newer is needed, this is " + sys.version.split()[0] if sys.version_info < (3, 11) else 0)'
	@echo "▶ installing the Python packages of requirements.lock into $(VENV) (1–3 minutes the first time)"
	$(PYTHON) -m venv $(VENV) || { apt-get install --yes --quiet python3-venv && $(PYTHON) -m venv $(VENV); }
	$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --editable .
	touch $@

clean: lab-down
	rm -rf $(VENV) .state .mypy_cache .ruff_cache .pytest_cache
