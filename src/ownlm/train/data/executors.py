"""Where tasks run: here, in processes of this machine, or on a Ray cluster. What they return does not depend on it."""

from __future__ import annotations

import errno
import logging
import multiprocessing
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any, Protocol, TypeVar

from ownlm.errors import DiskFull, MissingExtra, OwnLMError, UsageError

Item = TypeVar("Item")
Result = TypeVar("Result")
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class Executor(Protocol):
    """Runs a task on each item and gives the results in the items' order. Tasks and items can be sent to processes."""

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]: ...

    def close(self) -> None: ...


class Inline:
    """One after the other, in this process."""

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        return map(task, items)

    def close(self) -> None:
        pass


class Processes:
    """In ``workers`` processes of this machine."""

    def __init__(self, workers: int) -> None:
        self._workers = workers
        context = multiprocessing.get_context("spawn")  # fork would copy locks that threads hold
        self._others = multiprocessing.active_children()
        self._pool = ProcessPoolExecutor(workers, mp_context=context, initializer=_start_worker)

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        waiting: deque[Future[Any]] = deque()
        rest = iter(items)
        try:
            while True:
                while len(waiting) < 2 * self._workers and (item := next(rest, _NOTHING)) is not _NOTHING:
                    waiting.append(self._pool.submit(attempt, task, item))
                if not waiting:
                    return
                yield outcome(waiting.popleft().result())
        except BrokenProcessPool:
            raise UsageError(
                "a worker process ended in the middle of its work, perhaps for lack of memory: use fewer workers"
            ) from None

    def close(self) -> None:
        self._pool.shutdown(wait=False, cancel_futures=True)
        for process in multiprocessing.active_children():
            if process not in self._others:
                process.terminate()  # after Ctrl-C or an error nobody waits for what it does


class RayData:
    """On a Ray cluster, by Ray Data. The folder that is written must be one that all its machines see."""

    def __init__(self, address: str | None = None) -> None:
        try:
            import ray
            import ray.data
        except ModuleNotFoundError as error:
            raise MissingExtra("cluster", error.name or "ray") from None
        self._ray = ray
        self._started = not ray.is_initialized()
        if self._started:
            try:
                ray.init(address=address, log_to_driver=False, logging_level=logging.WARNING, include_dashboard=False)
            except (ConnectionError, ValueError, RuntimeError) as error:
                reason = str(error).splitlines()[0]
                raise UsageError(
                    f"no Ray cluster at {address or 'auto'}: {reason}: start one, or give --ray-address"
                ) from None
        ray.data.DataContext.get_current().enable_progress_bars = False
        logging.getLogger("ray.data").setLevel(logging.WARNING)  # else a line for each pass

    def map(self, task: Callable[[Item], Result], items: Sequence[Item]) -> Iterator[Result]:
        if not items:
            return
        shared = self._ray.put((task, list(items)))

        def run(row: dict[str, Any]) -> dict[str, Any]:
            import ray

            task, items = ray.get(shared)
            return {"rank": row["id"], "outcome": attempt(task, items[int(row["id"])])}

        rows = self._ray.data.range(len(items), override_num_blocks=len(items)).map(run).iter_rows()
        early: dict[int, Any] = {}
        wanted = 0
        try:
            for row in rows:  # in whatever order they are done
                early[int(row["rank"])] = row["outcome"]
                while wanted in early:
                    yield outcome(early.pop(wanted))
                    wanted += 1
        except self._ray.exceptions.RayError as error:
            lines = str(error).strip().splitlines()
            raise OwnLMError(f"the Ray cluster gave up: {lines[-1] if lines else type(error).__name__}") from error

    def close(self) -> None:
        if self._started:
            self._ray.shutdown()


def attempt(task: Callable[[Any], Any], item: Any) -> Any:
    """What the task returns, or the error that a person can act on, as a value that crosses processes."""
    try:
        return task(item)
    except OwnLMError as error:
        return _Failed(error)
    except OSError as error:
        if error.errno in FULL:
            return _Failed(DiskFull(error.filename or "the working folder"))
        raise


def outcome(found: Any) -> Any:
    """The value, or its error raised."""
    if isinstance(found, _Failed):
        raise found.error
    return found


class _Failed:
    def __init__(self, error: OwnLMError) -> None:
        self.error = error


_NOTHING: Any = object()


def _start_worker() -> None:
    """Ctrl-C is the parent's to handle; each process has a core, so the tokenizer needs no threads of its own."""
    import os
    import signal

    signal.signal(signal.SIGINT, signal.SIG_IGN)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
