# The one set-up: a virtual environment in this folder, made by the first target that needs it.
#
#   PYTHON=python3.12    which Python makes it (3.11 to 3.13)
#   TORCH_INDEX=URL      a further package index to take torch from, e.g. PyTorch's own for CPU builds
#   EXTRAS=gpu           optional part to install; the default where an NVIDIA GPU answers
#   ARGS="--jobs 1"      further flags for lazoo (make mqar, lra, lm), pytest (make test) or make gpu
#   OUT=runs/gpu         folder that make gpu writes to
# pip's own configuration (index, proxy, find-links, certificates) is honoured.

.DEFAULT_GOAL := help
.PHONY: help mqar lra lm test gpu lint format clean base dev

TORCH := $(shell sed -n 's/^torch==//p' constraints.txt)
GPU := $(shell nvidia-smi -L 2>/dev/null | grep -c '^GPU')
EXTRAS ?= $(if $(filter-out 0,$(GPU)),gpu)
ARGS ?=
BIN := .venv/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
INSTALL := $(PIP) install --quiet --quiet --constraint constraints.txt $(if $(TORCH_INDEX),--extra-index-url $(TORCH_INDEX))
# Two makes at once: the second waits for the first one's set-up, then finds it done.
LOCK := $(if $(shell command -v flock),flock .make.lock)
STAMP := .venv/installed$(if $(EXTRAS),-$(EXTRAS))

help:
	@echo 'make mqar    set up, then the quick MQAR comparison: a table and a plot under ./runs'
	@echo 'make lra     set up with numba, then the quick Long Range Arena comparison, likewise'
	@echo 'make lm      set up, then the quick comparison of language models, likewise'
	@echo 'make test    set up, then lint, types and tests'
	@echo 'make gpu     GPU tests and benches within 9 minutes, with $$(PYTHON) as it is: installs nothing'
	@echo 'make lint    ruff and pyright alone'
	@echo 'make format  let ruff rewrite the code'
	@echo 'make clean   remove the virtual environment and caches; ./runs stays'
	@sed -n 's/^#   /  /p' Makefile

mqar: base
	@$(BIN)/lazoo mqar --preset quick $(ARGS)

# Its images are drawn with the extra lra beside the others.
lra:
	@$(MAKE) --silent --no-print-directory base EXTRAS='$(if $(EXTRAS),$(EXTRAS)$(COMMA))lra'
	@$(BIN)/lazoo lra --preset quick $(ARGS)

lm: base
	@$(BIN)/lazoo lm --preset quick $(ARGS)

test: lint
	@$(BIN)/pytest $(ARGS)

# No virtual environment: the interpreter is taken with the libraries that it has, on a machine that
# may have no network.
gpu:
	@$(or $(PYTHON),python3) -m runners.gpu --out '$(or $(OUT),runs/gpu)' $(ARGS)

lint: dev
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check
	@PYRIGHT_PYTHON_IGNORE_WARNINGS=1 $(BIN)/pyright

format: dev
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

clean:
	rm -rf .venv .make.lock build *.egg-info .hypothesis .pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

base dev:
	@$(LOCK) $(MAKE) --silent --no-print-directory $(STAMP)-$@

$(STAMP)-dev: $(STAMP)-base
	@echo 'set-up: linters and test runner'
	@$(INSTALL) --editable '.[$(if $(EXTRAS),$(EXTRAS)$(COMMA))dev]'
	@touch $@

$(STAMP)-base: pyproject.toml constraints.txt | .venv/bin/python
	@$(TORCH_STEP)
	@echo 'set-up: the package$(if $(EXTRAS), with $(EXTRAS))'
	@$(INSTALL) --editable '.$(if $(EXTRAS),[$(EXTRAS)])'
	@touch $@

.venv/bin/python:
	@$(PYTHON_STEP)

COMMA := ,

define PYTHON_STEP
for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11); do \
    if "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null; then \
        echo "set-up: .venv from $$("$$python" -c 'import sys; print(sys.executable, sys.version.split()[0])')"; \
        "$$python" -m venv .venv && exit 0; \
        rm -rf .venv; exit 1; \
    fi; \
done; \
echo 'No Python 3.11 to 3.13 among: $(or $(PYTHON),python3 python3.13 python3.12 python3.11).' \
     'Name one: make PYTHON=/path/to/python3.12' >&2; exit 1
endef

# Without a GPU the CPU build is asked for by name, because the plain version may be the CUDA build.
define TORCH_STEP
if [ '$(GPU)' -gt 0 ]; then \
    echo 'set-up: torch $(TORCH), as pip offers it for this machine ($(GPU) NVIDIA GPU)'; \
    $(INSTALL) 'torch==$(TORCH)'; \
elif $(INSTALL) --dry-run --no-deps 'torch==$(TORCH)+cpu' >/dev/null 2>&1; then \
    echo 'set-up: torch $(TORCH), CPU build (no NVIDIA GPU here)'; \
    $(INSTALL) 'torch==$(TORCH)+cpu'; \
else \
    echo 'set-up: torch $(TORCH); no package index known to pip offers it as a named CPU build.'; \
    case "$$(uname -s)" in Linux) \
        echo '        On Linux this can be the CUDA build, several gigabytes. To avoid that, stop here and give'; \
        echo '        the address of the CPU index from the PyTorch installation page: make mqar TORCH_INDEX=...';; \
    esac; \
    $(INSTALL) 'torch==$(TORCH)'; \
fi
endef
