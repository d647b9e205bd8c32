# Murmuration. The two commands to know: `make serve` and `make test`; both set up what they need.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SETUP := .setup
ARGS ?=
SERVER_NAME ?= example.org
TESTS ?= tests
# Three workers suit two cores, as they wait for the database now and then.
WORKERS ?= 3
SCENARIOS := tests/interop/scenarios
# `make test-all` tries what fails once more, alone, and prints both runs: servers, browsers and databases
# share a machine there for half an hour, and one slow answer shouldn't hide what all the others say.
ONCE_MORE = { echo "Once more, those that failed ..."; $(BIN)/python -m pytest -n 0 --last-failed $(1); }
NOT_LONG := -m 'not long' $(TESTS)
LONG := -m long --ignore $(SCENARIOS) $(TESTS)
# Percent of the package's lines that the tests must reach, without the deployment's (tests/infra).
COVERED ?= 97

# Compiled modules are kept, also where the environment says otherwise: the tests start hundreds of processes,
# and each would compile all its modules again.
export PYTHONDONTWRITEBYTECODE :=

.DEFAULT_GOAL := help
.PHONY: help bill cost serve federate test test-all test-long coverage fixtures lint types format budgets bench-core bench-live interop soak attack fuzz cold deploy-local synth synapse rust-client lock clean

help:  ## List the commands
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# -- Setting up: once, and again when a lock changes ------------------------------------------------------

$(SETUP)/python: requirements.lock pyproject.toml tests/e2e/old-client-requirements.txt
	@echo "Setting up Python packages in $(VENV) (a minute or two the first time) ..."
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes --requirement requirements.lock
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes \
		--requirement tests/e2e/old-client-requirements.txt
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation --editable .
	@mkdir -p $(SETUP) && touch $@

$(SETUP)/node: package-lock.json .npmrc
	@echo "Setting up Node packages in node_modules ..."
	@npm ci --silent --no-fund --no-audit
	@mkdir -p $(SETUP) && touch $@

SET_UP := $(SETUP)/python $(SETUP)/node

# -- Running ----------------------------------------------------------------------------------------------

serve: $(SET_UP)  ## Run the homeserver on http://localhost:8008; options: ARGS='--port 8009 …'
	@$(BIN)/murmuration serve --registration open $(ARGS)

federate: $(SET_UP) synapse  ## Run two Murmurations and a Synapse that share rooms; options: ARGS='--port 8108 …'
	@$(BIN)/python -m local_cloud.federate $(ARGS)

# -- Testing ----------------------------------------------------------------------------------------------

test: $(SET_UP) lint types  ## Run lint, types and all tests except the long ones
	@echo "Running the tests ..."
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(NOT_LONG) $(if $(TRY_AGAIN),|| $(call ONCE_MORE,$(NOT_LONG)))

# The scenarios with Synapse are skipped, with the reason, where it can't be installed.
test-long: $(SET_UP)
	@$(BIN)/python -m tests.interop.setup_synapse || echo "Synapse can't be installed or renewed here: its tests are skipped where it is missing"
	@echo "Running the long tests ..."
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup $(LONG) || $(call ONCE_MORE,$(LONG))
	@echo "Running the scenarios with Synapse ..."
	@$(BIN)/python -m pytest -n 1 --dist loadgroup $(SCENARIOS) || $(call ONCE_MORE,$(SCENARIOS))

test-all: TRY_AGAIN := yes
test-all: test test-long  ## Run also the long tests: deployments, browsers, soak, crashes, Synapse

coverage: $(SET_UP)  ## Run the tests, also slow ones, and measure how much of the package they cover
	@$(BIN)/python -m pip install --quiet pytest-cov==7.1.0
	@$(BIN)/python -m pytest -n $(WORKERS) --dist loadgroup -m 'slow or not long' --ignore tests/infra \
		--cov=murmuration --cov-report=term:skip-covered --cov-fail-under=$(COVERED) $(TESTS)

fixtures: $(SET_UP)  ## Record the fixtures' worlds and events; also the expected results: ARGS='--rewrite'
	@$(BIN)/python -m tests.fixtures_worlds
	@$(BIN)/python -m tests.fixtures_record $(ARGS)

lint: $(SET_UP)
	@echo "Linting ..."
	@$(BIN)/ruff check --quiet .
	@$(BIN)/ruff format --quiet --check .

types: $(SET_UP)
	@echo "Checking types ..."
	@$(BIN)/mypy --no-error-summary

# `make test` formats nothing; this does.
format: $(SET_UP)  ## Format the code, and correct what the linter can correct
	@$(BIN)/ruff check --quiet --fix .
	@$(BIN)/ruff format --quiet .

soak: $(SET_UP)  ## Write and read for a minute, and check that each message arrived once; options: ARGS='--servers 2'
	@$(BIN)/python -m tests.soak $(ARGS)

attack: $(SET_UP)  ## Attack a server with rate limits, and print the results; options: ARGS='--sections D'
	@$(BIN)/python -m tests.attack $(ARGS)

fuzz: $(SET_UP)  ## Send mutated requests to every route; options: ARGS='--requests 30000 --seed 2'
	@$(BIN)/python -m tests.fuzz $(ARGS)

budgets: $(SET_UP)  ## Count round trips and capacity units of the main operations
	@$(BIN)/python -m tests.budgets

cost: $(SET_UP)  ## Estimate a month's bill; options: ARGS='--users 5 --messages-per-day 200'
	@$(BIN)/murmuration cost $(ARGS)

bill: $(SET_UP)  ## Measure on a local server what a family, a club and others would cost; some of them: ARGS='family'
	@$(BIN)/python -m benchmarks.bill $(ARGS)

cold: $(SET_UP)  ## Measure each function's import and first client, slowest first
	@$(BIN)/python -m benchmarks.cold

# -- Deploying --------------------------------------------------------------------------------------------

synth: $(SET_UP)  ## Make the deployment's template in cdk.out
	@PATH="$(abspath $(BIN)):$$PATH" npx cdk synth --quiet -c server_name=$(SERVER_NAME)

deploy-local: $(SET_UP)  ## Deploy, change, restore and destroy in a simulated account; an upgrade: ARGS='--from COMMIT'
	@$(BIN)/python -m infra_cdk.rehearsal $(ARGS)

# -- Comparing --------------------------------------------------------------------------------------------

synapse: $(SET_UP)  ## Install Synapse beside the project, for interoperability tests and benchmarks
	@$(BIN)/python -m tests.interop.setup_synapse

rust-client: $(SET_UP)  ## Build a client on Element X's stack, for a long test; needs Rust, and ten minutes the first time
	@$(BIN)/python -m tests.e2e.clients.rust_client

interop: $(SET_UP) synapse  ## Test a Murmuration and a Synapse that share rooms; some of the tests: TESTS=…
	@$(BIN)/python -m pytest -n 0 $(if $(filter-out tests,$(TESTS)),$(TESTS),tests/interop)

bench-core: $(SET_UP) synapse  ## Measure the time of the protocol core beside Synapse's
	@$(BIN)/python -m benchmarks.core

bench-live: $(SET_UP) synapse  ## Measure the time from sending to waiting clients, beside Synapse; options: ARGS='--only large'
	@$(BIN)/python -m benchmarks.live $(ARGS)

# -- Keeping house ----------------------------------------------------------------------------------------

lock: $(SETUP)/python  ## Update requirements.lock from pyproject.toml
	@$(BIN)/python -m pip install --quiet pip-tools
	@$(BIN)/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras --no-emit-index-url \
		--no-emit-trusted-host --no-emit-find-links --no-header \
		--extra local --extra infra --extra test --output-file requirements.lock pyproject.toml

clean:  ## Remove everything that was set up and built
	@rm -rf $(VENV) $(SETUP) node_modules build cdk.out .mypy_cache .ruff_cache .pytest_cache
