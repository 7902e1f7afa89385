"""The markup that the sources are written in: a strict, small part of Markdown.

A source begins with ``% key: value`` lines (title, subtitle, author, date). Blocks follow, parted by
blank lines: ``# heading``, ``- item``, ``1. item``, ``| table |`` (first row is the header, second the
rule), ``Notes: ...`` (a speaker's notes) and paragraphs. Inside a paragraph ``**bold**`` is known.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Literal

BlockKind = Literal["heading", "paragraph", "bullets", "numbers", "table", "notes"]

_BULLET = re.compile(r"- +")
_NUMBER = re.compile(r"\d+\. +")
_BOLD = re.compile(r"\*\*(.+?)\*\*")


@dataclass(frozen=True, slots=True)
class Block:
    """One block. ``lines`` holds text or list items, ``rows`` a table's cells with the header first."""

    kind: BlockKind
    lines: tuple[str, ...] = ()
    rows: tuple[tuple[str, ...], ...] = ()
    level: int = 0


@dataclass(frozen=True, slots=True)
class Paper:
    """A parsed source. ``date`` stamps the file that is made from it, so that a second run gives the same bytes."""

    title: str
    subtitle: str
    author: str
    date: datetime
    blocks: tuple[Block, ...] = field(default=())

    def sections(self) -> list[tuple[str, list[Block]]]:
        """The blocks under each first-level heading (a sheet, a slide, a chapter), in order."""
        found: list[tuple[str, list[Block]]] = []
        for block in self.blocks:
            if block.kind == "heading" and block.level == 1:
                found.append((block.lines[0], []))
            elif not found:
                raise ValueError(f"{self.title}: text before the first heading")
            else:
                found[-1][1].append(block)
        return found


def cells(line: str) -> tuple[str, ...]:
    """Split a table line.

    >>> cells("| a | | c |")
    ('a', '', 'c')
    """
    return tuple(cell.strip() for cell in line.strip()[1:-1].split("|"))


def bold_runs(text: str) -> list[tuple[str, bool]]:
    """Split a paragraph into runs of plain and bold text.

    >>> bold_runs("**Fire.** Leave.")
    [('Fire.', True), (' Leave.', False)]
    """
    return [(part, bool(index % 2)) for index, part in enumerate(_BOLD.split(text)) if part]


def _block(lines: list[str]) -> Block:
    first = lines[0]
    if first.startswith("#"):
        marks, _, text = first.partition(" ")
        return Block("heading", (text,), level=len(marks))
    if first.startswith("|"):
        rows = [cells(line) for line in lines if not set(line) <= set("|- ")]
        if len({len(row) for row in rows}) != 1:
            raise ValueError(f"a table with rows of different lengths, beginning {first!r}")
        return Block("table", rows=tuple(rows))
    if all(_BULLET.match(line) for line in lines):
        return Block("bullets", tuple(_BULLET.sub("", line, count=1) for line in lines))
    if all(_NUMBER.match(line) for line in lines):
        return Block("numbers", tuple(_NUMBER.sub("", line, count=1) for line in lines))
    if first.startswith("Notes: "):
        return Block("notes", (" ".join(lines).removeprefix("Notes: "),))
    return Block("paragraph", (" ".join(lines),))


def parse(path: Path) -> Paper:
    """Read a source; ValueError when it is not in the markup."""
    meta: dict[str, str] = {}
    groups: list[list[str]] = [[]]
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("% "):
            key, _, value = line[2:].partition(": ")
            meta[key] = value
        elif not line.strip():
            groups.append([])
        else:
            groups[-1].append(line)
    return Paper(
        title=meta["title"],
        subtitle=meta.get("subtitle", ""),
        author=meta.get("author", ""),
        date=datetime.fromisoformat(meta["date"]),
        blocks=tuple(_block(group) for group in groups if group),
    )
