"""DOCX: Word's own heading, list and table styles, A4."""

from __future__ import annotations

import io

from docx import Document
from docx.shared import Cm

from papers.markup import Paper, bold_runs
from papers.zipped import settle


def make_docx(paper: Paper) -> bytes:
    document = Document()
    section = document.sections[0]
    section.page_width, section.page_height = Cm(21.0), Cm(29.7)
    properties = document.core_properties
    properties.title, properties.author, properties.last_modified_by = paper.title, paper.author, paper.author
    properties.created = properties.modified = paper.date
    properties.comments = ""
    document.add_paragraph(paper.title, style="Title")
    if paper.subtitle:
        document.add_paragraph(paper.subtitle, style="Subtitle")
    if paper.author:
        document.add_paragraph(paper.author)
    for block in paper.blocks:
        match block.kind:
            case "heading":
                document.add_heading(block.lines[0], level=block.level)
            case "bullets" | "numbers":
                style = "List Bullet" if block.kind == "bullets" else "List Number"
                for item in block.lines:
                    document.add_paragraph(item, style=style)
            case "table":
                table = document.add_table(rows=0, cols=len(block.rows[0]), style="Light Grid Accent 1")
                for row in block.rows:
                    for cell, text in zip(table.add_row().cells, row, strict=True):
                        cell.text = text
                document.add_paragraph()
            case _:
                paragraph = document.add_paragraph()
                for text, bold in bold_runs(block.lines[0]):
                    paragraph.add_run(text).bold = bold or None
    buffer = io.BytesIO()
    document.save(buffer)
    return settle(buffer.getvalue(), paper.date)
