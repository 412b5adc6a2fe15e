# `make` alone lists the targets.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.stamp
BASE ?= main
# Before a command: it has a network of its own, whose wires it may cut, where the kernel allows that.
OWN_NETWORK = $(shell own='unshare --map-root-user --net --mount'; $$own true 2>/dev/null && echo $$own env OWN_NETWORK=1)
PYTEST := PYTHONPATH=tests/plugins $(BIN)/pytest -p skips

export PATH := $(CURDIR)/$(BIN):$(PATH)
# One thread for each process: two ranks, two shards and a replica share the cores.
export OMP_NUM_THREADS ?= 1
export RAY_USAGE_STATS_ENABLED := 0
# `make chaos TLS=1`: everything that starts a platform starts it with TLS.
ifdef TLS
export TESSERA_TLS := $(TLS)
endif
# Containers often set it: each of the many processes here would compile the tree anew.
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help

.PHONY: help
help: ## Show this list
	@awk 'BEGIN {FS = ":.*## "} /^[a-z-]+:.*## / {printf "  \033[1m%-16s\033[0m %s\n", $$1, $$2}' $(MAKEFILE_LIST)

# --- Environment -------------------------------------------------------------

.PHONY: setup
setup: $(STAMP) ## Make .venv with everything that development needs

$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { echo "no '$(PYTHON)' here: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; v = sys.version.split()[0]; sys.exit(0 if sys.version_info >= (3, 11) else f"$(PYTHON) is Python {v}, but 3.11 or newer is needed: make PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo 'Installing into $(VENV), about two minutes …'
	@$(BIN)/python -m pip install --quiet --quiet --constraint constraints.txt --editable '.[dev]'
	@touch $@

# --- Try it ------------------------------------------------------------------

.PHONY: demo
demo: export TESSERA_HOME := $(CURDIR)/.demo
demo: setup ## Start the platform here, train a small GPT, serve it, let it write
	@$(BIN)/python examples/demo.py

.PHONY: example
example: export TESSERA_HOME := $(CURDIR)/.demo
example: setup ## Run one example end to end: make example NAME=chinese
	@$(BIN)/python examples/run.py $(or $(NAME),$(error name one: make example NAME=chinese))

.PHONY: examples
examples: export TESSERA_HOME := $(CURDIR)/.demo
examples: setup ## Run every example, at most three minutes each, and print a table
	@$(BIN)/python examples/run.py

.PHONY: walkthrough
walkthrough: export TESSERA_HOME := $(CURDIR)/.demo
walkthrough: setup ## Run the commands of the documents again and write down what they printed
	$(BIN)/python docs/refresh.py docs/walkthrough.md
	$(BIN)/python docs/refresh.py docs/data.md

# --- Tests -------------------------------------------------------------------

.PHONY: test
test: setup lint protos-check ## Everything that a change must pass
	$(PYTEST) -m 'not slow and not chaos' -n 2 --no-loadscope-reorder

.PHONY: test-fast
test-fast: setup ## In about a minute: neither Ray nor other processes, properties by few examples
	$(PYTEST) -q -p fast -p no:logging -n 2 --no-loadscope-reorder

.PHONY: test-slow
test-slow: setup ## The long proofs
	$(PYTEST) -m slow

.PHONY: chaos
chaos: setup ## Kill processes of a running platform, each by SIGKILL
	$(PYTEST) -m chaos tests/chaos

.PHONY: chaos-parameters
chaos-parameters: setup ## Kill processes of a parameter service 300 times: [KILLS=300] [SEED=1] [COPIES=2]
	KILLS=$(or $(KILLS),300) SEED=$(or $(SEED),1) COPIES=$(or $(COPIES),2) PYTHONPATH=tests/plugins \
	$(OWN_NETWORK) $(BIN)/pytest -p skips -s -m chaos tests/parameters

.PHONY: fuzz
fuzz: setup ## A million odd messages to every method: make fuzz [SEED=1] [MESSAGES=N] [SECONDS=N]
	@PYTHONPATH=tests/plugins:tests $(BIN)/python -m fuzz $(if $(SEED),--seed $(SEED)) \
	  $(if $(FIRST),--first $(FIRST)) $(if $(MESSAGES),--messages $(MESSAGES)) \
	  $(if $(SECONDS),--seconds $(SECONDS)) $(if $(REPLAY),--replay $(REPLAY)) $(if $(JSON),--json $(JSON))

.PHONY: bench
bench: setup ## Measure against a peer or a limit; one JSON object per line
	@$(BIN)/python benchmarks/run.py

.PHONY: quality
quality: setup ## How well models learn: make quality DATA=FOLDER [ROWS="sst2"] [SEEDS=3]
	@test -n "$(DATA)" || { echo "name the folder of the data sets: make quality DATA=FOLDER" >&2; exit 2; }
	@$(BIN)/python benchmarks/quality.py $(ROWS) --data $(DATA) --seeds $(or $(SEEDS),3)

.PHONY: packing
packing: setup ## How full placement policies get a cluster: make packing DATA=FOLDER [SEEDS=5]
	@test -n "$(DATA)" || { echo "name the folder of the openb trace: make packing DATA=FOLDER" >&2; exit 2; }
	@$(BIN)/python benchmarks/packing.py --data $(DATA) --seeds $(or $(SEEDS),5) --table --svg docs/packing.svg

.PHONY: simulate
simulate: setup ## Run the scheduler under a simulated clock: make simulate [DATA=FOLDER] [SEED=1] [FAULTS=1]
	@$(BIN)/python benchmarks/simulate.py $(if $(DATA),--data $(DATA)) --seed $(or $(SEED),1) $(if $(FAULTS),--faults)

# --- Checks ------------------------------------------------------------------

.PHONY: lint
lint: setup protos-lint charts-lint ## Style, types, layers, protos and chart
	ruff check .
	ruff format --check .
	mypy
	lint-imports --no-logo

.PHONY: fmt
fmt: setup ## Format Python and protos
	ruff check --fix-only --quiet .
	ruff format .
	buf format --write protos --path protos/tessera

# --- Protos ------------------------------------------------------------------

.PHONY: protos
protos: setup ## Generate shared/tessera/api from protos/
	$(BIN)/python protos/generate.py

.PHONY: protos-export
protos-export: setup ## Write build/protos: what a client in any language needs
	$(BIN)/python protos/export.py build/protos

.PHONY: protos-check
protos-check: setup ## The generated code is what protos/ generates
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	$(BIN)/python protos/generate.py --out "$$scratch" && \
	for tree in tessera/api buf; do \
	  diff -r --brief --exclude=__pycache__ "$$scratch/$$tree" "shared/$$tree" \
	    || { echo "shared/$$tree differs from what protos/ generates: run make protos" >&2; exit 1; }; \
	done

.PHONY: protos-lint
protos-lint: setup
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	$(BIN)/python protos/generate.py --image "$$scratch/protos.binpb" && \
	buf lint "$$scratch/protos.binpb" --config protos/buf.yaml --path tessera && \
	buf format --diff --exit-code protos --path protos/tessera

.PHONY: protos-breaking
protos-breaking: setup ## No caller of BASE (default: main) is broken by protos/
	@scratch=$$(mktemp -d) && trap 'rm -rf "$$scratch"' EXIT && \
	git archive $(BASE) protos | tar -x -C "$$scratch" && \
	$(BIN)/python "$$scratch/protos/generate.py" --image "$$scratch/base.binpb" && \
	$(BIN)/python protos/generate.py --image "$$scratch/new.binpb" && \
	buf breaking "$$scratch/new.binpb" --against "$$scratch/base.binpb" --config protos/buf.yaml --path tessera

# --- Maps --------------------------------------------------------------------

.PHONY: trees
trees: setup ## Write the tree of each service into its README again
	$(BIN)/python docs/trees.py

# --- Packages ----------------------------------------------------------------

.PHONY: charts
charts: setup ## Render charts/tessera/examples again; read the difference
	UPDATE_GOLDEN=1 $(PYTEST) -q tests/charts -k golden

.PHONY: charts-lint
charts-lint: setup
	@for values in charts/tessera/ci/*-values.yaml; do \
	  helm lint --strict --quiet charts/tessera --values $$values || exit 1; \
	done

.PHONY: wheel
wheel: setup ## Build the wheel, and import everything from it and from the working tree
	rm -rf dist build/wheel
	$(BIN)/python -m pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -m pip install --quiet --no-deps --no-compile --target build/wheel dist/*.whl
	$(BIN)/python tests/smoke.py build/wheel
	$(BIN)/python tests/smoke.py services shared

.PHONY: clean
clean: ## Remove what was built, but not .venv and .demo
	rm -rf build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find services shared tests protos -name __pycache__ -type d -prune -exec rm -rf {} +
