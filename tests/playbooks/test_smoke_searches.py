# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The searches after the switch, on an index that misses some of its records: a server that answers as such indexes do."""

from __future__ import annotations

import json
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from tests.support.run_module import ansible_playbook

IDS = [f"r{n}" for n in range(50)]
NEAREST = ["r0", "r1"]


def search(tmp_path: Path, distances: list[list[float]]) -> str:
    """What the playbook printed, and whether it went well, where the searches for fifty records come to these distances."""

    class Index(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            answer: dict[str, object] = {"ids": [NEAREST[: len(row)] for row in distances], "distances": distances}
            if self.path.endswith("/get"):
                answer = {"ids": IDS[: asked["limit"]], "embeddings": [[1.0, float(n)] for n in range(asked["limit"])]}
            body = json.dumps(answer).encode()
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Index)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    variables = {
        "chromadb_source_url": url,
        "chromadb_target_url": url,
        "cutover_endpoint": {"url": url},
        "cutover_after": {"server": {"api": "v2"}},
        "cutover_collection": {"name": "letters", "id": "1", "space": "l2"},
    }
    task = {"ansible.builtin.include_tasks": str(Path(__file__).parents[2] / "roles/cutover/tasks/smoke_collection.yml")}
    role = {"ansible.builtin.include_vars": str(Path(__file__).parents[2] / "roles/cutover/vars/main.yml")}
    playbook = tmp_path / "smoke.yml"
    playbook.write_text(json.dumps([{"hosts": "chromadb_target", "gather_facts": False, "vars": {"cutover_target": {"url": url}}, "tasks": [role, task]}]))
    inventory = tmp_path / "inventory.json"
    host = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable, **variables}
    inventory.write_text(json.dumps({"all": {"children": {"chromadb_target": {"hosts": {"here": host}}}}}))
    try:
        done = ansible_playbook(str(playbook), "-i", str(inventory))
    finally:
        server.shutdown()
        server.server_close()
    return " ".join(done.stdout.split()) if done.returncode else ""


@pytest.mark.parametrize(
    ("distances", "refusal"),
    [
        pytest.param([[3.0, 4.0]] * 49 + [[0.0, 1.0]], "", id="most are missed"),
        pytest.param([[3.0, 4.0]] * 50, "50 are answered, 0 with the record.", id="all are missed"),
        pytest.param([[0.0, 1.0]] * 49 + [[]], "49 are answered, 49 with the record.", id="a search without an answer"),
    ],
)
def test_every_search_is_to_be_answered_and_one_with_its_record(distances: list[list[float]], refusal: str, tmp_path: Path) -> None:
    said = search(tmp_path, distances)
    assert refusal in said
    assert bool(said) == bool(refusal)
