.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
DEV := $(VENV)/.ready-dev

.PHONY: help demo serve test test-faults test-pythons fuzz lint format docs package clean

help: ## List the targets
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 24

PINNED := scripts/setup requirements.lock pyproject.toml

# What runs; and that with what tests, checks and documents it, which makes the first up to date too.
$(READY): $(PINNED)
	@scripts/setup

$(DEV): $(PINNED)
	@scripts/setup dev

demo: $(READY) ## Compare eight variants of the shipped model on the built-in scenes (6 minutes)
	@$(BIN)/prunebench run --config configs/quickstart.yaml

serve: $(READY) ## Run a Prefect server, the deployments and a worker until Ctrl-C
	@$(BIN)/prunebench serve

test: $(DEV) ## Run every test but those of servers and faults (15 minutes on two cores)
	@$(BIN)/python -m pytest $(TESTS)

test-faults: $(DEV) ## Run the tests of servers and faults: kills, outages, full disks (12 minutes on two cores)
	@$(BIN)/python -m pytest tests/faults

test-pythons: $(DEV) ## Run the core's tests with every Python from 3.11 to 3.14 found here
	@scripts/test-pythons

fuzz: $(DEV) ## Damage inputs at random for a minute, SECONDS=600 for ten, SEED=1 for others
	@$(BIN)/python -m tests.hostile.fuzz --seconds $(or $(SECONDS),60) --seed $(or $(SEED),0)

lint: $(DEV) ## Check style, types, the direction of imports and the locked versions
	@scripts/lint

format: $(DEV) ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: $(DEV) ## Build the documentation into site/, links checked
	@scripts/docs

package: $(READY) ## Build the sdist and the wheel into dist/
	@scripts/package

clean: ## Remove the virtual environment and every run
	@rm -rf $(VENV) .pythons runs
