# Every chore of the project. `make quickstart` and `make test` need nothing but Python 3.11+ and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
# Processes that share out the tests.
JOBS ?= 2
PYTEST := $(BIN)/python -m pytest -q -n $(JOBS) --durations 15

.PHONY: help install quickstart test test-long test-release chaos system-deps lint format bench check-cluster cluster-demo golden docs clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 16

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	touch $@

$(VENV)/installed-test: $(VENV)/installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test]'
	touch $@

$(VENV)/installed-peers: $(VENV)/installed-test
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[peers]'
	touch $@

install: $(VENV)/installed  ## make .venv and install pqsearch into it

quickstart: $(VENV)/installed  ## search a plan for a small network on handwritten digits, offline
	$(BIN)/pqsearch run examples/digits.toml

test: $(VENV)/installed-test lint  ## lint, types and every test but the long ones
	$(PYTEST) --dist worksteal -m "not long and not release"

test-long: $(VENV)/installed-peers  ## tests that take minutes or need system packages (see system-deps)
	$(PYTEST) --dist loadfile -m "long and not release"

test-release: $(VENV)/installed-peers  ## before a release: every network from spec to export, more kills, more processes
	$(PYTEST) --dist loadfile -m release

chaos: $(VENV)/installed-test  ## hit a running search with a hundred faults (half an hour or more)
	$(BIN)/python -m tests.chaos.siege --faults 100

system-deps:  ## install the Debian packages that test-long needs (as root)
	apt-get update -qq
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq chromium postgresql
	DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends prometheus
	# The test starts one of its own; the package's would listen on every address.
	systemctl disable --now prometheus 2> /dev/null || true

lint: $(VENV)/installed-test  ## ruff and mypy
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=benchmarks $(BIN)/mypy benchmarks/*.py

format: $(VENV)/installed-test  ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

bench: $(VENV)/installed-test  ## every benchmark that needs no data of yours
	$(BIN)/python benchmarks/costs.py
	$(BIN)/python benchmarks/evaluate.py
	$(BIN)/python benchmarks/data.py
	$(BIN)/python benchmarks/large_networks.py
	$(BIN)/python benchmarks/proposals.py
	$(BIN)/python benchmarks/forecast.py
	$(BIN)/python benchmarks/journal.py
	$(BIN)/python benchmarks/engine.py
	$(BIN)/python benchmarks/simulator.py
	$(BIN)/python benchmarks/digits.py

cluster-demo: $(VENV)/installed-test  ## three nodes on this machine, a search submitted to them, one node killed
	$(BIN)/python -m tests.cluster.demo

check-cluster: $(VENV)/installed-test  ## hold the files for clusters against their readers' schemas (SCHEMAS=FOLDER: KubeRay's, too)
	$(BIN)/python -m tests.cluster.checks $(if $(SCHEMAS),--schemas $(SCHEMAS))

golden: $(VENV)/installed-test  ## write the golden files of the tests anew, to be looked at in git diff
	$(BIN)/python -m tests.cluster.cases

docs: $(VENV)/installed  ## write docs/spec.md and docs/models.md anew (minutes: every network is traced)
	$(BIN)/python -m pqsearch.spec_docs docs/spec.md
	$(BIN)/python -m trainers.model_docs docs/models.md

clean:  ## remove .venv and caches, not runs
	rm -rf $(VENV) build *.egg-info .pytest_cache .ruff_cache .mypy_cache
