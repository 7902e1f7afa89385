"""A text in one sentence."""

from __future__ import annotations

from dataclasses import dataclass

from ownlm.prompts.template import Prompt


@dataclass(frozen=True, slots=True)
class Summarize:
    text: str


PROMPT = Prompt("summarize", "summarize-1", Summarize, "{text}\n\nSummarize in one sentence.")
