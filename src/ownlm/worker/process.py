"""The side that asks: one process, the pipes to it, and the clock that ends it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from ownlm.worker.clock import alarm
from ownlm.worker.frames import BrokenWorker, exactly, read_message

PACKAGE_ROOT = Path(__file__).parents[2]


class WorkerFailed(Exception):
    """No answer came. ``overdue``: it was ended by the clock; ``status``: how it ended; ``broken``: what it said."""

    def __init__(self, status: int, overdue: bool, broken: str) -> None:
        super().__init__(broken or ending(status))
        self.status = status
        self.overdue = overdue
        self.broken = broken

    @property
    def out_of_cpu(self) -> bool:
        return self.status == -getattr(signal, "SIGXCPU", 0) != 0


class Process:
    """A worker process. Used by one thread at a time."""

    def __init__(self, command: list[str]) -> None:
        self.alive = True
        self._process = subprocess.Popen(  # noqa: S603 (our own module)
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=environment(),
            cwd=PACKAGE_ROOT,
            bufsize=0,
        )

    def exchange(self, parts: Iterable[bytes], limit: int, seconds: float) -> dict[str, Any]:
        """Send a request, take its answer of at most ``limit`` bytes. Raises WorkerFailed, and then it is ended."""
        deadline = alarm(seconds, self._process.kill)
        try:
            message = self._talk(parts, limit)
        except (EOFError, OSError, BrokenWorker) as failure:
            status = self.end()
            broken = str(failure) if isinstance(failure, BrokenWorker) else ""
            raise WorkerFailed(status, deadline.rang, broken) from None
        except BaseException:  # Ctrl-C: a half-read answer must not be taken for the next request's
            self.alive = False
            raise
        finally:
            deadline.cancel()
            if deadline.rang:
                self.alive = False
        if message.get("last") is True:
            self.alive = False
        return message

    def _talk(self, parts: Iterable[bytes], limit: int) -> dict[str, Any]:
        sink, source = self._process.stdin, self._process.stdout
        assert sink is not None
        assert source is not None
        for part in parts:
            view = memoryview(part)
            while view:
                view = view[sink.write(view) :]
        return read_message(lambda size: exactly(source.read, size), limit)

    def running(self) -> bool:
        return self.alive and self._process.poll() is None

    def end(self) -> int:
        """Kill it; how it ended."""
        self.alive = False
        self._process.kill()
        return self._process.wait()

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


def module_command(module: str, memory_bytes: int) -> list[str]:
    """How a worker is started: no site packages set up (the path is given), nothing from the current folder."""
    return [sys.executable, "-S", "-P", "-m", module, str(memory_bytes)]


def ending(status: int) -> str:
    """How a process ended, in words."""
    if status < 0:
        with contextlib.suppress(ValueError):
            return signal.Signals(-status).name
    return f"exit status {status}"


def environment() -> dict[str, str]:
    """What the worker sees: where modules are, and nothing that is the user's (no keys, no tokens)."""
    path = [str(PACKAGE_ROOT), *(str(Path(entry).absolute()) for entry in sys.path if entry and Path(entry).exists())]
    kept = {name: os.environ[name] for name in ("SYSTEMROOT", "TEMP", "TMP", "TZ") if name in os.environ}
    return {**kept, "PYTHONPATH": os.pathsep.join(dict.fromkeys(path)), "PYTHONUTF8": "1"}
