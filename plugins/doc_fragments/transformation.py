# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The options that say which records are meant, and how they look in the target."""

from __future__ import annotations


class ModuleDocFragment:

    DOCUMENTATION = r"""
options:
  collections:
    description: The names of the source's collections to work on. Without it, all of them.
    type: list
    elements: str
  routes:
    description:
      - Which target collection a record goes to. The first route that matches wins.
      - A record that no route matches goes to a collection of its source collection's name. So do all records when there are no routes.
    type: list
    elements: dict
    suboptions:
      from:
        description: A shell pattern (C(*), C(?), C([abc])) for the name of the source collection.
        type: str
        default: "*"
      where:
        description: Metadata that a record must have, all of these keys with exactly these values.
        type: dict
      to:
        description: The name of the target collection.
        type: str
        required: true
      id_prefix:
        description: A text that is put before the id of every record that takes this route.
        type: str
  schema:
    description:
      - The metadata that the records get in the target, as a dictionary with C(fields),
        and with C(collections) for the fields that only one target collection has.
      - Each of C(fields) has a C(type) (V(string), V(integer), V(number) or V(boolean)) and optionally
        C(required), C(default), C(derive), C(enum), C(minimum), C(maximum) and C(pattern). A C(default) may hold C({source_collection}).
        C(derive) is one of V(source_collection), V(target_collection), V(collection_type) and V(word_count).
      - C(collections) is a dictionary from the name of a target collection to a dictionary with C(fields).
      - Metadata that the schema does not name is kept.
      - Without it, or with V(none), the records are copied faithfully.
    type: raw
  corrections:
    description:
      - Metadata to put in the place of what single records have in the source, before O(schema) and O(routes) see them.
      - A dictionary from the name of a source collection to a dictionary from a record's id to a dictionary of metadata.
    type: dict
"""
