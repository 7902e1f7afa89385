"""Workers at rest, taken for a piece of work and given back after it."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

from ownlm.worker.process import Process

W = TypeVar("W", bound=Process)


class Idle(Generic[W]):
    """The idle workers of a pool, started by ``make`` when there is none. From any thread; a fork begins anew."""

    def __init__(self, make: Callable[[], W]) -> None:
        self._make = make
        self._workers: list[W] = []
        self._lock = threading.Lock()
        self._owner = os.getpid()
        self._closed = False

    @property
    def workers(self) -> tuple[W, ...]:
        """Those at rest now."""
        return tuple(self._workers)

    def start(self) -> None:
        """Have one ready."""
        self.give_back(self._make())

    def take(self) -> W:
        """An idle worker, or a new one: one that died at rest (of memory, say) is not the fault of what comes next."""
        if self._owner != os.getpid():  # after a fork these are the parent's
            self._workers, self._lock, self._owner = [], threading.Lock(), os.getpid()
        while True:
            with self._lock:
                if not self._workers:
                    break
                worker = self._workers.pop()
            if worker.running():
                return worker
            worker.stop()
        return self._make()

    def give_back(self, worker: W, *, usable: bool = True) -> None:
        """Keep it for the next piece of work, or end it if it is not ``usable`` or the pool was closed."""
        if usable and worker.running():
            with self._lock:
                if not self._closed:
                    self._workers.append(worker)
                    return
        worker.stop()

    def close(self, *, for_good: bool = False) -> None:
        """End the idle workers; ``for_good``: those that are still at work too, when they are given back."""
        with self._lock:
            self._closed = for_good
            workers, self._workers = self._workers, []
        if self._owner == os.getpid():
            for worker in workers:
                worker.stop()
