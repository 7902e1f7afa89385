"""How the K formats choose scales: 256 weights in groups, each with its own scale, the scales themselves quantized.

A group's scale (and minimum) is searched: for several ways to spread the levels over the weights, the values are
rounded and the scale that then fits best, by weighted least squares, is solved for; the best of all is kept. When the
groups' scales have been rounded to integers, the block's own scales are solved for once more. The weight of an error
grows with the magnitude of what it is made on, since large weights carry large products.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ownlm.formats.blocks import reciprocal

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

BLOCK = 256
_AFFINE_STEPS = np.linspace(-1.0, 1.0, 15, dtype=np.float32)
_SYMMETRIC_STEPS = np.linspace(-1.5, 0.9, 13, dtype=np.float32)


def affine_groups(x: Floats, levels: int) -> tuple[Floats, Floats]:
    """Scales s and minima m [..., 1], none below 0, of groups ``x`` [..., 32]: x is near s * q - m, q in 0..levels."""
    weight = magnitude(x)
    low = np.minimum(x.min(axis=-1, keepdims=True), 0)
    above = x - low
    span = above.max(axis=-1, keepdims=True)
    s1, sx = _sum(weight), _sum(weight * x)
    # To begin with, levels from the lowest to the highest: the rule that equal weights, which fit anything, keep.
    scale, base = span / np.float32(levels), low
    best = _sum(weight * np.square(scale * rounded(above, scale, 0, levels) + base - x))
    for step in _AFFINE_STEPS:
        q = np.clip(np.rint(above * (np.float32(levels) + step) * reciprocal(span)), 0, levels)
        wq = weight * q
        sq, sqq, sqx = _sum(wq), _sum(wq * q), _sum(wq * x)
        inverse = reciprocal(s1 * sqq - sq * sq)
        b = (sqq * sx - sq * sqx) * inverse
        s = np.where(b > 0, sqx * reciprocal(sqq), (s1 * sqx - sx * sq) * inverse)  # m >= 0: a positive b is 0
        b = np.minimum(b, 0)
        error = _sum(weight * np.square(s * q + b - x))
        better = (error < best) & (s >= 0)
        best, scale, base = np.where(better, error, best), np.where(better, s, scale), np.where(better, b, base)
    return scale, -base


def symmetric_groups(x: Floats, lowest: int) -> Floats:
    """Scale s [..., 1] of groups ``x`` [..., n], so that x is near s * q, q in lowest..-lowest - 1."""
    weight = x * x
    top = np.take_along_axis(x, np.abs(x).argmax(axis=-1)[..., None], axis=-1)
    best, scale = np.full_like(top, -1), np.zeros_like(top)
    for step in _SYMMETRIC_STEPS:
        q = np.clip(np.rint(x * (np.float32(lowest) + step) * reciprocal(top)), lowest, -lowest - 1)
        wq = weight * q
        sqq, sqx = _sum(wq * q), _sum(wq * x)
        s = sqx * reciprocal(sqq)
        gain = s * sqx  # what this fit takes off the error of all zeros
        better = gain > best
        best, scale = np.where(better, gain, best), np.where(better, s, scale)
    return scale


def magnitude(x: Floats) -> Floats:
    """The weight of each error: the root mean square of its group plus its own magnitude."""
    weight: Floats = np.sqrt(np.mean(x * x, axis=-1, keepdims=True)) + np.abs(x)
    return weight


def rounded(values: Floats, step: Floats, lowest: int, highest: int) -> Floats:
    """values / step, rounded and clipped; 0 where the step is."""
    out: Floats = np.clip(np.rint(values * reciprocal(step)), lowest, highest)
    return out


def as_half(scale: Floats) -> Floats:
    """The float32 value that the fp16 of a scale has (infinite when it is too large)."""
    with np.errstate(over="ignore"):
        return scale.astype("<f2").astype(np.float32)


def _sum(values: Floats) -> Floats:
    out: Floats = values.sum(axis=-1, keepdims=True)
    return out
