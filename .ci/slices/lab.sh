#!/usr/bin/env bash
# Real hosts with systemd and ssh: a switch under load that no reader notices, a migration in which something is killed, and a
# Molecule scenario; which ones, the week's number draws. All of it: make test-lab, make test-chaos
# Budget: 420 s
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
week=$((10#$(date +%V)))
# With these seeds, each its week, the module while it copies, the source's server while it is read, or the control node after the switch.
deaths=(7823 2493 510)
export CHAOS_SEEDS=${CHAOS_SEEDS:-${deaths[$((week % 3))]}} CHAOS_UNTIL=$(($(date +%s) + 300))
tests/lab/lab .venv/bin/python -m pytest -q -s -p no:cacheprovider --durations 5 tests/lab/test_hosts.py tests/chaos -k 'load or chaos'

scenarios=(runbook fleet)
make test-molecule SCENARIOS="${SCENARIOS:-${scenarios[$((week % 2))]}}"
