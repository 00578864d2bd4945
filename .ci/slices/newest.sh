#!/usr/bin/env bash
# The unit tests on the newest ansible-core and the newest Python that is here: all of what Ansible loads, and of the engine an eighth
# that the week's number draws. All of it: "$(.ci/newest-ansible)/bin/python" -m pytest tests/unit
# Budget: 120 s
# Beside: lab
set -eu -o pipefail
newest=$(.ci/newest-ansible)
if [ -z "$newest" ]; then
  echo "Left out: no Python 3.12 or later is here"
  exit 0
fi
"$newest/bin/ansible" --version | sed -n '1p; /python version/p'
week=${NEWEST_SEED:-$(($(date +%s) / 604800))}
eighth=$((10#$week % 8))
echo "Seed $week"
chosen=$(find tests/unit -name 'test_*.py' | sort | awk -v eighth="$eighth" '/unit\/(plugins|roles)\// || NR % 8 == eighth')
mapfile -t files <<< "$chosen"
"$newest/bin/python" -m pytest -q -n auto -p no:cacheprovider "${files[@]}"
