# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""The options of one Chroma server."""

from __future__ import annotations


class ModuleDocFragment:

    DOCUMENTATION = r"""
options:
  url:
    description:
      - The address of the server, with scheme, and with port and path where there are any.
      - Credentials inside the address are refused.
      - If it is not given, the environment variable E(CHROMADB_URL) of the host that runs the module is used.
    type: str
    default: http://localhost:8000
  tenant:
    description: The tenant to work in.
    type: str
    default: default_tenant
  database:
    description: The database to work in.
    type: str
    default: default_database
  token:
    description: The token to authenticate with. It is sent in the header that O(token_header) names.
    type: str
  token_header:
    description: "How O(token) is sent, as C(Authorization: Bearer TOKEN) or as C(X-Chroma-Token: TOKEN)."
    type: str
    choices:
      - authorization
      - x-chroma-token
    default: authorization
  username:
    description: The user name for basic authentication.
    type: str
  password:
    description: The password for basic authentication.
    type: str
  headers:
    description: More headers for every request, for example for a proxy in front of the server. Their values are kept secret.
    type: dict
  validate_certs:
    description: Whether the server's certificate must be valid. Switch it off for tests only; each run warns then.
    type: bool
    default: true
  ca_path:
    description: A file with the certificates of the authorities to trust, on the host that runs the module. Without it, the host's own.
    type: path
  client_cert:
    description: A file with a client certificate, with its key if O(client_key) is not given, on the host that runs the module.
    type: path
  client_key:
    description: A file with the key of O(client_cert), on the host that runs the module.
    type: path
  timeout:
    description: How many seconds a single request may take.
    type: float
    default: 120
  retries:
    description: How often a request is tried again after an answer that asks for patience, or after a broken connection.
    type: int
    default: 3
"""
