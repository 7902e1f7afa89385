"""Training data as rows, and which rows a step reads: a function of its number alone, so that a run resumes exactly."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import InvalidSetting
from ownlm.train.batch import IGNORED, Row, TrainBatch, collate
from ownlm.train.data import manifest as manifests
from ownlm.train.data.shards import open_shards


class Rows(Protocol):
    """Rows of one length, by number."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int, /) -> Row: ...


class TokenRows:
    """Windows of ``length`` tokens over a split of token shards; the last, shorter one of a file is left out.

    A document ends with the separator, which is learnt too; the next begins a sequence of its own.
    """

    def __init__(self, folder: Path, split: str, length: int) -> None:
        self.manifest = manifests.load(folder)
        self._files = open_shards(folder, self.manifest, split)
        self._length = length
        counts = [max(0, (len(ids) - 1) // length) for ids in self._files]
        self._ends = np.cumsum(counts, dtype=np.int64)
        if not counts or not self._ends[-1]:
            tokens = self.manifest.tokens(split)
            raise InvalidSetting(
                "length",
                length,
                f"{folder} has {tokens} tokens in its part {split!r}, less than one row of that length",
            )

    def __len__(self) -> int:
        return int(self._ends[-1])

    def __getitem__(self, index: int) -> Row:
        file = int(np.searchsorted(self._ends, index, side="right"))
        at = (index - (int(self._ends[file - 1]) if file else 0)) * self._length
        window = self._files[file][at : at + self._length + 1].astype(np.int64)
        ids, targets = window[:-1], window[1:].copy()
        ended = ids == self.manifest.separator
        targets[ended] = IGNORED  # what follows is another document
        starts = np.flatnonzero(ended[:-1]) + 1
        return Row(ids, targets, (0, *starts.tolist()))


@dataclass(frozen=True, slots=True)
class Feed:
    """Which rows make up which step. Each epoch is a new order of all rows; a step may reach over its end.

    ``batch`` rows a step, of which each of ``world`` processes computes an equal share, ``micro`` rows at a time.
    """

    rows: Rows
    batch: int
    micro: int
    seed: int
    world: int = 1
    rank: int = 0

    def __post_init__(self) -> None:
        if not len(self.rows):
            raise InvalidSetting("data", "no rows", "give data with at least one example")
        if self.batch % self.world:
            raise InvalidSetting(
                "batch", self.batch, f"give a number of rows that {self.world} processes share equally"
            )

    def numbers(self, step: int) -> NDArray[np.int64]:
        """The rows of this process in a step."""
        share = self.batch // self.world
        first = step * self.batch + self.rank * share
        places = np.arange(first, first + share, dtype=np.int64)
        epochs = places // len(self.rows)
        found = np.empty(share, np.int64)
        for epoch in np.unique(epochs).tolist():
            here = epochs == epoch
            order = _order(self.seed, epoch, len(self.rows))
            found[here] = order[places[here] % len(self.rows)]
        return found

    def batches(self, step: int) -> list[TrainBatch]:
        """The parts of a step, of ``micro`` rows at most."""
        numbers = self.numbers(step)
        parts = [numbers[at : at + self.micro] for at in range(0, len(numbers), self.micro)]
        return [collate([self.rows[int(number)] for number in part]) for part in parts]


def in_order(rows: Rows, micro: int, limit: int | None = None) -> Iterator[TrainBatch]:
    """Batches of the first ``limit`` rows, as they lie: for measuring."""
    count = len(rows) if limit is None else min(limit, len(rows))
    for at in range(0, count, micro):
        yield collate([rows[index] for index in range(at, min(count, at + micro))])


@lru_cache(maxsize=2)
def _order(seed: int, epoch: int, count: int) -> NDArray[np.int64]:
    return np.random.default_rng([seed, epoch]).permutation(count)
