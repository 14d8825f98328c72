# Two commands do everything on a fresh machine with Python 3.11: `make demo` and `make test`.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
# What `make demo` passes on: DEMO="--model tiny --depth 10" is done in a minute.
DEMO ?=

# A process a core, each with one thread: more would fight over the cores.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n auto --maxprocesses 4 --dist loadfile

.PHONY: install demo test check test-all lint docs clean
.DEFAULT_GOAL := install

# The stamp is renewed when a file that decides what is installed changes.
INSTALLED := $(VENV)/installed
install: $(INSTALLED)
$(INSTALLED): setup.cfg pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable ".[test,dev,openvino,onnxruntime,serve]"
	touch $@

demo: $(INSTALLED)
	$(BIN)/reranker-kd demo $(DEMO)

test: $(INSTALLED)
	$(PYTEST) -m "not slow"

check: $(INSTALLED)
	$(PYTEST) -m slow

test-all: $(INSTALLED)
	$(PYTEST)

lint: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(INSTALLED)
	$(BIN)/python docs/generate_reference.py

clean:
	rm -rf $(VENV) demo-output build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
