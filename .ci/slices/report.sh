#!/usr/bin/env bash
# The HTML report in a headless browser.
# Budget: 90 s
# Beside: lab
set -eu -o pipefail
if ! command -v chromium > /dev/null && ! command -v chromium-browser > /dev/null; then
  if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
    echo "chromium is not installed, and this is not root on Debian: the report was not looked at in a browser."
    exit 0
  fi
  export DEBIAN_FRONTEND=noninteractive
  apt-get update -qq && apt-get install -qq -y --no-install-recommends chromium > /dev/null
fi
.venv/bin/python -m pytest -q -p no:cacheprovider tests/integration/test_report_page.py
