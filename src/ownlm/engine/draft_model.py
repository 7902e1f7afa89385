"""A small model that drafts for a large one: it reads the same tokens, in a cache of its own, and says what it would
write next (Leviathan et al. 2023; here a draft stands only if the large model's sampler takes the same token)."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable, Sequence

from ownlm.engine.batch_builder import BatchBuilder
from ownlm.engine.block_manager import BlockManager
from ownlm.engine.cached_text import CachedText
from ownlm.engine.request import Request
from ownlm.engine.runner import Runner

CATCH_UP = 256  # tokens of one text a call: those who wait for the large model wait meanwhile
_RATE = 0.1


class DraftModel:
    """Follows the texts of at most ``texts`` requests to a model of ``vocab_size`` tokens. For the engine's thread, but
    for ``purge``. ``seconds``: what each further draft takes it; 0 until that is known.
    """

    def __init__(self, runner: Runner, vocab_size: int, texts: int) -> None:
        self._runner = runner
        self._vocab_size = min(vocab_size, runner.vocab_size)
        self._blocks = BlockManager(runner.blocks, runner.block_size)
        self._room = min(runner.max_positions, runner.blocks * runner.block_size)
        self._builder = BatchBuilder(runner.block_size, texts, self._blocks.blocks_for(self._room))
        self._texts: dict[int, CachedText] = {}
        self._lock = threading.Lock()
        self.seconds = 0.0

    def retain(self, running: Iterable[Request]) -> None:
        """Let go of all other requests' texts."""
        with self._lock:
            for number in self._texts.keys() - {request.request_id for request in running}:
                self._release(number)

    def draft(self, wishes: Sequence[tuple[Request, int]]) -> None:
        """Give each request that many drafts, or none as long as its text is not read so far, or has no room here."""
        with self._lock:
            going = [(text, *wish) for wish in wishes if (text := self._ready(*wish)) is not None]
            began, drafted = 0.0, 0
            while going:
                tokens = self._step([text for text, _, _ in going], known=not drafted)
                for (text, request, _), token in zip(going, tokens, strict=True):
                    text.tokens.append(token)
                    request.drafted.append(token)
                began, drafted = began or time.perf_counter(), drafted + 1
                for text, request, count in going:
                    if drafted == count:  # the last draft is said, not computed
                        known = len(request.tokens)
                        text.drafted = text.tokens[known:-1]
                        del text.tokens[known:]
                        text.computed = known
                going = [each for each in going if drafted < each[2]]
            if drafted > 1:
                seconds = (time.perf_counter() - began) / (drafted - 1)
                self.seconds += _RATE * (seconds - self.seconds) if self.seconds else seconds

    def clear(self) -> None:
        """Forget all texts, whatever state they are in."""
        with self._lock:
            for text in self._texts.values():
                text.running = False
            self._texts.clear()
            self._blocks.clear()

    def purge(self, tag: str) -> None:
        """Nothing computed from text of ``tag`` is found from here on, nor kept later. From any thread."""
        with self._lock:
            for text in self._texts.values():
                if any(owner.tag == tag for owner in text.table.owners):
                    text.table.private = True
            self._blocks.purge(tag)

    def audit(self) -> str:
        """What is wrong with the accounts; empty if nothing."""
        return self._blocks.audit(text.table for text in self._texts.values())

    def _ready(self, request: Request, count: int) -> CachedText | None:
        """Its text with all known tokens but the last few computed, and blocks for ``count`` drafts; else None."""
        text = self._followed(request)
        length = len(text.tokens)
        if length + count > self._room:
            return None
        far = text.missing > CATCH_UP
        target = text.computed + CATCH_UP if far else length + count
        if not self._blocks.grow(text.table, text.computed, target):
            self._release(request.request_id)
            return None
        if not far:
            return text
        self._run([(text, text.computed, CATCH_UP, 0, 0, 0)])
        text.computed = target
        self._blocks.register(text.table, text.tokens, target)
        return None

    def _followed(self, request: Request) -> CachedText:
        """What is kept of a request's text, with the tokens that came since. At least one is missing."""
        text = self._texts.get(request.request_id)
        if text is None:
            text = self._texts[request.request_id] = CachedText(request.tokens, request.table.owners)
            text.running = True
            text.table.private = request.table.private
            found = self._blocks.find(text.table, text.tokens, len(text.tokens) - 1)
            self._blocks.attach(text.table, found)
            text.computed = len(found) * self._blocks.block_size
        for token in request.tokens[len(text.tokens) :]:
            text.take(token)
        text.drop_drafts()
        text.computed = min(text.computed, len(text.tokens) - 1)
        return text

    def _step(self, texts: Sequence[CachedText], *, known: bool) -> list[int]:
        """The likeliest next token of each; ``known``: their tokens are, and may be found by others."""
        found = self._run([(text, text.computed, text.missing, 0, 0, 1) for text in texts])
        for text in texts:
            text.computed = len(text.tokens)
            if known:
                self._blocks.register(text.table, text.tokens, text.computed)
        return found

    def _run(self, entries: Sequence[tuple[CachedText, int, int, int, int, int]]) -> list[int]:
        """Compute tokens ``start .. start + size - 1`` of each text; the likeliest token after those that sample."""
        batch = self._builder.build(entries)
        if copies := self._blocks.take_copies():
            self._runner.copy_blocks(copies)
        logits = self._runner.step(batch)
        return logits[:, : self._vocab_size].argmax(axis=1).tolist() if len(logits) else []

    def _release(self, number: int) -> None:
        text = self._texts.pop(number)
        text.running = False
        self._blocks.release(text.table)
