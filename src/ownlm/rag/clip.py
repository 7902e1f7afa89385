"""The part of a long sentence, row or line that says most about a question."""

from __future__ import annotations

import re
from collections.abc import Collection

from ownlm.rag.stem import stems

_BREAKS = (re.compile(r"\s\|\s"), re.compile(r"(?<=[;:])\s"), re.compile(r"(?<=,)\s"), re.compile(r"\s"))
"""Where a part may begin or end: cells of a row, then clauses, then words."""


def clip(text: str, terms: Collection[str], limit: int) -> tuple[int, int]:
    """The span of at most ``limit`` characters of ``text`` that holds most of the stems ``terms``, the first of such.

    It begins and ends at a cell, a clause or a word, whichever gives parts that fit; never empty for a text that has
    something but space.

    >>> text = "Item: hammer | Price: 3 pounds | Note: " + "x" * 25
    >>> text[slice(*clip(text, {"price"}, 32))]
    'Price: 3 pounds'
    """
    if len(text) <= limit:
        return 0, len(text)
    parts: list[tuple[int, int]] = []
    for breaks in _BREAKS:
        found = _parts(text, breaks)
        if all(end - start <= limit for start, end in found):
            parts = found
            break
    if not parts:
        parts = [(at, min(at + limit, len(text))) for at in range(0, len(text), max(1, limit))]
    held = [[stem for stem in stems(text[a:b]) if stem in terms] for a, b in parts]
    best, best_span = -1.0, parts[0]
    last = 0
    for first in range(len(parts)):
        last = max(last, first)
        while last + 1 < len(parts) and parts[last + 1][1] - parts[first][0] <= limit:
            last += 1
        distinct = set().union(*held[first : last + 1])
        # Among windows with the same terms, the one in which they stand together near its beginning.
        lead = bool(held[first])
        value = len(distinct) + 0.5 * lead
        if value > best:
            best, best_span = value, (parts[first][0], parts[last][1])
    return best_span


def _parts(text: str, breaks: re.Pattern[str]) -> list[tuple[int, int]]:
    spans, low = [], 0
    for match in breaks.finditer(text):
        spans.append((low, match.start()))
        low = match.end()
    spans.append((low, len(text)))
    return [(a, b) for a, b in spans if text[a:b].strip()]
