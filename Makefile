# The commands of this project: `make` lists them.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
WORKERS ?= 2
# The shipped models. The first is the default of the service.
MODELS := people $(filter-out people,$(basename $(notdir $(wildcard model/weights/*.safetensors))))
BUNDLES := $(MODELS:%=--bundle bundles/%)
export OMP_WAIT_POLICY = passive
# It counts more than OMP_WAIT_POLICY: a waiting thread looks for work for some 0.1 ms before it sleeps, as in the service.
bench figures: export GOMP_SPINCOUNT = 10000
export UV_SYSTEM_CERTS = 1
NO_UV := setup: there is no uv on the PATH, and pip cannot install it from its package index. With neither nothing can be set up
NO_PACKAGES := setup: packages could not be installed (see above). UV_DEFAULT_INDEX names another index than PyPI

.DEFAULT_GOAL := help
.PHONY: help setup exported demo serve test test-engine test-tools test-slow bench figures check clean FORCE

help: ## this list
	@echo "make COMMAND, and VARIABLE=VALUE where one is named:"
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-10s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))

# A virtual environment with all packages, made anew when the requirements change. uv installs them: the one on the PATH, or
# else the package index's. It knows where PyTorch's builds for this machine are.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -m venv $(VENV)
	@command -v uv >/dev/null || $(BIN)/python -m pip install -qq --retries 1 uv || { echo "$(NO_UV)" >&2; exit 1; }
	@echo "installing some 150 packages into $(VENV); PyTorch is by far the largest"
	@PATH="$$PATH:$(CURDIR)/$(BIN)"; uv pip install $$([ -t 2 ] || echo --quiet) --python $(BIN)/python \
		$$(docker/torch_builds.sh auto) --editable '.[dev]' || { echo "$(NO_PACKAGES)" >&2; exit 1; }
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

setup: $(VENV)/.installed ## the environment and the shipped models, ready to serve
	@$(MAKE) --no-print-directory -j $(WORKERS) exported

# All shipped models, WORKERS at a time: tracing a network keeps one core busy.
exported: $(MODELS:%=bundles/%/bundle.json)
	@:

demo: setup ## a photo through a real server; the answer is drawn into out/overlay.png
	$(BIN)/python -m service demo $(BUNDLES) --image examples/astronaut.jpg --out out

serve: setup ## the service at http://127.0.0.1:8000 (PORT=8000, HOST=127.0.0.1)
	$(BIN)/python -m service serve $(BUNDLES) $(if $(HOST),--host $(HOST)) $(if $(PORT),--port $(PORT))

test: $(VENV)/.installed ## the test suite (WORKERS=2, with one thread each)
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

test-engine: $(VENV)/.installed ## containers on a real engine: builds the CPU image and starts it (30 GB of disk)
	$(BIN)/python -m pytest -v -m 'engine and not slow' --durations=0 --durations-min=10 tests/docker/engine

test-tools: setup ## a real Label Studio with the service as its ML backend (it is installed into out/tools)
	$(BIN)/python -m pytest -v -m tools tests/tools

test-slow: $(VENV)/.installed ## full-size networks, long runs, and what takes long on an engine
	$(BIN)/python -m pytest -m slow

bench: setup ## the figures of docs/speed.md
	$(BIN)/python -m bench

figures: setup ## all figures of README and docs, measured and written there (FIGURES=--quick: seconds each, into out/figures)
	@PATH="$$PATH:$(CURDIR)/$(BIN)"; uv pip install --quiet --python $(BIN)/python --editable '.[dev,load,ray]'
	$(BIN)/python -m bench.figures $(FIGURES)

check: $(VENV)/.installed ## linting, formatting, types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

clean: ## remove the environment, the shipped models' bundles, and what was written into out/
	rm -rf $(VENV) $(MODELS:%=bundles/%) out .mypy_cache .pytest_cache .ruff_cache .hypothesis
