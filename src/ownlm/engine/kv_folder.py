"""The folder that all stores of KV blocks share: who may write in it, whose text is gone, how much room is taken.

    $OWNLM_HOME/kv/
      lock            held while a file gets or loses its name, never while data is written
      purged          16 bytes for each tag that was purged, appended; such a tag is dead for ever
      purging         there while a purge is under way: who opens the folder next completes it
      <key>/          one model in one arithmetic
        <name>.kv     a segment: blocks that never change (``kv_segment``)
        <name>.part   one that is being written; its writer holds a lock on it, so one that nobody locks is left over

Every process may be killed at any moment. What it leaves is a segment that is whole, or a ``.part`` that the next one
removes. Nothing here needs NumPy or a model: a document's blocks are purged without loading any.
"""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Iterable, Iterator
from hashlib import blake2b
from pathlib import Path

from ownlm.engine.kv_segment import DamagedSegment, read_tags

FOLDER = "kv"
"""The folder's name in OWNLM_HOME."""
SEGMENT, UNFINISHED = ".kv", ".part"
TAG_BYTES = 16

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]


def tag_digest(tag: str) -> bytes:
    """What is remembered of a purged tag: enough to know it again, and none of its characters."""
    return blake2b(tag.encode("utf-8", "surrogatepass"), digest_size=TAG_BYTES).digest()


class Folder:
    """The shared folder, made if it is missing, as one process sees it. OSError where it cannot be written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.dead: set[bytes] = set()
        self.purged: list[bytes] = []  # digests of tags, in the order in which they were purged
        self._reading = threading.Lock()
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        with self.locked():
            if (root / "purging").exists():
                self._sweep()
            for path in root.glob(f"*/*{UNFINISHED}"):
                if _left_over(path):
                    with contextlib.suppress(OSError):  # Windows has no such locks, and keeps what is open
                        path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone in the folder, among all processes and threads that come through here; ``dead`` is up to date."""
        descriptor = os.open(self.root / "lock", os.O_RDWR | os.O_CREAT, 0o600)
        try:
            _wait_for(descriptor)
            self.refresh()
            yield
        finally:
            os.close(descriptor)  # which gives the lock back

    def refresh(self) -> None:
        """Learn of the tags that any process has purged since the last look."""
        path = self.root / "purged"
        with self._reading, contextlib.suppress(FileNotFoundError):
            known = len(self.purged) * TAG_BYTES
            if path.stat().st_size < known + TAG_BYTES:
                return
            with path.open("rb") as file:
                file.seek(known)
                data = file.read()
            whole = len(data) // TAG_BYTES * TAG_BYTES
            found = [data[at : at + TAG_BYTES] for at in range(0, whole, TAG_BYTES)]
            self.dead.update(found)
            self.purged += found

    def is_dead(self, tags: Iterable[str]) -> bool:
        """Whether the text of any of these owners is gone."""
        return bool(self.dead) and any(tag_digest(tag) in self.dead for tag in tags)

    def purge(self, tags: Iterable[str]) -> int:
        """Remove every segment that depends on text of these owners, and let none come again; how many there were.

        When this returns no byte of them is left under the folder. A crash in between loses nothing of that: the next
        ``Folder`` goes on with it.
        """
        wanted = [digest for digest in dict.fromkeys(map(tag_digest, tags)) if digest not in self.purged]
        if not wanted and not (self.root / "purging").exists():
            return 0
        with self.locked():
            (self.root / "purging").touch(mode=0o600)
            with (self.root / "purged").open("ab", buffering=0) as file:
                file.truncate(file.seek(0, os.SEEK_END) // TAG_BYTES * TAG_BYTES)  # half a digest of one who crashed
                file.write(b"".join(wanted))
                os.fsync(file.fileno())
            return self._sweep()

    def evict(self, where: Path, coming: int, limit: int) -> bool:
        """Remove segments under ``where``, the longest unused first, until ``coming`` more bytes keep to ``limit``.

        False if they cannot. The lock is held.
        """
        known = []
        for path in self._files(where):
            with contextlib.suppress(OSError):
                status = path.stat()
                known.append((status.st_mtime_ns, status.st_size, path))
        total = sum(size for _, size, _ in known)
        for _, size, path in sorted(known) if coming <= limit else ():
            if total + coming <= limit:
                break
            if path.suffix == SEGMENT or _left_over(path):
                path.unlink(missing_ok=True)
                total -= size
        return total + coming <= limit

    def bytes(self) -> int:
        """What all segments take."""
        total = 0
        for path in self._files(self.root):
            with contextlib.suppress(OSError):
                total += path.stat().st_size
        return total

    def _files(self, where: Path) -> Iterator[Path]:
        for kind in (SEGMENT, UNFINISHED):
            yield from where.rglob(f"*{kind}")

    def _sweep(self) -> int:
        """Remove what dead owners left; the lock is held, so no segment gets its name meanwhile."""
        self.refresh()
        removed = 0
        for path in self._files(self.root):
            if path.suffix == UNFINISHED:  # its writer finds it gone, and gives up
                path.unlink(missing_ok=True)
                continue
            try:
                gone = self.is_dead(read_tags(path))
            except (DamagedSegment, OSError):
                gone = True  # nobody can say whose it is
            if gone:
                path.unlink(missing_ok=True)
                removed += 1
        (self.root / "purging").unlink(missing_ok=True)
        return removed


def purge(root: Path, tags: Iterable[str]) -> int:
    """``Folder.purge`` where a folder is; where none is, nothing was kept and nobody is keeping anything."""
    return Folder(root).purge(tags) if root.is_dir() else 0


def lock_file(descriptor: int) -> bool:
    """Lock an open file for this process without waiting; False if another one holds it."""
    if fcntl is None:
        return True
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _wait_for(descriptor: int) -> None:
    if fcntl is not None:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        return
    import msvcrt

    while True:  # it gives up after ten seconds
        with contextlib.suppress(OSError):
            msvcrt.locking(descriptor, msvcrt.LK_LOCK, 1)
            return


def _left_over(path: Path) -> bool:
    """Whether the writer of an unfinished segment is gone."""
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        return lock_file(descriptor)
    finally:
        os.close(descriptor)
