"""What is known of a training run before its first step."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """``out`` is its folder, ``recipe`` its settings as JSON, ``first_step`` the number of steps that are done already
    (0, or where a resumed run goes on). ``flops_per_token`` and ``peak_flops`` (operations a second, of all processes
    together) are what MFU is the ratio of; ``precision`` is what multiplications are done in.
    """

    name: str
    out: Path
    steps: int
    tokens_per_step: int
    parameters: int
    flops_per_token: float
    recipe: Mapping[str, Any] = field(default_factory=dict)
    first_step: int = 0
    device: str = "cpu"
    precision: str = "float32"
    minutes: float | None = None
    """Of computing, after which the run ends, if ``steps`` are not done before."""
    processes: int = 1
    peak_flops: float | None = None
    forecast: Mapping[str, Any] | None = None
    measured_on: str | None = None
    """The SHA-256 of the validation text: runs that share it can be compared."""

    @property
    def tokens(self) -> int:
        """Of the whole run."""
        return self.steps * self.tokens_per_step

    @property
    def flops(self) -> float:
        """Of the whole run."""
        return self.flops_per_token * self.tokens

    def to_json(self) -> dict[str, Any]:
        """The same for ``metrics.jsonl``; without the folder, which may move."""
        return {
            "name": self.name,
            "steps": self.steps,
            "first_step": self.first_step,
            "minutes": self.minutes,
            "tokens_per_step": self.tokens_per_step,
            "parameters": self.parameters,
            "flops_per_token": self.flops_per_token,
            "flops": self.flops,
            "device": self.device,
            "precision": self.precision,
            "processes": self.processes,
            "peak_flops": self.peak_flops,
            "forecast": None if self.forecast is None else dict(self.forecast),
            "measured_on": self.measured_on,
            "recipe": dict(self.recipe),
        }
