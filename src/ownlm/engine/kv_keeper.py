"""Between the cache in memory and the store on disk: what is there is fetched before it is computed again, what was
computed is put there, and nobody waits for the latter.

    a request arrives ── names of its blocks ── in memory? on disk? ── read into free blocks, named ──┐
                                                                                                      v
    store <── a thread <── copies, a few MB after each step <── its prompt was computed <── the scheduler finds them

The scheduler knows nothing of disks: a block that was fetched is a block that the cache holds.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from ownlm.engine.block_table import BlockTable
from ownlm.engine.kv_folder import tag_digest
from ownlm.engine.kv_segment import Block
from ownlm.engine.prefix_cache import block_tokens
from ownlm.engine.request import Request
from ownlm.engine.runner import Runner
from ownlm.engine.scheduler import Scheduler
from ownlm.engine.stats import Counters

if TYPE_CHECKING:
    from collections.abc import Callable

    from ownlm.engine.kv_segment import Bytes
    from ownlm.engine.prefix_store import PrefixStore

_log = logging.getLogger(__name__)
LEAST_TOKENS = 64
"""Fewer than so many new tokens are computed again sooner than they are worth a file."""
_PREPARED = 2 << 20  # bytes that get memory at a time before the first request
_COPY = 8 << 20  # bytes that are copied between two steps, and about the size of a segment
_QUEUED = 128 << 20  # bytes of copies that may wait for the disk
_JOBS = 256  # prompts that may wait to be copied: the oldest is given up
_PATIENCE = 10.0  # seconds that closing waits for the disk


class _Job:
    """A prompt whose full blocks are to be kept; ``missing``: those that the store lacks, once it was asked."""

    __slots__ = ("digests", "missing", "now", "tail", "tokens")

    def __init__(self, digests: list[bytes], tokens: list[int], tail: bytes) -> None:
        self.digests, self.tokens, self.tail, self.now = digests, tokens, tail, time.time_ns()
        self.missing: deque[int] | None = None


class _Batch(NamedTuple):
    """Blocks that were copied, all of one set of owners."""

    blocks: list[Block]
    data: Bytes
    tags: frozenset[str]
    now: int
    tail: bytes


class Keeper:
    """For the engine's thread, but for ``arrived`` and ``purge``. Without a store it keeps nothing."""

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        counters: Counters,
        lock: threading.Lock,
        store: PrefixStore | None = None,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """``lock`` guards the scheduler; ``wake`` is called from another thread when there is work again."""
        self.store = store
        self._runner, self._scheduler, self._counters, self._lock = runner, scheduler, counters, lock
        self._blocks = scheduler.blocks
        self._least = max(1, LEAST_TOKENS // runner.block_size)
        self._fresh: deque[Request] = deque()
        self._jobs: deque[_Job] = deque(maxlen=_JOBS)
        self._purged = 0  # of the store's purged tags, those that memory has followed
        self._queue: SimpleQueue[_Batch | None] = SimpleQueue()
        self._queued = 0
        self._counting = threading.Lock()
        self._wake = wake
        self._writer: threading.Thread | None = None
        if store is not None:
            self._blocks.elsewhere = store.children

    def prepare(self, wanted: Callable[[], bool]) -> None:
        """Before the first request: give memory to the blocks that will be read into, until ``wanted`` says that
        somebody came. The first write to a page of a cache costs more than the copy."""
        if self.store is None:
            return
        zeros = np.zeros((max(1, _PREPARED // self._runner.block_bytes), self._runner.block_bytes), np.uint8)
        count = min(self.store.blocks, self._blocks.total, self._runner.max_positions // self._runner.block_size)
        for at in range(0, count, len(zeros)):
            if wanted():
                return
            some = range(at, min(count, at + len(zeros)))
            self._runner.write_blocks(some, zeros[: len(some)])

    def arrived(self, request: Request) -> None:
        """A request waits from now on; the lock is held."""
        if self.store is not None and len(request.tokens) > self._runner.block_size * self._least:
            self._fresh.append(request)

    def before(self) -> None:
        """Before a step: fetch what its new requests can use, as long as there is room for it."""
        if self.store is None or not self._fresh:
            return
        try:
            self.store.refresh()
            self._follow_purges(self.store)
            while self._fresh and self._fetch(self.store, self._fresh[0]):
                self._fresh.popleft()
        except OSError as error:
            self._give_up(error)

    def prompt_done(self, request: Request) -> None:
        """A prompt is computed: it is to be kept, if it may be."""
        tokens = request.tokens[: request.prompt_length]
        with self._lock:
            tail = self._blocks.end(request.table, tokens)
        full = len(tokens) // self._runner.block_size
        if self.store is not None and full >= self._least and not request.table.private:
            self._jobs.append(_Job(request.table.digests[:full], tokens, tail))

    def after(self) -> bool:
        """After a step: copy some of what is to be kept; whether there is more that could be copied now."""
        if self.store is None or not self._jobs or self._queued >= _QUEUED:
            return False
        try:
            if self._copy(self.store, self._jobs[0]):
                self._jobs.popleft()
        except OSError as error:
            self._give_up(error)
        return bool(self._jobs) and self._queued < _QUEUED

    def purge(self, tag: str) -> int:
        """Forget what depends on text of an owner, in memory and on disk; how many blocks of memory that were."""
        if self.store is not None:
            self.store.folder.dead.add(tag_digest(tag))  # what is being read of it now comes too late
        with self._lock:
            found = self._scheduler.purge(tag)
        if self.store is not None:
            self.store.purge(tag)
        return found

    def close(self) -> None:
        """Keep what is left to be kept, as far as the disk takes it soon."""
        end = time.monotonic() + _PATIENCE
        while self.store is not None and self._jobs and time.monotonic() < end:
            if not self.after():
                time.sleep(0.002)
        self._jobs.clear()
        if self._writer is not None:
            self._queue.put(None)
            self._writer.join(max(0.0, end - time.monotonic()))

    def _follow_purges(self, store: PrefixStore) -> None:
        """What another process has purged is forgotten here too."""
        new = store.folder.purged[self._purged :]
        if new:
            self._purged += len(new)
            with self._lock:
                held = self._blocks.tags() | {o.tag for r in self._scheduler.requests() for o in r.table.owners}
                for tag in held:
                    if tag_digest(tag) in new:
                        self._scheduler.purge(tag)

    def _fetch(self, store: PrefixStore, request: Request) -> bool:
        """Bring a request's blocks from disk to memory. False if there is no room for it yet."""
        blocks, size, table = self._blocks, self._runner.block_size, request.table
        held = BlockTable(table.owners)
        with self._lock:
            if request.done or request.running or request.admitted or table.private:
                return True
            found = blocks.find(table, request.tokens, request.reusable)
            digests = table.digests[len(found) : request.reusable // size]
            count = store.find(digests, fresh=False)  # the lock is held, and ``before`` has just looked
            if count < self._least:
                return True
            if not self._scheduler.has_room(request, found):
                return False
            held.digests = list(table.digests)
            blocks.attach(held, found)
            end = (len(found) + count) * size
            if not blocks.grow(held, len(found) * size, end):
                blocks.release(held)
                return False
            ids = held.blocks[len(found) :]
        began, done = time.perf_counter(), 0
        tags: list[frozenset[str]] = []
        try:
            for run in store.read(digests[:count]):
                self._runner.write_blocks(ids[done : done + len(run)], run)
                done += len(run)
            tags = store.tags(digests[:done])
        finally:
            with self._lock:
                if tags and not table.private and not store.folder.is_dead(frozenset().union(*tags)):
                    blocks.register(held, request.tokens, (len(found) + done) * size)
                    for digest, owners in zip(digests, tags, strict=False):
                        blocks.own(digest, owners)
                    request.on_disk = range(len(found) * size, (len(found) + done) * size)
                blocks.release(held)
        self._counters.restored_tokens += done * size
        self._counters.restore_seconds += time.perf_counter() - began
        return True

    def _copy(self, store: PrefixStore, job: _Job) -> bool:
        """Copy the next of a prompt's blocks that the store lacks; whether those were the last."""
        if job.missing is None:
            job.missing = deque(store.missing(job.digests))
            store.touch(job.digests, job.now)
            if len(job.missing) < self._least:
                return True
        missing, size = job.missing, self._runner.block_size
        first, most = missing[0], max(1, _COPY // self._runner.block_bytes)
        blocks: list[Block] = []
        ids: list[int] = []
        owners: frozenset[str] = frozenset()
        with self._lock:
            while missing and len(blocks) < most:
                at = missing[0]
                named = self._blocks.named(job.digests[at])
                if named is None:  # evicted or purged meanwhile: what follows it would never be found
                    missing.clear()
                    break
                if blocks and named[1] != owners:
                    break
                owners = named[1]
                ids.append(named[0])
                parent = job.digests[at - 1] if at else b""
                blocks.append(Block(job.digests[at], parent, block_tokens(job.tokens, at, size)))
                missing.popleft()
        if blocks:
            data = self._runner.read_blocks(ids)
            last = not missing and blocks[-1].digest == job.digests[-1]
            self._put(_Batch(blocks, data, owners, job.now - 1000 * first, job.tail if last else b""))
        return not missing

    def _put(self, batch: _Batch) -> None:
        with self._counting:
            self._queued += batch.data.nbytes
        if self._writer is None:
            self._writer = threading.Thread(target=self._write, name="ownlm-kv-writer", daemon=True)
            self._writer.start()
        self._queue.put(batch)

    def _write(self) -> None:
        """The writer's thread."""
        store = self.store
        while store is not None and (batch := self._queue.get()) is not None:
            troubled = store.trouble is not None
            try:
                if store.put(*batch):
                    self._counters.stored_tokens += len(batch.blocks) * self._runner.block_size
            except Exception:
                _log.exception("blocks were not kept on disk")
            if store.trouble is not None and not troubled:
                _log.warning("%s", store.trouble)
            with self._counting:
                self._queued -= batch.data.nbytes
            self._wake()

    def _give_up(self, error: OSError) -> None:
        """The folder cannot even be looked at: from here on as if there were none."""
        _log.warning("what was computed of prompts is neither kept nor fetched any more: %s", error)
        self.store = None
        self._blocks.elsewhere = lambda parent: ()
        self._fresh.clear()
        self._jobs.clear()
