"""What the reader tests share: reading in this process, the rules of ``Extracted``, and documents made here."""

from __future__ import annotations

import io
import re
import unicodedata
import zipfile
from collections.abc import Callable

import pytest

from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.read import read
from ownlm.rag.types import Extracted


def check(extracted: Extracted) -> Extracted:
    """Every reader's promise."""
    text = extracted.text
    assert text.strip()
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff]", text)
    assert unicodedata.is_normalized("NFC", text)
    assert extracted.title
    assert "\n" not in extracted.title
    assert list(extracted.marks) == sorted(extracted.marks, key=lambda mark: (mark.start, -mark.end))
    for mark in extracted.marks:
        assert 0 <= mark.start < mark.end <= len(text)
        assert not text[mark.start].isspace() or mark.kind == "code"
        if mark.kind == "heading":
            assert 1 <= mark.level <= 9
            assert mark.label
    return extracted


@pytest.fixture
def extract() -> Callable[..., Extracted]:
    """``extract(data, name)``: read in this process and check the promises."""

    def run(data: bytes | str, name: str, **limits: int) -> Extracted:
        raw = data.encode() if isinstance(data, str) else data
        return check(read(raw, name, Limits(**limits)))

    return run


@pytest.fixture
def headings() -> Callable[[Extracted], list[tuple[int, str]]]:
    return lambda extracted: [(mark.level, mark.label) for mark in extracted.marks if mark.kind == "heading"]


def make_docx() -> bytes:
    from docx import Document

    document = Document()
    document.core_properties.title = "House rules"
    document.sections[0].header.paragraphs[0].text = "The Mill, 4 Weir Lane"
    document.add_heading("House rules", 0)
    document.add_heading("Keys", 1)
    document.add_paragraph("A lost key costs £25. Tell Ana.")
    document.add_paragraph("Front door", style="List Bullet")
    document.add_paragraph("Back door", style="List Bullet")
    document.add_heading("Fees", 2)
    table = document.add_table(2, 2)
    for row, cells in zip(table.rows, [("Room", "Fee"), ("Hall", "£12.50")], strict=True):
        for cell, text in zip(row.cells, cells, strict=True):
            cell.text = text
    document.add_paragraph("Signed in May.")
    return saved(document)


def make_pptx() -> bytes:
    from pptx import Presentation
    from pptx.util import Inches

    deck = Presentation()
    deck.core_properties.title = "Open day"
    slide = deck.slides.add_slide(deck.slide_layouts[1])
    slide.shapes.title.text = "Open day 2024"
    slide.placeholders[1].text = "Doors open at ten\nTea at four"
    slide.notes_slide.notes_text_frame.text = "Greet the mayor."
    slide = deck.slides.add_slide(deck.slide_layouts[5])
    slide.shapes.title.text = "Stalls"
    table = slide.shapes.add_table(2, 2, Inches(1), Inches(2), Inches(4), Inches(1)).table
    for row, cells in enumerate([("Stall", "Rent"), ("Honey", "£8")]):
        for column, text in enumerate(cells):
            table.cell(row, column).text = text
    return saved(deck)


def make_xlsx() -> bytes:
    import datetime as dt

    from openpyxl import Workbook

    book = Workbook()
    sheet = book.active
    sheet.title = "Prices"
    sheet.append(["Item", "Price", "From"])
    sheet.append(["Chair", 80, dt.date(2024, 3, 1)])
    sheet.append(["Table", 1240.5, dt.date(2024, 4, 15)])
    for row in (2, 3):
        sheet.cell(row, 2).number_format = '"£"#,##0.00'
        sheet.cell(row, 3).number_format = "dd/mm/yyyy"
    return saved(book)


def make_epub(pages: dict[str, str] | None = None, **extra: str) -> bytes:
    pages = pages or {
        "one.xhtml": "<html><body><h1>The mill</h1><p>Built in 1871.</p></body></html>",
        "two.xhtml": "<html><body><h1>The weir</h1><p>Mended in 1902.</p></body></html>",
    }
    items = "".join(
        f'<item id="i{n}" href="{name}" media-type="application/xhtml+xml"/>' for n, name in enumerate(reversed(pages))
    )
    spine = "".join(f'<itemref idref="i{len(pages) - 1 - n}"/>' for n in range(len(pages)))
    files = {
        "mimetype": "application/epub+zip",
        "META-INF/container.xml": '<container><rootfiles><rootfile full-path="OPS/book.opf"/></rootfiles></container>',
        "OPS/book.opf": f'<package xmlns:dc="d"><metadata><dc:title>A history</dc:title></metadata>'
        f"<manifest>{items}</manifest><spine>{spine}</spine></package>",
        **{f"OPS/{name}": text for name, text in pages.items()},
        **extra,
    }
    return zipped(files)


def make_pdf(*, pages: int = 1, running: bool = False, encrypt: str | None = None) -> bytes:
    reportlab = pytest.importorskip("reportlab.platypus", reason="reportlab, which makes the PDFs, is not installed")
    from reportlab.lib.pdfencrypt import StandardEncryption
    from reportlab.lib.styles import getSampleStyleSheet

    styles = getSampleStyleSheet()
    text = "The committee of part {} meets on the first Monday of every month. "
    story = []
    for page in range(1, pages + 1):
        story += [
            reportlab.Paragraph(f"Part {page}", styles["Heading1"]),
            reportlab.Paragraph(text.format(page) * 4, styles["Normal"]),
            reportlab.Table([["Item", "Price"], ["Chair, oak", "£80.00"], ["Table", "£240.00"]]),
            reportlab.Paragraph("All prices hold for a year.", styles["Normal"]),
            reportlab.PageBreak(),
        ]

    def margins(canvas: object, document: object) -> None:
        if running:
            canvas.drawString(72, 810, "The Mill: handbook")  # type: ignore[attr-defined]
            canvas.drawCentredString(300, 20, str(document.page))  # type: ignore[attr-defined]

    buffer = io.BytesIO()
    protection = StandardEncryption(encrypt) if encrypt else None
    template = reportlab.SimpleDocTemplate(buffer, title="Price list", author="Ana", encrypt=protection)
    template.build(story, onFirstPage=margins, onLaterPages=margins)
    return buffer.getvalue()


def make_scan() -> bytes:
    """A PDF whose page is a picture."""
    canvas = pytest.importorskip("reportlab.pdfgen.canvas", reason="reportlab, which makes the PDFs, is not installed")
    from PIL import Image

    buffer = io.BytesIO()
    page = canvas.Canvas(buffer)
    page.drawInlineImage(Image.new("L", (60, 80), 200), 72, 72, 400, 600)
    page.showPage()
    page.save()
    return buffer.getvalue()


def saved(document: object) -> bytes:
    buffer = io.BytesIO()
    document.save(buffer)  # type: ignore[attr-defined]
    return buffer.getvalue()


def zipped(files: dict[str, str | bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


MAKERS: dict[str, Callable[[], bytes]] = {
    "letter.txt": lambda: "Dear Ana,\n\nthe fee is £12 — paid.\n".encode(),
    "rules.md": lambda: b"---\ntitle: Rules\n---\n# Keys\n\nA lost key costs 25.\n",
    "page.html": lambda: b"<title>Page</title><h1>Fees</h1><p>Twelve pounds.</p><ul><li>one<li>two</ul>",
    "prices.csv": lambda: b"Item,Price\nChair,80\nTable,240\n",
    "mill.py": lambda: b"def grind(corn):\n    return corn\n",
    "mill.json": lambda: b'{"built": 1871}\n',
    "rules.docx": make_docx,
    "day.pptx": make_pptx,
    "prices.xlsx": make_xlsx,
    "history.epub": make_epub,
    "prices.pdf": make_pdf,
}


@pytest.fixture
def make() -> Callable[..., bytes]:
    """``make("rules.docx")``: the bytes of the sample of that name."""
    return lambda name: MAKERS[name]()


@pytest.fixture
def pdf() -> Callable[..., bytes]:
    return make_pdf


@pytest.fixture
def epub() -> Callable[..., bytes]:
    return make_epub


@pytest.fixture
def scan() -> Callable[[], bytes]:
    return make_scan


@pytest.fixture
def pack() -> Callable[[dict[str, str | bytes]], bytes]:
    return zipped


@pytest.fixture
def save() -> Callable[[object], bytes]:
    return saved


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "sample" in metafunc.fixturenames:
        metafunc.parametrize("sample", list(MAKERS))
