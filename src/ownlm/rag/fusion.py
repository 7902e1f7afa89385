"""Reciprocal rank fusion (Cormack, Clarke and Buettcher, SIGIR 2009): lists of unlike scores become one order."""

from __future__ import annotations

from collections.abc import Sequence

CONSTANT = 60
"""Damps the first ranks; the paper's value."""


def reciprocal_ranks(lists: Sequence[Sequence[int]], constant: int = CONSTANT) -> list[tuple[int, float]]:
    """``(item, score)``, best first: the sum of ``1 / (constant + rank)`` over the lists that hold the item.

    Ties keep the order in which the items first appear.

    >>> [item for item, _ in reciprocal_ranks([[1, 2, 3], [2, 4]])]
    [2, 1, 4, 3]
    """
    scores: dict[int, float] = {}
    for items in lists:
        for rank, item in enumerate(dict.fromkeys(items), start=1):
            scores[item] = scores.get(item, 0.0) + 1.0 / (constant + rank)
    return sorted(scores.items(), key=lambda pair: -pair[1])
