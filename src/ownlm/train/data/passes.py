"""What builds and surveys share: a run with its working folder, and the passes up to the duplicates."""

from __future__ import annotations

import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO, Literal

import numpy as np

from ownlm.errors import DiskFull, InvalidData, InvalidSetting
from ownlm.train.data import duplicates, readers
from ownlm.train.data.executors import FULL, Executor, Inline, Processes
from ownlm.train.data.pieces import pieces
from ownlm.train.data.scan import Scan, Scanned
from ownlm.train.data.segment import Table
from ownlm.train.data.source import STDIN, BuildSettings, Source, check_names

Progress = Callable[[str, int, int], None]
Note = Callable[[str], None]


@dataclass(frozen=True, slots=True)
class Run:
    """What all passes share."""

    sources: Sequence[Source]
    settings: BuildSettings
    folder: Path
    executor: Executor
    progress: Progress
    note: Note


def unheard(*_: object) -> None:
    """Progress that nobody looks at, a note that nobody reads."""


@contextmanager
def opened(
    sources: Sequence[Source],
    settings: BuildSettings,
    near: Path,
    workers: int,
    executor: Executor | None,
    progress: Progress,
    note: Note,
) -> Iterator[Run]:
    """A run whose working folder stands in ``near`` if that exists, else beside it, and is gone at the end.

    Raises DiskFull, and InvalidSetting where no folder can be made.
    """
    check_names(sources)
    if workers < 1:
        raise InvalidSetting("workers", workers, "give at least 1")
    chosen = executor or (Inline() if workers == 1 else Processes(workers))
    work: Path | None = None
    try:
        work = _working_folder(near)
        yield Run(_spooled(sources, work), settings, work, chosen, progress, note)
    except OSError as error:
        if error.errno in FULL:
            raise DiskFull(near) from None
        raise
    finally:
        if executor is None:
            chosen.close()
        if work is not None:
            shutil.rmtree(work, ignore_errors=True)


def _working_folder(near: Path) -> Path:
    try:
        parent = near if near.is_dir() else near.parent
        parent.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=f".{near.name}.", dir=parent))
    except OSError as error:
        if error.errno in FULL:
            raise
        raise InvalidSetting("out", str(near), f"no folder can be made there ({error.strerror})") from None


def _spooled(sources: Sequence[Source], work: Path) -> list[Source]:
    """The sources by absolute paths; what can be read only once (standard input, a pipe) is copied to a file."""
    found = []
    for rank, source in enumerate(sources):
        path = Path(source.path).absolute()
        if source.path == STDIN or path.is_fifo():
            path = work / f"stream {rank}"
            with path.open("wb") as file, _stream(source.path) as stream:
                shutil.copyfileobj(stream, file, 1 << 20)
            source = replace(source, format=source.format or readers.format_of_content(path))
        found.append(replace(source, path=path))
    return found


@contextmanager
def _stream(path: Path | Literal["-"]) -> Iterator[IO[bytes]]:
    if path == STDIN:
        yield sys.stdin.buffer
    else:
        with Path(path).open("rb") as file:
            yield file


def scan(run: Run) -> list[Scanned]:
    """Read everything. Raises InvalidData for a source without text."""
    todo = pieces(run.sources)
    task = Scan(run.sources, run.folder, run.settings.seed, run.settings.near is not None)
    found: list[Scanned] = []
    for scanned in run.executor.map(task, todo):
        found.append(scanned)
        run.progress("reading", len(found), len(todo))
    number = 0
    for scanned in found:
        for rank, segment in enumerate(scanned.segments):
            scanned.segments[rank] = replace(segment, first=number)
            number += segment.documents
    for rank, source in enumerate(run.sources):
        mine = [scanned for scanned in found if scanned.piece.source == rank]
        left_out = [reason for scanned in mine for reason in scanned.left_out]
        if left_out:
            run.note(f"source {source.name}: {len(left_out)} files are no text and left out, such as {left_out[0]}")
        if not any(scanned.segments for scanned in mine):
            raise InvalidData(
                f"source {source.name} ({source.path})", "has no text in it", "give another file or folder"
            )
        if cut := sum(scanned.cut for scanned in mine):
            run.note(f"source {source.name}: long texts were cut at paragraphs, {cut} times")
    return found


def deduplicated(run: Run, scanned: Sequence[Scanned]) -> tuple[Table, duplicates.States]:
    """All documents, and of each whether it is kept."""
    table = Table([segment for found in scanned for segment in found.segments])
    states = np.full(table.documents, duplicates.KEPT, np.uint8)
    if run.settings.exact or run.settings.near is not None:
        duplicates.mark_exact(table, states)
    if run.settings.near is not None:
        path = run.folder / "states.npy"
        with path.open("wb") as file:
            np.save(file, states, allow_pickle=False)
        task = duplicates.Pairs(table.segments, path, run.settings.near)
        bands = duplicates.bands(table.documents)
        pairs, crowded = np.empty((0, 2), np.int64), 0
        for done, (found, left) in enumerate(run.executor.map(task, bands), 1):
            pairs = duplicates.grouped(np.concatenate([pairs, found]))  # at most one for each document, in any order
            crowded += left
            run.progress("comparing", done, len(bands))
        if crowded:
            run.note(f"{crowded} groups hold too many alike documents to compare all: some near duplicates may remain")
        states[pairs[:, 1]] = duplicates.NEAR
    return table, states
