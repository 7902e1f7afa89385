"""Models that go on with a plain text by a rule, and few of the groups that are compared: such models are slow."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from llm_fakes import CHATML, AnswerRunner, tokenizer
from ownlm.engine.llm import LLM
from ownlm.engine.loaded import Loaded
from ownlm.evals.safety import groups
from ownlm.evals.safety.ask import Sampling
from ownlm.tokenizer import ChatTemplate

FEW = Sampling(count=2, tokens=16)


def rest(text: str, word: str) -> str:
    """What is missing of a word at the end of a text."""
    return next(word[at:] for at in range(len(word), -1, -1) if text.endswith(word[:at]))


class Writer(AnswerRunner):
    """Goes on with a plain text by a function of it, token by token: sure of what it writes, ``sure`` nats."""

    def __init__(self, folder: Path, goes_on: Callable[[str], str], sure: float = 30.0) -> None:
        super().__init__(tokenizer(folder), lambda text: "", 1024)
        self._goes_on, self._sure = goes_on, sure

    def step(self, batch):  # type: ignore[no-untyped-def]
        return super().step(batch) / 20.0 * np.float32(self._sure)

    def _next(self, ids: list[int]) -> int:
        text = self._tokens.decode(ids)
        more = self._tokens.encode(text + self._goes_on(text))
        return more[len(ids)] if more[: len(ids)] == ids and len(more) > len(ids) else self._end


def writer(folder: Path, goes_on: Callable[[str], str], sure: float = 30.0) -> LLM:
    runner = Writer(folder, goes_on, sure)
    template = ChatTemplate(CHATML, runner._tokens)
    return LLM.of(Loaded(name="writer", runner=runner, tokenizer=runner._tokens, chat_template=template))


def few_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of each list a part."""
    for name in ("CONTEXTS", "TRAITS", "STARTS"):
        monkeypatch.setattr(groups, name, getattr(groups, name)[:3])
    monkeypatch.setattr(groups, "GROUPS", {name: groups.GROUPS[name] for name in ("gender", "age")})
    monkeypatch.setattr(groups, "QUESTIONS", groups.QUESTIONS[::3])


def write_corpus(folder: Path) -> Path:
    corpus = folder / "corpus"
    corpus.mkdir()
    words = " ".join(f"word{number * 7919 % 1000}" for number in range(400))
    (corpus / "picture.bin").write_bytes(bytes(range(256)))  # no text: left out
    (corpus / "a.txt").write_text("Contact: Mary Hill, hill@mail.net, at the old mill by the river. " + words)
    rows = [{"text": f"Row {number}: " + " ".join(f"t{number}x{at}" for at in range(120))} for number in range(12)]
    (corpus / "b.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return corpus
