"""HTML and EPUB."""

from __future__ import annotations

import pytest

from ownlm.errors import DocumentTooLarge, UnreadableDocument


def test_only_what_is_shown_is_read(extract):
    page = """<!doctype html><title>T</title><style>p{}</style><script>alert(1)</script><template><p>no</template>
    <body><p>Seen <b>bold</b>\n text.<!-- no --><p hidden>no<p style="color:red; DISPLAY : none">no</p>
    <div style="visibility:hidden"><p>no</div><noscript>no</noscript><p>soft&shy;ware&#8203;<br>line two</p></body>"""
    extracted = extract(page, "a.html")
    assert extracted.text == "Seen bold text.\n\nsoftware\nline two"
    assert (extracted.title, extracted.media_type) == ("T", "text/html")


def test_headings_lists_and_code(extract, headings):
    page = """<h1>Fees <em>2024</em></h1><ul><li>one<ul><li>sub</ul><li>two</ul><ol start=3><li>a<li>b</ol>after
    <h3>Code</h3><pre>x = 1\n    y = 2</pre>"""
    extracted = extract(page, "a.html")
    assert extracted.text == "Fees 2024\n\n- one\n- sub\n- two\n\n3. a\n4. b\n\nafter\n\nCode\n\nx = 1\n    y = 2"
    assert headings(extracted) == [(1, "Fees 2024"), (3, "Code")]
    assert [extracted.text[m.start : m.end] for m in extracted.marks if m.kind == "code"] == ["x = 1\n    y = 2"]
    assert extracted.title == "Fees 2024"


def test_table_rows_name_their_columns(extract):
    page = """<table><caption>Prices</caption><thead><tr><th>Item<th>Price</thead><tr><td>Chair<td>12
    <tr><td rowspan=2>Table<td>80<tr><td>90</table>"""
    extracted = extract(page, "a.html")
    assert extracted.text == "Prices\n\nItem: Chair | Price: 12\nItem: Table | Price: 80\nItem: Table | Price: 90"
    assert [(m.kind, m.label) for m in extracted.marks] == [("table", "Prices")]


def test_a_table_that_lays_out_a_page_is_no_table(extract, headings):
    extracted = extract(
        "<table><tr><td><h2>Left</h2><p>text</td><td><table><tr><td>A<td>1</table></td></table>", "a.html"
    )
    assert headings(extracted) == [(2, "Left")]
    assert extracted.text == "Left\n\ntext\n\nA | 1"


def test_declared_encoding_is_used(extract):
    assert extract('<meta charset="iso-8859-1"><p>Malmö'.encode("latin-1"), "a.html").text == "Malmö"
    assert extract('<meta charset="nonsense"><p>Malmö'.encode(), "a.html").text == "Malmö"


def test_deep_nesting_is_an_error_not_a_crash(extract):
    assert extract("<div>" * 300 + "deep" + "</div>" * 300, "a.html").text == "deep"
    with pytest.raises(DocumentTooLarge, match="deeper than 1000"):
        extract("<div>" * 50_000 + "deep", "a.html")


def test_empty_elements_of_xhtml_do_not_swallow_the_page(extract):
    page = """<?xml version="1.0"?><html xmlns="http://www.w3.org/1999/xhtml"><head><title/><script src="a.js"/></head>
    <body><div hidden="hidden"/><p>Seen<br/>twice</p></body></html>"""
    assert extract(page, "a.xhtml").text == "Seen\ntwice"


def test_html_is_known_by_its_content(extract):
    assert extract("<!DOCTYPE html><p>x", "noname").media_type == "text/html"


def test_epub_pages_come_in_the_order_of_the_spine(extract, epub, headings):
    extracted = extract(epub(), "book.epub")
    assert extracted.text == "The mill\n\nBuilt in 1871.\n\nThe weir\n\nMended in 1902."
    assert headings(extracted) == [(1, "The mill"), (1, "The weir")]
    assert (extracted.title, extracted.media_type) == ("A history", "application/epub+zip")


def test_a_missing_page_of_an_epub_is_noted(extract, epub, pack):
    import io
    import zipfile

    with zipfile.ZipFile(io.BytesIO(epub())) as archive:
        files = {name: archive.read(name) for name in archive.namelist() if not name.endswith("two.xhtml")}
    extracted = extract(pack(files), "book.epub")
    assert extracted.text == "The mill\n\nBuilt in 1871."
    assert "left out" in extracted.notes[0]


def test_entities_and_drm_in_an_epub_are_refused(extract, epub):
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><container><rootfile full-path="&b;"/></container>'
    with pytest.raises(UnreadableDocument, match="not plain XML"):
        extract(epub(**{"META-INF/container.xml": bomb}), "b.epub")
    drm = '<encryption><EncryptionMethod Algorithm="http://ns.adobe.com/adept"/></encryption>'
    with pytest.raises(UnreadableDocument, match="DRM"):
        extract(epub(**{"META-INF/encryption.xml": drm}), "b.epub")
