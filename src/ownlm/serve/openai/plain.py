"""JSON that is text and of finite depth: what the parser lets through and nothing after it could handle."""

from __future__ import annotations

from typing import Any

MAX_DEPTH = 64  # of a schema inside a tool inside a list: real ones need 20


def plain(value: Any) -> Any:
    """The value as it is. Raises ValueError for half a surrogate pair (JSON can spell one; no text holds it) and for
    values nested more than ``MAX_DEPTH`` deep."""
    level = [value]
    for _ in range(MAX_DEPTH):
        inner: list[Any] = []
        for each in level:
            if isinstance(each, str):
                _text(each)
            elif isinstance(each, dict):
                for key in each:
                    _text(key)
                inner += each.values()
            elif isinstance(each, list):
                inner += each
        if not inner:
            return value
        level = inner
    raise ValueError(f"the body nests values more than {MAX_DEPTH} deep")


def _text(text: str) -> None:
    if not text.isascii() and any("\ud800" <= character <= "\udfff" for character in text):
        shown = text.encode("ascii", "backslashreplace").decode()
        raise ValueError(f"'{shown[:40]}' holds half of a surrogate pair, which is not text")
