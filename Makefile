VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.DEFAULT_GOAL := test
.PHONY: demo test test-slow lint docs clean

# Silent pip looks stuck: say what runs and how long it may take.
# torch goes first, pinned: a bare `torch` may pull gigabytes of CUDA.
$(VENV)/.installed: pyproject.toml constraints.txt
	@echo "[install 1/3] an environment in $(VENV)"
	$(PYTHON) -m venv $(VENV)
	@echo "[install 2/3] torch: a download of about 200 MB (gigabytes on some systems), minutes"
	$(BIN)/pip install --constraint constraints.txt torch
	@echo "[install 3/3] the package with lm-eval, transformers, TRL and test tools: minutes"
	$(BIN)/pip install --constraint constraints.txt --editable ".[report,server,training,dev]"
	touch $@

demo: $(VENV)/.installed
	@echo "Demo: trains, measures and reports six tiny models; two to three minutes on two cores"
	$(BIN)/python -m rm_value_tasks.organisms.demo demo-output

test: $(VENV)/.installed
	@echo "All tests but the slow ones, two at a time; about ten minutes on two cores"
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-slow: $(VENV)/.installed
	$(BIN)/python -m pytest -m slow --durations 0

lint: $(VENV)/.installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

docs: $(VENV)/.installed
	@echo "The site needs mkdocs-material and mkdocstrings: a minute the first time"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict --config-file .mkdocs.yml
	@echo "The site: .site/index.html"

clean:
	rm -rf $(VENV) demo-output dist .site
