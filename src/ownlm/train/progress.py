"""Where a training run is: a bar on a terminal, a plain line now and then elsewhere. Always on stderr."""

from __future__ import annotations

import sys
import time
from collections import deque
from typing import IO, Any

from ownlm.train.hooks import Metrics
from ownlm.train.run_facts import RunFacts

SECONDS_BETWEEN_LINES = 10.0
RECENT = 20
"""Steps whose speed says how much time is left."""


class ProgressLine:
    """The hook that shows it: step, loss, tokens a second, MFU, time left."""

    def __init__(self, stream: IO[str] | None = None, *, seconds_between_lines: float = SECONDS_BETWEEN_LINES) -> None:
        self._stream = sys.stderr if stream is None else stream
        self._between = seconds_between_lines
        self._recent: deque[float] = deque(maxlen=RECENT)
        self._loss: float | None = None
        self._bits: float | None = None
        self._last_line = float("-inf")
        self._bar: Any = None
        self._facts: RunFacts | None = None

    def on_start(self, facts: RunFacts) -> None:
        self._facts = facts
        self._say(f"training {facts.name}: {started(facts)}")
        for line in foretold(facts.forecast or {}):
            self._say(f"  {line}")
        if not self._stream.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn

        self._bar = Progress(
            TextColumn("{task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            TextColumn("{task.fields[said]}", markup=False),
            console=Console(file=self._stream),
            transient=True,
        )
        self._task = self._bar.add_task("", total=facts.steps, completed=facts.first_step, said="")
        self._bar.start()

    def on_step(self, metrics: Metrics) -> None:
        assert self._facts is not None, "on_start comes first"
        if metrics.get("seconds"):
            self._recent.append(metrics["seconds"])
        loss = metrics.get("loss")
        if loss is not None:
            self._loss = loss if self._loss is None else 0.9 * self._loss + 0.1 * loss
        self._bits = metrics.get("valid_bits_per_byte", self._bits)
        step, now = metrics["step"], time.monotonic()
        if self._bar is not None:
            self._bar.update(self._task, completed=step, said=self._state(metrics))
        elif now - self._last_line >= self._between or step == self._facts.steps:
            self._last_line = now
            self._say(f"step {step:,}/{self._facts.steps:,}: {self._state(metrics)}")

    def on_end(self, result: Metrics) -> None:
        if self._bar is not None:
            self._bar.stop()
            self._bar = None
        self._say(ended(result))
        for line in compared(result.get("forecast") or {}):
            self._say(f"  {line}")

    def _state(self, metrics: Metrics) -> str:
        assert self._facts is not None
        parts = [] if self._loss is None else [f"loss {self._loss:.3f}"]
        if self._bits is not None:
            parts.append(f"{self._bits:.3f} bits per byte")
        if metrics.get("tokens_per_second"):
            parts.append(f"{metrics['tokens_per_second']:,.0f} tokens/s")
        if metrics.get("mfu"):
            parts.append(f"{100 * metrics['mfu']:.0f} % MFU")
        left = self._facts.steps - metrics["step"]
        if left and self._recent:
            seconds = left * sum(self._recent) / len(self._recent)
            if self._facts.minutes is not None:
                seconds = min(seconds, max(0.0, 60 * self._facts.minutes - metrics.get("elapsed", 0.0)))
            parts.append(f"{duration(seconds)} left")
        return "  ".join(parts) if self._bar is not None else ", ".join(parts)

    def _say(self, text: str) -> None:
        self._stream.write(text + "\n")
        self._stream.flush()


def started(facts: RunFacts) -> str:
    """One line on what begins.

    >>> from pathlib import Path
    >>> facts = RunFacts(name="a", out=Path(), steps=100, tokens_per_step=8192, parameters=3540000, flops_per_token=3e7)
    >>> started(facts)
    '3.5M parameters, 100 steps of 8,192 tokens, 2.5e+13 FLOPs, on cpu in float32'
    """
    on = f", on {facts.device} in {facts.precision}"
    if facts.processes > 1:
        on += f", {facts.processes} processes"
    begun = f", from step {facts.first_step:,} on" if facts.first_step else ""
    count = facts.parameters
    said = f"{count / 1e9:.2f}B" if count >= 1e9 else f"{count / 1e6:.1f}M" if count >= 1e5 else f"{count:,}"
    work = f"{facts.steps:,} steps of {facts.tokens_per_step:,} tokens, {facts.flops:.1e} FLOPs"
    return f"{said} parameters, {work}{on}{begun}"


def ended(result: Metrics) -> str:
    """One line on what came out."""
    parts = [f"{result['steps']:,} steps in {duration(result['seconds'])}"]
    if result.get("loss") is not None:
        parts.append(f"loss {result['loss']:.3f}")
    if result.get("valid_bits_per_byte") is not None:
        parts.append(f"{result['valid_bits_per_byte']:.3f} bits per byte")
    return f"{'stopped: ' + result['stopped'] if result.get('stopped') else 'done'}: {', '.join(parts)}"


def foretold(forecast: Metrics) -> list[str]:
    """What is expected, a line each.

    >>> foretold({"bits_per_byte": {"value": 1.5, "low": 1.2, "high": 1.9}, "memory": {"value": 310e6}})
    ['expected: 296 MiB of memory', 'expected: 1.500 bits per byte (1.200 to 1.900)']
    """
    found = []
    for name, (noun, write) in MEASURES.items():
        if one := forecast.get(name):
            bounds = "" if one.get("low") is None else f" ({write(one['low'])} to {write(one['high'])})"
            found.append(f"expected: {write(one['value'])}{noun}{bounds}")
    return found


def compared(forecast: Metrics) -> list[str]:
    """How far off a forecast was, a line each.

    >>> compared({"seconds": {"value": 100.0, "actual": 104.0, "off": 0.04}})
    ['1 min 44 s, expected 1 min 40 s (+4.0 %)']
    """
    found = []
    for name, (noun, write) in MEASURES.items():
        if one := forecast.get(name):
            found.append(f"{write(one['actual'])}{noun}, expected {write(one['value'])} ({100 * one['off']:+.1f} %)")
    return found


def duration(seconds: float) -> str:
    """
    >>> duration(59.6), duration(61), duration(7260)
    ('1 min 00 s', '1 min 01 s', '2 h 01 min')
    """
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02} min"


def size(amount: float) -> str:
    """
    >>> size(310e6)
    '296 MiB'
    """
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if amount >= unit:
            return f"{amount / unit:.3g} {name}"
    return f"{amount:.0f} B"


MEASURES = {
    "seconds": ("", duration),
    "memory": (" of memory", size),
    "bits_per_byte": (" bits per byte", "{:.3f}".format),
}
"""What a forecast tells: its unit, and how it is written."""
