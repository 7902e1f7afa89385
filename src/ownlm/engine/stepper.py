"""One step: schedule, build the batch, compute, score and sample, hand the tokens out.

The lock is held while the accounts change, never while the model computes, a token is sampled, or a caller is told.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ownlm.engine.batch_builder import BatchBuilder
from ownlm.engine.handle import Item
from ownlm.engine.kv_keeper import Keeper
from ownlm.engine.logprobs import token_logprobs
from ownlm.engine.request import FinishReason, Request, TokenOut
from ownlm.engine.runner import Runner
from ownlm.engine.sampler import Sampled, Sampler
from ownlm.engine.scheduler import Scheduled, ScheduledBatch, Scheduler
from ownlm.engine.speculate import Speculator
from ownlm.engine.stats import Counters
from ownlm.errors import OwnLMError, StepFailed

Logits = NDArray[np.float32]


class Stepper:
    """The engine's work, for its thread alone."""

    def __init__(
        self,
        runner: Runner,
        scheduler: Scheduler,
        builder: BatchBuilder,
        sampler: Sampler,
        counters: Counters,
        lock: threading.Lock,
        keeper: Keeper,
        speculator: Speculator | None = None,
    ) -> None:
        self._runner = runner
        self._scheduler = scheduler
        self._builder = builder
        self._sampler = sampler
        self._counters = counters
        self._lock = lock
        self._keeper = keeper
        self._speculator = speculator

    def step(self) -> None:
        """Let every request that has its turn catch up. What fails ends with its error; this never raises for it."""
        began = time.perf_counter()
        self._keeper.before()
        if self._speculator is not None:
            self._speculator.draft(self._scheduler.running)
        with self._lock:
            batch = self._scheduler.schedule()
        if not batch.entries:
            if not self._scheduler.idle:
                raise RuntimeError("requests wait or run and none had its turn")
            return
        try:
            logits = self._compute(batch)
        except Exception as error:
            failure = StepFailed(f"the model failed in a step of {len(batch.entries)} requests: {_named(error)}")
            failure.__cause__ = error
            for entry in batch.entries:
                for request in (*entry.request.followers, entry.request):
                    self.end(request, failure)
            return
        with self._lock:
            ready = self._computed(batch.entries)
        row = 0
        for entry, forks in ready:
            request = entry.request
            if entry.scores:
                self._score(entry, logits[row : row + entry.scores])
                row += entry.scores
            if entry.samples:
                if len(request.tokens) == request.prompt_length:
                    self._prompt_done(request, forks)
                for each in (request, *forks):
                    self._sample(each, logits[row : row + entry.samples])
                row += entry.samples
        self._counters.steps += 1
        self._counters.busy_seconds += time.perf_counter() - began

    def end(self, request: Request, how: OwnLMError | FinishReason, last: Item | None = None) -> None:
        """The request leaves with an error, or for a reason; ``last`` is the token that says so, if there is one."""
        if request.done:
            return
        request.done = True
        with self._lock:
            self._scheduler.remove(request)
            if isinstance(how, OwnLMError):
                self._counters.failed += 1
            elif how == "cancelled":
                self._counters.cancelled += 1
            else:
                self._counters.finished += 1
        request.outbox.put(how if last is None else last)

    def _compute(self, batch: ScheduledBatch) -> Logits:
        arrays = self._builder.build(batch.entries)
        if batch.copies:
            self._runner.copy_blocks(batch.copies)
        began = time.perf_counter()
        logits = self._runner.step(arrays)
        seconds = time.perf_counter() - began
        self._counters.step_seconds += seconds
        tokens, rows = len(arrays.ids), len(arrays.rows)
        self._counters.computed_tokens += tokens
        if len(logits) != rows:
            raise ValueError(f"{rows} rows of logits were asked for and {len(logits)} came")
        if self._speculator is not None and tokens == rows:
            self._speculator.costs.note(rows, seconds)
        return logits

    def _computed(self, entries: Sequence[Scheduled]) -> list[tuple[Scheduled, Sequence[Request]]]:
        """What was computed is in the cache now; each entry with the requests that fork from it."""
        ready: list[tuple[Scheduled, Sequence[Request]]] = []
        for entry in entries:
            self._scheduler.computed(entry)
            request = entry.request
            forks = self._scheduler.fork(request) if entry.samples and request.followers else ()
            ready.append((entry, forks))
        return ready

    def _score(self, entry: Scheduled, logits: Logits) -> None:
        """Log probabilities of the prompt's tokens, each from the logits of the one before it."""
        request = entry.request
        top = request.score_top or 0
        for row, token in zip(logits, request.tokens[entry.first_score + 1 :], strict=False):
            request.prompt_logprobs.append(token_logprobs(row, token, top))

    def _prompt_done(self, request: Request, forks: Sequence[Request]) -> None:
        self._counters.prompt_tokens += request.prompt_length
        self._counters.cached_tokens += request.cached_tokens
        self._keeper.prompt_done(request)
        for fork in forks:
            if fork.params.prompt_logprobs is not None:
                fork.prompt_logprobs = request.prompt_logprobs

    def _sample(self, request: Request, logits: Logits) -> None:
        """The request goes on by a token, and by one more for each draft that is what comes.

        ``logits``: of its last known token and of each draft. What a draft's row says counts only once all drafts up
        to it came, so the sampler meets the same rows in the same order as without drafts.
        """
        if len(request.tokens) >= request.limit:  # only the prompt was to be computed
            self.end(request, "length")
            return
        drafted, before = len(request.drafted), request.accepted
        try:
            while not self._next(request, logits[request.accepted - before :]):
                pass
        except Exception as error:  # of this request alone: the others go on
            failure = StepFailed(f"sampling failed for this request: {_named(error)}")
            failure.__cause__ = error
            self.end(request, failure)
        if drafted:
            request.drop_drafts()
            self._counters.drafted_tokens += drafted
            self._counters.accepted_tokens += request.accepted - before

    def _next(self, request: Request, logits: Logits) -> bool:
        """A token from the first row, and those that the grammar then forces; whether no row is left that counts."""
        sampled = self._sampler.sample(logits[:1], [request.sampling])[0]
        if sampled.error is not None:
            self.end(request, sampled.error)
            return True
        self._deliver(request, sampled)
        if request.params.grammar is not None and not request.done:
            forced = request.sampling.forced(request.limit - len(request.tokens))
            for at, token in enumerate(forced, 1):
                if not request.done:
                    self._deliver(request, Sampled(token), last=at == len(forced))
        return request.done or request.missing > 0

    def _deliver(self, request: Request, sampled: Sampled, *, last: bool = True) -> None:
        """One more token is known. ``last``: of those that sampling has decided on."""
        token, sampling = sampled.token, request.sampling
        request.take(token)
        self._counters.generated_tokens += 1
        reason: FinishReason | None = None
        if token in sampling.ends or (last and sampling.finished):
            reason = "stop"
        elif len(request.tokens) >= request.limit:
            reason = "length"
        out = TokenOut(token, sampled.logprob, sampled.top or [], reason, request.cached_tokens)
        if reason is None:
            request.outbox.put(out)
        else:
            request.drop_drafts()  # its counts are read once the last token is out
            self.end(request, reason, out)


def _named(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}"
