# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""What a server can hold and take. Found by asking the server (`probe`), never from its version string."""

from __future__ import annotations

from dataclasses import dataclass

MIB = 1024 * 1024


@dataclass(frozen=True)
class Capabilities:
    """The measured abilities of one generation of Chroma.

    generation       0.3, 0.4, 0.5 (which includes 0.6), 1.0 or 1.5: the oldest release line that behaves like this
    base64_vectors   takes vectors as base64 of little-endian float32
    list_values      keeps lists of one type as metadata values, unless they are empty
    nested_values    keeps dicts, and lists of anything, as metadata values
    null_values      keeps null as a metadata value
    huge_integers    keeps integers outside -2**63 ... 2**63-1
    negative_zero    keeps -0.0 as a metadata value
    exact_floats     keeps every finite double in metadata; others change some by a unit in the last place (`parsed_floats`)
    marked_keys      takes metadata keys that are empty or start with # or $
    chroma_keys      keeps metadata keys that start with "chroma:"; others hide them, or take them for the document or the uri
    empty_metadata   keeps {} apart from no metadata at all
    null_records     takes records without a document or without metadata
    empty_ids        takes the empty string as an id
    missing_vectors  can hold records without a vector
    uris             knows the field uri
    configuration    takes index settings and embedding function as `configuration` when a collection is created
    schemas          takes a `schema` when a collection is created
    null_clears_document  an upsert with a null document clears the old one
    tenants          knows tenants and databases
    max_batch        records in one write request
    max_page         records in one read request
    max_body         bytes in one request; None: no limit is known
    """

    generation: str
    base64_vectors: bool = False
    list_values: bool = False
    nested_values: bool = False
    null_values: bool = False
    huge_integers: bool = False
    negative_zero: bool = False
    exact_floats: bool = True
    marked_keys: bool = True
    chroma_keys: bool = False
    empty_metadata: bool = False
    null_records: bool = True
    empty_ids: bool = True
    missing_vectors: bool = True
    uris: bool = True
    configuration: bool = False
    schemas: bool = False
    null_clears_document: bool = True
    tenants: bool = True
    max_batch: int = 5461
    max_page: int = 5000
    max_body: int | None = None


CHROMA_0_3 = Capabilities(
    "0.3",
    list_values=True,
    nested_values=True,
    null_values=True,
    huge_integers=True,
    negative_zero=True,
    chroma_keys=True,
    empty_metadata=True,
    null_records=False,
    missing_vectors=False,
    uris=False,
    tenants=False,
)
CHROMA_0_4 = Capabilities("0.4")
CHROMA_0_5 = Capabilities("0.5")
CHROMA_1_0 = Capabilities(
    "1.0", base64_vectors=True, exact_floats=False, empty_ids=False, missing_vectors=False, configuration=True, null_clears_document=False, max_body=40 * MIB
)
CHROMA_1_5 = Capabilities(
    "1.5",
    base64_vectors=True,
    exact_floats=False,
    list_values=True,
    marked_keys=False,
    empty_ids=False,
    missing_vectors=False,
    configuration=True,
    schemas=True,
    null_clears_document=False,
    max_body=40 * MIB,
)
