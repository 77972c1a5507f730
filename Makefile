# The commands of this project: make setup · demo · serve · test · bench · check
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# The shipped models. The first is the default of the service.
MODELS := people $(filter-out people,$(basename $(notdir $(wildcard model/weights/*.safetensors))))
BUNDLES := $(MODELS:%=--bundle bundles/%)
export OMP_WAIT_POLICY = passive

.PHONY: setup demo serve test test-slow bench check clean

# A virtual environment with all packages, made anew when the requirements change.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "installing (PyTorch is large: a few minutes the first time)"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# A bundle of shipped weights, made anew when they or the exporter change.
bundles/%/bundle.json: model/weights/%.safetensors $(VENV)/.installed $(shell find export model -name "*.py")
	$(BIN)/python -m export --checkpoint $< --out bundles/$*

setup: $(MODELS:%=bundles/%/bundle.json)

demo: setup
	$(BIN)/python -m service demo $(BUNDLES) --image examples/astronaut.jpg --out out

serve: setup
	$(BIN)/python -m service serve $(BUNDLES)

# Two workers with one thread each: WORKERS=1 for one at a time.
test: $(VENV)/.installed
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow

bench: setup
	$(BIN)/python -m bench

check: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean:
	rm -rf $(VENV) bundles out .mypy_cache .pytest_cache .ruff_cache .hypothesis
