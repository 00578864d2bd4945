#!/usr/bin/env bash
# The unit tests on the newest ansible-core and the newest Python that is here: all of what Ansible loads, and of the engine the half
# that the week's number draws. All of it: "$(.ci/newest-ansible)/bin/python" -m pytest tests/unit
# Budget: 150 s
# Beside: lab
set -eu -o pipefail
newest=$(.ci/newest-ansible)
if [ -z "$newest" ]; then
  echo "Left out: no Python 3.12 or later is here"
  exit 0
fi
"$newest/bin/ansible" --version | sed -n '1p; /python version/p'
week=${NEWEST_SEED:-$(($(date +%s) / 604800))}
half=$((10#$week % 2))
echo "Seed $week"
chosen=$(find tests/unit -name 'test_*.py' | sort | awk -v half="$half" '/unit\/(plugins|roles)\// || NR % 2 == half')
mapfile -t files <<< "$chosen"
"$newest/bin/python" -m pytest -q -n auto -p no:cacheprovider "${files[@]}"
