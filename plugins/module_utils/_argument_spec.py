# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The argument specs that modules share, one function for each documentation fragment of the same name."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import env_fallback

from ._endpoint import DEFAULT_DATABASE, DEFAULT_TENANT

ArgumentSpec = dict[str, dict[str, Any]]


def endpoint() -> ArgumentSpec:
    """The options of one Chroma server."""
    return {"url": {"type": "str", "default": "http://localhost:8000", "fallback": (env_fallback, ["CHROMADB_URL"])}, **_connection()}


def endpoints() -> ArgumentSpec:
    """The options of a source and of a target server."""
    side = {"type": "dict", "required": True, "options": {"url": {"type": "str", "required": True}, **_connection()}}
    return {"source": side, "target": side}


def _connection() -> ArgumentSpec:
    """What a server needs to be talked to, beside its address."""
    return {
        "tenant": {"type": "str", "default": DEFAULT_TENANT},
        "database": {"type": "str", "default": DEFAULT_DATABASE},
        "token": {"type": "str", "no_log": True},
        "token_header": {"type": "str", "choices": ["authorization", "x-chroma-token"], "default": "authorization", "no_log": False},
        "username": {"type": "str"},
        "password": {"type": "str", "no_log": True},
        "headers": {"type": "dict", "no_log": True},
        "validate_certs": {"type": "bool", "default": True},
        "ca_path": {"type": "path"},
        "client_cert": {"type": "path"},
        "client_key": {"type": "path", "no_log": False},
        "timeout": {"type": "float", "default": 120},
        "retries": {"type": "int", "default": 3},
    }


def store() -> ArgumentSpec:
    """The option of a snapshot store."""
    return {"directory": {"type": "path", "default": "/var/lib/chromadb/snapshots", "fallback": (env_fallback, ["SNAPSHOT_DIR"])}}


def transformation() -> ArgumentSpec:
    """The options that say which records are meant, and how they look in the target."""
    return {
        "collections": {"type": "list", "elements": "str"},
        "routes": {
            "type": "list",
            "elements": "dict",
            "options": {
                "from": {"type": "str", "default": "*"},
                "where": {"type": "dict"},
                "to": {"type": "str", "required": True},
                "id_prefix": {"type": "str"},
            },
        },
        "schema": {"type": "raw"},
        "corrections": {"type": "dict"},
    }


def progress() -> ArgumentSpec:
    """The option through which a running module tells how far it is."""
    return {"progress_file": {"type": "path"}}
