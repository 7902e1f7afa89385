"""How a GPU holds what a checkpoint stores, told without torch: formats and bytes."""

from __future__ import annotations

from collections.abc import Iterable

from ownlm.formats import FORMATS

GROUP = 32
"""Weights of a row that share a scale."""
HELD = {"q4_0": 18, "q4_1": 20, "q4_k": 20, "q8_0": 34}
"""Bytes of a group: 4- or 8-bit codes, a float16 scale, and a float16 offset where the format has a minimum."""


def held_format(formats: Iterable[str]) -> str:
    """What matrices that are stacked become: one of ``HELD``, or "" for plain numbers.

    >>> held_format(["q4_k"]), held_format(["q4_0", "q6_k"]), held_format(["f16", "f32"])
    ('q4_k', 'q8_0', '')
    """
    found = set(formats)
    if len(found) == 1 and found <= HELD.keys():
        return found.pop()
    return "q8_0" if found & FORMATS.keys() else ""


def held_bytes(formats: Iterable[str], rows: int, columns: int) -> int:
    """Bytes of such a matrix on the device, plain numbers in bfloat16."""
    wanted = held_format(formats)
    return HELD[wanted] * (columns // GROUP) * rows if wanted else 2 * rows * columns
