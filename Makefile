# Two commands matter: `make memo` (the decision memo on bundled real figures) and `make test`.
# Everything lives in .venv; nothing is installed outside this folder.

PYTHON ?= python3
STUDY ?= params/default.yaml
BIN := .venv/bin

# Where this is set, every process compiles pandas and scipy anew, which takes some 4 s.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: memo test test-wheel test-vllm test-browser test-gateway probe-gpu lab reference example env clean

memo: env
	@$(BIN)/llmstudy run $(STUDY)

# two workers: the waiting of a second thread costs more than it saves
test: export OPENBLAS_NUM_THREADS = 1
test: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/pytest -n 2 --dist loadscope
	$(BIN)/pytest -p no:cacheprovider -n 2 --dist loadscope --nbval --nbval-current-env --nbval-cell-timeout=120 outputs/reference

# The probe against a real vLLM on the CPU, in an environment of its own: 3 minutes to make, 8 to run.
test-vllm: env
	@sh tests/vllm/make_environment.sh .venv-vllm
	LLMSTUDY_VLLM_PYTHON=.venv-vllm/bin/python $(BIN)/pytest -p no:cacheprovider tests/vllm

# The package as users get it: a wheel in an environment of its own, with the workflow that
# `llmstudy init --ci` writes. Half a minute beside the run of a study.
test-wheel: env
	@$(BIN)/uv build --quiet --wheel --out-dir dist --clear
	LLMSTUDY_WHEEL=$$(ls dist/*.whl) $(BIN)/pytest -p no:cacheprovider tests/wheel

# JupyterLab and the memo in a real Chromium, in an environment of their own: some 4 minutes. Pictures
# are kept in outputs/browser. CHROMIUM names the browser, where it is not on the PATH.
test-browser: env
	@sh tests/browser/make_environment.sh .venv-browser
	.venv-browser/bin/pytest -p no:cacheprovider tests/browser

# The exported gateway on the real LiteLLM proxy, offline, in an environment of its own in the user's
# cache folder: every fault at every name of the four studies, a price at each provider; some ten minutes.
test-gateway: env
	LLMSTUDY_TEST_GATEWAY=1 $(BIN)/pytest -p no:cacheprovider -n 1 tests/gateway

# Records in data/probes what this machine's GPU gives, with random weights: no model is downloaded.
# VLLM_PYTHON names an interpreter that has vLLM, where this environment has not: see the extra gpu.
# Where time is short, a setting at a time: the runs in data/probes, `llmstudy probe vllm
# llama-3.1-8b --max-point 25s --bench --record data/probes` with and without `--quantization fp8`,
# took four and two and a half minutes on an H100, the server's start included. Where nothing can be
# installed: PYTHONPATH=. python3 -m llmstudy ...
probe-gpu: env
	$(BIN)/llmstudy probe vllm llama-3.1-8b llama-3.1-70b --quantization none --quantization fp8 \
	  --bench --record data/probes $(if $(VLLM_PYTHON),--python $(VLLM_PYTHON))

lab: env .venv/.lab
	$(BIN)/jupyter lab --notebook-dir=. notebooks

# Re-executes the committed reference outputs, which `make test` compares with a fresh execution.
reference: env
	$(BIN)/python -c "from llmstudy.run import execute_reference; execute_reference()"

# The rendered example and the picture in the README; needs pdftoppm (poppler-utils).
example: env
	$(BIN)/python outputs/example/make.py

env: .venv/.installed

.venv/.installed: requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "llmstudy needs Python 3.11 or newer; name one with: make PYTHON=/path/to/python3.11"; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements.lock
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps -e .
	@touch $@

.venv/.lab: requirements-lab.lock .venv/.installed
	@$(BIN)/uv pip install --quiet --python $(BIN)/python --require-hashes -r requirements-lab.lock
	@touch $@

clean:
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis dist
	find . -name __pycache__ -not -path './.venv*' -prune -exec rm -rf {} +
	find outputs -mindepth 1 -maxdepth 1 -not -name reference -not -name example -not -name conftest.py -exec rm -rf {} +
