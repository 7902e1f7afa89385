"""The one bridge between the asynchronous edge and the synchronous core.

A ``Gate`` runs a few calls at once on threads and lets a bounded number wait, so that a crowd is served in
turn instead of all at once. A call whose client has gone is dropped: before it starts, or at its next event.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, TypeVar

import anyio
import anyio.to_thread
from starlette.types import Receive

from ownlm.serve.problem import RETRY_SECONDS, Problem

T = TypeVar("T")


class Abandoned(Exception):
    """Raised inside the core's callbacks when the client has gone."""


class Gate:
    """At most ``workers`` calls run at once and ``waiting`` more stand in line; the next gets a 503."""

    def __init__(self, workers: int, waiting: int) -> None:
        self.workers = workers
        self.waiting = waiting
        self._limiter: anyio.CapacityLimiter | None = None
        self._inside = 0  # running or waiting; ours, because the limiter counts a call only once it stands in line

    async def run(self, call: Callable[..., T], *args: Any) -> T:
        """Call it on a thread, in turn. Cancelled while waiting, it never starts."""
        if self._limiter is None:
            self._limiter = anyio.CapacityLimiter(self.workers)
        if self._inside >= self.workers + self.waiting:
            raise Problem(
                503,
                f"{self.waiting} requests are waiting already: try again shortly",
                code="overloaded",
                headers={"retry-after": str(RETRY_SECONDS)},
            )
        self._inside += 1
        try:
            return await anyio.to_thread.run_sync(partial(call, *args), limiter=self._limiter)
        finally:
            self._inside -= 1


class Stop:
    """Set when the client has gone; the core looks at it between steps."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """The client has gone."""
        self._event.set()

    def is_set(self) -> bool:
        """Whether the client has gone."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise ``Abandoned`` if the client has gone."""
        if self._event.is_set():
            raise Abandoned


async def disconnected(receive: Receive) -> None:
    """Return when the client has gone. The request's body must have been read."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def while_connected(receive: Receive, stop: Stop, work: Awaitable[T]) -> T:
    """Await ``work``; when the client goes first, set ``stop``, cancel, and raise ``Abandoned``."""
    outcome: list[T] = []
    failure: list[Exception] = []
    async with anyio.create_task_group() as group:

        async def watch() -> None:
            await disconnected(receive)
            stop.set()
            group.cancel_scope.cancel()

        group.start_soon(watch)
        try:
            outcome.append(await work)
        except Exception as error:  # carried out of the group, which would wrap it
            failure.append(error)
        group.cancel_scope.cancel()
    if failure:
        raise failure[0]
    if not outcome:
        raise Abandoned
    return outcome[0]
