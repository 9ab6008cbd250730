# Two commands do everything on a fresh machine with Python 3.11+ and make:
#   make run    install, run the main job on the bundled sample, print where the results are
#   make test   install and run the tests

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

# On few cores torch's threads must not spin while they wait.
export OMP_WAIT_POLICY = PASSIVE

.PHONY: run test lint format sample dictionary benchmark clean

run: $(VENV)/.run
	$(BIN)/foreshock run --source data/sample

test: $(VENV)/.dev
	$(BIN)/python -m pytest

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.dev
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Write the bundled sample anew; it is the same bytes each time.
sample: $(VENV)/.run
	$(BIN)/foreshock sample data/sample

# Write the tables of the data dictionary anew from the schemas in flows/datasets.py.
dictionary: $(VENV)/.run
	$(BIN)/python -m flows.datasets

benchmark: $(VENV)/.dev
	$(BIN)/python tests/benchmarks/bench_ingest.py

clean:
	rm -rf $(VENV) data/lake build *.egg-info

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable .
	touch $@

$(VENV)/.dev: $(VENV)/bin/python pyproject.toml constraints.txt
	$(PIP) --editable '.[dev]'
	touch $@ $(VENV)/.run
