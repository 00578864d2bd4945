#!/usr/bin/env bash
# Real hosts with systemd and ssh: a switch under load that no reader notices, and three migrations in which something is killed.
# All of it: make test-lab, make test-chaos
# Budget: 360 s
set -eu -o pipefail
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "SKIPPED: the lab needs root on Debian. Nothing was tried on real hosts."
  exit 0
fi
# Whether this machine may boot hosts at all, which a container often may not, is not what is tested here.
if ! tests/lab/lab true; then
  echo "SKIPPED: no host of the lab boots on this machine (see above). Nothing was tried on real hosts."
  exit 0
fi
# The module while it copies, the control node after the switch, the source's server while it is read: each once with these seeds.
export CHAOS_SEEDS=${CHAOS_SEEDS:-140 5 87} CHAOS_UNTIL=$(($(date +%s) + ${BUDGET_SECONDS:-360}))
tests/lab/lab .venv/bin/python -m pytest -q -s -p no:cacheprovider --durations 5 tests/lab/test_hosts.py tests/chaos -k 'load or chaos'
