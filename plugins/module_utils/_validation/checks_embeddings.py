# Copyright (c) 2026, InfraFabric
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
# PRIVATE to the collection infrafabric.chromadb

"""Are the vectors there, whole, and the same?"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from .._libraries import np
from .._numbers import number
from .._records.compare import EMBEDDING, ComparedBatch
from .._records.record_batch import RecordBatch
from .check import EMBEDDINGS, FAILED, NOT_APPLICABLE, PASSED, WARNING, Check, Examples, percent
from .subject import Subject
from .thresholds import Thresholds

if TYPE_CHECKING:
    from numpy.typing import NDArray

# Upper ends of the classes of relative vector error, for the picture in the report; 0 is "bit for bit".
ERROR_CLASSES = (0.0, 1e-8, 1e-7, 1e-6, 1e-5, 1e-4, 1e-3, 1e-2, 1e-1, math.inf)


class EmbeddingsCheck:
    """Watches the vectors of the target beside the expected ones."""

    def __init__(self, thresholds: Thresholds) -> None:
        self._limits = thresholds
        self._expected = self._compared = self._changed = self._missing = self._dimension = 0
        self._not_finite = self._new_not_finite = self._zero = self._new_zero = 0
        self._examples = Examples()
        self._errors = [0] * len(ERROR_CLASSES)
        self._means: dict[str, _Means] = {}

    def observe(self, subject: Subject, source: str, batch: ComparedBatch) -> None:
        expected, actual = batch.expected, batch.actual
        if expected.dimension:
            self._expected += len(expected) if expected.embedded is None else int(expected.embedded.sum())
        if not batch.rows:
            return
        left = np.fromiter(batch.rows.keys(), dtype=np.intp, count=len(batch.rows))
        right = np.fromiter(batch.rows.values(), dtype=np.intp, count=len(batch.rows))
        had = np.ones(len(left), dtype=bool) if expected.embedded is None else expected.embedded[left]
        has = np.ones(len(right), dtype=bool) if actual.embedded is None else actual.embedded[right]
        if actual.dimension == 0:
            has = np.zeros(len(right), dtype=bool)
        if expected.dimension == 0:
            had = np.zeros(len(left), dtype=bool)
        missing = had & ~has
        self._missing += self._note(subject, "missing", expected, left[missing])
        changed = {row for row, names in batch.fields.items() if EMBEDDING in names}
        self._changed += len(changed)
        both = had & has
        if expected.dimension != actual.dimension:
            wrong = left[both]
            self._dimension += self._note(subject, "dimension", expected, wrong)
            return
        left, right = left[both], right[both]
        self._compared += len(left)
        if len(left):
            relative = self._compare(subject, expected, left, expected.embeddings[left], actual.embeddings[right])
            for row, error in zip(left.tolist(), relative.tolist()) if changed else ():
                if row in changed:
                    self._examples.add(collection=subject.target, id=expected.ids[row], problem="differs", relative_error=error)

    def observe_extra(self, subject: Subject, records: RecordBatch, owned: Sequence[bool]) -> None:
        finite = np.isfinite(records.embeddings).all(axis=1)
        bad = np.flatnonzero(~finite & np.asarray(owned, dtype=bool))
        self._not_finite += len(bad)
        self._new_not_finite += self._note(subject, "not finite", records, bad)

    def check(self) -> Check:
        """The verdict. The figure is the percentage of expected vectors that are missing."""
        means = {name: means.greatest for name, means in self._means.items()}
        mean_difference = max((value for value in means.values() if value is not None), default=0.0)
        missing_percent = percent(self._missing, self._expected)
        details: dict[str, Any] = {
            "expected": self._expected,
            "compared": self._compared,
            "missing": self._missing,
            "changed": self._changed,
            "wrong_dimension": self._dimension,
            "not_finite": self._not_finite,
            "zero": self._zero,
            "became_zero": self._new_zero,
            "max_mean_difference": mean_difference,
            "max_mean_difference_allowed": self._limits.max_mean_difference,
            "mean_differences": means,
            "error_classes": [{"up_to": None if math.isinf(top) else top, "records": count} for top, count in zip(ERROR_CLASSES, self._errors)],
            "examples": self._examples.kept,
        }
        threshold = self._limits.max_missing_embeddings_percent

        def verdict(status: str, summary: str) -> Check:
            return Check(EMBEDDINGS, status, missing_percent, threshold, "% missing", summary, details)

        faults = []
        if self._missing:
            faults.append(f"{number(self._missing, 'vector')} missing ({missing_percent:.2f} %)")
        if self._dimension:
            faults.append(f"{number(self._dimension, 'vector')} of another dimension")
        if self._new_not_finite:
            faults.append(f"{number(self._new_not_finite, 'vector')} became NaN or infinite")
        if percent(self._not_finite, self._expected) > 0.1 and self._not_finite > self._new_not_finite:
            faults.append(f"{number(self._not_finite, 'vector')} with NaN or infinite numbers, more than 0.1 %")
        if self._new_zero:
            faults.append(f"{number(self._new_zero, 'vector')} became zero")
        if self._changed > self._missing + self._dimension + self._new_not_finite + self._new_zero:
            faults.append(f"{number(self._changed, 'vector')} differ{'s' if self._changed == 1 else ''} from the source's")
        if faults:
            return verdict(FAILED, f"{'; '.join(faults)}.")
        if not self._expected:
            return verdict(NOT_APPLICABLE, "No vectors are expected.")
        if mean_difference > self._limits.max_mean_difference:
            return verdict(WARNING, f"The mean vector moved by {mean_difference:.4g}, more than {self._limits.max_mean_difference:g}.")
        if self._not_finite:
            return verdict(WARNING, f"{number(self._not_finite, 'vector')} with NaN or infinite numbers, in the source as well.")
        zero = f" {number(self._zero, 'zero vector')}, in the source as well." if self._zero else ""
        return verdict(PASSED, f"All {number(self._compared, 'compared vector')} are there and equal.{zero}")

    def _compare(
        self, subject: Subject, records: RecordBatch, rows: NDArray[np.intp], expected: NDArray[np.float32], actual: NDArray[np.float32]
    ) -> NDArray[np.float64]:
        """Look at vectors row by row; the relative error of each, infinite where a number is not finite."""
        finite, was_finite = np.isfinite(actual).all(axis=1), np.isfinite(expected).all(axis=1)
        self._not_finite += int((~finite).sum())
        self._new_not_finite += self._note(subject, "not finite", records, rows[~finite & was_finite])
        zero, was_zero = ~actual.any(axis=1), ~expected.any(axis=1)
        self._zero += int(zero.sum())
        self._new_zero += self._note(subject, "became zero", records, rows[zero & ~was_zero])
        usable = finite & was_finite
        wide, other = expected[usable].astype(np.float64), actual[usable].astype(np.float64)
        self._means.setdefault(subject.target, _Means()).add(wide, other)
        length = np.sqrt((wide * wide).sum(axis=1))
        error = np.abs(wide - other).max(axis=1, initial=0.0)
        relative = np.divide(error, length, out=np.where(error > 0, np.inf, 0.0), where=length > 0)
        counts = np.bincount(np.searchsorted(ERROR_CLASSES, relative, side="left"), minlength=len(ERROR_CLASSES))
        for place, count in enumerate(counts):
            self._errors[place] += int(count)
        self._errors[-1] += int((~usable).sum())
        errors = np.full(len(rows), np.inf)
        errors[usable] = relative
        return errors

    def _note(self, subject: Subject, problem: str, records: RecordBatch, rows: NDArray[np.intp]) -> int:
        for row in rows[:10]:
            self._examples.add(collection=subject.target, id=records.ids[int(row)], problem=problem)
        return len(rows)


class _Means:
    """Running sums of the vectors that both sides hold."""

    def __init__(self) -> None:
        self._sums: tuple[NDArray[np.float64], NDArray[np.float64]] | None = None
        self._count = 0

    def add(self, expected: NDArray[np.float64], actual: NDArray[np.float64]) -> None:
        if not len(expected):
            return
        sums = (expected.sum(axis=0), actual.sum(axis=0))
        if self._sums is None:
            self._sums = sums
        elif len(self._sums[0]) == len(sums[0]):
            self._sums = (self._sums[0] + sums[0], self._sums[1] + sums[1])
        self._count += len(expected)

    @property
    def greatest(self) -> float | None:
        """The greatest difference of the two mean vectors in any dimension; None without vectors."""
        if self._sums is None:
            return None
        with np.errstate(all="ignore"):
            return float(np.abs(self._sums[0] - self._sums[1]).max() / self._count)
