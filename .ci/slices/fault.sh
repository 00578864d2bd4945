#!/usr/bin/env bash
# A selection of the fault tests, always the same one; all of them: make test-fault
# Budget: 150 s
set -eu -o pipefail
.venv/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist load --points 1 --seed 1 -k "not (network and (swap or catch or good))" tests/fault tests/security
