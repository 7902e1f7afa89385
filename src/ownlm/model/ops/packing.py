"""What the native side makes of stored weights: their format there, their exact bytes, and the conversion.

F32, BF16, Q8_0, Q4_0, Q4_K, Q5_K and Q6_K are computed with as they are stored; F16 becomes BF16; every other format of
blocks (Q4_1, Q5_0, Q5_1, MXFP4) is read and rounded to Q8_0, whose 8 bits keep what 4 or 5 held. Matrices that are
stacked (query, key and value) keep a format each. Gate and up, whose rows lie in turn, take one: of different ones Q8_0
if any is of blocks, else F32.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.formats import FORMATS, bfloat16, q8_0
from ownlm.model.params import LinearWeight

RESCORE_FROM = 1 << 24
"""Weights of a head that is worth a 4-bit copy; the 16 MB of a smaller one are read in half a millisecond."""
PANEL = 16
"""Outputs that are packed side by side: rows are padded to a multiple of it, a gate's and an up's each."""
_NATIVE = {"f32": "f32", "bf16": "bf16", "f16": "bf16", "q8_0": "q8_0", "q4_0": "q4_0"}
_NATIVE |= {name: name for name in ("q4_k", "q5_k", "q6_k")}
_STORED = {name: form.bytes / form.block for name, form in FORMATS.items()} | {"f32": 4.0, "bf16": 2.0}
_PACKED = _STORED | {"q4_k": 148 / 256, "q5_k": 180 / 256}  # scales and minima as whole bytes


def packed_format(formats: Iterable[str]) -> str:
    """The format in which matrices stored in ``formats`` are packed together.

    >>> [packed_format(formats) for formats in (["q4_k", "q6_k"], ["q4_k"], ["q4_1"], ["f32", "bf16"])]
    ['q8_0', 'q4_k', 'q8_0', 'f32']
    """
    wanted = {_NATIVE.get(name, "q8_0") for name in formats}
    if len(wanted) == 1:
        return wanted.pop()
    return "q8_0" if any(name in FORMATS for name in wanted) else "f32"


def rescored(head: LinearWeight, least: int = RESCORE_FROM) -> bool:
    """Whether a head is worth a 4-bit copy with exact rescoring: of ``least`` weights, and of 8 bits a weight or more.

    Where memory's rate is the limit, as it is for one token after another, a head's bytes are its time: at the shape of
    Qwen2.5-0.5B an 8-bit head is two fifths of a token's bytes.
    """
    matrix = head.matrices[0]
    inputs = columns(matrix.values.shape[1], matrix.format)
    wide = packed_format((matrix.format,)) in ("f32", "bf16", "q8_0")
    return wide and len(head.matrices) == 1 and not head.outliers and inputs % 32 == 0 and matrix.rows * inputs >= least


def table_format(stored: str) -> str:
    """The format of a table whose rows are looked up: as it is stored, but for blocks that are rounded to Q8_0."""
    return stored if stored in _NATIVE else "q8_0"


def packed_bytes(format: str, rows: int, columns: int) -> int:
    """Bytes of a matrix of ``rows`` (one of the stacked, for gate and up) packed in ``format`` of ``packed_format``."""
    columns += columns % 2 if format == "bf16" else 0
    return int(-(-rows // PANEL) * PANEL * columns * _PACKED[format])


def stored_bytes(format: str, rows: int, columns: int) -> int:
    """Bytes of the same matrix as it is before it is packed: without padding."""
    return int(rows * columns * _STORED[format])


def columns(stored: int, format: str) -> int:
    """Weights in a row of ``stored`` values: numbers, or bytes of blocks."""
    form = FORMATS.get(format)
    return stored if form is None else stored // form.bytes * form.block


def converted(values: NDArray[Any], stored: str, wanted: str) -> NDArray[Any]:
    """Stored values as ``wanted`` of ``packed_format``: float32, bits of bfloat16 as uint16, or uint8 blocks."""
    if stored == wanted:
        return values.astype(np.float32, copy=False) if wanted == "f32" else values
    if stored in FORMATS:
        floats = FORMATS[stored].dequantize(np.ascontiguousarray(values))
    elif stored == "bf16":
        floats = bfloat16.to_float32(np.ascontiguousarray(values))
    else:
        floats = values.astype(np.float32)
    if wanted == "bf16":
        return bfloat16.from_float32(floats)
    return q8_0.quantize(floats) if wanted == "q8_0" else floats
