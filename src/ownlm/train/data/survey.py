"""``survey``: what sources hold, before anything is built of them: sizes, lengths, duplicates."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from ownlm.train.data.counts import source_counts
from ownlm.train.data.executors import Executor
from ownlm.train.data.manifest import SourceCounts
from ownlm.train.data.passes import Note, Progress, deduplicated, opened, scan, unheard
from ownlm.train.data.source import BuildSettings, Source

QUANTILES = (0.0, 0.1, 0.5, 0.9, 1.0)


@dataclass(frozen=True, slots=True)
class Survey:
    """``counts``: documents by what became of them (nothing is written, so ``documents`` and ``tokens`` are 0).
    ``lengths``: UTF-8 bytes of the shortest, the 10 %, median, 90 % and longest document that is kept."""

    counts: SourceCounts
    kept_bytes: int
    lengths: tuple[int, ...]


def survey(
    sources: Sequence[Source],
    scratch: Path,
    settings: BuildSettings | None = None,
    *,
    workers: int = 1,
    executor: Executor | None = None,
    progress: Progress = unheard,
    note: Note = unheard,
) -> list[Survey]:
    """Read the sources and look for duplicates, in a working folder beside ``scratch``. Raises what ``build`` does."""
    with opened(sources, settings or BuildSettings(), scratch, workers, executor, progress, note) as run:
        scanned = scan(run)
        table, states = deduplicated(run, scanned)
        counts = source_counts(run.sources, scanned, table, states, np.zeros((len(sources), 3), np.int64))
        found = []
        for rank, one in enumerate(counts):
            sizes = [np.empty(0, np.uint64)]
            for place, segment in enumerate(table.segments):
                if segment.source == rank:
                    kept = states[segment.first : segment.first + segment.documents] == 0
                    sizes.append(table.mapped(place, "rows")["size"][kept])
            size = np.concatenate(sizes)
            lengths = np.quantile(size, QUANTILES, method="nearest").tolist() if len(size) else []
            found.append(Survey(one, int(size.sum()), tuple(map(int, lengths))))
        return found
