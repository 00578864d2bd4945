# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The role notify against a webhook that is down at first, and one that never answers."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

from tests.support.chroma_server import free_port

from .gateway import play

EVENTS: list[dict[str, object]] = [
    {"notify_event": "window", "notify_window": {"start": "2026-01-10T02:00:00+00:00", "end": "2026-01-10T04:00:00+00:00"}},
    {"notify_event": "start"},
    {"notify_event": "decision", "notify_decision": "no_go", "notify_reasons": ["3 records are lost"], "notify_report": "/srv/report.html"},
    {"notify_event": "cutover", "notify_seconds": "2.5"},
    {"notify_event": "rolled_back", "notify_war_room": "room 3"},
    {"notify_event": "escalation", "notify_minutes": 45},
]
EXPECTED = (
    ("maintenance window", "From 2026-01-10T02:00:00+00:00 to 2026-01-10T04:00:00+00:00"),
    ("the migration has started", "From http://192.0.2.10:8000 to http://192.0.2.20:8000"),
    ("NO-GO", "- 3 records are lost", "Report: /srv/report.html"),
    ("the clients work with the new server", "It took 2.5 s."),
    ("rolled back", "War room: room 3"),
    ("escalation, level 2 (30 to 60 minutes)", "Level 1: Operations, ops@example.org\nLevel 2: Administrators, dba@example.org"),
)


def test_every_event_is_told_and_no_failure_stops_the_play(tmp_path: Path) -> None:
    received: list[dict[str, str]] = []
    refusals = [503, 500]

    class Webhook(BaseHTTPRequestHandler):
        def do_POST(self) -> None:  # noqa: N802
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            status = refusals.pop() if refusals else 200
            if status == 200:
                received.append({**body, "token": self.headers["X-Token"]})
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_arguments: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Webhook)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    dead = "http://127.0.0.1:%d/secret-path" % free_port()
    tasks = [{"ansible.builtin.include_role": {"name": "infrafabric.chromadb.notify"}, "vars": event} for event in EVENTS]
    playbook = tmp_path / "notify.yml"
    playbook.write_text(json.dumps([{"hosts": "localhost", "connection": "local", "gather_facts": False, "tasks": tasks}]))
    variables = {
        "chromadb_source_url": "http://192.0.2.10:8000",
        "chromadb_target_url": "http://192.0.2.20:8000",
        "chromadb_contacts": [
            {"level": 4, "name": "On call", "address": "+1 555 0100"},
            {"level": 2, "name": "Administrators", "address": "dba@example.org"},
            {"level": 1, "name": "Operations", "address": "ops@example.org"},
        ],
        "chromadb_notify_webhooks": [
            {"url": "http://127.0.0.1:%d/hook" % server.server_address[1], "key": "content", "headers": {"X-Token": "t"}, "fields": {"channel": "c"}},
            {"url": dead},
        ],
        "notify_delay_seconds": 0,
    }
    output = play(playbook, "-i", "localhost,", variables=variables)
    server.shutdown()
    server.server_close()
    assert output.count("1 of 2 webhooks did not take the message") == len(EVENTS), output
    assert "secret-path" not in output
    assert len(received) == len(EVENTS)
    for message, parts in zip(received, EXPECTED):
        assert (message["channel"], message["token"]) == ("c", "t")
        assert message["content"].startswith("ChromaDB migration: ")
        for part in parts:
            assert part in message["content"]
    assert "On call" not in received[-1]["content"]
