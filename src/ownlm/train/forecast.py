"""Before a run: how long it will take, how much memory, how good it will be. After it: how far off that was.

Time is measured (a few steps that are thrown away), memory is counted, bits per byte are told by ``scaling``.
"""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ownlm.errors import OwnLMError
from ownlm.train.metrics import NAME as METRICS
from ownlm.train.metrics import read_history
from ownlm.train.scaling import Estimate, Reached, bits_per_byte

LEAST_SPREAD = 0.05
"""A machine's speed wanders by so much from minute to minute, however evenly a few steps ran."""


@dataclass(frozen=True, slots=True)
class Forecast:
    """Seconds, bytes and bits per byte, each None where nothing can be said; ``basis`` says what they stand on."""

    seconds: Estimate | None
    memory: Estimate | None
    bits_per_byte: Estimate | None
    basis: str
    parts: Mapping[str, int] | None = None
    """Of the memory."""

    def to_json(self) -> dict[str, Any]:
        """For ``metrics.jsonl`` and the report."""
        said = {name: getattr(self, name) for name in ("seconds", "memory", "bits_per_byte")}
        found: dict[str, Any] = {name: value.to_json() for name, value in said.items() if value is not None}
        if self.parts is not None:
            found["memory_parts"] = dict(self.parts)
        return {**found, "basis": self.basis}


def foretell(
    *,
    step_seconds: Sequence[float],
    steps: int,
    more_seconds: float = 0.0,
    memory: Mapping[str, int] | None = None,
    resident: int = 0,
    flops: float | None = None,
    earlier: Sequence[Reached] = (),
) -> Forecast:
    """``step_seconds`` are those of measured steps, ``steps`` how many are to come, ``more_seconds`` what validation
    takes. ``memory`` is ``TrainMemory.to_json()``, and ``resident`` what a process without a GPU came to need in those
    steps: its allocator holds more than it is asked for. ``flops`` of the whole run; None where no bits per byte can be
    told (tuning).
    """
    basis = [f"Time: {len(step_seconds)} measured steps." if step_seconds else "Time: no step was measured."]
    if memory is not None:
        counted = "Memory: weights, gradients, optimizer and activations, counted"
        basis.append(counted + (", and what the allocator made of them." if resident > memory["total"] else "."))
    if flops is not None:
        basis.append(_stands_on(earlier))
    return Forecast(
        seconds=_time(step_seconds, steps, more_seconds) if step_seconds else None,
        memory=None if memory is None else Estimate(float(max(memory["total"], resident))),
        bits_per_byte=None if flops is None else bits_per_byte(flops, earlier),
        basis=" ".join(basis),
        parts=memory,
    )


def _time(step_seconds: Sequence[float], steps: int, more: float) -> Estimate:
    typical = statistics.median(step_seconds)
    uneven = (max(step_seconds) - min(step_seconds)) / 2 / typical if len(step_seconds) > 1 else 0.0
    spread = max(LEAST_SPREAD, uneven)
    whole = typical * steps + more
    return Estimate(whole, whole * (1 - min(spread, 0.9)), whole * (1 + spread))


def _stands_on(earlier: Sequence[Reached]) -> str:
    if not earlier:
        return (
            "Bits per byte: a law of compute through nanochat's anchors, with 80 % bounds; they are wide, since no "
            "finished run on this validation text lies beside this one."
        )
    runs = "1 finished run" if len(earlier) == 1 else f"{len(earlier)} finished runs"
    return f"Bits per byte: a law of compute through {runs} on this validation text, with 80 % bounds."


def earlier_runs(out: Path, measured_on: str) -> list[Reached]:
    """What the finished runs beside ``out`` reached on the validation text that is called ``measured_on`` (its
    SHA-256). A run whose file is broken does not count."""
    found = []
    for path in sorted(out.parent.glob(f"*/{METRICS}")):
        if path.parent == out:
            continue
        try:
            history = read_history(path)
        except OwnLMError:
            continue
        end, run = history.end or {}, history.run
        bits, flops = end.get("valid_bits_per_byte"), run.get("flops")
        if run.get("measured_on") == measured_on and bits and flops and not end.get("stopped"):
            found.append(Reached(flops, bits))
    return found


def off_by(forecast: Mapping[str, Any], actual: Mapping[str, float | None]) -> dict[str, dict[str, Any]]:
    """Of each thing that was told and is known now: the forecast, the actual value, and (actual - forecast) /
    forecast; ``held`` says whether it lay within the bounds.

    >>> off_by({"seconds": {"value": 100.0, "low": 95.0, "high": 105.0}}, {"seconds": 104.0})
    {'seconds': {'value': 100.0, 'low': 95.0, 'high': 105.0, 'actual': 104.0, 'off': 0.04, 'held': True}}
    """
    found: dict[str, dict[str, Any]] = {}
    for name, value in actual.items():
        told = forecast.get(name)
        if not told or value is None:
            continue
        low, high = told.get("low"), told.get("high")
        held = None if low is None or high is None else low <= value <= high
        found[name] = {**told, "actual": value, "off": round(value / told["value"] - 1, 4), "held": held}
    return found
