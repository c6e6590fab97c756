.PHONY: check lint format test slow

# TypeScript's checker reads the JSDoc types of the studio's page; it is held to one version, as the Python tools are.
TSC = $(if $(shell command -v tsc),tsc,npx --yes --package typescript@5.9.3 tsc)

check: lint test ## all that must hold before a commit

lint:
	ruff check .
	ruff format --check .
	pyright
	lint-imports
	$(TSC) -p tsconfig.json

format:
	ruff check --fix .
	ruff format .

# A process for each core; a file's tests stay together, as they share what they have built.
PYTEST = pytest -n auto --dist loadfile

test:
	$(PYTEST)

slow: ## what only CI runs
	$(PYTEST) -m slow
