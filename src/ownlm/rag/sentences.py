"""Sentences as spans of a text.

Rules, no model: a stop ends a sentence unless what stands before it is an abbreviation, an initial, a list
number or part of a decimal, or what follows goes on in lower case. Lines that a writer broke on purpose (table
rows, list items, headings, addresses) end too; lines that were only wrapped do not.

    >>> text = 'Dr. Lee paid £3.50. "Why?" he asked.'
    >>> [text[a:b] for a, b in sentences(text)]
    ['Dr. Lee paid £3.50.', '"Why?" he asked.']

Spans are ordered, disjoint, without space at either end, and together hold every character that is not space.
The time is linear in the text's length, whatever the text.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from itertools import pairwise

# A run of stops (also spaced, ". . .") and the quotes, brackets and footnote marks that close after it. What follows
# the first stop may be nothing, so no match is ever tried again and no text makes the search quadratic. Groups are not
# possessive: Python before 3.11.5 does not give back what such a group took before it failed.
_STOP = re.compile(
    r"[.!?…‽؟۔।॥։]++(?:[ \u00a0][.!?]++(?![^\s\])\"'”’.!?]))*(?:[\"'”’»›)\]}*_]|\[(?:\d{1,3}|[a-z][a-z ]{0,20})\])*"
    r"|[。！？｡．]++[」』”’）】》〉\"')\]]*+"
)
_WIDE_STOP = frozenset("。！？｡．")
_BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")
_LINE = re.compile(r"[^\n]+")
_ITEM = re.compile(r"[^\S\n]*(?:[-*+•◦▪‣–—·]\s|\(?(?:\d{1,3}|[A-Za-z]|[ivxlc]{1,5})[.)]\s|#{1,6}\s|>|\|)")
_MARKER = re.compile(r"\(?(?:\d{1,3}|[A-Za-z]|[ivxlcIVXLC]{1,5})(?:\.\d{1,3})*\.")
_LAST_WORD = re.compile(r"[\w.&'’-]+\Z")
_FIRST_WORD = re.compile(r"\S+")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# Never the end of a sentence.
_TITLES = _words(
    "mr mrs ms mx dr prof st fr rev hon gen col maj capt cmdr lt sgt cpl gov sen rep pres messrs mme mlle "
    "e.g i.e eg ie viz vs v cf ca approx resp incl excl esp usu attn re z.b d.h bzw vgl"
)
# Not the end when a number follows.
_COUNTED = _words(
    "no nos nr fig figs vol vols p pp ch chap sec sect art arts para paras pt pts ed eq eqs tab app apt rm ext tel "
    "jan feb mar apr jun jul aug sep sept oct nov dec mon tue tues wed thu thur thurs fri sat sun"
)
# The end only when what follows clearly starts a sentence.
_ENDINGS = _words(
    "etc inc ltd co corp plc llc bros jr sr esq al dept est univ assn gmbh ave blvd rd mt a.m p.m am pm "
    "ph.d m.d b.a m.a b.sc m.sc d.c u.s u.k u.n e.u ed eds trans min max hrs hr mins sq ft in lb lbs oz"
)
_STARTERS = _words(
    "a an the this that these those he she it we they you i his her its our their your my there here what when where "
    "who why how which if in on at for from with as after before since because but and or so yet while although "
    "however no not all any each every some most many one two three please see then thus also by to during under both "
    "such do does did is are was were can could should would will may must let new"
)
_SLACK = 0.8
"""A line is wrapped, not broken on purpose, when the next word would have filled it beyond this share of the width."""
_NARROW = 40
"""A paragraph whose longest line is shorter than this (characters) was broken on purpose at every line."""


def sentences(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """The sentences of ``text[start:end]``, as half-open spans into ``text``."""
    end = len(text) if end is None else end
    spans: list[tuple[int, int]] = []
    for low, high in _lines(text, start, end):
        position = low
        for stop in _STOP.finditer(text, low, high):
            if stop.end() > position and _ends(text, position, stop.start(), stop.end(), high):
                _add(spans, text, position, stop.end())
                position = stop.end()
        _add(spans, text, position, high)
    return spans


def paragraphs(text: str, start: int = 0, end: int | None = None) -> list[tuple[int, int]]:
    """The blocks of ``text[start:end]`` between blank lines, trimmed, as spans into ``text``."""
    end = len(text) if end is None else end
    spans: list[tuple[int, int]] = []
    position = start
    for gap in _BLANK_LINES.finditer(text, start, end):
        _add(spans, text, position, gap.start())
        position = gap.end()
    _add(spans, text, position, end)
    return spans


def is_row(line: str) -> bool:
    """Whether a line is a table row as readers write it: ``Header: value | Header: value``."""
    return " | " in line


def trimmed(text: str, start: int, end: int) -> tuple[int, int]:
    """The span without the space at its ends."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _add(spans: list[tuple[int, int]], text: str, start: int, end: int) -> None:
    """Append the span without the space at its ends, unless nothing is left."""
    start, end = trimmed(text, start, end)
    if start < end:
        spans.append((start, end))


def _lines(text: str, start: int, end: int) -> Iterator[tuple[int, int]]:
    """Runs of lines that belong together: wrapped prose as one run, every deliberate line on its own."""
    for low, high in paragraphs(text, start, end):
        lines = [match.span() for match in _LINE.finditer(text, low, high)]
        width = max(b - a for a, b in lines)
        run = lines[0][0]
        for (a, b), (c, d) in pairwise(lines):
            if _deliberate(text, a, b, c, d, width):
                yield run, b
                run = c
        yield run, high


def _deliberate(text: str, a: int, b: int, c: int, d: int, width: int) -> bool:
    """Whether the break between the lines ``a:b`` and ``c:d`` is the writer's, not the margin's."""
    if width < _NARROW or _ITEM.match(text, c, d):
        return True
    if is_row(text[a:b]) or is_row(text[c:d]) or text.startswith("#", a):
        return True
    word = _FIRST_WORD.search(text, c, d)
    return word is None or (b - a) + 1 + len(word[0]) <= _SLACK * width


def _ends(text: str, start: int, low: int, high: int, limit: int) -> bool:
    """Whether the stop ``text[low:high]`` ends the sentence that began at ``start``."""
    if high >= limit:
        return True
    if text[low] in _WIDE_STOP:
        return True
    if not text[high].isspace():
        return False
    after = _next_letter(text, high, limit)
    stop = text[low]
    if not after:
        return True
    if stop != "." or text.startswith(("..", ". .", ".\u00a0."), low):
        return not after[0].islower()
    while start < low and text[start].isspace():
        start += 1
    if low - start <= 8 and _MARKER.fullmatch(text, start, low + 1):
        return False
    return _full_stop(text[max(start, low - 40) : low], high - low == 1, after)


def _full_stop(before: str, bare: bool, after: str) -> bool:
    """Whether a single full stop after ``before`` ends a sentence when ``after`` is the next word."""
    match = _LAST_WORD.search(before)
    word = match[0].lower().strip("'’-").rpartition("-")[2] if match else ""
    starts = after.lower() in _STARTERS and not after[0].islower()
    if word in _TITLES:
        return False
    if word in _COUNTED and (after[0].isdigit() or re.fullmatch(r"[IVXLC]+", after)):
        return False
    if word in _ENDINGS:
        return starts if word not in ("etc", "a.m", "p.m") else not after[0].islower()
    initial = re.fullmatch(r"(?:\w[.-]?)*\b[^\W\d_]", match[0]) if match else None
    if initial and (len(word) == 1 or "." in word) and bare:
        return starts
    if after[0].islower():
        return bare and len(word) >= 5 and "." not in word and word.isalpha()
    return True


def _next_letter(text: str, position: int, limit: int) -> str:
    """The first word after ``position``, without opening quotes and brackets; empty when only space follows."""
    window = text[position : min(limit, position + 60)]
    match = re.search(r"\w[\w'’]*", window)
    if match:
        return match[0]
    return window.strip()[:1]
