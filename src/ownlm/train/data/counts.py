"""What became of every document, by source."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from ownlm.train.data import duplicates
from ownlm.train.data.manifest import SourceCounts
from ownlm.train.data.scan import Scanned
from ownlm.train.data.segment import Table
from ownlm.train.data.source import Source


def source_counts(
    sources: Sequence[Source],
    scanned: Sequence[Scanned],
    table: Table,
    states: duplicates.States,
    totals: npt.NDArray[np.int64],
) -> list[SourceCounts]:
    """The manifest's account of each source. ``totals``: documents, bytes and tokens that were written, by source."""
    found = []
    for rank, source in enumerate(sources):
        mine = [one for one in scanned if one.piece.source == rank]
        digest = hashlib.sha256()
        by_state = np.zeros(4, np.int64)
        for place, segment in enumerate(table.segments):
            if segment.source == rank:
                digest.update(np.ascontiguousarray(table.mapped(place, "rows")["digest"]).tobytes())
                mark = states[segment.first : segment.first + segment.documents]
                by_state += np.bincount(mark, minlength=4)
        documents, size, tokens = totals[rank].tolist()
        found.append(SourceCounts(
            source.name, source.licence, source.weight, source.split,
            files=sum(one.files for one in mine), files_left_out=sum(len(one.left_out) for one in mine),
            read=sum(one.read for one in mine), read_bytes=sum(part.bytes for one in mine for part in one.segments),
            empty=sum(one.empty for one in mine), cut=sum(one.cut for one in mine),
            duplicates_exact=int(by_state[duplicates.EXACT]), duplicates_near=int(by_state[duplicates.NEAR]),
            left_out=int(by_state[duplicates.LEFT_OUT]), kept=int(by_state[duplicates.KEPT]),
            documents=documents, bytes=size, tokens=tokens, sha256=digest.hexdigest(),
        ))  # fmt: skip
    return found
