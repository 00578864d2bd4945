#!/usr/bin/env bash
# The playbooks against real servers: parts of the runbook, which the documents and the lab's week run whole, then what the week's number
# draws. All of them: make test-playbooks
# Budget: 100 s
# Beside: lab
set -eu -o pipefail
export SLICE_SEED=${SLICE_SEED:-$(date +%G%V)}
echo "Seed $SLICE_SEED"
# The slice of the snapshots runs what is left out here.
.venv/bin/python -m pytest -q -p no:cacheprovider -n 2 --dist loadfile --no-loadscope-reorder --durations 10 -rs -k "not offsite and (missing or not proxmox_guest)" tests/playbooks
