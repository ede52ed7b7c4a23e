# Kilter's commands; `make` alone lists them.
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
IMAGES := step serving
# Two workers have a core each: libraries that start a thread for each core would wait for each other.
ALONE := OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
PYTEST := $(BIN)/python -m pytest $(if $(SLOW),,-m "not slow")
AT_ONCE := -q --numprocesses auto --dist loadfile
LOCAL_IMAGES := postgres redis haproxy s3

.DEFAULT_GOAL := help
.PHONY: help demo down test unit lint venv haproxy engine images lock env up stop local-images

help:  ## list the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: venv haproxy  ## the whole loop on a year of real flights; then everything stays up (MODEL=arrival_delay: PyTorch)
	@$(BIN)/python -m kilter demo up $(if $(MODEL),--model $(MODEL))

down:  ## stop what the demo started
	@$(BIN)/python -m kilter demo down

test: lint haproxy  ## linters, types, layers, unit, engine and end-to-end tests (SLOW=1: those that take minutes each, too)
	@$(ALONE) $(PYTEST) $(AT_ONCE) tests/unit
	@docker/build $(IMAGES) || { [ $$? = 75 ] && [ -z "$$KILTER_REQUIRE_ENGINE" ]; }
	@$(ALONE) $(PYTEST) $(AT_ONCE) tests/contract tests/dags
	@$(PYTEST) tests/e2e tests/engine tests/faults

unit: venv  ## the unit tests alone: a few minutes
	@$(ALONE) $(PYTEST) $(AT_ONCE) tests/unit

lint: venv  ## linters, types and layers
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/mypy tests/benchmarks
	@PYTHONPATH=include:plugins $(BIN)/lint-imports

venv: $(INSTALLED)  ## the virtual environment, from requirements.lock

$(INSTALLED): requirements.lock requirements.txt pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null || { \
		echo "venv: Kilter needs Python 3.11, which '$(PYTHON)' is not: install it, or name it: make venv PYTHON=/usr/bin/python3.11" >&2; exit 1; }
	@echo "venv: installing requirements.lock into $(VENV), a minute or two"
	@[ -x $(BIN)/python ] || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install -qq --no-deps --no-compile --require-hashes -r requirements.lock
	@$(BIN)/python -m pip install -qq --no-deps --no-compile --no-index "$$(docker/fetch-torch $(BIN)/python)"
	@$(BIN)/python -m compileall -q -j 0 -x '/tests?/|lib2to3' $(VENV)/lib >/dev/null || true
	@$(BIN)/python -m pip install -qq --no-deps --editable .
	@$(BIN)/python -m pip check
	@touch $@

haproxy:
	@docker/install-haproxy

engine:  ## prepare a bare Debian machine, as root: Docker, debootstrap, HAProxy
	@docker/engine

images:  ## build the step and serving images
	@docker/build $(IMAGES)

lock: venv  ## rewrite the hash-pinned locks after a change to requirements.txt
	@docker/lock

env:  ## write a random .env for `make up`; never overwrites one
	@docker/env

up:  ## the production shape with Docker Compose
	@docker/up

stop:  ## stop the production shape; volumes stay
	@docker/up --stop

local-images:  ## build what the production shape otherwise pulls: PostgreSQL, Redis, HAProxy, S3
	@docker/build $(LOCAL_IMAGES)
