"""Answers from passages, with citations, and a refusal where they do not answer: `ownlm train recipes/grounded.py`.

A line of QUESTIONS is {"question", "passage", "answer", "place"}; `answer` is null where the passage does not say. Of
these, conversations are made as `ownlm ask` has them: the passage stands among others that do not answer, the answer
names its number, and words that stand in the passage are quoted. Some questions are shown with the others alone, and
the answer is then that the documents do not say. The model's folder names the prompt, so that `ask` uses it too.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.files import atomic_write
from ownlm.prompts import grounded
from ownlm.rag.generate.grammar import quotable
from ownlm.train.chat_data import Chats
from ownlm.train.decoder import Decoder
from ownlm.train.jsonl import Line, objects
from ownlm.train.lora import AdapterSettings
from ownlm.train.merge import Adapters
from ownlm.train.optim import OptimizerSettings
from ownlm.train.recipe import Base, Opened, Recipe, Tuning
from ownlm.train.schedule import Schedule

MODEL = Path("runs/tiny/model")
QUESTIONS = Path(__file__).parents[1] / "examples" / "tuning" / "questions.jsonl"
PROMPT = grounded.SHORT
"""For a model that follows instructions already, ``grounded.PROMPT``."""


@dataclass(frozen=True, slots=True)
class Question:
    """``answer`` None: the passage does not say."""

    text: str
    answer: str | None
    source: grounded.Source


@dataclass(frozen=True, slots=True)
class Questions:
    """A file of questions as the data of a recipe. ``distractors``: passages beside the one; ``withheld``: the share
    of the answerable questions that are shown without theirs."""

    file: Path
    distractors: int = 2
    withheld: float = 0.25
    held_out: float = 0.0
    seed: int = 0

    def open(self, tokenizer: Path, length: int, cache: Path) -> Opened:
        """See ``recipe.Data``. Raises InvalidData with file and line."""
        made = cache / "grounded.jsonl"
        with atomic_write(made) as file:
            for messages in conversations(read(self.file), self):
                file.write((json.dumps({"messages": messages}, ensure_ascii=False) + "\n").encode())
        return Chats((made,), held_out=self.held_out).open(tokenizer, length, cache)


def read(path: Path) -> list[Question]:
    """The questions of a file."""
    return [_question(line) for line in objects(path)]


def _question(line: Line) -> Question:
    texts = [line.value.get(name, "") for name in ("question", "passage", "place")]
    answer = line.value.get("answer", "")
    named = line.value.keys() <= {"question", "passage", "place", "answer"}
    if not named or not all(isinstance(text, str) for text in texts) or not all(texts[:2]) or answer == "":
        raise line.invalid("is no question", 'give {"question", "passage", "answer" (or null), "place"}')
    if answer is not None and not isinstance(answer, str):
        raise line.invalid("has an answer that is no text", "give a text, or null where the passage does not say")
    return Question(texts[0], answer, grounded.Source(texts[2], texts[1]))


def conversations(questions: Sequence[Question], settings: Questions) -> Iterator[list[dict[str, Any]]]:
    """One for each question."""
    chance = random.Random(settings.seed)  # noqa: S311  # no secret
    for question in questions:
        answer = question.answer
        others = _others(question, questions)
        shown = chance.sample(others, min(settings.distractors, len(others)))
        if answer is not None and shown and chance.random() < settings.withheld:
            answer = None
        else:
            shown.insert(chance.randint(0, len(shown)), question.source)
        said = grounded.NOTHING
        if answer is not None:
            said = answered(answer, question.source.text, shown.index(question.source) + 1)
        messages: list[dict[str, Any]] = list(PROMPT.messages(grounded.Grounded(question.text, tuple(shown))))
        yield [*messages, {"role": "assistant", "content": said}]


def _others(question: Question, questions: Sequence[Question]) -> list[grounded.Source]:
    """Passages that do not answer it, each once."""
    found = dict.fromkeys(other.source for other in questions if other.source.text != question.source.text)
    answer = (question.answer or "").lower()
    return [source for source in found if not answer or answer not in source.text.lower()]


def answered(answer: str, passage: str, number: int) -> str:
    """Words that stand in the passage are quoted, others said.

    >>> answered("at nine", "Open at nine.", 1), answered("at 9", "Open at nine.", 1)
    ('“at nine” [1]. [1]', 'at 9. [1]')
    """
    whole = answer in passage and quotable(answer) == [answer]
    return grounded.quoted(answer, number) if whole else grounded.cited(answer, number)


@dataclass(frozen=True, slots=True)
class Prompted:
    """What ``inner`` trains and writes, and beside it the version of the prompt that the model was tuned with."""

    inner: Tuning

    def apply(self, model: Decoder) -> None:
        """See ``recipe.Tuning``."""
        self.inner.apply(model)

    def write(self, model: Decoder, folder: Path) -> None:
        """See ``recipe.Tuning``."""
        self.inner.write(model, folder)
        with atomic_write(folder / "prompts.json") as file:
            file.write((json.dumps({PROMPT.template: PROMPT.version}) + "\n").encode())


def recipe() -> Recipe:
    """Adapters on every linear layer; questions, distractors and refusals as above."""
    return Recipe(
        name="grounded",
        model=Base(MODEL, frozen=True),
        data=Questions(QUESTIONS),
        tuning=Prompted(Adapters(AdapterSettings(rank=32, alpha=64), base=str(MODEL))),
        optimizer=OptimizerSettings.adamw(2e-3),
        schedule=Schedule(steps=60, warmup=3, decay=0.8),
        batch=4,
        length=256,
        measure_every=0,
        save_every=20,
    )
