"""Messages between a process and its worker: length-prefixed JSON, bounded before memory is given to it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

PREFIX = 4
_PART = 1 << 20


class BrokenWorker(Exception):
    """The worker ended, or said something that is not in the protocol."""


def frame(message: dict[str, Any]) -> bytes:
    """A message with its length before it."""
    body = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")
    return len(body).to_bytes(PREFIX, "big") + body


def read_message(read: Callable[[int], bytes], limit: int) -> dict[str, Any]:
    """The next message. Raises EOFError at the end, BrokenWorker when it is none."""
    size = int.from_bytes(read(PREFIX), "big")
    if size > limit:
        raise BrokenWorker(f"a message of {size} bytes")
    try:
        message = json.loads(read(size).decode("utf-8"))
    except (ValueError, RecursionError):
        raise BrokenWorker("a message that is not JSON") from None
    if not isinstance(message, dict):
        raise BrokenWorker("a message that is not an object")
    return message


def exactly(read: Callable[[int], bytes], size: int) -> bytes:
    """``size`` bytes from a stream that may give fewer at a time. Raises EOFError when it ends before."""
    parts = []
    while size > 0:
        part = read(min(size, _PART))
        if not part:
            raise EOFError
        parts.append(part)
        size -= len(part)
    return b"".join(parts)
