# Every recipe that people and CI use. `make` alone lists them.
#   make demo ARGS="--for 30"         extra words for the command
#   make setup PYTHON=python3.12      another interpreter (3.11, 3.12 or 3.13)
#   make test WORKERS=4               tests side by side; each worker starts a broker of its own when it needs one

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
LOCKED := $(VENV)/.locked
READY  := $(VENV)/.ready
SPARKED := $(VENV)/.sparked
ROOTS  := $(wildcard detector models pipelines)
ARGS   ?=
WORKERS ?= 2

# A file stays with one worker, so that what its tests share is made once.
SIDE_BY_SIDE = -n $(WORKERS) --dist loadfile

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo test torture bench check format kafka kafka-jars spark lock dashboards size clean

help:        ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-11s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(READY)  ## create .venv with the locked packages and the itbwatch command
	@echo "$(VENV) is ready"

$(LOCKED): requirements/runtime.txt requirements/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if (3, 11) <= sys.version_info[:2] <= (3, 13) else 1)' 2>/dev/null \
	  || { echo "itbwatch needs Python 3.11 to 3.13; '$(PYTHON)' is: $$($(PYTHON) --version 2>&1 | head -1). Another one: make setup PYTHON=python3.12" >&2; exit 1; }
	@echo "filling $(VENV) from requirements/dev.txt (once, and when that file changes)"
	@$(PYTHON) -m venv --clear $(VENV) \
	  || { echo "$(VENV) could not be created; on Debian: apt-get install python3-venv" >&2; exit 1; }
	@# the lock is whole; left to look for dependencies, pip stumbles over a newer release of one that is asked for with an extra
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps -r requirements/dev.txt
	@$(BIN)/python -m pip check >/dev/null || $(BIN)/python -m pip check >&2
	@touch $@

# The editable install lists the roots that exist, so a new root makes it again. setuptools warns about being editable.
$(READY): $(LOCKED) pyproject.toml requirements/runtime.in $(wildcard $(ROOTS:=/__init__.py))
	@PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --no-deps --no-build-isolation -e .
	@touch $@

demo: $(READY)  ## watch a simulated ward in the browser; needs no Kafka
	@$(BIN)/itbwatch demo $(ARGS)

test: $(READY)  ## format, lint, types, and all tests with branch coverage of detector/
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy --strict $(ROOTS) deploy/grafana
	$(BIN)/pytest $(SIDE_BY_SIDE) tests/detector tests/rules tests/scenarios -m "not search" --cov --cov-report=term --cov-fail-under=95
	$(BIN)/pytest $(SIDE_BY_SIDE) $(ARGS)

torture: $(READY)  ## kill, cut, pause and starve the service for as long as asked; ARGS="--only schedules --minutes 25"
	@$(BIN)/python -m tests.torture $(ARGS)

check: $(READY)  ## check config.yaml, the catalogue and the rules
	@$(BIN)/itbwatch check $(ARGS)

format: $(READY)  ## format the code and repair what ruff can
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

kafka: $(READY)  ## run a real Kafka broker on 127.0.0.1:9092 until Ctrl-C; ARGS="--port 19092 --topic icu.observations:4"
	@$(BIN)/python tests/kafka/broker.py $(ARGS)

kafka-jars: $(READY)  ## fetch Kafka's jars into .cache/kafka-libs
	@$(BIN)/python tests/kafka/broker.py --jars

spark: $(SPARKED)  ## add the extra [spark] to .venv, and its source of Kafka records to .cache/spark-libs

$(SPARKED): $(READY) requirements/spark.txt tests/spark/pom.xml
	@$(BIN)/python -m pip install --quiet --require-hashes --no-deps --no-build-isolation --no-compile -r requirements/spark.txt
	@$(BIN)/python tests/spark/connector.py >/dev/null
	@touch $@

COMPILE = $(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-header \
  --no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-emit-options

lock: $(READY)  ## compile requirements/*.in to hashed locks, keeping versions that fit; ARGS=--upgrade takes newer ones
	env -u PIP_FIND_LINKS $(COMPILE) $(ARGS) --output-file requirements/runtime.txt requirements/runtime.in
	env -u PIP_FIND_LINKS $(COMPILE) $(ARGS) --output-file requirements/dev.txt requirements/dev.in
	env -u PIP_FIND_LINKS $(COMPILE) $(ARGS) --constraint requirements/runtime.txt \
	  --output-file requirements/spark.txt requirements/spark.in

dashboards: $(READY)  ## build deploy/grafana/*.json from its panels.py
	$(BIN)/python -m deploy.grafana.build

PEERS = .cache/peers

$(PEERS)/.filled: benchmarks/peers/requirements.txt
	$(PYTHON) -m venv --clear $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet -r $<
	@touch $@

bench: $(READY) $(PEERS)/.filled  ## measure against peers, about half an hour alone on the machine; ARGS="history --rounds 3"
	$(BIN)/python -m benchmarks.bench --peers $(PEERS)/bin/python $(ARGS)

size:        ## lines per file, longest first: seen, not enforced
	@find $(ROOTS) tests -name '*.py' -print0 | xargs -0 wc -l | sort -rn | head -40

clean:       ## delete what make and the tools made, except Kafka's jars
	rm -rf $(VENV) build dist htmlcov .coverage .mypy_cache .ruff_cache .pytest_cache .hypothesis *.egg-info
	find $(ROOTS) tests -name __pycache__ -prune -exec rm -rf {} +
