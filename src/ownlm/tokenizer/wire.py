"""Protocol Buffers wire format, as far as SentencePiece's model file needs it: a bounded reader of one message.

Source: https://protobuf.dev/programming-guides/encoding/. Nothing is recursed into and nothing is allocated
beyond the bytes given, so a hostile file costs no more than its own size.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
Value = int | memoryview


class Malformed(ValueError):
    """The bytes are no message."""


def fields(message: memoryview) -> Iterator[tuple[int, int, Value]]:
    """(number, wire type, value) of each field in order; a value is an int, or the bytes of it."""
    position, end = 0, len(message)
    while position < end:
        key, position = _varint(message, position)
        number, kind = key >> 3, key & 7
        if number == 0:
            raise Malformed("a field without a number")
        if kind == VARINT:
            value, position = _varint(message, position)
            yield number, kind, value
            continue
        if kind == BYTES:
            size, position = _varint(message, position)
        elif kind in (FIXED32, FIXED64):
            size = 4 if kind == FIXED32 else 8
        else:
            raise Malformed(f"a field of wire type {kind}")
        if size > end - position:
            raise Malformed("a field that ends after the message")
        yield number, kind, message[position : position + size]
        position += size


def text(value: Value) -> str:
    return bytes(_blob(value)).decode("utf-8")


def blob(value: Value) -> bytes:
    return bytes(_blob(value))


def integer(value: Value) -> int:
    """A signed 32-bit number (negative ones are written as 64-bit two's complement)."""
    if not isinstance(value, int):
        raise Malformed("bytes where a number belongs")
    return value - (1 << 64) if value >> 63 else value


def number(value: Value) -> float:
    data = _blob(value)
    if len(data) != 4:
        raise Malformed("a float of another size")
    result: float = struct.unpack("<f", data)[0]
    return result


def _blob(value: Value) -> memoryview:
    if isinstance(value, int):
        raise Malformed("a number where bytes belong")
    return value


def _varint(message: memoryview, position: int) -> tuple[int, int]:
    result = shift = 0
    while position < len(message) and shift < 70:
        byte = message[position]
        position += 1
        result |= (byte & 127) << shift
        if byte < 128:
            return result & ((1 << 64) - 1), position
        shift += 7
    raise Malformed("a number that does not end")
