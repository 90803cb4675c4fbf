# Everything runs in .venv, which `make setup` makes; nothing global is touched.
PY := .venv/bin/python

.PHONY: help setup demo run test thorough lint format types bench lock protos pages pictures tour clean

help: ## show this list
	@grep -hE '^[a-z]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## (.*)/  make \1\t\2/' | expand -t 18

setup: ## make .venv with pinned dependencies; does nothing when nothing changed
	@scripts/setup

demo: setup ## seven small real training runs and the console on them
	@.venv/bin/colossus demo

run: setup ## the console on this very machine
	@.venv/bin/colossus

test: setup ## format, lint, strict types, contracts, architecture and tests
	@scripts/check

thorough: setup ## the same, on every backend and with the frameworks that the examples are for (half an hour)
	@scripts/check --thorough

lint: setup ## format check and lint only
	@.venv/bin/ruff format --check . && .venv/bin/ruff check .

format: setup ## rewrite the sources in the project's format
	@.venv/bin/ruff format . && .venv/bin/ruff check --fix .

types: setup ## strict types only
	@.venv/bin/mypy && .venv/bin/mypy tests bench examples docs protos/generate.py

bench: setup ## all benchmarks, beside nvitop and glances
	@scripts/bench

protos: setup ## regenerate the contracts' Python modules
	@$(PY) protos/generate.py

pages: setup ## regenerate docs/cli.md, docs/json.md and docs/screens
	@$(PY) docs/generate.py

pictures: setup ## take the pictures of all screens anew, from a simulated site
	@$(PY) docs/pictures.py

tour: setup ## record the tour of one shift anew, docs/tour.cast
	@$(PY) -m docs.tour

lock: ## pin the newest allowed dependencies (needs uv)
	@scripts/lock

clean: ## remove what setup, tests and benchmarks made
	@rm -rf .venv .bench-venv .frameworks-venv build .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
