#!/usr/bin/env bash
# Snapshots at a second place (ssh, S3), and 10,000 flipped bits over archives and manifests. With root, sshd and two cores: about 80 s.
# Budget: 120 s
set -eu -o pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/infrafabric-chromadb/offsite
wanted=$(sha256sum requirements/offsite.txt | cut -c1-16)
pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check --no-input)
if [ "$(cat "$cache/complete" 2> /dev/null)" != "$wanted" ]; then
  rm -rf "$cache"
  mkdir -p "$cache"
  "${pip[@]}" install --only-binary :all: --no-deps --require-hashes --target "$cache/python" -r requirements/offsite.txt
  # The collection amazon.aws comes in the package of all collections; only it is kept.
  echo "ansible==12.3.0 --hash=sha256:cd156f82fa87f7a899212b0efa9f7ca3a24d609212de9f78428a572eb01e5414" > "$cache/ansible.txt"
  "${pip[@]}" download --no-deps --require-hashes --dest "$cache" -r "$cache/ansible.txt"
  .venv/bin/python -c 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); z.extractall(sys.argv[2], [n for n in z.namelist() if n.startswith("ansible_collections/amazon/aws/")])' \
    "$cache"/ansible-12.3.0-*.whl "$cache"
  rm "$cache"/ansible-12.3.0-*.whl
  echo "$wanted" > "$cache/complete"
fi
mkdir -p .collections/ansible_collections/amazon
ln -sfn "$cache/ansible_collections/amazon/aws" .collections/ansible_collections/amazon/aws
CHROMADB_BIT_FLIPS=10000 .venv/bin/python -m pytest -q -p no:cacheprovider tests/unit/archive/test_verification.py -k every_flipped_bit
PYTHONPATH=$cache/python .venv/bin/python -m pytest -q -p no:cacheprovider tests/playbooks/test_offsite.py
