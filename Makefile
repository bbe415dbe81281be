# Two commands on a fresh machine: `make demo` and `make test`. Both work in .venv, which the first of them makes.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

# uv leaves installed code uncompiled. Where this is set (in many containers), nothing would ever keep
# what Python compiles, and each process would compile torch anew: about 8 s of CPU before its first line.
unexport PYTHONDONTWRITEBYTECODE

DEMO := --methods zero-shot,ft,lora,at,grace --seeds 0 --workers 2 --n-attack 300 --out runs/demo
DEMO_RUNS := $(addprefix runs/demo/,zero-shot-s0 ft-s0 lora-s0 at-s0 grace-s0)

.PHONY: setup demo test test-fast test-nightly test-ecosystem test-types lint docs docs-setup compare clean

setup: $(READY)

# uv resolves and installs the whole stack several times faster than pip; it comes from the same index.
$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[test]'
	touch $(READY)

demo: setup
	$(BIN)/python -m grace_geom.compare $(DEMO)
	$(BIN)/python analyses/report.py $(DEMO_RUNS) --analyses parameter_drift,feature_stability --n 250
	$(BIN)/python analyses/hessian_spectrum.py $(DEMO_RUNS) --n 64 --density-probes 1
	$(BIN)/python -m grace_geom.compare $(DEMO)
	@echo "report: runs/demo/analyses/report.html     dashboard: $(BIN)/streamlit run app/main.py -- --runs runs/demo"

# Two processes, each with whole files, so that fixtures of a file are made once.
test: setup lint
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not nightly"

# What is too long for each commit; a quicker test of the same file looks at the same ground there.
test-nightly: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m nightly

# What is compared with other people's libraries, in an environment of its own that has them all:
# nothing may be skipped there. AUTOATTACK is the authors' code, which no index has: it may be a folder,
# and where it is empty its tests are left out.
ECO := .venv-ecosystem
AUTOATTACK ?= git+https://github.com/fra31/auto-attack@a39220048b3c9f2cca9a4d3a54604793c68eca7e
ECO_TESTS := tests/exporting tests/store tests/models/test_against_transformers.py tests/models/test_logit_bias.py \
	tests/data/test_hf.py tests/tracking/test_libraries.py tests/evaluation/test_outcomes.py \
	tests/attacks/test_apgd.py tests/engines tests/study/test_search.py \
	$(if $(AUTOATTACK),tests/attacks/test_authors.py)

$(ECO)/.ready: pyproject.toml
	$(PYTHON) -m venv $(ECO)
	$(ECO)/bin/python -m pip install --quiet --disable-pip-version-check uv
	$(ECO)/bin/uv pip install --quiet --python $(ECO)/bin/python -e '.[test,ecosystem]' $(AUTOATTACK)
	touch $@

test-ecosystem: $(ECO)/.ready
	$(ECO)/bin/python -m pytest -n 2 --dist loadfile -p tests.ecosystem -rs $(ECO_TESTS)

# What a change is checked with while it is made: no training, no browser.
test-fast: setup
	$(BIN)/python -m pytest -n 2 --dist loadfile -m "not slow and not distributed and not browser and not packs"

# The same calls with every annotation checked as they are made: shapes, dtypes and plain types.
TYPED := grace_geom.geometry,grace_geom.attacks
test-types: setup
	$(BIN)/python -m pytest -p tests.typed --jaxtyping-packages=$(TYPED),tests.typed.check -m "not distributed and not untyped and not nightly" \
		tests/geometry tests/attacks

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check --quiet .
	$(BIN)/mypy

docs-setup: setup
	$(BIN)/uv pip install --quiet --python $(BIN)/python -e '.[docs]'

docs: docs-setup
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict
	@echo "site: build/site/index.html"

compare: setup
	$(BIN)/python -m grace_geom.compare --seeds 0,1,2 --out runs/compare

clean:
	rm -rf $(VENV) $(ECO) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
