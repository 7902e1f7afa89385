"""Q4_0: 32 weights share one scale; 4.5 bits a weight.

A block is 18 bytes: the scale d as fp16, then 16 bytes that hold q of weight i in the low and of weight i + 16 in
the high nibble; a weight is d * (q - 8). Layout and rounding are GGML's (github.com/ggml-org/ggml).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ownlm.formats import legacy
from ownlm.formats.blocks import dequantize_rows, half_at, half_bytes, halves_packed, halves_unpacked, quantize_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = legacy.BLOCK
BYTES = 18


def quantize(w: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantize ``w`` [..., K] to blocks [..., K // 32 * 18]; K must be a multiple of 32 and every weight finite."""
    return quantize_rows(w, BLOCK, BYTES, _quantize)


def _quantize(w: NDArray[np.float32], blocks: NDArray[np.uint8]) -> None:
    scale, q = legacy.symmetric(w, 4)
    blocks[:, :2] = half_bytes(scale, "Q4_0", "524,000")
    blocks[:, 2:] = halves_packed(q)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn blocks [..., n * 18] back into weights [..., n * 32]."""
    return dequantize_rows(blocks, BLOCK, BYTES, _dequantize)


def _dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    q = halves_unpacked(blocks[:, 2:]).view(np.int8) - np.int8(8)
    return half_at(blocks, 0) * q
