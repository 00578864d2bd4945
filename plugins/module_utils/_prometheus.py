# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Figures in Prometheus' text format, for the textfile collector of node_exporter."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from ._errors import DiskError, UsageError
from ._files import atomic_write

READABLE_BY_ALL = 0o644  # node_exporter is another user


@dataclass
class Metric:
    """A gauge or a counter: its name, what it is, and its value for each set of labels; a value of None is left out."""

    name: str
    help: str
    kind: str = "gauge"
    samples: list[tuple[Mapping[str, str], float | None]] = field(default_factory=list)

    def add(self, value: float | None, **labels: str) -> Metric:
        self.samples.append((labels, value))
        return self


def check_textfile(path: str) -> None:
    """Known before the long work: UsageError for a name that node_exporter does not read, DiskError for a place that takes no files."""
    directory = os.path.dirname(path)
    if not path.endswith(".prom"):
        raise UsageError(f"textfile: {path} does not end in .prom, and node_exporter reads nothing else.", path=path)
    if not os.path.isdir(directory):
        raise DiskError(f"textfile: the directory {directory} does not exist. Name the one that node_exporter was given.", path=path)
    if not os.access(directory, os.W_OK | os.X_OK):
        raise DiskError(f"textfile: {directory} cannot be written by this user. Change its owner or mode, or name another one.", path=path)


def write_textfile(path: str, metrics: Sequence[Metric]) -> None:
    """Replace the file as a whole: node_exporter reads the figures of one moment, and none of a file with an escape that it does not know."""
    atomic_write(path, rendered(metrics).encode("utf-8", "replace"), READABLE_BY_ALL)


def rendered(metrics: Sequence[Metric]) -> str:
    lines = []
    for metric in metrics:
        samples = [(labels, value) for labels, value in metric.samples if value is not None]
        if samples:
            lines += [f"# HELP {metric.name} {_escaped(metric.help)}", f"# TYPE {metric.name} {metric.kind}"]
            lines += [f"{metric.name}{_labels(labels)} {value:.10g}" for labels, value in samples]
    return "\n".join(lines) + "\n"


def _labels(labels: Mapping[str, str]) -> str:
    shown = ",".join('{}="{}"'.format(name, _escaped(value).replace('"', '\\"')) for name, value in labels.items())
    return f"{{{shown}}}" if shown else ""


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace("\n", "\\n")
