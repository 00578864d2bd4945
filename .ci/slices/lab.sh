#!/usr/bin/env bash
# Real hosts with systemd and ssh: a switch under load that no reader notices, three migrations in which something is killed, and the
# Molecule scenario that the week's number draws. All of it: make test-lab, make test-chaos
# Budget: 600 s
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
export CHAOS_SEEDS=${CHAOS_SEEDS:-140 5 87} CHAOS_UNTIL=$(($(date +%s) + 480))
tests/lab/lab .venv/bin/python -m pytest -q -s -p no:cacheprovider --durations 5 tests/lab/test_hosts.py tests/chaos -k 'load or chaos'

scenarios=(runbook fleet)
make test-molecule SCENARIOS="${SCENARIOS:-${scenarios[$((10#$(date +%V) % 2))]}}"
