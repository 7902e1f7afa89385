"""Quantized blocks, byte for byte. NumPy only, and only when something is quantized.

``FORMATS[name]`` has a format by the name that ``config.json`` and the command line use; ``bfloat16`` has the one
conversion that NumPy lacks.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

from ownlm.formats import mxfp4, q4_0, q4_1, q4_k, q5_0, q5_1, q5_k, q6_k, q8_0

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Format:
    """A block format: ``block`` weights along a row take ``bytes`` bytes."""

    name: str
    block: int
    bytes: int
    quantize: Callable[[NDArray[np.float32]], NDArray[np.uint8]]
    dequantize: Callable[[NDArray[np.uint8]], NDArray[np.float32]]

    @property
    def bits(self) -> float:
        """Bits a weight."""
        return self.bytes * 8 / self.block

    def row_bytes(self, columns: int) -> int:
        """Bytes of a row of ``columns`` weights; ValueError unless they are whole blocks."""
        if columns % self.block:
            raise ValueError(f"{columns} columns are no multiple of {self.block}, the block of {self.name}")
        return columns // self.block * self.bytes


FORMATS: Mapping[str, Format] = MappingProxyType(
    {
        name: Format(name, module.BLOCK, module.BYTES, module.quantize, module.dequantize)
        for name, module in (
            ("q8_0", q8_0),
            ("q4_0", q4_0),
            ("q4_1", q4_1),
            ("q5_0", q5_0),
            ("q5_1", q5_1),
            ("q4_k", q4_k),
            ("q5_k", q5_k),
            ("q6_k", q6_k),
            ("mxfp4", mxfp4),
        )
    }
)
