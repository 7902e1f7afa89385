"""Reading a file's bytes once, and knowing that they are one state of it."""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
import time
from dataclasses import dataclass
from pathlib import Path

from ownlm.errors import DocumentTooLarge, UnreadableDocument
from ownlm.rag.names import document_name
from ownlm.rag.readers.limits import Limits, size_in_words

ATTEMPTS = 4
SETTLES_AFTER_NS = 2_000_000_000  # the coarsest clock in use for file times: FAT's two seconds


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The bytes of a file at one moment, with their digest and the times the file had."""

    name: str
    data: bytes
    sha256: str
    size: int
    mtime_ns: int
    settled: bool


def snapshot(path: str | os.PathLike[str], limits: Limits | None = None) -> Snapshot:
    """Read the file at ``path`` whole; when it changes meanwhile, read it again.

    Only a regular file is read: a pipe, socket or device that has taken the file's place is not waited on.
    Raises UnreadableDocument when it cannot be opened or will not keep still, DocumentTooLarge.
    """
    limits = limits or Limits()
    pause = 0.02
    for _ in range(ATTEMPTS):
        shot = _read_once(Path(path), limits)
        if shot is not None:
            return shot
        time.sleep(pause)
        pause *= 4
    raise UnreadableDocument("it changes while it is read: index it again when it is at rest")


def _read_once(path: Path, limits: Limits) -> Snapshot | None:
    """The file's bytes, or None when size or time of change moved while they were read."""
    flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
    try:
        descriptor = os.open(path, flags | getattr(os, "O_CLOEXEC", 0))
    except OSError as error:
        raise UnreadableDocument(f"cannot be opened: {_in_words(error)}") from None
    except ValueError:
        raise UnreadableDocument("cannot be opened: its name holds a NUL byte") from None
    try:
        before = os.fstat(descriptor)
        if not stat.S_ISREG(before.st_mode):
            raise UnreadableDocument("is not a regular file")
        if before.st_size > limits.file_bytes:
            raise DocumentTooLarge(
                f"has {size_in_words(before.st_size)}, more than the limit of {size_in_words(limits.file_bytes)}"
            )
        data = _read(descriptor, limits.file_bytes)
        after = os.fstat(descriptor)
    except OSError as error:
        raise UnreadableDocument(f"cannot be read: {_in_words(error)}") from None
    finally:
        with contextlib.suppress(OSError):
            os.close(descriptor)
    same = (before.st_size, before.st_mtime_ns) == (after.st_size, after.st_mtime_ns)
    if not same or len(data) != after.st_size:
        return None
    age = time.time_ns() - after.st_mtime_ns
    return Snapshot(
        document_name(path),
        data,
        hashlib.sha256(data).hexdigest(),
        len(data),
        after.st_mtime_ns,
        settled=not 0 <= age < SETTLES_AFTER_NS,
    )


def _read(descriptor: int, limit: int) -> bytes:
    """All bytes up to one more than ``limit`` (a growing file is seen by its size, not read for ever)."""
    parts = []
    left = limit + 1
    while left > 0:
        part = os.read(descriptor, min(left, 1 << 22))
        if not part:
            break
        parts.append(part)
        left -= len(part)
    return b"".join(parts)


def _in_words(error: OSError) -> str:
    return (error.strerror or type(error).__name__).lower()
