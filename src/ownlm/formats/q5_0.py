"""Q5_0: 32 weights share one scale; 5.5 bits a weight.

A block is 22 bytes: the scale d as fp16, 4 bytes with the fifth bit of each q (weight 0 lowest), then 16 bytes that
hold the low bits of weight i in the low and of weight i + 16 in the high nibble; a weight is d * (q - 16). Layout
and rounding are GGML's (github.com/ggml-org/ggml).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ownlm.formats import legacy
from ownlm.formats.blocks import (
    bits_packed,
    bits_unpacked,
    dequantize_rows,
    half_at,
    half_bytes,
    halves_packed,
    halves_unpacked,
    quantize_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = legacy.BLOCK
BYTES = 22


def quantize(w: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantize ``w`` [..., K] to blocks [..., K // 32 * 22]; K must be a multiple of 32 and every weight finite."""
    return quantize_rows(w, BLOCK, BYTES, _quantize)


def _quantize(w: NDArray[np.float32], blocks: NDArray[np.uint8]) -> None:
    scale, q = legacy.symmetric(w, 5)
    blocks[:, :2] = half_bytes(scale, "Q5_0", "1.04 million")
    blocks[:, 2:6] = bits_packed(q, 4)
    blocks[:, 6:] = halves_packed(q)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn blocks [..., n * 22] back into weights [..., n * 32]."""
    return dequantize_rows(blocks, BLOCK, BYTES, _dequantize)


def _dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    q = halves_unpacked(blocks[:, 6:]) | (bits_unpacked(blocks[:, 2:6]) << 4)
    return half_at(blocks, 0) * (q.view(np.int8) - np.int8(16))
