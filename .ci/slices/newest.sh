#!/usr/bin/env bash
# The unit tests on the newest ansible-core and the newest Python that is here: all of what Ansible loads, and of the engine the half
# that the week's number draws. All of it: make test PYTHON=python3.13 in a fresh clone
# Budget: 150 s
# Beside: lab
set -eu -o pipefail
newest=$(.ci/newest-ansible)
if [ -z "$newest" ]; then
  echo "Left out: no Python 3.12 or later is here"
  exit 0
fi
"$newest/bin/ansible" --version | sed -n '1p; /python version/p'
export SLICE_SEED=${SLICE_SEED:-$(date +%G%V)}
echo "Seed $SLICE_SEED"
mapfile -t files < <(find tests/unit -name 'test_*.py' | sort | awk -v half=$((SLICE_SEED % 2)) '/unit\/(plugins|roles)\// || NR % 2 == half')
"$newest/bin/python" -m pytest -q -n auto -p no:cacheprovider "${files[@]}"
