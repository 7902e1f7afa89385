"""What sampling must draw, written as the definitions are, and how far from it counts are."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from ownlm.engine.sampling_params import SamplingParams


def exact(logits: np.ndarray[Any, Any], params: SamplingParams) -> np.ndarray[Any, Any]:
    """The probabilities, written as the definitions are."""
    scaled = logits.astype(np.float64) / params.temperature
    order = np.argsort(-scaled, kind="stable")
    if params.top_k:
        order = order[: params.top_k]
    weights = np.exp(scaled[order] - scaled[order[0]])
    share = weights / weights.sum()
    before = np.concatenate([[0.0], np.cumsum(share)[:-1]])
    kept = (before < params.top_p) & (share >= params.min_p * share[0])
    probabilities = np.zeros(len(logits))
    probabilities[order[kept]] = weights[kept] / weights[kept].sum()
    return probabilities


def chi_square(counts: np.ndarray[Any, Any], probabilities: np.ndarray[Any, Any]) -> float:
    """The probability of counts at least this far from what is expected (Wilson and Hilferty's approximation)."""
    assert not counts[probabilities == 0].any(), "a token was drawn that is left out"
    expected = probabilities[probabilities > 0] * counts.sum()
    statistic = float(((counts[probabilities > 0] - expected) ** 2 / expected).sum())
    freedom = len(expected) - 1
    if freedom == 0:
        return 1.0
    normal = ((statistic / freedom) ** (1 / 3) - (1 - 2 / (9 * freedom))) / math.sqrt(2 / (9 * freedom))
    return 0.5 * math.erfc(normal / math.sqrt(2))
