"""From a model's text to claims: where a claim ends, what is a quotation, and what is left out."""

from __future__ import annotations

import pytest

from ownlm.rag.generate.parse import Parsed, parse
from ownlm.rag.types import Passage

TEXTS = ["It is open. Yes! Open at nine.", "日本語の文書です"]
PASSAGES = [Passage(i, f"/d{i}", "", 50 * i, 50 * i + len(text), text, 1.0) for i, text in enumerate(TEXTS)]


def read(text: str, *, finished: bool = True, enforced: bool = False) -> Parsed:
    return parse(text, PASSAGES, finished=finished, enforced=enforced)


@pytest.mark.parametrize(
    "claims",
    [
        ["It says “Open at nine.” [1]. [2]"],
        ["It says “Yes!” [1] daily. [2]", "And 9.5 more! [1][2]"],
        ["“It is open.” [1]? [1]", "B. [2]"],
    ],
)
def test_a_stop_within_a_quotation_ends_no_claim(claims: list[str]) -> None:
    found = read(" ".join(claims), enforced=True)
    assert [claim.text for claim in found.claims] == claims and not found.unfinished
    assert all(claim.citations for claim in found.claims)


@pytest.mark.parametrize("cut", ["C", "C “Yes!” [1]", "C “Yes!", "C.", "C. ", "C. [1", ""])
def test_what_broke_off_is_left_out(cut: str) -> None:
    found = read(f"A. [1] {cut}".rstrip(), finished=False, enforced=True)
    assert found.text == "A. [1]" and found.unfinished == bool(cut)


@pytest.mark.parametrize("marks", ["“”", "„“", "„”", "«»", "»«", "「」", "『』", '""', "‘’"])
def test_quotations_of_every_spelling_are_checked(marks: str) -> None:
    good, bad = (f"They say {marks[0]}{said}{marks[1]} here. [1]" for said in ("Open at nine", "open at ten"))
    found = read(good)
    assert [claim.citations[0].quote for claim in found.claims] == ["Open at nine"]
    found = read(bad)
    assert not found.claims and found.dropped == 1


@pytest.mark.parametrize("text", ["They say “open. [1]", "They say open”. [1]", 'So " it is. [1]', "『開 です。 [1]"])
def test_a_mark_without_its_other_is_dropped(text: str) -> None:
    assert read(text).dropped == 1 and not read(text).claims


def test_an_apostrophe_is_no_quotation() -> None:
    assert read("It’s the makers’ key, and the maker's. [1]").dropped == 0


@pytest.mark.parametrize("cited", ["[1, 2]", "[1][2]", "[1] [2]", "【1】【2】", "[1; 2]"])
def test_lists_of_citations_are_read(cited: str) -> None:
    (claim,) = read(f"It is open. {cited}").claims
    assert [citation.document for citation in claim.citations] == ["/d0", "/d1"]


def test_a_wide_stop_ends_a_claim_too() -> None:
    found = read("「日本語」の文書。[2] 開館です。[1]")
    assert [len(claim.citations) for claim in found.claims] == [1, 1]
    assert [claim.citations[0].document for claim in found.claims] == ["/d1", "/d0"]
