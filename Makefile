# Everything starts here. `make help` lists the targets.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
STACK := $(BIN)/python -P -m local_stack

.PHONY: help setup up down status demo load test check fmt bench clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: ## Install uv, if need be, and the locked Python environment
	@exec deploy/local/setup.sh

# `exec`, so that a command of the stack is make's own child and notices when make is killed.

up: setup ## Start the stack in the background (GATEWAY_PORT, NOTIFIER_STRICT=1)
	@exec $(STACK) up

down: setup ## Stop it
	@exec $(STACK) down

status: setup ## Show what runs
	@exec $(STACK) status

demo: setup ## Run one report per format from end to end, then stop what it started
	@exec $(STACK) demo

load: setup ## Load orders into the demo's data source: make load FILE=orders.csv
	@[[ -n "$(FILE)" ]] || { echo 'say which file: make load FILE=orders.csv' >&2; exit 2; }
	@exec $(STACK) load "$(FILE)"

test: setup ## Run all tests, each process of them on a Kafka and a PostgreSQL of its own
	@exec $(BIN)/pytest --numprocesses=auto --maxprocesses=4 --dist=loadfile --no-loadscope-reorder

check: setup ## Check format, lint, types and architecture
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

fmt: setup ## Format, and fix what ruff can fix
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: setup ## Measure; docs/performance.md says what
	@exec $(BIN)/python -m benchmarks

clean: setup ## Stop the stack and delete its data, keys and downloads
	@exec $(STACK) clean
