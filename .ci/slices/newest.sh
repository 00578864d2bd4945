#!/usr/bin/env bash
# The unit tests on the newest ansible-core and the newest Python that is here.
# Budget: 150 s
# Beside: lab
set -eu -o pipefail
newest=$(.ci/newest-ansible)
if [ -z "$newest" ]; then
  echo "Left out: no Python 3.12 or later is here"
  exit 0
fi
"$newest/bin/ansible" --version | sed -n '1p; /python version/p'
"$newest/bin/python" -m pytest -q -n auto -p no:cacheprovider tests/unit
