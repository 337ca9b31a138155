# `make help` lists what there is. Every target sets up what it needs; PYTHON=/path/to/python chooses the interpreter.

VENV := .venv
BIN := $(VENV)/bin

ifndef PYTHON
PYTHON := $(shell for python in python3 python3.13 python3.12 python3.11 python3.10; do \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $$python && break; done)
endif

# The tested versions for the interpreter in .venv: Python 3.11 and newer share a file.
PINS = constraints/py3.$$($(BIN)/python -c 'import sys; print(min(sys.version_info[1], 11))').txt
# -qq: of a build, errors only.
INSTALL = $(BIN)/python -m pip install -qq --disable-pip-version-check
INPUTS := pyproject.toml $(wildcard constraints/*.txt)
BINDINGS := tests/tensorrt/bindings.py
CUDA_BINDINGS := tests/tensorrt/cuda_bindings.py

.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help demo test test-all lint clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "make %-10s %s\n", $$1, $$2 }' Makefile

demo: $(VENV)/.base ## run the main job on the built-in drive; writes out/demo.mp4 and out/demo.png
	@mkdir -p out
	$(BIN)/edge-seg run --source drive:seed=1 --headless --frames 250 --out out/demo.mp4 --out out/demo.png
	@echo "Look at out/demo.png and out/demo.mp4. With a camera: $(BIN)/edge-seg run --camera 0"

test: $(VENV)/.dev ## run the fast tests, with coverage
	$(BIN)/python -m pytest -m "not slow" --cov

test-all: $(VENV)/.dev ## run all tests, with coverage
	@$(BIN)/python $(BINDINGS) $(VENV)/tensorrt --with-8.5
	$(BIN)/python -m pytest --cov

lint: $(VENV)/.dev ## check format, style, types and the direction of imports
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

clean: ## remove outputs and caches; .venv stays
	rm -rf out build dist *.egg-info .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# The stamps say that .venv holds what pyproject.toml and the constraints ask for.
$(VENV)/.base: $(BIN)/python $(INPUTS)
	@echo "Installing edge-seg into $(VENV)"
	@$(INSTALL) --editable . --constraint $(PINS)
	@$(CHECK_CV2)
	@touch $@

$(VENV)/.dev: $(BIN)/python $(INPUTS) $(BINDINGS) $(CUDA_BINDINGS)
	@echo "Installing edge-seg with PyTorch and the test tools into $(VENV): about 6 GB, some minutes"
	@$(INSTALL) --editable '.[all,dev]' --constraint $(PINS)
	@$(CHECK_CV2)
	@$(BIN)/python $(BINDINGS) $(VENV)/tensorrt
	@$(BIN)/python $(CUDA_BINDINGS) $(VENV)/tensorrt
	@touch $(VENV)/.base $@

$(BIN)/python:
	@$(CHECK_PYTHON)
	@$(PYTHON) -m venv $(VENV)
	@$(INSTALL) --upgrade pip

define CHECK_PYTHON
if [ -z "$(PYTHON)" ]; then \
	echo "No Python 3.10 or newer was found. Install one, or name it: make PYTHON=/path/to/python3.11"; exit 1; fi; \
"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 10))' || { \
	echo "$(PYTHON) is no Python 3.10 or newer. Name one: make PYTHON=/path/to/python3.11"; exit 1; }; \
"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || { \
	version=$$("$(PYTHON)" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	echo "$(PYTHON) has no venv module. On Debian and Ubuntu type: sudo apt-get install python$$version-venv"; exit 1; }
endef

define CHECK_CV2
error=$$($(BIN)/python -c 'import cv2' 2>&1) || { echo "$$error" | tail -n 1; \
	echo "OpenCV does not load. If a system library is missing, type: sudo apt-get install libgl1 libglib2.0-0"; \
	echo "(newer Debian and Ubuntu call the second one libglib2.0-0t64)"; exit 1; }
endef
