"""Writing for people (stdout: results; stderr: notes) and for programs (one JSON document)."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Sequence
from typing import Any

from ownlm.errors import OwnLMError

_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def visible(text: str) -> str:
    r"""Control characters written out: the name of a file must not drive the terminal.

    >>> visible("a\x1b[31mb")
    'a\\x1b[31mb'
    """
    return _CONTROL.sub(lambda found: f"\\x{ord(found.group()):02x}", text)


def say(text: str = "") -> None:
    """A line of the result."""
    write(visible(text) + "\n")


def write(text: str) -> None:
    """Text of the result, exactly as it is: UTF-8, and no newline translated, so that offsets hold."""
    if sys.stdout is None:  # closed by whoever started us
        return
    try:
        sys.stdout.flush()
        sys.stdout.buffer.write(text.encode("utf-8"))
        sys.stdout.buffer.flush()
    except BrokenPipeError:
        # The reader has what it wanted (``ownlm index list | head``). What follows, and what Python flushes at
        # exit, goes nowhere.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    except OSError as error:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        raise OwnLMError(f"the output cannot be written: {(error.strerror or str(error)).lower()}") from error


def note(text: str) -> None:
    """A remark beside the result."""
    print(visible(text), file=sys.stderr)  # noqa: T201


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
    lines = [header, *(tuple(" ".join(visible(cell).split("\n")) for cell in row) for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        say("  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip())
