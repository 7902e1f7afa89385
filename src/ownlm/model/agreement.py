"""How nearly two models say the same: the distributions that both give for every token of a text, compared."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ownlm.model.opened import Ids, Logits

Read = Callable[[Ids], Logits]
"""Logits [T, V] at every token of one text."""
TAIL = 0.999
_ROWS = 64  # of logits that are worked on at a time: with large vocabularies each is a megabyte


@dataclass(frozen=True, slots=True)
class Agreement:
    """Of a second model with a first. ``mean_kl`` and ``kl_999`` (the 99.9th percentile over tokens) are KL divergences
    of the first's distribution from the second's, in nats a token; ``top1_agreement`` is the share of tokens for which
    both find the same most likely; ``losses`` are the mean negative log-likelihoods of the text, the first's first.
    """

    tokens: int
    mean_kl: float
    kl_999: float
    top1_agreement: float
    losses: tuple[float, float]

    @property
    def perplexities(self) -> tuple[float, float]:
        """Of the text, by the first and by the second."""
        first, second = (math.exp(min(loss, 700.0)) for loss in self.losses)
        return first, second

    @property
    def perplexity_ratio(self) -> float:
        """How the second's compares with the first's."""
        return math.exp(min(self.losses[1] - self.losses[0], 700.0))


def agreement(
    first: Read, second: Read, parts: Sequence[Ids], on_progress: Callable[[int, int], None] | None = None
) -> Agreement:
    """Read ``parts`` (``opened.windows``) with both; ``on_progress(done, total)`` counts tokens.

    A model that gives other numbers of logits, or values that are no numbers, agrees with nothing: its KL is infinite.
    """
    kls: list[NDArray[np.float64]] = []
    agreed = done = 0
    losses = np.zeros(2)
    total = sum(len(part) - 1 for part in parts)
    for part in parts:
        p, q = first(part[:-1]), second(part[:-1])
        if p.shape != q.shape:
            return Agreement(total, math.inf, math.inf, 0.0, (math.inf, math.inf))
        for start in range(0, len(p), _ROWS):
            rows = slice(start, start + _ROWS)
            left, right = log_softmax(p[rows]), log_softmax(q[rows])
            kls.append((np.exp(left) * (left - right)).sum(axis=1, dtype=np.float64))
            agreed += int((left.argmax(1) == right.argmax(1)).sum())
            wanted = part[1:][rows]
            losses -= [float(each[np.arange(len(wanted)), wanted].sum(dtype=np.float64)) for each in (left, right)]
        done += len(part) - 1
        if on_progress is not None:
            on_progress(done, total)
    every = np.concatenate(kls)
    every[~np.isfinite(every)] = math.inf
    mean, tail = float(every.mean()), float(np.sort(every)[min(len(every) - 1, math.ceil(TAIL * len(every)) - 1)])
    return Agreement(done, mean, tail, agreed / done, (float(losses[0]) / done, float(losses[1]) / done))


def log_softmax(x: Logits) -> Logits:
    """Log-probabilities [T, V] of logits."""
    x = x - x.max(axis=1, keepdims=True)
    found: Logits = x - np.log(np.exp(x).sum(axis=1, keepdims=True))
    return found
