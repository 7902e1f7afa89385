"""The GGUF file format, versions 2 and 3, mapped into memory and read without copying.

    ┌────────┬─────────┬──────────────┬───────────┬───────────────────┬──────────────┬─────┬──────────────┐
    │ "GGUF" │ version │ tensor count │ key count │ keys and values   │ tensor infos │ pad │ tensor data  │
    │        │ u32     │ u64          │ u64       │ str, kind, value  │              │     │ each aligned │
    └────────┴─────────┴──────────────┴───────────┴───────────────────┴──────────────┴─────┴──────────────┘
    tensor info = name, number of dimensions u32, dimensions u64 (the fastest first), type u32, offset u64

A file may come from anyone: every count, length, offset and type is checked against what the file can hold before
it is used. Files that we write end, behind the last tensor, with ``SEAL`` and the SHA-256 of all that stands before it.
It is no key of the metadata, because tools that write a file anew, such as llama-quantize, copy the keys.
Specification: https://github.com/ggml-org/ggml/blob/master/docs/gguf.md
"""

from __future__ import annotations

import hashlib
import math
import mmap
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel, NotFound, UnsupportedModel
from ownlm.formats import FORMATS
from ownlm.model.gguf.cursor import Cursor, Damage
from ownlm.model.gguf.types import BLOCKS, PLAIN, UNREAD
from ownlm.model.safetensors import DTYPES, Tensor

MAGIC = b"GGUF"
VERSIONS = (2, 3)
SEAL = b"ownlm.sha256\0\0\0\0"
ALIGNMENT = "general.alignment"
DEFAULT_ALIGNMENT = 32
_MAX_DIMENSIONS = 4
_MIN_KEY = 8 + 4 + 1  # bytes that a key and its value take at least
_MIN_INFO = 8 + 4 + 4 + 8
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True, slots=True)
class GgufFile:
    """An open GGUF file: tensors under GGUF's names, rows first (shape [N, K]), blocks as U8 of shape [N, bytes]."""

    path: Path
    version: int
    metadata: Mapping[str, Any]
    tensors: Mapping[str, Tensor]
    sha256: str | None
    """The checksum that the file carries, verified if the file was opened with ``verify``; None if it carries none."""


def read(path: Path, *, verify: bool = True) -> GgufFile:
    """Map a GGUF file. ``verify`` also reads it once to compare the checksum, if it carries one.

    Raises NotFound if there is no such file, UnsupportedModel for a version, byte order or tensor type that is not
    read here, and CorruptModel, with what is wrong, for any other bytes than a whole and consistent file.
    """
    try:
        with path.open("rb") as file:
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (FileNotFoundError, NotADirectoryError):
        raise NotFound(f"{path} is not there") from None
    except (OSError, ValueError) as error:
        raise CorruptModel(f"{path} cannot be read: {error}") from None
    try:
        return _read(path, mapped, verify)
    except Damage as damage:
        raise CorruptModel(f"{path} is damaged ({damage}): get the file again") from None


def _read(path: Path, mapped: mmap.mmap, verify: bool) -> GgufFile:
    cursor = Cursor(mapped)
    if cursor.take(4) != MAGIC:
        raise Damage("it does not begin with GGUF")
    version = cursor.number("u32")
    if version not in VERSIONS:
        if version & 0xFFFF == 0:
            raise UnsupportedModel(f"{path} has big-endian numbers; supported: little-endian GGUF")
        raise UnsupportedModel(f"{path} is GGUF version {version}; supported: versions 2 and 3")
    tensors, keys = cursor.count(_MIN_INFO, "tensors"), cursor.count(_MIN_KEY, "keys")
    metadata: dict[str, Any] = {}
    for _ in range(keys):
        key = cursor.string()
        if key in metadata:
            raise Damage(f"the key {key!r} occurs twice")
        metadata[key] = cursor.value()
    alignment = metadata.get(ALIGNMENT, DEFAULT_ALIGNMENT)
    if type(alignment) is not int or not 1 <= alignment <= 1 << 16 or alignment & (alignment - 1):
        raise Damage(f"{ALIGNMENT} is {alignment!r}, not a power of two")
    infos = [_info(path, cursor) for _ in range(tensors)]
    data = -(-cursor.at // alignment) * alignment
    views = _views(mapped, infos, data, alignment)
    sealed = _sealed(mapped)
    if sealed is not None and verify and _digest(mapped) != sealed:
        raise Damage("its bytes do not match the checksum it carries")
    return GgufFile(path, version, metadata, views, None if sealed is None else sealed.hex())


@dataclass(frozen=True, slots=True)
class _Info:
    name: str
    shape: tuple[int, ...]  # of what is stored: blocks count in bytes
    dtype: str
    format: str
    offset: int
    size: int


def _info(path: Path, cursor: Cursor) -> _Info:
    name = cursor.string()
    dimensions = cursor.number("u32")
    if dimensions > _MAX_DIMENSIONS:
        raise Damage(f"tensor {name!r} has {dimensions} dimensions")
    shape = tuple(cursor.number("u64") for _ in range(dimensions))[::-1]
    if 0 in shape:
        raise Damage(f"tensor {name!r} of shape {shape} holds nothing")
    number, offset = cursor.number("u32"), cursor.number("u64")
    if number in UNREAD:
        supported = ", ".join(name.upper() for name in (*PLAIN.values(), *BLOCKS.values()))
        raise UnsupportedModel(f"{path}: tensor {name} is of type {UNREAD[number]}; supported: {supported}")
    if number in PLAIN:
        dtype = PLAIN[number]
        return _Info(name, shape, dtype, "", offset, math.prod(shape) * DTYPES[dtype].itemsize)
    if number not in BLOCKS:
        raise Damage(f"tensor {name!r} has the unknown type {number}")
    form = FORMATS[BLOCKS[number]]
    if not shape or shape[-1] % form.block:
        raise Damage(f"tensor {name!r} of shape {shape} is no whole number of {form.name} blocks")
    stored = (*shape[:-1], form.row_bytes(shape[-1]))
    return _Info(name, stored, "U8", form.name, offset, math.prod(stored))


def _views(mapped: mmap.mmap, infos: list[_Info], data: int, alignment: int) -> dict[str, Tensor]:
    end = 0
    for info in sorted(infos, key=lambda info: (info.offset, info.size)):
        if info.offset % alignment:
            raise Damage(f"tensor {info.name!r} starts at {info.offset}, no multiple of {alignment}")
        if info.offset < end:
            raise Damage(f"tensor {info.name!r} overlaps the one before it")
        end = info.offset + info.size
        if data + end > len(mapped):
            raise Damage(f"tensor {info.name!r} ends at byte {data + end} of {len(mapped)}")
    tensors: dict[str, Tensor] = {}
    for info in infos:
        if info.name in tensors:
            raise Damage(f"the tensor {info.name!r} occurs twice")
        array: NDArray[Any] = np.ndarray(info.shape, DTYPES[info.dtype], buffer=mapped, offset=data + info.offset)
        tensors[info.name] = Tensor(
            info.name, info.dtype, array if array.flags.aligned else array.copy(), format=info.format
        )
    return tensors


def _sealed(mapped: mmap.mmap) -> bytes | None:
    """The digest that the file ends with, if it does."""
    end = len(mapped) - _DIGEST
    return mapped[end:] if mapped[max(0, end - len(SEAL)) : end] == SEAL else None


def _digest(mapped: mmap.mmap) -> bytes:
    with memoryview(mapped) as view:
        return hashlib.sha256(view[: len(view) - _DIGEST - len(SEAL)]).digest()
