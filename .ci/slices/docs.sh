#!/usr/bin/env bash
# Every command of README and guides, the demo among them, from the text itself, and the table of failures. Prints what is not run, and why.
# Budget: 360 s
set -eu -o pipefail
for tool in age-keygen curl; do
  if ! command -v $tool > /dev/null; then
    if [ "$(id -u)" != 0 ] || ! command -v apt-get > /dev/null; then
      echo "$tool is not installed, and this is not root on Debian: the guides' commands that use it cannot be run." >&2
      exit 1
    fi
    export DEBIAN_FRONTEND=noninteractive
    apt-get update -qq && apt-get install -qq -y --no-install-recommends age curl > /dev/null
  fi
done
.venv/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist load --maxschedchunk 1 -rP --durations 12 tests/docs | grep -vE '^[_-]+ .* [_-]+$'
