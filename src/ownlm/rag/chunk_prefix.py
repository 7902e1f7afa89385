"""What is embedded with a chunk: the document's title and the headings above, then the text.

What is embedded is not what is quoted: a chunk that says "It is 12 pounds a month" is found by the heading
"Workshop fees", and the quotation is still the document's own words.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

PREFIX = 48
"""Wordpieces of title and headings at most; of a longer path the middle is left out, in what is embedded alone."""


class Tokens(Protocol):
    """How an encoder cuts text; ``ownlm.engine.embedder.Embedder`` is one."""

    def count_tokens(self, text: str) -> int:
        """Wordpieces of the text, without special tokens."""

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        """The span of characters of each wordpiece, in order."""


def embedded_text(title: str, heading: Sequence[str], text: str, tokens: Tokens) -> str:
    """What is embedded for a chunk: title and headings on one line, then its text."""
    return f"{prefix(title, heading, tokens)}\n{text}".lstrip("\n")


def prefix(title: str, heading: Sequence[str], tokens: Tokens) -> str:
    """Title and headings, outermost first, each said once, in at most PREFIX wordpieces."""
    parts = list(dict.fromkeys(" ".join(part.split()) for part in (title, *heading) if part.strip()))
    while parts and tokens.count_tokens(": ".join(parts)) > PREFIX:
        if len(parts) > 2:
            del parts[1]  # the middle of the path tells least
        elif len(parts) == 2:
            shorter = [_shortened(part, PREFIX // 2 - 1, tokens) for part in parts]
            parts = [part for part in shorter if part] if shorter != parts else parts[1:]
        else:
            parts = [shortened] if (shortened := _shortened(parts[0], PREFIX, tokens)) else []
    return ": ".join(parts)


def _shortened(text: str, limit: int, tokens: Tokens) -> str:
    """The first words of ``text`` that make at most ``limit`` wordpieces; empty when its first word is longer."""
    words = text.split()[:limit]
    while words and tokens.count_tokens(" ".join(words)) > limit:
        words.pop()
    return " ".join(words)
