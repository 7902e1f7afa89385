"""A model that says what it is told to, as slowly as it is told to, and a library that writes with it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from ownlm.engine.generation import Delta
from ownlm.engine.prefix_cache import Reuse
from ownlm.engine.request import FinishReason
from ownlm.rag import ledger
from ownlm.rag.generate.parse import parse
from ownlm.rag.types import Answer, Passage

from .conftest import FakeLibrary

THINKS = "{% if false %}<think></think>{% endif %}"


class FakeGeneration:
    """Pieces of a text, one each ``delay`` seconds."""

    prompt_tokens = cached_tokens = 0
    reuse, first_difference = Reuse(), None
    accepted_tokens = rejected_tokens = 0

    def __init__(self, llm: FakeLLM) -> None:
        self.llm = llm
        self.pieces = [llm.text[at : at + 6] for at in range(0, len(llm.text), 6)]
        self.completion_tokens = self.ready = 0
        self.done = self.cancelled = False
        self._tell: Callable[[], None] = lambda: None

    def notify(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        threading.Thread(target=self._go, daemon=True).start()

    def _go(self) -> None:
        while not self.cancelled and self.ready <= len(self.pieces):
            time.sleep(self.llm.delay)
            self.ready += 1
            self._tell()

    def poll(self) -> Iterator[Delta]:
        if self.llm.failure is not None:
            raise self.llm.failure
        while self.completion_tokens < min(self.ready, len(self.pieces)):
            self.completion_tokens += 1
            yield Delta(self.pieces[self.completion_tokens - 1])
        if self.ready > len(self.pieces) and not self.done:
            self.done = True
            yield Delta("", (), self.llm.ends)

    def cancel(self) -> None:
        self.cancelled = True
        if not self.done:
            self.llm.stopped += 1


@dataclass
class FakeLLM:
    """As much of ``LLM`` as the page's requests reach."""

    text: str = "The key is brass."
    name: str = "SmolLM3-3B-q4"
    path: Path = Path("no-model-folder")
    context: int = 4096
    delay: float = 0.0
    chat: bool = True
    thinks: bool = False
    ends: FinishReason = "stop"
    failure: Exception | None = None
    stopped: int = 0
    heard: list[Any] = field(default_factory=list)
    tokens: int = 0
    fingerprint: str = "0" * 64
    tokenizer: Any = field(default_factory=lambda: SimpleNamespace(special_ids=(), token=lambda id_: None))
    engine: Any = field(default_factory=lambda: SimpleNamespace(purge=lambda tag: 0))

    @property
    def chat_template(self) -> Any:
        template = THINKS if self.thinks else ""
        return SimpleNamespace(source=lambda tools=False: template) if self.chat else None

    def stats(self) -> Any:
        return SimpleNamespace(counters=SimpleNamespace(generated_tokens=self.tokens, busy_seconds=self.tokens / 34.4))

    def render(self, messages: Sequence[Any], tools: Any = None, **settings: Any) -> Any:
        self.heard.append([(message["role"], message["content"]) for message in messages])
        return SimpleNamespace(text="", ids=[1], notes=())

    def params(self, **settings: Any) -> Any:
        return SimpleNamespace(**settings)

    def start(self, ids: Any, params: Any, n: int = 1, **settings: Any) -> list[FakeGeneration]:
        self.tokens += 100
        return [FakeGeneration(self)]


class WritingLibrary(FakeLibrary):
    """Writes the model's text over its first two documents' passages."""

    def __init__(self, home: Path) -> None:
        super().__init__(home)
        self.failure: Exception | None = None

    def write(
        self,
        question: str,
        generator: Any,
        *,
        documents: Collection[int] | None = None,
        on_event: Callable[[str, Any], None] | None = None,
    ) -> Answer:
        report = on_event or (lambda name, data: None)
        report("retrieving", None)
        passages: list[Passage] = []
        for document, extracted in self._texts.values():
            if len(passages) < 8 and (documents is None or document.id in documents):
                name, title, text = document.name, document.title, extracted.text
                passages.append(Passage(document.id, name, title, 0, len(text), text, 0.9))
        report("writing", None)
        llm = generator.llm
        llm.tokens += 100
        for at in range(0, len(llm.text), 6):
            report("text", llm.text[at : at + 6])
            time.sleep(llm.delay)
        if self.failure is not None:
            raise self.failure
        said = "" if llm.text.startswith("The documents do not answer") else llm.text
        parsed = parse(said, passages, finished=True, enforced=False)
        answer = Answer(
            question, parsed.text, not parsed.claims, "generate", parsed.claims, tuple(passages),
            notes=("the model read 2 of 3 passages: its context has no room for more",),
        )  # fmt: skip
        return ledger.record(self.store, answer, {}, self.embedder.fingerprint)
