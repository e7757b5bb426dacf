.DEFAULT_GOAL := help
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: help demo serve test lint format docs package clean

help: ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/^([a-z]+):.*## /  make \1\t/' | expand -t 16

$(READY): scripts/setup requirements.lock pyproject.toml
	@scripts/setup

demo: $(READY) ## Compare six variants of the shipped model on the built-in scenes (6 minutes)
	@$(BIN)/prunebench run --config configs/quickstart.yaml

serve: $(READY) ## Run a Prefect server, the deployments and a worker until Ctrl-C
	@$(BIN)/prunebench serve

test: $(READY) ## Run every test (6 to 10 minutes on two cores)
	@$(BIN)/python -m pytest

lint: $(READY) ## Check style, types and the direction of imports
	@scripts/lint

format: $(READY) ## Format the code
	@$(BIN)/ruff format . && $(BIN)/ruff check --fix .

docs: $(READY) ## Build the documentation into site/, links checked
	@scripts/docs

package: $(READY) ## Build the sdist and the wheel into dist/
	@scripts/package

clean: ## Remove the virtual environment and every run
	@rm -rf $(VENV) runs
