"""The file in which packed weights are kept, so that a later load is a memory map.

    ┌────────────┬──────────────────┬─────────────────┬──────────────────────┬─────┬──────────────────────────┐
    │ "OWNLMPKD" │ n: u64           │ HMAC-SHA-256 of │ header: n bytes of   │ pad │ arrays, each at a        │
    │            │ little-endian    │ the header      │ JSON                 │     │ multiple of 4096         │
    └────────────┴──────────────────┴─────────────────┴──────────────────────┴─────┴──────────────────────────┘
    header = {"layout": int, "bytes": int, "about": {...}, "entries": {NAME: [PART, ...]}}
    PART   = {"weight": [format, rows, columns, glu], "data": SPAN, "scales": SPAN} or {"dtype", "shape", "data": SPAN}
    SPAN   = [first byte, bytes, SHA-256]

The header is sealed with a secret of whoever wrote it. Opening checks the seal, the file's size and every span against
it, and reads no weights: hashing 4 GB takes seconds. :func:`verify` reads them all. The file is written in large pieces
and mapped with the wish for huge pages, which is met where the page cache holds such pieces whole (Linux from 6.16 on
ext4): then it is read as fast as anonymous huge pages are.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import mmap
import os
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ownlm import native
from ownlm.errors import CorruptModel

MAGIC = b"OWNLMPKD"
PAGE = 4096
PIECE = 8 << 20
_HEAD = 8 + 8 + 32
_MAX_HEADER = 64 << 20
_DEAD = 3600  # seconds: a temporary file that nobody has written to for so long has no writer
_DTYPES = ("float32", "uint8", "uint16")
_NO_DIGEST = "0" * 64

Entry = list[native.Part] | NDArray[Any]
"""Parts of a packed matrix (``native.Linear.parts``), or an array."""


@dataclass(frozen=True, slots=True)
class PackedFile:
    """An open file: what it says ``about`` its model, and its entries by name, over the map."""

    path: Path
    about: Mapping[str, Any]
    entries: Mapping[str, Entry]


def write(
    path: Path,
    about: Mapping[str, Any],
    entries: Mapping[str, Entry],
    secret: bytes,
    *,
    stop: threading.Event | None = None,
    mode: int = 0o600,
) -> bool:
    """Write the file, whole or not at all; False if ``stop`` was set before it was. OSError as the disk has it."""
    header, arrays = _planned(about, entries)
    _clear(path)
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", suffix=".tmp", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb", buffering=0) as file:
            if not _pour(file.fileno(), header, arrays, secret, stop):
                return False
            os.fchmod(file.fileno(), mode)
            os.fsync(file.fileno())
        Path(name).replace(path)
        return True
    finally:
        Path(name).unlink(missing_ok=True)


def read(path: Path, secret: bytes) -> PackedFile:
    """Map the file. CorruptModel for any other bytes than a whole one of this layout under this secret; OSError."""
    with path.open("rb") as file:
        if os.fstat(file.fileno()).st_size < _HEAD:
            raise CorruptModel(f"{path} does not hold packed weights")
        mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    if hasattr(mmap, "MADV_HUGEPAGE"):
        with suppress(OSError):  # a wish
            mapped.madvise(mmap.MADV_HUGEPAGE)
    header = _header(path, mapped, secret)
    try:
        if header["layout"] != native.layout() or header["bytes"] != len(mapped):
            raise ValueError("another layout, or another size")
        entries = {name: _entry(mapped, parts) for name, parts in header["entries"].items()}
        return PackedFile(path, dict(header["about"]), entries)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        raise CorruptModel(f"{path} does not hold packed weights of this version ({error})") from None


def verify(path: Path, secret: bytes) -> int:
    """Compare every array with its checksum; return how many. CorruptModel as ``read``, or for one that differs."""
    read(path, secret)
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped:
        spans = list(_spans(_header(path, mapped, secret)["entries"]))
        with memoryview(mapped) as view:
            for start, size, digest in spans:
                if hashlib.sha256(view[start : start + size]).hexdigest() != digest:
                    raise CorruptModel(f"{path} is damaged at byte {start}: delete it, and it is made again")
    return len(spans)


def _planned(about: Mapping[str, Any], entries: Mapping[str, Entry]) -> tuple[dict[str, Any], list[NDArray[Any]]]:
    """The header with places and without checksums, and the arrays in their order."""
    arrays: list[NDArray[Any]] = []

    def span(array: NDArray[Any]) -> list[Any]:
        arrays.append(np.ascontiguousarray(array).reshape(-1).view(np.uint8))
        return [0, array.nbytes, _NO_DIGEST]

    planned: dict[str, Any] = {}
    for name, entry in entries.items():
        if isinstance(entry, np.ndarray):
            planned[name] = [{"dtype": entry.dtype.name, "shape": list(entry.shape), "data": span(entry)}]
        else:
            planned[name] = [
                {"weight": [format, rows, columns, glu], "data": span(data), "scales": span(scales)}
                for format, rows, columns, glu, data, scales in entry
            ]
    header = {"layout": native.layout(), "bytes": 1 << 60, "about": dict(about), "entries": planned}
    # Places take room in the header, which moves them: one digit more than any place has is kept for each.
    at = _page(_HEAD + len(_encoded(header)) + 64 + 20 * len(arrays))
    header["begin"] = at
    for place in _spans(planned):
        place[0] = at
        at = _page(at + place[1])
    header["bytes"] = at
    return header, arrays


def _pour(
    file: int, header: dict[str, Any], arrays: list[NDArray[Any]], secret: bytes, stop: threading.Event | None
) -> bool:
    """Everything in pieces that begin at multiples of their size; the header last, when the checksums are known."""
    piece, used = np.zeros(PIECE, np.uint8), header["begin"]
    if used > PIECE:
        os.lseek(file, used // PIECE * PIECE, os.SEEK_SET)
    used %= PIECE
    for place, array in zip(_spans(header["entries"]), arrays, strict=True):
        digest = hashlib.sha256()
        padded = _page(array.nbytes)
        for start in range(0, padded, 1 << 20):
            part = array[start : start + (1 << 20)]
            digest.update(part.data)
            rest = part
            while len(rest):
                take = min(len(rest), PIECE - used)
                piece[used : used + take] = rest[:take]
                used, rest = used + take, rest[take:]
                if used == PIECE:
                    if stop is not None and stop.is_set():
                        return False
                    _all(file, piece)
                    used = 0
        place[2] = digest.hexdigest()
        gap = padded - array.nbytes
        piece[used : used + gap] = 0  # pieces are whole pages: a gap never goes beyond one
        used += gap
        if used == PIECE:
            _all(file, piece)
            used = 0
    _all(file, piece[:used])
    head = _encoded(header)
    os.pwrite(file, MAGIC + len(head).to_bytes(8, "little") + _seal(head, secret) + head, 0)
    return stop is None or not stop.is_set()


def _all(file: int, data: NDArray[np.uint8]) -> None:
    view = memoryview(data.data)
    while view:
        view = view[os.write(file, view) :]


def _seal(head: bytes, secret: bytes) -> bytes:
    return hmac.digest(secret, head, "sha256")


def _header(path: Path, mapped: mmap.mmap, secret: bytes) -> dict[str, Any]:
    length = int.from_bytes(mapped[8:16], "little")
    if mapped[:8] != MAGIC or not 2 <= length <= min(len(mapped) - _HEAD, _MAX_HEADER):
        raise CorruptModel(f"{path} does not hold packed weights")
    head = mapped[_HEAD : _HEAD + length]
    if not hmac.compare_digest(_seal(head, secret), mapped[16:_HEAD]):
        raise CorruptModel(f"{path} has a damaged header, or was not written here")
    try:
        header = json.loads(head)
    except (ValueError, RecursionError) as error:
        raise CorruptModel(f"{path} has a damaged header ({error})") from None
    if not isinstance(header, dict):
        raise CorruptModel(f"{path} has a header that is no object")
    return header


def _entry(mapped: mmap.mmap, parts: list[dict[str, Any]]) -> Entry:
    if len(parts) == 1 and "dtype" in parts[0]:
        (part,) = parts
        if part["dtype"] not in _DTYPES:
            raise ValueError(f"dtype {part['dtype']!r}")
        array: NDArray[Any] = _view(mapped, part["data"]).view(part["dtype"]).reshape(part["shape"])
        return array
    found: list[native.Part] = []
    for part in parts:
        format, rows, columns, glu = part["weight"]
        if [type(value) for value in (format, rows, columns, glu)] != [str, int, int, bool]:
            raise ValueError(f"a weight {part['weight']!r}")
        found.append((format, rows, columns, glu, _view(mapped, part["data"]), _view(mapped, part["scales"])))
    return found


def _view(mapped: mmap.mmap, span: list[Any]) -> NDArray[np.uint8]:
    start, size, _ = span
    if type(start) is not int or type(size) is not int or start % PAGE or start < _HEAD or size < 0:
        raise ValueError(f"a span {start!r}, {size!r}")
    if start + size > len(mapped):
        raise ValueError(f"a span ends at byte {start + size} of {len(mapped)}")
    return np.frombuffer(mapped, np.uint8, size, start)


def _spans(entries: Mapping[str, list[dict[str, Any]]]) -> Iterator[list[Any]]:
    for parts in entries.values():
        for part in parts:
            yield part["data"]
            if "scales" in part:
                yield part["scales"]


def _encoded(header: Mapping[str, Any]) -> bytes:
    return json.dumps(header, separators=(",", ":")).encode()


def _page(size: int) -> int:
    return -(-size // PAGE) * PAGE


def _clear(path: Path) -> None:
    """Remove what writers of this file left that were killed."""
    for left in path.parent.glob(f".{path.name}.*.tmp"):
        with suppress(OSError):
            if time.time() - left.stat().st_mtime > _DEAD:
                left.unlink()
