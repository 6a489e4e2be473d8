# The project's checks and programs. `make help` lists the targets.

PYTEST_ARGS ?=
HSM ?=
AZURE ?=
STEP ?=
# More than the two cores of a small machine: many tests wait for others, for servers or for a rate.
PYTEST_WORKERS ?= 4
ROWS ?= 1000000
SEEDS ?= 200
SECONDS ?= 600
PYTHONS ?= 3.11 3.12 3.13 3.14 3.14t
DATABASE ?= sqlite
START ?= 0
BENCH_ARGS ?=
SA21 := sqlalchemy>=2.1,<2.2
SA20 := sqlalchemy>=2.0.30,<2.1
TESTED := .[test,lint]
# With the newest SQLAlchemy only: the frameworks of the recipes in their newest releases, and the documentation.
TESTED_NEWEST := .[test,lint,recipes,docs]
DEMO_HSM := .[demo,pkcs11]
# What calls other packages most: ciphers, codecs, the providers' SDKs, the command line, Flask.
LOWEST_CLI := $(addprefix tests/cli/test_,changes.py command.py shred.py)
LOWEST_FLASK := $(addprefix tests/flask/test_,problems.py requests.py)
LOWEST_TESTS := tests/unit tests/providers tests/aio tests/test_requirements.py $(LOWEST_CLI) $(LOWEST_FLASK)
PYTEST := -m pytest -n $(PYTEST_WORKERS) --dist worksteal
WITH_SERVERS := .venv/bin/python -m tests.support.servers --
CODE := $(wildcard sqlalchemy_cmk tests benchmarks examples migrations tools)

export PIP_DISABLE_PIP_VERSION_CHECK := 1
MAKEFLAGS += --no-print-directory
# The tests start some hundred processes, which find the modules compiled.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help test test-both test-sa21 test-sa20 test-lowest test-pythons try-wheel stress crashes simulate soak lint format docs docs-links bench bench-tenants bench-lock bench-search bench-rekey demo tour pictures clean python servers tokens
.DEFAULT_GOAL := help
.SUFFIXES:

help: ## List the targets
	@sed -n 's/^\([a-z0-9-]*\):.*## /\1	/p' $(MAKEFILE_LIST) | expand -t 16
	@echo 'Variables: PYTEST_ARGS="..." for pytest, PYTEST_WORKERS=4, ROWS=1000000 for bench-rekey,'
	@echo '  HSM=softhsm or AZURE=emulated for demo, PYTHON=python3 to make environments with'

test: lint .venv-sa20/stamp .venv-lowest/stamp | servers ## Check the code, then test-sa21, test-sa20 and test-lowest
	@$(WITH_SERVERS) $(MAKE) test-both
	@$(MAKE) test-lowest

test-both:
	@$(MAKE) test-sa21
	@$(MAKE) test-sa20

test-sa21: .venv/stamp | servers ## Test with SQLAlchemy 2.1 only
	.venv/bin/python $(PYTEST) $(PYTEST_ARGS)

test-sa20: .venv-sa20/stamp | servers ## Test with SQLAlchemy 2.0 only, without what is not about it
	.venv-sa20/bin/python $(PYTEST) -m "not no_sqlalchemy and not newest_sqlalchemy" $(PYTEST_ARGS)

test-lowest: .venv-lowest/stamp | tokens ## Test with the lowest versions that pyproject.toml allows: a part, on SQLite
	.venv-lowest/bin/python -m tests.support.requirements
	.venv-lowest/bin/python $(PYTEST) $(LOWEST_TESTS) -k "not postgresql and not mariadb" $(PYTEST_ARGS)

test-pythons: .venv/stamp ## Test with every Python of PYTHONS="3.11 3.12 3.13 3.14 3.14t" that is installed: a part, on SQLite
	@for one in $(PYTHONS); do \
		found=$$(.venv/bin/uv python find --no-python-downloads --system "$$one" 2>/dev/null) || continue; \
		echo "Python $$one"; \
		.venv/bin/uv venv -q --clear --python "$$found" ".venv-python$$one" && \
		.venv/bin/uv pip install -q --python ".venv-python$$one/bin/python" -e '.[test]' '$(SA21)' && \
		".venv-python$$one/bin/python" $(PYTEST) $(LOWEST_TESTS) -k "not postgresql and not mariadb" $(PYTEST_ARGS) \
		|| exit 1; \
	done

try-wheel: .venv/stamp ## Build the sdist and the wheel, and try the wheel in an empty environment
	tools/try_wheel.sh "$$(tools/find_python.sh)"

crashes: .venv/stamp | servers ## kill -9 twenty times on each server database, beside two writers
	$(WITH_SERVERS) env CMK_CRASHES=20 .venv/bin/python -m pytest -s tests/alembic/test_crashes.py

stress: .venv/stamp | tokens ## 64 threads on 8 tokens for a minute, with a fork and a restart
	CMK_TEST_STRESS_SECONDS=60 .venv/bin/python -m pytest -s tests/providers/pkcs11/test_stress.py

simulate: .venv/stamp | $(if $(filter postgresql,$(DATABASE)),servers) ## Run SEEDS=200 seeds of the simulation from START=0 on, on DATABASE=sqlite
	.venv/bin/python -m tests.simulation --database $(DATABASE) --seeds $(SEEDS) --start $(START)

soak: .venv/stamp | servers ## Run two servers under faults for SECONDS=600, and fail where they grow, wait or answer wrongly
	.venv/bin/python -m benchmarks.soak --seconds $(SECONDS)

lint: .venv/stamp ## Check style, types and the order of the modules
	.venv/bin/ruff check $(CODE)
	.venv/bin/ruff format --check $(CODE)
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

format: .venv/stamp ## Put the code into the form that lint asks for
	.venv/bin/ruff check --fix $(CODE)
	.venv/bin/ruff format $(CODE)

docs: .venv/stamp ## Build the documentation site in build/site; a warning is an error
	.venv/bin/sphinx-build -q -W --keep-going -j auto docs build/site

docs-links: .venv/stamp ## Ask every address that the documentation links to
	.venv/bin/sphinx-build -q -b linkcheck docs build/links

bench: .venv/stamp-bench | tokens ## Run the benchmarks; BENCH_ARGS="--quick" for a few rounds only
	.venv/bin/python -m benchmarks $(BENCH_ARGS)
	@$(MAKE) bench-rekey ROWS=200000

bench-tenants: .venv/stamp | servers ## Measure what many tenants cost; BENCH_ARGS="--tenants 1000" for fewer
	.venv/bin/python -m benchmarks.tenants $(BENCH_ARGS)

bench-lock: .venv/stamp | servers ## Lock a tenant under load, in 8 workers; BENCH_ARGS="--notify" for NOTIFY
	.venv/bin/python -m benchmarks.lock $(BENCH_ARGS)

bench-search: .venv/stamp | servers ## Measure search indexes against plaintext twins; BENCH_ARGS="--rows 20000" for fewer rows
	.venv/bin/python -m benchmarks.search $(BENCH_ARGS)

bench-rekey: .venv/stamp | servers ## Measure re-keying: pace, memory, what writers feel; ROWS=1000000 rows
	.venv/bin/python -m benchmarks.rekey $(ROWS)
	.venv/bin/python -m benchmarks.rekey_memory $(ROWS)
	.venv/bin/python -m benchmarks.rekey_writes

demo: .venv-demo/stamp$(HSM)$(AZURE) ## Run the example and its customers' portal; HSM=softhsm: a key in a token, AZURE=emulated
	CLINIC_HSM=$(HSM) .venv-demo/bin/python -m examples.clinic $(if $(AZURE),--azure)

tour: .venv-demo/stamp ## Tell the story of one clinic's keys in the terminal; STEP=1 waits after each step
	@.venv-demo/bin/python -m examples.tour $(if $(STEP),--step)

pictures: .venv/stamp | servers ## Take the pictures of the example that the README shows
	CLINIC_PICTURES=docs/images .venv/bin/python -m pytest -q tests/examples/clinic/test_browser.py -k either_light

clean: ## Remove the environments and everything generated
	rm -rf .venv .venv-sa20 .venv-lowest .venv-demo .venv-python* build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache
	rm -rf .hypothesis
	find . -name .git -prune -o -name __pycache__ -type d -exec rm -rf {} +

# The system's part, installed where it is missing and may be.
python:
	@tools/install_servers.sh python3-venv

servers: tokens
	@tools/install_servers.sh postgresql mariadb-server chromium

tokens:
	@tools/install_servers.sh tokens

# $(call install,FOLDER,REQUIREMENTS): install into a virtual environment, made anew if it does not work.
define install
@echo "installing into $(1)"
@$(1)/bin/python -m pip --version >/dev/null 2>&1 || "$$(tools/find_python.sh)" -m venv --clear $(1)
@$(1)/bin/python -m pip install -qq $(2)
@touch $@
endef

.venv/stamp: pyproject.toml | python
	$(call install,.venv,-e '$(TESTED_NEWEST)' '$(SA21)')

.venv-sa20/stamp: pyproject.toml | python
	$(call install,.venv-sa20,-e '$(TESTED)' '$(SA20)')

# The lowest versions of what pyproject.toml names, and the newest that fit of what those need.
.venv/lowest.txt: .venv/stamp
	@.venv/bin/uv pip compile -q --python .venv/bin/python --resolution lowest-direct --upgrade \
		--extra all --extra demo --output-file $@ pyproject.toml

.venv-lowest/stamp: .venv/lowest.txt | python
	$(call install,.venv-lowest,-e '.[test]' -c .venv/lowest.txt)

.venv/stamp-bench: .venv/stamp
	$(call install,.venv,-e '.[bench]' '$(SA21)')

.venv-demo/stamp: pyproject.toml | python
	$(call install,.venv-demo,-e '.[demo]' '$(SA21)')

.venv-demo/stampemulated: .venv-demo/stamp
	$(call install,.venv-demo,-e '.[demo,testing]' '$(SA21)')

.venv-demo/stampsofthsm: .venv-demo/stamp | tokens
	$(call install,.venv-demo,-e '$(DEMO_HSM)' '$(SA21)')
