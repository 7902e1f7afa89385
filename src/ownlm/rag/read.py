"""Reading: a cross-encoder looks at question and passage together, and scores every sentence."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ownlm.rag.query import Query
from ownlm.rag.rerank import Candidate

if TYPE_CHECKING:
    from ownlm.engine.reader import Reader

_CEILING = 12.0
"""Scores beyond are as sure as they get; in units of the features, 1."""


def read(reader: Reader, query: Query, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """The candidates with their sentences' scores, from -1 to 1; as they were where the question's language is not
    known to the reader."""
    if not query.known_language:
        return tuple(candidates)
    from ownlm.engine.reader import Shown

    shown = [
        Shown(
            " > ".join(part for part in (candidate.passage.title, *candidate.passage.heading) if part),
            candidate.passage.text,
            tuple((s.start - candidate.passage.start, s.end - candidate.passage.start) for s in candidate.sentences),
        )
        for candidate in candidates
    ]
    return tuple(
        dataclasses.replace(candidate, read=tuple(max(-1.0, min(1.0, float(score) / _CEILING)) for score in scores))
        for candidate, scores in zip(candidates, reader.read(query.text, shown), strict=True)
    )
