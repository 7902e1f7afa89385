"""XLSX: each sheet a heading, each row a line that names its columns, values as they are shown."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from io import BytesIO
from pathlib import PurePath
from typing import Any

import openpyxl  # type: ignore[import-untyped]
from openpyxl.utils.cell import range_boundaries  # type: ignore[import-untyped]

from ownlm.errors import DocumentTooLarge
from ownlm.rag.readers.builder import TextBuilder
from ownlm.rag.readers.cells import shown
from ownlm.rag.readers.clean import one_line
from ownlm.rag.readers.container import Container
from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.tables import add_table, find_header, lines
from ownlm.rag.types import Extracted

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
_MERGED = re.compile(rb"<(?:\w+:)?mergeCell [^>]*?ref=\"([A-Z]{1,3}[0-9]{1,7}:[A-Z]{1,3}[0-9]{1,7})\"")
_FORMULA_WITHOUT_RESULT = re.compile(
    rb"</(?:\w+:)?f>\s*(?:<(?:\w+:)?v\s*/>|<(?:\w+:)?v>\s*</(?:\w+:)?v>)?\s*</(?:\w+:)?c>"
)
MAX_MERGED = 100_000  # cells that merged ranges may cover


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    container = Container(data, limits)
    container.refuse_entities()
    book = openpyxl.load_workbook(BytesIO(data), read_only=True, data_only=True, keep_links=False)
    builder = TextBuilder(limits.characters)
    try:
        for sheet in book.worksheets:
            if sheet.sheet_state != "visible":
                builder.note(f"the sheet {sheet.title!r} is hidden and was left out")
                continue
            before = len(builder)
            raw = container.read(sheet._worksheet_path.lstrip("/"))
            _sheet(builder, sheet, raw)
            if len(builder) == before:
                builder.note(f"the sheet {sheet.title!r} is empty")
        title = book.properties.title or PurePath(name).stem  # a sheet's name titles no document
    finally:
        book.close()
    return builder.extracted(title, MEDIA_TYPE)


def _sheet(builder: TextBuilder, sheet: Any, raw: bytes) -> None:
    missing = len(_FORMULA_WITHOUT_RESULT.findall(raw))
    if missing:
        builder.note(
            f"{missing} formulas in the sheet {sheet.title!r} have no stored result: open and save the file in a "
            "spreadsheet program"
        )
    header: Sequence[str] | None = None
    named = False
    for rows in _tables(_rows(sheet, _merged(raw))):
        if not named:
            builder.heading(sheet.title, 1)
            named = True
        header = _add(builder, rows, header, sheet.title)


def _add(builder: TextBuilder, rows: list[list[str]], above: Sequence[str] | None, label: str) -> Sequence[str] | None:
    """Append a table; one without a header of its own goes on under the header above it."""
    top = next((position for position, row in enumerate(rows) if len({cell for cell in row if cell}) > 1), len(rows))
    named = find_header(rows, top)
    top = top if named is None else named
    for position, line in enumerate(lines((dict.fromkeys(row) for row in rows[:top]), None)):
        builder.block(line, tight=position > 0)
    rows = rows[top:]
    if not rows:
        return above
    if named is not None:
        add_table(builder, rows, header_rows=1, label=label)
        return rows[0]
    filled = {column for row in rows for column, cell in enumerate(row) if cell}
    if above is not None and all(column < len(above) and above[column] for column in filled):
        add_table(builder, [above, *rows], header_rows=1, label=label)
        return above
    add_table(builder, rows, header_rows=0, label=label)
    return None


def _rows(sheet: Any, merged: dict[tuple[int, int], tuple[int, int]]) -> Iterator[list[str]]:
    """Texts of all rows, empty ones too; a merged range says the same in each of its cells."""
    sheet.reset_dimensions()
    kept: dict[tuple[int, int], str] = {}
    origins = set(merged.values())
    expected = 1
    for row in sheet.iter_rows():
        cells: list[str] = []
        number = next((cell.row for cell in row if hasattr(cell, "row") and cell.row), expected)
        for column, cell in enumerate(row, 1):
            text = "" if cell.value is None else one_line(shown(cell.value, getattr(cell, "number_format", None)))
            if merged:
                place = number, column
                if place in origins:
                    kept[place] = text
                elif place in merged and not text:
                    text = kept.get(merged[place], "")
            cells.append(text)
        while cells and not cells[-1]:
            cells.pop()
        expected = number + 1
        yield cells


def _tables(rows: Iterator[list[str]]) -> Iterator[list[list[str]]]:
    """Runs of rows that are not empty."""
    table: list[list[str]] = []
    for row in rows:
        if row:
            table.append(row)
        elif table:
            yield table
            table = []
    if table:
        yield table


def _merged(raw: bytes) -> dict[tuple[int, int], tuple[int, int]]:
    """Each cell in a merged range, and the range's first cell, which holds the value."""
    result: dict[tuple[int, int], tuple[int, int]] = {}
    for match in _MERGED.finditer(raw):
        left, top, right, bottom = (number or 0 for number in range_boundaries(match[1].decode()))
        if (right - left + 1) * (bottom - top + 1) > MAX_MERGED - len(result):
            raise DocumentTooLarge("merges more cells than can be read")
        for row in range(top, bottom + 1):
            for column in range(left, right + 1):
                result[row, column] = (top, left)
    return result
