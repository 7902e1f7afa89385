"""One token by chance: temperature, top-k, top-p and min-p, in this order.

What each keeps is a beginning of the tokens in order of probability, so that no more are sorted than decide its end.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ownlm.engine.likeliest import Ids, Logits, likeliest
from ownlm.engine.sampling_params import SamplingParams

_FEW = 512  # tokens that are sorted for top-p: most often they have enough probability
_BLOCK = 512


def draw(logits: Logits, params: SamplingParams, uniform: float) -> int:
    """The position drawn by ``uniform`` from [0, 1). ``logits`` may be -inf for tokens that cannot be drawn."""
    if params.top_k and params.top_k < len(logits):
        kept = likeliest(logits, params.top_k)
        exact = _weights(logits[kept], params.temperature).astype(np.float64)
        size = _prefix(exact, float(exact.sum()), params)
        return int(kept[_pick(exact[:size], uniform)])
    weights = _weights(logits, params.temperature)
    if params.top_p == 1 and params.min_p == 0:
        return _pick_of_many(weights, uniform)
    kept, found = _nucleus(logits, weights, params)
    return int(kept[_pick(found, uniform)])


def _weights(logits: Logits, temperature: float) -> NDArray[np.float32]:
    """exp of the logits over the temperature, the largest 1."""
    with np.errstate(over="ignore", under="ignore"):
        scaled: NDArray[np.float32] = logits - logits.max()
        if temperature != 1:
            np.divide(scaled, np.float32(max(temperature, 1e-37)), out=scaled)
        np.exp(scaled, out=scaled)
    return scaled


def _nucleus(logits: Logits, weights: NDArray[np.float32], params: SamplingParams) -> tuple[Ids, NDArray[np.float64]]:
    """The positions that top-p and min-p keep, and their weights."""
    if params.top_p == 1:
        kept: Ids = np.flatnonzero(weights >= params.min_p)
        return kept, weights[kept].astype(np.float64)
    total = float(_block_sums(weights).sum())
    kept = likeliest(logits, min(_FEW, len(logits)))
    found = weights[kept].astype(np.float64)
    size = _prefix(found, total, params)
    if size < len(kept) or len(kept) == len(logits):
        return kept[:size], found[:size]
    kept = _wide(weights, params.top_p, total)
    kept = kept[weights[kept] >= params.min_p]
    return kept, weights[kept].astype(np.float64)


def _wide(weights: NDArray[np.float32], top_p: float, total: float) -> Ids:
    """The fewest positions that have ``top_p`` of the total, in no order: only their weights are sorted.

    All those below an even share of what top-p leaves out have less than that together: they are not looked at.
    """
    ordered = np.sort(np.compress(weights >= (1 - top_p) * total / len(weights), weights))[::-1]
    ends = np.cumsum(ordered, dtype=np.float64)
    size = min(len(ordered), 1 + int(np.searchsorted(ends, top_p * total, side="left")))
    edge = ordered[size - 1]
    above = np.flatnonzero(weights > edge)
    return np.concatenate([above, np.flatnonzero(weights == edge)[: size - len(above)]])


def _prefix(weights: NDArray[np.float64], total: float, params: SamplingParams) -> int:
    """How many of the weights, largest first, are kept: a token is while those before it have less than top-p."""
    size = len(weights)
    if params.top_p < 1:
        before = np.cumsum(weights[:-1]) if size > 1 else np.empty(0)
        size = 1 + int(np.searchsorted(before, params.top_p * total, side="left"))
    if params.min_p > 0:
        size = min(size, int(np.count_nonzero(weights >= params.min_p)))  # the largest weight is 1
    return size


def _pick(weights: NDArray[np.float64], uniform: float) -> int:
    if len(weights) == 1:
        return 0
    ends = np.cumsum(weights)
    place = int(np.searchsorted(ends, uniform * ends[-1], side="right"))
    return place if place < len(weights) else int(np.flatnonzero(weights)[-1])


def _pick_of_many(weights: NDArray[np.float32], uniform: float) -> int:
    """The block first, then the token in it: two short sums instead of a running one over the vocabulary."""
    ends = np.cumsum(_block_sums(weights))
    target = uniform * ends[-1]
    block = int(np.searchsorted(ends, target, side="right"))
    if block < len(ends):
        before = ends[block - 1] if block else 0.0
        share = (target - before) / (ends[block] - before)
        start = block * _BLOCK
        within = np.cumsum(weights[start : start + _BLOCK], dtype=np.float64)
        place = int(np.searchsorted(within, share * within[-1], side="right"))
        if place < len(within):
            return start + place
    return int(np.flatnonzero(weights)[-1])


def _block_sums(weights: NDArray[np.float32]) -> NDArray[np.float64]:
    whole = len(weights) // _BLOCK * _BLOCK
    sums = weights[:whole].reshape(-1, _BLOCK).sum(axis=1, dtype=np.float32).astype(np.float64)
    return sums if whole == len(weights) else np.append(sums, weights[whole:].sum(dtype=np.float64))
