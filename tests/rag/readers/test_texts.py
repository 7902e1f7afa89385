"""Text, Markdown, source code, and their encodings."""

from __future__ import annotations

import pytest

from ownlm.errors import DocumentTooLarge, UnreadableDocument


@pytest.mark.parametrize(
    ("encoding", "note"),
    [
        ("utf-8", False),
        ("utf-8-sig", False),
        ("utf-16", False),
        ("utf-32", False),
        ("utf-16-le", True),
        ("cp1252", True),
    ],
)
def test_encodings_are_found_and_guesses_are_told(extract, encoding, note):
    text = "The café in Malmö charges £12 for a room, every day of the year.\n"
    extracted = extract(text.encode(encoding), "a.txt")
    assert extracted.text == text
    assert len(extracted.notes) == note


def test_utf8_with_one_bad_byte_stays_utf8(extract):
    extracted = extract("Größe, Höhe, Länge, Fläche, Öl ".encode() * 3 + b"\xff", "a.txt")
    assert extracted.text.startswith("Größe, Höhe")
    assert extracted.notes == ("1 bytes that are not UTF-8 are shown as \ufffd",)


def test_an_unknown_encoding_is_refused_rather_than_read_as_garbage(extract):
    with pytest.raises(UnreadableDocument, match="save it as UTF-8"):
        extract("Пожалуйста, закройте дверь".encode("koi8-r"), "a.txt")


def test_text_is_composed_and_free_of_control_characters(extract):
    extracted = extract("e\u0301te\u0301\r\nx\x07y\rz\ta\u2028b", "a.txt")
    assert extracted.text == "été\nxy\nz\ta\nb"
    assert extracted.notes == ("1 control characters left out",)


@pytest.mark.parametrize("data", [b" \n\t\r\n ", "\ufeff".encode(), b"\x07\x08 \n" + b" " * 1000])
def test_no_text_is_an_error(extract, data):
    with pytest.raises(UnreadableDocument, match="has no text"):
        extract(data, "a.txt")


def test_one_long_line_is_too_large_and_says_by_how_much(extract):
    with pytest.raises(DocumentTooLarge, match=r"more than 5,000,000 characters"):
        extract(b"word " * (2 << 20), "a.txt")
    assert len(extract(b"word " * 200_000, "a.txt").text) == 1_000_000


MARKDOWN = """---
title: "The house"
---
Intro
=====

Some *text* about it.

# The **[fees](x.md)** #

```sh
# not a heading
```

| Room | Fee |
|------|-----|
| Hall | 12  |

- item
---
#hashtag

## Keys
"""


def test_markdown_keeps_its_text_and_marks_it(extract, headings):
    extracted = extract(MARKDOWN, "a.md")
    assert extracted.text == MARKDOWN
    assert extracted.title == "The house"
    assert headings(extracted) == [(1, "Intro"), (1, "The fees"), (2, "Keys")]
    spans = {mark.kind: extracted.text[mark.start : mark.end] for mark in extracted.marks}
    assert spans["code"] == "```sh\n# not a heading\n```"
    assert spans["table"] == "| Room | Fee |\n|------|-----|\n| Hall | 12  |"
    assert spans["heading"] == "## Keys"


def test_markdown_without_front_matter_is_titled_by_its_heading_or_name(extract):
    assert extract("# One\n\ntext", "a.md").title == "One"
    assert extract("just text", "minutes.md").title == "minutes"


def test_unclosed_fences_and_front_matter_do_not_hide_the_rest(extract, headings):
    assert headings(extract("---\ntitle: x\n\n# Seen\n", "a.md")) == [(1, "Seen")]
    assert headings(extract("# A\n\n~~~\n# B\n", "a.md")) == [(1, "A")]


def test_python_definitions_are_headings(extract, headings):
    code = "import os\n\n\nclass Mill:\n    def grind(self):\n        pass\n\n\nasync def run():\n    pass\n"
    extracted = extract(code, "mill.py")
    assert extracted.text == code
    assert headings(extracted) == [(1, "class Mill"), (2, "def grind"), (1, "def run")]
    mark = next(mark for mark in extracted.marks if mark.kind == "heading")
    assert code[mark.start : mark.end] == "class Mill:"


def test_code_that_does_not_parse_is_text(extract):
    assert extract("print 'old'\n" + "(" * 100_000, "old.py").text.startswith("print")
    assert extract("int main() { return 0; }", "main.c").media_type == "text/x-source"
