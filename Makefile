# Each target is complete by itself: what needs the environment sets it up first, which takes a moment when nothing changed.
# LLAMACTOR_BUILD=cpu|cuda|rocm|metal|vulkan chooses llama.cpp's backend, LLAMACTOR_KERNELS=off leaves our kernels out, CMAKE_ARGS adds options,
# PYTHON names the interpreter to start from.

BIN := .venv/bin
PACKAGES := actors gateway registry runners deploy
export PYTHON

.DEFAULT_GOAL := help
.PHONY: help setup run test check format lint types bench clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## put everything into .venv: llama.cpp, the dependencies, the default model
	@deploy/setup.sh

run: setup ## start a server with the default model, answer a first prompt, then chat
	@$(BIN)/python -m deploy.quickstart

test: setup ## run all tests (ARGS goes to pytest)
	@$(BIN)/pytest $(ARGS)

check: lint types ## all static checks

format: setup ## format the sources
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

lint: setup ## check format and rules
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .

types: setup ## check types, strictly
	@$(BIN)/mypy

bench: setup ## compare with llama-server (ARGS goes to the benchmark)
	@$(BIN)/python -m tests.benchmarks $(ARGS)

clean: ## remove the environment and all caches of this checkout (built wheels stay in ~/.cache/llamactor)
	rm -rf .venv .cache .mypy_cache .ruff_cache .pytest_cache .hypothesis .coverage build dist *.egg-info
	find $(PACKAGES) tests -name __pycache__ -type d -prune -exec rm -rf {} +
