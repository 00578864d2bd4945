# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Environments with real Chroma servers of each version, kept in a cache outside the checkout.

The current release is the one that is installed beside the running tests. Every older one gets a virtual environment
of its own, once a machine; installing needs a package index, and 0.3.29 a C++ compiler and Python 3.11.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

CURRENT = "current"

# Beside chromadb itself: what the old releases never pinned, and what broke them since.
PINS: dict[str, tuple[str, ...]] = {
    "0.3.29": ("chromadb==0.3.29", "numpy<2", "duckdb==0.8.1", "pandas==2.0.3", "posthog<6"),
    "0.4.24": ("chromadb==0.4.24", "numpy<2", "fastapi==0.115.9", "posthog<6"),
    "0.5.23": ("chromadb==0.5.23", "numpy<2", "fastapi==0.115.9", "posthog<6"),
    "0.6.3": ("chromadb==0.6.3", "numpy<2", "fastapi==0.115.9", "posthog<6"),
    "1.0.21": ("chromadb==1.0.21",),
}
VERSIONS = (*PINS, CURRENT)


def cache_directory() -> Path:
    """Where the test suites keep what is expensive to make and the same in every run."""
    base = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    return Path(base) / "infrafabric-chromadb"


def environment(version: str) -> Path:
    """The virtual environment that holds this version; made now if it is not there yet."""
    if version == CURRENT:
        return Path(sys.prefix)
    place = cache_directory() / "servers" / version
    place.parent.mkdir(parents=True, exist_ok=True)
    with _locked(place.with_suffix(".lock")):
        stamp = place / ".complete"
        wanted = "\n".join(PINS[version])
        if not (stamp.is_file() and stamp.read_text() == wanted):
            shutil.rmtree(place, ignore_errors=True)
            _install(place, PINS[version])
            stamp.write_text(wanted)
    return place


def _install(place: Path, requirements: tuple[str, ...]) -> None:
    python = shutil.which("python3.11") or sys.executable
    uv = _uv(python)
    _run([uv, "venv", "--quiet", "--python", python, str(place)])
    _run([uv, "pip", "install", "--quiet", "--python", str(place / "bin/python"), *requirements])


def _uv(python: str) -> str:
    """The installer: seconds where pip takes a minute, and what it built once (hnswlib of 0.3.29) it keeps."""
    found = shutil.which("uv")
    if found:
        return found
    place = cache_directory() / "uv"
    with _locked(place.with_suffix(".lock")):
        if not (place / ".complete").is_file():
            shutil.rmtree(place, ignore_errors=True)
            _run([python, "-m", "venv", str(place)])
            _run([str(place / "bin/python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "uv"])
            (place / ".complete").touch()
    return str(place / "bin/uv")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if done.returncode:
        raise RuntimeError("%s failed:\n%s" % (" ".join(command), done.stdout[-4000:]))


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Several test processes may want the same environment at once; the first makes it."""
    with path.open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


if __name__ == "__main__":
    for name in sys.argv[1:] or list(PINS):
        print(name, environment(name), flush=True)
