# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The examples of the guide to schemas and routes work, and do what the guide says."""

from __future__ import annotations

import re
import textwrap
from pathlib import Path

import pytest
import yaml

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import UsageError
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.corrections import parse_corrections
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.fields import parse_schema
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.routes import parse_routes
from ansible_collections.infrafabric.chromadb.plugins.module_utils._schema.transformation import Transformation

GUIDE = (Path(__file__).parents[3] / "docs" / "docsite" / "rst" / "guide_schema_and_routes.rst").read_text()


def blocks(language):
    return [textwrap.dedent(found) for found in re.findall(rf"\.\. code-block:: {language}\n\n((?:   .*\n|\n)+)", GUIDE)]


EXAMPLES = [yaml.safe_load(block) for block in blocks("yaml")]


def example(key):
    """The first example that is this option and nothing else."""
    return next(value[key] for value in EXAMPLES if isinstance(value, dict) and list(value) == [key])


def test_the_first_example():
    [task] = EXAMPLES[0]
    options = task["infrafabric.chromadb.migrate"]
    transform = Transformation(parse_schema(options["schema"]), parse_routes(options["routes"]), None, options["on_collision"], options["collections"])
    place = transform.place("manual_2023", "intro-1", {"page": 3})
    assert place == ("manuals", "manual_2023:intro-1")
    assert transform.metadata_of("manual_2023", "manuals", place.id, "", {"page": 3}) == (
        {"page": 3, "language": "en", "source_collection": "manual_2023"},
        (),
    )


def test_the_examples_of_each_option_are_taken():
    assert len(parse_routes(example("routes"))) == 3
    assert len(parse_schema(example("schema")).collections) == 2
    assert parse_corrections(example("corrections"))["openwebui_docs"]["4711"] == {"tags": None}
    faithful = EXAMPLES[-1]
    assert parse_schema(faithful["chromadb_schema"]) is None
    assert parse_routes(faithful["chromadb_routes"]) == ()


@pytest.mark.parametrize(
    ("parse", "value"),
    [
        (parse_schema, {"fields": {"language": {"type": "string", "choices": ["en"]}}}),
        (parse_schema, {"fields": {"score": {"type": "number", "maximum": 1, "default": 2}}}),
        (parse_schema, {"collections": {"humor": {"fields": {"humor_type": {"type": "text"}}}}}),
        (parse_routes, [{"to": "all"}, {"to": "my humor"}]),
        (parse_corrections, {"docs": {7: {"a": 1}}}),
    ],
)
def test_the_messages_are_the_real_ones(parse, value):
    with pytest.raises(UsageError) as refused:
        parse(value)
    assert refused.value.message in blocks("text")[1].splitlines()
