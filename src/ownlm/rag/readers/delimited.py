"""CSV and TSV: each row one line that names its columns."""

from __future__ import annotations

import csv
import io
from collections import Counter
from pathlib import PurePath

from ownlm.errors import UnreadableDocument
from ownlm.rag.readers.builder import TextBuilder
from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.tables import add_table
from ownlm.rag.readers.text import own_text
from ownlm.rag.types import Extracted

_DELIMITERS = ",;\t|"
_SAMPLE_LINES = 50


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    text, notes = own_text(data, limits)
    builder = TextBuilder(limits.characters)
    builder.notes = notes
    delimiter = "\t" if PurePath(name).suffix.lower() in (".tsv", ".tab") else find_delimiter(text)
    csv.field_size_limit(limits.characters)
    try:
        rows = list(csv.reader(io.StringIO(text, newline=""), delimiter=delimiter))
    except csv.Error as error:
        raise UnreadableDocument(f"is not a table of comma-separated values: {error}") from None
    widths = Counter(len(row) for row in rows if any(cell.strip() for cell in row))
    if len(widths) > 1:
        usual = widths.most_common(1)[0][0]
        builder.note(f"{widths.total() - widths[usual]} rows do not have {usual} columns, as most have")
    add_table(builder, rows)
    return builder.extracted("", "text/csv" if delimiter != "\t" else "text/tab-separated-values")


def find_delimiter(text: str) -> str:
    """The delimiter that splits the first lines into the same number of columns, the more the better.

    >>> find_delimiter("name;price\\nchair;12,50\\ntable;80,00")
    ';'
    """
    sample = [line for line in text[: 1 << 16].split("\n")[:_SAMPLE_LINES] if line.strip()]
    best, best_score = ",", (0.0, 0)
    for delimiter in _DELIMITERS:
        try:
            widths = Counter(len(row) for row in csv.reader(sample, delimiter=delimiter) if row)
        except csv.Error:
            continue
        if not widths:
            continue
        width, count = max(widths.items(), key=lambda item: (item[1], item[0]))
        score = (count / widths.total(), width)
        if width > 1 and score > best_score:
            best, best_score = delimiter, score
    return best
