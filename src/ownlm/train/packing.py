"""Examples of unequal length packed into rows, so that no computing is spent on padding.

    examples     aaaa bb ccc d
    row 0        aaaa bb          (two sequences: neither sees the other)
    row 1        ccc d

In shuffled order, each example goes into the first of the open rows that has room (first fit); few rows are open at a
time, so that neighbours in a row are random.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import InvalidSetting
from ownlm.train.batch import Row

OPEN = 32


class Sequences(Protocol):
    """Examples, each one sequence, with their lengths in tokens."""

    @property
    def lengths(self) -> NDArray[np.integer] | Sequence[int]: ...

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Row: ...


class PackedRows:
    """Rows of at most ``length`` tokens. Every example is in exactly one of them."""

    def __init__(self, examples: Sequences, length: int, seed: int = 0) -> None:
        self._examples = examples
        lengths = np.asarray(examples.lengths, np.int64)
        longest = int(lengths.max(initial=0))
        if longest > length:
            raise InvalidSetting("length", length, f"the longest example has {longest} tokens: give at least as many")
        self.members = packed(lengths, length, seed)

    def __len__(self) -> int:
        return len(self.members)

    def __getitem__(self, index: int) -> Row:
        rows = [self._examples[number] for number in self.members[index]]
        begins = np.cumsum([0, *(len(row.ids) for row in rows)])
        starts = tuple(int(begin) + at for begin, row in zip(begins, rows, strict=False) for at in row.starts)
        return Row(np.concatenate([row.ids for row in rows]), np.concatenate([row.targets for row in rows]), starts)


def packed(lengths: NDArray[np.int64], length: int, seed: int) -> list[list[int]]:
    """Which examples make up each row.

    >>> sorted(map(sorted, packed(np.array([4, 2, 3, 1]), 6, 1)))
    [[0, 1], [2, 3]]
    """
    order = np.random.default_rng(seed).permutation(len(lengths))
    done: list[list[int]] = []
    rows: list[list[int]] = []
    room: list[int] = []
    for number in order.tolist():
        size = int(lengths[number])
        place = next((at for at, free in enumerate(room) if free >= size), None)
        if place is None:
            if len(rows) == OPEN:
                fullest = min(range(OPEN), key=room.__getitem__)
                done.append(rows.pop(fullest))
                room.pop(fullest)
            rows.append([])
            room.append(length)
            place = len(rows) - 1
        rows[place].append(number)
        room[place] -= size
    return done + rows
