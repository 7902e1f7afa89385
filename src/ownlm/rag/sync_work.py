"""From a file to a version of a document that can be swapped in, but for its vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Protocol

import numpy as np

from ownlm.errors import DocumentError, NotFound
from ownlm.rag import chunk
from ownlm.rag.chunk_language import foreign_passages
from ownlm.rag.readers import ReaderPool, snapshot
from ownlm.rag.sentences import sentences
from ownlm.rag.store import FileState, Store, Version
from ownlm.rag.store import files as store_files
from ownlm.rag.store.vectors import Floats
from ownlm.rag.sync_plan import Task
from ownlm.rag.types import Extracted

Spans = Sequence[tuple[int, int]]
RECIPE = f"chunks 1 {chunk.LIMIT} {chunk.TARGET} {chunk.PREFIX}"
"""How chunks are made; a document made otherwise is made again. Raise the first number when the rules change."""
_MENTION = 0.1
"""The share of a document's characters in unknown languages from which a note says so."""


class Encoder(chunk.Tokens, Protocol):
    """What indexing needs of an embedder; ``ownlm.engine.embedder.Embedder`` is one."""

    dimension: int
    fingerprint: str

    def encode_spans(self, texts: Sequence[str], spans: Sequence[Spans]) -> tuple[Floats, list[Floats]]:
        """Unit vectors [texts, dimension], and for each text those of its spans [spans, dimension]."""


@dataclass(frozen=True, slots=True)
class Prepared:
    """A version without vectors; for each of its chunks the text to embed, and where its sentences are in it."""

    version: Version
    texts: list[str]
    spans: list[Spans]


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a file cannot be read; ``lasting`` when that will be so until the file changes."""

    reason: str
    lasting: bool


def recipe(encoder: Encoder) -> str:
    """What makes a document's chunks and vectors: another recipe, another version."""
    return f"{RECIPE} {encoder.fingerprint}"


def prepare(task: Task, store: Store, pool: ReaderPool, encoder: Encoder) -> Prepared | FileState | Refusal:
    """Read and chunk a file; its state alone when its bytes are the indexed ones; or why it cannot be read."""
    with store.reading() as connection:
        now = store_files.indexed(connection, task.name).get(task.name)
    if now is not None and now.state == task.state and now.recipe == recipe(encoder):
        return now.state  # another indexer was here
    if now is not None and now.state == task.state:  # only the recipe changed: the text is in the store
        try:
            return _chunked(task, task.state, now.sha256, store.extracted(now.id), encoder)
        except NotFound:
            pass  # removed this moment, but the file is there
    try:
        shot = snapshot(task.path, pool.limits)
    except DocumentError as error:  # of access: it may be mended without a change to the file
        return Refusal(str(error), lasting=False)
    state = FileState(shot.size, shot.mtime_ns, task.state.inode, shot.settled)
    if now is not None and (now.sha256, now.recipe) == (shot.sha256, recipe(encoder)):
        return state
    try:
        return _chunked(task, state, shot.sha256, pool.parse(shot), encoder)
    except DocumentError as error:
        return Refusal(str(error), lasting=shot.settled)


def _chunked(task: Task, state: FileState, sha256: str, extracted: Extracted, encoder: Encoder) -> Prepared:
    found = chunk.chunks(extracted, encoder)
    bodies = [extracted.text[piece.start : piece.end] for piece in found]
    foreign, share = foreign_passages(bodies)
    notes = []
    if not found:
        notes.append("there is no text in it to search")
    if share >= _MENTION:
        part = "it is" if share > 0.9 else f"{sum(foreign)} of its {len(foreign)} passages are"
        notes.append(f"{part} in a language that the encoder does not know: found by letters and words, not by meaning")
    version = Version(
        name=task.name,
        state=state,
        sha256=sha256,
        extracted=extracted,
        chunks=found,
        vectors=np.empty((0, encoder.dimension), np.float32),
        fingerprint=encoder.fingerprint,
        recipe=recipe(encoder),
        foreign=foreign,
        notes=tuple(notes),
        sentences=[sentences(extracted.text, piece.start, piece.end) for piece in found],
    )
    texts, spans = list[str](), list[Spans]()
    for piece, body, inside in zip(found, bodies, version.sentences, strict=True):
        text = chunk.embedded_text(extracted.title, piece.heading, body, encoder)
        shift = len(text) - piece.end  # the chunk ends what is embedded
        texts.append(text)
        spans.append([(start + shift, end + shift) for start, end in inside])
    return Prepared(version, texts, spans)


def with_vectors(prepared: Prepared, vectors: Floats, sentence_vectors: Sequence[Floats]) -> Version:
    """The version, whole."""
    return replace(prepared.version, vectors=vectors, sentence_vectors=sentence_vectors)
