"""Chunks: spans that lose nothing, fit the encoder with what is embedded before them, and respect structure."""

from __future__ import annotations

import re
import time
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ownlm.rag.chunk import LIMIT, PREFIX, TARGET, chunks, embedded_text, prefix
from ownlm.rag.types import Chunk, Extracted, Mark


class Words:
    """Counts a word as one wordpiece, and a longer word as one for each six letters."""

    _PIECE = re.compile(r"\w{1,6}|[^\w\s]")

    def count_tokens(self, text: str) -> int:
        return len(self._PIECE.findall(text))

    def token_spans(self, text: str) -> list[tuple[int, int]]:
        return [match.span() for match in self._PIECE.finditer(text)]


@pytest.fixture(scope="module")
def wordpieces() -> Any:
    """The tokenizer of the model that ships."""
    from ownlm import hub
    from ownlm.tokenizer import Tokenizer

    class Wordpieces:
        def __init__(self) -> None:
            tokenizer = Tokenizer.load(hub.resolve(None))
            self.count_tokens, self.token_spans = tokenizer.count, tokenizer.offsets

    return Wordpieces()


def document(text: str, *headings: tuple[str, int], title: str = "", marks: tuple[Mark, ...] = ()) -> Extracted:
    """A document whose headings are the lines given, each with its level."""
    found, at = [], 0
    for line, level in headings:
        at = text.index(line, at)
        found.append(Mark("heading", at, at + len(line), level, line.lstrip("# ")))
        at += len(line)
    return Extracted(text, title, "text/plain", (*found, *marks))


def check(doc: Extracted, found: list[Chunk], tokens: Any, limit: int = LIMIT) -> None:
    covered, last = [False] * len(doc.text), 0
    for chunk in found:
        assert last <= chunk.start < chunk.end <= len(doc.text)
        text = doc.text[chunk.start : chunk.end]
        assert text == text.strip()
        assert tokens.count_tokens(embedded_text(doc.title, chunk.heading, text, tokens)) <= limit
        covered[chunk.start : chunk.end] = [True] * len(text)
        last = chunk.end
    assert all(seen or letter.isspace() for seen, letter in zip(covered, doc.text, strict=True))


PROSE = "The hall is let by the hour. Members pay half. The key is at the desk. " * 4


def test_a_section_that_fits_is_one_chunk() -> None:
    doc = document("# Hire\n\nShort one.\n\nShort two.\n\n# Fees\n\nThree.", ("# Hire", 1), ("# Fees", 1), title="Hall")
    found = chunks(doc, Words())
    assert [(doc.text[c.start : c.end], c.heading) for c in found] == [
        ("# Hire\n\nShort one.\n\nShort two.", ("Hire",)),
        ("# Fees\n\nThree.", ("Fees",)),
    ]


def test_a_heading_stays_with_what_follows() -> None:
    doc = document("# A\n\n## B\n\nBody.\n\n## C\n\n# D", ("# A", 1), ("## B", 2), ("## C", 2), ("# D", 1))
    found = chunks(doc, Words())
    assert [(doc.text[c.start : c.end], c.heading) for c in found] == [
        ("# A\n\n## B\n\nBody.", ("A", "B")),
        ("## C\n\n# D", ("D",)),
    ]


def test_a_long_section_is_cut_evenly_at_paragraphs() -> None:
    text = "\n\n".join([PROSE.strip()] * 5)
    doc = document(text)
    found = chunks(doc, Words())
    assert len(found) > 1
    for chunk in found:
        assert doc.text[chunk.end - 1] == "."
        assert chunk.end == len(text) or text.startswith("\n\n", chunk.end)
        assert Words().count_tokens(text[chunk.start : chunk.end]) >= TARGET / 2
    check(doc, found, Words())


def test_a_long_paragraph_is_cut_at_sentences() -> None:
    doc = document(PROSE * 10)
    found = chunks(doc, Words())
    assert all(doc.text[c.end - 1] == "." and doc.text[c.start].isupper() for c in found)
    check(doc, found, Words())


def test_a_long_sentence_is_cut_at_words() -> None:
    doc = document("word " * 2000)
    found = chunks(doc, Words())
    assert all(doc.text[c.start : c.end].split()[0] == "word" == doc.text[c.start : c.end].split()[-1] for c in found)
    check(doc, found, Words())


def test_table_rows_stay_whole() -> None:
    rows = [f"Item: Thing {i} of the shop | Price: {i}.50 | Unit: piece" for i in range(60)]
    text = "\n".join(rows)
    found = chunks(document(text, marks=(Mark("table", 0, len(text)),)), Words())
    assert len(found) > 1
    assert [line for c in found for line in text[c.start : c.end].split("\n")] == rows


def test_a_row_too_long_is_cut_at_cells() -> None:
    text = " | ".join(f"Column {i}: the value of this cell is {i}" for i in range(80))
    found = chunks(document(text), Words())
    assert len(found) > 1 and all(text[c.start : c.end].startswith("Column ") for c in found)


def test_pages_and_paths() -> None:
    text = "# Lease\n\nFirst page.\n\nSecond page.\n\n## Rent\n\nStill second."
    second = text.index("Second")
    marks = (Mark("page", 0, second - 2, 0, "i"), Mark("page", second, len(text), 0, "ii"))
    found = chunks(document(text, ("# Lease", 1), ("## Rent", 2), marks=marks), Words())
    assert [(c.page, c.heading) for c in found] == [("i", ("Lease",)), ("ii", ("Lease",)), ("ii", ("Lease", "Rent"))]


def test_code_is_cut_at_lines() -> None:
    text = "def f():\n" + "\n".join(f"    total += weigh({i}, 'a. B')  # add it" for i in range(100))
    found = chunks(document(text, marks=(Mark("code", 0, len(text)),)), Words())
    assert len(found) > 1 and all(text[c.end : c.end + 1] in ("\n", "") for c in found)


def test_no_text_no_chunks() -> None:
    assert chunks(document(""), Words()) == [] == chunks(document(" \n\n\t"), Words())


def test_what_is_embedded_is_short_and_says_each_heading_once() -> None:
    words = Words()
    assert embedded_text("Hall", ("Hall", "Fees"), "It is 12.", words) == "Hall: Fees\nIt is 12."
    assert embedded_text("", (), "It is 12.", words) == "It is 12."
    long = ("outer " * 30, "middle " * 30, "inner " * 30)
    assert words.count_tokens(prefix("title " * 30, long, words)) <= PREFIX
    assert "inner" in prefix("title " * 30, long, words)
    assert prefix("x" * 5000, ("y" * 5000,), words) == ""


PIECES = st.sampled_from(
    ["The fee is 12 pounds.", " ", "\n", "\n\n", "a", "é", "漢字。", "ABC " * 30, "x" * 300, "unaffable" * 20, "| ",
     " | ", "A: b | C: d\n", "- item\n", "1. ", "🙂", "\u00a0", "…", "½", "الكتاب ", "fi" * 60, "Straße ",
     "(" * 50, "ñ" * 120]
)  # fmt: skip


@st.composite
def documents(draw: st.DrawFn) -> Extracted:
    text = "".join(draw(st.lists(PIECES, max_size=60)))
    cuts = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    marks = [
        Mark(
            draw(st.sampled_from(["heading", "page", "table", "code"])), a, b, draw(st.integers(1, 3)), text[a:b][:300]
        )
        for a, b in pairwise(cuts)
    ]
    return Extracted(
        text, draw(st.sampled_from(["", "A title", "long title " * 40, "漢" * 90])), "text/plain", tuple(marks)
    )


@given(documents())
def test_nothing_is_lost_or_too_long(doc: Extracted) -> None:
    check(doc, chunks(doc, Words()), Words())


@given(doc=documents())
def test_nothing_is_lost_or_too_long_for_the_encoder(wordpieces: Any, doc: Extracted) -> None:
    check(doc, chunks(doc, wordpieces), wordpieces)


@pytest.mark.parametrize("unit", ["word ", "x", "A sentence here. ", "\n", "a | b ", "a\n", "漢"])
def test_a_large_document_takes_linear_time(unit: str) -> None:
    doc = document(unit * (500_000 // len(unit)))
    begin = time.perf_counter()
    found = chunks(doc, Words())
    assert time.perf_counter() - begin < 15
    check(doc, found, Words())
