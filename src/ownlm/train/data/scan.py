"""The first pass: files are read once, and their documents are written to segments with digests and signatures."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ownlm.train.data.pieces import Piece
from ownlm.train.data.readers import NotText, clean, documents
from ownlm.train.data.segment import SEGMENT_BYTES, Segment, write_segment
from ownlm.train.data.source import Source


@dataclass(slots=True)
class Scanned:
    """What a piece held. ``read`` counts documents, empty ones too; ``cut`` the texts that became several documents;
    ``left_out`` the files of a folder that are no text."""

    piece: Piece
    segments: list[Segment] = field(default_factory=list)
    read: int = 0
    empty: int = 0
    cut: int = 0
    files: int = 0
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class Scan:
    """A task: reads a piece into segments under ``folder``. Same piece, same segments, wherever it runs."""

    sources: Sequence[Source]
    folder: Path
    seed: int
    near: bool

    def __call__(self, piece: Piece) -> Scanned:
        found = Scanned(piece)
        texts: list[bytes] = []
        size = 0
        for file in piece.files:
            start = len(texts), size, found.read, found.empty, found.cut, len(found.segments)
            try:
                for text, further in documents(file, self.sources[piece.source], piece.part):
                    found.read += 1
                    found.cut += further
                    if not text.strip():
                        found.empty += 1
                        continue
                    texts.append(clean(text))
                    size += len(texts[-1])
                    if size >= SEGMENT_BYTES:
                        self._write(found, texts)
                        texts, size = [], 0
            except NotText as error:
                if piece.given or len(found.segments) > start[-1]:
                    raise
                del texts[start[0] :]
                _, size, found.read, found.empty, found.cut, _ = start
                found.left_out.append(str(error))
                continue
            found.files += piece.part is None or piece.part[0] == 0
        if texts:
            self._write(found, texts)
        return found

    def _write(self, found: Scanned, texts: list[bytes]) -> None:
        stem = self.folder / f"{found.piece.rank:06}-{len(found.segments):06}"
        found.segments.append(write_segment(stem, found.piece.source, texts, self.seed, near=self.near))
