"""What one task reads: several small files, one file, or a part of a large file of rows."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

from ownlm.train.data.readers import rows_of_bytes
from ownlm.train.data.source import Source

PIECE_BYTES = 32 << 20
"""Small files are read together, up to so many bytes."""
PIECE_FILES = 4096
PART_BYTES = 128 << 20
"""Rows that are not compressed are read in parts of about this size."""


@dataclass(frozen=True, slots=True)
class Piece:
    """Files of one source, in order. ``given``: named by the user, not found in a folder. ``part``: of its one file the
    rows that start from the first to before the second byte."""

    rank: int
    source: int
    files: tuple[Path, ...]
    given: bool
    part: tuple[int, int] | None = None


def pieces(sources: Sequence[Source]) -> list[Piece]:
    """All the files, validation sources first: of two like documents the first is kept. Raises NotFound."""
    found: list[Piece] = []
    for rank in sorted(range(len(sources)), key=lambda rank: sources[rank].split != "valid"):
        given = not Path(sources[rank].path).is_dir()
        for files, part in _groups(sources[rank]):
            found.append(Piece(len(found), rank, files, given, part))
    return found


def _groups(source: Source) -> Iterator[tuple[tuple[Path, ...], tuple[int, int] | None]]:
    group: list[Path] = []
    size = 0
    for file in source.files():
        more = file.stat().st_size
        if group and (size + more > PIECE_BYTES or len(group) >= PIECE_FILES):
            yield tuple(group), None
            group, size = [], 0
        if more > PART_BYTES and rows_of_bytes(file, source):
            count = -(-more // PART_BYTES)
            yield from (((file,), part) for part in pairwise(more * rank // count for rank in range(count + 1)))
        else:
            group.append(file)
            size += more
    if group:
        yield tuple(group), None
