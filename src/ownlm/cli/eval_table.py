"""Figures as a table, and progress while they are made."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ownlm.cli.output import note, table

if TYPE_CHECKING:
    from ownlm.evals.run import Result

SECONDS_BETWEEN_LINES = 5.0


def show(results: Sequence[Result]) -> None:
    """A line for each figure: 95 % interval, the baseline on the same samples, and what others reached."""
    lines = []
    for result in results:
        share = "" if result.samples == result.available else f" of {result.available:,}"
        for at, (name, figure) in enumerate(result.metrics.items()):
            baseline = (result.baseline or {}).get("metrics", {}).get(name)
            named = (result.baseline or {}).get("name", "")
            lines.append(
                (
                    result.task if at == 0 else "",
                    f"{result.samples:,}{share}" if at == 0 else "",
                    name,
                    _number(figure.value),
                    "" if figure.low is None else f"{_number(figure.low)} to {_number(figure.high)}",
                    "" if baseline is None else f"{named} {_number(baseline.value)}",
                    "; ".join(
                        f"{other.name} {other.value}" + (f" ({other.on})" if other.on else "")
                        for other in result.comparables
                        if other.metric == name
                    ),
                )
            )
    table(lines, ("task", "samples", "figure", "value", "95 %", "baseline", "others"))


@contextmanager
def counting(name: str) -> Iterator[Callable[[int, int], None]]:
    """A callback (done, total): a bar on a terminal, a plain line now and then elsewhere."""
    if not sys.stderr.isatty():
        yield _plain(name)
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn(name), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(name, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _plain(name: str) -> Callable[[int, int], None]:
    began = last = time.monotonic()

    def show(done: int, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done == total or now - last >= SECONDS_BETWEEN_LINES:
            last = now
            note(f"{name}: {done:,} of {total:,}, {now - began:.0f} s")

    return show


def _number(value: float | None) -> str:
    return "not scored" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.1f}"
