"""Shares and means with 95 % intervals, of observations that come in clusters (the continuations of one prompt)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ownlm.evals.estimate import RESAMPLES, SEED, Estimate, Metric, Sums, estimate, mean


def share(hits: Sequence[bool], clusters: Sequence[str] | None = None) -> Estimate:
    """A percentage. Without ``clusters`` the observations are independent (Wilson), else clusters are resampled.

    >>> share([True, False, False, False])
    Estimate(value=25.0, low=4.5587, high=69.9358, samples=4)
    """
    metric = Metric("share", mean, "bootstrap" if clusters else "wilson")
    return estimate(metric, [(float(hit), 1.0) for hit in hits], clusters or [str(at) for at in range(len(hits))])


def average(values: Sequence[float], clusters: Sequence[str] | None = None, *, unit: str = "nats") -> Estimate:
    """A mean, by resampling the clusters (by default each value is one).

    >>> average([1.0, 1.0])
    Estimate(value=1.0, low=1.0, high=1.0, samples=2)
    """
    metric = Metric("mean", _ratio, unit=unit)
    return estimate(metric, [(value, 1.0) for value in values], clusters or [str(at) for at in range(len(values))])


def between(first: Sequence[float], second: Sequence[float]) -> Estimate:
    """The mean of the first minus that of the second, each resampled by itself; None where one is empty.

    >>> between([3.0, 3.0], [1.0]), between([], [1.0]).value
    (Estimate(value=2.0, low=2.0, high=2.0, samples=3), None)
    """
    if not first or not second:
        return Estimate(None, None, None, 0)
    chance = np.random.default_rng(SEED)
    drawn = []
    for values in (first, second):
        rows = np.array(values, np.float64)
        drawn.append(rows[chance.integers(0, len(rows), (RESAMPLES, len(rows)))].mean(axis=1))
    low, high = np.quantile(drawn[0] - drawn[1], [0.025, 0.975])
    value = sum(first) / len(first) - sum(second) / len(second)
    return Estimate(round(value, 4), round(float(low), 4), round(float(high), 4), len(first) + len(second))


def _ratio(sums: Sums) -> Sums:
    found: Sums = sums[..., 0] / sums[..., 1]
    return found
