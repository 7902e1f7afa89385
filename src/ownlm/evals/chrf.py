"""chrF: F-score of character n-grams (Popović 2015), with the figures of sacrebleu's default (chrF2, order 6).

Counts of all samples are added before the score is taken, so that a corpus has one score.
"""

from __future__ import annotations

from collections import Counter

import numpy as np

from ownlm.evals.estimate import Metric, Sums

ORDER = 6
BETA = 2.0


def counts(answer: str, reference: str) -> tuple[float, ...]:
    """(n-grams of the answer, of the reference, common) for n from 1 to ``ORDER``; white space does not count.

    >>> counts("ab c", "abd")[:6]
    (3.0, 3.0, 2.0, 2.0, 2.0, 1.0)
    """
    said, wanted = "".join(answer.split()), "".join(reference.split())
    found: list[float] = []
    for n in range(1, ORDER + 1):
        left, right = _grams(said, n), _grams(wanted, n)
        found += [left.total() if right else 0, right.total(), (left & right).total()]
    return tuple(map(float, found))


def chrf(sums: Sums) -> Sums:
    """Scores [...] from 0 to 100 of counts [..., 3 * ORDER]: mean precision and recall over the orders that both sides
    have, recall weighted ``BETA`` times as much.

    >>> float(chrf(np.array(counts("the file", "the file"))))
    100.0
    """
    said, wanted, common = (sums[..., part::3] for part in range(3))
    there = (said > 0) & (wanted > 0)
    orders = there.sum(axis=-1)
    # An order that one side lacks counts for neither mean.
    precision = (common / np.where(there, said, np.inf)).sum(axis=-1) / np.maximum(orders, 1)
    recall = (common / np.where(there, wanted, np.inf)).sum(axis=-1) / np.maximum(orders, 1)
    below = BETA**2 * precision + recall
    found: Sums = 100 * (1 + BETA**2) * precision * recall / np.where(below > 0, below, 1.0)
    return found


CHRF = Metric("chrF", chrf, unit="")


def _grams(text: str, n: int) -> Counter[str]:
    return Counter(text[at : at + n] for at in range(len(text) - n + 1))
