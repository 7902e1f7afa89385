"""An answer as text: the engine's tokens, made characters, up to a stop string."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from ownlm.engine.handle import Handle
from ownlm.engine.prefix_cache import Reuse
from ownlm.engine.request import FinishReason, Logprob, TokenOut
from ownlm.engine.stop import StopStrings
from ownlm.tokenizer import Detokenizer, Tokenizer

_SHOWN = 12  # tokens before the first difference that are shown with it


@dataclass(frozen=True, slots=True)
class Delta:
    """A piece of an answer. ``tokens``: those whose text begins in it. The last piece has a ``finish_reason``."""

    text: str
    tokens: tuple[TokenOut, ...] = ()
    finish_reason: FinishReason | None = None


@dataclass(frozen=True, slots=True)
class Output:
    """A whole answer.

    ``tokens`` are those of ``text``; ``completion_tokens`` counts all that were generated, the one that ended the
    text and those of a stop string too; ``accepted_tokens`` of them were drafted, ``rejected_tokens`` were drafted and
    did not come. ``stop``: the stop string that was found. ``finish_reason``: "stop" (the
    model ended, or a stop), "length" (``max_tokens`` or the context is full: the text is cut), "cancelled".
    """

    text: str
    tokens: tuple[TokenOut, ...]
    finish_reason: FinishReason
    stop: str | None
    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    reuse: Reuse
    accepted_tokens: int = 0
    rejected_tokens: int = 0
    prompt_logprobs: list[Logprob | None] | None = None

    @property
    def token_ids(self) -> list[int]:
        """The ids of ``tokens``."""
        return [out.token for out in self.tokens]

    def __str__(self) -> str:
        return self.text


class Generation:
    """Iterate it for pieces of the answer, or ``poll`` it from an event loop. An error of the engine is raised there.

    One that nobody refers to any more is cancelled.
    """

    def __init__(
        self,
        handle: Handle,
        tokenizer: Tokenizer,
        prompt_ids: Sequence[int],
        *,
        ends: frozenset[int] = frozenset(),
        stop: Sequence[str] = (),
        skip_special: bool = True,
        continues: bool = False,
        model: object = None,
    ) -> None:
        """``ends``: tokens that are no text when they are the last. ``continues``: the first token is in mid-text
        even where the prompt has none. ``model`` is kept alive as long as this is."""
        self._model = model
        self._tokenizer, self._prompt_ids = tokenizer, prompt_ids
        self._handle = handle
        self._ends = ends
        self._stops = StopStrings(stop)
        self._text = _AnswerText(tokenizer, prompt_ids, skip_special, continues)
        self._waiting: deque[tuple[int, TokenOut]] = deque()  # tokens, and where the text of each begins
        self._shown = 0  # characters handed out
        self._pieces: list[str] = []
        self._tokens: list[TokenOut] = []
        self._count = 0
        self._reason: FinishReason | None = None
        self.end: TokenOut | None = None  # the token that ended the text and is none of it, once it came

    @property
    def done(self) -> bool:
        """Whether the last piece was handed out."""
        return self._reason is not None

    @property
    def finish_reason(self) -> FinishReason | None:
        """Why it ended; None while it goes on."""
        return self._reason

    @property
    def prompt_tokens(self) -> int:
        return self._handle.prompt_tokens

    @property
    def completion_tokens(self) -> int:
        """Tokens generated so far."""
        return self._count

    @property
    def cached_tokens(self) -> int:
        """Tokens of the prompt that were found in the cache; final once there is a token."""
        return self._handle.cached_tokens

    @property
    def reuse(self) -> Reuse:
        """Where these were, and where the prompt parts from the nearest entry; final once there is a token."""
        return self._handle.reuse

    @property
    def first_difference(self) -> tuple[int, str, str] | None:
        """The prompt's first token that the nearest entry of the cache does not have there: its index, its text, and
        the text just before it. None if that entry has all of them."""
        at = self.reuse.difference
        if at is None:
            return None
        ids, decode = self._prompt_ids, self._tokenizer.decode
        return at, decode(ids[at : at + 1]), decode(ids[max(0, at - _SHOWN) : at])

    @property
    def accepted_tokens(self) -> int:
        """Drafted tokens that came; final at the end."""
        return self._handle.accepted_tokens

    @property
    def rejected_tokens(self) -> int:
        """Drafted tokens that did not come; final at the end."""
        return self._handle.rejected_tokens

    @property
    def prompt_logprobs(self) -> list[Logprob | None] | None:
        """As ``Handle.prompt_logprobs``; whole once there is a token."""
        return self._handle.prompt_logprobs

    def __iter__(self) -> Iterator[Delta]:
        while not self.done:
            out = self._handle.get()
            found = self._ended() if out is None else self._taken(out)
            if found is not None:
                yield found

    def poll(self) -> list[Delta]:
        """The pieces that are there now; never waits."""
        found: list[Delta] = []
        outs = [] if self.done else self._handle.poll()
        for out in outs:
            if not self.done and (delta := self._taken(out)) is not None:
                found.append(delta)
        if not self.done and self._handle.done:
            found.append(self._ended())
        return found

    def notify(self, callback: Callable[[], None]) -> None:
        """Call ``callback``, which must not block, from the engine's thread when something came, and once now."""
        self._handle.notify(callback)

    def cancel(self) -> None:
        """No more is wanted; the last piece still comes, with the reason "cancelled"."""
        self._handle.cancel()

    def output(self) -> Output:
        """The whole answer; waits for what is missing."""
        for _ in self:
            pass
        assert self._reason is not None
        return Output(
            text="".join(self._pieces),
            tokens=tuple(self._tokens),
            finish_reason=self._reason,
            stop=self._stops.found,
            prompt_tokens=self.prompt_tokens,
            completion_tokens=self._count,
            cached_tokens=self.cached_tokens,
            reuse=self.reuse,
            accepted_tokens=self.accepted_tokens,
            rejected_tokens=self.rejected_tokens,
            prompt_logprobs=self.prompt_logprobs,
        )

    def _taken(self, out: TokenOut) -> Delta | None:
        """The piece that a token completes, if any."""
        self._count += 1
        begins = self._text.length
        if out.finish_reason == "stop" and out.token in self._ends:
            text, self.end = "", out
        else:
            text = self._stops.push(self._text.push(out.token))
            self._waiting.append((begins, out))
        if self._stops.found is not None:
            self._handle.cancel()
            return self._delta(text, "stop", whole=False)
        if out.finish_reason is not None:
            return self._last(text, out.finish_reason)
        return self._delta(text, None) if text else None

    def _ended(self) -> Delta:
        """The engine gave no further token."""
        return self._last("", self._handle.finish_reason or "cancelled")

    def _last(self, text: str, reason: FinishReason) -> Delta:
        text += self._stops.push(self._text.finish())
        if self._stops.found is not None:
            return self._delta(text, "stop", whole=False)
        return self._delta(text + self._stops.finish(), reason, whole=True)

    def _delta(self, text: str, reason: FinishReason | None, *, whole: bool = False) -> Delta:
        self._shown += len(text)
        self._pieces.append(text)
        tokens = []
        while self._waiting and (whole or self._waiting[0][0] < self._shown):
            tokens.append(self._waiting.popleft()[1])
        self._tokens += tokens
        self._reason = reason
        return Delta(text, tuple(tokens), reason)


class _AnswerText:
    """Tokens to characters, where the answer goes on from its prompt: a leading space of its first token counts."""

    def __init__(self, tokenizer: Tokenizer, prompt_ids: Sequence[int], skip_special: bool, continues: bool) -> None:
        self.length = 0
        begun = continues or any(id_ not in tokenizer.special_ids for id_ in prompt_ids)
        self._detokenizer = Detokenizer(tokenizer, skip_special=skip_special, begun=begun)

    def push(self, token: int) -> str:
        text = self._detokenizer.push(token)
        self.length += len(text)
        return text

    def finish(self) -> str:
        text = self._detokenizer.finish()
        self.length += len(text)
        return text
