"""A model without weights whose every logit depends on every token before it, through the paged cache alone.

What the cache keeps of a token is made from what it keeps of the token before, so a slot that is wrong, stale or
another request's changes all that follows. ``naive`` computes the same without a cache: the oracle.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ownlm.model.batch import Batch

VOCABULARY = 97
_MASK = (1 << 64) - 1
_WEIGHTS = np.random.default_rng(7).integers(1, 1 << 63, 1 << 14, dtype=np.uint64) | np.uint64(1)
_COLUMNS = np.arange(1, VOCABULARY + 1, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)


def _next(state: int, token: int, position: int) -> int:
    return ((state ^ (token + 1) * 0x9E3779B97F4A7C15) * 0xD6E8FEB86659FD93 + position + 1) & _MASK


def _logits(states: NDArray[np.uint64]) -> NDArray[np.float32]:
    mixed = (states * _WEIGHTS[: len(states)]).sum(dtype=np.uint64) * _COLUMNS
    mixed = (mixed ^ (mixed >> np.uint64(29))) * np.uint64(0xBF58476D1CE4E5B9)
    return ((mixed >> np.uint64(40)).astype(np.float32) / np.float32(1 << 21)).astype(np.float32)


def states(tokens: Sequence[int]) -> NDArray[np.uint64]:
    found, state = [], 0
    for position, token in enumerate(tokens):
        state = _next(state, token, position)
        found.append(state)
    return np.array(found, np.uint64)


def naive_logits(tokens: Sequence[int]) -> NDArray[np.float32]:
    """[tokens, vocabulary]: what each token's row of logits must be."""
    known = states(tokens)
    return np.stack([_logits(known[:end]) for end in range(1, len(tokens) + 1)])


def naive(prompt: Sequence[int], answer: int) -> list[int]:
    """The likeliest continuation, by one forward over everything for each token."""
    tokens = list(prompt)
    for _ in range(answer):
        tokens.append(int(_logits(states(tokens)).argmax()))
    return tokens[len(prompt) :]


class FakeRunner:
    """Reads and writes only where the batch says. Blocks begin as garbage."""

    def __init__(self, blocks: int = 64, block_size: int = 4, max_positions: int = 4096) -> None:
        self.blocks, self.block_size, self.max_positions = blocks, block_size, max_positions
        self.vocab_size = VOCABULARY
        self.cache = np.random.default_rng(3).integers(0, 1 << 63, blocks * block_size, dtype=np.uint64)
        self.steps = 0
        self.largest = 0

    def step(self, batch: Batch) -> NDArray[np.float32]:
        self.steps += 1
        self.largest = max(self.largest, len(batch.ids))
        for array in vars_of(batch):
            assert array.dtype == np.int32 and array.flags.c_contiguous
        size, offsets = self.block_size, np.arange(self.block_size)
        reads = []
        for index, length in enumerate(batch.lengths.tolist()):
            table = batch.block_tables[index].astype(np.int64)
            reads.append((table[:, None] * size + offsets).ravel()[:length])
            begin, end = batch.cu_seqlens[index : index + 2].tolist()
            assert batch.positions[begin:end].tolist() == list(range(length - (end - begin), length))
            for row in range(begin, end):
                position = int(batch.positions[row])
                before = int(self.cache[reads[-1][position - 1]]) if position else 0
                self.cache[batch.slots[row]] = self._keep(before, int(batch.ids[row]), position)
        owner = np.searchsorted(batch.cu_seqlens, batch.rows, side="right") - 1
        rows = [
            self._say(self.cache[reads[sequence][: int(batch.positions[row]) + 1]])
            for row, sequence in zip(batch.rows.tolist(), owner.tolist(), strict=True)
        ]
        return np.stack(rows) if rows else np.zeros((0, self.vocab_size), np.float32)

    def _keep(self, before: int, token: int, position: int) -> int:
        """What the cache keeps of a token, made from what it keeps of the token before."""
        return _next(before, token, position)

    def _say(self, known: NDArray[np.uint64]) -> NDArray[np.float32]:
        """The logits after these."""
        return _logits(known)

    def copy_blocks(self, pairs: Sequence[tuple[int, int]]) -> None:
        size = self.block_size
        for source, target in pairs:
            self.cache[target * size : (target + 1) * size] = self.cache[source * size : (source + 1) * size]

    cache_key = "fake"

    @property
    def block_bytes(self) -> int:
        return self.block_size * self.cache.itemsize

    def read_blocks(self, ids: Sequence[int]) -> NDArray[np.uint8]:
        return self.cache.reshape(-1, self.block_size)[list(ids)].view(np.uint8)

    def write_blocks(self, ids: Sequence[int], data: NDArray[np.uint8]) -> None:
        self.cache.reshape(-1, self.block_size)[list(ids)] = data.view(np.uint64)


class ShortMemoryRunner(FakeRunner):
    """Knows the last two tokens alone and is nearly sure, so that its texts go round in circles."""

    def _keep(self, before: int, token: int, position: int) -> int:
        return (before & 0xFFFF) << 16 | token + 1

    def _say(self, known: NDArray[np.uint64]) -> NDArray[np.float32]:
        logits = _logits(known[-1:])
        logits[int(logits.argmax())] += np.float32(4096)
        return logits / np.float32(1024)


def vars_of(batch: Batch) -> list[NDArray[np.int32]]:
    return [
        batch.ids, batch.positions, batch.cu_seqlens, batch.lengths, batch.block_tables, batch.slots, batch.rows,
    ]  # fmt: skip
