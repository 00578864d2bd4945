# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is shipped about the format is true: the schema, and the reader in the documentation."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from pathlib import Path

import fastjsonschema
import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest import parse_manifest
from ansible_collections.infrafabric.chromadb.plugins.module_utils._archive.manifest_schema import MANIFEST_SCHEMA
from ansible_collections.infrafabric.chromadb.plugins.module_utils._records.record_batch import concatenate

from .conftest import awkward_records, make_records

DOCS = Path(__file__).resolve().parents[3] / "docs"


def test_the_schema_in_the_documentation_is_the_one_that_is_used():
    assert (DOCS / "manifest.schema.json").read_text("utf-8") == json.dumps(MANIFEST_SCHEMA, indent=2) + "\n"


def test_a_real_manifest_fits_the_schema(write):
    manifest = write({"c": [make_records(3)]})
    fastjsonschema.compile(MANIFEST_SCHEMA)(manifest.values)
    assert parse_manifest(json.dumps(manifest.values).encode(), manifest.snapshot_id)


def test_another_validator_agrees(write):
    jsonschema = pytest.importorskip("jsonschema")
    jsonschema.Draft7Validator.check_schema(MANIFEST_SCHEMA)
    jsonschema.Draft7Validator(MANIFEST_SCHEMA).validate(write({"c": [make_records(3)]}).values)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("snapshot_id", "../../evil"),
        ("chromadb_url", "http://user:password@192.0.2.1:8000"),
        ("checksum_sha256", "0" * 60),
        ("compression_ratio", 101),
        ("status", "restored"),
        ("timestamp", "2025-01-31 12:00"),
        ("total_chunks", -1),
        ("more", 1),
    ],
)
def test_the_schema_refuses(write, field, value):
    values = {**write({"c": [make_records(3)]}).values, field: value}
    with pytest.raises(fastjsonschema.JsonSchemaException):
        fastjsonschema.compile(MANIFEST_SCHEMA)(values)


def example(heading):
    """The Python block under a heading of the page."""
    text = (DOCS / "docsite" / "rst" / "snapshot_format.rst").read_text("utf-8")
    section = text[re.search("^%s$" % heading, text, re.MULTILINE).end() :]
    return textwrap.dedent(re.search(r"code-block:: python\n\n((?:   .*\n|\n)+)", section).group(1))


def run_reader(tmp_path, *arguments):
    program = tmp_path / "reader.py"
    program.write_text(example("A reader"), "utf-8")
    done = subprocess.run([sys.executable, str(program), *arguments], check=True, capture_output=True, text=True)
    return {record["id"]: record for record in map(json.loads, done.stdout.splitlines())}


def test_the_reader_in_the_documentation_reads_what_was_written(store, write, tmp_path):
    records = awkward_records()
    manifest = write({"other": [make_records(3)], "awkward": [records]})
    read = run_reader(tmp_path, store.directory, manifest.snapshot_id, "awkward")
    assert list(read) == records.ids
    for row, record_id in enumerate(records.ids):
        found = read[record_id]
        assert (found["document"], found["uri"], repr(found["metadata"])) == (records.documents[row], records.uris[row], repr(records.metadatas[row]))
        if records.embedded[row]:
            assert np.array(found["embedding"], dtype="<f4").tobytes() == records.embeddings[row].tobytes()
        else:
            assert found["embedding"] is None


def test_the_reader_in_the_documentation_follows_a_chain(store, write, write_changes, tmp_path):
    original = make_records(10)
    changes = make_records(2, start=3, seed=5)
    now = concatenate([original.select([0, 1, 2, 5, 6, 7, 8]), changes])
    incremental = write_changes(write({"c": [original]}), {"c": ([changes], ["id-9"], [now])})
    read = run_reader(tmp_path, store.directory, incremental.snapshot_id, "c")
    assert {record_id: record["document"] for record_id, record in read.items()} == dict(zip(now.ids, now.documents))


def test_the_example_for_one_entry_works(store, write):
    manifest = write({"c": [make_records(3)]})
    for entry in manifest.values["entries"]:
        names = {"archive": store.archive_path(manifest.snapshot_id), "entry": entry}
        exec("import hashlib, zlib\n" + example("Reading one entry alone"), names)
        assert len(names["content"]) == entry["size"]
