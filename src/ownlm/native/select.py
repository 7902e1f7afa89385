"""What a sampler asks of logits: float32 [R, V], C-contiguous. Equal logits rank by their index."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ownlm.native import _load

Floats = NDArray[np.float32]


def argmax(logits: Floats) -> NDArray[np.int32]:
    """The index of each row's largest, int32 [R]; the first of equals."""
    out = np.empty(len(logits), np.int32)
    _load().argmax(logits, out)
    return out


def log_sum_exp(logits: Floats, scale: float = 1.0) -> NDArray[np.float64]:
    """log sum exp(scale * logits) of each row, [R]: scale * logit - this is a log-probability."""
    out = np.empty(len(logits), np.float64)
    _load().log_sum_exp(logits, scale, out)
    return out


def top_k(logits: Floats, k: int) -> tuple[NDArray[np.int32], Floats]:
    """Indices and values of each row's ``k`` largest, [R, k], largest first."""
    ids = np.empty((len(logits), k), np.int32)
    values = np.empty((len(logits), k), np.float32)
    _load().top_k(logits, ids, values)
    return ids, values
