"""A batch's facts on the device, brought there in one copy.

Tokens are attended in one of two ways. Those of sequences with few new ones (decoding, the check of a draft) go one by
one, each with its own row of the block table and its own length, so that the shapes of a step depend on nothing but
how many tokens there are. Sequences with many new tokens (prompts) are each attended at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ownlm.model.batch import Batch

Ints = NDArray[np.int32]

FEW = 16
"""New tokens up to which a sequence's are attended one by one."""
NOWHERE = -1
"""The slot of a token that pads a step: the last of the cache, which no block of a text has."""


@dataclass(slots=True, eq=False)
class Few:
    """Tokens that are attended one by one. ``which``: their places in the batch, None for all. ``lengths`` [n]: how
    many tokens of its text each sees, itself counted; ``tables`` [n, B]."""

    which: Tensor | None
    lengths: Tensor
    tables: Tensor


@dataclass(slots=True, eq=False)
class Many:
    """The tokens from ``start`` to ``end``, the last of a sequence whose keys lie at ``slots`` [length]."""

    start: int
    end: int
    slots: Tensor


@dataclass(slots=True, eq=False)
class DeviceBatch:
    """Takes the place of ``Batch`` in a forward. ``made``: what the layers have in common, by what it is."""

    ids: Tensor
    positions: Tensor
    slots: Tensor
    rows: Tensor
    few: Few | None
    many: Sequence[Many] = ()
    made: dict[object, tuple[Tensor, ...]] = field(default_factory=dict)


class Staging:
    """Memory through which facts go to ``device``: pinned where that is a GPU. A step ends before the next one begins,
    so there is one."""

    def __init__(self, device: torch.device) -> None:
        self._device = device
        self._grow(1 << 14)

    def _grow(self, count: int) -> None:
        self._host = torch.empty(count, dtype=torch.int32, pin_memory=self._device.type == "cuda")
        self._array = self._host.numpy()

    def send(self, parts: Sequence[Ints], to: Tensor | None = None) -> Tensor:
        """The parts one after the other as one int32 vector there, in ``to`` if given."""
        count = sum(part.size for part in parts)
        if count > len(self._host):
            self._grow(2 * count)
        np.concatenate([part.ravel() for part in parts], out=self._array[:count])
        if to is None:
            to = torch.empty(count, dtype=torch.int32, device=self._device)
        return to.copy_(self._host[:count], non_blocking=True)


def few_parts(batch: Batch, tokens: int, blocks: int) -> list[Ints]:
    """The facts of a batch of few tokens, padded to ``tokens`` with tables of ``blocks``; see ``few_views``."""
    count, wanted = len(batch.ids), len(batch.rows)
    facts, tables = padding(tokens, blocks)
    facts[0, :count], facts[1, :count], facts[2, :count] = batch.ids, batch.positions, batch.slots
    facts[3, :count], facts[4, :wanted] = batch.positions + 1, batch.rows
    tables[:count, : batch.block_tables.shape[1]] = np.repeat(batch.block_tables, np.diff(batch.cu_seqlens), axis=0)
    return [facts, tables]


def few_views(vector: Tensor, tokens: int) -> DeviceBatch:
    """The batch whose facts are in the vector that ``few_parts`` was sent to."""
    begin = 5 * _wide(tokens)
    ids, positions, slots, lengths, rows = vector[:begin].view(5, -1)[:, :tokens]
    return DeviceBatch(ids, positions, slots, rows, Few(None, lengths, vector[begin:].view(tokens, -1)))


def padding(tokens: int, blocks: int) -> list[Ints]:
    """As ``few_parts``, of tokens that all go nowhere."""
    facts = np.zeros((5, _wide(tokens)), np.int32)
    facts[2], facts[3] = NOWHERE, 1
    return [facts, np.zeros((tokens, blocks), np.int32)]


def _wide(tokens: int) -> int:
    """Of each fact, so that all begin at multiples of 16 bytes: kernels are compiled for that once, not for each
    size."""
    return max(4, tokens)


def whole(batch: Batch, block_size: int, staging: Staging) -> DeviceBatch:
    """A batch of any size, as it is."""
    starts, lengths = batch.cu_seqlens.tolist(), batch.lengths.tolist()
    parts: list[Ints] = [batch.ids, batch.positions, batch.slots, batch.rows]
    short = [s for s in range(len(lengths)) if starts[s + 1] - starts[s] <= FEW]
    long = [s for s in range(len(lengths)) if starts[s + 1] - starts[s] > FEW]
    which = np.concatenate([np.arange(starts[s], starts[s + 1], dtype=np.int32) for s in short] or [batch.ids[:0]])
    tables = np.repeat(batch.block_tables[short], np.diff(batch.cu_seqlens)[short], axis=0)
    parts += [which, batch.positions[which] + np.int32(1), tables]
    offsets = np.arange(block_size, dtype=np.int32)
    for s in long:
        blocks = batch.block_tables[s, : -(-lengths[s] // block_size)]
        parts.append((blocks[:, None] * np.int32(block_size) + offsets).ravel()[: lengths[s]])
    ids, positions, slots, rows, at, sees, blocks_of, *places = torch.split(
        staging.send(parts), [part.size for part in parts]
    )
    few = Few(at, sees, blocks_of.view(tables.shape)) if short else None
    many = [Many(starts[s], starts[s + 1], there) for s, there in zip(long, places, strict=True)]
    return DeviceBatch(ids, positions, slots, rows, few, many)
