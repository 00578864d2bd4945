#!/usr/bin/env bash
# Real hosts with systemd and ssh: a switch under load that no reader notices, and, as the week's number draws, one of the Molecule
# scenarios or migrations in which something is killed. All of it: make test-lab, make test-chaos
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
kinds=(runbook chaos fleet)
drawn=${LAB_DRAWN:-${kinds[$((10#$(date +%V) % 3))]}}
echo "Drawn: $drawn"
# With these seeds, the module dies while it copies, the source's server while it is read, and the control node after the switch.
export CHAOS_SEEDS=${CHAOS_SEEDS:-7823 2493 510} CHAOS_UNTIL=$(($(date +%s) + 300))
chosen=load
if [ "$drawn" = chaos ]; then
  chosen='load or chaos'
fi
tests/lab/lab .venv/bin/python -m pytest -q -s -p no:cacheprovider --durations 5 tests/lab/test_hosts.py tests/chaos -k "$chosen"
if [ "$drawn" != chaos ]; then
  make test-molecule SCENARIOS="$drawn"
fi
