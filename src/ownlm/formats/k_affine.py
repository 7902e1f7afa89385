"""What Q4_K and Q5_K share: 8 groups of 32 weights, each with a 6-bit scale and a 6-bit minimum in 12 bytes.

byte  0..3   bits 0-5 scale of group 0..3,    bits 6-7 the high bits of the scale of group 4..7
byte  4..7   bits 0-5 minimum of group 0..3,  bits 6-7 the high bits of the minimum of group 4..7
byte  8..11  bits 0-3 low bits of the scale,  bits 4-7 low bits of the minimum, of group 4..7
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ownlm.formats.blocks import half_at, half_bytes
from ownlm.formats.k_scales import BLOCK, affine_groups, as_half, magnitude, rounded

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

GROUPS = 8
SCALES = 12  # bytes
HEAD = 4 + SCALES  # d, dmin, scales
_TOP = 63


def quantize_head(w: Floats, bits: int, name: str, head: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Write d, dmin and the groups' scales of ``w`` [n, 256] to ``head`` [n, 16]; return values q [n, 8, 32]."""
    levels = (1 << bits) - 1
    x = w.reshape(-1, GROUPS, BLOCK // GROUPS)
    if not np.isfinite(x).all() or np.abs(w).max(initial=0) > 1e6:
        raise ValueError(f"w holds a value that {name} cannot: NaN, infinity, or a magnitude above 1 million")
    scales, minima = affine_groups(x, levels)
    d = as_half(scales.max(axis=1, keepdims=True) / _TOP)
    dmin = as_half(minima.max(axis=1, keepdims=True) / _TOP)
    ls, lm = rounded(scales, d, 0, _TOP), rounded(minima, dmin, 0, _TOP)
    weight = magnitude(x)
    q = _values(x, d * ls, dmin * lm, levels)
    error = _error(weight, x, q, d * ls, dmin * lm)
    refit_d, refit_min = (as_half(scale) for scale in _refit(weight, x, q * ls, np.broadcast_to(lm, q.shape)))
    refit_q = _values(x, refit_d * ls, refit_min * lm, levels)
    better = (_error(weight, x, refit_q, refit_d * ls, refit_min * lm) < error) & (refit_d > 0) & (refit_min >= 0)
    d, dmin, q = np.where(better, refit_d, d), np.where(better, refit_min, dmin), np.where(better, refit_q, q)
    head[:, :2] = half_bytes(d.reshape(-1, 1), name, "1 million")
    head[:, 2:4] = half_bytes(dmin.reshape(-1, 1), name, "1 million")
    head[:, 4:HEAD] = pack_scales(ls[..., 0].astype(np.uint8), lm[..., 0].astype(np.uint8))
    return q.astype(np.uint8)


def _values(x: Floats, scale: Floats, minimum: Floats, levels: int) -> Floats:
    return rounded(x + minimum, scale, 0, levels)


def _error(weight: Floats, x: Floats, q: Floats, scale: Floats, minimum: Floats) -> Floats:
    error: Floats = (weight * np.square(scale * q - minimum - x)).sum(axis=(1, 2), keepdims=True)
    return error


def _refit(weight: Floats, x: Floats, a: Floats, b: Floats) -> tuple[Floats, Floats]:
    """d and dmin [n, 1, 1] that bring d * a - dmin * b nearest to x. In float64: the two are nearly dependent."""
    wide = weight.astype(np.float64)
    aa, bb, ab = ((wide * left * right).sum(axis=(1, 2), keepdims=True) for left, right in ((a, a), (b, b), (a, b)))
    ax, bx = ((wide * left * x).sum(axis=(1, 2), keepdims=True) for left in (a, b))
    determinant = aa * bb - ab * ab
    solvable = determinant > 1e-9 * aa * bb
    safe = np.where(solvable, determinant, 1)
    d = np.where(solvable, (ax * bb - bx * ab) / safe, ax / np.where(aa > 0, aa, 1))
    dmin = np.where(solvable, (ax * ab - bx * aa) / safe, 0)
    return d.astype(np.float32), dmin.astype(np.float32)


def group_scales(blocks: NDArray[np.uint8]) -> tuple[Floats, Floats]:
    """d * scale and dmin * minimum of every group, [n, 8, 1]."""
    scales, minima = unpack_scales(blocks[:, 4:HEAD])
    return (half_at(blocks, 0) * scales)[..., None], (half_at(blocks, 2) * minima)[..., None]


def pack_scales(scales: NDArray[np.uint8], minima: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Two [n, 8] of 6-bit numbers as bytes [n, 12]."""
    first = scales[:, :4] | (scales[:, 4:] >> 4 << 6)
    second = minima[:, :4] | (minima[:, 4:] >> 4 << 6)
    third = (scales[:, 4:] & 15) | (minima[:, 4:] << 4)
    return np.concatenate([first, second, third], axis=1)


def unpack_scales(packed: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The inverse of ``pack_scales``."""
    first, second, third = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    scales = np.concatenate([first & 63, (third & 15) | (first >> 6 << 4)], axis=1)
    minima = np.concatenate([second & 63, (third >> 4) | (second >> 6 << 4)], axis=1)
    return scales, minima
