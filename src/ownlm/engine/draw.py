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
    kept = _wide(logits, weights, params.top_p * total)
    kept = kept[weights[kept] >= params.min_p]
    return kept, weights[kept].astype(np.float64)


def _wide(logits: Logits, weights: NDArray[np.float32], wanted: float) -> Ids:
    """The fewest positions whose weights reach ``wanted``, in no order: of many, only those near the edge are sorted.

    Weights are told apart by their exponent; that of the edge is the first at which the sum from above is enough.
    """
    exponents = weights.view(np.int32) >> 23
    sums = np.cumsum(np.bincount(exponents, weights)[::-1])[::-1]  # of all weights of this exponent and above
    edge = int(np.flatnonzero(sums >= wanted)[-1]) if sums[0] >= wanted else 0
    above: Ids = np.flatnonzero(exponents > edge)
    near = np.flatnonzero(exponents == edge)
    near = near[np.argsort(-logits[near], kind="stable")]
    before = float(sums[edge + 1]) if edge + 1 < len(sums) else 0.0
    ends = before + np.cumsum(weights[near], dtype=np.float64)
    size = min(len(near), 1 + int(np.searchsorted(ends, wanted, side="left")))
    return np.concatenate([above, near[:size]])


def _prefix(weights: NDArray[np.float64], total: float, params: SamplingParams) -> int:
    """How many of the weights, largest first, are kept: a token is while those before it have less than top-p."""
    size = len(weights)
    if params.top_p < 1:
        before = np.cumsum(weights[:-1]) if size > 1 else np.empty(0)
        size = 1 + int(np.searchsorted(before, params.top_p * total, side="left"))
    if params.min_p > 0:
        size = min(size, max(1, int(np.count_nonzero(weights >= params.min_p * weights[0]))))
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
