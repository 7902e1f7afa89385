"""Retrieval over a real store: order, scope, notes, and questions of every sort."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from answering_support import encoder, filled
from ownlm.errors import InvalidSetting
from ownlm.rag.retrieve import Retriever
from ownlm.rag.store import Store
from ownlm.rag.types import Extracted


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with filled(tmp_path_factory.mktemp("home")) as store:
        yield store


@pytest.fixture
def retriever(store: Store) -> Retriever:
    return Retriever(store, encoder())


@pytest.mark.parametrize(
    ("question", "document"),
    [
        ("What does a lost key cost?", "/papers/rules.md"),
        ("How much is the salt pig?", "/papers/prices.csv"),
        ("Who inspected the roof?", "/papers/minutes.txt"),
        ("fees for members in 2025", "/papers/membership-2025.txt"),
    ],
)
def test_the_right_document_comes_first(retriever: Retriever, question: str, document: str) -> None:
    found = retriever.retrieve(question)
    assert found.passages[0].document == document
    scores = [passage.score for passage in found.passages]
    assert scores == sorted(scores, reverse=True) and not found.notes


def test_the_same_question_gives_the_same_passages(retriever: Retriever) -> None:
    assert retriever.retrieve("membership fee").passages == retriever.retrieve("membership fee").passages


def test_scope_holds_for_both_lists(retriever: Retriever, store: Store) -> None:
    only = store.document("/papers/minutes.txt").id
    found = retriever.retrieve("What does a lost key cost?", 10, {only})
    assert {passage.document_id for passage in found.passages} == {only}
    assert retriever.retrieve("key", 10, set()).passages == ()


def test_limit(retriever: Retriever) -> None:
    assert len(retriever.retrieve("membership fee", 1).passages) == 1
    with pytest.raises(InvalidSetting):
        retriever.retrieve("membership fee", 0)


def test_what_looks_like_a_search_expression_is_taken_literally(retriever: Retriever) -> None:
    for question in ('"key" OR NOT (', "key*", "NEAR(key, 2)", "title:key", "a AND b", "x'; DROP TABLE words; --"):
        retriever.retrieve(question)


def test_a_very_long_question_says_what_was_read(retriever: Retriever) -> None:
    (note,) = retriever.retrieve("lost key " * 200).notes
    assert "first 254" in note


def test_a_language_that_the_encoder_does_not_know(tmp_path) -> None:
    foreign = {
        "/ja.txt": Extracted("会長は山田花子です。任期は二年です。", "規則", "text/plain"),
        "/ru.txt": Extracted("Председатель общества живёт в Казани.", "Устав", "text/plain"),
        "/en.txt": Extracted("The chair is Ann. She serves for two years.", "Rules", "text/plain"),
    }
    with filled(tmp_path, foreign) as store:
        for question, document in (("会長は誰ですか", "/ja.txt"), ("Кто председатель общества?", "/ru.txt")):
            found = Retriever(store, encoder()).retrieve(question)
            assert found.passages[0].document == document
            assert "language" in found.notes[0]


def test_an_empty_index(tmp_path) -> None:
    with filled(tmp_path, {}) as store:
        found = Retriever(store, encoder()).retrieve("Anything?")
        assert found.passages == () and found.considered == 0
