"""MXFP4: 32 weights of 4 bits, E2M1, share an exponent; 4.25 bits a weight.

A block is 17 bytes: the exponent e (E8M0: the scale is 2^(e - 127)), then 16 bytes that hold weight i in the low and
weight i + 16 in the high nibble; a nibble is a sign and one of 0, 0.5, 1, 1.5, 2, 3, 4, 6. Values: OCP Microscaling
Formats 1.0; layout and the choice of e: GGML (github.com/ggml-org/ggml). Checkpoints on the Hugging Face Hub keep
exponents apart and neighbouring weights in one byte: ``from_pairs`` and ``to_pairs``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from ownlm.formats.blocks import dequantize_rows, halves_packed, halves_unpacked, quantize_rows

if TYPE_CHECKING:
    from numpy.typing import NDArray

BLOCK = 32
BYTES = 17
_DOUBLED = np.array([0, 1, 2, 3, 4, 6, 8, 12, 0, -1, -2, -3, -4, -6, -8, -12], np.int8)
_MIDDLES = np.array([0.5, 1.5, 2.5, 3.5, 5, 7, 10], np.float32)  # between the doubled values


def quantize(w: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Quantize ``w`` [..., K] to blocks [..., K // 32 * 17]; K must be a multiple of 32 and every weight finite."""
    return quantize_rows(w, BLOCK, BYTES, _quantize)


def _quantize(w: NDArray[np.float32], blocks: NDArray[np.uint8]) -> None:
    top = np.abs(w).max(axis=1, keepdims=True)
    if not np.isfinite(top).all():
        raise ValueError("w holds a value that MXFP4 cannot: NaN or infinity")
    with np.errstate(divide="ignore"):
        exponent = np.where(top > 0, np.clip(np.floor(np.log2(top)) - 2 + 127, 0, 254), 0).astype(np.uint8)
    # The nearest value; of two equally near, the smaller in magnitude. Powers of two divide exactly.
    with np.errstate(over="ignore"):
        q = np.searchsorted(_MIDDLES, np.abs(w) / _half_scale(exponent)).astype(np.uint8)
    q |= np.where((w < 0) & (q > 0), 8, 0).astype(np.uint8)
    blocks[:, :1] = exponent
    blocks[:, 1:] = halves_packed(q)


def dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    """Turn blocks [..., n * 17] back into weights [..., n * 32]."""
    return dequantize_rows(blocks, BLOCK, BYTES, _dequantize)


def _dequantize(blocks: NDArray[np.uint8]) -> NDArray[np.float32]:
    return _half_scale(blocks[:, :1]) * _DOUBLED[halves_unpacked(blocks[:, 1:])]


def _half_scale(exponent: NDArray[np.uint8]) -> NDArray[np.float32]:
    """2^(e - 128), half the scale, since the table is doubled. ldexp in float64: the lowest two are subnormal."""
    return np.ldexp(1.0, exponent.astype(np.int32) - 128).astype(np.float32)


def from_pairs(pairs: NDArray[np.uint8], exponents: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Blocks [..., n * 17] from nibbles [..., n, 16] (weight 2 i low, 2 i + 1 high) and exponents [..., n]."""
    if pairs.shape != (*exponents.shape, 16) or pairs.dtype != np.uint8 or exponents.dtype != np.uint8:
        raise ValueError(f"pairs are {pairs.shape}, exponents {exponents.shape}: give uint8 [..., n, 16] and [..., n]")
    blocks = np.empty((*exponents.shape, BYTES), np.uint8)
    blocks[..., 0] = exponents
    first, second = pairs[..., :8], pairs[..., 8:]  # weights 0..15 and 16..31
    blocks[..., 1::2] = (first & 15) | (second << 4)
    blocks[..., 2::2] = (first >> 4) | (second & 240)
    return blocks.reshape(*exponents.shape[:-1], exponents.shape[-1] * BYTES)


def to_pairs(blocks: NDArray[np.uint8]) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The inverse of ``from_pairs``: nibbles [..., n, 16] and exponents [..., n]."""
    if blocks.dtype != np.uint8 or blocks.ndim == 0 or blocks.shape[-1] % BYTES:
        raise ValueError(f"blocks are {blocks.dtype} of shape {blocks.shape}: give uint8, a multiple of {BYTES}")
    split = blocks.reshape(*blocks.shape[:-1], -1, BYTES)
    even, odd = split[..., 1::2], split[..., 2::2]
    return np.concatenate([(even & 15) | (odd << 4), (even >> 4) | (odd & 240)], axis=-1), split[..., 0].copy()
