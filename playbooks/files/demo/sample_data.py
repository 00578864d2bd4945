# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real English text, embedded without a model: the records of the demonstration, and of tests that want real data.

The text is cut from the documentation that the installed Python packages carry (long descriptions, Markdown and
reStructuredText files, docstrings), in a fixed order: the same environment always gives the same records.

    python sample_data.py load --url http://127.0.0.1:8001     fill a server with the six collections of the demonstration
    python sample_data.py damage --url http://127.0.0.1:8002   change, delete and add behind the back of a migrated server
    python sample_data.py show --count 3                       look at some records
"""

from __future__ import annotations

import argparse
import base64
import itertools
import json
import re
import sys
import sysconfig
import zlib
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Union

import numpy as np
import requests

Metadata = dict[str, Union[str, int, float, bool]]

DIMENSION = 384
CHUNK_CHARACTERS = 500
BATCH_SIZE = 1000

# The six collections of the original system; the sizes add up to its 9,832 records.
COLLECTION_SIZES = {
    "openwebui_core": 3000,
    "openwebui_docs": 2100,
    "openwebui_functions": 1200,
    "openwebui_pipelines": 1000,
    "openwebui_pain_points": 1700,
    "openwebui_careers": 832,
}

# Of every hundred records so many name their type themselves; the others are routed by the last rule.
TYPES_OF_A_HUNDRED = {"personality": 10, "rhetorical": 5, "humor": 8, "corpus": 20}

TITLES = ("Übersicht", "café notes", "日本語の手引き", "наука", "naïve façade", "emoji 🧭 guide")


@dataclass(frozen=True)
class Record:
    """One record in the old style of metadata. The vector has DIMENSION float32 numbers and length 1."""

    id: str
    document: str
    metadata: Metadata
    embedding: np.ndarray


# --- text ---------------------------------------------------------------------------------------------------------

DOCSTRING = re.compile(r"[rRuU]?(\"{3}|'{3})(.*?)\1", re.DOTALL)
MARKUP = re.compile(r"<[^<>]{1,300}>|!?\[[^\[\]]*\]\(https?:[^()]*\)|https?://\S+")
SPACES = re.compile(r"\s+")
LETTERS = re.compile(r"[A-Za-z]{2,}")
DOCUMENTED_PACKAGES = ("ansible", "chromadb", "numpy", "pydantic", "huggingface_hub", "opentelemetry", "pip", "setuptools", "rich", "click")


def _site_packages() -> Path:
    return Path(sysconfig.get_paths()["purelib"])


def _text_files(root: Path) -> Iterator[Path]:
    """Long descriptions first, then written documents, then modules with docstrings; each sorted by path."""
    for pattern in ("*.dist-info/METADATA", "**/*.md", "**/*.rst"):
        yield from sorted(root.glob(pattern))
    for package in DOCUMENTED_PACKAGES:
        yield from sorted((root / package).glob("**/*.py"))


def _prose(path: Path) -> str:
    """The English of one file; of METADATA only the description, of a module only its docstrings."""
    text = path.read_text(encoding="utf-8", errors="replace")
    if path.name == "METADATA":
        text = text.partition("\n\n")[2]
    elif path.suffix == ".py":
        text = "\n".join(match.group(2) for match in DOCSTRING.finditer(text) if len(match.group(2)) > CHUNK_CHARACTERS)
    return SPACES.sub(" ", MARKUP.sub(" ", text)).strip()


def _chunks(text: str, skip: int) -> Iterator[str]:
    """Pieces of about CHUNK_CHARACTERS, ended at a space, that are mostly words."""
    start = skip
    while len(text) - start >= CHUNK_CHARACTERS // 2:
        end = text.rfind(" ", start + CHUNK_CHARACTERS // 2, start + CHUNK_CHARACTERS)
        if end < 0:
            end = start + CHUNK_CHARACTERS
        piece = text[start:end].strip()
        if sum(map(len, LETTERS.findall(piece))) >= 0.6 * len(piece):
            yield piece
        start = end


def sample_texts() -> Iterator[tuple[str, int, str]]:
    """Without end: (file, offset in pieces, text), no text twice.

    When every file has been cut once the cutting starts again, shifted, so that any number can be had.
    """
    root = _site_packages()
    seen: set[int] = set()
    for turn in itertools.count():
        before = len(seen)
        for path in _text_files(root):
            for number, piece in enumerate(_chunks(_prose(path), skip=turn * 37)):
                if hash(piece) not in seen:
                    seen.add(hash(piece))
                    yield path.relative_to(root).as_posix(), number, piece
        if len(seen) == before:
            raise RuntimeError(f"The packages in {root} hold no more than {before} different texts. Install more of them there (make setup).")


# --- vectors ------------------------------------------------------------------------------------------------------

WORD = re.compile(r"\w+")


@lru_cache(maxsize=200_000)
def _word_feature(word: str) -> tuple[int, float]:
    digest = zlib.crc32(word.encode())
    return digest % DIMENSION, 2.0 if digest & 0x10000 else -2.0


def embed(text: str) -> np.ndarray:
    """Feature hashing of words and of character 4-grams: (DIMENSION,) float32 of length 1. Similar texts are near."""
    lowered = text.lower()
    totals = np.zeros(DIMENSION)
    for word in WORD.findall(lowered):
        place, weight = _word_feature(word)
        totals[place] += weight
    octets = np.frombuffer(lowered.encode(), dtype=np.uint8).astype(np.uint32)
    if octets.size >= 4:
        grams = octets[:-3] | octets[1:-2] << 8 | octets[2:-1] << 16 | octets[3:] << 24
        digests = (grams * np.uint32(2654435761)) >> np.uint32(8)
        signs = np.where(digests & np.uint32(0x1000), 0.5, -0.5)
        totals += np.bincount(digests % DIMENSION, weights=signs, minlength=DIMENSION)
    length = float(np.sqrt(np.dot(totals, totals)))
    if length == 0.0:
        totals[0] = length = 1.0
    return (totals / length).astype(np.float32)


# --- records ------------------------------------------------------------------------------------------------------


def _old_metadata(position: int, file: str, piece: int) -> Metadata:
    """What such systems carried: a source, a place in it, and now and then a type, an author, a foreign title."""
    metadata: Metadata = {"source": file.split("/")[0], "source_file": file, "source_line": piece, "chunk_index": position}
    share = position % 100
    for collection_type, size in TYPES_OF_A_HUNDRED.items():
        if share < size:
            metadata["collection_type"] = collection_type
            break
        share -= size
    if position % 7 == 0:
        metadata["title"] = TITLES[position // 7 % len(TITLES)]
    if position % 11 == 0:
        metadata["relevance"] = round((position % 97) / 97, 4)
        metadata["reviewed"] = position % 2 == 0
    return metadata


def sample_records(count: int, prefix: str = "record") -> Iterator[Record]:
    """`count` records, always the same ones in the same environment; ids are `PREFIX-000000` and so on."""
    for position, (file, piece, text) in enumerate(itertools.islice(sample_texts(), count)):
        yield Record(f"{prefix}-{position:06d}", text, _old_metadata(position, file, piece), embed(text))


# --- a server -----------------------------------------------------------------------------------------------------


class DemoServer:
    """The few requests that this script needs, in plain HTTP, independent of the collection's own engine."""

    def __init__(self, url: str) -> None:
        self.base = f"{url.rstrip('/')}/api/v2/tenants/default_tenant/databases/default_database/collections"
        self.session = requests.Session()

    def request(self, method: str, path: str, body: Any = None) -> Any:
        answer = self.session.request(method, self.base + path, json=body, timeout=120)
        if not answer.ok:
            raise SystemExit(f"{method} {self.base}{path} answered {answer.status_code}: {answer.text[:300]}")
        return answer.json()

    def collections(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.request("GET", "?limit=1000")
        return sorted(found, key=lambda collection: str(collection["name"]))

    def create(self, name: str, space: str) -> str:
        collection = self.request("POST", "", {"name": name, "configuration": {"hnsw": {"space": space}}})
        return str(collection["id"])

    def add(self, collection_id: str, records: Iterable[Record]) -> int:
        """The next batch is made while the server takes one."""
        source = iter(records)
        written = 0
        with ThreadPoolExecutor(max_workers=1) as sender:
            sent: list[Future[Any]] = []
            while batch := list(itertools.islice(source, BATCH_SIZE)):
                body = {
                    "ids": [record.id for record in batch],
                    "documents": [record.document for record in batch],
                    "metadatas": [record.metadata for record in batch],
                    "embeddings": [base64.b64encode(record.embedding.astype("<f4").tobytes()).decode() for record in batch],
                }
                for request in sent:
                    request.result()
                sent = [sender.submit(self.request, "POST", f"/{collection_id}/add", body)]
                written += len(batch)
            for request in sent:
                request.result()
        return written


def load(url: str, fraction: float = 1.0) -> dict[str, int]:
    """Fill an empty server with the six collections; a fraction of 0.1 takes a tenth of each."""
    server = DemoServer(url)
    counts: dict[str, int] = {}
    records = sample_records(sum(COLLECTION_SIZES.values()))
    for name, size in COLLECTION_SIZES.items():
        wanted = max(1, round(size * fraction))
        prefix = name.removeprefix("openwebui_")
        renamed = (Record(f"{prefix}-{number:06d}", record.document, record.metadata, record.embedding)
                   for number, record in enumerate(itertools.islice(records, wanted)))
        counts[name] = server.add(server.create(name, "cosine"), renamed)
    return counts


def damage(url: str) -> dict[str, int]:
    """What an accident leaves behind: changed documents, deleted records, a collection that nobody knows."""
    server = DemoServer(url)
    done = {"documents_changed": 0, "records_deleted": 0, "collections_added": 0}
    for collection in server.collections():
        path = f"/{collection['id']}"
        ids = sorted(server.request("POST", f"{path}/get", {"limit": 500, "include": []})["ids"])
        changed, deleted = ids[:40], ids[40:65]
        if changed:
            server.request("POST", f"{path}/update", {"ids": changed, "documents": ["overwritten by accident"] * len(changed)})
        if deleted:
            server.request("POST", f"{path}/delete", {"ids": deleted})
        done["documents_changed"] += len(changed)
        done["records_deleted"] += len(deleted)
    server.add(server.create("made_by_accident", "l2"), sample_records(10, prefix="stray"))
    done["collections_added"] = 1
    return done


def queries() -> list[dict[str, Any]]:
    """Questions for the validation: the vectors of texts that no record holds exactly."""
    texts = ("how do I install the package with pip", "configure the logging of a web server", "return an array of the given shape and type",
             "connect to a database with a token", "validate the type of an argument")
    return [{"embedding": [float(number) for number in embed(text)]} for text in texts]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Records of real text for the demonstration.")
    commands = parser.add_subparsers(dest="command", required=True)
    for name, words in (("load", "fill a server with the six collections"), ("damage", "spoil a migrated server")):
        command = commands.add_parser(name, help=words)
        command.add_argument("--url", required=True, help="the server, such as http://127.0.0.1:8000")
        if name == "load":
            command.add_argument("--fraction", type=float, default=1.0, help="load only this share of each collection")
            command.add_argument("--queries", type=Path, help="write queries for the validation into this file")
    commands.add_parser("show", help="print records").add_argument("--count", type=int, default=3)
    options = parser.parse_args(arguments)

    if options.command == "load":
        if options.queries:
            options.queries.write_text(json.dumps(queries()), encoding="utf-8")
        print(json.dumps(load(options.url, options.fraction)))
    elif options.command == "damage":
        print(json.dumps(damage(options.url)))
    else:
        for record in sample_records(options.count):
            print(record.id, json.dumps(record.metadata, ensure_ascii=False), record.document, sep="\n", end="\n\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
