"""Bring the index in line with files and folders: open what changed, remove what was deleted, leave the rest.

    walk ── plan ──> tasks ── read and chunk, one file ahead ──> batch ── embed ──> one transaction a document

A document's old version answers until its new one is in. The pass can be stopped between documents, killed at any
moment, and run by several processes at once; the next one goes on where it stopped.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

import ownlm
from ownlm.rag.readers import Limits, ReaderPool
from ownlm.rag.store import FileState, Store
from ownlm.rag.store import files as store_files
from ownlm.rag.store import write as store_write
from ownlm.rag.store.files import Refused
from ownlm.rag.sync_plan import Plan, Task, plan
from ownlm.rag.sync_work import Encoder, Prepared, Refusal, prepare, recipe, with_vectors
from ownlm.rag.types import Progress, Skipped, SyncReport
from ownlm.rag.walk import Rules, walk

BATCH = 128
"""Chunks that are embedded together, across documents; a longer document is a batch of its own, in such slices."""
AHEAD = 2
"""Files that are read while a batch is embedded."""


def sync(
    store: Store,
    encoder: Encoder,
    roots: Sequence[Path],
    *,
    rules: Rules | None = None,
    limits: Limits | None = None,
    on_progress: Callable[[Progress], None] | None = None,
    cancel: Callable[[], bool] | None = None,
) -> SyncReport:
    """Index these files and folders. ``cancel`` is asked often; once it says True, the pass ends and reports.

    Files that cannot be read are reported, the rest goes on. Raises NotFound for a root that never was,
    StoreBusy, StoreFull; what was finished until then stays.
    """
    begin = time.monotonic()
    cancelled = cancel or (lambda: False)
    made = plan(
        store, roots, lambda there: walk(there, rules or Rules()), recipe(encoder), ownlm.__version__, cancelled
    )
    work = _Pass(store, encoder, made, on_progress or (lambda progress: None), cancelled)
    work.run(limits or Limits())
    removed = 0 if work.stopped else _remove(store, made)
    if work.stopped:
        made.notes.append("stopped before everything was indexed: index again to go on")
    return SyncReport(
        work.added,
        work.updated,
        made.unchanged + work.unchanged,
        removed,
        work.chunks,
        tuple(sorted(made.skipped, key=lambda skipped: skipped.name)),
        tuple(made.notes),
        tuple(sorted(store.under(made.names))),
        time.monotonic() - begin,
    )


@dataclass(slots=True)
class _Pass:
    """The work of one pass and its counts."""

    store: Store
    encoder: Encoder
    plan: Plan
    report: Callable[[Progress], None]
    cancelled: Callable[[], bool]
    added: int = 0
    updated: int = 0
    unchanged: int = 0
    chunks: int = 0
    stopped: bool = False
    _done: int = 0
    _bytes: int = 0
    _begin: float = field(default_factory=time.monotonic)
    _batch: list[tuple[Task, Prepared]] = field(default_factory=list)

    def run(self, limits: Limits) -> None:
        """Do all tasks, or as many as come before ``cancelled``."""
        self._say("")
        self.stopped = self.cancelled()
        if self.stopped or not self.plan.tasks:
            return
        with ReaderPool(limits=limits) as pool, closing(self._prepared(pool)) as outcomes:
            for task, outcome in outcomes:
                if isinstance(outcome, Prepared):
                    self._batch.append((task, outcome))
                    if sum(len(prepared.texts) for _, prepared in self._batch) >= BATCH:
                        self._flush()
                elif isinstance(outcome, FileState):
                    self._touch(task, outcome)
                else:
                    self._refuse(task, outcome)
                self.stopped = self.stopped or self.cancelled()
                if self.stopped:
                    return
            self._flush()

    def _prepared(self, pool: ReaderPool) -> Generator[tuple[Task, Prepared | FileState | Refusal], None, None]:
        """Each task with what came of it, in order, read a little ahead in another thread."""
        waiting: deque[tuple[Task, Future[Prepared | FileState | Refusal]]] = deque()
        executor = ThreadPoolExecutor(1, thread_name_prefix="ownlm-read")
        try:
            for task in self.plan.tasks:
                waiting.append((task, executor.submit(prepare, task, self.store, pool, self.encoder)))
                if len(waiting) > AHEAD:
                    first, future = waiting.popleft()
                    yield first, future.result()
            while waiting:
                first, future = waiting.popleft()
                yield first, future.result()
        finally:
            executor.shutdown(wait=True, cancel_futures=True)

    def _flush(self) -> None:
        """Embed the batch and swap its documents in."""
        texts = [text for _, prepared in self._batch for text in prepared.texts]
        spans = [inside for _, prepared in self._batch for inside in prepared.spans]
        size = sum(task.state.size for task, _ in self._batch)
        parts, pieces = [np.empty((0, self.encoder.dimension), np.float32)], []
        for at in range(0, len(texts), BATCH):
            if self.cancelled():
                self.stopped = True
                return
            vectors, of_sentences = self.encoder.encode_spans(texts[at : at + BATCH], spans[at : at + BATCH])
            parts.append(vectors)
            pieces += of_sentences
            self.chunks += len(vectors)
            self._say(self._batch[-1][0].name, size * len(pieces) // len(texts))
        vectors, row = np.concatenate(parts), 0
        for task, prepared in self._batch:
            low, row = row, row + len(prepared.texts)
            self.store.put(with_vectors(prepared, vectors[low:row], pieces[low:row]))
            self.added, self.updated = self.added + (task.known is None), self.updated + (task.known is not None)
            self._finish(task)
        self._batch = []

    def _touch(self, task: Task, state: FileState) -> None:
        with self.store.transaction() as connection:
            now = store_files.indexed(connection, task.name).get(task.name)
            if now is not None:
                store_write.touch(connection, now.id, state)
            store_files.forget(connection, [task.name])
        self.unchanged += 1
        self._finish(task)

    def _refuse(self, task: Task, refusal: Refusal) -> None:
        reason = refusal.reason
        if task.known is not None:
            reason += " (the version indexed before is kept)"
        if refusal.lasting:
            with self.store.transaction() as connection:
                store_files.refuse(connection, task.name, Refused(task.state, reason, ownlm.__version__))
        self.plan.skipped.append(Skipped(task.name, reason))
        self._finish(task)

    def _finish(self, task: Task) -> None:
        self._done += 1
        self._bytes += task.state.size
        self._say(task.name)

    def _say(self, current: str, under_way: int = 0) -> None:
        """Report progress; the time left goes by bytes, because files differ in size more than in speed."""
        total = sum(task.state.size for task in self.plan.tasks)
        done = self._bytes + under_way
        left = (time.monotonic() - self._begin) * (total - done) / done if done else None
        self.report(Progress(self._done, len(self.plan.tasks), self.chunks, current, left))


def _remove(store: Store, made: Plan) -> int:
    """Take out what was deleted, after what is new came in: a renamed file is never missing."""
    if made.devices or made.forgotten:
        with store.transaction() as connection:
            store_files.keep_roots(connection, made.devices)
            store_files.forget(connection, made.forgotten)
    return store.remove(row.id for row in made.removals.values())
