"""Texts into micro-batches of tokens, and token states back into vectors of spans."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

# Tokens of a micro-batch: enough rows to use the matrix kernels fully, few enough that activations stay in the
# caches (docs/lab-notes.md has the curve).
TOKENS = 1024


def micro_batches(lengths: Sequence[int], tokens: int | None = None) -> Iterator[list[int]]:
    """Indices in order of falling length, in groups of at most ``tokens`` tokens (or of one text that is longer).

    >>> list(micro_batches([3, 9, 1, 2], tokens=10))
    [[1], [0, 3, 2]]
    """
    limit = TOKENS if tokens is None else tokens
    batch: list[int] = []
    size = 0
    for index in sorted(range(len(lengths)), key=lambda index: -lengths[index]):
        if batch and size + lengths[index] > limit:
            yield batch
            batch, size = [], 0
        batch.append(index)
        size += lengths[index]
    if batch:
        yield batch


def pool_spans(
    states: NDArray[np.float32], offsets: Sequence[tuple[int, int]], spans: Sequence[tuple[int, int]]
) -> NDArray[np.float32]:
    """float32 [spans, dimension]: the mean, of length 1, of the states of the tokens that each span meets.

    ``states`` [tokens, dimension] and ``offsets`` are those of one text, special tokens (of no width) included; a
    span that meets no token gives zeros.
    """
    starts, ends = np.array(offsets, np.int64).reshape(-1, 2).T
    pooled = np.zeros((len(spans), states.shape[1]), np.float32)
    for row, (start, end) in enumerate(spans):
        met = np.flatnonzero((starts < end) & (ends > start))
        if len(met):
            mean = states[met[0] : met[-1] + 1].mean(axis=0)  # neighbours: tokens are in order
            pooled[row] = mean / max(float(np.linalg.norm(mean)), 1e-12)
    return pooled
