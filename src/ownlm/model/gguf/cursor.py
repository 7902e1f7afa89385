"""Reading GGUF's values from bytes that may be anything."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np

from ownlm.model.gguf.types import CODES, KINDS, Kind

_SIZES = {kind: struct.calcsize(code) for kind, code in CODES.items()} | {"bool": 1, "str": 8, "array": 12}
_MAX_NESTING = 4
MAX_HEADER = 128 << 20  # bytes; the largest vocabularies take about 10 million


class Damage(Exception):
    """What is wrong with the bytes; becomes CorruptModel with the file's name."""


class Cursor:
    """A position in a buffer, moved by what is read. Raises Damage, never anything else."""

    def __init__(self, buffer: Any) -> None:
        self._buffer = buffer
        self._size = min(len(buffer), MAX_HEADER)
        self.at = 0

    def take(self, size: int) -> bytes:
        """The next bytes."""
        if size > self._size - self.at:
            raise Damage(f"{size} bytes were to follow byte {self.at}, where its header cannot go beyond {self._size}")
        start, self.at = self.at, self.at + size
        return bytes(self._buffer[start : self.at])

    def number(self, kind: Kind) -> Any:
        """A number."""
        (value,) = struct.unpack("<" + CODES[kind], self.take(_SIZES[kind]))
        return value

    def count(self, least: int, what: str) -> int:
        """A count of things that take ``least`` bytes each or more, so that the rest of the file can hold them."""
        number: int = self.number("u64")
        if number * least > self._size - self.at:
            raise Damage(f"it claims {number} {what} in its remaining {self._size - self.at} bytes")
        return number

    def string(self) -> str:
        """A length and that many bytes of UTF-8."""
        text = self.take(self.count(1, "characters"))
        try:
            return text.decode("utf-8")
        except UnicodeDecodeError as error:
            raise Damage(f"text before byte {self.at} is not UTF-8: {error.reason}") from None

    def value(self) -> Any:
        """A kind and a value of that kind."""
        return self._value(self._kind(), 0)

    def _kind(self) -> Kind:
        kind: int = self.number("u32")
        if kind >= len(KINDS):
            raise Damage(f"a value before byte {self.at} has the unknown kind {kind}")
        return KINDS[kind]

    def _value(self, kind: Kind, depth: int) -> Any:
        if kind == "str":
            return self.string()
        if kind == "bool":
            return _bools(self.take(1))[0]
        if kind != "array":
            return self.number(kind)
        if depth == _MAX_NESTING:
            raise Damage(f"arrays are nested {depth} deep at byte {self.at}")
        inner = self._kind()
        length = self.count(_SIZES[inner], "elements")
        if inner in CODES:
            return np.frombuffer(self.take(length * _SIZES[inner]), "<" + CODES[inner]).tolist()
        if inner == "bool":
            return _bools(self.take(length))
        return [self._value(inner, depth + 1) for _ in range(length)]


def _bools(found: bytes) -> list[bool]:
    if found.strip(b"\0\1"):
        raise Damage("a truth value is neither 0 nor 1")
    return [byte == 1 for byte in found]
