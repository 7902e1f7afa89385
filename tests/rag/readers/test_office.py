"""DOCX, PPTX, XLSX, CSV: golden texts of files made here."""

from __future__ import annotations

import datetime as dt

import pytest

from ownlm.rag.readers.cells import shown
from ownlm.rag.readers.delimited import find_delimiter
from ownlm.rag.readers.numbering import letters, roman


def test_docx(extract, make, headings):
    extracted = extract(make("rules.docx"), "rules.docx")
    assert extracted.text == (
        "The Mill, 4 Weir Lane\n\nHouse rules\n\nKeys\n\nA lost key costs £25. Tell Ana.\n\n"
        "- Front door\n- Back door\n\nFees\n\nRoom: Hall | Fee: £12.50\n\nSigned in May."
    )
    assert headings(extracted) == [(1, "House rules"), (1, "Keys"), (2, "Fees")]
    assert extracted.title == "House rules"


def test_docx_numbers_notes_changes_and_hidden_text(extract, save):
    from docx import Document
    from docx.oxml import parse_xml
    from docx.oxml.ns import nsdecls

    document = Document()
    body = document.element.body
    for text in ("first", "second"):
        document.add_paragraph(text, style="List Number")
    changed = f"""<w:p {nsdecls("w")}><w:r><w:t xml:space="preserve">The fee is </w:t></w:r>
      <w:del w:id="1"><w:r><w:delText>ten</w:delText></w:r></w:del><w:ins w:id="2"><w:r><w:t>twelve</w:t></w:r></w:ins>
      <w:r><w:rPr><w:vanish/></w:rPr><w:t>secret</w:t></w:r>
      <w:r><w:t xml:space="preserve"> pounds</w:t><w:tab/><w:t>now</w:t></w:r></w:p>"""
    body.insert(len(body) - 1, parse_xml(changed))
    extracted = extract(save(document), "a.docx")
    assert extracted.text == "1. first\n2. second\n\nThe fee is twelve pounds now"
    assert "tracked changes were read as accepted" in extracted.notes


def test_docx_merged_cells_and_boxes(extract, save):
    from docx import Document

    document = Document()
    table = document.add_table(3, 3)
    for row, cells in enumerate([("Day", "Room", "Fee"), ("Mon", "Hall", "1"), ("", "Attic", "2")]):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    table.cell(1, 0).merge(table.cell(2, 0))
    box = document.add_table(1, 1)
    box.cell(0, 0).text = "Notice"
    extracted = extract(save(document), "a.docx")
    assert extracted.text == "Day: Mon | Room: Hall | Fee: 1\nDay: Mon | Room: Attic | Fee: 2\n\nNotice"


def test_pptx(extract, make, headings):
    extracted = extract(make("day.pptx"), "day.pptx")
    assert extracted.text == (
        "Open day 2024\n\n- Doors open at ten\n- Tea at four\n\nNotes: Greet the mayor.\n\n"
        "Stalls\n\nStall: Honey | Rent: £8"
    )
    assert headings(extracted) == [(1, "Open day 2024"), (1, "Stalls")]
    pages = [mark for mark in extracted.marks if mark.kind == "page"]
    assert [mark.label for mark in pages] == ["1", "2"]
    assert extracted.text[pages[1].start : pages[1].end].startswith("Stalls")


def test_xlsx(extract, make, headings):
    extracted = extract(make("prices.xlsx"), "prices.xlsx")
    assert extracted.text == (
        "Prices\n\nItem: Chair | Price: £80.00 | From: 01/03/2024\nItem: Table | Price: £1,240.50 | From: 15/04/2024"
    )
    assert headings(extracted) == [(1, "Prices")]
    assert extracted.title == "prices"


def test_xlsx_notes_above_blank_rows_merged_cells_and_hidden_sheets(extract, save):
    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = "Rooms"
    for row in (
        ["Rooms to let"],
        [],
        ["Floor", "Room", "Fee"],
        [1, "Hall", 12],
        [None, "Attic", 8],
        [],
        [2, "Loft", 9],
    ):
        sheet.append(row)
    sheet.merge_cells("A1:C1")
    sheet.merge_cells("A4:A5")
    sheet["E4"] = "=SUM(C4:C5)"
    hidden = book.create_sheet("Draft")
    hidden["A1"] = "secret"
    hidden.sheet_state = "hidden"
    extracted = extract(save(book), "a.xlsx")
    assert extracted.text == (
        "Rooms\n\nRooms to let\n\nFloor: 1 | Room: Hall | Fee: 12\nFloor: 1 | Room: Attic | Fee: 8\n\n"
        "Floor: 2 | Room: Loft | Fee: 9"
    )
    assert any("hidden" in note for note in extracted.notes)
    assert any("1 formulas" in note for note in extracted.notes)


@pytest.mark.parametrize(
    ("value", "form", "text"),
    [
        (0.125, "0.0%", "12.5%"),
        (1234567.891, "#,##0.00", "1,234,567.89"),
        (1234.5, '"£"#,##0.00', "£1,234.50"),
        (1234.5, "#,##0.00 [$€-407]", "1,234.50 €"),
        (-5, "#,##0;(#,##0)", "(5)"),
        (0, '0;-0;"none"', "none"),
        (7, "000", "007"),
        (2.5, "0.##", "2.5"),
        (0.1 + 0.2, "General", "0.3"),
        (12.0, None, "12"),
        (12345.678, "0.00E+00", "1.23E+04"),
        (True, None, "TRUE"),
        (dt.datetime(2024, 3, 1), "dd/mm/yyyy", "01/03/2024"),
        (dt.datetime(2024, 3, 1, 14, 5), "d mmmm yyyy h:mm AM/PM", "1 March 2024 2:05 PM"),
        (dt.datetime(2024, 3, 1), "General", "2024-03-01"),
        (dt.time(9, 30), "hh:mm", "09:30"),
        (dt.timedelta(hours=26, minutes=3), "[h]:mm:ss", "26:03:00"),
        ("text", "@", "text"),
        (None, None, ""),
    ],
)
def test_values_are_written_as_shown(value, form, text):
    assert shown(value, form) == text


def test_csv_and_tsv(extract):
    extracted = extract('\ufeffName;Price\r\nchair;12,50\r\n\r\n"table; oak";80,00\r\n', "a.csv")
    assert extracted.text == "Name: chair | Price: 12,50\nName: table; oak | Price: 80,00"
    assert extract("a\tb\n1\t2\n", "a.tsv").text == "a: 1 | b: 2"
    assert "1 rows do not have 2 columns" in extract("a,b\n1,2\n3,4\n5\n", "a.csv").notes[0]


def test_csv_quoted_line_breaks_stay_in_their_row(extract):
    extracted = extract('Name,Note\nAna,"first\nsecond"\nBo,none\n', "a.csv")
    assert extracted.text == "Name: Ana | Note: first second\nName: Bo | Note: none"


def test_csv_without_a_header_has_none(extract):
    assert extract("1,2\n3,4\n", "a.csv").text == "1 | 2\n3 | 4"


@pytest.mark.parametrize(("text", "delimiter"), [("a,b\n1,2", ","), ("a|b\n1|2", "|"), ("just text\nmore", ",")])
def test_delimiters(text, delimiter):
    assert find_delimiter(text) == delimiter


def test_list_numbers():
    assert [letters(n) for n in (1, 26, 27)] == ["a", "z", "aa"]
    assert [roman(n) for n in (4, 9, 1994)] == ["iv", "ix", "mcmxciv"]


def test_years_are_names_of_columns_over_amounts(extract):
    assert (
        extract("Item,2023 £,2024 £\nFlats,24480,25000\n", "a.csv").text
        == "Item: Flats | 2023 £: 24480 | 2024 £: 25000"
    )
    assert extract(",2023,2024\nFlats,1,2\n", "a.csv").text == "Flats | 2023: 1 | 2024: 2"
    assert extract("Ana,1971\nBo,1980\n", "a.csv").text == "Ana | 1971\nBo | 1980"
