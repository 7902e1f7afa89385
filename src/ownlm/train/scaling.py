"""Final bits per byte from compute, told before a run: a power law over a floor, as wide as what is known of it.

    ln(bits per byte - floor) = a + b * ln(C / 1e18)        C: floating-point operations of the whole run

What is believed beforehand: a floor of .5, and the line through nanochat's anchors (Karpathy 2025: .897, .829 and .800
bits per byte of web text at 1e18, 5e18 and 1e19 operations, there the same as C^-0.049), which with this floor also
meets our own smallest runs: 2.18 where 3.5e12 reached 2.20, 1.48 where 3.7e14 reached 1.45. Other texts are easier or
harder (``TEXTS``). Every finished run on the same validation text narrows it: the law is a Bayesian linear regression
with a normal prior (Bishop 2006, section 3.3), so that one run fixes the height and several the slope.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

FLOOR = 0.5
HEIGHT, SLOPE = math.log(0.897 - FLOOR), -0.115
TEXTS = 0.3
"""Deviation of a: prose, source code and other languages differ by so much of what lies over the floor."""
SLOPES = 0.015
"""Deviation of b."""
NOISE = 0.05
"""Deviation of a run from its law: seed, schedule, shape."""
INTERVAL = 1.2816
"""Deviations that hold 80 % of a normal distribution."""


@dataclass(frozen=True, slots=True)
class Reached:
    """``flops`` that an earlier run on the same validation text took, and what it reached."""

    flops: float
    bits_per_byte: float


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value, and bounds that should hold it in 80 % of cases; None where no bounds are known."""

    value: float
    low: float | None = None
    high: float | None = None

    def to_json(self) -> dict[str, float | None]:
        """For ``metrics.jsonl``."""
        return {"value": self.value, "low": self.low, "high": self.high}


def bits_per_byte(flops: float, earlier: Iterable[Reached] = ()) -> Estimate:
    """What a run of so much compute will reach.

    >>> at = bits_per_byte(1e18)
    >>> round(at.value, 3), round(at.low, 3), round(at.high, 3)
    (0.897, 0.769, 1.086)
    >>> at = bits_per_byte(4e15, [Reached(1e15, 1.2)])
    >>> round(at.value, 3), round(at.low, 3), round(at.high, 3)
    (1.103, 1.05, 1.162)
    """
    earlier = list(earlier)
    floor = min([FLOOR, *(0.8 * run.bits_per_byte for run in earlier)])  # some text is easier than any
    # The precision matrix [[p, q], [q, r]] of (a, b) and what it makes of its mean, (u, v).
    p, q, r = 1 / TEXTS**2, 0.0, 1 / SLOPES**2
    u, v = p * HEIGHT, r * SLOPE
    for run in earlier:
        x, y = _size(run.flops), math.log(run.bits_per_byte - floor)
        p, q, r = p + 1 / NOISE**2, q + x / NOISE**2, r + x * x / NOISE**2
        u, v = u + y / NOISE**2, v + x * y / NOISE**2
    area = p * r - q * q
    a, b = (r * u - q * v) / area, (p * v - q * u) / area
    x = _size(flops)
    spread = INTERVAL * math.sqrt((r - 2 * q * x + p * x * x) / area + NOISE**2)
    middle = a + b * x
    return Estimate(floor + math.exp(middle), floor + math.exp(middle - spread), floor + math.exp(middle + spread))


def _size(flops: float) -> float:
    return math.log(flops / 1e18)
