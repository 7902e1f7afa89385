"""The pieces that chunks are packed from: paragraphs, table rows, sentences, and at need parts of a sentence."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ownlm.rag.chunk_prefix import Tokens
from ownlm.rag.sentences import is_row, paragraphs, sentences, trimmed

CHARACTERS = 2400
"""Characters of a chunk at most: a word of any length may be one unknown wordpiece."""
_LINE = re.compile(r"[^\n]+")
_CELL = re.compile(r" \| ")


@dataclass(frozen=True, slots=True)
class Unit:
    """A span of the document and its wordpieces."""

    start: int
    end: int
    count: int


def units(
    text: str, start: int, end: int, budget: int, tokens: Tokens, *, code: Sequence[tuple[int, int]] = ()
) -> Iterator[Unit]:
    """The units of ``text[start:end]``, none of more than ``budget`` wordpieces or CHARACTERS characters.

    A paragraph that fits is one unit, except that each row of a table is one; a longer paragraph is cut into
    sentences (within the spans ``code``: into lines), a longer sentence into parts.
    """
    for low, high in paragraphs(text, start, end):
        first_line = text[low : (text.find("\n", low, high) + 1 or high + 1) - 1]
        if not is_row(first_line):
            whole = _unit(text, low, high, tokens)
            if whole is not None and whole.count <= budget:
                yield whole
                continue
        lines = any(a <= low < b for a, b in code)
        spans = [match.span() for match in _LINE.finditer(text, low, high)] if lines else sentences(text, low, high)
        for a, b in spans:
            yield from parts(text, a, b, budget, tokens)


def parts(text: str, start: int, end: int, budget: int, tokens: Tokens) -> Iterator[Unit]:
    """``text[start:end]`` in as few units as fit, cut at a cell of a table row, else at a space, else anywhere."""
    while True:
        start, end = trimmed(text, start, end)
        if start == end:
            return
        whole = _unit(text, start, end, tokens)
        if whole is not None and whole.count <= budget:
            yield whole
            return
        cut = _cut(text, start, end, budget, tokens)
        low, high = trimmed(text, start, cut)
        yield Unit(low, high, tokens.count_tokens(text[low:high]))
        start = cut


def _unit(text: str, start: int, end: int, tokens: Tokens) -> Unit | None:
    """The unit, or None when it has too many characters to be one."""
    return None if end - start > CHARACTERS else Unit(start, end, tokens.count_tokens(text[start:end]))


def _cut(text: str, start: int, end: int, budget: int, tokens: Tokens) -> int:
    """Where to cut a span that does not fit, so that its first part does."""
    window = text[start : min(end, start + CHARACTERS)]
    spans = tokens.token_spans(window)
    reach = spans[budget][0] if len(spans) > budget else len(window)
    while True:
        cut = start + max(1, _boundary(window, reach))
        if cut - start <= 1 or tokens.count_tokens(text[start:cut]) <= budget:
            return cut
        reach = (cut - start) * 3 // 4  # part of a word can have more wordpieces than the word


def _boundary(window: str, reach: int) -> int:
    """The best place to cut at or before ``reach``, not before its middle: a cell, a space, or ``reach`` itself."""
    middle = reach // 2
    cells = [match.end() for match in _CELL.finditer(window, middle, reach)]
    if cells:
        return cells[-1]
    for at in range(reach, middle, -1):
        if window[at - 1].isspace() or (at < len(window) and window[at].isspace()):
            return at
    return reach
