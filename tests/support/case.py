# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A source, a target, a store and a state directory: what a task needs, with a method for each module."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .counting_proxy import CountingProxy
from .equality import differences
from .raw import RawChroma
from .run_module import run_module

# What a validation demands of the servers' speed; on a machine that is busy with other tests it says nothing about the data.
ANY_SPEED = {"max_latency_ms": 600_000, "min_queries_per_second": 0}


class Case:
    """Two places, and the modules that work on them. `check`, `diff` and `fails` are those of `run_module`."""

    def __init__(self, source: RawChroma, target: RawChroma, directory: Path) -> None:
        self.source, self.target = source, target
        self.store, self.state = directory / "snapshots", directory / "state"
        self.store.mkdir(exist_ok=True)
        self.state.mkdir(exist_ok=True)
        self.source_address, self.target_address = source.url, target.url

    def through(self, source: CountingProxy | None = None, target: CountingProxy | None = None) -> Case:
        """From now on the modules go by way of these proxies."""
        self.source_address = source.url if source else self.source.url
        self.target_address = target.url if target else self.target.url
        return self

    @property
    def source_endpoint(self) -> dict[str, Any]:
        return dict(self.source.endpoint, url=self.source_address)

    @property
    def target_endpoint(self) -> dict[str, Any]:
        return dict(self.target.endpoint, url=self.target_address)

    def migrate(self, check: bool = False, diff: bool = False, fails: bool = False, **options: Any) -> dict[str, Any]:
        servers = {"source": self.source_endpoint, "target": self.target_endpoint, "state_directory": str(self.state)}
        return run_module("migrate", {**servers, **options}, check, diff, fails)

    def validate(self, check: bool = False, diff: bool = False, fails: bool = False, **options: Any) -> dict[str, Any]:
        servers = {"source": self.source_endpoint, "target": self.target_endpoint, "thresholds": ANY_SPEED}
        return run_module("validate", {**servers, **options}, check, diff, fails)

    def snapshot(self, check: bool = False, diff: bool = False, fails: bool = False, **options: Any) -> dict[str, Any]:
        """Of the target."""
        return run_module("snapshot", {**self.target_endpoint, "directory": str(self.store), **options}, check, diff, fails)

    def rollback(self, check: bool = False, diff: bool = False, fails: bool = False, **options: Any) -> dict[str, Any]:
        """The target."""
        return run_module("rollback", {**self.target_endpoint, "directory": str(self.store), **options}, check, diff, fails)

    def differences(self, **options: Any) -> list[str]:
        """Of the target against the source."""
        return differences(self.source, self.target, **options)
