"""How much better one way of answering is than another, on the same samples."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from ownlm.evals.estimate import RESAMPLES, SEED, Estimate, Metric
from ownlm.evals.task import Score


def difference(metric: Metric, after: Sequence[Score], before: Sequence[Score], clusters: Sequence[str]) -> Estimate:
    """``after`` minus ``before``, with the interval of resampled pairs: what is hard for both cancels out.

    Only samples that both were scored for are counted; those of one cluster are resampled together.
    """
    there = [
        at for at in range(len(clusters)) if metric.name in after[at] and metric.name in before[at]
    ]  # fmt: skip
    if not there:
        return Estimate(None, None, None, 0)
    names = {name: at for at, name in enumerate(dict.fromkeys(clusters[at] for at in there))}
    pairs = np.array([[after[at][metric.name], before[at][metric.name]] for at in there], np.float64)
    sums = np.zeros((len(names), *pairs.shape[1:]))
    np.add.at(sums, [names[clusters[at]] for at in there], pairs)
    drawn = np.random.default_rng(SEED).integers(0, len(sums), (RESAMPLES, len(sums)))
    resampled = np.stack([sums[each].sum(axis=0) for each in drawn])
    value = metric.combine(sums.sum(axis=0))
    found = metric.combine(resampled)
    moved = found[:, 0] - found[:, 1]
    low, high = np.quantile(moved[~np.isnan(moved)], [0.025, 0.975])
    return Estimate(round(float(value[0] - value[1]), 4), round(float(low), 4), round(float(high), 4), len(there))
