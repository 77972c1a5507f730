# The commands of this project: `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# The shipped models. The first is the default of the service.
MODELS := people $(filter-out people,$(basename $(notdir $(wildcard model/weights/*.safetensors))))
BUNDLES := $(MODELS:%=--bundle bundles/%)
export OMP_WAIT_POLICY = passive

.DEFAULT_GOAL := help
.PHONY: help setup demo serve test test-slow bench check clean FORCE

help: ## this list
	@echo "make COMMAND, and VARIABLE=VALUE where one is named:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# A virtual environment with all packages, made anew when the requirements change.
$(VENV)/.installed: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	@echo "installing (PyTorch is large: a few minutes the first time)"
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@

# $(call other,NAME): FORCE if bundles/NAME was not exported from the shipped weights as they are now.
HASH := import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())
other = $(shell test ! -f bundles/$(1)/bundle.json || \
	grep -q "$$($(PYTHON) -c '$(HASH)' model/weights/$(1).safetensors)" bundles/$(1)/bundle.json || echo FORCE)
# $(call replace,NAME): --replace if bundles/NAME is of an earlier file of that name, and not of somebody's own.
replace = $(shell grep -qs '"checkpoint": *"$(1).safetensors"' bundles/$(1)/bundle.json && echo --replace)

# A bundle of shipped weights, made anew when they or the exporter change. Another checkpoint's bundle of that name is not
# taken for it, however new its files are: the exporter refuses to replace it.
.SECONDEXPANSION:
bundles/%/bundle.json: model/weights/%.safetensors $(VENV)/.installed $(shell find export model -name "*.py") $$(call other,$$*)
	$(BIN)/python -m export --checkpoint $< --out bundles/$* $(call replace,$*)

setup: $(MODELS:%=bundles/%/bundle.json) ## the environment and the shipped models, ready to serve

demo: setup ## a photo through a real server; the answer is drawn into out/overlay.png
	$(BIN)/python -m service demo $(BUNDLES) --image examples/astronaut.jpg --out out

serve: setup ## the service at http://127.0.0.1:8000 (PORT=8000, HOST=127.0.0.1)
	$(BIN)/python -m service serve $(BUNDLES) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

test: $(VENV)/.installed ## the test suite (WORKERS=2, with one thread each)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-slow: $(VENV)/.installed ## full-size networks and long runs
	$(BIN)/python -m pytest -m slow

bench: setup ## the figures of docs/speed.md
	$(BIN)/python -m bench

check: $(VENV)/.installed ## linting, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove the environment, the shipped models' bundles, and what was written into out/
	rm -rf $(VENV) $(MODELS:%=bundles/%) out .mypy_cache .pytest_cache .ruff_cache .hypothesis
