"""The SQLite file under the store: connections, transactions, and its errors in words a person can act on."""

from __future__ import annotations

import contextlib
import os
import shutil
import sqlite3
import threading
import weakref
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from ownlm.errors import StoreBusy, StoreError, StoreFull
from ownlm.rag.store import schema

WAIT_SECONDS = 30.0
"""How long a writer waits for another process's transaction before StoreBusy."""
SHRINK_MILLISECONDS = 2000
"""How long emptying the log waits for readers; it holds writers up meanwhile."""
_NO_ROOM = 1 << 20
"""With fewer free bytes than this, an input/output error is taken for a full disk."""


@dataclass(frozen=True, slots=True, eq=False)
class _Held:
    """A connection, and the process and thread that it is for."""

    pid: int
    thread: weakref.ref[threading.Thread]
    connection: sqlite3.Connection

    def alive(self) -> bool:
        thread = self.thread()
        return thread is not None and thread.is_alive()


class Database:
    """One SQLite file in WAL mode; every thread has its own connection, made at its first use.

    Readers see the last committed state and are never held up by a writer. After a fork the child makes its
    own connections. Errors of SQLite leave here as StoreError, StoreBusy or StoreFull.
    """

    def __init__(self, path: Path, *, wait: float = WAIT_SECONDS, max_pages: int | None = None) -> None:
        """Open or create the file. ``wait`` is in seconds; ``max_pages`` caps the file's size, for tests."""
        self.path = path
        self._wait = wait
        self._max_pages = max_pages
        self._local = threading.local()
        self._lock = threading.Lock()
        self._connections: list[_Held] = []
        self._closed = False
        with self.errors():
            self._open()

    def connection(self) -> sqlite3.Connection:
        """This thread's connection. Use it inside ``errors()``; write inside ``transaction()`` only."""
        held = getattr(self._local, "held", None)
        if held is not None and held[0] == os.getpid() and not self._closed:
            connection: sqlite3.Connection = held[1]
            return connection
        if self._closed:
            raise StoreError(f"the index {self.path} was closed: open it again")
        return self._open()

    @contextlib.contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Several reads of one committed state."""
        with self.errors():
            connection = self.connection()
            if connection.in_transaction:  # already inside one: the state it sees is the state we see
                yield connection
                return
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("COMMIT")

    @contextlib.contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        """All of the block's writes, or none. Waits for other writers; raises StoreBusy, StoreFull."""
        with self.errors():
            connection = self.connection()
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
                connection.execute("COMMIT")
            except BaseException:
                if connection.in_transaction:  # SQLite rolls back by itself when the disk is full
                    connection.execute("ROLLBACK")
                raise

    @contextlib.contextmanager
    def errors(self) -> Iterator[None]:
        """Turn SQLite's errors into ours."""
        try:
            yield
        except sqlite3.Error as error:
            raise self._translated(error) from error
        except UnicodeError:
            raise
        except ValueError as error:  # bytes of a vector or a span, or JSON, that are none
            raise self._damaged() from error

    def shrink(self) -> bool:
        """Give free pages back to the disk and empty the log; False when other processes' reading kept it from that."""
        with self.errors():
            connection = self.connection()
            connection.execute(f"PRAGMA busy_timeout = {SHRINK_MILLISECONDS}")
            try:
                connection.execute("PRAGMA incremental_vacuum").fetchall()
                (busy, _, _) = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            finally:
                connection.execute(f"PRAGMA busy_timeout = {int(1000 * self._wait)}")
            return not busy

    def close(self) -> None:
        """Close every connection of this process. Nothing may be running."""
        with self._lock:
            self._closed = True
            for held in self._connections:
                if held.pid == os.getpid():
                    held.connection.close()
            self._connections.clear()

    def _open(self) -> sqlite3.Connection:
        connection = sqlite3.connect(self.path, timeout=self._wait, isolation_level=None, check_same_thread=False)
        try:
            for pragma in (
                "foreign_keys = ON",
                "secure_delete = ON",  # what is deleted is overwritten with zeros
                "temp_store = MEMORY",  # no copy of a document in a temporary file
                "synchronous = NORMAL",  # with WAL: a killed process loses nothing, a power cut the last moments
                "cache_size = -4096",  # KiB; there may be hundreds of connections
                "journal_size_limit = 4194304",  # bytes of the log that are kept for use again
            ):
                connection.execute(f"PRAGMA {pragma}")
            if schema.version(connection) == 0:
                connection.execute("PRAGMA auto_vacuum = INCREMENTAL")  # before the first table
                connection.execute("PRAGMA journal_mode = WAL")
            if self._max_pages is not None:
                connection.execute(f"PRAGMA max_page_count = {self._max_pages}")
            schema.migrate(connection)
        except BaseException:
            connection.close()
            raise
        self._local.held = (os.getpid(), connection)
        with self._lock:
            for held in [held for held in self._connections if held.pid == os.getpid() and not held.alive()]:
                held.connection.close()
                self._connections.remove(held)
            self._connections.append(_Held(os.getpid(), weakref.ref(threading.current_thread()), connection))
        return connection

    def _translated(self, error: sqlite3.Error) -> StoreError:
        code = getattr(error, "sqlite_errorcode", 0) or 0
        kind = code & 0xFF
        if kind in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
            return StoreBusy(f"the index {self.path} is being written by another process: try again when it is done")
        if kind == sqlite3.SQLITE_FULL or (kind == sqlite3.SQLITE_IOERR and self._free() < _NO_ROOM):
            return StoreFull(
                f"no room for the index on the disk of {self.path}: what was indexed before is kept; "
                "free some space, or put OWNLM_HOME on another disk"
            )
        if kind in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or "decode to UTF-8" in str(error):
            return self._damaged()  # SQLite's own words may hold the documents' text
        if kind in (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM):
            return StoreError(
                f"the index {self.path} cannot be opened for writing ({error}): "
                "check the folder's permissions, or name another OWNLM_HOME"
            )
        return StoreError(f"the index {self.path} failed ({error}): check the disk, or index into another OWNLM_HOME")

    def _damaged(self) -> StoreError:
        return StoreError(f"the index {self.path} is damaged: move the file away and index your documents again")

    def _free(self) -> int:
        try:
            return shutil.disk_usage(self.path.parent).free
        except OSError:
            return 0
