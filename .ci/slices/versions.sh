#!/usr/bin/env bash
# Every trap through two pairs of releases: one from 0.4.24 (or 0.3.29, where that is installed), one that the week's number draws.
# Then authentication, TLS and databases with 0.4.24, and every module on the oldest Python. All of it: make test-versions
# Budget: 190 s
# Beside: lab
set -eu -o pipefail
export VERSIONS_SEED=${VERSIONS_SEED:-$(date +%G%V)} BUDGET_SECONDS=${BUDGET_SECONDS:-150}
echo "Seed $VERSIONS_SEED"
.venv/bin/python -m pytest -q -n 2 -p no:cacheprovider tests/versions/test_traps.py
.venv/bin/python -m pytest -q -p no:cacheprovider tests/versions/test_access.py tests/versions/test_held_values_of_versions.py tests/versions/test_collection_that_goes.py \
  -k "0.4.24 or certificate"
.venv/bin/python -m pytest -q -rs -p no:cacheprovider tests/versions/test_python_of_managed_hosts.py
