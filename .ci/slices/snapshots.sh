#!/usr/bin/env bash
# Snapshots as others see them: pandas and another validator, 3,000 flipped bits (10,000: make test-fault), a second place (ssh, S3), whole guests of Proxmox VE.
# Budget: 250 s
# Beside: lab
set -eu -o pipefail
cache=${XDG_CACHE_HOME:-$HOME/.cache}/infrafabric-chromadb/offsite
wanted=$(sha256sum requirements/offsite.txt | cut -c1-16)
pip=(.venv/bin/python -m pip --quiet --disable-pip-version-check --no-input)
if [ "$(cat "$cache/complete" 2> /dev/null)" != "$wanted" ]; then
  rm -rf "$cache"
  mkdir -p "$cache"
  "${pip[@]}" install --only-binary :all: --no-deps --require-hashes --target "$cache/python" -r requirements/offsite.txt
  # The collections amazon.aws and community.proxmox come in the package of all collections; only they are kept.
  echo "ansible==12.3.0 --hash=sha256:cd156f82fa87f7a899212b0efa9f7ca3a24d609212de9f78428a572eb01e5414" > "$cache/ansible.txt"
  "${pip[@]}" download --no-deps --require-hashes --dest "$cache" -r "$cache/ansible.txt"
  .venv/bin/python -c 'import sys, zipfile; z = zipfile.ZipFile(sys.argv[1]); z.extractall(sys.argv[2], [n for n in z.namelist() if n.startswith(("ansible_collections/amazon/aws/", "ansible_collections/community/proxmox/"))])' \
    "$cache"/ansible-12.3.0-*.whl "$cache"
  rm "$cache"/ansible-12.3.0-*.whl
  echo "$wanted" > "$cache/complete"
fi
mkdir -p .collections/ansible_collections/amazon
ln -sfn "$cache/ansible_collections/amazon/aws" .collections/ansible_collections/amazon/aws

# A test that was left out says nothing: here it is a failure, except for what needs root where there is none.
log=$(mktemp)
trap 'rm -f "$log"' EXIT
complete() {
  PYTHONPATH=$cache/python .venv/bin/python -m pytest -q -rs -p no:cacheprovider "$@" | tee "$log"
  if [ "$(id -u)" = 0 ] && grep -q ' skipped' "$log"; then
    echo "Something that this slice is for was left out, see above." >&2
    exit 1
  fi
}
CHROMADB_BIT_FLIPS=3000 complete tests/unit/archive/test_verification.py -k every_flipped_bit
complete tests/unit/archive/test_archive_format.py tests/unit/archive/test_format_documentation.py -k "pandas or another_validator"
# The unit tests have tried these with what there is.
for tool in age gpg; do
  if ! command -v $tool > /dev/null; then
    echo "$tool is not installed: encrypted snapshots were left out." >&2
    exit 1
  fi
done
# The time that is left decides nothing here, as it does in the slice of the playbooks.
unset BUDGET_SECONDS
# Together, so that no core waits at the end of either. What is said where the collection is missing is for the slice of the playbooks;
# a look alone, and another form of address, are in make test-playbooks.
PROXMOX_COLLECTIONS=$cache complete -n 2 --dist worksteal --durations 4 tests/playbooks/test_offsite.py tests/playbooks/test_proxmox_guest.py -k "not (missing or look_at or colons)"
if grep -q '^SKIPPED.*test_proxmox_guest' "$log"; then
  echo "The tests of Proxmox VE need no root, and were left out all the same." >&2
  exit 1
fi
