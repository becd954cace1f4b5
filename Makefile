# Every target installs what it needs; `make` alone lists them.
#   ARGS="..."  goes to pytest (test, check), ovirt-ccm (demo), the benchmarks (bench) or the soak
#   KUBE=off    leaves out the tests against a real Kubernetes API server
#   PYTHON=...  another interpreter than python3 for .venv

BIN := .venv/bin
PYTHON ?= python3
export KUBE PYTHON

ifneq ($(filter-out off,$(KUBE)),)
$(error KUBE=$(KUBE) means nothing: say KUBE=off, or leave it out)
endif
# Tests without the real API server need no programs of it.
ASSETS := $(if $(filter off,$(KUBE)),,kube-assets)

LOCK := $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header

# Looks at the image and at what is in it; needed by no code and no test.
TOOLS := build/tools/bin

.PHONY: help install demo test check kube-assets render-programs prometheus-programs bench soak e2e image sbom audit manifests-audit lock clean

help: ## list the targets
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-20s %s\n", $$1, $$2 }' Makefile

install: .venv/.installed ## make .venv, with ovirt-ccm and all tools in it

.venv/.installed: requirements.lock requirements-dev.lock pyproject.toml .ci/install
	@.ci/install

demo: install ## simulated engine and cluster, the real controller; Ctrl-C ends it
	@$(BIN)/ovirt-ccm demo $(ARGS)

test: install render-programs prometheus-programs $(ASSETS) ## run the tests
	@$(BIN)/python -m pytest $(ARGS)

check: install $(TOOLS)/.installed ## everything that a change must pass, quickest first
	$(BIN)/ruff format --check
	$(BIN)/ruff check
	$(BIN)/lint-imports --no-logo
	$(BIN)/mypy
	$(TOOLS)/hadolint Dockerfile
	@$(MAKE) --no-print-directory manifests-audit
	@$(MAKE) --no-print-directory test ARGS="--cov --cov-report= $(ARGS)"
	$(BIN)/coverage report --fail-under=95
	$(BIN)/coverage report --include='provider/decisions/*' --fail-under=100

kube-assets: install ## build etcd, the Kubernetes control plane and kubectl, once a machine
	@$(BIN)/python -m tests.kube.assets

render-programs: install ## fetch Helm and kubectl, which render what is shipped, once a machine
	@$(BIN)/python -m tests.manifests.programs >/dev/null

prometheus-programs: install ## fetch Prometheus and promtool (Debian's), once a machine
	@$(BIN)/python -m tests.prometheus.programs >/dev/null

bench: install kube-assets ## measure all again into benchmarks/RESULTS.md (ARGS="--only join")
	@$(BIN)/python benchmarks/results.py $(ARGS)

soak: install kube-assets ## half an hour of random faults (ARGS="--minutes 5 --seed 2")
	@$(BIN)/python -m tests.scenarios.soak $(ARGS)

e2e: install kube-assets ## the image as a pod on real kubelets, power failures included (root)
	@$(BIN)/python -m tests.e2e

image: ## build the images with podman or docker; .ci/image tells the rest
	@.ci/image

sbom: $(TOOLS)/.installed ## write dist/sbom.cdx.json: what is in the built image
	@.ci/sbom $(TOOLS)/python

audit: $(TOOLS)/.installed ## look for known vulnerabilities of what is locked
	$(TOOLS)/pip-audit --strict --require-hashes --disable-pip -r requirements.lock
	$(TOOLS)/pip-audit --strict --require-hashes --disable-pip -r requirements-dev.lock

manifests-audit: render-programs build/checkov/.installed ## look at the manifests with checkov
	@$(BIN)/python -m tests.manifests.audit build/checkov/bin/checkov

build/checkov/.installed: tests/manifests/checkov.lock
	@$(BIN)/uv venv --quiet --clear build/checkov
	@$(BIN)/uv pip sync --quiet --require-hashes --python build/checkov $<
	@touch $@

$(TOOLS)/.installed: .ci/tools.lock
	@$(PYTHON) -m venv --clear build/tools
	@$(TOOLS)/python -m pip --disable-pip-version-check --no-input install --quiet \
		--no-deps --require-hashes --requirement .ci/tools.lock
	@touch $@

lock: install ## lock the requirements again; UPGRADE=--upgrade takes newer versions
	$(LOCK) $(UPGRADE) --output-file requirements.lock pyproject.toml
	$(LOCK) $(UPGRADE) --output-file requirements-dev.lock -c requirements.lock --group dev pyproject.toml
	$(LOCK) $(UPGRADE) --output-file .ci/build.lock -c requirements-dev.lock .ci/build.in
	$(LOCK) $(UPGRADE) --output-file .ci/tools.lock .ci/tools.in
	$(LOCK) $(UPGRADE) --output-file tests/kube/lab/go.lock tests/kube/lab/go.in
	$(LOCK) $(UPGRADE) --no-deps --output-file tests/manifests/programs.lock tests/manifests/programs.in
	$(LOCK) $(UPGRADE) --output-file tests/manifests/checkov.lock tests/manifests/checkov.in

clean: ## remove .venv and all that was made in this folder; the built Kubernetes stays in the cache
	rm -rf .venv build dist .coverage .coverage.* .hypothesis .import_linter_cache .mypy_cache \
		.pytest_cache .ruff_cache
	find . -name __pycache__ -prune -exec rm -rf {} +
