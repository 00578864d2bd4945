#!/usr/bin/env bash
# Real hosts with systemd and ssh: the infrastructure roles, the gateway under load, the whole runbook. The same as make test-lab; needs root.
# Budget: 900 s
set -eu -o pipefail
tests/lab/lab .venv/bin/python -m pytest -q -p no:cacheprovider tests/lab
