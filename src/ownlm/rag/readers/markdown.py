"""Markdown: its own text, with headings, fenced code, tables and the front matter's title found in it.

The block structure of CommonMark 0.31 as far as headings need it: fences hide ``#`` lines; ATX and setext.
"""

from __future__ import annotations

import re
from pathlib import PurePath

from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.text import own_text
from ownlm.rag.types import Extracted, Mark

_ATX = re.compile(r" {0,3}(#{1,6})(?:[ \t]+(.*?))?(?:[ \t]+#+)?[ \t]*$")
_SETEXT = re.compile(r" {0,3}(=+|-+)[ \t]*$")
_FENCE = re.compile(r" {0,3}(`{3,}|~{3,})")
_NOT_A_PARAGRAPH = re.compile(r"[ \t]*$| {4}|\t| {0,3}(?:[>#|]|[-*+][ \t]|\d+[.)][ \t])")
_TABLE_RULE = re.compile(r"[ \t]*\|?[ \t]*:?-+:?[ \t]*(?:\|[ \t]*:?-+:?[ \t]*)*\|?[ \t]*$")
_LINK = re.compile(r"!?\[([^\]\[]*)\](?:\([^)]*\)|\[[^\]]*\])")
_EMPHASIS = re.compile(r"(\*{1,3}|_{1,3}|`+|~~)(?=\S)(.+?)(?<=\S)\1")
_TITLE = re.compile(r"title[ \t]*[:=][ \t]*(.+)", re.IGNORECASE)


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    text, notes = own_text(data, limits)
    body, title = _front_matter(text)
    marks = _marks(text, body)
    if not title:
        title = next((mark.label for mark in marks if mark.kind == "heading" and mark.label), "")
    return Extracted(text, title or PurePath(name).stem, "text/markdown", tuple(marks), tuple(notes))


def _front_matter(text: str) -> tuple[int, str]:
    """Where the text after YAML (``---``) or TOML (``+++``) front matter begins, and the title in it."""
    fence = text[:4]
    if fence not in ("---\n", "+++\n"):
        return 0, ""
    end = text.find(f"\n{fence.strip()}\n", 3)
    if end < 0:
        return 0, ""
    title = ""
    for line in text[4:end].split("\n"):
        if match := _TITLE.match(line):
            title = match[1].strip().strip("\"'")
    return end + 5, title


def _marks(text: str, start: int) -> list[Mark]:
    marks: list[Mark] = []
    fence, fence_start = "", 0
    table_start = -1
    previous, previous_start = "", start
    for line in text[start:].split("\n"):
        end = start + len(line)
        if fence:
            if (match := _FENCE.match(line)) and match[1].startswith(fence) and not line.strip(" `~"):
                marks.append(Mark("code", fence_start, end))
                fence = ""
            line = ""
        elif table_start >= 0 and "|" not in line:
            marks.append(Mark("table", table_start, start - 1))
            table_start = -1
        if fence or table_start >= 0:
            pass
        elif match := _FENCE.match(line):
            fence, fence_start = match[1], start
        elif match := _ATX.match(line):
            if label := plain(match[2] or ""):  # CommonMark has headings of nothing; they head nothing
                marks.append(Mark("heading", start, end, len(match[1]), label))
        elif (match := _SETEXT.match(line)) and not _NOT_A_PARAGRAPH.match(previous):
            if label := plain(previous):
                marks.append(Mark("heading", previous_start, end, 1 if match[1][0] == "=" else 2, label))
            line = ""
        elif "|" in line and "|" in previous and _TABLE_RULE.match(line):
            table_start = previous_start
        previous, previous_start = line, start
        start = end + 1
    if fence:
        marks.append(Mark("code", fence_start, len(text)))
    if table_start >= 0:
        marks.append(Mark("table", table_start, len(text)))
    return marks


def plain(inline: str) -> str:
    """The words of inline Markdown without its signs.

    >>> plain("The **[fees](fees.md)** of `2024`")
    'The fees of 2024'
    """
    return _EMPHASIS.sub(r"\2", _EMPHASIS.sub(r"\2", _LINK.sub(r"\1", inline))).strip()[:300]
