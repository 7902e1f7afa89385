"""Readers: bytes of a file in, text and structure out, in a worker process with limits.

    with ReaderPool(workers=1, limits=Limits()) as pool:
        read = pool.extract(path)              # Read(extracted, sha256, size, mtime_ns, settled)

or in two steps, so that a file whose bytes are the indexed ones is not parsed again:

        shot = snapshot(path, pool.limits)     # Snapshot(name, data, sha256, size, mtime_ns, settled)
        if shot.sha256 != known:
            extracted = pool.parse(shot)       # Extracted

The parent reads a file once and hashes exactly the bytes that are parsed; a file that changes meanwhile is
read again, then reported. ``settled`` is False when the file was modified so recently that a further change
might leave size and time as they are (clock ticks are coarse): compare its digest the next time, whatever
the file's times say.

``snapshot``, ``parse`` and ``extract`` raise ``UnreadableDocument`` or ``DocumentTooLarge`` and nothing
else for a bad file. ``str(error)`` is the reason alone, to be shown after the document's name. A crash or
hang of the worker is that one file's error; the pool goes on with a new worker. The pool may be used from
several threads: at most ``workers`` files are parsed at a time.

The worker gets bytes over a pipe and answers in JSON: it opens no document, has an empty environment, and
what it says is validated, because a parser of untrusted input may be taken over.

The text: Unicode NFC, line ends ``\\n``, no control characters but ``\\n`` and ``\\t``, no lone
surrogates; blocks separated by a blank line; a table row is one line ``Header: value | Header: value``.
The marks: sorted by start, headings cover their line, pages cover their text.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ownlm.rag.readers.file import Snapshot, snapshot
    from ownlm.rag.readers.limits import Limits
    from ownlm.rag.readers.pool import Read, ReaderPool

__all__ = ["Limits", "Read", "ReaderPool", "Snapshot", "snapshot"]

_HOME = {"Limits": "limits", "Read": "pool", "ReaderPool": "pool", "Snapshot": "file", "snapshot": "file"}


def __getattr__(name: str) -> Any:
    """Import lazily: the worker starts by importing this package, and needs none of these."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
