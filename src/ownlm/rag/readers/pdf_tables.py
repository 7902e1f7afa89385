"""Tables on a PDF page: lines whose segments stand in columns.

A table is a run of lines of which two or more have several segments that agree in their columns. A line with one
segment inside goes on with a cell that wraps, when it stands in a column.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from itertools import pairwise

from ownlm.rag.readers.pdf_lines import Line, Segment
from ownlm.rag.readers.tables import capitalised, looks_like_header, over_numbers

MARKER = re.compile(r"[•◦▪▫■□●○‣⁃∗*–—-]|\(?(?:\d{1,3}|[a-zA-Z]|[ivx]{1,5})[.)]|\d{1,2}(?:\.\d{1,2}){1,3}\.?")
LEADERS = re.compile(r"\s*(?:\. ?){4,}\s*|\s*…{2,}\s*")


@dataclass(slots=True)
class Column:
    left: float
    right: float

    def overlap(self, segment: Segment) -> float:
        return min(self.right, segment.right) - max(self.left, segment.left)


def is_row(line: Line) -> bool:
    """Whether a line has cells: several segments, and not just a bullet, a number or leaders of dots."""
    if len(line.segments) < 2 or LEADERS.search(line.text):
        return False
    return not (len(line.segments) == 2 and MARKER.fullmatch(line.segments[0].text))


def find_table(lines: list[Line], start: int) -> tuple[int, list[list[str]], int] | None:
    """The table that begins at ``lines[start]``: the line after it, its rows, and how many of them are a header.

    None when there is no table. The first row is a header when it alone is bold, or words over numbers.
    """
    if not is_row(lines[start]):
        return None
    columns = [Column(segment.left, segment.right) for segment in lines[start].segments]
    end, last_row, rows = start, start, 1
    for position in range(start + 1, len(lines)):
        line, above = lines[position], lines[position - 1]
        if abs(above.baseline - line.baseline) > 4 * line.height or line.height > 1.5 * lines[start].height:
            break
        if rows == 1 and is_row(line):
            _widen(line, columns)  # the first row, a header, may lack the first or last column
        if not _fits(line, columns):
            break
        if is_row(line):
            rows += 1
            last_row = position
        elif _place(line.segments[0], columns) == 0 and line.segments[0].right > _second(columns):
            break
        end = position
    while end > last_row and _place(lines[end].segments[0], columns) == 0:
        end -= 1  # what stands below the first column alone is the text after the table
    if rows < 2:
        return None
    cells = _rows(lines[start : end + 1], columns)
    if _is_numbered_list(cells):
        return None
    bold = lines[start].bold and not any(line.bold for line in lines[start + 1 : end + 1])
    named = looks_like_header(cells[0], cells[1] if len(cells) > 1 else None)
    return end + 1, cells, int(bold or (named and (over_numbers(cells) or capitalised(cells))))


def _widen(line: Line, columns: list[Column]) -> None:
    first, last = line.segments[0], line.segments[-1]
    if first.right < columns[0].left and columns[0].overlap(line.segments[1]) > 0:
        columns.insert(0, Column(first.left, first.right))
    if last.left > columns[-1].right and columns[-1].overlap(line.segments[-2]) > 0:
        columns.append(Column(last.left, last.right))


def _is_numbered_list(rows: list[list[str]]) -> bool:
    """Two columns of which the first counts 1, 2, 3: the items of a list."""
    numbers = [row[0] for row in rows]
    if len(rows[0]) != 2 or not all(number.isdecimal() and len(number) < 4 for number in numbers):
        return False
    return all(int(below) == int(above) + 1 for above, below in pairwise(numbers))


def _second(columns: list[Column]) -> float:
    return columns[1].left if len(columns) > 1 else float("inf")


def _fits(line: Line, columns: list[Column]) -> bool:
    """Whether every segment stands in one column of its own; columns grow as segments are seen."""
    places = [_place(segment, columns) for segment in line.segments]
    if None in places or len(set(places)) < len(places):
        return False
    for place, segment in zip(places, line.segments, strict=True):
        column = columns[place]  # type: ignore[index]
        column.left, column.right = min(column.left, segment.left), max(column.right, segment.right)
    return True


def _place(segment: Segment, columns: list[Column]) -> int | None:
    """The column a segment stands in: the only one it overlaps, or the one it follows closely."""
    hits = [position for position, column in enumerate(columns) if column.overlap(segment) > 0]
    if len(hits) == 1:
        return hits[0]
    if hits:
        return None
    before = [position for position, column in enumerate(columns) if column.right <= segment.left]
    after = [position for position, column in enumerate(columns) if column.left >= segment.right]
    near = [(columns[after[0]].left - segment.right, after[0])] if after else []
    near += [(segment.left - columns[before[-1]].right, before[-1])] if before else []
    return min(near)[1] if near else None


def _rows(lines: list[Line], columns: list[Column]) -> list[list[str]]:
    """Cells by row: lines at one height are one row, and lines that follow closely where others do not."""
    heights: list[float] = []
    for line in sorted(lines, key=lambda line: -line.baseline):
        if not heights or heights[-1] - line.baseline > 0.4 * line.height:
            heights.append(line.baseline)
    single = len(heights) > sum(1 for line in lines if is_row(line))
    steps = sorted(above - below for above, below in pairwise(heights))
    limit = 0.8 * steps[-1] if single and steps else 0.0
    starts = [heights[0]]
    for above, below in pairwise(heights):
        if above - below > limit:
            starts.append(below)
    rows = [[""] * len(columns) for _ in starts]
    for line in sorted(lines, key=lambda line: -line.baseline):
        row = rows[_row_of(line, starts)]
        for segment in line.segments:
            place = _place(segment, columns) or 0
            row[place] = f"{row[place]} {segment.text}".strip()
    return rows


def _row_of(line: Line, starts: list[float]) -> int:
    """The last row that begins at or above the line."""
    return max(position for position, start in enumerate(starts) if start >= line.baseline - 0.4 * line.height)
