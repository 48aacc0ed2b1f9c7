# Each target makes .venv and installs what it needs by itself.
#   make test PYTEST_ARGS="-k softmax -x"      passes options on to pytest
#   make demo DEMO_ARGS="--seed 3"             passes options on to the demo
#   make bench BENCH_ARGS="--only ridge"       passes options on to the benchmark
#   make fuzz FUZZ_ARGS="--graphs 500"         passes options on to the random programs
#   make gpu GPU_ARGS="--output DIR"           passes options on to the GPU's tests and benchmark
#   make test PYTHON=python3.12 JOBS=4         picks the interpreter, the number of test workers

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

# One test worker per core, eight at most: each imports torch and takes some 300 MB.
JOBS ?= $(shell n=$$(getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2); [ $$n -gt 8 ] && n=8; echo $$n)
PYTEST_ARGS ?=
DEMO_ARGS ?=
TORCH := $(shell grep '^torch==' constraints.txt)

.DEFAULT_GOAL := help
.PHONY: help install fuzz demo mnist bench shapes gpu kernels test lint format clean

help:  ## show this list
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## */\1\t/' | \
	    while IFS="$$(printf '\t')" read -r name text; do \
	        printf '  make %-9s %s\n' "$$name" "$$text"; done

install: $(STAMP)  ## make .venv with everything installed

demo: $(STAMP)  ## train house-price models; pictures and kernels go to out/house_prices/
	$(BIN)/python examples/house_prices.py $(DEMO_ARGS)

mnist: $(STAMP)  ## train softmax regression on hand-written digits
	$(BIN)/python examples/mnist_softmax.py $(MNIST_ARGS)

bench: $(VENV)/.bench  ## time graphir and its peers; BENCH_ARGS="--quick" ends within two minutes
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

shapes: $(VENV)/.bench  ## the same models at a hundred other sizes; SHAPES_ARGS="--only softmax"
	$(BIN)/python -m benchmarks.shapes $(SHAPES_ARGS)

# In the Python that is active, with its own torch and triton: nothing is installed.
gpu:  ## test and measure on this machine's GPU; GPU_ARGS="--output DIR"
	PYTHONPATH="$(CURDIR)$${PYTHONPATH:+:$$PYTHONPATH}" $(PYTHON) -m benchmarks.gpu $(GPU_ARGS)

kernels: $(STAMP)  ## compile every kernel for four GPUs, none of which is needed
	$(BIN)/python -m benchmarks.kernels
	GRAPHIR_ALL_KERNELS=1 $(BIN)/python -P -m pytest -n $(JOBS) -m targets $(PYTEST_ARGS)

test: $(STAMP)  ## run the tests
	$(BIN)/python -P -m pytest -n $(JOBS) $(PYTEST_ARGS)

fuzz: $(STAMP)  ## random programs on every backend; FUZZ_ARGS="--graphs 20000 --jobs 2"
	PYTHONPATH="$(CURDIR)" $(BIN)/python -P -m tests.fuzz $(FUZZ_ARGS)

lint: $(STAMP)  ## check style, format and types
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(STAMP)  ## mend style and format where that is safe
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

clean:  ## remove .venv, build products, caches and out/
	rm -rf $(VENV) build dist out *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# torch first, by its exact version: a loose `torch>=` would let pip take a larger build.
$(STAMP): pyproject.toml constraints.txt
	@command -v $(PYTHON) >/dev/null || { \
	    echo "graphir needs Python 3.11 or newer; '$(PYTHON)' was not found." >&2; \
	    echo "try: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	    echo "graphir needs Python 3.11 or newer; $(PYTHON) is $$($(PYTHON) -V 2>&1)." >&2; \
	    echo "try: make PYTHON=python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import venv, ensurepip' 2>/dev/null || { \
	    echo "$(PYTHON) lacks the venv module." >&2; \
	    echo "try: sudo apt-get install python3-venv   (Debian, Ubuntu)" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(PIP) install --quiet "$(TORCH)" -c constraints.txt
	$(PIP) install --quiet -e ".[test,lint,draw]" -c constraints.txt
	@touch $@

# The peers are no dependencies of graphir: only the benchmark installs them.
$(VENV)/.bench: $(STAMP)
	$(PIP) install --quiet -e ".[bench]" -c constraints.txt
	@touch $@
