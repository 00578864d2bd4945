# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""No file has more than 400 lines without a reason, and code stays short.

A module, an action, a callback, what they share on the control node and a file of tasks have at most 200 lines of code: what is neither empty,
nor a comment, nor documentation. The engine below plugins/module_utils, which they only call, may have 350 in a file: a comparison, or a lock,
is read better in one piece.
"""

from __future__ import annotations

import ast
import subprocess
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
MOST_LINES = 400
MOST_LINES_OF_CODE = 200
MOST_LINES_OF_CODE_OF_THE_ENGINE = 350
DOCUMENTATION = {"DOCUMENTATION", "EXAMPLES", "RETURN"}

# The ones with more lines. Those that are written by hand and can hold a comment say the same at their top.
REASONS = {
    "LICENSE": "as it was written by others",
    "bin/chromadb-rollback.sh": "a command for somebody in trouble sources nothing that could be missing",
    "docs/docsite/rst/guide_rollback_and_recovery.rst": "whoever needs it is in a hurry, and searches one page",
    "docs/manifest.schema.json": "a schema is one document, and this one is written from plugins/module_utils/_archive/manifest_schema.py",
    "docs/report.schema.json": "a schema is one document",
    "plugins/modules/migrate.py": "ansible-doc reads a module's options, examples and results from its own file",
    "requirements/dev.txt": "hashes, written by make requirements",
    "requirements/importer.txt": "hashes, written by make requirements",
    "requirements/main.txt": "hashes, written by make requirements",
    "requirements/offsite.txt": "hashes, written by make requirements",
    "roles/runtime/files/requirements.txt": "hashes, written by make requirements",
    "tests/integration/test_mutations.py": "one table, from which the runs are drawn",
}


def listed_files() -> list[str]:
    """What belongs to the collection; without git, as in an archive of the checkout, what does not look like something that was set up or left by a tool."""
    try:
        done = subprocess.run(["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"], cwd=CHECKOUT, capture_output=True, check=True)
        names = done.stdout.decode().split("\0")
    except (OSError, subprocess.CalledProcessError):
        names = [str(path.relative_to(CHECKOUT)) for path in CHECKOUT.rglob("*") if path.suffix != ".pyc"]
        names = [name for name in names if not name.startswith((".", "tests/output/", "infrafabric-")) or name.startswith(".ci/")]
    return sorted({name for name in names if (CHECKOUT / name).is_file()})


FILES = listed_files()


def lines_of(name: str) -> list[str]:
    return (CHECKOUT / name).read_bytes().decode(errors="replace").splitlines()


def lines_of_code(source: str) -> int:
    """Of a Python file, beside empty lines, comments, docstrings and an Ansible module's documentation."""
    tree = ast.parse(source)
    documentation: set[int] = set()
    for node in ast.walk(tree):
        if isinstance(node, (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)) and ast.get_docstring(node) is not None:
            documentation.update(_lines(node.body[0]))
    for statement in tree.body:
        if isinstance(statement, ast.Assign) and any(isinstance(name, ast.Name) and name.id in DOCUMENTATION for name in statement.targets):
            documentation.update(_lines(statement))
    return sum(number not in documentation and _counts(line) for number, line in enumerate(source.splitlines(), 1))


def _lines(node: ast.stmt) -> range:
    return range(node.lineno, (node.end_lineno or node.lineno) + 1)


def _counts(line: str) -> bool:
    return bool(line.strip()) and not line.strip().startswith("#")


def test_a_file_of_many_lines_has_a_reason() -> None:
    long = {name for name in FILES if len(lines_of(name)) > MOST_LINES}
    assert long - set(REASONS) == set(), "More than %d lines: divide it, or give the reason here and at its top" % MOST_LINES
    assert set(REASONS) - long == set(), "Not that long any more: take its reason away"


@pytest.mark.parametrize("name", [name for name in FILES if name.startswith("plugins/") and name.endswith(".py")])
def test_code_is_short(name: str) -> None:
    most = MOST_LINES_OF_CODE_OF_THE_ENGINE if name.startswith("plugins/module_utils/") else MOST_LINES_OF_CODE
    assert lines_of_code((CHECKOUT / name).read_text(encoding="utf-8")) <= most


def test_files_of_tasks_are_short() -> None:
    tasks = [name for name in FILES if name.endswith(".yml") and (name.startswith("playbooks/") or (name.startswith("roles/") and "/tasks/" in name))]
    assert tasks
    assert [name for name in tasks if sum(map(_counts, lines_of(name))) > MOST_LINES_OF_CODE] == []


def test_what_counts_as_code() -> None:
    source = '"""Words,\nand more."""\n\n# a comment\nDOCUMENTATION = r"""\nmodule: x\n"""\n\n'
    source += 'def f():\n    """Words."""\n    # why\n    return """a\nb"""  # how\n'
    assert lines_of_code(source) == 3
