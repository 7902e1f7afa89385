"""The safetensors file format, read without copying and written to the same bytes every time.

    ┌────────────┬──────────────────────────┬───────────────────────────────┐
    │ n: u64 LE  │ header: n bytes of JSON  │ data: tensors, no gaps        │
    └────────────┴──────────────────────────┴───────────────────────────────┘
    header = {"__metadata__": {str: str}, NAME: {"dtype", "shape", "data_offsets": [start, end)}, ...}

Files that we write carry their own checksum in ``__metadata__``: ``sha256`` is the SHA-256 of the whole file
with its own 64 digits read as zeros, so one flipped bit anywhere (length, header or data) is found when the
file is opened. Files of others, which have none, are checked for everything the header promises.

Why not the ``safetensors`` package: to NumPy it copies every tensor and knows no bfloat16; it takes the last of
two equal names without a word; and its metadata order, hence the file's bytes, changes from run to run. Our
tests hold both against each other. Format: https://github.com/huggingface/safetensors#format
"""

from __future__ import annotations

import hashlib
import json
import math
import mmap
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm.errors import CorruptModel, NotFound
from ownlm.files import atomic_write
from ownlm.formats import FORMATS, bfloat16

# What NumPy has no type for is kept as the raw bits (bfloat16 as uint16).
DTYPES: dict[str, np.dtype[Any]] = {
    name: np.dtype(code)
    for name, code in {
        "F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2",
        "I64": "<i8", "I32": "<i4", "I16": "<i2", "I8": "i1",
        "U64": "<u8", "U32": "<u4", "U16": "<u2", "U8": "u1",
        "BOOL": "?", "F8_E4M3": "u1", "F8_E5M2": "u1",
    }.items()
}  # fmt: skip
MAX_HEADER = 100_000_000  # bytes; the reference reader's limit
MAX_DIMENSIONS = 32
_ALIGN = 64  # bytes; the data section of our files starts on a cache line
_DIGITS = 64
_ZEROS = "0" * _DIGITS


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor as the file stores it: ``array`` is a read-only view of the mapped file."""

    name: str
    dtype: str
    array: NDArray[Any]
    format: str = ""
    """Name in ``FORMATS`` of the blocks that ``array`` (U8 [..., K / block * bytes]) holds; "" for plain numbers."""

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape as stored: that of ``array``."""
        return self.array.shape

    @property
    def weights_shape(self) -> tuple[int, ...]:
        """The shape counted in weights: what ``shape`` is for plain numbers, [..., K] for blocks."""
        if not self.format:
            return self.shape
        form = FORMATS[self.format]
        return (*self.shape[:-1], self.shape[-1] // form.bytes * form.block)

    def float32(self) -> NDArray[np.float32]:
        """The values as float32: the view itself for F32, a converted copy for F64, F16, BF16 and blocks."""
        if self.format:
            return FORMATS[self.format].dequantize(self.array)
        if self.dtype == "BF16":
            return bfloat16.to_float32(self.array)
        if self.dtype not in ("F64", "F32", "F16"):
            raise CorruptModel(f"tensor {self.name} is {self.dtype}: floating-point values were expected here")
        return self.array.astype(np.float32, copy=False)


class Deferred(Tensor):
    """A tensor whose values are not as the file stores them, and are made each time they are asked for."""

    __slots__ = ("_make", "_shape")
    _make: Callable[[], NDArray[Any]]
    _shape: tuple[int, ...]

    def __init__(self, tensor: Tensor, name: str, make: Callable[[NDArray[Any]], NDArray[Any]]) -> None:
        """What ``make``, which keeps shape and type, makes of a tensor's array."""
        for slot, value in (
            ("name", name),
            ("dtype", tensor.dtype),
            ("format", tensor.format),
            ("_shape", tensor.shape),
        ):
            object.__setattr__(self, slot, value)
        object.__setattr__(self, "_make", lambda: make(tensor.array))

    @property
    def array(self) -> NDArray[Any]:
        """The values, anew."""
        return self._make()

    @property
    def shape(self) -> tuple[int, ...]:
        return self._shape


def hollow(tensor: Tensor) -> Tensor:
    """The same name, type and shape over one zero, for which no byte of the file is read."""
    return Tensor(
        tensor.name, tensor.dtype, np.broadcast_to(np.zeros((), DTYPES[tensor.dtype]), tensor.shape), tensor.format
    )


@dataclass(frozen=True, slots=True)
class TensorFile:
    """An open safetensors file. The mapping lives as long as a tensor of it does."""

    path: Path
    tensors: Mapping[str, Tensor]
    metadata: Mapping[str, str]
    sha256: str | None
    """The checksum that the file carries, verified if the file was opened with ``verify``; None if it carries none."""


def read(path: Path, *, verify: bool = True) -> TensorFile:
    """Map a safetensors file. ``verify`` also reads it once to compare the checksum it carries.

    Raises NotFound if there is no such file and CorruptModel, with what is wrong, for any other bytes than a
    whole and consistent file.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, 2)
            if size < 8:
                raise _corrupt(path, f"only {size} bytes long")
            mapped = mmap.mmap(file.fileno(), size, access=mmap.ACCESS_READ)
    except FileNotFoundError:
        raise NotFound(f"{path} is not there") from None
    except (OSError, ValueError) as error:
        raise CorruptModel(f"{path} cannot be read: {error}") from None
    (length,) = struct.unpack("<Q", mapped[:8])
    if not 2 <= length <= min(size - 8, MAX_HEADER):
        raise _corrupt(path, f"its header claims {length} bytes of {size - 8}")
    head = mapped[8 : 8 + length]
    header = _parse(path, head)
    metadata = _metadata(path, header.pop("__metadata__", None))
    tensors = _tensors(path, header, mapped, 8 + length)
    checksum = metadata.get("sha256")
    if (checksum is None) != (metadata.get("checksum") is None):
        raise _corrupt(path, "its checksum is damaged")
    if checksum is not None and verify and _checksum(mapped, head, checksum) != checksum:
        raise _corrupt(path, "its bytes do not match the checksum it carries")
    return TensorFile(path, tensors, metadata, checksum)


def write(
    path: Path, tensors: Mapping[str, tuple[str, NDArray[Any]]], metadata: Mapping[str, str] | None = None
) -> str:
    """Write ``{name: (dtype, array)}``, whole or not at all, and return the checksum the file carries.

    Equal tensors and metadata give equal bytes. Tensors are ordered by element size, then name, so that each is
    aligned in the mapped file.
    """
    order = sorted(tensors, key=lambda name: (-DTYPES[tensors[name][0]].itemsize, name))
    arrays = [np.ascontiguousarray(tensors[name][1], dtype=DTYPES[tensors[name][0]]) for name in order]
    header: dict[str, Any] = {"__metadata__": {**(metadata or {}), "checksum": "sha256", "sha256": _ZEROS}}
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    end = 0
    for name, array in zip(order, arrays, strict=True):
        start, end = end, end + array.nbytes
        header[name] = {"dtype": tensors[name][0], "shape": list(tensors[name][1].shape), "data_offsets": [start, end]}
    head = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    head += b" " * (-(8 + len(head)) % _ALIGN)
    prefix = struct.pack("<Q", len(head))
    digest = hashlib.sha256(prefix + head)
    for array in arrays:
        digest.update(_bytes(array))
    checksum = digest.hexdigest()
    # The first run of zeros that stands as the value of "sha256" is ours: metadata comes first in the header.
    marker = b'"sha256":"'
    at = head.index(marker + _ZEROS.encode()) + len(marker)
    with atomic_write(path) as file:
        file.write(prefix + head[:at] + checksum.encode() + head[at + _DIGITS :])
        for array in arrays:
            file.write(_bytes(array))
    return checksum


def _bytes(array: NDArray[Any]) -> memoryview:
    return array.reshape(-1).view(np.uint8).data


def _checksum(mapped: mmap.mmap, head: bytes, stated: str) -> str:
    parts = head.split(stated.encode())
    if len(stated) != _DIGITS or len(parts) != 2:
        return ""
    digest = hashlib.sha256(mapped[:8] + _ZEROS.encode().join(parts))
    with memoryview(mapped) as view, view[8 + len(head) :] as data:
        digest.update(data)
    return digest.hexdigest()


def _corrupt(path: Path, what: str) -> CorruptModel:
    return CorruptModel(f"{path} is damaged ({what}): get the file again")


def _parse(path: Path, head: bytes) -> dict[str, Any]:
    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        found = dict(pairs)
        if len(found) != len(pairs):
            raise ValueError("a name occurs twice")
        return found

    try:
        header = json.loads(head.decode("utf-8"), object_pairs_hook=unique)
    except (ValueError, RecursionError) as error:
        raise _corrupt(path, f"its header is not valid: {error}") from None
    if not isinstance(header, dict):
        raise _corrupt(path, "its header is not a JSON object")
    return header


def _metadata(path: Path, found: object) -> dict[str, str]:
    if found is None:  # some write null
        return {}
    if not isinstance(found, dict) or not all(isinstance(value, str) for value in found.values()):
        raise _corrupt(path, "its metadata is not text")
    return found


def _tensors(path: Path, header: dict[str, Any], mapped: mmap.mmap, data: int) -> dict[str, Tensor]:
    """Check that the entries tile the data section exactly, then make the views."""
    entries = []
    for name, entry in header.items():
        try:
            dtype, shape, (start, end) = entry["dtype"], entry["shape"], entry["data_offsets"]
            kind = DTYPES.get(dtype)
        except (TypeError, KeyError, ValueError):
            raise _corrupt(path, f"the entry of tensor {name!r} is incomplete") from None
        if kind is None:
            raise _corrupt(path, f"tensor {name!r} has the unknown dtype {dtype!r}")
        if not isinstance(shape, list) or len(shape) > MAX_DIMENSIONS:
            raise _corrupt(path, f"tensor {name!r} has no valid shape")
        if any(type(number) is not int or number < 0 for number in (*shape, start, end)):
            raise _corrupt(path, f"tensor {name!r} has a size or an offset that is not a natural number")
        if end - start != math.prod(shape) * kind.itemsize:
            raise _corrupt(
                path, f"tensor {name!r} of shape {shape} and dtype {dtype} does not take {end - start} bytes"
            )
        entries.append((start, end, name, dtype, shape))
    position, size = 0, len(mapped) - data
    for start, end, name, _, _ in sorted(entries, key=lambda entry: entry[:2]):
        if start != position:
            raise _corrupt(path, f"tensor {name!r} starts at byte {start} of the data, not at {position}")
        position = end
    if position != size:
        raise _corrupt(path, f"it has {size} bytes of data where its header describes {position}")
    tensors = {}
    for start, _, name, dtype, shape in entries:
        array: NDArray[Any] = np.ndarray(shape, DTYPES[dtype], buffer=mapped, offset=data + start)
        tensors[name] = Tensor(name, dtype, array if array.flags.aligned else array.copy())
    return tensors
