"""Shares and means with 95 % intervals, of observations that come in clusters (the continuations of one prompt)."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from statistics import NormalDist

import numpy as np

from ownlm.evals.estimate import RESAMPLES, SEED, Estimate, Metric, Sums, estimate, mean


def share(hits: Sequence[bool], clusters: Sequence[str] | None = None) -> Estimate:
    """A percentage. Without ``clusters`` the observations are independent (Wilson), else clusters are resampled.

    Where all are alike, resampling sees no spread: then each cluster is one observation.

    >>> share([True, False, False, False])
    Estimate(value=25.0, low=4.5587, high=69.9358, samples=4)
    >>> share([False] * 6, ["a", "a", "b", "b", "c", "c"])
    Estimate(value=0.0, low=0.0, high=56.1497, samples=6)
    """
    if clusters and len(set(hits)) == 1:
        alone = share([hits[0]] * len(set(clusters)))
        return replace(alone, samples=len(hits))
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


def largest_gap(values: Mapping[str, Sequence[float]], clusters: Sequence[str]) -> tuple[str, str, Estimate]:
    """(the group with the lowest mean, the one with the highest, highest minus lowest), of values of the same items.

    The pair is chosen by what is measured, so the interval is Student's with Bonferroni's correction for all pairs: it
    excludes 0 by chance for 5 % of such sets of groups, however many there are. Clusters are of equal size.

    >>> largest_gap({"a": [1, 2, 3, 4], "b": [2, 3, 4, 5.4], "c": [1, 2, 3, 4]}, list("wxyz"))
    ('a', 'b', Estimate(value=1.1, low=0.6252, high=1.5748, samples=4))
    """
    means = {name: sum(each) / len(each) for name, each in values.items()}
    low, high = min(means, key=lambda name: means[name]), max(means, key=lambda name: means[name])
    inside: dict[str, list[float]] = {}
    for cluster, a, b in zip(clusters, values[low], values[high], strict=True):
        inside.setdefault(cluster, []).append(b - a)
    found = np.array([sum(each) / len(each) for each in inside.values()])
    value = float(found.mean())
    pairs = len(values) * (len(values) - 1) / 2
    half = _student(1 - 0.05 / 2 / pairs, len(found) - 1) * float(found.std(ddof=1)) / math.sqrt(len(found))
    return low, high, Estimate(round(value, 4), round(value - half, 4), round(value + half, 4), len(clusters))


def _student(p: float, freedom: int) -> float:
    """Quantile of Student's distribution, by the expansion in Abramowitz and Stegun 26.7.5; good from 5 degrees on.

    >>> round(_student(0.975, 7), 3), round(_student(0.999, 31), 3)
    (2.364, 3.375)
    """
    z = NormalDist().inv_cdf(p)
    terms: tuple[float, ...] = (
        (z**3 + z) / 4,
        (5 * z**5 + 16 * z**3 + 3 * z) / 96,
        (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / 384,
    )
    return float(z + sum(term / freedom ** (at + 1) for at, term in enumerate(terms)))


def _ratio(sums: Sums) -> Sums:
    found: Sums = sums[..., 0] / sums[..., 1]
    return found
