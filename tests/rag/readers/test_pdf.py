"""PDF: paragraphs, headings, tables, pages, running lines, and what has no text."""

from __future__ import annotations

import pytest

from ownlm.errors import UnreadableDocument
from ownlm.rag.readers.pdf_layout import join
from ownlm.rag.readers.pdf_lines import Line, Segment, accented
from ownlm.rag.readers.pdf_tables import find_table


def test_lines_become_paragraphs_headings_and_rows(extract, pdf, headings):
    extracted = extract(pdf(), "prices.pdf")
    sentence = "The committee of part 1 meets on the first Monday of every month."
    assert extracted.text == (
        f"Part 1\n\n{' '.join([sentence] * 4)}\n\nItem: Chair, oak | Price: £80.00\nItem: Table | Price: £240.00\n\n"
        "All prices hold for a year."
    )
    assert headings(extracted) == [(1, "Part 1")]
    assert (extracted.title, extracted.media_type) == ("Price list", "application/pdf")


def test_pages_are_marked_and_running_lines_left_out(extract, pdf):
    extracted = extract(pdf(pages=4, running=True), "a.pdf")
    pages = [mark for mark in extracted.marks if mark.kind == "page"]
    assert [mark.label for mark in pages] == ["1", "2", "3", "4"]
    assert "Part 3" in extracted.text[pages[2].start : pages[2].end]
    assert extracted.text.count("The Mill: handbook") == 1
    assert "'The Mill: handbook'" in extracted.notes[0]
    assert extracted.text.endswith("All prices hold for a year.")


def test_printed_page_labels_are_used(extract):
    canvas = pytest.importorskip("reportlab.pdfgen.canvas", reason="reportlab is not installed")
    import io

    buffer = io.BytesIO()
    page = canvas.Canvas(buffer)
    page.addPageLabel(0, style="ROMAN_LOWER")
    page.addPageLabel(1, style="ARABIC", start=7)
    for text in ("Preface", "Chapter one"):
        page.drawString(72, 700, text)
        page.showPage()
    page.save()
    assert [mark.label for mark in extract(buffer.getvalue(), "a.pdf").marks if mark.kind == "page"] == ["i", "7"]


def test_a_sentence_over_two_pages_is_one_paragraph(extract):
    canvas = pytest.importorskip("reportlab.pdfgen.canvas", reason="reportlab is not installed")
    import io

    buffer = io.BytesIO()
    page = canvas.Canvas(buffer)
    page.drawString(72, 100, "The committee decided that every key that is lost in the")
    page.showPage()
    page.drawString(72, 760, "course of a year is to be paid for.")
    page.showPage()
    page.save()
    extracted = extract(buffer.getvalue(), "a.pdf")
    assert extracted.text.startswith("The committee decided that every key that is lost in the course of a year")
    first, second = (mark for mark in extracted.marks if mark.kind == "page")
    assert extracted.text[second.start :].startswith("course of a year")
    assert first.end <= second.start


def test_a_scan_is_named_as_such(extract, scan):
    with pytest.raises(UnreadableDocument, match=r"scan without a text layer \(1 page\).*ocrmypdf"):
        extract(scan(), "a.pdf")


def test_a_page_without_text_among_others_is_noted(extract, pdf, scan):
    pypdfium2 = pytest.importorskip("pypdfium2")
    import io

    both = pypdfium2.PdfDocument.new()
    for data in (pdf(), scan()):
        both.import_pages(pypdfium2.PdfDocument(data))
    buffer = io.BytesIO()
    both.save(buffer)
    assert "no text layer on page 2" in extract(buffer.getvalue(), "a.pdf").notes[0]


def test_encryption_is_named_and_an_empty_password_opens(extract, pdf):
    with pytest.raises(UnreadableDocument, match="encrypted with a password"):
        extract(pdf(encrypt="secret"), "a.pdf")


@pytest.mark.parametrize(
    ("lines", "words", "text"),
    [
        (["a repair-", "man came"], set(), "a repairman came"),
        (["a long-", "lived plan"], {"long-lived"}, "a long-lived plan"),
        (["a long-", "lived plan"], {"long-lived", "longlived"}, "a longlived plan"),
        (["from 2019-", "2020 on"], set(), "from 2019-2020 on"),
        (["the T-", "Shirt"], set(), "the T-Shirt"),
        (["pause –", "go on"], set(), "pause – go on"),
        (["see https://a.example.", "org/x for it"], set(), "see https://a.example.org/x for it"),
        (["the end.", "then more"], set(), "the end. then more"),
        (["re\x02fit it"], set(), "refit it"),
    ],
)
def test_words_divided_at_line_ends(lines, words, text):
    assert join(lines, frozenset(words)) == text


def test_accents_beside_letters():
    assert accented("Br\u00a8oker") == "Bröker"
    assert accented("\u00b4\u0131") == "í"
    assert accented("5\u00b4") == "5´"


def line(baseline: float, *segments: tuple[str, float, float]) -> Line:
    return Line([Segment(*segment) for segment in segments], baseline, 10.0)


def test_wrapped_cells_stay_in_their_row_and_text_below_stays_out():
    lines = [
        line(700, ("Item", 72, 100), ("Price", 200, 230)),
        line(682, ("Chair", 72, 100), ("£80 or more,", 200, 260)),
        line(670, ("by wood", 200, 240)),
        line(652, ("Table", 72, 100), ("£240", 200, 225)),
        line(634, ("Below the table", 72, 150)),
    ]
    end, rows, header_rows = find_table(lines, 0)
    assert rows == [["Item", "Price"], ["Chair", "£80 or more, by wood"], ["Table", "£240"]]
    assert (end, header_rows) == (4, 0)


def test_one_line_with_a_gap_is_no_table():
    over_both = line(688, ("text over both", 72, 300))
    assert find_table([line(700, ("Name", 72, 100), ("Ana", 200, 230)), over_both], 0) is None
    items = [line(700, ("•", 72, 76), ("an item", 90, 130)), line(688, ("•", 72, 76), ("another", 90, 130))]
    assert find_table(items, 0) is None


def test_a_header_without_a_first_column_and_a_list_that_counts():
    lines = [
        line(700, ("2023", 200, 225), ("2024", 300, 325)),
        line(688, ("Income", 72, 110), ("£10", 205, 225), ("£12", 305, 325)),
        line(676, ("Surplus", 72, 112), ("£1", 210, 225), ("£2", 310, 325)),
    ]
    assert find_table(lines, 0) == (3, [["", "2023", "2024"], ["Income", "£10", "£12"], ["Surplus", "£1", "£2"]], 1)
    items = [line(700, ("1", 72, 76), ("Break the glass.", 90, 160)), line(688, ("2", 72, 76), ("Leave.", 90, 120))]
    assert find_table(items, 0) is None


def test_a_sentence_over_two_columns_is_one_paragraph():
    from ownlm.rag.readers.pdf_layout import Type, blocks

    lines = [line(100, ("the roof and its many", 72, 200)), line(700, ("leaks were mended.", 300, 400))]
    assert [block.text for block in blocks(lines, Type.of([lines]))] == ["the roof and its many leaks were mended."]
