# `make help` lists what there is. Everything is installed below the checkout (.venv, .collections), nothing needs root.

SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

# ansible.cfg by its full name: Ansible ignores the one in the current directory where others may write.
export ANSIBLE_CONFIG := $(CURDIR)/ansible.cfg

SCENARIOS := runbook fleet
# Percent of the branches that `make coverage` demands, beside what pyproject.toml demands of lines and branches together.
BRANCHES := 95
VENV := .venv
BIN := $(VENV)/bin
COLLECTION := .collections/ansible_collections/infrafabric/chromadb
PIP_INSTALL := $(BIN)/python -m pip install --quiet --quiet --disable-pip-version-check --no-input --only-binary :all: --no-compile --no-deps --require-hashes

# A directory that was copied or moved holds scripts that name the old place: set it up again.
ifneq ($(shell cat $(VENV)/.checkout 2>/dev/null),$(CURDIR))
$(VENV)/.installed: redo
endif
.PHONY: redo
redo: ;

##@ The two that come first

.PHONY: demo
demo: setup ## Two real servers, the whole migration, a damage and its rollback (KEEP=1 leaves the servers up)
	$(BIN)/ansible-playbook infrafabric.chromadb.demo -i inventories/demo $(if $(KEEP),-e '{"demo_keep": true}')

.PHONY: test
test: setup ## Unit tests, and integration tests against real servers (PYTEST_ARGS="-k name" for some; COVERAGE=1 says what they reach)
	@rm -rf .coverage && mkdir .coverage
	$(BIN)/python -m $(if $(COVERAGE),coverage run -m )pytest -n auto --dist worksteal $(PYTEST_ARGS) tests/unit tests/integration
	$(if $(COVERAGE),$(BIN)/python -m coverage combine --quiet && $(BIN)/python -m coverage report)
	$(if $(COVERAGE),$(BIN)/python -m coverage json --quiet --fail-under 0 -o - | $(BIN)/python .ci/branches.py $(BRANCHES))

##@ Set-up

.PHONY: setup
setup: $(VENV)/.installed $(COLLECTION) ## .venv and .collections, nothing else (PYTHON=... chooses the interpreter)
	@:

.PHONY: setup-dev
setup-dev: setup $(VENV)/.installed-dev ## The same, and what the checks need
	@:

$(VENV)/.installed: requirements/main.txt
	@python="$$(.ci/find-python $(PYTHON))"; echo "Setting up $(VENV) with $$python (about half a minute)"; \
	rm -rf $(VENV); "$$python" -m venv $(VENV) || { echo "No virtual environment: on Debian, 'apt-get install python3-venv' brings what is missing." >&2; exit 1; }
	@$(PIP_INSTALL) -r requirements/main.txt
	@echo '$(CURDIR)' > $(VENV)/.checkout; touch $@

$(VENV)/.installed-dev: requirements/dev.txt $(VENV)/.installed
	@echo "Installing what the checks need (about half a minute)"
	@$(PIP_INSTALL) -r requirements/dev.txt
	@touch $@

$(COLLECTION):
	@mkdir -p $(@D) && ln -sfn ../../.. $@

.PHONY: requirements
requirements: ## Choose the versions anew and write them with their hashes (needs uv)
	for name in main dev offsite importer; do \
		options="--overrides requirements/overrides.txt -c requirements/main.txt"; \
		case $$name in main) options="--overrides requirements/overrides.txt" ;; importer) options= ;; esac; \
		uv pip compile --quiet --upgrade --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
			$$options requirements/$$name.in -o requirements/$$name.txt; \
	done
	uv pip compile --quiet --upgrade --universal --python-version 3.9 --generate-hashes --no-header --no-annotate \
		requirements/runtime.in -o roles/runtime/files/requirements.txt

.PHONY: clean
clean: ## Remove everything that was set up or left by a tool
	rm -rf .venv .collections .ansible .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage tests/output infrafabric-chromadb-*.tar.gz

##@ Checks

.PHONY: test-subject
test-subject: setup ## The tests of one subject: SUBJECT=manifest, structure, checksum, archive, audit or integration
	$(BIN)/python -m pytest -n auto --dist loadfile -m $(SUBJECT) $(PYTEST_ARGS) tests/unit tests/integration

.PHONY: coverage
coverage: ## What unit and integration tests reach of plugins/module_utils; fails below what pyproject.toml asks for, and BRANCHES of the branches
	$(MAKE) test COVERAGE=1

.PHONY: lint
lint: setup-dev ## ruff, mypy, yamllint, ansible-lint, documentation, changelog
	.ci/lint

.PHONY: sanity
sanity: setup ## ansible-test sanity, with nothing ignored (SANITY_ARGS="--test validate-modules" for one)
	.ci/ansible-test sanity $(SANITY_ARGS)

.PHONY: build
build: setup ## The collection's archive
	$(BIN)/ansible-galaxy collection build --force

##@ Longer suites, each also part of .ci/run as a slice

.PHONY: bench
bench: setup ## Memory and speed of snapshot and migrate, 10,000 and 100,000 records
	$(BIN)/python -m tests.benchmark

.PHONY: test-docs
test-docs: setup ## Every command of README and guides, and the table of failures (PYTEST_ARGS=--update-docs writes what was printed, --update-docs=all also other times and ids)
	$(BIN)/python -m pytest -rP $(PYTEST_ARGS) tests/docs

.PHONY: test-versions
test-versions: setup ## Servers from 0.3.29 to 1.5.x
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/versions

.PHONY: test-playbooks
test-playbooks: setup ## The whole runbook as playbooks: go, no_go, a failed cutover, a passed deadline
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/playbooks

.PHONY: test-lab
test-lab: setup ## Several hosts with systemd and ssh, and the Molecule scenarios between them (needs root; PYTEST_ARGS for some tests alone)
	$(BIN)/python -m tests.support.server_versions 0.4.24 # now: the lab has no way out
	tests/lab/lab $(BIN)/python -m pytest -s $(PYTEST_ARGS) tests/lab
	$(if $(PYTEST_ARGS),,$(MAKE) test-molecule)

.PHONY: test-lab-newest
test-lab-newest: setup ## The installed archive on the newest ansible-core, from execute to rollback, between the hosts of the lab (needs root)
	@newest=$$(.ci/newest-ansible); [ -n "$$newest" ] || { echo "No Python 3.12 or later found, which the newest ansible-core needs." >&2; exit 1; }; \
	"$$newest/bin/ansible" --version | sed -n 1p; tests/lab/lab "$$newest/bin/python" -m pytest -p no:cacheprovider -s $(PYTEST_ARGS) tests/lab/test_installed_archive.py

.PHONY: test-molecule
test-molecule: setup-dev ## The Molecule scenarios, between the hosts of the lab (needs root; SCENARIOS=fleet for one)
	# With a memory of its own each time: Molecule takes hosts for prepared that an earlier lab had.
	cd extensions && export PATH="$(CURDIR)/$(BIN):$$PATH" MOLECULE_EPHEMERAL_DIRECTORY && for scenario in $(SCENARIOS); do \
		MOLECULE_EPHEMERAL_DIRECTORY=$$(mktemp -d); trap 'rm -rf "$$MOLECULE_EPHEMERAL_DIRECTORY"' EXIT; \
		../tests/lab/lab molecule test --scenario-name $$scenario || exit; rm -rf "$$MOLECULE_EPHEMERAL_DIRECTORY"; \
	done

.PHONY: test-fault
test-fault: setup ## Kills at every step, full disks, broken networks, hostile servers, flipped bits, histories (PYTEST_ARGS="--points 4 --seed 7" for some)
	CHROMADB_BIT_FLIPS=10000 $(BIN)/python -m pytest -q tests/unit/archive/test_verification.py -k every_flipped_bit
	$(BIN)/python -m pytest $(PYTEST_ARGS) tests/fault tests/security

.PHONY: test-chaos
test-chaos: setup ## A client writes, a migration runs in the lab, something dies: 30 times (needs root; CHAOS_SEEDS="17 4" for some)
	tests/lab/lab $(BIN)/python -m pytest -s $(PYTEST_ARGS) tests/chaos

.PHONY: test-fresh
test-fresh: ## make demo and make test in a new Debian with nothing in it, by a user who is not root (needs root and debootstrap)
	tests/fresh-root

.PHONY: help
help: ## This list
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} /^[a-z-]+:.*## / {printf "  make %-15s %s\n", $$1, $$2}' $(firstword $(MAKEFILE_LIST))
