"""What one request holds of the KV cache, and whose text it was computed from."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Owner(NamedTuple):
    """Tokens from ``start`` on are computed with text of ``tag`` in sight: what is kept of them goes when it goes."""

    tag: str
    start: int


class BlockTable:
    """The blocks that one request holds, in the order of its tokens."""

    __slots__ = ("blocks", "digests", "owners", "private", "registered", "unchanged")

    def __init__(self, owners: Iterable[Owner] = ()) -> None:
        self.blocks: list[int] = []
        self.digests: list[bytes] = []  # names of its tokens' full blocks; they outlive a preemption
        self.owners = tuple(owners)
        self.registered = 0  # leading blocks that have their name already
        self.private = False  # no further block of it is to be kept
        self.unchanged = 0  # leading entries that are as the batch builder last read them

    def tags(self, end: int) -> frozenset[str]:
        """Whose text a block that ends before token ``end`` depends on.

        >>> sorted(BlockTable([Owner("handbook", 0), Owner("letter", 40)]).tags(32))
        ['handbook']
        """
        return frozenset([owner.tag for owner in self.owners if owner.start < end])
