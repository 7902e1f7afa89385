"""How the formats with one scale for 32 weights choose it: GGML's reference rules (``quantize_row_q*_ref``)."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ownlm.formats.blocks import reciprocal

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32


def symmetric(w: NDArray[np.float32], bits: int) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
    """Scales d [n, 1] and values q [n, 32] from 0, so that w is near d * (q - 2^(bits - 1)).

    The weight of the largest magnitude, the first of equals, gets the lowest value: d has the opposite sign.
    """
    zero = 1 << (bits - 1)
    top = np.take_along_axis(w, np.abs(w).argmax(axis=1)[:, None], axis=1)
    scale = top / np.float32(-zero)
    with np.errstate(invalid="ignore"):  # NaN and infinity are refused when the scale is written
        q = (w * reciprocal(scale) + np.float32(zero + 0.5)).astype(np.uint8)
    return scale, np.minimum(q, 2 * zero - 1)


def affine(w: NDArray[np.float32], bits: int) -> tuple[NDArray[np.float32], NDArray[np.float32], NDArray[np.uint8]]:
    """Scales d [n, 1], minima m [n, 1] and values q [n, 32] from 0, so that w is near d * q + m."""
    levels = (1 << bits) - 1
    low = w.min(axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        scale = (w.max(axis=1, keepdims=True) - low) / np.float32(levels)
        q = ((w - low) * reciprocal(scale) + np.float32(0.5)).astype(np.uint8)
    return scale, low, np.minimum(q, levels)
