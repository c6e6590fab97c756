.PHONY: check lint format test slow

check: lint test ## all that must hold before a commit

lint:
	ruff check .
	ruff format --check .
	pyright
	lint-imports

format:
	ruff check --fix .
	ruff format .

test:
	pytest

slow: ## what only CI runs
	pytest -m slow
