"""Tables as lines that stand on their own: ``Header: value | Header: value``.

A line is what is found, embedded and quoted, so each must say what its values are. The first row is taken for
the header when the document marks it so, or when it looks like one: words (or years over amounts), all different, and
more than one column.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence

from ownlm.rag.readers.builder import TextBuilder
from ownlm.rag.readers.clean import one_line

Row = Sequence[str]
_NUMBER = re.compile(r"[\s$€£¥%()+\-−–.,:/'0-9]*[0-9][\s$€£¥%()+\-−–.,:/'0-9]*[a-zA-Z%°²³]{0,3}")
_YEAR = re.compile(r"(?:19|20)\d\d(?:[/–-]\d{2,4})?(?:\s*[^\d\s]{1,4})?")  # "2024", "2024/25", "2024 £"
_NOTES_ABOVE = 8  # rows of notes above a table, at most
_HEADER_LENGTH = 80  # characters; a longer cell is a sentence, not the name of a column


def looks_like_header(row: Row, below: Row | None) -> bool:
    """Whether ``row`` names columns: two or more, all filled as far as the row below is, words, distinct."""
    names = [cell for cell in row if cell]
    if len(names) < 2 or len(set(names)) < len(names) or below is None:
        return False
    if any(len(name) > _HEADER_LENGTH for name in names):
        return False
    for column, name in enumerate(row):
        under = below[column] if column < len(below) else ""
        if _NUMBER.fullmatch(name) and not (_YEAR.fullmatch(name) and _is_amount(under)):
            return False
    return all(name or not value for name, value in zip(row[1:], below[1:], strict=False))


def _is_amount(cell: str) -> bool:
    """Whether a cell may stand below a year: a number that is no year, or nothing."""
    return not cell or bool(_NUMBER.fullmatch(cell) and not _YEAR.fullmatch(cell))


def over_numbers(rows: Sequence[Row]) -> bool:
    """Whether a column of the first row is a word and most of the column below is numbers."""
    for column, name in enumerate(rows[0]):
        below = [row[column] for row in rows[1:] if column < len(row) and row[column]]
        numbers = sum(1 for cell in below if _NUMBER.fullmatch(cell))
        word = not _NUMBER.fullmatch(name) or _YEAR.fullmatch(name)
        if name and word and 2 * numbers > len(below):
            return True
    return False


def capitalised(rows: Sequence[Row]) -> bool:
    """Whether the first row alone begins every cell with a capital, over three or more full rows that do not."""
    full = [row for row in rows[1:] if all(row)]
    if len(full) < 3 or 2 * len(full) < len(rows) or not all(cell[:1].isupper() for cell in rows[0]):
        return False
    return any(2 * sum(cell[:1].isupper() for cell in column) < len(column) for column in zip(*full, strict=True))


def find_header(rows: Sequence[Row], start: int) -> int | None:
    """Which of the first rows from ``start`` names the columns.

    The first of them, when it looks so; or one further down (people write notes above a table) that looks so and
    has a column of words over numbers.
    """
    for position in range(start, min(start + _NOTES_ABOVE, len(rows) - 1)):
        if looks_like_header(rows[position], rows[position + 1]) and over_numbers(rows[position : position + 4]):
            return position
    return start if start < len(rows) - 1 and looks_like_header(rows[start], rows[start + 1]) else None


def lines(rows: Iterable[Iterable[str]], header: Row | None) -> Iterator[str]:
    """One line a row; empty cells are left out, a cell without a column name stands alone."""
    for row in rows:
        parts = []
        for column, value in enumerate(row):
            if not value:
                continue
            name = header[column].rstrip(":") if header and column < len(header) else ""
            parts.append(f"{name}: {value}" if name and name != value else value)
        if parts:
            yield " | ".join(parts)


def add_table(builder: TextBuilder, rows: Sequence[Row], *, header_rows: int | None = None, label: str = "") -> None:
    """Append a table, marked. ``header_rows``: how many the document says there are; None: look."""
    rows = [[one_line(cell) for cell in row] for row in rows]
    rows = [row for row in rows if any(row)]
    if not rows:
        return
    captions = _captions(rows) if header_rows is None else 0
    for row in rows[:captions]:
        builder.block(next(cell for cell in row if cell))
    rows = rows[captions:]
    builder.open("table", label)
    if header_rows is None:
        header_rows = int(bool(rows) and looks_like_header(rows[0], rows[1] if len(rows) > 1 else None))
    header = _joined(rows[:header_rows]) if 0 < header_rows < len(rows) else None
    body = rows[header_rows:] if header else rows
    for number, line in enumerate(lines(body, header)):
        builder.block(line, tight=number > 0)
    builder.close()


def _captions(rows: Sequence[Row]) -> int:
    """How many rows above a table say one thing only (a title over it)."""
    count = 0
    for row in rows[:-1]:
        if len({cell for cell in row if cell}) != 1 or len(row) < 2:
            break
        count += 1
    return count if count < len(rows) - 1 else 0


def _joined(rows: Sequence[Row]) -> list[str]:
    """Header rows over each other as one: "2024 Q1"."""
    width = max(map(len, rows))
    names: list[str] = []
    for column in range(width):
        parts = [row[column] for row in rows if column < len(row) and row[column]]
        names.append(" ".join(dict.fromkeys(parts)))
    return names
