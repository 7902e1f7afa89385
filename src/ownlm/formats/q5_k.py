"""Q5_K: 256 weights in 8 groups of 32; 5.5 bits a weight.

A block is 176 bytes: d and dmin as fp16, the groups' scales s and minima m (12 bytes, ``k_affine``), 32 bytes with
the fifth bits (bit g of byte i: weight i of group g), then 128 bytes of low bits as in Q4_K. A weight is
d * s * q - dmin * m. The layout is GGML's (github.com/ggml-org/ggml), the choice of scales our own (``k_scales``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ownlm.formats import k_affine, k_scales
from ownlm.formats.blocks import (
    bits_packed,
    bits_unpacked,
    dequantize_rows,
    halves_packed,
    halves_unpacked,
    quantize_rows,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = k_scales.BLOCK
BYTES = 176
_LOW = k_affine.HEAD + 32


def quantize(w: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantize ``w`` [..., K] to blocks [..., K // 256 * 176]; K must be a multiple of 256 and every weight finite."""
    return quantize_rows(w, BLOCK, BYTES, _quantize, step=1 << 16)


def _quantize(w: NDArray[np.float32], blocks: NDArray[np.uint8]) -> None:
    q = k_affine.quantize_head(w, 5, "Q5_K", blocks[:, : k_affine.HEAD])
    blocks[:, k_affine.HEAD : _LOW] = bits_packed(q.transpose(0, 2, 1), 4)[..., 0]
    blocks[:, _LOW:] = halves_packed(q.reshape(-1, 4, 64)).reshape(-1, 128)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn blocks [..., n * 176] back into weights [..., n * 256]."""
    return dequantize_rows(blocks, BLOCK, BYTES, _dequantize)


def _dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    scale, minimum = k_affine.group_scales(blocks)
    low = halves_unpacked(blocks[:, _LOW:].reshape(-1, 4, 32)).reshape(-1, k_affine.GROUPS, 32)
    fifth = bits_unpacked(blocks[:, k_affine.HEAD : _LOW, None]).transpose(0, 2, 1)
    w: NDArray[np.float32] = scale * (low | (fifth << 4)) - minimum
    return w.reshape(-1, BLOCK)
