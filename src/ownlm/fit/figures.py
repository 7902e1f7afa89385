"""Measured figures with their spread, and what share of the machine's limit each one is."""

from __future__ import annotations

import statistics
from dataclasses import dataclass, field

from ownlm.fit.cost import Prices, million
from ownlm.native.machine import Machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Figure:
    """One thing that was measured in several rounds. ``share``: the median's part of ``limit``, "bandwidth", "int8",
    "bf16" or "f32" of ``Machine``. ``joules``: of each unit of work (a token), where the machine tells."""

    name: str
    unit: str
    values: tuple[float, ...]
    share: float | None = None
    limit: str | None = None
    joules: float | None = None
    remark: str = ""

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def low(self) -> float:
        return min(self.values)

    @property
    def high(self) -> float:
        return max(self.values)


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Bytes. ``resident``: of this process with the model loaded and used; ``before``: without it. Parts of what the
    model takes: the ``layers``, the ``head``, the ``table`` of embeddings, the ``cache`` of keys and values."""

    resident: int
    before: int
    layers: int | None
    head: int | None
    table: int | None
    cache: int
    cache_per_token: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What ``bench`` found. ``figures`` are in the order in which they are shown."""

    model: str
    context: int
    kv_format: str
    machine: Machine
    figures: tuple[Figure, ...]
    memory: Memory
    energy: str | None
    prices: Prices
    notes: tuple[str, ...] = field(default=())

    def figure(self, name: str) -> Figure | None:
        """The one of that name, if it was measured."""
        return next((figure for figure in self.figures if figure.name == name), None)

    def costs(self) -> list[tuple[str, float | None, float | None]]:
        """(of what, a million tokens here, hosted) for prompts, one answer and several; empty without a price."""
        known = self.prices
        if not known.here and known.hosted_input is None:
            return []
        found = []
        for figure in self.figures:
            if figure.unit != "tokens/s":
                continue
            hosted = known.hosted_input if figure.name.startswith("prefill") else known.hosted_output
            found.append((figure.name, million(figure.median, figure.joules, known), hosted))
        return found


def limit(machine: Machine, name: str) -> float | None:
    """A machine's limit by its name in ``Figure.limit``: bytes or operations a second.

    Without products of bfloat16 its weights are multiplied as floats.
    """
    if name == "bandwidth":
        return machine.bandwidth
    if name == "bf16":
        return machine.bf16_ops or machine.f32_ops
    return machine.int8_ops if name == "int8" else machine.f32_ops
