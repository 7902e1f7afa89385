"""Which documents are the same as an earlier one, byte for byte or nearly, in memory that does not grow with the text.

Exact: equal digests. Near: documents that share a band of their signatures are compared by their whole signatures
(locality-sensitive hashing, Indyk and Motwani 1998); like ones are joined, and of each group that hangs together the
first document stays. Both passes read the digests and bands from disk, as many at a time as memory admits; the result
does not depend on how many that are, nor on the order of the tasks.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ownlm.train.data import minhash
from ownlm.train.data.segment import Segment, Table

KEPT, EXACT, NEAR, LEFT_OUT = range(4)
"""States of a document; LEFT_OUT: its source's weight is below 1."""
LEADERS = 1000
"""In one band's group so many unlike documents are compared with the others; what is left in it is compared no more."""
AT_ONCE = 1 << 23
"""Documents looked at at once: some hundred megabytes."""
_CHUNK = 1 << 15

States = npt.NDArray[np.uint8]
Numbers = npt.NDArray[np.int64]


def mark_exact(table: Table, states: States, *, at_once: int = AT_ONCE) -> None:
    """Set EXACT for each document whose text an earlier one has."""
    for low, high in _ranges(table.documents, at_once):
        digests, numbers = [], []
        for rank, segment in enumerate(table.segments):
            found = table.mapped(rank, "rows")["digest"]
            here = np.flatnonzero((found[:, 0] >= low) & (found[:, 0] <= high))
            digests.append(found[here])
            numbers.append(here + segment.first)
        digest, number = np.concatenate(digests), np.concatenate(numbers)
        order = np.lexsort((number, digest[:, 1], digest[:, 0]))
        digest, number = digest[order], number[order]
        states[number[1:][(digest[1:] == digest[:-1]).all(axis=1)]] = EXACT


@dataclass(frozen=True, slots=True)
class Band:
    """A task: the pairs of like documents that agree in a band, of hashes from ``low`` to ``high``."""

    rank: int
    low: np.uint64
    high: np.uint64


@dataclass(frozen=True, slots=True)
class Pairs:
    """Compares the documents of a band's groups. ``states``: a file; only documents that it has as KEPT are looked at.

    Returns pairs of numbers, ``[pairs, 2]``, the earlier document first, and how many groups had too many unlike ones.
    """

    segments: Sequence[Segment]
    states: Path
    threshold: float

    def __call__(self, band: Band) -> tuple[Numbers, int]:
        table = Table(self.segments)
        states = np.load(self.states, mmap_mode="r", allow_pickle=False)
        hashes, numbers = [], []
        for rank, segment in enumerate(table.segments):
            found = table.mapped(rank, "bands")[band.rank]
            alive = states[segment.first : segment.first + segment.documents] == KEPT
            here = np.flatnonzero(alive & (found >= band.low) & (found <= band.high))
            hashes.append(found[here])
            numbers.append(here + segment.first)
        value, number = np.concatenate(hashes), np.concatenate(numbers)
        order = np.argsort(value, kind="stable")
        return self._compare(table, value[order], number[order])

    def _compare(self, table: Table, value: minhash.U64, number: Numbers) -> tuple[Numbers, int]:
        """In rounds: the first of each group is its leader; who is like it leaves with it, the others go on."""
        places = int(np.ceil(self.threshold * minhash.PLACES - 1e-9))
        pairs: list[Numbers] = []
        for _ in range(LEADERS):
            first = np.ones(len(value), bool)
            first[1:] = value[1:] != value[:-1]
            sizes = np.diff(np.append(np.flatnonzero(first), len(value)))
            leaders = np.repeat(number[first], sizes)
            follows = np.flatnonzero(~first)
            if not len(follows):
                return _joined(pairs), 0
            like = np.zeros(len(follows), bool)
            for start in range(0, len(follows), _CHUNK):
                part = follows[start : start + _CHUNK]
                same = table.gather_signs(leaders[part]) == table.gather_signs(number[part])
                like[start : start + _CHUNK] = np.count_nonzero(same, axis=1) >= places
            joined = follows[like]
            pairs.append(np.stack([leaders[joined], number[joined]], axis=1))
            rest = follows[~like]
            value, number = value[rest], number[rest]
        return _joined(pairs), int(np.count_nonzero(np.diff(value))) + 1


def bands(documents: int, *, at_once: int = AT_ONCE) -> list[Band]:
    """The tasks that look at every band of so many documents."""
    return [Band(rank, low, high) for rank in range(minhash.BANDS) for low, high in _ranges(documents, at_once)]


def grouped(pairs: Numbers) -> Numbers:
    """Every document that hangs together with an earlier one through pairs, beside the first of its group."""
    numbers, flat = np.unique(pairs, return_inverse=True)
    left, right = flat.reshape(-1, 2).T
    label = np.arange(len(numbers))
    while True:  # the least label spreads along the pairs, and jumps
        before = label.copy()
        least = np.minimum(label[left], label[right])
        np.minimum.at(label, left, least)
        np.minimum.at(label, right, least)
        label = label[label]
        if np.array_equal(label, before):
            break
    later = np.flatnonzero(label != np.arange(len(numbers)))
    return np.stack([numbers[label[later]], numbers[later]], axis=1)


def _joined(pairs: list[Numbers]) -> Numbers:
    return np.concatenate(pairs) if pairs else np.empty((0, 2), np.int64)


def _ranges(documents: int, at_once: int) -> list[tuple[Any, Any]]:
    """Ranges of 64-bit hashes, both ends included, with about so many documents each."""
    count = max(1, -(-documents // at_once))
    bounds = [(rank << 64) // count for rank in range(count + 1)]
    return [(np.uint64(low), np.uint64(high - 1)) for low, high in pairwise(bounds)]
