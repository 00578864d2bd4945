#!/usr/bin/env bash
# The shell command and the playbooks against real servers: go, no_go, a failed cutover, a passed deadline, the fleet, the monitoring.
# Budget: 500 s
set -eu -o pipefail
.venv/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist loadfile --durations 10 tests/playbooks
