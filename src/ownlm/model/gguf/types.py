"""The numbers that GGUF gives to types of values and of tensors.

Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "array", "u64", "i64", "f64"]
KINDS: tuple[Kind, ...] = (
    "u8", "i8", "u16", "i16", "u32", "i32", "f32", "bool", "str", "array", "u64", "i64", "f64",
)  # fmt: skip
CODES = {
    "u8": "B", "i8": "b", "u16": "H", "i16": "h", "u32": "I", "i32": "i", "f32": "f",
    "u64": "Q", "i64": "q", "f64": "d",
}  # fmt: skip

# Tensors whose elements stand alone, by the dtype names of safetensors, ...
PLAIN = {0: "F32", 1: "F16", 24: "I8", 25: "I16", 26: "I32", 27: "I64", 28: "F64", 30: "BF16"}
# ... in blocks, by the names of ``ownlm.formats``, ...
BLOCKS = {
    2: "q4_0", 3: "q4_1", 6: "q5_0", 7: "q5_1", 8: "q8_0", 12: "q4_k", 13: "q5_k", 14: "q6_k", 39: "mxfp4",
}  # fmt: skip
# ... and those that we can name but not read.
UNREAD = {
    9: "Q8_1", 10: "Q2_K", 11: "Q3_K", 15: "Q8_K", 16: "IQ2_XXS", 17: "IQ2_XS", 18: "IQ3_XXS", 19: "IQ1_S",
    20: "IQ4_NL", 21: "IQ3_S", 22: "IQ2_S", 23: "IQ4_XS", 29: "IQ1_M", 34: "TQ1_0", 35: "TQ2_0", 40: "NVFP4",
}  # fmt: skip
NUMBERS = {name: number for table in (PLAIN, BLOCKS) for number, name in table.items()}

# What ``general.file_type`` says of a file whose matrices are mostly of a type.
FILE_TYPES = {
    "F32": 0, "F16": 1, "q4_0": 2, "q4_1": 3, "q8_0": 7, "q5_0": 8, "q5_1": 9,
    "q4_k": 14, "q5_k": 16, "q6_k": 18, "BF16": 32, "mxfp4": 38,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Value:
    """A metadata value to write; for an array, ``kind`` is that of its elements."""

    kind: Kind
    value: Any
    array: bool = False
