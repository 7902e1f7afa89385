"""Batches over a paged cache, and attention as NumPy computes it in float64."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Reals = NDArray[np.floating[Any]]


@dataclass(frozen=True)
class Facts:
    """See ``ownlm.native.plan.BatchFacts``."""

    ids: NDArray[np.int32]
    positions: NDArray[np.int32]
    cu_seqlens: NDArray[np.int32]
    lengths: NDArray[np.int32]
    block_tables: NDArray[np.int32]
    slots: NDArray[np.int32]
    rows: NDArray[np.int32]


def ints(values: object) -> NDArray[np.int32]:
    return np.array(values, np.int32)


def batches(
    lengths: Sequence[int], cut: int, block_size: int = 16, seed: int = 0
) -> Iterator[tuple[NDArray[np.int64], Facts]]:
    """All sequences side by side, ``cut`` tokens of each at a time, in scattered blocks; every row is wanted.

    Token t of sequence s has id cu[s] + t, so that a table of all tokens is looked up. Yields those ids with the batch.
    """
    counts = [-(-length // block_size) for length in lengths]
    order, taken = np.random.default_rng(seed).permutation(sum(counts)), 0
    tables = np.zeros((len(lengths), max(counts)), np.int32)
    for s, count in enumerate(counts):
        tables[s, :count] = order[taken : taken + count]
        taken += count
    starts = np.concatenate([[0], np.cumsum(lengths)])
    for begin in range(0, max(lengths), cut):
        ids, positions, slots, cu, filled = [], [], [], [0], []
        for s, length in enumerate(lengths):
            new = np.arange(min(begin, length), min(begin + cut, length))
            ids.append(starts[s] + new)
            positions.append(new)
            slots.append(tables[s, new // block_size] * block_size + new % block_size)
            cu.append(cu[-1] + len(new))
            filled.append(min(begin + cut, length))
        where = np.concatenate(ids)
        yield where, Facts(
            ints(where), ints(np.concatenate(positions)), ints(cu), ints(filled), tables, ints(np.concatenate(slots)),
            np.arange(len(where), dtype=np.int32),
        )  # fmt: skip


def rms_norm(
    x: NDArray[np.floating], weight: NDArray[np.floating], eps: float, offset: float = 0.0
) -> NDArray[np.float64]:
    x = x.astype(np.float64)
    return x / np.sqrt((x * x).mean(-1, keepdims=True) + eps) * (weight + offset)


def rotate(x: NDArray[np.float64], angles: NDArray[np.float64]) -> NDArray[np.float64]:
    """x [T, H, D] by angles [T, rotary / 2], in halves."""
    half = angles.shape[1]
    c, s = np.cos(angles)[:, None], np.sin(angles)[:, None]
    a, b = x[..., :half], x[..., half : 2 * half]
    return np.concatenate([a * c - b * s, b * c + a * s, x[..., 2 * half :]], -1)


def attend(
    q: NDArray[np.float64],
    k: NDArray[np.float64],
    v: NDArray[np.float64],
    *,
    window: int = 0,
    softcap: float = 0.0,
    sinks: NDArray[np.float32] | None = None,
) -> NDArray[np.float64]:
    """One sequence: q [T, H, D], k and v [T, KV, D] to [T, H * D], causal."""
    length, heads, dim = q.shape
    k, v = (np.repeat(x, heads // x.shape[1], axis=1) for x in (k, v))
    scores = np.einsum("ihd,jhd->hij", q, k) * dim**-0.5
    if softcap:
        scores = softcap * np.tanh(scores / softcap)
    i = np.arange(length)
    seen = i[None] <= i[:, None]
    if window:
        seen &= i[None] > i[:, None] - window
    scores = np.where(seen, scores, -np.inf)
    extra = np.zeros((heads, length, 0)) if sinks is None else np.broadcast_to(sinks[:, None, None], (heads, length, 1))
    scores = np.concatenate([scores, extra], -1)
    weights = np.exp(scores - scores.max(-1, keepdims=True))
    weights /= weights.sum(-1, keepdims=True)
    return np.einsum("hij,jhd->ihd", weights[..., :length], v).reshape(length, -1)
