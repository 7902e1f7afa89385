"""What a model thinks before it answers: ``<think>`` ... ``</think>``, as Qwen3, SmolLM3, DeepSeek and others write it.

It is given out as ``reasoning_content``, so that an answer that must be JSON is nothing but JSON.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from ownlm.serve.openai.spelling import atoms

OPEN, CLOSE = "<think>", "</think>"


@dataclass(frozen=True, slots=True)
class Reasoning:
    """``begun``: the prompt ends in the middle of a thought; else the answer may begin with one."""

    begun: bool

    def start(self, special: Mapping[str, int]) -> str:
        """Lark: ``start`` is a thought, then the rule ``message``, which does not begin as a thought does."""
        thought = "thought" if self.begun else f"({atoms(OPEN, special)} thought)?"
        if CLOSE in special:
            inside = f"thought: THOUGHT? {atoms(CLOSE, special)}\nTHOUGHT: /(?s:.+)/"
        else:
            inside = f'thought[suffix="{CLOSE}"]: /(?s:.*)/'
        return f"start: {thought} SPACE? message\nSPACE: /\\s+/\n{inside}"


def reasoning_of(template: str, prompt: str) -> Reasoning | None:
    """What the template and the prompt made by it say: none where a model does not think, or was told not to."""
    if CLOSE not in template:
        return None
    end = prompt.rstrip()
    if end.endswith(CLOSE):
        return None
    return Reasoning(begun=end.endswith(OPEN))


class Thoughts:
    """Takes an answer apart, piece by piece, into (thought, the answer itself)."""

    def __init__(self, reasoning: Reasoning | None) -> None:
        self._held = ""
        self._inside = reasoning is not None and reasoning.begun
        self._may_begin = reasoning is not None and not reasoning.begun
        self._blank = False  # white space between thought and answer belongs to neither

    def push(self, piece: str, *, last: bool = False) -> tuple[str, str]:
        """What is certain now; ``last``: no more comes."""
        self._held += piece
        if self._may_begin:
            begin = self._held.lstrip()
            if not last and OPEN.startswith(begin[: len(OPEN)]) and len(begin) < len(OPEN):
                return "", ""
            self._may_begin = False
            if begin.startswith(OPEN):
                self._inside, self._held = True, begin[len(OPEN) :]
        if not self._inside:
            return "", self._answer()
        thought, found, rest = self._held.partition(CLOSE)
        if found:
            self._inside, self._blank, self._held = False, True, rest
            return thought, self._answer()
        size = 0 if last else _beginning(thought)
        self._held = thought[len(thought) - size :]
        return thought[: len(thought) - size], ""

    def _answer(self) -> str:
        text, self._held = self._held, ""
        if self._blank:
            text = text.lstrip()
            self._blank = not text
        return text


def _beginning(text: str) -> int:
    """How many of the last characters may begin the mark that ends a thought."""
    return next((size for size in range(len(CLOSE) - 1, 0, -1) if text.endswith(CLOSE[:size])), 0)
