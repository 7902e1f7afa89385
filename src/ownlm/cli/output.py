"""Writing for people (stdout: results; stderr: notes) and for programs (one JSON document)."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Sequence
from typing import Any


def say(text: str = "") -> None:
    """A line of the result."""
    write(text + "\n")


def write(text: str) -> None:
    """Text of the result, exactly as it is: UTF-8, and no newline translated, so that offsets hold."""
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has what it wanted (``ownlm index list | head``). What follows, and what Python flushes at
        # exit, goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def note(text: str) -> None:
    """A remark beside the result."""
    print(text, file=sys.stderr)  # noqa: T201


def write_json(value: Any) -> None:
    """One JSON document."""
    say(json.dumps(value, ensure_ascii=False, indent=2))


def counted(number: int, noun: str) -> str:
    """
    >>> counted(1, "document"), counted(1200, "chunk")
    ('1 document', '1,200 chunks')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def table(rows: Sequence[tuple[str, ...]], header: tuple[str, ...]) -> None:
    """Columns padded to their widest cell; the last one runs free."""
    lines = [header, *rows]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
