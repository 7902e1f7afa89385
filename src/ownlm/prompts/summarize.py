"""A text in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from ownlm.prompts.template import Prompt


@dataclass(frozen=True, slots=True)
class Summarize:
    text: str


PROMPT = Prompt("summarize", "summarize-1", Summarize, "{text}\n\nSummarize in one sentence.")
OTHERS = (
    Prompt("summarize", "summarize-first-1", Summarize, "Summarize this text in one sentence.\n\n{text}"),
    Prompt(
        "summarize", "summarize-rules-1", Summarize, "Text: {text}\n\nSummary:",
        "You summarize texts. Write one sentence that says what is new and most important in the text, in its own "
        "words, and nothing that it does not say. Write nothing before or after that sentence.",
    ),
)  # fmt: skip
