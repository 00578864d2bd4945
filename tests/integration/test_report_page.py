# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The HTML report in a real browser: it shows, it asks the network for nothing, and what stands in the data stays text.

Needs Debian's chromium, and is skipped where there is none.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from tests.support.case import Case
from tests.support.raw import RawChroma, Record

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on this machine")

HOSTILE = (
    "<script>document.title = 'taken over'</script>",
    '"><img src="http://192.0.2.1/stolen" onerror="document.title = 1">',
    "</style></title><h1>GO</h1>",
    "two\nlines\u202eand a turn",
)


class Listener:
    """A proxy that answers nothing and keeps what it is asked for: whatever a page wants of the network goes here."""

    def __init__(self) -> None:
        self.requests: list[str] = []
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        threading.Thread(target=self._listen, daemon=True).start()

    def _listen(self) -> None:
        while True:
            try:
                visitor, _address = self._socket.accept()
            except OSError:
                return
            with visitor:
                visitor.settimeout(5)
                self.requests.append(visitor.recv(1000).split(b"\r\n")[0].decode("latin-1"))

    @property
    def wanted(self) -> list[str]:
        """Without what the browser wants for itself: it asks its maker for updates, whatever it is told."""
        return [line for line in self.requests if not re.search(r"\.(google|googleapis|gstatic|gvt1)\.com[:/]", line)]

    def close(self) -> None:
        self._socket.close()


@pytest.fixture
def listener() -> Iterator[Listener]:
    opened = Listener()
    yield opened
    opened.close()


def browse(page: Path, listener: Listener, *options: str) -> str:
    command = [
        str(CHROMIUM), "--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update",
        "--disable-sync", "--disable-default-apps", "--disable-extensions", f"--user-data-dir={page.parent / 'profile'}",
        f"--proxy-server=http://127.0.0.1:{listener.port}", "--proxy-bypass-list=<-loopback>", *options, page.as_uri(),
    ]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=120).stdout


@pytest.fixture
def page(case: Case, tmp_path: Path) -> Path:
    """The report on a target that was damaged, with names that want to act."""
    rows = np.random.default_rng(1).normal(size=(40, 8)).astype("<f4")
    records = [Record(f"plain {number}", row, f"text {number}", {"number": number}) for number, row in enumerate(rows)]
    for number, text in enumerate(HOSTILE):
        records[number] = Record(text, rows[number], text, {"text": text})
    damaged = [record._replace(document="GARBAGE", metadata={"text": "<b>"}) for record in records[:8]] + records[8:36]

    def fill(place: RawChroma, contents: list[Record]) -> None:
        place.add(place.create("things", None, {"hnsw": {"space": "l2"}}), contents)

    fill(case.source, records)
    fill(case.target, damaged)
    result = case.validate(report_directory=str(tmp_path))
    assert result["decision"] == "no_go"
    return Path(result["report"]["html"])


def test_what_stands_in_the_data_stays_text(page: Path, listener: Listener) -> None:
    seen = browse(page, listener, "--dump-dom")
    assert re.search(r"<title>NO-GO: validation of [^<]*</title>", seen)
    assert "<script" not in seen
    assert "<img" not in seen
    assert seen.count("<h1>") == 1
    for text in HOSTILE[:3]:
        assert text.replace("<", "&lt;").replace(">", "&gt;") in seen
    assert "\u202e" not in seen


def test_nothing_is_asked_of_the_network(page: Path, listener: Listener) -> None:
    browse(page, listener, "--dump-dom")
    assert listener.wanted == []
    # The same browser does ask when a page wants it to.
    worse = page.with_name("worse.html")
    worse.write_text('<img src="http://192.0.2.1/x">')
    browse(worse, listener, "--dump-dom")
    assert set(listener.wanted) == {"GET http://192.0.2.1/x HTTP/1.1"}


@pytest.mark.parametrize("size", ["1200,1600", "500,1600"])
def test_it_shows_on_a_screen_a_phone_and_paper(page: Path, listener: Listener, size: str, tmp_path: Path) -> None:
    picture, paper = tmp_path / "page.png", tmp_path / "page.pdf"
    browse(page, listener, f"--window-size={size}", f"--screenshot={picture}")
    browse(page, listener, f"--print-to-pdf={paper}")
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 30_000
    assert paper.read_bytes().startswith(b"%PDF")
