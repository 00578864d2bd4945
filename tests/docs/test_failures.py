# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Each failure class, provoked with the real modules: docs/failures.md has the messages that came, and the guide to troubleshooting the same table.

`make test-docs PYTEST_ARGS=--update-docs` writes the table anew.
"""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path
from typing import Any, Callable, NamedTuple

import numpy as np
import pytest

from ansible_collections.infrafabric.chromadb.plugins.module_utils._errors import FAILURE_CLASSES
from tests.support.authority import Authority
from tests.support.case import Case
from tests.support.chroma_server import ChromaServer, free_port
from tests.support.counting_proxy import CountingProxy, Fault, every_write
from tests.support.raw import RawChroma, Record
from tests.support.run_module import CHECKOUT, Apart, run_module

TABLE = CHECKOUT / "docs" / "failures.md"
GUIDE = CHECKOUT / "docs" / "docsite" / "rst" / "guide_troubleshooting.rst"
BEGIN, END = ".. failure classes: begin\n", ".. failure classes: end\n"
COMMAND = CHECKOUT / "bin" / "chromadb-rollback.sh"

# What it means, and what to do.
MEANING = {
    "auth": (
        "The server, or what stands before it, refuses the credentials or wants some.",
        "Correct `token` and `token_header`, or `username` and `password`. A 403 may also mean that this user may not do it.",
    ),
    "tls": (
        "The connection cannot be trusted.",
        "Give `ca_path` for an authority of your own, or use the name that the certificate is for.",
    ),
    "unreachable": (
        "Nothing answers, or the connection broke and did not come back.",
        "Start the server, correct the address or open the firewall, then run it again.",
    ),
    "timeout": (
        "One request, or the whole operation, took longer than it may.",
        "Run it again, it continues. Raise `timeout` for a slow server, `deadline` for much data.",
    ),
    "version": (
        "Something answers that is no supported Chroma, or that cannot do what is wanted.",
        "Correct the address; the message says what is missing.",
    ),
    "disk": (
        "A directory or a file is missing, full, or belongs to somebody else.",
        "Make it, make room, or correct its owner. Nothing half-written is taken for a snapshot.",
    ),
    "integrity": (
        "What is stored is damaged, incomplete, or not what it was.",
        "Do not use this snapshot. `snapshot verify` says which ones are intact; or fetch the copy from the second place.",
    ),
    "drift": (
        "The data is not what was expected, or moves while it is read, or clients wrote what would be lost.",
        "Find out who writes. Stop them, or say that it is right: with other `expected_counts`, with `discard_new_writes`.",
    ),
    "lock": (
        "Somebody else is at work there, or writes are frozen.",
        "Wait: the message says for whom. A dead process holds no lock, and a freeze ends by itself.",
    ),
    "partial": (
        "It stopped half-way.",
        "Look at the server's log, then run the same again: it compares everything and moves what is missing.",
    ),
    "unsafe_archive": (
        "A file in the store is not what a snapshot is made of.",
        "Nothing of it was used. Find out who put it there, and use another snapshot.",
    ),
    "invalid_data": (
        "Records break the schema, or the target cannot hold them, or they would collide.",
        "They are named. Correct them with `corrections`, leave them out with `on_invalid: skip`, or change the schema or the routes.",
    ),
    "usage": (
        "An option cannot work, or names something that does not exist.",
        "The message names the choices.",
    ),
}


class Place(NamedTuple):
    case: Case
    target_proxy: CountingProxy
    directory: Path
    data_directory: Path


class Situation(NamedTuple):
    """What is done, in words and in fact; the result is a failed module's."""

    failure_class: str
    words: str
    provoke: Callable[[Place], dict[str, Any]]


def with_records(place: Place, count: int = 3) -> str:
    """In the target; the collection's id."""
    return _fill(place.case.target, count)


def _fill(server: Any, count: int, name: str = "things") -> str:
    collection = str(server.create(name))
    server.add(collection, [Record(f"r{number}", np.arange(4, dtype="<f4") + number, "text", {"n": number}) for number in range(count)])
    return collection


def info(place: Place, **options: Any) -> dict[str, Any]:
    return run_module("server_info", {**place.case.target_endpoint, "retries": 0, **options}, fails=True)


def behind(place: Place, *faults: Fault) -> None:
    """From now on the target is reached by a proxy with these faults."""
    place.target_proxy.faults[:] = faults
    place.case.through(target=place.target_proxy)


def refused_credentials(place: Place) -> dict[str, Any]:
    behind(place, Fault("status", times=None, status=401, rewrite=lambda _headers: b'{"error": "Unauthorized"}'))
    return info(place, token="wrong")


def private_certificate(place: Place) -> dict[str, Any]:
    with CountingProxy(place.case.target.url, Authority(place.directory / "authority").server()) as proxy:
        return info(place, url=proxy.url)


def silence(place: Place) -> dict[str, Any]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return info(place, url="http://127.0.0.1:%d" % listener.getsockname()[1], timeout=1)


def passed_deadline(place: Place) -> dict[str, Any]:
    for name in ("things", "others", "more"):
        _fill(place.case.source, 20, name)
    return place.case.migrate(fails=True, deadline=0.5, max_records_per_second=20)


def another_program(place: Place) -> dict[str, Any]:
    behind(place, Fault("status", times=None, status=404, rewrite=lambda _headers: b"not found"))
    return info(place)


def redirect(place: Place) -> dict[str, Any]:
    behind(place, Fault("status", times=None, status=307))
    return info(place)


def damaged_snapshot(place: Place) -> dict[str, Any]:
    with_records(place)
    archive = Path(place.case.snapshot()["path"])
    data = bytearray(archive.read_bytes())
    data[len(data) // 2] ^= 1
    archive.write_bytes(data)
    return place.case.rollback(fails=True, snapshot_id=archive.name.removesuffix(".tar.gz"))


def other_manifest(place: Place) -> dict[str, Any]:
    with_records(place)
    place.case.snapshot()
    return place.case.rollback(fails=True, snapshot_id="latest", expected_manifest_sha256="0" * 64)


def other_counts(place: Place) -> dict[str, Any]:
    with_records(place)
    return info(place, expected_counts={"things": 4})


def after_a_cutover(place: Place) -> dict[str, Any]:
    collection = with_records(place)
    place.case.snapshot()
    run_module("audit_event", {**place.case.target_endpoint, "directory": str(place.case.store), "action": "cutover"})
    place.case.target.delete(collection, ["r0"])
    return place.case.rollback(fails=True, snapshot_id="latest")


def at_work_already(place: Place) -> dict[str, Any]:
    _fill(place.case.source, 200)
    slow = {"source": place.case.source_endpoint, "target": place.case.target_endpoint, "state_directory": str(place.case.state)}
    first = Apart("migrate", {**slow, "max_records_per_second": 2, "batch_size": 2})
    try:
        while not place.case.target.names():
            assert first.process.poll() is None
        return place.case.migrate(fails=True)
    finally:
        first.kill()


def frozen_gateway(place: Place) -> dict[str, Any]:
    _fill(place.case.source, 3)
    answer = b'{"error": "ReadOnly", "message": "Writes are frozen for a moment while this database is moved. Try again."}'
    behind(place, Fault("status", when=every_write, times=None, status=403, rewrite=lambda _headers: answer))
    return place.case.migrate(fails=True)


def running_server(place: Place) -> dict[str, Any]:
    return place.case.snapshot(fails=True, method="files", data_directory=str(place.data_directory))


def refused_batch(place: Place) -> dict[str, Any]:
    _fill(place.case.source, 3)
    broken = Fault("status", when=lambda seen: seen.records > 0, times=None, status=500, rewrite=lambda _headers: b'{"error": "InternalError"}')
    behind(place, broken)
    return place.case.migrate(fails=True)


def link_for_an_archive(place: Place) -> dict[str, Any]:
    with_records(place)
    archive = Path(place.case.snapshot()["path"])
    elsewhere = place.directory / "elsewhere.tar.gz"
    archive.rename(elsewhere)
    archive.symlink_to(elsewhere)
    return place.case.rollback(fails=True, snapshot_id=archive.name.removesuffix(".tar.gz"))


def missing_field(place: Place) -> dict[str, Any]:
    _fill(place.case.source, 3)
    return place.case.migrate(fails=True, schema={"fields": {"year": {"type": "integer", "required": True}}})


def colliding_ids(place: Place) -> dict[str, Any]:
    for name in ("manual_2023", "manual_2024"):
        place.case.source.add(place.case.source.create(name), [Record("intro", np.ones(4, dtype="<f4"))])
    return place.case.migrate(fails=True, routes=[{"from": "manual_*", "to": "manuals"}])


SITUATIONS = [
    Situation("auth", "A token that the server refuses", refused_credentials),
    Situation("tls", "A certificate of an authority that nobody here knows", private_certificate),
    Situation("unreachable", "A port on which nothing listens", lambda place: info(place, url="http://127.0.0.1:%d" % free_port())),
    Situation("timeout", "A server that takes the connection and says nothing", silence),
    Situation("timeout", "A `deadline` that passes", passed_deadline),
    Situation("version", "Another web server", another_program),
    Situation("version", "A redirect", redirect),
    Situation("disk", "A store that does not exist", lambda place: place.case.snapshot(fails=True, directory=str(place.directory / "none"))),
    Situation("integrity", "One bit of a snapshot is another one", damaged_snapshot),
    Situation("integrity", "A manifest that is not the one that was noted down", other_manifest),
    Situation("drift", "`expected_counts` that do not hold", other_counts),
    Situation("drift", "A rollback after a cutover", after_a_cutover),
    Situation("lock", "Another run on the same target", at_work_already),
    Situation("lock", "A gateway that refuses writes", frozen_gateway),
    Situation("lock", "`method: files` while the server runs", running_server),
    Situation("partial", "A server that fails in the middle", refused_batch),
    Situation("unsafe_archive", "A link in the place of an archive", link_for_an_archive),
    Situation("invalid_data", "A required field without a default", missing_field),
    Situation("invalid_data", "Two collections with one id become one", colliding_ids),
    Situation("usage", "A database that does not exist", lambda place: info(place, database="nothing")),
    Situation("usage", "A password in the address", lambda place: info(place, url="http://somebody:hidden-word@192.0.2.20:8000")),
    Situation("usage", "A snapshot that does not exist", lambda place: place.case.rollback(fails=True, snapshot_id="snapshot_20260102_030405")),
]

SEEN: dict[str, tuple[str, str]] = {}


@pytest.fixture
def provoked(
    source_server: ChromaServer, target_server: ChromaServer, _shared_target_proxy: CountingProxy, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[Situation], None]:
    """Provoke a situation, in databases and directories of its own, and note what the module said."""

    def provoke(situation: Situation) -> None:
        directory = tmp_path_factory.mktemp("situation")
        case = Case(RawChroma(source_server.url).fresh_database("source"), RawChroma(target_server.url).fresh_database("target"), directory)
        _shared_target_proxy.reset()
        result = situation.provoke(Place(case, _shared_target_proxy, directory, target_server.directory / "data"))
        assert (result["failed"], result["failure_class"]) == (True, situation.failure_class)
        SEEN[situation.words] = (result["failure_class"], documented(result["msg"], case, directory))

    return provoke


@pytest.mark.parametrize("situation", SITUATIONS, ids=lambda situation: situation.words)
def test_each_kind_of_failure_is_what_it_is_called(situation: Situation, provoked: Callable[[Situation], None]) -> None:
    provoked(situation)


def documented(message: str, case: Case, directory: Path) -> str:
    """Without what is this run's alone: addresses, directories, names of databases, times."""
    for pattern, word in (
        (re.escape(str(directory)), "/srv"),
        (re.escape(case.source.url), "http://192.0.2.10:8000"),
        (r"https?://(?:127\.0\.0\.1|localhost):\d+", lambda match: match[0].split(":")[0] + "://192.0.2.20:8000"),
        (r"\b(source|target)-[0-9a-f]{12}\b", "default_tenant"),
        (r"\bdb-default_tenant\b", "default_database"),
        (r"snapshot_\d{8}_\d{6}\b", "snapshot_20260102_030405"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:\.\d+)?(?:Z|[+-]\d\d:\d\d)", "2026-01-02T03:04:05+00:00"),
        (r"process \d+ of \S+ on [^\s,]+", "process 4711 of root on host"),
        (r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", "UUID"),
        (r"\b[0-9a-f]{64}\b", "SHA256"),
        (r"after \d+ of", "after 7 of"),
        (r" \(_ssl\.c:\d+\)", ""),
    ):
        message = re.sub(pattern, word, message)
    return message


def exit_code(failure_class: str) -> str:
    """What bin/chromadb-rollback.sh makes of it, by its own function."""
    script = 'eval "$(grep -E "^EXIT_" "$1"; sed -n "/^exit_code()/,/^}/p" "$1")"; exit_code "$2"'
    done = subprocess.run(["bash", "-eu", "-c", script, "bash", str(COMMAND), failure_class], capture_output=True, text=True, check=True)
    return done.stdout.strip()


def all_exit_codes() -> dict[str, str]:
    """Every code of bin/chromadb-rollback.sh and its meaning, as its help has them in two columns."""
    text = subprocess.run([str(COMMAND), "help"], capture_output=True, text=True, check=True).stdout.split("Exit codes\n")[1]
    table, last = text.rstrip().rsplit("\n", 1)
    codes = dict(re.findall(r"(?:^|  )(\d)  (\S+(?: \S+)*)", table, re.MULTILINE))
    several, interrupted = re.fullmatch(r"(Several hosts .*): 1\. (Interrupted): 130\.", last).groups()  # type: ignore[union-attr]
    codes["1"] += "; or s" + several[1:]
    return {**dict(sorted(codes.items())), "130": "i" + interrupted[1:]}


def markdown() -> str:
    lines = [
        "# Failures",
        "",
        "A module that fails returns `failed: true`, a message `msg`, and the kind of the failure, `failure_class`. `bin/chromadb-rollback.sh`",
        "ends with the code of the kind, or with 1 where several hosts failed differently.",
        "",
        "Written by `make test-docs PYTEST_ARGS=--update-docs` from what the modules really said, and compared with it by the tests.",
        "",
        "| `failure_class` | exit code | means | what to do |",
        "|---|---|---|---|",
    ]
    lines += ["| [`%s`](#%s) | %s | %s | %s |" % (name, name, exit_code(name), *MEANING[name]) for name in sorted(FAILURE_CLASSES)]
    lines += ["", "All codes of the command:", "", "| exit code | when |", "|---|---|"]
    lines += ["| %s | %s |" % (code, when) for code, when in all_exit_codes().items()]
    for name in sorted(FAILURE_CLASSES):
        lines += ["", "## `%s`" % name, "", "| when | the message |", "|---|---|"]
        lines += ["| %s | %s |" % (s.words, SEEN[s.words][1].replace("|", "\\|")) for s in SITUATIONS if SEEN[s.words][0] == name]
    return "\n".join(lines) + "\n"


def in_the_guide() -> str:
    """The first table again, in reStructuredText."""
    lines = ["", ".. list-table::", "   :header-rows: 1", "   :widths: 16 7 36 41", ""]
    rows = [("``failure_class``", "Code", "What it means", "What to do")]
    rows += [(f"``{name}``", exit_code(name), *(text.replace("`", "``") for text in MEANING[name])) for name in sorted(FAILURE_CLASSES)]
    for row in rows:
        lines += ["   %s - %s" % ("*" if number == 0 else " ", cell) for number, cell in enumerate(row)]
    return "\n".join(lines) + "\n\n"


def test_the_command_says_in_its_help_what_it_ends_with() -> None:
    names = dict(re.findall(r"\b(\w+)=(\d+)\b", "\n".join(line for line in COMMAND.read_text("utf-8").splitlines() if re.match("EXIT_|INTERRUPTED", line))))
    assert names.pop("INTERRUPTED_ANSIBLE")
    assert set(all_exit_codes()) == {"0", *names.values()}
    assert {exit_code(name) for name in FAILURE_CLASSES} < set(all_exit_codes())


def test_the_table_in_the_documents_is_what_was_seen(request: pytest.FixtureRequest, provoked: Callable[[Situation], None]) -> None:
    # What another process tried, or nobody.
    for situation in SITUATIONS:
        if situation.words not in SEEN:
            provoked(situation)
    assert {failure_class for failure_class, _message in SEEN.values()} == set(FAILURE_CLASSES) == set(MEANING)
    guide = GUIDE.read_text(encoding="utf-8")
    before, rest = guide.split(BEGIN)
    _table, after = rest.split(END)
    wanted = before + BEGIN + in_the_guide() + END + after
    if request.config.getoption("--update-docs"):
        TABLE.write_text(markdown(), encoding="utf-8")
        GUIDE.write_text(wanted, encoding="utf-8")
        guide = wanted
    assert TABLE.read_text(encoding="utf-8") == markdown()
    assert guide == wanted
