#!/usr/bin/env bash
# Real hosts with systemd and ssh: the roles install servers and gateway, a switch under load, a freeze that nobody ends. All of it: make test-lab
# Budget: 240 s
set -eu -o pipefail
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "SKIPPED: the lab needs root on Debian. Nothing was tried on real hosts."
  exit 0
fi
tests/lab/lab .venv/bin/python -m pytest -q -p no:cacheprovider --durations 5 tests/lab/test_hosts.py -k 'privileges or load or freeze'
