"""How the learning rate goes: up, flat, down in a line. A run can be extended from the flat part.

    factor 1       ______________________
                  /                       \\
                 /                          \\
    final   ____/                             \\
            warm-up        flat        decay (a share of the whole)

Hägele et al. 2024, arXiv:2405.18392.
"""

from __future__ import annotations

from dataclasses import dataclass

from ownlm.errors import InvalidSetting


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A run of ``steps``; or of ``minutes`` of computing, with no more than ``steps``: then the schedule goes by the
    clock, and how many steps were done depends on the machine. ``warmup`` in steps; ``decay`` a share of the run;
    ``final`` the factor at its end."""

    steps: int
    minutes: float | None = None
    warmup: int = 0
    decay: float = 0.5
    final: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidSetting("schedule.steps", self.steps, "give at least 1")
        if self.minutes is not None and not self.minutes > 0:
            raise InvalidSetting("schedule.minutes", self.minutes, "give a number above 0, or none")
        if not 0 <= self.decay <= 1 or not 0 <= self.final <= 1 or self.warmup < 0:
            value = (self.warmup, self.decay, self.final)
            raise InvalidSetting("schedule.warmup, decay, final", value, "give steps, and shares from 0 to 1")

    def progress(self, step: int, seconds: float) -> float:
        """The share of the run that is done after ``step`` steps and so many seconds, from 0 to 1."""
        done = step / self.steps
        if self.minutes is not None:
            done = max(done, seconds / 60 / self.minutes)
        return min(1.0, done)

    def factor(self, step: int, seconds: float = 0.0) -> float:
        """Of the step with that number, counted from 0."""
        left = 1 - self.progress(step, seconds)
        down = 1.0 if not self.decay else min(1.0, left / self.decay)
        up = min(1.0, (step + 1) / (self.warmup + 1))
        return up * (self.final + (1 - self.final) * down)

    def is_flat(self, step: int, seconds: float = 0.0) -> bool:
        """Whether no decay has begun: from here a longer run can go on."""
        return self.progress(step, seconds) <= 1 - self.decay
