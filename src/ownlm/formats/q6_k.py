"""Q6_K: 256 weights in 16 groups of 16; 6.56 bits a weight.

A block is 210 bytes: 128 of low nibbles, 64 of the two high bits, 16 int8 scales s, and d as fp16; a weight is
d * s * (q - 32). Each half of 128 weights, in quarters A B C D of 32, takes 64 bytes of nibbles (A low and C high,
then B low and D high) and 32 bytes of high bits (A lowest, D highest). The layout is GGML's
(github.com/ggml-org/ggml), the choice of scales our own (``k_scales``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ownlm.formats.blocks import dequantize_rows, half_at, half_bytes, halves_packed, halves_unpacked, quantize_rows
from ownlm.formats.k_scales import BLOCK, as_half, rounded, symmetric_groups

if TYPE_CHECKING:
    from numpy.typing import NDArray

BYTES = 210
_GROUP = 16
_SHIFTS = np.array([0, 2, 4, 6], np.uint8)[:, None]


def quantize(w: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantize ``w`` [..., K] to blocks [..., K // 256 * 210]; K must be a multiple of 256 and every weight finite."""
    return quantize_rows(w, BLOCK, BYTES, _quantize, step=1 << 16)


def _quantize(w: NDArray[np.float32], blocks: NDArray[np.uint8]) -> None:
    if not np.isfinite(w).all() or np.abs(w).max(initial=0) > 1e6:
        raise ValueError("w holds a value that Q6_K cannot: NaN, infinity, or a magnitude above 1 million")
    x = w.reshape(-1, BLOCK // _GROUP, _GROUP)
    scales = symmetric_groups(x, -32)
    largest = np.take_along_axis(scales, np.abs(scales).argmax(axis=1, keepdims=True), axis=1)
    d = as_half(largest / np.float32(-128))
    s = rounded(scales, d, -128, 127)
    q = rounded(x, d * s, -32, 31)
    # The scale of the whole block, once more, for the values that were chosen.
    weight, a = x * x, s * q
    total = (weight * a * a).sum(axis=(1, 2), keepdims=True)
    refit = as_half((weight * a * x).sum(axis=(1, 2), keepdims=True) / np.where(total > 0, total, 1))
    d = np.where((total > 0) & (refit != 0), refit, d)
    values = (rounded(x, d * s, -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    blocks[:, :128] = halves_packed(values.reshape(-1, 2, 128)).reshape(-1, 128)
    blocks[:, 128:192] = np.bitwise_or.reduce(values >> 4 << _SHIFTS, axis=2).reshape(-1, 64)
    blocks[:, 192:208] = s[..., 0].astype(np.int8).view(np.uint8)
    blocks[:, 208:] = half_bytes(d.reshape(-1, 1), "Q6_K", "1 million")


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn blocks [..., n * 210] back into weights [..., n * 256]."""
    return dequantize_rows(blocks, BLOCK, BYTES, _dequantize)


def _dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    low = halves_unpacked(blocks[:, :128].reshape(-1, 2, 64))
    high = (blocks[:, 128:192].reshape(-1, 2, 1, 32) >> _SHIFTS) & 3
    q = (low | (high.reshape(-1, 2, 128) << 4)).view(np.int8) - np.int8(32)
    scales = half_at(blocks, 208) * np.ascontiguousarray(blocks[:, 192:208]).view(np.int8)
    w: NDArray[np.float32] = scales[..., None] * q.reshape(-1, BLOCK // _GROUP, _GROUP)
    return w.reshape(-1, BLOCK)
