"""Any bytes under any name: the promises of ``Extracted`` are kept, or the document is refused in words."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ownlm.errors import DocumentError
from ownlm.rag.readers.clean import FORBIDDEN, clean, one_line
from ownlm.rag.readers.numbering import letters, roman

NAMES = ["a.txt", "a.md", "a.html", "a.csv", "a.tsv", "a.json", "a.py", "a.c", "a.xml", "a", "a.pdf", "a.docx"]
PIECES = [
    *(
        "<p>",
        "</p>",
        "<table>",
        "<tr>",
        "<td>",
        "<th colspan=3>",
        "</table>",
        "<ul>",
        "<li>",
        "</ul>",
        "<pre>",
        "</pre>",
    ),
    *("<ol start=-4>", "<h1>", "</h1>", "<br>", "&amp;", "&#0;", "&#xd800;", "<td rowspan=99>", "<!--", "text", " "),
    *("# ", "\n", "```", "---\n", "| a | b |\n", "|--|--|\n", "===\n", "a,b\n", '"', "\u0301", "\u202e", "1;2\n"),
]
MARKUP = st.lists(st.sampled_from(PIECES), max_size=40).map("".join)
TEXTS = st.one_of(st.text(max_size=300), MARKUP)
quick = settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@quick
@given(data=st.binary(max_size=600), name=st.sampled_from(NAMES))
def test_any_bytes(extract, data, name):
    with contextlib.suppress(DocumentError):
        extract(data, name)


@quick
@given(text=TEXTS, name=st.sampled_from(NAMES[:10]), encoding=st.sampled_from(["utf-8", "utf-16"]))
def test_any_text(extract, text, name, encoding):
    with contextlib.suppress(DocumentError):
        extract(text.encode(encoding, "replace"), name)


@quick
@given(st.text())
def test_cleaning_is_done_once(text):
    assert not FORBIDDEN.search(clean(text))
    assert clean(clean(text)) == clean(text)
    assert "\n" not in one_line(text)
    assert one_line(one_line(text)) == one_line(text)


@pytest.mark.parametrize("number", [1, 26, 27, 399, 4000, 10**6])
def test_list_numbers_of_any_size_are_short(number):
    assert len(letters(number)) <= 20
    assert len(roman(number)) <= 40
