"""Choosing what to quote: budgets, joining, cutting; and every quotation is what stands in the document."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.rag.clip import clip
from ownlm.rag.extract import Quote, select
from ownlm.rag.query import read_query
from ownlm.rag.rerank import Candidate, Rarity, Sentence, read_sentences
from ownlm.rag.sentence_features import Option, options
from ownlm.rag.sentences import sentences
from ownlm.rag.stem import stems
from ownlm.rag.types import Passage

QUERY = read_query("How much is a lost key?")
RARITY = Rarity.count(QUERY.terms, {}, 10)


def candidate(text: str, offset: int = 0, document: int = 1) -> Candidate:
    passage = Passage(document, f"/{document}", "", offset, offset + len(text), text, 1.0)
    spans = [(a + offset, b + offset) for a, b in sentences(text)]
    return Candidate(document, passage, 0.0, 0.0, frozenset(), read_sentences(text, offset, spans, [0.0] * len(spans)))


def ranked(*scored: tuple[Candidate, int, float]) -> list[Option]:
    return sorted((Option(c, i, (), score) for c, i, score in scored), key=lambda o: -o.score)


def test_neighbours_are_joined_into_one_quotation() -> None:
    one = candidate("First thing. Second thing. Third thing. Fourth thing.", 7)
    (quote,) = select(QUERY, ranked((one, 0, 3.0), (one, 2, 2.5), (one, 1, 2.0)), gap=5)
    assert (quote.start, quote.end, quote.text) == (7, 46, "First thing. Second thing. Third thing.")


def test_two_places_are_two_quotations_best_first() -> None:
    one, two = candidate("The fee is ten pounds."), candidate("Pay it in May.", 3, document=2)
    quotes = select(QUERY, ranked((one, 0, 1.0), (two, 0, 2.0)), gap=5)
    assert [quote.passage.document for quote in quotes] == ["/2", "/1"]


def test_what_is_far_below_the_best_and_what_was_said_is_left_out() -> None:
    one, same, far = (
        candidate("Keys cost £40."),
        candidate("Keys cost £40.", document=2),
        candidate("Rain.", document=3),
    )
    quotes = select(QUERY, ranked((one, 0, 9.0), (same, 0, 8.0), (far, 0, 1.0)), gap=3)
    assert [quote.passage.document for quote in quotes] == ["/1"]


def test_a_sentence_beyond_the_budget_is_cut_to_what_was_asked() -> None:
    row = " | ".join([f"Column {n}: {'x' * 40}" for n in range(20)] + ["Key: £40"] + ["More: y"] * 3)
    (quote,) = select(QUERY, ranked((candidate(row, 5), 0, 1.0)), gap=1, characters=120)
    assert "Key: £40" in quote.text and len(quote.text) <= 120
    assert quote.text == row[quote.start - 5 : quote.end - 5]


TEXTS = st.lists(
    st.text(st.sampled_from("abc key £40.?!\n |:\u00e9\U0001f511"), min_size=1, max_size=120), min_size=1, max_size=4
)


@settings(deadline=None)
@given(TEXTS, st.integers(1, 5), st.integers(1, 200), st.randoms(use_true_random=False))
def test_quotations_are_exact_and_within_budget(texts: list[str], count: int, budget: int, rng) -> None:
    documents = {n: "…" * n + text for n, text in enumerate(texts)}
    candidates = [candidate(text, n, document=n) for n, text in enumerate(texts)]
    found = [Option(o.candidate, o.index, o.features, rng.random()) for o in options(QUERY, RARITY, candidates)]
    quotes = select(QUERY, sorted(found, key=lambda o: -o.score), gap=9, sentences=count, characters=budget)
    for quote in quotes:
        assert quote.text == documents[quote.passage.document_id][quote.start : quote.end] and quote.text.strip()
    assert sum(len(quote.text) for quote in quotes) <= budget
    spans = sorted((quote.passage.document_id, quote.start, quote.end) for quote in quotes)
    assert all(a[0] != b[0] or a[2] <= b[1] for a, b in pairwise(spans))
    if any(stems(option.sentence.text) for option in found):  # words, that is, and not punctuation alone
        assert quotes


@given(st.text(max_size=300), st.integers(1, 100))
def test_clipping_gives_a_span_that_fits(text: str, limit: int) -> None:
    start, end = clip(text, {"key"}, limit)
    assert 0 <= start <= end <= len(text) and end - start <= max(limit, 0)
    assert start < end or not text.strip()


def test_types_used_here_stay_comparable() -> None:
    passage = candidate("One.").passage
    assert Quote(passage, 0, 4, "One.", 1.0) == Quote(passage, 0, 4, "One.", 1.0)
    assert Sentence(0, 4, "One.", ("on",), 0.0) == Sentence(0, 4, "One.", ("on",), 0.0)
