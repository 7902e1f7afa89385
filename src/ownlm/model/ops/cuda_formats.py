"""How a GPU holds what a checkpoint stores, told without torch: formats and bytes."""

from __future__ import annotations

from collections.abc import Iterable

from ownlm.formats import FORMATS


def held_format(formats: Iterable[str]) -> str:
    """What matrices that are stacked become: "q4_0", "q8_0", or "" for plain numbers.

    >>> held_format(["q4_0"]), held_format(["q4_0", "q6_k"]), held_format(["f16", "f32"])
    ('q4_0', 'q8_0', '')
    """
    found = set(formats)
    if found == {"q4_0"}:
        return "q4_0"
    return "q8_0" if found & FORMATS.keys() else ""


def held_bytes(formats: Iterable[str], rows: int, columns: int) -> int:
    """Bytes of such a matrix on the device, plain numbers in bfloat16."""
    wanted = held_format(formats)
    return FORMATS[wanted].row_bytes(columns) * rows if wanted else 2 * rows * columns
