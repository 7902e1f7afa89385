"""``runs/NAME/report.html``: a run at a glance, in one file that needs no network and follows the run while it goes on.

The page holds its data; it is written again every few seconds, atomically, and loads itself anew.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ownlm.files import atomic_write
from ownlm.train.hooks import Metrics, flat
from ownlm.train.metrics import NAME as METRICS
from ownlm.train.metrics import finite, read_history
from ownlm.train.run_facts import RunFacts

NAME = "report.html"
PAGE = Path(__file__).parent / "report_page"
COLUMNS = ("step", "tokens", "elapsed", "loss", "lr", "grad_norm", "tokens_per_second", "mfu")
POINTS = 1500
SECONDS_BETWEEN = 5.0
COST = 100.0
"""A page is written again after at least so many times what writing it took: 1 % of the run."""


class Thinned:
    """Means of ``every`` neighbouring steps; ``every`` doubles when there are more than ``limit`` of them, so that a
    page of a million steps is as light as one of a thousand.

    >>> points = Thinned(("loss",), limit=2)
    >>> for loss in (1, 3, 5, 7, 9): points.add({"loss": loss})
    >>> points.every, points.columns()
    (4, {'loss': [4.0, 9.0]})
    """

    def __init__(self, names: tuple[str, ...], limit: int = POINTS) -> None:
        self.names, self.limit, self.every = names, limit, 1
        self._points: list[list[list[float]]] = []  # of each point, of each column: sum and count
        self._steps = 0

    def add(self, record: Mapping[str, Any]) -> None:
        """The next step."""
        if self._steps % self.every == 0:
            if len(self._points) == self.limit:
                self._halve()
            if self._steps % self.every == 0:
                self._points.append([[0.0, 0.0] for _ in self.names])
        self._steps += 1
        for cell, name in zip(self._points[-1], self.names, strict=True):
            value = finite(record.get(name))
            if value is not None:
                cell[0] += value
                cell[1] += 1

    def columns(self) -> dict[str, list[float | None]]:
        """Of each name the means; None where nothing was said."""
        return {
            name: [_rounded(cell[0] / cell[1]) if cell[1] else None for cell in (point[at] for point in self._points)]
            for at, name in enumerate(self.names)
        }

    def _halve(self) -> None:
        pairs = [self._points[at : at + 2] for at in range(0, len(self._points), 2)]
        self._points = [
            [[sum(part) for part in zip(*cells, strict=True)] for cells in zip(*pair, strict=True)] for pair in pairs
        ]
        self.every *= 2


class ReportPage:
    """The hook that keeps the page."""

    def __init__(self, seconds_between: float = SECONDS_BETWEEN, cost: float = COST) -> None:
        self.path = Path(NAME)
        self._least, self._cost = seconds_between, cost
        self._next = 0.0

    def on_start(self, facts: RunFacts) -> None:
        self.path = facts.out / NAME
        self._begin(facts.to_json())
        if facts.first_step:
            for record in read_history(facts.out / METRICS).steps:
                if record["step"] <= facts.first_step:
                    self._take(record)
        self._write()

    def on_step(self, metrics: Metrics) -> None:
        self._take(metrics)
        if time.monotonic() >= self._next:
            self._write()

    def on_end(self, result: Metrics) -> None:
        self._end = dict(result)
        self._write()

    def _begin(self, run: Mapping[str, Any]) -> None:
        self._run, self._end = dict(run), None
        self._points = Thinned(COLUMNS)
        self._valid: dict[str, list[Any]] = {
            name: [] for name in ("step", "tokens", "elapsed", "loss", "bits_per_byte")
        }
        self._sample: dict[str, Any] | None = None
        self._elapsed, self._last = 0.0, 0

    _end: dict[str, Any] | None

    def _take(self, metrics: Metrics) -> None:
        self._elapsed = metrics.get("elapsed") or self._elapsed + (metrics.get("seconds") or 0.0)
        self._last = metrics["step"]
        if "loss" in metrics:
            self._points.add({**metrics, "elapsed": self._elapsed})
        if "valid_loss" in metrics or "valid_bits_per_byte" in metrics:
            found = (metrics["step"], metrics.get("tokens", 0), self._elapsed)
            for name, value in zip(self._valid, found, strict=False):
                self._valid[name].append(value)
            self._valid["loss"].append(metrics.get("valid_loss"))
            self._valid["bits_per_byte"].append(metrics.get("valid_bits_per_byte"))
        if metrics.get("sample"):
            self._sample = {"step": metrics["step"], "text": str(metrics["sample"])}

    def _write(self) -> None:
        before = time.monotonic()
        run = {name: value for name, value in self._run.items() if name != "recipe"}
        data = {
            "run": run,
            "recipe": [[name, value] for name, value in flat(self._run.get("recipe", {}))],
            "columns": self._points.columns(),
            "every": self._points.every,
            "last_step": self._last,
            "valid": self._valid,
            "sample": self._sample,
            "end": self._end,
            "written": time.time(),
        }
        with atomic_write(self.path, durable=False) as file:
            file.write(page(data))
        now = time.monotonic()
        self._next = now + max(self._least, self._cost * (now - before))


def write_report(out: Path) -> Path:
    """The page of a run as its ``metrics.jsonl`` tells it; where it is."""
    history = read_history(out / METRICS)
    made = ReportPage()
    made.path = out / NAME
    made._begin(history.run)
    for record in history.steps:
        made._take(record)
    made._end = history.end
    made._write()
    return made.path


def page(data: Mapping[str, Any]) -> bytes:
    """The file's bytes. What stands in the data cannot end its element."""
    text = json.dumps(finite(data), ensure_ascii=False, allow_nan=False, separators=(",", ":"), default=str)
    parts = {
        "STYLE": (PAGE / "page.css").read_text(encoding="utf-8"),
        "SCRIPT": "".join((PAGE / name).read_text(encoding="utf-8") for name in ("draw.js", "page.js")),
        "DATA": text.replace("<", "\\u003c"),
    }
    made = (PAGE / "page.html").read_text(encoding="utf-8")
    for name, part in parts.items():
        made = made.replace(f"/*{name}*/", part)
    return made.encode()


def _rounded(value: float) -> float:
    return float(f"{value:.6g}")
