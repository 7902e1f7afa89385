"""Reciprocal rank fusion and what a candidate's score is made of."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from ownlm.rag.features import PASSAGE
from ownlm.rag.fusion import CONSTANT, reciprocal_ranks
from ownlm.rag.query import read_query
from ownlm.rag.rerank import Candidate, Rarity, passage_features, read_sentences
from ownlm.rag.types import Passage

LISTS = st.lists(st.lists(st.integers(0, 30), unique=True, max_size=15), max_size=4)


@given(LISTS)
def test_every_item_comes_out_once_and_in_order_of_its_score(lists: list[list[int]]) -> None:
    fused = reciprocal_ranks(lists)
    assert sorted(item for item, _ in fused) == sorted({item for items in lists for item in items})
    assert all(a >= b for (_, a), (_, b) in pairwise(fused))
    for item, score in fused:
        expected = sum(1 / (CONSTANT + items.index(item) + 1) for items in lists if item in items)
        assert abs(score - expected) < 1e-12


@given(st.lists(st.integers(), unique=True, min_size=1))
def test_one_list_keeps_its_order(items: list[int]) -> None:
    assert [item for item, _ in reciprocal_ranks([items])] == items
    assert [item for item, _ in reciprocal_ranks([items, items])] == items


@given(st.lists(st.integers(0, 9), unique=True, min_size=2), st.lists(st.integers(10, 19), unique=True))
def test_what_two_lists_hold_is_above_what_one_holds_at_the_same_rank(first: list[int], rest: list[int]) -> None:
    shared = first[0]
    fused = dict(reciprocal_ranks([first, [shared, *rest]]))
    assert all(fused[shared] > score for item, score in fused.items() if item != shared)


def candidate(text: str, title: str = "", cosine: float = 0.5, bm25: float = 1.0) -> Candidate:
    passage = Passage(1, "/d", title, 10, 10 + len(text), text, 0.0)
    spans = [(10, 10 + len(text))]
    above = frozenset(title.lower().split())
    return Candidate(1, passage, bm25, cosine, above, read_sentences(text, 10, spans, [cosine]))


def test_covering_more_of_the_question_gives_more_of_every_sign() -> None:
    query = read_query("workshop opening hours")
    rarity = Rarity.count(query.terms, dict.fromkeys(query.terms, 3), 50)
    whole = passage_features(query, rarity, candidate("The workshop opening hours are long."))
    part = passage_features(query, rarity, candidate("The workshop is cold."))
    none = passage_features(query, rarity, candidate("Nothing of the kind."))
    assert len(whole) == len(PASSAGE)
    names = dict(zip(PASSAGE, zip(whole, part, none, strict=True), strict=True))
    for name in ("coverage", "sentence_coverage"):
        assert names[name][0] > names[name][1] > names[name][2] == 0
    assert names["pairs"][0] > names["pairs"][1] == 0
    assert all(0 <= value <= 1.01 for value in whole)


def test_rare_terms_count_more_than_common_ones() -> None:
    rarity = Rarity.count(("fee", "kiln"), {"fee": 90, "kiln": 2}, 100)
    assert rarity.coverage({"kiln"}) > 0.9
    assert Rarity.count(("x",), {}, 10).unknown == 1.0
    assert Rarity.count((), {}, 0).coverage(set()) == 0.0
