"""Writing a GGUF file, version 3: equal metadata and tensors give equal bytes; whole or not at all."""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.files import atomic_write
from ownlm.formats import FORMATS
from ownlm.model.gguf import DEFAULT_ALIGNMENT, MAGIC, SEAL
from ownlm.model.gguf.types import CODES, KINDS, NUMBERS, Value
from ownlm.model.safetensors import DTYPES

_VERSION = 3


@dataclass(frozen=True, slots=True)
class Planned:
    """A tensor to write: ``type`` is a dtype (F32, F16, BF16, ...) or a block format, ``shape`` counts weights.

    ``make`` gives the bytes as they are stored, when their turn comes, so that one tensor is in memory at a time.
    """

    type: str
    shape: tuple[int, ...]
    make: Callable[[], NDArray[Any]]

    @property
    def nbytes(self) -> int:
        """Bytes in the file."""
        count = int(np.prod(self.shape, dtype=object))
        form = FORMATS.get(self.type)
        return count * DTYPES[self.type].itemsize if form is None else count // form.block * form.bytes


def write(path: Path, metadata: Mapping[str, Value], tensors: Mapping[str, Planned]) -> str:
    """Write metadata and tensors in the order given and return the checksum that the file carries."""
    head = bytearray(MAGIC + struct.pack("<IQQ", _VERSION, len(tensors), len(metadata)))
    for key, value in metadata.items():
        head += _string(key) + _value(value)
    offset = 0
    for name, tensor in tensors.items():
        shape = tensor.shape[::-1]
        head += _string(name) + struct.pack(f"<I{len(shape)}Q", len(shape), *shape)
        head += struct.pack("<IQ", NUMBERS[tensor.type], offset)
        offset += tensor.nbytes + _padding(tensor.nbytes)
    head += bytes(_padding(len(head)))
    digest = hashlib.sha256(head)
    with atomic_write(path) as file:
        file.write(head)
        for name, tensor in tensors.items():
            stored = np.ascontiguousarray(tensor.make()).reshape(-1).view(np.uint8)
            if stored.nbytes != tensor.nbytes:
                raise ValueError(f"tensor {name} has {stored.nbytes} bytes where {tensor.nbytes} were planned")
            for part in (stored.data, bytes(_padding(stored.nbytes))):
                digest.update(part)
                file.write(part)
        file.write(SEAL + digest.digest())
    return digest.hexdigest()


def _padding(size: int) -> int:
    return -size % DEFAULT_ALIGNMENT


def _string(text: str) -> bytes:
    encoded = text.encode("utf-8")
    return struct.pack("<Q", len(encoded)) + encoded


def _value(value: Value) -> bytes:
    kind = KINDS.index(value.kind)
    if not value.array:
        return struct.pack("<I", kind) + _element(value)
    head = struct.pack("<IIQ", KINDS.index("array"), kind, len(value.value))
    if value.kind in CODES:
        return head + np.array(value.value, "<" + CODES[value.kind]).tobytes()
    return head + b"".join(_element(Value(value.kind, element)) for element in value.value)


def _element(value: Value) -> bytes:
    if value.kind == "str":
        return _string(value.value)
    if value.kind == "bool":
        return bytes([bool(value.value)])
    return struct.pack("<" + CODES[value.kind], value.value)
