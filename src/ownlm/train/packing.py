"""Examples packed into rows of at most a length, so that little is computed for nothing; none sees another.

    examples     aaaa bb ccc d
    row 0        aaaa bb          (two sequences: neither sees the other)
    row 1        ccc d

Best fit, longest first (Johnson 1974): each example goes into the row that it fills best; chance decides between
examples of one length.
"""

from __future__ import annotations

import bisect
from collections import defaultdict
from collections.abc import Sequence
from itertools import chain
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import InvalidSetting
from ownlm.train.batch import IGNORED, Row


class Texts(Protocol):
    """Rows of one example each, by number, and how many tokens each has."""

    @property
    def lengths(self) -> NDArray[np.int64]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Row: ...


class PackedRows:
    """Rows of at most ``length`` tokens; every example is in one of them. Raises InvalidSetting if one is longer.

    ``full``: what a row lacks is filled with tokens of which nothing is learnt: rows of one shape, for compilers.
    """

    def __init__(self, examples: Texts, length: int, *, full: bool = False, seed: int = 0) -> None:
        lengths = np.asarray(examples.lengths, np.int64)
        longest = int(lengths.max(initial=0))
        if longest > length:
            raise InvalidSetting("length", length, f"the longest example has {longest} tokens: give at least as many")
        self._examples, self._length, self._full = examples, length, full
        self._rows = pack(lengths, length, seed)

    def __len__(self) -> int:
        return len(self._rows)

    def __getitem__(self, index: int) -> Row:
        return joined([self._examples[number] for number in self._rows[index]], self._length if self._full else 0)


def pack(lengths: NDArray[np.int64], room: int, seed: int = 0) -> list[list[int]]:
    """Which examples share a row of ``room`` tokens.

    >>> pack(np.array([5, 3, 4, 2, 6]), 8)
    [[4, 3], [0, 1], [2]]
    """
    mixed = np.random.default_rng(seed).permutation(len(lengths))
    order = mixed[np.argsort(-lengths[mixed], kind="stable")]
    rows: list[list[int]] = []
    open_by_space = defaultdict[int, list[int]](list)
    spaces: list[int] = []  # those of which there are rows, sorted
    for number in order.tolist():
        size = int(lengths[number])
        at = bisect.bisect_left(spaces, size)
        if at < len(spaces):
            space = spaces[at]
            row = open_by_space[space].pop()
            if not open_by_space[space]:
                spaces.pop(at)
        else:
            space, row = room, len(rows)
            rows.append([])
        rows[row].append(number)
        left = space - size
        if left > 0:
            if not open_by_space[left]:
                bisect.insort(spaces, left)
            open_by_space[left].append(row)
    return rows


def joined(rows: Sequence[Row], length: int = 0) -> Row:
    """Rows one after another as one; with a ``length``, filled up to it."""
    sizes = [len(row.ids) for row in rows]
    offsets = np.cumsum([0, *sizes]).tolist()
    starts = list(
        chain.from_iterable((at + start for start in row.starts) for at, row in zip(offsets, rows, strict=False))
    )
    ids, targets = [row.ids for row in rows], [row.targets for row in rows]
    if (missing := length - offsets[-1]) > 0:
        starts.append(offsets[-1])
        ids.append(np.zeros(missing, np.int64))
        targets.append(np.full(missing, IGNORED, np.int64))
    reference = tuple(chain.from_iterable(row.reference for row in rows))
    return Row(np.concatenate(ids), np.concatenate(targets), tuple(starts), reference)
