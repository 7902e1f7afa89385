r"""A document's name: how people and JSON refer to a file, for any path the system admits.

On POSIX a path is bytes. Bytes that are not UTF-8 are written ``\xNN``; a backslash that would read as
such an escape is itself written ``\x5c``. So two files never share a name, and a name leads back to its
file. On Windows names are UTF-16 and a backslash separates folders, so nothing is escaped there except
lone surrogates.
"""

from __future__ import annotations

import os
import re
import sys
from pathlib import Path

_LOOKS_ESCAPED = re.compile(r"\\(?=x[0-9a-f]{2})")
_ESCAPED = re.compile(r"\\x([0-9a-f]{2})")
_UNDECODABLE = re.compile("[\udc80-\udcff]")
_SURROGATE = re.compile("[\ud800-\udfff]")


def document_name(path: str | os.PathLike[str]) -> str:
    r"""The name of the file at ``path``: its absolute path as text that any encoder accepts.

    >>> document_name("/docs/caf\udce9.txt")  # the byte 0xE9 alone, as Python holds it
    '/docs/caf\\xe9.txt'
    """
    return escape(os.path.abspath(path))  # noqa: PTH100 (keeps links, works for names that are not UTF-8)


def escape(text: str) -> str:
    """Write what is not UTF-8 in a file name (as Python holds it) as escapes."""
    if sys.platform == "win32":
        return _SURROGATE.sub(lambda match: f"\\u{ord(match[0]):04x}", text)
    text = _LOOKS_ESCAPED.sub(r"\\x5c", text)
    text = _UNDECODABLE.sub(lambda match: f"\\x{ord(match[0]) - 0xDC00:02x}", text)
    return _SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


def document_path(name: str) -> Path:
    """The path that :func:`document_name` gave this name to."""
    if sys.platform == "win32":
        return Path(name)
    return Path(_ESCAPED.sub(lambda match: _as_held(int(match[1], 16)), name))


def _as_held(byte: int) -> str:
    return chr(byte) if byte < 0x80 else chr(0xDC00 + byte)
