"""One thread that ends what is overdue. A timer thread for each request would cost more than most renderings."""

from __future__ import annotations

import heapq
import itertools
import os
import threading
import time
from collections.abc import Callable


class Alarm:
    """``rang``: the time ran out and the action was taken. After ``cancel`` it never is."""

    def __init__(self, clock: Clock, action: Callable[[], None]) -> None:
        self.rang = False
        self.cancelled = False
        self._clock = clock
        self._action = action

    def cancel(self) -> None:
        with self._clock.changed:
            self.cancelled = True

    def ring(self) -> None:
        """Called by the clock, which holds its lock."""
        if not self.cancelled:
            self.rang = True
            self._action()


class Clock:
    """Alarms by deadline. Its thread starts with the first and is woken only for one earlier than all others."""

    def __init__(self) -> None:
        self.changed = threading.Condition()
        self._alarms: list[tuple[float, int, Alarm]] = []
        self._numbers = itertools.count()
        self._thread: threading.Thread | None = None

    def set(self, seconds: float, action: Callable[[], None]) -> Alarm:
        """Take the action in so many seconds unless the alarm is cancelled. It must be short."""
        alarm = Alarm(self, action)
        with self.changed:
            if len(self._alarms) > 1000:
                self._alarms = [entry for entry in self._alarms if not entry[2].cancelled]
                heapq.heapify(self._alarms)
            entry = (time.monotonic() + seconds, next(self._numbers), alarm)
            heapq.heappush(self._alarms, entry)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="ownlm-clock", daemon=True)
                self._thread.start()
            elif self._alarms[0] is entry:
                self.changed.notify()
        return alarm

    def _run(self) -> None:
        with self.changed:
            while True:
                while self._alarms and self._alarms[0][2].cancelled:
                    heapq.heappop(self._alarms)
                if not self._alarms:
                    self.changed.wait()
                    continue
                left = self._alarms[0][0] - time.monotonic()
                if left > 0:
                    self.changed.wait(left)
                else:
                    heapq.heappop(self._alarms)[2].ring()


_clock = Clock()


def alarm(seconds: float, action: Callable[[], None]) -> Alarm:
    """An alarm of this process's clock."""
    return _clock.set(seconds, action)


def _after_fork() -> None:
    """Threads stay behind in a fork, and a lock may have been held there."""
    global _clock
    _clock = Clock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
