"""KV blocks of one model on disk: found by name, mapped, checked, and removed when room or their owner's wish says so.

    with PrefixStore(home / "kv", runner.cache_key, runner.block_bytes, limit) as store:
        store.put(blocks, data, tags)          one segment; another process sees it from here on
        store.find(digests)                    how many of them, from the first on, are there
        for run in store.read(digests): ...    their contents, mapped and checked

What a name stands for is in ``prefix_cache``: tokens, and all before them. Model, precision, rope and adapter are in
the key, which is a folder. Nothing here is worth an error to whoever asks for an answer: what cannot be read is not
there, what cannot be written is not kept, and ``trouble`` says so once.
"""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import threading
import time
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from ownlm.engine import kv_segment
from ownlm.engine.kv_folder import SEGMENT, UNFINISHED, Folder, lock_file
from ownlm.engine.kv_segment import Block, DamagedSegment, Segment, checksum

if TYPE_CHECKING:
    from ownlm.engine.kv_segment import Bytes

MOST_BLOCKS = 1 << 17
"""Blocks that one model may have here, however small they are: each takes some 300 bytes of every process's memory."""
SPARE = 1 << 30
"""Bytes of the disk that are left to others."""
_RUN = 1 << 20  # bytes that are checked and handed out at a time: they are still in the processor's cache then
_TICK = 50_000_000  # nanoseconds within which a folder may change twice and look the same
_TOUCH = 30.0  # seconds in which a segment counts as used once


def default_limit(root: Path) -> int:
    """Bytes that all stores under ``root`` may take: 4 GB, or a tenth of what the disk has free if that is less."""
    there = next(path for path in (root, *root.parents) if path.is_dir())
    return min(4 << 30, shutil.disk_usage(there).free // 10)


class PrefixStore:
    """See the module. Any number of threads and processes may use one folder. OSError if it cannot be written to."""

    def __init__(self, root: Path, key: str, block_bytes: int, limit_bytes: int | None = None) -> None:
        self.folder = Folder(root)
        self.path = root / key
        self.path.mkdir(mode=0o700, exist_ok=True)
        self.block_bytes = block_bytes
        self.limit = default_limit(root) if limit_bytes is None else limit_bytes
        self.trouble: str | None = None  # what keeps it from writing, in words for the user
        self._lock = threading.Lock()
        self._segments: dict[str, Segment] = {}
        self._where: dict[bytes, list[tuple[Segment, int]]] = {}  # several if processes wrote the same
        self._children: dict[bytes, list[tuple[Segment, int]]] = {}
        self._seen = -1  # the folder's time when it was listed; -1: list it again
        self._dead = 0  # purged tags that the index knows of
        self.refresh()

    @property
    def blocks(self) -> int:
        """How many blocks can be found."""
        return len(self._where)

    def find(self, digests: Sequence[bytes], *, fresh: bool = True) -> int:
        """How many of a prompt's blocks, from the first on, are there; ``fresh``: look at the disk first."""
        if fresh:
            self.refresh()
        with self._lock:
            for count, digest in enumerate(digests):
                if digest not in self._where:
                    return count
        return len(digests)

    def missing(self, digests: Sequence[bytes]) -> list[int]:
        """Which of these are not there."""
        with self._lock:
            return [at for at, digest in enumerate(digests) if digest not in self._where]

    def children(self, parent: bytes) -> list[bytes]:
        """The tokens, as int32, of every block that follows the block ``parent`` here (empty: of every first block),
        and of prompts that ended before they filled one."""
        with self._lock:
            found = [segment.blocks[at].tokens for segment, at in self._children.get(parent, ())]
            for segment, at in self._where.get(parent, ()):
                if segment.tail and at == len(segment.blocks) - 1:
                    found.append(segment.tail)
            return found

    def tags(self, digests: Sequence[bytes]) -> list[frozenset[str]]:
        """For each, whose text it depends on; nobody's if it is not there."""
        with self._lock:
            found = [self._where.get(digest) for digest in digests]
        return [frozenset() if each is None else each[0][0].tags for each in found]

    def read(self, digests: Sequence[bytes]) -> Iterator[Bytes]:
        """Their contents in order, uint8 [some, block_bytes] at a time; ends early at one that is gone or damaged."""
        most, at = max(1, _RUN // self.block_bytes), 0
        while at < len(digests):
            with self._lock:
                places = self._where.get(digests[at])
                if places is None:
                    return
                segment, first = places[0]
                count = 1
                while at + count < len(digests):
                    if (segment, first + count) not in self._where.get(digests[at + count], ()):
                        break
                    count += 1
            try:
                data = segment.data(first, count)
            except OSError:
                self._forget(segment)  # evicted by another process
                return
            for begin in range(0, count, most):
                run = data[begin : begin + most]
                checks = segment.checks[first + begin : first + begin + len(run)]
                good = next((i for i, want in enumerate(checks) if checksum(run[i]) != want), len(run))
                if good:
                    yield run[:good]
                if good < len(run):
                    segment.path.unlink(missing_ok=True)
                    self._forget(segment)
                    return
            at += count

    def touch(self, digests: Sequence[bytes], now: int) -> None:
        """These were used at ``now`` (nanoseconds). What comes later in a prompt goes first when room is needed."""
        clock = time.monotonic()
        with self._lock:
            used = dict.fromkeys(places[0][0] for digest in digests if (places := self._where.get(digest)))
        for depth, segment in enumerate(used):
            if clock - segment.touched > _TOUCH:
                segment.touched = clock
                try:
                    os.utime(segment.path, ns=(now, now - 1000 * depth))
                except OSError:
                    continue  # evicted, or somebody else's

    def put(
        self, blocks: Sequence[Block], data: Bytes, tags: Collection[str], now: int | None = None, tail: bytes = b""
    ) -> bool:
        """Keep blocks [N], whose contents are uint8 [N, block_bytes], in one segment; whether they are kept.

        Not where one of the ``tags`` was purged, where there is no room, or where the disk refuses. ``now``: the time
        of their use, for what goes first. ``tail``: with which tokens, as int32, a prompt ended behind them.
        """
        coming = kv_segment.size(len(blocks), len(blocks[0].tokens) // 4, self.block_bytes)
        name = secrets.token_hex(12)
        unfinished, final = self.path / (name + UNFINISHED), self.path / (name + SEGMENT)
        try:
            with self.folder.locked():
                if self.folder.is_dead(tags) or not self._room(coming, len(blocks)):
                    return False
                self.path.mkdir(mode=0o700, exist_ok=True)
                descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
                lock_file(descriptor)
            with os.fdopen(descriptor, "wb") as file:
                kv_segment.write(file, blocks, data, tags, tail)
                file.flush()
                if os.name == "nt":  # renames no open file; elsewhere the lock on it says that its writer lives
                    file.close()
                if now is not None:
                    os.utime(unfinished, ns=(now, now))
                with self.folder.locked():  # a purge in between has removed the file, or shows in ``dead``
                    if self.folder.is_dead(tags):
                        unfinished.unlink(missing_ok=True)
                        return False
                    unfinished.rename(final)
        except FileNotFoundError:
            return False  # purged while it was written
        except OSError as error:
            self._complain(error)
            unfinished.unlink(missing_ok=True)
            return False
        self._add(final)
        return True

    def purge(self, tag: str) -> int:
        """``Folder.purge`` of one tag, in the stores of all models."""
        removed = self.folder.purge([tag])
        self.refresh()
        return removed

    def refresh(self) -> None:
        """See what other processes have put here, removed or purged."""
        self.folder.refresh()
        if len(self.folder.purged) > self._dead:
            self._dead = len(self.folder.purged)
            with self._lock:
                gone = [segment for segment in self._segments.values() if self.folder.is_dead(segment.tags)]
            for segment in gone:
                self._forget(segment)
        try:
            now, changed = time.time_ns(), self.path.stat().st_mtime_ns
            if changed == self._seen:
                return
            self._seen = changed if now - changed > _TICK else -1
            names = {path.name for path in self.path.glob(f"*{SEGMENT}")}
        except OSError:
            names = set()
        with self._lock:
            known = self._segments.keys()
            gone, new = [self._segments[name] for name in known - names], names - known
        for segment in gone:
            self._forget(segment)
        for name in new:
            self._add(self.path / name)

    def close(self) -> None:
        """Nothing is held open between calls; here so that who opens it can say when it is done."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _room(self, coming: int, count: int) -> bool:
        """Make room for so many bytes and blocks; the lock is held."""
        most = min(self.limit, self.folder.bytes() + shutil.disk_usage(self.path).free - SPARE)
        if self.blocks + count > MOST_BLOCKS:
            self.folder.evict(self.path, 0, MOST_BLOCKS * self.block_bytes // 2)
        if self.folder.evict(self.folder.root, coming, most):
            return True
        self._complain(OSError(errno.ENOSPC, f"there is no room for {coming:,} bytes within {most:,}"))
        return False

    def _complain(self, error: OSError) -> None:
        if self.trouble is None:
            reason = (error.strerror or type(error).__name__).lower()
            self.trouble = f"what is computed of prompts is not kept in {self.folder.root}: {reason}"

    def _add(self, path: Path) -> None:
        """Index a segment; one that is damaged, or of another shape, is removed."""
        try:
            segment = Segment(path)
        except OSError:
            return
        except DamagedSegment:
            path.unlink(missing_ok=True)
            return
        if segment.block_bytes != self.block_bytes:
            path.unlink(missing_ok=True)
            return
        with self._lock:
            if path.name in self._segments or self.folder.is_dead(segment.tags):
                return
            self._segments[path.name] = segment
            for at, block in enumerate(segment.blocks):
                self._where.setdefault(block.digest, []).append((segment, at))
                self._children.setdefault(block.parent, []).append((segment, at))

    def _forget(self, segment: Segment) -> None:
        with self._lock:
            if self._segments.pop(segment.path.name, None) is None:
                return
            for at, block in enumerate(segment.blocks):
                for table, key in ((self._where, block.digest), (self._children, block.parent)):
                    table[key].remove((segment, at))
                    if not table[key]:
                        del table[key]
