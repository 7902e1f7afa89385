"""Known tokens, and what of them a cache holds."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ownlm.engine.block_table import BlockTable, Owner


class CachedText:
    """Tokens of which the cache holds the first ``computed``, and drafts.

        tokens     p p p p p p p p g g g
        computed   ----------^
        missing               m m m m m m
        drafted                           d d d

    ``drafted`` are tokens that may come next: computed with those that are missing, known only if they then come.
    """

    __slots__ = ("accepted", "computed", "drafted", "exact", "rejected", "row", "running", "table", "tokens")

    def __init__(self, tokens: Sequence[int], owners: Iterable[Owner] = ()) -> None:
        self.tokens = list(tokens)
        self.computed = 0
        self.drafted: list[int] = []
        self.accepted = 0  # drafts that came
        self.rejected = 0  # and that did not
        self.table = BlockTable(owners)
        self.exact = False  # every logit of it counts, not the leading ones alone
        self.row = -1  # of the batch builder's tables
        self.running = False

    @property
    def missing(self) -> int:
        """Known tokens that the cache does not hold."""
        return len(self.tokens) - self.computed

    def take(self, token: int) -> None:
        """One more token is known. If it is the first draft, it is computed already."""
        self.tokens.append(token)
        if self.drafted:
            if self.drafted[0] == token:
                del self.drafted[0]
                self.accepted += 1
                self.computed += 1
            else:
                self.drop_drafts()

    def drop_drafts(self) -> None:
        """They did not come."""
        self.rejected += len(self.drafted)
        self.drafted.clear()
