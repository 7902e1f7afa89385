"""Worker processes that parse documents, re-used from file to file, replaced when one fails."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from ownlm.errors import DocumentError, DocumentTooLarge, InvalidSetting, UnreadableDocument
from ownlm.rag.readers import protocol
from ownlm.rag.readers.file import Snapshot, snapshot
from ownlm.rag.readers.limits import Limits
from ownlm.rag.types import Extracted

FILES_PER_WORKER = 500  # then a new one, so that no parser's leak and no document's mischief lasts
PACKAGE_ROOT = Path(__file__).parents[3]


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
        self._idle: list[_Worker] = []
        self._lock = threading.Lock()
        self._room = threading.BoundedSemaphore(workers)
        self._closed = False

    def __enter__(self) -> Self:
        """Start the first worker now: it is ready by the time the first file has been found."""
        self._idle.append(_Worker(self.limits))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """End the idle workers; those at work end when their document is done."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for worker in idle:
            worker.stop()

    def extract(self, path: str | os.PathLike[str]) -> Read:
        """Read and parse the file at ``path``. Raises UnreadableDocument or DocumentTooLarge."""
        shot = snapshot(path, self.limits)
        return Read(self.parse(shot), shot.sha256, shot.size, shot.mtime_ns, shot.settled)

    def parse(self, shot: Snapshot) -> Extracted:
        """Parse bytes that were read already. Raises UnreadableDocument or DocumentTooLarge."""
        if not shot.data:
            raise UnreadableDocument("is empty")
        with self._room:
            worker = self._take()
            usable = False
            try:
                extracted = worker.parse(shot)
                usable = True
                return extracted
            except DocumentError:
                usable = worker.alive
                raise
            finally:
                self._give_back(worker, usable)

    def _take(self) -> _Worker:
        """An idle worker, or a new one; one that died at rest (of memory, say) is not this file's fault."""
        while True:
            with self._lock:
                if not self._idle:
                    break
                worker = self._idle.pop()
            if worker.running():
                return worker
            worker.stop()
        return _Worker(self.limits)

    def _give_back(self, worker: _Worker, usable: bool) -> None:
        with self._lock:
            if usable and not self._closed and worker.served < FILES_PER_WORKER:
                self._idle.append(worker)
                return
        worker.stop()


def worker_command(limits: Limits) -> list[str]:
    """How a worker is started: no site packages set up (the path is given), nothing from the current folder."""
    return [sys.executable, "-S", "-P", "-m", "ownlm.rag.readers.worker", str(limits.memory_bytes)]


class _Worker:
    """One process and the pipes to it. Used by one thread at a time."""

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.served = 0
        self.alive = True
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            worker_command(limits),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            cwd=PACKAGE_ROOT,
            bufsize=0,
        )

    def parse(self, shot: Snapshot) -> Extracted:
        """Send a document, take the answer. On anything unexpected the process is ended and the file blamed."""
        self.served += 1
        overdue = threading.Event()
        timer = threading.Timer(self.limits.seconds, self._kill_overdue, [overdue])
        timer.daemon = True
        timer.start()
        try:
            message = self._exchange(shot)
            self.alive = message.get("last") is not True
            return protocol.outcome(message, self.limits)
        except (EOFError, OSError, protocol.BrokenWorker) as failure:
            self.alive = False
            self._process.kill()
            status = self._process.wait()
            raise self._blame(failure, status, overdue.is_set()) from None
        except DocumentError:
            raise
        except BaseException:  # Ctrl-C: a half-read answer must not be taken for the next file's
            self.alive = False
            raise
        finally:
            timer.cancel()
            if overdue.is_set():
                self.alive = False

    def _exchange(self, shot: Snapshot) -> dict[str, object]:
        sink, source = self._process.stdin, self._process.stdout
        assert sink is not None
        assert source is not None
        for part in (protocol.request(Path(shot.name).name, shot.data, self.limits), shot.data):
            view = memoryview(part)
            while view:
                view = view[sink.write(view) :]
        return protocol.read_message(
            lambda size: protocol.exactly(source.read, size), protocol.max_response(self.limits)
        )

    def _kill_overdue(self, overdue: threading.Event) -> None:
        overdue.set()
        self._process.kill()

    def _blame(self, failure: Exception, status: int, overdue: bool) -> DocumentError:
        if overdue:
            return DocumentTooLarge(f"takes longer to read than {self.limits.seconds:g} s")
        if status == -getattr(signal, "SIGXCPU", 0) != 0:
            return DocumentTooLarge(f"takes more than {self.limits.cpu_seconds} s of processor time to read")
        if isinstance(failure, protocol.BrokenWorker):
            return UnreadableDocument(f"its reader answered with {failure}: the file may be hostile")
        return UnreadableDocument(f"its reader crashed ({_ending(status)}): the file may be damaged")

    def running(self) -> bool:
        return self.alive and self._process.poll() is None

    def stop(self) -> None:
        """End the process, by the end of its input if it is idle."""
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()
        if not self.alive:
            self._process.kill()
        try:
            self._process.wait(timeout=2)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def _ending(status: int) -> str:
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"


def _environment() -> dict[str, str]:
    """What the worker sees: where modules are, and nothing that is the user's (no keys, no tokens)."""
    path = [str(PACKAGE_ROOT), *(str(Path(entry).absolute()) for entry in sys.path if entry and Path(entry).exists())]
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP") if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)), "PYTHONUTF8": "1"}
