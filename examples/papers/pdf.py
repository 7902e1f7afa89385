"""PDF: A4 pages with headings, an outline and a running foot."""

from __future__ import annotations

import io
from html import escape
from typing import Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import cm
from reportlab.platypus import ListFlowable, ListItem, Paragraph, SimpleDocTemplate, Spacer, Table, TableStyle

from papers.markup import Block, Paper, bold_runs

_BODY = ParagraphStyle("body", fontName="Times-Roman", fontSize=11, leading=14.5, spaceAfter=7)
_CELL = ParagraphStyle("cell", parent=_BODY, fontSize=9.5, leading=12, spaceAfter=0)
_HEADER = ParagraphStyle("header", parent=_CELL, fontName="Times-Bold")
_TITLE = ParagraphStyle("title", fontName="Helvetica-Bold", fontSize=22, leading=27, spaceAfter=6)
_SUBTITLE = ParagraphStyle("subtitle", fontName="Helvetica", fontSize=12, leading=16, spaceAfter=6)
_HEADING = {
    1: ParagraphStyle("h1", fontName="Helvetica-Bold", fontSize=15, leading=19, spaceBefore=14, spaceAfter=6),
    2: ParagraphStyle("h2", fontName="Helvetica-Bold", fontSize=12, leading=15, spaceBefore=9, spaceAfter=4),
}
_GRID = TableStyle(
    [
        ("GRID", (0, 0), (-1, -1), 0.4, colors.grey),
        ("BACKGROUND", (0, 0), (-1, 0), colors.whitesmoke),
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ]
)


class _Template(SimpleDocTemplate):
    """A document whose headings become the PDF's outline."""

    def afterFlowable(self, flowable: Any) -> None:
        level = getattr(flowable, "outline_level", None)
        if level is not None:
            key = f"heading-{self.seq.nextf('heading')}"
            self.canv.bookmarkPage(key)
            self.canv.addOutlineEntry(flowable.getPlainText(), key, level, closed=False)


def _rich(text: str) -> str:
    return "".join(f"<b>{escape(run)}</b>" if bold else escape(run) for run, bold in bold_runs(text))


def _flowables(block: Block) -> list[Any]:
    match block.kind:
        case "heading":
            heading = Paragraph(escape(block.lines[0]), _HEADING[block.level])
            heading.outline_level = block.level - 1
            heading.keepWithNext = True
            return [heading]
        case "bullets" | "numbers":
            kind = "bullet" if block.kind == "bullets" else "1"
            items = [ListItem(Paragraph(_rich(item), _BODY)) for item in block.lines]
            return [ListFlowable(items, bulletType=kind, bulletFontName="Times-Roman"), Spacer(1, 4)]
        case "table":
            header, *rows = block.rows
            data = [[Paragraph(escape(cell), _HEADER) for cell in header]]
            data += [[Paragraph(escape(cell), _CELL) for cell in row] for row in rows]
            return [Table(data, repeatRows=1, style=_GRID, hAlign="LEFT"), Spacer(1, 8)]
        case _:
            return [Paragraph(_rich(block.lines[0]), _BODY)]


def make_pdf(paper: Paper) -> bytes:
    def foot(canvas: Any, document: Any) -> None:
        canvas.setFont("Helvetica", 8.5)
        canvas.drawString(2.2 * cm, 1.3 * cm, f"Larkfold Mill Society · {paper.title}")
        canvas.drawRightString(A4[0] - 2.2 * cm, 1.3 * cm, f"page {document.page}")

    buffer = io.BytesIO()
    template = _Template(
        buffer,
        pagesize=A4,
        leftMargin=2.2 * cm,
        rightMargin=2.2 * cm,
        topMargin=2 * cm,
        bottomMargin=2.2 * cm,
        title=paper.title,
        author=paper.author,
        invariant=1,
    )
    story: list[Any] = [Paragraph(escape(paper.title), _TITLE)]
    story += [Paragraph(escape(line), _SUBTITLE) for line in (paper.subtitle, paper.author) if line]
    for block in paper.blocks:
        story += _flowables(block)
    template.build(story, onFirstPage=foot, onLaterPages=foot)
    return buffer.getvalue()
