"""Stems: the same as SQLite's porter tokenizer, whatever the word."""

from __future__ import annotations

import sqlite3

from hypothesis import given, settings
from hypothesis import strategies as st

from ownlm.rag.stem import stem, stems, words

LISTED = """
s es ies sses ed eed ing at bl iz y ational tional enci anci izer bli alli entli eli ousli ization ation ator alism
iveness fulness ousness aliti iviti biliti logi icate ative alize iciti ical ful ness al ance ence er ic able ible ant
ement ment ent ion sion tion ou ism ate iti ous ive ize e ll le
"""
SUFFIXES = st.sampled_from(LISTED.split())
ROOTS = st.text("abcdefghijklmnopqrstuvwxyz", min_size=1, max_size=8)
WORDS = st.builds("".join, st.lists(st.one_of(ROOTS, SUFFIXES), min_size=1, max_size=4))


def in_sqlite(listed: list[str]) -> list[str]:
    connection = sqlite3.connect(":memory:")
    connection.execute("CREATE VIRTUAL TABLE f USING fts5 (t, tokenize = 'porter unicode61 remove_diacritics 2')")
    connection.execute("CREATE VIRTUAL TABLE v USING fts5vocab (f, instance)")
    connection.executemany("INSERT INTO f (rowid, t) VALUES (?, ?)", enumerate(listed))
    found = [term for (term,) in connection.execute("SELECT term FROM v ORDER BY doc, offset")]
    connection.close()
    return found


@settings(max_examples=100, deadline=None)
@given(st.lists(WORDS, min_size=1, max_size=20))
def test_stems_are_those_of_the_word_index(listed: list[str]) -> None:
    assert [stem(word) for word in listed] == in_sqlite(listed)


def test_texts_are_cut_into_words_as_the_index_cuts_them() -> None:
    text = "The café's naïve owner paid £12.50 for re-opening_hours, Ünlü & Söhne (2nd)."
    assert stems(text) == in_sqlite([text])
    assert words("") == []
