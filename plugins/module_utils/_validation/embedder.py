# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Turns texts into vectors by the model that the user names: a command, or a service over HTTP. Both speak the same JSON, batch by batch.

Asked     {"model": NAME, "input": [TEXT, ...]}          without "model" where none is named
Answered  {"embeddings": [[NUMBER, ...], ...]}           one vector a text, in the same order
      or  {"data": [{"index": 0, "embedding": [...]}]}   by index
"""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from .._endpoint import Endpoint, normalized_url
from .._errors import InvalidDataError, TimeoutExceededError, UsageError
from .._libraries import np
from .._server.http import HttpClient

if TYPE_CHECKING:
    from numpy.typing import NDArray

SHOWN_CHARACTERS = 300


@dataclass(frozen=True)
class Embedder:
    """Either `command`, the words of a program that reads the question on its standard input and answers on its output, or `url`, which is posted to.

    timeout  seconds for one batch
    """

    command: tuple[str, ...] = ()
    url: str = ""
    model: str | None = None
    batch_size: int = 32
    timeout: float = 60.0
    headers: Mapping[str, str] | None = field(default=None, repr=False)
    validate_certs: bool = True
    ca_path: str | None = None

    @property
    def name(self) -> str:
        return self.url or f"The command {self.command[0]}"

    def embed(self, texts: Sequence[str]) -> list[NDArray[np.float32]]:
        """The vector of each text, all of one length; InvalidDataError says what is wrong with an answer."""
        vectors: list[NDArray[np.float32]] = []
        for start in range(0, len(texts), self.batch_size):
            batch = list(texts[start : start + self.batch_size])
            question: dict[str, Any] = {"input": batch} if self.model is None else {"model": self.model, "input": batch}
            vectors += self._vectors(self._answer(question), len(batch))
        lengths = sorted({len(vector) for vector in vectors})
        if len(lengths) > 1:
            raise InvalidDataError(f"{self.name} gives vectors of different lengths, {lengths[0]} and {lengths[-1]} numbers. Name one model.")
        return vectors

    def _answer(self, question: Mapping[str, Any]) -> Any:
        if self.command:
            return self._run(json.dumps(question).encode("ascii"))
        client = HttpClient(
            Endpoint(self.url, headers=self.headers, validate_certs=self.validate_certs, ca_path=self.ca_path, timeout=self.timeout, retries=1)
        )
        try:
            return client.call("POST", "", question)
        finally:
            client.close()

    def _run(self, question: bytes) -> Any:
        """Without a shell, in a process group of its own, so that nothing of it is left when it takes too long."""
        try:
            process = subprocess.Popen(
                self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
            )
        except OSError as error:
            raise UsageError(f"embedder.command: {self.command[0]!r} cannot be started: {error.strerror or error}. It must be there on this host.") from None
        try:
            answer, complaint = process.communicate(question, self.timeout)
        except subprocess.TimeoutExpired:
            raise TimeoutExceededError(
                f"{self.name} took longer than {self.timeout:g} s for {len(json.loads(question)['input'])} texts. Raise embedder.timeout, or lower batch_size."
            ) from None
        finally:
            if process.returncode is None:
                os.killpg(process.pid, signal.SIGKILL)
                process.communicate()
        if process.returncode:
            words = " ".join(complaint.decode("utf-8", "replace").split())[-SHOWN_CHARACTERS:]
            raise InvalidDataError(f"{self.name} ended with {process.returncode} and gave no vectors: {words or 'it said nothing'}.")
        try:
            return json.loads(answer)
        except (ValueError, RecursionError):
            words = " ".join(answer[:SHOWN_CHARACTERS].decode("utf-8", "replace").split())
            raise InvalidDataError(f"{self.name} does not answer with JSON but with {words!r}. Nothing else may go to its standard output.") from None

    def _vectors(self, answer: Any, expected: int) -> list[NDArray[np.float32]]:
        try:
            if "embeddings" in answer:
                rows = answer["embeddings"]
            else:
                rows = [entry["embedding"] for entry in sorted(answer["data"], key=lambda entry: int(entry["index"]))]
            vectors = [np.asarray(row, dtype="<f4") for row in rows]
        except (KeyError, TypeError, ValueError, OverflowError):
            raise InvalidDataError(f'{self.name} answers with JSON that has neither "embeddings" nor "data" as lists of vectors.') from None
        if len(vectors) != expected:
            raise InvalidDataError(f"{self.name} gives {len(vectors)} vectors for {expected} texts.")
        if any(vector.ndim != 1 or not len(vector) or not np.isfinite(vector).all() for vector in vectors):
            raise InvalidDataError(f"{self.name} gives something that is no list of finite numbers as a vector.")
        return vectors


def parse_embedder(options: Mapping[str, Any] | None) -> Embedder | None:
    """The user's embedder, None without one; UsageError names what cannot be right."""
    given = {name: value for name, value in (options or {}).items() if value is not None}
    if not given.get("command") and not given.get("url"):
        return None
    if given.get("command") and given.get("url"):
        raise UsageError("embedder: both command and url are given; name one of them.")
    for name, least in (("batch_size", 1), ("timeout", 0.001)):
        value = given.get(name, least)
        if not math.isfinite(value) or value < least:
            raise UsageError(f"embedder.{name}: must be more than 0, not {value}.")
    if given.get("ca_path") and not os.path.exists(given["ca_path"]):
        raise UsageError(f"embedder.ca_path: {given['ca_path']} does not exist.")
    if given.get("url"):
        try:
            given["url"] = normalized_url(given["url"])
        except UsageError as error:
            raise UsageError(f"embedder.url: {error.message}") from None
    if given.get("command"):
        given["command"] = tuple(map(str, given["command"]))
    return Embedder(**given)
