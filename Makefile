# `make demo` and `make test` set up what they need in .venv and run it.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DOCS_STAMP := $(VENV)/.installed-docs

.PHONY: setup demo test slow lint docs bench fuzz soak long audit models clean

setup: $(STAMP)

# torch comes first and by its pinned version, so that no other package pulls another build.
$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt torch==2.13.0
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $(STAMP)

demo: $(STAMP)
	$(BIN)/voxstrata demo --out demo

test: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m "not slow"

slow: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 -m slow

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Into build/docs. Warnings are errors; so is a page that would fetch something from elsewhere.
docs: $(DOCS_STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python -m sphinx -W --keep-going -q -E -b html -d build/doctrees docs build/docs

$(DOCS_STAMP): $(STAMP)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $(DOCS_STAMP)

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

# SECONDS of fuzzing for each reader; docs/security.md tells what was found.
SECONDS ?= 60
fuzz: $(STAMP)
	$(BIN)/pip install --quiet atheris
	OMP_NUM_THREADS=1 $(BIN)/python scripts/fuzz.py --seconds $(SECONDS)

# Does anything grow, or stay behind? docs/soak.md tells what came out.
MINUTES ?= 60
soak: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/soak.py --minutes $(MINUTES) --out build/soak

# All that is too slow for .ci/run: some three hours on two cores.
long: slow fuzz soak bench audit

# Known weaknesses of the installed packages; needs the network, and fails without.
audit: $(STAMP)
	$(BIN)/pip install --quiet pip-audit
	$(BIN)/pip-audit --skip-editable --vulnerability-service osv

# Trains, measures and packages the models that come with voxstrata; goes on where it was stopped.
models: $(STAMP)
	OMP_NUM_THREADS=1 $(BIN)/python scripts/make_models.py

clean:
	rm -rf $(VENV) build demo .pytest_cache .mypy_cache .ruff_cache
