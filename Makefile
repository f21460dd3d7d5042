# opslib: `make demo` and `make test` do everything, set-up included. POSIX sh, GNU make 3.81.

VENV := .venv
BIN := $(VENV)/bin
OPSLIB := $(BIN)/opslib

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format lab bench picture down clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## virtual environment with locked dependencies
	@sh tools/setup.sh

demo: setup ## control plane, Git to cluster, a bad rollout explained and undone, with records
	@$(OPSLIB) demo

test: setup ## the whole test suite
	@$(BIN)/python -m pytest

lint: setup ## ruff, mypy --strict, import-linter, nbstripout --verify
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/nbstripout --verify notebooks/*.ipynb

format: setup ## let ruff and nbstripout edit the files
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	$(BIN)/nbstripout notebooks/*.ipynb

lab: setup ## JupyterLab at notebooks/index.ipynb, pointed at the control plane if it runs
	@if exports=$$($(OPSLIB) sandbox env 2>/dev/null); then eval "$$exports"; fi; \
	exec $(BIN)/jupyter lab notebooks/index.ipynb

bench: setup ## measure, side by side with the peers; results under outputs/bench/
	@$(BIN)/python -m tests.bench

picture: setup ## make the README's picture from the newest record of a rollout
	@$(BIN)/python tools/picture.py readme docs/record.png

down: ## end the control plane
	@if [ -x $(OPSLIB) ]; then $(OPSLIB) sandbox down; else echo "nothing to end: no .venv here"; fi

clean: down ## remove .venv, caches and outputs of this folder
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build *.egg-info
	find opslib tests tools notebooks -name __pycache__ -prune -exec rm -rf {} +
	find outputs -mindepth 1 ! -name .gitkeep -delete
