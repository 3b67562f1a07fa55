# make run      everything, on this machine, with a broker and a database of its own; Ctrl-C stops it
# make example  every method of the facade, called once, while `make run` runs in another terminal
# make setup    what the service needs, in .venv
# make test     all tests that need only Python; those that need a system package say so and are skipped
# make check    format, lint, types, contracts, and whether the lock resolves on every platform
# make coverage which lines the unit and contract tests run, for 70 % more processor time; fails below 80 %
# make services the tests that need system packages (see .ci/run)
# make bench    ours, stock Celery and five other task queues side by side; ARGUMENTS="--quick" tries it in minutes
# make bench-files  the methods for files against what they are made of: speed, memory; writes docs/file-benchmarks.md
# make bench-ai  embeddings within a provider's limit, what the gateway adds, the local model; half an hour; writes docs/ai-benchmarks.md
# make bench-mail  bulks against plain Celery and smtp-source, far servers, ten kills; half an hour; writes docs/mail-benchmarks.md; needs postfix
# make bench-calls a campaign within its caps under kills, many members, webhooks; a quarter of an hour; writes docs/call-benchmarks.md
# make bench-api submits over HTTP beside the facade's, and two hundred who watch; some minutes; writes docs/api-benchmarks.md
# make bench-browser what the dashboard takes of a browser while tasks arrive; some minutes; writes docs/browser-benchmarks.md; needs Chromium
# make bench-lists lists and searches over a million tasks on both databases; an hour the first time; fills DATA_DIR/bench/lists
# make quality  how good the engines are on files with known truth; writes docs/quality.md; needs espeak-ng
# make chaos    kills, freezes and restarts by three seeds, and stock Celery beside them; takes most of an hour
# make lives    hosts that die, cut networks, wrong clocks, databases away, deploys, full disks and overload, as long as promised; over an hour
# make fuzz     damaged files for every job that opens one, SECONDS=600 each, without a network; what breaks a promise is kept
# make requests requests drawn from the API's own document, REQUESTS=50 of each kind to each route; a SEED repeats a run; ends with a report
# make lock     write the lock files anew after a change in pyproject.toml

PYTHON ?= python3
BIN := .venv/bin
CHAOS ?= --broker redis --appendonly always --tasks 10000 --kills 30
JOBS ?= document archive image audio video
SECONDS ?= 600
REQUESTS ?= 50
SEED ?= 1
FAULTS ?= child,worker,publisher,broker,freeze

LIVES_TESTS := $(addprefix tests/integration/test_,two_hosts.py wrong_clocks.py database_away.py deploys.py outages.py full_disks.py overload.py schedules.py flow.py groups.py)

.PHONY: run example setup dev test coverage check services bench bench-files bench-ai bench-mail bench-calls bench-api bench-browser bench-lists quality chaos lives fuzz requests lock

run: setup
	@exec $(BIN)/python scripts/start_celery.py all

example: setup
	@$(BIN)/python -m examples.celery_example

setup:
	@$(PYTHON) scripts/set_up.py

dev:
	@$(PYTHON) scripts/set_up.py --dev

test: dev
	@$(BIN)/python -m pytest tests/unit tests/contract -m "not services" -n 2 --dist loadfile
	@$(BIN)/python -m pytest tests/integration tests/acceptance -m "not services" -n 2 --dist loadfile

coverage: dev
	@$(BIN)/python -m pytest tests/unit tests/contract -m "not services" -n 2 --dist loadfile --cov

check: dev
	@$(BIN)/ruff format --check
	@$(BIN)/ruff check
	@$(BIN)/pyright --warnings
	@$(BIN)/lint-imports --no-cache
	@sh scripts/platforms.sh

services: dev
	@$(BIN)/python -m pytest -m services -n 2 --dist loadfile
	@TEST_DATABASE=postgresql $(BIN)/python -m pytest tests/integration/test_life_of_a_task.py tests/integration/test_faults.py tests/integration/test_effects.py tests/integration/test_dead_letters.py tests/integration/test_schedules.py tests/integration/test_limits.py tests/integration/test_flow.py tests/integration/test_groups.py tests/integration/test_overruns.py -n 2 --dist loadfile
	@TEST_BROKER=rabbitmq $(BIN)/python -m pytest tests/integration/test_rabbitmq.py tests/integration/test_life_of_a_task.py tests/integration/test_faults.py tests/integration/test_calls_under_faults.py -m "not any_broker" -n 2 --dist loadfile

bench: setup
	@$(BIN)/python benchmarks/run.py $(ARGUMENTS)

bench-files: dev
	@$(BIN)/python benchmarks/files.py $(ARGUMENTS)

bench-ai: dev
	@PYTHONPATH=tests $(BIN)/python benchmarks/ai.py $(ARGUMENTS)

bench-mail: setup
	@$(BIN)/python benchmarks/mail.py $(ARGUMENTS)

bench-calls: dev
	@$(BIN)/python benchmarks/calls.py $(ARGUMENTS)

bench-api: setup
	@$(BIN)/python benchmarks/api_rates.py $(ARGUMENTS)

bench-browser: dev
	@PYTHONPATH=tests $(BIN)/python benchmarks/browser.py $(ARGUMENTS)

bench-lists: setup
	@$(BIN)/python benchmarks/lists.py $(ARGUMENTS)

quality: dev
	@PYTHONPATH=tests $(BIN)/python benchmarks/quality.py

chaos: setup
	@$(BIN)/csai chaos --seed 1 --seed 2 --seed 3 --faults $(FAULTS),beat $(CHAOS) --records; recorded=$$?; \
	$(BIN)/csai chaos --seed 1 --seed 2 --seed 3 --faults $(FAULTS) $(CHAOS) --no-records --beside-stock && exit $$recorded

lives: dev
	@LIVES=long $(BIN)/python -m pytest -s --timeout=3600 $(LIVES_TESTS)

fuzz: dev
	@for job in $(JOBS); do unshare --map-root-user --net $(BIN)/python tests/fuzz_files.py $$job --cut-off --seconds $(SECONDS) --seed $(SEED) --keep var/fuzz || exit 1; done

requests: dev
	@REQUESTS=$(REQUESTS) SEED=$(SEED) $(BIN)/python -m pytest -s tests/integration/test_drawn_requests.py

lock: dev
	@sh scripts/lock.sh
	@sh benchmarks/peers/lock.sh
