"""What the store remembers of files, so that indexing again opens only what changed."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from ownlm.rag.store.write import FileState, signed


@dataclass(frozen=True, slots=True)
class Indexed:
    """A document's file as it was when it was indexed."""

    id: int
    state: FileState
    sha256: str
    recipe: str


@dataclass(frozen=True, slots=True)
class Refused:
    """A file that could not be read, as it was then, and why; ``version`` is that of the OwnLM that tried."""

    state: FileState
    reason: str
    version: str


def indexed(connection: sqlite3.Connection, name: str | None = None) -> dict[str, Indexed]:
    """Every document's file by name, or the one named."""
    rows = connection.execute(
        "SELECT name, id, size, mtime_ns, inode, settled, sha256, recipe FROM documents WHERE name = coalesce(?, name)",
        (name,),
    )
    return {row[0]: Indexed(row[1], _state(*row[2:6]), row[6], row[7]) for row in rows}


def refused(connection: sqlite3.Connection) -> dict[str, Refused]:
    """Every file that could not be read, by name."""
    rows = connection.execute("SELECT name, size, mtime_ns, inode, reason, version FROM skipped")
    return {row[0]: Refused(_state(*row[1:4]), row[4], row[5]) for row in rows}


def refuse(connection: sqlite3.Connection, name: str, file: Refused) -> None:
    """Remember that a file could not be read."""
    state = file.state
    connection.execute(
        "INSERT OR REPLACE INTO skipped (name, size, mtime_ns, inode, reason, version) VALUES (?, ?, ?, ?, ?, ?)",
        (name, state.size, state.mtime_ns, signed(state.inode), file.reason, file.version),
    )


def forget(connection: sqlite3.Connection, names: Iterable[str]) -> None:
    """Forget files that are gone or can be read now."""
    connection.executemany("DELETE FROM skipped WHERE name = ?", ((name,) for name in names))


def roots(connection: sqlite3.Connection) -> dict[str, int]:
    """Folders indexed so far, and the device that each was on."""
    return dict(connection.execute("SELECT name, device FROM roots").fetchall())


def keep_roots(connection: sqlite3.Connection, devices: Mapping[str, int]) -> None:
    """Remember the folders of this pass."""
    connection.executemany(
        "INSERT OR REPLACE INTO roots (name, device) VALUES (?, ?)",
        ((name, signed(device)) for name, device in devices.items()),
    )


def is_under(name: str, root: str) -> bool:
    """Whether the file ``name`` is ``root`` or lies in the folder ``root``."""
    return name == root or name.startswith(root if root.endswith(os.sep) else root + os.sep)


def _state(size: int, mtime_ns: int, inode: int, settled: int = 1) -> FileState:
    return FileState(size, mtime_ns, inode % (1 << 64), bool(settled))
