# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""How many different ids there are among very many, by their hashes: quick, in little memory, and now and then too few by one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from .._files import disk_errors
from .._libraries import np

if TYPE_CHECKING:
    from numpy.typing import NDArray

# So many hashes are kept in memory, and looked at together.
AT_ONCE = 1 << 18


class DistinctIds:
    """The hashes lie in a temporary file once they are many. Python's hashes differ from one process to the next."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=8 * AT_ONCE)  # noqa: SIM115 - it goes with this object
        self._added = 0

    def add(self, ids: Sequence[str]) -> None:
        """DiskError when the temporary file cannot be written."""
        with disk_errors("a temporary file for many records", "write"):
            self._file.write(np.fromiter(map(hash, ids), dtype=np.int64, count=len(ids)).tobytes())
        self._added += len(ids)

    def count(self) -> int:
        """Each turn looks at the hashes with one remainder, which are about as many as may be kept at once."""
        turns = -(-self._added // AT_ONCE) or 1
        return sum(len(np.unique(np.concatenate([part[part % turns == turn] for part in self._parts()]))) for turn in range(turns)) if self._added else 0

    def _parts(self) -> Iterator[NDArray[np.int64]]:
        with disk_errors("a temporary file for many records", "read"):
            self._file.seek(0)
            while content := self._file.read(8 * AT_ONCE):
                yield np.frombuffer(content, dtype=np.int64)

    def close(self) -> None:
        self._file.close()
