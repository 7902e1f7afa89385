"""The numbers and bullets that Word shows before list items and headings (ECMA-376 part 1, section 17.9)."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from docx.oxml.ns import qn


@dataclass(slots=True)
class _Level:
    format: str = "decimal"
    text: str = ""
    start: int = 1


def letters(number: int) -> str:
    """a, b, ... z, aa, bb: Word repeats the letter.

    >>> letters(2), letters(28)
    ('b', 'bb')
    """
    return chr(ord("a") + (number - 1) % 26) * min((number - 1) // 26 + 1, 20)


def roman(number: int) -> str:
    """
    >>> roman(14)
    'xiv'
    """
    signs = [(1000, "m"), (900, "cm"), (500, "d"), (400, "cd"), (100, "c"), (90, "xc"), (50, "l"), (40, "xl")]
    result = ""
    for value, sign in [*signs, (10, "x"), (9, "ix"), (5, "v"), (4, "iv"), (1, "i")]:
        count, number = divmod(number, value)
        result += sign * min(count, 20)
    return result


_FORMATS: dict[str, Callable[[int], str]] = {
    "decimal": str,
    "decimalZero": lambda number: f"{number:02d}",
    "lowerLetter": letters,
    "upperLetter": lambda number: letters(number).upper(),
    "lowerRoman": roman,
    "upperRoman": lambda number: roman(number).upper(),
}


class Numbering:
    """Counts the paragraphs of every list as they come."""

    def __init__(self, root: Any | None) -> None:
        self._levels: dict[str, dict[int, _Level]] = {}  # by abstract list
        self._abstract: dict[str, str] = {}  # list -> abstract list
        self._counts: dict[str, dict[int, int]] = {}
        if root is None:
            return
        for item in root.iter(qn("w:abstractNum")):
            levels = {_integer(level.get(qn("w:ilvl"))): _level(level) for level in item.iter(qn("w:lvl"))}
            self._levels[item.get(qn("w:abstractNumId"))] = levels
        for item in root.iter(qn("w:num")):
            reference = item.find(qn("w:abstractNumId"))
            if reference is not None:
                self._abstract[item.get(qn("w:numId"))] = reference.get(qn("w:val"))

    def label(self, number_id: str, depth: int) -> str:
        """What stands before the next paragraph at this depth of a list: "3.2 ", "b) ", "- " or nothing."""
        abstract = self._abstract.get(number_id, "")
        levels = self._levels.get(abstract)
        if number_id == "0" or not levels or depth not in levels:
            return ""
        counts = self._counts.setdefault(abstract, {})
        counts[depth] = counts.get(depth, levels[depth].start - 1) + 1
        for deeper in [other for other in counts if other > depth]:
            del counts[deeper]
        level = levels[depth]
        if level.format == "none":
            return ""
        if level.format not in _FORMATS:
            return "- "

        def shown(match: re.Match[str]) -> str:
            other = int(match[1]) - 1
            form = levels.get(other, level)
            return _FORMATS.get(form.format, str)(counts.get(other, form.start))

        text = re.sub(r"%([1-9])", shown, level.text).strip()
        return f"{text} " if text else ""


def _level(item: Any) -> _Level:
    values = {child.tag: child.get(qn("w:val")) or "" for child in item}
    return _Level(
        values.get(qn("w:numFmt"), "decimal"), values.get(qn("w:lvlText"), ""), _integer(values.get(qn("w:start")), 1)
    )


def _integer(value: str | None, default: int = 0) -> int:
    return int(value) if value and re.fullmatch(r"\d{1,6}", value) else default
