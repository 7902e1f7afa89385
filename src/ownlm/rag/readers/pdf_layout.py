"""From lines on pages to paragraphs, headings, lists and tables.

A line goes on with the paragraph above it when it follows at the usual distance in the same type, and when its
first word would not have fitted at the end of the line above: that is why the line was broken there.
"""

from __future__ import annotations

import re
import statistics
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from ownlm.rag.readers.pdf_lines import Line
from ownlm.rag.readers.pdf_tables import LEADERS, MARKER, find_table

_SENTENCE_END = re.compile(r"[.!?:;][\"'”’)\]]*$")
_HYPHENS = ("-", "\x02", "\u2010")
_WORD = re.compile(r"[\w'’]+(?:[-\u2010][\w'’]+)*")
_BULLET = re.compile(r"(?:[•◦▪▫■□●○‣⁃∗]|[-–*](?=\s))\s*")


@dataclass(slots=True)
class Block:
    """``level`` above 0: a heading. ``rows``: a table. ``tight``: follows the block before without a blank line."""

    text: str = ""
    level: int = 0
    rows: list[list[str]] = field(default_factory=list)
    header_rows: int = 0
    tight: bool = False


@dataclass(frozen=True, slots=True)
class Type:
    """The document's type: the height of body text, of each level of heading, and the usual line distance."""

    body: float
    headings: tuple[float, ...]
    leading: float
    bold_headings: bool
    words: frozenset[str]

    @classmethod
    def of(cls, pages: Iterable[Sequence[Line]]) -> Type:
        """Measure the pages: the body's height is that of most characters, headings are higher."""
        pages = list(pages)
        heights: Counter[float] = Counter()
        bold = total = 0
        steps: list[float] = []
        words: set[str] = set()
        for lines in pages:
            for position, line in enumerate(lines):
                heights[_rounded(line.height)] += len(line.text)
                total += len(line.text)
                bold += len(line.text) * line.bold
                words.update(word.lower() for word in _WORD.findall(line.text))
                if position and 0 < (step := lines[position - 1].baseline - line.baseline) < 2.5 * line.height:
                    steps.append(step / line.height)
        body = heights.most_common(1)[0][0] if heights else 10.0
        higher = {height: count for height, count in heights.items() if height >= 1.12 * body}
        if sum(higher.values()) > 0.3 * total:
            higher = {}
        leading = statistics.median(steps) if steps else 1.2
        return cls(body, tuple(sorted(higher, reverse=True))[:6], leading, bold < 0.3 * total, frozenset(words))


def _rounded(height: float) -> float:
    return round(height * 2) / 2


def blocks(lines: list[Line], form: Type) -> list[Block]:
    """The blocks of one page, in order."""
    result: list[Block] = []
    position = 0
    in_list = in_code = False
    while position < len(lines):
        table = find_table(lines, position)
        if table is not None:
            position, rows, header_rows = table
            result.append(Block(rows=rows, header_rows=header_rows))
            in_list = in_code = False
            continue
        if lines[position].fixed:
            result.append(Block(lines[position].text, tight=in_code))
            in_list, in_code, position = False, True, position + 1
            continue
        in_code = False
        end = position + 1
        level = _level(lines, position, form)
        while end < len(lines) and find_table(lines, end) is None and _goes_on(lines, position, end, level, form):
            end += 1
        text = join([line.text for line in lines[position:end]], form.words)
        item = bool(_BULLET.match(text)) or _is_item(lines[position])
        if LEADERS.search(text):  # a line of a table of contents
            text, item, level = LEADERS.sub(" … ", text), True, 0
        if level:
            result.append(Block(text, level))
        else:
            bulleted = _BULLET.sub("- ", text, count=1) if _BULLET.match(text) else text
            result.append(Block(bulleted, tight=item and in_list))
        in_list = item and not level
        position = end
    return result


def _level(lines: list[Line], position: int, form: Type) -> int:
    """The level of the heading that a line is or begins; 0 when it is none."""
    line = lines[position]
    if len(line.text) > 200 or not any(sign.isalpha() for sign in line.text):
        return 0
    if len(line.segments) > 1 and line.segments[-1].text.isdecimal():
        return 0  # a line of a table of contents
    height = _rounded(line.height)
    if height in form.headings:
        return form.headings.index(height) + 1
    if not (form.bold_headings and line.bold and height >= form.body and len(line.text) <= 100):
        return 0
    if line.text.endswith((".", ",", ";")) or (position + 1 < len(lines) and _follows(line, lines[position + 1], form)):
        return 0
    return len(form.headings) + 1


def _follows(line: Line, below: Line, form: Type) -> bool:
    """Whether the line below is of the same paragraph as far as a bold line can tell: bold too, at line distance."""
    step = line.baseline - below.baseline
    return below.bold == line.bold and 0 < step <= 1.2 * form.leading * line.height and len(line.text) > 60


def _is_item(line: Line) -> bool:
    marker = line.segments[0].text
    return len(line.segments) > 1 and (bool(MARKER.fullmatch(marker)) or (marker.isdecimal() and len(marker) < 4))


def _goes_on(lines: list[Line], start: int, position: int, level: int, form: Type) -> bool:
    """Whether ``lines[position]`` belongs to the block that ``lines[start]`` began."""
    first, above, line = lines[start], lines[position - 1], lines[position]
    step = above.baseline - line.baseline
    if step < -2 * line.height and not level and not line.fixed:  # the next column
        same = abs(above.height - line.height) <= 0.12 * above.height
        return same and ends_open(above.text) and line.text[0].islower()
    if line.fixed or not 0 < step <= 1.35 * max(form.leading, 1.0) * line.height:
        return False
    if abs(above.height - line.height) > 0.12 * above.height or _level(lines, position, form) != level:
        return False
    word = line.text.split(" ", 1)[0]
    width = (line.right - line.left) * len(word) / max(len(line.text), 1) + 0.25 * line.height
    if level:
        measure = max(other.right for other in lines) - min(other.left for other in lines)
        return above.bold == line.bold and above.right - above.left + width > 0.95 * measure
    if _BULLET.match(line.text) or _is_item(line) or LEADERS.search(above.text) or LEADERS.search(line.text):
        return False
    if above.text.endswith(_HYPHENS):
        return True
    margin = max(other.right for other in lines if _same_column(other, line))
    fits = above.right + width <= margin - 0.01 * (margin - line.left)
    if fits and not _mid_sentence(above, line, margin):
        return False
    if line.left <= above.left + 0.8 * line.height:
        return True
    # An indented line begins a paragraph; below the first line of an item it hangs.
    return position - start == 1 and _marked(first)


def _mid_sentence(above: Line, line: Line, margin: float) -> bool:
    """Whether a line that had room left is part of a sentence all the same, as in ragged setting."""
    long = above.right - above.left > 0.6 * (margin - above.left)
    return long and line.text[0].islower() and ends_open(above.text)


def _marked(line: Line) -> bool:
    return bool(_BULLET.match(line.text)) or _is_item(line) or bool(MARKER.fullmatch(line.text.split(" ", 1)[0]))


def _same_column(other: Line, line: Line) -> bool:
    """Whether two lines belong to one column of text, by where they begin and what they cover."""
    return abs(other.left - line.left) < 4 * line.height and other.right > line.left


def join(parts: Sequence[str], words: frozenset[str]) -> str:
    """Lines to running text; a word divided at a line's end is made whole.

    The hyphen stays where the document writes the word with one elsewhere, or where what follows does not
    begin with a small letter.

    >>> join(["a long-", "lived assur-", "ance in 2019-", "2020"], frozenset({"long-lived"}))
    'a long-lived assurance in 2019-2020'
    """
    text = parts[0]
    for part in parts[1:]:
        if not text.endswith(_HYPHENS) or text.endswith((" -", "--")):
            text += part if _address_goes_on(text, part) else f" {part}"
            continue
        head, tail = _HEAD.search(text), _TAIL.match(part)
        if head is None or tail is None or not tail[0][0].islower():
            text = f"{text[:-1]}-{part}"
        else:
            text = text[:-1] + _hyphen(head[1], tail[0], words) + part
    return _SEEN_THROUGH.sub(lambda match: match[1] + _hyphen(match[1], match[2], words) + match[2], text)


_HEAD = re.compile(r"([\w'’]+)[-\x02\u2010]$")
_TAIL = re.compile(r"[\w'’]+")
_SEEN_THROUGH = re.compile(r"(\w+)\x02(\w+)")  # pdfium's sign for a hyphen at a line's end
_ADDRESS = re.compile(r"(?:https?:|(?:://|@|\w\.\w)\S*[./_=&?])$")


def _hyphen(head: str, tail: str, words: frozenset[str]) -> str:
    """What stands between the halves of a divided word: a hyphen if the document writes it so elsewhere."""
    hyphenated = f"{head}-{tail}".lower() in words and f"{head}{tail}".lower() not in words
    return "-" if hyphenated else ""


def _address_goes_on(text: str, part: str) -> bool:
    """Whether a line ends within an address of the web or of mail."""
    return bool(_ADDRESS.search(text.rsplit(" ", 1)[-1])) and (part[0].islower() or part[0] in "/_?&=")


def ends_open(text: str) -> bool:
    """Whether a paragraph stops in the middle of a sentence, so that the next page may go on with it."""
    return bool(text) and not _SENTENCE_END.search(text)
