# Run `make help` for what can be done here.
SHELL := /bin/sh
.DEFAULT_GOAL := help
.SUFFIXES:
MAKEFLAGS += --no-print-directory

BIN := .venv/bin
PACKAGES := $(wildcard contracts messaging orchestrator participants oms migrations simulation)
CHECKED := $(PACKAGES) $(wildcard tests tools hatch_build.py)
# Tiers that `make test` must have run; a chosen part (ARGS) is free of that.
TIERS := unit,architecture,conformance,integration,system,simulation
# Files of tests that run side by side. On a broker that was given it is one: there the system tests share queues.
WORKERS ?= $(if $(OMS_TEST_BROKER_URL),1,2)
SEEDS ?= 50
FAULTS ?= 50
REQUESTS ?= 10000

.PHONY: help setup
help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-10s %s\n", $$1, $$2 }' $(firstword $(MAKEFILE_LIST))

setup: ## Make .venv with everything that is needed (nothing to do when it is up to date)
	@sh tools/scripts/setup.sh

.PHONY: demo demo-grafana run up down
demo-grafana: setup ## The sample dashboard with data, where Grafana is installed (ARGS=--prometheus-only without it)
	@$(BIN)/python -m tools.dashboard $(ARGS)

demo: setup ## Start everything on embedded servers, run sample orders, audit them
	@$(BIN)/oms demo

run: setup ## Serve on loopback: HTTP API, console, all services in one process
	@$(BIN)/oms run

up: engine ## Start the services, RabbitMQ and PostgreSQL in containers (compose)
	@docker compose up --build --detach --wait

down: engine ## Stop those containers; data volumes stay
	@docker compose down

.PHONY: engine
engine:
	@docker compose version >/dev/null 2>&1 || { echo "make: docker with compose is needed and was not found" >&2; exit 1; }

.PHONY: test lint format bench docs documents simulate mutations chaos browser
test: setup ## Run every tier of tests, on a real RabbitMQ and PostgreSQL (ARGS for pytest)
	@$(BIN)/python -m pytest -m "not chaos and not failover and not benchmark and not browser and not containers and not manifests" \
		$(if $(ARGS),$(ARGS),--tiers=$(TIERS) --numprocesses=$(WORKERS) --dist=loadfile)

lint: setup ## Check style, formatting and types
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(CHECKED)

format: setup ## Put imports and layout in order
	@$(BIN)/ruff check --fix-only --quiet .
	@$(BIN)/ruff format .

bench: setup ## Measure throughput and latency beside peers (ARGS=--quick: a first look)
	@$(BIN)/oms bench $(ARGS)

docs: setup ## Build the site of the documentation below .oms/docs/site (ARGS="--serve 8001" serves it)
	@$(BIN)/python -m tools.site $(ARGS)

documents: setup ## Write what is generated from the code: JSON Schemas, AsyncAPI, diagrams, proofs of rules, the table of stories
	@$(BIN)/python -m oms.documents
	@$(BIN)/python -m tools.rules
	@$(BIN)/python -m tools.stories_page
	@$(BIN)/python -m tools.wire_page

simulate: setup ## Run the seeded simulation (SEEDS=n; ARGS="--storage postgresql")
	@$(BIN)/oms simulate --seeds $(SEEDS) $(ARGS)

mutations: setup ## Remove one safety rule at a time; the simulation must notice each (ARGS=--quick)
	@$(BIN)/python -m oms.mutations $(ARGS)

chaos: setup ## Kill, stop and cut off everything under load (FAULTS=n SEED=s ORDERS=n)
	@$(BIN)/python -m tools.chaos --faults $(FAULTS) $(if $(SEED),--seed $(SEED)) $(if $(ORDERS),--orders $(ORDERS)) $(ARGS)

browser: setup ## Drive the console in Chromium, which is fetched where there is none (ARGS for pytest)
	@$(BIN)/python -m pytest -m browser tests/browser $(if $(ARGS),$(ARGS),--tiers=browser)

.PHONY: newest
newest: setup ## Run the tests that need no service on the newest Python of this machine (ARGS for pytest)
	@WORKERS=$(WORKERS) sh tools/scripts/newest.sh $(ARGS)

.PHONY: failover
failover: setup ## Lose nodes of a RabbitMQ cluster and a PostgreSQL primary under load (ARGS for pytest)
	@$(BIN)/python -m pytest -s -m failover tests/failover $(if $(ARGS),$(ARGS),--tiers=failover)

.PHONY: containers manifests
containers: setup ## Build the image, run compose.yaml's services from it in podman, kill and stop them (as root; ARGS for pytest)
	@sh tools/scripts/containers.sh $(if $(ARGS),$(ARGS),--tiers=containers)

manifests: setup ## Render deploy/kubernetes and validate it against Kubernetes' schemas (ARGS for pytest)
	@$(BIN)/python -m pytest -m manifests tests/manifests $(if $(ARGS),$(ARGS),--tiers=manifests)

.PHONY: fuzz
fuzz: setup ## Make requests up for every route of the API, on real servers (REQUESTS=n SEED=s)
	@$(BIN)/python -m tools.fuzz --requests $(REQUESTS) $(if $(SEED),--seed $(SEED)) $(ARGS)

.PHONY: versions
versions: setup ## Run the suites on other RabbitMQs and PostgreSQLs (ARGS=--help; docs/reliability.md)
	@$(BIN)/python -m tools.versions $(ARGS)

.PHONY: sbom
sbom: setup ## Write the software bill of materials, sbom.cdx.json (CycloneDX)
	@$(BIN)/python tools/scripts/sbom.py > sbom.cdx.json

.PHONY: release
release: setup ## Build wheel and source distribution into dist/, check them, try them out as strangers would (ARGS="--sign KEY")
	@$(BIN)/python -m tools.release $(ARGS)

.PHONY: lock
lock: ## Pin the packages anew in tools/requirements/ (needs uv)
	@sh tools/scripts/lock.sh
