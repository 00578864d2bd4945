# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The engine's files import downwards only, know nothing of Ansible, and take other people's libraries from one place.

Read from the syntax tree, so that an import inside a function counts as well.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

PLUGINS = Path(__file__).resolve().parents[2] / "plugins"
COLLECTION = "ansible_collections.infrafabric.chromadb.plugins"

# What each layer may import, besides itself.
SMALL: frozenset[str] = frozenset({"small"})
LAYERS: dict[str, frozenset[str]] = {
    "small": frozenset(),
    "_server": SMALL,
    "_records": SMALL | {"_server"},
    "_schema": SMALL | {"_server", "_records"},
    "_archive": SMALL | {"_server", "_records"},
    "_validation": SMALL | {"_server", "_records", "_schema"},  # it judges records by the schema
    "_operations": SMALL | {"_server", "_records", "_schema", "_archive", "_validation"},
    "front": SMALL | {"_operations"},
}
# The files of module_utils that belong to the modules, and may know Ansible.
FRONT_FILES = {"_argument_spec", "_module"}
# Directories beside module_utils; they run on the controller, and reach nothing below the small files but the operations.
FRONT_DIRECTORIES = {"action", "callback", "doc_fragments", "filter", "lookup", "modules", "plugin_utils", "test"}
LIBRARIES = {"fastjsonschema", "numpy", "orjson", "requests", "urllib3"}


class Import(NamedTuple):
    line: int
    name: str  # absolute, with dots
    only_for_types: bool  # below `if TYPE_CHECKING:`


def imports_of(file: Path, source: str) -> Iterator[Import]:
    """Every module that a file imports, also inside functions, by its absolute name; relative names are resolved."""
    package = [COLLECTION, *file.relative_to(PLUGINS).parent.parts]
    tree = ast.parse(source)
    type_blocks = [node for node in ast.walk(tree) if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"]
    only_for_types = {inner for block in type_blocks for statement in block.body for inner in ast.walk(statement)}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(node.lineno, alias.name, node in only_for_types)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[:len(package) - node.level + 1]] if node.level else []
            base += [node.module] if node.module else []
            for alias in node.names:
                yield Import(node.lineno, ".".join([*base, alias.name]), node in only_for_types)


def layer_of(path: str) -> str:
    """The layer of a file, from its path below plugins/ in dots: `module_utils._server.http` is `_server`."""
    parts = path.split(".")
    if parts[0] in FRONT_DIRECTORIES:
        return "front"
    if len(parts) > 1 and parts[1] in FRONT_FILES:
        return "front"
    return parts[1] if len(parts) > 1 and parts[1] in LAYERS else "small"


def faults_in(file: Path, source: str) -> list[str]:
    """What a file imports and should not, each as one sentence."""
    own = ".".join(file.relative_to(PLUGINS).with_suffix("").parts)
    layer = layer_of(own)
    faults = []
    for line, name, only_for_types in imports_of(file, source):
        top = name.split(".")[0]
        where = f"{file.relative_to(PLUGINS.parent)}:{line}"
        if name.startswith(COLLECTION + "."):
            imported = layer_of(name[len(COLLECTION) + 1:])
            if imported != layer and imported not in LAYERS[layer]:
                faults.append(f"{where} ({layer}) imports {name} ({imported}), which is above or beside it")
        elif top in ("ansible", "ansible_collections") and layer != "front":
            faults.append(f"{where} imports {name}: the engine does not know Ansible")
        elif top in LIBRARIES and own != "module_utils._libraries" and not only_for_types:
            faults.append(f"{where} imports {name}: take it from module_utils/_libraries.py")
        elif top in ("chromadb", "pandas"):
            faults.append(f"{where} imports {name}, which managed hosts need not have")
    return faults


FILES = sorted(PLUGINS.rglob("*.py"))


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PLUGINS)))
def test_imports_point_down(file: Path) -> None:
    assert faults_in(file, file.read_text(encoding="utf-8")) == []


def test_there_are_files_to_look_at() -> None:
    assert len(FILES) > 20


@pytest.mark.parametrize(("path", "source"), [
    ("module_utils/_server/http.py", "from .._records import compare"),
    ("module_utils/_server/http.py", "def later():\n    from .._records.compare import compare_batch"),
    ("module_utils/_records/compare.py", "from .._operations.outcome import Outcome"),
    ("module_utils/_records/compare.py", f"import {COLLECTION}.module_utils._archive.store"),
    ("module_utils/_archive/store.py", "from .._schema import fields"),
    ("module_utils/_validation/check.py", "from .. import _module"),
    ("module_utils/_errors.py", "from ._server.http import Http"),
    ("module_utils/_errors.py", "from . import _server"),
    ("module_utils/_operations/migrate.py", "from ansible.module_utils.basic import AnsibleModule"),
    ("module_utils/_operations/migrate.py", "import ansible_collections.community.general"),
    ("module_utils/_records/digest.py", "import numpy as np"),
    ("module_utils/_server/http.py", "if TYPE_CHECKING:\n    from .._records import compare"),
    ("module_utils/_server/http.py", "from requests.adapters import HTTPAdapter"),
    ("module_utils/_server/http.py", "import chromadb"),
    ("modules/migrate.py", f"from {COLLECTION}.module_utils._records.live import LiveCollection"),
])
def test_a_wrong_import_is_found(path: str, source: str) -> None:
    assert len(faults_in(PLUGINS / path, source)) == 1


@pytest.mark.parametrize(("path", "source"), [
    ("module_utils/_server/http.py", "from .._errors import AuthError\nfrom .._libraries import requests\nfrom . import probe"),
    ("module_utils/_operations/migrate.py", "from .._records import live\nfrom .._schema.routes import parse_routes\nfrom .outcome import Outcome"),
    ("module_utils/_module.py", "from ansible.module_utils import basic\nfrom ._errors import OperationError\nfrom ._operations.outcome import Outcome"),
    ("module_utils/_libraries.py", "import numpy as np\nimport requests"),
    ("module_utils/_records/compare.py", "if TYPE_CHECKING:\n    from numpy.typing import NDArray"),
    ("modules/migrate.py", f"from {COLLECTION}.module_utils._operations.migrate import migrate\nfrom {COLLECTION}.module_utils._module import run"),
])
def test_a_right_import_is_not(path: str, source: str) -> None:
    assert faults_in(PLUGINS / path, source) == []
