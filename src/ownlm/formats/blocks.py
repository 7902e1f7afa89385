"""What every block format shares: walking rows of blocks, half-precision scales, and packed nibbles and bits."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

WEIGHTS_AT_A_TIME = 1 << 18  # the temporaries of a step stay in cache


def quantize_rows(
    w: NDArray[np.float32],
    block: int,
    size: int,
    fill: Callable[[NDArray[np.float32], NDArray[np.uint8]], None],
    step: int = WEIGHTS_AT_A_TIME,
) -> NDArray[np.uint8]:
    """Weights [..., K] to bytes [..., K // block * size]; ``fill(w [n, block], blocks [n, size])`` writes a part."""
    w = np.ascontiguousarray(w, dtype=np.float32)
    if w.ndim == 0 or w.shape[-1] % block:
        raise ValueError(f"w has shape {w.shape}: its last axis must be a multiple of {block}")
    flat = w.reshape(-1, block)
    blocks = np.empty((len(flat), size), np.uint8)
    stride = max(1, step // block)
    for start in range(0, len(flat), stride):
        fill(flat[start : start + stride], blocks[start : start + stride])
    return blocks.reshape(*w.shape[:-1], w.shape[-1] // block * size)


def dequantize_rows(
    blocks: NDArray[np.uint8], block: int, size: int, read: Callable[[NDArray[np.uint8]], NDArray[np.float32]]
) -> NDArray[np.float32]:
    """Bytes [..., n * size] to weights [..., n * block]; ``read(blocks [n, size])`` gives [n, block] of a part."""
    if blocks.dtype != np.uint8 or blocks.ndim == 0 or blocks.shape[-1] % size:
        raise ValueError(
            f"blocks are {blocks.dtype} of shape {blocks.shape}: give uint8, the last axis a multiple of {size}"
        )
    flat = np.ascontiguousarray(blocks).reshape(-1, size)
    w = np.empty((len(flat), block), np.float32)
    stride = WEIGHTS_AT_A_TIME // block
    for start in range(0, len(flat), stride):
        w[start : start + stride] = read(flat[start : start + stride])
    return w.reshape(*blocks.shape[:-1], blocks.shape[-1] // size * block)


def half_bytes(scale: NDArray[np.float32], name: str, largest: str) -> NDArray[np.uint8]:
    """Scales [n, 1] as the bytes of fp16 [n, 2]; ValueError if one is not finite there."""
    with np.errstate(over="ignore", invalid="ignore"):
        half = scale.astype("<f2")
    if not np.isfinite(half).all():
        raise ValueError(f"w holds a value that {name} cannot: NaN, infinity, or a magnitude above {largest}")
    return half.view(np.uint8).reshape(-1, 2)


def half_at(blocks: NDArray[np.uint8], at: int) -> NDArray[np.float32]:
    """The fp16 at byte ``at`` of every block, as float32 [n, 1]."""
    return np.ascontiguousarray(blocks[:, at : at + 2]).view("<f2").astype(np.float32)


def reciprocal(scale: NDArray[np.float32]) -> NDArray[np.float32]:
    """1 / scale, and 0 where that has no finite value: there the scale is 0 in fp16 whatever the weights are."""
    with np.errstate(divide="ignore", over="ignore"):
        inverse: NDArray[np.float32] = np.float32(1) / scale
    inverse[~np.isfinite(inverse)] = 0
    return inverse


def halves_packed(q: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Values [..., 2 m], their low 4 bits, as bytes [..., m]: the first half in low nibbles, the second in high ones.

    >>> halves_packed(np.array([1, 2, 3, 4], np.uint8)).tolist()
    [49, 66]
    """
    half = q.shape[-1] // 2
    packed: NDArray[np.uint8] = (q[..., :half] & np.uint8(15)) | (q[..., half:] << np.uint8(4))
    return packed


def halves_unpacked(packed: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The inverse of ``halves_packed``."""
    return np.concatenate([packed & np.uint8(15), packed >> np.uint8(4)], axis=-1)


def bits_packed(q: NDArray[np.uint8], bit: int) -> NDArray[np.uint8]:
    """Bit ``bit`` of the values [..., 8 m] as bytes [..., m], the first value lowest."""
    return np.packbits((q >> bit) & 1, axis=-1, bitorder="little")


def bits_unpacked(packed: NDArray[Any]) -> NDArray[np.uint8]:
    """Bytes [..., m] as single bits [..., 8 m], lowest first."""
    return np.unpackbits(packed, axis=-1, bitorder="little")
