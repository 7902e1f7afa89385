"""Worker processes that parse documents, re-used from file to file, replaced when one fails."""

from __future__ import annotations

import os
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ownlm.errors import DocumentError, DocumentTooLarge, InvalidSetting, UnreadableDocument
from ownlm.rag.readers import protocol
from ownlm.rag.readers.file import Snapshot, snapshot
from ownlm.rag.readers.limits import Limits
from ownlm.rag.types import Extracted
from ownlm.worker.idle import Idle
from ownlm.worker.process import Process, WorkerFailed, module_command

FILES_PER_WORKER = 500  # then a new one, so that no parser's leak and no document's mischief lasts


class Read(NamedTuple):
    """What a file holds, and exactly which bytes that was read from."""

    extracted: Extracted
    sha256: str
    size: int
    mtime_ns: int
    settled: bool


class ReaderPool:
    """At most ``workers`` processes that parse. A context manager; its methods may be called from any thread."""

    def __init__(self, workers: int = 1, limits: Limits | None = None) -> None:
        if workers < 1:
            raise InvalidSetting("workers", workers, "give a number above 0")
        self.limits = limits or Limits()
        self._idle = Idle(lambda: _Worker(self.limits))
        self._room = threading.BoundedSemaphore(workers)

    def __enter__(self) -> Self:
        """Start the first worker now: it is ready by the time the first file has been found."""
        self._idle.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the idle workers; those at work end when their document is done."""
        self._idle.close(for_good=True)

    def extract(self, path: str | os.PathLike[str]) -> Read:
        """Read and parse the file at ``path``. Raises UnreadableDocument or DocumentTooLarge."""
        shot = snapshot(path, self.limits)
        return Read(self.parse(shot), shot.sha256, shot.size, shot.mtime_ns, shot.settled)

    def parse(self, shot: Snapshot) -> Extracted:
        """Parse bytes that were read already. Raises UnreadableDocument or DocumentTooLarge."""
        if not shot.data:
            raise UnreadableDocument("is empty")
        with self._room:
            worker = self._idle.take()
            usable = False
            try:
                extracted = worker.parse(shot)
                usable = True
                return extracted
            except DocumentError:
                usable = worker.alive
                raise
            finally:
                self._idle.give_back(worker, usable=usable and worker.served < FILES_PER_WORKER)


def worker_command(limits: Limits) -> list[str]:
    return module_command("ownlm.rag.readers.worker", limits.memory_bytes)


class _Worker(Process):
    """One process that parses."""

    def __init__(self, limits: Limits) -> None:
        super().__init__(worker_command(limits))
        self.limits = limits
        self.served = 0

    def parse(self, shot: Snapshot) -> Extracted:
        """Send a document, take the answer. On anything unexpected the process is ended and the file blamed."""
        self.served += 1
        request = (protocol.request(Path(shot.name).name, shot.data, self.limits), shot.data)
        try:
            message = self.exchange(request, protocol.max_response(self.limits), self.limits.seconds)
            return protocol.outcome(message, self.limits)
        except WorkerFailed as failure:
            raise self._blame(failure) from None
        except protocol.BrokenWorker as failure:
            raise self._blame(WorkerFailed(self.end(), False, str(failure))) from None

    def _blame(self, failure: WorkerFailed) -> DocumentError:
        if failure.overdue:
            return DocumentTooLarge(f"takes longer to read than {self.limits.seconds:g} s")
        if failure.out_of_cpu:
            return DocumentTooLarge(f"takes more than {self.limits.cpu_seconds} s of processor time to read")
        if failure.broken:
            return UnreadableDocument(f"its reader answered with {failure.broken}: the file may be hostile")
        return UnreadableDocument(f"its reader crashed ({failure}): the file may be damaged")
