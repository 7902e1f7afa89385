"""What a training step is given: sequences one after another, without padding between them.

    sequence     a document (5 tokens)       b (3)
    ids          a0 a1 a2 a3 a4              b0 b1 b2
    positions    0  1  2  3  4               0  1  2
    cu_seqlens   0                           5          8
    targets      a1 a2 a3 a4 -100            b1 b2 -100

A token sees its own sequence up to itself. ``targets`` say what follows; -100 where nothing is to be learnt.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

IGNORED = -100


@dataclass(frozen=True, slots=True)
class Row:
    """Sequences that fill one row: ids and targets int [L], and where each sequence begins, from 0.

    ``reference`` is what a reference model gives each, the logarithm of the probability of what is to be learnt, for
    losses that compare with one; empty for others.
    """

    ids: NDArray[np.int64]
    targets: NDArray[np.int64]
    starts: tuple[int, ...] = (0,)
    reference: tuple[float, ...] = ()


@dataclass(frozen=True, slots=True)
class Run:
    """``count`` neighbouring sequences of equal ``length``, the first of which begins at ``start``."""

    start: int
    length: int
    count: int


@dataclass(slots=True)
class TrainBatch:
    """See above. int64 [T]; ``runs`` are the sequences, ``documents`` [T] the number of each token's."""

    ids: Tensor
    positions: Tensor
    targets: Tensor
    documents: Tensor
    runs: tuple[Run, ...]
    rotations: dict[int, tuple[Tensor, Tensor]] = field(default_factory=dict)
    mask: Any = None
    """The block mask of a GPU's attention; made with the batch."""
    reference: Tensor | None = None
    """float32 [sequences]: see ``Row``."""

    def to(self, device: torch.device) -> TrainBatch:
        """The same on another device."""
        moved = {name: getattr(self, name).to(device) for name in ("ids", "positions", "targets", "documents")}
        reference = None if self.reference is None else self.reference.to(device)
        return replace(self, **moved, reference=reference)


def collate(rows: Sequence[Row]) -> TrainBatch:
    """Rows as one batch."""
    lengths: list[int] = []
    for row in rows:
        lengths += np.diff([*row.starts, len(row.ids)]).tolist()
    reference = [value for row in rows for value in row.reference]
    positions = np.concatenate([np.arange(length) for length in lengths])
    documents = np.repeat(np.arange(len(lengths)), lengths)
    return TrainBatch(
        ids=torch.from_numpy(np.concatenate([row.ids for row in rows]).astype(np.int64)),
        positions=torch.from_numpy(positions),
        targets=torch.from_numpy(np.concatenate([row.targets for row in rows]).astype(np.int64)),
        documents=torch.from_numpy(documents),
        runs=_runs(lengths),
        reference=torch.tensor(reference, dtype=torch.float32) if len(reference) == len(lengths) else None,
    )


def _runs(lengths: Sequence[int]) -> tuple[Run, ...]:
    found: list[Run] = []
    start = 0
    for length in lengths:
        if found and found[-1].length == length:
            found[-1] = replace(found[-1], count=found[-1].count + 1)
        else:
            found.append(Run(start, length, 1))
        start += length
    return tuple(found)
