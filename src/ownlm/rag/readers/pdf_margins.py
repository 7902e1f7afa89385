"""Running headers, footers and page numbers: what a PDF repeats on page after page.

Left out where it is safe: the topmost or lowest line of a page, apart from the text and hardly larger than it,
that stands at the same height on three or more pages and differs in digits only, where most lines at that height are
such. It stays on the first page that has it. A line at such a height that carries the page's own number is left
out too (a chapter's name, over fewer pages).
"""

from __future__ import annotations

import re
from collections import Counter

from ownlm.rag.readers.pdf_lines import Line

_PAGE_NUMBER = re.compile(r"\W*(?:page|seite|p\.)?\s*(?:\d{1,5}|[ivxlc]{1,8})(?:\s*(?:/|of|von)\s*\d{1,5})?\W*", re.I)
_DIGITS = re.compile(r"\d+|\b[ivxlc]+\b")
MIN_PAGES = 3
MOSTLY = 0.6  # of the lines at a height must be running ones


def without_running_lines(pages: list[list[Line]], labels: list[str], body: float) -> list[str]:
    """Remove running lines from ``pages`` in place; returns their texts. ``body`` is the text's height of type."""
    counts: Counter[tuple[str, int]] = Counter()
    edges: list[list[Line]] = []
    for lines in pages:
        edges.append(_edges(lines))
        counts.update({_key(line) for line in edges[-1]})
    at_height = Counter(_key(line)[1] for lines in pages for line in lines)
    repeated = Counter[int]()
    for (_, height), count in counts.items():
        repeated[height] += count if count >= MIN_PAGES else 0
    seen: set[tuple[str, int]] = set()
    texts: dict[str, None] = {}
    for lines, outer, label in zip(pages, edges, labels, strict=True):
        for line in outer:
            key = _near(_key(line), counts)
            number_only = bool(_PAGE_NUMBER.fullmatch(line.text)) and len(pages) > 1
            usual = _around(repeated, key[1]) >= MOSTLY * _around(at_height, key[1]) and line.height < 1.3 * body
            numbered = usual and label in (line.text.split()[0], line.text.split()[-1])
            if not (number_only or numbered or (usual and counts[key] >= MIN_PAGES)):
                continue
            if key in seen or number_only:
                lines[:] = [other for other in lines if other is not line]
                if not number_only:
                    texts.setdefault(_DIGITS.sub("#", line.text))
            seen.add(key)
    return list(texts)


def _key(line: Line) -> tuple[str, int]:
    return _DIGITS.sub("#", line.text.lower()), round(line.baseline / 4)


def _around(counts: Counter[int], height: int) -> int:
    return counts[height - 1] + counts[height] + counts[height + 1]


def _near(key: tuple[str, int], counts: Counter[tuple[str, int]]) -> tuple[str, int]:
    """The same text a hair higher or lower is the same running line."""
    text, height = key
    return max(((text, height + step) for step in (0, -1, 1)), key=lambda other: counts[other])


def _edges(lines: list[Line]) -> list[Line]:
    """The topmost and the lowest line of a page, where each stands apart from its neighbour."""
    levels = sorted(lines, key=lambda line: -line.baseline)
    result = []
    if len(levels) > 1 and levels[0].baseline - levels[1].baseline > 1.5 * levels[1].height:
        result.append(levels[0])
    if len(levels) > 1 and levels[-2].baseline - levels[-1].baseline > 1.5 * levels[-1].height:
        result.append(levels[-1])
    if len(levels) == 1:
        result.append(levels[0])
    return result
