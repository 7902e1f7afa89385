"""A figure with its interval: how far it would have moved on other samples of the same kind.

Scores are sums, so that every figure is a function of sums: a mean of (value, 1), bits per byte of (nats, bytes), chrF
of counts of n-grams. Resampling the samples (Efron 1979) then serves all of them; a share of right answers has Wilson's
interval (1927), which holds for small numbers too.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Sums = NDArray[np.float64]
Combine = Callable[[Sums], Sums]
RESAMPLES = 1000
SEED = 20
Z = 1.959963984540054  # of the normal distribution, 95 % within


@dataclass(frozen=True, slots=True)
class Metric:
    """``combine``: sums [..., K] to figures [...]; NaN where nothing was scored. ``interval``: "wilson" for shares of
    independent samples. ``unit``: "%" of figures from 0 to 100. ``better``: which way is better."""

    name: str
    combine: Combine
    interval: Literal["bootstrap", "wilson"] = "bootstrap"
    unit: str = "%"
    better: Literal["higher", "lower"] = "higher"


@dataclass(frozen=True, slots=True)
class Estimate:
    """``low`` and ``high`` bound 95 %; all are None where none of the ``samples`` was scored."""

    value: float | None
    low: float | None
    high: float | None
    samples: int


def mean(sums: Sums) -> Sums:
    """Of (total, count), as a percentage.

    >>> float(mean(np.array([3.0, 4.0])))
    75.0
    """
    return 100 * _ratio(sums[..., 0], sums[..., 1])


def bits_per(sums: Sums) -> Sums:
    """Of (nats, bytes).

    >>> round(float(bits_per(np.array([math.log(2) * 8, 4.0]))), 6)
    2.0
    """
    return _ratio(sums[..., 0], sums[..., 1] * math.log(2))


def estimate(metric: Metric, scores: Sequence[Sequence[float]], clusters: Sequence[str]) -> Estimate:
    """A metric over the scores of samples that have it. Samples of one cluster (questions about one paragraph) are
    resampled together, because they fail together. The same input gives the same bits."""
    if not scores:
        return Estimate(None, None, None, 0)
    rows = np.array(scores, np.float64)
    value = float(metric.combine(rows.sum(axis=0)))
    if math.isnan(value):
        return Estimate(None, None, None, len(rows))
    if metric.interval == "wilson":
        low, high = wilson(float(rows[:, 0].sum()), float(rows[:, 1].sum()))
    else:
        low, high = _bootstrap(metric.combine, rows, clusters)
    return Estimate(_short(value), _short(low), _short(high), len(rows))


def wilson(right: float, count: float) -> tuple[float, float]:
    """95 % interval of a share, as percentages.

    >>> [round(bound, 1) for bound in wilson(9, 10)]
    [59.6, 98.2]
    """
    share, spread = right / count, Z * Z / count
    middle = (share + spread / 2) / (1 + spread)
    half = Z / (1 + spread) * math.sqrt(share * (1 - share) / count + spread / (4 * count))
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def _bootstrap(combine: Combine, rows: Sums, clusters: Sequence[str]) -> tuple[float, float]:
    numbers = {name: at for at, name in enumerate(dict.fromkeys(clusters))}
    sums = np.zeros((len(numbers), rows.shape[1]))
    np.add.at(sums, [numbers[name] for name in clusters], rows)
    drawn = np.random.default_rng(SEED).integers(0, len(sums), (RESAMPLES, len(sums)))
    found = combine(np.stack([sums[each].sum(axis=0) for each in drawn]))
    found = found[~np.isnan(found)]
    low, high = np.quantile(found, [0.025, 0.975])
    return float(low), float(high)


def _ratio(above: Sums, below: Sums) -> Sums:
    with np.errstate(invalid="ignore", divide="ignore"):
        found: Sums = np.where(below > 0, above / below, np.nan)
    return found


def _short(value: float) -> float:
    """Enough digits to compare by, and few enough to read."""
    return round(value, 4)
