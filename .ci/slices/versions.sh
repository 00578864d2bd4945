#!/usr/bin/env bash
# Migrations between releases of Chroma: as many pairs as fit, others with each commit. All of them: make test-versions
# Budget: 240 s
set -eu -o pipefail
BUDGET_SECONDS=${BUDGET_SECONDS:-240} VERSIONS_SEED=$(git rev-parse HEAD) .venv/bin/python -m pytest -q -p no:cacheprovider tests/versions/test_traps.py
