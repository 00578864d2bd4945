#!/usr/bin/env bash
# The shell command and the fleet's playbook against real servers. With the runbook's: make test-playbooks
# Budget: 400 s
set -eu -o pipefail
.venv/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist loadfile tests/playbooks/test_shell_command.py tests/playbooks/test_fleet_rollback.py
