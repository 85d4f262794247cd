# make demo [DATA=neu]   the whole method on a small data set, on a CPU, in minutes
# make test              all tests
# Both make their own virtual environment in .venv first.

PYTHON ?= python3
VENV := .venv
PY := $(CURDIR)/$(VENV)/bin/python
DATA ?= demo-data
NETWORK ?= squeezenet

.PHONY: demo test clean

demo: $(VENV)/installed
	PYTHON=$(PY) DATA=$(DATA) NETWORK=$(NETWORK) sh demo.sh

test: $(VENV)/installed-tests
	$(PY) -m pytest -q tests

$(VENV)/installed: requirements.txt
	$(PYTHON) -c 'import sys; sys.exit("Python 3.10 or newer is needed: make PYTHON=python3.12 .." if sys.version_info < (3, 10) else 0)'
	$(PYTHON) -m venv $(VENV)
	$(PY) -m pip install -q -r requirements.txt
	touch $@

$(VENV)/installed-tests: $(VENV)/installed tests/requirements.txt
	$(PY) -m pip install -q -r tests/requirements.txt
	touch $@

clean:
	rm -rf $(VENV) demo-data runs
