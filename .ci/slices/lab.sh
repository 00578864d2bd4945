#!/usr/bin/env bash
# Real hosts with systemd and ssh: the control node dies in the middle of a cutover. All of it: make test-lab
# Budget: 240 s
set -eu -o pipefail
if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
  echo "SKIPPED: the lab needs root on Debian. Nothing was tried on real hosts."
  exit 0
fi
tests/lab/lab .venv/bin/python -m pytest -q -p no:cacheprovider --durations 5 tests/lab/test_interrupted.py -k freeze
