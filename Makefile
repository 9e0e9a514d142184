# make demo: two studies and the gallery from nothing.   make test: every check from nothing.   make docs: the site.
PYTHON ?= python3
PIP_ARGS ?=
BIN := .venv/bin

.PHONY: demo test docs clean

demo: .venv/.demo
	$(BIN)/kexue run maxent quick
	$(BIN)/kexue run knn-entropy quick
	@echo "The gallery is ready; open this page in a browser:"
	@$(BIN)/kexue report --out gallery

test: .venv/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	PYTHONWARNDEFAULTENCODING=1 $(BIN)/pytest -n auto --dist loadfile

docs: .venv/.docs
	$(BIN)/python -m sphinx -W --keep-going -b html docs docs/_build/html
	@echo "The site is ready; open docs/_build/html/index.html in a browser."

# One stamp an extra: a second call installs nothing, a changed requirement does.
.venv/.demo: EXTRAS := torch,report,estimators
.venv/.dev: EXTRAS := dev
.venv/.docs: EXTRAS := docs
.venv/.demo .venv/.dev .venv/.docs: pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install $(PIP_ARGS) -e ".[$(EXTRAS)]" -c constraints.txt
	touch $@

clean:
	rm -rf .venv
