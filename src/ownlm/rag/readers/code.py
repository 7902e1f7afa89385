"""Source code: its own text; Python's definitions serve as headings."""

from __future__ import annotations

import ast
import warnings
from pathlib import PurePath

from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.text import own_text
from ownlm.rag.types import Extracted, Mark

_PYTHON = (".py", ".pyi", ".pyw")


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    text, notes = own_text(data, limits)
    marks = [Mark("code", 0, len(text))]
    suffix = PurePath(name).suffix.lower()
    if suffix in _PYTHON:
        marks += _definitions(text)
    language = "x-python" if suffix in _PYTHON else "x-source"
    return Extracted(text, PurePath(name).name, f"text/{language}", tuple(marks), tuple(notes))


def _definitions(text: str) -> list[Mark]:
    """Headings over the first lines of functions and classes (level 1) and of methods (level 2)."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return []  # another Python, or a fragment: it is text all the same
    starts = [0]
    for line in text.split("\n"):
        starts.append(starts[-1] + len(line) + 1)
    marks = []

    def add(body: list[ast.stmt], level: int) -> None:
        for node in body:
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                continue
            word = "class" if isinstance(node, ast.ClassDef) else "def"
            start, end = starts[node.lineno - 1] + node.col_offset, starts[node.lineno] - 1
            if 0 <= start < end <= len(text):
                marks.append(Mark("heading", start, end, level, f"{word} {node.name}"))
            if word == "class" and level == 1:
                add(node.body, 2)

    add(tree.body, 1)
    return marks
