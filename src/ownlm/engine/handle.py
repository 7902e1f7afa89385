"""The caller's end of a request: tokens come out of it, from any thread."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from queue import Empty, SimpleQueue

from ownlm.engine.prefix_cache import Reuse
from ownlm.engine.request import FinishReason, Logprob, Request, TokenOut

_log = logging.getLogger(__name__)

Item = TokenOut | BaseException | FinishReason
"""A token, the error that ended the request, or why it ended without a further token."""


Commands = SimpleQueue[Request | None]
"""Requests to cancel; None to wake the engine. Safe to put to from a finalizer."""


class Outbox:
    """What the engine puts there for one caller. It knows neither, so that a caller that leaves can be noticed."""

    __slots__ = ("callback", "queue")

    def __init__(self) -> None:
        self.queue: SimpleQueue[Item] = SimpleQueue()
        self.callback: Callable[[], None] | None = None

    def put(self, item: Item) -> None:
        self.queue.put(item)
        if self.callback is not None:
            try:
                self.callback()
            except Exception:  # of somebody who left: no reason for others to suffer
                self.callback = None
                _log.warning("a caller's notification failed and is not called again", exc_info=True)


class Handle:
    """Iterate it for tokens; the last one has a ``finish_reason``. An error that ended the request is raised once.

    A handle that nobody refers to any more cancels its request: who leaves in mid-stream frees what they held.
    """

    def __init__(self, request: Request, outbox: Outbox, commands: Commands) -> None:
        self._request = request
        self._outbox = outbox
        self._commands = commands
        self.finish_reason: FinishReason | None = None
        self.done = False

    @property
    def request_id(self) -> int:
        return self._request.request_id

    @property
    def prompt_tokens(self) -> int:
        return self._request.prompt_length

    @property
    def cached_tokens(self) -> int:
        """Of the prompt, found in the cache. Final once there is a token."""
        return self._request.cached_tokens

    @property
    def reuse(self) -> Reuse:
        """Where these were, and where the prompt parts from the nearest entry. Final once there is a token."""
        return self._request.reuse

    @property
    def accepted_tokens(self) -> int:
        """Of the answer, tokens that were drafted. Final once the last token is there."""
        return self._request.accepted

    @property
    def rejected_tokens(self) -> int:
        """Tokens that were drafted and did not come."""
        return self._request.rejected

    @property
    def prompt_logprobs(self) -> list[Logprob | None] | None:
        """For each token of the prompt, if asked for; nothing predicts the first. Whole once there is a token."""
        if self._request.params.prompt_logprobs is None:
            return None
        top = self._request.params.prompt_logprobs
        return [None if known is None else (known[0], known[1][:top]) for known in self._request.prompt_logprobs]

    def __iter__(self) -> Iterator[TokenOut]:
        while (out := self.get()) is not None:
            yield out

    def get(self, timeout: float | None = None) -> TokenOut | None:
        """The next token; None at the end (``done``), or if there is none within ``timeout`` seconds."""
        if self.done:
            return None
        try:
            item = self._outbox.queue.get(timeout=timeout)
        except Empty:
            return None
        return self._taken(item)

    def poll(self) -> list[TokenOut]:
        """Tokens that are there now; never waits. An error is raised when it is reached, after the tokens before it."""
        outs: list[TokenOut] = []
        while not self.done:
            try:
                item = self._outbox.queue.get_nowait()
            except Empty:
                break
            if isinstance(item, BaseException) and outs:
                self._outbox.queue.put(item)  # the last item there is
                break
            out = self._taken(item)
            if out is not None:
                outs.append(out)
        return outs

    def notify(self, callback: Callable[[], None]) -> None:
        """Call ``callback`` from the engine's thread whenever something came, and once now; it must not block.

        One that refers to the handle keeps it alive: then only ``cancel`` says that the caller left.
        """
        self._outbox.callback = callback
        callback()

    def cancel(self) -> None:
        """No more is wanted. What is on its way still comes, then ``finish_reason`` is "cancelled"."""
        if not self.done:
            self._commands.put(self._request)

    def __del__(self) -> None:
        # Runs in any thread, in the middle of anything: a SimpleQueue's put is all that is safe here.
        if not getattr(self, "done", True):
            self._commands.put(self._request)

    def _taken(self, item: Item) -> TokenOut | None:
        if isinstance(item, TokenOut):
            self.finish_reason = item.finish_reason
            self.done = item.finish_reason is not None
            return item
        self.done = True
        if isinstance(item, BaseException):
            raise item
        self.finish_reason = item
        return None
