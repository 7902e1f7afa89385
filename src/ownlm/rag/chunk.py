"""Chunks: the spans of a document that are embedded, found and quoted.

    document ── at headings and pages ──> sections ── at paragraphs, rows, sentences ──> units ── packed ──> chunks

Chunks are in order, disjoint, without space at either end, and together hold every character that is not space.
None has more than LIMIT wordpieces with the title and headings embedded before it: the encoder cuts nothing.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

from ownlm.rag.chunk_prefix import PREFIX, Tokens, embedded_text, prefix
from ownlm.rag.chunk_units import CHARACTERS, Unit, parts, units
from ownlm.rag.sentences import trimmed
from ownlm.rag.types import Chunk, Extracted

__all__ = ["LIMIT", "PREFIX", "TARGET", "Tokens", "chunks", "embedded_text", "prefix"]

LIMIT = 240
"""Wordpieces of a chunk at most, with what is embedded before it; the encoder reads 254 and two special ones."""
TARGET = 160
"""Wordpieces that the chunks of a longer section come near; a section that fits is one chunk."""


@dataclass(frozen=True, slots=True)
class Section:
    """Text under one heading on one page; its heading's own line is ``start:body``."""

    start: int
    body: int
    end: int
    heading: tuple[str, ...]
    page: str


def chunks(document: Extracted, tokens: Tokens, *, limit: int = LIMIT, target: int = TARGET) -> list[Chunk]:
    """Cut a document. Text with nothing but space has no chunks."""
    text, found = document.text, list[Chunk]()
    waiting: list[Unit] = []  # headings that no text followed yet
    code = [(mark.start, mark.end) for mark in document.marks if mark.kind == "code"]
    last: Section | None = None
    for last in sections(document):
        budget = limit - tokens.count_tokens(prefix(document.title, last.heading, tokens))
        waiting += units(text, last.start, last.body, budget, tokens)
        body = list(units(text, last.body, last.end, budget, tokens, code=code))
        if body:
            found += _fitted(document, last, _packed(waiting, body, budget, target), tokens, limit)
            waiting = []
    if waiting and last is not None:
        budget = limit - tokens.count_tokens(prefix(document.title, last.heading, tokens))
        found += _fitted(document, last, _packed([], waiting, budget, target), tokens, limit)
    return found


def sections(document: Extracted) -> Iterator[Section]:
    """The document cut at every heading and at every page, each with the path of headings above it."""
    length = len(document.text)
    headings = {mark.start: mark for mark in document.marks if mark.kind == "heading"}
    pages = sorted((mark.start, mark.end, mark.label) for mark in document.marks if mark.kind == "page")
    cuts = {0, length, *headings}
    for start, end, _ in pages:
        cuts |= {start, end}
    ordered = sorted(cut for cut in cuts if 0 <= cut <= length)
    path: list[tuple[int, str]] = []
    for start, end in pairwise(ordered):
        body = start
        if start in headings:
            mark = headings[start]
            path = [above for above in path if above[0] < mark.level]
            path.append((mark.level, mark.label))
            body = min(max(mark.end, start), end)
        page = (
            pages[at][2] if (at := bisect_right(pages, (start, length + 1)) - 1) >= 0 and start < pages[at][1] else ""
        )
        yield Section(start, body, end, tuple(label for _, label in path if label), page)


def _packed(heads: list[Unit], body: list[Unit], budget: int, target: int) -> Iterator[tuple[int, int]]:
    """Spans of neighbouring units, even in size and near the target; the headings go with what follows them."""
    total = sum(unit.count for unit in heads) + sum(unit.count for unit in body)
    goal = total / max(1, -(-total // min(target, budget))) if total > budget else total
    start, end, count, glued = -1, -1, 0, False
    for index, unit in enumerate([*heads, *body]):
        fits = count + unit.count <= budget and unit.end - start <= CHARACTERS
        if start >= 0 and fits and (glued or count + unit.count / 2 <= goal):
            end, count = unit.end, count + unit.count
        else:
            if start >= 0:
                yield start, end
            start, end, count = unit.start, unit.end, unit.count
        glued = index < len(heads)
    if start >= 0:
        yield start, end


def _fitted(
    document: Extracted, section: Section, spans: Iterator[tuple[int, int]], tokens: Tokens, limit: int
) -> Iterator[Chunk]:
    """The chunks of these spans. What is embedded is counted as the encoder will count it, and cut again if need be."""
    text, above = document.text, section.heading
    for start, end in spans:
        if tokens.count_tokens(embedded_text(document.title, above, text[start:end], tokens)) <= limit:
            yield Chunk(start, end, above, section.page)
            continue
        room = limit - tokens.count_tokens(prefix(document.title, above, tokens))
        for part in parts(text, *trimmed(text, start, end), room, tokens):
            yield Chunk(part.start, part.end, above, section.page)
