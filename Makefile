# Run `make` to see what there is to make. `make demo` and `make test` set up .venv by themselves.
SHELL := /bin/bash
.DEFAULT_GOAL := help

PYTHON_ENV := .venv/bin/python
KIND ?= auto
EXTRAS ?= text,test,lint,notebooks,docs
ARGS ?=
DATA_ROOT ?= data

# MLflow 3 reports its use over the network unless it is told not to.
export MLFLOW_DISABLE_TELEMETRY := true
export DO_NOT_TRACK := true

.PHONY: help setup demo test lint format docs links bench notebooks peers doctor clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'
	@echo
	@echo "  KIND=cpu|gpu (default: look for a GPU), ARGS='...' is passed on to demo, test, bench and doctor,"
	@echo "  PYTHON=python3.12 and ROW=torch-2.11 choose the interpreter and the file of constraints/ for .venv"

setup:  ## make .venv ready (well under a second when it is)
	@scripts/setup.sh $(KIND) $(EXTRAS)

demo: setup  ## train, register, serve and query a small recommender
	.venv/bin/recsys demo $(ARGS)

test: setup  ## run the tests and doctests
	OMP_NUM_THREADS=1 $(PYTHON_ENV) -m pytest -q --numprocesses auto --maxprocesses 4 --dist loadfile \
		--no-loadscope-reorder $(ARGS)

lint: setup  ## check style, formatting and types
	$(PYTHON_ENV) -m ruff check .
	$(PYTHON_ENV) -m ruff format --check .
	$(PYTHON_ENV) -m mypy

format: setup  ## put formatting and mendable style right
	$(PYTHON_ENV) -m ruff check --fix .
	$(PYTHON_ENV) -m ruff format .

# Broken links between pages and to their headings are warnings, and warnings are errors.
SPHINX = $(PYTHON_ENV) -m sphinx -W --keep-going -n -q

docs:  ## build the documentation into build/docs (the extra docs is set up first)
	@scripts/setup.sh $(KIND) docs
	$(SPHINX) -b html -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

links: docs  ## ask whether what the documentation links to elsewhere is still there
	$(SPHINX) -b linkcheck -d build/doctrees docs build/links

bench: setup  ## run the benchmarks that fit into an hour on DATA_ROOT, and write docs/results.md (ARGS=--help)
	$(PYTHON_ENV) -m benchmarks --data-root "$(DATA_ROOT)" $(ARGS)

notebooks: setup  ## execute the notebooks as they are committed (RECSYS_DATA=FOLDER: on real data)
	@set -e; for script in notebooks/*.py; do \
	    echo "== $$script"; OMP_NUM_THREADS=2 $(PYTHON_ENV) -m jupytext --to ipynb --execute "$$script"; \
	done

# Peers need other versions of the same packages, so each has an environment of its own.
PEERS := $(patsubst %/requirements.txt,%/.venv/.ready,$(wildcard benchmarks/peers/*/requirements.txt))

peers: $(PEERS)  ## install what some benchmarks compare with (RecTools), each in its own environment

benchmarks/peers/%/.venv/.ready: benchmarks/peers/%/requirements.txt
	$(or $(PYTHON),python3) -m venv $(@D)
	$(@D)/bin/python -m pip --disable-pip-version-check install --quiet -r $<
	touch $@

# Without setup on purpose: a doctor looks at what is there.
doctor:  ## say what is installed, what is wrong, and what mends it
	@$$([ -x $(PYTHON_ENV) ] && echo $(PYTHON_ENV) || echo python3) -m training.doctor $(ARGS)

clean:  ## remove caches and build results (.venv, runs and mlflow.db stay)
	rm -rf build dist docs/_notebooks *.egg-info .pytest_cache .ruff_cache .hypothesis .mypy_cache
	find . -name __pycache__ -type d -not -path './.venv/*' -prune -exec rm -rf {} +
