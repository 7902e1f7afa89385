"""Whether a text is positive or negative."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from ownlm.prompts.template import Prompt

Label = Literal["negative", "positive"]
LABELS: tuple[Label, ...] = get_args(Label)
"""The answers; each is the whole answer."""


@dataclass(frozen=True, slots=True)
class Sentiment:
    text: str


PROMPT = Prompt("sentiment", "sentiment-1", Sentiment, "{text}\n\nPositive or negative?")
OTHERS = (
    Prompt(
        "sentiment", "sentiment-first-1", Sentiment,
        "Is this text positive or negative? Answer with one word.\n\n{text}",
    ),
    Prompt(
        "sentiment", "sentiment-rules-1", Sentiment, "Text: {text}\nSentiment:",
        "You label texts by their sentiment. Answer with one word, positive or negative, in lower case, and "
        "nothing else.",
    ),
)  # fmt: skip
