"""Progress of indexing: a bar on a terminal, a plain line now and then elsewhere. Always on stderr."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ownlm.cli.output import counted, note

if TYPE_CHECKING:
    from ownlm.rag.types import Progress, SyncReport

SECONDS_BETWEEN_LINES = 5.0
LISTED_FILES = 10


@contextmanager
def indexing_progress() -> Iterator[Callable[[Progress], None]]:
    """A callback that shows documents, chunks and time left."""
    if not sys.stderr.isatty():
        yield _plain_lines()
        return
    from rich.console import Console
    from rich.progress import BarColumn, TextColumn
    from rich.progress import Progress as Bar

    columns = (
        TextColumn("Indexing"),
        BarColumn(),
        TextColumn(
            "{task.completed:.0f}/{task.total:.0f} documents  {task.fields[chunks]} chunks  {task.fields[left]}"
        ),
        TextColumn("[dim]{task.fields[current]}", markup=True),
    )
    with Bar(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task("", total=1, chunks=0, left="", current="", visible=False)

        def show(step: Progress) -> None:
            left = "" if step.seconds_left is None else f"{_duration(step.seconds_left)} left"
            current = step.current.rsplit("/", 1)[-1].replace("[", r"\[")
            bar.update(
                task,
                total=step.total,
                completed=step.done,
                chunks=step.chunks,
                left=left,
                current=current,
                visible=True,
            )

        yield show


def _plain_lines() -> Callable[[Progress], None]:
    last = time.monotonic()

    def show(step: Progress) -> None:
        nonlocal last
        if time.monotonic() - last < SECONDS_BETWEEN_LINES:
            return
        last = time.monotonic()
        left = "" if step.seconds_left is None else f", {_duration(step.seconds_left)} left"
        note(f"indexing: {step.done}/{step.total} documents, {counted(step.chunks, 'chunk')}{left}")

    return show


def _duration(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02} s" if minutes else f"{rest} s"


def report(result: SyncReport, *, quiet_when_unchanged: bool = False) -> None:
    """What indexing did, on stderr: counts, then the files left out, and why."""
    changed = result.added or result.updated or result.removed
    if changed or not quiet_when_unchanged:
        parts = [f"{count:,} {word}" for count, word in _counts(result) if count] or ["nothing found"]
        note(f"indexed: {', '.join(parts)}; {counted(result.chunks, 'chunk')} in {result.seconds:.1f} s")
        for skipped in result.skipped[:LISTED_FILES]:
            note(f"  left out {skipped.name}: {skipped.reason}")
        if len(result.skipped) > LISTED_FILES:
            note(f"  and {len(result.skipped) - LISTED_FILES:,} more: ownlm index add --json names them all")
    for text in result.notes:
        note(f"  note: {text}")


def _counts(result: SyncReport) -> list[tuple[int, str]]:
    return [
        (result.added, "added"),
        (result.updated, "updated"),
        (result.unchanged, "unchanged"),
        (result.removed, "removed"),
        (len(result.skipped), "left out"),
    ]
