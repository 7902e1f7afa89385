"""PPTX: a title slide, then one slide with notes for each first-level heading."""

from __future__ import annotations

import io

from pptx import Presentation
from pptx.util import Cm

from papers.markup import Paper
from papers.zipped import settle

_TITLE, _TITLE_AND_TEXT, _TITLE_ONLY = 0, 1, 5


def make_pptx(paper: Paper) -> bytes:
    deck = Presentation()
    properties = deck.core_properties
    properties.title, properties.author, properties.last_modified_by = paper.title, paper.author, paper.author
    properties.created = properties.modified = paper.date
    cover = deck.slides.add_slide(deck.slide_layouts[_TITLE])
    cover.shapes.title.text = paper.title
    cover.placeholders[1].text = f"{paper.subtitle}\n{paper.author}"
    for title, blocks in paper.sections():
        bullets = [block for block in blocks if block.kind == "bullets"]
        slide = deck.slides.add_slide(deck.slide_layouts[_TITLE_AND_TEXT if bullets else _TITLE_ONLY])
        slide.shapes.title.text = title
        for block in blocks:
            match block.kind:
                case "bullets":
                    slide.placeholders[1].text_frame.text = "\n".join(block.lines)
                case "notes":
                    slide.notes_slide.notes_text_frame.text = block.lines[0]
                case "table":
                    size = (len(block.rows), len(block.rows[0]))
                    table = slide.shapes.add_table(*size, Cm(2), Cm(5), Cm(21), Cm(1.2 * len(block.rows))).table
                    for row, texts in enumerate(block.rows):
                        for column, text in enumerate(texts):
                            table.cell(row, column).text = text
                case kind:
                    raise ValueError(f"{title}: a slide has no place for a block of kind {kind}")
    buffer = io.BytesIO()
    deck.save(buffer)
    return settle(buffer.getvalue(), paper.date)
