# Everything Homeside needs done is one of these targets; `make help` lists them.
# They need Python 3.11, 3.12 or 3.13 and nothing else: what is missing is fetched into .venv, or from Debian where that
# is allowed, and said plainly where it is not. Stamp files in .venv make the second run quick.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.NOTPARALLEL:
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

VENV := .venv
RUN := $(VENV)/bin/python
PIP := $(RUN) -m pip --disable-pip-version-check
# crcmod (of smp, for firmware updates) ships no wheel; it builds without a compiler.
FROM_LOCK := install -qq --no-deps --require-hashes --only-binary=:all: --no-binary=crcmod --requirement
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
  $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && echo $$python && break; done)

# What the tests' and the benchmarks' real peers are called in Debian; libatomic1 is for the node that playwright brings.
TEST_PEERS := mosquitto nats-server nginx chromium ffmpeg libatomic1 systemd postgresql poppler-utils dbus-daemon coturn janus openssl mmdebstrap strace gcc libc6-dev
BENCH_PEERS := mosquitto nats-server postgresql nginx libnginx-mod-nchan janus mmdebstrap

# What a package or a release is to run.
EXTRAS ?= agent,relay

# Two files of tests at a time: they wait for processes more than they work.
SIDE_BY_SIDE ?= -n 2 --dist loadfile

# What fails is tried once more, and what then passes is printed in full with its first failure (make test TWICE= for once).
TWICE ?= --reruns 1

# Words for pytest (make test TESTS='tests/core -k clock') and for the demonstration (make demo DEMO='--port 8010').
TESTS ?=
DEMO ?=

# A virtual environment whose Python has gone is no environment.
ifneq ($(wildcard $(VENV)/pyvenv.cfg),)
ifneq ($(shell $(RUN) -c 'print(1)' 2>/dev/null),1)
$(shell rm -rf $(VENV))
endif
endif

# $(call debian,PACKAGES,WHAT FOR): installs Debian packages that are missing, where this user may; otherwise says what to
# type, and fails. As root, or with a sudo that asks for no password.
define debian
missing=; for package in $(1); do \
  dpkg-query --show --showformat='$${db:Status-Status}' $$package 2>/dev/null | grep -qx installed || missing="$$missing $$package"; \
done; \
as_root=; [ "$$(id -u)" = 0 ] || as_root='sudo -n'; \
if [ -z "$$missing" ]; then :; \
elif command -v apt-get >/dev/null && $$as_root true 2>/dev/null; then \
  echo "Debian packages for $(2):$$missing"; \
  $$as_root apt-get update -qq && \
  $$as_root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $$missing >/dev/null; \
else \
  echo "Missing for $(2):$$missing"; \
  echo "  On Debian:  sudo apt-get install$$missing"; \
  false; \
fi
endef

.PHONY: help install models demo test check bench soak lock wheel deb release clean peers sbom

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-9s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(VENV)/.homeside $(VENV)/.media ## .venv with the locked packages and the homeside command in it

models: $(VENV)/.runtime $(VENV)/.npm ## the vision models (and the chart library), by lock and sha256; install does it too
	$(RUN) hatch_build.py

demo: $(VENV)/.homeside $(VENV)/.media ## a beating heart in the browser: relay, simulated sensor and agent on this machine
	@$(RUN) -m homeside demo $(DEMO)

test: check peers $(VENV)/.pages $(VENV)/.media ## everything: check, then all tests against real peers
	$(RUN) -m pytest $(SIDE_BY_SIDE) $(TWICE) --durations=25 --durations-min=4 $(TESTS)

check: $(VENV)/.homeside $(VENV)/.dev ## format, lint, types, the house's laws, what may not be in the tree
	$(RUN) -m ruff format --check .
	$(RUN) -m ruff check .
	$(RUN) -m mypy
	$(RUN) -m pytest -q tests/test_architecture.py tests/test_tooling_tree.py

bench: $(VENV)/.homeside $(VENV)/.dev $(VENV)/.pages ## measure, with the peers beside us; writes docs/benchmarks.md
	@$(call debian,$(BENCH_PEERS),the benchmarks' peers) || echo "  What is missing is left out of the table, by name."
	$(RUN) -m tests.bench

soak: peers $(VENV)/.homeside $(VENV)/.dev $(VENV)/.pages ## the long fault runs
	$(RUN) -m pytest -m soak --timeout=0 $(TESTS)

wheel: $(VENV)/.homeside ## dist/: the sdist and the wheel
	$(RUN) -m hatchling build

deb: $(VENV)/.wheels ## dist/: a Debian package with all it needs inside (make deb EXTRAS=agent for a kit alone)
	$(RUN) -m provisioning.install.debian --wheels build/wheels --out dist

release: $(VENV)/.wheels ## dist/: an unsigned release for a fleet's updaters; homeside release sign does the rest
	@version=$$($(RUN) -m hatchling version) && \
	$(RUN) -m homeside release make --wheels build/wheels --lock build/lock.txt --out dist/homeside-$$version.unsigned.tar

sbom: $(VENV)/.homeside $(VENV)/.dev ## dist/homeside.cdx.json: the bill of materials (CycloneDX), from the locks
	@$(RUN) -m tests.made_sbom dist/homeside.cdx.json

lock: ## resolve pyproject.toml and package.json anew (make lock LOCK=--upgrade for newer versions)
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; \
	echo "Getting uv into a throwaway environment"; \
	$(PYTHON) -m venv "$$scratch" && "$$scratch/bin/pip" install --quiet --disable-pip-version-check uv; \
	resolve() { echo "Resolving $${@: -1}"; "$$scratch/bin/uv" pip compile --quiet --universal --python-version 3.11 --fork-strategy fewest --generate-hashes \
	  --no-header --no-annotate --no-config $(LOCK) "$$@"; }; \
	resolve pyproject.toml --extra agent --extra vision --extra relay --extra tracing --extra build --extra dev --output-file locks/dev.txt; \
	resolve pyproject.toml --extra agent --extra vision --extra relay --extra build --constraint locks/dev.txt --output-file locks/runtime.txt; \
	resolve --group node --output-file locks/node.txt; \
	if command -v npm >/dev/null; then npm install --package-lock-only --ignore-scripts --no-audit --no-fund >/dev/null; \
	$(PYTHON) -c 'import json, pathlib; path = pathlib.Path("package-lock.json"); lock = json.loads(path.read_text()); \
	  [one.pop("funding", None) for one in lock["packages"].values()]; \
	  path.write_text(json.dumps(lock, indent=2, ensure_ascii=False) + "\n")'; \
	else echo "No npm on PATH: package-lock.json is left as it is."; fi

clean: ## remove all that make has made here: .venv, caches, builds, the demonstration's data
	rm -rf $(VENV) node_modules relay/viewer/vendor agent/vision/models provisioning/media dist build .demo .screens .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

peers:
	@$(call debian,$(TEST_PEERS),the tests' real peers) || echo "  Until then, tests that need them skip, and say so."

$(VENV)/pyvenv.cfg:
	@[ -n "$(PYTHON)" ] || { echo "Homeside needs Python 3.11, 3.12 or 3.13.  On Debian:  sudo apt-get install python3 python3-venv"; exit 1; }
	@$(PYTHON) -c 'import ensurepip' 2>/dev/null || { $(call debian,python3-venv,a virtual environment); }
	@echo "Making $(VENV) with $$($(PYTHON) --version)"
	@$(PYTHON) -m venv --clear $(VENV)

$(VENV)/.runtime: locks/runtime.txt $(VENV)/pyvenv.cfg
	@echo "Installing $$(grep -c == $<) packages from $<"
	@$(PIP) $(FROM_LOCK) $<
	@touch $@

$(VENV)/.dev: locks/dev.txt $(VENV)/.runtime
	@echo "Installing the tests' and checks' packages from $<"
	@$(PIP) $(FROM_LOCK) $<
	@touch $@

$(VENV)/.npm: locks/node.txt $(VENV)/pyvenv.cfg
	@command -v npm >/dev/null || { echo "Installing npm from $< (this machine has none)"; $(PIP) $(FROM_LOCK) $<; }
	@touch $@

$(VENV)/.homeside: pyproject.toml hatch_build.py package-lock.json agent/vision/models.json $(VENV)/.runtime $(VENV)/.npm
	@echo "Installing homeside itself, the viewer's chart library and the vision models"
	@$(PIP) install -qq --no-deps --no-build-isolation --editable .
	@touch $@

# A video of a woman walking, out of the package sports2d (BSD-3), for a demonstration where there is no camera.
$(VENV)/.media: locks/demo.txt $(VENV)/pyvenv.cfg
	@echo "Fetching the demonstration's video from $<"
	@scratch=$$(mktemp -d); trap 'rm -rf "$$scratch"' EXIT; mkdir -p provisioning/media; \
	$(PIP) download -qq --no-deps --require-hashes --only-binary=:all: --dest "$$scratch" --requirement $< && \
	$(RUN) -m zipfile --extract "$$scratch"/sports2d-*.whl "$$scratch" && \
	mv "$$scratch"/Sports2D/Demo/demo.mp4 provisioning/media/walking.mp4 && \
	mv "$$scratch"/sports2d-*.dist-info/licenses/LICENSE provisioning/media/LICENSE.walking
	@touch $@

.PHONY: $(VENV)/.wheels
$(VENV)/.wheels: wheel
	@mkdir -p build/wheels && rm -f build/wheels/homeside-*.whl
	@$(RUN) -m homeside release lock locks/runtime.txt --extras $(EXTRAS) > build/lock.txt
	@echo "Fetching $$(grep -c == build/lock.txt) wheels for $(EXTRAS)"
	@$(PIP) wheel -qq --no-deps --require-hashes --only-binary=:all: --no-binary=crcmod --wheel-dir build/wheels \
	  --requirement build/lock.txt
	@cp "$$(ls -t dist/homeside-*.whl | head -1)" build/wheels/

$(VENV)/.pages: package-lock.json $(VENV)/.homeside
	@echo "Installing what the pages' tests need, from $<"
	@$(RUN) hatch_build.py --tests
	@touch $@
