"""Which rows of a set without a development part are kept for measuring, and never trained on.

The rule reads the row alone, so that recipes and measurements agree without a list: a tenth, by hash.
"""

from __future__ import annotations

from hashlib import sha256


def held_out(key: str) -> bool:
    """Whether the rows of ``key`` measure: a row's text, or the file that it is from where rows of one file repeat.

    >>> [word for word in ("gate", "key", "lamp", "door", "roof", "tree", "wall", "path") if held_out(word)]
    ['wall']
    """
    return int.from_bytes(sha256(key.strip().encode("utf-8")).digest()[:4], "big") % 10 == 0
