# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A document that says something wrong does not pass; one that is right does."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from .scenes import Servers
from .story import Failed, Story

RIGHT = """
Write `inventories/hosts.txt`:

```text
http://192.0.2.10:8000 in /srv/store
```

```console
$ export WORD=kept; cd inventories
$ echo $WORD; cat \\
    hosts.txt
kept
http://192.0.2.10:8000 in /srv/store
$ read -p 'Go on? [y/N] ' answer; echo "It was $answer"
Go on? [y/N] y
It was y
```

<!-- exit code: 3 -->
```console
$ curl --silent --fail http://192.0.2.10:8000/api/v2/heartbeat > /srv/answer
$ exit 3
```

<!-- not run: nobody may -->
```console
$ rm -rf /
```
"""


def story(text: str, servers: Servers, directory: Path) -> Story:
    document, checkout = directory / "text.md", directory / "checkout"
    document.write_text(text)
    checkout.mkdir(mode=0o700)
    return Story(document, servers, checkout)


def test_a_document_that_is_right(servers: Servers, tmp_path: Path) -> None:
    told = story(RIGHT, servers, tmp_path)
    told.play()
    assert told.commands == 5
    assert told.not_run == ["text.md:27: nobody may: rm -rf /"]
    assert (told.checkout / "outside/srv/answer").exists()
    written = (told.checkout / "inventories/hosts.txt").read_text()
    assert written == f"{servers.source.url} in {told.checkout}/outside/srv/store\n"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("```console\n$ echo one\ntwo\n```\n", "printed something else"),
        ("```console\n$ false\n```\n", "ended with 1, not 0"),
        ("<!-- exit code: 2 -->\n```console\n$ true\n```\n", "ended with 0, not 2"),
        ("```console\n$ curl http://192.0.2.99:8000\n```\n", "no server of the tests stands for"),
        ("<!-- scene: the target stops -->\n```console\n$ curl --silent --fail http://localhost:8000/api/v2/heartbeat\n```\n", "ended with 7, not 0"),
    ],
)
def test_a_document_that_is_wrong(text: str, words: str, servers: Servers, tmp_path: Path) -> None:
    with pytest.raises(Failed, match=words):
        story(text, servers, tmp_path).play()


def test_a_document_that_leaves_something_running(servers: Servers, tmp_path: Path) -> None:
    with pytest.raises(Failed, match="left running:\\nsleep 98765"):
        story("```console\n$ sleep 98765 > /dev/null 2>&1 &\n```\n", servers, tmp_path).play()
    assert subprocess.run(["pgrep", "-f", "^sleep 98765$"], check=False, stdout=subprocess.DEVNULL).returncode == 1


def test_a_document_is_written_from_one_run(servers: Servers, tmp_path: Path) -> None:
    shown = "```console\n$ echo snapshot_$(date +2027%m%d_%H%M%S)_first of 2027-01-03\nsnapshot_20260102_030405_first of 2026-01-03\n"
    told = story(shown + "$ : snapshot_20260102_030405_first\n$ echo some of 2027-01-03\nsome ...\n```\n", servers, tmp_path)
    told.update = "all"
    told.play()
    written = (tmp_path / "text.md").read_text().splitlines()
    assert written[2].startswith("snapshot_2027")
    assert written[2].endswith("_first of 2027-01-03")
    assert written[3] == "$ : " + written[2].split()[0]
    assert written[5] == "some ...", "what somebody has shortened stays as it is while it is true"
