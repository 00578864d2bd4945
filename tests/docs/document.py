# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What of a document can be run: its console blocks with the output that they show, and the files that it shows.

Markdown                              reStructuredText
```console                            .. code-block:: console            commands begin with "$ ", a backslash continues them
`NAME`: before a fenced block         :caption: NAME                     a file, written where the reader would write it
<!-- not run: REASON -->              .. not run: REASON                 the next console block is only read
<!-- exit code: 2 -->                 .. exit code: 2                    the last command of the next console block ends with this
<!-- scene: WORDS -->                 .. scene: WORDS                    what happens to the servers at this place (scenes.py)
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple, Union

_REMARK = re.compile(r"^(?:<!-- |\.\. )(not run|exit code|scene): (.*?)(?: -->)?$")
_FENCE = re.compile(r"^( *)```(\w+)$")
_DIRECTIVE = re.compile(r"^( *)\.\. code-block:: (\w+)$")
_CAPTION = re.compile(r"^ *:caption: (\S+)$")
# "Write `inventories/mine/hosts.yml`:" before a fence.
_NAMED = re.compile(r"`([\w./-]+\.\w+)`:$")


class Command(NamedTuple):
    """A command as bash gets it, the lines shown below it, and the lines of the document, from 0, that these are."""

    text: str
    shown: list[str]
    first_line: int
    end_line: int


@dataclass
class Console:
    line: int
    commands: list[Command] = field(default_factory=list)
    indent: int = 0
    exit_code: int = 0
    not_run: str | None = None


class File(NamedTuple):
    line: int
    name: str
    content: str


class Scene(NamedTuple):
    line: int
    words: str


Step = Union[Console, File, Scene]


class _Block(NamedTuple):
    language: str
    name: str | None
    start: int
    lines: list[str]
    indent: int


def read_document(path: Path) -> list[Step]:
    """The steps of one document, in its order. ValueError for a remark that belongs to no block."""
    lines = path.read_text(encoding="utf-8").splitlines()
    blocks = {block.start: block for block in (_fenced(lines) if path.suffix == ".md" else _indented(lines))}
    steps: list[Step] = []
    remarks: dict[str, str] = {}
    for number, line in enumerate(lines):
        remark = _REMARK.match(line.strip())
        if remark and remark[1] == "scene":
            steps.append(Scene(number, remark[2]))
        elif remark:
            remarks[remark[1]] = remark[2]
        block = blocks.get(number)
        if block is None:
            continue
        if block.language == "console":
            console = Console(number, list(_commands(block)), block.indent, int(remarks.pop("exit code", 0)), remarks.pop("not run", None))
            steps.append(console)
        elif block.name:
            steps.append(File(number, block.name, "".join(line + "\n" for line in block.lines)))
        if remarks:
            raise ValueError("%s:%d: %s stands before a block that is not run" % (path, number, remarks))
    return steps


def _fenced(lines: list[str]) -> Iterator[_Block]:
    number = 0
    while number < len(lines):
        fence = _FENCE.match(lines[number])
        if fence:
            indent = len(fence[1])
            # A block that nobody closes reaches to the end.
            end = next((place for place in range(number + 1, len(lines)) if lines[place].strip() == "```"), len(lines))
            before = next((lines[place] for place in range(number - 1, -1, -1) if lines[place].strip()), "")
            named = _NAMED.search(before.strip())
            body = [line[indent:] for line in lines[number + 1 : end]]
            yield _Block(fence[2], named[1] if named else None, number + 1, body, indent)
            number = end
        number += 1


def _indented(lines: list[str]) -> Iterator[_Block]:
    for number, line in enumerate(lines):
        directive = _DIRECTIVE.match(line)
        if not directive:
            continue
        place, name = number + 1, None
        while place < len(lines) and lines[place].strip():
            caption = _CAPTION.match(lines[place])
            name = caption[1] if caption else name
            place += 1
        while place < len(lines) and not lines[place].strip():
            place += 1
        start = place
        indent = len(lines[start]) - len(lines[start].lstrip())
        while place < len(lines) and (not lines[place].strip() or len(lines[place]) - len(lines[place].lstrip()) >= indent):
            place += 1
        while not lines[place - 1].strip():
            place -= 1
        yield _Block(directive[2], name, start, [line[indent:] for line in lines[start:place]], indent)


def _commands(block: _Block) -> Iterator[Command]:
    number = 0
    if not block.lines or not block.lines[0].startswith("$ "):
        raise ValueError("line %d: a console block begins with a command, '$ ...'" % (block.start + 1))
    while number < len(block.lines):
        text = block.lines[number][2:]
        number += 1
        while text.endswith("\\"):
            text += "\n" + block.lines[number]
            number += 1
        end = number
        while end < len(block.lines) and not block.lines[end].startswith("$ "):
            end += 1
        shown = block.lines[number:end]
        while shown and not shown[-1].strip():
            shown.pop()
        yield Command(text, shown, block.start + number, block.start + number + len(shown))
        number = end
