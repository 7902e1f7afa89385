"""Requests in, tokens out. Any number of threads submit; one thread of the engine's own does the work."""

from __future__ import annotations

import atexit
import logging
import threading
from collections.abc import Iterable, Sequence
from queue import Empty
from types import TracebackType
from typing import Self

from ownlm.engine.batch_builder import BatchBuilder
from ownlm.engine.block_manager import BlockManager
from ownlm.engine.block_table import Owner
from ownlm.engine.handle import Commands, Handle, Outbox
from ownlm.engine.kv_keeper import Keeper
from ownlm.engine.prefix_store import PrefixStore
from ownlm.engine.request import Request
from ownlm.engine.runner import Runner
from ownlm.engine.sampler import RequestSampling, Sampler
from ownlm.engine.sampling_params import SamplingParams
from ownlm.engine.scheduler import Scheduler
from ownlm.engine.speculate import Speculator
from ownlm.engine.stats import Counters, EngineStats
from ownlm.engine.stepper import Stepper
from ownlm.errors import EngineBusy, EngineClosed, InvalidSetting, PromptTooLong, StepFailed

_log = logging.getLogger(__name__)
QUIET = 0.05
"""Seconds without work after which the engine audits itself."""


class Engine:
    """A model that many callers share.

    ``max_running``: so many requests share a step; ``max_waiting``: so many more may wait, others get EngineBusy.
    ``step_tokens``: at most so many tokens a step, ``step_tokens_shared`` while anyone is being answered: a longer step
    computes prompts a little faster and makes everybody wait longer for their next token. ``speculator``: drafts tokens
    that are computed ahead, None does not; answers are the same. ``store``: where what is computed of prompts outlives
    the process.
    """

    def __init__(
        self,
        runner: Runner,
        *,
        eos_ids: Iterable[int] = (),
        max_running: int = 64,
        max_waiting: int = 1024,
        step_tokens: int = 512,
        step_tokens_shared: int = 128,
        sampler: Sampler | None = None,
        speculator: Speculator | None = None,
        store: PrefixStore | None = None,
    ) -> None:
        for name, value in (("max_running", max_running), ("step_tokens", step_tokens)):
            if value < 1:
                raise InvalidSetting(name, value, "give a number from 1 up")
        self.runner = runner
        self.context = min(runner.max_positions, runner.blocks * runner.block_size)
        self.eos_ids = frozenset(eos_ids)
        self._max_requests = max_running + max_waiting
        self._blocks = BlockManager(runner.blocks, runner.block_size)
        self._scheduler = Scheduler(
            self._blocks, max_running=max_running, step_tokens=step_tokens, shared_tokens=step_tokens_shared
        )
        self._counters = Counters()
        self._lock = threading.Lock()
        builder = BatchBuilder(runner.block_size, max_running, self._blocks.blocks_for(self.context))
        self._commands: Commands = Commands()
        self._keeper = Keeper(
            runner, self._scheduler, self._counters, self._lock, store, wake=lambda: self._commands.put(None)
        )
        self._stepper = Stepper(
            runner, self._scheduler, builder, sampler or Sampler(), self._counters, self._lock, self._keeper, speculator
        )
        self._speculator = speculator
        self._copying = False  # blocks wait to be copied for the store
        self._closed = False
        self._arrived = 0
        self._thread = threading.Thread(target=self._run, name="ownlm-engine", daemon=True)
        self._thread.start()
        atexit.register(self.close)  # the thread must not be in the model's code when the interpreter goes

    def submit(
        self,
        prompt_ids: Sequence[int],
        params: SamplingParams | None = None,
        *,
        priority: int = 0,
        owners: Iterable[Owner] = (),
    ) -> Handle:
        """Generate what follows a prompt. Higher ``priority`` goes first; ``owners`` say whose text is in the prompt.

        Raises PromptTooLong, InvalidSetting, EngineBusy, EngineClosed.
        """
        return self.submit_many(prompt_ids, [params or SamplingParams()], priority=priority, owners=owners)[0]

    def submit_many(
        self,
        prompt_ids: Sequence[int],
        params: Sequence[SamplingParams],
        *,
        priority: int = 0,
        owners: Iterable[Owner] = (),
    ) -> list[Handle]:
        """Several answers to one prompt, which is computed once; equal seeds give different answers."""
        self._check(prompt_ids, params)
        owners = tuple(owners)
        group = []
        states = [
            RequestSampling(each, prompt_ids, self.eos_ids, self.runner.vocab_size, index)
            for index, each in enumerate(params)
        ]
        with self._lock:
            if self._closed:
                raise EngineClosed("the engine is closed: load the model again")
            waiting = self._scheduler.waiting
            if len(self._scheduler.running) + waiting + len(params) > self._max_requests:
                self._counters.refused += len(params)
                raise EngineBusy(waiting)
            for each, state in zip(params, states, strict=True):
                limit = self.context if each.max_tokens is None else len(prompt_ids) + each.max_tokens
                self._arrived += 1
                request = Request(
                    self._arrived, prompt_ids, each, state, Outbox(), limit=limit, priority=priority, owners=owners
                )
                group.append(request)
            _score_once(group)
            group[0].exact = any(each.exact for each in group)  # all begin with its row
            self._counters.submitted += len(group)
            self._scheduler.add(group[0], group[1:])
            self._keeper.arrived(group[0])
        self._commands.put(None)
        return [Handle(request, request.outbox, self._commands) for request in group]

    def cancel(self, handle: Handle) -> None:
        """The same as ``handle.cancel()``."""
        handle.cancel()

    def purge(self, tag: str) -> int:
        """Forget what was computed from text of this owner; how many blocks of the cache that were.

        Requests that are being answered go on, and leave nothing behind. On disk the tag is dead for ever: text that
        comes again needs a new one to be kept there.
        """
        found = self._keeper.purge(tag)  # first: from then on its running requests leave nothing with the draft model
        if self._speculator is not None:
            self._speculator.purge(tag)
        return found

    @property
    def store(self) -> PrefixStore | None:
        """Where blocks outlive the process, if anywhere."""
        return self._keeper.store

    def stats(self) -> EngineStats:
        """What it holds and has done, at this moment."""
        with self._lock:
            blocks, counters = self._blocks, self._counters
            counters.evictions, counters.preemptions = blocks.evictions, self._scheduler.preemptions
            return EngineStats(
                running=len(self._scheduler.running),
                waiting=self._scheduler.waiting,
                context=self.context,
                block_size=blocks.block_size,
                blocks_total=blocks.total,
                blocks_free=blocks.free,
                blocks_cached=blocks.cached,
                blocks_used=blocks.used,
                counters=counters.copy(),
            )

    def close(self) -> None:
        """End; requests that are not answered yet get EngineClosed."""
        self._closed = True
        self._commands.put(None)
        if threading.current_thread() is not self._thread:
            self._thread.join()
        atexit.unregister(self.close)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _check(self, prompt_ids: Sequence[int], params: Sequence[SamplingParams]) -> None:
        length, vocabulary = len(prompt_ids), self.runner.vocab_size
        if not length:
            raise InvalidSetting("prompt", "", "give at least one token")
        if not 1 <= len(params) <= self._max_requests:
            raise InvalidSetting("n", len(params), f"give a number from 1 to {self._max_requests}")
        if min(prompt_ids) < 0 or max(prompt_ids) >= vocabulary:
            wrong = next(id_ for id_ in prompt_ids if not 0 <= id_ < vocabulary)
            raise InvalidSetting("prompt token", wrong, f"give ids from 0 to {vocabulary - 1}, the model's vocabulary")
        for each in params:
            answer = 1 if each.max_tokens is None else each.max_tokens
            if length + answer > self.context:
                raise PromptTooLong(length, each.max_tokens, self.context)

    def _run(self) -> None:
        """The engine's thread: commands, then a step, and again; asleep when there is nothing to do."""
        self._keeper.prepare(lambda: self._closed or self._commands.qsize() > 0)
        while not self._closed:
            try:
                self._obey()
                if not self._closed:
                    self._stepper.step()
                    self._copying = self._keeper.after()
            except Exception:
                _log.exception("the engine failed; requests in flight are given up, and it goes on")
                self._give_up(StepFailed("the engine failed at its own work (see the log): try again"))
        closed = EngineClosed("the engine was closed before the answer was complete")
        with self._lock:
            left = [each for request in self._scheduler.requests() for each in (request, *request.followers)]
        self._tell(left, closed)  # nobody waits for the disk
        self._keeper.close()
        self._give_up(closed)

    def _obey(self) -> None:
        """Cancel what is to be cancelled; wait, if there is nothing to do."""
        commands = self._commands
        with self._lock:
            idle = self._scheduler.idle and not self._copying
        if idle and not self._closed:
            try:
                command = commands.get(timeout=QUIET)
            except Empty:
                self._audit()
                command = commands.get()
            if command is not None:
                self._stepper.end(command, "cancelled")
        while commands.qsize():
            command = commands.get_nowait()
            if command is not None:
                self._stepper.end(command, "cancelled")

    def _audit(self) -> None:
        """With nobody there, every block is free or cached. If not, say so, and begin with a clean slate."""
        with self._lock:
            if not self._scheduler.idle:
                return
            self._counters.audits += 1
            wrong = self._scheduler.audit()
            if wrong:
                self._counters.audit_failures += 1
                self._counters.last_audit = wrong
                self._blocks.clear()
        if wrong:
            _log.error("the accounts of the cache were wrong (%s); the cache was emptied", wrong)

    def _give_up(self, error: EngineClosed | StepFailed) -> None:
        """Nobody is left, whatever state the accounts are in."""
        with self._lock:
            left = self._scheduler.reset()
        self._tell(left, error)

    def _tell(self, requests: Sequence[Request], error: EngineClosed | StepFailed) -> None:
        for request in requests:
            if not request.done:
                request.done = True
                self._counters.failed += 1
                request.outbox.put(error)


def _score_once(group: Sequence[Request]) -> None:
    """The first of a group finds the prompt's log probabilities for all that want them."""
    asked = [request.score_top for request in group if request.score_top is not None]
    for request in group:
        request.score_top = None
    group[0].score_top = max(asked, default=None)
