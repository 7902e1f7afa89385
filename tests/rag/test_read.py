"""Reading: scores of sentences go into their candidates, bounded."""

from __future__ import annotations

import dataclasses

import numpy as np

from ownlm.engine.reader import Shown
from ownlm.rag.query import read_query
from ownlm.rag.read import read
from ownlm.rag.rerank import Candidate, Sentence
from ownlm.rag.types import Passage

TEXT = "Open at nine. Closed on Sundays."


class FakeReader:
    def __init__(self) -> None:
        self.seen: list[Shown] = []

    def read(self, question: str, passages: list[Shown]) -> list[np.ndarray]:
        self.seen = passages
        return [np.array([3.0, -99.0], np.float32) for _ in passages]


def candidate() -> Candidate:
    passage = Passage(1, "/d.md", "Hours", 100, 100 + len(TEXT), TEXT, 1.0, heading=("Week",))
    spans = [(0, 13), (14, len(TEXT))]
    found = tuple(Sentence(100 + a, 100 + b, TEXT[a:b], ("x",), 0.1) for a, b in spans)
    return Candidate(7, passage, 0.0, 0.0, frozenset(), found)


def test_scores_are_bounded_and_in_order() -> None:
    reader = FakeReader()
    (found,) = read(reader, read_query("When do you open?"), [candidate()])  # type: ignore[arg-type]
    assert found.read == (0.25, -1.0)
    assert reader.seen == [Shown("Hours > Week", TEXT, ((0, 13), (14, len(TEXT))))]
    assert dataclasses.replace(found, read=()) == candidate()


def test_in_a_language_that_it_does_not_know_nothing_changes() -> None:
    assert read(
        FakeReader(), read_query("Wann öffnet die Werkstatt am Sonntag für die Mitglieder?"), [candidate()]
    ) == (  # type: ignore[arg-type]
        candidate(),
    )
