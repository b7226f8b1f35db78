# Every target makes .venv first where it is missing: the demonstration with the package's own dependencies alone
# ($(VENV)/.core), what checks the code with all of them ($(VENV)/.installed).
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
TESTED_WITH_OLDEST := tests/foundation tests/objectives tests/metrics tests/plot tests/explanation tests/model tests/app/test_figures.py
FUZZED := tests/datasets/readers/test_fuzz.py tests/app/test_fuzz.py tests/reporting/viewer/test_fuzz.py

.PHONY: demo demo-model browser docs test faults fuzz audit bench architectures lint format tutorial release-check test-oldest clean

$(BIN)/python:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip

$(VENV)/.core: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e .
	touch $@

$(VENV)/.installed: pyproject.toml | $(BIN)/python
	$(BIN)/python -m pip install --quiet -e '.[dev,timm,coco,transformers]'
	touch $(VENV)/.core $@

demo: $(VENV)/.core  ## train on drawn animals, with and without part filters, and write the page
	$(BIN)/partcnn demo $(DEMO_OPTIONS)

demo-model: $(VENV)/.core  ## train the network anew that comes with the package, demo:
	$(BIN)/python benchmarks/demo_model.py

browser:  ## Debian's chromium, with which the tests look at the pages; without it they are skipped
	command -v chromium || (apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium fonts-noto-cjk)

docs: $(VENV)/.installed  ## the documentation's site, into build/site; a warning is an error
	$(BIN)/python -m pip install --quiet -e '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build

test: $(VENV)/.installed
	$(BIN)/pytest

faults: $(VENV)/.installed  ## make every fault that a test knows, and write down how it ends
	$(BIN)/pytest --faults-page=docs/results/faults.md

fuzz: $(VENV)/.installed  ## two minutes of damaged input for each parser, for run directories, settings and the viewer
	PARTCNN_FUZZ_S=120 $(BIN)/pytest -s $(FUZZED)

audit: $(VENV)/.installed  ## are holes known in what is installed? Asks the advisory data of PyPI
	$(BIN)/python -m pip install --quiet pip-audit
	$(BIN)/pip-audit --local --skip-editable

bench: $(VENV)/.installed  ## time loss, mask, steps, inference and start-up beside their goals: an hour on two slow cores
	$(BIN)/python benchmarks/speed.py $(BENCH_OPTIONS)
	$(BIN)/python benchmarks/startup.py

architectures: $(VENV)/.installed  ## try every network of docs/results/architectures.md anew: half an hour on one core
	$(BIN)/python benchmarks/architectures.py --again

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

format: $(VENV)/.installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

tutorial: $(VENV)/.installed  ## run the notebook anew and keep what it shows
	$(BIN)/python -m pip install --quiet -e '.[notebook]'
	cd docs && ../$(BIN)/jupyter execute --inplace tutorial.ipynb

release-check:  ## build the files of a release and use them as a stranger would; before every release
	PYTHON=$(PYTHON) .ci/release_check

OLDEST := .venv-oldest
$(OLDEST)/.installed: pyproject.toml
	$(PYTHON) -m venv $(OLDEST)
	$(OLDEST)/bin/python -m pip install --quiet --upgrade pip uv
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python --resolution lowest-direct -e '.[timm,onnx,hub,coco,compare]'
	$(OLDEST)/bin/uv pip install --quiet --python $(OLDEST)/bin/python pytest hypothesis
	touch $@

test-oldest: $(OLDEST)/.installed  ## the oldest libraries that pyproject.toml allows; what they warn of is no error
	$(OLDEST)/bin/pytest -o filterwarnings= $(TESTED_WITH_OLDEST)

clean:
	rm -rf $(VENV) $(OLDEST) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
