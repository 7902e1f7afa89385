"""bfloat16: the upper half of a float32. NumPy has no such type, so its bits are uint16."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray


def from_float32(w: NDArray[np.float32]) -> NDArray[np.uint16]:
    """The nearest bfloat16, ties to even; NaN stays NaN.

    >>> hex(from_float32(np.array([1.0], np.float32))[0])
    '0x3f80'
    """
    bits = np.ascontiguousarray(w, dtype=np.float32).view(np.uint32)
    with np.errstate(over="ignore"):
        rounded = (bits + (0x7FFF + ((bits >> 16) & 1))) >> 16
    quiet = (bits >> 16) | 0x40
    return np.where((bits & 0x7FFFFFFF) > 0x7F800000, quiet, rounded).astype(np.uint16)


def to_float32(bits: NDArray[np.uint16]) -> NDArray[np.float32]:
    """The same numbers as float32, exactly."""
    return (bits.astype(np.uint32) << 16).view(np.float32)
