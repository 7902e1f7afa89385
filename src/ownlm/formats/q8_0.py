"""Q8_0: 32 weights share one scale; 8.5 bits a weight.

A block is 34 bytes: the scale d as a little-endian fp16, then 32 int8 values q; a weight is d * q. The layout, the
scale max|w| / 127 and the rounding (half away from zero) are those of GGML (github.com/ggml-org/ggml,
``quantize_row_q8_0_ref``), so the bytes are the same as those its tools write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ownlm.formats.blocks import dequantize_rows, half_at, half_bytes, quantize_rows, reciprocal

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32
BYTES = 34


def quantize(w: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantize ``w`` [..., K] to blocks [..., K // 32 * 34]; K must be a multiple of 32 and every weight finite.

    >>> quantize(np.full((1, 32), 2.0, np.float32))[0, :4].tolist()
    [8, 36, 127, 127]
    """
    return quantize_rows(w, BLOCK, BYTES, _quantize)


def _quantize(w: NDArray[np.float32], blocks: NDArray[np.uint8]) -> None:
    scale = np.abs(w).max(axis=1, keepdims=True) / np.float32(127)
    blocks[:, :2] = half_bytes(scale, "Q8_0", "8.3 million")
    scaled = w * reciprocal(scale)
    whole = np.trunc(scaled)
    whole += np.trunc((scaled - whole) * np.float32(2))  # roundf: half away from zero; both steps are exact
    blocks[:, 2:] = whole.astype(np.int8).view(np.uint8)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn blocks [..., n * 34] back into weights [..., n * 32].

    >>> dequantize(quantize(np.full((1, 32), 2.0, np.float32)))[0, :2].tolist()
    [1.9998779296875, 1.9998779296875]
    """
    return dequantize_rows(blocks, BLOCK, BYTES, _dequantize)


def _dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    return half_at(blocks, 0) * blocks[:, 2:].view(np.int8)
