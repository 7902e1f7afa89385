"""XLSX: one sheet for each first-level heading; numbers and dates are real numbers and dates."""

from __future__ import annotations

import io
import re
from datetime import date

from openpyxl import Workbook
from openpyxl.styles import Font
from openpyxl.utils import get_column_letter

from papers.markup import Paper
from papers.zipped import settle


def value(text: str) -> str | int | float | date | None:
    """The cell that a person would have typed.

    >>> value("205.20"), value("2025-11-17"), value("BS-6")
    (205.2, datetime.date(2025, 11, 17), 'BS-6')
    """
    if not text:
        return None
    if re.fullmatch(r"\d+", text):
        return int(text)
    if re.fullmatch(r"\d+\.\d+", text):
        return float(text)
    if re.fullmatch(r"\d{4}-\d{2}-\d{2}", text):
        return date.fromisoformat(text)
    return text


def make_xlsx(paper: Paper) -> bytes:
    book = Workbook()
    book.remove(book.active)
    book.properties.title, book.properties.creator = paper.title, paper.author
    book.properties.created = paper.date
    for name, blocks in paper.sections():
        sheet = book.create_sheet(name)
        sheet.freeze_panes = "A2"
        (table,) = (block for block in blocks if block.kind == "table")
        for number, row in enumerate(table.rows, 1):
            for column, text in enumerate(row, 1):
                cell = sheet.cell(number, column, value(text))
                if number == 1:
                    cell.font = Font(bold=True)
                elif isinstance(cell.value, float):
                    cell.number_format = "0.00"
                elif isinstance(cell.value, date):
                    cell.number_format = "yyyy-mm-dd"
        for column in range(1, len(table.rows[0]) + 1):
            width = max(len(row[column - 1]) for row in table.rows)
            sheet.column_dimensions[get_column_letter(column)].width = min(width + 2, 40)
    buffer = io.BytesIO()
    book.save(buffer)
    return settle(buffer.getvalue(), paper.date)
