# opslib: `make demo` and `make test` do everything, set-up included. POSIX sh, GNU make 3.81.
# Options of a verb go through ARGS: make test ARGS='-k source'. PYTHON=... chooses the Python.

VENV := .venv
BIN := $(VENV)/bin
OPSLIB := $(BIN)/opslib
CACHES := .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache build

.DEFAULT_GOAL := help
.PHONY: help setup demo test lint format lab bench figures picture down clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' Makefile

setup: ## virtual environment with locked dependencies
	@sh tools/setup.sh

demo: setup ## control plane, Git to cluster, a bad rollout explained and undone, with records
	@$(OPSLIB) demo $(ARGS)

test: setup ## the whole test suite
	@$(BIN)/python -m pytest $(ARGS)

lint: setup ## ruff, mypy --strict, import-linter, nbstripout --verify
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	@set -- notebooks/*.ipynb; [ -e "$$1" ] || { echo "no notebooks to verify"; exit 0; }; \
	echo "$(BIN)/nbstripout --verify --keep-id $$*"; \
	$(BIN)/nbstripout --verify --keep-id "$$@"

format: setup ## let ruff and nbstripout edit the files
	$(BIN)/ruff check --fix
	$(BIN)/ruff format
	@set -- notebooks/*.ipynb; [ ! -e "$$1" ] || $(BIN)/nbstripout --keep-id "$$@"

lab: setup ## JupyterLab at notebooks/index.ipynb, pointed at the control plane if it runs
	@if exports=$$($(OPSLIB) sandbox env 2>/dev/null); then eval "$$exports"; else \
	echo "no control plane runs: JupyterLab uses your own KUBECONFIG (opslib sandbox up starts one)" >&2; fi; \
	exec $(BIN)/jupyter lab notebooks/index.ipynb $(ARGS)

bench: setup ## measure, side by side with the peers; results under outputs/bench/
	@$(BIN)/python -m tests.bench $(ARGS)

figures: setup ## make the tables and the plot of docs/benchmarks.md from the results of `make bench`
	@$(BIN)/python -m tests.bench.report

picture: setup ## make the README's pictures: the newest record of a rollout, the gate as tested
	@$(BIN)/python tools/picture.py readme docs/record.png
	@$(BIN)/python tools/picture.py lab docs/lab.png

down: ## end the control plane
	@if [ -x $(OPSLIB) ]; then $(OPSLIB) sandbox down; else echo "nothing to end: no .venv here"; fi

clean: ## end the control plane; remove .venv, caches and outputs, never what is in Git
	@if [ -x $(OPSLIB) ]; then $(OPSLIB) sandbox down || echo "the control plane was not ended" >&2; fi
	rm -rf $(VENV) $(CACHES) *.egg-info
	find opslib tests tools notebooks \( -name __pycache__ -o -name .ipynb_checkpoints \) -prune -exec rm -rf {} +
	@if [ -d outputs ]; then find outputs -mindepth 1 ! -path outputs/.gitkeep -delete; fi
