"""Q8_0: 32 weights share one scale; 8.5 bits a weight.

A block is 34 bytes: the scale d as a little-endian fp16, then 32 int8 values q; a weight is d * q. The layout, the
scale max|w| / 127 and the rounding (half away from zero) are those of GGML (github.com/ggml-org/ggml,
``quantize_row_q8_0_ref``), so the bytes are the same as those its tools write.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32
BYTES = 34
_LARGEST_SCALE = 65519.996  # a larger scale would round to infinity in fp16
_STRIDE = 1 << 15  # blocks at a time: the temporaries stay in cache


def quantize(w: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantize ``w`` [..., K] to blocks [..., K // 32 * 34]; K must be a multiple of 32 and every weight finite.

    >>> quantize(np.full((1, 32), 2.0, np.float32))[0, :4].tolist()
    [8, 36, 127, 127]
    """
    w = np.ascontiguousarray(w, dtype=np.float32)
    if w.ndim == 0 or w.shape[-1] % BLOCK:
        raise ValueError(f"w has shape {w.shape}: its last axis must be a multiple of {BLOCK}")
    flat = w.reshape(-1, BLOCK)
    blocks = np.empty((len(flat), BYTES), np.uint8)
    for start in range(0, len(flat), _STRIDE):
        _quantize(flat[start : start + _STRIDE], blocks[start : start + _STRIDE])
    return blocks.reshape(*w.shape[:-1], w.shape[-1] // BLOCK * BYTES)


def _quantize(w: NDArray[np.float32], blocks: NDArray[np.uint8]) -> None:
    scale = np.abs(w).max(axis=1) / np.float32(127)
    if not np.all(scale <= _LARGEST_SCALE):  # False for NaN too
        raise ValueError("w holds a value that Q8_0 cannot: NaN, infinity, or a magnitude above 8.3 million")
    with np.errstate(divide="ignore", over="ignore"):
        inverse = np.where(scale > 0, np.float32(1) / scale, np.float32(0))
    # A scale below 2^-128 has an infinite reciprocal. Its fp16 is zero, so the block is zeros whatever q is.
    inverse[~np.isfinite(inverse)] = 0
    scaled = w * inverse[:, None]
    whole = np.trunc(scaled)
    whole += np.trunc((scaled - whole) * np.float32(2))  # roundf: half away from zero; both steps are exact
    blocks[:, :2] = scale.astype("<f2").view(np.uint8).reshape(-1, 2)
    blocks[:, 2:] = whole.astype(np.int8).view(np.uint8)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn blocks [..., n * 34] back into weights [..., n * 32].

    >>> dequantize(quantize(np.full((1, 32), 2.0, np.float32)))[0, :2].tolist()
    [1.9998779296875, 1.9998779296875]
    """
    if blocks.dtype != np.uint8 or blocks.ndim == 0 or blocks.shape[-1] % BYTES:
        raise ValueError(
            f"blocks are {blocks.dtype} of shape {blocks.shape}: give uint8, the last axis a multiple of {BYTES}"
        )
    flat = np.ascontiguousarray(blocks).reshape(-1, BYTES)
    scale = np.ascontiguousarray(flat[:, :2]).view("<f2").astype(np.float32)
    w: NDArray[np.float32] = flat[:, 2:].view(np.int8) * scale
    return w.reshape(*blocks.shape[:-1], blocks.shape[-1] // BYTES * BLOCK)
