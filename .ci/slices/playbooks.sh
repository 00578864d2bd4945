#!/usr/bin/env bash
# The playbooks against real servers: the whole runbook, then what the week's number draws. All of them: make test-playbooks
# Budget: 130 s
# Beside: lab
set -eu -o pipefail
export SLICE_SEED=${SLICE_SEED:-$(date +%G%V)}
echo "Seed $SLICE_SEED"
.venv/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist loadfile --no-loadscope-reorder --durations 10 -rs tests/playbooks
