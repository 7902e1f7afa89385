"""Answers over hand-made documents: the right words, from the right place, or none at all."""

from __future__ import annotations

import dataclasses
import json
import time
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from answering_support import DOCUMENTS, encoder, filled, reader
from ownlm.errors import InvalidSetting, NotFound
from ownlm.rag import ledger
from ownlm.rag.answer import EMPTY, NOTHING, Settings, answer
from ownlm.rag.ledger_redaction import REMOVED
from ownlm.rag.store import Store
from ownlm.rag.texts import put_texts
from ownlm.rag.types import Answer, Extracted

ALWAYS = Settings(threshold=0.0)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Store]:
    with filled(tmp_path_factory.mktemp("home")) as store:
        yield store


def ask(store: Store, question: str, **rest) -> Answer:
    given = answer(store, encoder(), reader(), question, **rest)
    check(store, given)
    return given


def check(store: Store, given: Answer) -> None:
    """Whatever the answer, its parts agree with each other and with the documents."""
    assert given.abstained == (not given.claims)
    for claim in given.claims:
        assert claim.text == given.answer[claim.start : claim.end] and claim.verdict == "supported"
        for citation in claim.citations:
            text = store.text(store.document(citation.document).id)
            assert citation.quote == text[citation.start : citation.end] == claim.text
    for passage in given.passages:
        assert passage.text == store.text(passage.document_id)[passage.start : passage.end]
    quoted = "".join(claim.text for claim in given.claims)
    assert len(quoted) <= 500
    json.dumps(given.to_dict())


@pytest.mark.parametrize(
    ("question", "words", "document"),
    [
        ("What does a lost key cost?", "£40", "/papers/rules.md"),
        ("How much is the salt pig?", "£24.50", "/papers/prices.csv"),
        ("How many tea pots are in stock?", "In stock: 0", "/papers/prices.csv"),
        ("Who inspected the roof?", "Harker Ltd", "/papers/minutes.txt"),
        ("When was the roof inspected?", "12 April 2024", "/papers/minutes.txt"),
        ("Who was elected chair?", "Carl Dent", "/papers/minutes.txt"),
        ("When is the front door locked?", "22:00", "/papers/rules.md"),
    ],
)
def test_the_sentence_that_answers_is_quoted(store: Store, question: str, words: str, document: str) -> None:
    given = ask(store, question)
    assert not given.abstained
    first = given.claims[0].citations[0]
    assert words in given.answer and first.document == document
    assert 0 < given.confidence <= 1 and given.mode == "extract"


def test_a_citation_tells_the_heading(store: Store) -> None:
    citation = ask(store, "What does a lost key cost?").claims[0].citations[0]
    assert citation.heading == ("Keys",) and citation.title == "House rules"


def test_documents_that_disagree_are_both_quoted_with_their_dates(store: Store) -> None:
    given = ask(store, "How much is the annual membership fee?")
    assert "£60" in given.answer and "£75" in given.answer
    (note,) = given.notes
    assert note.index("membership-2025.txt (2025)") < note.index("membership-2022.txt (2022)")


@pytest.mark.parametrize(
    "question",
    ["What is the boiling point of mercury?", "Who won the cup final in 1966?", "How do I renew a Peruvian passport?"],
)
def test_what_the_documents_do_not_say_is_not_answered(store: Store, question: str) -> None:
    given = ask(store, question)
    assert given.abstained and given.answer == NOTHING and given.claims == ()
    assert given.passages and given.confidence < 0.5


def test_nothing_to_answer_from(tmp_path) -> None:
    with Store.open(tmp_path) as empty:
        given = ask(empty, "What does a lost key cost?")
        assert given.abstained and given.answer == EMPTY and given.passages == () and given.confidence == 0


def test_scope_and_usage(store: Store) -> None:
    only = store.document("/papers/minutes.txt").id
    given = ask(store, "What does a lost key cost?", documents=[only], settings=ALWAYS)
    assert {c.document for claim in given.claims for c in claim.citations} <= {"/papers/minutes.txt"}
    assert given.usage["documents"] == 1
    assert set(given.timings) == {"retrieve", "extract", "total"}


@pytest.mark.parametrize("question", ["", " \n", "why " * 2500])
def test_bad_questions_raise_and_leave_no_entry(store: Store, question: str) -> None:
    before = ledger.count(store)
    with pytest.raises(InvalidSetting):
        answer(store, encoder(), reader(), question)
    assert ledger.count(store) == before


@pytest.mark.parametrize(
    "wrong", [{"passages": 0}, {"sentences": -1}, {"characters": 0}, {"threshold": 1.5}, {"threshold": float("nan")}]
)
def test_settings_are_checked(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidSetting) as error:
        Settings(**wrong)  # type: ignore[arg-type]
    assert next(iter(wrong)) in str(error.value)


def test_stages_are_reported_in_order(store: Store) -> None:
    seen: list[str] = []
    ask(store, "lost key", on_event=lambda stage, data: seen.append(stage))
    assert seen == ["retrieving", "reading"]


LISTED = "key lock fee £40 May 2024 the a is of Ann chair café \U0001f511 e\u0301 | : . ! ?"
WORD = st.sampled_from([*LISTED.split(), "\n", "\n\n"])
TEXT = st.lists(WORD, min_size=1, max_size=80).map(" ".join)


@settings(deadline=None, max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    texts=st.lists(TEXT, min_size=1, max_size=3), question=st.sampled_from(["lost key?", "Who is the chair?", "fee"])
)
def test_quotations_are_exact_whatever_the_document(tmp_path_factory, texts: list[str], question: str) -> None:
    documents = [(f"/{n}.txt", Extracted(text, "T", "text/plain")) for n, text in enumerate(texts)]
    with Store.open(tmp_path_factory.mktemp("home")) as store:
        put_texts(store, encoder(), documents)
        ask(store, question, settings=ALWAYS)


# -- the ledger ------------------------------------------------------------------------------------------------


def test_every_answer_is_entered_whole(store: Store) -> None:
    given = ask(store, "What does a lost key cost?")
    entry = ledger.show(store, given.ledger_id)
    assert entry.answer == json.loads(json.dumps(given.to_dict()))
    assert entry.question == given.question and entry.abstained is False
    assert entry.settings == {**dataclasses.asdict(Settings()), "documents": None, "reader": reader().fingerprint}
    assert entry.fingerprint == encoder().fingerprint and abs(entry.created - time.time()) < 60
    assert entry.answer["timings"] and entry.answer["passages"]


def test_entries_are_listed_newest_first_and_by_pages(tmp_path) -> None:
    with filled(tmp_path) as store:
        ids = [ask(store, f"key {n}").ledger_id for n in range(4)]
        assert [entry.id for entry in ledger.list_entries(store)] == ids[::-1]
        assert [entry.id for entry in ledger.list_entries(store, 2, 1)] == ids[::-1][1:3]
        assert ledger.count(store) == 4
        for limit, offset in ((0, 0), (1, -1)):
            with pytest.raises(InvalidSetting):
                ledger.list_entries(store, limit, offset)


def test_an_unknown_entry(store: Store) -> None:
    with pytest.raises(NotFound, match="nope"):
        ledger.show(store, "nope")


def test_a_removed_document_leaves_the_ledger_with_its_words(tmp_path) -> None:
    with filled(tmp_path) as store:
        kept = ask(store, "Who inspected the roof?")
        given = ask(store, "How much is the annual membership fee?")
        store.remove([store.document("/papers/membership-2025.txt").id])
        entry = ledger.show(store, given.ledger_id).answer
        assert "£75" not in json.dumps(entry, ensure_ascii=False) and "£60" in entry["answer"]
        assert REMOVED in entry["answer"]
        for claim in entry["claims"]:
            assert entry["answer"][claim["start"] : claim["end"]] == claim["text"]
        old = next(c for claim in given.claims for c in claim.citations if "2025" in c.document)
        new = next(c for claim in entry["claims"] for c in claim["citations"] if "2025" in c["document"])
        assert (new["start"], new["end"], new["quote"]) == (old.start, old.end, "") and len(new["sha256"]) == 64
        answered = ledger.show(store, kept.ledger_id).answer
        assert answered["answer"] == kept.answer
    assert set(DOCUMENTS) >= {"/papers/membership-2025.txt"}
