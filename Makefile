# Everything here works as the first command ever run: each target sets up what it needs and says so.
# It takes a Python of 3.10 or newer and nothing else: make test PYTHON=python3.12
ifndef PYTHON
PYTHON := $(firstword $(foreach name,python3 python3.11 python3.12 python3.13 python3.10 python,$(shell \
	$(name) -c 'import sys; sys.exit(sys.version_info < (3, 10))' 2>/dev/null && echo $(name))))
endif
# How many test processes run at once.
JOBS ?= 2
PYTEST_ARGS ?=

PY := .venv/bin/python
LOWEST := .venv-lowest/bin/python
LOWEST_SDKS := .venv-lowest-sdks/bin/python
BENCH := .venv-bench/bin/python
PYTEST = -m pytest -n $(JOBS) --dist worksteal $(PYTEST_ARGS)

.DEFAULT_GOAL := help
.PHONY: help python setup demo test test-all lint format ui bench wheels pins clean

help:  ## this list
	@sed -n 's/^\([a-z-]*\):.*## */make \1 - /p' $(MAKEFILE_LIST)

setup: python  ## .venv with agentstream, its integrations and dev tools; nothing to do when nothing changed
	@$(PYTHON) tools/setup.py

python:
	@test -n "$(PYTHON)" || { echo "No Python 3.10 or newer was found: make PYTHON=/path/to/python"; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10) and \
		"agentstream needs Python 3.10 or newer, and this is " + sys.version.split()[0] + ": make PYTHON=python3.11")'

demo: setup  ## an agent is killed, resumed, forked and replayed, in front of you
	@$(PY) examples/demo.py

test: setup  ## every test but the slow ones
	@$(PY) tools/node.py
	@$(PY) tools/chromium.py
	$(PY) $(PYTEST)

test-all: setup  ## the slow ones too, then what `make test` does on the oldest supported versions
	@$(PYTHON) tools/setup.py lowest
	@$(PYTHON) tools/setup.py lowest-sdks
	@$(PY) tools/node.py
	@$(PY) tools/chromium.py
	@$(PYTHON) tools/cargo.py
	AGENTSTREAM_TEST_ALL=1 $(PY) $(PYTEST) --timeout 1800
	$(LOWEST) $(PYTEST) tests integrations/anthropic integrations/langgraph integrations/openai
	$(LOWEST_SDKS) $(PYTEST) integrations/claude-agent-sdk integrations/mcp integrations/openai-agents integrations/pydantic-ai

lint: setup  ## style, format, types, and which floor may import which
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m pyright
	.venv/bin/lint-imports

format: setup  ## puts style and format right where a tool can
	$(PY) -m ruff check --fix .
	$(PY) -m ruff format .

ui: setup  ## builds the inspector's page: inspector/ to agentstream/inspector/static
	@$(PY) tools/page.py build

bench: python  ## what it costs, beside its peers
	@$(PYTHON) tools/setup.py bench
	@$(PYTHON) tools/setup.py bench-harness
	$(BENCH) benchmarks/run.py

wheels: setup  ## builds every wheel, imports each in a clean environment, verifies the types it exports
	$(PY) tools/check_wheels.py

pins: setup  ## writes constraints*.txt anew
	$(PY) tools/pin.py

clean:  ## removes what the other targets made
	rm -rf .venv .venv-lowest .venv-lowest-sdks .venv-bench .venv-bench-harness dist build .pytest_cache .hypothesis .ruff_cache .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
