"""PPTX: slides in their order, each a heading and a page; text, tables, speaker's notes."""

from __future__ import annotations

from io import BytesIO
from typing import Any

from pptx import Presentation
from pptx.enum.shapes import MSO_SHAPE_TYPE

from ownlm.errors import DocumentTooLarge
from ownlm.rag.readers.builder import TextBuilder
from ownlm.rag.readers.container import Container
from ownlm.rag.readers.limits import Limits
from ownlm.rag.readers.tables import add_table
from ownlm.rag.types import Extracted

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.presentationml.presentation"
_A = "{http://schemas.openxmlformats.org/drawingml/2006/main}"
_MARGINS = ("DATE", "FOOTER", "SLIDE_NUMBER")


def read(data: bytes, name: str, limits: Limits) -> Extracted:
    container = Container(data, limits)
    container.refuse_entities()
    deck = Presentation(BytesIO(data))
    builder = TextBuilder(limits.characters)
    for number, slide in enumerate(deck.slides, 1):
        if slide.element.get("show") == "0":
            builder.note(f"slide {number} is hidden and was left out")
            continue
        builder.open("page", str(number))
        _slide(builder, slide, number, limits.depth)
        builder.close()
    return builder.extracted(deck.core_properties.title, MEDIA_TYPE)


def _slide(builder: TextBuilder, slide: Any, number: int, depth: int) -> None:
    title = slide.shapes.title
    heading = _plain(title.text_frame) if title is not None and title.has_text_frame else ""
    builder.heading(heading or f"Slide {number}", 1)
    for shape in slide.shapes:
        if title is None or shape.shape_id != title.shape_id:
            _shape(builder, shape, depth)
    if slide.has_notes_slide and slide.notes_slide.notes_text_frame is not None:
        notes = _plain(slide.notes_slide.notes_text_frame)
        if notes:
            builder.block(f"Notes: {notes}")


def _shape(builder: TextBuilder, shape: Any, depth: int) -> None:
    if depth < 0:
        raise DocumentTooLarge("nests groups of shapes too deeply")
    kind = shape.placeholder_format.type if shape.is_placeholder else None
    if kind is not None and kind.name in _MARGINS:
        return
    if shape.shape_type == MSO_SHAPE_TYPE.GROUP:
        for member in shape.shapes:
            _shape(builder, member, depth - 1)
    elif getattr(shape, "has_table", False):
        table = shape.table
        rows = [[_plain(cell.text_frame) for cell in row.cells] for row in table.rows]
        add_table(builder, rows, header_rows=1 if table.first_row and len(rows) > 1 else None)
    elif getattr(shape, "has_chart", False):
        builder.note("charts were left out")
    elif shape.has_text_frame:
        _text_frame(builder, shape.text_frame)
    elif shape.element.tag.endswith("}graphicFrame"):
        builder.note("diagrams and embedded objects were left out")


def _text_frame(builder: TextBuilder, frame: Any) -> None:
    """Paragraphs; several in a frame are a list, each on its own line."""
    texts = [text for paragraph in frame.paragraphs if (text := _paragraph(paragraph))]
    for position, text in enumerate(texts):
        builder.block(f"- {text}" if len(texts) > 1 else text, tight=position > 0)


def _plain(frame: Any) -> str:
    return " ".join(text for paragraph in frame.paragraphs if (text := _paragraph(paragraph)))


def _paragraph(paragraph: Any) -> str:
    parts = [item.text or "" if item.tag == f"{_A}t" else " " for item in paragraph._p.iter(f"{_A}t", f"{_A}br")]
    return " ".join("".join(parts).split())
