# All targets share one environment, .venv, which the first of them makes.

PYTHON ?= python3
VENV := .venv
PART ?= *
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed

# Models this small lose time to a second thread.
export OMP_NUM_THREADS ?= 1
# And a third of it by giving memory back to the system and asking for it again, in each step.
export MALLOC_MMAP_THRESHOLD_ ?= 30000000
export MALLOC_TRIM_THRESHOLD_ ?= 1000000000
export MALLOC_TOP_PAD_ ?= 200000000

.PHONY: help setup demo train-demo test style tables docs bench

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /make \1: /p' Makefile

setup: $(INSTALLED)  ## make .venv and install the project into it, unless that is done

demo: $(INSTALLED)  ## enroll two speakers, ask and listen, in a minute
	$(BIN)/vofp demo

train-demo: $(INSTALLED)  ## train and compare two systems on synthetic speech
	$(BIN)/python recipes/Synthetic-commands/personalized_kws/demo.py

test: $(INSTALLED)  ## run the tests
	$(BIN)/python -m pytest -q -n auto --dist loadfile

style: $(INSTALLED)  ## check lint and format
	$(BIN)/ruff check
	$(BIN)/ruff format --check

tables: $(INSTALLED)  ## rewrite the tables of the READMEs from the recorded results
	$(BIN)/python recipes/tables.py

docs: $(INSTALLED)  ## build the API reference, build/docs/modules.html
	$(BIN)/python -m pip install --disable-pip-version-check -q -c constraints.txt -e '.[docs]'
	$(BIN)/sphinx-apidoc -q -f -e -M -o build/api vofp_plugin
	$(BIN)/sphinx-build -q -b html -c docs/api build/api build/docs
	@echo 'Written to build/docs/modules.html'

bench: $(INSTALLED)  ## measure what personalization costs, in 15 minutes; PART='crowd*' for some of it
	$(BIN)/python benchmarks/bench.py --threads=1 --part='$(PART)'
	OMP_NUM_THREADS=2 $(BIN)/python benchmarks/bench.py --threads=2 --part='$(PART)'
	test '$(PART)' != '*' || $(BIN)/python benchmarks/serve.py
	$(BIN)/python benchmarks/page.py

$(INSTALLED): setup.cfg pyproject.toml constraints.txt | $(BIN)/pip
	$(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt \
	    -e '.[synthetic,onnx,page,test]'
	@touch $@

# pip is the last file of a new environment, so an interrupted one is made again.
$(BIN)/pip:
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 10) <= sys.version_info < (3, 14))' || { \
	    echo 'Expected $(PYTHON) to be Python 3.10 to 3.13; give one that is:' \
	        'make setup PYTHON=python3.11' >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	    echo 'Found $(PYTHON) without its venv module; on Debian install it with:' \
	        'apt-get install python3-venv' >&2; exit 1; }
	@echo 'Making $(VENV); this takes about 4 minutes and 6 GB.'
	$(PYTHON) -m venv $(VENV)
